#include "gateway/event.h"

#include "base/clock.h"
#include "base/conf.h"
#include "base/manifest.h"
#include "base/when.h"
#include "gateway/jsonout.h"
#include "gateway/prefer.h"

#define DETAIL(text) text " Add Prefer: respond-async to have the request run as an event."

static bool prefers_async(const struct gw_request *r)
{
	if (!r->known[GW_HEADER_PREFER])
		return false;
	for (size_t i = 0; i < r->n_headers; i++)
		if (r->headers[i].known == GW_HEADER_PREFER && gw_prefer_async(r->headers[i].value))
			return true;
	return false;
}

static bool read_delay(struct gw_slice value, uint64_t *ms)
{
	char text[24];

	if (value.size >= sizeof text)
		return false;
	memcpy(text, value.data, value.size);
	text[value.size] = '\0';
	return base_conf_ms(text, ms) && *ms <= GW_EVENT_AHEAD_MS;
}

/* The past is as good as now. */
static bool read_not_before(struct gw_slice value, uint64_t *ms)
{
	return base_when_parse(value.data, value.size, ms) &&
	       *ms <= base_clock_unix_ms() + GW_EVENT_AHEAD_MS;
}

/* NULL, or what is wrong. */
static const char *read_times(const struct gw_request *r, struct gw_errand *e)
{
	const struct gw_header *delay = r->known[GW_HEADER_PIRN_DELAY];
	const struct gw_header *not_before = r->known[GW_HEADER_PIRN_NOT_BEFORE];

	if (!e->event && delay)
		return DETAIL("Pirn-Delay is for events.");
	if (!e->event && not_before)
		return DETAIL("Pirn-Not-Before is for events.");
	if (delay && !read_delay(delay->value, &e->delay_ms))
		return "Pirn-Delay is not a duration such as 500ms, 10m or 1d, at most 366d.";
	if (not_before && !read_not_before(not_before->value, &e->not_before_ms))
		return "Pirn-Not-Before must be a time such as 2026-12-31T09:00:00Z, at most 366 days ahead.";
	return NULL;
}

/* Whether the host can be called is the worker's to say. */
static const char *read_callback(const struct gw_request *r, struct gw_errand *e)
{
	const struct gw_header *h = r->known[GW_HEADER_PIRN_CALLBACK];
	char url[BASE_MANIFEST_URL_MAX + 1];
	bool ok;

	if (!h)
		return NULL;
	if (!e->event)
		return DETAIL("Pirn-Callback is for events.");
	ok = h->value.size < sizeof url && !memchr(h->value.data, '\0', h->value.size);
	if (ok) {
		memcpy(url, h->value.data, h->value.size);
		url[h->value.size] = '\0';
		ok = base_manifest_is_url(url) && !base_manifest_url_fault(url);
	}
	e->callback = h->value;
	return ok ? NULL
		  : "Pirn-Callback is not a URL such as https://app.example/done, of http or https, without user and fragment, at most 2,048 bytes.";
}

static bool take_times(struct gw_request *r)
{
	const char *fault = read_times(r, gw_errand_of(r));

	if (!fault)
		fault = read_callback(r, gw_errand_of(r));
	if (fault)
		gw_http_refuse(r, 400, fault);
	return !fault;
}

bool gw_event_head(struct gw_request *r, const struct gw_match *match)
{
	struct gw_errand *e = gw_errand_of(r);

	e->preferred = prefers_async(r);
	e->event = e->preferred || (match && match->route->async);
	e->ack_memory = match && match->route->ack_memory;
	return take_times(r);
}

bool gw_event_posted(struct gw_request *r)
{
	struct gw_errand *e = gw_errand_of(r);

	e->preferred = prefers_async(r);
	e->event = true;
	return take_times(r) && gw_invoke_timeout(r, 0);
}

void gw_event_fill(const struct gw_errand *e, struct client_request *request)
{
	if (!e->event)
		return;
	request->event = true;
	request->want_result = true;
	request->ack_memory = e->ack_memory;
	request->callback = e->callback.data;
	request->callback_size = e->callback.size;
	request->delay_ms = e->delay_ms;
	request->not_before_ms = e->not_before_ms;
}

void gw_event_accepted(struct gw_request *r, const struct client_reply *reply)
{
	struct gw_errand *e = gw_errand_of(r);
	char location[sizeof GW_INVOCATIONS + BASE_ULID_TEXT] = GW_INVOCATIONS;
	struct gw_field fields[3] = { { "Location", location } };
	struct gw_answer a = { .status = 202, .fields = fields, .n_fields = 1 };
	struct base_buf body;
	struct gw_json j;

	e->has_invocation = true;
	memcpy(e->invocation, reply->id, sizeof e->invocation);
	base_ulid_print(reply->id, location + sizeof GW_INVOCATIONS - 1);
	if (e->preferred)
		fields[a.n_fields++] = (struct gw_field){ "Preference-Applied", "respond-async" };
	if (reply->replayed)
		fields[a.n_fields++] = (struct gw_field){ GW_REPLAYED, "true" };
	base_buf_init(&body);
	j = gw_json_on(&body);
	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "id", location + sizeof GW_INVOCATIONS - 1);
	if (e->served->name[0])
		gw_json_str(&j, "service", e->served->name);
	gw_json_str(&j, "location", location);
	gw_json_close(&j, '}');
	base_buf_chr(&body, '\n');
	a.content_type = "application/json";
	a.body = body.data;
	a.size = body.size;
	/* It is accepted: to say that there is no memory would be a refusal, and it would be sent anew. */
	if (base_buf_check(&body) || gw_http_answer(r, &a))
		gw_answer_reason(r, PIRN__REASON__UNDECIDED, 0, 0);
	base_buf_fini(&body);
}
