#include "broker/core/keyed.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/asks.h"
#include "broker/core/parts.h"

#define RESPONSE_HEAD 6

/* A key that was asked for. It outlives its call when that ends before Redis has answered. */
struct brk_claim {
	struct brk_claim *prev, *next;
	struct brk_call *call; /* NULL: it has ended */
	uint32_t open;         /* asks that are not told yet */
	uint32_t run;          /* 0: the key is not ours (yet) */
	char scope[BRK_NAME_SIZE];
	uint8_t id[16];
	uint8_t key[255], hash[16];
	size_t key_size;
	struct brk_keyed_answer answer; /* ANSWERING; its payload is response's */
	struct base_block *response;    /* as it is kept */
};

/* ---- records --------------------------------------------------------------- */

static void claim_free(struct brk_core *core, struct brk_claim *claim)
{
	DL_DELETE(core->claims, claim);
	base_block_unref(&claim->response);
	free(claim);
}

static struct brk_claim *claim_new(
	struct brk_core *core, struct brk_call *call, const Pirn__Item *item)
{
	struct brk_claim *claim = calloc(1, sizeof *claim);

	if (!claim)
		return NULL;
	memcpy(claim->scope, call->service->name, sizeof claim->scope);
	memcpy(claim->id, call->id, sizeof claim->id);
	memcpy(claim->key, item->key.data, item->key.len);
	claim->key_size = item->key.len;
	memcpy(claim->hash, item->hash.data, sizeof claim->hash);
	DL_APPEND(core->claims, claim);
	return claim;
}

/* ---- asking ---------------------------------------------------------------- */

static struct brk_ask *ask(struct brk_core *core, enum brk_ask_kind kind, struct brk_claim *claim)
{
	struct brk_ask *a = brk_ask(core, kind, claim, 0);

	if (!a)
		return NULL;
	a->key.scope = claim->scope;
	a->key.key = (struct store_arg){ claim->key, claim->key_size };
	a->key.hash = (struct store_arg){ claim->hash, sizeof claim->hash };
	memcpy(a->key.id, claim->id, sizeof claim->id);
	a->key.run = claim->run;
	claim->open++;
	return a;
}

uint32_t brk_keyed_claim(struct brk_core *core, struct brk_call *call, const Pirn__Item *item)
{
	uint64_t left_ms = call->deadline_ms - core->now_ms;
	uint64_t redis_ms = brk_owner_redis_ms(core);
	struct brk_claim *claim;
	struct brk_ask *a;

	if (!call->has_id || item->key.len == 0 || item->key.len > sizeof claim->key ||
		item->hash.len != sizeof claim->hash)
		return PIRN__REASON__MALFORMED;
	if (!core->conf.events)
		return PIRN__REASON__UNSUPPORTED;
	if (!core->connected || redis_ms == 0)
		return PIRN__REASON__NOT_DURABLE;
	claim = claim_new(core, call, item);
	a = claim ? ask(core, BRK_ASK_CLAIM, claim) : NULL;
	if (!a) {
		if (claim)
			claim_free(core, claim);
		return PIRN__REASON__OVERLOADED;
	}
	a->key.until_ms = redis_ms + left_ms + BRK_CLAIM_MARGIN_MS;
	claim->call = call;
	call->claim = claim;
	call->flags |= PIRN__ITEM_FLAG__IDEMPOTENT; /* its records make a second run harmless */
	brk_call_apply(core, call, BRK_CALL_EV_CLAIM);
	return PIRN__REASON__NONE;
}

/* ---- the claim is told ------------------------------------------------------- */

static void let_go(struct brk_claim *claim)
{
	if (claim->call)
		claim->call->claim = NULL;
	claim->call = NULL;
}

static void refuse(
	struct brk_core *core, struct brk_claim *claim, uint32_t reason, uint32_t after_ms)
{
	struct brk_call *call = claim->call;
	Pirn__Item item = core->blank_item;

	item.slot = call->client_slot;
	item.generation = call->client_generation;
	brk_refuse(core, call->client, &item, reason, after_ms);
	core->n_returned++; /* it was taken before */
	let_go(claim);
	brk_call_apply(core, call, BRK_CALL_EV_END);
}

/* Nobody runs under it: the next one with the key may at once. */
static void give_back(struct brk_core *core, struct brk_claim *claim)
{
	if (claim->open == 0 && claim->run > 0 && core->connected)
		(void)ask(core, BRK_ASK_ANSWER, claim); /* no response */
}

static struct brk_action *reply(
	struct brk_core *core, const struct brk_call *call, const struct brk_keyed_answer *answer)
{
	struct brk_action *a = brk_act_item(core, call->client->id, PIRN__KIND__REPLY);
	Pirn__Item *item = &a->item;

	item->has_slot = item->has_generation = item->has_status = item->has_attempt = true;
	item->slot = call->client_slot;
	item->generation = call->client_generation;
	item->status = answer->status;
	item->attempt = call->attempt;
	item->has_reason = answer->reason != PIRN__REASON__NONE;
	item->reason = answer->reason;
	item->has_retry_after_ms = answer->retry_after_ms > 0;
	item->retry_after_ms = answer->retry_after_ms;
	a->payload = answer->payload;
	core->figures.replied++;
	return a;
}

/* UNTRUSTED: it was in Redis. */
static bool read_response(struct store_arg kept, struct brk_keyed_answer *out)
{
	const uint8_t *p = kept.data;
	uint32_t meta_size;

	if (kept.size < RESPONSE_HEAD || kept.size > UINT32_MAX)
		return false;
	meta_size = (uint32_t)p[2] << 24 | (uint32_t)p[3] << 16 | (uint32_t)p[4] << 8 | p[5];
	if (meta_size > kept.size - RESPONSE_HEAD)
		return false;
	*out = (struct brk_keyed_answer){ .status = (uint32_t)(p[0] << 8 | p[1]) };
	out->payload.bytes = p + RESPONSE_HEAD;
	out->payload.meta_size = meta_size;
	out->payload.data_size = (uint32_t)kept.size - RESPONSE_HEAD - meta_size;
	return out->status >= 200 && out->status < 600;
}

/* What is told, and the record, are gone before the action is carried out: both are copied. */
static void tell(struct brk_core *core, struct brk_claim *claim,
	const struct brk_keyed_answer *answer, bool replayed)
{
	struct brk_keyed_answer copy = *answer;
	struct brk_call *call = claim->call;
	size_t size = (size_t)answer->payload.meta_size + answer->payload.data_size;
	uint8_t *room = brk_answer_room(core, sizeof call->id + size);
	struct brk_action *a;

	if (!room) {
		refuse(core, claim, PIRN__REASON__OVERLOADED, 1000);
		return;
	}
	memcpy(room, call->id, sizeof call->id);
	if (size > 0)
		memcpy(room + sizeof call->id, answer->payload.bytes, size);
	copy.payload.bytes = size > 0 ? room + sizeof call->id : NULL;
	copy.payload.block = NULL;
	a = reply(core, call, &copy);
	a->item.has_id = true;
	a->item.id = (ProtobufCBinaryData){ sizeof call->id, room };
	a->item.has_flags = replayed;
	a->item.flags = replayed ? PIRN__ITEM_FLAG__REPLAYED : 0;
	let_go(claim);
	brk_call_apply(core, call, BRK_CALL_EV_END);
}

/* The first one's answer. */
static void replay(struct brk_core *core, struct brk_claim *claim, const struct store_claimed *told)
{
	struct brk_keyed_answer answer = { .status = 202 };

	if (told->kind == STORE_CLAIM_ANSWER && !read_response(told->response, &answer)) {
		refuse(core, claim, PIRN__REASON__NOT_DURABLE, 0);
		return;
	}
	memcpy(claim->call->id, told->id.data, sizeof claim->call->id);
	tell(core, claim, &answer, true);
}

static uint32_t busy_ms(const struct brk_core *core, uint64_t until_ms)
{
	uint64_t now = brk_owner_redis_ms(core), left = until_ms > now ? until_ms - now : 0;

	if (left < 1000)
		return 1000;
	return left < 30000 ? (uint32_t)left : 30000;
}

static void take(struct brk_claim *claim, const struct store_claimed *told)
{
	claim->run = told->run;
	memcpy(claim->id, told->id.data, sizeof claim->id);
}

/* Its workers may have left meanwhile, and others may have filled the queue. */
static void run(struct brk_core *core, struct brk_claim *claim, const struct store_claimed *told)
{
	struct brk_call *call = claim->call;
	uint32_t wait_ms = 1000;
	uint32_t reason = brk_submit_judge(core, call->service, brk_call_size(call), &wait_ms);

	if (call->deadline_ms <= core->now_ms) /* its tick is behind this */
		reason = PIRN__REASON__DEADLINE;
	take(claim, told);
	if (reason == PIRN__REASON__NONE) {
		memcpy(call->id, claim->id, sizeof call->id);
		brk_submit_place(core, call);
		return;
	}
	refuse(core, claim, reason, wait_ms);
	give_back(core, claim);
}

static void claimed(
	struct brk_core *core, struct brk_claim *claim, const struct store_claimed *told)
{
	bool has_id = told->id.size == sizeof claim->id;

	switch (told->kind) {
	case STORE_CLAIM_RUN:
		if (has_id && told->run > 0)
			run(core, claim, told);
		else
			refuse(core, claim, PIRN__REASON__NOT_DURABLE, 0);
		break;
	case STORE_CLAIM_BUSY:
		refuse(core, claim, PIRN__REASON__KEY_BUSY, busy_ms(core, told->until_ms));
		break;
	case STORE_CLAIM_ANSWER:
	case STORE_CLAIM_EVENT:
		if (has_id)
			replay(core, claim, told);
		else
			refuse(core, claim, PIRN__REASON__NOT_DURABLE, 0);
		break;
	case STORE_CLAIM_BODY:
		refuse(core, claim, PIRN__REASON__KEY_BODY, 0);
		break;
	default:
		refuse(core, claim, PIRN__REASON__KEYS_FULL, 0);
	}
}

/* ---- the answer ---------------------------------------------------------------- */

/* Whether a repetition should get the same, rather than another run. */
static bool is_kept(const struct brk_keyed_answer *answer)
{
	return answer->reason == PIRN__REASON__NONE && answer->status < 500 &&
	       answer->status != 408 && answer->status != 425 && answer->status != 429;
}

static bool pack_response(struct brk_core *core, struct brk_claim *claim)
{
	struct brk_payload *p = &claim->answer.payload;
	uint32_t size = p->meta_size + p->data_size;
	struct base_buf packed;
	uint8_t head[RESPONSE_HEAD] = { (uint8_t)(claim->answer.status >> 8),
		(uint8_t)claim->answer.status, (uint8_t)(p->meta_size >> 24),
		(uint8_t)(p->meta_size >> 16), (uint8_t)(p->meta_size >> 8),
		(uint8_t)p->meta_size };

	base_buf_init(&packed);
	base_buf_add(&packed, head, sizeof head);
	if (size > 0)
		base_buf_add(&packed, p->bytes, size);
	if (!base_buf_check(&packed))
		claim->response = base_pool_copy(&core->pool, packed.data, (uint32_t)packed.size);
	base_buf_fini(&packed);
	if (!claim->response)
		return false;
	p->bytes = claim->response->data + RESPONSE_HEAD;
	p->block = NULL;
	return true;
}

bool brk_keyed_finish(
	struct brk_core *core, struct brk_call *call, const struct brk_keyed_answer *answer)
{
	struct brk_claim *claim = call->claim;
	struct brk_ask *a;

	if (!claim || claim->run == 0 || claim->open > 0)
		return false;
	claim->answer = *answer;
	if (!pack_response(core, claim))
		return false;
	a = ask(core, BRK_ASK_ANSWER, claim);
	if (!a)
		return false; /* the claim runs out by itself; END lets go of it */
	a->key.again = call->attempt > 1;
	if (is_kept(answer))
		a->key.response =
			(struct store_arg){ claim->response->data, claim->response->size };
	brk_call_apply(core, call, BRK_CALL_EV_ANSWER);
	return true;
}

/* STALE: somebody claimed the key anew after its time; the first to answer is the one that counts,
 * and this was not it. */
static void answered(struct brk_core *core, struct brk_claim *claim, enum store_code code)
{
	struct brk_keyed_answer answer = claim->answer;

	if (code != STORE_DONE && is_kept(&answer))
		answer = (struct brk_keyed_answer){ .reason = PIRN__REASON__UNDECIDED,
			.status = brk_reason_status(PIRN__REASON__UNDECIDED),
			.retry_after_ms = 1000 };
	tell(core, claim, &answer, false);
}

void brk_keyed_release(struct brk_core *core, struct brk_call *call)
{
	struct brk_claim *claim = call->claim;

	if (!claim)
		return;
	let_go(claim);
	give_back(core, claim);
	if (claim->open == 0)
		claim_free(core, claim);
}

void brk_keyed_told(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_claim *claim = asked->about;
	enum store_code code = told->says->code;

	claim->open--;
	if (!claim->call) {
		/* Nobody waits for it: what was just claimed is free for the next one. */
		if (asked->kind == BRK_ASK_CLAIM && code == STORE_DONE &&
			told->claimed->kind == STORE_CLAIM_RUN &&
			told->claimed->id.size == sizeof claim->id) {
			take(claim, told->claimed);
			give_back(core, claim);
		}
	} else if (asked->kind == BRK_ASK_ANSWER) {
		answered(core, claim, code);
	} else if (code == STORE_DONE) {
		claimed(core, claim, told->claimed);
	} else {
		refuse(core, claim, brk_answer_reason_of(code), 1000);
	}
	if (!claim->call && claim->open == 0)
		claim_free(core, claim);
}

/* ---- dispatch ------------------------------------------------------------------- */

/* Of two runs the later one has the larger number, whichever claims they belong to, and supersedes the
 * other. The records live as long as the key, so that whoever repeats it replays them. */
void brk_keyed_describe(const struct brk_core *core, const struct brk_call *call, Pirn__Item *item)
{
	if (!call->claim)
		return;
	item->attempt = (call->claim->run - 1) * BRK_MAX_RUNS + call->attempt;
	item->keep_until_ms = brk_owner_redis_ms(core) + core->conf.bounds.dedupe_ms;
}

void brk_keyed_fini(struct brk_core *core)
{
	struct brk_claim *claim, *next;

	DL_FOREACH_SAFE (core->claims, claim, next)
		claim_free(core, claim);
}
