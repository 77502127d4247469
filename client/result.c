/* What became of an event: client/invocation.h, for the users' threads. */
#include <stdlib.h>
#include <string.h>

#include "base/ulid.h"
#include "client/errors.h"
#include "client/invocation.h"
#include "client/thread.h"

struct inquiry {
	struct client_job job;
	uint8_t id[16];
	uint32_t wait_ms;
	bool cancel;
	pirn_result_fn *fn;
	void *arg;
};

const char *pirn_state_name(enum pirn_state state)
{
	return client_invocation_state_name((uint32_t)state);
}

static void finish(struct inquiry *q, const struct pirn_result *result)
{
	pirn_result_fn *fn = q->fn;
	void *arg = q->arg;

	free(q);
	fn(arg, result);
}

static void fail(struct inquiry *q, enum pirn_client_err err)
{
	const struct pirn_result result = { .err = err, .body = "" };

	finish(q, &result);
}

/* Of several deliveries, the one that has furthest to go. */
static const Pirn__Invocation *slowest(const struct client_invocations *told)
{
	const Pirn__Invocation *one = told->list[0];

	for (size_t i = 0; i < told->n; i++) {
		if (!client_invocation_has_ended(told->list[i]->state))
			return told->list[i];
		if (one->state == PIRN__INVOCATION_STATE__DONE)
			one = told->list[i];
	}
	return one;
}

static void on_told(void *arg, const struct client_invocations *told)
{
	struct pirn_result result = { .body = "" };
	const Pirn__Invocation *one;

	if (told->verdict == CLIENT_UNKNOWN) {
		fail(arg, PIRN_CLIENT_NOT_FOUND);
		return;
	}
	if (told->verdict == CLIENT_CANNOT_SAY) {
		fail(arg, client_err_of_reason(told->reason));
		return;
	}
	one = slowest(told);
	result.state = (enum pirn_state)one->state;
	result.status = one->status;
	result.attempt = one->attempt;
	result.attempts = one->attempts;
	result.accepted_ms = one->accepted_ms;
	result.ended_ms = one->ended_ms;
	strncat(result.service, one->service, sizeof result.service - 1);
	if (one->has_data && one->data.len > 0) {
		result.body = one->data.data;
		result.body_size = one->data.len;
	}
	finish(arg, &result);
}

static void inquire(struct pirn_client *client, struct client_job *job)
{
	struct inquiry *q = (struct inquiry *)(void *)job; /* its first member */
	struct client_engine *e = client_thread_engine(client);
	enum base_err err =
		q->cancel ? client_invocation_cancel(e, q->id, q->wait_ms, on_told, q, NULL)
			  : client_invocation_ask(e, q->id, q->wait_ms, on_told, q, NULL);

	if (err)
		fail(q, client_err_of_base(err));
}

static enum pirn_client_err start(struct pirn_client *client, const char *id,
	const struct inquiry *like, pirn_result_fn *fn, void *arg)
{
	struct inquiry *q;
	enum pirn_client_err err;

	if (!client || !id || !fn)
		return PIRN_CLIENT_INVALID;
	q = malloc(sizeof *q);
	if (!q)
		return PIRN_CLIENT_NOMEM;
	*q = *like;
	q->job.run = inquire;
	q->fn = fn;
	q->arg = arg;
	err = base_ulid_parse(id, q->id) ? client_thread_post(client, &q->job)
					 : PIRN_CLIENT_INVALID;
	if (err)
		free(q);
	return err;
}

enum pirn_client_err pirn_client_result_async(
	struct pirn_client *client, const char *id, uint32_t wait_ms, pirn_result_fn *fn, void *arg)
{
	return start(client, id, &(struct inquiry){ .wait_ms = wait_ms }, fn, arg);
}

enum pirn_client_err client_result_cancel_async(
	struct pirn_client *client, const char *id, pirn_result_fn *fn, void *arg)
{
	return start(client, id, &(struct inquiry){ .cancel = true }, fn, arg);
}
