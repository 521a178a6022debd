/* SPDX-License-Identifier: MIT
 *
 * Claims about the loader: what does not fit is refused with a sentence, and what fits is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "wr_blob.h"
#include "wr_auth.h"
#include "wr_protocol.h"
#include "wr_filter.h"
#include "wr_metrics.h"
#include "wr_muxer.h"
#include "wr_plugins.h"
#include "wr_service.h"
#include "wr_store.h"

struct seen {
    char good[64];
    char why[512];
    unsigned n;
};

static void note(void *ctx, const struct wr_plugin_entry *e)
{
    struct seen *s = ctx;
    s->n++;
    if (e->table)
        snprintf(s->good, sizeof s->good, "%s", e->table->name);
    else
        snprintf(s->why, sizeof s->why, "%s", e->why);
}

static struct seen load(const char *folder)
{
    struct wr_plugins *p = NULL;
    struct seen s = {.n = 0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", WR_TEST_BAD_PLUGINS, folder);
    assert_int_equal(wr_plugins_load(path, &p), WR_OK);
    wr_plugins_each(p, note, &s);
    wr_plugins_free(&p);
    assert_null(p);
    return s;
}

static void test_fitting_plugin_is_found_by_kind_and_name(void **state)
{
    (void)state;
    struct wr_plugins *p = NULL;
    char path[512];
    snprintf(path, sizeof path, "/nonexistent:%s/good", WR_TEST_BAD_PLUGINS);
    assert_int_equal(wr_plugins_load(path, &p), WR_OK);
    const struct wr_filter_plugin *f = wr_plugins_find(p, WR_KIND_FILTER, "bad");
    assert_non_null(f);
    assert_null(wr_plugins_find(p, WR_KIND_STORE, "bad"));
    const char **names = wr_plugins_names(p, 1u << WR_KIND_FILTER);
    assert_string_equal(names[0], "bad");
    assert_null(names[1]);
    free((void *)names);
    wr_plugins_free(&p);
}

static void test_skipped_file_is_not_opened(void **state)
{
    (void)state;
    static const char *const skip[] = {"other", "bad", NULL}, *const others[] = {"ba", "badd",
                                                                                 NULL};
    struct wr_plugins *p = NULL;
    struct seen s = {.n = 0};
    char path[512];
    snprintf(path, sizeof path, "%s/good", WR_TEST_BAD_PLUGINS);
    assert_int_equal(wr_plugins_load_without(path, skip, &p), WR_OK);
    wr_plugins_each(p, note, &s);
    assert_int_equal(s.n, 0);
    wr_plugins_free(&p);
    assert_int_equal(wr_plugins_load_without(path, others, &p), WR_OK);
    assert_non_null(wr_plugins_find(p, WR_KIND_FILTER, "bad"));
    wr_plugins_free(&p);
}

static void test_missing_slot_is_named(void **state)
{
    (void)state;
    struct seen s = load("slot");
    assert_int_equal(s.n, 1);
    assert_string_equal(s.good, "");
    assert_non_null(strstr(s.why, "lacks the required slot apply"));
}

static void test_undefined_symbol_is_named(void **state)
{
    (void)state;
    assert_non_null(strstr(load("symbol").why, "wr_there_is_no_such_function"));
}

static void test_missing_table_is_told(void **state)
{
    (void)state;
    assert_non_null(strstr(load("table").why, "exports no symbol wr_plugin_table"));
}

static void test_second_plugin_of_a_name_is_refused(void **state)
{
    (void)state;
    struct wr_plugins *p = NULL;
    struct seen s = {.n = 0};
    char path[1024];
    snprintf(path, sizeof path, "%s/good:%s/again", WR_TEST_BAD_PLUGINS, WR_TEST_BAD_PLUGINS);
    assert_int_equal(wr_plugins_load(path, &p), WR_OK);
    wr_plugins_each(p, note, &s);
    assert_int_equal(s.n, 2);
    assert_non_null(strstr(s.why, "already loaded"));
    wr_plugins_free(&p);
}

static unsigned times_in_metrics(const char *what)
{
    unsigned n = 0;
    struct wr_buf b = {0};
    wr_metrics_write(&b);
    wr_buf_char(&b, '\0');
    for (const char *at = (const char *)b.p; (at = strstr(at, what)); at++)
        n++;
    wr_buf_free(&b);
    return n;
}

/* All files in the folders have the same counter. */
static void test_metrics_of_a_refused_plugin_leave_with_it(void **state)
{
    (void)state;
    struct wr_plugins *p = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/good:%s/again:%s/slot", WR_TEST_BAD_PLUGINS,
             WR_TEST_BAD_PLUGINS, WR_TEST_BAD_PLUGINS);
    assert_int_equal(wr_plugins_load(path, &p), WR_OK);
    assert_int_equal(times_in_metrics("\nwatchroom_test_bad_plugin_total 0\n"), 1);
    wr_plugins_free(&p);
}

static void test_folder_that_is_named_twice_is_read_once(void **state)
{
    (void)state;
    struct wr_plugins *p = NULL;
    struct seen s = {.n = 0};
    char path[1024];
    snprintf(path, sizeof path, "%s/good:%s/again/../good/", WR_TEST_BAD_PLUGINS,
             WR_TEST_BAD_PLUGINS);
    assert_int_equal(wr_plugins_load(path, &p), WR_OK);
    wr_plugins_each(p, note, &s);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.why, "");
    wr_plugins_free(&p);
}

static void test_other_abi_is_refused(void **state)
{
    (void)state;
    struct wr_errmsg err;
    struct wr_plugin t = {.abi_major = WR_PLUGIN_ABI_MAJOR + 1,
                          .size = sizeof t,
                          .kind = WR_KIND_FILTER,
                          .name = "x",
                          .version = "1",
                          .description = "x"};
    assert_int_equal(wr_plugin_check(&t, &err), WR_ERR_INVALID);
    assert_non_null(strstr(err.text, "rebuild the plugin"));
    t.abi_major = WR_PLUGIN_ABI_MAJOR;
    t.abi_minor = WR_PLUGIN_ABI_MINOR + 1;
    assert_int_equal(wr_plugin_check(&t, &err), WR_ERR_INVALID);
    assert_non_null(strstr(err.text, "upgrade watchroom"));
}

static void test_table_shorter_than_its_required_slots_is_refused(void **state)
{
    (void)state;
    struct wr_errmsg err;
    struct wr_plugin t = {.abi_major = WR_PLUGIN_ABI_MAJOR,
                          .size = sizeof t,
                          .kind = WR_KIND_FILTER,
                          .name = "x",
                          .version = "1",
                          .description = "x"};
    assert_int_equal(wr_plugin_check(&t, &err), WR_ERR_INVALID);
    assert_non_null(strstr(err.text, "apply"));
}

/* The slots that the headers call required. */
#define REQUIRED(X)                            \
    X(SERVICE, service, start)                 \
    X(SERVICE, service, drain)                 \
    X(SERVICE, service, stop)                  \
    X(PROTOCOL, protocol, endpoints)           \
    X(PROTOCOL, protocol, open)                \
    X(PROTOCOL, protocol, message)             \
    X(PROTOCOL, protocol, result)              \
    X(PROTOCOL, protocol, encode_publications) \
    X(STORE, store, open)                      \
    X(STORE, store, close)                     \
    X(STORE, store, append)                    \
    X(STORE, store, history)                   \
    X(STORE, store, top)                       \
    X(STORE, store, rooms)                     \
    X(FILTER, filter, apply)                   \
    X(MUXER, muxer, extension)                 \
    X(MUXER, muxer, content_type)              \
    X(MUXER, muxer, codecs)                    \
    X(MUXER, muxer, open)                      \
    X(MUXER, muxer, close)                     \
    X(MUXER, muxer, mime)                      \
    X(MUXER, muxer, init)                      \
    X(MUXER, muxer, frame)                     \
    X(BLOB, blob, open)                        \
    X(BLOB, blob, close)                       \
    X(BLOB, blob, put)                         \
    X(BLOB, blob, each)                        \
    X(BLOB, blob, remove)                      \
    X(BLOB, blob, blob_open)                   \
    X(BLOB, blob, blob_close)                  \
    X(BLOB, blob, write)                       \
    X(BLOB, blob, sync)                        \
    X(BLOB, blob, read)                        \
    X(BLOB, blob, cut)                         \
    X(BLOB, blob, space)                       \
    X(AUTH, auth, may)

static const struct {
    enum wr_plugin_kind kind;
    size_t size, at;
    const char *name;
} required[] = {
#define X(kind, type, slot)                                                                        \
    {WR_KIND_##kind, sizeof(struct wr_##type##_plugin), offsetof(struct wr_##type##_plugin, slot), \
     #slot},
    REQUIRED(X)
#undef X
};

static void test_each_required_slot_of_each_kind_is_missed_by_name(void **state)
{
    (void)state;
    /* A slot that is a table is read: this one is whole, and ends for whoever reads it as another. */
    static const struct wr_protocol_endpoint here[] = {
        {WR_PROTOCOL_WEBSOCKET, "/x", NULL, 0, 0, NULL}, {0}};
    const void *set = here, *unset = NULL;
    union {
        struct wr_plugin base;
        unsigned char bytes[1024];
    } table;
    for (size_t i = 0; i < WR_ARRAY_LEN(required); i++) {
        struct wr_errmsg err;
        assert_true(required[i].size <= sizeof table);
        /* Every slot points at something but this one. */
        for (size_t at = 0; at < required[i].size; at += sizeof set)
            memcpy(table.bytes + at, &set, sizeof set);
        table.base = (struct wr_plugin){.abi_major = WR_PLUGIN_ABI_MAJOR,
                                        .size = (uint32_t)required[i].size,
                                        .kind = required[i].kind,
                                        .name = "x",
                                        .version = "1",
                                        .description = "x"};
        assert_int_equal(wr_plugin_check(&table.base, &err), WR_OK);
        memcpy(table.bytes + required[i].at, &unset, sizeof unset);
        assert_int_equal(wr_plugin_check(&table.base, &err), WR_ERR_INVALID);
        char want[128];
        snprintf(want, sizeof want, "lacks the required slot %s", required[i].name);
        assert_non_null(strstr(err.text, want));
    }
}

static void answers(const struct wr_protocol_endpoint *endpoints,
                    const struct wr_protocol_variant *variants, wr_err table, wr_err served,
                    const char *want)
{
    struct wr_errmsg why = {{0}};
    const struct wr_protocol_plugin p = {
        .base = {.name = "p"}, .endpoints = endpoints, .variants = variants};
    assert_int_equal(wr_protocol_check(&p, &why), table);
    if (table == WR_OK)
        assert_int_equal(wr_protocol_served(&p, "stt=127.0.0.1:1", &why), served);
    if (!strstr(why.text, want))
        fail_msg("%s", why.text);
}

static ptrdiff_t split(struct wr_slice bytes)
{
    return (ptrdiff_t)bytes.n;
}

#define ENDPOINTS(...)                    \
    (const struct wr_protocol_endpoint[]) \
    {                                     \
        __VA_ARGS__,                      \
        {                                 \
            0                             \
        }                                 \
    }

static void test_tables_of_a_protocol_are_whole_and_served(void **state)
{
    (void)state;
    const struct wr_protocol_variant nine[10] = {{"a", false}, {"b", true}, {"c", false},
                                                 {"d", false}, {"e", true}, {"f", false},
                                                 {"g", false}, {"h", true}, {"i", false}};
    const struct wr_protocol_variant two[] = {{"a", false}, {"b", true}, {NULL, false}};
    const struct wr_protocol_endpoint
        ws = {.transport = WR_PROTOCOL_WEBSOCKET, .at = "/x"},
        sse = {.transport = WR_PROTOCOL_SSE, .at = "/x/sse"},
        tcp = {.transport = WR_PROTOCOL_TCP, .at = "stt"},
        split_tcp = {.transport = WR_PROTOCOL_TCP, .at = "stt", .split = split},
        other_tcp = {.transport = WR_PROTOCOL_TCP, .at = "lines", .split = split},
        bare = {.transport = WR_PROTOCOL_WEBSOCKET, .at = "x"},
        nowhere = {.transport = WR_PROTOCOL_WEBSOCKET},
        odd = {.transport = (enum wr_protocol_transport)77, .at = "/x"};
    answers(ENDPOINTS(ws), NULL, WR_OK, WR_OK, "");
    answers(ENDPOINTS(ws, ws), two, WR_OK, WR_OK, "");
    answers(ENDPOINTS({0}), NULL, WR_ERR_INVALID, WR_OK, "has no endpoint");
    answers(ENDPOINTS(ws, bare), NULL, WR_ERR_INVALID, WR_OK, "begins without '/'");
    answers(ENDPOINTS(nowhere), NULL, WR_ERR_INVALID, WR_OK, "without a place");
    answers(ENDPOINTS(tcp), NULL, WR_ERR_INVALID, WR_OK, "without split");
    answers(ENDPOINTS(odd), NULL, WR_ERR_INVALID, WR_OK, "unknown transport");
    answers(ENDPOINTS(ws), nine, WR_ERR_INVALID, WR_OK, "more than 8 variants");
    answers(ENDPOINTS(ws, sse), NULL, WR_OK, WR_ERR_UNAVAILABLE, "server-sent events at /x/sse");
    answers(ENDPOINTS(split_tcp), NULL, WR_OK, WR_OK, "");
    answers(ENDPOINTS(ws, other_tcp), NULL, WR_OK, WR_ERR_UNAVAILABLE, "like lines=127.0.0.1:9000");
    const struct wr_protocol_plugin web = {.endpoints = ENDPOINTS(ws)},
                                    stt = {.endpoints = ENDPOINTS(ws, split_tcp)};
    const struct wr_protocol_plugin *const both[] = {&web, &stt};
    struct wr_errmsg why = {{0}};
    assert_int_equal(wr_protocol_ports_used("", both, 0, &why), WR_OK);
    assert_int_equal(wr_protocol_ports_used("stt=127.0.0.1:1", both, 2, &why), WR_OK);
    assert_int_equal(wr_protocol_ports_used("stt=127.0.0.1:1", both, 1, &why), WR_ERR_INVALID);
    assert_int_equal(wr_protocol_ports_used("stt=127.0.0.1:1,x=[::1]:2", both, 2, &why),
                     WR_ERR_INVALID);
    assert_non_null(strstr(why.text, "an endpoint named x:"));
    const struct wr_protocol_plugin p = {.variants = two}, plain = {.variants = NULL};
    assert_int_equal(wr_protocol_num_variants(&p), 2);
    assert_int_equal(wr_protocol_num_variants(&plain), 1);
    assert_false(wr_protocol_is_binary(&p, 0));
    assert_true(wr_protocol_is_binary(&p, 1));
    assert_false(wr_protocol_is_binary(&plain, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fitting_plugin_is_found_by_kind_and_name),
        cmocka_unit_test(test_skipped_file_is_not_opened),
        cmocka_unit_test(test_missing_slot_is_named),
        cmocka_unit_test(test_undefined_symbol_is_named),
        cmocka_unit_test(test_missing_table_is_told),
        cmocka_unit_test(test_second_plugin_of_a_name_is_refused),
        cmocka_unit_test(test_metrics_of_a_refused_plugin_leave_with_it),
        cmocka_unit_test(test_folder_that_is_named_twice_is_read_once),
        cmocka_unit_test(test_other_abi_is_refused),
        cmocka_unit_test(test_each_required_slot_of_each_kind_is_missed_by_name),
        cmocka_unit_test(test_table_shorter_than_its_required_slots_is_refused),
        cmocka_unit_test(test_tables_of_a_protocol_are_whole_and_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
