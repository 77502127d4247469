/* Heads, packed and unpacked by hand.
 *
 * protobuf-c walks a message's descriptor for every message: all of an Item's fields
 * to initialise it, to reckon its size, to pack it, and twice to unpack it. That was a
 * sixth of all that a durable event cost, over all processes. Here the fields stand in
 * one table (item.c), from which straight code comes.
 *
 * The bytes are the same, and so is the verdict: what is packed is what protobuf-c
 * packs, byte for byte, and what is unusual to read (an unknown field, a field that
 * comes twice, a number that is too large for it) is left to protobuf-c.
 * tests/unit/test_item.c and tests/fuzz/fuzz_head.c hold the two against each other.
 */
#ifndef NET_ITEM_H
#define NET_ITEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "proto/pirn.pb-c.h"

/* At least as much as net_item_pack writes. */
size_t net_item_bound(const Pirn__Item *item);
/* The packed item at `at`, where there is room; its size. It has no unknown fields. */
size_t net_item_pack(const Pirn__Item *item, uint8_t *at);

/* UNTRUSTED bytes. All that is allocated is in the arena; the items' byte strings (id, trace, key, hash)
 * point into `bytes`, texts do not. NULL: protobuf-c is to say what this is, or there is no memory. */
Pirn__Head *net_head_read(struct base_arena *arena, const uint8_t *bytes, size_t size);

#endif
