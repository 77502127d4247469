/* Where Redis is, as one text: redis://[[user]:password@]host[:port][/db], or
 * unix://[[user]:password@]/path[?db=n]. User and password are percent-decoded.
 *
 * The text comes from a person's flag or environment: whatever is wrong with it is
 * told in a sentence that never repeats the password.
 */
#ifndef STORE_URL_H
#define STORE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct store_url {
	bool local;      /* a unix socket */
	char *host;      /* name or address without brackets; the path of a unix socket */
	char *user;      /* NULL: the default one */
	char *password;  /* NULL: none */
	char *shown;     /* for people and logs: "127.0.0.1:6379/2", "/run/redis.sock" */
	uint16_t port;
	uint32_t db;
};

/* CONFIG with *why (heap, free() it), or NOMEM; *out is written only on success. UNTRUSTED text. */
BASE_MUSTUSE enum base_err store_url_parse(const char *text, struct store_url *out, char **why);
/* What is wrong with it, as store_url_parse says it; NULL: nothing is, or there is no memory. */
char *store_url_fault(const char *text);
void store_url_fini(struct store_url *url);

#endif
