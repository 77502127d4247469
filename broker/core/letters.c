/* Dead letters: listed, shown, redriven, purged. Any broker can: they are Redis's, and a
 * redrive puts them into an entry of whoever asks for it.
 */
#include <string.h>

#include "broker/core/asks.h"
#include "broker/core/parts.h"
#include "broker/core/watch.h"

#define REDRIVE_BYTES (4u << 20) /* of payloads in one entry */

static bool fill_letter(struct brk_core *core, Pirn__Answer *answer, const uint8_t *id,
	struct store_arg head, struct store_arg payload)
{
	Pirn__Letter *letter = brk_answer_get(core, 1, sizeof *letter);
	Pirn__JournalEvent *event = brk_answer_letter(core, head);

	if (!letter || !event)
		return event == NULL && letter != NULL; /* what is no letter is left out */
	pirn__letter__init(letter);
	letter->id.data = base_arena_dup(&core->arena, id, 16);
	letter->id.len = 16;
	letter->event = event;
	if (payload.data && (uint64_t)event->meta_size + event->data_size == payload.size) {
		uint8_t *bytes = (uint8_t *)(uintptr_t)payload.data; /* packing only reads */
		letter->has_meta = letter->has_data = true;
		letter->meta = (ProtobufCBinaryData){ event->meta_size, bytes };
		letter->data = (ProtobufCBinaryData){ event->data_size, bytes + event->meta_size };
	}
	answer->letters[answer->n_letters++] = letter;
	return letter->id.data != NULL;
}

static void told_get(struct brk_core *core, struct brk_question *q, const struct store_list *list)
{
	Pirn__Answer answer;
	bool fits = true;

	brk_answer_init(core, &answer);
	if (list->n >= 2) {
		answer.letters = brk_answer_get(core, 1, sizeof *answer.letters);
		fits = answer.letters &&
		       fill_letter(core, &answer, q->id, list->items[0], list->items[1]);
	}
	if (fits)
		brk_answer_send(core, &q->asker, &answer);
	else
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
	brk_question_over(core, q);
}

static void told_list(struct brk_core *core, struct brk_question *q, const struct store_list *list)
{
	Pirn__Answer answer;
	bool fits = list->n > 0;

	brk_answer_init(core, &answer);
	if (fits) {
		answer.cursor =
			base_arena_dup(&core->arena, list->items[0].data, list->items[0].size);
		answer.letters = brk_answer_get(core, list->n / 2, sizeof *answer.letters);
		fits = answer.cursor && answer.letters;
	}
	for (size_t i = 1; i + 1 < list->n && fits; i += 2)
		if (list->items[i].size == 16)
			fits = fill_letter(core, &answer, list->items[i].data, list->items[i + 1],
				(struct store_arg){ 0 });
	if (fits)
		brk_answer_send(core, &q->asker, &answer);
	else
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
	brk_question_over(core, q);
}

static void told_redrive(struct brk_core *core, struct brk_question *q,
	const struct brk_asked *asked, const struct store_list *list)
{
	Pirn__Answer answer;

	brk_answer_init(core, &answer);
	answer.ids = brk_answer_get(core, list->n, sizeof *answer.ids);
	for (size_t i = 0; i < list->n && answer.ids; i++)
		answer.ids[answer.n_ids++] = (ProtobufCBinaryData){ list->items[i].size,
			(uint8_t *)(uintptr_t)list->items[i].data };
	answer.has_count = true;
	answer.count = (uint32_t)list->n;
	brk_answer_send(core, &q->asker, &answer);
	brk_question_over(core, q);
	if (list->n > 0)
		brk_load_own(core, asked->epoch, asked->number);
}

static void told_purge(
	struct brk_core *core, struct brk_question *q, const struct store_count *count)
{
	Pirn__Answer answer;

	brk_answer_init(core, &answer);
	answer.has_count = true;
	answer.count = (uint32_t)count->n;
	brk_answer_send(core, &q->asker, &answer);
	brk_question_over(core, q);
}

/* The query's parts lie in the arena, which stays as it is until the ask was carried out. */
static void query_dead(struct brk_core *core, struct brk_question *q, const Pirn__Query *query,
	enum brk_ask_kind kind)
{
	struct brk_ask *a = brk_question_ask(core, kind, q, 0);

	if (!a) {
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
		brk_question_over(core, q);
		return;
	}
	a->dead.service = query->service;
	a->dead.ids = (const uint8_t(*)[16]) & q->id;
	a->dead.n = 1;
	a->dead.cursor = query->cursor ? query->cursor : "0";
	a->dead.about = brk_question_limit(query);
}

void brk_letters_list(struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	query_dead(core, q, query, BRK_ASK_DEAD_LIST);
}

void brk_letters_get(struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	query_dead(core, q, query, BRK_ASK_DEAD_GET);
}

/* Adjacent, as Redis's words want them. NULL: memory. */
static const uint8_t (*gather_ids(struct brk_core *core, const Pirn__Query *query))[16]
{
	uint8_t(*ids)[16] = brk_answer_get(core, query->n_ids, sizeof *ids);

	for (size_t i = 0; i < query->n_ids && ids; i++)
		memcpy(ids[i], query->ids[i].data, sizeof *ids);
	return (const uint8_t(*)[16])ids;
}

static void query_ids(struct brk_core *core, struct brk_question *q, const Pirn__Query *query,
	enum brk_ask_kind kind)
{
	const uint8_t(*ids)[16] = gather_ids(core, query);
	struct store_turn turn = { 0 };
	struct brk_ask *a;

	if (kind == BRK_ASK_REDRIVE && !brk_ledger_take_turn(core, &turn)) {
		brk_answer_reason(core, &q->asker, PIRN__REASON__NOT_DURABLE);
		brk_question_over(core, q);
		return;
	}
	a = ids ? brk_question_ask(core, kind, q, turn.turn) : NULL;
	if (!a) {
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
		brk_question_over(core, q);
		return;
	}
	a->dead.turn = turn;
	a->dead.service = query->service;
	a->dead.ids = ids;
	a->dead.n = query->n_ids;
	a->dead.max_bytes = REDRIVE_BYTES;
}

void brk_letters_redrive(struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	query_ids(core, q, query, BRK_ASK_REDRIVE);
}

void brk_letters_purge(struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	query_ids(core, q, query, BRK_ASK_PURGE);
}

void brk_letters_told(struct brk_core *core, struct brk_question *q, const struct brk_asked *asked,
	const struct brk_told *told)
{
	switch (asked->kind) {
	case BRK_ASK_DEAD_LIST:
		told_list(core, q, told->list);
		break;
	case BRK_ASK_DEAD_GET:
		told_get(core, q, told->list);
		break;
	case BRK_ASK_REDRIVE:
		told_redrive(core, q, asked, told->list);
		break;
	default:
		told_purge(core, q, told->count);
	}
}
