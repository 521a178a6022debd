/* SPDX-License-Identifier: MIT
 *
 * H.264 (ITU-T H.264, ISO/IEC 14496-15): NAL units, parameter sets, and access units from either framing to the stored
 * form. Bytes come from cameras: nothing is trusted. Not here: decoding, and what is done with the result. */
#ifndef WR_INGEST_H264_H
#define WR_INGEST_H264_H

#include "codec.h"
#include "nal.h"

enum h264_nal {
    H264_SLICE = 1,
    H264_IDR = 5,
    H264_SEI = 6,
    H264_SPS = 7,
    H264_PPS = 8,
    H264_AUD = 9,
    H264_END_SEQUENCE = 10,
    H264_END_STREAM = 11,
    H264_FILLER = 12
};

/* ---- parameter sets ----------------------------------------------------------------------------------------------- */

struct h264_sps {
    uint8_t profile, constraints, level;
    uint8_t chroma_format, luma_bits, chroma_bits; /* bits a sample */
    uint32_t id;
    uint32_t width, height; /* after cropping */
    uint32_t fps_milli;     /* 0 = not told */
    int32_t max_reorder;    /* -1 = not told */
};
/* False when it is cut short or beyond the standard's ranges. */
bool h264__parse_sps(struct wr_slice nal, struct h264_sps *out);

#define H264_MAX_SPS 8
#define H264_MAX_PPS 32

/* The newest parameter sets by id. Zeroed memory is valid. */
struct h264_sets {
    struct nal_set sps[H264_MAX_SPS], pps[H264_MAX_PPS]; /* a PPS refers to its SPS */
};
void h264__sets_free(struct h264_sets *s);
/* Takes an SPS or PPS; true when it is new or differs from the one known under its id. */
bool h264__sets_learn(struct h264_sets *s, struct wr_slice nal);
/* Takes decoder configuration as libavformat gives it: avcC, or Annex B. Returns the framing of the packets that go
 * with it; Annex B when it says nothing. */
enum nal_framing h264__sets_learn_config(struct h264_sets *s, struct wr_slice config);
/* Builds avcC of the SPS that pps_id refers to and all PPS that refer to that SPS. False when one of them is not known
 * yet or cannot be parsed. out is cleared first. */
bool h264__avcc(const struct h264_sets *s, uint32_t pps_id, struct wr_buf *out,
                struct h264_sps *sps);
/* "avc1.42c01f" from avcC. */
void h264__codec_string(struct wr_slice avcc, char out[WR_CODEC_STRING_BYTES]);

/* ---- access units ------------------------------------------------------------------------------------------------- */

struct h264_unit {
    bool has_picture; /* a slice */
    bool is_idr;
    bool
        is_recovery; /* a recovery point SEI: decoding may begin here (open groups, intra refresh) */
    bool sets_changed; /* it carried a parameter set that was not known */
    uint32_t pps_id;   /* of the first slice */
    size_t bytes;      /* of the stored form without parameter sets */
    size_t sets_bytes; /* more with them */
};
/* Looks through one access unit and learns its parameter sets. */
void h264__scan(struct h264_sets *s, struct wr_slice data, enum nal_framing framing,
                struct h264_unit *out);
/* Writes the stored form: 4-byte lengths; without delimiters, fillers and, unless keep_sets, parameter sets. Returns the
 * end of what it wrote: bytes (+ sets_bytes) of h264__scan. */
uint8_t *h264__store(struct wr_slice data, enum nal_framing framing, bool keep_sets, uint8_t *to);

#endif
