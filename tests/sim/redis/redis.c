#include "tests/sim/redis/redis.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/redis/parts.h"

#define FIRST_CHUNK 1024
#define MAX_BYTES   ((size_t)256 << 20)

void sim_redis_init(struct sim_redis *r, uint64_t now_ms)
{
	*r = (struct sim_redis){ 0 };
	sim_keys_init(&r->keys);
	r->keys.now_ms = now_ms;
}

void sim_redis_fini(struct sim_redis *r)
{
	sim_keys_fini(&r->keys);
}

/* ---- bytes and numbers */

void *sim_alloc(struct base_arena *arena, size_t size)
{
	void *out = base_arena_alloc(arena, size + 1);

	if (!out)
		abort();
	return memset(out, 0, size + 1);
}

struct store_arg sim_text(struct base_arena *arena, const char *format, ...)
{
	char text[400];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof text)
		abort();
	return sim_keep(arena, (struct store_arg){ text, (size_t)n });
}

struct store_arg sim_keep(struct base_arena *arena, struct store_arg bytes)
{
	uint8_t *out = sim_alloc(arena, bytes.size);

	if (bytes.size > 0)
		memcpy(out, bytes.data, bytes.size);
	return (struct store_arg){ out, bytes.size };
}

struct store_arg sim_word(const char *text)
{
	return (struct store_arg){ text, strlen(text) };
}

uint64_t sim_number(struct store_arg text)
{
	const char *bytes = text.data;
	uint64_t n = 0;

	for (size_t i = 0; i < text.size && bytes[i] >= '0' && bytes[i] <= '9'; i++)
		n = n * 10 + (uint64_t)(bytes[i] - '0');
	return n;
}

bool sim_same(struct store_arg a, struct store_arg b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

uint64_t sim_field_number(struct sim_redis *r, struct store_arg key, struct store_arg field)
{
	struct store_arg value;

	return sim_keys_get(&r->keys, key, field, &value) ? sim_number(value) : 0;
}

void sim_set_number(
	struct sim_asking *a, struct store_arg key, struct store_arg field, uint64_t number)
{
	sim_keys_set(
		&a->r->keys, key, field, sim_text(a->arena, "%llu", (unsigned long long)number));
}

struct sim_pair *sim_pairs(
	struct base_arena *arena, struct sim_redis *r, struct store_arg name, size_t *n)
{
	const struct sim_key *key = sim_keys_find(&r->keys, name);
	struct sim_pair *pairs =
		sim_alloc(arena, (key ? HASH_COUNT(key->cells) : 0) * sizeof *pairs);

	*n = 0;
	for (const struct sim_cell *c = key ? key->cells : NULL; c; c = c->hh.next)
		pairs[(*n)++] =
			(struct sim_pair){ sim_keep(arena, c->field), sim_keep(arena, c->value) };
	return pairs;
}

/* ---- asks */

/* Refused when out of memory are those that take more in (words at the end of functions.lua). */
static const struct function {
	void (*run)(struct sim_asking *a);
	bool takes;
} functions[BRK_ASK__N] = {
	[BRK_ASK_OPEN] = { sim_do_open, false },
	[BRK_ASK_BEAT] = { sim_do_beat, false },
	[BRK_ASK_ADOPT] = { sim_do_adopt, false },
	[BRK_ASK_LEAVE] = { sim_do_leave, false },
	[BRK_ASK_DROP] = { sim_do_drop, false },
	[BRK_ASK_READ] = { sim_do_read, false },
	[BRK_ASK_STORE] = { sim_do_store, true },
	[BRK_ASK_SETTLE] = { sim_do_settle, false },
	[BRK_ASK_RESULT] = { sim_do_result, false },
	[BRK_ASK_REDRIVE] = { sim_do_redrive, true },
	[BRK_ASK_PURGE] = { sim_do_purge, false },
	[BRK_ASK_DEAD_LIST] = { sim_do_dead_list, false },
	[BRK_ASK_DEAD_GET] = { sim_do_dead_get, false },
	[BRK_ASK_CLAIM] = { sim_do_claim, true },
	[BRK_ASK_ANSWER] = { sim_do_answer, false },
};

struct sim_reply *sim_redis_say(enum brk_ask_kind kind, uint64_t ticket, enum store_code code)
{
	struct sim_reply *reply = calloc(1, sizeof *reply);

	base_arena_init(&reply->arena, FIRST_CHUNK, MAX_BYTES);
	reply->told = (struct brk_told){ .ticket = ticket, .kind = kind };
	reply->told.says = &reply->says;
	reply->says = (struct store_says){ .code = code, .why = "" };
	return reply;
}

struct sim_reply *sim_redis_ask(
	struct sim_redis *r, const struct brk_ask *ask, const struct store_bounds *bounds)
{
	const struct function *f = &functions[ask->kind];
	struct sim_reply *reply = sim_redis_say(ask->kind, ask->ticket, STORE_DONE);
	struct sim_asking a = { r, &reply->arena, ask, bounds, reply };

	if ((f->takes || (ask->kind == BRK_ASK_SETTLE && ask->settle.emits)) && r->out_of_memory)
		sim_refuse(&a, STORE_OOM);
	else
		f->run(&a);
	return reply;
}

void sim_reply_free(struct sim_reply *reply)
{
	base_arena_fini(&reply->arena);
	free(reply);
}
