/* Clients that mean no good, as a load beside the one that is measured:
 *
 *   hostile [--KIND N]... [--seconds S] [--byte-ms MS] [--post TARGET] [--large TARGET] URL
 *
 * URL is http://ADDRESS:PORT[/TARGET]; what is posted goes to /v1/invoke/hello unless --post says. The kinds are those of
 * tests/harness/crowd.h; --slow N is N of them, half heads and half bodies. Prints "ready" when all are where they want to
 * be, goes on for S seconds after that (0: until it is killed), and prints what each kind saw, as key=value lines.
 * Exit 1: they did not get there within a minute.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/harness/crowd.h"

#define READY_S 60

enum { SECONDS = 256, BYTE_MS, SLOW, POST, UNREAD };

static void pause_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static void show(struct crowd *crowd, const struct crowd_conf *conf)
{
	for (unsigned k = 0; k < CROWD__N; k++) {
		struct crowd_counts n = crowd_counts(crowd, (enum crowd_kind)k);
		if (conf->n[k] == 0)
			continue;
		printf("%s wanted=%u open=%u settled=%u opened=%llu ended=%llu mute=%llu failed=%llu",
			crowd_name((enum crowd_kind)k), conf->n[k], n.open, n.settled,
			(unsigned long long)n.opened, (unsigned long long)n.ended,
			(unsigned long long)n.mute, (unsigned long long)n.failed);
		for (unsigned s = 0; s < 600; s++)
			if (n.status[s])
				printf(" %u=%u", s, n.status[s]);
		putchar('\n');
	}
	fflush(stdout);
}

static int usage(void)
{
	fprintf(stderr, "Usage: hostile [--slow N] [--KIND N]... [--seconds S] [--byte-ms MS] [--post TARGET] [--large TARGET] URL\nKinds:");
	for (unsigned k = 0; k < CROWD__N; k++)
		fprintf(stderr, " %s", crowd_name((enum crowd_kind)k));
	fputc('\n', stderr);
	return 2;
}

static bool read_options(int argc, char **argv, struct crowd_conf *conf, unsigned *seconds)
{
	struct option options[CROWD__N + 6] = { { 0 } };
	int option;

	for (unsigned k = 0; k < CROWD__N; k++)
		options[k] = (struct option){ crowd_name((enum crowd_kind)k), required_argument, NULL, (int)k };
	options[CROWD__N] = (struct option){ "seconds", required_argument, NULL, SECONDS };
	options[CROWD__N + 1] = (struct option){ "byte-ms", required_argument, NULL, BYTE_MS };
	options[CROWD__N + 2] = (struct option){ "slow", required_argument, NULL, SLOW };
	options[CROWD__N + 3] = (struct option){ "post", required_argument, NULL, POST };
	options[CROWD__N + 4] = (struct option){ "large", required_argument, NULL, UNREAD };
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (option == SECONDS)
			*seconds = n;
		else if (option == BYTE_MS)
			conf->byte_ms = n;
		else if (option == SLOW)
			conf->n[CROWD_SLOW_HEAD] = n - (conf->n[CROWD_SLOW_BODY] = n / 2);
		else if (option == POST)
			conf->post = optarg;
		else if (option == UNREAD)
			conf->large = optarg;
		else if (option >= 0 && option < (int)CROWD__N)
			conf->n[option] = n;
		else
			return false;
	}
	return optind == argc - 1;
}

/* The target stands behind the address; both get their own end. */
static void split_url(char *url, struct crowd_conf *conf)
{
	static char target[256];
	char *host = strstr(url, "://"), *slash = strchr(host ? host + 3 : url, '/');

	if (slash && slash[1]) {
		(void)snprintf(target, sizeof target, "%s", slash);
		conf->target = target;
	}
	if (slash)
		*slash = '\0';
	conf->base = url;
}

int main(int argc, char **argv)
{
	struct crowd_conf conf = { 0 };
	unsigned seconds = 10, waited_ms = 0;
	struct crowd *crowd;
	bool ready;

	if (!read_options(argc, argv, &conf, &seconds))
		return usage();
	split_url(argv[optind], &conf);
	crowd = crowd_start(&conf);
	while (!(ready = crowd_ready(crowd)) && waited_ms < READY_S * 1000) {
		pause_ms(20);
		waited_ms += 20;
	}
	if (ready) {
		puts("ready");
		fflush(stdout);
		do
			pause_ms(seconds ? (long)seconds * 1000 : 1000);
		while (seconds == 0);
	}
	show(crowd, &conf);
	crowd_stop(&crowd);
	return ready ? 0 : 1;
}
