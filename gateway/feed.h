/* Events that the gateway makes itself, on their way to one service: each is submitted until
 * it is accepted, or is found to be one that never will be. Nobody waits for the answer,
 * so what is refused for now is tried again, with back-off and for as long as it takes;
 * how many there are at once is up to whoever puts them in, who asks
 * gw_feed_count and gw_feed_bytes.
 *
 * An item with a key is one event however often it is submitted, for as long as the
 * brokers remember keys: so it may only be tried again while it is certain that nobody
 * else took it over, was accepted with it, and was forgotten. fresh_until says for how
 * long; after it the item comes back as STALE.
 */
#ifndef GATEWAY_FEED_H
#define GATEWAY_FEED_H

#include "base/buf.h"
#include "base/ulid.h"
#include "gateway/entry.h"
#include "gateway/gw.h"

enum gw_feed_end {
	GW_FEED_ACCEPTED,
	GW_FEED_REFUSED, /* it never will be: too large, malformed */
	GW_FEED_UNKNOWN, /* it has no key, and nobody knows whether it was accepted */
	GW_FEED_STALE
};

struct gw_feed;

/* For an item's user it is name and end; it is freed when the callback has returned. */
struct gw_feed_item {
	char name[GW_ENTRY_ID + 1];
	const char *why; /* REFUSED: for people */
	void *user;
	/* private */
	struct gw_feed_item *prev, *next;
	struct gw_feed *feed;
	uint64_t due, fresh_until; /* monotonic; fresh_until 0: for ever */
	uint64_t handle;
	unsigned tries;
	bool calls, keyed;
	uint8_t id[BASE_ULID_SIZE];
	uint8_t key[GW_ENTRY_KEY];
	uint32_t meta_size, data_size;
	uint8_t payload[];
};

/* In the loop; never from within gw_feed_put. */
typedef void gw_feed_fn(void *arg, const struct gw_feed_item *item, enum gw_feed_end end);

/* service is borrowed for as long as the feed is. NULL: no memory. */
struct gw_feed *gw_feed_new(struct gw *gw, const char *service, gw_feed_fn *fn, void *arg);
void gw_feed_free(struct gw_feed **feed); /* takes NULL; what is under way is dropped, nobody is called */

struct gw_feed_put {
	const char *name; /* at most GW_ENTRY_ID long; for logs, copied */
	void *user;
	const uint8_t *id;  /* BASE_ULID_SIZE: the event's */
	const uint8_t *key; /* GW_ENTRY_KEY, or NULL */
	uint64_t fresh_until;
	const struct base_buf *meta, *data; /* copied */
};

/* NOMEM: it is not in. */
BASE_MUSTUSE enum base_err gw_feed_put(struct gw_feed *feed, const struct gw_feed_put *put);

size_t gw_feed_count(const struct gw_feed *feed);
size_t gw_feed_bytes(const struct gw_feed *feed);
size_t gw_feed_untried(const struct gw_feed *feed); /* of them: those that nobody has refused yet */

#endif
