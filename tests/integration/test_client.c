/* The client library against real processes: calls from many threads, many in
 * flight, deadlines, lost brokers, closing; and a program that uses it as a user's
 * would, linked with -lpirn. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pirn/client.h>

#include "tests/harness/fabric.h"

static struct fabric f = { .n_brokers = 2, .n_workers = 2 };
static struct pirn_client *client;

static int set_up(void **state)
{
	char why[256] = "";

	(void)state;
	fabric_start(&f);
	if (pirn_client_open(&PIRN_OPTIONS(.brokers = f.brokers_list, .name = "test"), &client, why,
		    sizeof why) != PIRN_CLIENT_OK)
		print_error("%s\n", why);
	return client ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pirn_client_close(&client);
	fabric_stop(&f);
	return 0;
}

static void test_a_call(void **state)
{
	struct pirn_reply *reply = NULL;

	(void)state;
	assert_int_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "echo", .body = "a\0b", .body_size = 3), &reply),
		PIRN_CLIENT_OK);
	assert_int_equal(reply->status, 200);
	assert_int_equal(reply->body_size, 3);
	assert_memory_equal(reply->body, "a\0b", 3);
	assert_int_equal(reply->attempts, 1);
	pirn_reply_free(&reply);
	assert_null(reply);
}

static void fails(enum pirn_client_err err, unsigned status, struct pirn_call call)
{
	struct pirn_reply *reply = NULL;

	assert_int_equal(pirn_client_call(client, &call, &reply), err);
	if (status) {
		assert_non_null(reply);
		assert_int_equal(reply->err, err);
		assert_int_equal(reply->status, status);
	} else {
		assert_null(reply);
	}
	pirn_reply_free(&reply);
}

static void test_calls_that_fail(void **state)
{
	struct pirn_reply *reply = NULL;

	(void)state;
	fails(PIRN_CLIENT_UNKNOWN_SERVICE, 404, PIRN_CALL(.service = "nobody"));
	fails(PIRN_CLIENT_INVALID, 0, PIRN_CALL(.service = NULL));
	fails(PIRN_CLIENT_UNKNOWN_SERVICE, 404, PIRN_CALL(.service = "Not A Name"));
	/* an error of the service's own is an answer */
	assert_int_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "counter", .body = "{", .body_size = 1), &reply),
		PIRN_CLIENT_OK);
	assert_int_equal(reply->status, 400);
	pirn_reply_free(&reply);
}

/* ---- many ------------------------------------------------------------------------------ */

struct tally {
	atomic_uint ok, wrong;
};

struct expected {
	struct tally *tally;
	char body[32];
};

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	struct expected *e = arg;
	bool same = reply->err == PIRN_CLIENT_OK && reply->body_size == strlen(e->body) &&
		    memcmp(reply->body, e->body, reply->body_size) == 0;

	atomic_fetch_add(same ? &e->tally->ok : &e->tally->wrong, 1);
	free(e);
}

static void start_one(struct tally *tally, unsigned n)
{
	struct expected *e = calloc(1, sizeof *e);
	struct pirn_call call;

	assert_non_null(e);
	e->tally = tally;
	(void)snprintf(e->body, sizeof e->body, "body %u", n);
	call = PIRN_CALL(.service = "echo", .body = e->body, .body_size = strlen(e->body));
	assert_int_equal(pirn_client_call_async(client, &call, on_reply, e), PIRN_CLIENT_OK);
}

static void test_many_in_flight_find_their_own_answers(void **state)
{
	struct tally tally = { 0 };

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		start_one(&tally, i);
	wait_until(PATIENCE_MS, atomic_load(&tally.ok) + atomic_load(&tally.wrong) == 5000);
	assert_int_equal(atomic_load(&tally.wrong), 0);
}

static void *call_in_thread(void *arg)
{
	struct tally *tally = arg;

	for (unsigned i = 0; i < 200; i++) {
		struct pirn_reply *reply = NULL;
		char body[64];
		bool same;

		(void)snprintf(body, sizeof body, "%p %u", (void *)&reply, i);
		same = pirn_client_call(client,
			       &PIRN_CALL(.service = "echo", .body = body,
				       .body_size = strlen(body)),
			       &reply) == PIRN_CLIENT_OK &&
		       reply->body_size == strlen(body) &&
		       memcmp(reply->body, body, strlen(body)) == 0;
		atomic_fetch_add(same ? &tally->ok : &tally->wrong, 1);
		pirn_reply_free(&reply);
	}
	return NULL;
}

static void test_many_threads_share_it(void **state)
{
	struct tally tally = { 0 };
	pthread_t threads[8];

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_in_thread, &tally), 0);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&tally.ok), 8 * 200);
	assert_int_equal(atomic_load(&tally.wrong), 0);
}

static void test_large_bodies(void **state)
{
	size_t size = 4u << 20;
	char *body = malloc(size);
	struct pirn_reply *reply = NULL;

	(void)state;
	assert_non_null(body);
	memset(body, 'y', size);
	/* a worker's answer is bounded by 1 MiB: the broker carries the request, the worker refuses the answer */
	assert_int_not_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "echo", .body = body, .body_size = size), &reply),
		PIRN_CLIENT_FULL);
	if (reply)
		assert_int_not_equal(reply->status, 200);
	pirn_reply_free(&reply);
	assert_int_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "echo", .body = body, .body_size = 1u << 20), &reply),
		PIRN_CLIENT_OK);
	assert_int_equal(reply->body_size, 1u << 20);
	assert_memory_equal(reply->body, body, 1u << 20);
	pirn_reply_free(&reply);
	fails(PIRN_CLIENT_TOO_LARGE, 0,
		PIRN_CALL(.service = "echo", .body = body, .body_size = SIZE_MAX / 2));
	free(body);
}

/* ---- trouble ------------------------------------------------------------------------------- */

static void test_a_deadline(void **state)
{
	(void)state;
	for (unsigned i = 0; i < f.n_workers; i++)
		harness_pause(f.workers[i]);
	fails(PIRN_CLIENT_DEADLINE, 504, PIRN_CALL(.service = "echo", .timeout_ms = 200));
	for (unsigned i = 0; i < f.n_workers; i++)
		harness_resume(f.workers[i]);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hello") == (int)f.n_workers);
}

static bool works(void)
{
	struct pirn_reply *reply = NULL;
	bool ok =
		pirn_client_call(client, &PIRN_CALL(.service = "echo", .body = "x", .body_size = 1),
			&reply) == PIRN_CLIENT_OK;

	pirn_reply_free(&reply);
	return ok;
}

static void test_a_broker_dies(void **state)
{
	struct tally tally = { 0 };

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct expected *e = calloc(1, sizeof *e);
		struct pirn_call call;

		assert_non_null(e);
		e->tally = &tally;
		(void)snprintf(e->body, sizeof e->body, "%u", i);
		call = PIRN_CALL(.service = "echo", .body = e->body, .body_size = strlen(e->body),
			.idempotent = true);
		assert_int_equal(
			pirn_client_call_async(client, &call, on_reply, e), PIRN_CLIENT_OK);
		if (i == 1000)
			harness_kill_hard(f.brokers[0]);
	}
	wait_until(PATIENCE_MS, atomic_load(&tally.ok) + atomic_load(&tally.wrong) == 2000);
	assert_int_equal(atomic_load(&tally.wrong), 0);
	harness_again(f.brokers[0]);
	assert_true(works());
}

static void on_closed(void *arg, const struct pirn_reply *reply)
{
	atomic_fetch_add(
		reply->err == PIRN_CLIENT_CLOSED ? (atomic_uint *)arg : (atomic_uint *)arg + 1, 1);
}

static void test_closing_ends_what_is_under_way(void **state)
{
	struct pirn_client *other = NULL;
	char why[256];
	atomic_uint ends[2] = { 0, 0 };

	(void)state;
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = "ipc:///nowhere/broker.sock",
						  .connect_wait_ms = 60000),
				 &other, why, sizeof why),
		PIRN_CLIENT_OK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(pirn_client_call_async(other,
					 &PIRN_CALL(.service = "echo", .timeout_ms = 60000),
					 on_closed, ends),
			PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_close(&other), PIRN_CLIENT_OK);
	assert_null(other);
	assert_int_equal(atomic_load(&ends[0]), 10);
	assert_int_equal(atomic_load(&ends[1]), 0);
}

static void test_nobody_there(void **state)
{
	struct pirn_client *other = NULL;
	struct pirn_reply *reply = NULL;
	char why[256];

	(void)state;
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = "ipc:///nowhere/broker.sock",
						  .connect_wait_ms = 100),
				 &other, why, sizeof why),
		PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call(other, &PIRN_CALL(.service = "echo"), &reply),
		PIRN_CLIENT_NO_BROKER);
	assert_int_equal(reply->status, 503);
	pirn_reply_free(&reply);
	pirn_client_close(&other);
	assert_int_equal(
		pirn_client_open(&PIRN_OPTIONS(.brokers = "nonsense"), &other, why, sizeof why),
		PIRN_CLIENT_INVALID);
	assert_null(other);
	assert_true(strlen(why) > 0);
}

/* A sanitizer's library wants a program that has the sanitizer, too. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

/* A user's program: the example of the documentation, against the shared library. */
static void test_a_program_of_a_users(void **state)
{
	char library[PATH_MAX];
	char program[PATH_MAX];
	char command[4 * PATH_MAX];
	struct harness_process *p = NULL;

	(void)state;
	harness_build("lib", library, sizeof library);
	(void)snprintf(program, sizeof program, "%s/user", harness_dir());
	(void)snprintf(command, sizeof command, "%s/libpirn.so", library);
	if (is_sanitized || access(command, R_OK) != 0)
		skip();
	(void)snprintf(command, sizeof command,
		"cc -std=c11 -Wall -Wextra -Werror -Iinclude -o '%s' tests/integration/client_program.c "
		"-L'%s' -lpirn -Wl,-rpath,'%s' -pthread",
		program, library, library);
	assert_int_equal(system(command), 0);
	assert_int_equal(harness_run("user", NULL,
				 (const char *const[]){ program, f.brokers_list, NULL }, NULL, &p),
		0);
	assert_true(harness_wrote(p, "200 {\"message\":\"Hello, Pirn!\"}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call),
		cmocka_unit_test(test_calls_that_fail),
		cmocka_unit_test(test_many_in_flight_find_their_own_answers),
		cmocka_unit_test(test_many_threads_share_it),
		cmocka_unit_test(test_large_bodies),
		cmocka_unit_test(test_a_deadline),
		cmocka_unit_test(test_a_broker_dies),
		cmocka_unit_test(test_closing_ends_what_is_under_way),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_a_program_of_a_users),
	};

	return harness_finish(cmocka_run_group_tests_name("client", tests, set_up, tear_down));
}
