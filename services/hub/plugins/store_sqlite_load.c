/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: a backup is put back. It is loaded into a file beside the log, in one transaction, and takes the log's
 * place when all of it is there and on the disk. A killed process leaves the log that was, and a file that the next one
 * removes. */
#include "store_sqlite_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char loading[] = "restore.db";

static wr_err fail_file(const char *file, struct wr_errmsg *err)
{
    int e = errno;
    wr_errmsg_set(err, "%s: %s", file, strerror(e));
    return sqlite__is_full_errno(e) ? WR_ERR_NO_SPACE : wr_err_from_errno(e);
}

static void remove_beside(const char *file, const char *suffix)
{
    char path[PATH_MAX + 16];
    if (snprintf(path, sizeof path, "%s%s", file, suffix) < (int)sizeof path)
        unlink(path);
}

static void remove_db(const char *file)
{
    remove_beside(file, "-journal");
    remove_beside(file, "-wal");
    remove_beside(file, "-shm");
    unlink(file);
}

/* No journal and no sync on the way: until the end nobody needs what is in the file. */
static wr_err open_new(struct sqlite_store *s, struct wr_errmsg *err)
{
    remove_db(s->file);
    int rc = sqlite__open_db(s, &s->db);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db,
                          "PRAGMA page_size=2048; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                          "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-16000",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite__make_tables(s->db, 0);
    if (rc == SQLITE_OK)
        rc = sqlite__take_secret(s);
    if (rc == SQLITE_OK)
        rc = sqlite__prepare_writer(s);
    if (rc == SQLITE_OK)
        rc = sqlite__run(s->stmt[W_BEGIN]);
    return rc == SQLITE_OK ? WR_OK : sqlite__fail(s, s->db, rc, err);
}

wr_err sqlite__load_begin(void *state, const struct wr_store_opts *opts, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    sqlite__begin_state(s, opts);
    wr_err e = sqlite__name_file(s, opts->path, loading, err);
    if (e == WR_OK)
        e = sqlite__take_lock(s, opts->path, err);
    if (e == WR_OK)
        e = open_new(s, err);
    if (e != WR_OK) {
        bool ours = s->db != NULL;
        sqlite__close(s);
        if (ours)
            remove_db(s->file);
    }
    return e;
}

/* The room's oldest entry, as housekeeping counts it. */
static int set_first(struct sqlite_store *s, uint64_t first)
{
    sqlite3_stmt *st = s->stmt[W_ROOM_FIRST];
    sqlite3_bind_int64(st, 1, s->load_room);
    sqlite3_bind_int64(st, 2, (int64_t)first);
    return sqlite__run(st);
}

wr_err sqlite__load_room(void *state, struct wr_slice room, const struct wr_store_top *top,
                         struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    sqlite3_stmt *st = s->stmt[W_ROOM_LOAD];
    char epoch[9];
    if (top->offset >= OFFSET_MAX)
        return sqlite__fail(s, NULL, SQLITE_TOOBIG, err);
    store_epoch_of(s->secret, room, epoch);
    sqlite__bind_text(st, 1, room);
    sqlite__bind_text(st, 2, wr_slice_str(epoch));
    sqlite3_bind_int64(st, 3, (int64_t)top->offset);
    sqlite3_bind_int64(st, 4, (int64_t)top->offset + 1);
    sqlite3_bind_int64(st, 5, top->last_time_ms);
    int rc = sqlite__run(st);
    if (rc == SQLITE_CONSTRAINT_UNIQUE) {
        wr_errmsg_set(err, "the room %.*s is in it twice", (int)WR_MIN(room.n, (size_t)100),
                      (const char *)room.p);
        return WR_ERR_INVALID;
    }
    s->load_room = sqlite3_last_insert_rowid(s->db);
    s->load_top = top->offset;
    s->load_last = 0;
    return rc == SQLITE_OK ? WR_OK : sqlite__fail(s, s->db, rc, err);
}

static int drop_before(struct sqlite_store *s, uint64_t offset)
{
    sqlite3_stmt *st = s->stmt[W_DROP];
    sqlite3_bind_int64(st, 1, sqlite__entry_id(s->load_room, 0));
    sqlite3_bind_int64(st, 2, sqlite__entry_id(s->load_room, offset - 1));
    return sqlite__run(st);
}

wr_err sqlite__load_entry(void *state, const struct wr_store_entry *e, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    sqlite3_stmt *st = s->stmt[W_INSERT];
    int rc = SQLITE_OK;
    if (e->offset <= s->load_last || e->offset > s->load_top) {
        wr_errmsg_set(err, "entry %llu is not behind entry %llu, or above the room's newest, %llu",
                      (unsigned long long)e->offset, (unsigned long long)s->load_last,
                      (unsigned long long)s->load_top);
        return WR_ERR_INVALID;
    }
    if (e->offset != s->load_last + 1 && s->load_last)
        rc = drop_before(s, e->offset);
    if (rc == SQLITE_OK && e->offset != s->load_last + 1)
        rc = set_first(s, e->offset);
    else if (rc == SQLITE_OK && s->load_last == 0)
        rc = set_first(s, 1);
    if (rc == SQLITE_OK) {
        const struct wr_store_item it = {.kind = e->kind,
                                         .time_ms = e->time_ms,
                                         .key = e->key,
                                         .info = e->info,
                                         .type = e->type,
                                         .data = e->data};
        sqlite__bind_entry(st, sqlite__entry_id(s->load_room, e->offset), &it);
        rc = sqlite__run(st);
    }
    if (rc == SQLITE_OK && sqlite3_changes(s->db) == 0) {
        wr_errmsg_set(err, "entry %llu has the key of an earlier one",
                      (unsigned long long)e->offset);
        return WR_ERR_INVALID;
    }
    s->load_last = e->offset;
    return rc == SQLITE_OK ? WR_OK : sqlite__fail(s, s->db, rc, err);
}

static wr_err sync_path(const char *path, int flags, struct wr_errmsg *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    wr_err e = fd < 0 || fsync(fd) != 0 ? fail_file(path, err) : WR_OK;
    if (fd >= 0)
        close(fd);
    return e;
}

/* What is only in the old log's write-ahead log goes into the log itself, so that a process that is killed before the new
 * one is in its place leaves all of the old one. A damaged one is left as it is. */
static void fold_old(const char *file)
{
    sqlite3 *db = NULL;
    if (access(file, F_OK) == 0 &&
        sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_close(db);
}

/* The new log in the place of the old one. */
static wr_err take_place(const char *folder, const char *made, struct wr_errmsg *err)
{
    char log[PATH_MAX + 16];
    snprintf(log, sizeof log, "%s/room.db", folder);
    wr_err e = sync_path(made, O_RDWR, err);
    if (e != WR_OK)
        return e;
    fold_old(log);
    remove_beside(log, "-wal"); /* SQLite would play it into the new log */
    remove_beside(log, "-shm");
    if (rename(made, log) != 0)
        return fail_file(made, err);
    return sync_path(folder, O_RDONLY | O_DIRECTORY, err);
}

wr_err sqlite__load_end(void *state, bool keep, struct wr_errmsg *err)
{
    struct sqlite_store *s = state;
    wr_err e = WR_OK;
    int rc = keep ? sqlite__run(s->stmt[W_COMMIT]) : SQLITE_OK;
    if (rc == SQLITE_OK && keep)
        rc = sqlite3_exec(s->db, "PRAGMA locking_mode=NORMAL; PRAGMA journal_mode=WAL", NULL, NULL,
                          NULL);
    if (rc != SQLITE_OK)
        e = sqlite__fail(s, s->db, rc, err);
    /* Its memory stays; the lock goes last. */
    int lock = s->lock_fd;
    s->lock_fd = -1;
    sqlite__close(s);
    if (keep && e == WR_OK)
        e = take_place(s->opts.path, s->file, err);
    if (!keep || e != WR_OK)
        remove_db(s->file);
    close(lock);
    return e;
}
