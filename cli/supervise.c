#include "cli/supervise.h"

#include <assert.h>
#include <string.h>

#include "cli/supervise_parts.h"

#define NEVER UINT64_MAX

static const uint8_t next_state[CLI_CHILD_STATE__N][CLI_CHILD_EV__N] = {
#define X(from, event, to) [CLI_CHILD_##from][CLI_CHILD_EV_##event] = CLI_CHILD_##to,
	CLI_CHILD_EDGES(X)
#undef X
};

void cli_supervise_change(struct cli_supervise *s, size_t child, enum cli_child_event event)
{
	struct cli_child *c = &s->children[child];
	enum cli_child_state to = (enum cli_child_state)next_state[c->state][event];

	assert(to != CLI_CHILD_ILLEGAL);
	s->walked[c->state] |= 1u << event;
	c->state = to;
}

void cli_supervise_act(struct cli_supervise *s, enum cli_action_kind kind, size_t child)
{
	assert(s->n_actions < sizeof s->actions / sizeof s->actions[0]);
	s->actions[s->n_actions++] = (struct cli_action){ .kind = kind, .child = child };
}

void cli_supervise_swap(struct cli_supervise *s, size_t place, size_t aside)
{
	cli_supervise_act(s, CLI_SWAP, place);
	s->actions[s->n_actions - 1].other = aside;
}

static bool is_alive(const struct cli_child *c)
{
	return c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_ENDING ||
	       c->state == CLI_CHILD_STOPPING || c->state == CLI_CHILD_COMING ||
	       c->state == CLI_CHILD_LEAVING;
}

/* Places first, then asides; in a for loop: i = 0; i < CLI_PROCESSES_MAX; i = following(s, i). */
static size_t following(const struct cli_supervise *s, size_t i)
{
	return i + 1 == s->n ? CLI_CHILDREN_MAX : i + 1;
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

uint64_t cli_supervise_patience(
	const struct cli_supervise *s, enum cli_group group, uint64_t now_ms)
{
	return now_ms + cli_supervise_share(s->drain_ms, group) + CLI_LEAVE_MS;
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
	s->restart.aside = CLI_NOWHERE;
	for (enum cli_group g = CLI_REDIS; g < CLI_GROUP__N; g++)
		for (unsigned i = 0; i < counts[g]; i++) {
			assert(s->n < CLI_CHILDREN_MAX);
			s->children[s->n++] = (struct cli_child){
				.group = g, .index = i, .state = CLI_CHILD_IDLE
			};
		}
	for (size_t i = CLI_CHILDREN_MAX; i < CLI_PROCESSES_MAX; i++)
		s->children[i].state = CLI_CHILD_IDLE;
}

/* ---- starting -------------------------------------------------------------- */

static void spawn(struct cli_supervise *s, size_t i, uint64_t now_ms)
{
	struct cli_child *c = &s->children[i];

	cli_supervise_change(s, i, CLI_CHILD_EV_SPAWN);
	c->started_at = now_ms;
	c->due_at = c->kill_at = 0;
	c->ready = c->old = c->killed = false;
	cli_supervise_act(s, CLI_SPAWN, i);
	cli_restart_spawned(s, i, now_ms);
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
	cli_supervise_act(s, CLI_READY, 0);
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

static void spawn_due(struct cli_supervise *s, uint64_t now_ms)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].state == CLI_CHILD_WAITING && s->children[i].due_at <= now_ms)
			spawn(s, i, now_ms);
}

/* ---- stopping ------------------------------------------------------------- */

/* When its patience is over; NEVER: it is not to end. */
static uint64_t kill_at(const struct cli_supervise *s, const struct cli_child *c)
{
	bool leaves = c->state == CLI_CHILD_ENDING || c->state == CLI_CHILD_LEAVING ||
		      c->state == CLI_CHILD_STOPPING;
	uint64_t at = leaves && c->kill_at ? c->kill_at : NEVER;
	uint64_t end = s->stop_at + cli_supervise_share(s->drain_ms, c->group);

	if (s->phase != CLI_STOPPING)
		return at;
	return s->hurry ? 0 : at < end ? at : end;
}

static void stop_child(struct cli_supervise *s, size_t i, uint64_t now_ms)
{
	const struct cli_child *c = &s->children[i];
	bool to_tell = c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_COMING;

	if (cli_child_is_aside(i) ? c->state == CLI_CHILD_COMING
				  : c->state != CLI_CHILD_STOPPING && c->state != CLI_CHILD_ENDED)
		cli_supervise_change(s, i, CLI_CHILD_EV_STOP);
	if (to_tell && now_ms < kill_at(s, c))
		cli_supervise_act(s, CLI_TERM, i);
}

static void kill_late(struct cli_supervise *s, uint64_t now_ms)
{
	for (size_t i = 0; i < CLI_PROCESSES_MAX; i = following(s, i)) {
		struct cli_child *c = &s->children[i];

		if (!is_alive(c) || c->killed || now_ms < kill_at(s, c))
			continue;
		if (c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_COMING)
			cli_supervise_change(s, i, CLI_CHILD_EV_STOP);
		c->killed = true;
		cli_supervise_act(s, CLI_KILL, i);
	}
}

static bool group_ended(const struct cli_supervise *s, enum cli_group group)
{
	for (size_t i = 0; i < CLI_PROCESSES_MAX; i = following(s, i)) {
		enum cli_child_state end = cli_child_is_aside(i) ? CLI_CHILD_IDLE : CLI_CHILD_ENDED;

		if (s->children[i].group == group && s->children[i].state != end)
			return false;
	}
	return true;
}

/* Goes down the groups as far as they have ended. */
static void stop_on(struct cli_supervise *s, uint64_t now_ms)
{
	for (;;) {
		for (size_t i = 0; i < CLI_PROCESSES_MAX; i = following(s, i))
			if (s->children[i].group == s->group)
				stop_child(s, i, now_ms);
		if (!group_ended(s, s->group))
			break;
		if (s->group == CLI_REDIS) {
			s->phase = CLI_DONE;
			cli_supervise_act(s, CLI_END, 0);
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
		cli_restart_fail(s, CLI_FAILURE_STOPPED, now_ms);
	}
	stop_on(s, now_ms);
}

void cli_supervise_fail(struct cli_supervise *s, uint64_t now_ms)
{
	s->failed = true;
	if (s->phase == CLI_STARTING || s->phase == CLI_UP)
		cli_supervise_stop(s, now_ms);
}

/* ---- leaving ---------------------------------------------------------------- */

size_t cli_supervise_free_aside(const struct cli_supervise *s)
{
	for (size_t i = CLI_CHILDREN_MAX; i < CLI_PROCESSES_MAX; i++)
		if (s->children[i].state == CLI_CHILD_IDLE)
			return i;
	return CLI_NOWHERE;
}

void cli_supervise_take_aside(struct cli_supervise *s, size_t aside, size_t place)
{
	struct cli_child *a = &s->children[aside];
	const struct cli_child *c = &s->children[place];

	assert(a->state == CLI_CHILD_IDLE);
	*a = (struct cli_child){
		.group = c->group, .index = c->index, .place = place, .state = CLI_CHILD_IDLE
	};
}

static void move_aside(
	struct cli_supervise *s, size_t place, size_t aside, uint64_t now_ms, uint64_t chance)
{
	struct cli_child *c = &s->children[place];

	cli_supervise_take_aside(s, aside, place);
	cli_supervise_change(s, aside, CLI_CHILD_EV_TAKE);
	s->children[aside].kill_at = cli_supervise_patience(s, c->group, now_ms);
	s->children[aside].started_at = c->started_at;
	cli_supervise_swap(s, place, aside);
	cli_supervise_change(s, place, CLI_CHILD_EV_LEAVE);
	if (now_ms - c->started_at >= CLI_HEALTHY_MS)
		c->failures = 0;
	else if (now_ms - c->started_at < CLI_VOLUNTARY_MS)
		c->failures++;
	c->due_at = now_ms + cli_supervise_backoff(c->failures, chance);
}

void cli_supervise_leaves(struct cli_supervise *s, size_t child, uint64_t now_ms, uint64_t chance)
{
	struct cli_child *c = &s->children[child];
	size_t aside = cli_supervise_free_aside(s);
	size_t coming = cli_restart_coming(s, child);

	if (c->state != CLI_CHILD_RUNNING || (s->phase != CLI_UP && s->phase != CLI_STOPPING))
		return;
	if (coming != CLI_NOWHERE) {
		cli_restart_exchange(s, coming, now_ms);
	} else if (s->phase == CLI_UP && cli_supervise_overlaps(c->group) && aside != CLI_NOWHERE) {
		move_aside(s, child, aside, now_ms, chance);
	} else {
		cli_supervise_change(s, child, CLI_CHILD_EV_END);
		c->kill_at = cli_supervise_patience(s, c->group, now_ms);
	}
	cli_supervise_tick(s, now_ms);
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

static void aside_died(struct cli_supervise *s, size_t child, bool voluntary, uint64_t now_ms)
{
	bool awaited = cli_restart_awaits(s, child);
	bool left = s->children[child].state == CLI_CHILD_LEAVING;

	cli_supervise_change(s, child, CLI_CHILD_EV_DIED);
	if (left && !voluntary)
		s->children[s->children[child].place].failures++;
	if (awaited)
		cli_restart_fail(s, CLI_FAILURE_DIED, now_ms);
}

/* Its next is there already, and fills its place. */
static void fill(struct cli_supervise *s, size_t place, size_t aside)
{
	struct cli_child *c = &s->children[place];

	cli_supervise_change(s, aside, CLI_CHILD_EV_FILL);
	cli_supervise_change(s, place, CLI_CHILD_EV_SPAWN);
	c->started_at = s->children[aside].started_at;
	c->due_at = c->kill_at = 0;
	c->ready = c->old = c->killed = false;
	cli_supervise_swap(s, place, aside);
}

static void place_died(
	struct cli_supervise *s, size_t child, bool voluntary, uint64_t now_ms, uint64_t chance)
{
	struct cli_child *c = &s->children[child];
	bool awaited = cli_restart_awaits(s, child);
	bool planned = c->state == CLI_CHILD_ENDING && cli_restart_is_old(s, child);
	size_t coming = cli_restart_coming(s, child);

	cli_supervise_change(s, child, CLI_CHILD_EV_DIED);
	if (c->state == CLI_CHILD_WAITING)
		plan_restart(c, voluntary, now_ms, chance);
	if (planned)
		c->due_at = now_ms;
	if (coming != CLI_NOWHERE)
		fill(s, child, coming);
	if (awaited)
		cli_restart_fail(s, CLI_FAILURE_DIED, now_ms);
}

void cli_supervise_died(
	struct cli_supervise *s, size_t child, bool voluntary, uint64_t now_ms, uint64_t chance)
{
	assert(is_alive(&s->children[child]));
	if (cli_child_is_aside(child))
		aside_died(s, child, voluntary, now_ms);
	else
		place_died(s, child, voluntary, now_ms, chance);
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
	spawn_due(s, now_ms);
	kill_late(s, now_ms);
	cli_restart_go_on(s, now_ms);
}

uint64_t cli_supervise_due(const struct cli_supervise *s)
{
	uint64_t due = s->restart.on && s->restart.late_at ? s->restart.late_at : NEVER;

	for (size_t i = 0; i < CLI_PROCESSES_MAX; i = following(s, i)) {
		const struct cli_child *c = &s->children[i];
		uint64_t at = NEVER;

		if (s->phase == CLI_UP && c->state == CLI_CHILD_WAITING)
			at = c->due_at;
		else if (is_alive(c) && !c->killed)
			at = kill_at(s, c);
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

/* ---- invariants -------------------------------------------------------------- */

static void check_place(const struct cli_supervise *s, const struct cli_child *c)
{
	assert(c->state > CLI_CHILD_ILLEGAL && c->state < CLI_CHILD_COMING);
	switch (s->phase) {
	case CLI_STARTING:
		assert((c->group <= s->group) == (c->state == CLI_CHILD_RUNNING));
		break;
	case CLI_UP:
		assert(c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_WAITING ||
			c->state == CLI_CHILD_ENDING);
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

static void check_aside(const struct cli_supervise *s, size_t i)
{
	const struct cli_child *c = &s->children[i];

	assert(c->state == CLI_CHILD_IDLE || c->state == CLI_CHILD_COMING ||
		c->state == CLI_CHILD_LEAVING);
	if (c->state == CLI_CHILD_IDLE)
		return;
	assert(s->phase == CLI_UP || s->phase == CLI_STOPPING);
	assert(c->place < s->n && s->children[c->place].group == c->group);
	assert(cli_supervise_overlaps(c->group));
	assert(s->phase == CLI_UP || c->group <= s->group);
	assert(!s->hurry || c->killed);
	assert(c->state == CLI_CHILD_LEAVING || cli_restart_coming(s, c->place) == i ||
		s->phase == CLI_STOPPING);
}

void cli_supervise_check(const struct cli_supervise *s)
{
	for (size_t i = 0; i < s->n; i++) {
		assert(i == 0 || s->children[i - 1].group <= s->children[i].group);
		check_place(s, &s->children[i]);
	}
	for (size_t i = CLI_CHILDREN_MAX; i < CLI_PROCESSES_MAX; i++)
		check_aside(s, i);
	assert(!s->restart.on || s->phase == CLI_UP);
}
