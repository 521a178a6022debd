/* SPDX-License-Identifier: MIT
 *
 * The table of rooms of a store that lives in memory: names, epochs and newest offsets under one lock. What a room has
 * beyond these is the store's own, behind a struct store_room at the beginning of each. */
#ifndef HUB_PLUGINS_STORE_TABLE_H
#define HUB_PLUGINS_STORE_TABLE_H

#include "store_epoch.h"
#include "wr_map.h"
#include "wr_store.h"

#include <pthread.h>

struct store_room {
    struct wr_store_top top;
};

/* A store's state begins with it, so that the two slots below serve its plugin. */
struct store_table {
    pthread_mutex_t lock;               /* guards rooms and what is in them */
    struct wr_map rooms;                /* name to the store's room */
    uint8_t secret[STORE_SECRET_BYTES]; /* of this log, which begins with the process */
    size_t room_size;
    /* Fills what is the store's own in a room that is all zero but for its epoch. NULL = nothing. */
    void (*made)(struct store_table *t, struct wr_slice name, struct store_room *r);
};

void store_table__init(struct store_table *t, size_t room_size,
                       void (*made)(struct store_table *t, struct wr_slice name,
                                    struct store_room *r));
/* free_room frees one room with all it has. */
void store_table__fini(struct store_table *t, void (*free_room)(struct store_room *r));

/* Under the lock: finds or makes the room, for its first entry; NULL when memory is out. */
struct store_room *store_table__room(struct store_table *t, struct wr_slice name);

/* The plugin's slots `top` and `rooms`. */
wr_err store_table__top(void *state, struct wr_slice name, struct wr_store_top *out,
                        struct wr_errmsg *err);
wr_err store_table__rooms(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err);

#endif
