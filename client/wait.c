/* The waiting call: an asynchronous one, and a condition to sleep on. */
#include "client/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct pirn_reply *reply;
	bool done;
};

static struct pirn_reply *copy_reply(const struct pirn_reply *reply)
{
	struct pirn_reply *copy = malloc(sizeof *copy + reply->body_size + 1);
	char *body;

	if (!copy)
		return NULL;
	body = (char *)(copy + 1);
	*copy = *reply;
	memcpy(body, reply->body, reply->body_size);
	body[reply->body_size] = '\0';
	copy->body = body;
	return copy;
}

static void on_waited(void *arg, const struct pirn_reply *reply)
{
	struct waiter *w = arg;
	struct pirn_reply *copy = copy_reply(reply);

	pthread_mutex_lock(&w->lock);
	w->reply = copy;
	w->done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

enum pirn_client_err pirn_client_call(
	struct pirn_client *client, const struct pirn_call *call, struct pirn_reply **reply)
{
	struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER };
	enum pirn_client_err err = PIRN_CLIENT_INVALID;

	if (!reply)
		return err;
	*reply = NULL;
	if (client && client_thread_is_own(client))
		return PIRN_CLIENT_WRONG_THREAD;
	err = pirn_client_call_async(client, call, on_waited, &w);
	if (!err) {
		pthread_mutex_lock(&w.lock);
		while (!w.done)
			pthread_cond_wait(&w.ended, &w.lock);
		pthread_mutex_unlock(&w.lock);
		*reply = w.reply;
		err = w.reply ? w.reply->err : PIRN_CLIENT_NOMEM;
	}
	pthread_cond_destroy(&w.ended);
	pthread_mutex_destroy(&w.lock);
	return err;
}

void pirn_reply_free(struct pirn_reply **reply)
{
	free(*reply);
	*reply = NULL;
}
