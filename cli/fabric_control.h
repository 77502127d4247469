/* Where `pirn restart` speaks to `pirn up`: a unix socket in the data directory, for
 * its user only. One line asks, lines answer until the end:
 *
 *   restart broker worker        or restart alone: brokers, workers and gateways
 *
 *   replaced broker-1            as it happens
 *   done                         all of them are
 *   failed worker-2 died         or late, or stopped: enum cli_failure
 *   refused SENTENCE             nothing was begun
 */
#ifndef CLI_FABRIC_CONTROL_H
#define CLI_FABRIC_CONTROL_H

#include "base/err.h"
#include "cli/supervise.h"
#include "net/loop.h"

#define CLI_CONTROL_SOCKET "run/up.sock"
#define CLI_CONTROL_LINE 128 /* bytes of the longest line, its end and a NUL included */

struct cli_control;

/* From the loop: begin it. NULL, or a sentence that says why not. */
typedef const char *cli_control_fn(void *arg, const bool groups[CLI_GROUP__N]);

/* fd listens. It is owned on success. */
BASE_MUSTUSE enum base_err cli_control_new(struct net_loop *loop, int fd, cli_control_fn *fn, void *arg,
                                           struct cli_control **out);
/* A line to whoever asked for the restart that goes on; last: it is the end of it. Without the newline. */
void cli_control_say(struct cli_control *c, bool last, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void cli_control_free(struct cli_control **c); /* takes NULL */

/* "broker" … Redis and what is none: CLI_GROUP__N */
enum cli_group cli_control_group(const char *word);

#endif
