/* SPDX-License-Identifier: MIT
 *
 * One connection's clock: turns whatever timestamps a source gives into times that begin near 0 and never step back, by ONE
 * offset for all tracks (chosen by the track that leads, so that picture and sound stay together). Cameras jump: RTP tracks
 * begin at 0 each until the first sender report, clocks are set at night, counters wrap. The stream's own time line, which goes
 * on over connections, is stream.h's: its begin is added to these times. */
#ifndef WR_INGEST_TIMELINE_H
#define WR_INGEST_TIMELINE_H

#include "wr_media.h"

#define TIMELINE_NONE INT64_MIN /* a time that the source did not tell (equals AV_NOPTS_VALUE) */

struct timeline_track {
    uint32_t timescale; /* 0 = not in use */
    uint32_t nominal;   /* duration when none is told; > 0 */
    int64_t last;       /* dts given out last */
    int64_t last_duration;
    bool has_last;
    bool is_back; /* it left: its next time is measured against the others', not its own last */
    int64_t skew; /* ticks; only for a track whose clock has nothing to do with the leading one's */
    int64_t lost_since_us; /* when it began to be away from its own last time; 0 = it is not */
};

struct timeline {
    struct timeline_track tracks[WR_TRACKS_MAX];
    size_t lead;       /* index of the track that leads */
    bool started;      /* the offset is chosen */
    int64_t offset_us; /* subtracted from every time that comes in */
    /* what happened, for the counters */
    uint64_t rebased, bumped, dropped;
};

/* Zeroed memory is a valid one without tracks. Joins again under another timescale: the times go on. */
void timeline__join(struct timeline *t, size_t track, uint32_t timescale, uint32_t nominal);
/* The track fell silent. Its last time stays: when it comes again it goes on behind that. */
void timeline__leave(struct timeline *t, size_t track);
void timeline__lead(struct timeline *t, size_t track);

/* In: dts, pts (either may be TIMELINE_NONE) and duration (0 = unknown) in the track's timescale. Out: dts, pts, duration.
 * False: leave the frame out (before the first key of the track that leads, or far off). The track has joined. now_us: monotonic
 * clock. */
bool timeline__map(struct timeline *t, size_t track, bool key, int64_t *dts, int64_t *pts,
                   uint32_t *duration, int64_t now_us);

#endif
