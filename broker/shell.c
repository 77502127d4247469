/* The core reuses its list of actions: an input must not be given while the actions of
 * another are still being carried out. Two things could do that, and neither does: the
 * router tells of lost peers from READ, never from within a send, and the catalog tells
 * of entries from Redis's answers. A peer that cannot be sent something for want of
 * memory is cut off, which is an input, so it waits in a list until the actions are done.
 */
#include "broker/shell.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/ulid.h"
#include "broker/catalog.h"
#include "broker/core/core.h"
#include "broker/core/log_ids.h"
#include "broker/metrics.h"
#include "net/router.h"
#include "store/check.h"
#include "store/functions_lua.h"

#define ARENA_FIRST (64u * 1024)
#define ARENA_MAX   (16u * 1024 * 1024) /* what a hostile HELLO may make protobuf-c take */
#define RETELL_MS   10000
#define MAX_FILES   65536
#define MAX_CUT     64

struct shell {
	const struct brk_settings *settings;
	struct net_loop *loop;
	struct net_router *router;
	struct net_hook *hook;
	struct brk_core *core;
	struct store_redis *redis; /* NULL: told to have none */
	struct brk_catalog *catalog;
	uv_timer_t wake, drain;
	uint64_t wake_at; /* UINT64_MAX: not armed */
	struct base_arena arena;
	struct brk_metrics metrics;
	char name[256];
	char boot_text[BASE_ULID_TEXT + 1];
	uint8_t boot[16];
	bool executing, draining, ended;
	uint32_t cut[MAX_CUT];
	size_t n_cut;
	uint64_t told_at; /* when Redis's state was logged last */
	char told[256];
};

/* ---- actions */

/* What text and number of a log action are called: log_ids.h. */
static const struct {
	const char *text, *number;
} log_keys[] = {
	[BRK_LOG_peer_joined] = { "peer", "number" },
	[BRK_LOG_peer_refused] = { "why", "number" },
	[BRK_LOG_peer_gone] = { "peer", "calls" },
	[BRK_LOG_peer_silent] = { "peer", "ms" },
	[BRK_LOG_peer_replaced] = { "peer", "number" },
	[BRK_LOG_peer_draining] = { "peer", "calls" },
	[BRK_LOG_service_known] = { "service", "routes" },
	[BRK_LOG_service_forgotten] = { "service", "ms" },
	[BRK_LOG_service_refused] = { "why", "number" },
	[BRK_LOG_drain_started] = { "broker", "calls" },
};

_Static_assert(sizeof log_keys / sizeof *log_keys == BRK_LOG__N,
	"each of the core's log ids has its keys");

static void log_action(const struct brk_action *a)
{
	for (size_t i = 0; i < BRK_LOG__N; i++) {
		if (strcmp(brk_log_name((enum brk_log_id)i), a->log_id) != 0)
			continue;
		base_log(brk_log_level(a->log_id), a->log_id,
			LOG_STR(log_keys[i].text, a->log_text),
			LOG_U64(log_keys[i].number, a->log_number));
		return;
	}
}

/* More than the list holds at once: they are found by their missed beats. */
static void cut_off(struct shell *s, uint32_t peer, enum base_err err)
{
	if (err == BASE_OK || err == BASE_GONE) /* the router tells of GONE itself */
		return;
	base_log(BASE_WARN, "peer_cut_off", LOG_U64("number", peer), LOG_ERR(err));
	if (s->n_cut < MAX_CUT)
		s->cut[s->n_cut++] = peer;
}

static enum base_err send_item(struct shell *s, struct brk_action *a)
{
	const struct brk_payload *p = &a->payload;
	const struct net_payload payload = { p->bytes, p->bytes ? p->bytes + p->meta_size : NULL,
		p->meta_size, p->data_size, p->block };
	return net_router_item(s->router, a->peer, a->message, &a->item, &payload);
}

static void keep_service(struct shell *s, const Pirn__Entry *entry)
{
	enum base_err err = brk_catalog_keep(s->catalog, entry);
	if (err)
		base_log(BASE_WARN, "registry_not_kept",
			LOG_STR("service", entry->manifest->service), LOG_ERR(err));
}

static void execute_one(struct shell *s, struct brk_action *a)
{
	switch (a->kind) {
	case BRK_SEND_ITEM:
		cut_off(s, a->peer, send_item(s, a));
		break;
	case BRK_SEND_CREDIT:
		cut_off(s, a->peer, net_router_credit(s->router, a->peer, &a->credit));
		break;
	case BRK_SEND_CONTROL:
		cut_off(s, a->peer, net_router_control(s->router, a->peer, a->message, a->control));
		break;
	case BRK_FORGET:
		net_router_forget(s->router, a->peer);
		break;
	case BRK_KEEP_SERVICE:
		keep_service(s, a->entry);
		break;
	case BRK_DROP_SERVICE:
		brk_catalog_drop(s->catalog, a->entry->manifest->service);
		break;
	case BRK_LOG:
		log_action(a);
		break;
	}
}

static void execute_list(struct shell *s, const struct brk_actions *actions)
{
	assert(!s->executing);
	s->executing = true;
	for (size_t i = 0; i < actions->n; i++)
		execute_one(s, &actions->list[i]);
	s->executing = false;
}

/* The time of the next input. */
static uint64_t now_ms(struct shell *s)
{
	brk_core_clock(s->core, net_loop_now_us(s->loop));
	return net_loop_now_ms(s->loop);
}

static void execute(struct shell *s, const struct brk_actions *actions)
{
	execute_list(s, actions);
	while (s->n_cut) {
		uint32_t peer = s->cut[--s->n_cut];
		net_router_forget(s->router, peer);
		execute_list(s, brk_core_gone(s->core, now_ms(s), peer));
	}
}

/* ---- the router's events */

/* UNTRUSTED: a body that is not what its kind says stays NULL, and the core counts it. */
static void on_message(
	void *arg, uint32_t peer, const struct net_frame *frame, struct base_block *block)
{
	struct shell *s = arg;
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
		brk_metrics_fill(&s->metrics, s->router, s->redis, brk_catalog_unsaved(s->catalog));
		brk_core_extra(s->core, s->metrics.list, s->metrics.n);
		break;
	default:
		break;
	}
	execute(s, brk_core_message(s->core, now_ms(s), &m));
	base_arena_reset(&s->arena);
}

static void on_gone(void *arg, uint32_t peer)
{
	struct shell *s = arg;
	execute(s, brk_core_gone(s->core, now_ms(s), peer));
}

/* ---- Redis */

static void on_entry(void *arg, const Pirn__Entry *entry)
{
	struct shell *s = arg;
	execute(s, brk_core_entry(s->core, now_ms(s), entry));
}

static void on_check(void *arg, const struct store_check *check)
{
	struct shell *s = arg;
	for (size_t i = 0; i < check->n; i++)
		base_log(BASE_WARN, "store_unsafe", LOG_STR("redis", store_redis_shown(s->redis)),
			LOG_STR("why", check->sentences[i]));
	if (!check->known)
		base_log(BASE_INFO, "store_settings_unknown",
			LOG_STR("redis", store_redis_shown(s->redis)),
			LOG_STR("why",
				"Redis does not let itself be asked for its settings (CONFIG GET)"));
}

static void on_store_up(void *arg)
{
	struct shell *s = arg;
	s->told_at = 0;
	base_log(BASE_INFO, "store_up", LOG_STR("redis", store_redis_shown(s->redis)));
	if (store_check_start(s->redis, on_check, s) != BASE_OK)
		return; /* it fell again, and on_store_up comes again */
	brk_catalog_up(s->catalog, s->redis);
}

static void tell_down(struct shell *s, const char *why)
{
	s->told_at = net_loop_now_ms(s->loop);
	snprintf(s->told, sizeof s->told, "%s", why);
	base_log(BASE_WARN, "store_down", LOG_STR("redis", store_redis_shown(s->redis)),
		LOG_STR("why", why),
		LOG_STR("then", "calls go on, the registry is kept in memory; still trying"));
}

static void on_store_down(void *arg, const char *why)
{
	struct shell *s = arg;
	brk_catalog_down(s->catalog);
	tell_down(s, why);
}

/* Somebody who mends the address and then meets a wrong password wants to hear of it. */
static void retell_down(struct shell *s)
{
	if (s->told_at == 0 || net_loop_now_ms(s->loop) - s->told_at < RETELL_MS)
		return;
	const char *why = store_redis_why(s->redis);
	if (strcmp(why, s->told) != 0)
		tell_down(s, why);
}

/* ---- time */

static void on_wake(uv_timer_t *timer)
{
	((struct shell *)timer->data)->wake_at = UINT64_MAX; /* RUN looks what is due */
}

/* A timer that stands early is left alone: it fires, finds nothing due, and is set anew. */
static void set_wake(struct shell *s, uint64_t due, uint64_t now)
{
	if (due >= s->wake_at)
		return;
	s->wake_at = due;
	uv_timer_start(&s->wake, on_wake, due - now, 0);
}

static void end(struct shell *s, const char *why)
{
	struct brk_figures figures;
	if (s->ended)
		return;
	s->ended = true;
	brk_core_figures(s->core, &figures);
	base_log(BASE_INFO, "broker_bye", LOG_STR("name", s->name), LOG_STR("why", why),
		LOG_U64("calls", figures.waiting + figures.running));
	execute(s, brk_core_end(s->core, now_ms(s)));
	net_loop_stop(s->loop);
}

static bool on_run(void *arg)
{
	struct shell *s = arg;
	uint64_t now = now_ms(s);
	if (s->ended)
		return false;
	if (brk_core_due(s->core) <= now) {
		execute(s, brk_core_tick(s->core, now, base_clock_unix_ms()));
		retell_down(s);
	}
	if (s->draining && brk_core_drained(s->core)) {
		end(s, "drained");
		return false;
	}
	uint64_t due = brk_core_due(s->core);
	if (due <= now)
		return true;
	set_wake(s, due, now);
	return false;
}

/* ---- the end */

static void on_drain_over(uv_timer_t *timer)
{
	end(timer->data, "the time to drain is over");
}

static void on_terminate(void *arg, unsigned times)
{
	struct shell *s = arg;
	if (times > 1) {
		end(s, "told twice");
		return;
	}
	base_log(BASE_INFO, "broker_drain", LOG_STR("name", s->name),
		LOG_U64("at_most_ms", s->settings->drain_ms));
	s->draining = true;
	uv_timer_start(&s->drain, on_drain_over, s->settings->drain_ms, 0);
	execute(s, brk_core_drain(s->core, now_ms(s)));
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

static void make_name(struct shell *s)
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

/* libzmq takes port 99999 and binds 34463. */
static bool is_endpoint(const char *text)
{
	uint64_t port;
	const char *colon = strrchr(text, ':');
	if (strncmp(text, "ipc://", 6) == 0)
		return text[6] != '\0';
	return strncmp(text, "tcp://", 6) == 0 && colon > text + 6 &&
	       base_conf_u64(colon + 1, &port) && port >= 1 && port <= 65535;
}

/* HOST:PORT means tcp://HOST:PORT. */
static enum base_err make_endpoints(const char *bind, char **out, char **why)
{
	enum base_err err = BASE_OK;
	struct base_buf list, one;
	base_buf_init(&list);
	base_buf_init(&one);
	for (const char *rest = bind; !err; rest++) {
		size_t size = strcspn(rest, ",");
		base_buf_reset(&one);
		base_buf_str(&one, memmem(rest, size, "://", 3) ? "" : "tcp://");
		base_buf_add(&one, rest, size);
		base_buf_str(&list, list.size ? "," : "");
		base_buf_add(&list, one.data, one.size);
		if (!is_endpoint((const char *)one.data))
			err = BASE_CONFIG;
		rest += size;
		if (!*rest)
			break;
	}
	if (err && asprintf(why, "cannot listen on %s: expected tcp://ADDRESS:PORT or ipc://PATH",
			   (char *)one.data) < 0)
		*why = NULL;
	base_buf_fini(&one);
	*out = err ? NULL : (char *)base_buf_take(&list);
	if (err)
		base_buf_fini(&list);
	return err || *out ? err : BASE_NOMEM;
}

static enum base_err make_core(struct shell *s)
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
		.forget_ms = set->forget_ms };
	base_rand_system(&conf.seed, sizeof conf.seed);
	base_rand_init(&rand, conf.seed);
	base_ulid_make(&maker, &rand, base_clock_unix_ms(), s->boot);
	base_ulid_print(s->boot, s->boot_text);
	memcpy(conf.boot, s->boot, sizeof conf.boot);
	return brk_core_new(&conf, &s->core);
}

static enum base_err make_store(struct shell *s, char **why)
{
	const struct store_redis_events events = { on_store_up, on_store_down, s };
	const struct brk_catalog_conf catalog = { .max_services = s->settings->max_services };
	enum base_err err = brk_catalog_new(s->loop, &catalog, on_entry, s, &s->catalog);
	if (err || strcmp(s->settings->redis, "none") == 0)
		return err;
	return store_redis_new(s->loop,
		&(struct store_redis_conf){ .url = s->settings->redis,
			.name = s->name,
			.library = store_functions_lua },
		&events, &s->redis, why);
}

static enum base_err make_all(struct shell *s, char **endpoints, char **why)
{
	const struct net_router_events events = {
		.on_message = on_message, .on_gone = on_gone, .arg = s
	};
	enum base_err err = net_loop_new(&s->loop);
	if (err)
		return err;
	uv_timer_init(net_loop_uv(s->loop), &s->wake);
	uv_timer_init(net_loop_uv(s->loop), &s->drain);
	s->wake.data = s->drain.data = s;
	if ((err = make_core(s)) || (err = make_store(s, why)))
		return err;
	if ((err = make_endpoints(s->settings->bind, endpoints, why)))
		return err;
	if ((err = net_router_new(s->loop, *endpoints, &events, &s->router, why)))
		return err;
	execute(s, brk_core_tick(s->core, now_ms(s), base_clock_unix_ms())); /* tells it the time */
	if ((err = net_loop_hook(s->loop, NET_RUN, on_run, s, &s->hook)))
		return err;
	return net_loop_on_terminate(s->loop, on_terminate, s);
}

/* Redis before the catalog: its open commands end there. */
static void fini(struct shell *s)
{
	store_redis_free(&s->redis);
	brk_catalog_free(&s->catalog);
	net_loop_unhook(&s->hook);
	net_router_free(&s->router);
	brk_core_free(&s->core);
	base_arena_fini(&s->arena);
	if (s->loop) {
		uv_close((uv_handle_t *)&s->wake, NULL);
		uv_close((uv_handle_t *)&s->drain, NULL);
	}
	net_loop_free(&s->loop);
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

enum brk_exit brk_shell_run(const struct brk_settings *settings)
{
	struct shell s = { .settings = settings, .wake_at = UINT64_MAX };
	enum brk_exit code = BRK_EXIT_OK;
	char *endpoints = NULL, *why = NULL;
	raise_files();
	make_name(&s);
	base_arena_init(&s.arena, ARENA_FIRST, ARENA_MAX);
	enum base_err err = make_all(&s, &endpoints, &why);
	if (err) {
		code = fail_with(err, why);
	} else {
		base_log(BASE_INFO, "broker_ready", LOG_STR("endpoint", endpoints),
			LOG_STR("name", s.name), LOG_STR("boot", s.boot_text));
		net_loop_run(s.loop);
	}
	fini(&s);
	free(endpoints);
	free(why);
	return code;
}
