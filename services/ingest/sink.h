/* SPDX-License-Identifier: MIT
 *
 * What a stream's frames go to. A stream has a list of sinks and tells each the same, in the list's order, on the stream's thread:
 * `epoch`, then frames of that epoch, then the next epoch or `end`. The publisher (stream.c) and the kept groups (kept.h) are
 * two; a transcoder, a recorder and a forwarder are sinks too. A sink never blocks: what takes long gets a queue and a thread of
 * its own, with a bound, a policy and a counter. */
#ifndef WR_INGEST_SINK_H
#define WR_INGEST_SINK_H

#include "wr_media.h"

struct sink_frame {
    struct wr_media_frame f; /* data: the stored form, within msg */
    struct wr_msg
        *msg; /* the whole Event as it goes over the bus; a sink that keeps it takes a reference */
    struct wr_slice media; /* the encoded MediaFrame within msg */
    bool begins;           /* the first of its group */
    int64_t now_us;        /* monotonic */
};

struct sink {
    /* Tracks are borrowed. Frames of the epoch before are whole: no more of them come. */
    void (*epoch)(void *ctx, uint64_t epoch, const struct wr_track *tracks, size_t n);
    void (*frame)(void *ctx, const struct sink_frame *frame);
    /* The source ended; an epoch may follow later. */
    void (*end)(void *ctx);
};

#endif
