/* Who wants which events: the patterns of all services' subscriptions, and the services whose
 * patterns an event's type, source and subject match.
 *
 * A pattern is text in which each * stands for any sequence of bytes, none included; there is
 * no way to write a * that means itself. A subscription has up to one pattern for each of the
 * three, and all of them must match; what it leaves out matches anything, and an event
 * without a subject has an empty one.
 *
 * The index: each subscription hangs from a node, which is a literal that the event's value
 * must be (no * at all), must begin with (the text before the first *), must end with
 * (behind the last *), or must hold somewhere: a window of a literal between two stars, 1, 2,
 * 4, 8 or 16 bytes of it. Which of all these it is is chosen when the subscription is added: the node that
 * has the fewest by then. So a thousand services that subscribe to one type from a source
 * each hang from a thousand nodes, not from one, and of "*.order17.*" it is not ".order"
 * that is looked for. An event's values are hashed once from front to back, and once from back to
 * front; at each length for which there are nodes one is looked up. For windows a value is
 * gone through once for each of their five sizes that is in use; because each event pays for
 * that, they are chosen only where at an end more than a few patterns would hang together.
 * What hangs at a node that is found is compared in full.
 *
 * The worst case is left: a thousand patterns whose pieces are all short, and all in
 * most events ("*a*b*"), are each compared.
 *
 * Comparing is linear in pattern and value together: between its first and its last literal
 * a pattern's parts are found from left to right, each where it occurs first, and never again.
 * (The first place is as good as any later one: it leaves the most for what follows.)
 *
 * Not here: what a pattern may be (registry.c judges it), and what becomes of a match (accept.c).
 */
#ifndef BROKER_CORE_SUBSCRIBE_H
#define BROKER_CORE_SUBSCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BRK_PATTERN_MAX       255u /* bytes */
#define BRK_SUBSCRIPTIONS_MAX 64u  /* of a service */
#define BRK_PLACES            4u   /* of a literal in a value */
#define BRK_WINDOWS           5u   /* 1, 2, 4, 8 and 16 bytes */
#define BRK_WINDOW_MAX        (1u << (BRK_WINDOWS - 1))

enum brk_topic_part { BRK_TOPIC_TYPE, BRK_TOPIC_SOURCE, BRK_TOPIC_SUBJECT, BRK_TOPIC__N };

/* What an event says of itself; any bytes. text NULL: size is 0. */
struct brk_topic {
	struct {
		const char *text;
		size_t size;
	} part[BRK_TOPIC__N];
};

/* NULL: anything. Each at most BRK_PATTERN_MAX bytes. */
struct brk_subscription {
	const char *part[BRK_TOPIC__N];
};

struct brk_pattern;
struct brk_node;

/* Whoever subscribes: a part of a service. All zero: to nothing. Stays where it is while it subscribes. */
struct brk_subscriber {
	struct brk_pattern *patterns;
	size_t n;
	uint64_t seen; /* the last match that found it */
};

struct brk_subscribe {
	struct brk_node **buckets;
	size_t mask, n_nodes, n_patterns;
	uint64_t serial;
	/* Of the hash, to the powers 1, 2, 4, 8 and 16. From the seed: patterns come from outside, and must not
	 * choose their chain. */
	uint64_t base[BRK_WINDOWS];
	uint32_t lengths[BRK_TOPIC__N][BRK_PLACES][BRK_PATTERN_MAX + 1]; /* nodes of each */
	size_t longest[BRK_TOPIC__N][BRK_PLACES]; /* no node is longer; may be too much */
};

BASE_MUSTUSE enum base_err brk_subscribe_init(struct brk_subscribe *x, uint64_t seed);
void brk_subscribe_fini(struct brk_subscribe *x); /* nobody subscribes any more */

/* Its subscriptions are these from now on; copies are made. NOMEM: they are what they were. */
BASE_MUSTUSE enum base_err brk_subscribe_set(struct brk_subscribe *x, struct brk_subscriber *who,
	const struct brk_subscription *list, size_t n);
void brk_subscribe_clear(struct brk_subscribe *x, struct brk_subscriber *who);

/* The subscribers that an event goes to, each once, in no order but the same for the same index. Writes
 * the first room of them and returns how many there are. */
size_t brk_subscribe_match(struct brk_subscribe *x, const struct brk_topic *topic,
	struct brk_subscriber **out, size_t room);

/* One pattern and one value. */
bool brk_pattern_matches(const char *pattern, size_t pattern_size, const char *text, size_t size);

void brk_subscribe_check(const struct brk_subscribe *x); /* asserts; slow */

#endif
