#include "tests/harness/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "tests/harness/wait.h"

struct sink {
	char *data;
	size_t size;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "harness: %s (%s)\n", what, strerror(errno));
	abort();
}

static size_t on_data(char *data, size_t one, size_t n, void *arg)
{
	struct sink *s = arg;
	char *longer = realloc(s->data, s->size + n + 1);

	(void)one;
	if (!longer)
		die("out of memory");
	memcpy(longer + s->size, data, n);
	s->data = longer;
	s->size += n;
	s->data[s->size] = '\0';
	return n;
}

struct source {
	const char *data;
	size_t left;
};

static size_t on_read(char *out, size_t one, size_t n, void *arg)
{
	struct source *s = arg;
	size_t size = s->left < n * one ? s->left : n * one;

	memcpy(out, s->data, size);
	s->data += size;
	s->left -= size;
	return size;
}

static struct curl_slist *all_headers(const struct harness_call *call)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	if (call->chunked)
		list = curl_slist_append(list, "Transfer-Encoding: chunked");
	for (size_t i = 0; call->headers && call->headers[i]; i++)
		list = curl_slist_append(list, call->headers[i]);
	return list;
}

static void set_body(
	CURL *curl, const struct harness_call *call, size_t size, struct source *source)
{
	if (!call->body)
		return;
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	if (call->chunked) {
		curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(curl, CURLOPT_READDATA, source);
	} else {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
	}
}

static void perform(CURL *curl, const struct harness_call *call, struct harness_answer *out)
{
	size_t size = call->body && !call->size ? strlen(call->body) : call->size;
	struct source source = { call->body, size };
	struct sink body = { 0 };
	struct sink head = { 0 };
	struct curl_slist *headers = all_headers(call);
	char url[8192];
	long status = 0;
	CURLcode code;

	curl_easy_reset(curl);
	(void)snprintf(url, sizeof url, "%s%s", call->base, call->target);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	/* A large body is sent when the answer says so, however late: sent unasked it may meet a refusal's reset. */
	curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, 60000L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
		(long)(call->timeout_ms ? call->timeout_ms : PATIENCE_MS));
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, out->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &head);
	set_body(curl, call, size, &source);
	if (call->method && strcmp(call->method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else if (call->method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK && !out->error[0])
		(void)snprintf(out->error, sizeof out->error, "%s", curl_easy_strerror(code));
	out->status = code == CURLE_OK ? (unsigned)status : 0;
	out->body = body.data ? body.data : strdup("");
	out->size = body.size;
	out->headers = head.data ? head.data : strdup("");
	curl_slist_free_all(headers);
}

struct harness_answer harness_call(const struct harness_call *call)
{
	struct harness_answer answer = { 0 };
	CURL *curl = curl_easy_init();

	if (!curl)
		die("no libcurl");
	perform(curl, call, &answer);
	curl_easy_cleanup(curl);
	return answer;
}

struct harness_answer harness_get(const char *base, const char *target)
{
	return harness_call(&(struct harness_call){ .base = base, .target = target });
}

struct harness_answer harness_post(const char *base, const char *target, const char *body)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };

	return harness_call(&(struct harness_call){
		.base = base, .target = target, .body = body, .headers = headers });
}

void harness_answer_free(struct harness_answer *a)
{
	free(a->body);
	free(a->headers);
	*a = (struct harness_answer){ 0 };
}

const char *harness_answer_header(const struct harness_answer *a, const char *name)
{
	static char value[8192];
	size_t size = strlen(name);

	for (const char *line = a->headers; *line;
		line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncasecmp(line, name, size) != 0 || line[size] != ':')
			continue;
		line += size + 1;
		line += strspn(line, " \t");
		(void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r\n"), line);
		return value;
	}
	return NULL;
}

unsigned harness_status(const char *base, const char *method, const char *target, const char *body)
{
	struct harness_answer a = harness_call(&(struct harness_call){
		.base = base, .method = method, .target = target, .body = body });
	unsigned status = a.status;

	harness_answer_free(&a);
	return status;
}

double harness_metric(const char *admin, const char *name, const char *labels)
{
	struct harness_answer a = harness_get(admin, "/metrics");
	size_t size = strlen(name);
	double sum = 0;
	bool found = false;
	char *rest = NULL;

	for (char *line = strtok_r(a.body, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *space = strrchr(line, ' ');

		if (strncmp(line, name, size) != 0 || (line[size] != '{' && line[size] != ' ') ||
			!space)
			continue;
		if (labels && !strstr(line, labels))
			continue;
		sum += strtod(space, NULL);
		found = true;
	}
	harness_answer_free(&a);
	return found ? sum : -1;
}

/* ---- raw bytes ---------------------------------------------------------------- */

int harness_raw_connect(const char *base)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	const char *colon = strrchr(base, ':');
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		die("cannot connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

void harness_raw_send(int fd, const void *data, size_t size)
{
	const char *bytes = data;

	while (size > 0) {
		ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		bytes += n;
		size -= (size_t)n;
	}
}

void harness_raw_text(int fd, const char *text)
{
	harness_raw_send(fd, text, strlen(text));
}

char *harness_raw_read(int fd, unsigned timeout_ms)
{
	uint64_t end = harness_wait_end(timeout_ms);
	struct sink all = { 0 };
	char bytes[4096];

	for (;;) {
		uint64_t now = harness_now_ms();
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (now >= end || poll(&wait, 1, (int)(end - now)) == 0) {
			free(all.data);
			return NULL;
		}
		n = recv(fd, bytes, sizeof bytes, 0);
		if (n <= 0)
			return all.data ? all.data : strdup("");
		on_data(bytes, 1, (size_t)n, &all);
	}
}

char *harness_raw(const char *base, const char *text)
{
	int fd = harness_raw_connect(base);
	char *answer;

	harness_raw_text(fd, text);
	answer = harness_raw_read(fd, PATIENCE_MS);
	close(fd);
	return answer;
}

/* ---- a load --------------------------------------------------------------------- */

struct harness_load {
	struct harness_call call;
	pthread_t threads[64];
	unsigned n;
	atomic_bool stop;
	atomic_ullong ok, failed;
	atomic_flag told;
	char first[256];
};

static void *run_load(void *arg)
{
	struct harness_load *l = arg;
	CURL *curl = curl_easy_init();

	while (curl && !atomic_load(&l->stop)) {
		struct harness_answer a = { 0 };

		perform(curl, &l->call, &a);
		if (a.status / 100 == 2) {
			atomic_fetch_add(&l->ok, 1);
		} else {
			atomic_fetch_add(&l->failed, 1);
			if (!atomic_flag_test_and_set(&l->told))
				(void)snprintf(l->first, sizeof l->first, "%u %.100s %.120s",
					a.status, a.error, a.body);
		}
		harness_answer_free(&a);
	}
	curl_easy_cleanup(curl);
	return NULL;
}

struct harness_load *harness_load_start(const struct harness_call *call, unsigned threads)
{
	struct harness_load *l = calloc(1, sizeof *l);

	if (!l || threads > 64)
		die("no load");
	curl_global_init(CURL_GLOBAL_ALL); /* not in the threads: it is not theirs to race for */
	l->call = *call;
	atomic_flag_clear(&l->told);
	for (; l->n < threads; l->n++)
		if (pthread_create(&l->threads[l->n], NULL, run_load, l) != 0)
			die("no thread");
	return l;
}

uint64_t harness_load_ok(struct harness_load *l)
{
	return atomic_load(&l->ok);
}

struct harness_load_counts harness_load_stop(struct harness_load **lp)
{
	struct harness_load *l = *lp;
	struct harness_load_counts counts = { 0 };

	*lp = NULL;
	atomic_store(&l->stop, true);
	for (unsigned i = 0; i < l->n; i++)
		pthread_join(l->threads[i], NULL);
	counts.ok = atomic_load(&l->ok);
	counts.failed = atomic_load(&l->failed);
	(void)snprintf(counts.first, sizeof counts.first, "%s", l->first);
	free(l);
	return counts;
}
