/* What each child of `pirn up` is called and told: its name, its command line, the
 * descriptors it is given. All paths are relative to the data directory, except
 * that of Redis's socket (its URL knows only absolute ones).
 */
#ifndef CLI_FABRIC_WORDS_H
#define CLI_FABRIC_WORDS_H

#include "base/buf.h"
#include "cli/fabric.h"
#include "cli/process.h"

#define CLI_RUN_FOLDER "run"
#define CLI_REDIS_FOLDER "redis"
#define CLI_REDIS_SOCKET "run/redis.sock"
#define CLI_NOTIFY_SOCKET "run/notify.sock"
#define CLI_REDIS_LOG "redis/redis.log"
#define CLI_BROKER_SOCKET "run/broker-%u.sock"
#define CLI_ADMIN_SOCKET  "run/gateway-%u.sock"
#define CLI_WORDS_MAX 40

struct cli_fabric_words {
	struct cli_process process; /* points into what follows */
	const char *argv[CLI_WORDS_MAX + 1];
	size_t n;
	char name[32];
	char fd[2][16];
	char drain[32];
	struct base_buf brokers;    /* the list of endpoints */
};

/* "worker-2"; "redis" */
void cli_fabric_name(enum cli_group group, unsigned index, char out[32]);

void cli_fabric_words(const struct cli_fabric_conf *conf, const struct cli_child *child, struct cli_fabric_words *out);
void cli_fabric_words_fini(struct cli_fabric_words *words);

#endif
