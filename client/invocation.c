/* A question is a few rounds: one client_engine_query each, to all brokers. What
 * was found stays from round to round; who answered, and for which epochs, is of
 * one round only, because that is what an id's being unknown rests on.
 */
#include "client/invocation.h"

#include <stdlib.h>
#include <string.h>

#include "base/ulid.h"
#include "client/parts.h"

#define GRACE_MS   1000 /* beyond wait_ms: for the answers to travel */
#define AGAIN_MS   250  /* between two rounds */
#define MAX_EPOCHS 256  /* UNTRUSTED lists: of brokers … */
#define MAX_FOUND  256  /* … and of one id's deliveries */
#define MAX_LIST   1000
#define LIST       100

struct found {
	Pirn__Invocation *what; /* a copy: answers are borrowed */
	uint32_t epoch;         /* of the broker that told it */
};

struct epochs {
	uint32_t list[MAX_EPOCHS];
	size_t n;
	bool overflow;
};

struct client_question {
	struct client_engine *e;
	client_invocation_fn *fn; /* NULL: forgotten */
	void *arg;
	enum { CANCEL, ASK, ENUMERATE } step;
	uint8_t id[16];
	uint64_t wait_until;
	size_t limit;
	struct found *found; /* by id and service; room for limit and one */
	size_t n_found, cancelled;
	size_t n_asked, n_answered; /* of this round, as the three below */
	struct epochs owners, loaded;
	enum _Pirn__Reason reason;
	bool starved; /* there was no memory for something that was answered in this round */
};

/* ---- states ---------------------------------------------------------------- */

static const char *const names[] = {
	[PIRN__INVOCATION_STATE__READY] = "ready",
	[PIRN__INVOCATION_STATE__RUNNING] = "running",
	[PIRN__INVOCATION_STATE__WAITING] = "waiting",
	[PIRN__INVOCATION_STATE__ENDING] = "ending",
	[PIRN__INVOCATION_STATE__DONE] = "done",
	[PIRN__INVOCATION_STATE__DEAD] = "dead",
	[PIRN__INVOCATION_STATE__EXPIRED_END] = "expired",
	[PIRN__INVOCATION_STATE__CANCELLED_END] = "cancelled",
};

const char *client_invocation_state_name(uint32_t state)
{
	bool known = state > 0 && state < sizeof names / sizeof names[0];

	return known ? names[state] : "unknown";
}

bool client_invocation_has_ended(uint32_t state)
{
	return state >= PIRN__INVOCATION_STATE__DONE &&
	       state <= PIRN__INVOCATION_STATE__CANCELLED_END;
}

/* ---- what was found -------------------------------------------------------- */

static bool is_later(const Pirn__Invocation *a, uint32_t a_epoch, const struct found *b)
{
	bool a_ended = client_invocation_has_ended(a->state);
	bool b_ended = client_invocation_has_ended(b->what->state);

	if (a->attempt != b->what->attempt)
		return a->attempt > b->what->attempt;
	return a_ended != b_ended ? a_ended : a_epoch > b->epoch;
}

static int compare(const Pirn__Invocation *a, const Pirn__Invocation *b)
{
	int order = memcmp(a->id.data, b->id.data, 16);

	return order ? order : strcmp(a->service, b->service);
}

static Pirn__Invocation *copy(const Pirn__Invocation *what)
{
	size_t size = pirn__invocation__get_packed_size(what);
	Pirn__Invocation *out;
	uint8_t *bytes = malloc(size + 1);

	if (!bytes)
		return NULL;
	pirn__invocation__pack(what, bytes);
	out = pirn__invocation__unpack(NULL, size, bytes);
	free(bytes);
	return out;
}

/* Where it stands, or should. */
static size_t place_of(const struct client_question *q, const Pirn__Invocation *what, bool *there)
{
	size_t low = 0, high = q->n_found;

	*there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(what, q->found[middle].what);

		if (order == 0) {
			*there = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void take_one(struct client_question *q, const Pirn__Invocation *what, uint32_t epoch)
{
	Pirn__Invocation *own;
	bool there;
	size_t at;

	if (what->id.len != 16 || (q->step != ENUMERATE && memcmp(what->id.data, q->id, 16) != 0))
		return;
	at = place_of(q, what, &there);
	if (at == q->limit || (there && !is_later(what, epoch, &q->found[at])))
		return;
	own = copy(what);
	if (!own) {
		q->starved = true;
		return;
	}
	if (there) {
		pirn__invocation__free_unpacked(q->found[at].what, NULL);
	} else {
		memmove(q->found + at + 1, q->found + at, (q->n_found - at) * sizeof *q->found);
		if (++q->n_found > q->limit)
			pirn__invocation__free_unpacked(q->found[--q->n_found].what, NULL);
	}
	q->found[at] = (struct found){ .what = own, .epoch = epoch };
}

/* ---- who answered ---------------------------------------------------------- */

static bool has_epoch(const struct epochs *s, uint32_t epoch)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i] == epoch)
			return true;
	return false;
}

static void add_epoch(struct epochs *s, uint32_t epoch)
{
	if (has_epoch(s, epoch))
		return;
	if (s->n == MAX_EPOCHS)
		s->overflow = true;
	else
		s->list[s->n++] = epoch;
}

/* Whether every journal's owner has answered, with all it owns read. */
static bool is_covered(const struct client_question *q)
{
	if (q->owners.n == 0 || q->owners.overflow)
		return false;
	for (size_t i = 0; i < q->owners.n; i++)
		if (!has_epoch(&q->loaded, q->owners.list[i]))
			return false;
	return true;
}

/* UNTRUSTED: a reason is a broker's word for "ask others"; it then counts for nothing else. */
static void take_answer(struct client_question *q, const Pirn__Answer *answer)
{
	if (answer->reason != PIRN__REASON__NONE) {
		if (!q->reason || answer->reason == PIRN__REASON__NOT_DURABLE)
			q->reason = (enum _Pirn__Reason)answer->reason;
		return;
	}
	q->n_answered++;
	if (q->step == CANCEL && answer->count <= MAX_FOUND)
		q->cancelled += answer->count;
	for (size_t i = 0; i < answer->n_invocations; i++)
		take_one(q, answer->invocations[i], answer->epoch);
	if (answer->epoch == 0)
		return;
	for (size_t i = 0; i < answer->n_owners; i++)
		add_epoch(&q->owners, answer->owners[i]);
	if (answer->loaded)
		add_epoch(&q->loaded, answer->epoch);
}

/* ---- the end --------------------------------------------------------------- */

static void free_question(struct client_question *q)
{
	for (size_t i = 0; i < q->n_found; i++)
		pirn__invocation__free_unpacked(q->found[i].what, NULL);
	free(q->found);
	free(q);
}

static enum client_verdict verdict_of(const struct client_question *q)
{
	if (q->n_found > 0 || (q->step == ENUMERATE && q->n_answered > 0))
		return CLIENT_FOUND;
	return q->step != ENUMERATE && is_covered(q) ? CLIENT_UNKNOWN : CLIENT_CANNOT_SAY;
}

static enum _Pirn__Reason reason_of(const struct client_question *q)
{
	if (q->e->closing)
		return PIRN__REASON__CANCELLED;
	if (q->n_asked == 0)
		return PIRN__REASON__NO_BROKER;
	return q->reason ? q->reason : PIRN__REASON__UNDECIDED;
}

static void tell(struct client_question *q)
{
	struct client_invocations told = { .verdict = verdict_of(q),
		.n = q->n_found,
		.cancelled = q->cancelled,
		.partial = q->n_answered < q->n_asked };
	Pirn__Invocation **list = calloc(q->n_found + 1, sizeof(Pirn__Invocation *));

	if (!list || q->starved) {
		told.verdict = CLIENT_CANNOT_SAY;
		told.n = 0;
	}
	for (size_t i = 0; i < told.n; i++)
		list[i] = q->found[i].what;
	told.list = list;
	if (told.verdict == CLIENT_CANNOT_SAY)
		told.reason = list && !q->starved ? reason_of(q) : PIRN__REASON__OVERLOADED;
	if (q->fn)
		q->fn(q->arg, &told);
	free(list);
	free_question(q);
}

/* ---- rounds ---------------------------------------------------------------- */

static void on_answer(void *arg, const Pirn__Answer *answer);

static uint32_t wait_left(const struct client_question *q)
{
	uint64_t now = net_loop_now_ms(q->e->loop);

	return q->wait_until > now ? (uint32_t)(q->wait_until - now) : 0;
}

static enum base_err start_round(struct client_question *q, Pirn__Query *query)
{
	q->n_asked = net_links_up(q->e->links);
	q->n_answered = 0;
	q->owners.n = q->loaded.n = 0;
	q->owners.overflow = q->loaded.overflow = false;
	q->reason = PIRN__REASON__NONE;
	q->starved = false;
	return client_engine_query(q->e, query, query->wait_ms + GRACE_MS, on_answer, q);
}

static enum base_err ask_id(struct client_question *q)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.has_what = query.has_id = 1;
	query.what = q->step == CANCEL ? PIRN__QUERY_KIND__CANCEL_INVOCATION
				       : PIRN__QUERY_KIND__INVOCATION;
	query.id.data = q->id;
	query.id.len = sizeof q->id;
	if (q->step == ASK) {
		query.wait_ms = wait_left(q);
		query.has_wait_ms = query.wait_ms > 0;
	}
	return start_round(q, &query);
}

/* Somebody may know more a little later. */
static bool is_worth_asking_again(const struct client_question *q)
{
	if (q->step != ASK || !q->fn || q->e->closing || wait_left(q) <= AGAIN_MS ||
		q->reason == PIRN__REASON__UNSUPPORTED)
		return false;
	for (size_t i = 0; i < q->n_found; i++)
		if (!client_invocation_has_ended(q->found[i].what->state))
			return true;
	return verdict_of(q) == CLIENT_CANNOT_SAY;
}

static void on_paused(void *arg, const Pirn__Answer *none)
{
	struct client_question *q = arg;

	(void)none;
	if (!q->fn || ask_id(q))
		tell(q);
}

static void on_answer(void *arg, const Pirn__Answer *answer)
{
	struct client_question *q = arg;

	if (answer) {
		take_answer(q, answer);
		return;
	}
	if (q->step == CANCEL && q->fn && !q->e->closing) {
		q->step = ASK;
		if (!ask_id(q))
			return;
	} else if (is_worth_asking_again(q) && !client_query_later(q->e, AGAIN_MS, on_paused, q)) {
		return;
	}
	tell(q);
}

/* ---- asking ---------------------------------------------------------------- */

static struct client_question *new_question(
	struct client_engine *e, size_t limit, client_invocation_fn *fn, void *arg)
{
	struct client_question *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->found = calloc(limit + 1, sizeof *q->found);
	if (!q->found) {
		free(q);
		return NULL;
	}
	q->e = e;
	q->limit = limit;
	q->fn = fn;
	q->arg = arg;
	return q;
}

static enum base_err begin(
	enum base_err err, struct client_question *q, struct client_question **out)
{
	if (err)
		free_question(q);
	else if (out)
		*out = q;
	return err;
}

enum base_err client_invocation_ask(struct client_engine *e, const uint8_t id[16], uint32_t wait_ms,
	client_invocation_fn *fn, void *arg, struct client_question **out)
{
	struct client_question *q = new_question(e, MAX_FOUND, fn, arg);

	if (!q)
		return BASE_NOMEM;
	q->step = ASK;
	q->wait_until = net_loop_now_ms(e->loop) + wait_ms;
	memcpy(q->id, id, sizeof q->id);
	return begin(ask_id(q), q, out);
}

enum base_err client_invocation_cancel(struct client_engine *e, const uint8_t id[16],
	uint32_t wait_ms, client_invocation_fn *fn, void *arg, struct client_question **out)
{
	struct client_question *q = new_question(e, MAX_FOUND, fn, arg);

	if (!q)
		return BASE_NOMEM;
	q->step = CANCEL;
	q->wait_until = net_loop_now_ms(e->loop) + wait_ms;
	memcpy(q->id, id, sizeof q->id);
	return begin(ask_id(q), q, out);
}

enum base_err client_invocation_list(struct client_engine *e,
	const struct client_invocation_filter *filter, client_invocation_fn *fn, void *arg,
	struct client_question **out)
{
	size_t limit = filter->limit ? filter->limit : LIST;
	Pirn__Query query = PIRN__QUERY__INIT;
	char after[BASE_ULID_TEXT + 1];
	struct client_question *q;

	if (limit > MAX_LIST)
		limit = MAX_LIST;
	q = new_question(e, limit, fn, arg);
	if (!q)
		return BASE_NOMEM;
	q->step = ENUMERATE;
	query.has_what = query.has_limit = 1;
	query.what = PIRN__QUERY_KIND__INVOCATIONS;
	query.limit = (uint32_t)limit;
	query.service = (char *)(uintptr_t)filter->service;
	query.has_state = filter->state > 0;
	query.state = filter->state;
	if (filter->after) {
		base_ulid_print(filter->after, after);
		query.cursor = after;
	}
	return begin(start_round(q, &query), q, out);
}

void client_question_forget(struct client_question **q)
{
	if (*q)
		(*q)->fn = NULL;
	*q = NULL;
}
