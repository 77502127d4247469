/* A run's life in the loop: DISPATCH, record, executor, RESULT, credit.
 */
#include "worker/session_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/failure.h"

#define KEPT_RUNS  4096u  /* free records */
#define KEPT_BYTES 16384u /* buffers of a free record that are larger are given back */
#define FOREVER_US (UINT64_C(365) * 86400 * 1000000)

/* ---- records --------------------------------------------------------------- */

static struct wrk_run *run_new(struct wrk_session *s)
{
	struct wrk_run *run = s->free_runs;

	if (run) {
		s->free_runs = run->next;
		s->n_free_runs--;
		return run;
	}
	run = calloc(1, sizeof *run);
	if (run) {
		base_buf_init(&run->in);
		base_buf_init(&run->meta);
		base_buf_init(&run->body);
		base_buf_init(&run->emits);
	}
	return run;
}

static void run_free(struct wrk_run *run)
{
	base_buf_fini(&run->in);
	base_buf_fini(&run->meta);
	base_buf_fini(&run->body);
	base_buf_fini(&run->emits);
	free(run);
}

static void trim(struct base_buf *b)
{
	if (b->capacity > KEPT_BYTES)
		base_buf_fini(b);
}

static void run_give_back(struct wrk_session *s, struct wrk_run *run)
{
	if (s->n_free_runs == KEPT_RUNS) {
		run_free(run);
		return;
	}
	trim(&run->in);
	trim(&run->meta);
	trim(&run->body);
	trim(&run->emits);
	run->next = s->free_runs;
	s->free_runs = run;
	s->n_free_runs++;
}

/* ---- what leaves ----------------------------------------------------------- */

void wrk_session_credit_due(struct wrk_session *s, struct wrk_service *service)
{
	if (service->credit_due)
		return;
	service->credit_due = true;
	service->next_due = s->due;
	s->due = service;
}

static void tell_credit(struct wrk_session *s, struct wrk_service *service)
{
	Pirn__Credit credit = PIRN__CREDIT__INIT;
	uint32_t broker;

	credit.service = service->manifest->service;
	credit.has_granted = true;
	while (wrk_credit_next(&service->credit, &broker, &credit.granted)) {
		struct net_link *link = s->brokers[broker].link;
		enum base_err err = net_link_credit(link, &credit);

		if (!err || err == BASE_GONE)
			continue;
		base_log(BASE_ERROR, "credit_not_sent", LOG_STR("service", credit.service),
			LOG_ERR(err));
		net_link_break(
			link, "its credit could not be sent"); /* and would not be sent again */
	}
}

void wrk_session_tell_credits(struct wrk_session *s)
{
	while (s->due && !s->gate && !s->alone) {
		struct wrk_service *service = s->due;

		s->due = service->next_due;
		service->credit_due = false;
		tell_credit(s, service);
	}
}

bool wrk_session_wants(const struct wrk_session *s, const struct wrk_run *run)
{
	return s->brokers[run->broker].link && s->brokers[run->broker].epoch == run->broker_epoch;
}

static bool is_failure(const struct wrk_run *run)
{
	return run->reason != PIRN__REASON__NONE || run->status >= 500 || run->status == 408 ||
	       run->status == 425 || run->status == 429;
}

static uint32_t flags_of(const struct wrk_run *run)
{
	bool no_state = atomic_load(&run->stateless_us) > 0 && is_failure(run);

	return (run->recorded ? PIRN__ITEM_FLAG__RECORDED : 0u) |
	       (run->diverged ? PIRN__ITEM_FLAG__DIVERGED : 0u) |
	       (run->doubted ? PIRN__ITEM_FLAG__DOUBTED : 0u) |
	       (no_state ? PIRN__ITEM_FLAG__NO_STATE : 0u);
}

static enum base_err send_answer(
	struct net_link *link, const struct wrk_run *run, const struct net_payload *payload)
{
	Pirn__Item item = PIRN__ITEM__INIT;
	char error[WRK_FAILURE_SIZE];

	item.has_slot = item.has_generation = item.has_status = true;
	item.slot = run->slot;
	item.generation = run->generation;
	item.status = run->status;
	item.has_reason = run->reason != PIRN__REASON__NONE;
	item.reason = run->reason;
	item.has_retry_after_ms = run->retry_after_ms > 0;
	item.retry_after_ms = run->retry_after_ms;
	item.has_emit_size = payload && run->emit_size > 0;
	item.emit_size = item.has_emit_size ? run->emit_size : 0;
	item.flags = flags_of(run);
	item.has_flags = item.flags != 0;
	if (wrk_failure_say(run, error))
		item.error = error;
	return net_link_item(link, PIRN__KIND__RESULT, &item, payload);
}

/* A broker that waits for a result in vain would think that the run goes on. With the link its runs are lost,
 * and it knows what to do then. */
static void count_sent(struct wrk_session *s, struct net_link *link, enum base_err err)
{
	if (!err) {
		s->figures.results++;
		return;
	}
	if (err == BASE_GONE)
		return;
	base_log(BASE_ERROR, "result_not_sent", LOG_ERR(err));
	net_link_break(link, "a result could not be sent");
}

void wrk_session_send_instead(
	struct wrk_session *s, const struct wrk_run *run, const struct wrk_run *answer)
{
	enum base_err err;

	if (!wrk_session_wants(s, run)) {
		s->figures.lost++;
		return;
	}
	err = send_answer(s->brokers[run->broker].link, answer, NULL);
	count_sent(s, s->brokers[run->broker].link, err);
}

static void send_result(struct wrk_session *s, struct wrk_run *run)
{
	struct net_link *link = s->brokers[run->broker].link;
	struct net_payload payload = { .meta = run->meta.data,
		.data = run->body.data,
		.meta_size = (uint32_t)run->meta.size,
		.data_size = (uint32_t)run->body.size };
	enum base_err err;

	if (!wrk_session_wants(s, run)) {
		s->figures.lost++;
		return;
	}
	err = send_answer(link, run, &payload);
	if (err == BASE_TOO_LARGE) {
		run->status = 502;
		run->reason = PIRN__REASON__TOO_LARGE;
		err = send_answer(link, run, NULL);
	}
	count_sent(s, link, err);
}

/* ---- a run's end ----------------------------------------------------------- */

static void count_start(struct wrk_session *s, struct wrk_service *service)
{
	service->started++;
	s->started++;
}

static void count_end(struct wrk_session *s, struct wrk_run *run)
{
	assert(run->service->started > 0 && s->started > 0);
	run->service->started--;
	s->started--;
}

/* Executor or carrier: whose it is. */
static void hand_over(struct wrk_session *s, struct wrk_run *run, uint64_t now_us)
{
	if (run->endpoint)
		s->conf.carrier->push(s->conf.carrier->arg, &run->task);
	else
		wrk_executor_push(s->conf.executor, &run->task, now_us);
}

static bool take_back(struct wrk_session *s, struct wrk_run *run)
{
	if (run->endpoint)
		return s->conf.carrier->withdraw(s->conf.carrier->arg, &run->task);
	return wrk_executor_withdraw(s->conf.executor, &run->task);
}

void wrk_session_stop(struct wrk_session *s, struct wrk_run *run)
{
	if (run->endpoint)
		s->conf.carrier->stop(s->conf.carrier->arg, run);
}

static void held_start(struct wrk_session *s, struct wrk_service *service)
{
	struct wrk_run *run = service->held;

	if (!run || service->started >= service->slots)
		return;
	service->held = (struct wrk_run *)run->task.next;
	if (!service->held)
		service->held_end = &service->held;
	run->held = false;
	run->task.next = NULL;
	count_start(s, service);
	hand_over(s, run, base_clock_us());
}

/* Nothing of it runs any more: its unit of credit comes back. */
static void run_close(struct wrk_session *s, struct wrk_run *run)
{
	struct wrk_service *service = run->service;

	DL_DELETE(s->runs, run);
	base_heap_remove(&s->deadlines, &run->due);
	s->figures.under_way--;
	if (s->alone == run)
		s->alone = NULL;
	wrk_credit_result(
		&service->credit, wrk_session_wants(s, run) ? run->broker : WRK_CREDIT_NONE);
	wrk_session_credit_due(s, service);
	run_give_back(s, run);
	held_start(s, service);
}

/* The run is over, one way or another: its result leaves. */
static void run_end(struct wrk_session *s, struct wrk_run *run)
{
	send_result(s, run);
	run_close(s, run);
}

static void run_answer_reason(struct wrk_run *run, uint32_t status, uint32_t reason)
{
	base_buf_reset(&run->meta);
	base_buf_reset(&run->body);
	run->emit_size = 0;
	run->status = status;
	run->reason = reason;
	run->retry_after_ms = 0;
}

void wrk_session_done(struct wrk_session *s, struct wrk_run *run)
{
	struct wrk_service *service = run->service;

	count_end(s, run);
	base_hist_add(&service->took, run->took_us);
	if (run->given_up) {
		wrk_session_returned(s, run);
		run_close(s, run);
		return;
	}
	service->runs++;
	service->failures += is_failure(run);
	if (run->reason == PIRN__REASON__DEADLINE && run->late) /* a carrier gave it up */
		service->given_up++;
	else
		s->figures.expired += run->reason == PIRN__REASON__DEADLINE;
	s->figures.diverged += run->diverged;
	if (run->cancelled && (run->flags & PIRN__ITEM_FLAG__EVENT))
		run_answer_reason(run, 502, PIRN__REASON__CANCELLED);
	run_end(s, run);
}

/* ---- the gate: runs that wait because one is to be alone ------------------- */

/* A run that killed workers must not take others along with it, so it runs alone: it waits here until
 * all that came before it have ended, or were given up: those were answered, and it can do nothing to
 * them. What comes later is handed back, unrun and free of charge: if it
 * waited here it would die with the worker, be charged with that death, and some day pass for poison
 * itself. No credit is told meanwhile, so that it does not come again at once. */

static bool is_alone(const struct wrk_run *run)
{
	return (run->flags & PIRN__ITEM_FLAG__ALONE) != 0;
}

static bool is_at_gate(const struct wrk_session *s, const struct wrk_run *run)
{
	return s->gate == run;
}

static void hand_back(struct wrk_session *s, struct wrk_run *run)
{
	run_answer_reason(run, 503, PIRN__REASON__NO_WORKER);
	run_end(s, run);
}

/* ---- a run that is not to start -------------------------------------------- */

static void held_remove(struct wrk_run *run)
{
	struct wrk_service *service = run->service;
	struct wrk_run **at = &service->held;

	while (*at != run)
		at = (struct wrk_run **)&(*at)->task.next;
	*at = (struct wrk_run *)run->task.next;
	if (!*at)
		service->held_end = at;
	run->held = false;
}

bool wrk_session_withdraw(
	struct wrk_session *s, struct wrk_run *run, uint32_t status, uint32_t reason)
{
	if (is_at_gate(s, run))
		s->gate = NULL;
	else if (run->held)
		held_remove(run);
	else if (take_back(s, run))
		count_end(s, run);
	else
		return false;
	run_answer_reason(run, status, reason);
	run_end(s, run);
	return true;
}

/* ---- what arrives ---------------------------------------------------------- */

/* A dispatch that cannot become a run: no credit was ours, none is given back. */
static void refuse_item(struct wrk_session *s, uint32_t broker, const Pirn__Item *from,
	uint32_t status, uint32_t reason)
{
	struct wrk_run answer = { .slot = from->slot,
		.generation = from->generation,
		.status = status,
		.reason = reason };
	enum base_err err = send_answer(s->brokers[broker].link, &answer, NULL);

	s->figures.refused++;
	base_log(BASE_WARN, "dispatch_refused",
		LOG_STR("broker", net_link_name(s->brokers[broker].link)),
		LOG_STR("service", from->service), LOG_U64("reason", reason), LOG_ERR(err));
}

static uint64_t deadline_of(
	const struct wrk_service *service, const Pirn__Item *item, uint64_t now_us)
{
	uint64_t left_us = (uint64_t)service->manifest->timeout_ms * 1000;

	if (left_us == 0)
		left_us = FOREVER_US;
	if (item->has_left_ms && (uint64_t)item->left_ms * 1000 < left_us)
		left_us = (uint64_t)item->left_ms * 1000;
	return now_us + left_us;
}

static void copy_bytes(uint8_t *out, size_t size, bool has, const ProtobufCBinaryData *from)
{
	if (has && from->len == size)
		memcpy(out, from->data, size);
	else
		memset(out, 0, size);
}

static bool run_fill(struct wrk_run *run, const Pirn__Item *item, const struct net_payload *payload)
{
	run->slot = item->slot;
	run->generation = item->generation;
	run->flags = item->flags;
	run->attempt = item->has_attempt ? item->attempt : 1;
	run->attempts = item->attempts;
	run->epoch = item->epoch;
	run->lease_end_ms = item->lease_end_ms;
	run->keep_until_ms = item->keep_until_ms;
	run->held = run->late = run->recorded = run->diverged = run->doubted = false;
	run->given_up = false;
	atomic_store(&run->stateless_us, 0);
	run->emit_size = 0;
	atomic_store(&run->cancelled, false);
	atomic_store(&run->stopped, false);
	run->status = run->reason = run->retry_after_ms = run->took_us = 0;
	run->why[0] = '\0';
	copy_bytes(run->id, sizeof run->id, item->has_id, &item->id);
	copy_bytes(run->trace, sizeof run->trace, item->has_trace, &item->trace);
	run->has_trace = item->has_trace && item->trace.len == WRK_TRACE_SIZE;
	run->meta_size = payload->meta_size;
	run->data_size = payload->data_size;
	base_buf_reset(&run->in);
	base_buf_add(&run->in, payload->meta, payload->meta_size);
	base_buf_add(&run->in, payload->data, payload->data_size);
	return !run->in.failed;
}

/* A run for the item, or NULL: it was answered. */
static struct wrk_run *run_open(struct wrk_session *s, uint32_t broker, const Pirn__Item *item,
	const struct net_payload *payload, uint64_t now_us)
{
	struct wrk_service *service = wrk_session_find(s, item->service);
	struct wrk_run *run;
	uint64_t deadline_us;

	if (!service) {
		refuse_item(s, broker, item, 404, PIRN__REASON__UNKNOWN_SERVICE);
		return NULL;
	}
	if (!wrk_credit_dispatch(&service->credit, broker))
		base_log(BASE_DEBUG, "dispatch_beyond_credit", LOG_STR("service", item->service));
	run = run_new(s);
	deadline_us = deadline_of(service, item, now_us);
	if (!run || !run_fill(run, item, payload) ||
		base_heap_push(&s->deadlines, &run->due,
			deadline_us + (service->endpoint ? WRK_CARRIER_GRACE_US : 0))) {
		if (run)
			run_give_back(s, run);
		refuse_item(s, broker, item, 503, PIRN__REASON__OVERLOADED);
		wrk_credit_result(&service->credit, broker);
		wrk_session_credit_due(s, service);
		return NULL;
	}
	run->fn = s->conf.run;
	run->service = service;
	run->endpoint = service->endpoint;
	run->broker = broker;
	run->broker_epoch = s->brokers[broker].epoch;
	run->mute = s->brokers[broker].deaf;
	run->deadline_us = deadline_us;
	run->hurried = run->deadline_us - now_us <= (uint64_t)service->manifest->timeout_ms * 800;
	DL_APPEND(s->runs, run);
	s->figures.under_way++;
	s->figures.dispatched++;
	return run;
}

/* Those that start in a turn. */
struct batch {
	struct wrk_task *first, **end;     /* the executor's */
	struct wrk_task *carried, **carried_end;
};

static void batch_init(struct batch *b)
{
	b->first = b->carried = NULL;
	b->end = &b->first;
	b->carried_end = &b->carried;
}

static void batch_add(struct batch *b, struct wrk_run *run)
{
	struct wrk_task ***end = run->endpoint ? &b->carried_end : &b->end;

	**end = &run->task;
	*end = &run->task.next;
}

static void batch_push(struct wrk_session *s, const struct batch *b, uint64_t now_us)
{
	if (b->first)
		wrk_executor_push(s->conf.executor, b->first, now_us);
	if (b->carried)
		s->conf.carrier->push(s->conf.carrier->arg, b->carried);
}

/* Into the batch, or to the held ones. */
static void run_queue(struct wrk_session *s, struct wrk_run *run, struct batch *batch)
{
	struct wrk_service *service = run->service;

	if (is_alone(run))
		s->alone = run;
	run->task.next = NULL;
	if (service->started < service->slots) {
		count_start(s, service);
		batch_add(batch, run);
		return;
	}
	run->held = true;
	*service->held_end = run;
	service->held_end = (struct wrk_run **)&run->task.next;
}

void wrk_session_open_gate(struct wrk_session *s)
{
	struct wrk_run *run = s->gate;
	struct batch batch;

	if (!run || s->started > s->figures.overdue)
		return;
	s->gate = NULL;
	batch_init(&batch);
	run_queue(s, run, &batch);
	batch_push(s, &batch, base_clock_us());
}

void wrk_session_dispatch(struct wrk_session *s, uint32_t broker, const struct net_frame *frame)
{
	uint64_t now_us = base_clock_us();
	size_t offset = 0;
	struct batch batch;

	batch_init(&batch);
	for (size_t i = 0; i < frame->head->n_items; i++) {
		const Pirn__Item *item = frame->head->items[i];
		struct net_payload payload = net_frame_payload(frame, item, &offset);
		struct wrk_run *run = run_open(s, broker, item, &payload, now_us);

		if (run && (s->gate || s->alone))
			hand_back(s, run);
		else if (run && is_alone(run) && s->started > s->figures.overdue)
			s->gate = run;
		else if (run)
			run_queue(s, run, &batch);
	}
	batch_push(s, &batch, now_us);
}

void wrk_session_forget(struct wrk_session *s, uint32_t broker, uint32_t epoch)
{
	struct wrk_run *run, *next;

	for (run = s->runs; run; run = next) {
		next = run->next;
		if (run->broker != broker || run->broker_epoch != epoch)
			continue;
		atomic_store(&run->cancelled, true);
		if (!wrk_session_withdraw(s, run, 502, PIRN__REASON__CANCELLED))
			wrk_session_stop(s, run);
	}
}

void wrk_session_free_runs(struct wrk_session *s)
{
	struct wrk_run *run;

	while ((run = s->runs)) {
		DL_DELETE(s->runs, run);
		run_free(run);
	}
	while ((run = s->free_runs)) {
		s->free_runs = run->next;
		run_free(run);
	}
}
