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

/* One row for each kind that this core asks. */
static brk_told_fn *const handlers[BRK_ASK__N] = {
	[BRK_ASK_OPEN] = NULL,
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
		.about = about,
		.number = number };
	a = brk_act(core, BRK_ASK, 0);
	a->ask = (struct brk_ask){ .ticket = ticket_of(asked), .kind = kind };
	return &a->ask;
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
	if (handlers[asked.kind])
		handlers[asked.kind](core, &asked, told);
}
