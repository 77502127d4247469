#include "base/breaker.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

const struct base_breaker_conf base_breaker_standard = {
	.window_ms = 10000,
	.calls = 20,
	.failure_percent = 50,
	.consecutive = 5,
	.open_ms = 5000,
	.open_max_ms = 60000,
	.probes = 3,
	.successes = 5,
	.probe_ms = 30000,
};

/* ---- the window ------------------------------------------------------------ */

static uint64_t bucket_at(const struct base_breaker *b, uint64_t now_ms)
{
	uint32_t width = b->conf.window_ms / BASE_BREAKER_BUCKETS;

	return now_ms / (width > 0 ? width : 1);
}

static uint64_t bucket_end(const struct base_breaker *b)
{
	uint32_t width = b->conf.window_ms / BASE_BREAKER_BUCKETS;

	return (b->bucket + 1) * (width > 0 ? width : 1);
}

static void empty(struct base_breaker *b, uint64_t now_ms)
{
	memset(b->buckets, 0, sizeof b->buckets);
	b->bucket = bucket_at(b, now_ms);
	b->bucket_end_ms = bucket_end(b);
}

/* Clears the buckets that time has passed. */
static void slide(struct base_breaker *b, uint64_t now_ms)
{
	uint64_t to = bucket_at(b, now_ms);

	if (to >= b->bucket + BASE_BREAKER_BUCKETS || to < b->bucket) {
		empty(b, now_ms);
		return;
	}
	while (b->bucket < to) {
		b->bucket++;
		memset(&b->buckets[b->bucket % BASE_BREAKER_BUCKETS], 0, sizeof b->buckets[0]);
	}
	b->bucket_end_ms = bucket_end(b);
}

void base_breaker_window(
	const struct base_breaker *b, uint64_t now_ms, uint32_t *ok, uint32_t *failed)
{
	uint64_t now = bucket_at(b, now_ms);

	*ok = *failed = 0;
	for (uint64_t i = 0; i < BASE_BREAKER_BUCKETS; i++) {
		if (b->bucket < i || b->bucket - i + BASE_BREAKER_BUCKETS <= now)
			continue;
		*ok += b->buckets[(b->bucket - i) % BASE_BREAKER_BUCKETS].ok;
		*failed += b->buckets[(b->bucket - i) % BASE_BREAKER_BUCKETS].failed;
	}
}

static bool is_too_much(const struct base_breaker *b, uint64_t now_ms)
{
	uint32_t ok, failed;

	if (b->conf.consecutive > 0 && b->in_row >= b->conf.consecutive)
		return true;
	base_breaker_window(b, now_ms, &ok, &failed);
	return ok + failed >= b->conf.calls &&
	       (uint64_t)failed * 100 >= (uint64_t)b->conf.failure_percent * (ok + failed);
}

/* ---- states ---------------------------------------------------------------- */

static void enter(struct base_breaker *b, enum base_breaker_state state, uint64_t now_ms)
{
	b->state = state;
	b->generation++;
	if (b->generation == 0)
		b->generation = 1;
	b->in_row = 0;
	b->transitions[state]++;
	memset(b->probes, 0, sizeof b->probes);
	empty(b, now_ms);
}

static void close_it(struct base_breaker *b, uint64_t now_ms)
{
	b->openings = 0;
	enter(b, BASE_BREAKER_CLOSED, now_ms);
}

static uint64_t opening_ms(const struct base_breaker *b, uint32_t chance)
{
	uint64_t length = b->conf.open_ms;

	for (uint32_t i = 1; i < b->openings && length < b->conf.open_max_ms; i++)
		length *= 2;
	if (length > b->conf.open_max_ms)
		length = b->conf.open_max_ms;
	return length - length / 10 + chance % (length / 5 + 1);
}

static void open_until(struct base_breaker *b, uint64_t now_ms, uint64_t until_ms)
{
	b->opened_ms = now_ms;
	b->until_ms = until_ms;
	enter(b, BASE_BREAKER_OPEN, now_ms);
}

static void open_it(struct base_breaker *b, uint64_t now_ms, uint32_t chance)
{
	if (b->openings < UINT32_MAX)
		b->openings++;
	open_until(b, now_ms, now_ms + opening_ms(b, chance));
}

void base_breaker_init(
	struct base_breaker *b, const struct base_breaker_conf *conf, uint64_t now_ms)
{
	memset(b, 0, sizeof *b);
	b->generation = 1;
	base_breaker_set(b, conf);
	empty(b, now_ms);
}

static uint32_t within(uint32_t value, uint32_t least, uint32_t most)
{
	if (value < least)
		return least;
	return value < most ? value : most;
}

/* What is in a row already may be enough by the new settings: the next one decides. */
static void trim_row(struct base_breaker *b)
{
	uint32_t enough = b->state == BASE_BREAKER_HALF_OPEN ? b->conf.successes : b->conf.consecutive;

	if (enough > 0 && b->in_row >= enough)
		b->in_row = enough - 1;
}

void base_breaker_set(struct base_breaker *b, const struct base_breaker_conf *conf)
{
	uint32_t window_ms = b->conf.window_ms;

	b->conf = *conf;
	b->conf.probes = within(conf->probes, 1, BASE_BREAKER_PROBES);
	b->conf.calls = within(conf->calls, 1, UINT32_MAX);
	b->conf.failure_percent = within(conf->failure_percent, 1, 100);
	b->conf.successes = within(conf->successes, 1, UINT32_MAX);
	b->conf.open_ms = within(conf->open_ms, 1, UINT32_MAX);
	b->conf.open_max_ms = within(conf->open_max_ms, b->conf.open_ms, UINT32_MAX);
	trim_row(b);
	if (b->conf.window_ms != window_ms) { /* its buckets have another width now */
		memset(b->buckets, 0, sizeof b->buckets);
		b->bucket = b->bucket_end_ms = 0;
	}
}

/* ---- passes ---------------------------------------------------------------- */

uint32_t base_breaker_probing(const struct base_breaker *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < BASE_BREAKER_PROBES; i++)
		n += b->probes[i].number != 0;
	return n;
}

bool base_breaker_lets(const struct base_breaker *b)
{
	if (b->force != BASE_BREAKER_AUTO)
		return b->force == BASE_BREAKER_FORCED_CLOSED;
	if (b->state == BASE_BREAKER_HALF_OPEN)
		return base_breaker_probing(b) < b->conf.probes;
	return b->state == BASE_BREAKER_CLOSED;
}

static uint32_t begin_probe(struct base_breaker *b, uint64_t now_ms)
{
	uint32_t i = 0;

	while (b->probes[i].number != 0)
		i++;
	b->last_probe++;
	if (b->last_probe == 0)
		b->last_probe = 1;
	b->probes[i].number = b->last_probe;
	b->probes[i].until_ms = now_ms + b->conf.probe_ms;
	return b->last_probe;
}

base_breaker_pass base_breaker_take(struct base_breaker *b, uint64_t now_ms)
{
	uint32_t probe = 0;

	if (b->force == BASE_BREAKER_AUTO && b->state == BASE_BREAKER_OPEN && now_ms >= b->until_ms)
		enter(b, BASE_BREAKER_HALF_OPEN, now_ms);
	if (!base_breaker_lets(b))
		return 0;
	if (b->force == BASE_BREAKER_AUTO && b->state == BASE_BREAKER_HALF_OPEN)
		probe = begin_probe(b, now_ms);
	return (base_breaker_pass)b->generation << 32 | probe;
}

/* False: there is no such one. *late: its lease is over, which nobody has looked at yet. */
static bool end_probe(struct base_breaker *b, uint64_t now_ms, uint32_t number, bool *late)
{
	for (uint32_t i = 0; i < BASE_BREAKER_PROBES; i++)
		if (number != 0 && b->probes[i].number == number) {
			b->probes[i].number = 0;
			*late = now_ms >= b->probes[i].until_ms;
			return true;
		}
	return false;
}

static bool give_probe(struct base_breaker *b, uint64_t now_ms, uint32_t number,
	enum base_breaker_end end, uint32_t chance)
{
	bool late;

	if (!end_probe(b, now_ms, number, &late))
		return false;
	if (late || end == BASE_BREAKER_FAILED) {
		open_it(b, now_ms, chance);
		return true;
	}
	if (end != BASE_BREAKER_OK || ++b->in_row < b->conf.successes)
		return false;
	close_it(b, now_ms);
	return true;
}

static bool give_counted(
	struct base_breaker *b, uint64_t now_ms, enum base_breaker_end end, uint32_t chance)
{
	slide(b, now_ms);
	if (end == BASE_BREAKER_OK) {
		b->buckets[b->bucket % BASE_BREAKER_BUCKETS].ok++;
		b->in_row = 0;
		return false;
	}
	b->buckets[b->bucket % BASE_BREAKER_BUCKETS].failed++;
	b->in_row++;
	if (!is_too_much(b, now_ms))
		return false;
	open_it(b, now_ms, chance);
	return true;
}

bool base_breaker_give(struct base_breaker *b, uint64_t now_ms, base_breaker_pass pass,
	enum base_breaker_end end, uint32_t chance)
{
	if ((uint32_t)(pass >> 32) != b->generation || b->force != BASE_BREAKER_AUTO)
		return false;
	if (b->state == BASE_BREAKER_HALF_OPEN)
		return give_probe(b, now_ms, (uint32_t)pass, end, chance);
	if (b->state == BASE_BREAKER_OPEN || end == BASE_BREAKER_UNKNOWN)
		return false;
	return give_counted(b, now_ms, end, chance);
}

/* ---- by itself ------------------------------------------------------------- */

bool base_breaker_tick(struct base_breaker *b, uint64_t now_ms, uint32_t chance)
{
	if (b->force != BASE_BREAKER_AUTO)
		return false;
	if (b->state == BASE_BREAKER_OPEN && now_ms >= b->until_ms) {
		enter(b, BASE_BREAKER_HALF_OPEN, now_ms);
		return true;
	}
	for (uint32_t i = 0; i < BASE_BREAKER_PROBES; i++)
		if (b->probes[i].number != 0 && now_ms >= b->probes[i].until_ms)
			return give_probe(
				b, now_ms, b->probes[i].number, BASE_BREAKER_FAILED, chance);
	return false;
}

uint64_t base_breaker_due(const struct base_breaker *b)
{
	uint64_t due = UINT64_MAX;

	if (b->force != BASE_BREAKER_AUTO)
		return due;
	if (b->state == BASE_BREAKER_OPEN)
		return b->until_ms;
	for (uint32_t i = 0; i < BASE_BREAKER_PROBES; i++)
		if (b->probes[i].number != 0 && b->probes[i].until_ms < due)
			due = b->probes[i].until_ms;
	return due;
}

bool base_breaker_adopt(
	struct base_breaker *b, uint64_t now_ms, uint64_t until_ms, uint32_t openings)
{
	bool is_open = b->state == BASE_BREAKER_OPEN;

	if (b->force != BASE_BREAKER_AUTO || until_ms <= now_ms)
		return false;
	if (until_ms > now_ms + b->conf.open_max_ms + b->conf.open_max_ms / 10)
		until_ms = now_ms + b->conf.open_max_ms + b->conf.open_max_ms / 10;
	if (openings > b->openings)
		b->openings = openings;
	if (b->openings == 0)
		b->openings = 1;
	if (is_open && until_ms > b->until_ms)
		b->until_ms = until_ms;
	if (is_open)
		return false;
	open_until(b, now_ms, until_ms);
	return true;
}

bool base_breaker_force(struct base_breaker *b, uint64_t now_ms, enum base_breaker_force force)
{
	if (b->force == force)
		return false;
	b->force = force;
	close_it(b, now_ms);
	return true;
}

uint64_t base_breaker_wait_ms(const struct base_breaker *b, uint64_t now_ms)
{
	if (base_breaker_lets(b))
		return 0;
	if (b->force == BASE_BREAKER_AUTO && b->state == BASE_BREAKER_OPEN && b->until_ms > now_ms)
		return b->until_ms - now_ms;
	return 1;
}

const char *base_breaker_state_name(enum base_breaker_state state)
{
	static const char *const names[] = { "closed", "open", "half-open" };

	return names[state];
}

void base_breaker_check(const struct base_breaker *b)
{
	assert(b->state < BASE_BREAKER_STATE__N && b->generation > 0);
	assert(b->force == BASE_BREAKER_AUTO || b->state == BASE_BREAKER_CLOSED);
	assert(b->state == BASE_BREAKER_HALF_OPEN || base_breaker_probing(b) == 0);
	assert(b->conf.probes >= 1 && b->conf.probes <= BASE_BREAKER_PROBES);
	assert((b->openings == 0) == (b->state == BASE_BREAKER_CLOSED));
	if (b->state == BASE_BREAKER_CLOSED)
		assert(b->conf.consecutive == 0 || b->in_row < b->conf.consecutive);
	if (b->state == BASE_BREAKER_HALF_OPEN)
		assert(b->in_row < b->conf.successes);
}
