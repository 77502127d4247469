/* Messages without memory: batches, outboxes, frames; and the client's engine, with a
 * broker of this process at the other end. libzmq gives up by itself when it has none: that
 * is an end like any other here.
 */
#include "tests/oom/oom.h"

#include "net/block.h"
#include "net/outbox.h"
#include "net/resolve.h"

/* ---- a batch ---------------------------------------------------------------------------- */

#define ITEMS 40

static uint8_t bytes[64 * 1024];

static Pirn__Item item_of(uint32_t slot)
{
	Pirn__Item item = PIRN__ITEM__INIT;

	item.has_slot = true;
	item.slot = slot;
	item.service = (char *)(uintptr_t) "hello";
	return item;
}

static struct net_payload payload_of(uint32_t slot)
{
	uint32_t meta = slot * 7 % 300, data = slot * 131 % 2000;

	return (struct net_payload){ .meta = bytes + slot,
		.data = bytes + slot + meta,
		.meta_size = meta,
		.data_size = data };
}

/* What was taken is in the message, whole and in order; what was not is not. */
static void expect_message(const struct net_batch *b, const uint32_t *taken, size_t n)
{
	struct base_arena arena;
	struct net_frame f;
	size_t offset = 0;

	base_arena_init(&arena, 4096, 8 << 20);
	assert_int_equal(b->n_items, n);
	if (n > 0) {
		assert_int_equal(net_frame_open(&arena, b->head.data, b->head.size, b->body.data,
					 b->body.size, &f),
			BASE_OK);
		assert_int_equal(f.head->n_items, n);
	}
	for (size_t i = 0; i < n; i++) {
		struct net_payload expected = payload_of(taken[i]);
		struct net_payload p = net_frame_payload(&f, f.head->items[i], &offset);

		assert_int_equal(f.head->items[i]->slot, taken[i]);
		assert_int_equal(p.meta_size, expected.meta_size);
		assert_int_equal(p.data_size, expected.data_size);
		if (p.meta_size + p.data_size > 0)
			assert_memory_equal(p.meta, expected.meta, p.meta_size + p.data_size);
	}
	base_arena_fini(&arena);
}

static void batch_path(void)
{
	uint32_t taken[ITEMS];
	struct net_batch b;
	size_t n = 0;

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 31);
	net_batch_init(&b);
	OOM(net_batch_start(&b, PIRN__KIND__SUBMIT));
	for (uint32_t i = 0; i < ITEMS; i++) {
		Pirn__Item item = item_of(i);
		struct net_payload p = payload_of(i);
		enum base_err err = OOM_GET(net_batch_item(&b, &item, &p));

		assert_true(err == BASE_OK || err == BASE_NOMEM);
		if (!err)
			taken[n++] = i;
	}
	expect_message(&b, taken, n);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	for (n = 0; n < 3; n++) {
		Pirn__Item item = item_of((uint32_t)n);
		struct net_payload p = payload_of((uint32_t)n);

		assert_int_equal(net_batch_item(&b, &item, &p), BASE_OK);
		taken[n] = (uint32_t)n;
	}
	expect_message(&b, taken, n);
	net_batch_fini(&b);
}

static void frame_path(void)
{
	struct base_arena arena;
	struct net_batch b;
	struct net_frame f;
	enum base_err err;

	net_batch_init(&b);
	net_batch_start(&b, PIRN__KIND__SUBMIT);
	for (uint32_t i = 0; i < 500; i++) {
		Pirn__Item item = item_of(i);

		assert_int_equal(net_batch_item(&b, &item, NULL), BASE_OK);
	}
	base_arena_init(&arena, 1024, 8 << 20);
	err = OOM_GET(
		net_frame_open(&arena, b.head.data, b.head.size, b.body.data, b.body.size, &f));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (!err)
		assert_int_equal(f.head->items[499]->slot, 499);
	base_arena_reset(&arena);
	assert_int_equal(
		net_frame_open(&arena, b.head.data, b.head.size, b.body.data, b.body.size, &f),
		BASE_OK);
	base_arena_fini(&arena);
	net_batch_fini(&b);
}

static void block_path(void)
{
	struct net_payload p = {
		.meta = bytes, .data = bytes + 10, .meta_size = 10, .data_size = 40000
	};
	struct base_block *block = OOM_GET(net_block_new(&p));
	zmq_msg_t msg;
	enum base_err err;

	if (!block)
		return;
	p.block = block;
	p.meta = block->data;
	p.data = block->data + 10;
	err = OOM_GET(net_block_message(&p, &msg));
	if (!err) {
		assert_memory_equal(zmq_msg_data(&msg), bytes, 40010);
		zmq_msg_close(&msg);
	}
	base_block_unref(&block);
}

/* ---- an outbox ----------------------------------------------------------------------------- */

static void on_broken(void *arg, struct net_dest *dest)
{
	(void)dest;
	++*(unsigned *)arg;
}

static size_t drain(void *from, uint32_t *slots, size_t room)
{
	struct base_arena arena;
	size_t n = 0;

	base_arena_init(&arena, 4096, 8 << 20);
	for (;;) {
		zmq_msg_t head, body;
		struct net_frame f;

		zmq_msg_init(&head);
		zmq_msg_init(&body);
		if (zmq_msg_recv(&head, from, ZMQ_DONTWAIT) < 0)
			break;
		assert_true(zmq_msg_more(&head));
		assert_true(zmq_msg_recv(&body, from, 0) >= 0);
		assert_int_equal(net_frame_open(&arena, zmq_msg_data(&head), zmq_msg_size(&head),
					 zmq_msg_data(&body), zmq_msg_size(&body), &f),
			BASE_OK);
		for (size_t i = 0; i < f.head->n_items; i++) {
			assert_true(n < room);
			slots[n++] = f.head->items[i]->slot;
		}
		zmq_msg_close(&head);
		zmq_msg_close(&body);
	}
	base_arena_fini(&arena);
	return n;
}

/* What was taken arrives, in order, as far as the destination was not given up; nothing else does. */
static void outbox_path(void)
{
	void *context = zmq_ctx_new(), *a = zmq_socket(context, ZMQ_PAIR),
	     *b = zmq_socket(context, ZMQ_PAIR);
	uint32_t taken[ITEMS], got[ITEMS];
	struct net_outbox box;
	struct net_dest d;
	unsigned broken = 0;
	size_t n = 0, n_got;

	assert_int_equal(zmq_bind(a, "inproc://x"), 0);
	assert_int_equal(zmq_connect(b, "inproc://x"), 0);
	net_outbox_init(&box, on_broken, &broken);
	net_dest_init(&d, &box, b, NULL, 0);
	for (uint32_t i = 0; i < ITEMS; i++) {
		Pirn__Item item = item_of(i);
		struct net_payload p = payload_of(i);
		enum base_err err;

		if (i % 10 == 9)
			p.data_size = 20000;
		err = OOM_GET(net_dest_item(&d, PIRN__KIND__SUBMIT, &item, &p));
		assert_true(err == BASE_OK || err == BASE_NOMEM || (err == BASE_GONE && broken));
		if (!err)
			taken[n++] = i;
		if (i % 8 == 7)
			OOM((void)net_outbox_flush(&box));
	}
	OOM((void)net_outbox_flush(&box));
	n_got = drain(a, got, ITEMS);
	assert_true(n_got == n || (broken && n_got < n));
	assert_memory_equal(got, taken, n_got * sizeof got[0]);
	assert_true(broken <= 1);
	net_dest_fini(&d);
	net_outbox_fini(&box);
	zmq_close(a);
	zmq_close(b);
	zmq_ctx_term(context);
}

/* ---- an event of libzmq's ------------------------------------------------------------------- */

/* Its endpoint has a name too long to lie in a message by itself. */
static void event_path(void)
{
	void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER),
	     *events = zmq_socket(context, ZMQ_PAIR);
	char address[128];

	assert_int_equal(zmq_socket_monitor(socket, "inproc://monitor", ZMQ_EVENT_ALL), 0);
	assert_int_equal(zmq_connect(events, "inproc://monitor"), 0);
	(void)snprintf(address, sizeof address,
		"ipc:///tmp/pirn-out-of-memory-with-a-long-name-%d.sock", (int)getpid());
	OOM((void)zmq_bind(socket, address));
	zmq_close(socket);
	zmq_close(events);
	zmq_ctx_term(context);
	(void)unlink(address + strlen("ipc://"));
}

/* ------------------------------------------------------------------------------------------- */

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("net: a batch", batch_path, 0)
SWEEP("net: a frame", frame_path, 0)
SWEEP("net: a block", block_path, 0)
SWEEP("net: an event of libzmq's", event_path, OOM_MAY_ABORT | OOM_THREADS)
SWEEP("net: an outbox", outbox_path, OOM_MAY_ABORT | OOM_THREADS)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch_path),
		cmocka_unit_test(test_frame_path),
		cmocka_unit_test(test_block_path),
		cmocka_unit_test(test_outbox_path),
		cmocka_unit_test(test_event_path),
	};

	return cmocka_run_group_tests_name("net, out of memory", tests, NULL, NULL);
}
