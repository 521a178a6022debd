/* SPDX-License-Identifier: MIT
 *
 * A stream's time line and the numbers that grow along it: groups and epochs (MediaFrame in ingest.proto says what they promise).
 *
 * What keeps them growing over a restart: a file of a few bytes a stream in the data folder. It is written ahead: "nothing at or
 * above these numbers was given out yet", for the next 10 s, and anew when half of that is used up; an orderly end writes the
 * numbers as they are. A start goes on from the larger of that and the wall clock, so neither a kill nor a wall clock that was
 * set back makes anything step back. Without the file (no folder, a first start) the wall clock alone is the beginning. The file
 * is replaced by rename but not synced: a power cut can lose the last promise, and then the wall clock has to be right.
 *
 * Not thread-safe: the stream's thread alone. */
#ifndef WR_INGEST_CLOCK_H
#define WR_INGEST_CLOCK_H

#include "wr_base.h"

struct stream_clock {
    char path[512];                    /* of the file; "" = none */
    int64_t origin_us;                 /* where the line began */
    int64_t anchor_us, anchor_mono_us; /* a time of the line, and the monotonic clock then */
    int64_t end_us;                    /* of the newest frame: what comes begins here or later */
    uint64_t gop, epoch;               /* given out last */
    int64_t promised_us;               /* in the file */
    uint64_t promised_gop, promised_epoch;
    bool failed; /* the file could not be written; told once */
};

/* folder: NULL = keep nothing. wall_us, mono_us: the clocks now. */
void clock__open(struct stream_clock *c, const char *folder, const char *stream, int64_t wall_us,
                 int64_t mono_us);
/* Where a connection begins that begins now: behind all that was given out, and as long after it as it was away. */
int64_t clock__begin(struct stream_clock *c, int64_t mono_us);
uint64_t clock__next_gop(struct stream_clock *c);
uint64_t clock__next_epoch(struct stream_clock *c, int64_t wall_us);
/* A frame ends there. Renews the promise when it is about to be used up. */
void clock__reach(struct stream_clock *c, int64_t end_us);
/* Writes the numbers as they are. */
void clock__close(struct stream_clock *c);

#endif
