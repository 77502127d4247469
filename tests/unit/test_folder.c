/* The folder of services: what is new, changed, half written or gone is found; and many folders in which nothing
 * happens cost little. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/folder.h"

#define MANY (3 * WRK_FOLDER_LOOK - 10) /* they take turns in four looks */

static char top[] = "/tmp/pirn-folder-XXXXXX";
static unsigned opened;

/* In place of the C library's: counts the folders of services that are listed. */
DIR *fdopendir(int fd)
{
	static DIR *(*real)(int);
	struct stat listed, all;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdopendir");
	if (fstat(fd, &listed) == 0 && stat(top, &all) == 0 && listed.st_ino != all.st_ino)
		opened++;
	return real(fd);
}

static void put(const char *service, const char *file, const char *text)
{
	char path[256];
	FILE *out;

	(void)snprintf(path, sizeof path, "%s/%s", top, service);
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof path, "%s/%s/%s", top, service, file);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

static const char *name_of(unsigned i)
{
	static char name[16];

	(void)snprintf(name, sizeof name, "s%03u", i);
	return name;
}

static struct wrk_folder_entry *entry(struct wrk_folder *f, const char *name)
{
	struct wrk_folder_entry *e = wrk_folder_entries(f);

	while (e && strcmp(e->name, name) != 0)
		e = e->next;
	return e;
}

/* Looks that it takes until the entry has settled with another print than that. */
static unsigned looks_until_settled(struct wrk_folder *f, const char *name, uint64_t not)
{
	for (unsigned n = 1; n <= 10; n++) {
		const struct wrk_folder_entry *e;

		assert_true(wrk_folder_look(f));
		e = entry(f, name);
		if (e && e->settled == e->print && e->settled != not && e->settled)
			return n;
	}
	fail_msg("%s: not in ten looks", name);
	return 0;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	struct wrk_folder *f;

	strcpy(top, "/tmp/pirn-folder-XXXXXX");
	if (!mkdtemp(top) || wrk_folder_new(top, NULL, &f))
		return -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	wrk_folder_free((struct wrk_folder **)state);
	return nftw(top, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_new_and_changed(void **state)
{
	struct wrk_folder *f = *state;
	uint64_t print;

	assert_true(wrk_folder_look(f));
	assert_null(wrk_folder_entries(f));
	put("a", "service.yaml", "one");
	put("a", "a.so", "code");
	put("b", "README", "not a service");
	assert_int_equal(looks_until_settled(f, "a", 0), 2);
	assert_null(entry(f, "b"));
	print = entry(f, "a")->print;
	put("a", "a.so", "other code");
	assert_true(wrk_folder_look(f));
	assert_int_not_equal(entry(f, "a")->print, print);
	assert_int_equal(entry(f, "a")->settled, print);
	assert_true(wrk_folder_look(f));
	assert_int_equal(entry(f, "a")->settled, entry(f, "a")->print);
	put("a", "note.txt", "says nothing");
	print = entry(f, "a")->print;
	assert_true(wrk_folder_look(f));
	assert_int_equal(entry(f, "a")->print, print);
}

static void test_many(void **state)
{
	struct wrk_folder *f = *state;
	char path[256];
	uint64_t print;

	for (unsigned i = 0; i < MANY; i++)
		put(name_of(i), "service.yaml", "one");
	for (unsigned i = 0; i < 2; i++) {
		opened = 0;
		assert_true(wrk_folder_look(f));
		assert_int_equal(opened, MANY); /* all that is new */
	}
	for (unsigned i = 0; i < 10; i++) {
		opened = 0;
		assert_true(wrk_folder_look(f));
		assert_in_range(opened, 0, WRK_FOLDER_LOOK);
		assert_null(wrk_folder_missing(f, 0));
		for (const struct wrk_folder_entry *e = wrk_folder_entries(f); e; e = e->next)
			assert_true(e->there && e->absent == 0 && e->settled == e->print);
	}
	for (unsigned i = 0; i < MANY; i += 17) {
		print = entry(f, name_of(i))->print;
		put(name_of(i), "service.yaml", "another");
		assert_in_range(looks_until_settled(f, name_of(i), print), 2, 5);
	}
	put("zzz", "service.yaml", "new");
	assert_int_equal(looks_until_settled(f, "zzz", 0), 2);
	/* A whole folder is missed at once; a manifest when it is its turn, and then in each look. */
	(void)snprintf(path, sizeof path, "%s/zzz/service.yaml", top);
	assert_int_equal(unlink(path), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(wrk_folder_look(f));
	assert_in_range(entry(f, "zzz")->absent, 1, 3);
	(void)snprintf(path, sizeof path, "%s/%s", top, name_of(5));
	assert_int_equal(nftw(path, drop, 8, FTW_DEPTH | FTW_PHYS), 0);
	print = entry(f, "zzz")->absent;
	for (unsigned i = 1; i <= 4; i++) {
		assert_true(wrk_folder_look(f));
		assert_int_equal(entry(f, name_of(5))->absent, i);
		assert_int_equal(entry(f, "zzz")->absent, print + i);
	}
}

/* As if names in it had changed then, and not since. */
static void change_names(const char *service, time_t when)
{
	char path[256];
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = when } };

	(void)snprintf(path, sizeof path, "%s/%s", top, service);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static unsigned lists(struct wrk_folder *f)
{
	opened = 0;
	assert_true(wrk_folder_look(f));
	return opened;
}

/* What was not made or removed lately is not listed, but its files are looked at. */
static void test_listed_when_it_changed(void **state)
{
	struct wrk_folder *f = *state;
	unsigned n = 0;
	uint64_t print;

	put("a", "service.yaml", "one");
	put("a", "a.so", "code");
	(void)looks_until_settled(f, "a", 0);
	change_names("a", time(NULL) + 60);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(lists(f), 1); /* that moment may have more to come */
	change_names("a", time(NULL) - 60);
	assert_int_equal(lists(f), 1);
	assert_int_equal(lists(f), 0);
	print = entry(f, "a")->print;
	put("a", "a.so", "other code");
	assert_int_equal(lists(f), 0);
	assert_int_not_equal(entry(f, "a")->print, print);
	print = entry(f, "a")->print;
	put("a", "b.so", "more code");
	assert_int_equal(lists(f), 1);
	assert_int_not_equal(entry(f, "a")->print, print);
	change_names("a", time(NULL) - 60);
	for (unsigned i = 0; i < 3 * WRK_FOLDER_LIST; i++)
		n += lists(f);
	assert_int_equal(n, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new_and_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_listed_when_it_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
