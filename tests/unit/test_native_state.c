/* worker/state.c and the state of include/pirn/service.h over it: threads that wait,
 * a loop that answers when the test says so. No Redis: what is started is kept here.
 */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "worker/request.h"

#define FOREVER (base_clock_us() + UINT64_C(3600000000))

struct started {
	enum store_op_kind kind;
	char service[64], key[64], field[64];
	char value[64], expected[64];
	bool has_expected;
	int64_t number;
	uint64_t ttl_ms;
	store_op_fn *fn;
	void *arg;
};

struct fixture {
	struct wrk_state *state;
	sem_t woken;
	struct started list[64];
	size_t n;
	enum base_err start_err;
	atomic_uint wakes;
};

static _Atomic(uint64_t) now_ms; /* the breaker's time */

static uint64_t clock_ms(void)
{
	return now_ms;
}

static void copy(char *out, const struct store_arg *arg)
{
	memcpy(out, arg->data ? arg->data : "", arg->size);
	out[arg->size] = '\0';
}

static enum base_err start(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	struct fixture *f = arg;
	struct started *s;

	if (f->start_err)
		return f->start_err;
	s = &f->list[f->n++];
	*s = (struct started){ .kind = op->kind, .number = op->number, .ttl_ms = op->ttl_ms, .fn = fn, .arg = fn_arg,
		               .has_expected = op->expected.data != NULL };
	snprintf(s->service, sizeof s->service, "%s", op->service);
	copy(s->key, &op->key);
	copy(s->field, &op->field);
	copy(s->value, &op->value);
	copy(s->expected, &op->expected);
	return BASE_OK;
}

static void wake(void *arg)
{
	struct fixture *f = arg;

	atomic_fetch_add(&f->wakes, 1);
	sem_post(&f->woken);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct wrk_state_conf conf = { .start = start,
		.wake = wake,
		.arg = f,
		.now_ms = clock_ms,
		.vain_ms = 1000 };

	now_ms = 1000;
	sem_init(&f->woken, 0, 0);
	assert_int_equal(wrk_state_new(&conf, &f->state), BASE_OK);
	wrk_state_set_up(f->state, true);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wrk_state_free(&f->state);
	sem_destroy(&f->woken);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	wrk_state_turn(f->state);
	wrk_state_flush(f->state);
}

/* Turns until n operations were started. */
static void turn_until(struct fixture *f, size_t n)
{
	while (f->n < n) {
		sem_wait(&f->woken);
		turn(f);
	}
}

static void answer(struct fixture *f, size_t i, const struct store_result *result)
{
	f->list[i].fn(f->list[i].arg, result);
	wrk_state_flush(f->state);
}

/* ---- a thread's side --------------------------------------------------------- */

struct asker {
	pthread_t id;
	struct fixture *f;
	struct base_manifest manifest;
	struct wrk_native *native;
	struct wrk_run run;
	atomic_bool ended;
};

/* All askers of a time ask the same. */
static int (*_Atomic asked)(struct pirn_request *req, struct pirn_response *res);

static int handle(struct pirn_request *req, struct pirn_response *res)
{
	return asked(req, res);
}

static const struct pirn_service service = { PIRN_SERVICE_ABI, sizeof service, handle, NULL, NULL };
static char service_name[] = "shop", handler_name[] = "shop.so";

static void *ask_main(void *arg)
{
	struct asker *a = arg;
	struct wrk_thread *thread = wrk_thread_new(NULL, a->f->state);

	wrk_native_run(a->native, thread, &a->run);
	wrk_thread_free(&thread);
	atomic_store(&a->ended, true);
	return NULL;
}

static void ask_begin(struct asker *a, struct fixture *f, int (*ask)(struct pirn_request *, struct pirn_response *),
                      uint64_t deadline_us)
{
	char why[128];

	memset(a, 0, sizeof *a);
	a->f = f;
	a->manifest.service = service_name;
	a->manifest.handler = handler_name;
	asked = ask;
	base_buf_init(&a->run.in);
	base_buf_init(&a->run.meta);
	base_buf_init(&a->run.body);
	a->run.deadline_us = deadline_us;
	assert_int_equal(wrk_native_adopt(".", &a->manifest, &service, 1000, &a->native, why, sizeof why), BASE_OK);
	assert_int_equal(pthread_create(&a->id, NULL, ask_main, a), 0);
}

static void ask_end(struct asker *a, unsigned status, const char *body)
{
	pthread_join(a->id, NULL);
	wrk_native_free(&a->native);
	assert_int_equal(a->run.status, status);
	if (body)
		assert_string_equal((char *)a->run.body.data, body);
	base_buf_fini(&a->run.in);
	base_buf_fini(&a->run.meta);
	base_buf_fini(&a->run.body);
}

static int adds(struct pirn_request *req, struct pirn_response *res)
{
	int64_t value = 1;
	int err = pirn_counter_add(req, "visits", 5, &value);

	return err ? err : pirn_respond_json(res, 200, "%lld", (long long)value);
}

static int waits_then_adds(struct pirn_request *req, struct pirn_response *res)
{
	while (pirn_request_left_ms(req) > 0)
		sched_yield();
	return adds(req, res);
}

static void number_comes_back(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	ask_begin(&a, f, adds, FOREVER);
	turn_until(f, 1);
	assert_int_equal(f->list[0].kind, STORE_COUNTER_ADD);
	assert_string_equal(f->list[0].service, "shop");
	assert_string_equal(f->list[0].key, "visits");
	assert_int_equal(f->list[0].number, 5);
	answer(f, 0, &(struct store_result){ .number = 47 });
	ask_end(&a, 200, "47");
}

static void errors_come_back(void **state)
{
	static const struct {
		enum base_err err;
		unsigned status;
		bool stateless; /* it says so: Redis did not answer, or has no room */
	} rows[] = {
		{ BASE_OVERFLOW, 400, false }, { BASE_TYPE, 500, false }, { BASE_NOT_FOUND, 404, false },
		{ BASE_MISMATCH, 409, false }, { BASE_UNAVAILABLE, 503, true }, { BASE_IO, 503, true },
		{ BASE_FULL, 503, true }, { BASE_DENIED, 500, false }, { BASE_NOMEM, 503, false },
	};
	struct fixture *f = *state;
	struct asker a;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		ask_begin(&a, f, adds, FOREVER);
		turn_until(f, i + 1);
		answer(f, i, &(struct store_result){ .err = rows[i].err });
		ask_end(&a, rows[i].status, NULL);
		assert_int_equal(a.run.stateless_us, rows[i].stateless);
	}
}

static void nothing_waits_while_redis_is_down(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	wrk_state_set_up(f->state, false);
	ask_begin(&a, f, adds, FOREVER);
	ask_end(&a, 503, NULL);
	assert_int_equal(a.run.stateless_us, 1);
	assert_int_equal(f->wakes, 0);
	wrk_state_set_up(f->state, true);
	ask_begin(&a, f, adds, FOREVER);
	sem_wait(&f->woken);
	wrk_state_set_up(f->state, false); /* between the two */
	turn(f);
	ask_end(&a, 503, NULL);
	assert_int_equal(f->n, 0);
}

static void what_cannot_be_started_is_told(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	f->start_err = BASE_TOO_LARGE;
	ask_begin(&a, f, adds, FOREVER);
	sem_wait(&f->woken);
	turn(f);
	ask_end(&a, 413, NULL);
}

/* The time is up before the answer comes: the record is freed with the answer. */
static void late_answer_finds_nobody(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	ask_begin(&a, f, adds, base_clock_us() + 500000);
	turn_until(f, 1);
	ask_end(&a, 504, NULL);
	answer(f, 0, &(struct store_result){ .number = 1, .value = STORE_ARG("late") });
}

/* The time is up before the loop got to it: it is not started. */
static void late_operation_is_not_started(void **state)
{
	struct store_op op = { .kind = STORE_COUNTER_ADD, .service = "shop", .key = STORE_ARG("k"), .number = 1 };
	const struct wrk_state_result *result;
	struct wrk_state_call *call = NULL;
	struct fixture *f = *state;

	assert_int_equal(wrk_state_do(f->state, &call, &op, 1, &result), BASE_TIMEOUT);
	assert_null(call);
	turn(f);
	assert_int_equal(f->n, 0);
}

static int gets(struct pirn_request *req, struct pirn_response *res)
{
	const void *value;
	size_t size;
	int err = pirn_key_get(req, "name", &value, &size);

	if (!err)
		pirn_respond_write(res, value, size);
	return err;
}

static void value_comes_back(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	ask_begin(&a, f, gets, FOREVER);
	turn_until(f, 1);
	answer(f, 0, &(struct store_result){ .value = STORE_ARG("Ada") });
	ask_end(&a, 200, "Ada");
	ask_begin(&a, f, gets, FOREVER);
	turn_until(f, 2);
	answer(f, 1, &(struct store_result){ .value = { "", 0 } });
	ask_end(&a, 204, "");
}

static int swaps(struct pirn_request *req, struct pirn_response *res)
{
	int err = pirn_key_swap(req, "k", NULL, 0, "v", 1, 7);

	(void)res;
	if (!err)
		err = pirn_key_swap(req, "k", "", 0, NULL, 0, 0);
	if (!err)
		err = pirn_hash_set(req, "h", "f", "x", 1);
	return err;
}

static void operations_are_told_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	ask_begin(&a, f, swaps, FOREVER);
	for (size_t i = 0; i < 3; i++) {
		turn_until(f, i + 1);
		answer(f, i, &(struct store_result){ .number = 1 });
	}
	ask_end(&a, 204, NULL);
	assert_int_equal(f->list[0].kind, STORE_KEY_CAS);
	assert_false(f->list[0].has_expected);
	assert_string_equal(f->list[0].value, "v");
	assert_int_equal(f->list[0].ttl_ms, 7);
	assert_true(f->list[1].has_expected);
	assert_string_equal(f->list[1].value, "");
	assert_int_equal(f->list[2].kind, STORE_HASH_SET);
	assert_string_equal(f->list[2].field, "f");
}

/* The run's time is over, though the handler goes on: not even the loop hears of what it asks for. */
static void overdue_handler_starts_nothing(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	ask_begin(&a, f, waits_then_adds, base_clock_us() + 1000);
	ask_end(&a, 504, NULL);
	assert_int_equal(f->wakes, 0);
}

/* ---- the breaker before Redis ---------------------------------------------------- */

/* One operation that is answered, or lost, after so long. */
static void goes(struct fixture *f, enum base_err err, uint64_t after_ms, unsigned status)
{
	size_t n = f->n;
	struct asker a;

	ask_begin(&a, f, adds, FOREVER);
	turn_until(f, n + 1);
	now_ms += after_ms;
	answer(f, n, &(struct store_result){ .err = err, .number = 1 });
	ask_end(&a, status, NULL);
}

static enum base_breaker_state breaker(const struct fixture *f)
{
	struct wrk_state_figures figures;

	wrk_state_figures(f->state, &figures);
	return figures.breaker;
}

static void open_it(struct fixture *f)
{
	for (int i = 0; i < 5; i++) {
		assert_int_equal(breaker(f), BASE_BREAKER_CLOSED);
		goes(f, BASE_IO, 1000, 503);
	}
	assert_int_equal(breaker(f), BASE_BREAKER_OPEN);
}

static void silence_opens_the_breaker(void **state)
{
	struct fixture *f = *state;
	unsigned wakes;
	struct asker a;

	open_it(f);
	wakes = f->wakes;
	ask_begin(&a, f, adds, FOREVER);
	ask_end(&a, 503, NULL);
	assert_int_equal(f->n, 5);
	assert_int_equal(f->wakes, wakes); /* at once: not even the loop was asked */
}

static void answers_close_it_again(void **state)
{
	struct fixture *f = *state;

	open_it(f);
	now_ms += 1100;
	for (int i = 0; i < 3; i++) {
		goes(f, BASE_OK, 1, 200);
		assert_int_equal(breaker(f), i < 2 ? BASE_BREAKER_HALF_OPEN : BASE_BREAKER_CLOSED);
	}
}

/* While it is half-open only so many may try; the others do not wait for them. */
static void probes_are_few(void **state)
{
	struct fixture *f = *state;
	struct asker probes[3], one_more;

	open_it(f);
	now_ms += 1100;
	for (size_t i = 0; i < 3; i++) {
		ask_begin(&probes[i], f, adds, FOREVER);
		turn_until(f, 6 + i);
	}
	ask_begin(&one_more, f, adds, FOREVER);
	sem_wait(&f->woken);
	turn(f);
	ask_end(&one_more, 503, NULL);
	assert_int_equal(f->n, 8);
	now_ms += 1000;
	for (size_t i = 0; i < 3; i++)
		answer(f, 5 + i, &(struct store_result){ .err = BASE_IO });
	for (size_t i = 0; i < 3; i++)
		ask_end(&probes[i], 503, NULL);
	assert_int_equal(breaker(f), BASE_BREAKER_OPEN);
}

/* A connection that breaks is seen at once, a refusal too: neither makes anybody wait. */
static void what_costs_no_time_does_not(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 10; i++) {
		goes(f, BASE_IO, 999, 503);
		goes(f, BASE_UNAVAILABLE, 0, 503);
		goes(f, BASE_FULL, 0, 503);
	}
	assert_int_equal(breaker(f), BASE_BREAKER_CLOSED);
	for (int i = 0; i < 10; i++)
		goes(f, BASE_OK, 1900, 200); /* slow, but it answers */
	assert_int_equal(breaker(f), BASE_BREAKER_CLOSED);
}

/* Nobody waits for the answer any more; that there was none counts all the same. */
static void deserted_ones_count(void **state)
{
	struct fixture *f = *state;
	struct asker a;

	while (f->n < 5) { /* one may be too late even to begin */
		ask_begin(&a, f, adds, base_clock_us() + 100000);
		do
			turn(f);
		while (!atomic_load(&a.ended));
		ask_end(&a, 504, NULL);
	}
	now_ms += 2000;
	for (size_t i = 0; i < 5; i++)
		answer(f, i, &(struct store_result){ .err = BASE_IO });
	assert_int_equal(breaker(f), BASE_BREAKER_OPEN);
}

/* ---- many at once ------------------------------------------------------------ */

enum { THREADS = 8, ROUNDS = 500 };

struct crowd {
	struct wrk_state *state;
	sem_t woken;
	atomic_int left;
	int64_t total;
};

static enum base_err add_at_once(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg);

/* Answered in the turn after, as Redis would. */
static struct {
	store_op_fn *fn[THREADS];
	void *arg[THREADS];
	int64_t number[THREADS];
	size_t n;
} open_ops;

static enum base_err add_at_once(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	struct crowd *c = arg;

	assert_true(open_ops.n < THREADS);
	open_ops.fn[open_ops.n] = fn;
	open_ops.arg[open_ops.n] = fn_arg;
	open_ops.number[open_ops.n++] = c->total += op->number;
	return BASE_OK;
}

static void crowd_wake(void *arg)
{
	struct crowd *c = arg;

	sem_post(&c->woken);
}

static void *crowd_main(void *arg)
{
	struct crowd *c = arg;
	struct wrk_state_call *call = NULL;
	const struct wrk_state_result *result;
	int64_t last = 0;

	for (int i = 0; i < ROUNDS; i++) {
		struct store_op op = { .kind = STORE_COUNTER_ADD, .service = "s", .key = STORE_ARG("k"), .number = 1 };

		assert_int_equal(wrk_state_do(c->state, &call, &op, FOREVER, &result), BASE_OK);
		assert_true(result->number > last);
		last = result->number;
	}
	wrk_state_call_free(&call);
	if (atomic_fetch_sub(&c->left, 1) == 1)
		sem_post(&c->woken);
	return NULL;
}

static void many_threads_get_their_own(void **state)
{
	struct crowd c = { .left = THREADS };
	struct wrk_state_conf conf = { .start = add_at_once, .wake = crowd_wake, .arg = &c };
	struct wrk_state_figures figures;
	pthread_t ids[THREADS];

	(void)state;
	sem_init(&c.woken, 0, 0);
	assert_int_equal(wrk_state_new(&conf, &c.state), BASE_OK);
	wrk_state_set_up(c.state, true);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, crowd_main, &c), 0);
	while (atomic_load(&c.left) > 0) {
		if (open_ops.n == 0)
			sem_wait(&c.woken);
		wrk_state_turn(c.state);
		for (size_t i = 0; i < open_ops.n; i++)
			open_ops.fn[i](open_ops.arg[i], &(struct store_result){ .number = open_ops.number[i] });
		open_ops.n = 0;
		wrk_state_flush(c.state);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	wrk_state_figures(c.state, &figures);
	assert_int_equal(figures.operations, THREADS * ROUNDS);
	assert_int_equal(figures.failures, 0);
	assert_int_equal(c.total, THREADS * ROUNDS);
	wrk_state_free(&c.state);
	sem_destroy(&c.woken);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(number_comes_back),
		WITH(errors_come_back),
		WITH(nothing_waits_while_redis_is_down),
		WITH(what_cannot_be_started_is_told),
		WITH(late_answer_finds_nobody),
		WITH(late_operation_is_not_started),
		WITH(value_comes_back),
		WITH(operations_are_told_as_they_are),
		WITH(overdue_handler_starts_nothing),
		WITH(silence_opens_the_breaker),
		WITH(answers_close_it_again),
		WITH(probes_are_few),
		WITH(what_costs_no_time_does_not),
		WITH(deserted_ones_count),
		cmocka_unit_test(many_threads_get_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
