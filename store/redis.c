/* Phases: WAITING (for the next attempt) → RESOLVING → CONNECTING → GREETING (logging
 * in, Functions) → UP, and from each of them back to WAITING through
 * store_redis_drop, the one place where a connection ends.
 *
 * Commands under way stand in a ring of our own, in the order they were sent, and
 * replies take its head; hiredis's own callbacks all are alike. Deadlines are the
 * same for all commands, so the head's comes first, and one timer serves every
 * phase. When it fires on a silent head we look once more after a moment: it may
 * have been this process that slept, with the answer waiting in the socket.
 *
 * User callbacks may do anything, store_redis_free included: frames counts how deep
 * we are in them, and memory goes when the last one has returned.
 */
#include "store/redis.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis_parts.h"

#define CONNECT_MS     2000
#define COMMAND_MS     5000
#define PING_MS        5000
#define SECOND_LOOK_MS 50
#define RETRY_MS       UINT64_C(50)
#define RETRY_MAX_MS   UINT64_C(2000)
#define MAX_COMMANDS   4096
#define MAX_BYTES      (16u << 20)
#define WORD_BYTES     16 /* what the protocol adds to an argument, about */

/* ---- life of the struct, and frames */

static void on_timer_closed(uv_handle_t *handle)
{
	struct store_redis *r = handle->data;
	store_url_fini(&r->url);
	free(r->name);
	free(r->library);
	free(r->ring);
	free(r);
}

static void enter(struct store_redis *r)
{
	r->frames++;
}

static void leave(struct store_redis *r)
{
	assert(r->frames > 0);
	if (--r->frames == 0 && r->dead)
		uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

/* ---- the timer */

uint64_t store_redis_now_ms(const struct store_redis *r)
{
	return uv_now(net_loop_uv(r->loop));
}

static void on_timer(uv_timer_t *timer);

static void arm(struct store_redis *r, uint64_t at)
{
	uint64_t now = store_redis_now_ms(r);
	r->armed_at = at;
	uv_timer_start(&r->timer, on_timer, at > now ? at - now : 0, 0);
}

void store_redis_plan(struct store_redis *r)
{
	if (r->phase != STORE_UP)
		arm(r, r->phase_due_at);
	else
		arm(r, r->n ? r->ring[r->head].due_at : r->heard_at + PING_MS);
}

/* ---- commands under way */

static bool has_place(struct store_redis *r)
{
	if (r->n < r->capacity)
		return true;
	size_t capacity = r->capacity ? r->capacity * 2 : 64;
	struct store_command *ring = calloc(capacity, sizeof *ring);
	if (!ring)
		return false;
	for (size_t i = 0; i < r->n; i++)
		ring[i] = r->ring[(r->head + i) & (r->capacity - 1)];
	free(r->ring);
	r->ring = ring;
	r->capacity = capacity;
	r->head = 0;
	return true;
}

static struct store_command pop(struct store_redis *r)
{
	struct store_command command = r->ring[r->head];
	r->head = (r->head + 1) & (r->capacity - 1);
	r->n--;
	r->bytes -= command.bytes;
	r->answered++;
	r->stats.open = r->n;
	return command;
}

static size_t size_of(const struct store_arg *args, size_t n_args)
{
	size_t size = 0;
	for (size_t i = 0; i < n_args; i++)
		size += args[i].size + WORD_BYTES;
	return size;
}

static enum base_err store_redis_send(struct store_redis *r, const struct store_arg *args,
	size_t n_args, store_reply_fn *fn, void *arg)
{
	if (!has_place(r))
		return BASE_NOMEM;
	enum base_err err = store_link_send(r->link, args, n_args);
	if (err)
		return err;
	struct store_command *command = &r->ring[(r->head + r->n++) & (r->capacity - 1)];
	*command = (struct store_command){ fn, arg, store_redis_now_ms(r) + r->conf.command_ms,
		size_of(args, n_args) };
	r->bytes += command->bytes;
	r->stats.open = r->n;
	if (r->phase == STORE_UP && command->due_at < r->armed_at)
		store_redis_plan(r);
	return BASE_OK;
}

enum base_err store_redis_command(struct store_redis *r, const struct store_arg *args,
	size_t n_args, store_reply_fn *fn, void *arg)
{
	if (r->phase != STORE_UP)
		return BASE_UNAVAILABLE;
	size_t bytes = size_of(args, n_args);
	if (r->n >= r->conf.max_commands || r->bytes + bytes > r->conf.max_bytes)
		return BASE_FULL;
	enum base_err err = store_redis_send(r, args, n_args, fn, arg);
	if (!err)
		r->stats.commands++;
	return err;
}

static void fail_all(struct store_redis *r)
{
	static const struct store_reply unknown = { .type = STORE_UNKNOWN };
	while (r->n) {
		struct store_command command = pop(r);
		if (!command.fn)
			continue;
		r->stats.unknown++;
		command.fn(command.arg, &unknown);
	}
}

/* ---- the end of a connection */

/* Another address of the same name comes at once; only after the last one is there a pause. */
static bool plan_attempt(struct store_redis *r, bool was_up)
{
	bool more = !was_up && r->address + 1 < r->n_addresses;
	uint64_t pause = 0;
	if (more) {
		r->address++;
	} else {
		unsigned shift = r->failures < 6 ? r->failures : 6;
		uint64_t bound = RETRY_MS << shift;
		if (bound > RETRY_MAX_MS)
			bound = RETRY_MAX_MS;
		pause = bound / 2 + base_rand_below(&r->rand, bound / 2 + 1);
		r->failures++;
		r->address = r->n_addresses = 0;
	}
	r->phase_due_at = store_redis_now_ms(r) + pause;
	store_redis_plan(r);
	return more;
}

void store_redis_drop(struct store_redis *r, const char *format, ...)
{
	char why[sizeof r->why];
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof why, format, args); /* apart: the arguments may point into r->why */
	va_end(args);
	memcpy(r->why, why, sizeof why);

	bool was_up = r->phase == STORE_UP;
	r->phase = STORE_WAITING;
	r->loading = r->refused_load = false;
	store_redis_forget_lookup(r);
	store_link_free(&r->link);
	enter(r);
	fail_all(r);
	if (!r->dead) {
		bool more = plan_attempt(r, was_up);
		bool tell = was_up || (!more && !r->told_down);
		r->told_down = r->told_down || tell;
		if (tell && r->events.on_down)
			r->events.on_down(r->events.arg, r->why);
	}
	leave(r);
}

void store_redis_say(
	struct store_redis *r, store_reply_fn *fn, const struct store_arg *args, size_t n_args)
{
	if (r->link && store_redis_send(r, args, n_args, fn, r) != BASE_OK)
		store_redis_drop(r, "out of memory while greeting Redis");
}

/* ---- what the link says */

static void on_open(void *arg)
{
	struct store_redis *r = arg;
	enter(r);
	store_redis_greet(r);
	leave(r);
}

static void on_lost(void *arg, const char *why)
{
	struct store_redis *r = arg;
	if (strcmp(why, STORE_LINK_TOO_LARGE) == 0)
		r->stats.too_large++;
	if (r->phase == STORE_UP)
		store_redis_drop(r, "the connection to Redis broke: %s", why);
	else
		store_redis_drop(r, "cannot reach Redis: %s", why);
}

/* What an answer to a user's command says about the server itself. */
static void heed(struct store_redis *r, const struct store_reply *reply)
{
	if (r->phase != STORE_UP)
		return;
	if (store_reply_starts(reply, "READONLY") || store_reply_starts(reply, "LOADING") ||
		store_reply_starts(reply, "MASTERDOWN"))
		store_redis_drop(r, "Redis cannot take writes now: %.160s", reply->text);
	else if (store_reply_starts(reply, "ERR Function not found") && r->library && !r->loading)
		store_redis_load(
			r, false); /* FUNCTION FLUSH, or a failover to a server that had none */
}

static bool is_message(const struct store_reply *reply)
{
	struct store_reply kind;
	if (reply->type != STORE_ARRAY || reply->n < 3)
		return false;
	kind = store_reply_at(reply, 0);
	return kind.type == STORE_STR &&
	       (strcmp(kind.text, "message") == 0 || strcmp(kind.text, "pmessage") == 0);
}

static void on_reply(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	if (r->conf.on_message && is_message(reply)) {
		enter(r);
		r->heard_at = store_redis_now_ms(r);
		r->conf.on_message(r->events.arg, reply);
		leave(r);
		return;
	}
	if (!r->n) { /* UNTRUSTED: an answer that nobody asked for */
		store_redis_drop(r, "Redis sent a reply that belongs to no command");
		return;
	}
	enter(r);
	struct store_command command = pop(r);
	r->heard_at = store_redis_now_ms(r);
	if (reply->type == STORE_ERROR)
		r->stats.errors++;
	if (command.fn)
		command.fn(command.arg, reply);
	if (command.arg != r) /* our own have looked themselves */
		heed(r, reply);
	leave(r);
}

struct store_link_events store_redis_link_events(struct store_redis *r)
{
	return (struct store_link_events){ on_open, on_reply, on_lost, r, r->conf.max_reply };
}

/* ---- time */

static void on_pinged(void *arg, const struct store_reply *reply)
{
	(void)store_redis_greeted(arg, reply);
}

/* When the head is late: a second look after a moment, in which the loop reads the socket. */
static void watch_up(struct store_redis *r)
{
	uint64_t now = store_redis_now_ms(r);
	if (!r->n && now >= r->heard_at + PING_MS)
		store_redis_say(r, on_pinged, &STORE_ARG("PING"), 1);
	if (r->phase != STORE_UP)
		return;
	if (!r->n || now < r->ring[r->head].due_at) {
		store_redis_plan(r);
	} else if (r->suspect != r->answered + 1) {
		r->suspect = r->answered + 1;
		arm(r, now + SECOND_LOOK_MS);
	} else {
		store_redis_drop(
			r, "Redis did not answer within %u ms", (unsigned)r->conf.command_ms);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct store_redis *r = timer->data;
	enter(r);
	if (r->phase == STORE_UP)
		watch_up(r);
	else if (r->phase == STORE_WAITING)
		store_redis_attempt(r);
	else
		store_redis_drop(r, "Redis did not %s within %u ms",
			r->phase == STORE_RESOLVING ? "resolve" : "answer",
			(unsigned)r->conf.connect_ms);
	leave(r);
}

/* ---- making and freeing */

static enum base_err copy_conf(struct store_redis *r, const struct store_redis_conf *conf)
{
	r->conf = *conf;
	r->conf.url = r->conf.name = r->conf.library = NULL;
	r->conf.connect_ms = conf->connect_ms ? conf->connect_ms : CONNECT_MS;
	r->conf.command_ms = conf->command_ms ? conf->command_ms : COMMAND_MS;
	r->conf.max_commands = conf->max_commands ? conf->max_commands : MAX_COMMANDS;
	r->conf.max_bytes = conf->max_bytes ? conf->max_bytes : MAX_BYTES;
	if ((conf->name && !(r->name = strdup(conf->name))) ||
		(conf->library && !(r->library = strdup(conf->library))))
		return BASE_NOMEM;
	return r->library && !store_redis_read_library(r) ? BASE_BUG : BASE_OK;
}

enum base_err store_redis_new(struct net_loop *loop, const struct store_redis_conf *conf,
	const struct store_redis_events *events, struct store_redis **out, char **why)
{
	uint64_t seed;
	enum base_err err = BASE_NOMEM;
	struct store_redis *r = calloc(1, sizeof *r);
	*why = NULL;
	if (!r || (err = copy_conf(r, conf)) || (err = store_url_parse(conf->url, &r->url, why)))
		goto fail;
	signal(SIGPIPE, SIG_IGN);
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&r->rand, seed);
	r->loop = loop;
	r->events = *events;
	uv_timer_init(net_loop_uv(loop), &r->timer);
	r->timer.data = r;
	r->phase_due_at = store_redis_now_ms(r);
	store_redis_plan(r);
	*out = r;
	return BASE_OK;
fail:
	if (r) {
		free(r->name);
		free(r->library);
	}
	free(r);
	return err;
}

void store_redis_free(struct store_redis **rp)
{
	struct store_redis *r = *rp;
	if (!r)
		return;
	*rp = NULL;
	enter(r);
	r->dead = true;
	r->phase = STORE_WAITING;
	uv_timer_stop(&r->timer);
	store_redis_forget_lookup(r);
	store_link_free(&r->link);
	fail_all(r);
	leave(r);
}

bool store_redis_up(const struct store_redis *r)
{
	return r->phase == STORE_UP;
}

const char *store_redis_shown(const struct store_redis *r)
{
	return r->url.shown;
}

const char *store_redis_why(const struct store_redis *r)
{
	return r->why;
}

const struct store_redis_stats *store_redis_stats(const struct store_redis *r)
{
	return &r->stats;
}
