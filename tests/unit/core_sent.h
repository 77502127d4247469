/* The core's bench with services that send, and hear of it: short words for what a worker's RESULT brings.
 */
#ifndef TESTS_CORE_SENT_H
#define TESTS_CORE_SENT_H

#include "broker/core/emit.h"
#include "tests/unit/core_asked.h"

enum { C = 7 }; /* who has "bill"; A has "hello" */

struct said {
	const char *type, *source, *service, *data;
	const char *id; /* 16 bytes */
	uint32_t size;  /* of data, when it is not text */
};

/* "bill" takes orders, "hello" runs and sends. */
RIG struct asked *sent_shop(const struct brk_conf *conf)
{
	struct asked *k = asked_new(conf, 10);
	Pirn__Manifest m = rig_manifest("bill");
	Pirn__Subscription one = PIRN__SUBSCRIPTION__INIT, *list = &one;

	one.type = (char *)"order.*";
	m.subscriptions = &list;
	m.n_subscriptions = 1;
	rig_hello(&k->rig, C, C, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&k->rig, C, "bill", 10);
	tiny_take(k->t);
	return k;
}

RIG Pirn__Item sent_run(const struct asked *k, const char *service)
{
	for (size_t i = 0;; i++) {
		const struct brk_action *a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, i);

		assert_non_null(a);
		if (strcmp(a->item.service, service) == 0)
			return a->item;
	}
}

RIG size_t sent_pack(const struct said *said, size_t n, uint8_t *out, size_t room)
{
	static Pirn__Emit list[BRK_EMITS_MAX + 1], *pointers[BRK_EMITS_MAX + 1];
	Pirn__Emits emits = PIRN__EMITS__INIT;
	size_t size;

	for (size_t i = 0; i < n; i++) {
		pointers[i] = &list[i];
		pirn__emit__init(&list[i]);
		list[i].type = (char *)(uintptr_t)said[i].type;
		list[i].source = (char *)(uintptr_t)said[i].source;
		list[i].service = (char *)(uintptr_t)said[i].service;
		list[i].meta = (ProtobufCBinaryData){ 4, (uint8_t *)(uintptr_t) "meta" };
		list[i].data = (ProtobufCBinaryData){ said[i].size ? said[i].size : strlen(said[i].data),
			(uint8_t *)(uintptr_t)said[i].data };
		list[i].has_id = said[i].id != NULL;
		list[i].id = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)said[i].id };
	}
	emits.events = pointers;
	emits.n_events = n;
	size = pirn__emits__get_packed_size(&emits);
	assert_true(size <= room);
	return pirn__emits__pack(&emits, out);
}

/* The worker's answer: a body, and behind it what is sent. */
RIG void sent_result(struct asked *k, Pirn__Item run, uint32_t status, const uint8_t *sent,
	size_t size, uint32_t emit_size)
{
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	static uint8_t body[BRK_EMITS_ROOM * 2];

	memcpy(body, "answer", 6);
	if (size > 0)
		memcpy(body + 6, sent, size);
	item.has_slot = item.has_generation = item.has_status = item.has_emit_size = true;
	item.has_data_size = true;
	item.slot = run.slot;
	item.generation = run.generation;
	item.status = status;
	item.data_size = (uint32_t)(6 + size);
	item.emit_size = emit_size;
	head.kind = PIRN__KIND__RESULT;
	head.items = &list;
	head.n_items = 1;
	rig_head(&k->rig, A, &head, body, 6 + size);
	tiny_take(k->t);
}

RIG void sent_say(struct asked *k, Pirn__Item run, uint32_t status, const struct said *said, size_t n)
{
	static uint8_t bytes[BRK_EMITS_ROOM * 2];
	size_t size = sent_pack(said, n, bytes, sizeof bytes);

	sent_result(k, run, status, bytes, size, (uint32_t)size);
}

RIG const struct said sent_order = { .type = "order.created", .data = "1" };

#endif
