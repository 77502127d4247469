/* A connection to the HTTP listener. The first byte says how many of the next ones are lengths of
 * segments; the rest is sent once as a whole and once in these segments, then the client closes its
 * end. Both times the handler must see the same requests and the same answers must come, every one
 * of them well-formed, none after one that said close, none that nobody asked for; and at the end
 * the listener holds nothing.
 */
#include <sys/un.h>

#include "tests/unit/wire_fixture.h"

#define MOST 20000u /* of an input: no more than a socket's buffer takes at once */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire *wire;
static struct sockaddr_un address;
static socklen_t address_size = sizeof address;

/* A socket without a name in the file system. Limits are small, so that inputs reach them. */
static void serve(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct gw_http_conf conf;
	void *state;

	address.sun_family = AF_UNIX;
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_size), 0);
	assert_int_equal(listen(fd, 16), 0);
	wire_setup_loop(&state);
	wire = state;
	conf = wire_conf(wire);
	conf.listen_fd = fd;
	conf.max_head = 600;
	conf.max_body = 300;
	wire_serve(wire, &conf);
}

static void stop(void)
{
	void *state = wire;

	wire_teardown(&state);
}

static struct client connect_to_it(void)
{
	struct client c = { .fd = socket(AF_UNIX, SOCK_STREAM, 0) };

	base_buf_init(&c.in);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&address, address_size), 0);
	return c;
}

/* What it was answered, and what the handler saw, as one text. */
static void run(const uint8_t *data, size_t size, const uint8_t *lengths, size_t n, struct base_buf *out)
{
	struct client c = connect_to_it();
	struct answers a;

	wire_forget(wire);
	for (size_t i = 0, at = 0; at < size && !c.closed; i++) {
		size_t part = n ? lengths[i % n] + 1u : size;
		if (part > size - at)
			part = size - at;
		if (!wire_put(wire, &c, (const char *)data + at, part))
			break;
		at += part;
	}
	(void)shutdown(c.fd, SHUT_WR);
	until(wire->loop, &c, c.closed);
	wire_read(wire, &c, &a);
	if (a.wrong || a.partial)
		fail_msg("%s in \"%s\"", a.wrong ? a.wrong : "half an answer", (const char *)c.in.data);
	assert_true(a.n <= wire->heads + 1 && wire->requests <= wire->heads);
	client_close(&c);
	until(wire->loop, (struct client *)NULL, gw_http_connections(wire->http) == 0);
	assert_int_equal(gw_http_requests(wire->http), 0);
	assert_int_equal(gw_http_held(wire->http), 0);
	for (unsigned i = 0; i < a.n; i++)
		base_buf_fmt(out, "%u ", a.status[i]);
	base_buf_add(out, wire->saw.data, wire->saw.size);
}

/* An answer to each would be needed first, and the reader of answers remembers 32. */
static bool is_too_many(const uint8_t *data, size_t size)
{
	unsigned lines = 0;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n';
	return lines > 60 || memmem(data, size, "/later", 6) || size > MOST;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct base_buf whole, cut;
	size_t n;

	if (size == 0)
		return 0;
	n = data[0] % 16;
	if (n > size - 1)
		n = size - 1;
	if (is_too_many(data, size))
		return 0;
	if (!wire) {
		serve();
		(void)atexit(stop);
	}
	base_buf_init(&whole);
	base_buf_init(&cut);
	run(data + 1 + n, size - 1 - n, NULL, 0, &whole);
	run(data + 1 + n, size - 1 - n, data + 1, n, &cut);
	if (strcmp((const char *)whole.data, (const char *)cut.data) != 0)
		fail_msg("whole: %s\nin segments: %s", (const char *)whole.data, (const char *)cut.data);
	base_buf_fini(&whole);
	base_buf_fini(&cut);
	return 0;
}
