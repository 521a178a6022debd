/* SPDX-License-Identifier: MIT
 *
 * Gathers the writes to a write-ahead log: see the header. A file here is a small struct in front of the file below. */
#include "store_sqlite_gather.h"

#include "wr_base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_HEAD_BYTES = 24 }; /* https://www.sqlite.org/fileformat.html#walformat */

struct log_file {
    sqlite3_file base;
    sqlite3_file *below; /* behind this struct, in the memory that SQLite gave */
    char *buffer;        /* made by the first write: readers' files have none */
    int used;
    sqlite3_int64 at; /* in the file, of the buffer's first byte */
    bool commits;     /* the frame whose head came last ends a transaction */
    /* What was gathered could not be written, from here on; -1 = nothing. Whatever lies behind a hole is refused, so that
     * its transaction cannot end well; the next one begins at or in front of it. */
    sqlite3_int64 hole;
    int hole_rc;
};

static struct log_file *log_of(sqlite3_file *f)
{
    return (struct log_file *)f;
}

static int write_out(struct log_file *f)
{
    if (f->used == 0)
        return SQLITE_OK;
    int rc = f->below->pMethods->xWrite(f->below, f->buffer, f->used, f->at);
    if (rc != SQLITE_OK) {
        f->hole = f->at;
        f->hole_rc = rc;
    }
    f->used = 0;
    return rc;
}

static int log_close(sqlite3_file *file)
{
    struct log_file *f = log_of(file);
    /* No commit waits here (log_write), and what is not committed nobody misses. */
    free(f->buffer);
    f->buffer = NULL;
    return f->below->pMethods->xClose(f->below);
}

static int log_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    struct log_file *f = log_of(file);
    int rc = write_out(f);
    if (rc == SQLITE_OK && f->hole >= 0 && at + n > f->hole)
        rc = f->hole_rc;
    return rc == SQLITE_OK ? f->below->pMethods->xRead(f->below, to, n, at) : rc;
}

/* The head of a frame says in its second word how large the database is, if the frame is a transaction's last. */
static bool is_commit_head(const void *bytes, int n)
{
    static const char zero[4];
    return n == FRAME_HEAD_BYTES && memcmp((const char *)bytes + 4, zero, sizeof zero) != 0;
}

static bool fits(const struct log_file *f, int n, sqlite3_int64 at)
{
    return at == f->at + f->used && n <= GATHER_BYTES - f->used;
}

static int log_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
    struct log_file *f = log_of(file);
    bool last = f->commits && n != FRAME_HEAD_BYTES;
    int rc = f->used && !fits(f, n, at) ? write_out(f) : SQLITE_OK;
    if (rc != SQLITE_OK)
        return rc;
    if (f->hole >= 0 && at > f->hole)
        return f->hole_rc;
    f->hole = -1;
    f->commits = is_commit_head(bytes, n);
    if (!f->buffer)
        f->buffer = malloc(GATHER_BYTES);
    if (!f->buffer || n > GATHER_BYTES)
        return f->below->pMethods->xWrite(f->below, bytes, n, at);
    if (f->used == 0)
        f->at = at;
    memcpy(f->buffer + f->used, bytes, (size_t)n);
    f->used += n;
    return last ? write_out(f) : SQLITE_OK;
}

static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct log_file *f = log_of(file);
    int rc = write_out(f);
    return rc == SQLITE_OK ? f->below->pMethods->xTruncate(f->below, size) : rc;
}

static int log_sync(sqlite3_file *file, int flags)
{
    struct log_file *f = log_of(file);
    int rc = write_out(f);
    return rc == SQLITE_OK ? f->below->pMethods->xSync(f->below, flags) : rc;
}

static int log_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct log_file *f = log_of(file);
    int rc = write_out(f);
    return rc == SQLITE_OK ? f->below->pMethods->xFileSize(f->below, size) : rc;
}

static int log_lock(sqlite3_file *file, int level)
{
    struct log_file *f = log_of(file);
    return f->below->pMethods->xLock(f->below, level);
}

static int log_unlock(sqlite3_file *file, int level)
{
    struct log_file *f = log_of(file);
    return f->below->pMethods->xUnlock(f->below, level);
}

static int log_check_reserved_lock(sqlite3_file *file, int *locked)
{
    struct log_file *f = log_of(file);
    return f->below->pMethods->xCheckReservedLock(f->below, locked);
}

static int log_file_control(sqlite3_file *file, int op, void *arg)
{
    struct log_file *f = log_of(file);
    return f->below->pMethods->xFileControl(f->below, op, arg);
}

static int log_sector_size(sqlite3_file *file)
{
    struct log_file *f = log_of(file);
    return f->below->pMethods->xSectorSize(f->below);
}

static int log_device_characteristics(sqlite3_file *file)
{
    struct log_file *f = log_of(file);
    return f->below->pMethods->xDeviceCharacteristics(f->below);
}

/* Version 1: shared memory and mapping are for the database, never for its log. */
static const sqlite3_io_methods log_methods = {
    .iVersion = 1,
    .xClose = log_close,
    .xRead = log_read,
    .xWrite = log_write,
    .xTruncate = log_truncate,
    .xSync = log_sync,
    .xFileSize = log_file_size,
    .xLock = log_lock,
    .xUnlock = log_unlock,
    .xCheckReservedLock = log_check_reserved_lock,
    .xFileControl = log_file_control,
    .xSectorSize = log_sector_size,
    .xDeviceCharacteristics = log_device_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *out_flags)
{
    sqlite3_vfs *below = ((struct gather_vfs *)vfs)->below;
    if (!(flags & SQLITE_OPEN_WAL))
        return below->xOpen(below, name, file, flags, out_flags);
    struct log_file *f = log_of(file);
    *f = (struct log_file){.below = (sqlite3_file *)(f + 1), .hole = -1};
    int rc = below->xOpen(below, name, f->below, flags, out_flags);
    if (f->below->pMethods) /* set even after some errors: then SQLite closes it */
        f->base.pMethods = &log_methods;
    return rc;
}

void gather__init(struct gather_vfs *g, const char *name, sqlite3_vfs *below)
{
    /* The methods that open no file are those below: they take what they need from the copy. */
    *g = (struct gather_vfs){.vfs = *below, .below = below};
    g->vfs.pNext = NULL;
    g->vfs.zName = name;
    g->vfs.szOsFile = (int)sizeof(struct log_file) + below->szOsFile;
    g->vfs.xOpen = vfs_open;
}

/* ---- the process's own ------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static struct gather_vfs shared;
static unsigned users;

const char *gather__take(void)
{
    const char *name = NULL;
    pthread_mutex_lock(&lock);
    sqlite3_vfs *below = users ? NULL : sqlite3_vfs_find(NULL);
    if (below) {
        gather__init(&shared, "watchroom-gather", below);
        if (sqlite3_vfs_register(&shared.vfs, 0) == SQLITE_OK)
            users = 1;
    } else if (users) {
        users++;
    }
    if (users)
        name = shared.vfs.zName;
    pthread_mutex_unlock(&lock);
    return name;
}

void gather__give(void)
{
    pthread_mutex_lock(&lock);
    if (--users == 0)
        sqlite3_vfs_unregister(&shared.vfs);
    pthread_mutex_unlock(&lock);
}
