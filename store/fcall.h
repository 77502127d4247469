/* How a call of one of our Functions is put together and its answer taken apart:
 * what journal.c and ops.c share.
 *
 * A call gathers keys and arguments apart, since FCALL wants the keys first and
 * arguments refer to keys by number. What it formats lives in its arena until it was
 * sent; data that was given as bytes is borrowed until then. Errors are sticky and
 * told by store_fcall_send.
 *
 * Answers are read front to back; what has another shape than expected makes the
 * reader broken, and stays harmless. UNTRUSTED.
 */
#ifndef STORE_FCALL_H
#define STORE_FCALL_H

#include "base/arena.h"
#include "store/redis.h"
#include "store/words.h"

const char *store_code_name(enum store_code code); /* "FENCED"; never NULL */

struct store_fcall {
	struct base_arena arena;
	struct store_arg *keys, *args;
	size_t n_keys, n_args, keys_room, args_room;
	bool failed;
};

void store_fcall_init(struct store_fcall *c);
void store_fcall_fini(struct store_fcall *c);

/* Each key function returns the key's number, from 1 on. */
size_t store_fcall_key(struct store_fcall *c, const char *name); /* a whole name, borrowed */
size_t store_fcall_key_bytes(struct store_fcall *c, const void *data, size_t size); /* the same */
size_t store_fcall_key_format(
	struct store_fcall *c, const char *format, ...) /* behind the prefix */
	__attribute__((format(printf, 2, 3)));
/* prefix + name, scope, colon, bytes */
size_t store_fcall_key_scoped(
	struct store_fcall *c, const char *name, const char *scope, const void *data, size_t size);

void store_fcall_bytes(struct store_fcall *c, const void *data, size_t size); /* borrowed */
void store_fcall_text(struct store_fcall *c, const char *text);               /* borrowed */
void store_fcall_copy(struct store_fcall *c, const void *data, size_t size);
void *store_fcall_room(struct store_fcall *c, size_t size); /* of the call's own; NULL: it has failed */
void store_fcall_number(struct store_fcall *c, uint64_t number);
void store_fcall_id(struct store_fcall *c, uint32_t epoch, uint64_t turn);

/* FCALL; UNAVAILABLE and FULL as store_redis_command, NOMEM. fn comes once, unless an error was
 * returned. The call is empty afterwards, also after an error. */
BASE_MUSTUSE enum base_err store_fcall_send(struct store_fcall *c, struct store_redis *r,
	const char *function, store_reply_fn *fn, void *arg);

/* ---- answers */

/* DONE when the reply is no error. *number is the one behind the error's first word, or 0. */
enum store_code store_code_of(const struct store_reply *reply, uint64_t *number);

struct store_reader {
	const struct store_reply *reply;
	size_t at;
	bool broken;
};

struct store_reply store_read(struct store_reader *r); /* the next element; NIL when broken */
struct store_arg store_read_bytes(struct store_reader *r);
uint64_t store_read_number(struct store_reader *r); /* an integer, or text that is a number */
/* "<epoch>-<turn>" */
void store_read_id(struct store_reader *r, uint32_t *epoch, uint64_t *turn);
uint32_t store_read_epoch(
	struct store_reader *r, bool *adopted);       /* "17" or "17+"; adopted may be NULL */
size_t store_read_left(const struct store_reader *r); /* elements left */

/* Decimal digits and nothing else, at most 2^64 - 1. */
bool store_parse_number(const char *text, size_t size, uint64_t *out);

#endif
