/* Restarts that nobody notices, under `pirn up`: calls and events go on, over kept and
 * over fresh connections, while every gateway, broker and worker is replaced, in three
 * rounds, by `pirn restart` and by a SIGTERM to each process. Not one request fails, and
 * each has its effect once. And what comes back after kill -9, and what ends at once. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"
#include "tests/harness/http.h"
#include "tests/harness/up.h"
#include "tests/harness/users.h"
#include "tests/harness/wait.h"

#define ROUNDS 3
#define FLOW   100 /* answers between two restarts */

#define JSON  "\r\nContent-Type: application/json"
#define ASYNC "\r\nPrefer: respond-async"

enum kind {
	GET_KEPT,
	GET_FRESH,
	POST_KEPT,
	POST_FRESH,
	EVENT_KEPT,
	EVENT_FRESH,
	SELDOM,
	SLOW,
	KINDS
};

static const struct users_kind kinds[KINDS] = {
	[GET_KEPT] = { "GET /hello", NULL, 2, 4, 4, 0, 200 },
	[GET_FRESH] = { "GET /hello", NULL, 1, 4, 4, 1, 200 },
	[POST_KEPT] = { "POST /counter" JSON, "{\"increment\":1}", 2, 4, 4, 0, 200 },
	[POST_FRESH] = { "POST /counter" JSON, "{\"increment\":1}", 1, 4, 4, 1, 200 },
	[EVENT_KEPT] = { "POST /effect" ASYNC, "e%u0 sleep=20", 1, 20, 10, 0, 202 },
	[EVENT_FRESH] = { "POST /effect" ASYNC, "e%u1 sleep=20", 1, 20, 10, 1, 202 },
	/* Its connection is idle for about as long as a gateway that drains lets it be. */
	[SELDOM] = { "GET /hello", NULL, 2, 300, 400, 0, 200 },
	/* Under way for longer than it takes to replace a process. */
	[SLOW] = { "POST /effect", "e%u2 sleep=700", 2, 10, 0, 1, 204 },
};

struct scene {
	struct up up;
	struct harness_redis *redis;
	struct users *users;
};

static struct scene scene;

static void begin_with(const char *gateways, const char *brokers, const char *workers)
{
	static const char *const quiet[] = { "PIRN_ACCESS_LOG=off", NULL };
	struct scene *s = &scene;

	*s = (struct scene){ .redis = harness_redis_start(false, NULL),
		.up = { .environment = quiet } };
	fabric_link_services(s->up.services, sizeof s->up.services);
	up_start(&s->up,
		(const char *const[]){ "--gateways", gateways, "--brokers", brokers, "--workers",
			workers, "--redis", harness_redis_url(s->redis), NULL });
	s->users = users_start(s->up.http, kinds, KINDS);
}

static void begin(void)
{
	begin_with("2", "2", "2");
}

static int tear_down(void **state)
{
	(void)state;
	users_stop(&scene.users, NULL);
	harness_free(&scene.up.process);
	harness_redis_stop(&scene.redis);
	return 0;
}

static void flow(uint64_t n)
{
	uint64_t before = users_total(scene.users).ok;
	uint64_t events = users_count(scene.users, EVENT_FRESH).ok;

	wait_until(UP_MS, users_total(scene.users).ok >= before + n &&
				  users_count(scene.users, EVENT_FRESH).ok > events);
}

static uint64_t number(const char *command)
{
	char *text = harness_redis_command(scene.redis, "%s", command);
	uint64_t n = strtoull(text, NULL, 10);

	free(text);
	return n;
}

#define STATE_OF(service, key) "pirn:{0}:state:" service ":" key

/* Every accepted event has had its effect, and every call: once. */
static void reckon(void)
{
	struct users_count c[KINDS] = { 0 };
	uint64_t failed = 0, posts, effects;

	users_stop(&scene.users, c);
	for (unsigned i = 0; i < KINDS; i++) {
		print_message("%-60.60s %6llu answered, %llu failed, %llu idle ones ended\n",
			kinds[i].request, (unsigned long long)c[i].ok,
			(unsigned long long)c[i].failed, (unsigned long long)c[i].ended);
		failed += c[i].failed;
		assert_true(c[i].ok > 0);
		assert_true(!kinds[i].fresh || c[i].ended == 0);
	}
	assert_int_equal(failed, 0);
	posts = c[POST_KEPT].ok + c[POST_FRESH].ok;
	effects = c[EVENT_KEPT].ok + c[EVENT_FRESH].ok + c[SLOW].ok;
	wait_until(UP_MS, number("HLEN " STATE_OF("effect", "effects")) == effects);
	assert_int_equal(number("GET " STATE_OF("effect", "total")), effects);
	assert_int_equal(number("GET " STATE_OF("counter", "counter")), posts);
	assert_int_equal(number("EXISTS pirn:{0}:dead:effect"), 0);
}

static unsigned lines(const char *id)
{
	return harness_log_count(scene.up.process, id, NULL, NULL);
}

/* What `pirn restart` writes. */
static char *restart(const char *const *words, int status)
{
	const char *argv[8] = { "pirn", "restart", "--data", scene.up.data };
	struct harness_process *p = NULL;
	char *output;

	for (size_t i = 4; *words; i++)
		argv[i] = *words++;
	assert_int_equal(harness_run("restart", NULL, argv, NULL, &p), status);
	output = harness_output(p);
	harness_free(&p);
	return output;
}

static void test_a_restart_of_everything(void **state)
{
	(void)state;
	begin();
	for (unsigned round = 1; round <= ROUNDS; round++) {
		flow(FLOW);
		char *output = restart((const char *const[]){ NULL }, 0);
		assert_string_equal(output,
			"replaced broker-1\nreplaced broker-2\nreplaced worker-1\n"
			"replaced worker-2\nreplaced gateway-1\nreplaced gateway-2\n");
		free(output);
		assert_int_equal(lines("restart_done"), round);
		assert_int_equal(lines("child_replaced"), 6 * round);
	}
	flow(FLOW);
	reckon();
	assert_int_equal(lines("child_died"), 0);
	assert_int_equal(lines("child_killed"), 0);
	assert_int_equal(
		harness_log_count(scene.up.process, "child_ended", "exit", "0"), 6 * ROUNDS);
	up_stop(&scene.up);
}

/* ---- one process ---------------------------------------------------------------------- */

/* The last process of that name that was started. */
static pid_t pid_of(const char *name)
{
	char *output = harness_output(scene.up.process), *rest = NULL;
	pid_t pid = 0;

	for (char *line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		json_t *entry = strstr(line, "child_started") ? json_loads(line, 0, NULL) : NULL;
		const char *child = json_string_value(json_object_get(entry, "child"));

		if (child && strcmp(child, name) == 0)
			pid = (pid_t)json_integer_value(json_object_get(entry, "pid"));
		json_decref(entry);
	}
	free(output);
	assert_true(pid > 0);
	return pid;
}

/* How often a process of this name has said that it was ready. */
static unsigned ready(const char *name)
{
	const char *id = strncmp(name, "broker", 6) == 0   ? "broker_ready"
			 : strncmp(name, "worker", 6) == 0 ? "worker_ready"
							   : "gateway_ready";

	return harness_log_count(scene.up.process, id, "name", name);
}

static unsigned ended(pid_t pid)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%d", (int)pid);
	return harness_log_count(scene.up.process, "child_ended", "pid", text) +
	       harness_log_count(scene.up.process, "child_died", "pid", text);
}

static const char *const names[] = { "gateway-1", "gateway-2", "broker-1", "broker-2", "worker-1",
	"worker-2" };

#define NAMES (sizeof names / sizeof names[0])

static void sigterm(const char *name)
{
	pid_t pid = pid_of(name);
	unsigned before = ready(name);

	flow(FLOW / 2);
	assert_int_equal(kill(pid, SIGTERM), 0);
	wait_until(UP_MS, ready(name) == before + 1);
	wait_until(UP_MS, ended(pid) == 1);
	assert_true(pid_of(name) != pid);
}

/* As an operator would, or as a process that finds itself in need of a new beginning does. */
static void test_a_sigterm_to_each(void **state)
{
	(void)state;
	begin();
	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < NAMES; i++)
			sigterm(names[i]);
	flow(FLOW);
	reckon();
	assert_int_equal(lines("child_leaves"), NAMES * ROUNDS);
	assert_int_equal(
		harness_log_count(scene.up.process, "child_ended", "exit", "0"), NAMES * ROUNDS);
	assert_int_equal(lines("child_died"), 0);
	assert_int_equal(lines("child_killed"), 0);
	up_stop(&scene.up);
}

/* Connections wait in the backlog, calls for the one broker and for the one worker. */
static void test_restarts_of_one_of_each(void **state)
{
	static const char *const each[] = { "gateway-1", "broker-1", "worker-1" };

	(void)state;
	begin_with("1", "1", "1");
	for (unsigned round = 1; round <= ROUNDS; round++) {
		flow(FLOW);
		free(restart((const char *const[]){ NULL }, 0));
		assert_int_equal(lines("child_replaced"), 3 * round);
		for (size_t i = 0; i < 3; i++)
			sigterm(each[i]);
	}
	flow(FLOW);
	reckon();
	up_stop(&scene.up);
}

/* ---- what does not go well -------------------------------------------------------------- */

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[PATH_MAX + 64];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A new process that does not come up leaves the old one where it is. */
static void test_a_restart_that_fails(void **state)
{
	char folder[PATH_MAX + 32];
	pid_t before[2];
	char *output;

	(void)state;
	begin();
	before[0] = pid_of("worker-1");
	before[1] = pid_of("worker-2");
	(void)snprintf(folder, sizeof folder, "%s/bad", scene.up.services);
	assert_int_equal(mkdir(folder, 0755), 0);
	write_file(folder, "service.yaml", "service: bad\nhandler: bad.so\n");
	write_file(folder, "bad.so", "not a shared object\n");
	output = restart((const char *const[]){ "worker", NULL }, 1);
	assert_non_null(strstr(output, "worker-1: the new process ended before it was ready"));
	free(output);
	assert_int_equal(lines("restart_given_up"), 1);
	assert_int_equal(lines("child_replaced"), 0);
	assert_int_equal(kill(before[0], 0), 0);
	assert_int_equal(kill(before[1], 0), 0);
	flow(FLOW);
	/* The others are not touched by it, and can be restarted. */
	free(restart((const char *const[]){ "gateway", "broker", NULL }, 0));
	assert_int_equal(lines("child_replaced"), 4);
	flow(FLOW);
	reckon();
	up_stop(&scene.up);
}

/* One that hangs is killed when its time is over, and another restart waits for none. */
static void test_one_that_does_not_leave(void **state)
{
	struct harness_process *first;
	pid_t pid;
	char *output;

	(void)state;
	scene = (struct scene){ 0 };
	up_start(&scene.up, (const char *const[]){ "--drain", "1s", NULL });
	pid = pid_of("worker-1");
	assert_int_equal(kill(pid, SIGSTOP), 0);
	first = harness_spawn("first", NULL,
		(const char *const[]){ "pirn", "restart", "worker", "--data", scene.up.data, NULL },
		NULL);
	wait_until(UP_MS, lines("restart_started") == 1);
	output = restart((const char *const[]){ NULL }, 1);
	assert_non_null(strstr(output, "another restart goes on"));
	free(output);
	assert_int_equal(harness_wait(first, UP_MS), 0);
	output = harness_output(first);
	assert_string_equal(output, "replaced worker-1\nreplaced worker-2\n");
	free(output);
	assert_int_equal(
		harness_log_count(scene.up.process, "child_killed", "child", "worker-1"), 1);
	assert_int_equal(ended(pid), 1);
	up_stop(&scene.up);
}

static void test_a_restart_of_nothing(void **state)
{
	char *output;

	(void)state;
	scene = (struct scene){ 0 };
	harness_new_dir("data", scene.up.data, sizeof scene.up.data);
	output = restart((const char *const[]){ NULL }, 69);
	assert_non_null(strstr(output, "no `pirn up` runs on"));
	free(output);
	output = restart((const char *const[]){ "redis", NULL }, 2);
	assert_non_null(strstr(output, "expected gateway, worker or broker"));
	free(output);
}

/* ---- deaths ------------------------------------------------------------------------------- */

/* The first death costs nothing, the next ones wait. */
static void test_who_dies_again_waits(void **state)
{
	char wait_ms[32];

	(void)state;
	scene = (struct scene){ 0 };
	up_start(&scene.up, (const char *const[]){ "--gateways", "2", "--brokers", "2", NULL });
	for (size_t i = 0; i < NAMES; i++)
		for (unsigned n = 1; n <= 3; n++) {
			unsigned before = ready(names[i]);

			assert_int_equal(kill(pid_of(names[i]), SIGKILL), 0);
			wait_until(UP_MS, harness_log_count(scene.up.process, "child_died", "child",
						  names[i]) == n);
			assert_true(harness_log_field(scene.up.process, "child_died", "restart_ms",
				wait_ms, sizeof wait_ms));
			if (n == 1)
				assert_string_equal(wait_ms, "0");
			else if (strtoul(wait_ms, NULL, 10) > 1000u * (n - 1))
				fail_msg("%s waits for %s ms", names[i], wait_ms);
			wait_until(UP_MS, ready(names[i]) == before + 1);
		}
	wait_until(UP_MS, harness_status(scene.up.http, NULL, "/hello", NULL) == 200);
	up_stop(&scene.up);
}

static void *sleep_for_ever(void *arg)
{
	(void)arg;
	harness_status(scene.up.http, "POST", "/effect", "e1 sleep=60000 plain");
	return NULL;
}

#define PLACES 16 /* concurrency of the service effect */

/* One that crashes is started again. One that is stuck says so: its successor is there before it has ended. */
static void test_a_crash_and_a_worker_that_is_stuck(void **state)
{
	static const char *const environment[] = { "PIRN_STUCK_AFTER=100ms", NULL };
	pthread_t threads[PLACES];
	pid_t pid;

	(void)state;
	scene = (struct scene){ .up = { .environment = environment } };
	fabric_link_services(scene.up.services, sizeof scene.up.services);
	up_start(&scene.up, (const char *const[]){ "--workers", "1", NULL });
	assert_int_equal(harness_status(scene.up.http, "POST", "/trouble/crash", ""), 502);
	wait_until(UP_MS, ready("worker-1") == 2);
	assert_int_equal(lines("worker_crashed"), 1);
	assert_int_equal(harness_log_count(scene.up.process, "child_died", "child", "worker-1"), 1);
	assert_int_equal(lines("child_leaves"), 0);
	pid = pid_of("worker-1");
	for (unsigned i = 0; i < PLACES; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sleep_for_ever, NULL), 0);
	wait_until(UP_MS, lines("worker_stuck") == 1);
	wait_until(UP_MS, ready("worker-1") == 3);
	assert_int_equal(lines("child_leaves"), 1);
	wait_until(UP_MS, ended(pid) == 1);
	assert_int_equal(harness_log_count(scene.up.process, "child_ended", "exit", "4"), 1);
	for (unsigned i = 0; i < PLACES; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(harness_status(scene.up.http, NULL, "/hello", NULL), 200);
	up_stop(&scene.up);
}

/* ---- a balancer needs time to notice ---------------------------------------------------- */

static void test_a_delay_before_the_drain(void **state)
{
	struct harness_process *gateway;
	char brokers[PATH_MAX + 64], url[128], text[100];
	struct harness_answer a;

	(void)state;
	scene = (struct scene){ 0 };
	up_start(&scene.up, NULL);
	(void)snprintf(brokers, sizeof brokers, "ipc://%s/run/broker-1.sock", scene.up.data);
	gateway = harness_spawn("gateway", NULL,
		(const char *const[]){ "pirn-gateway", "--brokers", brokers, "--http",
			"127.0.0.1:0", "--admin", "off", "--log", "json", "--drain-delay", "10m",
			NULL },
		NULL);
	wait_until(UP_MS, harness_logged(gateway, "gateway_ready"));
	assert_true(harness_log_field(gateway, "gateway_ready", "http", text, sizeof text));
	(void)snprintf(url, sizeof url, "http://%s", text);
	a = harness_get(url, "/hello");
	assert_int_equal(a.status, 200);
	assert_null(harness_answer_header(&a, "connection"));
	harness_answer_free(&a);
	harness_signal(gateway, SIGTERM);
	wait_until(UP_MS, harness_status(url, NULL, "/readyz", NULL) == 503);
	a = harness_get(url, "/hello");
	assert_int_equal(a.status, 200);
	assert_string_equal(harness_answer_header(&a, "connection"), "close");
	harness_answer_free(&a);
	harness_signal(gateway, SIGTERM); /* no delay, no drain */
	assert_int_equal(harness_wait(gateway, UP_MS), 0);
	harness_free(&gateway);
	up_stop(&scene.up);
}

/* ---- told twice ---------------------------------------------------------------------------- */

struct slow_call {
	pthread_t thread;
	char body[64], began[32];
};

static void *call_slowly(void *arg)
{
	struct slow_call *call = arg;

	harness_status(scene.up.http, "POST", "/effect", call->body);
	return NULL;
}

static bool has_begun(const struct slow_call *call)
{
	FILE *file = fopen(getenv("EFFECT_RUNS"), "re");
	char line[160];
	bool found = false;

	while (file && !found && fgets(line, sizeof line, file))
		found = strncmp(line, call->began, strlen(call->began)) == 0;
	if (file)
		fclose(file);
	return found;
}

/* A call of 4.5 s is under way, and may take ten minutes to end: nobody waits for it. */
static void ends_at_once(const char *name, unsigned serial)
{
	pid_t pid = pid_of(name);
	unsigned before = ready(name);
	unsigned leaving = lines("child_leaves");
	struct slow_call call;

	(void)snprintf(call.body, sizeof call.body, "e%u sleep=4500", serial);
	(void)snprintf(call.began, sizeof call.began, "+ e%u ", serial);
	assert_int_equal(pthread_create(&call.thread, NULL, call_slowly, &call), 0);
	wait_until(UP_MS, has_begun(&call));
	assert_int_equal(kill(pid, SIGTERM), 0);
	wait_until(UP_MS, lines("child_leaves") == leaving + 1);
	assert_int_equal(ended(pid), 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	wait_until(UP_MS, ended(pid) == 1);
	wait_until(UP_MS, ready(name) == before + 1);
	pthread_join(call.thread, NULL);
}

static void test_told_twice(void **state)
{
	char runs[PATH_MAX + 16];

	(void)state;
	scene = (struct scene){ 0 };
	(void)snprintf(runs, sizeof runs, "%s/runs", harness_dir());
	setenv("EFFECT_RUNS", runs, 1);
	fabric_link_services(scene.up.services, sizeof scene.up.services);
	up_start(&scene.up, (const char *const[]){ "--drain", "10m", "--workers", "1", NULL });
	ends_at_once("gateway-1", 1);
	ends_at_once("broker-1", 2);
	ends_at_once("worker-1", 3);
	assert_int_equal(lines("child_killed"), 0);
	up_stop(&scene.up);
}

/* ---- whoever started us is told --------------------------------------------------------------- */

static int notify_socket(struct sockaddr_un *address, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)address, size), 0);
	return fd;
}

static void hears(int fd, const char *word)
{
	char text[64];
	ssize_t n;

	wait_until(UP_MS, (n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT)) >= 0);
	text[n] = '\0';
	assert_string_equal(text, word);
}

static void says_so(int fd, const char *notify, const char *const *argv)
{
	const char *const environment[] = { notify, NULL };
	struct harness_process *p = harness_spawn("notifies", NULL, argv, environment);

	hears(fd, "READY=1");
	harness_signal(p, SIGTERM);
	hears(fd, "STOPPING=1");
	assert_int_equal(harness_wait(p, UP_MS), 0);
	harness_free(&p);
}

static void test_readiness_and_the_end_are_told(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char notify[160], data[PATH_MAX], endpoint[160];
	socklen_t size;
	int fd;

	(void)state;
	scene = (struct scene){ 0 };
	harness_new_dir("data", data, sizeof data);
	(void)snprintf(endpoint, sizeof endpoint, "ipc://%.100s/broker", data);
	(void)snprintf(address.sun_path, sizeof address.sun_path, "%.80s/notify", data);
	(void)snprintf(notify, sizeof notify, "NOTIFY_SOCKET=%s", address.sun_path);
	fd = notify_socket(&address, sizeof address);
	says_so(fd, notify,
		(const char *const[]){
			"pirn-broker", "--bind", endpoint, "--redis", "none", NULL });
	says_so(fd, notify, /* no broker is there: it serves all the same */
		(const char *const[]){ "pirn-gateway", "--brokers", endpoint, "--http",
			"127.0.0.1:0", "--admin", "off", NULL });
	close(fd);
	/* A name without a file. */
	memset(address.sun_path, 0, sizeof address.sun_path);
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
				   "pirn-test-%d", (int)getpid()));
	(void)snprintf(notify, sizeof notify, "NOTIFY_SOCKET=@pirn-test-%d", (int)getpid());
	fd = notify_socket(&address, size);
	says_so(fd, notify,
		(const char *const[]){ "pirn", "up", "--data", data, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", NULL });
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_restart_of_everything, tear_down),
		cmocka_unit_test_teardown(test_a_sigterm_to_each, tear_down),
		cmocka_unit_test_teardown(test_restarts_of_one_of_each, tear_down),
		cmocka_unit_test_teardown(test_a_restart_that_fails, tear_down),
		cmocka_unit_test_teardown(test_one_that_does_not_leave, tear_down),
		cmocka_unit_test_teardown(test_a_restart_of_nothing, tear_down),
		cmocka_unit_test_teardown(test_who_dies_again_waits, tear_down),
		cmocka_unit_test_teardown(test_a_crash_and_a_worker_that_is_stuck, tear_down),
		cmocka_unit_test_teardown(test_a_delay_before_the_drain, tear_down),
		cmocka_unit_test_teardown(test_told_twice, tear_down),
		cmocka_unit_test_teardown(test_readiness_and_the_end_are_told, tear_down),
	};

	return harness_main("rolling", tests);
}
