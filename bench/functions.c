/* What the Functions of the delivery protocol cost: entries a second that one
 * connection appends, fenced, lane bits and all, into a redis-server of its own
 * (append-only file, fsync always); the same with each entry settled; and the memory of
 * events that wait.
 *
 *   functions [--seconds 2] [--inflight 32] [--events 100000] [--cost BATCH]
 *
 * Prints key=value lines. Events are of 200 bytes, for one service: an entry of 250 B holds one, of
 * 4 KB 16, of 32 KB 128. With --cost it says instead what Redis's processor time is for an event
 * that is stored and settled in entries of BATCH: alone, when its result is kept, and when it has a
 * key of its own besides, as a CloudEvent has.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/functions_lua.h"
#include "store/journal.h"

#define MAX_BATCH STORE_ENTRY_DELIVERIES
#define PAYLOAD   200
#define KEY       32
#define HASH      16

static struct net_loop *loop;
static struct store_redis *redis;
static char directory[] = "/tmp/pirn-bench-XXXXXX";
static pid_t server;

static const struct store_bounds bounds = { UINT64_C(1) << 32, 86400000, 64 << 20, 3600000 };

static struct run {
	uint32_t epoch, journal;
	uint64_t turn, number, open, entries;
	size_t batch;
	bool settles, results, keys;
	struct base_buf head, body;
	uint8_t ids[MAX_BATCH][16], key[MAX_BATCH][KEY];
} run;

static void die(const char *what)
{
	fprintf(stderr, "functions: %s\n", what);
	exit(1);
}

static void clean_up(void)
{
	char command[64];
	if (server) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command) != 0)
		fprintf(stderr, "functions: %s is left behind\n", directory);
}

static void start_server(char *url, size_t room)
{
	char socket[64];
	if (!mkdtemp(directory))
		die("no directory");
	atexit(clean_up);
	snprintf(socket, sizeof socket, "%s/s", directory);
	snprintf(url, room, "unix://%s", socket);
	server = fork();
	if (server < 0)
		die("cannot fork");
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket,
			"--dir", directory, "--appendonly", "yes", "--appendfsync", "always",
			"--save", "", "--loglevel", "warning", "--logfile", "log", (char *)NULL);
		_exit(127);
	}
}

static void on_up(void *arg)
{
	*(bool *)arg = true;
}

static void on_opened(void *arg, const struct store_opened *reply)
{
	(void)arg;
	if (reply->says.code)
		die(reply->says.why);
	run.epoch = reply->epoch;
	run.journal = reply->journal;
}

static void turn_loop(void)
{
	uv_run(net_loop_uv(loop), UV_RUN_ONCE);
}

/* ---- one entry after another */

static void make_entry(void)
{
	static Pirn__JournalEvent events[MAX_BATCH], *list[MAX_BATCH];
	static Pirn__JournalDelivery delivery, *deliveries[1] = { &delivery };
	static uint8_t lane[8], payload[PAYLOAD];
	Pirn__JournalEntry head = PIRN__JOURNAL_ENTRY__INIT;
	pirn__journal_delivery__init(&delivery);
	delivery.service = (char *)"echo";
	delivery.has_not_after_ms = true;
	delivery.not_after_ms = UINT64_C(1790000000000);
	base_buf_reset(&run.head);
	base_buf_reset(&run.body);
	for (size_t i = 0; i < run.batch; i++) {
		Pirn__JournalEvent *e = list[i] = &events[i];
		pirn__journal_event__init(e);
		memcpy(run.ids[i], &(uint64_t[2]){ run.turn, i }, 16);
		e->has_id = e->has_lane = e->has_number = e->has_data_size = true;
		e->id = (ProtobufCBinaryData){ 16, run.ids[i] };
		e->lane = (ProtobufCBinaryData){ 8, lane };
		e->number = run.number + i;
		e->data_size = PAYLOAD;
		e->deliveries = deliveries;
		e->n_deliveries = 1;
		base_buf_add(&run.body, payload, sizeof payload);
	}
	head.events = list;
	head.n_events = run.batch;
	size_t n;
	if (store_entry_check(&head, run.body.size, &n) || store_entry_pack(&head, &run.head))
		die("no entry");
}

static void on_settled(void *arg, const struct store_settled *reply)
{
	(void)arg;
	if (reply->says.code)
		die(reply->says.why);
	run.open--;
	run.entries++;
}

static void settle(uint64_t turn)
{
	static struct store_end ends[MAX_BATCH];
	static const char result[PAYLOAD];
	for (size_t i = 0; i < run.batch; i++) {
		memcpy(run.ids[i], &(uint64_t[2]){ turn, i }, 16);
		ends[i] = (struct store_end){ .bit = (uint32_t)i, .how = STORE_ENDED,
			.no_records = true, .alone = true, .id = run.ids[i], .service = "echo" };
		if (run.results)
			ends[i].result = (struct store_arg){ result, sizeof result };
	}
	const struct store_ends entry = { run.journal, run.epoch, turn, (uint32_t)run.batch, ends,
		run.batch };
	const struct store_turn t = { .epoch = run.epoch, .journal = run.journal };
	if (store_journal_settle(redis, &t, false, &entry, 1, &bounds, on_settled, NULL))
		die("cannot settle");
}

static void on_stored(void *arg, const struct store_stored *reply)
{
	if (reply->says.code || !reply->entry || reply->n)
		die(reply->says.code ? reply->says.why : "a duplicate");
	if (run.settles) {
		settle((uint64_t)(uintptr_t)arg);
		return;
	}
	run.open--;
	run.entries++;
}

/* A hash, as a CloudEvent's source and id are one: its bytes are not near those of the one before. */
static void add_key(struct store_item *item, size_t i)
{
	static const uint8_t hash[HASH];
	uint64_t word = (run.number + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	for (size_t at = 0; at < KEY; at += sizeof word, word *= UINT64_C(0x9e3779b97f4a7c15))
		memcpy(&run.key[i][at], &word, sizeof word);
	item->guard = STORE_GUARD_KEY;
	item->scope = "*";
	item->ttl_ms = 600000;
	item->key = (struct store_arg){ run.key[i], KEY };
	item->hash = (struct store_arg){ hash, sizeof hash };
	item->id = (struct store_arg){ run.ids[i], 16 };
}

static void append(void)
{
	static struct store_item items[MAX_BATCH];
	run.turn++;
	make_entry();
	for (size_t i = 0; i < run.batch; i++) {
		items[i] = (struct store_item){
			.n_deliveries = 1, .has_lane = true, .number = run.number + i };
		if (run.keys)
			add_key(&items[i], i);
	}
	run.number += run.batch;
	const struct store_turn t = { run.epoch, run.journal, run.turn,
		{ run.head.data, run.head.size }, { run.body.data, run.body.size } };
	if (store_journal_store(redis, &t, items, run.batch, &bounds, on_stored,
		    (void *)(uintptr_t)run.turn))
		die("cannot store");
	run.open++;
}

static double measure(size_t batch, bool settles, uint64_t inflight, uint64_t ms, uint64_t limit)
{
	uint64_t start = base_clock_us(), started = 0, us;
	run.batch = batch;
	run.settles = settles;
	run.entries = 0;
	do {
		bool go_on = limit ? started < limit : base_clock_us() - start < ms * 1000;
		while (go_on && run.open < inflight && (!limit || started < limit)) {
			append();
			started++;
		}
		if (!go_on && run.open == 0)
			break;
		turn_loop();
	} while (1);
	us = base_clock_us() - start;
	return (double)run.entries * 1e6 / (double)us;
}

/* ---- processor time */

static double server_us(void)
{
	char path[64];
	unsigned long long ns = 0;
	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)server);
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "%llu", &ns) != 1)
		die("no schedstat");
	fclose(file);
	return (double)ns / 1000;
}

static void cost(const char *name, size_t batch, uint64_t inflight, uint64_t events)
{
	measure(batch, true, inflight, 0, 1 + events / batch / 10);
	double before = server_us();
	measure(batch, true, inflight, 0, events / batch);
	printf("cost_%s_us_per_event=%.2f\n", name,
		(server_us() - before) / (double)(events / batch * batch));
	fflush(stdout);
}

static void costs(size_t batch, uint64_t inflight, uint64_t events)
{
	cost("plain", batch, inflight, events);
	run.results = true;
	cost("result", batch, inflight, events);
	run.keys = true;
	cost("result_and_key", batch, inflight, events);
}

/* ---- memory */

struct reply {
	bool came;
	uint64_t used;
};

static void on_info(void *arg, const struct store_reply *reply)
{
	struct reply *r = arg;
	const char *at = reply->type == STORE_STR ? strstr(reply->text, "used_memory:") : NULL;
	r->came = true;
	r->used = at ? strtoull(at + strlen("used_memory:"), NULL, 10) : 0;
}

static uint64_t used_memory(void)
{
	struct reply r = { 0 };
	const struct store_arg words[] = { STORE_ARG("INFO"), STORE_ARG("memory") };
	if (store_redis_command(redis, words, 2, on_info, &r))
		die("no INFO");
	while (!r.came)
		turn_loop();
	return r.used;
}

static void weigh(const char *name, size_t batch, uint64_t inflight, uint64_t events)
{
	uint64_t before = used_memory();
	measure(batch, false, inflight, 0, events / batch);
	printf("memory_%s_bytes_per_event=%.0f\n", name,
		(double)(used_memory() - before) / (double)(events / batch * batch));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		size_t batch;
	} sizes[] = { { "250B", 1 }, { "4KB", 16 }, { "32KB", 128 } };
	uint64_t ms = 2000, inflight = 32, events = 100000, batch = 0;
	char url[96], *why = NULL;
	bool up = false;
	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t value = strtoull(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--seconds") == 0)
			ms = value * 1000;
		else if (strcmp(argv[i], "--inflight") == 0 && value > 0)
			inflight = value;
		else if (strcmp(argv[i], "--events") == 0 && value > 0)
			events = value;
		else if (strcmp(argv[i], "--cost") == 0 && value > 0 && value <= MAX_BATCH)
			batch = value;
		else
			die("functions [--seconds N] [--inflight N] [--events N] [--cost BATCH]");
	}
	start_server(url, sizeof url);
	base_buf_init(&run.head);
	base_buf_init(&run.body);
	if (net_loop_new(&loop))
		die("no loop");
	const struct store_redis_conf conf = { .url = url, .library = store_functions_lua };
	const struct store_redis_events on = { .on_up = on_up, .arg = &up };
	if (store_redis_new(loop, &conf, &on, &redis, &why))
		die(why ? why : "no connection");
	while (!up)
		turn_loop();
	if (store_journal_open(redis, 0, on_opened, NULL))
		die("no epoch");
	while (!run.epoch)
		turn_loop();
	if (batch)
		costs(batch, inflight, events);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !batch; i++) {
		printf("store_%s_entries_per_s=%.0f\n", sizes[i].name,
			measure(sizes[i].batch, false, inflight, ms, 0));
		double pairs = measure(sizes[i].batch, true, inflight, ms, 0);
		printf("store_settle_%s_events_per_s=%.0f\n", sizes[i].name,
			pairs * (double)sizes[i].batch);
		fflush(stdout);
	}
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !batch; i++)
		weigh(sizes[i].name, sizes[i].batch, inflight, events);
	store_redis_free(&redis);
	net_loop_free(&loop);
	base_buf_fini(&run.head);
	base_buf_fini(&run.body);
	return 0;
}
