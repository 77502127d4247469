/* Settings, as one table a program. Each row is a flag (--lease-ms), an
 * environment variable (PIRN_LEASE_MS), a key of the settings file
 * (lease-ms = 30000), a default, bounds and a sentence; from the table come
 * parsing, --help, --check, and the table in doc/operations.md (--help=markdown).
 * Order of precedence: flag, environment, file (--config FILE), default. Unknown
 * flags and keys are errors; unknown PIRN_ variables are not, because programs
 * share an environment. An empty variable counts as one that is not set: compose
 * files make those.
 *
 * In the file a key may also be spelled like its variable (PIRN_LEASE_MS=30000),
 * so that one file serves as --config and as Docker's env_file. # begins a comment
 * at the beginning of a line or after a space; a value in "double quotes" is taken
 * as it stands between them.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum base_conf_type {
	BASE_CONF_STR,      /* char *, heap; NULL allowed when the default is NULL */
	BASE_CONF_U32,      /* uint32_t; bounds are inclusive */
	BASE_CONF_MS,       /* uint32_t milliseconds; takes 500ms, 5s, 2m, 1h, 1d, or plain milliseconds */
	BASE_CONF_BYTES,    /* uint64_t; takes 64k, 1m, 2g (powers of 1,024) or plain bytes */
	BASE_CONF_BOOL,     /* bool; a flag alone means yes; yes/no/true/false/on/off/1/0 */
	BASE_CONF_CHOICE,   /* unsigned: index into choices */
	BASE_CONF_ADDRESS,  /* char *: HOST:PORT, checked; [::1]:80 too; or the one word in choices */
};

struct base_conf_row {
	const char *name;    /* "max-body": flag and file key; NULL ends the table */
	enum base_conf_type type;
	size_t offset;       /* of the field in the program's settings struct */
	const char *standard;/* the default, as it would be typed; NULL: none (STR, ADDRESS) */
	uint64_t min, max;   /* numbers; max 0: unbounded */
	const char *choices; /* CHOICE: "text|json"; ADDRESS: a word that stands for none ("off"), or NULL */
	const char *help;
};

/* What the command line asked for besides settings. */
enum base_conf_outcome {
	BASE_CONF_RUN,
	BASE_CONF_DONE, /* --help, --version or --check was served on stdout: exit 0 */
	BASE_CONF_WRONG /* one line was printed on stderr: exit 2 */
};

struct base_conf_program {
	const char *name;     /* pirn-broker */
	const char *synopsis; /* "[options]" */
	const char *about;    /* a sentence or two for --help */
	const struct base_conf_row *rows;
	bool operands;        /* whether words without -- are allowed */
	/* What no row can tell is wrong with the settings, all of which are read: a sentence (heap) about
	 * *option ("--redis"), or NULL. May be NULL itself. */
	char *(*fault)(const void *settings, const char **option);
};

/* Rows that every program has: log (text|json), log-level, config are added by base_conf itself
 * and set up base_log before it returns. Operands are moved to the front of argv: *n_operands of
 * them start at argv[1]; what stands behind them in argv is no longer of use. n_operands may be NULL
 * where the program has none. settings must be zeroed; base_conf_free frees its strings, after
 * WRONG too. Flags: --name value, --name=value; for BOOL --name, --name=no, --no-name. -- ends them.
 * Always there: --help, --help=markdown (the table for the documentation), --version, --check. */
enum base_conf_outcome base_conf_read(const struct base_conf_program *program, void *settings, int argc, char **argv, int *n_operands);
void base_conf_free(const struct base_conf_program *program, void *settings);

/* One value by name, from any source; UNTRUSTED text. On error nothing changed and *why is a static or
 * thread-local sentence: expected a duration such as 5s, got "soon". NOT_FOUND: no such row. */
BASE_MUSTUSE enum base_err base_conf_set(const struct base_conf_row *rows, void *settings, const char *name, const char *value, const char **why);
/* The text of a settings file ("key = value" lines, # comments); why holds "line 3: …". Lines before
 * the wrong one have been applied. UNTRUSTED text. */
BASE_MUSTUSE enum base_err base_conf_parse(const struct base_conf_row *rows, void *settings, const char *text, size_t size, char *why, size_t why_room);

/* The converters, for others who read durations and sizes (manifests). UNTRUSTED text. */
bool base_conf_ms(const char *text, uint64_t *ms);      /* 500ms 5s 2m 1h 1d; no bare number */
bool base_conf_bytes(const char *text, uint64_t *bytes);
bool base_conf_u64(const char *text, uint64_t *value);

#endif
