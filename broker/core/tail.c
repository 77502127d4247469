#include "broker/core/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/parts.h"
#include "broker/core/subscribe.h"

#define LIMIT       256u
#define LIMIT_MOST  1000u
#define CURSOR_MAX  (8u * 1024)
#define NAME_DIGITS 16u /* of the boot id, by which a cursor says whose it is */

/* ---- noting --------------------------------------------------------------- */

static void cut(char out[BRK_TAIL_TEXT], const char *text)
{
	size_t n = text ? strnlen(text, BRK_TAIL_TEXT) : 0;

	if (n == BRK_TAIL_TEXT) /* without half a character */
		for (n--; n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80;)
			n--;
	memcpy(out, text ? text : "", n);
	out[n] = '\0';
}

/* Ids are random towards their end. */
static uint64_t *place_of(struct brk_tail *tail, const uint8_t id[16])
{
	return &tail->by_id[((size_t)id[15] << 8 | id[14]) % BRK_TAIL_NOTES];
}

void brk_tail_topic(struct brk_core *core, const Pirn__Item *item)
{
	struct brk_tail *tail = &core->tail;
	struct brk_tail_topic *topic = &tail->topics[++tail->n_topics % BRK_TAIL_NOTES];

	memcpy(topic->id, item->id.data, sizeof topic->id);
	cut(topic->type, item->type);
	cut(topic->source, item->source);
	cut(topic->subject, item->subject);
	*place_of(tail, topic->id) = tail->n_topics;
}

/* NULL: there is none any more, or never was. */
static const struct brk_tail_topic *topic_at(const struct brk_tail *tail, uint64_t number)
{
	if (number == 0 || number + BRK_TAIL_NOTES <= tail->n_topics)
		return NULL;
	return &tail->topics[number % BRK_TAIL_NOTES];
}

static uint64_t find_topic(struct brk_tail *tail, const uint8_t id[16])
{
	uint64_t number = *place_of(tail, id);
	const struct brk_tail_topic *topic = topic_at(tail, number);

	return topic && memcmp(topic->id, id, sizeof topic->id) == 0 ? number : 0;
}

static struct brk_tail_note *note(
	struct brk_core *core, uint32_t what, const uint8_t *id, const struct brk_service *service)
{
	struct brk_tail *tail = &core->tail;
	struct brk_tail_note *n = &tail->notes[tail->n_notes++ % BRK_TAIL_NOTES];

	*n = (struct brk_tail_note){ .what = what,
		.at_ms = core->unix_ms ? core->unix_ms + (core->now_ms - core->unix_at_ms) : 0,
		.topic = id ? find_topic(tail, id) : 0 };
	if (id)
		memcpy(n->id, id, sizeof n->id);
	(void)snprintf(n->service, sizeof n->service, "%s", service->name);
	return n;
}

void brk_tail_delivery(struct brk_core *core, const struct brk_delivery *delivery, uint32_t what,
	uint32_t status, uint32_t reason)
{
	struct brk_tail_note *n = note(core, what, delivery->id, delivery->service);

	n->status = status;
	n->reason = reason;
	n->attempt = delivery->attempt;
}

void brk_tail_accepted(struct brk_core *core, const struct brk_delivery *delivery)
{
	brk_tail_delivery(core, delivery, PIRN__NOTE_KIND__NOTE_ACCEPTED, 0, 0);
}

void brk_tail_call(
	struct brk_core *core, const struct brk_call *call, uint32_t status, uint32_t reason)
{
	const uint8_t *id = call->has_id ? call->id : NULL;
	struct brk_tail_note *n = note(core, PIRN__NOTE_KIND__NOTE_CALL, id, call->service);

	n->status = status;
	n->reason = reason;
	n->attempt = call->attempt;
	n->took_us = core->now_us > call->arrived_us ? core->now_us - call->arrived_us : 0;
}

/* ---- asking --------------------------------------------------------------- */

/* What was asked for; the query lies in the arena, which the answer takes. */
struct wanted {
	char service[64], type[BRK_PATTERN_MAX + 1];
	bool by_service, by_type;
	uint64_t from;
	uint32_t limit;
};

static void print_name(const struct brk_core *core, char out[NAME_DIGITS + 1])
{
	for (unsigned i = 0; i < NAME_DIGITS / 2; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", core->conf.boot[8 + i]);
}

/* Our part of "boot:number,boot:number…". UNTRUSTED. Without one: from now on. */
static uint64_t find_cursor(const struct brk_core *core, const char *text)
{
	char name[NAME_DIGITS + 1];
	uint64_t from;

	print_name(core, name);
	for (const char *at = text; at && *at; at = strchr(at, ','), at += at != NULL) {
		if (strncmp(at, name, NAME_DIGITS) != 0 || at[NAME_DIGITS] != ':')
			continue;
		from = strtoull(at + NAME_DIGITS + 1, NULL, 10);
		return from < core->tail.n_notes ? from : core->tail.n_notes;
	}
	return core->tail.n_notes;
}

/* False: that is no question. UNTRUSTED. */
static bool read_wanted(const struct brk_core *core, const Pirn__Query *query, struct wanted *w)
{
	*w = (struct wanted){ .limit = query->has_limit ? query->limit : LIMIT };
	if (w->limit == 0 || w->limit > LIMIT_MOST)
		return false;
	if (query->service && strlen(query->service) >= sizeof w->service)
		return false;
	if (query->type && strlen(query->type) >= sizeof w->type)
		return false;
	if (query->cursor && strnlen(query->cursor, CURSOR_MAX + 1) > CURSOR_MAX)
		return false;
	w->by_service = query->service != NULL;
	w->by_type = query->type != NULL;
	strcpy(w->service, query->service ? query->service : "");
	strcpy(w->type, query->type ? query->type : "");
	w->from = find_cursor(core, query->cursor);
	return true;
}

static bool is_wanted(
	const struct wanted *w, const struct brk_tail_note *n, const struct brk_tail_topic *topic)
{
	if (w->by_service && strcmp(w->service, n->service) != 0)
		return false;
	return !w->by_type || (topic && brk_pattern_matches(w->type, strlen(w->type), topic->type,
						strlen(topic->type)));
}

static void set_text(char **to, const char *text)
{
	if (*text)
		*to = (char *)(uintptr_t)text;
}

static void show(Pirn__Note *out, const struct brk_tail_note *n, const struct brk_tail_topic *topic)
{
	pirn__note__init(out);
	out->what = n->what;
	out->has_id = out->has_at_ms = true;
	out->id = (ProtobufCBinaryData){ sizeof n->id, (uint8_t *)(uintptr_t)n->id };
	out->at_ms = n->at_ms;
	set_text(&out->service, n->service);
	out->has_status = n->status > 0;
	out->status = n->status;
	out->has_reason = n->reason > 0;
	out->reason = n->reason;
	out->has_attempt = n->attempt > 0;
	out->attempt = n->attempt;
	out->has_took_us = n->took_us > 0;
	out->took_us = n->took_us;
	if (!topic)
		return;
	set_text(&out->type, topic->type);
	set_text(&out->source, topic->source);
	set_text(&out->subject, topic->subject);
}

/* From where the ring still has it on; *next is behind the last one that was looked at. */
static bool fill(
	struct brk_core *core, const struct wanted *w, Pirn__Answer *answer, uint64_t *next)
{
	struct brk_tail *tail = &core->tail;
	uint64_t first = tail->n_notes > BRK_TAIL_NOTES ? tail->n_notes - BRK_TAIL_NOTES : 0;
	uint64_t at = w->from > first ? w->from : first;
	Pirn__Note *notes = brk_answer_get(core, w->limit, sizeof *notes);

	answer->notes = brk_answer_get(core, w->limit, sizeof(Pirn__Note *));
	if (!notes || !answer->notes)
		return false;
	answer->has_count = true;
	answer->count = (uint32_t)(at - w->from);
	for (; at < tail->n_notes && answer->n_notes < w->limit; at++) {
		const struct brk_tail_note *n = &tail->notes[at % BRK_TAIL_NOTES];
		const struct brk_tail_topic *topic = topic_at(tail, n->topic);

		if (!is_wanted(w, n, topic))
			continue;
		answer->notes[answer->n_notes] = &notes[answer->n_notes];
		show(&notes[answer->n_notes++], n, topic);
	}
	*next = at;
	return true;
}

static bool start(struct brk_core *core)
{
	struct brk_tail *tail = &core->tail;

	if (!tail->notes)
		tail->notes = calloc(BRK_TAIL_NOTES, sizeof *tail->notes);
	if (!tail->topics)
		tail->topics = calloc(BRK_TAIL_NOTES, sizeof *tail->topics);
	if (!tail->notes || !tail->topics)
		return false;
	tail->until_ms = core->now_ms + BRK_TAIL_MS;
	return true;
}

bool brk_tail_query(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	const Pirn__Query *query)
{
	const struct brk_asker asker = { peer->id, item->slot, item->generation };
	char cursor[NAME_DIGITS + 32], name[NAME_DIGITS + 1];
	Pirn__Answer answer;
	struct wanted w;
	uint64_t next;

	if (query->what != PIRN__QUERY_KIND__TAIL)
		return false;
	if (!read_wanted(core, query, &w)) {
		brk_refuse(core, peer, item, PIRN__REASON__MALFORMED, 0);
		return true;
	}
	brk_answer_init(core, &answer);
	if (!start(core) || !fill(core, &w, &answer, &next)) {
		brk_answer_refuse(core, &asker, PIRN__REASON__OVERLOADED);
		return true;
	}
	print_name(core, name);
	(void)snprintf(cursor, sizeof cursor, "%s:%" PRIu64, name, next);
	answer.cursor = cursor;
	brk_answer_send(core, &asker, &answer);
	return true;
}

void brk_tail_fini(struct brk_core *core)
{
	free(core->tail.notes);
	free(core->tail.topics);
}
