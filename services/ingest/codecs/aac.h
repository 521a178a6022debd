/* SPDX-License-Identifier: MIT
 *
 * AAC (ISO/IEC 14496-3): AudioSpecificConfig and ADTS heads. Not here: decoding. */
#ifndef WR_INGEST_AAC_H
#define WR_INGEST_AAC_H

#include "codec.h"

struct aac_config {
    uint32_t object_type; /* 2 = LC, 5 = HE, 29 = HE v2 */
    uint32_t sample_rate;
    uint32_t channels; /* 0 = told elsewhere */
};
/* Reads an AudioSpecificConfig. False when it is cut short or has a reserved rate. */
bool aac__parse_config(struct wr_slice asc, struct aac_config *out);

struct aac_adts {
    struct aac_config config;
    uint8_t asc[2];     /* the AudioSpecificConfig that says the same */
    size_t head_bytes;  /* 7, or 9 with a checksum */
    size_t frame_bytes; /* head and data */
};
/* Reads the head of an ADTS frame. False when it is none, is longer than the data, or holds several raw blocks. */
bool aac__parse_adts(struct wr_slice data, struct aac_adts *out);

#endif
