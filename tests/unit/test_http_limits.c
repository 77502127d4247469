/* The HTTP layer, over real sockets: deadlines, and who goes when connections or bytes are too
 * many.
 */
#include "http_responder.h"

/* ---- deadlines ------------------------------------------------------------------ */

static void open_hasty(struct fixture *f, uint32_t head_ms, uint32_t body_ms, uint32_t idle_ms)
{
	struct gw_http_conf conf = plain_conf(f);

	conf.head_ms = head_ms;
	conf.body_ms = body_ms;
	conf.idle_ms = idle_ms;
	open_server(f, &conf);
}

/* One byte at a time, never still for as long as the limit: it is cut all the same. */
static void drip(struct fixture *f, struct client *c, const char *text)
{
	while (!c->closed) {
		uint64_t next = base_clock_ms() + 10;
		if (!client_send(f->loop, c, text, 1))
			break;
		while (!c->closed && base_clock_ms() < next) {
			turn(f->loop);
			client_read(c);
		}
	}
	until(f->loop, c, c->closed);
}

static void cuts_a_slow_head(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_hasty(f, 100, 60000, 60000);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c, "GET /a HTTP/1.1\r\nHost: x\r\nX-Slow: ");
	drip(f, &c, "a");
	expect_problem(&c, 408);
	until(f->loop, &c, f->done == 1);
	assert_int_equal(f->last_status, 408);
	assert_string_equal(f->last_first, "GET /a"); /* as much is known of it */
	assert_int_equal(gw_http_cut(f->http), 1);
	until(f->loop, &c, gw_http_connections(f->http) == 0);
	client_close(&c);
}

static void cuts_half_a_request_line_and_silence(void **state)
{
	struct fixture *f = *state;
	struct client a, b;

	open_hasty(f, 100, 60000, 60000);
	a = client_open(gw_http_address(f->http));
	b = client_open(gw_http_address(f->http));
	client_say(f->loop, &a, "GET /a");
	until(f->loop, &a, a.closed);
	until(f->loop, &b, b.closed);
	expect_problem(&a, 408);
	assert_non_null(strstr((const char *)a.in.data, "\r\nX-Request-Id: "));
	assert_int_equal(b.in.size, 0); /* it never asked */
	until(f->loop, &a, gw_http_connections(f->http) == 0);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->last_status, 408);
	assert_string_equal(f->last_first, " ");
	client_close(&a);
	client_close(&b);
}

static void cuts_a_slow_body(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_hasty(f, 60000, 100, 60000);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n");
	drip(f, &c, "a");
	expect_problem(&c, 408);
	until(f->loop, &c, f->done == 1);
	assert_int_equal(f->last_status, 408);
	assert_int_equal(f->requests, 0);
	client_close(&c);
}

static void closes_an_idle_connection_without_a_word(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_hasty(f, 60000, 60000, 100);
	c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	response_forget(&c);
	until(f->loop, &c, c.closed);
	assert_int_equal(c.in.size, 0);
	until(f->loop, &c, gw_http_connections(f->http) == 0);
	client_close(&c);
}

static void cuts_a_reader_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	struct gw_http_conf conf = plain_conf(f);
	struct client c;

	conf.idle_ms = 100;
	conf.slowest_bytes_per_s = 1000 * 1000 * 1000;
	open_server(f, &conf);
	c = client_open(gw_http_address(f->http));
	assert_int_equal(send(c.fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", 32, 0), 32);
	until(f->loop, (struct client *)NULL, gw_http_cut(f->http) == 1);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
	assert_int_equal(f->done, 1);
	until(f->loop, &c, c.closed);
	assert_true(c.in.size < LARGE_BYTES);
	client_close(&c);
}

static void a_waiting_request_has_no_deadline_here(void **state)
{
	struct fixture *f = *state;
	struct client c, other;

	open_hasty(f, 50, 50, 50);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, f->n_later == 1);
	other = client_open(
		gw_http_address(f->http)); /* its time passes, and so the first one's would have */
	until(f->loop, &other, other.closed);
	answer_text(f->later[0], "yes", 3);
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "yes");
	client_close(&c);
	client_close(&other);
}

static void random_bytes_cost_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct base_rand rand;
	struct client good;

	open_hasty(f, 100, 60000, 60000);
	good = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	base_rand_init(&rand, 7);
	for (int i = 0; i < 50; i++) {
		struct client c = client_open(gw_http_address(f->http));
		char bytes[512];
		for (size_t k = 0; k < sizeof bytes; k++)
			bytes[k] = (char)base_rand_next(&rand);
		if (i % 2)
			memcpy(bytes, "GET / HTTP/1.1\r\n", 16);
		(void)client_send(f->loop, &c, bytes, sizeof bytes);
		client_close(&c);
	}
	response_forget(&good);
	client_say(f->loop, &good, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &good, response_whole(&good, false));
	assert_string_equal(response_body(&good), "/b");
	until(f->loop, &good, gw_http_connections(f->http) == 1);
	assert_int_equal(gw_http_requests(f->http), 0);
	client_close(&good);
}

/* ---- room ----------------------------------------------------------------------- */

static void open_narrow(struct fixture *f, uint32_t connections, uint64_t held)
{
	struct gw_http_conf conf = plain_conf(f);

	conf.max_connections = connections;
	conf.max_held = held;
	conf.max_body = 1024 * 1024;
	open_server(f, &conf);
}

static void ask_again(struct fixture *f, struct client *c, const char *target)
{
	char request[128];

	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
	response_forget(c);
	client_say(f->loop, c, request);
	until(f->loop, c, response_whole(c, false));
	assert_string_equal(response_body(c), target);
}

/* Sends the head of a body and the first part of it. */
static struct client post_part(struct fixture *f, const char *target, size_t size, size_t part)
{
	struct client c = client_open(gw_http_address(f->http));
	char head[128];
	char *body = calloc(1, part + 1);

	assert_non_null(body);
	snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
		target, size);
	client_say(f->loop, &c, head);
	assert_true(client_send(f->loop, &c, body, part));
	free(body);
	return c;
}

static void expect_refused_for_room(struct fixture *f, struct client *c)
{
	char after[8];

	until(f->loop, c, c->closed);
	expect_problem(c, 503);
	assert_true(response_header(c, "Retry-After", after, sizeof after));
	assert_string_equal(after, "1");
}

static void the_longest_idle_makes_room(void **state)
{
	struct fixture *f = *state;
	struct client a, b, c;

	open_narrow(f, 2, 0);
	a = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	b = ask(f, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
	ask_again(f, &a, "/again"); /* now b has been idle longer */
	c = ask(f, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_string_equal(response_body(&c), "/c");
	response_forget(&b);
	until(f->loop, &b, b.closed);
	assert_int_equal(b.in.size, 0); /* it had not asked */
	ask_again(f, &a, "/still-here");
	assert_int_equal(gw_http_evicted(f->http), 1);
	assert_int_equal(gw_http_cut(f->http), 0);
	until(f->loop, &a, gw_http_connections(f->http) == 2);
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

static void one_whose_request_has_come_is_not_idle(void **state)
{
	static const char request[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
	struct fixture *f = *state;
	struct client a, b, c;

	open_narrow(f, 2, 0);
	a = ask(f, request);
	b = ask(f, request);
	response_forget(&a);
	c = client_open(gw_http_address(f->http));
	/* Both lie in the kernel when the server looks: it takes connections first. */
	assert_int_equal(send(a.fd, request, sizeof request - 1, 0), sizeof request - 1);
	until(f->loop, &a, response_whole(&a, false));
	ask_again(f, &c, "/c");
	until(f->loop, &b, b.closed);
	assert_false(a.closed);
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

static void slow_heads_make_room(void **state)
{
	struct fixture *f = *state;
	struct client slow, silent, b, c;

	open_narrow(f, 2, 0);
	slow = client_open(gw_http_address(f->http));
	client_say(f->loop, &slow, "GET /a HTTP/1.1\r\nX: ");
	silent = client_open(gw_http_address(f->http));
	until(f->loop, &slow, gw_http_connections(f->http) == 2);
	b = client_open(gw_http_address(f->http));
	client_say(f->loop, &b, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_refused_for_room(f, &slow);
	until(f->loop, &b, f->n_later == 1);
	assert_false(silent.closed);
	c = client_open(gw_http_address(f->http));
	ask_again(f, &c, "/c");
	until(f->loop, &silent, silent.closed);
	assert_int_equal(silent.in.size, 0); /* it never asked */
	answer_text(f->later[0], "yes", 3);
	until(f->loop, &b, response_whole(&b, false));
	client_close(&slow);
	client_close(&silent);
	client_close(&b);
	client_close(&c);
}

static void who_waits_for_an_answer_stays(void **state)
{
	struct fixture *f = *state;
	struct client waiting[2], late;

	open_narrow(f, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		waiting[i] = client_open(gw_http_address(f->http));
		client_say(f->loop, &waiting[i], "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
		until(f->loop, &waiting[i], f->n_later == i + 1);
	}
	late = client_open(gw_http_address(f->http));
	expect_refused_for_room(f, &late);
	for (unsigned i = 0; i < 2; i++) {
		answer_text(f->later[i], "yes", 3);
		until(f->loop, &waiting[i], response_whole(&waiting[i], false));
		assert_string_equal(response_body(&waiting[i]), "yes");
	}
	client_close(&late);
	client_close(&waiting[0]);
	client_close(&waiting[1]);
}

static void slow_bodies_make_room(void **state)
{
	struct fixture *f = *state;
	struct client slow, quick;

	open_narrow(f, 64, 1100 * 1000);
	slow = post_part(f, "/echo", 700 * 1000, 600 * 1000);
	until(f->loop, &slow, gw_http_held(f->http) >= 600 * 1000);
	quick = post_part(f, "/echo", 600 * 1000, 600 * 1000);
	until(f->loop, &quick, response_whole(&quick, false));
	assert_int_equal(response_status(&quick), 200);
	expect_refused_for_room(f, &slow);
	assert_int_equal(gw_http_evicted(f->http), 1);
	until(f->loop, &quick, gw_http_held(f->http) == 0);
	client_close(&slow);
	client_close(&quick);
}

static void a_body_without_room_is_refused(void **state)
{
	struct fixture *f = *state;
	struct client first, second;

	open_narrow(f, 64, 1100 * 1000);
	first = post_part(f, "/later", 600 * 1000, 600 * 1000);
	until(f->loop, &first, f->n_later == 1);
	second = post_part(f, "/echo", 600 * 1000, 600 * 1000);
	until(f->loop, &second, response_whole(&second, false));
	expect_problem(&second, 503);
	assert_int_equal(f->requests, 1);
	answer_text(f->later[0], "yes", 3);
	until(f->loop, &first, response_whole(&first, false));
	assert_string_equal(response_body(&first), "yes");
	assert_int_equal(gw_http_evicted(f->http), 0);
	client_close(&first);
	client_close(&second);
}

static void who_does_not_read_makes_room(void **state)
{
	struct fixture *f = *state;
	struct client deaf, other;

	open_narrow(f, 64, 3 * LARGE_BYTES / 2);
	deaf = client_open(gw_http_address(f->http));
	assert_int_equal(send(deaf.fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", 32, 0), 32);
	until(f->loop, (struct client *)NULL, gw_http_held(f->http) >= LARGE_BYTES);
	other = ask(f, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(response_whole(&other, false));
	assert_int_equal(gw_http_evicted(f->http), 1);
	until(f->loop, (struct client *)NULL, gw_http_held(f->http) < 100 * 1000);
	until(f->loop, &deaf, deaf.closed);
	assert_false(response_whole(&deaf, false));
	client_close(&deaf);
	client_close(&other);
}

/* Only what came of the next request is held. */
static void an_idle_connection_holds_nothing(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_narrow(f, 64, 0);
	c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_string_equal(response_body(&c), "/a");
	until(f->loop, &c, f->done == 1);
	assert_int_equal(gw_http_held(f->http), 0);
	response_forget(&c);
	client_say(f->loop, &c, "GET /b HT");
	until(f->loop, &c, gw_http_held(f->http) > 0);
	client_say(f->loop, &c, "TP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "/b");
	until(f->loop, &c, gw_http_held(f->http) == 0);
	client_close(&c);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
}

#define TEST_OWN(name) cmocka_unit_test_setup_teardown(name, setup_loop, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_OWN(cuts_a_slow_head),
		TEST_OWN(cuts_half_a_request_line_and_silence),
		TEST_OWN(cuts_a_slow_body),
		TEST_OWN(closes_an_idle_connection_without_a_word),
		TEST_OWN(cuts_a_reader_that_does_not_read),
		TEST_OWN(a_waiting_request_has_no_deadline_here),
		TEST_OWN(random_bytes_cost_nobody_else),
		TEST_OWN(the_longest_idle_makes_room),
		TEST_OWN(one_whose_request_has_come_is_not_idle),
		TEST_OWN(slow_heads_make_room),
		TEST_OWN(who_waits_for_an_answer_stays),
		TEST_OWN(slow_bodies_make_room),
		TEST_OWN(a_body_without_room_is_refused),
		TEST_OWN(who_does_not_read_makes_room),
		TEST_OWN(an_idle_connection_holds_nothing),
	};

	return cmocka_run_group_tests_name("http: limits", tests, NULL, NULL);
}
