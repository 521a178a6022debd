/* SPDX-License-Identifier: MIT
 *
 * The source `synthetic:`: the demo picture and a quiet tone, encoded here and only while somebody watches. H.264 without
 * B-frames (constrained baseline, so that players need not wait to reorder), a keyframe every 2 s exactly, AAC 48 kHz. */
#include "flow.h"
#include "picture.h"
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
#define SOUND_AHEAD (2 * 1024)
#define LATE_US (500 * 1000) /* further behind than this, frames are skipped */

struct synthetic {
    struct stream *s;
    struct source_end *end;
    struct flow flow;
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

static bool open_video(struct synthetic *y)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *c = y->video = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return fail(y, "this FFmpeg has no libx264, which the demo picture needs");
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
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "preset", "ultrafast", 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set(c->priv_data, "profile", "baseline", 0);
    av_opt_set(c->priv_data, "crf", "21", 0);
    av_opt_set(c->priv_data, "x264-params", "scenecut=0:keyint=50:min-keyint=50", 0);
    return avcodec_open2(c, codec, NULL) >= 0 || fail(y, "libx264 cannot be opened");
}

static bool open_audio(struct synthetic *y)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    AVCodecContext *c = y->audio = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return fail(y, "this FFmpeg has no AAC encoder");
    c->sample_rate = RATE;
    c->time_base = (AVRational){1, RATE};
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->bit_rate = 64000;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "aac_coder", "fast", 0);
    av_channel_layout_default(&c->ch_layout, 1);
    return avcodec_open2(c, codec, NULL) >= 0 || fail(y, "the AAC encoder cannot be opened");
}

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
    a->format = AV_SAMPLE_FMT_FLTP;
    a->nb_samples = y->audio->frame_size;
    a->sample_rate = RATE;
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
static float tone(int64_t sample)
{
    const double tau = 6.28318530717959;
    double t = (double)(sample % ((int64_t)RATE * 3600)) / RATE;
    double swell = 0.5 - 0.5 * cos(tau * t / 4);
    return (float)(0.02 * swell * (sin(tau * 220 * t) + 0.6 * sin(tau * 330 * t)));
}

/* Sound up to the end of the next picture, which then carries it out; see SOUND_AHEAD. */
static void make_sound(struct synthetic *y)
{
    int64_t until = (y->frames + 1) * (RATE / FPS) + SOUND_AHEAD;
    while (y->samples + y->sound->nb_samples <= until) {
        if (av_frame_make_writable(y->sound) < 0)
            return;
        float *to = (float *)(void *)y->sound->data[0];
        for (int i = 0; i < y->sound->nb_samples; i++)
            to[i] = tone(y->samples + i);
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
            y->samples += skip * (RATE / FPS);
        }
        if (y->frames > 0) /* an epoch begins with a picture */
            make_sound(y);
        make_picture(y);
    }
}

static uint32_t add(struct synthetic *y, const AVCodecContext *c, uint32_t clock)
{
    struct flow_spec spec = {.codec = codec__find_av((int)c->codec_id),
                             .hint = {.config = {c->extradata, (size_t)c->extradata_size},
                                      .sample_rate = (uint32_t)c->sample_rate,
                                      .channels = (uint32_t)c->ch_layout.nb_channels},
                             .clock = clock,
                             .fps_milli = c == y->video ? FPS * 1000 : 0};
    return flow__add(&y->flow, &spec);
}

void source__run_synthetic(struct stream *s, struct source_end *end)
{
    struct synthetic y = {.s = s, .end = end};
    flow__init(&y.flow, s);
    if (open_video(&y) && open_audio(&y) && open_frames(&y)) {
        y.video_id = add(&y, y.video, FPS);
        y.audio_id = add(&y, y.audio, RATE);
        if (y.video_id && y.audio_id)
            run(&y);
        else
            fail(&y, "an encoder gave a configuration that makes no sense");
    }
    av_frame_free(&y.frame);
    av_frame_free(&y.sound);
    av_packet_free(&y.packet);
    avcodec_free_context(&y.video);
    avcodec_free_context(&y.audio);
    picture__free(&y.picture);
    flow__fini(&y.flow);
}
