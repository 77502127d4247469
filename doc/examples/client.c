/* Calls a service of a running Pirn, first once and then a thousand times at once.
 *
 *	cc client.c $(pkg-config --cflags --libs pirn) -o client
 *	./client tcp://127.0.0.1:7400 hello
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <pirn/client.h>

#define CALLS 1000

/* Callbacks run in the client's thread; what they share with main is under a lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned answered, failed;

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	answered++;
	if (reply->err != PIRN_CLIENT_OK || reply->status >= 400)
		failed++;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static int call_once(struct pirn_client *client, const char *service)
{
	struct pirn_reply *reply;
	enum pirn_client_err err;

	err = pirn_client_call(client, &PIRN_CALL(.service = service, .timeout_ms = 5000), &reply);
	if (err) {
		fprintf(stderr, "%s: %s\n", service, pirn_client_err_text(err));
	} else {
		printf("%u %.*s\n", reply->status, (int)reply->body_size,
			(const char *)reply->body);
	}
	pirn_reply_free(&reply);
	return err != PIRN_CLIENT_OK;
}

static void call_many(struct pirn_client *client, const char *service)
{
	struct pirn_call call = PIRN_CALL(.service = service, .idempotent = true);
	unsigned started = 0;

	for (unsigned i = 0; i < CALLS; i++) {
		enum pirn_client_err err = pirn_client_call_async(client, &call, on_reply, NULL);
		if (err)
			fprintf(stderr, "not taken: %s\n", pirn_client_err_text(err));
		else
			started++;
	}
	pthread_mutex_lock(&lock);
	while (answered < started)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	printf("%u calls answered, %u of them not well\n", answered, failed);
}

int main(int argc, char **argv)
{
	struct pirn_client *client;
	char why[256];
	int code;

	if (argc != 3) {
		fprintf(stderr, "usage: client BROKERS SERVICE\n");
		return 2;
	}
	if (pirn_client_open(&PIRN_OPTIONS(.brokers = argv[1], .name = "example"), &client, why,
		    sizeof why)) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	code = call_once(client, argv[2]);
	if (!code)
		call_many(client, argv[2]);
	pirn_client_close(&client);
	return code;
}
