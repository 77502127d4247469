/* A crowd of clients that mean no good, in a thread of its own: thousands of connections
 * from one epoll loop, each after the manner of its kind. One that ends (the server closes
 * it, mostly) is counted by what it was told, and opened anew.
 *
 *   struct crowd_conf conf = { .base = f.http, .n[CROWD_SLOW_HEAD] = 500, .n[CROWD_IDLE] = 10000 };
 *   struct crowd *c = crowd_start(&conf);
 *   wait_until(…, crowd_ready(c));
 *   … what the others notice of it …
 *   crowd_stop(&c);
 *
 * The load bench (bench/hostile.c) and the tests share it. It needs a file descriptor for
 * each client, and says how many it can have.
 */
#ifndef TESTS_HARNESS_CROWD_H
#define TESTS_HARNESS_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CROWD_KINDS(X) \
	X(SILENT, "silent")       /* connects, and says nothing */ \
	X(IDLE, "idle")           /* one good request, then nothing */ \
	X(SLOW_HEAD, "slow-head") /* a head a byte at a time */ \
	X(SLOW_BODY, "slow-body") /* a body a byte at a time */ \
	X(STALLED, "stalled")     /* a body that stops a byte before its end */ \
	X(UNREAD, "unread")       /* asks for many large answers, and reads none */ \
	X(RESET, "reset")         /* resets the connection in the middle of a body */ \
	X(GARBAGE, "garbage")     /* a good request, and behind it no HTTP at all */ \
	X(ENDLESS, "endless")     /* a chunked body without an end */ \
	X(LARGE, "large")         /* announces a body of 1 GiB, and sends it */ \
	X(HUGE_HEAD, "huge-head") /* headers without an end */

enum crowd_kind {
#define X(name, text) CROWD_##name,
	CROWD_KINDS(X)
#undef X
	CROWD__N
};

const char *crowd_name(enum crowd_kind kind);

struct crowd_conf {
	const char *base;      /* http://127.0.0.1:8080; IPv4 */
	const char *target;    /* takes GET; NULL: /hello */
	const char *post;      /* takes POST; NULL: /v1/invoke/hello */
	const char *large;     /* what UNREAD asks for; NULL: target */
	unsigned n[CROWD__N];
	unsigned body;         /* STALLED announces so many bytes; 0: 1 MiB */
	unsigned byte_ms;      /* between two bytes of a slow one; 0: 1 s */
	unsigned again_ms;     /* how soon one that ended comes again; 0: 100 ms */
};

struct crowd_counts {
	uint64_t opened, ended, failed; /* connections: made; closed by the server (or by RESET); not made */
	uint64_t mute;                  /* of the ended: those that were told no status */
	unsigned open, settled;         /* now; settled: IDLE has its answer, UNREAD its request away, … */
	uint32_t status[600];           /* answers */
};

struct crowd;

/* Raises the limit of open files as far as it may. Aborts when the thread cannot be made. */
struct crowd *crowd_start(const struct crowd_conf *conf);
/* So far. */
struct crowd_counts crowd_counts(struct crowd *c, enum crowd_kind kind);
/* Everybody is where they want to be, for once. */
bool crowd_ready(struct crowd *c);
/* Those of a kind that end from now on do not come again. */
void crowd_dismiss(struct crowd *c, enum crowd_kind kind);
void crowd_stop(struct crowd **c); /* closes all */

/* How many connections this process could have, after raising its limit as far as it may. */
size_t crowd_room(void);

#endif
