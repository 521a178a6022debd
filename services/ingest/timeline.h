/* SPDX-License-Identifier: MIT
 *
 * One stream's clock: turns whatever timestamps a source gives into times that begin near 0 and never step back, by ONE
 * offset for all tracks (chosen by the video track, so that picture and sound stay together). Cameras jump: RTP tracks
 * begin at 0 each until the first sender report, clocks are set at night, counters wrap. */
#ifndef WR_INGEST_TIMELINE_H
#define WR_INGEST_TIMELINE_H

#include "wr_base.h"

#define TIMELINE_NONE INT64_MIN /* a time that the source did not tell (equals AV_NOPTS_VALUE) */

struct timeline_track {
    uint32_t timescale;
    uint32_t nominal; /* duration when none is told; > 0 */
    int64_t last;     /* dts given out last */
    int64_t last_duration;
    bool has_last;
    int64_t
        skew; /* ticks; only for a sound track whose clock has nothing to do with the picture's */
    int64_t lost_since_us; /* when it began to be away from its own last time; 0 = it is not */
};

struct timeline {
    struct timeline_track video, audio;
    bool has_video;
    bool started; /* the offset is chosen */
    int64_t
        offset_us_num; /* offset in units of 1 / (1,000,000) s: subtracted from every input time */
    /* what happened, for the counters */
    uint64_t rebased, bumped, dropped;
};

/* timescale 0: there is no such track. */
void timeline__init(struct timeline *t, uint32_t video_scale, uint32_t audio_scale);
void timeline__set_nominal(struct timeline *t, bool video, uint32_t duration);

/* In: dts, pts (either may be TIMELINE_NONE) and duration (0 = unknown) in the track's timescale. Out: dts, pts, duration.
 * False: leave the frame out (before the first keyframe, or sound that is far off). now_us: monotonic clock. */
bool timeline__map(struct timeline *t, bool video, bool key, int64_t *dts, int64_t *pts,
                   uint32_t *duration, int64_t now_us);

#endif
