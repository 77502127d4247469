/* Sends events to all who subscribe to their type, as fast as they are taken, and says what became of the last.
 *
 *	cc topic.c $(pkg-config --cflags --libs pirn) -o topic
 *	./topic tcp://127.0.0.1:7400 order.created 1000
 *
 * FULL is back-pressure: as many events as the client may hold are under way. Whoever waits for answers then
 * cannot outrun the brokers. What is refused with a reason that may pass (pirn_client_err_retryable) is to be sent
 * again with the same event_id: it is there once.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pirn/client.h>

#define WAIT_MS 30000

/* Callbacks run in the client's thread; what they share with main is under a lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned started, decided, accepted;
static char last[PIRN_ID_SIZE];

static void on_sent(void *arg, const struct pirn_sent *sent)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	decided++;
	if (sent->err == PIRN_CLIENT_OK) {
		accepted++;
		memcpy(last, sent->id, sizeof last);
	} else {
		fprintf(stderr, "not accepted: %s\n", pirn_client_err_text(sent->err));
	}
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static void note_started(void)
{
	pthread_mutex_lock(&lock);
	started++;
	pthread_mutex_unlock(&lock);
}

static void wait_for(unsigned n)
{
	pthread_mutex_lock(&lock);
	while (decided < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* Another one, whichever. */
static void wait_for_one(void)
{
	unsigned before;

	pthread_mutex_lock(&lock);
	before = decided;
	while (decided == before && decided < started)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* Returns how many it was able to send. */
static unsigned send_all(struct pirn_client *client, const char *type, unsigned n)
{
	char body[64], id[64];
	unsigned sent = 0;

	while (sent < n) {
		struct pirn_event event = PIRN_EVENT(.type = type, .source = "/examples/c",
			.event_id = id, .content_type = "application/json", .body = body,
			.want_result = true);
		enum pirn_client_err err;

		(void)snprintf(id, sizeof id, "%lld-%u", (long long)time(NULL), sent);
		event.body_size = (size_t)snprintf(body, sizeof body, "{\"number\":%u}", sent);
		err = pirn_client_send_async(client, &event, on_sent, NULL);
		if (!err) {
			sent++;
			note_started();
		} else if (err == PIRN_CLIENT_FULL) {
			wait_for_one();
		} else {
			fprintf(stderr, "not sent: %s\n", pirn_client_err_text(err));
			break;
		}
	}
	return sent;
}

static int show_last(struct pirn_client *client)
{
	struct pirn_result *result;
	enum pirn_client_err err = pirn_client_result(client, last, WAIT_MS, &result);

	if (err) {
		fprintf(stderr, "%s: %s\n", last, pirn_client_err_text(err));
		return 1;
	}
	printf("%s is %s\n", last, pirn_state_name(result->state));
	pirn_result_free(&result);
	return 0;
}

int main(int argc, char **argv)
{
	struct pirn_client *client;
	unsigned sent;
	char why[256];
	int code = 1;

	if (argc != 4) {
		fprintf(stderr, "usage: topic BROKERS TYPE COUNT\n");
		return 2;
	}
	if (pirn_client_open(&PIRN_OPTIONS(.brokers = argv[1], .name = "example", .max_calls = 100),
		    &client, why, sizeof why)) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	sent = send_all(client, argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	wait_for(sent);
	printf("%u of %u accepted\n", accepted, sent);
	if (accepted > 0)
		code = show_last(client);
	pirn_client_close(&client);
	return code;
}
