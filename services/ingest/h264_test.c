/* SPDX-License-Identifier: MIT
 *
 * Claims about H.264's sequence parameter sets (ITU-T H.264, 7.3.2.1.1 and E.1.1), written bit by bit: what encoders seldom
 * write is read too, and what lies beyond the standard's ranges is no set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "h264.h"

#include <stdlib.h>

struct bits {
    uint8_t bytes[400];
    size_t n; /* bits */
};

static void put(struct bits *b, unsigned n, uint64_t v)
{
    while (n--) {
        assert_true(b->n / 8 < sizeof b->bytes);
        b->bytes[b->n / 8] |= (uint8_t)((v >> n & 1) << (7 - b->n % 8));
        b->n++;
    }
}

static void ue(struct bits *b, uint32_t v)
{
    unsigned len = 0;
    while (((uint64_t)v + 1) >> (len + 1))
        len++;
    put(b, len, 0);
    put(b, len + 1, (uint64_t)v + 1);
}

static void se(struct bits *b, int32_t v)
{
    ue(b, v > 0 ? (uint32_t)v * 2 - 1 : (uint32_t)-v * 2);
}

/* The unit: 7.4.1.1's emulation prevention goes in. */
static bool parse(struct bits *b, struct h264_sps *out)
{
    uint8_t nal[600] = {0x67};
    size_t n = 1, zeros = 0;
    put(b, 1, 1);
    for (size_t i = 0; i < (b->n + 7) / 8; i++) {
        if (zeros >= 2 && b->bytes[i] <= 3) {
            nal[n++] = 3;
            zeros = 0;
        }
        zeros = b->bytes[i] ? 0 : zeros + 1;
        nal[n++] = b->bytes[i];
    }
    return h264__parse_sps(wr_slice_of(nal, n), out);
}

static struct bits begin(unsigned profile, uint32_t id)
{
    struct bits b = {.n = 0};
    put(&b, 24, profile << 16 | 31);
    ue(&b, id);
    return b;
}

/* From log2_max_frame_num to before the picture's size; order type 2 has no fields. */
static void put_middle(struct bits *b)
{
    ue(b, 0);
    ue(b, 2);
    ue(b, 4);
    put(b, 1, 0);
}

static void put_size(struct bits *b, uint32_t mbs_wide, uint32_t map_high, bool frames_only)
{
    ue(b, mbs_wide - 1);
    ue(b, map_high - 1);
    put(b, 1, frames_only);
    if (!frames_only)
        put(b, 1, 1);
    put(b, 1, 1);
}

/* 80 x 45 macroblocks without cropping and VUI. */
static void put_rest(struct bits *b)
{
    put_middle(b);
    put_size(b, 80, 45, true);
    put(b, 2, 0);
}

static void chroma(struct bits *b, uint32_t format, uint32_t luma, uint32_t of_chroma)
{
    ue(b, format);
    if (format == 3)
        put(b, 1, 0);
    ue(b, luma);
    ue(b, of_chroma);
    put(b, 1, 0);
}

static void test_every_profile_with_chroma_tells_it(void **state)
{
    static const uint8_t with[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
    struct h264_sps s;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(with); i++) {
        struct bits b = begin(with[i], 3);
        chroma(&b, 2, 2, 1);
        put(&b, 1, 0);
        put_rest(&b);
        assert_true(parse(&b, &s));
        assert_int_equal(s.id, 3);
        assert_int_equal(s.chroma_format, 2);
        assert_int_equal(s.luma_bits, 10);
        assert_int_equal(s.chroma_bits, 9);
        assert_int_equal(s.width, 1280);
        assert_int_equal(s.height, 720);
    }
}

static void test_scaling_lists_are_passed_over(void **state)
{
    struct h264_sps s;
    (void)state;
    for (uint32_t format = 1; format <= 3; format += 2) {
        struct bits b = begin(100, 0);
        chroma(&b, format, 0, 0);
        put(&b, 1, 1);
        for (unsigned i = 0; i < (format == 3 ? 12u : 8u); i++) {
            put(&b, 1, i % 2 == 0);
            if (i % 2)
                continue;
            if (i == 2) { /* ends at once: the rest of it is the default */
                se(&b, -8);
                continue;
            }
            for (unsigned k = 0; k < (i < 6 ? 16u : 64u); k++)
                se(&b, k % 2 ? 1 : -1);
        }
        put_rest(&b);
        assert_true(parse(&b, &s));
        assert_int_equal(s.width, 1280);
    }
}

static void test_order_by_a_cycle_is_passed_over(void **state)
{
    struct h264_sps s;
    (void)state;
    for (unsigned type = 0; type < 2; type++) {
        struct bits b = begin(66, 0);
        ue(&b, 0);
        ue(&b, type);
        if (type == 0) {
            ue(&b, 6);
        } else {
            put(&b, 1, 0);
            se(&b, -2);
            se(&b, 3);
            ue(&b, 2);
            se(&b, 1);
            se(&b, -1);
        }
        ue(&b, 4);
        put(&b, 1, 0);
        put_size(&b, 80, 45, true);
        put(&b, 2, 0);
        assert_true(parse(&b, &s));
        assert_int_equal(s.height, 720);
    }
}

static void test_cropping_follows_chroma_and_fields(void **state)
{
    static const struct {
        uint32_t format;
        bool separate, frames_only;
        uint32_t width, height;
    } cases[] = {{1, false, true, 1280 - 2 * 3, 720 - 2 * 3},
                 {2, false, true, 1280 - 2 * 3, 720 - 3},
                 {0, false, true, 1280 - 3, 720 - 3},
                 {3, true, true, 1280 - 3, 720 - 3},
                 {1, false, false, 1280 - 2 * 3, 1440 - 4 * 3}};
    struct h264_sps s;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        struct bits b = begin(244, 0);
        ue(&b, cases[i].format);
        if (cases[i].format == 3)
            put(&b, 1, cases[i].separate);
        ue(&b, 0);
        ue(&b, 0);
        put(&b, 2, 0);
        put_middle(&b);
        put_size(&b, 80, 45, cases[i].frames_only);
        put(&b, 1, 1);
        ue(&b, 1);
        ue(&b, 2);
        ue(&b, 2);
        ue(&b, 1);
        put(&b, 1, 0);
        assert_true(parse(&b, &s));
        assert_int_equal(s.width, cases[i].width);
        assert_int_equal(s.height, cases[i].height);
    }
}

static void put_hrd(struct bits *b, uint32_t n)
{
    ue(b, n - 1);
    put(b, 8, 0x44);
    for (uint32_t i = 0; i < n && i < 32; i++) {
        ue(b, 1000);
        ue(b, 2000);
        put(b, 1, 0);
    }
    put(b, 20, 0xabcde);
}

static void vui(struct bits *b, uint32_t tick, uint32_t scale, uint32_t hrd, uint32_t reorder)
{
    put_middle(b);
    put_size(b, 80, 45, true);
    put(b, 2, 1);
    put(b, 1, 1); /* aspect ratio, extended */
    put(b, 8, 255);
    put(b, 32, 0x00010001);
    put(b, 2, 3); /* overscan */
    put(b, 5, 16 + 10);
    put(b, 1, 1);
    put(b, 24, 0x010101);
    put(b, 1, 1); /* chroma's place */
    ue(b, 0);
    ue(b, 0);
    put(b, 1, 1);
    put(b, 32, tick);
    put(b, 32, scale);
    put(b, 1, 1);
    for (unsigned i = 0; i < 2; i++) {
        put(b, 1, hrd != 0);
        if (hrd)
            put_hrd(b, hrd);
    }
    if (hrd)
        put(b, 1, 0);
    put(b, 3, 1 * 2 + 1); /* no pic_struct; restrictions, motion over the edge */
    for (unsigned i = 0; i < 4; i++)
        ue(b, 0);
    ue(b, reorder);
    ue(b, 4);
}

static void test_a_vui_tells_rate_and_reordering(void **state)
{
    static const struct {
        uint32_t tick, scale, hrd, reorder, fps_milli;
        int32_t max_reorder;
    } cases[] = {
        {1001, 60000, 0, 2, 29970, 2}, {1, 50, 1, 0, 25000, 0},
        {1, 50, 32, 16, 25000, 16},    {1, 50, 1, 17, 25000, -1}, /* more than the standard has */
        {0, 50, 1, 1, 0, 1},           {1, 5000000, 1, 1, 0, 1},
        {1, 50, 33, 1, 25000, -1}}; /* cut off there: the hints before it hold */
    struct h264_sps s;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        struct bits b = begin(66, 0);
        vui(&b, cases[i].tick, cases[i].scale, cases[i].hrd, cases[i].reorder);
        assert_true(parse(&b, &s));
        assert_int_equal(s.fps_milli, cases[i].fps_milli);
        assert_int_equal(s.max_reorder, cases[i].max_reorder);
    }
}

static void test_what_is_beyond_the_ranges_is_no_set(void **state)
{
    static const uint32_t chromas[][3] = {{4, 0, 0}, {1, 7, 0}, {1, 0, 7}};
    static const uint32_t sizes[][2] = {{1025, 45}, {80, 1025}};
    struct h264_sps s;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(chromas); i++) {
        struct bits b = begin(100, 0);
        chroma(&b, chromas[i][0], chromas[i][1], chromas[i][2]);
        put(&b, 1, 0);
        put_rest(&b);
        assert_false(parse(&b, &s));
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(sizes); i++) {
        struct bits b = begin(66, 0);
        put_middle(&b);
        put_size(&b, sizes[i][0], sizes[i][1], true);
        put(&b, 2, 0);
        assert_false(parse(&b, &s));
    }
    struct bits id = begin(66, 32);
    put_rest(&id);
    assert_false(parse(&id, &s));
    struct bits cycle = begin(66, 0);
    ue(&cycle, 0);
    ue(&cycle, 1);
    put(&cycle, 1, 0);
    se(&cycle, 0);
    se(&cycle, 0);
    ue(&cycle, 256);
    assert_false(parse(&cycle, &s));
    for (unsigned side = 0; side < 2; side++) { /* all of it is cut away */
        struct bits b = begin(66, 0);
        put_middle(&b);
        put_size(&b, 80, 45, true);
        put(&b, 1, 1);
        ue(&b, side == 0 ? 640 : 0);
        ue(&b, 0);
        ue(&b, side == 1 ? 360 : 0);
        ue(&b, 0);
        put(&b, 1, 0);
        assert_false(parse(&b, &s));
    }
    assert_false(h264__parse_sps(wr_slice_of("\x67\x42\x00", 3), &s));
    assert_false(h264__parse_sps(wr_slice_of("\x68\x42\x00\x1f\xff", 5), &s));
}

/* Each cut of a whole one: a broken VUI costs its hints, anything before it the set; nothing is read past the end. */
static void test_a_set_that_is_cut_short_is_harmless(void **state)
{
    struct h264_sps s;
    uint8_t nal[600] = {0x67};
    struct bits b = begin(100, 0);
    (void)state;
    chroma(&b, 1, 0, 0);
    put(&b, 1, 0);
    vui(&b, 1, 50, 2, 2);
    memcpy(nal + 1, b.bytes, sizeof b.bytes);
    for (size_t n = 0; n < 1 + b.n / 8; n++) {
        uint8_t *exact = malloc(n ? n : 1);
        assert_non_null(exact);
        memcpy(exact, nal, n);
        if (h264__parse_sps(wr_slice_of(exact, n), &s))
            assert_int_equal(s.width, 1280);
        free(exact);
    }
}

static void test_sets_are_learnt_from_both_configurations(void **state)
{
    static const uint8_t pps[] = {0x68, 0xce, 0x38, 0x80}, bad_pps[] = {0x68, 0x00};
    struct h264_sets sets = {0};
    struct bits b = begin(66, 0);
    uint8_t sps[64] = {0x67};
    (void)state;
    put_rest(&b);
    put(&b, 1, 1);
    size_t n = 1 + (b.n + 7) / 8;
    memcpy(sps + 1, b.bytes, n - 1);
    struct wr_buf avcc = {.n = 0}, annexb = {.n = 0}, out = {.n = 0};
    wr_buf_add(&avcc, "\x01\x42\x00\x1f\xfd\xe1", 6); /* lengths of 2 bytes */
    wr_buf_be(&avcc, n, 2);
    wr_buf_add(&avcc, sps, n);
    wr_buf_add(&avcc, "\x01\x00\x04", 3);
    wr_buf_add(&avcc, pps, sizeof pps);
    assert_int_equal(h264__sets_learn_config(&sets, wr_slice_of(avcc.p, avcc.n)), 2);
    struct h264_sps s;
    assert_true(h264__avcc(&sets, 0, &out, &s));
    assert_int_equal(s.width, 1280);
    assert_false(h264__avcc(&sets, 7, &out, &s));
    /* The same again is nothing new; what is none is not taken. */
    assert_false(h264__sets_learn(&sets, wr_slice_of(pps, sizeof pps)));
    assert_false(h264__sets_learn(&sets, wr_slice_of(bad_pps, sizeof bad_pps)));
    assert_false(h264__sets_learn(&sets, wr_slice_of(pps, 1)));
    assert_false(h264__sets_learn(&sets, wr_slice_of("\x65\x88", 2)));
    h264__sets_free(&sets);
    sets = (struct h264_sets){0};
    wr_buf_add(&annexb, "\x00\x00\x00\x01", 4);
    wr_buf_add(&annexb, sps, n);
    wr_buf_add(&annexb, "\x00\x00\x01", 3);
    wr_buf_add(&annexb, pps, sizeof pps);
    assert_int_equal(h264__sets_learn_config(&sets, wr_slice_of(annexb.p, annexb.n)), NAL_ANNEXB);
    assert_true(h264__avcc(&sets, 0, &out, &s));
    h264__sets_free(&sets);
    sets = (struct h264_sets){0};
    assert_true(h264__sets_learn(&sets, wr_slice_of(pps, sizeof pps)));
    assert_false(h264__avcc(&sets, 0, &out, &s)); /* the one that it refers to is missing */
    h264__sets_free(&sets);
    wr_buf_free(&avcc);
    wr_buf_free(&annexb);
    wr_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_profile_with_chroma_tells_it),
        cmocka_unit_test(test_scaling_lists_are_passed_over),
        cmocka_unit_test(test_order_by_a_cycle_is_passed_over),
        cmocka_unit_test(test_cropping_follows_chroma_and_fields),
        cmocka_unit_test(test_a_vui_tells_rate_and_reordering),
        cmocka_unit_test(test_what_is_beyond_the_ranges_is_no_set),
        cmocka_unit_test(test_a_set_that_is_cut_short_is_harmless),
        cmocka_unit_test(test_sets_are_learnt_from_both_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
