/* See state.h. A call's lock guards its phase and its result; it is held while the
 * loop starts the operation, so that the thread cannot run out of time and take
 * away what the operation points at. The list has a lock of its own.
 */
#include "worker/state.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT_BYTES 65536u /* a call whose result was larger gives the memory back */

enum phase {
	IDLE,
	WAITING,  /* in the list, or under way */
	DONE,     /* err and result are there */
	DESERTED, /* its thread is gone; the loop frees it */
};

struct wrk_state_call {
	struct wrk_state *state;
	struct wrk_state_call *next; /* in the list */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	enum phase phase;
	const struct store_op *op;
	enum base_err err;
	struct wrk_state_result result;
};

struct wrk_state {
	struct wrk_state_conf conf;
	pthread_mutex_t lock;
	struct wrk_state_call *first, **last; /* guarded by lock */
	atomic_bool up;
	struct wrk_state_figures figures; /* the loop's */
};

enum base_err wrk_state_new(const struct wrk_state_conf *conf, struct wrk_state **out)
{
	struct wrk_state *s = calloc(1, sizeof *s);

	if (!s)
		return BASE_NOMEM;
	s->conf = *conf;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
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
	pthread_mutex_destroy(&s->lock);
	free(s);
	*sp = NULL;
}

void wrk_state_set_up(struct wrk_state *s, bool up)
{
	atomic_store(&s->up, up);
}

void wrk_state_figures(const struct wrk_state *s, struct wrk_state_figures *out)
{
	*out = s->figures;
}

/* ---- calls ----------------------------------------------------------------- */

static struct wrk_state_call *call_new(struct wrk_state *s)
{
	struct wrk_state_call *c = calloc(1, sizeof *c);
	pthread_condattr_t attr;

	if (!c)
		return NULL;
	c->state = s;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
	base_buf_init(&c->result.bytes);
	return c;
}

void wrk_state_call_free(struct wrk_state_call **cp)
{
	struct wrk_state_call *c = *cp;

	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->cond);
	base_buf_fini(&c->result.bytes);
	free(c);
	*cp = NULL;
}

static void result_reset(struct wrk_state_result *r)
{
	if (r->bytes.capacity > KEPT_BYTES)
		base_buf_fini(&r->bytes);
	base_buf_reset(&r->bytes);
	r->has_value = false;
	r->number = 0;
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

/* Into the call; its lock is held. */
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
	return base_err_class(err) != BASE_CLASS_NONE && base_err_class(err) != BASE_CLASS_PERMANENT;
}

/* Hands the call back to its thread, or frees it. Takes over the lock. */
static void call_end(struct wrk_state_call *c)
{
	bool deserted = c->phase == DESERTED;

	c->state->figures.operations++;
	c->state->figures.failures += is_failure(c->err);
	if (!deserted) {
		c->phase = DONE;
		pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
	if (deserted)
		wrk_state_call_free(&c);
}

static void on_result(void *arg, const struct store_result *result)
{
	struct wrk_state_call *c = arg;

	pthread_mutex_lock(&c->lock);
	result_copy(c, result);
	call_end(c);
}

static void call_start(struct wrk_state *s, struct wrk_state_call *c)
{
	enum base_err err = BASE_UNAVAILABLE;

	pthread_mutex_lock(&c->lock);
	if (c->phase == WAITING && atomic_load(&s->up))
		err = s->conf.start(s->conf.arg, c->op, on_result, c);
	if (err == BASE_OK) {
		pthread_mutex_unlock(&c->lock);
		return;
	}
	c->err = err;
	call_end(c);
}

void wrk_state_turn(struct wrk_state *s)
{
	struct wrk_state_call *first;

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
	if (first)
		s->conf.wake(s->conf.arg);
}

/* Waits for DONE; false: the time was up, and the call is not ours any more. */
static bool await(struct wrk_state_call *c, uint64_t deadline_us)
{
	struct timespec until = { (time_t)(deadline_us / 1000000), (long)(deadline_us % 1000000 * 1000) };
	bool done;

	pthread_mutex_lock(&c->lock);
	while (c->phase == WAITING)
		if (pthread_cond_timedwait(&c->cond, &c->lock, &until) == ETIMEDOUT && c->phase == WAITING)
			c->phase = DESERTED;
	done = c->phase == DONE;
	pthread_mutex_unlock(&c->lock);
	return done;
}

enum base_err wrk_state_do(struct wrk_state *s, struct wrk_state_call **call, const struct store_op *op,
                           uint64_t deadline_us, const struct wrk_state_result **result)
{
	struct wrk_state_call *c = *call;

	if (!atomic_load(&s->up))
		return BASE_UNAVAILABLE;
	if (!c)
		c = *call = call_new(s);
	if (!c)
		return BASE_NOMEM;
	result_reset(&c->result);
	c->op = op;
	c->phase = WAITING; /* nobody else knows of it yet */
	submit(s, c);
	if (!await(c, deadline_us)) {
		*call = NULL;
		return BASE_TIMEOUT;
	}
	*result = &c->result;
	return c->err;
}
