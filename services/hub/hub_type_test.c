/* SPDX-License-Identifier: MIT
 *
 * Claims about the types of entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_type.h"

static void test_media_types_are_taken(void **state)
{
    static const char *const good[] = {
        "text/plain", "image/png", "application/vnd.a-b.c+xml", "a/b", "application/octet-stream",
        "x/1"};
    static const char *const bad[] = {
        "text",        "/",           "text/",   "/plain",       "Text/plain",  "text/plain;q=1",
        "text/pl ain", "text//plain", "text/-x", "te\xc3\xa9/x", "text/plain\n"};
    const char *why = NULL;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(good); i++) {
        struct wr_slice t = wr_slice_str(good[i]);
        assert_true(hub__check_type(&t, &why) && wr_slice_is(t, good[i]));
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
        struct wr_slice t = wr_slice_str(bad[i]);
        why = NULL;
        if (hub__check_type(&t, &why))
            fail_msg("taken: %s", bad[i]);
        assert_non_null(why);
    }
    char longer[HUB_MAX_TYPE_BYTES + 1];
    memset(longer, 'a', sizeof longer);
    longer[3] = '/';
    struct wr_slice t = wr_slice_of(longer, sizeof longer);
    assert_false(hub__check_type(&t, &why));
    t.n--;
    assert_true(hub__check_type(&t, &why));
}

static void test_json_has_one_name(void **state)
{
    struct wr_slice t = wr_slice_str("application/json"), none = {0};
    const char *why;
    (void)state;
    assert_true(hub__check_type(&t, &why) && t.n == 0);
    assert_true(hub__check_type(&none, &why) && none.n == 0);
}

static void test_bytes_are_what_the_type_promises(void **state)
{
    const char *why;
    (void)state;
    assert_true(hub__check_bytes(wr_slice_str("text/plain"), wr_slice_str("\xe6\x88\xbf\n"), &why));
    assert_false(hub__check_bytes(wr_slice_str("text/plain"), wr_slice_str("\xff"), &why));
    assert_string_equal(why, "data: not UTF-8");
    assert_true(hub__check_bytes(wr_slice_str("image/png"), wr_slice_of("\xff\0", 2), &why));
    assert_false(hub__check_bytes(wr_slice_str("image/png"), (struct wr_slice){0}, &why));
    assert_string_equal(why, "data: empty");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_media_types_are_taken),
        cmocka_unit_test(test_json_has_one_name),
        cmocka_unit_test(test_bytes_are_what_the_type_promises),
    };
    return cmocka_run_group_tests_name("hub type", tests, NULL, NULL) ? 1 : 0;
}
