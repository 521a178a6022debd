/* SPDX-License-Identifier: MIT
 *
 * Inside store `sqlite`: its state, its statements, and what its files call of each other. */
#ifndef STORE_SQLITE_PRIV_H
#define STORE_SQLITE_PRIV_H

#include "store_epoch.h"
#include "wr_map.h"
#include "wr_store.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum {
    READERS = 4,
    SQLITE_BUSY_MS = 2000, /* a person's sqlite3 shell, a backup */
    /* Size of the log at which housekeeping moves it into the database: 16 MiB. A page that changed a hundred times is
     * moved once, so seldom is cheap; one batch in some hundreds waits some milliseconds for it. */
    CHECKPOINT_PAGES = 4000,
    /* The same inside append, should nobody do housekeeping: 64 MiB. */
    CHECKPOINT_HARD_PAGES = 16384,
    /* A log that was larger is cut to nothing after it was moved; SQLite alone would keep the file as it is. */
    CHECKPOINT_LARGE_PAGES = 2 * CHECKPOINT_PAGES,
};

/* clang-format off */
#define WRITER_SQL(X)                                                                                                  \
    X(W_BEGIN, "BEGIN IMMEDIATE")                                                                                      \
    X(W_COMMIT, "COMMIT")                                                                                              \
    X(W_ROOM, "SELECT id, epoch, top, first, last_ms FROM rooms WHERE name = ?1")                                      \
    X(W_ROOM_NEW, "INSERT INTO rooms(name, epoch) VALUES(?1, ?2)")                                                     \
    X(W_ROOM_TOP, "UPDATE rooms SET top = ?2, last_ms = ?3 WHERE id = ?1")                                             \
    X(W_INSERT, "INSERT INTO entries(id, kind, time_ms, key, info, data, type) VALUES(?1,?2,?3,?4,?5,?6,?7)"           \
                " ON CONFLICT(room, key) WHERE key IS NOT NULL DO NOTHING")                                            \
    X(W_BY_KEY, "SELECT offset, time_ms FROM entries WHERE room = ?1 AND key = ?2")                                    \
    X(W_NEXT_ROOM, "SELECT id, name, first, top FROM rooms WHERE id > ?1 AND top >= first ORDER BY id LIMIT 1")        \
    X(W_ROOM_LOAD, "INSERT INTO rooms(name, epoch, top, first, last_ms) VALUES(?1, ?2, ?3, ?4, ?5)")                   \
    X(W_FIRST_YOUNG, "SELECT offset FROM entries WHERE id >= ?1 AND id < ?2 AND time_ms >= ?3 ORDER BY id LIMIT 1")    \
    X(W_DROP, "DELETE FROM entries WHERE id >= ?1 AND id <= ?2")                                                       \
    X(W_ROOM_FIRST, "UPDATE rooms SET first = ?2 WHERE id = ?1")                                                       \
    X(W_AMEND, "UPDATE entries SET data = ?2, type = ?3 WHERE id = ?1")

#define READER_SQL(X)                                                                                                  \
    X(R_ROOM, "SELECT id, epoch, top, last_ms FROM rooms WHERE name = ?1")                                             \
    X(R_ROOMS, "SELECT name, epoch, top, last_ms FROM rooms WHERE top > 0")                                            \
    X(R_FORWARD, "SELECT offset, kind, time_ms, key, info, data, type FROM entries"                                    \
                 " WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3")                                                   \
    X(R_REVERSE, "SELECT offset, kind, time_ms, key, info, data, type FROM entries"                                    \
                 " WHERE id < ?1 AND id > ?2 ORDER BY id DESC LIMIT ?3")
/* clang-format on */

/* A room's entries lie side by side in the table, by offset: room and offset are one number. 2^38 offsets are eight years
 * of a thousand a second; 2^25 rooms are 33 million names. */
#define OFFSET_BITS 38
#define OFFSET_MAX ((INT64_C(1) << OFFSET_BITS) - 1)
#define ROOMS_MAX ((INT64_C(1) << (63 - OFFSET_BITS)) - 1)

static inline int64_t sqlite__entry_id(int64_t room, uint64_t offset)
{
    return room << OFFSET_BITS | (int64_t)WR_MIN(offset, (uint64_t)OFFSET_MAX);
}

#define X(id, sql) id,
enum writer_stmt { WRITER_SQL(X) W_COUNT };
enum reader_stmt { READER_SQL(X) R_COUNT };
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
    const char *vfs; /* gathers the log's writes (store_sqlite_gather.h); NULL = SQLite's own */
    struct wr_store_opts opts;
    uint8_t secret[STORE_SECRET_BYTES]; /* of the log: epochs follow from it */

    pthread_mutex_t
        write_lock; /* guards db, stmt, wal_pages, the two lists, scan_* and every change of cache */
    sqlite3 *db;
    struct stat place,
        wal_place; /* of the files when they were opened: are they still where their names are? */
    sqlite3_stmt *stmt[W_COUNT];
    int wal_pages, wal_pages_tried;
    bool wipe;  /* the log has what was amended away, or is large: it is to be emptied */
    bool grown; /* it was large since it was emptied */
    struct room *touched, *crowded;
    int64_t scan_id, scan_after_ms;

    /* While a backup is put back: the room that is being loaded, its newest entry, and the newest of it so far. */
    int64_t load_room;
    uint64_t load_top, load_last;

    pthread_mutex_t cache_lock; /* guards cache and the committed fields of its rooms */
    struct wr_map cache;

    pthread_mutex_t pool_lock; /* guards busy of readers */
    pthread_cond_t pool_cond;
    struct reader readers[READERS];
};

/* ---- statements (inline: each entry passes them several times) --------------------------------------------------- */

static inline void sqlite__bind_text(sqlite3_stmt *st, int at, struct wr_slice v)
{
    sqlite3_bind_text(st, at, (const char *)v.p, (int)v.n, SQLITE_STATIC);
}

/* Empty is NULL: the unique index over keys leaves NULLs out. */
static inline void sqlite__bind_blob(sqlite3_stmt *st, int at, struct wr_slice v)
{
    if (v.n)
        sqlite3_bind_blob(st, at, v.p, (int)v.n, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, at);
}

static inline struct wr_slice sqlite__column(sqlite3_stmt *st, int at)
{
    const void *p = sqlite3_column_blob(
        st, at); /* before _bytes: see the SQLite manual on conversions */
    return wr_slice_of(p, (size_t)sqlite3_column_bytes(st, at));
}

static inline void sqlite__column_epoch(sqlite3_stmt *st, int at, char epoch[9])
{
    struct wr_slice v = sqlite__column(st, at);
    size_t n = WR_MIN(v.n, (size_t)8);
    if (n)
        memcpy(epoch, v.p, n);
    epoch[n] = '\0';
}

/* Runs a statement that gives no rows. */
static inline int sqlite__run(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* ---- opening and closing: store_sqlite.c --------------------------------------------------------------------------- */

/* Fills a zeroed state: locks, options, no file. From here on sqlite__close() takes down whatever there is. */
void sqlite__begin_state(struct sqlite_store *s, const struct wr_store_opts *opts);
void sqlite__close(void *state);
/* s->file is `name` in the folder. */
wr_err sqlite__name_file(struct sqlite_store *s, const char *folder, const char *name,
                         struct wr_errmsg *err);
wr_err sqlite__take_lock(struct sqlite_store *s, const char *folder, struct wr_errmsg *err);
/* These return SQLite's code. Tables of a new log (version 0), or those of an earlier version made into ours. */
int sqlite__open_db(const struct sqlite_store *s, sqlite3 **db);
int sqlite__make_tables(sqlite3 *db, int version);
int sqlite__take_secret(struct sqlite_store *s); /* the log's, made when there is none */
int sqlite__prepare_writer(struct sqlite_store *s);

/* ---- errors: store_sqlite_err.c ----------------------------------------------------------------------------------- */

bool sqlite__is_full_errno(int e);

/* Maps an SQLite error to ours, with a sentence that names the file. `db` may be NULL. */
wr_err sqlite__fail(const struct sqlite_store *s, sqlite3 *db, int rc, struct wr_errmsg *err);

/* ---- the writer, under write_lock: store_sqlite_write.c ----------------------------------------------------------- */

/* Whether commits wait for the disk. Only while no transaction runs. */
void sqlite__set_synced(struct sqlite_store *s, bool synced);

/* Remembers where database and log are; sqlite__in_place() refuses when they were removed, moved or replaced since: SQLite
 * would write on into files that nobody finds again. */
int sqlite__note_place(struct sqlite_store *s);
wr_err sqlite__in_place(const struct sqlite_store *s, struct wr_errmsg *err);

/* Begins a transaction; may forget all rooms. Returns SQLite's code. */
int sqlite__begin(struct sqlite_store *s);

/* Finds or loads the room, within a transaction; SQLITE_DONE when there is none. Returns SQLite's code. */
int sqlite__find_room(struct sqlite_store *s, struct wr_slice name, struct room **out);

/* Finds, loads or makes the room, within a transaction, and lists it as touched. Returns SQLite's code. */
int sqlite__touch_room(struct sqlite_store *s, struct wr_slice name, struct room **out);

/* Ends the transaction that sqlite__begin() started, by the result so far: what the touched rooms became is what
 * everybody sees, or is forgotten. */
wr_err sqlite__finish(struct sqlite_store *s, int rc, struct wr_errmsg *err);

void sqlite__forget_rooms(struct sqlite_store *s);

/* Holds so many more than retention wants that a trim is worth it. */
static inline bool sqlite__is_crowded(const struct room *r)
{
    uint64_t n = r->top + 1 - r->first, keep = r->keep->count;
    return keep != 0 && n > keep + keep / 8 + 64;
}

/* Binds all of W_INSERT (store_sqlite_append.c). */
void sqlite__bind_entry(sqlite3_stmt *st, int64_t id, const struct wr_store_item *it);

/* ---- housekeeping, under write_lock: store_sqlite_trim.c ---------------------------------------------------------- */

/* Moves the log into the database, as far as readers let it. */
void sqlite__checkpoint(struct sqlite_store *s);

/* The same, and cuts the file of the log to nothing when no reader is in it. */
void sqlite__empty_log(struct sqlite_store *s);

/* SQLite's hook after a commit; `arg` is the store. */
int sqlite__on_wal_commit(void *arg, sqlite3 *db, const char *name, int pages);

/* ---- the plugin's slots ------------------------------------------------------------------------------------------- */

wr_err sqlite__append(void *state, struct wr_store_item *items, size_t n, struct wr_errmsg *err);
wr_err sqlite__amend(void *state, const struct wr_store_amend *what, struct wr_errmsg *err);
wr_err sqlite__trim(void *state, bool *more, struct wr_errmsg *err);
wr_err sqlite__history(void *state, struct wr_slice room, const struct wr_store_range *range,
                       wr_store_entry_fn fn, void *ctx, struct wr_errmsg *err);
wr_err sqlite__top(void *state, struct wr_slice room, struct wr_store_top *out,
                   struct wr_errmsg *err);
wr_err sqlite__rooms(void *state, wr_store_room_fn fn, void *ctx, struct wr_errmsg *err);
wr_err sqlite__load_begin(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err);
wr_err sqlite__load_room(void *state, struct wr_slice room, const struct wr_store_top *top,
                         struct wr_errmsg *err);
wr_err sqlite__load_entry(void *state, const struct wr_store_entry *entry, struct wr_errmsg *err);
wr_err sqlite__load_end(void *state, bool keep, struct wr_errmsg *err);

#endif
