/* The worker's own part of a call, without a network: runs of services/echo through
 * executor and native code, kept at --in-flight, collected as the session does.
 * Prints key=value lines.
 */
#include <getopt.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/conf.h"
#include "worker/native.h"
#include "worker/run.h"

struct bench {
	struct wrk_executor *executor;
	struct wrk_native *native;
	sem_t woken;
};

/* What services/echo does, linked in. */
static int echo(struct pirn_request *req, struct pirn_response *res)
{
	const char *type = pirn_request_header(req, "Content-Type");
	size_t size;
	const void *body = pirn_request_body(req, &size);

	if (type)
		pirn_respond_header(res, "Content-Type", type);
	pirn_respond_status(res, 200);
	pirn_respond_write(res, body, size);
	return 0;
}

static const struct pirn_service service = { PIRN_SERVICE_ABI, sizeof service, echo, NULL, NULL };

static void *enter(void *arg, struct wrk_executor *e)
{
	(void)arg;
	return wrk_thread_new(e, NULL);
}

static void leave(void *arg, void *local)
{
	struct wrk_thread *thread = local;

	(void)arg;
	wrk_thread_free(&thread);
}

static void run(void *arg, void *local, struct wrk_task *task)
{
	struct bench *b = arg;

	wrk_native_run(b->native, local, (struct wrk_run *)task);
}

static void wake(void *arg)
{
	struct bench *b = arg;

	sem_post(&b->woken);
}

static struct wrk_run *runs_new(size_t n, size_t bytes)
{
	struct wrk_run *runs = calloc(n, sizeof *runs);

	for (size_t i = 0; runs && i < n; i++) {
		base_buf_init(&runs[i].in);
		base_buf_init(&runs[i].meta);
		base_buf_init(&runs[i].body);
		memset(base_buf_room(&runs[i].in, bytes), 'x', bytes);
		base_buf_grew(&runs[i].in, bytes);
		runs[i].data_size = bytes;
		runs[i].deadline_us = UINT64_MAX;
		runs[i].task.next = i + 1 < n ? &runs[i + 1].task : NULL;
	}
	return runs;
}

/* Pushes what came back at once again, until calls runs are done; returns how many answers were wrong. */
static uint64_t drive(
	struct bench *b, struct wrk_run *runs, uint64_t calls, size_t bytes, uint64_t *turns)
{
	uint64_t done = 0, wrong = 0;

	wrk_executor_push(b->executor, &runs->task, base_clock_us());
	while (done < calls) {
		struct wrk_task *first = NULL;

		while (!(first = wrk_executor_done(b->executor)))
			sem_wait(&b->woken);
		for (struct wrk_task *t = first; t; t = t->next, done++)
			wrong += ((struct wrk_run *)t)->status != 200 ||
				 ((struct wrk_run *)t)->body.size != bytes;
		if (done < calls)
			wrk_executor_push(b->executor, first, base_clock_us());
		(void)wrk_executor_watch(b->executor, base_clock_us());
		++*turns;
	}
	return wrong;
}

static uint64_t number(const char *text)
{
	uint64_t value;

	if (base_conf_u64(text, &value) && value > 0)
		return value;
	fprintf(stderr, "executor: expected a number above 0, got %s\n", text);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "calls", required_argument, NULL, 'c' },
		{ "in-flight", required_argument, NULL, 'f' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "threads", required_argument, NULL, 't' },
		{ 0 },
	};
	uint64_t calls = 3000000, in_flight = 512, bytes = 200, threads = 2, turns = 0, start_us,
		 wrong;
	struct bench b = { 0 };
	struct wrk_executor_conf conf = {
		.enter = enter, .leave = leave, .run = run, .wake = wake, .arg = &b
	};
	struct wrk_executor_figures figures;
	char name[] = "echo", handler[] = "echo.so", why[WRK_NATIVE_WHY];
	struct base_manifest manifest = { .service = name, .handler = handler };
	struct wrk_run *runs;
	double seconds;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			calls = number(optarg);
			break;
		case 'f':
			in_flight = number(optarg);
			break;
		case 'b':
			bytes = number(optarg);
			break;
		case 't':
			threads = number(optarg);
			break;
		default:
			fprintf(stderr,
				"usage: executor [--calls N] [--in-flight N] [--bytes N] [--threads N]\n");
			return 2;
		}
	}
	sem_init(&b.woken, 0, 0);
	conf.max_threads = (uint32_t)threads;
	runs = runs_new(in_flight, bytes);
	if (!runs ||
		wrk_native_adopt(".", &manifest, &service, 1 << 24, &b.native, why, sizeof why) !=
			BASE_OK ||
		wrk_executor_new(&conf, &b.executor) != BASE_OK) {
		fprintf(stderr, "executor: could not begin\n");
		return 1;
	}
	start_us = base_clock_us();
	wrong = drive(&b, runs, calls, bytes, &turns);
	seconds = (double)(base_clock_us() - start_us) / 1e6;
	wrk_executor_figures(b.executor, &figures);
	printf("calls=%llu\nin_flight=%llu\nbytes=%llu\nseconds=%.3f\nruns_per_s=%.0f\nturns=%llu\nthreads=%u\nwrong=%llu\n",
		(unsigned long long)calls, (unsigned long long)in_flight, (unsigned long long)bytes,
		seconds, (double)calls / seconds, (unsigned long long)turns, figures.threads,
		(unsigned long long)wrong);
	wrk_executor_free(&b.executor);
	wrk_native_free(&b.native);
	return wrong ? 1 : 0;
}
