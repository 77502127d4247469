/* The timers of a manifest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/manifest.h"

void base_manifest_timer_fini(struct base_manifest_timer *timer)
{
	free(timer->name);
	free(timer->cron);
	free(timer->zone);
	free(timer->data);
	*timer = (struct base_manifest_timer){ 0 };
}

static size_t data_size(const struct base_manifest_timer *timer)
{
	return timer->data ? strlen(timer->data) : 0;
}

static enum base_err judge(const struct base_manifest *m, const struct base_manifest_timer *timer,
	char *why, size_t room)
{
	size_t data = data_size(timer);

	if (!timer->cron == !timer->every_ms) {
		(void)snprintf(why, room, "expected one of cron and every, got %s",
			timer->cron ? "both" : "neither");
		return BASE_INVALID;
	}
	if (timer->every_ms % 1000 != 0) {
		(void)snprintf(why, room, "every: expected whole seconds");
		return BASE_INVALID;
	}
	if (timer->every_ms && timer->zone) {
		(void)snprintf(why, room, "zone: expected cron with it, got every");
		return BASE_INVALID;
	}
	if (strncmp(timer->name, BASE_MANIFEST_LEASE, sizeof BASE_MANIFEST_LEASE - 1) == 0) {
		(void)snprintf(why, room, "name: expected none that begins with %s", BASE_MANIFEST_LEASE);
		return BASE_INVALID;
	}
	if (m->n_timers == BASE_MANIFEST_TIMERS_MAX) {
		(void)snprintf(why, room, "expected at most %d timers", BASE_MANIFEST_TIMERS_MAX);
		return BASE_FULL;
	}
	for (size_t i = 0; i < m->n_timers; i++) {
		data += data_size(&m->timers[i]);
		if (strcmp(m->timers[i].name, timer->name) != 0)
			continue;
		(void)snprintf(why, room, "there is another timer %s", timer->name);
		return BASE_EXISTS;
	}
	if (data <= BASE_MANIFEST_DATA_MAX)
		return BASE_OK;
	(void)snprintf(why, room, "data: expected at most %u bytes of all timers together, got %zu",
		BASE_MANIFEST_DATA_MAX, data);
	return BASE_FULL;
}

enum base_err base_manifest_add_timer(
	struct base_manifest *m, struct base_manifest_timer *timer, char *why, size_t why_room)
{
	struct base_manifest_timer *timers;
	enum base_err err = judge(m, timer, why, why_room);

	if (err)
		return err;
	/* room for the next power of two */
	if ((m->n_timers & (m->n_timers - 1)) == 0) {
		timers = realloc(m->timers, (m->n_timers ? m->n_timers * 2 : 1) * sizeof *timers);
		if (!timers) {
			(void)snprintf(why, why_room, "%s", base_err_text(BASE_NOMEM));
			return BASE_NOMEM;
		}
		m->timers = timers;
	}
	m->timers[m->n_timers++] = *timer;
	*timer = (struct base_manifest_timer){ 0 };
	return BASE_OK;
}
