/* GET /v1/timers: the timers of all services, as this gateway has them from the brokers'
 * registry: what is last and next is what a broker said. POST /v1/timers/{service}/{name}/fire
 * has one happen now, besides its slots: neither its chain nor its overlap looks at it.
 */
#include <stdio.h>

#include "base/when.h"
#include "gateway/gw.h"
#include "gateway/jsonout.h"
#include "gateway/timer.h"

static void put_time(struct gw_json *j, const char *key, uint64_t ms)
{
	char text[BASE_WHEN_TEXT + 1];

	base_when_print(ms, text);
	gw_json_str(j, key, ms > 0 && ms != UINT64_MAX ? text : NULL);
}

static void put_timer(void *arg, const struct gw_timer_view *v)
{
	static const char *const missed[] = {
		[GW_MISSED_SKIP] = "skip", [GW_MISSED_ONCE] = "once", [GW_MISSED_ALL] = "all"
	};
	struct gw_json *j = arg;
	char text[BASE_ULID_TEXT + 1];

	gw_json_open(j, NULL, '{');
	gw_json_str(j, "service", v->service);
	gw_json_str(j, "name", v->name);
	if (v->cron)
		gw_json_str(j, "cron", v->cron);
	else
		gw_json_u64(j, "every_ms", v->every_ms);
	gw_json_str(j, "zone", v->zone);
	gw_json_str(j, "missed", missed[v->missed]);
	gw_json_str(j, "overlap", v->overlap ? "allow" : "skip");
	put_time(j, "last", v->last_ms);
	put_time(j, "next", v->next_ms);
	if (v->running)
		base_ulid_print(v->running, text);
	gw_json_str(j, "running", v->running ? text : NULL);
	gw_json_str(j, "fault", v->fault);
	gw_json_close(j, '}');
}

void gw_api_timers(struct gw *gw, struct gw_request *r)
{
	struct base_buf body;
	struct gw_json j;

	base_buf_init(&body);
	j = gw_json_on(&body);
	gw_json_open(&j, NULL, '{');
	gw_json_open(&j, "timers", '[');
	gw_timers_each(gw->timers, put_timer, &j);
	gw_json_close(&j, ']');
	gw_json_close(&j, '}');
	base_buf_chr(&body, '\n');
	gw_answer_json(r, 200, &body);
	base_buf_fini(&body);
}

/* ---- firing ------------------------------------------------------------------------- */

static void answer_fired(struct gw_request *r, const uint8_t id[BASE_ULID_SIZE])
{
	char location[sizeof GW_INVOCATIONS + BASE_ULID_TEXT] = GW_INVOCATIONS;
	struct gw_field field = { "Location", location };
	struct gw_answer a = { .status = 202, .fields = &field, .n_fields = 1 };
	struct base_buf body;
	struct gw_json j;

	base_ulid_print(id, location + sizeof GW_INVOCATIONS - 1);
	base_buf_init(&body);
	j = gw_json_on(&body);
	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "id", location + sizeof GW_INVOCATIONS - 1);
	gw_json_str(&j, "location", location);
	gw_json_close(&j, '}');
	base_buf_chr(&body, '\n');
	gw_answer_with(r, &a, &body);
	base_buf_fini(&body);
}

static void on_fired(void *arg, const struct client_reply *reply)
{
	struct gw_request *r = arg;

	if (reply->reason == PIRN__REASON__NONE)
		answer_fired(r, reply->id);
	else
		gw_answer_reason(r, reply->reason, reply->status, reply->retry_after_ms);
}

static bool copy_name(struct gw_slice s, char out[BASE_MANIFEST_NAME_MAX + 1])
{
	if (s.size > BASE_MANIFEST_NAME_MAX || memchr(s.data, '\0', s.size))
		return false;
	memcpy(out, s.data, s.size);
	out[s.size] = '\0';
	return base_manifest_is_service(out);
}

void gw_api_timer_fire(struct gw *gw, struct gw_request *r)
{
	char service[BASE_MANIFEST_NAME_MAX + 1], name[BASE_MANIFEST_NAME_MAX + 1];
	uint8_t id[BASE_ULID_SIZE];
	enum base_err err = BASE_NOT_FOUND;

	gw_serve_target(gw, r);
	if (copy_name(gw->target.segments[2], service) && copy_name(gw->target.segments[3], name))
		err = gw_timers_fire(gw->timers, service, name, id, on_fired, r);
	if (err == BASE_NOT_FOUND)
		gw_answer_not_found(gw, r, "No such timer is known.");
	else if (err == BASE_FULL)
		gw_answer_later(r, "Too many calls and events are under way.");
	else if (err)
		gw_http_problem(r, &gw_no_memory);
}
