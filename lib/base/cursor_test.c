/* SPDX-License-Identifier: MIT
 *
 * Claims about the checked cursor: values, and that nothing can be read past the end (the sanitizers watch exact-size heap
 * copies). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "wr_cursor.h"

static void test_bytes(void **state)
{
    (void)state;
    const uint8_t b[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 'x', 'y'};
    struct wr_cursor c = wr_cursor_of(wr_slice_of(b, sizeof b));
    assert_int_equal(wr_cursor_u8(&c), 1);
    assert_int_equal(wr_cursor_u16(&c), 0x0203);
    assert_int_equal(wr_cursor_u24(&c), 0x040506);
    assert_int_equal(wr_cursor_u32(&c), 0x0708090a);
    assert_true(wr_cursor_u64(&c) == 0x0b0c0d0e0f101112);
    assert_int_equal(wr_cursor_left(&c), 2);
    assert_true(wr_slice_is(wr_cursor_bytes(&c, 2), "xy"));
    assert_true(wr_cursor_at_end(&c) && !c.failed);
    assert_int_equal(wr_cursor_rest(&c).n, 0);
    assert_false(c.failed);
    c = wr_cursor_of(wr_slice_of(b, sizeof b));
    assert_int_equal(wr_cursor_le16(&c), 0x0201);
    assert_int_equal(wr_cursor_le32(&c), 0x06050403);
    wr_cursor_skip(&c, 12);
    assert_true(wr_slice_is(wr_cursor_rest(&c), "xy"));
}

static void test_a_failure_sticks_and_reads_nothing(void **state)
{
    (void)state;
    struct wr_cursor c = wr_cursor_of(wr_slice_str("abc"));
    assert_int_equal(wr_cursor_u32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(wr_cursor_u8(&c), 0); /* though a byte was there */
    assert_int_equal(wr_cursor_bytes(&c, 1).n, 0);
    assert_int_equal(wr_cursor_rest(&c).n, 0);
    assert_int_equal(wr_cursor_bits(&c, 3), 0);
    assert_int_equal(wr_cursor_ue(&c), 0);
    assert_int_equal(wr_cursor_left(&c), 0);
    c = wr_cursor_of(wr_slice_of(NULL, 0));
    assert_int_equal(wr_cursor_u8(&c), 0);
    assert_true(c.failed);
}

static void test_lengths_that_would_wrap_a_pointer_fail(void **state)
{
    (void)state;
    const size_t lengths[] = {4, SIZE_MAX, SIZE_MAX - 2, (size_t)1 << 63, 4294967290u};
    for (size_t i = 0; i < WR_ARRAY_LEN(lengths); i++) {
        struct wr_cursor c = wr_cursor_of(wr_slice_str("abc"));
        assert_int_equal(wr_cursor_bytes(&c, lengths[i]).n, 0);
        assert_true(c.failed);
        c = wr_cursor_of(wr_slice_str("abc"));
        wr_cursor_skip(&c, lengths[i]);
        assert_true(c.failed);
        c = wr_cursor_of(wr_slice_str("a"));
        wr_cursor_skip_bits(&c, WR_MAX(lengths[i], 9));
        assert_true(c.failed);
    }
    struct wr_cursor c = wr_cursor_of(wr_slice_str("abcdefgh"));
    assert_int_equal(wr_cursor_bits(&c, 33), 0);
    assert_true(c.failed);
}

static void test_bits_and_bytes_mix(void **state)
{
    (void)state;
    const uint8_t b[] = {0xa5, 0x0f, 0x77, 0x80, 0, 0, 1};
    struct wr_cursor c = wr_cursor_of(wr_slice_of(b, sizeof b));
    assert_int_equal(wr_cursor_bits(&c, 0), 0);
    assert_int_equal(wr_cursor_bits(&c, 3), 5);
    assert_int_equal(wr_cursor_left(&c), 6);
    assert_int_equal(wr_cursor_bits(&c, 9), 0x050);
    assert_int_equal(wr_cursor_u8(&c), 0x77); /* the rest of 0x0f is left out */
    assert_int_equal(wr_cursor_bits(&c, 32), 0x80000001u);
    assert_true(wr_cursor_at_end(&c) && !c.failed);
    assert_int_equal(wr_cursor_bits(&c, 1), 0);
    assert_true(c.failed);
}

static void test_exp_golomb(void **state)
{
    (void)state;
    /* 1 | 010 | 011 | 00100 | 00111 and what se makes of 1, 2 */
    const uint8_t b[] = {0xa6, 0x42, 0x9e};
    struct wr_cursor c = wr_cursor_of(wr_slice_of(b, sizeof b));
    assert_int_equal(wr_cursor_ue(&c), 0);
    assert_int_equal(wr_cursor_ue(&c), 1);
    assert_int_equal(wr_cursor_ue(&c), 2);
    assert_int_equal(wr_cursor_ue(&c), 3);
    c = wr_cursor_of(wr_slice_of(b, sizeof b));
    assert_int_equal(wr_cursor_se(&c), 0);
    assert_int_equal(wr_cursor_se(&c), 1);
    assert_int_equal(wr_cursor_se(&c), -1);
    const uint8_t most[] = {0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}, none[8] = {0};
    c = wr_cursor_of(wr_slice_of(most, sizeof most));
    assert_true(wr_cursor_ue(&c) == 0xfffffffeu && !c.failed);
    c = wr_cursor_of(wr_slice_of(none, sizeof none));
    assert_int_equal(wr_cursor_ue(&c), 0);
    assert_true(c.failed);
}

static void test_emulation_prevention_is_skipped(void **state)
{
    (void)state;
    const uint8_t nal[] = {0x67, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3};
    struct wr_cursor c = wr_cursor_rbsp(wr_slice_of(nal, sizeof nal), 1);
    assert_int_equal(wr_cursor_bits(&c, 24), 1);
    assert_int_equal(wr_cursor_bits(&c, 32), 0);
    assert_true(wr_cursor_at_end(&c) && !c.failed);
    c = wr_cursor_rbsp(wr_slice_of(nal, 1), 2);
    assert_true(c.failed);
}

/* Whatever is asked in whatever order, of every length: the sanitizer sees one byte too far. */
static void test_no_order_of_reads_leaves_the_bytes(void **state)
{
    (void)state;
    uint32_t r = 1;
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = round % 13;
        uint8_t *p = malloc(n ? n : 1);
        memset(p, (int)(round % 3), n);
        struct wr_cursor c = wr_cursor_of(wr_slice_of(p, n));
        c.unescape = round & 1;
        for (unsigned i = 0; i < 12; i++) {
            r = r * 1664525u + 1013904223u;
            switch (r >> 29) {
            case 0:
                wr_cursor_bits(&c, r >> 20 & 63);
                break;
            case 1:
                wr_cursor_u16(&c);
                break;
            case 2:
                wr_cursor_se(&c);
                break;
            case 3:
                wr_cursor_skip_bits(&c, r >> 16 & 31);
                break;
            case 4:
                wr_cursor_skip(&c, r >> 20 & 3);
                break;
            case 5:
                wr_cursor_u8(&c);
                break;
            case 6:
                wr_cursor_bytes(&c, r >> 20 & 1);
                break;
            default:
                wr_cursor_bits(&c, 1);
            }
            assert_true(c.p >= p && c.p <= p + n && wr_cursor_left(&c) <= n);
        }
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_a_failure_sticks_and_reads_nothing),
        cmocka_unit_test(test_lengths_that_would_wrap_a_pointer_fail),
        cmocka_unit_test(test_bits_and_bytes_mix),
        cmocka_unit_test(test_exp_golomb),
        cmocka_unit_test(test_emulation_prevention_is_skipped),
        cmocka_unit_test(test_no_order_of_reads_leaves_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
