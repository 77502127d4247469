/* The broker's core without memory. Its Redis, its clients and its worker are this file, and have
 * some: only what happens inside the core may fail. Whatever fails, each call has one answer, each
 * event that was accepted one end and one effect, one that was refused none, and the core's own
 * invariants hold after every input (brk_core_check).
 */
#include "tests/oom/core.h"

static const struct brk_actions *seen(const struct brk_actions *out);

#include "tests/unit/core_asked.h"

#define SLOTS 64
#define RUNS  256
#define MANY  20000u /* inputs until rest; more is none */

/* ---- the world ------------------------------------------------------------------------ */

struct run {
	uint32_t peer, slot, generation, event; /* event 0: a call's */
};

static struct asked *k;
static bool sick; /* calls fail */
static struct run runs[RUNS];
static size_t n_runs;
static struct fate {
	unsigned accepted, refused, replied, answered; /* what the sender was told */
	unsigned tries, effects, ends;
	unsigned fails; /* so many runs fail before one does not; > 9: it is a dead letter */
	uint32_t reason, status;
	bool replayed, wants_result;
} calls[SLOTS], events[SLOTS], questions[SLOTS];

static uint32_t event_of(const ProtobufCBinaryData *id)
{
	return (uint32_t)id->data[1] << 8 | id->data[2];
}

static void see_run(const struct brk_action *a)
{
	bool event = a->item.flags & PIRN__ITEM_FLAG__EVENT;
	uint32_t number = event ? event_of(&a->item.id) : 0;

	assert_true(n_runs < RUNS && number < SLOTS);
	runs[n_runs++] = (struct run){ a->peer, a->item.slot, a->item.generation, number };
	if (event) {
		assert_int_equal(events[number].refused, 0);
		events[number].tries++;
	}
}

/* Slots of calls begin at 100, of questions at 200. */
static struct fate *fate_of(uint32_t slot)
{
	assert_true(slot % 100 < SLOTS);
	return slot < 100   ? &events[slot]
	       : slot < 200 ? &calls[slot - 100]
			    : &questions[slot - 200];
}

/* What was answered with all the memory there is; the first run is that. */
static struct {
	uint8_t bytes[8192];
	size_t size;
	uint32_t refused;
} words[SLOTS];

#define COUNTS     1  /* the slot of the question for figures, in which an error is one more */
#define AFTERWARDS 50 /* and of one whose answer depends on what was refused before */

/* The same words, or that there are none now. */
static void see_words(uint32_t slot, const struct brk_payload *p)
{
	Pirn__Answer *answer = pirn__answer__unpack(NULL, p->data_size, p->bytes);
	bool none;

	assert_non_null(answer);
	assert_true(p->data_size <= sizeof words[slot].bytes);
	none = answer->reason != PIRN__REASON__NONE || (answer->has_loaded && !answer->loaded);
	pirn__answer__free_unpacked(answer, NULL);
	if (words[slot].size == 0) {
		words[slot].size = p->data_size;
		memcpy(words[slot].bytes, p->bytes, p->data_size);
	} else if (!none && slot != COUNTS && slot != AFTERWARDS) {
		assert_int_equal(p->data_size, words[slot].size);
		assert_memory_equal(p->bytes, words[slot].bytes, p->data_size);
	}
}

static void see_answer(const struct brk_action *a)
{
	struct fate *f = fate_of(a->item.slot);

	if (a->peer != CLIENT)
		return;
	f->accepted += a->message == PIRN__KIND__ACCEPTED;
	f->refused += a->message == PIRN__KIND__REFUSED;
	f->replied += a->message == PIRN__KIND__REPLY;
	f->answered += a->message == PIRN__KIND__ANSWER;
	f->reason = a->item.reason;
	f->status = a->item.status;
	f->replayed |= (a->item.flags & PIRN__ITEM_FLAG__REPLAYED) != 0;
	assert_int_equal(f->accepted + f->refused + f->replied + f->answered, 1);
	if (a->message == PIRN__KIND__REPLY && a->item.status == 200)
		assert_memory_equal(a->payload.bytes, "response", 8);
	if (a->message == PIRN__KIND__ANSWER)
		see_words(a->item.slot % 100, &a->payload);
}

static const struct brk_actions *seen(const struct brk_actions *out)
{
	bool was = armed;

	armed = false;
	for (size_t i = 0; i < out->n; i++) {
		const struct brk_action *a = &out->list[i];

		if (a->kind != BRK_SEND_ITEM)
			continue;
		if (a->message == PIRN__KIND__DISPATCH)
			see_run(a);
		else if (a->message != PIRN__KIND__CANCEL)
			see_answer(a);
	}
	armed = was;
	return out;
}

static bool count_ends(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (ask->kind == BRK_ASK_SETTLE)
		for (size_t i = 0; i < ask->settle.n; i++)
			for (size_t j = 0; j < ask->settle.entries[i].n; j++) {
				const struct store_end *end = &ask->settle.entries[i].ends[j];

				if (end->how != STORE_MOVED)
					events[(uint32_t)end->id[1] << 8 | end->id[2]].ends++;
			}
	return asked_do(t, ask, told);
}

/* Which world: with workers of "hello", and of "other". */
static void begin(uint64_t granted)
{
	struct brk_conf conf = tiny_conf();

	armed = false;
	n_runs = 0;
	memset(calls, 0, sizeof calls);
	memset(events, 0, sizeof events);
	memset(questions, 0, sizeof questions);
	conf.max_events = 64;
	k = asked_new(&conf, granted);
	k->t->more = count_ends;
	rig_worker(&k->rig, B, "other", granted);
	sick = false;
}

static void end(void)
{
	armed = false;
	asked_free(k);
}

/* ---- work ------------------------------------------------------------------------------- */

/* The worker answers the oldest run; a broker that has ended it says so by itself. */
static void work(void)
{
	struct run run = runs[0];
	struct fate *f = run.event ? &events[run.event] : NULL;
	Pirn__Item item = PIRN__ITEM__INIT;
	bool fails = f ? f->tries <= f->fails : sick;

	memmove(runs, runs + 1, --n_runs * sizeof runs[0]);
	item.slot = run.slot;
	item.generation = run.generation;
	if (f && !fails)
		f->effects++;
	tiny_result(k->t, run.peer, &item,
		(struct rig_item){ .status = !fails              ? 200
					     : f && f->fails > 9 ? 404
								 : 500,
			.data = "response" });
}

static bool is_at_rest(void)
{
	struct brk_figures figures = rig_figures(&k->rig);

	return n_runs == 0 && k->t->first == k->t->last && !brk_core_pending(k->rig.core) &&
	       figures.waiting + figures.running + figures.events_ready + figures.events_running +
			       figures.events_waiting + figures.events_ending ==
		       0;
}

static void go_on(unsigned inputs)
{
	while (inputs-- > 0 && !is_at_rest()) {
		if (n_runs > 0)
			work();
		else
			tiny_step(k->t);
	}
}

static void rest(void)
{
	struct brk_figures f;

	WITH_MEMORY(go_on(MANY));
	f = rig_figures(&k->rig);
	if (!is_at_rest())
		fail_msg(
			"no rest: calls %d waiting %d running, events %d ready %d running %d waiting "
			"%d ending; %d runs",
			(int)f.waiting, (int)f.running, (int)f.events_ready, (int)f.events_running,
			(int)f.events_waiting, (int)f.events_ending, (int)n_runs);
}

static void submit_calls(uint32_t first, uint32_t n, const char *service)
{
	struct rig_item items[16];

	for (uint32_t i = 0; i < n; i++)
		items[i] = (struct rig_item){ .service = service,
			.data = "request",
			.slot = 100 + first + i,
			.generation = 1,
			.flags = i % 2 ? PIRN__ITEM_FLAG__IDEMPOTENT : 0,
			.left_ms = 10000 };
	rig_items(&k->rig, CLIENT, PIRN__KIND__SUBMIT, items, n);
	tiny_take(k->t);
}

static void expect_answers(uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++)
		assert_int_equal(calls[i].replied + calls[i].refused, 1);
}

/* It still is a broker. */
static void expect_life(void)
{
	armed = false;
	rig_hello(&k->rig, CLIENT, CLIENT, PIRN__ROLE__CLIENT, NULL, 0);
	rig_worker(&k->rig, A, "hello", 1000);
	tiny_pass(k->t, 3000);
	rest();
	submit_calls(60, 1, "hello");
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 60 });
	rest();
	assert_int_equal(calls[60].replied, 1);
	assert_int_equal(calls[60].status, 200);
	assert_int_equal(events[60].accepted, 1);
	assert_int_equal(events[60].effects, 1);
}

/* With each of its attempts. */
static void expect_letter(uint32_t number)
{
	const struct asked_kept *kept =
		asked_find(k->letters, k->n_letters, asked_id(number).data, "hello");
	Pirn__JournalEntry *letter;

	assert_non_null(kept);
	letter = pirn__journal_entry__unpack(NULL, kept->head_size, kept->head);
	assert_non_null(letter);
	assert_int_equal(letter->events[0]->deliveries[0]->n_history, events[number].tries);
	pirn__journal_entry__free_unpacked(letter, NULL);
}

/* An event that was accepted ended once, and had its effect once; one that was refused never was. */
static void expect_ends(uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++) {
		const struct fate *f = &events[i];

		assert_int_equal(f->accepted + f->refused, 1);
		if (f->refused) {
			assert_int_equal(f->tries + f->ends, 0);
			continue;
		}
		assert_int_equal(f->ends, f->replayed ? 0 : 1);
		assert_int_equal(f->effects, f->fails > 9 || f->replayed ? 0 : 1);
		if (f->fails > 9)
			expect_letter(i);
		if (f->wants_result)
			assert_non_null(
				asked_find(k->results, k->n_results, asked_id(i).data, "hello"));
	}
}

/* ---- paths ------------------------------------------------------------------------------- */

static void birth(void)
{
	struct brk_conf conf = tiny_conf();
	struct brk_core *core = NULL;
	enum base_err err = OOM_GET(brk_core_new(&conf, &core));

	assert_true(err == BASE_OK || err == BASE_NOMEM);
	assert_int_equal(err == BASE_OK, core != NULL);
	if (core)
		brk_core_check(core);
	brk_core_free(&core);
}

static void a_worker_says_hello(void)
{
	Pirn__Manifest m[2] = { rig_manifest("hello"), rig_manifest("third") };
	Pirn__Route route = PIRN__ROUTE__INIT, *routes[] = { &route };
	Pirn__Retry retry = PIRN__RETRY__INIT;
	Pirn__BreakerConf breaker = PIRN__BREAKER_CONF__INIT;
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;

	begin(0);
	route.method = (char *)(uintptr_t) "GET";
	route.path = (char *)(uintptr_t) "/third/{name}";
	m[1].routes = routes;
	m[1].n_routes = 1;
	m[1].retry = &retry;
	m[1].breaker = &breaker;
	m[1].queue = &queue;
	m[1].description = (char *)(uintptr_t) "the third one";
	armed = true;
	rig_hello(&k->rig, 7, 7, PIRN__ROLE__WORKER, m, 2);
	rig_credit(&k->rig, 7, "third", 5);
	tiny_tick(k->t, 1000);
	armed = false;
	rig_hello(&k->rig, 7, 7, PIRN__ROLE__WORKER, m, 2);
	rig_credit(&k->rig, 7, "third", 5);
	submit_calls(1, 1, "third");
	rest();
	assert_int_equal(calls[1].status, 200);
	expect_life();
	end();
}

/* More than there is credit for, of two services; some lose their worker, some their patience. */
static void calls_path(void)
{
	begin(3);
	armed = true;
	submit_calls(1, 8, "hello");
	submit_calls(9, 4, "other");
	for (int i = 0; i < 2 && n_runs > 0; i++)
		work();
	rig_credit(&k->rig, A, "hello", 5);
	rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL,
		(struct rig_item){ .slot = 108, .generation = 1 });
	tiny_take(k->t);
	rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, B));
	for (size_t i = 0; i < n_runs;) {
		if (runs[i].peer == B)
			memmove(&runs[i], &runs[i + 1], (--n_runs - i) * sizeof runs[0]);
		else
			i++;
	}
	tiny_take(k->t);
	go_on(20);
	tiny_tick(k->t, 20000);
	armed = false;
	expect_answers(1, 7);
	expect_answers(9, 4);
	assert_true(calls[8].replied + calls[8].refused <= 1);
	n_runs = 0;
	expect_life();
	end();
}

/* A service fails until its breaker opens and its worker is left out, and heals. */
static void sick_path(void)
{
	begin(50);
	sick = true;
	armed = true;
	for (uint32_t i = 0; i < 40; i += 2) {
		submit_calls(1 + i, 2, "hello");
		if (i == 30) {
			sick = false;
			tiny_pass(k->t, 6000);
		}
		go_on(10);
	}
	rest();
	expect_answers(1, 40);
	for (uint32_t i = 41; i < 60 && calls[i - 1].status != 200; i++) {
		tiny_pass(k->t, 30000);
		submit_calls(i, 1, "hello");
		rest();
	}
	expect_life();
	end();
}

static void submit_events(uint32_t first)
{
	static const struct tiny_event kinds[] = {
		{ .data = "plain" },
		{ .data = "and its result", .flags = PIRN__ITEM_FLAG__WANT_RESULT },
		{ .data = "later", .delay_ms = 300 },
		{ .data = "under a key", .key = "key", .hash = "hashhashhashhash" },
		{ .data = "under a key", .key = "key", .hash = "hashhashhashhash" },
		{ .data = "promised", .flags = PIRN__ITEM_FLAG__ACK_MEMORY },
		{ .data = "fails twice" },
		{ .data = "dies" },
	};

	for (uint32_t i = 0; i < 8; i++) {
		struct tiny_event e = kinds[i];

		e.slot = first + i;
		events[e.slot].wants_result = i == 1;
		events[e.slot].fails = i == 6 ? 2 : i == 7 ? 10 : 0;
		tiny_submit(k->t, CLIENT, e);
		if (i == 3)
			go_on(3);
	}
}

/* What was told of before it was on disk may be lost with its broker's memory, and is not here. */
static void events_path(void)
{
	begin(100);
	armed = true;
	submit_events(1);
	go_on(300);
	rest();
	expect_ends(1, 8);
	expect_life();
	end();
}

/* The connection to Redis goes, with replies on it, and comes again. */
static void recovery_path(void)
{
	begin(100);
	submit_events(1);
	tiny_turn(k->t);
	armed = true;
	tiny_cut(k->t);
	submit_events(9);
	tiny_connect(k->t, true);
	go_on(40);
	k->t->next = STORE_LOST;
	go_on(6);
	k->t->next = STORE_DONE;
	tiny_cut(k->t);
	tiny_connect(k->t, true);
	go_on(300);
	rest();
	for (uint32_t i = 1; i <= 16; i++) /* a lost answer may have been UNDECIDED */
		assert_true(events[i].effects <= 1 && events[i].ends <= 1 &&
			    events[i].accepted + events[i].refused == 1 &&
			    (!events[i].accepted || events[i].replayed || events[i].ends == 1));
	expect_life();
	end();
}

/* What another broker leaves: six events in three entries. Its world is made with a core of its own,
 * whose Redis the one under test takes over. */
static void adoption_path(void)
{
	struct tiny *t;
	struct brk_conf conf = tiny_conf();

	begin(0);
	t = k->t;
	submit_events(1);
	tiny_run(t);
	submit_events(9);
	tiny_run(t);
	while (t->first < t->last)
		tiny_tell(t);
	rig_free(&k->rig); /* it died */
	n_runs = 0;
	conf.boot[0] ^= 0x55;
	conf.max_events = 64;
	k->rig.now_ms += 1000;
	assert_int_equal(brk_core_new(&conf, &k->rig.core), BASE_OK);
	rig_tick(&k->rig, 0);
	rig_client(&k->rig, CLIENT);
	rig_worker(&k->rig, A, "hello", 100);
	rig_look(&k->rig, brk_core_durable(k->rig.core, k->rig.now_ms, true, NULL, 0));
	armed = true;
	tiny_connect(t, true);
	for (unsigned i = 0; i < 200; i++)
		go_on(1), tiny_step(t);
	WITH_MEMORY(for (unsigned i = 0; i < 300; i++) go_on(1), tiny_step(t));
	rest();
	assert_true(rig_figures(&k->rig).adoptions >= 1);
	for (uint32_t i = 1; i <= 16; i++)
		if (events[i].accepted && !events[i].replayed) {
			assert_int_equal(events[i].ends, 1);
			assert_int_equal(events[i].effects, events[i].fails > 9 ? 0 : 1);
		}
	expect_life();
	end();
}

static void keyed_path(void)
{
	begin(10);
	armed = true;
	asked_call(k, (struct asked_call){ .peer = CLIENT, .slot = 101 });
	go_on(4);
	asked_call(k, (struct asked_call){ .peer = CLIENT, .slot = 102 });
	go_on(30);
	asked_call(k, (struct asked_call){ .peer = CLIENT, .slot = 103 });
	asked_call(
		k, (struct asked_call){ .peer = CLIENT, .slot = 104, .hash = "otherotherother!" });
	go_on(30);
	rest();
	expect_answers(1, 4);
	expect_life();
	end();
}

static void ask(uint32_t slot, Pirn__Query query)
{
	asked_ask_many(k, CLIENT, 200 + slot, 1, &query);
}

static void questions_path(void)
{
	static uint8_t dead_id[16] = { 1, 0, 2 }, purged_id[16] = { 1, 0, 3 };
	ProtobufCBinaryData ids[] = { { 16, dead_id } }, purged[] = { { 16, purged_id } };
	Pirn__Query query;
	uint32_t n = 0;

	begin(100);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1, .delay_ms = 100000 });
	asked_die(k, 2);
	asked_die(k, 3);
	n_runs = 0;
	tiny_run(k->t);
	armed = true;
	ask(n++, asked_query(PIRN__QUERY_KIND__SERVICES, 0));
	ask(n++, asked_query(PIRN__QUERY_KIND__METRICS, 0));
	ask(n++, asked_query(PIRN__QUERY_KIND__INVOCATION, 1));
	query = asked_query(PIRN__QUERY_KIND__INVOCATION, 2);
	ask(n++, query);
	query.wait_ms = 100;
	ask(n++, query);
	ask(n++, asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0));
	ask(n++, asked_dead(PIRN__QUERY_KIND__DEAD_LIST));
	query = asked_dead(PIRN__QUERY_KIND__DEAD_GET);
	query.has_id = true;
	query.id = ids[0];
	ask(n++, query);
	tiny_run(k->t);
	query = asked_dead(PIRN__QUERY_KIND__DEAD_REDRIVE);
	query.ids = ids;
	query.n_ids = 1;
	ask(n++, query);
	tiny_run(k->t);
	query.what = PIRN__QUERY_KIND__DEAD_PURGE;
	query.ids = purged;
	ask(n++, query);
	ask(n++, asked_query(PIRN__QUERY_KIND__BREAKERS, 0));
	query = asked_dead(PIRN__QUERY_KIND__BREAKER_SET);
	query.has_force = true;
	query.force = PIRN__BREAKER_FORCE__AUTO;
	ask(n++, query);
	ask(n++, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1));
	tiny_run(k->t);
	armed = false;
	tiny_pass(k->t, 1000);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(questions[i].answered + questions[i].refused, 1);
	for (uint32_t i = 0; i < n; i++) {
		if (oom_nth == 0)
			words[i].refused = questions[i].refused ? questions[i].reason : 0;
		else if (questions[i].refused && !words[i].refused)
			assert_int_equal(questions[i].reason, PIRN__REASON__OVERLOADED);
	}
	ask(AFTERWARDS, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1));
	rest();
	assert_int_equal(events[1].ends, 1);
	assert_int_equal(questions[AFTERWARDS].answered, 1);
	expect_life();
	end();
}

static void registry_path(void)
{
	Pirn__Entry entry = PIRN__ENTRY__INIT;
	Pirn__BreakerNote note = PIRN__BREAKER_NOTE__INIT;
	Pirn__Manifest m = rig_manifest("from-redis");
	struct brk_figures before;

	begin(0);
	before = rig_figures(&k->rig);
	entry.manifest = &m;
	entry.breaker = &note;
	note.has_opened_ms = note.has_open_ms = true;
	note.opened_ms = 5;
	note.open_ms = 5000;
	entry.has_first_ms = entry.has_announced_ms = true;
	entry.first_ms = 5;
	entry.announced_ms = 6;
	armed = true;
	rig_look(&k->rig, brk_core_entry(k->rig.core, k->rig.now_ms, &entry));
	entry.announced_ms = 7;
	m.description = (char *)(uintptr_t) "a newer one";
	rig_look(&k->rig, brk_core_entry(k->rig.core, k->rig.now_ms, &entry));
	tiny_tick(k->t, 1000);
	armed = false;
	entry.announced_ms = 8;
	rig_look(&k->rig, brk_core_entry(k->rig.core, k->rig.now_ms, &entry));
	tiny_tick(k->t, 1000);
	assert_int_equal(rig_figures(&k->rig).services, before.services + 1);
	expect_life();
	end();
}

static void drain_path(void)
{
	begin(2);
	submit_calls(1, 6, "hello");
	submit_events(1);
	tiny_turn(k->t);
	armed = true;
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	tiny_take(k->t);
	submit_calls(7, 2, "hello");
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 9 });
	assert_int_equal(events[9].refused, 1);
	for (unsigned i = 0; i < 30; i++) {
		if (n_runs > 0)
			work();
		else if (brk_core_pending(k->rig.core) || k->t->first < k->t->last)
			tiny_step(k->t);
	}
	rig_send(&k->rig, CLIENT, PIRN__KIND__DRAIN);
	rig_look(&k->rig, brk_core_end(k->rig.core, k->rig.now_ms));
	armed = false;
	n_runs = 0;
	expect_answers(1, 8);
	for (uint32_t i = 1; i <= 8; i++)
		assert_int_equal(events[i].accepted + events[i].refused, 1);
	end();
}

/* ------------------------------------------------------------------------------------------ */

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("core: birth", birth, 0)
SWEEP("core: a worker says HELLO", a_worker_says_hello, 0)
SWEEP("core: calls", calls_path, OOM_MAY_ABORT)
SWEEP("core: a breaker opens", sick_path, OOM_MAY_ABORT)
SWEEP("core: events", events_path, OOM_MAY_ABORT)
SWEEP("core: Redis goes and comes", recovery_path, OOM_MAY_ABORT)
SWEEP("core: adoption", adoption_path, OOM_MAY_ABORT)
SWEEP("core: calls with a key", keyed_path, OOM_MAY_ABORT)
SWEEP("core: questions", questions_path, OOM_MAY_ABORT)
SWEEP("core: registry entries", registry_path, OOM_MAY_ABORT)
SWEEP("core: drain and end", drain_path, OOM_MAY_ABORT)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_birth),
		cmocka_unit_test(test_a_worker_says_hello),
		cmocka_unit_test(test_calls_path),
		cmocka_unit_test(test_sick_path),
		cmocka_unit_test(test_events_path),
		cmocka_unit_test(test_recovery_path),
		cmocka_unit_test(test_adoption_path),
		cmocka_unit_test(test_keyed_path),
		cmocka_unit_test(test_questions_path),
		cmocka_unit_test(test_registry_path),
		cmocka_unit_test(test_drain_path),
	};

	return cmocka_run_group_tests_name("core, out of memory", tests, NULL, NULL);
}
