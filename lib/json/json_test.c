/* SPDX-License-Identifier: MIT
 *
 * Claims about JSON: what is taken, what is read out of it, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wr_json.h"

#include <stdio.h>
#include <stdlib.h>

static enum wr_json_form check(const char *text)
{
    return wr_json_check(wr_slice_str(text), NULL);
}

static void test_valid_is_accepted(void **state)
{
    static const char *const valid[] = {"{}",
                                        "[]",
                                        "0",
                                        "-0",
                                        "-1.5e+10",
                                        "1E5",
                                        "\"\"",
                                        "true",
                                        "false",
                                        "null",
                                        "{\"a\":[1,{\"b\":null}]}",
                                        "\"\\u00e9\\n\\\\\\\"\\/\"",
                                        "\"\xe6\x88\xbf\xe9\x97\xb4 \xf0\x9f\x8e\x89\"",
                                        "\"\\ud83c\\udf89\"",
                                        "\"\x7f\"",
                                        "[[],{},\"\"]",
                                        "\"\xe2\x80\xa8\"",
                                        "123456789012345678901234567890"};
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(valid); i++)
        if (check(valid[i]) != WR_JSON_COMPACT)
            fail_msg("refused: %s", valid[i]);
}

static void test_invalid_is_refused_with_a_reason(void **state)
{
    static const char *const invalid[] = {"",
                                          " ",
                                          "{",
                                          "}",
                                          "[",
                                          "[1,]",
                                          "{\"a\"}",
                                          "{\"a\":}",
                                          "{a:1}",
                                          "{'a':1}",
                                          "{\"a\":1,}",
                                          "01",
                                          "1.",
                                          ".5",
                                          "+1",
                                          "1e",
                                          "-",
                                          "tru",
                                          "nul",
                                          "True",
                                          "NaN",
                                          "\"",
                                          "\"\\\"",
                                          "\"\\x\"",
                                          "\"\\u12g4\"",
                                          "\"\\u12",
                                          "\"a\nb\"",
                                          "\"\x01\"",
                                          "\"\xff\"",
                                          "\"\xc0\x80\"",
                                          "\"\xed\xa0\x80\"",
                                          "\"\xf4\x90\x80\x80\"",
                                          "\"\xe6\x88",
                                          "1 2",
                                          "{} x",
                                          "[1 2]",
                                          "\xef\xbb\xbf{}",
                                          "\"a\" \"b\"",
                                          "[\"\\",
                                          "{\"a\":1 \"b\":2}"};
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(invalid); i++) {
        const char *why = NULL;
        if (wr_json_check(wr_slice_str(invalid[i]), &why) != WR_JSON_BAD)
            fail_msg("accepted: %s", invalid[i]);
        assert_non_null(why);
    }
    assert_int_equal(wr_json_check(wr_slice_of("\"a\0b\"", 5), NULL), WR_JSON_BAD);
    assert_int_equal(wr_json_check(wr_slice_of("\"\\\0\"", 4), NULL), WR_JSON_BAD);
}

static void test_nesting_is_bounded(void **state)
{
    char text[4096];
    (void)state;
    memset(text, '[', sizeof text);
    assert_int_equal(wr_json_check(wr_slice_of(text, sizeof text), NULL), WR_JSON_BAD);
    memset(text + WR_JSON_MAX_DEPTH, ']', WR_JSON_MAX_DEPTH);
    assert_int_equal(wr_json_check(wr_slice_of(text, 2 * WR_JSON_MAX_DEPTH), NULL),
                     WR_JSON_COMPACT);
}

static void compact(const char *in, const char *want)
{
    uint8_t out[256];
    assert_int_equal(check(in), WR_JSON_LOOSE);
    size_t n = wr_json_compact(wr_slice_str(in), out);
    if (!wr_slice_is(wr_slice_of(out, n), want))
        fail_msg("%s became %.*s", in, (int)n, (const char *)out);
    assert_int_equal(wr_json_check(wr_slice_of(out, n), NULL), WR_JSON_COMPACT);
}

static void test_space_between_tokens_goes(void **state)
{
    (void)state;
    compact(" { \"a b\" :\n[ 1 ,\t2 ] }\r\n", "{\"a b\":[1,2]}");
    compact("[ \"\\\" \\\\\" , \" \" ]", "[\"\\\" \\\\\",\" \"]");
    compact("\n1", "1");
}

static void test_half_a_surrogate_pair_becomes_the_replacement(void **state)
{
    (void)state;
    compact("\"a\\ud83c\"", "\"a\\ufffd\"");
    compact("\"\\udf89b\"", "\"\\ufffdb\"");
    compact("\"\\ud83c\\u0041\"", "\"\\ufffd\\u0041\"");
    compact("\"\\ud83c\\ud83c\\udf89\"", "\"\\ufffd\\ud83c\\udf89\"");
    compact("\"\\ud83c\\n\"", "\"\\ufffd\\n\"");
}

/* Whatever bytes come: no crash, and what passes stays valid when it was compacted. */
static void test_random_bytes(void **state)
{
    static const char alphabet[] = "{}[]\",:\\u0d8e1 tfn-.\n\xe6\x88\xbf";
    (void)state;
    srand(7);
    for (int round = 0; round < 200000; round++) {
        uint8_t in[24], out[24];
        size_t n = (size_t)rand() % sizeof in;
        for (size_t i = 0; i < n; i++)
            in[i] = (uint8_t)alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        if (wr_json_check(wr_slice_of(in, n), NULL) == WR_JSON_BAD)
            continue;
        size_t m = wr_json_compact(wr_slice_of(in, n), out);
        assert_true(m <= n);
        assert_int_equal(wr_json_check(wr_slice_of(out, m), NULL), WR_JSON_COMPACT);
    }
}

/* Strings are passed over some bytes at a time: what matters in one may stand anywhere. */
static void test_strings_are_read_whole(void **state)
{
    (void)state;
    struct wr_slice v;
    char text[40];
    for (size_t n = 1; n < 34; n++)
        for (size_t at = 0; at < n; at++) {
            memset(text, at % 2 ? 'a' : '~', sizeof text);
            text[0] = text[1 + n] = '"';
            assert_true(wr_json_value(wr_slice_of(text, n + 2), &v));
            for (int c = 0; c < 0x20; c++) {
                text[1 + at] = (char)c;
                assert_false(wr_json_value(wr_slice_of(text, n + 2), &v));
            }
            text[1 + at] = '"';
            assert_false(wr_json_value(wr_slice_of(text, n + 2), &v));
            text[1 + at] = '\\'; /* a, ~ and the closing quote behind it */
            assert_false(wr_json_value(wr_slice_of(text, n + 2), &v));
            text[2 + at] = at + 1 < n ? 'n' : '"';
            assert_true(wr_json_value(wr_slice_of(text, n + 2), &v) == (at + 1 < n));
            text[1 + n] = 'a';
            assert_false(wr_json_value(wr_slice_of(text, n + 1), &v));
        }
}

static void test_strings_are_unescaped(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    assert_true(wr_json_text(wr_slice_str("\"a\\n\\\"\\u00e9\\ud83c\\udf1e\\ud800x\\/\""), &b));
    wr_buf_char(&b, 0);
    assert_string_equal((char *)b.p, "a\n\"\xc3\xa9\xf0\x9f\x8c\x9e\xef\xbf\xbdx/");
    wr_buf_free(&b);
    assert_true(wr_json_text_is(wr_slice_str("\"a\\u0062c\""), "abc"));
    assert_true(wr_json_text_is(wr_slice_str("\"\""), ""));
    assert_false(wr_json_text_is(wr_slice_str("\"a\\u0062c\""), "abcd"));
    assert_false(wr_json_text_is(wr_slice_str("\"a\\u0062c\""), "ab"));
    assert_false(wr_json_text_is(wr_slice_str("\"abc\""), "ab"));
    assert_false(wr_json_text_is(wr_slice_str("abc"), "abc"));
}

static void test_numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    uint64_t n;
    int64_t i;
    bool b;
    assert_true(wr_json_u64(wr_slice_str("9007199254740993"), &n) && n == 9007199254740993u);
    assert_false(wr_json_u64(wr_slice_str("-1"), &n));
    assert_false(wr_json_u64(wr_slice_str("1.0"), &n));
    assert_false(wr_json_u64(wr_slice_str("1e3"), &n));
    assert_false(wr_json_u64(wr_slice_str("18446744073709551616"), &n));
    assert_false(wr_json_u64((struct wr_slice){0}, &n));
    assert_true(wr_json_i64(wr_slice_str("-1"), &i) && i == -1);
    assert_false(wr_json_i64(wr_slice_str("-"), &i));
    assert_false(wr_json_i64((struct wr_slice){0}, &i));
    assert_true(wr_json_bool(wr_slice_str("true"), &b) && b);
    assert_true(wr_json_bool(wr_slice_str("false"), &b) && !b);
    assert_false(wr_json_bool(wr_slice_str("1"), &b));
}

static void test_members_are_found_wherever_they_stand(void **state)
{
    (void)state;
    struct wr_slice o, v;
    assert_true(wr_json_value(
        wr_slice_str(" { \"a\" : [ {\"b\":\"]}\"} , 2 ] , \"b\" : -1.5e+3 ,\"c\":{\"d\":\"\\\"}\"},"
                     "\"b\":null, \"\\u0065\":true } "),
        &o));
    assert_true(wr_json_is_object(o) && o.p[o.n - 1] == '}');
    assert_true(wr_json_get(o, "a", &v) && wr_slice_is(v, "[ {\"b\":\"]}\"} , 2 ]"));
    assert_true(wr_json_get(o, "b", &v) && wr_slice_is(v, "null")); /* the last of several */
    assert_true(wr_json_get(o, "c", &v) && wr_json_get(v, "d", &v) && wr_json_is_string(v));
    assert_true(wr_json_get(o, "e", &v) && wr_slice_is(v, "true"));
    assert_false(wr_json_get(o, "d", &v));
    assert_false(wr_json_get(wr_slice_str("[]"), "a", &v));
    assert_false(wr_json_get(wr_slice_str("{}"), "a", &v));
    assert_false(wr_json_value(wr_slice_str("{\"a\":}"), &v));
}

/* Whoever reads what was not checked gets nonsense, not a crash: exact copies, so that a sanitizer sees one byte too many. */
static void test_reading_stays_within_unchecked_bytes(void **state)
{
    static const char alphabet[] = "{}[]\",:\\ud8e1 tfn-.\n\xe6";
    (void)state;
    srand(11);
    for (int round = 0; round < 50000; round++) {
        size_t n = (size_t)rand() % 24 + 1;
        uint8_t *in = malloc(n);
        struct wr_slice v;
        struct wr_buf b = {0};
        assert_non_null(in);
        for (size_t i = 0; i < n; i++)
            in[i] = (uint8_t)alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        if (wr_json_get(wr_slice_of(in, n), "d", &v))
            (void)wr_json_text(v, &b);
        (void)wr_json_text(wr_slice_of(in, n), &b);
        (void)wr_json_text_is(wr_slice_of(in, n), "d8");
        wr_buf_free(&b);
        free(in);
    }
}

static void test_strings_are_written_so_that_they_can_be_read(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    struct wr_slice v;
    wr_json_put(&b, "a\"\\\n\x01\x7f\xff\xe4\xbd\xa0", 10);
    assert_int_equal(wr_json_check(wr_slice_of(b.p, b.n), NULL), WR_JSON_COMPACT);
    assert_true(wr_json_value(wr_slice_of(b.p, b.n), &v));
    wr_buf_char(&b, 0);
    assert_string_equal((char *)b.p, "\"a\\\"\\\\\\n\\u0001\\u007f\xef\xbf\xbd\xe4\xbd\xa0\"");
    wr_buf_clear(&b);
    wr_json_put_str(&b, NULL);
    wr_json_put_slice(&b, (struct wr_slice){0});
    assert_true(wr_slice_is(wr_slice_of(b.p, b.n), "\"\"\"\""));
    wr_buf_free(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_is_accepted),
        cmocka_unit_test(test_invalid_is_refused_with_a_reason),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_space_between_tokens_goes),
        cmocka_unit_test(test_half_a_surrogate_pair_becomes_the_replacement),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_strings_are_read_whole),
        cmocka_unit_test(test_strings_are_unescaped),
        cmocka_unit_test(test_numbers_are_whole_and_in_range),
        cmocka_unit_test(test_members_are_found_wherever_they_stand),
        cmocka_unit_test(test_reading_stays_within_unchecked_bytes),
        cmocka_unit_test(test_strings_are_written_so_that_they_can_be_read),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL) ? 1 : 0;
}
