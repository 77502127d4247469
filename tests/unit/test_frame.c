/* Messages: what is written is what is read, within the limits, and nothing else. */
#include "tests/unit/unit.h"

#include "base/arena.h"
#include "net/frame.h"

#include "tests/unit/count_alloc.h"

static struct base_arena arena;

static int set_up(void **state)
{
	(void)state;
	base_arena_init(&arena, 512 * 1024, 8 * 1024 * 1024);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	base_arena_fini(&arena);
	return 0;
}

static enum base_err open_bytes(
	const void *head, size_t head_size, const void *body, size_t body_size, struct net_frame *f)
{
	base_arena_reset(&arena);
	return net_frame_open(&arena, head, head_size, body, body_size, f);
}

static enum base_err open_batch(const struct net_batch *b, struct net_frame *f)
{
	return open_bytes(b->head.data, b->head.size, b->body.data, b->body.size, f);
}

/* The example that proto/PROTOCOL.md works through, byte by byte. */
static const char example_head[] =
	"08101241082a10031a1001975bd9e4000123456789abcdef0123220568656c6c6f2802388827401448036a19"
	"0af7651916cd43dd8448eb211c80319cb7ad6b716920333101";
static const char example_body[] = "0a03474554120d2f68656c6c6f3f6e616d653d58782178";

static void print_hex(char *out, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
}

static void the_worked_example(void **state)
{
	static uint8_t id[16] = { 0x01, 0x97, 0x5b, 0xd9, 0xe4, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89,
		0xab, 0xcd, 0xef, 0x01, 0x23 };
	static uint8_t trace[25] = { 0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48,
		0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c, 0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31,
		0x01 };
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;
	uint8_t meta[64];
	char text[512] = "";
	struct net_payload payload = {
		.meta = meta, .data = (const uint8_t *)"x!x", .data_size = 3
	};
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_batch b;
	struct net_frame f;

	(void)state;
	http.method.data = (uint8_t *)(uintptr_t) "GET";
	http.method.len = 3;
	http.target.data = (uint8_t *)(uintptr_t) "/hello?name=X";
	http.target.len = 13;
	payload.meta_size = (uint32_t)pirn__http_request__pack(&http, meta);
	item.has_slot = item.has_generation = item.has_flags = item.has_left_ms = item.has_id =
		item.has_trace = 1;
	item.slot = 42;
	item.generation = 3;
	item.id.data = id;
	item.id.len = sizeof id;
	item.service = (char *)(uintptr_t) "hello";
	item.flags = PIRN__ITEM_FLAG__IDEMPOTENT;
	item.left_ms = 5000;
	item.trace.data = trace;
	item.trace.len = sizeof trace;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	assert_int_equal(net_batch_item(&b, &item, &payload), BASE_OK);
	print_hex(text, b.head.data, b.head.size);
	assert_string_equal(text, example_head);
	memset(text, 0, sizeof text);
	print_hex(text, b.body.data, b.body.size);
	assert_string_equal(text, example_body);
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	assert_string_equal(f.head->items[0]->service, "hello");
	net_batch_fini(&b);
}

static void add(struct net_batch *b, uint32_t slot, const char *meta, const char *data)
{
	struct net_payload p = { .meta = (const uint8_t *)meta,
		.data = (const uint8_t *)data,
		.meta_size = (uint32_t)strlen(meta),
		.data_size = (uint32_t)strlen(data) };
	Pirn__Item item = PIRN__ITEM__INIT;

	item.has_slot = 1;
	item.slot = slot;
	assert_int_equal(net_batch_item(b, &item, &p), BASE_OK);
}

static void a_batch_comes_back(void **state)
{
	struct net_batch b;
	struct net_frame f;
	struct net_payload p;
	size_t offset = 0;

	(void)state;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__DISPATCH);
	add(&b, 1, "meta", "data");
	add(&b, 2, "", "");
	add(&b, 300, "", "only data");
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	assert_int_equal(f.head->kind, PIRN__KIND__DISPATCH);
	assert_int_equal(f.head->n_items, 3);
	p = net_frame_payload(&f, f.head->items[0], &offset);
	assert_memory_equal(p.meta, "metadata", 8);
	assert_ptr_equal(p.data, p.meta + 4);
	p = net_frame_payload(&f, f.head->items[1], &offset);
	assert_int_equal(p.meta_size + p.data_size, 0);
	p = net_frame_payload(&f, f.head->items[2], &offset);
	assert_memory_equal(p.data, "only data", 9);
	assert_int_equal(f.head->items[2]->slot, 300);
	assert_int_equal(offset, f.body_size);
	net_batch_fini(&b);
}

static void credits_come_back(void **state)
{
	Pirn__Credit credit = PIRN__CREDIT__INIT;
	struct net_batch b;
	struct net_frame f;

	(void)state;
	credit.service = (char *)(uintptr_t) "hello";
	credit.has_granted = 1;
	credit.granted = 1ull << 40;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__CREDIT);
	assert_int_equal(net_batch_credit(&b, &credit), BASE_OK);
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	assert_int_equal(f.head->credits[0]->granted, 1ull << 40);

	net_batch_start(&b, PIRN__KIND__RESULT);
	add(&b, 7, "", "x");
	assert_int_equal(net_batch_credit(&b, &credit), BASE_OK);
	add(&b, 8, "", "y");
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	assert_int_equal(f.head->n_items, 2);
	assert_int_equal(f.head->n_credits, 1);
	net_batch_fini(&b);
}

static void a_batch_has_limits(void **state)
{
	static uint8_t bytes[NET_MAX_ITEM + 1];
	struct net_payload p = { .data = bytes, .data_size = NET_COPY_MAX };
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_batch b;
	struct net_frame f;
	size_t n = 0;

	(void)state;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	while (net_batch_has_room(&b, 0)) {
		assert_int_equal(net_batch_item(&b, &item, NULL), BASE_OK);
		n++;
	}
	assert_int_equal(n, NET_MAX_ITEMS);
	assert_int_equal(net_batch_item(&b, &item, NULL), BASE_FULL);
	assert_int_equal(open_batch(&b, &f), BASE_OK);

	net_batch_start(&b, PIRN__KIND__SUBMIT);
	for (n = 0; net_batch_has_room(&b, NET_COPY_MAX); n++)
		assert_int_equal(net_batch_item(&b, &item, &p), BASE_OK);
	assert_int_equal(n, NET_MAX_BODY / NET_COPY_MAX);
	assert_int_equal(net_batch_item(&b, &item, &p), BASE_FULL);
	assert_int_equal(open_batch(&b, &f), BASE_OK);

	/* A large one only alone, and by reference. */
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	p.data_size = NET_COPY_MAX + 1;
	assert_int_equal(net_batch_item(&b, &item, &p), BASE_OK);
	assert_int_equal(b.body.size, 0);
	assert_ptr_equal(b.large.data, bytes);
	assert_false(net_batch_has_room(&b, 0));
	assert_int_equal(open_bytes(b.head.data, b.head.size, bytes, p.data_size, &f), BASE_OK);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	assert_int_equal(net_batch_item(&b, &item, NULL), BASE_OK);
	assert_int_equal(net_batch_item(&b, &item, &p), BASE_FULL);

	net_batch_start(&b, PIRN__KIND__SUBMIT);
	p.data_size = NET_MAX_ITEM + 1;
	assert_int_equal(net_batch_item(&b, &item, &p), BASE_TOO_LARGE);
	assert_int_equal(b.n_items, 0);
	net_batch_fini(&b);
}

/* Items that go together, or not at all: the batch is as it was. */
static void a_run_is_whole_or_none(void **state)
{
	enum { N = 20 };
	static char name[15000];
	static const uint8_t bytes[10];
	Pirn__Item one = PIRN__ITEM__INIT, run[N];
	struct net_payload payloads[N];
	struct net_batch b;
	struct net_frame f;
	size_t head, body;

	(void)state;
	memset(name, 'a', sizeof name - 1);
	for (size_t i = 0; i < N; i++) {
		run[i] = one;
		run[i].service = name; /* N of them are more than a head takes, seven are not */
		payloads[i] = (struct net_payload){ .data = bytes, .data_size = sizeof bytes };
	}
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	head = b.head.size;
	assert_int_equal(net_batch_run(&b, run, payloads, N), BASE_TOO_LARGE);
	assert_int_equal(b.head.size, head);
	assert_int_equal(b.body.size + b.n_items, 0);

	assert_int_equal(net_batch_run(&b, run, payloads, 7), BASE_OK);
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	assert_int_equal(f.head->n_items, 7);
	head = b.head.size;
	body = b.body.size;
	assert_int_equal(net_batch_run(&b, run, payloads, 7), BASE_FULL);
	assert_int_equal(b.head.size, head);
	assert_int_equal(b.body.size, body);
	assert_int_equal(b.n_items, 7);
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	net_batch_fini(&b);
}

static void an_items_head_has_a_limit(void **state)
{
	static char name[17000];
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_batch b;
	size_t size;

	(void)state;
	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	item.service = name;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	size = b.head.size;
	assert_int_equal(net_batch_item(&b, &item, NULL), BASE_TOO_LARGE);
	assert_int_equal(b.head.size, size);
	net_batch_fini(&b);
}

static void no_head_may_be_cut(void **state)
{
	struct net_batch b;
	struct net_frame f;
	unsigned good = 0;

	(void)state;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	add(&b, 1, "meta", "data");
	add(&b, 2, "", "data");
	for (size_t size = 0; size < b.head.size; size++)
		good += open_bytes(b.head.data, size, b.body.data, b.body.size, &f) == BASE_OK;
	assert_int_equal(good, 0);
	net_batch_fini(&b);
}

static void sizes_must_add_up(void **state)
{
	struct net_batch b;
	struct net_frame f;

	(void)state;
	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	add(&b, 1, "meta", "data");
	assert_int_equal(open_bytes(b.head.data, b.head.size, "metadata", 8, &f), BASE_OK);
	assert_int_equal(open_bytes(b.head.data, b.head.size, "metadat", 7, &f), BASE_PROTOCOL);
	assert_int_equal(open_bytes(b.head.data, b.head.size, "metadata!", 9, &f), BASE_PROTOCOL);
	assert_int_equal(open_bytes(b.head.data, b.head.size, NULL, 0, &f), BASE_PROTOCOL);
	net_batch_fini(&b);
}

/* meta_size + data_size is 2^32 + 8: it must not wrap. */
static void sizes_do_not_wrap(void **state)
{
	static const uint8_t head[] = { 0x08, 0x10, 0x12, 0x09, 0x40, 0xff, 0xff, 0xff, 0xff, 0x0f,
		0x48, 0x09, 0x38, 0x00, 0x00 };
	struct net_frame f;

	(void)state;
	assert_int_equal(open_bytes(head, 13, "12345678", 8, &f), BASE_PROTOCOL);
}

static size_t pack_head(const Pirn__Head *head, uint8_t *out, size_t room)
{
	assert_true(pirn__head__get_packed_size(head) <= room);
	return pirn__head__pack(head, out);
}

static void items_are_counted(void **state)
{
	static uint8_t bytes[NET_MAX_HEAD + 1];
	static Pirn__Item item = PIRN__ITEM__INIT;
	static Pirn__Item *items[NET_MAX_ITEMS + 1];
	Pirn__Head head = PIRN__HEAD__INIT;
	struct net_frame f;

	(void)state;
	for (size_t i = 0; i <= NET_MAX_ITEMS; i++)
		items[i] = &item;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = items;
	head.n_items = NET_MAX_ITEMS;
	assert_int_equal(
		open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), NULL, 0, &f), BASE_OK);
	head.n_items = NET_MAX_ITEMS + 1;
	assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), NULL, 0, &f),
		BASE_PROTOCOL);
	head.n_items = 0;
	assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), NULL, 0, &f),
		BASE_PROTOCOL);
}

static void kinds_have_shapes(void **state)
{
	static Pirn__Item item = PIRN__ITEM__INIT;
	static Pirn__Credit credit = PIRN__CREDIT__INIT;
	Pirn__Item *items[] = { &item };
	Pirn__Credit *credits[] = { &credit };
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t bytes[64];
	struct net_frame f;

	(void)state;
	for (uint32_t kind = 0; kind < 40; kind++) {
		bool control = kind >= PIRN__KIND__HELLO && kind <= PIRN__KIND__REGISTRY;
		bool data = kind >= PIRN__KIND__SUBMIT && kind <= PIRN__KIND__ANSWER;
		bool takes_credits = kind == PIRN__KIND__CREDIT;

		head.kind = kind;
		head.items = items;
		head.credits = credits;
		head.n_items = head.n_credits = 0;
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0,
					 &f) == BASE_OK,
			control || takes_credits);
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "x", 1,
					 &f) == BASE_OK,
			control);
		head.n_items = 1;
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0,
					 &f) == BASE_OK,
			data);
		head.n_credits = 1;
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0,
					 &f) == BASE_OK,
			kind == PIRN__KIND__RESULT);
		head.n_items = 0;
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0,
					 &f) == BASE_OK,
			takes_credits);
	}
	head.kind = 0x80000000u;
	assert_int_equal(
		open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0, &f), BASE_PROTOCOL);
}

static void ids_have_sizes(void **state)
{
	static uint8_t zeros[32];
	Pirn__Item item = PIRN__ITEM__INIT;
	Pirn__Item *items[] = { &item };
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t bytes[128];
	struct net_frame f;

	(void)state;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = items;
	head.n_items = 1;
	for (size_t size = 0; size < 32; size++) {
		item.has_id = 1;
		item.id.data = zeros;
		item.id.len = size;
		item.has_trace = 0;
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0,
					 &f) == BASE_OK,
			size == 16);
		item.has_id = 0;
		item.has_trace = 1;
		item.trace.data = zeros;
		item.trace.len = size;
		assert_int_equal(open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0,
					 &f) == BASE_OK,
			size == 25);
	}
}

static bool opens(const Pirn__Item *item)
{
	Pirn__Item *items[] = { (Pirn__Item *)(uintptr_t)item };
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t bytes[512];
	struct net_frame f;

	head.kind = PIRN__KIND__SUBMIT;
	head.items = items;
	head.n_items = 1;
	return open_bytes(bytes, pack_head(&head, bytes, sizeof bytes), "", 0, &f) == BASE_OK;
}

static void what_events_carry_has_sizes(void **state)
{
	static uint8_t zeros[300];
	char text[300];

	(void)state;
	memset(text, 'e', sizeof text);
	for (size_t size = 0; size < sizeof zeros; size++) {
		Pirn__Item key = PIRN__ITEM__INIT, hash = PIRN__ITEM__INIT,
			   error = PIRN__ITEM__INIT;

		key.has_key = hash.has_hash = 1;
		key.key.data = hash.hash.data = zeros;
		key.key.len = hash.hash.len = size;
		assert_int_equal(opens(&key), size >= 1 && size <= 255);
		assert_int_equal(opens(&hash), size == 16);
		error.error = text + sizeof text - 1 - size;
		text[sizeof text - 1] = '\0';
		assert_int_equal(opens(&error), size <= 200);
	}
}

/* protobuf-c keeps each unknown field in an allocation of its own: the arena's bound must hold. */
static void a_hostile_head_is_bounded(void **state)
{
	static uint8_t bytes[NET_MAX_HEAD];
	struct net_frame f;

	(void)state;
	for (size_t i = 0; i + 2 <= sizeof bytes; i += 2) {
		bytes[i] = 0x78; /* field 15, a varint */
		bytes[i + 1] = 0;
	}
	bytes[0] = 0x08;
	bytes[1] = PIRN__KIND__BEAT;
	(void)!open_bytes(bytes, sizeof bytes, NULL, 0, &f);
	assert_true(arena.used <= arena.max_bytes);
	assert_int_equal(open_bytes(bytes, 0, NULL, 0, &f), BASE_PROTOCOL);
	assert_int_equal(open_bytes(bytes, 2, NULL, 0, &f), BASE_OK);
	assert_int_equal(open_bytes(bytes, sizeof bytes + 1, NULL, 0, &f), BASE_PROTOCOL);
}

static void unknown_fields_are_ignored(void **state)
{
	static const uint8_t head[] = { 0x08, PIRN__KIND__BEAT, 0xf8, 0x07, 0x01 };
	struct net_frame f;

	(void)state;
	assert_int_equal(open_bytes(head, sizeof head, "", 0, &f), BASE_OK);
	assert_int_equal(f.head->kind, PIRN__KIND__BEAT);
}

static void fill(struct net_batch *b)
{
	net_batch_start(b, PIRN__KIND__REPLY);
	for (uint32_t i = 0; i < 1000; i++)
		add(b, i, "meta", "two hundred bytes of data, or nearly so");
}

static void a_steady_state_allocates_nothing(void **state)
{
	struct net_batch b;
	struct net_frame f;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	net_batch_init(&b);
	fill(&b);
	assert_int_equal(open_batch(&b, &f), BASE_OK);
	count_alloc_start();
	for (int i = 0; i < 100; i++) {
		fill(&b);
		assert_int_equal(open_batch(&b, &f), BASE_OK);
	}
	assert_int_equal(count_alloc_stop(), 0);
	net_batch_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_worked_example),
		cmocka_unit_test(a_batch_comes_back),
		cmocka_unit_test(credits_come_back),
		cmocka_unit_test(a_batch_has_limits),
		cmocka_unit_test(a_run_is_whole_or_none),
		cmocka_unit_test(an_items_head_has_a_limit),
		cmocka_unit_test(no_head_may_be_cut),
		cmocka_unit_test(sizes_must_add_up),
		cmocka_unit_test(sizes_do_not_wrap),
		cmocka_unit_test(items_are_counted),
		cmocka_unit_test(kinds_have_shapes),
		cmocka_unit_test(ids_have_sizes),
		cmocka_unit_test(what_events_carry_has_sizes),
		cmocka_unit_test(a_hostile_head_is_bounded),
		cmocka_unit_test(unknown_fields_are_ignored),
		cmocka_unit_test(a_steady_state_allocates_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
