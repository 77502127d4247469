#include "cli/ready.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "cli/fabric_words.h"
#include "cli/probe.h"

#define AGAIN_MS     20
#define GET_READYZ   "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"
#define GET_SERVICES "GET /v1/services HTTP/1.0\r\nHost: localhost\r\n\r\n"
#define ANSWER_MS    2000
#define BROKERS_MS   30000
#define GATEWAYS_MS  60000
#define SERVICES_MS \
	15000 /* after the gateway is ready; then what is missing is told, and we go on */

struct cli_ready {
	const struct cli_fabric_conf *conf;
	struct net_loop *loop;
	uv_timer_t *timer; /* of its own life: closing takes a turn */
	struct cli_probe *probe;
	cli_ready_fn *fn;
	void *arg;
	bool busy;
	enum cli_group group;
	unsigned member; /* that is asked next */
	bool gateways_ready;
	uint64_t deadline_at;
	char path[64];
	char failure[256];
};

static void ask(struct cli_ready *r);

static void on_timer(uv_timer_t *timer)
{
	ask(timer->data);
}

static void ask_again(struct cli_ready *r, uint64_t after_ms)
{
	uv_timer_start(r->timer, on_timer, after_ms, 0);
}

static void conclude(struct cli_ready *r, const char *failure)
{
	r->busy = false;
	uv_timer_stop(r->timer);
	r->fn(r->arg, r->group, failure);
}

static bool is_late(const struct cli_ready *r)
{
	return r->deadline_at && uv_now(net_loop_uv(r->loop)) >= r->deadline_at;
}

static void set_deadline(struct cli_ready *r, uint64_t ms)
{
	r->deadline_at = ms ? uv_now(net_loop_uv(r->loop)) + ms : 0;
}

/* ---- the gateway's list ------------------------------------------------------ */

static bool is_served(const json_t *list, const char *name)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *service = json_string_value(json_object_get(entry, "service"));

		if (service && strcmp(service, name) == 0)
			return json_integer_value(json_object_get(entry, "workers")) > 0;
	}
	return false;
}

bool cli_ready_has_services(
	const char *json, size_t size, char *const *names, size_t n, const char **missing)
{
	json_t *answer = json_loadb(json, size, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(answer, "services");
	bool all = json_is_array(list);

	*missing = n && !all ? names[0] : NULL;
	for (size_t i = 0; all && i < n; i++)
		if (!is_served(list, names[i])) {
			*missing = names[i];
			all = false;
		}
	json_decref(answer);
	return all;
}

/* The body of an HTTP answer with status 200, or NULL. */
static const char *body_of(const char *answer)
{
	const char *status = strchr(answer, ' ');
	const char *end = strstr(answer, "\r\n\r\n");

	return status && end && strncmp(answer, "HTTP/", 5) == 0 && strncmp(status, " 200", 4) == 0
		       ? end + 4
		       : NULL;
}

/* ---- what an answer means ------------------------------------------------------ */

static void on_services(struct cli_ready *r, const char *answer, size_t size)
{
	const char *body = body_of(answer);
	const char *missing = r->conf->n_names ? r->conf->names[0] : NULL;

	if (body && cli_ready_has_services(body, size - (size_t)(body - answer), r->conf->names,
			    r->conf->n_names, &missing)) {
		conclude(r, NULL);
	} else if (is_late(r)) {
		base_log(BASE_WARN, "service_missing", LOG_STR("service", missing));
		conclude(r, NULL);
	} else {
		ask_again(r, AGAIN_MS);
	}
}

static void on_gateway(struct cli_ready *r, const char *answer)
{
	if (!body_of(answer) && is_late(r)) {
		conclude(r, "a gateway is not ready after 60 s; the lines above say why");
		return;
	}
	if (!body_of(answer)) {
		ask_again(r, AGAIN_MS);
		return;
	}
	r->member++;
	r->gateways_ready = r->member == r->conf->counts[CLI_GATEWAYS];
	if (r->gateways_ready && r->conf->n_names == 0) {
		conclude(r, NULL);
		return;
	}
	if (r->gateways_ready)
		set_deadline(r, SERVICES_MS);
	ask(r);
}

static void on_broker(struct cli_ready *r, bool reached)
{
	if (reached) {
		r->member++;
		ask(r);
	} else if (is_late(r)) {
		(void)snprintf(r->failure, sizeof r->failure,
			"broker-%u does not listen after 30 s; the lines above say why",
			r->member + 1);
		conclude(r, r->failure);
	} else {
		ask_again(r, AGAIN_MS);
	}
}

static void on_answer(void *arg, bool reached, const char *answer, size_t size)
{
	struct cli_ready *r = arg;

	r->probe = NULL;
	switch (r->group) {
	case CLI_REDIS: /* "-LOADING …" takes as long as it takes */
		if (reached && strncmp(answer, "+PONG", 5) == 0)
			conclude(r, NULL);
		else
			ask_again(r, AGAIN_MS);
		break;
	case CLI_BROKERS:
		on_broker(r, reached);
		break;
	case CLI_GATEWAYS:
		if (r->gateways_ready)
			on_services(r, reached ? answer : "", reached ? size : 0);
		else
			on_gateway(r, reached ? answer : "");
		break;
	case CLI_WORKERS:
	case CLI_GROUP__N:
		break;
	}
}

/* ---- asking ---------------------------------------------------------------------- */

static void probe(struct cli_ready *r, const struct cli_probe_conf *conf)
{
	if (cli_probe_start(net_loop_uv(r->loop), conf, on_answer, r, &r->probe) != BASE_OK)
		ask_again(r, AGAIN_MS);
}

/* Not at the port they share, where any one of them answers. */
static void ask_gateway(const struct cli_ready *r, struct cli_probe_conf *conf)
{
	const struct cli_fabric_listener *l = &r->conf->admins[r->gateways_ready ? 0 : r->member];

	if (l->path[0])
		conf->unix_path = l->path;
	else
		conf->address = (const struct sockaddr *)&l->address;
	conf->request = r->gateways_ready ? GET_SERVICES : GET_READYZ;
}

static void ask(struct cli_ready *r)
{
	struct cli_probe_conf conf = { .timeout_ms = ANSWER_MS };

	switch (r->group) {
	case CLI_REDIS:
		conf.unix_path = CLI_REDIS_SOCKET;
		conf.request = "PING\r\n";
		conf.line = true;
		break;
	case CLI_BROKERS:
		if (r->member == r->conf->counts[CLI_BROKERS]) {
			conclude(r, NULL);
			return;
		}
		(void)snprintf(r->path, sizeof r->path, CLI_BROKER_SOCKET, r->member + 1);
		conf.unix_path = r->path;
		break;
	case CLI_GATEWAYS:
		ask_gateway(r, &conf);
		break;
	case CLI_WORKERS: /* the list of services shows whether they are there */
	case CLI_GROUP__N:
		conclude(r, NULL);
		return;
	}
	probe(r, &conf);
}

void cli_ready_begin(struct cli_ready *r, enum cli_group group)
{
	if (r->busy && r->group == group)
		return;
	cli_ready_stop(r);
	r->busy = true;
	r->group = group;
	r->member = 0;
	r->gateways_ready = false;
	uv_update_time(net_loop_uv(r->loop));
	set_deadline(r, group == CLI_BROKERS    ? BROKERS_MS
			: group == CLI_GATEWAYS ? GATEWAYS_MS
						: 0);
	ask_again(r, 0);
}

void cli_ready_stop(struct cli_ready *r)
{
	r->busy = false;
	uv_timer_stop(r->timer);
	cli_probe_cancel(&r->probe);
}

enum base_err cli_ready_new(struct net_loop *loop, const struct cli_fabric_conf *conf,
	cli_ready_fn *fn, void *arg, struct cli_ready **out)
{
	struct cli_ready *r = calloc(1, sizeof *r);
	uv_timer_t *timer = calloc(1, sizeof *timer);

	if (!r || !timer) {
		free(r);
		free(timer);
		return BASE_NOMEM;
	}
	*r = (struct cli_ready){ .conf = conf, .loop = loop, .timer = timer, .fn = fn, .arg = arg };
	uv_timer_init(net_loop_uv(loop), timer);
	timer->data = r;
	*out = r;
	return BASE_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

void cli_ready_free(struct cli_ready **rp)
{
	struct cli_ready *r = *rp;

	*rp = NULL;
	if (!r)
		return;
	cli_ready_stop(r);
	uv_close((uv_handle_t *)r->timer, on_timer_closed);
	free(r);
}
