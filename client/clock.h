/* What time it is by Redis's clock, as the brokers' beats tell it. Pure.
 *
 * A beat comes a little later than it was sent, never earlier: of several the one that
 * makes it latest is nearest. So the largest offset to our own monotonic clock counts, of
 * those of the last minute: a clock that was set back is believed after that. This
 * machine's wall clock plays no part, and may be stepped.
 */
#ifndef CLIENT_CLOCK_H
#define CLIENT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_CLOCK_PARTS   6
#define CLIENT_CLOCK_PART_MS 10000u

struct client_clock {
	struct {
		uint64_t number; /* of the ten seconds, + 1; 0: nothing was heard */
		int64_t offset;  /* the largest that was heard in them */
	} parts[CLIENT_CLOCK_PARTS];
};

/* local_ms: our monotonic clock. UNTRUSTED told_ms: what is no time of this age is not heard. */
void client_clock_hear(struct client_clock *c, uint64_t local_ms, uint64_t told_ms);
/* False: nobody said what time it is, for a minute. */
bool client_clock_now(const struct client_clock *c, uint64_t local_ms, uint64_t *now_ms);

#endif
