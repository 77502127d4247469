/* Which dead letters are meant: by why they died, the last status, and when. What a
 * request's query says, and what the body of a redrive or a purge says, is the same.
 */
#ifndef GATEWAY_LETTERS_H
#define GATEWAY_LETTERS_H

#include "gateway/params.h"
#include "proto/pirn.pb-c.h"

/* A place for each in a table of parameters; what else a resource takes follows. */
#define GW_LETTER_PARAMS \
	{ .name = "reason" }, { .name = "status" }, { .name = "before" }, \
	{ \
		.name = "after" \
	}
enum { GW_LETTER_REASON, GW_LETTER_STATUS, GW_LETTER_BEFORE, GW_LETTER_AFTER, GW_LETTER__N };

struct gw_letter_filter {
	bool has_reason, has_status;
	uint32_t reason, status;
	uint64_t before_ms, after_ms; /* died before, at or after; 0: whenever */
};

/* params begins with GW_LETTER_PARAMS, read. False: why is a sentence for the client. */
bool gw_letters_filter(
	const struct gw_param *params, struct gw_letter_filter *out, char why[GW_PARAM_WHY]);

/* UNTRUSTED letter. */
bool gw_letters_match(const struct gw_letter_filter *f, const Pirn__Letter *letter);

#endif
