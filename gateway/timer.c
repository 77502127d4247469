#include "gateway/timer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/when.h"
#include "base/zone_file.h"
#include "client/invocation.h"
#include "gateway/gw.h"
#include "gateway/meta.h"
#include "net/hash.h"

#define LOOK_MS     1000u    /* between two looks at the clock */
#define DECIDE_MS   10000u   /* how long a slot's acceptance may take before it is said anew */
#define FLIGHT_MOST 1024u    /* steps under way */
#define LOOK_NS     4000000u /* how long one look takes, about */
#define LOOK_STEPS  16u      /* between two looks at how long it took */
#define BACK_MS     1000u    /* the brokers' clock was set back, if by that much */
#define SAY_MS      1000u    /* between two lines about steps that failed */
#define WHY_ROOM    192

struct zone {
	UT_hash_handle hh;
	struct base_zone *zone;
	char name[BASE_ZONE_NAME_MAX + 1];
};

struct timer {
	UT_hash_handle hh;
	struct gw_timers *all;
	struct base_heap_node due; /* by the brokers' clock; in no heap while a step is under way */
	struct gw_plan plan;
	Pirn__Timer *conf;
	uint8_t *packed; /* as it came: what did not change is left alone */
	size_t packed_size;
	char key[GW_TIMER_NAME];    /* service/name */
	char parts[GW_TIMER_NAME];  /* the same in two */
	const char *service, *name; /* into parts */
	char fault[WHY_ROOM];
	bool calls, seen;
	bool skip;
	uint8_t id[BASE_ULID_SIZE]; /* of the event that was said */
	uint64_t slot_ms;
	uint64_t handle;
	struct client_question *question;
};

struct gw_timers {
	struct gw *gw;
	uv_timer_t *look;
	struct base_heap due;
	struct timer *timers;
	struct zone *zones;
	struct base_ulid_maker ulids;
	struct base_buf meta;
	size_t refused;     /* beyond GW_TIMERS_MAX */
	size_t n_faulty;    /* of those that are there */
	size_t n_flying;    /* calls and questions */
	uint64_t looked_ms; /* the brokers' clock at the last look */
	uint64_t said_at; /* the loop's clock at the last line about a step that failed; 0: none */
	struct gw_timer_figures figures;
};

/* ---- zones ------------------------------------------------------------------------- */

/* A zone's file is read once. */
static enum base_err find_zone(struct gw_timers *t, const char *name, const struct base_zone **out)
{
	struct base_zone *loaded;
	struct zone *z;
	enum base_err err;

	HASH_FIND_STR(t->zones, name, z);
	if (!z) {
		err = base_zone_load(name, &loaded);
		if (err == BASE_NOMEM)
			base_no_memory("a time zone"); /* it would be a fault for good */
		if (err)
			return err;
		z = calloc(1, sizeof *z);
		if (!z)
			base_no_memory("a time zone");
		z->zone = loaded;
		(void)stpncpy(z->name, name, sizeof z->name - 1);
		HASH_ADD_STR(t->zones, name, z);
		if (!z->hh.tbl)
			base_no_memory("a time zone");
	}
	*out = z->zone;
	return BASE_OK;
}

/* ---- one timer's life ---------------------------------------------------------------- */

static bool is_plain(const Pirn__Timer *c)
{
	return base_manifest_is_service(c->name) && !c->cron == (c->has_every_ms != 0) &&
	       (!c->cron ||
		       strnlen(c->cron, BASE_MANIFEST_CRON_MAX + 1) <= BASE_MANIFEST_CRON_MAX) &&
	       (c->cron || (c->every_ms >= 1000 && c->every_ms % 1000 == 0));
}

/* UNTRUSTED: the broker does not read cron, and another machine knows other zones. */
static bool make_plan(struct timer *timer, uint64_t since_ms)
{
	const Pirn__Timer *c = timer->conf;
	struct gw_plan_conf conf = { .missed = c->has_missed && c->missed <= GW_MISSED_ALL
						       ? (enum gw_missed)c->missed
						       : GW_MISSED_ONCE,
		.overlap = c->overlap,
		.since_ms = since_ms };
	enum base_err err = BASE_OK;

	if (!is_plain(c)) {
		snprintf(timer->fault, sizeof timer->fault, "it is malformed");
		return false;
	}
	if (!c->cron)
		conf.cron = base_cron_every(c->every_ms / 1000);
	else if (!base_cron_parse(c->cron, &conf.cron, timer->fault, sizeof timer->fault))
		return false;
	if (c->zone)
		err = find_zone(timer->all, c->zone, &conf.zone);
	if (err) {
		snprintf(timer->fault, sizeof timer->fault, "its zone is not known here: %s",
			base_err_text(err));
		return false;
	}
	gw_plan_init(&timer->plan, &conf);
	return true;
}

static void forget_step(struct timer *timer)
{
	timer->all->n_flying -= timer->calls || timer->question;
	if (timer->calls)
		client_engine_cancel(timer->all->gw->engine, timer->handle);
	client_question_forget(&timer->question);
	timer->calls = false;
}

static void free_timer(struct timer *timer)
{
	struct gw_timers *t = timer->all;

	forget_step(timer);
	t->n_faulty -= timer->fault[0] != '\0';
	base_heap_remove(&t->due, &timer->due);
	if (timer->hh.tbl)
		HASH_DEL(t->timers, timer);
	pirn__timer__free_unpacked(timer->conf, NULL);
	free(timer->packed);
	free(timer);
}

/* There is room: it was reserved when the timer came. */
static void set_due(struct timer *timer, uint64_t due)
{
	base_heap_remove(&timer->all->due, &timer->due);
	if (due != UINT64_MAX && base_heap_push(&timer->all->due, &timer->due, due))
		base_no_memory("a timer's time");
}

static void name_timer(struct timer *timer, const char *service, const char *name)
{
	int size = snprintf(timer->key, sizeof timer->key, "%s/%s", service, name);

	memcpy(timer->parts, timer->key, sizeof timer->parts);
	timer->parts[strlen(service)] = '\0';
	timer->service = timer->parts;
	timer->name = timer->parts + strlen(service) + 1;
	assert(size > 0 && (size_t)size < sizeof timer->key);
}

/* A timer as a manifest has it. */
struct told {
	const char *service, *name;
	uint8_t *packed;
	size_t size;
	uint64_t since_ms; /* as in struct gw_plan_conf */
};

/* Takes told's bytes. */
static void new_timer(struct gw_timers *t, const struct told *told)
{
	struct timer *timer = calloc(1, sizeof *timer);

	if (!timer)
		base_no_memory("a timer");
	timer->all = t;
	timer->packed = told->packed;
	timer->packed_size = told->size;
	timer->seen = true;
	timer->conf = pirn__timer__unpack(NULL, told->size, told->packed);
	name_timer(timer, told->service, told->name);
	HASH_ADD_STR(t->timers, key, timer);
	if (!timer->conf || !timer->hh.tbl || base_heap_reserve(&t->due, HASH_COUNT(t->timers)))
		base_no_memory("a timer");
	if (make_plan(timer, told->since_ms)) {
		set_due(timer, 0);
		return;
	}
	t->n_faulty++;
	base_log(BASE_ERROR, "timer_refused", LOG_STR("timer", timer->key),
		LOG_STR("why", timer->fault));
}

/* ---- following the registry ----------------------------------------------------------- */

static uint64_t now_of(const struct gw_timers *t);

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* When its times are others than before: since when they are. */
static uint64_t since(const struct gw_timers *t, const Pirn__Timer *before, const Pirn__Timer *conf)
{
	uint64_t now_ms = now_of(t);

	if (is_same(before->cron, conf->cron) && is_same(before->zone, conf->zone) &&
		before->every_ms == conf->every_ms)
		return 0;
	return now_ms > GW_PLAN_LATE_MS ? (now_ms - GW_PLAN_LATE_MS) / 1000 * 1000 : 0;
}

static void follow_one(struct gw_timers *t, const char *service, const Pirn__Timer *conf)
{
	char key[GW_TIMER_NAME];
	struct timer *timer;
	size_t size = pirn__timer__get_packed_size(conf);
	struct told told = { .service = service, .name = conf->name, .size = size };

	if (!base_manifest_is_service(service) || !base_manifest_is_service(conf->name))
		return;
	snprintf(key, sizeof key, "%s/%s", service, conf->name);
	HASH_FIND_STR(t->timers, key, timer);
	if (timer && timer->seen) /* twice */
		return;
	told.packed = malloc(size + 1);
	if (!told.packed)
		base_no_memory("a timer");
	pirn__timer__pack(conf, told.packed);
	if (timer && timer->packed_size == size && memcmp(timer->packed, told.packed, size) == 0) {
		timer->seen = true;
		free(told.packed);
		return;
	}
	if (timer) {
		told.since_ms = since(t, timer->conf, conf);
		free_timer(timer);
	}
	if (HASH_COUNT(t->timers) < GW_TIMERS_MAX) {
		new_timer(t, &told);
		return;
	}
	t->refused++;
	free(told.packed);
}

static void look(struct gw_timers *t);

void gw_timers_follow(struct gw_timers *t, const Pirn__Registry *registry)
{
	struct timer *timer, *next;
	size_t refused = t->refused;

	t->refused = 0;
	for (timer = t->timers; timer; timer = timer->hh.next)
		timer->seen = false;
	for (size_t i = 0; i < registry->n_entries; i++) {
		const Pirn__Manifest *m = registry->entries[i]->manifest;

		for (size_t k = 0; k < m->n_timers; k++)
			follow_one(t, m->service, m->timers[k]);
	}
	HASH_ITER (hh, t->timers, timer, next)
		if (!timer->seen)
			free_timer(timer);
	if (t->refused > 0 && t->refused != refused)
		base_log(BASE_ERROR, "timers_refused", LOG_U64("refused", t->refused),
			LOG_U64("most", GW_TIMERS_MAX));
	look(t);
}

/* ---- a timer's event -------------------------------------------------------------------- */

static void put_header(struct base_buf *out, const char *name, const char *value)
{
	gw_meta_header(out, gw_slice_of(name), gw_slice_of(value));
}

/* The head of a CloudEvent in HTTP's binary mode. */
static void put_meta(
	struct base_buf *out, const struct timer *timer, const uint8_t *id, uint64_t time_ms)
{
	char text[BASE_ULID_TEXT + 1], when[BASE_WHEN_TEXT + 1];
	char target[sizeof GW_TIMER_ROUTE + GW_TIMER_NAME];

	base_buf_reset(out);
	base_ulid_print(id, text);
	base_when_print(time_ms, when);
	snprintf(target, sizeof target, GW_TIMER_ROUTE "%s", timer->name);
	gw_meta_method(out, GW_SLICE("POST"));
	gw_meta_target(out, gw_slice_of(target));
	put_header(out, "Content-Type", "application/json");
	put_header(out, "ce-specversion", "1.0");
	put_header(out, "ce-id", text);
	put_header(out, "ce-type", "pirn.timer");
	snprintf(target, sizeof target, "/timers/%s", timer->service);
	put_header(out, "ce-source", target);
	put_header(out, "ce-subject", timer->name);
	put_header(out, "ce-time", when);
}

static struct client_request request_of(struct timer *timer, const uint8_t *trace)
{
	return (struct client_request){ .service = timer->service,
		.trace = trace,
		.timeout_ms = DECIDE_MS,
		.event = true,
		.want_result = true };
}

static enum base_err fill_event(struct gw_timers *t, const struct timer *timer, uint64_t time_ms,
	struct client_request *request)
{
	static const uint8_t null[] = "null";
	const Pirn__Timer *c = timer->conf;

	put_meta(&t->meta, timer, request->id, time_ms);
	request->payload = (struct net_payload){ .meta = t->meta.data,
		.meta_size = (uint32_t)t->meta.size,
		.data = c->has_data ? c->data.data : null,
		.data_size = c->has_data ? (uint32_t)c->data.len : sizeof null - 1 };
	return base_buf_check(&t->meta);
}

/* ---- steps and answers -------------------------------------------------------------------- */

/* The brokers' clock; 0: nobody said. */
static uint64_t now_of(const struct gw_timers *t)
{
	uint64_t now_ms;

	return client_engine_now_ms(t->gw->engine, &now_ms) ? now_ms : 0;
}

static void step_later(struct timer *timer)
{
	set_due(timer, 0);
	look(timer->all);
}

static void count_taken(struct gw_timers *t, const struct timer *timer, uint64_t now_ms)
{
	t->figures.skipped += timer->skip;
	if (timer->skip)
		return;
	t->figures.fired++;
	base_hist_add(&t->figures.lateness,
		now_ms > timer->slot_ms ? (now_ms - timer->slot_ms) * 1000 : 0);
}

/* At most a line a second, however many there are: they mostly fail for one reason. */
static void step_failed(struct timer *timer, uint64_t now_ms, const char *why, uint32_t rest_ms)
{
	struct gw_timers *t = timer->all;
	uint64_t at = net_loop_now_ms(t->gw->loop);

	t->figures.failed++;
	gw_plan_failed(&timer->plan, now_ms, rest_ms);
	if (t->said_at > 0 && at < t->said_at + SAY_MS)
		return;
	t->said_at = at;
	base_log(BASE_WARN, "timer_waits", LOG_STR("timer", timer->key), LOG_STR("why", why));
}

/* Whom the same bytes will be refused again. */
static bool is_for_good(uint32_t reason)
{
	return reason == PIRN__REASON__TOO_LARGE || reason == PIRN__REASON__MALFORMED ||
	       reason == PIRN__REASON__UNSUPPORTED || reason == PIRN__REASON__UNKNOWN_SERVICE;
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct timer *timer = arg;
	struct gw_timers *t = timer->all;
	uint64_t now_ms = now_of(t);

	timer->calls = false;
	t->n_flying--;
	if (reply->reason == PIRN__REASON__NONE) {
		count_taken(t, timer, now_ms);
		gw_plan_accepted(&timer->plan, timer->slot_ms, timer->skip ? NULL : timer->id);
	} else if (reply->reason == PIRN__REASON__SLOT) {
		t->figures.beaten += reply->slot_ms >= timer->slot_ms;
		gw_plan_refused(&timer->plan, now_ms, reply->slot_ms,
			reply->has_running ? reply->id : NULL);
	} else {
		step_failed(timer, now_ms, client_reason_text(reply->reason),
			is_for_good(reply->reason) ? GW_PLAN_REST_MS : GW_PLAN_AGAIN_MS);
	}
	step_later(timer);
}

static void on_told(void *arg, const struct client_invocations *told)
{
	struct timer *timer = arg;
	bool goes_on = false;

	timer->question = NULL;
	timer->all->n_flying--;
	if (told->verdict == CLIENT_CANNOT_SAY) {
		step_failed(timer, now_of(timer->all), "what became of its last run is not known",
			GW_PLAN_AGAIN_MS);
	} else {
		for (size_t i = 0; told->verdict == CLIENT_FOUND && i < told->n; i++)
			goes_on |= !client_invocation_has_ended(told->list[i]->state);
		gw_plan_told(&timer->plan, goes_on);
	}
	step_later(timer);
}

static enum base_err submit(
	struct gw_timers *t, struct timer *timer, const struct gw_plan_step *step, uint64_t now_ms)
{
	uint8_t trace[GW_TRACE_SIZE] = { 0 };
	struct client_request request = request_of(timer, trace);
	enum base_err err = BASE_OK;

	gw_trace_start(&t->gw->rand, trace);
	base_ulid_make(&t->ulids, &t->gw->rand, now_ms, timer->id);
	memcpy(request.id, timer->id, sizeof request.id);
	timer->skip = step->what != GW_PLAN_FIRE;
	timer->slot_ms = step->slot_ms;
	request.timer = timer->name;
	request.previous_ms = step->previous_ms;
	request.slot_ms = step->slot_ms;
	request.skip = timer->skip;
	if (!timer->skip)
		err = fill_event(t, timer, step->slot_ms, &request);
	if (!err)
		err = client_engine_call(t->gw->engine, &request, on_reply, timer, &timer->handle);
	timer->calls = !err;
	return err;
}

static void take_step(struct gw_timers *t, struct timer *timer, uint64_t now_ms)
{
	struct gw_plan_step step = gw_plan_next(&timer->plan, now_ms);
	enum base_err err;

	if (step.what == GW_PLAN_WAIT) {
		set_due(timer, step.due_ms);
		return;
	}
	set_due(timer, UINT64_MAX);
	if (step.what == GW_PLAN_ASK)
		err = client_invocation_ask(
			t->gw->engine, timer->plan.running, 0, on_told, timer, &timer->question);
	else
		err = submit(t, timer, &step, now_ms);
	t->n_flying += !err;
	if (!err)
		return;
	step_failed(timer, now_ms, base_err_text(err), GW_PLAN_AGAIN_MS);
	set_due(timer, now_ms + GW_PLAN_AGAIN_MS);
}

static bool may_step(const struct gw_timers *t)
{
	return !t->gw->draining && t->gw->events && client_engine_brokers(t->gw->engine) > 0;
}

/* What waits for a time waits for one of the clock that was: each is to say anew what it waits for. */
static void wake_all(struct gw_timers *t)
{
	for (struct timer *timer = t->timers; timer; timer = timer->hh.next)
		if (timer->due.place > 0)
			set_due(timer, 0);
}

/* What is due, as far as there is time and room; false: there was not. */
static bool take_steps(struct gw_timers *t, uint64_t now_ms)
{
	uint64_t end = uv_hrtime() + LOOK_NS;
	struct base_heap_node *first;

	for (unsigned steps = 1; (first = base_heap_first(&t->due)) && first->due <= now_ms;
		steps++) {
		if (t->n_flying >= FLIGHT_MOST || (steps % LOOK_STEPS == 0 && uv_hrtime() >= end))
			return false;
		take_step(t, base_heap_of(first, struct timer, due), now_ms);
	}
	return true;
}

static void on_look(uv_timer_t *look_timer)
{
	struct gw_timers *t = look_timer->data;
	uint64_t now_ms = may_step(t) ? now_of(t) : 0, wait = LOOK_MS;
	const struct base_heap_node *first;

	if (now_ms > 0) {
		if (now_ms + BACK_MS < t->looked_ms)
			wake_all(t);
		t->looked_ms = now_ms;
		if (!take_steps(t, now_ms)) /* an answer looks again, where it is room that lacks */
			wait = t->n_flying < FLIGHT_MOST ? 0 : LOOK_MS;
		else if ((first = base_heap_first(&t->due)) && first->due < now_ms + wait)
			wait = first->due - now_ms;
	}
	(void)uv_timer_start(t->look, on_look, wait, 0);
}

/* Never from within: an answer's callback may be in the midst of something. */
static void look(struct gw_timers *t)
{
	(void)uv_timer_start(t->look, on_look, 0, 0);
}

/* ---- for people ----------------------------------------------------------------------------- */

static struct gw_timer_view view_of(const struct timer *timer)
{
	const Pirn__Timer *c = timer->conf;
	struct gw_timer_view v = { .service = timer->service,
		.name = timer->name,
		.cron = c->cron,
		.every_ms = c->every_ms,
		.zone = c->zone ? c->zone : "UTC",
		.missed = timer->plan.conf.missed,
		.overlap = timer->plan.conf.overlap,
		.fault = timer->fault[0] ? timer->fault : NULL,
		.next_ms = UINT64_MAX };

	if (v.fault)
		return v;
	v.known = timer->plan.known;
	v.last_ms = timer->plan.last_ms;
	v.next_ms = gw_plan_upcoming(&timer->plan);
	v.running = timer->plan.has_running ? timer->plan.running : NULL;
	return v;
}

size_t gw_timers_count(const struct gw_timers *t)
{
	return HASH_COUNT(t->timers);
}

const struct gw_timer_figures *gw_timers_figures(struct gw_timers *t)
{
	t->figures.served = HASH_COUNT(t->timers) - t->n_faulty;
	t->figures.refused = t->n_faulty + t->refused;
	return &t->figures;
}

static int by_key(const struct timer *a, const struct timer *b)
{
	int order = strcmp(a->service, b->service);

	return order ? order : strcmp(a->name, b->name);
}

void gw_timers_each(struct gw_timers *t, gw_timer_fn *fn, void *arg)
{
	const struct timer *timer;

	HASH_SORT(t->timers, by_key);
	for (timer = t->timers; timer; timer = timer->hh.next) {
		struct gw_timer_view view = view_of(timer);

		fn(arg, &view);
	}
}

enum base_err gw_timers_fire(struct gw_timers *t, const char *service, const char *name,
	uint8_t id[BASE_ULID_SIZE], client_reply_fn *fn, void *arg)
{
	char key[GW_TIMER_NAME];
	uint8_t trace[GW_TRACE_SIZE] = { 0 };
	struct client_request request;
	struct timer *timer;
	uint64_t now_ms = now_of(t);
	enum base_err err;

	if (snprintf(key, sizeof key, "%s/%s", service, name) >= (int)sizeof key)
		return BASE_NOT_FOUND;
	HASH_FIND_STR(t->timers, key, timer);
	if (!timer)
		return BASE_NOT_FOUND;
	if (now_ms == 0)
		now_ms = base_clock_unix_ms();
	request = request_of(timer, trace);
	gw_trace_start(&t->gw->rand, trace);
	base_ulid_make(&t->ulids, &t->gw->rand, now_ms, id);
	memcpy(request.id, id, BASE_ULID_SIZE);
	err = fill_event(t, timer, now_ms, &request);
	return err ? err : client_engine_call(t->gw->engine, &request, fn, arg, NULL);
}

/* ---- birth and death -------------------------------------------------------------------------- */

struct gw_timers *gw_timers_new(struct gw *gw)
{
	struct gw_timers *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->look = calloc(1, sizeof *t->look);
	if (!t->look || uv_timer_init(net_loop_uv(gw->loop), t->look)) {
		free(t->look);
		free(t);
		return NULL;
	}
	t->gw = gw;
	t->look->data = t;
	base_heap_init(&t->due);
	base_buf_init(&t->meta);
	return t;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void gw_timers_free(struct gw_timers **tp)
{
	struct gw_timers *t = *tp;
	struct timer *timer, *next;
	struct zone *z, *next_zone;

	if (!t)
		return;
	HASH_ITER (hh, t->timers, timer, next)
		free_timer(timer);
	HASH_ITER (hh, t->zones, z, next_zone) {
		HASH_DEL(t->zones, z);
		base_zone_free(&z->zone);
		free(z);
	}
	uv_close((uv_handle_t *)t->look, on_closed);
	base_heap_fini(&t->due);
	base_buf_fini(&t->meta);
	free(t);
	*tp = NULL;
}
