/* SPDX-License-Identifier: MIT
 *
 * The gathered log over a file in memory that counts and fails as told, and over a real one with SQLite on top. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "store_sqlite_gather.h"
#include "wr_base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 24, PAGE = 2048, FRAME = HEAD + PAGE, MEMORY = 4 << 20, MOST_BYTES = 0x1ffff };

/* ---- the VFS below ------------------------------------------------------------------------------------------------ */

static struct {
    char bytes[MEMORY];
    sqlite3_int64 size, synced;
    unsigned writes, closed;
    int fail; /* what writes return, SQLITE_OK = they work */
} mem;

static int mem_close(sqlite3_file *f)
{
    (void)f;
    mem.closed++;
    return SQLITE_OK;
}

static int mem_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    (void)f;
    memset(to, 0, (size_t)n);
    if (at >= mem.size)
        return SQLITE_IOERR_SHORT_READ;
    memcpy(to, mem.bytes + at, (size_t)WR_MIN((sqlite3_int64)n, mem.size - at));
    return at + n > mem.size ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int mem_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    (void)f;
    if (mem.fail)
        return mem.fail;
    assert_in_range(n, 1, MOST_BYTES);
    assert_true(at + n <= MEMORY);
    memcpy(mem.bytes + at, from, (size_t)n);
    mem.size = WR_MAX(mem.size, at + n);
    mem.writes++;
    return SQLITE_OK;
}

static int mem_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    (void)f;
    mem.size = WR_MIN(mem.size, size);
    memset(mem.bytes + mem.size, 0, (size_t)(MEMORY - mem.size));
    return SQLITE_OK;
}

static int mem_sync(sqlite3_file *f, int flags)
{
    (void)f;
    (void)flags;
    mem.synced = mem.size;
    return SQLITE_OK;
}

static int mem_size(sqlite3_file *f, sqlite3_int64 *size)
{
    (void)f;
    *size = mem.size;
    return SQLITE_OK;
}

static int mem_control(sqlite3_file *f, int op, void *arg)
{
    (void)f;
    *(int *)arg = op;
    return SQLITE_OK;
}

static const sqlite3_io_methods mem_methods = {.iVersion = 1,
                                               .xClose = mem_close,
                                               .xRead = mem_read,
                                               .xWrite = mem_write,
                                               .xTruncate = mem_truncate,
                                               .xSync = mem_sync,
                                               .xFileSize = mem_size,
                                               .xFileControl = mem_control};

static int mem_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)vfs;
    (void)out;
    f->pMethods = name ? &mem_methods : NULL;
    return name && flags ? SQLITE_OK : SQLITE_CANTOPEN;
}

static sqlite3_vfs mem_vfs = {
    .iVersion = 1, .szOsFile = sizeof(sqlite3_file), .zName = "mem", .xOpen = mem_open};

/* ---- a log over it ------------------------------------------------------------------------------------------------ */

static struct gather_vfs gather;
static sqlite3_file *log_file;

static int setup(void **state)
{
    (void)state;
    memset(&mem, 0, sizeof mem);
    gather__init(&gather, "gather-test", &mem_vfs);
    log_file = calloc(1, (size_t)gather.vfs.szOsFile);
    assert_non_null(log_file);
    return gather.vfs.xOpen(&gather.vfs, "x-wal", log_file, SQLITE_OPEN_WAL, NULL);
}

static int teardown(void **state)
{
    (void)state;
    if (log_file->pMethods)
        log_file->pMethods->xClose(log_file);
    free(log_file);
    return 0;
}

static int put(const void *bytes, int n, sqlite3_int64 at)
{
    return log_file->pMethods->xWrite(log_file, bytes, n, at);
}

/* Writes frame number `i` as SQLite does; `commit` is the size of the database, 0 = more frames follow. */
static int put_frame(int i, int commit)
{
    char head[HEAD] = {0}, page[PAGE];
    sqlite3_int64 at = 32 + (sqlite3_int64)i * FRAME;
    head[3] = (char)i;
    head[7] = (char)commit;
    memset(page, 'a' + i % 26, sizeof page);
    int rc = put(head, HEAD, at);
    return rc == SQLITE_OK ? put(page, PAGE, at + HEAD) : rc;
}

static char byte_of(int frame)
{
    return mem.bytes[32 + (sqlite3_int64)frame * FRAME + HEAD];
}

static void test_a_transaction_is_one_write(void **state)
{
    (void)state;
    char head[32] = "head of the log";
    assert_int_equal(put(head, 32, 0), SQLITE_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(put_frame(i, 0), SQLITE_OK);
    assert_int_equal(mem.writes, 0);
    assert_int_equal(put_frame(20, 1), SQLITE_OK);
    assert_int_equal(mem.writes, 1); /* readers are told next, with a sync or without */
    assert_int_equal(mem.size, 32 + 21 * FRAME);
    assert_string_equal(mem.bytes, head);
    for (int i = 0; i <= 20; i++)
        assert_int_equal(byte_of(i), 'a' + i);
}

static void test_a_large_transaction_leaves_in_pieces_that_the_unix_vfs_takes(void **state)
{
    (void)state;
    enum { FRAMES = 400 }; /* mem_write refuses what is too long */
    for (int i = 0; i < FRAMES; i++)
        assert_int_equal(put_frame(i, i == FRAMES - 1), SQLITE_OK);
    assert_in_range(mem.writes, 1, FRAMES * FRAME / GATHER_BYTES + 2);
    for (int i = 0; i < FRAMES; i++)
        assert_int_equal(byte_of(i), 'a' + i % 26);
}

static void test_whoever_looks_sees_all(void **state)
{
    (void)state;
    char page[PAGE];
    sqlite3_int64 size = 0;
    assert_int_equal(put_frame(0, 0), SQLITE_OK);
    assert_int_equal(log_file->pMethods->xRead(log_file, page, PAGE, 32 + HEAD), SQLITE_OK);
    assert_int_equal(page[PAGE - 1], 'a');
    assert_int_equal(put_frame(1, 0), SQLITE_OK);
    assert_int_equal(log_file->pMethods->xFileSize(log_file, &size), SQLITE_OK);
    assert_int_equal(size, 32 + 2 * FRAME);
    assert_int_equal(put_frame(2, 0), SQLITE_OK);
    assert_int_equal(log_file->pMethods->xSync(log_file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_int_equal(mem.synced, 32 + 3 * FRAME);
    assert_int_equal(put_frame(3, 0), SQLITE_OK);
    assert_int_equal(log_file->pMethods->xTruncate(log_file, 32 + 2 * FRAME), SQLITE_OK);
    assert_int_equal(mem.size, 32 + 2 * FRAME);
    assert_int_equal(log_file->pMethods->xFileControl(log_file, 77, page), SQLITE_OK);
    assert_int_equal(*(int *)page, 77);
}

static void test_a_write_elsewhere_keeps_the_order(void **state)
{
    (void)state;
    assert_int_equal(put_frame(0, 0), SQLITE_OK);
    assert_int_equal(put_frame(1, 0), SQLITE_OK);
    assert_int_equal(put("new", 3, 32 + HEAD), SQLITE_OK); /* as SQLite mends a sum */
    assert_int_equal(mem.writes, 1);
    assert_int_equal(log_file->pMethods->xSync(log_file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_memory_equal(mem.bytes + 32 + HEAD, "newaaa", 6);
    assert_int_equal(byte_of(1), 'b');
}

static void test_a_commit_meets_its_own_error(void **state)
{
    (void)state;
    assert_int_equal(put_frame(0, 1), SQLITE_OK);
    assert_int_equal(put_frame(1, 0), SQLITE_OK);
    mem.fail = SQLITE_FULL;
    assert_int_equal(put_frame(2, 1), SQLITE_FULL);
    assert_int_equal(mem.size, 32 + FRAME);
    mem.fail = SQLITE_OK; /* the next transaction, in the same place */
    assert_int_equal(put_frame(1, 1), SQLITE_OK);
    assert_int_equal(byte_of(1), 'b');
    assert_int_equal(mem.size, 32 + 2 * FRAME);
}

static void test_what_lies_behind_a_hole_is_refused(void **state)
{
    (void)state;
    char page[PAGE];
    assert_int_equal(put_frame(0, 1), SQLITE_OK);
    assert_int_equal(put_frame(1, 0), SQLITE_OK);
    mem.fail = SQLITE_IOERR_WRITE; /* met by a read, within the transaction */
    assert_int_equal(log_file->pMethods->xRead(log_file, page, PAGE, 32 + HEAD),
                     SQLITE_IOERR_WRITE);
    mem.fail = SQLITE_OK;
    assert_int_equal(put_frame(2, 1), SQLITE_IOERR_WRITE);
    assert_int_equal(log_file->pMethods->xRead(log_file, page, PAGE, 32 + FRAME + HEAD),
                     SQLITE_IOERR_WRITE);
    assert_int_equal(log_file->pMethods->xRead(log_file, page, PAGE, 32 + HEAD), SQLITE_OK);
    assert_int_equal(mem.size, 32 + FRAME);
    assert_int_equal(put_frame(1, 1), SQLITE_OK);
    assert_int_equal(put_frame(2, 1), SQLITE_OK);
    assert_int_equal(byte_of(2), 'c');
}

static void test_what_no_commit_ended_is_dropped_with_the_file(void **state)
{
    (void)state;
    assert_int_equal(put_frame(0, 0), SQLITE_OK);
    assert_int_equal(log_file->pMethods->xClose(log_file), SQLITE_OK);
    log_file->pMethods = NULL;
    assert_int_equal(mem.closed, 1);
    assert_int_equal(mem.writes, 0);
}

static void test_other_files_are_those_below(void **state)
{
    (void)state;
    sqlite3_file *f = calloc(1, (size_t)gather.vfs.szOsFile);
    assert_non_null(f);
    assert_int_equal(gather.vfs.xOpen(&gather.vfs, "x", f, SQLITE_OPEN_MAIN_DB, NULL), SQLITE_OK);
    assert_ptr_equal(f->pMethods, &mem_methods);
    assert_int_equal(gather.vfs.xOpen(&gather.vfs, NULL, f, SQLITE_OPEN_WAL, NULL),
                     SQLITE_CANTOPEN);
    assert_null(f->pMethods);
    free(f);
}

/* ---- with SQLite on top ------------------------------------------------------------------------------------------- */

static void run(sqlite3 *db, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
}

static void expect(sqlite3 *db, const char *sql, const char *value)
{
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), value);
    assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
}

#define FILL(from, to)                                                                          \
    "WITH RECURSIVE n(i) AS (SELECT " #from " UNION ALL SELECT i + 1 FROM n WHERE i < " #to ")" \
    " INSERT INTO t SELECT i, randomblob(500) FROM n;"

/* Another program reads along by SQLite's own VFS: it sees each commit at once, synced or not, whether the transaction
 * fitted the cache or not, and nothing of one that was rolled back. */
static void test_another_program_sees_each_commit(void **state)
{
    (void)state;
    char folder[] = "/tmp/wr-gather-XXXXXX", path[64], sql[128];
    sqlite3 *writer, *reader;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.db", folder);
    const char *vfs = gather__take();
    assert_non_null(vfs);
    assert_ptr_equal(gather__take(), vfs);
    assert_int_equal(
        sqlite3_open_v2(path, &writer, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs), SQLITE_OK);
    run(writer, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA cache_size=10;"
                "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(i INTEGER PRIMARY KEY, b BLOB)");
    assert_int_equal(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    const char *const synced[] = {"PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"};
    for (int i = 0; i < 2; i++) {
        run(writer, synced[i]);
        run(writer, "BEGIN IMMEDIATE; DELETE FROM t;" FILL(1, 1000) "COMMIT");
        expect(reader, "SELECT count(*) FROM t", "1000");
        run(writer, "INSERT INTO t VALUES(2000, 'one')");
        expect(reader, "SELECT b FROM t WHERE i = 2000", "one");
        run(writer, "BEGIN IMMEDIATE; SAVEPOINT s;" FILL(
                        3000, 3500) "ROLLBACK TO s;"
                                    "UPDATE t SET b = 'two' WHERE i = 2000; COMMIT");
        expect(reader, "SELECT count(*) || b FROM t WHERE i >= 2000", "1two");
        run(writer, "BEGIN IMMEDIATE;" FILL(4000, 4500) "ROLLBACK");
        expect(reader, "SELECT max(i) FROM t", "2000");
        run(writer, "PRAGMA wal_checkpoint(RESTART)");
    }
    expect(reader, "PRAGMA integrity_check", "ok");
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    assert_int_equal(sqlite3_close(writer), SQLITE_OK);
    gather__give();
    assert_non_null(sqlite3_vfs_find("watchroom-gather"));
    gather__give();
    assert_null(sqlite3_vfs_find("watchroom-gather"));
    snprintf(sql, sizeof sql, "%s-wal", path);
    unlink(sql);
    snprintf(sql, sizeof sql, "%s-shm", path);
    unlink(sql);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLAIM(test_a_transaction_is_one_write),
        CLAIM(test_a_large_transaction_leaves_in_pieces_that_the_unix_vfs_takes),
        CLAIM(test_whoever_looks_sees_all),
        CLAIM(test_a_write_elsewhere_keeps_the_order),
        CLAIM(test_a_commit_meets_its_own_error),
        CLAIM(test_what_lies_behind_a_hole_is_refused),
        CLAIM(test_what_no_commit_ended_is_dropped_with_the_file),
        CLAIM(test_other_files_are_those_below),
        cmocka_unit_test(test_another_program_sees_each_commit),
    };
    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
