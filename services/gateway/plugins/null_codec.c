/* SPDX-License-Identifier: MIT
 *
 * Codec `null-codec` at /null: takes everything, says nothing. It stands where a test wants clients that cost only the
 * plane, and shows the least that a codec has. */
#include "wr_codec.h"

static void open_(void *state, const struct wr_codec_api *api, struct wr_codec_conn *c, void *cs,
                  const struct wr_codec_open *o)
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

static void result(void *cs, const struct wr_codec_result *r)
{
    (void)cs;
    (void)r;
}

static void encode_publications(struct wr_slice room, const struct wr_codec_pub *pubs, size_t n,
                                struct wr_buf *out)
{
    (void)room;
    (void)pubs;
    (void)n;
    (void)out;
}

WR_PLUGIN_EXPORT const struct wr_codec_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_codec_plugin, WR_KIND_CODEC, "null-codec", WR_VERSION,
                           "Takes everything, says nothing"),
    .path = "/null",
    .open = open_,
    .message = message,
    .result = result,
    .encode_publications = encode_publications,
};
