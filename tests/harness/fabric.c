#include "tests/harness/fabric.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#define WORDS 48

struct words {
	const char *items[WORDS + 1];
	size_t n;
};

static void say(struct words *w, const char *word)
{
	assert_true(w->n < WORDS);
	w->items[w->n++] = word;
	w->items[w->n] = NULL;
}

static void say_all(struct words *w, const char *const *words)
{
	for (; words && *words; words++)
		say(w, *words);
}

static void link_all(const char *from, const char *to)
{
	DIR *folder = opendir(from);
	const struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char target[PATH_MAX];
		char link[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(target, sizeof target, "%.2000s/%s", from, entry->d_name);
		(void)snprintf(link, sizeof link, "%.2000s/%s", to, entry->d_name);
		assert_int_equal(symlink(target, link), 0);
	}
	if (folder)
		closedir(folder);
}

/* Once a test program: with `pirn build`, as any user's services. Runs at the top of the tree. */
static const char *build_test_services(void)
{
	static char built[PATH_MAX];
	DIR *folder;
	const struct dirent *entry;

	if (built[0])
		return built;
	harness_new_dir("built", built, sizeof built);
	folder = opendir("tests/services");
	assert_non_null(folder);
	while ((entry = readdir(folder))) {
		char from[PATH_MAX];
		char to[PATH_MAX];
		char include[PATH_MAX];
		char command[3 * PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(command, sizeof command, "tests/services/%s", entry->d_name);
		assert_non_null(realpath(command, from));
		assert_non_null(realpath("include", include));
		(void)snprintf(to, sizeof to, "%.2000s/%s", built, entry->d_name);
		assert_int_equal(harness_run("build", NULL,
					 (const char *const[]){ "pirn", "build", from, "--out", to,
						 "--include", include, NULL },
					 NULL, NULL),
			0);
		/* what a manifest may name beside the object */
		(void)snprintf(command, sizeof command, "cp -n '%s'/*.txt '%s' 2>/dev/null || true",
			from, to);
		assert_int_equal(system(command), 0);
	}
	closedir(folder);
	return built;
}

void fabric_link_services(char *out, unsigned room)
{
	char path[PATH_MAX];

	harness_new_dir("services", out, room);
	link_all(harness_build("services", path, sizeof path), out);
	link_all(build_test_services(), out);
}

static void start_broker(struct fabric *f, unsigned i)
{
	struct words w = { 0 };
	char name[32];

	(void)snprintf(name, sizeof name, "broker-%u", i + 1);
	say_all(&w, (const char *const[]){ "pirn-broker", "--bind", f->endpoints[i], "--redis",
			    f->broker_redis[i], "--name", name, "--log", "json", NULL });
	say_all(&w, f->broker_flags);
	f->brokers[i] = harness_spawn(name, f->dir, w.items, NULL);
}

void fabric_add_worker(struct fabric *f, unsigned i)
{
	struct words w = { 0 };
	char name[32];

	(void)snprintf(name, sizeof name, "worker-%u", i + 1);
	say_all(&w, (const char *const[]){ "pirn-worker", "--brokers", f->worker_list, "--redis",
			    f->worker_redis, "--services", f->services_dir, "--name", name, "--log",
			    "json", NULL });
	say_all(&w, f->worker_flags);
	f->workers[i] = harness_spawn(name, f->dir, w.items, f->worker_environment);
}

static void start_gateway(struct fabric *f, unsigned i)
{
	struct words w = { 0 };
	char name[32];

	(void)snprintf(name, sizeof name, "gateway-%u", i + 1);
	(void)snprintf(f->urls[i], sizeof f->urls[i], "http://127.0.0.1:%u", harness_free_port());
	say_all(&w,
		(const char *const[]){ "pirn-gateway", "--brokers", f->gateway_list, "--http",
			f->urls[i] + strlen("http://"), "--name", name, "--log", "json", NULL });
	if (i == 0) {
		(void)snprintf(f->http, sizeof f->http, "%s", f->urls[0]);
		(void)snprintf(
			f->admin, sizeof f->admin, "http://127.0.0.1:%u", harness_free_port());
		say(&w, "--admin");
		say(&w, f->admin + strlen("http://"));
	} else {
		say(&w, "--admin");
		say(&w, "off");
	}
	say_all(&w, f->gateway_flags);
	f->gateways[i] = harness_spawn(name, f->dir, w.items, f->gateway_environment);
}

int fabric_workers_of(struct fabric *f, const char *service)
{
	struct harness_answer a = harness_get(f->admin, "/v1/services");
	json_t *answer = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
	const json_t *entry;
	size_t i;
	int workers = -1;

	json_array_foreach(json_object_get(answer, "services"), i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "service"));

		if (name && strcmp(name, service) == 0)
			workers = (int)json_integer_value(json_object_get(entry, "workers"));
	}
	json_decref(answer);
	harness_answer_free(&a);
	return workers;
}

static void name_endpoints(struct fabric *f)
{
	f->brokers_list[0] = '\0';
	for (unsigned i = 0; i < f->n_brokers; i++) {
		char *end = f->brokers_list + strlen(f->brokers_list);
		size_t room = sizeof f->brokers_list - (size_t)(end - f->brokers_list);

		if (f->tcp)
			(void)snprintf(f->endpoints[i], sizeof f->endpoints[i],
				"tcp://127.0.0.1:%u", harness_free_port());
		else
			(void)snprintf(f->endpoints[i], sizeof f->endpoints[i],
				"ipc://%.200s/broker-%u.sock", f->dir, i + 1);
		assert_true(
			(size_t)snprintf(end, room, "%s%s", i ? "," : "", f->endpoints[i]) < room);
	}
}

static unsigned at_least_one(unsigned n)
{
	assert_true(n <= FABRIC_MAX);
	return n ? n : 1;
}

static void settle_redis(struct fabric *f)
{
	if (f->no_redis) {
		(void)snprintf(
			f->redis_url, sizeof f->redis_url, "unix://%.2000s/nothing.sock", f->dir);
		return;
	}
	f->redis = harness_redis_start_in(f->redis_environment, false, f->redis_options);
	(void)snprintf(f->redis_url, sizeof f->redis_url, "%s", harness_redis_url(f->redis));
}

static void lay_routes(struct fabric *f)
{
	(void)snprintf(f->worker_list, sizeof f->worker_list, "%s", f->brokers_list);
	(void)snprintf(f->gateway_list, sizeof f->gateway_list, "%s", f->brokers_list);
	(void)snprintf(f->worker_redis, sizeof f->worker_redis, "%s", f->redis_url);
	for (unsigned i = 0; i < f->n_brokers; i++)
		(void)snprintf(f->broker_redis[i], sizeof f->broker_redis[i], "%s", f->redis_url);
	if (f->reroute)
		f->reroute(f);
}

static bool has_links(const struct harness_process *p, unsigned n)
{
	return harness_log_count(p, "link_up", NULL, NULL) >= n;
}

void fabric_start(struct fabric *f)
{
	f->n_brokers = at_least_one(f->n_brokers);
	f->n_workers = at_least_one(f->n_workers);
	f->n_gateways = at_least_one(f->n_gateways);
	harness_new_dir("f", f->dir, sizeof f->dir);
	if (f->services)
		(void)snprintf(f->services_dir, sizeof f->services_dir, "%s", f->services);
	else
		fabric_link_services(f->services_dir, sizeof f->services_dir);
	settle_redis(f);
	name_endpoints(f);
	lay_routes(f);
	for (unsigned i = 0; i < f->n_brokers; i++)
		start_broker(f, i);
	for (unsigned i = 0; i < f->n_workers && !f->no_workers; i++)
		fabric_add_worker(f, i);
	for (unsigned i = 0; i < f->n_gateways; i++)
		start_gateway(f, i);
	for (unsigned i = 0; i < f->n_gateways; i++)
		wait_until(PATIENCE_MS, harness_status(f->urls[i], NULL, "/readyz", NULL) == 200);
	for (unsigned i = 0; i < f->n_gateways; i++)
		wait_until(PATIENCE_MS, has_links(f->gateways[i], f->n_brokers));
	for (unsigned i = 0; i < f->n_workers && !f->no_workers; i++)
		wait_until(PATIENCE_MS, has_links(f->workers[i], f->n_brokers));
	if (!f->no_workers)
		wait_until(PATIENCE_MS, fabric_workers_of(f, "hello") == (int)f->n_workers);
}

void fabric_stop(struct fabric *f)
{
	for (unsigned i = 0; i < FABRIC_MAX; i++) {
		harness_free(&f->gateways[i]);
		harness_free(&f->workers[i]);
		harness_free(&f->brokers[i]);
	}
	harness_redis_stop(&f->redis);
}
