/* SPDX-License-Identifier: MIT
 *
 * A stream's frames as they come over the bus: numbers are checked, gaps are filled from ingest's current group or end at
 * the next keyframe, epochs follow each other in one time that never steps back. Then each active format gets the frame.
 * Bytes from the bus are checked like bytes from outside. */
#include "live_priv.h"

#include "watchroom/v1/bus.pb-c.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_pb.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(gaps, "watchroom_live_gaps_total", NULL,
           "Times that frames of a stream did not arrive in order of their numbers");
WR_COUNTER(filled, "watchroom_live_gaps_filled_total", NULL,
           "Gaps that were filled from the current group without a loss");
WR_COUNTER(jumped, "watchroom_live_gaps_jumped_total", NULL,
           "Gaps that ended at the next keyframe");
WR_COUNTER(outgrown, "watchroom_live_group_outgrown_total", NULL,
           "Groups of pictures too long to keep: viewers who join then wait for the next keyframe");
WR_COUNTER(bad, "watchroom_live_bad_events_total", NULL,
           "Events of streams that could not be understood");
WR_COUNTER(frames, "watchroom_live_frames_total", NULL,
           "Coded frames taken from the bus and played");
WR_HISTOGRAM(age, "watchroom_live_frame_age_seconds", "at=\"gateway\"",
             "Age of a frame (since ingest had it) when the gateway got it");

/* ---- lists of frames ---------------------------------------------------------------------------------------------- */

bool items__add(struct live_items *l, const struct wr_media_frame *f, struct wr_msg *msg)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 128;
        struct live_item *v = realloc(l->v, cap * sizeof *v);
        if (!v)
            return false;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = (struct live_item){wr_msg_ref(msg), *f};
    l->bytes += f->data.n;
    return true;
}

void items__clear(struct live_items *l)
{
    for (size_t i = 0; i < l->n; i++)
        wr_msg_unref(l->v[i].msg);
    l->n = 0;
    l->bytes = 0;
}

void items__free(struct live_items *l)
{
    items__clear(l);
    free(l->v);
    *l = (struct live_items){.n = 0};
}

/* ---- epochs ------------------------------------------------------------------------------------------------------- */

static const struct wr_track *track_of(const struct live_stream *s, uint32_t track)
{
    for (size_t i = 0; i < s->num_tracks; i++)
        if (s->tracks[i].t.id == track)
            return &s->tracks[i].t;
    return NULL;
}

static void copy_tracks(struct live_track *to, const struct live_track *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i].t = from[i].t;
        wr_buf_clear(&to[i].config);
        wr_buf_add(&to[i].config, from[i].config.p, from[i].config.n);
        to[i].t.config = wr_slice_of(to[i].config.p, to[i].config.n);
    }
}

static void forget_group(struct live_stream *s)
{
    items__clear(&s->group);
    s->group_whole = false;
}

static void begin_epoch(struct live_stream *s)
{
    copy_tracks(s->tracks, s->told_tracks, s->num_told_tracks);
    s->num_tracks = s->num_told_tracks;
    s->epoch = s->told_epoch;
    s->next_seq = 0;
    s->synced = false;
    s->base_us = s->end_us;
    forget_group(s);
    for (size_t i = 0; i < s->live->num_outputs; i++)
        output__new_epoch(&s->outs[i]);
}

/* The source is gone: who joins now waits for the next epoch; who watches keeps what is queued. */
static void end_epoch(struct live_stream *s)
{
    s->told_epoch = 0;
    s->synced = false;
    forget_group(s);
    items__clear(&s->held);
    for (size_t i = 0; i < s->live->num_outputs; i++)
        output__forget(&s->outs[i]);
}

void intake__forget(struct live_stream *s)
{
    end_epoch(s);
    s->epoch = 0;
    s->end_us = 0;
    s->told_retrying = false;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

static bool begins(const struct live_stream *s, const struct wr_media_frame *f)
{
    return live__has_video(s) ? f->key && f->track == WR_TRACK_VIDEO : true;
}

/* More than a century after the first viewer came: no camera's clock, and microseconds of it would overflow. */
static bool is_far(const struct live_stream *s, const struct wr_track *t,
                   const struct wr_media_frame *f)
{
    return f->dts / t->timescale + s->base_us / 1000000 > (int64_t)1 << 32;
}

/* Decoding can go on with this frame: viewers get it. */
static void play(struct live_stream *s, const struct wr_media_frame *in, struct wr_msg *msg)
{
    struct wr_media_frame f = *in;
    const struct wr_track *t = track_of(s, f.track);
    bool first = begins(s, in);
    s->next_seq = f.seq + 1;
    s->synced = true;
    if (!t)
        return;
    if (is_far(s, t, in)) {
        wr_count(&bad, 1);
        return;
    }
    int64_t end = (f.dts + f.duration) / t->timescale * 1000000 +
                  (f.dts + f.duration) % t->timescale * 1000000 / t->timescale;
    s->end_us = WR_MAX(s->end_us, end);
    if (first) {
        items__clear(&s->group);
        s->group_whole = true;
    }
    if (s->group_whole && (s->group.bytes + f.data.n > LIVE_GROUP_BYTES ||
                           s->group.n >= LIVE_GROUP_FRAMES || !items__add(&s->group, &f, msg))) {
        forget_group(s);
        wr_count(&outgrown, 1);
    }
    for (size_t i = 0; i < s->live->num_outputs; i++)
        if (s->outs[i].viewers > 0)
            output__frame(&s->outs[i], &f, msg, first);
    wr_count(&frames, 1);
}

static void ask_group(struct live_stream *s)
{
    if (!s->want_group) {
        s->want_group = true;
        live__poke(s->live);
    }
}

static void hold(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg)
{
    if (s->held.n >= LIVE_HELD_FRAMES || s->held.bytes + f->data.n > LIVE_GROUP_BYTES)
        items__clear(&s->held);
    (void)items__add(&s->held, f, msg); /* memory is out: one more lost frame */
    ask_group(s);
}

/* What was held and follows now. The rest is older, or behind another gap that the next frame will show. */
static void play_held(struct live_stream *s)
{
    for (size_t i = 0; i < s->held.n; i++) {
        struct live_item *k = &s->held.v[i];
        if (k->f.epoch == s->epoch && s->synced && k->f.seq == s->next_seq)
            play(s, &k->f, k->msg);
    }
    items__clear(&s->held);
}

/* Numbers in range and times that a container can carry. */
static bool is_sane(const struct wr_media_frame *f)
{
    const int64_t far = (int64_t)1 << 55;
    return f->dts >= 0 && f->dts < far && f->pts >= f->dts - (1 << 24) && f->pts < far &&
           f->epoch != 0 && f->data.n <= WR_MEDIA_MAX_FRAME_BYTES && f->duration < 1u << 30;
}

void intake__frame(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg)
{
    if (s->viewers == 0)
        return;
    if (!is_sane(f)) {
        wr_count(&bad, 1);
        return;
    }
    if (f->epoch != s->epoch) {
        if (f->epoch != s->told_epoch || s->told_epoch == 0) {
            hold(s, f, msg); /* its StreamEvent was lost: the answer will tell of the epoch */
            return;
        }
        begin_epoch(s);
    }
    if (f->seq < s->next_seq)
        return; /* was in the group already */
    bool gap = f->seq > s->next_seq;
    if (s->synced && !gap) {
        play(s, f, msg);
    } else if (begins(s, f)) {
        if (gap && s->next_seq > 0) {
            wr_count(&gaps, s->synced);
            wr_count(&jumped, 1);
        }
        items__clear(&s->held);
        play(s, f, msg);
    } else {
        wr_count(&gaps, s->synced);
        s->synced = false;
        hold(s, f, msg);
    }
}

/* Ingest's current group, in order. */
static void take_group_frame(struct live_stream *s, const struct wr_media_frame *f,
                             struct wr_msg *msg)
{
    if (f->epoch != s->epoch || f->seq < s->next_seq || !is_sane(f))
        return;
    if (f->seq == s->next_seq && (s->synced || s->next_seq > 0)) {
        wr_count(&filled, !s->synced);
        play(s, f, msg);
    } else if (begins(s, f) && !s->synced) {
        wr_count(&jumped, s->next_seq > 0);
        play(s, f, msg);
    }
}

/* ---- what ingest tells -------------------------------------------------------------------------------------------- */

void intake__set_state(struct live_stream *s, enum live_state state, const char *reason)
{
    bool changed = s->state != state || strcmp(s->reason, reason) != 0;
    s->state = state;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    if (s->viewers == 0)
        return;
    if (state == LIVE_RETRYING)
        for (size_t i = 0; i < s->live->num_outputs; i++)
            output__refuse_waiting(&s->outs[i], s->reason);
    if (!changed || !(state == LIVE_RETRYING || (state == LIVE_LIVE && s->told_retrying)))
        return;
    s->told_retrying = state == LIVE_RETRYING;
    struct wr_frame *f = viewer__state_frame(s);
    if (f)
        (void)wr_fanout_send(s->tell, &f, 1, LIVE_WS); /* a full inbox: the next change tells */
    wr_frame_unref(f);
}

static bool take_track(struct live_track *to, const Watchroom__V1__Track *t)
{
    if (t->track == 0 || t->timescale == 0 || t->timescale > 10000000 || t->config.len > 65536)
        return false;
    to->t = (struct wr_track){.id = t->track,
                              .codec = (enum wr_codec)t->codec,
                              .timescale = t->timescale,
                              .width = t->width,
                              .height = t->height,
                              .fps_milli = t->fps_milli,
                              .sample_rate = t->sample_rate,
                              .channels = t->channels};
    wr_buf_clear(&to->config);
    wr_buf_add(&to->config, t->config.data, t->config.len);
    to->t.config = wr_slice_of(to->config.p, to->config.n);
    /* It goes into MIME types and JSON: nothing but what RFC 6381 needs. */
    size_t n = strspn(t->codec_string,
                      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    snprintf(to->t.codec_string, sizeof to->t.codec_string, "%.*s", (int)n, t->codec_string);
    return !to->config.failed;
}

static void take_summary(struct live_stream *s)
{
    s->video[0] = s->audio[0] = 0;
    s->width = s->height = s->fps_milli = 0;
    for (size_t i = 0; i < s->num_told_tracks; i++) {
        const struct wr_track *t = &s->told_tracks[i].t;
        if (t->id == WR_TRACK_VIDEO) {
            snprintf(s->video, sizeof s->video, "%s", t->codec_string);
            s->width = t->width;
            s->height = t->height;
            s->fps_milli = t->fps_milli;
        } else {
            snprintf(s->audio, sizeof s->audio, "%s", t->codec_string);
        }
    }
}

static enum live_state state_of(const Watchroom__V1__StreamInfo *i)
{
    return i->state >= 1 && i->state <= 4 ? (enum live_state)i->state : LIVE_UNKNOWN;
}

/* Under the lock. */
static void take_info(struct live_stream *s, const Watchroom__V1__StreamInfo *info)
{
    if (info->epoch == 0) {
        if (s->told_epoch != 0)
            end_epoch(s);
    } else if (info->epoch != s->told_epoch) {
        s->num_told_tracks = 0;
        for (size_t i = 0; i < info->n_tracks && s->num_told_tracks < 2; i++)
            s->num_told_tracks += take_track(&s->told_tracks[s->num_told_tracks], info->tracks[i]);
        s->told_epoch = info->epoch;
        take_summary(s);
    }
    intake__set_state(
        s, state_of(info),
        info->reason); /* text before the MIME type, not between it and the pictures */
    if (s->viewers > 0 && s->told_epoch != 0 && s->epoch != s->told_epoch)
        begin_epoch(s);
}

static void take_event_url(struct live_stream *s, const char *told, const char *instance)
{
    char dialled[512], url[512];
    if (told[0] && wr_bus_service_address(s->live->env.ingest, instance, dialled, sizeof dialled) &&
        wr_bus_resolve_url(told, dialled, url, sizeof url))
        snprintf(s->event_url, sizeof s->event_url, "%s", url);
}

void intake__handle_event(void *ctx, struct wr_slice topic, struct wr_slice event,
                          struct wr_msg *msg)
{
    struct live_stream *s = ctx;
    struct wr_media_frame f;
    (void)topic;
    wr_err e = wr_media_event_read(event, &f);
    if (e == WR_OK && wr_slice_is(f.stream, s->name)) {
        if (f.arrival_us > 0)
            wr_observe_us(&age, wr_wall_us() - f.arrival_us);
        pthread_mutex_lock(&s->lock);
        intake__frame(s, &f, msg);
        pthread_mutex_unlock(&s->lock);
        return;
    }
    Watchroom__V1__Event *ev = e == WR_ERR_NOT_FOUND
                                   ? watchroom__v1__event__unpack(NULL, event.n, event.p)
                                   : NULL;
    const Watchroom__V1__StreamInfo *info = ev && ev->stream ? ev->stream->info : NULL;
    if (info && strcmp(info->stream, s->name) == 0) {
        pthread_mutex_lock(&s->lock);
        take_info(s, info);
        pthread_mutex_unlock(&s->lock);
    } else {
        wr_count(&bad, 1);
    }
    if (ev)
        watchroom__v1__event__free_unpacked(ev, NULL);
}

/* WatchResponse by hand: its frames stay where they are, in the answer. */
static bool take_answer(struct live_stream *s, const struct wr_answer *a)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    struct wr_media_frame frame;
    Watchroom__V1__StreamInfo *info = NULL;
    wr_pb_read(&r, a->body);
    while (wr_pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2 && !info) {
            info = watchroom__v1__stream_info__unpack(NULL, f.bytes.n, f.bytes.p);
            if (!info)
                return false;
            take_event_url(s, info->event_url, a->instance);
            take_info(s, info);
        } else if (f.number == 2 && f.wire == 2 && s->viewers > 0 &&
                   wr_media_frame_read(f.bytes, &frame) == WR_OK) {
            take_group_frame(s, &frame, a->msg);
        }
    }
    play_held(s);
    if (info)
        watchroom__v1__stream_info__free_unpacked(info, NULL);
    return info && !r.bad;
}

void intake__watch_answer(void *ctx, const struct wr_answer *a)
{
    struct live_stream *s = ctx;
    struct wr_live *l = s->live;
    pthread_mutex_lock(&s->lock);
    s->in_flight = false;
    if (a->code == WR_OK) {
        if (!take_answer(s, a))
            wr_count(&bad, 1);
    } else {
        char why[200];
        snprintf(why, sizeof why, "%s%.*s",
                 a->code == WR_ERR_NOT_FOUND ? "" : "the ingest service does not answer: ",
                 (int)WR_MIN(a->text.n, 120u), a->text.p ? (const char *)a->text.p : "");
        if (s->viewers > 0)
            intake__set_state(s, LIVE_RETRYING, why);
        s->watch_at_us = wr_mono_us() + 500 * 1000;
    }
    pthread_mutex_unlock(&s->lock);
    control__call_ended(l); /* the last touch: live may be freed after it */
}

/* Under no lock. A stream that somebody watches here hears more from its own socket. */
static void take_polled(struct wr_live *l, const Watchroom__V1__StreamInfo *info,
                        const char *instance)
{
    struct wr_slice name = wr_slice_str(info->stream);
    struct live_stream *s = wr_name_valid(name) ? live__add(l, name) : NULL;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    take_event_url(s, info->event_url, instance);
    if (s->viewers == 0) {
        s->state = state_of(info);
        snprintf(s->reason, sizeof s->reason, "%s", info->reason);
        s->told_epoch = 0; /* the first viewer's Watch tells the tracks that it needs */
        s->num_told_tracks = 0;
        for (size_t i = 0; i < info->n_tracks && s->num_told_tracks < 2; i++)
            s->num_told_tracks += take_track(&s->told_tracks[s->num_told_tracks], info->tracks[i]);
        take_summary(s);
    }
    pthread_mutex_unlock(&s->lock);
}

void intake__poll_answer(void *ctx, const struct wr_answer *a)
{
    struct wr_live *l = ctx;
    Watchroom__V1__StreamsResponse *r = a->code == WR_OK ? watchroom__v1__streams_response__unpack(
                                                               NULL, a->body.n, a->body.p)
                                                         : NULL;
    for (size_t i = 0; r && i < r->n_streams; i++)
        take_polled(l, r->streams[i], a->instance);
    if (r) {
        pthread_mutex_lock(&l->lock);
        l->was_told = true;
        pthread_mutex_unlock(&l->lock);
        watchroom__v1__streams_response__free_unpacked(r, NULL);
    }
    atomic_store(&l->poll_in_flight, false);
    control__call_ended(l);
}
