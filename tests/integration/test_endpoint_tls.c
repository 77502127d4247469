/* What an endpoint does means the same with TLS and without: runs on a
 * carrier of their own, a real endpoint, and a program before it that speaks TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <semaphore.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proto/pirn.pb-c.h"
#include "tests/harness/endpoint.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"
#include "worker/http.h"
#include "worker/run.h"

#define EVENT      PIRN__ITEM_FLAG__EVENT
#define IDEMPOTENT PIRN__ITEM_FLAG__IDEMPOTENT
#define DATA       "some data"

static const char *data = DATA;

static struct endpoint *app;
static struct harness_process *front;
static struct wrk_http *http;
static struct wrk_endpoint *plain, *tls;
static struct base_manifest *manifests[2];
static char allow[64], certificate[PATH_MAX], key[PATH_MAX];
static unsigned front_port;
static sem_t woken;

static void wake(void *arg)
{
	(void)arg;
	sem_post(&woken);
}

/* ---- endpoints ------------------------------------------------------------------------- */

static void make_certificate(void)
{
	char command[4 * PATH_MAX];

	snprintf(certificate, sizeof certificate, "%.2000s/cert.pem", harness_dir());
	snprintf(key, sizeof key, "%.2000s/key.pem", harness_dir());
	snprintf(command, sizeof command,
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
		"-addext subjectAltName=DNS:localhost -keyout '%s' -out '%s' 2>/dev/null",
		key, certificate);
	assert_int_equal(system(command), 0);
}

static void start_front(void)
{
	char port[16], program[PATH_MAX];
	char *said;

	assert_non_null(realpath("tests/integration/tls_front.py", program));
	snprintf(port, sizeof port, "%u", endpoint_port(app));
	front = harness_spawn("front", harness_dir(),
		(const char *const[]){ "/usr/bin/env", "python3", program, certificate, key, port, NULL },
		NULL);
	wait_until(PATIENCE_MS, harness_wrote(front, "listening on "));
	said = harness_output(front);
	assert_int_equal(sscanf(strstr(said, "listening on "), "listening on %u", &front_port), 1);
	free(said);
}

static struct wrk_endpoint *make_endpoint(
	const char *scheme, unsigned port, struct base_manifest *manifest)
{
	struct wrk_endpoint *out = NULL;
	char url[64], why[256];

	snprintf(url, sizeof url, "%s://localhost:%u/hook", scheme, port);
	manifest->service = strdup("it");
	manifest->handler = strdup(url);
	if (wrk_endpoint_new(http, manifest, ".", &out, why, sizeof why) != BASE_OK)
		fail_msg("%s: %s", url, why);
	return out;
}

static void begin(const char *ca)
{
	struct wrk_http_conf conf = { .allow = allow,
		.ca = ca,
		.connect_ms = 10000,
		.max_response = 65536,
		.wake = wake };
	char why[256];

	snprintf(allow, sizeof allow, "localhost:%u,localhost:%u", endpoint_port(app), front_port);
	assert_int_equal(wrk_http_new(&conf, &http, why, sizeof why), BASE_OK);
	for (size_t i = 0; i < 2; i++)
		manifests[i] = base_manifest_new();
	plain = make_endpoint("http", endpoint_port(app), manifests[0]);
	tls = make_endpoint("https", front_port, manifests[1]);
}

static void end(void)
{
	wrk_http_free(&http);
	wrk_endpoint_free(&plain);
	wrk_endpoint_free(&tls);
	for (size_t i = 0; i < 2; i++)
		base_manifest_free(&manifests[i]);
}

/* ---- runs --------------------------------------------------------------------------------- */

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static void fill(struct wrk_run *run, const char *method, const char *query, bool has_data)
{
	Pirn__HttpRequest request = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header row = PIRN__HEADER__INIT, *list = &row;
	char target[128];

	snprintf(target, sizeof target, "/came?%s", query);
	request.method = bytes(method);
	request.target = bytes(target);
	row.name = bytes("X-Mine");
	row.value = bytes("1");
	request.headers = &list;
	request.n_headers = 1;
	run->meta_size = pirn__http_request__get_packed_size(&request);
	(void)pirn__http_request__pack(&request, base_buf_room(&run->in, run->meta_size));
	base_buf_grew(&run->in, run->meta_size);
	if (has_data)
		base_buf_str(&run->in, data);
	run->data_size = run->in.size - run->meta_size;
}

static void empty(struct wrk_run *run)
{
	base_buf_fini(&run->in);
	base_buf_fini(&run->meta);
	base_buf_fini(&run->body);
	base_buf_fini(&run->emits);
}

/* Its answer is in the run: empty() it. */
static void carry(
	struct wrk_run *run, struct wrk_endpoint *to, const char *method, const char *query, uint32_t flags)
{
	const struct wrk_carrier *carrier = wrk_http_carrier(http);

	*run = (struct wrk_run){ .flags = flags,
		.attempt = 1,
		.endpoint = to,
		.deadline_us = base_clock_us() + PATIENCE_MS * 1000u };
	base_buf_init(&run->in);
	base_buf_init(&run->meta);
	base_buf_init(&run->body);
	base_buf_init(&run->emits);
	fill(run, method, query, strcmp(method, "POST") == 0);
	carrier->push(carrier->arg, &run->task);
	assert_int_equal(sem_wait(&woken), 0);
	assert_ptr_equal(carrier->done(carrier->arg), &run->task);
}

static unsigned status(struct wrk_endpoint *to, const char *method, const char *query, uint32_t flags)
{
	struct wrk_run run;

	carry(&run, to, method, query, flags);
	empty(&run);
	return run.status;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void the_same_with_tls_and_without(void **state)
{
	static const struct {
		const char *method, *query;
		uint32_t flags;
		unsigned status;
		uint32_t retry_after_ms;
		const char *body, *why; /* of it a part; NULL: whatever */
	} rows[] = {
		{ "POST", "do=echo", 0, 200, 0, DATA, "" },
		{ "GET", "do=echo", IDEMPOTENT, 200, 0, "", "" },
		{ "HEAD", "do=echo", IDEMPOTENT, 200, 0, "", "" },
		{ "DELETE", "do=echo", IDEMPOTENT, 200, 0, "", "" },
		{ "POST", "do=status&code=418", 0, 418, 0, "00418", "" },
		{ "POST", "do=status&code=503&after=7", 0, 503, 7000, "00503", "" },
		{ "POST", "do=status&code=200&after=7", 0, 200, 0, "00200", "" },
		{ "POST", "do=status&code=204", 0, 204, 0, "", "" },
		{ "POST", "do=hops", 0, 200, 0, "ok", "" },
		{ "POST", "do=redirect", 0, 302, 0, "", "" },
		{ "POST", "do=leave", 0, 200, 0, "ok", "" }, /* the next one may be repeated */
		{ "POST", "do=redirect", EVENT, 502, 0, NULL, "redirects are not followed" },
		{ "POST", "do=close", EVENT, 502, 0, NULL, "closed the connection" },
		{ "POST", "do=half", EVENT, 502, 0, NULL, "closed the connection" },
		{ "POST", "do=garbage", EVENT, 502, 0, NULL, "not HTTP" },
		{ "POST", "do=headers", EVENT, 502, 0, NULL, "headers" },
		{ "POST", "do=line", EVENT, 502, 0, NULL, "headers" },
		{ "POST", "do=early", EVENT, 502, 0, NULL, "headers" },
		{ "POST", "do=fold", EVENT, 502, 0, NULL, "not HTTP" },
		{ "POST", "do=odd", EVENT, 502, 0, NULL, "a status that" },
		{ "POST", "do=huge", EVENT, 502, 0, NULL, "over 65536 bytes" },
		{ "POST", "do=flood", EVENT, 502, 0, NULL, "over 65536 bytes" },
	};

	(void)state;
	begin(certificate);
	for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
		size_t n = i / 2;
		struct wrk_run run;

		carry(&run, i % 2 ? tls : plain, rows[n].method, rows[n].query, rows[n].flags);
		if (run.status != rows[n].status || !strstr(run.why, rows[n].why) ||
			run.retry_after_ms != rows[n].retry_after_ms ||
			(rows[n].body && strcmp((const char *)run.body.data, rows[n].body) != 0))
			fail_msg("%s %s%s: %u, after %u: \"%s\" \"%s\"", rows[n].method, rows[n].query,
				i % 2 ? " by TLS" : "", run.status, run.retry_after_ms,
				(const char *)run.body.data, run.why);
		empty(&run);
	}
	end();
}

/* Nor is what may not be repeated sent twice. */
static void kept_connections(void **state)
{
	struct wrk_endpoint *const *const both[] = { &plain, &tls };

	(void)state;
	begin(certificate);
	for (size_t i = 0; i < 2; i++) {
		char query[32], text[64];
		unsigned before;

		assert_int_equal(status(*both[i], "POST", "do=echo", 0), 200);
		before = endpoint_connects(app);
		for (unsigned n = 0; n < 10; n++)
			assert_int_equal(status(*both[i], "POST", "do=echo", 0), 200);
		assert_int_equal(endpoint_connects(app), before);
		snprintf(query, sizeof query, "do=close&n=%zu", i);
		snprintf(text, sizeof text, "do=close&n=%zu HTTP", i);
		assert_int_equal(status(*both[i], "POST", query, 0), 502);
		assert_int_equal(endpoint_seen(app, text), 1);
		assert_int_equal(status(*both[i], "GET", "do=echo", IDEMPOTENT), 200);
		assert_int_equal(status(*both[i], "GET", query, IDEMPOTENT), 502);
		assert_true(endpoint_seen(app, text) > 2);
	}
	end();
}

/* More than a connection takes at once. */
static void a_large_request(void **state)
{
	const size_t size = (size_t)12 << 20;
	char *text = malloc(size + 1), *seen;
	unsigned connects;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < size; i++)
		text[i] = (char)('a' + i % 23);
	text[size] = '\0';
	begin(certificate);
	for (size_t i = 0; i < 2; i++) {
		char query[16];
		struct wrk_run run;

		snprintf(query, sizeof query, "large=%zu", i);
		data = text;
		carry(&run, i ? tls : plain, "POST", query, 0);
		data = DATA;
		assert_int_equal(run.status, 200);
		assert_string_equal((const char *)run.body.data, "ok");
		empty(&run);
		seen = endpoint_last(app, query);
		assert_non_null(seen);
		assert_string_equal(strstr(seen, "\r\n\r\n") + 4, text);
		free(seen);
		/* And nothing behind it, or the connection would be no good. */
		connects = endpoint_connects(app);
		assert_int_equal(status(i ? tls : plain, "POST", "do=echo", 0), 200);
		assert_int_equal(endpoint_connects(app), connects);
	}
	end();
	free(text);
}

static void who_is_not_trusted(void **state)
{
	unsigned before = endpoint_connects(app);
	struct wrk_run run;

	(void)state;
	begin(NULL);
	carry(&run, tls, "POST", "do=echo", EVENT);
	assert_int_equal(run.status, 502);
	assert_non_null(strstr(run.why, "over TLS"));
	empty(&run);
	assert_int_equal(endpoint_connects(app), before);
	end();
}

static int set_up(void **state)
{
	(void)state;
	app = endpoint_start();
	make_certificate();
	start_front();
	return sem_init(&woken, 0, 0);
}

static int tear_down(void **state)
{
	(void)state;
	harness_free(&front);
	endpoint_stop(&app);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_with_tls_and_without),
		cmocka_unit_test(kept_connections),
		cmocka_unit_test(a_large_request),
		cmocka_unit_test(who_is_not_trusted),
	};

	return harness_finish(cmocka_run_group_tests_name("endpoint_tls", tests, set_up, tear_down));
}
