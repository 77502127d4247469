#include "cli/services_in.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/yaml.h"

static enum base_err read_text(
	const char *path, char *out, size_t room, size_t *size, char *why, size_t why_room)
{
	FILE *file = fopen(path, "re");
	bool failed;

	if (!file) {
		(void)snprintf(why, why_room, "%s: %s", path, strerror(errno));
		return base_err_from_errno(errno);
	}
	*size = fread(out, 1, room, file);
	failed = ferror(file);
	fclose(file);
	if (failed)
		(void)snprintf(why, why_room, "%s: %s", path, strerror(EIO));
	return failed ? BASE_IO : BASE_OK;
}

enum base_err cli_manifest_in(
	const char *folder, struct base_manifest **out, char *why, size_t why_room)
{
	size_t room = WRK_YAML_BYTES + 1;
	char *text = malloc(room);
	char path[PATH_MAX + 288];
	size_t size = 0;
	enum base_err err = BASE_NOMEM;

	(void)snprintf(path, sizeof path, "%s/service.yaml", folder);
	(void)snprintf(why, why_room, "%s", base_err_text(err));
	if (text)
		err = read_text(path, text, room, &size, why, why_room);
	if (!err)
		err = wrk_yaml_read(path, text, size, out, why, why_room);
	free(text);
	return err;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static enum base_err add(const char *folder, char **names, size_t *n, char *why, size_t why_room)
{
	struct base_manifest *m = NULL;
	char path[PATH_MAX + 320];
	enum base_err err;

	(void)snprintf(path, sizeof path, "%s/service.yaml", folder);
	if (access(path, F_OK) != 0)
		return BASE_OK;
	err = cli_manifest_in(folder, &m, why, why_room);
	if (!err && !(names[*n] = strdup(m->service)))
		err = BASE_NOMEM;
	if (!err)
		(*n)++;
	base_manifest_free(&m);
	return err;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

enum base_err cli_services_in(
	const char *folder, char ***out, size_t *n_out, char *why, size_t why_room)
{
	struct dirent **list = NULL;
	int n_list = scandir(folder, &list, is_visible, alphasort);
	char **names = n_list < 0 ? NULL : calloc((size_t)n_list + 1, sizeof *names);
	size_t n = 0;
	enum base_err err = names ? BASE_OK : base_err_from_errno(errno);

	if (!names)
		(void)snprintf(why, why_room, "%s: %s", folder, strerror(errno));
	for (int i = 0; i < n_list; i++) {
		char path[PATH_MAX + 288];

		(void)snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
		if (!err)
			err = add(path, names, &n, why, why_room);
		free(list[i]);
	}
	free(list);
	if (err) {
		cli_services_free(&names, &n);
		return err;
	}
	qsort(names, n, sizeof *names, compare);
	*out = names;
	*n_out = n;
	return BASE_OK;
}

void cli_services_free(char ***names, size_t *n)
{
	for (size_t i = 0; *names && i < *n; i++)
		free((*names)[i]);
	free(*names);
	*names = NULL;
	*n = 0;
}
