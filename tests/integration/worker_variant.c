/* A service that test_worker.c compiles in many ways: -DVARIANT_… says which. */
#include <pirn/service.h>

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#ifndef ANSWER
#define ANSWER "one"
#endif

static atomic_int running, most;

/* Tells how many runs there were at once, at most, so far. */
static int handle(struct pirn_request *req, struct pirn_response *res)
{
	struct timespec pause = { 0, 2000000 };
	int now = atomic_fetch_add(&running, 1) + 1;

	(void)req;
	if (now > atomic_load(&most))
		atomic_store(&most, now);
	nanosleep(&pause, NULL);
	atomic_fetch_sub(&running, 1);
	return pirn_respond_json(res, 200, "{\"answer\":\"%s\",\"most\":%d}", ANSWER, atomic_load(&most));
}

static int init(void)
{
#ifdef VARIANT_INIT_FAILS
	return PIRN_ERR_FAILED;
#else
	pirn_log(PIRN_INFO, "init of %s", ANSWER);
	return 0;
#endif
}

static void fini(void)
{
	pirn_log(PIRN_INFO, "fini of %s", ANSWER);
}

#if defined VARIANT_OTHER_ABI
const struct pirn_service pirn_service_main = { .abi = 99, .size = sizeof(struct pirn_service), .handler = handle, .init = init, .fini = fini };
#elif defined VARIANT_NO_SERVICE
int (*const not_a_service)(struct pirn_request *, struct pirn_response *) = handle;
int (*const not_an_init)(void) = init;
void (*const not_a_fini)(void) = fini;
#elif defined VARIANT_UNDEFINED
int function_of_another_version(void);
static int call_it(void)
{
	return function_of_another_version() + init();
}
PIRN_SERVICE(.handler = handle, .init = call_it, .fini = fini);
#else
PIRN_SERVICE(.handler = handle, .init = init, .fini = fini);
#endif
