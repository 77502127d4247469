#include "broker/core/subscribe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define FIRST_BUCKETS 64u

/* A literal at the front of one of the three values. */
struct brk_node {
	struct brk_node *next; /* in its bucket */
	uint64_t hash;
	struct brk_pattern *patterns; /* never empty, but while one is added */
	uint32_t n;
	uint8_t part;
	bool whole; /* the value is this; otherwise it begins with it */
	uint16_t size;
	char text[];
};

struct glob {
	const char *text; /* not ended by a NUL */
	uint16_t size;
	uint16_t head; /* bytes before the first *; size: there is none */
};

struct brk_pattern {
	struct brk_pattern *prev, *next; /* the node's */
	struct brk_node *node;
	struct brk_subscriber *who;
	struct glob part[BRK_TOPIC__N];
};

/* ---- one pattern ---------------------------------------------------------- */

/* Both ends are literals that were compared; between them, literals between stars. */
static bool parts_occur(const char *pattern, const char *end, const char *text, size_t size)
{
	while (pattern < end) {
		const char *star = memchr(pattern, '*', (size_t)(end - pattern)), *found;
		size_t literal = (size_t)(star - pattern);

		found = literal > 0 ? memmem(text, size, pattern, literal) : text;
		if (!found)
			return false;
		size -= (size_t)(found - text) + literal;
		text = found + literal;
		pattern = star + 1;
	}
	return true;
}

static bool starts_with(const struct glob *glob, const char *text, size_t size)
{
	return size >= glob->head && (glob->head == 0 || memcmp(glob->text, text, glob->head) == 0);
}

static bool glob_matches(const struct glob *glob, const char *text, size_t size)
{
	const char *end = glob->text + glob->size, *tail;
	size_t tail_size;

	if (!starts_with(glob, text, size))
		return false;
	if (glob->head == glob->size)
		return size == glob->size;
	for (tail = end; tail[-1] != '*'; tail--)
		;
	tail_size = (size_t)(end - tail);
	if (size - glob->head < tail_size)
		return false;
	if (tail_size > 0 && memcmp(tail, text + size - tail_size, tail_size) != 0)
		return false;
	if (tail == glob->text + glob->head + 1)
		return true;
	return parts_occur(glob->text + glob->head + 1, tail, text + glob->head,
		size - glob->head - tail_size);
}

static struct glob glob_of(const char *text, size_t size)
{
	const char *star = size > 0 ? memchr(text, '*', size) : NULL;

	return (struct glob){ text, (uint16_t)size,
		(uint16_t)(star ? (size_t)(star - text) : size) };
}

bool brk_pattern_matches(const char *pattern, size_t pattern_size, const char *text, size_t size)
{
	struct glob glob = glob_of(pattern, pattern_size);

	assert(pattern_size <= BRK_PATTERN_MAX);
	return glob_matches(&glob, text ? text : "", size);
}

static bool matches(const struct brk_pattern *pattern, const struct brk_topic *topic)
{
	for (int i = 0; i < BRK_TOPIC__N; i++)
		if (!glob_matches(&pattern->part[i], topic->part[i].text, topic->part[i].size))
			return false;
	return true;
}

/* ---- nodes ---------------------------------------------------------------- */

static uint64_t hash_start(const struct brk_subscribe *x, int part)
{
	return x->seed + (uint64_t)(part + 1) * 0x9E3779B97F4A7C15u;
}

/* The low bits of the sum would hear nothing of the bytes' high ones without the shift. */
static uint64_t hash_byte(uint64_t hash, char byte)
{
	hash = (hash ^ (uint8_t)byte) * 0xD6E8FEB86659FD93u;
	return hash ^ hash >> 32;
}

static uint64_t hash_all(const struct brk_subscribe *x, int part, const char *text, size_t size)
{
	uint64_t hash = hash_start(x, part);

	for (size_t i = 0; i < size; i++)
		hash = hash_byte(hash, text[i]);
	return hash;
}

static struct brk_node *node_find(const struct brk_subscribe *x, int part, bool whole,
	const char *text, size_t size, uint64_t hash)
{
	struct brk_node *node = x->buckets[hash & x->mask];

	while (node && (node->hash != hash || node->part != part || node->whole != whole ||
			       node->size != size || memcmp(node->text, text, size) != 0))
		node = node->next;
	return node;
}

/* Longer chains are slower, not wrong. */
static void grow(struct brk_subscribe *x)
{
	size_t mask = x->mask * 2 + 1;
	struct brk_node **wider = calloc(mask + 1, sizeof(struct brk_node *));

	if (!wider)
		return;
	for (size_t i = 0; i <= x->mask; i++) {
		while (x->buckets[i]) {
			struct brk_node *node = x->buckets[i];

			x->buckets[i] = node->next;
			LL_PREPEND(wider[node->hash & mask], node);
		}
	}
	free(x->buckets);
	x->buckets = wider;
	x->mask = mask;
}

static struct brk_node *node_new(
	struct brk_subscribe *x, int part, const struct glob *glob, uint64_t hash)
{
	struct brk_node *node = calloc(1, sizeof *node + glob->head);

	if (!node)
		return NULL;
	node->hash = hash;
	node->part = (uint8_t)part;
	node->whole = glob->head == glob->size;
	node->size = glob->head;
	memcpy(node->text, glob->text, glob->head);
	if (x->n_nodes > x->mask)
		grow(x);
	LL_PREPEND(x->buckets[hash & x->mask], node);
	x->n_nodes++;
	x->lengths[part][node->whole][node->size]++;
	if (node->size > x->longest[part])
		x->longest[part] = node->size;
	return node;
}

static void node_free(struct brk_subscribe *x, struct brk_node *node)
{
	LL_DELETE(x->buckets[node->hash & x->mask], node);
	x->n_nodes--;
	x->lengths[node->part][node->whole][node->size]--;
	free(node);
}

/* ---- subscribing ---------------------------------------------------------- */

/* A pattern that begins with * says nothing about the front of its value. Where none does, the type's
 * empty front has to do. */
static int choose_part(const struct brk_subscribe *x, const struct brk_pattern *pattern)
{
	int best = BRK_TOPIC_TYPE;
	uint32_t least = UINT32_MAX;

	for (int i = 0; i < BRK_TOPIC__N; i++) {
		const struct glob *glob = &pattern->part[i];
		const struct brk_node *node;

		if (glob->head == 0 && glob->size > 0)
			continue;
		node = node_find(x, i, glob->head == glob->size, glob->text, glob->head,
			hash_all(x, i, glob->text, glob->head));
		if (!node)
			return i;
		if (node->n < least) {
			least = node->n;
			best = i;
		}
	}
	return best;
}

static bool hang(struct brk_subscribe *x, struct brk_pattern *pattern)
{
	int part = choose_part(x, pattern);
	const struct glob *glob = &pattern->part[part];
	uint64_t hash = hash_all(x, part, glob->text, glob->head);
	struct brk_node *node =
		node_find(x, part, glob->head == glob->size, glob->text, glob->head, hash);

	if (!node && !(node = node_new(x, part, glob, hash)))
		return false;
	pattern->node = node;
	DL_APPEND(node->patterns, pattern);
	node->n++;
	x->n_patterns++;
	return true;
}

static void take_down(struct brk_subscribe *x, struct brk_pattern *pattern)
{
	struct brk_node *node = pattern->node;

	DL_DELETE(node->patterns, pattern);
	x->n_patterns--;
	if (--node->n == 0)
		node_free(x, node);
}

static const char *text_of(const struct brk_subscription *from, int part)
{
	return from->part[part] ? from->part[part] : "*";
}

static size_t texts_size(const struct brk_subscription *list, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		for (int part = 0; part < BRK_TOPIC__N; part++)
			size += strlen(text_of(&list[i], part));
	return size;
}

/* The patterns and, behind them, all their texts. */
static struct brk_pattern *copy(
	struct brk_subscriber *who, const struct brk_subscription *list, size_t n)
{
	struct brk_pattern *patterns = calloc(1, n * sizeof *patterns + texts_size(list, n));
	char *text = (char *)(patterns ? patterns + n : NULL);

	for (size_t i = 0; patterns && i < n; i++) {
		patterns[i].who = who;
		for (int part = 0; part < BRK_TOPIC__N; part++) {
			const char *from = text_of(&list[i], part);
			size_t size = strlen(from);

			assert(size <= BRK_PATTERN_MAX);
			memcpy(text, from, size);
			patterns[i].part[part] = glob_of(text, size);
			text += size;
		}
	}
	return patterns;
}

enum base_err brk_subscribe_set(struct brk_subscribe *x, struct brk_subscriber *who,
	const struct brk_subscription *list, size_t n)
{
	struct brk_pattern *patterns = NULL;
	size_t hung;

	if (n > 0 && !(patterns = copy(who, list, n)))
		return BASE_NOMEM;
	for (hung = 0; hung < n; hung++)
		if (!hang(x, &patterns[hung]))
			goto fail;
	brk_subscribe_clear(x, who);
	who->patterns = patterns;
	who->n = n;
	return BASE_OK;
fail:
	while (hung > 0)
		take_down(x, &patterns[--hung]);
	free(patterns);
	return BASE_NOMEM;
}

void brk_subscribe_clear(struct brk_subscribe *x, struct brk_subscriber *who)
{
	for (size_t i = 0; i < who->n; i++)
		take_down(x, &who->patterns[i]);
	free(who->patterns);
	*who = (struct brk_subscriber){ .n = 0 };
}

/* ---- matching ------------------------------------------------------------- */

struct found {
	struct brk_subscriber **out;
	size_t room, n;
};

static void look(struct brk_subscribe *x, const struct brk_node *node,
	const struct brk_topic *topic, struct found *found)
{
	const struct brk_pattern *pattern;

	DL_FOREACH (node->patterns, pattern) {
		struct brk_subscriber *who = pattern->who;

		if (who->seen == x->serial || !matches(pattern, topic))
			continue;
		who->seen = x->serial;
		if (found->n < found->room)
			found->out[found->n] = who;
		found->n++;
	}
}

static void look_at(struct brk_subscribe *x, int part, bool whole, size_t size, uint64_t hash,
	const struct brk_topic *topic, struct found *found)
{
	const struct brk_node *node;

	if (x->lengths[part][whole][size] == 0)
		return;
	node = node_find(x, part, whole, topic->part[part].text, size, hash);
	if (node)
		look(x, node, topic, found);
}

static void match_part(
	struct brk_subscribe *x, int part, const struct brk_topic *topic, struct found *found)
{
	const char *text = topic->part[part].text;
	size_t size = topic->part[part].size;
	size_t longest = size < x->longest[part] ? size : x->longest[part];
	uint64_t hash = hash_start(x, part);

	for (size_t i = 0; i <= longest; i++) {
		look_at(x, part, false, i, hash, topic, found);
		if (i == size)
			look_at(x, part, true, i, hash, topic, found);
		else if (i < longest)
			hash = hash_byte(hash, text[i]);
	}
}

size_t brk_subscribe_match(struct brk_subscribe *x, const struct brk_topic *topic,
	struct brk_subscriber **out, size_t room)
{
	struct found found = { out, room, 0 };
	struct brk_topic whole = *topic;

	if (x->n_patterns == 0)
		return 0;
	x->serial++;
	for (int part = 0; part < BRK_TOPIC__N; part++)
		if (!whole.part[part].text)
			whole.part[part].text = "";
	for (int part = 0; part < BRK_TOPIC__N; part++)
		match_part(x, part, &whole, &found);
	return found.n;
}

/* ---- life ----------------------------------------------------------------- */

enum base_err brk_subscribe_init(struct brk_subscribe *x, uint64_t seed)
{
	*x = (struct brk_subscribe){ .mask = FIRST_BUCKETS - 1, .seed = seed };
	x->buckets = calloc(FIRST_BUCKETS, sizeof(struct brk_node *));
	return x->buckets ? BASE_OK : BASE_NOMEM;
}

void brk_subscribe_fini(struct brk_subscribe *x)
{
	assert(x->n_patterns == 0 && x->n_nodes == 0);
	free(x->buckets);
	x->buckets = NULL;
}

static void check_node(const struct brk_node *node)
{
	const struct brk_pattern *pattern;
	uint32_t n = 0;

	assert(node->patterns && node->size <= BRK_PATTERN_MAX);
	DL_FOREACH (node->patterns, pattern) {
		const struct glob *glob = &pattern->part[node->part];

		assert(pattern->node == node && pattern >= pattern->who->patterns &&
			pattern < pattern->who->patterns + pattern->who->n);
		assert(glob->head == node->size && (glob->size == glob->head) == node->whole);
		assert(node->size == 0 || memcmp(glob->text, node->text, node->size) == 0);
		n++;
	}
	assert(n == node->n);
}

void brk_subscribe_check(const struct brk_subscribe *x)
{
	uint32_t lengths[BRK_TOPIC__N][2][BRK_PATTERN_MAX + 1] = { 0 };
	size_t nodes = 0, patterns = 0;

	for (size_t i = 0; i <= x->mask; i++) {
		for (const struct brk_node *node = x->buckets[i]; node; node = node->next) {
			check_node(node);
			assert((node->hash & x->mask) == i && node->size <= x->longest[node->part]);
			lengths[node->part][node->whole][node->size]++;
			nodes++;
			patterns += node->n;
		}
	}
	assert(nodes == x->n_nodes && patterns == x->n_patterns);
	assert(memcmp(lengths, x->lengths, sizeof lengths) == 0);
}
