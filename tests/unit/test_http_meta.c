/* The packer and the reader of a call's meta, held against protobuf-c. */
#include "unit.h"

#include <stdlib.h>

#include "base/rand.h"
#include "gateway/meta.h"
#include "proto/pirn.pb-c.h"

static bool holds(ProtobufCBinaryData data, struct gw_slice s)
{
	return gw_slice_equal((struct gw_slice){ (const char *)data.data, data.len }, s);
}

static void protobuf_c_reads_what_is_packed(void **state)
{
	struct base_buf b;
	Pirn__HttpRequest *r;
	char large[300];

	(void)state;
	memset(large, 'v', sizeof large); /* lengths of two bytes, inside and out */
	base_buf_init(&b);
	gw_meta_method(&b, GW_SLICE("POST"));
	gw_meta_target(&b, GW_SLICE("/a?b"));
	gw_meta_header(&b, GW_SLICE("Name"), (struct gw_slice){ large, sizeof large });
	gw_meta_header(&b, GW_SLICE("Empty"), GW_SLICE(""));
	gw_meta_remote(&b, GW_SLICE("192.0.2.1"));
	gw_meta_param(&b, GW_SLICE("id"), GW_SLICE("7"));
	r = pirn__http_request__unpack(NULL, b.size, b.data);
	assert_non_null(r);
	assert_true(holds(r->method, GW_SLICE("POST")));
	assert_true(holds(r->target, GW_SLICE("/a?b")));
	assert_int_equal(r->n_headers, 2);
	assert_true(holds(r->headers[0]->name, GW_SLICE("Name")));
	assert_true(holds(r->headers[0]->value, (struct gw_slice){ large, sizeof large }));
	assert_true(holds(r->headers[1]->value, GW_SLICE("")));
	assert_true(r->has_remote);
	assert_true(holds(r->remote, GW_SLICE("192.0.2.1")));
	assert_int_equal(r->n_params, 1);
	assert_true(holds(r->params[0]->name, GW_SLICE("id")));
	assert_true(holds(r->params[0]->value, GW_SLICE("7")));
	pirn__http_request__free_unpacked(r, NULL);
	base_buf_fini(&b);
}

static void what_protobuf_c_packs_is_read(void **state)
{
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header headers[2] = { PIRN__HEADER__INIT, PIRN__HEADER__INIT },
		     *list[2] = { &headers[0], &headers[1] };
	uint8_t bytes[256];
	struct gw_meta_reader reader = { bytes, bytes };
	struct gw_slice name, value;

	(void)state;
	headers[0].name = (ProtobufCBinaryData){ 1, (uint8_t *)(uintptr_t) "a" };
	headers[0].value = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "b\0c" };
	headers[1].name = (ProtobufCBinaryData){ 2, (uint8_t *)(uintptr_t) "cd" };
	headers[1].value = (ProtobufCBinaryData){ 0, NULL };
	response.n_headers = 2;
	response.headers = list;
	reader.end += pirn__http_response__pack(&response, bytes);
	assert_int_equal(gw_meta_next(&reader, &name, &value), 1);
	assert_true(gw_slice_equal(name, GW_SLICE("a")));
	assert_true(gw_slice_equal(value, (struct gw_slice){ "b\0c", 3 }));
	assert_int_equal(gw_meta_next(&reader, &name, &value), 1);
	assert_true(gw_slice_equal(name, GW_SLICE("cd")));
	assert_int_equal(value.size, 0);
	assert_int_equal(gw_meta_next(&reader, &name, &value), 0);
}

static int read_all(const void *bytes, size_t size)
{
	struct gw_meta_reader reader = { bytes, (const uint8_t *)bytes + size };
	struct gw_slice name, value;
	int found, n = 0;

	while ((found = gw_meta_next(&reader, &name, &value)) > 0)
		n++;
	return found < 0 ? -1 : n;
}

static void broken_bytes_are_refused_and_unknown_fields_skipped(void **state)
{
	(void)state;
	assert_int_equal(read_all("", 0), 0);
	assert_int_equal(read_all("\x0a\x06\x0a\x01" "a\x12\x01" "b", 8), 1);
	assert_int_equal(read_all("\x0a\x07\x0a\x01"
				  "a\x12\x01"
				  "b",
				 8),
		-1); /* longer than there is */
	assert_int_equal(read_all("\x0a\x03\x0a\x01" "a", 5), -1);                 /* no value */
	assert_int_equal(read_all("\x0a\x06\x0a\x01"
				  "a\x12\x02"
				  "b",
				 8),
		-1);                                   /* the value runs out */
	assert_int_equal(read_all("\x08\x01", 2), -1); /* another wire type */
	assert_int_equal(read_all("\x00\x01", 2), -1);                            /* field 0 */
	assert_int_equal(read_all("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11), -1);
	assert_int_equal(read_all("\x10\x05\x1a\x01z\x25" "abcd\x29" "abcdefgh", 19), 0);
	assert_int_equal(read_all("\x25" "abc", 4), -1);
}

/* Whatever both take, both take alike. */
static void agrees_with_protobuf_c_on_random_changes(void **state)
{
	static const uint8_t seed[] = "\x0a\x06\x0a\x01"
				      "a\x12\x01"
				      "b\x10\x05\x0a\x08\x0a\x02"
				      "cd\x12\x02"
				      "ef";
	struct base_rand rand;

	(void)state;
	base_rand_init(&rand, 3);
	for (int i = 0; i < 200000; i++) {
		uint8_t bytes[sizeof seed - 1];
		Pirn__HttpResponse *r;
		int n;
		memcpy(bytes, seed, sizeof bytes);
		for (uint64_t k = base_rand_below(&rand, 4); k-- > 0;)
			bytes[base_rand_below(&rand, sizeof bytes)] =
				(uint8_t)base_rand_below(&rand, 40);
		n = read_all(bytes, sizeof bytes);
		r = n >= 0 ? pirn__http_response__unpack(NULL, sizeof bytes, bytes) : NULL;
		if (r) {
			assert_int_equal(r->n_headers, n);
			pirn__http_response__free_unpacked(r, NULL);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protobuf_c_reads_what_is_packed),
		cmocka_unit_test(what_protobuf_c_packs_is_read),
		cmocka_unit_test(broken_bytes_are_refused_and_unknown_fields_skipped),
		cmocka_unit_test(agrees_with_protobuf_c_on_random_changes),
	};

	return cmocka_run_group_tests_name("http_meta", tests, NULL, NULL);
}
