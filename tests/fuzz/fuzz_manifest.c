/* The manifest reader on any bytes: it accepts a right manifest or tells one line;
 * what it accepts keeps the schema's promises.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cron.h"
#include "base/text.h"
#include "worker/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pairs(const struct base_manifest_pairs *pairs)
{
	assert(pairs->n <= BASE_MANIFEST_PAIRS_MAX);
	for (size_t i = 0; i < pairs->n; i++) {
		assert(base_manifest_pair_get(pairs, pairs->items[i].name) ==
			pairs->items[i].value);
		assert(base_text_is_utf8(pairs->items[i].value, strlen(pairs->items[i].value)));
	}
}

/* The next slot can be reckoned, and the data is JSON in one line. */
static void check_timer(const struct base_manifest_timer *t)
{
	struct base_cron cron = base_cron_every(t->every_ms / 1000);
	char why[WRK_YAML_WHY];

	assert(base_manifest_is_service(t->name) && !t->cron == (t->every_ms > 0));
	assert(t->cron || (t->every_ms % 1000 == 0 && !t->zone));
	if (t->cron) {
		bool is_cron = base_cron_parse(t->cron, &cron, why, sizeof why);

		assert(is_cron);
		(void)is_cron;
	}
	assert(base_cron_next(&cron, NULL, 1800000000) > 1800000000);
	if (!t->data)
		return;
	assert(strlen(t->data) <= BASE_MANIFEST_DATA_MAX && !strchr(t->data, '\n'));
	assert(base_text_is_utf8(t->data, strlen(t->data)));
}

static void check_manifest(const struct base_manifest *m)
{
	assert(base_manifest_is_service(m->service));
	assert(m->handler && (base_manifest_is_url(m->handler) ? !base_manifest_url_fault(m->handler)
							       : !strchr(m->handler, '/')));
	assert(!m->callback || !base_manifest_url_fault(m->callback));
	assert(m->n_subscriptions <= BASE_MANIFEST_SUBSCRIPTIONS_MAX);
	for (size_t i = 0; i < m->n_subscriptions; i++)
		assert(base_manifest_is_pattern(m->subscriptions[i].type));
	assert(m->timeout_ms >= 1 && m->concurrency >= 1);
	assert(m->retry.attempts >= 1 && m->retry.base_ms <= m->retry.max_ms);
	assert(m->breaker.failure_percent >= 1 && m->breaker.failure_percent <= 100);
	assert(m->n_routes <= BASE_MANIFEST_ROUTES_MAX);
	for (size_t i = 0; i < m->n_routes; i++) {
		enum base_err err = base_manifest_path_check(m->routes[i].path, NULL, 0);
		assert(err == BASE_OK);
		(void)err;
		assert(base_manifest_is_method(m->routes[i].method));
	}
	assert(m->n_sources <= BASE_MANIFEST_SOURCES_MAX);
	for (size_t i = 0; i < m->n_sources; i++) {
		const struct base_manifest_source *s = &m->sources[i];
		assert(base_manifest_is_service(s->name) && !s->stream != !s->keys);
		assert(!strchr(s->url, '@') && base_manifest_url_check(s->url, NULL, 0) == BASE_OK);
		assert(s->keys ? s->ops.n > 0 && s->ops.n <= BASE_MANIFEST_OPS_MAX : s->ops.n == 0);
	}
	assert(m->n_timers <= BASE_MANIFEST_TIMERS_MAX);
	for (size_t i = 0; i < m->n_timers; i++)
		check_timer(&m->timers[i]);
	check_pairs(&m->env);
	check_pairs(&m->secrets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct base_manifest *m = NULL;
	char why[WRK_YAML_WHY] = "";
	enum base_err err =
		wrk_yaml_read("service.yaml", (const char *)data, size, &m, why, sizeof why);

	if (err == BASE_OK) {
		check_manifest(m);
	} else {
		assert(!m);
		assert(strncmp(why, "service.yaml:", 13) == 0);
		assert(strchr(why, '\n') == NULL);
		assert(base_text_is_utf8(why, strlen(why)));
	}
	base_manifest_free(&m);
	return 0;
}
