/* Write a service for Pirn.
 *
 *	#include <pirn/service.h>
 *
 *	static int greet(struct pirn_request *req, struct pirn_response *res)
 *	{
 *		int64_t visits;
 *		int err = pirn_counter_add(req, "visits", 1, &visits);
 *
 *		if (err)
 *			return err;
 *		return pirn_respond_json(res, 200, "{\"visits\":%lld}", (long long)visits);
 *	}
 *
 *	PIRN_SERVICE(.handler = greet);
 *
 * That file and a service.yaml in one folder are a service; `pirn new` makes both, `make` (in
 * Pirn's tree) or `pirn build DIR` compiles them. A worker loads the shared object, calls init
 * once, then the handler once for each call or event, and fini once before it ends.
 *
 * Threads: up to `concurrency` runs of one service (its manifest says how many) happen at once,
 * in different threads. What the service keeps in static variables it must guard itself, or set
 * up in init and only read afterwards. A request and its response belong to the thread that runs
 * the handler. A handler may block; it must not exit the process, and should not run on when
 * pirn_request_left_ms() is 0: nobody waits any more. The worker then answers 504 in its place, but
 * its thread and its place among `concurrency` stay taken until it returns; when such runs hold all
 * of a service's places for long, the worker ends, to be started anew. So give what a handler waits
 * for (a connection, a query) the time that is left.
 *
 * Memory: what a function returns lives until the handler returns, unless it says otherwise, and
 * is never freed by the service. Texts are NUL-terminated. When memory is out, functions that may
 * return NULL do so, and the run is answered 503 whatever the handler does then.
 *
 * Errors: functions that can fail return 0 (PIRN_OK) or one of enum pirn_err. A handler returns
 * 0 for "my response stands", or such a code: the response is then dropped, and the caller gets a
 * problem (RFC 9457) with the status that stands in PIRN_ERRORS below; so `return err;` after a
 * failed state operation is right, and answers 503 with Retry-After while Redis is down.
 *
 * The binary interface is C's, has a number, and only grows: a worker loads services that were
 * built for its own number and refuses others by name. This header needs C11 or C++20 (C++17 with
 * GNU extensions), and nothing else of Pirn.
 */
#ifndef PIRN_SERVICE_H
#define PIRN_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIRN_SERVICE_ABI 1

#if defined(__GNUC__)
#define PIRN_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define PIRN_EXPORT __attribute__((visibility("default")))
#else
#define PIRN_PRINTF(text, first)
#define PIRN_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors --------------------------------------------------------------- */

/* name, number, whether the same call may succeed later, the status of a handler that returns it,
 * text for people. Numbers are part of the binary interface. */
#define PIRN_ERRORS(X) \
	X(OK, 0, false, 200, "no error") \
	X(ERR_FAILED, 1, false, 500, "the service failed") \
	X(ERR_INVALID, 2, false, 400, "invalid value") \
	X(ERR_NOT_FOUND, 3, false, 404, "not found") \
	X(ERR_MISMATCH, 4, false, 409, "the stored value is another one") \
	X(ERR_OVERFLOW, 5, false, 400, "the result would overflow") \
	X(ERR_TYPE, 6, false, 500, "the stored value is of another type") \
	X(ERR_TOO_LARGE, 7, false, 413, "too large") \
	X(ERR_UNAVAILABLE, 8, true, 503, "the state is not available now") \
	X(ERR_UNKNOWN, 9, true, 503, "the connection broke: the operation may have happened or not") \
	X(ERR_TIMEOUT, 10, true, 504, "the time of the run is over") \
	X(ERR_NOMEM, 11, true, 503, "out of memory") \
	X(ERR_LIMIT, 12, false, 500, "more operations than one event may have") \
	X(ERR_LEASE, 13, false, 503, "another run has this event now, or nobody waits for this one") \
	X(ERR_OPEN, 14, true, 503, "a breaker is open: what it guards keeps failing")

enum pirn_err {
#define X(name, number, retryable, status, text) PIRN_##name = number,
	PIRN_ERRORS(X)
#undef X
};

const char *pirn_err_name(int err); /* "ERR_NOT_FOUND"; "?" for a number that is none */
const char *pirn_err_text(int err); /* "not found" */
bool pirn_err_retryable(int err);

/* ---- the service ---------------------------------------------------------- */

struct pirn_request;
struct pirn_response;

struct pirn_service {
	uint32_t abi;  /* PIRN_SERVICE_ABI; PIRN_SERVICE sets both */
	uint32_t size; /* of this struct */

	/* One run. Required. A run that returns 0 without status and body is answered 204; with a
	 * body and no status, 200. */
	int (*handler)(struct pirn_request *req, struct pirn_response *res);

	/* Once, before the first run, in a thread of the worker's: connections, caches, tables.
	 * pirn_env() and pirn_log() work in it. Not 0: the worker refuses the service. NULL: nothing
	 * to do. */
	int (*init)(void);

	/* Once, after the last run, when the worker ends in order. NULL: nothing to do. */
	void (*fini)(void);
};

/* The one name that a worker looks up in the shared object. */
PIRN_EXPORT extern const struct pirn_service pirn_service_main;

/* PIRN_SERVICE(.handler = f, .init = g, .fini = h); once, in one source file of the service. */
#define PIRN_SERVICE(...) \
	const struct pirn_service pirn_service_main = { .abi = PIRN_SERVICE_ABI, \
		.size = (uint32_t)sizeof(struct pirn_service), __VA_ARGS__ }

/* ---- the request ---------------------------------------------------------- */

/* A request that did not come over HTTP (the client library's calls) has method POST, path /,
 * no query, no headers. */
const char *pirn_request_method(const struct pirn_request *req);
const char *pirn_request_target(const struct pirn_request *req); /* as it stood on the request line: raw */
const char *pirn_request_path(const struct pirn_request *req);   /* the target's part before ?, raw */

/* The body and its size (size may be NULL). Followed by a NUL that size does not count; never NULL. */
const void *pirn_request_body(const struct pirn_request *req, size_t *size);

/* The first query parameter of that name, decoded (%41 and + are; a broken % stays as it is), or
 * NULL. The bytes are the caller's: they may be any, a NUL among them, so look at *size (which may be
 * NULL) when that matters. */
const char *pirn_request_query(struct pirn_request *req, const char *name, size_t *size);

/* A parameter of the route, decoded: {id} of /orders/{id}; NULL: there is none of that name. */
const char *pirn_request_param(const struct pirn_request *req, const char *name, size_t *size);

/* The first header of that name, in whatever case, or NULL. */
const char *pirn_request_header(const struct pirn_request *req, const char *name);

/* An attribute of the CloudEvent that the run is about ("type", "source", "subject", "id", an extension), or NULL: there
 * is none. It is what the header ce-NAME says, decoded: in the header, blanks, quotes, percents and all that is not
 * ASCII stand as %XX. A value that does not decode to UTF-8 without NUL is given as it came. */
const char *pirn_request_attribute(struct pirn_request *req, const char *name);

/* All of them in their order: i from 0 until it returns false. The pointers may be NULL. */
struct pirn_pair {
	const char *name, *value;
	size_t name_size, value_size;
};
bool pirn_request_query_at(struct pirn_request *req, size_t i, struct pirn_pair *pair);
bool pirn_request_param_at(const struct pirn_request *req, size_t i, struct pirn_pair *pair);
bool pirn_request_header_at(const struct pirn_request *req, size_t i, struct pirn_pair *pair);

/* Which run this is, of what. An event is run again when a run failed (408, 425, 429, 5xx, its time was
 * over, the worker died), up to its manifest's attempts; a call when it may be (GET, PUT, DELETE, and
 * those with an Idempotency-Key). "Attempt 2 of 5": */
const char *pirn_request_id(const struct pirn_request *req); /* 26 characters, a ULID; the same in every attempt */
unsigned pirn_request_attempt(const struct pirn_request *req); /* 1 for the first */
unsigned pirn_request_attempts(const struct pirn_request *req); /* 0: not limited by a number, or a call */
bool pirn_request_is_event(const struct pirn_request *req); /* nobody waits for the answer; it may be kept */
uint64_t pirn_request_left_ms(const struct pirn_request *req); /* until nobody waits any more; 0: over */
const char *pirn_request_remote(const struct pirn_request *req); /* the client's address, "" when unknown */
const char *pirn_request_traceparent(const struct pirn_request *req); /* W3C trace context, for calls of your own; "" when none */

/* Memory for the length of this run: 16-byte aligned, not zeroed. NULL: out of memory, or more than
 * 32 MiB in one run. */
void *pirn_scratch(struct pirn_request *req, size_t size);

/* ---- the response --------------------------------------------------------- */

/* These keep what goes wrong (memory, a header with a line break in it, too large a body) until the
 * handler has returned; it is then logged and answered as an error in the response's place. Those
 * that return int return 0, so that a handler can end with them. */

void pirn_respond_status(struct pirn_response *res, unsigned status); /* 200 … 599 */

/* What frames a message (Content-Length, Transfer-Encoding, Connection and its kin) is the gateway's
 * and is left out. */
void pirn_respond_header(struct pirn_response *res, const char *name, const char *value); /* replaces */
void pirn_respond_header_add(struct pirn_response *res, const char *name, const char *value); /* Set-Cookie */

/* The body, piece by piece. */
void pirn_respond_write(struct pirn_response *res, const void *data, size_t size);
void pirn_respond_text(struct pirn_response *res, const char *text);
void pirn_respond_printf(struct pirn_response *res, const char *format, ...) PIRN_PRINTF(2, 3);

/* Everything set so far is dropped. */
void pirn_respond_reset(struct pirn_response *res);

/* A whole answer: status, Content-Type: application/json, and the body in place of what was written
 * before. Texts inside must come from pirn_json_string(). */
int pirn_respond_json(struct pirn_response *res, unsigned status, const char *format, ...) PIRN_PRINTF(3, 4);

/* A whole answer of type application/problem+json (RFC 9457): drops what was set before. title NULL:
 * the status's own name. detail is escaped here; NULL: none. */
int pirn_respond_problem(struct pirn_response *res, unsigned status, const char *title,
                         const char *detail, ...) PIRN_PRINTF(4, 5);

/* A JSON string of these bytes, quotes included; never NULL. Broken UTF-8 becomes U+FFFD. */
const char *pirn_json_string(struct pirn_request *req, const char *text, size_t size);
bool pirn_utf8_valid(const char *text, size_t size);

/* ---- log and settings ------------------------------------------------------ */

enum pirn_level { PIRN_DEBUG, PIRN_INFO, PIRN_WARN, PIRN_ERROR };

/* One line in the worker's log (id service_log), with the service's name and the run's id. Line
 * breaks in it are escaped. From any thread; outside of handler and init without those two. */
void pirn_log(enum pirn_level level, const char *format, ...) PIRN_PRINTF(2, 3);

/* What the manifest gives under `env:`, or the content of the file named under `secrets:` (without
 * its last line break); NULL: neither. Lives as long as the service. In handler and init only. */
const char *pirn_env(const char *name);

/* ---- breakers --------------------------------------------------------------- */

/* For what the service depends on: a database, another service. A breaker stops it from asking something
 * that keeps failing, and so from waiting for it with all its threads; a few probes find out when that has
 * healed. Between enter and leave stands the asking, nothing else:
 *
 *	int err = pirn_breaker_enter(req, "bank");
 *
 *	if (err)
 *		return err;
 *	err = ask_the_bank(pirn_request_left_ms(req), &balance);
 *	pirn_breaker_leave(req, "bank", err == 0);
 *
 * Each name is one breaker, shared by all runs of the service in this worker. It opens when 5 in a row
 * failed, or half of at least 20 within 10 s; it is open for 5 s, twice as long each time until it was
 * closed, at most 60 s; then 3 runs at a time may probe, and 5 successes in a row close it, one failure
 * opens it again. A run whose handler returns without having left has failed there, and so has one whose
 * time is over in it: so a dependency that hangs opens its breaker, too. (Unless that time was cut short by
 * its caller, by a fifth or more, and the run was in it for less than a second: that says nothing.) Of the
 * handler's own thread only. */

/* Other numbers than those; 0 leaves one as it is. Later versions may use what is called later. */
struct pirn_breaker_options {
	uint32_t window_ms, calls, failure_percent; /* within the window at least so many, so many of them failed */
	uint32_t consecutive;
	uint32_t open_ms, open_max_ms;
	uint32_t probes; /* at a time; at most 8 */
	uint32_t successes;
	uint32_t probe_ms; /* a probe that has not left after so long has failed: 30 s */
	uint32_t later[7]; /* 0 */
};

/* In init only, and only where a breaker is to be otherwise than above. options NULL: as above. ERR_INVALID:
 * a name that is not 1 to 63 of A-Z a-z 0-9 . _ -, a number that cannot be, or not in init; ERR_LIMIT: more
 * than 64 names in a service. */
int pirn_breaker_set(const char *name, const struct pirn_breaker_options *options);

/* 0: go on, and leave whatever happens. ERR_OPEN: do without, or return it: that answers 503 with a
 * Retry-After of the time that the breaker is still open (an event is then tried again). ERR_TIMEOUT: the
 * run's time is over. ERR_INVALID, ERR_LIMIT as above; also when this run is in it already, or in 16. */
int pirn_breaker_enter(struct pirn_request *req, const char *name);

/* ok: it answered, and in good time; that it said "not found" is no failure of its. A name that this run
 * has not entered is logged (breaker_not_entered) and does nothing. */
void pirn_breaker_leave(struct pirn_request *req, const char *name, bool ok);

/* How long it will still refuse; 0: it may let this run through now. */
uint64_t pirn_breaker_wait_ms(struct pirn_request *req, const char *name);

/* ---- events ------------------------------------------------------------------ */

/* What a run sends leaves when it has gone well (its answer is below 400); a run that fails sends nothing. An
 * event goes to every service that subscribes to its type (nobody does: that is no error), each with its own
 * delivery, or to one service. At most 64 events and 256 KiB of them a run. A service that feeds itself, or a
 * circle of them, is stopped after 16 runs: the event ends dead (HOPS). Of a handler's own thread only.
 *
 * The run of an event sends once, however often it is run: all that it sends is stored in the same step of
 * Redis that ends it as done. What cannot be taken then (a service that nobody knows, no room) fails the
 * run, which is tried again.
 *
 * The run of a call sends before its caller hears: the answer waits until Redis has all of it. A caller
 * who gets 2xx or 3xx knows that the events are kept. Otherwise he gets 503 with Retry-After (Redis is away, or
 * there is no room: nothing was sent; or Redis did not say in time: all was sent, or nothing), or 502 (the
 * service names one that nobody knows). The run has happened all the same, with what it did to state. And a caller
 * who hears nothing (his broker died, he went) does not know. Whoever calls again runs it again, and what it
 * sends is sent again. Unless the call has an Idempotency-Key: then each event is sent once, however often
 * it is run, and whoever dies; the n-th that one run sends is the n-th of the other, whatever it says. (So it
 * is without a key for a GET, PUT or DELETE that Pirn itself repeats, because a broker died.) */
struct pirn_emitted {
	const char *type;         /* such as "order.created", at most 4,096 bytes; NULL: for one service */
	const char *subject;      /* NULL: none */
	const char *source;       /* NULL: /services/ and this service's name */
	const char *service;      /* instead of a type: for this service only; without subject and source */
	const char *content_type; /* of the data; NULL: application/json */
	const void *data;         /* copied; NULL when size is 0 */
	size_t size;
	const void *later[4]; /* NULL */
};

/* ERR_INVALID: not one of type and service, a text that cannot stand in a header; ERR_LIMIT: too many
 * or too much; ERR_UNAVAILABLE: the broker is too old to take it; ERR_NOMEM. Subscribers see a CloudEvent: POST /v1/events with ce-type, ce-source, ce-subject
 * and ce-id as headers, percent-encoded as CloudEvents says; one service alone sees POST / with the data. */
int pirn_emit(struct pirn_request *req, const struct pirn_emitted *event);

/* The same with JSON for data; subject NULL: none. Texts inside must come from pirn_json_string(). */
int pirn_emit_json(struct pirn_request *req, const char *type, const char *subject, const char *format, ...)
	PIRN_PRINTF(4, 5);

/* ---- state ----------------------------------------------------------------- */

/* Kept in Redis under the service's name, shared by all workers, and by nobody else. Each operation
 * is atomic and blocks this thread until Redis answered, the run's time is over (ERR_TIMEOUT), or at
 * once when Redis is down or has been silent of late (ERR_UNAVAILABLE: nothing happened). All workers' runs of a service may do the same at the
 * same time: add, and swap, rather than get and set. Beside those named below all can return
 * ERR_UNAVAILABLE, ERR_UNKNOWN, ERR_TIMEOUT, ERR_NOMEM, ERR_LIMIT, ERR_LEASE, and ERR_INVALID or ERR_TOO_LARGE for a key
 * that is not 1 to 512 bytes, or a value over 1 MiB. Outputs are written on success only. One name
 * is one kind of thing: ERR_TYPE otherwise. Of the handler's own thread only. */

/* Runs of one event (and of a call that may be run again) do together what one run would have done:
 *
 *   - Each operation that changes something is recorded, in the same step of Redis that applies it. A
 *     later run that asks for it again gets the first one's result, failures such as ERR_MISMATCH
 *     included, and nothing is done twice; be it that the handler failed, its worker died, or the
 *     reply of Redis was lost on the way.
 *   - "It again" is: the same operation on the same key (and field), for the n-th time in the run. Not
 *     the value. So a handler that was corrected between two runs replays what still fits and goes on
 *     from there; what earlier runs did and it does not ask for stays done.
 *   - A read is recorded with the next change after it: a later run sees what the first one saw, up to
 *     the last change; reads after that are fresh. So a handler that asks in the same order, depending
 *     on nothing but its request and the state, repeats itself exactly. Keep what it depends on besides
 *     (time, chance, other systems) out of the order of its operations.
 *   - One event may have 1,000 operations, with 256 KiB of what they read: ERR_LIMIT beyond; reads still
 *     work then, changes do not. A run that goes on when its time is over, after another one of its event
 *     has begun, or when the event was cancelled, changes nothing any more: ERR_TIMEOUT, ERR_LEASE.
 *   - An event that ends dead keeps what its runs have done: operations are not one transaction.
 *   - What a handler does outside of this state (mail, other services' calls, files) is done at least
 *     once: again in each run. pirn_request_id() is the same in all of them, so that it can serve the
 *     other side as an idempotency key.
 *
 * Calls that are not run again (a plain POST) are not recorded, and cost less. */

/* A 64-bit counter that starts at 0. ERR_OVERFLOW: nothing changed. value may be NULL. */
int pirn_counter_add(struct pirn_request *req, const char *counter, int64_t by, int64_t *value);
int pirn_counter_get(struct pirn_request *req, const char *counter, int64_t *value);

/* A key holds bytes. ttl_ms 0: kept until deleted. get: ERR_NOT_FOUND. */
int pirn_key_get(struct pirn_request *req, const char *key, const void **value, size_t *size);
int pirn_key_set(struct pirn_request *req, const char *key, const void *value, size_t size, uint64_t ttl_ms);
int pirn_key_delete(struct pirn_request *req, const char *key, bool *existed); /* existed may be NULL */

/* Sets the key when it still holds what was expected (expected NULL: when it is absent). ERR_MISMATCH:
 * somebody else was first, nothing changed. */
int pirn_key_swap(struct pirn_request *req, const char *key, const void *expected, size_t expected_size,
                  const void *value, size_t size, uint64_t ttl_ms);

/* A hash holds fields with bytes. get: ERR_NOT_FOUND. add: a field as a counter. all: every field, in
 * no order, for hashes of moderate size. */
int pirn_hash_get(struct pirn_request *req, const char *hash, const char *field, const void **value, size_t *size);
int pirn_hash_set(struct pirn_request *req, const char *hash, const char *field, const void *value, size_t size);
int pirn_hash_delete(struct pirn_request *req, const char *hash, const char *field, bool *existed);
int pirn_hash_add(struct pirn_request *req, const char *hash, const char *field, int64_t by, int64_t *value);
int pirn_hash_all(struct pirn_request *req, const char *hash, const struct pirn_pair **fields, size_t *n_fields);

#ifdef __cplusplus
}
#endif

#endif
