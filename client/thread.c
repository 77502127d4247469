/* The public library: the engine in a thread of its own.
 *
 * The way in is one list under a lock. A user's thread fills a request while it
 * holds the lock (requests come from a free list that the same lock guards, bodies
 * of up to INLINE_BYTES are copied right there), and wakes the loop only when
 * nobody has since the loop last took the list. The loop takes the whole list at
 * the start of each turn, in one go. So under load there is a lock and a copy per
 * call, and a system call per batch.
 *
 * A request is also the block that holds its body: the engine keeps a reference
 * until the call is over and copies nothing. When the last reference goes it
 * returns to the free list, again a turn's worth at a time. Larger bodies are
 * ZeroMQ messages from the start, and are sent as they are.
 *
 * The bounds are counted here, by atomics, because FULL has to be told to the
 * user's thread; the engine's own are the same and so are never reached.
 */
#include "pirn/client.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/ulid.h"
#include "client/errors.h"
#include "client/key.h"
#include "client/thread.h"
#include "client/topic.h"
#include "net/block.h"

#define INLINE_BYTES    512
#define DEFAULT_CALLS   65536u
#define DEFAULT_BYTES   (256ull * 1024 * 1024)
#define DEFAULT_TIME_MS 30000u
#define NAME_MAX_BYTES  63

/* What the user asked for, beyond where and what. */
struct terms {
	pirn_reply_fn *fn;
	pirn_sent_fn *sent; /* of an event; NULL: a call */
	void *arg;
	uint64_t delay_ms, not_before_ms;
	uint32_t timeout_ms;
	bool idempotent, want_result, ack_memory;
};

/* A call or an event. */
struct request {
	struct client_job job;
	struct base_block block; /* over body; the request's own life */
	struct request *next;    /* among those that are spent, or free */
	struct pirn_client *client;
	struct terms terms;
	struct base_block *large; /* NULL: the body is inline */
	struct client_key *key;   /* NULL: none */
	struct client_topic *topic; /* NULL: it has a service */
	uint32_t body_size;
	char service[NAME_MAX_BYTES + 1];
	uint8_t body[INLINE_BYTES];
};

struct pirn_client {
	pthread_t thread;
	struct net_loop *loop;
	struct client_engine *engine;
	struct net_hook *read_hook;
	uv_async_t *async;
	struct base_ulid_maker ulids;
	struct base_rand rand;
	uint32_t max_calls;
	uint64_t max_bytes;
	struct request *spent, *spent_end; /* the loop's; given back at its next turn */

	atomic_uint_fast64_t bytes;
	atomic_uint_fast32_t calls;

	pthread_mutex_t lock; /* of what follows */
	struct client_job *inbox, **inbox_end;
	struct request *free;
	bool woken, closing;
};

/* ---- the loop's side ------------------------------------------------------- */

/* The block's release: runs in the loop's thread, which alone holds references. */
static void retire(struct base_block *block)
{
	struct request *r = block->owner;

	r->next = r->client->spent;
	if (!r->next)
		r->client->spent_end = r;
	r->client->spent = r;
}

/* It no longer counts when its callback runs, which may start the next one in its place. */
static void count_out(struct request *r)
{
	base_block_unref(&r->large);
	free(r->key);
	free(r->topic);
	r->key = NULL;
	r->topic = NULL;
	atomic_fetch_sub_explicit(&r->client->bytes, r->body_size, memory_order_relaxed);
	atomic_fetch_sub_explicit(&r->client->calls, 1, memory_order_relaxed);
}

static void end_call(struct request *r, const struct client_reply *reply, enum pirn_client_err err)
{
	const struct pirn_reply out = { .err = err,
		.status = reply->status,
		.retry_after_ms = reply->retry_after_ms,
		.attempts = reply->attempts,
		.body = reply->payload.data_size ? (const void *)reply->payload.data : "",
		.body_size = reply->payload.data_size };

	r->terms.fn(r->terms.arg, &out);
}

static void end_event(struct request *r, const struct client_reply *reply, enum pirn_client_err err)
{
	struct pirn_sent out = { .err = err,
		.status = reply->status,
		.retry_after_ms = reply->retry_after_ms,
		.replayed = reply->replayed };

	base_ulid_print(reply->id, out.id);
	r->terms.sent(r->terms.arg, &out);
}

static void end(struct request *r, const struct client_reply *reply, enum pirn_client_err err)
{
	struct base_block *block = &r->block;

	count_out(r);
	if (r->terms.sent)
		end_event(r, reply, err);
	else
		end_call(r, reply, err);
	base_block_unref(&block);
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	end(arg, reply, client_err_of_reason(reply->reason));
}

static void add_topic(
	const struct client_topic *topic, struct client_request *request, struct base_buf *meta)
{
	char id[BASE_ULID_TEXT + 1];

	base_ulid_print(request->id, id);
	client_topic_meta(topic, id, meta);
	request->type = topic->type;
	request->source = topic->source;
	request->subject = topic->subject;
	request->payload.meta = meta->data;
	request->payload.meta_size = (uint32_t)meta->size;
}

static void submit(struct pirn_client *c, struct client_job *job)
{
	struct request *r = (struct request *)(void *)job; /* its first member */
	struct base_block *block = r->large ? r->large : &r->block;
	const struct terms *t = &r->terms;
	struct client_request request = { .service = r->topic ? NULL : r->service,
		.timeout_ms = t->timeout_ms,
		.idempotent = t->idempotent,
		.event = t->sent != NULL,
		.want_result = t->want_result,
		.ack_memory = t->ack_memory,
		.delay_ms = t->delay_ms,
		.not_before_ms = t->not_before_ms };
	struct client_reply none = { .status = 503 };
	struct base_buf meta;
	enum base_err err;

	request.payload.data = block->data;
	request.payload.data_size = block->size;
	request.payload.block = block->size ? block : NULL;
	if (r->key) {
		request.key = r->key->bytes;
		request.key_size = r->key->size;
		request.hash = r->key->hash;
		request.key_ttl_ms = r->topic ? CLIENT_KEY_EVENT_MS : 0;
	}
	base_ulid_make(&c->ulids, &c->rand, base_clock_unix_ms(), request.id);
	memcpy(none.id, request.id, sizeof none.id);
	base_buf_init(&meta);
	if (r->topic)
		add_topic(r->topic, &request, &meta);
	err = base_buf_check(&meta);
	if (!err)
		err = client_engine_call(c->engine, &request, on_reply, r, NULL);
	base_buf_fini(&meta);
	if (err)
		end(r, &none, client_err_of_base(err));
}

/* Spent requests go back and the inbox is taken, under one lock. */
static struct client_job *exchange(struct pirn_client *c, bool *closing)
{
	struct client_job *list;

	pthread_mutex_lock(&c->lock);
	if (c->spent) {
		c->spent_end->next = c->free;
		c->free = c->spent;
	}
	list = c->inbox;
	c->inbox = NULL;
	c->inbox_end = &c->inbox;
	c->woken = false;
	*closing = c->closing;
	pthread_mutex_unlock(&c->lock);
	c->spent = NULL;
	return list;
}

static bool on_read(void *arg)
{
	struct pirn_client *c = arg;
	bool closing;
	struct client_job *list = exchange(c, &closing);

	if (closing)
		net_loop_stop(c->loop);
	while (list) {
		struct client_job *job = list;
		list = job->next;
		job->run(c, job);
	}
	return false;
}

static void on_async(uv_async_t *async)
{
	(void)async; /* READ is next */
}

static void on_async_closed(uv_handle_t *handle)
{
	free(handle);
}

static void free_list(struct request *r)
{
	while (r) {
		struct request *next = r->next;
		free(r);
		r = next;
	}
}

/* In the loop's thread, because engine and sockets are its own. */
static void tear_down(struct pirn_client *c)
{
	bool closing;

	client_engine_free(&c->engine);
	net_loop_unhook(&c->read_hook);
	if (c->async)
		uv_close((uv_handle_t *)c->async, on_async_closed);
	c->async = NULL;
	net_loop_free(&c->loop);
	exchange(c, &closing); /* the spent ones; nothing was posted since closing was seen */
	free_list(c->free);
}

static void *run(void *arg)
{
	struct pirn_client *c = arg;

	net_loop_run(c->loop);
	tear_down(c);
	return NULL;
}

/* ---- opening and closing --------------------------------------------------- */

static bool want_log;

static void init_log(void)
{
	base_log_init(want_log ? BASE_INFO : BASE_ERROR, BASE_LOG_TEXT, want_log ? 2 : -1);
}

static enum base_err set_up(struct pirn_client *c, const struct pirn_client_options *o, char **why)
{
	struct client_engine_conf conf = { .brokers = o->brokers,
		.name = o->name ? o->name : "client",
		.max_calls = c->max_calls,
		.max_bytes = c->max_bytes,
		.connect_wait_ms = o->connect_wait_ms };
	enum base_err err = net_loop_new(&c->loop);

	if (err)
		return err;
	c->async = calloc(1, sizeof *c->async);
	if (!c->async)
		return BASE_NOMEM;
	if (uv_async_init(net_loop_uv(c->loop), c->async, on_async) != 0) {
		free(c->async);
		c->async = NULL;
		return BASE_IO;
	}
	err = net_loop_hook(c->loop, NET_READ, on_read, c, &c->read_hook);
	return err ? err : client_engine_new(c->loop, &conf, NULL, &c->engine, why);
}

static enum base_err start_thread(struct pirn_client *c)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&c->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? base_err_from_errno(rc) : BASE_OK;
}

static void explain(char *why, size_t room, const char *text)
{
	if (room == 0)
		return;
	why[0] = '\0';
	strncat(why, text, room - 1);
}

static struct pirn_client *make(const struct pirn_client_options *o)
{
	struct pirn_client *c = calloc(1, sizeof *c);
	uint64_t seed;

	if (!c)
		return NULL;
	c->max_calls = o->max_calls ? o->max_calls : DEFAULT_CALLS;
	c->max_bytes = o->max_bytes ? o->max_bytes : DEFAULT_BYTES;
	c->inbox_end = &c->inbox;
	pthread_mutex_init(&c->lock, NULL);
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&c->rand, seed);
	return c;
}

enum pirn_client_err pirn_client_open(const struct pirn_client_options *options,
	struct pirn_client **out, char *why, size_t why_room)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct pirn_client_options o = { 0 };
	struct pirn_client *c;
	char *sentence = NULL;
	enum base_err err;

	if (!options || !out || options->size < offsetof(struct pirn_client_options, name))
		return PIRN_CLIENT_INVALID;
	memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
	explain(why, why_room, "no brokers are given");
	if (!o.brokers)
		return PIRN_CLIENT_INVALID;
	want_log = o.log;
	pthread_once(&once, init_log);
	c = make(&o);
	if (!c)
		return PIRN_CLIENT_NOMEM;
	err = set_up(c, &o, &sentence);
	if (!err)
		err = start_thread(c);
	if (!err) {
		explain(why, why_room, "");
		*out = c;
		return PIRN_CLIENT_OK;
	}
	explain(why, why_room, sentence ? sentence : base_err_text(err));
	free(sentence);
	tear_down(c);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return client_err_of_base(err);
}

enum pirn_client_err pirn_client_close(struct pirn_client **client)
{
	struct pirn_client *c = *client;

	if (!c)
		return PIRN_CLIENT_OK;
	if (client_thread_is_own(c))
		return PIRN_CLIENT_WRONG_THREAD;
	*client = NULL;
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	uv_async_send(c->async); /* under the lock: once the loop sees closing, async goes */
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return PIRN_CLIENT_OK;
}

bool client_thread_is_own(const struct pirn_client *c)
{
	return pthread_equal(pthread_self(), c->thread);
}

struct client_engine *client_thread_engine(const struct pirn_client *c)
{
	return c->engine;
}

/* ---- the users' side ------------------------------------------------------- */

static enum pirn_client_err check(const char *service, const void *body, size_t body_size)
{
	size_t name = service ? strlen(service) : 1;

	if (name == 0 || name > NAME_MAX_BYTES || (body_size && !body))
		return PIRN_CLIENT_INVALID;
	return body_size > NET_MAX_ITEM ? PIRN_CLIENT_TOO_LARGE : PIRN_CLIENT_OK;
}

/* Counted first and given back when it was too much: two threads can then refuse each other at the
 * very edge, but never both get in. */
static bool reserve(struct pirn_client *c, size_t bytes)
{
	bool calls = atomic_fetch_add_explicit(&c->calls, 1, memory_order_relaxed) < c->max_calls;
	bool fits = atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed) + bytes <=
		    c->max_bytes;

	if (calls && fits)
		return true;
	atomic_fetch_sub_explicit(&c->calls, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&c->bytes, bytes, memory_order_relaxed);
	return false;
}

static void unreserve(struct pirn_client *c, size_t bytes)
{
	atomic_fetch_sub_explicit(&c->calls, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&c->bytes, bytes, memory_order_relaxed);
}

struct wanted {
	const char *service, *key;
	const struct pirn_event *event; /* without a service; NULL: it has one */
	const void *body;
	size_t body_size;
	struct terms terms;
};

/* What of it is in memory of its own. */
struct parts {
	struct base_block *large;
	struct client_key *key;
	struct client_topic *topic;
};

static void fill(struct request *r, struct pirn_client *c, const struct wanted *w,
	const struct parts *parts)
{
	r->job.run = submit;
	r->block = (struct base_block){ .data = r->body,
		.size = parts->large ? 0 : (uint32_t)w->body_size,
		.refs = 1,
		.release = retire,
		.owner = r };
	r->next = NULL;
	r->client = c;
	r->terms = w->terms;
	r->large = parts->large;
	r->key = parts->key;
	r->topic = parts->topic;
	r->body_size = (uint32_t)w->body_size;
	strcpy(r->service, w->service ? w->service : "");
	if (!parts->large && w->body_size)
		memcpy(r->body, w->body, w->body_size);
}

/* Under the lock; true: the loop must be woken. */
static bool push(struct pirn_client *c, struct client_job *job)
{
	bool wake = !c->woken;

	job->next = NULL;
	*c->inbox_end = job;
	c->inbox_end = &job->next;
	c->woken = true;
	return wake;
}

enum pirn_client_err client_thread_post(struct pirn_client *c, struct client_job *job)
{
	bool closing, wake = false;

	pthread_mutex_lock(&c->lock);
	closing = c->closing;
	if (!closing)
		wake = push(c, job);
	pthread_mutex_unlock(&c->lock);
	if (wake)
		uv_async_send(c->async);
	return closing ? PIRN_CLIENT_CLOSED : PIRN_CLIENT_OK;
}

static enum pirn_client_err enqueue(struct pirn_client *c, const struct wanted *w,
	const struct parts *parts)
{
	struct request *r, *fresh = NULL;
	bool wake;

	pthread_mutex_lock(&c->lock);
	if (!c->free && !c->closing) {
		pthread_mutex_unlock(&c->lock);
		fresh = malloc(sizeof *fresh);
		if (!fresh)
			return PIRN_CLIENT_NOMEM;
		pthread_mutex_lock(&c->lock);
	}
	if (c->closing) {
		pthread_mutex_unlock(&c->lock);
		free(fresh);
		return PIRN_CLIENT_CLOSED;
	}
	r = fresh ? fresh : c->free;
	if (!fresh)
		c->free = r->next;
	fill(r, c, w, parts);
	wake = push(c, &r->job);
	pthread_mutex_unlock(&c->lock);
	if (wake)
		uv_async_send(c->async);
	return PIRN_CLIENT_OK;
}

static enum pirn_client_err make_parts(const struct wanted *w, struct parts *parts)
{
	const struct net_payload payload = { .data = w->body, .data_size = (uint32_t)w->body_size };
	enum pirn_client_err err = PIRN_CLIENT_OK;

	if (w->event)
		err = client_topic_new(w->event, &parts->topic);
	if (!err && w->event && w->event->event_id)
		err = client_key_new_event(w->event->source, w->event->event_id, &parts->key);
	else if (!err && w->key)
		err = client_key_new(w->key, w->service, w->body, w->body_size, &parts->key);
	if (!err && w->body_size > INLINE_BYTES) {
		parts->large = net_block_new(&payload);
		err = parts->large ? PIRN_CLIENT_OK : PIRN_CLIENT_NOMEM;
	}
	return err;
}

static enum pirn_client_err start(struct pirn_client *c, const struct wanted *w)
{
	struct parts parts = { 0 };
	enum pirn_client_err err;

	if (!reserve(c, w->body_size))
		return PIRN_CLIENT_FULL;
	err = make_parts(w, &parts);
	if (!err)
		err = enqueue(c, w, &parts);
	if (err) {
		base_block_unref(&parts.large);
		free(parts.key);
		free(parts.topic);
		unreserve(c, w->body_size);
	}
	return err;
}

enum pirn_client_err pirn_client_call_async(
	struct pirn_client *client, const struct pirn_call *given, pirn_reply_fn *fn, void *arg)
{
	struct pirn_call call = { 0 };
	enum pirn_client_err err;
	struct wanted w;

	if (!given || given->size < offsetof(struct pirn_call, idempotent))
		return PIRN_CLIENT_INVALID;
	memcpy(&call, given, given->size < sizeof call ? given->size : sizeof call);
	err = check(call.service, call.body, call.body_size);
	if (err)
		return err;
	if (!client || !fn || !call.service)
		return PIRN_CLIENT_INVALID;
	w = (struct wanted){ .service = call.service,
		.key = call.key,
		.body = call.body,
		.body_size = call.body_size };
	w.terms.fn = fn;
	w.terms.arg = arg;
	w.terms.timeout_ms = call.timeout_ms ? call.timeout_ms : DEFAULT_TIME_MS;
	w.terms.idempotent = call.idempotent;
	return start(client, &w);
}

enum pirn_client_err pirn_client_send_async(
	struct pirn_client *client, const struct pirn_event *given, pirn_sent_fn *fn, void *arg)
{
	struct pirn_event event = { 0 };
	enum pirn_client_err err;
	struct wanted w;

	if (!given || given->size < offsetof(struct pirn_event, key))
		return PIRN_CLIENT_INVALID;
	memcpy(&event, given, given->size < sizeof event ? given->size : sizeof event);
	err = check(event.service, event.body, event.body_size);
	if (err)
		return err;
	if (!client || !fn || !event.service == !event.type)
		return PIRN_CLIENT_INVALID;
	w = (struct wanted){ .service = event.service,
		.key = event.key,
		.event = event.type ? &event : NULL,
		.body = event.body,
		.body_size = event.body_size };
	w.terms.sent = fn;
	w.terms.arg = arg;
	w.terms.timeout_ms = event.timeout_ms ? event.timeout_ms : DEFAULT_TIME_MS;
	w.terms.want_result = event.want_result;
	w.terms.ack_memory = event.ack_memory;
	w.terms.delay_ms = event.delay_ms;
	w.terms.not_before_ms = event.not_before_ms;
	return start(client, &w);
}
