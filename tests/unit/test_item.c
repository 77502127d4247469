/* Heads packed and read by hand are those of protobuf-c: the same bytes, the same fields. Items are filled by the
 * descriptor, so that a field that is new in pirn.proto is seen here at once. */
#include "tests/unit/unit.h"

#include "base/rand.h"
#include "net/frame.h"
#include "net/item.h"

#define ROUNDS 3000

static const ProtobufCMessageDescriptor *const descriptor = &pirn__item__descriptor;
static struct base_rand rand_;
static struct base_arena arena;
static uint8_t pool[70000];

static int set_up(void **state)
{
	(void)state;
	base_rand_init(&rand_, 20);
	base_arena_init(&arena, 64 * 1024, 8 * 1024 * 1024);
	for (size_t i = 0; i < sizeof pool; i++)
		pool[i] = (uint8_t)('a' + i % 26);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	base_arena_fini(&arena);
	return 0;
}

static uint64_t some(uint64_t below)
{
	return base_rand_below(&rand_, below);
}

/* Of each size that a varint can have. */
static uint64_t number(unsigned bits)
{
	unsigned width = (unsigned)some(bits + 1);
	uint64_t value = base_rand_next(&rand_);

	return width == 0 ? 0 : value >> (64 - width);
}

static size_t length(size_t least)
{
	static const size_t lengths[] = { 0, 1, 16, 25, 126, 127, 128, 300 };
	size_t size = lengths[some(sizeof lengths / sizeof lengths[0])];

	return size < least ? least : size;
}

static void fill_field(Pirn__Item *item, const ProtobufCFieldDescriptor *f)
{
	uint8_t *at = (uint8_t *)item + f->offset;
	static char texts[64][512];
	char *text = texts[f->id % 64];
	uint64_t value;
	uint32_t small;

	assert_int_equal(f->label, PROTOBUF_C_LABEL_OPTIONAL);
	if (f->quantifier_offset)
		*(protobuf_c_boolean *)(void *)((uint8_t *)item + f->quantifier_offset) = true;
	switch (f->type) {
	case PROTOBUF_C_TYPE_UINT32:
		small = (uint32_t)number(32);
		memcpy(at, &small, sizeof small);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		value = number(64);
		memcpy(at, &value, sizeof value);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		*(ProtobufCBinaryData *)(void *)at =
			(ProtobufCBinaryData){ .len = length(1), .data = pool + some(1000) };
		break;
	case PROTOBUF_C_TYPE_STRING:
		value = length(0);
		memcpy(text, pool + some(3), value);
		text[value] = '\0';
		memcpy(at, &text, sizeof text);
		break;
	default:
		fail_msg("%s has a type that net/item.c does not know", f->name);
	}
}

static Pirn__Item random_item(unsigned one_in)
{
	Pirn__Item item = PIRN__ITEM__INIT;

	for (unsigned i = 0; i < descriptor->n_fields; i++)
		if (some(one_in) == 0)
			fill_field(&item, &descriptor->fields[i]);
	return item;
}

static void expect_packed(const Pirn__Item *item)
{
	static uint8_t mine[16384], theirs[16384];
	size_t size = pirn__item__get_packed_size(item), n;

	n = net_item_pack(item, mine);
	assert_int_equal(n, size);
	assert_true(net_item_bound(item) >= n);
	pirn__item__pack(item, theirs);
	assert_memory_equal(mine, theirs, size);
}

static void every_field_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < descriptor->n_fields; i++)
		for (unsigned k = 0; k < 200; k++) {
			Pirn__Item item = PIRN__ITEM__INIT;

			fill_field(&item, &descriptor->fields[i]);
			expect_packed(&item);
		}
}

static void expect_head(const Pirn__Head *head)
{
	static uint8_t bytes[400000], again[400000];
	size_t size = pirn__head__pack(head, bytes);
	Pirn__Head *read;

	base_arena_reset(&arena);
	read = net_head_read(&arena, bytes, size);
	assert_non_null(read);
	assert_int_equal(read->n_items, head->n_items);
	assert_int_equal(pirn__head__pack(read, again), size);
	assert_memory_equal(bytes, again, size);
}

static void any_head(void **state)
{
	static char service[] = "echo", empty[] = "";

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		Pirn__Head head = PIRN__HEAD__INIT;
		Pirn__Item items[8], *list[8];
		Pirn__Credit credit = PIRN__CREDIT__INIT, *credits = &credit;
		unsigned one_in = 1 + round % 6;

		credit.service = service;
		head.kind = (uint32_t)(1 + number(31));
		head.n_items = some(9);
		head.items = list;
		head.n_credits = some(2);
		head.credits = &credits;
		for (size_t i = 0; i < head.n_items; i++) {
			items[i] = random_item(one_in);
			if (some(2))
				items[i].service = some(5) ? service : empty;
			list[i] = &items[i];
			expect_packed(list[i]);
		}
		expect_head(&head);
	}
}

/* ---- what is left to protobuf-c --------------------------------------------- */

static Pirn__Head *read_bytes(const char *bytes, size_t size)
{
	base_arena_reset(&arena);
	return net_head_read(&arena, (const uint8_t *)bytes, size);
}

static void the_unusual_is_not_read(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *what;
	} odd[] = {
#define ODD(bytes, what) { bytes, sizeof bytes - 1, what }
		ODD("", "no kind"),
		ODD("\x08\x10\x08\x10", "two kinds"),
		ODD("\x08\x90\x80\x80\x80\x10", "a kind beyond 32 bits"),
		ODD("\x08\x10\x20\x01", "a field that no head has"),
		ODD("\x08\x10\x12", "an item without a length"),
		ODD("\x08\x10\x12\x02\x08", "an item that is cut short"),
		ODD("\x08\x10\x12\x04\x08\x01\x08\x02", "a field twice"),
		ODD("\x08\x10\x12\x04\x22\x00\x22\x00", "a text twice"),
		ODD("\x08\x10\x12\x02\x1a\x00", "no bytes"),
		ODD("\x08\x10\x12\x03\x1a\x02\x61", "bytes that go beyond the item"),
		ODD("\x08\x10\x12\x02\x0a\x00", "a number that is a text"),
		ODD("\x08\x10\x12\x06\x08\x80\x80\x80\x80\x10", "a number beyond 32 bits"),
		ODD("\x08\x10\x12\x01\x08", "a number that is not there"),
		ODD("\x08\x10\x12\x02\x08\x80", "half a number"),
		ODD("\x08\x10\x12\x0b\x78\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", "a number beyond 64 bits"),
		ODD("\x08\x10\x12\x08\x71\x01\x02\x03\x04\x05\x06\x07", "seven bytes of eight"),
		ODD("\x08\x10\x12\x04\xf8\x3f\x01\x00", "a field that no item has"),
		ODD("\x08\x10\x12\x03\x80\x80\x01", "a tag of three bytes"),
		ODD("\x08\x10\x1a\x01\xff", "a credit that is none"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
		if (read_bytes(odd[i].bytes, odd[i].size))
			fail_msg("%s was read", odd[i].what);
	assert_non_null(read_bytes("\x08\x10\x12\x02\x08\x01", 6));
	assert_non_null(read_bytes("\x08\x10\x12\x00", 4));
}

/* The net beneath: through net_frame_open it comes out as protobuf-c says. */
static void the_unusual_is_read_all_the_same(void **state)
{
	static const uint8_t twice[] = "\x08\x10\x12\x04\x08\x01\x08\x02";
	struct net_frame f;

	(void)state;
	base_arena_reset(&arena);
	assert_int_equal(net_frame_open(&arena, twice, sizeof twice - 1, NULL, 0, &f), BASE_OK);
	assert_int_equal(f.head->n_items, 1);
	assert_int_equal(f.head->items[0]->slot, 2);
}

/* Where a batch has foretold one byte for an item's length and it takes two. */
static void items_around_127_bytes(void **state)
{
	(void)state;
	for (size_t size = 100; size < 160; size++) {
		Pirn__Item item = PIRN__ITEM__INIT;
		char error[201] = "";
		struct net_batch b;
		struct net_frame f;

		memcpy(error, pool, size);
		error[size] = '\0';
		item.error = error;
		item.has_slot = true;
		item.slot = (uint32_t)size;
		net_batch_init(&b);
		net_batch_start(&b, PIRN__KIND__RESULT);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(net_batch_item(&b, &item, NULL), BASE_OK);
		base_arena_reset(&arena);
		assert_int_equal(net_frame_open(&arena, b.head.data, b.head.size, NULL, 0, &f), BASE_OK);
		assert_int_equal(f.head->n_items, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_string_equal(f.head->items[i]->error, error);
			assert_int_equal(f.head->items[i]->slot, size);
		}
		net_batch_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_alone),
		cmocka_unit_test(any_head),
		cmocka_unit_test(the_unusual_is_not_read),
		cmocka_unit_test(the_unusual_is_read_all_the_same),
		cmocka_unit_test(items_around_127_bytes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
