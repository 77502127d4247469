/* Redis's side of the shell: the connection, what it promises, the registry in it, and
 * what the core asks of it.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "broker/shell_parts.h"
#include "store/functions_lua.h"

#define RETELL_MS 10000

/* Room for two of the largest events under way and a dozen full entries. Not more: while
 * Redis reads nothing hiredis gathers it all in one piece, and moves the rest of it at
 * each write once Redis reads again. */
#define MAX_BYTES    (48u << 20)
#define MAX_COMMANDS 16384

static const char unknown[] =
	"Redis does not let itself be asked for its settings (CONFIG GET): see to it that it "
	"has appendonly yes, appendfsync always and maxmemory-policy noeviction";
static const char unreachable[] = "Redis cannot be reached: events are not accepted, calls go on";

/* ---- the registry, and replies */

static void on_entry(void *arg, const Pirn__Entry *entry)
{
	struct brk_shell *s = arg;
	if (!s->ended)
		brk_shell_execute(s, brk_core_entry(s->core, brk_shell_now_ms(s), entry));
}

static void on_read(void *arg)
{
	brk_shell_listen(arg);
}

static void on_told(void *arg, const struct brk_told *told)
{
	struct brk_shell *s = arg;
	brk_shell_execute(s, brk_core_told(s->core, brk_shell_now_ms(s), told));
	brk_shell_answered(s);
}

/* ---- what Redis promises */

static void tell_durable(struct brk_shell *s)
{
	if (!s->ended)
		brk_shell_execute(s, brk_core_durable(s->core, brk_shell_now_ms(s), s->durable,
					     s->sentences, s->n_sentences));
}

static void log_sentences(const struct brk_shell *s, const struct store_check *check)
{
	for (size_t i = 0; i < check->n; i++)
		base_log(s->durable ? BASE_WARN : BASE_ERROR, "store_unsafe",
			LOG_STR("redis", store_redis_shown(s->redis)),
			LOG_STR("why", check->sentences[i]),
			LOG_STR("then", s->durable ? "events are accepted all the same, as told"
						   : "events are refused"));
	if (!check->known)
		base_log(BASE_WARN, "store_settings_unknown",
			LOG_STR("redis", store_redis_shown(s->redis)), LOG_STR("why", unknown));
}

/* What cannot be asked is believed; what is known to be wrong is not, unless told. */
static void on_check(void *arg, const struct store_check *check)
{
	struct brk_shell *s = arg;
	s->durable = check->n == 0 || s->settings->durability == BRK_DURABILITY_EVERYSEC;
	memcpy(s->sentences, check->sentences, sizeof check->sentences);
	s->n_sentences = check->n;
	if (!check->known)
		s->sentences[s->n_sentences++] = unknown;
	log_sentences(s, check);
	tell_durable(s);
}

/* ---- up and down */

/* The settings are asked for before the core opens its epoch: so they are known before
 * anything is stored by this connection. When that cannot be asked the connection has
 * fallen again, or memory is out; then this Redis is not trusted until the next one. */
static void on_up(void *arg)
{
	struct brk_shell *s = arg;
	s->told_at = 0;
	base_log(BASE_INFO, "store_up", LOG_STR("redis", store_redis_shown(s->redis)));
	if (s->ended)
		return;
	s->durable = false;
	if (store_check_start(s->redis, on_check, s) != BASE_OK)
		tell_durable(s);
	brk_shell_execute(s, brk_core_store(s->core, brk_shell_now_ms(s), true));
	brk_catalog_up(s->catalog, s->redis);
}

static void tell_down(struct brk_shell *s, const char *why)
{
	s->told_at = net_loop_now_ms(s->loop);
	snprintf(s->told, sizeof s->told, "%s", why);
	base_log(BASE_WARN, "store_down", LOG_STR("redis", store_redis_shown(s->redis)),
		LOG_STR("why", why),
		LOG_STR("then",
			"calls go on, events are refused, the registry is kept in memory; still trying"));
}

/* Whether it was durable is kept: the core may hold new events back for a moment, in which Redis comes
 * up again. */
static void on_down(void *arg, const char *why)
{
	struct brk_shell *s = arg;
	brk_catalog_down(s->catalog);
	tell_down(s, why);
	if (s->ended)
		return;
	brk_shell_execute(s, brk_core_store(s->core, brk_shell_now_ms(s), false));
	s->sentences[0] = unreachable;
	s->n_sentences = 1;
	tell_durable(s);
	brk_shell_listen(s);
}

/* Somebody who mends the address and then meets a wrong password wants to hear of it. */
void brk_shell_store_retell(struct brk_shell *s)
{
	if (s->told_at == 0 || net_loop_now_ms(s->loop) - s->told_at < RETELL_MS)
		return;
	const char *why = store_redis_why(s->redis);
	if (strcmp(why, s->told) != 0)
		tell_down(s, why);
}

/* ---- life */

bool brk_shell_has_redis(const struct brk_settings *settings)
{
	return strcmp(settings->redis, "none") != 0;
}

struct store_bounds brk_shell_bounds(const struct brk_settings *settings)
{
	return (struct store_bounds){ .dedupe_max = settings->dedupe_max,
		.dedupe_ms = settings->dedupe_ttl_ms,
		.results_max = settings->results_max,
		.result_ttl_ms = settings->result_ttl_ms };
}

enum base_err brk_shell_store_new(struct brk_shell *s, char **why)
{
	const struct brk_settings *set = s->settings;
	const struct store_redis_events events = { on_up, on_down, s };
	const struct store_bounds bounds = brk_shell_bounds(set);
	const struct brk_catalog_conf catalog = { .max_services = set->max_services,
		.on_read = on_read };
	const struct store_redis_conf conf = { .url = set->redis,
		.name = s->name,
		.command_ms = set->redis_ms,
		.max_commands = MAX_COMMANDS,
		.max_bytes = MAX_BYTES,
		.library = store_functions_lua };
	enum base_err err = brk_catalog_new(s->loop, &catalog, on_entry, s, &s->catalog);
	if (!err)
		err = brk_carrier_new(s->loop, &bounds, on_told, s, &s->carrier);
	if (err || !brk_shell_has_redis(set))
		return err;
	return store_redis_new(s->loop, &conf, &events, &s->redis, why);
}

/* Redis first: its open commands end in the other two. */
void brk_shell_store_free(struct brk_shell *s)
{
	if (s->carrier)
		brk_carrier_mute(s->carrier);
	store_redis_free(&s->redis);
	brk_carrier_free(&s->carrier);
	brk_catalog_free(&s->catalog);
}
