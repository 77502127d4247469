/* traceparent: what is taken is printed as version 00, and that is taken again and alike. */
#include <assert.h>

#include "gateway/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t trace[GW_TRACE_SIZE], again[GW_TRACE_SIZE];
	char text[GW_TRACE_TEXT + 1];

	if (!gw_trace_parse((struct gw_slice){ (const char *)data, size }, trace))
		return 0;
	gw_trace_print(trace, text);
	assert(gw_trace_parse(gw_slice_of(text), again));
	assert(memcmp(trace, again, sizeof trace) == 0);
	assert(size < 52 || memcmp(text + 3, data + 3, 49) == 0);
	return 0;
}
