#include "worker/http_answer.h"

#include <assert.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <curl/curl.h>

#include "worker/header.h"

#define RETRY_AFTER_MAX_S 86400
#define CHUNK_LINE_MAX    4096u /* what an endpoint may say beside a chunk's size */

struct wrk_hop {
	struct wrk_hop *next;
	const char *value;
};

void wrk_answer_init(struct wrk_answer *a)
{
	*a = (struct wrk_answer){ 0 };
	base_buf_init(&a->line);
}

void wrk_answer_fini(struct wrk_answer *a)
{
	base_buf_fini(&a->line);
}

void wrk_answer_open(struct wrk_answer *a, struct base_arena *arena, struct wrk_run *run,
	size_t max_bytes, bool to_head)
{
	wrk_response_open(&a->res, arena, run, max_bytes);
	a->end = WRK_HTTP_OK;
	a->part = WRK_ANSWER_HEAD;
	a->began = a->in_head = a->keeps = a->chunked = a->sized = false;
	a->to_head = to_head;
	a->status = 0;
	a->left = 0;
	a->head_bytes = 0;
	a->hops = NULL;
	base_buf_reset(&a->line);
}

/* ---- what is wrong ------------------------------------------------------------------ */

static bool wrong(struct wrk_answer *a, enum wrk_http_end end)
{
	if (a->end == WRK_HTTP_OK)
		a->end = end;
	return false;
}

static bool is_sound(struct wrk_answer *a)
{
	switch (a->res.fault) {
	case WRK_FAULT_NONE:
		return true;
	case WRK_FAULT_TOO_LARGE:
		return wrong(a, WRK_HTTP_TOO_LARGE);
	case WRK_FAULT_STATUS:
		return wrong(a, WRK_HTTP_STATUS);
	case WRK_FAULT_HEADER:
		return wrong(a, WRK_HTTP_HEAD);
	case WRK_FAULT_NOMEM:
		break;
	}
	return wrong(a, WRK_HTTP_NOMEM);
}

/* ---- Connection ----------------------------------------------------------------------- */

static const char between[] = ", \t";

static void note_options(struct wrk_answer *a, const char *value)
{
	for (const char *name = value; *(name += strspn(name, between));) {
		size_t size = strcspn(name, between);

		if (size == 5 && strncasecmp(name, "close", size) == 0)
			a->keeps = false;
		name += size;
	}
}

/* It also names headers that are meant for us alone, before or after it. */
static bool note_hops(struct wrk_answer *a, const char *value)
{
	struct wrk_hop *hop = base_arena_alloc(a->res.arena, sizeof *hop);

	if (!hop)
		return wrong(a, WRK_HTTP_NOMEM);
	*hop = (struct wrk_hop){ a->hops, value };
	a->hops = hop;
	note_options(a, value);
	return true;
}

static void drop_hops(struct wrk_answer *a)
{
	for (const struct wrk_hop *at = a->hops; at; at = at->next)
		for (const char *name = at->value; *(name += strspn(name, between));) {
			size_t size = strcspn(name, between);

			wrk_response_drop(&a->res, name, size);
			name += size;
		}
}

/* ---- fields ----------------------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool take_length(struct wrk_answer *a, const char *value)
{
	uint64_t length = 0;

	if (!*value)
		return wrong(a, WRK_HTTP_GARBAGE);
	for (; *value; value++) {
		if (*value < '0' || *value > '9' || length > UINT64_MAX / 10 - 1)
			return wrong(a, WRK_HTTP_GARBAGE);
		length = length * 10 + (unsigned)(*value - '0');
	}
	if (a->sized && length != a->left)
		return wrong(a, WRK_HTTP_GARBAGE);
	a->sized = true;
	a->left = length;
	return true;
}

static bool take_coding(struct wrk_answer *a, const char *value)
{
	if (a->chunked || strcasecmp(value, "chunked") != 0)
		return wrong(a, WRK_HTTP_GARBAGE);
	a->chunked = true;
	return true;
}

static bool take_field(struct wrk_answer *a, char *name, char *value)
{
	switch (name[0] | 0x20) { /* most are none of these */
	case 'c':
		if (strcasecmp(name, "Connection") == 0)
			return note_hops(a, value);
		if (strcasecmp(name, "Content-Length") == 0)
			return take_length(a, value);
		break;
	case 't':
		if (strcasecmp(name, "Transfer-Encoding") == 0)
			return take_coding(a, value);
		break;
	default:
		break;
	}
	wrk_response_header_put(&a->res, name, value);
	return is_sound(a);
}

/* "Name: value", without the line's end. A line that begins with a blank (a fold) has no name. */
static bool read_field(struct wrk_answer *a, const char *line, size_t size)
{
	const char *colon = memchr(line, ':', size);
	char *name, *value, *end;

	if (!colon || colon == line || is_blank(line[0]) || is_blank(colon[-1]))
		return wrong(a, WRK_HTTP_GARBAGE);
	if (memchr(line, '\0', size))
		return wrong(a, WRK_HTTP_HEAD);
	name = base_arena_dup(a->res.arena, line, size);
	if (!name)
		return wrong(a, WRK_HTTP_NOMEM);
	value = name + (colon - line);
	*value++ = '\0';
	end = name + size;
	while (value < end && is_blank(*value))
		value++;
	while (end > value && is_blank(end[-1]))
		end--;
	*end = '\0';
	return take_field(a, name, value);
}

/* ---- heads -------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK" */
static bool read_status(struct wrk_answer *a, const char *line, size_t size)
{
	if (size < 12 || memcmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ' ||
		!is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) ||
		(size > 12 && line[12] != ' '))
		return wrong(a, WRK_HTTP_GARBAGE);
	a->status = (unsigned)(line[9] - '0') * 100 + (unsigned)(line[10] - '0') * 10 +
		    (unsigned)(line[11] - '0');
	a->in_head = true;
	a->keeps = line[7] > '0'; /* who speaks 1.0 may say that he does, but seldom does */
	a->chunked = a->sized = false;
	a->left = 0;
	a->hops = NULL;
	pirn_respond_reset(&a->res);
	return true;
}

/* What comes behind the head that ended. */
static bool begin_body(struct wrk_answer *a)
{
	a->in_head = false;
	if (a->status < 200 && a->status != 101)
		return true; /* another head */
	pirn_respond_status(&a->res, a->status);
	if (!is_sound(a))
		return false;
	if (a->chunked && a->sized)
		a->keeps = false; /* RFC 9112, 6.3: chunked it is, and whoever says both is not to be trusted further */
	if (a->to_head || a->status == 204 || a->status == 304)
		a->part = WRK_ANSWER_WHOLE;
	else if (a->chunked)
		a->part = WRK_ANSWER_CHUNK_SIZE;
	else if (!a->sized)
		a->part = WRK_ANSWER_ENDLESS;
	else if (a->left > a->res.max_bytes)
		return wrong(a, WRK_HTTP_TOO_LARGE);
	else
		a->part = a->left > 0 ? WRK_ANSWER_SIZED : WRK_ANSWER_WHOLE;
	if (a->part == WRK_ANSWER_CHUNK_SIZE)
		a->left = 0;
	return true;
}

static bool count_head(struct wrk_answer *a, size_t size)
{
	a->head_bytes += size;
	return a->head_bytes <= WRK_ANSWER_HEAD_MAX || wrong(a, WRK_HTTP_HEAD);
}

static size_t without_end(const char *line, size_t size)
{
	if (size > 0 && line[size - 1] == '\n')
		size--;
	if (size > 0 && line[size - 1] == '\r')
		size--;
	return size;
}

static bool read_head_line(struct wrk_answer *a, const char *line, size_t size)
{
	if (!count_head(a, size))
		return false;
	size = without_end(line, size);
	if (!a->in_head)
		return read_status(a, line, size);
	return size > 0 ? read_field(a, line, size) : begin_body(a);
}

/* libcurl's may be trailers, which look like the lines of a head but for the place that they stand at. */
bool wrk_answer_line(struct wrk_answer *a, const char *line, size_t size)
{
	a->began = true;
	if (a->part != WRK_ANSWER_HEAD)
		return count_head(a, size);
	return read_head_line(a, line, size);
}

bool wrk_answer_body(struct wrk_answer *a, const void *data, size_t size)
{
	pirn_respond_write(&a->res, data, size);
	return is_sound(a);
}

/* ---- the body -------------------------------------------------------------------------------- */

struct piece {
	const char *at, *end;
};

/* A line's bytes with its end, once all of them are there. NULL: not yet, or not OK. */
static const char *whole_line(struct wrk_answer *a, struct piece *p, size_t *size)
{
	bool counts = a->part == WRK_ANSWER_HEAD || a->part == WRK_ANSWER_TRAILER;
	size_t max = counts ? WRK_ANSWER_HEAD_MAX - a->head_bytes : CHUNK_LINE_MAX;
	const char *begin = p->at, *end = memchr(begin, '\n', (size_t)(p->end - begin));

	*size = end ? (size_t)(end + 1 - begin) : (size_t)(p->end - begin);
	p->at += *size;
	if (a->line.size == 0 && end)
		return begin;
	if (a->line.size + *size > max) {
		(void)wrong(a, counts ? WRK_HTTP_HEAD : WRK_HTTP_GARBAGE);
		return NULL;
	}
	base_buf_add(&a->line, begin, *size);
	if (base_buf_check(&a->line)) {
		(void)wrong(a, WRK_HTTP_NOMEM);
		return NULL;
	}
	if (!end)
		return NULL;
	*size = a->line.size;
	a->line.size = 0; /* the bytes stay until the next line */
	return (const char *)a->line.data;
}

static int hex(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "1a;name=value" */
static bool read_chunk_size(struct wrk_answer *a, const char *line, size_t size)
{
	size_t i = 0, digits;
	uint64_t n = 0;

	size = without_end(line, size);
	for (; i < size && hex(line[i]) >= 0; i++) {
		if (n > UINT64_MAX >> 5)
			return wrong(a, WRK_HTTP_TOO_LARGE);
		n = n << 4 | (unsigned)hex(line[i]);
	}
	for (digits = i; i < size && is_blank(line[i]); i++)
		;
	if (digits == 0 || (i < size && line[i] != ';'))
		return wrong(a, WRK_HTTP_GARBAGE);
	if (n > a->res.max_bytes)
		return wrong(a, WRK_HTTP_TOO_LARGE);
	a->left = n;
	a->part = n > 0 ? WRK_ANSWER_CHUNK : WRK_ANSWER_TRAILER;
	return true;
}

static bool take_line(struct wrk_answer *a, struct piece *p)
{
	size_t size;
	const char *line = whole_line(a, p, &size);

	if (!line)
		return a->end == WRK_HTTP_OK;
	if (a->part == WRK_ANSWER_HEAD)
		return read_head_line(a, line, size);
	if (a->part == WRK_ANSWER_CHUNK_SIZE)
		return read_chunk_size(a, line, size);
	if (a->part == WRK_ANSWER_TRAILER) {
		if (without_end(line, size) == 0)
			a->part = WRK_ANSWER_WHOLE;
		return count_head(a, size);
	}
	assert(a->part == WRK_ANSWER_CHUNK_END);
	if (without_end(line, size) > 0)
		return wrong(a, WRK_HTTP_GARBAGE);
	a->part = WRK_ANSWER_CHUNK_SIZE;
	return true;
}

static bool take_body(struct wrk_answer *a, struct piece *p)
{
	size_t size = (size_t)(p->end - p->at);

	if (a->part != WRK_ANSWER_ENDLESS && size > a->left)
		size = (size_t)a->left;
	if (!wrk_answer_body(a, p->at, size))
		return false;
	p->at += size;
	if (a->part == WRK_ANSWER_ENDLESS)
		return true;
	a->left -= size;
	if (a->left == 0)
		a->part = a->part == WRK_ANSWER_CHUNK ? WRK_ANSWER_CHUNK_END : WRK_ANSWER_WHOLE;
	return true;
}

bool wrk_answer_take(struct wrk_answer *a, const void *data, size_t size)
{
	struct piece p = { data, (const char *)data + size };

	a->began |= size > 0;
	while (p.at < p.end && a->end == WRK_HTTP_OK && a->part != WRK_ANSWER_WHOLE)
		switch (a->part) {
		case WRK_ANSWER_SIZED:
		case WRK_ANSWER_CHUNK:
		case WRK_ANSWER_ENDLESS:
			(void)take_body(a, &p);
			break;
		default:
			(void)take_line(a, &p);
		}
	if (p.at < p.end)
		a->keeps = false;
	return a->end == WRK_HTTP_OK && a->part != WRK_ANSWER_WHOLE;
}

void wrk_answer_cut(struct wrk_answer *a)
{
	a->keeps = false;
	if (a->part == WRK_ANSWER_ENDLESS && a->end == WRK_HTTP_OK)
		a->part = WRK_ANSWER_WHOLE;
	else if (a->part != WRK_ANSWER_WHOLE)
		(void)wrong(a, WRK_HTTP_CUT);
}

/* ---- the end ---------------------------------------------------------------------------------- */

enum wrk_http_end wrk_answer_seal(struct wrk_answer *a, struct wrk_run *run)
{
	if (a->part == WRK_ANSWER_HEAD)
		(void)wrong(a, WRK_HTTP_GARBAGE);
	drop_hops(a);
	if (a->end == WRK_HTTP_OK && wrk_response_seal(&a->res, run) != WRK_FAULT_NONE)
		(void)is_sound(a);
	return a->end;
}

uint32_t wrk_answer_retry_after_ms(const struct wrk_answer *a)
{
	const char *value = wrk_response_header(&a->res, "Retry-After");
	time_t now = time(NULL), at;
	uint32_t seconds = 0;

	if (!value)
		return 0;
	if (!is_digit(*value)) {
		at = curl_getdate(value, NULL);
		if (at <= now)
			return 0;
		return (uint32_t)(at - now < RETRY_AFTER_MAX_S ? at - now : RETRY_AFTER_MAX_S) * 1000;
	}
	for (; is_digit(*value) && seconds < RETRY_AFTER_MAX_S; value++)
		seconds = seconds * 10 + (unsigned)(*value - '0');
	return (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}
