#include "gateway/access.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

#define MAX_WAITING      (1024u * 1024)
#define LINE_MAX_BYTES   PIPE_BUF /* a line longer than that could be torn by others who write */
#define TARGET_MAX_BYTES 1024u    /* what is shown of a target */
#define RETRY_MS         20       /* how soon a full pipe is tried again */
#define ELLIPSIS         "\xE2\x80\xA6"

struct gw_access {
	struct net_loop *loop;
	enum base_log_format format;
	int fd;
	bool is_file; /* a write never waits for a reader */
	struct base_buf waiting;
	size_t sent; /* of waiting */
	uint64_t dropped, told;
	uint64_t second; /* that stamp holds */
	char stamp[24];  /* 2026-11-21T09:15:02 */
	struct net_hook *hook;
	uv_timer_t *timer;
};

/* ---- lines ----------------------------------------------------------------- */

static void put_time(struct gw_access *a)
{
	uint64_t now_ms = base_clock_unix_ms();
	char tail[8];

	if (now_ms / 1000 != a->second || !a->stamp[0]) {
		time_t seconds = (time_t)(now_ms / 1000);
		struct tm tm;
		a->second = now_ms / 1000;
		if (!gmtime_r(&seconds, &tm) ||
			!strftime(a->stamp, sizeof a->stamp, "%Y-%m-%dT%H:%M:%S", &tm))
			a->stamp[0] = '\0';
	}
	base_buf_str(&a->waiting, a->stamp);
	(void)snprintf(tail, sizeof tail, ".%03uZ", (unsigned)(now_ms % 1000));
	base_buf_str(&a->waiting, tail);
}

static bool is_bare(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++)
		if (s.data[i] <= ' ' || s.data[i] > '~' || s.data[i] == '"' || s.data[i] == '=' ||
			s.data[i] == '\\')
			return false;
	return s.size > 0 && !(s.size == 1 && s.data[0] == '-');
}

/* In quotes, with what could end the line or the quotes escaped; the same escapes suit both forms. */
static void put_quoted(struct base_buf *out, struct gw_slice s)
{
	base_buf_chr(out, '"');
	for (size_t at = 0; at < s.size;) {
		uint32_t code;
		size_t size = base_text_utf8(s.data + at, s.size - at, &code);
		if (size == 0)
			base_buf_str(out, "\xEF\xBF\xBD");
		else if (code == '"' || code == '\\')
			base_buf_fmt(out, "\\%c", (char)code);
		else if (base_text_is_control(code))
			base_buf_fmt(out, "\\u%04x", (unsigned)code);
		else
			base_buf_add(out, s.data + at, size);
		at += size ? size : 1;
	}
	base_buf_chr(out, '"');
}

static void put_key(struct gw_access *a, const char *key)
{
	bool json = a->format == BASE_LOG_JSON;

	base_buf_str(&a->waiting, json ? ",\"" : " ");
	base_buf_str(&a->waiting, key);
	base_buf_str(&a->waiting, json ? "\":" : "=");
}

static void put_text(struct gw_access *a, const char *key, struct gw_slice s)
{
	put_key(a, key);
	if (!s.data)
		base_buf_str(&a->waiting, a->format == BASE_LOG_JSON ? "null" : "-");
	else if (a->format == BASE_LOG_TEXT && is_bare(s))
		base_buf_add(&a->waiting, s.data, s.size);
	else
		put_quoted(&a->waiting, s);
}

/* Millionths as "12.345" when point, whole numbers otherwise; printf is too slow for every request. */
static void put_number(struct gw_access *a, const char *key, uint64_t value, bool point)
{
	char digits[24];
	size_t at = sizeof digits, n = 0;

	put_key(a, key);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
		if (point && ++n == 3)
			digits[--at] = '.';
	} while (value || (point && n < 4));
	base_buf_add(&a->waiting, digits + at, sizeof digits - at);
}

static void put_target(struct gw_access *a, struct gw_slice target)
{
	char cut[TARGET_MAX_BYTES + sizeof ELLIPSIS];
	size_t size = TARGET_MAX_BYTES;

	if (target.size <= TARGET_MAX_BYTES) {
		put_text(a, "target", target);
		return;
	}
	while (size && ((uint8_t)target.data[size] & 0xC0) == 0x80) /* not inside a character */
		size--;
	memcpy(cut, target.data, size);
	memcpy(cut + size, ELLIPSIS, sizeof ELLIPSIS - 1);
	put_text(a, "target", (struct gw_slice){ cut, size + sizeof ELLIPSIS - 1 });
}

static struct gw_slice or_none(const char *text)
{
	return text ? gw_slice_of(text) : (struct gw_slice){ NULL, 0 };
}

static struct gw_slice first_bytes(struct gw_slice s, size_t most)
{
	return (struct gw_slice){ s.data, s.size < most ? s.size : most };
}

void gw_access_add(struct gw_access *a, const struct gw_access_line *line)
{
	bool json = a->format == BASE_LOG_JSON;

	if (a->waiting.size - a->sent > MAX_WAITING) {
		a->dropped++;
		return;
	}
	base_buf_str(&a->waiting, json ? "{\"time\":\"" : "");
	put_time(a);
	base_buf_str(
		&a->waiting, json ? "\",\"level\":\"info\",\"id\":\"access\"" : " info access");
	put_text(a, "method", first_bytes(line->method, 32));
	put_target(a, line->target);
	put_number(a, "status", line->status, false);
	put_number(a, "bytes", line->bytes, false);
	put_number(a, "ms", line->us, true);
	put_text(a, "service", or_none(line->service));
	put_text(a, json ? "request_id" : "id", or_none(line->id));
	put_text(a, "remote", or_none(line->remote));
	if (line->invocation)
		put_text(a, "invocation", or_none(line->invocation));
	base_buf_str(&a->waiting, json ? "}\n" : "\n");
}

/* ---- writing --------------------------------------------------------------- */

static bool can_write(const struct gw_access *a)
{
	struct pollfd p = { .fd = a->fd, .events = POLLOUT };

	return a->is_file || (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT));
}

/* How much of the rest may go in one write: whole lines; into a pipe no more than it surely takes. */
static size_t next_piece(const struct gw_access *a)
{
	const char *rest = (const char *)a->waiting.data + a->sent;
	size_t size = a->waiting.size - a->sent;
	const char *end;

	if (a->is_file || size <= LINE_MAX_BYTES)
		return size;
	end = memrchr(rest, '\n', LINE_MAX_BYTES);
	return end ? (size_t)(end - rest) + 1 : LINE_MAX_BYTES;
}

static bool write_piece(struct gw_access *a)
{
	ssize_t n = can_write(a) ? write(a->fd, a->waiting.data + a->sent, next_piece(a)) : -1;

	if (n > 0)
		a->sent += (size_t)n;
	return n > 0;
}

static void tell_dropped(struct gw_access *a)
{
	if (a->dropped == a->told)
		return;
	base_log(BASE_WARN, "access_dropped", LOG_U64("lines", a->dropped - a->told));
	a->told = a->dropped;
}

static void on_retry(uv_timer_t *timer)
{
	(void)timer; /* the turn's FLUSH stage follows, and writes */
}

static bool on_flush(void *arg)
{
	struct gw_access *a = arg;

	if (base_buf_check(&a->waiting) != BASE_OK) { /* out of memory: what was built is torn */
		base_buf_reset(&a->waiting);
		a->sent = 0;
		a->dropped++;
	}
	while (a->sent < a->waiting.size && write_piece(a))
		;
	if (a->sent == a->waiting.size) {
		if (a->waiting.capacity > MAX_WAITING) {
			base_buf_fini(&a->waiting);
			base_buf_init(&a->waiting);
		}
		base_buf_reset(&a->waiting);
		a->sent = 0;
		tell_dropped(a);
	} else if (!uv_is_active((uv_handle_t *)a->timer)) {
		(void)uv_timer_start(a->timer, on_retry, RETRY_MS, 0);
	}
	return false;
}

enum base_err gw_access_new(
	struct net_loop *loop, enum base_log_format format, int fd, struct gw_access **out)
{
	struct gw_access *a = calloc(1, sizeof *a);
	struct stat st;
	enum base_err err;

	if (!a || !(a->timer = calloc(1, sizeof *a->timer))) {
		free(a);
		return BASE_NOMEM;
	}
	a->loop = loop;
	a->format = format;
	a->fd = fd;
	a->is_file = fstat(fd, &st) == 0 &&
		     (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd)));
	base_buf_init(&a->waiting);
	err = net_loop_hook(loop, NET_FLUSH, on_flush, a, &a->hook);
	if (err) {
		free(a->timer);
		free(a);
		return err;
	}
	(void)uv_timer_init(net_loop_uv(loop), a->timer);
	*out = a;
	return BASE_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void gw_access_free(struct gw_access **ap)
{
	struct gw_access *a = *ap;

	if (!a)
		return;
	*ap = NULL;
	(void)on_flush(a);
	net_loop_unhook(&a->hook);
	uv_close((uv_handle_t *)a->timer, on_closed);
	base_buf_fini(&a->waiting);
	free(a);
}

uint64_t gw_access_dropped(const struct gw_access *a)
{
	return a->dropped;
}
