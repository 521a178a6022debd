/* SPDX-License-Identifier: MIT
 *
 * The muxer plugins: the suite for each, and for fmp4 and flv that libavformat, which we did not write, reads back the
 * very same coded frames and times, with B-frames and with sound. */
#include "muxer_suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdlib.h>

#include "wr_plugins.h"

#define NUM_PICTURES 60

/* ---- real coded frames -------------------------------------------------------------------------------------------- */

struct sample {
    uint32_t track;
    AVPacket *pkt;
};
static struct {
    struct sample all[400];
    size_t n;
    AVCodecContext *video, *audio;
    struct wr_buf avcc;
} media;

static void drain(AVCodecContext *c, uint32_t track)
{
    for (;;) {
        AVPacket *p = av_packet_alloc();
        if (avcodec_receive_packet(c, p) < 0) {
            av_packet_free(&p);
            return;
        }
        assert_true(media.n < WR_ARRAY_LEN(media.all));
        media.all[media.n++] = (struct sample){track, p};
    }
}

/* The encoder gives its SPS and PPS with 4-byte lengths, and avcC is those two with a head; FFmpeg 7 gives avcC itself,
 * which begins with its version, 1. */
static void make_avcc(const AVCodecContext *c)
{
    if (c->extradata[0] == 1) {
        wr_buf_add(&media.avcc, c->extradata, (size_t)c->extradata_size);
        return;
    }
    const uint8_t *sps = c->extradata + 4;
    size_t sps_n = c->extradata[3], pps_n = sps[sps_n + 3];
    struct wr_buf *b = &media.avcc;
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

static void encode_video(void)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    assert_non_null(codec);
    AVCodecContext *c = media.video = avcodec_alloc_context3(codec);
    c->width = 320;
    c->height = 240;
    c->time_base = (AVRational){1, 90000};
    c->framerate = (AVRational){25, 1};
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->gop_size = 20;
    c->max_b_frames = 2;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "preset", "veryfast", 0);
    av_opt_set(c->priv_data, "x264-params", "annexb=0:b-adapt=0", 0);
    assert_int_equal(avcodec_open2(c, codec, NULL), 0);
    make_avcc(c);
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
        drain(c, WR_TRACK_VIDEO);
    }
    avcodec_send_frame(c, NULL);
    drain(c, WR_TRACK_VIDEO);
    av_frame_free(&f);
}

static void encode_audio(void)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    AVCodecContext *c = media.audio = avcodec_alloc_context3(codec);
    c->sample_rate = 48000;
    c->time_base = (AVRational){1, 48000};
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
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
        for (int s = 0; s < f->nb_samples; s++)
            for (int ch = 0; ch < 2; ch++)
                ((float *)(void *)f->data[ch])[s] = (float)((s * (i + 1) + ch) % 100) / 500.0f;
        f->pts = (int64_t)i * 1024;
        assert_int_equal(avcodec_send_frame(c, f), 0);
        drain(c, WR_TRACK_AUDIO);
    }
    av_frame_free(&f);
}

static struct wr_media_frame to_frame(const struct sample *s)
{
    /* Shifted so that the first dts of both tracks are not negative, as ingest does. */
    int64_t shift = s->track == WR_TRACK_VIDEO ? 7200 : 3840;
    return (struct wr_media_frame){.track = s->track,
                                   .key = s->pkt->flags & AV_PKT_FLAG_KEY,
                                   .dts = s->pkt->dts + shift,
                                   .pts = s->pkt->pts + shift,
                                   .duration = s->track == WR_TRACK_VIDEO ? 3600 : 1024,
                                   .data = wr_slice_of(s->pkt->data, (size_t)s->pkt->size)};
}

static int make_media(void **state)
{
    (void)state;
    av_log_set_level(AV_LOG_ERROR);
    encode_video();
    encode_audio();
    return 0;
}

static int free_media(void **state)
{
    (void)state;
    for (size_t i = 0; i < media.n; i++)
        av_packet_free(&media.all[i].pkt);
    avcodec_free_context(&media.video);
    avcodec_free_context(&media.audio);
    wr_buf_free(&media.avcc);
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
    t[0] = (struct wr_track){.id = WR_TRACK_VIDEO,
                             .codec = WR_CODEC_H264,
                             .timescale = 90000,
                             .width = 320,
                             .height = 240,
                             .fps_milli = 25000,
                             .codec_string = "avc1.640015",
                             .config = {media.avcc.p, media.avcc.n}};
    t[1] = (struct wr_track){
        .id = WR_TRACK_AUDIO,
        .codec = WR_CODEC_AAC,
        .timescale = 48000,
        .sample_rate = 48000,
        .channels = 2,
        .codec_string = "mp4a.40.2",
        .config = {media.audio->extradata, (size_t)media.audio->extradata_size}};
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
        uint32_t track = st->codecpar->codec_type == AVMEDIA_TYPE_VIDEO ? WR_TRACK_VIDEO
                                                                        : WR_TRACK_AUDIO;
        while (at[track] < media.n && media.all[at[track]].track != track)
            at[track]++;
        assert_true(at[track] < media.n);
        struct wr_media_frame want = to_frame(&media.all[at[track]++]);
        AVRational scale = {1, track == WR_TRACK_VIDEO ? 90000 : 48000};
        assert_int_equal(p->size, want.data.n);
        assert_memory_equal(p->data, want.data.p, want.data.n);
        int64_t dts_us = av_rescale_q(p->dts, st->time_base, AV_TIME_BASE_Q),
                pts_us = av_rescale_q(p->pts, st->time_base, AV_TIME_BASE_Q);
        assert_true(llabs(dts_us - av_rescale_q(want.dts, scale, AV_TIME_BASE_Q)) <= tolerance_us);
        assert_true(llabs(pts_us - av_rescale_q(want.pts, scale, AV_TIME_BASE_Q)) <=
                    2 * tolerance_us);
        if (track == WR_TRACK_VIDEO)
            assert_int_equal(!!(p->flags & AV_PKT_FLAG_KEY), want.key);
        matched++;
        av_packet_unref(p);
    }
    last_matched = matched;
    assert_int_equal(matched, media.n);
    for (unsigned i = 0; i < 2; i++) {
        const AVCodecParameters *par = ctx->streams[i]->codecpar;
        const AVCodecContext *c = par->codec_type == AVMEDIA_TYPE_VIDEO ? media.video : media.audio;
        struct wr_slice config = c == media.video
                                     ? wr_slice_of(media.avcc.p, media.avcc.n)
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
        while (v < media.n && media.all[v].track != WR_TRACK_VIDEO)
            v++;
        while (a < media.n && media.all[a].track != WR_TRACK_AUDIO)
            a++;
        if (v >= media.n && a >= media.n)
            return;
        bool video = a >= media.n ||
                     (v < media.n &&
                      av_compare_ts(media.all[v].pkt->dts, (AVRational){1, 90000},
                                    media.all[a].pkt->dts, (AVRational){1, 48000}) <= 0);
        struct wr_media_frame f = to_frame(&media.all[video ? v++ : a++]);
        c->within = f.data;
        m->frame(state, &f, &c->sink);
    }
}

static void round_trip(const char *name, int64_t tolerance_us)
{
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
    round_trip("fmp4", 0);
}

static void test_libavformat_reads_the_same_frames_from_flv(void **state)
{
    (void)state;
    round_trip("flv", 1001); /* whole milliseconds */
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
                               .dts = 0x123456789a,
                               .pts = 0x123456789a - 3600,
                               .duration = 3600,
                               .data = wr_slice_of("abcd", 4)};
    c.within = f.data;
    m->frame(s, &f, &c.sink);
    assert_int_equal(c.out.n, 116);
    assert_memory_equal(c.out.p + 4, "moof", 4);
    assert_memory_equal(c.out.p + 60, "\x00\x00\x00\x12\x34\x56\x78\x9a", 8); /* tfdt */
    assert_memory_equal(c.out.p + 84, "\x00\x00\x00\x70", 4);                 /* data offset */
    assert_memory_equal(c.out.p + 100, "\xff\xff\xf1\xf0", 4);                /* cts -3600 */
    assert_memory_equal(c.out.p + 104, "\x00\x00\x00\x0cmdatabcd", 12);
    m->close(s);
    free(s);
    wr_buf_free(&c.out);
    wr_plugins_free(&all);
}

static void test_formats_say_what_they_cannot_carry(void **state)
{
    (void)state;
    static const char *const names[] = {"fmp4", "flv"};
    struct wr_plugins *all = NULL;
    for (unsigned i = 0; i < 2; i++) {
        const struct wr_muxer_plugin *m = plugin(&all, names[i]);
        struct wr_track t = {.id = 1,
                             .codec = (enum wr_codec)7,
                             .timescale = 1,
                             .config = {(const uint8_t *)"xy", 2}};
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
        cmocka_unit_test(test_libavformat_reads_the_same_frames_from_flv),
        cmocka_unit_test(test_formats_say_what_they_cannot_carry),
    };
    return cmocka_run_group_tests(tests, make_media, free_media);
}
