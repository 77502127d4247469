/* What the files of the supervisor's machine share: supervise.c has starting, stopping
 * and deaths, supervise_restart.c replaces children one after another.
 */
#ifndef CLI_SUPERVISE_PARTS_H
#define CLI_SUPERVISE_PARTS_H

#include "cli/supervise.h"

#define CLI_NOWHERE CLI_PROCESSES_MAX

/* Two processes of it can be there at once; a broker's socket is its own. */
static inline bool cli_supervise_overlaps(enum cli_group group)
{
	return group == CLI_WORKERS || group == CLI_GATEWAYS;
}

/* supervise.c */
void cli_supervise_change(struct cli_supervise *s, size_t child, enum cli_child_event event);
void cli_supervise_act(struct cli_supervise *s, enum cli_action_kind kind, size_t child);
void cli_supervise_swap(struct cli_supervise *s, size_t place, size_t aside);
size_t cli_supervise_free_aside(const struct cli_supervise *s); /* or CLI_NOWHERE */
void cli_supervise_take_aside(struct cli_supervise *s, size_t aside, size_t place);
uint64_t cli_supervise_patience(const struct cli_supervise *s, enum cli_group group, uint64_t now_ms);

/* supervise_restart.c; each does nothing when no restart goes on. */
void cli_restart_go_on(struct cli_supervise *s, uint64_t now_ms); /* as far as it can; after every input */
void cli_restart_spawned(struct cli_supervise *s, size_t place, uint64_t now_ms);
void cli_restart_fail(struct cli_supervise *s, enum cli_failure why, uint64_t now_ms);
bool cli_restart_is_old(const struct cli_supervise *s, size_t place); /* it was here when its turn began */
bool cli_restart_awaits(const struct cli_supervise *s, size_t child); /* it is the new one, not ready yet */
size_t cli_restart_coming(const struct cli_supervise *s, size_t place); /* the aside of its next, or CLI_NOWHERE */
/* The process aside, which is COMING, takes its place; the one there is aside then, and LEAVING. */
void cli_restart_exchange(struct cli_supervise *s, size_t aside, uint64_t now_ms);

#endif
