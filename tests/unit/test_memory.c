/* worker/memory.c: where its bound comes from, and how often it lets a worker start anew. */
#include "tests/unit/unit.h"

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "worker/memory.h"

#define GIB (UINT64_C(1) << 30)

static char root[] = "/tmp/pirn-memory-XXXXXX";

/* A file below the root, and the folders to it. */
static void put(const char *path, const char *text)
{
	char full[PATH_MAX];
	FILE *file;

	(void)snprintf(full, sizeof full, "%s%s", root, path);
	for (char *at = strchr(full + strlen(root) + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		(void)mkdir(full, 0700);
		*at = '/';
	}
	file = fopen(full, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root + strlen(root) - 6, "XXXXXX");
	assert_non_null(mkdtemp(root));
	return 0;
}

static int drop(const char *path, const struct stat *s, int type, struct FTW *at)
{
	(void)s, (void)type, (void)at;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static uint64_t bound(void)
{
	return wrk_memory_bound(0, root, 8 * GIB);
}

static void without_a_cgroup_there_is_none(void **state)
{
	(void)state;
	assert_int_equal(bound(), 0);
	put("/proc/self/cgroup", "0::/\n");
	assert_int_equal(bound(), 0);
	put("/sys/fs/cgroup/memory.max", "max\n");
	assert_int_equal(bound(), 0);
	put("/sys/fs/cgroup/memory.max", "nonsense\n");
	assert_int_equal(bound(), 0);
	put("/proc/self/cgroup", "nonsense");
	assert_int_equal(bound(), 0);
}

static void it_is_four_fifths_of_the_least(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/machine/box/it\n");
	put("/sys/fs/cgroup/machine/box/it/memory.max", "max\n");
	put("/sys/fs/cgroup/machine/box/memory.max", "1000000\n");
	put("/sys/fs/cgroup/machine/memory.max", "2000000\n");
	assert_int_equal(bound(), 800000);
	put("/sys/fs/cgroup/machine/box/it/memory.max", "500000\n");
	assert_int_equal(bound(), 400000);
}

/* In a container its own group is what lies at the root, whatever it is called outside. */
static void a_container_sees_its_own_at_the_root(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/../../elsewhere\n");
	put("/sys/fs/cgroup/memory.max", "100000\n");
	assert_int_equal(bound(), 80000);
}

static void version_1_is_read_too(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "12:cpu:/x\n9:memory:/docker/abc\n0::/docker/abc\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(bound(), 0); /* its way to say: none */
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "50000\n");
	assert_int_equal(bound(), 40000);
}

static void more_than_the_machine_has_is_none(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/memory.max", "17179869184\n");
	assert_int_equal(bound(), 0);
}

static void a_setting_wins(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/memory.max", "100000\n");
	assert_int_equal(wrk_memory_bound(70000, root, 8 * GIB), 70000);
}

static void what_there_is_can_be_seen(void **state)
{
	(void)state;
	assert_true(wrk_memory_resident() > 0);
	assert_true(wrk_memory_machine() > wrk_memory_resident());
}

static void above_the_bound_it_starts_anew(void **state)
{
	struct wrk_memory m = { .bound = 1000 };

	(void)state;
	assert_int_equal(wrk_memory_look(&m, 1000, 5), WRK_MEMORY_FINE);
	assert_int_equal(wrk_memory_look(&m, 1001, 5), WRK_MEMORY_ANEW);
	m.bound = 0;
	assert_int_equal(wrk_memory_look(&m, UINT64_MAX, 5), WRK_MEMORY_FINE);
}

/* As one that began at 1,000 because of its memory. */
static void not_twice_in_a_minute_and_it_says_so_once(void **state)
{
	struct wrk_memory m = { .bound = 1000, .last_ms = 1000 };

	(void)state;
	assert_int_equal(wrk_memory_look(&m, 999, 1001), WRK_MEMORY_FINE);
	assert_int_equal(wrk_memory_look(&m, 1001, 1001), WRK_MEMORY_TOO_LOW);
	assert_int_equal(wrk_memory_look(&m, 1001, 1000 + WRK_MEMORY_REST_MS - 1), WRK_MEMORY_FINE);
	assert_int_equal(wrk_memory_look(&m, 1001, 1000 + WRK_MEMORY_REST_MS), WRK_MEMORY_ANEW);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(without_a_cgroup_there_is_none),
		WITH(it_is_four_fifths_of_the_least),
		WITH(a_container_sees_its_own_at_the_root),
		WITH(version_1_is_read_too),
		WITH(more_than_the_machine_has_is_none),
		WITH(a_setting_wins),
		cmocka_unit_test(what_there_is_can_be_seen),
		cmocka_unit_test(above_the_bound_it_starts_anew),
		cmocka_unit_test(not_twice_in_a_minute_and_it_says_so_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
