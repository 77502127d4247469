/* How many calls a second the broker's core takes through SUBMIT → DISPATCH →
 * RESULT → REPLY on one core of the machine, with nothing around it: no socket, no
 * packing. What a broker does beyond this is the wire.
 *
 *   core [--items 64] [--bytes 200] [--seconds 2] [--workers 4]
 *
 * Prints key=value lines. plain: calls that run once; idempotent: calls that may run
 * again; queued: every call waits until credit comes. breaker_ns: what a closed breaker
 * costs a call, its pass taken and given back.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/breaker.h"
#include "base/clock.h"
#include "broker/core/core.h"

#define MAX_ITEMS   1024
#define MAX_WORKERS 64
#define CLIENT      1u

struct bench {
	struct brk_core *core;
	uint32_t n_items, n_bytes, n_workers;
	uint64_t now_ms;
	Pirn__Item items[MAX_ITEMS];
	Pirn__Item *list[MAX_ITEMS];
	uint8_t *body;
	uint64_t granted[MAX_WORKERS];
	struct {
		uint32_t worker, slot, generation;
	} runs[MAX_ITEMS];
	uint32_t n_runs, n_replies;
	uint32_t flags;
};

static void absorb(struct bench *b, const struct brk_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++) {
		const struct brk_action *a = &actions->list[i];

		if (a->kind != BRK_SEND_ITEM)
			continue;
		if (a->message == PIRN__KIND__REPLY) {
			b->n_replies++;
		} else if (a->message == PIRN__KIND__DISPATCH) {
			b->runs[b->n_runs].worker = a->peer;
			b->runs[b->n_runs].slot = a->item.slot;
			b->runs[b->n_runs++].generation = a->item.generation;
		}
	}
}

static void send(
	struct bench *b, uint32_t peer, uint32_t kind, size_t n_items, Pirn__Credit *credit)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	struct brk_message m = { .peer = peer, .head = &head, .body = b->body };

	head.kind = kind;
	head.items = b->list;
	head.n_items = n_items;
	head.credits = &credit;
	head.n_credits = credit ? 1 : 0;
	m.body_size = n_items * b->n_bytes;
	absorb(b, brk_core_message(b->core, b->now_ms, &m));
}

static void hello(struct bench *b, uint32_t peer, uint32_t role)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Hello hello = PIRN__HELLO__INIT;
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT, *services = &manifest;
	uint8_t boot[16] = { (uint8_t)peer };
	struct brk_message m = { .peer = peer, .head = &head, .hello = &hello };

	head.kind = PIRN__KIND__HELLO;
	manifest.service = (char *)"hello";
	hello.version = 1;
	hello.role = role;
	hello.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	hello.services = &services;
	hello.n_services = role == PIRN__ROLE__WORKER;
	absorb(b, brk_core_message(b->core, b->now_ms, &m));
}

static void grant(struct bench *b, uint32_t worker, uint64_t n)
{
	Pirn__Credit credit = PIRN__CREDIT__INIT;

	credit.service = (char *)"hello";
	credit.has_granted = true;
	credit.granted = b->granted[worker] += n;
	send(b, 2 + worker, PIRN__KIND__CREDIT, 0, &credit);
}

static void submit(struct bench *b)
{
	for (uint32_t i = 0; i < b->n_items; i++) {
		Pirn__Item *item = &b->items[i];

		pirn__item__init(item);
		item->has_slot = item->has_generation = item->has_data_size = item->has_left_ms =
			true;
		item->slot = i;
		item->generation++;
		item->service = (char *)"hello";
		item->data_size = b->n_bytes;
		item->left_ms = 30000;
		item->has_flags = true;
		item->flags = b->flags;
	}
	send(b, CLIENT, PIRN__KIND__SUBMIT, b->n_items, NULL);
}

/* Every worker answers what it has, and grants as much again. */
static void answer(struct bench *b)
{
	for (uint32_t w = 0; w < b->n_workers; w++) {
		Pirn__Credit credit = PIRN__CREDIT__INIT;
		size_t n = 0;

		for (uint32_t i = 0; i < b->n_runs; i++) {
			Pirn__Item *item = &b->items[n];

			if (b->runs[i].worker != 2 + w)
				continue;
			pirn__item__init(item);
			item->has_slot = item->has_generation = item->has_status =
				item->has_data_size = true;
			item->slot = b->runs[i].slot;
			item->generation = b->runs[i].generation;
			item->status = 200;
			item->data_size = b->n_bytes;
			n++;
		}
		credit.service = (char *)"hello";
		credit.has_granted = true;
		credit.granted = b->granted[w] += n;
		send(b, 2 + w, PIRN__KIND__RESULT, n, &credit);
	}
	b->n_runs = 0;
}

static void measure(struct bench *b, const char *name, uint32_t flags, double seconds)
{
	uint64_t start = base_clock_us(), end = start + (uint64_t)(seconds * 1e6), now = start,
		 cycles = 0;

	b->flags = flags;
	while (now < end) {
		for (int i = 0; i < 64; i++, cycles++) {
			b->n_replies = 0;
			submit(b);
			answer(b);
			if (b->n_replies != b->n_items) {
				fprintf(stderr, "core: %u of %u calls were answered\n",
					b->n_replies, b->n_items);
				exit(1);
			}
		}
		now = base_clock_us();
		b->now_ms++;
		absorb(b, brk_core_tick(b->core, b->now_ms, b->now_ms));
	}
	printf("%s_calls_per_s=%.0f\n", name,
		(double)(cycles * b->n_items) * 1e6 / (double)(now - start));
}

/* Without credit everything waits; the grant that follows dispatches all of it. */
static void measure_queued(struct bench *b, double seconds)
{
	uint64_t start = base_clock_us(), end = start + (uint64_t)(seconds * 1e6), now = start,
		 cycles = 0;

	for (uint32_t w = 0; w < b->n_workers; w++)
		grant(b, w, (uint64_t) - (MAX_ITEMS / b->n_workers + 1));
	while (now < end) {
		for (int i = 0; i < 64; i++, cycles++) {
			submit(b);
			for (uint32_t w = 0; w < b->n_workers; w++)
				grant(b, w, b->n_items / b->n_workers + 1);
			for (uint32_t w = 0; w < b->n_workers; w++)
				b->granted[w] -= b->n_items / b->n_workers + 1;
			answer(b);
		}
		now = base_clock_us();
		b->now_ms++;
	}
	printf("queued_calls_per_s=%.0f\n",
		(double)(cycles * b->n_items) * 1e6 / (double)(now - start));
}

/* As the core uses it: most runs go well, one in a hundred does not. */
static void measure_breaker(double seconds)
{
	uint64_t start = base_clock_us(), end = start + (uint64_t)(seconds * 1e6), now = start, n = 0;
	struct base_breaker breaker;

	base_breaker_init(&breaker, &base_breaker_standard, 1);
	while (now < end) {
		uint64_t now_ms = now / 1000;

		for (uint32_t i = 0; i < 1000; i++, n++) {
			base_breaker_pass pass = base_breaker_take(&breaker, now_ms);

			base_breaker_give(&breaker, now_ms, pass,
				i % 100 == 0 ? BASE_BREAKER_FAILED : BASE_BREAKER_OK, i);
		}
		now = base_clock_us();
	}
	if (breaker.state != BASE_BREAKER_CLOSED)
		exit(1);
	printf("breaker_ns=%.2f\n", (double)(now - start) * 1e3 / (double)n);
}

int main(int argc, char **argv)
{
	struct brk_conf conf = {
		.name = "bench",
		.max_calls = 65536,
		.max_bytes = 256u << 20,
		.max_item_bytes = 16u << 20,
		.beat_ms = 1000,
		.missed_beats = UINT32_MAX / 1000,
		.max_peers = 1024,
		.max_services = 1024,
		.forget_ms = 86400000,
		.seed = 1,
	};
	struct bench b = { .n_items = 64, .n_bytes = 200, .n_workers = 4, .now_ms = 1 };
	double seconds = 2;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--items") == 0)
			b.n_items = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--bytes") == 0)
			b.n_bytes = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--workers") == 0)
			b.n_workers = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtod(argv[i + 1], NULL);
		else
			b.n_items = 0;
	}
	if (b.n_items == 0 || b.n_items > MAX_ITEMS || b.n_workers == 0 ||
		b.n_workers > MAX_WORKERS || b.n_bytes > 65536) {
		fprintf(stderr,
			"usage: core [--items 1..1024] [--bytes 0..65536] [--workers 1..64] [--seconds S]\n");
		return 2;
	}
	b.body = calloc(b.n_items, b.n_bytes + 1);
	if (!b.body || brk_core_new(&conf, &b.core))
		return 1;
	for (uint32_t i = 0; i < MAX_ITEMS; i++)
		b.list[i] = &b.items[i];
	absorb(&b, brk_core_tick(b.core, b.now_ms, 1));
	hello(&b, CLIENT, PIRN__ROLE__CLIENT);
	for (uint32_t w = 0; w < b.n_workers; w++) {
		hello(&b, 2 + w, PIRN__ROLE__WORKER);
		grant(&b, w, MAX_ITEMS / b.n_workers + 1);
	}
	printf("items=%u\nbytes=%u\nworkers=%u\n", b.n_items, b.n_bytes, b.n_workers);
	measure(&b, "plain", 0, seconds);
	measure(&b, "idempotent", PIRN__ITEM_FLAG__IDEMPOTENT, seconds);
	measure_queued(&b, seconds);
	measure_breaker(seconds / 4);
	brk_core_free(&b.core);
	free(b.body);
	return 0;
}
