/* What commands that send something share: the body, the headers, the id that comes back. */
#ifndef CLI_DATA_H
#define CLI_DATA_H

#include "cli/http.h"

/* TEXT, @FILE, or - for standard input; NULL: nothing. False: it was said why not. */
bool cli_data_read(const char *data, struct base_buf *out);

#define CLI_HEADERS_MAX 12
#define CLI_HEADER_ROOM 600

struct cli_headers {
	char texts[CLI_HEADERS_MAX][CLI_HEADER_ROOM];
	const char *list[CLI_HEADERS_MAX + 1];
	size_t n;
};

/* value NULL: nothing is added. It is one line, and fits: cli_header_is_line. */
void cli_header_add(struct cli_headers *h, const char *name, const char *value);
/* What becomes a header is one line of at most 500 characters; false: it was said that it is not. */
bool cli_header_is_line(const char *flag, const char *text);

/* Prints the id of an accepted event alone, so that a script can keep it. Returns the exit status. */
int cli_show_accepted(const struct cli_http_response *response);

#endif
