#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define GUESS_MAX   48 /* longer words are nobody's typing error */
#define QUOTE_CHARS 60

size_t base_text_utf8(const void *text, size_t size, uint32_t *code)
{
	const uint8_t *t = text;
	size_t length;
	uint32_t value, least;

	if (t[0] < 0x80) {
		*code = t[0];
		return 1;
	}
	if (t[0] >= 0xC2 && t[0] <= 0xDF)
		length = 2, value = t[0] & 0x1Fu, least = 0x80;
	else if ((t[0] & 0xF0) == 0xE0)
		length = 3, value = t[0] & 0x0Fu, least = 0x800;
	else if (t[0] >= 0xF0 && t[0] <= 0xF4)
		length = 4, value = t[0] & 0x07u, least = 0x10000;
	else
		return 0;
	if (size < length)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((t[i] & 0xC0) != 0x80)
			return 0;
		value = value << 6 | (t[i] & 0x3Fu);
	}
	if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
		return 0;
	*code = value;
	return length;
}

bool base_text_is_utf8(const void *text, size_t size)
{
	const uint8_t *at = text;
	const uint8_t *end = at + size;
	uint32_t code;

	while (at < end) {
		size_t length = base_text_utf8(at, (size_t)(end - at), &code);
		if (length == 0)
			return false;
		at += length;
	}
	return true;
}

bool base_text_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x200E || code == 0x200F ||
	       (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/* One character of a quotation into piece; returns how many bytes of text it stands for. */
static size_t quote_one(char piece[12], const char *text, size_t size)
{
	uint32_t code;
	size_t length = base_text_utf8(text, size, &code);

	if (length == 0) {
		(void)snprintf(piece, 12, "\\x%02x", (unsigned)(uint8_t)text[0]);
		return 1;
	}
	if (code == '"' || code == '\\')
		(void)snprintf(piece, 12, "\\%c", (int)code);
	else if (code == '\n')
		(void)snprintf(piece, 12, "\\n");
	else if (base_text_is_control(code))
		(void)snprintf(piece, 12, "\\u%04x", (unsigned)code);
	else {
		memcpy(piece, text, length);
		piece[length] = '\0';
	}
	return length;
}

void base_text_quote(char *out, size_t room, const char *text, size_t size)
{
	static const char cut[] = "\"\xE2\x80\xA6";
	size_t n = 0;
	size_t at = 0;

	if (room < 8) {
		if (room > 0)
			out[0] = '\0';
		return;
	}
	out[n++] = '"';
	for (unsigned chars = 0; at < size && chars < QUOTE_CHARS; chars++) {
		char piece[12];
		size_t taken = quote_one(piece, text + at, size - at);
		size_t length = strlen(piece);
		if (n + length + sizeof cut > room)
			break;
		memcpy(out + n, piece, length);
		n += length;
		at += taken;
	}
	memcpy(out + n, at < size ? cut : "\"", at < size ? sizeof cut : 2);
}

const char *base_text_word(char *out, size_t room, const char *word)
{
	size_t size = strlen(word);

	base_text_quote(out, room, word, size);
	if (size == 0 || size + 2 != strlen(out) || memcmp(out + 1, word, size) != 0 ||
		strchr(word, ' '))
		return out;
	out[size + 1] = '\0';
	return out + 1;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;
	return least < c ? least : c;
}

/* Insertions, deletions, changes and swaps of neighbours that turn a into b. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned rows[3][GUESS_MAX + 1];
	unsigned *before = rows[0];
	unsigned *last = rows[1];
	unsigned *now = rows[2];

	for (size_t j = 0; j <= nb; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			now[j] = min3(
				last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = min3(now[j], before[j - 2] + 1, now[j]);
		}
		unsigned *spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[nb];
}

void base_text_offer(struct base_text_guess *guess, const char *candidate)
{
	size_t na = strlen(guess->word);
	size_t nb = strlen(candidate);
	unsigned far;

	if (na == 0 || na > GUESS_MAX || nb > GUESS_MAX)
		return;
	far = distance(guess->word, na, candidate, nb);
	if (na >= 3 && strncmp(guess->word, candidate, na) == 0)
		far = 1; /* the beginning of a name is as good as a typing error */
	if (far > 1 && far > na / 3)
		return;
	if (far >= na)
		return;
	if (!guess->best || far < guess->distance) {
		guess->best = candidate;
		guess->distance = far;
	}
}
