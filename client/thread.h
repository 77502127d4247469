/* What the library's files share beyond its public header: thread (the client, its
 * thread and the way in), wait (functions that wait for their callbacks), result
 * (what became of events).
 */
#ifndef CLIENT_THREAD_H
#define CLIENT_THREAD_H

#include "client/engine.h"
#include "pirn/client.h"

/* Something that is to happen in the client's thread. run is called once, also when the client is closing:
 * the engine then ends what run starts with. */
struct client_job {
	struct client_job *next;
	void (*run)(struct pirn_client *client, struct client_job *job);
};

/* OK: run will be called. CLOSED: it will not. */
enum pirn_client_err client_thread_post(struct pirn_client *client, struct client_job *job);

struct client_engine *client_thread_engine(const struct pirn_client *client); /* only within run */

/* As pirn_client_result_async, after what has not ended was cancelled. */
enum pirn_client_err client_result_cancel_async(
	struct pirn_client *client, const char *id, pirn_result_fn *fn, void *arg);

/* Whether the caller is the client's own thread, which is where callbacks run. */
bool client_thread_is_own(const struct pirn_client *client);

#endif
