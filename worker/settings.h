/* pirn-worker's settings, out of one table. */
#ifndef WRK_SETTINGS_H
#define WRK_SETTINGS_H

#include <stdint.h>

#include "base/conf.h"

struct wrk_settings {
	char *brokers, *redis, *services, *carry, *name, *http_allow, *http_ca,
		*callback_secret, *callback_secret_file;
	uint32_t threads, max_threads, drain_ms, stuck_ms, http_connect_ms;
	uint64_t max_response, max_memory;
	bool http_public, callbacks;
};

extern const struct base_conf_program wrk_settings_program;

/* Fills what has no fixed default: the name (host and process), and where services are (beside the
 * program, as a build or an installation puts them). */
BASE_MUSTUSE enum base_err wrk_settings_complete(struct wrk_settings *s);

#endif
