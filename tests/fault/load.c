#include "tests/fault/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <pirn/client.h>

#include "tests/fault/effects.h"
#include "tests/fault/record.h"
#include "tests/harness/wait.h"

#define DECIDE_MS  10000 /* how long a decision is waited for */
#define TURN_MS    20
#define AGAIN_MS   250
#define DELAY_MS   700
#define AGAIN_MAX  4096
#define ANSWER_MAX 2048
#define BODY_MAX   128

/* One try to send an event. */
struct errand {
	struct load *load;
	unsigned serial;
	bool doubtful; /* an earlier try is not decided */
	uint64_t sent_ms;
};

struct slot {
	struct errand errand;
	CURL *curl;
	struct curl_slist *headers;
	bool busy;
	size_t size;
	char body[BODY_MAX];
	char answer[ANSWER_MAX];
};

struct again {
	unsigned serial;
	uint64_t due;
};

struct load {
	struct load_conf conf;
	struct record *record;
	pthread_t thread;
	CURLM *multi;
	struct pirn_client *client;
	struct slot *slots;
	unsigned next_serial;
	uint64_t next_due;

	atomic_bool paused, rests, ends; /* rests: the thread has seen the pause */
	atomic_uint http, library;       /* under way */
	atomic_uint waiting;             /* to be sent again, or just about to be */
	atomic_uint_fast64_t accepted, refused, unknown, marked_ms, first_ms;

	pthread_mutex_t lock; /* of the list */
	struct again again[AGAIN_MAX];
	unsigned n_again;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "load: %s\n", what);
	abort();
}

static bool by_library(unsigned serial)
{
	return serial % 2 == 1;
}

static bool is_keyed(unsigned serial)
{
	return serial / 2 % 2 == 1;
}

static uint64_t delay_of(unsigned serial)
{
	return serial % 6 == 5 || serial % 6 == 2 ? DELAY_MS : 0;
}

static void key_of(unsigned serial, char *out, size_t room)
{
	(void)snprintf(out, room, "key-%u", serial);
}

/* ---- decisions, from either thread --------------------------------------------------- */

static void accepted(const struct errand *e, const char *id)
{
	struct load *l = e->load;
	uint64_t marked = l->marked_ms;
	uint_fast64_t none = 0;

	record_accepted(l->record, e->serial, id);
	atomic_fetch_add(&l->accepted, 1);
	if (marked && e->sent_ms >= marked)
		atomic_compare_exchange_strong(&l->first_ms, &none, harness_now_ms());
}

static void send_again(const struct errand *e)
{
	struct load *l = e->load;

	pthread_mutex_lock(&l->lock);
	if (l->n_again == AGAIN_MAX)
		die("too many events are unknown");
	l->again[l->n_again++] = (struct again){ e->serial, harness_now_ms() + AGAIN_MS };
	atomic_fetch_add(&l->waiting, 1);
	pthread_mutex_unlock(&l->lock);
}

static void refused(const struct errand *e, unsigned status)
{
	record_refused(e->load->record, e->serial, status);
	atomic_fetch_add(&e->load->refused, 1);
	if (e->doubtful)
		send_again(e);
}

static void unknown(const struct errand *e)
{
	record_unknown(e->load->record, e->serial);
	atomic_fetch_add(&e->load->unknown, 1);
	if (is_keyed(e->serial))
		send_again(e);
}

/* ---- by the client library ------------------------------------------------------------- */

static void on_sent(void *arg, const struct pirn_sent *sent)
{
	struct errand *e = arg;
	struct load *l = e->load;

	if (sent->err == PIRN_CLIENT_OK)
		accepted(e, sent->id);
	else if (sent->err == PIRN_CLIENT_UNDECIDED || sent->err == PIRN_CLIENT_CLOSED)
		unknown(e);
	else
		refused(e, sent->status);
	free(e);
	atomic_fetch_sub(&l->library, 1);
}

static void send_by_library(const struct errand *given)
{
	struct load *l = given->load;
	struct errand *e = malloc(sizeof *e);
	char body[BODY_MAX];
	char key[32];

	if (!e)
		die("out of memory");
	*e = *given;
	l->conf.body(e->serial, body, sizeof body);
	key_of(e->serial, key, sizeof key);
	atomic_fetch_add(&l->library, 1);
	if (pirn_client_send_async(l->client,
		    &PIRN_EVENT(.service = EFFECTS_SERVICE, .body = body, .body_size = strlen(body),
			    .key = is_keyed(e->serial) ? key : NULL,
			    .delay_ms = delay_of(e->serial), .timeout_ms = DECIDE_MS),
		    on_sent, e) == PIRN_CLIENT_OK)
		return;
	refused(e, 0);
	free(e);
	atomic_fetch_sub(&l->library, 1);
}

/* ---- by HTTP ----------------------------------------------------------------------------- */

static size_t on_answer(char *data, size_t one, size_t n, void *arg)
{
	struct slot *s = arg;
	size_t room = sizeof s->answer - 1 - s->size;
	size_t size = n < room ? n : room;

	(void)one;
	memcpy(s->answer + s->size, data, size);
	s->size += size;
	s->answer[s->size] = '\0';
	return n;
}

static void set_headers(struct slot *s)
{
	char key[64];

	s->headers = curl_slist_append(NULL, "Prefer: respond-async");
	s->headers = curl_slist_append(s->headers, "Expect:");
	s->headers = curl_slist_append(s->headers, "Pirn-Timeout: 10s");
	if (delay_of(s->errand.serial))
		s->headers = curl_slist_append(s->headers, "Pirn-Delay: 700ms");
	if (is_keyed(s->errand.serial)) {
		strcpy(key, "Idempotency-Key: ");
		key_of(s->errand.serial, key + strlen(key), sizeof key - strlen(key));
		s->headers = curl_slist_append(s->headers, key);
	}
	if (!s->headers)
		die("out of memory");
	curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
}

static void send_by_http(struct slot *s, const struct errand *errand)
{
	const struct load_conf *conf = &errand->load->conf;
	char url[256];

	s->errand = *errand;
	s->busy = true;
	s->size = 0;
	s->answer[0] = '\0';
	conf->body(errand->serial, s->body, sizeof s->body);
	(void)snprintf(url, sizeof url, "%s/v1/invoke/" EFFECTS_SERVICE,
		conf->url(conf->arg, errand->serial));
	curl_easy_reset(s->curl);
	set_headers(s);
	curl_easy_setopt(s->curl, CURLOPT_URL, url);
	curl_easy_setopt(s->curl, CURLOPT_PRIVATE, s);
	curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, s->body);
	curl_easy_setopt(s->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->curl, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(s->curl, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, 2L * DECIDE_MS);
	curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
	if (curl_multi_add_handle(errand->load->multi, s->curl) != CURLM_OK)
		die("libcurl");
	atomic_fetch_add(&errand->load->http, 1);
}

static void decide(const struct slot *s, CURLcode code, unsigned status)
{
	const char *id = strstr(s->answer, "\"id\":\"");
	char text[27];

	if (code == CURLE_COULDNT_CONNECT)
		refused(&s->errand, 0);
	else if (code != CURLE_OK || strstr(s->answer, "not known whether"))
		unknown(&s->errand);
	else if (status != 202)
		refused(&s->errand, status);
	else if (!id)
		die("a 202 without an id");
	else {
		(void)snprintf(text, sizeof text, "%.26s", id + strlen("\"id\":\""));
		accepted(&s->errand, text);
	}
}

static void collect(struct load *l)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(l->multi, &left))) {
		CURL *curl = message->easy_handle;
		CURLcode code = message->data.result;
		struct slot *s;
		long status = 0;

		curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&s);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		curl_multi_remove_handle(l->multi, curl);
		decide(s, code, (unsigned)status);
		curl_slist_free_all(s->headers);
		s->headers = NULL;
		s->busy = false;
		atomic_fetch_sub(&l->http, 1);
	}
}

/* ---- the loop -------------------------------------------------------------------------------- */

static struct slot *free_slot(const struct load *l)
{
	for (unsigned i = 0; i < l->conf.in_flight; i++)
		if (!l->slots[i].busy)
			return &l->slots[i];
	return NULL;
}

/* False: there is no room now. */
static bool dispatch(struct load *l, unsigned serial, bool doubtful)
{
	struct errand errand = { l, serial, doubtful, harness_now_ms() };
	struct slot *slot = by_library(serial) ? NULL : free_slot(l);

	if (by_library(serial) ? l->library >= l->conf.in_flight : !slot)
		return false;
	record_sent(l->record, serial, by_library(serial) ? "library" : "http", is_keyed(serial));
	if (slot)
		send_by_http(slot, &errand);
	else
		send_by_library(&errand);
	return true;
}

/* The next one whose time has come; it goes on counting as waiting. */
static bool take_again(struct load *l, uint64_t now, struct again *out)
{
	bool found = false;

	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < l->n_again && !found; i++) {
		if (l->again[i].due > now)
			continue;
		found = true;
		*out = l->again[i];
		l->again[i] = l->again[--l->n_again];
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

static void resend(struct load *l, uint64_t now)
{
	const unsigned most = l->waiting;
	struct again a;

	for (unsigned i = 0; i < most && take_again(l, now, &a); i++) {
		const struct errand e = { .load = l, .serial = a.serial };
		bool gone = dispatch(l, a.serial, true);

		if (!gone)
			send_again(&e);
		atomic_fetch_sub(&l->waiting, 1);
	}
}

static void send_new(struct load *l, uint64_t now)
{
	if (l->next_due + 1000 < now || l->paused)
		l->next_due = now;
	while (!l->paused && l->next_due <= now) {
		if (!dispatch(l, l->next_serial, false))
			return;
		l->next_serial++;
		l->next_due += 1000 / l->conf.per_second;
	}
}

static void *run(void *arg)
{
	struct load *l = arg;
	int running;

	l->next_due = harness_now_ms();
	while (!l->ends) {
		uint64_t now = harness_now_ms();
		bool paused = l->paused;

		resend(l, now);
		send_new(l, now);
		curl_multi_perform(l->multi, &running);
		collect(l);
		l->rests = paused;
		curl_multi_poll(l->multi, NULL, 0, l->paused ? TURN_MS : 2, NULL);
	}
	return NULL;
}

/* ---- from outside ------------------------------------------------------------------------------ */

struct load *load_start(const struct load_conf *conf)
{
	struct load *l = calloc(1, sizeof *l);
	char why[256];

	curl_global_init(CURL_GLOBAL_ALL);
	if (!l || !(l->slots = calloc(conf->in_flight, sizeof *l->slots)))
		die("out of memory");
	l->conf = *conf;
	l->record = record_open(conf->record);
	l->multi = curl_multi_init();
	for (unsigned i = 0; i < conf->in_flight; i++)
		if (!(l->slots[i].curl = curl_easy_init()))
			die("libcurl");
	pthread_mutex_init(&l->lock, NULL);
	if (pirn_client_open(&PIRN_OPTIONS(.brokers = conf->brokers, .name = "load"), &l->client,
		    why, sizeof why) != PIRN_CLIENT_OK)
		die(why);
	if (!l->multi || pthread_create(&l->thread, NULL, run, l) != 0)
		die("a thread");
	return l;
}

void load_pause(struct load *l)
{
	l->paused = true;
}

void load_resume(struct load *l)
{
	l->paused = false;
	l->rests = false;
}

bool load_is_quiet(struct load *l)
{
	/* Twice, because what is sent again goes back and forth between them. */
	return l->rests && l->waiting == 0 && l->http == 0 && l->library == 0 && l->waiting == 0;
}

uint64_t load_accepted(const struct load *l)
{
	return l->accepted;
}

uint64_t load_refused(const struct load *l)
{
	return l->refused;
}

uint64_t load_unknown(const struct load *l)
{
	return l->unknown;
}

void load_mark(struct load *l)
{
	l->first_ms = 0;
	l->marked_ms = harness_now_ms();
}

uint64_t load_first_after(const struct load *l)
{
	uint64_t first = l->first_ms;

	return first ? first - l->marked_ms + 1 : 0;
}

void load_stop(struct load **lp)
{
	struct load *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	l->ends = true;
	pthread_join(l->thread, NULL);
	(void)pirn_client_close(&l->client);
	for (unsigned i = 0; i < l->conf.in_flight; i++) {
		struct slot *s = &l->slots[i];

		if (s->busy)
			curl_multi_remove_handle(l->multi, s->curl);
		curl_slist_free_all(s->headers);
		curl_easy_cleanup(s->curl);
	}
	curl_multi_cleanup(l->multi);
	record_close(&l->record);
	free(l->slots);
	free(l);
}
