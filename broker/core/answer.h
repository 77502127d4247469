/* Answers to questions about events: put together in the core's arena, packed into a
 * buffer that lives until the next input.
 */
#ifndef BROKER_CORE_ANSWER_H
#define BROKER_CORE_ANSWER_H

#include "broker/core/core.h"
#include "broker/core/delivery.h"

/* Who asked: a peer's open pair. */
struct brk_asker {
	uint32_t peer, slot, generation;
};

/* Begins an answer: the arena is empty then. */
void brk_answer_init(struct brk_core *core, Pirn__Answer *answer);
/* Zeroed room in the arena; NULL: memory. */
void *brk_answer_get(struct brk_core *core, size_t n, size_t size);
ProtobufCAllocator brk_answer_allocator(struct brk_core *core);

/* One more invocation, made; NULL: memory. room: how many the answer may come to have. */
Pirn__Invocation *brk_answer_invocation(struct brk_core *core, Pirn__Answer *answer, size_t room);
/* An InvocationState: of what lives, of a JournalEnd. */
uint32_t brk_answer_state(const struct brk_delivery *delivery);
uint32_t brk_answer_end_state(uint32_t end);
/* As it is now. False: memory. */
bool brk_answer_live(struct brk_core *core, struct brk_delivery *delivery, Pirn__Invocation *out);
/* One that has ended. result is a packed JournalResult, out of Redis: false when it is none. */
bool brk_answer_ended(struct brk_core *core, const uint8_t id[16], struct store_arg service,
	struct store_arg result, Pirn__Invocation *out);
/* A dead letter: head is a packed JournalEntry of one event with one delivery. NULL: it is not. */
Pirn__JournalEvent *brk_answer_letter(struct brk_core *core, struct store_arg head);
bool brk_answer_dead(struct brk_core *core, const uint8_t id[16], const Pirn__JournalEvent *event,
	Pirn__Invocation *out);

/* What lets a client tell "unknown" from "not here": epoch, owners, loaded. */
void brk_answer_horizon(struct brk_core *core, Pirn__Answer *answer);

/* Sends it, when its asker is still there; what is too large is refused TOO_LARGE, what there is no
 * memory for OVERLOADED. The arena is empty after it. */
void brk_answer_send(
	struct brk_core *core, const struct brk_asker *asker, const Pirn__Answer *answer);
void brk_answer_refuse(struct brk_core *core, const struct brk_asker *asker, uint32_t reason);
/* A short one: there is none, and why. */
void brk_answer_reason(struct brk_core *core, const struct brk_asker *asker, uint32_t reason);
/* What a code of Redis means to an asker. */
uint32_t brk_answer_reason_of(enum store_code code);

/* Bytes that live until the next input. NULL: memory. */
uint8_t *brk_answer_room(struct brk_core *core, size_t size);
void brk_answer_begin(struct brk_core *core); /* of an input: the buffers are free again */
void brk_answer_fini(struct brk_core *core);

#endif
