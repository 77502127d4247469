/* How long the broker's core takes to find the services that an event goes to, with a thousand
 * subscriptions: one core, nothing around it.
 *
 *   subscribe [--subscriptions 1000] [--seconds 1]
 *
 * Prints key=value lines: nanoseconds an event for subscriptions to
 *
 *   types     a type each
 *   families  a family of types each (order17.*)
 *   sources   one type, from a source each
 *   suffixes  what ends in something each (*.order17.created)
 *   insides   what holds something each (*.order17.*)
 *   between   the same, where all have one front and one back (com.*.order17.*.created)
 *   mixed     all of these
 *   letters   the worst case: three letters somewhere, each of which is in many types (*a*e*d*)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "broker/core/subscribe.h"

#define MOST   10000u
#define EVENTS 4096u

static struct brk_subscribe index_;
static struct brk_subscriber subscribers[MOST];
static size_t n_subscriptions = 1000;
static char types[EVENTS][48], sources[EVENTS][48];

enum shape { TYPES, FAMILIES, SOURCES, SUFFIXES, INSIDES, BETWEEN, MIXED, LETTERS };

static void subscribe(enum shape shape, size_t i)
{
	struct brk_subscription one = { 0 };
	char type[48], source[48];

	snprintf(source, sizeof source, "/shops/%zu/*", i);
	switch (shape == MIXED ? (enum shape)(i % MIXED) : shape) {
	case TYPES:
		snprintf(type, sizeof type, "com.example.order%zu.created", i);
		break;
	case FAMILIES:
		snprintf(type, sizeof type, "com.example.order%zu.*", i);
		break;
	case SUFFIXES:
		snprintf(type, sizeof type, "*.order%zu.created", i);
		break;
	case INSIDES:
		snprintf(type, sizeof type, "*.order%zu.*", i);
		break;
	case BETWEEN:
		snprintf(type, sizeof type, "com.*.order%zu.*created", i);
		break;
	case LETTERS:
		snprintf(type, sizeof type, "*%c*%c*%c*", (char)('a' + i % 10),
			(char)('a' + i / 10 % 10), (char)('a' + i / 100 % 10));
		break;
	default:
		snprintf(type, sizeof type, "com.example.*.created");
		one.part[BRK_TOPIC_SOURCE] = source;
	}
	one.part[BRK_TOPIC_TYPE] = type;
	if (brk_subscribe_set(&index_, &subscribers[i], &one, 1))
		abort();
}

static void measure(const char *name, enum shape shape, double seconds)
{
	struct brk_subscriber *found[64];
	uint64_t start, now, n_events = 0, n_found = 0;

	for (size_t i = 0; i < n_subscriptions; i++)
		subscribe(shape, i);
	start = now = base_clock_us();
	while (now < start + (uint64_t)(seconds * 1e6)) {
		for (size_t i = 0; i < EVENTS; i++) {
			struct brk_topic topic = { { { types[i], strlen(types[i]) },
				{ sources[i], strlen(sources[i]) }, { "a-subject", 9 } } };

			n_found += brk_subscribe_match(&index_, &topic, found, 64);
		}
		n_events += EVENTS;
		now = base_clock_us();
	}
	printf("%s_ns=%.0f\n%s_found=%.3f\n", name, (double)(now - start) * 1e3 / (double)n_events,
		name, (double)n_found / (double)n_events);
	for (size_t i = 0; i < n_subscriptions; i++)
		brk_subscribe_clear(&index_, &subscribers[i]);
}

int main(int argc, char **argv)
{
	struct base_rand rand;
	double seconds = 1;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--subscriptions") == 0)
			n_subscriptions = strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtod(argv[i + 1], NULL);
		else
			n_subscriptions = 0;
	}
	if (n_subscriptions == 0 || n_subscriptions > MOST) {
		fprintf(stderr, "usage: subscribe [--subscriptions 1..%u] [--seconds S]\n", MOST);
		return 2;
	}
	if (brk_subscribe_init(&index_, 1))
		return 1;
	base_rand_init(&rand, 1);
	for (size_t i = 0; i < EVENTS; i++) {
		snprintf(types[i], sizeof types[i], "com.example.order%u.created",
			(unsigned)base_rand_below(&rand, n_subscriptions));
		snprintf(sources[i], sizeof sources[i], "/shops/%u/till",
			(unsigned)base_rand_below(&rand, n_subscriptions));
	}
	printf("subscriptions=%zu\n", n_subscriptions);
	measure("types", TYPES, seconds);
	measure("families", FAMILIES, seconds);
	measure("sources", SOURCES, seconds);
	measure("suffixes", SUFFIXES, seconds);
	measure("insides", INSIDES, seconds);
	measure("between", BETWEEN, seconds);
	measure("mixed", MIXED, seconds);
	measure("letters", LETTERS, seconds);
	brk_subscribe_fini(&index_);
	return 0;
}
