/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: the suite of its kind, and what only a file on a disk can do: be locked, damaged, full, or written
 * while the process is killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "small_disk.h"
#include "store_conformance.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static const struct wr_store_plugin *sqlite_table;

static int setup(void **state)
{
    struct test_store *t = malloc(sizeof *t);
    assert_non_null(t);
    test_store_init(t, sqlite_table);
    *state = t;
    return 0;
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int teardown(void **state)
{
    set_file_limit(RLIM_INFINITY); /* a failed test leaves nothing to the next one */
    test_store_fini(*state);
    free(*state);
    return 0;
}

static void expect_refusal(struct test_store *t, wr_err code, const char *words)
{
    struct wr_errmsg err = {{0}};
    assert_int_equal(test_store_try(t, &err), code);
    if (!strstr(err.text, words))
        fail_msg("expected '%s' in: %s", words, err.text);
}

static void write_file(const struct test_store *t, const char *name, const char *bytes, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", t->folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static wr_err try_append(struct test_store *t, struct wr_store_item *items, size_t n,
                         struct wr_errmsg *err)
{
    return t->plugin->append(t->state, items, n, err);
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static void test_second_hub_on_a_folder_is_refused(void **state)
{
    struct test_store *first = *state, second = *first;
    test_store_open(first);
    expect_refusal(&second, WR_ERR_CONFLICT, "PostgreSQL");
    test_append(first, "r", "", "1");
    test_store_close(first);
    test_store_open(&second);
    assert_int_equal(test_top(&second, "r").offset, 1);
    test_store_close(&second);
}

static void test_folder_that_is_not_there_is_named(void **state)
{
    struct test_store *t = *state;
    t->opts.path = "/proc/nowhere/hub";
    expect_refusal(t, WR_ERR_DENIED, "/proc/nowhere/hub");
}

static void test_folder_that_is_not_writable_is_named(void **state)
{
    struct test_store *t = *state;
    uid_t us = geteuid();
    assert_int_equal(chmod(t->folder, 0555), 0);
    if (us == 0)
        assert_int_equal(seteuid(NOBODY), 0); /* root may write everywhere */
    struct wr_errmsg err = {{0}};
    wr_err e = test_store_try(t, &err);
    assert_int_equal(seteuid(us), 0);
    assert_int_equal(chmod(t->folder, 0700), 0);
    assert_int_equal(e, WR_ERR_DENIED);
    assert_non_null(strstr(err.text, "writable"));
}

static void test_garbage_is_called_damaged(void **state)
{
    char garbage[8192];
    wr_random(garbage, sizeof garbage);
    write_file(*state, "room.db", garbage, sizeof garbage);
    expect_refusal(*state, WR_ERR_INTERNAL, "damaged");
}

/* What another program does to the file; the first number that the last statement gives. */
static int sql(const struct test_store *t, const char *text)
{
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *row = NULL;
    snprintf(path, sizeof path, "%s/room.db", t->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int value = 0;
    while (*text) {
        assert_int_equal(sqlite3_prepare_v2(db, text, -1, &row, &text), SQLITE_OK);
        int rc = sqlite3_step(row);
        assert_true(rc == SQLITE_DONE || rc == SQLITE_ROW);
        value = rc == SQLITE_ROW ? sqlite3_column_int(row, 0) : 0;
        assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

static void test_foreign_database_is_left_alone(void **state)
{
    struct test_store *t = *state;
    sql(t, "CREATE TABLE mine(x);INSERT INTO mine VALUES(1)");
    expect_refusal(t, WR_ERR_CONFLICT, "another program");
    assert_int_equal(sql(t, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void test_later_schema_is_refused(void **state)
{
    struct test_store *t = *state;
    test_store_open(t);
    test_store_close(t);
    sql(t, "PRAGMA user_version=99");
    expect_refusal(t, WR_ERR_CONFLICT, "later version");
}

/* What version 1 of the schema held. */
static const char to_version_1[] =
    "ALTER TABLE entries RENAME TO later; DROP INDEX entries_key;"
    "CREATE TABLE entries(room INTEGER NOT NULL, offset INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, key BLOB, info BLOB, data BLOB NOT NULL,"
    " PRIMARY KEY(room, offset)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX entries_key ON entries(room, key) WHERE key IS NOT NULL;"
    "INSERT INTO entries SELECT room, offset, kind, time_ms, key, info, data FROM later;"
    "DROP TABLE later; PRAGMA user_version=1;";

static void test_a_log_of_version_1_goes_on(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range newest = {.limit = 10, .reverse = true}, all = {.limit = 1000};
    uint64_t first, last;
    test_store_open(t);
    for (int i = 0; i < 300; i++) {
        test_append(t, "r", "", "{\"text\":\"before\"}");
        test_append(t, i % 3 ? "other" : "third", "", "1");
    }
    assert_int_equal(test_append(t, "r", "key-0001", "1"), 301);
    struct wr_store_top before = test_top(t, "r");
    test_store_close(t);
    sql(t, to_version_1);
    test_store_open(t);
    assert_string_equal(test_top(t, "r").epoch, before.epoch);
    assert_int_equal(test_page(t, "r", &all, &first, &last), 301);
    assert_true(first == 1 && last == 301);
    assert_int_equal(test_page(t, "r", &newest, &first, &last), 10);
    assert_int_equal(test_page(t, "third", &all, NULL, NULL), 100);
    assert_int_equal(test_page(t, "other", &all, NULL, NULL), 200);
    struct wr_store_item again = test_item("r", "key-0001", "2");
    struct wr_errmsg err;
    assert_int_equal(try_append(t, &again, 1, &err), WR_OK);
    assert_true(again.duplicate && again.offset == 301);
    assert_int_equal(test_append(t, "r", "", "1"), 302);
    test_store_close(t);
    assert_int_equal(sql(t, "PRAGMA user_version"), 3);
    assert_int_equal(sql(t, "SELECT count(*) FROM entries"), 602);
    assert_int_equal(sql(t, "SELECT max(offset) FROM entries WHERE room=1"), 302);
}

/* What version 2 of the schema did not have. */
static void test_a_log_of_version_2_goes_on(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 10};
    struct wr_errmsg err;
    test_store_open(t);
    assert_int_equal(test_append(t, "r", "key-0001", "{\"text\":\"before\"}"), 1);
    test_store_close(t);
    sql(t, "ALTER TABLE entries DROP COLUMN type; PRAGMA user_version=2;");
    test_store_open(t);
    struct wr_store_item it = test_item("r", "", "after");
    it.type = wr_slice_str("text/plain");
    assert_int_equal(try_append(t, &it, 1, &err), WR_OK);
    assert_int_equal(test_page(t, "r", &all, NULL, NULL), 2);
    test_store_close(t);
    assert_int_equal(sql(t, "PRAGMA user_version"), 3);
    assert_int_equal(sql(t, "SELECT count(*) FROM entries WHERE type IS NULL"), 1);
    assert_int_equal(sql(t, "SELECT count(*) FROM entries WHERE type = 'text/plain'"), 1);
}

static void test_a_log_of_before_secrets_goes_on(void **state)
{
    struct test_store *t = *state;
    test_store_open(t);
    test_append(t, "r", "", "1");
    test_store_close(t);
    /* As it was: no secret, and a row for a room that somebody only asked for. */
    sql(t, "DROP TABLE secret; UPDATE rooms SET epoch='aaaabbbb';"
           "INSERT INTO rooms(name, epoch) VALUES('asked', 'ccccdddd')");
    test_store_open(t);
    assert_string_equal(test_top(t, "r").epoch, "aaaabbbb");
    assert_string_equal(test_top(t, "asked").epoch, "ccccdddd");
    assert_int_equal(test_append(t, "r", "", "2"), 2);
    assert_int_equal(test_append(t, "asked", "", "1"), 1);
    assert_string_equal(test_top(t, "asked").epoch, "ccccdddd");
    struct wr_store_top fresh = test_top(t, "new");
    test_store_close(t);
    test_store_open(t);
    assert_string_equal(test_top(t, "new").epoch, fresh.epoch);
}

static void test_names_that_are_asked_for_leave_nothing(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 10};
    char name[32];
    test_store_open(t);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "nobody-%d", i);
        test_top(t, name);
        assert_int_equal(test_page(t, name, &all, NULL, NULL), 0);
    }
    test_store_close(t);
    assert_int_equal(sql(t, "SELECT count(*) FROM rooms"), 0);
}

static void test_what_was_amended_away_is_in_no_file_any_more(void **state)
{
    struct test_store *t = *state;
    char command[200], big[9000];
    struct wr_errmsg err = {{0}};
    memset(big, 'x', sizeof big - 1);
    memcpy(big + 4000, "not-to-be-found", 15); /* on a page of its own */
    big[sizeof big - 1] = '\0';
    test_store_open(t);
    for (int i = 0; i < 50; i++)
        test_append(t, "r", "", "{\"text\":\"around it\"}");
    test_append(t, "r", "", "{\"text\":\"not-to-be-found\"}");
    test_append(t, "r", "", big);
    struct wr_store_top top = test_top(t, "r");
    snprintf(command, sizeof command, "grep -rqa not-to-be-found %s", t->folder);
    assert_int_equal(system(command), 0);
    for (uint64_t o = 51; o <= 52; o++) {
        const struct wr_store_amend what = {
            .room = wr_slice_str("r"), .epoch = top.epoch, .offset = o, .data = wr_slice_str("{}")};
        assert_int_equal(t->plugin->amend(t->state, &what, &err), WR_OK);
    }
    test_trim_all(t);
    assert_int_not_equal(system(command), 0);
}

struct slow_writer {
    struct test_store *t;
    atomic_bool ended;
    wr_err code;
};

static void *append_slowly(void *arg)
{
    struct slow_writer *w = arg;
    struct wr_store_item it = test_item("r", "", "2");
    struct wr_errmsg err;
    w->code = try_append(w->t, &it, 1, &err);
    atomic_store(&w->ended, true);
    return NULL;
}

static void test_no_read_waits_for_the_writer(void **state)
{
    struct test_store *t = *state;
    struct slow_writer w = {.t = t};
    struct wr_store_range all = {.limit = 10};
    char file[128];
    sqlite3 *other = NULL;
    pthread_t thread;
    test_store_open(t);
    test_append(t, "r", "", "1");
    snprintf(file, sizeof file, "%s/room.db", t->folder);
    assert_int_equal(sqlite3_open(file, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(wr_thread_start(&thread, "writer", append_slowly, &w), WR_OK);
    for (int i = 0; i < 100;
         i++) { /* rooms that are cached, that are not, and that are not there */
        char name[24];
        snprintf(name, sizeof name, "nobody-%d", i);
        assert_int_equal(strlen(test_top(t, name).epoch), 8);
        assert_int_equal(test_top(t, "r").offset, 1);
        assert_int_equal(test_page(t, "r", &all, NULL, NULL), 1);
    }
    assert_false(atomic_load(&w.ended));
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    pthread_join(thread, NULL);
    assert_int_equal(w.code, WR_OK);
    assert_int_equal(test_top(t, "r").offset, 2);
    sqlite3_close(other);
}

static void test_torn_log_loses_only_its_torn_end(void **state)
{
    struct test_store *t = *state;
    char wal[128], copy[256];
    struct wr_store_range all = {.limit = 1000};
    test_store_open(t);
    for (int i = 0; i < 50; i++)
        test_append(t, "r", "", "{\"text\":\"before the power went\"}");
    /* As after a power cut: the files as they are now, the log's last page cut in the middle. */
    snprintf(copy, sizeof copy, "cp -r %s %s.cut", t->folder, t->folder);
    assert_int_equal(system(copy), 0);
    test_store_close(t);
    struct test_store cut = *t;
    strcat(cut.folder, ".cut");
    cut.opts.path = cut.folder;
    snprintf(wal, sizeof wal, "%s/room.db-wal", cut.folder);
    struct stat st;
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(truncate(wal, st.st_size - 100), 0);
    test_store_open(&cut);
    assert_int_equal(test_top(&cut, "r").offset, 49);
    assert_int_equal(test_page(&cut, "r", &all, NULL, NULL), 49);
    assert_int_equal(test_append(&cut, "r", "", "1"), 50);
    test_store_fini(&cut);
}

/* ---- a full disk ------------------------------------------------------------------------------------------------ */

static char filler[32768];

/* Fills until NO_SPACE; what was acknowledged stays, nothing of what failed does, and room() makes it work again. */
static void fill_and_recover(struct test_store *t, void (*make_room)(struct test_store *t))
{
    struct wr_errmsg err = {{0}};
    struct wr_store_range newest = {.limit = 3, .reverse = true}, all = {.limit = 1000};
    uint64_t acked = 0, last;
    wr_err e = WR_OK;
    memset(filler, 'x', sizeof filler - 1);
    test_store_open(t);
    for (int i = 0; i < 1000 && e == WR_OK; i++) {
        struct wr_store_item items[] = {test_item("r", "", filler), test_item("r", "", filler)};
        e = try_append(t, items, 2, &err);
        if (e == WR_OK)
            acked = items[1].offset;
    }
    if (e != WR_ERR_NO_SPACE)
        fail_msg("code %d: %s", (int)e, err.text);
    assert_non_null(strstr(err.text, "disk is full"));
    assert_true(acked > 0);
    /* It stays refused, and stays readable. */
    for (int i = 0; i < 5; i++) {
        struct wr_store_item items[] = {test_item("r", "", filler),
                                        test_item("new-room", "", filler)};
        assert_int_equal(try_append(t, items, 2, &err), WR_ERR_NO_SPACE);
    }
    test_trim_all(t);
    assert_int_equal(test_top(t, "r").offset, acked);
    assert_int_equal(test_page(t, "r", &newest, &last, NULL), 3);
    assert_int_equal(last, acked);
    make_room(t);
    assert_int_equal(test_append(t, "r", "", filler), acked + 1);
    assert_int_equal(test_append(t, "new-room", "", "1"), 1);
    test_store_close(t);
    test_store_open(t);
    assert_int_equal(test_top(t, "r").offset, acked + 1);
    assert_int_equal(test_page(t, "r", &all, NULL, NULL), acked + 1);
}

static void lift_file_limit(struct test_store *t)
{
    (void)t;
    set_file_limit(RLIM_INFINITY);
}

/* Needs no rights: a limit on the size of files stops the log the same way (EFBIG). */
static void test_file_size_limit_is_a_full_disk(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    set_file_limit(2 << 20);
    fill_and_recover(*state, lift_file_limit);
}

static void drop_ballast(struct test_store *t)
{
    char path[128];
    snprintf(path, sizeof path, "%s/ballast", t->folder);
    assert_int_equal(unlink(path), 0);
}

static void test_full_file_system_recovers(void **state)
{
    struct test_store *t = *state;
    small_disk_mount(t->folder, "4m");
    char *ballast = calloc(1, 1 << 20);
    assert_non_null(ballast);
    write_file(t, "ballast", ballast, 1 << 20);
    free(ballast);
    fill_and_recover(t, drop_ballast);
}

static int unmount(void **state)
{
    struct test_store *t = *state;
    test_store_close(t);
    umount(t->folder);
    return teardown(state);
}

/* ---- kill -9 ---------------------------------------------------------------------------------------------------- */

/* What the child tells after each acknowledged batch. */
struct told {
    uint64_t batch, top;
};

/* Appends batches with keys to two rooms, and tells of each that was acknowledged, until it is killed. */
static void append_for_ever(const struct test_store *from, int tell, uint64_t batch)
{
    struct test_store t = *from;
    struct wr_errmsg err;
    if (test_store_try(&t, &err) != WR_OK)
        _exit(3);
    for (;; batch++) {
        char keys[4][32];
        struct wr_store_item items[4];
        for (int i = 0; i < 4; i++) {
            snprintf(keys[i], sizeof keys[i], "%010llu-%d", (unsigned long long)batch, i);
            items[i] = test_item(i == 3 ? "other" : "r", keys[i],
                                 "{\"text\":\"acknowledged means on disk\"}");
        }
        if (try_append(&t, items, 4, &err) != WR_OK)
            _exit(4);
        struct told told = {batch, items[2].offset};
        if (write(tell, &told, sizeof told) != sizeof told)
            _exit(5);
        bool more;
        if (batch % 7 == 0 && t.plugin->trim(t.state, &more, &err) != WR_OK)
            _exit(6);
    }
}

/* Reads until the child is dead; the last batch that it told. */
static struct told last_told(int fd, struct told before)
{
    struct told told;
    while (read(fd, &told, sizeof told) == sizeof told)
        before = told;
    return before;
}

static struct told run_and_kill(struct test_store *t, struct told before, unsigned round)
{
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipe_fd[0]);
        append_for_ever(t, pipe_fd[1], before.batch + 2); /* +1 may or may not be there */
        _exit(7);
    }
    close(pipe_fd[1]);
    struct told first;
    assert_int_equal(read(pipe_fd[0], &first, sizeof first),
                     sizeof first); /* it runs: kill it anywhere from here */
    usleep(2000 + round * 1700);    /* a moment of its own in each round */
    assert_int_equal(kill(child, SIGKILL), 0);
    struct told last = last_told(pipe_fd[0], first);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    close(pipe_fd[0]);
    return last;
}

static void test_kill_loses_nothing_acknowledged(void **state)
{
    struct test_store *t = *state;
    struct told last = {0};
    for (unsigned round = 0; round < 20; round++) {
        last = run_and_kill(t, last, round);
        test_store_open(t);
        /* All of the last acknowledged batch, and at most the one after it, whole. */
        uint64_t top = test_top(t, "r").offset, first, end;
        struct wr_store_range newest = {.limit = 1000, .reverse = true};
        assert_true(top == last.top || top == last.top + 3);
        assert_int_equal(test_top(t, "other").offset, top / 3);
        assert_int_equal(test_page(t, "r", &newest, &first, &end), WR_MIN(top, (uint64_t)1000));
        assert_int_equal(first, top);
        /* A publish that is retried after the crash is the same entry. */
        char key[32];
        snprintf(key, sizeof key, "%010llu-2", (unsigned long long)last.batch);
        assert_int_equal(test_append(t, "r", key, "retried"), last.top);
        test_store_close(t);
    }
    assert_true(last.batch > 20);
}

/* ---- the log and the cache -------------------------------------------------------------------------------------- */

static off_t wal_size(const struct test_store *t)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/room.db-wal", t->folder);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void test_housekeeping_bounds_the_log(void **state)
{
    struct test_store *t = *state;
    struct wr_errmsg err;
    memset(filler, 'x', sizeof filler - 1);
    test_store_open(t);
    for (int i = 0; i < 60; i++) {
        struct wr_store_item items[16];
        bool more;
        for (int k = 0; k < 16; k++)
            items[k] = test_item("r", "", filler);
        assert_int_equal(try_append(t, items, 16, &err), WR_OK);
        assert_int_equal(t->plugin->trim(t->state, &more, &err), WR_OK);
    }
    assert_in_range(wal_size(t), 1, 20 << 20); /* 31 MB were written */
}

static void test_log_is_bounded_without_housekeeping(void **state)
{
    struct test_store *t = *state;
    memset(filler, 'x', sizeof filler - 1);
    test_store_open(t);
    for (int i = 0; i < 80; i++) {
        struct wr_store_item items[32];
        struct wr_errmsg err;
        for (int k = 0; k < 32; k++)
            items[k] = test_item("r", "", filler);
        assert_int_equal(try_append(t, items, 32, &err), WR_OK);
    }
    assert_in_range(wal_size(t), 1, 70 << 20); /* 84 MB were written */
}

/* A reader held it up, so that it grew; when he has gone, housekeeping gives the disk back. */
static void test_a_log_that_grew_is_cut(void **state)
{
    struct test_store *t = *state;
    struct wr_errmsg err;
    char path[128];
    sqlite3 *db;
    bool more;
    memset(filler, 'x', sizeof filler - 1);
    test_store_open(t);
    test_append(t, "r", "", "1");
    snprintf(path, sizeof path, "%s/room.db", t->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM rooms", NULL, NULL, NULL),
                     SQLITE_OK);
    for (int i = 0; i < 60; i++) {
        struct wr_store_item items[16];
        for (int k = 0; k < 16; k++)
            items[k] = test_item("r", "", filler);
        assert_int_equal(try_append(t, items, 16, &err), WR_OK);
        assert_int_equal(t->plugin->trim(t->state, &more, &err), WR_OK);
    }
    assert_true(wal_size(t) > 20 << 20);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    /* A line more makes housekeeping look again; it needs a step for each of its affairs. */
    for (int i = 0; i < 300 && wal_size(t) > 2 << 20; i++) {
        struct wr_store_item items[16];
        for (int k = 0; k < 16; k++)
            items[k] = test_item("r", "", filler);
        assert_int_equal(try_append(t, items, 16, &err), WR_OK);
        assert_int_equal(t->plugin->trim(t->state, &more, &err), WR_OK);
    }
    assert_in_range(wal_size(t), 0, 2 << 20);
}

/* Nothing is acknowledged into a file that nobody finds again; what is put back works on. */
static void test_a_folder_that_was_taken_away_is_noticed(void **state)
{
    struct test_store *t = *state;
    struct wr_errmsg err = {{0}};
    char away[160], log[160], gone[160];
    bool more;
    test_store_open(t);
    test_append(t, "r", "", "1");
    snprintf(away, sizeof away, "%s-away", t->folder);
    assert_int_equal(rename(t->folder, away), 0);
    struct wr_store_item it = test_item("r", "", "2");
    assert_int_equal(try_append(t, &it, 1, &err), WR_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "removed, moved or replaced"));
    assert_int_equal(t->plugin->trim(t->state, &more, &err), WR_ERR_UNAVAILABLE);
    assert_int_equal(rename(away, t->folder), 0);
    assert_int_equal(test_append(t, "r", "", "2"), 2);
    snprintf(log, sizeof log, "%s/room.db-wal", t->folder);
    snprintf(gone, sizeof gone, "%s/gone", t->folder);
    assert_int_equal(rename(log, gone), 0);
    write_file(t, "room.db-wal", "another", 7);
    assert_int_equal(try_append(t, &it, 1, &err), WR_ERR_UNAVAILABLE);
    assert_int_equal(rename(gone, log), 0);
    assert_int_equal(test_append(t, "r", "", "3"), 3);
}

/* The others of its batch are stored. */
static void test_an_item_fails_alone(void **state)
{
    struct test_store *t = *state;
    struct wr_errmsg err = {{0}};
    test_store_open(t);
    test_append(t, "full", "", "1");
    test_store_close(t);
    sql(t, "UPDATE rooms SET top = (1 << 38) - 2 WHERE name = 'full'");
    test_store_open(t);
    struct wr_store_item items[] = {test_item("a", "", "1"), test_item("full", "", "2"),
                                    test_item("b", "", "3"), test_item("a", "", "4")};
    assert_int_equal(try_append(t, items, 4, &err), WR_OK);
    assert_int_equal(items[0].code, WR_OK);
    assert_int_equal(items[1].code, WR_ERR_NO_SPACE);
    assert_int_equal(items[2].code, WR_OK);
    assert_int_equal(items[3].offset, 2);
    assert_int_equal(test_top(t, "b").offset, 1);
}

static void test_a_busy_room_is_trimmed_while_it_is_written(void **state)
{
    struct test_store *t = *state;
    struct wr_store_range all = {.limit = 5000};
    struct wr_errmsg err;
    t->opts.keep.count = 200;
    test_store_open(t);
    for (int i = 0; i < 300; i++) {
        struct wr_store_item items[10];
        bool more;
        for (int k = 0; k < 10; k++)
            items[k] = test_item("r", "", "1");
        assert_int_equal(try_append(t, items, 10, &err), WR_OK);
        assert_int_equal(t->plugin->trim(t->state, &more, &err), WR_OK);
    }
    assert_in_range(test_page(t, "r", &all, NULL, NULL), 200, 200 + 200 / 8 + 64 + 20);
    assert_int_equal(test_top(t, "r").offset, 3000);
}

static void test_more_rooms_than_are_cached(void **state)
{
    struct test_store *t = *state;
    enum { BATCH = 500, ROOMS = 70000 };
    static struct wr_store_item items[BATCH];
    static char names[BATCH][24];
    struct wr_errmsg err;
    test_store_open(t);
    for (int at = 0; at < ROOMS; at += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            snprintf(names[i], sizeof names[i], "room-%d", at + i);
            items[i] = test_item(names[i], "", "1");
        }
        assert_int_equal(try_append(t, items, BATCH, &err), WR_OK);
    }
    assert_int_equal(test_append(t, "room-0", "", "1"), 2);
    assert_int_equal(test_append(t, "room-69999", "", "1"), 2);
    assert_int_equal(test_top(t, "room-33").offset, 1);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLAIM(test_second_hub_on_a_folder_is_refused),
        CLAIM(test_folder_that_is_not_there_is_named),
        CLAIM(test_folder_that_is_not_writable_is_named),
        CLAIM(test_garbage_is_called_damaged),
        CLAIM(test_foreign_database_is_left_alone),
        CLAIM(test_later_schema_is_refused),
        CLAIM(test_a_log_of_version_1_goes_on),
        CLAIM(test_a_log_of_version_2_goes_on),
        CLAIM(test_a_log_of_before_secrets_goes_on),
        CLAIM(test_names_that_are_asked_for_leave_nothing),
        CLAIM(test_what_was_amended_away_is_in_no_file_any_more),
        CLAIM(test_no_read_waits_for_the_writer),
        CLAIM(test_torn_log_loses_only_its_torn_end),
        CLAIM(test_file_size_limit_is_a_full_disk),
        cmocka_unit_test_setup_teardown(test_full_file_system_recovers, setup, unmount),
        CLAIM(test_kill_loses_nothing_acknowledged),
        CLAIM(test_housekeeping_bounds_the_log),
        CLAIM(test_log_is_bounded_without_housekeeping),
        CLAIM(test_a_log_that_grew_is_cut),
        CLAIM(test_a_folder_that_was_taken_away_is_noticed),
        CLAIM(test_an_item_fails_alone),
        CLAIM(test_a_busy_room_is_trimmed_while_it_is_written),
        CLAIM(test_more_rooms_than_are_cached),
    };
    sqlite_table = test_plugin("store_sqlite");
    int failed = cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
    return failed + store_conformance("store_sqlite", STORE_KEEPS | STORE_DURABLE) ? 1 : 0;
}
