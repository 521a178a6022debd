/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: what SQLite's errors are to the hub, in sentences that name the file. */
#include "store_sqlite_priv.h"

#include <errno.h>
#include <unistd.h>

bool sqlite__is_full_errno(int e)
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

wr_err sqlite__fail(const struct sqlite_store *s, sqlite3 *db, int rc, struct wr_errmsg *err)
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
        if (sqlite__is_full_errno(os)) {
            wr_errmsg_set(err,
                          "%s: the disk is full (%s): free some space, the hub goes on by itself",
                          file, strerror(os));
            return WR_ERR_NO_SPACE;
        }
        wr_errmsg_set(err, "%s: %s%s%s: look at the disk and at the kernel's log", file,
                      sqlite3_errstr(rc), os ? ": " : "", os ? strerror(os) : "");
        return WR_ERR_UNAVAILABLE;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        wr_errmsg_set(
            err,
            "%s: not writable for user %d: change the owner or the mode of the file and its folder",
            file, (int)geteuid());
        return WR_ERR_UNAVAILABLE; /* DENIED would say of the client that he may not */
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
    case SQLITE_TOOBIG: /* ours: no row of the log is large */
        wr_errmsg_set(err,
                      "%s: its numbers are used up (2^%d rooms, or 2^%d entries of one): move it "
                      "away to start empty",
                      file, 63 - OFFSET_BITS, OFFSET_BITS);
        return WR_ERR_NO_SPACE;
    default:
        wr_errmsg_set(err, "%s: %s (SQLite error %d)", file,
                      db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc);
        return WR_ERR_INTERNAL;
    }
}
