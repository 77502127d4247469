/* The registry, as the brokers share it: an entry for each service in Redis, which each
 * broker's shell reads every now and then, merges with what its core wanted kept, and
 * writes back when that is better in some part (broker/catalog.c does it so). What a
 * core is told comes late, and the second of two entries may come before the first:
 * a reading that was slow.
 *
 * What is better, part by part: the settings that were announced last, the older first
 * sight, the force that was set last, the opening that was last.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/sim.h"

#define POLL_MS 1000
#define SLOW_MS 4000 /* as long as a slow reading may take */

/* An entry on its way to a core. */
struct sim_post {
	struct sim_post *prev, *next;
	uint64_t life;
	struct sim_packed entry;
};

/* ---- entries */

static void clear(struct sim_packed *p)
{
	free(p->bytes);
	*p = (struct sim_packed){ NULL, 0 };
}

static struct sim_packed pack(const Pirn__Entry *entry)
{
	struct sim_packed p = { NULL, pirn__entry__get_packed_size(entry) };

	p.bytes = malloc(p.size + 1);
	pirn__entry__pack(entry, p.bytes);
	return p;
}

static struct sim_packed copy(const struct sim_packed *from)
{
	struct sim_packed p = { malloc(from->size + 1), from->size };

	memcpy(p.bytes, from->bytes, from->size);
	return p;
}

static bool is_same(const struct sim_packed *a, const struct sim_packed *b)
{
	return a->bytes && b->bytes && a->size == b->size &&
	       memcmp(a->bytes, b->bytes, a->size) == 0;
}

static const Pirn__BreakerNote *note_of(const Pirn__Entry *entry)
{
	static const Pirn__BreakerNote none = PIRN__BREAKER_NOTE__INIT;

	return entry->breaker ? entry->breaker : &none;
}

/* Of two words of the same millisecond everybody takes the greater one. */
static const Pirn__BreakerNote *last_force(const Pirn__BreakerNote *x, const Pirn__BreakerNote *y)
{
	if (x->force_ms != y->force_ms)
		return x->force_ms > y->force_ms ? x : y;
	return x->force > y->force ? x : y;
}

static struct sim_packed merge_unpacked(const Pirn__Entry *a, const Pirn__Entry *b)
{
	const Pirn__Entry *newer = b->announced_ms > a->announced_ms ? b : a;
	const Pirn__BreakerNote *x = note_of(a), *y = note_of(b);
	Pirn__BreakerNote note = *last_force(x, y);
	const Pirn__BreakerNote *opened = y->opened_ms > x->opened_ms ? y : x;
	Pirn__Entry out = *newer;

	out.has_workers = false;
	out.first_ms = a->first_ms < b->first_ms ? a->first_ms : b->first_ms;
	note.has_opened_ms = opened->has_opened_ms;
	note.opened_ms = opened->opened_ms;
	note.has_open_ms = opened->has_open_ms;
	note.open_ms = opened->open_ms;
	note.has_openings = opened->has_openings;
	note.openings = opened->openings;
	out.breaker = a->breaker || b->breaker ? &note : NULL;
	return pack(&out);
}

/* One of them may be empty. */
static struct sim_packed merge(const struct sim_packed *a, const struct sim_packed *b)
{
	Pirn__Entry *x, *y;
	struct sim_packed out;

	if (!a->bytes || !b->bytes)
		return copy(a->bytes ? a : b);
	x = pirn__entry__unpack(NULL, a->size, a->bytes);
	y = pirn__entry__unpack(NULL, b->size, b->bytes);
	out = merge_unpacked(x, y);
	pirn__entry__free_unpacked(x, NULL);
	pirn__entry__free_unpacked(y, NULL);
	return out;
}

/* ---- to the cores */

static void post_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;
	struct sim_post *post = broker->posts;
	Pirn__Entry *entry;

	if (!post)
		return;
	if (broker->core && broker->life == life && broker->paused_until > sim->now_ms) {
		sim_at(sim, broker->paused_until, post_event, broker, life);
		return;
	}
	if (post->next && sim_chance(sim, 50))
		post = post->next;
	DL_DELETE(broker->posts, post);
	if (broker->core && post->life == broker->life) {
		entry = pirn__entry__unpack(NULL, post->entry.size, post->entry.bytes);
		sim_broker_entry(sim, broker, entry);
		pirn__entry__free_unpacked(entry, NULL);
	}
	clear(&post->entry);
	free(post);
}

static void post(struct sim *sim, struct sim_broker *broker, const struct sim_packed *entry)
{
	struct sim_post *p = calloc(1, sizeof *p);
	uint64_t late;

	p->life = broker->life;
	p->entry = copy(entry);
	DL_APPEND(broker->posts, p);
	late = sim_chance(sim, sim->slow_readings_percent) ? SLOW_MS : sim->latency_ms + 3;
	sim_at(sim, sim->now_ms + sim_below(sim, late), post_event, broker, broker->life);
}

/* ---- the shell's part */

static void exchange(struct sim *sim, struct sim_broker *broker, int service)
{
	struct sim_packed *kept = &broker->kept[service], *redis = &sim->registry[service];
	struct sim_packed both;

	if (!kept->bytes && !redis->bytes)
		return;
	both = merge(kept, redis);
	if (!is_same(&both, redis)) {
		clear(redis);
		*redis = copy(&both);
	}
	if (!is_same(&both, kept)) {
		clear(kept);
		*kept = copy(&both);
		post(sim, broker, &both);
	}
	clear(&both);
}

static bool is_reachable(const struct sim *sim, const struct sim_broker *broker)
{
	const struct sim_server *s = &sim->server;

	return broker->link && s->up && s->loading_until <= sim->now_ms &&
	       s->paused_until <= sim->now_ms && broker->paused_until <= sim->now_ms;
}

static void poll_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;

	if (!broker->core || broker->life != life)
		return;
	for (int s = 0; s < SIM_SERVICES && is_reachable(sim, broker); s++)
		exchange(sim, broker, s);
	sim_at(sim, sim->now_ms + sim_between(sim, 10, POLL_MS), poll_event, broker, life);
}

void sim_registry_start(struct sim *sim, struct sim_broker *broker)
{
	for (int s = 0; s < SIM_SERVICES; s++)
		clear(&broker->kept[s]);
	sim_at(sim, sim->now_ms + sim_below(sim, 100), poll_event, broker, broker->life);
}

/* KEEP_SERVICE. It is written at once, or when Redis is there again. */
void sim_registry_keep(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry)
{
	int service = sim_service(entry->manifest->service);
	struct sim_packed theirs, both;

	if (service < 0)
		return;
	theirs = pack(entry);
	both = merge(&broker->kept[service], &theirs);
	clear(&theirs);
	clear(&broker->kept[service]);
	broker->kept[service] = both;
	if (is_reachable(sim, broker) && sim_chance(sim, 70))
		exchange(sim, broker, service);
}

void sim_registry_fini(struct sim *sim)
{
	for (unsigned b = 0; b < SIM_BROKERS; b++) {
		struct sim_broker *broker = &sim->brokers[b];
		struct sim_post *p, *next;

		DL_FOREACH_SAFE (broker->posts, p, next) {
			clear(&p->entry);
			free(p);
		}
		for (int s = 0; s < SIM_SERVICES; s++)
			clear(&broker->kept[s]);
	}
	for (int s = 0; s < SIM_SERVICES; s++)
		clear(&sim->registry[s]);
}
