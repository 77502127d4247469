#include "gateway/http_wire.h"

/* ---- characters ---------------------------------------------------------------- */

bool gw_wire_is_tchar(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	switch (c) {
	case '!': case '#': case '$': case '%': case '&': case '\'': case '*': case '+':
	case '-': case '.': case '^': case '_': case '`': case '|': case '~':
		return true;
	default:
		return false;
	}
}

bool gw_wire_is_token(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++)
		if (!gw_wire_is_tchar(s.data[i]))
			return false;
	return s.size > 0;
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

bool gw_wire_is_value(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++)
		if (is_control(s.data[i]) && s.data[i] != '\t')
			return false;
	return true;
}

/* ---- heads ----------------------------------------------------------------------- */

size_t gw_wire_blank(const char *data, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && data[n] == '\r' && data[n + 1] == '\n')
		n += 2;
	return n;
}

/* The first byte says already that this is, for example, TLS. */
static bool may_begin(const char *data, size_t size)
{
	return size == 0 || gw_wire_is_tchar(data[0]) || (data[0] == '\r' && size == 1);
}

enum gw_wire gw_wire_find(struct gw_wire_find *f, const char *data, size_t size)
{
	if (!may_begin(data, size))
		return GW_WIRE_BAD;
	if (size == 1 && data[0] == '\r') /* of an empty line, before a head */
		return GW_WIRE_MORE;
	while (f->seen < size) {
		const char *lf = memchr(data + f->seen, '\n', size - f->seen);
		size_t at = lf ? (size_t)(lf - data) : size;
		if (!lf) {
			f->seen = size;
			break;
		}
		if (at == 0 || data[at - 1] != '\r')
			return GW_WIRE_BAD;
		f->seen = at + 1;
		if (at == f->line + 1)
			return GW_WIRE_WHOLE;
		f->line = at + 1;
	}
	return GW_WIRE_MORE;
}

struct gw_slice gw_wire_next(struct gw_slice *head)
{
	struct gw_slice line = gw_slice_cut(head, '\n');

	if (line.size > 0)
		line.size--; /* the CR, which gw_wire_find has seen */
	return line;
}

static bool is_target(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++)
		if (is_control(s.data[i]))
			return false;
	return s.size > 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

unsigned gw_wire_first(struct gw_slice line, struct gw_wire_first *out)
{
	static const char name[] = "HTTP/";
	const char *v;

	out->method = gw_slice_cut(&line, ' ');
	out->target = gw_slice_cut(&line, ' ');
	v = line.data;
	if (!gw_wire_is_token(out->method) || !is_target(out->target) || line.size != 8 ||
		memcmp(v, name, 5) != 0 || !is_digit(v[5]) || v[6] != '.' || !is_digit(v[7]))
		return 400;
	out->http_1_0 = v[7] == '0';
	return v[5] == '1' ? 0 : 505;
}

const char *gw_wire_header(struct gw_slice line, struct gw_slice *name, struct gw_slice *value)
{
	const char *colon = line.size ? memchr(line.data, ':', line.size) : NULL;

	if (line.size && (line.data[0] == ' ' || line.data[0] == '\t'))
		return "A header goes on in a second line.";
	if (!colon)
		return "A header has no colon.";
	*name = (struct gw_slice){ line.data, (size_t)(colon - line.data) };
	*value = gw_slice_trim((struct gw_slice){ colon + 1, line.size - name->size - 1 });
	if (!gw_wire_is_token(*name))
		return "A header's name is not a token.";
	if (!gw_wire_is_value(*value))
		return "A header's value holds a control character.";
	return NULL;
}

/* ---- chunks ---------------------------------------------------------------------- */

enum { FIRST_DIGIT, DIGITS, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, LINE, TRAILER, TRAILER_LF, LAST_LF };

static int hex(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool add_digit(struct gw_chunks *c, char digit)
{
	int value = hex(digit);

	if (value < 0 || c->left > UINT64_MAX >> 8)
		return false;
	c->left = c->left * 16 + (unsigned)value;
	c->state = DIGITS;
	return true;
}

static bool after_digits(struct gw_chunks *c, char byte)
{
	if (byte != '\r' && byte != ';')
		return add_digit(c, byte);
	c->state = byte == '\r' ? SIZE_LF : EXTENSION;
	return true;
}

static bool in_extension(struct gw_chunks *c, char byte)
{
	if (byte == '\r')
		c->state = SIZE_LF;
	return byte == '\r' || byte == '\t' || !is_control(byte);
}

static bool size_over(struct gw_chunks *c, char byte)
{
	c->state = c->left ? DATA : LINE;
	c->line = 0;
	return byte == '\n';
}

static bool step_to(struct gw_chunks *c, char byte, char wanted, unsigned state)
{
	c->state = state;
	return byte == wanted;
}

static bool in_trailer(struct gw_chunks *c, char byte)
{
	if (c->state == LINE)
		c->state = byte == '\r' ? LAST_LF : TRAILER;
	else if (byte == '\r')
		c->state = TRAILER_LF;
	return byte == '\r' || byte == '\t' || !is_control(byte);
}

/* A byte that is not of the data; false: it may not be there. */
static bool frame(struct gw_chunks *c, char byte)
{
	if (++c->line > (c->state >= LINE ? GW_TRAILERS_MOST : GW_CHUNK_LINE_MOST))
		return false;
	switch (c->state) {
	case FIRST_DIGIT:
		return add_digit(c, byte);
	case DIGITS:
		return after_digits(c, byte);
	case EXTENSION:
		return in_extension(c, byte);
	case SIZE_LF:
		return size_over(c, byte);
	case DATA_CR:
		return step_to(c, byte, '\r', DATA_LF);
	case DATA_LF:
		c->line = 0;
		return step_to(c, byte, '\n', FIRST_DIGIT);
	case TRAILER_LF:
		return step_to(c, byte, '\n', LINE);
	default:
		return in_trailer(c, byte);
	}
}

static struct gw_slice cut_data(struct gw_chunks *c, struct gw_slice *in)
{
	struct gw_slice data = gw_slice_take(in, c->left < in->size ? (size_t)c->left : in->size);

	c->left -= data.size;
	if (c->left == 0)
		c->state = DATA_CR;
	return data;
}

enum gw_chunk gw_chunks_take(struct gw_chunks *c, struct gw_slice *in, struct gw_slice *data)
{
	while (in->size > 0) {
		char byte = in->data[0];
		if (c->state == DATA) {
			*data = cut_data(c, in);
			return GW_CHUNK_DATA;
		}
		(void)gw_slice_take(in, 1);
		if (c->state == LAST_LF)
			return byte == '\n' ? GW_CHUNK_END : GW_CHUNK_BAD;
		if (!frame(c, byte))
			return GW_CHUNK_BAD;
	}
	return GW_CHUNK_MORE;
}

uint64_t gw_chunks_ahead(const struct gw_chunks *c)
{
	return c->state == DATA ? c->left : 0;
}
