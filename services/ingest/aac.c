/* SPDX-License-Identifier: MIT
 *
 * Heads of AAC. See aac.h. */
#include "aac.h"

static const uint32_t rates[13] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                   22050, 16000, 12000, 11025, 8000,  7350};

struct bits {
    struct wr_slice s;
    size_t at; /* bits */
    bool bad;
};

static uint32_t u(struct bits *b, unsigned n)
{
    uint32_t v = 0;
    while (n--) {
        if (b->at / 8 >= b->s.n) {
            b->bad = true;
            return 0;
        }
        v = v << 1 | (b->s.p[b->at / 8] >> (7 - b->at % 8) & 1u);
        b->at++;
    }
    return v;
}

bool aac__parse_config(struct wr_slice asc, struct aac_config *out)
{
    struct bits b = {.s = asc};
    out->object_type = u(&b, 5);
    if (out->object_type == 31)
        out->object_type = 32 + u(&b, 6);
    uint32_t rate = u(&b, 4);
    out->sample_rate = rate == 15 ? u(&b, 24) : rate < WR_ARRAY_LEN(rates) ? rates[rate] : 0;
    uint32_t channels = u(&b, 4);
    out->channels = channels == 7 ? 8 : channels < 7 ? channels : 0;
    return !b.bad && out->object_type > 0 && out->sample_rate >= 7350 && out->sample_rate <= 192000;
}

/* ISO/IEC 14496-3 1.A.2.2 */
bool aac__parse_adts(struct wr_slice data, struct aac_adts *out)
{
    struct bits b = {.s = data};
    if (data.n < 7 || u(&b, 12) != 0xfff)
        return false;
    u(&b, 1);
    if (u(&b, 2) != 0) /* layer */
        return false;
    bool no_checksum = u(&b, 1);
    uint32_t type = u(&b, 2) + 1, rate = u(&b, 4);
    u(&b, 1);
    uint32_t channels = u(&b, 3);
    u(&b, 4);
    out->frame_bytes = u(&b, 13);
    u(&b, 11);
    uint32_t blocks = u(&b, 2) + 1;
    out->head_bytes = no_checksum ? 7 : 9;
    if (rate >= WR_ARRAY_LEN(rates) || blocks != 1 || out->frame_bytes <= out->head_bytes ||
        out->frame_bytes > data.n)
        return false;
    out->asc[0] = (uint8_t)(type << 3 | rate >> 1);
    out->asc[1] = (uint8_t)(rate << 7 | channels << 3);
    return aac__parse_config(wr_slice_of(out->asc, 2), &out->config);
}
