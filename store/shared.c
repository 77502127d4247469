#include "store/shared.h"

#include <string.h>

#define EVENTS_TAG 0x0a /* JournalEntry.events, as bytes */
#define RUN_MIN    8u /* so many of the same bytes are worth a run */

/* ---- writing */

static uint8_t *put_number(uint8_t *at, size_t number, unsigned bytes)
{
	while (bytes-- > 0)
		*at++ = (uint8_t)(number >> 8 * bytes);
	return at;
}

static size_t count_same(const uint8_t *a, const uint8_t *b, size_t most)
{
	size_t n = 0;

	while (most - n >= 8 && memcmp(a + n, b + n, 8) == 0)
		n += 8;
	while (n < most && a[n] == b[n])
		n++;
	return n;
}

/* How many bytes of a piece from `at` on are the same as before, both counted from the back. */
static size_t same_from(const struct store_piece *piece, const struct store_piece *before, size_t at)
{
	size_t left = piece->size - at;

	if (left > before->size)
		return 0;
	return count_same(before->bytes + before->size - left, piece->bytes + at, left);
}

/* How many bytes from `at` on are others: as far as a run of the same, or the rest, is worth its numbers. */
static size_t count_other(
	const struct store_piece *piece, const struct store_piece *before, size_t at, size_t *same)
{
	size_t to = at;

	while (to < piece->size) {
		*same = same_from(piece, before, to);
		if (*same >= RUN_MIN)
			break;
		to += *same + 1;
	}
	if (to >= piece->size) {
		to = piece->size;
		*same = 0;
	}
	return to - at;
}

static uint8_t *put_runs(uint8_t *to, const struct store_piece *piece, const struct store_piece *before)
{
	size_t most = piece->size < before->size ? piece->size : before->size;
	size_t same = count_same(before->bytes, piece->bytes, most), other, next = 0;

	for (size_t at = 0; at < piece->size; at += other, same = next) {
		at += same;
		other = count_other(piece, before, at, &next);
		to = put_number(to, same, 2);
		to = put_number(to, other, 2);
		memcpy(to, piece->bytes + at, other);
		to += other;
	}
	return to;
}

uint8_t *store_shared_put(uint8_t *to, const struct store_piece *piece,
	const struct store_piece *before, struct store_arg data)
{
	to = put_number(to, piece->size, 2);
	to = put_number(to, data.size, 4);
	to = put_runs(to, piece, before);
	if (data.size)
		memcpy(to, data.data, data.size);
	return to + data.size;
}

/* ---- the parts */

/* The next event of a packed head, with its tag and its length. False: that is none. */
static bool next_event(const uint8_t *at, const uint8_t *end, struct store_piece *out)
{
	const uint8_t *start = at;
	size_t size = 0;
	unsigned shift = 0;

	if (at == end || *at++ != EVENTS_TAG)
		return false;
	do {
		if (at == end || shift > 14)
			return false;
		size |= (size_t)(*at & 0x7f) << shift;
		shift += 7;
	} while (*at++ & 0x80);
	if (size > (size_t)(end - at) || size > STORE_PIECE_MAX - 4)
		return false;
	*out = (struct store_piece){ start, (size_t)(at - start) + size };
	return true;
}

/* The end of what was written; NULL: that is no head. */
static uint8_t *put_head(uint8_t *to, struct store_arg head, size_t *n)
{
	const uint8_t *at = head.data, *end = at + head.size;
	struct store_piece before = { at, 0 }, piece;

	for (*n = 0; at < end; ++*n, at += piece.size, before = piece) {
		if (*n == STORE_ENTRY_DELIVERIES || !next_event(at, end, &piece))
			return NULL;
		to = put_number(to, piece.size, 2);
		to = put_runs(to, &piece, &before);
	}
	return to;
}

/* As many bytes as the items say: is_said has looked. */
static uint8_t *put_body(
	uint8_t *to, const struct store_item *items, size_t n, const uint8_t *body)
{
	struct store_piece before = { body, 0 };

	for (size_t i = 0; i < n; i++) {
		struct store_piece piece = { body, items[i].meta_size };
		struct store_arg data = { body + piece.size, items[i].data_size };

		if (items[i].n_deliveries == 0)
			continue;
		to = store_shared_put(to, &piece, &before, data);
		body += piece.size + data.size;
		before = piece;
	}
	return to;
}

/* Whether the items say what the body is made of, and how many events that are. */
static bool is_said(const struct store_item *items, size_t n, size_t body_size, size_t *events)
{
	uint64_t sum = 0;

	*events = 0;
	for (size_t i = 0; i < n; i++) {
		if (items[i].n_deliveries == 0)
			continue;
		if (items[i].meta_size > STORE_PIECE_MAX)
			return false;
		sum += (uint64_t)items[i].meta_size + items[i].data_size;
		++*events;
	}
	return sum == body_size;
}

bool store_shared_pack(struct store_fcall *c, const struct store_item *items, size_t n,
	struct store_arg *head, struct store_arg *body)
{
	size_t events, heads, plain = head->size + body->size;
	uint8_t *room, *middle, *end;

	if (!is_said(items, n, body->size, &events) || events < 2)
		return false;
	room = store_fcall_room(c, plain + 2 * events * STORE_PIECE_MORE);
	middle = room ? put_head(room, *head, &heads) : NULL;
	if (!middle || heads != events)
		return false;
	end = put_body(middle, items, n, body->data);
	if ((size_t)(end - room) > plain / 8 * 7)
		return false;
	*head = (struct store_arg){ room, (size_t)(middle - room) };
	*body = (struct store_arg){ middle, (size_t)(end - middle) };
	return true;
}
