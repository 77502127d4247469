/* What commands do with a gateway's answers: JSON in, a document out, or one line that
 * says why not. Everything that comes back is UNTRUSTED: it goes to a terminal only by
 * way of base_text_word.
 */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "cli/term.h"

#define CLI_ANSWER_MS 10000

/* Says a problem (RFC 9457) in a line. */
void cli_tell_problem(const struct cli_http_response *response);

/* One exchange whose answer is a JSON object with a 2xx status; *out is the caller's to json_decref.
 * Otherwise the status to exit with, and it was said why: UNAVAILABLE for nobody there and for 503,
 * USAGE for a wrong address, FAILED for all else. */
int cli_ask(const struct cli_http_request *request, json_t **out);

void cli_print_json(const json_t *document); /* compact, in a line */

const char *cli_text(const json_t *object, const char *key); /* NULL: it is none */
double cli_number(const json_t *object, const char *key);    /* 0: it is none */

/* Cells of a table. Text that is not there is "-". */
void cli_cell_text(struct cli_table *t, const json_t *object, const char *key);
void cli_cell_number(struct cli_table *t, const json_t *object, const char *key);
void cli_cell_ms(struct cli_table *t, double ms); /* 12 ms, 3.4 s, 5 min, 2.5 h, 3 d */

#endif
