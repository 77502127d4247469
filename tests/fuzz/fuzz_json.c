/* JSON: what is taken can be walked to its ends without leaving it, its strings are UTF-8 when unescaped, and a
 * part of it is taken alone as well. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

#define DEPTH 64

static void walk(const struct base_json *json, unsigned depth)
{
	struct base_json key, value, again;
	struct base_json_walk w;
	struct base_buf buf;
	const char *why;
	size_t at;

	assert(depth <= DEPTH);
	assert(base_json_check(json->text, json->size, DEPTH, &again, &why, &at));
	assert(again.text == json->text && again.size == json->size && again.kind == json->kind);
	if (json->kind == BASE_JSON_STRING) {
		base_buf_init(&buf);
		base_json_unescape(json, &buf);
		assert(base_text_is_utf8(buf.data, buf.size));
		base_buf_fini(&buf);
	}
	if (json->kind != BASE_JSON_ARRAY && json->kind != BASE_JSON_OBJECT)
		return;
	w = base_json_walk(json);
	while (base_json_next(&w, &key, &value)) {
		assert(value.text > json->text && value.text + value.size < json->text + json->size);
		if (json->kind == BASE_JSON_OBJECT)
			assert(key.kind == BASE_JSON_STRING && key.text + key.size < value.text);
		walk(&value, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct base_json json;
	const char *why = NULL;
	size_t at = 0;

	assert(text);
	memcpy(text, data, size);
	if (size < 4096 && base_json_check(text, size, DEPTH, &json, &why, &at))
		walk(&json, 0);
	else
		assert(size >= 4096 || (why && at <= size));
	free(text);
	return 0;
}
