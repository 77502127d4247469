#include "base/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define MINUTE_S   60
#define DAY_S      86400
#define SPECIAL_S  (3 * 3600) /* a change of the clock that is as long, or longer, is a correction */
#define HORIZON_S  (100 * 366 * (int64_t)DAY_S)
#define LATEST_S   (INT64_MAX / 4)

/* ---- reading ------------------------------------------------------------------- */

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug",
	"sep", "oct", "nov", "dec", NULL };
static const char *const day_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, N_FIELDS };

static const struct field {
	const char *name;
	unsigned min, max;
	const char *const *names; /* the first stands for min */
} fields[N_FIELDS] = {
	{ "minute", 0, 59, NULL },
	{ "hour", 0, 23, NULL },
	{ "day of month", 1, 31, NULL },
	{ "month", 1, 12, month_names },
	{ "day of week", 0, 7, day_names },
};

static const struct {
	const char *word, *means;
} words[] = {
	{ "@yearly", "0 0 1 1 *" },
	{ "@annually", "0 0 1 1 *" },
	{ "@monthly", "0 0 1 * *" },
	{ "@weekly", "0 0 * * 0" },
	{ "@daily", "0 0 * * *" },
	{ "@midnight", "0 0 * * *" },
	{ "@hourly", "0 * * * *" },
};

struct reader {
	const struct field *field;
	const char *at, *end; /* of the field */
	char *why;
	size_t room;
};

static bool complain(struct reader *r, const char *what, const char *at, size_t size)
{
	char quoted[BASE_TEXT_QUOTED];

	base_text_quote(quoted, sizeof quoted, at, size);
	(void)snprintf(r->why, r->room, "%s: %s, got %s", r->field->name, what, quoted);
	return false;
}

static bool expected_value(struct reader *r, const char *at, size_t size)
{
	char what[96];

	(void)snprintf(what, sizeof what, "expected %u to %u%s%s", r->field->min, r->field->max,
		r->field->names ? " or a name such as " : "", r->field->names ? r->field->names[1] : "");
	return complain(r, what, at, size);
}

static bool read_name(struct reader *r, const char *from, size_t size, unsigned *out)
{
	for (unsigned i = 0; r->field->names && r->field->names[i]; i++)
		if (size == 3 && strncasecmp(r->field->names[i], from, 3) == 0) {
			*out = r->field->min + i;
			return true;
		}
	return expected_value(r, from, size);
}

static bool read_value(struct reader *r, unsigned *out)
{
	const char *from = r->at;
	unsigned value = 0;

	while (r->at < r->end && isalnum((unsigned char)*r->at))
		r->at++;
	if (r->at == from)
		return expected_value(r, from, (size_t)(r->end - from));
	if (!isdigit((unsigned char)*from))
		return read_name(r, from, (size_t)(r->at - from), out);
	for (const char *p = from; p < r->at; p++) {
		if (!isdigit((unsigned char)*p) || value > r->field->max)
			return expected_value(r, from, (size_t)(r->at - from));
		value = value * 10 + (unsigned)(*p - '0');
	}
	if (value < r->field->min || value > r->field->max)
		return expected_value(r, from, (size_t)(r->at - from));
	*out = value;
	return true;
}

static bool read_step(struct reader *r, bool is_range, unsigned *step)
{
	const char *from;
	unsigned value = 0;

	*step = 1;
	if (r->at == r->end || *r->at != '/')
		return true;
	if (!is_range)
		return complain(r, "a step needs a range or * before it", r->at, (size_t)(r->end - r->at));
	from = ++r->at;
	while (r->at < r->end && isdigit((unsigned char)*r->at) && value <= 1000)
		value = value * 10 + (unsigned)(*r->at++ - '0');
	if (r->at == from || value == 0 || value > r->field->max)
		return complain(r, "expected a step of 1 or more within the field's range", from,
			(size_t)(r->end - from));
	*step = value;
	return true;
}

/* One item of a field's list. */
static bool read_item(struct reader *r, uint64_t *bits)
{
	const char *from = r->at;
	unsigned first = r->field->min, last = r->field->max, step;
	bool is_range = true;

	if (*r->at == '*') {
		r->at++;
	} else {
		if (!read_value(r, &first))
			return false;
		last = first;
		is_range = r->at < r->end && *r->at == '-';
		if (is_range) {
			r->at++;
			if (!read_value(r, &last))
				return false;
		}
	}
	if (first > last)
		return complain(r, "a range goes upwards", from, (size_t)(r->at - from));
	if (!read_step(r, is_range, &step))
		return false;
	for (unsigned i = first; i <= last; i += step)
		*bits |= UINT64_C(1) << i;
	return true;
}

static bool read_field(struct reader *r, uint64_t *bits)
{
	*bits = 0;
	for (;;) {
		if (r->at == r->end)
			return expected_value(r, r->at, 0);
		if (!read_item(r, bits))
			return false;
		if (r->at == r->end)
			return true;
		if (*r->at != ',')
			return complain(r, "expected a comma or the field's end", r->at, (size_t)(r->end - r->at));
		r->at++;
	}
}

/* Days that no month of those has: 30 February. */
static bool can_match(const struct base_cron *c)
{
	static const uint8_t longest[] = { 0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	if (c->either_day)
		return true;
	for (unsigned month = 1; month <= 12; month++)
		if (c->months >> month & 1 && c->days & ((UINT64_C(2) << longest[month]) - 2))
			return true;
	return false;
}

static bool split(const char *text, const char *from[N_FIELDS], const char *end[N_FIELDS],
	char *why, size_t room)
{
	size_t n = 0;

	for (;;) {
		text += strspn(text, " \t");
		if (!*text)
			break;
		if (n < N_FIELDS) {
			from[n] = text;
			end[n] = text + strcspn(text, " \t");
		}
		n++;
		text += strcspn(text, " \t");
	}
	if (n == N_FIELDS)
		return true;
	(void)snprintf(why, room,
		"expected five fields (minute, hour, day of month, month, day of week) or a word such "
		"as @hourly, got %zu field%s",
		n, n == 1 ? "" : "s");
	return false;
}

static bool parse_word(const char *text, struct base_cron *out, char *why, size_t room)
{
	char quoted[BASE_TEXT_QUOTED];

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(text, words[i].word) == 0)
			return base_cron_parse(words[i].means, out, why, room);
	base_text_quote(quoted, sizeof quoted, text, strlen(text));
	(void)snprintf(why, room,
		"expected @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly, got %s",
		quoted);
	return false;
}

bool base_cron_parse(const char *text, struct base_cron *out, char *why, size_t room)
{
	const char *from[N_FIELDS] = { 0 }, *end[N_FIELDS] = { 0 };
	uint64_t bits[N_FIELDS];

	if (text[0] == '@')
		return parse_word(text, out, why, room);
	if (!split(text, from, end, why, room))
		return false;
	for (int i = 0; i < N_FIELDS; i++) {
		struct reader r = { &fields[i], from[i], end[i], why, room };

		if (!read_field(&r, &bits[i]))
			return false;
	}
	*out = (struct base_cron){ .minutes = bits[MINUTE],
		.hours = (uint32_t)bits[HOUR],
		.days = (uint32_t)bits[DAY],
		.months = (uint16_t)bits[MONTH],
		.weekdays = (uint8_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f),
		.either_day = *from[DAY] != '*' && *from[WEEKDAY] != '*',
		.follows_clock = *from[MINUTE] == '*' || *from[HOUR] == '*' };
	if (can_match(out))
		return true;
	(void)snprintf(why, room, "day of month: none of the months has such a day");
	return false;
}

struct base_cron base_cron_every(uint32_t seconds)
{
	return (struct base_cron){ .every_s = seconds > 0 ? seconds : 1 };
}

/* ---- slots --------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The lowest bit that is set, from `from` on; 64: none. */
static unsigned next_bit(uint64_t bits, unsigned from)
{
	bits = from < 64 ? bits >> from << from : 0;
	return bits ? (unsigned)__builtin_ctzll(bits) : 64;
}

static bool day_matches(const struct base_cron *c, int64_t days, unsigned day)
{
	bool by_date = c->days >> day & 1, by_weekday = c->weekdays >> base_zone_weekday(days) & 1;

	return c->either_day ? by_date || by_weekday : by_date && by_weekday;
}

/* The first day from that one on whose date matches; until is not looked at closely. */
static int64_t next_day(const struct base_cron *c, int64_t days, int64_t until)
{
	int64_t year;
	unsigned month, day;

	while (days < until) {
		base_zone_date(days, &year, &month, &day);
		if (!(c->months >> month & 1)) {
			days = month == 12 ? base_zone_days(year + 1, 1, 1) : base_zone_days(year, month + 1, 1);
			continue;
		}
		if (day_matches(c, days, day))
			return days;
		days++;
	}
	return INT64_MAX;
}

/* The first matching minute of local time in from … until - 1, as seconds since 1970 there; INT64_MAX:
 * none. */
static int64_t next_local(const struct base_cron *c, int64_t from, int64_t until)
{
	int64_t minute = -floor_div(-from, MINUTE_S); /* rounded up */
	int64_t days = floor_div(minute, 1440), first_day = days;
	unsigned hour, at;

	while ((days = next_day(c, days, floor_div(until, DAY_S) + 1)) != INT64_MAX) {
		unsigned of_day = days == first_day ? (unsigned)(minute - days * 1440) : 0;

		for (hour = next_bit(c->hours, of_day / 60); hour < 24; hour = next_bit(c->hours, hour + 1)) {
			at = next_bit(c->minutes, hour == of_day / 60 ? of_day % 60 : 0);
			if (at < 60) {
				int64_t found = days * DAY_S + hour * 3600 + at * 60;
				return found < until ? found : INT64_MAX;
			}
		}
		days++;
	}
	return INT64_MAX;
}

/* By how much the clock leaps at the period's beginning: forward is positive. 0 for what is no change
 * of daylight saving. */
static int64_t leap_into(const struct base_zone *zone, const struct base_zone_period *p)
{
	int64_t leap;

	if (p->from_s == INT64_MIN)
		return 0;
	leap = (int64_t)p->offset_s - base_zone_at(zone, p->from_s - 1).offset_s;
	return leap > -SPECIAL_S && leap < SPECIAL_S ? leap : 0;
}

static int64_t in_period(const struct base_cron *c, const struct base_zone *zone,
	const struct base_zone_period *p, int64_t from_s, int64_t horizon_s)
{
	int64_t leap = c->follows_clock ? 0 : leap_into(zone, p);
	int64_t until_s = p->until_s < horizon_s ? p->until_s : horizon_s;
	int64_t local, change;

	if (leap > 0 && from_s <= p->from_s) {
		change = p->from_s + p->offset_s;
		if (next_local(c, change - leap, change) != INT64_MAX)
			return p->from_s;
	}
	if (leap < 0 && from_s < p->from_s - leap)
		from_s = p->from_s - leap; /* these times were there before */
	local = next_local(c, from_s + p->offset_s, until_s + p->offset_s);
	return local == INT64_MAX ? BASE_CRON_NEVER : local - p->offset_s;
}

int64_t base_cron_next(
	const struct base_cron *cron, const struct base_zone *zone, int64_t after_s)
{
	int64_t from_s = after_s + 1, horizon_s = after_s + HORIZON_S;

	if (after_s > LATEST_S || after_s < -LATEST_S)
		return BASE_CRON_NEVER;
	if (cron->every_s > 0)
		return (floor_div(after_s, cron->every_s) + 1) * cron->every_s;
	while (from_s < horizon_s) {
		struct base_zone_period p = base_zone_at(zone, from_s);
		int64_t slot = in_period(cron, zone, &p, from_s, horizon_s);

		if (slot != BASE_CRON_NEVER)
			return slot;
		if (p.until_s >= horizon_s)
			break;
		from_s = p.until_s;
	}
	return BASE_CRON_NEVER;
}

/* Looks at the end first: a timer of every minute that was off for a year has half a million of them. */
int64_t base_cron_latest(const struct base_cron *cron, const struct base_zone *zone, int64_t after_s,
	int64_t until_s)
{
	int64_t found = BASE_CRON_NEVER;

	if (cron->every_s > 0) {
		found = floor_div(until_s, cron->every_s) * cron->every_s;
		return found > after_s ? found : BASE_CRON_NEVER;
	}
	for (int64_t span = DAY_S / 24; found == BASE_CRON_NEVER; span *= 8) {
		int64_t from = until_s - span > after_s ? until_s - span : after_s;

		for (int64_t slot = base_cron_next(cron, zone, from); slot <= until_s;
			slot = base_cron_next(cron, zone, slot))
			found = slot;
		if (from == after_s)
			break;
	}
	return found;
}

static uint64_t count_slots(const struct base_cron *c, const struct base_zone *zone, int64_t after_s,
	int64_t until_s)
{
	uint64_t n = 0;

	for (int64_t slot = base_cron_next(c, zone, after_s); slot <= until_s;
		slot = base_cron_next(c, zone, slot))
		n++;
	return n;
}

int64_t base_cron_nth_latest(const struct base_cron *cron, const struct base_zone *zone,
	int64_t after_s, int64_t until_s, uint32_t n)
{
	int64_t from = until_s, slot;
	uint64_t there = 0;

	if (cron->every_s > 0) {
		slot = (floor_div(until_s, cron->every_s) - n) * cron->every_s;
		return slot > after_s ? slot : BASE_CRON_NEVER;
	}
	for (int64_t span = ((int64_t)n + 1) * MINUTE_S; there <= n; span *= 8) {
		if (from == after_s || until_s - after_s <= (int64_t)n * MINUTE_S)
			return BASE_CRON_NEVER;
		from = until_s - span > after_s ? until_s - span : after_s;
		there = count_slots(cron, zone, from, until_s);
	}
	for (slot = from; there > n; there--)
		slot = base_cron_next(cron, zone, slot);
	return slot;
}
