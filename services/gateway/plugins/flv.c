/* SPDX-License-Identifier: MIT
 *
 * Muxer `flv`: FLV 10.1 tags with AVC and AAC, for mpegts.js, flv.js, VLC and ffplay, and Enhanced RTMP's (veovera,
 * v2) with HEVC and Opus, for mpegts.js and ffplay from FFmpeg 6.1 on. One tag a frame, no delay.
 *
 * Timestamps are milliseconds of the stream's time, so audio is rounded; mpegts.js evens that out. The format counts
 * them in 31 bits and a sign, and players take the sign at its word: the time is told modulo 2^31 ms, so that it begins
 * again at 0 every 24.8 days. Not here: multitrack tags, and with them a second track of a kind. */
#include "wr_buf.h"
#include "wr_muxer.h"

#include <stdio.h>

enum { TAG_AUDIO = 8, TAG_VIDEO = 9, TAG_SCRIPT = 18 };
enum { FRAME_KEY = 1, FRAME_INTER = 2 };
/* AVCPacketType, AACPacketType, VideoPacketType and AudioPacketType: the first two of each are the same. */
enum { PACKET_SEQUENCE = 0, PACKET_FRAMES = 1 };
#define TIME_MASK 0x7fffffffu

/* How a codec's tags begin. */
struct tag_format {
    enum wr_codec codec;
    bool video;
    bool has_cts; /* 24 bits of composition time behind the packet type */
    uint8_t
        first; /* FLV 10.1: the low nibble of a video tag's first byte, or the first byte of a sound tag */
    char fourcc[5];    /* Enhanced: in place of it; "" = FLV 10.1 */
    size_t min_config; /* bytes of the decoder configuration, at least */
};
static const struct tag_format formats[] = {
    {WR_CODEC_H264, true, true, 7, "", 7},
    {WR_CODEC_H265, true, true, 0, "hvc1", 23},
    /* AAC, "44 kHz", 16 bit, stereo: fixed by the format whatever the track has */
    {WR_CODEC_AAC, false, false, 0xaf, "", 2},
    {WR_CODEC_OPUS, false, false, 0, "Opus", 11},
};
static const enum wr_codec codecs[] = {WR_CODEC_H264, WR_CODEC_H265, WR_CODEC_AAC, WR_CODEC_OPUS,
                                       WR_CODEC_NONE};

struct flv_track {
    const struct tag_format *format; /* NULL = none */
    uint32_t id, timescale;
};

struct flv {
    struct flv_track video, audio;
    struct wr_buf first, again; /* init bytes */
    char mime[128];
};

/* ---- tags --------------------------------------------------------------------------------------------------------- */

static uint8_t *be(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

static uint8_t *tag_head(uint8_t *p, unsigned type, size_t body, uint32_t time_ms)
{
    p = be(p, type, 1);
    p = be(p, body, 3);
    p = be(p, time_ms & 0xffffff, 3);
    p = be(p, time_ms >> 24, 1);
    return be(p, 0, 3); /* stream id */
}

static uint64_t ticks_to_ms(int64_t ticks, uint32_t timescale)
{
    return ticks < 0 ? 0
                     : (uint64_t)ticks / timescale * 1000 +
                           (uint64_t)ticks % timescale * 1000 / timescale;
}

/* What stands before the configuration or the payload in a tag's body: at most 8 bytes. */
static uint8_t *body_head(uint8_t *p, const struct tag_format *f, unsigned packet, bool key,
                          uint32_t cts_ms)
{
    unsigned frame = key ? FRAME_KEY : FRAME_INTER;
    if (f->fourcc[0]) {
        /* Video: IsExHeader, frame type, packet type. Sound: SoundFormat 9 (ExHeader), packet type. */
        p = be(p, (f->video ? 0x80 | frame << 4 : 0x90u) | packet, 1);
        memcpy(p, f->fourcc, 4);
        p += 4;
    } else {
        p = be(p, f->video ? frame << 4 | f->first : f->first, 1);
        p = be(p, packet, 1);
    }
    /* AVC has it in its configuration's tag as well, as 0; Enhanced only where frames are. */
    if (f->has_cts && (packet == PACKET_FRAMES || !f->fourcc[0]))
        p = be(p, cts_ms & 0xffffff, 3); /* 24-bit two's complement */
    return p;
}

static void put_tag(struct wr_buf *b, unsigned type, struct wr_slice body)
{
    uint8_t head[11];
    tag_head(head, type, body.n, 0);
    wr_buf_add(b, head, sizeof head);
    wr_buf_slice(b, body);
    wr_buf_be(b, sizeof head + body.n, 4);
}

/* ---- onMetaData (AMF0) -------------------------------------------------------------------------------------------- */

static void amf_key(struct wr_buf *b, const char *s)
{
    wr_buf_be(b, strlen(s), 2);
    wr_buf_str(b, s);
}

static void amf_number(struct wr_buf *b, const char *key, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    amf_key(b, key);
    wr_buf_char(b, 0);
    wr_buf_be(b, bits, 8);
}

/* Enhanced formats are named by their FourCC, read as a number. */
static double codec_id(const struct tag_format *f)
{
    uint32_t id = 0;
    for (unsigned i = 0; i < 4; i++)
        id = id << 8 | (uint8_t)f->fourcc[i];
    return f->fourcc[0] ? id : f->video ? f->first : f->first >> 4;
}

static void put_metadata(struct wr_buf *out, const struct wr_track *video,
                         const struct wr_track *audio, const struct flv *m)
{
    struct wr_buf b = {.n = 0};
    wr_buf_char(&b, 2); /* string */
    amf_key(&b, "onMetaData");
    wr_buf_char(&b, 8); /* ECMA array */
    wr_buf_be(&b, (video ? 4u : 0u) + (audio ? 3u : 0u), 4);
    if (video) {
        amf_number(&b, "width", video->width);
        amf_number(&b, "height", video->height);
        amf_number(&b, "framerate", video->fps_milli / 1000.0);
        amf_number(&b, "videocodecid", codec_id(m->video.format));
    }
    if (audio) {
        amf_number(&b, "audiosamplerate", audio->sample_rate);
        amf_number(&b, "audiochannels", audio->channels);
        amf_number(&b, "audiocodecid", codec_id(m->audio.format));
    }
    wr_buf_be(&b, 0x000009, 3); /* end of the array */
    put_tag(out, TAG_SCRIPT, wr_slice_of(b.p, b.n));
    out->failed |= b.failed;
    wr_buf_free(&b);
}

static void put_sequence(struct wr_buf *out, const struct wr_track *t, const struct tag_format *f)
{
    struct wr_buf b = {.n = 0};
    uint8_t head[8];
    wr_buf_add(&b, head, (size_t)(body_head(head, f, PACKET_SEQUENCE, true, 0) - head));
    if (t->codec == WR_CODEC_OPUS)
        wr_buf_str(&b, "OpusHead"); /* the stored form begins behind it */
    wr_buf_slice(&b, t->config);
    put_tag(out, f->video ? TAG_VIDEO : TAG_AUDIO, wr_slice_of(b.p, b.n));
    out->failed |= b.failed;
    wr_buf_free(&b);
}

static void put_init(struct wr_buf *out, const struct wr_track *video, const struct wr_track *audio,
                     const struct flv *m)
{
    put_metadata(out, video, audio, m);
    if (video)
        put_sequence(out, video, m->video.format);
    if (audio)
        put_sequence(out, audio, m->audio.format);
}

/* ---- slots -------------------------------------------------------------------------------------------------------- */

static void flv_close(void *state)
{
    struct flv *m = state;
    wr_buf_free(&m->first);
    wr_buf_free(&m->again);
    *m = (struct flv){.video = {.format = NULL}};
}

static const struct tag_format *format_of(enum wr_codec codec)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(formats); i++)
        if (formats[i].codec == codec)
            return &formats[i];
    return NULL;
}

static wr_err pick_tracks(const struct wr_track *tracks, size_t n, const struct wr_track **video,
                          const struct wr_track **audio, struct wr_errmsg *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct wr_track *t = &tracks[i];
        const struct tag_format *f = format_of(t->codec);
        const struct wr_track **slot = f && f->video ? video : audio;
        if (!f || *slot || t->timescale == 0 || t->id == 0 || t->config.n < f->min_config) {
            wr_errmsg_set(err,
                          "flv carries one H.264 or H.265 and one AAC or Opus track; track %u does "
                          "not fit",
                          t->id);
            return WR_ERR_INVALID;
        }
        *slot = t;
    }
    if (n == 0) {
        wr_errmsg_set(err, "flv needs a track");
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

static struct flv_track track_of(const struct wr_track *t)
{
    return t ? (struct flv_track){format_of(t->codec), t->id, t->timescale}
             : (struct flv_track){.format = NULL};
}

static wr_err flv_open(void *state, const struct wr_track *tracks, size_t n, struct wr_errmsg *err)
{
    struct flv *m = state;
    const struct wr_track *video = NULL, *audio = NULL;
    wr_err e = pick_tracks(tracks, n, &video, &audio, err);
    if (e != WR_OK)
        return e;
    flv_close(m);
    m->video = track_of(video);
    m->audio = track_of(audio);
    snprintf(m->mime, sizeof m->mime, "video/x-flv; codecs=\"%s%s%s\"",
             video ? video->codec_string : "", video && audio ? "," : "",
             audio ? audio->codec_string : "");
    wr_buf_add(&m->first, "FLV\x01", 4);
    wr_buf_be(&m->first, (video ? 1u : 0u) | (audio ? 4u : 0u), 1);
    wr_buf_be(&m->first, 9, 4);
    wr_buf_be(&m->first, 0, 4);
    put_init(&m->first, video, audio, m);
    put_init(&m->again, video, audio, m);
    if (!m->first.failed && !m->again.failed)
        return WR_OK;
    flv_close(m);
    wr_errmsg_set(err, "out of memory");
    return WR_ERR_INTERNAL;
}

static void flv_mime(void *state, char *out, size_t n)
{
    struct flv *m = state;
    snprintf(out, n, "%s", m->mime);
}

static void flv_init(void *state, enum wr_mux_init what, struct wr_mux_sink *sink)
{
    struct flv *m = state;
    const struct wr_buf *b = what == WR_MUX_INIT_FIRST ? &m->first : &m->again;
    sink->bytes(sink, b->p, b->n);
}

static void flv_frame(void *state, const struct wr_media_frame *f, struct wr_mux_sink *sink)
{
    struct flv *m = state;
    const struct flv_track *t = f->track == m->video.id ? &m->video : &m->audio;
    uint8_t body[8], head[11 + sizeof body], tail[4];
    if (!t->format || t->id != f->track)
        return;
    uint64_t dts_ms = ticks_to_ms(f->dts, t->timescale);
    uint32_t cts_ms = (uint32_t)(ticks_to_ms(f->pts, t->timescale) - dts_ms);
    size_t body_n = (size_t)(body_head(body, t->format, PACKET_FRAMES, f->key, cts_ms) - body);
    uint8_t *p = tag_head(head, t->format->video ? TAG_VIDEO : TAG_AUDIO, body_n + f->data.n,
                          (uint32_t)dts_ms & TIME_MASK);
    memcpy(p, body, body_n);
    size_t head_n = (size_t)(p - head) + body_n;
    be(tail, head_n + f->data.n, 4);
    sink->bytes(sink, head, head_n);
    sink->payload(sink, f->data);
    sink->bytes(sink, tail, sizeof tail);
}

WR_PLUGIN_EXPORT const struct wr_muxer_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_muxer_plugin, struct flv, WR_KIND_MUXER, "flv",
                                 WR_VERSION, "FLV, a frame a tag, no delay"),
    .extension = "flv",
    .content_type = "video/x-flv",
    .flags = WR_MUXER_INLINE_INIT,
    .codecs = codecs,
    .max_tracks = {[WR_MEDIA_VIDEO] = 1, [WR_MEDIA_AUDIO] = 1},
    .open = flv_open,
    .close = flv_close,
    .mime = flv_mime,
    .init = flv_init,
    .frame = flv_frame,
};
