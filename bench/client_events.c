/* Loads a service with durable events: --events of --bytes bytes each, --in-flight of
 * them undecided at once, and no more than --backlog accepted and not yet settled.
 *
 * Two things are measured. Accepted: until ACCEPTED had come for each, with the time
 * each one took. Settled: until the brokers say that as many have ended; what they
 * say (QUERY SERVICES, every 10 ms) is the settled truth, because they count an end
 * when Redis has it. Nobody else may send events to the service meanwhile.
 *
 * With --accept-only it ends when all are accepted, however many wait then; for a
 * service that nobody works for.
 *
 * Prints key=value lines; exit 1 when any event was not accepted, did not end as
 * done, or nothing moved for PATIENCE_MS.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/hist.h"
#include "base/rand.h"
#include "base/ulid.h"
#include "client/engine.h"

#define POLL_MS     10
#define PATIENCE_MS 60000

struct load {
	struct net_loop *loop;
	struct client_engine *engine;
	uv_timer_t timer;
	struct base_rand rand;
	struct base_ulid_maker ulids;
	struct client_request request;
	uint64_t events, in_flight, backlog;
	bool accept_only;
	struct base_hist hist;
	uint64_t started, ended, failed;
	enum _Pirn__Reason last_reason;
	uint64_t started_us, accepted_us, settled_us;
	/* What the brokers say: */
	bool asking, begun;
	size_t asked, answered;
	uint64_t done, others; /* of this answer */
	uint64_t done_before, others_before, settled;
	uint64_t opened_at_ms, moved_at_ms;
};

struct event {
	struct load *load;
	uint64_t started_us;
};

static void on_reply(void *arg, const struct client_reply *reply);

static void start(struct load *l)
{
	struct event *event = malloc(sizeof *event);
	enum base_err err = BASE_NOMEM;

	l->started++;
	if (event) {
		event->load = l;
		event->started_us = base_clock_us();
		base_ulid_make(&l->ulids, &l->rand, base_clock_unix_ms(), l->request.id);
		err = client_engine_call(l->engine, &l->request, on_reply, event, NULL);
	}
	if (err) {
		fprintf(stderr, "client_events: %s\n", base_err_text(err));
		exit(1);
	}
}

static void start_more(struct load *l)
{
	while (l->started < l->events && l->started - l->ended < l->in_flight &&
		(l->accept_only || l->ended - l->failed < l->settled + l->backlog))
		start(l);
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct event *event = arg;
	struct load *l = event->load;

	base_hist_add(&l->hist, base_clock_us() - event->started_us);
	free(event);
	l->ended++;
	if (reply->reason) {
		l->failed++;
		l->last_reason = reply->reason;
	}
	if (l->ended == l->events)
		l->accepted_us = base_clock_us();
	if (l->ended == l->events && l->accept_only)
		net_loop_stop(l->loop);
	start_more(l);
}

/* ---- what has ended --------------------------------------------------------- */

static void begin(struct load *l)
{
	l->begun = true;
	l->done_before = l->done;
	l->others_before = l->others;
	l->started_us = base_clock_us();
}

static void take_figures(struct load *l)
{
	uint64_t settled = l->done - l->done_before + l->others - l->others_before;
	uint64_t now = base_clock_ms();

	if (l->done < l->done_before) {
		fputs("client_events: a broker was restarted, and counts from 0\n", stderr);
		exit(1);
	}
	if (settled != l->settled || l->moved_at_ms == 0)
		l->moved_at_ms = now;
	l->settled = settled;
	l->settled_us = base_clock_us();
	if (l->ended == l->events && settled >= l->events - l->failed)
		net_loop_stop(l->loop);
	else if (now - l->moved_at_ms > PATIENCE_MS)
		net_loop_stop(l->loop);
	else
		start_more(l);
}

static void on_figures(void *arg, const Pirn__Answer *answer)
{
	struct load *l = arg;

	for (size_t i = 0; answer && i < answer->n_services; i++) {
		const Pirn__ServiceState *s = answer->services[i];

		if (strcmp(s->service, l->request.service) != 0)
			continue;
		l->done += s->events_done;
		l->others += s->events_dead + s->events_expired + s->events_cancelled;
	}
	if (answer) {
		l->answered++;
		return;
	}
	l->asking = false;
	if (l->answered < l->asked)
		return; /* half of the truth is none */
	if (!l->begun)
		begin(l);
	take_figures(l);
}

static void on_time(uv_timer_t *timer)
{
	struct load *l = timer->data;
	Pirn__Query query = PIRN__QUERY__INIT;

	if (!l->begun && base_clock_ms() - l->opened_at_ms > PATIENCE_MS)
		net_loop_stop(l->loop);
	l->asked = client_engine_brokers(l->engine);
	if (l->asking || l->asked == 0)
		return;
	l->asking = true;
	l->answered = 0;
	l->done = l->others = 0;
	query.has_what = 1;
	query.what = PIRN__QUERY_KIND__SERVICES;
	if (client_engine_query(l->engine, &query, 1000, on_figures, l))
		exit(1);
}

/* ---- the whole --------------------------------------------------------------- */

static double per_second(uint64_t n, uint64_t us)
{
	return us ? (double)n * 1e6 / (double)us : 0;
}

static int report(const struct load *l)
{
	uint64_t accept_us = l->accepted_us > l->started_us ? l->accepted_us - l->started_us : 0;
	uint64_t settle_us = l->begun ? l->settled_us - l->started_us : 0;
	bool whole = l->ended == l->events && l->failed == 0 &&
		     (l->accept_only || l->done >= l->done_before + l->events);

	printf("events=%llu\nfailed=%llu\nsettled=%llu\nin_flight=%llu\nbytes=%u\n",
		(unsigned long long)l->ended, (unsigned long long)l->failed,
		(unsigned long long)l->settled, (unsigned long long)l->in_flight,
		l->request.payload.data_size);
	printf("accepted_seconds=%.3f\naccepted_per_s=%.0f\nseconds=%.3f\nevents_per_s=%.0f\n",
		(double)accept_us / 1e6, per_second(l->ended, accept_us), (double)settle_us / 1e6,
		per_second(l->settled, settle_us));
	printf("p50_us=%llu\np99_us=%llu\n",
		(unsigned long long)base_hist_quantile_us(&l->hist, 0.50),
		(unsigned long long)base_hist_quantile_us(&l->hist, 0.99));
	if (l->failed)
		printf("last_reason=%s\n", client_reason_text(l->last_reason));
	return whole ? 0 : 1;
}

static int run(struct load *l, const char *brokers)
{
	const struct client_engine_conf conf = { .brokers = brokers, .name = "client_events" };
	char *why = NULL;
	int code;

	if (net_loop_new(&l->loop))
		return 1;
	if (client_engine_new(l->loop, &conf, NULL, &l->engine, &why)) {
		fprintf(stderr, "client_events: %s\n", why ? why : "no memory");
		free(why);
		net_loop_free(&l->loop);
		return 1;
	}
	l->opened_at_ms = base_clock_ms();
	uv_timer_init(net_loop_uv(l->loop), &l->timer);
	l->timer.data = l;
	uv_timer_start(&l->timer, on_time, POLL_MS, POLL_MS);
	net_loop_run(l->loop);
	code = report(l);
	uv_close((uv_handle_t *)&l->timer, NULL);
	client_engine_free(&l->engine);
	net_loop_free(&l->loop);
	return code;
}

static bool read_number(const char *text, uint64_t *out)
{
	return base_conf_u64(text, out) && *out > 0;
}

static int usage(void)
{
	fputs("usage: client_events --brokers ENDPOINTS [--service echo] [--events 100000] [--in-flight 512]"
	      " [--backlog 50000] [--bytes 200] [--accept-only]\n",
		stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "brokers", required_argument, NULL, 'b' },
		{ "service", required_argument, NULL, 's' },
		{ "events", required_argument, NULL, 'n' },
		{ "in-flight", required_argument, NULL, 'k' },
		{ "backlog", required_argument, NULL, 'l' },
		{ "bytes", required_argument, NULL, 'z' },
		{ "accept-only", no_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	static struct load l = { .events = 100000, .in_flight = 512, .backlog = 50000 };
	uint64_t bytes = 200, seed;
	const char *brokers = NULL;
	uint8_t *body;
	int option, code;

	l.request =
		(struct client_request){ .service = "echo", .event = true, .timeout_ms = 60000 };
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		bool good = option == 'b' || option == 's' || option == 'a';

		if (option == 'b')
			brokers = optarg;
		else if (option == 's')
			l.request.service = optarg;
		else if (option == 'a')
			l.accept_only = true;
		else if (option == 'n')
			good = read_number(optarg, &l.events);
		else if (option == 'k')
			good = read_number(optarg, &l.in_flight);
		else if (option == 'l')
			good = read_number(optarg, &l.backlog);
		else if (option == 'z')
			good = read_number(optarg, &bytes) && bytes <= NET_MAX_ITEM;
		if (!good)
			return usage();
	}
	if (!brokers || optind < argc)
		return usage();
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&l.rand, seed);
	body = malloc(bytes);
	if (!body)
		return 1;
	memset(body, 'x', bytes);
	l.request.payload.data = body;
	l.request.payload.data_size = (uint32_t)bytes;
	code = run(&l, brokers);
	free(body);
	return code;
}
