/* SPDX-License-Identifier: MIT
 *
 * Store `null`: numbers what it is given and keeps nothing. For measuring everything but the disk, and for rooms whose
 * talk must not be kept. Positions begin anew, under another epoch, at each start. */
#include "wr_id.h"
#include "wr_map.h"
#include "wr_store.h"

#include <pthread.h>
#include <stdlib.h>

struct null_store {
    pthread_mutex_t lock; /* guards rooms */
    struct wr_map rooms;  /* name to struct wr_store_top */
};

static wr_err open_store(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err)
{
    struct null_store *s = state;
    (void)opts;
    (void)err;
    pthread_mutex_init(&s->lock, NULL);
    return WR_OK;
}

static void close_store(void *state)
{
    struct null_store *s = state;
    size_t at = 0;
    void *top;
    while (wr_map_next(&s->rooms, &at, NULL, &top))
        free(top);
    wr_map_free(&s->rooms);
    pthread_mutex_destroy(&s->lock);
}

/* Under the lock. */
static struct wr_store_top *room(struct null_store *s, struct wr_slice name)
{
    struct wr_store_top *t = wr_map_get(&s->rooms, name);
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    wr_id_random(t->epoch, 8);
    if (!wr_map_put(&s->rooms, name, t)) {
        free(t);
        return NULL;
    }
    return t;
}

static wr_err append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err)
{
    struct null_store *s = state;
    wr_err e = WR_OK;
    pthread_mutex_lock(&s->lock);
    /* Rooms first: once positions are given, nothing may fail any more. */
    for (size_t i = 0; i < n && e == WR_OK; i++)
        if (!room(s, items[i].room)) {
            wr_errmsg_set(err, "out of memory");
            e = WR_ERR_BUSY;
        }
    for (size_t i = 0; i < n && e == WR_OK; i++) {
        struct wr_store_item *it = &items[i];
        struct wr_store_top *t = room(s, it->room);
        it->code = WR_OK;
        it->duplicate = false;
        it->offset = ++t->offset;
        it->stored_ms = t->last_time_ms = it->time_ms;
        memcpy(it->epoch, t->epoch, sizeof it->epoch);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

static wr_err history(void *state, struct wr_slice name, const struct wr_store_range *range,
                      wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct null_store *s = state;
    (void)range;
    (void)fn;
    (void)ctx;
    pthread_mutex_lock(&s->lock);
    bool known = wr_map_get(&s->rooms, name) != NULL;
    pthread_mutex_unlock(&s->lock);
    if (!known)
        wr_errmsg_set(err, "no room of that name");
    return known ? WR_OK : WR_ERR_NOT_FOUND;
}

static wr_err top(void *state, struct wr_slice name, struct wr_store_top *out,
                  struct wr_errmsg *err)
{
    struct null_store *s = state;
    pthread_mutex_lock(&s->lock);
    const struct wr_store_top *t = room(s, name);
    if (t)
        *out = *t;
    pthread_mutex_unlock(&s->lock);
    if (!t)
        wr_errmsg_set(err, "out of memory");
    return t ? WR_OK : WR_ERR_BUSY;
}

static wr_err rooms(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct null_store *s = state;
    size_t at = 0;
    struct wr_slice name;
    void *t;
    (void)err;
    pthread_mutex_lock(&s->lock);
    while (wr_map_next(&s->rooms, &at, &name, &t))
        if (((const struct wr_store_top *)t)->offset)
            fn(ctx, name, t);
    pthread_mutex_unlock(&s->lock);
    return WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_store_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_store_plugin, struct null_store, WR_KIND_STORE, "null",
                                 WR_VERSION, "Numbers entries and keeps nothing"),
    .open = open_store,
    .close = close_store,
    .append = append,
    .history = history,
    .top = top,
    .rooms = rooms,
};
