/* SPDX-License-Identifier: MIT
 *
 * The one table of media codecs: everybody who lists codecs expands it, so a later codec is one row here, one file in ingest
 * and whatever a muxer needs to carry it. The stored form of each (what config and data are) is written at `enum Codec` in
 * proto/watchroom/v1/ingest.proto; the numbers are the same. */
#ifndef WR_MEDIA_WR_CODEC_H
#define WR_MEDIA_WR_CODEC_H

#include "wr_base.h"

enum wr_media_kind { WR_MEDIA_NONE = 0, WR_MEDIA_VIDEO = 1, WR_MEDIA_AUDIO = 2, WR_MEDIA_KINDS };

/* X(symbol, number on the wire, kind, RFC 6381 or how it begins ("" = not registered), name for people) */
#define WR_CODECS(X)                                  \
    X(H264, 1, VIDEO, "avc1", "H.264")                \
    X(AAC, 2, AUDIO, "mp4a.40", "AAC")                \
    X(H265, 3, VIDEO, "hvc1", "H.265")                \
    X(AV1, 4, VIDEO, "av01", "AV1")                   \
    X(VP8, 5, VIDEO, "vp08", "VP8")                   \
    X(VP9, 6, VIDEO, "vp09", "VP9")                   \
    X(MJPEG, 7, VIDEO, "mjpg", "Motion JPEG")         \
    X(OPUS, 8, AUDIO, "opus", "Opus")                 \
    X(MP3, 9, AUDIO, "mp4a.6B", "MP3")                \
    X(G711A, 10, AUDIO, "alaw", "G.711 A-law")        \
    X(G711U, 11, AUDIO, "ulaw", "G.711 \xc2\xb5-law") \
    X(G722, 12, AUDIO, "", "G.722")                   \
    X(G726, 13, AUDIO, "", "G.726")                   \
    X(PCM, 14, AUDIO, "twos", "PCM")

enum wr_codec {
    WR_CODEC_NONE = 0,
#define X(symbol, number, kind, rfc6381, name) WR_CODEC_##symbol = number,
    WR_CODECS(X)
#undef X
};

struct wr_codec_info {
    enum wr_codec codec;
    enum wr_media_kind kind;
    const char *symbol;  /* "H264": for configuration and metrics */
    const char *rfc6381; /* a track's codec string begins with it; "" = none is registered */
    const char *name;    /* "H.264": for sentences, UTF-8 */
};

/* NULL for WR_CODEC_NONE and for numbers of a newer table. */
WR_API const struct wr_codec_info *wr_codec_info(enum wr_codec codec);
/* Name for people; "an unknown codec" for what is not in the table. */
WR_API const char *wr_codec_name(enum wr_codec codec);
/* NONE for what is not in the table. */
WR_API enum wr_media_kind wr_codec_kind(enum wr_codec codec);

#endif
