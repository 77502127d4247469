#include "client/clock.h"

#define END_MS 253402300800000 /* of the year 9999 */

void client_clock_hear(struct client_clock *c, uint64_t local_ms, uint64_t told_ms)
{
	uint64_t number = local_ms / CLIENT_CLOCK_PART_MS + 1;
	unsigned at = (unsigned)(number % CLIENT_CLOCK_PARTS);
	int64_t offset = (int64_t)told_ms - (int64_t)local_ms;

	if (told_ms == 0 || told_ms >= END_MS)
		return;
	if (c->parts[at].number == number && c->parts[at].offset >= offset)
		return;
	c->parts[at].number = number;
	c->parts[at].offset = offset;
}

bool client_clock_now(const struct client_clock *c, uint64_t local_ms, uint64_t *now_ms)
{
	uint64_t number = local_ms / CLIENT_CLOCK_PART_MS + 1;
	int64_t best = INT64_MIN;

	for (unsigned i = 0; i < CLIENT_CLOCK_PARTS; i++) {
		if (c->parts[i].number == 0 || c->parts[i].number + CLIENT_CLOCK_PARTS <= number)
			continue;
		if (c->parts[i].offset > best)
			best = c->parts[i].offset;
	}
	if (best == INT64_MIN || (int64_t)local_ms + best <= 0)
		return false;
	*now_ms = (uint64_t)((int64_t)local_ms + best);
	return true;
}
