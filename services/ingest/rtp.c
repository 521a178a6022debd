/* SPDX-License-Identifier: MIT
 *
 * See rtp.h. Every length comes from outside. */
#include "rtp.h"

#define MAX_FRAME (4u << 20)

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

void rtp__init(struct rtp *r, const struct sdp_track *track, rtp_frame_fn fn, void *ctx)
{
    *r = (struct rtp){.track = track, .fn = fn, .ctx = ctx};
}

void rtp__free(struct rtp *r)
{
    wr_buf_free(&r->bytes);
}

/* ---- clock -------------------------------------------------------------------------------------------------------- */

static int64_t unwrap(struct rtp *r, uint32_t ts)
{
    if (!r->has_ts)
        r->ts = ts;
    else
        r->ts += (int32_t)(ts - r->ts32);
    r->ts32 = ts;
    r->has_ts = true;
    /* What RTP-Info told is used when it is near the first packet: some cameras tell anything there. */
    int64_t off = r->ts - r->base;
    if (!r->has_base || (r->base_told && (off > 5 * (int64_t)r->track->clock ||
                                          off < -5 * (int64_t)r->track->clock))) {
        r->base = r->ts;
        r->has_base = true;
    }
    r->base_told = false;
    return r->ts;
}

void rtp__set_base(struct rtp *r, uint32_t ts)
{
    r->ts = r->base = ts;
    r->ts32 = ts;
    r->has_ts = r->has_base = r->base_told = true;
}

static int64_t ticks_to_us(int64_t ticks, uint32_t clock)
{
    return ticks / clock * 1000000 + ticks % clock * 1000000 / clock;
}

static int64_t camera_us(const struct rtp *r, int64_t ts)
{
    return r->has_report ? r->report_us + ticks_to_us(ts - r->report_ts, r->track->clock) : 0;
}

void rtp__control(struct rtp *r, struct wr_slice p)
{
    const uint32_t ntp_to_unix = 2208988800u;
    /* A compound packet begins with the report. */
    if (p.n < 28 || p.p[0] >> 6 != 2 || p.p[1] != 200 || !r->has_ts)
        return;
    uint32_t seconds = be32(p.p + 8), fraction = be32(p.p + 12), ts = be32(p.p + 16);
    if (seconds == 0)
        return;
    r->report_us = (int64_t)(seconds - ntp_to_unix) * 1000000 +
                   (int64_t)((uint64_t)fraction * 1000000 >> 32);
    r->report_ts = r->ts + (int32_t)(ts - r->ts32);
    r->has_report = true;
}

bool rtp__skew(const struct rtp *video, const struct rtp *audio, int64_t *ticks)
{
    if (!video->has_report || !audio->has_report)
        return false;
    /* The camera's clock at time 0 of each track. */
    int64_t video_zero = camera_us(video, video->base), audio_zero = camera_us(audio, audio->base);
    int64_t off_us = audio_zero - video_zero;
    if (off_us > 10000000 || off_us < -10000000)
        return false; /* nonsense of a camera without a clock */
    *ticks = off_us / 1000000 * audio->track->clock +
             off_us % 1000000 * audio->track->clock / 1000000;
    return true;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

static void give(struct rtp *r, struct wr_slice data, int64_t ts, uint32_t duration)
{
    struct rtp_frame f = {
        .data = data, .pts = ts - r->base, .duration = duration, .camera_us = camera_us(r, ts)};
    r->fn(r->ctx, &f);
}

/* The duration is that of the picture before: the next one is not there yet. */
static void finish_picture(struct rtp *r)
{
    int64_t step = r->has_last ? r->frame_ts - r->last_ts : 0;
    if (r->has_frame && !r->broken && !r->bytes.failed && r->bytes.n > 0)
        give(r, wr_slice_of(r->bytes.p, r->bytes.n), r->frame_ts,
             step > 0 && step < 2 * (int64_t)r->track->clock ? (uint32_t)step : 0);
    else if (r->has_frame)
        r->lost++;
    if (r->has_frame) {
        r->last_ts = r->done_ts = r->frame_ts;
        r->has_last = r->has_done = true;
    }
    wr_buf_clear(&r->bytes);
    r->has_frame = r->broken = false;
}

static void put_nal(struct rtp *r, struct wr_slice nal)
{
    if (nal.n == 0 || r->bytes.n + nal.n > MAX_FRAME) {
        r->broken |= nal.n > 0;
        return;
    }
    wr_buf_be(&r->bytes, 1, 4);
    wr_buf_slice(&r->bytes, nal);
}

/* STAP-A: 16-bit lengths and units. */
static void put_aggregate(struct rtp *r, struct wr_slice p)
{
    size_t at = 1;
    while (at + 2 <= p.n) {
        size_t n = be16(p.p + at);
        at += 2;
        if (n > p.n - at) {
            r->bad++;
            return;
        }
        put_nal(r, wr_slice_of(p.p + at, n));
        at += n;
    }
}

/* FU-A: a unit in pieces. */
static void put_fragment(struct rtp *r, struct wr_slice p)
{
    if (p.n < 3) {
        r->bad++;
        return;
    }
    if (p.p[1] & 0x80) {
        uint8_t head = (uint8_t)((p.p[0] & 0xe0) | (p.p[1] & 31));
        put_nal(r, wr_slice_of(&head, 1));
    } else if (r->bytes.n == 0) {
        r->broken = true; /* its beginning was lost */
        return;
    }
    if (r->bytes.n + p.n > MAX_FRAME)
        r->broken = true;
    else
        wr_buf_add(&r->bytes, p.p + 2, p.n - 2);
}

static void take_h264(struct rtp *r, struct wr_slice p, int64_t ts, bool marker, bool gap)
{
    if (r->has_frame && ts != r->frame_ts)
        finish_picture(r);
    if (r->has_done && ts == r->done_ts && !r->has_frame)
        r->marker_lies = true;
    if (p.n < 1)
        return;
    r->has_frame = true;
    r->frame_ts = ts;
    r->broken |= gap;
    unsigned type = p.p[0] & 31;
    if (type >= 1 && type <= 23)
        put_nal(r, p);
    else if (type == 24)
        put_aggregate(r, p);
    else if (type == 28)
        put_fragment(r, p);
    else
        r->bad++;
    if (marker && !r->marker_lies)
        finish_picture(r);
}

/* RFC 3640: AU-headers-length in bits, headers, then the units. */
static void take_aac(struct rtp *r, struct wr_slice p, int64_t ts)
{
    const struct sdp_track *t = r->track;
    unsigned first_bits = t->size_bits + t->index_bits, next_bits = t->size_bits + t->delta_bits;
    if (p.n < 2 || first_bits == 0 || first_bits > 32 || next_bits > 32 || t->size_bits == 0) {
        r->bad++;
        return;
    }
    size_t bits = be16(p.p), head = 2 + (bits + 7) / 8, at = head, bit = 0;
    for (unsigned i = 0; head <= p.n && bit + (i ? next_bits : first_bits) <= bits; i++) {
        uint32_t size = 0;
        for (unsigned k = 0; k < t->size_bits; k++)
            size = size << 1 | (p.p[2 + (bit + k) / 8] >> (7 - (bit + k) % 8) & 1u);
        bit += i ? next_bits : first_bits;
        if (size == 0 ||
            size >
                p.n -
                    at) { /* a unit in several packets: none that we know of sends sound so large */
            r->bad++;
            return;
        }
        give(r, wr_slice_of(p.p + at, size), ts + 1024 * (int64_t)i, 1024);
        at += size;
    }
}

static bool strip_head(struct wr_slice *p, bool *marker, uint16_t *seq, uint32_t *ts)
{
    if (p->n < 12 || p->p[0] >> 6 != 2)
        return false;
    size_t head = 12 + 4 * (size_t)(p->p[0] & 15), tail = 0;
    if (p->p[0] & 0x10) { /* extension */
        if (head + 4 > p->n)
            return false;
        head += 4 + 4 * (size_t)be16(p->p + head + 2);
    }
    if (p->p[0] & 0x20)
        tail = p->p[p->n - 1];
    if (head + tail > p->n)
        return false;
    *marker = p->p[1] & 0x80;
    *seq = (uint16_t)be16(p->p + 2);
    *ts = be32(p->p + 4);
    *p = wr_slice_of(p->p + head, p->n - head - tail);
    return true;
}

void rtp__packet(struct rtp *r, struct wr_slice p)
{
    bool marker;
    uint16_t seq;
    uint32_t ts32;
    unsigned type = p.n > 1 ? p.p[1] & 127u : 0;
    if (!strip_head(&p, &marker, &seq, &ts32)) {
        r->bad++;
        return;
    }
    if (type != r->track->payload_type)
        return;
    bool gap = r->has_seq && seq != (uint16_t)(r->seq + 1);
    r->seq = seq;
    r->has_seq = true;
    int64_t ts = unwrap(r, ts32);
    switch (r->track->format) {
    case SDP_H264:
        take_h264(r, p, ts, marker, gap);
        break;
    case SDP_AAC:
        take_aac(r, p, ts);
        break;
    case SDP_PCMA:
    case SDP_PCMU:
        if (p.n > 0)
            give(r, p, ts, (uint32_t)p.n);
        break;
    case SDP_OTHER:
        break;
    }
}
