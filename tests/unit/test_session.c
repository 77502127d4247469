/* worker/session*.c with a broker that does as the test says, a real executor, and runs
 * that end when the test lets them: runs that are to be alone, and what a RESULT tells.
 */
#include "tests/unit/net_fixture.h"

#include <semaphore.h>
#include <stdatomic.h>

#include "worker/session.h"

#define RUNS  32
#define EVENT PIRN__ITEM_FLAG__EVENT
#define ALONE PIRN__ITEM_FLAG__ALONE

/* By slot: what the test lets a run do, and what is known of it. */
static struct {
	sem_t go;
	atomic_bool started;
	bool recorded, diverged;
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
static struct wrk_executor *executor;
static struct wrk_session *session;
static uv_async_t wake_up;
static atomic_uint together; /* runs that are in their handler */
static unsigned drained, credits; /* credits: notices of the service's credit */

/* ---- the worker's side ------------------------------------------------------- */

static void run_it(void *local, struct wrk_run *run)
{
	unsigned beside = atomic_fetch_add(&together, 1);

	(void)local;
	if ((run->flags & ALONE) && beside > 0)
		abort(); /* a thread of the executor's: cmocka's assertions are the main one's */
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

static const Pirn__Beat *on_beat(void *arg)
{
	static Pirn__Beat beat = PIRN__BEAT__INIT;

	(void)arg;
	return &beat;
}

static void new_worker(void)
{
	struct wrk_executor_conf e = {
		.min_threads = 8, .max_threads = 8, .run = run_task, .wake = wake
	};
	struct wrk_session_conf s = { .loop = f.loop,
		.brokers = fixture_ipc(&f, "broker"),
		.name = "worker",
		.boot = "a worker's boot",
		.run = run_it,
		.on_ready = on_ready,
		.on_drained = on_drained,
		.on_beat = on_beat };
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
	events.arg = broker;
	assert_int_equal(
		net_router_new(f.loop, fixture_ipc(&f, "broker"), &events, &broker->router, &why),
		BASE_OK);
}

static void send_item(uint32_t kind, uint32_t slot, uint32_t flags)
{
	static char service[] = "state";
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_payload payload = { .data = (const uint8_t *)"x", .data_size = 1 };

	item.has_slot = item.has_generation = item.has_flags = true;
	item.slot = slot;
	item.generation = 1;
	item.flags = flags;
	item.service = kind == PIRN__KIND__DISPATCH ? service : NULL;
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
	drained = credits = 0;
	fixture_init(&f);
	new_broker();
	new_worker();
	UNTIL(&f, broker->n_peers == 1 && figures().brokers == 1);
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

#define WITH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		WITH(a_cancelled_event_has_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
