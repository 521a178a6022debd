/* SPDX-License-Identifier: MIT
 *
 * Claims about kept groups: which are there, within which bounds, with which epochs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "kept.h"
#include "watchroom/v1/ingest.pb-c.h"

static const struct wr_track picture = {
    .id = 1, .kind = WR_MEDIA_VIDEO, .codec = WR_CODEC_H264, .timescale = 90000};

static void epoch(struct kept *k, uint64_t number)
{
    kept__sink.epoch(k, number, &picture, 1);
}

static void add(struct kept *k, uint64_t number, uint64_t gop, size_t bytes, bool begins,
                int64_t at_us)
{
    struct wr_msg *m = wr_msg_new(0, bytes);
    struct sink_frame f = {.f = {.epoch = number, .gop = gop, .key = begins},
                           .msg = m,
                           .media = wr_msg_slice(m),
                           .begins = begins,
                           .now_us = at_us};
    kept__sink.frame(k, &f);
    wr_msg_unref(m);
}

static void test_current_group_begins_at_the_newest_keyframe(void **state)
{
    (void)state;
    struct kept k = {.max_bytes = 1000, .max_us = 1000};
    epoch(&k, 7);
    add(&k, 7, 1, 10, false, 0);
    assert_int_equal(k.n, 0);
    add(&k, 7, 2, 100, true, 0);
    add(&k, 7, 2, 10, false, 1);
    struct kept_page p = kept__current(&k);
    assert_true(p.n == 1 && p.groups[0].n == 2 && p.groups[0].bytes == 110 && p.groups[0].gop == 2);
    assert_int_equal(p.num_epochs, 1);
    Watchroom__V1__Epoch *e = watchroom__v1__epoch__unpack(NULL, p.epochs[0].packed.n,
                                                           p.epochs[0].packed.p);
    assert_true(e && e->epoch == 7 && e->n_tracks == 1 && e->tracks[0]->timescale == 90000);
    watchroom__v1__epoch__free_unpacked(e, NULL);
    add(&k, 7, 3, 100, true, 2);
    assert_int_equal(p.groups[0].n, 2); /* of its own */
    kept__page_free(&p);
    kept__sink.end(&k);
    p = kept__current(&k);
    assert_int_equal(p.n, 0);
    kept__page_free(&p);
    p = kept__page(&k, 0, 0, 1000);
    assert_true(p.n == 2 && p.groups[0].complete && p.groups[1].complete);
    kept__page_free(&p);
    kept__free(&k);
}

static void test_a_group_that_outgrows_its_bounds_is_forgotten_until_the_next(void **state)
{
    (void)state;
    struct kept k = {.max_bytes = 100 << 20, .max_us = 1000 * 1000000};
    epoch(&k, 1);
    add(&k, 1, 1, 1000, true, 0);
    add(&k, 1, 1, KEPT_GROUP_MAX_BYTES, false, 1);
    assert_true(k.n == 0 && k.bytes == 0 && !k.open);
    add(&k, 1, 1, 1000, false, 2);
    assert_int_equal(k.n, 0);
    add(&k, 1, 2, 1000, true, 3);
    add(&k, 1, 2, 1000, false, 3 + KEPT_GROUP_MAX_US + 1);
    assert_int_equal(k.n, 0);
    kept__free(&k);
}

static void test_oldest_groups_go_by_bytes_and_by_time_and_epochs_with_them(void **state)
{
    (void)state;
    struct kept k = {.max_bytes = 250, .max_us = 10 * 1000000};
    epoch(&k, 1);
    add(&k, 1, 1, 100, true, 0);
    add(&k, 1, 2, 100, true, 1000000);
    epoch(&k, 2);
    add(&k, 2, 3, 100, true, 2000000);
    assert_true(k.n == 3 && k.num_epochs == 2); /* trimmed as a group begins */
    add(&k, 2, 4, 10, true, 3000000);
    assert_true(k.n == 3 && k.groups[0].gop == 2 && k.bytes == 210);
    add(&k, 2, 5, 10, true, 11500000);
    assert_true(k.n == 3 && k.groups[0].gop == 3);
    assert_true(k.num_epochs == 1 && k.epochs[0].epoch == 2);
    /* A long pause: the current one stays. */
    add(&k, 2, 6, 10, true, 100000000);
    assert_true(k.n == 1 && k.groups[0].gop == 6);
    kept__free(&k);
    assert_int_equal(k.bytes, 0);
}

static void test_pages(void **state)
{
    (void)state;
    struct kept k = {.max_bytes = 1 << 20, .max_us = 1000000};
    struct kept_page p = kept__page(&k, 0, 0, 1000);
    assert_true(p.n == 0 && p.oldest_gop == 0 && !p.failed);
    kept__page_free(&p);
    epoch(&k, 1);
    for (uint64_t g = 10; g < 20; g++)
        add(&k, 1, g, 100, true, 0);
    p = kept__page(&k, 0, 3, 100000);
    assert_true(p.n == 3 && p.groups[0].gop == 10 && p.next_gop == 13 && p.oldest_gop == 10 &&
                p.newest_gop == 19);
    kept__page_free(&p);
    p = kept__page(&k, 13, 0, 450); /* bytes: four */
    assert_true(p.n == 4 && p.groups[0].gop == 13 && p.next_gop == 17);
    kept__page_free(&p);
    p = kept__page(&k, 17, 0, 1); /* one at least */
    assert_true(p.n == 1 && p.next_gop == 18);
    kept__page_free(&p);
    p = kept__page(&k, 19, 0, 1000);
    assert_true(p.n == 1 && !p.groups[0].complete && p.next_gop == 0);
    kept__page_free(&p);
    p = kept__page(&k, 20, 0, 1000);
    assert_true(p.n == 0 && p.next_gop == 0 && p.newest_gop == 19);
    kept__page_free(&p);
    kept__clear(&k);
    p = kept__page(&k, 0, 0, 1000);
    assert_int_equal(p.n, 0);
    kept__page_free(&p);
    kept__free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_current_group_begins_at_the_newest_keyframe),
        cmocka_unit_test(test_a_group_that_outgrows_its_bounds_is_forgotten_until_the_next),
        cmocka_unit_test(test_oldest_groups_go_by_bytes_and_by_time_and_epochs_with_them),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
