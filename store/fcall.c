#include "store/fcall.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/keys.h"

#define FIRST_CHUNK 4096
#define MAX_BYTES   ((size_t)64 << 20) /* of names and numbers: far above what a turn has */

static const struct {
	const char *name, *word;
} codes[STORE_CODE__N] = {
#define X(name, word, text) { #name, word },
	STORE_CODES(X)
#undef X
};

const char *store_code_name(enum store_code code)
{
	return code < STORE_CODE__N ? codes[code].name : "?";
}

/* ---- calls */

void store_fcall_init(struct store_fcall *c)
{
	*c = (struct store_fcall){ 0 };
	base_arena_init(&c->arena, FIRST_CHUNK, MAX_BYTES);
}

void store_fcall_fini(struct store_fcall *c)
{
	base_arena_fini(&c->arena);
	free(c->keys);
	free(c->args);
	*c = (struct store_fcall){ 0 };
}

static void push(struct store_fcall *c, struct store_arg **list, size_t *n, size_t *room,
	const void *data, size_t size)
{
	if (*n == *room) {
		size_t more = *room ? *room * 2 : 64;
		struct store_arg *bigger = realloc(*list, more * sizeof *bigger);
		if (!bigger) {
			c->failed = true;
			return;
		}
		*list = bigger;
		*room = more;
	}
	(*list)[(*n)++] = (struct store_arg){ data ? data : "", size };
}

size_t store_fcall_key_bytes(struct store_fcall *c, const void *data, size_t size)
{
	push(c, &c->keys, &c->n_keys, &c->keys_room, data, size);
	return c->n_keys;
}

size_t store_fcall_key(struct store_fcall *c, const char *name)
{
	return store_fcall_key_bytes(c, name, strlen(name));
}

static void *copy(struct store_fcall *c, const void *data, size_t size)
{
	void *out = base_arena_dup(&c->arena, data, size);
	if (!out)
		c->failed = true;
	return out;
}

size_t store_fcall_key_format(struct store_fcall *c, const char *format, ...)
{
	char name[320] = STORE_KEY_PREFIX;
	const size_t prefix = sizeof STORE_KEY_PREFIX - 1;
	va_list args;
	va_start(args, format);
	int size = vsnprintf(name + prefix, sizeof name - prefix, format, args);
	va_end(args);
	if (size < 0 || (size_t)size >= sizeof name - prefix) {
		c->failed = true;
		return 0;
	}
	size_t whole = prefix + (size_t)size;
	void *kept = copy(c, name, whole);
	return store_fcall_key_bytes(c, kept, kept ? whole : 0);
}

size_t store_fcall_key_scoped(
	struct store_fcall *c, const char *name, const char *scope, const void *data, size_t size)
{
	size_t front = strlen(STORE_KEY_PREFIX) + strlen(name) + strlen(scope) + 1;
	char *key = base_arena_alloc(&c->arena, front + size + 1);
	if (!key) {
		c->failed = true;
		return 0;
	}
	snprintf(key, front + 1, "%s%s%s:", STORE_KEY_PREFIX, name, scope);
	memcpy(key + front, data, size);
	return store_fcall_key_bytes(c, key, front + size);
}

void store_fcall_bytes(struct store_fcall *c, const void *data, size_t size)
{
	push(c, &c->args, &c->n_args, &c->args_room, data, size);
}

void *store_fcall_room(struct store_fcall *c, size_t size)
{
	void *room = base_arena_alloc(&c->arena, size);
	if (!room)
		c->failed = true;
	return room;
}

void store_fcall_copy(struct store_fcall *c, const void *data, size_t size)
{
	void *kept = copy(c, data, size);
	store_fcall_bytes(c, kept, kept ? size : 0);
}

void store_fcall_text(struct store_fcall *c, const char *text)
{
	store_fcall_bytes(c, text, strlen(text));
}

void store_fcall_number(struct store_fcall *c, uint64_t number)
{
	static const char small[] = "0123456789";
	if (number < 10) {
		store_fcall_bytes(c, &small[number], 1);
		return;
	}
	char text[24];
	size_t at = sizeof text;
	for (; number > 0; number /= 10)
		text[--at] = (char)('0' + number % 10);
	store_fcall_copy(c, text + at, sizeof text - at);
}

void store_fcall_id(struct store_fcall *c, uint32_t epoch, uint64_t turn)
{
	char text[40];
	int size = snprintf(text, sizeof text, "%" PRIu32 "-%" PRIu64, epoch, turn);
	store_fcall_copy(c, text, (size_t)size);
}

enum base_err store_fcall_send(struct store_fcall *c, struct store_redis *r, const char *function,
	store_reply_fn *fn, void *arg)
{
	char number[24];
	int digits = snprintf(number, sizeof number, "%zu", c->n_keys);
	size_t n = 3 + c->n_keys + c->n_args;
	enum base_err err = BASE_NOMEM;
	struct store_arg *words = c->failed ? NULL : malloc(n * sizeof *words);
	if (words) {
		words[0] = STORE_ARG("FCALL");
		words[1] = STORE_ARG(function);
		words[2] = (struct store_arg){ number, (size_t)digits };
		if (c->n_keys)
			memcpy(words + 3, c->keys, c->n_keys * sizeof *words);
		if (c->n_args)
			memcpy(words + 3 + c->n_keys, c->args, c->n_args * sizeof *words);
		err = store_redis_command(r, words, n, fn, arg);
		free(words);
	}
	base_arena_reset(&c->arena);
	c->n_keys = c->n_args = 0;
	c->failed = false;
	return err;
}

/* ---- answers */

bool store_parse_number(const char *text, size_t size, uint64_t *out)
{
	uint64_t number = 0;
	if (size == 0 || size > 20)
		return false;
	for (size_t i = 0; i < size; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');
		if (text[i] < '0' || text[i] > '9' || number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*out = number;
	return true;
}

/* Redis's own codes for "not now"; nothing was done. */
static const char *const away[] = { "LOADING", "BUSY", "READONLY", "MASTERDOWN", "MISCONF",
	"NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN" };

static bool is_word(const struct store_reply *reply, size_t size, const char *word)
{
	return strlen(word) == size && size > 0 && memcmp(reply->text, word, size) == 0;
}

enum store_code store_code_of(const struct store_reply *reply, uint64_t *number)
{
	/* The one that has no code of its own. redis.c loads the library meanwhile. */
	static const char unloaded[] = "ERR Function not found";
	*number = 0;
	if (reply->type == STORE_UNKNOWN)
		return STORE_LOST;
	if (reply->type != STORE_ERROR)
		return STORE_DONE;
	size_t word = strcspn(reply->text, " ");
	for (size_t i = 0; i < STORE_CODE__N; i++) {
		if (!is_word(reply, word, codes[i].word))
			continue;
		const char *rest = reply->text + word + (reply->text[word] == ' ');
		(void)store_parse_number(rest, strcspn(rest, " "), number);
		return (enum store_code)i;
	}
	for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
		if (is_word(reply, word, away[i]))
			return STORE_AWAY;
	}
	return strncmp(reply->text, unloaded, sizeof unloaded - 1) == 0 ? STORE_AWAY : STORE_BROKEN;
}

struct store_reply store_read(struct store_reader *r)
{
	static const struct store_reply nil = { .type = STORE_NIL };
	if (r->broken || r->reply->type != STORE_ARRAY || r->at >= r->reply->n) {
		r->broken = true;
		return nil;
	}
	return store_reply_at(r->reply, r->at++);
}

size_t store_read_left(const struct store_reader *r)
{
	return r->broken || r->reply->type != STORE_ARRAY ? 0 : r->reply->n - r->at;
}

struct store_arg store_read_bytes(struct store_reader *r)
{
	struct store_reply next = store_read(r);
	if (next.type != STORE_STR)
		r->broken = true;
	return next.type == STORE_STR ? (struct store_arg){ next.text, next.size }
				      : (struct store_arg){ "", 0 };
}

uint64_t store_read_number(struct store_reader *r)
{
	struct store_reply next = store_read(r);
	uint64_t number = 0;
	if (next.type == STORE_INT && next.integer >= 0)
		return (uint64_t)next.integer;
	if (next.type != STORE_STR || !store_parse_number(next.text, next.size, &number))
		r->broken = true;
	return number;
}

static uint32_t narrow(struct store_reader *r, uint64_t number)
{
	if (number > UINT32_MAX)
		r->broken = true;
	return (uint32_t)number;
}

void store_read_id(struct store_reader *r, uint32_t *epoch, uint64_t *turn)
{
	struct store_arg text = store_read_bytes(r);
	const char *dash = memchr(text.data, '-', text.size);
	size_t front = dash ? (size_t)(dash - (const char *)text.data) : 0;
	uint64_t number = 0;
	if (!dash || !store_parse_number(text.data, front, &number) ||
		!store_parse_number(dash + 1, text.size - front - 1, turn))
		r->broken = true;
	*epoch = narrow(r, number);
}

uint32_t store_read_epoch(struct store_reader *r, bool *adopted)
{
	struct store_arg text = store_read_bytes(r);
	const char *bytes = text.data;
	uint64_t number = 0;
	bool plus = text.size > 0 && bytes[text.size - 1] == '+';
	if (!store_parse_number(bytes, text.size - plus, &number))
		r->broken = true;
	if (adopted)
		*adopted = plus;
	return narrow(r, number);
}
