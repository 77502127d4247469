/* Who may free what, and when. hiredis's context (ac) ends in exactly one of two
 * ways: hiredis frees it inside redisAsyncHandleRead/Write (an error), or we call
 * redisAsyncFree while no hiredis frame is on the stack (busy is false). Both go
 * through the cleanup hook, where ac becomes NULL and the poll handle is closed;
 * the link itself goes when that handle is closed and its owner has let go.
 */
#include "store/link.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#define KEPT_BYTES (64u * 1024) /* of the buffer of what is to be written, while it is empty */
#define FEW_ARGS   64           /* that need no memory of their own */

struct store_link {
	uv_poll_t poll;
	struct net_loop *loop;
	struct net_hook *hook;
	redisAsyncContext *ac;
	struct store_link_events events;
	int watched;   /* UV_READABLE | UV_WRITABLE */
	bool has_poll; /* the handle is open or closing */
	bool owned;    /* the owner has not let go */
	bool told;     /* on_lost was called */
	bool opened, told_open;
	bool dirty;   /* hiredis has something to write */
	bool busy;    /* a hiredis frame is on the stack */
	bool writing; /* and it is redisAsyncHandleWrite */
};

static void maybe_free(struct store_link *l)
{
	if (!l->owned && !l->ac && !l->has_poll)
		free(l);
}

static void on_closed(uv_handle_t *handle)
{
	struct store_link *l = handle->data;
	l->has_poll = false;
	maybe_free(l);
}

/* The connection cannot be trusted any more: with an error in it hiredis ends it before it reads or writes. */
static enum base_err lose_it(struct store_link *l)
{
	l->ac->c.err = REDIS_ERR_OOM;
	snprintf(l->ac->c.errstr, sizeof l->ac->c.errstr, "Out of memory");
	return BASE_NOMEM;
}

/* hiredis 0.14 makes a new buffer after each write, and falls when there is no memory for it. So what an open
 * connection has to say is written here, out of its buffer, which stays; hiredis only hears of the end. */
static void write_out(redisAsyncContext *ac)
{
	redisContext *c = &ac->c;
	size_t size = sdslen(c->obuf);
	ssize_t n = c->err || size == 0 ? 0 : write(c->fd, c->obuf, size);
	sds small;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		c->err = REDIS_ERR_IO;
		snprintf(c->errstr, sizeof c->errstr, "%s", strerror(errno));
	}
	if (c->err) {
		redisAsyncHandleWrite(ac); /* ends the connection */
		return;
	}
	if (n > 0)
		sdsrange(c->obuf, (int)n, -1);
	if (sdslen(c->obuf) == 0 && sdsavail(c->obuf) > KEPT_BYTES && (small = sdsempty())) {
		sdsfree(c->obuf);
		c->obuf = small;
	}
	if (sdslen(c->obuf) > 0)
		ac->ev.addWrite(ac->ev.data);
	else
		ac->ev.delWrite(ac->ev.data);
}

static void handle_write(redisAsyncContext *ac)
{
	if (ac->c.flags & REDIS_CONNECTED)
		write_out(ac);
	else
		redisAsyncHandleWrite(ac);
}

/* Runs one of hiredis's entry points, and frees what it was asked to free meanwhile. */
static void enter(struct store_link *l, void (*handle)(redisAsyncContext *ac))
{
	l->busy = true;
	l->writing = handle == handle_write;
	handle(l->ac);
	l->busy = l->writing = false;
	if (!l->owned && l->ac)
		redisAsyncFree(l->ac);
	if (l->ac && l->opened && !l->told_open && l->owned) {
		l->told_open = true;
		l->events.on_open(l->events.arg);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct store_link *l = poll->data;
	if (status < 0) /* whatever it is, the system call that hiredis makes next will say it */
		events = l->watched;
	if (l->ac && (events & UV_READABLE))
		enter(l, redisAsyncHandleRead);
	if (l->ac && (events & UV_WRITABLE))
		enter(l, handle_write);
}

static void watch(struct store_link *l, int events)
{
	if (events == l->watched || !l->ac)
		return;
	l->watched = events;
	if (events)
		uv_poll_start(&l->poll, events, on_poll);
	else
		uv_poll_stop(&l->poll);
}

/* ---- hiredis's hooks */

static void add_read(void *arg)
{
	struct store_link *l = arg;
	watch(l, l->watched | UV_READABLE);
}

static void del_read(void *arg)
{
	struct store_link *l = arg;
	watch(l, l->watched & ~UV_READABLE);
}

/* Called inside redisAsyncHandleWrite it means that the socket is full. Otherwise FLUSH is soon
 * enough. */
static void add_write(void *arg)
{
	struct store_link *l = arg;
	if (!l->opened || l->writing)
		watch(l, l->watched | UV_WRITABLE);
	l->dirty = true;
}

static void del_write(void *arg)
{
	struct store_link *l = arg;
	l->dirty = false;
	watch(l, l->watched & ~UV_WRITABLE);
}

/* 1.x calls it twice. */
static void cleanup(void *arg)
{
	struct store_link *l = arg;
	if (!l->ac)
		return;
	l->ac = NULL;
	net_loop_unhook(&l->hook);
	uv_close((uv_handle_t *)&l->poll, on_closed);
}

static bool flush(void *arg)
{
	struct store_link *l = arg;
	if (l->ac && l->opened && l->dirty && !(l->watched & UV_WRITABLE))
		enter(l, handle_write);
	return false;
}

/* ---- hiredis's events */

static void lost(struct store_link *l, const redisAsyncContext *ac)
{
	if (!l->owned || l->told)
		return;
	l->told = true;
	l->events.on_lost(
		l->events.arg, ac->c.errstr[0] ? ac->c.errstr : "the connection was closed");
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct store_link *l = ac->data;
	if (status != REDIS_OK) {
		lost(l, ac);
		return;
	}
	l->opened = true; /* on_open comes when hiredis has nothing to write yet: see write_out */
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	(void)status;
	lost(ac->data, ac);
}

static struct store_reply view(const redisReply *reply)
{
	struct store_reply out = { .type = STORE_ERROR,
		.text = "a reply of a type that was not asked for" };
	switch (reply->type) {
	case REDIS_REPLY_NIL:
		return (struct store_reply){ .type = STORE_NIL };
	case REDIS_REPLY_INTEGER:
		return (struct store_reply){ .type = STORE_INT, .integer = reply->integer };
	case REDIS_REPLY_ARRAY:
		return (struct store_reply){
			.type = STORE_ARRAY, .n = reply->elements, .items = reply->element
		};
	case REDIS_REPLY_STRING:
		out.type = STORE_STR;
		break;
	case REDIS_REPLY_STATUS:
		out.type = STORE_STATUS;
		break;
	case REDIS_REPLY_ERROR:
		break;
	default: /* RESP3's, which nobody switched on */
		out.size = strlen(out.text);
		return out;
	}
	out.text = reply->str;
	out.size = (size_t)reply->len;
	return out;
}

struct store_reply store_reply_at(const struct store_reply *array, size_t i)
{
	assert(array->type == STORE_ARRAY && i < array->n);
	return view(((redisReply *const *)array->items)[i]);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
	struct store_link *l = ac->data;
	(void)arg;
	if (!reply) {
		lost(l, ac);
		return;
	}
	struct store_reply seen = view(reply);
	if (l->owned && !l->told)
		l->events.on_reply(l->events.arg, &seen);
}

/* ---- life */

static redisAsyncContext *dial(const char *address, uint16_t port, char *why, size_t why_room)
{
	redisAsyncContext *ac =
		port ? redisAsyncConnect(address, port) : redisAsyncConnectUnix(address);
	if (ac && !ac->err)
		return ac;
	snprintf(why, why_room, "%s", ac ? ac->errstr : base_err_text(BASE_NOMEM));
	if (ac)
		redisAsyncFree(ac);
	return NULL;
}

enum base_err store_link_new(struct net_loop *loop, const char *address, uint16_t port,
	const struct store_link_events *events, struct store_link **out, char *why, size_t why_room)
{
	struct store_link *l = calloc(1, sizeof *l);
	redisAsyncContext *ac = NULL;
	snprintf(why, why_room, "%s", base_err_text(BASE_NOMEM));
	if (!l || net_loop_hook(loop, NET_FLUSH, flush, l, &l->hook) != BASE_OK)
		goto fail;
	if (!(ac = dial(address, port, why, why_room)))
		goto fail;
	if (uv_poll_init(net_loop_uv(loop), &l->poll, ac->c.fd) != 0) {
		snprintf(why, why_room, "the loop cannot watch the socket");
		goto fail;
	}
	l->poll.data = l;
	l->loop = loop;
	l->ac = ac;
	l->events = *events;
	l->has_poll = l->owned = true;
	ac->data = ac->ev.data = l;
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = cleanup;
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	redisAsyncSetConnectCallback(
		ac, on_connect); /* asks for the write event that says "connected" */
	*out = l;
	return BASE_OK;
fail:
	if (ac)
		redisAsyncFree(ac);
	if (l)
		net_loop_unhook(&l->hook);
	free(l);
	return BASE_UNAVAILABLE;
}

void store_link_free(struct store_link **lp)
{
	struct store_link *l = *lp;
	if (!l)
		return;
	*lp = NULL;
	l->owned = false;
	if (l->ac && !l->busy)
		redisAsyncFree(l->ac); /* → cleanup → on_closed */
	else
		maybe_free(l);
}

enum base_err store_link_send(struct store_link *l, const struct store_arg *args, size_t n_args)
{
	const char *few_words[FEW_ARGS], **words = few_words;
	size_t few_sizes[FEW_ARGS], *sizes = few_sizes;
	enum base_err err = BASE_NOMEM;
	assert(n_args > 0 && n_args <= INT_MAX);
	if (!l->ac || l->told)
		return BASE_UNAVAILABLE;
	if (n_args > FEW_ARGS) { /* a turn's Function: thousands */
		words = calloc(n_args, sizeof *words);
		sizes = calloc(n_args, sizeof *sizes);
	}
	if (words && sizes) {
		for (size_t i = 0; i < n_args; i++) {
			words[i] = args[i].data ? args[i].data : "";
			sizes[i] = args[i].size;
		}
		const redisCallback *last = l->ac->replies.tail;
		int rc = redisAsyncCommandArgv(l->ac, on_reply, NULL, (int)n_args, words, sizes);
		err = rc == REDIS_OK ? BASE_OK : BASE_UNAVAILABLE;
		if (!err && l->ac->replies.tail == last)
			err = lose_it(
				l); /* 0.14 took it without a callback, and would fall over the reply */
	}
	if (words != few_words)
		free(words);
	if (sizes != few_sizes)
		free(sizes);
	return err;
}
