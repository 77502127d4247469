/* Requests on a connection, as http_wire.h reads them: the first byte says how many of the next
 * ones are lengths of segments, the rest is what comes. Read at once and read in these segments,
 * each from a block of its own that is not a byte longer, it must be the same requests.
 *
 * Which kind of body a head announces is decided here by a simple rule: the gateway's own is in
 * http_head.c, which fuzz_http covers.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "gateway/http_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum place { HEAD, COUNTED, CHUNKED, BAD };

struct reader {
	enum place place;
	struct gw_wire_find find;
	struct gw_chunks chunks;
	size_t left;
	bool none; /* no body: the head said nothing */
	struct base_buf trace;
};

static void trace(struct reader *r, struct gw_slice s, char end)
{
	base_buf_add(&r->trace, s.data, s.size);
	base_buf_chr(&r->trace, end);
}

static bool inside(struct gw_slice s, struct gw_slice all)
{
	return s.size == 0 || (s.data >= all.data && s.data + s.size <= all.data + all.size);
}

static bool is_clean(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++)
		if ((unsigned char)s.data[i] < ' ' && s.data[i] != '\t')
			return false;
	return true;
}

static void read_field(struct reader *r, struct gw_slice name, struct gw_slice value)
{
	if (gw_slice_like(name, GW_SLICE("Transfer-Encoding")))
		r->place = CHUNKED;
	if (!gw_slice_like(name, GW_SLICE("Content-Length")) || value.size > 3)
		return;
	r->left = 0;
	for (size_t i = 0; i < value.size; i++)
		r->left = r->left * 10 + (size_t)(value.data[i] & 15);
	r->place = COUNTED;
}

static void read_head(struct reader *r, struct gw_slice head)
{
	struct gw_slice rest = head, line = gw_wire_next(&rest), name, value;
	struct gw_wire_first first;
	unsigned wrong = gw_wire_first(line, &first);

	assert(head.size >= 4 && memcmp(head.data + head.size - 4, "\r\n\r\n", 4) == 0);
	assert(wrong == 0 || wrong == 400 || wrong == 505);
	r->place = wrong ? BAD : HEAD;
	if (wrong)
		return;
	assert(inside(first.method, head) && inside(first.target, head));
	assert(gw_wire_is_token(first.method) && first.target.size > 0 && is_clean(first.target));
	assert(!memchr(first.target.data, ' ', first.target.size));
	trace(r, first.method, ' ');
	trace(r, first.target, first.http_1_0 ? '0' : '1');
	while ((line = gw_wire_next(&rest)).size > 0) {
		if (gw_wire_header(line, &name, &value)) {
			r->place = BAD;
			return;
		}
		assert(inside(name, head) && inside(value, head));
		assert(gw_wire_is_token(name) && gw_wire_is_value(value) && is_clean(value));
		assert(value.size == 0 || (!strchr(" \t", value.data[0]) &&
						  !strchr(" \t", value.data[value.size - 1])));
		trace(r, name, ':');
		trace(r, value, '\n');
		read_field(r, name, value);
	}
	assert(rest.size == 0);
	memset(&r->chunks, 0, sizeof r->chunks);
	base_buf_chr(&r->trace, '{');
}

/* True: it went on. */
static bool take_head(struct reader *r, struct gw_slice *in)
{
	size_t blank = r->find.seen ? 0 : gw_wire_blank(in->data, in->size);
	struct gw_slice head;
	enum gw_wire found;

	assert(blank <= in->size && blank % 2 == 0);
	in->data += blank;
	in->size -= blank;
	found = gw_wire_find(&r->find, in->data, in->size);
	assert(r->find.seen <= in->size && r->find.line <= r->find.seen);
	if (found == GW_WIRE_BAD)
		r->place = BAD;
	if (found != GW_WIRE_WHOLE)
		return false;
	head = (struct gw_slice){ in->data, r->find.seen };
	in->data += head.size;
	in->size -= head.size;
	memset(&r->find, 0, sizeof r->find);
	read_head(r, head);
	return true;
}

static bool take_counted(struct reader *r, struct gw_slice *in)
{
	size_t n = r->left < in->size ? r->left : in->size;

	base_buf_add(&r->trace, in->data, n);
	in->data += n;
	in->size -= n;
	r->left -= n;
	if (r->left == 0)
		r->place = HEAD;
	return r->left == 0;
}

static bool take_chunked(struct reader *r, struct gw_slice *in)
{
	struct gw_slice before = *in, data;
	enum gw_chunk got = gw_chunks_take(&r->chunks, in, &data);

	assert(in->size <= before.size && in->data + in->size == before.data + before.size);
	switch (got) {
	case GW_CHUNK_DATA:
		assert(data.size > 0 && inside(data, before) && data.data + data.size <= in->data);
		base_buf_add(&r->trace, data.data, data.size);
		return true;
	case GW_CHUNK_END:
		r->place = HEAD;
		return true;
	case GW_CHUNK_BAD:
		r->place = BAD;
		return false;
	default:
		assert(got == GW_CHUNK_MORE && in->size == 0);
		return false;
	}
}

static void take_all(struct reader *r, struct gw_slice *in)
{
	for (bool more = true; more && in->size > 0 && r->place != BAD;) {
		switch (r->place) {
		case HEAD:
			more = take_head(r, in);
			break;
		case COUNTED:
			more = take_counted(r, in);
			break;
		default:
			more = take_chunked(r, in);
			break;
		}
	}
}

/* Of all, in segments as long as lengths say, again and again; n 0: at once. */
static void read_in(struct reader *r, struct gw_slice all, const uint8_t *lengths, size_t n)
{
	size_t used = 0, came = 0;

	memset(r, 0, sizeof *r);
	base_buf_init(&r->trace);
	for (size_t i = 0; came < all.size && r->place != BAD; i++) {
		size_t part = n ? lengths[i % n] + 1u : all.size;
		struct gw_slice in;
		char *copy;

		came = all.size - came < part ? all.size : came + part;
		copy = malloc(came - used);
		assert(copy);
		memcpy(copy, all.data + used, came - used);
		in = (struct gw_slice){ copy, came - used };
		take_all(r, &in);
		used = came - in.size;
		free(copy);
	}
	base_buf_fmt(&r->trace, "|%s", r->place == BAD ? "bad" : "");
	if (r->place != BAD)
		base_buf_fmt(&r->trace, "%d %zu", r->place, all.size - used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader whole, cut;
	struct gw_slice all;
	size_t n;

	if (size == 0)
		return 0;
	n = data[0] % 16;
	if (n > size - 1)
		n = size - 1;
	all = (struct gw_slice){ (const char *)data + 1 + n, size - 1 - n };
	read_in(&whole, all, NULL, 0);
	read_in(&cut, all, data + 1, n);
	assert(base_buf_check(&whole.trace) == BASE_OK && base_buf_check(&cut.trace) == BASE_OK);
	assert(whole.trace.size == cut.trace.size &&
		memcmp(whole.trace.data, cut.trace.data, cut.trace.size) == 0);
	base_buf_fini(&whole.trace);
	base_buf_fini(&cut.trace);
	return 0;
}
