/* SPDX-License-Identifier: MIT
 *
 * Claims about the configuration: defaults, what is read, and the sentence for each thing that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "wr_config.h"

static struct wr_config *parsed(const char *yaml)
{
    struct wr_config *c = NULL;
    struct wr_errmsg err = {""};
    wr_err e = wr_config_parse("w.yml", wr_slice_str(yaml), WR_SHAPE_ALL_IN_ONE, &c, &err);
    if (e)
        fail_msg("%s", err.text);
    return c;
}

static void refused(const char *yaml, const char *sentence)
{
    struct wr_config *c = NULL;
    struct wr_errmsg err = {""};
    assert_int_equal(wr_config_parse("w.yml", wr_slice_str(yaml), WR_SHAPE_ALL_IN_ONE, &c, &err),
                     WR_ERR_INVALID);
    assert_null(c);
    assert_string_equal(err.text, sentence);
}

static void expect_history(const struct wr_config *c, const char *room, uint64_t count,
                           int64_t age_ms)
{
    uint64_t has_count;
    int64_t has_age_ms;
    wr_config_history(c, wr_slice_str(room), &has_count, &has_age_ms);
    assert_int_equal(has_count, count);
    assert_int_equal(has_age_ms, age_ms);
}

static void test_nothing_configured_is_room_and_stream_demo(void **s)
{
    (void)s;
    static const char *const empty[] = {"", "# only a comment\n", "---\n", "streams:\nrooms:\n",
                                        "gateway: {}\n"};
    for (size_t i = 0; i < WR_ARRAY_LEN(empty); i++) {
        struct wr_config *c = parsed(empty[i]);
        assert_int_equal(c->num_streams, 1);
        assert_string_equal(c->streams[0].name, "demo");
        assert_string_equal(c->streams[0].url, "synthetic:");
        assert_int_equal(c->streams[0].linger_ms, 10000);
        assert_int_equal(c->num_rooms, 1);
        assert_string_equal(c->rooms[0].stream, "demo");
        expect_history(c, "demo", 10000, INT64_C(30) * 86400000);
        assert_string_equal(c->gateway.listen, "127.0.0.1:8000");
        assert_int_equal(c->gateway.chat_queue_bytes, 1048576);
        assert_int_equal(c->filestore.min_free_bytes, 64u << 20);
        assert_string_equal(c->data, "./data");
        wr_config_free(&c);
        assert_null(c);
    }
}

static void test_shape_decides_where_services_meet(void **s)
{
    (void)s;
    struct wr_config *c = parsed("");
    assert_string_equal(c->bus.hub_events, "inproc://hub/events");
    wr_config_free(&c);
    struct wr_errmsg err;
    assert_int_equal(wr_config_parse("w.yml",
                                     wr_slice_str("bus: { hub: 'tcp://hub:7101,tcp://hub2:7101' }"),
                                     WR_SHAPE_SPLIT, &c, &err),
                     WR_OK);
    assert_string_equal(c->bus.hub, "tcp://hub:7101,tcp://hub2:7101");
    assert_string_equal(c->bus.hub_listen, "tcp://127.0.0.1:7101");
    assert_string_equal(c->bus.filestore_events, "tcp://127.0.0.1:7302");
    wr_config_free(&c);
}

static void test_stream_is_url_or_mapping(void **s)
{
    (void)s;
    struct wr_config *c = parsed(
        "streams:\n"
        "  hall: rtsp://admin:secret@192.168.10.129/cam/realmonitor?channel=1&subtype=0\n"
        "  door: { url: 'RTSP://door/1', transport: udp, always: true, linger: 1m }\n"
        "rooms:\n"
        "  大厅: { stream: hall, history: { count: 500, age: 12h } }\n"
        "  quiet:\n");
    const struct wr_config_stream *door = wr_config_stream_named(c, wr_slice_str("door"));
    assert_string_equal(wr_config_stream_named(c, wr_slice_str("hall"))->url,
                        "rtsp://admin:secret@192.168.10.129/cam/realmonitor?channel=1&subtype=0");
    assert_string_equal(door->transport, "udp");
    assert_true(door->always);
    assert_int_equal(door->linger_ms, 60000);
    const struct wr_config_room *hall = wr_config_room_named(c, wr_slice_str("大厅"));
    assert_string_equal(hall->stream, "hall");
    assert_int_equal(hall->history_count, 500);
    assert_int_equal(hall->history_age_ms, 12 * 3600000);
    assert_string_equal(wr_config_room_named(c, wr_slice_str("quiet"))->stream, "");
    assert_null(wr_config_room_named(c, wr_slice_str("hall")));
    wr_config_free(&c);
}

static void test_history_is_said_by_room_pattern_or_default(void **s)
{
    (void)s;
    struct wr_config *c = parsed("hub: { history_count: 100, history_age: 1h }\n"
                                 "rooms:\n"
                                 "  class-a: { history: { count: 7 } }\n"
                                 "  'class-*': { history: { count: 20, age: 2h } }\n"
                                 "  '*-short': { history: { age: 1m } }\n"
                                 "  hall:\n");
    assert_int_equal(c->num_rooms, 2); /* a pattern is no room */
    assert_int_equal(c->num_room_patterns, 2);
    expect_history(c, "hall", 100, 3600000);
    expect_history(c, "anything", 100, 3600000);
    expect_history(c, "class-a", 7, 7200000);
    expect_history(c, "class-b", 20, 7200000);
    expect_history(c, "class-short", 20, 7200000); /* the first that fits */
    expect_history(c, "very-short", 100, 60000);
    struct wr_errmsg err = {""};
    assert_int_equal(wr_config_set(c, "hub.history_count", "5", &err), WR_OK);
    expect_history(c, "hall", 5, 3600000);
    wr_config_free(&c);
    refused("rooms: { 'a*': { stream: hall } }",
            "w.yml:1: rooms.a*.stream: a name with * stands for rooms that fit, and those have no "
            "stream by it; remove the line, or name the room");
    refused("hub: { history_age: 30 }",
            "w.yml:1: hub.history_age: \"30\" is not a time; write it like 10s, 12h or "
            "30d, with its unit");
}

static void test_stream_without_room_gets_one(void **s)
{
    (void)s;
    struct wr_config *c = parsed("streams: { cam: 'rtsp://c/1' }");
    assert_int_equal(c->num_rooms, 1);
    assert_string_equal(wr_config_room_named(c, wr_slice_str("cam"))->stream, "cam");
    wr_config_free(&c);
    c = parsed("data: /d\nplugin_path: /a:/b\nlog: { level: warn, format: json }\n");
    assert_string_equal(c->data, "/d");
    assert_string_equal(c->plugin_path, "/a:/b");
    assert_string_equal(c->log.level, "warn");
    assert_string_equal(c->log.format, "json");
    wr_config_free(&c);
    c = parsed("rooms: { office: {} }"); /* rooms alone: nothing is made up */
    assert_int_equal(c->num_streams, 0);
    assert_int_equal(c->num_rooms, 1);
    wr_config_free(&c);
}

static void test_sizes_times_and_lists_are_read_with_units(void **s)
{
    (void)s;
    struct wr_config *c = parsed("hub: { max_message_bytes: 32KiB }\n"
                                 "gateway:\n"
                                 "  chat_queue_bytes: 2_000_000\n"
                                 "  media_queue_ms: 500\n"
                                 "  max_upload_bytes: 20GB\n"
                                 "  muxers: [fmp4]\n"
                                 "  protocols: [text, centrifuge-json, mine]\n"
                                 "  health: off\n"
                                 "  ports: [ lines=9001 , 'stt=[::1]:8601' ]\n"
                                 "  listen: ':9000'\n"
                                 "ingest: { no_packet_ms: 3s }\n"
                                 "filestore: { expire_hours: 2d }\n");
    assert_int_equal(c->hub.max_message_bytes, 32768);
    assert_int_equal(c->gateway.chat_queue_bytes, 2000000);
    assert_int_equal(c->gateway.media_queue_ms, 500);
    assert_true(c->gateway.max_upload_bytes == UINT64_C(20000000000));
    assert_string_equal(c->gateway.muxers, "fmp4");
    assert_string_equal(c->gateway.protocols, "text,centrifuge-json,mine");
    assert_string_equal(c->gateway.health, "");
    assert_string_equal(c->gateway.ports, "lines=127.0.0.1:9001,stt=[::1]:8601");
    const char *at = c->gateway.ports;
    char name[64], address[80];
    assert_true(wr_config_next_port(&at, name, address));
    assert_string_equal(name, "lines");
    assert_string_equal(address, "127.0.0.1:9001");
    assert_true(wr_config_next_port(&at, name, address));
    assert_string_equal(name, "stt");
    assert_string_equal(address, "[::1]:8601");
    assert_false(wr_config_next_port(&at, name, address));
    assert_string_equal(c->gateway.listen, "0.0.0.0:9000");
    assert_int_equal(c->ingest.no_packet_ms, 3000);
    assert_int_equal(c->filestore.expire_hours, 48);
    wr_config_free(&c);
}

/* Wherever they stand among those of sections, in the file and in the schema. */
static void test_keys_of_no_section_are_known(void **s)
{
    (void)s;
    struct wr_config *c = parsed("log: { format: json }\nplugin_path: /opt/x\ngateway: { auth: "
                                 "\"deny=a+b\" }\ndata: /srv\n");
    assert_string_equal(c->plugin_path, "/opt/x");
    assert_string_equal(c->data, "/srv");
    assert_string_equal(c->gateway.auth, "deny=a+b");
    wr_config_free(&c);
}

static void test_unknown_keys_are_refused_with_the_nearest(void **s)
{
    (void)s;
    refused("gateway:\n  listne: 127.0.0.1:1\n",
            "w.yml:2: gateway.listne: no such key; did you mean listen?");
    refused("\n\nstream: {}\n", "w.yml:3: stream: no such key; did you mean streams?");
    refused("streams: { a: { urll: 'rtsp://a/' } }",
            "w.yml:1: streams.a.urll: no such key; did you mean url?");
    refused("rooms: { a: { history: { cuont: 1 } } }",
            "w.yml:1: rooms.a.history.cuont: no such key; did you mean count?");
    refused("xylophone: 1\n", "w.yml:1: xylophone: no such key; remove it, or look into "
                              "examples/watchroom.yml for what there is");
}

static void test_wrong_types_are_refused(void **s)
{
    (void)s;
    refused("gateway: 7\n",
            "w.yml:1: gateway: needs a mapping (key: value lines), here is a single value");
    refused("data: [a]\n", "w.yml:1: data: needs a single value, here is a list");
    refused("- a\n", "w.yml:1: needs a mapping (key: value lines), here is a list");
    refused("gateway:\n  http_threads: many\n",
            "w.yml:2: gateway.http_threads: \"many\" is not a number; write it like 100");
    refused("hub: { max_message_bytes: 64Kib }\n",
            "w.yml:1: hub.max_message_bytes: \"64Kib\" is not a size; write it like 64KiB, "
            "4MiB or 2GiB");
    refused("hub: { max_message_bytes: -1 }\n",
            "w.yml:1: hub.max_message_bytes: \"-1\" is not a size; write it like 64KiB, 4MiB "
            "or 2GiB");
    refused("gateway: { http_threads: 99999999999999999999 }\n",
            "w.yml:1: gateway.http_threads: \"99999999999999999999\" is not a number; write it "
            "like 100");
    refused("gateway: { http_threads: 1 }\n",
            "w.yml:1: gateway.http_threads: 1 is out of bounds; use 4 to 4096");
    refused("streams: { a: { url: 'rtsp://a', always: maybe } }",
            "w.yml:1: streams.a.always: \"maybe\" is neither true nor false; write one of them");
    refused("streams: { a: { url: 'rtsp://a', transport: tcp udp } }",
            "w.yml:1: streams.a.transport: \"tcp udp\" is not known here; use one of: tcp udp");
    refused("rooms: { a: { history: { age: 30 } } }",
            "w.yml:1: rooms.a.history.age: \"30\" is not a time; write it like 10s, 12h or 30d, "
            "with its unit");
    refused("gateway: { listen: '127.0.0.1' }",
            "w.yml:1: gateway.listen: \"127.0.0.1\" is not ADDRESS:PORT; write it like "
            "127.0.0.1:8000 (or 0.0.0.0:8000 for "
            "every address)");
    static const char *const ports[] = {"lines",           "=1",      "lines=x", "a b=1",
                                        "lines=1,lines=2", "a=1,,b=2"};
    static const char *const wrong[] = {"lines", "=1", "lines=x", "a b=1", "lines=2", ""};
    for (size_t i = 0; i < WR_ARRAY_LEN(ports); i++) {
        char text[100], want[200];
        snprintf(text, sizeof text, "gateway: { ports: '%s' }", ports[i]);
        snprintf(want, sizeof want,
                 "w.yml:1: gateway.ports: \"%s\" is not NAME=ADDRESS:PORT with a name of its own; "
                 "write it like lines=127.0.0.1:9000",
                 wrong[i]);
        refused(text, want);
    }
    refused("bus: { hub: 'http://x' }", "w.yml:1: bus.hub: \"http://x\" is not a bus address; "
                                        "write it like tcp://127.0.0.1:7101, ipc:///run/hub or "
                                        "inproc://hub");
    refused("data:\n", "w.yml:1: data: has no value; give one, or remove the line for the default");
    refused("data: \"a\\0b\"\n", "w.yml:1: data: holds a NUL byte; remove it");
}

static void test_broken_yaml_names_the_line(void **s)
{
    (void)s;
    struct wr_config *c;
    struct wr_errmsg err;
    assert_int_equal(wr_config_parse("w.yml", wr_slice_str("gateway:\n  listen: [1\nhub: x\n"),
                                     WR_SHAPE_SPLIT, &c, &err),
                     WR_ERR_INVALID);
    assert_memory_equal(err.text, "w.yml:3: not valid YAML: ", 25);
    assert_int_equal(
        wr_config_parse("w.yml", wr_slice_of("a: \xff\xfe", 5), WR_SHAPE_SPLIT, &c, &err),
        WR_ERR_INVALID);
    assert_non_null(strstr(err.text, "not UTF-8"));
    refused("data: x\n---\ndata: y\n", "w.yml:3: a second document begins here; the configuration "
                                       "is one document, remove the ---");
}

static void test_duplicates_are_refused(void **s)
{
    (void)s;
    refused("data: a\ndata: b\n", "w.yml:2: data is here twice, first in line 1; keep one");
    refused("rooms:\n  a: {}\n  a: {}\n",
            "w.yml:3: rooms: a is here twice, first in line 2; keep one");
}

static void test_room_of_unknown_stream_is_refused(void **s)
{
    (void)s;
    refused("rooms:\n  x: {}\n  a: { stream: hal }\nstreams: { hall: 'rtsp://h' }\n",
            "w.yml:3: rooms.a.stream: no stream is named \"hal\"; did you mean hall?");
    refused("rooms:\n  a:\n\n    stream: hal\nstreams: { hall: 'rtsp://h' }\n",
            "w.yml:4: rooms.a.stream: no stream is named \"hal\"; did you mean hall?");
}

static void test_refused_url_does_not_show_its_password(void **s)
{
    (void)s;
    refused("streams: { a: 'http://user:hunter2@cam/' }",
            "w.yml:1: streams.a: this kind of source cannot be opened; use rtsp://..., rtsps://... "
            "or synthetic:");
    refused("streams: { a: 'file:///etc/passwd' }",
            "w.yml:1: streams.a: this kind of source cannot be opened; use rtsp://..., rtsps://... "
            "or synthetic:");
}

static void test_names_that_leave_a_path_are_refused(void **s)
{
    (void)s;
    refused(
        "rooms: { ../etc: {} }",
        "w.yml:1: rooms: \"../etc\" cannot be a name; use up to 255 bytes of text without / and \\ "
        "and without a leading dot");
}

static void test_alias_cycles_do_not_loop(void **s)
{
    (void)s;
    struct wr_config *c;
    struct wr_errmsg err;
    assert_int_equal(
        wr_config_parse("w.yml", wr_slice_str("rooms: &a { a: *a }"), WR_SHAPE_SPLIT, &c, &err),
        WR_ERR_INVALID);
}

static void test_environment_overrides_the_file(void **s)
{
    (void)s;
    struct wr_config *c = NULL;
    struct wr_errmsg err = {""};
    char path[] = "/tmp/wr-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "gateway: { listen: '127.0.0.1:1', max_uploads: 7 }\n", 51), 51);
    close(fd);
    setenv("WATCHROOM_GATEWAY_LISTEN", "0.0.0.0:2", 1);
    setenv("WATCHROOM_BUS_HUB", "tcp://hub:7101", 1);
    setenv("WATCHROOM_DATA", "", 1); /* empty counts as unset */
    assert_int_equal(wr_config_load(path, WR_SHAPE_SPLIT, &c, &err), WR_OK);
    assert_string_equal(c->gateway.listen, "0.0.0.0:2");
    assert_int_equal(c->gateway.max_uploads, 7);
    assert_string_equal(c->bus.hub, "tcp://hub:7101");
    assert_string_equal(c->data, "./data");
    assert_string_equal(c->file, path);
    wr_config_free(&c);
    setenv("WATCHROOM_GATEWAY_LISTEN", "nowhere", 1);
    assert_int_equal(wr_config_load(path, WR_SHAPE_SPLIT, &c, &err), WR_ERR_INVALID);
    assert_memory_equal(err.text, "environment: WATCHROOM_GATEWAY_LISTEN: ", 39);
    unsetenv("WATCHROOM_GATEWAY_LISTEN");
    unsetenv("WATCHROOM_BUS_HUB");
    unsetenv("WATCHROOM_DATA");
    unlink(path);
    assert_int_equal(wr_config_load(path, WR_SHAPE_SPLIT, &c, &err), WR_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "cannot be read"));
}

static void test_set_is_what_a_flag_does(void **s)
{
    (void)s;
    struct wr_config *c = parsed("");
    struct wr_errmsg err;
    assert_int_equal(wr_config_set(c, "gateway.listen", "[::1]:8080", &err), WR_OK);
    assert_string_equal(c->gateway.listen, "[::1]:8080");
    assert_int_equal(wr_config_set(c, "gateway.listen", "8080", &err), WR_OK);
    assert_string_equal(c->gateway.listen, "127.0.0.1:8080");
    assert_int_equal(wr_config_set(c, "gateway.listen", "1.2.3.4:99999", &err), WR_ERR_INVALID);
    assert_int_equal(wr_config_set(c, "gateway.liste", "x", &err), WR_ERR_INVALID);
    assert_string_equal(err.text, "gateway.liste: no such key; did you mean gateway.listen?");
    wr_config_free(&c);
}

static void test_redacted_url_shows_no_credentials(void **s)
{
    (void)s;
    static const char *const table[][2] = {
        {"rtsp://admin:secret@10.0.0.1/cam?x=1", "rtsp://***@10.0.0.1/cam?x=1"},
        {"rtsp://10.0.0.1:554/cam", "rtsp://10.0.0.1:554/cam"},
        {"rtsp://a:p@ss/w?rd@host/x", "rtsp://***@host/x"},
        {"rtsp://h/?user=admin&password=secret&channel=1",
         "rtsp://h/?user=admin&password=***&channel=1"},
        {"rtsp://h/user=admin_password=tlJwpbo6_channel=1",
         "rtsp://h/user=admin_password=***_channel=1"},
        {"synthetic:", "synthetic:"},
    };
    char out[128];
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++) {
        wr_url_redact(table[i][0], out, sizeof out);
        assert_string_equal(out, table[i][1]);
    }
    wr_url_redact("rtsp://admin:secret@10.0.0.1/", out, 8);
    assert_string_equal(out, "rtsp://");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_configured_is_room_and_stream_demo),
        cmocka_unit_test(test_shape_decides_where_services_meet),
        cmocka_unit_test(test_stream_is_url_or_mapping),
        cmocka_unit_test(test_history_is_said_by_room_pattern_or_default),
        cmocka_unit_test(test_stream_without_room_gets_one),
        cmocka_unit_test(test_sizes_times_and_lists_are_read_with_units),
        cmocka_unit_test(test_keys_of_no_section_are_known),
        cmocka_unit_test(test_unknown_keys_are_refused_with_the_nearest),
        cmocka_unit_test(test_wrong_types_are_refused),
        cmocka_unit_test(test_broken_yaml_names_the_line),
        cmocka_unit_test(test_duplicates_are_refused),
        cmocka_unit_test(test_room_of_unknown_stream_is_refused),
        cmocka_unit_test(test_refused_url_does_not_show_its_password),
        cmocka_unit_test(test_names_that_leave_a_path_are_refused),
        cmocka_unit_test(test_alias_cycles_do_not_loop),
        cmocka_unit_test(test_environment_overrides_the_file),
        cmocka_unit_test(test_set_is_what_a_flag_does),
        cmocka_unit_test(test_redacted_url_shows_no_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
