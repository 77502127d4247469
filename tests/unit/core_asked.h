/* The core's bench with events, and more of their Redis: results and dead letters that stay,
 * one Idempotency-Key. Questions, answers and calls with a key in short words.
 */
#ifndef TESTS_CORE_ASKED_H
#define TESTS_CORE_ASKED_H

#include "tests/unit/core_events.h"

enum { CLIENT = 1, OTHER = 2, A = 5, B = 6 };

#define ASKED_KEPT 64
#define ASKED_HASH "hashhashhashhash"

struct asked_kept {
	uint8_t id[16];
	char service[BRK_NAME_SIZE];
	uint8_t *head, *body;
	size_t head_size, body_size;
	bool gone;
};

struct asked_key {
	bool there, event;
	uint8_t hash[16], id[16];
	uint32_t run;
	uint64_t until_ms;
	uint8_t *response;
	size_t size;
};

struct asked {
	struct rig rig;
	struct tiny *t;
	struct asked_kept results[ASKED_KEPT], letters[ASKED_KEPT];
	size_t n_results, n_letters;
	struct asked_key key;
	bool full; /* no room for another key */
	enum store_code
		next[BRK_ASK__N]; /* other than DONE: the next of that kind is told so, not done */
	uint32_t about;           /* of the last DEAD_LIST */
	char cursor[32];
	Pirn__Answer *answer; /* the last that was looked at */
};

/* ---- its Redis --------------------------------------------------------------- */

RIG struct asked_kept *asked_keep(struct asked_kept *list, size_t *n, const struct store_end *end)
{
	struct asked_kept *kept = &list[(*n)++];

	assert_true(*n <= ASKED_KEPT);
	memcpy(kept->id, end->id, 16);
	strcpy(kept->service, end->service);
	return kept;
}

/* The ends leave what they leave; the rest of a SETTLE is the bench's own. */
RIG bool asked_settle(struct asked *k, const struct brk_ask *ask)
{
	for (size_t i = 0; i < ask->settle.n; i++) {
		for (size_t j = 0; j < ask->settle.entries[i].n; j++) {
			const struct store_end *end = &ask->settle.entries[i].ends[j];
			struct asked_kept *kept;

			if (end->how == STORE_DEAD) {
				kept = asked_keep(k->letters, &k->n_letters, end);
				kept->head = tiny_copy(end->head);
				kept->head_size = end->head.size;
				kept->body = tiny_copy(end->body);
				kept->body_size = end->body.size;
			}
			if (end->result.data) {
				kept = asked_keep(k->results, &k->n_results, end);
				kept->head = tiny_copy(end->result);
				kept->head_size = end->result.size;
			}
		}
	}
	return false;
}

RIG struct asked_kept *asked_find(
	struct asked_kept *list, size_t n, const uint8_t id[16], const char *service)
{
	for (size_t i = 0; i < n; i++) {
		bool fits = !list[i].gone && memcmp(list[i].id, id, 16) == 0;

		if (fits && (!service || strcmp(list[i].service, service) == 0))
			return &list[i];
	}
	return NULL;
}

RIG void asked_add(struct tiny_told *told, const void *data, size_t size)
{
	told->items[told->list.n++] = (struct store_arg){ data, size };
	assert_true(told->list.n <= sizeof told->items / sizeof told->items[0]);
	told->list.items = told->items;
}

RIG bool asked_result(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	for (size_t i = 0; i < k->n_results; i++) {
		const struct asked_kept *kept = &k->results[i];

		if (kept->gone || memcmp(kept->id, ask->dead.ids[0], 16) != 0)
			continue;
		asked_add(told, kept->service, strlen(kept->service));
		asked_add(told, kept->head, kept->head_size);
	}
	return true;
}

RIG bool asked_letter(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	const struct asked_kept *kept =
		asked_find(k->letters, k->n_letters, ask->dead.ids[0], ask->dead.service);

	assert_int_equal(ask->dead.n, 1);
	if (kept) {
		asked_add(told, kept->head, kept->head_size);
		asked_add(told, kept->body, kept->body_size);
	}
	return true;
}

RIG bool asked_list(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	k->about = ask->dead.about;
	assert_true(strlen(ask->dead.cursor) < sizeof k->cursor);
	strcpy(k->cursor, ask->dead.cursor);
	asked_add(told, "17", 2);
	for (size_t i = 0; i < k->n_letters; i++) {
		const struct asked_kept *kept = &k->letters[i];

		if (kept->gone || strcmp(kept->service, ask->dead.service) != 0)
			continue;
		asked_add(told, kept->id, 16);
		asked_add(told, kept->head, kept->head_size);
	}
	return true;
}

RIG void asked_join(uint8_t *out, size_t *size, const uint8_t *data, size_t n)
{
	memcpy(out + *size, data, n);
	*size += n;
}

RIG bool asked_redrive(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	static uint8_t head[1 << 20], body[1 << 20];
	struct store_turn turn = ask->dead.turn;
	size_t head_size = 0, body_size = 0;

	if (!tiny_owns(k->t, told, turn.epoch))
		return true;
	for (size_t i = 0; i < ask->dead.n; i++) {
		struct asked_kept *kept =
			asked_find(k->letters, k->n_letters, ask->dead.ids[i], ask->dead.service);

		if (!kept)
			continue;
		if (told->list.n > 0 && body_size + kept->body_size > ask->dead.max_bytes)
			break;
		asked_join(head, &head_size, kept->head, kept->head_size);
		asked_join(body, &body_size, kept->body, kept->body_size);
		asked_add(told, kept->id, 16);
		kept->gone = true;
	}
	turn.head = (struct store_arg){ head, head_size };
	turn.body = (struct store_arg){ body, body_size };
	if (told->list.n > 0)
		tiny_append(k->t, &turn);
	return true;
}

RIG bool asked_purge(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	for (size_t i = 0; i < ask->dead.n; i++) {
		struct asked_kept *kept =
			asked_find(k->letters, k->n_letters, ask->dead.ids[i], ask->dead.service);

		if (kept)
			kept->gone = true;
		told->count.n += kept != NULL;
	}
	return true;
}

RIG void asked_run(struct asked *k, const struct brk_ask *ask, struct store_claimed *out)
{
	k->key.run++;
	k->key.until_ms = ask->key.until_ms;
	out->kind = STORE_CLAIM_RUN;
	out->run = k->key.run;
}

RIG bool asked_claim(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	struct asked_key *key = &k->key;
	struct store_claimed *out = &told->claimed;

	assert_int_equal(ask->key.hash.size, 16);
	if (!key->there && k->full) {
		out->kind = STORE_CLAIM_FULL;
		return true;
	}
	if (!key->there) {
		memcpy(key->hash, ask->key.hash.data, 16);
		memcpy(key->id, ask->key.id, 16);
		key->there = true;
	}
	out->id = (struct store_arg){ key->id, 16 };
	out->response = (struct store_arg){ key->response, key->size };
	out->until_ms = key->until_ms;
	if (memcmp(key->hash, ask->key.hash.data, 16) != 0)
		out->kind = STORE_CLAIM_BODY;
	else if (key->response)
		out->kind = STORE_CLAIM_ANSWER;
	else if (key->event)
		out->kind = STORE_CLAIM_EVENT;
	else if (key->until_ms > tiny_ms(k->t))
		out->kind = STORE_CLAIM_BUSY;
	else
		asked_run(k, ask, out);
	return true;
}

RIG bool asked_answer(struct asked *k, const struct brk_ask *ask, struct tiny_told *told)
{
	struct asked_key *key = &k->key;

	if (memcmp(key->id, ask->key.id, 16) != 0 || key->run != ask->key.run) {
		told->says.code = STORE_STALE;
		return true;
	}
	told->count.n = 1;
	if (key->response)
		return true;
	key->until_ms = 0;
	if (ask->key.response.data) {
		key->response = tiny_copy(ask->key.response);
		key->size = ask->key.response.size;
	}
	return true;
}

RIG bool asked_do(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	struct asked *k = t->arg;

	if (k->next[ask->kind] != STORE_DONE) {
		told->says.code = k->next[ask->kind];
		k->next[ask->kind] = STORE_DONE;
		return true;
	}
	switch (ask->kind) {
	case BRK_ASK_SETTLE:
		return asked_settle(k, ask);
	case BRK_ASK_RESULT:
		return asked_result(k, ask, told);
	case BRK_ASK_DEAD_GET:
		return asked_letter(k, ask, told);
	case BRK_ASK_DEAD_LIST:
		return asked_list(k, ask, told);
	case BRK_ASK_REDRIVE:
		return asked_redrive(k, ask, told);
	case BRK_ASK_PURGE:
		return asked_purge(k, ask, told);
	case BRK_ASK_CLAIM:
		return asked_claim(k, ask, told);
	case BRK_ASK_ANSWER:
		return asked_answer(k, ask, told);
	default:
		return false;
	}
}

RIG struct asked *asked_new(const struct brk_conf *conf, uint64_t granted)
{
	struct asked *k = calloc(1, sizeof *k);

	assert_non_null(k);
	k->t = tiny_new(&k->rig, conf);
	k->t->more = asked_do;
	k->t->arg = k;
	rig_client(&k->rig, CLIENT);
	rig_worker(&k->rig, A, "hello", granted);
	return k;
}

RIG void asked_free(struct asked *k)
{
	tiny_free(k->t);
	for (size_t i = 0; i < k->n_results; i++)
		free(k->results[i].head);
	for (size_t i = 0; i < k->n_letters; i++) {
		free(k->letters[i].head);
		free(k->letters[i].body);
	}
	free(k->key.response);
	if (k->answer)
		pirn__answer__free_unpacked(k->answer, NULL);
	free(k);
}

/* ---- questions ----------------------------------------------------------------- */

/* The id of the event, or call, of that slot: see tiny_submit. */
RIG ProtobufCBinaryData asked_id(uint32_t slot)
{
	static uint8_t ids[16][16];
	static size_t next;
	uint8_t *id = ids[next++ % 16];

	memset(id, 0, 16);
	id[0] = 1;
	id[1] = (uint8_t)(slot >> 8);
	id[2] = (uint8_t)slot;
	return (ProtobufCBinaryData){ 16, id };
}

RIG Pirn__Query asked_query(uint32_t what, uint32_t event)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.has_what = true;
	query.what = what;
	query.has_id = event > 0;
	if (event > 0)
		query.id = asked_id(event);
	return query;
}

RIG Pirn__Query asked_dead(uint32_t what)
{
	Pirn__Query query = asked_query(what, 0);

	query.service = (char *)(uintptr_t) "hello";
	return query;
}

/* n times in one message, slots from slot on. */
RIG void asked_ask_many(
	struct asked *k, uint32_t peer, uint32_t slot, size_t n, const Pirn__Query *query)
{
	static uint8_t body[1 << 20];
	static Pirn__Item items[BRK_MAX_ITEMS];
	static Pirn__Item *list[BRK_MAX_ITEMS];
	Pirn__Head head = PIRN__HEAD__INIT;
	size_t size = 0;

	for (size_t i = 0; i < n; i++) {
		list[i] = &items[i];
		pirn__item__init(&items[i]);
		items[i].has_slot = items[i].has_generation = true;
		items[i].slot = slot + (uint32_t)i;
		items[i].generation = 1;
		items[i].data_size = (uint32_t)pirn__query__pack(query, body + size);
		size += items[i].data_size;
	}
	head.kind = PIRN__KIND__QUERY;
	head.items = list;
	head.n_items = n;
	rig_head(&k->rig, peer, &head, body, size);
	tiny_take(k->t);
}

RIG void asked_ask(struct asked *k, uint32_t slot, Pirn__Query query)
{
	asked_ask_many(k, CLIENT, slot, 1, &query);
}

/* The one answer that the last input brought, to that slot; good until the next look. */
RIG Pirn__Answer *asked_look(struct asked *k, uint32_t slot)
{
	const struct brk_action *a = rig_one(&k->rig, PIRN__KIND__ANSWER);

	assert_int_equal(a->peer, CLIENT);
	assert_int_equal(a->item.slot, slot);
	assert_int_equal(a->item.generation, 1);
	assert_int_equal(a->payload.meta_size, 0);
	if (k->answer)
		pirn__answer__free_unpacked(k->answer, NULL);
	k->answer = pirn__answer__unpack(NULL, a->payload.data_size, a->payload.bytes);
	assert_non_null(k->answer);
	return k->answer;
}

/* Asks, tells what that asked of Redis one by one, until there is the answer. */
RIG Pirn__Answer *asked_get(struct asked *k, Pirn__Query query)
{
	asked_ask(k, 900, query);
	while (rig_count(&k->rig, PIRN__KIND__ANSWER) == 0) {
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__REFUSED), 0);
		assert_true(k->t->first < k->t->last);
		tiny_tell(k->t);
	}
	return asked_look(k, 900);
}

RIG Pirn__Invocation *asked_one(struct asked *k, uint32_t event)
{
	Pirn__Answer *answer = asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, event));

	assert_int_equal(answer->n_invocations, 1);
	assert_memory_equal(answer->invocations[0]->id.data, asked_id(event).data, 16);
	return answer->invocations[0];
}

/* The next DISPATCH among what the core says while everything is answered, and time passes. */
RIG Pirn__Item asked_run_next(struct asked *k)
{
	for (;;) {
		const struct brk_action *a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, 0);

		if (a)
			return a->item;
		tiny_step(k->t);
	}
}

RIG Pirn__Item asked_event(struct asked *k, uint32_t slot, uint32_t flags)
{
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = slot, .flags = flags });
	return asked_run_next(k);
}

/* An event that is a dead letter at once. */
RIG void asked_die(struct asked *k, uint32_t slot)
{
	Pirn__Item run = asked_event(k, slot, 0);

	tiny_result(k->t, A, &run, (struct rig_item){ .status = 404 });
	tiny_run(k->t);
}

/* ---- calls with a key ----------------------------------------------------------- */

struct asked_call {
	uint32_t peer, slot, left_ms;
	const char *hash;
	bool no_id;
	size_t key_size;
};

RIG void asked_call(struct asked *k, struct asked_call c)
{
	static uint8_t key[300] = "a key";
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	const char *hash = c.hash ? c.hash : ASKED_HASH;

	item.service = (char *)(uintptr_t) "hello";
	item.has_slot = item.has_generation = item.has_left_ms = true;
	item.slot = c.slot;
	item.generation = 1;
	item.left_ms = c.left_ms ? c.left_ms : 10000;
	item.has_id = !c.no_id;
	item.id = asked_id(c.slot);
	item.has_key = item.has_hash = true;
	item.key = (ProtobufCBinaryData){ c.key_size ? c.key_size : 5, key };
	item.hash = (ProtobufCBinaryData){ strlen(hash), (uint8_t *)(uintptr_t)hash };
	item.data_size = 7;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	rig_head(&k->rig, c.peer ? c.peer : CLIENT, &head, (const uint8_t *)"request", 7);
	tiny_take(k->t);
}

#endif
