/* What `pirn new` writes: a manifest and a C file, few lines that build and answer
 * GET /NAME. Pure: name in, text out.
 */
#ifndef CLI_TEMPLATE_H
#define CLI_TEMPLATE_H

#include "base/buf.h"

/* name is a service's name (base_manifest_is_service). out's sticky error says whether it worked. */
void cli_template_manifest(const char *name, struct base_buf *out);
void cli_template_source(const char *name, struct base_buf *out);
/* The manifest of a service that is an HTTP endpoint. url is one (base_manifest_url_fault). */
void cli_template_endpoint(const char *name, const char *url, struct base_buf *out);

/* The handler's name: my-greet → handle_my_greet. With its prefix, because a service may be called
 * "double" or "exit". */
void cli_template_identifier(const char *name, struct base_buf *out);

#endif
