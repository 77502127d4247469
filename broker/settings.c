#include "broker/settings.h"

#include <stddef.h>

#define AT(field) offsetof(struct brk_settings, field)

static const struct base_conf_row rows[] = {
	{ "bind", BASE_CONF_STR, AT(bind), "tcp://127.0.0.1:7400", 0, 0, NULL,
		"where peers connect: tcp://ADDRESS:PORT or ipc://PATH, several with commas" },
	{ "redis", BASE_CONF_STR, AT(redis), "redis://127.0.0.1:6379", 0, 0, NULL,
		"Redis: redis://[[user]:password@]host[:port][/db] or unix:///path; none: nothing outlives a restart" },
	{ "name", BASE_CONF_STR, AT(name), NULL, 0, 0, NULL,
		"this broker's name in logs, lists and metrics; otherwise host name and process id" },
	{ "max-calls", BASE_CONF_U32, AT(max_calls), "65536", 1, 16 << 20, NULL,
		"calls that may wait and run at once; more are refused with 503" },
	{ "max-bytes", BASE_CONF_BYTES, AT(max_bytes), "256m", 1 << 20, 0, NULL,
		"payloads of open calls that may be kept at once; more are refused with 503" },
	{ "max-item", BASE_CONF_BYTES, AT(max_item), "16m", 4096, 16 << 20, NULL,
		"the largest request or response" },
	{ "max-peers", BASE_CONF_U32, AT(max_peers), "4096", 1, 4096, NULL,
		"gateways, clients and workers that may be linked at once" },
	{ "max-services", BASE_CONF_U32, AT(max_services), "4096", 1, 65536, NULL,
		"services that may be known at once" },
	{ "beat", BASE_CONF_MS, AT(beat_ms), "1s", 50, 60000, NULL,
		"how often each side of a link says that it lives" },
	{ "missed-beats", BASE_CONF_U32, AT(missed_beats), "3", 2, 100, NULL,
		"beats without a sign after which a peer is gone" },
	{ "drain", BASE_CONF_MS, AT(drain_ms), "30s", 0, 3600000, NULL,
		"how long SIGTERM waits for open calls; a second one ends at once" },
	{ "forget", BASE_CONF_MS, AT(forget_ms), "1d", 1000, 30u * 86400 * 1000, NULL,
		"how long a service is known without a worker" },
	{ 0 },
};

const struct base_conf_program brk_program = {
	.name = "pirn-broker",
	.synopsis = "[options]",
	.about =
		"Takes calls from gateways and clients, gives them to workers that have room, and brings the\n"
		"answers back. Exit codes: 0 ended in good order, 2 wrong option, 69 the address to listen on is\n"
		"in use, 70 a bug or no memory, 78 a setting that cannot work.",
	.rows = rows,
};
