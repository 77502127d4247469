/* Callbacks at the worker's end: runs as brokers send them to pirn-callback, a real endpoint,
 * and a check of the signature by another program. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <semaphore.h>
#include <stdatomic.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "base/clock.h"
#include "proto/pirn.pb-c.h"
#include "tests/harness/endpoint.h"
#include "tests/harness/fabric.h"
#include "worker/http.h"
#include "worker/run.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define OLD    "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define DATA   "{\"id\":\"01J\",\"state\":\"done\"}"

static struct endpoint *app;
static struct wrk_http *http;
static struct wrk_endpoint *callbacks;
static sem_t woken;

static void wake(void *arg)
{
	(void)arg;
	sem_post(&woken);
}

/* What libcurl is told about a name: for good, or for a while (with a plus). */
static atomic_uint for_good, for_a_while;

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
	static struct curl_slist *(*append)(struct curl_slist *, const char *);

	if (!append)
		*(void **)&append = dlsym(RTLD_NEXT, "curl_slist_append");
	atomic_fetch_add(&for_good, strncmp(text, "localhost:", 10) == 0);
	atomic_fetch_add(&for_a_while, strncmp(text, "+localhost:", 11) == 0);
	return append(list, text);
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
}

static void fill(struct wrk_run *run, const char *url)
{
	const char *const pairs[][2] = { { "pirn-callback-url", url }, { "ce-specversion", "1.0" },
		{ "ce-id", "01J.shop" }, { "ce-type", "pirn.invocation.done" },
		{ "ce-source", "/v1/invocations/01J" }, { "content-type", "application/json" } };
	Pirn__HttpRequest request = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header rows[6], *list[6];

	request.method = bytes("POST");
	request.target = bytes("/callback?not=this");
	request.headers = list;
	for (size_t i = url ? 0 : 1; i < 6; i++) {
		Pirn__Header *h = list[request.n_headers++] = &rows[i];

		pirn__header__init(h);
		h->name = bytes(pairs[i][0]);
		h->value = bytes(pairs[i][1]);
	}
	run->meta_size = pirn__http_request__get_packed_size(&request);
	(void)pirn__http_request__pack(&request, base_buf_room(&run->in, run->meta_size));
	base_buf_grew(&run->in, run->meta_size);
	base_buf_str(&run->in, DATA);
	run->data_size = strlen(DATA);
}

/* Its status. */
static unsigned deliver(const char *url, unsigned attempt, char *why, size_t room)
{
	const struct wrk_carrier *carrier = wrk_http_carrier(http);
	struct wrk_run run = { .flags = PIRN__ITEM_FLAG__EVENT,
		.attempt = attempt,
		.endpoint = callbacks,
		.deadline_us = base_clock_us() + PATIENCE_MS * 1000u };
	unsigned status;

	memset(run.id, 7, sizeof run.id);
	base_buf_init(&run.in);
	base_buf_init(&run.meta);
	base_buf_init(&run.body);
	base_buf_init(&run.emits);
	fill(&run, url);
	carrier->push(carrier->arg, &run.task);
	assert_int_equal(sem_wait(&woken), 0);
	assert_ptr_equal(carrier->done(carrier->arg), &run.task);
	status = run.status;
	if (why)
		snprintf(why, room, "%s", run.why);
	base_buf_fini(&run.in);
	base_buf_fini(&run.meta);
	base_buf_fini(&run.body);
	base_buf_fini(&run.emits);
	return status;
}

static int begin(const char *secret)
{
	static char allow[64];
	struct wrk_http_conf conf = {
		.allow = allow, .connect_ms = 5000, .max_response = 65536, .wake = wake
	};
	char why[256];

	snprintf(allow, sizeof allow, "localhost:%u", endpoint_port(app));
	assert_int_equal(wrk_http_new(&conf, &http, why, sizeof why), BASE_OK);
	assert_int_equal(wrk_endpoint_of_callbacks(secret, &callbacks, why, sizeof why), BASE_OK);
	return 0;
}

static void end(void)
{
	wrk_http_free(&http);
	wrk_endpoint_free(&callbacks);
}

static bool is_signed(const char *request, const char *secret)
{
	char path[PATH_MAX], command[PATH_MAX + 256];
	FILE *file;

	snprintf(path, sizeof path, "%.2000s/request", harness_dir());
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(request, file) >= 0);
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof command,
		"python3 tests/integration/callback_check.py %s <'%s' 2>/dev/null", secret, path);
	return system(command) == 0;
}

static void what_is_delivered(void **state)
{
	char url[128];
	char *seen;

	(void)state;
	begin(SECRET " " OLD);
	snprintf(url, sizeof url, "http://localhost:%u/back?for=me", endpoint_port(app));
	assert_int_equal(deliver(url, 1, NULL, 0), 200);
	seen = endpoint_last(app, "/back");
	assert_non_null(seen);
	assert_ptr_equal(strstr(seen, "POST /back?for=me HTTP/1.1\r\n"), seen);
	assert_string_equal(strstr(seen, "\r\n\r\n") + 4, DATA);
	assert_non_null(strstr(seen, "\r\nce-id: 01J.shop\r\n"));
	assert_non_null(strstr(seen, "\r\nce-type: pirn.invocation.done\r\n"));
	assert_non_null(strstr(seen, "\r\ncontent-type: application/json\r\n"));
	assert_null(strstr(seen, "pirn-callback-url"));
	assert_true(is_signed(seen, SECRET));
	assert_true(is_signed(seen, OLD));
	assert_false(is_signed(seen, "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"));
	free(seen);
	end();
}

/* Attempts have one id, by which a receiver tells them. */
static void what_is_tried_again(void **state)
{
	char url[128], id[64] = "";

	(void)state;
	begin(SECRET);
	for (unsigned i = 1; i <= 2; i++) {
		char line[64];
		char *seen, *at;

		snprintf(url, sizeof url, "http://localhost:%u/again?do=status&code=%u", endpoint_port(app),
			i == 1 ? 503 : 204);
		assert_int_equal(deliver(url, i, NULL, 0), i == 1 ? 503 : 204);
		snprintf(line, sizeof line, "\r\nPirn-Attempt: %u\r\n", i);
		seen = endpoint_last(app, "/again");
		assert_non_null(strstr(seen, line));
		assert_true(is_signed(seen, SECRET));
		at = strstr(seen, "\r\nwebhook-id: ") + 14;
		at[strcspn(at, "\r")] = '\0';
		assert_true(i == 1 || strcmp(at, id) == 0);
		snprintf(id, sizeof id, "%s", at);
		free(seen);
	}
	end();
}

static void without_a_key(void **state)
{
	char url[128];
	char *seen;

	(void)state;
	begin(NULL);
	snprintf(url, sizeof url, "http://localhost:%u/plain", endpoint_port(app));
	assert_int_equal(deliver(url, 1, NULL, 0), 200);
	seen = endpoint_last(app, "/plain");
	assert_non_null(strstr(seen, "\r\nwebhook-id: "));
	assert_null(strstr(seen, "webhook-signature"));
	free(seen);
	end();
}

/* They are anybody's, and there is no end of them. */
static void names_are_not_kept(void **state)
{
	char url[128];

	(void)state;
	begin(SECRET);
	atomic_store(&for_good, 0);
	atomic_store(&for_a_while, 0);
	snprintf(url, sizeof url, "http://localhost:%u/name", endpoint_port(app));
	assert_int_equal(deliver(url, 1, NULL, 0), 200);
	assert_int_equal(deliver(url, 1, NULL, 0), 200);
	assert_int_equal(atomic_load(&for_good), 0);
	assert_int_equal(atomic_load(&for_a_while), 2);
	end();
}

static void what_goes_nowhere(void **state)
{
	static const struct {
		const char *url;
		unsigned status;
		const char *why;
	} rows[] = {
		{ NULL, 400, "is missing" },
		{ "", 400, "http://" },
		{ "ftp://x/", 400, "http://" },
		{ "http://a:b@x/", 400, "no user" },
		{ "http://127.0.0.1:9/", 502, "127.0.0.1 is 127.0.0.1, which is not public" },
		{ "http://[::1]:9/", 502, "not public" },
		{ "http://169.254.169.254/latest", 502, "not public" },
		{ "http://localhost:9/", 502, "localhost is" },
		{ "http://nowhere.invalid/", 502, "could not be resolved" },
	};

	(void)state;
	begin(SECRET);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char why[256];
		unsigned status = deliver(rows[i].url, 1, why, sizeof why);

		if (status != rows[i].status || !strstr(why, rows[i].why))
			fail_msg("%s: %u %s", rows[i].url, status, why);
	}
	end();
}

/* ---- in a fabric ------------------------------------------------------------------------- */

static struct fabric f;

static void send_event(const char *target, const char *body, const char *callback, char id[32])
{
	char line[256];
	const char *const headers[] = { "Prefer: respond-async", line, NULL };
	struct harness_call call = { .base = f.http,
		.method = "POST",
		.target = target,
		.body = body,
		.headers = headers };
	struct harness_answer a;

	snprintf(line, sizeof line, callback ? "Pirn-Callback: %s" : "X-None: %s", callback ? callback : "");
	a = harness_call(&call);
	assert_int_equal(a.status, 202);
	snprintf(id, 32, "%s", strrchr(harness_answer_header(&a, "Location"), '/') + 1);
	harness_answer_free(&a);
}

/* Once the outcome is there: what came; free() it. */
static char *outcome_of(const char *id, const char *path)
{
	char text[96];
	char *seen;

	snprintf(text, sizeof text, "\r\nce-source: /v1/invocations/%s\r\n", id);
	wait_until(PATIENCE_MS, endpoint_seen(app, text) >= 1);
	seen = endpoint_last(app, text);
	assert_non_null(seen);
	assert_non_null(strstr(seen, path));
	assert_true(is_signed(seen, SECRET));
	return seen;
}

static void add_service(const char *dir, const char *name, const char *callback)
{
	char command[8 * PATH_MAX];

	snprintf(command, sizeof command,
		"cp -rL '%s/echo' '%s/%s' && cd '%s/%s' && mv echo.so %s.so && printf 'service: %s\\nhandler: %s.so\\ncallback: %s\\n' >service.yaml",
		dir, dir, name, dir, name, name, name, name, callback);
	assert_int_equal(system(command), 0);
}

static void from_end_to_end(void **state)
{
	static char allow[64], dir[PATH_MAX];
	const char *const flags[] = { "--http-allow", allow, "--callback-secret", SECRET, NULL };
	char url[128], id[32], other[64];
	char *seen;

	(void)state;
	snprintf(allow, sizeof allow, "localhost:%u", endpoint_port(app));
	fabric_link_services(dir, sizeof dir);
	snprintf(url, sizeof url, "http://localhost:%u/default", endpoint_port(app));
	add_service(dir, "told", url);
	f = (struct fabric){ .n_brokers = 2, .worker_flags = flags, .services = dir };
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "told") == 1);
	assert_int_equal(fabric_workers_of(&f, "pirn-callback"), 1);

	snprintf(url, sizeof url, "http://localhost:%u/done?for=me", endpoint_port(app));
	send_event("/v1/invoke/echo", "the answer", url, id);
	seen = outcome_of(id, "POST /done?for=me HTTP/1.1\r\n");
	assert_non_null(strstr(seen, "\r\nce-type: pirn.invocation.done\r\n"));
	assert_non_null(strstr(seen, "\r\nce-subject: echo\r\n"));
	assert_non_null(strstr(seen, "\r\nce-specversion: 1.0\r\n"));
	assert_non_null(strstr(seen, "\"data_base64\":\"dGhlIGFuc3dlcg==\""));
	assert_non_null(strstr(seen, "\"status\":200"));
	free(seen);

	/* A receiver that cannot take it is asked again. */
	snprintf(url, sizeof url, "http://localhost:%u/late?do=status&code=503", endpoint_port(app));
	send_event("/v1/invoke/echo", "x", url, id);
	free(outcome_of(id, "POST /late"));
	snprintf(other, sizeof other, "\r\nPirn-Attempt: 2\r\n");
	wait_until(PATIENCE_MS, endpoint_seen(app, other) >= 1);

	send_event("/v1/invoke/told", "x", NULL, id);
	free(outcome_of(id, "POST /default HTTP/1.1\r\n"));
	snprintf(url, sizeof url, "http://localhost:%u/own", endpoint_port(app));
	send_event("/v1/invoke/told", "x", url, id);
	free(outcome_of(id, "POST /own HTTP/1.1\r\n"));
	fabric_stop(&f);
}

/* A key that is named and not there must not mean that nothing is signed. */
static void a_file_without_a_key(void **state)
{
	static const char *const paths[] = { "/dev/null", "/", "/nowhere/at/all" };

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct harness_process *worker;

		assert_int_equal(harness_run("worker", harness_dir(),
					 (const char *const[]){ "pirn-worker",
						 "--callback-secret-file", paths[i], NULL },
					 NULL, &worker),
			2);
		assert_true(harness_wrote(worker, "callbacks_wrong"));
		harness_free(&worker);
	}
}

/* What users gave it would be signed. */
static void the_service_is_not_for_users(void **state)
{
	struct harness_process *worker;

	(void)state;
	f = (struct fabric){ 0 };
	fabric_start(&f);
	assert_int_equal(harness_status(f.http, "POST", "/v1/invoke/pirn-callback", "x"), 404);
	assert_int_equal(harness_run("worker", f.dir,
				 (const char *const[]){ "pirn-worker", "--callback-secret", "whsec_short", NULL },
				 NULL, &worker),
		2);
	assert_true(harness_wrote(worker, "callbacks_wrong"));
	assert_false(harness_wrote(worker, "short"));
	harness_free(&worker);
	fabric_stop(&f);
}

static int set_up(void **state)
{
	(void)state;
	app = endpoint_start();
	return sem_init(&woken, 0, 0);
}

static int tear_down(void **state)
{
	(void)state;
	endpoint_stop(&app);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_delivered),
		cmocka_unit_test(what_is_tried_again),
		cmocka_unit_test(without_a_key),
		cmocka_unit_test(names_are_not_kept),
		cmocka_unit_test(what_goes_nowhere),
		cmocka_unit_test(from_end_to_end),
		cmocka_unit_test(a_file_without_a_key),
		cmocka_unit_test(the_service_is_not_for_users),
	};

	return harness_finish(cmocka_run_group_tests_name("callback", tests, set_up, tear_down));
}
