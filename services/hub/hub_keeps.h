/* SPDX-License-Identifier: MIT
 *
 * Retention as the configuration says it: of a room, of rooms whose names fit a pattern, of all others. The store is given
 * it to let entries go by; reads are clipped to it (hub_reads.c). */
#ifndef HUB_KEEPS_H
#define HUB_KEEPS_H

#include "wr_config.h"
#include "wr_map.h"
#include "wr_store.h"

struct hub_keeps {
    struct wr_store_keep def;
    struct wr_store_keep
        *list; /* rooms, then patterns, in the order in which the first that fits counts */
    size_t num_rooms, num;
    struct wr_map by_name; /* of the rooms: to their struct wr_store_keep */
};

/* Borrows names from `c`. BUSY when memory is out; then, too, hub_keeps__fini() frees what there is. */
WR_MUST_USE wr_err hub_keeps__init(struct hub_keeps *k, const struct wr_config *c);
void hub_keeps__fini(struct hub_keeps *k);

/* Thread: any. */
const struct wr_store_keep *hub_keeps__of(const struct hub_keeps *k, struct wr_slice room);

#endif
