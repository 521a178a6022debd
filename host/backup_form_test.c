/* SPDX-License-Identifier: MIT
 *
 * A backup's form: what is written comes back, and every byte that is missing or another one is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backup_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct wr_buf written;
static struct wr_buf seen; /* what the sink was given, as text */

static wr_err to_memory(void *ctx, const void *p, size_t n, struct wr_errmsg *err)
{
    (void)ctx;
    (void)err;
    wr_buf_add(&written, p, n);
    return WR_OK;
}

/* Gives a few bytes at a time, as a pipe does. */
static wr_err from_memory(void *ctx, void *p, size_t n, size_t *got, struct wr_errmsg *err)
{
    struct wr_slice *left = ctx;
    (void)err;
    *got = WR_MIN(WR_MIN(n, left->n), (size_t)4000);
    if (*got)
        memcpy(p, left->p, *got);
    left->p += *got;
    left->n -= *got;
    return WR_OK;
}

static wr_err see_room(void *ctx, struct wr_slice room, const struct wr_store_top *top,
                       struct wr_errmsg *err)
{
    (void)ctx;
    (void)err;
    wr_buf_fmt(&seen, "[%.*s %llu %lld]", (int)room.n, (const char *)room.p,
               (unsigned long long)top->offset, (long long)top->last_time_ms);
    return WR_OK;
}

static wr_err see_entry(void *ctx, const struct wr_store_entry *e, struct wr_errmsg *err)
{
    (void)ctx;
    if (e->offset == 13) {
        wr_errmsg_set(err, "the disk is full");
        return WR_ERR_NO_SPACE;
    }
    wr_buf_fmt(&seen, "%llu:%u,%lld,%.*s,%.*s,%.*s,%.*s;", (unsigned long long)e->offset, e->kind,
               (long long)e->time_ms, (int)e->key.n, (const char *)e->key.p, (int)e->info.n,
               (const char *)e->info.p, (int)e->type.n, (const char *)e->type.p,
               (int)WR_MIN(e->data.n, (size_t)10), (const char *)e->data.p);
    return WR_OK;
}

static int setup(void **state)
{
    (void)state;
    written = seen = (struct wr_buf){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    wr_buf_free(&written);
    wr_buf_free(&seen);
    return 0;
}

static struct backup_writer begun(void)
{
    struct backup_writer w;
    struct wr_errmsg err;
    assert_int_equal(backup_begin(&w, to_memory, NULL, &err), WR_OK);
    return w;
}

static void add_room(struct backup_writer *w, const char *name, uint64_t top, int64_t time_ms)
{
    struct wr_errmsg err;
    const struct wr_store_top t = {.offset = top, .last_time_ms = time_ms};
    assert_int_equal(backup_room(w, wr_slice_str(name), &t, &err), WR_OK);
}

static void add_entry(struct backup_writer *w, uint64_t offset, struct wr_slice data)
{
    struct wr_errmsg err;
    const struct wr_store_entry e = {.offset = offset,
                                     .kind = 1,
                                     .time_ms = 1000,
                                     .key = wr_slice_str("key"),
                                     .info = wr_slice_str("info"),
                                     .type = wr_slice_str("text/plain"),
                                     .data = data};
    assert_int_equal(backup_entry(w, &e, &err), WR_OK);
}

static void end(struct backup_writer *w)
{
    struct wr_errmsg err;
    assert_int_equal(backup_end(w, &err), WR_OK);
}

static wr_err read_back(size_t n, struct backup_facts *facts, struct wr_errmsg *err)
{
    static const struct backup_sink sink = {.room = see_room, .entry = see_entry};
    struct wr_slice left = wr_slice_of(written.p, n);
    return backup_read(from_memory, &left, &sink, NULL, facts, err);
}

static void test_what_is_written_comes_back(void **state)
{
    (void)state;
    struct backup_facts facts;
    struct wr_errmsg err;
    struct backup_writer w = begun();
    add_room(&w, "hall", 7, 5000);
    add_entry(&w, 3, wr_slice_str("three"));
    add_entry(&w, 4, wr_slice_str("four"));
    add_room(&w, "empty", 99, 1);
    add_room(&w, "\xe5\xa4\xa7\xe5\x8e\x85", 1, 2);
    add_entry(&w, 1, wr_slice_str("one"));
    end(&w);
    assert_int_equal(read_back(written.n, &facts, &err), WR_OK);
    wr_buf_char(&seen, '\0');
    assert_string_equal((const char *)seen.p,
                        "[hall 7 5000]3:1,1000,key,info,text/plain,three;4:1,1000,key,info,text/"
                        "plain,four;[empty 99 1][\xe5\xa4\xa7\xe5\x8e\x85 1 2]1:1,1000,key,info,"
                        "text/plain,one;");
    assert_int_equal(facts.rooms, 3);
    assert_int_equal(facts.entries, 3);
    assert_int_equal(facts.bytes, written.n);
    assert_true(facts.made_ms > 1000000000000);
    assert_string_equal(facts.version, WR_VERSION);
}

static void test_a_large_room_comes_in_parts(void **state)
{
    (void)state;
    enum { N = 40, BYTES = 100000 };
    static char text[BYTES];
    struct backup_facts facts;
    struct wr_errmsg err;
    struct backup_writer w = begun();
    memset(text, 'x', sizeof text);
    add_room(&w, "large", N, 1);
    for (uint64_t i = 1; i <= N; i++) {
        if (i != 13)
            add_entry(&w, i, wr_slice_of((const uint8_t *)text, sizeof text));
        assert_true(w.part.n <= BACKUP_PART_BYTES + 64);
    }
    end(&w);
    assert_int_equal(read_back(written.n, &facts, &err), WR_OK);
    assert_int_equal(facts.rooms, 1);
    assert_int_equal(facts.entries, N - 1);
}

static void test_every_cut_and_every_flip_is_noticed(void **state)
{
    (void)state;
    struct backup_facts facts;
    struct wr_errmsg err;
    struct backup_writer w = begun();
    add_room(&w, "hall", 2, 5000);
    add_entry(&w, 1, wr_slice_str("one"));
    add_entry(&w, 2, wr_slice_str("two"));
    end(&w);
    for (size_t n = 0; n < written.n; n++) {
        assert_int_equal(read_back(n, &facts, &err), WR_ERR_INVALID);
        assert_non_null(strstr(err.text, "take another copy"));
    }
    for (size_t i = 0; i < written.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            written.p[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(read_back(written.n, &facts, &err), WR_ERR_INVALID);
            assert_true(err.text[0]);
            written.p[i] ^= (uint8_t)(1u << bit);
        }
    assert_int_equal(read_back(written.n, &facts, &err), WR_OK);
    wr_buf_char(&written, '\n');
    assert_int_equal(read_back(written.n, &facts, &err), WR_ERR_INVALID);
}

static void test_what_the_store_says_ends_it(void **state)
{
    (void)state;
    struct backup_facts facts;
    struct wr_errmsg err;
    struct backup_writer w = begun();
    add_room(&w, "hall", 20, 5000);
    for (uint64_t i = 1; i <= 20; i++)
        add_entry(&w, i, wr_slice_str("1"));
    end(&w);
    assert_int_equal(read_back(written.n, &facts, &err), WR_ERR_NO_SPACE);
    assert_string_equal(err.text, "the disk is full");
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLAIM(test_what_is_written_comes_back),
        CLAIM(test_a_large_room_comes_in_parts),
        CLAIM(test_every_cut_and_every_flip_is_noticed),
        CLAIM(test_what_the_store_says_ends_it),
    };
    return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
