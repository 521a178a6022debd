/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `muxer`: coded frames in the stored form to one container format. A muxer adds the container's few bytes
 * around payloads that it never copies; its output is made once and shared by all viewers of the format.
 *
 * One state muxes one stream in one format; the gateway calls its slots one at a time. A new epoch (new parameter sets)
 * is `close` and `open` on the same state. dts and pts are the stream's time line from its origin on (StreamInfo.origin_us,
 * which the gateway took off, so that small clocks carry them): they begin near 0 when the stream first runs and go on
 * across epochs. time_us is that line itself. What a slot writes is a function of its arguments and of the tracks that are open, of nothing else: two gateways,
 * and a viewer who came late, get the same bytes for the same frame. So no counters, no clock, no randomness. */
#ifndef WR_PLUGIN_WR_MUXER_H
#define WR_PLUGIN_WR_MUXER_H

#include "wr_err.h"
#include "wr_media.h"
#include "wr_plugin.h"

/* Where the output goes, in order. Both may be called any number of times within one slot. */
struct wr_mux_sink {
    void (*bytes)(struct wr_mux_sink *sink, const void *p, size_t n); /* copied during the call */
    /* A range within the data of the frame being muxed; referenced, never copied. */
    void (*payload)(struct wr_mux_sink *sink, struct wr_slice data);
};

enum wr_muxer_flags {
    /* Over WebSocket a text message with mime() goes in front of each init. */
    WR_MUXER_TELLS_MIME = 1u << 0,
    /* A player goes on after another init in the same byte stream. Without it an HTTP response ends at a new epoch. */
    WR_MUXER_INLINE_INIT = 1u << 1,
};

enum wr_mux_init {
    WR_MUX_INIT_FIRST, /* the beginning of a viewer's byte stream */
    WR_MUX_INIT_AGAIN, /* a new epoch within it */
};

#define WR_MUXER_ANY ((enum wr_codec)0xffff) /* in `codecs`: whatever comes */

#define WR_MUXER_MIME_MAX 480 /* bytes that mime() needs at most, with its NUL */

struct wr_muxer_plugin {
    struct wr_plugin base;
    const char *extension;    /* the door: /live/<stream>.<extension>. Required. */
    const char *content_type; /* of HTTP responses. Required. */
    uint32_t flags;           /* enum wr_muxer_flags */
    /* What the format carries, so that the core can ask before it opens one, and say to a viewer which door can: the
     * codecs, ended by WR_CODEC_NONE (required), and how many tracks of each kind at once (by enum wr_media_kind; the
     * sum is WR_TRACKS_MAX at most). */
    const enum wr_codec *codecs;
    uint8_t max_tracks[WR_MEDIA_KINDS];
    /* 1 to WR_TRACKS_MAX tracks of one rendition, within what the table promises. Keeps nothing of `tracks` (copies what
     * it needs). INVALID with a sentence when the format cannot carry them (a configuration that is none); then close is
     * not called. Required. */
    wr_err (*open)(void *state, const struct wr_track *tracks, size_t n, struct wr_errmsg *err);
    void (*close)(void *state); /* Required. */
    /* The MIME type with codecs, as MediaSource.isTypeSupported wants it. Required. */
    void (*mime)(void *state, char *out, size_t n);
    /* What a player needs before the first frame. Same bytes at each call with the same `what`. Required. */
    void (*init)(void *state, enum wr_mux_init what, struct wr_mux_sink *sink);
    /* One frame; whole units of the container (boxes, tags), at most 256 bytes of them. A frame of a track that open did
     * not see is left out. Required. */
    void (*frame)(void *state, const struct wr_media_frame *frame, struct wr_mux_sink *sink);
};

static inline bool wr_muxer_carries(const struct wr_muxer_plugin *m, enum wr_codec codec)
{
    for (const enum wr_codec *c = m->codecs; *c != WR_CODEC_NONE; c++)
        if (*c == codec || *c == WR_MUXER_ANY)
            return true;
    return false;
}

#endif
