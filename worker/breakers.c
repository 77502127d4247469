#include "worker/breakers.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "base/rand.h"

struct wrk_breaker {
	struct base_breaker machine;
	char name[WRK_BREAKER_NAME_MAX + 1];
	uint64_t refused;
	struct wrk_pass *passes; /* out now */
};

struct wrk_breakers {
	const char *service;
	pthread_mutex_t lock; /* guards all that follows, and the passes */
	struct base_rand rand;
	struct wrk_breaker *list[WRK_BREAKERS_MAX];
	size_t n;
};

struct wrk_breakers *wrk_breakers_new(const char *service)
{
	struct wrk_breakers *b = calloc(1, sizeof *b);
	uint64_t seed;

	if (!b)
		return NULL;
	b->service = service;
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&b->rand, seed);
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void wrk_breakers_free(struct wrk_breakers **bp)
{
	struct wrk_breakers *b = *bp;

	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++) {
		assert(!b->list[i]->passes);
		free(b->list[i]);
	}
	pthread_mutex_destroy(&b->lock);
	free(b);
	*bp = NULL;
}

/* ---- names, under the lock ------------------------------------------------------- */

/* What needs no escape, in a metric's label neither. */
static bool is_name(const char *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t size = name ? strnlen(name, WRK_BREAKER_NAME_MAX + 1) : 0;

	return size > 0 && size <= WRK_BREAKER_NAME_MAX && strspn(name, letters) == size;
}

static struct wrk_breaker *find(const struct wrk_breakers *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->list[i]->name, name) == 0)
			return b->list[i];
	return NULL;
}

static enum base_err add(struct wrk_breakers *b, const char *name,
	const struct base_breaker_conf *conf, uint64_t now_ms, struct wrk_breaker **out)
{
	struct wrk_breaker *one;

	if (!is_name(name))
		return BASE_RANGE;
	if (b->n == WRK_BREAKERS_MAX)
		return BASE_FULL;
	one = calloc(1, sizeof *one);
	if (!one)
		return BASE_NOMEM;
	strcpy(one->name, name);
	base_breaker_init(&one->machine, conf, now_ms);
	*out = b->list[b->n++] = one;
	return BASE_OK;
}

enum base_err wrk_breakers_set(struct wrk_breakers *b, const char *name,
	const struct base_breaker_conf *conf, uint64_t now_ms)
{
	struct wrk_breaker *one = NULL;
	enum base_err err = BASE_OK;

	pthread_mutex_lock(&b->lock);
	if (name)
		one = find(b, name);
	if (one)
		base_breaker_set(&one->machine, conf);
	else
		err = add(b, name, conf, now_ms, &one);
	pthread_mutex_unlock(&b->lock);
	return err;
}

/* ---- time, under the lock -------------------------------------------------------- */

static uint32_t chance(struct wrk_breakers *b)
{
	return (uint32_t)base_rand_next(&b->rand);
}

static void say(const struct wrk_breakers *b, const struct wrk_breaker *one)
{
	enum base_breaker_state state = one->machine.state;

	base_log(state == BASE_BREAKER_OPEN ? BASE_WARN : BASE_INFO, "service_breaker",
		LOG_STR("service", b->service), LOG_STR("breaker", one->name),
		LOG_STR("state", base_breaker_state_name(state)));
}

static enum base_breaker_end verdict(const struct wrk_pass *pass, uint64_t now_ms, bool ok)
{
	if (now_ms < pass->until_ms)
		return ok ? BASE_BREAKER_OK : BASE_BREAKER_FAILED;
	return pass->hurried && now_ms < pass->since_ms + WRK_BREAKER_VAIN_MS ? BASE_BREAKER_UNKNOWN
									      : BASE_BREAKER_FAILED;
}

static void give(struct wrk_breakers *b, struct wrk_pass *pass, uint64_t now_ms, bool ok)
{
	struct wrk_breaker *one = pass->breaker;

	if (base_breaker_give(
		    &one->machine, now_ms, pass->pass, verdict(pass, now_ms, ok), chance(b)))
		say(b, one);
	pass->pass = 0;
	DL_DELETE(one->passes, pass);
}

/* What has come about by time alone. */
static void look(struct wrk_breakers *b, struct wrk_breaker *one, uint64_t now_ms)
{
	while (one->passes && one->passes->until_ms <= now_ms)
		give(b, one->passes, now_ms, false);
	while (one->machine.state != BASE_BREAKER_CLOSED &&
		base_breaker_tick(&one->machine, now_ms, chance(b)))
		say(b, one);
}

/* ---- passes ---------------------------------------------------------------------- */

static enum base_err take(struct wrk_breakers *b, struct wrk_breaker *one, uint64_t now_ms,
	uint64_t until_ms, struct wrk_pass *out, uint64_t *wait_ms)
{
	look(b, one, now_ms);
	out->pass = base_breaker_take(&one->machine, now_ms);
	if (out->pass == 0) {
		one->refused++;
		*wait_ms = base_breaker_wait_ms(&one->machine, now_ms);
		return BASE_UNAVAILABLE;
	}
	out->breaker = one;
	out->since_ms = now_ms;
	out->until_ms = until_ms;
	DL_APPEND(one->passes, out);
	return BASE_OK;
}

enum base_err wrk_breakers_enter(struct wrk_breakers *b, const char *name, uint64_t now_ms,
	uint64_t until_ms, struct wrk_pass *out, uint64_t *wait_ms)
{
	struct wrk_breaker *one = NULL;
	enum base_err err = BASE_OK;

	pthread_mutex_lock(&b->lock);
	if (name)
		one = find(b, name);
	if (!one)
		err = add(b, name, &base_breaker_standard, now_ms, &one);
	if (!err)
		err = take(b, one, now_ms, until_ms, out, wait_ms);
	pthread_mutex_unlock(&b->lock);
	return err;
}

void wrk_breakers_leave(struct wrk_breakers *b, struct wrk_pass *pass, uint64_t now_ms, bool ok)
{
	pthread_mutex_lock(&b->lock);
	if (pass->pass != 0)
		give(b, pass, now_ms, ok);
	pthread_mutex_unlock(&b->lock);
	*pass = (struct wrk_pass){ 0 };
}

uint64_t wrk_breakers_wait_ms(struct wrk_breakers *b, const char *name, uint64_t now_ms)
{
	struct wrk_breaker *one;
	uint64_t wait_ms = 0;

	pthread_mutex_lock(&b->lock);
	one = name ? find(b, name) : NULL;
	if (one) {
		look(b, one, now_ms);
		wait_ms = base_breaker_wait_ms(&one->machine, now_ms);
	}
	pthread_mutex_unlock(&b->lock);
	return wait_ms;
}

const char *wrk_pass_name(const struct wrk_pass *pass)
{
	return pass->breaker->name;
}

void wrk_breakers_walk(struct wrk_breakers *b, uint64_t now_ms,
	void (*fn)(void *arg, const struct wrk_breaker_figures *figures), void *arg)
{
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < b->n; i++) {
		struct wrk_breaker *one = b->list[i];
		struct wrk_breaker_figures figures = { .name = one->name, .refused = one->refused };

		look(b, one, now_ms);
		figures.state = one->machine.state;
		figures.opened = one->machine.transitions[BASE_BREAKER_OPEN];
		fn(arg, &figures);
	}
	pthread_mutex_unlock(&b->lock);
}
