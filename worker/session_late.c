/* Runs whose time is over, and what comes of handlers that do not heed it. See session.h.
 *
 * One timer stands at the first deadline. Runs that end before theirs leave it where it
 * is: it then rings for nothing, about once in a run's time, rather than being set anew
 * by each.
 */
#include "worker/session_parts.h"

#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"

/* ---- the clock --------------------------------------------------------------- */

static void on_clock(uv_timer_t *timer)
{
	struct wrk_session *s = timer->data;

	s->clock_at_us = UINT64_MAX;
	s->clock_rang = true; /* turn() looks */
}

static uint64_t grace_us(const struct wrk_session *s)
{
	return (uint64_t)s->conf.stuck_ms * 1000;
}

static void sooner(const struct wrk_session *s, uint64_t since_us, uint64_t *at_us)
{
	if (since_us > 0 && since_us + grace_us(s) < *at_us)
		*at_us = since_us + grace_us(s);
}

/* When the first of what is stuck has been so for long enough. */
static uint64_t stuck_due(const struct wrk_session *s)
{
	uint64_t at_us = UINT64_MAX;

	if (s->figures.overdue == 0 || s->conf.stuck_ms == 0 || s->stuck)
		return at_us;
	for (struct wrk_service *service = s->services; service; service = service->hh.next)
		sooner(s, service->stuck_at_us, &at_us);
	sooner(s, s->threads_stuck_at_us, &at_us);
	sooner(s, s->alone_stuck_at_us, &at_us);
	return at_us;
}

void wrk_session_set_clock(struct wrk_session *s)
{
	const struct base_heap_node *first = base_heap_first(&s->deadlines);
	uint64_t at_us = stuck_due(s), now_us;

	if (first && first->due < at_us)
		at_us = first->due;
	if (at_us >= s->clock_at_us)
		return;
	s->clock_at_us = at_us;
	now_us = base_clock_us();
	uv_timer_start(&s->clock, on_clock, at_us > now_us ? (at_us - now_us + 999) / 1000 : 0, 0);
}

/* ---- what is stuck ------------------------------------------------------------- */

static void note(uint64_t *since_us, bool is_stuck, uint64_t now_us)
{
	if (!is_stuck)
		*since_us = 0;
	else if (*since_us == 0)
		*since_us = now_us;
}

/* Given-up runs became more or fewer. */
static void note_stuck(struct wrk_session *s, struct wrk_service *service)
{
	uint64_t now_us = base_clock_us();

	note(&service->stuck_at_us, service->overdue >= service->slots, now_us);
	note(&s->threads_stuck_at_us,
		s->conf.max_threads > 0 && s->figures.overdue >= s->conf.max_threads, now_us);
	note(&s->alone_stuck_at_us, s->alone && s->alone->given_up, now_us);
}

static bool is_long(const struct wrk_session *s, uint64_t since_us, uint64_t now_us)
{
	return since_us > 0 && now_us >= since_us + grace_us(s);
}

/* What waits behind it would wait in vain. service NULL: whatever waits. */
static void hand_back_behind(struct wrk_session *s, const struct wrk_service *service)
{
	struct wrk_run *run, *next;

	for (run = s->runs; run; run = next) {
		next = run->next;
		if (!service || run->service == service)
			(void)wrk_session_withdraw(s, run, 503, PIRN__REASON__DRAINING);
	}
}

static void tell_stuck(struct wrk_session *s, const struct wrk_service *service)
{
	s->stuck = true;
	s->conf.on_stuck(s->conf.arg, service ? service->manifest->service : NULL);
	hand_back_behind(s, service);
}

static void look_stuck(struct wrk_session *s)
{
	uint64_t now_us = base_clock_us();

	if (stuck_due(s) > now_us)
		return;
	for (struct wrk_service *service = s->services; service; service = service->hh.next)
		if (is_long(s, service->stuck_at_us, now_us)) {
			tell_stuck(s, service);
			return;
		}
	tell_stuck(s, is_long(s, s->alone_stuck_at_us, now_us) ? s->alone->service : NULL);
}

/* ---- runs whose time is over --------------------------------------------------- */

/* Its thread has the record: the answer is made beside it. */
static void give_up(struct wrk_session *s, struct wrk_run *run)
{
	bool records = (run->flags & PIRN__ITEM_FLAG__RECORD) != 0;
	struct wrk_run answer = { .slot = run->slot,
		.generation = run->generation,
		.flags = run->flags,
		.status = 504,
		.reason = PIRN__REASON__DEADLINE,
		.late = true,
		.recorded = records,
		.doubted = records };
	uint64_t stateless_us = atomic_load(&run->stateless_us);
	char id[BASE_ULID_TEXT + 1];

	if (stateless_us > 0 && base_clock_us() >= stateless_us + WRK_STATELESS_US)
		atomic_store(&answer.stateless_us, 1);
	base_ulid_print(run->id, id);
	base_log(BASE_WARN, "run_given_up", LOG_STR("service", run->service->manifest->service),
		LOG_STR("run", id));
	run->given_up = true;
	run->service->overdue++;
	run->service->given_up++;
	run->service->runs++;
	run->service->failures++;
	s->figures.overdue++;
	note_stuck(s, run->service);
	wrk_session_send_instead(s, run, &answer);
	wrk_session_stop(s, run);
}

void wrk_session_returned(struct wrk_session *s, struct wrk_run *run)
{
	run->given_up = false;
	run->service->overdue--;
	s->figures.overdue--;
	note_stuck(s, run->service);
}

static void expire(struct wrk_session *s, struct wrk_run *run)
{
	struct wrk_service *service = run->service;

	if (!wrk_session_withdraw(s, run, 504, PIRN__REASON__DEADLINE)) {
		give_up(s, run);
		return;
	}
	s->figures.expired++;
	service->runs++;
	service->failures++;
}

void wrk_session_look_late(struct wrk_session *s)
{
	struct base_heap_node *node;
	uint64_t now_us;

	if (!s->clock_rang)
		return;
	s->clock_rang = false;
	now_us = base_clock_us();
	while ((node = base_heap_first(&s->deadlines)) && node->due <= now_us) {
		base_heap_remove(&s->deadlines, node);
		expire(s, base_heap_of(node, struct wrk_run, due));
	}
	look_stuck(s);
}

/* ---- threads -------------------------------------------------------------------- */

void wrk_session_share_threads(struct wrk_session *s)
{
	uint32_t native = 0, most = UINT32_MAX;

	for (const struct wrk_service *service = s->services; service; service = service->hh.next)
		native += !service->endpoint;
	if (s->conf.max_threads > 0 && native > 0)
		most = s->conf.max_threads >= native ? s->conf.max_threads - native + 1 : 1;
	for (struct wrk_service *service = s->services; service; service = service->hh.next) {
		uint32_t wanted = service->manifest->concurrency;

		service->slots = wanted < most || service->endpoint ? wanted : most;
		if (!s->links) /* later on it is only held back here */
			wrk_credit_init(&service->credit, service->slots);
	}
}
