/* A service that does not heed its deadline, for test_late.c: the body says what it does. */
#include <pirn/service.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void pause_ms(unsigned long ms)
{
	struct timespec t = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static void sleep_ms(unsigned long ms)
{
	pirn_log(PIRN_INFO, "sleeps");
	pause_ms(ms);
}

/* Until half a second after nobody waits any more. */
static void overstay(const struct pirn_request *req)
{
	while (pirn_request_left_ms(req) > 0)
		pause_ms(10);
	pause_ms(500);
}

/* The first run goes on after its time, and changes nothing there. */
static int add_twice(struct pirn_request *req, struct pirn_response *res)
{
	int err = pirn_counter_add(req, "before", 1, NULL);

	if (!err && pirn_request_attempt(req) == 1) {
		overstay(req);
		err = pirn_counter_add(req, "after", 1, NULL);
		pirn_log(PIRN_INFO, "after its time: %s", pirn_err_name(err));
	} else if (!err) {
		err = pirn_counter_add(req, "after", 1, NULL);
	}
	return err ? err : pirn_respond_json(res, 200, "{}");
}

static volatile char *kept;

/* So many MiB that are never given back. */
static void leak(size_t mib)
{
	char *more = malloc(mib << 20);

	if (more)
		memset(more, 1, mib << 20);
	kept = more;
}

/* Deeper and deeper, until the stack is full. */
static int fall(volatile char *from)
{
	volatile char here[4096];

	here[0] = (char)(from ? from[0] + 1 : 0);
	return fall(here) + here[0];
}

static int handle(struct pirn_request *req, struct pirn_response *res)
{
	const char *body = pirn_request_body(req, NULL);

	if (strncmp(body, "sleep ", 6) == 0)
		sleep_ms(strtoul(body + 6, NULL, 10));
	else if (strncmp(body, "leak ", 5) == 0)
		leak(strtoul(body + 5, NULL, 10));
	else if (strcmp(body, "fall") == 0)
		return fall(NULL);
	else if (strcmp(body, "add") == 0)
		return add_twice(req, res);
	return pirn_respond_json(res, 200, "{}");
}

PIRN_SERVICE(.handler = handle);
