/* SPDX-License-Identifier: MIT
 *
 * Store `null`: numbers what it is given and keeps nothing. For measuring everything but the disk, and for rooms whose
 * talk must not be kept. Positions begin anew, under another epoch, at each start. */
#include "store_table.h"

#include <stdlib.h>

static wr_err open_store(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err)
{
    (void)opts;
    (void)err;
    store_table__init(state, sizeof(struct store_room), NULL);
    return WR_OK;
}

static void free_room(struct store_room *r)
{
    free(r);
}

static void close_store(void *state)
{
    store_table__fini(state, free_room);
}

static wr_err append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err)
{
    struct store_table *t = state;
    wr_err e = WR_OK;
    pthread_mutex_lock(&t->lock);
    /* Rooms first: once positions are given, nothing may fail any more. */
    for (size_t i = 0; i < n && e == WR_OK; i++)
        if (!store_table__room(t, items[i].room)) {
            wr_errmsg_set(err, "out of memory");
            e = WR_ERR_BUSY;
        }
    for (size_t i = 0; i < n && e == WR_OK; i++) {
        struct wr_store_item *it = &items[i];
        struct wr_store_top *top = &store_table__room(t, it->room)->top;
        it->code = WR_OK;
        it->duplicate = false;
        it->offset = ++top->offset;
        it->stored_ms = top->last_time_ms = it->time_ms;
        memcpy(it->epoch, top->epoch, sizeof it->epoch);
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}

/* Whatever was there is gone already. */
static wr_err history(void *state, struct wr_slice name, const struct wr_store_range *range,
                      wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err)
{
    (void)state, (void)name, (void)range, (void)fn, (void)ctx, (void)err;
    return WR_OK;
}

static wr_err amend(void *state, const struct wr_store_amend *what, struct wr_errmsg *err)
{
    (void)state;
    wr_errmsg_set(err, "no entry %llu of %.*s: the store keeps none",
                  (unsigned long long)what->offset, (int)WR_MIN(what->room.n, (size_t)100),
                  (const char *)what->room.p);
    return WR_ERR_NOT_FOUND;
}

WR_PLUGIN_EXPORT const struct wr_store_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_store_plugin, struct store_table, WR_KIND_STORE, "null",
                                 WR_VERSION, "Numbers entries and keeps nothing"),
    .open = open_store,
    .close = close_store,
    .append = append,
    .history = history,
    .top = store_table__top,
    .rooms = store_table__rooms,
    .amend = amend,
};
