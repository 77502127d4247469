#include "broker/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "broker/endpoints.h"
#include "broker/shell_parts.h"
#include "net/notify.h"

#define ARENA_FIRST (64u * 1024)
#define ARENA_MAX   (16u * 1024 * 1024) /* what a hostile HELLO may make protobuf-c take */
#define LEAVE_MS    1000                /* how long the end waits for what was asked of Redis */
#define START_MS    2000                /* how long the beginning waits for Redis */
#define HOPE_MS     2000 /* that long a service without workers is one whose worker restarts */
#define MAX_FILES   65536

/* ---- the router's events */

static void fill_metrics(struct brk_shell *s)
{
	const struct brk_metrics_sources sources = { .router = s->router,
		.redis = s->redis,
		.commits = brk_carrier_commits(s->carrier),
		.unsaved = brk_catalog_unsaved(s->catalog),
		.asks = brk_carrier_open(s->carrier),
		.durable = s->durable };
	brk_metrics_fill(&s->metrics, &sources);
	brk_core_extra(s->core, s->metrics.list, s->metrics.n);
}

/* UNTRUSTED: a body that is not what its kind says stays NULL, and the core counts it. */
static void on_message(
	void *arg, uint32_t peer, const struct net_frame *frame, struct base_block *block)
{
	struct brk_shell *s = arg;
	if (s->ended)
		return;
	struct brk_message m = { peer, frame->head, frame->body, frame->body_size, block, NULL,
		NULL };
	ProtobufCAllocator allocator = net_arena_allocator(&s->arena);
	switch (frame->head->kind) {
	case PIRN__KIND__HELLO:
		m.hello = pirn__hello__unpack(&allocator, frame->body_size, frame->body);
		break;
	case PIRN__KIND__BEAT:
		m.beat = pirn__beat__unpack(&allocator, frame->body_size, frame->body);
		break;
	case PIRN__KIND__QUERY:
		fill_metrics(s);
		break;
	default:
		break;
	}
	brk_shell_execute(s, brk_core_message(s->core, brk_shell_now_ms(s), &m));
	base_arena_reset(&s->arena);
}

static void on_gone(void *arg, uint32_t peer)
{
	struct brk_shell *s = arg;
	if (!s->ended)
		brk_shell_execute(s, brk_core_gone(s->core, brk_shell_now_ms(s), peer));
}

/* ---- the end */

static void stop(struct brk_shell *s)
{
	base_log(BASE_INFO, "broker_bye", LOG_STR("name", s->name), LOG_STR("why", s->why),
		LOG_U64("calls", s->left_calls));
	net_loop_stop(s->loop);
}

static void on_late(uv_timer_t *timer)
{
	stop(timer->data); /* the others find out by our beat, a little later */
}

void brk_shell_answered(struct brk_shell *s)
{
	if (s->ended && brk_carrier_open(s->carrier) == 0)
		stop(s);
}

/* The core gives its journals up, so that others adopt them at once. That is waited for, because
 * a connection that closes early may take its last commands with it. */
static void end(struct brk_shell *s, const char *why)
{
	struct brk_figures figures;
	if (s->ended)
		return;
	s->ended = true;
	s->why = why;
	brk_core_figures(s->core, &figures);
	s->left_calls = figures.waiting + figures.running;
	brk_shell_execute(s, brk_core_end(s->core, brk_shell_now_ms(s)));
	uv_timer_start(&s->drain, on_late, LEAVE_MS, 0);
	brk_shell_answered(s);
}

static void on_drain_over(uv_timer_t *timer)
{
	end(timer->data, "the time to drain is over");
}

static void on_terminate(void *arg, unsigned times)
{
	struct brk_shell *s = arg;
	if (times > 1) {
		end(s, "told twice");
		return;
	}
	base_log(BASE_INFO, "broker_drain", LOG_STR("name", s->name),
		LOG_U64("at_most_ms", s->settings->drain_ms));
	net_notify_stopping();
	s->draining = true;
	uv_timer_start(&s->drain, on_drain_over, s->settings->drain_ms, 0);
	brk_shell_execute(s, brk_core_drain(s->core, brk_shell_now_ms(s)));
}

/* ---- the turn */

static void on_wake(uv_timer_t *timer)
{
	((struct brk_shell *)timer->data)->wake_at = UINT64_MAX; /* RUN looks what is due */
}

/* A timer that stands early is left alone: it fires, finds nothing due, and is set anew. */
static void set_wake(struct brk_shell *s, uint64_t due, uint64_t now)
{
	if (due >= s->wake_at)
		return;
	s->wake_at = due;
	uv_timer_start(&s->wake, on_wake, due - now, 0);
}

/* Everything that arrived has been told by now: Redis's answers when the loop polled, peers' messages in
 * READ. So what this turn stores and settles is together, and leaves in FLUSH. */
static bool on_run(void *arg)
{
	struct brk_shell *s = arg;
	uint64_t now = brk_shell_now_ms(s);
	if (s->ended)
		return false;
	if (brk_core_due(s->core) <= now) {
		brk_shell_execute(s, brk_core_tick(s->core, now, base_clock_unix_ms()));
		brk_shell_store_retell(s);
	}
	if (brk_core_pending(s->core))
		brk_shell_execute(s, brk_core_turn(s->core, now));
	if (s->draining && brk_core_drained(s->core)) {
		end(s, "drained");
		return false;
	}
	uint64_t due = brk_core_due(s->core);
	if (due <= now || brk_core_pending(s->core))
		return true;
	set_wake(s, due, now);
	return false;
}

/* ---- the beginning */

static void raise_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= MAX_FILES)
		return;
	limit.rlim_cur = limit.rlim_max < MAX_FILES ? limit.rlim_max : MAX_FILES;
	setrlimit(RLIMIT_NOFILE, &limit); /* less is fine too: fewer peers fit */
}

static void make_name(struct brk_shell *s)
{
	char host[128] = "broker";
	if (s->settings->name && s->settings->name[0]) {
		snprintf(s->name, sizeof s->name, "%s", s->settings->name);
		return;
	}
	if (gethostname(host, sizeof host - 1) != 0)
		strcpy(host, "broker");
	snprintf(s->name, sizeof s->name, "%s-%ld", host, (long)getpid());
}

static enum base_err make_core(struct brk_shell *s)
{
	const struct brk_settings *set = s->settings;
	struct base_rand rand;
	struct base_ulid_maker maker = { 0 };
	struct brk_conf conf = { .name = s->name,
		.max_calls = set->max_calls,
		.max_bytes = set->max_bytes,
		.max_item_bytes = (uint32_t)set->max_item,
		.beat_ms = set->beat_ms,
		.missed_beats = set->missed_beats,
		.max_peers = set->max_peers,
		.max_services = set->max_services,
		.forget_ms = set->forget_ms,
		.hope_ms = HOPE_MS,
		.events = brk_shell_has_redis(set),
		.max_events = set->max_events,
		.strict = set->strict,
		.max_event_bytes = set->max_event_bytes,
		.decide_ms = set->decide_ms,
		.gather = true,
		.settle_ms = 2,
		.ends_ms = 5,
		.bounds = brk_shell_bounds(set) };
	base_rand_system(&conf.seed, sizeof conf.seed);
	base_rand_init(&rand, conf.seed);
	base_ulid_make(&maker, &rand, base_clock_unix_ms(), s->boot);
	base_ulid_print(s->boot, s->boot_text);
	memcpy(conf.boot, s->boot, sizeof conf.boot);
	return brk_core_new(&conf, &s->core);
}

static enum brk_exit fail_with(enum base_err err, const char *why)
{
	base_log(BASE_ERROR, "broker_failed", LOG_STR("why", why ? why : base_err_text(err)));
	switch (err) {
	case BASE_EXISTS:
		return BRK_EXIT_UNAVAILABLE;
	case BASE_CONFIG:
		return BRK_EXIT_CONFIG;
	default:
		return BRK_EXIT_SOFTWARE;
	}
}

void brk_shell_listen(struct brk_shell *s)
{
	const struct net_router_events events = {
		.on_message = on_message, .on_gone = on_gone, .arg = s
	};
	char *why = NULL;
	enum base_err err;
	if (s->router || s->ended || s->code != BRK_EXIT_OK)
		return;
	uv_timer_stop(&s->start);
	err = net_router_new(s->loop, s->endpoints, &events, &s->router, &why);
	if (err) {
		s->code = fail_with(err, why);
		net_loop_stop(s->loop);
	} else {
		base_log(BASE_INFO, "broker_ready", LOG_STR("endpoint", s->endpoints),
			LOG_STR("name", s->name), LOG_STR("boot", s->boot_text));
		net_notify_ready();
	}
	free(why);
}

static void on_start_over(uv_timer_t *timer)
{
	brk_shell_listen(timer->data);
}

static enum base_err make_all(struct brk_shell *s, char **why)
{
	enum base_err err = net_loop_new(&s->loop);
	if (err)
		return err;
	uv_timer_init(net_loop_uv(s->loop), &s->wake);
	uv_timer_init(net_loop_uv(s->loop), &s->drain);
	uv_timer_init(net_loop_uv(s->loop), &s->start);
	s->wake.data = s->drain.data = s->start.data = s;
	if ((err = make_core(s)) || (err = brk_shell_store_new(s, why)))
		return err;
	if ((err = brk_endpoints_make(s->settings->bind, &s->endpoints, why)))
		return err;
	brk_shell_execute(s, brk_core_tick(s->core, brk_shell_now_ms(s),
				     base_clock_unix_ms())); /* tells it the time */
	if ((err = net_loop_hook(s->loop, NET_RUN, on_run, s, &s->hook)))
		return err;
	return net_loop_on_terminate(s->loop, on_terminate, s);
}

static void fini(struct brk_shell *s)
{
	brk_shell_store_free(s);
	net_loop_unhook(&s->hook);
	net_router_free(&s->router);
	brk_core_free(&s->core);
	base_arena_fini(&s->arena);
	if (s->loop) {
		uv_close((uv_handle_t *)&s->wake, NULL);
		uv_close((uv_handle_t *)&s->drain, NULL);
		uv_close((uv_handle_t *)&s->start, NULL);
	}
	net_loop_free(&s->loop);
}

enum brk_exit brk_shell_run(const struct brk_settings *settings)
{
	struct brk_shell s = { .settings = settings, .wake_at = UINT64_MAX };
	char *why = NULL;
	raise_files();
	net_loop_give_way();
	make_name(&s);
	base_arena_init(&s.arena, ARENA_FIRST, ARENA_MAX);
	enum base_err err = make_all(&s, &why);
	if (err) {
		s.code = fail_with(err, why);
	} else {
		/* From the loop, so that what goes wrong ends it. */
		uv_timer_start(&s.start, on_start_over, s.redis ? START_MS : 0, 0);
		net_loop_run(s.loop);
	}
	fini(&s);
	free(s.endpoints);
	free(why);
	return s.code;
}
