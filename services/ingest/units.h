/* SPDX-License-Identifier: MIT
 *
 * Puts pictures (access units) together from what libavformat's RTP reader gives without its parser: NAL units and
 * fragments of them with a start code in front of each unit and one time for all of a picture. A picture ends where the
 * time changes. Also finds decoding times, which RTP does not carry.
 *
 * Why not libavformat's parser: it takes parameter sets between the slices of a picture for the beginning of a new one
 * (cameras and gst-rtsp-server send that), tears the picture, and players show a grey half. */
#ifndef WR_INGEST_UNITS_H
#define WR_INGEST_UNITS_H

#include "wr_base.h"
#include "wr_buf.h"

#define UNITS_MAX_BYTES (4u << 20)
#define UNITS_MAX_DEPTH 16

/* Decoding times from showing times: of all seen, the one that `depth` others follow. */
struct units_order {
    unsigned
        depth; /* pictures that may be shown before one decoded earlier; grows when it proves too small */
    int64_t pts[UNITS_MAX_DEPTH + 1]; /* the newest, ascending */
    unsigned n;
};
void units__order_init(struct units_order *o, unsigned depth);
/* The dts that goes with the next picture in decoding order. duration: of a picture, for the first ones. While depth
 * grows it may step back once: the timeline evens that out. */
int64_t units__order(struct units_order *o, int64_t pts, int64_t duration);

struct units_one {
    struct wr_slice data; /* Annex B; borrowed until the next call */
    int64_t pts;
    uint32_t duration; /* to the next picture's time; 0 = unknown */
    int64_t camera_us;
};
typedef void (*units_fn)(void *ctx, const struct units_one *unit);

/* Zeroed memory is valid. */
struct units {
    struct wr_buf bytes;
    int64_t pts, camera_us;
    bool has_pts, too_big;
    uint64_t dropped; /* pictures over UNITS_MAX_BYTES */
};
/* One packet; pts INT64_MIN = as the one before. Calls fn for the picture that it ends, if any. */
void units__feed(struct units *a, struct wr_slice data, int64_t pts, int64_t camera_us, units_fn fn,
                 void *ctx);
void units__free(struct units *a);

#endif
