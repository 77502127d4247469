#include "tests/sim/link.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/events.h"
#include "tests/sim/sim.h"

struct request {
	struct request *prev, *next;
	struct base_arena arena;
	bool is_op;
	struct brk_ask ask;
	struct sim_op op;
	uint64_t serial; /* an operation's: the run that waits for it */
};

struct answer {
	struct answer *prev, *next;
	struct sim_reply *reply;    /* an ask's */
	struct sim_op_reply result; /* an operation's */
	bool is_op;
	uint64_t serial;
};

/* An answer that waits for the disk. */
struct sim_held {
	struct sim_held *prev, *next;
	struct sim_link *link;
	struct answer *answer;
	uint64_t mark; /* before its changes */
};

struct sim_link {
	struct sim_link *next;
	struct sim_broker *broker; /* NULL: that end is gone */
	struct sim_proc *proc;
	struct request *requests;
	struct answer *answers;
	uint64_t due_request, due_answer;
	uint64_t late_until; /* nothing is executed before */
	bool cut;
};

static struct sim_server *server_of(struct sim *sim)
{
	return &sim->server;
}

uint64_t sim_server_now(const struct sim *sim)
{
	return SIM_UNIX_MS + sim->server.skew_ms + sim->now_ms;
}

/* ---- copies: what an ask points at is the core's until its next input */

static struct store_arg keep(struct base_arena *arena, struct store_arg bytes)
{
	if (bytes.data)
		bytes.data = base_arena_dup(arena, bytes.data, bytes.size);
	return bytes;
}

static const char *keep_text(struct base_arena *arena, const char *text)
{
	return text ? base_arena_dup(arena, text, strlen(text)) : NULL;
}

static void *keep_list(struct base_arena *arena, const void *list, size_t n, size_t size)
{
	return n > 0 ? base_arena_dup(arena, list, n * size) : NULL;
}

static void keep_turn(struct base_arena *arena, struct store_turn *turn)
{
	turn->head = keep(arena, turn->head);
	turn->body = keep(arena, turn->body);
}

static void keep_store(struct base_arena *arena, struct brk_ask *ask)
{
	struct store_item *items = keep_list(arena, ask->store.items, ask->store.n, sizeof *items);

	keep_turn(arena, &ask->store.turn);
	for (size_t i = 0; i < ask->store.n; i++) {
		items[i].scope = keep_text(arena, items[i].scope);
		items[i].timer = keep_text(arena, items[i].timer);
		items[i].key = keep(arena, items[i].key);
		items[i].hash = keep(arena, items[i].hash);
		items[i].id = keep(arena, items[i].id);
	}
	ask->store.items = items;
}

static void keep_end(struct base_arena *arena, struct store_end *end)
{
	if (end->how != STORE_MOVED) {
		end->id = base_arena_dup(arena, end->id, 16);
		end->service = keep_text(arena, end->service);
	}
	end->head = keep(arena, end->head);
	end->body = keep(arena, end->body);
	end->result = keep(arena, end->result);
}

static void keep_settle(struct base_arena *arena, struct brk_ask *ask)
{
	struct store_ends *list =
		keep_list(arena, ask->settle.entries, ask->settle.n, sizeof *list);

	keep_turn(arena, &ask->settle.turn);
	for (size_t i = 0; i < ask->settle.n; i++) {
		struct store_end *ends = keep_list(arena, list[i].ends, list[i].n, sizeof *ends);

		for (size_t k = 0; k < list[i].n; k++)
			keep_end(arena, &ends[k]);
		list[i].ends = ends;
	}
	ask->settle.entries = list;
}

static void keep_letters(struct base_arena *arena, struct brk_ask *ask)
{
	ask->dead.turn.head = ask->dead.turn.body = (struct store_arg){ NULL, 0 };
	ask->dead.service = keep_text(arena, ask->dead.service);
	ask->dead.ids = keep_list(arena, ask->dead.ids, ask->dead.n, 16);
	ask->dead.cursor = keep_text(arena, ask->dead.cursor);
}

static void keep_key(struct base_arena *arena, struct brk_ask *ask)
{
	ask->key.scope = keep_text(arena, ask->key.scope);
	ask->key.key = keep(arena, ask->key.key);
	ask->key.hash = keep(arena, ask->key.hash);
	ask->key.response = keep(arena, ask->key.response);
}

static void (*const keepers[BRK_ASK__N])(struct base_arena *arena, struct brk_ask *ask) = {
	[BRK_ASK_STORE] = keep_store,
	[BRK_ASK_SETTLE] = keep_settle,
	[BRK_ASK_RESULT] = keep_letters,
	[BRK_ASK_REDRIVE] = keep_letters,
	[BRK_ASK_PURGE] = keep_letters,
	[BRK_ASK_DEAD_LIST] = keep_letters,
	[BRK_ASK_DEAD_GET] = keep_letters,
	[BRK_ASK_CLAIM] = keep_key,
	[BRK_ASK_ANSWER] = keep_key,
};

static struct request *new_request(void)
{
	struct request *q = calloc(1, sizeof *q);

	base_arena_init(&q->arena, 1024, (size_t)64 << 20);
	return q;
}

static void free_request(struct request *q)
{
	base_arena_fini(&q->arena);
	free(q);
}

static void free_answer(struct answer *answer)
{
	if (answer->reply)
		sim_reply_free(answer->reply);
	if (answer->is_op)
		sim_op_reply_fini(&answer->result);
	free(answer);
}

/* ---- executing */

static struct answer *execute(struct sim *sim, const struct request *q, const struct sim_link *link)
{
	struct sim_server *s = server_of(sim);
	struct answer *answer = calloc(1, sizeof *answer);
	bool error = !q->is_op && s->errors > 0;

	s->redis.keys.now_ms = sim_server_now(sim);
	s->steps++;
	answer->is_op = q->is_op;
	answer->serial = q->serial;
	if (q->is_op) {
		sim_redis_op(&s->redis, &q->op, &answer->result);
	} else if (error && sim_chance(sim, 60)) {
		answer->reply = sim_redis_say(q->ask.kind, q->ask.ticket, STORE_BROKEN);
	} else {
		answer->reply = sim_redis_ask(&s->redis, &q->ask, &sim->bounds);
	}
	s->errors -= error;
	if (!q->is_op)
		sim_trace(sim, "redis: %s of epoch %u%s: %d", brk_ask_name(q->ask.kind),
			q->ask.epoch, link->broker ? "" : ", late", (int)answer->reply->says.code);
	if (!q->is_op)
		sim_events_served(sim, &q->ask, answer->reply);
	sim_events_check_step(sim);
	if (error)
		answer->reply->says.code = STORE_BROKEN;
	return answer;
}

static void deliver_event(struct sim *sim, void *arg, uint64_t number);

static void send_answer(struct sim *sim, struct sim_link *link, struct answer *answer)
{
	uint64_t due = sim->now_ms + sim_below(sim, sim->latency_ms / 4 + 2);

	if (link->cut) {
		free_answer(answer);
		return;
	}
	if (due < link->due_answer)
		due = link->due_answer;
	link->due_answer = due;
	DL_APPEND(link->answers, answer);
	sim_at(sim, due, deliver_event, link, 0);
}

static void sync_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_server *s = arg;
	struct sim_held *held, *next;

	if (s->life != life || !s->up)
		return;
	if (s->paused_until > sim->now_ms) {
		sim_at(sim, s->paused_until, sync_event, s, life);
		return;
	}
	s->syncing = false;
	sim_keys_forget(&s->redis.keys, sim_keys_mark(&s->redis.keys));
	DL_FOREACH_SAFE (s->held, held, next) {
		DL_DELETE(s->held, held);
		if (held->answer)
			send_answer(sim, held->link, held->answer);
		free(held);
	}
}

static void hold(struct sim *sim, struct sim_link *link, struct answer *answer, uint64_t mark)
{
	struct sim_server *s = server_of(sim);
	struct sim_held *held = calloc(1, sizeof *held);

	*held = (struct sim_held){ .link = link, .answer = answer, .mark = mark };
	DL_APPEND(s->held, held);
	if (s->redis.faults & 1u << SIM_REDIS_EARLY_REPLY) {
		send_answer(sim, link, answer);
		held->answer = NULL;
	}
	if (s->syncing)
		return;
	s->syncing = true;
	sim_at(sim, sim->now_ms + sim_below(sim, s->sync_ms + 1), sync_event, s, s->life);
}

static void serve_event(struct sim *sim, void *arg, uint64_t number)
{
	struct sim_server *s = server_of(sim);
	struct sim_link *link = arg;
	struct request *q = link->requests;
	uint64_t wait = s->paused_until > link->late_until ? s->paused_until : link->late_until;
	uint64_t mark = sim_keys_mark(&s->redis.keys);

	if (!q)
		return;
	if (wait > sim->now_ms) {
		sim_at(sim, wait, serve_event, link, number);
		return;
	}
	DL_DELETE(link->requests, q);
	hold(sim, link, execute(sim, q, link), mark);
	free_request(q);
}

/* ---- answers */

static void told(struct sim *sim, struct sim_broker *broker, struct sim_reply *reply)
{
	struct sim_open_ask *open;

	DL_SEARCH_SCALAR(broker->asks, open, ticket, reply->told.ticket);
	DL_DELETE(broker->asks, open);
	free(open);
	sim_broker_told(sim, broker, &reply->told);
}

static void deliver_event(struct sim *sim, void *arg, uint64_t number)
{
	struct sim_link *link = arg;
	struct answer *answer = link->answers;
	uint64_t paused = link->broker ? link->broker->paused_until
			  : link->proc ? link->proc->paused_until
				       : 0;

	if (!answer)
		return;
	if (paused > sim->now_ms) {
		sim_at(sim, paused, deliver_event, link, number);
		return;
	}
	DL_DELETE(link->answers, answer);
	if (link->broker)
		told(sim, link->broker, answer->reply);
	else if (link->proc)
		sim_run_answered(sim, link->proc, answer->serial, &answer->result);
	free_answer(answer);
}

/* ---- a broker's connection */

static struct sim_link *new_link(struct sim *sim)
{
	struct sim_server *s = server_of(sim);
	struct sim_link *link = calloc(1, sizeof *link);

	link->next = s->links;
	s->links = link;
	return link;
}

static void connect_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;
	struct sim_server *s = server_of(sim);

	if (!broker->core || broker->life != life || broker->link)
		return;
	if (!s->up || s->loading_until > sim->now_ms || s->paused_until > sim->now_ms ||
		broker->paused_until > sim->now_ms) {
		sim_at(sim, sim->now_ms + sim_between(sim, 20, 300), connect_event, broker, life);
		return;
	}
	broker->link = new_link(sim);
	broker->link->broker = broker;
	sim_trace(sim, "broker %u is linked to redis", broker->index);
	sim_broker_store(sim, broker, true);
}

void sim_link_start(struct sim *sim, struct sim_broker *broker)
{
	sim_at(sim, sim->now_ms + sim_below(sim, 20), connect_event, broker, broker->life);
}

static void tell_code(struct sim *sim, struct sim_broker *broker, enum brk_ask_kind kind,
	uint64_t ticket, enum store_code code)
{
	struct sim_reply *reply = sim_redis_say(kind, ticket, code);

	sim_broker_told(sim, broker, &reply->told);
	sim_reply_free(reply);
}

/* While they are told of the core asks again: that is told AWAY, later. */
static void tell_lost(struct sim *sim, struct sim_broker *broker, const struct sim_link *link)
{
	struct sim_open_ask *open, *next, *lost = NULL;

	DL_FOREACH_SAFE (broker->asks, open, next) {
		if (open->link != link)
			continue;
		DL_DELETE(broker->asks, open);
		DL_APPEND(lost, open);
	}
	DL_FOREACH_SAFE (lost, open, next) {
		tell_code(sim, broker, open->kind, open->ticket, STORE_LOST);
		free(open);
	}
}

/* The shell notices that its connection is gone. */
static void down_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_link *link = arg;
	struct sim_broker *broker = link->broker;
	bool first = sim_chance(sim, 50);

	if (!broker || broker->life != life || broker->link != link)
		return;
	if (broker->paused_until > sim->now_ms) {
		sim_at(sim, broker->paused_until, down_event, link, life);
		return;
	}
	sim_trace(sim, "broker %u has lost redis", broker->index);
	broker->link = NULL;
	link->broker = NULL;
	if (first)
		sim_broker_store(sim, broker, false);
	tell_lost(sim, broker, link);
	if (!first)
		sim_broker_store(sim, broker, false);
	sim_link_start(sim, broker);
}

/* A random prefix of what was sent is executed, maybe late. */
static void cut_link(struct sim *sim, struct sim_link *link)
{
	struct request *q, *next;
	struct answer *answer, *after;
	uint64_t n = 0, keep_n;

	link->cut = true;
	DL_COUNT(link->requests, q, n);
	keep_n = sim_below(sim, n + 1);
	DL_FOREACH_SAFE (link->requests, q, next) {
		if (keep_n > 0) {
			keep_n--;
			continue;
		}
		DL_DELETE(link->requests, q);
		free_request(q);
	}
	DL_FOREACH_SAFE (link->answers, answer, after) {
		DL_DELETE(link->answers, answer);
		free_answer(answer);
	}
	if (sim_chance(sim, 50))
		link->late_until = sim->now_ms + sim_below(sim, sim_chance(sim, 30) ? 9000 : 600);
}

static void break_link(struct sim *sim, struct sim_link *link, uint64_t notice_ms)
{
	if (link->cut)
		return;
	cut_link(sim, link);
	if (link->broker)
		sim_at(sim, sim->now_ms + notice_ms, down_event, link, link->broker->life);
}

void sim_link_cut(struct sim *sim, struct sim_broker *broker, bool at_once)
{
	if (broker->link)
		break_link(sim, broker->link, at_once ? 0 : sim_below(sim, SIM_COMMAND_MS));
}

void sim_link_clog(struct sim_broker *broker, uint64_t until_ms)
{
	if (broker->link && !broker->link->cut)
		broker->link->late_until = until_ms;
}

void sim_link_stop(struct sim *sim, struct sim_broker *broker)
{
	struct sim_open_ask *open, *next;

	DL_FOREACH_SAFE (broker->asks, open, next) {
		DL_DELETE(broker->asks, open);
		free(open);
	}
	if (!broker->link)
		return;
	if (!broker->link->cut)
		cut_link(sim, broker->link);
	broker->link->broker = NULL;
	broker->link = NULL;
}

/* ---- asking */

static void timeout_event(struct sim *sim, void *arg, uint64_t ticket)
{
	struct sim_link *link = arg;
	struct sim_open_ask *open;

	if (!link->broker || link->cut)
		return;
	DL_SEARCH_SCALAR(link->broker->asks, open, ticket, ticket);
	if (open && open->link == link)
		break_link(sim, link, 0);
}

static void away_event(struct sim *sim, void *arg, uint64_t ticket)
{
	struct sim_broker *broker = arg;
	struct sim_open_ask *open;
	enum brk_ask_kind kind;

	DL_SEARCH_SCALAR(broker->asks, open, ticket, ticket);
	if (!open || open->link)
		return;
	if (broker->paused_until > sim->now_ms) {
		sim_at(sim, broker->paused_until, away_event, broker, ticket);
		return;
	}
	kind = open->kind;
	DL_DELETE(broker->asks, open);
	free(open);
	tell_code(sim, broker, kind, ticket, STORE_AWAY);
}

static void send_request(struct sim *sim, struct sim_link *link, struct request *q)
{
	uint64_t due = sim->now_ms + sim_below(sim, sim->latency_ms / 4 + 2);

	if (link->cut) {
		free_request(q);
		return;
	}
	if (due < link->due_request)
		due = link->due_request;
	link->due_request = due;
	DL_APPEND(link->requests, q);
	sim_at(sim, due, serve_event, link, 0);
}

/* An adoption comes when its victim beats again. */
static uint64_t until_one_wakes(struct sim *sim, const struct sim_broker *adopter)
{
	for (unsigned i = 0; i < sim->n_brokers; i++)
		if (&sim->brokers[i] != adopter && sim->brokers[i].paused_until > sim->now_ms)
			return sim->brokers[i].paused_until + sim_below(sim, 500);
	return sim->now_ms + sim_below(sim, 2500);
}

void sim_link_ask(struct sim *sim, struct sim_broker *broker, const struct brk_ask *ask)
{
	struct sim_open_ask *open;
	struct request *q;

	DL_SEARCH_SCALAR(broker->asks, open, ticket, ask->ticket);
	SIM_CHECK(sim, !open && ask->ticket > 0, "a ticket is used twice");
	open = calloc(1, sizeof *open);
	*open = (struct sim_open_ask){
		.ticket = ask->ticket, .kind = ask->kind, .link = broker->link
	};
	DL_APPEND(broker->asks, open);
	if (!broker->link) {
		sim_at(sim, sim->now_ms + 5, away_event, broker, ask->ticket);
		return;
	}
	if (ask->kind == BRK_ASK_ADOPT && sim_chance(sim, 50))
		sim_link_clog(broker, until_one_wakes(sim, broker));
	q = new_request();
	q->ask = *ask;
	if (keepers[ask->kind])
		keepers[ask->kind](&q->arena, &q->ask);
	send_request(sim, broker->link, q);
	sim_at(sim, sim->now_ms + SIM_COMMAND_MS, timeout_event, broker->link, ask->ticket);
}

/* ---- a worker's connection */

static void op_lost_event(struct sim *sim, void *arg, uint64_t serial)
{
	sim_run_answered(sim, arg, serial, NULL);
}

void sim_link_op(struct sim *sim, struct sim_proc *proc, const struct sim_op *op, uint64_t serial)
{
	struct sim_server *s = server_of(sim);
	struct request *q;
	struct store_arg *reads;

	if (!proc->link && s->up && s->loading_until <= sim->now_ms) {
		proc->link = new_link(sim);
		proc->link->proc = proc;
	}
	if (!proc->link) {
		sim_at(sim, sim->now_ms + 1, op_lost_event, proc, serial);
		return;
	}
	q = new_request();
	q->is_op = true;
	q->serial = serial;
	q->op = *op;
	q->op.run.service = keep_text(&q->arena, op->run.service);
	q->op.field = keep(&q->arena, op->field);
	q->op.key = keep(&q->arena, op->key);
	reads = keep_list(&q->arena, op->reads, 2 * op->n_reads, sizeof *reads);
	for (size_t i = 0; i < 2 * op->n_reads; i++)
		reads[i] = keep(&q->arena, reads[i]);
	q->op.reads = reads;
	for (size_t i = 0; i < op->n_args; i++)
		q->op.args[i] = keep(&q->arena, op->args[i]);
	send_request(sim, proc->link, q);
}

/* What waits for an answer does not get one: the runs are told so. */
void sim_link_drop(struct sim *sim, struct sim_proc *proc)
{
	struct sim_link *link = proc->link;

	if (!link)
		return;
	if (!link->cut)
		cut_link(sim, link);
	link->proc = NULL;
	proc->link = NULL;
	sim_runs_lost(sim, proc);
}

/* ---- the process */

static void back_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_server *s = arg;

	if (s->life != life)
		return;
	s->up = true;
	s->loading_until = sim->now_ms + (sim_chance(sim, 50) ? 0 : sim_below(sim, 1500));
	sim_trace(sim, "redis is back");
}

/* What was not on disk is gone, or its newer part is. */
static void lose_unsynced(struct sim *sim, struct sim_server *s)
{
	struct sim_held *held, *next;
	uint64_t n = 0, keep_n;

	DL_COUNT(s->held, held, n);
	keep_n = sim_below(sim, n + 1);
	DL_FOREACH_SAFE (s->held, held, next) {
		if (keep_n-- == 0)
			sim_keys_rollback(&s->redis.keys, held->mark);
		DL_DELETE(s->held, held);
		if (held->answer)
			free_answer(held->answer);
		free(held);
	}
	sim_keys_forget(&s->redis.keys, sim_keys_mark(&s->redis.keys));
}

static void drop_all(struct sim *sim, struct sim_server *s)
{
	struct request *q, *next;

	for (struct sim_link *link = s->links; link; link = link->next) {
		DL_FOREACH_SAFE (link->requests, q, next) {
			DL_DELETE(link->requests, q);
			free_request(q);
		}
		if (link->broker)
			break_link(sim, link, sim_below(sim, 3));
	}
	for (unsigned i = 0; i < SIM_PROCS; i++)
		sim_link_drop(sim, &sim->procs[i]);
}

void sim_server_crash(struct sim *sim)
{
	struct sim_server *s = server_of(sim);

	if (!s->up)
		return;
	sim_trace(sim, "redis dies");
	s->up = false;
	s->life++;
	s->syncing = false;
	s->paused_until = 0;
	lose_unsynced(sim, s);
	drop_all(sim, s);
	sim_events_check_all(sim);
	sim_at(sim, sim->now_ms + sim_between(sim, 10, sim_chance(sim, 20) ? 8000 : 1500),
		back_event, s, s->life);
}

void sim_server_pause(struct sim *sim, uint64_t ms)
{
	if (!sim->server.up)
		return;
	sim_trace(sim, "redis stops for %llu ms", (unsigned long long)ms);
	sim->server.paused_until = sim->now_ms + ms;
}

static void room_event(struct sim *sim, void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	sim->server.redis.out_of_memory = false;
}

void sim_server_fill(struct sim *sim, uint64_t ms)
{
	sim_trace(sim, "redis is full for %llu ms", (unsigned long long)ms);
	sim->server.redis.out_of_memory = true;
	sim_at(sim, sim->now_ms + ms, room_event, NULL, 0);
}

void sim_server_heal(struct sim *sim)
{
	struct sim_server *s = server_of(sim);

	s->redis.out_of_memory = false;
	s->errors = 0;
	s->sync_ms = 1;
	if (s->paused_until > sim->now_ms + 100)
		s->paused_until = sim->now_ms + 100;
}

void sim_server_init(struct sim *sim)
{
	struct sim_server *s = server_of(sim);

	s->up = true;
	s->skew_ms = sim_below(sim, 2000000);
	s->sync_ms = sim_chance(sim, 30) ? sim_between(sim, 5, 60) : sim_below(sim, 3);
	sim_redis_init(&s->redis, sim_server_now(sim));
	s->redis.faults = sim->redis_faults;
	s->redis.watch = sim_events_watch;
	s->redis.watch_arg = sim;
}

static void free_link(struct sim_link *link)
{
	struct request *q, *next;
	struct answer *answer, *after;

	DL_FOREACH_SAFE (link->requests, q, next)
		free_request(q);
	DL_FOREACH_SAFE (link->answers, answer, after)
		free_answer(answer);
	free(link);
}

void sim_server_fini(struct sim *sim)
{
	struct sim_server *s = server_of(sim);
	struct sim_held *held, *next;

	DL_FOREACH_SAFE (s->held, held, next) {
		if (held->answer)
			free_answer(held->answer);
		free(held);
	}
	while (s->links) {
		struct sim_link *link = s->links;

		s->links = link->next;
		free_link(link);
	}
	sim_redis_fini(&s->redis);
}
