/* SPDX-License-Identifier: MIT
 *
 * Protocol `typed`, for tests: what a protocol may be beyond those that are served. Two endpoints; two variants, which a
 * connection picks by subprotocol or query; it publishes bytes of any type and calls methods.
 *
 *     /typed?room=R, /typed/too?room=R     WebSocket; subprotocol typed-binary or ?form=binary: binary messages out
 *     in, text "!NAME ARGS"                a call
 *     in, text or binary                   published as text/plain or application/octet-stream
 *     out, for each message of the room    one line an entry: "OFFSET TYPE DATA"
 *     out, for himself                     "=OFFSET EPOCH" published, "=DATA" called, "?CODE SENTENCE" refused */
#include "wr_id.h"
#include "wr_protocol.h"

enum variant { TEXT, BINARY };

struct conn {
    const struct wr_protocol_api *api;
    struct wr_protocol_conn *c;
    bool is_binary;
    char room[64];
};

static void say(struct conn *t, struct wr_buf *b)
{
    t->api->send(t->c, wr_slice_of(b->p, b->n), t->is_binary);
    wr_buf_free(b);
}

static void say_error(struct conn *t, wr_err code, const char *sentence)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "?%d %s", (int)code, sentence);
    say(t, &b);
}

static void open_(void *state, const struct wr_protocol_api *api, struct wr_protocol_conn *c,
                  void *cs, const struct wr_protocol_open *o)
{
    struct conn *t = cs;
    char client[37], form[16] = "";
    (void)state;
    t->api = api;
    t->c = c;
    (void)o->param(o, "form", form, sizeof form);
    (void)o->param(o, "room", t->room, sizeof t->room);
    t->is_binary = strcmp(form, "binary") == 0 || strcmp(o->subprotocol, "typed-binary") == 0;
    api->pick(c, t->is_binary ? BINARY : TEXT);
    wr_id_uuid(client);
    const struct wr_protocol_subscribe sub = {.room = wr_slice_str(t->room)};
    if (!api->identify(c, wr_slice_str(client), (struct wr_slice){0}, (struct wr_slice){0}) ||
        api->subscribe(c, &sub, 0) != WR_OK)
        api->close(c, 1008, "?room= is missing");
}

static wr_err call(struct conn *t, struct wr_slice m)
{
    const uint8_t *space = memchr(m.p, ' ', m.n);
    size_t n = space ? (size_t)(space - m.p) : m.n;
    struct wr_slice args = {0};
    if (space)
        args = wr_slice_of(space + 1, m.n - n - 1);
    return t->api->call(t->c, wr_slice_of(m.p + 1, n - 1), args, 0);
}

static void message(void *cs, struct wr_slice m, bool binary)
{
    struct conn *t = cs;
    const struct wr_protocol_publish req = {
        .room = wr_slice_str(t->room),
        .type = wr_slice_str(binary ? "application/octet-stream" : "text/plain"),
        .data = m};
    wr_err e = m.n && !binary && m.p[0] == '!' ? call(t, m) : t->api->publish(t->c, &req, 0);
    if (e != WR_OK)
        say_error(t, e, wr_err_text(e));
}

static void result(void *cs, const struct wr_protocol_result *r)
{
    struct conn *t = cs;
    struct wr_buf b = {0};
    if (r->code != WR_OK) {
        say_error(t, r->code, r->message);
        return;
    }
    wr_buf_char(&b, '=');
    if (r->op == WR_PROTOCOL_CALL) {
        wr_buf_slice(&b, r->data);
    } else {
        wr_buf_fmt(&b, "%llu ", (unsigned long long)r->offset);
        wr_buf_slice(&b, r->epoch);
    }
    say(t, &b);
}

static void unsubscribed(void *cs, struct wr_slice room, wr_err why)
{
    (void)room;
    say_error(cs, why, "unsubscribed");
}

static void encode_publications(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *out)
{
    (void)room;
    for (size_t i = 0; i < n; i++) {
        bool shows = variant == BINARY || wr_protocol_is_json(&pubs[i]) ||
                     wr_utf8_valid(pubs[i].data.p, pubs[i].data.n);
        wr_buf_fmt(out, "%llu ", (unsigned long long)pubs[i].offset);
        wr_buf_slice(out, pubs[i].type.n ? pubs[i].type : wr_slice_str("json"));
        wr_buf_char(out, ' ');
        wr_buf_slice(out, shows ? pubs[i].data : wr_slice_str("?"));
        if (i + 1 < n)
            wr_buf_char(out, '\n');
    }
}

static const char *const subprotocols[] = {"typed-text", "typed-binary", NULL};
static const struct wr_protocol_endpoint endpoints[] = {
    {.transport = WR_PROTOCOL_WEBSOCKET, .at = "/typed", .subprotocols = subprotocols},
    {.transport = WR_PROTOCOL_WEBSOCKET, .at = "/typed/too"},
#ifdef WR_UNSERVED
    {.transport = WR_PROTOCOL_SSE, .at = "/typed/sse"},
#endif
    {0}};
static const struct wr_protocol_variant variants[] = {
    [TEXT] = {"text", false}, [BINARY] = {"binary", true}, {0}};

#ifdef WR_UNSERVED
#define NAME "unserved"
#else
#define NAME "typed"
#endif
WR_PLUGIN_EXPORT const struct wr_protocol_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_protocol_plugin, WR_KIND_PROTOCOL, NAME, "1.0",
                           "Bytes with types, two variants, calls; for tests"),
    .conn_size = sizeof(struct conn),
    .endpoints = endpoints,
    .variants = variants,
    .open = open_,
    .message = message,
    .result = result,
    .unsubscribed = unsubscribed,
    .encode_publications = encode_publications,
};
