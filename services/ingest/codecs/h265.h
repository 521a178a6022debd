/* SPDX-License-Identifier: MIT
 *
 * H.265 (ITU-T H.265, ISO/IEC 14496-15 8.3.3): parameter sets, and access units from either framing to the stored form.
 * Bytes come from cameras: nothing is trusted. Layers above the first are left out. Not here: decoding. */
#ifndef WR_INGEST_H265_H
#define WR_INGEST_H265_H

#include "codec.h"
#include "nal.h"

enum h265_nal {
    H265_LAST_SLICE = 31, /* 0 to 31 are slices */
    H265_FIRST_IRAP = 16,
    H265_LAST_IRAP = 23, /* BLA, IDR, CRA: decoding can begin there */
    H265_VPS = 32,
    H265_SPS = 33,
    H265_PPS = 34,
    H265_AUD = 35,
    H265_END_SEQUENCE = 36,
    H265_END_STREAM = 37,
    H265_FILLER = 38,
    H265_SEI = 39
};

struct h265_sps {
    uint32_t vps_id, id;
    /* profile_tier_level (7.3.3), as hvcC and the codec string want it */
    uint8_t space_tier_profile; /* profile_space 2 bits, tier 1, profile_idc 5 */
    uint32_t compatibility;
    uint64_t constraints; /* 48 bits */
    uint8_t level;
    uint8_t layers; /* temporal ones, 1 to 7 */
    bool nested;
    uint8_t chroma_format, luma_bits, chroma_bits;
    uint32_t width, height; /* after cropping */
    uint32_t fps_milli;     /* 0 = not told */
    unsigned reorder;
};
/* False when it is cut short or beyond the standard's ranges. */
bool h265__parse_sps(struct wr_slice nal, struct h265_sps *out);

#define H265_MAX_VPS 16
#define H265_MAX_SPS 16
#define H265_MAX_PPS 64

/* The newest parameter sets by id. Zeroed memory is valid. */
struct h265_sets {
    struct nal_set vps[H265_MAX_VPS], sps[H265_MAX_SPS], pps[H265_MAX_PPS];
};
void h265__sets_free(struct h265_sets *s);
/* Takes a VPS, SPS or PPS; true when it is new or differs from the one known under its id. */
bool h265__sets_learn(struct h265_sets *s, struct wr_slice nal);
/* Takes hvcC, or Annex B. Returns the framing of the packets that go with it; Annex B when it says nothing. */
enum nal_framing h265__sets_learn_config(struct h265_sets *s, struct wr_slice config);
/* Builds hvcC of the PPS's SPS, that one's VPS, and all PPS that refer to it. False when one of them is not known yet or
 * cannot be parsed. out is cleared first. */
bool h265__hvcc(const struct h265_sets *s, uint32_t pps_id, struct wr_buf *out,
                struct h265_sps *sps);
/* "hvc1.1.6.L93.B0" from hvcC (ISO/IEC 14496-15 E.3). */
void h265__codec_string(struct wr_slice hvcc, char out[WR_CODEC_STRING_BYTES]);

#endif
