/* What the children of `pirn up` say of themselves: READY and STOPPING, as datagrams
 * to a socket in the run folder (net/notify.h has the protocol). The kernel says who
 * sent one: only a child's own process is heard, not what it has started.
 */
#ifndef CLI_FABRIC_NOTES_H
#define CLI_FABRIC_NOTES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/loop.h"

struct cli_notes;

enum cli_note { CLI_NOTE_READY, CLI_NOTE_STOPPING };

/* From the loop, or from within cli_notes_read. */
typedef void cli_notes_fn(void *arg, pid_t pid, enum cli_note note);

/* The socket must not be there yet. */
BASE_MUSTUSE enum base_err cli_notes_new(struct net_loop *loop, const char *path, cli_notes_fn *fn, void *arg,
                                         struct cli_notes **out);
/* Tells what has arrived: before the dead are collected, so that their last words are heard first. */
void cli_notes_read(struct cli_notes *notes);
void cli_notes_free(struct cli_notes **notes); /* takes NULL */

#endif
