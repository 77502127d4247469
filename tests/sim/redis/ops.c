/* State operations of runs: ops:<id>:<service> holds ":run", ":size", and behind an "o" the
 * record of each operation, a letter and a value (functions.lua has the list). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/redis/parts.h"

#define OPS_MAX   1000
#define OPS_BYTES 262144u

struct store_arg sim_ops_key(struct base_arena *arena, const uint8_t *id, const char *service)
{
	char hex[33];

	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	return sim_text(arena, "ops:%s:%s", hex, service);
}

struct store_arg sim_token(struct base_arena *arena, uint32_t attempt, uint32_t epoch)
{
	uint8_t *token = sim_alloc(arena, 8);

	for (int i = 0; i < 4; i++) {
		token[i] = (uint8_t)(attempt >> (24 - 8 * i));
		token[4 + i] = (uint8_t)(epoch >> (24 - 8 * i));
	}
	return (struct store_arg){ token, 8 };
}

bool sim_token_below(struct store_arg a, struct store_arg b)
{
	return memcmp(a.data, b.data, 8) < 0;
}

/* ---- commands on a service's own keys; each makes a record */

struct op {
	struct sim_redis *r;
	struct base_arena *arena;
	const struct sim_op *op;
	struct store_arg key; /* the state's */
};

static const struct store_arg whole = { "", 0 }; /* a string's one field */

static bool is_string(const struct op *o)
{
	struct store_arg value;

	return sim_keys_get(&o->r->keys, o->key, whole, &value);
}

static bool is_hash(const struct op *o)
{
	return sim_keys_count(&o->r->keys, o->key) > 0 && !is_string(o);
}

static struct store_arg with_letter(const struct op *o, char letter, struct store_arg value)
{
	uint8_t *out = sim_alloc(o->arena, value.size + 1);

	out[0] = (uint8_t)letter;
	if (value.size > 0)
		memcpy(out + 1, value.data, value.size);
	return (struct store_arg){ out, value.size + 1 };
}

static struct store_arg number_record(const struct op *o, int64_t number)
{
	return sim_text(o->arena, "i%" PRId64, number);
}

static struct store_arg get_field(const struct op *o, struct store_arg field)
{
	struct store_arg value;

	if (!sim_keys_get(&o->r->keys, o->key, field, &value))
		return sim_word("n");
	return with_letter(o, 's', value);
}

static struct store_arg do_get(const struct op *o)
{
	return is_hash(o) ? sim_word("eTYPE") : get_field(o, whole);
}

static struct store_arg do_hget(const struct op *o)
{
	return is_string(o) ? sim_word("eTYPE") : get_field(o, o->op->args[0]);
}

static struct store_arg do_hgetall(const struct op *o)
{
	size_t n, size = 1;
	struct sim_pair *pairs = sim_pairs(o->arena, o->r, o->key, &n);
	uint8_t *out, *at;

	if (is_string(o))
		return sim_word("eTYPE");
	for (size_t i = 0; i < n; i++)
		size += 8 + pairs[i].field.size + pairs[i].value.size;
	out = at = sim_alloc(o->arena, size);
	*at++ = 'a';
	for (size_t i = 0; i < 2 * n; i++) {
		struct store_arg word = i % 2 ? pairs[i / 2].value : pairs[i / 2].field;

		for (int k = 0; k < 4; k++)
			*at++ = (uint8_t)(word.size >> (24 - 8 * k));
		if (word.size > 0)
			memcpy(at, word.data, word.size);
		at += word.size;
	}
	return (struct store_arg){ out, size };
}

/* As Redis reads it: no blank, no plus, no leading zero, 64 bits. */
static bool is_number(struct store_arg text, int64_t *out)
{
	char copy[24], again[24];

	if (text.size == 0 || text.size >= sizeof copy)
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	errno = 0;
	*out = strtoll(copy, NULL, 10);
	snprintf(again, sizeof again, "%" PRId64, *out);
	return errno == 0 && strcmp(copy, again) == 0;
}

static struct store_arg add(
	const struct op *o, struct store_arg field, struct store_arg increment, bool wrong_sort)
{
	struct store_arg value;
	int64_t old = 0, more, sum;

	if (wrong_sort)
		return sim_word("eTYPE");
	if (sim_keys_get(&o->r->keys, o->key, field, &value) && !is_number(value, &old))
		return sim_word("eTYPE");
	if (!is_number(increment, &more))
		return sim_word("eTYPE");
	if (__builtin_add_overflow(old, more, &sum))
		return sim_word("eOVERFLOW");
	sim_keys_set(&o->r->keys, o->key, field, sim_text(o->arena, "%" PRId64, sum));
	return number_record(o, sum);
}

static struct store_arg do_incrby(const struct op *o)
{
	return add(o, whole, o->op->args[0], is_hash(o));
}

static struct store_arg do_hincrby(const struct op *o)
{
	return add(o, o->op->args[0], o->op->args[1], is_string(o));
}

static void set_string(const struct op *o, struct store_arg value, struct store_arg ttl)
{
	uint64_t ttl_ms = sim_number(ttl);

	sim_keys_unlink(&o->r->keys, o->key);
	sim_keys_set(&o->r->keys, o->key, whole, value);
	if (ttl_ms > 0)
		sim_keys_expire(&o->r->keys, o->key, o->r->keys.now_ms + ttl_ms);
}

static struct store_arg do_set(const struct op *o)
{
	set_string(o, o->op->args[0], o->op->args[1]);
	return sim_word("o");
}

static struct store_arg do_cas(const struct op *o)
{
	struct store_arg stored;
	bool there = sim_keys_get(&o->r->keys, o->key, whole, &stored),
	     expected = sim_same(o->op->args[0], sim_word("1"));

	if (is_hash(o))
		return sim_word("eTYPE");
	if (there != expected || (there && !sim_same(stored, o->op->args[1])))
		return sim_word("i0");
	set_string(o, o->op->args[2], o->op->args[3]);
	return sim_word("i1");
}

static struct store_arg do_unlink(const struct op *o)
{
	return number_record(o, sim_keys_unlink(&o->r->keys, o->key));
}

static struct store_arg do_hset(const struct op *o)
{
	if (is_string(o))
		return sim_word("eTYPE");
	return number_record(o, sim_keys_set(&o->r->keys, o->key, o->op->args[0], o->op->args[1]));
}

static struct store_arg do_hdel(const struct op *o)
{
	if (is_string(o))
		return sim_word("eTYPE");
	return number_record(o, sim_keys_delete(&o->r->keys, o->key, o->op->args[0]));
}

static const struct command {
	const char *name;
	struct store_arg (*run)(const struct op *o);
	bool reads;
} commands[] = {
	{ "GET", do_get, true },
	{ "HGET", do_hget, true },
	{ "HGETALL", do_hgetall, true },
	{ "INCRBY", do_incrby, false },
	{ "HINCRBY", do_hincrby, false },
	{ "SET", do_set, false },
	{ "CAS", do_cas, false },
	{ "UNLINK", do_unlink, false },
	{ "HSET", do_hset, false },
	{ "HDEL", do_hdel, false },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	abort();
}

/* ---- records */

static uint64_t size_after(const struct op *o, struct store_arg ops)
{
	uint64_t size = sim_field_number(o->r, ops, sim_word(":size")) + o->op->field.size + 64;

	for (size_t i = 0; i < 2 * o->op->n_reads; i++)
		size += o->op->reads[i].size;
	return size;
}

static bool is_over(const struct op *o, struct store_arg ops)
{
	size_t count = sim_keys_count(&o->r->keys, ops);

	return (count > 2 ? count - 2 : 0) + o->op->n_reads + 1 > OPS_MAX ||
	       size_after(o, ops) > OPS_BYTES;
}

static void keep_reads(const struct op *o, struct store_arg ops)
{
	for (size_t i = 0; i < o->op->n_reads; i++) {
		struct store_arg field = with_letter(o, 'o', o->op->reads[2 * i]), value;

		if (!sim_keys_get(&o->r->keys, ops, field, &value))
			sim_keys_set(&o->r->keys, ops, field, o->op->reads[2 * i + 1]);
	}
}

static void write_records(const struct op *o, struct store_arg ops, struct store_arg record)
{
	struct sim_keys *keys = &o->r->keys;
	uint64_t size = size_after(o, ops);
	const struct sim_key *key;

	keep_reads(o, ops);
	sim_keys_set(keys, ops, sim_word(":run"),
		sim_token(o->arena, o->op->run.attempt, o->op->run.epoch));
	sim_keys_set(
		keys, ops, sim_word(":size"), sim_text(o->arena, "%llu", (unsigned long long)size));
	sim_keys_set(keys, ops, with_letter(o, 'o', o->op->field), record);
	/* As Redis's PEXPIRETIME, which is -1 for a key without a time to live: it gets one. */
	key = sim_keys_find(keys, ops);
	if (o->op->run.keep_until_ms > key->expires_ms)
		sim_keys_expire(keys, ops, o->op->run.keep_until_ms);
}

static void tell_applied(const struct op *o)
{
	const struct sim_change change = { .kind = SIM_APPLIED,
		.id = o->op->run.id,
		.service = o->op->run.service,
		.run = &o->op->run,
		.field = o->op->field };

	if (o->r->watch)
		o->r->watch(o->r->watch_arg, o->r, &change);
}

/* ---- the Function */

static enum store_code refusal(const struct op *o, struct store_arg ops, uint64_t *number)
{
	const struct store_run *run = &o->op->run;
	struct store_arg stored;

	if (o->r->keys.now_ms > run->lease_end_ms && !SIM_FAULTY(o->r, LEASE_IGNORED)) {
		*number = o->r->keys.now_ms;
		return STORE_LEASE;
	}
	if (!SIM_FAULTY(o->r, RUN_IGNORED) &&
		sim_keys_get(&o->r->keys, ops, sim_word(":run"), &stored) &&
		sim_token_below(sim_token(o->arena, run->attempt, run->epoch), stored)) {
		const uint8_t *token = stored.data;

		*number = (uint64_t)token[0] << 24 | (uint64_t)token[1] << 16 |
			  (uint64_t)token[2] << 8 | token[3];
		return STORE_SUPERSEDED;
	}
	return STORE_DONE;
}

static void apply(const struct op *o, const struct command *command, struct store_arg ops,
	struct sim_op_reply *out)
{
	if (!command->reads && is_over(o, ops)) {
		out->code = STORE_LIMIT;
		out->number = size_after(o, ops);
		return;
	}
	out->record = command->run(o);
	if (command->reads)
		return;
	write_records(o, ops, out->record);
	tell_applied(o);
}

void sim_redis_op(struct sim_redis *r, const struct sim_op *op, struct sim_op_reply *out)
{
	const struct command *command = find_command(op->command);
	struct op o = { .r = r, .op = op };
	struct store_arg ops, record;

	*out = (struct sim_op_reply){ .code = STORE_DONE };
	base_arena_init(&out->arena, 1024, (size_t)64 << 20);
	o.arena = &out->arena;
	o.key = sim_text(o.arena, "state:%s:%.*s", op->run.service, (int)op->key.size,
		(const char *)op->key.data);
	ops = sim_ops_key(o.arena, op->run.id, op->run.service);
	out->code = r->out_of_memory ? STORE_OOM : refusal(&o, ops, &out->number);
	if (out->code)
		return;
	if (!SIM_FAULTY(r, NO_REPLAY) &&
		sim_keys_get(&r->keys, ops, with_letter(&o, 'o', op->field), &record)) {
		out->replayed = true;
		out->record = sim_keep(o.arena, record);
		return;
	}
	apply(&o, command, ops, out);
}

void sim_op_reply_fini(struct sim_op_reply *reply)
{
	base_arena_fini(&reply->arena);
}
