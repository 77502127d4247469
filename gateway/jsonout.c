#include "gateway/jsonout.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

struct gw_json gw_json_on(struct base_buf *out)
{
	return (struct gw_json){ .out = out };
}

static void begin(struct gw_json *j, const char *key)
{
	if (j->comma)
		base_buf_chr(j->out, ',');
	j->comma = true;
	if (!key)
		return;
	base_buf_json(j->out, key, strlen(key));
	base_buf_chr(j->out, ':');
}

void gw_json_open(struct gw_json *j, const char *key, char bracket)
{
	begin(j, key);
	base_buf_chr(j->out, bracket);
	j->depth++;
	j->comma = false;
}

void gw_json_close(struct gw_json *j, char bracket)
{
	assert(j->depth > 0);
	base_buf_chr(j->out, bracket);
	j->depth--;
	j->comma = true;
}

void gw_json_str(struct gw_json *j, const char *key, const char *text)
{
	begin(j, key);
	if (text)
		base_buf_json(j->out, text, strlen(text));
	else
		base_buf_str(j->out, "null");
}

void gw_json_text(struct gw_json *j, const char *key, const void *text, size_t size)
{
	begin(j, key);
	base_buf_json(j->out, text, size);
}

void gw_json_raw(struct gw_json *j, const char *key, const char *json)
{
	begin(j, key);
	base_buf_str(j->out, json);
}

void gw_json_u64(struct gw_json *j, const char *key, uint64_t value)
{
	begin(j, key);
	base_buf_fmt(j->out, "%" PRIu64, value);
}

void gw_json_f64(struct gw_json *j, const char *key, double value)
{
	begin(j, key);
	if (isfinite(value))
		base_buf_fmt(j->out, "%.6g", value);
	else
		base_buf_str(j->out, "null");
}

void gw_json_bool(struct gw_json *j, const char *key, bool value)
{
	begin(j, key);
	base_buf_str(j->out, value ? "true" : "false");
}
