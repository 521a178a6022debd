/* SPDX-License-Identifier: MIT
 *
 * What H.264 and H.265 have in common (ITU-T H.264 annex B, ISO/IEC 14496-15): NAL units behind start codes or lengths, and
 * parameter sets kept by id. Bytes come from cameras: nothing is trusted. Not here: what is in a unit. */
#ifndef WR_INGEST_NAL_H
#define WR_INGEST_NAL_H

#include "wr_base.h"
#include "wr_buf.h"

/* Start codes, or lengths of so many bytes. */
enum nal_framing {
    NAL_ANNEXB = 0,
    NAL_LENGTH1 = 1,
    NAL_LENGTH2 = 2,
    NAL_LENGTH3 = 3,
    NAL_LENGTH4 = 4
};

struct nal_iter {
    const uint8_t *p, *end;
    enum nal_framing framing;
};
void nal__iter(struct nal_iter *it, struct wr_slice data, enum nal_framing framing);
/* The next NAL unit without start code, length and trailing zeros; never empty. False at the end or when a length runs
 * past it. */
bool nal__next(struct nal_iter *it, struct wr_slice *nal);
/* Writes a unit behind its length in 4 bytes; returns what comes behind it. */
uint8_t *nal__put(uint8_t *to, struct wr_slice nal);

/* A parameter set. An empty slot has no bytes. */
struct nal_set {
    uint32_t id, refers; /* refers: to the set above it (a PPS to its SPS, an SPS to its VPS) */
    struct wr_buf bytes; /* the NAL unit */
};
/* The set of an id; NULL when it is not known. */
const struct nal_set *nal__set_find(const struct nal_set *all, size_t n, uint32_t id);
/* Keeps a set under its id. True when it is new or other than the one that was known; sets beyond n ids are left out. */
bool nal__set_keep(struct nal_set *all, size_t n, uint32_t id, uint32_t refers,
                   struct wr_slice nal);
void nal__sets_free(struct nal_set *all, size_t n);
static inline struct wr_slice nal__set_bytes(const struct nal_set *s)
{
    return wr_slice_of(s->bytes.p, s->bytes.n);
}

/* Is there a recovery point (payload type 6) among the messages of an SEI unit whose head has so many bytes? H.264 D.1,
 * H.265 D.2.1: decoding may begin here though it is no random access picture (open groups, intra refresh). */
bool nal__has_recovery_point(struct wr_slice sei, size_t head);

#endif
