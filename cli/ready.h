/* Is a group of children ready? Asked until it is, by facts: Redis answers PING,
 * every broker's socket accepts, the gateway says /readyz, and its list of services
 * names every one that is expected with a worker.
 */
#ifndef CLI_READY_H
#define CLI_READY_H

#include "base/err.h"
#include "cli/fabric.h"
#include "net/loop.h"

struct cli_ready;

/* Called from the loop, once for each group that was begun and not stopped. failure: a sentence; the
 * group did not become ready in its time. */
typedef void cli_ready_fn(void *arg, enum cli_group group, const char *failure);

BASE_MUSTUSE enum base_err cli_ready_new(struct net_loop *loop, const struct cli_fabric_conf *conf, cli_ready_fn *fn,
                                         void *arg, struct cli_ready **out);
void cli_ready_begin(struct cli_ready *r, enum cli_group group); /* again with the same group: nothing happens */
void cli_ready_stop(struct cli_ready *r);
void cli_ready_free(struct cli_ready **r); /* takes NULL */

/* Whether the gateway's list of services (UNTRUSTED JSON) names all of names with a worker. *missing: the first that is not. */
bool cli_ready_has_services(const char *json, size_t size, char *const *names, size_t n, const char **missing);

#endif
