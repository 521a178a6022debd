/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: a batch becomes one transaction, and a room that nobody wrote to gets its epoch. */
#include "store_sqlite_priv.h"

static int insert(struct sqlite_store *s, const struct room *r, const struct wr_store_item *it)
{
    sqlite3_stmt *st = s->stmt[W_INSERT];
    if (r->new_top >= OFFSET_MAX - 1)
        return SQLITE_TOOBIG;
    sqlite3_bind_int64(st, 1, sqlite__entry_id(r->id, r->new_top + 1));
    sqlite3_bind_int64(st, 2, it->kind);
    sqlite3_bind_int64(st, 3, it->time_ms);
    sqlite__bind_blob(st, 4, it->key);
    sqlite__bind_blob(st, 5, it->info);
    if (it->type.n) {
        sqlite__bind_blob(st, 6, it->data);
        sqlite__bind_text(st, 7, it->type);
    } else {
        sqlite__bind_text(st, 6, it->data); /* readable in the shell */
        sqlite3_bind_null(st, 7);
    }
    return sqlite__run(st);
}

static int find_by_key(struct sqlite_store *s, const struct room *r, struct wr_store_item *it)
{
    sqlite3_stmt *st = s->stmt[W_BY_KEY];
    sqlite3_bind_int64(st, 1, r->id);
    sqlite__bind_blob(st, 2, it->key);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        it->offset = (uint64_t)sqlite3_column_int64(st, 0);
        it->stored_ms = sqlite3_column_int64(st, 1);
    }
    sqlite3_reset(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static int append_one(struct sqlite_store *s, struct wr_store_item *it)
{
    struct room *r;
    int rc = sqlite__touch_room(s, it->room, &r);
    if (rc == SQLITE_OK)
        rc = insert(s, r, it);
    if (rc != SQLITE_OK)
        return rc;
    it->code = WR_OK;
    memcpy(it->epoch, r->epoch, sizeof it->epoch);
    it->duplicate = it->key.n && sqlite3_changes(s->db) == 0;
    if (it->duplicate)
        return find_by_key(s, r, it);
    it->offset = ++r->new_top;
    it->stored_ms = r->new_last_ms = it->time_ms;
    return SQLITE_OK;
}

static int write_tops(struct sqlite_store *s)
{
    int rc = SQLITE_OK;
    for (struct room *r = s->touched; r && rc == SQLITE_OK; r = r->next_touched) {
        if (r->new_top == r->top)
            continue;
        sqlite3_stmt *st = s->stmt[W_ROOM_TOP];
        sqlite3_bind_int64(st, 1, r->id);
        sqlite3_bind_int64(st, 2, (int64_t)r->new_top);
        sqlite3_bind_int64(st, 3, r->new_last_ms);
        rc = sqlite__run(st);
    }
    return rc;
}

wr_err sqlite__append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    pthread_mutex_lock(&s->write_lock);
    int rc = sqlite__begin(s);
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
        rc = append_one(s, &items[i]);
    if (rc == SQLITE_OK)
        rc = write_tops(s);
    wr_err e = sqlite__finish(s, rc, err);
    if (s->wal_pages > CHECKPOINT_HARD_PAGES &&
        s->wal_pages - s->wal_pages_tried > CHECKPOINT_PAGES)
        sqlite__checkpoint(s);
    pthread_mutex_unlock(&s->write_lock);
    return e;
}

wr_err sqlite__make_empty_room(struct sqlite_store *s, struct wr_slice room,
                               struct wr_store_top *out, struct wr_errmsg *err)
{
    struct room *r;
    pthread_mutex_lock(&s->write_lock);
    sqlite__set_synced(s, false);
    int rc = sqlite__begin(s);
    if (rc == SQLITE_OK)
        rc = sqlite__touch_room(s, room, &r);
    wr_err e = sqlite__finish(s, rc, err);
    sqlite__set_synced(s, true);
    if (e == WR_OK) {
        out->offset = r->top;
        out->last_time_ms = r->last_ms;
        memcpy(out->epoch, r->epoch, sizeof out->epoch);
    }
    pthread_mutex_unlock(&s->write_lock);
    return e;
}
