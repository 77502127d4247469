/* For the tests of the HTTP layer: a listener, and a responder whose answer is in the path.
 *
 * /later waits, /echo answers with the body, /small does so and takes 10 bytes of it, /id answers
 * with the request's id, /odd with odd headers, /empty with 204, /large with LARGE_BYTES; /refused
 * is 404 at its head. Everything else is answered with its target.
 */
#ifndef HTTP_RESPONDER_H
#define HTTP_RESPONDER_H

#include "http_fixture.h"

#include "gateway/http.h"

#define MAX_LATER   16
#define MAX_HEAD    (32u * 1024)
#define MAX_BODY    (64u * 1024)
#define LARGE_BYTES (32u * 1024 * 1024) /* more than any socket's buffers take */

struct fixture {
	struct net_loop *loop;
	struct gw_http *http;
	struct base_rand rand;
	struct base_ulid_maker ulids;
	struct gw_request *later[MAX_LATER]; /* /later: not answered yet */
	size_t n_later;
	unsigned heads, requests, done;
	unsigned last_status; /* of on_done */
	uint64_t last_bytes;
	char last_first[32]; /* METHOD TARGET */
};

static inline void answer_text(struct gw_request *r, const char *text, size_t size)
{
	struct gw_answer a = {
		.status = 200, .content_type = "text/plain", .body = text, .size = size
	};

	assert_int_equal(gw_http_answer(r, &a), BASE_OK);
}

static inline bool is_path(const struct gw_request *r, const char *path)
{
	return gw_slice_equal(r->target, gw_slice_of(path));
}

static inline bool is_later(const struct gw_request *r)
{
	return r->target.size >= 6 && memcmp(r->target.data, "/later", 6) == 0;
}

static inline void on_head(void *arg, struct gw_request *r)
{
	struct fixture *f = arg;

	f->heads++;
	if (is_path(r, "/refused"))
		gw_http_refuse(r, 404, "Nothing is at this path.");
	if (is_path(r, "/small"))
		r->max_body = 10;
}

static inline void answer_odd(struct gw_request *r)
{
	struct gw_field cookies[] = { { "Set-Cookie", "a=1" }, { "Set-Cookie", "b=2" },
		{ "X-Empty", "" } };
	struct gw_answer bad = { .status = 200,
		.fields = &(struct gw_field){ "X-Bad", "a\r\nX-Injected: 1" },
		.n_fields = 1 };
	struct gw_answer good = { .status = 201, .fields = cookies, .n_fields = 3 };

	assert_int_equal(gw_http_answer(r, &bad), BASE_INVALID);
	assert_false(gw_http_is_answered(r));
	assert_int_equal(gw_http_answer(r, &good), BASE_OK);
}

static inline void on_request(void *arg, struct gw_request *r)
{
	struct fixture *f = arg;

	f->requests++;
	if (is_later(r)) {
		assert_true(f->n_later < MAX_LATER);
		f->later[f->n_later++] = r;
	} else if (is_path(r, "/echo") || is_path(r, "/small")) {
		answer_text(r, (const char *)r->payload.data + r->body_at,
			r->payload.size - r->body_at);
	} else if (is_path(r, "/odd")) {
		answer_odd(r);
	} else if (is_path(r, "/id")) {
		answer_text(r, r->id_text, strlen(r->id_text));
	} else if (is_path(r, "/peer")) {
		answer_text(r, r->peer_text, strlen(r->peer_text));
	} else if (is_path(r, "/empty")) {
		assert_int_equal(
			gw_http_answer(
				r, &(struct gw_answer){ .status = 204, .body = "x", .size = 1 }),
			BASE_OK);
	} else if (is_path(r, "/large")) {
		size_t size = LARGE_BYTES;
		char *bytes = calloc(1, size);
		assert_non_null(bytes);
		answer_text(r, bytes, size);
		free(bytes);
	} else {
		answer_text(r, (const char *)r->target.data, r->target.size);
	}
}

static inline void on_done(void *arg, const struct gw_request *r)
{
	struct fixture *f = arg;

	f->done++;
	f->last_status = r->status;
	f->last_bytes = r->bytes;
	snprintf(f->last_first, sizeof f->last_first, "%.*s %.*s", (int)r->method.size,
		r->method.data, (int)r->target.size, r->target.data);
}

static inline struct gw_http_conf plain_conf(struct fixture *f)
{
	return (struct gw_http_conf){ .address = "127.0.0.1:0",
		.listen_fd = -1,
		.max_head = MAX_HEAD,
		.max_body = MAX_BODY,
		.max_connections = 64,
		.head_ms = 60000,
		.body_ms = 60000,
		.idle_ms = 60000,
		.user_bytes = 64,
		.rand = &f->rand,
		.ulids = &f->ulids };
}

static inline void open_server(struct fixture *f, const struct gw_http_conf *conf)
{
	struct gw_http_events events = { on_head, on_request, on_done, f };
	char *why;

	if (gw_http_new(f->loop, conf, &events, &f->http, &why) != BASE_OK)
		fail_msg("%s", why);
}

static inline int setup_loop(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	base_rand_init(&f->rand, 1);
	assert_int_equal(net_loop_new(&f->loop), BASE_OK);
	*state = f;
	return 0;
}

static inline int setup(void **state)
{
	struct gw_http_conf conf;

	setup_loop(state);
	conf = plain_conf(*state);
	open_server(*state, &conf);
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	gw_http_free(&f->http);
	net_loop_free(&f->loop);
	free(f);
	return 0;
}

static inline struct client ask(struct fixture *f, const char *request)
{
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, request);
	until(f->loop, &c, c.closed || response_whole(&c, strncmp(request, "HEAD", 4) == 0));
	return c;
}

#endif
