#include "broker/core/owner.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define REOPEN_MS 500 /* between two tries to get an epoch */

/* ---- the clock ------------------------------------------------------------ */

void brk_owner_heard(struct brk_core *core, uint64_t redis_ms)
{
	core->owner.redis_ms = redis_ms;
	core->owner.redis_at_ms = core->now_ms;
}

uint64_t brk_owner_redis_ms(const struct brk_core *core)
{
	const struct brk_owner *owner = &core->owner;

	return owner->redis_ms ? owner->redis_ms + (core->now_ms - owner->redis_at_ms) : 0;
}

uint64_t brk_owner_local_ms(const struct brk_core *core, uint64_t redis_ms)
{
	uint64_t now = brk_owner_redis_ms(core);

	return now == 0 || redis_ms <= now ? core->now_ms : core->now_ms + (redis_ms - now);
}

/* ---- what is possible ------------------------------------------------------ */

bool brk_owner_is_open(const struct brk_core *core)
{
	return core->owner.state == BRK_OWNER_OWNER;
}

bool brk_owner_is_trusted(const struct brk_core *core)
{
	if (!brk_owner_is_open(core) || core->owner.trusted_ms == 0)
		return false;
	return core->now_ms < core->owner.trusted_ms + BRK_TRUST_MS ||
	       BRK_FAULTY(core, DISPATCH_STALE_BEAT);
}

bool brk_owner_takes_events(const struct brk_core *core)
{
	const struct brk_owner *owner = &core->owner;

	return core->conf.events && owner->durable && core->connected &&
	       (owner->state == BRK_OWNER_OWNER ||
		       (owner->state == BRK_OWNER_OPENING && owner->open_at == UINT64_MAX));
}

bool brk_owner_is_gone(const struct brk_core *core)
{
	enum brk_owner_state state = core->owner.state;

	return state == BRK_OWNER_LEFT || (state == BRK_OWNER_AWAY && brk_ledger_is_empty(core));
}

static void set_state(struct brk_core *core, enum brk_owner_state state)
{
	bool took = brk_owner_takes_events(core);

	core->owner.state = state;
	if (took != brk_owner_takes_events(core))
		brk_registry_changed(core);
}

/* ---- an epoch ------------------------------------------------------------- */

static void open_later(struct brk_core *core, uint64_t ms)
{
	core->owner.open_at = core->now_ms + ms;
	set_state(core, BRK_OWNER_OPENING);
}

static void ask_open(struct brk_core *core)
{
	struct brk_owner *owner = &core->owner;
	struct brk_ask *ask = brk_ask(core, BRK_ASK_OPEN, owner, 0);

	if (!ask) {
		open_later(core, REOPEN_MS);
		return;
	}
	owner->opening = true;
	owner->open_at = UINT64_MAX;
	set_state(core, BRK_OWNER_OPENING);
}

static bool is_over(const struct brk_core *core)
{
	return core->owner.state == BRK_OWNER_LEAVING || core->owner.state == BRK_OWNER_LEFT;
}

void brk_owner_store(struct brk_core *core, bool up)
{
	core->connected = up;
	core->connection += up;
	if (!core->conf.events || is_over(core))
		return;
	core->owner.opening = false;
	if (up)
		ask_open(core);
	else
		set_state(core, BRK_OWNER_AWAY);
}

/* The connection of an ask that is told LOST is over, even if nobody has said so yet. */
void brk_owner_lost(struct brk_core *core, const struct brk_asked *asked)
{
	if (asked->connection == core->connection && core->connected && !is_over(core)) {
		core->connected = false;
		set_state(core, BRK_OWNER_AWAY);
	}
}

void brk_owner_reopen(struct brk_core *core)
{
	if (brk_owner_is_open(core))
		open_later(core, REOPEN_MS);
}

/* Those that the reply does not name are gone: a DROP whose answer was lost. */
static void set_journals(struct brk_core *core, const struct store_opened *reply)
{
	struct brk_journal *journal = brk_journal_find(core, reply->journal), *next;

	core->ledger.own = journal ? journal : brk_journal_new(core, reply->journal, false);
	if (!core->ledger.own)
		base_no_memory("our own journal");
	for (size_t i = 0; i < reply->n_adopted; i++)
		brk_adopt_take(core, reply->adopted[i]);
	LL_FOREACH_SAFE (core->ledger.journals, journal, next) {
		bool named = journal->number == reply->journal;

		for (size_t i = 0; i < reply->n_adopted; i++)
			named = named || reply->adopted[i] == journal->number;
		if (!named && !journal->entries) {
			brk_asks_forget(core, journal->ticket);
			brk_journal_free(core, journal);
		}
	}
}

static void opened(struct brk_core *core, const struct store_opened *reply)
{
	struct brk_owner *owner = &core->owner;

	owner->epoch = reply->epoch;
	core->ledger.turn = 0;
	core->ledger.retry_at = core->ledger.check_at = 0;
	owner->beat_at = core->now_ms;
	brk_owner_heard(core, reply->now_ms);
	set_journals(core, reply);
	set_state(core, BRK_OWNER_OWNER);
	core->figures.opened++;
	brk_act_log(core, BRK_LOG_journal_opened, core->name, reply->epoch);
	brk_recover(core);
	brk_run_wake_all(core); /* the last beat may not be old yet */
}

void brk_owner_opened(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	if (asked->connection != core->connection || is_over(core))
		return;
	core->owner.opening = false;
	switch (told->says->code) {
	case STORE_DONE:
		opened(core, told->opened);
		break;
	case STORE_FENCED:
		brk_owner_fenced(core, asked, told->says);
		break;
	case STORE_LOST:
		brk_owner_lost(core, asked);
		break;
	default:
		open_later(core, REOPEN_MS);
	}
}

static void begin_anew(struct brk_core *core)
{
	struct brk_owner *owner = &core->owner;

	owner->epoch = 0;
	owner->beat = 0;
	owner->n_rivals = owner->n_owners = owner->n_own_reads = 0;
	if (core->connected)
		ask_open(core);
	else
		set_state(core, BRK_OWNER_AWAY);
}

static void lost_data(struct brk_core *core)
{
	brk_act_log(core, BRK_LOG_redis_lost_data, core->name, core->deliveries.n_used);
	brk_ledger_restore(core);
	begin_anew(core);
}

/* Several replies may say so of one epoch: the first one counts. */
void brk_owner_fenced(
	struct brk_core *core, const struct brk_asked *asked, const struct store_says *says)
{
	struct brk_owner *owner = &core->owner;

	if (asked->epoch != owner->epoch || owner->epoch == 0 || is_over(core))
		return;
	if (says->number < owner->epoch) {
		lost_data(core);
		return;
	}
	brk_act_log(core, BRK_LOG_fenced, core->name, core->deliveries.n_used);
	core->figures.fenced++;
	if (!BRK_FAULTY(core, KEEP_AFTER_FENCED))
		brk_ledger_forget(core, PIRN__REASON__MOVED);
	begin_anew(core);
}

/* ---- beats ---------------------------------------------------------------- */

static void ask_beat(struct brk_core *core)
{
	struct brk_owner *owner = &core->owner;

	if (owner->beating || !brk_ask(core, BRK_ASK_BEAT, owner, core->now_ms))
		return;
	owner->beating = true;
	owner->beat_asked_ms = core->now_ms;
	owner->beat_at = core->now_ms + BRK_BEAT_MS;
}

static void note_owners(struct brk_core *core, const struct store_beat *beat)
{
	struct brk_owner *owner = &core->owner;

	if (beat->n_journals > owner->owners_capacity) {
		uint32_t *owners = realloc(owner->owners, beat->n_journals * sizeof *owners);

		if (!owners)
			return;
		owner->owners = owners;
		owner->owners_capacity = beat->n_journals;
	}
	owner->n_owners = 0;
	for (size_t i = 0; i < beat->n_journals; i++) {
		bool known = false;

		for (size_t j = 0; j < owner->n_owners; j++)
			known = known || owner->owners[j] == beat->journals[i].epoch;
		if (!known)
			owner->owners[owner->n_owners++] = beat->journals[i].epoch;
	}
}

/* An epoch of this number was handed out a second time: Redis began anew, and somebody else opened first.
 * His beats are fewer than ours were. */
static bool is_anothers(struct brk_core *core, const struct store_beat *told)
{
	uint64_t before = core->owner.beat;

	for (size_t i = 0; i < told->n_owners; i++)
		if (told->owners[i].epoch == core->owner.epoch)
			core->owner.beat = told->owners[i].beat;
	return core->owner.beat <= before && before > 0;
}

void brk_owner_beat(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_owner *owner = &core->owner;

	owner->beating = false;
	if (asked->epoch != owner->epoch || is_over(core))
		return;
	switch (told->says->code) {
	case STORE_DONE:
		if (is_anothers(core, told->beat)) {
			lost_data(core);
			break;
		}
		owner->trusted_ms = asked->number;
		brk_owner_heard(core, told->beat->now_ms);
		note_owners(core, told->beat);
		brk_adopt_look(core, told->beat);
		brk_run_wake_all(core);
		break;
	case STORE_FENCED:
		brk_owner_fenced(core, asked, told->says);
		break;
	case STORE_LOST:
		brk_owner_lost(core, asked);
		break;
	default:
		break; /* the next one may do better */
	}
}

/* ---- leaving -------------------------------------------------------------- */

void brk_owner_leave(struct brk_core *core)
{
	if (!brk_owner_is_open(core) || !brk_ask(core, BRK_ASK_LEAVE, &core->owner, 0))
		return;
	set_state(core, BRK_OWNER_LEAVING);
}

/* Whatever it says: either the others take over now, or when they see no beat. */
void brk_owner_left(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	(void)asked;
	(void)told;
	brk_ledger_forget(core, PIRN__REASON__MOVED);
	set_state(core, BRK_OWNER_LEFT);
}

/* ---- time ----------------------------------------------------------------- */

void brk_owner_tick(struct brk_core *core)
{
	struct brk_owner *owner = &core->owner;

	if (owner->state == BRK_OWNER_OPENING && core->now_ms >= owner->open_at)
		ask_open(core);
	if (!brk_owner_is_open(core))
		return;
	if (core->now_ms >= owner->beat_at)
		ask_beat(core);
	brk_adopt_read(core);
	brk_recover(core);
}

uint64_t brk_owner_due(const struct brk_core *core)
{
	const struct brk_owner *owner = &core->owner;

	if (owner->state == BRK_OWNER_OPENING)
		return owner->open_at;
	return brk_owner_is_open(core) && !owner->beating ? owner->beat_at : UINT64_MAX;
}

void brk_owner_fini(struct brk_core *core)
{
	free(core->owner.rivals);
	free(core->owner.owners);
	free(core->owner.own_reads);
}
