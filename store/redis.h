/* The connection to Redis: hiredis's parser with our own libuv adapter, in the loop.
 * It resolves, connects, logs in, selects, loads our Functions, reconnects
 * with jittered back-off, bounds what is under way, and gives each command a
 * deadline. One connection; commands are answered in the order they were given.
 *
 * A command that is lost with its connection, or whose deadline passes, has an
 * unknown result: its callback gets STORE_UNKNOWN, and the whole connection is
 * dropped on a time-out, because replies are positional. While there is no
 * connection commands are refused at once (UNAVAILABLE), so that callers fail
 * fast and nothing piles up.
 *
 * A Redis that answers LOADING or BUSY while we log in is not up yet. One that says
 * READONLY or LOADING later has changed its part (a failover): the connection is
 * dropped, and the name is resolved anew.
 *
 * The server may be somebody else's (the gateway reads events out of such), and then
 * anything: what it says is UNTRUSTED, and max_reply bounds it. SUBSCRIBE and its like are
 * commands with one answer (one channel, one pattern each); what is published comes by
 * on_message, and as RESP2 has it, such a connection takes nothing else meanwhile.
 *
 * url: redis://[[user]:password@]host[:port][/db], or unix://[[user]:password@]/path[?db=n].
 * SIGPIPE is ignored in the process from the first store_redis_new on: we write(2) to sockets.
 *
 * link.c is the only file that includes hiredis; 0.14 (Debian 12) and 1.x both do.
 */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "store/words.h"

struct store_redis;

enum store_reply_type {
	STORE_NIL,
	STORE_INT,
	STORE_STR,
	STORE_STATUS,
	STORE_ERROR,   /* text: "ERR increment or decrement would overflow" */
	STORE_ARRAY,
	STORE_UNKNOWN, /* the connection broke or the time was up: it may have happened or not */
};

struct store_reply {
	enum store_reply_type type;
	int64_t integer;
	const char *text; /* STR, STATUS, ERROR: size bytes, NUL-terminated */
	size_t size;
	size_t n;         /* ARRAY */
	const void *items;/* private: store_reply_at */
};

/* Called exactly once for each accepted command, in the loop. reply is borrowed. Element i of an
 * array: */
typedef void store_reply_fn(void *arg, const struct store_reply *reply);
struct store_reply store_reply_at(const struct store_reply *array, size_t i);

struct store_redis_conf {
	const char *url;
	const char *name;          /* CLIENT SETNAME */
	uint32_t connect_ms;       /* 0: 2,000 */
	uint32_t command_ms;       /* 0: 5,000; per command */
	uint32_t max_commands;     /* 0: 4,096 under way */
	uint64_t max_bytes;        /* 0: 16 MiB of commands under way */
	size_t max_reply;          /* bytes; a larger reply drops the connection. 0: no bound */
	/* What was published, in order, with the events' arg: an array whose first element is message or pmessage. */
	store_reply_fn *on_message;
	/* Source of Redis Functions to load at each connect; NULL: none. Its first line is
	 * "#!lua name=NAME", one line of it is "local revision = N", and it registers
	 * NAME_revision, which returns N: a library in Redis is replaced only by a newer one. */
	const char *library;
};

struct store_redis_events {
	void (*on_up)(void *arg);                     /* connected, authenticated, Functions loaded */
	void (*on_down)(void *arg, const char *why);  /* once per fall, and once when the first connect fails */
	void *arg;
};

/* CONFIG with *why (heap) when the URL is wrong. Connecting happens in the loop. */
BASE_MUSTUSE enum base_err store_redis_new(struct net_loop *loop, const struct store_redis_conf *conf,
                                           const struct store_redis_events *events, struct store_redis **out, char **why);
/* Open commands get UNKNOWN first; no event is called. Safe in every callback; takes NULL. */
void store_redis_free(struct store_redis **r);
bool store_redis_up(const struct store_redis *r);
const char *store_redis_shown(const struct store_redis *r); /* where it is, for people; without the password */
const char *store_redis_why(const struct store_redis *r); /* the last failure, for people; "" when none */

/* UNAVAILABLE: no connection. FULL: bounds. fn may be NULL. All commands of a turn leave in one
 * write. The arguments are copied. May be called in every callback, but not in a FLUSH hook (it
 * would wait for the next turn). */
BASE_MUSTUSE enum base_err store_redis_command(struct store_redis *r, const struct store_arg *args, size_t n_args,
                                               store_reply_fn *fn, void *arg);

struct store_redis_stats {
	uint64_t commands;     /* accepted */
	uint64_t errors;       /* error replies */
	uint64_t unknown;      /* lost with a connection */
	uint64_t connects;     /* times it was up */
	uint64_t open;         /* commands under way now */
	uint64_t too_large;    /* connections that a reply over max_reply ended */
};
const struct store_redis_stats *store_redis_stats(const struct store_redis *r);

#endif
