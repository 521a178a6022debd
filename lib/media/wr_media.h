/* SPDX-License-Identifier: MIT
 *
 * Coded frames in the stored form, as they cross the bus: reading and writing watchroom.v1.MediaFrame without copying
 * its data. Writers are ingest, readers the gateways (and muxer plugins, which see only the structs). */
#ifndef WR_MEDIA_WR_MEDIA_H
#define WR_MEDIA_WR_MEDIA_H

#include "wr_err.h"
#include "wr_msg.h"

enum wr_codec {
    WR_CODEC_NONE = 0,
    WR_CODEC_H264 = 1, /* config = avcC, data = 4-byte length-prefixed NAL units */
    WR_CODEC_AAC = 2,  /* config = AudioSpecificConfig, data = one raw frame */
};

#define WR_TRACK_VIDEO 1u
#define WR_TRACK_AUDIO 2u
#define WR_MEDIA_MAX_FRAME_BYTES \
    (3u << 20) /* larger coded frames are refused by ingest: they would not fit the bus */

/* What a decoder must know of a track before its first frame. */
struct wr_track {
    uint32_t track; /* WR_TRACK_VIDEO or WR_TRACK_AUDIO */
    enum wr_codec codec;
    struct wr_slice config; /* borrowed */
    uint32_t timescale;     /* ticks a second of dts, pts and duration; never 0 */
    uint32_t width, height;
    uint32_t fps_milli; /* nominal; 0 = unknown */
    uint32_t sample_rate, channels;
    char codec_string[32]; /* RFC 6381 */
};

struct wr_media_frame {
    struct wr_slice stream; /* borrowed */
    uint64_t epoch;
    uint32_t track;
    uint64_t seq;
    bool key;
    int64_t dts, pts; /* the track's timescale */
    uint32_t duration;
    int64_t arrival_us;   /* wall clock */
    int64_t camera_us;    /* wall clock, 0 = unknown */
    struct wr_slice data; /* borrowed */
};

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
