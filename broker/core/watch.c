#include "broker/core/watch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/manifest.h"
#include "base/ulid.h"
#include "broker/core/asks.h"
#include "broker/core/parts.h"

/* Those who wait for the end of one event. */
struct brk_watched {
	uint8_t id[16];
	struct brk_question *waiting;
	UT_hash_handle hh;
};

/* ---- records --------------------------------------------------------------- */

static struct brk_question *question_new(struct brk_core *core, const struct brk_peer *peer,
	const Pirn__Item *item, const Pirn__Query *query)
{
	struct brk_question *q;

	if (core->watch.n >= BRK_MAX_QUESTIONS)
		return NULL;
	q = calloc(1, sizeof *q);
	if (!q)
		return NULL;
	q->asker = (struct brk_asker){ peer->id, item->slot, item->generation };
	q->what = query->what;
	if (query->id.len == sizeof q->id)
		memcpy(q->id, query->id.data, sizeof q->id);
	DL_APPEND(core->watch.questions, q);
	core->watch.n++;
	return q;
}

static void unwatch(struct brk_core *core, struct brk_question *q)
{
	struct brk_watched *watched = q->watched;

	if (!watched)
		return;
	base_heap_remove(&core->watch.due, &q->due);
	DL_DELETE2(watched->waiting, q, id_prev, id_next);
	q->watched = NULL;
	if (watched->waiting)
		return;
	HASH_DEL(core->watch.watched, watched);
	free(watched);
}

static void question_free(struct brk_core *core, struct brk_question *q)
{
	unwatch(core, q);
	DL_DELETE(core->watch.questions, q);
	core->watch.n--;
	free(q);
}

/* Answered, or never to be: it goes when no ask of its is open any more. */
void brk_question_over(struct brk_core *core, struct brk_question *q)
{
	unwatch(core, q);
	q->answered = true;
	if (q->open == 0)
		question_free(core, q);
}

static bool watch(struct brk_core *core, struct brk_question *q, uint32_t wait_ms)
{
	struct brk_watched *watched;
	uint64_t due = core->now_ms + (wait_ms < BRK_MAX_WAIT_MS ? wait_ms : BRK_MAX_WAIT_MS);

	HASH_FIND(hh, core->watch.watched, q->id, sizeof q->id, watched);
	if (base_heap_push(&core->watch.due, &q->due, due))
		return false;
	if (!watched) {
		watched = calloc(1, sizeof *watched);
		if (watched) {
			memcpy(watched->id, q->id, sizeof q->id);
			HASH_ADD(hh, core->watch.watched, id, sizeof watched->id, watched);
		}
		if (!watched || !watched->hh.tbl) {
			free(watched);
			base_heap_remove(&core->watch.due, &q->due);
			return false;
		}
	}
	DL_APPEND2(watched->waiting, q, id_prev, id_next);
	q->watched = watched;
	return true;
}

struct brk_ask *brk_question_ask(
	struct brk_core *core, enum brk_ask_kind kind, struct brk_question *q, uint64_t number)
{
	struct brk_ask *a = brk_ask(core, kind, q, number);

	if (a)
		q->open++;
	return a;
}

/* ---- one event --------------------------------------------------------------- */

/* One that arrives is nobody's to know yet: it may be a second copy of one that is here. */
static struct brk_delivery *first_live(struct brk_core *core, const uint8_t id[16])
{
	struct brk_delivery *d = brk_delivery_first(core, id);

	while (d && d->state == BRK_DELIVERY_ARRIVING)
		d = brk_delivery_next(d);
	return d;
}

static size_t count_live(struct brk_core *core, const uint8_t id[16])
{
	size_t n = 0;

	for (struct brk_delivery *d = brk_delivery_first(core, id); d; d = brk_delivery_next(d))
		n++;
	return n;
}

static void answer_live(struct brk_core *core, struct brk_question *q, uint32_t count)
{
	size_t room = count_live(core, q->id);
	Pirn__Answer answer;
	bool fits = true;

	brk_answer_init(core, &answer);
	for (struct brk_delivery *d = brk_delivery_first(core, q->id); d && fits;
		d = brk_delivery_next(d)) {
		Pirn__Invocation *one;

		if (d->state == BRK_DELIVERY_ARRIVING)
			continue;
		one = brk_answer_invocation(core, &answer, room);
		fits = one && brk_answer_live(core, d, one);
	}
	answer.has_count = count > 0;
	answer.count = count;
	brk_answer_horizon(core, &answer);
	if (fits)
		brk_answer_send(core, &q->asker, &answer);
	else
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
	brk_question_over(core, q);
}

/* What is not here has ended, or is another broker's, or nobody's: Redis knows the first. */
static void ask_result(struct brk_core *core, struct brk_question *q)
{
	struct brk_ask *a = core->connected ? brk_question_ask(core, BRK_ASK_RESULT, q, 0) : NULL;

	unwatch(core, q);
	if (!a) {
		brk_answer_reason(core, &q->asker, PIRN__REASON__NOT_DURABLE);
		brk_question_over(core, q);
		return;
	}
	a->dead.ids = (const uint8_t(*)[16]) & q->id;
	a->dead.n = 1;
}

/* Of an event with several deliveries some may have ended: what they came to is in Redis. */
static void answer_known(struct brk_core *core, struct brk_question *q)
{
	const struct brk_delivery *live = first_live(core, q->id);

	if (live && (live->flags & BRK_DELIVERY_FANNED) && core->connected)
		ask_result(core, q);
	else
		answer_live(core, q, 0);
}

/* The horizon of then counts too: what was still to be read when the question came may have been read,
 * run and ended while Redis was asked. Whoever asks comes again. */
static void answer_nothing(struct brk_core *core, struct brk_question *q)
{
	Pirn__Answer answer;

	brk_answer_init(core, &answer);
	brk_answer_horizon(core, &answer);
	answer.loaded = answer.loaded && !q->unsure && !first_live(core, q->id);
	brk_answer_send(core, &q->asker, &answer);
	brk_question_over(core, q);
}

/* Results go after result_ttl, letters stay: the id says nothing of the service, so each is asked. */
static void ask_letters(struct brk_core *core, struct brk_question *q)
{
	struct brk_service *service, *next;

	HASH_ITER (hh, core->services, service, next) {
		struct brk_ask *a;

		if (q->open == BRK_DEAD_PLACES)
			break;
		a = brk_question_ask(core, BRK_ASK_DEAD_GET, q, 0);
		if (!a) { /* the letter may lie just there */
			q->unsure = true;
			break;
		}
		a->dead.service = service->name;
		a->dead.ids = (const uint8_t(*)[16]) & q->id;
		a->dead.n = 1;
	}
	if (q->open == 0)
		answer_nothing(core, q);
}

static size_t answer_room(
	struct brk_core *core, const struct brk_question *q, const struct store_list *list)
{
	return list->n / 2 + count_live(core, q->id);
}

static bool add_ended(struct brk_core *core, struct brk_question *q, const struct store_list *list,
	Pirn__Answer *answer)
{
	for (size_t i = 0; i + 1 < list->n; i += 2) {
		Pirn__Invocation *one =
			brk_answer_invocation(core, answer, answer_room(core, q, list));

		if (!one || !brk_answer_ended(core, q->id, list->items[i], list->items[i + 1], one))
			return false;
	}
	return true;
}

/* Its result stands in Redis, though we were not told yet. */
static bool is_in(const struct store_list *list, const struct brk_delivery *d)
{
	size_t size = strlen(d->service->name);

	for (size_t i = 0; i + 1 < list->n; i += 2)
		if (list->items[i].size == size &&
			memcmp(list->items[i].data, d->service->name, size) == 0)
			return true;
	return false;
}

static bool add_living(struct brk_core *core, struct brk_question *q, const struct store_list *list,
	Pirn__Answer *answer)
{
	for (struct brk_delivery *d = brk_delivery_first(core, q->id); d;
		d = brk_delivery_next(d)) {
		Pirn__Invocation *one;

		if (d->state == BRK_DELIVERY_ARRIVING || is_in(list, d))
			continue;
		one = brk_answer_invocation(core, answer, answer_room(core, q, list));
		if (!one || !brk_answer_live(core, d, one))
			return false;
	}
	return true;
}

static void told_result(
	struct brk_core *core, struct brk_question *q, const struct store_list *list)
{
	Pirn__Answer answer;

	if (list->n == 0 && first_live(core, q->id)) {
		answer_live(core, q, 0);
		return;
	}
	if (list->n == 0) {
		ask_letters(core, q);
		return;
	}
	brk_answer_init(core, &answer);
	if (!add_ended(core, q, list, &answer) || !add_living(core, q, list, &answer)) {
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
		brk_question_over(core, q);
		return;
	}
	brk_answer_horizon(core, &answer);
	brk_answer_send(core, &q->asker, &answer);
	brk_question_over(core, q);
}

/* One of the services' places for letters. */
static void told_letter(
	struct brk_core *core, struct brk_question *q, const struct store_list *list)
{
	Pirn__Answer answer;
	Pirn__JournalEvent *event;
	Pirn__Invocation *one;

	if (list->n >= 2) {
		brk_answer_init(core, &answer);
		one = brk_answer_invocation(core, &answer, 1);
		event = brk_answer_letter(core, list->items[0]);
		brk_answer_horizon(core, &answer);
		if (one && event && brk_answer_dead(core, q->id, event, one)) {
			brk_answer_send(core, &q->asker, &answer);
			brk_question_over(core, q);
			return;
		}
		q->unsure = q->unsure || core->arena.starved;
	}
	if (q->open == 0)
		answer_nothing(core, q);
}

/* Whether an event of that id may come to be here before Redis has said that it knows none: it arrives
 * (its sender may have heard ACCEPTED already, with ack: memory), or an entry is not read yet. */
static bool may_come(struct brk_core *core, const uint8_t id[16])
{
	return brk_delivery_first(core, id) || !brk_owner_is_loaded(core);
}

static void query_invocation(
	struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	q->unsure = may_come(core, q->id);
	if (!first_live(core, q->id)) {
		ask_result(core, q);
		return;
	}
	brk_ledger_press(core); /* it may be among the ends that wait for others */
	if (query->wait_ms == 0 || core->draining || !watch(core, q, query->wait_ms))
		answer_known(core, q);
}

static void query_cancel(struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	struct brk_delivery *d = brk_delivery_first(core, q->id), *next;
	uint32_t n = 0;

	(void)query;
	q->unsure = may_come(core, q->id);
	for (; d; d = next) {
		next = brk_delivery_next(d);
		n += brk_event_cancel(core, d);
	}
	if (first_live(core, q->id))
		answer_live(core, q, n);
	else
		ask_result(core, q);
}

/* ---- the seams ----------------------------------------------------------------- */

enum need { NEED_ID = 1, NEED_SERVICE = 2, NEED_IDS = 4, NEED_REDIS = 8, SCANS = 16 };

static const struct row {
	uint32_t what;
	unsigned needs;
	void (*handle)(struct brk_core *, struct brk_question *, const Pirn__Query *);
} rows[] = {
	{ PIRN__QUERY_KIND__INVOCATION, NEED_ID, query_invocation },
	{ PIRN__QUERY_KIND__INVOCATIONS, 0, brk_page_list },
	{ PIRN__QUERY_KIND__CANCEL_INVOCATION, NEED_ID, query_cancel },
	{ PIRN__QUERY_KIND__DEAD_LIST, NEED_SERVICE | NEED_REDIS | SCANS, brk_letters_list },
	{ PIRN__QUERY_KIND__DEAD_GET, NEED_ID | NEED_SERVICE | NEED_REDIS, brk_letters_get },
	{ PIRN__QUERY_KIND__DEAD_REDRIVE, NEED_SERVICE | NEED_IDS | NEED_REDIS,
		brk_letters_redrive },
	{ PIRN__QUERY_KIND__DEAD_PURGE, NEED_SERVICE | NEED_IDS | NEED_REDIS, brk_letters_purge },
};

/* UNTRUSTED. Redis's own cursor, or an id. */
static bool is_cursor(const char *cursor, unsigned needs)
{
	uint8_t id[16];

	if (needs & SCANS)
		return strlen(cursor) <= 20 && cursor[0] &&
		       cursor[strspn(cursor, "0123456789")] == '\0';
	return base_ulid_parse(cursor, id);
}

/* UNTRUSTED */
static bool has_needs(const Pirn__Query *query, unsigned needs)
{
	if (needs & NEED_ID && query->id.len != 16)
		return false;
	if (query->cursor && !is_cursor(query->cursor, needs))
		return false;
	if (needs & NEED_SERVICE && (!query->service || !base_manifest_is_service(query->service)))
		return false;
	if (!(needs & NEED_IDS))
		return true;
	for (size_t i = 0; i < query->n_ids; i++)
		if (query->ids[i].len != 16)
			return false;
	return query->n_ids > 0 && query->n_ids <= BRK_MAX_LISTED;
}

static uint32_t judge(const struct brk_core *core, const struct row *row, const Pirn__Query *query)
{
	if (!has_needs(query, row->needs))
		return PIRN__REASON__MALFORMED;
	if (!core->conf.events)
		return PIRN__REASON__UNSUPPORTED;
	if (row->needs & NEED_REDIS && !core->connected)
		return PIRN__REASON__NOT_DURABLE;
	return PIRN__REASON__NONE;
}

bool brk_watch_query(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	const Pirn__Query *query)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct brk_question *q;
		uint32_t reason;

		if (rows[i].what != query->what)
			continue;
		reason = judge(core, &rows[i], query);
		q = reason == PIRN__REASON__NONE ? question_new(core, peer, item, query) : NULL;
		if (q)
			rows[i].handle(core, q, query);
		else
			brk_refuse(core, peer, item, reason ? reason : PIRN__REASON__OVERLOADED, 0);
		return true;
	}
	return false;
}

/* Letters that may have gone back lie in the journal, whoever waits for the answer. */
static bool may_have_moved(const struct brk_question *q, enum store_code code)
{
	return code == STORE_LOST || code == STORE_BROKEN || (code == STORE_DONE && q->answered);
}

/* Whatever a question was about, Redis did not do it, or nobody knows. */
static void told_no(struct brk_core *core, struct brk_question *q, enum store_code code)
{
	brk_answer_reason(core, &q->asker, brk_answer_reason_of(code));
	brk_question_over(core, q);
}

void brk_watch_told(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_question *q = asked->about;

	q->open--;
	if (told->says->code == STORE_FENCED)
		brk_owner_fenced(core, asked, told->says);
	if (told->says->code == STORE_LOST)
		brk_owner_lost(core, asked);
	if (asked->kind == BRK_ASK_REDRIVE && may_have_moved(q, told->says->code))
		brk_load_own(core, asked->epoch, asked->number);
	if (q->answered) {
		if (q->open == 0)
			question_free(core, q);
	} else if (told->says->code != STORE_DONE) {
		told_no(core, q, told->says->code);
	} else if (asked->kind == BRK_ASK_RESULT) {
		told_result(core, q, told->list);
	} else if (q->what >= PIRN__QUERY_KIND__DEAD_LIST) {
		brk_letters_told(core, q, asked, told);
	} else {
		told_letter(core, q, told->list);
	}
}

/* ---- those who wait -------------------------------------------------------------- */

static bool is_last(struct brk_core *core, const struct brk_delivery *delivery)
{
	for (struct brk_delivery *d = brk_delivery_first(core, delivery->id); d;
		d = brk_delivery_next(d))
		if (d != delivery && d->state != BRK_DELIVERY_ARRIVING)
			return false;
	return true;
}

static struct brk_watched *watched_of(struct brk_core *core, const struct brk_delivery *delivery)
{
	struct brk_watched *watched = NULL;

	if (core->watch.watched)
		HASH_FIND(hh, core->watch.watched, delivery->id, sizeof delivery->id, watched);
	return watched;
}

bool brk_query_is_awaited(struct brk_core *core, const struct brk_delivery *delivery)
{
	return watched_of(core, delivery) != NULL;
}

/* Nobody keeps its result: what the end says is all there is. */
static void answer_end(struct brk_core *core, struct brk_question *q,
	const struct brk_delivery *delivery, const struct brk_end *end)
{
	Pirn__Answer answer;
	Pirn__Invocation *one;

	brk_answer_init(core, &answer);
	one = brk_answer_invocation(core, &answer, 1);
	if (one) {
		one->id = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)delivery->id };
		one->service = delivery->service->name;
		one->state = brk_answer_end_state(end->end);
		one->has_attempt = one->has_accepted_ms = one->has_ended_ms = true;
		one->attempt = delivery->attempt;
		one->accepted_ms = delivery->accepted_ms;
		one->ended_ms = end->ended_ms;
		one->has_reason = end->reason != PIRN__REASON__NONE;
		one->reason = end->reason;
		one->has_status = end->status > 0;
		one->status = end->status;
		brk_answer_horizon(core, &answer);
		brk_answer_send(core, &q->asker, &answer);
	} else {
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
	}
	brk_question_over(core, q);
}

void brk_query_ended(
	struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end)
{
	struct brk_watched *watched = watched_of(core, delivery);
	struct brk_question *q, *next;

	if (!watched || !is_last(core, delivery))
		return;
	for (q = watched->waiting; q; q = next) {
		next = q->id_next; /* watched goes with the last one */
		if (end->result)
			ask_result(core, q);
		else
			answer_end(core, q, delivery, end);
	}
}

void brk_query_forgotten(struct brk_core *core, const struct brk_delivery *delivery)
{
	struct brk_watched *watched = watched_of(core, delivery);
	struct brk_question *q, *next;

	if (!watched || !is_last(core, delivery))
		return;
	for (q = watched->waiting; q; q = next) {
		next = q->id_next;
		brk_answer_reason(core, &q->asker, PIRN__REASON__MOVED);
		brk_question_over(core, q);
	}
}

void brk_watch_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->watch.due)) && node->due <= core->now_ms &&
		brk_act_has_room(core))
		answer_known(core, base_heap_of(node, struct brk_question, due));
}

uint64_t brk_watch_due(const struct brk_core *core)
{
	const struct base_heap_node *node = base_heap_first(&core->watch.due);

	return node ? node->due : UINT64_MAX;
}

void brk_watch_drain(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->watch.due)))
		answer_live(core, base_heap_of(node, struct brk_question, due), 0);
}

/* An answer that is on its way, or asked of Redis, finds nobody or is dropped by its client. */
void brk_watch_cancel(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item)
{
	struct brk_question *q, *next;

	DL_FOREACH_SAFE (core->watch.questions, q, next) {
		if (q->watched && q->asker.peer == peer->id && q->asker.slot == item->slot &&
			q->asker.generation == item->generation)
			brk_question_over(core, q);
	}
}

void brk_watch_leave(struct brk_core *core, const struct brk_peer *peer)
{
	struct brk_question *q, *next;

	DL_FOREACH_SAFE (core->watch.questions, q, next) {
		if (q->asker.peer == peer->id)
			brk_question_over(core, q);
	}
}

void brk_watch_fini(struct brk_core *core)
{
	struct brk_question *q, *next;

	DL_FOREACH_SAFE (core->watch.questions, q, next)
		question_free(core, q);
	base_heap_fini(&core->watch.due);
}

void brk_watch_check(const struct brk_core *core)
{
	const struct brk_question *q;
	uint32_t n = 0, waiting = 0;

	DL_FOREACH (core->watch.questions, q) {
		n++;
		waiting += q->watched != NULL;
		assert(q->open > 0 || q->watched);
		assert(!q->watched || (!q->answered && q->due.place > 0));
	}
	assert(n == core->watch.n && n <= BRK_MAX_QUESTIONS);
	assert(waiting == core->watch.due.n);
}
