#undef NDEBUG
#include "broker/core/breaker.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/core/note.h"
#include "broker/core/parts.h"

#define SLOW_PERCENT   80u
#define RETRY_AFTER_MS 1000u /* when nobody knows how long it will last */

#define MAX_WINDOW_MS  (10u * 60 * 1000)
#define MAX_COUNT      1000000u
#define MAX_OPEN_MS    (3600u * 1000)
#define MAX_LONGEST_MS (24u * 3600 * 1000)
#define MAX_SUCCESSES  1000u

static struct base_breaker *machine(struct brk_service *service)
{
	return &service->guard.breaker;
}

static uint32_t chance(struct brk_core *core)
{
	return (uint32_t)base_rand_next(&core->rand);
}

bool brk_breaker_is_open(const struct brk_service *service)
{
	const struct base_breaker *b = &service->guard.breaker;

	if (b->force != BASE_BREAKER_AUTO)
		return b->force == BASE_BREAKER_FORCED_OPEN;
	return b->state == BASE_BREAKER_OPEN;
}

static bool is_half_open(const struct base_breaker *b)
{
	return b->force == BASE_BREAKER_AUTO && b->state == BASE_BREAKER_HALF_OPEN;
}

static uint32_t retry_after(const struct brk_core *core, const struct brk_service *service)
{
	const struct base_breaker *b = &service->guard.breaker;

	if (b->force != BASE_BREAKER_AUTO || b->state != BASE_BREAKER_OPEN)
		return RETRY_AFTER_MS;
	return (uint32_t)base_breaker_wait_ms(b, core->now_ms);
}

/* Why it lets nobody through. */
static uint32_t reason_of(const struct brk_service *service)
{
	return service->guard.breaker.force == BASE_BREAKER_FORCED_OPEN
		       ? PIRN__REASON__BREAKER_FORCED
		       : PIRN__REASON__BREAKER_OPEN;
}

/* ---- when it is due -------------------------------------------------------- */

static uint64_t due_of(const struct brk_core *core, const struct brk_service *service)
{
	if (brk_breaker_is_open(service) && service->queue.n > 0)
		return core->now_ms;
	return base_breaker_due(&service->guard.breaker);
}

static void set_due_at(struct brk_core *core, struct brk_service *service, uint64_t due)
{
	struct base_heap_node *node = &service->guard.due;

	if (node->place > 0 && node->due == due)
		return;
	base_heap_remove(&core->guards, node);
	if (due < UINT64_MAX && base_heap_push(&core->guards, node, due))
		abort(); /* brk_service_new reserved the room */
}

static void set_due(struct brk_core *core, struct brk_service *service)
{
	set_due_at(core, service, due_of(core, service));
}

/* ---- the registry's note --------------------------------------------------- */

/* The clock of notes: Redis's, which all brokers share, as soon as it is known. */
static uint64_t note_ms(const struct brk_core *core)
{
	uint64_t redis_ms = brk_owner_redis_ms(core);

	return redis_ms > 0 ? redis_ms : brk_unix_ms(core);
}

static uint64_t later(uint64_t now, bool has, uint64_t before)
{
	return has && before >= now ? before + 1 : now;
}

static void publish(struct brk_core *core, struct brk_service *service)
{
	service->entry.breaker = &service->guard.note;
	if (service->entry.manifest)
		brk_act(core, BRK_KEEP_SERVICE, 0)->entry = &service->entry;
}

static void note_opening(struct brk_core *core, struct brk_service *service)
{
	Pirn__BreakerNote *note = &service->guard.note;
	const struct base_breaker *b = machine(service);

	note->opened_ms = later(note_ms(core), note->has_opened_ms, note->opened_ms);
	note->open_ms = (uint32_t)(b->until_ms - core->now_ms);
	note->openings = b->openings;
	note->has_opened_ms = note->has_open_ms = note->has_openings = 1;
	if (!BRK_FAULTY(core, OPENING_UNSAID))
		publish(core, service);
}

static void note_force(struct brk_core *core, struct brk_service *service)
{
	Pirn__BreakerNote *note = &service->guard.note;

	note->force_ms = later(note_ms(core), note->has_force_ms, note->force_ms);
	note->force = machine(service)->force;
	note->has_force_ms = note->has_force = 1;
	if (!BRK_FAULTY(core, FORCE_UNSAID))
		publish(core, service);
}

/* ---- what follows a change of state ----------------------------------------- */

static void tell(struct brk_core *core, const struct brk_service *service)
{
	const struct base_breaker *b = &service->guard.breaker;

	switch (b->state) {
	case BASE_BREAKER_OPEN:
		brk_act_log(core, BRK_LOG_breaker_opened, service->name,
			base_breaker_wait_ms(b, core->now_ms));
		break;
	case BASE_BREAKER_HALF_OPEN:
		brk_act_log(core, BRK_LOG_breaker_half_open, service->name, b->openings);
		break;
	default:
		brk_act_log(core, BRK_LOG_breaker_closed, service->name, 0);
	}
}

/* Its state changed, by a run or by itself: an opening is our own. */
static void changed(struct brk_core *core, struct brk_service *service)
{
	tell(core, service);
	if (machine(service)->state == BASE_BREAKER_OPEN)
		note_opening(core, service);
	brk_service_touch(core, service);
	set_due(core, service);
}

/* ---- life ------------------------------------------------------------------- */

void brk_breaker_init(struct brk_core *core, struct brk_service *service)
{
	base_breaker_init(machine(service), &base_breaker_standard, core->now_ms);
	service->guard.slow_percent = SLOW_PERCENT;
	pirn__breaker_note__init(&service->guard.note);
}

void brk_breaker_forget(struct brk_core *core, struct brk_service *service)
{
	base_heap_remove(&core->guards, &service->guard.due);
}

/* 0 says nothing, as leaving it out does. */
static void set(uint32_t *to, protobuf_c_boolean has, uint32_t value, uint32_t most)
{
	if (has && value > 0)
		*to = value < most ? value : most;
}

void brk_breaker_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__BreakerConf *conf)
{
	static const Pirn__BreakerConf none = PIRN__BREAKER_CONF__INIT;
	const Pirn__BreakerConf *from = conf ? conf : &none;
	struct base_breaker_conf to = base_breaker_standard;

	set(&to.window_ms, from->has_window_ms, from->window_ms, MAX_WINDOW_MS);
	set(&to.calls, from->has_calls, from->calls, MAX_COUNT);
	set(&to.failure_percent, from->has_failure_percent, from->failure_percent, 100);
	if (from->has_consecutive) /* 0: never by failures in a row */
		to.consecutive = from->consecutive < MAX_COUNT ? from->consecutive : MAX_COUNT;
	set(&to.open_ms, from->has_open_ms, from->open_ms, MAX_OPEN_MS);
	set(&to.open_max_ms, from->has_open_max_ms, from->open_max_ms, MAX_LONGEST_MS);
	set(&to.probes, from->has_probes, from->probes, BASE_BREAKER_PROBES);
	set(&to.successes, from->has_successes, from->successes, MAX_SUCCESSES);
	to.probe_ms = service->timeout_ms + BRK_PROBE_MARGIN_MS;
	base_breaker_set(machine(service), &to);
	service->guard.slow_percent = from->has_slow_percent ? from->slow_percent : SLOW_PERCENT;
	set_due(core, service);
}

/* ---- what other brokers say --------------------------------------------------- */

static void force(struct brk_core *core, struct brk_service *service, enum base_breaker_force force)
{
	if (!base_breaker_force(machine(service), core->now_ms, force))
		return;
	brk_act_log(core, BRK_LOG_breaker_forced, service->name, force);
	brk_service_touch(core, service);
	set_due(core, service);
}

/* Its clock may be ahead of ours: it lasts no longer than it says. */
static void adopt_opening(struct brk_core *core, struct brk_service *service)
{
	const Pirn__BreakerNote *note = &service->guard.note;
	uint64_t now = note_ms(core), end = note->opened_ms + note->open_ms;
	uint64_t left = end > now ? end - now : 0;

	if (note->has_force_ms && note->force_ms >= note->opened_ms)
		return;
	if (left > note->open_ms)
		left = note->open_ms;
	if (base_breaker_adopt(
		    machine(service), core->now_ms, core->now_ms + left, note->openings)) {
		tell(core, service);
		brk_service_touch(core, service);
	}
	set_due(core, service);
}

void brk_breaker_noted(
	struct brk_core *core, struct brk_service *service, const Pirn__BreakerNote *note)
{
	unsigned news = brk_note_merge(&service->guard.note, note);

	if (note && note->has_force && BRK_FAULTY(core, FORCE_GOES_BACK))
		force(core, service, (enum base_breaker_force)note->force);
	if (!news)
		return;
	service->entry.breaker = &service->guard.note;
	if (news & BRK_NOTE_FORCED)
		force(core, service, (enum base_breaker_force)service->guard.note.force);
	if (news & BRK_NOTE_OPENED && !BRK_FAULTY(core, OPENING_UNHEARD))
		adopt_opening(core, service);
}

void brk_breaker_force(
	struct brk_core *core, struct brk_service *service, enum base_breaker_force to)
{
	force(core, service, to);
	/* Also when nothing changes here: others may have it otherwise, and this broker not have read so yet.
	 * Then what they noted before would come and win. */
	note_force(core, service);
}

/* ---- before a run --------------------------------------------------------------- */

/* Its tick is due, and may be behind this input. */
static void wake(struct brk_core *core, struct brk_service *service)
{
	if (base_breaker_due(machine(service)) <= core->now_ms &&
		base_breaker_tick(machine(service), core->now_ms, chance(core)))
		changed(core, service);
}

uint32_t brk_breaker_judge(
	struct brk_core *core, struct brk_service *service, uint32_t *retry_after_ms)
{
	struct base_breaker *b = machine(service);

	if (b->state == BASE_BREAKER_CLOSED && b->force != BASE_BREAKER_FORCED_OPEN)
		return PIRN__REASON__NONE;
	if (BRK_FAULTY(core, BREAKER_IGNORED))
		return PIRN__REASON__NONE;
	wake(core, service);
	if (is_half_open(b) && (base_breaker_probing(b) + service->queue.n < b->conf.probes ||
				       BRK_FAULTY(core, PROBES_UNBOUNDED)))
		return PIRN__REASON__NONE;
	service->guard.refused++;
	*retry_after_ms = retry_after(core, service);
	return reason_of(service);
}

bool brk_breaker_lets(const struct brk_core *core, const struct brk_service *service)
{
	const struct base_breaker *b = &service->guard.breaker;

	if (base_breaker_lets(b) || BRK_FAULTY(core, BREAKER_IGNORED))
		return true;
	return is_half_open(b) && BRK_FAULTY(core, PROBES_UNBOUNDED);
}

void brk_breaker_take(struct brk_core *core, struct brk_call *call)
{
	struct base_breaker *b = machine(call->service);

	call->pass = base_breaker_take(b, core->now_ms);
	if (b->state != BASE_BREAKER_CLOSED)
		set_due(core, call->service);
}

/* ---- after it --------------------------------------------------------------------- */

static uint64_t took_us(const struct brk_core *core, const struct brk_call *call)
{
	return core->now_us > call->dispatched_us ? core->now_us - call->dispatched_us : 0;
}

/* Longer than its share of the service's own timeout. */
static bool is_slow(const struct brk_core *core, const struct brk_call *call)
{
	const struct brk_service *service = call->service;

	return service->guard.slow_percent > 0 && !BRK_FAULTY(core, SLOW_UNCOUNTED) &&
	       took_us(core, call) >
		       (uint64_t)service->timeout_ms * 10 * service->guard.slow_percent;
}

/* This process did not run itself meanwhile. The answer may have lain in our inbox, the worker have
 * given us up: how long it took says nothing of the service, whose breaker would open in all
 * brokers when one of them wakes up. */
static bool overslept(const struct brk_core *core, const struct brk_call *call)
{
	return call->dispatched_us < core->woke_us;
}

/* A deadline may be the caller's, and shorter than what the service is allowed, or what a wait in the
 * queue left of it: then it says nothing. Otherwise an impatient caller could open the
 * breaker for all, and an overload would. */
static enum base_breaker_end verdict_of_deadline(
	const struct brk_core *core, const struct brk_call *call)
{
	bool full = took_us(core, call) >= (uint64_t)call->service->timeout_ms * 1000;

	if (overslept(core, call))
		return BASE_BREAKER_UNKNOWN;
	return full || is_slow(core, call) ? BASE_BREAKER_FAILED : BASE_BREAKER_UNKNOWN;
}

/* A worker is lost once, however much ran there: the oldest run that may count does. */
static enum base_breaker_end verdict_of_loss(
	const struct brk_core *core, const struct brk_call *call)
{
	const struct brk_call *other;

	if (call->link->peer->orderly || overslept(core, call))
		return BASE_BREAKER_UNKNOWN;
	DL_FOREACH (call->link->running, other) {
		if (other == call)
			break;
		if (other->pass >> 32 == call->pass >> 32)
			return BASE_BREAKER_UNKNOWN;
	}
	return BASE_BREAKER_FAILED;
}

/* Its time was its caller's, too short to be slow in, and nearly over. A handler that sees that fails,
 * and may say so before our own timer does: no more than a DEADLINE is that the service's. */
static bool was_hurried(const struct brk_core *core, const struct brk_call *call)
{
	uint64_t due_us = call->deadline.due * 1000;
	uint64_t given_us = due_us > call->dispatched_us ? due_us - call->dispatched_us : 0;

	return given_us <= (uint64_t)call->service->timeout_ms * 10 * SLOW_PERCENT &&
	       took_us(core, call) * 100 >= given_us * SLOW_PERCENT;
}

static enum base_breaker_end verdict_of_status(
	const struct brk_core *core, const struct brk_call *call, uint32_t status)
{
	if (status >= 500 || status == 408 || status == 425 || status == 429)
		return was_hurried(core, call) ? BASE_BREAKER_UNKNOWN : BASE_BREAKER_FAILED;
	if (status >= 400 && BRK_FAULTY(core, CALLER_COUNTED))
		return BASE_BREAKER_FAILED;
	return is_slow(core, call) && !overslept(core, call) ? BASE_BREAKER_FAILED
							     : BASE_BREAKER_OK;
}

enum base_breaker_end brk_breaker_verdict(
	const struct brk_core *core, const struct brk_call *call, uint32_t reason, uint32_t status)
{
	switch (reason) {
	case PIRN__REASON__NONE:
		return verdict_of_status(core, call, status);
	case PIRN__REASON__DEADLINE:
		return verdict_of_deadline(core, call);
	case PIRN__REASON__WORKER_LOST:
		return BRK_FAULTY(core, LOSS_COUNTED_EACH) ? BASE_BREAKER_FAILED
							   : verdict_of_loss(core, call);
	case PIRN__REASON__MALFORMED: /* the request is at fault; the handler never saw it */
	case PIRN__REASON__CANCELLED:
	case PIRN__REASON__LEASE:    /* another run of the same is the one that counts */
	case PIRN__REASON__DRAINING: /* it was not run, or we go */
	case PIRN__REASON__NO_WORKER:
		return BASE_BREAKER_UNKNOWN;
	default: /* CRASHED, TOO_LARGE (its response was), OVERLOADED, NOT_DURABLE: it cannot do its work */
		return BASE_BREAKER_FAILED;
	}
}

static void give(struct brk_core *core, struct brk_call *call, base_breaker_pass pass,
	enum base_breaker_end end)
{
	struct brk_service *service = call->service;
	struct base_breaker *b = machine(service);

	if (brk_eject_ran(core, call->link, end))
		end = BASE_BREAKER_UNKNOWN;
	if (end == BASE_BREAKER_UNKNOWN && BRK_FAULTY(core, PASS_FORGOTTEN))
		return;
	if (end == BASE_BREAKER_OK && b->state == BASE_BREAKER_CLOSED)
		(void)base_breaker_give(b, core->now_ms, pass, end, 0);
	else if (base_breaker_give(b, core->now_ms, pass, end, chance(core)))
		changed(core, service);
	/* A probe that ended may have been the first to expire: then a tick comes too early, no harm. */
}

void brk_breaker_ran(struct brk_core *core, struct brk_call *call, enum base_breaker_end end)
{
	base_breaker_pass pass = call->pass;

	call->pass = 0;
	if (BRK_FAULTY(core, STALE_COUNTED))
		pass = base_breaker_take_calm(machine(call->service)) | (uint32_t)pass;
	if (end == BASE_BREAKER_OK && call->link->ejection.until_ms == 0 &&
		base_breaker_give_ok(machine(call->service), core->now_ms, pass))
		call->link->ejection.failures = 0;
	else
		give(core, call, pass, end);
}

/* ---- those who wait ------------------------------------------------------------------ */

void brk_breaker_look(struct brk_core *core, struct brk_service *service)
{
	if (service->queue.n == 0 || !brk_breaker_is_open(service))
		return;
	if (BRK_FAULTY(core, OPEN_QUEUE_KEPT) || BRK_FAULTY(core, BREAKER_IGNORED))
		return;
	while (service->queue.n > 0 && brk_act_has_room(core)) {
		service->guard.refused++;
		brk_settle_refused(core, brk_queue_first(&service->queue),
			reason_of(service), retry_after(core, service));
	}
	set_due(core, service);
}

/* ---- by itself ------------------------------------------------------------------------ */

void brk_breaker_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->guards)) && node->due <= core->now_ms) {
		struct brk_service *service = base_heap_of(node, struct brk_service, guard.due);

		brk_service_touch(core, service); /* who waits is answered when the input ends */
		if (base_breaker_tick(machine(service), core->now_ms, chance(core)))
			changed(core, service);
		else
			set_due_at(core, service, base_breaker_due(machine(service)));
	}
}

uint64_t brk_breaker_due(const struct brk_core *core)
{
	const struct base_heap_node *node = base_heap_first(&core->guards);

	return node ? node->due : UINT64_MAX;
}

/* ---- for others -------------------------------------------------------------------------- */

const char *brk_breaker_text(const struct brk_service *service)
{
	const struct base_breaker *b = &service->guard.breaker;

	if (b->force == BASE_BREAKER_FORCED_OPEN)
		return "forced open";
	if (b->force == BASE_BREAKER_FORCED_CLOSED)
		return "forced closed";
	return base_breaker_state_name(b->state);
}

/* Probes that run now: a place is taken for each of them and for nothing else. */
static uint32_t count_probes(const struct brk_service *service)
{
	const struct base_breaker *b = &service->guard.breaker;
	const struct brk_link *link;
	const struct brk_call *call;
	uint32_t n = 0;

	DL_FOREACH2(service->links, link, service_next)
	{
		DL_FOREACH (link->running, call)
			n += call->pass >> 32 == b->generation && (uint32_t)call->pass != 0;
	}
	return n;
}

void brk_breaker_check(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_guard *guard = &service->guard;
	uint64_t due = base_breaker_due(&guard->breaker);

	base_breaker_check(&guard->breaker);
	if (due < UINT64_MAX)
		assert(guard->due.place > 0 && guard->due.due <= due);
	if (guard->due.place > 0)
		assert(base_heap_has(&core->guards, &guard->due));
	assert(service->entry.breaker == NULL || service->entry.breaker == &guard->note);
	if (core->broken)
		return;
	/* Who may not wait does not, unless the list of actions was full. */
	if (brk_breaker_is_open(service) && service->queue.n > 0)
		assert(guard->due.place > 0 && guard->due.due <= core->now_ms);
	if (is_half_open(&guard->breaker))
		assert(count_probes(service) == base_breaker_probing(&guard->breaker));
}
