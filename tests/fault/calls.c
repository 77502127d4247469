#include "tests/fault/calls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

#include "tests/harness/wait.h"

#define IN_FLIGHT 512
#define WAIT_MS   60000 /* how long the sender waits */
#define TURN_MS   2
#define STALL_MS  50 /* a turn that takes longer had no processor; nor had those who were to answer */

struct slot {
	CURL *curl;
	uint64_t sent_ms, stalled_ms; /* stalled_ms: as it was when this was sent */
	bool busy;
};

struct calls {
	struct calls_conf conf;
	pthread_t thread;
	CURLM *multi;
	struct curl_slist *headers;
	struct slot slots[IN_FLIGHT];
	unsigned serial, under_way;
	uint64_t next_due;
	uint64_t stalled_ms; /* so far, in all */
	struct calls_counts counts; /* the thread's */
	atomic_uint_fast64_t ok;
	atomic_bool ends;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "calls: %s\n", what);
	abort();
}

static size_t drop(char *data, size_t one, size_t n, void *arg)
{
	(void)data;
	(void)arg;
	return one * n;
}

static void send_one(struct calls *c, struct slot *s, uint64_t now)
{
	const bool get = c->serial % 2 == 0;
	char url[256];

	(void)snprintf(url, sizeof url, "%s%s", c->conf.url(c->conf.arg, c->serial),
		get ? "/hello" : "/v1/invoke/echo");
	s->busy = true;
	s->sent_ms = now;
	s->stalled_ms = c->stalled_ms;
	curl_easy_reset(s->curl);
	curl_easy_setopt(s->curl, CURLOPT_URL, url);
	curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
	curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, c->headers);
	if (!get)
		curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, "x");
	curl_easy_setopt(s->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->curl, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(s->curl, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, (long)WAIT_MS);
	curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, drop);
	if (curl_multi_add_handle(c->multi, s->curl) != CURLM_OK)
		die("libcurl");
	c->counts.sent++;
	c->under_way++;
}

static void count(struct calls *c, CURLcode code, long status, uint64_t took, uint64_t stalled)
{
	if (took > c->counts.worst_ms)
		c->counts.worst_ms = took;
	c->counts.late += took > c->conf.timeout_ms + c->conf.margin_ms + stalled;
	if (code != CURLE_OK)
		c->counts.none++;
	else if (status / 100 == 2)
		c->ok++;
	else if (status == 429 || status == 503)
		c->counts.refused++;
	else if (status == 504)
		c->counts.expired++;
	else if (status == 502)
		c->counts.lost++;
	else
		c->counts.other++;
}

static void collect(struct calls *c)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(c->multi, &left))) {
		CURL *curl = message->easy_handle;
		CURLcode code = message->data.result;
		struct slot *s;
		long status = 0;

		curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&s);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		curl_multi_remove_handle(c->multi, curl);
		count(c, code, status, harness_now_ms() - s->sent_ms, c->stalled_ms - s->stalled_ms);
		s->busy = false;
		c->under_way--;
	}
}

static struct slot *free_slot(struct calls *c)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		if (!c->slots[i].busy)
			return &c->slots[i];
	return NULL;
}

/* None is made up for after more than a second. */
static void send_due(struct calls *c, uint64_t now)
{
	struct slot *s;

	if (c->next_due + 1000 < now)
		c->next_due = now;
	while (c->next_due <= now && (s = free_slot(c))) {
		send_one(c, s, now);
		c->serial++;
		c->next_due += 1000 / c->conf.per_second;
	}
}

static void turn(struct calls *c)
{
	uint64_t begun = harness_now_ms(), took;
	int running;

	if (!c->ends)
		send_due(c, begun);
	curl_multi_perform(c->multi, &running);
	curl_multi_poll(c->multi, NULL, 0, TURN_MS, NULL);
	took = harness_now_ms() - begun;
	if (took > STALL_MS)
		c->stalled_ms += took;
	collect(c);
}

static void *run(void *arg)
{
	struct calls *c = arg;

	c->next_due = harness_now_ms();
	while (!c->ends || c->under_way > 0)
		turn(c);
	return NULL;
}

struct calls *calls_start(const struct calls_conf *conf)
{
	struct calls *c = calloc(1, sizeof *c);
	char time[64];

	curl_global_init(CURL_GLOBAL_ALL);
	if (!c || !(c->multi = curl_multi_init()))
		die("out of memory");
	c->conf = *conf;
	(void)snprintf(time, sizeof time, "Pirn-Timeout: %ums", conf->timeout_ms);
	c->headers = curl_slist_append(NULL, time);
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		if (!(c->slots[i].curl = curl_easy_init()))
			die("libcurl");
	if (!c->headers || pthread_create(&c->thread, NULL, run, c) != 0)
		die("a thread");
	return c;
}

uint64_t calls_ok(const struct calls *c)
{
	return c->ok;
}

struct calls_counts calls_stop(struct calls **cp)
{
	struct calls *c = *cp;
	struct calls_counts counts = { 0 };

	if (!c)
		return counts;
	*cp = NULL;
	c->ends = true;
	pthread_join(c->thread, NULL);
	counts = c->counts;
	counts.ok = c->ok;
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		curl_easy_cleanup(c->slots[i].curl);
	curl_multi_cleanup(c->multi);
	curl_slist_free_all(c->headers);
	free(c);
	return counts;
}
