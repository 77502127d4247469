/* Events for all who subscribe, and events with one fate, through brokers: in one message, once, whatever falls. */
#include "tests/unit/engine_rig.h"

#define N 40

static const uint8_t hash[16];
static struct client_request requests[N];
static uint8_t keys[N];

static struct {
	unsigned ended;
	size_t n;
	struct client_reply replies[N];
} told;

static int set_up(void **state)
{
	memset(&told, 0, sizeof told);
	for (int i = 0; i < N; i++) {
		keys[i] = (uint8_t)i;
		requests[i] = (struct client_request){ .type = "order.created",
			.source = "/shop",
			.timeout_ms = 10000,
			.event = true,
			.key = &keys[i],
			.key_size = 1,
			.hash = hash,
			.payload = { .data = &keys[i], .data_size = 1 } };
		memset(requests[i].id, i + 1, sizeof requests[i].id);
	}
	return rig_set_up(state);
}

static void on_replies(void *arg, const struct client_reply *replies, size_t n)
{
	(void)arg;
	told.ended++;
	told.n = n;
	memcpy(told.replies, replies, n * sizeof *replies);
}

static void submit(size_t n)
{
	assert_int_equal(client_engine_batch(engine, requests, n, on_replies, NULL), BASE_OK);
	assert_int_equal(told.ended, 0);
}

/* n items from first on are one run: one message, TOGETHER but the last. */
static void assert_run(const struct fake_broker *broker, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		const struct fake_item *item = &broker->items[i];

		assert_int_equal(item->kind, PIRN__KIND__SUBMIT);
		assert_int_equal(item->message, broker->items[first].message);
		assert_int_equal((item->flags & PIRN__ITEM_FLAG__TOGETHER) != 0, i + 1 < first + n);
		assert_true(item->flags & PIRN__ITEM_FLAG__EVENT);
		assert_string_equal(item->type, "order.created");
		assert_string_equal(item->source, "/shop");
		assert_string_equal(item->service, "");
		assert_int_equal(item->number, i - first + 1);
	}
}

static void one_without_a_service_says_what_it_is(void **state)
{
	(void)state;
	rig_start(1, 0);
	requests[0].subject = "seven";
	submit(1);
	UNTIL(&f, b[0]->n_items == 1);
	assert_run(b[0], 0, 1);
	assert_string_equal(fake_last(b[0])->subject, "seven");
	fake_accept(b[0], fake_last(b[0]), NULL);
	UNTIL(&f, told.ended);
	assert_int_equal(told.n, 1);
	assert_int_equal(told.replies[0].status, 202);
}

static void a_batch_is_one_message(void **state)
{
	static const uint8_t first[16] = "the first one's";

	(void)state;
	rig_start(2, 0);
	submit(N);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == N);
	assert_int_equal(client_engine_open(engine), N);
	for (int k = 0; k < 2; k++)
		if (b[k]->n_items) {
			assert_run(b[k], 0, N);
			for (size_t i = 0; i < N; i++) {
				assert_int_equal(told.ended, 0);
				fake_accept(b[k], &b[k]->items[i], i == 3 ? first : NULL);
			}
		}
	UNTIL(&f, told.ended);
	assert_int_equal(told.n, N);
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(told.replies[i].reason, PIRN__REASON__NONE);
		assert_int_equal(told.replies[i].replayed, i == 3);
		assert_memory_equal(told.replies[i].id, i == 3 ? first : requests[i].id, 16);
	}
	assert_int_equal(client_engine_open(engine), 0);
}

/* Large payloads would travel alone, were they alone. */
static void large_ones_stay_together(void **state)
{
	static uint8_t large[300 * 1024];

	(void)state;
	rig_start(1, 0);
	for (int i = 0; i < 3; i++)
		requests[i].payload =
			(struct net_payload){ .data = large, .data_size = sizeof large };
	submit(3);
	UNTIL(&f, b[0]->n_items == 3);
	assert_run(b[0], 0, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(b[0]->items[i].data_size, sizeof large);
		fake_accept(b[0], &b[0]->items[i], NULL);
	}
	UNTIL(&f, told.ended);
	told.ended = 0;
	requests[3] = requests[0];
	assert_int_equal(
		client_engine_batch(engine, requests, 4, on_replies, NULL), BASE_TOO_LARGE);
	assert_int_equal(client_engine_open(engine), 0);
}

static void long_words_fit_or_are_refused(void **state)
{
	static char word[CLIENT_TOPIC_MAX + 2];

	(void)state;
	rig_start(1, 0);
	memset(word, 'a', sizeof word - 1);
	requests[0].type = word;
	assert_int_equal(client_engine_batch(engine, requests, 1, on_replies, NULL), BASE_INVALID);
	word[CLIENT_TOPIC_MAX] = '\0';
	for (int i = 0; i < N; i++)
		requests[i].source = requests[i].subject = word;
	requests[0].type = word;
	assert_int_equal(
		client_engine_batch(engine, requests, N, on_replies, NULL), BASE_TOO_LARGE);
	submit(10);
	UNTIL(&f, b[0]->n_items == 10);
	assert_int_equal(b[0]->items[0].message, b[0]->items[9].message);
}

static void all_are_refused_as_one_and_go_elsewhere(void **state)
{
	int k;

	(void)state;
	rig_start(2, 0);
	submit(5);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 5);
	k = b[0]->n_items ? 0 : 1;
	for (int i = 0; i < 5; i++)
		rig_refuse(b[k], &b[k]->items[i], PIRN__REASON__NOT_DURABLE);
	UNTIL(&f, b[!k]->n_items == 5);
	assert_run(b[!k], 0, 5);
	for (int i = 0; i < 5; i++)
		rig_refuse(b[!k], &b[!k]->items[i], PIRN__REASON__QUEUE_FULL);
	UNTIL(&f, told.ended);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(told.replies[i].reason, PIRN__REASON__QUEUE_FULL);
		assert_int_equal(told.replies[i].status, 429);
	}
	assert_int_equal(b[k]->n_items, 5);
}

static void what_was_not_heard_is_sent_again_in_one_message(void **state)
{
	int k;

	(void)state;
	rig_start(2, 0);
	submit(5);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 5);
	k = b[0]->n_items ? 0 : 1;
	fake_accept(b[k], &b[k]->items[1], NULL);
	for (int i = 0; i < 5; i++)
		if (i != 1)
			rig_refuse(b[k], &b[k]->items[i], PIRN__REASON__MOVED);
	UNTIL(&f, b[!k]->n_items == 4);
	for (int i = 0; i < 4; i++) {
		const struct fake_item *again = &b[!k]->items[i],
				       *old = &b[k]->items[i < 1 ? i : i + 1];

		assert_true(again->lane == old->lane && again->number == old->number);
		assert_memory_equal(again->id, old->id, 16);
		assert_int_equal(again->message, b[!k]->items[0].message);
		assert_int_equal((again->flags & PIRN__ITEM_FLAG__TOGETHER) != 0, i < 3);
	}
	for (int i = 0; i < 3; i++)
		fake_accept(b[!k], &b[!k]->items[i], NULL);
	rig_refuse(b[!k], &b[!k]->items[3],
		PIRN__REASON__QUEUE_FULL); /* in doubt: it may be there all the same */
	UNTIL(&f, b[k]->n_items == 6 || b[!k]->n_items == 5);
	fake_free(&b[k]);
	b[k] = NULL;
	UNTIL(&f, b[!k]->n_items > 4);
	assert_int_equal(fake_last(b[!k])->number, 5);
	fake_accept(b[!k], fake_last(b[!k]), NULL);
	UNTIL(&f, told.ended);
	assert_int_equal(told.n, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(told.replies[i].reason, PIRN__REASON__NONE);
}

static void a_lost_link_leaves_them_in_doubt(void **state)
{
	(void)state;
	rig_start(1, 0);
	for (int i = 0; i < N; i++)
		requests[i].timeout_ms = 300;
	submit(3);
	UNTIL(&f, b[0]->n_items == 3);
	fake_accept(b[0], &b[0]->items[0], NULL);
	fake_free(&b[0]);
	UNTIL(&f, told.ended);
	assert_int_equal(told.n, 3);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(told.replies[i].reason, PIRN__REASON__UNDECIDED);
		assert_int_equal(told.replies[i].status, 503);
	}
}

static void nobody_subscribes(void **state)
{
	(void)state;
	rig_start(1, 0);
	submit(2);
	UNTIL(&f, b[0]->n_items == 2);
	for (int i = 0; i < 2; i++)
		rig_refuse(b[0], &b[0]->items[i], PIRN__REASON__NO_SUBSCRIBER);
	UNTIL(&f, told.ended);
	assert_int_equal(told.replies[0].reason, PIRN__REASON__NO_SUBSCRIBER);
	assert_int_equal(told.replies[0].status, 404);
}

static void an_end_answers_them(void **state)
{
	(void)state;
	rig_start(0, 60000);
	submit(3);
	client_engine_free(&engine);
	assert_int_equal(told.ended, 1);
	assert_int_equal(told.n, 3);
	assert_int_equal(told.replies[2].reason, PIRN__REASON__CANCELLED);
}

static void what_is_no_event_is_not_taken(void **state)
{
	(void)state;
	rig_start(1, 0);
	requests[1].event = false;
	assert_int_equal(client_engine_batch(engine, requests, 2, on_replies, NULL), BASE_INVALID);
	requests[1] = requests[0];
	requests[1].type = "";
	assert_int_equal(client_engine_batch(engine, requests, 2, on_replies, NULL), BASE_INVALID);
	requests[1].type = NULL;
	assert_int_equal(client_engine_batch(engine, requests, 2, on_replies, NULL), BASE_INVALID);
	requests[1].service = "a";
	requests[1].type = "both";
	assert_int_equal(client_engine_batch(engine, requests, 2, on_replies, NULL), BASE_INVALID);
	assert_int_equal(client_engine_open(engine), 0);
	assert_int_equal(told.ended, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_without_a_service_says_what_it_is),
		TEST(a_batch_is_one_message),
		TEST(large_ones_stay_together),
		TEST(long_words_fit_or_are_refused),
		TEST(all_are_refused_as_one_and_go_elsewhere),
		TEST(what_was_not_heard_is_sent_again_in_one_message),
		TEST(a_lost_link_leaves_them_in_doubt),
		TEST(nobody_subscribes),
		TEST(an_end_answers_them),
		TEST(what_is_no_event_is_not_taken),
	};

	return cmocka_run_group_tests_name("engine_batch", tests, NULL, NULL);
}
