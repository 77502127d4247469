/* The query of a request target, cut into parameters and decoded, as the URL
 * Standard has it for application/x-www-form-urlencoded: cut at &, the first =
 * ends the name, + is a blank, %41 is A, and a % without two hex digits stays as
 * it is. Nothing is refused: any bytes have a reading. UNTRUSTED.
 */
#ifndef WRK_QUERY_H
#define WRK_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "pirn/service.h"

#define WRK_QUERY_MAX 1000 /* parameters of one query; more are left out */

/* Decodes size bytes into out, which has room for size + 1; returns how many it wrote before the NUL. */
size_t wrk_query_decode(char *out, const char *text, size_t size);

/* The same for the value of a CloudEvent's header: + stays, and what stands in double quotes is taken out of them. */
size_t wrk_query_decode_attribute(char *out, const char *text, size_t size);

/* The parameters of a query (what stands after the ?) in the arena, names and values NUL-terminated. */
BASE_MUSTUSE enum base_err wrk_query_parse(struct base_arena *arena, const char *text, size_t size,
	struct pirn_pair **pairs, size_t *n_pairs);

#endif
