/* SPDX-License-Identifier: MIT
 *
 * H.265 in RTP (RFC 7798): single units, aggregation packets, fragmentation units; no DONL fields (sprop-max-don-diff above 0 is
 * libavformat's). */
#include "packing.h"
#include "rtp.h"
#include "wr_cursor.h"

static void parameter(struct sdp_track *t, const char *name, size_t n, const char *value)
{
    if (packing__is(name, n, "sprop-vps") || packing__is(name, n, "sprop-sps") ||
        packing__is(name, n, "sprop-pps"))
        sdp__put_sprop(t, value);
    else if (packing__is(name, n, "sprop-max-don-diff"))
        t->mode = packing__number(value, 32767, 1);
}

static bool takes(const struct sdp_track *t)
{
    return t->mode == 0;
}

/* 4.4.2: 16-bit lengths and units behind the payload's head. */
static void take_aggregate(struct rtp *r, struct wr_slice p)
{
    struct wr_cursor c = wr_cursor_of(p);
    wr_cursor_skip(&c, 2);
    while (!wr_cursor_at_end(&c)) {
        struct wr_slice nal = wr_cursor_bytes(&c, wr_cursor_u16(&c));
        rtp__put_nal(r, nal);
    }
    r->bad += c.failed;
}

/* 4.4.3: head, one byte of start, end and type, and a piece. */
static void take_fragment(struct rtp *r, struct wr_slice p)
{
    struct wr_cursor c = wr_cursor_of(p);
    uint8_t h0 = wr_cursor_u8(&c), h1 = wr_cursor_u8(&c), fu = wr_cursor_u8(&c);
    struct wr_slice piece = wr_cursor_rest(&c);
    if (piece.n == 0) {
        r->bad++;
        return;
    }
    const uint8_t head[2] = {(uint8_t)((h0 & 0x81) | (fu & 63) << 1), h1};
    rtp__put_fragment(r, fu & 0x80, wr_slice_of(head, 2), piece);
}

static void take_packet(struct rtp *r, const struct packet *p)
{
    if (!rtp__begin_packet(r, p))
        return;
    unsigned type = p->payload.p[0] >> 1 & 63;
    if (p->payload.n < 3 || type > 49) /* 50: PACI, that nobody sends */
        r->bad++;
    else if (type == 48)
        take_aggregate(r, p->payload);
    else if (type == 49)
        take_fragment(r, p->payload);
    else
        rtp__put_nal(r, p->payload);
    rtp__end_packet(r, p);
}

const struct packing packing__h265 = {.encoding = "H265",
                                      .codec = WR_CODEC_H265,
                                      .parameter = parameter,
                                      .takes = takes,
                                      .packet = take_packet};
