/* SPDX-License-Identifier: MIT
 *
 * Coded frames in the stored form, as they cross the bus: reading and writing watchroom.v1.MediaFrame without copying
 * its data. Writers are ingest, readers the gateways (and muxer plugins, which see only the structs). */
#ifndef WR_MEDIA_WR_MEDIA_H
#define WR_MEDIA_WR_MEDIA_H

#include "wr_codec.h"
#include "wr_err.h"
#include "wr_msg.h"

#define WR_TRACKS_MAX 8 /* of a stream */
#define WR_MEDIA_MAX_FRAME_BYTES \
    (3u << 20) /* larger coded frames are refused by ingest: they would not fit the bus */
#define WR_CODEC_STRING_BYTES 48

/* What a decoder must know of a track before its first frame. The proto's Track has the same fields and says what they are. */
struct wr_track {
    uint32_t id; /* not 0, unique in the stream */
    enum wr_media_kind kind;
    enum wr_codec codec;
    struct wr_slice config; /* borrowed; empty for codecs that have none */
    uint32_t timescale;     /* ticks a second of dts, pts and duration; never 0 */
    uint32_t width, height;
    uint32_t fps_milli; /* nominal; 0 = unknown */
    uint32_t sample_rate, channels;
    char codec_string[WR_CODEC_STRING_BYTES]; /* RFC 6381 */
    char label[64];                           /* for people */
    char language[36];                        /* BCP 47 */
    char rendition[32]; /* "" = as the source sends it, else made by ingest from made_from */
    uint32_t made_from;
};

struct wr_media_frame {
    struct wr_slice stream; /* borrowed */
    uint64_t epoch;
    uint32_t track; /* its id */
    uint64_t seq;
    uint64_t gop; /* group of pictures; grows for the life of the stream */
    bool key;
    int64_t dts, pts; /* the stream's time line in the track's timescale */
    int64_t time_us;  /* pts in microseconds: wr_media_us(pts, timescale) */
    uint32_t duration;
    int64_t arrival_us;   /* wall clock */
    int64_t camera_us;    /* wall clock, 0 = unknown */
    struct wr_slice data; /* borrowed */
};

/* Ticks and microseconds of the stream's time line, rounded down. For every time of less than 290,000 years; timescale is not
 * 0. Back and forth loses less than a tick. */
static inline int64_t wr_media_us(int64_t ticks, uint32_t timescale)
{
    int64_t s = ticks / timescale, rest = ticks % timescale;
    if (rest < 0) {
        rest += timescale;
        s--;
    }
    return s * 1000000 + rest * 1000000 / timescale;
}
static inline int64_t wr_media_ticks(int64_t us, uint32_t timescale)
{
    int64_t s = us / 1000000, rest = us % 1000000;
    if (rest < 0) {
        rest += 1000000;
        s--;
    }
    return s * (int64_t)timescale + rest * (int64_t)timescale / 1000000;
}

/* The track that leads: its keyframes begin groups. The first picture, or the first sound when there is no picture; NULL when
 * there are none. */
WR_API const struct wr_track *wr_media_lead(const struct wr_track *tracks, size_t n);

/* Parses an encoded MediaFrame; slices of *out point into it. INVALID when it is malformed or has no data or track. */
WR_API WR_MUST_USE wr_err wr_media_frame_read(struct wr_slice encoded, struct wr_media_frame *out);
/* Parses an encoded Event that carries a MediaFrame. NOT_FOUND when it carries something else. */
WR_API WR_MUST_USE wr_err wr_media_event_read(struct wr_slice event, struct wr_media_frame *out);

/* Headroom that a payload message needs, so that wr_media_event_write can write in front of it. */
WR_API size_t wr_media_headroom(const char *instance, const char *stream);
/* Makes `payload` (whose content is the frame's data; f->data is not read) an encoded Event in place. *media becomes the
 * encoded MediaFrame within it. Single reference, headroom as above; INVALID when there is less. */
WR_API WR_MUST_USE wr_err wr_media_event_write(struct wr_msg *payload,
                                               const struct wr_media_frame *f, const char *instance,
                                               int64_t time_ms, struct wr_slice *media);

#endif
