/* store/entry.c: what is an entry and what is none, that it survives packing, and that
 * two entries appended to one another are one. */
#include "tests/unit/unit.h"

#include "base/rand.h"
#include "store/entry.h"

#define MAX_EVENTS 4

struct made {
	Pirn__JournalEntry head;
	Pirn__JournalEvent events[MAX_EVENTS], *event_list[MAX_EVENTS];
	Pirn__JournalDelivery deliveries[MAX_EVENTS][2], *delivery_lists[MAX_EVENTS][2];
	Pirn__JournalAttempt attempt, *history[STORE_HISTORY_MAX + 1];
	uint8_t ids[MAX_EVENTS][16], lane[9];
};

/* n events of 10 bytes, each for two services. */
static void make(struct made *m, size_t n, uint8_t first)
{
	*m = (struct made){ .head = PIRN__JOURNAL_ENTRY__INIT,
		.attempt = PIRN__JOURNAL_ATTEMPT__INIT };
	for (size_t i = 0; i < n; i++) {
		Pirn__JournalEvent *e = &m->events[i];
		pirn__journal_event__init(e);
		memset(m->ids[i], first + (int)i, 16);
		e->has_id = true;
		e->id = (ProtobufCBinaryData){ 16, m->ids[i] };
		e->has_lane = e->has_number = e->has_meta_size = e->has_data_size = true;
		e->lane = (ProtobufCBinaryData){ 8, m->lane };
		e->number = UINT64_MAX - i;
		e->meta_size = 4;
		e->data_size = 6;
		for (size_t j = 0; j < 2; j++) {
			pirn__journal_delivery__init(&m->deliveries[i][j]);
			m->deliveries[i][j].service = (char *)(j ? "mail" : "echo");
			m->delivery_lists[i][j] = &m->deliveries[i][j];
		}
		e->deliveries = m->delivery_lists[i];
		e->n_deliveries = 2;
		m->event_list[i] = e;
	}
	m->head.events = m->event_list;
	m->head.n_events = n;
	for (size_t i = 0; i <= STORE_HISTORY_MAX; i++)
		m->history[i] = &m->attempt;
}

static enum base_err check(const struct made *m, size_t body)
{
	size_t n = 77;
	enum base_err err = store_entry_check(&m->head, body, &n);
	assert_int_equal(n, err ? 77 : m->head.n_events * 2);
	return err;
}

static void what_is_an_entry(void **state)
{
	(void)state;
	struct made m;
	make(&m, 2, 1);
	assert_int_equal(check(&m, 20), BASE_OK);
	assert_int_equal(check(&m, 19), BASE_INVALID);
	assert_int_equal(check(&m, 21), BASE_INVALID);
	m.events[1].id.len = 15;
	assert_int_equal(check(&m, 20), BASE_INVALID);
	make(&m, 2, 1);
	m.events[1].lane.len = 9;
	assert_int_equal(check(&m, 20), BASE_INVALID);
	make(&m, 2, 1);
	m.events[0].has_id = false;
	assert_int_equal(check(&m, 20), BASE_INVALID);
	make(&m, 2, 1);
	m.deliveries[1][1].service = (char *)"No Service";
	assert_int_equal(check(&m, 20), BASE_INVALID);
	m.deliveries[1][1].service = NULL;
	assert_int_equal(check(&m, 20), BASE_INVALID);
	make(&m, 2, 1);
	m.events[0].n_deliveries = 0;
	assert_int_equal(check(&m, 20), BASE_INVALID);
	make(&m, 0, 1);
	assert_int_equal(check(&m, 0), BASE_RANGE);
	make(&m, 1, 1);
	m.deliveries[0][0].has_attempt = true;
	assert_int_equal(check(&m, 10), BASE_INVALID);
	m.deliveries[0][0].attempt = 1;
	assert_int_equal(check(&m, 10), BASE_OK);
}

static void history_is_bounded(void **state)
{
	(void)state;
	struct made m;
	char text[STORE_HISTORY_TEXT + 2];
	make(&m, 1, 1);
	m.deliveries[0][0].history = m.history;
	m.deliveries[0][0].n_history = STORE_HISTORY_MAX;
	assert_int_equal(check(&m, 10), BASE_OK);
	m.deliveries[0][0].n_history = STORE_HISTORY_MAX + 1;
	assert_int_equal(check(&m, 10), BASE_INVALID);
	m.deliveries[0][0].n_history = 1;
	memset(text, 'x', sizeof text);
	text[STORE_HISTORY_TEXT] = '\0';
	m.attempt.error = text;
	assert_int_equal(check(&m, 10), BASE_OK);
	m.attempt.worker = (char *)"w";
	assert_int_equal(check(&m, 10), BASE_INVALID);
}

static void bounds(void **state)
{
	(void)state;
	struct made m;
	static Pirn__JournalEvent *many[STORE_ENTRY_DELIVERIES + 1];
	make(&m, 2, 1);
	m.events[0].data_size = STORE_ENTRY_BODY;
	assert_int_equal(check(&m, STORE_ENTRY_BODY + 14), BASE_TOO_LARGE);
	m.head.n_events = 1; /* a larger one travels alone */
	assert_int_equal(check(&m, STORE_ENTRY_BODY + 4), BASE_OK);
	make(&m, 1, 1);
	for (size_t i = 0; i <= STORE_ENTRY_DELIVERIES; i++)
		many[i] = &m.events[0];
	m.head.events = many;
	m.head.n_events = STORE_ENTRY_DELIVERIES / 2;
	assert_int_equal(check(&m, m.head.n_events * 10), BASE_OK);
	m.head.n_events++;
	assert_int_equal(check(&m, m.head.n_events * 10), BASE_RANGE);
	m.events[0].n_deliveries = 1;
	m.head.n_events = STORE_ENTRY_DELIVERIES + 1;
	assert_int_equal(check(&m, m.head.n_events * 10), BASE_RANGE);
}

static void packed_and_read_again(void **state)
{
	(void)state;
	struct made m;
	struct base_buf buf;
	struct base_arena arena;
	Pirn__JournalEntry *read = NULL;
	size_t n = 0;
	base_buf_init(&buf);
	base_arena_init(&arena, 4096, 1 << 20);
	make(&m, 3, 1);
	m.deliveries[2][1].has_not_after_ms = true;
	m.deliveries[2][1].not_after_ms = UINT64_C(1790000000000);
	m.deliveries[2][1].history = m.history;
	m.deliveries[2][1].n_history = 2;
	m.attempt.error = (char *)"timeout";
	assert_int_equal(store_entry_pack(&m.head, &buf), BASE_OK);
	assert_int_equal(store_entry_unpack(&arena, buf.data, buf.size, 30, &read, &n), BASE_OK);
	assert_int_equal(n, 6);
	assert_int_equal(read->n_events, 3);
	assert_true(read->events[2]->number == UINT64_MAX - 2);
	assert_memory_equal(read->events[2]->id.data, m.ids[2], 16);
	assert_false(read->events[2]->has_accepted_ms);
	assert_true(
		read->events[2]->deliveries[1]->not_after_ms == m.deliveries[2][1].not_after_ms);
	assert_string_equal(read->events[2]->deliveries[1]->history[1]->error, "timeout");
	assert_int_equal(
		store_entry_unpack(&arena, buf.data, buf.size, 31, &read, &n), BASE_INVALID);
	base_buf_fini(&buf);
	base_arena_fini(&arena);
}

static void two_entries_are_one(void **state)
{
	(void)state;
	struct made a, b;
	struct base_buf buf;
	struct base_arena arena;
	Pirn__JournalEntry *read = NULL;
	size_t n = 0;
	base_buf_init(&buf);
	base_arena_init(&arena, 4096, 1 << 20);
	make(&a, 1, 1);
	make(&b, 2, 50);
	assert_int_equal(store_entry_pack(&a.head, &buf), BASE_OK);
	assert_int_equal(store_entry_pack(&b.head, &buf), BASE_OK);
	assert_int_equal(store_entry_unpack(&arena, buf.data, buf.size, 30, &read, &n), BASE_OK);
	assert_int_equal(n, 6);
	assert_int_equal(read->events[0]->id.data[0], 1);
	assert_int_equal(read->events[1]->id.data[0], 50);
	assert_int_equal(read->events[2]->id.data[0], 51);
	base_buf_fini(&buf);
	base_arena_fini(&arena);
}

/* Whatever is done to its bytes, an entry is read soundly or refused; sanitizers see the rest. */
static void garbled(void **state)
{
	(void)state;
	struct made m;
	struct base_buf buf;
	struct base_arena arena;
	struct base_rand rand;
	size_t refused = 0;
	base_rand_init(&rand, 11);
	base_buf_init(&buf);
	base_arena_init(&arena, 4096, 1 << 16);
	for (int round = 0; round < 3000; round++) {
		Pirn__JournalEntry *read = NULL;
		size_t n = 0, before;
		make(&m, 3, 1);
		base_buf_reset(&buf);
		assert_int_equal(store_entry_pack(&m.head, &buf), BASE_OK);
		for (uint64_t k = 1 + base_rand_below(&rand, 4); k > 0; k--)
			buf.data[base_rand_below(&rand, buf.size)] = (uint8_t)base_rand_next(&rand);
		before = base_rand_below(&rand, buf.size + 1);
		base_arena_reset(&arena);
		if (store_entry_unpack(&arena, buf.data, before, 30, &read, &n)) {
			assert_null(read);
			refused++;
		} else {
			assert_in_range(n, 1, STORE_ENTRY_DELIVERIES);
		}
	}
	assert_in_range(refused, 2000, 3000);
	base_buf_fini(&buf);
	base_arena_fini(&arena);
}

static void the_bits_of_done(void **state)
{
	(void)state;
	const uint8_t bitmap[] = { 0x80, 0x01 };
	for (size_t bit = 0; bit < 40; bit++)
		assert_int_equal(
			store_entry_ended(bitmap, sizeof bitmap, bit), bit == 0 || bit == 15);
	assert_false(store_entry_ended(NULL, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_an_entry),
		cmocka_unit_test(history_is_bounded),
		cmocka_unit_test(bounds),
		cmocka_unit_test(packed_and_read_again),
		cmocka_unit_test(two_entries_are_one),
		cmocka_unit_test(garbled),
		cmocka_unit_test(the_bits_of_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
