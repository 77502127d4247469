/* What a user of the library might write: compiled by test_client.c with nothing
 * but the public header and -lpirn. */
#include <pirn/client.h>

#include <stdio.h>

int main(int argc, char **argv)
{
	struct pirn_client *client = NULL;
	struct pirn_reply *reply = NULL;
	char why[256];

	if (argc != 2 || pirn_client_open(&PIRN_OPTIONS(.brokers = argv[1], .name = "user"), &client, why, sizeof why)) {
		fprintf(stderr, "%s\n", argc == 2 ? why : "usage: user BROKERS");
		return 1;
	}
	if (pirn_client_call(client, &PIRN_CALL(.service = "hello", .timeout_ms = 20000), &reply) == PIRN_CLIENT_OK)
		printf("%u %.*s\n", reply->status, (int)reply->body_size, (const char *)reply->body);
	pirn_reply_free(&reply);
	pirn_client_close(&client);
	return 0;
}
