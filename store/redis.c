/* Phases: WAITING (for the next attempt) → RESOLVING → CONNECTING → GREETING (logging
 * in, Functions) → UP, and from each of them back to WAITING through drop(), the one
 * place where a connection ends.
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

#include "base/rand.h"
#include "store/link.h"
#include "store/url.h"

#define CONNECT_MS     2000
#define COMMAND_MS     5000
#define PING_MS        5000
#define SECOND_LOOK_MS 50
#define RETRY_MS       UINT64_C(50)
#define RETRY_MAX_MS   UINT64_C(2000)
#define MAX_COMMANDS   4096
#define MAX_BYTES      (16u << 20)
#define MAX_ADDRESSES  8
#define WORD_BYTES     16 /* what the protocol adds to an argument, about */

enum phase { WAITING, RESOLVING, CONNECTING, GREETING, UP };

struct command {
	store_reply_fn *fn;
	void *arg;
	uint64_t due_at;
	size_t bytes;
};

/* A name's resolution, which cannot always be cancelled and so outlives who asked. */
struct lookup {
	uv_getaddrinfo_t request;
	struct store_redis *owner;
};

struct store_redis {
	struct net_loop *loop;
	struct store_redis_conf conf;
	struct store_redis_events events;
	struct store_url url;
	char *name;
	char *library;
	char library_name[64];
	int64_t revision;

	enum phase phase;
	struct store_link *link;
	struct lookup *lookup;
	char addresses[MAX_ADDRESSES][INET6_ADDRSTRLEN];
	size_t n_addresses, address;
	uv_timer_t timer;
	uint64_t armed_at, phase_due_at, heard_at;
	uint64_t answered, suspect;
	unsigned failures;
	bool told_down, loading, refused_load;

	struct command *ring; /* capacity is a power of two */
	size_t capacity, head, n;
	uint64_t bytes;

	unsigned frames;
	bool dead;
	struct base_rand rand;
	struct store_redis_stats stats;
	char why[256];
};

static void drop(struct store_redis *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void dial(struct store_redis *r);
static void greet(struct store_redis *r);

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

static uint64_t now_ms(const struct store_redis *r)
{
	return uv_now(net_loop_uv(r->loop));
}

static void on_timer(uv_timer_t *timer);

static void arm(struct store_redis *r, uint64_t at)
{
	uint64_t now = now_ms(r);
	r->armed_at = at;
	uv_timer_start(&r->timer, on_timer, at > now ? at - now : 0, 0);
}

static void plan(struct store_redis *r)
{
	if (r->phase != UP)
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
	struct command *ring = calloc(capacity, sizeof *ring);
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

static struct command pop(struct store_redis *r)
{
	struct command command = r->ring[r->head];
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

static enum base_err send_command(struct store_redis *r, const struct store_arg *args,
	size_t n_args, store_reply_fn *fn, void *arg)
{
	if (!has_place(r))
		return BASE_NOMEM;
	enum base_err err = store_link_send(r->link, args, n_args);
	if (err)
		return err;
	struct command *command = &r->ring[(r->head + r->n++) & (r->capacity - 1)];
	*command =
		(struct command){ fn, arg, now_ms(r) + r->conf.command_ms, size_of(args, n_args) };
	r->bytes += command->bytes;
	r->stats.open = r->n;
	if (r->phase == UP && command->due_at < r->armed_at)
		plan(r);
	return BASE_OK;
}

enum base_err store_redis_command(struct store_redis *r, const struct store_arg *args,
	size_t n_args, store_reply_fn *fn, void *arg)
{
	if (r->phase != UP)
		return BASE_UNAVAILABLE;
	size_t bytes = size_of(args, n_args);
	if (r->n >= r->conf.max_commands || r->bytes + bytes > r->conf.max_bytes)
		return BASE_FULL;
	enum base_err err = send_command(r, args, n_args, fn, arg);
	if (!err)
		r->stats.commands++;
	return err;
}

static void fail_all(struct store_redis *r)
{
	static const struct store_reply unknown = { .type = STORE_UNKNOWN };
	while (r->n) {
		struct command command = pop(r);
		if (!command.fn)
			continue;
		r->stats.unknown++;
		command.fn(command.arg, &unknown);
	}
}

/* ---- the end of a connection */

static void forget_lookup(struct store_redis *r)
{
	if (!r->lookup)
		return;
	r->lookup->owner = NULL;
	uv_cancel(
		(uv_req_t *)&r->lookup->request); /* its callback comes either way, and frees it */
	r->lookup = NULL;
}

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
	r->phase_due_at = now_ms(r) + pause;
	plan(r);
	return more;
}

static void drop(struct store_redis *r, const char *format, ...)
{
	char why[sizeof r->why];
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof why, format, args); /* apart: the arguments may point into r->why */
	va_end(args);
	memcpy(r->why, why, sizeof why);

	bool was_up = r->phase == UP;
	r->phase = WAITING;
	r->loading = r->refused_load = false;
	forget_lookup(r);
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

/* ---- greeting: log in, select, name, Functions. All is sent at once; the last answer says "up". */

static bool starts(const struct store_reply *reply, const char *code)
{
	return reply->type == STORE_ERROR && strncmp(reply->text, code, strlen(code)) == 0;
}

/* True when the reply is no error and the connection still stands. */
static bool greeted(struct store_redis *r, const struct store_reply *reply)
{
	if (reply->type == STORE_UNKNOWN || r->phase < GREETING)
		return false;
	if (reply->type != STORE_ERROR)
		return true;
	if (starts(reply, "LOADING"))
		drop(r, "Redis is still loading its data");
	else if (starts(reply, "NOAUTH"))
		drop(r, "Redis wants a password, and its URL has none");
	else if (starts(reply, "WRONGPASS"))
		drop(r, "Redis refused the user or the password");
	else if (strstr(reply->text, "unknown command") && strstr(reply->text, "FCALL"))
		drop(r, "Redis 7.0 or newer is needed, this one has no Functions (%.120s)",
			reply->text);
	else
		drop(r, "Redis refused to work with us: %.160s", reply->text);
	return false;
}

static void on_greeting(void *arg, const struct store_reply *reply)
{
	(void)greeted(arg, reply);
}

static void become_up(struct store_redis *r)
{
	if (r->phase == UP)
		return;
	r->phase = UP;
	r->failures = 0;
	r->told_down = false;
	r->refused_load = false;
	r->why[0] = '\0';
	r->stats.connects++;
	plan(r);
	if (r->events.on_up)
		r->events.on_up(r->events.arg);
}

static void on_pong(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	if (greeted(r, reply))
		become_up(r);
}

static void say(
	struct store_redis *r, store_reply_fn *fn, const struct store_arg *args, size_t n_args)
{
	if (r->link && send_command(r, args, n_args, fn, r) != BASE_OK)
		drop(r, "out of memory while greeting Redis");
}

static void ask_revision(struct store_redis *r);

/* "already exists" is another process that loaded it first, or a library without our revision function. */
static void on_loaded(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	r->loading = false;
	if (reply->type == STORE_ERROR && strstr(reply->text, "already exists") &&
		!r->refused_load) {
		r->refused_load = true;
		ask_revision(r);
	} else if (greeted(r, reply)) {
		become_up(r);
	}
}

static void load(struct store_redis *r, bool replace)
{
	struct store_arg args[4] = { STORE_ARG("FUNCTION"), STORE_ARG("LOAD"),
		STORE_ARG("REPLACE") };
	size_t n = replace ? 3 : 2;
	args[n++] = STORE_ARG(r->library);
	r->loading = true;
	say(r, on_loaded, args, n);
}

static void on_revision(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	if (starts(reply, "ERR Function not found"))
		load(r, r->refused_load);
	else if (!greeted(r, reply))
		return;
	else if (reply->type == STORE_INT && reply->integer < r->revision)
		load(r, true);
	else
		become_up(r);
}

static void ask_revision(struct store_redis *r)
{
	char function[sizeof r->library_name + 16];
	snprintf(function, sizeof function, "%s_revision", r->library_name);
	say(r, on_revision,
		(struct store_arg[]){ STORE_ARG("FCALL_RO"), STORE_ARG(function), STORE_ARG("0") },
		3);
}

static void greet(struct store_redis *r)
{
	r->phase = GREETING;
	if (r->url.password) {
		struct store_arg args[3] = { STORE_ARG("AUTH") };
		size_t n = 1;
		if (r->url.user)
			args[n++] = STORE_ARG(r->url.user);
		args[n++] = STORE_ARG(r->url.password);
		say(r, on_greeting, args, n);
	}
	if (r->url.db) {
		char db[16];
		snprintf(db, sizeof db, "%u", (unsigned)r->url.db);
		say(r, on_greeting, (struct store_arg[]){ STORE_ARG("SELECT"), STORE_ARG(db) }, 2);
	}
	if (r->name) /* its answer does not matter: an ACL may forbid it, or the name hold a space */
		say(r, NULL,
			(struct store_arg[]){
				STORE_ARG("CLIENT"), STORE_ARG("SETNAME"), STORE_ARG(r->name) },
			3);
	if (r->library)
		ask_revision(r);
	else
		say(r, on_pong, &STORE_ARG("PING"), 1);
}

/* ---- what the link says */

static void on_open(void *arg)
{
	struct store_redis *r = arg;
	enter(r);
	greet(r);
	leave(r);
}

static void on_lost(void *arg, const char *why)
{
	struct store_redis *r = arg;
	if (r->phase == UP)
		drop(r, "the connection to Redis broke: %s", why);
	else
		drop(r, "cannot reach Redis: %s", why);
}

/* What an answer to a user's command says about the server itself. */
static void heed(struct store_redis *r, const struct store_reply *reply)
{
	if (r->phase != UP)
		return;
	if (starts(reply, "READONLY") || starts(reply, "LOADING") || starts(reply, "MASTERDOWN"))
		drop(r, "Redis cannot take writes now: %.160s", reply->text);
	else if (starts(reply, "ERR Function not found") && r->library && !r->loading)
		load(r, false); /* FUNCTION FLUSH, or a failover to a server that had none */
}

static void on_reply(void *arg, const struct store_reply *reply)
{
	struct store_redis *r = arg;
	if (!r->n) { /* UNTRUSTED: an answer that nobody asked for */
		drop(r, "Redis sent a reply that belongs to no command");
		return;
	}
	enter(r);
	struct command command = pop(r);
	r->heard_at = now_ms(r);
	if (reply->type == STORE_ERROR)
		r->stats.errors++;
	if (command.fn)
		command.fn(command.arg, reply);
	if (command.arg != r) /* our own have looked themselves */
		heed(r, reply);
	leave(r);
}

/* ---- connecting */

static void dial(struct store_redis *r)
{
	const struct store_link_events events = { on_open, on_reply, on_lost, r };
	const char *address = r->url.local ? r->url.host : r->addresses[r->address];
	char why[128];
	r->phase = CONNECTING;
	r->heard_at = now_ms(r);
	r->phase_due_at = now_ms(r) + r->conf.connect_ms;
	if (store_link_new(r->loop, address, r->url.port, &events, &r->link, why, sizeof why))
		drop(r, "cannot reach Redis: %s", why);
	else
		plan(r);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct lookup *lookup = request->data;
	struct store_redis *r = lookup->owner;
	free(lookup);
	if (r) {
		r->lookup = NULL;
		for (const struct addrinfo *a = found; a && r->n_addresses < MAX_ADDRESSES;
			a = a->ai_next) {
			if (uv_ip_name(a->ai_addr, r->addresses[r->n_addresses],
				    sizeof r->addresses[0]) == 0)
				r->n_addresses++;
		}
		if (r->n_addresses)
			dial(r);
		else
			drop(r, "cannot resolve the host of Redis, %s: %s", r->url.host,
				status ? uv_strerror(status) : "it has no address");
	}
	uv_freeaddrinfo(found);
}

static void resolve(struct store_redis *r)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct lookup *lookup = calloc(1, sizeof *lookup);
	r->phase = RESOLVING;
	r->phase_due_at = now_ms(r) + r->conf.connect_ms;
	if (lookup) {
		lookup->request.data = lookup;
		lookup->owner = r;
	}
	if (!lookup || uv_getaddrinfo(net_loop_uv(r->loop), &lookup->request, on_resolved,
			       r->url.host, NULL, &hints) != 0) {
		free(lookup);
		drop(r, "cannot resolve the host of Redis, %s", r->url.host);
		return;
	}
	r->lookup = lookup;
	plan(r);
}

static bool is_address(const char *host)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	return uv_ip4_addr(host, 0, &v4) == 0 || uv_ip6_addr(host, 0, &v6) == 0;
}

static void attempt(struct store_redis *r)
{
	if (!r->url.local && !r->n_addresses && is_address(r->url.host) &&
		strlen(r->url.host) < sizeof r->addresses[0]) {
		strcpy(r->addresses[0], r->url.host);
		r->n_addresses = 1;
	}
	if (r->url.local || r->n_addresses)
		dial(r);
	else
		resolve(r);
}

/* ---- time */

static void on_pinged(void *arg, const struct store_reply *reply)
{
	(void)greeted(arg, reply);
}

/* When the head is late: a second look after a moment, in which the loop reads the socket. */
static void watch_up(struct store_redis *r)
{
	uint64_t now = now_ms(r);
	if (!r->n && now >= r->heard_at + PING_MS)
		say(r, on_pinged, &STORE_ARG("PING"), 1);
	if (r->phase != UP)
		return;
	if (!r->n || now < r->ring[r->head].due_at) {
		plan(r);
	} else if (r->suspect != r->answered + 1) {
		r->suspect = r->answered + 1;
		arm(r, now + SECOND_LOOK_MS);
	} else {
		drop(r, "Redis did not answer within %u ms", (unsigned)r->conf.command_ms);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct store_redis *r = timer->data;
	enter(r);
	if (r->phase == UP)
		watch_up(r);
	else if (r->phase == WAITING)
		attempt(r);
	else
		drop(r, "Redis did not %s within %u ms",
			r->phase == RESOLVING ? "resolve" : "answer", (unsigned)r->conf.connect_ms);
	leave(r);
}

/* ---- making and freeing */

/* The library's header; see redis.h. */
static bool read_library(struct store_redis *r)
{
	static const char shebang[] = "#!lua name=";
	const char *name = r->library + sizeof shebang - 1;
	const char *line = strstr(r->library, "\nlocal revision = ");
	if (strncmp(r->library, shebang, sizeof shebang - 1) != 0 || !line)
		return false;
	size_t size = strcspn(name, " \n");
	if (size == 0 || size >= sizeof r->library_name)
		return false;
	memcpy(r->library_name, name, size);
	r->revision = strtoll(strchr(line, '=') + 1, NULL, 10);
	return r->revision > 0;
}

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
	return r->library && !read_library(r) ? BASE_BUG : BASE_OK;
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
	signal(SIGPIPE, SIG_IGN); /* hiredis 0.14 writes without MSG_NOSIGNAL */
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&r->rand, seed);
	r->loop = loop;
	r->events = *events;
	uv_timer_init(net_loop_uv(loop), &r->timer);
	r->timer.data = r;
	r->phase_due_at = now_ms(r);
	plan(r);
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
	r->phase = WAITING;
	uv_timer_stop(&r->timer);
	forget_lookup(r);
	store_link_free(&r->link);
	fail_all(r);
	leave(r);
}

bool store_redis_up(const struct store_redis *r)
{
	return r->phase == UP;
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
