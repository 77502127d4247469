/* A peer of bench/client_events.c: jobs through beanstalkd.
 *
 *   beanstalk PORT JOBS CONNECTIONS BYTES
 *
 * Each connection has a thread and one command under way, as the protocol wants: it puts
 * a job, reserves one (its own or another's), and deletes it. A job counts from its put
 * until the answer to its delete; every put and every delete is on the disk before its
 * answer when beanstalkd runs with -f0.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 64
#define ANSWER           65536

struct hand {
	int socket;
	unsigned long jobs;
	size_t bytes;
	size_t have;
	char answer[ANSWER];
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char *what)
{
	fprintf(stderr, "beanstalk: %s\n", what);
	exit(1);
}

static void say(struct hand *hand, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t sent = write(hand->socket, text, size);

		if (sent <= 0)
			give_up("the connection is gone");
		text += sent;
		size -= (size_t)sent;
	}
}

/* Reads until `size` bytes are there; 0: until a line's end. */
static void hear(struct hand *hand, size_t size)
{
	while (size ? hand->have < size : !memchr(hand->answer, '\n', hand->have)) {
		ssize_t got = read(hand->socket, hand->answer + hand->have, ANSWER - 1 - hand->have);

		if (got <= 0)
			give_up("the connection is gone");
		hand->have += (size_t)got;
	}
	hand->answer[hand->have] = '\0';
}

static void expect(struct hand *hand, const char *word)
{
	hear(hand, 0);
	if (strncmp(hand->answer, word, strlen(word)) != 0)
		give_up(hand->answer);
}

static void put(struct hand *hand, const char *command, size_t size)
{
	say(hand, command, size);
	expect(hand, "INSERTED ");
	hand->have = 0;
}

static void end_one(struct hand *hand)
{
	unsigned long long id;
	size_t size;
	char command[64];

	say(hand, "reserve\r\n", 9);
	expect(hand, "RESERVED ");
	if (sscanf(hand->answer, "RESERVED %llu %zu", &id, &size) != 2 || size != hand->bytes)
		give_up(hand->answer);
	hear(hand, (size_t)(strchr(hand->answer, '\n') + 1 - hand->answer) + size + 2);
	hand->have = 0;
	say(hand, command, (size_t)snprintf(command, sizeof command, "delete %llu\r\n", id));
	expect(hand, "DELETED");
	hand->have = 0;
}

static void *toil(void *arg)
{
	struct hand *hand = arg;
	char *command = malloc(hand->bytes + 64);
	size_t head;

	if (!command)
		give_up("no memory");
	head = (size_t)sprintf(command, "put 0 0 60 %zu\r\n", hand->bytes);
	memset(command + head, 'x', hand->bytes);
	memcpy(command + head + hand->bytes, "\r\n", 2);
	for (unsigned long i = 0; i < hand->jobs; i++) {
		put(hand, command, head + hand->bytes + 2);
		end_one(hand);
	}
	free(command);
	return NULL;
}

static int dial(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address))
		give_up("cannot connect");
	(void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return s;
}

static int run(int port, unsigned long jobs, unsigned connections, size_t bytes)
{
	static struct hand hands[MOST_CONNECTIONS];
	pthread_t threads[MOST_CONNECTIONS];
	double start;

	if (connections < 1 || connections > MOST_CONNECTIONS || bytes > ANSWER / 2)
		return 2;
	for (unsigned i = 0; i < connections; i++) {
		hands[i].socket = dial(port);
		hands[i].jobs = jobs / connections;
		hands[i].bytes = bytes;
	}
	start = now_s();
	for (unsigned i = 0; i < connections; i++) {
		if (pthread_create(&threads[i], NULL, toil, &hands[i]))
			give_up("cannot start a thread");
	}
	for (unsigned i = 0; i < connections; i++) {
		pthread_join(threads[i], NULL);
		close(hands[i].socket);
	}
	jobs = jobs / connections * connections;
	printf("jobs=%lu\njobs_per_s=%.0f\n", jobs, (double)jobs / (now_s() - start));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5)
		return run(atoi(argv[1]), strtoul(argv[2], NULL, 10), (unsigned)atoi(argv[3]), strtoul(argv[4], NULL, 10));
	fprintf(stderr, "usage: beanstalk PORT JOBS CONNECTIONS BYTES\n");
	return 2;
}
