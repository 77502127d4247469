#include "broker/core/fan.h"

#include <stdlib.h>
#include <string.h>

#include "base/manifest.h"
#include "broker/core/callback.h"
#include "broker/core/parts.h"

_Static_assert(BRK_PATTERN_MAX == BASE_MANIFEST_PATTERN_MAX &&
		       BRK_SUBSCRIPTIONS_MAX == BASE_MANIFEST_SUBSCRIPTIONS_MAX,
	"the index takes what a manifest may say");
_Static_assert(BRK_MAX_ITEMS <= STORE_ENTRY_DELIVERIES, "a message is one run at most");

/* ---- subscriptions -------------------------------------------------------- */

const char *brk_fan_judge(const Pirn__Manifest *manifest)
{
	if (manifest->n_subscriptions > BRK_SUBSCRIPTIONS_MAX)
		return "too many subscriptions";
	for (size_t i = 0; i < manifest->n_subscriptions; i++) {
		const Pirn__Subscription *one = manifest->subscriptions[i];

		if (!one->type || !base_manifest_is_pattern(one->type))
			return "a subscription's type is not 1 to 255 bytes of text";
		if (one->source && !base_manifest_is_pattern(one->source))
			return "a subscription's source is not 1 to 255 bytes of text";
		if (one->subject && !base_manifest_is_pattern(one->subject))
			return "a subscription's subject is not 1 to 255 bytes of text";
	}
	return NULL;
}

enum base_err brk_fan_subscribe(
	struct brk_core *core, struct brk_service *service, const Pirn__Manifest *manifest)
{
	struct brk_subscription list[BRK_SUBSCRIPTIONS_MAX];

	for (size_t i = 0; i < manifest->n_subscriptions; i++) {
		const Pirn__Subscription *one = manifest->subscriptions[i];

		list[i] = (struct brk_subscription){ { one->type, one->source, one->subject } };
	}
	return brk_subscribe_set(
		&core->subscribe, &service->subscriber, list, manifest->n_subscriptions);
}

static struct brk_service *service_of(struct brk_subscriber *subscriber)
{
	return (struct brk_service *)((char *)subscriber -
				      offsetof(struct brk_service, subscriber));
}

/* ---- whom an event is for ------------------------------------------------- */

static bool set_part(struct brk_topic *topic, enum brk_topic_part part, const char *text)
{
	topic->part[part].text = text ? text : "";
	topic->part[part].size = text ? strnlen(text, BRK_TOPIC_MAX + 1) : 0;
	return topic->part[part].size <= BRK_TOPIC_MAX;
}

static uint32_t match(struct brk_core *core, const Pirn__Item *item, size_t *n)
{
	uint32_t room = STORE_ENTRY_DELIVERIES - core->fan.n_deliveries;
	struct brk_topic topic;

	if (!item->type)
		return PIRN__REASON__UNKNOWN_SERVICE;
	if (!set_part(&topic, BRK_TOPIC_TYPE, item->type) ||
		!set_part(&topic, BRK_TOPIC_SOURCE, item->source) ||
		!set_part(&topic, BRK_TOPIC_SUBJECT, item->subject) || item->type[0] == '\0')
		return PIRN__REASON__MALFORMED;
	*n = brk_subscribe_match(&core->subscribe, &topic, core->fan.found, room);
	if (*n > room)
		return PIRN__REASON__TOO_LARGE;
	return *n == 0 && core->conf.strict ? PIRN__REASON__NO_SUBSCRIBER : PIRN__REASON__NONE;
}

static uint32_t find(struct brk_core *core, const Pirn__Item *item, size_t *n)
{
	struct brk_service *service;

	if (!item->service)
		return match(core, item, n);
	service = brk_callback_is(item->service) ? NULL : brk_service_find(core, item->service);
	if (!service)
		return PIRN__REASON__UNKNOWN_SERVICE;
	if (core->fan.n_deliveries == STORE_ENTRY_DELIVERIES)
		return PIRN__REASON__TOO_LARGE;
	core->fan.found[0] = &service->subscriber;
	*n = 1;
	return PIRN__REASON__NONE;
}

/* ---- one item ------------------------------------------------------------- */

static uint32_t add_delivery(struct brk_core *core, struct brk_arrival *arrival,
	struct brk_service *service, const Pirn__Item *item, const struct brk_payload *payload)
{
	uint64_t size = (uint64_t)payload->meta_size + payload->data_size;
	uint32_t reason = core->fan.sent ? brk_accept_judge_sent(core, size)
					 : brk_accept_judge_room(core, service, size);
	struct brk_delivery *delivery;

	if (reason != PIRN__REASON__NONE && !core->fan.owed)
		return reason;
	delivery = brk_accept_delivery(core, service, item, payload);
	if (!delivery)
		return PIRN__REASON__OVERLOADED;
	core->fan.deliveries[core->fan.n_deliveries++] = delivery;
	if (arrival->n++ == 0)
		arrival->delivery = delivery;
	return PIRN__REASON__NONE;
}

static uint32_t add_arrival(struct brk_core *core, const struct brk_arrival *begun,
	const Pirn__Item *item, const struct brk_payload *payload, size_t n)
{
	struct brk_arrival *arrival = &core->fan.arrivals[core->fan.n_arrivals];
	uint32_t reason = PIRN__REASON__NONE;

	*arrival = *begun;
	arrival->fanned = !item->service;
	if (arrival->fanned && BRK_TAILED(core))
		brk_tail_topic(core, item);
	if (n > 1 && BRK_FAULTY(core, FANOUT_FORGETS_ONE))
		n--;
	core->fan.payloads[core->fan.n_arrivals++] = *payload;
	for (size_t i = 0; i < n && reason == PIRN__REASON__NONE; i++)
		reason = add_delivery(core, arrival, service_of(core->fan.found[i]), item, payload);
	for (size_t i = 0; n > 1 && i < arrival->n; i++)
		core->fan.deliveries[core->fan.n_deliveries - 1 - i]->flags |= BRK_DELIVERY_FANNED;
	return reason;
}

/* Whatever it says, what was made of the run until then is the run's to undo. */
static uint32_t add(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	const struct brk_payload *payload)
{
	uint32_t reason = brk_accept_judge(core, item);
	struct brk_arrival arrival;
	size_t n = 0;

	/* A timer's slot is one service's. */
	if (!(item->flags & PIRN__ITEM_FLAG__EVENT) || item->timer)
		reason = PIRN__REASON__MALFORMED;
	if (reason == PIRN__REASON__NONE)
		reason = find(core, item, &n);
	if (reason != PIRN__REASON__NONE)
		return reason;
	if (n == 0)
		core->fan.nothing[core->fan.n_nothing++] = item;
	else if (!brk_accept_begin(core, peer, item, &arrival))
		reason = PIRN__REASON__OVERLOADED;
	else
		reason = add_arrival(core, &arrival, item, payload, n);
	return reason;
}

void brk_fan_begin(struct brk_core *core)
{
	core->fan.n_deliveries = core->fan.n_arrivals = core->fan.n_nothing = 0;
	core->fan.sent = core->fan.owed = false;
}

uint32_t brk_fan_add(struct brk_core *core, const struct brk_arrival *arrival,
	const Pirn__Item *item, const struct brk_payload *payload)
{
	size_t n = 0;
	uint32_t reason = find(core, item, &n);

	if (reason != PIRN__REASON__NONE)
		return reason;
	core->fan.n_nothing += n == 0;
	return n > 0 ? add_arrival(core, arrival, item, payload, n) : PIRN__REASON__NONE;
}

/* ---- a run ---------------------------------------------------------------- */

size_t brk_fan_run(const Pirn__Head *head, size_t first)
{
	const Pirn__Item *item = head->items[first];
	size_t n = 1;

	if (!(item->flags & (PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__TOGETHER)))
		return 0;
	if (!(item->flags & PIRN__ITEM_FLAG__TOGETHER))
		return item->service || !item->type ? 0 : 1;
	while (first + n < head->n_items &&
		(head->items[first + n - 1]->flags & PIRN__ITEM_FLAG__TOGETHER))
		n++;
	return n;
}

uint32_t brk_fan_owe(struct brk_core *core, struct brk_service *service, const Pirn__Item *item,
	const struct brk_payload *payload)
{
	const struct brk_arrival arrival = { 0 };

	core->fan.owed = true;
	core->fan.found[0] = &service->subscriber;
	return add_arrival(core, &arrival, item, payload, 1);
}

void brk_fan_undo(struct brk_core *core)
{
	struct brk_delivery *const *deliveries = core->fan.deliveries;

	for (uint32_t i = 0; i < core->fan.n_arrivals; i++) {
		struct brk_arrival *arrival = &core->fan.arrivals[i];

		arrival->waits = false;
		brk_accept_drop(core, arrival, deliveries, PIRN__REASON__NONE);
		deliveries += arrival->n;
	}
	brk_fan_begin(core);
}

static uint32_t keep(struct brk_core *core)
{
	struct brk_fan *fan = &core->fan;
	struct brk_parcel parcel = { fan->arrivals, fan->payloads, fan->n_arrivals,
		fan->deliveries };

	for (uint32_t i = 0; i + 1 < fan->n_arrivals; i++)
		fan->arrivals[i].together = true;
	if (fan->n_arrivals > 0 && brk_ledger_store(core, &parcel))
		return PIRN__REASON__OVERLOADED;
	return PIRN__REASON__NONE;
}

static void answer(struct brk_core *core, const struct brk_peer *peer)
{
	struct brk_fan *fan = &core->fan;

	for (uint32_t i = 0; i < fan->n_arrivals; i++)
		brk_accept_taken(core, &fan->arrivals[i]);
	for (uint32_t i = 0; i < fan->n_nothing; i++)
		brk_accept_nothing(core, peer, fan->nothing[i]);
	core->figures.events_unrouted += fan->n_nothing;
}

void brk_fan_submit(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m,
	size_t first, size_t n, size_t *offset)
{
	uint32_t reason = PIRN__REASON__NONE;

	brk_fan_begin(core);
	for (size_t i = first; i < first + n; i++) {
		struct brk_payload payload = brk_payload_next(m, m->head->items[i], offset);

		if (reason == PIRN__REASON__NONE && core->conf.events)
			reason = add(core, peer, m->head->items[i], &payload);
	}
	if (!core->conf.events)
		reason = PIRN__REASON__UNSUPPORTED;
	if (reason == PIRN__REASON__NONE)
		reason = keep(core);
	if (reason == PIRN__REASON__NONE) {
		answer(core, peer);
		return;
	}
	brk_fan_undo(core);
	for (size_t i = first; i < first + n; i++)
		brk_accept_refuse(core, peer, m->head->items[i], reason);
}

/* ---- life ----------------------------------------------------------------- */

enum base_err brk_fan_init(struct brk_core *core)
{
	struct brk_fan *fan = &core->fan;
	enum base_err err = brk_subscribe_init(&core->subscribe, core->conf.seed);

	if (err || !core->conf.events)
		return err;
	fan->found = calloc(STORE_ENTRY_DELIVERIES, sizeof(struct brk_subscriber *));
	fan->deliveries = calloc(STORE_ENTRY_DELIVERIES, sizeof(struct brk_delivery *));
	fan->arrivals = calloc(STORE_ENTRY_DELIVERIES, sizeof *fan->arrivals);
	fan->payloads = calloc(STORE_ENTRY_DELIVERIES, sizeof *fan->payloads);
	fan->nothing = calloc(STORE_ENTRY_DELIVERIES, sizeof(const Pirn__Item *));
	return fan->found && fan->deliveries && fan->arrivals && fan->payloads && fan->nothing
		       ? BASE_OK
		       : BASE_NOMEM;
}

void brk_fan_fini(struct brk_core *core)
{
	struct brk_fan *fan = &core->fan;

	free(fan->found);
	free(fan->deliveries);
	free(fan->arrivals);
	free(fan->payloads);
	free(fan->nothing);
	if (core->subscribe.buckets)
		brk_subscribe_fini(&core->subscribe);
}
