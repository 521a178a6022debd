/* SPDX-License-Identifier: MIT
 *
 * Puts pictures (access units) together from what libavformat's RTP reader gives without its parser: NAL units and
 * fragments of them with a start code in front of each unit and one time for all of a picture. A picture ends where the
 * time changes. Also finds decoding times, which RTP does not carry.
 *
 * Why not libavformat's parser: it takes parameter sets between the slices of a picture for the beginning of a new one
 * (cameras and gst-rtsp-server send that), tears the picture, and players show a grey half. */
#ifndef WR_INGEST_ACCESS_H
#define WR_INGEST_ACCESS_H

#include "wr_base.h"
#include "wr_buf.h"

#define ACCESS_MAX_BYTES (4u << 20)
#define ACCESS_MAX_DEPTH 16

/* Decoding times from showing times: of all seen, the one that `depth` others follow. */
struct access_order {
    unsigned
        depth; /* pictures that may be shown before one decoded earlier; grows when it proves too small */
    int64_t pts[ACCESS_MAX_DEPTH + 1]; /* the newest, ascending */
    unsigned n;
};
void access__order_init(struct access_order *o, unsigned depth);
/* The dts that goes with the next picture in decoding order. duration: of a picture, for the first ones. While depth
 * grows it may step back once: the timeline evens that out. */
int64_t access__order(struct access_order *o, int64_t pts, int64_t duration);

struct access_unit {
    struct wr_slice data; /* Annex B; borrowed until the next call */
    int64_t pts;
    uint32_t duration; /* to the next picture's time; 0 = unknown */
    int64_t camera_us;
};
typedef void (*access_fn)(void *ctx, const struct access_unit *unit);

/* Zeroed memory is valid. */
struct access {
    struct wr_buf bytes;
    int64_t pts, camera_us;
    bool has_pts, too_big;
    uint64_t dropped; /* pictures over ACCESS_MAX_BYTES */
};
/* One packet; pts INT64_MIN = as the one before. Calls fn for the picture that it ends, if any. */
void access__feed(struct access *a, struct wr_slice data, int64_t pts, int64_t camera_us,
                  access_fn fn, void *ctx);
void access__free(struct access *a);

#endif
