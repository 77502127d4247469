/* Answers: from struct gw_answer to what libmicrohttpd sends. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "gateway/http_parts.h"
#include "gateway/problem.h"

#define SLOWEST_BYTES_PER_S (16u * 1024)

static void unref_block(void *arg)
{
	struct base_block *block = arg;

	base_block_unref(&block);
}

static struct MHD_Response *make_body(const struct gw_answer *a)
{
	struct MHD_Response *response;

	if (a->size == 0 || a->status == 204 || a->status == 304)
		return MHD_create_response_from_buffer(
			0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
	if (!a->block)
		return MHD_create_response_from_buffer(
			a->size, (void *)(uintptr_t)a->body, MHD_RESPMEM_MUST_COPY);
	base_block_ref(a->block);
	response = MHD_create_response_from_buffer_with_free_callback_cls(
		a->size, (void *)(uintptr_t)a->body, unref_block, a->block);
	if (!response)
		unref_block(a->block);
	return response;
}

/* libmicrohttpd takes no empty value; a header without one says nothing, and is left out. */
static bool add_field(struct MHD_Response *response, const char *name, const char *value)
{
	return !value || !*value || MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_fields(
	struct gw_record *r, struct MHD_Response *response, const struct gw_answer *a)
{
	bool close = r->close || r->pub.http->last;

	for (size_t i = 0; i < a->n_fields; i++)
		if (!add_field(response, a->fields[i].name, a->fields[i].value))
			return false;
	return add_field(response, "Content-Type", a->content_type) &&
	       add_field(response, "X-Request-Id", r->pub.id_text) &&
	       (!close || add_field(response, "Connection", "close"));
}

/* The time for sending starts; a long answer may take longer. */
static void start_sending(struct gw_record *r)
{
	const struct gw_http_conf *conf = &r->pub.http->conf;
	uint64_t rate = conf->slowest_bytes_per_s ? conf->slowest_bytes_per_s : SLOWEST_BYTES_PER_S;
	uint64_t per_turn = rate * conf->idle_ms / 1000 + 1;

	r->conn->extensions = (unsigned)(r->pub.bytes / per_turn);
	gw_conn_stage(r->conn, GW_STAGE_SEND);
	gw_record_drop(r);
	gw_room_hold(r->conn, (size_t)r->pub.bytes);
	(void)gw_room_fits(r->pub.http, r->conn);
}

enum MHD_Result gw_answer_queue(struct gw_record *r)
{
	enum MHD_Result queued = MHD_NO;

	if (r->response) {
		start_sending(r);
		queued = MHD_queue_response(r->mhd, r->pub.status, r->response);
		MHD_destroy_response(r->response);
		r->response = NULL;
	}
	if (queued != MHD_YES)
		r->pub.status = 0;
	return queued;
}

/* Within the handler the response waits for libmicrohttpd's next call; a suspended one goes out now. */
static void settle(
	struct gw_record *r, struct MHD_Response *response, unsigned status, uint64_t bytes)
{
	assert(!r->answered);
	r->answered = true;
	r->discard = true;
	r->response = response;
	r->pub.status = status;
	r->pub.bytes = bytes;
	if (!r->suspended)
		return;
	(void)gw_answer_queue(r); /* when it fails the handler is called again, and closes */
	r->suspended = false;
	MHD_resume_connection(r->mhd);
	r->pub.http->ready = true;
}

enum base_err gw_http_answer(struct gw_request *q, const struct gw_answer *a)
{
	struct gw_record *r = gw_record_of(q);
	struct MHD_Response *response = make_body(a);
	bool bodiless =
		a->status == 204 || a->status == 304 || gw_slice_equal(q->method, GW_SLICE("HEAD"));

	assert(a->status >= 200 && a->status <= 599);
	if (!response)
		return BASE_NOMEM;
	errno = 0; /* libmicrohttpd does not say by itself why it takes no header */
	if (!add_fields(r, response, a)) {
		enum base_err err = errno == ENOMEM ? BASE_NOMEM : BASE_INVALID;
		MHD_destroy_response(response);
		return err;
	}
	settle(r, response, a->status, bodiless ? 0 : a->size);
	return BASE_OK;
}

bool gw_http_is_answered(const struct gw_request *q)
{
	return gw_record_of(q)->answered;
}

void gw_http_problem(struct gw_request *q, const struct gw_problem *p)
{
	struct gw_field fields[2];
	struct gw_answer a = {
		.status = p->status, .content_type = GW_PROBLEM_TYPE, .fields = fields
	};
	struct base_buf body;
	char seconds[16];

	base_buf_init(&body);
	gw_problem_write(&body, p->status, p->detail, q->id_text);
	if (p->retry_after_s) {
		(void)snprintf(seconds, sizeof seconds, "%u", p->retry_after_s);
		fields[a.n_fields++] = (struct gw_field){ "Retry-After", seconds };
	}
	if (p->allow)
		fields[a.n_fields++] = (struct gw_field){ "Allow", p->allow };
	a.body = body.data;
	a.size = body.size;
	if (base_buf_check(&body) != BASE_OK || gw_http_answer(q, &a) != BASE_OK)
		settle(gw_record_of(q), NULL, 0, 0);
	base_buf_fini(&body);
}
