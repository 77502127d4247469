/* Brings services from the folder into the session: reads their manifests, has the
 * executor load and init them, hands them over. Looks at the folder again and again
 * for what came, what changed, and what went.
 */
#ifndef WRK_LOADER_H
#define WRK_LOADER_H

#include "worker/executor.h"
#include "worker/run.h"
#include "worker/session.h"

struct wrk_loader;

struct wrk_loader_conf {
	struct net_loop *loop;
	struct wrk_executor *executor;
	struct wrk_session *session;
	struct wrk_http *http;
	const char *folder, *carry;
	size_t max_response;
	/* A service was handed to the session (OK), or refused; left of them are under way. */
	void (*on_loaded)(void *arg, enum base_err err, size_t left);
	/* A service that is loaded has changed, and could be loaded as it is now. */
	void (*on_change)(void *arg, const char *name);
	void *arg;
};

BASE_MUSTUSE enum base_err wrk_loader_new(
	const struct wrk_loader_conf *conf, struct wrk_loader **out);
void wrk_loader_free(struct wrk_loader **l); /* nothing is under way */

/* Begins with all that is there now; the first mistake in a manifest is returned when all were read, and
 * logged like the others. */
enum base_err wrk_loader_start(struct wrk_loader *l);
void wrk_loader_watch(struct wrk_loader *l); /* from now on, until stopped */
void wrk_loader_stop(struct wrk_loader *l);
size_t wrk_loader_left(const struct wrk_loader *l); /* services under way */

/* A task of wrk_loader_start's came back from the executor. */
void wrk_loader_done(struct wrk_loader *l, struct wrk_run *run);

#endif
