/* The settings file and single values on any bytes: they are taken within their
 * bounds, or refused with one line.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
	char *name;
	char *listen;
	uint32_t workers;
	uint32_t lease_ms;
	uint64_t max_body;
	bool strict;
	unsigned durability;
};

#define AT(member) offsetof(struct settings, member)

static const struct base_conf_row rows[] = {
	{ "name", BASE_CONF_STR, AT(name), NULL, 0, 0, NULL, "a text" },
	{ "listen", BASE_CONF_ADDRESS, AT(listen), NULL, 0, 0, NULL, "an address" },
	{ "workers", BASE_CONF_U32, AT(workers), NULL, 1, 64, NULL, "a number" },
	{ "lease-ms", BASE_CONF_MS, AT(lease_ms), NULL, 100, 86400000, NULL, "a duration" },
	{ "max-body", BASE_CONF_BYTES, AT(max_body), NULL, 0, 1 << 30, NULL, "a size" },
	{ "strict", BASE_CONF_BOOL, AT(strict), NULL, 0, 0, NULL, "a switch" },
	{ "durability", BASE_CONF_CHOICE, AT(durability), NULL, 0, 0, "always|everysec|none",
		"a choice" },
	{ 0 },
};

static const struct base_conf_program program = {
	.name = "fuzz", .synopsis = "", .about = "", .rows = rows
};

static void check(const struct settings *s)
{
	assert(s->workers <= 64);
	assert(s->lease_ms == 0 || (s->lease_ms >= 100 && s->lease_ms <= 86400000));
	assert(s->max_body <= 1 << 30);
	assert(s->durability <= 2);
	assert(!s->listen || strchr(s->listen, ':'));
}

static void check_line(const char *why)
{
	assert(*why && !strchr(why, '\n'));
	assert(base_text_is_utf8(why, strlen(why)));
}

/* The same bytes as one value for each row. */
static void try_values(const char *text)
{
	struct settings s = { 0 };

	for (const struct base_conf_row *row = rows; row->name; row++) {
		const char *why = NULL;
		if (base_conf_set(rows, &s, row->name, text, &why))
			check_line(why);
		check(&s);
	}
	base_conf_free(&program, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = { 0 };
	char why[256] = "";
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (base_conf_parse(rows, &s, (const char *)data, size, why, sizeof why))
		assert(strncmp(why, "line ", 5) == 0 && !strchr(why, '\n'));
	check(&s);
	base_conf_free(&program, &s);
	try_values(text);
	free(text);
	return 0;
}
