/* Where a broker listens, as it is written in its settings and as libzmq wants it. */
#ifndef BROKER_ENDPOINTS_H
#define BROKER_ENDPOINTS_H

#include "base/err.h"

/* A list with commas; HOST:PORT means tcp://HOST:PORT. *out (heap) has a scheme for each. CONFIG with *why
 * (heap) when one is no address to listen on, NOMEM. */
BASE_MUSTUSE enum base_err brk_endpoints_make(const char *bind, char **out, char **why);

#endif
