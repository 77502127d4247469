#include "worker/http_parts.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define HEAD_MAX    ((size_t)64 * 1024) /* of all heads of an exchange, those of 1xx and trailers included */
#define CODE_TOO_LARGE 100 /* CURLE_TOO_LARGE of newer ones */
#define ARENA_FIRST ((size_t)8 * 1024)
#define LOOKED_UP_S 5L       /* how long libcurl may believe what it was given: by far longer than it takes to use it */
#define TELL_US     10000000u /* an endpoint that fails now and then is told of this often */
#define ARENA_MAX   ((size_t)4 * 1024 * 1024)

/* ---- what libcurl calls ------------------------------------------------------------- */

static bool found(struct wrk_call *call, enum wrk_http_end end)
{
	if (call->end == WRK_HTTP_OK)
		call->end = end;
	return false;
}

static bool found_fault(struct wrk_call *call)
{
	switch (call->res.fault) {
	case WRK_FAULT_NONE:
		return true;
	case WRK_FAULT_TOO_LARGE:
		return found(call, WRK_HTTP_TOO_LARGE);
	case WRK_FAULT_STATUS:
		return found(call, WRK_HTTP_STATUS);
	case WRK_FAULT_HEADER:
		return found(call, WRK_HTTP_HEAD);
	case WRK_FAULT_NOMEM:
		break;
	}
	return found(call, WRK_HTTP_NOMEM);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Connection: it also names headers that are meant for us alone, before or after it. */
static bool note_hops(struct wrk_call *call, char *value)
{
	struct curl_slist *node = base_arena_alloc(&call->arena, sizeof *node);

	if (!node)
		return found(call, WRK_HTTP_NOMEM);
	*node = (struct curl_slist){ value, call->hops };
	call->hops = node;
	return true;
}

static void drop_hops(struct wrk_call *call)
{
	static const char between[] = ", \t";

	for (const struct curl_slist *at = call->hops; at; at = at->next)
		for (const char *name = at->data; *(name += strspn(name, between));) {
			size_t size = strcspn(name, between);

			wrk_response_drop(&call->res, name, size);
			name += size;
		}
}

/* "Name: value", without the line's end. A line that begins with a blank (a fold) has no name. */
static bool take_field(struct wrk_call *call, const char *line, size_t size)
{
	const char *colon = memchr(line, ':', size), *value, *end = line + size;
	char *name, *copy;

	if (!colon)
		return found(call, WRK_HTTP_GARBAGE);
	for (value = colon + 1; value < end && is_blank(*value); value++)
		;
	while (end > value && is_blank(end[-1]))
		end--;
	name = base_arena_dup(&call->arena, line, (size_t)(colon - line));
	copy = base_arena_dup(&call->arena, value, (size_t)(end - value));
	if (!name || !copy)
		return found(call, WRK_HTTP_NOMEM);
	if (strlen(copy) != (size_t)(end - value) || strlen(name) != (size_t)(colon - line))
		return found(call, WRK_HTTP_HEAD);
	if (strcasecmp(name, "Connection") == 0)
		return note_hops(call, copy);
	pirn_respond_header_add(&call->res, name, copy);
	return found_fault(call);
}

/* UNTRUSTED: one line of a head, with its end; also those of 1xx, and trailers behind the body. */
static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
	struct wrk_call *call = arg;
	size_t n = size;

	(void)one;
	call->head_bytes += size;
	if (call->head_bytes > HEAD_MAX) {
		(void)found(call, WRK_HTTP_HEAD);
		return 0;
	}
	while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		n--;
	if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		call->in_head = true;
		call->stage = WRK_CALL_READS;
		pirn_respond_reset(&call->res);
		call->hops = NULL;
		return size;
	}
	if (!call->in_head)
		return size; /* a trailer */
	if (n == 0)
		call->in_head = false;
	else if (!take_field(call, line, n))
		return 0;
	return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct wrk_call *call = arg;

	(void)one;
	pirn_respond_write(&call->res, data, size);
	return found_fault(call) ? size : 0;
}

/* A request is about to leave. Once is always right; the same again only where that may be. */
static int on_request(void *arg, char *their_address, char *our_address, int their_port, int our_port)
{
	struct wrk_call *call = arg;

	(void)their_address, (void)our_address, (void)their_port, (void)our_port;
	if (call->sent++ > 0 && !call->repeatable) {
		(void)found(call, WRK_HTTP_CUT);
		return CURL_PREREQFUNC_ABORT;
	}
	call->stage = WRK_CALL_WAITS;
	return CURL_PREREQFUNC_OK;
}

/* ---- life ------------------------------------------------------------------------------ */

#define SET(option, value) (curl_easy_setopt(call->easy, option, value) == CURLE_OK)

static bool set_up(struct wrk_call *call)
{
	const char *ca = call->http->conf.ca;

	return SET(CURLOPT_PRIVATE, call) && SET(CURLOPT_ERRORBUFFER, call->error) &&
	       SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_NOPROGRESS, 1L) &&
	       SET(CURLOPT_PROTOCOLS_STR, "http,https") &&
	       SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_PROXY, "") &&
	       SET(CURLOPT_PATH_AS_IS, 1L) && SET(CURLOPT_HTTP_CONTENT_DECODING, 0L) &&
	       SET(CURLOPT_QUICK_EXIT, 1L) && SET(CURLOPT_TCP_NODELAY, 1L) &&
	       SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)call->http->conf.max_response) &&
	       SET(CURLOPT_OPENSOCKETFUNCTION, wrk_socket_open) &&
	       SET(CURLOPT_OPENSOCKETDATA, call) &&
	       SET(CURLOPT_CLOSESOCKETFUNCTION, wrk_socket_close) &&
	       SET(CURLOPT_CLOSESOCKETDATA, call->http) && SET(CURLOPT_PREREQFUNCTION, on_request) &&
	       SET(CURLOPT_PREREQDATA, call) && SET(CURLOPT_HEADERFUNCTION, on_header) &&
	       SET(CURLOPT_HEADERDATA, call) && SET(CURLOPT_WRITEFUNCTION, on_body) &&
	       SET(CURLOPT_WRITEDATA, call) && (!ca || SET(CURLOPT_CAINFO, ca));
}

struct wrk_call *wrk_call_new(struct wrk_http *h)
{
	struct wrk_call *call = calloc(1, sizeof *call);

	if (!call)
		return NULL;
	call->http = h;
	call->easy = curl_easy_init();
	base_arena_init(&call->arena, ARENA_FIRST, ARENA_MAX);
	if (!call->easy || !set_up(call)) {
		wrk_call_free(call);
		return NULL;
	}
	return call;
}

void wrk_call_free(struct wrk_call *call)
{
	if (call->easy)
		curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->resolve);
	base_arena_fini(&call->arena);
	free(call);
}

void wrk_call_close(struct wrk_call *call)
{
	wrk_resolver_forget(&call->lookup);
	base_arena_reset(&call->arena);
	wrk_target_fini(&call->own);
	call->run = NULL;
	call->target = NULL;
}

/* ---- the request ------------------------------------------------------------------------- */

/* Each option undoes what the one before left: the handle is used again. */
static bool set_method(struct wrk_call *call)
{
	const char *method = call->request.method;

	if (strcmp(method, "HEAD") == 0)
		return SET(CURLOPT_CUSTOMREQUEST, NULL) && SET(CURLOPT_HTTPGET, 1L) &&
		       SET(CURLOPT_NOBODY, 1L);
	if (!call->request.has_body)
		return SET(CURLOPT_HTTPGET, 1L) && SET(CURLOPT_CUSTOMREQUEST, method);
	return SET(CURLOPT_NOBODY, 0L) && SET(CURLOPT_POST, 1L) &&
	       SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->run->data_size) &&
	       SET(CURLOPT_POSTFIELDS, call->run->in.data + call->run->meta_size) &&
	       SET(CURLOPT_CUSTOMREQUEST, method);
}

static long connect_ms(const struct wrk_call *call)
{
	uint64_t left_ms = (call->run->deadline_us - call->start_us) / 1000 + 1000;

	return (long)(left_ms < call->http->conf.connect_ms ? left_ms : call->http->conf.connect_ms);
}

static bool set_request(struct wrk_call *call)
{
	/* What is looked up is forgotten after each exchange, for which libcurl goes through all it knows; endpoints that
	 * are an address are few, and may stay. */
	bool stays = call->target->literal && call->target != &call->own;

	return SET(CURLOPT_CURLU, call->target->parsed) &&
	       SET(CURLOPT_DNS_CACHE_TIMEOUT, stays ? -1L : LOOKED_UP_S) &&
	       SET(CURLOPT_REQUEST_TARGET, call->request.target) && set_method(call) &&
	       SET(CURLOPT_HTTPHEADER, call->request.headers) &&
	       SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms(call));
}

/* ---- callbacks ---------------------------------------------------------------------------- */

/* An event that cannot be delivered, ever: its sender's mistake. */
static bool refuse_callback(struct wrk_call *call, const char *why)
{
	struct wrk_run *run = call->run;

	(void)snprintf(run->why, sizeof run->why, "the callback's URL: %s", why);
	wrk_call_answer_reason(run, 400, PIRN__REASON__NONE);
	return false;
}

static enum base_err sign(struct wrk_call *call, const struct wrk_signer *signer)
{
	uint64_t now_s = base_clock_unix_ms() / 1000;
	char id[BASE_ULID_TEXT + 1], at[24], signature[WRK_SIGN_TEXT];
	const struct wrk_run *run = call->run;
	enum base_err err;

	base_ulid_print(run->id, id);
	(void)snprintf(at, sizeof at, "%" PRIu64, now_s);
	wrk_sign(signer, id, now_s, run->in.data + run->meta_size, run->data_size, signature);
	err = wrk_http_request_add(&call->arena, &call->request, "webhook-id", id);
	if (!err)
		err = wrk_http_request_add(&call->arena, &call->request, "webhook-timestamp", at);
	if (!err && signature[0])
		err = wrk_http_request_add(
			&call->arena, &call->request, "webhook-signature", signature);
	return err;
}

/* The same target in all attempts, the same id, another time and so another signature. */
static bool open_callback(struct wrk_call *call, const struct wrk_signer *signer)
{
	char why[128] = "is missing";
	enum base_err err = BASE_INVALID;

	if (call->request.callback)
		err = wrk_target_parse(call->request.callback, &call->own, why, sizeof why);
	if (err == BASE_INVALID)
		return refuse_callback(call, why);
	call->target = &call->own;
	call->request.target = call->own.path ? call->own.path : "/";
	if (!err)
		err = sign(call, signer);
	if (!err)
		return true;
	wrk_call_fail(call, WRK_HTTP_NOMEM, NULL);
	return false;
}

/* ---- its beginning -------------------------------------------------------------------------- */

static bool make_request(struct wrk_call *call)
{
	const struct wrk_endpoint *endpoint = call->run->endpoint;
	enum base_err err = wrk_http_request_make(&call->arena, call->run, endpoint->service,
		endpoint->target.path, &call->request);

	for (size_t i = 0; !err && i < endpoint->headers.n; i++)
		err = wrk_http_request_set(&call->arena, &call->request,
			endpoint->headers.items[i].name, endpoint->headers.items[i].value);
	if (err == BASE_PROTOCOL)
		wrk_call_answer_reason(call->run, 400, PIRN__REASON__MALFORMED);
	else if (err)
		wrk_call_fail(call, WRK_HTTP_NOMEM, NULL);
	return !err && (!endpoint->signer || open_callback(call, endpoint->signer));
}

bool wrk_call_open(struct wrk_call *call, struct wrk_run *run)
{
	const struct wrk_endpoint *endpoint = run->endpoint;

	call->run = run;
	call->target = &endpoint->target;
	call->stage = WRK_CALL_RESOLVES;
	call->end = WRK_HTTP_OK;
	call->sent = 0;
	call->head_bytes = 0;
	call->in_head = false;
	call->hops = NULL;
	call->repeatable = (run->flags & (PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__IDEMPOTENT)) != 0;
	call->error[0] = call->denied[0] = '\0';
	call->start_us = base_clock_us();
	wrk_response_open(&call->res, &call->arena, run, call->http->conf.max_response);
	if (!make_request(call))
		return false;
	if (set_request(call))
		return true;
	wrk_call_fail(call, WRK_HTTP_NOMEM, NULL);
	return false;
}

/* ---- where to ------------------------------------------------------------------------------ */

static void print_address(const struct sockaddr_storage *a, char out[INET6_ADDRSTRLEN + 2])
{
	const void *from = a->ss_family == AF_INET
				   ? (const void *)&((const struct sockaddr_in *)a)->sin_addr
				   : (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr;
	char text[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(a->ss_family, from, text, sizeof text);
	(void)snprintf(out, INET6_ADDRSTRLEN + 2, a->ss_family == AF_INET ? "%s" : "[%s]", text);
}

/* "+host:port:address,address": what libcurl takes for its own look-up. Only those that may be called. Without the
 * plus it would remember them for good, and callbacks go to names of anybody's choosing. */
static bool print_allowed(
	struct wrk_call *call, const struct wrk_addresses *found_ones, struct base_buf *out)
{
	const struct wrk_target *t = call->target;
	char address[INET6_ADDRSTRLEN + 2];
	bool any = false;

	base_buf_fmt(out, "+%s:%u:", t->host, t->port);
	for (size_t i = 0; i < found_ones->n; i++) {
		const struct sockaddr_storage *a = &found_ones->items[i];

		print_address(a, address);
		if (!wrk_allow_has(&call->http->allow, t->host, t->port, (const struct sockaddr *)a)) {
			(void)snprintf(call->denied, sizeof call->denied, "%s", address);
			continue;
		}
		base_buf_str(out, any ? "," : "");
		base_buf_str(out, address);
		any = true;
	}
	return any;
}

static bool set_resolve(struct wrk_call *call, const char *text)
{
	struct curl_slist *list = curl_slist_append(NULL, text);

	if (!list)
		return false;
	curl_slist_free_all(call->resolve);
	call->resolve = list;
	return SET(CURLOPT_RESOLVE, list);
}

bool wrk_call_aim(struct wrk_call *call, const struct wrk_addresses *found_ones)
{
	struct base_buf text;
	bool ok;

	call->stage = WRK_CALL_CONNECTS;
	if (!found_ones)
		return true;
	base_buf_init(&text);
	ok = print_allowed(call, found_ones, &text);
	if (!ok)
		wrk_call_fail(call, WRK_HTTP_DENIED, NULL);
	else if (base_buf_check(&text) || !set_resolve(call, (const char *)text.data)) {
		wrk_call_fail(call, WRK_HTTP_NOMEM, NULL);
		ok = false;
	}
	base_buf_fini(&text);
	return ok;
}

/* ---- its end ------------------------------------------------------------------------------- */

static enum wrk_http_end end_of(const struct wrk_call *call, CURLcode code)
{
	if (call->end != WRK_HTTP_OK)
		return call->end;
	switch (code) {
	case CURLE_OK:
		return WRK_HTTP_OK;
	case CURLE_COULDNT_RESOLVE_HOST:
		return WRK_HTTP_NAME;
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		return call->denied[0] ? WRK_HTTP_DENIED : WRK_HTTP_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return WRK_HTTP_TLS;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_ABORTED_BY_CALLBACK:
		return WRK_HTTP_CUT;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return WRK_HTTP_GARBAGE;
	case CURLE_FILESIZE_EXCEEDED:
		return WRK_HTTP_TOO_LARGE;
	case CURLE_OUT_OF_MEMORY: /* is also a line of a head that does not end, until libcurl 8.6 */
		return call->sent > 0 && call->res.body->size == 0 ? WRK_HTTP_HEAD : WRK_HTTP_NOMEM;
	default:
		return (int)code == CODE_TOO_LARGE ? WRK_HTTP_HEAD : WRK_HTTP_OTHER;
	}
}

static const char *text_of(enum wrk_http_end end)
{
	static const char *const texts[] = {
#define X(name, text) [WRK_HTTP_##name] = text,
		WRK_HTTP_ENDS(X)
#undef X
	};

	return texts[end];
}

static void finish(struct wrk_call *call)
{
	uint64_t now_us = base_clock_us();

	call->run->took_us = (uint32_t)(now_us - call->start_us);
	call->run->late = now_us >= call->run->deadline_us;
}

void wrk_call_answer_reason(struct wrk_run *run, uint32_t status, uint32_t reason)
{
	base_buf_reset(&run->meta);
	base_buf_reset(&run->body);
	run->status = status;
	run->reason = reason;
}

/* For the event's history and the log; its caller is not told where things are in here. */
static void say_why(struct wrk_call *call, enum wrk_http_end end, const char *why)
{
	const struct wrk_target *t = call->target;
	struct wrk_run *run = call->run;

	if (end == WRK_HTTP_DENIED)
		(void)snprintf(run->why, sizeof run->why,
			"%s is %s, which is not public and not named by --http-allow", t->host,
			call->denied);
	else if (end == WRK_HTTP_TOO_LARGE)
		(void)snprintf(run->why, sizeof run->why, "the endpoint's answer is over %zu bytes",
			call->http->conf.max_response);
	else
		(void)snprintf(run->why, sizeof run->why, "%s%s%s", text_of(end),
			why && *why ? " " : "", why ? why : "");
}

static void note_failing(struct wrk_call *call)
{
	struct wrk_endpoint *e = call->run->endpoint;
	uint64_t now_us = base_clock_us();
	bool tell = !e->failing && now_us >= e->tell_us;

	base_log(tell ? BASE_WARN : BASE_DEBUG, "endpoint_fails", LOG_STR("service", e->service),
		LOG_STR("endpoint", call->target->url), LOG_STR("why", call->run->why));
	if (tell) {
		e->failing = true;
		e->tell_us = now_us + TELL_US;
	}
}

static void note_answering(struct wrk_call *call)
{
	struct wrk_endpoint *e = call->run->endpoint;

	if (e->failing)
		base_log(BASE_INFO, "endpoint_answers", LOG_STR("service", e->service),
			LOG_STR("endpoint", call->target->url));
	e->failing = false;
}

void wrk_call_fail(struct wrk_call *call, enum wrk_http_end end, const char *why)
{
	struct wrk_run *run = call->run;

	finish(call);
	say_why(call, end, why);
	note_failing(call);
	if (end == WRK_HTTP_DENIED)
		atomic_fetch_add(&call->http->denied, 1);
	if (end == WRK_HTTP_TOO_LARGE) {
		wrk_call_answer_reason(run, 502, PIRN__REASON__TOO_LARGE);
		return;
	}
	run->reason = PIRN__REASON__NONE;
	pirn_respond_problem(&call->res, end == WRK_HTTP_NOMEM ? 503 : 502, NULL, "%s", text_of(end));
	base_buf_reset(&run->meta);
	if (end == WRK_HTTP_NOMEM || wrk_response_seal(&call->res, run) != WRK_FAULT_NONE) {
		wrk_call_answer_reason(run, 503, PIRN__REASON__OVERLOADED);
		run->retry_after_ms = 1000;
	}
}

static uint32_t retry_after_ms(struct wrk_call *call)
{
	curl_off_t seconds = 0;

	if (call->run->status < 400 ||
		curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK)
		return 0;
	if (seconds > 86400)
		seconds = 86400;
	return seconds > 0 ? (uint32_t)seconds * 1000 : 0;
}

static enum wrk_http_end take_answer(struct wrk_call *call)
{
	bool event = (call->run->flags & PIRN__ITEM_FLAG__EVENT) != 0;
	long status = 0;

	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (event && status >= 300 && status < 400)
		return WRK_HTTP_REDIRECT;
	drop_hops(call);
	pirn_respond_status(&call->res, status > 0 ? (unsigned)status : 0);
	if (wrk_response_seal(&call->res, call->run) != WRK_FAULT_NONE)
		(void)found_fault(call);
	return call->end;
}

void wrk_call_end(struct wrk_call *call, CURLcode code)
{
	enum wrk_http_end end = end_of(call, code);

	if (end == WRK_HTTP_OK)
		end = take_answer(call);
	if (end != WRK_HTTP_OK) {
		wrk_call_fail(call, end, code == CURLE_OK ? NULL : call->error);
		return;
	}
	finish(call);
	call->run->reason = PIRN__REASON__NONE;
	call->run->retry_after_ms = retry_after_ms(call);
	note_answering(call);
}

void wrk_call_expire(struct wrk_call *call)
{
	static const char *const stages[] = {
		[WRK_CALL_RESOLVES] = "the endpoint's name was not resolved",
		[WRK_CALL_CONNECTS] = "no connection to the endpoint came about",
		[WRK_CALL_WAITS] = "the endpoint had not answered",
		[WRK_CALL_READS] = "the endpoint's answer had not ended",
	};
	struct wrk_run *run = call->run;

	finish(call);
	run->late = true;
	(void)snprintf(run->why, sizeof run->why, "timed out after %u.%u s: %s",
		(unsigned)(run->took_us / 1000000), (unsigned)(run->took_us / 100000 % 10),
		stages[call->stage]);
	wrk_call_answer_reason(run, 504, PIRN__REASON__DEADLINE);
	note_failing(call);
}

void wrk_call_cancel(struct wrk_call *call)
{
	finish(call);
	wrk_call_answer_reason(call->run, 502, PIRN__REASON__CANCELLED);
}
