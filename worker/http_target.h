/* An URL that is called, taken apart. */
#ifndef WRK_HTTP_TARGET_H
#define WRK_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <curl/curl.h>

#include "base/err.h"
#include "worker/http_allow.h"

struct wrk_target {
	char *url;     /* scheme://host:port */
	CURLU *parsed; /* the same as libcurl has it: to parse a text anew for each request costs it much */
	char *host;    /* without brackets */
	char *path;    /* /hook?a=1; NULL: the URL ends with its host, and requests keep their own */
	uint16_t port;
	bool literal;  /* host is an address: this one */
	struct sockaddr_storage address;
};

/* UNTRUSTED. On an error why holds what was expected. */
BASE_MUSTUSE enum base_err wrk_target_parse(
	const char *url, struct wrk_target *out, char *why, size_t why_room);
void wrk_target_fini(struct wrk_target *t);

#endif
