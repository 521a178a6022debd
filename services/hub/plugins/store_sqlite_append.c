/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: a batch becomes one transaction; and so does an amendment. */
#include "store_sqlite_priv.h"

#include "wr_log.h"

static void bind_payload(sqlite3_stmt *st, int at_data, struct wr_slice data, int at_type,
                         struct wr_slice type)
{
    if (type.n) {
        sqlite__bind_blob(st, at_data, data);
        sqlite__bind_text(st, at_type, type);
    } else {
        sqlite__bind_text(st, at_data, data); /* readable in the shell */
        sqlite3_bind_null(st, at_type);
    }
}

void sqlite__bind_entry(sqlite3_stmt *st, int64_t id, const struct wr_store_item *it)
{
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, it->kind);
    sqlite3_bind_int64(st, 3, it->time_ms);
    sqlite__bind_blob(st, 4, it->key);
    sqlite__bind_blob(st, 5, it->info);
    bind_payload(st, 6, it->data, 7, it->type);
}

static int insert(struct sqlite_store *s, const struct room *r, const struct wr_store_item *it)
{
    sqlite3_stmt *st = s->stmt[W_INSERT];
    if (r->new_top >= OFFSET_MAX - 1)
        return SQLITE_TOOBIG;
    sqlite__bind_entry(st, sqlite__entry_id(r->id, r->new_top + 1), it);
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

/* What is wrong with an item alone: SQLite has undone its statement, and the transaction goes on. */
static bool fails_alone(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_TOOBIG:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        return true;
    default:
        return false;
    }
}

static int append_all(struct sqlite_store *s, struct wr_store_item *items, size_t n)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        rc = append_one(s, &items[i]);
        if (!fails_alone(rc))
            continue;
        struct wr_errmsg why;
        items[i].code = sqlite__fail(s, s->db, rc, &why);
        wr_warn("hub.append", "room=%.*s one message is refused: %s",
                (int)WR_MIN(items[i].room.n, (size_t)100), (const char *)items[i].room.p, why.text);
        rc = SQLITE_OK;
    }
    return rc;
}

wr_err sqlite__append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    pthread_mutex_lock(&s->write_lock);
    wr_err e = sqlite__in_place(s, err);
    if (e == WR_OK) {
        int rc = sqlite__begin(s);
        if (rc == SQLITE_OK)
            rc = append_all(s, items, n);
        if (rc == SQLITE_OK)
            rc = write_tops(s);
        e = sqlite__finish(s, rc, err);
    }
    if (s->wal_pages > CHECKPOINT_HARD_PAGES &&
        s->wal_pages - s->wal_pages_tried > CHECKPOINT_PAGES)
        sqlite__checkpoint(s);
    pthread_mutex_unlock(&s->write_lock);
    return e;
}

/* Nothing stays of what was there: freed pages and cells are overwritten (secure_delete), and the log, which has the page
 * of before, is emptied by housekeeping. */
static int amend(struct sqlite_store *s, const struct room *r, const struct wr_store_amend *what)
{
    sqlite3_stmt *st = s->stmt[W_AMEND];
    sqlite3_bind_int64(st, 1, sqlite__entry_id(r->id, what->offset));
    bind_payload(st, 2, what->data, 3, what->type);
    return sqlite__run(st);
}

/* The room as the writer knows it, NULL when it has no entries. */
static int known_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    int rc = sqlite__find_room(s, name, out);
    if (rc == SQLITE_DONE)
        *out = NULL;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

wr_err sqlite__amend(void *state, const struct wr_store_amend *what, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    struct room *r = NULL;
    bool found = false;
    wr_err e = WR_OK;
    pthread_mutex_lock(&s->write_lock);
    sqlite3_exec(s->db, "PRAGMA secure_delete=ON", NULL, NULL, NULL);
    int rc = sqlite__begin(s);
    if (rc == SQLITE_OK)
        rc = known_room(s, what->room, &r);
    if (rc == SQLITE_OK && r && strcmp(r->epoch, what->epoch) != 0) {
        wr_errmsg_set(err, "the room's epoch is %s: the log of that entry is gone", r->epoch);
        e = WR_ERR_POSITION;
    } else if (rc == SQLITE_OK && r && what->offset >= 1 && what->offset <= r->top) {
        rc = amend(s, r, what);
        found = rc == SQLITE_OK && sqlite3_changes(s->db) == 1;
    }
    struct wr_errmsg why = {{0}};
    wr_err ended = sqlite__finish(s, rc, &why);
    sqlite3_exec(s->db, "PRAGMA secure_delete=OFF", NULL, NULL, NULL);
    s->wipe = s->wipe || (ended == WR_OK && found);
    pthread_mutex_unlock(&s->write_lock);
    if (ended != WR_OK) {
        *err = why;
        return ended;
    }
    if (e == WR_OK && !found) {
        wr_errmsg_set(err, "no entry %llu of %.*s (any more)", (unsigned long long)what->offset,
                      (int)WR_MIN(what->room.n, (size_t)100), (const char *)what->room.p);
        e = WR_ERR_NOT_FOUND;
    }
    return e;
}
