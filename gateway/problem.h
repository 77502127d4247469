/* Errors as application/problem+json (RFC 9457): the type is about:blank, so the title
 * is the status's own phrase; detail is a sentence for whoever reads it; request_id is
 * what the log has.
 */
#ifndef GATEWAY_PROBLEM_H
#define GATEWAY_PROBLEM_H

#include "base/buf.h"

#define GW_PROBLEM_TYPE "application/problem+json"

/* Appends one object. request_id may be NULL. */
void gw_problem_write(
	struct base_buf *out, unsigned status, const char *detail, const char *request_id);

/* "Not Found"; of one that is not registered "Unknown", or "Error" from 400 on. */
const char *gw_status_phrase(unsigned status);

#endif
