/* The access log: one line a request, in base_log's two forms, on the log's descriptor.
 *
 *   2026-11-21T09:15:02.123Z info access method=GET target=/hello status=200 bytes=26 ms=0.412
 *   service=hello id=01J… remote=192.0.2.1
 *
 * and, of a request that became an event, invocation=01J….
 *
 * A line is made when its request ends, into a buffer that leaves once a turn, so many
 * lines cost one write. The loop never waits for whoever reads the log: into a pipe or a
 * terminal goes what fits, at most PIPE_BUF at a time and whole lines only, and the rest
 * stays. Beyond 1 MiB of rest, lines are dropped and counted (access_dropped). Lines keep
 * their order among themselves; status 499 is a client that left before its answer.
 */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "gateway/slice.h"
#include "net/loop.h"

struct gw_access;

struct gw_access_line {
	struct gw_slice method, target;
	unsigned status;
	uint64_t bytes, us;
	const char *service; /* NULL: none */
	const char *id;
	const char *remote;
	const char *invocation; /* the id of the event that was accepted; NULL: none */
};

/* fd is borrowed. */
BASE_MUSTUSE enum base_err gw_access_new(
	struct net_loop *loop, enum base_log_format format, int fd, struct gw_access **out);
void gw_access_free(struct gw_access **a); /* writes what it can; takes NULL */

void gw_access_add(struct gw_access *a, const struct gw_access_line *line);
uint64_t gw_access_dropped(const struct gw_access *a);

#endif
