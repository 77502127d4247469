/* The inside of a source, shared by source.c (all of them, and how they fare) and its two
 * kinds.
 */
#ifndef GATEWAY_SOURCE_PARTS_H
#define GATEWAY_SOURCE_PARTS_H

#include "base/manifest.h"
#include "gateway/feed.h"
#include "gateway/source.h"
#include "store/redis.h"

#define GW_SOURCE_KEY      (2 * (BASE_MANIFEST_NAME_MAX + 1)) /* service/name, with its NUL */
#define GW_SOURCE_REPLY    (8u * 1024 * 1024) /* the largest reply that is taken, unless bodies may be larger */
#define GW_SOURCE_AGAIN_MS 2000u /* after what went wrong */

struct gw_stream;
struct gw_listener;

struct gw_source {
	UT_hash_handle hh;
	struct gw_sources *all;
	struct gw *gw;
	Pirn__Source *conf;
	uint8_t *packed; /* as it came: what did not change is left alone */
	size_t packed_size;
	char key[GW_SOURCE_KEY];                  /* service/name */
	char service[BASE_MANIFEST_NAME_MAX + 1];
	struct gw_stream *stream;     /* this, */
	struct gw_listener *listener; /* or this, or neither: it has no URL here */
	bool seen, told_missing;
	bool well;       /* it works now */
	char fault[320]; /* what was told last; "": nothing */
	uint64_t retry_at;
	uint64_t accepted, refused, taken, lost, faults;
};

/* It works: said once, and again after each fault. where: as store_redis_shown has it. */
void gw_source_well(struct gw_source *s, const char *where);
/* It does not, and why: told when it is news. what: what to do about it; NULL: nothing more to say. */
void gw_source_fault(struct gw_source *s, const char *where, const char *why, const char *what);
/* The same, of an error reply. */
void gw_source_error(struct gw_source *s, const char *where, const struct store_reply *reply);
/* One event will never be: counted, and told with its name. */
void gw_source_refuse(struct gw_source *s, const char *where, const char *name, const char *why);

/* The answer to EXISTS of one of Pirn's own keys: false, and it is told, when that is Pirn's own Redis. */
bool gw_source_is_foreign(struct gw_source *s, const char *where, const struct store_reply *reply);
#define GW_SOURCE_OWN_KEY STORE_KEY_EPOCH

bool gw_source_starts(const struct store_reply *reply, const char *code); /* an error with that code */
uint32_t gw_source_claim_ms(const struct gw_source *s);
uint64_t gw_source_max_body(const struct gw_source *s);
size_t gw_source_max_reply(const struct gw_source *s);
/* An event's id, by the brokers' clock. */
void gw_source_id(struct gw_source *s, uint8_t out[BASE_ULID_SIZE]);
/* The number of the database in a URL that parses. */
uint32_t gw_source_db(const char *url);

/* source_stream.c. NULL: no memory, or the URL is wrong, which has been told. */
struct gw_stream *gw_stream_new(struct gw_source *s, const char *url);
void gw_stream_free(struct gw_stream **st); /* takes NULL */
void gw_stream_tick(struct gw_stream *st);  /* a few times a second */
size_t gw_stream_open(const struct gw_stream *st);
size_t gw_stream_busy(const struct gw_stream *st); /* of them: those that do not wait for somebody who is away */

/* source_keys.c */
struct gw_listener *gw_listener_new(struct gw_source *s, const char *url);
void gw_listener_free(struct gw_listener **l); /* takes NULL */
void gw_listener_tick(struct gw_listener *l);
size_t gw_listener_open(const struct gw_listener *l);
bool gw_listener_listens(const struct gw_listener *l);

#endif
