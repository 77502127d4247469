/* Changes of keys, as the server publishes them (keyspace notifications): heard by one
 * gateway, the one with the lease (gateway/lease.h), and only while it listens. What
 * happens while nobody does is lost; Redis keeps none of it.
 *
 * One connection: on it the server is asked what it publishes, and then subscribed to
 * __keyspace@DB__:PATTERN, so that the server itself chooses the keys. A gateway without
 * the lease stays connected and subscribes to nothing.
 *
 * Whether we hold the lease is looked at with each notification, by a clock that runs on
 * while we are stopped: what a paused gateway finds in its socket belongs to another one
 * by then. One that drains does not renew its lease, and listens until it is over.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/lease.h"
#include "gateway/source_parts.h"
#include "store/keys.h"

#define KEPT_MOST  4096u
#define KEPT_BYTES (16u * 1024 * 1024)
#define KEY_MAX    (64u * 1024)
#define SAY_MS     2000u  /* how long a word about the lease may take */
#define TELL_MS    60000u /* between two words about what was lost */

struct gw_listener {
	struct gw_source *s;
	struct store_redis *ear;
	struct gw_feed *feed;
	struct gw_lease lease;
	uint32_t db;
	bool dying;
	bool asking, asked; /* the server, what it is and what it publishes */
	bool subscribed; /* or under way */
	bool hears;      /* it was confirmed */
	bool calls;
	uint64_t handle; /* of what was said about the lease */
	uint64_t retry_at, told_lost_at;
	char timer[BASE_MANIFEST_NAME_MAX + 1];
	char *channels; /* the pattern that is subscribed */
	size_t prefix;  /* of it, before the keys' pattern */
	struct base_buf meta, data;
};

#define SAY(l, fn, ...) \
	store_redis_command((l)->ear, (const struct store_arg[]){ __VA_ARGS__ }, \
		sizeof((const struct store_arg[]){ __VA_ARGS__ }) / sizeof(struct store_arg), (fn), \
		(l))

static const char *where(const struct gw_listener *l)
{
	return store_redis_shown(l->ear);
}

static void pause_it(struct gw_listener *l)
{
	gw_lease_drop(&l->lease); /* another one may be able to */
	l->retry_at = base_clock_ms() + GW_SOURCE_AGAIN_MS;
}

/* ---- what is heard ---------------------------------------------------------------------- */

static void lose(struct gw_listener *l)
{
	uint64_t now = base_clock_ms();

	l->s->lost++;
	if (l->told_lost_at && now < l->told_lost_at + TELL_MS)
		return;
	l->told_lost_at = now;
	base_log(BASE_WARN, "source_lost", LOG_STR("source", l->s->key), LOG_STR("redis", where(l)),
		LOG_U64("lost", l->s->lost));
}

static void on_end(void *arg, const struct gw_feed_item *item, enum gw_feed_end end)
{
	struct gw_listener *l = arg;

	if (end == GW_FEED_ACCEPTED)
		l->s->accepted++;
	else if (end == GW_FEED_REFUSED)
		gw_source_refuse(l->s, where(l), item->name, item->why);
	else
		lose(l);
}

static bool is_wanted(const struct gw_listener *l, struct gw_slice op)
{
	for (size_t i = 0; i < l->s->conf->n_ops; i++)
		if (gw_slice_equal(op, gw_slice_of(l->s->conf->ops[i])))
			return true;
	return false;
}

static void put(struct gw_listener *l, struct gw_slice key, struct gw_slice op)
{
	uint8_t id[BASE_ULID_SIZE];
	char text[BASE_ULID_TEXT + 1];
	struct gw_entry_head head = { .where = where(l),
		.what = gw_slice_of(l->s->conf->keys),
		.type = "pirn.redis.key.",
		.op = op,
		.id = text,
		.subject = key };
	struct gw_feed_put item = { .name = text, .id = id, .meta = &l->meta, .data = &l->data };

	gw_source_id(l->s, id);
	base_ulid_print(id, text);
	base_buf_reset(&l->meta);
	base_buf_reset(&l->data);
	gw_entry_meta(&l->meta, &head);
	gw_entry_key_json(&l->data, key, op, l->db);
	if (gw_feed_count(l->feed) >= KEPT_MOST || gw_feed_bytes(l->feed) >= KEPT_BYTES ||
		gw_feed_put(l->feed, &item) != BASE_OK)
		lose(l);
}

/* [pmessage, pattern, channel, what]. UNTRUSTED. */
static void on_message(void *arg, const struct store_reply *reply)
{
	struct gw_listener *l = arg;
	struct store_reply channel, what;
	struct gw_slice key, op;

	if (l->dying || reply->n != 4 || !gw_lease_is_held(&l->lease, base_clock_ms()))
		return;
	channel = store_reply_at(reply, 2);
	what = store_reply_at(reply, 3);
	if (channel.type != STORE_STR || what.type != STORE_STR || channel.size < l->prefix)
		return;
	key = (struct gw_slice){ channel.text + l->prefix, channel.size - l->prefix };
	op = (struct gw_slice){ what.text, what.size };
	if (!is_wanted(l, op))
		return;
	if (key.size > KEY_MAX)
		gw_source_refuse(l->s, where(l), "-", "its key is larger than 64 KiB");
	else
		put(l, key, op);
}

/* ---- subscribing --------------------------------------------------------------------------- */

static void on_subscribed(void *arg, const struct store_reply *reply)
{
	struct gw_listener *l = arg;

	if (l->dying || reply->type == STORE_UNKNOWN)
		return;
	if (reply->type != STORE_ARRAY) {
		l->subscribed = false;
		gw_source_error(l->s, where(l), reply);
		pause_it(l);
		return;
	}
	l->hears = true;
	gw_source_well(l->s, where(l));
	base_log(BASE_INFO, "source_listening", LOG_STR("source", l->s->key),
		LOG_STR("redis", where(l)));
}

static void listen_or_not(struct gw_listener *l)
{
	bool held = gw_lease_is_held(&l->lease, base_clock_ms());

	if (!store_redis_up(l->ear) || held == l->subscribed)
		return;
	if (held) {
		l->subscribed = SAY(l, on_subscribed, STORE_ARG("PSUBSCRIBE"),
					STORE_ARG(l->channels)) == BASE_OK;
		return;
	}
	if (SAY(l, NULL, STORE_ARG("PUNSUBSCRIBE"), STORE_ARG(l->channels)) != BASE_OK)
		return;
	l->subscribed = l->hears = false;
	base_log(BASE_INFO, "source_not_listening", LOG_STR("source", l->s->key),
		LOG_STR("redis", where(l)));
}

/* ---- the lease -------------------------------------------------------------------------------- */

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct gw_listener *l = arg;

	l->calls = false;
	if (reply->reason == PIRN__REASON__NONE)
		gw_lease_accepted(&l->lease);
	else if (reply->reason == PIRN__REASON__SLOT)
		gw_lease_refused(&l->lease, reply->slot_ms, base_clock_ms());
	else
		gw_lease_failed(&l->lease, base_clock_ms());
	listen_or_not(l);
}

static void say(struct gw_listener *l, const struct gw_lease_step *step)
{
	uint8_t trace[GW_TRACE_SIZE] = { 0 };
	struct client_request request = { .service = l->s->service,
		.trace = trace,
		.timeout_ms = SAY_MS,
		.event = true,
		.timer = l->timer,
		.previous_ms = step->previous_ms,
		.slot_ms = step->slot_ms,
		.skip = true };

	gw_trace_start(&l->s->gw->rand, trace);
	gw_source_id(l->s, request.id);
	l->calls = client_engine_call(l->s->gw->engine, &request, on_reply, l, &l->handle) == BASE_OK;
	if (!l->calls)
		gw_lease_failed(&l->lease, base_clock_ms());
}

/* ---- what the server publishes -------------------------------------------------------------------- */

/* The letter of notify-keyspace-events that an operation is published under; 0: not known. */
static char letter_of(const char *op)
{
	static const struct {
		char letter;
		const char *ops; /* between blanks */
	} classes[] = {
		{ 'g', " del expire rename_from rename_to copy_to move_from move_to persist restore " },
		{ '$', " set setrange incrby incrbyfloat append getdel " },
		{ 'l', " lpush rpush lpop rpop linsert lset lrem ltrim " },
		{ 's', " sadd srem spop sinterstore sunionstore sdiffstore " },
		{ 'h', " hset hincrby hincrbyfloat hdel " },
		{ 'z', " zadd zincr zrem zrembyscore zrembyrank zinterstore zunionstore " },
		{ 't', " xadd xtrim xdel xsetid xgroup-create xgroup-destroy " },
		{ 'x', " expired " },
		{ 'e', " evicted " },
		{ 'm', " keymiss " },
		{ 'n', " new " },
	};
	char word[40];

	snprintf(word, sizeof word, " %.32s ", op);
	for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
		if (strstr(classes[i].ops, word))
			return classes[i].letter;
	return 0;
}

static void need(char *missing, const char *flags, char letter)
{
	bool in_all = strchr(flags, 'A') && strchr("g$lshzxetd", letter);
	size_t n = strlen(missing);

	if (!letter || in_all || strchr(flags, letter) || strchr(missing, letter))
		return;
	missing[n] = letter;
	missing[n + 1] = '\0';
}

static void judge_flags(struct gw_listener *l, const char *flags)
{
	char missing[16] = "";

	need(missing, flags, 'K');
	for (size_t i = 0; i < l->s->conf->n_ops; i++)
		need(missing, flags, letter_of(l->s->conf->ops[i]));
	if (missing[0])
		base_log(BASE_WARN, "source_notifications_off", LOG_STR("source", l->s->key),
			LOG_STR("redis", where(l)), LOG_STR("notify-keyspace-events", flags),
			LOG_STR("missing", missing));
}

static void on_config(void *arg, const struct store_reply *reply)
{
	struct gw_listener *l = arg;
	struct store_reply value;

	l->asking = false;
	if (l->dying || reply->type == STORE_UNKNOWN)
		return;
	l->asked = true; /* many servers tell nobody: then it is hoped for */
	gw_source_well(l->s, where(l));
	if (reply->type == STORE_ARRAY && reply->n == 2 &&
		(value = store_reply_at(reply, 1)).type == STORE_STR)
		judge_flags(l, value.text);
}

static void on_foreign(void *arg, const struct store_reply *reply)
{
	struct gw_listener *l = arg;

	l->asking = false;
	if (l->dying || reply->type == STORE_UNKNOWN)
		return;
	if (!gw_source_is_foreign(l->s, where(l), reply))
		l->retry_at = base_clock_ms() + GW_SOURCE_AGAIN_MS;
	else
		l->asking = SAY(l, on_config, STORE_ARG("CONFIG"), STORE_ARG("GET"),
				    STORE_ARG("notify-keyspace-events")) == BASE_OK;
}

static void ask(struct gw_listener *l)
{
	if (!l->asked && !l->asking && store_redis_up(l->ear) && base_clock_ms() >= l->retry_at)
		l->asking = SAY(l, on_foreign, STORE_ARG("EXISTS"),
				    STORE_ARG(GW_SOURCE_OWN_KEY)) == BASE_OK;
}

/* ---- a few times a second -------------------------------------------------------------------------- */

void gw_listener_tick(struct gw_listener *l)
{
	uint64_t at = base_clock_ms(), now_ms = 0;
	struct gw_lease_step step;

	ask(l);
	if (l->asked && store_redis_up(l->ear) && at >= l->retry_at && !l->s->gw->draining) {
		if (!client_engine_now_ms(l->s->gw->engine, &now_ms))
			now_ms = 0;
		step = gw_lease_next(&l->lease, now_ms, at);
		if (step.say)
			say(l, &step);
	}
	listen_or_not(l);
}

bool gw_listener_listens(const struct gw_listener *l)
{
	return l->hears && gw_lease_is_held(&l->lease, base_clock_ms());
}

size_t gw_listener_open(const struct gw_listener *l)
{
	return gw_feed_count(l->feed) + (l->s->gw->draining && gw_listener_listens(l));
}

/* ---- the connection, birth and death ----------------------------------------------------------------- */

static void on_up(void *arg)
{
	struct gw_listener *l = arg;

	l->asked = l->asking = l->subscribed = l->hears = false;
	ask(l);
}

static void on_down(void *arg, const char *why)
{
	struct gw_listener *l = arg;

	l->asked = l->asking = l->subscribed = l->hears = false;
	gw_lease_drop(&l->lease);
	gw_source_fault(l->s, where(l), why, NULL);
}

static struct store_redis *connect_to(struct gw_listener *l, const char *url)
{
	const struct store_redis_conf conf = { .url = url,
		.name = "pirn-gateway",
		.max_reply = GW_SOURCE_REPLY,
		.on_message = on_message };
	const struct store_redis_events events = { on_up, on_down, l };
	struct store_redis *r = NULL;
	char *why = NULL;
	enum base_err err = store_redis_new(l->s->gw->loop, &conf, &events, &r, &why);

	if (err)
		gw_source_fault(l->s, "-", why ? why : base_err_text(err), NULL);
	free(why);
	return r;
}

static bool name_channels(struct gw_listener *l)
{
	char prefix[40];

	snprintf(prefix, sizeof prefix, "__keyspace@%u__:", (unsigned)l->db);
	l->prefix = strlen(prefix);
	if (asprintf(&l->channels, "%s%s", prefix, l->s->conf->keys) >= 0)
		return true;
	l->channels = NULL;
	return false;
}

struct gw_listener *gw_listener_new(struct gw_source *s, const char *url)
{
	struct gw_listener *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->s = s;
	l->db = gw_source_db(url);
	snprintf(l->timer, sizeof l->timer, BASE_MANIFEST_LEASE "%s", s->conf->name);
	base_buf_init(&l->meta);
	base_buf_init(&l->data);
	l->feed = gw_feed_new(s->gw, s->service, on_end, l);
	if (l->feed && name_channels(l))
		l->ear = connect_to(l, url);
	if (!l->ear)
		gw_listener_free(&l);
	return l;
}

void gw_listener_free(struct gw_listener **lp)
{
	struct gw_listener *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	l->dying = true;
	if (l->hears)
		base_log(BASE_INFO, "source_not_listening", LOG_STR("source", l->s->key),
			LOG_STR("redis", where(l)));
	if (l->calls)
		client_engine_cancel(l->s->gw->engine, l->handle);
	gw_feed_free(&l->feed);
	store_redis_free(&l->ear);
	free(l->channels);
	base_buf_fini(&l->meta);
	base_buf_fini(&l->data);
	free(l);
}
