/* What the sender knows, written down while it happens: a file with one line for each
 * step of each event, written before the next step is taken.
 *
 *   sent e17 http key 8123        at 8,123 ms of the monotonic clock, with a key
 *   accepted e17 01J… 8130        the promise, under this id
 *   refused e17 503 8130          not there, and told so
 *   unknown e17 - 8130            no decision came
 *
 * An event with a key is sent again under it until it is decided; its last promise
 * counts. Whoever judges reads the file, not the sender's memory.
 */
#ifndef TESTS_FAULT_RECORD_H
#define TESTS_FAULT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_fate { RECORD_NONE, RECORD_SENT, RECORD_REFUSED, RECORD_UNKNOWN, RECORD_ACCEPTED };

struct record;

struct record *record_open(const char *path);
void record_close(struct record **r);

/* From any thread. Fail the program when they cannot be written. */
void record_sent(struct record *r, unsigned serial, const char *way, bool keyed);
void record_accepted(struct record *r, unsigned serial, const char *id);
void record_refused(struct record *r, unsigned serial, unsigned status);
void record_unknown(struct record *r, unsigned serial);

/* ---- reading --------------------------------------------------------------------- */

struct recorded {
	enum record_fate fate; /* RECORD_SENT: nobody has heard of it since */
	bool keyed;
	bool in_doubt;         /* it was unknown at least once */
	uint64_t sent_ms, decided_ms;
	char id[27];           /* of what was accepted */
};

/* All events, by their serial; free() it. */
struct recorded *record_read(const char *path, size_t *n);

#endif
