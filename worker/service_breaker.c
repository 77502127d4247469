/* The breakers of include/pirn/service.h, on worker/breakers.h. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/request.h"

static int code_of(enum base_err err)
{
	switch (err) {
	case BASE_OK:
		return PIRN_OK;
	case BASE_UNAVAILABLE:
		return PIRN_ERR_OPEN;
	case BASE_FULL:
		return PIRN_ERR_LIMIT;
	case BASE_NOMEM:
		return PIRN_ERR_NOMEM;
	default:
		return PIRN_ERR_INVALID;
	}
}

/* ---- settings --------------------------------------------------------------------- */

static void choose(uint32_t *to, uint32_t value)
{
	if (value > 0)
		*to = value;
}

static bool is_right(const struct pirn_breaker_options *o)
{
	for (size_t i = 0; i < sizeof o->later / sizeof *o->later; i++)
		if (o->later[i] != 0)
			return false;
	return o->failure_percent <= 100 && o->probes <= BASE_BREAKER_PROBES;
}

static struct base_breaker_conf conf_of(const struct pirn_breaker_options *o)
{
	struct base_breaker_conf conf = base_breaker_standard;

	choose(&conf.window_ms, o->window_ms);
	choose(&conf.calls, o->calls);
	choose(&conf.failure_percent, o->failure_percent);
	choose(&conf.consecutive, o->consecutive);
	choose(&conf.open_ms, o->open_ms);
	choose(&conf.open_max_ms, o->open_max_ms);
	choose(&conf.probes, o->probes);
	choose(&conf.successes, o->successes);
	choose(&conf.probe_ms, o->probe_ms);
	return conf;
}

int pirn_breaker_set(const char *name, const struct pirn_breaker_options *options)
{
	const struct wrk_where *where = wrk_native_where();
	struct base_breaker_conf conf = base_breaker_standard;

	if (!where->native || where->request || (options && !is_right(options)))
		return PIRN_ERR_INVALID;
	if (options)
		conf = conf_of(options);
	return code_of(
		wrk_breakers_set(wrk_native_breakers(where->native), name, &conf, base_clock_ms()));
}

/* ---- passes ----------------------------------------------------------------------- */

static struct wrk_pass *find(struct pirn_request *req, const char *name)
{
	for (size_t i = 0; i < WRK_PASSES; i++)
		if (req->passes[i].breaker && strcmp(wrk_pass_name(&req->passes[i]), name) == 0)
			return &req->passes[i];
	return NULL;
}

static struct wrk_pass *find_free(struct pirn_request *req)
{
	for (size_t i = 0; i < WRK_PASSES; i++)
		if (!req->passes[i].breaker)
			return &req->passes[i];
	return NULL;
}

int pirn_breaker_enter(struct pirn_request *req, const char *name)
{
	struct wrk_pass *pass = find_free(req);
	uint64_t now_ms = base_clock_ms(), until_ms = req->run->deadline_us / 1000;

	if (!name || find(req, name))
		return PIRN_ERR_INVALID;
	if (!pass)
		return PIRN_ERR_LIMIT;
	if (now_ms >= until_ms)
		return PIRN_ERR_TIMEOUT;
	pass->hurried = req->run->hurried;
	return code_of(wrk_breakers_enter(
		wrk_native_breakers(req->native), name, now_ms, until_ms, pass, &req->open_ms));
}

void pirn_breaker_leave(struct pirn_request *req, const char *name, bool ok)
{
	struct wrk_pass *pass = name ? find(req, name) : NULL;

	if (pass)
		wrk_breakers_leave(wrk_native_breakers(req->native), pass, base_clock_ms(), ok);
	else
		base_log(BASE_WARN, "breaker_not_entered",
			LOG_STR("service", wrk_native_name(req->native)),
			LOG_STR("run", pirn_request_id(req)), LOG_STR("breaker", name));
}

uint64_t pirn_breaker_wait_ms(struct pirn_request *req, const char *name)
{
	return wrk_breakers_wait_ms(wrk_native_breakers(req->native), name, base_clock_ms());
}

void wrk_request_leave_breakers(struct pirn_request *req)
{
	for (size_t i = 0; i < WRK_PASSES; i++)
		if (req->passes[i].breaker)
			wrk_breakers_leave(wrk_native_breakers(req->native), &req->passes[i],
				base_clock_ms(), false);
}
