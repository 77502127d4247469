#include "worker/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FRESH_S 2 /* a change so short ago may not be the last of its moment: clocks of file systems are coarse */

struct wrk_folder {
	char *path;
	char *carry; /* names with NULs between them; NULL: all */
	size_t n_carry;
	struct wrk_folder_entry *entries, *by_name;
	size_t looks;
	struct wrk_folder_list folders, other; /* all there are; what is in one that is no service */
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

/* top: the folder of services, whose path is not walked again for each file. */
static uint64_t print_file(int top, const char *service, const char *name)
{
	char path[PATH_MAX];
	uint64_t hash = 1;
	struct stat st;

	if (snprintf(path, sizeof path, "%s/%s", service, name) >= (int)sizeof path ||
		fstatat(top, path, &st, 0) != 0 || !S_ISREG(st.st_mode))
		return 0;
	for (const char *c = name; *c; c++)
		hash = mix(hash, (unsigned char)*c);
	hash = mix(hash, st.st_ino);
	hash = mix(hash, (uint64_t)st.st_size);
	hash = mix(hash, (uint64_t)st.st_mtim.tv_sec);
	return mix(hash, (uint64_t)st.st_mtim.tv_nsec);
}

/* ---- names ----------------------------------------------------------------- */

static bool is_manifest(const char *name)
{
	return strcmp(name, "service.yaml") == 0;
}

static bool counts(const char *name)
{
	return is_manifest(name) || is_shared_object(name);
}

static bool is_visible(const char *name)
{
	return name[0] != '.';
}

/* When the names in it changed last; 0: it is no folder, or it was just now. */
static uint64_t changed_at(int top, const char *path)
{
	struct stat st;

	if (fstatat(top, path, &st, 0) != 0 || !S_ISDIR(st.st_mode) ||
		time(NULL) - st.st_mtim.tv_sec <= FRESH_S)
		return 0;
	return mix(mix(mix(1, st.st_ino), (uint64_t)st.st_mtim.tv_sec),
		(uint64_t)st.st_mtim.tv_nsec);
}

static bool list(int top, const char *path, bool (*wanted)(const char *), struct base_buf *names)
{
	int fd = openat(top, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	base_buf_reset(names);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((entry = readdir(dir)))
		if (wanted(entry->d_name))
			base_buf_add(names, entry->d_name, strlen(entry->d_name) + 1);
	closedir(dir);
	return base_buf_check(names) == BASE_OK;
}

/* Lists the folder where that may bring anything new. */
static bool renew(
	struct wrk_folder_list *l, int top, const char *path, bool (*wanted)(const char *))
{
	uint64_t changed = changed_at(top, path);

	if (changed == 0 || changed != l->changed || l->trusted == WRK_FOLDER_LIST) {
		l->changed = 0;
		if (!list(top, path, wanted, &l->names))
			return false;
		l->changed = changed;
		l->trusted = 0;
	}
	l->trusted++;
	return true;
}

static const char *name_next(const struct wrk_folder_list *l, const char *name)
{
	const char *next = name ? name + strlen(name) + 1 : (const char *)l->names.data;

	return next < (const char *)l->names.data + l->names.size ? next : NULL;
}

/* 0: not a service. Summed up, because a folder has no order. */
static uint64_t print_files(int top, const char *service, const struct wrk_folder_list *l)
{
	uint64_t sum = 0, manifest = 0;

	for (const char *name = name_next(l, NULL); name; name = name_next(l, name)) {
		if (is_manifest(name))
			manifest = print_file(top, service, name);
		else
			sum += print_file(top, service, name);
	}
	return manifest ? sum + manifest : 0;
}

/* ---- services -------------------------------------------------------------- */

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
	struct wrk_folder_entry *e;

	HASH_FIND_STR(f->by_name, name, e);
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
	base_buf_init(&e->files.names);
	snprintf(e->path, room, "%s/%s", f->path, name);
	e->name = e->path + strlen(f->path) + 1;
	while (*at && strcmp((*at)->name, name) <
			      0) /* alphabetically, so that logs and HELLOs are alike */
		at = &(*at)->next;
	e->next = *at;
	*at = e;
	HASH_ADD_KEYPTR(hh, f->by_name, e->name, strlen(e->name), e);
	return e;
}

/* Of those with which nothing has happened it is some's turn. */
static void take_turns(struct wrk_folder *f)
{
	size_t n = 0, rounds, i = 0;

	for (const struct wrk_folder_entry *e = f->entries; e; e = e->next)
		n++;
	rounds = (n + WRK_FOLDER_LOOK - 1) / WRK_FOLDER_LOOK;
	if (rounds > 1 && rounds < WRK_FOLDER_TURNS)
		rounds = WRK_FOLDER_TURNS;
	for (struct wrk_folder_entry *e = f->entries; e; e = e->next, i++) {
		e->due = !e->there || e->settled != e->print || i % rounds == f->looks % rounds;
		e->there = false;
	}
	f->looks++;
}

static void look_at(struct wrk_folder *f, int top, const char *name)
{
	struct wrk_folder_entry *e = find(f, name);
	struct wrk_folder_list *files = e ? &e->files : &f->other;
	uint64_t print;

	if (e && !e->due) {
		e->there = true;
		return;
	}
	f->other.changed = 0;
	print = renew(files, top, name, counts) ? print_files(top, name, files) : 0;
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
	int top = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool can = top >= 0 && renew(&f->folders, top, ".", is_visible);
	const char *name = NULL;

	if (can)
		take_turns(f);
	while (can && (name = name_next(&f->folders, name)))
		if (is_carried(f, name))
			look_at(f, top, name);
	if (top >= 0)
		close(top);
	for (struct wrk_folder_entry *e = f->entries; can && e; e = e->next)
		e->absent = is_gone(e) ? e->absent + 1 : 0;
	return can;
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

	if (f) {
		base_buf_init(&f->folders.names);
		base_buf_init(&f->other.names);
	}
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
	HASH_CLEAR(hh, f->by_name);
	while (f->entries) {
		struct wrk_folder_entry *e = f->entries;

		f->entries = e->next;
		base_buf_fini(&e->files.names);
		free(e->path);
		free(e);
	}
	base_buf_fini(&f->folders.names);
	base_buf_fini(&f->other.names);
	free(f->carry);
	free(f->path);
	free(f);
	*fp = NULL;
}
