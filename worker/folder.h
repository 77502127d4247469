/* What lies in the folder of services: one folder each, with a service.yaml and a
 * shared object. Looked at four times a second rather than watched: a watch does
 * not exist for a folder that is not there yet, says nothing of files that a
 * container's volume brings, and costs more code than it saves time (some 20
 * stat calls a look).
 *
 * Folders in which nothing happens take turns in WRK_FOLDER_TURNS looks when there are
 * more than a look's worth, and in more when WRK_FOLDER_LOOK of them a look are not
 * enough: so that nearly all that a worker may have are looked at within a second, and
 * it stays idle.
 *
 * A folder whose own time of change is what it was, and not of just now, has the same
 * names in it as before, and is not listed again; its files are looked at all the same.
 * Every WRK_FOLDER_LIST-th time it is listed anyway, for file systems that do not tell.
 *
 * A change counts when two looks in a row found the same: whoever writes files is
 * then done. A service is gone when several did not find it, while the folder of
 * services is there: somebody may be copying it anew.
 */
#ifndef WRK_FOLDER_H
#define WRK_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uthash.h>

#include "base/buf.h"
#include "base/err.h"

#define WRK_FOLDER_LOOK  64u
#define WRK_FOLDER_TURNS 4u
#define WRK_FOLDER_LIST  16u

struct wrk_folder;

/* Names in a folder. */
struct wrk_folder_list {
	struct base_buf names; /* each with its NUL */
	uint64_t changed;      /* the folder's own time of change when it was listed; 0: list it anew */
	unsigned trusted;      /* how often they were taken as they are since */
};

/* One folder that has a service.yaml. */
struct wrk_folder_entry {
	char *path, *name;
	uint64_t print;   /* of manifest and shared objects: file, size, time of change */
	uint64_t settled; /* the print that was found twice in a row; 0: none yet */
	bool there;       /* in the last look */
	bool due;         /* in the last look its files were looked at */
	unsigned absent;  /* looks in a row that found nothing there any more */
	uint64_t taken;   /* the user's: the print it has dealt with; 0: none */
	void *user;       /* the user's */
	struct wrk_folder_list files; /* those that count */
	struct wrk_folder_entry *next;
	UT_hash_handle hh; /* by name */
};

/* carry: names of folders, comma-separated; NULL: all. Both are copied. */
BASE_MUSTUSE enum base_err wrk_folder_new(
	const char *path, const char *carry, struct wrk_folder **out);
void wrk_folder_free(struct wrk_folder **f);

/* Looks. Entries stay once they were seen. Returns whether the folder itself can be read. */
bool wrk_folder_look(struct wrk_folder *f);
struct wrk_folder_entry *wrk_folder_entries(struct wrk_folder *f);

/* Whether one of the list carry was not seen, and which; NULL: all were. */
const char *wrk_folder_missing(const struct wrk_folder *f, size_t i);

#endif
