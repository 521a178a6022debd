/* SPDX-License-Identifier: MIT
 *
 * Decoder, resampler, queue, encoder. The queue is there since AAC wants exactly 1,024 samples a frame. Works with
 * FFmpeg 5.1 to 7.1 (ch_layout only). */
#include "sound.h"

#include "wr_log.h"

#include <libavcodec/avcodec.h>
#include <libavutil/audio_fifo.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <stdlib.h>

#define JUMP \
    (SOUND_RATE / 5) /* 200 ms off: the source's clock is believed, not the count of samples */
#define MAX_WAITING (SOUND_RATE)

struct sound {
    AVCodecContext *decoder, *encoder;
    SwrContext *resampler;
    AVAudioFifo *queue;
    AVFrame *decoded, *resampled, *piece;
    AVPacket *packet, *coded; /* what comes out, what goes in */
    int64_t next_pts;         /* of the first sample in the queue */
    bool has_pts;
    sound_frame_fn fn;
    void *ctx;
};

static enum AVCodecID av_id(enum wr_codec codec)
{
    return codec == WR_CODEC_G711A   ? AV_CODEC_ID_PCM_ALAW
           : codec == WR_CODEC_G711U ? AV_CODEC_ID_PCM_MULAW
                                     : AV_CODEC_ID_NONE;
}

bool sound__takes(enum wr_codec codec)
{
    return av_id(codec) != AV_CODEC_ID_NONE;
}

static wr_err open_decoder(struct sound *s, enum wr_codec from, uint32_t sample_rate,
                           uint32_t channels, struct wr_errmsg *err)
{
    const AVCodec *codec = avcodec_find_decoder(av_id(from));
    s->decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (s->decoder) {
        s->decoder->sample_rate = sample_rate ? (int)WR_MIN(sample_rate, 192000u) : 8000;
        av_channel_layout_default(&s->decoder->ch_layout, channels ? (int)WR_MIN(channels, 8u) : 1);
        if (avcodec_open2(s->decoder, codec, NULL) >= 0)
            return WR_OK;
    }
    wr_errmsg_set(err, "this FFmpeg cannot decode the camera's %s sound", wr_codec_name(from));
    return WR_ERR_UNAVAILABLE;
}

static wr_err open_encoder(struct sound *s, struct wr_errmsg *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    int channels = WR_MIN(s->decoder->ch_layout.nb_channels, 2);
    s->encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (s->encoder) {
        s->encoder->sample_rate = SOUND_RATE;
        s->encoder->time_base = (AVRational){1, SOUND_RATE};
        s->encoder->sample_fmt = AV_SAMPLE_FMT_FLTP;
        s->encoder->bit_rate = 64000;
        s->encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
        av_channel_layout_default(&s->encoder->ch_layout, channels);
        if (avcodec_open2(s->encoder, codec, NULL) >= 0 && s->encoder->extradata_size > 0)
            return WR_OK;
    }
    wr_errmsg_set(err, "this FFmpeg has no AAC encoder");
    return WR_ERR_UNAVAILABLE;
}

static wr_err open_rest(struct sound *s, struct wr_errmsg *err)
{
    AVCodecContext *d = s->decoder,
                   *e = s->encoder; /* not const: FFmpeg 5.1 takes the layouts so */
    s->decoded = av_frame_alloc();
    s->resampled = av_frame_alloc();
    s->piece = av_frame_alloc();
    s->packet = av_packet_alloc();
    s->coded = av_packet_alloc();
    s->queue = av_audio_fifo_alloc(e->sample_fmt, e->ch_layout.nb_channels, SOUND_RATE / 4);
    if (s->decoded && s->resampled && s->piece && s->packet && s->coded && s->queue &&
        swr_alloc_set_opts2(&s->resampler, &e->ch_layout, e->sample_fmt, e->sample_rate,
                            &d->ch_layout, d->sample_fmt, d->sample_rate, 0, NULL) >= 0 &&
        swr_init(s->resampler) >= 0)
        return WR_OK;
    wr_errmsg_set(err, "out of memory");
    return WR_ERR_UNAVAILABLE;
}

wr_err sound__new(enum wr_codec from, uint32_t sample_rate, uint32_t channels, sound_frame_fn fn,
                  void *ctx, struct sound **out, struct wr_errmsg *err)
{
    struct sound *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        wr_errmsg_set(err, "out of memory");
        return WR_ERR_UNAVAILABLE;
    }
    s->fn = fn;
    s->ctx = ctx;
    wr_err e = open_decoder(s, from, sample_rate, channels, err);
    if (e == WR_OK)
        e = open_encoder(s, err);
    if (e == WR_OK)
        e = open_rest(s, err);
    if (e != WR_OK)
        sound__free(&s);
    *out = s;
    return e;
}

struct wr_slice sound__config(const struct sound *s)
{
    return wr_slice_of(s->encoder->extradata, (size_t)s->encoder->extradata_size);
}

uint32_t sound__channels(const struct sound *s)
{
    return (uint32_t)s->encoder->ch_layout.nb_channels;
}

void sound__free(struct sound **sp)
{
    struct sound *s = *sp;
    if (!s)
        return;
    avcodec_free_context(&s->decoder);
    avcodec_free_context(&s->encoder);
    swr_free(&s->resampler);
    if (s->queue)
        av_audio_fifo_free(s->queue);
    av_frame_free(&s->decoded);
    av_frame_free(&s->resampled);
    av_frame_free(&s->piece);
    av_packet_free(&s->packet);
    av_packet_free(&s->coded);
    free(s);
    *sp = NULL;
}

/* ---- feeding ------------------------------------------------------------------------------------------------------ */

static void take_encoded(struct sound *s)
{
    while (avcodec_receive_packet(s->encoder, s->packet) >= 0) {
        s->fn(s->ctx, wr_slice_of(s->packet->data, (size_t)s->packet->size), s->packet->pts,
              (uint32_t)s->encoder->frame_size);
        av_packet_unref(s->packet);
    }
}

/* Whole frames of 1,024 samples leave the queue. */
static void encode_waiting(struct sound *s)
{
    AVFrame *f = s->piece;
    int n = s->encoder->frame_size;
    while (av_audio_fifo_size(s->queue) >= n) {
        f->nb_samples = n;
        f->format = s->encoder->sample_fmt;
        f->sample_rate = SOUND_RATE;
        f->pts = s->next_pts;
        s->next_pts += n;
        if (av_channel_layout_copy(&f->ch_layout, &s->encoder->ch_layout) >= 0 &&
            av_frame_get_buffer(f, 0) >= 0 &&
            av_audio_fifo_read(s->queue, (void **)f->data, n) == n &&
            avcodec_send_frame(s->encoder, f) >= 0)
            take_encoded(s);
        else
            av_audio_fifo_drain(s->queue, n);
        av_frame_unref(f);
    }
}

/* The queue's clock counts samples; when the source's own is far from it, it is set anew. */
static void set_clock(struct sound *s, int64_t pts)
{
    int waiting = av_audio_fifo_size(s->queue);
    if (pts == INT64_MIN)
        pts = s->has_pts ? s->next_pts + waiting : 0;
    int64_t off = pts - (s->next_pts + waiting);
    if (s->has_pts && off <= JUMP && off >= -JUMP)
        return;
    av_audio_fifo_reset(s->queue);
    s->next_pts = pts;
    s->has_pts = true;
}

static void take_decoded(struct sound *s)
{
    AVFrame *out = s->resampled;
    av_frame_unref(out);
    out->sample_rate = SOUND_RATE;
    out->format = s->encoder->sample_fmt;
    if (av_channel_layout_copy(&out->ch_layout, &s->encoder->ch_layout) < 0)
        return;
    /* A camera that changes its rate mid-way: the resampler refuses (-EINVAL) and the frame is left out. */
    if (swr_convert_frame(s->resampler, out, s->decoded) < 0 || out->nb_samples == 0)
        return;
    if (av_audio_fifo_size(s->queue) < MAX_WAITING)
        av_audio_fifo_write(s->queue, (void **)out->extended_data, out->nb_samples);
}

void sound__feed(struct sound *s, struct wr_slice data, int64_t pts)
{
    set_clock(s, pts);
    /* A copy: libavcodec wants zeros behind it. */
    if (data.n > INT32_MAX / 2 || av_new_packet(s->coded, (int)data.n) < 0)
        return;
    memcpy(s->coded->data, data.p, data.n);
    int sent = avcodec_send_packet(s->decoder, s->coded);
    av_packet_unref(s->coded);
    if (sent < 0) {
        wr_debug("ingest.sound", "a packet of %zu bytes could not be decoded", data.n);
        return;
    }
    while (avcodec_receive_frame(s->decoder, s->decoded) >= 0) {
        take_decoded(s);
        av_frame_unref(s->decoded);
    }
    encode_waiting(s);
}

void sound__shift(struct sound *s, int64_t samples)
{
    if (s->has_pts)
        s->next_pts += samples;
}
