/* The broker's core without memory, where one event makes others: fan-out, what comes together, what a run
 * sends, and what tells of an end. Whatever fails: what has one fate has one; an event that was accepted
 * has one end for each service it is for, and its effect there; one that was refused has none; what a run
 * sends is there once if its run's end is "done", and otherwise not; each end that somebody is to be told
 * of is told of once.
 */
#include "tests/oom/core.h"

static const struct brk_actions *seen(const struct brk_actions *out);

#include "broker/core/callback.h"
#include "tests/unit/core_asked.h"

#define SLOTS 64
#define RUNS  64
#define MANY  20000u /* inputs until rest; more is none */
#define URL   "https://example.com/hook"

enum { MAIL = 7, CALLS = 8, FIRST_SENT = 31, SECOND_SENT };

static const char *const services[] = { "hello", "bill", "mail", BRK_CALLBACK_SERVICE };
enum { HELLO, BILL, POST, TOLD, SERVICES };

/* Of an event for a service; what tells of an end has the number of the event that ended. */
static struct fate {
	unsigned tries, effects, done, dead;
} fates[SERVICES][SLOTS];

static struct {
	unsigned accepted, refused;
} senders[SLOTS];

static struct run {
	uint32_t peer, slot, generation, service, event;
} runs[RUNS];
static size_t n_runs;

static struct asked *k;

/* ---- what is seen ------------------------------------------------------------------------- */

static uint32_t place_of(const char *service)
{
	for (uint32_t i = 0; i < SERVICES; i++)
		if (strcmp(services[i], service) == 0)
			return i;
	fail_msg("%s?", service);
	return 0;
}

static uint32_t number_of(const uint8_t *id)
{
	uint32_t number = (uint32_t)id[1] << 8 | id[2];

	assert_true(id[0] == 1 && number < SLOTS);
	return number;
}

static void see_run(const struct brk_action *a)
{
	uint32_t service = place_of(a->item.service), event = number_of(a->item.id.data);

	assert_true(n_runs < RUNS);
	runs[n_runs++] = (struct run){ a->peer, a->item.slot, a->item.generation, service, event };
	fates[service][event].tries++;
}

static const struct brk_actions *seen(const struct brk_actions *out)
{
	for (size_t i = 0; i < out->n; i++) {
		const struct brk_action *a = &out->list[i];

		if (a->kind != BRK_SEND_ITEM)
			continue;
		if (a->message == PIRN__KIND__DISPATCH) {
			see_run(a);
		} else if (a->peer == CLIENT && a->item.slot < SLOTS) {
			senders[a->item.slot].accepted += a->message == PIRN__KIND__ACCEPTED;
			senders[a->item.slot].refused += a->message == PIRN__KIND__REFUSED;
		}
	}
	return out;
}

static bool count_ends(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	for (size_t i = 0; ask->kind == BRK_ASK_SETTLE && i < ask->settle.n; i++)
		for (size_t j = 0; j < ask->settle.entries[i].n; j++) {
			const struct store_end *end = &ask->settle.entries[i].ends[j];
			struct fate *f;

			if (end->how == STORE_MOVED)
				continue;
			f = &fates[place_of(end->service)][number_of(end->id)];
			f->done += end->how == STORE_ENDED;
			f->dead += end->how == STORE_DEAD;
		}
	return asked_do(t, ask, told);
}

/* ---- what is said ------------------------------------------------------------------------- */

static void announce(uint32_t peer, const char *service, const char *type)
{
	Pirn__Manifest m = rig_manifest(service);
	Pirn__Subscription one = PIRN__SUBSCRIPTION__INIT, *list = &one;

	one.type = (char *)(uintptr_t)type;
	m.subscriptions = &list;
	m.n_subscriptions = type ? 1 : 0;
	rig_hello(&k->rig, peer, peer, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&k->rig, peer, service, 50);
	tiny_take(k->t);
}

static void begin(void)
{
	armed = false;
	n_runs = 0;
	memset(fates, 0, sizeof fates);
	memset(senders, 0, sizeof senders);
	k = asked_new(NULL, 50);
	k->t->more = count_ends;
	announce(B, "bill", "order.*");
	announce(MAIL, "mail", "*.paid");
	announce(CALLS, BRK_CALLBACK_SERVICE, NULL);
}

static void end(void)
{
	armed = false;
	asked_free(k);
}

struct event {
	const char *service, *type, *callback;
	uint32_t flags;
};

/* In one message; numbers count from the first. */
static void submit(uint32_t first, const struct event *list, size_t n)
{
	static Pirn__Item items[SLOTS], *pointers[SLOTS];
	static uint8_t ids[SLOTS][16];
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t body[4 * SLOTS];

	memset(body, 'x', sizeof body);
	for (size_t i = 0; i < n; i++) {
		Pirn__Item *item = pointers[i] = &items[i];

		pirn__item__init(item);
		memcpy(ids[i], asked_id(first + (uint32_t)i).data, 16);
		item->service = (char *)(uintptr_t)list[i].service;
		item->type = (char *)(uintptr_t)list[i].type;
		item->callback = (char *)(uintptr_t)list[i].callback;
		item->has_slot = item->has_generation = item->has_id = true;
		item->has_lane = item->has_number = item->has_data_size = true;
		item->slot = first + (uint32_t)i;
		item->generation = 1;
		item->id = (ProtobufCBinaryData){ 16, ids[i] };
		item->flags = PIRN__ITEM_FLAG__EVENT | list[i].flags;
		item->lane = 77;
		item->number = first + i;
		item->data_size = 4;
	}
	head.kind = PIRN__KIND__SUBMIT;
	head.items = pointers;
	head.n_items = n;
	rig_head(&k->rig, CLIENT, &head, body, 4 * n);
	tiny_take(k->t);
}

/* One for whoever wants it, one for a service. */
static size_t pack_sent(uint8_t *out)
{
	Pirn__Emits emits = PIRN__EMITS__INIT;
	Pirn__Emit one = PIRN__EMIT__INIT, two = PIRN__EMIT__INIT, *list[] = { &one, &two };
	uint8_t ids[2][16];

	one.type = (char *)(uintptr_t) "order.paid";
	two.service = (char *)(uintptr_t) "hello";
	one.has_id = two.has_id = true;
	for (uint32_t i = 0; i < 2; i++) {
		memcpy(ids[i], asked_id(FIRST_SENT + i).data, 16);
		list[i]->id = (ProtobufCBinaryData){ 16, ids[i] };
		list[i]->meta = list[i]->data = (ProtobufCBinaryData){ 4, ids[i] };
	}
	emits.events = list;
	emits.n_events = 2;
	return pirn__emits__pack(&emits, out);
}

/* The worker answers the oldest run; that of event 1 sends. */
static void work(void)
{
	struct run run = runs[0];
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t body[512] = "response";
	size_t sent = run.event == 1 && run.service == HELLO ? pack_sent(body + 8) : 0;

	memmove(runs, runs + 1, --n_runs * sizeof runs[0]);
	fates[run.service][run.event].effects++;
	item.has_slot = item.has_generation = item.has_status = item.has_data_size = true;
	item.has_emit_size = sent > 0;
	item.slot = run.slot;
	item.generation = run.generation;
	item.status = 200;
	item.data_size = (uint32_t)(8 + sent);
	item.emit_size = (uint32_t)sent;
	head.kind = PIRN__KIND__RESULT;
	head.items = &list;
	head.n_items = 1;
	rig_head(&k->rig, run.peer, &head, body, 8 + sent);
	tiny_take(k->t);
}

static bool is_at_rest(void)
{
	struct brk_figures f = rig_figures(&k->rig);

	return n_runs == 0 && k->t->first == k->t->last && !brk_core_pending(k->rig.core) &&
	       f.events_ready + f.events_running + f.events_waiting + f.events_ending == 0;
}

static void go_on(unsigned inputs)
{
	while (inputs-- > 0 && !is_at_rest()) {
		if (n_runs > 0)
			work();
		else
			tiny_step(k->t);
	}
}

static void rest(void)
{
	armed = false;
	go_on(MANY);
	assert_true(is_at_rest());
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	assert_int_equal(k->rig.core->event_bytes, 0);
}

/* ---- what must be ------------------------------------------------------------------------- */

/* It ran there and had its effect, so often; or never was. */
static void expect(uint32_t service, uint32_t event, unsigned times)
{
	const struct fate *f = &fates[service][event];

	assert_int_equal(f->done, times);
	assert_int_equal(f->dead, 0);
	assert_int_equal(f->effects, times);
	assert_int_equal(f->tries, times);
}

static bool was_accepted(uint32_t event)
{
	assert_int_equal(senders[event].accepted + senders[event].refused, 1);
	return senders[event].accepted == 1;
}

/* Memory is not short for ever. */
static void expect_life(void)
{
	submit(60, (const struct event[]){ { .type = "order.paid", .callback = URL } }, 1);
	rest();
	assert_true(was_accepted(60));
	expect(BILL, 60, 1);
	expect(POST, 60, 1);
	expect(TOLD, 60, 2);
}

/* ---- paths -------------------------------------------------------------------------------- */

static void fanout_path(void)
{
	static const struct event together[] = {
		{ .service = "hello", .flags = PIRN__ITEM_FLAG__TOGETHER },
		{ .type = "order.paid", .flags = PIRN__ITEM_FLAG__TOGETHER },
		{ .type = "nobody", .flags = PIRN__ITEM_FLAG__TOGETHER },
		{ .type = "order.created" },
	};

	begin();
	armed = true;
	submit(2, (const struct event[]){ { .type = "order.paid" }, { .type = "nobody" } }, 2);
	submit(10, together, 4);
	go_on(100);
	rest();
	expect(BILL, 2, was_accepted(2));
	expect(POST, 2, was_accepted(2));
	(void)was_accepted(3);
	for (uint32_t i = 11; i < 14; i++)
		assert_int_equal(was_accepted(i), was_accepted(10));
	expect(HELLO, 10, was_accepted(10));
	expect(BILL, 11, was_accepted(10));
	expect(POST, 11, was_accepted(10));
	expect(BILL, 13, was_accepted(10));
	expect_life();
	end();
}

/* What a run without room for what it sends is: failed, and runs again; ten times at most. */
static void sent_path(void)
{
	const struct fate *parent = &fates[HELLO][1];

	begin();
	armed = true;
	submit(1, (const struct event[]){ { .service = "hello" } }, 1);
	go_on(60);
	rest();
	assert_int_equal(parent->done + parent->dead, was_accepted(1));
	expect(BILL, FIRST_SENT, parent->done);
	expect(POST, FIRST_SENT, parent->done);
	expect(HELLO, SECOND_SENT, parent->done);
	expect_life();
	end();
}

static void callback_path(void)
{
	const struct event events[] = {
		{ .service = "hello", .callback = URL, .flags = PIRN__ITEM_FLAG__WANT_RESULT },
		{ .type = "order.paid", .callback = URL },
		{ .service = "hello", .callback = URL },
	};

	Pirn__Query query = asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 22);

	begin();
	armed = true;
	submit(20, events, 3);
	tiny_turn(k->t);
	if (k->t->first < k->t->last)
		tiny_tell(k->t);
	asked_ask_many(k, CLIENT, SLOTS, 1, &query);
	go_on(100);
	rest();
	expect(HELLO, 20, was_accepted(20));
	expect(TOLD, 20, was_accepted(20));
	expect(BILL, 21, was_accepted(21));
	expect(POST, 21, was_accepted(21));
	expect(TOLD, 21, was_accepted(21) ? 2 : 0);
	assert_int_equal(fates[HELLO][22].done, was_accepted(22));
	expect(TOLD, 22, was_accepted(22));
	expect_life();
	end();
}

/* ------------------------------------------------------------------------------------------ */

#define SWEEP(name, path) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, OOM_MAY_ABORT); \
	}

SWEEP("core: fan-out, and together", fanout_path)
SWEEP("core: what a run sends", sent_path)
SWEEP("core: telling of ends", callback_path)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fanout_path),
		cmocka_unit_test(test_sent_path),
		cmocka_unit_test(test_callback_path),
	};

	return cmocka_run_group_tests_name("core, events from events, out of memory", tests, NULL, NULL);
}
