#include "base/manifest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/cron.h"
#include "base/json.h"
#include "base/text.h"
#include "base/zone_file.h"

/* ---- the schema ------------------------------------------------------------- */

#define MINUTE 60000u
#define HOUR   (60u * MINUTE)
#define DAY    (24u * HOUR)

/* clang-format off */
#define FIELD(type, member) offsetof(struct base_manifest##type, member)

static const struct base_manifest_key http_keys[] = {
	{ "method", BASE_MANIFEST_METHOD, FIELD(_route, method), NULL, 0, 0, true, NULL, "the HTTP method that is answered" },
	{ "path", BASE_MANIFEST_ROUTE, FIELD(_route, path), NULL, 0, 0, true, NULL, "the path, with {parameters}" },
	{ "async", BASE_MANIFEST_BOOL, FIELD(_route, async), "false", 0, 0, false, NULL, "answer 202 and run the request as an event" },
	{ "ack", BASE_MANIFEST_ACK, FIELD(_route, ack_memory), "disk", 0, 0, false, NULL, "when an event of this route is accepted: once it is on disk, or in the broker's memory" },
	{ 0 },
};

static const struct base_manifest_key timer_keys[] = {
	{ "name", BASE_MANIFEST_SERVICE, FIELD(_timer, name), NULL, 0, 0, true, NULL, "the timer's name, once in a service" },
	{ "cron", BASE_MANIFEST_CRON, FIELD(_timer, cron), NULL, 0, 0, false, NULL, "when: minute hour day month weekday, or @hourly and the like; this or every" },
	{ "every", BASE_MANIFEST_DURATION, FIELD(_timer, every_ms), NULL, 1000, 30 * (uint64_t)DAY, false, NULL, "how often, in whole seconds; this or cron" },
	{ "zone", BASE_MANIFEST_ZONE, FIELD(_timer, zone), NULL, 0, 0, false, NULL, "the time zone of cron; UTC without it" },
	{ "data", BASE_MANIFEST_DATA, FIELD(_timer, data), NULL, 0, 0, false, NULL, "what its events carry, as JSON" },
	{ "missed", BASE_MANIFEST_MISSED, FIELD(_timer, missed), "once", 0, 0, false, NULL, "times that passed while nothing ran: run none, the latest or all of them" },
	{ "overlap", BASE_MANIFEST_OVERLAP, FIELD(_timer, overlap), "skip", 0, 0, false, NULL, "a time that comes while the last run goes on: left out, or run beside it" },
	{ 0 },
};

static const struct base_manifest_key event_keys[] = {
	{ "type", BASE_MANIFEST_PATTERN, FIELD(_subscription, type), NULL, 0, 0, true, NULL, "the types of events that are delivered, a * for any sequence" },
	{ "source", BASE_MANIFEST_PATTERN, FIELD(_subscription, source), NULL, 0, 0, false, NULL, "their sources; otherwise any" },
	{ "subject", BASE_MANIFEST_PATTERN, FIELD(_subscription, subject), NULL, 0, 0, false, NULL, "their subjects; otherwise any" },
	{ 0 },
};

static const struct base_manifest_key redis_keys[] = {
	{ "name", BASE_MANIFEST_SERVICE, FIELD(_source, name), NULL, 0, 0, false, NULL, "its name, once in a service, for figures and logs" },
	{ "url", BASE_MANIFEST_URL, FIELD(_source, url), NULL, 0, 0, true, NULL, "where that Redis is, without a password; or $NAME, for which the gateways have PIRN_SOURCE_NAME" },
	{ "stream", BASE_MANIFEST_TEXT, FIELD(_source, stream), NULL, 1, 512, false, NULL, "a stream: each entry is an event; this or keys" },
	{ "group", BASE_MANIFEST_TEXT, FIELD(_source, group), NULL, 1, 128, false, NULL, "the stream's consumer group; the service's name without it" },
	{ "keys", BASE_MANIFEST_TEXT, FIELD(_source, keys), NULL, 1, 512, false, NULL, "a pattern of keys: their changes are events, as long as somebody listens; this or stream" },
	{ "ops", BASE_MANIFEST_OPS, FIELD(_source, ops), NULL, 0, 0, false, NULL, "which changes of keys: set, del, expired and the like" },
	{ 0 },
};

/* Kinds without keys are words of the language that this version does not speak yet. */
static const struct base_manifest_key kinds[] = {
	{ "http", BASE_MANIFEST_MAP, 0, NULL, 0, 0, false, http_keys, "an HTTP route" },
	{ "timer", BASE_MANIFEST_MAP, 0, NULL, 0, 0, false, timer_keys, "times at which it is run" },
	{ "event", BASE_MANIFEST_MAP, 0, NULL, 0, 0, false, event_keys, "events of a type" },
	{ "redis", BASE_MANIFEST_MAP, 0, NULL, 0, 0, false, redis_keys, "what happens in another Redis" },
	{ "queue", BASE_MANIFEST_MAP, 0, NULL, 0, 0, false, NULL, "a named queue" },
	{ 0 },
};

static const struct base_manifest_key retry_keys[] = {
	{ "attempts", BASE_MANIFEST_COUNT, FIELD(_retry, attempts), "10", 1, 100, false, NULL, "runs of an event before it is dead" },
	{ "base", BASE_MANIFEST_DURATION, FIELD(_retry, base_ms), "1s", 1, HOUR, false, NULL, "the first pause, which doubles" },
	{ "max", BASE_MANIFEST_DURATION, FIELD(_retry, max_ms), "5m", 1, DAY, false, NULL, "the longest pause" },
	{ "age", BASE_MANIFEST_DURATION, FIELD(_retry, age_ms), "6h", 1000, 30 * (uint64_t)DAY, false, NULL, "an event older than this is not run again" },
	{ 0 },
};

static const struct base_manifest_key breaker_keys[] = {
	{ "window", BASE_MANIFEST_DURATION, FIELD(_breaker, window_ms), "10s", 1000, 10 * MINUTE, false, NULL, "how far back runs are counted" },
	{ "calls", BASE_MANIFEST_COUNT, FIELD(_breaker, calls), "20", 1, 1000000, false, NULL, "fewer runs than this never open it" },
	{ "failures", BASE_MANIFEST_PERCENT, FIELD(_breaker, failure_percent), "50%", 1, 100, false, NULL, "the share of failed runs that opens it" },
	{ "consecutive", BASE_MANIFEST_COUNT, FIELD(_breaker, consecutive), "5", 1, 1000000, false, NULL, "failures in a row that open it" },
	{ "open", BASE_MANIFEST_DURATION, FIELD(_breaker, open_ms), "5s", 100, HOUR, false, NULL, "how long it stays open the first time" },
	{ "max", BASE_MANIFEST_DURATION, FIELD(_breaker, open_max_ms), "60s", 100, DAY, false, NULL, "how long at most, as it doubles" },
	{ "probes", BASE_MANIFEST_COUNT, FIELD(_breaker, probes), "3", 1, 8, false, NULL, "runs at a time while it is half-open" },
	{ "successes", BASE_MANIFEST_COUNT, FIELD(_breaker, successes), "5", 1, 1000, false, NULL, "of them in a row close it" },
	{ "slow", BASE_MANIFEST_PERCENT, FIELD(_breaker, slow_percent), "80%", 1, 100, false, NULL, "a run that takes more of its timeout counts as failed" },
	{ 0 },
};

static const struct base_manifest_key queue_keys[] = {
	{ "items", BASE_MANIFEST_COUNT, FIELD(_queue, items), "0", 0, 10000000, false, NULL, "how many calls may wait in a broker; 0: the broker's own bound" },
	{ "bytes", BASE_MANIFEST_BYTES, FIELD(_queue, bytes), "0", 0, 1u << 30, false, NULL, "how many bytes of calls may wait in a broker; 0: the broker's own bound" },
	{ "age", BASE_MANIFEST_DURATION, FIELD(_queue, age_ms), "0ms", 0, HOUR, false, NULL, "the longest that a call waits; 0: to its deadline" },
	{ "target", BASE_MANIFEST_DURATION, FIELD(_queue, target_ms), "5ms", 1, HOUR, false, NULL, "the longest that a call waits while the service is overloaded" },
	{ "interval", BASE_MANIFEST_DURATION, FIELD(_queue, interval_ms), "100ms", 1, HOUR, false, NULL, "it is overloaded when calls have waited without a break for so long" },
	{ "events", BASE_MANIFEST_COUNT, FIELD(_queue, events), "0", 0, 10000000, false, NULL, "how many accepted events may be open in a broker; 0: the broker's own bound" },
	{ "event_bytes", BASE_MANIFEST_BYTES, FIELD(_queue, event_bytes), "0", 0, 1u << 30, false, NULL, "how many bytes they may have; 0: the broker's own bound" },
	{ "event_age", BASE_MANIFEST_DURATION, FIELD(_queue, event_age_ms), "0ms", 0, DAY, false, NULL, "no more are accepted when the oldest that could run is older; 0: however old" },
	{ 0 },
};

static const struct base_manifest_key schema[] = {
	{ "service", BASE_MANIFEST_SERVICE, FIELD(, service), NULL, 0, 0, true, NULL, "the service's name" },
	{ "handler", BASE_MANIFEST_HANDLER, FIELD(, handler), NULL, 0, 0, true, NULL, "the shared object beside the manifest, or the URL of an HTTP endpoint" },
	{ "description", BASE_MANIFEST_TEXT, FIELD(, description), NULL, 1, 1024, false, NULL, "a sentence for people" },
	{ "version", BASE_MANIFEST_TEXT, FIELD(, version), NULL, 1, 64, false, NULL, "for people" },
	{ "callback", BASE_MANIFEST_HTTP, FIELD(, callback), NULL, 0, 0, false, NULL, "URL to which the outcomes of its events go" },
	{ "events", BASE_MANIFEST_EVENTS, 0, NULL, 0, 0, false, kinds, "what runs the service" },
	{ "timeout", BASE_MANIFEST_DURATION, FIELD(, timeout_ms), "5s", 1, HOUR, false, NULL, "how long one run may take" },
	{ "concurrency", BASE_MANIFEST_COUNT, FIELD(, concurrency), "32", 1, 10000, false, NULL, "runs at once in one worker" },
	{ "concurrency_total", BASE_MANIFEST_COUNT, FIELD(, concurrency_total), "0", 0, 1000000, false, NULL, "runs at once over all workers; 0: no bound" },
	{ "max_body", BASE_MANIFEST_BYTES, FIELD(, max_body_bytes), "0", 0, 64u << 20, false, NULL, "the largest request body; 0: the gateway's own bound" },
	{ "retry", BASE_MANIFEST_MAP, FIELD(, retry), NULL, 0, 0, false, retry_keys, "how failed events are run again" },
	{ "breaker", BASE_MANIFEST_MAP, FIELD(, breaker), NULL, 0, 0, false, breaker_keys, "when the circuit breaker opens" },
	{ "queue", BASE_MANIFEST_MAP, FIELD(, queue), NULL, 0, 0, false, queue_keys, "how much may wait" },
	{ "env", BASE_MANIFEST_PAIRS, FIELD(, env), NULL, 0, 0, false, NULL, "NAME: text, for the service to read" },
	{ "secrets", BASE_MANIFEST_PAIRS, FIELD(, secrets), NULL, 0, 0, false, NULL, "NAME: path of the file that holds the value" },
	{ "headers", BASE_MANIFEST_HEADERS, FIELD(, headers), NULL, 0, 0, false, NULL, "Name: text, headers that an HTTP endpoint gets; ${NAME} in it is a secret" },
	{ 0 },
};
/* clang-format on */

const struct base_manifest_key *base_manifest_schema(void)
{
	return schema;
}

const struct base_manifest_key *base_manifest_find(
	const struct base_manifest_key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

const char *base_manifest_nearest(const struct base_manifest_key *keys, const char *name)
{
	struct base_text_guess guess = { .word = name };

	for (; keys->name; keys++)
		base_text_offer(&guess, keys->name);
	return guess.best;
}

/* ---- life -------------------------------------------------------------------- */

static void pairs_fini(struct base_manifest_pairs *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		free(pairs->items[i].name);
		free(pairs->items[i].value);
	}
	free(pairs->items);
}

void base_manifest_route_fini(struct base_manifest_route *route)
{
	free(route->method);
	free(route->path);
	*route = (struct base_manifest_route){ 0 };
}

void base_manifest_subscription_fini(struct base_manifest_subscription *subscription)
{
	free(subscription->type);
	free(subscription->source);
	free(subscription->subject);
	*subscription = (struct base_manifest_subscription){ 0 };
}

struct base_manifest *base_manifest_new(void)
{
	struct base_manifest *m = calloc(1, sizeof *m);

	if (m && base_manifest_defaults(schema, m))
		base_manifest_free(&m);
	return m;
}

void base_manifest_free(struct base_manifest **mp)
{
	struct base_manifest *m = *mp;

	*mp = NULL;
	if (!m)
		return;
	free(m->service);
	free(m->handler);
	free(m->description);
	free(m->version);
	free(m->callback);
	for (size_t i = 0; i < m->n_routes; i++)
		base_manifest_route_fini(&m->routes[i]);
	free(m->routes);
	for (size_t i = 0; i < m->n_timers; i++)
		base_manifest_timer_fini(&m->timers[i]);
	free(m->timers);
	for (size_t i = 0; i < m->n_subscriptions; i++)
		base_manifest_subscription_fini(&m->subscriptions[i]);
	free(m->subscriptions);
	for (size_t i = 0; i < m->n_sources; i++)
		base_manifest_source_fini(&m->sources[i]);
	free(m->sources);
	pairs_fini(&m->env);
	pairs_fini(&m->secrets);
	pairs_fini(&m->headers);
	free(m);
}

enum base_err base_manifest_defaults(const struct base_manifest_key *keys, void *record)
{
	char why[BASE_MANIFEST_WHY];

	for (; keys->name; keys++) {
		enum base_err err = BASE_OK;
		if (keys->type == BASE_MANIFEST_MAP && keys->keys)
			err = base_manifest_defaults(keys->keys, (char *)record + keys->offset);
		else if (keys->standard)
			err = base_manifest_set(keys, record, keys->standard, why, sizeof why);
		assert(err == BASE_OK ||
			err == BASE_NOMEM); /* a row that refuses its own default is ours */
		if (err)
			return err;
	}
	return BASE_OK;
}

/* ---- converters ---------------------------------------------------------------- */

static const char lower[] = "abcdefghijklmnopqrstuvwxyz";
static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char ten[] = "0123456789";

static size_t span(const char *text, bool capitals, const char *more)
{
	size_t n = 0;

	while (text[n] && (strchr(lower, text[n]) || strchr(ten, text[n]) ||
				  (capitals && strchr(upper, text[n])) || strchr(more, text[n])))
		n++;
	return n;
}

bool base_manifest_is_service(const char *name)
{
	size_t size = span(name, false, "-");

	return size > 0 && name[size] == '\0' && size <= BASE_MANIFEST_NAME_MAX &&
	       strchr(lower, name[0]);
}

bool base_manifest_is_method(const char *method)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE",
		"OPTIONS" };

	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(methods[i], method) == 0)
			return true;
	return false;
}

bool base_manifest_is_pattern(const char *text)
{
	size_t size = strnlen(text, BASE_MANIFEST_PATTERN_MAX + 1);

	if (size == 0 || size > BASE_MANIFEST_PATTERN_MAX || !base_text_is_utf8(text, size))
		return false;
	for (size_t i = 0; i < size; i++)
		if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

static bool is_file(const char *text)
{
	size_t size = strlen(text);

	return size > 0 && size <= 255 && span(text, true, "-_.+") == size && text[0] != '.';
}

bool base_manifest_is_url(const char *handler)
{
	return strncmp(handler, "http://", 7) == 0 || strncmp(handler, "https://", 8) == 0;
}

const char *base_manifest_url_fault(const char *url)
{
	const char *host = strstr(url, "://") + 3;
	size_t size = strcspn(host, "/?");

	if (strlen(url) > BASE_MANIFEST_URL_MAX)
		return "at most 2048 bytes";
	for (const char *at = url; *at; at++)
		if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}", *at))
			return "visible ASCII characters only, others as %XX (a name as xn--...)";
	if (strchr(url, '#'))
		return "no fragment (#...): it is not sent";
	if (memchr(host, '@', size))
		return "no user and no password before the host: a manifest is no place for secrets";
	return size > 0 && host[0] != ':' ? NULL : "a host";
}

static bool read_percent(const char *text, uint64_t *n)
{
	char digits[8];
	size_t size = strlen(text);

	if (size < 2 || size > sizeof digits || text[size - 1] != '%')
		return false;
	memcpy(digits, text, size - 1);
	digits[size - 1] = '\0';
	return base_conf_u64(digits, n);
}

static const char *describe(enum base_manifest_type type)
{
	static const char *const texts[] = {
		[BASE_MANIFEST_TEXT] = "a text",
		[BASE_MANIFEST_SERVICE] =
			"a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -",
		[BASE_MANIFEST_HANDLER] =
			"a file name without a folder, such as hello.so, or a URL such as http://app:3000/hook",
		[BASE_MANIFEST_HTTP] = "a URL such as https://app.example/done",
		[BASE_MANIFEST_METHOD] = "one of GET HEAD POST PUT PATCH DELETE OPTIONS",
		[BASE_MANIFEST_ROUTE] = "a path such as /a/{id}",
		[BASE_MANIFEST_PATTERN] =
			"a pattern of 1 to 255 bytes such as order.*, without control characters",
		[BASE_MANIFEST_BOOL] = "true or false",
		[BASE_MANIFEST_ACK] = "disk or memory",
		[BASE_MANIFEST_CRON] = "five fields such as 0 3 * * mon-fri",
		[BASE_MANIFEST_ZONE] = "a time zone such as Europe/Berlin",
		[BASE_MANIFEST_DATA] = "a value",
		[BASE_MANIFEST_MISSED] = "skip, once or all",
		[BASE_MANIFEST_OVERLAP] = "skip or allow",
		[BASE_MANIFEST_URL] = "a URL such as redis://host:6379/0, or $NAME",
		[BASE_MANIFEST_OPS] = "a list such as [set, del, expired]",
		[BASE_MANIFEST_COUNT] = "a whole number",
		[BASE_MANIFEST_DURATION] = "a duration such as 5s",
		[BASE_MANIFEST_BYTES] = "a size such as 64k",
		[BASE_MANIFEST_PERCENT] = "a percentage such as 50%",
		[BASE_MANIFEST_MAP] = "a mapping",
		[BASE_MANIFEST_PAIRS] = "a mapping of NAME: text",
		[BASE_MANIFEST_HEADERS] = "a mapping of Name: text",
		[BASE_MANIFEST_EVENTS] = "a list",
	};

	return texts[type];
}

static void print_bound(enum base_manifest_type type, uint64_t n, char out[32])
{
	static const struct {
		uint64_t factor;
		const char *unit;
	} units[] = { { DAY, "d" }, { HOUR, "h" }, { MINUTE, "m" }, { 1000, "s" }, { 1, "ms" } };
	unsigned i = 0;

	if (type == BASE_MANIFEST_DURATION) {
		while (n % units[i].factor)
			i++;
		(void)snprintf(out, 32, "%llu%s", (unsigned long long)(n / units[i].factor),
			units[i].unit);
	} else if (type == BASE_MANIFEST_BYTES && n && n % (1u << 20) == 0) {
		(void)snprintf(out, 32, "%llum", (unsigned long long)(n >> 20));
	} else {
		(void)snprintf(out, 32, "%llu%s", (unsigned long long)n,
			type == BASE_MANIFEST_PERCENT ? "%" : "");
	}
}

static bool is_number(enum base_manifest_type type)
{
	return type == BASE_MANIFEST_COUNT || type == BASE_MANIFEST_DURATION ||
	       type == BASE_MANIFEST_BYTES || type == BASE_MANIFEST_PERCENT;
}

void base_manifest_expected(const struct base_manifest_key *key, char *out, size_t room)
{
	char min[32];
	char max[32];

	if (is_number(key->type) && key->max) {
		print_bound(key->type, key->min, min);
		print_bound(key->type, key->max, max);
		(void)snprintf(out, room, "%s, from %s to %s", describe(key->type), min, max);
	} else if (key->type == BASE_MANIFEST_TEXT && key->max) {
		(void)snprintf(out, room, "a text of %llu to %llu bytes",
			(unsigned long long)key->min, (unsigned long long)key->max);
	} else {
		(void)snprintf(out, room, "%s", describe(key->type));
	}
}

static enum base_err set_text(char **field, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return BASE_NOMEM;
	free(*field);
	*field = copy;
	return BASE_OK;
}

static enum base_err set_bool(bool *field, const char *text, const char *no, const char *yes)
{
	if (strcmp(text, no) != 0 && strcmp(text, yes) != 0)
		return BASE_INVALID;
	*field = strcmp(text, yes) == 0;
	return BASE_OK;
}

static enum base_err set_number(
	const struct base_manifest_key *key, uint32_t *field, const char *text)
{
	uint64_t n;
	uint64_t max = key->max ? key->max : UINT32_MAX;
	bool ok = key->type == BASE_MANIFEST_DURATION  ? base_conf_ms(text, &n)
		  : key->type == BASE_MANIFEST_BYTES   ? base_conf_bytes(text, &n)
		  : key->type == BASE_MANIFEST_PERCENT ? read_percent(text, &n)
						       : base_conf_u64(text, &n);

	if (!ok)
		return BASE_INVALID;
	if (n < key->min || n > max)
		return BASE_RANGE;
	*field = (uint32_t)n;
	return BASE_OK;
}

static enum base_err set_missed(uint32_t *field, const char *text)
{
	static const char *const words[] = { [BASE_MANIFEST_MISSED_SKIP] = "skip",
		[BASE_MANIFEST_MISSED_ONCE] = "once",
		[BASE_MANIFEST_MISSED_ALL] = "all" };

	for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(words[i], text) != 0)
			continue;
		*field = i;
		return BASE_OK;
	}
	return BASE_INVALID;
}

static enum base_err set_zone(char **field, const char *text)
{
	struct base_zone *zone = NULL;
	enum base_err err = base_zone_load(text, &zone);

	base_zone_free(&zone);
	return err ? err : set_text(field, text);
}

static enum base_err check_cron(const char *text, char *why, size_t room)
{
	struct base_cron cron;

	if (strlen(text) > BASE_MANIFEST_CRON_MAX) {
		(void)snprintf(why, room, "expected at most %d bytes", BASE_MANIFEST_CRON_MAX);
		return BASE_TOO_LARGE;
	}
	return base_cron_parse(text, &cron, why, room) ? BASE_OK : BASE_INVALID;
}

static enum base_err check_data(const char *text, char *why, size_t room)
{
	struct base_json value;
	const char *fault;
	size_t at;

	if (base_json_check(text, strlen(text), BASE_MANIFEST_DATA_DEPTH, &value, &fault, &at))
		return BASE_OK;
	(void)snprintf(why, room, "%s, at byte %zu", fault, at);
	return BASE_INVALID;
}

static enum base_err check_http(const char *text, char *why, size_t room)
{
	const char *fault = base_manifest_is_url(text) ? base_manifest_url_fault(text) : NULL;
	char quoted[BASE_TEXT_QUOTED];

	if (!fault)
		return BASE_OK;
	base_text_quote(quoted, sizeof quoted, text, strlen(text));
	(void)snprintf(why, room, "expected %s, got %s", fault, quoted);
	return BASE_INVALID;
}

static enum base_err convert(const struct base_manifest_key *key, void *field, const char *text)
{
	size_t size = strlen(text);

	switch (key->type) {
	case BASE_MANIFEST_TEXT:
		if (size < key->min || (key->max && size > key->max))
			return BASE_RANGE;
		return base_text_is_utf8(text, size) ? set_text(field, text) : BASE_INVALID;
	case BASE_MANIFEST_SERVICE:
		return base_manifest_is_service(text) ? set_text(field, text) : BASE_INVALID;
	case BASE_MANIFEST_HANDLER:
		return base_manifest_is_url(text) || is_file(text) ? set_text(field, text)
								   : BASE_INVALID;
	case BASE_MANIFEST_HTTP:
		return base_manifest_is_url(text) ? set_text(field, text) : BASE_INVALID;
	case BASE_MANIFEST_METHOD:
		return base_manifest_is_method(text) ? set_text(field, text) : BASE_INVALID;
	case BASE_MANIFEST_ROUTE:
	case BASE_MANIFEST_URL:
		return set_text(field, text);
	case BASE_MANIFEST_PATTERN:
		return base_manifest_is_pattern(text) ? set_text(field, text) : BASE_INVALID;
	case BASE_MANIFEST_BOOL:
		return set_bool(field, text, "false", "true");
	case BASE_MANIFEST_ACK:
		return set_bool(field, text, "disk", "memory");
	case BASE_MANIFEST_OVERLAP:
		return set_bool(field, text, "skip", "allow");
	case BASE_MANIFEST_MISSED:
		return set_missed(field, text);
	case BASE_MANIFEST_CRON:
	case BASE_MANIFEST_DATA:
		return set_text(field, text);
	case BASE_MANIFEST_ZONE:
		return set_zone(field, text);
	case BASE_MANIFEST_COUNT:
	case BASE_MANIFEST_DURATION:
	case BASE_MANIFEST_BYTES:
	case BASE_MANIFEST_PERCENT:
		return set_number(key, field, text);
	case BASE_MANIFEST_MAP:
	case BASE_MANIFEST_PAIRS:
	case BASE_MANIFEST_HEADERS:
	case BASE_MANIFEST_OPS:
	case BASE_MANIFEST_EVENTS:
		break;
	}
	return BASE_TYPE;
}

enum base_err base_manifest_set(const struct base_manifest_key *key, void *record, const char *text,
	char *why, size_t why_room)
{
	char expected[160];
	char quoted[BASE_TEXT_QUOTED];
	enum base_err err = BASE_OK;

	if (key->type == BASE_MANIFEST_ROUTE)
		err = base_manifest_path_check(text, why, why_room);
	else if (key->type == BASE_MANIFEST_URL)
		err = base_manifest_url_check(text, why, why_room);
	else if (key->type == BASE_MANIFEST_CRON)
		err = check_cron(text, why, why_room);
	else if (key->type == BASE_MANIFEST_DATA)
		err = check_data(text, why, why_room);
	else if (key->type == BASE_MANIFEST_HANDLER || key->type == BASE_MANIFEST_HTTP)
		err = check_http(text, why, why_room);
	if (err)
		return err;
	err = convert(key, (char *)record + key->offset, text);
	if (err == BASE_NOMEM)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	if (err == BASE_OK || err == BASE_NOMEM)
		return err;
	base_manifest_expected(key, expected, sizeof expected);
	base_text_quote(quoted, sizeof quoted, text, strlen(text));
	(void)snprintf(why, why_room, "expected %s, got %s", expected, quoted);
	return err;
}

/* ---- subscriptions ------------------------------------------------------------------- */

/* Lists grow by doubling: a list of n has room for the next power of two. */
static bool is_full(size_t n)
{
	return (n & (n - 1)) == 0;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_known(
	const struct base_manifest *m, const struct base_manifest_subscription *subscription)
{
	for (size_t i = 0; i < m->n_subscriptions; i++)
		if (is_same_text(m->subscriptions[i].type, subscription->type) &&
			is_same_text(m->subscriptions[i].source, subscription->source) &&
			is_same_text(m->subscriptions[i].subject, subscription->subject))
			return true;
	return false;
}

static enum base_err append_subscription(
	struct base_manifest *m, struct base_manifest_subscription *subscription)
{
	struct base_manifest_subscription *list = m->subscriptions;

	if (is_full(m->n_subscriptions)) {
		list = realloc(
			list, (m->n_subscriptions ? m->n_subscriptions * 2 : 1) * sizeof *list);
		if (!list)
			return BASE_NOMEM;
		m->subscriptions = list;
	}
	list[m->n_subscriptions++] = *subscription;
	*subscription = (struct base_manifest_subscription){ 0 };
	return BASE_OK;
}

enum base_err base_manifest_add_subscription(struct base_manifest *m,
	struct base_manifest_subscription *subscription, char *why, size_t why_room)
{
	enum base_err err;

	if (m->n_subscriptions == BASE_MANIFEST_SUBSCRIPTIONS_MAX) {
		(void)snprintf(why, why_room, "expected at most %d subscriptions",
			BASE_MANIFEST_SUBSCRIPTIONS_MAX);
		return BASE_FULL;
	}
	if (is_known(m, subscription)) {
		(void)snprintf(why, why_room, "is given twice");
		return BASE_EXISTS;
	}
	err = append_subscription(m, subscription);
	if (err)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	return err;
}

/* ---- what holds between fields ------------------------------------------------------- */

static enum base_err blame(
	const char **key, const char *where, char *why, size_t room, const char *text)
{
	*key = where;
	(void)snprintf(why, room, "%s", text);
	return BASE_INVALID;
}

enum base_err base_manifest_check(
	const struct base_manifest *m, const char **key, char *why, size_t why_room)
{
	if (!m->service)
		return blame(key, "service", why, why_room, "is missing");
	if (!m->handler)
		return blame(key, "handler", why, why_room, "is missing");
	if (strncmp(m->service, BASE_MANIFEST_RESERVED, strlen(BASE_MANIFEST_RESERVED)) == 0)
		return blame(key, "service", why, why_room,
			"names that begin with " BASE_MANIFEST_RESERVED " are Pirn's own");
	if (base_manifest_is_url(m->handler) && m->env.n > 0)
		return blame(key, "env", why, why_room,
			"is for native services: an HTTP endpoint has an environment of its own");
	if (!base_manifest_is_url(m->handler) && m->headers.n > 0)
		return blame(key, "headers", why, why_room,
			"is for HTTP endpoints: a native service reads env and secrets");
	for (size_t i = 0; base_manifest_is_url(m->handler) && i < m->secrets.n; i++)
		if (!base_manifest_names_secret(&m->headers, m->secrets.items[i].name)) {
			*key = "secrets";
			(void)snprintf(why, why_room,
				"an HTTP endpoint gets secrets in headers, and none has ${%s}",
				m->secrets.items[i].name);
			return BASE_INVALID;
		}
	if (m->retry.base_ms > m->retry.max_ms)
		return blame(key, "retry", why, why_room, "expected base to be at most max");
	for (size_t i = 0; i < m->secrets.n; i++)
		if (base_manifest_pair_get(&m->env, m->secrets.items[i].name)) {
			*key = "secrets";
			(void)snprintf(
				why, why_room, "%s is in env, too", m->secrets.items[i].name);
			return BASE_EXISTS;
		}
	return BASE_OK;
}
