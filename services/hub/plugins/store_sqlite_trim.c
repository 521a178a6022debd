/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: housekeeping. Moves the write-ahead log into the database, and drops what retention lets go, a step at
 * a time. */
#include "store_sqlite_priv.h"

#include "wr_clock.h"

#define TRIM_STEP 1000u     /* entries dropped in one transaction */
#define SCAN_PAUSE_MS 10000 /* between two walks over all rooms */

void sqlite__checkpoint(struct sqlite_store *s)
{
    int left = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &moved);
    /* A reader in the middle of the log, or a full disk, leaves a rest: tried again when the log has grown some more. */
    s->wal_pages_tried = s->wal_pages;
    if (rc != SQLITE_OK || left != moved)
        return;
    s->wal_pages = s->wal_pages_tried = 0;
    s->wipe = s->wipe || s->grown;
}

void sqlite__empty_log(struct sqlite_store *s)
{
    sqlite3_busy_timeout(s->db, 0); /* a reader in the log: next time, nobody waits for it here */
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(s->db, SQLITE_BUSY_MS);
    if (rc != SQLITE_OK)
        return;
    s->wipe = s->grown = false;
    s->wal_pages = s->wal_pages_tried = 0;
}

int sqlite__on_wal_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_store *s = arg;
    (void)db;
    (void)name;
    if (pages < s->wal_pages_tried) /* the log began anew */
        s->wal_pages_tried = 0;
    s->wal_pages = pages;
    s->grown = s->grown || pages > CHECKPOINT_LARGE_PAGES;
    return SQLITE_OK;
}

/* The newest offset, at most a step away from `first`, up to which retention lets everything go; 0 = nothing. */
static int find_cut(struct sqlite_store *s, int64_t room, const struct wr_store_keep *keep,
                    uint64_t first, uint64_t top, uint64_t *cut)
{
    uint64_t end = WR_MIN(first + TRIM_STEP, top + 1); /* exclusive */
    uint64_t by_count = keep->count && top > keep->count ? top - keep->count : 0;
    uint64_t by_age = 0;
    int rc = SQLITE_OK;
    if (keep->age_ms) {
        sqlite3_stmt *st = s->stmt[W_FIRST_YOUNG];
        sqlite3_bind_int64(st, 1, sqlite__entry_id(room, first));
        sqlite3_bind_int64(st, 2, sqlite__entry_id(room, end));
        sqlite3_bind_int64(st, 3, wr_age_now_ms() - keep->age_ms);
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW)
            by_age = (uint64_t)sqlite3_column_int64(st, 0) - 1;
        else if (rc == SQLITE_DONE)
            by_age = end - 1;
        sqlite3_reset(st);
        if (rc == SQLITE_ROW || rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    uint64_t to = WR_MIN(WR_MAX(by_count, by_age), end - 1);
    *cut = to >= first ? to : 0;
    return rc;
}

static wr_err drop_until(struct sqlite_store *s, int64_t room, uint64_t cut, struct wr_errmsg *err)
{
    sqlite__set_synced(s, false);
    int rc = sqlite__begin(s);
    sqlite3_stmt *drop = s->stmt[W_DROP], *first = s->stmt[W_ROOM_FIRST];
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(drop, 1, sqlite__entry_id(room, 0));
        sqlite3_bind_int64(drop, 2, sqlite__entry_id(room, cut));
        rc = sqlite__run(drop);
    }
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(first, 1, room);
        sqlite3_bind_int64(first, 2, (int64_t)cut + 1);
        rc = sqlite__run(first);
    }
    wr_err e = sqlite__finish(s, rc, err);
    sqlite__set_synced(s, true);
    return e;
}

static wr_err trim_crowded(struct sqlite_store *s, bool *more, struct wr_errmsg *err)
{
    struct room *r = s->crowded;
    int64_t id = r->id;
    uint64_t cut;
    int rc = find_cut(s, id, r->keep, r->first, r->top, &cut);
    wr_err e = rc == SQLITE_OK ? WR_OK : sqlite__fail(s, s->db, rc, err);
    if (e == WR_OK && cut)
        e = drop_until(s, id, cut, err);
    if (s->crowded != r) { /* the cache was forgotten: the walk over all rooms finds it again */
        *more = false;
        return e;
    }
    if (e == WR_OK && cut)
        r->first = cut + 1;
    if (e != WR_OK || !sqlite__is_crowded(r)) {
        s->crowded = r->next_crowded;
        r->crowded = false;
    }
    *more = e == WR_OK && s->crowded;
    return e;
}

/* The next room of the walk over all of them, for those that nobody writes to any more: they age as well. */
static wr_err trim_next(struct sqlite_store *s, bool *more, struct wr_errmsg *err)
{
    sqlite3_stmt *st = s->stmt[W_NEXT_ROOM];
    sqlite3_bind_int64(st, 1, s->scan_id);
    int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(st);
        s->scan_id = 0;
        s->scan_after_ms = wr_mono_ms() + SCAN_PAUSE_MS;
        return rc == SQLITE_DONE ? WR_OK : sqlite__fail(s, s->db, rc, err);
    }
    int64_t id = sqlite3_column_int64(st, 0);
    struct wr_slice name = sqlite__column(st, 1);
    uint64_t first = (uint64_t)sqlite3_column_int64(st, 2),
             top = (uint64_t)sqlite3_column_int64(st, 3), cut;
    const struct wr_store_keep *keep = wr_store_keep_of(&s->opts, name);
    struct room *cached = wr_map_get(&s->cache, name);
    sqlite3_reset(st);
    rc = find_cut(s, id, keep, first, top, &cut);
    wr_err e = rc == SQLITE_OK ? WR_OK : sqlite__fail(s, s->db, rc, err);
    size_t remembered = s->cache.used;
    if (e == WR_OK && cut)
        e = drop_until(s, id, cut, err);
    if (e == WR_OK && cut && cached && s->cache.used == remembered)
        cached->first = cut + 1;
    if (!cut || e != WR_OK)
        s->scan_id = id; /* else the same room again: there may be more to drop */
    *more = true;
    return e;
}

wr_err sqlite__trim(void *state, bool *more, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    *more = false;
    pthread_mutex_lock(&s->write_lock);
    wr_err e = sqlite__in_place(s, err);
    if (e != WR_OK)
        s->scan_id = 0;
    else if (s->wipe)
        sqlite__empty_log(s);
    else if (s->wal_pages - s->wal_pages_tried >= CHECKPOINT_PAGES)
        sqlite__checkpoint(s);
    else if (s->crowded)
        e = trim_crowded(s, more, err);
    else if (wr_mono_ms() >= s->scan_after_ms)
        e = trim_next(s, more, err);
    pthread_mutex_unlock(&s->write_lock);
    return e;
}
