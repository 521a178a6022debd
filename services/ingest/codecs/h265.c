/* SPDX-License-Identifier: MIT
 *
 * H.265: syntax as far as a repacker needs it, and what the flow asks of a codec (the table at the end). See h265.h and
 * codec.h. Numbers in comments are sections of ITU-T H.265. */
#include "h265.h"

#include "wr_cursor.h"

#include <libavcodec/codec_id.h>
#include <stdio.h>

#define HEAD 2 /* bytes of a NAL unit's head */

static unsigned nal_type(struct wr_slice nal)
{
    return nal.p[0] >> 1 & 63;
}

/* A whole head, and of the first layer. */
static bool is_ours(struct wr_slice nal)
{
    return nal.n > HEAD && (nal.p[0] & 1) == 0 && nal.p[1] >> 3 == 0;
}

/* ---- SPS ---------------------------------------------------------------------------------------------------------- */

/* 7.3.3: the general part is kept, that of sub-layers skipped. */
static void parse_profile(struct wr_cursor *c, struct h265_sps *s)
{
    unsigned above = s->layers - 1u, present[8] = {0};
    s->space_tier_profile = (uint8_t)wr_cursor_bits(c, 8);
    s->compatibility = wr_cursor_bits(c, 32);
    s->constraints = (uint64_t)wr_cursor_bits(c, 24) << 24;
    s->constraints |= wr_cursor_bits(c, 24);
    s->level = (uint8_t)wr_cursor_bits(c, 8);
    for (unsigned i = 0; i < above; i++)
        present[i] = wr_cursor_bits(c, 2);
    if (above > 0)
        wr_cursor_skip_bits(c, 2 * (8 - above));
    for (unsigned i = 0; i < above; i++)
        wr_cursor_skip_bits(c, (present[i] & 2 ? 88 : 0) + (present[i] & 1 ? 8 : 0));
}

static bool parse_size(struct wr_cursor *c, struct h265_sps *s)
{
    uint32_t format = wr_cursor_ue(c);
    bool separate = format == 3 && wr_cursor_flag(c);
    uint32_t width = wr_cursor_ue(c), height = wr_cursor_ue(c);
    if (c->failed || format > 3 || width == 0 || height == 0 || width > 16384 || height > 16384)
        return false;
    s->chroma_format = (uint8_t)format;
    if (wr_cursor_flag(c)) { /* conformance window, in chroma samples */
        uint64_t x = !separate && (format == 1 || format == 2) ? 2 : 1,
                 y = !separate && format == 1 ? 2 : 1;
        uint64_t cut_x = (uint64_t)wr_cursor_ue(c) + wr_cursor_ue(c),
                 cut_y = (uint64_t)wr_cursor_ue(c) + wr_cursor_ue(c);
        if (cut_x * x >= width || cut_y * y >= height)
            return false;
        width -= (uint32_t)(cut_x * x);
        height -= (uint32_t)(cut_y * y);
    }
    s->width = width;
    s->height = height;
    return !c->failed;
}

/* The last one told is that of all layers. */
static void parse_order(struct wr_cursor *c, struct h265_sps *s)
{
    unsigned i = wr_cursor_flag(c) ? 0 : s->layers - 1u;
    for (; i < s->layers && !c->failed; i++) {
        (void)wr_cursor_ue(c); /* buffered pictures */
        uint32_t reorder = wr_cursor_ue(c);
        (void)wr_cursor_ue(c); /* latency */
        s->reorder = reorder <= 15 ? reorder : 0;
    }
}

/* 7.3.4 */
static void skip_scaling_lists(struct wr_cursor *c)
{
    for (unsigned size = 0; size < 4; size++)
        for (unsigned matrix = 0; matrix < 6 && !c->failed; matrix += size == 3 ? 3 : 1) {
            if (!wr_cursor_flag(c)) {
                (void)wr_cursor_ue(c);
                continue;
            }
            unsigned n = WR_MIN(64u, 1u << (4 + 2 * size));
            if (size > 1)
                (void)wr_cursor_se(c);
            while (n-- && !c->failed)
                (void)wr_cursor_se(c);
        }
}

/* 7.3.7; returns NumDeltaPocs, `before` is that of the set before. */
static unsigned skip_reference_set(struct wr_cursor *c, unsigned index, unsigned before)
{
    unsigned n = 0;
    if (index > 0 && wr_cursor_flag(c)) { /* told as a difference */
        (void)wr_cursor_flag(c);
        (void)wr_cursor_ue(c);
        for (unsigned i = 0; i <= before && !c->failed; i++)
            n += wr_cursor_flag(c) || wr_cursor_flag(c);
        return n;
    }
    uint32_t negative = wr_cursor_ue(c), positive = wr_cursor_ue(c);
    if (negative > 16 || positive > 16) {
        c->failed = true;
        return 0;
    }
    for (n = 0; n < negative + positive && !c->failed; n++) {
        (void)wr_cursor_ue(c);
        (void)wr_cursor_flag(c);
    }
    return n;
}

/* From the coding blocks to what stands before the VUI. */
static void skip_coding(struct wr_cursor *c, unsigned lsb_bits)
{
    for (unsigned i = 0; i < 6; i++)
        (void)wr_cursor_ue(c); /* block sizes and depths */
    if (wr_cursor_flag(c) && wr_cursor_flag(c))
        skip_scaling_lists(c);
    wr_cursor_skip_bits(c, 2);
    if (wr_cursor_flag(c)) { /* PCM */
        wr_cursor_skip_bits(c, 8);
        (void)wr_cursor_ue(c);
        (void)wr_cursor_ue(c);
        wr_cursor_skip_bits(c, 1);
    }
    uint32_t sets = wr_cursor_ue(c);
    unsigned before = 0;
    c->failed |= sets > 64;
    for (unsigned i = 0; i < sets && !c->failed; i++)
        before = skip_reference_set(c, i, before);
    if (wr_cursor_flag(c)) { /* long-term pictures */
        uint32_t n = wr_cursor_ue(c);
        c->failed |= n > 32;
        for (uint32_t i = 0; i < n && !c->failed; i++)
            wr_cursor_skip_bits(c, lsb_bits + 1);
    }
    wr_cursor_skip_bits(c, 2);
}

/* E.2.1 as far as the rate. */
static void parse_vui(struct wr_cursor *c, struct h265_sps *s)
{
    if (wr_cursor_flag(c) && wr_cursor_bits(c, 8) == 255) /* aspect ratio */
        wr_cursor_skip_bits(c, 32);
    if (wr_cursor_flag(c)) /* overscan */
        wr_cursor_skip_bits(c, 1);
    if (wr_cursor_flag(c)) { /* signal type */
        wr_cursor_skip_bits(c, 4);
        if (wr_cursor_flag(c))
            wr_cursor_skip_bits(c, 24);
    }
    if (wr_cursor_flag(c)) { /* chroma location */
        (void)wr_cursor_ue(c);
        (void)wr_cursor_ue(c);
    }
    wr_cursor_skip_bits(c, 3);
    if (wr_cursor_flag(c)) /* display window */
        for (unsigned i = 0; i < 4; i++)
            (void)wr_cursor_ue(c);
    if (!wr_cursor_flag(c))
        return;
    uint32_t tick = wr_cursor_bits(c, 32), scale = wr_cursor_bits(c, 32);
    if (tick > 0 && !c->failed && scale / tick <= 1000)
        s->fps_milli = (uint32_t)((uint64_t)scale * 1000 / tick);
}

bool h265__parse_sps(struct wr_slice nal, struct h265_sps *out)
{
    *out = (struct h265_sps){.id = 0};
    if (!is_ours(nal) || nal_type(nal) != H265_SPS)
        return false;
    struct wr_cursor c = wr_cursor_rbsp(nal, HEAD);
    out->vps_id = wr_cursor_bits(&c, 4);
    out->layers = (uint8_t)(wr_cursor_bits(&c, 3) + 1);
    out->nested = wr_cursor_flag(&c);
    if (out->layers > 7)
        return false;
    parse_profile(&c, out);
    out->id = wr_cursor_ue(&c);
    if (out->id > 15 || !parse_size(&c, out))
        return false;
    uint32_t luma = wr_cursor_ue(&c), chroma = wr_cursor_ue(&c), lsb = wr_cursor_ue(&c);
    if (c.failed || luma > 8 || chroma > 8 || lsb > 12)
        return false;
    out->luma_bits = (uint8_t)(8 + luma);
    out->chroma_bits = (uint8_t)(8 + chroma);
    parse_order(&c, out);
    if (c.failed)
        return false;
    /* What follows is only for the rate, a hint: a broken one is no reason to refuse. */
    skip_coding(&c, lsb + 4);
    if (wr_cursor_flag(&c))
        parse_vui(&c, out);
    return true;
}

/* ---- sets --------------------------------------------------------------------------------------------------------- */

void h265__sets_free(struct h265_sets *s)
{
    nal__sets_free(s->vps, H265_MAX_VPS);
    nal__sets_free(s->sps, H265_MAX_SPS);
    nal__sets_free(s->pps, H265_MAX_PPS);
}

bool h265__sets_learn(struct h265_sets *s, struct wr_slice nal)
{
    struct h265_sps sps;
    if (!is_ours(nal) || nal.n > 0xffff)
        return false;
    struct wr_cursor c = wr_cursor_rbsp(nal, HEAD);
    switch (nal_type(nal)) {
    case H265_VPS:
        return nal__set_keep(s->vps, H265_MAX_VPS, wr_cursor_bits(&c, 4), 0, nal);
    case H265_SPS:
        return h265__parse_sps(nal, &sps) &&
               nal__set_keep(s->sps, H265_MAX_SPS, sps.id, sps.vps_id, nal);
    case H265_PPS: {
        uint32_t id = wr_cursor_ue(&c), sps_id = wr_cursor_ue(&c);
        return !c.failed && id < H265_MAX_PPS && sps_id < H265_MAX_SPS &&
               nal__set_keep(s->pps, H265_MAX_PPS, id, sps_id, nal);
    }
    default:
        return false;
    }
}

/* ISO/IEC 14496-15 8.3.3.1 */
static enum nal_framing learn_hvcc(struct h265_sets *s, struct wr_slice config)
{
    struct wr_cursor c = wr_cursor_of(config);
    wr_cursor_skip(&c, 21);
    enum nal_framing framing = (enum nal_framing)((wr_cursor_u8(&c) & 3) + 1);
    unsigned arrays = wr_cursor_u8(&c);
    while (arrays-- && !c.failed) {
        wr_cursor_skip(&c, 1); /* type: the units say it themselves */
        unsigned count = wr_cursor_u16(&c);
        while (count-- && !c.failed)
            (void)h265__sets_learn(s, wr_cursor_bytes(&c, wr_cursor_u16(&c)));
    }
    return framing;
}

enum nal_framing h265__sets_learn_config(struct h265_sets *s, struct wr_slice config)
{
    struct nal_iter it;
    struct wr_slice nal;
    /* hvcC begins with its version, Annex B with zeros. */
    if (config.n >= 23 && config.p[0] == 1)
        return learn_hvcc(s, config);
    nal__iter(&it, config, NAL_ANNEXB);
    while (nal__next(&it, &nal))
        (void)h265__sets_learn(s, nal);
    return NAL_ANNEXB;
}

/* One array of hvcC: the sets that refer to the set above. */
static void put_array(struct wr_buf *out, unsigned type, const struct nal_set *all, size_t n,
                      uint32_t refers)
{
    unsigned count = 0;
    for (size_t i = 0; i < n; i++)
        count += all[i].bytes.n > 0 && all[i].refers == refers;
    wr_buf_be(out, 0x80u | type, 1); /* complete: hvc1 has none in the data */
    wr_buf_be(out, count, 2);
    for (size_t i = 0; i < n; i++)
        if (all[i].bytes.n > 0 && all[i].refers == refers) {
            wr_buf_be(out, all[i].bytes.n, 2);
            wr_buf_slice(out, nal__set_bytes(&all[i]));
        }
}

static void put_one(struct wr_buf *out, unsigned type, const struct nal_set *set)
{
    put_array(out, type, set, 1, set->refers);
}

static void put_head(struct wr_buf *out, const struct h265_sps *s)
{
    wr_buf_be(out, 1, 1);
    wr_buf_be(out, s->space_tier_profile, 1);
    wr_buf_be(out, s->compatibility, 4);
    wr_buf_be(out, s->constraints, 6);
    wr_buf_be(out, s->level, 1);
    wr_buf_be(out, 0xf000, 2); /* spatial segmentation: not told */
    wr_buf_be(out, 0xfc, 1);   /* parallelism: not told */
    wr_buf_be(out, 0xfcu | s->chroma_format, 1);
    wr_buf_be(out, 0xf8u | (s->luma_bits - 8u), 1);
    wr_buf_be(out, 0xf8u | (s->chroma_bits - 8u), 1);
    wr_buf_be(out, 0, 2); /* average rate: not told */
    wr_buf_be(out, (unsigned)s->layers << 3 | (unsigned)s->nested << 2 | 3u,
              1); /* 4-byte lengths */
    wr_buf_be(out, 3, 1);
}

bool h265__hvcc(const struct h265_sets *s, uint32_t pps_id, struct wr_buf *out,
                struct h265_sps *sps)
{
    wr_buf_clear(out);
    const struct nal_set *pps = nal__set_find(s->pps, H265_MAX_PPS, pps_id);
    const struct nal_set *set = pps ? nal__set_find(s->sps, H265_MAX_SPS, pps->refers) : NULL;
    const struct nal_set *vps = set ? nal__set_find(s->vps, H265_MAX_VPS, set->refers) : NULL;
    if (!vps || !h265__parse_sps(nal__set_bytes(set), sps))
        return false;
    put_head(out, sps);
    put_one(out, H265_VPS, vps);
    put_one(out, H265_SPS, set);
    put_array(out, H265_PPS, s->pps, H265_MAX_PPS, set->id);
    return !out->failed;
}

static uint32_t reversed(uint32_t v)
{
    uint32_t r = 0;
    for (unsigned i = 0; i < 32; i++)
        r |= (v >> i & 1u) << (31 - i);
    return r;
}

void h265__codec_string(struct wr_slice hvcc, char out[WR_CODEC_STRING_BYTES])
{
    static const char *const spaces[4] = {"", "A", "B", "C"};
    struct wr_cursor c = wr_cursor_of(hvcc);
    wr_cursor_skip(&c, 1);
    unsigned space = wr_cursor_bits(&c, 2), tier = wr_cursor_bits(&c, 1),
             profile = wr_cursor_bits(&c, 5);
    uint32_t compatibility = wr_cursor_u32(&c);
    struct wr_slice constraints = wr_cursor_bytes(&c, 6);
    unsigned level = wr_cursor_u8(&c);
    int n = snprintf(out, WR_CODEC_STRING_BYTES, c.failed ? "hvc1" : "hvc1.%s%u.%X.%c%u",
                     spaces[space], profile, reversed(compatibility), tier ? 'H' : 'L', level);
    size_t told = constraints.n;
    while (told > 0 && constraints.p[told - 1] == 0)
        told--;
    for (size_t i = 0; i < told && !c.failed; i++)
        n += snprintf(out + n, WR_CODEC_STRING_BYTES - (size_t)n, ".%X", constraints.p[i]);
}

/* ---- what the flow asks ------------------------------------------------------------------------------------------- */

struct state {
    struct h265_sets sets;
    enum nal_framing framing;
};

static bool is_noise(struct wr_slice nal)
{
    unsigned type = nal_type(nal);
    return !is_ours(nal) || (type >= H265_AUD && type <= H265_FILLER);
}

static bool is_set(struct wr_slice nal)
{
    return nal_type(nal) >= H265_VPS && nal_type(nal) <= H265_PPS;
}

/* 7.3.6.1 */
static uint32_t slice_pps_id(struct wr_slice nal)
{
    struct wr_cursor c = wr_cursor_rbsp(nal, HEAD);
    bool irap = nal_type(nal) >= H265_FIRST_IRAP && nal_type(nal) <= H265_LAST_IRAP;
    wr_cursor_skip_bits(&c, irap ? 2 : 1);
    return wr_cursor_ue(&c);
}

static bool learn(void *state, const struct codec_hint *hint)
{
    struct state *h = state;
    h->framing = h265__sets_learn_config(&h->sets, hint->config);
    return true;
}

static void scan(void *state, struct wr_slice data, struct codec_unit *out)
{
    struct state *h = state;
    struct nal_iter it;
    struct wr_slice nal;
    *out = (struct codec_unit){.data = data};
    nal__iter(&it, data, h->framing);
    while (nal__next(&it, &nal)) {
        unsigned type = nal_type(nal);
        if (is_noise(nal))
            continue;
        if (is_set(nal)) {
            out->sets_changed |= h265__sets_learn(&h->sets, nal);
            out->sets_bytes += 4 + nal.n;
            continue;
        }
        if (type <= H265_LAST_SLICE) {
            if (!out->has_media)
                out->set_id = slice_pps_id(nal);
            out->has_media = true;
            out->key |= type >= H265_FIRST_IRAP && type <= H265_LAST_IRAP;
        }
        if (type == H265_SEI)
            out->key |= nal__has_recovery_point(nal, HEAD);
        out->bytes += 4 + nal.n;
    }
}

static bool config(const void *state, const struct codec_unit *unit, struct wr_buf *out,
                   struct codec_facts *facts)
{
    struct h265_sps sps;
    if (!h265__hvcc(&((const struct state *)state)->sets, unit->set_id, out, &sps))
        return false;
    *facts = (struct codec_facts){.timescale = CODEC_VIDEO_SCALE,
                                  .width = sps.width,
                                  .height = sps.height,
                                  .fps_milli = sps.fps_milli,
                                  .reorder = sps.reorder};
    return true;
}

static uint8_t *store(const void *state, const struct codec_unit *unit, bool keep_sets, uint8_t *to)
{
    struct nal_iter it;
    struct wr_slice nal;
    nal__iter(&it, unit->data, ((const struct state *)state)->framing);
    while (nal__next(&it, &nal))
        if (!is_noise(nal) && (keep_sets || !is_set(nal)))
            to = nal__put(to, nal);
    return to;
}

static void finish(void *state)
{
    h265__sets_free(&((struct state *)state)->sets);
}

const struct codec codec__h265 = {.codec = WR_CODEC_H265,
                                  .av_id = AV_CODEC_ID_HEVC,
                                  .state_bytes = sizeof(struct state),
                                  .learn = learn,
                                  .scan = scan,
                                  .config = config,
                                  .store = store,
                                  .string = h265__codec_string,
                                  .fini = finish};
