/* The inside of the shell (shell.h): what its files share. shell.c is the life of it
 * (start, time, peers, end), shell_actions.c carries out what the core decided,
 * shell_store.c is Redis's side.
 *
 * The core reuses its list of actions: an input must not be given while the actions of
 * another are still being carried out. Three things could do that, and none does: the
 * router tells of lost peers from READ, never from within a send; the catalog and the
 * carrier tell of Redis's answers from the loop, or from within the fall of the
 * connection, and no command that is given makes it fall at once; what the carrier
 * cannot send it tells later. A peer that cannot be sent something for want of memory is
 * cut off, which is an input, so it waits in a list until the actions are done.
 */
#ifndef BROKER_SHELL_PARTS_H
#define BROKER_SHELL_PARTS_H

#include "base/arena.h"
#include "base/ulid.h"
#include "broker/carrier.h"
#include "broker/catalog.h"
#include "broker/core/core.h"
#include "broker/metrics.h"
#include "broker/settings.h"
#include "broker/shell.h"
#include "net/router.h"
#include "store/check.h"

#define BRK_SHELL_CUT 64

struct brk_shell {
	const struct brk_settings *settings;
	struct net_loop *loop;
	struct net_router *router; /* NULL: we do not listen yet */
	struct net_hook *hook;
	struct brk_core *core;
	struct store_redis *redis; /* NULL: told to have none */
	struct brk_catalog *catalog;
	struct brk_carrier *carrier;
	uv_timer_t wake, drain, start;
	char *endpoints;
	uint64_t wake_at; /* UINT64_MAX: not armed */
	struct base_arena arena;
	struct brk_metrics metrics;
	char name[256];
	char boot_text[BASE_ULID_TEXT + 1];
	uint8_t boot[16];
	bool executing, draining;
	bool ended;   /* the core was told its end: what it still asks of Redis is waited for */
	bool durable; /* events are accepted on this Redis */
	const char *sentences[STORE_CHECK_MAX + 1]; /* what is wrong with it; static texts */
	size_t n_sentences;
	uint32_t cut[BRK_SHELL_CUT];
	size_t n_cut;
	const char *why; /* it ended; a static text */
	enum brk_exit code;
	uint64_t left_calls;
	uint64_t told_at; /* when Redis's state was logged last */
	char told[256];
};

/* ---- shell_actions.c */

uint64_t brk_shell_now_ms(struct brk_shell *s); /* the time of the next input */
void brk_shell_execute(struct brk_shell *s, const struct brk_actions *actions);

/* ---- shell_store.c */

bool brk_shell_has_redis(const struct brk_settings *settings);
struct store_bounds brk_shell_bounds(const struct brk_settings *settings);
BASE_MUSTUSE enum base_err brk_shell_store_new(struct brk_shell *s, char **why);
void brk_shell_store_free(struct brk_shell *s); /* open asks are not told any more */
void brk_shell_store_retell(struct brk_shell *s);

/* ---- shell.c */

void brk_shell_answered(
	struct brk_shell *s); /* an ask was told about; the last one may be the end */
void brk_shell_listen(struct brk_shell *s); /* Redis has said what it can; again: nothing happens */

#endif
