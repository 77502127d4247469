/* GET /v1/invocations?service=&state=&limit=&after=: events that have not ended, over all
 * brokers, oldest first. Those that have ended are asked for by their ids, dead ones are
 * listed at /v1/dead.
 */
#include <stdio.h>

#include "client/invocation.h"
#include "gateway/gw.h"
#include "gateway/params.h"
#include "gateway/show.h"

#define LIMIT      100
#define LIMIT_MOST 1000

enum { SERVICE, STATE, LIMIT_, AFTER, N_PARAMS };

static bool read_state(const char *text, uint32_t *state, char why[GW_PARAM_WHY])
{
	uint32_t s = PIRN__INVOCATION_STATE__READY;

	while (*text && s <= PIRN__INVOCATION_STATE__ENDING &&
		strcmp(text, client_invocation_state_name(s)) != 0)
		s++;
	if (s > PIRN__INVOCATION_STATE__ENDING) {
		(void)snprintf(why, GW_PARAM_WHY,
			"The parameter state is none of ready, running, waiting, ending: what has ended is asked for by its id.");
		return false;
	}
	*state = *text ? s : 0;
	return true;
}

/* room is where after lies. */
static bool read_filter(const struct gw_param *params, struct client_invocation_filter *f,
	uint8_t room[BASE_ULID_SIZE], char why[GW_PARAM_WHY])
{
	const char *service = params[SERVICE].text, *after = params[AFTER].text;

	if (*service && !base_manifest_is_service(service)) {
		(void)snprintf(why, GW_PARAM_WHY, "The parameter service is no service's name.");
		return false;
	}
	if (*after && !base_ulid_parse(after, room)) {
		(void)snprintf(why, GW_PARAM_WHY, "The parameter after is no event's id.");
		return false;
	}
	f->service = *service ? service : NULL;
	f->after = *after ? room : NULL;
	return read_state(params[STATE].text, &f->state, why) &&
	       gw_params_u32(&params[LIMIT_], LIMIT, 1, LIMIT_MOST, &f->limit, why);
}

/* Deliveries of one event stand together. */
static size_t count_same(Pirn__Invocation *const *list, size_t n)
{
	size_t same = 1;

	while (same < n && list[same]->id.len == list[0]->id.len &&
		memcmp(list[same]->id.data, list[0]->id.data, list[0]->id.len) == 0)
		same++;
	return same;
}

static void on_list(void *arg, const struct client_invocations *told)
{
	struct gw_request *r = arg;
	struct base_buf out;
	struct gw_json j;

	if (told->verdict != CLIENT_FOUND) {
		gw_answer_later(r, "The brokers cannot be asked now.");
		return;
	}
	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '{');
	gw_json_open(&j, "invocations", '[');
	for (size_t i = 0, same; i < told->n; i += same) {
		same = count_same(told->list + i, told->n - i);
		gw_show_invocation(&j, told->list + i, same);
	}
	gw_json_close(&j, ']');
	gw_json_bool(&j, "partial", told->partial);
	gw_json_close(&j, '}');
	base_buf_chr(&out, '\n');
	gw_answer_json(r, 200, &out);
	base_buf_fini(&out);
}

void gw_api_invocations(struct gw *gw, struct gw_request *r)
{
	struct gw_param params[N_PARAMS + 1] = { [SERVICE] = { .name = "service" },
		[STATE] = { .name = "state" },
		[LIMIT_] = { .name = "limit" },
		[AFTER] = { .name = "after" } };
	struct client_invocation_filter filter = { 0 };
	char why[GW_PARAM_WHY];
	uint8_t after[BASE_ULID_SIZE];

	gw_serve_target(gw, r);
	if (!gw_params_read(gw->target.query, params, why) ||
		!read_filter(params, &filter, after, why))
		gw_http_refuse(r, 400, why);
	else if (client_invocation_list(gw->engine, &filter, on_list, r, NULL) != BASE_OK)
		gw_answer_later(r, "The brokers cannot be asked now.");
}
