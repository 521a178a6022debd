/* SPDX-License-Identifier: MIT
 *
 * AAC in RTP (RFC 3640, as all cameras do: AU headers of size and index, whole units). LATM and packings without headers are
 * libavformat's. */
#include "packing.h"
#include "rtp.h"
#include "wr_cursor.h"

#define SAMPLES 1024
#define MAX_BITS 32 /* of a field; more is nonsense, and told as if there were none */

static void parameter(struct sdp_track *t, const char *name, size_t n, const char *value)
{
    if (packing__is(name, n, "config") && t->config_n == 0)
        sdp__put_hex(t, value);
    else if (packing__is(name, n, "sizelength"))
        t->size_bits = packing__number(value, MAX_BITS, 0);
    else if (packing__is(name, n, "indexlength"))
        t->index_bits = packing__number(value, MAX_BITS, 0);
    else if (packing__is(name, n, "indexdeltalength"))
        t->delta_bits = packing__number(value, MAX_BITS, 0);
}

static bool takes(const struct sdp_track *t)
{
    return t->size_bits > 0 && t->config_n > 0;
}

/* AU-headers-length in bits, the headers, then the units. */
static void take_packet(struct rtp *r, const struct packet *p)
{
    const struct sdp_track *t = r->track;
    struct wr_cursor c = wr_cursor_of(p->payload);
    size_t bits = wr_cursor_u16(&c);
    struct wr_cursor heads = wr_cursor_of(wr_cursor_bytes(&c, (bits + 7) / 8));
    for (unsigned i = 0; !c.failed; i++) {
        unsigned index_bits = i ? t->delta_bits : t->index_bits, need = t->size_bits + index_bits;
        if (t->size_bits == 0 || bits < need)
            break;
        bits -= need;
        uint32_t size = wr_cursor_bits(&heads, t->size_bits);
        wr_cursor_skip_bits(&heads, index_bits);
        struct wr_slice unit = wr_cursor_bytes(&c, size);
        if (heads.failed ||
            unit.n ==
                0) { /* a unit in several packets: none that we know of sends sound so large */
            r->bad++;
            return;
        }
        rtp__give(r, unit, p->ts + SAMPLES * (int64_t)i, SAMPLES);
    }
    r->bad += c.failed || t->size_bits == 0;
}

const struct packing packing__aac = {.encoding = "MPEG4-GENERIC",
                                     .codec = WR_CODEC_AAC,
                                     .parameter = parameter,
                                     .takes = takes,
                                     .packet = take_packet};
