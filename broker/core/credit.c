/* Credit, in both directions. A worker's word replaces the one before it, whatever
 * order of events led to it; a lower one takes credit back and is answered at once
 * with how much was used, so that the worker knows what it may give elsewhere.
 *
 * The other way: while calls wait and no credit is left, the service's workers hear
 * how many, at most every BRK_NOTICE_MS; and once 0 when that is over. Only what
 * differs from what a worker heard last is sent.
 */
#include "broker/core/parts.h"

/* lowered: the answer to credit that was taken back; what a worker granted before it was seen
 * may equal what it granted after, so the numbers alone do not tell an answer from a notice that
 * crossed. */
static void send_credit(
	struct brk_core *core, struct brk_link *link, uint32_t waiting, bool lowered)
{
	struct brk_action *a = brk_act(core, BRK_SEND_CREDIT, link->peer->id);

	a->credit = core->blank_credit;
	a->credit.service = link->service->name;
	a->credit.has_granted = a->credit.has_used = a->credit.has_waiting = true;
	a->credit.granted = link->granted;
	a->credit.used = link->used;
	a->credit.waiting = waiting;
	a->credit.has_lowered = a->credit.lowered = lowered;
	link->told_waiting = waiting;
}

/* UNTRUSTED: any number, for any name. */
static void grant(struct brk_core *core, struct brk_peer *peer, const Pirn__Credit *credit)
{
	struct brk_link *link = brk_link_find(peer, credit->service);
	bool taken_back;

	if (!link || !credit->has_granted) {
		core->figures.malformed++;
		return;
	}
	taken_back = credit->granted < link->granted;
	if (taken_back && BRK_FAULTY(core, IGNORE_RETRACTION))
		return;
	brk_link_grant(core, link, credit->granted);
	if (taken_back) {
		send_credit(core, link, link->service->queue.n, true);
		link->service->told_some = true;
	}
}

void brk_credit_apply(struct brk_core *core, struct brk_peer *peer, const Pirn__Head *head)
{
	for (size_t i = 0; i < head->n_credits; i++)
		grant(core, peer, head->credits[i]);
}

void brk_credit_message(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	brk_credit_apply(core, peer, m->head);
}

/* What the workers should know. More credit is of no use to a service that is at its
 * concurrency_total, or whose breaker lets nothing through. */
static uint32_t backlog_of(const struct brk_core *core, const struct brk_service *service)
{
	uint32_t events =
		brk_run_is_wanted(core, service) ? service->events[BRK_DELIVERY_READY].n : 0;

	if (brk_service_is_full(service) || !brk_breaker_lets(core, service))
		return 0;
	return service->queue.n + events;
}

void brk_credit_notice(struct brk_core *core, struct brk_service *service)
{
	uint32_t waiting = backlog_of(core, service);
	struct brk_link *link;

	base_heap_remove(&core->notices, &service->notice);
	if (waiting > 0 && brk_service_has_credit(service))
		return; /* dispatch goes on in the next tick */
	if (waiting == service->told_waiting && !service->told_some)
		return;
	if (BRK_FAULTY(core, NO_NOTICE))
		return;
	if (core->now_ms < service->next_notice_ms) {
		enum base_err err =
			base_heap_push(&core->notices, &service->notice, service->next_notice_ms);
		(void)err; /* there is room: brk_service_new reserved it */
		return;
	}
	for (link = service->links; link; link = link->service_next) {
		if (link->place > 0 && link->told_waiting != waiting) {
			send_credit(core, link, waiting, false);
			service->next_notice_ms = core->now_ms + BRK_NOTICE_MS;
		}
	}
	service->told_waiting = waiting;
	service->told_some = false;
}

void brk_credit_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->notices)) && node->due <= core->now_ms) {
		struct brk_service *service = base_heap_of(node, struct brk_service, notice);

		base_heap_remove(&core->notices, node);
		brk_service_touch(core, service);
	}
}
