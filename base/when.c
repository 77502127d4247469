#include "base/when.h"

#include <stdio.h>

#define DAY_MS  86400000u
#define LAST_MS 253402300799999u /* 9999-12-31T23:59:59.999Z */

/* Days from 1970-01-01, by counting years from March on: the leap day is the last one then. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t era = y / 400; /* years are not negative here */
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_leap(unsigned year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned days_in(unsigned year, unsigned month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

void base_when_print(uint64_t unix_ms, char out[BASE_WHEN_TEXT + 1])
{
	uint64_t ms = unix_ms < LAST_MS ? unix_ms : LAST_MS;
	uint64_t day = ms / DAY_MS, rest = ms % DAY_MS;
	uint64_t shifted = day + 719468, era = shifted / 146097, of_era = shifted % 146097;
	uint64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * years + years / 4 - years / 100);
	uint64_t month = (5 * of_year + 2) / 153;
	uint64_t year = years + era * 400 + (month >= 10);

	(void)snprintf(out, BASE_WHEN_TEXT + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		(unsigned)year % 10000, (unsigned)(month < 10 ? month + 3 : month - 9) % 100,
		(unsigned)(of_year - (153 * month + 2) / 5 + 1) % 100, (unsigned)(rest / 3600000),
		(unsigned)(rest / 60000 % 60), (unsigned)(rest / 1000 % 60),
		(unsigned)(rest % 1000));
}

/* ---- reading ---------------------------------------------------------------- */

struct text {
	const char *at, *end;
	bool broken;
};

static unsigned take_number(struct text *t, unsigned digits)
{
	unsigned n = 0;

	for (; digits > 0; digits--) {
		if (t->at == t->end || *t->at < '0' || *t->at > '9') {
			t->broken = true;
			return 0;
		}
		n = n * 10 + (unsigned)(*t->at++ - '0');
	}
	return n;
}

/* One of the two characters; which one, and 0 when neither is there. */
static char take_one(struct text *t, char a, char b)
{
	if (t->at < t->end && (*t->at == a || *t->at == b))
		return *t->at++;
	t->broken = true;
	return 0;
}

static unsigned take_fraction(struct text *t)
{
	unsigned ms = 0, n = 0;

	if (t->at == t->end || *t->at != '.')
		return 0;
	for (t->at++; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++, n++)
		if (n < 3)
			ms = ms * 10 + (unsigned)(*t->at - '0');
	t->broken |= n == 0;
	for (; n < 3; n++)
		ms *= 10;
	return ms;
}

/* Minutes that the local time is ahead of UTC. */
static int take_offset(struct text *t)
{
	unsigned hours, minutes;
	char sign;

	if (t->at < t->end && (*t->at == 'Z' || *t->at == 'z')) {
		t->at++;
		return 0;
	}
	sign = take_one(t, '+', '-');
	hours = take_number(t, 2);
	(void)take_one(t, ':', ':');
	minutes = take_number(t, 2);
	t->broken |= hours > 23 || minutes > 59;
	return (sign == '-' ? -1 : 1) * (int)(hours * 60 + minutes);
}

static int64_t take_date(struct text *t)
{
	unsigned year = take_number(t, 4), month, day;

	(void)take_one(t, '-', '-');
	month = take_number(t, 2);
	(void)take_one(t, '-', '-');
	day = take_number(t, 2);
	t->broken |= month < 1 || month > 12 || day < 1;
	if (t->broken || day > days_in(year, month)) {
		t->broken = true;
		return 0;
	}
	return days_of(year, month, day);
}

static int64_t take_time_ms(struct text *t)
{
	unsigned hour = take_number(t, 2), minute, second;

	(void)take_one(t, ':', ':');
	minute = take_number(t, 2);
	(void)take_one(t, ':', ':');
	second = take_number(t, 2);
	t->broken |= hour > 23 || minute > 59 || second > 60;
	return ((int64_t)hour * 3600 + (int64_t)minute * 60 + second) * 1000 + take_fraction(t);
}

bool base_when_parse(const char *text, size_t size, uint64_t *unix_ms)
{
	struct text t = { text, text + size, false };
	int64_t ms = take_date(&t) * DAY_MS;
	char between =
		t.at < t.end && *t.at == ' ' ? ' ' : 't'; /* RFC 3339 allows a blank for people */

	(void)take_one(&t, between, 'T');
	ms += take_time_ms(&t);
	ms -= (int64_t)take_offset(&t) * 60000;
	if (t.broken || t.at != t.end || ms < 0)
		return false;
	*unix_ms = (uint64_t)ms;
	return true;
}
