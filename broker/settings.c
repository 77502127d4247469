#include "broker/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "broker/endpoints.h"
#include "store/url.h"

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
	{ "max-peers", BASE_CONF_U32, AT(max_peers), "8192", 1, 16000, NULL,
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
	{ "durability", BASE_CONF_CHOICE, AT(durability), "always", 0, 0, "always|everysec",
		"what Redis must promise before events are accepted; everysec: whatever it does, the last second or more may be lost" },
	{ "redis-timeout", BASE_CONF_MS, AT(redis_ms), "20s", 1000, 600000, NULL,
		"how long Redis may be silent before the connection is given up" },
	{ "max-events", BASE_CONF_U32, AT(max_events), "1048576", 1, 64 << 20, NULL,
		"deliveries of events that may be here at once, waiting or running; more are refused with 429" },
	{ "max-event-bytes", BASE_CONF_BYTES, AT(max_event_bytes), "256m", 1 << 20, 0, NULL,
		"payloads of events that may be here at once; more are refused with 503" },
	{ "strict", BASE_CONF_BOOL, AT(strict), "no", 0, 0, NULL,
		"refuse an event that no service subscribes to with 404; otherwise it is accepted and counted" },
	{ "decide", BASE_CONF_MS, AT(decide_ms), "60s", 100, 600000, NULL,
		"how long an event may wait for Redis until its sender is told that it may be stored or not" },
	{ "result-ttl", BASE_CONF_MS, AT(result_ttl_ms), "1h", 1000, 30u * 86400 * 1000, NULL,
		"how long results of events are kept" },
	{ "results-max", BASE_CONF_BYTES, AT(results_max), "64m", 64 << 10, 0, NULL,
		"results that Redis keeps; the oldest go first" },
	{ "dedupe-ttl", BASE_CONF_MS, AT(dedupe_ttl_ms), "24h", 1000, 30u * 86400 * 1000, NULL,
		"how long an Idempotency-Key and its answer are kept" },
	{ "dedupe-max", BASE_CONF_BYTES, AT(dedupe_max), "256m", 64 << 10, 0, NULL,
		"keys and answers that Redis keeps; when it is full requests with a new key are refused with 503" },
	{ 0 },
};

static char *find_fault(const void *settings, const char **option)
{
	const struct brk_settings *s = settings;
	char *why = NULL, *endpoints = NULL;

	*option = "--bind";
	if (brk_endpoints_make(s->bind, &endpoints, &why) != BASE_OK)
		return why;
	free(endpoints);
	*option = "--redis";
	return strcmp(s->redis, "none") != 0 ? store_url_fault(s->redis) : NULL;
}

const struct base_conf_program brk_program = {
	.name = "pirn-broker",
	.synopsis = "[options]",
	.about =
		"Takes calls from gateways and clients, gives them to workers that have room, and brings the\n"
		"answers back. Exit codes: 0 ended in good order, 2 wrong option, 69 the address to listen on is\n"
		"in use, 70 a bug or no memory, 78 a setting that cannot work.",
	.rows = rows,
	.fault = find_fault,
};
