/* Does on request what services do when they misbehave; for tests. The path after
 * /trouble/ says what. */
#include <pirn/service.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static unsigned long number(const struct pirn_request *req, const char *param)
{
	const char *text = pirn_request_param(req, param, NULL);

	return text ? strtoul(text, NULL, 10) : 0;
}

static int sleep_for(struct pirn_request *req, struct pirn_response *res)
{
	unsigned long ms = number(req, "ms");

	pause_ms((unsigned)ms);
	return pirn_respond_json(res, 200, "{\"slept\":%lu}", ms);
}

/* The first run leaves its process's number under the key and never comes back; later ones answer. */
static int once(struct pirn_request *req, struct pirn_response *res)
{
	const char *key = pirn_request_param(req, "key", NULL);
	char pid[32];
	int err;

	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	err = pirn_key_set(
		req, key, pid, strlen(pid), 0); /* a later run replays it: the first one's stays */
	if (!err && pirn_request_attempt(req) > 1)
		return pirn_respond_json(
			res, 200, "{\"attempt\":%u,\"pid\":%s}", pirn_request_attempt(req), pid);
	while (!err && pirn_request_left_ms(req) > 0)
		pause_ms(10);
	return err ? err : PIRN_ERR_TIMEOUT;
}

static int get_key(struct pirn_request *req, struct pirn_response *res)
{
	const void *value;
	size_t size;
	int err = pirn_key_get(req, pirn_request_param(req, "key", NULL), &value, &size);

	if (!err)
		pirn_respond_write(res, value, size);
	return err;
}

static int key(struct pirn_request *req, struct pirn_response *res)
{
	const char *method = pirn_request_method(req);
	const char *name = pirn_request_param(req, "key", NULL);
	bool existed = false;
	size_t size;
	const void *body = pirn_request_body(req, &size);
	int err;

	if (strcmp(method, "PUT") == 0)
		return pirn_key_set(req, name, body, size, 0);
	if (strcmp(method, "DELETE") != 0)
		return get_key(req, res);
	err = pirn_key_delete(req, name, &existed);
	return err ? err : existed ? 0 : PIRN_ERR_NOT_FOUND;
}

static int status(struct pirn_request *req, struct pirn_response *res)
{
	pirn_respond_status(res, (unsigned)number(req, "code"));
	return 0;
}

static int error(struct pirn_request *req, struct pirn_response *res)
{
	pirn_respond_text(res, "this is dropped");
	return (int)number(req, "number");
}

static int bytes(struct pirn_request *req, struct pirn_response *res)
{
	static const char block[4096] = { 'x' };

	for (unsigned long left = number(req, "n"); left > 0;) {
		size_t size = left < sizeof block ? left : sizeof block;

		pirn_respond_write(res, block, size);
		left -= size;
	}
	return 0;
}

static int crash(struct pirn_request *req, struct pirn_response *res)
{
	(void)req;
	(void)res;
	abort();
}

static const char *quoted(struct pirn_request *req, const char *text)
{
	return text ? pirn_json_string(req, text, strlen(text)) : "null";
}

/* Asks something that answers as the path says: well, or not; behind a breaker of that thing's. */
static int bank(struct pirn_request *req, struct pirn_response *res)
{
	const char *how = pirn_request_param(req, "how", NULL);
	bool ok = how && strcmp(how, "ok") == 0;
	int err = pirn_breaker_enter(req, "bank");

	if (err)
		return err;
	pirn_breaker_leave(req, "bank", ok);
	return ok ? pirn_respond_json(res, 200, "{\"balance\":0}") : PIRN_ERR_FAILED;
}

/* What the service sees of the request, and headers that come twice. */
static int mirror(struct pirn_request *req, struct pirn_response *res)
{
	size_t size;

	(void)pirn_request_body(req, &size);
	(void)pirn_respond_json(res, 200,
		"{\"method\":%s,\"target\":%s,\"path\":%s,\"rest\":%s,\"query\":%s,\"header\":%s,\"cookie\":%s,\"size\":%zu,"
		"\"id\":%s,\"attempt\":%u,\"remote\":%s,\"traceparent\":%s,\"left\":%s}",
		quoted(req, pirn_request_method(req)), quoted(req, pirn_request_target(req)),
		quoted(req, pirn_request_path(req)),
		quoted(req, pirn_request_param(req, "rest", NULL)),
		quoted(req, pirn_request_query(req, "q", NULL)),
		quoted(req, pirn_request_header(req, "X-Test")),
		quoted(req, pirn_request_header(req, "cookie")), size,
		quoted(req, pirn_request_id(req)), pirn_request_attempt(req),
		quoted(req, pirn_request_remote(req)), quoted(req, pirn_request_traceparent(req)),
		pirn_request_left_ms(req) > 0 ? "true" : "false");
	pirn_respond_header_add(res, "Set-Cookie", "a=1");
	pirn_respond_header_add(res, "Set-Cookie", "b=2");
	pirn_respond_header(res, "X-Answer", "old");
	pirn_respond_header(res, "X-Answer", "new");
	return 0;
}

static int settings(struct pirn_request *req, struct pirn_response *res)
{
	return pirn_respond_json(res, 200, "{\"env\":%s,\"secret\":%s,\"none\":%s}",
		quoted(req, pirn_env("GREETING")), quoted(req, pirn_env("PASSWORD")),
		quoted(req, pirn_env("NONE")));
}

static const struct {
	const char *name;
	int (*run)(struct pirn_request *req, struct pirn_response *res);
} troubles[] = {
	{ "sleep", sleep_for },
	{ "once", once },
	{ "who", get_key },
	{ "key", key },
	{ "status", status },
	{ "error", error },
	{ "bytes", bytes },
	{ "crash", crash },
	{ "mirror", mirror },
	{ "settings", settings },
	{ "bank", bank },
};

static int trouble(struct pirn_request *req, struct pirn_response *res)
{
	const char *name = pirn_request_path(req) + strlen("/trouble/");

	if (strncmp(pirn_request_path(req), "/trouble/", strlen("/trouble/")) != 0)
		return PIRN_ERR_NOT_FOUND;
	for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++)
		if (strncmp(name, troubles[i].name, strlen(troubles[i].name)) == 0)
			return troubles[i].run(req, res);
	return PIRN_ERR_NOT_FOUND;
}

static int init(void)
{
	static const struct pirn_breaker_options quick = { .consecutive = 3, .open_ms = 300, .open_max_ms = 300 };

	return pirn_breaker_set("bank", &quick);
}

PIRN_SERVICE(.handler = trouble, .init = init);
