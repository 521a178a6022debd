/* SPDX-License-Identifier: MIT
 *
 * Muxer `null`: takes every track and gives the payloads one after another, with nothing around them. For tests and for
 * measuring what a muxer costs; no player can play it. */
#include "wr_muxer.h"

#include <stdio.h>

static wr_err null_open(void *state, const struct wr_track *tracks, size_t n, struct wr_errmsg *err)
{
    (void)state, (void)tracks;
    if (n > 0)
        return WR_OK;
    wr_errmsg_set(err, "null needs a track");
    return WR_ERR_INVALID;
}

static void null_close(void *state)
{
    (void)state;
}

static void null_mime(void *state, char *out, size_t n)
{
    (void)state;
    snprintf(out, n, "application/octet-stream");
}

static void null_init(void *state, enum wr_mux_init what, struct wr_mux_sink *sink)
{
    (void)state, (void)what, (void)sink;
}

static void null_frame(void *state, const struct wr_media_frame *f, struct wr_mux_sink *sink)
{
    (void)state;
    sink->payload(sink, f->data);
}

static const enum wr_codec codecs[] = {WR_MUXER_ANY, WR_CODEC_NONE};

WR_PLUGIN_EXPORT const struct wr_muxer_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE(struct wr_muxer_plugin, WR_KIND_MUXER, "null", WR_VERSION,
                           "Bare payloads, for tests and measurements"),
    .extension = "raw",
    .content_type = "application/octet-stream",
    .flags = WR_MUXER_INLINE_INIT,
    .codecs = codecs,
    .max_tracks = {[WR_MEDIA_VIDEO] = WR_TRACKS_MAX, [WR_MEDIA_AUDIO] = WR_TRACKS_MAX},
    .open = null_open,
    .close = null_close,
    .mime = null_mime,
    .init = null_init,
    .frame = null_frame,
};
