/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: the writer's transaction, and what the writer remembers of the rooms that it touches. All of it runs
 * under write_lock. */
#include "store_sqlite_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* Rooms remembered by the writer; over it all are forgotten and looked up again. */
#define CACHE_ROOMS 65536

void sqlite__set_synced(struct sqlite_store *s, bool synced)
{
    sqlite3_exec(s->db, synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL,
                 NULL, NULL);
}

static int stat_wal(const struct sqlite_store *s, struct stat *out)
{
    char path[PATH_MAX + 8];
    return snprintf(path, sizeof path, "%s-wal", s->file) < (int)sizeof path ? stat(path, out) : -1;
}

int sqlite__note_place(struct sqlite_store *s)
{
    return stat(s->file, &s->place) == 0 && stat_wal(s, &s->wal_place) == 0 ? SQLITE_OK
                                                                            : SQLITE_CANTOPEN;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

wr_err sqlite__in_place(const struct sqlite_store *s, struct wr_errmsg *err)
{
    struct stat db, wal;
    if (stat(s->file, &db) == 0 && is_same(&db, &s->place) && stat_wal(s, &wal) == 0 &&
        is_same(&wal, &s->wal_place))
        return WR_OK;
    wr_errmsg_set(
        err,
        "%s: removed, moved or replaced while the hub runs: nothing is taken any more; put "
        "the folder back, or end the hub and start it on what is there",
        s->file);
    return WR_ERR_UNAVAILABLE;
}

void sqlite__forget_rooms(struct sqlite_store *s)
{
    size_t at = 0;
    void *r;
    pthread_mutex_lock(&s->cache_lock);
    while (wr_map_next(&s->cache, &at, NULL, &r))
        free(r);
    wr_map_free(&s->cache);
    pthread_mutex_unlock(&s->cache_lock);
    s->crowded = NULL;
}

static void forget_room(struct sqlite_store *s, struct room *r)
{
    pthread_mutex_lock(&s->cache_lock);
    wr_map_del(&s->cache, wr_slice_of(r->name, r->name_n));
    pthread_mutex_unlock(&s->cache_lock);
    free(r);
}

/* `as` is whole before other threads can find the room. */
static int remember_room(struct sqlite_store *s, struct wr_slice name, const struct room *as,
                         struct room **out)
{
    struct room *r = calloc(1, sizeof *r + name.n);
    if (!r)
        return SQLITE_NOMEM;
    *r = *as;
    memcpy(r->name, name.p, name.n);
    r->name_n = name.n;
    r->keep = wr_store_keep_of(&s->opts, name);
    pthread_mutex_lock(&s->cache_lock);
    bool ok = wr_map_put(&s->cache, name, r);
    pthread_mutex_unlock(&s->cache_lock);
    if (!ok) {
        free(r);
        return SQLITE_NOMEM;
    }
    *out = r;
    return SQLITE_OK;
}

static int make_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    struct room as = {.first = 1, .made = true};
    store_epoch_of(s->secret, name, as.epoch);
    sqlite3_stmt *st = s->stmt[W_ROOM_NEW];
    sqlite__bind_text(st, 1, name);
    sqlite__bind_text(st, 2, wr_slice_str(as.epoch));
    int rc = sqlite__run(st);
    as.id = sqlite3_last_insert_rowid(s->db);
    if (rc == SQLITE_OK && as.id > ROOMS_MAX)
        rc = SQLITE_TOOBIG;
    return rc == SQLITE_OK ? remember_room(s, name, &as, out) : rc;
}

static int load_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    sqlite3_stmt *st = s->stmt[W_ROOM];
    sqlite__bind_text(st, 1, name);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        struct room as = {.id = sqlite3_column_int64(st, 0),
                          .top = (uint64_t)sqlite3_column_int64(st, 2),
                          .first = (uint64_t)sqlite3_column_int64(st, 3),
                          .last_ms = sqlite3_column_int64(st, 4)};
        sqlite__column_epoch(st, 1, as.epoch);
        rc = remember_room(s, name, &as, out);
    }
    sqlite3_reset(st);
    return rc;
}

int sqlite__find_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    *out = wr_map_get(&s->cache, name);
    return *out ? SQLITE_OK : load_room(s, name, out);
}

int sqlite__touch_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    struct room *r = NULL;
    int rc = sqlite__find_room(s, name, &r);
    if (rc == SQLITE_DONE)
        rc = make_room(s, name, &r);
    if (rc != SQLITE_OK)
        return rc;
    /* SQLITE_OK: one of the three found it */
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference)
    if (!r->touched) {
        r->touched = true;
        r->new_top = r->top;
        r->new_last_ms = r->last_ms;
        r->next_touched = s->touched;
        s->touched = r;
    }
    *out = r;
    return SQLITE_OK;
}

int sqlite__begin(struct sqlite_store *s)
{
    if (s->cache.used > CACHE_ROOMS)
        sqlite__forget_rooms(s);
    return sqlite__run(s->stmt[W_BEGIN]);
}

/* The touched rooms' new positions become what everybody sees. */
static void settle_committed(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->cache_lock);
    for (struct room *r = s->touched; r; r = r->next_touched) {
        r->top = r->new_top;
        r->last_ms = r->new_last_ms;
        r->touched = r->made = false;
        if (!r->crowded && sqlite__is_crowded(r)) {
            r->crowded = true;
            r->next_crowded = s->crowded;
            s->crowded = r;
        }
    }
    pthread_mutex_unlock(&s->cache_lock);
    s->touched = NULL;
}

static void settle_failed(struct sqlite_store *s)
{
    if (!sqlite3_get_autocommit(s->db)) /* some errors have rolled back by themselves */
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    for (struct room *r = s->touched, *next; r; r = next) {
        next = r->next_touched;
        r->touched = false;
        if (r->made)
            forget_room(s, r);
    }
    s->touched = NULL;
}

wr_err sqlite__finish(struct sqlite_store *s, int rc, struct wr_errmsg *err)
{
    if (rc == SQLITE_OK)
        rc = sqlite__run(s->stmt[W_COMMIT]);
    if (rc == SQLITE_OK) {
        settle_committed(s);
        return WR_OK;
    }
    wr_err e = sqlite__fail(s, s->db, rc, err); /* before the rollback forgets the reason */
    settle_failed(s);
    return e;
}
