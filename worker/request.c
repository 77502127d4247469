#include "worker/request.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/text.h"
#include "worker/query.h"
#include "worker/request_read.h"

/* protobuf-c's allocator over the arena. One byte more each time, which is NUL: a `bytes` field has
 * none of its own, and handlers get texts. */
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

/* The target up to its ?, which is where the arena's copy needs a NUL of its own. */
static const char *path_of(struct base_arena *arena, const char *target)
{
	const char *question = strchr(target, '?');

	return question ? base_arena_dup(arena, target, (size_t)(question - target)) : target;
}

static enum base_err open_http(struct pirn_request *req)
{
	ProtobufCAllocator allocator = { arena_alloc, arena_free, &req->arena };

	req->http = wrk_request_read(&req->arena, req->run->in.data, req->run->meta_size);
	if (!req->http && !req->arena.starved)
		req->http = pirn__http_request__unpack(&allocator, req->run->meta_size, req->run->in.data);
	if (!req->http)
		return req->arena.starved ? BASE_NOMEM : BASE_PROTOCOL;
	req->method = text(&req->http->method);
	req->target = text(&req->http->target);
	req->path = path_of(&req->arena, req->target);
	return req->path ? BASE_OK : BASE_NOMEM;
}

enum base_err wrk_request_open(
	struct pirn_request *req, const struct wrk_run *run, struct wrk_native *native)
{
	req->run = run;
	req->native = native;
	req->method = "POST";
	req->target = req->path = "/";
	req->http = NULL;
	req->query = NULL;
	req->n_query = 0;
	req->failed = false;
	req->open_ms = 0;
	req->id[0] = req->trace[0] = '\0';
	if (run->flags & PIRN__ITEM_FLAG__RECORD)
		wrk_replay_open(&req->replay, run, wrk_native_name(native));
	return run->meta_size > 0 ? open_http(req) : BASE_OK;
}

void wrk_request_close(struct pirn_request *req)
{
	wrk_replay_close(&req->replay);
	base_arena_reset(&req->arena);
	req->run = NULL;
	req->native = NULL;
}

/* ---- include/pirn/service.h ------------------------------------------------ */

const char *pirn_request_method(const struct pirn_request *req)
{
	return req->method;
}

const char *pirn_request_target(const struct pirn_request *req)
{
	return req->target;
}

const char *pirn_request_path(const struct pirn_request *req)
{
	return req->path;
}

const void *pirn_request_body(const struct pirn_request *req, size_t *size)
{
	if (size)
		*size = req->run->data_size;
	return req->run->in.data + req->run->meta_size;
}

static bool query_read(struct pirn_request *req)
{
	const char *question = strchr(req->target, '?');
	const char *from = question ? question + 1 : "";

	if (!req->query && wrk_query_parse(&req->arena, from, strlen(from), &req->query,
				   &req->n_query) != BASE_OK)
		req->failed = true;
	return req->query != NULL;
}

const char *pirn_request_query(struct pirn_request *req, const char *name, size_t *size)
{
	if (!query_read(req))
		return NULL;
	for (size_t i = 0; i < req->n_query; i++) {
		if (strcmp(req->query[i].name, name) != 0 ||
			strlen(name) != req->query[i].name_size)
			continue;
		if (size)
			*size = req->query[i].value_size;
		return req->query[i].value;
	}
	return NULL;
}

bool pirn_request_query_at(struct pirn_request *req, size_t i, struct pirn_pair *pair)
{
	if (!query_read(req) || i >= req->n_query)
		return false;
	*pair = req->query[i];
	return true;
}

static struct pirn_pair pair_of(const Pirn__Header *h)
{
	return (struct pirn_pair){ text(&h->name), text(&h->value), h->name.len, h->value.len };
}

const char *pirn_request_param(const struct pirn_request *req, const char *name, size_t *size)
{
	struct pirn_pair pair;

	for (size_t i = 0; pirn_request_param_at(req, i, &pair); i++) {
		if (strcmp(pair.name, name) != 0)
			continue;
		if (size)
			*size = pair.value_size;
		return pair.value;
	}
	return NULL;
}

bool pirn_request_param_at(const struct pirn_request *req, size_t i, struct pirn_pair *pair)
{
	if (!req->http || i >= req->http->n_params)
		return false;
	*pair = pair_of(req->http->params[i]);
	return true;
}

const char *pirn_request_header(const struct pirn_request *req, const char *name)
{
	struct pirn_pair pair;

	for (size_t i = 0; pirn_request_header_at(req, i, &pair); i++)
		if (strcasecmp(pair.name, name) == 0)
			return pair.value;
	return NULL;
}

bool pirn_request_header_at(const struct pirn_request *req, size_t i, struct pirn_pair *pair)
{
	if (!req->http || i >= req->http->n_headers)
		return false;
	*pair = pair_of(req->http->headers[i]);
	return true;
}

/* A value that is written when it is first asked for does not make the request another one. */
static struct pirn_request *lazily(const struct pirn_request *req)
{
	union {
		const struct pirn_request *from;
		struct pirn_request *to;
	} same = { req };

	return same.to;
}

const char *pirn_request_attribute(struct pirn_request *req, const char *name)
{
	const char *raw = NULL;
	struct pirn_pair pair;
	char *text;
	size_t n;

	for (size_t i = 0; !raw && pirn_request_header_at(req, i, &pair); i++)
		if (strncasecmp(pair.name, "ce-", 3) == 0 && strcasecmp(pair.name + 3, name) == 0)
			raw = pair.value;
	if (!raw || !strpbrk(raw, "%\""))
		return raw;
	text = base_arena_alloc(&req->arena, strlen(raw) + 1);
	if (!text) {
		req->failed = true;
		return NULL;
	}
	n = wrk_query_decode_attribute(text, raw, strlen(raw));
	return strlen(text) == n && base_text_is_utf8(text, n) ? text : raw;
}

const char *pirn_request_id(const struct pirn_request *req)
{
	if (req->id[0] == '\0')
		base_ulid_print(req->run->id, lazily(req)->id);
	return req->id;
}

static char *print_hex(char *out, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	return out;
}

const char *pirn_request_traceparent(const struct pirn_request *req)
{
	const uint8_t *trace = req->run->trace;
	char *at = lazily(req)->trace;

	if (!req->run->has_trace || at[0] != '\0')
		return at;
	memcpy(at, "00-", 3);
	at = print_hex(at + 3, trace, 16);
	*at++ = '-';
	at = print_hex(at, trace + 16, 8);
	*at++ = '-';
	*print_hex(at, trace + 24, 1) = '\0';
	return req->trace;
}

unsigned pirn_request_attempt(const struct pirn_request *req)
{
	return req->run->attempt;
}

unsigned pirn_request_attempts(const struct pirn_request *req)
{
	return req->run->attempts;
}

bool pirn_request_is_event(const struct pirn_request *req)
{
	return (req->run->flags & PIRN__ITEM_FLAG__EVENT) != 0;
}

uint64_t pirn_request_left_ms(const struct pirn_request *req)
{
	uint64_t now_us = base_clock_us();

	return now_us < req->run->deadline_us ? (req->run->deadline_us - now_us + 999) / 1000 : 0;
}

const char *pirn_request_remote(const struct pirn_request *req)
{
	return req->http && req->http->has_remote ? text(&req->http->remote) : "";
}

void *pirn_scratch(struct pirn_request *req, size_t size)
{
	void *p = base_arena_alloc(&req->arena, size > 0 ? size : 1);

	if (!p)
		req->failed = true;
	return p;
}
