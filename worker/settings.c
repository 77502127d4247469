#include "worker/settings.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/resolve.h"
#include "store/url.h"

#define ROW(name, type, field, standard, min, max, help) \
	{ \
		name, type, offsetof(struct wrk_settings, field), standard, min, max, NULL, help \
	}

static const struct base_conf_row rows[] = {
	ROW("brokers", BASE_CONF_STR, brokers, "tcp://127.0.0.1:7400", 0, 0,
		"brokers' endpoints, comma-separated: tcp://HOST:PORT (a name may stand for several) or ipc://PATH"),
	ROW("redis", BASE_CONF_STR, redis, "redis://127.0.0.1:6379", 0, 0,
		"where services keep their state: redis://[[user]:password@]host[:port][/db] or unix:///path"),
	ROW("services", BASE_CONF_STR, services, NULL, 0, 0,
		"folder of built services, one folder each; default: beside the program"),
	ROW("carry", BASE_CONF_STR, carry, NULL, 0, 0,
		"folders to carry, comma-separated; default: all"),
	ROW("name", BASE_CONF_STR, name, NULL, 0, 0,
		"for logs and lists; default: host and process"),
	ROW("threads", BASE_CONF_U32, threads, "1", 1, 256,
		"threads that are kept when nothing runs"),
	ROW("max-threads", BASE_CONF_U32, max_threads, "256", 1, 10000, "threads at most"),
	ROW("max-response", BASE_CONF_BYTES, max_response, "1m", 1024, 15u * 1024 * 1024,
		"a response's body at most; a larger one is answered 502"),
	ROW("drain", BASE_CONF_MS, drain_ms, "30s", 1, 3600000,
		"how long runs may take to end after SIGTERM"),
	ROW("stuck-after", BASE_CONF_MS, stuck_ms, "30s", 0, 3600000,
		"how long runs that do not end at their deadline may hold all that a service may run at once, or all threads, until the worker ends to be replaced; 0: for ever"),
	ROW("max-memory", BASE_CONF_BYTES, max_memory, "0", 0, 0,
		"resident memory from which the worker drains and starts itself anew; 0: four fifths of its cgroup's bound, if that has one"),
	ROW("http-allow", BASE_CONF_STR, http_allow, NULL, 0, 0,
		"hosts whose HTTP endpoints may be called though their addresses are not public, comma-separated: app, app:3000, *.internal, 10.0.0.0/8"),
	ROW("http-public", BASE_CONF_BOOL, http_public, "yes", 0, 0,
		"whether HTTP endpoints at public addresses may be called without being in http-allow"),
	ROW("http-connect", BASE_CONF_MS, http_connect_ms, "5s", 10, 3600000,
		"how long a connection to an HTTP endpoint may take to come about"),
	ROW("http-ca", BASE_CONF_STR, http_ca, NULL, 0, 0,
		"file of the certificates (PEM) by which HTTPS endpoints are trusted; default: the system's"),
	ROW("callbacks", BASE_CONF_BOOL, callbacks, "yes", 0, 0,
		"whether this worker delivers callbacks"),
	ROW("callback-secret", BASE_CONF_STR, callback_secret, NULL, 0, 0,
		"what callbacks are signed with (Standard Webhooks): whsec_ and base64 of 24 to 64 bytes; several with commas. Better in the environment or a file"),
	ROW("callback-secret-file", BASE_CONF_STR, callback_secret_file, NULL, 0, 0,
		"the file that holds it, one a line"),
	{ 0 },
};

static char *find_fault(const void *settings, const char **option)
{
	const struct wrk_settings *s = settings;
	char *why = net_endpoints_fault(s->brokers);

	*option = why ? "--brokers" : "--redis";
	return why ? why : store_url_fault(s->redis);
}

const struct base_conf_program wrk_settings_program = {
	.name = "pirn-worker",
	.synopsis = "[options]",
	.about =
		"Runs services: takes calls from every broker, keeps the services' state in Redis.",
	.rows = rows,
	.fault = find_fault,
};

static enum base_err set_name(struct wrk_settings *s)
{
	char host[64] = "worker", name[96];

	(void)gethostname(host, sizeof host - 1);
	snprintf(name, sizeof name, "%s-%ld", host, (long)getpid());
	s->name = strdup(name);
	return s->name ? BASE_OK : BASE_NOMEM;
}

/* /usr/bin/pirn-worker has /usr/share/pirn/services, build/release/bin/pirn-worker build/release/services. */
static enum base_err set_services(struct wrk_settings *s)
{
	static const char *const places[] = { "../services", "../share/pirn/services" };
	char self[PATH_MAX], path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	size_t i = 0;

	self[n > 0 ? n : 0] = '\0';
	*(strrchr(self, '/') ? strrchr(self, '/') : self) = '\0';
	do
		snprintf(path, sizeof path, "%s/%s", self, places[i]);
	while (access(path, R_OK) != 0 && ++i < sizeof places / sizeof *places);
	s->services = strdup(path);
	return s->services ? BASE_OK : BASE_NOMEM;
}

enum base_err wrk_settings_complete(struct wrk_settings *s)
{
	enum base_err err = BASE_OK;

	if (!s->name)
		err = set_name(s);
	if (!err && !s->services)
		err = set_services(s);
	if (s->max_threads < s->threads)
		s->max_threads = s->threads;
	return err;
}
