#include "worker/http_request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/version.h"
#include "proto/pirn.pb-c.h"
#include "worker/header.h"

struct maker {
	struct base_arena *arena;
	const struct wrk_run *run;
	const Pirn__HttpRequest *http; /* NULL: it did not come over HTTP */
	struct curl_slist *first, **end;
	enum base_err err;
};

/* ---- bytes ---------------------------------------------------------------------- */

static void *arena_alloc(void *arena, size_t size)
{
	uint8_t *p = base_arena_alloc(arena, size + 1);

	if (p)
		p[size] = 0;
	return p;
}

static void arena_free(void *arena, void *p)
{
	(void)arena, (void)p;
}

static const char *text(const ProtobufCBinaryData *bytes)
{
	return bytes->data ? (const char *)bytes->data : "";
}

/* What stands on a request line ends at a blank. */
static bool is_target(const char *target)
{
	for (; *target; target++)
		if ((unsigned char)*target <= ' ' || *target == 0x7f)
			return false;
	return true;
}

/* ---- lines ------------------------------------------------------------------------ */

static void add_line(struct maker *m, char *line)
{
	struct curl_slist *node = line ? base_arena_alloc(m->arena, sizeof *node) : NULL;

	if (!node) {
		m->err = BASE_NOMEM;
		return;
	}
	*node = (struct curl_slist){ .data = line };
	*m->end = node;
	m->end = &node->next;
}

/* libcurl takes "Name;" for a header without a value, and "Name:" to leave its own out. */
static void add_bytes(
	struct maker *m, const char *name, size_t name_size, const char *value, size_t value_size)
{
	const char *between = value_size > 0 ? ": " : ";";
	size_t gap = strlen(between);
	char *line = base_arena_alloc(m->arena, name_size + gap + value_size + 1);

	if (line) { /* a dozen of them a request: no printf */
		memcpy(line, name, name_size);
		memcpy(line + name_size, between, gap);
		memcpy(line + name_size + gap, value, value_size);
		line[name_size + gap + value_size] = '\0';
	}
	add_line(m, line);
}

static void add(struct maker *m, const char *name, const char *value)
{
	add_bytes(m, name, strlen(name), value, strlen(value));
}

__attribute__((format(printf, 3, 4))) static void add_format(
	struct maker *m, const char *name, const char *format, ...)
{
	char value[128];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(value, sizeof value, format, args);
	va_end(args);
	add(m, name, value);
}

static void strike_out(struct maker *m, const char *name_and_colon)
{
	add_line(m, base_arena_dup(m->arena, name_and_colon, strlen(name_and_colon)));
}

/* ---- the request's own ----------------------------------------------------------------- */

static bool is_like(const Pirn__Header *h, const char *name)
{
	return strlen(name) == h->name.len && strncasecmp(text(&h->name), name, h->name.len) == 0;
}

static const Pirn__Header *find(const struct maker *m, const char *name)
{
	for (size_t i = 0; m->http && i < m->http->n_headers; i++)
		if (is_like(m->http->headers[i], name))
			return m->http->headers[i];
	return NULL;
}

static bool passes(const struct maker *m, const Pirn__Header *h)
{
	if (wrk_header_is_framing(text(&h->name), h->name.len) || is_like(h, "Host") ||
		is_like(h, "Expect") || is_like(h, "Proxy-Authorization"))
		return false;
	if (h->name.len >= 5 && strncasecmp(text(&h->name), "Pirn-", 5) == 0)
		return false;
	if (is_like(h, "Prefer") && (m->run->flags & PIRN__ITEM_FLAG__EVENT))
		return false; /* it was heard */
	return wrk_header_is_name(text(&h->name), h->name.len) &&
	       wrk_header_is_value(text(&h->value), h->value.len);
}

static void add_own(struct maker *m)
{
	for (size_t i = 0; m->http && i < m->http->n_headers; i++) {
		const Pirn__Header *h = m->http->headers[i];

		if (passes(m, h))
			add_bytes(m, text(&h->name), h->name.len, text(&h->value), h->value.len);
	}
}

static void add_forwarded(struct maker *m)
{
	const Pirn__Header *host = find(m, "Host");
	const char *remote = m->http && m->http->has_remote ? text(&m->http->remote) : "";

	if (*remote && wrk_header_is_value(remote, strlen(remote)) && !find(m, "X-Forwarded-For"))
		add(m, "X-Forwarded-For", remote);
	if (host && wrk_header_is_value(text(&host->value), host->value.len) &&
		!find(m, "X-Forwarded-Host"))
		add_bytes(m, "X-Forwarded-Host", 16, text(&host->value), host->value.len);
	if (host && !find(m, "X-Forwarded-Proto"))
		add(m, "X-Forwarded-Proto", "http");
}

/* ---- ours ---------------------------------------------------------------------------------- */

static void add_trace(struct maker *m)
{
	static const char digits[] = "0123456789abcdef";
	char value[56] = "00-", *at = value + 3;

	if (!m->run->has_trace || find(m, "traceparent"))
		return;
	for (size_t i = 0; i < WRK_TRACE_SIZE; i++) {
		if (i == 16 || i == 24)
			*at++ = '-';
		*at++ = digits[m->run->trace[i] >> 4];
		*at++ = digits[m->run->trace[i] & 15];
	}
	*at = '\0';
	add(m, "traceparent", value);
}

static void add_ours(struct maker *m, const char *service, const char *came_to)
{
	bool event = (m->run->flags & PIRN__ITEM_FLAG__EVENT) != 0;
	uint64_t now_us = base_clock_us();
	uint64_t left_us = m->run->deadline_us > now_us ? m->run->deadline_us - now_us : 0;
	char id[BASE_ULID_TEXT + 1];

	base_ulid_print(m->run->id, id);
	add(m, event ? "Pirn-Event-Id" : "Pirn-Call-Id", id);
	add(m, "Pirn-Service", service);
	add_format(m, "Pirn-Attempt", "%" PRIu32, m->run->attempt);
	add_format(m, "Pirn-Timeout", "%" PRIu64 "ms", (left_us + 999) / 1000);
	if (*came_to)
		add(m, "Pirn-Target", came_to);
	add_trace(m);
}

/* Methods whose requests always have a body, be it empty. */
static bool is_posted(const struct maker *m)
{
	static const char *const methods[] = { "POST", "PUT", "PATCH" };

	for (size_t i = 0; m->http && i < sizeof methods / sizeof *methods; i++)
		if (strcmp(text(&m->http->method), methods[i]) == 0)
			return true;
	return !m->http;
}

static void add_the_rest(struct maker *m)
{
	if (!find(m, "User-Agent"))
		add(m, "User-Agent", "Pirn/" PIRN_VERSION);
	if (!find(m, "Accept"))
		strike_out(m, "Accept:");
	if (m->run->data_size == 0 && !is_posted(m))
		return; /* the others go with a body only, and each line costs libcurl some */
	if (!find(m, "Content-Type"))
		strike_out(m, "Content-Type:");
	strike_out(m, "Expect:");
}

/* ---- where it goes ---------------------------------------------------------------------------- */

static const char *choose_target(struct base_arena *arena, const char *path, const char *came_to)
{
	const char *query = strchr(came_to, '?');
	size_t room;
	char *out;

	if (!path)
		return came_to[0] == '/' ? came_to : "/";
	if (!query || !query[1])
		return path;
	room = strlen(path) + strlen(query) + 1;
	out = base_arena_alloc(arena, room);
	if (out)
		(void)snprintf(out, room, "%s%c%s", path, strchr(path, '?') ? '&' : '?', query + 1);
	return out;
}

static enum base_err open_http(struct maker *m)
{
	ProtobufCAllocator allocator = { arena_alloc, arena_free, m->arena };
	const struct wrk_run *run = m->run;

	if (run->meta_size == 0)
		return BASE_OK;
	m->http = pirn__http_request__unpack(&allocator, run->meta_size, run->in.data);
	if (!m->http)
		return m->arena->starved ? BASE_NOMEM : BASE_PROTOCOL;
	if (!wrk_header_is_name(text(&m->http->method), m->http->method.len) ||
		!is_target(text(&m->http->target)))
		return BASE_PROTOCOL;
	return BASE_OK;
}

enum base_err wrk_http_request_make(struct base_arena *arena, const struct wrk_run *run,
	const char *service, const char *path, struct wrk_http_request *out)
{
	struct maker m = { .arena = arena, .run = run };
	const Pirn__Header *callback;
	const char *came_to;

	m.end = &m.first;
	m.err = open_http(&m);
	if (m.err)
		return m.err;
	came_to = m.http ? text(&m.http->target) : "";
	callback = find(&m, "Pirn-Callback-Url");
	add_own(&m);
	add_forwarded(&m);
	add_ours(&m, service, came_to);
	add_the_rest(&m);
	*out = (struct wrk_http_request){ .method = m.http ? text(&m.http->method) : "POST",
		.has_body = run->data_size > 0 || is_posted(&m),
		.target = choose_target(arena, path, came_to),
		.headers = m.first,
		.callback = callback ? text(&callback->value) : NULL };
	return out->target ? m.err : BASE_NOMEM;
}

enum base_err wrk_http_request_add(struct base_arena *arena, struct wrk_http_request *request,
	const char *name, const char *value)
{
	struct maker m = { .arena = arena, .first = request->headers };

	m.end = &m.first;
	while (*m.end)
		m.end = &(*m.end)->next;
	add(&m, name, value);
	request->headers = m.first;
	return m.err;
}

static bool is_named(const char *line, const char *name)
{
	size_t size = strlen(name);

	return strncasecmp(line, name, size) == 0 && (line[size] == ':' || line[size] == ';');
}

enum base_err wrk_http_request_set(struct base_arena *arena, struct wrk_http_request *request,
	const char *name, const char *value)
{
	struct curl_slist **at = &request->headers;

	while (*at)
		if (is_named((*at)->data, name))
			*at = (*at)->next;
		else
			at = &(*at)->next;
	return wrk_http_request_add(arena, request, name, value);
}
