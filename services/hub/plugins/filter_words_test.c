/* SPDX-License-Identifier: MIT
 *
 * Filter `words`: the suite of its kind, and what it masks, refuses and leaves alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "filter_conformance.h"

#include <stdlib.h>

static const struct wr_filter_plugin *words;

static void expect(const char *args, const char *in, const char *out)
{
    void *state = test_filter_open(words, args);
    struct wr_slice data = wr_slice_str(in);
    struct wr_errmsg why = {{0}};
    assert_int_equal(test_filter_apply(words, state, &data, &why), WR_FILTER_PASS);
    if (!wr_slice_is(data, out))
        fail_msg("%s became %.*s", in, (int)data.n, (const char *)data.p);
    test_filter_close(words, state);
}

static void test_words_are_masked(void **state)
{
    (void)state;
    expect("foo|bar", "{\"text\":\"Foo, bar! food\"}", "{\"text\":\"***, ***! food\"}");
    expect("foo", "\"foo\"", "\"***\"");
    expect("foo", "[\"a\",\"foo foo\"]", "[\"a\",\"*** ***\"]");
    expect("foo bar", "\"foo bar\"", "\"*******\"");
    expect("foo|foobar", "\"foobar\"", "\"******\"");
    expect("mask:foo", "\"foo\"", "\"***\"");
}

static void test_escapes_do_not_hide_a_word(void **state)
{
    (void)state;
    expect("foo", "\"\\u0066oo\"", "\"***\"");
    expect("foo", "\"a\\nfoo\\\"b\"", "\"a\\n***\\\"b\"");
}

static void test_other_scripts_are_found_anywhere(void **state)
{
    (void)state;
    expect("\xe5\x9d\x8f", "\"\xe4\xbd\xa0\xe5\x9d\x8f\xe8\x9b\x8b\"",
           "\"\xe4\xbd\xa0*\xe8\x9b\x8b\"");
    expect("\xf0\x9f\x8e\x89", "\"\\ud83c\\udf89!\"", "\"*!\"");
}

static void test_the_rest_stays_byte_for_byte(void **state)
{
    (void)state;
    expect("foo", "{\"n\":1.50,\"big\":123456789012345678901,\"e\":\"\\u00e9\",\"text\":\"foo\"}",
           "{\"n\":1.50,\"big\":123456789012345678901,\"e\":\"\\u00e9\",\"text\":\"***\"}");
    expect("foo", "{\"foo\":1}", "{\"foo\":1}"); /* keys are the page's, not the writer's */
    expect("foo", "{\"id\":\"foo\",\"url\":\"/foo\",\"text\":\"x\"}",
           "{\"id\":\"foo\",\"url\":\"/foo\",\"text\":\"x\"}");
    expect("foo", "{\"id\":\"1\",\"x\":[\"foo\"]}", "{\"id\":\"1\",\"x\":[\"***\"]}");
}

static void applied(const char *type, const char *in, const char *out)
{
    void *state = test_filter_open(words, "foo");
    struct wr_filter_msg msg = {
        .room = wr_slice_str("r"), .type = wr_slice_str(type), .data = wr_slice_str(in)};
    struct wr_errmsg why = {{0}};
    assert_int_equal(words->apply(state, &msg, &why), WR_FILTER_PASS);
    assert_true(wr_slice_is(msg.data, out));
    test_filter_close(words, state);
}

static void test_plain_text_is_masked_and_other_bytes_pass(void **state)
{
    (void)state;
    applied("text/plain", "a foo, \"foo\\u0066oo", "a ***, \"***\\u0066oo");
    applied("text/plain", "\"", "\"");
    applied("image/png", "\"foo", "\"foo");
}

static void test_refusal_says_why(void **state)
{
    void *s = test_filter_open(words, "refuse:foo|bar");
    struct wr_slice bad = wr_slice_str("{\"text\":\"FOO\"}"),
                    good = wr_slice_str("{\"text\":\"food\"}");
    struct wr_errmsg why = {{0}};
    (void)state;
    assert_int_equal(test_filter_apply(words, s, &bad, &why), WR_FILTER_REFUSE);
    assert_non_null(strstr(why.text, "word"));
    assert_int_equal(test_filter_apply(words, s, &good, &why), WR_FILTER_PASS);
    test_filter_close(words, s);
}

static void test_no_words_is_an_error_that_shows_how(void **state)
{
    static const char *const empty[] = {"", "|", "refuse:", "mask:|"};
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(empty); i++) {
        void *s = calloc(1, words->base.state_size);
        struct wr_errmsg err = {{0}};
        assert_non_null(s);
        assert_int_equal(words->open(s, empty[i], &err), WR_ERR_INVALID);
        assert_non_null(strstr(err.text, "words=foo|bar"));
        free(s);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_masked),
        cmocka_unit_test(test_escapes_do_not_hide_a_word),
        cmocka_unit_test(test_other_scripts_are_found_anywhere),
        cmocka_unit_test(test_the_rest_stays_byte_for_byte),
        cmocka_unit_test(test_plain_text_is_masked_and_other_bytes_pass),
        cmocka_unit_test(test_refusal_says_why),
        cmocka_unit_test(test_no_words_is_an_error_that_shows_how),
    };
    words = test_filter(WR_TEST_PLUGINS, "filter_words");
    int failed = cmocka_run_group_tests_name("words", tests, NULL, NULL);
    return failed + filter_conformance(WR_TEST_PLUGINS, "filter_words", "foo|bar") ? 1 : 0;
}
