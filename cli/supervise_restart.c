#include <assert.h>
#include <string.h>

#include "cli/supervise_parts.h"

static bool has_turn(const struct cli_supervise *s, size_t place)
{
	return s->restart.on && s->restart.begun && s->restart.at == place;
}

size_t cli_restart_coming(const struct cli_supervise *s, size_t place)
{
	size_t aside = s->restart.aside;

	if (!has_turn(s, place) || aside == CLI_NOWHERE)
		return CLI_NOWHERE;
	return s->children[aside].state == CLI_CHILD_COMING ? aside : CLI_NOWHERE;
}

bool cli_restart_is_old(const struct cli_supervise *s, size_t place)
{
	return has_turn(s, place) && s->children[place].old;
}

bool cli_restart_awaits(const struct cli_supervise *s, size_t child)
{
	const struct cli_child *c = &s->children[child];

	if (cli_child_is_aside(child))
		return c->state == CLI_CHILD_COMING && cli_restart_coming(s, c->place) == child;
	return has_turn(s, child) && !c->old && !c->ready && c->state == CLI_CHILD_RUNNING;
}

void cli_restart_spawned(struct cli_supervise *s, size_t place, uint64_t now_ms)
{
	if (has_turn(s, place))
		s->restart.late_at = now_ms + CLI_READY_MS;
}

void cli_restart_exchange(struct cli_supervise *s, size_t aside, uint64_t now_ms)
{
	struct cli_child *a = &s->children[aside];
	struct cli_child *c = &s->children[a->place];
	uint64_t started_at = a->started_at;

	assert(c->state == CLI_CHILD_RUNNING);
	cli_supervise_change(s, aside, CLI_CHILD_EV_TAKE);
	a->kill_at = cli_supervise_patience(s, c->group, now_ms);
	a->started_at = c->started_at;
	c->started_at = started_at;
	c->ready = a->ready;
	c->old = false;
	cli_supervise_swap(s, a->place, aside);
}

/* ---- one child's turn --------------------------------------------------------- */

static void come(struct cli_supervise *s, size_t place, size_t aside, uint64_t now_ms)
{
	cli_supervise_take_aside(s, aside, place);
	cli_supervise_change(s, aside, CLI_CHILD_EV_COME);
	s->children[aside].started_at = now_ms;
	s->restart.aside = aside;
	s->restart.late_at = now_ms + CLI_READY_MS;
	cli_supervise_act(s, CLI_SPAWN, aside);
}

/* False: there is no aside now; the end of somebody who leaves asks again. */
static bool begin(struct cli_supervise *s, uint64_t now_ms)
{
	struct cli_restart *r = &s->restart;
	struct cli_child *c = &s->children[r->at];
	size_t aside = cli_supervise_free_aside(s);

	if (c->state == CLI_CHILD_RUNNING && cli_supervise_overlaps(c->group) &&
		aside == CLI_NOWHERE)
		return false;
	r->begun = true;
	r->aside = CLI_NOWHERE;
	r->late_at = 0;
	c->old = c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_ENDING;
	if (c->state != CLI_CHILD_RUNNING)
		return true;
	if (cli_supervise_overlaps(c->group)) {
		come(s, r->at, aside, now_ms);
		return true;
	}
	cli_supervise_change(s, r->at, CLI_CHILD_EV_END);
	c->kill_at = cli_supervise_patience(s, c->group, now_ms);
	cli_supervise_act(s, CLI_TERM, r->at);
	return true;
}

/* A new process is there and ready; the one before may still be leaving. */
static bool is_filled(const struct cli_supervise *s)
{
	const struct cli_child *c = &s->children[s->restart.at];

	return c->state == CLI_CHILD_RUNNING && !c->old && c->ready;
}

static bool has_left(const struct cli_supervise *s)
{
	size_t aside = s->restart.aside;

	return aside == CLI_NOWHERE || s->children[aside].state == CLI_CHILD_IDLE ||
	       s->children[aside].place != s->restart.at;
}

/* ---- all of them ---------------------------------------------------------------- */

static void next(struct cli_supervise *s)
{
	s->restart.at++;
	s->restart.begun = false;
	s->restart.aside = CLI_NOWHERE;
	s->restart.late_at = 0;
}

/* False: for now there is nothing to do. */
static bool step(struct cli_supervise *s, uint64_t now_ms)
{
	struct cli_restart *r = &s->restart;

	if (r->at == s->n) {
		r->on = false;
		cli_supervise_act(s, CLI_RESTARTED, 0);
		return false;
	}
	if (!r->groups[s->children[r->at].group]) {
		next(s);
		return true;
	}
	if (!r->begun && !begin(s, now_ms))
		return false;
	if (is_filled(s)) {
		r->late_at = 0;
		if (!has_left(s))
			return false;
		cli_supervise_act(s, CLI_REPLACED, r->at);
		next(s);
		return true;
	}
	if (r->late_at && now_ms >= r->late_at)
		cli_restart_fail(s, CLI_FAILURE_LATE, now_ms);
	return false;
}

void cli_restart_go_on(struct cli_supervise *s, uint64_t now_ms)
{
	while (s->restart.on && step(s, now_ms))
		;
}

void cli_restart_fail(struct cli_supervise *s, enum cli_failure why, uint64_t now_ms)
{
	struct cli_restart *r = &s->restart;
	size_t coming = r->on && r->begun ? cli_restart_coming(s, r->at) : CLI_NOWHERE;

	if (!r->on)
		return;
	r->on = false;
	r->failure = why;
	cli_supervise_act(s, CLI_NOT_RESTARTED, r->at);
	if (coming == CLI_NOWHERE || s->phase != CLI_UP)
		return;
	cli_supervise_change(s, coming, CLI_CHILD_EV_STOP);
	s->children[coming].kill_at = cli_supervise_patience(s, s->children[coming].group, now_ms);
	cli_supervise_act(s, CLI_TERM, coming);
}

bool cli_supervise_restart(
	struct cli_supervise *s, const bool groups[CLI_GROUP__N], uint64_t now_ms)
{
	struct cli_restart *r = &s->restart;

	if (s->phase != CLI_UP || r->on)
		return false;
	*r = (struct cli_restart){ .on = true, .aside = CLI_NOWHERE };
	memcpy(r->groups, groups, sizeof r->groups);
	r->groups[CLI_REDIS] = false;
	cli_restart_go_on(s, now_ms);
	return true;
}

void cli_supervise_is_ready(struct cli_supervise *s, size_t child, uint64_t now_ms)
{
	struct cli_child *c = &s->children[child];

	if (c->state != CLI_CHILD_RUNNING && c->state != CLI_CHILD_COMING)
		return;
	c->ready = true;
	if (cli_restart_coming(s, cli_child_place(s, child)) == child &&
		s->children[c->place].state == CLI_CHILD_RUNNING) {
		cli_restart_exchange(s, child, now_ms);
		cli_supervise_act(s, CLI_TERM, child);
	}
	cli_supervise_tick(s, now_ms);
}
