#include "cli/supervise.h"

#include <assert.h>
#include <string.h>

#define NEVER UINT64_MAX

static const uint8_t next_state[CLI_CHILD_STATE__N][CLI_CHILD_EV__N] = {
#define X(from, event, to) [CLI_CHILD_##from][CLI_CHILD_EV_##event] = CLI_CHILD_##to,
	CLI_CHILD_EDGES(X)
#undef X
};

static void change(struct cli_child *c, enum cli_child_event event)
{
	enum cli_child_state to = (enum cli_child_state)next_state[c->state][event];

	assert(to != CLI_CHILD_ILLEGAL);
	c->state = to;
}

static void act(struct cli_supervise *s, enum cli_action_kind kind, size_t child)
{
	assert(s->n_actions < sizeof s->actions / sizeof s->actions[0]);
	s->actions[s->n_actions++] = (struct cli_action){ .kind = kind, .child = child };
}

static bool is_alive(const struct cli_child *c)
{
	return c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_STOPPING;
}

const char *cli_group_name(enum cli_group group)
{
	static const char *const names[CLI_GROUP__N] = { "redis-server", "pirn-broker",
		"pirn-worker", "pirn-gateway" };

	return names[group];
}

uint64_t cli_supervise_share(uint64_t drain_ms, enum cli_group group)
{
	return drain_ms * (8u - (unsigned)group) / 8u;
}

uint64_t cli_supervise_backoff(unsigned failures, uint64_t chance)
{
	uint64_t limit = CLI_BACKOFF_BASE_MS;

	if (failures <= 1)
		return 0;
	for (unsigned i = 2; i < failures && limit < CLI_BACKOFF_CAP_MS; i++)
		limit *= 2;
	if (limit > CLI_BACKOFF_CAP_MS)
		limit = CLI_BACKOFF_CAP_MS;
	return chance % limit + 1;
}

void cli_supervise_init(
	struct cli_supervise *s, const unsigned counts[CLI_GROUP__N], uint64_t drain_ms)
{
	memset(s, 0, sizeof *s);
	s->drain_ms = drain_ms;
	for (enum cli_group g = CLI_REDIS; g < CLI_GROUP__N; g++)
		for (unsigned i = 0; i < counts[g]; i++) {
			assert(s->n < CLI_CHILDREN_MAX);
			s->children[s->n++] = (struct cli_child){
				.group = g, .index = i, .state = CLI_CHILD_IDLE
			};
		}
}

static void spawn(struct cli_supervise *s, size_t i, uint64_t now_ms)
{
	struct cli_child *c = &s->children[i];

	change(c, CLI_CHILD_EV_SPAWN);
	c->started_at = now_ms;
	c->due_at = 0;
	act(s, CLI_SPAWN, i);
}

/* False: the group has no children. */
static bool spawn_group(struct cli_supervise *s, uint64_t now_ms)
{
	bool any = false;

	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].group == s->group) {
			spawn(s, i, now_ms);
			any = true;
		}
	return any;
}

static void start_from(struct cli_supervise *s, unsigned group, uint64_t now_ms)
{
	for (; group < CLI_GROUP__N; group++) {
		s->group = (enum cli_group)group;
		if (spawn_group(s, now_ms))
			return;
	}
	s->phase = CLI_UP;
	act(s, CLI_READY, 0);
}

void cli_supervise_start(struct cli_supervise *s, uint64_t now_ms)
{
	assert(s->phase == CLI_STARTING && s->n > 0);
	start_from(s, CLI_REDIS, now_ms);
}

void cli_supervise_ready(struct cli_supervise *s, enum cli_group group, uint64_t now_ms)
{
	if (s->phase == CLI_STARTING && s->group == group)
		start_from(s, (unsigned)group + 1, now_ms);
}

/* ---- stopping ------------------------------------------------------------- */

static uint64_t kill_at(const struct cli_supervise *s, enum cli_group group)
{
	if (s->hurry)
		return 0;
	return s->stop_at + cli_supervise_share(s->drain_ms, group);
}

static void stop_child(struct cli_supervise *s, size_t i, uint64_t now_ms)
{
	struct cli_child *c = &s->children[i];
	bool was_running = c->state == CLI_CHILD_RUNNING;

	if (was_running || c->state == CLI_CHILD_IDLE || c->state == CLI_CHILD_WAITING)
		change(c, CLI_CHILD_EV_STOP);
	if (was_running && now_ms < kill_at(s, c->group))
		act(s, CLI_TERM, i);
}

static void kill_late(struct cli_supervise *s, uint64_t now_ms)
{
	for (size_t i = 0; i < s->n; i++) {
		struct cli_child *c = &s->children[i];

		if (!is_alive(c) || c->killed || now_ms < kill_at(s, c->group))
			continue;
		if (c->state == CLI_CHILD_RUNNING)
			change(c, CLI_CHILD_EV_STOP);
		c->killed = true;
		act(s, CLI_KILL, i);
	}
}

static bool group_ended(const struct cli_supervise *s, enum cli_group group)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].group == group && s->children[i].state != CLI_CHILD_ENDED)
			return false;
	return true;
}

/* Goes down the groups as far as they have ended. */
static void stop_on(struct cli_supervise *s, uint64_t now_ms)
{
	for (;;) {
		for (size_t i = 0; i < s->n; i++)
			if (s->children[i].group == s->group)
				stop_child(s, i, now_ms);
		if (!group_ended(s, s->group))
			break;
		if (s->group == CLI_REDIS) {
			s->phase = CLI_DONE;
			act(s, CLI_END, 0);
			return;
		}
		s->group = (enum cli_group)(s->group - 1);
	}
	kill_late(s, now_ms);
}

void cli_supervise_stop(struct cli_supervise *s, uint64_t now_ms)
{
	if (s->phase == CLI_DONE)
		return;
	if (s->phase == CLI_STOPPING) {
		s->hurry = true;
	} else {
		s->phase = CLI_STOPPING;
		s->group = CLI_GATEWAYS;
		s->stop_at = now_ms;
	}
	stop_on(s, now_ms);
}

void cli_supervise_fail(struct cli_supervise *s, uint64_t now_ms)
{
	s->failed = true;
	if (s->phase == CLI_STARTING || s->phase == CLI_UP)
		cli_supervise_stop(s, now_ms);
}

/* ---- deaths and ticks ------------------------------------------------------ */

static void plan_restart(struct cli_child *c, bool voluntary, uint64_t now_ms, uint64_t chance)
{
	uint64_t lived_ms = now_ms - c->started_at;

	if (lived_ms >= CLI_HEALTHY_MS)
		c->failures = 0;
	if (!voluntary || lived_ms < CLI_VOLUNTARY_MS)
		c->failures++;
	c->due_at = now_ms + (voluntary && lived_ms >= CLI_VOLUNTARY_MS
					     ? 0
					     : cli_supervise_backoff(c->failures, chance));
}

void cli_supervise_died(
	struct cli_supervise *s, size_t child, bool voluntary, uint64_t now_ms, uint64_t chance)
{
	struct cli_child *c = &s->children[child];

	assert(child < s->n && is_alive(c));
	change(c, CLI_CHILD_EV_DIED);
	if (c->state == CLI_CHILD_WAITING)
		plan_restart(c, voluntary, now_ms, chance);
	if (s->phase == CLI_STARTING) {
		s->culprit = child;
		cli_supervise_fail(s, now_ms);
	} else {
		cli_supervise_tick(s, now_ms);
	}
}

void cli_supervise_tick(struct cli_supervise *s, uint64_t now_ms)
{
	if (s->phase == CLI_STOPPING) {
		stop_on(s, now_ms);
		return;
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].state == CLI_CHILD_WAITING && s->children[i].due_at <= now_ms)
			spawn(s, i, now_ms);
}

uint64_t cli_supervise_due(const struct cli_supervise *s)
{
	uint64_t due = NEVER;

	for (size_t i = 0; i < s->n; i++) {
		const struct cli_child *c = &s->children[i];
		uint64_t at = NEVER;

		if (s->phase == CLI_UP && c->state == CLI_CHILD_WAITING)
			at = c->due_at;
		else if (s->phase == CLI_STOPPING && is_alive(c) && !c->killed)
			at = kill_at(s, c->group);
		if (at < due)
			due = at;
	}
	return due;
}

bool cli_supervise_next(struct cli_supervise *s, struct cli_action *out)
{
	if (s->next_action == s->n_actions) {
		s->next_action = s->n_actions = 0;
		return false;
	}
	*out = s->actions[s->next_action++];
	return true;
}

int cli_supervise_status(const struct cli_supervise *s)
{
	return s->failed ? 1 : 0;
}

void cli_supervise_check(const struct cli_supervise *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct cli_child *c = &s->children[i];

		assert(c->state > CLI_CHILD_ILLEGAL && c->state < CLI_CHILD_STATE__N);
		assert(i == 0 || s->children[i - 1].group <= c->group);
		switch (s->phase) {
		case CLI_STARTING:
			assert((c->group <= s->group) == (c->state == CLI_CHILD_RUNNING));
			break;
		case CLI_UP:
			assert(c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_WAITING);
			break;
		case CLI_STOPPING:
			assert(c->group <= s->group || c->state == CLI_CHILD_ENDED);
			assert(!s->hurry || !is_alive(c) || c->killed);
			break;
		case CLI_DONE:
			assert(c->state == CLI_CHILD_ENDED);
			break;
		}
	}
}
