/* SPDX-License-Identifier: MIT
 *
 * Fuzz target for what a camera sends: its description (sdp__parse), its packets (rtp__packet, rtp__control, rtp__skew), and
 * the pictures in them (h264__sets_learn_config, h264__scan, h264__store, h264__avcc, h264__codec_string). The input is a
 * description, a zero byte, then packets, each behind a byte that says which track and whether it is a report, and a length
 * of two bytes. */
#include "h264.h"
#include "rtp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct track {
    struct rtp rtp;
    struct h264_sets sets;
    uint64_t pictures;
};

/* Room for what the scan said and no byte more, so that the sanitizer sees a store that writes other than that. */
static void store(struct h264_sets *sets, struct wr_slice data, enum h264_framing framing)
{
    struct h264_unit u;
    h264__scan(sets, data, framing, &u);
    for (int keep = 0; keep <= 1; keep++) {
        size_t n = u.bytes + (keep ? u.sets_bytes : 0);
        uint8_t *to = malloc(n ? n : 1);
        if (!to || h264__store(data, framing, keep, to) != to + n)
            abort();
        free(to);
    }
    struct wr_buf avcc = {0};
    struct h264_sps sps;
    char text[16];
    if (u.has_picture && h264__avcc(sets, u.pps_id, &avcc, &sps)) {
        if (!sps.width || !sps.height)
            abort();
        h264__codec_string(wr_slice_of(avcc.p, avcc.n), text);
    }
    wr_buf_free(&avcc);
}

static void on_frame(void *ctx, const struct rtp_frame *f)
{
    struct track *t = ctx;
    t->pictures++;
    if (t->rtp.track->format != SDP_H264)
        return;
    store(&t->sets, f->data, H264_ANNEXB);
    store(&t->sets, f->data,
          H264_LENGTH2); /* another camera's framing: other bytes are units then */
}

/* A copy of just these bytes: reading past them is seen. */
static uint8_t *copy(const uint8_t *p, size_t n)
{
    uint8_t *c = malloc(n ? n : 1);
    if (!c)
        abort();
    if (n)
        memcpy(c, p, n);
    return c;
}

static void feed(struct track *tracks, size_t n, const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 3) {
        struct rtp *r = &tracks[p[0] % n].rtp;
        bool is_report = p[0] & 0x80;
        size_t len = (size_t)p[1] << 8 | p[2];
        p += 3;
        len = WR_MIN(len, (size_t)(end - p));
        uint8_t *packet = copy(p, len);
        if (is_report)
            rtp__control(r, wr_slice_of(packet, len));
        else
            rtp__packet(r, wr_slice_of(packet, len));
        free(packet);
        p += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sdp sdp;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size;
    uint8_t *text = copy(data, n);
    bool ok = sdp__parse(wr_slice_of(text, n), &sdp);
    free(text);
    if (!ok)
        return 0;
    struct track tracks[SDP_MAX_TRACKS] = {0};
    for (size_t i = 0; i < sdp.n; i++) {
        const struct sdp_track *t = &sdp.tracks[i];
        rtp__init(&tracks[i].rtp, t, on_frame, &tracks[i]);
        if (t->format == SDP_H264)
            (void)h264__sets_learn_config(&tracks[i].sets, wr_slice_of(t->config, t->config_n));
    }
    if (zero)
        feed(tracks, sdp.n, zero + 1, data + size);
    int64_t ticks;
    if (sdp.n > 1)
        (void)rtp__skew(&tracks[0].rtp, &tracks[1].rtp, &ticks);
    for (size_t i = 0; i < sdp.n; i++) {
        rtp__free(&tracks[i].rtp);
        h264__sets_free(&tracks[i].sets);
    }
    return 0;
}
