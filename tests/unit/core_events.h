/* The core's bench with events: a Redis of a few lines behind it. It does what an ask says
 * when it sees it, in order, and tells when the test says so: done, or lost on the way back
 * (it happened), or lost on the way there (it did not).
 *
 * What it knows of the protocol is as little as the tests need: epochs, beats, journals with
 * entries and their bitmaps, lane numbers, dedupe keys.
 */
#ifndef TESTS_CORE_EVENTS_H
#define TESTS_CORE_EVENTS_H

#include "tests/unit/core_rig.h"

#define TINY_ENTRIES 256
#define TINY_QUEUE   64
#define TINY_MS      1900000000000u /* its clock is not ours */

struct tiny_entry {
	uint32_t journal, epoch, n;
	uint64_t turn, written_ms;
	uint8_t *head, *body;
	size_t head_size, body_size;
	uint8_t ended[128];
	bool gone;
};

struct tiny_told {
	struct brk_told told;
	struct store_says says;
	union {
		struct store_opened opened;
		struct store_beat beat;
		struct store_adopted adopted;
		struct store_count count;
		struct store_page page;
		struct store_stored stored;
		struct store_settled settled;
		struct store_list list;
		struct store_claimed claimed;
	};
	struct store_arg items[64]; /* of list */
	uint32_t journals[8];
	struct store_owner owners[8];
	struct store_owned owned[8];
	struct store_entry entries[8];
	struct store_duplicate duplicates[64];
	uint8_t running[64][16]; /* the timer's, as each was told */
};

struct tiny;
typedef bool tiny_more(struct tiny *, const struct brk_ask *, struct tiny_told *);

struct tiny {
	struct rig *rig;
	tiny_more *more; /* what a test knows beyond this; true: it did it */
	void *arg;
	uint32_t epoch;     /* the counter */
	uint64_t beats[32]; /* by epoch; 0: not an owner */
	uint32_t owner[32]; /* by journal; 0: none */
	bool adopted[32], left[32];
	struct tiny_entry entries[TINY_ENTRIES];
	size_t n;
	uint64_t numbers[4096]; /* of one lane */
	size_t n_numbers;
	struct tiny_key {
		char scope[BRK_NAME_SIZE];
		uint8_t key[32], hash[16], id[16];
		size_t size;
	} keys[64];
	size_t n_keys;
	bool full; /* no room for what has one fate */
	struct {
		char name[128];
		uint64_t last_ms;
		uint8_t id[16];
		bool has_id;
	} timer; /* the one timer */
	struct tiny_told queue[TINY_QUEUE];
	size_t first, last;
	size_t ends, dead, results, moved; /* what SETTLE brought */
	size_t n_asks[BRK_ASK__N];
	struct store_end last_end;
	uint8_t letter[512];
	size_t letter_size;
	enum store_code
		next; /* other than DONE: the next STORE or SETTLE is told that, and not done */
};

RIG uint64_t tiny_ms(const struct tiny *t)
{
	return TINY_MS + t->rig->now_ms;
}

RIG bool tiny_owns(struct tiny *t, struct tiny_told *told, uint32_t epoch)
{
	if (t->beats[epoch] > 0 && !t->left[epoch])
		return true;
	told->says.code = STORE_FENCED;
	told->says.number = t->epoch;
	return false;
}

/* ---- owners ----------------------------------------------------------------- */

RIG void tiny_open(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	uint32_t old = ask->epoch, epoch;

	if (old && !tiny_owns(t, told, old))
		return;
	epoch = ++t->epoch;
	t->beats[epoch] = old ? t->beats[old] : 1;
	told->opened = (struct store_opened){
		.now_ms = tiny_ms(t), .epoch = epoch, .journal = epoch, .adopted = told->journals
	};
	for (uint32_t j = 1; old && j < 32; j++) {
		if (t->owner[j] != old)
			continue;
		t->owner[j] = epoch;
		if (t->adopted[j])
			told->journals[told->opened.n_adopted++] = j;
		else
			told->opened.journal = j;
	}
	if (old)
		t->beats[old] = 0;
	t->owner[told->opened.journal] = epoch;
}

RIG void tiny_beat(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (!tiny_owns(t, told, ask->epoch))
		return;
	t->beats[ask->epoch]++;
	told->beat = (struct store_beat){
		.now_ms = tiny_ms(t), .owners = told->owners, .journals = told->owned
	};
	for (uint32_t i = 1; i < 32; i++) {
		if (t->beats[i])
			told->owners[told->beat.n_owners++] =
				(struct store_owner){ i, t->left[i] ? 0 : t->beats[i] };
		if (t->owner[i])
			told->owned[told->beat.n_journals++] =
				(struct store_owned){ i, t->owner[i], t->adopted[i] };
	}
}

RIG void tiny_adopt(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	uint32_t victim = ask->adopt.victim;

	if (!tiny_owns(t, told, ask->epoch))
		return;
	told->adopted = (struct store_adopted){ .journals = told->journals };
	if ((t->left[victim] ? 0 : t->beats[victim]) != ask->adopt.seen)
		return;
	for (uint32_t j = 1; j < 32; j++) {
		if (t->owner[j] != victim)
			continue;
		t->owner[j] = ask->epoch;
		t->adopted[j] = true;
		told->journals[told->adopted.n++] = j;
	}
	t->beats[victim] = 0;
}

RIG void tiny_leave(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (tiny_owns(t, told, ask->epoch))
		t->left[ask->epoch] = true;
	told->count = (struct store_count){ .n = 1 };
}

RIG size_t tiny_living(const struct tiny *t, uint32_t journal)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->entries[i].journal == journal && !t->entries[i].gone;
	return n;
}

RIG void tiny_drop(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (!tiny_owns(t, told, ask->epoch))
		return;
	told->count = (struct store_count){ .n = tiny_living(t, ask->journal) == 0 };
	if (told->count.n)
		t->owner[ask->journal] = 0;
}

/* ---- entries ---------------------------------------------------------------- */

RIG bool tiny_is_after(const struct tiny_entry *e, uint32_t epoch, uint64_t turn)
{
	return e->epoch > epoch || (e->epoch == epoch && e->turn > turn);
}

RIG void tiny_read(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	told->page = (struct store_page){ .entries = told->entries };
	for (size_t i = 0; i < t->n && told->page.n < 8; i++) {
		struct tiny_entry *e = &t->entries[i];

		if (e->gone || e->journal != ask->journal ||
			told->page.n >= ask->read.max_entries ||
			!tiny_is_after(e, ask->read.after_epoch, ask->read.after_turn))
			continue;
		told->entries[told->page.n++] = (struct store_entry){ .epoch = e->epoch,
			.turn = e->turn,
			.written_ms = e->written_ms,
			.head = { e->head, e->head_size },
			.body = { e->body, e->body_size },
			.ended = { e->ended, sizeof e->ended } };
	}
}

RIG uint8_t *tiny_copy(struct store_arg arg)
{
	uint8_t *copy = malloc(arg.size + 1);

	assert_non_null(copy);
	if (arg.size > 0)
		memcpy(copy, arg.data, arg.size);
	return copy;
}

RIG struct tiny_entry *tiny_append(struct tiny *t, const struct store_turn *turn)
{
	struct tiny_entry *e = &t->entries[t->n++];
	Pirn__JournalEntry *head =
		pirn__journal_entry__unpack(NULL, turn->head.size, turn->head.data);
	size_t sum = 0;

	assert_true(t->n <= TINY_ENTRIES);
	assert_non_null(head);
	for (size_t i = 0; i + 1 < t->n; i++)
		assert_true(t->entries[i].journal != turn->journal ||
			    !tiny_is_after(&t->entries[i], turn->epoch, turn->turn - 1));
	*e = (struct tiny_entry){ .journal = turn->journal,
		.epoch = turn->epoch,
		.turn = turn->turn,
		.written_ms = tiny_ms(t),
		.head = tiny_copy(turn->head),
		.body = tiny_copy(turn->body),
		.head_size = turn->head.size,
		.body_size = turn->body.size };
	for (size_t i = 0; i < head->n_events; i++) {
		assert_int_equal(head->events[i]->id.len, 16);
		e->n += (uint32_t)head->events[i]->n_deliveries;
		sum += head->events[i]->meta_size + head->events[i]->data_size;
	}
	assert_int_equal(sum, turn->body.size);
	pirn__journal_entry__free_unpacked(head, NULL);
	return e;
}

RIG bool tiny_knows(const struct tiny *t, const struct store_item *item)
{
	for (size_t i = 0; i < t->n_numbers; i++)
		if (item->has_lane && t->numbers[i] == item->number)
			return true;
	return false;
}

RIG struct tiny_key *tiny_key(struct tiny *t, const struct store_item *item)
{
	for (size_t i = 0; i < t->n_keys; i++) {
		struct tiny_key *key = &t->keys[i];

		if (strcmp(key->scope, item->scope) == 0 && key->size == item->key.size &&
			memcmp(key->key, item->key.data, key->size) == 0)
			return key;
	}
	return NULL;
}

RIG void tiny_add_key(struct tiny *t, const struct store_item *item)
{
	struct tiny_key *key = &t->keys[t->n_keys++];

	assert_true(t->n_keys <= 64 && item->key.size <= sizeof key->key);
	assert_int_equal(item->hash.size, 16);
	snprintf(key->scope, sizeof key->scope, "%s", item->scope);
	key->size = item->key.size;
	memcpy(key->key, item->key.data, key->size);
	memcpy(key->hash, item->hash.data, 16);
	memcpy(key->id, item->id.data, 16);
}

RIG void tiny_set(struct tiny_entry *e, size_t bit)
{
	assert_false(store_entry_ended(e->ended, sizeof e->ended, bit));
	e->ended[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
}

RIG bool tiny_is_duplicate(struct tiny *t, const struct store_item *item, struct store_duplicate *d,
	uint8_t running[16])
{
	struct tiny_key *key;

	if (tiny_knows(t, item)) {
		d->why = STORE_WHY_LANE;
		return true;
	}
	key = item->guard == STORE_GUARD_KEY ? tiny_key(t, item) : NULL;
	if (key) {
		d->why = memcmp(key->hash, item->hash.data, 16) == 0 ? STORE_WHY_KEY
								      : STORE_WHY_BODY;
		d->id = (struct store_arg){ key->id, 16 };
		return true;
	}
	if (item->guard == STORE_GUARD_TIMER &&
		(item->previous_ms != t->timer.last_ms || item->slot_ms > tiny_ms(t) + 1000)) {
		d->why = STORE_WHY_SLOT;
		d->last_ms = t->timer.last_ms;
		memcpy(running, t->timer.id, 16);
		d->id = (struct store_arg){ running, t->timer.has_id ? 16 : 0 };
		return true;
	}
	return false;
}

RIG bool tiny_is_full(const struct tiny *t, const struct brk_ask *ask, size_t i)
{
	return t->full && (ask->store.items[i].together ||
				  (i > 0 && ask->store.items[i - 1].together));
}

RIG void tiny_note(struct tiny *t, const struct store_item *item)
{
	if (item->has_lane)
		t->numbers[t->n_numbers++] = item->number;
	if (item->guard == STORE_GUARD_KEY)
		tiny_add_key(t, item);
	if (item->guard != STORE_GUARD_TIMER)
		return;
	snprintf(t->timer.name, sizeof t->timer.name, "%s", item->timer);
	t->timer.last_ms = item->slot_ms;
	assert_int_equal(item->id.size, item->n_deliveries ? 16 : 0);
	if (item->n_deliveries == 0)
		return;
	t->timer.has_id = true;
	memcpy(t->timer.id, item->id.data, 16);
}

RIG void tiny_store(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	struct tiny_entry *e = NULL;
	uint32_t bit = 0, live = 0;

	if (!tiny_owns(t, told, ask->store.turn.epoch))
		return;
	assert_int_equal(t->owner[ask->store.turn.journal], ask->store.turn.epoch);
	if (ask->store.turn.head.data)
		e = tiny_append(t, &ask->store.turn);
	told->stored =
		(struct store_stored){ .now_ms = tiny_ms(t), .duplicates = told->duplicates };
	for (size_t i = 0; i < ask->store.n; i++) {
		struct store_duplicate *d = &told->duplicates[told->stored.n];

		uint32_t n = (uint32_t)ask->store.items[i].n_deliveries;

		*d = (struct store_duplicate){ .item = i };
		if (tiny_is_full(t, ask, i)) {
			d->why = STORE_WHY_FULL;
		} else if (!tiny_is_duplicate(t, &ask->store.items[i], d,
				   told->running[told->stored.n])) {
			tiny_note(t, &ask->store.items[i]);
			live += n;
			bit += n;
			continue;
		}
		told->stored.n++;
		for (uint32_t j = 0; j < n; j++)
			tiny_set(e, bit + j);
		bit += n;
	}
	assert_int_equal(e ? e->n : 0, bit);
	told->stored.entry = live > 0;
	if (e)
		e->gone = !told->stored.entry;
}

RIG struct tiny_entry *tiny_find(struct tiny *t, const struct store_ends *ends)
{
	for (size_t i = 0; i < t->n; i++) {
		struct tiny_entry *e = &t->entries[i];

		if (e->journal == ends->journal && e->epoch == ends->epoch && e->turn == ends->turn)
			return e;
	}
	return NULL;
}

RIG bool tiny_has_ended(struct tiny *t, const struct store_ends *ends)
{
	const struct tiny_entry *e = tiny_find(t, ends);

	assert_non_null(e);
	for (size_t i = 0; i < ends->n; i++)
		if (e->gone || store_entry_ended(e->ended, sizeof e->ended, ends->ends[i].bit))
			return true;
	return false;
}

RIG void tiny_end(struct tiny *t, const struct store_ends *ends)
{
	struct tiny_entry *e = tiny_find(t, ends);
	uint32_t n = 0;

	assert_int_equal(e->n, ends->n_deliveries);
	for (size_t i = 0; i < ends->n; i++) {
		const struct store_end *end = &ends->ends[i];

		tiny_set(e, end->bit);
		t->last_end = *end;
		t->ends += end->how == STORE_ENDED;
		t->dead += end->how == STORE_DEAD;
		t->moved += end->how == STORE_MOVED;
		t->results += end->result.data != NULL;
		if (end->how == STORE_DEAD) {
			assert_true(end->head.size <= sizeof t->letter);
			t->letter_size = end->head.size;
			memcpy(t->letter, end->head.data, end->head.size);
		}
	}
	for (uint32_t bit = 0; bit < e->n; bit++)
		n += store_entry_ended(e->ended, sizeof e->ended, bit);
	e->gone = n == e->n;
}

RIG void tiny_settle(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (!tiny_owns(t, told, ask->settle.turn.epoch))
		return;
	for (size_t i = 0; i < ask->settle.n; i++) {
		assert_int_equal(t->owner[ask->settle.entries[i].journal], ask->settle.turn.epoch);
		if (tiny_has_ended(t, &ask->settle.entries[i])) {
			told->says.code = STORE_SETTLED;
			return;
		}
	}
	if (ask->settle.turn.head.data)
		tiny_append(t, &ask->settle.turn);
	for (size_t i = 0; i < ask->settle.n; i++)
		tiny_end(t, &ask->settle.entries[i]);
	told->settled = (struct store_settled){ .now_ms = tiny_ms(t) };
}

/* ---- asking and telling ------------------------------------------------------ */

RIG void tiny_do(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	bool commits = ask->kind == BRK_ASK_STORE || ask->kind == BRK_ASK_SETTLE;

	if (commits && t->next != STORE_DONE) {
		told->says.code = t->next;
		t->next = STORE_DONE;
		return;
	}
	if (t->more && t->more(t, ask, told))
		return;
	switch (ask->kind) {
	case BRK_ASK_OPEN:
		tiny_open(t, ask, told);
		break;
	case BRK_ASK_BEAT:
		tiny_beat(t, ask, told);
		break;
	case BRK_ASK_ADOPT:
		tiny_adopt(t, ask, told);
		break;
	case BRK_ASK_LEAVE:
		tiny_leave(t, ask, told);
		break;
	case BRK_ASK_DROP:
		tiny_drop(t, ask, told);
		break;
	case BRK_ASK_READ:
		tiny_read(t, ask, told);
		break;
	case BRK_ASK_STORE:
		tiny_store(t, ask, told);
		break;
	case BRK_ASK_SETTLE:
		tiny_settle(t, ask, told);
		break;
	default:
		fail_msg("an ask of kind %s", brk_ask_name(ask->kind));
	}
}

/* Does what the last input asked; call it once after each. */
RIG void tiny_take(struct tiny *t)
{
	for (size_t i = 0; i < t->rig->out->n; i++) {
		const struct brk_action *a = &t->rig->out->list[i];
		struct tiny_told *told = &t->queue[t->last % TINY_QUEUE];

		if (a->kind != BRK_ASK)
			continue;
		assert_true(t->last - t->first < TINY_QUEUE);
		*told = (struct tiny_told){ .says = { .why = "" } };
		told->told = (struct brk_told){ .ticket = a->ask.ticket, .kind = a->ask.kind };
		tiny_do(t, &a->ask, told);
		t->n_asks[a->ask.kind]++;
		t->last++;
	}
}

/* Each reply begins with its says. */
RIG void tiny_tell_as(struct tiny *t, enum store_code code)
{
	struct tiny_told *told = &t->queue[t->first++ % TINY_QUEUE];

	if (code != STORE_DONE)
		told->says.code = code;
	if (told->says.code != STORE_DONE)
		told->told.says = &told->says;
	else
		told->told.opened = &told->opened;
	if (told->says.code == STORE_DONE)
		told->opened.says = told->says;
	rig_look(t->rig, brk_core_told(t->rig->core, t->rig->now_ms, &told->told));
	tiny_take(t);
}

RIG void tiny_tell(struct tiny *t)
{
	tiny_tell_as(t, STORE_DONE);
}

RIG void tiny_turn(struct tiny *t)
{
	while (brk_core_pending(t->rig->core)) {
		rig_look(t->rig, brk_core_turn(t->rig->core, t->rig->now_ms));
		tiny_take(t);
	}
}

/* Until nothing is asked or unanswered any more. */
RIG void tiny_run(struct tiny *t)
{
	do {
		tiny_turn(t);
		while (t->first < t->last)
			tiny_tell(t);
	} while (brk_core_pending(t->rig->core));
}

RIG void tiny_tick(struct tiny *t, uint64_t ms)
{
	rig_tick(t->rig, ms);
	tiny_take(t);
}

/* One input more: a turn, an answer, or a tick when there is neither. */
RIG void tiny_step(struct tiny *t)
{
	if (brk_core_pending(t->rig->core)) {
		rig_look(t->rig, brk_core_turn(t->rig->core, t->rig->now_ms));
		tiny_take(t);
	} else if (t->first < t->last) {
		tiny_tell(t);
	} else {
		tiny_tick(t, 100);
	}
}

/* Time passes, a beat at a time, and everything is answered. */
RIG void tiny_pass(struct tiny *t, uint64_t ms)
{
	for (; ms > 0; ms -= ms < 500 ? ms : 500) {
		tiny_tick(t, ms < 500 ? ms : 500);
		tiny_run(t);
	}
}

RIG void tiny_connect(struct tiny *t, bool up)
{
	rig_look(t->rig, brk_core_store(t->rig->core, t->rig->now_ms, up));
	tiny_take(t);
}

/* All that is open went down with the connection; it happened, or it did not: what the tests made it. */
RIG void tiny_cut(struct tiny *t)
{
	while (t->first < t->last)
		tiny_tell_as(t, STORE_LOST);
	tiny_connect(t, false);
}

RIG struct brk_conf tiny_conf(void)
{
	struct brk_conf conf = rig_conf();

	conf.events = true;
	conf.max_events = 2048;
	conf.max_event_bytes = 1 << 20;
	conf.decide_ms = 60000;
	conf.gather = true;
	conf.bounds.dedupe_ms = 60000;
	conf.missed_beats = 1000000; /* peers need not beat */
	return conf;
}

RIG struct tiny *tiny_new(struct rig *r, const struct brk_conf *conf)
{
	struct brk_conf standard = tiny_conf();
	struct tiny *t = calloc(1, sizeof *t);

	assert_non_null(t);
	*r = rig_new(conf ? conf : &standard);
	t->rig = r;
	rig_look(r, brk_core_durable(r->core, r->now_ms, true, NULL, 0));
	tiny_connect(t, true);
	tiny_run(t);
	tiny_tick(t, 0);
	tiny_run(t);
	return t;
}

RIG void tiny_free(struct tiny *t)
{
	rig_free(t->rig);
	for (size_t i = 0; i < t->n; i++) {
		free(t->entries[i].head);
		free(t->entries[i].body);
	}
	free(t);
}

/* ---- events ------------------------------------------------------------------- */

struct tiny_event {
	const char *service, *data, *key, *hash;
	uint32_t slot, flags, left_ms;
	uint64_t number, delay_ms;
	const char *timer; /* SKIP_SLOT in flags: data must be "" */
	uint64_t previous_ms, slot_ms;
};

RIG void tiny_submit(struct tiny *t, uint32_t client, struct tiny_event e)
{
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t id[16] = { 1, (uint8_t)(e.slot >> 8), (uint8_t)e.slot };
	const char *data = e.data ? e.data : "event";

	item.service = (char *)(uintptr_t)(e.service ? e.service : "hello");
	item.has_slot = item.has_generation = item.has_id = item.has_lane = item.has_number = true;
	item.slot = e.slot;
	item.generation = 1;
	item.id = (ProtobufCBinaryData){ 16, id };
	item.flags = PIRN__ITEM_FLAG__EVENT | e.flags;
	item.lane = 77;
	item.number = e.number ? e.number : e.slot;
	item.delay_ms = e.delay_ms;
	item.has_left_ms = true;
	item.left_ms = e.left_ms ? e.left_ms : 30000;
	item.has_key = item.has_hash = e.key != NULL;
	if (e.key) {
		item.key = (ProtobufCBinaryData){ strlen(e.key), (uint8_t *)(uintptr_t)e.key };
		item.hash = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)e.hash };
	}
	item.timer = (char *)(uintptr_t)e.timer;
	item.has_previous_ms = item.has_slot_ms = e.timer != NULL;
	item.previous_ms = e.previous_ms;
	item.slot_ms = e.slot_ms;
	item.data_size = (uint32_t)strlen(data);
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	rig_head(t->rig, client, &head, (const uint8_t *)data, strlen(data));
	tiny_take(t);
}

/* The worker's answer, with everything that a test may want to say. */
RIG void tiny_result(struct tiny *t, uint32_t worker, const Pirn__Item *run, struct rig_item item)
{
	item.slot = run->slot;
	item.generation = run->generation;
	rig_item(t->rig, worker, PIRN__KIND__RESULT, item);
	tiny_take(t);
}

#endif
