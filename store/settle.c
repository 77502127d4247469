/* What happens to a delivery at its end and after it: settle, results, dead letters. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/ulid.h"
#include "store/journal.h"
#include "store/journal_parts.h"
#include "store/keys.h"

#define GRACE_MS 60000 /* how long records outlive the fence that they are */

/* ---- what several of them write */

static size_t ops_key(struct store_fcall *c, const uint8_t *id, const char *service)
{
	char text[BASE_ULID_TEXT + 1];
	base_ulid_print(id, text);
	return store_fcall_key_format(c, STORE_KEY_OPS, text, service);
}

static void dead_keys(struct store_fcall *c, const char *service)
{
	store_fcall_key_format(c, STORE_KEY_DEAD, service);
	store_fcall_key_format(c, STORE_KEY_DEAD_BODY, service);
}

static bool is_service(const char *name)
{
	struct store_key key;
	return store_key_state(&key, name, "k", 1) == BASE_OK;
}

/* The token that no run of this attempt reaches, and every run of the next is above. */
static void fence_token(struct store_fcall *c, uint32_t attempt)
{
	uint8_t *token = base_arena_alloc(&c->arena, 8);
	if (!token) {
		c->failed = true;
		return;
	}
	for (int i = 0; i < 4; i++) {
		token[i] = (uint8_t)(attempt >> (24 - 8 * i));
		token[4 + i] = 0xff;
	}
	store_fcall_bytes(c, token, 8);
}

/* ---- settle */

static bool is_bare(const struct store_end *end)
{
	return end->how == STORE_MOVED || (end->how == STORE_ENDED && end->no_records);
}

/* How many ends from here on need nothing but their bits, which follow one another: they go as one. */
static size_t span(const struct store_end *ends, size_t n)
{
	size_t count = 1;
	while (count < n && is_bare(&ends[0]) && is_bare(&ends[count]) &&
		ends[count].bit == ends[0].bit + count)
		count++;
	return count;
}

static void add_end(struct store_fcall *c, const struct store_end *end, size_t count)
{
	store_fcall_number(c, end->bit);
	if (is_bare(end)) {
		store_fcall_text(c, "-");
		store_fcall_number(c, count);
		return;
	}
	bool fence = end->how == STORE_ENDED && !end->only_run;
	store_fcall_text(c, end->how == STORE_DEAD ? "d" : fence ? "f" : "u");
	store_fcall_number(c, ops_key(c, end->id, end->service));
	if (fence) {
		fence_token(c, end->attempt);
		store_fcall_number(c, end->fence_ms + GRACE_MS);
	} else if (end->how == STORE_DEAD) {
		fence_token(c, end->attempt);
		store_fcall_number(c, store_fcall_key_format(c, STORE_KEY_DEAD, end->service));
		store_fcall_number(c, store_fcall_key_format(c, STORE_KEY_DEAD_BODY, end->service));
		store_fcall_bytes(c, end->id, 16);
		store_fcall_bytes(c, end->head.data, end->head.size);
		store_fcall_bytes(c, end->body.data, end->body.size);
	}
}

static size_t spans(const struct store_ends *e)
{
	size_t n = 0;
	for (size_t j = 0; j < e->n; j += span(&e->ends[j], e->n - j))
		n++;
	return n;
}

static bool is_end(const struct store_ends *entry, const struct store_end *end)
{
	if (end->bit >= entry->n_deliveries)
		return false;
	if (end->how == STORE_MOVED)
		return !end->result.data;
	if (end->result_data > end->result.size)
		return false;
	if (!end->id || !is_service(end->service))
		return false;
	return end->how == STORE_ENDED || (end->head.data && end->head.size > 0);
}

static bool is_sound(const struct store_ends *entries, size_t n, size_t *n_results)
{
	for (size_t i = 0; i < n; i++) {
		if (entries[i].n == 0 || entries[i].n_deliveries > STORE_ENTRY_DELIVERIES)
			return false;
		for (size_t j = 0; j < entries[i].n; j++) {
			if (!is_end(&entries[i], &entries[i].ends[j]))
				return false;
			*n_results += entries[i].ends[j].result.data != NULL;
		}
	}
	return true;
}

static void add_entries(struct store_fcall *c, const struct store_ends *entries, size_t n)
{
	uint32_t journal = 0;
	size_t stream = 0, done = 0;
	store_fcall_number(c, n);
	for (size_t i = 0; i < n; i++) {
		const struct store_ends *e = &entries[i];
		if (!stream || e->journal != journal) {
			journal = e->journal;
			stream = store_fcall_key_format(c, STORE_KEY_JOURNAL, journal);
			done = store_fcall_key_format(c, STORE_KEY_DONE, journal);
		}
		store_fcall_number(c, journal);
		store_fcall_number(c, stream);
		store_fcall_number(c, done);
		store_fcall_id(c, e->epoch, e->turn);
		store_fcall_number(c, e->n_deliveries);
		store_fcall_number(c, spans(e));
		for (size_t j = 0, count; j < e->n; j += count) {
			count = span(&e->ends[j], e->n - j);
			add_end(c, &e->ends[j], count);
		}
	}
}

static void on_settled(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_settled out = { .says = store_journal_says(reply) };
	if (!out.says.code && (reply->type != STORE_STR ||
				      !store_parse_number(reply->text, reply->size, &out.now_ms)))
		out.says = store_journal_broken();
	p.fn.settled(p.arg, &out);
}

enum base_err store_journal_settle(struct store_redis *r, const struct store_turn *turn, bool emits,
	const struct store_ends *entries, size_t n, const struct store_bounds *bounds,
	store_settled_fn *fn, void *arg)
{
	struct store_fcall c;
	size_t n_results = 0;
	if ((n == 0 && !turn->head.data) || (turn->head.data && turn->head.size == 0) ||
		!is_sound(entries, n, &n_results))
		return BASE_INVALID;
	store_journal_owner_keys(&c);
	store_journal_turn_keys(&c, turn->journal);
	store_fcall_number(&c, turn->epoch);
	store_fcall_number(&c, turn->journal);
	store_fcall_number(&c, turn->turn);
	store_fcall_bytes(&c, turn->head.data, turn->head.data ? turn->head.size : 0);
	store_fcall_bytes(&c, turn->body.data, turn->head.data ? turn->body.size : 0);
	store_fcall_number(&c, bounds->results_max);
	store_fcall_number(&c, bounds->result_ttl_ms);
	add_entries(&c, entries, n);
	store_journal_add_results(&c, entries, n, n_results, bounds->results_max);
	return store_journal_send(&c, r, emits ? "pirn1_emit" : "pirn1_settle", on_settled,
		(struct store_pending){ { .settled = fn }, arg });
}

/* ---- lists of bytes */

static void tell_list(struct store_pending p, struct store_list out, struct store_reader *in,
	struct store_arg *items, size_t n)
{
	out.items = items;
	out.n = n;
	if (in->broken || !items)
		out = (struct store_list){ .says = store_journal_broken() };
	p.fn.list(p.arg, &out);
	free(items);
}

static void on_list(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_list out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply, .broken = reply->type != STORE_ARRAY };
	if (out.says.code) {
		p.fn.list(p.arg, &out);
		return;
	}
	size_t n = store_read_left(&in);
	struct store_arg *items = calloc(n + 1, sizeof *items);
	for (size_t i = 0; items && i < n; i++)
		items[i] = store_read_bytes(&in);
	tell_list(p, out, &in, items, n);
}

/* HSCAN's answer: a cursor, and a list of its own. */
static void on_scanned(void *pending, const struct store_reply *reply)
{
	struct store_pending p = store_journal_take(pending);
	struct store_list out = { .says = store_journal_says(reply) };
	struct store_reader in = { .reply = reply };
	if (out.says.code) {
		p.fn.list(p.arg, &out);
		return;
	}
	struct store_arg cursor = store_read_bytes(&in);
	struct store_reply inner = store_read(&in);
	struct store_reader pairs = { .reply = &inner };
	size_t n = store_read_left(&pairs) + 1;
	struct store_arg *items = calloc(n, sizeof *items);
	if (items)
		items[0] = cursor;
	for (size_t i = 1; items && i < n; i++)
		items[i] = store_read_bytes(&pairs);
	in.broken = in.broken || pairs.broken || inner.type != STORE_ARRAY;
	tell_list(p, out, &in, items, n);
}

/* ---- results and dead letters */

enum base_err store_journal_result(
	struct store_redis *r, const uint8_t id[16], store_list_fn *fn, void *arg)
{
	struct store_fcall c;
	store_fcall_init(&c);
	store_journal_results_keys(&c);
	store_fcall_bytes(&c, id, 16);
	return store_journal_send(
		&c, r, "pirn1_result", on_list, (struct store_pending){ { .list = fn }, arg });
}

enum base_err store_journal_redrive(struct store_redis *r, const struct store_turn *turn,
	const char *service, const uint8_t (*ids)[16], size_t n, uint64_t max_bytes,
	store_list_fn *fn, void *arg)
{
	struct store_fcall c;
	if (!is_service(service) || n == 0 || n > STORE_ENTRY_DELIVERIES)
		return BASE_INVALID;
	store_journal_owner_keys(&c);
	store_fcall_key_format(&c, STORE_KEY_JOURNAL, turn->journal);
	dead_keys(&c, service);
	store_journal_results_keys(&c);
	store_fcall_number(&c, turn->epoch);
	store_fcall_number(&c, turn->journal);
	store_fcall_number(&c, turn->turn);
	store_fcall_text(&c, service);
	store_fcall_number(&c, max_bytes);
	for (size_t i = 0; i < n; i++)
		store_fcall_bytes(&c, ids[i], 16);
	return store_journal_send(
		&c, r, "pirn1_redrive", on_list, (struct store_pending){ { .list = fn }, arg });
}

enum base_err store_journal_purge(struct store_redis *r, const char *service,
	const uint8_t (*ids)[16], size_t n, store_count_fn *fn, void *arg)
{
	struct store_fcall c;
	if (!is_service(service) || n == 0 || n > STORE_ENTRY_DELIVERIES)
		return BASE_INVALID;
	store_fcall_init(&c);
	dead_keys(&c, service);
	for (size_t i = 0; i < n; i++) {
		ops_key(&c, ids[i], service);
		store_fcall_bytes(&c, ids[i], 16);
	}
	return store_journal_send(&c, r, "pirn1_purge", store_journal_on_count,
		(struct store_pending){ { .count = fn }, arg });
}

/* A plain command with a list for its answer. The words' first key is keys[1]. */
static enum base_err ask(struct store_redis *r, const struct store_arg *words, size_t n,
	store_reply_fn *on_reply, struct store_pending pending)
{
	struct store_pending *kept = malloc(sizeof *kept);
	if (!kept)
		return BASE_NOMEM;
	*kept = pending;
	enum base_err err = store_redis_command(r, words, n, on_reply, kept);
	if (err)
		free(kept);
	return err;
}

enum base_err store_journal_dead_list(struct store_redis *r, const char *service,
	const char *cursor, uint32_t about, store_list_fn *fn, void *arg)
{
	if (!is_service(service))
		return BASE_INVALID;
	struct store_fcall c;
	store_fcall_init(&c);
	dead_keys(&c, service);
	store_fcall_number(&c, about ? about : 1);
	enum base_err err = c.failed ? BASE_NOMEM
				     : ask(r,
					       (struct store_arg[]){ STORE_ARG("HSCAN"), c.keys[0],
						       STORE_ARG(cursor), STORE_ARG("COUNT"),
						       c.args[0] },
					       5, on_scanned,
					       (struct store_pending){ { .list = fn }, arg });
	store_fcall_fini(&c);
	return err;
}

enum base_err store_journal_dead_get(struct store_redis *r, const char *service,
	const uint8_t id[16], store_list_fn *fn, void *arg)
{
	if (!is_service(service))
		return BASE_INVALID;
	struct store_fcall c;
	store_fcall_init(&c);
	dead_keys(&c, service);
	store_fcall_bytes(&c, id, 16);
	return store_journal_send(
		&c, r, "pirn1_letter", on_list, (struct store_pending){ { .list = fn }, arg });
}
