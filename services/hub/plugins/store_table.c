/* SPDX-License-Identifier: MIT
 *
 * The table of rooms that the stores `memory` and `null` have. */
#include "store_table.h"

#include "wr_id.h"

#include <stdlib.h>

void store_table__init(struct store_table *t, size_t room_size,
                       void (*made)(struct store_table *t, struct wr_slice name,
                                    struct store_room *r))
{
    pthread_mutex_init(&t->lock, NULL);
    wr_random(t->secret, sizeof t->secret);
    t->room_size = room_size;
    t->made = made;
}

void store_table__fini(struct store_table *t, void (*free_room)(struct store_room *r))
{
    size_t at = 0;
    void *r;
    while (wr_map_next(&t->rooms, &at, NULL, &r))
        free_room(r);
    wr_map_free(&t->rooms);
    pthread_mutex_destroy(&t->lock);
}

struct store_room *store_table__room(struct store_table *t, struct wr_slice name)
{
    struct store_room *r = wr_map_get(&t->rooms, name);
    if (r)
        return r;
    r = calloc(1, t->room_size);
    if (!r)
        return NULL;
    store_epoch_of(t->secret, name, r->top.epoch);
    if (t->made)
        t->made(t, name, r);
    if (!wr_map_put(&t->rooms, name, r)) {
        free(r);
        return NULL;
    }
    return r;
}

wr_err store_table__top(void *state, struct wr_slice name, struct wr_store_top *out,
                        struct wr_errmsg *err)
{
    struct store_table *t = state;
    (void)err;
    *out = (struct wr_store_top){0};
    pthread_mutex_lock(&t->lock);
    const struct store_room *r = wr_map_get(&t->rooms, name);
    if (r)
        *out = r->top;
    pthread_mutex_unlock(&t->lock);
    if (!r)
        store_epoch_of(t->secret, name, out->epoch);
    return WR_OK;
}

wr_err store_table__rooms(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct store_table *t = state;
    size_t at = 0;
    struct wr_slice name;
    void *value;
    (void)err;
    pthread_mutex_lock(&t->lock);
    while (wr_map_next(&t->rooms, &at, &name, &value)) {
        const struct store_room *r = value;
        if (r->top.offset)
            fn(ctx, name, &r->top);
    }
    pthread_mutex_unlock(&t->lock);
    return WR_OK;
}
