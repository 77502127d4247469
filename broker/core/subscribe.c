#include "broker/core/subscribe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define FIRST_BUCKETS 64u
#define FEW           2u /* patterns that are compared sooner than a value's insides are looked up */

/* Where in the value a node's literal stands. */
enum place { WHOLE, FRONT, BACK, INSIDE };

/* A literal of one of the three values. */
struct brk_node {
	struct brk_node *next; /* in its bucket */
	uint64_t hash;
	struct brk_pattern *patterns; /* never empty, but while one is added */
	uint64_t seen;                /* the last match that looked here */
	uint32_t n;
	uint8_t part, place;
	uint16_t size;
	char text[];
};

struct glob {
	const char *text; /* not ended by a NUL */
	uint16_t size;
	uint16_t head; /* bytes before the first *; size: there is none */
	uint16_t tail; /* bytes behind the last *; 0 when there is none */
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

static bool same(const char *a, const char *b, size_t size)
{
	return size == 0 || memcmp(a, b, size) == 0;
}

static bool glob_matches(const struct glob *glob, const char *text, size_t size)
{
	const char *inside = glob->text + glob->head, *tail = glob->text + glob->size - glob->tail;

	if (glob->head == glob->size)
		return size == glob->size && same(glob->text, text, size);
	if (size < (size_t)glob->head + glob->tail || !same(glob->text, text, glob->head) ||
		!same(tail, text + size - glob->tail, glob->tail))
		return false;
	return parts_occur(inside + 1, tail, text + glob->head, size - glob->head - glob->tail);
}

static struct glob glob_of(const char *text, size_t size)
{
	const char *first = size > 0 ? memchr(text, '*', size) : NULL;
	const char *last = first ? memrchr(text, '*', size) : NULL;

	return (struct glob){ text, (uint16_t)size,
		(uint16_t)(first ? (size_t)(first - text) : size),
		(uint16_t)(last ? size - (size_t)(last - text) - 1 : 0) };
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

/* The bytes' polynomial at x->base: it grows at either end, and a window of it moves on by one byte,
 * for one product each. */
static uint64_t poly_of(const struct brk_subscribe *x, const char *text, size_t size)
{
	uint64_t poly = 0;

	for (size_t i = 0; i < size; i++)
		poly = poly * x->base[0] + (uint8_t)text[i];
	return poly;
}

/* A polynomial's low bits hear nothing of the bytes' high ones. */
static uint64_t hash_of(uint64_t poly, int part, enum place place)
{
	uint64_t hash = (poly ^ (uint64_t)(part * 4 + (int)place + 1) << 56) * 0xD6E8FEB86659FD93u;

	return hash ^ hash >> 32;
}

/* The node of the value's bytes whose polynomial this is. */
static struct brk_node *node_find(const struct brk_subscribe *x, int part, enum place place,
	const char *text, size_t size, uint64_t poly)
{
	uint64_t hash = hash_of(poly, part, place);
	struct brk_node *node = x->buckets[hash & x->mask];

	while (node && (node->hash != hash || node->part != part || node->place != place ||
			       node->size != size || !same(node->text, text, size)))
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

/* What a node is made of. */
struct literal {
	const char *text;
	size_t size;
	int part;
	enum place place;
};

static struct brk_node *node_of(const struct brk_subscribe *x, const struct literal *literal)
{
	return node_find(x, literal->part, literal->place, literal->text, literal->size,
		poly_of(x, literal->text, literal->size));
}

static struct brk_node *node_new(struct brk_subscribe *x, const struct literal *literal)
{
	struct brk_node *node = calloc(1, sizeof *node + literal->size);
	size_t *longest = &x->longest[literal->part][literal->place];

	if (!node)
		return NULL;
	node->hash = hash_of(
		poly_of(x, literal->text, literal->size), literal->part, literal->place);
	node->part = (uint8_t)literal->part;
	node->place = (uint8_t)literal->place;
	node->size = (uint16_t)literal->size;
	if (literal->size > 0)
		memcpy(node->text, literal->text, literal->size);
	if (x->n_nodes > x->mask)
		grow(x);
	LL_PREPEND(x->buckets[node->hash & x->mask], node);
	x->n_nodes++;
	x->lengths[literal->part][literal->place][literal->size]++;
	if (literal->size > *longest)
		*longest = literal->size;
	return node;
}

static void node_free(struct brk_subscribe *x, struct brk_node *node)
{
	LL_DELETE(x->buckets[node->hash & x->mask], node);
	x->n_nodes--;
	x->lengths[node->part][node->place][node->size]--;
	free(node);
}

/* ---- subscribing ---------------------------------------------------------- */

struct choice {
	struct literal literal;
	uint32_t least; /* patterns that hang there; UINT32_MAX: any literal is better */
};

static void consider(const struct brk_subscribe *x, struct choice *best, struct literal literal)
{
	const struct brk_node *node;

	if (best->least == 0)
		return;
	node = node_of(x, &literal);
	if (!node || node->n < best->least)
		*best = (struct choice){ literal, node ? node->n : 0 };
}

static void consider_ends(
	const struct brk_subscribe *x, struct choice *best, const struct brk_pattern *pattern)
{
	for (int part = 0; part < BRK_TOPIC__N; part++) {
		const struct glob *glob = &pattern->part[part];
		bool whole = glob->head == glob->size;

		if (whole || glob->head > 0)
			consider(x, best,
				(struct literal){
					glob->text, glob->head, part, whole ? WHOLE : FRONT });
	}
	for (int part = 0; part < BRK_TOPIC__N; part++) {
		const struct glob *glob = &pattern->part[part];

		if (glob->tail > 0)
			consider(x, best,
				(struct literal){ glob->text + glob->size - glob->tail, glob->tail,
					part, BACK });
	}
}

/* The largest power of two that fits, at most the longest window: a value is searched once for each size. */
static size_t window_of(size_t literal)
{
	size_t size = BRK_WINDOW_MAX;

	while (size > literal)
		size /= 2;
	return size;
}

/* All the windows of all the literals between stars. */
static void consider_inside(const struct brk_subscribe *x, struct choice *best, int part,
	const struct glob *glob)
{
	const char *end = glob->text + glob->size - glob->tail, *from, *star;

	for (from = glob->text + glob->head + 1; from < end; from = star + 1) {
		size_t size;

		star = memchr(from, '*', (size_t)(end - from));
		size = window_of((size_t)(star - from));
		for (; size > 0 && from + size <= star; from++)
			consider(x, best, (struct literal){ from, size, part, INSIDE });
	}
}

static struct literal choose(const struct brk_subscribe *x, const struct brk_pattern *pattern)
{
	struct choice best = { { "", 0, BRK_TOPIC_TYPE, FRONT }, UINT32_MAX };

	consider_ends(x, &best, pattern);
	for (int part = 0; part < BRK_TOPIC__N && best.least >= FEW; part++)
		if (pattern->part[part].head < pattern->part[part].size)
			consider_inside(x, &best, part, &pattern->part[part]);
	return best.literal;
}

static bool hang(struct brk_subscribe *x, struct brk_pattern *pattern)
{
	struct literal literal = choose(x, pattern);
	struct brk_node *node = node_of(x, &literal);

	if (!node && !(node = node_new(x, &literal)))
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

/* A literal may stand in a value more than once. */
static void look(struct brk_subscribe *x, struct brk_node *node, const struct brk_topic *topic,
	struct found *found)
{
	const struct brk_pattern *pattern;

	if (node->seen == x->serial)
		return;
	node->seen = x->serial;
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

/* What is matched, and with what. */
struct search {
	struct brk_subscribe *x;
	const struct brk_topic *topic;
	struct found found;
};

static bool has(const struct search *search, int part, enum place place, size_t size)
{
	return search->x->lengths[part][place][size] > 0;
}

static void look_at(struct search *search, int part, enum place place, const char *text,
	size_t size, uint64_t poly)
{
	struct brk_node *node = node_find(search->x, part, place, text, size, poly);

	if (node)
		look(search->x, node, search->topic, &search->found);
}

static size_t at_most(const struct search *search, int part, enum place place)
{
	size_t size = search->topic->part[part].size, longest = search->x->longest[part][place];

	return size < longest ? size : longest;
}

static void match_fronts(struct search *search, int part)
{
	const char *text = search->topic->part[part].text;
	size_t size = search->topic->part[part].size, fronts = at_most(search, part, FRONT);
	size_t longest = size <= search->x->longest[part][WHOLE] ? size : fronts;
	uint64_t poly = 0;

	for (size_t i = 0;; i++) {
		if (i <= fronts && has(search, part, FRONT, i))
			look_at(search, part, FRONT, text, i, poly);
		if (i == longest)
			break;
		poly = poly * search->x->base[0] + (uint8_t)text[i];
	}
	if (longest == size && size <= BRK_PATTERN_MAX && has(search, part, WHOLE, size))
		look_at(search, part, WHOLE, text, size, poly);
}

static void match_backs(struct search *search, int part)
{
	const char *text = search->topic->part[part].text;
	size_t size = search->topic->part[part].size, longest = at_most(search, part, BACK);
	uint64_t poly = 0, power = 1;

	for (size_t i = 1; i <= longest; i++) {
		poly += power * (uint8_t)text[size - i];
		power *= search->x->base[0];
		if (has(search, part, BACK, i))
			look_at(search, part, BACK, text + size - i, i, poly);
	}
}

/* base: of the window's size. */
static void match_windows(struct search *search, int part, size_t window, uint64_t base)
{
	const char *text = search->topic->part[part].text;
	size_t size = search->topic->part[part].size;
	uint64_t poly = poly_of(search->x, text, window);

	for (size_t i = 0;; i++) {
		look_at(search, part, INSIDE, text + i, window, poly);
		if (i + window == size)
			break;
		poly = poly * search->x->base[0] + (uint8_t)text[i + window] -
		       base * (uint8_t)text[i];
	}
}

static void match_inside(struct search *search, int part)
{
	size_t window = 1;

	for (unsigned i = 0; i < BRK_WINDOWS; i++, window *= 2)
		if (has(search, part, INSIDE, window) && window <= search->topic->part[part].size)
			match_windows(search, part, window, search->x->base[i]);
}

size_t brk_subscribe_match(struct brk_subscribe *x, const struct brk_topic *topic,
	struct brk_subscriber **out, size_t room)
{
	struct brk_topic whole = *topic;
	struct search search = { x, &whole, { out, room, 0 } };

	if (x->n_patterns == 0)
		return 0;
	x->serial++;
	for (int part = 0; part < BRK_TOPIC__N; part++)
		if (!whole.part[part].text)
			whole.part[part].text = "";
	for (int part = 0; part < BRK_TOPIC__N; part++) {
		match_fronts(&search, part);
		match_backs(&search, part);
		match_inside(&search, part);
	}
	return search.found.n;
}

/* ---- life ----------------------------------------------------------------- */

enum base_err brk_subscribe_init(struct brk_subscribe *x, uint64_t seed)
{
	*x = (struct brk_subscribe){ .mask = FIRST_BUCKETS - 1 };
	x->base[0] = hash_of(seed, 0, WHOLE) | 1;
	for (unsigned i = 1; i < BRK_WINDOWS; i++)
		x->base[i] = x->base[i - 1] * x->base[i - 1];
	x->buckets = calloc(FIRST_BUCKETS, sizeof(struct brk_node *));
	return x->buckets ? BASE_OK : BASE_NOMEM;
}

void brk_subscribe_fini(struct brk_subscribe *x)
{
	assert(x->n_patterns == 0 && x->n_nodes == 0);
	free(x->buckets);
	x->buckets = NULL;
}

/* Whether the node's literal stands where it should in the pattern. */
static bool holds(const struct glob *glob, const struct brk_node *node)
{
	const char *from = glob->text;
	size_t room = glob->head;

	if (node->place == WHOLE)
		return glob->head == glob->size && node->size == glob->size &&
		       same(from, node->text, node->size);
	if (glob->head == glob->size)
		return false;
	if (node->place == BACK) {
		room = glob->tail;
		from += glob->size - room;
	}
	if (node->place == INSIDE)
		return node->size == window_of(node->size) &&
		       !memchr(node->text, '*', node->size) &&
		       memmem(from + glob->head, glob->size - glob->head - (size_t)glob->tail,
			       node->text, node->size);
	return (node->size == room && same(from, node->text, room)) ||
	       (node->place == FRONT && node->size == 0);
}

static void check_node(const struct brk_node *node)
{
	const struct brk_pattern *pattern;
	uint32_t n = 0;

	assert(node->patterns && node->size <= BRK_PATTERN_MAX);
	DL_FOREACH (node->patterns, pattern) {
		assert(pattern->node == node && pattern >= pattern->who->patterns &&
			pattern < pattern->who->patterns + pattern->who->n);
		assert(holds(&pattern->part[node->part], node));
		n++;
	}
	assert(n == node->n);
}

void brk_subscribe_check(const struct brk_subscribe *x)
{
	uint32_t lengths[BRK_TOPIC__N][BRK_PLACES][BRK_PATTERN_MAX + 1] = { 0 };
	size_t nodes = 0, patterns = 0;

	for (size_t i = 0; i <= x->mask; i++) {
		for (const struct brk_node *node = x->buckets[i]; node; node = node->next) {
			check_node(node);
			assert((node->hash & x->mask) == i &&
				node->size <= x->longest[node->part][node->place]);
			lengths[node->part][node->place][node->size]++;
			nodes++;
			patterns += node->n;
		}
	}
	assert(nodes == x->n_nodes && patterns == x->n_patterns);
	assert(memcmp(lengths, x->lengths, sizeof lengths) == 0);
}
