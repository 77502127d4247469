#include "base/ulid.h"

#include <string.h>

#include "base/rand.h"

#define MAX_MS (((uint64_t)1 << 48) - 1)

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void fresh(struct base_ulid_maker *m, struct base_rand *r, uint64_t ms)
{
	uint64_t chance[2] = { base_rand_next(r), base_rand_next(r) };

	m->last_ms = ms;
	for (unsigned i = 0; i < 6; i++)
		m->last[i] = (uint8_t)(ms >> (40 - 8 * i));
	memcpy(m->last + 6, &chance[0], 8);
	memcpy(m->last + 14, &chance[1], 2);
}

/* False when all 80 random bits were ones. */
static bool increment(struct base_ulid_maker *m)
{
	for (unsigned i = BASE_ULID_SIZE; i > 6; i--)
		if (++m->last[i - 1] != 0)
			return true;
	return false;
}

void base_ulid_make(struct base_ulid_maker *m, struct base_rand *r, uint64_t unix_ms,
	uint8_t out[BASE_ULID_SIZE])
{
	if (unix_ms > MAX_MS)
		unix_ms = MAX_MS;
	/* A clock that went back does not take the order with it: the last millisecond is used on,
	 * and an overflow of the random part borrows the next one. */
	if (unix_ms > m->last_ms)
		fresh(m, r, unix_ms);
	else if (!increment(m))
		fresh(m, r, m->last_ms < MAX_MS ? m->last_ms + 1 : MAX_MS);
	memcpy(out, m->last, BASE_ULID_SIZE);
}

static uint64_t read_half(const uint8_t *at)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return value;
}

/* 26 digits of 5 bits hold 130 bits: the first digit carries only three. */
void base_ulid_print(const uint8_t id[BASE_ULID_SIZE], char out[BASE_ULID_TEXT + 1])
{
	uint64_t high = read_half(id), low = read_half(id + 8);

	for (unsigned i = BASE_ULID_TEXT; i-- > 0;) {
		out[i] = digits[low & 31];
		low = low >> 5 | high << 59;
		high >>= 5;
	}
	out[BASE_ULID_TEXT] = '\0';
}

/* A digit's value, or -1. Only the alphabet itself: I, L, O and U stand for nothing, so that an id
 * has one spelling (but for case). */
static int digit_value(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c == '\0')
		return -1;
	at = strchr(digits, c);
	return at ? (int)(at - digits) : -1;
}

bool base_ulid_parse(const char *text, uint8_t out[BASE_ULID_SIZE])
{
	uint8_t id[BASE_ULID_SIZE] = { 0 };

	for (unsigned i = 0; i < BASE_ULID_TEXT; i++) {
		int value = digit_value(text[i]);
		if (value < 0 || (i == 0 && value > 7))
			return false;
		for (unsigned j = 0; j < 5; j++) {
			unsigned bit = 5 * i + j;
			if (bit >= 2 && ((unsigned)value >> (4 - j) & 1u))
				id[(bit - 2) / 8] |= (uint8_t)(0x80u >> (bit - 2) % 8);
		}
	}
	if (text[BASE_ULID_TEXT] != '\0')
		return false;
	memcpy(out, id, sizeof id);
	return true;
}
