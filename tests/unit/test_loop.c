/* The turn: its stages, not blocking, hooks that go, sockets that wake. */
#include "tests/unit/net_fixture.h"

#include <signal.h>

struct trace {
	struct fixture f;
	char text[64];
	struct net_hook *hooks[8];
	unsigned left;
	bool stop_when_done;
};

static struct trace t;

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	fixture_init(&t.f);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < 8; i++)
		net_loop_unhook(&t.hooks[i]);
	fixture_fini(&t.f);
	return 0;
}

static bool note(const char *what)
{
	if (strlen(t.text) < sizeof t.text - 2)
		strcat(t.text, what);
	return false;
}

static bool on_read(void *arg)
{
	(void)arg;
	return note("r");
}

static bool on_run(void *arg)
{
	(void)arg;
	return note("u");
}

static bool on_flush(void *arg)
{
	(void)arg;
	note("f");
	net_loop_stop(t.f.loop);
	return false;
}

static void stages_come_in_order(void **state)
{
	(void)state;
	assert_int_equal(net_loop_hook(t.f.loop, NET_FLUSH, on_flush, NULL, &t.hooks[0]), BASE_OK);
	assert_int_equal(net_loop_hook(t.f.loop, NET_READ, on_read, NULL, &t.hooks[1]), BASE_OK);
	assert_int_equal(net_loop_hook(t.f.loop, NET_RUN, on_run, NULL, &t.hooks[2]), BASE_OK);
	assert_int_equal(net_loop_hook(t.f.loop, NET_READ, on_read, NULL, &t.hooks[3]), BASE_OK);
	net_loop_again(t.f.loop);
	net_loop_run(t.f.loop);
	assert_string_equal(t.text, "rruf");
	net_loop_run(t.f.loop); /* a loop that was stopped can run again, once something wakes it */
	assert_string_equal(t.text, "rrufrruf");
}

static bool on_more(void *arg)
{
	(void)arg;
	if (t.left == 0) {
		net_loop_stop(t.f.loop);
		return false;
	}
	t.left--;
	return true;
}

/* No descriptor and no timer does anything: only the hook's own word keeps the loop turning. */
static void a_stage_that_has_more_is_called_again(void **state)
{
	(void)state;
	t.left = 1000;
	assert_int_equal(net_loop_hook(t.f.loop, NET_READ, on_more, NULL, &t.hooks[0]), BASE_OK);
	net_loop_run(t.f.loop);
	assert_int_equal(t.left, 0);
	assert_false(t.f.expired);
}

static bool on_unhook_all(void *arg)
{
	(void)arg;
	note("x");
	net_loop_unhook(&t.hooks[0]);
	net_loop_unhook(&t.hooks[1]);
	return true;
}

static void a_hook_may_unhook_itself_and_others(void **state)
{
	(void)state;
	assert_int_equal(
		net_loop_hook(t.f.loop, NET_READ, on_unhook_all, NULL, &t.hooks[0]), BASE_OK);
	assert_int_equal(net_loop_hook(t.f.loop, NET_READ, on_read, NULL, &t.hooks[1]), BASE_OK);
	assert_int_equal(net_loop_hook(t.f.loop, NET_FLUSH, on_flush, NULL, &t.hooks[2]), BASE_OK);
	net_loop_again(t.f.loop);
	net_loop_run(t.f.loop);
	net_loop_again(t.f.loop);
	net_loop_run(t.f.loop);
	assert_null(t.hooks[0]);
	assert_null(t.hooks[1]);
	assert_string_equal(t.text, "xff");
}

struct reader {
	void *socket;
	unsigned n;
};

static bool on_socket(void *arg)
{
	struct reader *r = arg;
	char byte;

	while (zmq_recv(r->socket, &byte, 1, ZMQ_DONTWAIT) >= 0)
		r->n++;
	return false;
}

static void a_socket_wakes_the_loop(void **state)
{
	void *zmq = net_loop_zmq(t.f.loop);
	struct reader r = { .socket = zmq_socket(zmq, ZMQ_PAIR) };
	void *other = zmq_socket(zmq, ZMQ_PAIR);
	struct net_wake *wake;

	(void)state;
	assert_int_equal(zmq_bind(r.socket, "inproc://wake"), 0);
	assert_int_equal(zmq_connect(other, "inproc://wake"), 0);
	assert_int_equal(net_loop_wake_on(t.f.loop, r.socket, &wake), BASE_OK);
	assert_int_equal(net_loop_hook(t.f.loop, NET_READ, on_socket, &r, &t.hooks[0]), BASE_OK);
	for (unsigned i = 1; i <= 100; i++) {
		assert_int_equal(zmq_send(other, "x", 1, 0), 1);
		UNTIL(&t.f, r.n == i);
	}
	net_wake_free(&wake);
	assert_null(wake);
	zmq_close(other);
	zmq_close(r.socket);
}

static void time_goes_on(void **state)
{
	uint64_t ms, us;

	(void)state;
	net_loop_again(t.f.loop);
	fixture_turn(&t.f);
	ms = net_loop_now_ms(t.f.loop);
	us = net_loop_now_us(t.f.loop);
	do {
		net_loop_again(t.f.loop);
		fixture_turn(&t.f);
	} while (net_loop_now_ms(t.f.loop) < ms + 3);
	assert_true(net_loop_now_us(t.f.loop) > us);
}

static void on_signal(void *arg, unsigned times)
{
	*(unsigned *)arg = times;
}

static void signals_are_counted(void **state)
{
	unsigned times = 0;

	(void)state;
	assert_int_equal(net_loop_on_terminate(t.f.loop, on_signal, &times), BASE_OK);
	assert_int_equal(raise(SIGPIPE), 0); /* ignored from now on */
	assert_int_equal(raise(SIGTERM), 0);
	UNTIL(&t.f, times == 1);
	assert_int_equal(raise(SIGINT), 0);
	UNTIL(&t.f, times == 2);
}

static void nothing_is_freed_twice(void **state)
{
	struct net_loop *none = NULL;
	struct net_wake *wake = NULL;

	(void)state;
	net_loop_free(&none);
	net_wake_free(&wake);
	net_loop_unhook(&t.hooks[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stages_come_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_stage_that_has_more_is_called_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_hook_may_unhook_itself_and_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_socket_wakes_the_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_goes_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(signals_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_freed_twice, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
