/* The breakers that a service has for what it depends on (pirn_breaker_* of
 * include/pirn/service.h): base/breaker.h's machine under a name, shared by all runs of
 * the service in this worker.
 *
 * A run that got through holds a pass until it leaves. A dependency that hangs keeps its
 * runs from leaving, so a pass whose run's time is over counts as failed at the next look
 * of anybody, and what its run says later is not heard. But a run may be hurried: its time is
 * its caller's, and shorter than the service's. When that is over it says nothing, unless it
 * was in for WRK_BREAKER_VAIN_MS: an impatient caller must not open the breaker for all.
 * Passes stand in the order in which
 * they were taken, which is nearly that of their deadlines: a look stops at the first one
 * that has time left.
 *
 * Thread-safe, under one lock a service, which is held for well under a microsecond.
 */
#ifndef WRK_BREAKERS_H
#define WRK_BREAKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/breaker.h"
#include "base/err.h"

#define WRK_BREAKERS_MAX     64 /* names of one service */
#define WRK_BREAKER_NAME_MAX 63
#define WRK_BREAKER_VAIN_MS  1000

struct wrk_breakers;
struct wrk_breaker;

/* In the run that took it; zeroed when it is none. */
struct wrk_pass {
	struct wrk_breaker *breaker;
	bool hurried;           /* the run is; whoever enters says so before */
	base_breaker_pass pass; /* 0: its end was counted */
	uint64_t since_ms;
	uint64_t until_ms;      /* the run's deadline */
	struct wrk_pass *prev, *next;
};

struct wrk_breakers *wrk_breakers_new(const char *service); /* borrowed. NULL: out of memory */
void wrk_breakers_free(struct wrk_breakers **b); /* nobody holds a pass */

/* RANGE: not a name; FULL: WRK_BREAKERS_MAX of them; NOMEM. What it counted stays. */
BASE_MUSTUSE enum base_err wrk_breakers_set(struct wrk_breakers *b, const char *name,
	const struct base_breaker_conf *conf, uint64_t now_ms);

/* OK: *out is held until wrk_breakers_leave. UNAVAILABLE: not now, *wait_ms says how long. The others as
 * above: a name that nobody set gets base_breaker_standard. */
BASE_MUSTUSE enum base_err wrk_breakers_enter(struct wrk_breakers *b, const char *name,
	uint64_t now_ms, uint64_t until_ms, struct wrk_pass *out, uint64_t *wait_ms);
void wrk_breakers_leave(struct wrk_breakers *b, struct wrk_pass *pass, uint64_t now_ms, bool ok);

/* How long until it may let somebody through; 0: it may now, or there is none of that name. */
uint64_t wrk_breakers_wait_ms(struct wrk_breakers *b, const char *name, uint64_t now_ms);

/* The name of a pass's breaker. */
const char *wrk_pass_name(const struct wrk_pass *pass);

struct wrk_breaker_figures {
	const char *name;
	enum base_breaker_state state;
	uint64_t opened, refused;
};
/* In order of their first use. fn is called under the lock. */
void wrk_breakers_walk(struct wrk_breakers *b, uint64_t now_ms,
	void (*fn)(void *arg, const struct wrk_breaker_figures *figures), void *arg);

#endif
