/* /v1/invocations/{id}: GET tells what became of an event, and waits for its end with
 * ?wait=30s; DELETE cancels it.
 *
 * Who waits holds a suspended request and a question that all brokers were asked. Once a
 * second it is looked whether its client is still there: if not, the question is
 * forgotten and the request ends. When this gateway is about to end, the question is
 * asked again without waiting, so that the client gets the state of now and comes back
 * elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/conf.h"
#include "client/invocation.h"
#include "gateway/gw.h"
#include "gateway/params.h"
#include "gateway/show.h"

#define WAIT_MOST_MS   60000u
#define CANCEL_WAIT_MS 5000u /* for the end of what is cancelled to be on disk */
#define LOOK_MS        1000u

struct watch {
	struct gw *gw;
	struct gw_request *r;
	struct client_question *question;
	uv_timer_t timer;
	uint8_t id[BASE_ULID_SIZE];
	bool last; /* asked again without waiting */
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The request is answered, or about to be. */
static void end_watch(struct watch *w)
{
	client_question_forget(&w->question);
	uv_close((uv_handle_t *)&w->timer, on_closed);
}

/* ---- answers ------------------------------------------------------------------------- */

static void answer_list(
	struct gw_request *r, unsigned status, const struct client_invocations *told)
{
	struct base_buf out;
	struct gw_json j;

	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_show_invocation(&j, told->list, told->n);
	base_buf_chr(&out, '\n');
	gw_answer_json(r, status, &out);
	base_buf_fini(&out);
}

/* False: it was answered. */
static bool is_found(struct gw_request *r, const struct client_invocations *told)
{
	switch (told->verdict) {
	case CLIENT_FOUND:
		if (told->n > 0)
			return true;
		break;
	case CLIENT_UNKNOWN:
		break;
	case CLIENT_CANNOT_SAY:
		if (told->reason == PIRN__REASON__UNSUPPORTED ||
			told->reason == PIRN__REASON__NO_BROKER ||
			told->reason == PIRN__REASON__NOT_DURABLE)
			gw_answer_reason(r, told->reason, 0, 0);
		else
			gw_answer_later(r,
				"It cannot be said now what became of the event: not all brokers have answered.");
		return false;
	}
	gw_http_refuse(
		r, 404, "No event of this id is known; results are kept for an hour, as a rule.");
	return false;
}

static void on_state(void *arg, const struct client_invocations *told)
{
	struct watch *w = arg;

	w->question = NULL;
	if (is_found(w->r, told))
		answer_list(w->r, 200, told);
	end_watch(w);
}

static bool all_are(const struct client_invocations *told, bool (*is)(uint32_t state))
{
	for (size_t i = 0; i < told->n; i++)
		if (!is(told->list[i]->state))
			return false;
	return true;
}

static bool is_cancelled(uint32_t state)
{
	return state == PIRN__INVOCATION_STATE__CANCELLED_END;
}

/* 200: it is cancelled, now or before. 202: it will be. 409: it had ended otherwise. */
static void answer_cancelled(struct gw_request *r, const struct client_invocations *told)
{
	char detail[128];

	if (all_are(told, is_cancelled) ||
		(told->cancelled && all_are(told, client_invocation_has_ended)))
		answer_list(r, 200, told);
	else if (told->cancelled)
		answer_list(r, 202, told);
	else {
		(void)snprintf(detail, sizeof detail,
			"Nothing can be cancelled any more: the event is %s.",
			client_invocation_state_name(told->list[0]->state));
		gw_http_refuse(r, 409, detail);
	}
}

static void on_cancelled(void *arg, const struct client_invocations *told)
{
	struct watch *w = arg;

	w->question = NULL;
	if (is_found(w->r, told))
		answer_cancelled(w->r, told);
	end_watch(w);
}

/* ---- waiting ------------------------------------------------------------------------- */

static void cannot_ask(struct watch *w)
{
	gw_answer_later(w->r, "The brokers cannot be asked now.");
	end_watch(w);
}

static void on_look(uv_timer_t *timer)
{
	struct watch *w = timer->data;

	if (gw_http_is_gone(w->r)) {
		gw_answer_later(w->r, "The client has left.");
		end_watch(w);
	} else if (w->gw->draining && !w->last) {
		w->last = true;
		client_question_forget(&w->question);
		if (client_invocation_ask(w->gw->engine, w->id, 0, on_state, w, &w->question) !=
			BASE_OK)
			cannot_ask(w);
	}
}

static struct watch *start_watch(struct gw *gw, struct gw_request *r, const uint8_t id[16])
{
	struct watch *w = calloc(1, sizeof *w);

	if (!w || uv_timer_init(net_loop_uv(gw->loop), &w->timer)) {
		free(w);
		gw_http_problem(r, &gw_no_memory);
		return NULL;
	}
	w->gw = gw;
	w->r = r;
	w->timer.data = w;
	memcpy(w->id, id, sizeof w->id);
	return w;
}

static void ask(struct gw *gw, struct gw_request *r, const uint8_t id[16], uint32_t wait_ms)
{
	struct watch *w = start_watch(gw, r, id);

	if (!w)
		return;
	if (client_invocation_ask(gw->engine, id, wait_ms, on_state, w, &w->question) != BASE_OK)
		cannot_ask(w);
	else if (wait_ms)
		(void)uv_timer_start(&w->timer, on_look, LOOK_MS, LOOK_MS);
}

static void cancel(struct gw *gw, struct gw_request *r, const uint8_t id[16])
{
	struct watch *w = start_watch(gw, r, id);

	if (w && client_invocation_cancel(
			 gw->engine, id, CANCEL_WAIT_MS, on_cancelled, w, &w->question) != BASE_OK)
		cannot_ask(w);
}

/* ---- the resource -------------------------------------------------------------------- */

/* False: it was answered. */
static bool read_id(const struct gw *gw, struct gw_request *r, uint8_t id[16])
{
	struct gw_slice segment = gw->target.segments[2];
	char text[BASE_ULID_TEXT + 1] = "";

	if (segment.size == BASE_ULID_TEXT)
		memcpy(text, segment.data, BASE_ULID_TEXT);
	if (base_ulid_parse(text, id))
		return true;
	gw_http_refuse(r, 400, "This is no event's id: it has 26 letters and digits.");
	return false;
}

static bool read_wait(struct gw_slice query, uint32_t *wait_ms, char why[GW_PARAM_WHY])
{
	struct gw_param params[] = { { .name = "wait" }, { 0 } };
	uint64_t ms = 0;

	if (!gw_params_read(query, params, why))
		return false;
	if (params[0].text[0] && !base_conf_ms(params[0].text, &ms)) {
		(void)snprintf(
			why, GW_PARAM_WHY, "The parameter wait is not a duration such as 30s.");
		return false;
	}
	*wait_ms = ms < WAIT_MOST_MS ? (uint32_t)ms : WAIT_MOST_MS;
	return true;
}

void gw_api_invocation(struct gw *gw, struct gw_request *r)
{
	bool cancels = gw_errand_of(r)->method == GW_METHOD_DELETE;
	char why[GW_PARAM_WHY];
	uint8_t id[BASE_ULID_SIZE];
	uint32_t wait_ms = 0;

	gw_serve_target(gw, r);
	if (!read_id(gw, r, id))
		return;
	if (!read_wait(gw->target.query, &wait_ms, why))
		gw_http_refuse(r, 400, why);
	else if (cancels)
		cancel(gw, r, id);
	else
		ask(gw, r, id, wait_ms);
}
