/* SPDX-License-Identifier: MIT
 *
 * What a camera's session description (RFC 4566) says of its tracks. What an encoding's parameters mean is packings/. Bytes
 * from outside: bounded, and anything odd is just not understood. */
#ifndef WR_INGEST_SDP_H
#define WR_INGEST_SDP_H

#include "packing.h"
#include "wr_base.h"

#define SDP_MAX_TRACKS 8
#define SDP_CONFIG_BYTES 1024

struct sdp_track {
    enum wr_media_kind kind;       /* NONE: neither picture nor sound */
    const struct packing *packing; /* NULL = we cannot take it apart */
    char encoding[32];             /* as the camera names it: "H265" */
    unsigned payload_type;
    uint32_t clock;    /* RTP ticks a second */
    uint32_t channels; /* 0 = not told */
    uint32_t fps_milli;
    char control[512]; /* as told: absolute or relative URL, "" when none */
    uint8_t config
        [SDP_CONFIG_BYTES]; /* H.264, H.265: parameter sets as Annex B; AAC: AudioSpecificConfig */
    size_t config_n;
    unsigned size_bits, index_bits, delta_bits; /* AAC: access unit headers, 32 at most */
    unsigned mode;     /* H.264: packetization-mode; H.265: sprop-max-don-diff */
    char language[36]; /* a=lang, "" = not told */
};

struct sdp {
    struct sdp_track tracks[SDP_MAX_TRACKS];
    size_t n;
    char control[512]; /* of the session */
};

/* False when there is no media in it. */
bool sdp__parse(struct wr_slice text, struct sdp *out);

/* For packings: appends parameter sets in base64, comma-separated, as Annex B; bytes in hexadecimal. What does not fit is left
 * out. */
void sdp__put_sprop(struct sdp_track *t, const char *value);
void sdp__put_hex(struct sdp_track *t, const char *value);

#endif
