/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: the rooms' log in one SQLite file (WAL), for one hub. A batch is one transaction; COMMIT returns after
 * the write-ahead log was synced (synchronous=FULL), which is what an acknowledgement stands for. This file opens and
 * closes it; appending, reading, housekeeping, the writer's transaction and the errors have files of their own.
 *
 * One connection writes, under write_lock. Readers have connections of their own, so a read never waits for a sync and
 * the writer never waits for a read. What is known of a room (id, epoch, newest offset) is cached, so that an append
 * costs one INSERT an entry and one UPDATE a room.
 *
 * Retention commits without a sync: it was promised to nobody, a killed process loses nothing of it, and the next synced
 * commit covers it, since the log is sequential. */
#include "store_sqlite_priv.h"

#include "store_sqlite_gather.h"
#include "wr_id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    MAGIC = 0x57525351,
    SCHEMA_VERSION = 3,
    /* "WRm1": file(1) and a person can tell whose file it is. */
    APPLICATION_ID = 0x57526d31,
};

#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* clang-format off */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS rooms("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,"
    " top INTEGER NOT NULL DEFAULT 0,"     /* newest offset ever given */
    " first INTEGER NOT NULL DEFAULT 1,"   /* oldest offset that retention left */
    " last_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS entries("
    " id INTEGER PRIMARY KEY,"             /* what is appended to one room fills one page after the other */
    " room INTEGER AS (id >> " STRING(OFFSET_BITS) "),"
    " offset INTEGER AS (id & (1 << " STRING(OFFSET_BITS) ") - 1),"
    " kind INTEGER NOT NULL, time_ms INTEGER NOT NULL, key BLOB, info BLOB, data BLOB NOT NULL,"
    " type TEXT);"                         /* media type of data, NULL = JSON */
    "CREATE UNIQUE INDEX IF NOT EXISTS entries_key ON entries(room, key) WHERE key IS NOT NULL;"
    /* From it follow the epochs of rooms that have no row yet. A log of before has none: it gets one when it is opened. */
    "CREATE TABLE IF NOT EXISTS secret(id INTEGER PRIMARY KEY CHECK(id = 1), bytes BLOB NOT NULL);";

/* Version 1 had (room, offset) as its primary key, of a table without row numbers: appending there moves rows between the
 * last three pages again and again. */
static const char from_version_1[] =
    "BEGIN IMMEDIATE;"
    "DROP INDEX entries_key;"
    "ALTER TABLE entries RENAME TO entries_1;";
static const char from_version_1_end[] =
    "INSERT INTO entries(id, kind, time_ms, key, info, data)"
    " SELECT room << " STRING(OFFSET_BITS) " | offset, kind, time_ms, key, info, data FROM entries_1 ORDER BY 1;"
    "DROP TABLE entries_1;"
    "PRAGMA user_version = 3;"
    "COMMIT";

/* Version 2 had JSON alone. */
static const char from_version_2[] =
    "BEGIN IMMEDIATE;"
    "ALTER TABLE entries ADD COLUMN type TEXT;"
    "PRAGMA user_version = 3;"
    "COMMIT";
/* clang-format on */

#define X(id, sql) sql,
static const char *const writer_sql[] = {WRITER_SQL(X)};
static const char *const reader_sql[] = {READER_SQL(X)};
#undef X

static int prepare_all(sqlite3 *db, const char *const *sql, sqlite3_stmt **stmt, int n)
{
    int rc = SQLITE_OK;
    for (int i = 0; i < n && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &stmt[i], NULL);
    return rc;
}

int sqlite__prepare_writer(struct sqlite_store *s)
{
    return prepare_all(s->db, writer_sql, s->stmt, W_COUNT);
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

wr_err sqlite__name_file(struct sqlite_store *s, const char *folder, const char *name,
                         struct wr_errmsg *err)
{
    if (snprintf(s->file, sizeof s->file, "%s/%s", folder, name) < (int)sizeof s->file)
        return WR_OK;
    wr_errmsg_set(err,
                  "hub: the path of the data folder is longer than %d bytes: use a shorter one",
                  PATH_MAX);
    return WR_ERR_INVALID;
}

/* One hub a file: two would each cache positions, and number alike. The lock is a file beside the database, since
 * SQLite's own locks are taken and released with each transaction. The kernel drops it with the process. */
wr_err sqlite__take_lock(struct sqlite_store *s, const char *folder, struct wr_errmsg *err)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/lock", folder);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0) {
        int e = errno;
        wr_errmsg_set(err,
                      "%s: %s: the hub's folder must exist and be writable for user %d (or name "
                      "another by --data)",
                      path, strerror(e), (int)geteuid());
        return sqlite__is_full_errno(e) ? WR_ERR_NO_SPACE : WR_ERR_DENIED;
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

int sqlite__open_db(const struct sqlite_store *s, sqlite3 **db)
{
    int make = s->opts.reading ? 0 : SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(s->file, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | make,
                             s->vfs);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(*db, 1);
        sqlite3_busy_timeout(*db, SQLITE_BUSY_MS);
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
static wr_err check_owner(struct sqlite_store *s, int *version, struct wr_errmsg *err)
{
    int app = 0, tables = 0;
    int rc = pragma_int(s->db, "PRAGMA application_id", &app);
    if (rc == SQLITE_OK)
        rc = pragma_int(s->db, "PRAGMA user_version", version);
    if (rc == SQLITE_OK)
        rc = pragma_int(s->db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK)
        return sqlite__fail(s, s->db, rc, err);
    bool fresh = app == 0 && *version == 0 && tables == 0;
    if (!fresh && app != APPLICATION_ID) {
        wr_errmsg_set(
            err,
            "%s: a database of another program: move it away, or name another folder by --data",
            s->file);
        return WR_ERR_CONFLICT;
    }
    if (*version > SCHEMA_VERSION) {
        wr_errmsg_set(err,
                      "%s: written by a later version of Watchroom (schema %d, this one knows %d): "
                      "run that version",
                      s->file, *version, SCHEMA_VERSION);
        return WR_ERR_CONFLICT;
    }
    return WR_OK;
}

/* Makes the tables, or those of an earlier version into ours; a transaction that fails leaves that version's. */
int sqlite__make_tables(sqlite3 *db, int version)
{
    char setup[128];
    int rc = SQLITE_OK;
    if (version == 0) {
        snprintf(setup, sizeof setup, "PRAGMA application_id=%d; PRAGMA user_version=%d",
                 APPLICATION_ID, SCHEMA_VERSION);
        rc = sqlite3_exec(db, setup, NULL, NULL, NULL);
    }
    if (version == 1)
        rc = sqlite3_exec(db, from_version_1, NULL, NULL, NULL);
    if (version == 2)
        rc = sqlite3_exec(db, from_version_2, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK && version == 1)
        rc = sqlite3_exec(db, from_version_1_end, NULL, NULL, NULL);
    return rc;
}

/* The log's secret, made when there is none. */
int sqlite__take_secret(struct sqlite_store *s)
{
    uint8_t fresh[STORE_SECRET_BYTES];
    sqlite3_stmt *make = NULL, *read = NULL;
    wr_random(fresh, sizeof fresh);
    int rc = sqlite3_prepare_v2(s->db, "INSERT OR IGNORE INTO secret(id, bytes) VALUES(1, ?1)", -1,
                                &make, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_blob(make, 1, fresh, sizeof fresh, SQLITE_STATIC);
        rc = sqlite__run(make);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(s->db, "SELECT bytes FROM secret", -1, &read, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(read)) == SQLITE_ROW) {
        struct wr_slice bytes = sqlite__column(read, 0);
        rc = bytes.n == sizeof s->secret ? SQLITE_OK : SQLITE_CORRUPT;
        if (rc == SQLITE_OK)
            memcpy(s->secret, bytes.p, sizeof s->secret);
    }
    sqlite3_finalize(make);
    sqlite3_finalize(read);
    return rc;
}

static wr_err open_writer(struct sqlite_store *s, struct wr_errmsg *err)
{
    int version = 0;
    int rc = sqlite__open_db(s, &s->db);
    if (rc != SQLITE_OK)
        return sqlite__fail(s, s->db, rc, err);
    wr_err e = check_owner(s, &version, err);
    if (e != WR_OK)
        return e;
    /* A commit writes each page that it touched, whole: with small ones half as much is summed and synced for the few lines
     * that a batch has. Takes effect where the database is made anew. */
    rc = sqlite3_exec(s->db,
                      "PRAGMA page_size=2048; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "PRAGMA cache_size=-16000",
                      NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite__make_tables(s->db, version);
    if (rc == SQLITE_OK)
        rc = sqlite__take_secret(s);
    if (rc == SQLITE_OK)
        rc = sqlite__prepare_writer(s);
    if (rc == SQLITE_OK)
        rc = sqlite__note_place(s);
    if (rc != SQLITE_OK)
        return sqlite__fail(s, s->db, rc, err);
    sqlite3_wal_autocheckpoint(s->db, 0); /* housekeeping does it, after the answers are out */
    sqlite3_wal_hook(s->db, sqlite__on_wal_commit, s);
    return WR_OK;
}

/* Beside the hub that has the log. What an earlier version wrote is made into ours by a hub that starts. */
static wr_err open_reading(struct sqlite_store *s, struct wr_errmsg *err)
{
    int version = 0;
    if (access(s->file, F_OK) != 0) {
        wr_errmsg_set(err, "%s: %s: there is no log here (--data names the folder)", s->file,
                      strerror(errno));
        return WR_ERR_NOT_FOUND;
    }
    int rc = sqlite__open_db(s, &s->db);
    if (rc != SQLITE_OK)
        return sqlite__fail(s, s->db, rc, err);
    wr_err e = check_owner(s, &version, err);
    if (e == WR_OK && version != SCHEMA_VERSION) {
        wr_errmsg_set(
            err,
            "%s: written by an earlier version of Watchroom (schema %d): start this one's "
            "hub once, which takes it over",
            s->file, version);
        e = WR_ERR_CONFLICT;
    }
    return e;
}

static wr_err open_readers(struct sqlite_store *s, struct wr_errmsg *err)
{
    for (int i = 0; i < READERS; i++) {
        struct reader *r = &s->readers[i];
        int rc = sqlite__open_db(s, &r->db);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(r->db, "PRAGMA query_only=1", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = prepare_all(r->db, reader_sql, r->stmt, R_COUNT);
        if (rc != SQLITE_OK)
            return sqlite__fail(s, r->db, rc, err);
    }
    return WR_OK;
}

void sqlite__close(void *state)
{
    struct sqlite_store *s = state;
    if (s->magic != MAGIC)
        return;
    for (int i = 0; i < READERS; i++)
        close_db(&s->readers[i].db, s->readers[i].stmt, R_COUNT);
    close_db(&s->db, s->stmt, W_COUNT); /* the last one moves the log into the database */
    sqlite__forget_rooms(s);
    pthread_cond_destroy(&s->pool_cond);
    pthread_mutex_destroy(&s->pool_lock);
    pthread_mutex_destroy(&s->cache_lock);
    pthread_mutex_destroy(&s->write_lock);
    if (s->vfs)
        gather__give();
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->magic = 0;
}

void sqlite__begin_state(struct sqlite_store *s, const struct wr_store_opts *opts)
{
    s->magic = MAGIC;
    s->opts = *opts;
    s->lock_fd = -1;
    s->vfs = gather__take();
    pthread_mutex_init(&s->write_lock, NULL);
    pthread_mutex_init(&s->cache_lock, NULL);
    pthread_mutex_init(&s->pool_lock, NULL);
    pthread_cond_init(&s->pool_cond, NULL);
}

static wr_err open_store(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    sqlite__begin_state(s, opts);
    wr_err e = sqlite__name_file(s, opts->path, "room.db", err);
    if (e == WR_OK && !opts->reading)
        e = sqlite__take_lock(s, opts->path, err);
    if (e == WR_OK)
        e = opts->reading ? open_reading(s, err) : open_writer(s, err);
    if (e == WR_OK)
        e = open_readers(s, err);
    if (e != WR_OK)
        sqlite__close(s);
    return e;
}

WR_PLUGIN_EXPORT const struct wr_store_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(
        struct wr_store_plugin, struct sqlite_store, WR_KIND_STORE, "sqlite", WR_VERSION,
        "Rooms' log in one SQLite file: synced before it is acknowledged, one hub a file"),
    .open = open_store,
    .close = sqlite__close,
    .append = sqlite__append,
    .history = sqlite__history,
    .top = sqlite__top,
    .rooms = sqlite__rooms,
    .trim = sqlite__trim,
    .amend = sqlite__amend,
    .load_begin = sqlite__load_begin,
    .load_room = sqlite__load_room,
    .load_entry = sqlite__load_entry,
    .load_end = sqlite__load_end,
};
