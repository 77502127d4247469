/* What a request for a resource says in its query: ?state=dead&limit=10. A resource has
 * a table of what it knows; what is not in it is refused by name, because a filter that
 * is misspelt and passed over would answer with everything.
 */
#ifndef GATEWAY_PARAMS_H
#define GATEWAY_PARAMS_H

#include <stdint.h>

#include "gateway/slice.h"

#define GW_PARAM_MAX 4200 /* longest value: a tail's cursor through 64 brokers */
#define GW_PARAM_WHY 256

struct gw_param {
	const char *name;            /* NULL ends a table */
	char text[GW_PARAM_MAX + 1]; /* decoded; "" when it was not given */
};

/* Fills the texts of params. False: why is a sentence for the client. UNTRUSTED query, as it stood
 * behind the ?. */
bool gw_params_read(struct gw_slice query, struct gw_param *params, char why[GW_PARAM_WHY]);

/* A parameter that is a number from min to max; standard when it was not given. */
bool gw_params_u32(const struct gw_param *p, uint32_t standard, uint32_t min, uint32_t max,
	uint32_t *out, char why[GW_PARAM_WHY]);

#endif
