/* Listening sockets that `pirn up` opens itself and hands to its gateways.
 */
#ifndef CLI_LISTEN_H
#define CLI_LISTEN_H

#include "base/err.h"
#include "cli/fabric.h"

/* address is HOST:PORT; port 0 takes a free one. On BASE_OK out->fd listens, and address and text
 * say where it can be reached from this machine (a wildcard: loopback). EXISTS: the port is in use.
 * why is a sentence. */
BASE_MUSTUSE enum base_err cli_listen(const char *address, struct cli_fabric_listener *out, char *why, size_t why_room);

/* A unix socket, which must not be there yet, for this user only: out->fd and path are set. */
BASE_MUSTUSE enum base_err cli_listen_private(const char *path, struct cli_fabric_listener *out, char *why, size_t why_room);

#endif
