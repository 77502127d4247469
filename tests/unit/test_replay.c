/* Runs that record, against a real Redis: a handler in a thread of its own, as a worker
 * has it, asks through include/pirn/service.h; worker/replay.c, state.c and store/ops.c
 * are what is between the two. */
#include "tests/unit/store_fixture.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "worker/request.h"

#define FAR     UINT64_C(4000000000000)
#define FOREVER (base_clock_us() + UINT64_C(3600000000))

static struct harness_redis *server;
static struct fixture f;
static struct wrk_state *state_of;
static uv_async_t wake_up;
static uv_prepare_t turn_end;
static unsigned lose_replies; /* of so many operations, which Redis has answered */
static unsigned answers;

#define REDIS(expected, ...) assert_true(harness_redis_says(server, expected, __VA_ARGS__))

/* ---- the loop's side, as worker.c has it --------------------------------------- */

static enum base_err start_op(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	(void)arg;
	return store_op_start(f.redis, op, fn, fn_arg);
}

struct lossy {
	store_run_fn *fn;
	void *arg;
};

static void on_lossy(void *arg, const struct store_run_result *result)
{
	struct lossy to = *(struct lossy *)arg;
	const struct store_run_result lost = { .says = { .code = STORE_LOST, .why = "" } };

	free(arg);
	answers++;
	if (lose_replies > 0) {
		lose_replies--;
		result = &lost;
	}
	to.fn(to.arg, result);
}

static enum base_err start_record(
	void *arg, const struct wrk_state_record *record, store_run_fn *fn, void *fn_arg)
{
	struct lossy *to = malloc(sizeof *to);
	enum base_err err;

	(void)arg;
	*to = (struct lossy){ fn, fn_arg };
	if (!record->op)
		err = store_run_fields(f.redis, record->run, on_lossy, to);
	else
		err = store_run_op(f.redis, record->run, record->field, record->reads,
			record->n_reads, record->op, on_lossy, to);
	if (err)
		free(to);
	return err;
}

static void wake(void *arg)
{
	(void)arg;
	uv_async_send(&wake_up);
}

static void on_wake(uv_async_t *handle)
{
	(void)handle;
	wrk_state_turn(state_of);
}

static void on_turn_end(uv_prepare_t *handle)
{
	(void)handle;
	wrk_state_flush(state_of);
}

static void on_up(void *arg)
{
	fixture_on_up(arg);
	wrk_state_set_up(state_of, true);
}

static void on_down(void *arg, const char *why)
{
	wrk_state_set_up(state_of, false);
	fixture_on_down(arg, why);
}

static int open_all(void **state)
{
	const struct wrk_state_conf conf = {
		.start = start_op, .record = start_record, .wake = wake
	};
	const struct store_redis_events events = { on_up, on_down, &f };
	char *why = NULL;

	(void)state;
	server = harness_redis_start(false, NULL);
	fixture_init(&f);
	uv_async_init(net_loop_uv(f.loop), &wake_up, on_wake);
	uv_prepare_init(net_loop_uv(f.loop), &turn_end);
	uv_prepare_start(&turn_end, on_turn_end);
	assert_int_equal(wrk_state_new(&conf, &state_of), BASE_OK);
	assert_int_equal(store_redis_new(f.loop,
				 &(struct store_redis_conf){ .url = harness_redis_url(server),
					 .library = store_functions_lua },
				 &events, &f.redis, &why),
		BASE_OK);
	WAIT_FOR(&f, f.ups == 1);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	store_redis_free(&f.redis);
	wrk_state_free(&state_of);
	uv_close((uv_handle_t *)&wake_up, NULL);
	uv_close((uv_handle_t *)&turn_end, NULL);
	fixture_fini(&f);
	harness_redis_stop(&server);
	return 0;
}

static int flush(void **state)
{
	(void)state;
	free(harness_redis_command(server, "FLUSHALL"));
	lose_replies = answers = 0;
	return 0;
}

/* ---- a handler's side ---------------------------------------------------------- */

typedef int handler_fn(struct pirn_request *req, struct pirn_response *res);

/* One run of the delivery; several may go on at once. */
struct attempt {
	pthread_t id;
	struct base_manifest manifest;
	struct wrk_native *native;
	struct wrk_run run;
	handler_fn *handler;
	atomic_bool stopped; /* a handler that stops in between has done so */
	sem_t go;            /* lets it go on */
	int64_t numbers[8];
	int errors[8];
	char text[64];
	atomic_bool done;
};

static _Thread_local struct attempt *mine; /* the handler's */

static int handle(struct pirn_request *req, struct pirn_response *res)
{
	return mine->handler(req, res);
}

static const struct pirn_service service = { PIRN_SERVICE_ABI, sizeof service, handle, NULL, NULL };
static char service_name[] = "shop", handler_name[] = "shop.so";

static void *attempt_main(void *arg)
{
	struct attempt *a = arg;
	struct wrk_thread *thread = wrk_thread_new(NULL, state_of);

	mine = a;
	wrk_native_run(a->native, thread, &a->run);
	wrk_thread_free(&thread);
	atomic_store(&a->done, true);
	uv_async_send(&wake_up);
	return NULL;
}

static void attempt_init(struct attempt *a, uint32_t number, handler_fn *handler)
{
	char why[128];

	memset(a, 0, sizeof *a);
	a->handler = handler;
	a->manifest.service = service_name;
	a->manifest.handler = handler_name;
	sem_init(&a->go, 0, 0);
	base_buf_init(&a->run.in);
	base_buf_init(&a->run.meta);
	base_buf_init(&a->run.body);
	a->run.flags = PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__RECORD;
	a->run.attempt = number;
	a->run.attempts = 5;
	a->run.epoch = 7;
	a->run.lease_end_ms = a->run.keep_until_ms = FAR;
	a->run.deadline_us = FOREVER;
	memcpy(a->run.id, "0123456789abcdef", sizeof a->run.id);
	assert_int_equal(
		wrk_native_adopt(".", &a->manifest, &service, 1 << 20, &a->native, why, sizeof why),
		BASE_OK);
}

static void attempt_begin(struct attempt *a)
{
	assert_int_equal(pthread_create(&a->id, NULL, attempt_main, a), 0);
}

static void attempt_end(struct attempt *a)
{
	WAIT_FOR(&f, atomic_load(&a->done));
	pthread_join(a->id, NULL);
	wrk_native_free(&a->native);
	base_buf_fini(&a->run.in);
	base_buf_fini(&a->run.meta);
	base_buf_fini(&a->run.body);
}

/* A whole run. */
static void attempt(struct attempt *a, uint32_t number, handler_fn *handler)
{
	attempt_init(a, number, handler);
	attempt_begin(a);
	attempt_end(a);
}

static int64_t add(struct pirn_request *req, const char *key, size_t i)
{
	mine->errors[i] = pirn_counter_add(req, key, 1, &mine->numbers[i]);
	return mine->numbers[i];
}

static void stop_here(void)
{
	atomic_store(&mine->stopped, true);
	uv_async_send(&wake_up);
	sem_wait(&mine->go);
}

/* ---- replaying ----------------------------------------------------------------- */

static int adds_a_and_fails(struct pirn_request *req, struct pirn_response *res)
{
	(void)res;
	add(req, "a", 0);
	return PIRN_ERR_FAILED;
}

static int adds_a_twice(struct pirn_request *req, struct pirn_response *res)
{
	add(req, "a", 0);
	add(req, "a", 1);
	return pirn_respond_json(res, 200, "{}");
}

static int adds_c_a_b(struct pirn_request *req, struct pirn_response *res)
{
	add(req, "c", 2);
	add(req, "a", 0);
	add(req, "b", 1);
	return pirn_respond_json(res, 200, "{}");
}

static void a_second_run_adds_nothing(void **state)
{
	struct attempt one, two;

	(void)state;
	attempt(&one, 1, adds_a_and_fails);
	assert_int_equal(one.run.status, 500);
	assert_true(one.run.recorded);
	attempt(&two, 2, adds_a_and_fails);
	assert_int_equal(two.numbers[0], one.numbers[0]);
	assert_true(two.run.recorded);
	REDIS("1", "GET pirn:{0}:state:shop:a");
}

static void a_use_is_counted(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 1, adds_a_and_fails);
	for (uint32_t i = 2; i < 4; i++) {
		attempt(&a, i, adds_a_twice);
		assert_int_equal(a.numbers[0], 1);
		assert_int_equal(a.numbers[1], 2);
		assert_false(a.run.diverged);
	}
	REDIS("2", "GET pirn:{0}:state:shop:a");
}

static void a_corrected_handler_goes_on(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 1, adds_a_and_fails);
	attempt(&a, 2, adds_c_a_b);
	assert_int_equal(a.run.status, 200);
	assert_false(a.run.diverged);
	REDIS("1", "GET pirn:{0}:state:shop:a");
	REDIS("1", "GET pirn:{0}:state:shop:b");
	REDIS("1", "GET pirn:{0}:state:shop:c");
}

static int everything(struct pirn_request *req, struct pirn_response *res)
{
	static const char *const value[] = { "first", "second" };
	const struct pirn_pair *pairs;
	const void *text;
	size_t size, n;
	bool existed = false;

	mine->errors[0] = pirn_key_get(req, "name", &text, &size);
	mine->errors[1] = pirn_key_set(req, "name", value[pirn_request_attempt(req) - 1], 6, 0);
	mine->errors[2] = pirn_key_swap(req, "name", NULL, 0, "x", 1, 0);
	mine->errors[3] = pirn_hash_set(req, "h", "f", "v", 1);
	mine->errors[4] = pirn_hash_add(req, "h", "n", 3, &mine->numbers[4]);
	mine->errors[5] = pirn_hash_all(req, "h", &pairs, &n);
	mine->numbers[5] = (int64_t)n;
	mine->errors[6] = pirn_key_delete(req, "name", &existed);
	mine->numbers[6] = existed;
	mine->errors[7] = pirn_hash_get(req, "h", "n", &text, &size);
	if (!mine->errors[7])
		snprintf(mine->text, sizeof mine->text, "%s", (const char *)text);
	return pirn_respond_json(res, 200, "{\"n\":%zu}", n);
}

static void every_operation_gives_the_same(void **state)
{
	static const int expected[] = { PIRN_ERR_NOT_FOUND, 0, PIRN_ERR_MISMATCH, 0, 0, 0, 0, 0 };
	struct attempt one, two;

	(void)state;
	attempt(&one, 1, everything);
	free(harness_redis_command(server, "HSET pirn:{0}:state:shop:h other new"));
	attempt(&two, 2, everything);
	assert_memory_equal(one.errors, expected, sizeof expected);
	assert_memory_equal(two.errors, expected, sizeof expected);
	assert_memory_equal(one.numbers, two.numbers, sizeof one.numbers);
	assert_int_equal(two.numbers[4], 3);
	assert_int_equal(two.numbers[5], 2);
	assert_int_equal(two.numbers[6], 1);
	assert_string_equal(two.text, "3");
	assert_false(two.run.diverged);
	REDIS("(nil)", "GET pirn:{0}:state:shop:name");
}

static int reads_writes_reads(struct pirn_request *req, struct pirn_response *res)
{
	const void *before, *after;
	size_t size;

	(void)res;
	mine->errors[0] = pirn_key_get(req, "name", &before, &size);
	add(req, "a", 1);
	mine->errors[2] = pirn_key_get(req, "name", &after, &size);
	snprintf(mine->text, sizeof mine->text, "%s %s", (const char *)before, (const char *)after);
	return PIRN_ERR_FAILED;
}

static void reads_replay_up_to_the_last_write(void **state)
{
	struct attempt a;

	(void)state;
	free(harness_redis_command(server, "SET pirn:{0}:state:shop:name old"));
	attempt(&a, 1, reads_writes_reads);
	assert_string_equal(a.text, "old old");
	free(harness_redis_command(server, "SET pirn:{0}:state:shop:name new"));
	attempt(&a, 2, reads_writes_reads);
	assert_string_equal(a.text, "old new");
	REDIS("1", "GET pirn:{0}:state:shop:a");
}

static int only_reads(struct pirn_request *req, struct pirn_response *res)
{
	mine->errors[0] = pirn_counter_get(req, "a", &mine->numbers[0]);
	return pirn_respond_json(res, 200, "{}");
}

static void reads_alone_leave_no_record(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 1, only_reads);
	assert_int_equal(a.run.status, 200);
	assert_false(a.run.recorded);
	REDIS("", "KEYS *");
}

static void a_run_without_the_flag_records_nothing(void **state)
{
	struct attempt a;

	(void)state;
	attempt_init(&a, 1, adds_a_and_fails);
	a.run.flags = 0;
	attempt_begin(&a);
	attempt_end(&a);
	assert_int_equal(a.numbers[0], 1);
	assert_false(a.run.recorded);
	assert_int_equal(answers, 0);
	REDIS("pirn:{0}:state:shop:a", "KEYS *");
}

static int long_names(struct pirn_request *req, struct pirn_response *res)
{
	char key[514], field[513];

	memset(key, 'k', sizeof key);
	memset(field, 'f', sizeof field);
	key[512] = field[512] = '\0';
	mine->errors[0] = pirn_hash_add(req, key, field, 1, &mine->numbers[0]);
	field[511] = 'g';
	mine->errors[1] = pirn_hash_add(req, key, field, 5, &mine->numbers[1]);
	key[512] = 'k';
	key[513] = '\0';
	mine->errors[2] = pirn_hash_add(req, key, field, 1, NULL);
	(void)res;
	return PIRN_OK;
}

static void long_names_are_told_apart(void **state)
{
	struct attempt a;

	(void)state;
	for (uint32_t i = 1; i < 3; i++) {
		attempt(&a, i, long_names);
		assert_int_equal(a.errors[0] + a.errors[1], 0);
		assert_int_equal(a.numbers[0], 1);
		assert_int_equal(a.numbers[1], 5);
		assert_int_equal(a.errors[2], PIRN_ERR_INVALID);
		assert_false(a.run.diverged);
	}
}

/* ---- divergence ---------------------------------------------------------------- */

static int adds_a_b_and_fails(struct pirn_request *req, struct pirn_response *res)
{
	int64_t unseen;

	(void)res;
	add(req, "a", 0);
	(void)pirn_counter_get(req, "unseen", &unseen);
	add(req, "b", 1);
	return PIRN_ERR_FAILED;
}

static int adds_a(struct pirn_request *req, struct pirn_response *res)
{
	add(req, "a", 0);
	return pirn_respond_json(res, 200, "{}");
}

static int adds_b_then_a(struct pirn_request *req, struct pirn_response *res)
{
	add(req, "b", 1);
	return adds_a(req, res);
}

static int nothing(struct pirn_request *req, struct pirn_response *res)
{
	(void)req, (void)res;
	return PIRN_OK;
}

static void writes_that_were_not_asked_for(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 1, adds_a_b_and_fails);
	assert_false(a.run.diverged);
	attempt(&a, 2, adds_a_and_fails); /* not told: it failed */
	assert_false(a.run.diverged);
	attempt(&a, 3, adds_a);
	assert_true(a.run.diverged);
	attempt(&a, 4, adds_b_then_a); /* the order, and a read that is left out, are no matter */
	assert_false(a.run.diverged);
	attempt(&a, 5, nothing);
	assert_true(a.run.diverged);
	assert_true(a.run.recorded);
}

static void no_records_no_divergence(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 2, nothing);
	assert_false(a.run.diverged);
	assert_false(a.run.recorded);
	assert_int_equal(answers, 1);
	attempt(&a, 1, nothing); /* nobody was before it: Redis is not asked */
	assert_int_equal(answers, 1);
}

/* ---- too late ------------------------------------------------------------------ */

static int stops_between(struct pirn_request *req, struct pirn_response *res)
{
	add(req, "a", 0);
	stop_here();
	add(req, "b", 1);
	add(req, "a", 2);
	return pirn_respond_json(res, 200, "{}");
}

static void answered(const struct attempt *a, uint32_t status, uint32_t reason)
{
	assert_int_equal(a->run.status, status);
	assert_int_equal(a->run.reason, reason);
	if (reason)
		assert_int_equal(a->run.body.size, 0);
}

static void an_older_run_is_superseded(void **state)
{
	struct attempt old, new;

	(void)state;
	attempt_init(&old, 1, stops_between);
	attempt_begin(&old);
	WAIT_FOR(&f, atomic_load(&old.stopped));
	attempt(&new, 2, adds_a_twice);
	assert_int_equal(new.numbers[0], 1);
	assert_int_equal(new.numbers[1], 2);
	sem_post(&old.go);
	attempt_end(&old);
	assert_int_equal(old.errors[1], PIRN_ERR_LEASE);
	assert_int_equal(old.errors[2], PIRN_ERR_LEASE);
	answered(&old, 503, PIRN__REASON__LEASE);
	assert_int_equal(answers, 5); /* the second refusal took no question */
	REDIS("2", "GET pirn:{0}:state:shop:a");
	REDIS("(nil)", "GET pirn:{0}:state:shop:b");
}

static void nothing_is_applied_after_the_lease(void **state)
{
	struct attempt a;

	(void)state;
	attempt_init(&a, 1, adds_a);
	a.run.lease_end_ms = 1;
	attempt_begin(&a);
	attempt_end(&a);
	assert_int_equal(a.errors[0], PIRN_ERR_LEASE);
	answered(&a, 503, PIRN__REASON__LEASE);
	assert_false(a.run.recorded);
	REDIS("", "KEYS *");
}

static void a_cancelled_run_is_refused_at_once(void **state)
{
	struct attempt a;

	(void)state;
	attempt_init(&a, 1, stops_between);
	attempt_begin(&a);
	WAIT_FOR(&f, atomic_load(&a.stopped));
	atomic_store(&a.run.cancelled, true);
	sem_post(&a.go);
	attempt_end(&a);
	assert_int_equal(a.errors[1], PIRN_ERR_LEASE);
	assert_int_equal(answers, 1);
	assert_true(a.run.recorded);
	REDIS("(nil)", "GET pirn:{0}:state:shop:b");
}

/* ---- too much ------------------------------------------------------------------ */

static char big[100 * 1024];

static int reads_too_much(struct pirn_request *req, struct pirn_response *res)
{
	const void *value;
	size_t size;

	(void)res;
	for (size_t i = 0; i < 3; i++)
		mine->errors[i] = pirn_key_get(req, "big", &value, &size);
	add(req, "a", 3);
	mine->errors[4] = pirn_key_get(req, "big", &value, &size);
	mine->numbers[4] = (int64_t)size;
	return mine->errors[3];
}

static void who_reads_too_much_changes_nothing(void **state)
{
	struct attempt a;

	(void)state;
	memset(big, 'b', sizeof big - 1);
	free(harness_redis_command(server, "SET pirn:{0}:state:shop:big %s", big));
	attempt(&a, 1, reads_too_much);
	assert_int_equal(a.errors[0] + a.errors[1] + a.errors[2] + a.errors[4], 0);
	assert_int_equal(a.errors[3], PIRN_ERR_LIMIT);
	assert_int_equal(a.numbers[4], sizeof big - 1);
	answered(&a, 500, PIRN__REASON__NONE);
	assert_false(a.run.recorded);
	REDIS("(nil)", "GET pirn:{0}:state:shop:a");
}

static int adds_a_thousand(struct pirn_request *req, struct pirn_response *res)
{
	int err = 0;

	(void)res;
	while (!err && mine->numbers[1] < 2000)
		err = pirn_counter_add(req, "a", 1, &mine->numbers[1]);
	return err;
}

static void a_thousand_operations_and_no_more(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 1, adds_a_thousand);
	assert_int_equal(a.numbers[1], 1000);
	attempt(&a, 2, adds_a_thousand);
	assert_int_equal(a.numbers[1], 1000);
	answered(&a, 500, PIRN__REASON__NONE);
	REDIS("1000", "GET pirn:{0}:state:shop:a");
}

/* ---- lost ---------------------------------------------------------------------- */

/* Redis did it, and its reply was lost, several times. */
static void a_lost_reply_is_asked_for_again(void **state)
{
	struct attempt a;

	(void)state;
	lose_replies = 3;
	attempt(&a, 1, adds_a_twice);
	assert_int_equal(a.errors[0] + a.errors[1], 0);
	assert_int_equal(a.numbers[0], 1);
	assert_int_equal(a.numbers[1], 2);
	assert_int_equal(answers, 5);
	assert_true(a.run.doubted);
	REDIS("2", "GET pirn:{0}:state:shop:a");
	attempt(&a, 2, adds_a_twice);
	assert_true(a.run.recorded);
	assert_false(a.run.doubted);
}

static void redis_dies_under_an_operation(void **state)
{
	struct attempt a;
	unsigned ups = f.ups;

	(void)state;
	attempt_init(&a, 1, stops_between);
	attempt_begin(&a);
	WAIT_FOR(&f, atomic_load(&a.stopped));
	harness_redis_pause(server); /* it takes the operation, and does nothing */
	sem_post(&a.go);
	WAIT_FOR(&f, store_redis_stats(f.redis)->open == 1);
	harness_redis_kill(server);
	WAIT_FOR(&f, !store_redis_up(f.redis));
	assert_false(atomic_load(&a.done));
	harness_redis_restart(server);
	attempt_end(&a);
	assert_true(f.ups > ups);
	assert_int_equal(a.errors[0] + a.errors[1] + a.errors[2], 0);
	assert_int_equal(a.run.status, 200);
	REDIS("2", "GET pirn:{0}:state:shop:a");
	REDIS("1", "GET pirn:{0}:state:shop:b");
}

static void in_doubt_until_its_time_is_over(void **state)
{
	struct attempt a;

	(void)state;
	attempt_init(&a, 1, adds_a);
	a.run.deadline_us = base_clock_us() + 300000;
	lose_replies = UINT32_MAX;
	attempt_begin(&a);
	attempt_end(&a);
	assert_int_equal(a.errors[0], PIRN_ERR_TIMEOUT);
	assert_true(a.run.recorded);
	assert_true(a.run.late);
	lose_replies = 0;
	attempt(&a, 2, adds_a);
	assert_int_equal(a.numbers[0], 1);
	REDIS("1", "GET pirn:{0}:state:shop:a");
}

/* The same in an executor's thread, as in a worker. */
static struct wrk_executor *pool;
static struct attempt *pooled;

static void *pool_enter(void *arg, struct wrk_executor *e)
{
	(void)arg;
	return wrk_thread_new(e, state_of);
}

static void pool_leave(void *arg, void *local)
{
	struct wrk_thread *thread = local;

	(void)arg;
	wrk_thread_free(&thread);
}

static void pool_run(void *arg, void *local, struct wrk_task *task)
{
	(void)arg;
	mine = pooled;
	wrk_native_run(mine->native, local, (struct wrk_run *)task);
	atomic_store(&mine->done, true);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
	wrk_executor_listen(pool);
	wrk_state_turn(state_of);
	(void)wrk_executor_watch(pool, base_clock_us());
}

static uint32_t pool_active(void)
{
	struct wrk_executor_figures figures;

	wrk_executor_figures(pool, &figures);
	return figures.active;
}

static void an_executor_knows_that_it_waits(void **state)
{
	const struct wrk_executor_conf conf = { .min_threads = 1,
		.max_threads = 1,
		.enter = pool_enter,
		.leave = pool_leave,
		.run = pool_run,
		.wake = wake };
	struct attempt a;
	uv_timer_t ticks;

	(void)state;
	assert_int_equal(wrk_executor_new(&conf, &pool), BASE_OK);
	WAIT_FOR(&f, pool_active() == 0);
	wrk_state_set_executor(state_of, pool);
	uv_timer_init(net_loop_uv(f.loop), &ticks);
	uv_timer_start(&ticks, on_tick, 1, 1);
	attempt_init(&a, 2, stops_between);
	pooled = &a;
	lose_replies = 3;
	wrk_executor_push(pool, &a.run.task, base_clock_us());
	WAIT_FOR(&f, atomic_load(&a.stopped));
	assert_int_equal(answers, 4);
	assert_int_equal(pool_active(), 1);
	wrk_state_set_up(state_of, false);
	sem_post(&a.go);
	WAIT_FOR(&f, atomic_load(&a.done));
	assert_int_equal(a.errors[1], PIRN_ERR_UNAVAILABLE);
	wrk_state_set_up(state_of, true);
	WAIT_FOR(&f, pool_active() == 0);
	wrk_executor_free(&pool);
	wrk_state_set_executor(state_of, NULL);
	uv_close((uv_handle_t *)&ticks, NULL);
	uv_run(net_loop_uv(f.loop), UV_RUN_NOWAIT);
	wrk_native_free(&a.native);
	base_buf_fini(&a.run.meta);
	base_buf_fini(&a.run.body);
	REDIS("1", "GET pirn:{0}:state:shop:a");
}

static int adds_until_it_works(struct pirn_request *req, struct pirn_response *res)
{
	add(req, "a", 0);
	stop_here();
	add(req, "a", 1);
	return pirn_respond_json(res, 200, "{}");
}

/* What surely did not happen was no use: a later run's first one is the one that did. */
static void a_refusal_is_not_counted(void **state)
{
	struct attempt a;

	(void)state;
	wrk_state_set_up(state_of, false);
	attempt_init(&a, 1, adds_until_it_works);
	attempt_begin(&a);
	WAIT_FOR(&f, atomic_load(&a.stopped));
	wrk_state_set_up(state_of, true);
	sem_post(&a.go);
	attempt_end(&a);
	assert_int_equal(a.errors[0], PIRN_ERR_UNAVAILABLE);
	assert_int_equal(a.errors[1], 0);
	attempt(&a, 2, adds_a);
	assert_int_equal(a.numbers[0], 1);
	assert_false(a.run.diverged);
	REDIS("1", "GET pirn:{0}:state:shop:a");
}

static void redis_that_is_away_leaves_no_record(void **state)
{
	struct attempt a;

	(void)state;
	wrk_state_set_up(state_of, false);
	attempt(&a, 1, adds_a);
	wrk_state_set_up(state_of, true);
	assert_int_equal(a.errors[0], PIRN_ERR_UNAVAILABLE);
	assert_false(a.run.recorded);
}

/* ---- which run it is ------------------------------------------------------------ */

static int tells(struct pirn_request *req, struct pirn_response *res)
{
	(void)res;
	snprintf(mine->text, sizeof mine->text, "%s %u of %u, %s", pirn_request_id(req),
		pirn_request_attempt(req), pirn_request_attempts(req),
		pirn_request_is_event(req) ? "event" : "call");
	return PIRN_OK;
}

static void a_handler_knows_which_run_it_is(void **state)
{
	struct attempt a;

	(void)state;
	attempt(&a, 3, tells);
	assert_string_equal(a.text, "1G64S36D1N6RVKGEB1C9HP8SB6 3 of 5, event");
	attempt_init(&a, 1, tells);
	a.run.flags = a.run.attempts = 0;
	attempt_begin(&a);
	attempt_end(&a);
	assert_non_null(strstr(a.text, " 1 of 0, call"));
}

#define WITH(name) cmocka_unit_test_setup(name, flush)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(a_second_run_adds_nothing),
		WITH(a_use_is_counted),
		WITH(a_corrected_handler_goes_on),
		WITH(every_operation_gives_the_same),
		WITH(reads_replay_up_to_the_last_write),
		WITH(reads_alone_leave_no_record),
		WITH(a_run_without_the_flag_records_nothing),
		WITH(long_names_are_told_apart),
		WITH(writes_that_were_not_asked_for),
		WITH(no_records_no_divergence),
		WITH(an_older_run_is_superseded),
		WITH(nothing_is_applied_after_the_lease),
		WITH(a_cancelled_run_is_refused_at_once),
		WITH(who_reads_too_much_changes_nothing),
		WITH(a_thousand_operations_and_no_more),
		WITH(a_lost_reply_is_asked_for_again),
		WITH(redis_dies_under_an_operation),
		WITH(an_executor_knows_that_it_waits),
		WITH(in_doubt_until_its_time_is_over),
		WITH(a_refusal_is_not_counted),
		WITH(redis_that_is_away_leaves_no_record),
		WITH(a_handler_knows_which_run_it_is),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
