/* The worker without memory: a service's folder, runs of a handler that is this file, and runs that record,
 * with a Redis that is this file. A run ends with the answer that it would have had, or with one that says
 * that memory was out and may be asked for again; never with a part of it, nor with a fault that is not its own.
 */
#include "tests/oom/oom.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/failure.h"
#include "worker/request.h"
#include "worker/service.h"

#define MAX_RESPONSE 4096

/* ---- a service's folder -------------------------------------------------------------------- */

static void service_path(void)
{
	static uint8_t wire[1024];
	static size_t wire_size;
	struct wrk_service *s = NULL;
	char why[WRK_SERVICE_WHY] = "";
	enum base_err err = OOM_GET(wrk_service_read("tests/services/state", &s, why, sizeof why));
	uint8_t packed[sizeof wire];
	size_t size;

	if (err) {
		if (err != BASE_NOMEM)
			fail_msg("%s: %s", base_err_name(err), why);
		assert_null(s);
		assert_string_not_equal(why, "");
		return;
	}
	size = pirn__manifest__get_packed_size(s->wire);
	assert_true(size <= sizeof packed);
	pirn__manifest__pack(s->wire, packed);
	if (wire_size == 0) {
		wire_size = size;
		memcpy(wire, packed, size);
	}
	assert_int_equal(size, wire_size);
	assert_memory_equal(packed, wire, size);
	wrk_service_free(&s);
}

/* ---- runs ------------------------------------------------------------------------------------ */

struct scene {
	struct base_manifest *manifest;
	struct wrk_native *native;
	struct wrk_thread *thread;
	struct wrk_run run;
};

static int (*handle)(struct pirn_request *, struct pirn_response *);

static int handler(struct pirn_request *req, struct pirn_response *res)
{
	return handle(req, res);
}

static const struct pirn_service service = { PIRN_SERVICE_ABI, sizeof service, handler, NULL,
	NULL };

static void write_request(struct base_buf *out)
{
	static const char body[] = "{\"a\":\"body\"}";
	Pirn__HttpRequest r = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header header = PIRN__HEADER__INIT, *headers[] = { &header, &header, &header },
		     param = PIRN__HEADER__INIT, *params[] = { &param };

	r.method = (ProtobufCBinaryData){ 4, (uint8_t *)(uintptr_t) "POST" };
	r.target = (ProtobufCBinaryData){ 18, (uint8_t *)(uintptr_t) "/p/x?a=1&b=two%20w" };
	header.name = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "X-A" };
	header.value = (ProtobufCBinaryData){ 5, (uint8_t *)(uintptr_t) "value" };
	param.name = (ProtobufCBinaryData){ 4, (uint8_t *)(uintptr_t) "name" };
	param.value = (ProtobufCBinaryData){ 1, (uint8_t *)(uintptr_t) "x" };
	r.headers = headers;
	r.n_headers = 3;
	r.params = params;
	r.n_params = 1;
	base_buf_grew(out, pirn__http_request__pack(&r,
				   base_buf_room(out, pirn__http_request__get_packed_size(&r))));
	base_buf_str(out, body);
}

static void open_scene(struct scene *s, struct wrk_state *state)
{
	char why[WRK_NATIVE_WHY];
	enum base_err err;

	memset(s, 0, sizeof *s);
	s->manifest = base_manifest_new();
	s->manifest->service = strdup("test");
	s->manifest->handler = strdup("test.so");
	assert_int_equal(
		base_manifest_add_pair(&s->manifest->env, "A", "b", why, sizeof why), BASE_OK);
	err = OOM_GET(wrk_native_adopt(
		".", s->manifest, &service, MAX_RESPONSE, &s->native, why, sizeof why));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (err)
		assert_int_equal(wrk_native_adopt(".", s->manifest, &service, MAX_RESPONSE,
					 &s->native, why, sizeof why),
			BASE_OK);
	s->thread = OOM_GET(wrk_thread_new(NULL, state));
	if (!s->thread)
		s->thread = wrk_thread_new(NULL, state);
	base_buf_init(&s->run.in);
	base_buf_init(&s->run.meta);
	base_buf_init(&s->run.body);
	write_request(&s->run.in);
	s->run.data_size = 12;
	s->run.meta_size = s->run.in.size - 12;
	s->run.attempt = 1;
	s->run.flags = PIRN__ITEM_FLAG__EVENT;
	s->run.deadline_us = base_clock_us() + UINT64_C(3600000000);
}

static void close_scene(struct scene *s)
{
	wrk_native_free(&s->native);
	wrk_thread_free(&s->thread);
	base_manifest_free(&s->manifest);
	base_buf_fini(&s->run.in);
	base_buf_fini(&s->run.meta);
	base_buf_fini(&s->run.body);
}

static void run(struct scene *s, int (*with)(struct pirn_request *, struct pirn_response *))
{
	handle = with;
	OOM(wrk_native_run(s->native, s->thread, &s->run));
	assert_null(wrk_native_where()->native);
}

/* With all the memory there is; the first run is that. */
static struct {
	uint32_t status;
	uint8_t bytes[2 * MAX_RESPONSE];
	size_t size;
} words[8];

static void see(const struct scene *s, unsigned slot)
{
	const struct wrk_run *r = &s->run;

	if (r->reason != PIRN__REASON__NONE) {
		assert_int_equal(r->reason, PIRN__REASON__OVERLOADED);
		assert_int_equal(r->status, 503);
		assert_int_equal(r->retry_after_ms, 1000);
		assert_int_equal(r->meta.size + r->body.size, 0);
		return;
	}
	if (words[slot].status == 0) {
		words[slot].status = r->status;
		words[slot].size = r->meta.size + r->body.size;
		memcpy(words[slot].bytes, r->meta.data, r->meta.size);
		memcpy(words[slot].bytes + r->meta.size, r->body.data, r->body.size);
	}
	assert_int_equal(r->status, words[slot].status);
	assert_int_equal(r->meta.size + r->body.size, words[slot].size);
	assert_memory_equal(r->meta.data, words[slot].bytes, r->meta.size);
	assert_memory_equal(r->body.data, words[slot].bytes + r->meta.size, r->body.size);
}

static const char *or_none(const char *text)
{
	return text ? text : "none";
}

/* It does not look whether there was memory, and says what it sees. */
static int echo(struct pirn_request *req, struct pirn_response *res)
{
	struct pirn_pair pair;
	size_t size = 0;
	char *scratch = pirn_scratch(req, 20000);
	int rc = pirn_breaker_enter(req, "bank");

	if (rc)
		return rc;
	if (scratch)
		(void)snprintf(scratch, 20000, "%s", pirn_request_path(req));
	pirn_respond_status(res, 201);
	for (int i = 0; i < 40; i++)
		pirn_respond_header_add(res, "X-Many", "a value of some length");
	pirn_respond_header(res, "Content-Type", "text/plain");
	pirn_respond_printf(res, "%s %s %s %s %s\n", pirn_request_method(req), or_none(scratch),
		or_none(pirn_request_query(req, "b", NULL)),
		or_none(pirn_request_param(req, "name", NULL)),
		or_none(pirn_request_header(req, "x-a")));
	for (size_t i = 0; pirn_request_query_at(req, i, &pair); i++)
		pirn_respond_printf(res, "%s=%s\n", pair.name, pair.value);
	pirn_respond_text(res, pirn_json_string(req, "\"quoted\"", 8));
	for (int i = 0; i < 20; i++)
		pirn_respond_write(res, pirn_request_body(req, &size), size);
	pirn_breaker_leave(req, "bank", true);
	return 0;
}

static int problem(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	return pirn_respond_problem(res, 409, NULL, "there is \"one\" already: %d", 7);
}

static int give_up(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	pirn_respond_text(res, "half of it");
	return PIRN_ERR_UNAVAILABLE;
}

/* A breaker that there was no memory for: the handler gives its error back. */
static void see_or_no_memory(struct scene *s, unsigned slot)
{
	if (s->run.reason == PIRN__REASON__NONE && s->run.status == 503) {
		assert_non_null(strstr((char *)s->run.body.data, "out of memory"));
		assert_int_equal(s->run.retry_after_ms, 1000);
	} else {
		see(s, slot);
	}
}

static void runs_path(void)
{
	struct scene s;
	char line[WRK_FAILURE_SIZE];

	open_scene(&s, NULL);
	run(&s, echo);
	see_or_no_memory(&s, 0);
	run(&s, problem);
	see(&s, 1);
	if (s.run.reason == PIRN__REASON__NONE) {
		assert_true(OOM_GET(wrk_failure_say(&s.run, line)));
		assert_string_equal(line, "there is \"one\" already: 7");
	}
	run(&s, give_up);
	see(&s, 2);
	run(&s, echo);
	see_or_no_memory(&s, 0);
	close_scene(&s);
}

/* ---- runs that record --------------------------------------------------------------------------- */

/* The loop's thread, with memory: it gives each operation its answer. */
static struct {
	struct wrk_state *state;
	sem_t due;
	bool over;
	int64_t count, table;
} loop;

#define READS 100
#define KEPT  600

static const char kept[KEPT] = "sa value that is kept, and mostly NULs";

static enum base_err answer_plain(
	void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	(void)arg, (void)op, (void)fn, (void)fn_arg;
	return BASE_UNAVAILABLE;
}

static enum base_err answer_record(
	void *arg, const struct wrk_state_record *record, store_run_fn *fn, void *fn_arg)
{
	struct store_run_result r = { .says = { .code = STORE_DONE, .why = "" } };

	(void)arg;
	if (record->op && record->op->kind == STORE_COUNTER_ADD) {
		r.number = loop.count += record->op->number;
		r.record = STORE_ARG("i1");
	} else if (record->op && record->op->kind == STORE_KEY_GET) {
		r.value = (struct store_arg){ kept + 1, KEPT - 1 };
		r.record = (struct store_arg){ kept, KEPT };
	}
	fn(fn_arg, &r);
	return BASE_OK;
}

static void wake(void *arg)
{
	(void)arg;
	sem_post(&loop.due);
}

static void *turn(void *arg)
{
	(void)arg;
	for (;;) {
		while (sem_wait(&loop.due) != 0)
			;
		if (loop.over)
			return NULL;
		wrk_state_turn(loop.state);
		wrk_state_flush(loop.state);
	}
}

/* Reads, which are kept until the write that carries them. */
static int count(struct pirn_request *req, struct pirn_response *res)
{
	int64_t n = 0;
	int rc;

	for (int i = 0; i < READS; i++) {
		const void *value;
		char key[32];
		size_t size;

		(void)snprintf(key, sizeof key, "key-%d", i);
		rc = pirn_key_get(req, key, &value, &size);
		if (rc)
			return rc;
		if (size != KEPT - 1 || memcmp(value, kept + 1, size) != 0)
			return PIRN_ERR_FAILED;
	}
	rc = pirn_counter_add(req, "visits", 3, &n);
	if (rc)
		return rc;
	pirn_respond_printf(res, "%lld", (long long)n);
	return 0;
}

static void record_path(void)
{
	const struct wrk_state_conf conf = {
		.start = answer_plain, .record = answer_record, .wake = wake
	};
	struct scene s;
	pthread_t thread;

	memset(&loop, 0, sizeof loop);
	sem_init(&loop.due, 0, 0);
	assert_int_equal(wrk_state_new(&conf, &loop.state), BASE_OK);
	wrk_state_set_up(loop.state, true);
	assert_int_equal(pthread_create(&thread, NULL, turn, NULL), 0);
	open_scene(&s, loop.state);
	s.run.flags |= PIRN__ITEM_FLAG__RECORD;
	s.run.epoch = 1;
	s.run.lease_end_ms = s.run.keep_until_ms = UINT64_C(4000000000000);
	run(&s, count);
	if (s.run.reason == PIRN__REASON__NONE && s.run.status == 200) {
		assert_string_equal((char *)s.run.body.data, "3");
		assert_true(loop.count == 3 && s.run.recorded);
	} else { /* for the time being */
		assert_int_equal(s.run.status, 503);
	}
	close_scene(&s);
	loop.over = true;
	sem_post(&loop.due);
	pthread_join(thread, NULL);
	wrk_state_free(&loop.state);
	sem_destroy(&loop.due);
}

/* ------------------------------------------------------------------------------------------- */

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("worker: a service's folder", service_path, 0)
SWEEP("worker: runs", runs_path, 0)
SWEEP("worker: a run that records", record_path, OOM_THREADS)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_service_path),
		cmocka_unit_test(test_runs_path),
		cmocka_unit_test(test_record_path),
	};

	base_log_init(BASE_ERROR + 1, BASE_LOG_TEXT, 2);
	return cmocka_run_group_tests_name("worker, out of memory", tests, NULL, NULL);
}
