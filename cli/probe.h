/* Asks one question of a socket, in the loop: connects, says something, hands back
 * what is answered. `pirn up` waits for facts with it: Redis answers PING, a
 * broker's socket accepts, the gateway is ready.
 */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"

#define CLI_PROBE_MAX (4u * 1024 * 1024) /* longest answer */

struct cli_probe;

struct cli_probe_conf {
	const char *unix_path;           /* or */
	const struct sockaddr *address;
	const char *request;             /* NULL: that it accepts is the answer */
	bool line;                       /* the answer is one line; otherwise all until the end */
	uint32_t timeout_ms;
};

/* reached: there is an answer (size bytes and a NUL, borrowed). Called once, from the loop, never
 * from within cli_probe_start, and not after cli_probe_cancel. The probe is gone after it. */
typedef void cli_probe_fn(void *arg, bool reached, const char *answer, size_t size);

BASE_MUSTUSE enum base_err cli_probe_start(uv_loop_t *loop, const struct cli_probe_conf *conf, cli_probe_fn *fn,
                                           void *arg, struct cli_probe **out);
void cli_probe_cancel(struct cli_probe **p); /* takes NULL; not after fn was called */

#endif
