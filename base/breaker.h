/* A circuit breaker: it stops asking something that keeps failing, and finds out with a
 * few probes when that has healed. Pure: time and chance are arguments. The broker has
 * one for each service, a worker one for its Redis and for each dependency that a
 * service names.
 *
 *            too many failures                       open_ms are over
 *   CLOSED ────────────────────▶ OPEN ─────────────────────────────────▶ HALF_OPEN
 *      ▲                          ▲       a probe failed, or expired         │ │
 *      │                          └──────────────────────────────────────────┘ │
 *      └────────────────────────── enough probes succeeded ────────────────────┘
 *
 * It opens when, over the last window_ms, at least `calls` ended and failure_percent of
 * them failed, or when `consecutive` in a row failed; that is looked at when one has failed,
 * so a success never opens it. It stays open for open_ms, twice as
 * long each time it opens again before it was closed, at most open_max_ms, a tenth more
 * or less by chance, so that breakers that opened together do not probe together.
 *
 * Whoever wants to go through takes a pass and gives it back with what became of it. A
 * pass carries the generation, which grows with every change of state: what was begun
 * before the change says nothing of the time after it and is ignored. A pass of
 * HALF_OPEN is one of `probes` places at a time; one that is not given back within
 * probe_ms counts as failed, so that a lost probe cannot hold the breaker half-open.
 *
 * It can be forced open or closed. Forced closed it lets all pass; forced open none.
 * Back in AUTO it begins anew, closed.
 */
#ifndef BASE_BREAKER_H
#define BASE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BASE_BREAKER_BUCKETS 10
#define BASE_BREAKER_PROBES  8 /* most that conf.probes may be */

enum base_breaker_state { BASE_BREAKER_CLOSED, BASE_BREAKER_OPEN, BASE_BREAKER_HALF_OPEN, BASE_BREAKER_STATE__N };
enum base_breaker_force { BASE_BREAKER_AUTO, BASE_BREAKER_FORCED_OPEN, BASE_BREAKER_FORCED_CLOSED };
enum base_breaker_end { BASE_BREAKER_OK, BASE_BREAKER_FAILED, BASE_BREAKER_UNKNOWN /* says nothing: only the place is given back */ };

struct base_breaker_conf {
	uint32_t window_ms;
	uint32_t calls;           /* in the window; fewer never open it by their share */
	uint32_t failure_percent; /* 1 to 100 */
	uint32_t consecutive;     /* failures in a row; 0: never opened by them */
	uint32_t open_ms, open_max_ms;
	uint32_t probes;    /* at a time, 1 to BASE_BREAKER_PROBES */
	uint32_t successes; /* in a row, that close it */
	uint32_t probe_ms;  /* the lease of a probe */
};

/* 10 s, 20, 50 %, 5 in a row; 5 s to 60 s; 3 probes, 5 successes; a lease of 30 s. */
extern const struct base_breaker_conf base_breaker_standard;

/* Generation in the upper half; below it the probe's number, 0: no probe. 0 is no pass. */
typedef uint64_t base_breaker_pass;

struct base_breaker {
	struct base_breaker_conf conf;
	enum base_breaker_state state;
	enum base_breaker_force force;
	uint32_t generation;
	uint32_t openings;    /* in a row, without having been closed between them */
	uint64_t opened_ms;   /* OPEN: since when … */
	uint64_t until_ms;    /* … and until when */
	uint32_t in_row;      /* failures; HALF_OPEN: successes */
	uint32_t last_probe;
	struct {
		uint32_t number; /* 0: free */
		uint64_t until_ms;
	} probes[BASE_BREAKER_PROBES];
	uint64_t bucket;      /* number of the newest one */
	uint64_t bucket_end_ms; /* when the next one begins */
	struct {
		uint32_t ok, failed;
	} buckets[BASE_BREAKER_BUCKETS];
	uint64_t transitions[BASE_BREAKER_STATE__N]; /* into each state, ever */
};

void base_breaker_init(struct base_breaker *b, const struct base_breaker_conf *conf, uint64_t now_ms);
/* Other settings from now on; state and counts stay, but the window's when its width is another.
 * What is out of bounds becomes what is next to it. Probes beyond a number that is lowered go on. */
void base_breaker_set(struct base_breaker *b, const struct base_breaker_conf *conf);

/* Whether a pass could be had; changes nothing, so a breaker whose time is up says no until the
 * next base_breaker_tick or _take. */
bool base_breaker_lets(const struct base_breaker *b);
/* CLOSED, and not forced: nearly always. What follows has a short way for it, because it stands in the way of
 * every call. */
static inline bool base_breaker_is_calm(const struct base_breaker *b)
{
	return b->state == BASE_BREAKER_CLOSED && b->force == BASE_BREAKER_AUTO;
}
/* 0: none now. */
base_breaker_pass base_breaker_take(struct base_breaker *b, uint64_t now_ms);
/* The same when it is calm. */
static inline base_breaker_pass base_breaker_take_calm(const struct base_breaker *b)
{
	return (base_breaker_pass)b->generation << 32;
}
/* Each pass once, at any time; a probe's after its lease counts as failed. chance: 32 random bits, for
 * the length of an opening. Returns whether the state changed. */
bool base_breaker_give(struct base_breaker *b, uint64_t now_ms, base_breaker_pass pass,
	enum base_breaker_end end, uint32_t chance);
/* The same for an OK; false: it is not calm, or a bucket ends, and nothing happened. */
static inline bool base_breaker_give_ok(struct base_breaker *b, uint64_t now_ms, base_breaker_pass pass)
{
	if (!base_breaker_is_calm(b) || now_ms >= b->bucket_end_ms)
		return false;
	if ((uint32_t)(pass >> 32) != b->generation)
		return true; /* it began before the breaker closed: ignored */
	b->buckets[b->bucket % BASE_BREAKER_BUCKETS].ok++;
	b->in_row = 0;
	return true;
}

/* What happens by itself: OPEN becomes HALF_OPEN, probes expire. Returns whether the state changed. */
bool base_breaker_tick(struct base_breaker *b, uint64_t now_ms, uint32_t chance);
/* When to call it next; UINT64_MAX: never. */
uint64_t base_breaker_due(const struct base_breaker *b);

/* Somebody else who asks the same thing opened his: OPEN until then, unless it is open for longer.
 * openings: how many his were. Returns whether the state changed. */
bool base_breaker_adopt(struct base_breaker *b, uint64_t now_ms, uint64_t until_ms, uint32_t openings);
bool base_breaker_force(struct base_breaker *b, uint64_t now_ms, enum base_breaker_force force);

/* How long until it may let somebody through; 0: it may now. At least 1 while it does not. */
uint64_t base_breaker_wait_ms(const struct base_breaker *b, uint64_t now_ms);
uint32_t base_breaker_probing(const struct base_breaker *b); /* places taken */
void base_breaker_window(const struct base_breaker *b, uint64_t now_ms, uint32_t *ok, uint32_t *failed);
const char *base_breaker_state_name(enum base_breaker_state state); /* "closed", "open", "half-open" */
void base_breaker_check(const struct base_breaker *b);              /* asserts what the essay says */

#endif
