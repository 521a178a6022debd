/* SPDX-License-Identifier: MIT
 *
 * See rtp.h. Every length comes from outside. */
#include "rtp.h"

#include "wr_cursor.h"

#define MAX_FRAME (4u << 20)

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
    struct wr_cursor c = wr_cursor_of(p);
    /* A compound packet begins with the report: version, count, type 200, length, sender. */
    unsigned version = wr_cursor_u8(&c) >> 6, type = wr_cursor_u8(&c);
    wr_cursor_skip(&c, 6);
    uint32_t seconds = wr_cursor_u32(&c), fraction = wr_cursor_u32(&c), ts = wr_cursor_u32(&c);
    wr_cursor_skip(&c, 8); /* counts */
    if (c.failed || version != 2 || type != 200 || !r->has_ts || seconds == 0)
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

void rtp__give(struct rtp *r, struct wr_slice data, int64_t ts, uint32_t duration)
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
        rtp__give(r, wr_slice_of(r->bytes.p, r->bytes.n), r->frame_ts,
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

void rtp__put_nal(struct rtp *r, struct wr_slice nal)
{
    if (nal.n == 0 || r->bytes.n + nal.n > MAX_FRAME) {
        r->broken |= nal.n > 0;
        return;
    }
    wr_buf_be(&r->bytes, 1, 4);
    wr_buf_slice(&r->bytes, nal);
}

void rtp__put_fragment(struct rtp *r, bool first, struct wr_slice head, struct wr_slice piece)
{
    if (first) {
        rtp__put_nal(r, head);
    } else if (r->bytes.n == 0) {
        r->broken = true; /* its beginning was lost */
        return;
    }
    if (r->bytes.n + piece.n > MAX_FRAME)
        r->broken = true;
    else
        wr_buf_slice(&r->bytes, piece);
}

bool rtp__begin_packet(struct rtp *r, const struct packet *p)
{
    if (r->has_frame && p->ts != r->frame_ts)
        finish_picture(r);
    if (r->has_done && p->ts == r->done_ts && !r->has_frame)
        r->marker_lies = true;
    if (p->payload.n < 1)
        return false;
    r->has_frame = true;
    r->frame_ts = p->ts;
    r->broken |= p->gap;
    return true;
}

void rtp__end_packet(struct rtp *r, const struct packet *p)
{
    if (p->marker && !r->marker_lies)
        finish_picture(r);
}

/* RFC 3550, 5.1 */
struct head {
    unsigned type;
    uint16_t seq;
    uint32_t ts;
    bool marker;
};

static bool strip_head(struct wr_slice *p, struct head *h)
{
    struct wr_cursor c = wr_cursor_of(*p);
    uint8_t flags = wr_cursor_u8(&c), type = wr_cursor_u8(&c);
    h->marker = type & 0x80;
    h->type = type & 127;
    h->seq = wr_cursor_u16(&c);
    h->ts = wr_cursor_u32(&c);
    wr_cursor_skip(&c, 4 + 4 * (flags & 15u)); /* sources */
    if (flags & 0x10) {                        /* extension */
        wr_cursor_skip(&c, 2);
        wr_cursor_skip(&c, 4 * (size_t)wr_cursor_u16(&c));
    }
    struct wr_slice rest = wr_cursor_rest(&c);
    size_t tail = flags & 0x20 && p->n > 0 ? p->p[p->n - 1] : 0;
    if (c.failed || flags >> 6 != 2 || tail > rest.n)
        return false;
    *p = wr_slice_of(rest.p, rest.n - tail);
    return true;
}

void rtp__packet(struct rtp *r, struct wr_slice p)
{
    struct head h;
    if (!strip_head(&p, &h)) {
        r->bad++;
        return;
    }
    if (h.type != r->track->payload_type || !r->track->packing)
        return;
    bool gap = r->has_seq && h.seq != (uint16_t)(r->seq + 1);
    r->seq = h.seq;
    r->has_seq = true;
    r->track->packing->packet(
        r, &(struct packet){.payload = p, .ts = unwrap(r, h.ts), .marker = h.marker, .gap = gap});
}
