/* When a timer fires: a cron expression in a time zone, or every so many seconds.
 *
 *   minute hour day-of-month month day-of-week     0 3 * * mon-fri
 *
 * Each field is a list of numbers, ranges and steps: 1,5,10-20,0-30/5, * for all, and a
 * step of all. Months and weekdays may be named by three letters, in either case; 7 is
 * Sunday, too. When both days are restricted (neither begins with a star), one of
 * them is enough. The words @yearly @annually @monthly @weekly @daily @midnight @hourly
 * stand for what they say. Steps of a single number (5/10), ranges that go backwards and
 * @reboot are refused, since those who know them disagree about what they mean.
 *
 * Daylight saving, as cron(8) of Debian and cronie document it, for changes of less than
 * three hours: a time that a change leaps over fires once, right after it, however many
 * such times there are; one that comes twice fires the first time only. Expressions whose
 * minute or hour begins with a star mean "so often" rather than "then": they follow the
 * clock as it goes.
 *
 * A slot is a moment of Unix time, in seconds: two processes with the same expression and
 * zone name the same slots.
 */
#ifndef BASE_CRON_H
#define BASE_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/zone.h"

#define BASE_CRON_NEVER INT64_MAX

struct base_cron {
	uint64_t minutes;  /* bit 0: minute 0 */
	uint32_t hours;    /* bit 0: hour 0 */
	uint32_t days;     /* bit 1: the first of a month */
	uint16_t months;   /* bit 1: January */
	uint8_t weekdays;  /* bit 0: Sunday */
	bool either_day;   /* a day that one of days and weekdays has is enough */
	bool follows_clock; /* minute or hour begins with a star */
	uint32_t every_s;  /* not 0: every so many seconds of Unix time, and nothing else counts */
};

/* False: *why says which field is wrong and what was expected: "hour: expected 0 to 23, got 24".
 * UNTRUSTED text. */
bool base_cron_parse(const char *text, struct base_cron *out, char *why, size_t room);
struct base_cron base_cron_every(uint32_t seconds); /* at least 1 */

/* The first slot after that moment; NEVER: there is none within a hundred years. zone NULL: UTC. */
int64_t base_cron_next(
	const struct base_cron *cron, const struct base_zone *zone, int64_t after_s);

/* The last slot after that moment and not after until_s; NEVER: there is none. */
int64_t base_cron_latest(const struct base_cron *cron, const struct base_zone *zone, int64_t after_s,
	int64_t until_s);

/* Of the slots after that moment and not after until_s, the one that n others follow; NEVER: there are no more
 * than n. Cheap when it is seen from the span that they cannot be so many. */
int64_t base_cron_nth_latest(const struct base_cron *cron, const struct base_zone *zone,
	int64_t after_s, int64_t until_s, uint32_t n);

#endif
