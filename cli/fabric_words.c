#include "cli/fabric_words.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static void say(struct cli_fabric_words *w, const char *word)
{
	assert(w->n < CLI_WORDS_MAX);
	w->argv[w->n++] = word;
	w->argv[w->n] = NULL;
}

static void say_two(struct cli_fabric_words *w, const char *flag, const char *value)
{
	say(w, flag);
	say(w, value);
}

void cli_fabric_name(enum cli_group group, unsigned index, char out[32])
{
	static const char *const names[CLI_GROUP__N] = { "redis", "broker", "worker", "gateway" };

	if (group == CLI_REDIS)
		(void)snprintf(out, 32, "%s", names[group]);
	else
		(void)snprintf(out, 32, "%s-%u", names[group], index + 1);
}

/* fsync always, because what was answered must survive (G1); no eviction, because state is not a
 * cache; one socket and no port, because nobody else has business here. Redis's own 64 MB would
 * have the file written anew every two or three seconds under load (doc/operations.md, Redis). */
static void redis_words(struct cli_fabric_words *w)
{
	w->process.folder = CLI_REDIS_FOLDER;
	say_two(w, "--port", "0");
	say_two(w, "--unixsocket", "../" CLI_REDIS_SOCKET);
	say_two(w, "--unixsocketperm", "700");
	say_two(w, "--appendonly", "yes");
	say_two(w, "--appendfsync", "always");
	say_two(w, "--no-appendfsync-on-rewrite", "no");
	say_two(w, "--auto-aof-rewrite-min-size", "256mb");
	say_two(w, "--maxmemory-policy", "noeviction");
	say_two(w, "--save", "");
	say_two(w, "--dir", ".");
	say_two(w, "--logfile", "redis.log");
	say_two(w, "--daemonize", "no");
}

static void list_brokers(const struct cli_fabric_conf *conf, struct base_buf *out)
{
	for (unsigned i = 0; i < conf->counts[CLI_BROKERS]; i++) {
		base_buf_str(out, i ? ",ipc://" : "ipc://");
		base_buf_fmt(out, CLI_BROKER_SOCKET, i + 1);
	}
}

static void broker_words(
	struct cli_fabric_words *w, const struct cli_fabric_conf *conf, unsigned index)
{
	base_buf_reset(&w->brokers);
	base_buf_str(&w->brokers, "ipc://");
	base_buf_fmt(&w->brokers, CLI_BROKER_SOCKET, index + 1);
	say_two(w, "--bind", (const char *)w->brokers.data);
	say_two(w, "--redis", conf->redis);
	say_two(w, "--durability", conf->durability);
}

static void worker_words(struct cli_fabric_words *w, const struct cli_fabric_conf *conf)
{
	say_two(w, "--brokers", (const char *)w->brokers.data);
	say_two(w, "--redis", conf->redis);
	say_two(w, "--services", conf->services);
}

static const char *give_fd(struct cli_fabric_words *w, int fd)
{
	size_t i = w->process.n_fds++;

	w->process.fds[i] = fd;
	(void)snprintf(w->fd[i], sizeof w->fd[i], "%d", CLI_FIRST_FD + (int)i);
	return w->fd[i];
}

static void gateway_words(
	struct cli_fabric_words *w, const struct cli_fabric_conf *conf, unsigned index)
{
	say_two(w, "--brokers", (const char *)w->brokers.data);
	say_two(w, "--http-fd", give_fd(w, conf->http.fd));
	say_two(w, "--admin-fd", give_fd(w, conf->admins[index].fd));
}

static void pirn_words(struct cli_fabric_words *w, const struct cli_fabric_conf *conf,
	const struct cli_child *child)
{
	static const char *const levels[] = { "debug", "info", "warn", "error" };

	say_two(w, "--name", w->name);
	say_two(w, "--log", conf->quiet ? "json" : "text");
	say_two(w, "--log-level", levels[base_log_level()]);
	/* A little less than we wait, so that it gives up by itself before it is killed. */
	(void)snprintf(w->drain, sizeof w->drain, "%llums",
		(unsigned long long)(cli_supervise_share(conf->drain_ms, child->group) -
				     conf->drain_ms / 16));
	say_two(w, "--drain", w->drain);
}

void cli_fabric_words(const struct cli_fabric_conf *conf, const struct cli_child *child,
	struct cli_fabric_words *w)
{
	memset(w, 0, sizeof *w);
	base_buf_init(&w->brokers);
	list_brokers(conf, &w->brokers);
	cli_fabric_name(child->group, child->index, w->name);
	say(w, cli_group_name(child->group));
	switch (child->group) {
	case CLI_REDIS:
		redis_words(w);
		w->process.fds[w->process.n_fds++] = conf->lock_fd; /* see cli_layout_lock */
		break;
	case CLI_BROKERS:
		broker_words(w, conf, child->index);
		break;
	case CLI_WORKERS:
		worker_words(w, conf);
		break;
	case CLI_GATEWAYS:
		gateway_words(w, conf, child->index);
		break;
	case CLI_GROUP__N:
		break;
	}
	if (child->group != CLI_REDIS) {
		pirn_words(w, conf, child);
		w->process.notify = conf->notify;
	}
	w->process.path = conf->programs[child->group];
	w->process.argv = w->argv;
}

void cli_fabric_words_fini(struct cli_fabric_words *w)
{
	base_buf_fini(&w->brokers);
}
