/* A loop that is turned until a fact holds, a private folder for sockets, and a
 * broker that does as it is told: it says WELCOME and beats, keeps what it was
 * sent, and answers only what the test lets it answer. To be included by one file
 * of a test program.
 */
#ifndef TESTS_NET_FIXTURE_H
#define TESTS_NET_FIXTURE_H

#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "base/version.h"
#include "net/loop.h"
#include "net/router.h"

/* libzmq passes messages between threads without a lock, and is not built with the sanitizer, which
 * therefore sees neither its order nor its atomics: what happens inside of it is not looked at. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:libzmq.so\n";
}

#define GUARD_MS 60000 /* no fact takes this long; it only ends a test that has failed */

struct fixture {
	struct net_loop *loop;
	uv_timer_t guard;
	bool expired;
	char dir[64];
};

static inline void fixture_on_guard(uv_timer_t *timer)
{
	((struct fixture *)timer->data)->expired = true;
}

static inline void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof *f);
	assert_int_equal(net_loop_new(&f->loop), BASE_OK);
	uv_timer_init(net_loop_uv(f->loop), &f->guard);
	f->guard.data = f;
	uv_timer_start(&f->guard, fixture_on_guard, GUARD_MS, 0);
	strcpy(f->dir, "/tmp/pirn-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
}

static inline void fixture_fini(struct fixture *f)
{
	char command[128];

	uv_close((uv_handle_t *)&f->guard, NULL);
	net_loop_free(&f->loop);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
}

static inline void fixture_turn(struct fixture *f)
{
	assert_false(f->expired);
	uv_run(net_loop_uv(f->loop), UV_RUN_NOWAIT);
}

/* Waits until the loop has something to do, or a little: since libuv 1.45 timers are the last thing in
 * a turn, and what they leave for the next one does not show in the backend's time-out. */
static inline void fixture_wait(struct fixture *f)
{
	uv_loop_t *uv = net_loop_uv(f->loop);
	struct pollfd fd = { .fd = uv_backend_fd(uv), .events = POLLIN };
	int timeout = uv_backend_timeout(uv);

	(void)!poll(&fd, 1, timeout < 0 || timeout > 5 ? 5 : timeout);
}

#define UNTIL(f, fact) \
	do { \
		fixture_turn(f); \
		if (fact) \
			break; \
		fixture_wait(f); \
	} while (true)

static inline const char *fixture_ipc(const struct fixture *f, const char *name)
{
	static char text[4][128];
	static unsigned at;
	char *out = text[at++ % 4];

	snprintf(out, sizeof text[0], "ipc://%s/%s", f->dir, name);
	return out;
}

/* A port that was free a moment ago. */
static inline unsigned fixture_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static inline bool fixture_is_listening(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool there;

	strcpy(to.sun_path, path);
	there = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
	close(fd);
	return there;
}

/* ---- a broker ---------------------------------------------------------------- */

#define FAKE_PEERS 16
#define FAKE_ITEMS 4096

struct fake_item {
	uint32_t peer, kind, slot, generation, flags, left_ms;
	char service[64];
	uint32_t meta_size, data_size;
	uint8_t first[64]; /* of the payload */
	uint8_t id[16], key[255], hash[16];
	size_t key_size;
	uint64_t lane, number, delay_ms, not_before_ms;
	char timer[64];
	uint64_t previous_ms, slot_ms;
	char type[64], source[64], subject[64];
	unsigned message; /* of the broker's messages, the one that it came in */
};

struct fake_broker {
	struct net_router *router;
	char path[100]; /* of its ipc endpoint */
	uint8_t boot[16];
	char name[16];
	uint32_t version, beat_ms;
	const char *refuse; /* WELCOME.refused */
	bool older;         /* it says nothing of a revision */
	bool mute;          /* says nothing at all */
	bool no_drain;      /* does not answer DRAIN */
	bool echo;          /* answers each SUBMIT at once with its payload */
	bool beats;         /* answers each BEAT */
	void (*on_item)(struct fake_broker *b, const struct fake_item *item); /* NULL: items are only kept */
	uint32_t peers[FAKE_PEERS]; /* who said HELLO, in that order */
	size_t n_peers;
	unsigned hellos, hellos_again, beats_heard, byes, drains, gone, metrics, messages;
	struct fake_item items[FAKE_ITEMS];
	size_t n_items;
};

/* A peer may leave before it is answered: a client that was closed as soon as it was opened. */
static inline void fake_control(
	struct fake_broker *b, uint32_t peer, uint32_t kind, const ProtobufCMessage *message)
{
	enum base_err err = net_router_control(b->router, peer, kind, message);

	assert_true(err == BASE_OK || err == BASE_GONE);
}

static inline void fake_welcome(struct fake_broker *b, uint32_t peer)
{
	Pirn__Welcome w = PIRN__WELCOME__INIT;

	w.version = b->version;
	w.boot.data = b->boot;
	w.boot.len = sizeof b->boot;
	w.name = b->name;
	w.has_beat_ms = 1;
	w.beat_ms = b->beat_ms;
	w.refused = (char *)(uintptr_t)b->refuse;
	w.has_revision = !b->older;
	w.revision = b->older ? 0 : PIRN_PROTOCOL_REVISION;
	fake_control(b, peer, PIRN__KIND__WELCOME, &w.base);
}

static inline void fake_hello(struct fake_broker *b, uint32_t peer, const struct net_frame *f)
{
	Pirn__Hello *hello = pirn__hello__unpack(NULL, f->body_size, f->body);
	bool known = false;

	assert_non_null(hello);
	assert_int_equal(hello->version, 1);
	assert_int_equal(hello->boot.len, 16);
	b->hellos_again += hello->again ? 1 : 0;
	pirn__hello__free_unpacked(hello, NULL);
	for (size_t i = 0; i < b->n_peers; i++)
		known |= b->peers[i] == peer;
	if (!known) {
		assert_true(b->n_peers < FAKE_PEERS);
		b->peers[b->n_peers++] = peer;
	}
	b->hellos++;
	fake_welcome(b, peer);
}

/* Sends one item back: kind, status or reason, and a payload's data (NULL: none). */
static inline enum base_err fake_send(struct fake_broker *b, uint32_t peer, uint32_t kind, uint32_t slot,
	uint32_t generation, uint32_t status, uint32_t reason, const void *data, size_t size)
{
	struct net_payload payload = { .data = data, .data_size = (uint32_t)size };
	Pirn__Item item = PIRN__ITEM__INIT;

	item.has_slot = item.has_generation = 1;
	item.slot = slot;
	item.generation = generation;
	item.has_status = status > 0;
	item.status = status;
	item.has_reason = reason > 0;
	item.reason = reason;
	return net_router_item(b->router, peer, kind, &item, &payload);
}

static inline void fake_keep_event(struct fake_item *kept, const Pirn__Item *item)
{
	kept->lane = item->lane;
	kept->number = item->number;
	kept->delay_ms = item->delay_ms;
	kept->not_before_ms = item->not_before_ms;
	kept->previous_ms = item->previous_ms;
	kept->slot_ms = item->slot_ms;
	if (item->type)
		strncat(kept->type, item->type, sizeof kept->type - 1);
	if (item->source)
		strncat(kept->source, item->source, sizeof kept->source - 1);
	if (item->subject)
		strncat(kept->subject, item->subject, sizeof kept->subject - 1);
	if (item->timer)
		strncat(kept->timer, item->timer, sizeof kept->timer - 1);
	kept->key_size = item->has_key ? item->key.len : 0;
	if (item->has_key)
		memcpy(kept->key, item->key.data, item->key.len);
	if (item->has_hash)
		memcpy(kept->hash, item->hash.data, sizeof kept->hash);
	if (item->has_id)
		memcpy(kept->id, item->id.data, sizeof kept->id);
}

/* ACCEPTED; id NULL: the item's own was taken, else it is the first one of its key. */
static inline void fake_accept(struct fake_broker *b, const struct fake_item *to, const uint8_t *id)
{
	Pirn__Item item = PIRN__ITEM__INIT;

	item.has_slot = item.has_generation = item.has_id = 1;
	item.slot = to->slot;
	item.generation = to->generation;
	item.id.data = (uint8_t *)(uintptr_t)(id ? id : to->id);
	item.id.len = 16;
	item.has_flags = id != NULL;
	item.flags = id ? PIRN__ITEM_FLAG__REPLAYED : 0;
	assert_int_equal(net_router_item(b->router, to->peer, PIRN__KIND__ACCEPTED, &item, NULL), BASE_OK);
}

/* running NULL: none. */
static inline void fake_refuse_slot(struct fake_broker *b, const struct fake_item *to,
	uint64_t last_ms, const uint8_t *running)
{
	Pirn__Item item = PIRN__ITEM__INIT;

	item.has_slot = item.has_generation = item.has_reason = item.has_slot_ms = 1;
	item.slot = to->slot;
	item.generation = to->generation;
	item.reason = PIRN__REASON__SLOT;
	item.slot_ms = last_ms;
	item.has_id = running != NULL;
	item.id = (ProtobufCBinaryData){ running ? 16 : 0, (uint8_t *)(uintptr_t)running };
	assert_int_equal(net_router_item(b->router, to->peer, PIRN__KIND__REFUSED, &item, NULL), BASE_OK);
}

static inline void fake_tell_time(struct fake_broker *b, uint32_t peer, uint64_t now_ms)
{
	Pirn__Beat beat = PIRN__BEAT__INIT;

	beat.has_now_ms = 1;
	beat.now_ms = now_ms;
	fake_control(b, peer, PIRN__KIND__BEAT, &beat.base);
}

static inline void fake_keep(
	struct fake_broker *b, uint32_t peer, const struct net_frame *f, struct base_block *block)
{
	size_t offset = 0;

	for (size_t i = 0; i < f->head->n_items; i++) {
		const Pirn__Item *item = f->head->items[i];
		struct net_payload p = net_frame_payload(f, item, &offset);
		struct fake_item *kept = &b->items[b->n_items % FAKE_ITEMS];
		size_t size = (size_t)p.meta_size + p.data_size;

		p.block = block;
		memset(kept, 0, sizeof *kept);
		kept->peer = peer;
		kept->kind = f->head->kind;
		kept->message = b->messages;
		kept->slot = item->slot;
		kept->generation = item->generation;
		kept->flags = item->flags;
		kept->left_ms = item->left_ms;
		kept->meta_size = p.meta_size;
		kept->data_size = p.data_size;
		if (item->service)
			strncat(kept->service, item->service, sizeof kept->service - 1);
		fake_keep_event(kept, item);
		if (size)
			memcpy(kept->first, p.meta, size < sizeof kept->first ? size : sizeof kept->first);
		b->n_items++;
		if (b->on_item)
			b->on_item(b, kept);
		if (b->echo && f->head->kind == PIRN__KIND__SUBMIT) {
			Pirn__Item reply = PIRN__ITEM__INIT;
			reply.has_slot = reply.has_generation = reply.has_status = 1;
			reply.slot = item->slot;
			reply.generation = item->generation;
			reply.status = 200;
			assert_int_equal(net_router_item(b->router, peer, PIRN__KIND__REPLY, &reply, &p), BASE_OK);
		}
	}
}

static inline void fake_beat(struct fake_broker *b, uint32_t peer, const struct net_frame *f)
{
	Pirn__Beat *beat = pirn__beat__unpack(NULL, f->body_size, f->body);

	assert_non_null(beat);
	b->beats_heard++;
	b->metrics += (unsigned)beat->n_metrics;
	pirn__beat__free_unpacked(beat, NULL);
	if (b->beats)
		fake_control(b, peer, PIRN__KIND__BEAT, NULL);
}

static inline void fake_on_message(
	void *arg, uint32_t peer, const struct net_frame *f, struct base_block *block)
{
	struct fake_broker *b = arg;

	b->messages++;
	if (b->mute)
		return;
	switch (f->head->kind) {
	case PIRN__KIND__HELLO:
		fake_hello(b, peer, f);
		break;
	case PIRN__KIND__BEAT:
		fake_beat(b, peer, f);
		break;
	case PIRN__KIND__BYE:
		b->byes++;
		net_router_forget(b->router, peer);
		break;
	case PIRN__KIND__DRAIN:
		b->drains++;
		if (!b->no_drain)
			fake_control(b, peer, PIRN__KIND__DRAIN, NULL);
		break;
	default:
		fake_keep(b, peer, f, block);
	}
}

static inline void fake_on_gone(void *arg, uint32_t peer)
{
	struct fake_broker *b = arg;

	(void)peer;
	b->gone++;
}

static inline void fake_start(struct fake_broker *b, struct net_loop *loop, const char *endpoints)
{
	const struct net_router_events events = {
		.on_message = fake_on_message, .on_gone = fake_on_gone, .arg = b
	};
	char *why = NULL;

	assert_int_equal(net_router_new(loop, endpoints, &events, &b->router, &why), BASE_OK);
	assert_null(why);
	if (strstr(endpoints, "ipc://"))
		snprintf(b->path, sizeof b->path, "%s", strstr(endpoints, "ipc://") + 6);
}

static inline struct fake_broker *fake_new(struct net_loop *loop, const char *endpoints, uint8_t id)
{
	struct fake_broker *b = calloc(1, sizeof *b);

	assert_non_null(b);
	memset(b->boot, id, sizeof b->boot);
	snprintf(b->name, sizeof b->name, "broker-%u", id);
	b->version = 1;
	b->beat_ms = 1000;
	b->beats = true;
	fake_start(b, loop, endpoints);
	return b;
}

static inline void fake_free(struct fake_broker **b)
{
	net_router_free(&(*b)->router);
	/* libzmq's own thread stops listening; a successor must not come before that. */
	while ((*b)->path[0] && fixture_is_listening((*b)->path))
		sched_yield();
	free(*b);
	*b = NULL;
}

static inline struct fake_item *fake_last(struct fake_broker *b)
{
	assert_true(b->n_items > 0);
	return &b->items[(b->n_items - 1) % FAKE_ITEMS];
}

#endif
