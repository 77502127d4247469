/* A Pirn of one's own, for a test: real processes on their own Redis, directory and
 * port, each to be killed, paused and started as the test likes.
 *
 *   struct fabric f = { .n_brokers = 2, .n_workers = 2 };
 *   fabric_start(&f);
 *   … harness_get(f.http, "/hello") …
 *   fabric_stop(&f);
 */
#ifndef TESTS_HARNESS_FABRIC_H
#define TESTS_HARNESS_FABRIC_H

#include <limits.h>
#include <stdbool.h>

#include "tests/harness/http.h"
#include "tests/harness/process.h"
#include "tests/harness/redis.h"
#include "tests/harness/wait.h"

#define FABRIC_MAX 8

struct fabric {
	/* What is wanted; 0 brokers, workers or gateways mean 1. */
	unsigned n_brokers, n_workers, n_gateways;
	bool no_workers, no_redis;       /* none at first; a Redis that is not there */
	bool tcp;                        /* brokers on TCP ports of loopback rather than on ipc */
	const char *const *broker_flags; /* more flags for each; NULL-terminated, or NULL */
	const char *const *worker_flags;
	const char *const *gateway_flags;
	const char *const *gateway_environment; /* "NAME=value" lines for each; NULL-terminated, or NULL */
	const char *const *worker_environment;
	const char *const *redis_options; /* and for its Redis */
	const char *const *redis_environment;
	/* Called when Redis runs and the brokers have their endpoints, before they start: may put something
	 * else between the parts, by changing the lists and URLs below. */
	void (*reroute)(struct fabric *f);
	const char *services;            /* folder; NULL: Pirn's own and the tests' */

	/* What there is. */
	char dir[PATH_MAX];
	char services_dir[PATH_MAX];
	char endpoints[FABRIC_MAX][PATH_MAX];
	char brokers_list[FABRIC_MAX * 128];
	char worker_list[FABRIC_MAX * 128], gateway_list[FABRIC_MAX * 128]; /* as they see it */
	char http[64], admin[64];        /* of gateway 0: http://127.0.0.1:PORT */
	char urls[FABRIC_MAX][64];       /* every gateway's */
	char redis_url[PATH_MAX];
	char broker_redis[FABRIC_MAX][PATH_MAX]; /* as each broker sees it */
	char worker_redis[PATH_MAX];             /* as the workers do */
	struct harness_redis *redis;
	struct harness_process *brokers[FABRIC_MAX], *workers[FABRIC_MAX], *gateways[FABRIC_MAX];
};

/* Returns when every gateway is ready, everybody is linked with every broker and, unless no_workers,
 * hello has all its workers. */
void fabric_start(struct fabric *f);
void fabric_stop(struct fabric *f);

void fabric_add_worker(struct fabric *f, unsigned i); /* starts it; returns at once */
/* Workers that a gateway's list shows for a service; -1: it does not know it. */
int fabric_workers_of(struct fabric *f, const char *service);

/* Pirn's services and the tests' in one new folder, as links. */
void fabric_link_services(char *out, unsigned room);

#endif
