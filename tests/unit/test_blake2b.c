/* BLAKE2b against known sums: RFC 7693's own, and those of another implementation. */
#include "tests/unit/unit.h"

#include "base/blake2b.h"

static void print(const uint8_t *sum, size_t size, char *out)
{
	for (size_t i = 0; i < size; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static void the_standards_own_example(void **state)
{
	struct base_blake2b h;
	uint8_t sum[64];
	char text[129];

	(void)state;
	base_blake2b_init(&h, sizeof sum);
	base_blake2b_add(&h, "abc", 3);
	base_blake2b_end(&h, sum);
	print(sum, sizeof sum, text);
	assert_string_equal(text,
		"ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
		"7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
}

static const struct {
	size_t size;
	const char *sum;
} rows[] = {
	{ 0, "cae66941d9efbd404e4d88758ea67670" },
	{ 3, "5a71f812e6870c9e179e6e05319c7352" },
	{ 128, "10987546059f4ba6e114f4933aee33a2" },
	{ 129, "25bd156630f298793992d28a84e4628c" },
	{ 1000, "81536df771ff23cdb89da9c53075bb4a" },
};

/* Bytes i × 7 + 1, in pieces of a size. */
static void sum_of(size_t size, size_t piece, char text[33])
{
	struct base_blake2b h;
	uint8_t data[1000], sum[16];

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 7 + 1);
	base_blake2b_init(&h, sizeof sum);
	for (size_t at = 0; at < size; at += piece)
		base_blake2b_add(&h, data + at, size - at < piece ? size - at : piece);
	base_blake2b_end(&h, sum);
	print(sum, sizeof sum, text);
}

static void short_sums_of_messages_around_a_block(void **state)
{
	char text[33];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		sum_of(rows[i].size, 1000, text);
		assert_string_equal(text, rows[i].sum);
	}
}

static void pieces_do_not_matter(void **state)
{
	static const size_t pieces[] = { 1, 7, 64, 127, 128, 129, 256 };
	char text[33];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
			sum_of(rows[i].size, pieces[k], text);
			assert_string_equal(text, rows[i].sum);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_standards_own_example),
		cmocka_unit_test(short_sums_of_messages_around_a_block),
		cmocka_unit_test(pieces_do_not_matter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
