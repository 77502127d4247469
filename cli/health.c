/* pirn health: is it well? For container health checks: quiet when it is, one line
 * when it is not. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/http.h"
#include "net/links.h"

struct settings {
	char *url, *broker, *brokers;
	bool worker;
	uint32_t timeout_ms;
};

static int check_url(const struct settings *s)
{
	struct cli_http_response response;
	char why[512];
	struct cli_http_request request = {
		.base = s->url, .path = "", .timeout_ms = s->timeout_ms
	};
	enum base_err err = cli_http(&request, &response, why, sizeof why);
	bool ok;

	if (err) {
		cli_complain("%s: %s", s->url, why);
		return CLI_UNAVAILABLE;
	}
	ok = response.status >= 200 && response.status < 300;
	if (!ok)
		cli_complain("%s answers %u", s->url, response.status);
	cli_http_fini(&response);
	return ok ? CLI_OK : CLI_FAILED;
}

/* ---- a broker: HELLO and WELCOME ------------------------------------------------- */

struct greeting {
	struct net_loop *loop;
	bool welcome;
};

static void on_up(void *arg, struct net_link *link, const Pirn__Welcome *welcome)
{
	struct greeting *g = arg;

	(void)link;
	(void)welcome;
	g->welcome = true;
	net_loop_stop(g->loop);
}

static void on_down(void *arg, struct net_link *link)
{
	(void)arg;
	(void)link;
}

static void on_message(
	void *arg, struct net_link *link, const struct net_frame *frame, struct base_block *block)
{
	(void)arg;
	(void)link;
	(void)frame;
	(void)block;
}

static void on_timeout(uv_timer_t *timer)
{
	net_loop_stop(timer->data);
}

static enum base_err greet(struct greeting *g, const char *brokers, uint32_t timeout_ms, char **why)
{
	struct net_links_conf conf = {
		.brokers = brokers, .role = PIRN__ROLE__CLIENT, .name = "pirn-health"
	};
	struct net_links_events events = {
		.on_up = on_up,
		.on_down = on_down,
		.on_drain = on_down,
		.on_message = on_message,
		.arg = g,
	};
	struct net_links *links = NULL;
	uv_timer_t timer;
	enum base_err err = net_loop_new(&g->loop);

	if (err)
		return err;
	base_rand_system(conf.boot, sizeof conf.boot);
	err = net_links_new(g->loop, &conf, &events, &links, why);
	if (!err) {
		uv_timer_init(net_loop_uv(g->loop), &timer);
		timer.data = g->loop;
		uv_timer_start(&timer, on_timeout, timeout_ms, 0);
		net_loop_run(g->loop);
		uv_close((uv_handle_t *)&timer, NULL);
		net_links_free(&links);
	}
	net_loop_free(&g->loop);
	return err;
}

static int check_brokers(const char *brokers, uint32_t timeout_ms)
{
	struct greeting g = { 0 };
	char *why = NULL;
	enum base_err err;

	/* The exit status is the answer: a link that comes up is no news, every 10 s. */
	if (base_log_level() == BASE_INFO)
		base_log_init(BASE_WARN, base_log_format(), 2);
	err = greet(&g, brokers, timeout_ms, &why);
	if (err)
		cli_complain("%s: %s", brokers, why ? why : base_err_text(err));
	else if (!g.welcome)
		cli_complain("%s: no broker answers within %u ms", brokers, timeout_ms);
	free(why);
	if (err)
		return err == BASE_CONFIG || err == BASE_INVALID ? CLI_USAGE : CLI_FAILED;
	return g.welcome ? CLI_OK : CLI_UNAVAILABLE;
}

/* ---- a worker: it has no port ------------------------------------------------------ */

static bool is_worker(const char *pid)
{
	char path[300];
	char name[32] = "";
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%s/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof name, file))
		name[0] = '\0';
	fclose(file);
	return strcmp(name, "pirn-worker\n") == 0;
}

static bool worker_runs(void)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	bool found = false;

	while (proc && !found && (entry = readdir(proc)))
		found = isdigit((unsigned char)entry->d_name[0]) && is_worker(entry->d_name);
	if (proc)
		closedir(proc);
	return found;
}

static int check_worker(const struct settings *s)
{
	if (!worker_runs()) {
		cli_complain("no pirn-worker runs here");
		return CLI_UNAVAILABLE;
	}
	if (!s->brokers) {
		cli_complain("--worker needs to know the brokers: set PIRN_BROKERS or --brokers");
		return CLI_USAGE;
	}
	return check_brokers(s->brokers, s->timeout_ms);
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;

	(void)n_operands;
	(void)operands;
	if ((s->url != NULL) + (s->broker != NULL) + s->worker != 1) {
		cli_complain(
			"one of --url URL, --broker ENDPOINT and --worker says what to look at");
		return CLI_USAGE;
	}
	if (s->url)
		return check_url(s);
	return s->worker ? check_worker(s) : check_brokers(s->broker, s->timeout_ms);
}

static const struct base_conf_row rows[] = {
	{ "url", BASE_CONF_STR, offsetof(struct settings, url), NULL, 0, 0, NULL,
		"it answers 2xx" },
	{ "broker", BASE_CONF_STR, offsetof(struct settings, broker), NULL, 0, 0, NULL,
		"the broker at this endpoint (tcp://HOST:PORT, ipc://PATH) welcomes a peer" },
	{ "worker", BASE_CONF_BOOL, offsetof(struct settings, worker), "no", 0, 0, NULL,
		"a pirn-worker runs here, and a broker can be reached from here" },
	{ "brokers", BASE_CONF_STR, offsetof(struct settings, brokers), NULL, 0, 0, NULL,
		"the brokers of that worker" },
	{ "timeout", BASE_CONF_MS, offsetof(struct settings, timeout_ms), "2s", 1, 60000, NULL,
		"how long an answer may take" },
	{ 0 },
};

const struct cli_command cli_health = {
	.program = {
		.name = "pirn health",
		.synopsis = "--url URL | --broker ENDPOINT | --worker",
		.about = "Says by its exit status whether a part of Pirn is well; for health checks." CLI_EXIT_HELP,
		.rows = rows,
	},
	.summary = "tell whether a part is well (for health checks)",
	.settings_size = sizeof(struct settings),
	.run = run,
};
