/* worker/native.c: a service's life, and what becomes of each way a handler can end.
 * The service is linked into this program; loading shared objects is tested with a
 * real worker, in test_session_worker.c.
 */
#include "tests/unit/unit.h"

#include <elf.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/elf.h"
#include "worker/request.h"

#define MAX_RESPONSE 1000

static struct {
	int (*handler)(struct pirn_request *, struct pirn_response *);
	int init_result;
	unsigned inits, finis, runs;
	char seen[64];
} told;

static int handler(struct pirn_request *req, struct pirn_response *res)
{
	told.runs++;
	return told.handler(req, res);
}

static int init(void)
{
	told.inits++;
	snprintf(told.seen, sizeof told.seen, "%s", pirn_env("GREETING") ? pirn_env("GREETING") : "-");
	pirn_log(PIRN_DEBUG, "in init");
	return told.init_result;
}

static void fini(void)
{
	told.finis++;
}

static const struct pirn_service service = { PIRN_SERVICE_ABI, sizeof service, handler, init, fini };

struct fixture {
	struct base_manifest *manifest;
	struct wrk_native *native;
	struct wrk_thread *thread;
	struct wrk_run run;
	char why[WRK_NATIVE_WHY];
};

static enum base_err adopt(struct fixture *f, const struct pirn_service *from)
{
	return wrk_native_adopt(".", f->manifest, from, MAX_RESPONSE, &f->native, f->why, sizeof f->why);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char why[128];

	memset(&told, 0, sizeof told);
	f->manifest = base_manifest_new();
	f->manifest->service = strdup("test");
	f->manifest->handler = strdup("test.so");
	assert_int_equal(base_manifest_add_pair(&f->manifest->env, "GREETING", "good day", why, sizeof why), BASE_OK);
	f->thread = wrk_thread_new(NULL, NULL);
	base_buf_init(&f->run.in);
	base_buf_init(&f->run.meta);
	base_buf_init(&f->run.body);
	base_buf_init(&f->run.emits);
	f->run.attempt = 1;
	f->run.id[0] = 1;
	f->run.deadline_us = base_clock_us() + UINT64_C(3600000000);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wrk_native_free(&f->native);
	wrk_thread_free(&f->thread);
	base_manifest_free(&f->manifest);
	base_buf_fini(&f->run.in);
	base_buf_fini(&f->run.meta);
	base_buf_fini(&f->run.body);
	base_buf_fini(&f->run.emits);
	free(f);
	return 0;
}

static void run(struct fixture *f, int (*with)(struct pirn_request *, struct pirn_response *))
{
	if (!f->native)
		assert_int_equal(adopt(f, &service), BASE_OK);
	told.handler = with;
	wrk_native_run(f->native, f->thread, &f->run);
	assert_null(wrk_native_where()->native);
}

static void answered(const struct fixture *f, uint32_t status, uint32_t reason)
{
	assert_int_equal(f->run.status, status);
	assert_int_equal(f->run.reason, reason);
	if (reason != PIRN__REASON__NONE)
		assert_int_equal(f->run.meta.size + f->run.body.size, 0);
}

/* ---- events ------------------------------------------------------------------ */

static int sends(struct pirn_request *req, struct pirn_response *res)
{
	struct pirn_emitted one = { .service = "other", .content_type = "text/plain", .data = "x", .size = 1 };
	char *large = calloc(1, 256 * 1024 + 1);

	assert_int_equal(pirn_emit_json(req, "order.paid", "7", "{\"n\":%d}", 3), PIRN_OK);
	assert_int_equal(pirn_emit(req, &one), PIRN_OK);
	one.type = "a";
	assert_int_equal(pirn_emit(req, &one), PIRN_ERR_INVALID);
	one = (struct pirn_emitted){ .data = "x", .size = 1 };
	assert_int_equal(pirn_emit(req, &one), PIRN_ERR_INVALID);
	one.type = "a\nb";
	assert_int_equal(pirn_emit(req, &one), PIRN_ERR_INVALID);
	one = (struct pirn_emitted){ .type = "a", .data = large, .size = 256 * 1024 + 1 };
	assert_int_equal(pirn_emit(req, &one), PIRN_ERR_LIMIT);
	one.size = 256 * 1024 - 200; /* with its headers it is too much */
	assert_int_equal(pirn_emit(req, &one), PIRN_ERR_LIMIT);
	free(large);
	pirn_respond_text(res, "body");
	return 0;
}

static int sends_and_fails(struct pirn_request *req, struct pirn_response *res)
{
	(void)sends(req, res);
	return PIRN_ERR_FAILED;
}

static int sends_many(struct pirn_request *req, struct pirn_response *res)
{
	for (int i = 0; i < 64; i++)
		assert_int_equal(pirn_emit_json(req, "a", NULL, "%d", i), PIRN_OK);
	assert_int_equal(pirn_emit_json(req, "a", NULL, "65"), PIRN_ERR_LIMIT);
	pirn_respond_reset(res); /* of the answer; what is sent is sent */
	return 0;
}

static int sends_odd_texts(struct pirn_request *req, struct pirn_response *res)
{
	struct pirn_emitted one = { .type = "a b", .subject = "100%41 \"\xc3\xa9\"~", .source = "/x y" };

	(void)res;
	return pirn_emit(req, &one);
}

static Pirn__Emits *sent(const struct fixture *f)
{
	Pirn__Emits *emits = pirn__emits__unpack(NULL, f->run.emit_size,
		f->run.body.data + f->run.body.size - f->run.emit_size);

	assert_non_null(emits);
	return emits;
}

static bool has_header(const Pirn__HttpRequest *http, const char *name, const char *value)
{
	for (size_t i = 0; i < http->n_headers; i++) {
		const Pirn__Header *h = http->headers[i];

		if (h->name.len == strlen(name) && memcmp(h->name.data, name, h->name.len) == 0)
			return h->value.len == strlen(value) &&
			       memcmp(h->value.data, value, h->value.len) == 0;
	}
	return false;
}

/* Those who subscribe are matched by the texts, and read them encoded. */
static void odd_texts_are_encoded_in_headers(void **state)
{
	struct fixture *f = *state;
	Pirn__HttpRequest *http;
	Pirn__Emits *emits;

	f->run.flags = PIRN__ITEM_FLAG__EVENT;
	run(f, sends_odd_texts);
	answered(f, 204, PIRN__REASON__NONE);
	emits = sent(f);
	assert_string_equal(emits->events[0]->subject, "100%41 \"\xc3\xa9\"~");
	http = pirn__http_request__unpack(
		NULL, emits->events[0]->meta.len, emits->events[0]->meta.data);
	assert_non_null(http);
	assert_true(has_header(http, "ce-type", "a%20b"));
	assert_true(has_header(http, "ce-source", "/x%20y"));
	assert_true(has_header(http, "ce-subject", "100%2541%20%22%C3%A9%22~"));
	pirn__http_request__free_unpacked(http, NULL);
	pirn__emits__free_unpacked(emits, NULL);
}

static void what_is_sent_stands_behind_the_body(void **state)
{
	struct fixture *f = *state;
	Pirn__HttpRequest *http;
	Pirn__Emits *emits;
	uint8_t id[16];

	f->run.flags = PIRN__ITEM_FLAG__EVENT;
	run(f, sends);
	answered(f, 200, PIRN__REASON__NONE);
	assert_int_equal(f->run.body.size, 4 + f->run.emit_size);
	assert_memory_equal(f->run.body.data, "body", 4);
	emits = sent(f);
	assert_int_equal(emits->n_events, 2);
	assert_string_equal(emits->events[0]->type, "order.paid");
	assert_string_equal(emits->events[0]->source, "/services/test");
	assert_string_equal(emits->events[0]->subject, "7");
	assert_memory_equal(emits->events[0]->data.data, "{\"n\":3}", 7);
	assert_string_equal(emits->events[1]->service, "other");
	assert_null(emits->events[1]->type);
	memcpy(id, emits->events[0]->id.data, 16);
	assert_memory_not_equal(id, emits->events[1]->id.data, 16);
	http = pirn__http_request__unpack(NULL, emits->events[0]->meta.len, emits->events[0]->meta.data);
	assert_non_null(http);
	assert_int_equal(http->n_headers, 6);
	assert_memory_equal(http->target.data, "/v1/events", 10);
	pirn__http_request__free_unpacked(http, NULL);
	pirn__emits__free_unpacked(emits, NULL);
	f->run.attempt = 2; /* the same ids */
	run(f, sends);
	emits = sent(f);
	assert_memory_equal(id, emits->events[0]->id.data, 16);
	pirn__emits__free_unpacked(emits, NULL);
}

static void a_failed_run_sends_nothing(void **state)
{
	struct fixture *f = *state;

	f->run.flags = PIRN__ITEM_FLAG__EVENT;
	run(f, sends);
	run(f, sends_and_fails);
	answered(f, 500, PIRN__REASON__NONE);
	assert_int_equal(f->run.emit_size, 0);
	assert_null(memmem(f->run.body.data, f->run.body.size, "order.paid", 10));
}

static void at_most_64_events(void **state)
{
	struct fixture *f = *state;
	Pirn__Emits *emits;

	f->run.flags = PIRN__ITEM_FLAG__EVENT;
	run(f, sends_many);
	emits = sent(f);
	assert_int_equal(emits->n_events, 64);
	pirn__emits__free_unpacked(emits, NULL);
}

static int sends_in_a_call(struct pirn_request *req, struct pirn_response *res)
{
	(void)res;
	return pirn_emit_json(req, "a", NULL, "1");
}

/* It would be called as what the next one sends. */
static void a_call_without_an_id_sends_nothing(void **state)
{
	struct fixture *f = *state;

	memset(f->run.id, 0, sizeof f->run.id);
	run(f, sends_in_a_call);
	answered(f, 400, PIRN__REASON__NONE);
	f->run.id[0] = 1;
	run(f, sends_in_a_call);
	answered(f, 204, PIRN__REASON__NONE);
	assert_true(f->run.emit_size > 0);
	f->run.mute = true; /* an older broker */
	run(f, sends_in_a_call);
	answered(f, 503, PIRN__REASON__NONE);
}

/* ---- life ------------------------------------------------------------------- */

static void init_and_fini_are_called_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(adopt(f, &service), BASE_OK);
	assert_int_equal(told.inits, 0);
	assert_int_equal(wrk_native_init(f->native, f->why, sizeof f->why), BASE_OK);
	assert_string_equal(told.seen, "good day");
	wrk_native_free(&f->native);
	assert_null(f->native);
	assert_int_equal(told.inits, 1);
	assert_int_equal(told.finis, 1);
}

static void init_may_refuse(void **state)
{
	struct fixture *f = *state;

	told.init_result = PIRN_ERR_UNAVAILABLE;
	assert_int_equal(adopt(f, &service), BASE_OK);
	assert_int_equal(wrk_native_init(f->native, f->why, sizeof f->why), BASE_DENIED);
	assert_non_null(strstr(f->why, "init returned 8"));
	wrk_native_free(&f->native);
	assert_int_equal(told.finis, 0);
}

static void what_is_no_service_is_refused(void **state)
{
	struct fixture *f = *state;
	struct pirn_service other = service;

	other.abi = PIRN_SERVICE_ABI + 1;
	assert_int_equal(adopt(f, &other), BASE_MISMATCH);
	assert_non_null(strstr(f->why, "version 2"));
	other = service;
	other.size--;
	assert_int_equal(adopt(f, &other), BASE_INVALID);
	other = service;
	other.handler = NULL;
	assert_int_equal(adopt(f, &other), BASE_INVALID);
	assert_non_null(strstr(f->why, ".handler"));
	assert_null(f->native);
}

static void secrets_come_from_files(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/pirn-secret-XXXXXX";
	int fd = mkstemp(path);
	char why[128];

	assert_true(fd >= 0 && write(fd, "open sesame\n", 12) == 12);
	assert_int_equal(base_manifest_add_pair(&f->manifest->secrets, "PASSWORD", path, why, sizeof why), BASE_OK);
	assert_int_equal(adopt(f, &service), BASE_OK);
	assert_string_equal(wrk_native_env(f->native, "PASSWORD"), "open sesame");
	assert_string_equal(wrk_native_env(f->native, "GREETING"), "good day");
	assert_null(wrk_native_env(f->native, "NONE"));
	wrk_native_free(&f->native);
	close(fd);
	unlink(path);
	assert_int_equal(adopt(f, &service), BASE_NOT_FOUND);
	assert_non_null(strstr(f->why, "secret PASSWORD: "));
	assert_null(pirn_env("GREETING")); /* outside of init and handler there is no service */
}

/* ---- runs ------------------------------------------------------------------- */

static int says_hello(struct pirn_request *req, struct pirn_response *res)
{
	size_t size;
	const void *body = pirn_request_body(req, &size);

	assert_string_equal(wrk_native_name(wrk_native_where()->native), "test");
	assert_ptr_equal(wrk_native_where()->request, req);
	pirn_respond_printf(res, "hello %.*s, %s", (int)size, (const char *)body, pirn_env("GREETING"));
	return 0;
}

static void run_is_answered(void **state)
{
	struct fixture *f = *state;

	base_buf_str(&f->run.in, "Ada");
	f->run.data_size = 3;
	run(f, says_hello);
	answered(f, 200, PIRN__REASON__NONE);
	assert_string_equal((char *)f->run.body.data, "hello Ada, good day");
}

static int says_nothing(struct pirn_request *req, struct pirn_response *res)
{
	(void)req, (void)res;
	return 0;
}

static void silence_is_204(void **state)
{
	struct fixture *f = *state;

	run(f, says_nothing);
	answered(f, 204, PIRN__REASON__NONE);
}

static void late_run_is_not_run(void **state)
{
	struct fixture *f = *state;

	f->run.deadline_us = 1;
	run(f, says_hello);
	answered(f, 504, PIRN__REASON__DEADLINE);
	assert_int_equal(told.runs, 0);
}

static void broken_meta_is_not_run(void **state)
{
	struct fixture *f = *state;

	base_buf_str(&f->run.in, "rubbish");
	f->run.meta_size = 7;
	run(f, says_hello);
	answered(f, 400, PIRN__REASON__MALFORMED);
	assert_int_equal(told.runs, 0);
}

static int code;

static int returns_code(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	pirn_respond_text(res, "this is dropped");
	pirn_respond_header(res, "X-Dropped", "too");
	return code;
}

static bool meta_has(const struct fixture *f, const char *text)
{
	return memmem(f->run.meta.data, f->run.meta.size, text, strlen(text)) != NULL;
}

static void error_codes_become_problems(void **state)
{
	static const struct {
		int code;
		uint32_t status;
		bool retry;
	} rows[] = {
		{ PIRN_ERR_FAILED, 500, false }, { PIRN_ERR_INVALID, 400, false }, { PIRN_ERR_NOT_FOUND, 404, false },
		{ PIRN_ERR_MISMATCH, 409, false }, { PIRN_ERR_OVERFLOW, 400, false }, { PIRN_ERR_TYPE, 500, false },
		{ PIRN_ERR_TOO_LARGE, 413, false }, { PIRN_ERR_UNAVAILABLE, 503, true }, { PIRN_ERR_UNKNOWN, 503, true },
		{ PIRN_ERR_TIMEOUT, 504, false }, { PIRN_ERR_NOMEM, 503, true }, { PIRN_ERR_OPEN, 503, true }, { -1, 500, false }, { 4711, 500, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		code = rows[i].code;
		run(f, returns_code);
		answered(f, rows[i].status, PIRN__REASON__NONE);
		assert_memory_equal(f->run.body.data, "{\"type\":\"about:blank\",", 22);
		assert_true(meta_has(f, "application/problem+json"));
		assert_false(meta_has(f, "X-Dropped"));
		assert_int_equal(meta_has(f, "Retry-After"), rows[i].retry);
		assert_int_equal(f->run.retry_after_ms, rows[i].retry ? 1000 : 0);
	}
}

static int says_too_much(struct pirn_request *req, struct pirn_response *res)
{
	void *much = pirn_scratch(req, MAX_RESPONSE + 1);

	memset(much, 'x', MAX_RESPONSE + 1);
	pirn_respond_write(res, much, MAX_RESPONSE + 1);
	return 0;
}

static int says_as_much_as_it_may(struct pirn_request *req, struct pirn_response *res)
{
	char *much = pirn_scratch(req, MAX_RESPONSE);

	memset(much, 'x', MAX_RESPONSE);
	pirn_respond_write(res, much, MAX_RESPONSE);
	return 0;
}

static int splits_a_header(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	pirn_respond_header(res, "Location", "/a\r\nSet-Cookie: admin=1");
	return 0;
}

static int says_early_hints(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	pirn_respond_status(res, 103);
	return 0;
}

static int wants_the_world(struct pirn_request *req, struct pirn_response *res)
{
	assert_null(pirn_scratch(req, WRK_ARENA_MAX + 1));
	pirn_respond_text(res, "x");
	return 0;
}

static void broken_contracts_are_answered_for(void **state)
{
	struct fixture *f = *state;

	run(f, says_as_much_as_it_may);
	answered(f, 200, PIRN__REASON__NONE);
	run(f, says_too_much);
	answered(f, 502, PIRN__REASON__TOO_LARGE);
	run(f, splits_a_header);
	answered(f, 502, PIRN__REASON__CRASHED);
	run(f, says_early_hints);
	answered(f, 502, PIRN__REASON__CRASHED);
	run(f, wants_the_world);
	answered(f, 503, PIRN__REASON__OVERLOADED);
	assert_int_equal(f->run.retry_after_ms, 1000);
	run(f, says_nothing); /* and nothing of it is left */
	answered(f, 204, PIRN__REASON__NONE);
	assert_int_equal(f->run.retry_after_ms, 0);
}

static const char *retry_after;

static int asks_for_patience(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	pirn_respond_status(res, 429);
	pirn_respond_header(res, "retry-after", retry_after);
	return 0;
}

static void retry_after_is_told_to_the_broker(void **state)
{
	struct fixture *f = *state;

	retry_after = "120";
	run(f, asks_for_patience);
	assert_int_equal(f->run.retry_after_ms, 120000);
	retry_after = "Fri, 31 Dec 1999 23:59:59 GMT";
	run(f, asks_for_patience);
	assert_int_equal(f->run.retry_after_ms, 0);
	retry_after = "99999999999999999999999";
	run(f, asks_for_patience);
	assert_int_equal(f->run.retry_after_ms, 0);
}

static int counts(struct pirn_request *req, struct pirn_response *res)
{
	int64_t value;

	(void)res;
	return pirn_counter_add(req, "visits", 1, &value);
}

static void state_without_redis_is_unavailable(void **state)
{
	struct fixture *f = *state;

	run(f, counts);
	answered(f, 503, PIRN__REASON__NONE);
	assert_true(meta_has(f, "Retry-After"));
}

static void errors_have_names(void **state)
{
	(void)state;
	assert_string_equal(pirn_err_name(PIRN_OK), "OK");
	assert_string_equal(pirn_err_name(PIRN_ERR_TYPE), "ERR_TYPE");
	assert_string_equal(pirn_err_name(99), "?");
	assert_string_equal(pirn_err_name(-1), "?");
	assert_true(pirn_err_retryable(PIRN_ERR_UNKNOWN));
	assert_false(pirn_err_retryable(PIRN_ERR_MISMATCH));
	assert_false(pirn_err_retryable(4711));
}

/* ---- shared objects ---------------------------------------------------------- */

static void elf_is_looked_at_before_it_is_loaded(void **state)
{
	Elf64_Ehdr head = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB }, .e_type = ET_DYN,
		            .e_phoff = sizeof head, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		            .e_shoff = 200, .e_shentsize = 64, .e_shnum = 2 };
	Elf64_Phdr segment = { .p_type = PT_LOAD, .p_filesz = 328 };
	unsigned char file[328] = { 0 };
	char why[128];

	(void)state;
	memcpy(file, &head, sizeof head);
	memcpy(file + sizeof head, &segment, sizeof segment);
	assert_int_equal(wrk_elf_check_bytes(file, 328, why, sizeof why), BASE_OK);
	for (size_t size = 0; size < 328; size++)
		assert_int_not_equal(wrk_elf_check_bytes(file, size, why, sizeof why), BASE_OK);
	segment.p_offset = UINT64_MAX; /* sums that overflow */
	memcpy(file + sizeof head, &segment, sizeof segment);
	assert_int_equal(wrk_elf_check_bytes(file, 328, why, sizeof why), BASE_TOO_LARGE);
	assert_int_equal(wrk_elf_check_bytes("#!/bin/sh\n", 10, why, sizeof why), BASE_TYPE);
	assert_int_equal(wrk_elf_check("/nonexistent", why, sizeof why), BASE_NOT_FOUND);
	assert_int_equal(wrk_elf_check("/dev/null", why, sizeof why), BASE_TYPE);
}

#define RUN(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(init_and_fini_are_called_once),
		RUN(init_may_refuse),
		RUN(what_is_no_service_is_refused),
		RUN(secrets_come_from_files),
		RUN(run_is_answered),
		RUN(silence_is_204),
		RUN(late_run_is_not_run),
		RUN(broken_meta_is_not_run),
		RUN(error_codes_become_problems),
		RUN(broken_contracts_are_answered_for),
		RUN(retry_after_is_told_to_the_broker),
		RUN(state_without_redis_is_unavailable),
		RUN(what_is_sent_stands_behind_the_body),
		RUN(odd_texts_are_encoded_in_headers),
		RUN(a_failed_run_sends_nothing),
		RUN(at_most_64_events),
		RUN(a_call_without_an_id_sends_nothing),
		cmocka_unit_test(errors_have_names),
		cmocka_unit_test(elf_is_looked_at_before_it_is_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
