#include "store/check.h"

#include <stdlib.h>
#include <string.h>

struct pending {
	store_check_fn *fn;
	void *arg;
};

static const struct {
	const char *name, *wanted, *sentence;
} rules[] = {
	{ "appendonly", "yes",
		"Redis keeps no append-only file: set appendonly yes, or a crash loses data" },
	{ "appendfsync", "always",
		"Redis does not fsync each write: set appendfsync always, or a crash loses the last second" },
	{ "no-appendfsync-on-rewrite", "no",
		"Redis stops fsync while it rewrites its file: set no-appendfsync-on-rewrite no" },
	{ "maxmemory-policy", "noeviction",
		"Redis may evict Pirn's data when its memory is full: set maxmemory-policy noeviction" },
};
#define N_RULES (sizeof rules / sizeof *rules)

_Static_assert(N_RULES <= STORE_CHECK_MAX, "every sentence has a place");

static bool is(const struct store_reply *reply, const char *text)
{
	return reply->type == STORE_STR && reply->size == strlen(text) &&
	       memcmp(reply->text, text, reply->size) == 0;
}

/* CONFIG GET answers name, value, name, value, … in an order of its own. */
static bool find(const struct store_reply *pairs, const char *name, struct store_reply *value)
{
	for (size_t i = 0; i + 1 < pairs->n; i += 2) {
		struct store_reply key = store_reply_at(pairs, i);
		if (is(&key, name)) {
			*value = store_reply_at(pairs, i + 1);
			return true;
		}
	}
	return false;
}

static void judge(const struct store_reply *pairs, struct store_check *check)
{
	check->known = true;
	for (size_t i = 0; i < N_RULES; i++) {
		struct store_reply value;
		if (!find(pairs, rules[i].name, &value))
			check->known = false;
		else if (!is(&value, rules[i].wanted))
			check->sentences[check->n++] = rules[i].sentence;
	}
}

static void on_reply(void *arg, const struct store_reply *reply)
{
	struct pending pending = *(struct pending *)arg;
	struct store_check check = { 0 };
	free(arg);
	if (reply->type == STORE_UNKNOWN)
		return;
	if (reply->type == STORE_ARRAY)
		judge(reply, &check);
	pending.fn(pending.arg, &check);
}

enum base_err store_check_start(struct store_redis *r, store_check_fn *fn, void *arg)
{
	struct store_arg args[2 + N_RULES] = { STORE_ARG("CONFIG"), STORE_ARG("GET") };
	for (size_t i = 0; i < N_RULES; i++)
		args[2 + i] = STORE_ARG(rules[i].name);
	struct pending *pending = malloc(sizeof *pending);
	if (!pending)
		return BASE_NOMEM;
	*pending = (struct pending){ fn, arg };
	enum base_err err = store_redis_command(r, args, 2 + N_RULES, on_reply, pending);
	if (err)
		free(pending);
	return err;
}
