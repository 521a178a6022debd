/* SPDX-License-Identifier: MIT
 *
 * H.264 in RTP (RFC 6184): single units, STAP-A, FU-A. Interleaved modes are libavformat's. */
#include "packing.h"
#include "rtp.h"
#include "wr_cursor.h"

static void parameter(struct sdp_track *t, const char *name, size_t n, const char *value)
{
    if (packing__is(name, n, "sprop-parameter-sets") && t->config_n == 0)
        sdp__put_sprop(t, value);
    else if (packing__is(name, n, "packetization-mode"))
        t->mode = packing__number(value, 2, 2);
}

static bool takes(const struct sdp_track *t)
{
    return t->mode <= 1;
}

/* STAP-A: 16-bit lengths and units. */
static void take_aggregate(struct rtp *r, struct wr_slice p)
{
    struct wr_cursor c = wr_cursor_of(p);
    wr_cursor_skip(&c, 1);
    while (!wr_cursor_at_end(&c)) {
        struct wr_slice nal = wr_cursor_bytes(&c, wr_cursor_u16(&c));
        rtp__put_nal(r, nal);
    }
    r->bad += c.failed;
}

/* FU-A: a unit in pieces. */
static void take_fragment(struct rtp *r, struct wr_slice p)
{
    struct wr_cursor c = wr_cursor_of(p);
    uint8_t indicator = wr_cursor_u8(&c), fu = wr_cursor_u8(&c);
    struct wr_slice piece = wr_cursor_rest(&c);
    if (piece.n == 0) {
        r->bad++;
        return;
    }
    uint8_t head = (uint8_t)((indicator & 0xe0) | (fu & 31));
    rtp__put_fragment(r, fu & 0x80, wr_slice_of(&head, 1), piece);
}

static void take_packet(struct rtp *r, const struct packet *p)
{
    if (!rtp__begin_packet(r, p))
        return;
    unsigned type = p->payload.p[0] & 31;
    if (type >= 1 && type <= 23)
        rtp__put_nal(r, p->payload);
    else if (type == 24)
        take_aggregate(r, p->payload);
    else if (type == 28)
        take_fragment(r, p->payload);
    else
        r->bad++;
    rtp__end_packet(r, p);
}

const struct packing packing__h264 = {.encoding = "H264",
                                      .codec = WR_CODEC_H264,
                                      .parameter = parameter,
                                      .takes = takes,
                                      .packet = take_packet};
