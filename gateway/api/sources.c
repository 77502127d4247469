/* GET /v1/sources: the sources of all services, and how each fares at this gateway. */
#include "gateway/gw.h"
#include "gateway/jsonout.h"
#include "gateway/source.h"

static void put_ops(struct gw_json *j, const struct gw_source_view *v)
{
	gw_json_open(j, "ops", '[');
	for (size_t i = 0; i < v->n_ops; i++)
		gw_json_str(j, NULL, v->ops[i]);
	gw_json_close(j, ']');
}

static void put_source(void *arg, const struct gw_source_view *v)
{
	struct gw_json *j = arg;

	gw_json_open(j, NULL, '{');
	gw_json_str(j, "service", v->service);
	gw_json_str(j, "name", v->name);
	gw_json_str(j, "url", v->url);
	if (v->stream) {
		gw_json_str(j, "stream", v->stream);
		gw_json_str(j, "group", v->group ? v->group : v->service);
	} else {
		gw_json_str(j, "keys", v->keys);
		put_ops(j, v);
		gw_json_bool(j, "listening", v->listens);
	}
	gw_json_str(j, "state", !v->here ? "not_here" : v->up ? "up" : "down");
	gw_json_str(j, "fault", v->fault);
	gw_json_u64(j, "unsettled", v->unsettled);
	gw_json_u64(j, "accepted", v->accepted);
	gw_json_u64(j, "refused", v->refused);
	if (v->stream)
		gw_json_u64(j, "taken_over", v->taken);
	else
		gw_json_u64(j, "lost", v->lost);
	gw_json_close(j, '}');
}

void gw_api_sources(struct gw *gw, struct gw_request *r)
{
	struct base_buf body;
	struct gw_json j;

	base_buf_init(&body);
	j = gw_json_on(&body);
	gw_json_open(&j, NULL, '{');
	gw_json_open(&j, "sources", '[');
	if (gw->sources) /* not with --sources off */
		gw_sources_each(gw->sources, put_source, &j);
	gw_json_close(&j, ']');
	gw_json_close(&j, '}');
	base_buf_chr(&body, '\n');
	gw_answer_json(r, 200, &body);
	base_buf_fini(&body);
}
