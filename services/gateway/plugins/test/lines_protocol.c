/* SPDX-License-Identifier: MIT
 *
 * Protocol `lines`, for tests: one on TCP, at the port `lines` of gateway.ports. A line ends with a newline.
 *
 *     in, the first line     the room
 *     in, others             published as text/plain; "bad" ends the connection by the protocol's split
 *     out                    "+" when he is in the room, then "OFFSET DATA" for each entry; "=OFFSET" for what he published,
 *                            "?SENTENCE" when it was refused */
#include "wr_id.h"
#include "wr_protocol.h"
#include <stdio.h>

struct conn {
    const struct wr_protocol_api *api;
    struct wr_protocol_conn *c;
    size_t room_len;
    char room[64];
};

static ptrdiff_t split(struct wr_slice bytes)
{
    const uint8_t *end = memchr(bytes.p, '\n', bytes.n);
    if (!end)
        return 0;
    ptrdiff_t n = end - bytes.p + 1;
    return n == 4 && memcmp(bytes.p, "bad", 3) == 0 ? WR_PROTOCOL_SPLIT_BAD : n;
}

static void open_(void *state, const struct wr_protocol_api *api, struct wr_protocol_conn *c,
                  void *cs, const struct wr_protocol_open *o)
{
    struct conn *l = cs;
    char client[37];
    (void)state;
    (void)o;
    l->api = api;
    l->c = c;
    wr_id_uuid(client);
    if (!api->identify(c, wr_slice_str(client), wr_slice_str(o->client), (struct wr_slice){0}))
        api->close(c, 1011, "out of memory");
}

static void say(struct conn *l, char mark, const char *text)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "%c%s\n", mark, text);
    l->api->send(l->c, wr_slice_of(b.p, b.n), false);
    wr_buf_free(&b);
}

static wr_err enter(struct conn *l, struct wr_slice line)
{
    l->room_len = WR_MIN(line.n, sizeof l->room - 1);
    memcpy(l->room, line.p, l->room_len);
    const struct wr_protocol_subscribe sub = {.room = wr_slice_of(l->room, l->room_len)};
    return l->api->subscribe(l->c, &sub, 0);
}

static void message(void *cs, struct wr_slice m, bool binary)
{
    struct conn *l = cs;
    struct wr_slice line = wr_slice_of(m.p, m.n - 1);
    (void)binary;
    const struct wr_protocol_publish req = {.room = wr_slice_of(l->room, l->room_len),
                                            .type = wr_slice_str("text/plain"),
                                            .data = line};
    wr_err e = l->room_len ? l->api->publish(l->c, &req, 0) : enter(l, line);
    if (e != WR_OK)
        say(l, '?', wr_err_text(e));
}

static void result(void *cs, const struct wr_protocol_result *r)
{
    char offset[24] = "";
    if (r->op == WR_PROTOCOL_PUBLISH)
        (void)snprintf(offset, sizeof offset, "%llu", (unsigned long long)r->offset);
    if (r->code != WR_OK)
        say(cs, '?', r->message);
    else
        say(cs, r->op == WR_PROTOCOL_PUBLISH ? '=' : '+', offset);
}

static void encode_publications(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *out)
{
    (void)variant;
    (void)room;
    for (size_t i = 0; i < n; i++) {
        wr_buf_fmt(out, "%llu ", (unsigned long long)pubs[i].offset);
        wr_buf_slice(out, pubs[i].data);
        wr_buf_char(out, '\n');
    }
}

static const struct wr_protocol_endpoint endpoints[] = {
    {.transport = WR_PROTOCOL_TCP, .at = "lines", .split = split}, {0}};

WR_PLUGIN_EXPORT const struct wr_protocol_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_protocol_plugin, WR_KIND_PROTOCOL, "lines", "1.0",
                           "Lines on a TCP port; for tests"),
    .conn_size = sizeof(struct conn),
    .endpoints = endpoints,
    .open = open_,
    .message = message,
    .result = result,
    .encode_publications = encode_publications,
};
