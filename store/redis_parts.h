/* The inside of a connection to Redis, shared by redis.c (commands, deadlines, its
 * end), dial.c (addresses, connecting) and greet.c (logging in, Functions).
 */
#ifndef STORE_REDIS_PARTS_H
#define STORE_REDIS_PARTS_H

#include <netinet/in.h>

#include "base/rand.h"
#include "store/link.h"
#include "store/redis.h"
#include "store/url.h"

#define STORE_MAX_ADDRESSES 8

enum store_phase { STORE_WAITING, STORE_RESOLVING, STORE_CONNECTING, STORE_GREETING, STORE_UP };

struct store_command {
	store_reply_fn *fn;
	void *arg;
	uint64_t due_at;
	size_t bytes;
};

/* A name's resolution, which cannot always be cancelled and so outlives who asked. */
struct store_lookup {
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

	enum store_phase phase;
	struct store_link *link;
	struct store_lookup *lookup;
	char addresses[STORE_MAX_ADDRESSES][INET6_ADDRSTRLEN];
	size_t n_addresses, address;
	uv_timer_t timer;
	uint64_t armed_at, phase_due_at, heard_at;
	uint64_t answered, suspect;
	unsigned failures;
	bool told_down, loading, refused_load;

	struct store_command *ring; /* capacity is a power of two */
	size_t capacity, head, n;
	uint64_t bytes;

	unsigned frames;
	bool dead;
	struct base_rand rand;
	struct store_redis_stats stats;
	char why[256];
};

/* redis.c */
uint64_t store_redis_now_ms(const struct store_redis *r);
void store_redis_plan(struct store_redis *r); /* sets the timer for what comes next in this phase */
/* Ends the connection, or the attempt at one; the commands under way get UNKNOWN. */
void store_redis_drop(struct store_redis *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A command of our own: no bounds. What cannot be sent drops the connection. */
void store_redis_say(struct store_redis *r, store_reply_fn *fn, const struct store_arg *args,
	size_t n_args);
struct store_link_events store_redis_link_events(struct store_redis *r);

/* dial.c */
void store_redis_attempt(struct store_redis *r);
void store_redis_forget_lookup(struct store_redis *r);

/* greet.c */
bool store_redis_read_library(struct store_redis *r); /* the library's header; see redis.h */
void store_redis_greet(struct store_redis *r);
void store_redis_load(struct store_redis *r, bool replace);
/* True when the reply is no error and the connection still stands; an error drops it. */
bool store_redis_greeted(struct store_redis *r, const struct store_reply *reply);
bool store_reply_starts(const struct store_reply *reply, const char *code); /* an error with that code */

#endif
