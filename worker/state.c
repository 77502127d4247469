/* See state.h. A call belongs to its thread until it is submitted and again once its
 * phase is DONE; in between to the loop. The phase is an atomic, and the thread sleeps
 * on a semaphore: a condition variable would cost a lock that the woken thread runs
 * into while the loop still holds it, which doubles the switches of a batch. The list
 * has a lock of its own.
 *
 * The executor is told of all answers of a turn before the first thread is woken, so
 * that the batch goes on as one: who ends it is the last of them, not the first.
 */
#include "worker/state.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "worker/executor.h"

#define KEPT_BYTES 65536u /* a call whose result was larger gives the memory back */

/* Short: what it guards against is answered within a second or two of Redis's coming back. */
static const struct base_breaker_conf breaker_conf = {
	.window_ms = 10000,
	.calls = 20,
	.failure_percent = 50,
	.consecutive = 5,
	.open_ms = 1000,
	.open_max_ms = 10000,
	.probes = 3,
	.successes = 3,
	.probe_ms = 10000, /* every operation ends before, store/redis.h sees to it */
};

enum phase {
	IDLE,
	WAITING,  /* in the list, or under way */
	STARTING, /* the loop reads the operation: its thread must not leave now */
	ENDED,    /* err and result are there; its thread is woken at the turn's end */
	DONE,     /* its thread goes on */
	DESERTED, /* its thread is gone; the loop frees it */
};

struct wrk_state_call {
	struct wrk_state *state;
	struct wrk_state_call *next; /* in the list */
	sem_t done;
	_Atomic(enum phase) phase;
	struct wrk_runner *thread; /* the executor's name for it, or NULL */
	const struct store_op *op;
	const struct wrk_state_record *record; /* NULL: a plain operation */
	base_breaker_pass pass;                /* 0: it was not started */
	uint64_t started_ms;
	enum base_err err;
	struct wrk_state_result result;
};

struct wrk_state {
	struct wrk_state_conf conf;
	pthread_mutex_t lock;
	pthread_cond_t came_up;
	struct wrk_state_call *first, **last;       /* guarded by lock */
	struct wrk_state_call *ended, **ended_last; /* their threads are still to be woken */
	struct wrk_executor *executor;
	atomic_bool up;
	_Atomic(uint64_t) open_until_ms; /* nobody need come before; 0: come */
	/* The loop's: */
	struct base_breaker breaker;
	struct base_rand rand;
	struct wrk_state_figures figures;
};

static void init_breaker(struct wrk_state *s)
{
	uint64_t seed;

	base_rand_system(&seed, sizeof seed);
	base_rand_init(&s->rand, seed);
	base_breaker_init(&s->breaker, &breaker_conf, s->conf.now_ms());
}

enum base_err wrk_state_new(const struct wrk_state_conf *conf, struct wrk_state **out)
{
	struct wrk_state *s = calloc(1, sizeof *s);

	if (!s)
		return BASE_NOMEM;
	s->conf = *conf;
	if (!s->conf.now_ms)
		s->conf.now_ms = base_clock_ms;
	if (s->conf.vain_ms == 0)
		s->conf.vain_ms = 1000;
	init_breaker(s);
	s->last = &s->first;
	s->ended_last = &s->ended;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->came_up, NULL);
	atomic_init(&s->up, false);
	*out = s;
	return BASE_OK;
}

void wrk_state_free(struct wrk_state **sp)
{
	struct wrk_state *s = *sp;

	if (!s)
		return;
	wrk_state_set_up(s, false);
	wrk_state_turn(s);
	wrk_state_flush(s);
	pthread_cond_destroy(&s->came_up);
	pthread_mutex_destroy(&s->lock);
	free(s);
	*sp = NULL;
}

void wrk_state_set_up(struct wrk_state *s, bool up)
{
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->up, up);
	pthread_cond_broadcast(&s->came_up);
	pthread_mutex_unlock(&s->lock);
}

void wrk_state_set_executor(struct wrk_state *s, struct wrk_executor *executor)
{
	s->executor = executor;
}

void wrk_state_figures(const struct wrk_state *s, struct wrk_state_figures *out)
{
	*out = s->figures;
	out->breaker = s->breaker.state;
}

/* ---- calls ----------------------------------------------------------------- */

static struct wrk_state_call *call_new(struct wrk_state *s)
{
	struct wrk_state_call *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->state = s;
	sem_init(&c->done, 0, 0);
	atomic_init(&c->phase, IDLE);
	base_buf_init(&c->result.bytes);
	base_buf_init(&c->result.record);
	return c;
}

void wrk_state_call_free(struct wrk_state_call **cp)
{
	struct wrk_state_call *c = *cp;

	if (!c)
		return;
	sem_destroy(&c->done);
	base_buf_fini(&c->result.bytes);
	base_buf_fini(&c->result.record);
	free(c);
	*cp = NULL;
}

static void buf_reset(struct base_buf *b)
{
	if (b->capacity > KEPT_BYTES)
		base_buf_fini(b);
	base_buf_reset(b);
}

static void result_reset(struct wrk_state_result *r)
{
	buf_reset(&r->bytes);
	buf_reset(&r->record);
	r->has_value = false;
	r->number = 0;
	r->code = STORE_CODE__N;
	r->replayed = false;
}

/* ---- the breaker ----------------------------------------------------------- */

static void note_breaker(struct wrk_state *s)
{
	const struct base_breaker *b = &s->breaker;

	atomic_store(&s->open_until_ms, b->state == BASE_BREAKER_OPEN ? b->until_ms : 0);
	base_log(b->state == BASE_BREAKER_OPEN ? BASE_WARN : BASE_INFO, "redis_breaker",
		LOG_STR("state", base_breaker_state_name(b->state)));
}

static void tick_breaker(struct wrk_state *s)
{
	if (s->breaker.state != BASE_BREAKER_CLOSED &&
		base_breaker_tick(
			&s->breaker, s->conf.now_ms(), (uint32_t)base_rand_next(&s->rand)))
		note_breaker(s);
}

static enum base_breaker_end verdict(const struct wrk_state *s, const struct wrk_state_call *c)
{
	if (c->err != BASE_IO && c->err != BASE_UNAVAILABLE)
		return BASE_BREAKER_OK; /* it answered */
	return s->conf.now_ms() - c->started_ms >= s->conf.vain_ms ? BASE_BREAKER_FAILED
								   : BASE_BREAKER_UNKNOWN;
}

static void give_pass(struct wrk_state *s, struct wrk_state_call *c, enum base_breaker_end end)
{
	if (c->pass != 0 && base_breaker_give(&s->breaker, s->conf.now_ms(), c->pass, end,
				    (uint32_t)base_rand_next(&s->rand)))
		note_breaker(s);
	c->pass = 0;
}

/* ---- the loop's side ------------------------------------------------------- */

static void add_u32(struct base_buf *b, size_t n)
{
	uint32_t word = (uint32_t)n;

	base_buf_add(b, &word, sizeof word);
}

static void copy_pairs(struct base_buf *b, const struct store_reply *pairs)
{
	add_u32(b, pairs->n / 2);
	for (size_t i = 0; i < pairs->n / 2 * 2; i++) {
		struct store_reply text = store_reply_at(pairs, i);

		add_u32(b, text.size);
		base_buf_add(b, text.text, text.size);
		base_buf_chr(b, '\0');
	}
}

static void result_copy(struct wrk_state_call *c, const struct store_result *from)
{
	struct wrk_state_result *r = &c->result;

	c->err = from->err;
	if (from->err != BASE_OK)
		return;
	r->number = from->number;
	r->has_value = from->value.data != NULL;
	if (from->pairs)
		copy_pairs(&r->bytes, from->pairs);
	else if (r->has_value)
		base_buf_add(&r->bytes, from->value.data, from->value.size);
	if (r->bytes.failed)
		c->err = BASE_NOMEM;
}

static bool is_failure(enum base_err err)
{
	return base_err_class(err) != BASE_CLASS_NONE &&
	       base_err_class(err) != BASE_CLASS_PERMANENT;
}

/* Hands the call back to its thread, which sleeps on until wrk_state_flush; or frees it. */
static void call_end(struct wrk_state_call *c)
{
	c->state->figures.operations++;
	c->state->figures.failures += is_failure(c->err);
	give_pass(c->state, c, verdict(c->state, c));
	if (atomic_exchange(&c->phase, ENDED) == DESERTED) {
		wrk_state_call_free(&c);
		return;
	}
	if (c->thread)
		wrk_executor_resume(c->state->executor, c->thread);
	c->next = NULL;
	*c->state->ended_last = c;
	c->state->ended_last = &c->next;
}

void wrk_state_flush(struct wrk_state *s)
{
	struct wrk_state_call *c = s->ended, *next;

	s->ended = NULL;
	s->ended_last = &s->ended;
	for (; c; c = next) {
		next = c->next;
		atomic_store(&c->phase, DONE);
		sem_post(&c->done);
	}
}

static void on_result(void *arg, const struct store_result *result)
{
	struct wrk_state_call *c = arg;

	result_copy(c, result);
	call_end(c);
}

static void on_record(void *arg, const struct store_run_result *result)
{
	struct wrk_state_call *c = arg;

	c->err = wrk_state_copy_record(&c->result, result);
	call_end(c);
}

static enum base_err start(struct wrk_state *s, struct wrk_state_call *c)
{
	c->started_ms = s->conf.now_ms();
	c->pass = base_breaker_take(&s->breaker, c->started_ms);
	if (c->pass == 0)
		return BASE_UNAVAILABLE;
	if (c->record)
		return s->conf.record(s->conf.arg, c->record, on_record, c);
	return s->conf.start(s->conf.arg, c->op, on_result, c);
}

static void call_start(struct wrk_state *s, struct wrk_state_call *c)
{
	enum phase waiting = WAITING;
	enum base_err err = BASE_UNAVAILABLE;

	if (atomic_compare_exchange_strong(&c->phase, &waiting, STARTING)) {
		if (atomic_load(&s->up))
			err = start(s, c);
		atomic_store(&c->phase, WAITING);
	}
	if (err == BASE_OK)
		return;
	give_pass(s, c, BASE_BREAKER_UNKNOWN); /* it never got to Redis */
	c->err = err;
	call_end(c);
}

void wrk_state_turn(struct wrk_state *s)
{
	struct wrk_state_call *first;

	tick_breaker(s);
	pthread_mutex_lock(&s->lock);
	first = s->first;
	s->first = NULL;
	s->last = &s->first;
	pthread_mutex_unlock(&s->lock);
	for (struct wrk_state_call *next; first; first = next) {
		next = first->next;
		call_start(s, first);
	}
}

/* ---- the threads' side ----------------------------------------------------- */

static void submit(struct wrk_state *s, struct wrk_state_call *c)
{
	bool first;

	pthread_mutex_lock(&s->lock);
	first = s->first == NULL;
	c->next = NULL;
	*s->last = c;
	s->last = &c->next;
	pthread_mutex_unlock(&s->lock);
	if (first && (!s->executor || wrk_executor_owe(s->executor)))
		s->conf.wake(s->conf.arg);
}

static bool desert(struct wrk_state_call *c)
{
	enum phase phase = WAITING;

	while (!atomic_compare_exchange_strong(&c->phase, &phase, DESERTED)) {
		if (phase == ENDED || phase == DONE)
			return false;
		phase = WAITING;
		sched_yield();
	}
	return true;
}

/* Waits for DONE; false: the time was up, and the call is not ours any more. */
static bool await(struct wrk_state_call *c, uint64_t deadline_us)
{
	struct timespec until = { (time_t)(deadline_us / 1000000),
		(long)(deadline_us % 1000000 * 1000) };
	int rc;

	do
		rc = sem_clockwait(&c->done, CLOCK_MONOTONIC, &until);
	while (rc < 0 && errno == EINTR);
	if (rc != 0 && desert(c))
		return false;
	while (rc != 0) /* it was posted at the last moment, or is about to be */
		rc = sem_wait(&c->done);
	assert(atomic_load(&c->phase) ==
		DONE); /* also tells a checker of threads what the semaphore does not */
	return true;
}

static enum base_err do_call(struct wrk_state *s, struct wrk_state_call **call,
	uint64_t deadline_us, const struct wrk_state_result **result)
{
	struct wrk_state_call *c = *call;

	result_reset(&c->result);
	atomic_store(&c->phase, WAITING);
	c->thread = s->executor ? wrk_executor_self() : NULL;
	submit(s, c);
	if (!await(c, deadline_us)) {
		*call = NULL;
		return BASE_TIMEOUT;
	}
	*result = &c->result;
	return c->err;
}

/* The thread's call, made when there is none. */
static enum base_err call_get(struct wrk_state *s, struct wrk_state_call **call)
{
	uint64_t open_until_ms = atomic_load(&s->open_until_ms);

	if (!atomic_load(&s->up))
		return BASE_UNAVAILABLE;
	if (open_until_ms > 0 && s->conf.now_ms() < open_until_ms)
		return BASE_UNAVAILABLE;
	if (!*call)
		*call = call_new(s);
	return *call ? BASE_OK : BASE_NOMEM;
}

enum base_err wrk_state_do(struct wrk_state *s, struct wrk_state_call **call,
	const struct store_op *op, uint64_t deadline_us, const struct wrk_state_result **result)
{
	enum base_err err = call_get(s, call);

	if (err)
		return err;
	(*call)->op = op;
	(*call)->record = NULL;
	return do_call(s, call, deadline_us, result);
}

enum base_err wrk_state_do_record(struct wrk_state *s, struct wrk_state_call **call,
	const struct wrk_state_record *record, uint64_t deadline_us,
	const struct wrk_state_result **result)
{
	enum base_err err = call_get(s, call);

	*result = NULL;
	if (err)
		return err;
	(*call)->record = record;
	return do_call(s, call, deadline_us, result);
}

bool wrk_state_await_up(struct wrk_state *s, uint64_t deadline_us)
{
	struct timespec until = { (time_t)(deadline_us / 1000000),
		(long)(deadline_us % 1000000 * 1000) };
	int rc = 0;
	bool up;

	pthread_mutex_lock(&s->lock);
	while (!atomic_load(&s->up) && rc == 0)
		rc = pthread_cond_clockwait(&s->came_up, &s->lock, CLOCK_MONOTONIC, &until);
	up = atomic_load(&s->up);
	pthread_mutex_unlock(&s->lock);
	return up;
}
