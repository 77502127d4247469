/* Loads a service through the client library: --calls calls of --bytes bytes each
 * to --service, --in-flight of them at once. One callback starts the next call, so
 * the number in flight is constant. Prints key=value lines; exit 1 when any call
 * did not end with the service's 2xx.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/hist.h"
#include "pirn/client.h"

struct load {
	struct pirn_client *client;
	struct pirn_call call;
	uint64_t calls, in_flight, bytes;
	/* The client's thread's: */
	struct base_hist hist;
	uint64_t started, ended, failed;
	enum pirn_client_err last_error;
	unsigned last_status;
	/* To the main thread: */
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool is_done;
};

struct lane {
	struct load *load;
	uint64_t started_us;
};

static void on_reply(void *arg, const struct pirn_reply *reply);

static void start(struct lane *lane)
{
	struct load *l = lane->load;
	enum pirn_client_err err;

	l->started++;
	lane->started_us = base_clock_us();
	err = pirn_client_call_async(l->client, &l->call, on_reply, lane);
	if (err) {
		fprintf(stderr, "client_echo: %s\n", pirn_client_err_text(err));
		exit(1);
	}
}

static void finish(struct load *l)
{
	pthread_mutex_lock(&l->lock);
	l->is_done = true;
	pthread_cond_signal(&l->done);
	pthread_mutex_unlock(&l->lock);
}

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	struct lane *lane = arg;
	struct load *l = lane->load;

	base_hist_add(&l->hist, base_clock_us() - lane->started_us);
	l->ended++;
	if (reply->err || reply->status / 100 != 2) {
		l->failed++;
		l->last_error = reply->err;
		l->last_status = reply->status;
	}
	if (l->started < l->calls)
		start(lane);
	else if (l->ended == l->calls)
		finish(l);
}

/* One call that is waited for: connections are up, and the first lanes start in the client's own
 * thread, like all others. */
static void on_first(void *arg, const struct pirn_reply *reply)
{
	struct lane *lanes = arg;
	struct load *l = lanes->load;

	if (reply->err) {
		fprintf(stderr, "client_echo: %s\n", pirn_client_err_text(reply->err));
		exit(1);
	}
	for (uint64_t i = 0; i < l->in_flight && l->started < l->calls; i++)
		start(&lanes[i]);
}

static void report(const struct load *l, uint64_t us)
{
	printf("calls=%llu\nfailed=%llu\nin_flight=%llu\nbytes=%llu\nseconds=%.3f\ncalls_per_s=%.0f\n",
		(unsigned long long)l->ended, (unsigned long long)l->failed,
		(unsigned long long)l->in_flight, (unsigned long long)l->bytes, (double)us / 1e6,
		(double)l->ended * 1e6 / (double)us);
	printf("p50_us=%llu\np99_us=%llu\n",
		(unsigned long long)base_hist_quantile_us(&l->hist, 0.50),
		(unsigned long long)base_hist_quantile_us(&l->hist, 0.99));
	if (l->failed)
		printf("last_error=%s\nlast_status=%u\n", pirn_client_err_name(l->last_error),
			l->last_status);
}

static int run(struct load *l, const char *brokers)
{
	struct lane *lanes = calloc(l->in_flight, sizeof *lanes);
	uint64_t started_us;
	char why[256];

	if (!lanes)
		return 1;
	for (uint64_t i = 0; i < l->in_flight; i++)
		lanes[i].load = l;
	if (pirn_client_open(&PIRN_OPTIONS(.brokers = brokers, .name = "client_echo", .log = true),
		    &l->client, why, sizeof why)) {
		fprintf(stderr, "client_echo: %s\n", why);
		free(lanes);
		return 1;
	}
	started_us = base_clock_us();
	if (pirn_client_call_async(l->client, &l->call, on_first, lanes))
		exit(1);
	pthread_mutex_lock(&l->lock);
	while (!l->is_done)
		pthread_cond_wait(&l->done, &l->lock);
	pthread_mutex_unlock(&l->lock);
	report(l, base_clock_us() - started_us);
	pirn_client_close(&l->client);
	free(lanes);
	return l->failed > 0;
}

static bool read_number(const char *text, uint64_t *out)
{
	return base_conf_u64(text, out) && *out > 0;
}

static int usage(void)
{
	fputs("usage: client_echo --brokers ENDPOINTS [--service echo] [--calls 100000] [--in-flight 512]"
	      " [--bytes 200]\n",
		stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "brokers", required_argument, NULL, 'b' },
		{ "service", required_argument, NULL, 's' },
		{ "calls", required_argument, NULL, 'n' },
		{ "in-flight", required_argument, NULL, 'k' },
		{ "bytes", required_argument, NULL, 'z' },
		{ NULL, 0, NULL, 0 },
	};
	static struct load l = { .calls = 100000, .in_flight = 512, .bytes = 200 };
	const char *brokers = NULL, *service = "echo";
	char *body;
	int option, code;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		bool good = option == 'b' || option == 's';

		if (option == 'b')
			brokers = optarg;
		else if (option == 's')
			service = optarg;
		else if (option == 'n')
			good = read_number(optarg, &l.calls);
		else if (option == 'k')
			good = read_number(optarg, &l.in_flight);
		else if (option == 'z')
			good = read_number(optarg, &l.bytes);
		if (!good)
			return usage();
	}
	if (!brokers || optind < argc)
		return usage();
	pthread_mutex_init(&l.lock, NULL);
	pthread_cond_init(&l.done, NULL);
	body = malloc(l.bytes);
	if (!body)
		return 1;
	memset(body, 'x', l.bytes);
	l.call = PIRN_CALL(.service = service, .body = body, .body_size = l.bytes);
	code = run(&l, brokers);
	free(body);
	return code;
}
