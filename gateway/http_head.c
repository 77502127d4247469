/* A head: its lines as the record's slices, and whether it is one that is served. Everything is
 * UNTRUSTED.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/http_parts.h"

static const struct gw_slice known_names[GW_HEADER__N] = {
#define X(name, text) [GW_HEADER_##name] = { text, sizeof text - 1 },
	GW_KNOWN_HEADERS(X)
#undef X
};

enum gw_known gw_header_known(struct gw_slice name)
{
	for (unsigned i = 0; i < GW_HEADER__N; i++)
		if (gw_slice_like(name, known_names[i]))
			return (enum gw_known)i;
	return GW_HEADER_OTHER;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* What a log line, a header and a shell take as it is. */
static bool is_request_id(struct gw_slice s)
{
	static const char others[] = "-._~:/+=@,";

	if (s.size == 0 || s.size > GW_REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < s.size; i++)
		if (!is_plain(s.data[i]) && (s.data[i] == '\0' || !strchr(others, s.data[i])))
			return false;
	return true;
}

/* ---- the headers, and what they say together ---------------------------------------- */

struct collector {
	struct gw_record *r;
	unsigned count[GW_HEADER__N];
	const char *why; /* the first thing that is wrong */
	bool no_memory, too_many;
};

static bool grow(struct gw_record *r)
{
	size_t room = r->headers_room ? r->headers_room * 2 : 32;
	struct gw_header *grown = realloc(r->headers, room * sizeof *grown);

	if (!grown)
		return false;
	r->headers = grown;
	r->headers_room = room;
	return true;
}

static void collect(struct collector *c, struct gw_slice lines)
{
	struct gw_record *r = c->r;
	struct gw_slice line = gw_wire_next(&lines);

	for (; line.size > 0; line = gw_wire_next(&lines)) {
		struct gw_header *h;
		if (r->pub.n_headers == GW_HEADERS_MOST) {
			c->too_many = true;
			return;
		}
		if (r->pub.n_headers == r->headers_room && !grow(r)) {
			c->no_memory = true;
			return;
		}
		h = &r->headers[r->pub.n_headers];
		c->why = gw_wire_header(line, &h->name, &h->value);
		if (c->why)
			return;
		h->known = gw_header_known(h->name);
		r->pub.n_headers++;
	}
}

/* Whether a list of tokens has this one; "close, x" has close. */
static bool lists(struct gw_slice list, struct gw_slice token)
{
	while (list.size > 0)
		if (gw_slice_like(gw_slice_trim(gw_slice_cut(&list, ',')), token))
			return true;
	return false;
}

/* After all are there: the array does not move any more. */
static void index_known(struct gw_record *r, struct collector *c)
{
	bool close = false, keep = false;

	r->pub.headers = r->headers;
	for (size_t i = 0; i < r->pub.n_headers; i++) {
		const struct gw_header *h = &r->headers[i];
		if (h->known == GW_HEADER_OTHER)
			continue;
		if (c->count[h->known]++ == 0)
			r->pub.known[h->known] = h;
		if (h->known == GW_HEADER_CONNECTION) {
			close = close || lists(h->value, GW_SLICE("close"));
			keep = keep || lists(h->value, GW_SLICE("keep-alive"));
		}
	}
	r->close = close || (r->http_1_0 && !keep);
}

/* Too many bytes to count are still too many. */
static bool read_length(struct gw_slice s, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.size; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		n = n > UINT64_MAX / 10 - 1 ? UINT64_MAX / 10 : n * 10 + (uint64_t)(s.data[i] - '0');
	}
	*out = n;
	return s.size > 0;
}

/* A name or an address, and perhaps a port; empty when the target has none. */
static bool is_host(struct gw_slice s)
{
	static const char others[] = "-._~%!$&'()*+;=:[]";

	for (size_t i = 0; i < s.size; i++)
		if (!is_plain(s.data[i]) && (s.data[i] == '\0' || !strchr(others, s.data[i])))
			return false;
	return true;
}

/* How long the body is must be beyond doubt: what two servers read differently is how requests
 * are smuggled past one of them. */
static const char *framing_fault(struct gw_record *r, const struct collector *c)
{
	const struct gw_header *length = r->pub.known[GW_HEADER_CONTENT_LENGTH];
	const struct gw_header *coding = r->pub.known[GW_HEADER_TRANSFER_ENCODING];

	if (c->count[GW_HEADER_CONTENT_LENGTH] > 1)
		return "Content-Length is there more than once.";
	if (length && coding)
		return "Content-Length and Transfer-Encoding are both there.";
	if (length && !read_length(length->value, &r->content_length))
		return "Content-Length is not a number of bytes.";
	if (coding && (c->count[GW_HEADER_TRANSFER_ENCODING] > 1 || r->http_1_0))
		return "Transfer-Encoding must be there once, and in HTTP/1.1 only.";
	if (c->count[GW_HEADER_HOST] > 1 || (!r->pub.known[GW_HEADER_HOST] && !r->http_1_0))
		return "There must be one Host header.";
	if (r->pub.known[GW_HEADER_HOST] && !is_host(r->pub.known[GW_HEADER_HOST]->value))
		return "Host is not a name and a port.";
	return NULL;
}

/* The client's X-Request-Id, if there is a decent one. */
static void set_ids(struct gw_request *q)
{
	const struct gw_header *given = q->known[GW_HEADER_X_REQUEST_ID];
	const struct gw_http_conf *conf = &q->http->conf;

	base_ulid_make(conf->ulids, conf->rand, base_clock_unix_ms(), q->id);
	if (given && is_request_id(given->value)) {
		memcpy(q->id_text, given->value.data, given->value.size);
		q->id_text[given->value.size] = '\0';
	} else {
		base_ulid_print(q->id, q->id_text);
	}
}

/* ---- reading one --------------------------------------------------------------------- */

static bool refuse(struct gw_record *r, unsigned status, const char *detail)
{
	r->close = true;
	gw_http_refuse(&r->pub, status, detail);
	return false;
}

static bool refuse_first(struct gw_record *r, unsigned status)
{
	return refuse(r, status,
		status == 505 ? "Only HTTP/1.1 and HTTP/1.0 are understood."
			      : "The request line is not METHOD TARGET HTTP/1.1.");
}

static bool check_framing(struct gw_record *r, const struct collector *c)
{
	const struct gw_header *coding = r->pub.known[GW_HEADER_TRANSFER_ENCODING];
	const struct gw_header *expect = r->pub.known[GW_HEADER_EXPECT];
	const char *why = c->why ? c->why : framing_fault(r, c);

	if (why)
		return refuse(r, 400, why);
	if (coding && !gw_slice_like(coding->value, GW_SLICE("chunked")))
		return refuse(r, 501, "The only transfer coding that is understood is chunked.");
	if (expect && !gw_slice_like(expect->value, GW_SLICE("100-continue")))
		return refuse(r, 417, "The only expectation that is understood is 100-continue.");
	r->chunked = coding != NULL;
	return true;
}

static unsigned read_first(struct gw_record *r, struct gw_slice *lines)
{
	struct gw_wire_first first = { 0 };
	unsigned wrong;

	*lines = (struct gw_slice){ (const char *)r->head.data, r->head.size };
	wrong = gw_wire_first(gw_wire_next(lines), &first);
	if (wrong == 400)
		return wrong;
	r->pub.method = first.method;
	r->pub.target = first.target;
	r->http_1_0 = first.http_1_0;
	return wrong;
}

struct gw_record *gw_head_open_half(struct gw_conn *c, struct gw_slice in)
{
	struct gw_record *r = gw_record_open(c, (struct gw_slice){ in.data, c->find.line });
	struct gw_slice lines;

	memset(&c->find, 0, sizeof c->find);
	if (r) {
		(void)read_first(r, &lines);
		set_ids(&r->pub);
	}
	return r;
}

bool gw_head_read(struct gw_record *r)
{
	struct collector c = { .r = r };
	struct gw_slice lines;
	unsigned wrong = read_first(r, &lines);

	if (!wrong)
		collect(&c, lines);
	index_known(r, &c);
	set_ids(&r->pub);
	if (wrong)
		return refuse_first(r, wrong);
	if (c.no_memory) {
		r->close = true;
		gw_http_problem(&r->pub, &gw_no_memory);
		return false;
	}
	if (c.too_many)
		return refuse(r, 431, "The request has more headers than this gateway takes.");
	return check_framing(r, &c);
}
