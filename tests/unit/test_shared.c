/* Entries whose events share what they have in common, against a Redis: what is read is what was written. */
#include "tests/unit/journal_fixture.h"

#include "base/rand.h"

#define EVENTS    64
#define PIECE_MAX 400

/* An entry under way, and what must come back. */
struct made {
	Pirn__JournalEntry head;
	Pirn__JournalEvent events[EVENTS], *list[EVENTS];
	Pirn__JournalDelivery delivery, *deliveries[1];
	uint8_t ids[EVENTS][16];
	struct store_item items[EVENTS];
	struct base_buf packed, body;
	size_t n;
	uint64_t pages;
};

static void made_init(struct made *m)
{
	memset(m, 0, sizeof *m);
	pirn__journal_entry__init(&m->head);
	pirn__journal_delivery__init(&m->delivery);
	m->delivery.service = (char *)"echo";
	m->deliveries[0] = &m->delivery;
	m->head.events = m->list;
	base_buf_init(&m->packed);
	base_buf_init(&m->body);
}

static void made_fini(struct made *m)
{
	base_buf_fini(&m->packed);
	base_buf_fini(&m->body);
}

static void add_event(struct made *m, const void *meta, size_t meta_size, const void *data, size_t data_size)
{
	Pirn__JournalEvent *e = &m->events[m->n];

	assert_true(m->n < EVENTS);
	pirn__journal_event__init(e);
	memcpy(m->ids[m->n], id_text(m->n), 16);
	e->id = (ProtobufCBinaryData){ 16, m->ids[m->n] };
	e->has_id = e->has_meta_size = e->has_data_size = true;
	e->meta_size = (uint32_t)meta_size;
	e->data_size = (uint32_t)data_size;
	e->deliveries = m->deliveries;
	e->n_deliveries = 1;
	m->list[m->head.n_events++] = e;
	m->items[m->n++] = (struct store_item){ .n_deliveries = 1,
		.meta_size = e->meta_size,
		.data_size = e->data_size };
	base_buf_add(&m->body, meta, meta_size);
	base_buf_add(&m->body, data, data_size);
}

static void on_read(void *arg, const struct store_page *reply)
{
	struct made *m = arg;

	assert_int_equal(reply->says.code, STORE_DONE);
	assert_int_equal(reply->n, 1);
	assert_int_equal(reply->entries[0].head.size, m->packed.size);
	assert_memory_equal(reply->entries[0].head.data, m->packed.data, m->packed.size);
	assert_int_equal(reply->entries[0].body.size, m->body.size);
	if (m->body.size)
		assert_memory_equal(reply->entries[0].body.data, m->body.data, m->body.size);
	m->pages++;
}

/* Stores it, and reads it back. True: its parts are shared. */
static bool goes_and_comes(struct made *m, uint64_t turn)
{
	struct store_turn t = { 1, 1, turn, { 0 }, { 0 } };
	char *fields;
	bool shared;

	base_buf_reset(&m->packed);
	assert_int_equal(store_entry_pack(&m->head, &m->packed), BASE_OK);
	t.head = (struct store_arg){ m->packed.data, m->packed.size };
	t.body = (struct store_arg){ m->body.data, m->body.size };
	assert_true(CALL(store_journal_store, &t, m->items, m->n, &bounds, on_stored).entry);
	m->pages = 0;
	assert_int_equal(store_journal_read(f.redis, 1, 1, turn - 1, 1, 1 << 20, on_read, m), BASE_OK);
	WAIT_FOR(&f, m->pages == 1);
	fields = harness_redis_command(server,
		"EVAL return(function(e)return(e[1]..e[3]..e[5])end)"
		"(redis.call('XREVRANGE','pirn:{0}:journal:1','+','-','COUNT',1)[1][2]) 0");
	assert_non_null(fields);
	shared = strstr(fields, "tHB") != NULL;
	assert_true(shared || strstr(fields, "thb"));
	free(fields);
	return shared;
}

static void add_cloudevent(struct made *m, const char *id, unsigned number)
{
	char meta[PIECE_MAX], data[PIECE_MAX];
	int size = snprintf(meta, sizeof meta,
		"POST/v1/events ce-specversion 1.0 ce-id %s%u ce-source /bench ce-type bench.one Content-Type "
		"application/json traceparent 00-0af7651916cd43dd8448eb211c80319c-%016x-01 127.0.0.1",
		id, number, number * 2654435761u);

	snprintf(data, sizeof data, "{\"number\":%u}", number);
	add_event(m, meta, (size_t)size, data, strlen(data));
}

/* Ids of the same length, and a step to a longer one. */
static void a_batch_takes_less_room(void **state)
{
	(void)state;
	struct made m;

	made_init(&m);
	open_epoch(0);
	for (unsigned i = 0; i < 20; i++)
		add_cloudevent(&m, "order-", 90 + i);
	assert_true(goes_and_comes(&m, 1));
	REDIS("1",
		"EVAL return(function(e)return(#e[4]+#e[6]<%zu)end)"
		"(redis.call('XRANGE','pirn:{0}:journal:1','-','+')[1][2]) 0",
		(m.packed.size + m.body.size) / 2);
	made_fini(&m);
}

/* What would not be smaller, what is alone, and whose sizes nobody says. */
static void others_stay_as_they_are(void **state)
{
	(void)state;
	struct base_rand rand;
	struct made m;
	uint8_t noise[PIECE_MAX];

	base_rand_init(&rand, 7);
	open_epoch(0);
	made_init(&m);
	add_cloudevent(&m, "order-", 1);
	assert_false(goes_and_comes(&m, 1));
	add_cloudevent(&m, "order-", 2);
	assert_true(goes_and_comes(&m, 2));
	m.items[1].meta_size--;
	assert_false(goes_and_comes(&m, 3));
	made_fini(&m);
	made_init(&m);
	for (unsigned i = 0; i < 10; i++) {
		for (size_t j = 0; j < sizeof noise; j++)
			noise[j] = (uint8_t)base_rand_next(&rand);
		add_event(&m, noise, sizeof noise, noise, sizeof noise);
	}
	assert_false(goes_and_comes(&m, 4));
	made_fini(&m);
}

/* A few bytes of it become others, come in or go out. */
static size_t changed(struct base_rand *rand, uint8_t *bytes, size_t size)
{
	for (size_t left = base_rand_below(rand, 4); left > 0; left--) {
		size_t n = 1 + base_rand_below(rand, 30), at;

		if (size + n <= PIECE_MAX && base_rand_below(rand, 2)) {
			at = base_rand_below(rand, size + 1);
			memmove(bytes + at + n, bytes + at, size - at);
			memset(bytes + at, (int)base_rand_below(rand, 3), n);
			size += n;
		} else if (size >= n) {
			at = base_rand_below(rand, size - n + 1);
			memmove(bytes + at, bytes + at + n, size - at - n);
			size -= n;
		}
		if (size > 0)
			bytes[base_rand_below(rand, size)] ^= 1;
	}
	return size;
}

/* Bytes of three values, so that much is alike by chance, too. */
static void whatever_there_is(void **state)
{
	(void)state;
	struct base_rand rand;
	unsigned shared = 0;

	base_rand_init(&rand, 1);
	open_epoch(0);
	for (uint64_t turn = 1; turn <= 300; turn++) {
		uint8_t meta[PIECE_MAX] = { 0 }, data[16] = { 1, 2, 3 };
		size_t size = base_rand_below(&rand, PIECE_MAX);
		struct made m;

		made_init(&m);
		for (size_t i = 0; i < size; i++)
			meta[i] = (uint8_t)base_rand_below(&rand, 3);
		for (size_t n = 1 + base_rand_below(&rand, 30); n > 0; n--) {
			if (base_rand_below(&rand, 8) == 0 && m.n > 0) /* a slot that was skipped */
				m.items[m.n++] = (struct store_item){
					.guard = STORE_GUARD_TIMER, .timer = "t", .slot_ms = 1 };
			size = base_rand_below(&rand, 20) ? changed(&rand, meta, size) : 0;
			add_event(&m, meta, size, data, base_rand_below(&rand, sizeof data));
		}
		shared += goes_and_comes(&m, turn);
		made_fini(&m);
	}
	assert_in_range(shared, 200, 299);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_batch_takes_less_room, flush),
		cmocka_unit_test_setup(others_stay_as_they_are, flush),
		cmocka_unit_test_setup(whatever_there_is, flush),
	};
	return cmocka_run_group_tests(tests, server_start, server_stop);
}
