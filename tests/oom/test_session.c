/* A worker's session without memory: runs come from a broker, which has a loop of its own, and memory, as
 * have the threads that run them; what reads, keeps and answers them may have none. Each run is answered once:
 * with what its handler said, or that memory was out; or the link falls, and the broker counts it as lost. No
 * handler is given half a request, nor the same one twice.
 */
#include "tests/oom/oom.h"

#include "net/loop.h"

static bool armed;

#define uv_run(...) (armed ? OOM_GET(uv_run(__VA_ARGS__)) : uv_run(__VA_ARGS__))

#include <stdatomic.h>

#include "base/log.h"
#include "tests/unit/net_fixture.h"
#include "worker/session_parts.h"

#define RUNS 24

static struct fixture f, g; /* the worker's loop, and the broker's */
static struct fake_broker *broker;
static struct wrk_executor *executor;
static struct wrk_session *session;
static uv_async_t wake_up;
static atomic_uint handled[RUNS], wrong;
static struct told {
	unsigned times;
	uint32_t status, reason, size;
} told[RUNS];
static unsigned gone;

/* ---- the worker's side -------------------------------------------------------------------- */

static void run_it(void *local, struct wrk_run *run)
{
	(void)local;
	atomic_fetch_add(&handled[run->slot], 1);
	if (run->data_size != 2000 || run->in.size != 2000 || run->in.data[1999] != 'x')
		atomic_fetch_add(&wrong, 1);
	run->status = 200;
	base_buf_reset(&run->meta);
	base_buf_reset(&run->body);
	base_buf_str(&run->body, "done");
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

static void on_nothing(void *arg)
{
	(void)arg;
}

static const Pirn__Beat *on_beat(void *arg)
{
	static Pirn__Beat beat = PIRN__BEAT__INIT;

	(void)arg;
	return &beat;
}

static void new_worker(const char *brokers)
{
	struct wrk_executor_conf e = {
		.min_threads = 2, .max_threads = 2, .run = run_task, .wake = wake
	};
	struct wrk_session_conf s = { .loop = f.loop,
		.brokers = brokers,
		.name = "worker",
		.boot = "a worker's boot",
		.run = run_it,
		.on_ready = on_nothing,
		.on_drained = on_nothing,
		.on_beat = on_beat,
		.max_threads = 2 };
	struct wrk_service *service;
	char why[WRK_SERVICE_WHY], *wrong_conf = NULL;

	uv_async_init(net_loop_uv(f.loop), &wake_up, on_wake);
	assert_int_equal(wrk_executor_new(&e, &executor), BASE_OK);
	s.executor = executor;
	assert_int_equal(wrk_session_new(&s, &session), BASE_OK);
	assert_int_equal(
		wrk_service_read("tests/services/state", &service, why, sizeof why), BASE_OK);
	assert_int_equal(wrk_session_add(session, &service), BASE_OK);
	assert_int_equal(wrk_session_start(session, &wrong_conf), BASE_OK);
}

/* ---- the broker's side ---------------------------------------------------------------------- */

static void on_message(
	void *arg, uint32_t peer, const struct net_frame *frame, struct base_block *block)
{
	if (frame->head->kind != PIRN__KIND__RESULT) {
		fake_on_message(arg, peer, frame, block);
		return;
	}
	for (size_t i = 0; i < frame->head->n_items; i++) {
		const Pirn__Item *item = frame->head->items[i];

		assert_true(item->slot < RUNS);
		told[item->slot].times++;
		told[item->slot].status = item->status;
		told[item->slot].reason = item->reason;
		told[item->slot].size = item->data_size;
	}
}

static void on_gone(void *arg, uint32_t peer)
{
	fake_on_gone(arg, peer);
	gone++;
}

static void new_broker(const char *address)
{
	struct net_router_events events = { .on_message = on_message, .on_gone = on_gone };
	char *why = NULL;

	broker = calloc(1, sizeof *broker);
	if (!broker)
		abort();
	memcpy(broker->boot, "a broker's boot.", sizeof broker->boot);
	broker->version = 1;
	broker->beat_ms = 1000;
	broker->beats = true;
	events.arg = broker;
	assert_int_equal(net_router_new(g.loop, address, &events, &broker->router, &why), BASE_OK);
}

static void dispatch(uint32_t slot)
{
	static uint8_t bytes[2000];
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_payload payload = { .data = bytes, .data_size = sizeof bytes };

	memset(bytes, 'x', sizeof bytes);
	item.has_slot = item.has_generation = item.has_flags = true;
	item.slot = slot;
	item.generation = 1;
	item.service = (char *)(uintptr_t) "state";
	assert_int_equal(net_router_item(broker->router, broker->peers[0], PIRN__KIND__DISPATCH,
				 &item, &payload),
		BASE_OK);
}

/* ---- the path ---------------------------------------------------------------------------------- */

#define BOTH_UNTIL(fact) \
	do { \
		fixture_turn(&g); \
		armed = starved; \
		fixture_turn(&f); \
		armed = false; \
		if (fact) \
			break; \
		fixture_wait(&f); \
	} while (true)

static bool is_linked(void)
{
	struct wrk_session_figures now;

	wrk_session_figures(session, &now);
	return broker->n_peers == 1 && now.brokers == 1;
}

static bool all_told(void)
{
	for (size_t i = 0; i < RUNS; i++)
		if (told[i].times == 0)
			return false;
	return true;
}

static void session_path(void)
{
	const char *address;
	bool starved = false;

	memset(told, 0, sizeof told);
	for (size_t i = 0; i < RUNS; i++)
		atomic_store(&handled[i], 0);
	gone = 0;
	fixture_init(&f);
	fixture_init(&g);
	address = fixture_ipc(&f, "broker");
	new_broker(address);
	new_worker(address);
	BOTH_UNTIL(is_linked());
	starved = true;
	for (uint32_t i = 0; i < RUNS; i++) {
		dispatch(i);
		if (i % 6 == 5)
			BOTH_UNTIL(true);
	}
	BOTH_UNTIL(all_told() || gone > 0 || !is_linked());
	for (size_t i = 0; i < RUNS; i++) {
		assert_true(told[i].times <= 1 && atomic_load(&handled[i]) <= 1);
		if (told[i].times == 0)
			continue;
		if (told[i].reason == PIRN__REASON__NONE)
			assert_true(told[i].status == 200 && told[i].size == 4 &&
				    atomic_load(&handled[i]) == 1);
		else
			assert_int_equal(told[i].reason, PIRN__REASON__OVERLOADED);
	}
	wrk_executor_free(&executor);
	assert_int_equal(atomic_load(&wrong), 0);
	wrk_session_free(&session);
	net_router_free(&broker->router);
	free(broker);
	uv_close((uv_handle_t *)&wake_up, NULL);
	fixture_fini(&f);
	fixture_fini(&g);
}

/* ------------------------------------------------------------------------------------------- */

static void test_session(void **state)
{
	(void)state;
	oom_sweep("worker: a session", session_path, OOM_MAY_ABORT | OOM_THREADS | OOM_SLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
	};

	base_log_init(BASE_ERROR + 1, BASE_LOG_TEXT, 2);
	return cmocka_run_group_tests_name("session, out of memory", tests, NULL, NULL);
}
