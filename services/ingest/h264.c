/* SPDX-License-Identifier: MIT
 *
 * H.264 syntax as far as a repacker needs it. See h264.h. */
#include "h264.h"

#include <stdio.h>

/* ---- NAL units ---------------------------------------------------------------------------------------------------- */

/* The first 00 00 01 at or after p, or end. */
static const uint8_t *start_code(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = p + 2;
    while (at < end && (at = memchr(at, 1, (size_t)(end - at)))) {
        if (at[-1] == 0 && at[-2] == 0)
            return at - 2;
        at++;
    }
    return end;
}

void h264__iter(struct h264_iter *it, struct wr_slice data, enum h264_framing framing)
{
    *it = (struct h264_iter){.p = data.p, .end = data.p + data.n, .framing = framing};
    if (framing == H264_ANNEXB && data.n > 0)
        it->p = start_code(it->p, it->end);
}

static bool next_annexb(struct h264_iter *it, struct wr_slice *nal)
{
    while (it->end - it->p > 3) {
        const uint8_t *begin = it->p + 3, *stop = start_code(begin, it->end);
        it->p = stop;
        while (stop > begin && stop[-1] == 0)
            stop--;
        if (stop > begin) {
            *nal = wr_slice_of(begin, (size_t)(stop - begin));
            return true;
        }
    }
    return false;
}

static bool next_length(struct h264_iter *it, struct wr_slice *nal)
{
    unsigned bytes = (unsigned)it->framing;
    while ((size_t)(it->end - it->p) > bytes) {
        size_t n = 0;
        for (unsigned i = 0; i < bytes; i++)
            n = n << 8 | *it->p++;
        if (n > (size_t)(it->end - it->p))
            break;
        *nal = wr_slice_of(it->p, n);
        it->p += n;
        if (n > 0)
            return true;
    }
    it->p = it->end;
    return false;
}

bool h264__next(struct h264_iter *it, struct wr_slice *nal)
{
    return it->framing == H264_ANNEXB ? next_annexb(it, nal) : next_length(it, nal);
}

static unsigned nal_type(struct wr_slice nal)
{
    return nal.p[0] & 31;
}

/* ---- bits --------------------------------------------------------------------------------------------------------- */

/* Reads an RBSP: skips emulation prevention bytes as it goes. Past the end it gives zeros and sets `bad`. */
struct bits {
    const uint8_t *p, *end;
    unsigned bit;   /* next bit of *p, 0 = highest */
    unsigned zeros; /* zero bytes just passed */
    bool bad;
};

static void bits_init(struct bits *b, struct wr_slice nal)
{
    *b = (struct bits){.p = nal.p + 1, .end = nal.p + nal.n};
}

static void next_byte(struct bits *b)
{
    b->zeros = *b->p == 0 ? b->zeros + 1 : 0;
    b->p++;
    b->bit = 0;
    if (b->zeros >= 2 && b->p < b->end && *b->p == 3) {
        b->p++;
        b->zeros = 0;
    }
}

static uint32_t u(struct bits *b, unsigned n)
{
    uint32_t v = 0;
    while (n--) {
        if (b->p >= b->end) {
            b->bad = true;
            return 0;
        }
        v = v << 1 | (*b->p >> (7 - b->bit) & 1u);
        if (++b->bit == 8)
            next_byte(b);
    }
    return v;
}

static uint32_t ue(struct bits *b)
{
    unsigned zeros = 0;
    while (!b->bad && u(b, 1) == 0)
        if (++zeros > 31) {
            b->bad = true;
            return 0;
        }
    return b->bad ? 0 : (uint32_t)((1ull << zeros) - 1 + u(b, zeros));
}

static int32_t se(struct bits *b)
{
    uint32_t v = ue(b);
    return v & 1 ? (int32_t)(v / 2 + 1) : -(int32_t)(v / 2);
}

/* ---- SPS ---------------------------------------------------------------------------------------------------------- */

static void skip_scaling_list(struct bits *b, unsigned n)
{
    int32_t last = 8, next = 8;
    for (unsigned i = 0; i < n && !b->bad; i++) {
        if (next != 0)
            next = (int32_t)(((uint32_t)last + (uint32_t)se(b)) & 255); /* may be any 32 bits */
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

static void parse_chroma_info(struct bits *b, struct h264_sps *s, bool *separate)
{
    uint32_t format = ue(b);
    if (format == 3)
        *separate = u(b, 1);
    uint32_t luma = ue(b), chroma = ue(b);
    b->bad |= format > 3 || luma > 6 || chroma > 6;
    s->chroma_format = (uint8_t)format;
    s->luma_bits = (uint8_t)(8 + luma);
    s->chroma_bits = (uint8_t)(8 + chroma);
    u(b, 1); /* lossless */
    if (!u(b, 1))
        return;
    unsigned lists = s->chroma_format == 3 ? 12 : 8;
    for (unsigned i = 0; i < lists && !b->bad; i++)
        if (u(b, 1))
            skip_scaling_list(b, i < 6 ? 16 : 64);
}

static void parse_order(struct bits *b)
{
    uint32_t type = ue(b);
    if (type == 0) {
        ue(b);
    } else if (type == 1) {
        u(b, 1);
        se(b);
        se(b);
        uint32_t n = ue(b);
        if (n > 255)
            b->bad = true;
        for (uint32_t i = 0; i < n && !b->bad; i++)
            se(b);
    }
}

static void skip_hrd(struct bits *b)
{
    uint32_t n = ue(b) + 1;
    if (n > 32)
        b->bad = true;
    u(b, 8);
    for (uint32_t i = 0; i < n && !b->bad; i++) {
        ue(b);
        ue(b);
        u(b, 1);
    }
    u(b, 20);
}

static void parse_vui(struct bits *b, struct h264_sps *s)
{
    if (u(b, 1) && u(b, 8) == 255) /* aspect ratio, extended */
        u(b, 32);
    if (u(b, 1))
        u(b, 1);   /* overscan */
    if (u(b, 1)) { /* video signal type */
        u(b, 4);
        if (u(b, 1))
            u(b, 24);
    }
    if (u(b, 1)) { /* chroma location */
        ue(b);
        ue(b);
    }
    if (u(b, 1)) { /* timing */
        uint32_t tick = u(b, 32), scale = u(b, 32);
        u(b, 1);
        if (tick > 0 && !b->bad && scale / tick <= 2000)
            s->fps_milli = (uint32_t)((uint64_t)scale * 500 / tick);
    }
    bool nal_hrd = u(b, 1);
    if (nal_hrd)
        skip_hrd(b);
    bool vcl_hrd = u(b, 1);
    if (vcl_hrd)
        skip_hrd(b);
    if (nal_hrd || vcl_hrd)
        u(b, 1);
    u(b, 1);       /* pic_struct present */
    if (u(b, 1)) { /* bitstream restriction */
        u(b, 1);
        ue(b);
        ue(b);
        ue(b);
        ue(b);
        uint32_t reorder = ue(b);
        if (!b->bad && reorder <= 16)
            s->max_reorder = (int32_t)reorder;
    }
}

static bool parse_size(struct bits *b, struct h264_sps *s, bool separate)
{
    uint64_t mbs_wide = (uint64_t)ue(b) + 1, map_high = (uint64_t)ue(b) + 1;
    bool frames_only = u(b, 1);
    if (!frames_only)
        u(b, 1);
    u(b, 1); /* direct 8x8 */
    if (b->bad || mbs_wide > 1024 || map_high > 1024)
        return false;
    uint64_t width = mbs_wide * 16, height = map_high * 16 * (frames_only ? 1 : 2);
    if (u(b, 1)) {
        unsigned chroma = separate ? 0 : s->chroma_format;
        uint64_t x = chroma == 1 || chroma == 2 ? 2 : 1,
                 y = (chroma == 1 ? 2 : 1) * (frames_only ? 1u : 2u);
        uint64_t cut_x = x * ((uint64_t)ue(b) + ue(b)), cut_y = y * ((uint64_t)ue(b) + ue(b));
        if (cut_x >= width || cut_y >= height)
            return false;
        width -= cut_x;
        height -= cut_y;
    }
    s->width = (uint32_t)width;
    s->height = (uint32_t)height;
    return !b->bad;
}

bool h264__parse_sps(struct wr_slice nal, struct h264_sps *out)
{
    struct bits b;
    bool separate = false;
    *out = (struct h264_sps){
        .chroma_format = 1, .luma_bits = 8, .chroma_bits = 8, .max_reorder = -1};
    if (nal.n < 4 || nal_type(nal) != H264_SPS)
        return false;
    bits_init(&b, nal);
    out->profile = (uint8_t)u(&b, 8);
    out->constraints = (uint8_t)u(&b, 8);
    out->level = (uint8_t)u(&b, 8);
    out->id = ue(&b);
    if (has_chroma_info(out->profile))
        parse_chroma_info(&b, out, &separate);
    ue(&b); /* frame_num bits */
    parse_order(&b);
    ue(&b); /* reference frames */
    u(&b, 1);
    if (b.bad || out->id > 31 || !parse_size(&b, out, separate))
        return false;
    /* A broken VUI is common in cameras and costs only hints. */
    if (u(&b, 1) && !b.bad)
        parse_vui(&b, out);
    return true;
}

/* ---- sets --------------------------------------------------------------------------------------------------------- */

void h264__sets_free(struct h264_sets *s)
{
    for (unsigned i = 0; i < H264_MAX_SPS; i++)
        wr_buf_free(&s->sps[i].bytes);
    for (unsigned i = 0; i < H264_MAX_PPS; i++)
        wr_buf_free(&s->pps[i].bytes);
    *s = (struct h264_sets){0};
}

/* The slot of an id; n when there is none. */
static unsigned set_index(const struct h264_set *all, unsigned n, uint32_t id)
{
    unsigned i = 0;
    while (i < n && (all[i].bytes.n == 0 || all[i].id != id))
        i++;
    return i;
}

/* The slot of an id, else an empty one; NULL when all are taken. */
static struct h264_set *slot_for(struct h264_set *all, unsigned n, uint32_t id)
{
    unsigned i = set_index(all, n, id);
    if (i == n)
        for (i = 0; i < n && all[i].bytes.n > 0;)
            i++;
    return i < n ? &all[i] : NULL;
}

static bool store_set(struct h264_set *slot, uint32_t id, uint32_t sps_id, struct wr_slice nal)
{
    if (!slot)
        return false; /* more ids than any camera uses */
    if (slot->bytes.n > 0 && wr_slice_eq(wr_slice_of(slot->bytes.p, slot->bytes.n), nal))
        return false;
    slot->id = id;
    slot->sps_id = sps_id;
    wr_buf_clear(&slot->bytes);
    wr_buf_slice(&slot->bytes, nal);
    if (slot->bytes.failed)
        wr_buf_clear(&slot->bytes);
    return true;
}

bool h264__sets_learn(struct h264_sets *s, struct wr_slice nal)
{
    struct bits b;
    if (nal.n < 2 || nal.n > 0xffff)
        return false;
    if (nal_type(nal) == H264_SPS) {
        struct h264_sps sps;
        return h264__parse_sps(nal, &sps) &&
               store_set(slot_for(s->sps, H264_MAX_SPS, sps.id), sps.id, 0, nal);
    }
    if (nal_type(nal) != H264_PPS)
        return false;
    bits_init(&b, nal);
    uint32_t id = ue(&b), sps_id = ue(&b);
    if (b.bad || id > 255 || sps_id > 31)
        return false;
    return store_set(slot_for(s->pps, H264_MAX_PPS, id), id, sps_id, nal);
}

/* ISO/IEC 14496-15 5.3.3.1 */
static enum h264_framing learn_avcc(struct h264_sets *s, struct wr_slice c)
{
    unsigned length_bytes = (c.p[4] & 3) + 1;
    size_t at = 5;
    for (int pass = 0; pass < 2 && at < c.n; pass++) {
        unsigned count = pass == 0 ? c.p[at] & 31 : c.p[at];
        at++;
        while (count-- && at + 2 <= c.n) {
            size_t n = (size_t)c.p[at] << 8 | c.p[at + 1];
            at += 2;
            if (n > c.n - at)
                return (enum h264_framing)length_bytes;
            h264__sets_learn(s, wr_slice_of(c.p + at, n));
            at += n;
        }
    }
    return (enum h264_framing)length_bytes;
}

enum h264_framing h264__sets_learn_config(struct h264_sets *s, struct wr_slice config)
{
    struct h264_iter it;
    struct wr_slice nal;
    if (config.n >= 7 && config.p[0] == 1)
        return learn_avcc(s, config);
    h264__iter(&it, config, H264_ANNEXB);
    while (h264__next(&it, &nal))
        h264__sets_learn(s, nal);
    return H264_ANNEXB;
}

bool h264__avcc(const struct h264_sets *s, uint32_t pps_id, struct wr_buf *out,
                struct h264_sps *sps)
{
    wr_buf_clear(out);
    unsigned p = set_index(s->pps, H264_MAX_PPS, pps_id);
    if (p == H264_MAX_PPS)
        return false;
    unsigned i_sps = set_index(s->sps, H264_MAX_SPS, s->pps[p].sps_id);
    if (i_sps == H264_MAX_SPS)
        return false;
    const struct h264_set *set = &s->sps[i_sps];
    if (!h264__parse_sps(wr_slice_of(set->bytes.p, set->bytes.n), sps))
        return false;
    unsigned num_pps = 0;
    for (unsigned i = 0; i < H264_MAX_PPS; i++)
        num_pps += s->pps[i].bytes.n > 0 && s->pps[i].sps_id == set->id;
    wr_buf_be(out, 1, 1);
    wr_buf_add(out, set->bytes.p + 1, 3);
    wr_buf_be(out, 0xffe1, 2); /* 4-byte lengths; one SPS */
    wr_buf_be(out, set->bytes.n, 2);
    wr_buf_add(out, set->bytes.p, set->bytes.n);
    wr_buf_be(out, num_pps, 1);
    for (unsigned i = 0; i < H264_MAX_PPS; i++) {
        if (s->pps[i].bytes.n == 0 || s->pps[i].sps_id != set->id)
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

void h264__codec_string(struct wr_slice avcc, char out[16])
{
    if (avcc.n < 4)
        snprintf(out, 16, "avc1");
    else
        snprintf(out, 16, "avc1.%02x%02x%02x", avcc.p[1], avcc.p[2], avcc.p[3]);
}

/* ---- access units ------------------------------------------------------------------------------------------------- */

static uint32_t slice_pps_id(struct wr_slice nal)
{
    struct bits b;
    bits_init(&b, nal);
    ue(&b); /* first macroblock */
    ue(&b); /* type */
    return ue(&b);
}

/* Is there a recovery point (payload type 6) among the SEI messages? D.1 */
static bool has_recovery_point(struct wr_slice nal)
{
    struct bits b;
    bits_init(&b, nal);
    while (!b.bad && b.end - b.p > 1) {
        uint32_t type = 0, n = 0, byte;
        do
            type += byte = u(&b, 8);
        while (byte == 255 && !b.bad);
        do
            n += byte = u(&b, 8);
        while (byte == 255 && !b.bad);
        if (b.bad)
            return false;
        if (type == 6)
            return true;
        while (n-- && !b.bad)
            u(&b, 8);
    }
    return false;
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

void h264__scan(struct h264_sets *s, struct wr_slice data, enum h264_framing framing,
                struct h264_unit *out)
{
    struct h264_iter it;
    struct wr_slice nal;
    *out = (struct h264_unit){.bytes = 0};
    h264__iter(&it, data, framing);
    while (h264__next(&it, &nal)) {
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
            out->is_recovery |= has_recovery_point(nal);
        out->bytes += 4 + nal.n;
    }
}

uint8_t *h264__store(struct wr_slice data, enum h264_framing framing, bool keep_sets, uint8_t *to)
{
    struct h264_iter it;
    struct wr_slice nal;
    h264__iter(&it, data, framing);
    while (h264__next(&it, &nal)) {
        unsigned type = nal_type(nal);
        if (is_noise(type) || (is_set(type) && !keep_sets))
            continue;
        for (unsigned i = 0; i < 4; i++)
            *to++ = (uint8_t)(nal.n >> (24 - 8 * i));
        memcpy(to, nal.p, nal.n);
        to += nal.n;
    }
    return to;
}
