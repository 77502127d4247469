#include "base/zone.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEADER    44u
#define DAY_S     86400
#define TYPES_MAX 256u
#define MOST_S    (INT64_MAX / 4) /* no time that anybody asks for is beyond it */
#define OFFSET_MAX (25 * 3600 + 3599)

/* When a rule's day of a year is, and at what second of it, local time. */
struct day_rule {
	char kind; /* 'J': 1 to 365, no leap day; 'D': 0 to 365; 'M': weekday of a week of a month */
	int number, month, week, weekday;
	int32_t at_s;
};

struct rule {
	bool is_there, has_dst;
	int32_t std_s, dst_s;
	struct day_rule start, end; /* of daylight saving time */
};

struct base_zone {
	int64_t *at;      /* transitions, growing */
	uint8_t *type;    /* and what begins with each */
	size_t n;
	int32_t offsets[TYPES_MAX];
	size_t n_offsets;
	struct rule rule; /* behind the last transition */
};

/* ---- the calendar ---------------------------------------------------------- */

/* Years are counted from March, so that the leap day is a year's last; an era is 400 years. */
int64_t base_zone_days(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void base_zone_date(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
	*month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2);
}

unsigned base_zone_weekday(int64_t days)
{
	int64_t weekday = (days + 4) % 7; /* 1970-01-01 was a Thursday */

	return (unsigned)(weekday < 0 ? weekday + 7 : weekday);
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t year_of(int64_t local_s)
{
	int64_t days = local_s / DAY_S - (local_s % DAY_S < 0);
	int64_t year;
	unsigned month, day;

	base_zone_date(days, &year, &month, &day);
	return year;
}

/* ---- the footer: a POSIX TZ string ------------------------------------------- */

struct text {
	const char *at, *end;
};

static bool take(struct text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool number(struct text *t, int max, int *out)
{
	int value = 0;
	const char *from = t->at;

	while (t->at < t->end && isdigit((unsigned char)*t->at)) {
		value = value * 10 + (*t->at++ - '0');
		if (value > max)
			return false;
	}
	*out = value;
	return t->at > from;
}

/* Letters, or anything sensible between < and >. */
static bool skip_name(struct text *t)
{
	const char *from = t->at;
	bool quoted = take(t, '<');

	while (t->at < t->end && (isalpha((unsigned char)*t->at) ||
			(quoted && (isdigit((unsigned char)*t->at) || *t->at == '+' || *t->at == '-'))))
		t->at++;
	if (quoted)
		return take(t, '>') && t->at - from >= 4;
	return t->at - from >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool duration(struct text *t, int hours_max, int32_t *out)
{
	bool negative = take(t, '-');
	int hours, minutes = 0, seconds = 0;

	if (!negative)
		(void)take(t, '+');
	if (!number(t, hours_max, &hours))
		return false;
	if (take(t, ':') && (!number(t, 59, &minutes) || (take(t, ':') && !number(t, 59, &seconds))))
		return false;
	*out = hours * 3600 + minutes * 60 + seconds;
	if (negative)
		*out = -*out;
	return true;
}

static bool day_rule(struct text *t, struct day_rule *out)
{
	out->at_s = 2 * 3600;
	if (!take(t, ','))
		return false;
	if (take(t, 'M')) {
		out->kind = 'M';
		if (!number(t, 12, &out->month) || out->month < 1 || !take(t, '.') ||
			!number(t, 5, &out->week) || out->week < 1 || !take(t, '.') ||
			!number(t, 6, &out->weekday))
			return false;
	} else if (take(t, 'J')) {
		out->kind = 'J';
		if (!number(t, 365, &out->number) || out->number < 1)
			return false;
	} else {
		out->kind = 'D';
		if (!number(t, 365, &out->number))
			return false;
	}
	return !take(t, '/') || duration(t, 167, &out->at_s);
}

/* Offsets in it are west of Greenwich. */
static bool read_rule(struct rule *rule, const char *bytes, size_t size)
{
	struct text t = { bytes, bytes + size };

	*rule = (struct rule){ 0 };
	if (size == 0)
		return true;
	rule->is_there = true;
	if (!skip_name(&t) || !duration(&t, 24, &rule->std_s))
		return false;
	rule->std_s = -rule->std_s;
	if (t.at == t.end)
		return true;
	rule->has_dst = true;
	rule->dst_s = rule->std_s + 3600;
	if (!skip_name(&t))
		return false;
	if (t.at < t.end && *t.at != ',') {
		if (!duration(&t, 24, &rule->dst_s))
			return false;
		rule->dst_s = -rule->dst_s;
	}
	return day_rule(&t, &rule->start) && day_rule(&t, &rule->end) && t.at == t.end;
}

static int64_t day_of(const struct day_rule *rule, int64_t year)
{
	int64_t first = base_zone_days(year, 1, 1), day;

	if (rule->kind == 'D')
		return first + rule->number;
	if (rule->kind == 'J')
		return first + rule->number - 1 + (is_leap(year) && rule->number >= 60);
	first = base_zone_days(year, (unsigned)rule->month, 1);
	day = first + (rule->weekday - (int)base_zone_weekday(first) + 7) % 7 + 7 * (rule->week - 1);
	if (rule->week == 5) { /* the last one */
		int64_t next = rule->month == 12 ? base_zone_days(year + 1, 1, 1)
						 : base_zone_days(year, (unsigned)rule->month + 1, 1);
		if (day >= next)
			day -= 7;
	}
	return day;
}

/* The two changes of a year, in Unix time. */
static void changes_of(const struct rule *rule, int64_t year, int64_t *start, int64_t *end)
{
	*start = day_of(&rule->start, year) * DAY_S + rule->start.at_s - rule->std_s;
	*end = day_of(&rule->end, year) * DAY_S + rule->end.at_s - rule->dst_s;
}

/* A change may lie in a neighbouring year of UTC's: all changes of three years are looked at. */
static struct base_zone_period by_rule(const struct rule *rule, int64_t t_s)
{
	struct base_zone_period p = { INT64_MIN, INT64_MAX, rule->std_s };
	int64_t year = year_of(t_s + rule->std_s);

	if (!rule->has_dst)
		return p;
	for (int64_t y = year - 1; y <= year + 1; y++) {
		int64_t at[2];
		int32_t to[2] = { rule->dst_s, rule->std_s };

		changes_of(rule, y, &at[0], &at[1]);
		for (int i = 0; i < 2; i++) {
			if (at[i] <= t_s && at[i] >= p.from_s) {
				/* Of two at one moment the one that leads to daylight saving time holds: it lasts
				 * all year (RFC 9636, section 3.3.1). */
				if (at[i] > p.from_s || i == 0)
					p.offset_s = to[i];
				p.from_s = at[i];
			}
			if (at[i] > t_s && at[i] < p.until_s)
				p.until_s = at[i];
		}
	}
	return p;
}

/* ---- the file ----------------------------------------------------------------- */

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t time_at(const uint8_t *p, size_t width)
{
	if (width == 4)
		return (int32_t)u32(p);
	return (int64_t)((uint64_t)u32(p) << 32 | u32(p + 4));
}

struct counts {
	size_t isut, isstd, leap, time, type, chars;
	size_t size; /* of the block behind the header */
};

static bool read_counts(const uint8_t *bytes, size_t size, size_t width, struct counts *c)
{
	if (size < HEADER || memcmp(bytes, "TZif", 4) != 0)
		return false;
	c->isut = u32(bytes + 20);
	c->isstd = u32(bytes + 24);
	c->leap = u32(bytes + 28);
	c->time = u32(bytes + 32);
	c->type = u32(bytes + 36);
	c->chars = u32(bytes + 40);
	if (c->isut > size || c->isstd > size || c->leap > size || c->time > size ||
		c->type > TYPES_MAX || c->type == 0 || c->chars > size)
		return false;
	c->size = c->time * (width + 1) + c->type * 6 + c->chars + c->leap * (width + 4) +
		  c->isstd + c->isut;
	return c->size <= size - HEADER;
}

static bool read_types(struct base_zone *z, const uint8_t *p, size_t n)
{
	z->n_offsets = n;
	for (size_t i = 0; i < n; i++) {
		z->offsets[i] = (int32_t)u32(p + 6 * i);
		if (z->offsets[i] < -OFFSET_MAX || z->offsets[i] > OFFSET_MAX)
			return false;
	}
	return true;
}

static enum base_err read_block(
	struct base_zone *z, const uint8_t *block, const struct counts *c, size_t width)
{
	const uint8_t *types = block + c->time * width;

	if (c->leap > 0 || !read_types(z, types + c->time, c->type))
		return BASE_INVALID;
	z->at = calloc(c->time + 1, sizeof *z->at);
	z->type = calloc(c->time + 1, 1);
	if (!z->at || !z->type)
		return BASE_NOMEM;
	z->n = c->time;
	for (size_t i = 0; i < c->time; i++) {
		z->at[i] = time_at(block + i * width, width);
		z->type[i] = types[i];
		if (types[i] >= c->type || z->at[i] > MOST_S || (i > 0 && z->at[i] <= z->at[i - 1]))
			return BASE_INVALID;
	}
	return BASE_OK;
}

/* A newline, the rule, a newline. */
static bool read_footer(struct base_zone *z, const uint8_t *bytes, size_t size)
{
	const uint8_t *end;

	if (size < 2 || bytes[0] != '\n')
		return false;
	end = memchr(bytes + 1, '\n', size - 1);
	return end && read_rule(&z->rule, (const char *)bytes + 1, (size_t)(end - bytes - 1));
}

static enum base_err read_file(struct base_zone *z, const uint8_t *bytes, size_t size)
{
	struct counts c;
	enum base_err err;

	if (size > BASE_ZONE_BYTES_MAX || !read_counts(bytes, size, 4, &c))
		return BASE_INVALID;
	if (bytes[4] == 0)
		return read_block(z, bytes + HEADER, &c, 4);
	bytes += HEADER + c.size; /* the same again, with times of 64 bits */
	size -= HEADER + c.size;
	if (!read_counts(bytes, size, 8, &c))
		return BASE_INVALID;
	err = read_block(z, bytes + HEADER, &c, 8);
	if (err)
		return err;
	return read_footer(z, bytes + HEADER + c.size, size - HEADER - c.size) ? BASE_OK
										: BASE_INVALID;
}

enum base_err base_zone_new(const uint8_t *bytes, size_t size, struct base_zone **out)
{
	struct base_zone *z = calloc(1, sizeof *z);
	enum base_err err = z ? read_file(z, bytes, size) : BASE_NOMEM;

	if (err)
		base_zone_free(&z);
	else
		*out = z;
	return err;
}

void base_zone_free(struct base_zone **zone)
{
	if (!*zone)
		return;
	free((*zone)->at);
	free((*zone)->type);
	free(*zone);
	*zone = NULL;
}

/* How many transitions are at or before t. */
static size_t passed(const struct base_zone *z, int64_t t_s)
{
	size_t low = 0, high = z->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (z->at[middle] <= t_s)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct base_zone_period base_zone_at(const struct base_zone *zone, int64_t t_s)
{
	struct base_zone_period p = { INT64_MIN, INT64_MAX, 0 };
	size_t n;

	if (!zone)
		return p;
	n = passed(zone, t_s);
	if (n == zone->n && zone->rule.is_there && t_s > -MOST_S && t_s < MOST_S) {
		p = by_rule(&zone->rule, t_s);
		if (n > 0 && p.from_s < zone->at[n - 1])
			p.from_s = zone->at[n - 1];
		return p;
	}
	p.offset_s = zone->offsets[n > 0 ? zone->type[n - 1] : 0];
	if (n > 0)
		p.from_s = zone->at[n - 1];
	if (n < zone->n)
		p.until_s = zone->at[n];
	return p;
}
