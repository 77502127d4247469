#include "broker/metrics.h"

#include <assert.h>
#include <stdint.h>

#include "base/stats.h"

/* name, type, value, help */
#define ROUTER_FIGURES(X) \
	X("pirn_broker_messages_received_total", COUNTER, s->messages_in, "Messages from peers.") \
	X("pirn_broker_messages_sent_total", COUNTER, s->messages_out, "Messages to peers.") \
	X("pirn_broker_received_bytes_total", COUNTER, s->bytes_in, "Bytes from peers.") \
	X("pirn_broker_sent_bytes_total", COUNTER, s->bytes_out, "Bytes to peers.") \
	X("pirn_broker_wire_malformed_total", COUNTER, s->malformed, \
		"What came in and was no message.") \
	X("pirn_broker_unreachable_total", COUNTER, s->unreachable, \
		"Peers that could no longer be reached.") \
	X("pirn_broker_connections", GAUGE, s->peers, \
		"Peers that have sent something and are reachable.")

#define REDIS_FIGURES(X) \
	X("pirn_store_up", GAUGE, store_redis_up(redis), "1 while Redis can be used.") \
	X("pirn_store_commands_total", COUNTER, s->commands, "Commands that were given to Redis.") \
	X("pirn_store_errors_total", COUNTER, s->errors, "Error replies of Redis.") \
	X("pirn_store_unknown_total", COUNTER, s->unknown, \
		"Commands that were lost with their connection.") \
	X("pirn_store_connects_total", COUNTER, s->connects, "Times that Redis came up.") \
	X("pirn_store_open", GAUGE, s->open, "Commands under way.")

static Pirn__Metric *add(
	struct brk_metrics *m, const char *name, uint32_t type, const char *help, double value)
{
	assert(m->n < BRK_METRICS_MAX);
	Pirn__Metric *metric = &m->metrics[m->n];
	pirn__metric__init(metric);
	metric->name = (char *)(uintptr_t)
		name; /* protobuf-c's structs hold no const; packing only reads */
	metric->help = (char *)(uintptr_t)help;
	metric->has_type = metric->has_value = true;
	metric->type = type;
	metric->value = value;
	m->list[m->n++] = metric;
	return metric;
}

static void set_histogram(Pirn__Metric *metric, const struct base_hist *hist)
{
	size_t n = BASE_HIST_BUCKETS;
	while (n > 0 && hist->counts[n - 1] == 0)
		n--;
	metric->has_value = false;
	metric->buckets = (uint64_t *)(uintptr_t)hist->counts;
	metric->n_buckets = n;
	metric->has_sum = true;
	metric->sum = (double)hist->sum_us / 1e6;
}

static void add_sample(void *arg, const struct base_stat_sample *sample)
{
	add(arg, sample->def->name, sample->def->type, sample->def->help, sample->value);
}

static void add_router(struct brk_metrics *m, const struct net_router *router)
{
	const struct net_router_stats *s = net_router_stats(router);
#define X(name, type, value, help) add(m, name, BASE_STAT_##type, help, (double)(value));
	ROUTER_FIGURES(X)
#undef X
}

static void add_redis(struct brk_metrics *m, const struct store_redis *redis)
{
	const struct store_redis_stats *s = store_redis_stats(redis);
#define X(name, type, value, help) add(m, name, BASE_STAT_##type, help, (double)(value));
	REDIS_FIGURES(X)
#undef X
}

static void add_store(struct brk_metrics *m, const struct brk_metrics_sources *s)
{
	add_redis(m, s->redis);
	add(m, "pirn_store_durable", BASE_STAT_GAUGE,
		"1 while events are accepted on this Redis: by its settings, or as told.",
		s->durable);
	add(m, "pirn_store_asks", BASE_STAT_GAUGE, "What events want of Redis, under way.",
		(double)s->asks);
	set_histogram(add(m, "pirn_store_commit_seconds", BASE_STAT_HISTOGRAM,
			      "From a commit of events to Redis's answer, fsync included.", 0),
		s->commits);
}

void brk_metrics_fill(struct brk_metrics *m, const struct brk_metrics_sources *sources)
{
	m->n = 0;
	add_router(m, sources->router);
	if (sources->redis)
		add_store(m, sources);
	add(m, "pirn_broker_registry_unsaved", BASE_STAT_GAUGE,
		"Services that are not in Redis yet.", (double)sources->unsaved);
	base_stat_process(add_sample, m);
}
