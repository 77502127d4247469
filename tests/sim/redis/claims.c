/* Idempotency-Keys: h the body's hash, i the id; a call's also r its run, u until when,
 * a its answer. Their bytes are counted by the time at which they go. */
#include <string.h>

#include "tests/sim/redis/parts.h"

static const struct store_arg size_key = { "dedupe-size", 11 };

static struct store_arg scoped(
	struct base_arena *arena, const char *kind, const char *scope, struct store_arg key)
{
	struct store_arg front = sim_text(arena, "%s:%s:", kind, scope);
	uint8_t *name = sim_alloc(arena, front.size + key.size);

	memcpy(name, front.data, front.size);
	memcpy(name + front.size, key.data, key.size);
	return (struct store_arg){ name, front.size + key.size };
}

struct store_arg sim_dedupe_key(struct base_arena *arena, const char *scope, struct store_arg key)
{
	return scoped(arena, "dedupe", scope, key);
}

/* Of one with a time of its own: what the real one keeps in a bucket with others has a key here. */
struct store_arg sim_known_key(struct base_arena *arena, const char *scope, struct store_arg key)
{
	return scoped(arena, "known", scope, key);
}

static bool is_old(const struct sim_asking *a, struct store_arg at)
{
	const char *colon = memchr(at.data, ':', at.size); /* known:… */
	size_t front = colon ? (size_t)(colon + 1 - (const char *)at.data) : 0;

	at = (struct store_arg){ (const char *)at.data + front, at.size - front };
	return sim_number(at) * 1000 <= a->r->keys.now_ms;
}

uint64_t sim_dedupe_used(struct sim_asking *a)
{
	size_t n;
	struct sim_pair *pairs = sim_pairs(a->arena, a->r, size_key, &n);
	uint64_t used = 0;

	for (size_t i = 0; i < n; i++)
		if (!is_old(a, pairs[i].field))
			used += sim_number(pairs[i].value);
	return used;
}

void sim_dedupe_tidy(struct sim_asking *a)
{
	size_t n;
	struct sim_pair *pairs = sim_pairs(a->arena, a->r, size_key, &n);

	for (size_t i = 0; i < n; i++)
		if (is_old(a, pairs[i].field))
			sim_keys_delete(&a->r->keys, size_key, pairs[i].field);
}

void sim_dedupe_add(struct sim_asking *a, uint64_t bytes, uint64_t ttl_ms)
{
	uint64_t step = ttl_ms < 3600000 ? 60 : 3600,
		 at = ((a->r->keys.now_ms + ttl_ms) / 1000 / step + 1) * step;
	struct store_arg field = sim_text(a->arena, "%llu", (unsigned long long)at);

	if (bytes > 0)
		sim_set_number(a, size_key, field, sim_field_number(a->r, size_key, field) + bytes);
}

uint64_t sim_known_add(struct sim_asking *a, uint64_t bytes, uint64_t ttl_ms)
{
	uint64_t step = 1, at;
	struct store_arg field;

	while (step * 2 * 4000 <= ttl_ms)
		step *= 2;
	at = ((a->r->keys.now_ms + ttl_ms) / 1000 / step + 1) * step;
	field = sim_text(a->arena, "known:%llu", (unsigned long long)at);
	sim_set_number(a, size_key, field, sim_field_number(a->r, size_key, field) + bytes);
	return at * 1000;
}

/* ---- claim */

static struct store_arg my_key(struct sim_asking *a)
{
	return sim_dedupe_key(a->arena, a->ask->key.scope, a->ask->key.key);
}

static bool field(struct sim_asking *a, const char *name, struct store_arg *out)
{
	struct store_arg value;
	bool there = sim_keys_get(&a->r->keys, my_key(a), sim_word(name), &value);

	*out = there ? sim_keep(a->arena, value) : (struct store_arg){ "", 0 };
	return there;
}

static void run_it(struct sim_asking *a, struct store_arg id, uint32_t run)
{
	struct sim_keys *keys = &a->r->keys;

	sim_set_number(a, my_key(a), sim_word("r"), run);
	sim_set_number(a, my_key(a), sim_word("u"), a->ask->key.until_ms);
	sim_keys_set(keys, my_key(a), sim_word("l"), (struct store_arg){ a->ask->key.id, 16 });
	sim_keys_expire(keys, my_key(a), keys->now_ms + a->bounds->dedupe_ms);
	a->reply->claimed.kind = STORE_CLAIM_RUN;
	a->reply->claimed.id = id;
	a->reply->claimed.run = run;
}

static void claim_new(struct sim_asking *a)
{
	struct store_arg key = my_key(a),
			 id = sim_keep(a->arena, (struct store_arg){ a->ask->key.id, 16 });
	uint64_t bytes = SIM_EVENT_BYTES + strlen(SIM_KEY_PREFIX) + key.size;

	if (sim_dedupe_used(a) + bytes > a->bounds->dedupe_max) {
		a->reply->claimed.kind = STORE_CLAIM_FULL;
		return;
	}
	sim_keys_set(&a->r->keys, key, sim_word("h"), a->ask->key.hash);
	sim_keys_set(&a->r->keys, key, sim_word("i"), id);
	run_it(a, id, 1);
	sim_dedupe_tidy(a);
	sim_dedupe_add(a, bytes, a->bounds->dedupe_ms);
}

void sim_do_claim(struct sim_asking *a)
{
	struct store_claimed *out = &a->reply->claimed;
	struct store_arg hash, run, until, last;

	if (!field(a, "h", &hash)) {
		claim_new(a);
		return;
	}
	(void)field(a, "i", &out->id);
	(void)field(a, "u", &until);
	(void)field(a, "l", &last);
	out->until_ms = sim_number(until);
	if (!sim_same(hash, a->ask->key.hash))
		out->kind = STORE_CLAIM_BODY;
	else if (field(a, "a", &out->response))
		out->kind = STORE_CLAIM_ANSWER;
	else if (!field(a, "r", &run))
		out->kind = STORE_CLAIM_EVENT;
	else if (out->until_ms > a->r->keys.now_ms &&
		 !sim_same(last, (struct store_arg){ a->ask->key.id, 16 }) &&
		 !SIM_FAULTY(a->r, CLAIM_SHARED))
		out->kind = STORE_CLAIM_BUSY;
	else
		run_it(a, out->id, (uint32_t)sim_number(run) + 1);
}

/* ---- answer */

/* An earlier run may still go on under its lease. */
static void close_records(struct sim_asking *a)
{
	struct store_arg ops = sim_ops_key(a->arena, a->ask->key.id, a->ask->key.scope);
	struct sim_keys *keys = &a->r->keys;

	if (!sim_keys_unlink(keys, ops) && a->ask->key.run == 1 && !a->ask->key.again)
		return;
	if (SIM_FAULTY(a->r, NO_FENCE))
		return;
	sim_keys_set(keys, ops, sim_word(":run"), sim_token(a->arena, UINT32_MAX, UINT32_MAX));
	sim_keys_expire(keys, ops, keys->now_ms + a->bounds->dedupe_ms);
}

void sim_do_answer(struct sim_asking *a)
{
	struct store_arg id, run, answer, key = my_key(a);
	struct sim_keys *keys = &a->r->keys;
	bool stale;

	(void)field(a, "i", &id);
	stale = !field(a, "r", &run) || sim_number(run) != a->ask->key.run ||
		!sim_same(id, (struct store_arg){ a->ask->key.id, 16 });
	if (stale && !SIM_FAULTY(a->r, STALE_ANSWER)) {
		sim_refuse(a, STORE_STALE);
		a->reply->says.number = sim_number(run);
		return;
	}
	a->reply->count.n = 1;
	if (field(a, "a", &answer))
		return;
	sim_set_number(a, key, sim_word("u"), 0);
	if (!a->ask->key.response.data)
		return;
	sim_keys_set(keys, key, sim_word("a"), a->ask->key.response);
	sim_keys_expire(keys, key, keys->now_ms + a->bounds->dedupe_ms);
	sim_dedupe_add(a, a->ask->key.response.size, a->bounds->dedupe_ms);
	close_records(a);
}
