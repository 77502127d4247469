#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

/* A line is at most PIPE_BUF, so that one write(2) reaches a pipe whole, however many processes
 * share it. What does not fit is cut: a value ends in … , and fields without room are left out. */
#define LINE_MAX_BYTES 4096u
#define RESERVE        32u /* for closing quotes, the mark of a cut, and the newline */
#define ELLIPSIS       "\xE2\x80\xA6"

static enum base_log_level least_level = BASE_INFO;
static enum base_log_format line_format = BASE_LOG_TEXT;
static int line_fd = STDERR_FILENO;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

struct line {
	char text[LINE_MAX_BYTES];
	size_t size;
	bool cut;
};

void base_log_init(enum base_log_level level, enum base_log_format format, int fd)
{
	least_level = level;
	line_format = format;
	line_fd = fd;
}

enum base_log_level base_log_level(void)
{
	return least_level;
}

enum base_log_format base_log_format(void)
{
	return line_format;
}

/* For what RESERVE holds room for. */
static void put(struct line *l, const char *text, size_t size)
{
	if (size > sizeof l->text - l->size)
		size = sizeof l->text - l->size;
	memcpy(l->text + l->size, text, size);
	l->size += size;
}

static void put_str(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* Leaves the reserve alone; false: there is no room. */
static bool fits(struct line *l, size_t size)
{
	if (l->size + size <= sizeof l->text - RESERVE)
		return true;
	l->cut = true;
	return false;
}

/* The escape of what begins at text, or its plain bytes; returns how many bytes of text it covers. */
static size_t escape(char piece[16], const char *text, size_t size, bool json)
{
	static const char shorts[] = "\"\"\\\\\nn\rr\tt";
	uint32_t code;
	size_t length = base_text_utf8(text, size, &code);

	if (length == 0) {
		(void)snprintf(
			piece, 16, json ? "\xEF\xBF\xBD" : "\\x%02x", (unsigned)(uint8_t)text[0]);
		return 1;
	}
	for (size_t i = 0; shorts[i]; i += 2)
		if (code == (uint32_t)shorts[i]) {
			(void)snprintf(piece, 16, "\\%c", shorts[i + 1]);
			return length;
		}
	if (base_text_is_control(code)) {
		(void)snprintf(piece, 16, "\\u%04x", (unsigned)code);
		return length;
	}
	memcpy(piece, text, length);
	piece[length] = '\0';
	return length;
}

static void put_escaped(struct line *l, const char *text, size_t size, bool json)
{
	for (size_t at = 0; at < size;) {
		char piece[16];
		size_t taken = escape(piece, text + at, size - at, json);
		size_t length = strlen(piece);
		if (!fits(l, length)) {
			put_str(l, ELLIPSIS);
			return;
		}
		put(l, piece, length);
		at += taken;
	}
}

/* Text values stand bare when nothing in them could be mistaken for the line's own signs; "-" alone
 * would be mistaken for no value. */
static bool is_bare(const char *text, size_t size)
{
	if (size == 0 || (size == 1 && text[0] == '-'))
		return false;
	for (size_t at = 0; at < size;) {
		uint32_t code;
		size_t length = base_text_utf8(text + at, size - at, &code);
		if (length == 0 || code == ' ' || code == '"' || code == '=' || code == '\\' ||
			base_text_is_control(code))
			return false;
		at += length;
	}
	return true;
}

static void put_value(struct line *l, const char *text, size_t size, bool json)
{
	bool bare = !json && is_bare(text, size);

	if (!bare)
		put_str(l, "\"");
	put_escaped(l, text, size, json);
	if (!bare)
		put_str(l, "\"");
}

static void put_double(struct line *l, double value, bool json)
{
	char number[32];
	bool finite = value - value == 0;

	(void)snprintf(number, sizeof number, "%.9g", value);
	put_str(l, finite || !json ? number : "null");
}

static void put_field(struct line *l, const struct base_log_field *f, bool json)
{
	char number[32];

	/* 40: the longest number, and the beginning of a text, so that a key never stands alone */
	if (!fits(l, strlen(f->key) + 40))
		return;
	put_str(l, json ? ",\"" : " ");
	put_str(l, f->key);
	put_str(l, json ? "\":" : "=");
	switch (f->type) {
	case BASE_LOG_STR:
	case BASE_LOG_BYTES:
		if (!f->value.str)
			put_str(l, json ? "null" : "-");
		else
			put_value(l, f->value.str,
				f->type == BASE_LOG_STR ? strlen(f->value.str) : f->size, json);
		break;
	case BASE_LOG_I64:
		(void)snprintf(number, sizeof number, "%lld", (long long)f->value.i64);
		put_str(l, number);
		break;
	case BASE_LOG_U64:
		(void)snprintf(number, sizeof number, "%llu", (unsigned long long)f->value.u64);
		put_str(l, number);
		break;
	case BASE_LOG_F64:
		put_double(l, f->value.f64, json);
		break;
	case BASE_LOG_END:
		break;
	}
}

static void put_time(struct line *l)
{
	uint64_t now_ms = base_clock_unix_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	char text[64];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm))
		memset(&tm, 0, sizeof tm);
	(void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		(unsigned)(now_ms % 1000));
	put_str(l, text);
}

static void put_head(struct line *l, enum base_log_level level, const char *id, bool json)
{
	put_str(l, json ? "{\"time\":\"" : "");
	put_time(l);
	put_str(l, json ? "\",\"level\":\"" : " ");
	put_str(l, level_names[level]);
	put_str(l, json ? "\",\"id\":\"" : " ");
	put_str(l, id);
	put_str(l, json ? "\"" : "");
}

/* A log that cannot be written has nobody to tell; a descriptor that would block is not waited for,
 * because the loop that logs must go on. */
static void write_line(const struct line *l)
{
	size_t done = 0;

	while (done < l->size) {
		ssize_t n = write(line_fd, l->text + done, l->size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

void base_log_fields(enum base_log_level level, const char *id, const struct base_log_field *fields)
{
	bool json = line_format == BASE_LOG_JSON;
	int saved = errno;
	struct line l;

	if (level < least_level || level > BASE_ERROR)
		return;
	l.size = 0;
	l.cut = false;
	put_head(&l, level, id, json);
	for (; fields->type != BASE_LOG_END; fields++)
		put_field(&l, fields, json);
	if (l.cut)
		put_str(&l, json ? ",\"cut\":true" : " cut=yes");
	put_str(&l, json ? "}\n" : "\n");
	write_line(&l);
	errno = saved;
}
