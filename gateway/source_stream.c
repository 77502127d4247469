/* Entries of a stream, through its consumer group, each to become one event.
 *
 * Two connections: one reads (and waits in XREADGROUP), one tells (the group, XACK, XAUTOCLAIM).
 * An entry is held from when it is read until its XACK was answered:
 *
 *   SENT ──accepted, or never will be──▶ DONE ──XACK──▶ ACKING ──▶ gone
 *
 * So an entry is acknowledged after it was accepted, and what was accepted and not
 * acknowledged (we died, the connection broke) is read again by somebody: its dedupe key,
 * which comes from the entry alone, makes that the same event.
 *
 * Which entries are ours, Redis knows: the group's list of pending ones. Whenever we may
 * have missed what it gave us (an answer was lost, entries were claimed), that list is
 * read from its beginning, the history; what is in it and not held is new to us. Reading
 * it also says that we live: entries idle for claim_ms are anybody's.
 *
 * Back-pressure: at most HELD_MOST entries and HELD_BYTES are held. While brokers refuse,
 * nothing more is read, and the stream keeps the rest.
 *
 * An answer that is too large for us is asked for again in smaller portions, and an entry
 * that is too large alone is refused by its id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/source_parts.h"
#include "net/hash.h"
#include "store/keys.h"

#define HELD_MOST  256u
#define HELD_BYTES (4u * 1024 * 1024)
#define BATCH      64u
#define ACK_MOST   128u
#define BLOCK_MS   "2000"
#define READ_MS    10000u            /* of a command on the reading connection: BLOCK is in it */
#define REAP_MS    (10u * 60 * 1000) /* between two looks for consumers of gateways that are gone */
#define GONE_MS    (60u * 60 * 1000) /* a consumer so idle is one */
#define CONSUMER   "pirn:"           /* and the gateway's name and boot id */
#define CONSUMER_ROOM 192
#define START      "0-0"
#define KEPT_FIELDS 1024u /* of an entry, and bytes of its JSON, that there is room for at all times; more goes again */
#define KEPT_BYTES  (256u * 1024)

enum state { SENT, DONE, ACKING };

struct held {
	UT_hash_handle hh;
	char id[GW_ENTRY_ID + 1];
	enum state state;
};

struct gw_stream {
	struct gw_source *s;
	struct store_redis *reader, *teller;
	struct gw_feed *feed;
	struct held *held;
	size_t n_done;
	const char *group;
	char consumer[CONSUMER_ROOM];
	bool dying;
	bool ready;    /* the group is there */
	bool asking;   /* for it */
	bool reading, reads_history, acking, claiming, reaping;
	bool history;  /* is to be read, from after on */
	bool giant;    /* what comes after `after` is too large alone */
	bool starved;  /* memory was out while an answer was taken */
	char after[GW_ENTRY_ID + 1], cursor[GW_ENTRY_ID + 1];
	unsigned batch;
	uint64_t too_large; /* of the reader's, as far as they were looked at */
	uint64_t retry_at, claim_at, reap_at;
	struct gw_entry_field *fields;
	size_t n_room;
	struct base_buf meta, data;
};

static void turn(struct gw_stream *st);

#define SAY(r, fn, st, ...) \
	store_redis_command((r), (const struct store_arg[]){ __VA_ARGS__ }, \
		sizeof((const struct store_arg[]){ __VA_ARGS__ }) / sizeof(struct store_arg), (fn), \
		(st))

static const char *where(const struct gw_stream *st)
{
	return store_redis_shown(st->teller);
}

static struct store_arg stream_of(const struct gw_stream *st)
{
	return STORE_ARG(st->s->conf->stream);
}

static bool is_up(const struct gw_stream *st, const struct store_redis *r)
{
	return st->ready && store_redis_up(r) && base_clock_ms() >= st->retry_at;
}

static void pause_it(struct gw_stream *st)
{
	st->retry_at = base_clock_ms() + GW_SOURCE_AGAIN_MS;
}

static void read_anew(struct gw_stream *st)
{
	st->history = true;
	strcpy(st->after, START);
}

/* Something is wrong that is not the connection. */
static void stumble(struct gw_stream *st, const struct store_reply *reply)
{
	if (reply->type == STORE_UNKNOWN)
		return;
	if (gw_source_starts(reply, "NOGROUP") || gw_source_starts(reply, "UNBLOCKED"))
		st->ready = false; /* somebody removed it, or the stream: that is no fault yet */
	else
		gw_source_error(st->s, where(st), reply);
	pause_it(st);
}

/* ---- what is held --------------------------------------------------------------------- */

static struct held *find_held(struct gw_stream *st, const char *id)
{
	struct held *h;

	HASH_FIND_STR(st->held, id, h);
	return h;
}

/* NULL: no memory. */
static struct held *hold(struct gw_stream *st, const char *id, enum state state)
{
	struct held *h = calloc(1, sizeof *h);

	if (h) {
		strcpy(h->id, id);
		h->state = state;
		HASH_ADD_STR(st->held, id, h);
	}
	if (!h || !h->hh.tbl) {
		free(h);
		st->starved = true;
		return NULL;
	}
	st->n_done += state == DONE;
	return h;
}

static void let_go(struct gw_stream *st, struct held *h)
{
	st->n_done -= h->state == DONE;
	HASH_DEL(st->held, h);
	free(h);
}

static void set_done(struct gw_stream *st, struct held *h)
{
	st->n_done += h->state != DONE;
	h->state = DONE;
}

static void on_end(void *arg, const struct gw_feed_item *item, enum gw_feed_end end)
{
	struct gw_stream *st = arg;
	struct held *h = find_held(st, item->name);

	if (!h)
		return;
	switch (end) {
	case GW_FEED_ACCEPTED:
		st->s->accepted++;
		set_done(st, h);
		break;
	case GW_FEED_REFUSED:
		gw_source_refuse(st->s, where(st), item->name, item->why);
		set_done(st, h);
		break;
	case GW_FEED_UNKNOWN:
	case GW_FEED_STALE: /* perhaps it is another's by now */
		let_go(st, h);
		read_anew(st);
		break;
	}
	turn(st);
}

/* ---- acknowledging ------------------------------------------------------------------------ */

static void on_acked(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;
	struct held *h, *next;
	/* Without the group they are nobody's. */
	bool over = reply->type == STORE_INT || gw_source_starts(reply, "NOGROUP");

	st->acking = false;
	HASH_ITER (hh, st->held, h, next) {
		if (h->state != ACKING)
			continue;
		if (over)
			let_go(st, h);
		else
			set_done(st, h);
	}
	if (st->dying)
		return;
	if (reply->type != STORE_INT)
		stumble(st, reply);
	turn(st);
}

static void acknowledge(struct gw_stream *st)
{
	struct store_arg args[3 + ACK_MOST] = { STORE_ARG("XACK"), stream_of(st),
		STORE_ARG(st->group) };
	size_t n = 3;

	if (st->acking || st->n_done == 0 || !is_up(st, st->teller))
		return;
	for (struct held *h = st->held; h && n < 3 + ACK_MOST; h = h->hh.next) {
		if (h->state != DONE)
			continue;
		args[n++] = STORE_ARG(h->id);
		h->state = ACKING;
		st->n_done--;
	}
	st->acking = store_redis_command(st->teller, args, n, on_acked, st) == BASE_OK;
	if (st->acking)
		return;
	for (struct held *h = st->held; h; h = h->hh.next)
		if (h->state == ACKING)
			set_done(st, h);
}

/* ---- entries --------------------------------------------------------------------------------- */

/* False: what came is no list of names and values, or there is no memory. */
static bool take_fields(struct gw_stream *st, const struct store_reply *list, size_t *n)
{
	struct gw_entry_field *grown;

	if (list->type != STORE_ARRAY || list->n % 2 != 0)
		return false;
	*n = list->n / 2;
	if (*n > st->n_room) {
		grown = realloc(st->fields, *n * sizeof *grown);
		st->starved |= !grown;
		if (!grown)
			return false;
		st->fields = grown;
		st->n_room = *n;
	}
	for (size_t i = 0; i < *n; i++) {
		struct store_reply name = store_reply_at(list, 2 * i);
		struct store_reply value = store_reply_at(list, 2 * i + 1);

		if (name.type != STORE_STR || value.type != STORE_STR)
			return false;
		st->fields[i] = (struct gw_entry_field){ { name.text, name.size },
			{ value.text, value.size } };
	}
	return true;
}

static enum base_err put(struct gw_stream *st, const char *id, uint64_t ms)
{
	struct gw_source *s = st->s;
	const char *const scope[] = { s->service, s->conf->url, s->conf->stream, st->group };
	struct gw_slice body = { (const char *)st->data.data, st->data.size };
	struct gw_entry_head head = { .where = where(st),
		.what = gw_slice_of(s->conf->stream),
		.type = "pirn.redis.entry",
		.op = { "", 0 },
		.id = id,
		.subject = { "", 0 },
		.time_ms = ms };
	uint8_t event[BASE_ULID_SIZE], key[GW_ENTRY_KEY];
	struct gw_feed_put item = { .name = id,
		.id = event,
		.key = key,
		/* Half of the time that a key is remembered. */
		.fresh_until = base_clock_ms() + s->gw->event_dedupe_ms / 2,
		.meta = &st->meta,
		.data = &st->data };

	base_buf_reset(&st->meta);
	gw_entry_meta(&st->meta, &head);
	gw_entry_key(scope, sizeof scope / sizeof scope[0], gw_slice_of(id), body, key);
	gw_source_id(s, event);
	return gw_feed_put(st->feed, &item);
}

/* False: there is no memory for it; it is read again. */
static bool take_new(struct gw_stream *st, const char *id, uint64_t ms, size_t n)
{
	struct held *h;

	base_buf_reset(&st->data);
	gw_entry_json(&st->data, st->fields, n);
	st->starved |= base_buf_check(&st->data) != BASE_OK;
	if (st->starved)
		return false;
	if (st->data.size > gw_source_max_body(st->s)) {
		gw_source_refuse(st->s, where(st), id, "it is larger than --max-body");
		return hold(st, id, DONE) != NULL;
	}
	h = hold(st, id, SENT);
	if (!h)
		return false;
	if (put(st, id, ms) == BASE_OK)
		return true;
	st->starved = true;
	let_go(st, h);
	return false;
}

/* False: it is none. UNTRUSTED. */
static bool take_entry(struct gw_stream *st, const struct store_reply *entry)
{
	struct store_reply name, fields;
	char id[GW_ENTRY_ID + 1];
	uint64_t ms;
	size_t n;

	if (entry->type != STORE_ARRAY || entry->n != 2)
		return false;
	name = store_reply_at(entry, 0);
	fields = store_reply_at(entry, 1);
	if (name.type != STORE_STR ||
		!gw_entry_is_id((struct gw_slice){ name.text, name.size }, &ms))
		return false;
	memcpy(id, name.text, name.size);
	id[name.size] = '\0';
	if (st->reads_history)
		strcpy(st->after, id);
	if (find_held(st, id))
		return true;
	/* Deleted or trimmed before anybody read it: there is nothing left to be an event. */
	if (fields.type == STORE_NIL) {
		gw_source_refuse(st->s, where(st), id, "it was deleted before it was read");
		return hold(st, id, DONE) != NULL;
	}
	return take_fields(st, &fields, &n) && take_new(st, id, ms, n);
}

/* [[stream, [entry, …]]]. UNTRUSTED. */
static bool take_entries(struct gw_stream *st, const struct store_reply *reply, size_t *n)
{
	struct store_reply one, list;

	if (reply->type != STORE_ARRAY || reply->n != 1)
		return false;
	one = store_reply_at(reply, 0);
	if (one.type != STORE_ARRAY || one.n != 2)
		return false;
	list = store_reply_at(&one, 1);
	if (list.type != STORE_ARRAY)
		return false;
	*n = list.n;
	for (size_t i = 0; i < list.n; i++) {
		struct store_reply entry = store_reply_at(&list, i);

		if (!take_entry(st, &entry))
			return false;
	}
	return true;
}

/* One that was large does not cost its memory for ever. */
static void trim(struct gw_stream *st)
{
	if (st->n_room > KEPT_FIELDS) {
		free(st->fields);
		st->fields = NULL;
		st->n_room = 0;
	}
	if (st->data.capacity > KEPT_BYTES) {
		base_buf_fini(&st->data);
		base_buf_init(&st->data);
	}
}

/* What came is not what was asked for; or it is, and cannot be kept. */
static void stumble_over(struct gw_stream *st, const struct store_reply *reply)
{
	if (!st->starved) {
		stumble(st, reply);
		return;
	}
	gw_source_fault(st->s, where(st), base_err_text(BASE_NOMEM), "nothing is lost: it is read again");
	pause_it(st);
}

static void on_entries(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;
	size_t n = 0;

	st->reading = st->starved = false;
	if (st->dying)
		return;
	if (reply->type == STORE_UNKNOWN) { /* on_reader_down says what comes of it */
		if (!st->reads_history)
			read_anew(st);
		return;
	}
	if (reply->type == STORE_ERROR) {
		read_anew(st);
		stumble(st, reply);
	} else if (reply->type != STORE_NIL && !take_entries(st, reply, &n)) {
		read_anew(st);
		stumble_over(st, reply);
	} else {
		if (st->reads_history && n == 0)
			st->history = false;
		if (st->batch < BATCH && n > 0)
			st->batch *= 2;
		gw_source_well(st->s, where(st));
	}
	trim(st);
	turn(st);
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* What is too large to be read has an id all the same. */
static void on_giant(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;
	struct store_reply first, name;
	char id[GW_ENTRY_ID + 1];
	uint64_t ms;

	st->reading = false;
	if (st->dying || reply->type == STORE_UNKNOWN)
		return;
	st->giant = false;
	if (reply->type != STORE_ARRAY) {
		stumble(st, reply);
		return;
	}
	if (reply->n > 0 && (first = store_reply_at(reply, 0)).type == STORE_ARRAY && first.n > 0 &&
		(name = store_reply_at(&first, 0)).type == STORE_STR &&
		gw_entry_is_id((struct gw_slice){ name.text, name.size }, &ms)) {
		memcpy(id, name.text, name.size);
		id[name.size] = '\0';
		strcpy(st->after, id);
		if (!find_held(st, id) && hold(st, id, DONE))
			gw_source_refuse(st->s, where(st), id, "it is larger than what is taken");
	}
	turn(st);
}

static void find_giant(struct gw_stream *st)
{
	char from[GW_ENTRY_ID + 2];

	snprintf(from, sizeof from, "(%s", st->after);
	st->reading = SAY(st->reader, on_giant, st, STORE_ARG("XPENDING"), stream_of(st),
			      STORE_ARG(st->group), STORE_ARG(from), STORE_ARG("+"),
			      STORE_ARG("1"), STORE_ARG(st->consumer)) == BASE_OK;
}

static void read_on(struct gw_stream *st)
{
	size_t held = HASH_COUNT(st->held);
	char count[16];
	enum base_err err;

	if (st->reading || st->s->gw->draining || !is_up(st, st->reader) ||
		gw_feed_bytes(st->feed) >= HELD_BYTES || held + BATCH > HELD_MOST)
		return;
	if (st->giant) {
		find_giant(st);
		return;
	}
	snprintf(count, sizeof count, "%u", st->batch);
	st->reads_history = st->history;
	if (st->history)
		err = SAY(st->reader, on_entries, st, STORE_ARG("XREADGROUP"), STORE_ARG("GROUP"),
			STORE_ARG(st->group), STORE_ARG(st->consumer), STORE_ARG("COUNT"),
			STORE_ARG(count), STORE_ARG("STREAMS"), stream_of(st),
			STORE_ARG(st->after));
	else
		err = SAY(st->reader, on_entries, st, STORE_ARG("XREADGROUP"), STORE_ARG("GROUP"),
			STORE_ARG(st->group), STORE_ARG(st->consumer), STORE_ARG("COUNT"),
			STORE_ARG(count), STORE_ARG("BLOCK"), STORE_ARG(BLOCK_MS),
			STORE_ARG("STREAMS"), stream_of(st), STORE_ARG(">"));
	st->reading = err == BASE_OK;
}

/* ---- those of others -------------------------------------------------------------------------------- */

/* [cursor, [id, …], …]. UNTRUSTED. */
static bool take_claimed(struct gw_stream *st, const struct store_reply *reply, size_t *fresh)
{
	struct store_reply cursor, ids;
	uint64_t ms;

	if (reply->type != STORE_ARRAY || reply->n < 2)
		return false;
	cursor = store_reply_at(reply, 0);
	ids = store_reply_at(reply, 1);
	if (cursor.type != STORE_STR || ids.type != STORE_ARRAY ||
		!gw_entry_is_id((struct gw_slice){ cursor.text, cursor.size }, &ms))
		return false;
	snprintf(st->cursor, sizeof st->cursor, "%s", cursor.text);
	for (size_t i = 0; i < ids.n; i++) {
		struct store_reply id = store_reply_at(&ids, i);

		*fresh += id.type == STORE_STR && !find_held(st, id.text);
	}
	return true;
}

static void on_claimed(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;
	size_t fresh = 0;

	st->claiming = false;
	if (st->dying)
		return;
	if (!take_claimed(st, reply, &fresh)) {
		read_anew(st); /* it may have happened */
		if (reply->type != STORE_UNKNOWN) { /* the rest may go on without it */
			gw_source_error(st->s, where(st), reply);
			st->claim_at = base_clock_ms() + REAP_MS;
		}
		return;
	}
	if (strcmp(st->cursor, START) == 0)
		st->claim_at = base_clock_ms() + gw_source_claim_ms(st->s) / 2;
	if (fresh == 0)
		return;
	st->s->taken += fresh;
	base_log(BASE_INFO, "source_taken_over", LOG_STR("source", st->s->key),
		LOG_STR("redis", where(st)), LOG_U64("entries", fresh));
	read_anew(st);
	turn(st);
}

/* JUSTID: the history has the rest, on the connection that can take what is too large. */
static void claim(struct gw_stream *st)
{
	char idle[16];

	if (st->claiming || st->s->gw->draining || !is_up(st, st->teller) ||
		base_clock_ms() < st->claim_at || HASH_COUNT(st->held) + BATCH > HELD_MOST)
		return;
	snprintf(idle, sizeof idle, "%u", (unsigned)gw_source_claim_ms(st->s));
	st->claiming = SAY(st->teller, on_claimed, st, STORE_ARG("XAUTOCLAIM"), stream_of(st),
			       STORE_ARG(st->group), STORE_ARG(st->consumer), STORE_ARG(idle),
			       STORE_ARG(st->cursor), STORE_ARG("COUNT"), STORE_ARG("64"),
			       STORE_ARG("JUSTID")) == BASE_OK;
}

/* ---- consumers that are gone -------------------------------------------------------------------------- */

static bool has_number(const struct store_reply *list, const char *name, uint64_t *out)
{
	for (size_t i = 0; i + 1 < list->n; i += 2) {
		struct store_reply key = store_reply_at(list, i);
		struct store_reply value = store_reply_at(list, i + 1);

		if (key.type != STORE_STR || strcmp(key.text, name) != 0)
			continue;
		*out = (uint64_t)value.integer;
		return value.type == STORE_INT && value.integer >= 0;
	}
	return false;
}

/* Its name is never used again (there is a boot id in it), so nothing comes to it any more; and nothing may lie
 * there, because that would be lost with it. */
static void reap_one(struct gw_stream *st, const struct store_reply *consumer)
{
	struct store_reply name;
	uint64_t pending, idle;

	if (consumer->type != STORE_ARRAY || consumer->n < 2)
		return;
	name = store_reply_at(consumer, 1);
	if (name.type != STORE_STR || strncmp(name.text, CONSUMER, sizeof CONSUMER - 1) != 0 ||
		strcmp(name.text, st->consumer) == 0 || !has_number(consumer, "pending", &pending) ||
		!has_number(consumer, "idle", &idle) || pending > 0 || idle < GONE_MS)
		return;
	if (SAY(st->teller, NULL, NULL, STORE_ARG("XGROUP"), STORE_ARG("DELCONSUMER"),
		    stream_of(st), STORE_ARG(st->group),
		    ((struct store_arg){ name.text, name.size })) != BASE_OK)
		st->reap_at = base_clock_ms() + GW_SOURCE_AGAIN_MS;
}

static void on_consumers(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;

	st->reaping = false;
	if (st->dying || reply->type != STORE_ARRAY)
		return; /* it may be forbidden: they are only in the way */
	for (size_t i = 0; i < reply->n; i++) {
		struct store_reply one = store_reply_at(reply, i);

		reap_one(st, &one);
	}
}

static void reap(struct gw_stream *st)
{
	if (st->reaping || !is_up(st, st->teller) || base_clock_ms() < st->reap_at)
		return;
	st->reap_at = base_clock_ms() + REAP_MS;
	st->reaping = SAY(st->teller, on_consumers, st, STORE_ARG("XINFO"), STORE_ARG("CONSUMERS"),
			      stream_of(st), STORE_ARG(st->group)) == BASE_OK;
}

/* ---- the group -------------------------------------------------------------------------------------------- */

static void on_group(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;

	st->asking = false;
	if (st->dying)
		return;
	if (reply->type == STORE_STATUS || gw_source_starts(reply, "BUSYGROUP")) {
		st->ready = true;
		gw_source_well(st->s, where(st));
		turn(st);
	} else {
		stumble(st, reply);
	}
}

/* From the stream's beginning: what is in it was not seen by this group, and nothing shall be lost. */
static void on_foreign(void *arg, const struct store_reply *reply)
{
	struct gw_stream *st = arg;

	st->asking = false;
	if (st->dying)
		return;
	if (!gw_source_is_foreign(st->s, where(st), reply)) {
		pause_it(st);
		return;
	}
	st->asking = SAY(st->teller, on_group, st, STORE_ARG("XGROUP"), STORE_ARG("CREATE"),
			     stream_of(st), STORE_ARG(st->group), STORE_ARG("0"),
			     STORE_ARG("MKSTREAM")) == BASE_OK;
}

static void ask_group(struct gw_stream *st)
{
	if (st->ready || st->asking || st->s->gw->draining || !store_redis_up(st->teller) ||
		base_clock_ms() < st->retry_at)
		return;
	st->asking = SAY(st->teller, on_foreign, st, STORE_ARG("EXISTS"),
			     STORE_ARG(GW_SOURCE_OWN_KEY)) == BASE_OK;
}

static void turn(struct gw_stream *st)
{
	ask_group(st);
	acknowledge(st);
	claim(st);
	read_on(st);
	reap(st);
}

void gw_stream_tick(struct gw_stream *st)
{
	turn(st);
}

size_t gw_stream_open(const struct gw_stream *st)
{
	return HASH_COUNT(st->held);
}

/* The rest is for others to take over. */
size_t gw_stream_busy(const struct gw_stream *st)
{
	size_t sent = gw_feed_count(st->feed);

	return gw_feed_untried(st->feed) +
	       (store_redis_up(st->teller) ? HASH_COUNT(st->held) - sent : 0);
}

/* ---- connections, birth and death ----------------------------------------------------------------------------- */

static void on_up(void *arg)
{
	turn(arg);
}

static void on_teller_down(void *arg, const char *why)
{
	struct gw_stream *st = arg;

	st->ready = false; /* it may come back without the group */
	gw_source_fault(st->s, where(st), why, NULL);
}

static void on_reader_down(void *arg, const char *why)
{
	struct gw_stream *st = arg;
	uint64_t too_large = store_redis_stats(st->reader)->too_large;

	if (too_large == st->too_large) {
		read_anew(st);
		gw_source_fault(st->s, store_redis_shown(st->reader), why, NULL);
		return;
	}
	st->too_large = too_large;
	st->giant = st->batch == 1 && st->reads_history;
	st->batch = st->batch > 1 ? st->batch / 2 : 1;
}

static struct store_redis *connect_to(struct gw_stream *st, const char *url,
	void (*on_down)(void *arg, const char *why), uint32_t command_ms)
{
	const struct store_redis_conf conf = { .url = url,
		.name = "pirn-gateway",
		.command_ms = command_ms,
		.max_reply = gw_source_max_reply(st->s) };
	const struct store_redis_events events = { on_up, on_down, st };
	struct store_redis *r = NULL;
	char *why = NULL;
	enum base_err err = store_redis_new(st->s->gw->loop, &conf, &events, &r, &why);

	if (err)
		gw_source_fault(st->s, "-", why ? why : base_err_text(err), NULL);
	free(why);
	return r;
}

static void name_consumer(struct gw_stream *st)
{
	char boot[BASE_ULID_TEXT + 1];

	base_ulid_print(st->s->gw->boot, boot);
	snprintf(st->consumer, sizeof st->consumer, CONSUMER "%.128s:%s", st->s->gw->name, boot);
}

struct gw_stream *gw_stream_new(struct gw_source *s, const char *url)
{
	struct gw_stream *st = calloc(1, sizeof *st);

	if (!st)
		return NULL;
	st->s = s;
	st->group = s->conf->group ? s->conf->group : s->service;
	st->batch = BATCH;
	strcpy(st->cursor, START);
	read_anew(st);
	name_consumer(st);
	base_buf_init(&st->meta);
	base_buf_init(&st->data);
	st->feed = gw_feed_new(s->gw, s->service, on_end, st);
	st->teller = st->feed ? connect_to(st, url, on_teller_down, 0) : NULL;
	st->reader = st->teller ? connect_to(st, url, on_reader_down, READ_MS) : NULL;
	if (!st->reader)
		gw_stream_free(&st);
	return st;
}

void gw_stream_free(struct gw_stream **stp)
{
	struct gw_stream *st = *stp;
	struct held *h, *next;

	if (!st)
		return;
	*stp = NULL;
	st->dying = true;
	gw_feed_free(&st->feed);
	store_redis_free(&st->reader);
	store_redis_free(&st->teller);
	HASH_ITER (hh, st->held, h, next)
		let_go(st, h);
	free(st->fields);
	base_buf_fini(&st->meta);
	base_buf_fini(&st->data);
	free(st);
}
