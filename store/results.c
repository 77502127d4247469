/* Results as the settle Function takes them: chunks of one group each, in the bytes that stay there,
 * which are a map under each event's id, or many of them in one blob (functions.lua: results_chunks).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/journal_parts.h"
#include "store/keys.h"
#include "store/shared.h"

#define RESULT_GROUPS  32u
#define RESULT_BYTES   64u   /* what one costs, about, besides id, service and bytes */
#define BLOB_RESULTS   16u   /* fewer are not worth a name of their own */
#define BLOB_SPREAD_MS 1000u /* functions.lua: RESULT_SPREAD */

size_t store_journal_results_keys(struct store_fcall *c)
{
	size_t base = store_fcall_key(c, STORE_KEY_RESULTS);
	for (unsigned i = 0; i < RESULT_GROUPS; i++)
		store_fcall_key_format(c, STORE_KEY_RESULT_GROUP, i);
	return base;
}

/* ---- MessagePack, as Redis's Lua reads it: a map of service → bytes */

static size_t map_size(const struct store_end *const *ends, size_t n)
{
	size_t size = 3;
	for (size_t i = 0; i < n; i++)
		size += 2 + strlen(ends[i]->service) + 5 + ends[i]->result.size;
	return size;
}

static char *put_map(char *at, size_t n)
{
	if (n > 15) {
		*at++ = (char)0xde;
		*at++ = (char)(n >> 8);
		*at++ = (char)n;
	} else {
		*at++ = (char)(0x80 | n);
	}
	return at;
}

static char *put_name(char *at, const char *name)
{
	size_t size = strlen(name);
	if (size > 31) {
		*at++ = (char)0xd9;
		*at++ = (char)size;
	} else {
		*at++ = (char)(0xa0 | size);
	}
	memcpy(at, name, size);
	return at + size;
}

/* In front of so many bytes. */
static char *put_size(char *at, size_t size)
{
	*at++ = (char)0xdb;
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (char)(size >> shift);
	return at;
}

static size_t write_map(char *map, const struct store_end *const *ends, size_t n)
{
	char *at = put_map(map, n);
	for (size_t i = 0; i < n; i++) {
		at = put_name(at, ends[i]->service);
		at = put_size(at, ends[i]->result.size);
		memcpy(at, ends[i]->result.data, ends[i]->result.size);
		at += ends[i]->result.size;
	}
	return (size_t)(at - map);
}

/* id and map of n ends of one event. */
static void add_map(struct store_fcall *c, const struct store_end *const *ends, size_t n)
{
	char *map = store_fcall_room(c, map_size(ends, n));
	if (!map)
		return;
	store_fcall_bytes(c, ends[0]->id, 16);
	store_fcall_bytes(c, map, write_map(map, ends, n));
}

/* ---- chunks */

static uint64_t bytes_of(const struct store_end *end)
{
	return 16 + strlen(end->service) + end->result.size + RESULT_BYTES;
}

/* How many from here on go as one chunk: as many as fit into a group beside others, at least one. */
static size_t chunk(const struct store_end *const *ends, size_t n, uint64_t room, uint64_t *bytes)
{
	size_t count = 1;
	*bytes = bytes_of(ends[0]);
	while (count < n && *bytes + bytes_of(ends[count]) <= room)
		*bytes += bytes_of(ends[count++]);
	return count;
}

/* A letter's result goes with its letter: it stands where it can be removed. */
static bool is_alone(const struct store_end *end)
{
	return end->alone && end->how == STORE_ENDED;
}

/* How many of one event follow one another, so that they go as one map. */
static size_t same_event(const struct store_end *const *ends, size_t n)
{
	size_t count = 1;
	while (count < n && !is_alone(ends[0]) && memcmp(ends[count]->id, ends[0]->id, 16) == 0)
		count++;
	return count;
}

static size_t maps(const struct store_end *const *ends, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i += same_event(&ends[i], n - i))
		count++;
	return count;
}

static uint64_t time_of(const struct store_end *end)
{
	uint64_t ms = 0;
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | end->id[i];
	return ms;
}

struct span {
	uint64_t from, last; /* the times in its ids */
	size_t largest;      /* the map that takes most, without the data at its end */
};

/* Whether so many are worth a blob, and are found in it. */
static bool is_blob(const struct store_end *const *ends, size_t n, struct span *span)
{
	*span = (struct span){ time_of(ends[0]), time_of(ends[0]), 0 };
	for (size_t i = 0; i < n; i++) {
		uint64_t ms = time_of(ends[i]);
		span->from = ms < span->from ? ms : span->from;
		span->last = ms > span->last ? ms : span->last;
		size_t size = map_size(&ends[i], 1) - ends[i]->result_data;
		span->largest = size > span->largest ? size : span->largest;
	}
	return n >= BLOB_RESULTS && span->last - span->from <= BLOB_SPREAD_MS &&
	       span->largest <= STORE_PIECE_MAX;
}

static void put_32(char *at, size_t number)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = (char)(number >> shift);
}

/* The map of one, without the data at its end. */
static struct store_piece piece_of(const struct store_end *end, char *room)
{
	size_t size = end->result.size - end->result_data;
	char *at = put_size(put_name(put_map(room, 1), end->service), end->result.size);
	memcpy(at, end->result.data, size);
	return (struct store_piece){ (const uint8_t *)room, (size_t)(at - room) + size };
}

/* Ids, where the map of each begins and the last ends, maps; of which each is a piece like the first. */
static void add_blob(
	struct store_fcall *c, const struct store_end *const *ends, size_t n, size_t largest)
{
	size_t size = 20 * n + 4, at = size;
	for (size_t i = 0; i < n; i++)
		size += STORE_PIECE_MORE + map_size(&ends[i], 1);
	char *blob = store_fcall_room(c, size), *rooms = store_fcall_room(c, 2 * largest);
	if (!blob || !rooms)
		return;
	struct store_piece first = { (const uint8_t *)rooms, 0 };
	for (size_t i = 0; i < n; i++) {
		struct store_piece piece = piece_of(ends[i], i > 0 ? rooms + largest : rooms);
		size_t bare = ends[i]->result.size - ends[i]->result_data;
		struct store_arg data = { (const char *)ends[i]->result.data + bare,
			ends[i]->result_data };
		memcpy(blob + 16 * i, ends[i]->id, 16);
		put_32(blob + 16 * n + 4 * i, at);
		at = (size_t)((char *)store_shared_put((uint8_t *)blob + at, &piece, &first, data) - blob);
		if (i == 0)
			first = piece;
	}
	put_32(blob + 20 * n, at);
	store_fcall_bytes(c, blob, at);
}

static void add_pairs(struct store_fcall *c, const struct store_end *const *ends, size_t n)
{
	for (size_t i = 0, one; i < n; i += one) {
		one = same_event(&ends[i], n - i);
		add_map(c, &ends[i], one);
	}
}

static void add_chunks(
	struct store_fcall *c, const struct store_end *const *ends, size_t n, bool alone, uint64_t room)
{
	for (size_t i = 0, count; i < n; i += count) {
		uint64_t bytes;
		count = chunk(&ends[i], n - i, room, &bytes);
		struct span span;
		bool blob = alone && is_blob(&ends[i], count, &span);
		store_fcall_text(c, blob ? "B" : alone ? "p" : "m");
		store_fcall_number(c, maps(&ends[i], count));
		store_fcall_number(c, bytes);
		if (!blob) {
			add_pairs(c, &ends[i], count);
			continue;
		}
		add_blob(c, &ends[i], count, span.largest);
		store_fcall_number(c, span.from);
		store_fcall_number(c, span.last);
	}
}

/* Those that are alone, or those that are not. */
static size_t list(const struct store_ends *entries, size_t n, bool alone, const struct store_end **out)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < entries[i].n; j++) {
			const struct store_end *end = &entries[i].ends[j];
			if (end->result.data && is_alone(end) == alone)
				out[count++] = end;
		}
	return count;
}

void store_journal_add_results(struct store_fcall *c, const struct store_ends *entries, size_t n,
	size_t n_results, uint64_t results_max)
{
	const struct store_end **ends = calloc(n_results + 1, sizeof *ends);
	char text[16] = "0";
	if (!ends) {
		c->failed = true;
		return;
	}
	if (n_results)
		snprintf(text, sizeof text, "r%zu", store_journal_results_keys(c));
	store_fcall_copy(c, text, strlen(text));
	add_chunks(c, ends, list(entries, n, true, ends), true, results_max / 8);
	add_chunks(c, ends, list(entries, n, false, ends), false, results_max / 8);
	free(ends);
}
