/* The client's engine without memory, and a broker's router with it: one loop, with a
 * broker of a few lines in it that knows its peers, answers calls with their bodies, and takes an
 * event of one lane and number once. What the lines here need, they get; what the router, the links
 * and the engine need, they may not.
 *
 * Each call that the engine took has one answer: the right one, or an error. One that it did not take was
 * never seen by the broker; an event of which it says that it was refused was not accepted.
 */
#include "tests/oom/oom.h"

#include "client/engine.h"
#include "client/invocation.h"
#include "net/loop.h"
#include "net/router.h"

#define CALLS    24
#define PEERS    64
#define GUARD_MS 40000

/* ---- the broker ------------------------------------------------------------------------------ */

static struct net_loop *loop;
static struct net_router *router;
static uint32_t peers[PEERS];
static size_t n_peers;
static bool accepted[CALLS + 1], ran[CALLS + 1]; /* by number, by what is in the body */

static bool is_known(uint32_t peer)
{
	for (size_t i = 0; i < n_peers; i++)
		if (peers[i] == peer)
			return true;
	return false;
}

/* A peer that cannot be told is lost, as a broker would have it. */
static void sent(uint32_t peer, enum base_err err)
{
	if (err)
		net_router_forget(router, peer);
}

static void tell_registry(uint32_t peer)
{
	Pirn__Manifest manifests[] = { PIRN__MANIFEST__INIT, PIRN__MANIFEST__INIT };
	Pirn__Entry entries[] = { PIRN__ENTRY__INIT, PIRN__ENTRY__INIT };
	Pirn__Entry *list[] = { &entries[0], &entries[1] };
	Pirn__Registry registry = PIRN__REGISTRY__INIT;

	manifests[0].service = (char *)(uintptr_t) "hello";
	manifests[1].service = (char *)(uintptr_t) "other";
	for (int i = 0; i < 2; i++) {
		entries[i].manifest = &manifests[i];
		entries[i].has_workers = true;
		entries[i].workers = 1;
	}
	registry.entries = list;
	registry.n_entries = 2;
	registry.has_events = registry.events = true;
	sent(peer, net_router_control(router, peer, PIRN__KIND__REGISTRY, &registry.base));
}

static void welcome(uint32_t peer)
{
	static uint8_t boot[16] = "a broker's boot";
	Pirn__Welcome w = PIRN__WELCOME__INIT;

	if (!is_known(peer)) {
		assert_true(n_peers < PEERS);
		peers[n_peers++] = peer;
	}
	w.version = 1;
	w.has_revision = true;
	w.revision = 1;
	w.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	w.has_beat_ms = true;
	w.beat_ms = 1000;
	sent(peer, net_router_control(router, peer, PIRN__KIND__WELCOME, &w.base));
	tell_registry(peer);
}

static void answer_question(Pirn__Item *reply, const struct net_payload *p, uint8_t out[256],
	struct net_payload *answer)
{
	Pirn__Query *query = pirn__query__unpack(NULL, p->data_size, p->data);
	Pirn__Answer a = PIRN__ANSWER__INIT;
	Pirn__Invocation one = PIRN__INVOCATION__INIT, *list = &one;

	assert_non_null(query);
	a.has_epoch = a.has_loaded = a.loaded = true;
	a.epoch = 5;
	a.owners = &a.epoch;
	a.n_owners = 1;
	one.id = query->id;
	one.service = (char *)(uintptr_t) "hello";
	one.state = PIRN__INVOCATION_STATE__DONE;
	a.invocations = &list;
	a.n_invocations = 1;
	reply->has_status = false;
	*answer = (struct net_payload){ .data = out };
	answer->data_size = (uint32_t)pirn__answer__pack(&a, out);
	pirn__query__free_unpacked(query, NULL);
}

static void take_item(
	uint32_t peer, uint32_t kind, const Pirn__Item *item, const struct net_payload *p)
{
	Pirn__Item reply = PIRN__ITEM__INIT;
	struct net_payload answer = *p;
	uint8_t out[256];

	if (kind == PIRN__KIND__CANCEL)
		return;
	reply.has_slot = reply.has_generation = reply.has_status = true;
	reply.slot = item->slot;
	reply.generation = item->generation;
	reply.status = 200;
	if (kind == PIRN__KIND__QUERY) {
		answer_question(&reply, p, out, &answer);
		kind = PIRN__KIND__ANSWER;
	} else if (item->flags & PIRN__ITEM_FLAG__EVENT) {
		kind = PIRN__KIND__ACCEPTED;
		accepted[p->data[0]] = true;
		answer = (struct net_payload){ 0 };
	} else {
		kind = PIRN__KIND__REPLY;
		ran[p->data[0]] = true;
	}
	sent(peer, net_router_item(router, peer, kind, &reply, &answer));
}

static void hear(uint32_t peer, const struct net_frame *f, struct base_block *block)
{
	size_t offset = 0;

	if (f->head->kind == PIRN__KIND__HELLO) {
		welcome(peer);
		return;
	}
	if (!is_known(peer)) {
		sent(peer, net_router_control(router, peer, PIRN__KIND__RESYNC, NULL));
		return;
	}
	if (f->head->kind == PIRN__KIND__BEAT)
		sent(peer, net_router_control(router, peer, PIRN__KIND__BEAT, NULL));
	for (size_t i = 0; i < f->head->n_items; i++) {
		struct net_payload p = net_frame_payload(f, f->head->items[i], &offset);

		p.block = block;
		take_item(peer, f->head->kind, f->head->items[i], &p);
	}
}

static void on_message(
	void *arg, uint32_t peer, const struct net_frame *f, struct base_block *block)
{
	unsigned depth = oom_depth;

	(void)arg;
	oom_depth = 0;
	hear(peer, f, block);
	oom_depth = depth;
}

static void on_gone(void *arg, uint32_t peer)
{
	(void)arg;
	for (size_t i = 0; i < n_peers; i++)
		if (peers[i] == peer)
			peers[i--] = peers[--n_peers];
}

/* ---- the client ------------------------------------------------------------------------------- */

static struct client_engine *engine;
static uv_timer_t guard;
static bool expired;
static char endpoint[128];
static struct call {
	bool taken, ended, event;
	uint8_t number;
	enum _Pirn__Reason reason;
	uint32_t status;
	uint64_t handle;
} calls[CALLS + 1];
static size_t n_told, n_services;

static void on_guard(uv_timer_t *timer)
{
	(void)timer;
	expired = true;
}

static void on_registry(void *arg, const Pirn__Registry *r)
{
	(void)arg;
	n_told++;
	n_services = r->n_entries;
	for (size_t i = 0; i < r->n_entries; i++)
		assert_non_null(r->entries[i]->manifest);
	assert_true(r->n_entries == 0 || r->n_entries == 2);
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct call *call = arg;
	unsigned depth = oom_depth;

	oom_depth = 0;
	assert_true(call->taken && !call->ended);
	call->ended = true;
	call->reason = reply->reason;
	call->status = reply->status;
	if (!call->event && reply->reason == PIRN__REASON__NONE) {
		assert_int_equal(reply->status, 200);
		assert_int_equal(reply->payload.data_size, call->number % 4 ? 3 : 30000);
		assert_int_equal(reply->payload.data[0], call->number);
	}
	oom_depth = depth;
}

static void turn(void)
{
	uv_loop_t *uv = net_loop_uv(loop);

	if (expired)
		fail_msg("nothing came of it");
	OOM(uv_run(uv, UV_RUN_ONCE));
}

static void set_up(void)
{
	const struct net_router_events brokers = { .on_message = on_message, .on_gone = on_gone };
	const struct client_engine_events events = { .on_registry = on_registry };
	struct client_engine_conf conf = { .name = "test", .brokers = endpoint };
	char *why = NULL;
	unsigned tries = 0;
	enum base_err err;

	n_peers = n_told = n_services = 0;
	expired = false;
	memset(calls, 0, sizeof calls);
	memset(accepted, 0, sizeof accepted);
	memset(ran, 0, sizeof ran);
	snprintf(endpoint, sizeof endpoint, "ipc:///tmp/pirn-oom-%d", (int)getpid());
	assert_int_equal(net_loop_new(&loop), BASE_OK);
	uv_timer_init(net_loop_uv(loop), &guard);
	uv_timer_start(&guard, on_guard, GUARD_MS, 0);
	assert_int_equal(net_router_new(loop, endpoint, &brokers, &router, &why), BASE_OK);
	do {
		err = tries < 3 ? OOM_GET(client_engine_new(loop, &conf, &events, &engine, &why))
				: client_engine_new(loop, &conf, &events, &engine, &why);
		assert_true(err == BASE_OK || err == BASE_NOMEM);
	} while (err && ++tries);
}

static void tear_down(void)
{
	client_engine_free(&engine);
	net_router_free(&router);
	uv_close((uv_handle_t *)&guard, NULL);
	net_loop_free(&loop);
}

static void send_one(uint8_t number, bool event)
{
	uint8_t data[30000] = { number };
	struct call *call = &calls[number];
	struct client_request request = { .service = "hello",
		.timeout_ms = 400,
		.event = event,
		.idempotent = number % 3 == 0,
		.payload = { .data = data, .data_size = number % 4 ? 3 : sizeof data } };
	enum base_err err;

	*call = (struct call){ .number = number, .event = event, .taken = true };
	err = OOM_GET(client_engine_call(engine, &request, on_reply, call, &call->handle));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	call->taken = !err;
}

static bool all_ended(void)
{
	for (size_t i = 0; i <= CALLS; i++)
		if (calls[i].taken && !calls[i].ended)
			return false;
	return true;
}

static void expect_truth(void)
{
	for (size_t i = 1; i <= CALLS; i++) {
		const struct call *c = &calls[i];
		bool doubt = c->reason == PIRN__REASON__UNDECIDED;

		if (c->number == 0)
			continue;
		if (!c->taken)
			assert_false(accepted[i] || ran[i]);
		else if (c->event && c->reason == PIRN__REASON__NONE)
			assert_true(accepted[i] && c->status == 202);
		else if (c->event && !doubt)
			assert_false(accepted[i]);
		else if (!c->event && c->reason == PIRN__REASON__NONE)
			assert_true(ran[i]);
	}
}

/* The same again, with memory: all goes well. */
static void expect_life(void)
{
	unsigned long nth = oom_nth;

	oom_nth = 0;
	while (client_engine_brokers(engine) == 0 || n_services != 2)
		turn();
	send_one(CALLS, false);
	send_one(CALLS - 1, true);
	while (!all_ended())
		turn();
	assert_int_equal(calls[CALLS].reason, PIRN__REASON__NONE);
	assert_int_equal(calls[CALLS - 1].reason, PIRN__REASON__NONE);
	assert_int_equal(client_engine_open(engine), 0);
	oom_nth = nth;
}

static void calls_path(void)
{
	set_up();
	for (uint8_t i = 1; i <= 8; i++) /* no broker is there yet: they wait */
		send_one(i, i % 2);
	while (!all_ended())
		turn();
	for (uint8_t i = 9; i <= 16; i++)
		send_one(i, i % 2);
	client_engine_cancel(engine, calls[10].handle);
	calls[10] = (struct call){ 0 };
	while (!all_ended())
		turn();
	expect_truth();
	expect_life();
	tear_down();
}

static struct {
	bool came;
	enum client_verdict verdict;
	size_t n;
} told;

static void on_told(void *arg, const struct client_invocations *what)
{
	(void)arg;
	assert_false(told.came);
	told.came = true;
	told.verdict = what->verdict;
	told.n = what->n;
}

/* An invocation that is there is found, or nobody can say. */
static void ask(void)
{
	static const uint8_t id[16] = "sixteen bytes...";
	enum base_err err;

	memset(&told, 0, sizeof told);
	err = OOM_GET(client_invocation_ask(engine, id, 100, on_told, NULL, NULL));
	assert_true(err == BASE_OK || err == BASE_NOMEM || err == BASE_FULL);
	while (!err && !told.came)
		turn();
	if (!err) {
		assert_true(told.verdict == CLIENT_FOUND || told.verdict == CLIENT_CANNOT_SAY);
		assert_int_equal(told.n, told.verdict == CLIENT_FOUND);
	}
}

/* The broker forgets its peer: the link falls, what was under way goes again. */
static void resend_path(void)
{
	set_up();
	while (client_engine_brokers(engine) == 0 || n_services != 2)
		turn();
	for (uint8_t i = 1; i <= 8; i++)
		send_one(i, i % 2);
	n_peers = 0;
	while (!all_ended())
		turn();
	expect_truth();
	ask();
	expect_life();
	tear_down();
}

/* ------------------------------------------------------------------------------------------------ */

#define SWEEP(name, path) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, OOM_MAY_ABORT | OOM_THREADS | OOM_SLOW); \
	}

SWEEP("client: calls and events", calls_path)
SWEEP("client: sent again; a question", resend_path)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_path),
		cmocka_unit_test(test_resend_path),
	};

	return cmocka_run_group_tests_name("client, out of memory", tests, NULL, NULL);
}
