#include "broker/carrier.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/slab.h"
#include "store/fcall.h"
#include "store/journal.h"
#include "store/ops.h"

#define AWAY_MS 5
#define SAY_MS  1000 /* between two lines about asks that are no good */

/* An ask under way. */
struct open {
	struct brk_carrier *carrier;
	struct open *next; /* in the list of those that could not be sent */
	uint64_t ticket, asked_us;
	enum brk_ask_kind kind;
	uint32_t slot;
};

struct brk_carrier {
	uv_timer_t pause;
	struct net_loop *loop;
	struct base_slab slab; /* of struct open; chunks never move */
	struct store_bounds bounds;
	brk_carrier_fn *fn;
	void *arg;
	struct base_hist commits;
	struct open *away, **away_end;
	uint64_t said_at;
	bool mute;
};

/* ---- replies */

static void count(struct brk_carrier *c, const struct open *o, enum store_code code)
{
	bool commit = o->kind == BRK_ASK_STORE || o->kind == BRK_ASK_SETTLE;
	if (commit && code != STORE_AWAY && code != STORE_LOST)
		base_hist_add(&c->commits, base_clock_us() - o->asked_us);
}

/* The record goes first: what is told may ask again. */
static void tell(struct open *o, struct brk_told told)
{
	struct brk_carrier *c = o->carrier;
	count(c, o, told.says->code);
	told.ticket = o->ticket;
	told.kind = o->kind;
	base_slab_give(&c->slab, o->slot);
	if (!c->mute)
		c->fn(c->arg, &told);
}

#define ON_REPLY(name) \
	static void on_##name(void *arg, const struct store_##name *reply) \
	{ \
		tell(arg, (struct brk_told){ .name = reply }); \
	}
ON_REPLY(opened)
ON_REPLY(beat)
ON_REPLY(adopted)
ON_REPLY(count)
ON_REPLY(page)
ON_REPLY(stored)
ON_REPLY(settled)
ON_REPLY(list)
ON_REPLY(claimed)

/* ---- asks, a function each */

#define ASK(name) \
	static enum base_err ask_##name(struct store_redis *r, const struct brk_ask *a, \
		const struct store_bounds *bounds, struct open *o)
#define NO_BOUNDS (void)bounds

ASK(OPEN)
{
	NO_BOUNDS;
	return store_journal_open(r, a->epoch, on_opened, o);
}

ASK(BEAT)
{
	NO_BOUNDS;
	return store_journal_beat(r, a->epoch, on_beat, o);
}

ASK(ADOPT)
{
	NO_BOUNDS;
	return store_journal_adopt(r, a->epoch, a->adopt.victim, a->adopt.seen, on_adopted, o);
}

ASK(LEAVE)
{
	NO_BOUNDS;
	return store_journal_leave(r, a->epoch, on_count, o);
}

ASK(DROP)
{
	NO_BOUNDS;
	return store_journal_drop(r, a->epoch, a->journal, on_count, o);
}

ASK(READ)
{
	NO_BOUNDS;
	return store_journal_read(r, a->journal, a->read.after_epoch, a->read.after_turn,
		a->read.max_entries, a->read.max_bytes, on_page, o);
}

ASK(STORE)
{
	return store_journal_store(
		r, &a->store.turn, a->store.items, a->store.n, bounds, on_stored, o);
}

ASK(SETTLE)
{
	return store_journal_settle(r, &a->settle.turn, a->settle.emits, a->settle.entries,
		a->settle.n, bounds, on_settled, o);
}

ASK(RESULT)
{
	NO_BOUNDS;
	return store_journal_result(r, a->dead.ids[0], on_list, o);
}

ASK(REDRIVE)
{
	NO_BOUNDS;
	return store_journal_redrive(r, &a->dead.turn, a->dead.service, a->dead.ids, a->dead.n,
		a->dead.max_bytes, on_list, o);
}

ASK(PURGE)
{
	NO_BOUNDS;
	return store_journal_purge(r, a->dead.service, a->dead.ids, a->dead.n, on_count, o);
}

ASK(DEAD_LIST)
{
	NO_BOUNDS;
	return store_journal_dead_list(
		r, a->dead.service, a->dead.cursor, a->dead.about, on_list, o);
}

ASK(DEAD_GET)
{
	NO_BOUNDS;
	return store_journal_dead_get(r, a->dead.service, a->dead.ids[0], on_list, o);
}

ASK(CLAIM)
{
	return store_claim(r, a->key.scope, a->key.key, a->key.hash, a->key.id, a->key.until_ms,
		bounds, on_claimed, o);
}

/* A call's key is one of its service's keys. */
ASK(ANSWER)
{
	return store_answer(r, a->key.scope, a->key.key, a->key.id, a->key.run, a->key.scope,
		a->key.response, a->key.again, bounds, on_count, o);
}

static enum base_err (*const asks[BRK_ASK__N])(struct store_redis *r, const struct brk_ask *a,
	const struct store_bounds *bounds, struct open *o) = {
#define X(name, reply) [BRK_ASK_##name] = ask_##name,
	BRK_ASKS(X)
#undef X
};

/* ---- what could not be sent */

/* What was put into the list meanwhile waits for the next pause. */
static void on_pause(uv_timer_t *timer)
{
	/* Each reply begins with what it says, and has nothing else when that is AWAY. */
	static const union {
		struct store_says says;
#define X(name, reply) struct store_##reply as_##name;
		BRK_ASKS(X)
#undef X
	} away = { .says = { .code = STORE_AWAY, .why = "it could not be sent" } };
	struct brk_carrier *c = timer->data;
	struct open *next = c->away;
	c->away = NULL;
	c->away_end = &c->away;
	while (next) {
		struct open *o = next;
		next = o->next;
		tell(o, (struct brk_told){ .says = &away.says });
	}
}

static void put_away(struct brk_carrier *c, struct open *o)
{
	if (!c->away)
		uv_timer_start(&c->pause, on_pause, AWAY_MS, 0);
	*c->away_end = o;
	c->away_end = &o->next;
}

/* Those of a connection that is down are no news; the others would be a line a turn. */
static void say(struct brk_carrier *c, const struct brk_ask *ask, enum base_err err)
{
	uint64_t now = net_loop_now_ms(c->loop);
	if (err == BASE_UNAVAILABLE || (c->said_at && now - c->said_at < SAY_MS))
		return;
	c->said_at = now;
	base_log(BASE_WARN, "store_not_asked", LOG_STR("ask", brk_ask_name(ask->kind)),
		LOG_ERR(err));
}

void brk_carrier_ask(struct brk_carrier *c, struct store_redis *redis, const struct brk_ask *ask)
{
	uint32_t slot, generation;
	struct open *o = base_slab_take(&c->slab, &slot, &generation);
	if (!o) /* a broker that owes its core an answer cannot go on */
		base_no_memory("a question to Redis");
	*o = (struct open){ c, NULL, ask->ticket, base_clock_us(), ask->kind, slot };
	enum base_err err = redis ? asks[ask->kind](redis, ask, &c->bounds, o) : BASE_UNAVAILABLE;
	if (!err)
		return;
	say(c, ask, err);
	put_away(c, o);
}

/* ---- life */

enum base_err brk_carrier_new(struct net_loop *loop, const struct store_bounds *bounds,
	brk_carrier_fn *fn, void *arg, struct brk_carrier **out)
{
	struct brk_carrier *c = calloc(1, sizeof *c);
	if (!c)
		return BASE_NOMEM;
	base_slab_init(&c->slab, sizeof(struct open), UINT32_MAX - 1);
	c->loop = loop;
	c->bounds = *bounds;
	c->fn = fn;
	c->arg = arg;
	c->away_end = &c->away;
	uv_timer_init(net_loop_uv(loop), &c->pause);
	c->pause.data = c;
	*out = c;
	return BASE_OK;
}

static void on_closed(uv_handle_t *handle)
{
	struct brk_carrier *c = handle->data;
	base_slab_fini(&c->slab);
	free(c);
}

void brk_carrier_free(struct brk_carrier **cp)
{
	struct brk_carrier *c = *cp;
	if (!c)
		return;
	*cp = NULL;
	uv_close((uv_handle_t *)&c->pause, on_closed);
}

void brk_carrier_mute(struct brk_carrier *c)
{
	c->mute = true;
}

const struct base_hist *brk_carrier_commits(const struct brk_carrier *c)
{
	return &c->commits;
}

size_t brk_carrier_open(const struct brk_carrier *c)
{
	return c->slab.n_used;
}
