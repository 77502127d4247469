/* One event, many deliveries: CloudEvents, one by one and in batches, go to three services and to an
 * HTTP endpoint; one of the three sends an event on to a fourth; some of all this is told to
 * callbacks. Meanwhile every part is killed and paused in turn, the endpoint as well; and then whatever
 * it may be, before the one before is over. SEED=n repeats that choice; the machine's timing it does not.
 *
 * A request is sent until it is accepted, to whichever gateway is next: source and id make that
 * safe, or the verdict finds out. Then, for every event:
 *
 *   fan-a, fan-b, fan-c   one effect each. fan-c ends some of them dead
 *   fan-d                 one effect of what fan-c sent on; none where fan-c ended dead
 *   the endpoint          the event at least once, with its ids
 *   callbacks             those of the four deliveries at least once each, where they were asked for,
 *                         and each time with the outcome that it had; fan-d's by its manifest
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "tests/fault/effects.h"
#include "tests/fault/record.h"
#include "tests/fault/scene.h"
#include "tests/harness/endpoint.h"

#define SENDERS    8
#define EVERY_MS   250  /* a sender's requests */
#define ANSWER_MS  5000 /* then the next gateway is asked */
#define BATCH      8
#define FEW        30
#define PAUSE_MS   4500 /* longer than three beats */
#define SHORT_MS   1000
#define STEPS      6    /* faults by chance, a round */
#define STEP_MS    1500 /* at most, from one to the next */
#define SHOWN      5
#define ERR_FAILED 1 /* PIRN_ERR_FAILED: the run was told to fail */
#define SOURCE     "/v1/invocations/"
#define ID_TEXT    26

enum { A, B, C, D, HOOK, SERVICES };

static const char *const names[SERVICES] = { "fan-a", "fan-b", "fan-c", "fan-d", "fan-hook" };

static struct scene s = { .name = "one event, many deliveries: anything" };
static struct endpoint *app;
static struct record *record;

/* ---- services ----------------------------------------------------------------------------- */

static void lay_service(const char *dir, unsigned i, const char *handler, const char *more)
{
	char path[PATH_MAX], command[3 * PATH_MAX];
	FILE *file;

	(void)snprintf(path, sizeof path, "%.2000s/%s", dir, names[i]);
	assert_int_equal(mkdir(path, 0777), 0);
	(void)snprintf(
		command, sizeof command, "cp -L '%.2000s/effect/effect.so' '%s/'", dir, path);
	assert_int_equal(system(command), 0);
	(void)snprintf(path, sizeof path, "%.2000s/%s/service.yaml", dir, names[i]);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file,
		"service: %s\nhandler: %s\nevents:\n  - event: { type: \"%s\" }\n%s"
		"timeout: 5s\nconcurrency: 16\n"
		"retry: { attempts: 100, base: 50ms, max: 500ms, age: 1h }\n"
		"breaker: { calls: 1000000, consecutive: 1000000, slow: 100%% }\n",
		names[i], handler, i == D ? "fan.on" : "fan.out", more);
	assert_int_equal(fclose(file), 0);
}

static void lay_services(void)
{
	static char dir[PATH_MAX];
	char hook[64], callback[64];

	(void)snprintf(hook, sizeof hook, "http://localhost:%u/hook", endpoint_port(app));
	(void)snprintf(callback, sizeof callback, "callback: http://localhost:%u/told\n",
		endpoint_port(app));
	fabric_link_services(dir, sizeof dir);
	lay_service(dir, A, "effect.so", "");
	lay_service(dir, B, "effect.so", "");
	lay_service(dir, C, "effect.so", "env: { EMIT: \"fan.on\", FATE: \"400\" }\n");
	lay_service(dir, D, "effect.so", callback);
	lay_service(dir, HOOK, hook, "");
	s.f.services = dir;
}

/* ---- events: what each is follows from its serial ------------------------------------------- */

/* A request has as many serials as a batch has events, and uses the first, or all of them. */
static unsigned request_of(unsigned serial)
{
	return serial / BATCH;
}

enum kind { STRUCTURED, BINARY, BATCHED, KINDS };

static enum kind kind_of(unsigned request)
{
	return (enum kind)(request % KINDS);
}

static bool has_callback(unsigned serial)
{
	return request_of(serial) % 4 == 1;
}

static bool is_fated(unsigned serial)
{
	return serial % 7 == 2;
}

static void write_data(unsigned serial, char *out, size_t room)
{
	(void)snprintf(out, room, "e%u sleep=%u fail=%d%s", serial, 5 + serial * 37 % 100,
		serial % 10 == 3, is_fated(serial) ? " fate" : "");
}

static size_t write_json(unsigned serial, char *out, size_t room)
{
	char data[96];

	write_data(serial, data, sizeof data);
	return (size_t)snprintf(out, room,
		"{\"specversion\":\"1.0\",\"id\":\"e%u\",\"source\":\"/fan\",\"type\":\"fan.out\","
		"\"datacontenttype\":\"text/plain\",\"data\":\"%s\"}",
		serial, data);
}

static void write_body(unsigned request, char *out, size_t room)
{
	const unsigned first = request * BATCH;
	size_t n = 0;

	if (kind_of(request) == BINARY)
		write_data(first, out, room);
	else if (kind_of(request) == STRUCTURED)
		(void)write_json(first, out, room);
	for (unsigned i = 0; i < BATCH && kind_of(request) == BATCHED; i++) {
		out[n++] = i ? ',' : '[';
		n += write_json(first + i, out + n, room - n);
		(void)snprintf(out + n, room - n, "]");
	}
}

/* ---- senders ------------------------------------------------------------------------------------ */

static pthread_t senders[SENDERS];
static unsigned n_senders;
static atomic_uint next_request;
static atomic_bool ends, gives_up; /* no new requests; nothing at all any more */
static atomic_uint_fast64_t accepted, refused, unknown, marked_ms, first_ms;

static _Noreturn void die(const char *what, const struct harness_answer *a)
{
	fprintf(stderr, "fan: %s: %u %s %s\n", what, a->status, a->body, a->error);
	abort();
}

static struct harness_answer post(unsigned request, unsigned turn)
{
	static const char *const types[KINDS] = { "Content-Type: application/cloudevents+json",
		"Content-Type: text/plain", "Content-Type: application/cloudevents-batch+json" };
	const char *headers[8] = { types[kind_of(request)] };
	char body[BATCH * 256], id[32], callback[96];
	size_t n = 1;

	write_body(request, body, sizeof body);
	(void)snprintf(id, sizeof id, "ce-id: e%u", request * BATCH);
	(void)snprintf(callback, sizeof callback, "Pirn-Callback: http://localhost:%u/back",
		endpoint_port(app));
	if (kind_of(request) == BINARY) {
		headers[n++] = "ce-specversion: 1.0";
		headers[n++] = "ce-source: /fan";
		headers[n++] = "ce-type: fan.out";
		headers[n++] = id;
	}
	if (has_callback(request * BATCH))
		headers[n++] = callback;
	return harness_call(&(struct harness_call){ .base = s.f.urls[turn % s.f.n_gateways],
		.target = "/v1/events",
		.body = body,
		.headers = headers,
		.timeout_ms = ANSWER_MS });
}

static unsigned events_of(unsigned request)
{
	return kind_of(request) == BATCHED ? BATCH : 1;
}

static void note_accepted(unsigned request, const struct harness_answer *a, uint64_t sent_ms)
{
	static const char field[] = "\"id\":\"";
	const char *at = a->body;
	uint64_t marked = marked_ms;
	uint_fast64_t none = 0;
	char id[ID_TEXT + 1];

	for (unsigned i = 0; i < events_of(request); i++) {
		at = strstr(at, field);
		if (!at)
			die("a 202 with too few ids", a);
		at += strlen(field);
		(void)snprintf(id, sizeof id, "%s", at);
		record_accepted(record, request * BATCH + i, id);
	}
	if (strstr(at, field))
		die("a 202 with too many ids", a);
	atomic_fetch_add(&accepted, events_of(request));
	if (marked && sent_ms >= marked)
		atomic_compare_exchange_strong(&first_ms, &none, harness_now_ms());
}

static bool is_taken(unsigned request, unsigned turn)
{
	uint64_t sent_ms = harness_now_ms();
	struct harness_answer a;
	unsigned status;

	for (unsigned i = 0; i < events_of(request); i++)
		record_sent(record, request * BATCH + i, "http", true);
	a = post(request, turn);
	status = a.status;
	if (status == 202)
		note_accepted(request, &a, sent_ms);
	else if (status == 0 || strstr(a.body, "not known whether"))
		atomic_fetch_add(&unknown, events_of(request));
	else if (status == 429 || status == 503)
		atomic_fetch_add(&refused, events_of(request));
	else
		die("neither 202 nor to be sent again", &a);
	harness_answer_free(&a);
	return status == 202;
}

static void rest_until(uint64_t due)
{
	while (harness_now_ms() < due && !gives_up)
		usleep(5000);
}

static void *send_on(void *arg)
{
	uint64_t due = harness_now_ms();

	(void)arg;
	while (!ends) {
		const unsigned request = atomic_fetch_add(&next_request, 1);
		unsigned turn = request / KINDS;

		while (!gives_up && !is_taken(request, turn++))
			rest_until(harness_now_ms() + 50);
		due = due + 1000 < harness_now_ms() ? harness_now_ms() : due + EVERY_MS;
		rest_until(due);
	}
	return NULL;
}

static void stop_senders(void)
{
	ends = true;
	while (n_senders > 0)
		pthread_join(senders[--n_senders], NULL);
}

/* ---- faults ---------------------------------------------------------------------------------------- */

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void flow(void)
{
	uint64_t before = accepted;

	wait_until(SCENE_MS, accepted >= before + FEW);
}

static void fault(void)
{
	s.fault_at = harness_now_ms();
	first_ms = 0;
	marked_ms = s.fault_at;
}

static void recovered(void)
{
	wait_until(SCENE_MS, first_ms > 0);
	s.worst_first_ms = larger(s.worst_first_ms, first_ms - marked_ms + 1);
	flow();
}

static void kill_one(struct harness_process *victim)
{
	fault();
	harness_kill_hard(victim);
	flow();
	harness_again(victim);
	recovered();
}

static void kill_redis(void)
{
	fault();
	harness_redis_kill(s.f.redis);
	harness_redis_restart(s.f.redis);
	recovered();
}

static void kill_endpoint(void)
{
	fault();
	endpoint_kill(app);
	flow();
	endpoint_revive(app);
	recovered();
}

static void pause_one(struct harness_process *victim, unsigned ms)
{
	fault();
	harness_pause(victim);
	wait_until(SCENE_MS, harness_now_ms() >= s.fault_at + ms); /* the fault itself */
	harness_resume(victim);
	recovered();
}

static void pause_redis(void)
{
	fault();
	harness_redis_pause(s.f.redis);
	wait_until(SCENE_MS, harness_now_ms() >= s.fault_at + SHORT_MS);
	harness_redis_resume(s.f.redis);
	recovered();
}

/* One of two is killed, the other paused: for longer than it may be silent, or not. */
static void one_round(unsigned i)
{
	const unsigned this = i % 2, other = (i + 1) % 2;

	kill_one(s.f.brokers[this]);
	kill_one(s.f.workers[this]);
	kill_one(s.f.gateways[this]);
	kill_redis();
	kill_endpoint();
	pause_one(s.f.brokers[other], this ? SHORT_MS : PAUSE_MS);
	pause_one(s.f.workers[other], this ? PAUSE_MS : SHORT_MS);
	pause_one(s.f.gateways[other], SHORT_MS);
	pause_redis();
	s.rounds++;
}

/* ---- faults by chance ------------------------------------------------------------------------------- */

static struct base_rand chance;
static struct harness_process *paused;
static uint64_t paused_until;
static bool no_endpoint;

static void wake(bool now)
{
	if (!paused || (!now && harness_now_ms() < paused_until))
		return;
	harness_resume(paused);
	paused = NULL;
}

static void stop_some(struct harness_process *victim)
{
	if (paused || !harness_is_running(victim))
		return;
	harness_pause(victim);
	paused = victim;
	paused_until = harness_now_ms() + PAUSE_MS;
}

static void kill_some(struct harness_process *victim)
{
	if (victim == paused)
		paused = NULL;
	harness_kill_hard(victim);
}

static void break_something(void)
{
	const unsigned i = (unsigned)base_rand_below(&chance, 2);

	switch (base_rand_below(&chance, 8)) {
	case 0:
		return kill_some(s.f.gateways[i]);
	case 1:
		return kill_some(s.f.brokers[i]);
	case 2:
		return kill_some(s.f.workers[i]);
	case 3:
		return harness_redis_kill(s.f.redis);
	case 4:
		no_endpoint = true;
		return endpoint_kill(app);
	case 5:
		return stop_some(s.f.brokers[i]);
	case 6:
		return stop_some(s.f.workers[i]);
	default:
		kill_some(s.f.brokers[0]);
		kill_some(s.f.brokers[1]);
	}
}

/* What is dead starts again, as a supervisor would have it. */
static void mend(void)
{
	scene_supervise(&s);
	if (no_endpoint)
		endpoint_revive(app);
	no_endpoint = false;
}

static void chance_round(void)
{
	for (unsigned step = 0; step < STEPS; step++) {
		uint64_t before = accepted;
		uint64_t until = harness_now_ms() + base_rand_below(&chance, STEP_MS);

		break_something();
		wait_until(SCENE_MS, accepted >= before + FEW || harness_now_ms() >= until);
		wake(false);
		mend();
	}
	fault(); /* the recovery from the last of them */
	wake(true);
	recovered();
}

static uint64_t seed(void)
{
	const char *text = getenv("SEED");

	return text ? strtoull(text, NULL, 10) : harness_now_ms();
}

/* ---- what the endpoint was told -------------------------------------------------------------------- */

/* Of one event. */
struct told {
	unsigned hook, back[SERVICES];
};

struct owner {
	char id[ID_TEXT + 1];
	unsigned serial;
};

struct reckoning {
	const struct recorded *events;
	size_t n;
	struct told *told;    /* by serial */
	struct owner *owners; /* of ids, in order */
	size_t n_owners;
	char (*on)[ID_TEXT + 1]; /* what fan-d's callbacks were of */
	size_t n_on;
	size_t wrong;
};

static void value_of(const char *request, const char *name, char *out, size_t room)
{
	char line[64];
	const char *at;

	(void)snprintf(line, sizeof line, "\r\n%s: ", name);
	at = strstr(request, line);
	at = at ? at + strlen(line) : "";
	(void)snprintf(out, room, "%.*s", (int)strcspn(at, "\r"), at);
}

static void is_wrong(struct reckoning *r, const char *what, const char *request)
{
	if (r->wrong++ < SHOWN)
		print_error("%s:\n%s\n", what, request);
}

static bool is_of(const struct reckoning *r, unsigned serial)
{
	return serial < r->n && r->events[serial].fate == RECORD_ACCEPTED;
}

static void at_hook(struct reckoning *r, const char *request)
{
	char id[64], event[64], expected[96];
	unsigned serial = 0;

	value_of(request, "ce-id", id, sizeof id);
	value_of(request, "Pirn-Event-Id", event, sizeof event);
	if (sscanf(id, "e%u", &serial) != 1 || !is_of(r, serial) ||
		strcmp(event, r->events[serial].id) != 0)
		return is_wrong(r, "an event that nobody sent, or under another id", request);
	write_data(serial, expected, sizeof expected);
	if (strcmp(strstr(request, "\r\n\r\n") + 4, expected) != 0)
		return is_wrong(r, "other data", request);
	r->told[serial].hook++;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct owner *)a)->id, ((const struct owner *)b)->id);
}

static unsigned service_of(const char *name)
{
	unsigned i = 0;

	while (i < SERVICES && strcmp(names[i], name) != 0)
		i++;
	return i;
}

static bool has_ended(const char *request, bool dead)
{
	char type[64];

	value_of(request, "ce-type", type, sizeof type);
	return strcmp(type, dead ? "pirn.invocation.dead" : "pirn.invocation.done") == 0 &&
	       strstr(request, dead ? "\"state\":\"dead\",\"status\":400"
				    : "\"state\":\"done\",\"status\":2");
}

static void at_back(struct reckoning *r, const char *request)
{
	char source[64], service[64];
	struct owner key;
	const struct owner *of;
	unsigned i;

	value_of(request, "ce-source", source, sizeof source);
	value_of(request, "ce-subject", service, sizeof service);
	if (strncmp(source, SOURCE, strlen(SOURCE)) != 0)
		return is_wrong(r, "a callback of nothing", request);
	(void)snprintf(key.id, sizeof key.id, "%.26s", source + strlen(SOURCE));
	of = bsearch(&key, r->owners, r->n_owners, sizeof key, by_id);
	i = service_of(service);
	if (!of || !has_callback(of->serial) || i == D || i == SERVICES)
		return is_wrong(r, "a callback that nobody asked for", request);
	if (!has_ended(request, i == C && is_fated(of->serial)))
		return is_wrong(r, "not the outcome that it had", request);
	r->told[of->serial].back[i]++;
}

static void at_told(struct reckoning *r, const char *request)
{
	char source[64], service[64];

	value_of(request, "ce-source", source, sizeof source);
	value_of(request, "ce-subject", service, sizeof service);
	if (strcmp(service, names[D]) != 0 || strncmp(source, SOURCE, strlen(SOURCE)) != 0 ||
		!has_ended(request, false))
		return is_wrong(r, "not a callback of what was sent on", request);
	(void)snprintf(r->on[r->n_on++], sizeof r->on[0], "%.26s", source + strlen(SOURCE));
}

static void at_endpoint(void *arg, const char *request)
{
	struct reckoning *r = arg;

	if (strncmp(request, "POST /hook ", 11) == 0)
		at_hook(r, request);
	else if (strncmp(request, "POST /back ", 11) == 0)
		at_back(r, request);
	else if (strncmp(request, "POST /told ", 11) == 0)
		at_told(r, request);
	else
		is_wrong(r, "what is that", request);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static size_t distinct_on(struct reckoning *r)
{
	size_t n = 0;

	qsort(r->on, r->n_on, sizeof r->on[0], by_text);
	for (size_t i = 0; i < r->n_on; i++)
		n += i == 0 || strcmp(r->on[i], r->on[i - 1]) != 0;
	return n;
}

/* ---- the verdict -------------------------------------------------------------------------------------- */

static void count(struct verdict *v, unsigned serial, const char *where, unsigned is,
	unsigned least, unsigned most)
{
	bool wrong = is < least || is > most;

	v->lost += is < least;
	v->dup += is > most && most > 0;
	v->unexpected += is > most && most == 0;
	if (wrong && v->lost + v->dup + v->unexpected <= SHOWN)
		print_error("e%u at %s: %u, not %u\n", serial, where, is, least);
}

static void judge_one(
	struct reckoning *r, struct verdict *v, const struct effects *effects, unsigned serial)
{
	const unsigned once = is_of(r, serial), on = once && !is_fated(serial);
	const unsigned back = once && has_callback(serial);
	const struct told *told = serial < r->n ? &r->told[serial] : &(struct told){ 0 };

	v->accepted += once;
	for (unsigned i = A; i <= D; i++)
		count(v, serial, names[i], effects_of(&effects[i], serial), i == D ? on : once,
			i == D ? on : once);
	count(v, serial, names[HOOK], told->hook, once, UINT32_MAX);
	for (unsigned i = A; i < SERVICES; i++)
		if (i != D)
			count(v, serial, "its callback", told->back[i], back, UINT32_MAX);
	v->dead += once && is_fated(serial);
}

static void count_runs(struct verdict *v, uint64_t expected)
{
	size_t n;
	struct run *runs = effects_runs(s.runs, &n);
	uint64_t begun = 0, planned = 0;

	for (size_t i = 0; i < n; i++) {
		begun += runs[i].what == '+';
		planned += runs[i].what == '-' && runs[i].err == ERR_FAILED;
	}
	v->redelivered = begun > planned + expected ? begun - planned - expected : 0;
	free(runs);
}

static void begin_reckoning(struct reckoning *r, struct recorded *events, size_t n)
{
	*r = (struct reckoning){ .events = events, .n = n };
	r->told = calloc(n, sizeof *r->told);
	r->owners = calloc(n, sizeof *r->owners);
	r->on = calloc(endpoint_seen(app, "POST /told "), sizeof *r->on);
	assert_true(r->told && r->owners && r->on);
	for (unsigned i = 0; i < n; i++) {
		if (events[i].fate != RECORD_ACCEPTED)
			continue;
		r->owners[r->n_owners].serial = i;
		strcpy(r->owners[r->n_owners++].id, events[i].id);
	}
	qsort(r->owners, r->n_owners, sizeof *r->owners, by_id);
	endpoint_each(app, at_endpoint, r);
}

static void judge(void)
{
	struct verdict *v = &s.verdict;
	struct effects effects[D + 1];
	struct reckoning r;
	size_t n, most;
	struct recorded *events = record_read(s.record, &n);
	size_t on;

	begin_reckoning(&r, events, n);
	most = n;
	for (unsigned i = A; i <= D; i++) {
		effects_read_of(s.f.redis, names[i], &effects[i]);
		most = effects[i].n > most ? effects[i].n : most;
	}
	for (unsigned i = 0; i < most; i++)
		judge_one(&r, v, effects, i);
	on = distinct_on(&r);
	count_runs(v, 3 * v->accepted + effects[D].distinct);
	v->refused = refused;
	v->unknown = unknown;
	scene_tell(&s);
	print_message("%zu sent on, %zu callbacks of them; %zu times wrong\n",
		(size_t)effects[D].distinct, on, r.wrong);
	assert_int_equal(v->accepted, accepted);
	assert_true(v->dead > 0);
	assert_int_equal(v->lost, 0);
	assert_int_equal(v->dup, 0);
	assert_int_equal(v->unexpected, 0);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(on, effects[D].distinct);
	for (unsigned i = A; i < SERVICES; i++)
		assert_int_equal(effects_dead_of(s.f.redis, names[i]), i == C ? v->dead : 0);
	assert_int_equal(effects_dead_of(s.f.redis, "pirn-callback"), 0);
	for (unsigned i = A; i <= D; i++) {
		assert_int_equal(effects[i].total, effects[i].sum);
		effects_free(&effects[i]);
	}
	free(r.told);
	free(r.owners);
	free(r.on);
	free(events);
}

/* ---- the test --------------------------------------------------------------------------------------------- */

static void begin(void)
{
	static char allow[64];
	static const char *const flags[] = { "--http-allow", allow, NULL };

	app = endpoint_start();
	(void)snprintf(allow, sizeof allow, "localhost:%u", endpoint_port(app));
	lay_services();
	harness_new_dir("fan", s.dir, sizeof s.dir);
	(void)snprintf(s.record, sizeof s.record, "%s/record", s.dir);
	(void)snprintf(s.runs, sizeof s.runs, "%s/runs", s.dir);
	setenv("EFFECT_RUNS", s.runs, 1);
	s.f.n_brokers = s.f.n_workers = s.f.n_gateways = 2;
	s.f.worker_flags = flags;
	fabric_start(&s.f);
	for (unsigned i = A; i < SERVICES; i++)
		wait_until(SCENE_MS, fabric_workers_of(&s.f, names[i]) == 2);
	record = record_open(s.record);
	while (n_senders < SENDERS)
		assert_int_equal(pthread_create(&senders[n_senders++], NULL, send_on, NULL), 0);
	flow();
}

static void test_none_is_lost(void **state)
{
	const uint64_t number = seed();

	(void)state;
	print_message("SEED=%llu\n", (unsigned long long)number);
	base_rand_init(&chance, number);
	begin();
	for (unsigned i = 0; i < scene_rounds(); i++) {
		one_round(i);
		chance_round();
	}
	stop_senders();
	wait_until(SCENE_MS, effects_backlog(s.f.redis) == 0);
	s.worst_drained_ms = harness_now_ms() - s.fault_at;
	judge();
	assert_true(s.verdict.redelivered > 0);
}

static int tear_down(void **state)
{
	(void)state;
	gives_up = true;
	stop_senders();
	record_close(&record);
	fabric_stop(&s.f);
	endpoint_stop(&app);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_none_is_lost, tear_down),
	};

	return harness_main("fan", tests);
}
