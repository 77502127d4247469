/* The simulated Redis (tests/sim/redis) against the real one: the same random asks and
 * operations to both, each reply compared field by field. What a broken simulated Redis
 * would hide from the simulation shows here.
 *
 *   test_sim_redis [SEED [STEPS]]
 */
#include "tests/unit/journal_fixture.h"

#include <time.h>

#include "base/rand.h"
#include "broker/carrier.h"
#include "tests/sim/redis/redis.h"

#define MAX_EPOCHS  120
#define MAX_NUMBER  240
#define MAX_ENTRIES 4000
#define FAR_MS      UINT64_C(4000000000000)

struct entry {
	uint32_t journal, epoch, n;
	uint64_t turn;
	uint64_t numbers[4 * MAX_EVENTS];
	unsigned services[4 * MAX_EVENTS];
	uint8_t over[4 * MAX_EVENTS];
};

static struct world {
	struct base_rand rand;
	struct sim_redis sim;
	struct brk_carrier *journal;
	const struct brk_ask *ask; /* under way */
	bool came;
	struct sim_reply *expected; /* the simulated reply to the last ask */
	uint64_t ticket;
	uint32_t n_epochs;
	uint64_t turns[MAX_EPOCHS];
	struct entry entries[MAX_ENTRIES];
	size_t n_entries;
	uint64_t slot;
	size_t codes[STORE_CODE__N], whys[STORE_WHY_FULL + 1], claims[STORE_CLAIM_FULL + 1];
	size_t replayed, results, letters;
} w;

static uint64_t chosen_seed;
static unsigned chosen_steps = 800;

static uint64_t below(uint64_t bound)
{
	return base_rand_below(&w.rand, bound);
}

static uint64_t unix_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- replies, field by field */

static void same_bytes(struct store_arg real, struct store_arg sim)
{
	assert_int_equal(real.size, sim.size);
	if (real.size > 0)
		assert_memory_equal(real.data, sim.data, real.size);
}

static int compare_numbers(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
	return (a > b) - (a < b);
}

/* As sets: Redis does not say in what order. */
static void same_set(uint64_t *real, uint64_t *sim, size_t n)
{
	qsort(real, n, sizeof *real, compare_numbers);
	qsort(sim, n, sizeof *sim, compare_numbers);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(real[i], sim[i]);
}

static void same_journals(const uint32_t *real, size_t n_real, const uint32_t *sim, size_t n_sim)
{
	uint64_t a[MAX_EPOCHS], b[MAX_EPOCHS];
	assert_int_equal(n_real, n_sim);
	for (size_t i = 0; i < n_real; i++) {
		a[i] = real[i];
		b[i] = sim[i];
	}
	same_set(a, b, n_real);
}

static void same_opened(const struct brk_told *real, const struct sim_reply *sim)
{
	assert_int_equal(real->opened->epoch, sim->opened.epoch);
	assert_int_equal(real->opened->journal, sim->opened.journal);
	same_journals(real->opened->adopted, real->opened->n_adopted, sim->opened.adopted,
		sim->opened.n_adopted);
}

static void same_beat(const struct brk_told *real, const struct sim_reply *sim)
{
	uint64_t a[MAX_EPOCHS], b[MAX_EPOCHS];
	const struct store_beat *r = real->beat, *s = &sim->beat;
	assert_int_equal(r->n_owners, s->n_owners);
	for (size_t i = 0; i < r->n_owners; i++) {
		a[i] = (uint64_t)r->owners[i].epoch << 32 | r->owners[i].beat;
		b[i] = (uint64_t)s->owners[i].epoch << 32 | s->owners[i].beat;
	}
	same_set(a, b, r->n_owners);
	assert_int_equal(r->n_journals, s->n_journals);
	for (size_t i = 0; i < r->n_journals; i++) {
		a[i] = (uint64_t)r->journals[i].journal << 32 | r->journals[i].epoch << 1 |
		       r->journals[i].adopted;
		b[i] = (uint64_t)s->journals[i].journal << 32 | s->journals[i].epoch << 1 |
		       s->journals[i].adopted;
	}
	same_set(a, b, r->n_journals);
}

static void same_adopted(const struct brk_told *real, const struct sim_reply *sim)
{
	same_journals(
		real->adopted->journals, real->adopted->n, sim->adopted.journals, sim->adopted.n);
}

static void same_count(const struct brk_told *real, const struct sim_reply *sim)
{
	assert_int_equal(real->count->n, sim->count.n);
}

static void same_page(const struct brk_told *real, const struct sim_reply *sim)
{
	assert_int_equal(real->page->n, sim->page.n);
	for (size_t i = 0; i < real->page->n; i++) {
		const struct store_entry *a = &real->page->entries[i], *b = &sim->page.entries[i];
		assert_int_equal(a->epoch, b->epoch);
		assert_int_equal(a->turn, b->turn);
		/* Not every reply tells Redis's time: the simulated entry may be a little later. */
		assert_in_range(a->written_ms, b->written_ms - PATIENCE_MS, b->written_ms);
		same_bytes(a->head, b->head);
		same_bytes(a->body, b->body);
		same_bytes(a->ended, b->ended);
	}
}

static void same_stored(const struct brk_told *real, const struct sim_reply *sim)
{
	const struct store_stored *a = real->stored, *b = &sim->stored;
	assert_int_equal(a->entry, b->entry);
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_int_equal(a->duplicates[i].item, b->duplicates[i].item);
		assert_int_equal(a->duplicates[i].why, b->duplicates[i].why);
		assert_int_equal(a->duplicates[i].last_ms, b->duplicates[i].last_ms);
		if (a->duplicates[i].why == STORE_WHY_KEY || a->duplicates[i].why == STORE_WHY_BODY ||
			a->duplicates[i].why == STORE_WHY_SLOT)
			same_bytes(a->duplicates[i].id, b->duplicates[i].id);
		w.whys[a->duplicates[i].why]++;
	}
}

static void same_settled(const struct brk_told *real, const struct sim_reply *sim)
{
	assert_int_equal(real->settled->now_ms, sim->settled.now_ms);
}

static bool holds_pair(const struct store_list *list, const struct store_arg *pair)
{
	for (size_t i = 0; i + 1 < list->n; i += 2) {
		if (list->items[i].size == pair[0].size &&
			list->items[i + 1].size == pair[1].size &&
			memcmp(list->items[i].data, pair[0].data, pair[0].size) == 0 &&
			memcmp(list->items[i + 1].data, pair[1].data, pair[1].size) == 0)
			return true;
	}
	return false;
}

/* Letters and their cursors come as Redis likes: dead_list looks at all of them. */
static void same_list(const struct brk_told *real, const struct sim_reply *sim)
{
	if (real->kind == BRK_ASK_DEAD_LIST)
		return;
	assert_int_equal(real->list->n, sim->list.n);
	for (size_t i = 0; i < real->list->n && real->kind != BRK_ASK_RESULT; i++)
		same_bytes(real->list->items[i], sim->list.items[i]);
	for (size_t i = 0; i < real->list->n && real->kind == BRK_ASK_RESULT; i += 2)
		assert_true(holds_pair(&sim->list, &real->list->items[i]));
	w.results += real->kind == BRK_ASK_RESULT && real->list->n > 0;
	w.letters += real->kind == BRK_ASK_REDRIVE ? real->list->n : 0;
}

static void same_claimed(const struct brk_told *real, const struct sim_reply *sim)
{
	const struct store_claimed *a = real->claimed, *b = &sim->claimed;
	assert_int_equal(a->kind, b->kind);
	w.claims[a->kind]++;
	if (a->kind != STORE_CLAIM_FULL)
		same_bytes(a->id, b->id);
	if (a->kind == STORE_CLAIM_RUN)
		assert_int_equal(a->run, b->run);
	if (a->kind == STORE_CLAIM_BUSY)
		assert_int_equal(a->until_ms, b->until_ms);
	if (a->kind == STORE_CLAIM_ANSWER)
		same_bytes(a->response, b->response);
}

static void (*const same[BRK_ASK__N])(const struct brk_told *real, const struct sim_reply *sim) = {
#define X(name, reply) [BRK_ASK_##name] = same_##reply,
	BRK_ASKS(X)
#undef X
};

static uint64_t now_of(const struct brk_told *told)
{
	if (told->says->code == STORE_DONE && told->kind == BRK_ASK_OPEN)
		return told->opened->now_ms;
	if (told->says->code == STORE_DONE && told->kind == BRK_ASK_BEAT)
		return told->beat->now_ms;
	if (told->says->code == STORE_DONE && told->kind == BRK_ASK_STORE)
		return told->stored->now_ms;
	if (told->says->code == STORE_DONE && told->kind == BRK_ASK_SETTLE)
		return told->settled->now_ms;
	return unix_ms();
}

/* The simulated one is asked when the real one has answered, so that it has the same clock. */
static void on_told(void *arg, const struct brk_told *told)
{
	(void)arg;
	w.came = true;
	w.sim.keys.now_ms = now_of(told);
	w.expected = sim_redis_ask(&w.sim, w.ask, &bounds);
	w.codes[told->says->code]++;
	if (told->says->code != w.expected->says.code)
		fail_msg("%s: %s (%s), simulated %s", brk_ask_name(told->kind),
			store_code_name(told->says->code), told->says->why,
			store_code_name(w.expected->says.code));
	if (chosen_seed)
		fprintf(stderr, "%zu %s: %s\n", (size_t)w.ticket, brk_ask_name(told->kind),
			store_code_name(told->says->code));
	if (told->says->code == STORE_FENCED)
		assert_int_equal(told->says->number, w.expected->says.number);
	if (told->says->code == STORE_DONE)
		same[told->kind](told, w.expected);
}

/* The reply stays until the next ask. */
static const struct sim_reply *ask(struct brk_ask a)
{
	a.ticket = ++w.ticket;
	if (w.expected)
		sim_reply_free(w.expected);
	w.expected = NULL;
	w.ask = &a;
	w.came = false;
	brk_carrier_ask(w.journal, f.redis, &a);
	WAIT_FOR(&f, w.came);
	return w.expected;
}

/* ---- owners */

static uint32_t some_epoch(void)
{
	return 1 + (uint32_t)(below(20) && w.n_epochs > 4 ? w.n_epochs - 4 + below(4)
							  : below(w.n_epochs));
}

/* An epoch that may append, and where; any, now and then. */
static struct store_turn some_turn(void)
{
	struct store_turn t = { 0 };
	for (int i = 0; i < 60; i++) {
		struct store_arg owner;
		char name[12];
		t.journal = some_epoch();
		snprintf(name, sizeof name, "%u", t.journal);
		t.epoch = some_epoch();
		if (below(25) == 0)
			break;
		if (!sim_keys_get(&w.sim.keys, STORE_ARG("journals"), STORE_ARG(name), &owner) ||
			memchr(owner.data, '+', owner.size))
			continue;
		t.epoch = (uint32_t)strtoul(owner.data, NULL, 10);
		break;
	}
	t.turn = below(20) ? ++w.turns[t.epoch] : w.turns[t.epoch];
	return t;
}

static void step_open(void)
{
	if (w.n_epochs + 1 >= MAX_EPOCHS || (w.n_epochs > 1 && below(3)))
		return;
	uint32_t old = w.n_epochs && below(3) ? some_epoch() : 0;
	const struct sim_reply *reply = ask((struct brk_ask){ .kind = BRK_ASK_OPEN, .epoch = old });
	if (reply->says.code == STORE_DONE)
		w.n_epochs = reply->opened.epoch;
}

static void step_beat(void)
{
	ask((struct brk_ask){ .kind = BRK_ASK_BEAT, .epoch = some_epoch() });
}

static void step_adopt(void)
{
	struct brk_ask a = { .kind = BRK_ASK_ADOPT, .epoch = some_epoch() };
	struct store_arg beat;
	char name[12];
	a.adopt.victim = some_epoch();
	snprintf(name, sizeof name, "%u", a.adopt.victim);
	if (a.adopt.victim == a.epoch)
		return;
	if (sim_keys_get(&w.sim.keys, STORE_ARG("owners"), STORE_ARG(name), &beat))
		a.adopt.seen = strtoull(beat.data, NULL, 10) + (below(3) == 0);
	ask(a);
}

static void step_leave(void)
{
	if (below(4) == 0)
		ask((struct brk_ask){ .kind = BRK_ASK_LEAVE, .epoch = some_epoch() });
}

static void step_drop(void)
{
	struct brk_ask a = { .kind = BRK_ASK_DROP };
	for (int i = 0; i < 40; i++) {
		struct store_arg owner;
		char name[12];
		a.journal = some_epoch();
		snprintf(name, sizeof name, "%u", a.journal);
		a.epoch = some_epoch();
		if (!sim_keys_get(&w.sim.keys, STORE_ARG("journals"), STORE_ARG(name), &owner))
			continue;
		a.epoch = (uint32_t)strtoul(owner.data, NULL, 10);
		if (memchr(owner.data, '+', owner.size))
			break;
	}
	ask(a);
}

static void step_read(void)
{
	struct brk_ask a = { .kind = BRK_ASK_READ, .journal = some_epoch() };
	a.read.max_entries = 1 + (uint32_t)below(12);
	a.read.max_bytes = below(3) ? 1 << 20 : below(900);
	if (below(2)) {
		a.read.after_epoch = some_epoch();
		a.read.after_turn = below(20);
	}
	ask(a);
}

/* ---- store */

static const char *const words[] = { "one", "two", "three", "four", "five", "six" };

static struct store_arg word(uint64_t n)
{
	const char *text = words[below(n)];
	return STORE_ARG(text);
}

static void guard(struct store_item *item)
{
	if (item->n_deliveries > 0 && below(4) == 0) {
		item->guard = STORE_GUARD_KEY;
		item->scope = services[below(2)];
		item->key = word(6);
		item->hash = word(below(3) ? 1 : 2);
		item->ttl_ms = below(2) ? 600000 : 0;
	} else if (item->n_deliveries == 0 || below(6) == 0) {
		item->guard = STORE_GUARD_TIMER;
		item->timer = words[below(2)];
		item->previous_ms = below(4) ? w.slot : w.slot / 2;
		item->slot_ms = below(20) ? (w.slot += below(3)) : unix_ms() + 3600000;
	}
}

static void remember(
	const struct store_turn *t, const struct batch *b, const struct store_stored *s)
{
	struct entry *e = &w.entries[w.n_entries];
	if (!s->entry)
		return;
	assert_true(++w.n_entries < MAX_ENTRIES);
	*e = (struct entry){ .journal = t->journal, .epoch = t->epoch, .turn = t->turn };
	for (size_t i = 0; i < b->n; i++) {
		bool over = false;
		for (size_t k = 0; k < s->n; k++)
			over = over || s->duplicates[k].item == i;
		for (unsigned d = 0; d < b->items[i].n_deliveries; d++) {
			e->numbers[e->n] = b->items[i].number;
			e->services[e->n] = d;
			e->over[e->n++] = over;
		}
	}
}

static void step_store(void)
{
	struct batch b;
	struct store_turn t = some_turn();
	uint64_t number = below(MAX_NUMBER);
	batch_init(&b);
	for (uint64_t n = 1 + below(below(5) ? 4 : 20); n > 0; n--) {
		number = below(5) ? (number + 1) % MAX_NUMBER : below(MAX_NUMBER);
		struct store_item *item =
			batch_add(&b, number, below(30) ? 1 + (uint32_t)below(below(3) ? 1 : 3) : 0);
		item->lane = below(9) ? 7 : 8;
		item->has_lane = below(15) > 0;
		guard(item);
		if (below(3) == 0 && b.n > 1 && item->guard != STORE_GUARD_TIMER &&
			item[-1].guard != STORE_GUARD_TIMER)
			item[-1].together = true;
	}
	t = batch_turn(&b, t.epoch, t.journal, t.turn);
	struct brk_ask a = { .kind = BRK_ASK_STORE };
	a.store.turn = t;
	a.store.items = b.items;
	a.store.n = b.n;
	const struct sim_reply *reply = ask(a);
	if (reply->says.code == STORE_DONE)
		remember(&t, &b, &reply->stored);
	batch_fini(&b);
}

/* ---- settle */

struct plan {
	struct batch moved, letters[3 * MAX_EVENTS];
	struct store_end ends[3][4 * MAX_EVENTS];
	struct store_ends list[3];
	struct entry *entries[3];
	size_t n, n_letters;
};

static struct store_arg letter_head(struct plan *p, uint64_t number, struct store_arg *body)
{
	struct batch *b = &p->letters[p->n_letters++];
	batch_init(b);
	batch_add(b, number, 1);
	struct store_turn t = batch_turn(b, 1, 1, 1);
	*body = t.body;
	return t.head;
}

static void plan_end(struct plan *p, struct store_ends *ends, const struct entry *e, uint32_t bit)
{
	static const char bytes[200] = "a result";
	struct store_end *end = &p->ends[ends - p->list][ends->n++];
	*end = (struct store_end){ .bit = bit,
		.how = (enum store_how)below(3),
		.only_run = below(2),
		.no_records = below(3) == 0,
		.fence_ms = below(12) ? FAR_MS : 1,
		.attempt = (uint32_t)below(4),
		.id = id_text(e->numbers[bit]),
		.service = services[e->services[bit]],
		.alone = below(2) };
	if (end->how == STORE_MOVED && p->moved.n < 12)
		batch_add(&p->moved, e->numbers[bit], 1);
	else if (end->how == STORE_DEAD && p->n_letters < 2 * MAX_EVENTS)
		end->head = letter_head(p, e->numbers[bit], &end->body);
	else
		end->how = STORE_ENDED;
	if (end->how != STORE_MOVED && below(2))
		end->result = (struct store_arg){ bytes, 1 + below(sizeof bytes) };
}

static void plan_entry(struct plan *p)
{
	struct entry *e = &w.entries[w.n_entries - 1 - below(w.n_entries < 40 ? w.n_entries : 40)];
	struct store_ends *ends = &p->list[p->n];
	for (size_t i = 0; i < p->n; i++) {
		if (p->entries[i] == e)
			return;
	}
	*ends = (struct store_ends){ .journal = e->journal,
		.epoch = e->epoch,
		.turn = e->turn,
		.n_deliveries = e->n,
		.ends = p->ends[p->n] };
	bool all = below(3) == 0;
	for (uint32_t b = 0; b < e->n; b++) {
		if (e->over[b] ? below(60) == 0 : all || below(2))
			plan_end(p, ends, e, b);
	}
	if (ends->n == 0)
		return;
	p->entries[p->n++] = e;
}

static uint32_t owner_of(uint32_t journal)
{
	struct store_arg owner;
	char name[12];
	snprintf(name, sizeof name, "%u", journal);
	if (!sim_keys_get(&w.sim.keys, STORE_ARG("journals"), STORE_ARG(name), &owner))
		return 0;
	return (uint32_t)strtoul(owner.data, NULL, 10);
}

/* By who owns the first entry's journal, if he has one of his own. */
static struct store_turn turn_for(uint32_t epoch)
{
	struct store_turn t = some_turn();
	for (int i = 0; i < 30 && epoch && t.epoch != epoch; i++)
		t = some_turn();
	return t;
}

static void settled(const struct plan *p, const struct store_turn *t)
{
	struct entry *e;
	for (size_t i = 0; i < p->n; i++) {
		for (size_t k = 0; k < p->list[i].n; k++)
			p->entries[i]->over[p->list[i].ends[k].bit] = true;
	}
	if (p->moved.n == 0)
		return;
	assert_true(w.n_entries + 1 < MAX_ENTRIES);
	e = &w.entries[w.n_entries++];
	*e = (struct entry){ .journal = t->journal, .epoch = t->epoch, .turn = t->turn };
	for (size_t i = 0; i < p->moved.n; i++)
		e->numbers[e->n++] = p->moved.items[i].number;
}

static void step_settle(void)
{
	static struct plan p;
	if (w.n_entries == 0)
		return;
	p.n = p.n_letters = 0;
	batch_init(&p.moved);
	for (uint64_t n = 1 + below(2); n > 0; n--)
		plan_entry(&p);
	if (p.n > 0) {
		struct store_turn t = turn_for(below(15) ? owner_of(p.list[0].journal) : 0);
		if (p.moved.n > 0)
			t = batch_turn(&p.moved, t.epoch, t.journal, t.turn);
		struct brk_ask a = { .kind = BRK_ASK_SETTLE };
		a.settle.turn = t;
		a.settle.entries = p.list;
		a.settle.n = p.n;
		if (ask(a)->says.code == STORE_DONE)
			settled(&p, &t);
	}
	for (size_t i = 0; i < p.n_letters; i++)
		batch_fini(&p.letters[i]);
	batch_fini(&p.moved);
}

/* ---- results and letters */

static uint8_t ids[8][16];

static struct brk_ask about_letters(enum brk_ask_kind kind, size_t n)
{
	struct brk_ask a = { .kind = kind };
	a.dead.service = services[below(4) ? 0 : 1];
	a.dead.ids = (const uint8_t(*)[16])ids;
	a.dead.n = n;
	char key[80];
	snprintf(key, sizeof key, "dead:%s", a.dead.service);
	const struct sim_key *letters = sim_keys_find(&w.sim.keys, STORE_ARG(key));
	const struct sim_cell *c = letters ? letters->cells : NULL;
	for (size_t i = 0; i < n; i++) {
		memcpy(ids[i], id_text(below(MAX_NUMBER)), 16);
		if (c && below(4)) {
			memcpy(ids[i], c->field.data, 16);
			c = below(8) ? c->hh.next : c;
		}
	}
	return a;
}

static void step_result(void)
{
	ask(about_letters(BRK_ASK_RESULT, 1));
}

static void step_redrive(void)
{
	struct brk_ask a = about_letters(BRK_ASK_REDRIVE, 1 + below(8));
	a.dead.turn = some_turn();
	a.dead.max_bytes = below(3) ? 1 << 20 : below(40);
	const struct sim_reply *reply = ask(a);
	if (reply->says.code != STORE_DONE || reply->list.n == 0)
		return;
	struct entry *e = &w.entries[w.n_entries++];
	assert_true(w.n_entries < MAX_ENTRIES);
	*e = (struct entry){
		.journal = a.dead.turn.journal, .epoch = a.dead.turn.epoch, .turn = a.dead.turn.turn
	};
	for (size_t i = 0; i < reply->list.n; i++) {
		e->numbers[e->n] = strtoull((const char *)reply->list.items[i].data + 5, NULL, 10);
		e->services[e->n++] = strcmp(a.dead.service, "echo") != 0;
	}
}

static void step_purge(void)
{
	if (below(3) == 0)
		ask(about_letters(BRK_ASK_PURGE, 1 + below(3)));
}

static void step_dead_get(void)
{
	ask(about_letters(BRK_ASK_DEAD_GET, 1));
}

static void step_dead_list(void)
{
	struct brk_ask a = about_letters(BRK_ASK_DEAD_LIST, 1);
	a.dead.cursor = "0";
	a.dead.about = 1000;
	const struct sim_reply *reply = ask(a);
	assert_true(reply->list.n % 2 == 1);
}

/* ---- claims */

static void step_claim(void)
{
	struct brk_ask a = { .kind = BRK_ASK_CLAIM };
	a.key.scope = services[below(2)];
	a.key.key = word(6);
	a.key.hash = word(below(3) ? 1 : 2);
	a.key.until_ms = below(2) ? FAR_MS : 1;
	memcpy(a.key.id, id_text(below(MAX_NUMBER)), 16);
	if (below(2) == 0) {
		ask(a);
		return;
	}
	char name[80];
	struct store_arg id, run;
	snprintf(name, sizeof name, "dedupe:%s:%.*s", a.key.scope, (int)a.key.key.size,
		(const char *)a.key.key.data);
	a.kind = BRK_ASK_ANSWER;
	if (below(8) && sim_keys_get(&w.sim.keys, STORE_ARG(name), STORE_ARG("i"), &id) &&
		sim_keys_get(&w.sim.keys, STORE_ARG(name), STORE_ARG("r"), &run)) {
		memcpy(a.key.id, id.data, 16);
		a.key.run = (uint32_t)strtoul(run.data, NULL, 10);
	}
	if (below(3) == 0)
		a.key.response = STORE_ARG("the answer");
	ask(a);
}

/* ---- operations */

static const char *const commands[STORE_OP__N] = { [STORE_COUNTER_ADD] = "INCRBY",
	[STORE_COUNTER_GET] = "GET",
	[STORE_KEY_GET] = "GET",
	[STORE_KEY_SET] = "SET",
	[STORE_KEY_DELETE] = "UNLINK",
	[STORE_KEY_CAS] = "CAS",
	[STORE_HASH_GET] = "HGET",
	[STORE_HASH_SET] = "HSET",
	[STORE_HASH_DELETE] = "HDEL",
	[STORE_HASH_ADD] = "HINCRBY",
	[STORE_HASH_ALL] = "HGETALL" };

static void add_arg(struct sim_op *op, struct store_arg arg)
{
	op->args[op->n_args++] = arg;
}

/* The arguments in functions.lua's order. */
static struct sim_op simulated(const struct store_run *run, const struct store_op *op,
	struct store_arg field, char *number)
{
	struct sim_op out = {
		.run = *run, .field = field, .key = op->key, .command = commands[op->kind]
	};
	bool hash = op->kind >= STORE_HASH_GET && op->kind != STORE_HASH_ALL;
	snprintf(number, 24, "%lld", (long long)op->number);
	if (hash)
		add_arg(&out, op->field);
	if (op->kind == STORE_KEY_CAS) {
		add_arg(&out, op->expected.data ? STORE_ARG("1") : STORE_ARG("0"));
		add_arg(&out, op->expected);
	}
	if (op->kind == STORE_KEY_CAS || op->kind == STORE_KEY_SET || op->kind == STORE_HASH_SET)
		add_arg(&out, op->value);
	if (op->kind == STORE_COUNTER_ADD || op->kind == STORE_HASH_ADD)
		add_arg(&out, STORE_ARG(number));
	if (op->kind == STORE_KEY_CAS || op->kind == STORE_KEY_SET)
		add_arg(&out, op->ttl_ms ? STORE_ARG("3600000") : STORE_ARG("0"));
	return out;
}

static struct store_op some_op(void)
{
	static const char *const values[] = { "7", "text", "9223372036854775800", "-1", "07", "" };
	const char *value = values[below(6)], *expected = values[below(6)];
	struct store_op op = { .kind = (enum store_op_kind)below(STORE_OP__N),
		.service = "echo",
		.key = word(4),
		.field = word(6),
		.value = STORE_ARG(value),
		.number = (int64_t)below(9) - 3,
		.ttl_ms = below(3) ? 0 : 3600000 };
	if (below(2))
		op.expected = STORE_ARG(expected);
	if (below(9) == 0)
		op.number = INT64_MAX - (int64_t)below(3);
	return op;
}

struct ran {
	bool came;
	struct store_run_result result;
	char record[4096];
};

static void on_ran(void *arg, const struct store_run_result *result)
{
	struct ran *r = arg;
	r->came = true;
	r->result = *result;
	assert_true(result->record.size <= sizeof r->record);
	if (result->record.size > 0)
		memcpy(r->record, result->record.data, result->record.size);
}

static void step_op(void)
{
	char field[16], number[24];
	struct store_op op = some_op();
	struct store_run run = { .service = "echo",
		.attempt = (uint32_t)below(4),
		.epoch = some_epoch(),
		.lease_end_ms = below(20) ? FAR_MS : 1,
		.keep_until_ms = FAR_MS };
	struct ran got = { 0 };
	struct sim_op_reply reply;
	struct store_read_record reads[2] = { { STORE_ARG("read-1"), STORE_ARG("sone") },
		{ STORE_ARG("read-2"), STORE_ARG("n") } };
	struct store_arg pairs[4] = { reads[0].field, reads[0].record, reads[1].field,
		reads[1].record };
	size_t n_reads = below(3);
	snprintf(field, sizeof field, "op-%d", (int)below(5));
	memcpy(run.id, id_text(below(12)), 16);
	assert_int_equal(
		store_run_op(f.redis, &run, STORE_ARG(field), reads, n_reads, &op, on_ran, &got),
		BASE_OK);
	WAIT_FOR(&f, got.came);
	struct sim_op sim = simulated(&run, &op, STORE_ARG(field), number);
	sim.reads = pairs;
	sim.n_reads = store_op_reads(op.kind) ? 0 : n_reads;
	w.sim.keys.now_ms = unix_ms();
	sim_redis_op(&w.sim, &sim, &reply);
	if (chosen_seed)
		fprintf(stderr, "%s %s %lld '%.*s': %s %.*s, simulated %s %.*s\n", sim.command,
			(const char *)op.key.data, (long long)op.number, (int)op.value.size,
			(const char *)op.value.data, store_code_name(got.result.says.code),
			(int)got.result.record.size, got.record, store_code_name(reply.code),
			(int)reply.record.size, (const char *)reply.record.data);
	if (got.result.says.code != reply.code)
		fail_msg("%s: %s, simulated %s", sim.command, store_code_name(got.result.says.code),
			store_code_name(reply.code));
	assert_int_equal(got.result.replayed, reply.replayed);
	if (reply.code == STORE_SUPERSEDED)
		assert_int_equal(got.result.says.number, reply.number);
	if (reply.code == STORE_DONE)
		same_bytes((struct store_arg){ got.record, got.result.record.size }, reply.record);
	w.codes[reply.code]++;
	w.replayed += reply.replayed;
	sim_op_reply_fini(&reply);
}

/* ---- memory */

static void step_memory(void)
{
	w.sim.out_of_memory = !w.sim.out_of_memory && below(3) == 0;
	free(harness_redis_command(server, "CONFIG SET maxmemory %d", w.sim.out_of_memory ? 1 : 0));
}

/* ---- all of them */

static void (*const steps[])(void) = { step_open, step_beat, step_adopt, step_leave, step_drop,
	step_drop, step_read, step_read, step_store, step_store, step_store, step_settle,
	step_settle, step_settle, step_settle, step_result, step_redrive, step_redrive, step_purge,
	step_dead_get, step_dead_list, step_claim, step_claim, step_op, step_op, step_op, step_op,
	step_memory };

static void begin(uint64_t seed)
{
	struct brk_carrier *journal = w.journal;
	free(harness_redis_command(server, "CONFIG SET maxmemory 0"));
	free(harness_redis_command(server, "FLUSHALL"));
	memset(&w, 0, sizeof w);
	w.journal = journal;
	base_rand_init(&w.rand, seed);
	sim_redis_init(&w.sim, unix_ms());
	w.slot = 1000;
	step_open();
	step_open();
}

static void play(uint64_t seed, unsigned n)
{
	begin(seed);
	for (unsigned i = 0; i < n; i++)
		steps[below(sizeof steps / sizeof *steps)]();
	if (w.expected)
		sim_reply_free(w.expected);
	sim_redis_fini(&w.sim);
}

static void add_all(size_t *sums, const size_t *more, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sums[i] += more[i];
}

static void answers_as_redis_does(void **state)
{
	size_t codes[STORE_CODE__N] = { 0 }, whys[STORE_WHY_FULL + 1] = { 0 },
	       claims[STORE_CLAIM_FULL + 1] = { 0 }, replayed = 0, results = 0, letters = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		uint64_t use = chosen_seed ? chosen_seed : seed;
		if (chosen_seed && seed > 1)
			break;
		fprintf(stderr, "seed %llu\n", (unsigned long long)use);
		play(use, chosen_steps);
		add_all(codes, w.codes, STORE_CODE__N);
		add_all(whys, w.whys, STORE_WHY_FULL + 1);
		add_all(claims, w.claims, STORE_CLAIM_FULL + 1);
		replayed += w.replayed;
		results += w.results;
		letters += w.letters;
	}
	for (size_t i = 0; i < STORE_CODE__N; i++)
		fprintf(stderr, "%s=%zu ", store_code_name((enum store_code)i), codes[i]);
	fprintf(stderr, "replayed=%zu results=%zu letters=%zu\n", replayed, results, letters);
	if (chosen_seed)
		return;
	for (size_t i = 0; i < STORE_WHY_FULL + 1; i++)
		assert_true(whys[i] > 0);
	for (size_t i = 0; i < STORE_CLAIM_FULL + 1; i++)
		assert_true(claims[i] > 0);
	for (enum store_code code = STORE_DONE; code <= STORE_OOM; code++)
		assert_true(code == STORE_LIMIT || codes[code] > 0);
	assert_true(replayed > 0 && results > 0 && letters > 0);
}

static int start(void **state)
{
	server_start(state);
	bounds = (struct store_bounds){ .dedupe_max = 2800,
		.dedupe_ms = 86400000,
		.results_max = 6000,
		.result_ttl_ms = 3600000 };
	return brk_carrier_new(f.loop, &bounds, on_told, NULL, &w.journal) != BASE_OK;
}

static int stop(void **state)
{
	brk_carrier_free(&w.journal);
	return server_stop(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(answers_as_redis_does) };
	if (argc > 1)
		chosen_seed = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		chosen_steps = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, start, stop);
}
