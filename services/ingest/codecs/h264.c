/* SPDX-License-Identifier: MIT
 *
 * H.264: syntax as far as a repacker needs it, and what the flow asks of a codec (the table at the end). See h264.h and
 * codec.h. */
#include "h264.h"

#include "wr_cursor.h"

#include <libavcodec/codec_id.h>
#include <stdio.h>

static unsigned nal_type(struct wr_slice nal)
{
    return nal.p[0] & 31;
}

/* ---- SPS ---------------------------------------------------------------------------------------------------------- */

static void skip_scaling_list(struct wr_cursor *b, unsigned n)
{
    int32_t last = 8, next = 8;
    for (unsigned i = 0; i < n && !b->failed; i++) {
        if (next != 0)
            next = (int32_t)(((uint32_t)last + (uint32_t)wr_cursor_se(b)) &
                             255); /* may be any 32 bits */
        last = next == 0 ? last : next;
    }
}

static bool has_chroma_info(unsigned profile)
{
    switch (profile) {
    case 100:
    case 110:
    case 122:
    case 244:
    case 44:
    case 83:
    case 86:
    case 118:
    case 128:
    case 138:
    case 139:
    case 134:
    case 135:
        return true;
    default:
        return false;
    }
}

static void parse_chroma_info(struct wr_cursor *b, struct h264_sps *s, bool *separate)
{
    uint32_t format = wr_cursor_ue(b);
    if (format == 3)
        *separate = wr_cursor_bits(b, 1);
    uint32_t luma = wr_cursor_ue(b), chroma = wr_cursor_ue(b);
    b->failed |= format > 3 || luma > 6 || chroma > 6;
    s->chroma_format = (uint8_t)format;
    s->luma_bits = (uint8_t)(8 + luma);
    s->chroma_bits = (uint8_t)(8 + chroma);
    wr_cursor_bits(b, 1); /* lossless */
    if (!wr_cursor_bits(b, 1))
        return;
    unsigned lists = s->chroma_format == 3 ? 12 : 8;
    for (unsigned i = 0; i < lists && !b->failed; i++)
        if (wr_cursor_bits(b, 1))
            skip_scaling_list(b, i < 6 ? 16 : 64);
}

static void parse_order(struct wr_cursor *b)
{
    uint32_t type = wr_cursor_ue(b);
    if (type == 0) {
        wr_cursor_ue(b);
    } else if (type == 1) {
        wr_cursor_bits(b, 1);
        wr_cursor_se(b);
        wr_cursor_se(b);
        uint32_t n = wr_cursor_ue(b);
        if (n > 255)
            b->failed = true;
        for (uint32_t i = 0; i < n && !b->failed; i++)
            wr_cursor_se(b);
    }
}

static void skip_hrd(struct wr_cursor *b)
{
    uint32_t n = wr_cursor_ue(b) + 1;
    if (n > 32)
        b->failed = true;
    wr_cursor_bits(b, 8);
    for (uint32_t i = 0; i < n && !b->failed; i++) {
        wr_cursor_ue(b);
        wr_cursor_ue(b);
        wr_cursor_bits(b, 1);
    }
    wr_cursor_bits(b, 20);
}

static void parse_vui(struct wr_cursor *b, struct h264_sps *s)
{
    if (wr_cursor_bits(b, 1) && wr_cursor_bits(b, 8) == 255) /* aspect ratio, extended */
        wr_cursor_bits(b, 32);
    if (wr_cursor_bits(b, 1))
        wr_cursor_bits(b, 1);   /* overscan */
    if (wr_cursor_bits(b, 1)) { /* video signal type */
        wr_cursor_bits(b, 4);
        if (wr_cursor_bits(b, 1))
            wr_cursor_bits(b, 24);
    }
    if (wr_cursor_bits(b, 1)) { /* chroma location */
        wr_cursor_ue(b);
        wr_cursor_ue(b);
    }
    if (wr_cursor_bits(b, 1)) { /* timing */
        uint32_t tick = wr_cursor_bits(b, 32), scale = wr_cursor_bits(b, 32);
        wr_cursor_bits(b, 1);
        if (tick > 0 && !b->failed && scale / tick <= 2000)
            s->fps_milli = (uint32_t)((uint64_t)scale * 500 / tick);
    }
    bool nal_hrd = wr_cursor_bits(b, 1);
    if (nal_hrd)
        skip_hrd(b);
    bool vcl_hrd = wr_cursor_bits(b, 1);
    if (vcl_hrd)
        skip_hrd(b);
    if (nal_hrd || vcl_hrd)
        wr_cursor_bits(b, 1);
    wr_cursor_bits(b, 1);       /* pic_struct present */
    if (wr_cursor_bits(b, 1)) { /* bitstream restriction */
        wr_cursor_bits(b, 1);
        wr_cursor_ue(b);
        wr_cursor_ue(b);
        wr_cursor_ue(b);
        wr_cursor_ue(b);
        uint32_t reorder = wr_cursor_ue(b);
        if (!b->failed && reorder <= 16)
            s->max_reorder = (int32_t)reorder;
    }
}

static bool parse_size(struct wr_cursor *b, struct h264_sps *s, bool separate)
{
    uint64_t mbs_wide = (uint64_t)wr_cursor_ue(b) + 1, map_high = (uint64_t)wr_cursor_ue(b) + 1;
    bool frames_only = wr_cursor_bits(b, 1);
    if (!frames_only)
        wr_cursor_bits(b, 1);
    wr_cursor_bits(b, 1); /* direct 8x8 */
    if (b->failed || mbs_wide > 1024 || map_high > 1024)
        return false;
    uint64_t width = mbs_wide * 16, height = map_high * 16 * (frames_only ? 1 : 2);
    if (wr_cursor_bits(b, 1)) {
        unsigned chroma = separate ? 0 : s->chroma_format;
        uint64_t x = chroma == 1 || chroma == 2 ? 2 : 1,
                 y = (chroma == 1 ? 2 : 1) * (frames_only ? 1u : 2u);
        uint64_t cut_x = x * ((uint64_t)wr_cursor_ue(b) + wr_cursor_ue(b)),
                 cut_y = y * ((uint64_t)wr_cursor_ue(b) + wr_cursor_ue(b));
        if (cut_x >= width || cut_y >= height)
            return false;
        width -= cut_x;
        height -= cut_y;
    }
    s->width = (uint32_t)width;
    s->height = (uint32_t)height;
    return !b->failed;
}

bool h264__parse_sps(struct wr_slice nal, struct h264_sps *out)
{
    struct wr_cursor b;
    bool separate = false;
    *out = (struct h264_sps){
        .chroma_format = 1, .luma_bits = 8, .chroma_bits = 8, .max_reorder = -1};
    if (nal.n < 4 || nal_type(nal) != H264_SPS)
        return false;
    b = wr_cursor_rbsp(nal, 1);
    out->profile = (uint8_t)wr_cursor_bits(&b, 8);
    out->constraints = (uint8_t)wr_cursor_bits(&b, 8);
    out->level = (uint8_t)wr_cursor_bits(&b, 8);
    out->id = wr_cursor_ue(&b);
    if (has_chroma_info(out->profile))
        parse_chroma_info(&b, out, &separate);
    wr_cursor_ue(&b); /* frame_num bits */
    parse_order(&b);
    wr_cursor_ue(&b); /* reference frames */
    wr_cursor_bits(&b, 1);
    if (b.failed || out->id > 31 || !parse_size(&b, out, separate))
        return false;
    /* A broken VUI is common in cameras and costs only hints. */
    if (wr_cursor_bits(&b, 1) && !b.failed)
        parse_vui(&b, out);
    return true;
}

/* ---- sets --------------------------------------------------------------------------------------------------------- */

void h264__sets_free(struct h264_sets *s)
{
    nal__sets_free(s->sps, H264_MAX_SPS);
    nal__sets_free(s->pps, H264_MAX_PPS);
}

bool h264__sets_learn(struct h264_sets *s, struct wr_slice nal)
{
    if (nal.n < 2 || nal.n > 0xffff)
        return false;
    if (nal_type(nal) == H264_SPS) {
        struct h264_sps sps;
        return h264__parse_sps(nal, &sps) && nal__set_keep(s->sps, H264_MAX_SPS, sps.id, 0, nal);
    }
    if (nal_type(nal) != H264_PPS)
        return false;
    struct wr_cursor b = wr_cursor_rbsp(nal, 1);
    uint32_t id = wr_cursor_ue(&b), sps_id = wr_cursor_ue(&b);
    if (b.failed || id > 255 || sps_id > 31)
        return false;
    return nal__set_keep(s->pps, H264_MAX_PPS, id, sps_id, nal);
}

/* ISO/IEC 14496-15 5.3.3.1 */
static enum nal_framing learn_avcc(struct h264_sets *s, struct wr_slice config)
{
    struct wr_cursor c = wr_cursor_of(config);
    wr_cursor_skip(&c, 4);
    enum nal_framing framing = (enum nal_framing)((wr_cursor_u8(&c) & 3) + 1);
    for (int pass = 0; pass < 2; pass++) {
        unsigned count = wr_cursor_u8(&c) & (pass == 0 ? 31 : 255);
        while (count-- && !c.failed) {
            struct wr_slice nal = wr_cursor_bytes(&c, wr_cursor_u16(&c));
            (void)h264__sets_learn(s, nal);
        }
    }
    return framing;
}

enum nal_framing h264__sets_learn_config(struct h264_sets *s, struct wr_slice config)
{
    struct nal_iter it;
    struct wr_slice nal;
    if (config.n >= 7 && config.p[0] == 1)
        return learn_avcc(s, config);
    nal__iter(&it, config, NAL_ANNEXB);
    while (nal__next(&it, &nal))
        h264__sets_learn(s, nal);
    return NAL_ANNEXB;
}

bool h264__avcc(const struct h264_sets *s, uint32_t pps_id, struct wr_buf *out,
                struct h264_sps *sps)
{
    wr_buf_clear(out);
    const struct nal_set *pps = nal__set_find(s->pps, H264_MAX_PPS, pps_id);
    const struct nal_set *set = pps ? nal__set_find(s->sps, H264_MAX_SPS, pps->refers) : NULL;
    if (!set)
        return false;
    if (!h264__parse_sps(wr_slice_of(set->bytes.p, set->bytes.n), sps))
        return false;
    unsigned num_pps = 0;
    for (unsigned i = 0; i < H264_MAX_PPS; i++)
        num_pps += s->pps[i].bytes.n > 0 && s->pps[i].refers == set->id;
    wr_buf_be(out, 1, 1);
    wr_buf_add(out, set->bytes.p + 1, 3);
    wr_buf_be(out, 0xffe1, 2); /* 4-byte lengths; one SPS */
    wr_buf_be(out, set->bytes.n, 2);
    wr_buf_add(out, set->bytes.p, set->bytes.n);
    wr_buf_be(out, num_pps, 1);
    for (unsigned i = 0; i < H264_MAX_PPS; i++) {
        if (s->pps[i].bytes.n == 0 || s->pps[i].refers != set->id)
            continue;
        wr_buf_be(out, s->pps[i].bytes.n, 2);
        wr_buf_add(out, s->pps[i].bytes.p, s->pps[i].bytes.n);
    }
    if (sps->profile == 100 || sps->profile == 110 || sps->profile == 122 || sps->profile == 144) {
        wr_buf_be(out, 0xfcu | sps->chroma_format, 1);
        wr_buf_be(out, 0xf8u | (sps->luma_bits - 8u), 1);
        wr_buf_be(out, 0xf8u | (sps->chroma_bits - 8u), 1);
        wr_buf_be(out, 0, 1);
    }
    return !out->failed;
}

void h264__codec_string(struct wr_slice avcc, char out[WR_CODEC_STRING_BYTES])
{
    if (avcc.n < 4)
        snprintf(out, WR_CODEC_STRING_BYTES, "avc1");
    else
        snprintf(out, WR_CODEC_STRING_BYTES, "avc1.%02x%02x%02x", avcc.p[1], avcc.p[2], avcc.p[3]);
}

/* ---- access units ------------------------------------------------------------------------------------------------- */

static uint32_t slice_pps_id(struct wr_slice nal)
{
    struct wr_cursor b = wr_cursor_rbsp(nal, 1);
    wr_cursor_ue(&b); /* first macroblock */
    wr_cursor_ue(&b); /* type */
    return wr_cursor_ue(&b);
}

static bool is_noise(unsigned type)
{
    return type == H264_AUD || type == H264_FILLER || type == H264_END_SEQUENCE ||
           type == H264_END_STREAM;
}

static bool is_set(unsigned type)
{
    return type == H264_SPS || type == H264_PPS;
}

void h264__scan(struct h264_sets *s, struct wr_slice data, enum nal_framing framing,
                struct h264_unit *out)
{
    struct nal_iter it;
    struct wr_slice nal;
    *out = (struct h264_unit){.bytes = 0};
    nal__iter(&it, data, framing);
    while (nal__next(&it, &nal)) {
        unsigned type = nal_type(nal);
        if (is_noise(type))
            continue;
        if (is_set(type)) {
            out->sets_changed |= h264__sets_learn(s, nal);
            out->sets_bytes += 4 + nal.n;
            continue;
        }
        if (type >= H264_SLICE && type <= H264_IDR) {
            if (!out->has_picture)
                out->pps_id = slice_pps_id(nal);
            out->has_picture = true;
            out->is_idr |= type == H264_IDR;
        }
        if (type == H264_SEI)
            out->is_recovery |= nal__has_recovery_point(nal, 1);
        out->bytes += 4 + nal.n;
    }
}

uint8_t *h264__store(struct wr_slice data, enum nal_framing framing, bool keep_sets, uint8_t *to)
{
    struct nal_iter it;
    struct wr_slice nal;
    nal__iter(&it, data, framing);
    while (nal__next(&it, &nal)) {
        unsigned type = nal_type(nal);
        if (is_noise(type) || (is_set(type) && !keep_sets))
            continue;
        to = nal__put(to, nal);
    }
    return to;
}

/* ---- what the flow asks ------------------------------------------------------------------------------------------- */

struct state {
    struct h264_sets sets;
    enum nal_framing framing;
};

static bool learn(void *state, const struct codec_hint *hint)
{
    struct state *h = state;
    h->framing = h264__sets_learn_config(&h->sets, hint->config);
    return true;
}

static void scan(void *state, struct wr_slice data, struct codec_unit *out)
{
    struct state *h = state;
    struct h264_unit u;
    h264__scan(&h->sets, data, h->framing, &u);
    *out = (struct codec_unit){.data = data,
                               .has_media = u.has_picture,
                               .key = u.is_idr || u.is_recovery,
                               .sets_changed = u.sets_changed,
                               .set_id = u.pps_id,
                               .bytes = u.bytes,
                               .sets_bytes = u.sets_bytes};
}

/* Constrained baseline has no reordering; others say it in their VUI, or it is learnt. */
static unsigned reorder_depth(const struct h264_sps *sps)
{
    return sps->profile != 66 && sps->max_reorder > 0 ? (unsigned)sps->max_reorder : 0;
}

static bool config(const void *state, const struct codec_unit *unit, struct wr_buf *out,
                   struct codec_facts *facts)
{
    const struct state *h = state;
    struct h264_sps sps;
    if (!h264__avcc(&h->sets, unit->set_id, out, &sps))
        return false;
    *facts = (struct codec_facts){.timescale = CODEC_VIDEO_SCALE,
                                  .width = sps.width,
                                  .height = sps.height,
                                  .fps_milli = sps.fps_milli,
                                  .reorder = reorder_depth(&sps)};
    return true;
}

static uint8_t *store(const void *state, const struct codec_unit *unit, bool keep_sets, uint8_t *to)
{
    return h264__store(unit->data, ((const struct state *)state)->framing, keep_sets, to);
}

static void finish(void *state)
{
    h264__sets_free(&((struct state *)state)->sets);
}

const struct codec codec__h264 = {.codec = WR_CODEC_H264,
                                  .av_id = AV_CODEC_ID_H264,
                                  .state_bytes = sizeof(struct state),
                                  .learn = learn,
                                  .scan = scan,
                                  .config = config,
                                  .store = store,
                                  .string = h264__codec_string,
                                  .fini = finish};
