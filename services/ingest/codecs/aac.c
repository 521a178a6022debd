/* SPDX-License-Identifier: MIT
 *
 * AAC: its heads, and what the flow asks of a codec (the table at the end). See aac.h and codec.h. */
#include "aac.h"

#include "wr_cursor.h"

#include <libavcodec/codec_id.h>
#include <stdio.h>

static const uint32_t rates[13] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                   22050, 16000, 12000, 11025, 8000,  7350};

bool aac__parse_config(struct wr_slice asc, struct aac_config *out)
{
    struct wr_cursor b = wr_cursor_of(asc);
    out->object_type = wr_cursor_bits(&b, 5);
    if (out->object_type == 31)
        out->object_type = 32 + wr_cursor_bits(&b, 6);
    uint32_t rate = wr_cursor_bits(&b, 4);
    out->sample_rate = rate == 15                   ? wr_cursor_bits(&b, 24)
                       : rate < WR_ARRAY_LEN(rates) ? rates[rate]
                                                    : 0;
    uint32_t channels = wr_cursor_bits(&b, 4);
    out->channels = channels == 7 ? 8 : channels < 7 ? channels : 0;
    return !b.failed && out->object_type > 0 && out->sample_rate >= 7350 &&
           out->sample_rate <= 192000;
}

/* ISO/IEC 14496-3 1.A.2.2 */
bool aac__parse_adts(struct wr_slice data, struct aac_adts *out)
{
    struct wr_cursor b = wr_cursor_of(data);
    if (data.n < 7 || wr_cursor_bits(&b, 12) != 0xfff)
        return false;
    wr_cursor_bits(&b, 1);
    if (wr_cursor_bits(&b, 2) != 0) /* layer */
        return false;
    bool no_checksum = wr_cursor_bits(&b, 1);
    uint32_t type = wr_cursor_bits(&b, 2) + 1, rate = wr_cursor_bits(&b, 4);
    wr_cursor_bits(&b, 1);
    uint32_t channels = wr_cursor_bits(&b, 3);
    wr_cursor_bits(&b, 4);
    out->frame_bytes = wr_cursor_bits(&b, 13);
    wr_cursor_bits(&b, 11);
    uint32_t blocks = wr_cursor_bits(&b, 2) + 1;
    out->head_bytes = no_checksum ? 7 : 9;
    if (rate >= WR_ARRAY_LEN(rates) || blocks != 1 || out->frame_bytes <= out->head_bytes ||
        out->frame_bytes > data.n)
        return false;
    out->asc[0] = (uint8_t)(type << 3 | rate >> 1);
    out->asc[1] = (uint8_t)(rate << 7 | channels << 3);
    return aac__parse_config(wr_slice_of(out->asc, 2), &out->config);
}

/* ---- what the flow asks ------------------------------------------------------------------------------------------- */

#define MAX_CONFIG 64
#define SAMPLES 1024 /* a frame; the 960 of radio is not met in cameras */

struct state {
    uint8_t asc[MAX_CONFIG];
    size_t n; /* 0 = the first ADTS head will tell */
    uint32_t sample_rate, channels;
};

static bool take_config(struct state *a, struct wr_slice asc, uint32_t channels)
{
    struct aac_config c;
    if (asc.n > sizeof a->asc || !aac__parse_config(asc, &c))
        return false;
    memcpy(a->asc, asc.p, asc.n);
    a->n = asc.n;
    a->sample_rate = c.sample_rate;
    a->channels = channels ? channels : c.channels;
    return true;
}

static bool learn(void *state, const struct codec_hint *hint)
{
    return hint->config.n == 0 || take_config(state, hint->config, hint->channels);
}

static void scan(void *state, struct wr_slice data, struct codec_unit *out)
{
    struct state *a = state;
    struct aac_adts adts;
    *out = (struct codec_unit){.data = data, .key = true, .duration = SAMPLES};
    if (aac__parse_adts(data, &adts)) {
        if (a->n == 0)
            out->sets_changed = take_config(a, wr_slice_of(adts.asc, 2), 0);
        out->data = wr_slice_of(data.p + adts.head_bytes, adts.frame_bytes - adts.head_bytes);
    }
    out->bytes = out->data.n;
    out->has_media = out->data.n > 0 && a->n > 0;
}

static bool config(const void *state, const struct codec_unit *unit, struct wr_buf *out,
                   struct codec_facts *facts)
{
    const struct state *a = state;
    (void)unit;
    wr_buf_clear(out);
    wr_buf_add(out, a->asc, a->n);
    *facts = (struct codec_facts){
        .timescale = a->sample_rate, .sample_rate = a->sample_rate, .channels = a->channels};
    return a->n > 0 && !out->failed;
}

static void string(struct wr_slice asc, char out[WR_CODEC_STRING_BYTES])
{
    struct aac_config c;
    snprintf(out, WR_CODEC_STRING_BYTES, "mp4a.40.%u",
             aac__parse_config(asc, &c) ? c.object_type : 2);
}

const struct codec codec__aac = {.codec = WR_CODEC_AAC,
                                 .av_id = AV_CODEC_ID_AAC,
                                 .state_bytes = sizeof(struct state),
                                 .learn = learn,
                                 .scan = scan,
                                 .config = config,
                                 .store = codec__store_whole,
                                 .string = string};
