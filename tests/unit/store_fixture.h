/* What the store's tests share: a loop, a connection in it, and waiting for facts. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/loop.h"
#include "store/functions_lua.h"
#include "store/redis.h"
#include "tests/harness/redis.h"
#include "tests/harness/wait.h"

struct fixture {
	struct net_loop *loop;
	struct store_redis *redis;
	uv_timer_t guard;
	bool too_long;
	unsigned ups, downs;
	char why[256];
};

static inline void fixture_on_guard(uv_timer_t *timer)
{
	((struct fixture *)timer->data)->too_long = true;
}

static inline void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ 0 };
	assert_int_equal(net_loop_new(&f->loop), BASE_OK);
	uv_timer_init(net_loop_uv(f->loop), &f->guard);
	f->guard.data = f;
}

/* Turns the loop until the fact holds. */
#define WAIT_FOR(f, fact) \
	do { \
		(f)->too_long = false; \
		uv_timer_start(&(f)->guard, fixture_on_guard, PATIENCE_MS, 0); \
		while (!(fact) && !(f)->too_long) \
			uv_run(net_loop_uv((f)->loop), UV_RUN_ONCE); \
		uv_timer_stop(&(f)->guard); \
		if (!(fact)) \
			fail_msg("did not come true: %s (%s)", #fact, (f)->why); \
	} while (0)

static inline void fixture_on_up(void *arg)
{
	((struct fixture *)arg)->ups++;
}

static inline void fixture_on_down(void *arg, const char *why)
{
	struct fixture *f = arg;
	f->downs++;
	snprintf(f->why, sizeof f->why, "%s", why);
}

/* Begins to connect; conf->url and what else matters is the caller's. */
static inline void fixture_connect(struct fixture *f, const struct store_redis_conf *conf)
{
	const struct store_redis_events events = { fixture_on_up, fixture_on_down, f };
	char *why = NULL;
	enum base_err err = store_redis_new(f->loop, conf, &events, &f->redis, &why);
	if (err)
		fail_msg("store_redis_new: %s (%s)", base_err_name(err), why ? why : "");
}

static inline void fixture_fini(struct fixture *f)
{
	store_redis_free(&f->redis);
	uv_close((uv_handle_t *)&f->guard, NULL);
	net_loop_free(&f->loop);
}

/* ---- one command, and its answer as text */

struct answer {
	bool came;
	enum store_reply_type type;
	int64_t integer;
	char text[256];
};

static inline void answer_set(void *arg, const struct store_reply *reply)
{
	struct answer *a = arg;
	assert_false(a->came);
	a->came = true;
	a->type = reply->type;
	a->integer = reply->integer;
	if (reply->text)
		snprintf(a->text, sizeof a->text, "%s", reply->text);
}

#define COMMAND(f, answer, ...) \
	store_redis_command((f)->redis, (const struct store_arg[]){ __VA_ARGS__ }, \
	        sizeof((const struct store_arg[]){ __VA_ARGS__ }) / sizeof(struct store_arg), answer_set, (answer))

#endif
