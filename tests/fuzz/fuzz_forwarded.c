/* Proxies' headers and lists of networks. The first line is a list of networks, the
 * second a Forwarded, the third an X-Forwarded-For; each may be missing.
 */
#include <assert.h>
#include <stdint.h>

#include "gateway/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gw_slice take_line(struct gw_slice *rest)
{
	const char *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
	struct gw_slice line = { rest->data, end ? (size_t)(end - rest->data) : rest->size };
	size_t used = line.size + (end != NULL);

	*rest = (struct gw_slice){ rest->data + used, rest->size - used };
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_slice rest = { (const char *)data, size }, lines[3];
	struct gw_nets nets = { NULL, 0 };
	uint8_t addr[GW_ADDR_SIZE] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1 };
	char why[128] = "", list[256] = "", text[GW_ADDR_TEXT];

	for (size_t i = 0; i < 3; i++)
		lines[i] = take_line(&rest);
	memcpy(list, lines[0].data, lines[0].size < sizeof list ? lines[0].size : sizeof list - 1);
	if (gw_nets_parse(list, &nets, why, sizeof why) != BASE_OK) {
		assert(*why && !nets.items);
		if (gw_nets_parse("10.0.0.0/8", &nets, why, sizeof why) != BASE_OK)
			return 0;
	}
	gw_forwarded_walk(&nets, (struct gw_hops){ &lines[1], lines[1].size > 0 },
		(struct gw_hops){ &lines[2], 1 }, addr);
	gw_addr_print(addr, text);
	assert(*text);
	assert(gw_addr_parse(gw_slice_of(text), addr));
	gw_nets_fini(&nets);
	return 0;
}
