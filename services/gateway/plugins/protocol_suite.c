/* SPDX-License-Identifier: MIT
 *
 * The conformance suite of the protocol kind. The kit itself aborts on what no protocol may do: text that is not UTF-8, a
 * message behind a close, a close without a reason, published data with a raw newline. */
#include "protocol_suite.h"
#include "protocol_kit.h"
#include "wr_plugins.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static void table_is_whole(const struct wr_protocol_plugin *p)
{
    struct wr_errmsg err = {{0}};
    if (wr_plugin_check(&p->base, &err) != WR_OK)
        fail_msg("%s", err.text);
    if (wr_protocol_check(p, &err) != WR_OK)
        fail_msg("%s", err.text);
    assert_non_null(p->open);
    assert_non_null(p->message);
    assert_non_null(p->result);
    assert_non_null(p->encode_publications);
}

/* Whatever comes in, every request is answered with every error, and the protocol is closed in the middle of things. */
static void takes_anything(const struct wr_protocol_plugin *p)
{
    static const char *const messages[] = {
        "",
        "\n",
        "{}",
        "{\"id\":1,\"connect\":{}}",
        "hello",
        "{\"id\":2}\n{}",
        "[[[[",
        "\"",
        "{\"id\":3,\"subscribe\":{\"channel\":\"a\"}}",
        "{\"id\":4,\"publish\":{\"channel\":\"a\",\"data\":{\"text\":\"x\"}}}",
        "\xe6\x88\xbf\xe9\x97\xb4 \xf0\x9f\x8c\x9e",
        "{\"id\":5,\"history\":{\"channel\":\"a\"}}",
        "{\"id\":6,\"rpc\":{\"method\":\"kit.echo\",\"data\":[1]}}",
        "{\"id\":7,\"rpc\":{}}"};
    for (int code = WR_OK; code <= WR_ERR_POSITION; code++) {
        struct wr_protocol_conn k;
        kit_open(&k, p, "room=suite");
        for (size_t i = 0; i < WR_ARRAY_LEN(messages); i++)
            kit_say(&k, messages[i]);
        while (kit_answer(&k, (wr_err)code))
            ;
        kit_message(&k, wr_slice_of("\xff\x00\xfe", 3), true);
        if (!k.close_code && WR_PLUGIN_HAS(p, wake))
            for (unsigned i = 0; i < 4 && !k.close_code; i++)
                p->wake(k.cs);
        if (!k.close_code && WR_PLUGIN_HAS(p, unsubscribed))
            p->unsubscribed(k.cs, wr_slice_str("a"), code % 2 ? WR_ERR_POSITION : WR_ERR_DENIED);
        kit_close(&k);
    }
}

static void refuses_politely(const struct wr_protocol_plugin *p)
{
    struct wr_protocol_conn k;
    kit_open(&k, p, "room=suite");
    kit_say(&k, "{\"id\":1,\"connect\":{}}");
    for (int code = WR_ERR_INTERNAL; code <= WR_ERR_POSITION && !k.close_code; code++) {
        k.refuse = (wr_err)code;
        kit_say(&k, "{\"id\":2,\"subscribe\":{\"channel\":\"b\"}}");
        kit_say(&k, "{\"id\":3,\"publish\":{\"channel\":\"b\",\"data\":1}}");
    }
    kit_close(&k);
}

/* In every variant; a text one gives text whatever is in the room. */
static void encodes(const struct wr_protocol_plugin *p, const struct wr_protocol_pub *pubs,
                    size_t n)
{
    for (uint32_t v = 0; v < wr_protocol_num_variants(p); v++) {
        struct wr_buf b = {0};
        p->encode_publications(v, wr_slice_str("room \"1\""), pubs, n, &b);
        assert_false(b.failed);
        assert_true(wr_protocol_is_binary(p, v) || wr_utf8_valid(b.p, b.n));
        wr_buf_free(&b);
    }
}

static void encodes_what_others_stored(const struct wr_protocol_plugin *p)
{
    static const char *const types[] = {"", "text/plain", "application/octet-stream", "image/png"};
    static const char *const data[] = {
        "{\"text\":\"hello\"}",
        "null",
        "\"just a string\"",
        "[1,2,{\"a\":null}]",
        "{}",
        "{\"text\":5}",
        "{\"text\":\"a\\nb\\u0000\\ud800\"}",
        "{\"type\":\"file\",\"file\":{\"name\":\"a.pdf\",\"size\":123,\"url\":\"/files/x\"}}",
        "{\"type\":\"file\",\"file\":{}}",
        "{\"type\":\"file\",\"file\":7}"};
    struct wr_protocol_pub pubs[WR_ARRAY_LEN(data)];
    struct wr_protocol_info who = {.client = wr_slice_str("c\"1"),
                                   .conn_info = wr_slice_str("{\"name\":\"A\"}")};
    for (size_t i = 0; i < WR_ARRAY_LEN(data); i++) {
        const char *type = types[i % WR_ARRAY_LEN(types)];
        bool is_bytes = type[0] && type[0] != 't';
        pubs[i] = (struct wr_protocol_pub){.offset = i + 1,
                                           .time_ms = -1,
                                           .has_info = i % 2,
                                           .info = who,
                                           .type = wr_slice_str(type),
                                           .data = is_bytes ? wr_slice_of("\xff\x00\n\xfe", 4)
                                                            : wr_slice_str(data[i])};
        for (size_t n = 1; n <= i + 1; n++)
            encodes(p, pubs, n);
    }
    for (uint32_t v = 0; WR_PLUGIN_HAS(p, encode_members) && v < wr_protocol_num_variants(p); v++) {
        struct wr_buf b = {0};
        p->encode_members(v, wr_slice_str("r"), &who, 1, &who, 1, &b);
        assert_true(b.n > 0 && (wr_protocol_is_binary(p, v) || wr_utf8_valid(b.p, b.n)));
        wr_buf_free(&b);
    }
}

void protocol_suite(const struct wr_protocol_plugin *p)
{
    table_is_whole(p);
    takes_anything(p);
    refuses_politely(p);
    encodes_what_others_stored(p);
}
