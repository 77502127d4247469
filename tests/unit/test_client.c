/* The public library: several threads, many calls, one client. The broker is a
 * thread of its own here, because calls wait.
 */
#include "tests/unit/net_fixture.h"

#include <pthread.h>

#include "pirn/client.h"

/* ---- a broker in a thread ------------------------------------------------------- */

static struct {
	struct fixture f;
	struct fake_broker *b;
	pthread_t thread;
	uv_async_t stop;
	char endpoint[128];
} server;

static struct pirn_client *client;

static void on_stop(uv_async_t *async)
{
	(void)async;
	net_loop_stop(server.f.loop);
}

static void *serve(void *arg)
{
	(void)arg;
	net_loop_run(server.f.loop);
	return NULL;
}

static int set_up_with(bool silent)
{
	memset(&server, 0, sizeof server);
	fixture_init(&server.f);
	strcpy(server.endpoint, fixture_ipc(&server.f, "broker"));
	server.b = fake_new(server.f.loop, server.endpoint, 1);
	server.b->echo = !silent;
	uv_async_init(net_loop_uv(server.f.loop), &server.stop, on_stop);
	return pthread_create(&server.thread, NULL, serve, NULL);
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(false);
}

static int set_up_silent(void **state)
{
	(void)state;
	return set_up_with(true);
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	uv_async_send(&server.stop);
	pthread_join(server.thread, NULL);
	fake_free(&server.b);
	uv_close((uv_handle_t *)&server.stop, NULL);
	fixture_fini(&server.f);
	return 0;
}

static void open_client(uint32_t max_calls, uint64_t max_bytes)
{
	char why[128] = "untouched";

	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = server.endpoint, .name = "test",
						  .max_calls = max_calls, .max_bytes = max_bytes),
				 &client, why, sizeof why),
		PIRN_CLIENT_OK);
	assert_string_equal(why, "");
}

/* ---- counting callbacks ----------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct counter {
	unsigned n, good;
	enum pirn_client_err last;
};

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	struct counter *c = arg;

	pthread_mutex_lock(&lock);
	c->n++;
	c->good += reply->err == PIRN_CLIENT_OK && reply->status == 200;
	c->last = reply->err;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void await(struct counter *c, unsigned n)
{
	pthread_mutex_lock(&lock);
	while (c->n < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* ---- calls -------------------------------------------------------------------------- */

static void a_call_waits_for_its_reply(void **state)
{
	struct pirn_reply *reply;

	(void)state;
	open_client(0, 0);
	assert_int_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "echo", .body = "hello", .body_size = 5), &reply),
		PIRN_CLIENT_OK);
	assert_int_equal(reply->err, PIRN_CLIENT_OK);
	assert_int_equal(reply->status, 200);
	assert_int_equal(reply->body_size, 5);
	assert_string_equal(reply->body, "hello");
	pirn_reply_free(&reply);
	assert_null(reply);
	pirn_reply_free(&reply);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = "echo"), &reply), PIRN_CLIENT_OK);
	assert_int_equal(reply->body_size, 0);
	assert_string_equal(reply->body, "");
	pirn_reply_free(&reply);
}

static void bodies_of_all_sizes(void **state)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 16 * 1024, 16 * 1024 + 1, 1024 * 1024,
		16 * 1024 * 1024 };
	uint8_t *body = malloc(16 * 1024 * 1024 + 1);
	struct pirn_reply *reply;

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < 16 * 1024 * 1024; i++)
		body[i] = (uint8_t)(i * 31);
	open_client(0, 0);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		assert_int_equal(
			pirn_client_call(client,
				&PIRN_CALL(.service = "echo", .body = body, .body_size = sizes[i]),
				&reply),
			PIRN_CLIENT_OK);
		assert_int_equal(reply->body_size, sizes[i]);
		assert_memory_equal(reply->body, body, sizes[i]);
		pirn_reply_free(&reply);
	}
	assert_int_equal(pirn_client_call(client,
				 &PIRN_CALL(.service = "echo", .body = body,
					 .body_size = 16 * 1024 * 1024 + 1),
				 &reply),
		PIRN_CLIENT_TOO_LARGE);
	assert_null(reply);
	free(body);
}

#define THREADS 4
#define EACH    2000

static void *call_and_wait(void *arg)
{
	unsigned *good = arg;

	for (unsigned i = 0; i < EACH / 10; i++) {
		struct pirn_reply *reply;
		char text[32];
		int size = snprintf(text, sizeof text, "%p %u", arg, i);

		if (!pirn_client_call(client,
			    &PIRN_CALL(.service = "echo", .body = text, .body_size = (size_t)size),
			    &reply) &&
			reply->body_size == (size_t)size &&
			memcmp(reply->body, text, (size_t)size) == 0)
			(*good)++;
		pirn_reply_free(&reply);
	}
	return NULL;
}

static void *call_and_go_on(void *arg)
{
	struct counter *c = arg;

	for (unsigned i = 0; i < EACH; i++)
		if (pirn_client_call_async(client,
			    &PIRN_CALL(.service = "echo", .body = &i, .body_size = sizeof i),
			    on_reply, c))
			abort();
	return NULL;
}

static void many_threads_share_a_client(void **state)
{
	pthread_t waiting[THREADS], going[THREADS];
	unsigned good[THREADS] = { 0 };
	struct counter c = { 0 };

	(void)state;
	open_client(0, 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&waiting[i], NULL, call_and_wait, &good[i]), 0);
		assert_int_equal(pthread_create(&going[i], NULL, call_and_go_on, &c), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(waiting[i], NULL);
		pthread_join(going[i], NULL);
		assert_int_equal(good[i], EACH / 10);
	}
	await(&c, THREADS * EACH);
	assert_int_equal(c.good, THREADS * EACH);
}

struct chain {
	struct counter c;
	unsigned left;
	enum pirn_client_err waited, closed;
};

static void on_chain(void *arg, const struct pirn_reply *reply)
{
	struct chain *chain = arg;
	struct pirn_client *same = client;
	struct pirn_reply *none;

	if (chain->left > 0) {
		chain->left--;
		if (pirn_client_call_async(client, &PIRN_CALL(.service = "echo"), on_chain, chain))
			abort();
	} else {
		chain->waited = pirn_client_call(client, &PIRN_CALL(.service = "echo"), &none);
		chain->closed = pirn_client_close(&same);
	}
	on_reply(&chain->c, reply);
}

static void a_callback_may_call_but_not_wait(void **state)
{
	struct chain chain = { .left = 1000 };

	(void)state;
	open_client(1, 0); /* one at a time: the place of the call that ended is free already */
	assert_int_equal(
		pirn_client_call_async(client, &PIRN_CALL(.service = "echo"), on_chain, &chain),
		PIRN_CLIENT_OK);
	await(&chain.c, 1001);
	assert_int_equal(chain.c.good, 1001);
	assert_int_equal(chain.waited, PIRN_CLIENT_WRONG_THREAD);
	assert_int_equal(chain.closed, PIRN_CLIENT_WRONG_THREAD);
}

/* ---- ends that are no answers -------------------------------------------------------- */

static void bounds_are_told_at_once(void **state)
{
	struct pirn_call ten = PIRN_CALL(.service = "slow", .body = "0123456789", .body_size = 10);
	struct counter c = { 0 };

	(void)state;
	open_client(3, 25);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_FULL);
	ten.body_size = 0;
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_FULL);
	assert_true(pirn_client_err_retryable(PIRN_CLIENT_FULL));
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	assert_null(client);
	assert_int_equal(c.n, 3);
	assert_int_equal(c.last, PIRN_CLIENT_CLOSED);
}

static void a_call_has_a_deadline(void **state)
{
	struct pirn_reply *reply;

	(void)state;
	open_client(0, 0);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = "slow", .timeout_ms = 20), &reply),
		PIRN_CLIENT_DEADLINE);
	assert_int_equal(reply->err, PIRN_CLIENT_DEADLINE);
	assert_int_equal(reply->status, 504);
	pirn_reply_free(&reply);
}

static void *wait_for_ever(void *arg)
{
	struct pirn_reply *reply;
	enum pirn_client_err *err = arg;

	*err = pirn_client_call(client, &PIRN_CALL(.service = "slow"), &reply);
	pirn_reply_free(&reply);
	return NULL;
}

static void closing_ends_what_is_open(void **state)
{
	struct counter c = { 0 };

	(void)state;
	open_client(0, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(
			pirn_client_call_async(client, &PIRN_CALL(.service = "slow"), on_reply, &c),
			PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	assert_int_equal(c.n, 100);
	assert_int_equal(c.last, PIRN_CLIENT_CLOSED);
}

static void without_a_broker(void **state)
{
	enum pirn_client_err err = PIRN_CLIENT_OK;
	struct pirn_client *alone;
	pthread_t thread;
	char nowhere[160];

	(void)state;
	snprintf(nowhere, sizeof nowhere, "%s.none", server.endpoint);
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = nowhere, .connect_wait_ms = 20),
				 &alone, NULL, 0),
		PIRN_CLIENT_OK);
	client = alone;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_ever, &err), 0);
	pthread_join(thread, NULL);
	assert_int_equal(err, PIRN_CLIENT_NO_BROKER);
}

static void wrong_arguments(void **state)
{
	struct pirn_call half = { .size = 4, .service = "x" };
	struct pirn_reply *reply;
	struct counter c = { 0 };
	char name[80], why[64];

	(void)state;
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.name = "x"), &client, why, sizeof why),
		PIRN_CLIENT_INVALID);
	assert_string_equal(why, "no brokers are given");
	assert_int_equal(
		pirn_client_open(&PIRN_OPTIONS(.brokers = "http://x"), &client, why, sizeof why),
		PIRN_CLIENT_INVALID);
	assert_non_null(strstr(why, "http://x"));
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = "http://x"), &client, why, 5),
		PIRN_CLIENT_INVALID);
	assert_int_equal(strlen(why), 4);
	assert_null(client);
	open_client(0, 0);
	memset(name, 'n', sizeof name);
	name[64] = '\0';
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = name), &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = ""), &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.body_size = 0), &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = "x", .body_size = 3), &reply),
		PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_call(client, &half, &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_call(client, NULL, &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_call_async(client, &PIRN_CALL(.service = "x"), NULL, &c),
		PIRN_CLIENT_INVALID);
	assert_null(reply);
}

static void errors_have_names(void **state)
{
	(void)state;
	assert_string_equal(pirn_client_err_name(PIRN_CLIENT_NO_WORKER), "NO_WORKER");
	assert_string_equal(pirn_client_err_name((enum pirn_client_err)1000), "?");
	for (int i = PIRN_CLIENT_OK; i <= PIRN_CLIENT_REFUSED; i++)
		assert_true(strlen(pirn_client_err_text((enum pirn_client_err)i)) > 5);
	assert_false(pirn_client_err_retryable((enum pirn_client_err)1000));
	assert_int_equal(pirn_client_close(&(struct pirn_client *){ NULL }), PIRN_CLIENT_OK);
}

#define TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_SILENT(name) cmocka_unit_test_setup_teardown(name, set_up_silent, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_waits_for_its_reply),
		TEST(bodies_of_all_sizes),
		TEST(many_threads_share_a_client),
		TEST(a_callback_may_call_but_not_wait),
		TEST_SILENT(bounds_are_told_at_once),
		TEST_SILENT(a_call_has_a_deadline),
		TEST_SILENT(closing_ends_what_is_open),
		TEST(without_a_broker),
		TEST(wrong_arguments),
		cmocka_unit_test(errors_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
