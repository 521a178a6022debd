/* SPDX-License-Identifier: MIT
 *
 * Claims that every filter must make true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "filter_conformance.h"
#include "wr_json.h"
#include "wr_plugins.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static const struct wr_filter_plugin *under_test;
static const char *test_args;

const struct wr_filter_plugin *test_filter(const char *folder, const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.so", folder, file);
    void *so = dlopen(path,
                      RTLD_NOW | RTLD_LOCAL); /* never closed: sanitizers name its lines at exit */
    if (!so) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return dlsym(so, WR_PLUGIN_SYMBOL);
}

void *test_filter_open(const struct wr_filter_plugin *p, const char *args)
{
    struct wr_errmsg err = {{0}};
    void *state = wr_plugin_state(&p->base);
    assert_non_null(state);
    if (WR_PLUGIN_HAS(p, open) && p->open(state, args, &err) != WR_OK)
        fail_msg("open: %s", err.text);
    return state;
}

void test_filter_close(const struct wr_filter_plugin *p, void *state)
{
    if (WR_PLUGIN_HAS(p, close))
        p->close(state);
    free(state);
}

enum wr_filter_verdict test_filter_apply(const struct wr_filter_plugin *p, void *state,
                                         struct wr_slice *data, struct wr_errmsg *why)
{
    struct wr_filter_msg msg = {.room = wr_slice_str("demo"),
                                .kind = 1,
                                .user = wr_slice_str(""),
                                .client = wr_slice_str("c-1"),
                                .data = *data};
    enum wr_filter_verdict v = p->apply(state, &msg, why);
    *data = msg.data;
    return v;
}

static int setup(void **state)
{
    *state = test_filter_open(under_test, test_args);
    return 0;
}

static int teardown(void **state)
{
    test_filter_close(under_test, *state);
    return 0;
}

static void test_table_fits_the_loader(void **state)
{
    struct wr_errmsg err = {{0}};
    (void)state;
    if (wr_plugin_check(&under_test->base, &err) != WR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(under_test->base.kind, WR_KIND_FILTER);
}

/* Passed is valid JSON on one line, refused has a reason; and the message that came in is never written to. */
static void test_verdicts_are_whole(void **state)
{
    static const char *const messages[] = {
        "{\"text\":\"hello\",\"name\":\"Ann\",\"id\":\"1\"}",
        "\"\"",
        "null",
        "[]",
        "0",
        "{}",
        "{\"text\":\"\"}",
        "{\"text\":{\"a\":[1,2,{\"b\":\"\\ud83c\\udf89\"}]}}",
        "{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\"}",
        "{\"text\":\"\xe6\x88\xbf\xe9\x97\xb4 \xf0\x9f\x8e\x89\"}",
        "{\"type\":\"file\",\"name\":\"Ann\",\"file\":{\"id\":\"x\",\"name\":\"a\",\"size\":1}}"};
    for (size_t i = 0; i < WR_ARRAY_LEN(messages); i++) {
        char *copy = strdup(messages[i]);
        struct wr_slice data = wr_slice_str(copy);
        struct wr_errmsg why = {{0}};
        assert_non_null(copy);
        if (test_filter_apply(under_test, *state, &data, &why) == WR_FILTER_PASS)
            assert_int_equal(wr_json_check(data, NULL), WR_JSON_COMPACT);
        else
            assert_int_not_equal(strlen(why.text), 0);
        assert_string_equal(copy, messages[i]);
        free(copy);
    }
}

static void test_large_messages_are_taken(void **state)
{
    enum { N = 65536 };
    char *big = malloc(N);
    assert_non_null(big);
    memset(big, 'a', N);
    big[0] = big[N - 1] = '"';
    struct wr_slice data = wr_slice_of(big, N);
    struct wr_errmsg why = {{0}};
    if (test_filter_apply(under_test, *state, &data, &why) == WR_FILTER_PASS)
        assert_int_equal(wr_json_check(data, NULL), WR_JSON_COMPACT);
    free(big);
}

static void test_two_instances_do_not_meet(void **state)
{
    void *other = test_filter_open(under_test, test_args);
    struct wr_slice a = wr_slice_str("{\"text\":\"one\"}"), b = a;
    struct wr_errmsg why = {{0}};
    enum wr_filter_verdict va = test_filter_apply(under_test, *state, &a, &why);
    enum wr_filter_verdict vb = test_filter_apply(under_test, other, &b, &why);
    assert_int_equal(va, vb);
    assert_true(wr_slice_eq(a, b));
    test_filter_close(under_test, other);
}

int filter_conformance(const char *folder, const char *file, const char *args)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_fits_the_loader),
        cmocka_unit_test_setup_teardown(test_verdicts_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_messages_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_instances_do_not_meet, setup, teardown),
    };
    test_args = args;
    under_test = test_filter(folder, file);
    return cmocka_run_group_tests_name("every filter", tests, NULL, NULL);
}
