/* HTTP endpoints without memory: what is read from settings and URLs, and runs that go to a small server in this
 * process, over the executor's own thread and libcurl.
 *
 * What was asked for is called, with all of the request, or nothing is. A run ends once: with the whole answer, or
 * as one that may be tried again; never as its sender's mistake.
 */
#include "tests/oom/oom.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/pirn.pb-c.h"
#include "worker/http.h"
#include "worker/http_request.h"
#include "worker/http_sign.h"
#include "worker/http_target.h"
#include "worker/run.h"

/* The executor's thread is refused memory as we are; those that it starts itself (to look names up) are not. */
static void *(*thread_fn)(void *);

static void *starved_thread(void *arg)
{
	sigset_t set;
	void *out;

	sigemptyset(&set);
	sigaddset(&set, SIGFPE); /* on_fpe */
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	OOM(out = thread_fn(arg));
	return out;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	static pthread_t executor;
	bool ours = oom_depth > 0 && (!thread_fn || !pthread_equal(pthread_self(), executor));
	unsigned depth = oom_depth;
	int err;

	if (!real) {
		oom_depth = 0;
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
		oom_depth = depth;
	}
	if (!ours || thread_fn)
		return real(thread, attr, fn, arg);
	thread_fn = fn;
	err = real(thread, attr, starved_thread, arg);
	executor = *thread;
	return err;
}

/* libcurl (7.88, 8.14) divides by the size of a table that it could not allocate. A worker ends by that, and is
 * started again: as if it had called abort(). */
static void on_fpe(int number, siginfo_t *info, void *context)
{
	Dl_info object = { 0 };

	(void)number, (void)context;
	if (oom_shared && oom_shared->refused > 0 && dladdr(info->si_addr, &object) && object.dli_fname &&
		strstr(object.dli_fname, "libcurl"))
		snprintf(oom_shared->aborted_by, sizeof oom_shared->aborted_by, "libcurl");
	oom_die();
}

static void expect_fpe(void)
{
	struct sigaction action = { .sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO };

	sigaction(SIGFPE, &action, NULL);
}

/* ---- what is read ---------------------------------------------------------------------- */

static void targets_path(void)
{
	static const struct {
		const char *url, *base, *host, *path;
		uint16_t port;
	} good[] = {
		{ "http://app.example:3000/hook?a=1&b=2", "http://app.example:3000", "app.example",
			"/hook?a=1&b=2", 3000 },
		{ "https://[2001:db8::1]/x/y", "https://[2001:db8::1]:443", "2001:db8::1", "/x/y", 443 },
		{ "http://app?only=query", "http://app:80", "app", "/?only=query", 80 },
		{ "http://app", "http://app:80", "app", NULL, 80 },
	};
	static const char *const bad[] = { "http://[fe80::1%25eth0]/x", "http://user@app/x", "http://a b/" };

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		char why[256] = "";
		struct wrk_target t;
		enum base_err err = OOM_GET(wrk_target_parse(good[i].url, &t, why, sizeof why));

		if (err) {
			assert_int_equal(err, BASE_NOMEM);
			assert_string_not_equal(why, "");
			continue;
		}
		assert_string_equal(t.url, good[i].base);
		assert_string_equal(t.host, good[i].host);
		assert_int_equal(t.port, good[i].port);
		assert_int_equal(t.path != NULL, good[i].path != NULL);
		if (t.path)
			assert_string_equal(t.path, good[i].path);
		wrk_target_fini(&t);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char why[256] = "";
		struct wrk_target t;
		enum base_err err = OOM_GET(wrk_target_parse(bad[i], &t, why, sizeof why));

		assert_true(err == BASE_INVALID || err == BASE_NOMEM);
	}
}

static void settings_path(void)
{
	static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
	char why[256], text[WRK_SIGN_TEXT];
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a010203) };
	struct wrk_allow allow;
	struct wrk_signer signer;
	enum base_err err = OOM_GET(wrk_allow_parse("app:3000, *.internal, 10.0.0.0/8", &allow, why, sizeof why));

	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (!err) {
		assert_int_equal(allow.n, 3);
		assert_true(wrk_allow_has(&allow, "x", 80, (const struct sockaddr *)&in));
		wrk_allow_fini(&allow);
	}
	err = OOM_GET(wrk_signer_parse(secret, &signer, why, sizeof why));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (!err) {
		assert_int_equal(signer.n, 2);
		wrk_sign(&signer, "id", 1, "x", 1, text);
		assert_int_equal(strlen(text), 2 * 47 + 1);
		wrk_signer_fini(&signer);
	}
}

/* ---- a request --------------------------------------------------------------------------- */

#define BODY "{\"a\":\"body\"}"

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static void fill_run(struct wrk_run *run, const char *callback, uint32_t flags)
{
	const char *const fields[][2] = { { "Content-Type", "application/json" }, { "Host", "front" },
		{ "X-A", "value" }, { "Pirn-Callback-Url", callback } };
	Pirn__HttpRequest r = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header list[4], *headers[4];

	for (size_t i = 0; i < 4 && fields[i][1]; i++) {
		headers[r.n_headers++] = &list[i];
		pirn__header__init(&list[i]);
		list[i].name = bytes_of(fields[i][0]);
		list[i].value = bytes_of(fields[i][1]);
	}
	r.method = bytes_of("POST");
	r.target = bytes_of("/came/to?x=1");
	r.headers = headers;
	*run = (struct wrk_run){ .flags = flags, .attempt = 1, .id = { 1, 2, 3 } };
	base_buf_init(&run->in);
	base_buf_init(&run->meta);
	base_buf_init(&run->body);
	base_buf_grew(&run->in, pirn__http_request__pack(&r,
					base_buf_room(&run->in, pirn__http_request__get_packed_size(&r))));
	run->meta_size = run->in.size;
	run->data_size = strlen(BODY);
	base_buf_str(&run->in, BODY);
	run->deadline_us = base_clock_us() + UINT64_C(10000000);
}

static void empty_run(struct wrk_run *run)
{
	base_buf_fini(&run->in);
	base_buf_fini(&run->meta);
	base_buf_fini(&run->body);
}

static void request_path(void)
{
	static char lines[16][128];
	static size_t n_lines;
	struct wrk_http_request made;
	struct base_arena arena;
	struct wrk_run run;
	size_t n = 0;
	enum base_err err;

	fill_run(&run, "http://other/", PIRN__ITEM_FLAG__EVENT);
	base_arena_init(&arena, 64, 1u << 20);
	err = OOM_GET(wrk_http_request_make(&arena, &run, "svc", "/hook?k=v", &made));
	if (!err)
		err = OOM_GET(wrk_http_request_add(&arena, &made, "webhook-id", "7"));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (!err) {
		assert_string_equal(made.target, "/hook?k=v&x=1");
		assert_string_equal(made.callback, "http://other/");
		for (const struct curl_slist *at = made.headers; at; at = at->next, n++) {
			if (strncmp(at->data, "Pirn-Timeout:", 13) == 0)
				continue;
			assert_true(n < 16 && strlen(at->data) < sizeof lines[0]);
			if (oom_nth == 0)
				strcpy(lines[n], at->data);
			assert_string_equal(at->data, lines[n]);
		}
		if (oom_nth == 0)
			n_lines = n;
		assert_int_equal(n, n_lines);
	}
	base_arena_fini(&arena);
	empty_run(&run);
}

/* ---- the server ---------------------------------------------------------------------------- */

#define CLIENTS 16
#define ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Answer: 42\r\n\r\nhello"

static struct {
	int listening;
	unsigned port;
	atomic_uint whole, broken; /* requests */
} server;

static bool has(const char *request, const char *line)
{
	if (strstr(request, line))
		return true;
	fprintf(stderr, "no %s in %s\n", line, request);
	return false;
}

/* As it must be, whichever run it is of. */
static bool is_right(const char *request)
{
	bool callback = strncmp(request, "POST /cb?y=2 HTTP/1.1\r\n", 23) == 0;

	if (!callback && strncmp(request, "POST /hook?k=v&x=1 HTTP/1.1\r\n", 29) != 0)
		return has(request, "its line");
	return has(request, "\r\nContent-Type: application/json\r\n") && has(request, "\r\nX-A: value\r\n") &&
	       has(request, "\r\nX-Forwarded-Host: front\r\n") && has(request, "\r\nPirn-Service: ") &&
	       has(request, "\r\nPirn-Timeout: ") && has(request, "\r\n\r\n" BODY) &&
	       (!callback || (has(request, "\r\nwebhook-id: ") && has(request, "\r\nwebhook-signature: v1,") &&
				     !strstr(request, "pirn-callback-url")));
}

/* False: it is over. */
static bool serve(int fd, char *text, size_t *size)
{
	ssize_t n = recv(fd, text + *size, 4095 - *size, 0);
	const char *end;

	if (n <= 0)
		return false;
	*size += (size_t)n;
	text[*size] = '\0';
	end = strstr(text, "\r\n\r\n");
	if (!end || strlen(end + 4) < strlen(BODY))
		return true;
	atomic_fetch_add(is_right(text) ? &server.whole : &server.broken, 1);
	*size = 0;
	return send(fd, ANSWER, strlen(ANSWER), MSG_NOSIGNAL) > 0;
}

static void *server_main(void *arg)
{
	static struct pollfd polls[CLIENTS + 1];
	static char texts[CLIENTS + 1][4096];
	static size_t sizes[CLIENTS + 1];
	nfds_t n = 1;

	(void)arg;
	polls[0] = (struct pollfd){ .fd = server.listening, .events = POLLIN };
	while (poll(polls, n, -1) >= 0) {
		for (nfds_t i = n; i-- > 1;) {
			if (!polls[i].revents || serve(polls[i].fd, texts[i], &sizes[i]))
				continue;
			close(polls[i].fd);
			polls[i] = polls[--n];
			memcpy(texts[i], texts[n], sizeof texts[i]);
			sizes[i] = sizes[n];
		}
		if ((polls[0].revents & POLLIN) && n <= CLIENTS) {
			polls[n] = (struct pollfd){ .fd = accept(server.listening, NULL, NULL),
				.events = POLLIN };
			sizes[n++] = 0;
		}
	}
	return NULL;
}

/* Of this process: it ends with it. */
static void start_server(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof in;
	pthread_t thread;

	server.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server.listening, (const struct sockaddr *)&in, sizeof in), 0);
	assert_int_equal(listen(server.listening, 16), 0);
	assert_int_equal(getsockname(server.listening, (struct sockaddr *)&in, &size), 0);
	server.port = ntohs(in.sin_port);
	atomic_store(&server.whole, 0);
	atomic_store(&server.broken, 0);
	assert_int_equal(pthread_create(&thread, NULL, server_main, NULL), 0);
	pthread_detach(thread);
}

/* ---- runs ------------------------------------------------------------------------------------ */

#define RUNS 4

static sem_t woken;

static void wake(void *arg)
{
	(void)arg;
	sem_post(&woken);
}

static void see_answer(const struct wrk_run *run)
{
	static const char answer_header[] = "X-Answer";

	if (run->reason == PIRN__REASON__NONE && run->status == 200) {
		assert_int_equal(run->body.size, 5);
		assert_memory_equal(run->body.data, "hello", 5);
		assert_non_null(memmem(run->meta.data, run->meta.size, answer_header, strlen(answer_header)));
		return;
	}
	/* Each of these may be tried again. */
	if (run->status != 502 && run->status != 503 && run->status != 504)
		fail_msg("%u, reason %u: %s", (unsigned)run->status, (unsigned)run->reason, run->why);
}

/* All at once, and each is done once. */
static void carry(const struct wrk_carrier *carrier, struct wrk_run runs[RUNS])
{
	unsigned done[RUNS] = { 0 }, left = RUNS;

	for (unsigned i = 0; i < RUNS; i++)
		runs[i].task.next = i + 1 < RUNS ? &runs[i + 1].task : NULL;
	OOM(carrier->push(carrier->arg, &runs[0].task));
	while (left > 0) {
		struct wrk_task *task = carrier->done(carrier->arg);

		if (!task)
			sem_wait(&woken); /* oom.h's alarm ends it otherwise */
		for (; task; task = task->next) {
			size_t i = (size_t)((struct wrk_run *)task - runs);

			assert_true(i < RUNS);
			assert_int_equal(done[i]++, 0);
			left--;
		}
	}
}

static void exchanges_path(void)
{
	const struct wrk_http_conf conf = { .allow = "localhost,127.0.0.1",
		.connect_ms = 5000,
		.max_response = 65536,
		.wake = wake };
	struct base_manifest *manifest;
	struct wrk_endpoint *named, *literal, *callbacks;
	struct wrk_run runs[RUNS];
	char why[256], url[128], hook[64];
	struct wrk_http *h;
	unsigned right = 0;

	thread_fn = NULL;
	expect_fpe();
	base_log_init(BASE_ERROR + 1, BASE_LOG_TEXT, 2);
	sem_init(&woken, 0, 0);
	start_server();
	assert_int_equal(wrk_http_new(&conf, &h, why, sizeof why), BASE_OK);
	manifest = base_manifest_new();
	manifest->service = strdup("svc");
	snprintf(url, sizeof url, "http://localhost:%u/hook?k=v", server.port);
	manifest->handler = strdup(url);
	assert_int_equal(wrk_endpoint_new(h, manifest, ".", &named, why, sizeof why), BASE_OK);
	free(manifest->handler);
	snprintf(url, sizeof url, "http://127.0.0.1:%u/hook?k=v", server.port);
	manifest->handler = strdup(url);
	assert_int_equal(wrk_endpoint_new(h, manifest, ".", &literal, why, sizeof why), BASE_OK);
	assert_int_equal(wrk_endpoint_of_callbacks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &callbacks, why,
				 sizeof why),
		BASE_OK);
	snprintf(hook, sizeof hook, "http://localhost:%u/cb?y=2", server.port);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < RUNS; i++) {
			fill_run(&runs[i], i == 3 ? hook : NULL,
				i == 1 ? PIRN__ITEM_FLAG__IDEMPOTENT : PIRN__ITEM_FLAG__EVENT);
			runs[i].endpoint = i == 3 ? callbacks : i == 2 ? named : literal;
		}
		carry(wrk_http_carrier(h), runs);
		for (unsigned i = 0; i < RUNS; i++) {
			see_answer(&runs[i]);
			right += runs[i].status == 200;
			empty_run(&runs[i]);
		}
	}
	wrk_http_free(&h);
	wrk_endpoint_free(&named);
	wrk_endpoint_free(&literal);
	wrk_endpoint_free(&callbacks);
	base_manifest_free(&manifest);
	assert_int_equal(atomic_load(&server.broken), 0);
	assert_true(atomic_load(&server.whole) >= right);
	assert_true(oom_nth > 0 || right == 2 * RUNS);
}

/* ------------------------------------------------------------------------------------------ */

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("http: targets", targets_path, 0)
SWEEP("http: settings", settings_path, 0)
SWEEP("http: a request", request_path, 0)
SWEEP("http: exchanges", exchanges_path, OOM_MAY_ABORT | OOM_THREADS | OOM_SLOW)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets_path),
		cmocka_unit_test(test_settings_path),
		cmocka_unit_test(test_request_path),
		cmocka_unit_test(test_exchanges_path),
	};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	return cmocka_run_group_tests_name("HTTP endpoints, out of memory", tests, NULL, NULL);
}
