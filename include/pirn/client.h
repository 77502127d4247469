/* Call services of a Pirn from a C program, and send them events.
 *
 *	#include <pirn/client.h>
 *
 *	struct pirn_client *client;
 *	struct pirn_reply *reply;
 *	char why[256];
 *
 *	if (pirn_client_open(&PIRN_OPTIONS(.brokers = "tcp://broker:7400"), &client, why, sizeof why))
 *		die(why);
 *	if (pirn_client_call(client, &PIRN_CALL(.service = "hello", .body = "x", .body_size = 1), &reply))
 *		complain(pirn_client_err_text(reply->err));
 *	else
 *		printf("%u %.*s\n", reply->status, (int)reply->body_size, (const char *)reply->body);
 *	pirn_reply_free(&reply);
 *	pirn_client_close(&client);
 *
 * (doc/examples/client.c is a whole program.) Link with -lpirn; pkg-config knows it as "pirn".
 *
 * One client serves a whole program: it keeps a connection to each broker, up again by itself
 * when one breaks, and has one thread of its own. All functions may be called from any thread,
 * at the same time; only pirn_client_close must be the last.
 *
 * Calls are asynchronous underneath. pirn_client_call waits for its own one;
 * pirn_client_call_async takes any number (max_calls at most) and tells each reply to a callback,
 * which runs in the client's thread: it should be quick, must not wait for another call, and may
 * start further ones. Whatever is handed in is copied before the function returns.
 *
 * What becomes of a call. It goes to one broker, and from there to one worker. It ends once and
 * only once: with the service's answer (err is PIRN_CLIENT_OK, whatever the status), or with an
 * error. After PIRN_CLIENT_LOST and PIRN_CLIENT_DEADLINE nobody knows whether the service ran; a
 * call that is marked idempotent is run again when a worker or broker is lost, in the time it has.
 * With no broker in reach a call waits for one, connect_wait_ms at most, or five times as long when
 * one has just said that it goes: it is being replaced.
 *
 * An event is kept: once pirn_client_send has returned OK it is on disk, and will be run until it
 * has succeeded, or its attempts are used up (the service's manifest says how many; it is then a
 * dead letter, which can be put back). A send whose broker is lost is repeated by itself, as often
 * as its time allows, and is accepted once all the same. UNDECIDED means that this time was over
 * before anybody had said yes or no: send it again with the same key, and it is there once.
 *
 * An event with a type and no service is a CloudEvent: every service that subscribes to its type (and its
 * source and subject) gets it, each by itself, with its own attempts and its own end.
 *
 * A key (Idempotency-Key) names what is to happen once: a second call or event of the same service
 * with the same key and body gets what the first one got, for a day. With another body it is
 * refused.
 *
 * Memory is bounded: beyond max_calls or max_bytes a call is refused at once with
 * PIRN_CLIENT_FULL, and has not been sent. That is back-pressure: wait for replies, then go on.
 *
 * A client does not survive fork(): open it in the child. The library blocks all signals in its
 * threads. Structs are filled through their macros, which set their size: a program that was
 * compiled against an older header goes on working with a newer library.
 */
#ifndef PIRN_CLIENT_H
#define PIRN_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PIRN_CLIENT_API __attribute__((visibility("default")))
#else
#define PIRN_CLIENT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors --------------------------------------------------------------- */

/* name, number, whether the same call may succeed later, text for people. Numbers never change. */
#define PIRN_CLIENT_ERRORS(X) \
	X(OK, 0, false, "the service answered") \
	X(FULL, 1, true, "too many calls are under way in this client") \
	X(TOO_LARGE, 2, false, "the request or the response is too large") \
	X(INVALID, 3, false, "an argument is wrong") \
	X(NOMEM, 4, true, "out of memory") \
	X(CLOSED, 5, false, "the client was closed") \
	X(WRONG_THREAD, 6, false, "a callback must not wait for a call, nor close its client") \
	X(SYSTEM, 7, true, "a thread or a socket could not be made") \
	X(NO_BROKER, 8, true, "no broker could be reached") \
	X(UNKNOWN_SERVICE, 9, false, "no such service is known") \
	X(NO_WORKER, 10, true, "no worker is there for the service") \
	X(OVERLOADED, 11, true, "the broker has more work than it can hold") \
	X(QUEUE_FULL, 12, true, "the service's queue is full") \
	X(BREAKER_OPEN, 13, true, "the service's circuit breaker is open: it failed too often, or somebody has opened it") \
	X(DRAINING, 14, true, "the broker is shutting down") \
	X(DEADLINE, 15, true, "the time for the call was up") \
	X(LOST, 16, true, "the worker or the broker was lost in mid-call") \
	X(CRASHED, 17, false, "the service broke its contract") \
	X(REFUSED, 18, false, "the broker refused the call") \
	X(NOT_DURABLE, 19, true, "the event cannot be kept on disk now") \
	X(KEY_BUSY, 20, true, "a call with this key is under way") \
	X(KEY_BODY, 21, false, "this key came with another request before") \
	X(KEYS_FULL, 22, true, "there is no room to remember another key") \
	X(UNDECIDED, 23, true, "it could not be told in time whether the event is there") \
	X(NOT_FOUND, 24, false, "no such event is known") \
	X(UNSUPPORTED, 25, false, "the brokers keep no events: they have no Redis") \
	X(NO_SUBSCRIBER, 26, false, "no service subscribes to such events, and the brokers are strict") \
	X(UNSENT, 27, true, "the service ran, but the events that it sends could not be stored")

enum pirn_client_err {
#define X(name, number, retryable, text) PIRN_CLIENT_##name = number,
	PIRN_CLIENT_ERRORS(X)
#undef X
};

PIRN_CLIENT_API const char *pirn_client_err_name(enum pirn_client_err err); /* "NO_WORKER"; "?" for none of them */
PIRN_CLIENT_API const char *pirn_client_err_text(enum pirn_client_err err); /* "no worker is there …"; never NULL */
PIRN_CLIENT_API bool pirn_client_err_retryable(enum pirn_client_err err);

/* ---- the client ----------------------------------------------------------- */

struct pirn_client;

struct pirn_client_options {
	size_t size;
	const char *brokers;      /* tcp://HOST:PORT or ipc://PATH, comma-separated. A name that stands for several
	                           * addresses is several brokers. Required. */
	const char *name;         /* for the brokers' logs and lists; NULL: "client" */
	uint32_t max_calls;       /* under way at once; 0: 65,536 */
	uint64_t max_bytes;       /* of requests under way; 0: 256 MiB */
	uint32_t connect_wait_ms; /* how long a call waits for a broker; 0: 2,000 */
	bool log;                 /* what happens to connections, on stderr; the first client of a process decides */
};

#define PIRN_OPTIONS(...) ((struct pirn_client_options){ .size = sizeof(struct pirn_client_options), __VA_ARGS__ })

/* Makes a client; *out is good until pirn_client_close. Brokers need not be there yet. INVALID, NOMEM,
 * SYSTEM: *out is untouched and a sentence is in why (may be NULL when why_room is 0). */
PIRN_CLIENT_API enum pirn_client_err pirn_client_open(
	const struct pirn_client_options *options, struct pirn_client **out, char *why, size_t why_room);

/* Ends what is under way with PIRN_CLIENT_CLOSED (the callbacks run before it returns), takes leave of
 * the brokers, and frees the client: *client is NULL then. Takes NULL. WRONG_THREAD: nothing happened. */
PIRN_CLIENT_API enum pirn_client_err pirn_client_close(struct pirn_client **client);

/* ---- calls ---------------------------------------------------------------- */

struct pirn_call {
	size_t size;
	const char *service;
	const void *body; /* bytes as the service wants them; may be NULL when body_size is 0 */
	size_t body_size; /* at most 16 MiB */
	uint32_t timeout_ms; /* until the reply is there; 0: 30,000 */
	bool idempotent;  /* may be run more than once */
	const char *key;  /* an Idempotency-Key, 1 to 255 bytes; NULL: none */
};

#define PIRN_CALL(...) ((struct pirn_call){ .size = sizeof(struct pirn_call), __VA_ARGS__ })

struct pirn_reply {
	enum pirn_client_err err; /* OK: the service answered, and status and body are its own */
	unsigned status;          /* an HTTP status: the service's, or the one that goes with err */
	uint32_t retry_after_ms;  /* how long to wait before trying again; 0: not said */
	uint32_t attempts;        /* how often the service was run; 0: not known */
	const void *body;         /* NUL-terminated after body_size when it came from pirn_client_call; never NULL */
	size_t body_size;
};

/* Calls and waits. Returns the reply's err. *reply is the caller's, to be freed; it is NULL when there is
 * none: FULL, TOO_LARGE of the request, INVALID, CLOSED, WRONG_THREAD, NOMEM; nothing was sent then (after
 * NOMEM it may have been). */
PIRN_CLIENT_API enum pirn_client_err pirn_client_call(
	struct pirn_client *client, const struct pirn_call *call, struct pirn_reply **reply);
PIRN_CLIENT_API void pirn_reply_free(struct pirn_reply **reply); /* takes NULL */

/* Runs once for each call that was taken, in the client's thread. reply is good until it returns. */
typedef void pirn_reply_fn(void *arg, const struct pirn_reply *reply);

/* Starts a call. OK: fn will be called, perhaps before this returns. Otherwise (FULL, TOO_LARGE, INVALID,
 * CLOSED, NOMEM) it will not. */
PIRN_CLIENT_API enum pirn_client_err pirn_client_call_async(
	struct pirn_client *client, const struct pirn_call *call, pirn_reply_fn *fn, void *arg);

/* ---- events --------------------------------------------------------------- */

#define PIRN_ID_SIZE 27 /* of an id's text, with the NUL */

struct pirn_event {
	size_t size;
	const char *service;
	const void *body;
	size_t body_size;
	const char *key;        /* as a call's */
	uint64_t delay_ms;      /* not before so long from now */
	uint64_t not_before_ms; /* nor before that time, Unix time in ms; 0: at once */
	uint32_t timeout_ms;    /* until it is accepted; 0: 30,000; at most 60,000 */
	bool want_result;       /* keep the service's answer, for pirn_client_result */
	bool ack_memory;        /* accepted as soon as a broker has it: faster, and lost with that broker */
	/* Instead of service: an event for all who subscribe. type and source are required then; all are UTF-8
	 * without control characters, at most 4,096 bytes (event_id 1,024, content_type 256). */
	const char *type;       /* such as "order.created" */
	const char *source;     /* a URI-reference, such as "/shop" */
	const char *subject;    /* NULL: none */
	const char *event_id;   /* with source, what it is known by: sent again within 10 minutes, by whatever way, it
	                         * is the same event, whatever it carries. NULL: the id that it is given. No key then */
	const char *content_type; /* of the body; NULL: not said */
};

#define PIRN_EVENT(...) ((struct pirn_event){ .size = sizeof(struct pirn_event), __VA_ARGS__ })

struct pirn_sent {
	enum pirn_client_err err; /* OK: it was accepted */
	unsigned status;          /* 202, or the HTTP status that goes with err */
	uint32_t retry_after_ms;  /* how long to wait before trying again; 0: not said */
	bool replayed;            /* its key was known, and this is about the first event of that key */
	char id[PIRN_ID_SIZE];    /* a ULID */
};

/* Sends an event and waits until it is accepted. id may be NULL; it is filled also after UNDECIDED, because
 * that event may be there, and is "" when nothing was sent (FULL, TOO_LARGE, INVALID, CLOSED, WRONG_THREAD). */
PIRN_CLIENT_API enum pirn_client_err pirn_client_send(
	struct pirn_client *client, const struct pirn_event *event, char id[PIRN_ID_SIZE]);

/* As pirn_client_call_async; sent is good until it returns. */
typedef void pirn_sent_fn(void *arg, const struct pirn_sent *sent);
PIRN_CLIENT_API enum pirn_client_err pirn_client_send_async(
	struct pirn_client *client, const struct pirn_event *event, pirn_sent_fn *fn, void *arg);

/* ---- what became of an event ------------------------------------------------ */

/* name, number. Numbers never change; those from DONE on are ends. */
#define PIRN_STATES(X) \
	X(READY, 1) \
	X(RUNNING, 2) \
	X(WAITING, 3) /* delayed, or between two attempts */ \
	X(ENDING, 4) \
	X(DONE, 5) \
	X(DEAD, 6) /* a dead letter */ \
	X(EXPIRED, 7) /* too old before it could be run */ \
	X(CANCELLED, 8)

enum pirn_state {
#define X(name, number) PIRN_STATE_##name = number,
	PIRN_STATES(X)
#undef X
};

PIRN_CLIENT_API const char *pirn_state_name(enum pirn_state state); /* "done"; "unknown" for none of them */

struct pirn_result {
	enum pirn_client_err err; /* OK: the event is known */
	enum pirn_state state;
	unsigned status;          /* what the service answered last; 0: it has not */
	uint32_t attempt;         /* the run that goes on, or the last one; 0: none yet */
	uint32_t attempts;        /* of so many; 0: not known */
	uint64_t accepted_ms, ended_ms; /* Unix time; 0: not known, not yet */
	char service[64];
	const void *body;         /* the answer, when want_result was set and it is DONE; never NULL; NUL-terminated */
	size_t body_size;
};

/* Asks all brokers what became of an event. Of one that went to several services it tells of the delivery that
 * has furthest to go: one that has not ended, or else one that is not DONE. With wait_ms it waits for the end, at most so long: the result
 * then says how it stands. OK: *result is the caller's, to be freed. Otherwise *result is NULL: NOT_FOUND
 * (no such event, or its result was not kept), INVALID (no id), and what keeps brokers from saying: NO_BROKER,
 * NOT_DURABLE, UNDECIDED (try again). */
PIRN_CLIENT_API enum pirn_client_err pirn_client_result(
	struct pirn_client *client, const char *id, uint32_t wait_ms, struct pirn_result **result);
PIRN_CLIENT_API void pirn_result_free(struct pirn_result **result); /* takes NULL */

/* The same without waiting; result is good until fn returns, and its err says whether the rest counts. */
typedef void pirn_result_fn(void *arg, const struct pirn_result *result);
PIRN_CLIENT_API enum pirn_client_err pirn_client_result_async(
	struct pirn_client *client, const char *id, uint32_t wait_ms, pirn_result_fn *fn, void *arg);

/* Cancels an event that has not ended; what has begun to run runs on, and is not repeated. The result says
 * how it stands now: CANCELLED, or that it had ended before. */
PIRN_CLIENT_API enum pirn_client_err pirn_client_cancel(
	struct pirn_client *client, const char *id, struct pirn_result **result);

#ifdef __cplusplus
}
#endif

#endif
