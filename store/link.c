/* Who may free what, and when. The context (c) is ours alone: it goes, and the poll handle
 * is closed, when the owner lets go and none of our frames is on the stack (depth is 0);
 * the link itself goes when that handle is closed. A link that is lost watches nothing any
 * more and waits for its owner.
 */
#include "store/link.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#define KEPT_BYTES (64u * 1024) /* of the buffer of what is to be written, while it is empty */
#define FEW_ARGS   64           /* that need no memory of their own */
/* Of the reply that is arriving. hiredis 0.14 has a limit of its own; 1.x has none, and frees by recursion. What one
 * read brings is 16 KiB, in which some 4,000 more may stand. */
#define MAX_NESTED 32

struct store_link {
	uv_poll_t poll;
	struct net_hook *hook;
	redisContext *c;
	struct store_link_events events;
	size_t unread; /* bytes of the reply that is arriving */
	int watched;   /* UV_READABLE | UV_WRITABLE */
	unsigned depth;
	bool owned; /* the owner has not let go */
	bool told;  /* on_lost was called */
	bool opened;
	bool dirty; /* there is something to write */
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* With it everything that is ours goes, but the struct: libuv has it until on_closed. */
static void end(struct store_link *l)
{
	net_loop_unhook(&l->hook);
	uv_close((uv_handle_t *)&l->poll, on_closed); /* before its descriptor is closed */
	redisFree(l->c);
	l->c = NULL;
}

static void enter(struct store_link *l)
{
	l->depth++;
}

static void leave(struct store_link *l)
{
	if (--l->depth == 0 && !l->owned)
		end(l);
}

static bool is_alive(const struct store_link *l)
{
	return l->owned && !l->told;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct store_link *l, int events)
{
	if (events == l->watched)
		return;
	l->watched = events;
	if (events)
		uv_poll_start(&l->poll, events, on_poll);
	else
		uv_poll_stop(&l->poll);
}

static void lose(struct store_link *l, const char *why)
{
	if (!is_alive(l))
		return;
	l->told = true;
	watch(l, 0);
	l->events.on_lost(l->events.arg, why && *why ? why : "the connection was closed");
}

/* ---- connecting, writing */

/* hiredis would make a new buffer after each write, and 0.14 falls when there is no memory for it: so what there
 * is to say is written here, out of its buffer, which stays. */
static void write_out(struct store_link *l)
{
	redisContext *c = l->c;
	size_t size = sdslen(c->obuf);
	ssize_t n = size == 0 ? 0 : write(c->fd, c->obuf, size);
	sds small;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		lose(l, strerror(errno));
		return;
	}
	if (n > 0)
		sdsrange(c->obuf, (int)n, -1);
	if (sdslen(c->obuf) == 0 && sdsavail(c->obuf) > KEPT_BYTES && (small = sdsempty())) {
		sdsfree(c->obuf);
		c->obuf = small;
	}
	l->dirty = sdslen(c->obuf) > 0;
	watch(l, l->dirty ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void finish_connect(struct store_link *l)
{
	int error = 0;
	socklen_t size = sizeof error;

	if (getsockopt(l->c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		error = errno;
	if (error) {
		lose(l, strerror(error));
		return;
	}
	l->opened = true;
	watch(l, UV_READABLE);
	l->events.on_open(l->events.arg);
}

static bool flush(void *arg)
{
	struct store_link *l = arg;

	if (!l->opened || !l->dirty || !is_alive(l) || (l->watched & UV_WRITABLE))
		return false;
	enter(l);
	write_out(l);
	leave(l);
	return false;
}

/* ---- replies */

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

/* UNTRUSTED: whoever is at the other end. What has a place in the protocol is handed on, whether it was asked for
 * or not; redis.c knows what was. */
static void hand_on(struct store_link *l)
{
	void *reply = NULL;

	while (is_alive(l)) {
		if (redisReaderGetReply(l->c->reader, &reply) != REDIS_OK) {
			lose(l, l->c->reader->errstr);
			return;
		}
		if (!reply) {
			if (l->c->reader->ridx > MAX_NESTED)
				lose(l, "Protocol error: arrays are nested too deep");
			return;
		}
		struct store_reply seen = view(reply);
		l->unread = l->c->reader->len - l->c->reader->pos;
		l->events.on_reply(l->events.arg, &seen);
		freeReplyObject(reply);
	}
}

static void read_in(struct store_link *l)
{
	size_t before = l->c->reader->len;

	if (redisBufferRead(l->c) != REDIS_OK) {
		lose(l, l->c->errstr);
		return;
	}
	l->unread += l->c->reader->len - before;
	hand_on(l);
	if (l->events.max_reply && l->unread > l->events.max_reply)
		lose(l, STORE_LINK_TOO_LARGE);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct store_link *l = poll->data;

	if (status < 0) /* whatever it is, the system call that comes next will say it */
		events = l->watched;
	enter(l);
	if (!l->opened)
		finish_connect(l);
	else if (events & UV_READABLE)
		read_in(l);
	if (is_alive(l) && l->opened && (events & UV_WRITABLE))
		write_out(l);
	leave(l);
}

/* ---- life */

static redisContext *dial(const char *address, uint16_t port, char *why, size_t why_room)
{
	redisContext *c =
		port ? redisConnectNonBlock(address, port) : redisConnectUnixNonBlock(address);

	if (c && !c->err)
		return c;
	snprintf(why, why_room, "%s", c ? c->errstr : base_err_text(BASE_NOMEM));
	if (c)
		redisFree(c);
	return NULL;
}

enum base_err store_link_new(struct net_loop *loop, const char *address, uint16_t port,
	const struct store_link_events *events, struct store_link **out, char *why, size_t why_room)
{
	struct store_link *l = calloc(1, sizeof *l);
	redisContext *c = NULL;
	snprintf(why, why_room, "%s", base_err_text(BASE_NOMEM));
	if (!l || net_loop_hook(loop, NET_FLUSH, flush, l, &l->hook) != BASE_OK)
		goto fail;
	if (!(c = dial(address, port, why, why_room)))
		goto fail;
	if (uv_poll_init(net_loop_uv(loop), &l->poll, c->fd) != 0) {
		snprintf(why, why_room, "the loop cannot watch the socket");
		goto fail;
	}
	l->poll.data = l;
	l->c = c;
	l->events = *events;
	l->owned = true;
	watch(l, UV_WRITABLE); /* which says that it is connected, or why not */
	*out = l;
	return BASE_OK;
fail:
	if (c)
		redisFree(c);
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
	if (l->depth == 0)
		end(l);
}

/* A command that found no memory is not there in part. */
static enum base_err append(struct store_link *l, const char **words, const size_t *sizes, size_t n)
{
	if (redisAppendCommandArgv(l->c, (int)n, words, sizes) == REDIS_OK) {
		l->dirty = true;
		return BASE_OK;
	}
	l->c->err = 0;
	return BASE_NOMEM;
}

enum base_err store_link_send(struct store_link *l, const struct store_arg *args, size_t n_args)
{
	const char *few_words[FEW_ARGS], **words = few_words;
	size_t few_sizes[FEW_ARGS], *sizes = few_sizes;
	enum base_err err = BASE_NOMEM;
	assert(n_args > 0 && n_args <= INT_MAX);
	if (!is_alive(l))
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
		err = append(l, words, sizes, n_args);
	}
	if (words != few_words)
		free(words);
	if (sizes != few_sizes)
		free(sizes);
	return err;
}
