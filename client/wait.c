/* The functions that wait: each is an asynchronous one, and a condition to sleep on. */
#include "client/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	void *copy; /* of what the callback was told; NULL: no memory */
	bool done;
};

#define WAITER \
	((struct waiter){ .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER })

static void wake(struct waiter *w, void *copy)
{
	pthread_mutex_lock(&w->lock);
	w->copy = copy;
	w->done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

/* err: whether the asynchronous one was taken; only then there is something to wait for. */
static void *sleep_on(struct waiter *w, enum pirn_client_err err)
{
	if (!err) {
		pthread_mutex_lock(&w->lock);
		while (!w->done)
			pthread_cond_wait(&w->ended, &w->lock);
		pthread_mutex_unlock(&w->lock);
	}
	pthread_cond_destroy(&w->ended);
	pthread_mutex_destroy(&w->lock);
	return w->copy;
}

/* A struct and its body behind it, NUL-terminated, in one piece. */
static void *copy_with(const void *head, size_t head_size, const void *body, size_t body_size)
{
	char *copy = malloc(head_size + body_size + 1);

	if (!copy)
		return NULL;
	memcpy(copy, head, head_size);
	if (body_size)
		memcpy(copy + head_size, body, body_size);
	copy[head_size + body_size] = '\0';
	return copy;
}

/* ---- calls ----------------------------------------------------------------- */

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	struct pirn_reply *copy = copy_with(reply, sizeof *reply, reply->body, reply->body_size);

	if (copy)
		copy->body = copy + 1;
	wake(arg, copy);
}

enum pirn_client_err pirn_client_call(
	struct pirn_client *client, const struct pirn_call *call, struct pirn_reply **reply)
{
	struct waiter w = WAITER;
	enum pirn_client_err err;

	if (!reply)
		return PIRN_CLIENT_INVALID;
	*reply = NULL;
	if (client && client_thread_is_own(client))
		return PIRN_CLIENT_WRONG_THREAD;
	err = pirn_client_call_async(client, call, on_reply, &w);
	*reply = sleep_on(&w, err);
	if (err)
		return err;
	return *reply ? (*reply)->err : PIRN_CLIENT_NOMEM;
}

void pirn_reply_free(struct pirn_reply **reply)
{
	free(*reply);
	*reply = NULL;
}

/* ---- events ---------------------------------------------------------------- */

static void on_sent(void *arg, const struct pirn_sent *sent)
{
	wake(arg, copy_with(sent, sizeof *sent, NULL, 0));
}

enum pirn_client_err pirn_client_send(
	struct pirn_client *client, const struct pirn_event *event, char id[PIRN_ID_SIZE])
{
	struct waiter w = WAITER;
	struct pirn_sent *sent;
	enum pirn_client_err err;

	if (id)
		id[0] = '\0';
	if (client && client_thread_is_own(client))
		return PIRN_CLIENT_WRONG_THREAD;
	err = pirn_client_send_async(client, event, on_sent, &w);
	sent = sleep_on(&w, err);
	if (err)
		return err;
	err = sent ? sent->err : PIRN_CLIENT_NOMEM;
	if (id && sent)
		memcpy(id, sent->id, PIRN_ID_SIZE);
	free(sent);
	return err;
}

/* ---- results --------------------------------------------------------------- */

static void on_result(void *arg, const struct pirn_result *result)
{
	struct pirn_result *copy =
		copy_with(result, sizeof *result, result->body, result->body_size);

	if (copy)
		copy->body = copy + 1;
	wake(arg, copy);
}

static enum pirn_client_err take_result(
	struct waiter *w, enum pirn_client_err err, struct pirn_result **result)
{
	*result = sleep_on(w, err);
	if (!err)
		err = *result ? (*result)->err : PIRN_CLIENT_NOMEM;
	if (err)
		pirn_result_free(result);
	return err;
}

enum pirn_client_err pirn_client_result(
	struct pirn_client *client, const char *id, uint32_t wait_ms, struct pirn_result **result)
{
	struct waiter w = WAITER;

	if (!result)
		return PIRN_CLIENT_INVALID;
	*result = NULL;
	if (client && client_thread_is_own(client))
		return PIRN_CLIENT_WRONG_THREAD;
	return take_result(
		&w, pirn_client_result_async(client, id, wait_ms, on_result, &w), result);
}

enum pirn_client_err pirn_client_cancel(
	struct pirn_client *client, const char *id, struct pirn_result **result)
{
	struct waiter w = WAITER;

	if (!result)
		return PIRN_CLIENT_INVALID;
	*result = NULL;
	if (client && client_thread_is_own(client))
		return PIRN_CLIENT_WRONG_THREAD;
	return take_result(&w, client_result_cancel_async(client, id, on_result, &w), result);
}

void pirn_result_free(struct pirn_result **result)
{
	free(*result);
	*result = NULL;
}
