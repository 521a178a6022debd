/* SPDX-License-Identifier: MIT
 *
 * The protocols: the suite for each, then what each format owes its clients, as vectors. */
#include "protocol_kit.h"
#include "protocol_suite.h"
#include "wr_plugins.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct wr_plugins *plugins;

static const struct wr_protocol_plugin *protocol(const char *name)
{
    const struct wr_protocol_plugin *p = wr_plugins_find(plugins, WR_KIND_PROTOCOL, name);
    if (!p)
        fail_msg("no protocol %s in %s", name, WR_TEST_PLUGINS);
    return p;
}

static void test_every_protocol_conforms(void **state)
{
    (void)state;
    protocol_suite(protocol("text"));
    protocol_suite(protocol("centrifuge-json"));
    protocol_suite(protocol("null-protocol"));
    protocol_suite(protocol("typed"));
}

/* ---- text ---- */

static void encoded_kind(const char *name, uint32_t kind, const char *type, struct wr_slice data,
                         const char *want)
{
    struct wr_buf b = {0};
    struct wr_protocol_pub p = {
        .offset = 1, .kind = kind, .type = wr_slice_str(type), .data = data};
    protocol(name)->encode_publications(0, wr_slice_str("r"), &p, 1, &b);
    wr_buf_char(&b, 0);
    assert_string_equal((char *)b.p, want);
    wr_buf_free(&b);
}

static void encoded_as(const char *name, const char *type, struct wr_slice data, const char *want)
{
    encoded_kind(name, 1, type, data, want);
}

static void encoded(const char *name, const char *data, const char *want)
{
    encoded_as(name, "", wr_slice_str(data), want);
}

static void test_text_lines_in(void **state)
{
    (void)state;
    struct wr_protocol_conn k;
    kit_open(&k, protocol("text"), "room=kitchen");
    assert_string_equal(k.subscribed[0], "kitchen");
    kit_say(&k, "  two\nlines \r\n");
    kit_say(&k, "   \n ");
    kit_say(&k, "quote \" and \\");
    wr_buf_char(&k.published, 0);
    assert_string_equal((char *)k.published.p,
                        "{\"text\":\"two lines\"}\n{\"text\":\"quote \\\" and \\\\\"}\n");
    kit_close(&k);
    kit_open(&k, protocol("text"), "");
    assert_string_equal(k.subscribed[0], "lobby");
    kit_close(&k);
}

static void test_text_lines_out(void **state)
{
    (void)state;
    encoded("text", "{\"text\":\"hello\"}", "hello");
    encoded("text", "{\"text\":\"hello\",\"name\":\"Ann\"}", "Ann: hello");
    encoded("text", "{\"text\":\"a\\nb\"}", "a b");
    static const char file[] =
        "{\"type\":\"file\",\"name\":\"Ann\",\"file\":{\"name\":\"a.pdf\",\"size\":123,\"url\":"
        "\"/files/7\"}}";
    encoded_kind("text", 2, "", wr_slice_str(file), "Ann shared a.pdf (123 B) /files/7");
    static const char *const entries[][2] = {
        {"{\"type\":\"file\",\"file\":{}}", "somebody shared a file"},
        {"{\"type\":\"file\",\"file\":{\"name\":7,\"size\":\"x\",\"url\":\"/files/8\"}}",
         "somebody shared a file /files/8"},
        {"{\"type\":\"file\",\"file\":7}", "{\"type\":\"file\",\"file\":7}"},
        {"{\"type\":\"file\"}", "{\"type\":\"file\"}"},
        {"{\"type\":\"other\",\"text\":\"t\"}", "t"},
        {"{\"type\":7}", "{\"type\":7}"},
        {"[1]", "[1]"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(entries); i++)
        encoded_kind("text", 2, "", wr_slice_str(entries[i][0]), entries[i][1]);
    encoded("text", "{\"text\":7}", "{\"text\":7}");
    encoded("text", "{\"text\":\"\\u00a0\\u00e9\",\"name\":\"\"}", "\xc2\xa0\xc3\xa9");
    encoded_as("text", "text", wr_slice_str("x"), "(1 B of text)");
    encoded_as("text", "audio/ogg", wr_slice_str("x"), "(1 B of audio/ogg)");
    encoded("text", file, file); /* a client's: it only looks like one */
    encoded("text", "{\"text\":\"\\u001b[2J\\u0007\\u0000\\u007f\\u009b\\tx\"}",
            "\xe2\x90\x9b[2J\xe2\x90\x87\xe2\x90\x80\xe2\x90\xa1\xef\xbf\xbd\tx");
    encoded_as("text", "text/plain", wr_slice_of("a\0\x1b", 3), "a\xe2\x90\x80\xe2\x90\x9b");
    encoded("text", "[1,2]", "[1,2]");
    encoded("text", "{\"x\":1}", "{\"x\":1}");
    encoded_as("text", "text/plain", wr_slice_str("two\nlines"), "two lines");
    encoded_as("text", "image/png", wr_slice_of("\x89\x00", 2), "(2 B of image/png)");
}

static void test_text_slows_a_fast_sender_and_says_what_failed(void **state)
{
    (void)state;
    struct wr_protocol_conn k;
    kit_open(&k, protocol("text"), "");
    assert_true(kit_answer(&k, WR_OK)); /* the subscription */
    for (unsigned i = 0; i < 100; i++)
        kit_say(&k, "line");
    assert_true(k.is_paused);
    while (kit_answer(&k, WR_OK))
        ;
    assert_false(k.is_paused);
    assert_string_equal(kit_sent(&k), "");
    kit_say(&k, "lost");
    (void)kit_answer(&k, WR_ERR_NO_SPACE);
    assert_string_equal(kit_sent(&k), "(not sent: no space left on the disk)\n");
    kit_say(&k, "unanswered");
    (void)kit_answer(&k, WR_ERR_TIMEOUT);
    assert_non_null(strstr(kit_sent(&k), "(not confirmed: "));
    k.refuse = WR_ERR_BUSY;
    kit_say(&k, "refused");
    assert_non_null(strstr(kit_sent(&k), "(not sent: "));
    kit_close(&k);
}

/* ---- centrifuge-json ---- */

static void connected(struct wr_protocol_conn *k, const char *data)
{
    char line[300];
    (void)snprintf(line, sizeof line, "{\"id\":1,\"connect\":{\"data\":%s}}", data);
    kit_open(k, protocol("centrifuge-json"), "");
    kit_say(k, line);
    const char *got = kit_sent(k);
    assert_non_null(strstr(got, "{\"id\":1,\"connect\":{\"client\":\""));
    assert_non_null(strstr(got, ",\"ping\":25,\"pong\":true}}"));
}

static void answers(const char *line, wr_err code, const char *want)
{
    struct wr_protocol_conn k;
    connected(&k, "{\"name\":\"Ann\"}");
    assert_string_equal(k.conn_info, "{\"name\":\"Ann\"}");
    kit_say(&k, line);
    (void)kit_answer(&k, code);
    assert_string_equal(kit_sent(&k), want);
    kit_close(&k);
}

static void test_centrifuge_answers(void **state)
{
    (void)state;
    static const char info[] =
        "{\"user\":\"\",\"client\":\"c-1\",\"conn_info\":{\"name\":\"Ann\"}}";
    char want[600];
    answers("{\"subscribe\":{\"channel\":\"r\"},\"id\":2}", WR_OK,
            "{\"id\":2,\"subscribe\":{\"epoch\":\"abcdefgh\",\"offset\":5}}\n");
    answers("{\"id\":2,\"subscribe\":{\"channel\":\"r\",\"recoverable\":true,\"positioned\":true,"
            "\"flag\":1}}",
            WR_OK,
            "{\"id\":2,\"subscribe\":{\"epoch\":\"abcdefgh\",\"offset\":5,\"recoverable\":true,"
            "\"positioned\":true}}\n");
    answers("{\"id\":2,\"subscribe\":{\"channel\":\"r\",\"recover\":true,\"epoch\":\"abcdefgh\","
            "\"offset\":3}}",
            WR_OK,
            "{\"id\":2,\"subscribe\":{\"epoch\":\"abcdefgh\",\"offset\":3,\"recoverable\":true,"
            "\"positioned\":true,"
            "\"recovered\":true,\"was_recovering\":true,\"publications\":["
            "{\"data\":{\"text\":\"four\"},\"info\":{\"user\":\"\",\"client\":\"c-1\"},\"offset\":"
            "4,\"time\":1000},"
            "{\"data\":[5],\"offset\":5,\"time\":2000}]}}\n");
    answers("{\"id\":2,\"subscribe\":{\"channel\":\"r\",\"recover\":true,\"epoch\":\"other\","
            "\"offset\":2}}",
            WR_OK,
            "{\"id\":2,\"subscribe\":{\"epoch\":\"abcdefgh\",\"offset\":5,\"recoverable\":true,"
            "\"positioned\":true,"
            "\"was_recovering\":true}}\n");
    answers("{\"id\":2,\"subscribe\":{\"channel\":\"r\",\"recover\":true,\"offset\":2,\"flag\":3}}",
            WR_OK, "{\"id\":2,\"error\":{\"code\":112,\"message\":\"unrecoverable position\"}}\n");
    answers("{\"id\":3,\"publish\":{\"channel\":\"r\",\"data\":{\"a\": 1.10}}}", WR_OK,
            "{\"id\":3,\"publish\":{}}\n");
    answers("{\"id\":3,\"publish\":{\"channel\":\"r\",\"data\":1}}", WR_ERR_UNAVAILABLE,
            "{\"id\":3,\"error\":{\"code\":100,\"message\":\"not available "
            "now\",\"temporary\":true}}\n");
    answers("{\"id\":4,\"presence_stats\":{\"channel\":\"r\"}}", WR_OK,
            "{\"id\":4,\"presence_stats\":{\"num_clients\":1,\"num_users\":1}}\n");
    (void)snprintf(want, sizeof want, "{\"id\":4,\"presence\":{\"presence\":{\"c-1\":%s}}}\n",
                   info);
    answers("{\"id\":4,\"presence\":{\"channel\":\"r\"}}", WR_OK, want);
    answers("{\"id\":5,\"history\":{\"channel\":\"r\",\"limit\":0}}", WR_ERR_POSITION,
            "{\"id\":5,\"error\":{\"code\":112,\"message\":\"unrecoverable position\"}}\n");
    answers("{\"id\":6,\"unsubscribe\":{\"channel\":\"r\"}}", WR_OK,
            "{\"id\":6,\"unsubscribe\":{}}\n");
    answers("{\"id\":7,\"rpc\":{\"method\":\"x\"}}", WR_OK,
            "{\"id\":7,\"error\":{\"code\":108,\"message\":\"not available\"}}\n");
    answers("{\"id\":7,\"rpc\":{\"method\":\"kit.echo\",\"data\":{\"a\": 1.10}}}", WR_OK,
            "{\"id\":7,\"rpc\":{\"data\":{\"a\": 1.10}}}\n");
    answers("{\"id\":7,\"rpc\":{\"method\":\"kit.echo\"}}", WR_ERR_DENIED,
            "{\"id\":7,\"error\":{\"code\":103,\"message\":\"not allowed\"}}\n");
    answers("{\"id\":8,\"frobnicate\":{}}", WR_OK,
            "{\"id\":8,\"error\":{\"code\":104,\"message\":\"method not found\"}}\n");
    answers("{\"id\":9,\"history\":{\"channel\":\"r\",\"reverse\":true,\"since\":{\"offset\":0}}}",
            WR_OK,
            "{\"id\":9,\"error\":{\"code\":107,\"message\":\"bad request: nothing is before offset "
            "0\"}}\n");
    answers("{}", WR_OK, "");
}

static void test_centrifuge_passes_data_byte_for_byte(void **state)
{
    (void)state;
    struct wr_protocol_conn k;
    connected(&k, "null");
    kit_say(&k, "{\"id\":2,\"publish\":{\"channel\":\"r\",\"data\":{\"n\": 1.10, "
                "\"big\":12345678901234567890123}}}");
    wr_buf_char(&k.published, 0);
    assert_string_equal((char *)k.published.p, "{\"n\": 1.10, \"big\":12345678901234567890123}\n");
    kit_close(&k);
    encoded("centrifuge-json", "{\"n\": 1.10}",
            "{\"push\":{\"channel\":\"r\",\"pub\":{\"data\":{\"n\": 1.10},\"offset\":1}}}");
    encoded_as("centrifuge-json", "text/plain", wr_slice_str("a\n\"b\""),
               "{\"push\":{\"channel\":\"r\",\"pub\":{\"data\":{\"type\":\"text/plain\",\"text\":"
               "\"a\\n\\\"b\\\"\"},\"offset\":1}}}");
    encoded_as("centrifuge-json", "image/png", wr_slice_of("\x89\x00\n", 3),
               "{\"push\":{\"channel\":\"r\",\"pub\":{\"data\":{\"type\":\"image/png\",\"base64\":"
               "\"iQAK\"},\"offset\":1}}}");
}

static void closes(const char *line, unsigned code, bool connect)
{
    struct wr_protocol_conn k;
    kit_open(&k, protocol("centrifuge-json"), "");
    if (connect)
        kit_say(&k, "{\"id\":1,\"connect\":{}}");
    kit_say(&k, line);
    if (k.close_code != code)
        fail_msg("%s: closed with %u", line, k.close_code);
    kit_close(&k);
}

/* A command whose data is an array in an array, and so on. */
static const char *deep(char text[600], const char *before, unsigned depth)
{
    int n = snprintf(text, 600, "%s", before);
    memset(text + n, '[', depth);
    memset(text + n + depth, ']', depth);
    memcpy(text + n + 2 * depth, "}}", 3);
    return text;
}

static void test_centrifuge_refuses_deep_data_alone(void **state)
{
    (void)state;
    static const char want[] = "{\"id\":2,\"error\":{\"code\":107,\"message\":\"bad request: JSON "
                               "that is nested more than 64 deep\"}}\n";
    char text[600];
    answers(deep(text, "{\"id\":2,\"publish\":{\"channel\":\"r\",\"data\":", 62), WR_OK,
            "{\"id\":2,\"publish\":{}}\n");
    answers(deep(text, "{\"id\":2,\"publish\":{\"channel\":\"r\",\"data\":", 63), WR_OK, want);
    answers(deep(text, " \t\r{\"id\":2,\"publish\":{\"data\":", 200), WR_OK, want);
    closes(deep(text, "{\"id\":2,\"publish\":{\"data\":", 200), 3501, false);
    closes(deep(text, "{\"publish\":{\"data\":", 200), 3501, true);
    closes(deep(text, "{\"id\":0,\"publish\":{\"data\":", 200), 3501, true);
    closes(deep(text, "{\"id\":\"x\",\"publish\":{\"data\":", 200), 3501, true);
    closes(deep(text, "", 200), 3501, true);
}

static void test_centrifuge_takes_no_limit_for_none(void **state)
{
    (void)state;
    static const char bad[] =
        "{\"id\":5,\"error\":{\"code\":107,\"message\":\"bad request: limit\"}}\n";
    answers("{\"id\":5,\"history\":{\"channel\":\"r\",\"limit\":null}}", WR_ERR_POSITION,
            "{\"id\":5,\"error\":{\"code\":112,\"message\":\"unrecoverable position\"}}\n");
    answers("{\"id\":5,\"history\":{\"channel\":\"r\",\"limit\":-2}}", WR_OK, bad);
    answers("{\"id\":5,\"history\":{\"channel\":\"r\",\"limit\":\"1\"}}", WR_OK, bad);
    answers("{\"id\":5,\"history\":{\"channel\":\"r\",\"limit\":99999999999}}", WR_ERR_POSITION,
            "{\"id\":5,\"error\":{\"code\":112,\"message\":\"unrecoverable position\"}}\n");
    encoded_kind("centrifuge-json", 2, "", wr_slice_str("1"),
                 "{\"push\":{\"channel\":\"r\",\"pub\":{\"data\":1,\"tags\":{\"kind\":\"file\"},"
                 "\"offset\":1}}}");
}

static void test_centrifuge_answers_a_frame_in_one_frame(void **state)
{
    (void)state;
    struct wr_protocol_conn k;
    kit_open(&k, protocol("centrifuge-json"), "");
    kit_say(&k, "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{}}\n{\"id\":3,\"refresh\":{}}\n");
    assert_int_equal(k.nsent, 1);
    kit_close(&k);
}

static void test_centrifuge_close_codes(void **state)
{
    (void)state;
    closes("", 3501, true);
    closes("no json", 3501, true);
    closes("[]", 3501, true);
    closes("{}\n\n{}", 3501, true);
    closes("{\"id\":-1,\"rpc\":{}}", 3501, true);
    closes("{\"id\":2,\"connect\":{}}", 3501, true);
    closes("{\"publish\":{\"channel\":\"r\",\"data\":1}}", 3501, true);
    closes("{\"id\":2,\"publish\":{\"data\":1}}", 3501, true);
    closes("{\"id\":2,\"subscribe\":5}", 3501, true);
    closes("{\"id\":2,\"subscribe\":{\"channel\":\"r\",\"delta\":\"zip\"}}", 3501, true);
    closes("{\"id\":2,\"subscribe\":{\"channel\":\"r\"}}", 3501, false);
    closes("{}", 3501, false);
    closes("{\"id\":1,\"connect\":{\"token\":\"wrong\"}}", 3500, false);
    closes("{\"id\":1,\"connect\":{\"token\":\"right\"}}", 0, false);
    closes("{\"send\":{\"data\":1}}", 3508, true);
}

static void test_centrifuge_keeps_alive(void **state)
{
    (void)state;
    const struct wr_protocol_plugin *p = protocol("centrifuge-json");
    struct wr_protocol_conn k;
    kit_open(&k, p, "");
    assert_int_equal(k.wake_ms, 10000);
    p->wake(k.cs);
    assert_int_equal(k.close_code, 3502);
    kit_close(&k);
    connected(&k, "null");
    assert_in_range(k.wake_ms, 12500, 25000);
    p->wake(k.cs);
    assert_string_equal(kit_sent(&k), "{}\n");
    kit_say(&k, "{}");
    p->wake(k.cs); /* looks for the pong */
    assert_int_equal(k.close_code, 0);
    p->wake(k.cs);
    assert_string_equal(kit_sent(&k), "{}\n");
    p->wake(k.cs);
    assert_int_equal(k.close_code, 3012);
    kit_close(&k);
}

static void test_centrifuge_tells_insufficient_state_and_members(void **state)
{
    (void)state;
    const struct wr_protocol_plugin *p = protocol("centrifuge-json");
    struct wr_protocol_conn k;
    struct wr_buf b = {0};
    struct wr_protocol_info who = {.client = wr_slice_str("c")};
    connected(&k, "null");
    p->unsubscribed(k.cs, wr_slice_str("r"), WR_ERR_DENIED);
    assert_string_equal(kit_sent(&k), "{\"push\":{\"channel\":\"r\",\"unsubscribe\":{\"code\":2000,"
                                      "\"reason\":\"permission denied\"}}}\n");
    p->unsubscribed(k.cs, wr_slice_str("r"), WR_ERR_POSITION);
    assert_string_equal(kit_sent(&k), "{\"push\":{\"channel\":\"r\",\"unsubscribe\":{\"code\":2500,"
                                      "\"reason\":\"insufficient state\"}}}\n");
    kit_close(&k);
    p->encode_members(0, wr_slice_str("r"), &who, 1, &who, 1, &b);
    wr_buf_char(&b, 0);
    assert_string_equal(
        (char *)b.p,
        "{\"push\":{\"channel\":\"r\",\"leave\":{\"info\":{\"user\":\"\",\"client\":\"c\"}}}}\n"
        "{\"push\":{\"channel\":\"r\",\"join\":{\"info\":{\"user\":\"\",\"client\":\"c\"}}}}");
    wr_buf_free(&b);
}

static int setup(void **state)
{
    (void)state;
    return wr_plugins_load(WR_TEST_PLUGINS ":" WR_TEST_ONLY_PLUGINS, &plugins) == WR_OK ? 0 : -1;
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
        cmocka_unit_test(test_every_protocol_conforms),
        cmocka_unit_test(test_text_lines_in),
        cmocka_unit_test(test_text_lines_out),
        cmocka_unit_test(test_text_slows_a_fast_sender_and_says_what_failed),
        cmocka_unit_test(test_centrifuge_answers),
        cmocka_unit_test(test_centrifuge_passes_data_byte_for_byte),
        cmocka_unit_test(test_centrifuge_answers_a_frame_in_one_frame),
        cmocka_unit_test(test_centrifuge_refuses_deep_data_alone),
        cmocka_unit_test(test_centrifuge_takes_no_limit_for_none),
        cmocka_unit_test(test_centrifuge_close_codes),
        cmocka_unit_test(test_centrifuge_keeps_alive),
        cmocka_unit_test(test_centrifuge_tells_insufficient_state_and_members),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
