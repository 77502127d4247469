/* A gateway whose memory may run out: requests over real sockets, in a loop where allocations may fail while it
 * runs, and what may become of their answers. To be included by one file of a test program, before
 * the gateway's own headers.
 */
#ifndef TESTS_OOM_GATEWAY_H
#define TESTS_OOM_GATEWAY_H

#include "tests/oom/oom.h"

#include "net/loop.h"
#include "proto/pirn.pb-c.h"

static bool armed;

#define WITH_MEMORY(expression) \
	__extension__({ \
		unsigned depth_ = oom_depth; \
		oom_depth = 0; \
		__typeof__(expression) made_ = (expression); \
		oom_depth = depth_; \
		made_; \
	})

#define uv_run(...)                     (armed ? OOM_GET(uv_run(__VA_ARGS__)) : uv_run(__VA_ARGS__))
#define pirn__http_request__unpack(...) WITH_MEMORY(pirn__http_request__unpack(__VA_ARGS__))

#include "tests/unit/gateway_rig.h"

#define HOST "Host: x\r\n"
#define ID   "01ARZ3NDEKTSV4RRFFQ69G5FAV"

/* ---- what is answered ------------------------------------------------------------------ */

#define SLOTS 64

/* With all the memory there is; the first run is that. */
static struct {
	unsigned status;
	char body[8192];
} words[SLOTS];

OOM_API bool was_asked(size_t calls, unsigned questions, unsigned probes)
{
	return engine.answer_fn || engine.n_calls > calls || engine.n_questions > questions ||
	       engine.n_probes > probes;
}

/* True: the engine has its question; false: it is answered, or the connection is over. */
OOM_API bool say(const struct gw_http *h, const char *request, struct client *c)
{
	size_t calls = engine.n_calls;
	unsigned questions = engine.n_questions, probes = engine.n_probes;

	*c = client_open(gw_http_address(h));
	engine.answer_fn = NULL;
	armed = true;
	(void)client_say(gw.loop, c, request);
	until(gw.loop, c,
		c->closed || response_whole(c, false) || was_asked(calls, questions, probes));
	armed = false;
	return was_asked(calls, questions, probes);
}

OOM_API void await(struct client *c)
{
	armed = true;
	until(gw.loop, c, c->closed || response_whole(c, false));
	armed = false;
}

/* A problem's last member: each request's own, and none when there was no room for a record. */
OOM_API void strike_out_id(char *body)
{
	char *at = strstr(body, ",\"request_id\":\"");

	if (at)
		strcpy(at, "}\n");
}

/* The right answer, a 503 that says when to ask again, or none. */
OOM_API void see_end(struct client *c, unsigned slot)
{
	char body[sizeof words[slot].body];
	unsigned status = response_status(c);

	if (status == 0 || !response_whole(c, false)) {
		assert_true(c->closed && words[slot].status != 0);
		client_close(c);
		return;
	}
	assert_true(strlen(response_body(c)) < sizeof body);
	strcpy(body, response_body(c));
	strike_out_id(body);
	if (words[slot].status == 0) {
		words[slot].status = status;
		strcpy(words[slot].body, body);
	}
	if (status == words[slot].status) {
		assert_string_equal(body, words[slot].body);
	} else {
		if (status != 503)
			fail_msg("%u: %s", status, body);
		expect_problem(c, 503);
		expect_retry_after(c, "1");
	}
	client_close(c);
}

#define REPLY_TO(fn_, ...) \
	do { \
		armed = true; \
		OOM((fn_)(__VA_ARGS__)); \
		armed = false; \
	} while (0)

#endif
