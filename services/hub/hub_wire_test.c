/* SPDX-License-Identifier: MIT
 *
 * The hand-written protobuf against the generated code, and against malformed bytes; the arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hub_arena.h"
#include "hub_wire.h"
#include "watchroom/v1/bus.pb-c.h"

#include <stdlib.h>

static void test_item_is_read_as_it_was_packed(void **state)
{
    Watchroom__V1__PublishItem item = WATCHROOM__V1__PUBLISH_ITEM__INIT;
    Watchroom__V1__ClientInfo info = WATCHROOM__V1__CLIENT_INFO__INIT;
    char room[] = "demo", client[] = "c-1", user[] = "ann";
    uint8_t data[] = "{\"a\":1}", key[] = "key-0001", conn[] = "{\"name\":\"Ann\"}", packed[256];
    struct hub_item in;
    struct wr_slice u, c;
    (void)state;
    info.client = client;
    info.user = user;
    info.conn_info.data = conn;
    info.conn_info.len = sizeof conn - 1;
    item.room = room;
    item.kind = WATCHROOM__V1__ENTRY_KIND__ENTRY_KIND_FILE;
    item.info = &info;
    item.key.data = key;
    item.key.len = 8;
    item.data.data = data;
    item.data.len = 7;
    size_t n = watchroom__v1__publish_item__pack(&item, packed);
    assert_true(hub__read_item(wr_slice_of(packed, n), &in));
    assert_true(wr_slice_is(in.room, "demo"));
    assert_int_equal(in.kind, 2);
    assert_true(wr_slice_is(in.key, "key-0001"));
    assert_true(wr_slice_is(in.data, "{\"a\":1}"));
    assert_true(hub__read_info(in.info, &u, &c, NULL));
    assert_true(wr_slice_is(u, "ann"));
    assert_true(wr_slice_is(c, "c-1"));
    for (size_t cut = 1; cut < n;
         cut++) /* truncated anywhere: malformed, or a shorter whole; never a crash */
        if (hub__read_item(wr_slice_of(packed, n - cut), &in))
            assert_true(in.data.n == 0 || in.data.n == 7);
}

static void test_info_that_would_break_a_frame_is_refused(void **state)
{
    static const char *const bad[] = {"{", "hello", "{ }", "{}\n", "{}{}", "\"\xff\""};
    struct wr_slice u, c;
    const char *why;
    (void)state;
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++)
        for (unsigned field = 3; field <= 4; field++) {
            uint8_t info[64], *end = wr_pb_bytes(info, field, wr_slice_str(bad[i]));
            assert_false(hub__read_info(wr_slice_of(info, (size_t)(end - info)), &u, &c, &why));
            assert_non_null(why);
        }
    uint8_t *big = malloc(HUB_MAX_INFO_BYTES + 100), *end;
    assert_non_null(big);
    memset(big, 'x', HUB_MAX_INFO_BYTES + 100);
    end = wr_pb_bytes_head(big, 9, HUB_MAX_INFO_BYTES);
    assert_false(
        hub__read_info(wr_slice_of(big, (size_t)(end - big) + HUB_MAX_INFO_BYTES), &u, &c, &why));
    free(big);
    assert_true(hub__read_info(wr_slice_of(NULL, 0), &u, &c, &why));
    assert_false(
        hub__read_info(wr_slice_of("\x0a\x02\xff\xfe", 4), &u, &c, &why)); /* user: not UTF-8 */
    assert_false(hub__read_info(wr_slice_of("\x0a\x7f", 2), &u, &c, &why));
}

static void test_event_is_what_the_generated_code_reads(void **state)
{
    static const uint8_t info[] = {0x12, 3, 'c', '-', '1'};
    const struct hub_publication pubs[] = {
        {.offset = 300,
         .time_ms = 1764000000000,
         .kind = 1,
         .info = wr_slice_of(info, sizeof info),
         .key = wr_slice_str("key-0001"),
         .data = wr_slice_str("{}")},
        {.offset = 301,
         .time_ms = 1,
         .kind = 2,
         .type = wr_slice_str("text/plain"),
         .data = wr_slice_str("1")},
    };
    const struct hub_event_head head = {.instance = "hub-1",
                                        .room = wr_slice_str("demo"),
                                        .epoch = "abcdefgh",
                                        .top = 301,
                                        .has_num_clients = true,
                                        .num_clients = 0};
    size_t body = hub__publication_field_size(&pubs[0]) + hub__publication_field_size(&pubs[1]);
    uint8_t *to;
    (void)state;
    struct wr_msg *m = hub__event_new(&head, body, &to);
    assert_non_null(m);
    to = hub__write_publication_field(to, 3, &pubs[0]);
    to = hub__write_publication_field(to, 3, &pubs[1]);
    assert_ptr_equal(to, m->data + m->len);
    Watchroom__V1__Event *e = watchroom__v1__event__unpack(NULL, m->len, m->data);
    assert_non_null(e);
    assert_string_equal(e->instance, "hub-1");
    assert_string_equal(e->room->epoch, "abcdefgh");
    assert_int_equal(e->room->top, 301);
    assert_true(e->room->has_num_clients);
    assert_int_equal(e->room->n_publications, 2);
    assert_int_equal(e->room->publications[0]->offset, 300);
    assert_int_equal(e->room->publications[0]->time_ms, 1764000000000);
    assert_string_equal(e->room->publications[0]->info->client, "c-1");
    assert_int_equal(e->room->publications[0]->key.len, 8);
    assert_null(e->room->publications[1]->info);
    assert_int_equal(e->room->publications[1]->data.data[0], '1');
    assert_string_equal(e->room->publications[0]->type, "");
    assert_string_equal(e->room->publications[1]->type, "text/plain");
    watchroom__v1__event__free_unpacked(e, NULL);
    wr_msg_unref(m);
}

static void test_results_are_what_the_generated_code_reads(void **state)
{
    const struct hub_result results[] = {
        {.code = WR_OK,
         .offset = 70000,
         .epoch = "abcdefgh",
         .time_ms = 1764000000000,
         .duplicate = true},
        {.code = WR_ERR_NO_SPACE, .message = wr_slice_str("full")},
    };
    uint8_t out[256], *to = out;
    size_t n = hub__result_field_size(&results[0]) + hub__result_field_size(&results[1]);
    (void)state;
    to = hub__write_result_field(to, 1, &results[0]);
    to = hub__write_result_field(to, 1, &results[1]);
    assert_int_equal(to - out, n);
    Watchroom__V1__PublishResponse *r = watchroom__v1__publish_response__unpack(NULL, n, out);
    assert_non_null(r);
    assert_int_equal(r->n_results, 2);
    assert_int_equal(r->results[0]->offset, 70000);
    assert_string_equal(r->results[0]->epoch, "abcdefgh");
    assert_true(r->results[0]->duplicate);
    assert_int_equal(r->results[1]->code, WR_ERR_NO_SPACE);
    assert_string_equal(r->results[1]->message, "full");
    watchroom__v1__publish_response__free_unpacked(r, NULL);
}

static void test_arena_keeps_what_it_gave_until_reset(void **state)
{
    struct hub_arena a = {0};
    struct wr_slice given[300];
    static char bytes[300000];
    (void)state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 300; i++) {
            memset(bytes, i, 10000);
            given[i] = hub_arena__copy(&a, wr_slice_of(bytes, i == 150 ? sizeof bytes : 10000));
            assert_non_null(given[i].p);
        }
        for (int i = 0; i < 300; i++)
            assert_int_equal(given[i].p[9999], (uint8_t)i);
        hub_arena__reset(&a);
    }
    hub_arena__free(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_item_is_read_as_it_was_packed),
        cmocka_unit_test(test_info_that_would_break_a_frame_is_refused),
        cmocka_unit_test(test_event_is_what_the_generated_code_reads),
        cmocka_unit_test(test_results_are_what_the_generated_code_reads),
        cmocka_unit_test(test_arena_keeps_what_it_gave_until_reset),
    };
    return cmocka_run_group_tests_name("hub wire", tests, NULL, NULL) ? 1 : 0;
}
