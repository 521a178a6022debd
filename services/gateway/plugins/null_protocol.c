/* SPDX-License-Identifier: MIT
 *
 * Protocol `null-protocol` at /null: takes everything, says nothing. It stands where a test wants clients that cost only the
 * plane, and shows the least that a protocol has. */
#include "wr_protocol.h"

static void open_(void *state, const struct wr_protocol_api *api, struct wr_protocol_conn *c,
                  void *cs, const struct wr_protocol_open *o)
{
    (void)state;
    (void)api;
    (void)c;
    (void)cs;
    (void)o;
}

static void message(void *cs, struct wr_slice m, bool binary)
{
    (void)cs;
    (void)m;
    (void)binary;
}

static void result(void *cs, const struct wr_protocol_result *r)
{
    (void)cs;
    (void)r;
}

static void encode_publications(uint32_t variant, struct wr_slice room,
                                const struct wr_protocol_pub *pubs, size_t n, struct wr_buf *out)
{
    (void)variant;
    (void)room;
    (void)pubs;
    (void)n;
    (void)out;
}

static const struct wr_protocol_endpoint endpoints[] = {
    {.transport = WR_PROTOCOL_WEBSOCKET, .at = "/null"}, {0}};

WR_PLUGIN_EXPORT const struct wr_protocol_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_protocol_plugin, WR_KIND_PROTOCOL, "null-protocol", WR_VERSION,
                           "Takes everything, says nothing"),
    .endpoints = endpoints,
    .open = open_,
    .message = message,
    .result = result,
    .encode_publications = encode_publications,
};
