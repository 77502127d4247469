/* A broker's core on a bench: short words to feed it messages and to look at what
 * it does. Every input is followed by brk_core_check.
 */
#ifndef TESTS_CORE_RIG_H
#define TESTS_CORE_RIG_H

#include "broker/core/core.h"
#include "broker/core/parts.h"
#include "tests/unit/unit.h"

#define RIG_UNIX_MS 1800000000000u
#define RIG         __attribute__((unused)) static

struct rig {
	struct brk_core *core;
	uint64_t now_ms;
	const struct brk_actions *out;
};

/* One item of a message, with all that a test wants to say of it. */
struct rig_item {
	const char *service, *data;
	uint32_t slot, generation, flags, left_ms, status, reason;
};

RIG struct brk_conf rig_conf(void)
{
	return (struct brk_conf){
		.name = "rig",
		.boot = "0123456789abcde",
		.max_calls = 100,
		.max_bytes = 100000,
		.max_item_bytes = 10000,
		.beat_ms = 1000,
		.missed_beats = 3,
		.max_peers = 10,
		.max_services = 8,
		.forget_ms = 86400000,
		.seed = 7,
	};
}

RIG void rig_look(struct rig *r, const struct brk_actions *out)
{
	r->out = out;
	brk_core_check(r->core);
}

RIG void rig_tick(struct rig *r, uint64_t ms)
{
	r->now_ms += ms;
	rig_look(r, brk_core_tick(r->core, r->now_ms, RIG_UNIX_MS + r->now_ms));
}

RIG struct rig rig_new(const struct brk_conf *conf)
{
	struct rig r = { .now_ms = 5000 };
	struct brk_conf standard = rig_conf();

	assert_int_equal(brk_core_new(conf ? conf : &standard, &r.core), BASE_OK);
	rig_tick(&r, 0);
	return r;
}

RIG void rig_free(struct rig *r)
{
	brk_core_free(&r->core);
	assert_null(r->core);
}

/* ---- in ------------------------------------------------------------------- */

RIG void rig_head(struct rig *r, uint32_t peer, Pirn__Head *head, const uint8_t *body, size_t size)
{
	struct brk_message m = { .peer = peer, .head = head, .body = body, .body_size = size };

	rig_look(r, brk_core_message(r->core, r->now_ms, &m));
}

RIG void rig_send(struct rig *r, uint32_t peer, uint32_t kind)
{
	Pirn__Head head = PIRN__HEAD__INIT;

	head.kind = kind;
	rig_head(r, peer, &head, NULL, 0);
}

RIG void rig_items(
	struct rig *r, uint32_t peer, uint32_t kind, const struct rig_item *items, size_t n)
{
	static Pirn__Item pb[BRK_MAX_ITEMS];
	static Pirn__Item *list[BRK_MAX_ITEMS];
	static uint8_t body[1 << 20];
	Pirn__Head head = PIRN__HEAD__INIT;
	size_t size = 0;

	for (size_t i = 0; i < n; i++) {
		size_t length = items[i].data ? strlen(items[i].data) : 0;

		pirn__item__init(&pb[i]);
		list[i] = &pb[i];
		pb[i].service = (char *)(uintptr_t)items[i].service;
		pb[i].has_slot = pb[i].has_generation = true;
		pb[i].slot = items[i].slot;
		pb[i].generation = items[i].generation;
		pb[i].flags = items[i].flags;
		pb[i].has_left_ms = items[i].left_ms > 0;
		pb[i].left_ms = items[i].left_ms;
		pb[i].status = items[i].status;
		pb[i].reason = items[i].reason;
		pb[i].data_size = (uint32_t)length;
		memcpy(body + size, items[i].data ? items[i].data : "", length);
		size += length;
	}
	head.kind = kind;
	head.items = list;
	head.n_items = n;
	rig_head(r, peer, &head, body, size);
}

RIG void rig_item(struct rig *r, uint32_t peer, uint32_t kind, struct rig_item item)
{
	rig_items(r, peer, kind, &item, 1);
}

RIG void rig_submit(
	struct rig *r, uint32_t client, uint32_t slot, const char *service, uint32_t flags)
{
	rig_item(r, client, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = service,
			.data = "request",
			.slot = slot,
			.flags = flags,
			.left_ms = 10000 });
}

RIG void rig_credit(struct rig *r, uint32_t worker, const char *service, uint64_t granted)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Credit credit = PIRN__CREDIT__INIT, *list = &credit;

	credit.service = (char *)(uintptr_t)service;
	credit.has_granted = true;
	credit.granted = granted;
	head.kind = PIRN__KIND__CREDIT;
	head.credits = &list;
	head.n_credits = 1;
	rig_head(r, worker, &head, NULL, 0);
}

RIG void rig_say_hello(struct rig *r, uint32_t peer, Pirn__Hello *hello)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	struct brk_message m = { .peer = peer, .head = &head, .hello = hello };

	head.kind = PIRN__KIND__HELLO;
	rig_look(r, brk_core_message(r->core, r->now_ms, &m));
}

/* boot is the peer's number unless said otherwise */
RIG void rig_hello(struct rig *r, uint32_t peer, uint32_t boot, uint32_t role,
	Pirn__Manifest *manifests, size_t n)
{
	Pirn__Hello hello = PIRN__HELLO__INIT;
	Pirn__Manifest *list[16];
	uint8_t bytes[16] = { (uint8_t)boot, (uint8_t)(boot >> 8) };

	for (size_t i = 0; i < n; i++)
		list[i] = &manifests[i];
	hello.version = 1;
	hello.role = role;
	hello.boot = (ProtobufCBinaryData){ sizeof bytes, bytes };
	hello.has_registry = true;
	hello.registry = true;
	hello.services = list;
	hello.n_services = n;
	rig_say_hello(r, peer, &hello);
}

RIG Pirn__Manifest rig_manifest(const char *service)
{
	Pirn__Manifest m = PIRN__MANIFEST__INIT;

	m.service = (char *)(uintptr_t)service;
	return m;
}

RIG void rig_client(struct rig *r, uint32_t peer)
{
	rig_hello(r, peer, peer, PIRN__ROLE__CLIENT, NULL, 0);
}

RIG void rig_worker(struct rig *r, uint32_t peer, const char *service, uint64_t granted)
{
	Pirn__Manifest m = rig_manifest(service);

	rig_hello(r, peer, peer, PIRN__ROLE__WORKER, &m, 1);
	if (granted > 0)
		rig_credit(r, peer, service, granted);
}

/* ---- out ------------------------------------------------------------------ */

/* The nth (from 0) action that sends a message of that kind; NULL: there are fewer. */
RIG const struct brk_action *rig_nth(const struct rig *r, uint32_t kind, size_t nth)
{
	for (size_t i = 0; i < r->out->n; i++) {
		const struct brk_action *a = &r->out->list[i];
		bool sends = a->kind == BRK_SEND_ITEM || a->kind == BRK_SEND_CONTROL;

		if (a->kind == BRK_SEND_CREDIT ? kind == PIRN__KIND__CREDIT
					       : sends && a->message == kind) {
			if (nth-- == 0)
				return a;
		}
	}
	return NULL;
}

RIG size_t rig_count(const struct rig *r, uint32_t kind)
{
	size_t n = 0;

	while (rig_nth(r, kind, n))
		n++;
	return n;
}

/* The only action of that kind. */
RIG const struct brk_action *rig_one(const struct rig *r, uint32_t kind)
{
	assert_int_equal(rig_count(r, kind), 1);
	return rig_nth(r, kind, 0);
}

RIG size_t rig_acts(const struct rig *r, enum brk_action_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < r->out->n; i++)
		n += r->out->list[i].kind == kind;
	return n;
}

RIG void rig_is_refused(const struct rig *r, uint32_t slot, uint32_t reason)
{
	const struct brk_action *a = rig_one(r, PIRN__KIND__REFUSED);

	assert_int_equal(a->item.slot, slot);
	assert_int_equal(a->item.reason, reason);
	assert_int_equal(rig_count(r, PIRN__KIND__DISPATCH), 0);
}

RIG void rig_is_replied(const struct rig *r, uint32_t slot, uint32_t reason, uint32_t status)
{
	const struct brk_action *a = rig_one(r, PIRN__KIND__REPLY);

	assert_int_equal(a->item.slot, slot);
	assert_int_equal(a->item.reason, reason);
	assert_int_equal(a->item.status, status);
}

/* The worker's answer to a DISPATCH. */
RIG void rig_result(
	struct rig *r, uint32_t worker, const Pirn__Item *run, uint32_t status, uint32_t reason)
{
	rig_item(r, worker, PIRN__KIND__RESULT,
		(struct rig_item){ .slot = run->slot,
			.generation = run->generation,
			.status = status,
			.reason = reason,
			.data = status ? "response" : NULL });
}

RIG struct brk_figures rig_figures(const struct rig *r)
{
	struct brk_figures f;

	brk_core_figures(r->core, &f);
	return f;
}

#endif
