/* SPDX-License-Identifier: MIT
 *
 * Opus (RFC 6716; OpusHead: RFC 7845, 5.1). A frame is one packet; its length in time is in its first bytes. Times are in
 * 1/48,000 s whatever the encoder was fed with. */
#include "codec.h"
#include "wr_cursor.h"

#include <libavcodec/codec_id.h>
#include <stdio.h>

#define RATE 48000u
#define HEAD_BYTES 11u      /* without a channel mapping */
#define HEAD_MAX_BYTES 269u /* with one of 255 channels */
#define MAX_DURATION (RATE * 120 / 1000)

struct state {
    uint8_t head[HEAD_MAX_BYTES];
    size_t n;
};

/* Of a source that says nothing but the number of channels: version 1, no samples to leave out, 48 kHz, no gain. */
static void make_head(struct state *o, uint32_t channels)
{
    const uint8_t head[HEAD_BYTES] = {
        1, (uint8_t)channels, 0, 0, RATE & 255, RATE >> 8 & 255, 0, 0, 0, 0, 0};
    memcpy(o->head, head, sizeof head);
    o->n = sizeof head;
}

static bool learn(void *state, const struct codec_hint *hint)
{
    struct state *o = state;
    struct wr_slice c = hint->config;
    if (c.n >= 8 && memcmp(c.p, "OpusHead", 8) == 0)
        c = wr_slice_of(c.p + 8, c.n - 8);
    if (c.n == 0) { /* RFC 7587: two channels are named, whatever is sent; a decoder takes both */
        make_head(o, hint->channels == 1 ? 1 : 2);
        return hint->channels <= 2;
    }
    /* Version 0.x and 1 can be read; family 0 has one or two channels and no mapping. */
    if (c.n < HEAD_BYTES || c.n > HEAD_MAX_BYTES || c.p[0] > 15 || c.p[1] == 0)
        return false;
    uint8_t channels = c.p[1], family = c.p[10];
    if (family == 0 ? channels > 2 : c.n < HEAD_BYTES + 2 + (size_t)channels)
        return false;
    o->n = family == 0 ? HEAD_BYTES : HEAD_BYTES + 2 + (size_t)channels;
    memcpy(o->head, c.p, o->n);
    return true;
}

/* RFC 6716, 3.1 and 3.2: samples of a packet; 0 when it is none. */
static uint32_t duration_of(struct wr_slice packet)
{
    static const uint16_t silk[4] = {480, 960, 1920, 2880}, celt[4] = {120, 240, 480, 960};
    struct wr_cursor c = wr_cursor_of(packet);
    unsigned config = wr_cursor_bits(&c, 5), frames;
    (void)wr_cursor_bits(&c, 1); /* stereo */
    switch (wr_cursor_bits(&c, 2)) {
    case 0:
        frames = 1;
        break;
    case 3:
        frames = wr_cursor_u8(&c) & 63;
        break;
    default:
        frames = 2;
    }
    uint32_t one = config < 12   ? silk[config & 3]
                   : config < 16 ? silk[config & 1]
                                 : celt[config & 3];
    return c.failed || frames * one > MAX_DURATION ? 0 : frames * one;
}

static void scan(void *state, struct wr_slice data, struct codec_unit *out)
{
    (void)state;
    uint32_t duration = duration_of(data);
    *out = (struct codec_unit){.data = data,
                               .has_media = duration > 0,
                               .key = true,
                               .bytes = data.n,
                               .duration = duration};
}

static bool config(const void *state, const struct codec_unit *unit, struct wr_buf *out,
                   struct codec_facts *facts)
{
    const struct state *o = state;
    (void)unit;
    wr_buf_clear(out);
    wr_buf_add(out, o->head, o->n);
    *facts = (struct codec_facts){.timescale = RATE, .sample_rate = RATE, .channels = o->head[1]};
    return o->n > 0 && !out->failed;
}

static void string(struct wr_slice config, char out[WR_CODEC_STRING_BYTES])
{
    (void)config;
    snprintf(out, WR_CODEC_STRING_BYTES, "opus");
}

const struct codec codec__opus = {.codec = WR_CODEC_OPUS,
                                  .av_id = AV_CODEC_ID_OPUS,
                                  .state_bytes = sizeof(struct state),
                                  .learn = learn,
                                  .scan = scan,
                                  .config = config,
                                  .store = codec__store_whole,
                                  .string = string};
