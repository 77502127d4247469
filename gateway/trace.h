/* W3C Trace Context: the traceparent header. A request that carries a valid one keeps
 * its trace id and flags; one that does not starts a trace. Either way this hop is a
 * parent of its own. tracestate belongs to a valid traceparent and goes with it.
 *
 * In memory, and in an item's trace, it is 25 bytes: trace id, parent id, flags.
 */
#ifndef GATEWAY_TRACE_H
#define GATEWAY_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rand.h"
#include "gateway/slice.h"

#define GW_TRACE_SIZE 25
#define GW_TRACE_TEXT 55 /* without the NUL */

/* False: not valid, out is untouched. Versions above 00 are read as far as 00 goes. UNTRUSTED. */
bool gw_trace_parse(struct gw_slice text, uint8_t out[GW_TRACE_SIZE]);

/* A new trace: sampled is off, the id is random and says so. */
void gw_trace_start(struct base_rand *rand, uint8_t out[GW_TRACE_SIZE]);

/* The same trace with a new parent id. */
void gw_trace_step(struct base_rand *rand, uint8_t trace[GW_TRACE_SIZE]);

void gw_trace_print(const uint8_t trace[GW_TRACE_SIZE], char out[GW_TRACE_TEXT + 1]);

#endif
