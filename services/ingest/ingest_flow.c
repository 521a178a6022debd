/* SPDX-License-Identifier: MIT
 *
 * The whole path of one coded frame through ingest, in order:
 *
 *     look     what is in it; parameter sets are learnt; frames without a picture end here
 *     epoch    at a keyframe: other parameter sets than the epoch's begin a new epoch (StreamEvent goes out first)
 *     time     one offset a stream; nothing before the first keyframe
 *     store    the stored form is written into a message, with headroom for everything that goes in front: the only copy
 *     publish  Event head in front, current group, the stream's pub socket */
#include "flow.h"

#include "aac.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <stdio.h>

WR_COUNTER(
    early, "watchroom_ingest_early_frames_total", NULL,
    "Frames left out: before the first keyframe, or sound whose time is far from the picture's");
WR_COUNTER(empty, "watchroom_ingest_empty_frames_total", NULL,
           "Frames left out because no picture or sound was in them");
WR_COUNTER(huge, "watchroom_ingest_huge_frames_total", NULL,
           "Frames left out because they are over 3 MiB");
WR_COUNTER(jumps, "watchroom_ingest_time_jumps_total", NULL,
           "Jumps of a source's clock that were evened out");

/* What the steps work on. */
struct work {
    struct flow *f;
    const struct flow_sample *in;
    bool video, key;
    struct wr_slice data; /* audio: without ADTS head */
    struct h264_unit unit;
    struct wr_media_frame out;
    struct wr_msg *msg;
};

/* ---- look --------------------------------------------------------------------------------------------------------- */

static bool look_video(struct work *w)
{
    h264__scan(&w->f->sets, w->in->data, w->f->framing, &w->unit);
    if (!w->unit.has_picture) {
        wr_count(&empty, 1);
        return false;
    }
    w->key = w->unit.is_idr || w->unit.is_recovery || w->in->key;
    return true;
}

static bool look_audio(struct work *w)
{
    struct aac_adts adts;
    w->data = w->in->data;
    if (aac__parse_adts(w->data, &adts)) {
        if (w->f->asc.n == 0 && !flow__set_audio(w->f, wr_slice_of(adts.asc, 2), 0, 0))
            return false;
        w->data = wr_slice_of(w->data.p + adts.head_bytes, adts.frame_bytes - adts.head_bytes);
    }
    if (w->data.n > 0 && w->f->asc.n > 0)
        return true;
    wr_count(&empty, 1);
    return false;
}

static bool step_look(struct work *w)
{
    return w->video ? look_video(w) : look_audio(w);
}

/* ---- epoch -------------------------------------------------------------------------------------------------------- */

static struct wr_track video_track(const struct flow *f)
{
    struct wr_track t = {.id = WR_TRACK_VIDEO,
                         .kind = WR_MEDIA_VIDEO,
                         .codec = WR_CODEC_H264,
                         .config = {f->avcc.p, f->avcc.n},
                         .timescale = FLOW_VIDEO_SCALE,
                         .width = f->sps.width,
                         .height = f->sps.height,
                         .fps_milli = f->fps_milli ? f->fps_milli : f->sps.fps_milli};
    char codec[16];
    h264__codec_string(t.config, codec);
    snprintf(t.codec_string, sizeof t.codec_string, "%s", codec);
    return t;
}

static struct wr_track audio_track(const struct flow *f)
{
    struct wr_track t = {.id = WR_TRACK_AUDIO,
                         .kind = WR_MEDIA_AUDIO,
                         .codec = WR_CODEC_AAC,
                         .config = {f->asc.p, f->asc.n},
                         .timescale = f->sample_rate,
                         .sample_rate = f->sample_rate,
                         .channels = f->channels};
    snprintf(t.codec_string, sizeof t.codec_string, "mp4a.40.%u", f->object_type);
    return t;
}

/* Constrained baseline has no reordering; others say it in their VUI, or it is learnt. */
static unsigned reorder_depth(const struct h264_sps *sps)
{
    return sps->profile != 66 && sps->max_reorder > 0 ? (unsigned)sps->max_reorder : 0;
}

static void begin_epoch(struct flow *f, uint32_t duration)
{
    struct wr_track tracks[2];
    size_t n = 0;
    if (f->has_video && !f->fps_milli && !f->sps.fps_milli && duration > 0)
        f->fps_milli = FLOW_VIDEO_SCALE * 1000u / duration;
    if (f->has_video)
        tracks[n++] = video_track(f);
    if (f->asc.n > 0)
        tracks[n++] = audio_track(f);
    /* Times begin near 0 again; what was learnt of how the two clocks differ stays. */
    int64_t skew = f->time.audio.skew;
    timeline__init(&f->time, f->has_video ? FLOW_VIDEO_SCALE : 0,
                   f->asc.n > 0 ? f->sample_rate : 0);
    f->time.audio.skew = skew;
    access__order_init(&f->order, reorder_depth(&f->sps));
    if (f->has_video && tracks[0].fps_milli)
        timeline__set_nominal(&f->time, true, FLOW_VIDEO_SCALE * 1000u / tracks[0].fps_milli);
    f->epoch = stream__begin_epoch(f->stream, tracks, n, f->note);
    f->seq = 0;
}

static bool step_epoch(struct work *w)
{
    struct flow *f = w->f;
    if (w->video && w->key) {
        struct h264_sps sps;
        if (!h264__avcc(&f->sets, w->unit.pps_id, &f->next_avcc, &sps)) {
            wr_count(&early, 1);
            return f->epoch !=
                   0; /* in the middle: old sets go on; at the start: wait for a keyframe with sets */
        }
        bool sound_is_new = f->asc.n > 0 && f->time.audio.timescale == 0;
        if (f->epoch == 0 || sound_is_new ||
            !wr_slice_eq(wr_slice_of(f->avcc.p, f->avcc.n),
                         wr_slice_of(f->next_avcc.p, f->next_avcc.n))) {
            wr_buf_clear(&f->avcc);
            wr_buf_add(&f->avcc, f->next_avcc.p, f->next_avcc.n);
            f->sps = sps;
            begin_epoch(f, w->in->duration);
        }
    } else if (!w->video && !f->has_video && f->epoch == 0) {
        begin_epoch(f, 0);
    }
    /* Sound whose configuration came with its first frame joins at the next keyframe's epoch. */
    if (f->epoch != 0 && (w->video || f->time.audio.timescale != 0))
        return true;
    wr_count(&early, 1);
    return false;
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

/* RTP tells when to show a picture, not when to decode it. */
static int64_t decoding_time(struct work *w)
{
    if (!w->video || w->in->dts != TIMELINE_NONE || w->in->pts == TIMELINE_NONE)
        return w->in->dts;
    return access__order(&w->f->order, w->in->pts, w->f->time.video.nominal);
}

static bool step_time(struct work *w)
{
    struct flow *f = w->f;
    uint64_t rebased = f->time.rebased;
    w->out = (struct wr_media_frame){.epoch = f->epoch,
                                     .track = w->video ? WR_TRACK_VIDEO : WR_TRACK_AUDIO,
                                     .key = w->video ? w->key : true,
                                     .dts = decoding_time(w),
                                     .pts = w->in->pts,
                                     .duration = w->in->duration,
                                     .arrival_us = wr_wall_us(),
                                     .camera_us = w->in->camera_us};
    bool keep = timeline__map(&f->time, w->video, w->key, &w->out.dts, &w->out.pts,
                              &w->out.duration, wr_mono_us());
    if (f->time.rebased != rebased) {
        wr_count(&jumps, 1);
        wr_warn("ingest.jump", "stream=%s track=%u the source's clock jumped; evened out",
                f->stream->name, w->out.track);
    }
    if (!keep)
        wr_count(&early, 1);
    return keep;
}

/* ---- store -------------------------------------------------------------------------------------------------------- */

static bool step_store(struct work *w)
{
    const struct stream *s = w->f->stream;
    /* Sets that changed between keyframes stay in the data: a decoder takes them there, and the epoch's avcC follows at
     * the next keyframe. */
    bool keep_sets = w->video && !w->key && w->unit.sets_changed;
    size_t n = !w->video ? w->data.n : w->unit.bytes + (keep_sets ? w->unit.sets_bytes : 0);
    if (n > WR_MEDIA_MAX_FRAME_BYTES) {
        wr_count(&huge, 1);
        return false;
    }
    w->msg = wr_msg_new(wr_media_headroom(s->instance, s->name), n);
    if (!w->msg)
        return false;
    if (w->video)
        h264__store(w->in->data, w->f->framing, keep_sets, w->msg->data);
    else
        memcpy(w->msg->data, w->data.p, n);
    return true;
}

/* ---- publish ------------------------------------------------------------------------------------------------------ */

static bool step_publish(struct work *w)
{
    w->out.seq = w->f->seq++;
    stream__publish(w->f->stream, &w->out, w->msg);
    return true;
}

/* ------------------------------------------------------------------------------------------------------------------- */

static bool (*const steps[])(struct work *w) = {step_look, step_epoch, step_time, step_store,
                                                step_publish};

static void run(struct work *w)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(steps) && steps[i](w); i++)
        ;
}

void flow__video(struct flow *f, const struct flow_sample *sample)
{
    struct work w = {.f = f, .in = sample, .video = true};
    run(&w);
}

void flow__audio(struct flow *f, const struct flow_sample *sample)
{
    struct work w = {.f = f, .in = sample};
    run(&w);
}

void flow__init(struct flow *f, struct stream *s)
{
    *f = (struct flow){.stream = s};
}

void flow__set_video(struct flow *f, struct wr_slice config, uint32_t fps_milli)
{
    f->has_video = true;
    f->fps_milli = fps_milli;
    f->framing = h264__sets_learn_config(&f->sets, config);
}

bool flow__set_audio(struct flow *f, struct wr_slice asc, uint32_t sample_rate, uint32_t channels)
{
    struct aac_config c;
    f->has_audio = true;
    if (asc.n == 0) /* the first ADTS head will tell */
        return true;
    if (asc.n > 64 || !aac__parse_config(asc, &c))
        return false;
    wr_buf_clear(&f->asc);
    wr_buf_slice(&f->asc, asc);
    f->object_type = c.object_type;
    f->sample_rate = sample_rate ? sample_rate : c.sample_rate;
    f->channels = channels ? channels : c.channels;
    return true;
}

void flow__fini(struct flow *f)
{
    h264__sets_free(&f->sets);
    wr_buf_free(&f->avcc);
    wr_buf_free(&f->next_avcc);
    wr_buf_free(&f->asc);
}
