/* SPDX-License-Identifier: MIT
 *
 * Fuzz target for what a camera sends: its description (sdp__parse), its packets (rtp__packet, rtp__control, rtp__skew; h264.c,
 * h265.c, aac.c and whole.c of packings), and the frames in them as every codec learns, looks through, stores and describes them
 * (h264.c, h265.c, aac.c, opus.c, g711.c; nal__next, h264__avcc, h265__hvcc, aac__parse_adts, nal__has_recovery_point). The input
 * is a description, a zero byte, then packets, each behind a byte that says which track and whether it is a report, and a length
 * of two bytes. */
#include "codec.h"
#include "rtp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct track {
    struct rtp rtp;
    const struct codec *codec;
    void *state;
    uint64_t frames;
};

/* What a Track tells must make sense: gateways divide by it. */
static void check(const struct codec *c, void *state, const struct codec_unit *u)
{
    struct wr_buf config = {0};
    struct codec_facts facts;
    char text[WR_CODEC_STRING_BYTES];
    if (c->config(state, u, &config, &facts)) {
        bool video = wr_codec_kind(c->codec) == WR_MEDIA_VIDEO;
        if (facts.timescale == 0 || (video ? !facts.width || !facts.height : !facts.sample_rate))
            abort();
        c->string(wr_slice_of(config.p, config.n), text);
        if (!memchr(text, 0, sizeof text))
            abort();
        /* What we say is understood by ourselves, as a gateway's or another ingest's. */
        void *again = calloc(1, c->state_bytes);
        struct codec_hint hint = {.config = {config.p, config.n}, .sample_rate = facts.sample_rate};
        if (!again || !c->learn(again, &hint))
            abort();
        if (c->fini)
            c->fini(again);
        free(again);
    }
    wr_buf_free(&config);
}

/* Room for what the scan said and no byte more, so that the sanitizer sees a store that writes other than that. */
static void store(struct track *t, struct wr_slice data)
{
    struct codec_unit u;
    t->codec->scan(t->state, data, &u);
    for (int keep = 0; keep <= 1; keep++) {
        size_t n = u.bytes + (keep ? u.sets_bytes : 0);
        uint8_t *to = malloc(n ? n : 1);
        if (!to || (u.has_media && t->codec->store(t->state, &u, keep, to) != to + n))
            abort();
        free(to);
    }
    if (u.has_media && u.key)
        check(t->codec, t->state, &u);
}

static void on_frame(void *ctx, const struct rtp_frame *f)
{
    struct track *t = ctx;
    t->frames++;
    if (t->state)
        store(t, f->data);
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
        tracks[i].codec = t->packing ? codec__find(t->packing->codec) : NULL;
        tracks[i].state = tracks[i].codec ? calloc(1, tracks[i].codec->state_bytes) : NULL;
        struct codec_hint hint = {
            .config = {t->config, t->config_n}, .sample_rate = t->clock, .channels = t->channels};
        if (tracks[i].state && !tracks[i].codec->learn(tracks[i].state, &hint)) {
            free(tracks[i].state); /* the flow leaves such a track out */
            tracks[i].state = NULL;
        }
    }
    if (zero)
        feed(tracks, sdp.n, zero + 1, data + size);
    int64_t ticks;
    if (sdp.n > 1)
        (void)rtp__skew(&tracks[0].rtp, &tracks[1].rtp, &ticks);
    for (size_t i = 0; i < sdp.n; i++) {
        rtp__free(&tracks[i].rtp);
        if (tracks[i].state && tracks[i].codec->fini)
            tracks[i].codec->fini(tracks[i].state);
        free(tracks[i].state);
    }
    return 0;
}
