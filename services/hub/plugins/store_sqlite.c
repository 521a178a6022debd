/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: the rooms' log in one SQLite file (WAL), for one hub. A batch is one transaction; COMMIT returns after
 * the write-ahead log was synced (synchronous=FULL), which is what an acknowledgement stands for.
 *
 * One connection writes, under write_lock. Readers have connections of their own, so a read never waits for a sync and
 * the writer never waits for a read. What is known of a room (id, epoch, newest offset) is cached, so that an append
 * costs one INSERT an entry and one UPDATE a room.
 *
 * Two kinds of transaction commit without a sync: making an empty room, and retention. Neither was promised to anybody,
 * a killed process loses neither, and the next synced commit covers both, since the log is sequential. */
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_map.h"
#include "wr_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    MAGIC = 0x57525351,
    SCHEMA_VERSION = 1,
    /* "WRm1": file(1) and a person can tell whose file it is. */
    APPLICATION_ID = 0x57526d31,
    READERS = 4,
    /* Rooms remembered by the writer; over it all are forgotten and looked up again. */
    CACHE_ROOMS = 65536,
    /* Size of the log at which housekeeping moves it into the database: 16 MiB. A page that changed a hundred times is
     * moved once, so seldom is cheap; one batch in some hundreds waits some milliseconds for it. */
    CHECKPOINT_PAGES = 4000,
    /* The same inside append, should nobody do housekeeping: 64 MiB. */
    CHECKPOINT_HARD_PAGES = 16384,
    /* Entries dropped in one transaction. */
    TRIM_STEP = 1000,
    /* Between two walks over all rooms. */
    SCAN_PAUSE_MS = 10000,
};

/* clang-format off */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS rooms("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,"
    " top INTEGER NOT NULL DEFAULT 0,"     /* newest offset ever given */
    " first INTEGER NOT NULL DEFAULT 1,"   /* oldest offset that retention left */
    " last_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS entries("
    " room INTEGER NOT NULL, offset INTEGER NOT NULL, kind INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    " key BLOB, info BLOB, data BLOB NOT NULL, PRIMARY KEY(room, offset)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX IF NOT EXISTS entries_key ON entries(room, key) WHERE key IS NOT NULL;";

#define WRITER_SQL(X)                                                                                                  \
    X(W_BEGIN, "BEGIN IMMEDIATE")                                                                                      \
    X(W_COMMIT, "COMMIT")                                                                                              \
    X(W_ROOM, "SELECT id, epoch, top, first, last_ms FROM rooms WHERE name = ?1")                                      \
    X(W_ROOM_NEW, "INSERT INTO rooms(name, epoch) VALUES(?1, ?2)")                                                     \
    X(W_ROOM_TOP, "UPDATE rooms SET top = ?2, last_ms = ?3 WHERE id = ?1")                                             \
    X(W_INSERT, "INSERT INTO entries(room, offset, kind, time_ms, key, info, data) VALUES(?1,?2,?3,?4,?5,?6,?7)"       \
                " ON CONFLICT(room, key) WHERE key IS NOT NULL DO NOTHING")                                            \
    X(W_BY_KEY, "SELECT offset, time_ms FROM entries WHERE room = ?1 AND key = ?2")                                    \
    X(W_NEXT_ROOM, "SELECT id, name, first, top FROM rooms WHERE id > ?1 AND top >= first ORDER BY id LIMIT 1")        \
    X(W_FIRST_YOUNG, "SELECT offset FROM entries WHERE room = ?1 AND offset >= ?2 AND offset < ?3 AND time_ms >= ?4"   \
                     " ORDER BY offset LIMIT 1")                                                                       \
    X(W_DROP, "DELETE FROM entries WHERE room = ?1 AND offset <= ?2")                                                  \
    X(W_ROOM_FIRST, "UPDATE rooms SET first = ?2 WHERE id = ?1")

#define READER_SQL(X)                                                                                                  \
    X(R_ROOM, "SELECT id, epoch, top, last_ms FROM rooms WHERE name = ?1")                                             \
    X(R_ROOMS, "SELECT name, epoch, top, last_ms FROM rooms WHERE top > 0")                                            \
    X(R_FORWARD, "SELECT offset, kind, time_ms, key, info, data FROM entries"                                          \
                 " WHERE room = ?1 AND offset > ?2 AND offset <= ?3 ORDER BY offset LIMIT ?4")                         \
    X(R_REVERSE, "SELECT offset, kind, time_ms, key, info, data FROM entries"                                          \
                 " WHERE room = ?1 AND offset < ?2 AND offset > ?3 ORDER BY offset DESC LIMIT ?4")
/* clang-format on */

#define X(id, sql) id,
enum writer_stmt { WRITER_SQL(X) W_COUNT };
enum reader_stmt { READER_SQL(X) R_COUNT };
#undef X
#define X(id, sql) sql,
static const char *const writer_sql[] = {WRITER_SQL(X)};
static const char *const reader_sql[] = {READER_SQL(X)};
#undef X

/* What the writer knows of a room. `top` and `last_ms` are committed and read under cache_lock; the rest is the
 * writer's own. */
struct room {
    int64_t id;
    uint64_t top, first;
    int64_t last_ms;
    char epoch[9];
    bool made;    /* in the transaction that runs: forgotten when it fails */
    bool touched; /* in the list of the transaction that runs */
    bool crowded; /* in the list of rooms that hold more than retention wants */
    uint64_t new_top;
    int64_t new_last_ms;
    struct room *next_touched, *next_crowded;
    const struct wr_store_keep *keep;
    size_t name_n;
    char name[];
};

struct reader {
    sqlite3 *db;
    sqlite3_stmt *stmt[R_COUNT];
    bool busy;
};

struct sqlite_store {
    uint32_t magic;
    char file[PATH_MAX];
    int lock_fd;
    struct wr_store_opts opts;

    pthread_mutex_t
        write_lock; /* guards db, stmt, wal_pages, the two lists, scan_* and every change of cache */
    sqlite3 *db;
    sqlite3_stmt *stmt[W_COUNT];
    int wal_pages, wal_pages_tried;
    struct room *touched, *crowded;
    int64_t scan_id, scan_after_ms;

    pthread_mutex_t cache_lock; /* guards cache and the committed fields of its rooms */
    struct wr_map cache;

    pthread_mutex_t pool_lock; /* guards busy of readers */
    pthread_cond_t pool_cond;
    struct reader readers[READERS];
};

/* ---- errors ----------------------------------------------------------------------------------------------------- */

static bool is_full_errno(int e)
{
    return e == ENOSPC || e == EDQUOT || e == EFBIG;
}

static int file_errno(sqlite3 *db, int which)
{
    sqlite3_file *f = NULL;
    int e = 0;
    if (sqlite3_file_control(db, NULL, which, &f) == SQLITE_OK && f && f->pMethods)
        f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &e);
    return e;
}

/* The errno behind an input/output error. SQLite tells it for the database, but not for its write-ahead log (seen with
 * 3.40: a log that met EFBIG leaves 0 there), so the log's file is asked. */
static int os_error(sqlite3 *db)
{
    int e = db ? sqlite3_system_errno(db) : 0;
    if (db && e == 0)
        e = file_errno(db, SQLITE_FCNTL_JOURNAL_POINTER);
    if (db && e == 0)
        e = file_errno(db, SQLITE_FCNTL_FILE_POINTER);
    return e;
}

/* Maps an SQLite error to ours, with a sentence that names the file. */
static wr_err fail(const struct sqlite_store *s, sqlite3 *db, int rc, struct wr_errmsg *err)
{
    int os = os_error(db);
    const char *file = s->file;

    switch (rc & 0xff) {
    case SQLITE_FULL:
        wr_errmsg_set(err, "%s: the disk is full: free some space, the hub goes on by itself",
                      file);
        return WR_ERR_NO_SPACE;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        if (is_full_errno(os)) {
            wr_errmsg_set(err,
                          "%s: the disk is full (%s): free some space, the hub goes on by itself",
                          file, strerror(os));
            return WR_ERR_NO_SPACE;
        }
        wr_errmsg_set(err, "%s: %s%s%s: look at the disk and at the kernel's log", file,
                      sqlite3_errstr(rc), os ? ": " : "", os ? strerror(os) : "");
        return (rc & 0xff) == SQLITE_CANTOPEN ? WR_ERR_DENIED : WR_ERR_UNAVAILABLE;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        wr_errmsg_set(
            err,
            "%s: not writable for user %d: change the owner or the mode of the file and its folder",
            file, (int)geteuid());
        return WR_ERR_DENIED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        wr_errmsg_set(err,
                      "%s: damaged (%s): put a copy back, or move it away to start empty; `sqlite3 "
                      "%s .recover` "
                      "saves what is readable",
                      file, sqlite3_errstr(rc), file);
        return WR_ERR_INTERNAL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        wr_errmsg_set(
            err, "%s: another program holds it locked (an sqlite3 shell with an open transaction?)",
            file);
        return WR_ERR_BUSY;
    case SQLITE_NOMEM:
        wr_errmsg_set(err, "%s: out of memory", file);
        return WR_ERR_BUSY;
    default:
        wr_errmsg_set(err, "%s: %s (SQLite error %d)", file,
                      db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc);
        return WR_ERR_INTERNAL;
    }
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

static void bind_text(sqlite3_stmt *st, int at, struct wr_slice v)
{
    sqlite3_bind_text(st, at, (const char *)v.p, (int)v.n, SQLITE_STATIC);
}

/* Empty is NULL: the unique index over keys leaves NULLs out. */
static void bind_blob(sqlite3_stmt *st, int at, struct wr_slice v)
{
    if (v.n)
        sqlite3_bind_blob(st, at, v.p, (int)v.n, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, at);
}

static struct wr_slice column(sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(
        st, at); /* before _bytes: see the SQLite manual on conversions */
    return wr_slice_of(p, (size_t)sqlite3_column_bytes(st, at));
}

static void column_epoch(sqlite3_stmt *st, int at, char epoch[9])
{
    struct wr_slice v = column(st, at);
    size_t n = WR_MIN(v.n, (size_t)8);
    if (n)
        memcpy(epoch, v.p, n);
    epoch[n] = '\0';
}

/* Runs a statement that gives no rows. */
static int run(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int prepare_all(sqlite3 *db, const char *const *sql, sqlite3_stmt **stmt, int n)
{
    int rc = SQLITE_OK;
    for (int i = 0; i < n && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &stmt[i], NULL);
    return rc;
}

static void close_db(sqlite3 **db, sqlite3_stmt **stmt, int n)
{
    for (int i = 0; i < n; i++) {
        sqlite3_finalize(stmt[i]);
        stmt[i] = NULL;
    }
    sqlite3_close(*db);
    *db = NULL;
}

/* ---- the writer's transaction ----------------------------------------------------------------------------------- */

/* Only while no transaction runs. */
static void set_synced(struct sqlite_store *s, bool synced)
{
    sqlite3_exec(s->db, synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL,
                 NULL, NULL);
}

static const struct wr_store_keep *keep_of(const struct sqlite_store *s, struct wr_slice name)
{
    for (size_t i = 0; i < s->opts.num_rooms; i++)
        if (wr_slice_is(name, s->opts.rooms[i].room))
            return &s->opts.rooms[i];
    return &s->opts.keep;
}

static void forget_all_rooms(struct sqlite_store *s)
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
    r->keep = keep_of(s, name);
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
    wr_id_random(as.epoch, 8);
    sqlite3_stmt *st = s->stmt[W_ROOM_NEW];
    bind_text(st, 1, name);
    bind_text(st, 2, wr_slice_str(as.epoch));
    int rc = run(st);
    as.id = sqlite3_last_insert_rowid(s->db);
    return rc == SQLITE_OK ? remember_room(s, name, &as, out) : rc;
}

static int load_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    sqlite3_stmt *st = s->stmt[W_ROOM];
    bind_text(st, 1, name);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        struct room as = {.id = sqlite3_column_int64(st, 0),
                          .top = (uint64_t)sqlite3_column_int64(st, 2),
                          .first = (uint64_t)sqlite3_column_int64(st, 3),
                          .last_ms = sqlite3_column_int64(st, 4)};
        column_epoch(st, 1, as.epoch);
        rc = remember_room(s, name, &as, out);
    }
    sqlite3_reset(st);
    return rc;
}

/* Finds, loads or makes the room, within a transaction, and lists it as touched. */
static int touch_room(struct sqlite_store *s, struct wr_slice name, struct room **out)
{
    struct room *r = wr_map_get(&s->cache, name);
    int rc = SQLITE_OK;
    if (!r)
        rc = load_room(s, name, &r);
    if (rc == SQLITE_DONE)
        rc = make_room(s, name, &r);
    if (rc != SQLITE_OK)
        return rc;
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

static int begin(struct sqlite_store *s)
{
    if (s->cache.used > CACHE_ROOMS)
        forget_all_rooms(s);
    return run(s->stmt[W_BEGIN]);
}

static bool is_crowded(const struct room *r)
{
    uint64_t n = r->top + 1 - r->first, keep = r->keep->count;
    return keep != 0 && n > keep + keep / 8 + 64;
}

/* The touched rooms' new positions become what everybody sees. */
static void settle_committed(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->cache_lock);
    for (struct room *r = s->touched; r; r = r->next_touched) {
        r->top = r->new_top;
        r->last_ms = r->new_last_ms;
        r->touched = r->made = false;
        if (!r->crowded && is_crowded(r)) {
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

/* Ends the transaction that begin() started, by the result so far. */
static wr_err finish(struct sqlite_store *s, int rc, struct wr_errmsg *err)
{
    if (rc == SQLITE_OK)
        rc = run(s->stmt[W_COMMIT]);
    if (rc == SQLITE_OK) {
        settle_committed(s);
        return WR_OK;
    }
    wr_err e = fail(s, s->db, rc, err); /* before the rollback forgets the reason */
    settle_failed(s);
    return e;
}

/* ---- append ----------------------------------------------------------------------------------------------------- */

static int insert(struct sqlite_store *s, const struct room *r, const struct wr_store_item *it)
{
    sqlite3_stmt *st = s->stmt[W_INSERT];
    sqlite3_bind_int64(st, 1, r->id);
    sqlite3_bind_int64(st, 2, (int64_t)r->new_top + 1);
    sqlite3_bind_int64(st, 3, it->kind);
    sqlite3_bind_int64(st, 4, it->time_ms);
    bind_blob(st, 5, it->key);
    bind_blob(st, 6, it->info);
    sqlite3_bind_text(st, 7, (const char *)it->data.p, (int)it->data.n,
                      SQLITE_STATIC); /* readable in the shell */
    return run(st);
}

static int find_by_key(struct sqlite_store *s, const struct room *r, struct wr_store_item *it)
{
    sqlite3_stmt *st = s->stmt[W_BY_KEY];
    sqlite3_bind_int64(st, 1, r->id);
    bind_blob(st, 2, it->key);
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
    int rc = touch_room(s, it->room, &r);
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
        rc = run(st);
    }
    return rc;
}

static void checkpoint(struct sqlite_store *s)
{
    int left = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &moved);
    /* A reader in the middle of the log, or a full disk, leaves a rest: tried again when the log has grown some more. */
    s->wal_pages_tried = s->wal_pages;
    if (rc == SQLITE_OK && left == moved)
        s->wal_pages = s->wal_pages_tried = 0;
}

static wr_err append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    pthread_mutex_lock(&s->write_lock);
    int rc = begin(s);
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
        rc = append_one(s, &items[i]);
    if (rc == SQLITE_OK)
        rc = write_tops(s);
    wr_err e = finish(s, rc, err);
    if (s->wal_pages > CHECKPOINT_HARD_PAGES &&
        s->wal_pages - s->wal_pages_tried > CHECKPOINT_PAGES)
        checkpoint(s);
    pthread_mutex_unlock(&s->write_lock);
    return e;
}

/* ---- housekeeping ----------------------------------------------------------------------------------------------- */

static int on_wal_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_store *s = arg;
    (void)db;
    (void)name;
    if (pages < s->wal_pages_tried) /* the log began anew */
        s->wal_pages_tried = 0;
    s->wal_pages = pages;
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
        sqlite3_bind_int64(st, 1, room);
        sqlite3_bind_int64(st, 2, (int64_t)first);
        sqlite3_bind_int64(st, 3, (int64_t)end);
        sqlite3_bind_int64(st, 4, wr_wall_ms() - keep->age_ms);
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
    set_synced(s, false);
    int rc = begin(s);
    sqlite3_stmt *drop = s->stmt[W_DROP], *first = s->stmt[W_ROOM_FIRST];
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(drop, 1, room);
        sqlite3_bind_int64(drop, 2, (int64_t)cut);
        rc = run(drop);
    }
    if (rc == SQLITE_OK) {
        sqlite3_bind_int64(first, 1, room);
        sqlite3_bind_int64(first, 2, (int64_t)cut + 1);
        rc = run(first);
    }
    wr_err e = finish(s, rc, err);
    set_synced(s, true);
    return e;
}

static wr_err trim_crowded(struct sqlite_store *s, bool *more, struct wr_errmsg *err)
{
    struct room *r = s->crowded;
    int64_t id = r->id;
    uint64_t cut;
    int rc = find_cut(s, id, r->keep, r->first, r->top, &cut);
    wr_err e = rc == SQLITE_OK ? WR_OK : fail(s, s->db, rc, err);
    if (e == WR_OK && cut)
        e = drop_until(s, id, cut, err);
    if (s->crowded != r) { /* begin() forgot the cache: the walk over all rooms finds it again */
        *more = false;
        return e;
    }
    if (e == WR_OK && cut)
        r->first = cut + 1;
    if (e != WR_OK || !is_crowded(r)) {
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
        return rc == SQLITE_DONE ? WR_OK : fail(s, s->db, rc, err);
    }
    int64_t id = sqlite3_column_int64(st, 0);
    struct wr_slice name = column(st, 1);
    uint64_t first = (uint64_t)sqlite3_column_int64(st, 2),
             top = (uint64_t)sqlite3_column_int64(st, 3), cut;
    const struct wr_store_keep *keep = keep_of(s, name);
    struct room *cached = wr_map_get(&s->cache, name);
    sqlite3_reset(st);
    rc = find_cut(s, id, keep, first, top, &cut);
    wr_err e = rc == SQLITE_OK ? WR_OK : fail(s, s->db, rc, err);
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

static wr_err trim(void *state, bool *more, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    wr_err e = WR_OK;
    *more = false;
    pthread_mutex_lock(&s->write_lock);
    if (s->wal_pages - s->wal_pages_tried >= CHECKPOINT_PAGES)
        checkpoint(s);
    else if (s->crowded)
        e = trim_crowded(s, more, err);
    else if (wr_mono_ms() >= s->scan_after_ms)
        e = trim_next(s, more, err);
    pthread_mutex_unlock(&s->write_lock);
    return e;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

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
    bind_text(st, 1, name);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        if (id)
            *id = sqlite3_column_int64(st, 0);
        column_epoch(st, 1, out->epoch);
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
            .key = column(st, 3),
            .info = column(st, 4),
            .data = column(st, 5),
        };
        if (!fn(ctx, &e)) {
            rc = SQLITE_DONE;
            break;
        }
    }
    sqlite3_reset(st);
    return rc;
}

static wr_err history(void *state, struct wr_slice room, const struct wr_store_range *range,
                      wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    struct reader *r = take_reader(s);
    struct wr_store_top top;
    int64_t id = 0;
    wr_err e = WR_OK;
    int rc = read_room(r, room, &id, &top);
    if (rc == SQLITE_DONE) {
        wr_errmsg_set(err, "no room of that name");
        e = WR_ERR_NOT_FOUND;
    } else if (rc == SQLITE_ROW) {
        sqlite3_stmt *st = r->stmt[range->reverse ? R_REVERSE : R_FORWARD];
        uint64_t from = range->has_since ? WR_MIN(range->since, (uint64_t)INT64_MAX) : 0;
        uint64_t to = range->until ? WR_MIN(range->until, (uint64_t)INT64_MAX) : INT64_MAX;
        if (range->reverse) {
            from = range->has_since ? from : INT64_MAX;
            to = 0;
        }
        sqlite3_bind_int64(st, 1, id);
        sqlite3_bind_int64(st, 2, (int64_t)from);
        sqlite3_bind_int64(st, 3, (int64_t)to);
        sqlite3_bind_int64(st, 4, range->limit);
        rc = read_entries(st, fn, ctx);
    }
    if (e == WR_OK && rc != SQLITE_DONE)
        e = fail(s, r->db, rc, err);
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

static wr_err make_empty_room(struct sqlite_store *s, struct wr_slice room,
                              struct wr_store_top *out, struct wr_errmsg *err)
{
    struct room *r;
    pthread_mutex_lock(&s->write_lock);
    set_synced(s, false);
    int rc = begin(s);
    if (rc == SQLITE_OK)
        rc = touch_room(s, room, &r);
    wr_err e = finish(s, rc, err);
    set_synced(s, true);
    if (e == WR_OK) {
        out->offset = r->top;
        out->last_time_ms = r->last_ms;
        memcpy(out->epoch, r->epoch, sizeof out->epoch);
    }
    pthread_mutex_unlock(&s->write_lock);
    return e;
}

static wr_err top(void *state, struct wr_slice room, struct wr_store_top *out,
                  struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    if (cached_top(s, room, out))
        return WR_OK;
    struct reader *r = take_reader(s);
    int rc = read_room(r, room, NULL, out);
    wr_err e = rc == SQLITE_ROW || rc == SQLITE_DONE ? WR_OK : fail(s, r->db, rc, err);
    give_reader(s, r);
    return rc == SQLITE_DONE ? make_empty_room(s, room, out, err) : e;
}

static wr_err rooms(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    struct reader *r = take_reader(s);
    sqlite3_stmt *st = r->stmt[R_ROOMS];
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct wr_store_top t = {.offset = (uint64_t)sqlite3_column_int64(st, 2),
                                 .last_time_ms = sqlite3_column_int64(st, 3)};
        column_epoch(st, 1, t.epoch);
        fn(ctx, column(st, 0), &t);
    }
    sqlite3_reset(st);
    wr_err e = rc == SQLITE_DONE ? WR_OK : fail(s, r->db, rc, err);
    give_reader(s, r);
    return e;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

/* One hub a file: two would each cache positions, and number alike. The lock is a file beside the database, since
 * SQLite's own locks are taken and released with each transaction. The kernel drops it with the process. */
static wr_err take_lock(struct sqlite_store *s, const char *folder, struct wr_errmsg *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock", folder) >= (int)sizeof path ||
        snprintf(s->file, sizeof s->file, "%s/room.db", folder) >= (int)sizeof s->file) {
        wr_errmsg_set(err,
                      "hub: the path of the data folder is longer than %d bytes: use a shorter one",
                      PATH_MAX);
        return WR_ERR_INVALID;
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0) {
        int e = errno;
        wr_errmsg_set(err,
                      "%s: %s: the hub's folder must exist and be writable for user %d (or name "
                      "another by --data)",
                      path, strerror(e), (int)geteuid());
        return is_full_errno(e) ? WR_ERR_NO_SPACE : WR_ERR_DENIED;
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        wr_errmsg_set(
            err,
            "%s: another hub has this folder: run one hub per SQLite file, end the other one or "
            "name another "
            "folder by --data (several hubs on one log need a shared store: PostgreSQL, planned)",
            path);
        return WR_ERR_CONFLICT;
    }
    return WR_OK;
}

static int open_db(const char *file, sqlite3 **db)
{
    int rc = sqlite3_open_v2(
        file, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(*db, 1);
        sqlite3_busy_timeout(*db, 2000); /* a person's sqlite3 shell, a backup */
    }
    return rc;
}

static int pragma_int(sqlite3 *db, const char *sql, int *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

/* Refuses somebody else's database and a later version's, before anything is changed in it. */
static wr_err check_owner(struct sqlite_store *s, bool *fresh, struct wr_errmsg *err)
{
    int app = 0, version = 0, tables = 0;
    int rc = pragma_int(s->db, "PRAGMA application_id", &app);
    if (rc == SQLITE_OK)
        rc = pragma_int(s->db, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = pragma_int(s->db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK)
        return fail(s, s->db, rc, err);
    *fresh = app == 0 && version == 0 && tables == 0;
    if (!*fresh && app != APPLICATION_ID) {
        wr_errmsg_set(
            err,
            "%s: a database of another program: move it away, or name another folder by --data",
            s->file);
        return WR_ERR_CONFLICT;
    }
    if (version > SCHEMA_VERSION) {
        wr_errmsg_set(err,
                      "%s: written by a later version of Watchroom (schema %d, this one knows %d): "
                      "run that version",
                      s->file, version, SCHEMA_VERSION);
        return WR_ERR_CONFLICT;
    }
    return WR_OK;
}

static wr_err open_writer(struct sqlite_store *s, struct wr_errmsg *err)
{
    char setup[256];
    bool fresh = false;
    int rc = open_db(s->file, &s->db);
    if (rc != SQLITE_OK)
        return fail(s, s->db, rc, err);
    wr_err e = check_owner(s, &fresh, err);
    if (e != WR_OK)
        return e;
    rc = sqlite3_exec(s->db,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000",
                      NULL, NULL, NULL);
    if (rc == SQLITE_OK && fresh) {
        snprintf(setup, sizeof setup, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                 APPLICATION_ID, SCHEMA_VERSION);
        rc = sqlite3_exec(s->db, setup, NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = prepare_all(s->db, writer_sql, s->stmt, W_COUNT);
    if (rc != SQLITE_OK)
        return fail(s, s->db, rc, err);
    sqlite3_wal_autocheckpoint(s->db, 0); /* housekeeping does it, after the answers are out */
    sqlite3_wal_hook(s->db, on_wal_commit, s);
    return WR_OK;
}

static wr_err open_readers(struct sqlite_store *s, struct wr_errmsg *err)
{
    for (int i = 0; i < READERS; i++) {
        struct reader *r = &s->readers[i];
        int rc = open_db(s->file, &r->db);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(r->db, "PRAGMA query_only=1", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = prepare_all(r->db, reader_sql, r->stmt, R_COUNT);
        if (rc != SQLITE_OK)
            return fail(s, r->db, rc, err);
    }
    return WR_OK;
}

static void close_store(void *state)
{
    struct sqlite_store *s = state;
    if (s->magic != MAGIC)
        return;
    for (int i = 0; i < READERS; i++)
        close_db(&s->readers[i].db, s->readers[i].stmt, R_COUNT);
    close_db(&s->db, s->stmt, W_COUNT); /* the last one moves the log into the database */
    forget_all_rooms(s);
    pthread_cond_destroy(&s->pool_cond);
    pthread_mutex_destroy(&s->pool_lock);
    pthread_mutex_destroy(&s->cache_lock);
    pthread_mutex_destroy(&s->write_lock);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->magic = 0;
}

static wr_err open_store(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    s->magic = MAGIC;
    s->opts = *opts;
    s->lock_fd = -1;
    pthread_mutex_init(&s->write_lock, NULL);
    pthread_mutex_init(&s->cache_lock, NULL);
    pthread_mutex_init(&s->pool_lock, NULL);
    pthread_cond_init(&s->pool_cond, NULL);
    wr_err e = take_lock(s, opts->path, err);
    if (e == WR_OK)
        e = open_writer(s, err);
    if (e == WR_OK)
        e = open_readers(s, err);
    if (e != WR_OK)
        close_store(s);
    return e;
}

WR_PLUGIN_EXPORT const struct wr_store_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(
        struct wr_store_plugin, struct sqlite_store, WR_KIND_STORE, "sqlite", WR_VERSION,
        "Rooms' log in one SQLite file: synced before it is acknowledged, one hub a file"),
    .open = open_store,
    .close = close_store,
    .append = append,
    .history = history,
    .top = top,
    .rooms = rooms,
    .trim = trim,
};
