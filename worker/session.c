#include "worker/session_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"

/* ---- what arrives ---------------------------------------------------------- */

struct wrk_service *wrk_session_find(struct wrk_session *s, const char *name)
{
	struct wrk_service *service = NULL;

	if (name)
		HASH_FIND_STR(s->services, name, service);
	return service;
}

static struct wrk_run *find_run(struct wrk_session *s, uint32_t broker, const Pirn__Item *item)
{
	struct wrk_run *run;

	DL_FOREACH (s->runs, run)
		if (run->slot == item->slot && run->generation == item->generation &&
			run->broker == broker && wrk_session_wants(s, run))
			return run;
	return NULL;
}

static void on_cancel(struct wrk_session *s, uint32_t broker, const struct net_frame *frame)
{
	for (size_t i = 0; i < frame->head->n_items; i++) {
		struct wrk_run *run = find_run(s, broker, frame->head->items[i]);

		if (!run)
			continue; /* its result is on the way: the two have crossed */
		atomic_store(&run->cancelled, true);
		if (wrk_session_withdraw(s, run, 502, PIRN__REASON__CANCELLED))
			s->figures.cancelled++;
		else
			wrk_session_stop(s, run);
	}
}

static void on_credits(struct wrk_session *s, uint32_t broker, const struct net_frame *frame)
{
	for (size_t i = 0; i < frame->head->n_credits; i++) {
		const Pirn__Credit *credit = frame->head->credits[i];
		struct wrk_service *service = wrk_session_find(s, credit->service);

		if (!service || !credit->has_granted)
			continue;
		if (credit->lowered)
			wrk_credit_lowered(
				&service->credit, broker, credit->granted, credit->waiting);
		else
			wrk_credit_report(&service->credit, broker, credit->waiting);
		wrk_session_credit_due(s, service);
	}
}

static uint32_t broker_of(const struct net_link *link)
{
	return (uint32_t)(uintptr_t)net_link_user(link) - 1;
}

static void on_message(
	void *arg, struct net_link *link, const struct net_frame *frame, struct base_block *block)
{
	struct wrk_session *s = arg;
	uint32_t broker = broker_of(link);

	(void)block;
	if (broker >= WRK_CREDIT_LINKS)
		return;
	switch (frame->head->kind) {
	case PIRN__KIND__DISPATCH:
		wrk_session_dispatch(s, broker, frame);
		break;
	case PIRN__KIND__CANCEL:
		on_cancel(s, broker, frame);
		break;
	case PIRN__KIND__CREDIT:
		on_credits(s, broker, frame);
		break;
	case PIRN__KIND__DRAIN:
		s->brokers[broker].drained = s->draining;
		break;
	default:
		base_log(BASE_WARN, "message_unexpected", LOG_STR("broker", net_link_name(link)),
			LOG_U64("kind", frame->head->kind));
	}
}

/* ---- links ----------------------------------------------------------------- */

static void on_up(void *arg, struct net_link *link, const Pirn__Welcome *welcome)
{
	struct wrk_session *s = arg;
	uint32_t broker = 0;

	while (broker < WRK_CREDIT_LINKS && s->brokers[broker].link)
		broker++;
	net_link_set_user(link, (void *)(uintptr_t)(broker + 1));
	if (broker == WRK_CREDIT_LINKS) {
		base_log(BASE_WARN, "brokers_too_many", LOG_STR("broker", net_link_name(link)),
			LOG_U64("most", WRK_CREDIT_LINKS));
		return;
	}
	s->brokers[broker] = (struct wrk_broker){ .link = link,
		.epoch = s->brokers[broker].epoch + 1,
		.drained = s->draining,
		.deaf = welcome->revision < PIRN_PROTOCOL_REVISION };
	s->figures.brokers++;
	for (struct wrk_service *service = s->services; service; service = service->hh.next) {
		wrk_credit_up(&service->credit, broker);
		wrk_session_credit_due(s, service);
	}
	if (!s->ready)
		s->conf.on_ready(s->conf.arg);
	s->ready = true;
}

static void on_down(void *arg, struct net_link *link)
{
	struct wrk_session *s = arg;
	uint32_t broker = broker_of(link);

	if (broker >= WRK_CREDIT_LINKS)
		return;
	s->brokers[broker].link = NULL;
	s->figures.brokers--;
	for (struct wrk_service *service = s->services; service; service = service->hh.next) {
		wrk_credit_down(&service->credit, broker);
		wrk_session_credit_due(s, service);
	}
	wrk_session_forget(s, broker, s->brokers[broker].epoch);
}

/* It still hands out what waits there: credit stays. */
static void on_broker_drain(void *arg, struct net_link *link)
{
	(void)arg, (void)link;
}

static const Pirn__Beat *on_beat(void *arg)
{
	struct wrk_session *s = arg;

	return s->conf.on_beat(s->conf.arg);
}

/* ---- turns ----------------------------------------------------------------- */

static void on_watch(uv_timer_t *timer)
{
	(void)timer; /* the loop has woken, which is all: turn() looks */
}

/* Looks after the executor while something waits there. */
static void watch(struct wrk_session *s)
{
	bool waits = wrk_executor_watch(s->conf.executor, base_clock_us());

	if (waits == s->watch_runs)
		return;
	s->watch_runs = waits;
	if (waits)
		uv_timer_start(&s->watch, on_watch, 1, 1);
	else
		uv_timer_stop(&s->watch);
}

static void collect_chain(struct wrk_session *s, struct wrk_task *task)
{
	struct wrk_task *next;

	for (; task; task = next) {
		struct wrk_run *run = (struct wrk_run *)task;

		next = task->next;
		if (run->service)
			wrk_session_done(s, run);
		else
			s->conf.on_job(s->conf.arg, run);
	}
}

static void collect(struct wrk_session *s)
{
	collect_chain(s, wrk_executor_done(s->conf.executor));
	if (s->conf.carrier)
		collect_chain(s, s->conf.carrier->done(s->conf.carrier->arg));
}

static bool is_drained(const struct wrk_session *s)
{
	for (size_t i = 0; i < WRK_CREDIT_LINKS; i++)
		if (s->brokers[i].link && !s->brokers[i].drained)
			return false;
	return s->figures.under_way == s->figures.overdue;
}

static bool turn(void *arg)
{
	struct wrk_session *s = arg;

	if (s->drained) { /* since the turn before: what it said has left */
		s->drained = false;
		s->conf.on_drained(s->conf.arg);
		return false;
	}
	collect(s);
	wrk_session_look_late(s);
	wrk_session_open_gate(s);
	wrk_session_tell_credits(s);
	wrk_session_set_clock(s);
	watch(s);
	s->drained = s->draining && (s->cut || is_drained(s));
	return s->drained;
}

/* ---- life ------------------------------------------------------------------ */

enum base_err wrk_session_new(const struct wrk_session_conf *conf, struct wrk_session **out)
{
	struct wrk_session *s = calloc(1, sizeof *s);
	enum base_err err;

	if (!s)
		return BASE_NOMEM;
	s->conf = *conf;
	err = net_loop_hook(conf->loop, NET_RUN, turn, s, &s->hook);
	if (err) {
		free(s);
		return err;
	}
	uv_timer_init(net_loop_uv(conf->loop), &s->watch);
	uv_timer_init(net_loop_uv(conf->loop), &s->clock);
	s->watch.data = s->clock.data = s;
	s->clock_at_us = UINT64_MAX;
	base_heap_init(&s->deadlines);
	*out = s;
	return BASE_OK;
}

static void services_free(struct wrk_session *s)
{
	struct wrk_service *service, *next;

	HASH_ITER (hh, s->services, service, next) {
		HASH_DEL(s->services, service);
		wrk_service_free(&service);
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct wrk_session *s = handle->data;

	if (--s->closing == 0)
		free(s);
}

void wrk_session_leave(struct wrk_session *s)
{
	net_links_free(&s->links);
}

void wrk_session_free(struct wrk_session **sp)
{
	struct wrk_session *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	net_links_free(&s->links);
	net_loop_unhook(&s->hook);
	wrk_session_free_runs(s);
	services_free(s);
	free(s->manifests);
	base_heap_fini(&s->deadlines);
	s->closing = 2;
	uv_close((uv_handle_t *)&s->watch, on_closed);
	uv_close((uv_handle_t *)&s->clock, on_closed);
}

static void announce(struct wrk_session *s)
{
	net_links_set_services(s->links, s->manifests, s->n_manifests);
	net_links_hello_again(s->links);
}

enum base_err wrk_session_add(struct wrk_session *s, struct wrk_service **servicep)
{
	struct wrk_service *service = *servicep;
	struct wrk_service *other = wrk_session_find(s, service->manifest->service);
	Pirn__Manifest **manifests;

	if (other)
		return other->leaving ? BASE_UNAVAILABLE : BASE_EXISTS;
	manifests = realloc(s->manifests, (s->n_manifests + 1) * sizeof *manifests);
	if (!manifests)
		return BASE_NOMEM;
	s->manifests = manifests;
	HASH_ADD_KEYPTR(hh, s->services, service->manifest->service,
		strlen(service->manifest->service), service);
	if (!service->hh.tbl)
		return BASE_NOMEM;
	manifests[s->n_manifests++] = service->wire;
	*servicep = NULL;
	wrk_session_share_threads(s);
	if (!s->links)
		return BASE_OK;
	if (s->draining)
		wrk_credit_stop(&service->credit);
	announce(s);
	for (uint32_t i = 0; i < WRK_CREDIT_LINKS; i++)
		if (s->brokers[i].link)
			wrk_credit_up(&service->credit, i);
	wrk_session_credit_due(s, service);
	return BASE_OK;
}

void wrk_session_remove(struct wrk_session *s, struct wrk_service *service)
{
	size_t n = 0;

	service->leaving = true;
	wrk_credit_stop(&service->credit);
	for (size_t i = 0; i < s->n_manifests; i++)
		if (s->manifests[i] != service->wire)
			s->manifests[n++] = s->manifests[i];
	s->n_manifests = n;
	if (s->links)
		announce(s);
}

struct wrk_service *wrk_session_services(struct wrk_session *s)
{
	return s->services;
}

enum base_err wrk_session_start(struct wrk_session *s, char **why)
{
	struct net_links_conf conf = { .brokers = s->conf.brokers,
		.role = PIRN__ROLE__WORKER,
		.name = s->conf.name,
		.services = s->manifests,
		.n_services = s->n_manifests };
	struct net_links_events events = { .on_up = on_up,
		.on_down = on_down,
		.on_drain = on_broker_drain,
		.on_message = on_message,
		.on_beat = on_beat,
		.arg = s };

	memcpy(conf.boot, s->conf.boot, sizeof conf.boot);
	return net_links_new(s->conf.loop, &conf, &events, &s->links, why);
}

void wrk_session_drain(struct wrk_session *s)
{
	if (s->draining)
		return;
	s->draining = true;
	for (struct wrk_service *service = s->services; service; service = service->hh.next)
		wrk_credit_stop(&service->credit);
	if (s->links)
		net_links_drain(s->links);
	net_loop_again(s->conf.loop);
}

void wrk_session_cut(struct wrk_session *s)
{
	struct wrk_run *run, *next;

	for (run = s->runs; run; run = next) {
		next = run->next;
		(void)wrk_session_withdraw(s, run, 503, PIRN__REASON__DRAINING);
	}
	s->cut = true;
	net_loop_again(s->conf.loop);
}

void wrk_session_figures(const struct wrk_session *s, struct wrk_session_figures *out)
{
	*out = s->figures;
}
