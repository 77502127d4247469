/* A peer of bench/client_events.c: a work queue of NATS JetStream, in files.
 *
 *   nats worker PORT                              consumes and acknowledges until it is killed
 *   nats client PORT EVENTS IN_FLIGHT BYTES       publishes, and waits until all have ended
 *
 * The client publishes asynchronously, IN_FLIGHT undecided at most, and counts an event
 * from its publish until the stream has it no more: in a work queue that is when the
 * server has taken its acknowledgement. The server is asked for that every 10 ms, as
 * client_events asks the brokers. It syncs no publish to the disk: that is its default.
 *
 * A worker fetches from the one durable consumer that all share, in batches of BATCH;
 * acknowledgements are not waited for.
 */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM   "bench"
#define SUBJECT  "bench.echo"
#define CONSUMER "workers"
#define BATCH    512

struct link {
	natsConnection *connection;
	jsCtx *js;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(stderr, "nats: %s: %s\n", what, natsStatus_GetText(status));
	exit(1);
}

static struct link dial(int port, int64_t in_flight)
{
	struct link link;
	jsOptions options;
	char url[64];

	snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
	must(natsConnection_ConnectTo(&link.connection, url), "connect");
	jsOptions_Init(&options);
	options.PublishAsync.MaxPending = in_flight;
	options.PublishAsync.StallWait = 60000;
	must(natsConnection_JetStream(&link.js, link.connection, &options), "JetStream");
	return link;
}

/* Of a stream and a consumer that are there already it says so: then they are as we want them. */
static void make_queue(struct link *link)
{
	const char *subjects[] = { SUBJECT };
	jsStreamConfig stream;
	jsConsumerConfig consumer;

	jsStreamConfig_Init(&stream);
	stream.Name = STREAM;
	stream.Subjects = subjects;
	stream.SubjectsLen = 1;
	stream.Storage = js_FileStorage;
	stream.Retention = js_WorkQueuePolicy;
	must(js_AddStream(NULL, link->js, &stream, NULL, NULL), "stream");
	jsConsumerConfig_Init(&consumer);
	consumer.Durable = CONSUMER;
	consumer.AckPolicy = js_AckExplicit;
	consumer.MaxAckPending = 64 * BATCH;
	must(js_AddConsumer(NULL, link->js, STREAM, &consumer, NULL, NULL), "consumer");
}

static void work(int port)
{
	struct link link = dial(port, BATCH);
	natsSubscription *subscription;
	jsSubOptions options;

	make_queue(&link);
	jsSubOptions_Init(&options);
	options.Stream = STREAM;
	options.Consumer = CONSUMER;
	must(js_PullSubscribe(&subscription, link.js, SUBJECT, CONSUMER, NULL, &options, NULL), "subscribe");
	for (;;) {
		natsMsgList list = { 0 };
		natsStatus status = natsSubscription_Fetch(&list, subscription, BATCH, 1000, NULL);

		if (status != NATS_TIMEOUT)
			must(status, "fetch");
		for (int i = 0; i < list.Count; i++)
			must(natsMsg_Ack(list.Msgs[i], NULL), "ack");
		natsMsgList_Destroy(&list);
	}
}

static jsStreamState ask_state(struct link *link)
{
	jsStreamInfo *info = NULL;
	jsStreamState state;

	must(js_GetStreamInfo(&info, link->js, STREAM, NULL, NULL), "stream's state");
	state = info->State;
	jsStreamInfo_Destroy(info);
	return state;
}

/* How many the stream took that are not in it any more. */
static uint64_t wait_for_end(struct link *link, uint64_t last_before)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	jsStreamState state;

	while (state = ask_state(link), state.Msgs > 0)
		nanosleep(&pause, NULL);
	return state.LastSeq - last_before;
}

static int publish(int port, uint64_t events, int64_t in_flight, size_t bytes)
{
	struct link link = dial(port, in_flight);
	char *payload = malloc(bytes);
	uint64_t before, settled;
	double start, accepted;

	if (!payload)
		return 1;
	memset(payload, 'x', bytes);
	make_queue(&link);
	before = ask_state(&link).LastSeq;
	start = now_s();
	for (uint64_t i = 0; i < events; i++)
		must(js_PublishAsync(link.js, SUBJECT, payload, (int)bytes, NULL), "publish");
	must(js_PublishAsyncComplete(link.js, NULL), "publish");
	accepted = now_s() - start;
	settled = wait_for_end(&link, before);
	printf("settled=%llu\naccepted_per_s=%.0f\nevents_per_s=%.0f\n", (unsigned long long)settled,
	       (double)events / accepted, (double)events / (now_s() - start));
	free(payload);
	jsCtx_Destroy(link.js);
	natsConnection_Destroy(link.connection);
	return settled == events ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "worker") == 0)
		work(atoi(argv[2]));
	if (argc == 6 && strcmp(argv[1], "client") == 0)
		return publish(atoi(argv[2]), strtoull(argv[3], NULL, 10), atoll(argv[4]), strtoul(argv[5], NULL, 10));
	fprintf(stderr, "usage: nats worker PORT | nats client PORT EVENTS IN_FLIGHT BYTES\n");
	return 2;
}
