/* Every state operation, on request: the body is a JSON array of commands, the answer
 * an array of their results in order.
 *
 *   [["add","visits",2],["hset","user","name","Ada"],["get","nothing"]]
 *   [2,null,{"error":"ERR_NOT_FOUND"}]
 *
 * A command is its name and its arguments; the table below has them all. Bytes that
 * are not UTF-8 do not travel in JSON, and have no place here.
 *
 * For runs that are run again: ["attempt"] gives [n, of how many, the id],
 * ["fail",k] ends every run before the k-th there with 503 and its results so far as
 * the detail, ["crash",k] takes the worker down with it, ["nap",ms] holds it up.
 */
#include <pirn/service.h>

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct command {
	struct pirn_request *req;
	const json_t *args; /* the name first */
};

static const char *text(const struct command *c, size_t i)
{
	const char *value = json_string_value(json_array_get(c->args, i));

	return value ? value : "";
}

static int64_t number(const struct command *c, size_t i)
{
	return json_integer_value(json_array_get(c->args, i));
}

/* ---- commands: each gives its result, or an error ------------------------------ */

static int add(const struct command *c, json_t **out)
{
	int64_t value;
	int err = pirn_counter_add(c->req, text(c, 1), number(c, 2), &value);

	*out = err ? NULL : json_integer(value);
	return err;
}

static int count(const struct command *c, json_t **out)
{
	int64_t value;
	int err = pirn_counter_get(c->req, text(c, 1), &value);

	*out = err ? NULL : json_integer(value);
	return err;
}

static int get(const struct command *c, json_t **out)
{
	const void *value;
	size_t size;
	int err = pirn_key_get(c->req, text(c, 1), &value, &size);

	*out = err ? NULL : json_stringn(value, size);
	return err;
}

static int set(const struct command *c, json_t **out)
{
	const char *value = text(c, 2);

	*out = json_null();
	return pirn_key_set(c->req, text(c, 1), value, strlen(value), (uint64_t)number(c, 3));
}

static int drop(const struct command *c, json_t **out)
{
	bool existed = false;
	int err = pirn_key_delete(c->req, text(c, 1), &existed);

	*out = json_boolean(existed);
	return err;
}

/* key, what is expected (null: nothing), value, time to live */
static int swap(const struct command *c, json_t **out)
{
	const char *expected = json_string_value(json_array_get(c->args, 2));
	const char *value = text(c, 3);

	*out = json_null();
	return pirn_key_swap(c->req, text(c, 1), expected, expected ? strlen(expected) : 0, value, strlen(value),
	                     (uint64_t)number(c, 4));
}

static int hget(const struct command *c, json_t **out)
{
	const void *value;
	size_t size;
	int err = pirn_hash_get(c->req, text(c, 1), text(c, 2), &value, &size);

	*out = err ? NULL : json_stringn(value, size);
	return err;
}

static int hset(const struct command *c, json_t **out)
{
	const char *value = text(c, 3);

	*out = json_null();
	return pirn_hash_set(c->req, text(c, 1), text(c, 2), value, strlen(value));
}

static int hdrop(const struct command *c, json_t **out)
{
	bool existed = false;
	int err = pirn_hash_delete(c->req, text(c, 1), text(c, 2), &existed);

	*out = json_boolean(existed);
	return err;
}

static int hadd(const struct command *c, json_t **out)
{
	int64_t value;
	int err = pirn_hash_add(c->req, text(c, 1), text(c, 2), number(c, 3), &value);

	*out = err ? NULL : json_integer(value);
	return err;
}

static int hall(const struct command *c, json_t **out)
{
	const struct pirn_pair *fields;
	size_t n;
	int err = pirn_hash_all(c->req, text(c, 1), &fields, &n);

	*out = err ? NULL : json_object();
	for (size_t i = 0; !err && i < n; i++)
		json_object_set_new(*out, fields[i].name, json_stringn(fields[i].value, fields[i].value_size));
	return err;
}

/* ---- what has to do with attempts ------------------------------------------------ */

static int attempt(const struct command *c, json_t **out)
{
	*out = json_pack("[I,I,s]", (json_int_t)pirn_request_attempt(c->req),
	                 (json_int_t)pirn_request_attempts(c->req), pirn_request_id(c->req));
	return PIRN_OK;
}

static bool is_before(const struct command *c)
{
	return (int64_t)pirn_request_attempt(c->req) < number(c, 1);
}

/* FAILED is nothing that the state gives: the run ends. */
static int fail(const struct command *c, json_t **out)
{
	*out = json_null();
	return is_before(c) ? PIRN_ERR_FAILED : PIRN_OK;
}

static int crash(const struct command *c, json_t **out)
{
	*out = json_null();
	if (is_before(c))
		(void)raise(SIGSEGV);
	return PIRN_OK;
}

static int nap(const struct command *c, json_t **out)
{
	int64_t ms = number(c, 1);
	struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000 * 1000000) };

	*out = json_null();
	while (nanosleep(&time, &time) != 0)
		;
	return PIRN_OK;
}

static const struct {
	const char *name;
	int (*run)(const struct command *c, json_t **out);
} commands[] = {
	{ "add", add }, { "count", count }, { "get", get }, { "set", set }, { "drop", drop }, { "swap", swap },
	{ "hget", hget }, { "hset", hset }, { "hdrop", hdrop }, { "hadd", hadd }, { "hall", hall },
	{ "attempt", attempt }, { "fail", fail }, { "crash", crash }, { "nap", nap },
};

static int run_one(struct pirn_request *req, const json_t *args, json_t *results)
{
	struct command c = { req, args };
	json_t *out = NULL;
	int err = PIRN_ERR_INVALID;

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(text(&c, 0), commands[i].name) == 0)
			err = commands[i].run(&c, &out);
	if (err) {
		json_decref(out);
		out = json_pack("{s:s}", "error", pirn_err_name(err));
	}
	json_array_append_new(results, out);
	return err;
}

static void answer(struct pirn_response *res, bool failed, const json_t *results)
{
	char *told = json_dumps(results, JSON_COMPACT | JSON_SORT_KEYS);

	if (failed)
		pirn_respond_problem(res, 503, NULL, "%s", told);
	else
		pirn_respond_json(res, 200, "%s", told);
	free(told);
}

static int state(struct pirn_request *req, struct pirn_response *res)
{
	size_t size;
	const char *body = pirn_request_body(req, &size);
	json_t *list = json_loadb(body, size, JSON_REJECT_DUPLICATES, NULL), *results = json_array();
	bool failed = false;

	for (size_t i = 0; i < json_array_size(list) && !failed; i++)
		failed = run_one(req, json_array_get(list, i), results) == PIRN_ERR_FAILED;
	if (json_is_array(list))
		answer(res, failed, results);
	else
		pirn_respond_problem(res, 400, NULL, "expected a JSON array of commands");
	json_decref(results);
	json_decref(list);
	return 0;
}

PIRN_SERVICE(.handler = state);
