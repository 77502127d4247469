/* What a broker can be told: one table (base/conf.h), from which flags, PIRN_ variables,
 * the settings file, --help, --check and the table in doc/operations.md come.
 */
#ifndef BROKER_SETTINGS_H
#define BROKER_SETTINGS_H

#include "base/conf.h"

enum brk_durability { BRK_DURABILITY_ALWAYS, BRK_DURABILITY_EVERYSEC };

struct brk_settings {
	char *bind;              /* endpoints, comma-separated */
	char *redis;             /* URL, or "none" */
	char *name;              /* NULL: host and process id */
	uint32_t max_calls;
	uint64_t max_bytes;
	uint64_t max_item;
	uint32_t max_peers;
	uint32_t max_services;
	uint32_t beat_ms;
	uint32_t missed_beats;
	uint32_t drain_ms;
	uint32_t forget_ms;
	unsigned durability;     /* enum brk_durability */
	uint32_t redis_ms;       /* one command */
	uint32_t max_events;
	bool strict;
	uint64_t max_event_bytes;
	uint32_t decide_ms;
	uint32_t result_ttl_ms;
	uint64_t results_max;
	uint32_t dedupe_ttl_ms;
	uint64_t dedupe_max;
};

extern const struct base_conf_program brk_program;

#endif
