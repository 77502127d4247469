/* The broker's side: batches out, messages in, peers that die, and strangers that
 * speak something else, over real sockets.
 */
#include "tests/unit/net_fixture.h"

#include "net/peers.h"

static struct fixture f;
static struct fake_broker *b;
static unsigned port;
static char address[64];

static int set_up(void **state)
{
	char both[256];

	(void)state;
	fixture_init(&f);
	port = fixture_port();
	snprintf(address, sizeof address, "tcp://127.0.0.1:%u", port);
	snprintf(both, sizeof both, "%s,%s", address, fixture_ipc(&f, "broker"));
	b = fake_new(f.loop, both, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (b)
		fake_free(&b);
	fixture_fini(&f);
	return 0;
}

/* ---- a peer of the test's own, without any of our code ------------------------ */

static void *peer_new(int type, const char *endpoint)
{
	void *socket = zmq_socket(net_loop_zmq(f.loop), type);
	const int zero = 0;

	assert_non_null(socket);
	zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
	assert_int_equal(zmq_connect(socket, endpoint), 0);
	return socket;
}

static void send_bytes(
	void *socket, const void *head, size_t head_size, const void *body, size_t body_size)
{
	assert_true(zmq_send(socket, head, head_size, ZMQ_SNDMORE) >= 0);
	assert_true(zmq_send(socket, body, body_size, 0) >= 0);
}

static void send_kind(void *socket, uint32_t kind)
{
	uint8_t head[2] = { 0x08, (uint8_t)kind };

	send_bytes(socket, head, sizeof head, NULL, 0);
}

static void send_hello(void *socket)
{
	static uint8_t boot[16];
	Pirn__Hello hello = PIRN__HELLO__INIT;
	uint8_t head[2] = { 0x08, PIRN__KIND__HELLO }, body[128];

	boot[0]++;
	hello.version = 1;
	hello.role = PIRN__ROLE__CLIENT;
	hello.boot.data = boot;
	hello.boot.len = sizeof boot;
	send_bytes(socket, head, sizeof head, body, pirn__hello__pack(&hello, body));
}

static uint32_t peer_up(void *socket)
{
	size_t n = b->n_peers;

	send_hello(socket);
	UNTIL(&f, b->n_peers == n + 1);
	return b->peers[n];
}

struct received {
	uint8_t head[NET_MAX_HEAD];
	size_t head_size;
	uint8_t *body;
	size_t body_size;
	Pirn__Head *unpacked;
};

static bool receive(void *socket, struct received *r)
{
	zmq_msg_t msg;
	int rc = zmq_recv(socket, r->head, sizeof r->head, ZMQ_DONTWAIT);

	if (rc < 0)
		return false;
	r->head_size = (size_t)rc;
	zmq_msg_init(&msg);
	assert_true(zmq_msg_recv(&msg, socket, 0) >= 0);
	assert_false(zmq_msg_more(&msg));
	r->body_size = zmq_msg_size(&msg);
	r->body = realloc(r->body, r->body_size + 1);
	assert_non_null(r->body);
	memcpy(r->body, zmq_msg_data(&msg), r->body_size);
	zmq_msg_close(&msg);
	if (r->unpacked)
		pirn__head__free_unpacked(r->unpacked, NULL);
	r->unpacked = pirn__head__unpack(NULL, r->head_size, r->head);
	assert_non_null(r->unpacked);
	return true;
}

static void received_free(struct received **r)
{
	if ((*r)->unpacked)
		pirn__head__free_unpacked((*r)->unpacked, NULL);
	free((*r)->body);
	free(*r);
	*r = NULL;
}

/* The peer's socket is not in the loop: it is looked at every few milliseconds. */
static void on_poll(uv_timer_t *timer)
{
	(void)timer;
}

static void await(void *socket, struct received *r)
{
	uv_timer_t *tick = calloc(1, sizeof *tick);

	uv_timer_init(net_loop_uv(f.loop), tick);
	uv_timer_start(tick, on_poll, 1, 1);
	UNTIL(&f, receive(socket, r));
	uv_close((uv_handle_t *)tick, (uv_close_cb)free);
}

static void await_kind(void *socket, struct received *r, uint32_t kind)
{
	do
		await(socket, r);
	while (r->unpacked->kind != kind);
}

/* ---- what is sent --------------------------------------------------------------- */

static void a_peer_is_heard_and_answered(void **state)
{
	void *peer = peer_new(ZMQ_DEALER, address);
	struct received *r = calloc(1, sizeof *r);

	(void)state;
	assert_true(peer_up(peer) > 0);
	await(peer, r);
	assert_int_equal(r->unpacked->kind, PIRN__KIND__WELCOME);
	UNTIL(&f, net_router_stats(b->router)->peers == 1);
	assert_int_equal(net_router_stats(b->router)->messages_in, 1);
	assert_int_equal(net_router_stats(b->router)->malformed, 0);
	received_free(&r);
	zmq_close(peer);
}

static void items_of_a_turn_are_one_message(void **state)
{
	void *peer = peer_new(ZMQ_DEALER, fixture_ipc(&f, "broker"));
	struct received *r = calloc(1, sizeof *r);
	uint32_t number = peer_up(peer);
	uint32_t next = 0;

	(void)state;
	await_kind(peer, r, PIRN__KIND__WELCOME);
	for (uint32_t i = 0; i < 1500; i++)
		assert_int_equal(
			fake_send(b, number, PIRN__KIND__REPLY, i, 1, 200, 0, "x", 1), BASE_OK);
	for (size_t expected = NET_MAX_ITEMS; next < 1500; expected = 1500 - NET_MAX_ITEMS) {
		await(peer, r);
		assert_int_equal(r->unpacked->kind, PIRN__KIND__REPLY);
		assert_int_equal(r->unpacked->n_items, expected);
		assert_int_equal(r->body_size, expected);
		for (size_t i = 0; i < r->unpacked->n_items; i++)
			assert_int_equal(r->unpacked->items[i]->slot, next++);
	}
	received_free(&r);
	zmq_close(peer);
}

static void order_is_kept_across_kinds(void **state)
{
	static const uint32_t kinds[] = { PIRN__KIND__REPLY, PIRN__KIND__REFUSED, PIRN__KIND__REPLY,
		PIRN__KIND__BEAT, PIRN__KIND__REPLY, PIRN__KIND__CREDIT };
	void *peer = peer_new(ZMQ_DEALER, address);
	struct received *r = calloc(1, sizeof *r);
	uint32_t number = peer_up(peer);
	Pirn__Credit credit = PIRN__CREDIT__INIT;

	(void)state;
	await_kind(peer, r, PIRN__KIND__WELCOME);
	assert_int_equal(fake_send(b, number, PIRN__KIND__REPLY, 1, 1, 200, 0, NULL, 0), BASE_OK);
	assert_int_equal(fake_send(b, number, PIRN__KIND__REFUSED, 2, 1, 0, 2, NULL, 0), BASE_OK);
	assert_int_equal(fake_send(b, number, PIRN__KIND__REPLY, 3, 1, 200, 0, NULL, 0), BASE_OK);
	assert_int_equal(net_router_control(b->router, number, PIRN__KIND__BEAT, NULL), BASE_OK);
	assert_int_equal(fake_send(b, number, PIRN__KIND__REPLY, 4, 1, 200, 0, NULL, 0), BASE_OK);
	assert_int_equal(net_router_credit(b->router, number, &credit), BASE_OK);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		await(peer, r);
		assert_int_equal(r->unpacked->kind, kinds[i]);
	}
	received_free(&r);
	zmq_close(peer);
}

static void a_large_item_travels_alone(void **state)
{
	static uint8_t large[3 * 1024 * 1024];
	void *peer = peer_new(ZMQ_DEALER, address);
	struct received *r = calloc(1, sizeof *r);
	uint32_t number = peer_up(peer);

	(void)state;
	memset(large, 'L', sizeof large);
	await_kind(peer, r, PIRN__KIND__WELCOME);
	assert_int_equal(
		fake_send(b, number, PIRN__KIND__REPLY, 1, 1, 200, 0, "small", 5), BASE_OK);
	assert_int_equal(fake_send(b, number, PIRN__KIND__REPLY, 2, 1, 200, 0, large, sizeof large),
		BASE_OK);
	assert_int_equal(
		fake_send(b, number, PIRN__KIND__REPLY, 3, 1, 200, 0, "small", 5), BASE_OK);
	for (uint32_t slot = 1; slot <= 3; slot++) {
		await(peer, r);
		assert_int_equal(r->unpacked->n_items, 1);
		assert_int_equal(r->unpacked->items[0]->slot, slot);
		assert_int_equal(r->body_size, slot == 2 ? sizeof large : 5);
	}
	received_free(&r);
	zmq_close(peer);
}

/* What came in large goes out by reference, also after the message it came in is gone. */
static void a_large_payload_can_be_kept(void **state)
{
	static uint8_t large[100 * 1024];
	void *peer = peer_new(ZMQ_DEALER, address);
	struct received *r = calloc(1, sizeof *r);
	Pirn__Item item = PIRN__ITEM__INIT;
	Pirn__Item *items[] = { &item };
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t bytes[64];

	(void)state;
	memset(large, 'K', sizeof large);
	peer_up(peer);
	await_kind(peer, r, PIRN__KIND__WELCOME);
	b->echo = true;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = items;
	head.n_items = 1;
	item.has_meta_size = item.has_data_size = 1;
	item.meta_size = 40;
	item.data_size = sizeof large - 40;
	send_bytes(peer, bytes, pirn__head__pack(&head, bytes), large, sizeof large);
	await_kind(peer, r, PIRN__KIND__REPLY);
	assert_int_equal(r->unpacked->items[0]->meta_size, 40);
	assert_int_equal(r->body_size, sizeof large);
	assert_memory_equal(r->body, large, sizeof large);
	received_free(&r);
	zmq_close(peer);
}

/* ---- strangers -------------------------------------------------------------------- */

static void assert_unhurt(void *good, struct received *r)
{
	unsigned beats = b->beats_heard;

	send_kind(good, PIRN__KIND__BEAT);
	UNTIL(&f, b->beats_heard == beats + 1);
	await_kind(good, r, PIRN__KIND__BEAT);
}

static void malformed_messages_hurt_nobody(void **state)
{
	static const uint8_t noise[] = { 0xff, 0x01, 0x02, 0x80, 0x80 };
	static uint8_t huge[NET_MAX_HEAD + 1];
	void *good = peer_new(ZMQ_DEALER, address), *bad = peer_new(ZMQ_DEALER, address);
	void *req = peer_new(ZMQ_REQ, address);
	struct received *r = calloc(1, sizeof *r);
	const struct net_router_stats *stats = net_router_stats(b->router);

	(void)state;
	peer_up(good);
	send_bytes(bad, noise, sizeof noise, noise, sizeof noise);
	UNTIL(&f, stats->malformed == 1);
	send_bytes(bad, huge, sizeof huge, NULL, 0);
	UNTIL(&f, stats->malformed == 2);
	assert_int_equal(zmq_send(bad, "x", 1, 0), 1); /* one frame */
	UNTIL(&f, stats->malformed == 3);
	for (int i = 0; i < 5; i++) /* five */
		assert_int_equal(zmq_send(bad, "\x08\x03", 2, i < 4 ? ZMQ_SNDMORE : 0), 2);
	UNTIL(&f, stats->malformed == 4);
	assert_int_equal(zmq_send(req, "hello?", 6, 0), 6); /* an empty delimiter before it */
	UNTIL(&f, stats->malformed == 5);
	assert_unhurt(good, r);
	assert_int_equal(stats->peers, 1); /* nobody is a peer who never sent a message */
	send_kind(bad, PIRN__KIND__BEAT);  /* and the same connection may behave later */
	UNTIL(&f, stats->peers == 2);
	received_free(&r);
	zmq_close(req);
	zmq_close(bad);
	zmq_close(good);
}

static int tcp_connect(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static void raw_bytes_hurt_nobody(void **state)
{
	static const char *const noise[] = { "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on, as TLS would",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" };
	void *good = peer_new(ZMQ_DEALER, address);
	struct received *r = calloc(1, sizeof *r);
	uint64_t before;

	(void)state;
	peer_up(good);
	before = net_router_stats(b->router)->malformed;
	for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++) {
		int fd = tcp_connect();
		assert_true(write(fd, noise[i], strlen(noise[i])) > 0);
		close(fd);
	}
	UNTIL(&f, net_router_stats(b->router)->malformed > before);
	assert_unhurt(good, r);
	received_free(&r);
	zmq_close(good);
}

/* ---- losing peers ----------------------------------------------------------------- */

static void a_dead_peer_is_noticed(void **state)
{
	void *lives = peer_new(ZMQ_DEALER, address), *dies = peer_new(ZMQ_DEALER, address);
	struct received *r = calloc(1, sizeof *r);
	uint32_t number;

	(void)state;
	peer_up(lives);
	number = peer_up(dies);
	zmq_close(dies);
	UNTIL(&f, b->gone == 1); /* nothing is sent to it: the monitor tells */
	assert_int_equal(fake_send(b, number, PIRN__KIND__REPLY, 1, 1, 200, 0, NULL, 0), BASE_GONE);
	assert_int_equal(net_router_control(b->router, number, PIRN__KIND__BEAT, NULL), BASE_GONE);
	assert_unhurt(lives, r);
	assert_int_equal(b->gone, 1);
	received_free(&r);
	zmq_close(lives);
}

static void what_a_peer_sent_last_is_heard_first(void **state)
{
	void *peer = peer_new(ZMQ_DEALER, fixture_ipc(&f, "broker"));
	const int linger = 1000;
	unsigned n = 0;

	(void)state;
	peer_up(peer);
	zmq_setsockopt(peer, ZMQ_LINGER, &linger, sizeof linger);
	for (; n < 700; n++)
		send_kind(peer, PIRN__KIND__BEAT);
	b->beats = false;
	zmq_close(peer);
	UNTIL(&f, b->gone == 1);
	assert_int_equal(b->beats_heard, 700);
}

static void numbers_are_never_used_again(void **state)
{
	uint32_t before = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		void *peer = peer_new(ZMQ_DEALER, address);
		uint32_t number = peer_up(peer);
		assert_true(number != before && number != 0);
		for (size_t k = 0; k + 1 < b->n_peers; k++)
			assert_true(b->peers[k] != number);
		net_router_forget(b->router, number);
		assert_int_equal(
			net_router_control(b->router, number, PIRN__KIND__BEAT, NULL), BASE_GONE);
		zmq_close(peer);
		before = number;
	}
	assert_int_equal(b->gone, 0); /* forgotten ones are not told */
}

/* A forgotten peer that speaks again is a new one: the core will tell it to greet anew. */
static void a_forgotten_peer_comes_back_under_another_number(void **state)
{
	void *peer = peer_new(ZMQ_DEALER, address);
	uint32_t first = peer_up(peer), second;

	(void)state;
	net_router_forget(b->router, first);
	second = peer_up(peer);
	assert_true(first != second);
	zmq_close(peer);
}

/* It neither reads nor dies: what waits for it is bounded, and then it is given up. */
static void a_peer_that_does_not_read_is_given_up(void **state)
{
	static uint8_t bytes[16 * 1024];
	void *stuck = zmq_socket(net_loop_zmq(f.loop), ZMQ_DEALER);
	const int one = 1, zero = 0;
	uint32_t number;
	unsigned n = 0;

	(void)state;
	zmq_setsockopt(stuck, ZMQ_LINGER, &zero, sizeof zero);
	zmq_setsockopt(stuck, ZMQ_RCVHWM, &one, sizeof one);
	assert_int_equal(zmq_connect(stuck, fixture_ipc(&f, "broker")), 0);
	number = peer_up(stuck);
	while (fake_send(b, number, PIRN__KIND__REPLY, n, 1, 200, 0, bytes, sizeof bytes) ==
		BASE_OK) {
		if (++n % 64 == 0)
			fixture_turn(&f);
		assert_true(n < 1000000);
	}
	UNTIL(&f, b->gone == 1);
	assert_int_equal(net_router_stats(b->router)->unreachable, 1);
	zmq_close(stuck);
}

/* ---- binding ---------------------------------------------------------------------- */

static void assert_refused(const char *endpoints, enum base_err expected, const char *named)
{
	const struct net_router_events events = { .on_message = fake_on_message,
		.on_gone = fake_on_gone };
	struct net_router *r = NULL;
	char *why = NULL;

	assert_int_equal(net_router_new(f.loop, endpoints, &events, &r, &why), expected);
	assert_null(r);
	assert_non_null(why);
	assert_non_null(strstr(why, named));
	free(why);
}

static void an_address_in_use_is_told(void **state)
{
	(void)state;
	assert_refused(address, BASE_EXISTS, address);
	assert_refused(fixture_ipc(&f, "broker"), BASE_EXISTS, fixture_ipc(&f, "broker"));
	assert_refused("tcp://127.0.0.1:99999", BASE_CONFIG, "99999");
	assert_refused("nonsense", BASE_CONFIG, "nonsense");
	assert_refused("", BASE_CONFIG, "");
	assert_refused("ipc:///nowhere/at/all", BASE_CONFIG, "/nowhere/at/all");
}

/* A socket file that a dead broker left behind is no obstacle. */
static void a_stale_socket_file_is_replaced(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[96];

	(void)state;
	snprintf(path, sizeof path, "%s/stale", f.dir);
	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	close(fd);
	assert_int_equal(access(path, F_OK), 0);
	assert_false(fixture_is_listening(path));
	fake_free(&b);
	b = fake_new(f.loop, fixture_ipc(&f, "stale"), 2);
	assert_true(fixture_is_listening(path));
}

/* ---- the table -------------------------------------------------------------------- */

static void the_table_of_peers_is_bounded(void **state)
{
	struct net_peers *p = calloc(1, sizeof *p);
	struct net_outbox box;
	struct net_peer *first;
	uint32_t number;

	(void)state;
	net_outbox_init(&box, NULL, NULL);
	for (uint32_t i = 0; i < NET_MAX_PEERS; i++)
		assert_non_null(net_peers_add(p, &box, NULL, &i, sizeof i));
	number = UINT32_MAX;
	assert_null(net_peers_add(p, &box, NULL, &number, sizeof number));
	assert_null(net_peers_get(p, number));
	number = 7;
	first = net_peers_find(p, &number, sizeof number);
	number = first->number;
	net_peers_remove(p, first);
	assert_null(net_peers_get(p, number));
	first = net_peers_add(p, &box, NULL, "new", 3);
	assert_int_not_equal(first->number, number);
	assert_ptr_equal(net_peers_get(p, first->number), first);
	for (uint32_t i = 0; i < NET_MAX_PEERS; i++)
		if (p->slots[i])
			net_peers_remove(p, p->slots[i]);
	assert_int_equal(p->n, 0);
	net_outbox_fini(&box);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_peer_is_heard_and_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(items_of_a_turn_are_one_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(order_is_kept_across_kinds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_large_item_travels_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_large_payload_can_be_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(malformed_messages_hurt_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(raw_bytes_hurt_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_dead_peer_is_noticed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_a_peer_sent_last_is_heard_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(numbers_are_never_used_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_forgotten_peer_comes_back_under_another_number, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_peer_that_does_not_read_is_given_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_address_in_use_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stale_socket_file_is_replaced, set_up, tear_down),
		cmocka_unit_test(the_table_of_peers_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
