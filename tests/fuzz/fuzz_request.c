/* A request's meta of any bytes: what is read by hand is what protobuf-c reads, and its texts end. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker/request_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct base_arena arena;

static void check_text(const ProtobufCBinaryData *text)
{
	assert(text->data && text->data[text->len] == '\0');
}

static void compare(const Pirn__HttpRequest *ours, const uint8_t *data, size_t size)
{
	Pirn__HttpRequest *theirs = pirn__http_request__unpack(NULL, size, data);
	size_t packed = pirn__http_request__get_packed_size(ours);
	uint8_t *a = malloc(packed), *b = malloc(packed);

	assert(theirs && a && b);
	assert(pirn__http_request__get_packed_size(theirs) == packed);
	pirn__http_request__pack(ours, a);
	pirn__http_request__pack(theirs, b);
	assert(memcmp(a, b, packed) == 0);
	free(a);
	free(b);
	pirn__http_request__free_unpacked(theirs, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const Pirn__HttpRequest *request;

	if (!arena.max_bytes)
		base_arena_init(&arena, 16384, (size_t)8 * 1024 * 1024);
	base_arena_reset(&arena);
	request = wrk_request_read(&arena, data, size);
	if (!request)
		return 0;
	check_text(&request->method);
	check_text(&request->target);
	for (size_t i = 0; i < request->n_headers; i++) {
		check_text(&request->headers[i]->name);
		check_text(&request->headers[i]->value);
	}
	compare(request, data, size);
	return 0;
}
