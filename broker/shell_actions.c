#include "broker/shell_parts.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "broker/core/log_ids.h"

/* What text and number of a log action are called: log_ids.h. "text" and "number", when there is no row. */
static const struct {
	const char *text, *number;
} log_keys[BRK_LOG__N] = {
	[BRK_LOG_peer_joined] = { "peer", "number" },
	[BRK_LOG_peer_refused] = { "why", "number" },
	[BRK_LOG_peer_gone] = { "peer", "calls" },
	[BRK_LOG_peer_silent] = { "peer", "ms" },
	[BRK_LOG_peer_replaced] = { "peer", "number" },
	[BRK_LOG_peer_draining] = { "peer", "calls" },
	[BRK_LOG_service_known] = { "service", "routes" },
	[BRK_LOG_service_forgotten] = { "service", "ms" },
	[BRK_LOG_service_refused] = { "why", "number" },
	[BRK_LOG_drain_started] = { "broker", "calls" },
	[BRK_LOG_journal_opened] = { "broker", "epoch" },
	[BRK_LOG_journal_adopted] = { "broker", "journal" },
	[BRK_LOG_journal_not_empty] = { "broker", "journal" },
	[BRK_LOG_entry_unreadable] = { "broker", "turn" },
	[BRK_LOG_fenced] = { "broker", "events" },
	[BRK_LOG_redis_lost_data] = { "broker", "events" },
	[BRK_LOG_ended_before] = { "service", "how" },
	[BRK_LOG_sent_refused] = { "service", "reason" },
	[BRK_LOG_event_dead] = { "service", "reason" },
	[BRK_LOG_breaker_opened] = { "service", "ms" },
	[BRK_LOG_breaker_half_open] = { "service", "openings" },
	[BRK_LOG_breaker_closed] = { "service", "number" },
	[BRK_LOG_breaker_forced] = { "service", "force" },
	[BRK_LOG_worker_ejected] = { "worker", "ms" },
	[BRK_LOG_worker_readmitted] = { "worker", "ejections" },
};

static void log_action(const struct brk_action *a)
{
	for (size_t i = 0; i < BRK_LOG__N; i++) {
		if (strcmp(brk_log_name((enum brk_log_id)i), a->log_id) != 0)
			continue;
		const char *text = log_keys[i].text, *number = log_keys[i].number;
		base_log(brk_log_level(a->log_id), a->log_id,
			LOG_STR(text ? text : "text", a->log_text),
			LOG_U64(number ? number : "number", a->log_number));
		return;
	}
}

/* More than the list holds at once: they are found by their missed beats. */
static void cut_off(struct brk_shell *s, uint32_t peer, enum base_err err)
{
	if (err == BASE_OK || err == BASE_GONE) /* the router tells of GONE itself */
		return;
	base_log(BASE_WARN, "peer_cut_off", LOG_U64("number", peer), LOG_ERR(err));
	if (s->n_cut < BRK_SHELL_CUT)
		s->cut[s->n_cut++] = peer;
}

static enum base_err send_item(struct brk_shell *s, struct brk_action *a)
{
	const struct brk_payload *p = &a->payload;
	const struct net_payload payload = { p->bytes, p->bytes ? p->bytes + p->meta_size : NULL,
		p->meta_size, p->data_size, p->block };
	return net_router_item(s->router, a->peer, a->message, &a->item, &payload);
}

static void keep_service(struct brk_shell *s, const Pirn__Entry *entry)
{
	enum base_err err = brk_catalog_keep(s->catalog, entry);
	if (err)
		base_log(BASE_WARN, "registry_not_kept",
			LOG_STR("service", entry->manifest->service), LOG_ERR(err));
}

static void execute_one(struct brk_shell *s, struct brk_action *a)
{
	switch (a->kind) {
	case BRK_SEND_ITEM:
		cut_off(s, a->peer, send_item(s, a));
		break;
	case BRK_SEND_CREDIT:
		cut_off(s, a->peer, net_router_credit(s->router, a->peer, &a->credit));
		break;
	case BRK_SEND_CONTROL:
		cut_off(s, a->peer, net_router_control(s->router, a->peer, a->message, a->control));
		break;
	case BRK_FORGET:
		net_router_forget(s->router, a->peer);
		break;
	case BRK_KEEP_SERVICE:
		keep_service(s, a->entry);
		break;
	case BRK_DROP_SERVICE:
		brk_catalog_drop(s->catalog, a->entry->manifest->service);
		break;
	case BRK_ASK:
		brk_carrier_ask(s->carrier, s->redis, &a->ask);
		break;
	case BRK_LOG:
		log_action(a);
		break;
	}
}

static void execute_list(struct brk_shell *s, const struct brk_actions *actions)
{
	assert(!s->executing);
	s->executing = true;
	for (size_t i = 0; i < actions->n; i++)
		execute_one(s, &actions->list[i]);
	s->executing = false;
}

uint64_t brk_shell_now_ms(struct brk_shell *s)
{
	brk_core_clock(s->core, net_loop_now_us(s->loop));
	return net_loop_now_ms(s->loop);
}

void brk_shell_execute(struct brk_shell *s, const struct brk_actions *actions)
{
	execute_list(s, actions);
	while (s->n_cut) {
		uint32_t peer = s->cut[--s->n_cut];
		net_router_forget(s->router, peer);
		execute_list(s, brk_core_gone(s->core, brk_shell_now_ms(s), peer));
	}
}
