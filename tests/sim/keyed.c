/* Calls with an Idempotency-Key: few keys, and whoever repeats one gets the first answer.
 * What a key's calls do to state is done once, however often they run (tests as for events,
 * under the id that the first of them had).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define MAGIC 0x4b455943u
#define KEYS  8

enum state { OPEN, ANSWERED, LOST };

struct sim_keyed {
	enum state state;
	struct sim_conn *conn;
	uint64_t session;
	uint32_t generation, key, body;
};

static unsigned service_of(uint32_t key)
{
	return key % SIM_ADDRESSED;
}

static uint32_t size_of(const struct sim_keyed *k)
{
	return k->key * 5 + k->body;
}

uint32_t sim_keyed_key(const struct sim *sim, uint32_t slot)
{
	return slot >= SIM_KEYED_SLOT && slot - SIM_KEYED_SLOT < sim->n_keyed
		       ? sim->keyed[slot - SIM_KEYED_SLOT].key
		       : 0;
}

static void id_of(uint32_t number, uint8_t id[16])
{
	uint32_t magic = MAGIC;

	memset(id, 0, 16);
	memcpy(id, &magic, sizeof magic);
	memcpy(id + 4, &number, sizeof number);
}

bool sim_keyed_is(struct sim *sim, const uint8_t *id, size_t size, uint32_t *number)
{
	uint32_t magic;

	if (size != 16)
		return false;
	memcpy(&magic, id, sizeof magic);
	memcpy(number, id + 4, sizeof *number);
	return magic == MAGIC && *number < sim->n_keyed;
}

/* ---- sending */

static uint32_t new_call(struct sim *sim, struct sim_conn *conn)
{
	if (sim->n_keyed == sim->keyed_room) {
		sim->keyed_room = sim->keyed_room ? sim->keyed_room * 2 : 64;
		sim->keyed = realloc(sim->keyed, sim->keyed_room * sizeof *sim->keyed);
	}
	sim->keyed[sim->n_keyed] = (struct sim_keyed){ .conn = conn,
		.session = conn->session,
		.generation = (uint32_t)sim_below(sim, UINT32_MAX),
		.key = 1 + (uint32_t)sim_below(sim, KEYS),
		.body = sim_below(sim, 12) == 0 };
	return sim->n_keyed++;
}

void sim_keyed_submit(struct sim *sim, struct sim_conn *conn)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__SUBMIT);
	uint32_t number = new_call(sim, conn);
	const struct sim_keyed *k = &sim->keyed[number];
	uint8_t payload[64], id[16];
	struct sim_item *item;

	sim_book_payload(k->key, size_of(k), false, payload);
	item = sim_message_item(m, payload, 0, size_of(k));
	id_of(number, id);
	sim_item_id(item, id, sizeof id);
	sim_item_service(item, sim_services[service_of(k->key)]);
	snprintf(item->key, sizeof item->key, "call-%u", k->key);
	memset(item->hash, (int)k->body, sizeof item->hash);
	item->pb.has_slot = item->pb.has_generation = item->pb.has_left_ms = true;
	item->pb.has_key = item->pb.has_hash = item->pb.has_flags = true;
	item->pb.key.len = strlen(item->key);
	item->pb.hash.len = sizeof item->hash;
	item->pb.slot = SIM_KEYED_SLOT + number;
	item->pb.generation = k->generation;
	item->pb.left_ms = (uint32_t)sim_between(sim, 50, 4000);
	item->pb.flags = sim_chance(sim, 70) ? PIRN__ITEM_FLAG__IDEMPOTENT : 0;
	sim_send(sim, conn, TO_BROKER, m);
}

void sim_keyed_lost(struct sim *sim, struct sim_conn *conn)
{
	for (uint32_t i = 0; i < sim->n_keyed; i++)
		if (sim->keyed[i].state == OPEN && sim->keyed[i].conn == conn &&
			sim->keyed[i].session == conn->session)
			sim->keyed[i].state = LOST;
}

/* ---- claims and runs */

/* Noted in Redis's keys, as everything that a crash may take back. */
struct claim {
	uint64_t until_ms;
	uint32_t run;
	bool over; /* its run gave it back */
};

static const struct store_arg claims = { "sim:claims", 10 };

static void note_claim(struct sim *sim, uint32_t number, const struct claim *claim)
{
	sim_keys_set(&sim->server.redis.keys, claims, (struct store_arg){ &number, sizeof number },
		(struct store_arg){ claim, sizeof *claim });
}

static struct claim load_claim(struct sim *sim, uint32_t number)
{
	struct claim claim = { .over = true };
	struct store_arg value;

	if (sim_keys_get(&sim->server.redis.keys, claims,
		    (struct store_arg){ &number, sizeof number }, &value))
		memcpy(&claim, value.data, sizeof claim);
	return claim;
}

static void claimed(struct sim *sim, uint32_t number, uint32_t run, uint64_t until_ms)
{
	struct claim claim = load_claim(sim, number);

	SIM_CHECK(sim, claim.over || claim.until_ms <= sim_server_now(sim),
		"a key is given away while its run goes on");
	note_claim(sim, number, &(struct claim){ .until_ms = until_ms, .run = run });
}

static void answered(struct sim *sim, const struct brk_ask *ask, uint32_t number)
{
	struct claim claim = load_claim(sim, number);

	sim_trace(sim, "call %u: run %u is answered%s", number, ask->key.run,
		ask->key.response.data ? ", for good" : "");
	SIM_CHECK(sim, ask->key.run == claim.run, "run %u of a key answers for run %u",
		ask->key.run, claim.run);
	claim.over = true;
	note_claim(sim, number, &claim);
}

void sim_keyed_served(struct sim *sim, const struct brk_ask *ask, const struct sim_reply *reply)
{
	uint32_t number;

	if (ask->kind == BRK_ASK_CLAIM && reply->claimed.kind == STORE_CLAIM_RUN &&
		sim_keyed_is(sim, reply->claimed.id.data, reply->claimed.id.size, &number))
		claimed(sim, number, reply->claimed.run, ask->key.until_ms);
	if (ask->kind == BRK_ASK_ANSWER && sim_keyed_is(sim, ask->key.id, 16, &number))
		answered(sim, ask, number);
}

static bool field_of(struct sim *sim, uint32_t key, const char *name, struct store_arg *value)
{
	char text[80];
	int n = snprintf(
		text, sizeof text, "dedupe:%s:call-%u", sim_services[service_of(key)], key);

	return sim_keys_get(&sim->server.redis.keys, (struct store_arg){ text, (size_t)n },
		(struct store_arg){ name, 1 }, value);
}

/* I3 and I4 for calls. */
void sim_keyed_applied(struct sim *sim, uint32_t number, unsigned op)
{
	struct store_arg key = { "sim:keyed", 9 }, answer, before;
	uint32_t field = number * SIM_EVENT_OPS + op;
	struct store_arg name = { &field, sizeof field };

	sim_trace(sim, "call %u: operation %u is applied", number, op);
	SIM_CHECK(sim, !sim_keys_get(&sim->server.redis.keys, key, name, &before),
		"operation %u of call %u was applied twice (DUP)", op, number);
	SIM_CHECK(sim, !field_of(sim, sim->keyed[number].key, "a", &answer),
		"operation %u of call %u was applied after its answer", op, number);
	sim_keys_set(&sim->server.redis.keys, key, name, name);
}

/* ---- answers */

static void check_reply(
	struct sim *sim, const struct sim_keyed *k, const Pirn__Item *item, const uint8_t *payload)
{
	uint8_t expected[64];
	uint32_t size = item->meta_size + item->data_size, first;
	struct store_arg id;

	if (item->reason != PIRN__REASON__NONE || item->status >= 500)
		return;
	SIM_CHECK(sim, field_of(sim, k->key, "i", &id), "an answer to a key that nobody has");
	SIM_CHECK(sim, sim_keyed_is(sim, id.data, id.size, &first), "a key is another's");
	SIM_CHECK(sim, k->body == sim->keyed[first].body, "a key's answer to another body");
	sim_book_payload(first, size, true, expected);
	SIM_CHECK(sim, size == size_of(k) && (size == 0 || memcmp(payload, expected, size) == 0),
		"a key is answered with other bytes");
}

void sim_keyed_answered(struct sim *sim, struct sim_conn *conn, uint32_t kind,
	const Pirn__Item *item, const uint8_t *payload)
{
	struct sim_keyed *k = &sim->keyed[item->slot - SIM_KEYED_SLOT];

	SIM_CHECK(sim,
		item->slot - SIM_KEYED_SLOT < sim->n_keyed && k->state == OPEN && k->conn == conn &&
			k->session == conn->session && k->generation == item->generation,
		"an answer to no call with a key");
	SIM_CHECK(sim, kind != PIRN__KIND__ACCEPTED, "a call with a key is ACCEPTED");
	k->state = ANSWERED;
	if (kind == PIRN__KIND__REPLY)
		check_reply(sim, k, item, payload);
}

void sim_keyed_check_rest(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->n_keyed; i++)
		SIM_CHECK(sim, sim->keyed[i].state != OPEN, "call %u with a key was never answered",
			i);
}
