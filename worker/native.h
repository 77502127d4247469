/* Native services: shared objects that export pirn_service_main.
 *
 * What a handler does is checked here, because a service is another's code: a
 * status and headers that may stand in an answer, a body within the bound, a
 * known error code. What breaks the contract is logged and answered 502
 * (CRASHED), and a response over the bound 502 (TOO_LARGE). A handler that takes
 * the process down takes the worker down: the supervisor starts it anew, and the
 * broker tries elsewhere what may be tried.
 *
 * A shared object is looked at before it is loaded: one that is still being
 * written would kill the process with SIGBUS.
 *
 * This is the first kind of executor; a second one would stand beside this file
 * and give its services another wrk_run_fn.
 */
#ifndef WRK_NATIVE_H
#define WRK_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/manifest.h"
#include "pirn/service.h"

struct wrk_native;
struct wrk_executor;
struct wrk_run;
struct wrk_state;

#define WRK_NATIVE_WHY 512

/* Loads folder/manifest->handler and reads the secrets' files. init is not called yet. On an error why
 * holds a line: what is wrong with which file. The manifest is borrowed until wrk_native_free. */
BASE_MUSTUSE enum base_err wrk_native_load(const char *folder, const struct base_manifest *manifest,
	size_t max_response, struct wrk_native **out, char *why, size_t why_room);

/* The same for a service that is linked in; folder is where relative secrets' paths begin. */
BASE_MUSTUSE enum base_err wrk_native_adopt(const char *folder,
	const struct base_manifest *manifest, const struct pirn_service *service,
	size_t max_response, struct wrk_native **out, char *why, size_t why_room);

/* Calls the service's init; it may block, and the loop must not wait for it. DENIED: it said no. */
BASE_MUSTUSE enum base_err wrk_native_init(struct wrk_native *n, char *why, size_t why_room);

/* Calls fini when init was called and went well, and unloads. Takes NULL. */
void wrk_native_free(struct wrk_native **n);

/* What a thread of the executor keeps between runs. executor and state may be NULL. */
struct wrk_thread;
struct wrk_thread *wrk_thread_new(
	struct wrk_executor *executor, struct wrk_state *state); /* NULL: out of memory */
void wrk_thread_free(struct wrk_thread **t);

/* Runs the handler once and writes the answer into the run. A run whose time is over is answered
 * DEADLINE and not run. */
void wrk_native_run(struct wrk_native *n, struct wrk_thread *thread, struct wrk_run *run);

const char *wrk_native_name(const struct wrk_native *n);
struct wrk_breakers;
struct wrk_breakers *wrk_native_breakers(const struct wrk_native *n); /* the service's own */
const char *wrk_native_env(const struct wrk_native *n, const char *name); /* NULL: none */

/* Which service and which run this thread is in; NULL: none. For log lines, also that of a crash. */
struct wrk_where {
	const struct wrk_native *native;
	const struct pirn_request *request;
};
const struct wrk_where *wrk_native_where(void);

#endif
