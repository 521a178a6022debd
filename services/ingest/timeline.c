/* SPDX-License-Identifier: MIT
 *
 * See timeline.h. Rules: no dts: the pts, else last + duration. Not after the last: last + 1. More than 1.5 s away from
 * where it should be: video moves the offset for all; sound waits for the video to move too, and only after 5 s of that
 * gets a correction of its own, counted from the video's time (a camera whose two clocks have nothing in common). */
#include "timeline.h"

#define JUMP_US 1500000
#define LOST_US 5000000

void timeline__init(struct timeline *t, uint32_t video_scale, uint32_t audio_scale)
{
    *t = (struct timeline){.has_video = video_scale > 0};
    t->video = (struct timeline_track){.timescale = video_scale,
                                       .nominal = WR_MAX(video_scale / 25, 1)};
    t->audio = (struct timeline_track){.timescale = audio_scale, .nominal = 1024};
}

void timeline__set_nominal(struct timeline *t, bool video, uint32_t duration)
{
    if (duration > 0)
        *(video ? &t->video.nominal : &t->audio.nominal) = duration;
}

/* Ticks and microseconds; no overflow for any 64-bit tick that a 33-bit or 64-bit counter of a source can have. */
static int64_t to_us(int64_t ticks, uint32_t scale)
{
    int64_t s = ticks / scale, rest = ticks % scale;
    if (s > INT64_MAX / 4000000 || s < INT64_MIN / 4000000)
        return 0;
    return s * 1000000 + rest * 1000000 / scale;
}

static int64_t to_ticks(int64_t us, uint32_t scale)
{
    return us / 1000000 * scale + us % 1000000 * scale / 1000000;
}

static int64_t expected(const struct timeline_track *k)
{
    return k->last + (k->last_duration > 0 ? k->last_duration : k->nominal);
}

static int64_t away_us(const struct timeline_track *k, int64_t dts)
{
    int64_t d = to_us(dts - expected(k), k->timescale);
    return d < 0 ? -d : d;
}

/* False: leave the frame out. *dts is already without the offset. */
static bool settle_audio(struct timeline *t, int64_t *dts, int64_t now_us)
{
    struct timeline_track *k = &t->audio;
    *dts += k->skew;
    int64_t video_us = t->has_video && t->video.has_last ? to_us(t->video.last, t->video.timescale)
                                                         : 0;
    int64_t off_us = to_us(*dts, k->timescale) - video_us;
    bool far = k->has_last ? away_us(k, *dts) > JUMP_US : false;
    if (t->has_video && t->video.has_last)
        far |= off_us > JUMP_US || off_us < -JUMP_US;
    if (!far) {
        k->lost_since_us = 0;
        return true;
    }
    if (!t->has_video) { /* alone: it is the clock */
        t->offset_us_num += to_us(*dts - expected(k), k->timescale);
        *dts = expected(k);
        t->rebased++;
        return true;
    }
    if (k->lost_since_us == 0)
        k->lost_since_us = now_us;
    if (now_us - k->lost_since_us < LOST_US) {
        t->dropped++;
        return false;
    }
    k->skew -= to_ticks(off_us, k->timescale);
    *dts -= to_ticks(off_us, k->timescale);
    k->lost_since_us = 0;
    t->rebased++;
    return true;
}

static void settle_video(struct timeline *t, int64_t *dts)
{
    struct timeline_track *k = &t->video;
    if (!k->has_last || away_us(k, *dts) <= JUMP_US)
        return;
    t->offset_us_num += to_us(*dts - expected(k), k->timescale);
    *dts = expected(k);
    t->rebased++;
}

static bool start(struct timeline *t, bool video, bool key, int64_t dts, uint32_t scale)
{
    if (t->has_video && (!video || !key))
        return false;
    t->offset_us_num = to_us(dts, scale);
    t->started = true;
    return true;
}

bool timeline__map(struct timeline *t, bool video, bool key, int64_t *dts, int64_t *pts,
                   uint32_t *duration, int64_t now_us)
{
    struct timeline_track *k = video ? &t->video : &t->audio;
    int64_t in = *dts != TIMELINE_NONE ? *dts : *pts, reorder = 0;
    if (in != TIMELINE_NONE && *pts != TIMELINE_NONE)
        reorder = *pts - in;
    if (!t->started && !start(t, video, key, in != TIMELINE_NONE ? in : 0, k->timescale)) {
        t->dropped++;
        return false;
    }
    int64_t out = in != TIMELINE_NONE ? in - to_ticks(t->offset_us_num, k->timescale)
                  : k->has_last       ? expected(k)
                                      : 0;
    if (in != TIMELINE_NONE) {
        if (video)
            settle_video(t, &out);
        else if (!settle_audio(t, &out, now_us))
            return false;
    }
    if (!video && out < 0) { /* sound before the first picture */
        t->dropped++;
        return false;
    }
    /* More than 10 s between decoding and showing is no reordering but nonsense. */
    if (to_us(reorder, k->timescale) > 10000000 || reorder < 0)
        reorder = 0;
    int64_t show = out + reorder;
    if (k->has_last && out <= k->last) {
        out = k->last + 1;
        t->bumped++;
    }
    *duration = *duration ? *duration : k->nominal;
    k->last = out;
    k->last_duration = *duration;
    k->has_last = true;
    *dts = out;
    *pts = WR_MAX(show, out);
    return true;
}
