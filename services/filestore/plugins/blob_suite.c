/* SPDX-License-Identifier: MIT
 *
 * The conformance suite of blob plugins: claims of wr_blob.h, one function each. */
#include "blob_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wr_id.h"
#include "wr_plugins.h"

struct fixture {
    const struct wr_blob_plugin *p;
    void *state;
    const char *folder;
    struct wr_errmsg err;
};

static void start(struct fixture *f)
{
    f->state = wr_plugin_state(&f->p->base);
    assert_non_null(f->state);
    assert_int_equal(f->p->open(f->state, &(struct wr_blob_opts){.path = f->folder}, &f->err),
                     WR_OK);
}

static void stop(struct fixture *f)
{
    f->p->close(f->state);
    free(f->state);
    f->state = NULL;
}

static struct wr_blob *writer(struct fixture *f, const char *id)
{
    struct wr_blob *b = NULL;
    assert_int_equal(f->p->blob_open(f->state, id, WR_BLOB_WRITE, &b, &f->err), WR_OK);
    return b;
}

static void put(struct fixture *f, const char *id, const char *record)
{
    assert_int_equal(f->p->put(f->state, id, wr_slice_str(record), &f->err), WR_OK);
}

static void write_at(struct fixture *f, struct wr_blob *b, uint64_t at, const char *text)
{
    size_t n;
    struct wr_slice part = wr_slice_str(text);
    assert_int_equal(f->p->write(f->state, b, at, &part, 1, &n, &f->err), WR_OK);
    assert_int_equal(n, strlen(text));
}

static void assert_reads(struct fixture *f, struct wr_blob *b, uint64_t at, size_t ask,
                         const char *want)
{
    char got[64];
    size_t n = 99;
    assert_true(ask <= sizeof got);
    assert_int_equal(f->p->read(f->state, b, at, got, ask, &n, &f->err), WR_OK);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(got, want, n);
}

struct found {
    const char *id;
    char record[64];
    uint64_t size;
    unsigned times, all;
};
static void find_record(void *ctx, struct wr_slice id, struct wr_slice record, uint64_t size)
{
    struct found *w = ctx;
    w->all++;
    if (!wr_slice_is(id, w->id))
        return;
    w->times++;
    w->size = size;
    assert_true(record.n < sizeof w->record);
    memcpy(w->record, record.p, record.n);
    w->record[record.n] = 0;
}

static void refuses_other_ids(struct fixture *f)
{
    static const char *const bad[] = {
        "",
        "..",
        "a/b",
        "A",
        "a.b",
        "a\n",
        "caf\xc3\xa9",
        "0123456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
        struct wr_blob *b;
        assert_int_equal(f->p->put(f->state, bad[i], wr_slice_str("x"), &f->err), WR_ERR_INVALID);
        assert_int_equal(f->p->blob_open(f->state, bad[i], WR_BLOB_WRITE, &b, &f->err),
                         WR_ERR_INVALID);
        assert_int_equal(f->p->remove(f->state, bad[i], &f->err), WR_ERR_INVALID);
    }
}

static void reading_what_is_not_there_is_not_found(struct fixture *f)
{
    struct wr_blob *b;
    assert_int_equal(f->p->blob_open(f->state, "nothere", WR_BLOB_READ, &b, &f->err),
                     WR_ERR_NOT_FOUND);
}

static void bytes_are_read_as_written(struct fixture *f)
{
    put(f, "aaa", "r");
    struct wr_blob *w = writer(f, "aaa");
    write_at(f, w, 0, "hello ");
    write_at(f, w, 6, "world");
    write_at(f, w, 0, "J");
    struct wr_blob *r = NULL;
    assert_int_equal(f->p->blob_open(f->state, "aaa", WR_BLOB_READ, &r, &f->err), WR_OK);
    assert_reads(f, r, 0, 64, "Jello world");
    assert_reads(f, r, 6, 3, "wor");
    assert_reads(f, r, 10, 9, "d");
    assert_reads(f, r, 11, 9, "");
    assert_reads(f, r, 1000, 9, "");
    assert_int_equal(f->p->sync(f->state, w, &f->err), WR_OK);
    f->p->blob_close(f->state, r);
    f->p->blob_close(f->state, w);
}

/* Whole pages and odd ends, in order and over one another: a plugin may take different ways for them. */
static void parts_are_written_one_behind_the_other(struct fixture *f)
{
    enum { PAGE = 4096, LONG = 64 * PAGE, SIZE = 4 * LONG };
    static const struct {
        size_t at, n[3], skew; /* skew: of the memory, from a page */
    } writes[] = {
        {0, {LONG, LONG, 100}, 0},         /* pages, and an end that is none */
        {2 * LONG + 100, {LONG, 7, 0}, 0}, /* not where a page of the blob begins */
        {PAGE, {LONG, LONG, 0}, 0},        /* over what is there */
        {2 * PAGE, {LONG, LONG, 0}, 1},    /* from memory that is not at a page */
        {3 * PAGE, {PAGE, LONG, PAGE}, 0},
    };
    put(f, "parts", "r");
    struct wr_blob *w = writer(f, "parts");
    uint8_t *want = calloc(1, SIZE), *from = aligned_alloc(PAGE, SIZE), *got = calloc(1, SIZE);
    assert_true(want && from && got);
    size_t end = 0, n;
    for (size_t i = 0; i < WR_ARRAY_LEN(writes); i++) {
        struct wr_slice parts[3];
        size_t num = 0, at = 0;
        for (size_t k = 0; k < SIZE; k++)
            from[k] = (uint8_t)(k * 7 + k / PAGE + i * 31);
        for (; num < 3 && writes[i].n[num]; at += writes[i].n[num++])
            parts[num] = wr_slice_of(from + writes[i].skew + at, writes[i].n[num]);
        assert_int_equal(f->p->write(f->state, w, writes[i].at, parts, num, &n, &f->err), WR_OK);
        assert_int_equal(n, at);
        memcpy(want + writes[i].at, from + writes[i].skew, at);
        end = WR_MAX(end, writes[i].at + at);
        assert_int_equal(f->p->read(f->state, w, 0, got, SIZE, &n, &f->err), WR_OK);
        assert_int_equal(n, end);
        assert_memory_equal(got, want, end);
    }
    assert_int_equal(f->p->sync(f->state, w, &f->err), WR_OK);
    f->p->blob_close(f->state, w);
    free(want);
    free(from);
    free(got);
}

static void cut_shortens_and_never_grows(struct fixture *f)
{
    put(f, "cut", "r");
    struct wr_blob *w = writer(f, "cut");
    write_at(f, w, 0, "0123456789");
    assert_int_equal(f->p->cut(f->state, w, 100, &f->err), WR_OK);
    assert_reads(f, w, 0, 64, "0123456789");
    assert_int_equal(f->p->cut(f->state, w, 4, &f->err), WR_OK);
    assert_reads(f, w, 0, 64, "0123");
    write_at(f, w, 4, "x");
    assert_reads(f, w, 0, 64, "0123x");
    f->p->blob_close(f->state, w);
}

static void remove_takes_all_and_may_be_repeated(struct fixture *f)
{
    put(f, "gone", "r");
    struct wr_blob *b = writer(f, "gone");
    write_at(f, b, 0, "x");
    f->p->blob_close(f->state, b);
    assert_int_equal(f->p->remove(f->state, "gone", &f->err), WR_OK);
    assert_int_equal(f->p->remove(f->state, "gone", &f->err), WR_OK);
    assert_int_equal(f->p->blob_open(f->state, "gone", WR_BLOB_READ, &b, &f->err),
                     WR_ERR_NOT_FOUND);
}

static void a_descriptor_reads_the_blob_and_outlives_it(struct fixture *f)
{
    char got[16] = "";
    struct stat st;
    int fd = -1;
    if (!WR_PLUGIN_HAS(f->p, fd))
        return; /* optional */
    put(f, "fd", "r");
    struct wr_blob *b = writer(f, "fd");
    write_at(f, b, 0, "hello world");
    f->p->blob_close(f->state, b);
    assert_int_equal(f->p->fd(f->state, "fd", &fd, &f->err), WR_OK);
    assert_int_equal(f->p->remove(f->state, "fd", &f->err), WR_OK);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_size == 11);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(pread(fd, got, sizeof got, 6), 5);
    assert_string_equal(got, "world");
    close(fd);
    assert_int_equal(f->p->fd(f->state, "fd", &fd, &f->err), WR_ERR_NOT_FOUND);
    assert_int_equal(f->p->fd(f->state, "../fd", &fd, &f->err), WR_ERR_INVALID);
}

static void too_big_a_record_is_refused(struct fixture *f)
{
    uint8_t *big = calloc(1, WR_BLOB_RECORD_MAX + 1);
    assert_non_null(big);
    assert_int_equal(f->p->put(f->state, "big", wr_slice_of(big, WR_BLOB_RECORD_MAX), &f->err),
                     WR_OK);
    assert_int_equal(f->p->put(f->state, "big", wr_slice_of(big, WR_BLOB_RECORD_MAX + 1), &f->err),
                     WR_ERR_TOO_BIG);
    assert_int_equal(f->p->remove(f->state, "big", &f->err), WR_OK);
    free(big);
}

static void records_that_are_put_together_are_all_there(struct fixture *f)
{
    if (!WR_PLUGIN_HAS(f->p, put_all))
        return;
    const char *ids[] = {"together1", "not an id", "together2"};
    struct wr_slice records[] = {wr_slice_str("one"), wr_slice_str("none"), wr_slice_str("two")};
    wr_err codes[3];
    f->p->put_all(f->state, ids, records, 3, codes, &f->err);
    assert_int_equal(codes[0], WR_OK);
    assert_int_equal(codes[1], WR_ERR_INVALID);
    assert_int_equal(codes[2], WR_OK);
    assert_true(f->err.text[0]);
    assert_int_equal(f->p->remove(f->state, ids[0], &f->err), WR_OK);
    assert_int_equal(f->p->remove(f->state, ids[2], &f->err), WR_OK);
    if (WR_PLUGIN_HAS(f->p, look))
        assert_int_equal(f->p->look(f->state, &f->err), WR_OK);
}

static void there_is_space(struct fixture *f)
{
    uint64_t n = 0;
    assert_int_equal(f->p->space(f->state, &n, &f->err), WR_OK);
    assert_true(n > 0);
}

static void each_finds_the_newest_record_and_the_size(struct fixture *f)
{
    put(f, "rec", "old and longer");
    put(f, "rec", "new");
    put(f, "only", "no blob");
    struct wr_blob *b = writer(f, "rec");
    write_at(f, b, 0, "12345");
    assert_int_equal(f->p->sync(f->state, b, &f->err), WR_OK);
    f->p->blob_close(f->state, b);
    struct found w = {.id = "rec"}, o = {.id = "only"};
    assert_int_equal(f->p->each(f->state, find_record, &w, &f->err), WR_OK);
    assert_int_equal(w.times, 1);
    assert_string_equal(w.record, "new");
    assert_int_equal(w.size, 5);
    assert_int_equal(f->p->each(f->state, find_record, &o, &f->err), WR_OK);
    assert_int_equal(o.times, 1);
    assert_int_equal(o.size, 0);
}

static void what_was_put_lasts(struct fixture *f)
{
    stop(f);
    start(f);
    struct found w = {.id = "rec"};
    assert_int_equal(f->p->each(f->state, find_record, &w, &f->err), WR_OK);
    assert_string_equal(w.record, "new");
    struct wr_blob *b = NULL;
    assert_int_equal(f->p->blob_open(f->state, "rec", WR_BLOB_READ, &b, &f->err), WR_OK);
    assert_reads(f, b, 0, 64, "12345");
    f->p->blob_close(f->state, b);
}

static void blob_without_record_is_dropped(struct fixture *f)
{
    f->p->blob_close(f->state, writer(f, "orphan"));
    struct found w = {.id = "orphan"};
    assert_int_equal(f->p->each(f->state, find_record, &w, &f->err), WR_OK);
    assert_int_equal(w.times, 0);
    struct wr_blob *b;
    assert_int_equal(f->p->blob_open(f->state, "orphan", WR_BLOB_READ, &b, &f->err),
                     WR_ERR_NOT_FOUND);
}

void wr_blob_suite(const struct wr_blob_plugin *p, const char *folder, bool lasting)
{
    struct fixture f = {.p = p, .folder = folder};
    assert_int_equal(wr_plugin_check(&p->base, &f.err), WR_OK);
    start(&f);
    refuses_other_ids(&f);
    reading_what_is_not_there_is_not_found(&f);
    bytes_are_read_as_written(&f);
    parts_are_written_one_behind_the_other(&f);
    cut_shortens_and_never_grows(&f);
    remove_takes_all_and_may_be_repeated(&f);
    a_descriptor_reads_the_blob_and_outlives_it(&f);
    too_big_a_record_is_refused(&f);
    records_that_are_put_together_are_all_there(&f);
    there_is_space(&f);
    each_finds_the_newest_record_and_the_size(&f);
    if (lasting)
        what_was_put_lasts(&f);
    blob_without_record_is_dropped(&f);
    stop(&f);
}
