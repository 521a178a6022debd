/* SPDX-License-Identifier: MIT
 *
 * RTP (RFC 3550) of one track to coded frames: numbers, clock, sender reports, and pictures put together. How a codec is packed
 * is packings/. The marker bit ends a picture at once, where libavformat waits for the next one. */
#ifndef WR_INGEST_RTP_H
#define WR_INGEST_RTP_H

#include "packing.h"
#include "sdp.h"
#include "wr_buf.h"

struct rtp_frame {
    struct wr_slice data; /* borrowed; pictures whole, in Annex B */
    int64_t pts;          /* the track's clock, unwrapped, counted from the track's base */
    uint32_t duration;    /* 0 = unknown */
    int64_t camera_us;    /* wall clock of the camera by its newest sender report; 0 = unknown */
};
typedef void (*rtp_frame_fn)(void *ctx, const struct rtp_frame *f);

struct rtp {
    const struct sdp_track *track;
    rtp_frame_fn fn;
    void *ctx;
    /* numbers and clock */
    bool has_seq, has_ts;
    uint16_t seq;
    uint32_t ts32;
    int64_t ts, base; /* unwrapped; base is time 0 */
    bool has_base, base_told;
    /* the frame being put together */
    struct wr_buf bytes;
    bool has_frame, broken; /* a packet of it was lost */
    int64_t frame_ts, done_ts, last_ts;
    bool has_done, has_last;
    bool marker_lies; /* packets of a picture came after its marker: only the time ends one */
    /* sender report */
    int64_t report_us, report_ts; /* camera's wall clock at a time of the track */
    bool has_report;
    uint64_t lost, bad;
};

void rtp__init(struct rtp *r, const struct sdp_track *track, rtp_frame_fn fn, void *ctx);
void rtp__free(struct rtp *r);
/* Time 0 of the track, as told in RTP-Info; else the first packet is. */
void rtp__set_base(struct rtp *r, uint32_t ts);
void rtp__packet(struct rtp *r, struct wr_slice packet);
/* RTCP; takes sender reports. */
void rtp__control(struct rtp *r, struct wr_slice packet);
/* How far the sound's time must be moved, in its ticks, so that both tracks tell the camera's clock the same way. False
 * while one of them had no report. */
bool rtp__skew(const struct rtp *video, const struct rtp *audio, int64_t *ticks);

/* ---- for packings ------------------------------------------------------------------------------------------------- */

/* A packet of a picture: a new time ends the one before. False when there is nothing in it. */
bool rtp__begin_packet(struct rtp *r, const struct packet *p);
/* A NAL unit, or the piece of one (first: head is the unit's own) of the picture. */
void rtp__put_nal(struct rtp *r, struct wr_slice nal);
void rtp__put_fragment(struct rtp *r, bool first, struct wr_slice head, struct wr_slice piece);
/* The marker ends the picture. */
void rtp__end_packet(struct rtp *r, const struct packet *p);
/* A whole frame of sound. */
void rtp__give(struct rtp *r, struct wr_slice data, int64_t ts, uint32_t duration);

#endif
