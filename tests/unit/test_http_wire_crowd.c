/* HTTP/1.1 on the wire: what one client can do to others, by asking for much, reading nothing, or
 * being slow.
 */
#include "wire_fixture.h"

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: x\r\n"
#define CODED      "Transfer-Encoding: chunked\r\n\r\n"

static void serve_hasty(struct wire *w, uint32_t head_ms, uint32_t body_ms, uint32_t idle_ms)
{
	struct gw_http_conf conf = wire_conf(w);

	conf.head_ms = head_ms;
	conf.body_ms = body_ms;
	conf.idle_ms = idle_ms;
	wire_serve(w, &conf);
}

/* Thousands of requests at once are not served in one go while somebody else waits. */
static void nobody_starves_beside_a_long_pipeline(void **state)
{
	enum { ROWS = 2000 };
	static const char row[] = GET("/greedy");
	struct wire *w = *state;
	struct client greedy = client_open(gw_http_address(w->http)),
		      modest = client_open(gw_http_address(w->http));
	size_t size = sizeof row - 1, sent = 0;
	unsigned before;

	client_say(w->loop, &modest, GET("/a"));
	until(w->loop, &modest, response_whole(&modest, false));
	response_forget(&modest);
	while (sent < ROWS && send(greedy.fd, row, size, MSG_DONTWAIT) == (ssize_t)size)
		sent++;
	assert_true(sent > 1000); /* they lie in the kernel */
	before = w->requests;
	assert_int_equal(send(modest.fd, GET("/a"), strlen(GET("/a")), 0), strlen(GET("/a")));
	while (!response_whole(&modest, false)) {
		uv_run(net_loop_uv(w->loop), UV_RUN_NOWAIT);
		client_read(&modest);
	}
	assert_true(w->requests - before < sent / 2);
	until(w->loop, &greedy, w->requests - before >= sent + 1);
	client_close(&modest);
	client_close(&greedy);
}

/* Requests for much, one behind the other, and it does not read: the next ones are not looked at. */
static void who_does_not_read_is_not_asked_for_more(void **state)
{
	static char large[8 << 20];
	struct wire *w = *state;
	struct client deaf = client_open(gw_http_address(w->http)), other;

	w->large = large;
	w->large_size = sizeof large;
	for (unsigned i = 0; i < 100; i++)
		assert_true(send(deaf.fd, GET("/large"), strlen(GET("/large")), 0) > 0);
	other = client_open(gw_http_address(w->http));
	for (unsigned i = 0; i < 50; i++) {
		response_forget(&other);
		client_say(w->loop, &other, GET("/a"));
		until(w->loop, &other, response_whole(&other, false));
	}
	assert_true(w->requests - 50 < 5); /* the kernel takes some MiB */
	assert_true(gw_http_held(w->http) < 3 * sizeof large);
	client_close(&deaf);
	client_close(&other);
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
	assert_int_equal(gw_http_held(w->http), 0);
}

/* What a client sends while its request waits stays with it. */
static void who_waits_is_not_read(void **state)
{
	static char junk[1 << 16];
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http)), other;
	size_t sent = 0;
	ssize_t n;

	memset(junk, 'j', sizeof junk);
	client_say(w->loop, &c, GET("/later"));
	until(w->loop, &c, w->n_later == 1);
	other = client_open(gw_http_address(w->http));
	for (unsigned i = 0; i < 50; i++) {
		while ((n = send(c.fd, junk, sizeof junk, MSG_DONTWAIT)) > 0)
			sent += (size_t)n;
		response_forget(&other);
		client_say(w->loop, &other, GET("/a"));
		until(w->loop, &other, response_whole(&other, false));
	}
	assert_true(sent < 64u << 20); /* what two sockets' buffers take */
	assert_true(gw_http_held(w->http) < 1 << 20);
	client_reset(&c);
	client_close(&other);
	wire_answer(w->later[0], 200, "gone", 4);
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
}

/* A client that is still sending when it is refused gets to read why. A server that closed its
 * socket with something unread in it would answer what comes with a reset, which takes the refusal
 * with it on many systems; here it shows in how the connection ends. */
static void a_refusal_is_not_lost_behind_what_was_not_read(void **state)
{
	static const struct {
		const char *head, *answer;
	} cases[] = { { POST("/a") "Content-Length: 524288\r\n\r\n", "HTTP/1.1 413" },
		{ "nonsense / HTTP/1.1\r\nX\r\n\r\n", "HTTP/1.1 400" },
		{ POST("/refused") CODED "80000\r\n", "HTTP/1.1 404" } };
	static char body[512 * 1024];
	struct wire *w = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = client_open(gw_http_address(w->http));
		char text[2048];
		uint64_t end_ms = base_clock_ms() + PATIENCE_MS;
		size_t size = 0;
		ssize_t n;
		/* More is on its way before the server looks than it reads at once. */
		assert_true(send(c.fd, cases[i].head, strlen(cases[i].head), 0) > 0);
		assert_true(send(c.fd, body, sizeof body, MSG_DONTWAIT) > 80000);
		do {
			turn(w->loop);
			n = recv(c.fd, text + size, sizeof text - size, MSG_DONTWAIT);
			size += n > 0 ? (size_t)n : 0;
		} while (n > 0 || (n < 0 && errno == EAGAIN && base_clock_ms() < end_ms));
		assert_int_equal(n, 0); /* and no ECONNRESET */
		assert_true(size > 12);
		assert_memory_equal(text, cases[i].answer, 12);
		client_close(&c);
	}
}

/* However much it sends before it looks up. */
static void a_refusal_is_not_lost_behind_much_more(void **state)
{
	static const char head[] = POST("/a") "Content-Length: 104857600\r\n\r\n";
	static char body[256 * 1024];
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http));
	size_t sent = 0;
	ssize_t n;

	assert_true(send(c.fd, head, sizeof head - 1, 0) > 0);
	while (sent < 32u << 20) {
		n = send(c.fd, body, sizeof body, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			fail_msg("after %zu bytes: %s", sent, strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
		turn(w->loop);
	}
	until(w->loop, &c, c.closed);
	assert_true(c.in.size > 12);
	assert_memory_equal(c.in.data, "HTTP/1.1 413", 12);
	client_close(&c);
}

/* It is refused, does not care, and sends on for ever. */
static void who_never_stops_sending_is_cut(void **state)
{
	struct wire *w = *state;
	struct client c;
	ssize_t n = 0;

	serve_hasty(w, PATIENCE_MS, PATIENCE_MS, 20);
	c = client_open(gw_http_address(w->http));
	assert_true(send(c.fd, "nonsense\r\n\r\n", 12, 0) > 0);
	for (uint64_t end_ms = base_clock_ms() + PATIENCE_MS; n >= 0 || errno == EAGAIN;) {
		if (base_clock_ms() > end_ms)
			fail_msg("it is still listened to");
		turn(w->loop);
		n = send(c.fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
	client_close(&c);
}

/* ---- those that are slow --------------------------------------------------------------------------- */

/* A drop again and again, never still for long: it is cut all the same, with 408 if a request was
 * begun. */
static void drips(struct wire *w, const char *begin, const char *drop, unsigned n, unsigned status)
{
	struct client c = client_open(gw_http_address(w->http));
	struct answers a;

	wire_forget(w);
	client_say(w->loop, &c, begin);
	while (!c.closed && client_send(w->loop, &c, drop, strlen(drop)))
		for (uint64_t next = base_clock_ms() + 5; !c.closed && base_clock_ms() < next;
			client_read(&c))
			turn(w->loop);
	until(w->loop, &c, c.closed);
	wire_read(w, &c, &a);
	assert_null(a.wrong);
	assert_int_equal(a.n, n);
	if (n > 0)
		assert_int_equal(a.status[n - 1], status);
	client_close(&c);
}

static void slow_bodies_in_chunks(void **state)
{
	serve_hasty(*state, PATIENCE_MS, 60, PATIENCE_MS);
	drips(*state, POST("/a") CODED, "1\r\nx\r\n", 1, 408);
	drips(*state, POST("/a") CODED "1;", "x", 1, 408);
	drips(*state, POST("/a") CODED, "0", 1, 408);
	drips(*state, POST("/a") CODED "0\r\n", "X: y\r\n", 1, 408);
	drips(*state, POST("/refused") "Content-Length: 10000\r\n\r\n", "x", 1, 404);
}

/* The time of a later request's head begins with its first byte, that of an empty line never. */
static void slow_heads_behind_others(void **state)
{
	serve_hasty(*state, 60, PATIENCE_MS, PATIENCE_MS);
	drips(*state, GET("/a") "GET /", "b", 2, 408);
	drips(*state, GET("/a") "GET /b HTTP/1.1\r\n", "X: y\r\n", 2, 408);
	drips(*state, "G", "G", 1, 408);
}

static void empty_lines_are_no_sign_of_life(void **state)
{
	serve_hasty(*state, 60, PATIENCE_MS, 60);
	drips(*state, GET("/a"), "\r\n", 1, 200);
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)
#define TEST_OWN(name) cmocka_unit_test_setup_teardown(name, wire_setup_loop, wire_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_starves_beside_a_long_pipeline),
		TEST(who_does_not_read_is_not_asked_for_more),
		TEST(who_waits_is_not_read),
		TEST(a_refusal_is_not_lost_behind_what_was_not_read),
		TEST(a_refusal_is_not_lost_behind_much_more),
		TEST_OWN(who_never_stops_sending_is_cut),
		TEST_OWN(slow_bodies_in_chunks),
		TEST_OWN(slow_heads_behind_others),
		TEST_OWN(empty_lines_are_no_sign_of_life),
	};

	return cmocka_run_group_tests_name("http on the wire: a crowd", tests, NULL, NULL);
}
