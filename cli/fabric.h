/* Runs what `pirn up` was told to: the shell around the state machine of
 * supervise.h. It starts and signals children, collects the dead, asks whether a
 * group is ready, and says on the terminal and in the log what happens.
 *
 * It works in the data directory, so that sockets have short names (a unix
 * socket's path is at most 107 bytes): run/broker-1.sock, run/redis.sock. The
 * children run there, too.
 *
 * Several gateways share one listening socket: it is opened before anything is
 * started, and stays open while a gateway is started again or replaced, so that no
 * connection is refused meanwhile: it waits in the backlog.
 *
 * Children say when they are ready and when they are going to end (fabric_notes.h);
 * `pirn restart` asks for all to be replaced (fabric_control.h). Who started us is
 * told the same of the whole, if it asked for it.
 */
#ifndef CLI_FABRIC_H
#define CLI_FABRIC_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cli/supervise.h"

#define CLI_GATEWAYS_MAX 16

struct cli_fabric_listener {
	int fd;                          /* listening; -1: none */
	struct sockaddr_storage address; /* where it can be reached from here */
	char text[128];                  /* the same for people: 127.0.0.1:8080 */
	char path[64];                   /* a private one: the unix socket's, instead of the two */
};

struct cli_fabric_conf {
	char programs[CLI_GROUP__N][PATH_MAX]; /* absolute */
	char data[PATH_MAX];                   /* absolute; the working directory */
	char services[PATH_MAX];               /* absolute */
	const char *redis;                     /* a URL */
	const char *durability;                /* what it must promise: pirn-broker's setting */
	struct cli_fabric_listener http;
	/* Administration of each gateway: the first one's is for people, unless it is off. The others'
	 * are private, in the data directory, and serve to ask them whether they are ready. */
	struct cli_fabric_listener admins[CLI_GATEWAYS_MAX];
	struct cli_fabric_listener control;    /* for `pirn restart` */
	char notify[PATH_MAX + 32];            /* "NOTIFY_SOCKET=…", for the children */
	int lock_fd;
	unsigned counts[CLI_GROUP__N];
	uint64_t drain_ms;
	char **names;                          /* of the services that are expected */
	size_t n_names;
	bool quiet;                            /* no progress, no block: --log json */
};

/* Returns the exit status of `pirn up`, after everything has ended. The listeners are closed. */
int cli_fabric_run(const struct cli_fabric_conf *conf);

#endif
