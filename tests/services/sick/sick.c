/* Falls ill and gets well as its board says: see sick.h. */
#include <pirn/service.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "sick.h"

static struct sick_board *board;

static unsigned long long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000;
}

static void rest(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* A board that is full counts on without writing. */
static struct sick_run *begin(const struct pirn_request *req)
{
	static struct sick_run spare;
	unsigned n = atomic_fetch_add(&board->n, 1);
	unsigned now = atomic_fetch_add(&board->running, 1) + 1;
	unsigned most = board->most;
	struct sick_run *run = n < SICK_RUNS ? &board->runs[n] : &spare;

	while (now > most && !atomic_compare_exchange_weak(&board->most, &most, now))
		;
	run->pid = (unsigned)getpid();
	run->attempt = pirn_request_attempt(req);
	run->is_event = pirn_request_is_event(req);
	run->began_us = now_us();
	return run;
}

static void last(void)
{
	while (board->hang)
		rest(1000000); /* for good: who hangs now does not come back when others may */
	rest(board->sleep_ms);
	while (board->hold)
		rest(2);
}

static int sick(struct pirn_request *req, struct pirn_response *res)
{
	struct sick_run *run;
	unsigned status;

	if (!board)
		return 0;
	run = begin(req);
	last();
	status = board->sick_pid == 0 || board->sick_pid == (unsigned)getpid() ? board->status : 0;
	board->failed += status != 0;
	run->ended_us = now_us();
	atomic_fetch_sub(&board->running, 1);
	pirn_respond_status(res, status ? status : 200);
	return 0;
}

static int find_board(void)
{
	const char *folder = getenv("SICK_BOARDS");
	const char *name = pirn_env("BOARD");
	char path[4096];
	int fd;

	if (!folder || !name)
		return 0;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (board == MAP_FAILED)
		board = NULL;
	return board ? 0 : PIRN_ERR_FAILED;
}

PIRN_SERVICE(.handler = sick, .init = find_board);
