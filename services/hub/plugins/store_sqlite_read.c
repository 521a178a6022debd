/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: reading, on connections of its own: history, newest offsets, the list of rooms. */
#include "store_sqlite_priv.h"

static struct reader *take_reader(struct sqlite_store *s)
{
    struct reader *r = NULL;
    pthread_mutex_lock(&s->pool_lock);
    while (!r) {
        for (int i = 0; i < READERS && !r; i++)
            if (!s->readers[i].busy)
                r = &s->readers[i];
        if (!r)
            pthread_cond_wait(&s->pool_cond, &s->pool_lock);
    }
    r->busy = true;
    pthread_mutex_unlock(&s->pool_lock);
    return r;
}

static void give_reader(struct sqlite_store *s, struct reader *r)
{
    pthread_mutex_lock(&s->pool_lock);
    r->busy = false;
    pthread_cond_signal(&s->pool_cond);
    pthread_mutex_unlock(&s->pool_lock);
}

/* SQLITE_ROW when the room is there; *id may be NULL. */
static int read_room(struct reader *r, struct wr_slice name, int64_t *id, struct wr_store_top *out)
{
    sqlite3_stmt *st = r->stmt[R_ROOM];
    sqlite__bind_text(st, 1, name);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        if (id)
            *id = sqlite3_column_int64(st, 0);
        sqlite__column_epoch(st, 1, out->epoch);
        out->offset = (uint64_t)sqlite3_column_int64(st, 2);
        out->last_time_ms = sqlite3_column_int64(st, 3);
    }
    sqlite3_reset(st);
    return rc;
}

static int read_entries(sqlite3_stmt *st, wr_store_entry_fn fn, void *ctx)
{
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct wr_store_entry e = {
            .offset = (uint64_t)sqlite3_column_int64(st, 0),
            .kind = (uint32_t)sqlite3_column_int64(st, 1),
            .time_ms = sqlite3_column_int64(st, 2),
            .key = sqlite__column(st, 3),
            .info = sqlite__column(st, 4),
            .data = sqlite__column(st, 5),
            .type = sqlite__column(st, 6),
        };
        if (!fn(ctx, &e)) {
            rc = SQLITE_DONE;
            break;
        }
    }
    sqlite3_reset(st);
    return rc;
}

wr_err sqlite__history(void *state, struct wr_slice room, const struct wr_store_range *range,
                       wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    struct reader *r = take_reader(s);
    struct wr_store_top top;
    int64_t id = 0;
    int rc = read_room(r, room, &id, &top);
    if (rc == SQLITE_ROW) {
        sqlite3_stmt *st = r->stmt[range->reverse ? R_REVERSE : R_FORWARD];
        uint64_t from = range->has_since ? range->since : range->reverse ? UINT64_MAX : 0;
        uint64_t to = range->reverse ? 0 : range->until ? range->until : UINT64_MAX;
        sqlite3_bind_int64(st, 1, sqlite__entry_id(id, from));
        sqlite3_bind_int64(st, 2, sqlite__entry_id(id, to));
        sqlite3_bind_int64(st, 3, range->limit);
        rc = read_entries(st, fn, ctx);
    }
    wr_err e = rc == SQLITE_DONE ? WR_OK : sqlite__fail(s, r->db, rc, err);
    give_reader(s, r);
    return e;
}

static bool cached_top(struct sqlite_store *s, struct wr_slice room, struct wr_store_top *out)
{
    pthread_mutex_lock(&s->cache_lock);
    const struct room *r = wr_map_get(&s->cache, room);
    bool known = r && !r->made; /* what is being made may yet be rolled back */
    if (known) {
        out->offset = r->top;
        out->last_time_ms = r->last_ms;
        memcpy(out->epoch, r->epoch, sizeof out->epoch);
    }
    pthread_mutex_unlock(&s->cache_lock);
    return known;
}

wr_err sqlite__top(void *state, struct wr_slice room, struct wr_store_top *out,
                   struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    if (cached_top(s, room, out))
        return WR_OK;
    struct reader *r = take_reader(s);
    int rc = read_room(r, room, NULL, out);
    wr_err e = rc == SQLITE_ROW || rc == SQLITE_DONE ? WR_OK : sqlite__fail(s, r->db, rc, err);
    give_reader(s, r);
    if (rc == SQLITE_DONE) {
        *out = (struct wr_store_top){0};
        store_epoch_of(s->secret, room, out->epoch);
    }
    return e;
}

wr_err sqlite__rooms(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    struct reader *r = take_reader(s);
    sqlite3_stmt *st = r->stmt[R_ROOMS];
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct wr_store_top t = {.offset = (uint64_t)sqlite3_column_int64(st, 2),
                                 .last_time_ms = sqlite3_column_int64(st, 3)};
        sqlite__column_epoch(st, 1, t.epoch);
        fn(ctx, sqlite__column(st, 0), &t);
    }
    sqlite3_reset(st);
    wr_err e = rc == SQLITE_DONE ? WR_OK : sqlite__fail(s, r->db, rc, err);
    give_reader(s, r);
    return e;
}
