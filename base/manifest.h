/* What a service says about itself: its manifest, compiled. The worker reads it
 * from service.yaml (worker/yaml.h), announces it in HELLO, and hands env and
 * secrets to the service; broker and gateway get the wire's form of it.
 *
 * One schema table drives everything: each row is a key, a type with its
 * converter, a default, bounds and a sentence. base_manifest_new() applies the
 * table's defaults, a reader walks the table for what may stand where, and
 * base_manifest_set() converts one value. This file knows nothing of YAML: a
 * reader hands in keys and text, and puts positions before what *why says.
 *
 * A manifest is plain and heap-owned: every pointer in it belongs to it, lists
 * may be NULL when empty, and texts are UTF-8 without NUL bytes.
 */
#ifndef BASE_MANIFEST_H
#define BASE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BASE_MANIFEST_NAME_MAX   63  /* longest service name: [a-z][a-z0-9-]{0,62} */
#define BASE_MANIFEST_RESERVED "pirn-" /* no user's service is called so */
#define BASE_MANIFEST_PATH_MAX   512 /* longest route path */
#define BASE_MANIFEST_PARAMS_MAX 16  /* parameters of one path */
#define BASE_MANIFEST_ROUTES_MAX 256 /* routes of one service */
#define BASE_MANIFEST_PAIRS_MAX  256 /* entries of env, and of secrets */
#define BASE_MANIFEST_HEADERS_MAX 32
#define BASE_MANIFEST_HEADER_MAX 8192 /* bytes of a header's value, also with its secrets */
#define BASE_MANIFEST_TIMERS_MAX 64  /* timers of one service */
#define BASE_MANIFEST_CRON_MAX   256 /* bytes of an expression */
#define BASE_MANIFEST_SOURCES_MAX 16 /* other databases of one service */
#define BASE_MANIFEST_OPS_MAX    32  /* operations of one source */
#define BASE_MANIFEST_SOURCE_NAME_MAX 48 /* shorter than a timer's, which its lease is: see gateway/lease.h */
#define BASE_MANIFEST_LEASE      "lease-" /* what the timers are called that are leases; no timer of a manifest is */
#define BASE_MANIFEST_DATA_MAX   (32u * 1024) /* bytes of the data of all timers of a service, as JSON */
#define BASE_MANIFEST_URL_MAX    2048 /* bytes of a URL */
#define BASE_MANIFEST_DATA_DEPTH 16 /* lists and mappings in one another */
#define BASE_MANIFEST_PATTERN_MAX 255 /* bytes of a subscription's pattern */
#define BASE_MANIFEST_SUBSCRIPTIONS_MAX 64 /* of one service */

/* An http entry of events: the gateway answers METHOD PATH by this service. */
struct base_manifest_route {
	char *method;    /* GET HEAD POST PUT PATCH DELETE OPTIONS */
	char *path;      /* /a/{id}/{rest*}; see base_manifest_path_check */
	bool async;      /* every request becomes an event: 202 */
	bool ack_memory; /* its events are accepted before they are on disk: G1 is given up */
};

/* What happens to slots that were due while nobody was there. */
enum base_manifest_missed {
	BASE_MANIFEST_MISSED_SKIP,
	BASE_MANIFEST_MISSED_ONCE, /* the latest of them is run */
	BASE_MANIFEST_MISSED_ALL   /* each one is run, in order */
};

/* A timer entry of events: the service is run at these times. */
struct base_manifest_timer {
	char *name;        /* as a service's */
	char *cron;        /* NULL: every_ms */
	uint32_t every_ms; /* whole seconds; 0: cron */
	char *zone;        /* NULL: UTC */
	char *data;        /* JSON; NULL: null */
	uint32_t missed;   /* an enum base_manifest_missed */
	bool overlap;      /* a slot is run while the run of the one before goes on */
};

/* An event entry of events: the service gets the events without an address whose type, source and
 * subject match these patterns, in which a * stands for any sequence. */
struct base_manifest_subscription {
	char *type;
	char *source, *subject; /* NULL: any */
};

struct base_manifest_words {
	char **items;
	size_t n;
};

/* A redis entry of events: the entries of a stream, or changes of keys, in somebody else's Redis. */
struct base_manifest_source {
	char *name;   /* as a service's, at most BASE_MANIFEST_SOURCE_NAME_MAX long */
	char *url;    /* without a password; or $NAME, which the gateways know */
	char *stream; /* NULL: keys */
	char *group;  /* of a stream; NULL: the service's name */
	char *keys;   /* a pattern; NULL: stream */
	struct base_manifest_words ops; /* of keys: set, del, expired … */
};

struct base_manifest_pair {
	char *name; /* [A-Za-z_][A-Za-z0-9_]*; of headers: a token */
	char *value;
};

struct base_manifest_pairs {
	struct base_manifest_pair *items; /* in the order of the manifest */
	size_t n;
};

/* Retry, breaker and queue are carried for the broker; the worker reads them and does nothing with them. */
struct base_manifest_retry {
	uint32_t attempts, base_ms, max_ms, age_ms;
};

struct base_manifest_breaker {
	uint32_t window_ms, calls, failure_percent, consecutive, open_ms, open_max_ms, probes, successes,
		slow_percent;
};

/* Of what waits in one broker. 0: no bound but the broker's own. */
struct base_manifest_queue {
	uint32_t items, bytes, age_ms; /* calls */
	uint32_t target_ms, interval_ms; /* controlled delay */
	uint32_t events, event_bytes, event_age_ms; /* accepted, not ended; the oldest one's age */
};

struct base_manifest {
	char *service; /* required */
	char *handler; /* required: the file name of its .so, beside the manifest; or the URL of an endpoint */
	char *description; /* NULL: none */
	char *version;     /* NULL: none; for people */
	char *callback;    /* URL to which the outcomes of its events go, unless their sender named another; NULL: none */
	struct base_manifest_route *routes;
	size_t n_routes;
	struct base_manifest_timer *timers;
	size_t n_timers;
	struct base_manifest_subscription *subscriptions;
	size_t n_subscriptions;
	struct base_manifest_source *sources;
	size_t n_sources;
	uint32_t timeout_ms;        /* of one run, from dispatch */
	uint32_t concurrency;       /* runs at once in one worker */
	uint32_t concurrency_total; /* over all workers; 0: no bound */
	uint32_t max_body_bytes;    /* 0: the gateway's own bound */
	struct base_manifest_retry retry;
	struct base_manifest_breaker breaker;
	struct base_manifest_queue queue;
	/* What the service reads by name through its API. env holds the values themselves; a secret's
	 * value is a file's path (a relative one starts at the manifest's folder), whose content the
	 * worker reads at start. A name stands in one of the two only. */
	struct base_manifest_pairs env, secrets;
	/* What an HTTP endpoint's requests get; base_manifest_reference says where secrets stand in the values. They stay in
	 * the worker: a manifest travels without them. */
	struct base_manifest_pairs headers;
};

#define BASE_MANIFEST_WHY 512 /* room that holds every sentence of this module */

/* ---- the schema ---------------------------------------------------------- */

enum base_manifest_type {
	BASE_MANIFEST_TEXT,     /* char *; not empty; min and max bound its bytes */
	BASE_MANIFEST_SERVICE,  /* char *: a service's name */
	BASE_MANIFEST_HANDLER,  /* char *: a file name, without a folder, or an URL */
	BASE_MANIFEST_HTTP,     /* char *: an http or https URL */
	BASE_MANIFEST_METHOD,   /* char *: an HTTP method */
	BASE_MANIFEST_ROUTE,    /* char *: a route's path */
	BASE_MANIFEST_PATTERN,  /* char *: a subscription's */
	BASE_MANIFEST_BOOL,     /* bool: true or false */
	BASE_MANIFEST_ACK,      /* bool: disk or memory; memory is true */
	BASE_MANIFEST_CRON,     /* char *: an expression that is due some day */
	BASE_MANIFEST_ZONE,     /* char *: the name of a time zone that this machine knows */
	BASE_MANIFEST_DATA,     /* char *: any value, as JSON; text that is set must be JSON */
	BASE_MANIFEST_MISSED,   /* uint32_t: skip, once or all */
	BASE_MANIFEST_OVERLAP,  /* bool: skip or allow; allow is true */
	BASE_MANIFEST_URL,      /* char *: where a Redis is; see base_manifest_url_check */
	BASE_MANIFEST_OPS,      /* struct base_manifest_words: a list of names of operations */
	BASE_MANIFEST_COUNT,    /* uint32_t */
	BASE_MANIFEST_DURATION, /* uint32_t milliseconds: 500ms 5s 2m 1h 1d */
	BASE_MANIFEST_BYTES,    /* uint32_t: 1000, 64k, 1m */
	BASE_MANIFEST_PERCENT,  /* uint32_t: 50% */
	BASE_MANIFEST_MAP,      /* a mapping with keys of its own, at the row's offset */
	BASE_MANIFEST_PAIRS,    /* struct base_manifest_pairs: NAME: text */
	BASE_MANIFEST_HEADERS,  /* struct base_manifest_pairs: Name: text */
	BASE_MANIFEST_EVENTS    /* a list of one-key mappings, each of a kind out of row.keys */
};

struct base_manifest_key {
	const char *name; /* NULL ends a table */
	enum base_manifest_type type;
	size_t offset;        /* of the field, in the struct that the table describes */
	const char *standard; /* the default as it would be typed; NULL: none */
	uint64_t min, max;    /* inclusive; max 0: unbounded */
	bool required;
	const struct base_manifest_key *keys; /* MAP: its keys. EVENTS: its kinds, each a MAP row; a
	                                       * kind whose keys are NULL is known and not served yet */
	const char *help;
};

/* The top-level table; everything else hangs below it. */
const struct base_manifest_key *base_manifest_schema(void);

/* The row of that name, or NULL. */
const struct base_manifest_key *base_manifest_find(
	const struct base_manifest_key *keys, const char *name);

/* The name in the table that name was probably meant to be; NULL when none is near. */
const char *base_manifest_nearest(const struct base_manifest_key *keys, const char *name);

/* What the row takes, for messages and for people: a duration such as 5s, from 1ms to 1h. */
void base_manifest_expected(const struct base_manifest_key *key, char *out, size_t room);

/* ---- building ------------------------------------------------------------ */

/* A manifest with every default applied, and no service, handler or route; NULL: out of memory. */
struct base_manifest *base_manifest_new(void);
void base_manifest_free(struct base_manifest **m); /* takes NULL, leaves NULL */

/* Sets the scalar field of key in record (the struct that key's table describes) from UNTRUSTED
 * text. An older value is replaced. On an error nothing changed and why says what was expected and
 * what came: expected a duration such as 5s, got "5 parsecs". */
BASE_MUSTUSE enum base_err base_manifest_set(const struct base_manifest_key *key, void *record,
	const char *text, char *why, size_t why_room);

/* Applies the defaults of a table to a zeroed record. */
BASE_MUSTUSE enum base_err base_manifest_defaults(
	const struct base_manifest_key *keys, void *record);

/* Takes the route's texts on BASE_OK (and zeroes *route); EXISTS when the manifest has that method
 * with a path of the same shape ({names} do not tell paths apart), FULL at BASE_MANIFEST_ROUTES_MAX. */
BASE_MUSTUSE enum base_err base_manifest_add_route(
	struct base_manifest *m, struct base_manifest_route *route, char *why, size_t why_room);
void base_manifest_route_fini(struct base_manifest_route *route);

/* Takes the timer's texts on BASE_OK (and zeroes *timer). INVALID: not one of cron and every, or not whole seconds;
 * EXISTS: the manifest has one of that name; FULL: too many, or too much data. */
BASE_MUSTUSE enum base_err base_manifest_add_timer(
	struct base_manifest *m, struct base_manifest_timer *timer, char *why, size_t why_room);
void base_manifest_timer_fini(struct base_manifest_timer *timer);
/* The same with a subscription; EXISTS when the manifest has just that one. */
BASE_MUSTUSE enum base_err base_manifest_add_subscription(struct base_manifest *m,
	struct base_manifest_subscription *subscription, char *why, size_t why_room);
void base_manifest_subscription_fini(struct base_manifest_subscription *subscription);

/* Takes the source's texts on BASE_OK (and zeroes *source); one without a name gets redis-N. INVALID: not one of
 * stream and keys, or what does not belong to it; EXISTS: the manifest has one of that name; FULL: too many. */
BASE_MUSTUSE enum base_err base_manifest_add_source(
	struct base_manifest *m, struct base_manifest_source *source, char *why, size_t why_room);
void base_manifest_source_fini(struct base_manifest_source *source);

/* Copies the name of an operation. INVALID: it is none. EXISTS: it is there already. FULL: too many. UNTRUSTED. */
BASE_MUSTUSE enum base_err base_manifest_add_op(
	struct base_manifest_words *ops, const char *op, char *why, size_t why_room);

/* Copies both. INVALID: not a name. EXISTS: it is there already. FULL: too many. UNTRUSTED texts. */
BASE_MUSTUSE enum base_err base_manifest_add_pair(struct base_manifest_pairs *pairs,
	const char *name, const char *value, char *why, size_t why_room);
const char *base_manifest_pair_get(
	const struct base_manifest_pairs *pairs, const char *name); /* NULL: none */

/* A header of an HTTP endpoint. INVALID: not the name of one, or one that is not the manifest's to give; or the value has
 * a control, or a $ that begins neither ${NAME} nor $$. EXISTS, in whatever case; FULL. UNTRUSTED texts. */
BASE_MUSTUSE enum base_err base_manifest_add_header(struct base_manifest_pairs *headers,
	const char *name, const char *value, char *why, size_t why_room);
/* How many bytes at text are ${NAME}; 0: none. */
size_t base_manifest_reference(const char *text, char name[BASE_MANIFEST_NAME_MAX + 1]);
bool base_manifest_names_secret(const struct base_manifest_pairs *headers, const char *secret);

/* What holds between fields: required ones are there, retry.base is at most retry.max, no name is
 * both in env and secrets. *key names the top-level key at fault, for the reader's position. */
BASE_MUSTUSE enum base_err base_manifest_check(
	const struct base_manifest *m, const char **key, char *why, size_t why_room);

/* ---- rules that others need, too ------------------------------------------ */

bool base_manifest_is_service(const char *name);  /* [a-z][a-z0-9-]{0,62}; UNTRUSTED */
bool base_manifest_is_url(const char *handler); /* it begins as one: http:// or https:// */
/* NULL, or what is wrong with a URL, in words. It has a host, no user and no fragment, and is made of visible
 * ASCII only; whether the host can be one is for others. UNTRUSTED. */
const char *base_manifest_url_fault(const char *url);
bool base_manifest_is_method(const char *method); /* one of the seven; UNTRUSTED */
bool base_manifest_is_pattern(const char *text); /* 1 to 255 bytes of UTF-8, no controls; UNTRUSTED */

/* [a-z0-9][a-z0-9._-]{0,31}: as Redis names what happened to a key. UNTRUSTED. */
bool base_manifest_is_op(const char *op);

/* Where a source's Redis is: redis:// or unix:// without user and password, because a manifest travels and is
 * shown; or $NAME or ${NAME}: the whole URL is what the gateways have under that name. UNTRUSTED. why may be NULL. */
BASE_MUSTUSE enum base_err base_manifest_url_check(const char *url, char *why, size_t why_room);
/* The name of a URL that is a reference, with its NUL; 0: it is none. UNTRUSTED, and checked. */
size_t base_manifest_url_name(const char *url, char out[BASE_MANIFEST_NAME_MAX + 1]);

/* A route's path: begins with /, segments are literals, {name}, or a last {name*} that takes the
 * rest (one segment at least); a literal is made of A-Z a-z 0-9 and -._~!$&'()*+,;=:@ and is not .
 * or .. ; no empty segment, so no // and no / at the end, except the path / itself; no name twice;
 * not /v1 or below it, /healthz, /readyz, /metrics. UNTRUSTED. why may be NULL. */
BASE_MUSTUSE enum base_err base_manifest_path_check(const char *path, char *why, size_t why_room);

#endif
