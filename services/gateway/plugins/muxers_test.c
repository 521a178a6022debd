/* SPDX-License-Identifier: MIT
 *
 * The muxer plugins: the suite for each, and for fmp4 and flv that libavformat, which we did not write, reads back the
 * very same coded frames and times, with B-frames and with sound. FFmpeg 5.1 reads no Enhanced FLV: there a table of
 * bytes, taken from the specification, has to do. */
#include "muxer_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdlib.h>

#include "wr_plugins.h"

enum { PICTURE = 1, SOUND = 2 }; /* ids of tracks */

#define NUM_PICTURES 60

/* ---- real coded frames -------------------------------------------------------------------------------------------- */

struct sample {
    uint32_t track;
    AVPacket *pkt;
};
struct media {
    struct sample all[400];
    size_t n;
    AVCodecContext *video, *audio;
    struct wr_buf video_config;   /* avcC, hvcC */
    struct wr_slice sound_config; /* in the stored form */
};
static struct media sets[2]; /* H.264 with AAC, H.265 with Opus */
static struct media *media = &sets[0];

static void drain(AVCodecContext *c, uint32_t track)
{
    for (;;) {
        AVPacket *p = av_packet_alloc();
        if (avcodec_receive_packet(c, p) < 0) {
            av_packet_free(&p);
            return;
        }
        assert_true(media->n < WR_ARRAY_LEN(media->all));
        media->all[media->n++] = (struct sample){track, p};
    }
}

/* The encoder gives its SPS and PPS with 4-byte lengths, and avcC is those two with a head; FFmpeg 7 gives avcC itself,
 * which begins with its version, 1. */
static void make_avcc(const AVCodecContext *c)
{
    if (c->extradata[0] == 1) {
        wr_buf_add(&media->video_config, c->extradata, (size_t)c->extradata_size);
        return;
    }
    const uint8_t *sps = c->extradata + 4;
    size_t sps_n = c->extradata[3], pps_n = sps[sps_n + 3];
    struct wr_buf *b = &media->video_config;
    wr_buf_be(b, 1, 1);
    wr_buf_add(b, sps + 1, 3);
    wr_buf_be(b, 0xffe1, 2);
    wr_buf_be(b, sps_n, 2);
    wr_buf_add(b, sps, sps_n);
    wr_buf_be(b, 1, 1);
    wr_buf_be(b, pps_n, 2);
    wr_buf_add(b, sps + sps_n + 4, pps_n);
    /* High profile: chroma 4:2:0, 8 bits, no extensions (libavformat writes the same). */
    wr_buf_be(b, 0xfdf8f800, 4);
}

/* The next NAL unit of Annex B bytes at *at; {NULL} at the end. */
static struct wr_slice next_unit(struct wr_slice bytes, size_t *at)
{
    size_t begin = *at, end;
    while (begin + 3 < bytes.n && memcmp(bytes.p + begin, "\0\0\1", 3) != 0)
        begin++;
    begin += 3;
    if (begin >= bytes.n)
        return (struct wr_slice){NULL, 0};
    for (end = begin; end < bytes.n; end++)
        if (end + 3 <= bytes.n && memcmp(bytes.p + end, "\0\0\1", 3) == 0)
            break;
    *at = end;
    while (end < bytes.n && bytes.p[end - 1] == 0)
        end--;
    return wr_slice_of(bytes.p + begin, end - begin);
}

static void to_lengths(AVPacket *p)
{
    struct wr_buf b = {.n = 0};
    struct wr_slice unit;
    size_t at = 0;
    while ((unit = next_unit(wr_slice_of(p->data, (size_t)p->size), &at)).n > 0) {
        wr_buf_be(&b, unit.n, 4);
        wr_buf_slice(&b, unit);
    }
    assert_false(b.failed);
    AVPacket *q = av_packet_alloc();
    assert_int_equal(av_new_packet(q, (int)b.n), 0);
    memcpy(q->data, b.p, b.n);
    assert_int_equal(av_packet_copy_props(q, p), 0);
    av_packet_unref(p);
    av_packet_move_ref(p, q);
    av_packet_free(&q);
    wr_buf_free(&b);
}

/* ISO/IEC 14496-15 8.3.3.1, of the encoder's VPS, SPS and PPS. 4:2:0, 8 bits. */
static void make_hvcc(const AVCodecContext *c)
{
    struct wr_slice units[3], unit, extra = {c->extradata, (size_t)c->extradata_size};
    struct wr_buf *b = &media->video_config;
    size_t at = 0, n = 0, ptl = 0;
    while (n < 3 && (unit = next_unit(extra, &at)).n > 0)
        units[n++] = unit;
    assert_int_equal(n, 3);
    assert_int_equal(units[1].p[0] >> 1, 33); /* SPS */
    wr_buf_be(b, 1, 1);
    for (size_t i = 3; ptl < 12; i++) {
        if (units[1].p[i] == 3 && units[1].p[i - 1] == 0 && units[1].p[i - 2] == 0)
            continue; /* emulation prevention */
        wr_buf_be(b, units[1].p[i], 1);
        ptl++;
    }
    wr_buf_add(b, "\xf0\0\xfc\xfd\xf8\xf8\0\0\x0f\x03", 10);
    for (size_t i = 0; i < 3; i++) {
        wr_buf_be(b, 0x80u | units[i].p[0] >> 1, 1);
        wr_buf_be(b, 1, 2);
        wr_buf_be(b, units[i].n, 2);
        wr_buf_slice(b, units[i]);
    }
}

static void encode_video(const char *encoder, const char *params_name, const char *params)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder);
    assert_non_null(codec);
    AVCodecContext *c = media->video = avcodec_alloc_context3(codec);
    c->width = 320;
    c->height = 240;
    c->time_base = (AVRational){1, 90000};
    c->framerate = (AVRational){25, 1};
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->gop_size = 20;
    c->max_b_frames = 2;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "preset", "veryfast", 0);
    assert_int_equal(av_opt_set(c->priv_data, params_name, params, 0), 0);
    assert_int_equal(avcodec_open2(c, codec, NULL), 0);
    if (codec->id == AV_CODEC_ID_H264)
        make_avcc(c);
    else
        make_hvcc(c);
    AVFrame *f = av_frame_alloc();
    f->format = c->pix_fmt;
    f->width = c->width;
    f->height = c->height;
    assert_int_equal(av_frame_get_buffer(f, 0), 0);
    for (int i = 0; i < NUM_PICTURES; i++) {
        assert_int_equal(av_frame_make_writable(f), 0);
        for (int y = 0; y < 240; y++)
            memset(f->data[0] + y * f->linesize[0], (y + 3 * i) & 0xff, 320);
        for (int y = 0; y < 120; y++) {
            memset(f->data[1] + y * f->linesize[1], 128, 160);
            memset(f->data[2] + y * f->linesize[2], (i * 4) & 0xff, 160);
        }
        f->pts = 3600 * i;
        assert_int_equal(avcodec_send_frame(c, f), 0);
        drain(c, PICTURE);
    }
    avcodec_send_frame(c, NULL);
    drain(c, PICTURE);
    av_frame_free(&f);
}

static void encode_audio(const char *encoder, enum AVSampleFormat format)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder);
    assert_non_null(codec);
    AVCodecContext *c = media->audio = avcodec_alloc_context3(codec);
    c->sample_rate = 48000;
    c->time_base = (AVRational){1, 48000};
    c->sample_fmt = format;
    av_channel_layout_default(&c->ch_layout, 2);
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    assert_int_equal(avcodec_open2(c, codec, NULL), 0);
    AVFrame *f = av_frame_alloc();
    f->format = c->sample_fmt;
    f->nb_samples = c->frame_size;
    f->sample_rate = 48000;
    av_channel_layout_default(&f->ch_layout, 2);
    assert_int_equal(av_frame_get_buffer(f, 0), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(av_frame_make_writable(f), 0);
        bool planar = av_sample_fmt_is_planar(format);
        for (int s = 0; s < f->nb_samples; s++)
            for (int ch = 0; ch < 2; ch++)
                ((float *)(void *)f->data[planar ? ch : 0])[planar ? s : 2 * s + ch] =
                    (float)((s * (i + 1) + ch) % 100) / 500.0f;
        f->pts = (int64_t)i * f->nb_samples;
        assert_int_equal(avcodec_send_frame(c, f), 0);
        drain(c, SOUND);
    }
    av_frame_free(&f);
    /* OpusHead's magic is not in the stored form. */
    size_t magic = codec->id == AV_CODEC_ID_OPUS ? 8 : 0;
    media->sound_config = wr_slice_of(c->extradata + magic, (size_t)c->extradata_size - magic);
}

static struct wr_media_frame to_frame(const struct sample *s)
{
    /* Shifted so that the first dts of both tracks are not negative, as ingest does. */
    int64_t shift = s->track == PICTURE ? 7200 : 3840;
    return (struct wr_media_frame){
        .track = s->track,
        .key = s->pkt->flags & AV_PKT_FLAG_KEY,
        .dts = s->pkt->dts + shift,
        .pts = s->pkt->pts + shift,
        .duration = s->track == PICTURE ? 3600 : (uint32_t)media->audio->frame_size,
        .data = wr_slice_of(s->pkt->data, (size_t)s->pkt->size)};
}

static int make_media(void **state)
{
    (void)state;
    av_log_set_level(AV_LOG_ERROR);
    media = &sets[0];
    encode_video("libx264", "x264-params", "annexb=0:b-adapt=0");
    encode_audio("aac", AV_SAMPLE_FMT_FLTP);
    media = &sets[1];
    encode_video("libx265", "x265-params",
                 "log-level=none:pools=none:frame-threads=1:b-adapt=0:open-gop=0:info=0");
    encode_audio("libopus", AV_SAMPLE_FMT_FLT);
    for (size_t i = 0; i < media->n; i++)
        if (media->all[i].track == PICTURE)
            to_lengths(media->all[i].pkt);
    return 0;
}

static int free_media(void **state)
{
    (void)state;
    for (media = sets; media < sets + WR_ARRAY_LEN(sets); media++) {
        for (size_t i = 0; i < media->n; i++)
            av_packet_free(&media->all[i].pkt);
        avcodec_free_context(&media->video);
        avcodec_free_context(&media->audio);
        wr_buf_free(&media->video_config);
    }
    return 0;
}

/* ---- through a muxer and back by libavformat ---------------------------------------------------------------------- */

static const struct wr_muxer_plugin *plugin(struct wr_plugins **all, const char *name)
{
    assert_int_equal(wr_plugins_load(WR_TEST_PLUGINS, all), WR_OK);
    const struct wr_muxer_plugin *m = wr_plugins_find(*all, WR_KIND_MUXER, name);
    assert_non_null(m);
    return m;
}

static void media_tracks(struct wr_track t[2])
{
    bool second = media == &sets[1];
    t[0] = (struct wr_track){.id = PICTURE,
                             .kind = WR_MEDIA_VIDEO,
                             .codec = second ? WR_CODEC_H265 : WR_CODEC_H264,
                             .timescale = 90000,
                             .width = 320,
                             .height = 240,
                             .fps_milli = 25000,
                             .codec_string = "avc1.640015",
                             .config = {media->video_config.p, media->video_config.n}};
    t[1] = (struct wr_track){.id = SOUND,
                             .kind = WR_MEDIA_AUDIO,
                             .codec = second ? WR_CODEC_OPUS : WR_CODEC_AAC,
                             .timescale = 48000,
                             .sample_rate = 48000,
                             .channels = 2,
                             .codec_string = "mp4a.40.2",
                             .config = media->sound_config};
}

struct reader {
    struct wr_slice left;
};

static int read_some(void *opaque, uint8_t *to, int n)
{
    struct reader *r = opaque;
    size_t take = WR_MIN((size_t)n, r->left.n);
    if (take == 0)
        return AVERROR_EOF;
    memcpy(to, r->left.p, take);
    r->left.p += take;
    r->left.n -= take;
    return (int)take;
}

static size_t last_matched;

/* Each packet that libavformat reads is the next sample of its track: same bytes, same times (in the track's ticks). */
static void expect_same(struct wr_slice bytes, int64_t tolerance_us)
{
    struct reader r = {bytes};
    AVFormatContext *ctx = avformat_alloc_context();
    ctx->pb = avio_alloc_context(av_malloc(4096), 4096, 0, &r, read_some, NULL, NULL);
    assert_int_equal(avformat_open_input(&ctx, "", NULL, NULL), 0);
    assert_int_equal(avformat_find_stream_info(ctx, NULL), 0);
    assert_int_equal(ctx->nb_streams, 2);
    size_t at[3] = {0}, matched = 0;
    AVPacket *p = av_packet_alloc();
    while (av_read_frame(ctx, p) >= 0) {
        const AVStream *st = ctx->streams[p->stream_index];
        uint32_t track = st->codecpar->codec_type == AVMEDIA_TYPE_VIDEO ? PICTURE : SOUND;
        while (at[track] < media->n && media->all[at[track]].track != track)
            at[track]++;
        assert_true(at[track] < media->n);
        struct wr_media_frame want = to_frame(&media->all[at[track]++]);
        AVRational scale = {1, track == PICTURE ? 90000 : 48000};
        assert_int_equal(p->size, want.data.n);
        assert_memory_equal(p->data, want.data.p, want.data.n);
        int64_t dts_us = av_rescale_q(p->dts, st->time_base, AV_TIME_BASE_Q),
                pts_us = av_rescale_q(p->pts, st->time_base, AV_TIME_BASE_Q);
        assert_true(llabs(dts_us - av_rescale_q(want.dts, scale, AV_TIME_BASE_Q)) <= tolerance_us);
        assert_true(llabs(pts_us - av_rescale_q(want.pts, scale, AV_TIME_BASE_Q)) <=
                    2 * tolerance_us);
        if (track == PICTURE)
            assert_int_equal(!!(p->flags & AV_PKT_FLAG_KEY), want.key);
        matched++;
        av_packet_unref(p);
    }
    last_matched = matched;
    assert_int_equal(matched, media->n);
    for (unsigned i = 0; i < 2; i++) {
        const AVCodecParameters *par = ctx->streams[i]->codecpar;
        const AVCodecContext *c = par->codec_type == AVMEDIA_TYPE_VIDEO ? media->video
                                                                        : media->audio;
        struct wr_slice config = c == media->video
                                     ? wr_slice_of(media->video_config.p, media->video_config.n)
                                     : wr_slice_of(c->extradata, (size_t)c->extradata_size);
        assert_int_equal(par->extradata_size, config.n);
        assert_memory_equal(par->extradata, config.p, config.n);
        assert_int_equal(par->width, c->width);
        assert_int_equal(par->sample_rate, c->sample_rate);
    }
    av_packet_free(&p);
    av_freep(&ctx->pb->buffer);
    avio_context_free(&ctx->pb);
    avformat_close_input(&ctx);
}

/* Video and audio interleaved by time, as they come over the bus. */
static void mux_all(const struct wr_muxer_plugin *m, void *state, struct wr_mux_collect *c)
{
    size_t v = 0, a = 0;
    for (;;) {
        while (v < media->n && media->all[v].track != PICTURE)
            v++;
        while (a < media->n && media->all[a].track != SOUND)
            a++;
        if (v >= media->n && a >= media->n)
            return;
        bool video = a >= media->n ||
                     (v < media->n &&
                      av_compare_ts(media->all[v].pkt->dts, (AVRational){1, 90000},
                                    media->all[a].pkt->dts, (AVRational){1, 48000}) <= 0);
        struct wr_media_frame f = to_frame(&media->all[video ? v++ : a++]);
        c->within = f.data;
        m->frame(state, &f, &c->sink);
    }
}

static void round_trip(const char *name, struct media *which, int64_t tolerance_us)
{
    media = which;
    struct wr_plugins *all = NULL;
    const struct wr_muxer_plugin *m = plugin(&all, name);
    struct wr_track tracks[2];
    struct wr_errmsg err = {""};
    struct wr_mux_collect c;
    void *state = wr_plugin_state(&m->base);
    media_tracks(tracks);
    wr_mux_collect_init(&c);
    assert_int_equal(m->open(state, tracks, 2, &err), WR_OK);
    m->init(state, WR_MUX_INIT_FIRST, &c.sink);
    mux_all(m, state, &c);
    assert_false(c.out.failed || c.outside);
    expect_same(wr_slice_of(c.out.p, c.out.n), tolerance_us);
    m->close(state);
    free(state);
    wr_buf_free(&c.out);
    wr_plugins_free(&all);
}

static void test_libavformat_reads_the_same_frames_from_fmp4(void **state)
{
    (void)state;
    round_trip("fmp4", &sets[0], 0);
}

static void test_libavformat_reads_h265_and_opus_from_fmp4(void **state)
{
    (void)state;
    round_trip("fmp4", &sets[1], 0);
}

static void test_libavformat_reads_the_same_frames_from_flv(void **state)
{
    (void)state;
    round_trip("flv", &sets[0], 1001); /* whole milliseconds */
}

static void test_fragment_head_is_112_bytes_and_payload_follows(void **state)
{
    (void)state;
    struct wr_plugins *all = NULL;
    const struct wr_muxer_plugin *m = plugin(&all, "fmp4");
    struct wr_track tracks[2];
    struct wr_errmsg err = {""};
    struct wr_mux_collect c;
    void *s = wr_plugin_state(&m->base);
    media_tracks(tracks);
    wr_mux_collect_init(&c);
    assert_int_equal(m->open(s, tracks, 2, &err), WR_OK);
    struct wr_media_frame f = {.track = 1,
                               .key = true,
                               .seq = 0x1fffffffe,
                               .dts = 0x123456789a,
                               .pts = 0x123456789a - 3600,
                               .duration = 3600,
                               .data = wr_slice_of("abcd", 4)};
    c.within = f.data;
    m->frame(s, &f, &c.sink);
    assert_int_equal(c.out.n, 116);
    assert_memory_equal(c.out.p + 4, "moof", 4);
    assert_memory_equal(c.out.p + 20, "\xff\xff\xff\xff",
                        4); /* its number: the frame's, from 1 on */
    assert_memory_equal(c.out.p + 60, "\x00\x00\x00\x12\x34\x56\x78\x9a", 8); /* tfdt */
    assert_memory_equal(c.out.p + 84, "\x00\x00\x00\x70", 4);                 /* data offset */
    assert_memory_equal(c.out.p + 100, "\xff\xff\xf1\xf0", 4);                /* cts -3600 */
    assert_memory_equal(c.out.p + 104, "\x00\x00\x00\x0cmdatabcd", 12);
    m->close(s);
    free(s);
    wr_buf_free(&c.out);
    wr_plugins_free(&all);
}

/* What a slot of flv writes for one frame, or its init when f is NULL. */
static struct wr_buf flv_bytes(struct wr_track *tracks, size_t n, const struct wr_media_frame *f)
{
    struct wr_plugins *all = NULL;
    const struct wr_muxer_plugin *m = plugin(&all, "flv");
    struct wr_errmsg err = {""};
    struct wr_mux_collect c;
    void *s = wr_plugin_state(&m->base);
    wr_mux_collect_init(&c);
    assert_int_equal(m->open(s, tracks, n, &err), WR_OK);
    if (f) {
        c.within = f->data;
        m->frame(s, f, &c.sink);
    } else {
        m->init(s, WR_MUX_INIT_AGAIN, &c.sink);
    }
    assert_false(c.outside);
    m->close(s);
    free(s);
    wr_plugins_free(&all);
    return c.out;
}

static void expect_at(const struct wr_buf *b, size_t at, const char *bytes, size_t n)
{
    assert_true(b->n >= at + n);
    assert_memory_equal(b->p + at, bytes, n);
}

/* Enhanced RTMP v2, "Enhanced Video" and "Enhanced Audio". */
static void test_enhanced_flv_is_as_specified(void **state)
{
    (void)state;
    struct wr_track t[2];
    media = &sets[1];
    media_tracks(t);
    struct wr_buf b = flv_bytes(t, 2, NULL);
    /* onMetaData names the formats by their FourCC, as a number: "hvc1" is 0x68766331, "Opus" 0x4f707573. */
    const uint8_t *meta = b.p;
    size_t meta_n = (size_t)(b.p[1] << 16 | b.p[2] << 8 | b.p[3]);
    assert_non_null(memmem(meta, 11 + meta_n, "videocodecid\0\x41\xda\x1d\x98\xcc\x40\0\0", 21));
    assert_non_null(memmem(meta, 11 + meta_n, "audiocodecid\0\x41\xd3\xdc\x1d\x5c\xc0\0\0", 21));
    /* Video: IsExHeader | KeyFrame, SequenceStart; FourCC; hvcC. */
    size_t at = 11 + meta_n + 4;
    expect_at(&b, at, "\x09", 1);
    expect_at(&b, at + 11, "\x90hvc1\x01", 6);
    assert_memory_equal(b.p + at + 16, media->video_config.p, media->video_config.n);
    /* Sound: ExHeader, SequenceStart; FourCC; OpusHead. */
    at += 11 + 5 + media->video_config.n + 4;
    expect_at(&b, at, "\x08", 1);
    expect_at(&b, at + 11, "\x90OpusOpusHead\x01\x02", 15);
    wr_buf_free(&b);
    /* CodedFrames: 24 bits of composition time behind the FourCC. */
    struct wr_media_frame f = {
        .track = 1, .key = true, .dts = 90000, .pts = 97200, .data = wr_slice_str("abcd")};
    b = flv_bytes(t, 2, &f);
    expect_at(&b, 0,
              "\x09\0\0\x0c\0\x03\xe8\0\0\0\0\x91hvc1\0\0\x50"
              "abcd\0\0\0\x17",
              27);
    wr_buf_free(&b);
    f.key = false;
    b = flv_bytes(t, 2, &f);
    expect_at(&b, 11, "\xa1hvc1", 5);
    wr_buf_free(&b);
    f.track = 2;
    b = flv_bytes(t, 2, &f);
    expect_at(&b, 0,
              "\x08\0\0\x09\0\x07\x53\0\0\0\0\x91Opus"
              "abcd\0\0\0\x14",
              24);
    wr_buf_free(&b);
}

static void test_flv_time_begins_again_after_2_to_31_ms(void **state)
{
    (void)state;
    struct wr_track t[2];
    media = &sets[0];
    media_tracks(t);
    int64_t wrap = (INT64_C(1) << 31) * 90;
    struct wr_media_frame f = {.track = 1, .key = true, .data = wr_slice_str("abcd")};
    static const struct {
        int64_t off;
        const char *time;
    } cases[] = {{-90, "\xff\xff\xff\x7f"}, {0, "\0\0\0\0"}, {90 * 0x1234567, "\x23\x45\x67\x01"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        f.dts = f.pts = wrap + cases[i].off;
        struct wr_buf b = flv_bytes(t, 2, &f);
        expect_at(&b, 4, cases[i].time, 4);
        wr_buf_free(&b);
    }
}

static void test_formats_say_what_they_cannot_carry(void **state)
{
    (void)state;
    static const char *const names[] = {"fmp4", "flv"};
    struct wr_plugins *all = NULL;
    for (unsigned i = 0; i < 2; i++) {
        const struct wr_muxer_plugin *m = plugin(&all, names[i]);
        struct wr_track t = {
            .id = 1, .codec = WR_CODEC_AV1, .timescale = 1, .config = {(const uint8_t *)"xy", 2}};
        struct wr_errmsg err = {""};
        void *s = wr_plugin_state(&m->base);
        assert_int_equal(m->open(s, &t, 1, &err), WR_ERR_INVALID);
        assert_non_null(strstr(err.text, "H.264"));
        free(s);
        wr_plugins_free(&all);
    }
}

static void test_conformance(void **state)
{
    (void)state;
    static const char *const names[] = {"fmp4", "flv", "null"};
    for (unsigned i = 0; i < WR_ARRAY_LEN(names); i++) {
        struct wr_plugins *all = NULL;
        wr_muxer_suite(plugin(&all, names[i]));
        wr_plugins_free(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conformance),
        cmocka_unit_test(test_fragment_head_is_112_bytes_and_payload_follows),
        cmocka_unit_test(test_libavformat_reads_the_same_frames_from_fmp4),
        cmocka_unit_test(test_libavformat_reads_h265_and_opus_from_fmp4),
        cmocka_unit_test(test_libavformat_reads_the_same_frames_from_flv),
        cmocka_unit_test(test_enhanced_flv_is_as_specified),
        cmocka_unit_test(test_flv_time_begins_again_after_2_to_31_ms),
        cmocka_unit_test(test_formats_say_what_they_cannot_carry),
    };
    return cmocka_run_group_tests(tests, make_media, free_media);
}
