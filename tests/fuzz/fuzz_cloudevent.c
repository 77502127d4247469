/* CloudEvents: the first byte chooses the mode; what is taken keeps its own rules, and comes back the same
 * from the headers that a service gets. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/cloudevent.h"
#include "gateway/meta.h"
#include "proto/pirn.pb-c.h"

#define HEADERS_MAX 80

static struct base_arena arena;

static void expect_same(const struct gw_ce *ce)
{
	static struct gw_header headers[HEADERS_MAX];
	char why[GW_CE_WHY];
	Pirn__HttpRequest *request;
	struct base_buf meta;
	struct gw_ce again;

	base_buf_init(&meta);
	gw_meta_method(&meta, GW_SLICE("POST"));
	gw_meta_target(&meta, GW_SLICE("/"));
	gw_ce_pack(ce, &meta);
	request = pirn__http_request__unpack(NULL, meta.size, meta.data);
	assert(request && request->n_headers <= HEADERS_MAX);
	for (size_t i = 0; i < request->n_headers; i++) {
		const Pirn__Header *h = request->headers[i];

		headers[i].name = (struct gw_slice){ (char *)h->name.data, h->name.len };
		headers[i].value = (struct gw_slice){ (char *)h->value.data, h->value.len };
	}
	assert(gw_ce_binary(headers, request->n_headers, ce->data, &arena, &again, why));
	assert(again.n_attributes == ce->n_attributes);
	for (size_t i = 0; i < ce->n_attributes; i++) {
		assert(gw_slice_equal(again.attributes[i].name, ce->attributes[i].name));
		assert(gw_slice_equal(again.attributes[i].value, ce->attributes[i].value));
	}
	assert(ce->id.size > 0 && ce->source.size > 0 && ce->type.size > 0);
	pirn__http_request__free_unpacked(request, NULL);
	base_buf_fini(&meta);
}

/* Lines "name: value", then an empty one and the body. */
static bool binary(struct gw_slice in, struct gw_ce *ce, char why[GW_CE_WHY])
{
	static struct gw_header headers[HEADERS_MAX];
	size_t n = 0;

	while (n < HEADERS_MAX && in.size > 0) {
		const char *end = memchr(in.data, '\n', in.size);
		size_t size = end ? (size_t)(end - in.data) : in.size;
		const char *colon = memchr(in.data, ':', size);

		if (!colon)
			break;
		headers[n].name = (struct gw_slice){ in.data, (size_t)(colon - in.data) };
		headers[n++].value = (struct gw_slice){ colon + 1, size - (size_t)(colon + 1 - in.data) };
		size += end != NULL;
		in = (struct gw_slice){ in.data + size, in.size - size };
	}
	return gw_ce_binary(headers, n, in, &arena, ce, why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[GW_CE_WHY] = "", *text;
	struct gw_slice in;
	struct gw_ce ce, *list;
	size_t n;

	if (size == 0 || size > 16384)
		return 0;
	base_arena_init(&arena, 4096, 1u << 20);
	text = malloc(size);
	assert(text);
	memcpy(text, data + 1, size - 1);
	in = (struct gw_slice){ text, size - 1 };
	if (data[0] % 3 == 0) {
		if (binary(in, &ce, why))
			expect_same(&ce);
	} else if (data[0] % 3 == 1) {
		if (gw_ce_structured(in, &arena, &ce, why))
			expect_same(&ce);
	} else if (gw_ce_batch(in, 16, &arena, &list, &n, why)) {
		for (size_t i = 0; i < n; i++)
			expect_same(&list[i]);
	}
	(void)gw_ce_mode(in);
	free(text);
	base_arena_fini(&arena);
	return 0;
}
