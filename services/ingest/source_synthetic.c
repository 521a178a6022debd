/* SPDX-License-Identifier: MIT
 *
 * The source `synthetic:`: the demo picture and a quiet tone, encoded here and only while somebody watches. H.264 without
 * B-frames (constrained baseline, so that players need not wait to reorder), a keyframe every 2 s exactly, AAC 48 kHz.
 * `synthetic:h265+opus` and the like make others, so that one can see without a camera what a player can take. */
#include "flow.h"
#include "picture.h"
#include "rendition.h"
#include "source.h"
#include "wr_clock.h"
#include "wr_log.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FPS 25
#define GROUP_FRAMES (2 * FPS)
#define FRAME_US (1000000 / FPS)
#define RATE 48000
/* Sound is made this much early: the encoder keeps a frame back, and a player cannot show a picture before it has the
 * sound of the same moment. A camera's microphone has the same lead by coming through the same delay as its picture. */
#define SOUND_AHEAD_MS 43    /* two frames of AAC */
#define LATE_US (500 * 1000) /* further behind than this, frames are skipped */

struct synthetic {
    struct stream *s;
    struct source_end *end;
    struct flow flow;
    struct rendition rendition; /* of the sound */
    struct picture *picture;
    AVCodecContext *video, *audio;
    AVFrame *frame, *sound;
    AVPacket *packet;
    uint32_t video_id, audio_id; /* in the flow */
    int64_t frames, samples;     /* made so far */
};

static bool fail(struct synthetic *y, const char *text)
{
    y->end->is_lasting = true;
    snprintf(y->end->text, sizeof y->end->text, "%s", text);
    return false;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void free_frame_data(void *opaque, uint8_t *data)
{
    (void)opaque, (void)data; /* the picture owns it */
}

/* ---- what it can make --------------------------------------------------------------------------------------------- */

static void set_h264(AVCodecContext *c)
{
    av_opt_set(c->priv_data, "preset", "ultrafast", 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set(c->priv_data, "profile", "baseline", 0);
    av_opt_set(c->priv_data, "crf", "21", 0);
    av_opt_set(c->priv_data, "x264-params", "scenecut=0:keyint=50:min-keyint=50", 0);
}

static void set_h265(AVCodecContext *c)
{
    av_opt_set(c->priv_data, "preset", "ultrafast", 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set(c->priv_data, "crf", "24", 0);
    av_opt_set(
        c->priv_data, "x265-params",
        "log-level=none:scenecut=0:keyint=50:min-keyint=50:open-gop=0:pools=none:frame-threads=1",
        0);
}

static void set_aac(AVCodecContext *c)
{
    c->bit_rate = 64000;
    av_opt_set(c->priv_data, "aac_coder", "fast", 0);
}

static void set_opus(AVCodecContext *c)
{
    c->bit_rate = 64000;
    av_opt_set(c->priv_data, "frame_duration", "20", 0);
}

static void set_nothing(AVCodecContext *c)
{
    (void)c;
}

/* A name in the address; the first of each kind is what it makes without one. */
static const struct recipe {
    const char *name, *encoder;
    bool video;
    enum AVSampleFormat samples;
    int rate;
    void (*set)(AVCodecContext *c);
} recipes[] = {
    {"h264", "libx264", true, AV_SAMPLE_FMT_NONE, 0, set_h264},
    {"h265", "libx265", true, AV_SAMPLE_FMT_NONE, 0, set_h265},
    {"aac", "aac", false, AV_SAMPLE_FMT_FLTP, RATE, set_aac},
    {"opus", "libopus", false, AV_SAMPLE_FMT_FLT, RATE, set_opus},
    {"g711a", "pcm_alaw", false, AV_SAMPLE_FMT_S16, 8000, set_nothing},
    {"g711u", "pcm_mulaw", false, AV_SAMPLE_FMT_S16, 8000, set_nothing},
};

/* "synthetic:", or behind it names with "+" between them. False at a name that is none. */
static bool choose(const char *address, const struct recipe **video, const struct recipe **audio)
{
    const char *p = address + strlen("synthetic:");
    *video = &recipes[0];
    *audio = &recipes[2];
    while (*p) {
        size_t n = strcspn(p, "+"), i = 0;
        while (i < WR_ARRAY_LEN(recipes) && !wr_slice_is(wr_slice_of(p, n), recipes[i].name))
            i++;
        if (i == WR_ARRAY_LEN(recipes))
            return false;
        *(recipes[i].video ? video : audio) = &recipes[i];
        p += n;
        p += *p == '+';
    }
    return true;
}

bool source__check_synthetic(const char *address)
{
    const struct recipe *video, *audio;
    return choose(address, &video, &audio);
}

static AVCodecContext *new_encoder(struct synthetic *y, const struct recipe *r)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(r->encoder);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c) {
        y->end->is_lasting = true;
        snprintf(y->end->text, sizeof y->end->text, "this FFmpeg has no encoder %s", r->encoder);
    }
    return c;
}

static bool open_encoder(struct synthetic *y, AVCodecContext *c, const struct recipe *r)
{
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    r->set(c);
    if (avcodec_open2(c, NULL, NULL) >= 0)
        return true;
    y->end->is_lasting = true;
    snprintf(y->end->text, sizeof y->end->text, "the encoder %s cannot be opened", r->encoder);
    return false;
}

static bool open_video(struct synthetic *y, const struct recipe *r)
{
    AVCodecContext *c = y->video = new_encoder(y, r);
    if (!c)
        return false;
    c->width = PICTURE_WIDTH;
    c->height = PICTURE_HEIGHT;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, FPS};
    c->framerate = (AVRational){FPS, 1};
    c->gop_size = GROUP_FRAMES;
    c->max_b_frames = 0;
    c->thread_count = 1;
    c->rc_max_rate = 2000000;
    c->rc_buffer_size = 1000000;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_range = AVCOL_RANGE_MPEG;
    return open_encoder(y, c, r);
}

static bool open_audio(struct synthetic *y, const struct recipe *r)
{
    AVCodecContext *c = y->audio = new_encoder(y, r);
    if (!c)
        return false;
    c->sample_rate = r->rate;
    c->time_base = (AVRational){1, r->rate};
    c->sample_fmt = r->samples;
    av_channel_layout_default(&c->ch_layout, 1);
    return open_encoder(y, c, r);
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

/* The picture's planes as a frame, without a copy: the encoder copies while it is sent. */
static bool open_frames(struct synthetic *y)
{
    y->picture = picture__new();
    y->frame = av_frame_alloc();
    y->sound = av_frame_alloc();
    y->packet = av_packet_alloc();
    if (!y->picture || !y->frame || !y->sound || !y->packet)
        return fail(y, "out of memory");
    AVFrame *f = y->frame;
    f->format = AV_PIX_FMT_YUV420P;
    f->width = PICTURE_WIDTH;
    f->height = PICTURE_HEIGHT;
    for (unsigned i = 0; i < 3; i++) {
        f->data[i] = picture__plane(y->picture, i);
        f->linesize[i] = i ? PICTURE_WIDTH / 2 : PICTURE_WIDTH;
    }
    f->buf[0] = av_buffer_create(f->data[0], (size_t)PICTURE_WIDTH * PICTURE_HEIGHT * 3 / 2,
                                 free_frame_data, NULL, 0);
    AVFrame *a = y->sound;
    a->format = y->audio->sample_fmt;
    a->nb_samples = y->audio->frame_size ? y->audio->frame_size : y->audio->sample_rate / FPS;
    a->sample_rate = y->audio->sample_rate;
    av_channel_layout_default(&a->ch_layout, 1);
    return (f->buf[0] && av_frame_get_buffer(a, 0) >= 0) || fail(y, "out of memory");
}

/* ---- making frames ------------------------------------------------------------------------------------------------ */

static void take(struct synthetic *y, AVCodecContext *c, uint32_t id)
{
    while (avcodec_receive_packet(c, y->packet) >= 0) {
        const AVPacket *p = y->packet;
        bool video = c == y->video;
        struct flow_sample s = {.data = wr_slice_of(p->data, (size_t)p->size),
                                .dts = p->dts,
                                .pts = p->pts,
                                .duration = video ? 1 : 0,
                                .key = p->flags & AV_PKT_FLAG_KEY,
                                .camera_us = video ? wr_wall_us() : 0};
        flow__take(&y->flow, id, &s);
        if (!video)
            rendition__feed(&y->rendition, s.data, s.pts, (uint32_t)c->sample_rate);
        av_packet_unref(y->packet);
    }
}

static void make_picture(struct synthetic *y)
{
    picture__draw(y->picture, wr_wall_ms());
    y->frame->pts = y->frames++;
    if (avcodec_send_frame(y->video, y->frame) >= 0)
        take(y, y->video, y->video_id);
}

/* Two soft notes that swell and fade; quiet enough to forget. */
static float tone(int64_t sample, int rate)
{
    const double tau = 6.28318530717959;
    double t = (double)(sample % ((int64_t)rate * 3600)) / rate;
    double swell = 0.5 - 0.5 * cos(tau * t / 4);
    return (float)(0.02 * swell * (sin(tau * 220 * t) + 0.6 * sin(tau * 330 * t)));
}

static void fill_sound(struct synthetic *y)
{
    AVFrame *f = y->sound;
    for (int i = 0; i < f->nb_samples; i++) {
        float v = tone(y->samples + i, f->sample_rate);
        if (f->format == AV_SAMPLE_FMT_S16)
            ((int16_t *)(void *)f->data[0])[i] = (int16_t)(v * 32767);
        else
            ((float *)(void *)f->data[0])[i] = v;
    }
}

/* Sound up to the end of the next picture, which then carries it out; see SOUND_AHEAD_MS. */
static void make_sound(struct synthetic *y)
{
    int rate = y->audio->sample_rate;
    int64_t until = (y->frames + 1) * (rate / FPS) + rate * SOUND_AHEAD_MS / 1000;
    while (y->samples + y->sound->nb_samples <= until) {
        if (av_frame_make_writable(y->sound) < 0)
            return;
        fill_sound(y);
        y->sound->pts = y->samples;
        y->samples += y->sound->nb_samples;
        if (avcodec_send_frame(y->audio, y->sound) >= 0)
            take(y, y->audio, y->audio_id);
    }
}

static void run(struct synthetic *y)
{
    int64_t began = wr_mono_us();
    while (stream__sleep_until(y->s, began + y->frames * FRAME_US)) {
        int64_t late = wr_mono_us() - (began + y->frames * FRAME_US);
        if (late > LATE_US) { /* the machine was asleep or is too slow: go on with the present */
            int64_t skip = late / FRAME_US;
            wr_warn("ingest.synthetic", "stream=%s %lld frames skipped: the machine is too slow",
                    y->s->name, (long long)skip);
            y->frames += skip;
            y->samples += skip * (y->audio->sample_rate / FPS);
        }
        if (y->frames > 0) /* an epoch begins with a picture */
            make_sound(y);
        make_picture(y);
    }
}

static uint32_t add(struct synthetic *y, const AVCodecContext *c, uint32_t clock)
{
    struct wr_errmsg err = {""};
    struct flow_spec spec = {.codec = codec__find_av((int)c->codec_id),
                             .hint = {.config = {c->extradata, (size_t)c->extradata_size},
                                      .sample_rate = (uint32_t)c->sample_rate,
                                      .channels = (uint32_t)c->ch_layout.nb_channels},
                             .clock = clock,
                             .fps_milli = c == y->video ? FPS * 1000 : 0};
    uint32_t id = flow__add(&y->flow, &spec);
    if (id && c == y->audio &&
        rendition__open(&y->rendition, &y->flow, id, &spec.hint, &err) != WR_OK)
        wr_warn("ingest.sound", "stream=%s %s", y->s->name, err.text);
    return id;
}

void source__run_synthetic(struct stream *s, struct source_end *end)
{
    struct synthetic y = {.s = s, .end = end};
    const struct recipe *video, *audio;
    flow__init(&y.flow, s);
    if (choose(s->url, &video, &audio) && open_video(&y, video) && open_audio(&y, audio) &&
        open_frames(&y)) {
        y.video_id = add(&y, y.video, FPS);
        y.audio_id = add(&y, y.audio, (uint32_t)y.audio->sample_rate);
        if (y.video_id && y.audio_id)
            run(&y);
        else
            fail(&y, "an encoder gave a configuration that makes no sense");
    }
    rendition__close(&y.rendition);
    av_frame_free(&y.frame);
    av_frame_free(&y.sound);
    av_packet_free(&y.packet);
    avcodec_free_context(&y.video);
    avcodec_free_context(&y.audio);
    picture__free(&y.picture);
    flow__fini(&y.flow);
}
