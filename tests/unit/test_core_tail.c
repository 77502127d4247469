/* TAIL: what passes is noted while somebody looks on, and told once. */
#include "tests/unit/core_asked.h"

static char cursor[64];

static Pirn__Query tail_query(const char *from)
{
	Pirn__Query query = asked_query(PIRN__QUERY_KIND__TAIL, 0);

	query.cursor = (char *)(uintptr_t)from;
	return query;
}

/* What passed since the last look. */
static Pirn__Answer *look_with(struct asked *k, Pirn__Query query)
{
	Pirn__Answer *answer = asked_get(k, query);

	assert_true(answer->has_count);
	assert_non_null(answer->cursor);
	assert_true(strlen(answer->cursor) < sizeof cursor);
	strcpy(cursor, answer->cursor);
	return answer;
}

static Pirn__Answer *look(struct asked *k)
{
	return look_with(k, tail_query(cursor));
}

static struct asked *watched(uint64_t granted)
{
	struct asked *k = asked_new(NULL, granted);

	cursor[0] = '\0';
	assert_int_equal(look_with(k, tail_query(NULL))->n_notes, 0);
	return k;
}

static void test_nobody_looks_on(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, 0);

	(void)state;
	tiny_result(k->t, A, &run, (struct rig_item){ .status = 200 });
	tiny_run(k->t);
	assert_null(k->rig.core->tail.notes);
	assert_int_equal(k->rig.core->tail.n_notes, 0);
	assert_int_equal(look_with(k, tail_query(NULL))->n_notes, 0);
	asked_free(k);
}

static void test_an_event_and_its_attempts(void **state)
{
	struct asked *k = watched(10);
	Pirn__Item run = asked_event(k, 1, 0);
	Pirn__Answer *answer = look(k);

	(void)state;
	assert_int_equal(answer->n_notes, 1);
	assert_int_equal(answer->notes[0]->what, PIRN__NOTE_KIND__NOTE_ACCEPTED);
	assert_string_equal(answer->notes[0]->service, "hello");
	assert_memory_equal(answer->notes[0]->id.data, asked_id(1).data, 16);
	assert_null(answer->notes[0]->type);
	tiny_result(k->t, A, &run, (struct rig_item){ .status = 500 });
	tiny_run(k->t);
	answer = look(k);
	assert_int_equal(answer->n_notes, 1);
	assert_int_equal(answer->notes[0]->what, PIRN__NOTE_KIND__NOTE_FAILED);
	assert_int_equal(answer->notes[0]->status, 500);
	assert_int_equal(answer->notes[0]->attempt, 1);
	run = asked_run_next(k);
	tiny_result(k->t, A, &run, (struct rig_item){ .status = 200 });
	tiny_run(k->t);
	answer = look(k);
	assert_int_equal(answer->n_notes, 1);
	assert_int_equal(answer->notes[0]->what, PIRN__NOTE_KIND__NOTE_DONE);
	assert_int_equal(answer->notes[0]->attempt, 2);
	assert_int_equal(look(k)->n_notes, 0);
	asked_die(k, 2);
	answer = look(k);
	assert_int_equal(answer->n_notes, 2);
	assert_int_equal(answer->notes[1]->what, PIRN__NOTE_KIND__NOTE_DEAD);
	assert_int_equal(answer->notes[1]->status, 404);
	asked_free(k);
}

static void test_a_call(void **state)
{
	struct asked *k = watched(10);
	Pirn__Answer *answer;
	Pirn__Item run;

	(void)state;
	rig_submit(&k->rig, CLIENT, 9, "hello", 0);
	run = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
	rig_tick(&k->rig, 20);
	rig_result(&k->rig, A, &run, 201, 0);
	answer = look(k);
	assert_int_equal(answer->n_notes, 1);
	assert_int_equal(answer->notes[0]->what, PIRN__NOTE_KIND__NOTE_CALL);
	assert_int_equal(answer->notes[0]->status, 201);
	assert_int_equal(answer->notes[0]->took_us, 20000);
	asked_free(k);
}

static void test_what_is_wanted(void **state)
{
	struct asked *k = watched(10);
	Pirn__Query query;

	(void)state;
	asked_event(k, 1, 0);
	query = tail_query(cursor);
	query.service = (char *)(uintptr_t) "other";
	assert_int_equal(asked_get(k, query)->n_notes, 0);
	query.service = (char *)(uintptr_t) "hello";
	assert_int_equal(asked_get(k, query)->n_notes, 1);
	query.type = (char *)(uintptr_t) "*"; /* it has none */
	assert_int_equal(asked_get(k, query)->n_notes, 0);
	asked_free(k);
}

static void test_a_slow_one_is_told_what_it_missed(void **state)
{
	struct asked *k = watched(10);
	struct brk_core *core = k->rig.core;
	Pirn__Query query = tail_query(cursor);
	Pirn__Answer *answer;
	uint64_t seen = 0;

	(void)state;
	asked_event(k, 1, 0);
	for (unsigned i = 1; i < BRK_TAIL_NOTES + 100; i++)
		brk_tail_delivery(core, brk_delivery_first(core, asked_id(1).data),
			PIRN__NOTE_KIND__NOTE_FAILED, i, 0);
	query.has_limit = true;
	query.limit = 50;
	answer = look_with(k, query);
	assert_int_equal(answer->count, 100);
	assert_int_equal(answer->notes[0]->status, 100);
	do {
		for (size_t i = 0; i < answer->n_notes; i++)
			assert_int_equal(answer->notes[i]->status, 100 + seen++);
		query.cursor = cursor;
		answer = look_with(k, query);
		assert_int_equal(answer->count, 0);
	} while (answer->n_notes > 0);
	assert_int_equal(seen, BRK_TAIL_NOTES);
	asked_free(k);
}

static void test_who_stays_away_is_forgotten(void **state)
{
	struct asked *k = watched(10);

	(void)state;
	assert_true(BRK_TAILED(k->rig.core));
	tiny_pass(k->t, BRK_TAIL_MS);
	assert_false(BRK_TAILED(k->rig.core));
	asked_event(k, 1, 0);
	assert_int_equal(look(k)->n_notes, 0);
	assert_true(BRK_TAILED(k->rig.core));
	asked_free(k);
}

static void test_cursors_of_others(void **state)
{
	struct asked *k = watched(10);
	char many[256];

	(void)state;
	asked_event(k, 1, 0);
	snprintf(many, sizeof many, "0123456789abcdef:7,%s,fedcba9876543210:9", cursor);
	assert_int_equal(asked_get(k, tail_query(many))->n_notes, 1);
	snprintf(many, sizeof many, "%.16s:99999999999999999999999", cursor);
	assert_int_equal(asked_get(k, tail_query(many))->n_notes, 0);
	assert_int_equal(asked_get(k, tail_query(",,:,"))->n_notes, 0);
	asked_free(k);
}

static void test_what_is_no_question(void **state)
{
	static char text[10000];
	struct asked *k = watched(10);
	Pirn__Query query = tail_query(NULL);

	(void)state;
	memset(text, 'a', sizeof text - 1);
	query.has_limit = true;
	asked_ask(k, 5, query);
	assert_int_equal(
		rig_one(&k->rig, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__MALFORMED);
	query.limit = 1001;
	asked_ask(k, 5, query);
	assert_int_equal(
		rig_one(&k->rig, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__MALFORMED);
	query = tail_query(text);
	asked_ask(k, 5, query);
	assert_int_equal(
		rig_one(&k->rig, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__MALFORMED);
	query = tail_query(NULL);
	query.type = text;
	asked_ask(k, 5, query);
	assert_int_equal(
		rig_one(&k->rig, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__MALFORMED);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_looks_on),
		cmocka_unit_test(test_an_event_and_its_attempts),
		cmocka_unit_test(test_a_call),
		cmocka_unit_test(test_what_is_wanted),
		cmocka_unit_test(test_a_slow_one_is_told_what_it_missed),
		cmocka_unit_test(test_who_stays_away_is_forgotten),
		cmocka_unit_test(test_cursors_of_others),
		cmocka_unit_test(test_what_is_no_question),
	};

	return cmocka_run_group_tests_name("core_tail", tests, NULL, NULL);
}
