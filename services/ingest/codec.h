/* SPDX-License-Identifier: MIT
 *
 * What a codec is to ingest: one const table, in one file of codecs/. The flow asks it everything and knows none by name.
 * A later codec is its file, a row in codecs/codecs.c, and for cameras a packing (packings/). */
#ifndef WR_INGEST_CODEC_H
#define WR_INGEST_CODEC_H

#include "wr_buf.h"
#include "wr_media.h"

#define CODEC_VIDEO_SCALE 90000u /* timescale of all pictures */

/* What a source says of a track before its first frame. */
struct codec_hint {
    struct wr_slice
        config; /* as sources have it (Annex B or stored form, with or without magic); may be empty */
    uint32_t sample_rate, channels; /* 0 = not told */
};

/* One frame of a source, looked through. */
struct codec_unit {
    struct wr_slice
        data; /* what `store` writes from: the frame or a part of it; borrowed from the frame */
    bool has_media;    /* a picture or sound; else the frame is left out */
    bool key;          /* decoding can begin here; sound: always */
    bool sets_changed; /* it carried configuration that was not known */
    uint32_t set_id;   /* the codec's own: which configuration the frame needs */
    size_t bytes;      /* of the stored form without configuration in it */
    size_t sets_bytes; /* more with it */
    uint32_t duration; /* in the track's timescale; 0 = the codec does not tell */
};

/* What a Track tells beside the configuration. */
struct codec_facts {
    uint32_t timescale; /* never 0 */
    uint32_t width, height, fps_milli;
    uint32_t sample_rate, channels;
    unsigned
        reorder; /* pictures that may be shown before one decoded earlier; a beginning, the flow learns more */
};

struct codec {
    enum wr_codec codec;
    int av_id;          /* AV_CODEC_ID_*, for what libavformat reads */
    size_t state_bytes; /* of a track's state; zeroed memory is a valid one */
    /* Takes what the source says. False when it makes no sense: the track is left out. Once, before everything. */
    bool (*learn)(void *state, const struct codec_hint *hint);
    /* Looks through one frame and learns from it. */
    void (*scan)(void *state, struct wr_slice data, struct codec_unit *out);
    /* The stored form's configuration for frames from this one on (a key), and what else a Track tells. out is cleared
     * first. False while it is not known. */
    bool (*config)(const void *state, const struct codec_unit *unit, struct wr_buf *out,
                   struct codec_facts *facts);
    /* Writes the stored form of the unit that was scanned last; returns the end of it: bytes (+ sets_bytes) behind `to`. */
    uint8_t *(*store)(const void *state, const struct codec_unit *unit, bool keep_sets,
                      uint8_t *to);
    /* RFC 6381, from the stored form's configuration. */
    void (*string)(struct wr_slice config, char out[WR_CODEC_STRING_BYTES]);
    void (*fini)(void *state); /* NULL = nothing to free */
};

/* NULL when ingest cannot take it (yet). */
const struct codec *codec__find(enum wr_codec codec);
const struct codec *codec__find_av(int av_id);
/* All of them, ended by NULL. */
extern const struct codec *const codec__all[];

/* For codecs whose frames are stored as they come. */
uint8_t *codec__store_whole(const void *state, const struct codec_unit *unit, bool keep_sets,
                            uint8_t *to);

#endif
