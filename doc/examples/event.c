/* Sends an event to a service of a running Pirn, and waits for what becomes of it.
 *
 *	cc event.c $(pkg-config --cflags --libs pirn) -o event
 *	./event tcp://127.0.0.1:7400 hello order-17 'some text'
 *
 * The third word is the event's key: however often this is run with it, the service gets the
 * event once. That is also the answer to "it could not be told in time": send it again.
 */
#include <stdio.h>
#include <string.h>

#include <pirn/client.h>

#define TRIES   5
#define WAIT_MS 20000

static enum pirn_client_err submit(struct pirn_client *client, char **words, char id[PIRN_ID_SIZE])
{
	const struct pirn_event event = PIRN_EVENT(.service = words[2], .key = words[3],
		.body = words[4], .body_size = strlen(words[4]), .want_result = true);
	enum pirn_client_err err = PIRN_CLIENT_OK;

	for (int i = 0; i < TRIES; i++) {
		err = pirn_client_send(client, &event, id);
		if (!err || !pirn_client_err_retryable(err))
			break;
		fprintf(stderr, "again, because %s\n", pirn_client_err_text(err));
	}
	return err;
}

static int show_end(struct pirn_client *client, const char *id)
{
	struct pirn_result *result;
	enum pirn_client_err err = pirn_client_result(client, id, WAIT_MS, &result);

	if (err) {
		fprintf(stderr, "%s: %s\n", id, pirn_client_err_text(err));
		return 1;
	}
	printf("%s is %s after attempt %u: %u %.*s\n", id, pirn_state_name(result->state),
		(unsigned)result->attempt, result->status, (int)result->body_size,
		(const char *)result->body);
	pirn_result_free(&result);
	return 0;
}

int main(int argc, char **argv)
{
	struct pirn_client *client;
	char why[256], id[PIRN_ID_SIZE];
	enum pirn_client_err err;
	int code = 1;

	if (argc != 5) {
		fprintf(stderr, "usage: event BROKERS SERVICE KEY TEXT\n");
		return 2;
	}
	if (pirn_client_open(&PIRN_OPTIONS(.brokers = argv[1], .name = "example"), &client, why,
		    sizeof why)) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	err = submit(client, argv, id);
	if (err)
		fprintf(stderr, "not accepted: %s\n", pirn_client_err_text(err));
	else
		code = show_end(client, id);
	pirn_client_close(&client);
	return code;
}
