/* Fails until somebody mends it, and counts what its runs did to state; for tests of
 * events that are retried. POST does its work: counts, then looks whether the key was
 * mended. GET says how often it was counted, PUT mends. */
#include <pirn/service.h>

#include <stdio.h>
#include <string.h>

#define KEY_MAX 128

static int work(struct pirn_request *req, struct pirn_response *res, const char *key)
{
	char mended[KEY_MAX];
	const void *value;
	int64_t counted = 0;
	size_t size;
	int err = pirn_counter_add(req, key, 1, &counted);

	snprintf(mended, sizeof mended, "mended-%s", key);
	if (!err)
		err = pirn_key_get(req, mended, &value, &size);
	if (err && err != PIRN_ERR_NOT_FOUND)
		return err;
	return pirn_respond_json(res, err ? 500 : 200,
		"{\"attempt\":%u,\"of\":%u,\"counted\":%lld,\"event\":%s}",
		pirn_request_attempt(req), pirn_request_attempts(req), (long long)counted,
		pirn_request_is_event(req) ? "true" : "false");
}

static int mend(struct pirn_request *req, const char *key)
{
	char mended[KEY_MAX];

	snprintf(mended, sizeof mended, "mended-%s", key);
	return pirn_key_set(req, mended, "yes", 3, 0);
}

static int tell(struct pirn_request *req, struct pirn_response *res, const char *key)
{
	int64_t counted = 0;
	int err = pirn_counter_get(req, key, &counted);

	if (!err || err == PIRN_ERR_NOT_FOUND)
		err = pirn_respond_json(res, 200, "%lld", (long long)counted);
	return err;
}

static int flaky(struct pirn_request *req, struct pirn_response *res)
{
	const char *method = pirn_request_method(req);
	const char *key = pirn_request_param(req, "key", NULL);

	if (!key)
		key = "none"; /* by /v1/invoke */
	if (strcmp(method, "PUT") == 0)
		return mend(req, key);
	if (strcmp(method, "GET") == 0)
		return tell(req, res, key);
	return work(req, res, key);
}

PIRN_SERVICE(.handler = flaky);
