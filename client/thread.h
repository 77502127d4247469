/* What the library's files share beyond its public header. */
#ifndef CLIENT_THREAD_H
#define CLIENT_THREAD_H

#include "pirn/client.h"

/* Whether the caller is the client's own thread, which is where callbacks run. */
bool client_thread_is_own(const struct pirn_client *client);

#endif
