/* SPDX-License-Identifier: MIT
 *
 * G.711 (ITU-T G.711; RFC 3551, 4.5.14): both laws. A frame is as many samples as the camera puts into a packet, one byte a
 * sample; there is no configuration. */
#include "codec.h"

#include <libavcodec/codec_id.h>
#include <stdio.h>

struct state {
    uint32_t sample_rate, channels;
};

static bool learn(void *state, const struct codec_hint *hint)
{
    struct state *g = state;
    g->sample_rate = hint->sample_rate ? hint->sample_rate : 8000;
    g->channels = hint->channels ? hint->channels : 1;
    return g->sample_rate <= 192000 && g->channels <= 8;
}

static void scan(void *state, struct wr_slice data, struct codec_unit *out)
{
    const struct state *g = state;
    *out = (struct codec_unit){.data = data,
                               .has_media = g->channels > 0 && data.n >= g->channels,
                               .key = true,
                               .bytes = data.n};
    if (g->channels > 0)
        out->duration = (uint32_t)(data.n / g->channels);
}

static bool config(const void *state, const struct codec_unit *unit, struct wr_buf *out,
                   struct codec_facts *facts)
{
    const struct state *g = state;
    (void)unit;
    wr_buf_clear(out);
    *facts = (struct codec_facts){
        .timescale = g->sample_rate, .sample_rate = g->sample_rate, .channels = g->channels};
    return g->sample_rate > 0;
}

static void string_a(struct wr_slice config, char out[WR_CODEC_STRING_BYTES])
{
    (void)config;
    snprintf(out, WR_CODEC_STRING_BYTES, "alaw");
}

static void string_u(struct wr_slice config, char out[WR_CODEC_STRING_BYTES])
{
    (void)config;
    snprintf(out, WR_CODEC_STRING_BYTES, "ulaw");
}

const struct codec codec__g711a = {.codec = WR_CODEC_G711A,
                                   .av_id = AV_CODEC_ID_PCM_ALAW,
                                   .state_bytes = sizeof(struct state),
                                   .learn = learn,
                                   .scan = scan,
                                   .config = config,
                                   .store = codec__store_whole,
                                   .string = string_a};

const struct codec codec__g711u = {.codec = WR_CODEC_G711U,
                                   .av_id = AV_CODEC_ID_PCM_MULAW,
                                   .state_bytes = sizeof(struct state),
                                   .learn = learn,
                                   .scan = scan,
                                   .config = config,
                                   .store = codec__store_whole,
                                   .string = string_u};
