/* A head: what libmicrohttpd parsed, looked at once more. Everything is UNTRUSTED. */
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

/* tchar of RFC 9110 */
static bool is_token(struct gw_slice s)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < s.size; i++) {
		char c = s.data[i];
		bool plain =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!plain && (c == '\0' || !strchr(others, c)))
			return false;
	}
	return s.size > 0;
}

static bool is_value(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++) {
		unsigned char c = (unsigned char)s.data[i];
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* What a log line, a header and a shell take as it is. */
static bool is_request_id(struct gw_slice s)
{
	static const char others[] = "-._~:/+=@,";

	if (s.size == 0 || s.size > GW_REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < s.size; i++) {
		char c = s.data[i];
		bool plain =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!plain && (c == '\0' || !strchr(others, c)))
			return false;
	}
	return true;
}

struct collector {
	struct gw_record *r;
	unsigned count[GW_HEADER__N];
	const char *why; /* the first thing that is wrong */
	bool no_memory;
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

/* A line that begins with white space goes on with the header before it. Libmicrohttpd 0.9 appends
 * it to the header's name: "Transfer-Encoding:" and " chunked" are nothing it knows, and the body
 * becomes the next request. It moves the name for that, which otherwise lies before its value.
 * (1.0 refuses such lines itself.) */
static bool is_folded(struct gw_slice name, const char *value)
{
	const char *p = name.data + name.size;

	if (MHD_VERSION >= 0x01000000)
		return false;
	if ((uintptr_t)value <= (uintptr_t)p)
		return true;
	while (p < value && (*p == '\0' || *p == ' ' || *p == '\t'))
		p++;
	return p != value;
}

static enum MHD_Result collect(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_size,
	const char *value, size_t value_size)
{
	struct collector *c = arg;
	struct gw_record *r = c->r;
	struct gw_header *h;

	(void)kind;
	if (r->pub.n_headers == r->headers_room && !grow(r)) {
		c->no_memory = true;
		return MHD_NO;
	}
	h = &r->headers[r->pub.n_headers++];
	h->name = (struct gw_slice){ key, key_size };
	h->value = gw_slice_trim((struct gw_slice){ value ? value : "", value ? value_size : 0 });
	if (value && is_folded(h->name, value))
		c->why = "A header goes on in a second line.";
	else if (!is_token(h->name))
		c->why = "A header's name is not a token.";
	else if (!is_value(h->value))
		c->why = "A header's value holds a control character.";
	return MHD_YES;
}

/* After all are there: the array does not move any more. */
static void index_known(struct gw_record *r, struct collector *c)
{
	r->pub.headers = r->headers;
	for (size_t i = 0; i < r->pub.n_headers; i++) {
		enum gw_known known = gw_header_known(r->headers[i].name);
		if (known == GW_HEADER_OTHER)
			continue;
		if (c->count[known]++ == 0)
			r->pub.known[known] = &r->headers[i];
	}
}

static bool read_length(struct gw_slice s, uint64_t *out)
{
	uint64_t n = 0;

	if (s.size == 0 || s.size > 19)
		return false;
	for (size_t i = 0; i < s.size; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(s.data[i] - '0');
	}
	*out = n;
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
	return NULL;
}

void gw_head_ids(struct gw_request *q)
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

static bool refuse(struct gw_record *r, unsigned status, const char *detail)
{
	r->close = true;
	gw_http_refuse(&r->pub, status, detail);
	return false;
}

static bool check_sizes(struct gw_record *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	const struct gw_http_conf *conf = &r->pub.http->conf;

	if (info && info->header_size > conf->max_head)
		return refuse(r, 431, "The request line and the headers together are too large.");
	return true;
}

static bool check_framing(struct gw_record *r, const struct collector *c)
{
	const struct gw_header *coding = r->pub.known[GW_HEADER_TRANSFER_ENCODING];
	const struct gw_header *expect = r->pub.known[GW_HEADER_EXPECT];
	const char *why = c->why ? c->why : framing_fault(r, c);

	if (why)
		return refuse(r, 400, why);
	r->chunked = coding != NULL;
	if (coding && !gw_slice_like(coding->value, GW_SLICE("chunked")))
		return refuse(r, 501, "The only transfer coding that is understood is chunked.");
	if (expect && !gw_slice_like(expect->value, GW_SLICE("100-continue")))
		return refuse(r, 417, "The only expectation that is understood is 100-continue.");
	return true;
}

bool gw_head_read(struct gw_record *r, const char *method, const char *version)
{
	struct collector c = { .r = r };

	r->pub.method = gw_slice_of(method);
	r->http_1_0 = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	(void)MHD_get_connection_values_n(r->mhd, MHD_HEADER_KIND, collect, &c);
	index_known(r, &c);
	gw_head_ids(&r->pub);
	if (c.no_memory)
		return refuse(r, 503, "The gateway is out of memory.");
	return check_sizes(r) && check_framing(r, &c);
}
