/* A time zone: how far local time is from UTC, at any moment, and until when. Read from
 * the bytes of a TZif file (RFC 9636), versions 1 to 4, with the rule in its footer for the
 * time behind its table. Nothing here is the process's own zone, and nothing sets TZ.
 *
 * A period is a stretch of time with one offset; periods follow one another without a
 * gap and have no end on either side. Leap seconds are not counted, as in Unix time:
 * files that have them ("right/") are refused.
 *
 * A zone is immutable and can be used by several threads.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BASE_ZONE_BYTES_MAX (256u * 1024) /* larger files are none */

struct base_zone;

struct base_zone_period {
	int64_t from_s, until_s; /* Unix time; from <= t < until; INT64_MIN and _MAX: for ever */
	int32_t offset_s;        /* local time = UTC + offset */
};

/* INVALID: it is no TZif file, or one that contradicts itself; NOMEM. UNTRUSTED bytes. */
BASE_MUSTUSE enum base_err base_zone_new(
	const uint8_t *bytes, size_t size, struct base_zone **out);
void base_zone_free(struct base_zone **zone); /* takes NULL */

/* The period that t is in. zone NULL: UTC. */
struct base_zone_period base_zone_at(const struct base_zone *zone, int64_t t_s);

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; month 1 to 12. */
int64_t base_zone_days(int64_t year, unsigned month, unsigned day);
/* And back. */
void base_zone_date(int64_t days, int64_t *year, unsigned *month, unsigned *day);
/* 0: Sunday. */
unsigned base_zone_weekday(int64_t days);

#endif
