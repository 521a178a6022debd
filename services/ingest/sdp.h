/* SPDX-License-Identifier: MIT
 *
 * What a camera's session description (RFC 4566, 6184, 3640) says of the tracks that we can take apart ourselves. Bytes
 * from outside: bounded, and anything odd is just not understood. */
#ifndef WR_INGEST_SDP_H
#define WR_INGEST_SDP_H

#include "wr_base.h"

enum sdp_format { SDP_OTHER = 0, SDP_H264, SDP_AAC, SDP_PCMA, SDP_PCMU };

#define SDP_MAX_TRACKS 8
#define SDP_CONFIG_BYTES 1024

struct sdp_track {
    bool is_video, is_audio;
    enum sdp_format format;
    char encoding[32]; /* as the camera names it: "H265" */
    unsigned payload_type;
    uint32_t clock;    /* RTP ticks a second */
    uint32_t channels; /* 0 = not told */
    uint32_t fps_milli;
    char control[512]; /* as told: absolute or relative URL, "" when none */
    uint8_t
        config[SDP_CONFIG_BYTES]; /* H.264: parameter sets as Annex B; AAC: AudioSpecificConfig */
    size_t config_n;
    unsigned size_bits, index_bits, delta_bits; /* AAC: access unit headers */
    unsigned mode;                              /* H.264 packetization-mode */
};

struct sdp {
    struct sdp_track tracks[SDP_MAX_TRACKS];
    size_t n;
    char control[512]; /* of the session */
};

/* False when there is no media in it. */
bool sdp__parse(struct wr_slice text, struct sdp *out);

#endif
