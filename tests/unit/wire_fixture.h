/* For tests of HTTP/1.1 on the wire: tables of raw bytes, and what comes back for them.
 *
 * Each row is sent whole, byte by byte, and cut into two at every place; the answers, what the
 * handler saw, and whether the connection stays must be the same each time. Answers are read by
 * a strict reader of this file's own, which knows nothing of the server's.
 *
 * The responder answers 200 with "METHOD TARGET" as its text, and by its path otherwise: /refused
 * 404 at its head, /small takes 10 bytes of body, /204 and /304 have no body, /later waits.
 */
#ifndef WIRE_FIXTURE_H
#define WIRE_FIXTURE_H

#include "http_fixture.h"

#include "gateway/http.h"

#define WIRE_MAX_HEAD (32u * 1024)
#define WIRE_MAX_BODY (64u * 1024)
#define WIRE_LATER    16
#define WIRE_REMEMBER 64 /* requests of a row of which we remember whether they were HEAD */

struct wire {
	struct net_loop *loop;
	struct gw_http *http;
	struct base_rand rand;
	struct base_ulid_maker ulids;
	struct gw_request *later[WIRE_LATER];
	size_t n_later;
	unsigned heads, requests, done;
	bool is_head[WIRE_REMEMBER];
	struct base_buf saw; /* a line a request that came whole: METHOD TARGET [name=value]… {body} */
	const char *large;   /* what /large answers with */
	size_t large_size;
};

/* ---- the responder --------------------------------------------------------------------- */

/* Printable bytes as they are, so that tables can be read. */
static inline void wire_show(struct base_buf *b, const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t c = ((const uint8_t *)data)[i];
		if (c >= ' ' && c < 0x7f)
			base_buf_chr(b, (char)c);
		else
			base_buf_fmt(b, "\\x%02x", c);
	}
}

static inline void wire_note(struct wire *w, const struct gw_request *r)
{
	struct base_buf *b = &w->saw;

	if (b->size > 0)
		base_buf_chr(b, '\n');
	wire_show(b, r->method.data, r->method.size);
	base_buf_chr(b, ' ');
	wire_show(b, r->target.data, r->target.size);
	for (size_t i = 0; i < r->n_headers; i++) {
		base_buf_str(b, " [");
		wire_show(b, r->headers[i].name.data, r->headers[i].name.size);
		base_buf_chr(b, '=');
		wire_show(b, r->headers[i].value.data, r->headers[i].value.size);
		base_buf_chr(b, ']');
	}
	if (r->payload.size > r->body_at) {
		base_buf_str(b, " {");
		wire_show(b, r->payload.data + r->body_at, r->payload.size - r->body_at);
		base_buf_chr(b, '}');
	}
}

static inline void wire_answer(struct gw_request *r, unsigned status, const char *text, size_t size)
{
	struct gw_answer a = {
		.status = status, .content_type = "text/plain", .body = text, .size = size
	};

	assert_int_equal(gw_http_answer(r, &a), BASE_OK);
}

static inline bool wire_is(const struct gw_request *r, const char *path)
{
	return gw_slice_equal(r->target, gw_slice_of(path));
}

static inline void wire_on_head(void *arg, struct gw_request *r)
{
	struct wire *w = arg;

	if (w->heads < WIRE_REMEMBER)
		w->is_head[w->heads] = gw_slice_equal(r->method, GW_SLICE("HEAD"));
	w->heads++;
	if (wire_is(r, "/refused"))
		gw_http_refuse(r, 404, "Nothing is at this path.");
	if (gw_slice_equal(r->method, GW_SLICE("CONNECT"))) /* 2xx would make it a tunnel */
		gw_http_refuse(r, 405, "This is no proxy.");
	if (wire_is(r, "/small"))
		r->max_body = 10;
}

static inline void wire_on_request(void *arg, struct gw_request *r)
{
	struct wire *w = arg;
	char text[128];
	int n = snprintf(text, sizeof text, "%.*s %.*s",
		(int)(r->method.size < 60 ? r->method.size : 60), r->method.data,
		(int)(r->target.size < 60 ? r->target.size : 60), r->target.data);

	w->requests++;
	wire_note(w, r);
	if (wire_is(r, "/later")) {
		assert_true(w->n_later < WIRE_LATER);
		w->later[w->n_later++] = r;
	} else if (wire_is(r, "/large")) {
		wire_answer(r, 200, w->large, w->large_size);
	} else {
		wire_answer(r, wire_is(r, "/204") ? 204 : wire_is(r, "/304") ? 304 : 200, text, (size_t)n);
	}
}

static inline void wire_on_done(void *arg, const struct gw_request *r)
{
	struct wire *w = arg;

	for (size_t i = 0; i < w->n_later; i++)
		if (w->later[i] == r)
			w->later[i] = w->later[--w->n_later];
	w->done++;
}

static inline struct gw_http_conf wire_conf(struct wire *w)
{
	return (struct gw_http_conf){ .address = "127.0.0.1:0",
		.listen_fd = -1,
		.max_head = WIRE_MAX_HEAD,
		.max_body = WIRE_MAX_BODY,
		.max_connections = 64,
		.head_ms = PATIENCE_MS,
		.body_ms = PATIENCE_MS,
		.idle_ms = 60000,
		.user_bytes = 64,
		.rand = &w->rand,
		.ulids = &w->ulids };
}

static inline void wire_serve(struct wire *w, const struct gw_http_conf *conf)
{
	struct gw_http_events events = { wire_on_head, wire_on_request, wire_on_done, w };
	char *why;

	if (gw_http_new(w->loop, conf, &events, &w->http, &why) != BASE_OK)
		fail_msg("%s", why);
}

static inline int wire_setup_loop(void **state)
{
	struct wire *w = calloc(1, sizeof *w);

	assert_non_null(w);
	base_rand_init(&w->rand, 1);
	base_buf_init(&w->saw);
	assert_int_equal(net_loop_new(&w->loop), BASE_OK);
	*state = w;
	return 0;
}

static inline int wire_setup(void **state)
{
	struct gw_http_conf conf;

	wire_setup_loop(state);
	conf = wire_conf(*state);
	wire_serve(*state, &conf);
	return 0;
}

static inline int wire_teardown(void **state)
{
	struct wire *w = *state;

	gw_http_free(&w->http);
	net_loop_free(&w->loop);
	base_buf_fini(&w->saw);
	free(w);
	return 0;
}

/* Gone with a bang. */
static inline void client_reset(struct client *c)
{
	struct linger now = { .l_onoff = 1 };

	assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
	client_close(c);
}

/* ---- reading answers ------------------------------------------------------------------- */

struct answers {
	unsigned n, status[32];
	unsigned continues;     /* 100s */
	bool last;              /* the last one says Connection: close */
	bool partial;           /* the bytes end within an answer */
	size_t sizes[32];       /* Content-Length, SIZE_MAX: none */
	const char *wrong;      /* what no answer may look like, or NULL */
};

static inline bool wire_token(const char *at, const char *end)
{
	for (const char *p = at; p < end; p++)
		if (*p <= ' ' || *p >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", *p))
			return false;
	return at < end;
}

static inline bool wire_named(const char *at, const char *colon, const char *name)
{
	return (size_t)(colon - at) == strlen(name) && strncasecmp(at, name, strlen(name)) == 0;
}

struct answer_head {
	unsigned status, lengths, ids, dates;
	size_t length;
	bool close, coded;
	const char *wrong;
};

static inline void wire_field(struct answer_head *h, const char *at, const char *end)
{
	const char *colon = memchr(at, ':', (size_t)(end - at)), *value;

	if (!colon || !wire_token(at, colon)) {
		h->wrong = "a header's name";
		return;
	}
	value = colon + 1 + (colon[1] == ' ');
	for (const char *p = value; p < end; p++)
		if (((uint8_t)*p < ' ' && *p != '\t') || *p == 0x7f)
			h->wrong = "a header's value";
	if (wire_named(at, colon, "Content-Length")) {
		h->lengths++;
		h->length = strtoul(value, NULL, 10);
	}
	h->coded |= wire_named(at, colon, "Transfer-Encoding");
	h->ids += wire_named(at, colon, "X-Request-Id");
	h->dates += wire_named(at, colon, "Date");
	if (wire_named(at, colon, "Connection") && strncasecmp(value, "close", (size_t)(end - value)) == 0)
		h->close = true;
}

/* RFC 9112 4, 6.3; RFC 9110 6.6.1 (Date), 8.6 (no length in 1xx and 204). */
static inline const char *wire_head_fault(const struct answer_head *h)
{
	if (h->wrong)
		return h->wrong;
	if (h->status == 100)
		return h->lengths ? "a length in a 100" : NULL;
	if (h->status < 200)
		return "an interim answer nobody asked for";
	if (h->coded)
		return "a transfer coding";
	if (h->lengths > 1 || (h->lengths == 0 && h->status != 204 && h->status != 304))
		return "not one Content-Length";
	if (h->status == 204 && h->lengths)
		return "a length in a 204";
	if (h->ids != 1 && (h->ids || h->status != 503))
		return "not one X-Request-Id"; /* without memory there is none */
	return h->dates == 1 ? NULL : "not one Date";
}

/* The end of the head at `at`, or NULL: it is not whole, or wrong. */
static inline const char *wire_head(struct answer_head *h, const char *at, const char *end)
{
	const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
	bool good = line && line - at >= 13 && memcmp(at, "HTTP/1.1 ", 9) == 0 && at[12] == ' ';

	*h = (struct answer_head){ .status = 0 };
	if (line && !good)
		h->wrong = "a status line";
	if (!good)
		return NULL;
	h->status = (unsigned)strtoul(at + 9, NULL, 10);
	for (;;) {
		at = line + 2;
		line = memmem(at, (size_t)(end - at), "\r\n", 2);
		if (!line)
			return NULL;
		if (line == at)
			break;
		wire_field(h, at, line);
	}
	h->wrong = wire_head_fault(h);
	return line + 2;
}

/* All answers in what c received. */
static inline void wire_read(const struct wire *w, const struct client *c, struct answers *a)
{
	const char *at = (const char *)c->in.data, *end = at + c->in.size;
	struct answer_head h;

	memset(a, 0, sizeof *a);
	while (at < end && !a->wrong) {
		const char *body = wire_head(&h, at, end);
		size_t size = h.length;
		a->wrong = h.wrong ? h.wrong : a->last ? "more after Connection: close" : NULL;
		a->partial = true;
		if (!body || a->wrong)
			return;
		if (h.status == 100) {
			a->continues++;
			at = body;
			a->partial = false;
			continue;
		}
		if (h.status == 204 || h.status == 304 || (a->n < WIRE_REMEMBER && w->is_head[a->n]))
			size = 0;
		if (body == end && c->closed && a->n >= w->heads)
			size = 0; /* a HEAD that was refused before the handler saw it */
		if ((size_t)(end - body) < size)
			return;
		assert_true(a->n < 32);
		a->sizes[a->n] = h.lengths ? h.length : SIZE_MAX;
		a->status[a->n++] = h.status;
		a->last = h.close;
		at = body + size;
		a->partial = false;
	}
}

/* ---- rows ------------------------------------------------------------------------------ */

enum wire_end { KEPT, CLOSED };

/* answers: statuses with blanks between; "200|400" when the RFC leaves it to us: what else the
 * row says is then of the first, and any other has to close the connection, its handler uncalled;
 * "-" is a connection that is closed without a word. */
struct wire_row {
	const char *bytes;
	size_t size;
	const char *answers;
	enum wire_end end;
	const char *saw;
};

#define RAW(text) (text), sizeof(text) - 1

/* How it ended, to be compared: "200 400 closed | what was seen". */
struct wire_outcome {
	struct answers a;
	char text[4096];
};

static inline void wire_forget(struct wire *w)
{
	base_buf_reset(&w->saw);
	memset(w->is_head, 0, sizeof w->is_head);
	w->heads = w->requests = w->done = 0;
}

/* Turns the loop without waiting: what was sent lies in the server's socket already. */
static inline void wire_pump(struct wire *w, struct client *c)
{
	for (unsigned i = 0; i < 2; i++)
		uv_run(net_loop_uv(w->loop), UV_RUN_NOWAIT);
	client_read(c);
}

/* False: nobody takes it any more. */
static inline bool wire_put(struct wire *w, struct client *c, const char *data, size_t size)
{
	if (size > 0 && send(c->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		return false;
	wire_pump(w, c);
	return true;
}

static inline unsigned wire_wanted(const char *answers)
{
	unsigned n = 0;

	for (const char *p = answers; *p; p++)
		n += (p == answers || p[-1] == ' ') && *p != '-';
	return n;
}

/* Enough has come: as many answers as are wanted, or the end. */
static inline bool wire_over(struct wire *w, struct client *c, struct answers *a, unsigned wanted)
{
	wire_read(w, c, a);
	return a->wrong || c->closed || (a->n >= wanted && !a->last && wanted > 0);
}

/* A connection that stays takes one more request. */
static inline bool wire_is_kept(struct wire *w, struct client *c)
{
	static const char probe[] = "GET /probe HTTP/1.1\r\nHost: p\r\n\r\n";
	struct base_buf saw = w->saw;
	struct answers a;
	bool kept = false;

	base_buf_reset(&c->in);
	base_buf_init(&w->saw);
	memset(w->is_head, 0, sizeof w->is_head);
	w->heads = 0;
	if (wire_put(w, c, probe, sizeof probe - 1)) {
		until(w->loop, c, wire_over(w, c, &a, 1));
		kept = !a.wrong && a.n == 1 && a.status[0] == 200 &&
		       strcmp((const char *)w->saw.data, "GET /probe [Host=p]") == 0;
	}
	base_buf_fini(&w->saw);
	w->saw = saw;
	return kept;
}

/* One of the alternatives in answers, as it stands there; first: whether it is the first. */
static inline bool wire_matches(const char *answers, const struct answers *a, bool *first)
{
	const char *p = answers;
	unsigned i = 0;

	*first = true;
	while (*p) {
		bool found = false, is_first = true;
		for (; *p && *p != ' '; p += *p == '|', is_first = false) {
			unsigned status = 0;
			if (*p == '-')
				p++;
			else
				status = (unsigned)strtoul(p, (char **)&p, 10);
			if (!found && (status ? i < a->n && a->status[i] == status : a->n == i)) {
				found = true;
				*first = *first && is_first;
			}
		}
		if (!found)
			return false;
		i++;
		p += *p == ' ';
	}
	return a->n <= i;
}

/* cut: where the second part begins; 0: byte by byte; as long as it is: whole. */
static inline void wire_run(
	struct wire *w, const struct wire_row *row, size_t cut, struct wire_outcome *out)
{
	struct client c = client_open(gw_http_address(w->http));
	size_t n = 0, part = cut ? cut : 1;
	bool kept;

	wire_forget(w);
	while (n < row->size && !c.closed && wire_put(w, &c, row->bytes + n, part)) {
		n += part;
		part = cut ? row->size - n : 1;
	}
	until(w->loop, &c, wire_over(w, &c, &out->a, wire_wanted(row->answers)));
	if (!out->a.wrong && c.closed && out->a.partial)
		out->a.wrong = "half an answer";
	if (!out->a.wrong && c.closed && out->a.n > 0 && !out->a.last && !memmem(row->bytes, row->size, "HTTP/1.0", 8))
		out->a.wrong = "closed, but no Connection: close";
	if (out->a.wrong)
		fail_msg("%s in \"%s\"", out->a.wrong, (const char *)c.in.data);
	n = 0;
	for (unsigned i = 0; i < out->a.n; i++)
		n += (size_t)snprintf(out->text + n, 8, "%u ", out->a.status[i]);
	kept = !c.closed && wire_is_kept(w, &c);
	snprintf(out->text + n, sizeof out->text - n, "%s | %s", kept ? "kept" : "closed",
		(const char *)w->saw.data);
	client_close(&c);
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
	assert_int_equal(gw_http_requests(w->http), 0);
}

static inline bool wire_complain(const struct wire_row *row, size_t i, const char *wanted, const char *got)
{
	struct base_buf b;

	base_buf_init(&b);
	wire_show(&b, row->bytes, row->size);
	print_error("row %zu: %s\nwanted: %s\ngot: %s\n", i, (const char *)b.data, wanted, got);
	base_buf_fini(&b);
	return false;
}

/* Says what is wrong, and goes on: one fault often shows in several rows. */
static inline bool wire_check(
	const struct wire_row *row, size_t i, const struct wire_outcome *out)
{
	char text[sizeof out->text], got[16 * 32] = "";
	size_t n = 0;
	bool first;

	for (unsigned k = 0; k < out->a.n; k++)
		n += (size_t)snprintf(got + n, 16, "%u ", out->a.status[k]);
	if (!wire_matches(row->answers, &out->a, &first))
		return wire_complain(row, i, row->answers, out->text);
	snprintf(text, sizeof text, "%s%s | %s", got, first && row->end == KEPT ? "kept" : "closed",
		first && row->saw ? row->saw : "");
	if (strcmp(text, out->text) != 0)
		return wire_complain(row, i, text, out->text);
	/* A 100 is for those who wait for one. */
	if (out->a.continues <= (memmem(row->bytes, row->size, "xpect", 5) ? 1 : 0))
		return true;
	return wire_complain(row, i, "no 100, or one", "more");
}

static inline bool wire_all_ways(struct wire *w, const struct wire_row *row, size_t i)
{
	static struct wire_outcome whole, other;

	wire_run(w, row, row->size, &whole);
	if (!wire_check(row, i, &whole))
		return false;
	for (size_t cut = 0; cut < row->size; cut++) {
		wire_run(w, row, cut, &other);
		if (!wire_check(row, i, &other) || strcmp(whole.text, other.text) != 0) {
			print_error("cut at %zu (0: everywhere):\n", cut);
			return wire_complain(row, i, whole.text, other.text);
		}
	}
	return true;
}

static inline void wire_table(struct wire *w, const struct wire_row *rows, size_t n)
{
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++)
		wrong += !wire_all_ways(w, &rows[i], i);
	assert_int_equal(wrong, 0);
}

#define WIRE_TABLE(state, rows) wire_table(*(state), rows, sizeof(rows) / sizeof *(rows))

#endif
