#include "net/link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/heap.h"
#include "base/log.h"
#include "base/ulid.h"
#include "base/version.h"
#include "net/block.h"
#include "net/socket.h"

#define BEAT_MS       1000 /* when WELCOME does not say */
#define MISSED_BEATS  3
#define GREETING_MS   3000
#define COMPLAIN_MS   5000
#define FIRST_WAIT_MS 50
#define MAX_WAIT_MS   2000
#define REFUSED_MS    10000 /* the same for one that refuses us */

static void on_timer(uv_timer_t *timer)
{
	struct net_link *k = timer->data;

	k->timer_fired = true; /* READ is next */
}

static void arm(struct net_link *k, uint64_t ms)
{
	k->timer_fired = false;
	uv_timer_start(&k->timer, on_timer, ms, 0);
}

static void disarm(struct net_link *k)
{
	k->timer_fired = false;
	uv_timer_stop(&k->timer);
}

/* ---- opening and falling -------------------------------------------------- */

static void close_socket(struct net_link *k, int linger_ms)
{
	if (!k->socket)
		return;
	net_dest_fini(&k->dest);
	net_monitor_free(&k->monitor);
	net_wake_free(&k->wake);
	net_socket_close(&k->socket, linger_ms);
}

/* Full jitter under a bound that doubles. */
static void wait_to_open(struct net_link *k)
{
	unsigned doublings = k->falls < 8 ? k->falls : 8;
	uint64_t bound = (uint64_t)FIRST_WAIT_MS << doublings;
	uint64_t cap = k->refused ? REFUSED_MS : MAX_WAIT_MS;

	if (bound > cap)
		bound = cap;
	k->falls++;
	k->state = NET_LINK_WAITING;
	arm(k, 1 + base_rand_below(&k->links->rand, bound));
}

static enum base_err connect_socket(struct net_link *k)
{
	struct net_loop *loop = k->links->loop;
	enum base_err err;

	err = net_socket_new(loop, ZMQ_DEALER, strchr(k->endpoint, '[') != NULL, &k->socket);
	if (err)
		return err;
	net_dest_init(&k->dest, &k->links->outbox, k->socket, NULL, 0);
	err = net_monitor_new(loop, k->socket, &k->monitor);
	if (!err)
		err = net_loop_wake_on(loop, k->socket, &k->wake);
	if (!err && zmq_connect(k->socket, k->endpoint) != 0)
		err = base_err_from_errno(errno);
	return err;
}

static void open_link(struct net_link *k)
{
	enum base_err err;

	k->connected = k->draining = false;
	k->broken = NULL;
	k->drain_asked = k->drain_heard = 0;
	err = connect_socket(k);
	if (err) {
		base_log(BASE_ERROR, "link_failed", LOG_STR("endpoint", k->endpoint), LOG_ERR(err));
		close_socket(k, 0);
		wait_to_open(k);
		return;
	}
	k->state = NET_LINK_CONNECTING;
	arm(k, COMPLAIN_MS);
}

static void log_down(const struct net_link *k)
{
	base_log(BASE_WARN, "link_down", LOG_STR("endpoint", k->endpoint),
		LOG_STR("broker", k->name[0] ? k->name : NULL), LOG_STR("why", k->broken));
}

static void fall(struct net_link *k)
{
	bool was_up = k->state == NET_LINK_UP;

	if (was_up)
		log_down(k);
	close_socket(k, 0);
	k->broken =
		NULL; /* of the connection that was; the timer for the next is heard only without */
	disarm(k);
	wait_to_open(k);
	if (was_up)
		net_links_went_down(k);
}

static void become_twin(struct net_link *k)
{
	assert(k->state == NET_LINK_UP);
	base_log(BASE_INFO, "link_twin", LOG_STR("endpoint", k->endpoint),
		LOG_STR("broker", k->name));
	close_socket(k, 0);
	disarm(k);
	k->state = NET_LINK_TWIN;
	net_links_went_down(k);
}

void net_link_wake_twin(struct net_link *k)
{
	if (k->state != NET_LINK_TWIN)
		return;
	k->falls = 0;
	wait_to_open(k);
}

/* ---- sending what is the link's own ---------------------------------------- */

static void control(struct net_link *k, uint32_t kind, const ProtobufCMessage *message)
{
	enum base_err err = net_dest_control(&k->dest, kind, message);

	if (err == BASE_TOO_LARGE || err == BASE_NOMEM)
		base_log(BASE_ERROR, "link_failed", LOG_STR("endpoint", k->endpoint), LOG_ERR(err));
}

void net_link_greet(struct net_link *k, bool again)
{
	const struct net_links_conf *conf = &k->links->conf;
	Pirn__Hello hello = PIRN__HELLO__INIT;

	hello.version = PIRN_PROTOCOL_VERSION;
	hello.role = conf->role;
	hello.name = (char *)(uintptr_t)conf->name;
	hello.boot.data = k->links->conf.boot;
	hello.boot.len = sizeof conf->boot;
	hello.services = conf->services;
	hello.n_services = conf->n_services;
	hello.has_registry = conf->registry;
	hello.registry = conf->registry;
	hello.has_again = again;
	hello.again = again;
	hello.software = (char *)(uintptr_t) "pirn " PIRN_VERSION;
	control(k, PIRN__KIND__HELLO, &hello.base);
}

static void beat(struct net_link *k)
{
	const struct net_links_events *events = &k->links->events;
	const Pirn__Beat *figures = events->on_beat ? events->on_beat(events->arg) : NULL;

	control(k, PIRN__KIND__BEAT, figures ? &figures->base : NULL);
}

void net_link_ask_drain(struct net_link *k)
{
	k->drain_asked++;
	control(k, PIRN__KIND__DRAIN, NULL);
}

/* ---- control messages ------------------------------------------------------ */

static void refuse(struct net_link *k, const char *why)
{
	if (!k->refused)
		base_log(BASE_ERROR, "link_refused", LOG_STR("endpoint", k->endpoint),
			LOG_STR("why", why));
	k->refused = true;
	k->broken = "refused";
}

static void keep_welcome(struct net_link *k, const Pirn__Welcome *w)
{
	char text[BASE_ULID_TEXT + 1];

	memcpy(k->boot, w->boot.data, sizeof k->boot);
	base_ulid_print(k->boot, text);
	k->name[0] = '\0';
	strncat(k->name, w->name && w->name[0] ? w->name : text, sizeof k->name - 1);
	k->beat_ms =
		w->has_beat_ms && w->beat_ms >= 10 && w->beat_ms <= 60000 ? w->beat_ms : BEAT_MS;
}

static void come_up(struct net_link *k, const Pirn__Welcome *w)
{
	struct net_link *twin = net_links_find_boot(k->links, w->boot.data);

	if (twin)
		become_twin(twin);
	k->state = NET_LINK_UP;
	k->falls = 0;
	k->refused = k->complained = false;
	k->heard_at = net_loop_now_ms(k->links->loop);
	k->beat_due_at = k->heard_at + k->beat_ms;
	arm(k, k->beat_ms);
	base_log(
		BASE_INFO, "link_up", LOG_STR("endpoint", k->endpoint), LOG_STR("broker", k->name));
	net_links_came_up(k, w);
}

static void on_welcome(struct net_link *k, const struct net_frame *f)
{
	ProtobufCAllocator allocator = net_arena_allocator(&k->links->arena);
	const Pirn__Welcome *w = pirn__welcome__unpack(&allocator, f->body_size, f->body);

	if (!w || w->boot.len != sizeof k->boot) {
		k->broken = "its WELCOME cannot be read";
	} else if (w->refused) {
		refuse(k, w->refused);
	} else if (w->version != PIRN_PROTOCOL_VERSION) {
		refuse(k, "it speaks another version of the protocol");
	} else if (k->state == NET_LINK_GREETING) {
		keep_welcome(k, w);
		come_up(k, w);
	}
}

static void on_resync(struct net_link *k, const struct net_frame *f)
{
	(void)f;
	if (k->state == NET_LINK_UP)
		k->broken = "the broker does not know us";
}

static void on_bye(struct net_link *k, const struct net_frame *f)
{
	(void)f;
	k->broken = "the broker said BYE";
}

void net_link_break(struct net_link *k, const char *why)
{
	k->broken = why;
	net_loop_again(k->links->loop); /* READ looks */
}

static void on_beat(struct net_link *k, const struct net_frame *f)
{
	const struct net_links_events *events = &k->links->events;
	ProtobufCAllocator allocator = net_arena_allocator(&k->links->arena);
	const Pirn__Beat *b;

	if (!events->on_time || f->body_size == 0) /* that it was heard is all there is to it */
		return;
	b = pirn__beat__unpack(&allocator, f->body_size, f->body);
	if (b && b->has_now_ms)
		events->on_time(events->arg, k, b->now_ms);
}

/* An answer and the broker's own wish look alike, and the two may cross. So we ask twice: of two
 * DRAINs that follow our first, the second was sent after the broker had read ours, whichever of
 * them was its own wish. */
static void hear_answer(struct net_link *k, const struct net_frame *f)
{
	const struct net_links_events *events = &k->links->events;

	k->drain_heard++;
	if (k->drain_heard == 1)
		net_link_ask_drain(k);
	else if (k->drain_heard == 2)
		events->on_message(events->arg, k, f, NULL);
}

static void on_drain(struct net_link *k, const struct net_frame *f)
{
	const struct net_links_events *events = &k->links->events;

	if (k->state != NET_LINK_UP)
		return;
	if (k->drain_asked > 0 && k->drain_heard < 2) {
		hear_answer(k, f);
		return;
	}
	control(k, PIRN__KIND__DRAIN, NULL);
	if (k->draining)
		return;
	k->draining = true;
	base_log(BASE_INFO, "link_draining", LOG_STR("endpoint", k->endpoint),
		LOG_STR("broker", k->name));
	events->on_drain(events->arg, k);
}

static const struct handler {
	uint32_t kind;
	void (*handle)(struct net_link *, const struct net_frame *);
} handlers[] = {
	{ PIRN__KIND__BEAT, on_beat },
	{ PIRN__KIND__WELCOME, on_welcome },
	{ PIRN__KIND__DRAIN, on_drain },
	{ PIRN__KIND__RESYNC, on_resync },
	{ PIRN__KIND__BYE, on_bye },
};

/* ---- reading --------------------------------------------------------------- */

static void deliver(struct net_link *k, zmq_msg_t *body, struct net_frame *f)
{
	const struct net_links_events *events = &k->links->events;
	struct base_block *block = NULL;

	if (k->state != NET_LINK_UP)
		return;
	if (f->head->n_items == 1 && f->body_size > NET_COPY_MAX) {
		block = net_block_take(body);
		if (block)
			f->body = block->data;
	}
	events->on_message(events->arg, k, f, block);
	base_block_unref(&block);
}

/* UNTRUSTED: what is no message, or of a kind that we do not know yet, is dropped. */
static void complain(struct net_link *k)
{
	uint64_t now = net_loop_now_ms(k->links->loop);

	if (k->malformed_at && now - k->malformed_at < 1000)
		return;
	k->malformed_at = now;
	base_log(BASE_WARN, "wire_malformed", LOG_STR("what", "from a broker"),
		LOG_STR("endpoint", k->endpoint));
}

static void take(struct net_link *k, zmq_msg_t *head, zmq_msg_t *body)
{
	struct net_links *l = k->links;
	struct net_frame f;
	enum base_err err;

	base_arena_reset(&l->arena);
	err = net_frame_open(&l->arena, zmq_msg_data(head), zmq_msg_size(head), zmq_msg_data(body),
		zmq_msg_size(body), &f);
	if (err == BASE_NOMEM) {
		net_link_break(k, "there is no memory for its message");
		return;
	}
	if (err) {
		complain(k);
		return;
	}
	k->heard_at = net_loop_now_ms(l->loop);
	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
		if (handlers[i].kind == f.head->kind) {
			handlers[i].handle(k, &f);
			return;
		}
	deliver(k, body, &f);
}

static bool read_one(struct net_link *k)
{
	zmq_msg_t head, body;
	bool got;

	zmq_msg_init(&head);
	zmq_msg_init(&body);
	got = zmq_msg_recv(&head, k->socket, ZMQ_DONTWAIT) >= 0;
	if (got && zmq_msg_more(&head) && zmq_msg_recv(&body, k->socket, ZMQ_DONTWAIT) >= 0 &&
		!zmq_msg_more(&body))
		take(k, &head, &body);
	else if (got)
		complain(k);
	while (zmq_msg_more(&body) && zmq_msg_recv(&body, k->socket, ZMQ_DONTWAIT) >= 0)
		;
	zmq_msg_close(&body);
	zmq_msg_close(&head);
	return got;
}

/* A link that is about to fall is read to the end first: what had arrived, counts. */
static bool read_inbox(struct net_link *k)
{
	unsigned n = 0;

	while (k->socket && (n < NET_READ_TURN || k->broken) && read_one(k))
		n++;
	return n >= NET_READ_TURN;
}

static void on_monitor(void *arg, enum net_monitor_event event, int fd)
{
	struct net_link *k = arg;

	(void)fd;
	k->connected = event == NET_CONNECTED;
	if (event == NET_DISCONNECTED && k->state >= NET_LINK_GREETING)
		k->broken = "the connection broke";
}

/* ---- time ------------------------------------------------------------------ */

/* When this very process did not run for a while, the silence is its own: a new chance. */
static void beat_due(struct net_link *k)
{
	uint64_t now = net_loop_now_ms(k->links->loop);
	uint64_t patience = (uint64_t)k->beat_ms * MISSED_BEATS;

	if (now > k->beat_due_at + k->beat_ms)
		k->heard_at = now;
	if (now - k->heard_at >= patience) {
		k->broken = "it was silent for too long";
		return;
	}
	beat(k);
	k->beat_due_at = now + k->beat_ms;
	arm(k, k->beat_ms);
}

static void connecting_for_long(struct net_link *k)
{
	if (!k->complained)
		base_log(BASE_WARN, "link_unreachable", LOG_STR("endpoint", k->endpoint));
	k->complained = true;
}

static void on_time(struct net_link *k)
{
	switch (k->state) {
	case NET_LINK_WAITING:
		open_link(k);
		break;
	case NET_LINK_CONNECTING:
		connecting_for_long(k);
		break;
	case NET_LINK_GREETING:
		k->broken = "it does not answer HELLO";
		break;
	case NET_LINK_UP:
		beat_due(k);
		break;
	case NET_LINK_TWIN:
		break;
	}
}

static void start_greeting(struct net_link *k)
{
	k->state = NET_LINK_GREETING;
	arm(k, GREETING_MS);
	net_link_greet(k, false);
}

bool net_link_turn(struct net_link *k)
{
	bool more = false;

	if (k->socket) {
		net_monitor_read(k->monitor, on_monitor, k);
		if (k->state == NET_LINK_CONNECTING && k->connected)
			start_greeting(k);
		if (net_wake_take(k->wake) || k->timer_fired || k->broken || k->dest.broken)
			more = read_inbox(k);
		if (more)
			net_wake_again(k->wake);
	}
	if (k->timer_fired && !k->broken) {
		k->timer_fired = false;
		on_time(k);
	}
	if (k->dest.broken && k->socket && !k->broken)
		k->broken = "it does not read what we send";
	if (k->broken && k->socket)
		fall(k);
	return more;
}

/* ---- birth and death ------------------------------------------------------- */

struct net_link *net_link_new(struct net_links *l, const char *endpoint)
{
	struct net_link *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->links = l;
	strncat(k->endpoint, endpoint, sizeof k->endpoint - 1);
	uv_timer_init(net_loop_uv(l->loop), &k->timer);
	k->timer.data = k;
	k->state = NET_LINK_WAITING;
	arm(k, 0);
	return k;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void net_link_free(struct net_link **kp, bool goodbye)
{
	struct net_link *k = *kp;
	bool say = goodbye && k->state == NET_LINK_UP && !k->broken;

	*kp = NULL;
	if (say)
		control(k, PIRN__KIND__BYE, NULL);
	close_socket(k, say ? NET_LINGER_MS : 0);
	uv_close((uv_handle_t *)&k->timer, on_closed);
}
