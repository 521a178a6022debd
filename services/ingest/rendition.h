/* SPDX-License-Identifier: MIT
 *
 * A track that ingest makes beside one of the source: sound that most players cannot take, as AAC. Both are tracks of the same
 * flow; an output takes the one that it can carry. Later: made by a sink, and only while somebody takes it. */
#ifndef WR_INGEST_RENDITION_H
#define WR_INGEST_RENDITION_H

#include "flow.h"
#include "sound.h"

/* Zeroed memory is one that makes nothing. */
struct rendition {
    struct flow *flow;
    uint32_t id; /* of the track that is made */
    struct sound *sound;
};

/* Makes a track for the flow's track `from` when its codec wants one; WR_OK and nothing made when not. hint: the source's, of that
 * track. Errors as sound__new. */
WR_MUST_USE wr_err rendition__open(struct rendition *r, struct flow *f, uint32_t from,
                                   const struct codec_hint *hint, struct wr_errmsg *err);
/* A packet of the source's track, in the stored form; pts in ticks of `clock`, or TIMELINE_NONE. */
void rendition__feed(struct rendition *r, struct wr_slice data, int64_t pts, uint32_t clock);
/* As sound__shift, in ticks of `clock`. */
void rendition__shift(struct rendition *r, int64_t ticks, uint32_t clock);
void rendition__close(struct rendition *r);

#endif
