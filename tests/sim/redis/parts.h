/* The inside of the simulated Redis: names of keys, numbers as text, and the Functions,
 * each in its file. Whatever is made on the way lives in the reply's arena.
 */
#ifndef TESTS_SIM_REDIS_PARTS_H
#define TESTS_SIM_REDIS_PARTS_H

#include "tests/sim/redis/redis.h"

#define SIM_KEY_PREFIX "pirn:{0}:" /* only its length counts here: bounds are of whole names */
#define SIM_DAY_MS     86400000u

#define SIM_FAULTY(r, name) (((r)->faults & 1u << SIM_REDIS_##name) != 0)

struct sim_asking {
	struct sim_redis *r;
	struct base_arena *arena;
	const struct brk_ask *ask;
	const struct store_bounds *bounds;
	struct sim_reply *reply;
};

void *sim_alloc(struct base_arena *arena, size_t size); /* zeroed */
struct store_arg sim_text(struct base_arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
struct store_arg sim_keep(struct base_arena *arena, struct store_arg bytes);
struct store_arg sim_word(const char *text);
uint64_t sim_number(struct store_arg text); /* decimal; anything else is 0 */
bool sim_same(struct store_arg a, struct store_arg b);

/* A number that stands in a field; 0 when it does not. */
uint64_t sim_field_number(struct sim_redis *r, struct store_arg key, struct store_arg field);
void sim_set_number(
	struct sim_asking *a, struct store_arg key, struct store_arg field, uint64_t number);
/* The fields of a key, copied, so that the key may change meanwhile. */
struct sim_pair {
	struct store_arg field, value;
};
struct sim_pair *sim_pairs(
	struct base_arena *arena, struct sim_redis *r, struct store_arg key, size_t *n);

/* ---- owners.c */
bool sim_is_owner(struct sim_redis *r, struct base_arena *arena, uint32_t epoch);
uint32_t sim_owner_of(
	struct sim_redis *r, struct base_arena *arena, uint32_t journal, bool *adopted);
bool sim_may_append(struct sim_asking *a, uint32_t epoch, uint32_t journal);
void sim_refuse(struct sim_asking *a, enum store_code code);
void sim_fenced(struct sim_asking *a);
void sim_do_open(struct sim_asking *a);
void sim_do_beat(struct sim_asking *a);
void sim_do_adopt(struct sim_asking *a);
void sim_do_leave(struct sim_asking *a);
void sim_do_drop(struct sim_asking *a);

/* ---- store.c */
struct store_arg sim_stream_key(struct base_arena *arena, uint32_t journal);
struct store_arg sim_top_key(struct base_arena *arena, uint32_t journal);
struct store_arg sim_done_key(struct base_arena *arena, uint32_t journal);
struct store_arg sim_entry_id(struct base_arena *arena, uint32_t epoch, uint64_t turn);
/* XADD; false: REPEATED was said, and nothing was written. */
bool sim_append(struct sim_asking *a, const struct store_turn *turn, struct store_arg head,
	struct store_arg body);
void sim_tell_added(struct sim_asking *a, enum sim_change_kind kind, const struct store_turn *turn,
	struct store_arg head, struct store_arg ended);
void sim_set_bit(uint8_t *bitmap, uint32_t bit);
void sim_do_read(struct sim_asking *a);
void sim_do_store(struct sim_asking *a);

/* ---- settle.c, results.c */
void sim_do_settle(struct sim_asking *a);
struct sim_result {
	const uint8_t *id;
	const char *service;
	struct store_arg bytes;
	bool alone;
};
/* Those that are alone come first. */
void sim_results_add(struct sim_asking *a, const struct sim_result *list, size_t n);
void sim_results_remove(struct sim_asking *a, const uint8_t *id, const char *service);
void sim_do_result(struct sim_asking *a);
void sim_do_redrive(struct sim_asking *a);
void sim_do_purge(struct sim_asking *a);
void sim_do_dead_list(struct sim_asking *a);
void sim_do_dead_get(struct sim_asking *a);

/* ---- ops.c, claims.c */
#define SIM_EVENT_BYTES 256u /* what a dedupe key costs, besides its name */
#define SIM_KNOWN_BYTES 128u /* one with a time of its own */
struct store_arg sim_ops_key(struct base_arena *arena, const uint8_t *id, const char *service);
struct store_arg sim_token(struct base_arena *arena, uint32_t attempt, uint32_t epoch);
bool sim_token_below(struct store_arg a, struct store_arg b);
struct store_arg sim_dedupe_key(struct base_arena *arena, const char *scope, struct store_arg key);
struct store_arg sim_known_key(struct base_arena *arena, const char *scope, struct store_arg key);
/* Bytes of dedupe keys by the time at which they go. */
uint64_t sim_dedupe_used(struct sim_asking *a);
void sim_dedupe_tidy(struct sim_asking *a); /* what is over is not counted any more */
void sim_dedupe_add(struct sim_asking *a, uint64_t bytes, uint64_t ttl_ms);
uint64_t sim_known_add(struct sim_asking *a, uint64_t bytes, uint64_t ttl_ms); /* when it goes, in ms */
void sim_do_claim(struct sim_asking *a);
void sim_do_answer(struct sim_asking *a);

#endif
