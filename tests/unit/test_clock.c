#include "tests/unit/unit.h"

#include <time.h>

#include "base/clock.h"

static void the_monotonic_clock_never_goes_back(void **state)
{
	uint64_t last = base_clock_us();

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t now = base_clock_us();
		assert_true(now >= last);
		last = now;
	}
}

/* Read between two readings of the other unit, a clock lies between them: both are one clock. */
static void units_are_of_one_clock(void **state)
{
	uint64_t before = base_clock_us();
	uint64_t ms = base_clock_ms();
	uint64_t after = base_clock_us();

	(void)state;
	assert_true(ms >= before / 1000);
	assert_true(ms <= after / 1000);
}

static void the_wall_clock_is_unix_time(void **state)
{
	time_t before = time(NULL);
	uint64_t now = base_clock_unix_ms();
	time_t after = time(NULL);

	(void)state;
	/* time() may read a clock that is one tick behind */
	assert_true(now / 1000 >= (uint64_t)before);
	assert_true(now / 1000 <= (uint64_t)after + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_monotonic_clock_never_goes_back),
		cmocka_unit_test(units_are_of_one_clock),
		cmocka_unit_test(the_wall_clock_is_unix_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
