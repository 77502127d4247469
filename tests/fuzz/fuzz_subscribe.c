/* Subscriptions: lines "SERVICE TYPE SOURCE SUBJECT" (a digit and three patterns; - is none), then an
 * empty line, and lines of three values that are matched. The index finds what trying each pattern
 * finds. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/subscribe.h"

#define SERVICES 10

static struct brk_subscription lists[SERVICES][BRK_SUBSCRIPTIONS_MAX];
static size_t n_of[SERVICES];
static struct brk_subscriber services[SERVICES];
static struct brk_subscribe x;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The words of a line; what is missing is NULL. */
static void split(char *line, char *words[4])
{
	char *rest = NULL;

	for (int i = 0; i < 4; i++)
		words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
}

static const char *pattern_of(const char *word)
{
	if (!word || strcmp(word, "-") == 0 || strlen(word) > BRK_PATTERN_MAX)
		return NULL;
	return word;
}

static void subscribe(char *line)
{
	char *words[4];
	size_t service;

	split(line, words);
	if (!words[0] || words[0][0] < '0' || words[0][0] > '9')
		return;
	service = (size_t)(words[0][0] - '0');
	if (n_of[service] == BRK_SUBSCRIPTIONS_MAX)
		return;
	for (int part = 0; part < BRK_TOPIC__N; part++)
		lists[service][n_of[service]].part[part] = pattern_of(words[part + 1]);
	n_of[service]++;
	assert(brk_subscribe_set(&x, &services[service], lists[service], n_of[service]) == BASE_OK);
}

static bool wants(size_t service, const struct brk_topic *topic)
{
	for (size_t i = 0; i < n_of[service]; i++) {
		bool all = true;

		for (int part = 0; part < BRK_TOPIC__N; part++) {
			const char *pattern = lists[service][i].part[part];

			all = all &&
			      (!pattern || brk_pattern_matches(pattern, strlen(pattern),
						   topic->part[part].text, topic->part[part].size));
		}
		if (all)
			return true;
	}
	return false;
}

static void match(char *line)
{
	struct brk_subscriber *found[SERVICES];
	struct brk_topic topic = { 0 };
	char *words[4];
	size_t n, wanted = 0;

	split(line, words);
	for (int part = 0; part < BRK_TOPIC__N; part++) {
		topic.part[part].text = words[part];
		topic.part[part].size = words[part] ? strlen(words[part]) : 0;
	}
	n = brk_subscribe_match(&x, &topic, found, SERVICES);
	assert(n <= SERVICES);
	for (size_t i = 0; i < SERVICES; i++)
		wanted += wants(i, &topic);
	assert(n == wanted);
	for (size_t i = 0; i < n; i++)
		assert(wants((size_t)(found[i] - services), &topic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *line, *next;
	bool matching = false;

	assert(text && brk_subscribe_init(&x, size) == BASE_OK);
	memcpy(text, data, size);
	text[size] = '\0';
	memset(n_of, 0, sizeof n_of);
	for (line = text; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (*line == '\0')
			matching = true;
		else if (matching)
			match(line);
		else
			subscribe(line);
	}
	brk_subscribe_check(&x);
	for (size_t i = 0; i < SERVICES; i++)
		brk_subscribe_clear(&x, &services[i]);
	brk_subscribe_fini(&x);
	free(text);
	return 0;
}
