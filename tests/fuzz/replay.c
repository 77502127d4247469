/* Gives a fuzz target's entry every file of a committed corpus, in a build without
 * libFuzzer: a crash, or a sanitizer's word, fails the test. Arguments are files
 * and folders (read without their subfolders, in the order of their names, so that
 * a failure is the same everywhere). Exit 1: nothing was replayed, or not readable.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long replayed;
static unsigned long unreadable;

static void complain(const char *path)
{
	(void)fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
	unreadable++;
}

/* The copy is exactly as long as the file, so that a sanitizer sees one byte too far. */
static void replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rbe");
	uint8_t *data = malloc(size ? size : 1);

	if (!file || !data || fread(data, 1, size, file) != size) {
		complain(path);
	} else {
		(void)LLVMFuzzerTestOneInput(data, size);
		replayed++;
	}
	free(data);
	if (file)
		(void)fclose(file);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay(const char *path, int depth);

static void replay_folder(const char *path)
{
	struct dirent **entries;
	char name[PATH_MAX];
	int n = scandir(path, &entries, is_visible, alphasort);

	if (n < 0) {
		complain(path);
		return;
	}
	for (int i = 0; i < n; i++) {
		int length = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
		if (length > 0 && (size_t)length < sizeof name)
			replay(name, 1);
		free(entries[i]);
	}
	free(entries);
}

static void replay(const char *path, int depth)
{
	struct stat st;

	if (stat(path, &st))
		complain(path);
	else if (S_ISREG(st.st_mode))
		replay_file(path, (size_t)st.st_size);
	else if (S_ISDIR(st.st_mode) && depth == 0)
		replay_folder(path);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i], 0);
	(void)printf("%lu inputs replayed\n", replayed);
	return replayed > 0 && unreadable == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
