/* Events out of another Redis, on real processes: each entry of a stream once, whatever
 * becomes of gateways and of that Redis; changes of keys, heard by one gateway at a time;
 * and what is wrong is told, harms nobody else, and heals.
 *
 * The service `gleaner` writes down in Pirn's Redis what it got: it is read from there.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"

#define GATEWAYS    3
#define MOST        8192
#define MANY        2000u

static struct harness_redis *shop; /* the other one */
static char url_shop[PATH_MAX], url_limited[PATH_MAX], url_own[PATH_MAX], url_password[PATH_MAX],
	url_file[PATH_MAX];
static const char *const environment[] = { url_shop, url_limited, url_own, url_password, url_file,
	NULL };
static const char *const flags[] = { "--source-claim", "1s", "--max-body", "64k", NULL };
static const char *const shop_options[] = { "--notify-keyspace-events", "Kg$x", NULL };

static struct fabric f = { .n_brokers = 2,
	.n_gateways = GATEWAYS,
	.gateway_flags = flags,
	.gateway_environment = environment };

/* ---- what is gleaned ------------------------------------------------------------------- */

static const char first_manifest[] =
	"  - redis: { name: main, url: $SHOP, stream: main, group: gleaners }\n"
	"  - redis: { name: keys, url: \"${SHOP}\", keys: \"user:*\", ops: [set, del, expired] }\n";

static void glean(const char *events)
{
	char path[PATH_MAX + 64], next[PATH_MAX + 80];
	FILE *file;

	snprintf(path, sizeof path, "%.4000s/gleaner/service.yaml", f.services);
	snprintf(next, sizeof next, "%s.next", path);
	file = fopen(next, "w");
	assert_non_null(file);
	assert_true(fprintf(file,
			    "service: gleaner\nhandler: gleaner.so\nevents:\n%s"
			    "timeout: 10s\nconcurrency: 64\n"
			    "breaker: { slow: 100%%, consecutive: 1000000, calls: 1000000 }\n",
			    events) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(next, path), 0);
}

/* hello, orders, and gleaner with what it gleans. */
static void lay_services(void)
{
	static char dir[PATH_MAX];
	char all[PATH_MAX], command[8 * PATH_MAX];

	fabric_link_services(all, sizeof all);
	harness_new_dir("gleaned", dir, sizeof dir);
	snprintf(command, sizeof command,
		"mkdir '%s/gleaner' && cp -rL '%s/hello' '%s/orders' '%s/' && cp '%s/gleaner/gleaner.so' '%s/gleaner/'",
		dir, all, all, dir, all, dir);
	assert_int_equal(system(command), 0);
	f.services = dir;
	glean(first_manifest);
}

static int start(void **state)
{
	char path[PATH_MAX];
	FILE *file;

	(void)state;
	shop = harness_redis_start(true, shop_options);
	lay_services();
	snprintf(url_shop, sizeof url_shop, "PIRN_SOURCE_SHOP=%s", harness_redis_url(shop));
	snprintf(url_limited, sizeof url_limited, "PIRN_SOURCE_LIMITED=redis://limited:secret@%s",
		harness_redis_tcp(shop) + strlen("redis://"));
	snprintf(url_password, sizeof url_password, "PIRN_SOURCE_WRONG=redis://limited:no-secret@%s",
		harness_redis_tcp(shop) + strlen("redis://"));
	harness_new_dir("secret", path, sizeof path);
	strcat(path, "/url");
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fprintf(file, "%s/1\n", harness_redis_tcp(shop)) > 0);
	assert_int_equal(fclose(file), 0);
	snprintf(url_file, sizeof url_file, "PIRN_SOURCE_SHOP_REDIS_FILE=%.4000s", path);
	f.reroute = NULL;
	strcpy(url_own, "PIRN_SOURCE_OWN=");
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "gleaner") == 1);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fabric_stop(&f);
	harness_redis_stop(&shop);
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------- */

/* How often each field was counted, added up; each may be at most once when `once`. */
static unsigned count_of(const char *hash, bool once)
{
	char *text = harness_redis_command(f.redis, "HGETALL pirn:{0}:state:gleaner:%s", hash);
	char *save = NULL;
	unsigned n = 0;

	for (char *field = strtok_r(text, "\n", &save); field; field = strtok_r(NULL, "\n", &save)) {
		const char *count = strtok_r(NULL, "\n", &save);

		assert_non_null(count);
		if (once && strcmp(count, "1") != 0)
			print_error("%s: %s times\n", field, count);
		assert_true(!once || strcmp(count, "1") == 0);
		n += (unsigned)strtoul(count, NULL, 10);
	}
	free(text);
	return n;
}

static unsigned entries(void)
{
	return count_of("entries", true);
}

static bool has_key(const char *key, const char *op)
{
	return harness_redis_says(f.redis, "1", "HGET pirn:{0}:state:gleaner:keys %s|%s", key, op);
}

static bool knows_key(const char *key, const char *op)
{
	char *text =
		harness_redis_command(f.redis, "HEXISTS pirn:{0}:state:gleaner:keys %s|%s", key, op);
	bool knows = strcmp(text, "1") == 0;

	free(text);
	return knows;
}

/* Lines with this id about this source, in all gateways. */
static unsigned told(const char *id, const char *source)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GATEWAYS; i++)
		n += harness_log_count(f.gateways[i], id, "source", source);
	return n;
}

/* By the last line that says so in its present life: it has one log for all of them. */
static bool is_listening(unsigned i, const char *source)
{
	char *log, *save = NULL, wanted[128];
	bool listens = false;

	if (!f.gateways[i] || !harness_is_running(f.gateways[i]))
		return false;
	log = harness_output(f.gateways[i]);
	snprintf(wanted, sizeof wanted, "\"%s\"", source);
	for (char *line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strstr(line, "\"gateway_ready\""))
			listens = false;
		else if (strstr(line, "listening\"") && strstr(line, wanted))
			listens = strstr(line, "\"source_listening\"") != NULL;
	}
	free(log);
	return listens;
}

static bool nothing_pending(const char *stream)
{
	char *text = harness_redis_command(shop, "XPENDING %s gleaners", stream);
	bool nothing = strncmp(text, "0", 1) == 0;

	free(text);
	return nothing;
}

static char *add(const char *stream, unsigned n)
{
	return harness_redis_command(shop, "XADD %s * n %u", stream, n);
}

/* ---- streams ------------------------------------------------------------------------------- */

static void test_an_entry_with_all_its_fields(void **state)
{
	char *id, *body;

	(void)state;
	id = harness_redis_command(
		shop, "XADD main * state paid amount 012 note \xC3\xA9\"\\ bin a\xFF\x01z note two");
	wait_until(PATIENCE_MS, entries() == 1);
	assert_true(harness_redis_says(f.redis, "1", "HGET pirn:{0}:state:gleaner:entries %s", id));
	/* Its name has a blank in it, which the harness would split. */
	body = harness_redis_command(f.redis,
		"EVAL return(redis.call('GET','pirn:{0}:state:gleaner:body\\32'..ARGV[1])) 0 %s", id);
	assert_string_equal(body,
		"{\"state\":\"paid\",\"amount\":\"012\",\"note\":[\"\xC3\xA9\\\"\\\\\",\"two\"],"
		"\"bin\":{\"base64\":\"Yf8Beg==\"}}");
	free(body);
	free(id);
	/* It is not remembered for as long as others' keys. */
	assert_true(harness_redis_says(f.redis, "1",
		"EVAL return(redis.call('PTTL',redis.call('KEYS','pirn:{0}:known:*')[1])<=810000)and(1)or(0) 0"));
	wait_until(PATIENCE_MS, nothing_pending("main"));
	assert_true(told("source_up", "gleaner/main") >= GATEWAYS);
	assert_int_equal(told("source_fault", "gleaner/main"), 0);
}

static void hurt(unsigned round)
{
	struct harness_process *one = f.gateways[round % GATEWAYS];
	unsigned faults = told("source_fault", "gleaner/main");

	switch (round % 5) {
	case 0:
		harness_kill_hard(one);
		harness_again(one);
		break;
	case 1:
		harness_redis_kill(shop);
		wait_until(PATIENCE_MS, told("source_fault", "gleaner/main") > faults);
		harness_redis_restart(shop);
		break;
	case 2:
		harness_pause(one);
		break;
	case 3: /* as it comes: nobody need have noticed */
		harness_redis_kill(shop);
		harness_redis_restart(shop);
		break;
	case 4:
		for (unsigned i = 0; i < GATEWAYS; i++)
			harness_kill_hard(f.gateways[i]);
		for (unsigned i = 0; i < GATEWAYS; i++)
			harness_again(f.gateways[i]);
		break;
	}
}

static void heal(unsigned round)
{
	if (round % 5 == 2)
		harness_resume(f.gateways[round % GATEWAYS]);
}

/* LOST = 0, DUP = 0: each id that XADD told is counted, and none twice. */
static void test_each_entry_once(void **state)
{
	static char ids[MANY][48];
	unsigned before = entries();

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		char *id = add("main", i);

		snprintf(ids[i], sizeof ids[i], "%s", id);
		free(id);
		if (i % 100 == 50)
			hurt(i / 100);
		if (i % 100 == 99)
			heal(i / 100);
	}
	wait_until(2 * PATIENCE_MS, entries() == before + MANY && nothing_pending("main"));
	for (unsigned i = 0; i < MANY; i++)
		assert_true(harness_redis_says(
			f.redis, "1", "HGET pirn:{0}:state:gleaner:entries %s", ids[i]));
	assert_int_equal(entries(), before + MANY);
}

/* Redis hands entries to readers that are stopped: their connections stand. */
static void test_who_hangs_is_relieved(void **state)
{
	unsigned before = entries(), taken = told("source_taken_over", "gleaner/main");

	(void)state;
	harness_pause(f.gateways[1]);
	harness_pause(f.gateways[2]);
	for (unsigned i = 0; i < 30; i++)
		free(add("main", i));
	wait_until(PATIENCE_MS, entries() == before + 30);
	wait_until(PATIENCE_MS, nothing_pending("main"));
	assert_true(told("source_taken_over", "gleaner/main") > taken);
	assert_true(harness_metric(f.admin, "pirn_gateway_source_taken_over_total",
			    "source=\"main\"") > 0);
	harness_resume(f.gateways[1]);
	harness_resume(f.gateways[2]);
	free(add("main", 30));
	wait_until(PATIENCE_MS, entries() == before + 31 && nothing_pending("main"));
}

/* It settles what it has, and leaves the rest to the others. */
static void test_one_leaves(void **state)
{
	unsigned before = entries();
	char cut[16] = "";

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		free(add("main", i));
		if (i == 100)
			harness_signal(f.gateways[2], SIGTERM);
	}
	assert_int_equal(harness_wait(f.gateways[2], PATIENCE_MS), 0);
	assert_true(harness_log_field(f.gateways[2], "gateway_drained", "cut", cut, sizeof cut));
	assert_string_equal(cut, "0");
	wait_until(PATIENCE_MS, entries() == before + 200 && nothing_pending("main"));
	harness_again(f.gateways[2]);
}

/* While nothing can be accepted, nothing is acknowledged; and not more is read than is held. */
static void test_brokers_refuse(void **state)
{
	unsigned before = entries();
	char *pending;

	(void)state;
	harness_redis_pause(f.redis);
	for (unsigned i = 0; i < 1500; i++)
		free(add("main", i));
	wait_until(PATIENCE_MS, !nothing_pending("main"));
	pending = harness_redis_command(shop, "XPENDING main gleaners");
	assert_true(strtoul(pending, NULL, 10) <= GATEWAYS * 256);
	free(pending);
	harness_redis_resume(f.redis);
	wait_until(PATIENCE_MS, entries() == before + 1500 && nothing_pending("main"));
}

/* What is too large for an event, and what is too large to be read, is told, and holds nobody up. */
static void test_what_cannot_be_an_event(void **state)
{
	unsigned before = entries(), refused = told("source_event_refused", "gleaner/main");
	static const char fill[] =
		"EVAL return(redis.call('XADD','main','*','b',string.rep('x',ARGV[1]))) 0 %u";
	char *id;

	(void)state;
	id = harness_redis_command(shop, fill, 100u * 1024);
	free(add("main", 1));
	wait_until(PATIENCE_MS, entries() == before + 1 && nothing_pending("main"));
	assert_int_equal(told("source_event_refused", "gleaner/main"), refused + 1);
	free(id);
	id = harness_redis_command(shop, fill, 9u * 1024 * 1024);
	free(add("main", 2));
	wait_until(PATIENCE_MS, entries() == before + 2 && nothing_pending("main"));
	assert_int_equal(told("source_event_refused", "gleaner/main"), refused + 2);
	/* It is where it was. */
	assert_true(harness_redis_says(shop, "1", "EVAL return(#redis.call('XRANGE','main',ARGV[1],ARGV[1])) 0 %s", id));
	free(id);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static unsigned holder(void)
{
	unsigned n = 0, who = GATEWAYS;

	for (unsigned i = 0; i < GATEWAYS; i++)
		if (is_listening(i, "gleaner/keys")) {
			who = i;
			n++;
		}
	return n == 1 ? who : GATEWAYS;
}

/* Sets keys until one is heard; then all that come are. */
static void set_until_heard(const char *name)
{
	char key[64];
	bool heard = false;

	for (unsigned i = 0; !heard; i++) {
		uint64_t end = harness_wait_end(500);

		assert_true(i < PATIENCE_MS / 500);
		snprintf(key, sizeof key, "user:%s-%u", name, i);
		free(harness_redis_command(shop, "SET %s x", key));
		while (!(heard = knows_key(key, "set")) && harness_now_ms() < end)
			;
	}
	count_of("keys", true);
}

static void test_changes_of_keys(void **state)
{
	(void)state;
	wait_until(PATIENCE_MS, holder() < GATEWAYS);
	set_until_heard("first");
	free(harness_redis_command(shop, "SET other:1 x"));
	free(harness_redis_command(shop, "SET user:a x"));
	free(harness_redis_command(shop, "APPEND user:a y")); /* not in ops */
	free(harness_redis_command(shop, "DEL user:a"));
	free(harness_redis_command(shop, "SET user:b x PX 1"));
	wait_until(PATIENCE_MS, knows_key("user:b", "expired"));
	assert_true(has_key("user:a", "set") && has_key("user:a", "del") && has_key("user:b", "set"));
	assert_false(knows_key("user:a", "append"));
	assert_false(knows_key("other:1", "set"));
	count_of("keys", true);
}

static void test_the_listener_is_killed(void **state)
{
	unsigned was;

	(void)state;
	glean(first_manifest);
	wait_until(PATIENCE_MS, holder() < GATEWAYS);
	was = holder();
	harness_kill_hard(f.gateways[was]);
	wait_until(PATIENCE_MS, holder() < GATEWAYS && holder() != was);
	free(harness_redis_command(shop, "SET user:after-kill x"));
	wait_until(PATIENCE_MS, knows_key("user:after-kill", "set"));
	harness_free(&f.gateways[was]);
	count_of("keys", true);
}

/* The one that wakes up has heard what its successor heard, and says nothing of it. */
static void test_the_listener_is_paused(void **state)
{
	unsigned was = GATEWAYS, next = GATEWAYS, listening;

	(void)state;
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (is_listening(i, "gleaner/keys"))
			was = i;
	assert_true(was < GATEWAYS);
	for (unsigned i = 0; i < GATEWAYS; i++)
		if (f.gateways[i] && i != was)
			next = i;
	listening = harness_log_count(f.gateways[next], "source_listening", "source", "gleaner/keys");
	harness_pause(f.gateways[was]);
	wait_until(PATIENCE_MS, harness_log_count(f.gateways[next], "source_listening", "source",
					"gleaner/keys") > listening);
	for (unsigned i = 0; i < 50; i++)
		free(harness_redis_command(shop, "SET user:paused-%u x", i));
	wait_until(PATIENCE_MS, knows_key("user:paused-49", "set"));
	harness_resume(f.gateways[was]);
	wait_until(PATIENCE_MS, !is_listening(was, "gleaner/keys"));
	free(harness_redis_command(shop, "SET user:resumed x"));
	wait_until(PATIENCE_MS, knows_key("user:resumed", "set"));
	for (unsigned i = 0; i < 50; i++) {
		char key[32];

		snprintf(key, sizeof key, "user:paused-%u", i);
		assert_true(has_key(key, "set"));
	}
	count_of("keys", true);
}

/* ---- manifests that change, and mistakes -------------------------------------------------------- */

/* Gateway 0 is the one whose word counts: a line with this id, of this source, in which part stands. */
static bool is_told(const char *id, const char *source, const char *part)
{
	char *log = harness_output(f.gateways[0]), *save = NULL, head[64], of[128];
	bool told = false;

	snprintf(head, sizeof head, "\"id\":\"%s\"", id);
	snprintf(of, sizeof of, "\"source\":\"%s\"", source);
	for (char *line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		told |= strstr(line, head) && strstr(line, of) && strstr(line, part);
	free(log);
	return told;
}

static void test_what_is_wrong_is_told_and_heals(void **state)
{
	unsigned before = entries();

	(void)state;
	free(harness_redis_command(shop, "SET text x"));
	glean("  - redis: { name: wrong-type, url: $SHOP, stream: text, group: gleaners }\n");
	wait_until(PATIENCE_MS, is_told("source_fault", "gleaner/wrong-type", "WRONGTYPE"));
	assert_true(is_told("source_fault", "gleaner/wrong-type", "stream"));
	free(harness_redis_command(shop, "DEL text"));
	free(add("text", 1));
	wait_until(PATIENCE_MS, entries() == before + 1);

	free(harness_redis_command(
		shop, "ACL SETUSER limited on >secret ~forbidden:* +@all -xreadgroup"));
	glean("  - redis: { name: forbidden, url: $LIMITED, stream: forbidden:s, group: gleaners }\n");
	wait_until(PATIENCE_MS, is_told("source_fault", "gleaner/forbidden", "NOPERM"));
	assert_true(is_told("source_fault", "gleaner/forbidden", "doc/sources.md"));
	free(add("forbidden:s", 1));
	free(harness_redis_command(shop, "ACL SETUSER limited +xreadgroup"));
	wait_until(PATIENCE_MS, entries() == before + 2);

	glean("  - redis: { name: nowhere, url: \"redis://127.0.0.1:1\", stream: s }\n"
	      "  - redis: { name: unknown, url: $NOBODY, stream: s }\n"
	      "  - redis: { name: password, url: $WRONG, stream: s }\n"
	      "  - redis: { name: deaf, url: $SHOP, keys: \"*\", ops: [set, hset, evicted] }\n"
	      "  - redis: { name: main, url: $SHOP, stream: main, group: gleaners }\n");
	wait_until(PATIENCE_MS, is_told("source_fault", "gleaner/nowhere", "127.0.0.1:1"));
	wait_until(PATIENCE_MS, is_told("source_not_here", "gleaner/unknown", "$NOBODY"));
	wait_until(PATIENCE_MS, is_told("source_fault", "gleaner/password", "password"));
	wait_until(PATIENCE_MS, is_told("source_notifications_off", "gleaner/deaf", "he"));
	/* The others go on meanwhile. */
	free(add("main", 1));
	wait_until(PATIENCE_MS, entries() == before + 3);
	assert_true(harness_metric(f.admin, "pirn_gateway_source_up", "source=\"nowhere\"") == 0);
	assert_true(harness_metric(f.admin, "pirn_gateway_source_up", "source=\"main\"") == 1);
	assert_true(
		harness_metric(f.admin, "pirn_gateway_source_faults_total", "source=\"nowhere\"") >= 1);
	for (unsigned i = 0; i < GATEWAYS; i++)
		assert_false(f.gateways[i] && harness_wrote(f.gateways[i], "no-secret"));
}

/* ---- what is shown --------------------------------------------------------------------------- */

/* The sources of gleaner at the first gateway, as "name state listening accepted". */
static bool shows(const char *expected)
{
	struct harness_answer a = harness_get(f.admin, "/v1/sources");
	json_t *root = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL), *source;
	char line[256], all[1024] = "";
	size_t i;

	assert_int_equal(a.status, 200);
	json_array_foreach(json_object_get(root, "sources"), i, source)
	{
		if (strcmp(json_string_value(json_object_get(source, "service")), "gleaner") != 0)
			continue;
		(void)snprintf(line, sizeof line, "%s: %s%s;",
			json_string_value(json_object_get(source, "name")),
			json_string_value(json_object_get(source, "state")),
			json_is_string(json_object_get(source, "fault")) ? " with a fault" : "");
		strncat(all, line, sizeof all - strlen(all) - 1);
	}
	json_decref(root);
	harness_answer_free(&a);
	return strcmp(all, expected) == 0;
}

static void test_they_are_shown(void **state)
{
	const char *argv[] = { "pirn", "sources", "--admin", f.admin, NULL };
	struct harness_process *p;
	char *text;

	(void)state;
	glean("  - redis: { name: nowhere, url: \"redis://127.0.0.1:1\", stream: s }\n"
	      "  - redis: { name: unknown, url: $NOBODY, stream: s }\n"
	      "  - redis: { name: main, url: $SHOP, stream: main, group: gleaners }\n"
	      "  - redis: { name: keys, url: $SHOP, keys: \"user:*\", ops: [set] }\n");
	wait_until(PATIENCE_MS,
		shows("keys: up;main: up;nowhere: down with a fault;unknown: not_here;"));
	assert_int_equal(harness_run("sources", NULL, argv, NULL, &p), 0);
	text = harness_output(p);
	assert_non_null(strstr(text, "stream main"));
	assert_non_null(strstr(text, "keys user:*"));
	assert_non_null(strstr(text, "down: "));
	assert_non_null(strstr(text, "not_here"));
	assert_null(strstr(text, "secret")); /* URLs are shown as the manifest has them */
	free(text);
	harness_free(&p);
}

static void test_its_own_redis_is_refused(void **state)
{
	char events[PATH_MAX + 256];

	(void)state;
	snprintf(events, sizeof events,
		"  - redis: { name: own, url: \"%.2000s\", stream: s }\n"
		"  - redis: { name: own-keys, url: \"%.2000s\", keys: \"*\", ops: [set] }\n",
		f.redis_url, f.redis_url);
	glean(events);
	wait_until(PATIENCE_MS, is_told("source_fault", "gleaner/own-keys", "own Redis") &&
					is_told("source_fault", "gleaner/own", "own Redis"));
	assert_true(harness_redis_says(f.redis, "0", "EXISTS s"));
}

/* services/orders, as its manifest is. */
static bool orders_say(const char *expected)
{
	struct harness_answer a = harness_get(f.http, "/orders");
	bool same = strcmp(a.body, expected) == 0;

	harness_answer_free(&a);
	return same;
}

static void test_the_example(void **state)
{
	static const char all[] = "{\"carts\":{\"set\":1},\"orders\":{\"open\":1,\"paid\":2}}";
	bool heard = false;

	(void)state;
	for (unsigned i = 0; i < 3; i++) /* a name has its database in its URL, the harness speaks to 0 */
		free(harness_redis_command(shop,
			"EVAL redis.call('SELECT',1)return(redis.call('XADD','orders','*','state',ARGV[1])) 0 %s",
			i < 2 ? "paid" : "open"));
	wait_until(PATIENCE_MS, orders_say("{\"carts\":{},\"orders\":{\"open\":1,\"paid\":2}}"));
	wait_until(PATIENCE_MS, told("source_listening", "orders/redis-2") > 0);
	free(harness_redis_command(
		shop, "EVAL redis.call('SELECT',1)return(redis.call('SET','cart:7','x')) 0"));
	wait_until(PATIENCE_MS, (heard = orders_say(all)));
	assert_true(heard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_entry_with_all_its_fields),
		cmocka_unit_test(test_the_example),
		cmocka_unit_test(test_each_entry_once),
		cmocka_unit_test(test_who_hangs_is_relieved),
		cmocka_unit_test(test_one_leaves),
		cmocka_unit_test(test_brokers_refuse),
		cmocka_unit_test(test_what_cannot_be_an_event),
		cmocka_unit_test(test_changes_of_keys),
		cmocka_unit_test(test_what_is_wrong_is_told_and_heals),
		cmocka_unit_test(test_they_are_shown),
		cmocka_unit_test(test_its_own_redis_is_refused),
		cmocka_unit_test(test_the_listener_is_killed),
		cmocka_unit_test(test_the_listener_is_paused),
	};

	return harness_finish(cmocka_run_group_tests_name("sources", tests, start, stop));
}
