/* worker/session*.c with a broker that does as the test says, a real executor, and runs
 * that end when the test lets them: runs that are to be alone, what a RESULT tells, and
 * runs that outlive their deadlines.
 */
#include "tests/unit/net_fixture.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <utlist.h>

#include "base/clock.h"
#include "worker/session_parts.h"

#define RUNS  32
#define EVENT PIRN__ITEM_FLAG__EVENT
#define ALONE PIRN__ITEM_FLAG__ALONE

/* By slot: what the test lets a run do, and what is known of it. */
static struct {
	sem_t go;
	atomic_bool started, hurried, mute;
	bool recorded, diverged;
	uint64_t stateless_us;
	uint32_t status;
	const char *body;
} runs[RUNS];

struct told {
	uint32_t status, reason, flags, data_size;
	char error[256];
	unsigned times;
};
static struct told told[RUNS]; /* RESULTs, by slot */

static struct fixture f;
static struct fake_broker *broker;
static bool older; /* than what runs may send */
static struct wrk_executor *executor;
static struct wrk_session *session;
static uv_async_t wake_up;
static atomic_uint together; /* runs that are in their handler */
static unsigned drained, credits; /* credits: notices of the service's credit */
static unsigned stuck;
static char stuck_service[64];
static uint32_t stuck_ms;

#define THREADS 8

/* ---- the worker's side ------------------------------------------------------- */

static void run_it(void *local, struct wrk_run *run)
{
	unsigned beside = atomic_fetch_add(&together, 1);

	(void)local;
	if ((run->flags & ALONE) && beside > 0)
		abort(); /* a thread of the executor's: cmocka's assertions are the main one's */
	atomic_store(&runs[run->slot].hurried, run->hurried);
	atomic_store(&runs[run->slot].mute, run->mute);
	atomic_store(&run->stateless_us, runs[run->slot].stateless_us);
	atomic_store(&runs[run->slot].started, true);
	uv_async_send(&wake_up);
	sem_wait(&runs[run->slot].go);
	run->status = runs[run->slot].status;
	run->recorded = runs[run->slot].recorded;
	run->diverged = runs[run->slot].diverged;
	base_buf_reset(&run->meta);
	base_buf_reset(&run->body);
	base_buf_str(&run->body, runs[run->slot].body);
	atomic_fetch_sub(&together, 1);
}

static void run_task(void *arg, void *local, struct wrk_task *task)
{
	struct wrk_run *run = (struct wrk_run *)task;

	(void)arg;
	run->fn(local, run);
}

static void wake(void *arg)
{
	(void)arg;
	uv_async_send(&wake_up);
}

static void on_wake(uv_async_t *handle)
{
	(void)handle;
}

static void on_ready(void *arg)
{
	(void)arg;
}

static void on_drained(void *arg)
{
	(void)arg;
	drained++;
}

static void on_stuck(void *arg, const char *service)
{
	(void)arg;
	stuck++;
	snprintf(stuck_service, sizeof stuck_service, "%s", service ? service : "-");
	wrk_session_drain(session); /* as the worker does */
}

static const Pirn__Beat *on_beat(void *arg)
{
	static Pirn__Beat beat = PIRN__BEAT__INIT;

	(void)arg;
	return &beat;
}

static void new_worker(void)
{
	struct wrk_executor_conf e = {
		.min_threads = THREADS, .max_threads = THREADS, .run = run_task, .wake = wake
	};
	struct wrk_session_conf s = { .loop = f.loop,
		.brokers = fixture_ipc(&f, "broker"),
		.name = "worker",
		.boot = "a worker's boot",
		.run = run_it,
		.on_ready = on_ready,
		.on_drained = on_drained,
		.on_beat = on_beat,
		.max_threads = THREADS,
		.stuck_ms = stuck_ms,
		.on_stuck = on_stuck };
	struct wrk_service *service;
	char why[WRK_SERVICE_WHY], *wrong = NULL;

	uv_async_init(net_loop_uv(f.loop), &wake_up, on_wake);
	assert_int_equal(wrk_executor_new(&e, &executor), BASE_OK);
	s.executor = executor;
	assert_int_equal(wrk_session_new(&s, &session), BASE_OK);
	assert_int_equal(
		wrk_service_read("tests/services/state", &service, why, sizeof why), BASE_OK);
	assert_int_equal(wrk_session_add(session, &service), BASE_OK);
	assert_int_equal(wrk_session_start(session, &wrong), BASE_OK);
}

/* ---- the broker's side ------------------------------------------------------- */

static void keep_result(const Pirn__Item *item)
{
	struct told *t = &told[item->slot];

	assert_true(item->slot < RUNS);
	t->times++;
	t->status = item->status;
	t->reason = item->reason;
	t->flags = item->flags;
	t->data_size = item->data_size;
	snprintf(t->error, sizeof t->error, "%s", item->error ? item->error : "-");
}

static void on_message(
	void *arg, uint32_t peer, const struct net_frame *frame, struct base_block *block)
{
	credits += (unsigned)frame->head->n_credits;
	if (frame->head->kind != PIRN__KIND__RESULT) {
		fake_on_message(arg, peer, frame, block);
		return;
	}
	for (size_t i = 0; i < frame->head->n_items; i++)
		keep_result(frame->head->items[i]);
}

static void new_broker(void)
{
	struct net_router_events events = { .on_message = on_message, .on_gone = fake_on_gone };
	char *why = NULL;

	broker = calloc(1, sizeof *broker);
	memcpy(broker->boot, "a broker's boot.", sizeof broker->boot);
	broker->version = 1;
	broker->beat_ms = 1000;
	broker->beats = true;
	broker->older = older;
	events.arg = broker;
	assert_int_equal(
		net_router_new(f.loop, fixture_ipc(&f, "broker"), &events, &broker->router, &why),
		BASE_OK);
}

static char target[16]; /* the service that is dispatched to */
static uint32_t left_ms; /* that its runs are said to have; 0: nothing is said */

static void send_item(uint32_t kind, uint32_t slot, uint32_t flags)
{
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_payload payload = { .data = (const uint8_t *)"x", .data_size = 1 };

	item.has_slot = item.has_generation = item.has_flags = true;
	item.slot = slot;
	item.generation = 1;
	item.flags = flags;
	item.has_left_ms = left_ms > 0;
	item.left_ms = left_ms;
	item.service = kind == PIRN__KIND__DISPATCH ? target : NULL;
	assert_int_equal(net_router_item(broker->router, broker->peers[0], kind, &item,
				 kind == PIRN__KIND__DISPATCH ? &payload : NULL),
		BASE_OK);
}

static struct wrk_session_figures figures(void)
{
	struct wrk_session_figures now;

	wrk_session_figures(session, &now);
	return now;
}

static void dispatch(uint32_t slot, uint32_t flags)
{
	uint64_t before = figures().dispatched;

	send_item(PIRN__KIND__DISPATCH, slot, flags);
	UNTIL(&f, figures().dispatched == before + 1);
}

static bool started(uint32_t slot)
{
	return atomic_load(&runs[slot].started);
}

#define STARTS(slot) UNTIL(&f, started(slot))

static void ends(uint32_t slot)
{
	sem_post(&runs[slot].go);
	UNTIL(&f, told[slot].times == 1);
}

/* The executor has n runs, and so no other can start. */
static void executor_has(uint32_t n)
{
	struct wrk_executor_figures now;
	uint32_t under_way = 0;

	wrk_executor_figures(executor, &now);
	for (size_t i = 0; i < RUNS; i++)
		under_way += started((uint32_t)i) && told[i].times == 0;
	assert_int_equal(now.waiting + under_way, n);
}

static int setup(void **state)
{
	(void)state;
	memset(told, 0, sizeof told);
	for (size_t i = 0; i < RUNS; i++) {
		memset(&runs[i], 0, sizeof runs[i]);
		sem_init(&runs[i].go, 0, 0);
		runs[i].status = 200;
		runs[i].body = "done";
	}
	drained = credits = stuck = 0;
	stuck_service[0] = '\0';
	strcpy(target, "state");
	fixture_init(&f);
	new_broker();
	new_worker();
	UNTIL(&f, broker->n_peers == 1 && figures().brokers == 1);
	return 0;
}

static int setup_impatient(void **state)
{
	stuck_ms = 1;
	setup(state);
	stuck_ms = 0;
	return 0;
}

static int setup_older(void **state)
{
	older = true;
	setup(state);
	older = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < RUNS; i++)
		sem_post(&runs[i].go);
	wrk_executor_free(&executor);
	wrk_session_free(&session);
	fake_free(&broker);
	uv_close((uv_handle_t *)&wake_up, NULL);
	fixture_fini(&f);
	return 0;
}

/* ---- runs that are alone ------------------------------------------------------- */

static void comes_back(uint32_t slot)
{
	UNTIL(&f, told[slot].times == 1);
	assert_int_equal(told[slot].reason, PIRN__REASON__NO_WORKER);
	assert_false(started(slot));
}

static void one_waits_and_nobody_waits_for_it(void **state)
{
	(void)state;
	dispatch(1, 0);
	dispatch(2, ALONE);
	dispatch(3, 0);
	comes_back(3);
	STARTS(1);
	executor_has(1);
	ends(1);
	STARTS(2);
	dispatch(4, EVENT);
	comes_back(4);
	executor_has(1);
	assert_int_equal(figures().under_way, 1);
	ends(2);
	dispatch(5, 0); /* as if nothing had been */
	STARTS(5);
	ends(5);
}

static void only_one_waits(void **state)
{
	(void)state;
	dispatch(1, 0);
	for (uint32_t i = 2; i < 5; i++)
		dispatch(i, ALONE);
	comes_back(3);
	comes_back(4);
	ends(1);
	STARTS(2);
	executor_has(1);
	ends(2);
	assert_int_equal(figures().under_way, 0);
}

/* Or what is handed back would come again at once. */
static void no_credit_is_told_until_it_has_ended(void **state)
{
	unsigned before;

	(void)state;
	dispatch(1, ALONE);
	STARTS(1);
	UNTIL(&f, credits > 0); /* of the beginning */
	before = credits;
	for (uint32_t i = 2; i < 6; i++) {
		dispatch(i, 0);
		comes_back(i);
	}
	assert_int_equal(credits, before);
	ends(1);
	UNTIL(&f, credits > before);
}

static void one_that_is_cancelled_holds_up_nobody(void **state)
{
	(void)state;
	dispatch(1, 0);
	dispatch(2, ALONE);
	STARTS(1);
	executor_has(1);
	send_item(PIRN__KIND__CANCEL, 2, 0);
	UNTIL(&f, told[2].times == 1);
	assert_int_equal(told[2].reason, PIRN__REASON__CANCELLED);
	dispatch(3, 0);
	STARTS(3);
	assert_false(started(2));
	ends(1);
	ends(3);
}

static void draining_runs_it_still(void **state)
{
	(void)state;
	dispatch(1, 0);
	dispatch(2, ALONE);
	wrk_session_drain(session);
	for (uint32_t i = 1; i < 3; i++) {
		STARTS(i);
		executor_has(1);
		assert_int_equal(drained, 0);
		ends(i);
	}
	UNTIL(&f, drained > 0);
}

static void a_cut_hands_back_who_waits(void **state)
{
	(void)state;
	dispatch(1, 0);
	dispatch(2, ALONE);
	STARTS(1);
	wrk_session_drain(session);
	wrk_session_cut(session);
	UNTIL(&f, told[2].times == 1 && drained > 0);
	assert_int_equal(told[2].reason, PIRN__REASON__DRAINING);
	assert_false(started(2));
}

static void who_waits_goes_with_its_broker(void **state)
{
	(void)state;
	dispatch(1, 0);
	dispatch(2, ALONE);
	STARTS(1);
	assert_int_equal(
		net_router_control(broker->router, broker->peers[0], PIRN__KIND__BYE, NULL),
		BASE_OK);
	UNTIL(&f, figures().under_way == 1);
	sem_post(&runs[1].go);
	UNTIL(&f, figures().under_way == 0);
	assert_int_equal(figures().lost, 2);
	assert_false(started(2));
}

/* ---- what a RESULT tells -------------------------------------------------------- */

static void records_are_told(void **state)
{
	(void)state;
	runs[1].recorded = runs[2].recorded = runs[2].diverged = true;
	for (uint32_t i = 0; i < 3; i++) {
		dispatch(i, EVENT | PIRN__ITEM_FLAG__RECORD);
		ends(i);
	}
	assert_int_equal(told[0].flags, 0);
	assert_int_equal(told[1].flags, PIRN__ITEM_FLAG__RECORDED);
	assert_int_equal(told[2].flags, PIRN__ITEM_FLAG__RECORDED | PIRN__ITEM_FLAG__DIVERGED);
	assert_int_equal(figures().diverged, 1);
	assert_string_equal(told[2].error, "-");
}

static void why_an_event_failed_is_told(void **state)
{
	(void)state;
	runs[1].status = runs[2].status = 503;
	runs[1].body = runs[2].body = "{\"title\":\"Service Unavailable\",\"detail\":\"no paper\"}";
	dispatch(1, EVENT);
	ends(1);
	assert_string_equal(told[1].error, "no paper");
	assert_int_equal(told[1].data_size, strlen(runs[1].body));
	dispatch(2, 0); /* nobody keeps a call's history */
	ends(2);
	assert_string_equal(told[2].error, "-");
}

static void a_failure_for_want_of_redis_is_told(void **state)
{
	(void)state;
	runs[1].stateless_us = runs[2].stateless_us = runs[3].stateless_us = 1;
	runs[1].status = runs[4].status = 503;
	runs[3].status = 404;
	for (uint32_t slot = 1; slot <= 4; slot++) {
		dispatch(slot, slot % 2 ? EVENT : 0);
		ends(slot);
	}
	assert_int_equal(told[1].flags, PIRN__ITEM_FLAG__NO_STATE);
	assert_int_equal(told[2].flags, 0); /* it could do without */
	assert_int_equal(told[3].flags, 0); /* it is its caller's mistake */
	assert_int_equal(told[4].flags, 0);
}

static void a_cancelled_event_has_no_answer(void **state)
{
	(void)state;
	runs[1].recorded = true;
	dispatch(1, EVENT | PIRN__ITEM_FLAG__RECORD);
	STARTS(1);
	send_item(PIRN__KIND__CANCEL, 1, 0);
	send_item(PIRN__KIND__CANCEL, 9, 0); /* unknown; read after the first one */
	dispatch(2, 0);
	ends(1);
	ends(2);
	assert_int_equal(told[1].reason, PIRN__REASON__CANCELLED);
	assert_int_equal(told[1].data_size, 0);
	assert_int_equal(told[1].flags, PIRN__ITEM_FLAG__RECORDED);
	assert_int_equal(told[2].reason, PIRN__REASON__NONE);
}

/* ---- runs that outlive their deadline --------------------------------------------- */

static struct wrk_service *service(void)
{
	return wrk_session_services(session);
}

/* Its deadline is now. */
static void time_is_up(uint32_t slot)
{
	struct wrk_run *run;

	DL_FOREACH (session->runs, run)
		if (run->slot == slot)
			break;
	assert_non_null(run);
	base_heap_remove(&session->deadlines, &run->due);
	assert_int_equal(base_heap_push(&session->deadlines, &run->due, 1), BASE_OK);
	net_loop_again(f.loop);
	UNTIL(&f, told[slot].times == 1);
}

/* A run whose handler goes on after its time is over. */
static void give_up(uint32_t slot, uint32_t flags)
{
	dispatch(slot, flags);
	STARTS(slot);
	time_is_up(slot);
}

static void returns(uint32_t slot)
{
	size_t before = figures().overdue;

	sem_post(&runs[slot].go);
	UNTIL(&f, figures().overdue == before - 1);
}

static void one_that_waits_for_redis_says_so(void **state)
{
	(void)state;
	runs[1].stateless_us = 1;                     /* for very long */
	runs[2].stateless_us = base_clock_us() + 3600ull * 1000 * 1000; /* not yet */
	give_up(1, 0);
	give_up(2, 0);
	assert_int_equal(told[1].flags, PIRN__ITEM_FLAG__NO_STATE);
	assert_int_equal(told[2].flags, 0);
	returns(1);
	returns(2);
}

static void a_handler_that_goes_on_is_given_up(void **state)
{
	(void)state;
	runs[1].body = "too late";
	give_up(1, EVENT | PIRN__ITEM_FLAG__RECORD);
	assert_int_equal(told[1].status, 504);
	assert_int_equal(told[1].reason, PIRN__REASON__DEADLINE);
	assert_int_equal(told[1].data_size, 0);
	/* Something of it may still come to Redis. */
	assert_int_equal(told[1].flags, PIRN__ITEM_FLAG__RECORDED | PIRN__ITEM_FLAG__DOUBTED);
	assert_string_equal(told[1].error, "timed out, and the handler had not returned");
	assert_int_equal(figures().overdue, 1);
	assert_int_equal(service()->given_up, 1);
	assert_int_equal(service()->runs, 1);
	assert_int_equal(service()->failures, 1);
	/* Its place is taken until it returns. */
	assert_int_equal(service()->credit.running, 1);
	assert_int_equal(service()->started, 1);
	returns(1);
	assert_int_equal(service()->credit.running, 0);
	assert_int_equal(service()->started, 0);
	assert_int_equal(figures().under_way, 0);
	/* Its own answer is not heard. */
	dispatch(2, 0);
	ends(2);
	assert_int_equal(told[1].times, 1);
	assert_int_equal(service()->runs, 2);
	assert_int_equal(service()->failures, 1);
}

static void a_call_that_records_nothing_leaves_no_doubt(void **state)
{
	(void)state;
	give_up(1, 0);
	assert_int_equal(told[1].reason, PIRN__REASON__DEADLINE);
	assert_int_equal(told[1].flags, 0);
	returns(1);
}

/* Whose time is over is its caller's matter when he gave it four fifths of the service's, or less. */
static void a_caller_may_be_in_a_hurry(void **state)
{
	uint32_t whole_ms = service()->manifest->timeout_ms;

	(void)state;
	dispatch(1, 0);
	left_ms = whole_ms * 9 / 10;
	dispatch(2, 0);
	left_ms = whole_ms * 4 / 5;
	dispatch(3, 0);
	left_ms = whole_ms * 2;
	dispatch(4, 0);
	left_ms = 0;
	for (uint32_t i = 1; i <= 4; i++) {
		STARTS(i);
		assert_int_equal(atomic_load(&runs[i].hurried), i == 3);
		ends(i);
	}
}

/* It would drop what they send, and take their answers. */
static void runs_of_an_older_broker_send_nothing(void **state)
{
	(void)state;
	dispatch(1, 0);
	STARTS(1);
	assert_true(atomic_load(&runs[1].mute));
	ends(1);
}

static void runs_may_send(void **state)
{
	(void)state;
	dispatch(1, 0);
	STARTS(1);
	assert_false(atomic_load(&runs[1].mute));
	ends(1);
}

/* All threads are taken; what waits does not start once its time is over. */
static void nothing_starts_after_its_deadline(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < THREADS; i++) {
		dispatch(i, 0);
		STARTS(i);
	}
	dispatch(9, EVENT | PIRN__ITEM_FLAG__RECORD);
	time_is_up(9);
	assert_int_equal(told[9].reason, PIRN__REASON__DEADLINE);
	assert_int_equal(told[9].flags, 0);
	assert_int_equal(figures().expired, 1);
	assert_int_equal(figures().overdue, 0);
	assert_int_equal(figures().under_way, THREADS);
	for (uint32_t i = 0; i < THREADS; i++)
		ends(i);
	assert_false(started(9));
	assert_int_equal(figures().under_way, 0);
}

/* One run's end leaves the place to the next, before and after others are given up. */
static void its_place_is_not_used_before_it_returns(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < THREADS; i++)
		give_up(i, 0);
	dispatch(9, 0);
	dispatch(10, 0);
	executor_has(0);
	returns(3);
	STARTS(9);
	assert_false(started(10));
	ends(9);
	STARTS(10);
	ends(10);
	for (uint32_t i = 0; i < THREADS; i++)
		if (i != 3)
			returns(i);
}

static void a_drain_does_not_wait_for_what_was_given_up(void **state)
{
	(void)state;
	give_up(1, 0);
	dispatch(2, 0);
	STARTS(2);
	wrk_session_drain(session);
	ends(2);
	UNTIL(&f, drained > 0);
	assert_int_equal(figures().overdue, 1);
	assert_int_equal(figures().under_way, 1);
}

/* Nor does one that is to be alone: nothing can happen to them. */
static void who_is_to_be_alone_does_not_either(void **state)
{
	(void)state;
	give_up(1, 0);
	dispatch(2, 0);
	dispatch(3, EVENT);
	atomic_fetch_sub(&together, 1); /* run_it() would call it company */
	STARTS(2);
	STARTS(3);
	dispatch(4, ALONE);
	ends(2);
	assert_false(started(4));
	ends(3);
	STARTS(4);
	ends(4);
	atomic_fetch_add(&together, 1);
	returns(1);
}

/* ---- what is stuck ------------------------------------------------------------------ */

static void a_worker_that_is_stuck_says_so(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < THREADS - 1; i++)
		give_up(i, 0);
	dispatch(9, 0);
	STARTS(9);
	dispatch(10, 0);
	assert_int_equal(service()->stuck_at_us, 0);
	assert_int_equal(stuck, 0);
	ends(9);
	STARTS(10);
	ends(10);
	assert_int_equal(stuck, 0);
	dispatch(THREADS, 0);
	STARTS(THREADS);
	dispatch(11, 0); /* waits behind it */
	time_is_up(THREADS);
	UNTIL(&f, stuck > 0);
	assert_string_equal(stuck_service, "state");
	UNTIL(&f, told[11].times == 1 && drained > 0);
	assert_int_equal(told[11].reason, PIRN__REASON__DRAINING);
	assert_false(started(11));
	assert_int_equal(told[THREADS].reason, PIRN__REASON__DEADLINE);
	assert_int_equal(stuck, 1);
}

static void one_that_returns_ends_it(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < THREADS; i++)
		give_up(i, 0);
	assert_true(service()->stuck_at_us > 0);
	returns(0);
	assert_int_equal(service()->stuck_at_us, 0);
	for (uint32_t i = 1; i < THREADS; i++)
		returns(i);
	assert_int_equal(stuck, 0);
}

static void one_that_is_alone_and_stuck_is_told(void **state)
{
	(void)state;
	give_up(1, ALONE);
	UNTIL(&f, stuck > 0);
	assert_string_equal(stuck_service, "state");
}

static void add_service(const char *folder)
{
	struct wrk_service *other;
	char why[WRK_SERVICE_WHY];

	assert_int_equal(wrk_service_read(folder, &other, why, sizeof why), BASE_OK);
	assert_int_equal(wrk_session_add(session, &other), BASE_OK);
}

/* No service's places are all taken, and yet no thread is left. */
static void threads_may_be_stuck_without_a_service(void **state)
{
	(void)state;
	add_service("tests/services/effect");
	for (uint32_t i = 0; i < THREADS; i++) {
		strcpy(target, i % 2 ? "effect" : "state");
		give_up(i, 0);
	}
	UNTIL(&f, stuck > 0);
	assert_string_equal(stuck_service, "-");
	for (struct wrk_service *s = service(); s; s = s->hh.next)
		assert_int_equal(s->stuck_at_us, 0);
}

/* ---- threads that are few ------------------------------------------------------------- */

static void no_service_may_have_all_threads(void **state)
{
	(void)state;
	assert_int_equal(service()->manifest->concurrency, 64);
	assert_int_equal(service()->slots, THREADS);
	assert_int_equal(service()->credit.total, THREADS);
	add_service("tests/services/effect");
	add_service("tests/services/flaky");
	for (struct wrk_service *s = service(); s; s = s->hh.next)
		assert_int_equal(s->slots, THREADS - 2);
	for (uint32_t i = 0; i < THREADS - 2; i++)
		dispatch(i, 0);
	for (uint32_t i = 0; i < THREADS - 2; i++)
		STARTS(i);
	dispatch(9, 0);
	executor_has(THREADS - 2);
	ends(0);
	STARTS(9);
}

#define WITH(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OLDER(name)     cmocka_unit_test_setup_teardown(name, setup_older, teardown)
#define IMPATIENT(name) cmocka_unit_test_setup_teardown(name, setup_impatient, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(one_waits_and_nobody_waits_for_it),
		WITH(only_one_waits),
		WITH(no_credit_is_told_until_it_has_ended),
		WITH(one_that_is_cancelled_holds_up_nobody),
		WITH(draining_runs_it_still),
		WITH(a_cut_hands_back_who_waits),
		WITH(who_waits_goes_with_its_broker),
		WITH(records_are_told),
		WITH(why_an_event_failed_is_told),
		WITH(a_failure_for_want_of_redis_is_told),
		WITH(a_cancelled_event_has_no_answer),
		WITH(one_that_waits_for_redis_says_so),
		WITH(a_handler_that_goes_on_is_given_up),
		WITH(a_call_that_records_nothing_leaves_no_doubt),
		WITH(a_caller_may_be_in_a_hurry),
		WITH(nothing_starts_after_its_deadline),
		WITH(its_place_is_not_used_before_it_returns),
		WITH(a_drain_does_not_wait_for_what_was_given_up),
		WITH(who_is_to_be_alone_does_not_either),
		IMPATIENT(a_worker_that_is_stuck_says_so),
		WITH(one_that_returns_ends_it),
		OLDER(runs_of_an_older_broker_send_nothing),
		WITH(runs_may_send),
		IMPATIENT(one_that_is_alone_and_stuck_is_told),
		IMPATIENT(threads_may_be_stuck_without_a_service),
		WITH(no_service_may_have_all_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
