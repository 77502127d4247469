/* A timer's slots through the core: each is accepted when the one before is the last one,
 * once, whoever says it and however often; one that is skipped has no event.
 */
#include "tests/unit/core_events.h"

enum { CLIENT = 1, OTHER = 2, A = 5 };

#define SKIP PIRN__ITEM_FLAG__SKIP_SLOT

static struct tiny *new_tiny(struct rig *r)
{
	struct tiny *t = tiny_new(r, NULL);

	rig_client(r, CLIENT);
	rig_client(r, OTHER);
	rig_worker(r, A, "hello", 0);
	return t;
}

/* Slots are so many seconds before the beginning. */
static uint64_t slot(unsigned n)
{
	return n ? TINY_MS - 1000000 + n * 1000 : 0;
}

static struct tiny_event say(uint32_t number, unsigned previous, unsigned now, uint32_t flags)
{
	return (struct tiny_event){ .slot = number,
		.timer = "nightly",
		.previous_ms = slot(previous),
		.slot_ms = slot(now),
		.flags = flags,
		.data = flags & SKIP ? "" : "data" };
}

static void submit(struct tiny *t, uint32_t number, unsigned previous, unsigned now, uint32_t flags)
{
	tiny_submit(t, CLIENT, say(number, previous, now, flags));
}

static const Pirn__Item *refused(struct rig *r, uint64_t last_ms, int running)
{
	const Pirn__Item *item = &rig_one(r, PIRN__KIND__REFUSED)->item;

	assert_int_equal(item->reason, PIRN__REASON__SLOT);
	assert_true(item->has_slot_ms && item->slot_ms == last_ms);
	assert_int_equal(item->has_id, running >= 0);
	if (running >= 0)
		assert_int_equal(item->id.data[2], running);
	return item;
}

static void test_a_chain(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);

	(void)state;
	submit(t, 1, 0, 1, 0);
	tiny_run(t);
	assert_int_equal(rig_one(&r, PIRN__KIND__ACCEPTED)->item.id.data[2], 1);
	assert_string_equal(t->timer.name, "hello/nightly");
	submit(t, 2, 1, 2, 0);
	tiny_run(t);
	assert_int_equal(rig_one(&r, PIRN__KIND__ACCEPTED)->item.id.data[2], 2);
	assert_int_equal(rig_figures(&r).events_ready, 2);
	assert_int_equal(rig_figures(&r).accepted, 2);
	tiny_free(t);
}

/* Who comes second learns where the chain is, and which event stands with it. */
static void test_each_slot_once(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);

	(void)state;
	submit(t, 1, 0, 1, 0);
	tiny_run(t);
	tiny_submit(t, OTHER, say(2, 0, 1, 0));
	tiny_run(t);
	assert_int_equal(refused(&r, slot(1), 1)->slot, 2);
	assert_int_equal(rig_one(&r, PIRN__KIND__REFUSED)->peer, OTHER);
	submit(t, 3, 2, 3, 0);
	tiny_run(t);
	refused(&r, slot(1), 1);
	submit(t, 4, 1, 2000, 0); /* its time has not come */
	tiny_run(t);
	refused(&r, slot(1), 1);
	assert_int_equal(rig_figures(&r).events_ready, 1);
	assert_int_equal(rig_figures(&r).events_refused, 0); /* nothing is wrong */
	tiny_free(t);
}

static void test_two_in_one_turn(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);

	(void)state;
	submit(t, 1, 0, 1, 0);
	tiny_submit(t, OTHER, say(2, 0, 1, 0));
	submit(t, 3, 1, 2, 0);
	tiny_run(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 1);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 2);
	refused(&r, slot(1), 1);
	assert_int_equal(rig_figures(&r).events_ready, 2);
	tiny_free(t);
}

static void test_a_skipped_slot(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);

	(void)state;
	submit(t, 1, 0, 1, SKIP);
	tiny_turn(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 0); /* not before Redis has it */
	tiny_tell(t);
	assert_false(rig_one(&r, PIRN__KIND__ACCEPTED)->item.has_id);
	assert_int_equal(t->n, 0); /* nor an entry */
	submit(t, 2, 0, 1, SKIP);
	tiny_run(t);
	refused(&r, slot(1), -1);
	submit(t, 3, 1, 2, 0);
	submit(t, 4, 2, 3, SKIP);
	submit(t, 5, 3, 4, 0);
	submit(t, 6, 4, 5, SKIP);
	tiny_run(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 4);
	assert_int_equal(t->entries[0].n, 2);
	assert_int_equal(rig_figures(&r).events_ready, 2);
	submit(t, 7, 0, 1, SKIP);
	tiny_run(t);
	refused(&r, slot(5), 5); /* the run before the skipped one stays the last run */
	tiny_free(t);
}

/* The answer was lost: the lane's bit says that it is stored, though its slot is not the next one any more. */
static void test_it_comes_again(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);

	(void)state;
	submit(t, 1, 0, 1, 0);
	submit(t, 2, 1, 2, SKIP);
	tiny_run(t);
	submit(t, 2, 1, 2, SKIP);
	tiny_run(t);
	assert_false(rig_one(&r, PIRN__KIND__ACCEPTED)->item.has_id);
	submit(t, 1, 0, 1, 0);
	tiny_run(t);
	assert_int_equal(rig_one(&r, PIRN__KIND__ACCEPTED)->item.id.data[2], 1);
	assert_int_equal(rig_figures(&r).events_ready, 1);
	assert_int_equal(t->timer.last_ms, slot(2));
	tiny_free(t);
}

/* The connection to Redis breaks. happened: the store was done; skips and events are mixed either way. */
static void cut(bool happened)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);

	submit(t, 9, 0, 1, SKIP);
	submit(t, 1, 1, 2, 0);
	submit(t, 2, 2, 3, SKIP);
	submit(t, 3, 1, 2, 0); /* is not the next one */
	submit(t, 4, 3, 4, 0);
	if (!happened)
		t->next = STORE_LOST;
	tiny_turn(t);
	tiny_cut(t);
	assert_int_equal(
		rig_count(&r, PIRN__KIND__ACCEPTED) + rig_count(&r, PIRN__KIND__REFUSED), 0);
	tiny_connect(t, true);
	for (unsigned n = 0, no = 0; n < 4 || no < 1;) {
		tiny_step(t);
		n += (unsigned)rig_count(&r, PIRN__KIND__ACCEPTED);
		no += (unsigned)rig_count(&r, PIRN__KIND__REFUSED);
		assert_true(n <= 4 && no <= 1);
	}
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_ready, 2);
	assert_int_equal(t->timer.last_ms, slot(4));
	tiny_free(t);
}

static void test_a_store_that_happened(void **state)
{
	(void)state;
	cut(true);
}

static void test_a_store_that_did_not(void **state)
{
	(void)state;
	cut(false);
}

static void test_what_is_malformed(void **state)
{
	static const char *const names[] = { "", "Nightly", "a/b", "1st",
		"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd" };
	struct tiny_event bad[] = { say(1, 1, 1, 0), say(1, 2, 1, 0), say(1, 0, 0, 0),
		say(1, 0, 1, 0), say(1, 0, 1, 0), say(1, 0, 1, SKIP),
		{ .slot = 1, .flags = SKIP, .data = "" } };
	struct rig r;
	struct tiny *t = new_tiny(&r);

	(void)state;
	bad[3].key = "key";
	bad[3].hash = "hhhhhhhhhhhhhhhh";
	bad[4].delay_ms = 1;
	bad[5].data = "data";
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		tiny_submit(t, CLIENT, bad[i]);
		assert_int_equal(
			rig_one(&r, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__MALFORMED);
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct tiny_event e = say(1, 0, 1, 0);

		e.timer = names[i];
		tiny_submit(t, CLIENT, e);
		assert_int_equal(
			rig_one(&r, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__MALFORMED);
	}
	tiny_free(t);
}

/* Nobody waits for what a full broker has: it moves the chain all the same. */
static void test_a_full_broker_skips(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct rig r;
	struct tiny *t;

	(void)state;
	conf.max_events = 1;
	t = tiny_new(&r, &conf);
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 0);
	submit(t, 1, 0, 1, 0);
	tiny_run(t);
	submit(t, 2, 1, 2, 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__QUEUE_FULL);
	submit(t, 3, 1, 2, SKIP);
	tiny_run(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 1);
	assert_int_equal(t->timer.last_ms, slot(2));
	tiny_free(t);
}

/* Too late for its sender; the broker must not keep anything of it. */
static void test_undecided(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);
	struct tiny_event e = say(1, 0, 1, SKIP);

	(void)state;
	e.left_ms = 500;
	tiny_submit(t, CLIENT, e);
	tiny_turn(t);
	tiny_tick(t, 600);
	assert_int_equal(rig_one(&r, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__UNDECIDED);
	tiny_run(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 0);
	assert_int_equal(t->timer.last_ms, slot(1));
	tiny_free(t);
}

/* ---- the time ------------------------------------------------------------------- */

static const struct brk_action *beat_to(struct rig *r, uint32_t peer)
{
	for (size_t i = 0; i < r->out->n; i++) {
		const struct brk_action *a = &r->out->list[i];

		if (a->kind == BRK_SEND_CONTROL && a->message == PIRN__KIND__BEAT &&
			a->peer == peer)
			return a;
	}
	fail_msg("no beat");
	return NULL;
}

static void test_beats_tell_the_time(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r);
	const Pirn__Beat *beat;

	(void)state;
	tiny_pass(t, 3000);
	tiny_tick(t, 1000);
	beat = (const void *)beat_to(&r, CLIENT)->control;
	assert_non_null(beat);
	assert_true(beat->has_now_ms && beat->now_ms == tiny_ms(t));
	assert_null(beat_to(&r, A)->control);
	for (int i = 0; i < 5; i++) /* Redis does not answer any more */
		tiny_tick(t, 1000);
	assert_null(beat_to(&r, CLIENT)->control);
	tiny_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chain),
		cmocka_unit_test(test_each_slot_once),
		cmocka_unit_test(test_two_in_one_turn),
		cmocka_unit_test(test_a_skipped_slot),
		cmocka_unit_test(test_it_comes_again),
		cmocka_unit_test(test_a_store_that_happened),
		cmocka_unit_test(test_a_store_that_did_not),
		cmocka_unit_test(test_what_is_malformed),
		cmocka_unit_test(test_a_full_broker_skips),
		cmocka_unit_test(test_undecided),
		cmocka_unit_test(test_beats_tell_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
