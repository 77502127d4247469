#include "store/journal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/journal_parts.h"
#include "store/keys.h"
#include "store/shared.h"

#define LANE_BITS 16

/* ---- what all calls share */

enum base_err store_journal_send(struct store_fcall *c, struct store_redis *r,
	const char *function, store_reply_fn *on_reply, struct store_pending pending)
{
	struct store_pending *kept = malloc(sizeof *kept);
	enum base_err err = BASE_NOMEM;
	if (kept) {
		*kept = pending;
		err = store_fcall_send(c, r, function, on_reply, kept);
	}
	if (err)
		free(kept);
	store_fcall_fini(c);
	return err;
}

struct store_pending store_journal_take(void *pending)
{
	struct store_pending taken = *(struct store_pending *)pending;
	free(pending);
	return taken;
}

void store_journal_owner_keys(struct store_fcall *c)
{
	store_fcall_init(c);
	store_fcall_key(c, STORE_KEY_OWNERS);
	store_fcall_key(c, STORE_KEY_JOURNALS);
	store_fcall_key(c, STORE_KEY_EPOCH);
}

void store_journal_turn_keys(struct store_fcall *c, uint32_t journal)
{
	store_fcall_key_format(c, STORE_KEY_JOURNAL, journal);
	store_fcall_key_format(c, STORE_KEY_DONE, journal);
}

struct store_says store_journal_says(const struct store_reply *reply)
{
	struct store_says says = { .why = "" };
	says.code = store_code_of(reply, &says.number);
	if (reply->type == STORE_ERROR)
		says.why = reply->text;
	return says;
}

struct store_says store_journal_broken(void)
{
	return (struct store_says){ .code = STORE_BROKEN,
		.why = "a Function's answer has another shape than this program knows" };
}

/* A list for what a reply holds, at least one long; NULL makes the answer BROKEN. */
static void *list_of(struct store_reader *in, size_t n, size_t size)
{
	void *list = in->broken ? NULL : calloc(n + 1, size);
	if (!list)
		in->broken = true;
	return list;
}

void store_journal_on_count(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_count out = { .says = store_journal_says(reply) };
	if (!out.says.code && (reply->type != STORE_INT || reply->integer < 0))
		out.says = store_journal_broken();
	else if (!out.says.code)
		out.n = (uint64_t)reply->integer;
	p.fn.count(p.arg, &out);
}

/* ---- owners and journals */

static uint32_t *read_journals(struct store_reader *in, size_t *n)
{
	size_t left = store_read_left(in);
	uint32_t *journals = list_of(in, left, sizeof *journals);
	for (size_t i = 0; journals && i < left; i++)
		journals[i] = store_read_epoch(in, NULL);
	*n = left;
	return journals;
}

static void on_opened(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_opened out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply };
	uint32_t *adopted = NULL;
	if (!out.says.code) {
		out.now_ms = store_read_number(&in);
		out.epoch = store_read_epoch(&in, NULL);
		out.journal = store_read_epoch(&in, NULL);
		out.adopted = adopted = read_journals(&in, &out.n_adopted);
		if (in.broken)
			out = (struct store_opened){ .says = store_journal_broken() };
	}
	p.fn.opened(p.arg, &out);
	free(adopted);
}

enum base_err store_journal_open(
	struct store_redis *r, uint32_t old, store_opened_fn *fn, void *arg)
{
	struct store_fcall c;
	store_journal_owner_keys(&c);
	if (old)
		store_fcall_number(&c, old);
	else
		store_fcall_text(&c, "");
	return store_journal_send(
		&c, r, "pirn1_open", on_opened, (struct store_pending){ { .opened = fn }, arg });
}

static struct store_owner *read_owners(struct store_reader *in, size_t *n)
{
	uint64_t told = store_read_number(in);
	if (told > store_read_left(in) / 2)
		in->broken = true;
	struct store_owner *owners = list_of(in, in->broken ? 0 : told, sizeof *owners);
	*n = owners ? told : 0;
	for (size_t i = 0; i < *n; i++) {
		owners[i].epoch = store_read_epoch(in, NULL);
		owners[i].beat = store_read_number(in);
	}
	return owners;
}

static struct store_owned *read_owned(struct store_reader *in, size_t *n)
{
	*n = store_read_left(in) / 2;
	struct store_owned *journals = list_of(in, *n, sizeof *journals);
	for (size_t i = 0; journals && i < *n; i++) {
		journals[i].journal = store_read_epoch(in, NULL);
		journals[i].epoch = store_read_epoch(in, &journals[i].adopted);
	}
	return journals;
}

static void on_beat(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_beat out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply };
	struct store_owner *owners = NULL;
	struct store_owned *journals = NULL;
	if (!out.says.code) {
		out.now_ms = store_read_number(&in);
		out.owners = owners = read_owners(&in, &out.n_owners);
		out.journals = journals = read_owned(&in, &out.n_journals);
		if (in.broken)
			out = (struct store_beat){ .says = store_journal_broken() };
	}
	p.fn.beat(p.arg, &out);
	free(owners);
	free(journals);
}

enum base_err store_journal_beat(
	struct store_redis *r, uint32_t epoch, store_beat_fn *fn, void *arg)
{
	struct store_fcall c;
	store_journal_owner_keys(&c);
	store_fcall_number(&c, epoch);
	return store_journal_send(
		&c, r, "pirn1_beat", on_beat, (struct store_pending){ { .beat = fn }, arg });
}

static void on_adopted(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_adopted out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply };
	uint32_t *journals = NULL;
	if (!out.says.code) {
		out.journals = journals = read_journals(&in, &out.n);
		if (in.broken || reply->type != STORE_ARRAY)
			out = (struct store_adopted){ .says = store_journal_broken() };
	}
	p.fn.adopted(p.arg, &out);
	free(journals);
}

enum base_err store_journal_adopt(struct store_redis *r, uint32_t epoch, uint32_t victim,
	uint64_t seen, store_adopted_fn *fn, void *arg)
{
	if (epoch == victim)
		return BASE_INVALID;
	struct store_fcall c;
	store_journal_owner_keys(&c);
	store_fcall_number(&c, epoch);
	store_fcall_number(&c, victim);
	store_fcall_number(&c, seen);
	return store_journal_send(
		&c, r, "pirn1_adopt", on_adopted, (struct store_pending){ { .adopted = fn }, arg });
}

enum base_err store_journal_leave(
	struct store_redis *r, uint32_t epoch, store_count_fn *fn, void *arg)
{
	struct store_fcall c;
	store_journal_owner_keys(&c);
	store_fcall_number(&c, epoch);
	return store_journal_send(&c, r, "pirn1_leave", store_journal_on_count,
		(struct store_pending){ { .count = fn }, arg });
}

enum base_err store_journal_drop(
	struct store_redis *r, uint32_t epoch, uint32_t journal, store_count_fn *fn, void *arg)
{
	struct store_fcall c;
	store_journal_owner_keys(&c);
	store_journal_turn_keys(&c, journal);
	store_fcall_number(&c, epoch);
	store_fcall_number(&c, journal);
	return store_journal_send(&c, r, "pirn1_drop", store_journal_on_count,
		(struct store_pending){ { .count = fn }, arg });
}

/* ---- reading */

static void read_entry(struct store_reader *in, struct store_entry *entry)
{
	struct store_reply element = store_read(in);
	struct store_reader parts = { .reply = &element };
	store_read_id(&parts, &entry->epoch, &entry->turn);
	entry->written_ms = store_read_number(&parts);
	entry->head = store_read_bytes(&parts);
	entry->body = store_read_bytes(&parts);
	entry->ended = store_read_bytes(&parts);
	in->broken = in->broken || parts.broken;
}

static void on_page(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_page out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply, .broken = reply->type != STORE_ARRAY };
	struct store_entry *entries = NULL;
	if (!out.says.code) {
		out.n = store_read_left(&in);
		out.entries = entries = list_of(&in, out.n, sizeof *entries);
		for (size_t i = 0; entries && i < out.n; i++)
			read_entry(&in, &entries[i]);
		if (in.broken)
			out = (struct store_page){ .says = store_journal_broken() };
	}
	p.fn.page(p.arg, &out);
	free(entries);
}

enum base_err store_journal_read(struct store_redis *r, uint32_t journal, uint32_t after_epoch,
	uint64_t after_turn, uint32_t max_entries, uint64_t max_bytes, store_page_fn *fn, void *arg)
{
	struct store_fcall c;
	store_fcall_init(&c);
	store_journal_turn_keys(&c, journal);
	if (after_epoch == 0 && after_turn == 0)
		store_fcall_text(&c, "-");
	else
		store_fcall_id(&c, after_epoch, after_turn);
	store_fcall_number(&c, max_entries);
	store_fcall_number(&c, max_bytes);
	return store_journal_send(
		&c, r, "pirn1_read", on_page, (struct store_pending){ { .page = fn }, arg });
}

/* ---- store */

/* A slot, a space, and the id of the last run, if there was one. */
static bool read_slot(struct store_arg value, struct store_duplicate *out)
{
	const char *text = value.data;
	const char *space = memchr(text, ' ', value.size);

	if (!space || !store_parse_number(text, (size_t)(space - text), &out->last_ms))
		return false;
	out->id = (struct store_arg){ space + 1, value.size - (size_t)(space - text) - 1 };
	return out->id.size == 0 || out->id.size == 16;
}

static bool read_duplicate(struct store_reader *in, struct store_duplicate *out)
{
	static const char *const words[] = { [STORE_WHY_LANE] = "LANE", [STORE_WHY_KEY] = "KEY",
		[STORE_WHY_BODY] = "BODY", [STORE_WHY_SLOT] = "SLOT", [STORE_WHY_FULL] = "FULL" };
	out->item = store_read_number(in);
	struct store_arg word = store_read_bytes(in), value = store_read_bytes(in);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strlen(words[i]) != word.size || memcmp(words[i], word.data, word.size) != 0)
			continue;
		out->why = (enum store_why)i;
		out->id = value;
		return i != STORE_WHY_SLOT || read_slot(value, out);
	}
	return false;
}

static void on_stored(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_stored out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply };
	struct store_duplicate *duplicates = NULL;
	if (!out.says.code) {
		out.now_ms = store_read_number(&in);
		out.entry = store_read_number(&in) == 1;
		out.n = store_read_left(&in) / 3;
		out.duplicates = duplicates = list_of(&in, out.n, sizeof *duplicates);
		for (size_t i = 0; duplicates && i < out.n; i++) {
			if (!read_duplicate(&in, &duplicates[i]))
				in.broken = true;
		}
		if (in.broken)
			out = (struct store_stored){ .says = store_journal_broken() };
	}
	p.fn.stored(p.arg, &out);
	free(duplicates);
}

/* Keys of lanes that this call names already, so that the events of one sender share one. */
struct lane_keys {
	uint64_t lane[STORE_ENTRY_DELIVERIES], page[STORE_ENTRY_DELIVERIES];
	size_t key[STORE_ENTRY_DELIVERIES];
	size_t n;
};

static size_t lane_key(struct store_fcall *c, struct lane_keys *known, const struct store_item *item)
{
	uint64_t page = item->number >> LANE_BITS;
	for (size_t i = known->n; i-- > 0;) {
		if (known->lane[i] == item->lane && known->page[i] == page)
			return known->key[i];
	}
	size_t key = store_fcall_key_format(
		c, STORE_KEY_LANE, (unsigned long long)item->lane, (unsigned long long)page);
	known->lane[known->n] = item->lane;
	known->page[known->n] = page;
	known->key[known->n++] = key;
	return key;
}

/* The number of the group that each item is of, from 1 on; 0: of none. */
static void number_groups(const struct store_item *items, size_t n, uint16_t *groups)
{
	uint16_t last = 0;

	for (size_t i = 0; i < n; i++) {
		bool goes_on = i > 0 && items[i - 1].together;

		if (items[i].together && !goes_on)
			last++;
		groups[i] = items[i].together || goes_on ? last : 0;
	}
}

static bool is_plain(const struct store_item *item)
{
	return item->guard == STORE_GUARD_NONE && item->n_deliveries == 1;
}

static bool is_known(const struct store_item *item)
{
	return item->guard == STORE_GUARD_KEY && item->ttl_ms > 0;
}

/* How much of its hash a key's mark says: that of a key which says all by itself is zero, and is left out. */
static size_t hash_size(const struct store_item *item)
{
	const uint8_t *hash = item->hash.data;
	for (size_t i = 0; i < item->hash.size; i++) {
		if (hash[i])
			return item->hash.size;
	}
	return 0;
}

/* Keys that stand in the same bucket, and take as many bytes there. */
static bool is_same_key(const struct store_item *a, const struct store_item *b)
{
	return a->n_deliveries == b->n_deliveries && a->ttl_ms == b->ttl_ms &&
	       a->key.size == b->key.size && hash_size(a) == hash_size(b) &&
	       strcmp(a->scope, b->scope) == 0;
}

static bool is_alike(const struct store_item *a, const struct store_item *b)
{
	return (is_plain(a) && is_plain(b)) || (is_known(a) && is_known(b) && is_same_key(a, b));
}

/* How many events from here on are alike and follow one another in their lane: they go as one. */
static size_t span(const struct store_item *items, const uint16_t *groups, size_t n)
{
	size_t count = 1;
	while (count < n && items[0].has_lane && items[count].has_lane &&
		is_alike(&items[0], &items[count]) && groups[count] == groups[0] &&
		items[count].lane == items[0].lane &&
		items[count].number == items[0].number + count &&
		items[count].number >> LANE_BITS == items[0].number >> LANE_BITS)
		count++;
	return count;
}

/* Items by their keys; what stands in the table is an item's number + 1. */
#define TWIN_SLOTS 2048u
_Static_assert(TWIN_SLOTS >= 2 * STORE_ENTRY_DELIVERIES, "half of it stays free");

static uint32_t slot_of(const struct store_item *item)
{
	const uint8_t *key = item->key.data;
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < item->key.size && i < 32; i++)
		hash = (hash ^ key[i]) * 16777619u;
	return (hash ^ hash >> 16) % TWIN_SLOTS;
}

static bool is_twin(const struct store_item *a, const struct store_item *b)
{
	return a->key.size == b->key.size && memcmp(a->key.data, b->key.data, a->key.size) == 0 &&
	       strcmp(a->scope, b->scope) == 0;
}

/* Whether two have one key. Somebody who found many keys for one slot would make it slow: then it
 * is said without a look, and costs Redis more. */
static bool has_twins(const struct store_item *items, size_t n)
{
	uint16_t table[TWIN_SLOTS] = { 0 };
	for (size_t i = 0; i < n; i++) {
		if (!is_known(&items[i]))
			continue;
		uint32_t slot = slot_of(&items[i]), looks = 0;
		for (; table[slot]; slot = (slot + 1) % TWIN_SLOTS) {
			if (is_twin(&items[table[slot] - 1], &items[i]) || ++looks == 64)
				return true;
		}
		table[slot] = (uint16_t)(i + 1);
	}
	return false;
}

static void add_guard(struct store_fcall *c, char letter, uint16_t group)
{
	char text[8];
	int size = snprintf(text, sizeof text, group ? "%c%u" : "%c", letter, (unsigned)group);

	store_fcall_copy(c, text, (size_t)size);
}

static size_t put_key(char *at, const struct store_item *item)
{
	size_t scope = strlen(item->scope);
	memcpy(at, item->scope, scope);
	at[scope] = ':';
	memcpy(at + scope + 1, item->key.data, item->key.size);
	return scope + 1 + item->key.size;
}

static size_t put_mark(char *at, const struct store_item *item)
{
	size_t hash = hash_size(item);
	memcpy(at, item->id.data, item->id.size);
	memcpy(at + item->id.size, item->hash.data, hash);
	return item->id.size + hash;
}

/* Scope, colon and key of each, and its id and hash: apart, as they stand in Redis, or, when a key
 * is there twice, all keys and then all the others. */
static void add_known(struct store_fcall *c, const struct store_item *items, size_t count, bool twice)
{
	size_t width = strlen(items->scope) + 1 + items->key.size,
	       room = items->id.size + hash_size(items);
	char *fields = store_fcall_room(c, width * count), *marks = store_fcall_room(c, room * count);

	store_fcall_number(c, count);
	store_fcall_number(c, items->ttl_ms);
	for (size_t i = 0; fields && marks && i < count; i++) {
		size_t field = put_key(fields + i * width, &items[i]),
		       mark = put_mark(marks + i * room, &items[i]);

		if (!twice) {
			store_fcall_bytes(c, fields + i * width, field);
			store_fcall_bytes(c, marks + i * room, mark);
		}
	}
	if (twice) {
		store_fcall_bytes(c, fields, width * count);
		store_fcall_bytes(c, marks, room * count);
	}
}

static void add_items(struct store_fcall *c, struct lane_keys *known, const struct store_item *item,
	uint16_t group, size_t count, bool twice)
{
	store_fcall_number(c, count > 1 && is_plain(item) ? count : item->n_deliveries);
	store_fcall_number(c, item->has_lane ? lane_key(c, known, item) : 0);
	store_fcall_number(c, item->number & ((1u << LANE_BITS) - 1));
	if (is_known(item)) {
		add_guard(c, twice ? 'b' : 'B', group);
		add_known(c, item, count, twice);
	} else if (count > 1) {
		add_guard(c, 's', group);
	} else if (item->guard == STORE_GUARD_KEY) {
		add_guard(c, 'k', group);
		store_fcall_number(c, store_fcall_key_scoped(c, STORE_KEY_DEDUPE, item->scope,
					      item->key.data, item->key.size));
		store_fcall_bytes(c, item->hash.data, item->hash.size);
		store_fcall_bytes(c, item->id.data, item->id.size);
	} else if (item->guard == STORE_GUARD_TIMER) {
		add_guard(c, 't', group);
		store_fcall_text(c, item->timer);
		store_fcall_number(c, item->previous_ms);
		store_fcall_number(c, item->slot_ms);
		store_fcall_bytes(c, item->id.data, item->id.size);
	} else {
		add_guard(c, '-', group);
	}
}

static bool is_item(const struct store_item *item)
{
	switch (item->guard) {
	case STORE_GUARD_NONE:
		return item->n_deliveries > 0;
	case STORE_GUARD_KEY:
		return item->n_deliveries > 0 && item->scope && item->key.size > 0 &&
		       item->hash.size > 0 && item->id.size == 16;
	case STORE_GUARD_TIMER:
		return item->timer && *item->timer &&
		       item->id.size == (item->n_deliveries > 0 ? 16u : 0u);
	}
	return false;
}

enum base_err store_journal_store(struct store_redis *r, const struct store_turn *turn,
	const struct store_item *items, size_t n, const struct store_bounds *bounds,
	store_stored_fn *fn, void *arg)
{
	struct store_fcall c;
	struct lane_keys known;
	uint16_t groups[STORE_ENTRY_DELIVERIES];
	struct store_arg head = turn->head, body = turn->body;
	bool shared;
	if (n == 0 || n > STORE_ENTRY_DELIVERIES)
		return BASE_INVALID;
	for (size_t i = 0; i < n; i++) {
		bool grouped = items[i].together || (i > 0 && items[i - 1].together);
		if (!is_item(&items[i]) || (grouped && items[i].guard == STORE_GUARD_TIMER))
			return BASE_INVALID;
	}
	bool twice = has_twins(items, n);
	known.n = 0; /* the rest needs no beginning: it is large */
	number_groups(items, n, groups);
	store_journal_owner_keys(&c);
	shared = store_shared_pack(&c, items, n, &head, &body);
	store_journal_turn_keys(&c, turn->journal);
	store_fcall_key(&c, STORE_KEY_TIMERS);
	store_fcall_key(&c, STORE_KEY_DEDUPE_SIZE);
	store_fcall_number(&c, turn->epoch);
	store_fcall_number(&c, turn->journal);
	store_fcall_number(&c, turn->turn);
	store_fcall_bytes(&c, head.data, head.size);
	store_fcall_bytes(&c, body.data, body.size);
	store_fcall_number(&c, bounds->dedupe_max);
	store_fcall_number(&c, bounds->dedupe_ms);
	for (size_t i = 0, count; i < n; i += count) {
		count = span(&items[i], &groups[i], n - i);
		add_items(&c, &known, &items[i], groups[i], count, twice);
	}
	return store_journal_send(&c, r, shared ? "pirn1_store_shared" : "pirn1_store", on_stored,
		 (struct store_pending){ { .stored = fn }, arg });
}
