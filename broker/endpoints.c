#include "broker/endpoints.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/conf.h"

/* libzmq takes port 99999 and binds 34463. */
static bool is_endpoint(const char *text)
{
	uint64_t port;
	const char *colon = strrchr(text, ':');
	if (strncmp(text, "ipc://", 6) == 0)
		return text[6] != '\0';
	return strncmp(text, "tcp://", 6) == 0 && colon > text + 6 &&
	       base_conf_u64(colon + 1, &port) && port >= 1 && port <= 65535;
}

enum base_err brk_endpoints_make(const char *bind, char **out, char **why)
{
	enum base_err err = BASE_OK;
	struct base_buf list, one;
	base_buf_init(&list);
	base_buf_init(&one);
	for (const char *rest = bind; !err; rest++) {
		size_t size = strcspn(rest, ",");
		base_buf_reset(&one);
		base_buf_str(&one, memmem(rest, size, "://", 3) ? "" : "tcp://");
		base_buf_add(&one, rest, size);
		base_buf_str(&list, list.size ? "," : "");
		base_buf_add(&list, one.data, one.size);
		if (one.failed || list.failed)
			err = BASE_NOMEM;
		else if (!is_endpoint((const char *)one.data))
			err = BASE_CONFIG;
		rest += size;
		if (!*rest)
			break;
	}
	if (err == BASE_CONFIG &&
		asprintf(why, "cannot listen on %s: expected tcp://ADDRESS:PORT or ipc://PATH",
			(char *)one.data) < 0)
		*why = NULL;
	base_buf_fini(&one);
	*out = err ? NULL : (char *)base_buf_take(&list);
	if (err)
		base_buf_fini(&list);
	return err || *out ? err : BASE_NOMEM;
}
