/* SPDX-License-Identifier: MIT
 *
 * How a codec is packed into RTP: one const table a payload format, one row in packings.c. What the packets of a track are is
 * told by its session description; what they become is one coded frame after another, as the codec's `scan` takes it. */
#ifndef WR_INGEST_PACKING_H
#define WR_INGEST_PACKING_H

#include "codec.h"

struct rtp;
struct sdp_track;

/* A packet's payload and what its head says. */
struct packet {
    struct wr_slice payload; /* borrowed */
    int64_t ts;              /* unwrapped */
    bool marker;
    bool gap; /* packets before it were lost */
};

struct packing {
    const char *encoding; /* of a=rtpmap, any case */
    enum wr_codec codec;
    /* A parameter of a=fmtp: name without length limits (n bytes), value up to ';' or the end. NULL = none matters. */
    void (*parameter)(struct sdp_track *t, const char *name, size_t n, const char *value);
    /* False: this kind of packing is libavformat's to read. NULL = all. */
    bool (*takes)(const struct sdp_track *t);
    void (*packet)(struct rtp *r, const struct packet *p);
};

/* NULL for an encoding that ingest cannot take apart. */
const struct packing *packing__find(const char *encoding);

/* For parameters. */
bool packing__is(const char *name, size_t n, const char *wanted);
/* A decimal number of at most max; anything else is `otherwise`. */
unsigned packing__number(const char *value, unsigned max, unsigned otherwise);

#endif
