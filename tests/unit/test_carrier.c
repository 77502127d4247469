/* Each ask of the core, carried to a real Redis and back: what it is told, that it is
 * told once and never from within the asking, and what becomes of it when Redis is
 * killed, away or full. */
#include "tests/unit/journal_fixture.h"

#include "broker/carrier.h"

#define MAX_ASKS 256
#define HASH     STORE_ARG("a hash of 20 bytes..")
#define KEY      STORE_ARG("a key")

static struct brk_carrier *carrier;
static bool asking;
static uint64_t last_ticket;
static uint64_t order[MAX_ASKS]; /* tickets as they were told */
static size_t n_told;
static struct got answers[MAX_ASKS]; /* by ticket */
static enum brk_ask_kind kinds[MAX_ASKS];

static void on_page(void *arg, const struct store_page *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->n = reply->n;
	if (reply->n > 0)
		g->value_size = reply->entries[0].body.size;
}

static void on_told(void *arg, const struct brk_told *told)
{
	struct got *g = &answers[told->ticket];
	(void)arg;
	assert_false(asking);
	assert_true(told->ticket > 0 && told->ticket <= last_ticket);
	assert_int_equal(told->kind, kinds[told->ticket]);
	order[n_told++] = told->ticket;
	switch (told->kind) {
#define X(name, reply) \
	case BRK_ASK_##name: \
		on_##reply(g, told->reply); \
		break;
		BRK_ASKS(X)
#undef X
	case BRK_ASK__N:
		fail();
	}
}

static uint64_t ask_of(struct store_redis *redis, struct brk_ask ask)
{
	ask.ticket = ++last_ticket;
	assert_true(last_ticket < MAX_ASKS);
	kinds[last_ticket] = ask.kind;
	asking = true;
	brk_carrier_ask(carrier, redis, &ask);
	asking = false;
	assert_false(answers[last_ticket].came);
	return last_ticket;
}

static uint64_t ask(struct brk_ask a)
{
	return ask_of(f.redis, a);
}

static struct got *answer_to(uint64_t ticket)
{
	WAIT_FOR(&f, answers[ticket].came);
	return &answers[ticket];
}

#define ASKED(...) answer_to(ask((struct brk_ask){ __VA_ARGS__ }))

static void assert_done(const struct got *g)
{
	assert_int_equal(g->code, STORE_DONE);
}

static int carrier_start(void **state)
{
	assert_int_equal(flush(state), 0);
	last_ticket = n_told = 0;
	memset(answers, 0, sizeof answers);
	assert_int_equal(brk_carrier_new(f.loop, &bounds, on_told, NULL, &carrier), BASE_OK);
	return 0;
}

static int carrier_stop(void **state)
{
	(void)state;
	size_t open = brk_carrier_open(carrier);
	brk_carrier_free(&carrier);
	return open == 0 && n_told == last_ticket ? 0 : -1;
}

/* ---- asks */

static struct brk_ask store_ask(struct batch *b, uint64_t turn, uint64_t first, size_t n)
{
	batch_init(b);
	for (size_t i = 0; i < n; i++)
		batch_add(b, first + i, 1);
	return (struct brk_ask){ .kind = BRK_ASK_STORE,
		.store = { batch_turn(b, 1, 1, turn), b->items, n } };
}

static void store(uint64_t turn, uint64_t first, size_t n)
{
	struct batch b;
	const struct got *g = answer_to(ask(store_ask(&b, turn, first, n)));
	batch_fini(&b);
	assert_done(g);
	assert_true(g->entry && g->n == 0 && g->now_ms > 0);
}

static struct brk_ask settle_ask(uint64_t turn, const struct store_ends *ends)
{
	return (struct brk_ask){ .kind = BRK_ASK_SETTLE,
		.settle = { .turn = { .epoch = 1, .journal = 1, .turn = turn }, .entries = ends, .n = 1 } };
}

static struct brk_ask about_dead(enum brk_ask_kind kind, const uint8_t (*ids)[16], size_t n)
{
	return (struct brk_ask){ .kind = kind,
		.dead = { .turn = { .epoch = 1, .journal = 1, .turn = 100 },
			.service = "echo",
			.ids = ids,
			.n = n,
			.max_bytes = 1 << 20,
			.cursor = "0",
			.about = 10 } };
}

/* ---- tests */

static void owners_and_journals(void **state)
{
	(void)state;
	const struct got *g = ASKED(.kind = BRK_ASK_OPEN);
	assert_done(g);
	assert_int_equal(g->epoch, 1);
	assert_int_equal(g->journal, 1);
	assert_true(g->now_ms > 0);
	assert_int_equal(ASKED(.kind = BRK_ASK_OPEN)->epoch, 2);

	g = ASKED(.kind = BRK_ASK_BEAT, .epoch = 1);
	assert_done(g);
	assert_int_equal(g->n_owners, 2);
	assert_int_equal(g->n_owned, 2);

	assert_int_equal(ASKED(.kind = BRK_ASK_LEAVE, .epoch = 2)->n, 1);
	g = ASKED(.kind = BRK_ASK_BEAT, .epoch = 2);
	assert_int_equal(g->code, STORE_FENCED);
	assert_int_equal(g->number, 2);

	g = ASKED(.kind = BRK_ASK_ADOPT, .epoch = 1, .adopt = { 2, 0 });
	assert_done(g);
	assert_int_equal(g->n_journals, 1);
	assert_int_equal(g->journals[0], 2);
	assert_int_equal(ASKED(.kind = BRK_ASK_DROP, .epoch = 1, .journal = 2)->n, 1);

	g = ASKED(.kind = BRK_ASK_OPEN, .epoch = 1);
	assert_int_equal(g->epoch, 3);
	assert_int_equal(g->journal, 1);
}

static void entries(void **state)
{
	(void)state;
	ASKED(.kind = BRK_ASK_OPEN);
	store(1, 1, 3);
	store(2, 4, 2);
	const struct got *g = ASKED(.kind = BRK_ASK_READ, .journal = 1,
		.read = { .max_entries = 10, .max_bytes = 1 << 20 });
	assert_done(g);
	assert_int_equal(g->n, 2);
	assert_int_equal(g->value_size, 30);
	g = ASKED(.kind = BRK_ASK_READ, .journal = 1,
		.read = { .after_epoch = 1,
			.after_turn = 1,
			.max_entries = 10,
			.max_bytes = 1 << 20 });
	assert_int_equal(g->n, 1);
	assert_int_equal(g->value_size, 20);

	g = answer_to(ask(settle_ask(3, ENDS(1, 1, 1, 3, ended(0, 1), ended(1, 2), ended(2, 3)))));
	assert_done(g);
	assert_true(g->now_ms > 0);
	g = answer_to(ask(settle_ask(4, ENDS(1, 1, 1, 3, ended(0, 1)))));
	assert_int_equal(g->code, STORE_SETTLED);
}

static void letters_and_results(void **state)
{
	(void)state;
	struct store_end dead = ended(0, 1), done = ended(1, 2);
	uint8_t ids[2][16];
	memcpy(ids[0], id_text(1), 16);
	memcpy(ids[1], id_text(2), 16);
	dead.how = STORE_DEAD;
	dead.head = STORE_ARG("a head");
	dead.body = STORE_ARG("0123456789");
	done.result = STORE_ARG("a result");
	ASKED(.kind = BRK_ASK_OPEN);
	store(1, 1, 2);
	assert_done(answer_to(ask(settle_ask(2, ENDS(1, 1, 1, 2, dead, done)))));

	const struct got *g = answer_to(ask(about_dead(BRK_ASK_RESULT, &ids[1], 1)));
	assert_int_equal(g->n_list, 2);
	assert_memory_equal(g->list[1].bytes, "a result", 8);
	g = answer_to(ask(about_dead(BRK_ASK_DEAD_LIST, NULL, 0)));
	assert_int_equal(g->n_list, 3);
	assert_memory_equal(g->list[1].bytes, ids[0], 16);
	g = answer_to(ask(about_dead(BRK_ASK_DEAD_GET, ids, 1)));
	assert_int_equal(g->n_list, 2);
	assert_memory_equal(g->list[1].bytes, "0123456789", 10);

	g = answer_to(ask(about_dead(BRK_ASK_REDRIVE, ids, 2)));
	assert_done(g);
	assert_int_equal(g->n_list, 1);
	assert_int_equal(answer_to(ask(about_dead(BRK_ASK_PURGE, ids, 2)))->n, 0);
}

static struct brk_ask key_ask(enum brk_ask_kind kind, uint64_t until_ms)
{
	struct brk_ask a = { .kind = kind,
		.key = { .scope = "echo",
			.key = KEY,
			.hash = HASH,
			.until_ms = until_ms,
			.run = 1,
			.response = STORE_ARG("a response") } };
	memcpy(a.key.id, id_text(7), 16);
	return a;
}

static void keys(void **state)
{
	(void)state;
	uint64_t soon = ASKED(.kind = BRK_ASK_OPEN)->now_ms + 60000;
	const struct got *g = answer_to(ask(key_ask(BRK_ASK_CLAIM, soon)));
	assert_done(g);
	assert_int_equal(g->kind, STORE_CLAIM_RUN);
	assert_int_equal(g->run, 1);
	assert_memory_equal(g->id, id_text(7), 16);
	struct brk_ask other = key_ask(BRK_ASK_CLAIM, soon);
	memcpy(other.key.id, id_text(8), 16);
	assert_int_equal(answer_to(ask(other))->kind, STORE_CLAIM_BUSY);
	assert_done(answer_to(ask(key_ask(BRK_ASK_ANSWER, 0))));
	g = answer_to(ask(key_ask(BRK_ASK_CLAIM, soon)));
	assert_int_equal(g->kind, STORE_CLAIM_ANSWER);
	assert_string_equal(g->value, "a response");
}

/* Bounds come from the settings: here no key fits. */
static void bounds_are_handed_on(void **state)
{
	(void)state;
	brk_carrier_free(&carrier);
	bounds.dedupe_max = 1;
	assert_int_equal(brk_carrier_new(f.loop, &bounds, on_told, NULL, &carrier), BASE_OK);
	uint64_t soon = ASKED(.kind = BRK_ASK_OPEN)->now_ms + 60000;
	assert_int_equal(answer_to(ask(key_ask(BRK_ASK_CLAIM, soon)))->kind, STORE_CLAIM_FULL);
}

static void in_order(void **state)
{
	(void)state;
	struct batch b[3];
	ASKED(.kind = BRK_ASK_OPEN);
	size_t before = n_told;
	for (uint64_t i = 0; i < 3; i++) {
		ask(store_ask(&b[i], 2 * i + 1, 10 * i, 2));
		ask((struct brk_ask){ .kind = BRK_ASK_BEAT, .epoch = 1 });
		ask(settle_ask(2 * i + 2,
			ENDS(1, 1, 2 * i + 1, 2, ended(0, 10 * i), ended(1, 10 * i + 1))));
		batch_fini(&b[i]);
	}
	assert_int_equal(brk_carrier_open(carrier), 9);
	WAIT_FOR(&f, brk_carrier_open(carrier) == 0);
	for (size_t i = before; i < n_told; i++) {
		assert_int_equal(order[i], i + 1);
		assert_done(&answers[order[i]]);
	}
	REDIS("0", "XLEN pirn:{0}:journal:1");
}

static void killed(void **state)
{
	(void)state;
	struct batch b;
	ASKED(.kind = BRK_ASK_OPEN);
	store(1, 1, 2);
	harness_redis_pause(server);
	uint64_t first = ask(store_ask(&b, 2, 3, 2));
	batch_fini(&b);
	ask(settle_ask(3, ENDS(1, 1, 1, 2, ended(0, 1), ended(1, 2))));
	ask(about_dead(BRK_ASK_DEAD_LIST, NULL, 0));
	ask((struct brk_ask){ .kind = BRK_ASK_READ, .journal = 1 });
	ask((struct brk_ask){ .kind = BRK_ASK_BEAT, .epoch = 1 });
	unsigned downs = f.downs, ups = f.ups;
	harness_redis_kill(server);
	WAIT_FOR(&f, f.downs > downs);
	for (uint64_t ticket = first; ticket <= last_ticket; ticket++)
		assert_int_equal(answers[ticket].code, STORE_LOST);
	assert_int_equal(n_told, last_ticket);

	/* not sent, and told all the same */
	assert_int_equal(ASKED(.kind = BRK_ASK_OPEN, .epoch = 1)->code, STORE_AWAY);
	harness_redis_restart(server);
	WAIT_FOR(&f, f.ups > ups);
	assert_int_equal(ASKED(.kind = BRK_ASK_OPEN, .epoch = 1)->epoch, 2);
}

static void not_sent(void **state)
{
	(void)state;
	uint64_t first = ask_of(NULL, (struct brk_ask){ .kind = BRK_ASK_OPEN });
	ask((struct brk_ask){ .kind = BRK_ASK_SETTLE }); /* nothing: INVALID */
	ask(about_dead(BRK_ASK_PURGE, NULL, 0));
	ask((struct brk_ask){ .kind = BRK_ASK_ADOPT, .epoch = 3, .adopt = { 3, 0 } });
	WAIT_FOR(&f, brk_carrier_open(carrier) == 0);
	for (uint64_t ticket = first; ticket <= last_ticket; ticket++) {
		assert_int_equal(order[ticket - 1], ticket);
		assert_int_equal(answers[ticket].code, STORE_AWAY);
	}
}

static void full(void **state)
{
	(void)state;
	struct fixture own;
	fixture_init(&own);
	fixture_connect(&own, &(struct store_redis_conf){ .url = harness_redis_url(server),
				      .library = store_functions_lua,
				      .max_commands = 2 });
	WAIT_FOR(&own, own.ups == 1);
	brk_carrier_free(&carrier);
	assert_int_equal(brk_carrier_new(own.loop, &bounds, on_told, NULL, &carrier), BASE_OK);
	for (int i = 0; i < 4; i++)
		ask_of(own.redis, (struct brk_ask){ .kind = BRK_ASK_OPEN });
	WAIT_FOR(&own, brk_carrier_open(carrier) == 0);
	assert_done(&answers[1]);
	assert_done(&answers[2]);
	assert_int_equal(answers[3].code, STORE_AWAY);
	assert_int_equal(answers[4].code, STORE_AWAY);
	brk_carrier_free(&carrier);
	fixture_fini(&own);
	assert_int_equal(brk_carrier_new(f.loop, &bounds, on_told, NULL, &carrier), BASE_OK);
}

/* What ends at the end of the broker is of no interest to its core. */
static void muted(void **state)
{
	(void)state;
	ask((struct brk_ask){ .kind = BRK_ASK_OPEN });
	ask_of(NULL, (struct brk_ask){ .kind = BRK_ASK_OPEN });
	brk_carrier_mute(carrier);
	WAIT_FOR(&f, brk_carrier_open(carrier) == 0);
	assert_int_equal(n_told, 0);
	last_ticket = 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, carrier_start, carrier_stop)
	const struct CMUnitTest tests[] = {
		TEST(owners_and_journals),
		TEST(entries),
		TEST(letters_and_results),
		TEST(keys),
		TEST(bounds_are_handed_on),
		TEST(in_order),
		TEST(killed),
		TEST(not_sent),
		TEST(full),
		TEST(muted),
	};
	return cmocka_run_group_tests(tests, server_start, server_stop);
}
