/* Listening sockets. What goes wrong is one clear line that names the address.
 */
#ifndef GATEWAY_LISTEN_H
#define GATEWAY_LISTEN_H

#include <stddef.h>

#include "base/err.h"

/* HOST:PORT, [::1]:80, :80 (any address); port 0 takes a free one. The socket does not block. On an
 * error *why is a sentence; free() it. */
BASE_MUSTUSE enum base_err gw_listen_open(const char *address, int *fd, char **why);

/* HOST:PORT as fd is bound, or a unix socket's path; what was asked for when that is not known. */
void gw_listen_name(int fd, const char *asked, char *out, size_t room);

/* *why becomes "cannot listen on ADDRESS: WHAT", or NULL without memory. */
void gw_listen_explain(char **why, const char *address, const char *what);

#endif
