/* HTTP endpoints: any bytes as the meta of a run become a request whose lines cannot be
 * taken for two, or are refused; any text as an URL is taken apart, or refused with a sentence.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker/http_request.h"
#include "worker/http_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *line)
{
	assert(*line && *line != ':');
	assert(!strpbrk(line, "\r\n"));
	assert(strchr(line, ':') || line[strlen(line) - 1] == ';');
}

static void request(const uint8_t *data, size_t size)
{
	struct base_arena arena;
	struct wrk_http_request made;
	struct wrk_run run = { .meta_size = size, .flags = (uint32_t)size & 1 };

	base_arena_init(&arena, 1024, (size_t)1 << 20);
	base_buf_init(&run.in);
	base_buf_add(&run.in, data, size);
	if (wrk_http_request_make(&arena, &run, "svc", size & 2 ? "/hook?x=1" : NULL, &made) ==
		BASE_OK) {
		assert(made.target[0] == '/' && !strpbrk(made.target, " \r\n"));
		for (const struct curl_slist *at = made.headers; at; at = at->next)
			check_line(at->data);
	}
	base_buf_fini(&run.in);
	base_arena_fini(&arena);
}

static void url(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), why[256] = "";
	struct wrk_target t;

	if (!text)
		return;
	if (wrk_target_parse(text, &t, why, sizeof why) == BASE_OK) {
		assert(t.port > 0 && *t.host && !strpbrk(t.host, ",%* @/\r\n"));
		assert(!t.path || t.path[0] == '/');
		wrk_target_fini(&t);
	} else {
		assert(*why);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	url(data, size);
	request(data, size);
	return 0;
}
