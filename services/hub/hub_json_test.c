/* SPDX-License-Identifier: MIT
 *
 * Claims about JSON from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_json.h"

#include <stdio.h>
#include <stdlib.h>

static enum hub_json check(const char *text)
{
    return hub__json_check(wr_slice_str(text), NULL);
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
        if (check(valid[i]) != HUB_JSON_COMPACT)
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
        if (hub__json_check(wr_slice_str(invalid[i]), &why) != HUB_JSON_BAD)
            fail_msg("accepted: %s", invalid[i]);
        assert_non_null(why);
    }
    assert_int_equal(hub__json_check(wr_slice_of("\"a\0b\"", 5), NULL), HUB_JSON_BAD);
    assert_int_equal(hub__json_check(wr_slice_of("\"\\\0\"", 4), NULL), HUB_JSON_BAD);
}

static void test_nesting_is_bounded(void **state)
{
    char text[4096];
    (void)state;
    memset(text, '[', sizeof text);
    assert_int_equal(hub__json_check(wr_slice_of(text, sizeof text), NULL), HUB_JSON_BAD);
    memset(text + HUB_JSON_MAX_DEPTH, ']', HUB_JSON_MAX_DEPTH);
    assert_int_equal(hub__json_check(wr_slice_of(text, 2 * HUB_JSON_MAX_DEPTH), NULL),
                     HUB_JSON_COMPACT);
}

static void compact(const char *in, const char *want)
{
    uint8_t out[256];
    assert_int_equal(check(in), HUB_JSON_LOOSE);
    size_t n = hub__json_compact(wr_slice_str(in), out);
    if (!wr_slice_is(wr_slice_of(out, n), want))
        fail_msg("%s became %.*s", in, (int)n, (const char *)out);
    assert_int_equal(hub__json_check(wr_slice_of(out, n), NULL), HUB_JSON_COMPACT);
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
        if (hub__json_check(wr_slice_of(in, n), NULL) == HUB_JSON_BAD)
            continue;
        size_t m = hub__json_compact(wr_slice_of(in, n), out);
        assert_true(m <= n);
        assert_int_equal(hub__json_check(wr_slice_of(out, m), NULL), HUB_JSON_COMPACT);
    }
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
    };
    return cmocka_run_group_tests_name("hub json", tests, NULL, NULL) ? 1 : 0;
}
