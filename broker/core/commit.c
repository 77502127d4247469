/* Commits: collecting, sending, and the list of what is unanswered. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/pack.h"
#include "broker/core/parts.h"

#define SPARE_COMMITS 8
#define KEPT_BYTES    (2u * STORE_ENTRY_BODY) /* of a spare commit's buffers */
#define RETRY_MS      200
#define LETTERS_MAX   (4u * 1024 * 1024)
#define MANY_ENDS     32 /* worth a call of their own */

/* ---- life ----------------------------------------------------------------- */

enum base_err brk_ledger_init(struct brk_core *core)
{
	struct brk_ledger *ledger = &core->ledger;

	if (!core->conf.events)
		return BASE_OK;
	ledger->items = calloc(STORE_ENTRY_DELIVERIES, sizeof *ledger->items);
	ledger->lists = calloc(STORE_ENTRY_DELIVERIES, sizeof *ledger->lists);
	ledger->ends = calloc(STORE_ENTRY_DELIVERIES, sizeof *ledger->ends);
	return ledger->items && ledger->lists && ledger->ends ? BASE_OK : BASE_NOMEM;
}

static struct brk_commits *commits_of(struct brk_core *core, enum brk_ask_kind kind)
{
	return kind == BRK_ASK_STORE ? &core->ledger.stores : &core->ledger.settles;
}

static bool is_open(const struct brk_commit *commit)
{
	return commit->state >= BRK_COMMIT_ASKED;
}

static void commit_free(struct brk_commit *commit)
{
	base_buf_fini(&commit->head);
	base_buf_fini(&commit->body);
	free(commit);
}

void brk_ledger_fini(struct brk_core *core)
{
	struct brk_ledger *ledger = &core->ledger;
	struct brk_commit *commit, *next;

	assert(!ledger->stores.list && !ledger->settles.list);
	LL_FOREACH_SAFE (ledger->spare, commit, next)
		commit_free(commit);
	while (ledger->journals)
		brk_journal_free(core, ledger->journals);
	free(ledger->items);
	free(ledger->lists);
	free(ledger->ends);
	free(ledger->homeless);
	free(ledger->held);
}

/* Its arrays are large: they are not cleared, n says what of them is there. */
static struct brk_commit *commit_new(struct brk_core *core)
{
	struct brk_commit *commit = core->ledger.spare;

	if (commit) {
		LL_DELETE(core->ledger.spare, commit);
		core->ledger.n_spare--;
		return commit;
	}
	commit = malloc(sizeof *commit);
	if (commit) {
		base_buf_init(&commit->head);
		base_buf_init(&commit->body);
	}
	return commit;
}

static void commit_begin(struct brk_core *core, struct brk_commit *commit, enum brk_ask_kind kind)
{
	commit->kind = kind;
	commit->state = BRK_COMMIT_COLLECTING;
	commit->n = commit->n_deliveries = 0;
	commit->letters = 0;
	commit->emits = commit->pressing = false;
	commit->ticket = 0;
	commit->began_at = core->now_ms;
	commit->decide_at = UINT64_MAX;
	base_buf_reset(&commit->head);
	base_buf_reset(&commit->body);
}

static bool has_room(const struct brk_commit *commit, const struct brk_room *room)
{
	if (commit->state != BRK_COMMIT_COLLECTING ||
		commit->n + room->events > STORE_ENTRY_DELIVERIES)
		return false;
	if (commit->letters > LETTERS_MAX)
		return false;
	return commit->n_deliveries == 0 ||
	       (commit->n_deliveries + room->deliveries <= STORE_ENTRY_DELIVERIES &&
		       commit->body.size + room->bytes <= STORE_ENTRY_BODY);
}

struct brk_commit *brk_commit_get(
	struct brk_core *core, enum brk_ask_kind kind, const struct brk_room *room)
{
	struct brk_commits *commits = commits_of(core, kind);
	struct brk_commit *last = commits->list ? commits->list->prev : NULL, *commit;

	assert(room->events <= STORE_ENTRY_DELIVERIES &&
		room->deliveries <= STORE_ENTRY_DELIVERIES);
	if (last && has_room(last, room))
		return last;
	commit = commit_new(core);
	if (!commit)
		return NULL;
	commit_begin(core, commit, kind);
	DL_APPEND(commits->list, commit);
	return commit;
}

void brk_commit_seal(struct brk_core *core, struct brk_commit *commit)
{
	if (is_open(commit))
		commits_of(core, commit->kind)->n_open--;
	commit->state = BRK_COMMIT_SEALED;
}

void brk_commit_give(struct brk_core *core, struct brk_commit *commit)
{
	struct brk_commits *commits = commits_of(core, commit->kind);

	brk_asks_forget(core, commit->ticket);
	commits->n_open -= is_open(commit);
	DL_DELETE(commits->list, commit);
	if (core->ledger.n_spare == SPARE_COMMITS || commit->body.capacity > KEPT_BYTES) {
		commit_free(commit);
		return;
	}
	LL_PREPEND(core->ledger.spare, commit);
	core->ledger.n_spare++;
}

/* ---- an entry ------------------------------------------------------------- */

/* However many deliveries there are, the payload stands there once. */
enum base_err brk_commit_write(struct brk_commit *commit, struct brk_delivery *const *deliveries,
	uint32_t n, const struct brk_arrival *arrival, const struct brk_payload *payload)
{
	size_t size = (size_t)payload->meta_size + payload->data_size, at = commit->body.size;
	uint8_t *room = base_buf_room(&commit->body, size);

	if (!room || brk_pack_event(deliveries, n, arrival, &commit->head)) {
		commit->body.failed = commit->head.failed = false; /* what is in them is whole */
		return BASE_NOMEM;
	}
	if (size > 0)
		memcpy(room, payload->bytes, size);
	base_buf_grew(&commit->body, size);
	for (uint32_t i = 0; i < n; i++) {
		commit->deliveries[commit->n_deliveries] = deliveries[i];
		commit->body_at[commit->n_deliveries++] = (uint32_t)at;
	}
	return BASE_OK;
}

/* An entry that is in Redis and not in the books would be lost: then it is better to go, and let
 * somebody adopt it. */
struct brk_entry *brk_commit_entry(
	struct brk_core *core, const struct brk_commit *commit, uint64_t written_ms)
{
	struct brk_journal *journal = brk_journal_find(core, commit->journal);
	struct base_block *body;
	struct brk_entry *entry;

	if (commit->n_deliveries == 0)
		return NULL;
	body = brk_body_new(core, commit->body.data, commit->body.size);
	if (!body || !journal)
		base_no_memory("the payloads of what was stored");
	entry = brk_entry_new(
		core, journal, commit->epoch, commit->turn, written_ms, commit->n_deliveries, body);
	if (!entry)
		base_no_memory("the entry of what was stored");
	base_block_unref(&body);
	return entry;
}

/* ---- sending -------------------------------------------------------------- */

static bool is_full(const struct brk_commits *commits, const struct brk_commit *commit)
{
	return commit->state == BRK_COMMIT_SEALED || commit->n == STORE_ENTRY_DELIVERIES ||
	       commit != commits->list->prev;
}

/* While one is unanswered the next gathers: Redis syncs once for all that comes meanwhile, and what
 * left earlier would only be more calls. A full one has nothing to wait for. */
static bool may_leave(const struct brk_core *core, const struct brk_commits *commits,
	const struct brk_commit *commit)
{
	return commits->n_open == 0 || !core->conf.gather || is_full(commits, commit);
}

static struct brk_commit *next_unsent(
	const struct brk_core *core, const struct brk_commits *commits)
{
	struct brk_commit *commit;

	if (commits->n_open >= BRK_COMMITS)
		return NULL;
	DL_FOREACH (commits->list, commit)
		if (!is_open(commit))
			return may_leave(core, commits, commit) ? commit : NULL;
	return NULL;
}

/* An end can wait a moment, a sender should not. Two calls that reach Redis together cost it one
 * sync, and a store that comes while a settle is synced would wait for that first: so a settle goes
 * with a store, and by itself only when there was none for a while. And Redis works as long for the
 * settle as for the store, while the sender of the store waits for both: so a few ends that nobody
 * waits for let stores go without them until they are more, or older. */
static uint64_t alone_at(const struct brk_core *core, const struct brk_commit *commit)
{
	uint64_t from = commit->began_at;

	if (!commit->pressing && core->ledger.stored_at > from)
		from = core->ledger.stored_at;
	return from + core->conf.settle_ms;
}

static bool may_ride(const struct brk_core *core, const struct brk_commit *commit)
{
	return commit->pressing || commit->n >= MANY_ENDS ||
	       core->now_ms >= commit->began_at + core->conf.ends_ms;
}

static struct brk_commit *next_settle(const struct brk_core *core)
{
	struct brk_commit *commit = next_unsent(core, &core->ledger.settles);
	bool goes;

	if (!commit || core->draining || is_full(&core->ledger.settles, commit))
		return commit;
	if (next_unsent(core, &core->ledger.stores))
		goes = may_ride(core, commit);
	else
		goes = core->now_ms >= alone_at(core, commit);
	return goes ? commit : NULL;
}

static bool may_send(const struct brk_core *core)
{
	return brk_owner_is_open(core) && core->now_ms >= core->ledger.retry_at;
}

bool brk_ledger_take_turn(struct brk_core *core, struct store_turn *out)
{
	if (!may_send(core))
		return false;
	*out = (struct store_turn){ .epoch = core->owner.epoch,
		.journal = core->ledger.own->number,
		.turn = ++core->ledger.turn };
	return true;
}

static bool send_one(struct brk_core *core, struct brk_commit *commit)
{
	struct brk_ask *ask = brk_ask(core, commit->kind, commit, 0);

	if (!ask)
		return false;
	commit->ticket = ask->ticket;
	commit->state = BRK_COMMIT_ASKED;
	commits_of(core, commit->kind)->n_open++;
	commit->epoch = core->owner.epoch;
	commit->journal = core->ledger.own->number;
	commit->turn = ++core->ledger.turn;
	if (commit->kind == BRK_ASK_STORE) {
		core->ledger.stored_at = core->now_ms;
		brk_stores_send(core, commit, ask);
	} else {
		brk_settles_send(core, commit, ask);
	}
	return true;
}

/* A settle's arrays are one for all: one settle and one store a turn use them; what more there
 * is goes in the turn after, which is at once. The store goes first: it is so large that Redis
 * reads it in parts, and a settle before it would be executed, and synced, while the rest is on
 * its way. */
void brk_ledger_turn(struct brk_core *core)
{
	struct brk_commit *settle = next_settle(core);
	struct brk_commit *store = next_unsent(core, &core->ledger.stores);

	if (!may_send(core))
		return;
	if (store && !send_one(core, store))
		return;
	if (settle)
		send_one(core, settle);
}

bool brk_ledger_is_behind(const struct brk_core *core)
{
	const struct brk_commit *commit;
	uint32_t n = 0;

	DL_FOREACH (core->ledger.settles.list, commit)
		n++;
	return n > 2 * BRK_COMMITS;
}

bool brk_ledger_pending(const struct brk_core *core)
{
	return may_send(core) && (next_settle(core) || next_unsent(core, &core->ledger.stores));
}

bool brk_ledger_is_empty(const struct brk_core *core)
{
	return !core->ledger.stores.list && !core->ledger.settles.list &&
	       core->ledger.n_homeless == 0 && core->ledger.n_held == 0;
}

struct store_turn brk_commit_turn(const struct brk_commit *commit)
{
	struct store_turn turn = {
		.epoch = commit->epoch, .journal = commit->journal, .turn = commit->turn
	};

	if (commit->n_deliveries > 0) {
		turn.head = (struct store_arg){ commit->head.data, commit->head.size };
		turn.body = (struct store_arg){ commit->body.data, commit->body.size };
	}
	return turn;
}

/* ---- answers -------------------------------------------------------------- */

/* What a reply leaves to do that is the same for both kinds; false: it is theirs. */
static bool told_nothing(struct brk_core *core, struct brk_commit *commit,
	const struct brk_asked *asked, enum store_code code)
{
	switch (code) {
	case STORE_LOST:
		commit->state = BRK_COMMIT_LOST;
		brk_owner_lost(core, asked);
		return true;
	case STORE_REPEATED: /* the turn is not as we know it: a new epoch's turns are */
	case STORE_BROKEN:
		commit->state = BRK_COMMIT_LOST;
		brk_owner_reopen(core);
		return true;
	default:
		return false;
	}
}

void brk_commit_told(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_commit *commit = asked->about;
	enum store_code code = told->says->code;

	commit->ticket = 0;
	if (code == STORE_FENCED && asked->epoch == core->owner.epoch) {
		brk_owner_fenced(core, asked, told->says);
		return;
	}
	/* A settle that is refused for what runs send is told apart: settling.c. */
	if (code == STORE_AWAY || (code == STORE_OOM && !commit->emits))
		core->ledger.retry_at = core->now_ms + RETRY_MS;
	if (told_nothing(core, commit, asked, code)) {
		brk_recover(core);
		return;
	}
	if (commit->kind == BRK_ASK_STORE)
		brk_stores_told(core, commit, told);
	else
		brk_settles_told(core, commit, told);
}

/* ---- time ----------------------------------------------------------------- */

uint64_t brk_ledger_due(const struct brk_core *core)
{
	const struct brk_ledger *ledger = &core->ledger;
	const struct brk_commit *commit;
	uint64_t due = UINT64_MAX;

	DL_FOREACH (ledger->stores.list, commit)
		if (commit->decide_at < due)
			due = commit->decide_at;
	commit = may_send(core) ? next_unsent(core, &ledger->settles) : NULL;
	if (commit && alone_at(core, commit) < due)
		due = alone_at(core, commit);
	if (ledger->n_held > 0 && ledger->held_at < due)
		due = ledger->held_at;
	if (core->now_ms < ledger->retry_at && ledger->retry_at < due && !brk_ledger_is_empty(core))
		due = ledger->retry_at;
	return due;
}

/* Redis may have it, or get it still: whoever sends it again does so under the same lane and
 * number. What was not sent is not, and never will be. */
static void give_up(struct brk_core *core, struct brk_commit *commit)
{
	uint32_t reason = is_open(commit) ? PIRN__REASON__UNDECIDED : PIRN__REASON__NOT_DURABLE;
	bool any = false;

	commit->decide_at = UINT64_MAX;
	for (uint32_t i = 0; i < commit->n; i++) {
		struct brk_arrival *arrival = &commit->arrivals[i];

		if (!arrival->waits)
			continue;
		if (arrival->decide_at > core->now_ms) {
			if (arrival->decide_at < commit->decide_at)
				commit->decide_at = arrival->decide_at;
			continue;
		}
		brk_accept_no(core, arrival, reason);
		any = true;
	}
	if (any && !is_open(commit))
		brk_stores_again(core, commit);
}

void brk_ledger_tick(struct brk_core *core)
{
	struct brk_commit *commit, *next;

	DL_FOREACH_SAFE (core->ledger.stores.list, commit, next)
		if (commit->decide_at <= core->now_ms)
			give_up(core, commit);
	if (core->ledger.n_held > 0 && core->ledger.held_at <= core->now_ms)
		brk_ledger_release(core);
}
