/* A fault and its verdict: a fabric of two of each, a load on it, something that breaks
 * in each of ROUNDS rounds, and then the reckoning.
 *
 *   static struct scene scene = { .name = "kill -9 a worker" };
 *
 *   scene_begin(&scene);
 *   for (unsigned i = 0; i < scene_rounds(); i++) {
 *           scene_flow(&scene, 100);         // so many more are accepted
 *           scene_fault(&scene);             // from here the recovery is timed
 *           … break something, and mend it …
 *           scene_recovered(&scene);         // accepted again, and all that was accepted has ended
 *   }
 *   scene_end(&scene);                       // nothing LOST, nothing DUP, or the test fails
 *
 * scene_end writes a row of the table: to stdout, and to the file named by FAULT_TABLE.
 */
#ifndef TESTS_FAULT_SCENE_H
#define TESTS_FAULT_SCENE_H

#include "tests/fault/effects.h"
#include "tests/fault/load.h"
#include "tests/harness/fabric.h"

#define SCENE_MS 180000 /* patience */

/* LOST: accepted, yet without effect or dead letter. DUP: more than one effect. RECOVERED: unknown, and
 * there. Unexpected: an effect of what was refused, or of what nobody sent. */
struct verdict {
	size_t sent, accepted, refused, unknown;
	size_t lost, dup, recovered, unexpected, dead;
	unsigned letters;        /* dead ones, whosever they are */
	uint64_t effects, total; /* events with an effect; the counter, once an effect */
	uint64_t sum;            /* of the effects, which the counter must be */
	uint64_t redelivered;    /* runs beyond the first and those that were to fail */
};

struct scene {
	const char *name;
	unsigned per_second;   /* 0: 200 */
	load_body_fn *body;    /* NULL: 5 to 155 ms long, one in ten fails once */
	bool may_lose;         /* the loss is told, not judged */
	struct fabric f;       /* n_brokers, n_workers, n_gateways 0: two of each */

	struct load *load;
	char dir[PATH_MAX], record[PATH_MAX + 16], runs[PATH_MAX + 16];
	unsigned rounds;       /* recovered so far */
	uint64_t fault_at;
	uint64_t worst_first_ms, worst_drained_ms;
	struct verdict verdict; /* after scene_end */
};

unsigned scene_rounds(void); /* $ROUNDS, or 2 */

void scene_begin(struct scene *s);
void scene_end(struct scene *s);
void scene_abort(struct scene *s); /* for a test's teardown: ends what a failed test left */

void scene_flow(struct scene *s, unsigned n);
void scene_fault(struct scene *s);
void scene_recovered(struct scene *s);
void scene_drain(struct scene *s);   /* pauses the load; returns when every accepted event has ended */
void scene_resume(struct scene *s);

/* The reckoning alone; the row alone. */
struct verdict scene_judge(struct scene *s);
void scene_tell(const struct scene *s);

/* What is dead starts again, as a supervisor would have it. True, to stand in a wait_until. */
bool scene_supervise(struct scene *s);

/* Log lines of an id in all brokers (workers) together; before scene_end, which ends them. */
unsigned scene_broker_lines(const struct scene *s, const char *id);
unsigned scene_worker_lines(const struct scene *s, const char *id);

#endif
