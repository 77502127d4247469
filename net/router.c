/* One turn: READ takes the monitor's news, then messages, then looks after peers
 * whose connection may have broken; RUN is on_turn; FLUSH sends.
 *
 * How a broken connection is found. libzmq's monitor tells the descriptor that
 * was closed. Peers whose HELLO came by that descriptor are suspects (usually one;
 * none is wrongly hurt, because descriptors are reused and suspicion costs nothing
 * but a BEAT). The monitor is ahead of the ROUTER itself, which goes on taking
 * messages for the dead peer until libzmq's threads have agreed: so a suspect is
 * probed several times, over 600 ms, before it is trusted again.
 *
 * on_gone is told only after READ found nothing more, so that what a peer sent
 * last is heard before its death.
 */
#include "net/router.h"

#include <stdlib.h>
#include <zmq.h>

#include "base/heap.h"
#include "base/log.h"
#include "net/bind.h"
#include "net/block.h"
#include "net/monitor.h"
#include "net/peers.h"
#include "net/socket.h"

#define ARENA_FIRST   (512 * 1024)
#define ARENA_MAX     (8 * 1024 * 1024)
#define GONE_PATIENCE 64 /* turns that on_gone waits while messages keep coming */

struct net_router {
	struct net_loop *loop;
	struct net_router_events events;
	void *socket;
	struct net_monitor *monitor;
	struct net_wake *wake;
	struct net_hook *hooks[NET_STAGE__N];
	uv_timer_t *timer; /* of probes */
	struct base_arena arena;
	struct net_outbox outbox;
	struct net_peers peers;
	struct net_peer *gone;
	unsigned gone_turns;
	size_t n_suspects;
	bool happened;                  /* since the last on_turn */
	uint64_t complained_ms, unsaid; /* of malformed messages */
	struct net_router_stats stats;
};

/* ---- losing peers --------------------------------------------------------- */

static void on_broken(void *arg, struct net_dest *dest)
{
	struct net_router *r = arg;
	struct net_peer *peer = base_heap_of(dest, struct net_peer, dest);

	r->stats.unreachable++;
	peer->gone = true;
	peer->next_gone = r->gone;
	r->gone = peer;
	net_loop_again(r->loop);
}

static void clear_suspicion(struct net_router *r, struct net_peer *peer)
{
	if (peer->probe == 0)
		return;
	peer->probe = 0;
	r->n_suspects--;
}

static void remove_peer(struct net_router *r, struct net_peer *peer)
{
	struct net_peer **at = &r->gone;

	while (peer->gone && *at) {
		if (*at == peer)
			*at = peer->next_gone;
		else
			at = &(*at)->next_gone;
	}
	clear_suspicion(r, peer);
	net_peers_remove(&r->peers, peer);
}

static void tell_gone(struct net_router *r)
{
	r->gone_turns = 0;
	while (r->gone) {
		uint32_t number = r->gone->number;
		remove_peer(r, r->gone);
		r->happened = true;
		r->events.on_gone(r->events.arg, number);
	}
}

/* When to probe after the first time, in ms; then the peer is trusted again. */
static const uint16_t probe_after[] = { 1, 4, 15, 80, 500 };

#define N_PROBES (sizeof probe_after / sizeof *probe_after)

static void suspect(struct net_router *r, int fd)
{
	struct net_peer *peer, *next;

	HASH_ITER (hh, r->peers.by_id, peer, next) {
		if (peer->fd != fd || peer->gone)
			continue;
		if (peer->probe == 0)
			r->n_suspects++;
		peer->probe = 1;
		peer->probe_at = 0;
	}
}

static void on_probe_time(uv_timer_t *timer)
{
	(void)timer; /* READ looks */
}

static void probe_one(struct net_router *r, struct net_peer *peer, uint64_t now)
{
	enum base_err err = net_dest_control(&peer->dest, PIRN__KIND__BEAT, NULL);

	if (peer->gone || err == BASE_GONE || peer->probe > N_PROBES) {
		clear_suspicion(r, peer);
		return;
	}
	peer->probe_at = now + probe_after[peer->probe - 1];
	peer->probe++;
}

static void probe(struct net_router *r)
{
	uint64_t now = net_loop_now_ms(r->loop), due = UINT64_MAX;
	struct net_peer *peer, *next;

	if (r->n_suspects == 0)
		return;
	HASH_ITER (hh, r->peers.by_id, peer, next) {
		if (peer->probe && peer->probe_at <= now)
			probe_one(r, peer, now);
		if (peer->probe && peer->probe_at < due)
			due = peer->probe_at;
	}
	if (due != UINT64_MAX)
		uv_timer_start(r->timer, on_probe_time, due - now, 0);
}

/* ---- reading -------------------------------------------------------------- */

static void complain(struct net_router *r, const char *what)
{
	uint64_t now = net_loop_now_ms(r->loop);

	r->stats.malformed++;
	r->unsaid++;
	if (r->complained_ms && now - r->complained_ms < 1000)
		return;
	base_log(
		BASE_WARN, "wire_malformed", LOG_STR("what", what), LOG_U64("messages", r->unsaid));
	r->complained_ms = now;
	r->unsaid = 0;
}

static void on_monitor(void *arg, enum net_monitor_event event, int fd)
{
	struct net_router *r = arg;

	if (event == NET_DISCONNECTED)
		suspect(r, fd);
	else if (event == NET_HANDSHAKE_FAILED)
		r->stats.malformed++; /* not logged: a health check that only connects looks like this */
}

static struct net_peer *peer_of(struct net_router *r, zmq_msg_t *id, const struct net_frame *f)
{
	struct net_peer *peer = net_peers_find(&r->peers, zmq_msg_data(id), zmq_msg_size(id));

	if (!peer) {
		peer = net_peers_add(
			&r->peers, &r->outbox, r->socket, zmq_msg_data(id), zmq_msg_size(id));
		if (!peer) {
			complain(r, "more peers than there is room for");
			return NULL;
		}
		peer->fd = zmq_msg_get(id, ZMQ_SRCFD);
	} else if (f->head->kind == PIRN__KIND__HELLO) {
		peer->fd = zmq_msg_get(id, ZMQ_SRCFD);
	}
	return peer;
}

static void deliver(
	struct net_router *r, struct net_peer *peer, zmq_msg_t *body, struct net_frame *f)
{
	struct base_block *block = NULL;

	if (f->head->n_items == 1 && f->body_size > NET_COPY_MAX) {
		block = net_block_take(body);
		if (block)
			f->body = block->data;
	}
	r->events.on_message(r->events.arg, peer->number, f, block);
	base_block_unref(&block);
}

/* Its message is lost, and what it told of would be missed: it is to start anew. */
static void give_up(struct net_router *r, zmq_msg_t *id)
{
	struct net_peer *peer = net_peers_find(&r->peers, zmq_msg_data(id), zmq_msg_size(id));

	if (peer)
		net_dest_break(&peer->dest);
}

static void take(struct net_router *r, zmq_msg_t *id, zmq_msg_t *head, zmq_msg_t *body)
{
	struct net_peer *peer;
	struct net_frame f;
	enum base_err err;

	r->stats.messages_in++;
	r->stats.bytes_in += zmq_msg_size(head) + zmq_msg_size(body);
	base_arena_reset(&r->arena);
	err = net_frame_open(&r->arena, zmq_msg_data(head), zmq_msg_size(head), zmq_msg_data(body),
		zmq_msg_size(body), &f);
	if (err == BASE_NOMEM) {
		give_up(r, id);
		return;
	}
	if (err) {
		complain(r, "not a message of Pirn's");
		return;
	}
	peer = peer_of(r, id, &f);
	if (peer)
		deliver(r, peer, body, &f);
}

/* Reads the rest of a message of which more frames follow; their number. */
static size_t read_frames(struct net_router *r, zmq_msg_t *last, zmq_msg_t *frames, size_t room)
{
	size_t n = 0;
	zmq_msg_t *at = last;

	while (zmq_msg_more(at)) {
		at = &frames[n < room ? n : room - 1];
		if (zmq_msg_recv(at, r->socket, ZMQ_DONTWAIT) < 0)
			break;
		n++;
	}
	return n;
}

static bool read_one(struct net_router *r)
{
	zmq_msg_t id, frames[2];
	bool got;

	zmq_msg_init(&id);
	zmq_msg_init(&frames[0]);
	zmq_msg_init(&frames[1]);
	got = zmq_msg_recv(&id, r->socket, ZMQ_DONTWAIT) >= 0;
	if (got) {
		r->happened = true;
		if (read_frames(r, &id, frames, 2) == 2)
			take(r, &id, &frames[0], &frames[1]);
		else
			complain(r, "not two frames");
	}
	zmq_msg_close(&frames[1]);
	zmq_msg_close(&frames[0]);
	zmq_msg_close(&id);
	return got;
}

static bool read_inbox(struct net_router *r)
{
	unsigned n = 0;

	while (n < NET_READ_TURN && read_one(r))
		n++;
	return n == NET_READ_TURN;
}

static bool on_read(void *arg)
{
	struct net_router *r = arg;
	bool more = false;

	net_monitor_read(r->monitor, on_monitor, r);
	if (net_wake_take(r->wake) || r->n_suspects > 0 || r->gone)
		more = read_inbox(r);
	if (more)
		net_wake_again(r->wake);
	probe(r);
	if (r->gone && (!more || ++r->gone_turns > GONE_PATIENCE))
		tell_gone(r);
	return more;
}

static bool on_run(void *arg)
{
	struct net_router *r = arg;

	if (r->happened && r->events.on_turn)
		r->events.on_turn(r->events.arg);
	r->happened = false;
	return false;
}

static bool on_flush(void *arg)
{
	struct net_router *r = arg;
	bool sent = net_outbox_flush(&r->outbox);

	r->stats.messages_out = r->outbox.messages_out;
	r->stats.bytes_out = r->outbox.bytes_out;
	r->stats.peers = r->peers.n;
	if (sent && net_socket_readable(r->socket))
		net_wake_again(r->wake);
	return false;
}

/* ---- birth and death ------------------------------------------------------ */

static enum base_err hook_up(struct net_router *r)
{
	static net_stage_fn *const fns[NET_STAGE__N] = { on_read, on_run, on_flush };
	enum base_err err = net_loop_wake_on(r->loop, r->socket, &r->wake);

	for (int i = 0; !err && i < NET_STAGE__N; i++)
		err = net_loop_hook(r->loop, (enum net_stage)i, fns[i], r, &r->hooks[i]);
	if (err)
		return err;
	r->timer = calloc(1, sizeof *r->timer);
	if (!r->timer)
		return BASE_NOMEM;
	uv_timer_init(net_loop_uv(r->loop), r->timer);
	uv_unref((uv_handle_t *)r->timer);
	return BASE_OK;
}

enum base_err net_router_new(struct net_loop *loop, const char *endpoints,
	const struct net_router_events *events, struct net_router **out, char **why)
{
	struct net_router *r = calloc(1, sizeof *r);
	enum base_err err;

	if (!r)
		return BASE_NOMEM;
	r->loop = loop;
	r->events = *events;
	base_arena_init(&r->arena, ARENA_FIRST, ARENA_MAX);
	net_outbox_init(&r->outbox, on_broken, r);
	err = net_socket_new(loop, ZMQ_ROUTER, false, &r->socket);
	if (err)
		goto fail;
	err = net_monitor_new(loop, r->socket, &r->monitor);
	if (err)
		goto fail;
	err = net_bind_all(r->socket, endpoints, why);
	if (err)
		goto fail;
	err = hook_up(r);
	if (err)
		goto fail;
	*out = r;
	return BASE_OK;
fail:
	net_router_free(&r);
	return err;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

void net_router_free(struct net_router **rp)
{
	struct net_router *r = *rp;
	struct net_peer *peer, *next;

	if (!r)
		return;
	*rp = NULL;
	net_outbox_flush(&r->outbox);
	for (int i = 0; i < NET_STAGE__N; i++)
		net_loop_unhook(&r->hooks[i]);
	if (r->timer)
		uv_close((uv_handle_t *)r->timer, on_timer_closed);
	HASH_ITER (hh, r->peers.by_id, peer, next)
		net_peers_remove(&r->peers, peer);
	net_outbox_fini(&r->outbox);
	base_arena_fini(&r->arena);
	net_monitor_free(&r->monitor);
	net_wake_free(&r->wake);
	net_socket_close(&r->socket, NET_LINGER_MS);
	free(r);
}

/* ---- sending -------------------------------------------------------------- */

enum base_err net_router_item(struct net_router *r, uint32_t number, uint32_t kind,
	Pirn__Item *item, const struct net_payload *payload)
{
	struct net_peer *peer = net_peers_get(&r->peers, number);

	return peer ? net_dest_item(&peer->dest, kind, item, payload) : BASE_GONE;
}

enum base_err net_router_credit(struct net_router *r, uint32_t number, const Pirn__Credit *credit)
{
	struct net_peer *peer = net_peers_get(&r->peers, number);

	return peer ? net_dest_credit(&peer->dest, credit) : BASE_GONE;
}

enum base_err net_router_control(
	struct net_router *r, uint32_t number, uint32_t kind, const ProtobufCMessage *message)
{
	struct net_peer *peer = net_peers_get(&r->peers, number);

	return peer ? net_dest_control(&peer->dest, kind, message) : BASE_GONE;
}

void net_router_forget(struct net_router *r, uint32_t number)
{
	struct net_peer *peer = net_peers_get(&r->peers, number);

	if (peer)
		remove_peer(r, peer);
}

const struct net_router_stats *net_router_stats(const struct net_router *r)
{
	return &r->stats;
}
