/* Entries of somebody else's stream, of any bytes: what is made of them is JSON that stands for
 * the same fields, and a head that is an HttpRequest without a byte that no header may have.
 *
 * The input's fields end at 0xFE, names and values in turn.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"
#include "gateway/entry.h"
#include "proto/pirn.pb-c.h"

#define MOST 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t cut(const char *data, size_t size, struct gw_entry_field fields[MOST])
{
	size_t n = 0, at = 0, parts = 0;

	while (at < size && n < MOST) {
		const char *end = memchr(data + at, 0xFE, size - at);
		struct gw_slice part = { data + at,
			end ? (size_t)(end - data) - at : size - at };

		*(parts++ % 2 ? &fields[n].value : &fields[n].name) = part;
		n += parts % 2 == 0;
		at += part.size + 1;
	}
	return n;
}

/* One that is not the same as an earlier one. */
static bool is_first(const struct gw_entry_field *fields, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (gw_slice_equal(fields[k].name, fields[i].name))
			return false;
	return true;
}

static bool stands_for(const struct base_json *string, struct gw_slice text)
{
	struct base_buf out;
	bool same;

	base_buf_init(&out);
	base_json_unescape(string, &out);
	assert(base_buf_check(&out) == BASE_OK);
	same = out.size == text.size && (text.size == 0 || memcmp(out.data, text.data, text.size) == 0);
	base_buf_fini(&out);
	return same;
}

static void check_json(const struct gw_entry_field *fields, size_t n)
{
	struct base_buf out;
	struct base_json object, key, value;
	struct base_json_walk walk;
	const char *why;
	size_t at;

	base_buf_init(&out);
	gw_entry_json(&out, fields, n);
	assert(base_buf_check(&out) == BASE_OK);
	assert(base_json_check((const char *)out.data, out.size, 3, &object, &why, &at));
	assert(object.kind == BASE_JSON_OBJECT);
	walk = base_json_walk(&object);
	for (size_t i = 0; i < n; i++) {
		if (!is_first(fields, i))
			continue;
		assert(base_json_next(&walk, &key, &value));
		if (base_text_is_utf8(fields[i].name.data, fields[i].name.size))
			assert(stands_for(&key, fields[i].name));
		if (value.kind == BASE_JSON_STRING)
			assert(stands_for(&value, fields[i].value));
		else
			assert(value.kind == BASE_JSON_OBJECT || value.kind == BASE_JSON_ARRAY);
	}
	assert(!base_json_next(&walk, &key, &value));
	base_buf_fini(&out);
}

static void check_head(struct gw_slice bytes)
{
	struct gw_entry_head head = { .where = "h:1",
		.what = bytes,
		.type = "t.",
		.op = bytes,
		.id = "1-1",
		.subject = bytes };
	struct base_buf out;
	Pirn__HttpRequest *r;

	base_buf_init(&out);
	gw_entry_meta(&out, &head);
	r = pirn__http_request__unpack(NULL, out.size, out.data);
	assert(r);
	for (size_t i = 0; i < r->n_headers; i++)
		for (size_t k = 0; k < r->headers[i]->value.len; k++)
			assert(r->headers[i]->value.data[k] > ' ' && r->headers[i]->value.data[k] < 0x7F);
	for (size_t k = 0; k < r->target.len; k++)
		assert(r->target.data[k] > ' ' && r->target.data[k] < 0x7F);
	pirn__http_request__free_unpacked(r, NULL);
	base_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_entry_field fields[MOST];
	/* A copy that ends where it ends, so that one byte too far is seen. */
	char *copy = malloc(size ? size : 1);
	uint64_t ms;

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	check_json(fields, cut(copy, size, fields));
	check_head((struct gw_slice){ copy, size });
	if (gw_entry_is_id((struct gw_slice){ copy, size }, &ms))
		assert(size <= GW_ENTRY_ID && ms < 253402300800000u);
	free(copy);
	return 0;
}
