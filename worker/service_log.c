/* What include/pirn/service.h has beside requests and state: log, env, errors. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "worker/request.h"

#define LINE_MAX_BYTES 4096

void pirn_log(enum pirn_level level, const char *format, ...)
{
	static const enum base_log_level levels[] = { BASE_DEBUG, BASE_INFO, BASE_WARN,
		BASE_ERROR };
	const struct wrk_where *where = wrk_native_where();
	enum base_log_level as = (unsigned)level < 4 ? levels[level] : BASE_ERROR;
	char text[LINE_MAX_BYTES];
	va_list args;

	if (as < base_log_level())
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	base_log(as, "service_log",
		LOG_STR("service", where->native ? wrk_native_name(where->native) : NULL),
		LOG_STR("run", where->request ? pirn_request_id(where->request) : NULL),
		LOG_STR("text", text));
}

const char *pirn_env(const char *name)
{
	const struct wrk_where *where = wrk_native_where();

	return where->native ? wrk_native_env(where->native, name) : NULL;
}

static const struct {
	const char *name, *text;
	bool retryable;
} errors[] = {
#define X(name, number, retry, status, text) [number] = { #name, text, retry },
	PIRN_ERRORS(X)
#undef X
};

static bool is_error(int err)
{
	return err >= 0 && (size_t)err < sizeof errors / sizeof *errors;
}

const char *pirn_err_name(int err)
{
	return is_error(err) ? errors[err].name : "?";
}

const char *pirn_err_text(int err)
{
	return is_error(err) ? errors[err].text : "a code of the service's own";
}

bool pirn_err_retryable(int err)
{
	return is_error(err) && errors[err].retryable;
}
