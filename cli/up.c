/* pirn up: checks everything that can be checked before anything is started, so
 * that what is wrong is one clear line, and then runs the fabric (cli/fabric.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/fabric.h"
#include "cli/fabric_control.h"
#include "cli/fabric_words.h"
#include "cli/layout.h"
#include "cli/listen.h"
#include "cli/services_in.h"
#include "net/loop.h"
#include "net/notify.h"
#include "store/redis.h"
#include "store/url.h"

#define SOCKET_PATH_MAX 107

struct settings {
	char *http, *admin, *data, *services, *redis, *redis_server;
	uint32_t workers, brokers, gateways, drain_ms;
	unsigned durability; /* index into durabilities */
};

#define DURABILITIES "always|everysec" /* as pirn-broker has them */
static const char *const durabilities[] = { "always", "everysec" };

static bool find_programs(struct cli_fabric_conf *conf, const struct settings *s)
{
	for (enum cli_group g = CLI_BROKERS; g < CLI_GROUP__N; g++)
		if (cli_layout_program(cli_group_name(g), conf->programs[g], PATH_MAX) != BASE_OK) {
			cli_complain("there is no %s beside this program", cli_group_name(g));
			return false;
		}
	if (s->redis)
		return true;
	if (strchr(s->redis_server, '/')) {
		if (realpath(s->redis_server, conf->programs[CLI_REDIS]) &&
			access(conf->programs[CLI_REDIS], X_OK) == 0)
			return true;
	} else if (cli_layout_in_path(s->redis_server, conf->programs[CLI_REDIS], PATH_MAX) ==
		   BASE_OK) {
		return true;
	}
	cli_complain(
		"there is no %s; install it (apt-get install redis-server), or use another Redis with --redis URL",
		s->redis_server);
	return false;
}

static bool find_services(struct cli_fabric_conf *conf, const struct settings *s)
{
	char why[1024];

	if (s->services && !realpath(s->services, conf->services)) {
		cli_complain("--services %s: %s", s->services, strerror(errno));
		return false;
	}
	if (!s->services && cli_layout_services(conf->services, sizeof conf->services) != BASE_OK) {
		cli_complain(
			"there is no folder of services beside this program; name one with --services");
		return false;
	}
	if (cli_services_in(conf->services, &conf->names, &conf->n_names, why, sizeof why) ==
		BASE_OK)
		return true;
	cli_complain("%s", why);
	return false;
}

/* Creates the data directory, locks it, and goes there. */
static bool enter_data(struct cli_fabric_conf *conf, const struct settings *s)
{
	pid_t owner = 0;
	enum base_err err = cli_layout_mkdirs(s->data);

	if (err || !realpath(s->data, conf->data) || chdir(conf->data) != 0) {
		cli_complain("--data %s: %s", s->data, err ? base_err_text(err) : strerror(errno));
		return false;
	}
	err = cli_layout_lock("pirn.lock", &conf->lock_fd, &owner);
	if (err == BASE_EXISTS) {
		cli_complain(
			"%s is in use by another `pirn up` (pid %ld); give this one --data DIR and other ports",
			conf->data, (long)owner);
		return false;
	}
	if (!err)
		err = cli_layout_mkdirs(CLI_RUN_FOLDER);
	if (!err)
		err = cli_layout_mkdirs(CLI_REDIS_FOLDER);
	if (err)
		cli_complain("%s: %s", conf->data, base_err_text(err));
	return !err;
}

/* Sockets that a killed run left behind; the lock says that nobody uses them. */
static void clear_sockets(void)
{
	DIR *folder = opendir(CLI_RUN_FOLDER);
	const struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		const char *end = strrchr(entry->d_name, '.');

		if (end && strcmp(end, ".sock") == 0)
			(void)unlinkat(dirfd(folder), entry->d_name, 0);
	}
	if (folder)
		closedir(folder);
}

/* ---- a Redis of somebody else's ------------------------------------------------ */

struct check {
	struct net_loop *loop;
	bool up;
	char why[256];
};

static void on_up(void *arg)
{
	struct check *c = arg;

	c->up = true;
	net_loop_stop(c->loop);
}

static void on_down(void *arg, const char *why)
{
	struct check *c = arg;

	(void)snprintf(c->why, sizeof c->why, "%s", why);
	net_loop_stop(c->loop);
}

static bool redis_answers(const char *url)
{
	struct check c = { .why = "out of memory" };
	struct store_redis_conf conf = { .url = url, .name = "pirn-up" };
	struct store_redis_events events = { .on_up = on_up, .on_down = on_down, .arg = &c };
	struct store_redis *redis = NULL;
	char *why = NULL;

	if (net_loop_new(&c.loop) == BASE_OK &&
		store_redis_new(c.loop, &conf, &events, &redis, &why) == BASE_OK)
		net_loop_run(c.loop);
	if (!c.up)
		cli_complain("--redis: %s", why ? why : c.why);
	free(why);
	store_redis_free(&redis);
	net_loop_free(&c.loop);
	return c.up;
}

/* Children are told two of them with their whole path. */
static bool sockets_fit(struct cli_fabric_conf *conf)
{
	const size_t longest = sizeof "/" CLI_NOTIFY_SOCKET - 1;

	_Static_assert(sizeof CLI_NOTIFY_SOCKET >= sizeof CLI_REDIS_SOCKET, "the longest name");
	if (strlen(conf->data) + longest > SOCKET_PATH_MAX) {
		cli_complain(
			"the path of the data directory is too long for a socket in it: %s (%zu bytes are possible); give a shorter --data",
			conf->data, SOCKET_PATH_MAX - longest);
		return false;
	}
	(void)snprintf(conf->notify, sizeof conf->notify,
		NET_NOTIFY_VARIABLE "=%s/" CLI_NOTIFY_SOCKET, conf->data);
	return true;
}

static bool settle_redis(
	struct cli_fabric_conf *conf, const struct settings *s, char *url, size_t room)
{
	if (s->redis) {
		conf->redis = s->redis;
		return redis_answers(s->redis);
	}
	(void)snprintf(url, room, "unix://%s/%s", conf->data, CLI_REDIS_SOCKET);
	conf->redis = url;
	return true;
}

static bool listens(const char *flag, const char *address, struct cli_fabric_listener *out)
{
	char why[256];

	if (cli_listen(address, out, why, sizeof why) == BASE_OK)
		return true;
	cli_complain("%s %s: %s", flag, address, why);
	return false;
}

static bool listens_privately(const char *path, struct cli_fabric_listener *out)
{
	char why[256];

	if (cli_listen_private(path, out, why, sizeof why) == BASE_OK)
		return true;
	cli_complain("%s: %s", path, why);
	return false;
}

static bool open_admins(struct cli_fabric_conf *conf, const struct settings *s)
{
	bool off = strcmp(s->admin, "off") == 0;
	char path[64];

	if (!off && !listens("--admin", s->admin, &conf->admins[0]))
		return false;
	for (unsigned i = !off; i < s->gateways; i++) {
		(void)snprintf(path, sizeof path, CLI_ADMIN_SOCKET, i + 1);
		if (!listens_privately(path, &conf->admins[i]))
			return false;
	}
	return true;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	char url[PATH_MAX + 64];
	struct cli_fabric_conf conf = {
		.http = { .fd = -1 },
		.lock_fd = -1,
		.durability = durabilities[s->durability],
		.drain_ms = s->drain_ms,
		.counts = { s->redis ? 0 : 1, s->brokers, s->workers, s->gateways },
		.quiet = base_log_format() == BASE_LOG_JSON,
	};
	int status = CLI_FAILED;

	(void)n_operands;
	(void)operands;
	/* Two on one directory are told so, rather than that a port is in use. */
	if (!find_programs(&conf, s) || !find_services(&conf, s) || !enter_data(&conf, s))
		goto fail;
	clear_sockets();
	if (!sockets_fit(&conf) || !listens("--http", s->http, &conf.http) ||
		!open_admins(&conf, s) || !listens_privately(CLI_CONTROL_SOCKET, &conf.control) ||
		!settle_redis(&conf, s, url, sizeof url))
		goto fail;
	status = cli_fabric_run(&conf);
fail:
	if (conf.lock_fd >= 0)
		close(conf.lock_fd);
	cli_services_free(&conf.names, &conf.n_names);
	return status;
}

static char *find_fault(const void *settings, const char **option)
{
	const struct settings *s = settings;

	*option = "--redis";
	return s->redis ? store_url_fault(s->redis) : NULL;
}

#define ROW(name, type, field, standard, min, max, help) \
	{ \
		name, type, offsetof(struct settings, field), standard, min, max, NULL, help \
	}

static const struct base_conf_row rows[] = {
	ROW("http", BASE_CONF_ADDRESS, http, "127.0.0.1:8080", 0, 0,
		"where the gateway listens; port 0: any free one"),
	{ "admin", BASE_CONF_ADDRESS, offsetof(struct settings, admin), "127.0.0.1:8081", 0, 0, "off",
		"HOST:PORT where administration and metrics listen; off: nowhere" },
	ROW("data", BASE_CONF_STR, data, "var", 0, 0,
		"directory of Redis's files and of the sockets; is created"),
	ROW("services", BASE_CONF_STR, services, NULL, 0, 0,
		"folder of built services, one folder each (default: those that belong to this program)"),
	ROW("workers", BASE_CONF_U32, workers, "2", 1, 64, "how many workers"),
	ROW("brokers", BASE_CONF_U32, brokers, "1", 1, 16, "how many brokers"),
	ROW("gateways", BASE_CONF_U32, gateways, "1", 1, CLI_GATEWAYS_MAX,
		"how many gateways; they share the port"),
	ROW("redis", BASE_CONF_STR, redis, NULL, 0, 0,
		"use this Redis instead of one of its own: redis://[[user]:password@]host[:port][/db] or unix:///path"),
	ROW("redis-server", BASE_CONF_STR, redis_server, "redis-server", 0, 0,
		"the program to run as its own Redis"),
	{ "durability", BASE_CONF_CHOICE, offsetof(struct settings, durability), "always", 0, 0,
		DURABILITIES,
		"what --redis must promise before events are accepted; everysec: whatever it does" },
	ROW("drain", BASE_CONF_MS, drain_ms, "30s", 100, 3600000,
		"how long stopping may take before the rest is killed"),
	{ 0 },
};

const struct cli_command cli_up = {
	.program = {
		.name = "pirn up",
		.synopsis = "[options]",
		.about = "Runs everything in the foreground: a redis-server, brokers, workers, gateways. A child that\n"
			 "dies is started again. Ctrl-C or SIGTERM lets what runs finish, then ends all in order." CLI_EXIT_HELP,
		.rows = rows,
		.fault = find_fault,
	},
	.summary = "run everything in the foreground",
	.settings_size = sizeof(struct settings),
	.run = run,
};
