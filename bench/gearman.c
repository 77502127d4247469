/* The peer of bench/client_echo.c: foreground jobs through gearmand.
 *
 *   gearman worker PORT                          serves "echo" until it is killed
 *   gearman client PORT CALLS IN_FLIGHT BYTES CLIENTS
 *
 * The client splits IN_FLIGHT over CLIENTS connections, each in its own thread,
 * and prints calls_per_s. libgearman runs tasks in rounds: a round's tasks are all
 * under way at once, which is the most it can keep in flight.
 */
#include <libgearman/gearman.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct client_job {
	in_port_t port;
	unsigned long calls;
	unsigned in_flight;
	size_t bytes;
	unsigned long done;
};

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *echo(gearman_job_st *job, void *context, size_t *size, gearman_return_t *ret)
{
	(void)context;
	*size = gearman_job_workload_size(job);
	void *copy = malloc(*size + 1);
	if (copy == NULL) {
		*ret = GEARMAN_WORK_FAIL;
		return NULL;
	}
	memcpy(copy, gearman_job_workload(job), *size);
	*ret = GEARMAN_SUCCESS;
	return copy;
}

static int serve(in_port_t port)
{
	gearman_worker_st *worker = gearman_worker_create(NULL);
	if (worker == NULL || gearman_worker_add_server(worker, "127.0.0.1", port) != GEARMAN_SUCCESS ||
	    gearman_worker_add_function(worker, "echo", 0, echo, NULL) != GEARMAN_SUCCESS) {
		fprintf(stderr, "gearman worker: cannot start\n");
		return 1;
	}
	/* Without this a worker announces sleep after each job and waits to be woken. */
	gearman_worker_add_options(worker, GEARMAN_WORKER_GRAB_ALL);
	while (gearman_worker_work(worker) == GEARMAN_SUCCESS)
		;
	fprintf(stderr, "gearman worker: %s\n", gearman_worker_error(worker));
	gearman_worker_free(worker);
	return 1;
}

static gearman_return_t on_complete(gearman_task_st *task)
{
	struct client_job *job = gearman_task_context(task);
	if (gearman_task_data_size(task) == job->bytes)
		job->done++;
	return GEARMAN_SUCCESS;
}

static void *call(void *arg)
{
	struct client_job *job = arg;
	char *payload = calloc(1, job->bytes + 1);
	gearman_client_st *client = gearman_client_create(NULL);
	if (payload == NULL || client == NULL ||
	    gearman_client_add_server(client, "127.0.0.1", job->port) != GEARMAN_SUCCESS)
		exit(1);
	memset(payload, 'x', job->bytes);
	gearman_client_set_complete_fn(client, on_complete);
	for (unsigned long sent = 0; sent < job->calls;) {
		for (unsigned i = 0; i < job->in_flight && sent < job->calls; i++, sent++) {
			gearman_return_t ret;
			gearman_client_add_task(client, NULL, job, "echo", NULL, payload, job->bytes, &ret);
			if (ret != GEARMAN_SUCCESS)
				exit(1);
		}
		if (gearman_client_run_tasks(client) != GEARMAN_SUCCESS) {
			fprintf(stderr, "gearman client: %s\n", gearman_client_error(client));
			exit(1);
		}
		gearman_client_task_free_all(client);
	}
	gearman_client_free(client);
	free(payload);
	return NULL;
}

static int run_clients(in_port_t port, unsigned long calls, unsigned in_flight, size_t bytes, unsigned clients)
{
	pthread_t threads[64];
	struct client_job jobs[64];
	if (clients < 1 || clients > 64 || in_flight < clients) {
		fprintf(stderr, "gearman client: 1 to 64 clients, at least one call in flight each\n");
		return 2;
	}
	double start = now_s();
	for (unsigned i = 0; i < clients; i++) {
		jobs[i] = (struct client_job){ port, calls / clients, in_flight / clients, bytes, 0 };
		if (pthread_create(&threads[i], NULL, call, &jobs[i]) != 0)
			return 1;
	}
	unsigned long done = 0;
	for (unsigned i = 0; i < clients; i++) {
		pthread_join(threads[i], NULL);
		done += jobs[i].done;
	}
	printf("calls=%lu\ncalls_per_s=%.0f\n", done, (double)done / (now_s() - start));
	return done == calls / clients * clients ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "worker") == 0)
		return serve((in_port_t)atoi(argv[2]));
	if (argc == 7 && strcmp(argv[1], "client") == 0)
		return run_clients((in_port_t)atoi(argv[2]), strtoul(argv[3], NULL, 10), (unsigned)atoi(argv[4]),
		                   strtoul(argv[5], NULL, 10), (unsigned)atoi(argv[6]));
	fprintf(stderr, "usage: gearman worker PORT | gearman client PORT CALLS IN_FLIGHT BYTES CLIENTS\n");
	return 2;
}
