/* SPDX-License-Identifier: MIT
 *
 * Claims about rights: who somebody is, what the question answers, and what is told when rights change. */
#include "wr_access.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the above */
#include <cmocka.h>

static struct wr_plugins *plugins;

static struct wr_access *policy(const char *auth)
{
    struct wr_access *a;
    struct wr_errmsg err = {{0}};
    if (wr_access_open(auth, plugins, &a, &err) != WR_OK)
        fail_msg("%s", err.text);
    return a;
}

static struct wr_identity *somebody(struct wr_access *a, const char *query)
{
    const struct wr_auth_request req = {.client = "127.0.0.1", .path = "/", .query = query};
    struct wr_identity *who;
    struct wr_errmsg why = {{0}};
    if (wr_access_identify(a, &req, &who, &why) != WR_OK)
        fail_msg("%s", why.text);
    return who;
}

static struct wr_object hall(void)
{
    return wr_the_room(wr_slice_str("hall"));
}

static void test_open_lets_everybody_do_everything(void **state)
{
    (void)state;
    struct wr_access *a = policy("open");
    struct wr_identity *one = somebody(a, "user=ann"), *other = somebody(a, "");
    assert_ptr_equal(one, other); /* guests cost nothing each */
    for (int v = WR_VERB_INVALID + 1; v < WR_VERB_COUNT; v++) {
        assert_int_equal(wr_may(one, (enum wr_verb)v, hall(), NULL), WR_OK);
        assert_int_equal(wr_may(one, (enum wr_verb)v, wr_the_server(), NULL), WR_OK);
    }
    assert_int_equal(wr_may(one, WR_VERB_INVALID, hall(), NULL), WR_ERR_DENIED);
    assert_int_equal(wr_may(one, WR_VERB_COUNT, hall(), NULL), WR_ERR_DENIED);
    wr_identity_unref(one);
    wr_identity_unref(other);
    wr_access_close(&a);
    assert_null(a);
}

static void test_nobody_may_nothing(void **state)
{
    (void)state;
    struct wr_errmsg why;
    assert_int_equal(wr_may(NULL, WR_VERB_SEE, hall(), &why), WR_ERR_DENIED);
    assert_string_equal(why.text, "you may not look into the room hall");
    wr_identity_unref(NULL);
}

static void test_each_verb_is_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char *const names[] = {"",
#define X(symbol, name, what) name,
                                        WR_VERB_TABLE(X)
#undef X
    };
    for (int v = WR_VERB_INVALID + 1; v < WR_VERB_COUNT; v++) {
        char auth[64];
        struct wr_errmsg why = {{0}};
        (void)snprintf(auth, sizeof auth, "deny=%s", names[v]);
        struct wr_access *a = policy(auth);
        struct wr_identity *who = somebody(a, "");
        for (int other = WR_VERB_INVALID + 1; other < WR_VERB_COUNT; other++)
            if (wr_may(who, (enum wr_verb)other, hall(), &why) !=
                (other == v ? WR_ERR_DENIED : WR_OK))
                fail_msg("%s: %s", auth, names[other]);
        assert_int_equal(wr_may(who, (enum wr_verb)v, wr_the_stream(wr_slice_str("cam")), &why),
                         WR_ERR_DENIED);
        if (v == WR_VERB_RECORD) /* the policy's own sentence goes before the stock one */
            assert_string_equal(why.text, "the tape is full");
        else
            assert_non_null(strstr(why.text, " the stream cam"));
        wr_identity_unref(who);
        wr_access_close(&a);
    }
}

static void test_who_may_not_come_in_is_told_why(void **state)
{
    (void)state;
    struct wr_access *a = policy("deny=enter+talk");
    const struct wr_auth_request req = {.client = "127.0.0.1", .path = "/", .query = ""};
    struct wr_identity *who;
    struct wr_errmsg why = {{0}};
    assert_int_equal(wr_access_identify(a, &req, &who, &why), WR_ERR_DENIED);
    assert_null(who);
    assert_string_equal(why.text, "nobody comes in today");
    wr_access_close(&a);
}

static void test_an_identity_keeps_what_the_policy_said(void **state)
{
    (void)state;
    struct wr_access *a = policy("deny");
    char query[] = "user=ann";
    struct wr_identity *who = somebody(a, query);
    query[5] = 'x';
    assert_true(wr_slice_is(wr_identity_who(who)->user, "ann"));
    struct wr_identity *again = wr_identity_ref(who);
    wr_identity_unref(who);
    assert_true(wr_slice_is(wr_identity_who(again)->user, "ann"));
    assert_int_equal(wr_may(again, WR_VERB_TALK, hall(), NULL), WR_OK);
    wr_identity_unref(again);
    wr_access_close(&a);
}

static void test_a_name_that_is_no_text_lets_nobody_in(void **state)
{
    (void)state;
    struct wr_access *a = policy("deny");
    const struct wr_auth_request req = {.client = "127.0.0.1", .path = "/", .query = "user=\xff"};
    struct wr_identity *who;
    struct wr_errmsg why = {{0}};
    assert_int_equal(wr_access_identify(a, &req, &who, &why), WR_ERR_INTERNAL);
    assert_null(who);
    wr_access_close(&a);
}

static void test_a_session_ends(void **state)
{
    (void)state;
    struct wr_access *a = policy("deny");
    struct wr_identity *who = somebody(a, "expired=1");
    struct wr_errmsg why;
    assert_int_equal(wr_may(who, WR_VERB_SEE, hall(), &why), WR_ERR_DENIED);
    assert_string_equal(why.text, "your session is over: sign in again");
    wr_identity_unref(who);
    wr_access_close(&a);
}

static const char *denies(const void *ctx, const char *name)
{
    return strcmp(name, "X-Deny") == 0 ? ctx : NULL;
}

static void count(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void test_doors_are_told_when_rights_change(void **state)
{
    (void)state;
    struct wr_access *a = policy("deny");
    unsigned one = 0, two = 0;
    struct wr_identity *who = somebody(a, ""), *other;
    struct wr_errmsg why = {{0}};
    const struct wr_auth_request req = {
        .client = "", .path = "", .query = "", .header = denies, .header_ctx = "talk"};
    assert_int_equal(wr_access_on_change(a, count, &one), WR_OK);
    assert_int_equal(wr_access_on_change(a, count, &two), WR_OK);
    assert_int_equal(wr_may(who, WR_VERB_TALK, hall(), NULL), WR_OK);
    assert_int_equal(wr_access_identify(a, &req, &other, &why), WR_OK);
    assert_int_equal(one, 1);
    assert_int_equal(wr_may(who, WR_VERB_TALK, hall(), NULL), WR_ERR_DENIED);
    wr_access_off_change(a, count, &one);
    wr_identity_unref(other);
    assert_int_equal(wr_access_identify(a, &req, &other, &why), WR_OK);
    assert_int_equal(one, 1);
    assert_int_equal(two, 2);
    wr_identity_unref(other);
    wr_identity_unref(who);
    wr_access_close(&a);
}

static void test_doors_are_told_when_a_session_is_over(void **state)
{
    (void)state;
    struct wr_access *a = policy("deny");
    unsigned told = 0;
    assert_int_equal(wr_access_on_change(a, count, &told), WR_OK);
    wr_access_tick(a); /* nobody is here */
    struct wr_identity *lasting = somebody(a, "lasts=3600000"), *over;
    wr_access_tick(a);
    assert_int_equal(told, 0);
    over = somebody(a, "expired=1");
    wr_access_tick(a);
    assert_int_equal(told, 1);
    wr_access_tick(a); /* once: whose session is over is not asked about any more */
    assert_int_equal(wr_may(over, WR_VERB_SEE, hall(), NULL), WR_ERR_DENIED);
    assert_int_equal(wr_may(lasting, WR_VERB_SEE, hall(), NULL), WR_OK);
    wr_access_tick(a);
    assert_int_equal(told, 1);
    wr_identity_unref(over);
    wr_identity_unref(lasting);
    wr_access_close(&a);
}

static void test_a_policy_that_does_not_open_says_why(void **state)
{
    (void)state;
    struct wr_access *a;
    struct wr_errmsg err = {{0}};
    assert_int_equal(wr_access_open("nosuch", plugins, &a, &err), WR_ERR_NOT_FOUND);
    assert_null(a);
    assert_non_null(strstr(err.text, "gateway.auth: there is no auth plugin \"nosuch\""));
    assert_int_equal(wr_access_open("deny=nonsense", plugins, &a, &err), WR_ERR_INVALID);
    assert_null(a);
    assert_string_equal(err.text, "gateway.auth: deny: \"nonsense\" is not a list of verbs");
}

static int setup(void **state)
{
    (void)state;
    return wr_plugins_load(WR_TEST_ONLY_PLUGINS, &plugins) == WR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    wr_plugins_free(&plugins);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_lets_everybody_do_everything),
        cmocka_unit_test(test_nobody_may_nothing),
        cmocka_unit_test(test_each_verb_is_refused_with_a_sentence),
        cmocka_unit_test(test_who_may_not_come_in_is_told_why),
        cmocka_unit_test(test_an_identity_keeps_what_the_policy_said),
        cmocka_unit_test(test_a_name_that_is_no_text_lets_nobody_in),
        cmocka_unit_test(test_a_session_ends),
        cmocka_unit_test(test_doors_are_told_when_rights_change),
        cmocka_unit_test(test_doors_are_told_when_a_session_is_over),
        cmocka_unit_test(test_a_policy_that_does_not_open_says_why),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
