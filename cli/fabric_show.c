#include "cli/fabric_show.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fabric_words.h"
#include "cli/term.h"

static bool shows_progress(const struct cli_fabric_conf *conf)
{
	return !conf->quiet && isatty(STDOUT_FILENO);
}

void cli_fabric_show_start(const struct cli_fabric_conf *conf)
{
	if (!shows_progress(conf))
		return;
	printf("Starting Pirn on %s\n", conf->data);
	fflush(stdout);
}

void cli_fabric_show_group(const struct cli_fabric_conf *conf, enum cli_group group)
{
	unsigned count = conf->counts[group];

	if (!shows_progress(conf))
		return;
	printf("  %s%s%s %s", cli_term_style(stdout, CLI_GREEN),
		group == CLI_WORKERS ? "started" : "ready  ", cli_term_style(stdout, CLI_PLAIN),
		cli_group_name(group));
	if (count > 1)
		printf(" × %u", count);
	putchar('\n');
	fflush(stdout);
}

static bool has_service(const struct cli_fabric_conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_names; i++)
		if (strcmp(conf->names[i], name) == 0)
			return true;
	return false;
}

static void show_examples(const struct cli_fabric_conf *conf)
{
	const char *http = conf->http.text;
	bool echo = has_service(conf, "echo");
	const char *any = echo ? "echo" : conf->n_names ? conf->names[0] : NULL;
	const char *body = echo ? "any bytes" : "{}";

	printf("\nTry:\n\n");
	if (has_service(conf, "hello"))
		printf("  curl 'http://%s/hello?name=World'\n", http);
	if (has_service(conf, "counter"))
		printf("  curl -X POST http://%s/counter -H 'Content-Type: application/json' -d '{\"increment\":1}'\n",
			http);
	if (conf->n_names == 0)
		return;
	printf("  curl -X POST http://%s/v1/invoke/%s -d '%s'\n", http, any, body);
	printf("  curl -i -X POST http://%s/v1/invoke/%s -H 'Prefer: respond-async' -d '%s'\n",
		http, any, body);
}

void cli_fabric_show_ready(const struct cli_fabric_conf *conf)
{
	if (conf->quiet)
		return;
	printf("\n%sPirn is up.%s\n\n", cli_term_style(stdout, CLI_BOLD),
		cli_term_style(stdout, CLI_PLAIN));
	printf("  HTTP            http://%s\n", conf->http.text);
	if (conf->admins[0].text[0])
		printf("  administration  http://%s\n", conf->admins[0].text);
	printf("  data            %s\n  services       ", conf->data);
	for (size_t i = 0; i < conf->n_names; i++)
		printf(" %s", conf->names[i]);
	printf("%s\n", conf->n_names ? "" : " none yet; `pirn new NAME` makes one");
	show_examples(conf);
	printf("\nCtrl-C ends everything.\n\n");
	fflush(stdout);
}

void cli_fabric_show_stopping(const struct cli_fabric_conf *conf)
{
	if (!shows_progress(conf))
		return;
	printf("\nStopping: what runs may finish (%.3g s at most). Ctrl-C again ends it at once.\n",
		(double)conf->drain_ms / 1000);
	fflush(stdout);
}

void cli_fabric_show_killed(const struct cli_fabric_conf *conf, const char *name, pid_t pid)
{
	if (!conf->quiet)
		fprintf(stderr, "pirn up: %s (%ld) did not end in time and was killed\n", name,
			(long)pid);
}

void cli_fabric_show_stopped(const struct cli_fabric_conf *conf, int status)
{
	if (!shows_progress(conf) || status != CLI_OK)
		return;
	printf("Stopped. The data is in %s.\n", conf->data);
	fflush(stdout);
}

/* The last line of Redis's log: it says nothing on stderr. */
static void last_of_log(char *out, size_t room)
{
	char line[512];
	FILE *log = fopen(CLI_REDIS_LOG, "re");

	out[0] = '\0';
	while (log && fgets(line, sizeof line, log)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			(void)snprintf(out, room, "%s", line);
	}
	if (log)
		fclose(log);
}

void cli_fabric_show_culprit(
	const struct cli_fabric_conf *conf, const struct cli_child *child, int status)
{
	const char *how = WIFSIGNALED(status) ? "by signal" : "with exit status";
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	char name[32];
	char last[600];

	cli_fabric_name(child->group, child->index, name);
	if (child->group != CLI_REDIS) {
		cli_complain("%s ended %s %d before everything was up; its lines above say why",
			name, how, number);
		return;
	}
	last_of_log(last, sizeof last);
	cli_complain("redis-server ended %s %d before everything was up; the end of %s/%s: %s", how,
		number, conf->data, CLI_REDIS_LOG, last);
}
