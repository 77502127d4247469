/* The manifest reader on any bytes: it accepts a right manifest or tells one line;
 * what it accepts keeps the schema's promises.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

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

static void check_manifest(const struct base_manifest *m)
{
	assert(base_manifest_is_service(m->service));
	assert(m->handler && !strchr(m->handler, '/'));
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
