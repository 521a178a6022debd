/* SPDX-License-Identifier: MIT
 *
 * The whole path of one coded frame through ingest, in order:
 *
 *     look     the codec looks through it and learns; frames without a picture or sound end here
 *     time     one offset a connection; nothing before the first keyframe; then the stream's own time line
 *     store    the stored form is written into a message, with headroom for everything that goes in front: the only copy
 *     epoch    at a key of the track that leads: other tracks or other configuration begin a new epoch
 *     publish  the frame gets its numbers and goes to the stream's sinks
 *
 * Which tracks an epoch has: those of which frames come. A track that is only promised is waited for at the very start, half a
 * second after the first keyframe at most; later it joins by a new epoch, and one that falls silent for 2 s while others go on
 * leaves by one. */
#include "flow.h"

#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(
    early, "watchroom_ingest_early_frames_total", NULL,
    "Frames left out: before the first keyframe, or sound whose time is far from the picture's");
WR_COUNTER(empty, "watchroom_ingest_empty_frames_total", NULL,
           "Frames left out because no picture or sound was in them");
WR_COUNTER(huge, "watchroom_ingest_huge_frames_total", NULL,
           "Frames left out because they are over 3 MiB");
WR_COUNTER(jumps, "watchroom_ingest_time_jumps_total", NULL,
           "Jumps of a source's clock that were evened out");
WR_COUNTER(silent, "watchroom_ingest_silent_tracks_total", NULL,
           "Tracks that left their stream because they were silent while others went on");

#define PROMISE_US 500000 /* so long the first keyframe waits for promised tracks */
#define SILENT_US 2000000
#define STEP_US 1000000 /* a pause of all tracks is nobody's silence: of it so much counts */

/* What the steps work on. */
struct work {
    struct flow *f;
    struct flow_track *k;
    size_t track; /* index */
    const struct flow_sample *in;
    struct codec_unit unit;
    bool key;
    int64_t now_us;
    struct wr_media_frame out;
    struct wr_msg *msg;
};

static bool is_video(const struct flow_track *k)
{
    return wr_codec_kind(k->codec->codec) == WR_MEDIA_VIDEO;
}

/* a * to / from without overflow for any time that makes sense. */
static int64_t rescale(int64_t v, uint32_t from, uint32_t to)
{
    if (v == TIMELINE_NONE || from == 0 || from == to)
        return v;
    return v / from * to + v % from * to / from;
}

/* ---- look --------------------------------------------------------------------------------------------------------- */

/* At a key: what a decoder needs from here on. */
static bool take_config(struct work *w)
{
    struct flow_track *k = w->k;
    struct codec_facts facts;
    struct wr_buf next = {.n = 0};
    if (!k->codec->config(k->state, &w->unit, &next, &facts)) {
        wr_buf_free(&next);
        return k->configured; /* in the middle: the old one goes on */
    }
    bool same = k->configured &&
                wr_slice_eq(wr_slice_of(k->next.p, k->next.n), wr_slice_of(next.p, next.n)) &&
                k->facts.timescale == facts.timescale && k->facts.channels == facts.channels;
    if (!same) {
        wr_buf_free(&k->next);
        k->next = next;
        next = (struct wr_buf){.n = 0};
        k->facts = facts;
        if (!k->configured)
            units__order_init(&k->order, facts.reorder);
        k->configured = true;
        k->changed = true;
        if (!k->fps_milli && !facts.fps_milli && is_video(k) && w->in->duration > 0 && k->clock > 0)
            k->fps_milli = (uint32_t)WR_MIN((uint64_t)k->clock * 1000 / w->in->duration, 240000u);
        uint32_t fps = k->fps_milli ? k->fps_milli : facts.fps_milli;
        timeline__join(&w->f->time, w->track, facts.timescale,
                       !is_video(k) ? WR_MAX(w->unit.duration, 1)
                       : fps        ? facts.timescale * 1000u / fps
                                    : facts.timescale / 25);
    }
    wr_buf_free(&next);
    return true;
}

static bool step_look(struct work *w)
{
    struct flow_track *k = w->k;
    k->codec->scan(k->state, w->in->data, &w->unit);
    if (!w->unit.has_media) {
        wr_count(&empty, 1);
        return false;
    }
    if (!w->f->time.started)
        k->silent_us = 0; /* it waits for its keyframe, but it speaks */
    w->key = w->unit.key || w->in->key;
    if (w->key ? take_config(w) : k->configured) {
        k->ready |= !w->f->time.started;
        return true;
    }
    wr_count(&early, 1); /* no keyframe with parameter sets yet */
    return false;
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

/* RTP tells when to show a picture, not when to decode it. */
static int64_t decoding_time(struct work *w, int64_t pts)
{
    int64_t dts = rescale(w->in->dts, w->k->clock, w->k->facts.timescale);
    if (!is_video(w->k) || dts != TIMELINE_NONE || pts == TIMELINE_NONE)
        return dts;
    return units__order(&w->k->order, pts, w->f->time.tracks[w->track].nominal);
}

static uint32_t duration_of(const struct work *w)
{
    if (w->unit.duration > 0)
        return w->unit.duration;
    return (uint32_t)rescale(w->in->duration, w->k->clock, w->k->facts.timescale);
}

/* Who leads: the first picture that is there, else the first sound, else the first picture that was promised. */
static size_t leading(const struct flow *f)
{
    size_t lead = WR_TRACKS_MAX;
    for (size_t i = 0; i < f->n; i++) {
        const struct flow_track *k = &f->tracks[i];
        bool counts = k->ready || (f->epoch == 0 && is_video(k) && k->silent_us < SILENT_US);
        if (counts && is_video(k))
            return i;
        if (counts && lead == WR_TRACKS_MAX)
            lead = i;
    }
    return lead == WR_TRACKS_MAX ? 0 : lead;
}

static bool step_time(struct work *w)
{
    struct flow *f = w->f;
    uint64_t rebased = f->time.rebased;
    int64_t pts = rescale(w->in->pts, w->k->clock, w->k->facts.timescale);
    uint32_t duration = duration_of(w);
    int64_t dts = decoding_time(w, pts);
    bool was_started = f->time.started;
    timeline__lead(&f->time, leading(f));
    bool keep = timeline__map(&f->time, w->track, w->key, &dts, &pts, &duration, w->now_us);
    if (f->time.rebased != rebased) {
        wr_count(&jumps, 1);
        wr_warn("ingest.jump", "stream=%s track=%zu the source's clock jumped; evened out",
                f->stream->name, w->track + 1);
    }
    if (!keep) {
        wr_count(&early, 1);
        return false;
    }
    if (!was_started)
        f->base_us = stream__time(f->stream);
    w->k->ready = true;
    w->k->silent_us = 0;
    int64_t base = wr_media_ticks(f->base_us, w->k->facts.timescale);
    w->out = (struct wr_media_frame){.track = (uint32_t)w->track + 1,
                                     .key = w->key,
                                     .dts = base + dts,
                                     .pts = base + pts,
                                     .duration = duration,
                                     .arrival_us = wr_wall_us(),
                                     .camera_us = w->in->camera_us};
    return true;
}

/* ---- store -------------------------------------------------------------------------------------------------------- */

static bool step_store(struct work *w)
{
    const struct stream *s = w->f->stream;
    /* Sets that changed between keyframes stay in the data: a decoder takes them there, and the epoch's configuration
     * follows at the next keyframe. */
    bool keep_sets = !w->key && w->unit.sets_changed;
    size_t n = w->unit.bytes + (keep_sets ? w->unit.sets_bytes : 0);
    if (n == 0 || n > WR_MEDIA_MAX_FRAME_BYTES) {
        wr_count(n ? &huge : &empty, 1);
        return false;
    }
    w->msg = wr_msg_new(wr_media_headroom(s->instance, s->name), n);
    if (!w->msg)
        return false;
    uint8_t *end = w->k->codec->store(w->k->state, &w->unit, keep_sets, w->msg->data);
    assert(end == w->msg->data + n);
    (void)end;
    return true;
}

/* ---- publish ------------------------------------------------------------------------------------------------------ */

/* Keys of the track that leads begin groups; sound alone begins one a second. A group is never shown before the one before. */
static bool begins_group(struct flow *f, const struct flow_held *h)
{
    const struct flow_track *k = &f->tracks[h->track];
    if (h->track != f->lead || !h->frame.key)
        return false;
    int64_t second = h->frame.dts / k->facts.timescale;
    if (!is_video(k) && f->seq > 0 && second == f->second)
        return false;
    f->second = second;
    return true;
}

/* Moves h->msg. */
static void publish(struct flow *f, struct flow_held *h)
{
    struct flow_track *k = &f->tracks[h->track];
    /* It joins with the next epoch; or its sample rate changed, and its times have no meaning before that. */
    if (!k->listed || k->listed_scale != k->facts.timescale) {
        wr_count(&early, 1);
        wr_msg_unref(h->msg);
        return;
    }
    bool begins = begins_group(f, h);
    if (begins && is_video(k)) {
        h->frame.pts = WR_MAX(h->frame.pts, f->key_pts);
        f->key_pts = h->frame.pts;
    }
    h->frame.epoch = f->epoch;
    h->frame.seq = f->seq++;
    h->frame.time_us = wr_media_us(h->frame.pts, k->facts.timescale);
    stream__publish(f->stream, &h->frame, begins,
                    h->frame.duration * (int64_t)1000000 / k->facts.timescale, h->msg);
}

static bool step_publish(struct work *w)
{
    struct flow_held h = {w->track, w->out, w->msg};
    w->msg = NULL;
    publish(w->f, &h);
    return true;
}

/* ---- epoch -------------------------------------------------------------------------------------------------------- */

static struct wr_track describe(const struct flow_track *k, size_t i)
{
    struct wr_track t = {.id = (uint32_t)i + 1,
                         .kind = wr_codec_kind(k->codec->codec),
                         .codec = k->codec->codec,
                         .config = {k->config.p, k->config.n},
                         .timescale = k->facts.timescale,
                         .width = k->facts.width,
                         .height = k->facts.height,
                         .fps_milli = k->fps_milli ? k->fps_milli : k->facts.fps_milli,
                         .sample_rate = k->facts.sample_rate,
                         .channels = k->facts.channels,
                         .made_from = k->made_from};
    k->codec->string(t.config, t.codec_string);
    snprintf(t.label, sizeof t.label, "%s", k->label);
    snprintf(t.language, sizeof t.language, "%s", k->language);
    snprintf(t.rendition, sizeof t.rendition, "%s", k->rendition);
    return t;
}

static void begin_epoch(struct flow *f)
{
    struct wr_track tracks[WR_TRACKS_MAX];
    size_t n = 0;
    f->lead = leading(f);
    for (size_t i = 0; i < f->n; i++) {
        struct flow_track *k = &f->tracks[i];
        k->listed = k->ready;
        k->listed_scale = k->facts.timescale;
        if (!k->listed)
            continue;
        if (k->changed) {
            wr_buf_clear(&k->config);
            wr_buf_slice(&k->config, wr_slice_of(k->next.p, k->next.n));
            k->changed = false;
        }
        tracks[n++] = describe(k, i);
    }
    f->epoch = stream__begin_epoch(f->stream, tracks, n, f->note);
    f->seq = 0;
}

static bool is_promise_open(const struct flow *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->tracks[i].ready)
            return true;
    return false;
}

/* The first epoch: what was held goes out, in order. */
static void begin_with_held(struct flow *f)
{
    begin_epoch(f);
    for (size_t i = 0; i < f->num_held; i++)
        publish(f, &f->held[i]);
    f->num_held = 0;
    f->held_since_us = 0;
}

static bool hold(struct work *w)
{
    struct flow *f = w->f;
    f->held[f->num_held++] = (struct flow_held){w->track, w->out, w->msg};
    w->msg = NULL;
    return false;
}

/* Before the first epoch. The timeline has started, so the key that leads was there. */
static bool start_epoch(struct work *w)
{
    struct flow *f = w->f;
    if (f->held_since_us == 0)
        f->held_since_us = w->now_us;
    if (is_promise_open(f) && w->now_us - f->held_since_us < PROMISE_US &&
        f->num_held < FLOW_MAX_HELD)
        return hold(w);
    begin_with_held(f);
    return true;
}

/* Others go on while these say nothing. A camera of few pictures is not silent between two of them. */
static void find_silent(struct work *w)
{
    struct flow *f = w->f;
    int64_t step = f->last_us ? WR_MIN(w->now_us - f->last_us, STEP_US) : 0;
    f->last_us = w->now_us;
    for (size_t i = 0; i < f->n; i++) {
        struct flow_track *k = &f->tracks[i];
        if (i == w->track)
            continue;
        k->silent_us += step;
        const struct timeline_track *t = &f->time.tracks[i];
        int64_t usual = t->timescale ? wr_media_us(t->last_duration, t->timescale) : 0;
        if (!k->ready || k->silent_us < WR_MAX(SILENT_US, 3 * usual))
            continue;
        k->ready = false;
        timeline__leave(&f->time, i);
        wr_count(&silent, 1);
        wr_warn("ingest.silent",
                "stream=%s track=%zu codec=%s nothing for %lld ms while others go on",
                f->stream->name, i + 1, wr_codec_name(k->codec->codec),
                (long long)(k->silent_us / 1000));
    }
}

static bool is_other_epoch(const struct flow *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->tracks[i].ready != f->tracks[i].listed ||
            (f->tracks[i].listed && f->tracks[i].changed))
            return true;
    return false;
}

static bool step_epoch(struct work *w)
{
    struct flow *f = w->f;
    if (f->epoch == 0)
        return start_epoch(w);
    if (w->key && w->track == leading(f) && is_other_epoch(f))
        begin_epoch(f);
    return true;
}

/* ------------------------------------------------------------------------------------------------------------------- */

static bool (*const steps[])(struct work *w) = {step_look, step_time, step_store, step_epoch,
                                                step_publish};

void flow__take(struct flow *f, uint32_t id, const struct flow_sample *sample)
{
    assert(id > 0 && id <= f->n);
    struct work w = {
        .f = f, .k = &f->tracks[id - 1], .track = id - 1, .in = sample, .now_us = wr_mono_us()};
    find_silent(&w);
    for (size_t i = 0; i < WR_ARRAY_LEN(steps) && steps[i](&w); i++)
        ;
    wr_msg_unref(w.msg);
}

void flow__init(struct flow *f, struct stream *s)
{
    *f = (struct flow){.stream = s};
}

static void free_track(struct flow_track *k)
{
    if (k->codec && k->codec->fini && k->state)
        k->codec->fini(k->state);
    free(k->state);
    wr_buf_free(&k->config);
    wr_buf_free(&k->next);
    *k = (struct flow_track){.codec = NULL};
}

uint32_t flow__add(struct flow *f, const struct flow_spec *spec)
{
    if (f->n == WR_TRACKS_MAX || f->epoch != 0)
        return 0;
    struct flow_track *k = &f->tracks[f->n];
    k->codec = spec->codec;
    k->clock = spec->clock;
    k->fps_milli = spec->fps_milli;
    k->made_from = spec->made_from;
    snprintf(k->label, sizeof k->label, "%s", spec->label ? spec->label : "");
    snprintf(k->language, sizeof k->language, "%s", spec->language ? spec->language : "");
    snprintf(k->rendition, sizeof k->rendition, "%s", spec->rendition ? spec->rendition : "");
    k->state = calloc(1, spec->codec->state_bytes);
    if (!k->state || !spec->codec->learn(k->state, &spec->hint)) {
        free_track(k);
        return 0;
    }
    return (uint32_t)++f->n;
}

void flow__fini(struct flow *f)
{
    for (size_t i = 0; i < f->num_held; i++)
        wr_msg_unref(f->held[i].msg);
    for (size_t i = 0; i < f->n; i++)
        free_track(&f->tracks[i]);
    *f = (struct flow){.n = 0};
}
