/* SPDX-License-Identifier: MIT
 *
 * Muxer `flv`: FLV 10.1 tags with AVC and AAC, for mpegts.js, flv.js, VLC and ffplay. One tag a frame, no delay.
 * Timestamps are milliseconds, so audio is rounded; mpegts.js evens that out. Not here: HEVC (Enhanced RTMP). */
#include "wr_buf.h"
#include "wr_muxer.h"

#include <stdio.h>

enum { TAG_AUDIO = 8, TAG_VIDEO = 9, TAG_SCRIPT = 18 };
enum { AVC_SEQUENCE = 0, AVC_NALU = 1, AAC_SEQUENCE = 0, AAC_RAW = 1 };
#define AUDIO_FORMAT \
    0xaf /* AAC, "44 kHz", 16 bit, stereo: fixed by the format whatever the track has */

struct flv {
    uint32_t video_id, audio_id; /* 0 = none */
    uint32_t video_scale, audio_scale;
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

static uint32_t ticks_to_ms(int64_t ticks, uint32_t timescale)
{
    return ticks < 0 ? 0
                     : (uint32_t)((uint64_t)ticks / timescale * 1000 +
                                  (uint64_t)ticks % timescale * 1000 / timescale);
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

static void put_metadata(struct wr_buf *out, const struct wr_track *video,
                         const struct wr_track *audio)
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
        amf_number(&b, "videocodecid", 7);
    }
    if (audio) {
        amf_number(&b, "audiosamplerate", audio->sample_rate);
        amf_number(&b, "audiochannels", audio->channels);
        amf_number(&b, "audiocodecid", 10);
    }
    wr_buf_be(&b, 0x000009, 3); /* end of the array */
    put_tag(out, TAG_SCRIPT, wr_slice_of(b.p, b.n));
    out->failed |= b.failed;
    wr_buf_free(&b);
}

static void put_sequences(struct wr_buf *out, const struct wr_track *video,
                          const struct wr_track *audio)
{
    struct wr_buf b = {.n = 0};
    if (video) {
        wr_buf_be(&b, 0x17, 1);
        wr_buf_be(&b, AVC_SEQUENCE, 1);
        wr_buf_be(&b, 0, 3);
        wr_buf_slice(&b, video->config);
        put_tag(out, TAG_VIDEO, wr_slice_of(b.p, b.n));
    }
    wr_buf_clear(&b);
    if (audio) {
        wr_buf_be(&b, AUDIO_FORMAT, 1);
        wr_buf_be(&b, AAC_SEQUENCE, 1);
        wr_buf_slice(&b, audio->config);
        put_tag(out, TAG_AUDIO, wr_slice_of(b.p, b.n));
    }
    out->failed |= b.failed;
    wr_buf_free(&b);
}

/* ---- slots -------------------------------------------------------------------------------------------------------- */

static void flv_close(void *state)
{
    struct flv *m = state;
    wr_buf_free(&m->first);
    wr_buf_free(&m->again);
    *m = (struct flv){.video_id = 0};
}

static wr_err pick_tracks(const struct wr_track *tracks, size_t n, const struct wr_track **video,
                          const struct wr_track **audio, struct wr_errmsg *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct wr_track *t = &tracks[i];
        const struct wr_track **slot = t->codec == WR_CODEC_H264  ? video
                                       : t->codec == WR_CODEC_AAC ? audio
                                                                  : NULL;
        if (!slot || *slot || t->timescale == 0 || t->id == 0 || t->config.n < 2) {
            wr_errmsg_set(err, "flv carries one H.264 and one AAC track; track %u does not fit",
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

static wr_err flv_open(void *state, const struct wr_track *tracks, size_t n, struct wr_errmsg *err)
{
    struct flv *m = state;
    const struct wr_track *video = NULL, *audio = NULL;
    wr_err e = pick_tracks(tracks, n, &video, &audio, err);
    if (e != WR_OK)
        return e;
    flv_close(m);
    if (video) {
        m->video_id = video->id;
        m->video_scale = video->timescale;
    }
    if (audio) {
        m->audio_id = audio->id;
        m->audio_scale = audio->timescale;
    }
    snprintf(m->mime, sizeof m->mime, "video/x-flv; codecs=\"%s%s%s\"",
             video ? video->codec_string : "", video && audio ? "," : "",
             audio ? audio->codec_string : "");
    wr_buf_add(&m->first, "FLV\x01", 4);
    wr_buf_be(&m->first, (video ? 1u : 0u) | (audio ? 4u : 0u), 1);
    wr_buf_be(&m->first, 9, 4);
    wr_buf_be(&m->first, 0, 4);
    put_metadata(&m->first, video, audio);
    put_sequences(&m->first, video, audio);
    put_metadata(&m->again, video, audio);
    put_sequences(&m->again, video, audio);
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
    uint8_t head[16], tail[4], *p;
    if (f->track == 0 || (f->track != m->video_id && f->track != m->audio_id))
        return;
    if (f->track == m->video_id) {
        uint32_t dts_ms = ticks_to_ms(f->dts, m->video_scale);
        uint32_t cts_ms = ticks_to_ms(f->pts, m->video_scale) -
                          dts_ms; /* wraps to 24-bit two's complement */
        p = tag_head(head, TAG_VIDEO, 5 + f->data.n, dts_ms);
        p = be(p, f->key ? 0x17 : 0x27, 1);
        p = be(p, AVC_NALU, 1);
        p = be(p, cts_ms & 0xffffff, 3);
    } else {
        p = tag_head(head, TAG_AUDIO, 2 + f->data.n, ticks_to_ms(f->dts, m->audio_scale));
        p = be(p, AUDIO_FORMAT, 1);
        p = be(p, AAC_RAW, 1);
    }
    size_t head_n = (size_t)(p - head);
    be(tail, head_n + f->data.n, 4);
    sink->bytes(sink, head, head_n);
    sink->payload(sink, f->data);
    sink->bytes(sink, tail, sizeof tail);
}

WR_PLUGIN_EXPORT const struct wr_muxer_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_muxer_plugin, struct flv, WR_KIND_MUXER, "flv",
                                 WR_VERSION, "FLV with H.264 and AAC, a frame a tag, no delay"),
    .extension = "flv",
    .content_type = "video/x-flv",
    .flags = WR_MUXER_INLINE_INIT,
    .open = flv_open,
    .close = flv_close,
    .mime = flv_mime,
    .init = flv_init,
    .frame = flv_frame,
};
