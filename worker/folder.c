#include "worker/folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct wrk_folder {
	char *path;
	char *carry; /* names with NULs between them; NULL: all */
	size_t n_carry;
	struct wrk_folder_entry *entries;
	size_t looks;
};

static uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

static bool is_shared_object(const char *name)
{
	size_t n = strlen(name);

	return n > 3 && strcmp(name + n - 3, ".so") == 0;
}

static uint64_t print_file(int dir, const char *name)
{
	uint64_t hash = 1;
	struct stat st;

	if (fstatat(dir, name, &st, 0) != 0 || !S_ISREG(st.st_mode))
		return 0;
	for (const char *c = name; *c; c++)
		hash = mix(hash, (unsigned char)*c);
	hash = mix(hash, st.st_ino);
	hash = mix(hash, (uint64_t)st.st_size);
	hash = mix(hash, (uint64_t)st.st_mtim.tv_sec);
	return mix(hash, (uint64_t)st.st_mtim.tv_nsec);
}

/* 0: not a service. Summed up, because readdir has no order. */
static uint64_t print_folder(const char *path)
{
	uint64_t sum = 0, manifest = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, "service.yaml") == 0)
			manifest = print_file(dirfd(dir), entry->d_name);
		else if (is_shared_object(entry->d_name))
			sum += print_file(dirfd(dir), entry->d_name);
	}
	closedir(dir);
	return manifest ? sum + manifest : 0;
}

static const char *carry_next(const struct wrk_folder *f, const char *name)
{
	return name ? name + strlen(name) + 1 : f->carry;
}

static bool is_carried(const struct wrk_folder *f, const char *name)
{
	const char *at = NULL;

	for (size_t i = 0; i < f->n_carry; i++) {
		at = carry_next(f, at);
		if (strcmp(at, name) == 0)
			return true;
	}
	return f->carry == NULL;
}

static struct wrk_folder_entry *find(const struct wrk_folder *f, const char *name)
{
	struct wrk_folder_entry *e = f->entries;

	while (e && strcmp(e->name, name) != 0)
		e = e->next;
	return e;
}

static struct wrk_folder_entry *entry_new(struct wrk_folder *f, const char *name)
{
	struct wrk_folder_entry *e = calloc(1, sizeof *e), **at = &f->entries;
	size_t room = strlen(f->path) + strlen(name) + 2;

	if (!e || !(e->path = malloc(room))) {
		free(e);
		return NULL;
	}
	snprintf(e->path, room, "%s/%s", f->path, name);
	e->name = e->path + strlen(f->path) + 1;
	while (*at && strcmp((*at)->name, name) <
			      0) /* alphabetically, so that logs and HELLOs are alike */
		at = &(*at)->next;
	e->next = *at;
	*at = e;
	return e;
}

/* Of those with which nothing has happened it is some's turn. */
static void take_turns(struct wrk_folder *f)
{
	size_t n = 0, rounds, i = 0;

	for (const struct wrk_folder_entry *e = f->entries; e; e = e->next)
		n++;
	rounds = (n + WRK_FOLDER_LOOK - 1) / WRK_FOLDER_LOOK;
	for (struct wrk_folder_entry *e = f->entries; e; e = e->next, i++) {
		e->due = !e->there || e->settled != e->print || i % rounds == f->looks % rounds;
		e->there = false;
	}
	f->looks++;
}

static void look_at(struct wrk_folder *f, const char *name)
{
	struct wrk_folder_entry *e = find(f, name);
	char path[PATH_MAX];
	uint64_t print;

	if (e && !e->due) {
		e->there = true;
		return;
	}
	if (snprintf(path, sizeof path, "%s/%s", f->path, name) >= (int)sizeof path)
		return;
	print = print_folder(path);
	if (print == 0 || (!e && !(e = entry_new(f, name))))
		return;
	if (print == e->print)
		e->settled = print;
	e->print = print;
	e->there = true;
}

/* Not when it merely cannot be looked at, for want of a descriptor say. */
static bool is_gone(const struct wrk_folder_entry *e)
{
	char path[PATH_MAX];
	struct stat st;

	if (e->there || snprintf(path, sizeof path, "%s/service.yaml", e->path) >= (int)sizeof path)
		return false;
	return stat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool wrk_folder_look(struct wrk_folder *f)
{
	DIR *dir = opendir(f->path);
	struct dirent *entry;

	if (!dir)
		return false;
	take_turns(f);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && is_carried(f, entry->d_name))
			look_at(f, entry->d_name);
	closedir(dir);
	for (struct wrk_folder_entry *e = f->entries; e; e = e->next)
		e->absent = is_gone(e) ? e->absent + 1 : 0;
	return true;
}

struct wrk_folder_entry *wrk_folder_entries(struct wrk_folder *f)
{
	return f->entries;
}

const char *wrk_folder_missing(const struct wrk_folder *f, size_t i)
{
	const char *at = NULL;

	for (size_t k = 0; k < f->n_carry; k++) {
		const struct wrk_folder_entry *e;

		at = carry_next(f, at);
		e = find(f, at);
		if ((!e || !e->there) && i-- == 0)
			return at;
	}
	return NULL;
}

/* Cuts the list at its commas, blanks dropped. */
static void cut_carry(struct wrk_folder *f, const char *carry)
{
	char *out = f->carry;

	while (*carry) {
		size_t n = strcspn(carry, ", ");

		if (n > 0) {
			memcpy(out, carry, n);
			out[n] = '\0';
			out += n + 1;
			f->n_carry++;
		}
		carry += n + (carry[n] != '\0');
	}
}

enum base_err wrk_folder_new(const char *path, const char *carry, struct wrk_folder **out)
{
	struct wrk_folder *f = calloc(1, sizeof *f);

	if (!f || !(f->path = strdup(path)) ||
		(carry && !(f->carry = calloc(1, strlen(carry) + 2)))) {
		wrk_folder_free(&f);
		return BASE_NOMEM;
	}
	if (carry)
		cut_carry(f, carry);
	*out = f;
	return BASE_OK;
}

void wrk_folder_free(struct wrk_folder **fp)
{
	struct wrk_folder *f = *fp;

	if (!f)
		return;
	while (f->entries) {
		struct wrk_folder_entry *e = f->entries;

		f->entries = e->next;
		free(e->path);
		free(e);
	}
	free(f->carry);
	free(f->path);
	free(f);
	*fp = NULL;
}
