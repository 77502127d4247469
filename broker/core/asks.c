#include "broker/core/asks.h"

#include <assert.h>

#include "broker/core/parts.h"

static const char *const names[BRK_ASK__N] = {
#define X(name, reply) [BRK_ASK_##name] = #name,
	BRK_ASKS(X)
#undef X
};

const char *brk_ask_name(enum brk_ask_kind kind)
{
	return kind < BRK_ASK__N ? names[kind] : "?";
}

static void told_read(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	static brk_told_fn *const readers[] = {
		[BRK_READ_PAGE] = brk_adopt_page,
		[BRK_READ_COMMIT] = brk_recover_told,
		[BRK_READ_OWN] = brk_adopt_own,
	};

	readers[asked->number](core, asked, told);
}

/* One row for each kind. */
static brk_told_fn *const handlers[BRK_ASK__N] = {
	[BRK_ASK_OPEN] = brk_owner_opened,
	[BRK_ASK_BEAT] = brk_owner_beat,
	[BRK_ASK_ADOPT] = brk_adopt_told,
	[BRK_ASK_LEAVE] = brk_owner_left,
	[BRK_ASK_DROP] = brk_adopt_dropped,
	[BRK_ASK_READ] = told_read,
	[BRK_ASK_STORE] = brk_commit_told,
	[BRK_ASK_SETTLE] = brk_commit_told,
	[BRK_ASK_RESULT] = brk_watch_told,
	[BRK_ASK_REDRIVE] = brk_watch_told,
	[BRK_ASK_PURGE] = brk_watch_told,
	[BRK_ASK_DEAD_LIST] = brk_watch_told,
	[BRK_ASK_DEAD_GET] = brk_watch_told,
	[BRK_ASK_CLAIM] = brk_keyed_told,
	[BRK_ASK_ANSWER] = brk_keyed_told,
};

/* A generation is odd, so that no ticket is 0. */
static uint64_t ticket_of(const struct brk_asked *asked)
{
	return (uint64_t)asked->generation << 32 | asked->slot;
}

struct brk_ask *brk_ask(struct brk_core *core, enum brk_ask_kind kind, void *about, uint64_t number)
{
	uint32_t slot, generation;
	struct brk_asked *asked = base_slab_take(&core->asked, &slot, &generation);
	struct brk_action *a;

	if (!asked)
		return NULL;
	*asked = (struct brk_asked){ .kind = kind,
		.slot = slot,
		.generation = generation,
		.connection = core->connection,
		.epoch = core->owner.epoch,
		.about = about,
		.number = number };
	a = brk_act(core, BRK_ASK, 0);
	a->ask = (struct brk_ask){
		.ticket = ticket_of(asked), .kind = kind, .epoch = core->owner.epoch
	};
	return &a->ask;
}

static struct brk_asked *find(struct brk_core *core, uint64_t ticket)
{
	return base_slab_get(&core->asked, (uint32_t)ticket, (uint32_t)(ticket >> 32));
}

void brk_asks_forget(struct brk_core *core, uint64_t ticket)
{
	struct brk_asked *asked = find(core, ticket);

	if (asked)
		asked->about = NULL;
}

/* The record is free before its handler runs, which may ask again. */
void brk_asks_told(struct brk_core *core, const struct brk_told *told)
{
	struct brk_asked *found =
		base_slab_get(&core->asked, (uint32_t)told->ticket, (uint32_t)(told->ticket >> 32));
	struct brk_asked asked;

	if (!found)
		return;
	asked = *found;
	assert(asked.kind == told->kind);
	base_slab_give(&core->asked, asked.slot);
	if (asked.about && handlers[asked.kind])
		handlers[asked.kind](core, &asked, told);
}
