#include "worker/header.h"

#include <string.h>
#include <strings.h>

bool wrk_header_is_name(const char *name, size_t size)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < size; i++) {
		char c = name[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!alnum && (c == '\0' || !strchr(others, c)))
			return false;
	}
	return size > 0;
}

bool wrk_header_is_value(const char *value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
			return false;
	return true;
}

bool wrk_header_is_framing(const char *name, size_t size)
{
	static const char *const names[] = { "connection", "content-length", "keep-alive",
		"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strlen(names[i]) == size && strncasecmp(name, names[i], size) == 0)
			return true;
	return false;
}
