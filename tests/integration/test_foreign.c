/* What else may knock at a broker's port: random bytes, browsers, other versions of
 * ZMTP, ZeroMQ peers that speak something else, mangled protobuf. Counted, refused,
 * and nobody else notices (G8). */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <zmq.h>

#include "base/rand.h"
#include "proto/pirn.pb-c.h"
#include "tests/harness/fabric.h"

#define ROUNDS      60

static struct fabric f = { .tcp = true, .n_workers = 1 };

static int set_up(void **state)
{
	(void)state;
	fabric_start(&f);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

/* The same processes, on the same links, answer as before. */
static int nobody_noticed(void **state)
{
	(void)state;
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	assert_true(harness_is_running(f.brokers[0]));
	assert_true(harness_is_running(f.workers[0]));
	assert_true(harness_is_running(f.gateways[0]));
	assert_int_equal(harness_log_count(f.brokers[0], "peer_gone", "peer", "worker-1"), 0);
	assert_int_equal(harness_log_count(f.brokers[0], "peer_gone", "peer", "gateway-1"), 0);
	return 0;
}

static int knock(void)
{
	return harness_raw_connect(f.endpoints[0]);
}

static void fill(struct base_rand *r, uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)base_rand_next(r);
}

static void test_random_bytes(void **state)
{
	struct base_rand r;
	uint8_t bytes[4096];

	(void)state;
	base_rand_init(&r, 20261121);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = knock();
		size_t size = (size_t)base_rand_below(&r, sizeof bytes) + 1;

		fill(&r, bytes, size);
		harness_raw_send(fd, bytes, size);
		close(fd);
	}
}

static void test_a_browser(void **state)
{
	int fd = knock();
	char *answer;

	(void)state;
	harness_raw_text(fd, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	shutdown(fd, SHUT_WR);
	answer = harness_raw_read(fd, PATIENCE_MS);
	assert_non_null(answer); /* it was closed */
	free(answer);
	close(fd);
}

/* A greeting of ZMTP 3.1 with the NULL mechanism, a READY, and then frames of our choice. */
static void greet(int fd)
{
	static const uint8_t greeting[64] = { 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 0, 'N', 'U',
		'L', 'L' };
	static const uint8_t ready[] = { 4, 28, 5, 'R', 'E', 'A', 'D', 'Y', 11, 'S', 'o', 'c', 'k',
		'e', 't', '-', 'T', 'y', 'p', 'e', 0, 0, 0, 6, 'D', 'E', 'A', 'L', 'E', 'R' };

	harness_raw_send(fd, greeting, sizeof greeting);
	harness_raw_send(fd, ready, sizeof ready);
}

static void test_zmtp_that_is_cut_short(void **state)
{
	static const uint8_t huge[] = { 2, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF };

	(void)state;
	for (int i = 0; i < 20; i++) {
		int fd = knock();

		greet(fd);
		if (i % 2)
			harness_raw_send(fd, huge, sizeof huge); /* a frame of 2^63 - 1 bytes */
		close(fd);
	}
}

static void test_old_zmtp(void **state)
{
	static const uint8_t first[] = { 1, 0, 2, 1, 'x', 1, 0 }; /* ZMTP 1 */
	static const uint8_t second[] = { 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 1, 5, 0,
		0 }; /* ZMTP 2 */

	(void)state;
	for (int i = 0; i < 20; i++) {
		int fd = knock();

		harness_raw_send(fd, i % 2 ? first : second, i % 2 ? sizeof first : sizeof second);
		close(fd);
	}
}

/* ---- peers that speak ZeroMQ, and not our protocol ------------------------------------ */

static void *open_socket(void *zmq, int type)
{
	void *socket = zmq_socket(zmq, type);
	int linger = 2000;

	assert_non_null(socket);
	assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger), 0);
	assert_int_equal(zmq_connect(socket, f.endpoints[0]), 0);
	return socket;
}

static double refused(void)
{
	double n = harness_metric(f.admin, "pirn_broker_wire_malformed_total", NULL);

	return n < 0 ? 0 : n;
}

static void test_other_socket_types(void **state)
{
	static const int types[] = { ZMQ_REQ, ZMQ_PUB, ZMQ_SUB, ZMQ_PUSH, ZMQ_PULL, ZMQ_PAIR,
		ZMQ_ROUTER };
	void *zmq = zmq_ctx_new();

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		void *socket = open_socket(zmq, types[i]);
		int linger = 0;

		(void)zmq_send(socket, "hello", 5, ZMQ_DONTWAIT);
		(void)zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
		zmq_close(socket);
	}
	zmq_ctx_term(zmq);
}

static void test_messages_that_are_none_of_ours(void **state)
{
	void *zmq = zmq_ctx_new();
	void *socket = open_socket(zmq, ZMQ_DEALER);
	double before = refused();
	struct base_rand r;
	uint8_t bytes[2048];

	(void)state;
	base_rand_init(&r, 7);
	for (int i = 0; i < ROUNDS; i++) {
		unsigned frames = (unsigned)base_rand_below(&r, 6) + 1;

		for (unsigned k = 1; k <= frames; k++) {
			size_t size = (size_t)base_rand_below(&r, sizeof bytes);

			fill(&r, bytes, size);
			assert_int_equal(
				zmq_send(socket, bytes, size, k < frames ? ZMQ_SNDMORE : 0),
				(int)size);
		}
	}
	wait_until(PATIENCE_MS, refused() >= before + 1);
	zmq_close(socket);
	zmq_ctx_term(zmq);
}

/* A head that is one of ours, then its bytes turned over one by one. */
static void test_mangled_heads(void **state)
{
	void *zmq = zmq_ctx_new();
	void *socket = open_socket(zmq, ZMQ_DEALER);
	double before = refused();
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Item item = PIRN__ITEM__INIT;
	Pirn__Item *items[] = { &item };
	uint8_t id[16] = { 1 };
	char service[] = "hello";
	uint8_t packed[256];
	size_t size;

	(void)state;
	head.kind = PIRN__KIND__SUBMIT;
	head.n_items = 1;
	head.items = items;
	item.has_id = true;
	item.id = (ProtobufCBinaryData){ sizeof id, id };
	item.service = service;
	item.has_left_ms = true;
	item.left_ms = 1000;
	size = pirn__head__pack(&head, packed);
	for (size_t i = 0; i < size; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			packed[i] ^= (uint8_t)(1u << bit);
			assert_int_equal(zmq_send(socket, packed, size, ZMQ_SNDMORE), (int)size);
			assert_int_equal(zmq_send(socket, "", 0, 0), 0);
			packed[i] ^= (uint8_t)(1u << bit);
		}
	wait_until(PATIENCE_MS, refused() >= before + 1);
	zmq_close(socket);
	zmq_ctx_term(zmq);
}

/* Somebody who never introduced himself is told to: RESYNC. */
static void test_a_stranger_is_told_to_say_hello(void **state)
{
	void *zmq = zmq_ctx_new();
	void *socket = open_socket(zmq, ZMQ_DEALER);
	zmq_pollitem_t poll = { .socket = socket, .events = ZMQ_POLLIN };
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Head *answer;
	uint8_t packed[64];
	uint8_t bytes[4096];
	size_t size;
	int n;

	(void)state;
	head.kind = PIRN__KIND__BEAT;
	size = pirn__head__pack(&head, packed);
	assert_int_equal(zmq_send(socket, packed, size, ZMQ_SNDMORE), (int)size);
	assert_int_equal(zmq_send(socket, "", 0, 0), 0);
	assert_int_equal(zmq_poll(&poll, 1, PATIENCE_MS), 1);
	n = zmq_recv(socket, bytes, sizeof bytes, 0);
	assert_true(n > 0 && n <= (int)sizeof bytes);
	answer = pirn__head__unpack(NULL, (size_t)n, bytes);
	assert_non_null(answer);
	assert_int_equal(answer->kind, PIRN__KIND__RESYNC);
	pirn__head__free_unpacked(answer, NULL);
	zmq_close(socket);
	zmq_ctx_term(zmq);
}

/* Many connections that say nothing at all. */
static void test_silent_connections(void **state)
{
	int fds[200];

	(void)state;
	for (int i = 0; i < 200; i++)
		fds[i] = knock();
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	for (int i = 0; i < 200; i++)
		close(fds[i]);
}

#define FOREIGN(name) cmocka_unit_test_setup_teardown(name, NULL, nobody_noticed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOREIGN(test_random_bytes),
		FOREIGN(test_a_browser),
		FOREIGN(test_zmtp_that_is_cut_short),
		FOREIGN(test_old_zmtp),
		FOREIGN(test_other_socket_types),
		FOREIGN(test_messages_that_are_none_of_ours),
		FOREIGN(test_mangled_heads),
		FOREIGN(test_a_stranger_is_told_to_say_hello),
		FOREIGN(test_silent_connections),
	};

	return harness_finish(
		cmocka_run_group_tests_name("foreign peers", tests, set_up, tear_down));
}
