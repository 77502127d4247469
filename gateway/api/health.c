/* /healthz: this process lives. /readyz: calls have somewhere to go. Events may not: Redis
 * is away, or the brokers will not rely on it. That is said in the answer (events, warnings)
 * and leaves the status alone, since whoever takes a gateway out of its balancer for it
 * loses the calls as well, and no other gateway would do better. */
#include "gateway/gw.h"
#include "gateway/jsonout.h"
#include "gateway/problem.h"

void gw_api_healthz(struct gw *gw, struct gw_request *r)
{
	static const char body[] = "{\"status\":\"ok\"}\n";
	struct gw_answer a = { .status = 200,
		.content_type = "application/json",
		.body = body,
		.size = sizeof body - 1 };

	(void)gw;
	if (gw_http_answer(r, &a) != BASE_OK)
		gw_http_problem(r, &gw_no_memory);
}

static void write_ready(struct base_buf *out, const struct gw *gw, size_t brokers)
{
	struct gw_json j = gw_json_on(out);

	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "status", "ready");
	gw_json_u64(&j, "brokers", brokers);
	gw_serve_show_events(gw, &j);
	gw_json_close(&j, '}');
	base_buf_chr(out, '\n');
}

/* A problem with two members more: what asks for readiness asks for brokers, too. */
static void write_not_ready(struct base_buf *out, const struct gw_request *r, const char *status,
	const char *detail, size_t brokers)
{
	struct gw_json j = gw_json_on(out);

	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "type", "about:blank");
	gw_json_str(&j, "title", gw_status_phrase(503));
	gw_json_u64(&j, "status", 503);
	gw_json_str(&j, "detail", detail);
	gw_json_str(&j, "request_id", r->id_text);
	gw_json_str(&j, "state", status);
	gw_json_u64(&j, "brokers", brokers);
	gw_json_close(&j, '}');
	base_buf_chr(out, '\n');
}

void gw_api_readyz(struct gw *gw, struct gw_request *r)
{
	size_t brokers = client_engine_brokers(gw->engine);
	bool ready = brokers > 0 && gw->informed && !gw->draining;
	struct gw_answer a = { .status = ready ? 200 : 503,
		.content_type = ready ? "application/json" : GW_PROBLEM_TYPE };
	struct base_buf body;

	base_buf_init(&body);
	if (ready)
		write_ready(&body, gw, brokers);
	else if (gw->draining)
		write_not_ready(&body, r, "draining", "The gateway is about to end.", brokers);
	else
		write_not_ready(&body, r, "waiting",
			brokers ? "No broker has said yet what is served here."
				: "No broker is reachable.",
			brokers);
	a.body = body.data;
	a.size = body.size;
	if (base_buf_check(&body) != BASE_OK || gw_http_answer(r, &a) != BASE_OK)
		gw_http_problem(r, &gw_no_memory);
	base_buf_fini(&body);
}
