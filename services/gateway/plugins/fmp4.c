/* SPDX-License-Identifier: MIT
 *
 * Muxer `fmp4`: fragmented MP4 (ISO/IEC 14496-12, -14, -15; "Encapsulation of Opus in ISO Base Media File Format" 0.6.8)
 * for MediaSource, VLC and ffplay. Each frame is a fragment of its own: 112 bytes in front of the payload and no delay,
 * since nothing waits for the next frame (libavformat's fragmenter does). A fragment's decode time and number are the
 * frame's own, so every gateway writes the same bytes. Not here: prft, edit lists, several samples a fragment. */
#include "wr_buf.h"
#include "wr_muxer.h"

#include <stdio.h>

#define HEAD_BYTES 112

struct track {
    uint32_t id;
    uint32_t default_duration;
    bool video;
};

struct fmp4 {
    struct track tracks[WR_TRACKS_MAX];
    size_t n;
    struct wr_buf moov; /* ftyp and moov */
    char mime[WR_MUXER_MIME_MAX];
};

/* How a codec is written into the sample description. */
struct sample_entry {
    enum wr_codec codec;
    const char *type;  /* of the sample entry */
    bool video;        /* a VisualSampleEntry, else an AudioSampleEntry */
    uint32_t duration; /* ticks of a frame that tells none; 0 = from the frame rate */
    size_t min_config; /* bytes that the decoder configuration has at least, */
    size_t max_config; /* and at most */
    void (*put_config)(struct wr_buf *b, const struct wr_track *t);
};
static const struct sample_entry *entry_of(enum wr_codec codec);

/* ---- boxes -------------------------------------------------------------------------------------------------------- */

static size_t box(struct wr_buf *b, const char *type)
{
    size_t at = b->n;
    wr_buf_be(b, 0, 4);
    wr_buf_add(b, type, 4);
    return at;
}

static size_t full_box(struct wr_buf *b, const char *type, unsigned version, uint32_t flags)
{
    size_t at = box(b, type);
    wr_buf_be(b, (uint32_t)version << 24 | flags, 4);
    return at;
}

static void end(struct wr_buf *b, size_t at)
{
    if (b->failed)
        return;
    uint32_t n = (uint32_t)(b->n - at);
    for (unsigned i = 0; i < 4; i++)
        b->p[at + i] = (uint8_t)(n >> (24 - 8 * i));
}

static void zeros(struct wr_buf *b, size_t n)
{
    while (n--)
        wr_buf_char(b, 0);
}

static void matrix(struct wr_buf *b)
{
    static const uint32_t unity[9] = {0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000};
    for (unsigned i = 0; i < 9; i++)
        wr_buf_be(b, unity[i], 4);
}

static void put_ftyp(struct wr_buf *b)
{
    size_t at = box(b, "ftyp");
    wr_buf_str(b, "iso5");
    wr_buf_be(b, 512, 4);
    wr_buf_str(b, "iso5iso6mp41");
    end(b, at);
}

static void put_mvhd(struct wr_buf *b)
{
    size_t at = full_box(b, "mvhd", 0, 0);
    zeros(b, 8);           /* creation, modification */
    wr_buf_be(b, 1000, 4); /* timescale */
    wr_buf_be(b, 0, 4);    /* duration: unknown, the fragments tell */
    wr_buf_be(b, 0x10000, 4);
    wr_buf_be(b, 0x100, 2);
    zeros(b, 10);
    matrix(b);
    zeros(b, 24);
    wr_buf_be(b, 0xffffffff, 4); /* next track id: search */
    end(b, at);
}

static void put_tkhd(struct wr_buf *b, const struct wr_track *t, bool video)
{
    size_t at = full_box(b, "tkhd", 0, 3); /* enabled, in movie */
    zeros(b, 8);
    wr_buf_be(b, t->id, 4);
    zeros(b, 4 + 4 + 8);
    wr_buf_be(b, 0, 2);                 /* layer */
    wr_buf_be(b, video ? 0 : 1, 2);     /* alternate group */
    wr_buf_be(b, video ? 0 : 0x100, 2); /* volume */
    wr_buf_be(b, 0, 2);
    matrix(b);
    wr_buf_be(b, (uint64_t)t->width << 16, 4);
    wr_buf_be(b, (uint64_t)t->height << 16, 4);
    end(b, at);
}

/* Three letters of ISO 639-2, five bits each; `und` for what is not such a code. */
static uint32_t packed_language(const char *code)
{
    uint32_t packed = 0;
    if (strlen(code) != 3 || strspn(code, "abcdefghijklmnopqrstuvwxyz") != 3)
        code = "und";
    for (unsigned i = 0; i < 3; i++)
        packed = packed << 5 | (uint32_t)(code[i] - 0x60);
    return packed;
}

static void put_mdhd(struct wr_buf *b, const struct wr_track *t)
{
    size_t at = full_box(b, "mdhd", 0, 0);
    zeros(b, 8);
    wr_buf_be(b, t->timescale, 4);
    wr_buf_be(b, 0, 4);
    wr_buf_be(b, packed_language(t->language), 2);
    wr_buf_be(b, 0, 2);
    end(b, at);
}

/* The whole tag (BCP 47), which mdhd has no room for. */
static void put_elng(struct wr_buf *b, const struct wr_track *t)
{
    if (!t->language[0])
        return;
    size_t at = full_box(b, "elng", 0, 0);
    wr_buf_add(b, t->language, strlen(t->language) + 1);
    end(b, at);
}

static void put_hdlr(struct wr_buf *b, bool video)
{
    size_t at = full_box(b, "hdlr", 0, 0);
    zeros(b, 4);
    wr_buf_str(b, video ? "vide" : "soun");
    zeros(b, 12);
    wr_buf_add(b, video ? "video" : "sound", 6);
    end(b, at);
}

static void put_media_header(struct wr_buf *b, bool video)
{
    size_t at = full_box(b, video ? "vmhd" : "smhd", 0, video ? 1 : 0);
    zeros(b, video ? 8 : 4);
    end(b, at);
}

static void put_dinf(struct wr_buf *b)
{
    size_t dinf = box(b, "dinf");
    size_t dref = full_box(b, "dref", 0, 0);
    wr_buf_be(b, 1, 4);
    end(b, full_box(b, "url ", 0, 1)); /* in this file */
    end(b, dref);
    end(b, dinf);
}

static void put_avcc(struct wr_buf *b, const struct wr_track *t)
{
    size_t at = box(b, "avcC");
    wr_buf_slice(b, t->config);
    end(b, at);
}

static void put_hvcc(struct wr_buf *b, const struct wr_track *t)
{
    size_t at = box(b, "hvcC");
    wr_buf_slice(b, t->config);
    end(b, at);
}

static void put_picture(struct wr_buf *b, const struct wr_track *t, const struct sample_entry *e)
{
    size_t at = box(b, e->type);
    zeros(b, 6);
    wr_buf_be(b, 1, 2); /* data reference */
    zeros(b, 16);
    wr_buf_be(b, t->width, 2);
    wr_buf_be(b, t->height, 2);
    wr_buf_be(b, 0x480000, 4); /* 72 dpi */
    wr_buf_be(b, 0x480000, 4);
    zeros(b, 4);
    wr_buf_be(b, 1, 2); /* one picture a sample */
    zeros(b, 32);       /* compressor name */
    wr_buf_be(b, 0x18, 2);
    wr_buf_be(b, 0xffff, 2);
    e->put_config(b, t);
    end(b, at);
}

/* MPEG-4 descriptors (ISO/IEC 14496-1): open() saw that the config is shorter than 64 bytes, so one length byte does. */
static void put_esds(struct wr_buf *b, const struct wr_track *t)
{
    size_t n = t->config.n;
    size_t at = full_box(b, "esds", 0, 0);
    wr_buf_be(b, 0x03, 1); /* ES_Descriptor */
    wr_buf_be(b, 3 + 2 + 13 + 2 + n + 3, 1);
    wr_buf_be(b, t->id & 0xffff, 2);
    wr_buf_be(b, 0, 1);
    wr_buf_be(b, 0x04, 1); /* DecoderConfigDescriptor */
    wr_buf_be(b, 13 + 2 + n, 1);
    wr_buf_be(b, 0x40, 1); /* MPEG-4 audio */
    wr_buf_be(b, 0x15, 1); /* audio stream */
    zeros(b, 3 + 4 + 4);   /* buffer size, bit rates: unknown */
    wr_buf_be(b, 0x05, 1); /* DecoderSpecificInfo */
    wr_buf_be(b, n, 1);
    wr_buf_slice(b, t->config);
    wr_buf_be(b, 0x060102, 3); /* SLConfigDescriptor: MP4 */
    end(b, at);
}

/* OpusHead (RFC 7845 section 5.1) from its version byte on, in the byte order of MP4, which has a version of its own. */
static void put_dops(struct wr_buf *b, const struct wr_track *t)
{
    const uint8_t *head = t->config.p;
    size_t at = box(b, "dOps");
    wr_buf_be(b, 0, 1);
    wr_buf_be(b, head[1], 1); /* channels */
    wr_buf_be(b, (uint64_t)(head[2] | head[3] << 8), 2);
    wr_buf_be(
        b, head[4] | (uint64_t)head[5] << 8 | (uint64_t)head[6] << 16 | (uint64_t)head[7] << 24, 4);
    wr_buf_be(b, (uint64_t)(head[8] | head[9] << 8), 2);
    wr_buf_add(b, head + 10,
               t->config.n - 10); /* mapping family, and the table that others than 0 have */
    end(b, at);
}

static void put_sound(struct wr_buf *b, const struct wr_track *t, const struct sample_entry *e)
{
    size_t at = box(b, e->type);
    zeros(b, 6);
    wr_buf_be(b, 1, 2);
    zeros(b, 8);
    wr_buf_be(b, t->channels, 2);
    wr_buf_be(b, 16, 2);
    zeros(b, 4);
    wr_buf_be(b, (uint64_t)(t->sample_rate > 0xffff ? 0 : t->sample_rate) << 16, 4);
    e->put_config(b, t);
    end(b, at);
}

static void put_stbl(struct wr_buf *b, const struct wr_track *t, const struct sample_entry *e)
{
    static const char *const empty[] = {"stts", "stsc", "stco"};
    size_t stbl = box(b, "stbl");
    size_t stsd = full_box(b, "stsd", 0, 0);
    wr_buf_be(b, 1, 4);
    if (e->video)
        put_picture(b, t, e);
    else
        put_sound(b, t, e);
    end(b, stsd);
    for (unsigned i = 0; i < WR_ARRAY_LEN(empty); i++) {
        size_t at = full_box(b, empty[i], 0, 0);
        wr_buf_be(b, 0, 4);
        end(b, at);
    }
    size_t stsz = full_box(b, "stsz", 0, 0);
    zeros(b, 8);
    end(b, stsz);
    end(b, stbl);
}

static void put_trak(struct wr_buf *b, const struct wr_track *t)
{
    const struct sample_entry *e = entry_of(t->codec);
    size_t trak = box(b, "trak");
    put_tkhd(b, t, e->video);
    size_t mdia = box(b, "mdia");
    put_mdhd(b, t);
    put_elng(b, t);
    put_hdlr(b, e->video);
    size_t minf = box(b, "minf");
    put_media_header(b, e->video);
    put_dinf(b);
    put_stbl(b, t, e);
    end(b, minf);
    end(b, mdia);
    end(b, trak);
}

static void put_trex(struct wr_buf *b, uint32_t track)
{
    size_t at = full_box(b, "trex", 0, 0);
    wr_buf_be(b, track, 4);
    wr_buf_be(b, 1, 4); /* sample description */
    zeros(b, 12);       /* each fragment says its own duration, size and flags */
    end(b, at);
}

static void put_moov(struct wr_buf *b, const struct wr_track *tracks, size_t n)
{
    size_t moov = box(b, "moov");
    put_mvhd(b);
    for (size_t i = 0; i < n; i++)
        put_trak(b, &tracks[i]);
    size_t mvex = box(b, "mvex");
    for (size_t i = 0; i < n; i++)
        put_trex(b, tracks[i].id);
    end(b, mvex);
    end(b, moov);
}

/* ---- one frame ---------------------------------------------------------------------------------------------------- */

static uint8_t *be(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

static uint8_t *tag(uint8_t *p, uint32_t size, const char *type)
{
    p = be(p, size, 4);
    memcpy(p, type, 4);
    return p + 4;
}

static void fragment_head(uint8_t out[HEAD_BYTES], const struct track *t,
                          const struct wr_media_frame *f)
{
    bool sync = f->key || !t->video;
    uint8_t *p = tag(out, 104, "moof");
    p = tag(p, 16, "mfhd");
    p = be(p, 0, 4);
    p = be(p, (uint32_t)(f->seq + 1), 4); /* grows, as the standard asks; 0 is not used */
    p = tag(p, 80, "traf");
    p = tag(p, 16, "tfhd");
    p = be(p, 0x020000, 4); /* default-base-is-moof */
    p = be(p, t->id, 4);
    p = tag(p, 20, "tfdt");
    p = be(p, 0x01000000, 4);
    p = be(p, (uint64_t)(f->dts < 0 ? 0 : f->dts), 8);
    p = tag(p, 36, "trun");
    p = be(p, 0x01000f01,
           4); /* version 1: signed composition offsets; data offset, duration, size, flags, cts */
    p = be(p, 1, 4);
    p = be(p, HEAD_BYTES, 4);
    p = be(p, f->duration ? f->duration : t->default_duration, 4);
    p = be(p, f->data.n, 4);
    p = be(p, sync ? 0x02000000 : 0x01010000, 4);
    p = be(p, (uint32_t)(int32_t)(f->pts - f->dts), 4);
    (void)tag(p, (uint32_t)f->data.n + 8, "mdat");
}

/* ---- slots -------------------------------------------------------------------------------------------------------- */

static const struct sample_entry entries[] = {
    {WR_CODEC_H264, "avc1", true, 0, 7, 65536, put_avcc},
    {WR_CODEC_H265, "hvc1", true, 0, 23, 65536, put_hvcc},
    {WR_CODEC_AAC, "mp4a", false, 1024, 2, 64, put_esds},
    {WR_CODEC_OPUS, "Opus", false, 960, 11, 13 + 255, put_dops},
};
static const enum wr_codec codecs[] = {WR_CODEC_H264, WR_CODEC_H265, WR_CODEC_AAC, WR_CODEC_OPUS,
                                       WR_CODEC_NONE};

static const struct sample_entry *entry_of(enum wr_codec codec)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(entries); i++)
        if (entries[i].codec == codec)
            return &entries[i];
    return NULL;
}

static wr_err check_track(const struct wr_track *t, struct wr_errmsg *err)
{
    const struct sample_entry *e = entry_of(t->codec);
    if (!e) {
        wr_errmsg_set(err, "fmp4 carries H.264, H.265, AAC and Opus; track %u is none of them",
                      t->id);
        return WR_ERR_INVALID;
    }
    if (t->config.n < e->min_config || t->config.n > e->max_config || t->timescale == 0 ||
        t->id == 0) {
        wr_errmsg_set(err, "track %u has no usable decoder configuration", t->id);
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

static void add_track(struct fmp4 *m, const struct wr_track *t)
{
    const struct sample_entry *e = entry_of(t->codec);
    uint32_t fps_milli = t->fps_milli ? t->fps_milli : 25000;
    m->tracks[m->n++] = (struct track){
        .id = t->id,
        .video = e->video,
        .default_duration = e->duration ? e->duration
                                        : (uint32_t)((uint64_t)t->timescale * 1000 / fps_milli)};
}

static void set_mime(struct fmp4 *m, const struct wr_track *tracks, size_t n)
{
    int used = snprintf(m->mime, sizeof m->mime, "video/mp4; codecs=\"");
    for (size_t i = 0; i < n; i++)
        used += snprintf(m->mime + used, sizeof m->mime - (size_t)used, "%s%s", i ? "," : "",
                         tracks[i].codec_string);
    snprintf(m->mime + used, sizeof m->mime - (size_t)used, "\"");
}

static wr_err fmp4_open(void *state, const struct wr_track *tracks, size_t n, struct wr_errmsg *err)
{
    struct fmp4 *m = state;
    if (n == 0 || n > WR_TRACKS_MAX) {
        wr_errmsg_set(err, "fmp4 takes 1 to %d tracks, not %zu", WR_TRACKS_MAX, n);
        return WR_ERR_INVALID;
    }
    for (size_t i = 0; i < n; i++) {
        wr_err e = check_track(&tracks[i], err);
        if (e != WR_OK)
            return e;
    }
    m->n = 0;
    for (size_t i = 0; i < n; i++)
        add_track(m, &tracks[i]);
    set_mime(m, tracks, n);
    wr_buf_clear(&m->moov);
    put_ftyp(&m->moov);
    put_moov(&m->moov, tracks, n);
    if (!m->moov.failed)
        return WR_OK;
    wr_buf_free(&m->moov);
    wr_errmsg_set(err, "out of memory");
    return WR_ERR_INTERNAL;
}

static void fmp4_close(void *state)
{
    struct fmp4 *m = state;
    wr_buf_free(&m->moov);
    m->moov = (struct wr_buf){.n = 0};
    m->n = 0;
}

static void fmp4_mime(void *state, char *out, size_t n)
{
    struct fmp4 *m = state;
    snprintf(out, n, "%s", m->mime);
}

static void fmp4_init(void *state, enum wr_mux_init what, struct wr_mux_sink *sink)
{
    struct fmp4 *m = state;
    (void)what;
    sink->bytes(sink, m->moov.p, m->moov.n);
}

static void fmp4_frame(void *state, const struct wr_media_frame *f, struct wr_mux_sink *sink)
{
    struct fmp4 *m = state;
    for (size_t i = 0; i < m->n; i++) {
        if (m->tracks[i].id != f->track)
            continue;
        uint8_t head[HEAD_BYTES];
        fragment_head(head, &m->tracks[i], f);
        sink->bytes(sink, head, sizeof head);
        sink->payload(sink, f->data);
        return;
    }
}

WR_PLUGIN_EXPORT const struct wr_muxer_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_muxer_plugin, struct fmp4, WR_KIND_MUXER, "fmp4",
                                 WR_VERSION, "Fragmented MP4, a frame a fragment, no delay"),
    .extension = "mp4",
    .content_type = "video/mp4",
    .flags = WR_MUXER_TELLS_MIME,
    .codecs = codecs,
    .max_tracks = {[WR_MEDIA_VIDEO] = WR_TRACKS_MAX, [WR_MEDIA_AUDIO] = WR_TRACKS_MAX},
    .open = fmp4_open,
    .close = fmp4_close,
    .mime = fmp4_mime,
    .init = fmp4_init,
    .frame = fmp4_frame,
};
