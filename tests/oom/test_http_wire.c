/* HTTP/1.1 on the wire without memory: requests in pieces, in a row, in chunks, with many headers,
 * answers that their clients take slowly, refusals, and connections that end in the middle.
 *
 * Each request has the right answer, or 503, or its connection is closed; half an answer, or one
 * that belongs to another request, there never is. With memory back the listener serves as before,
 * and holds nothing.
 */
#include "tests/oom/oom.h"

#include "net/loop.h"

static bool armed;

#define uv_run(...) (armed ? OOM_GET(uv_run(__VA_ARGS__)) : uv_run(__VA_ARGS__))

#include "tests/unit/wire_fixture.h"

#include "base/pool.h"

#define HOST  "Host: x\r\n"
#define GET   "GET /a HTTP/1.1\r\n" HOST "\r\n"
#define LATER "GET /later HTTP/1.1\r\n" HOST "\r\n"
#define LARGE (4u << 20) /* more than two sockets take at once */

static struct wire *w;
static uint8_t large_bytes[LARGE];
static struct base_block large = { .data = large_bytes, .size = LARGE, .refs = 1 };

static void refuse_memory(struct gw_request *r)
{
	if (!gw_http_is_answered(r))
		gw_http_refuse(r, 503, "The responder is out of memory.");
}

static void on_head(void *arg, struct gw_request *r)
{
	(void)arg;
	if (wire_is(r, "/refused"))
		gw_http_refuse(r, 404, "Nothing is at this path.");
	if (wire_is(r, "/small"))
		r->max_body = 10;
}

static void on_request(void *arg, struct gw_request *r)
{
	struct gw_field fields[] = { { "X-A", "b" }, { "X-C", "d" } };
	struct gw_answer a = { .status = 200,
		.content_type = "text/plain",
		.fields = fields,
		.n_fields = 2,
		.body = r->payload.data + r->body_at,
		.size = r->payload.size - r->body_at };

	(void)arg;
	if (wire_is(r, "/later")) {
		w->later[w->n_later++] = r;
		return;
	}
	if (wire_is(r, "/large")) {
		a.body = large_bytes;
		a.size = LARGE;
		a.block = &large;
	}
	if (gw_http_answer(r, &a) != BASE_OK)
		refuse_memory(r);
}

static void on_done(void *arg, const struct gw_request *r)
{
	wire_on_done(arg, r);
}

/* False: not without memory. */
static bool open_listener(void)
{
	struct gw_http_events events = { on_head, on_request, on_done, NULL };
	struct gw_http_conf conf;
	void *state;
	char *why = NULL;
	enum base_err err;

	wire_setup_loop(&state);
	w = state;
	events.arg = w;
	conf = wire_conf(w);
	err = OOM_GET(gw_http_new(w->loop, &conf, &events, &w->http, &why));
	free(why);
	if (err)
		assert_true(err == BASE_NOMEM || err == BASE_IO || err == BASE_CONFIG); /* no address is looked up */
	return !err;
}

static void close_listener(void)
{
	void *state = w;

	(void)wire_teardown(&state);
}

/* ---- what is sent, and what has to come --------------------------------------------------- */

/* answers: as in a table's row, with 503 allowed everywhere. */
struct script {
	const char *pieces[5];
	const char *answers;
};

static char many[4096], huge[WIRE_MAX_HEAD + 4096];

static const struct script scripts[] = {
	{ { "GET /a HT", "TP/1.1\r\nHo", "st: x\r\n", "\r\n" }, "200" },
	{ { GET GET "GET /a HTTP/1.1\r\n", HOST "\r\n" }, "200 200 200" },
	{ { LATER GET "POST /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe", "llo" }, "200 200 200" },
	{ { "POST /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", "what", " it is" },
		"200" },
	{ { "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "2\r\nde", "\r\n0\r\n",
		  "\r\n" GET },
		"200 200" },
	{ { many }, "200" },
	{ { huge }, "431" },
	{ { "POST /refused HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n", "body" GET }, "404 200" },
	{ { "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nb\r\n", "0123456789a" }, "413" },
	{ { "GET /large HTTP/1.1\r\n" HOST "\r\n" GET }, "200 200" },
	{ { GET "nonsense\r\n", "\r\n" }, "200 400" },
	{ { LATER "\r\nGET /half" }, "200" },
};

static void fill(void)
{
	size_t n = (size_t)sprintf(many, "GET /a HTTP/1.1\r\n" HOST);

	for (unsigned i = 0; i < 150; i++)
		n += (size_t)sprintf(many + n, "X-Header-%u: %u\r\n", i, i);
	sprintf(many + n, "\r\n");
	memset(huge, 'h', sizeof huge - 1);
	memcpy(huge, "GET /a HTTP/1.1\r\nX: ", 20);
}

static void answer_waiting(void)
{
	struct gw_answer a = { .status = 200, .body = "late", .size = 4 };

	while (w->n_later > 0) {
		struct gw_request *r = w->later[--w->n_later];
		if (OOM_GET(gw_http_answer(r, &a)) != BASE_OK)
			OOM(refuse_memory(r));
	}
}

/* Each is what the script says, or 503. */
static void see_answers(const struct script *s, const struct answers *a)
{
	const char *at = s->answers;

	for (unsigned i = 0; i < a->n; i++) {
		unsigned long wanted = strtoul(at, (char **)(uintptr_t)&at, 10);
		if (a->status[i] != wanted && (a->status[i] != 503 || oom_nth == 0))
			fail_msg("%u instead of \"%s\", at %u", a->status[i], s->answers, i);
	}
}

static void play(const struct script *s)
{
	struct client c = client_open(gw_http_address(w->http));
	unsigned wanted = wire_wanted(s->answers);
	struct answers a;

	wire_forget(w);
	armed = true;
	for (unsigned i = 0; i < 5 && s->pieces[i] && !c.closed; i++)
		(void)client_say(w->loop, &c, s->pieces[i]);
	do {
		answer_waiting();
		step(w->loop, &c, UINT64_MAX, "an answer");
		wire_read(w, &c, &a);
	} while (!a.wrong && !c.closed && (a.n < wanted || a.last));
	armed = false;
	if (a.wrong)
		fail_msg("%s in %s", a.wrong, (const char *)c.in.data);
	see_answers(s, &a);
	assert_true(a.n == wanted || (c.closed && oom_nth > 0));
	client_close(&c);
}

static void wire_path(void)
{
	struct client c;

	fill();
	if (!open_listener()) {
		w->http = NULL;
		close_listener();
		return;
	}
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
		play(&scripts[i]);
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
	assert_int_equal(gw_http_requests(w->http), 0);
	assert_int_equal(gw_http_held(w->http), 0);
	assert_int_equal(large.refs, 1);
	c = client_open(gw_http_address(w->http));
	wire_forget(w);
	assert_true(wire_put(w, &c, GET, strlen(GET)));
	until(w->loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 200);
	client_close(&c);
	close_listener();
}

static void test_wire(void **state)
{
	(void)state;
	oom_sweep("HTTP on the wire", wire_path, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_wire) };

	return cmocka_run_group_tests_name("HTTP on the wire, out of memory", tests, NULL, NULL);
}
