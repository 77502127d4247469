/* worker/breakers.c: a service's breakers, with time as the test says; and pirn_breaker_* of
 * include/pirn/service.h over them, in a service that is linked in.
 */
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "worker/request.h"

#define NEVER UINT64_MAX

static struct wrk_breakers *b;

static int setup(void **state)
{
	(void)state;
	b = wrk_breakers_new("shop");
	assert_non_null(b);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wrk_breakers_free(&b);
	return 0;
}

/* ---- seen by the walk ------------------------------------------------------------ */

static struct wrk_breaker_figures seen[WRK_BREAKERS_MAX];
static size_t n_seen;

static void see(void *arg, const struct wrk_breaker_figures *figures)
{
	(void)arg;
	assert_true(n_seen < WRK_BREAKERS_MAX);
	seen[n_seen++] = *figures;
}

static void look(uint64_t now_ms)
{
	n_seen = 0;
	wrk_breakers_walk(b, now_ms, see, NULL);
}

static enum base_breaker_state state_of(const char *name, uint64_t now_ms)
{
	look(now_ms);
	for (size_t i = 0; i < n_seen; i++)
		if (strcmp(seen[i].name, name) == 0)
			return seen[i].state;
	fail_msg("no breaker %s", name);
	return BASE_BREAKER_CLOSED;
}

/* ---- passes ---------------------------------------------------------------------- */

static uint64_t wait_ms;

static enum base_err enter(const char *name, uint64_t now_ms, struct wrk_pass *pass)
{
	*pass = (struct wrk_pass){ 0 };
	return wrk_breakers_enter(b, name, now_ms, NEVER, pass, &wait_ms);
}

static void ask(const char *name, uint64_t now_ms, bool ok)
{
	struct wrk_pass pass;

	assert_int_equal(enter(name, now_ms, &pass), BASE_OK);
	wrk_breakers_leave(b, &pass, now_ms, ok);
	assert_null(pass.breaker);
}

static void fail_often(const char *name, uint64_t now_ms)
{
	for (int i = 0; i < 5; i++)
		ask(name, now_ms, false);
}

static void five_failures_open_it_for_all(void **state)
{
	struct wrk_pass pass;

	(void)state;
	fail_often("bank", 100);
	assert_int_equal(state_of("bank", 100), BASE_BREAKER_OPEN);
	assert_int_equal(enter("bank", 100, &pass), BASE_UNAVAILABLE);
	assert_null(pass.breaker);
	assert_in_range(wait_ms, 4500, 5500);
	assert_int_equal(wrk_breakers_wait_ms(b, "bank", 100), wait_ms);
	assert_int_equal(enter("mail", 100, &pass), BASE_OK); /* another one */
	wrk_breakers_leave(b, &pass, 100, true);
	look(100);
	assert_int_equal(n_seen, 2);
	assert_int_equal(seen[0].opened, 1);
	assert_int_equal(seen[0].refused, 1);
	assert_int_equal(seen[1].opened + seen[1].refused, 0);
	assert_int_equal(wrk_breakers_wait_ms(b, "mail", 100), 0);
	assert_int_equal(wrk_breakers_wait_ms(b, "nobody", 100), 0);
}

static void probes_close_it(void **state)
{
	uint64_t then = 100 + 5500;
	struct wrk_pass probes[4];

	(void)state;
	fail_often("bank", 100);
	for (int i = 0; i < 3; i++)
		assert_int_equal(enter("bank", then, &probes[i]), BASE_OK);
	assert_int_equal(enter("bank", then, &probes[3]), BASE_UNAVAILABLE);
	for (int i = 0; i < 3; i++)
		wrk_breakers_leave(b, &probes[i], then, true);
	assert_int_equal(state_of("bank", then), BASE_BREAKER_HALF_OPEN);
	ask("bank", then, true);
	ask("bank", then, true);
	assert_int_equal(state_of("bank", then), BASE_BREAKER_CLOSED);
}

/* By time alone; whoever looks sees it. */
static void it_half_opens_by_itself(void **state)
{
	(void)state;
	fail_often("bank", 100);
	assert_int_equal(state_of("bank", 100 + 4000), BASE_BREAKER_OPEN);
	assert_int_equal(state_of("bank", 100 + 5500), BASE_BREAKER_HALF_OPEN);
	assert_int_equal(wrk_breakers_wait_ms(b, "bank", 100 + 5500), 0);
}

/* Runs that hang in it do not leave; their time is over, and that is enough. */
static void what_hangs_has_failed(void **state)
{
	struct wrk_pass hung[6];

	(void)state;
	for (int i = 0; i < 6; i++) {
		hung[i] = (struct wrk_pass){ 0 };
		assert_int_equal(
			wrk_breakers_enter(b, "bank", 100, 200, &hung[i], &wait_ms), BASE_OK);
	}
	assert_int_equal(state_of("bank", 199), BASE_BREAKER_CLOSED);
	assert_int_equal(state_of("bank", 200), BASE_BREAKER_OPEN);
	for (int i = 0; i < 6; i++) { /* what they say now is of no interest */
		assert_int_equal(hung[i].pass, 0);
		wrk_breakers_leave(b, &hung[i], 300, true);
	}
	assert_int_equal(state_of("bank", 300), BASE_BREAKER_OPEN);
	look(300);
	assert_int_equal(seen[0].opened, 1);
}

static void an_answer_that_is_too_late_is_none(void **state)
{
	struct wrk_pass pass = { 0 };

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
			wrk_breakers_enter(b, "bank", 100, 200, &pass, &wait_ms), BASE_OK);
		wrk_breakers_leave(b, &pass, 200, true);
	}
	assert_int_equal(state_of("bank", 200), BASE_BREAKER_OPEN);
}

/* It did not have the time that the service has: that this is over says nothing, unless it was long enough
 * for anybody. */
static void an_impatient_caller_opens_nothing(void **state)
{
	struct wrk_pass hung[6], pass;

	(void)state;
	for (int i = 0; i < 6; i++) {
		hung[i] = (struct wrk_pass){ .hurried = true };
		assert_int_equal(
			wrk_breakers_enter(b, "bank", 100, 200, &hung[i], &wait_ms), BASE_OK);
	}
	assert_int_equal(state_of("bank", 300), BASE_BREAKER_CLOSED);
	for (int i = 0; i < 6; i++)
		wrk_breakers_leave(b, &hung[i], 300, false);
	for (int i = 0; i < 6; i++) {
		pass = (struct wrk_pass){ .hurried = true };
		assert_int_equal(
			wrk_breakers_enter(b, "bank", 300, 400, &pass, &wait_ms), BASE_OK);
		wrk_breakers_leave(b, &pass, 400, false);
	}
	assert_int_equal(state_of("bank", 400), BASE_BREAKER_CLOSED);
	for (int i = 0; i < 5; i++) { /* it failed, and had time left */
		pass = (struct wrk_pass){ .hurried = true };
		assert_int_equal(
			wrk_breakers_enter(b, "bank", 400, 500, &pass, &wait_ms), BASE_OK);
		wrk_breakers_leave(b, &pass, 499, false);
	}
	assert_int_equal(state_of("bank", 500), BASE_BREAKER_OPEN);
	for (int i = 0; i < 5; i++) {
		hung[i] = (struct wrk_pass){ .hurried = true };
		assert_int_equal(
			wrk_breakers_enter(b, "mail", 500, 1500, &hung[i], &wait_ms), BASE_OK);
	}
	assert_int_equal(state_of("mail", 1499), BASE_BREAKER_CLOSED);
	assert_int_equal(state_of("mail", 1500), BASE_BREAKER_OPEN);
	for (int i = 0; i < 5; i++)
		wrk_breakers_leave(b, &hung[i], 1500, true);
}

static void settings_are_its_own(void **state)
{
	struct base_breaker_conf conf = base_breaker_standard;

	(void)state;
	conf.consecutive = 1;
	conf.open_ms = 100;
	assert_int_equal(wrk_breakers_set(b, "weak", &conf, 1), BASE_OK);
	ask("weak", 1, false);
	ask("strong", 1, false);
	assert_int_equal(state_of("weak", 1), BASE_BREAKER_OPEN);
	assert_int_equal(state_of("strong", 1), BASE_BREAKER_CLOSED);
	assert_int_equal(state_of("weak", 120), BASE_BREAKER_HALF_OPEN);
}

static void names_are_bounded(void **state)
{
	static const char *const wrong[] = { "", "a b", "a\"b", "a{b}", "a\nb", "\xc3\xa4", NULL,
		"1234567890123456789012345678901234567890123456789012345678901234" };
	struct wrk_pass pass;
	char name[16];

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(enter(wrong[i], 1, &pass), BASE_RANGE);
		assert_int_equal(wrk_breakers_set(b, wrong[i], &base_breaker_standard, 1), BASE_RANGE);
	}
	for (int i = 0; i < WRK_BREAKERS_MAX; i++) {
		snprintf(name, sizeof name, "b.%d-_", i);
		ask(name, 1, true);
	}
	assert_int_equal(enter("more", 1, &pass), BASE_FULL);
	ask("b.7-_", 1, true);
	look(1);
	assert_int_equal(n_seen, WRK_BREAKERS_MAX);
}

/* ---- many threads ---------------------------------------------------------------- */

enum { THREADS = 8, ROUNDS = 2000 };

static atomic_uint passed;

static void *crowd(void *arg)
{
	static const char *const names[] = { "one", "two", "three" };
	const size_t *number = arg;
	uint64_t wait;

	for (size_t i = 0; i < ROUNDS; i++) {
		struct wrk_pass pass = { 0 };

		if (wrk_breakers_enter(b, names[i % 3], i, NEVER, &pass, &wait) != BASE_OK)
			continue;
		atomic_fetch_add(&passed, 1);
		wrk_breakers_leave(b, &pass, i, (i + *number) % 7 != 0);
	}
	return NULL;
}

static void threads_share_them(void **state)
{
	uint64_t refused = 0;
	pthread_t ids[THREADS];
	size_t numbers[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&ids[i], NULL, crowd, &numbers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	look(ROUNDS);
	assert_int_equal(n_seen, 3);
	for (size_t i = 0; i < n_seen; i++)
		refused += seen[i].refused;
	assert_int_equal(passed + refused, THREADS * ROUNDS);
}

/* ---- include/pirn/service.h ------------------------------------------------------- */

static struct {
	struct base_manifest *manifest;
	struct wrk_native *native;
	struct wrk_thread *thread;
	struct wrk_run run;
	int (*handler)(struct pirn_request *, struct pirn_response *);
	int set[5];
} s;

static int init(void)
{
	static const struct pirn_breaker_options weak = { .consecutive = 1, .open_ms = 20000 };
	static const struct pirn_breaker_options wrong = { .later = { 1 } };
	static const struct pirn_breaker_options too_many = { .probes = 9 };

	s.set[0] = pirn_breaker_set("weak", &weak);
	s.set[1] = pirn_breaker_set("plain", NULL);
	s.set[2] = pirn_breaker_set("not a name", NULL);
	s.set[3] = pirn_breaker_set("wrong", &wrong);
	s.set[4] = pirn_breaker_set("wrong", &too_many);
	return 0;
}

static int handle(struct pirn_request *req, struct pirn_response *res)
{
	return s.handler(req, res);
}

static const struct pirn_service service = {
	PIRN_SERVICE_ABI, sizeof service, handle, init, NULL
};

static int setup_service(void **state)
{
	char why[WRK_NATIVE_WHY];

	(void)state;
	memset(&s, 0, sizeof s);
	s.manifest = base_manifest_new();
	s.manifest->service = strdup("shop");
	s.manifest->handler = strdup("shop.so");
	assert_int_equal(wrk_native_adopt(".", s.manifest, &service, 1000, &s.native, why, sizeof why),
		BASE_OK);
	assert_int_equal(wrk_native_init(s.native, why, sizeof why), BASE_OK);
	b = wrk_native_breakers(s.native);
	s.thread = wrk_thread_new(NULL, NULL);
	base_buf_init(&s.run.in);
	base_buf_init(&s.run.meta);
	base_buf_init(&s.run.body);
	return 0;
}

static int teardown_service(void **state)
{
	(void)state;
	wrk_native_free(&s.native);
	wrk_thread_free(&s.thread);
	base_manifest_free(&s.manifest);
	base_buf_fini(&s.run.in);
	base_buf_fini(&s.run.meta);
	base_buf_fini(&s.run.body);
	return 0;
}

static uint32_t run_it(int (*handler)(struct pirn_request *, struct pirn_response *))
{
	s.handler = handler;
	s.run.deadline_us = base_clock_us() + UINT64_C(3600000000);
	wrk_native_run(s.native, s.thread, &s.run);
	return s.run.status;
}

static int fails(struct pirn_request *req, struct pirn_response *res)
{
	int err = pirn_breaker_enter(req, "weak");

	(void)res;
	if (err)
		return err;
	pirn_breaker_leave(req, "weak", false);
	return pirn_breaker_wait_ms(req, "weak") > 0 ? PIRN_ERR_NOT_FOUND : PIRN_ERR_FAILED;
}

static int forgets(struct pirn_request *req, struct pirn_response *res)
{
	(void)res;
	return pirn_breaker_enter(req, "weak");
}

static void init_sets_them(void **state)
{
	(void)state;
	assert_int_equal(s.set[0], PIRN_OK);
	assert_int_equal(s.set[1], PIRN_OK);
	for (int i = 2; i < 5; i++)
		assert_int_equal(s.set[i], PIRN_ERR_INVALID);
	assert_int_equal(pirn_breaker_set("later", NULL), PIRN_ERR_INVALID); /* nobody's */
	assert_int_equal(state_of("weak", base_clock_ms()), BASE_BREAKER_CLOSED); /* known from the start */
}

static int sets(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	pirn_respond_status(res, pirn_breaker_set("weak", NULL) == PIRN_ERR_INVALID ? 200 : 500);
	return 0;
}

static void a_handler_may_not_set_them(void **state)
{
	(void)state;
	assert_int_equal(run_it(sets), 200);
}

static void an_open_one_is_answered_when_to_come_again(void **state)
{
	(void)state;
	assert_int_equal(run_it(fails), 404);
	assert_int_equal(s.run.retry_after_ms, 0);
	assert_int_equal(run_it(fails), 503);
	assert_in_range(s.run.retry_after_ms, 17000, 22000);
	assert_int_equal(state_of("weak", base_clock_ms()), BASE_BREAKER_OPEN);
}

static void who_does_not_leave_has_failed(void **state)
{
	(void)state;
	assert_int_equal(run_it(forgets), 204);
	assert_int_equal(state_of("weak", base_clock_ms()), BASE_BREAKER_OPEN);
	assert_int_equal(run_it(forgets), 503);
}

static int misuses(struct pirn_request *req, struct pirn_response *res)
{
	char name[8];
	int wrong = 0;

	pirn_breaker_leave(req, "never entered", true);
	pirn_breaker_leave(req, NULL, true);
	wrong += pirn_breaker_enter(req, NULL) != PIRN_ERR_INVALID;
	wrong += pirn_breaker_enter(req, "two words") != PIRN_ERR_INVALID;
	for (int i = 0; i < WRK_PASSES; i++) {
		snprintf(name, sizeof name, "n%d", i);
		wrong += pirn_breaker_enter(req, name) != PIRN_OK; /* within each other */
	}
	wrong += pirn_breaker_enter(req, "n3") != PIRN_ERR_INVALID; /* in it already */
	wrong += pirn_breaker_enter(req, "another") != PIRN_ERR_LIMIT;
	pirn_breaker_leave(req, "n3", true);
	wrong += pirn_breaker_enter(req, "n3") != PIRN_OK;
	return pirn_respond_json(res, wrong ? 500 : 200, "%d", wrong);
}

static void misuse_does_no_harm(void **state)
{
	(void)state;
	assert_int_equal(run_it(misuses), 200);
	assert_int_equal(run_it(misuses), 200); /* nothing is left of the first one's */
}

static int overstays(struct pirn_request *req, struct pirn_response *res)
{
	int err;

	s.run.deadline_us = 1; /* while it runs */
	err = pirn_breaker_enter(req, "weak");
	pirn_respond_status(res, err == PIRN_ERR_TIMEOUT ? 200 : 500);
	return 0;
}

static void nobody_enters_when_his_time_is_over(void **state)
{
	(void)state;
	assert_int_equal(run_it(overstays), 200);
}

#define WITH(name)    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SERVICE(name) cmocka_unit_test_setup_teardown(name, setup_service, teardown_service)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(five_failures_open_it_for_all),
		WITH(probes_close_it),
		WITH(it_half_opens_by_itself),
		WITH(what_hangs_has_failed),
		WITH(an_answer_that_is_too_late_is_none),
		WITH(an_impatient_caller_opens_nothing),
		WITH(settings_are_its_own),
		WITH(names_are_bounded),
		WITH(threads_share_them),
		SERVICE(init_sets_them),
		SERVICE(a_handler_may_not_set_them),
		SERVICE(an_open_one_is_answered_when_to_come_again),
		SERVICE(who_does_not_leave_has_failed),
		SERVICE(misuse_does_no_harm),
		SERVICE(nobody_enters_when_his_time_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
