/* The HTTP layer, over real sockets: requests that are served, one after the other, and how
 * connections and the listener end.
 */
#include <sys/un.h>

#include "http_responder.h"

/* ---- good requests -------------------------------------------------------------- */

static void serves_keep_alive_and_pipelines(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	char id[64];

	assert_int_equal(response_status(&c), 200);
	assert_memory_equal(c.in.data, "HTTP/1.1 200 OK\r\n", 17);
	assert_string_equal(response_body(&c), "/a");
	assert_true(response_header(&c, "X-Request-Id", id, sizeof id));
	assert_int_equal(strlen(id), BASE_ULID_TEXT);
	response_forget(&c);
	client_say(f->loop, &c,
		"GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c?d=%2F HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, strstr((char *)c.in.data, "/c?d=%2F"));
	assert_non_null(strstr((char *)c.in.data, "/b"));
	until(f->loop, &c, f->done == 3);
	assert_int_equal(gw_http_requests(f->http), 0);
	assert_int_equal(gw_http_connections(f->http), 1);
	client_close(&c);
}

static void answers_later(void **state)
{
	struct fixture *f = *state;
	struct client a = client_open(gw_http_address(f->http)),
		      b = client_open(gw_http_address(f->http));

	client_say(f->loop, &a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	client_say(f->loop, &b, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
	until(f->loop, &a, f->n_later == 2);
	answer_text(f->later[1], "second", 6);
	until(f->loop, &b, response_whole(&b, false));
	assert_string_equal(response_body(&b), "second");
	assert_int_equal(a.in.size, 0);
	answer_text(f->later[0], "first", 5);
	until(f->loop, &a, response_whole(&a, false));
	assert_string_equal(response_body(&a), "first");
	client_close(&a);
	client_close(&b);
}

/* One that is idle is no reason to stay awake, from its answer on. */
static void the_loop_sleeps_beside_an_idle_connection(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	unsigned asleep = 0;

	for (unsigned i = 0; i < 20; i++) {
		turn(f->loop);
		asleep += uv_backend_timeout(net_loop_uv(f->loop)) != 0;
	}
	assert_int_equal(gw_http_connections(f->http), 1);
	assert_true(asleep > 0);
	client_close(&c);
}

static void reads_bodies_of_both_kinds(void **state)
{
	struct fixture *f = *state;
	struct client c =
		ask(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");

	assert_string_equal(response_body(&c), "hello");
	response_forget(&c);
	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "abcde");
	client_close(&c);
}

static void says_continue(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	until(f->loop, &c, strstr((char *)c.in.data, "100 Continue\r\n\r\n"));
	response_forget(&c);
	client_say(f->loop, &c, "ok");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "ok");
	client_close(&c);
}

static void head_and_204_have_no_body(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n");
	char length[16];

	assert_int_equal(response_status(&c), 200);
	assert_true(response_header(&c, "Content-Length", length, sizeof length));
	assert_string_equal(length, "4");
	assert_string_equal(response_body(&c), "");
	response_forget(&c);
	client_say(f->loop, &c, "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, response_whole(&c, true));
	assert_int_equal(response_status(&c), 204);
	assert_string_equal(response_body(&c), "");
	until(f->loop, &c, f->done == 2);
	assert_int_equal(f->last_bytes, 0);
	client_close(&c);
}

static void fields_are_repeated_or_refused(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /odd HTTP/1.1\r\nHost: x\r\n\r\n");

	assert_int_equal(response_status(&c), 201);
	assert_non_null(strstr((char *)c.in.data, "Set-Cookie: a=1\r\n"));
	assert_non_null(strstr((char *)c.in.data, "Set-Cookie: b=2\r\n"));
	assert_null(strstr((char *)c.in.data, "X-Injected"));
	assert_null(strstr((char *)c.in.data, "X-Empty"));
	client_close(&c);
}

static void request_ids_are_checked(void **state)
{
	static const struct {
		const char *given;
		bool kept;
	} cases[] = { { "abc-123", true }, { "a/b:c=d@e", true }, { "two words", false },
		{ "quote\"", false } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char request[256], id[200];
		struct client c;
		snprintf(request, sizeof request,
			"GET /id HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\n\r\n", cases[i].given);
		c = ask(*state, request);
		assert_true(response_header(&c, "X-Request-Id", id, sizeof id));
		assert_int_equal(strcmp(id, cases[i].given) == 0, cases[i].kept);
		assert_string_equal(response_body(&c), id);
		client_close(&c);
	}
}

static void http_1_0_closes(void **state)
{
	struct client c = ask(*state, "GET /a HTTP/1.0\r\n\r\n");
	struct fixture *f = *state;

	assert_int_equal(response_status(&c), 200);
	until(f->loop, &c, c.closed);
	client_close(&c);
}

/* ---- one after the other -------------------------------------------------------- */

/* The request that waits is answered, and its answer is there. */
static void answer_waiting(struct fixture *f, struct client *c, const char *text)
{
	until(f->loop, c, f->n_later == 1);
	answer_text(f->later[0], text, strlen(text));
	f->n_later = 0;
	until(f->loop, c, response_whole(c, false));
	assert_string_equal(response_body(c), text);
	response_forget(c);
}

#define LATER "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"

/* What comes in pieces, and what comes while nobody reads. */
static void nothing_that_came_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, LATER);
	answer_waiting(f, &c, "one");
	client_say(f->loop, &c, LATER LATER);
	answer_waiting(f, &c, "two");
	answer_waiting(f, &c, "three");
	client_say(f->loop, &c, LATER);
	until(f->loop, &c, f->n_later == 1);
	client_say(f->loop, &c, LATER); /* while the one before waits */
	answer_waiting(f, &c, "four");
	answer_waiting(f, &c, "five");
	client_say(f->loop, &c, "POST /later HTTP/1.1\r\nHost: x\r\nConte");
	client_say(f->loop, &c, "nt-Length: 6\r\n\r\n");
	client_say(f->loop, &c, "abc");
	client_say(f->loop, &c, "def");
	answer_waiting(f, &c, "six");
	client_say(f->loop, &c, LATER);
	until(f->loop, &c, f->n_later == 1);
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0); /* its end is what comes */
	turn(f->loop);
	answer_waiting(f, &c, "seven");
	until(f->loop, &c, c.closed);
	assert_int_equal(f->done, 7);
	client_close(&c);
}

/* What was left in the socket is no edge any more. */
static void a_row_of_requests_is_read_to_its_end(void **state)
{
	static char all[40 * 1100];
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));
	unsigned n = 0;
	size_t size = 0;

	client_say(f->loop, &c, LATER);
	answer_waiting(f, &c, "first");
	for (; n < 40; n++)
		size += (size_t)snprintf(all + size, sizeof all - size,
			"GET /later?n=%01000u HTTP/1.1\r\nHost: x\r\n\r\n", n);
	client_say(f->loop, &c, all);
	for (unsigned i = 0; i < n; i++)
		answer_waiting(f, &c, "again");
	until(f->loop, &c, f->done == n + 1);
	assert_int_equal(gw_http_connections(f->http), 1);
	client_close(&c);
}

/* ---- losses, ends --------------------------------------------------------------- */

static void a_client_that_left_while_waiting(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, f->n_later == 1);
	client_close(&c);
	turn(f->loop);
	answer_text(f->later[0], "too late", 8);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
	assert_int_equal(f->done, 1);
}

static void a_client_that_left_in_its_body(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(
		f->loop, &c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
	until(f->loop, &c, f->heads == 1);
	client_close(&c);
	until(f->loop, (struct client *)NULL, f->done == 1);
	assert_int_equal(f->last_status, 0);
	assert_int_equal(f->requests, 0);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
}

static void draining_finishes_what_is_under_way(void **state)
{
	struct fixture *f = *state;
	struct client idle = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	struct client waiting = client_open(gw_http_address(f->http)), late,
		      silent = client_open(gw_http_address(f->http));
	char connection[16], address[64];
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd;

	client_say(f->loop, &waiting, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &waiting, f->n_later == 1);
	late = client_open(gw_http_address(f->http)); /* in the backlog, with a request */
	send(late.fd, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n", 31, 0);
	snprintf(address, sizeof address, "%s", gw_http_address(f->http));
	gw_http_drain(f->http);
	until(f->loop, &idle, idle.closed);
	until(f->loop, &silent, silent.closed); /* its time for a head is a minute */
	assert_int_equal(silent.in.size, 0);
	until(f->loop, &late, response_whole(&late, false));
	assert_int_equal(response_status(&late), 200);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	sa.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), -1);
	close(fd);
	answer_text(f->later[0], "done", 4);
	until(f->loop, &waiting, waiting.closed);
	assert_string_equal(response_body(&waiting), "done");
	assert_true(response_header(&waiting, "Connection", connection, sizeof connection));
	assert_string_equal(connection, "close");
	until(f->loop, &late, gw_http_connections(f->http) == 0);
	client_close(&idle);
	client_close(&silent);
	client_close(&waiting);
	client_close(&late);
}

static void ending_with_requests_under_way(void **state)
{
	struct fixture *f = *state;
	struct client a = client_open(gw_http_address(f->http)),
		      b = client_open(gw_http_address(f->http));

	client_say(f->loop, &a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	client_say(
		f->loop, &b, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
	until(f->loop, &a, f->n_later == 1 && f->heads == 2);
	gw_http_free(&f->http);
	assert_int_equal(f->done, 2);
	client_close(&a);
	client_close(&b);
}

static void what_was_answered_last_is_sent(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, f->n_later == 1);
	gw_http_refuse(f->later[0], 503, "The call was given up.");
	gw_http_free(&f->http);
	client_read(&c);
	expect_problem(&c, 503);
	client_close(&c);
}

static void a_port_in_use_is_one_clear_line(void **state)
{
	struct fixture *f = *state;
	struct gw_http_conf conf = plain_conf(f);
	struct gw_http_events events = { on_head, on_request, on_done, f };
	struct gw_http *second = NULL;
	char *why = NULL;

	conf.address = gw_http_address(f->http);
	assert_int_not_equal(gw_http_new(f->loop, &conf, &events, &second, &why), BASE_OK);
	assert_null(second);
	assert_non_null(strstr(why, gw_http_address(f->http)));
	assert_non_null(strstr(why, "Address already in use"));
	assert_null(strchr(why, '\n'));
	free(why);
	conf.address = "nonsense";
	assert_int_equal(gw_http_new(f->loop, &conf, &events, &second, &why), BASE_CONFIG);
	assert_non_null(strstr(why, "nonsense"));
	free(why);
}

static void a_peer_has_an_address_or_none(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct gw_http_conf conf = plain_conf(f);
	struct client c = ask(f, "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n");

	assert_string_equal(response_body(&c), "127.0.0.1");
	client_close(&c);
	gw_http_free(&f->http);
	/* An abstract name, of the system's choice: nothing is left of it. */
	conf.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(conf.listen_fd, (struct sockaddr *)&sa, sizeof sa.sun_family), 0);
	assert_int_equal(listen(conf.listen_fd, 1), 0);
	c = (struct client){ .fd = socket(AF_UNIX, SOCK_STREAM, 0) };
	base_buf_init(&c.in);
	socklen_t size = sizeof sa;
	assert_int_equal(getsockname(conf.listen_fd, (struct sockaddr *)&sa, &size), 0);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&sa, size), 0);
	open_server(f, &conf);
	client_say(f->loop, &c, "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "unix:");
	client_close(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(serves_keep_alive_and_pipelines),
		TEST(answers_later),
		TEST(the_loop_sleeps_beside_an_idle_connection),
		TEST(reads_bodies_of_both_kinds),
		TEST(says_continue),
		TEST(head_and_204_have_no_body),
		TEST(fields_are_repeated_or_refused),
		TEST(request_ids_are_checked),
		TEST(http_1_0_closes),
		TEST(nothing_that_came_is_forgotten),
		TEST(a_row_of_requests_is_read_to_its_end),
		TEST(a_client_that_left_while_waiting),
		TEST(a_client_that_left_in_its_body),
		TEST(draining_finishes_what_is_under_way),
		TEST(ending_with_requests_under_way),
		TEST(what_was_answered_last_is_sent),
		TEST(a_peer_has_an_address_or_none),
		TEST(a_port_in_use_is_one_clear_line),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
