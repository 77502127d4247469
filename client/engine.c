#include "client/parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/ulid.h"
#include "base/version.h"

#define DEFAULT_CALLS   65536
#define DEFAULT_BYTES   (256ull * 1024 * 1024)
#define DEFAULT_WAIT_MS 2000
#define POOL_KEEP       (8u * 1024 * 1024)
#define ANSWER_ARENA    (64u * 1024 * 1024)

/* ---- time ------------------------------------------------------------------ */

static void on_time(uv_timer_t *timer)
{
	struct client_engine *e = timer->data;

	client_event_late(e, uv_now(timer->loop));
	e->timer_at = UINT64_MAX; /* RUN looks, and arms it again */
}

/* Armed only when something is due earlier: most calls end long before they are due. */
void client_engine_arm(struct client_engine *e)
{
	const struct base_heap_node *first = base_heap_first(&e->heap);
	uint64_t now;

	if (!first || first->due >= e->timer_at)
		return;
	now = net_loop_now_ms(e->loop);
	e->timer_at = first->due;
	uv_timer_start(e->timer, on_time, first->due > now ? first->due - now : 0, 0);
}

static bool on_run(void *arg)
{
	struct client_engine *e = arg;
	uint64_t now = net_loop_now_ms(e->loop);
	struct base_heap_node *first;

	client_event_late(e, now);
	while ((first = base_heap_first(&e->heap)) && first->due <= now) {
		struct client_record *record = base_heap_of(first, struct client_record, timed);
		base_heap_remove(&e->heap, first);
		record->expire(e, record);
	}
	client_engine_arm(e);
	return false;
}

/* ---- links ----------------------------------------------------------------- */

/* Bits go round, so that a broker that came back is not mistaken for the one that refused. */
static bool find_bit(struct client_engine *e, unsigned *bit)
{
	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++) {
		unsigned at = (e->next_bit + i) % CLIENT_MAX_LINKS;
		if (e->by_bit[at])
			continue;
		e->next_bit = at + 1;
		*bit = at;
		return true;
	}
	return false;
}

static void on_up(void *arg, struct net_link *net, const Pirn__Welcome *welcome)
{
	struct client_engine *e = arg;
	struct client_link *link = NULL;
	unsigned bit = 0;
	bool has_bit = find_bit(e, &bit);

	if (has_bit)
		link = calloc(1, sizeof *link);
	if (!link) {
		base_log(BASE_ERROR, "link_not_used", LOG_STR("broker", net_link_name(net)));
		net_link_set_user(net, NULL);
		if (has_bit)
			net_link_break(net, "there is no memory for it");
		return;
	}
	link->net = net;
	link->bit = 1ull << bit;
	link->revision = welcome->revision;
	if (link->revision < PIRN_PROTOCOL_REVISION)
		base_log(BASE_WARN, "broker_older", LOG_STR("broker", net_link_name(net)),
			LOG_U64("revision", link->revision));
	e->by_bit[bit] = link;
	net_link_set_user(net, link);
	client_call_retry_waiting(e);
}

static void on_down(void *arg, struct net_link *net)
{
	struct client_engine *e = arg;
	struct client_link *link = net_link_user(net);

	if (!link)
		return;
	net_link_set_user(net, NULL);
	e->by_bit[__builtin_ctzll(link->bit)] = NULL;
	client_table_link_down(e, link);
	client_call_link_down(e, link);
	client_query_link_down(e, link);
	free(link);
}

static void on_drain(void *arg, struct net_link *net)
{
	struct client_engine *e = arg;

	(void)net; /* it is not offered any more: net_link_draining */
	e->left_at = net_loop_now_ms(e->loop);
}

static void on_message(
	void *arg, struct net_link *net, const struct net_frame *f, struct base_block *block)
{
	struct client_engine *e = arg;
	struct client_link *link = net_link_user(net);

	if (!link)
		return;
	switch (f->head->kind) {
	case PIRN__KIND__REPLY:
	case PIRN__KIND__REFUSED:
	case PIRN__KIND__ACCEPTED:
		client_call_message(e, link, f, block);
		break;
	case PIRN__KIND__REGISTRY:
		client_table_message(e, link, f);
		break;
	case PIRN__KIND__ANSWER:
		client_query_message(e, link, f);
		break;
	default:
		break; /* of a newer protocol: ignored */
	}
}

static void on_time_told(void *arg, struct net_link *net, uint64_t now_ms)
{
	struct client_engine *e = arg;

	(void)net;
	client_clock_hear(&e->clock, net_loop_now_ms(e->loop), now_ms);
}

/* ---- birth and death ------------------------------------------------------- */

static void set_defaults(struct client_engine_conf *conf)
{
	if (conf->max_calls == 0)
		conf->max_calls = DEFAULT_CALLS;
	if (conf->max_bytes == 0)
		conf->max_bytes = DEFAULT_BYTES;
	if (conf->connect_wait_ms == 0)
		conf->connect_wait_ms = DEFAULT_WAIT_MS;
}

static enum base_err connect_all(struct client_engine *e, char **why)
{
	const struct net_links_events events = { .on_up = on_up,
		.on_down = on_down,
		.on_drain = on_drain,
		.on_message = on_message,
		.on_time = on_time_told,
		.arg = e };
	struct net_links_conf conf = { .brokers = e->conf.brokers,
		.role = PIRN__ROLE__CLIENT,
		.name = e->conf.name,
		.registry = true };
	struct base_ulid_maker maker = { .last_ms = 0 };
	uint64_t seed;

	base_rand_system(&seed, sizeof seed);
	base_rand_init(&e->rand, seed);
	base_rand_system(&e->lane, sizeof e->lane);
	base_ulid_make(&maker, &e->rand, base_clock_unix_ms(), conf.boot);
	return net_links_new(e->loop, &conf, &events, &e->links, why);
}

enum base_err client_engine_new(struct net_loop *loop, const struct client_engine_conf *conf,
	const struct client_engine_events *events, struct client_engine **out, char **why)
{
	struct client_engine *e = calloc(1, sizeof *e);
	enum base_err err = BASE_NOMEM;

	if (!e)
		return err;
	e->loop = loop;
	e->conf = *conf;
	e->events = events ? *events : (struct client_engine_events){ 0 };
	e->timer_at = UINT64_MAX;
	e->resends = (struct base_budget){ CLIENT_RESENDS_FIRST, CLIENT_RESENDS_SAVED,
		CLIENT_RESENDS_SHARE };
	set_defaults(&e->conf);
	base_slab_init(&e->slab, sizeof(struct client_call), e->conf.max_calls + 64);
	base_pool_init(&e->pool, POOL_KEEP);
	base_heap_init(&e->heap);
	base_arena_init(&e->arena, 4096, ANSWER_ARENA);
	base_arena_init(&e->remembered_arena, 4096, ANSWER_ARENA);
	e->timer = calloc(1, sizeof *e->timer);
	if (!e->timer)
		goto fail;
	uv_timer_init(net_loop_uv(loop), e->timer);
	e->timer->data = e;
	err = net_loop_hook(loop, NET_RUN, on_run, e, &e->run_hook);
	if (err)
		goto fail;
	err = connect_all(e, why);
	if (err)
		goto fail;
	*out = e;
	return BASE_OK;
fail:
	client_engine_free(&e);
	return err;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

void client_engine_free(struct client_engine **ep)
{
	struct client_engine *e = *ep;

	if (!e)
		return;
	e->closing = true;
	client_call_cancel_all(e);
	client_query_end_all(e);
	*ep = NULL;
	net_loop_unhook(&e->run_hook);
	if (e->timer)
		uv_close((uv_handle_t *)e->timer, on_timer_closed);
	net_links_free(&e->links);
	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++)
		if (e->by_bit[i]) {
			base_arena_fini(&e->by_bit[i]->arena);
			free(e->by_bit[i]);
		}
	client_table_free(e);
	base_heap_fini(&e->heap);
	base_slab_fini(&e->slab);
	base_pool_fini(&e->pool);
	base_arena_fini(&e->arena);
	free(e);
}

size_t client_engine_open(const struct client_engine *e)
{
	return e->n_calls;
}

bool client_engine_now_ms(const struct client_engine *e, uint64_t *now_ms)
{
	return client_clock_now(&e->clock, net_loop_now_ms(e->loop), now_ms);
}

size_t client_engine_brokers(const struct client_engine *e)
{
	size_t n = 0;

	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++)
		n += e->by_bit[i] && !net_link_draining(e->by_bit[i]->net);
	return n;
}

/* ---- reasons --------------------------------------------------------------- */

static const struct {
	uint16_t status;
	const char *text;
} reasons[] = {
	[PIRN__REASON__NONE] = { 200, "the service answered" },
	[PIRN__REASON__UNKNOWN_SERVICE] = { 404, "no such service is known" },
	[PIRN__REASON__NO_WORKER] = { 503, "no worker is there for the service" },
	[PIRN__REASON__OVERLOADED] = { 503, "the broker has more work than it can hold" },
	[PIRN__REASON__QUEUE_FULL] = { 429, "the service's queue is full" },
	[PIRN__REASON__DEADLINE] = { 504, "the time for the call was up" },
	[PIRN__REASON__WORKER_LOST] = { 502, "the connection to the service was lost in mid-call" },
	[PIRN__REASON__DRAINING] = { 503, "the broker is shutting down" },
	[PIRN__REASON__TOO_LARGE] = { 413, "the message is too large" },
	[PIRN__REASON__MALFORMED] = { 400, "the broker did not understand the message" },
	[PIRN__REASON__UNSUPPORTED] = { 501, "the broker does not do that" },
	[PIRN__REASON__BREAKER_OPEN] = { 503, "the service fails too often and is given a rest" },
	[PIRN__REASON__CANCELLED] = { 503, "the call was cancelled" },
	[PIRN__REASON__CRASHED] = { 502, "the service broke its contract" },
	[PIRN__REASON__NO_BROKER] = { 503, "no broker could be reached" },
	[PIRN__REASON__NOT_DURABLE] = { 503, "the event cannot be kept on disk now" },
	[PIRN__REASON__KEY_BUSY] = { 409, "a call with this key is under way" },
	[PIRN__REASON__KEY_BODY] = { 422, "this key came with another request before" },
	[PIRN__REASON__KEYS_FULL] = { 503, "there is no room to remember another key" },
	[PIRN__REASON__UNDECIDED] = { 503, "it is not known whether an event was stored" },
	[PIRN__REASON__MOVED] = { 503, "the broker lost its journals" },
	[PIRN__REASON__POISON] = { 502, "too many workers died of it" },
	[PIRN__REASON__LEASE] = { 504, "the run's lease was over" },
	[PIRN__REASON__EXHAUSTED] = { 502, "all attempts failed" },
	[PIRN__REASON__BREAKER_FORCED] = { 503, "an operator has opened the service's circuit breaker" },
	[PIRN__REASON__SLOT] = { 409, "another slot of the timer is the last one" },
	[PIRN__REASON__NO_SUBSCRIBER] = { 404, "no service subscribes to such events" },
	[PIRN__REASON__EXPIRED] = { 504, "it was too old for another attempt" },
	[PIRN__REASON__HOPS] = { 502, "it came through too many services" },
	[PIRN__REASON__UNSENT] = { 503, "the service ran, but the events that it sends could not be stored" },
};

#define N_REASONS (sizeof reasons / sizeof reasons[0])

const char *client_reason_text(enum _Pirn__Reason reason)
{
	return (unsigned)reason < N_REASONS ? reasons[reason].text
					    : "the broker gave an unknown reason";
}

unsigned client_reason_status(enum _Pirn__Reason reason)
{
	return (unsigned)reason < N_REASONS ? reasons[reason].status : 503;
}
