/* The credit of one service: how its runs at once are shared out over the
 * brokers. Pure: no link, no clock; link numbers are the session's.
 *
 * A service may run `total` at once in this worker. Each unit of that is in one
 * place: a run that was dispatched and has not ended, a free credit at a broker
 * (granted, not used yet), or spare for the length of a call in here. The
 * invariant, at any time and whatever is on its way:
 *
 *   runs + what the brokers may still send <= total
 *
 * granted and used are cumulative since WELCOME, so a message that is repeated or
 * summed up with the next changes nothing. To raise `granted` is a gift and takes
 * effect when it arrives. To lower it is a question, because the broker may have
 * used the credit meanwhile: until its answer (a CREDIT that says `lowered`) the old
 * number counts, and that link is given nothing. A notice of a backlog may cross the
 * question and have the very number that we ask for: it is not the answer.
 *
 * Who gets a spare unit: the links that told of a backlog greater than what they
 * have free, in turns; if there is none, the link whose run has ended. When
 * somebody lacks credit and nothing is spare, links are asked for up to half of
 * what they have beyond their own backlog. A link that comes up lacks its even
 * share. There is no timer: credit moves when it is asked for.
 *
 * What a broker told of its backlog holds until it tells something else: it speaks
 * only when the number changed. To count down what one gave is to forget those that
 * have come meanwhile.
 *
 * A link that falls takes its free credit with it, which thereby is ours again;
 * its runs still count until they end.
 */
#ifndef WRK_CREDIT_H
#define WRK_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#define WRK_CREDIT_LINKS 64
#define WRK_CREDIT_NONE  UINT32_MAX /* no link: the one whose run it was is gone */

struct wrk_credit_link {
	uint64_t granted;  /* the highest number the broker may still go by */
	uint64_t target;   /* what it was asked to go down to; equal to granted otherwise */
	uint64_t received; /* dispatches */
	uint64_t waiting;  /* items that wait there for credit, as it told last */
	uint64_t share;    /* what it still lacks of its even share */
};

struct wrk_credit {
	uint32_t total;
	uint32_t running; /* dispatched and not ended, of links that fell, too */
	uint32_t turn;    /* the link after the one that was last served among the hungry */
	bool stopped;
	bool again;         /* balance once more when everything was told */
	uint64_t up, dirty; /* a bit a link */
	struct wrk_credit_link links[WRK_CREDIT_LINKS];
};

void wrk_credit_init(struct wrk_credit *c, uint32_t total);

void wrk_credit_up(struct wrk_credit *c, uint32_t link); /* WELCOME: all counts start at 0 */
void wrk_credit_down(struct wrk_credit *c, uint32_t link);

/* A dispatch arrived. False: beyond what was granted, which a correct broker never does; it counts all
 * the same. UNTRUSTED: the caller must bound what runs at once by itself. */
bool wrk_credit_dispatch(struct wrk_credit *c, uint32_t link);

/* A run ended, that came from link (WRK_CREDIT_NONE when that fell since). */
void wrk_credit_result(struct wrk_credit *c, uint32_t link);

/* CREDIT came from a broker, which tells how many items wait there. UNTRUSTED. */
void wrk_credit_report(struct wrk_credit *c, uint32_t link, uint64_t waiting);

/* The same, as the answer to a question: from now on it goes by granted. UNTRUSTED. */
void wrk_credit_lowered(struct wrk_credit *c, uint32_t link, uint64_t granted, uint64_t waiting);

/* Nothing is granted any more. */
void wrk_credit_stop(struct wrk_credit *c);

/* The next link that has to be told its `granted`; false: none. */
bool wrk_credit_next(struct wrk_credit *c, uint32_t *link, uint64_t *granted);

/* What the broker may still send. */
uint64_t wrk_credit_free(const struct wrk_credit *c, uint32_t link);
void wrk_credit_check(const struct wrk_credit *c); /* asserts what the essay says */

#endif
