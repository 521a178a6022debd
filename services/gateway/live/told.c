/* SPDX-License-Identifier: MIT
 *
 * What ingest says of streams: events on a stream's own socket, answers to Watch, Groups and Streams. States go to viewers,
 * tracks and epochs to the stream, frames to intake.c. Bytes from the bus are checked like bytes from outside. */
#include "live_priv.h"

#include "watchroom/v1/bus.pb-c.h"
#include "watchroom/v1/ingest.numbers.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "watchroom/v1/ingest.numbers.h"
#include "wr_pb.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(bad, "watchroom_live_bad_events_total", NULL,
           "Events of streams that could not be understood");
WR_HISTOGRAM(age, "watchroom_live_frame_age_seconds", "at=\"gateway\"",
             "Age of a frame (since ingest had it) when the gateway got it");

/* ---- states ------------------------------------------------------------------------------------------------------- */

static void set_state(struct live_stream *s, enum live_state state, const char *reason, int status)
{
    bool changed = s->state != state || strcmp(s->reason, reason) != 0;
    s->state = state;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    if (s->viewers == 0)
        return;
    if (state == LIVE_RETRYING)
        for (struct live_consumer *c = s->consumers; c; c = c->next)
            c->ops->down(c, status, s->reason);
    if (!changed || !(state == LIVE_RETRYING || (state == LIVE_LIVE && s->told_retrying)))
        return;
    s->told_retrying = state == LIVE_RETRYING;
    struct wr_frame *f = viewer__state_frame(s);
    if (f)
        (void)wr_fanout_send(s->tell, &f, 1, LIVE_WS); /* a full inbox: the next change tells */
    wr_frame_unref(f);
}

void told__set_state(struct live_stream *s, enum live_state state, const char *reason)
{
    set_state(s, state, reason, 503);
}

/* ---- tracks ------------------------------------------------------------------------------------------------------- */

/* What goes into MIME types and JSON: nothing but what RFC 6381 and BCP 47 need. */
static void take_token(char *to, size_t n, const char *from)
{
    size_t len = strspn(from, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    snprintf(to, n, "%.*s", (int)len, from);
}

/* What people read: whole characters, as many as there is room for. */
static void take_text(char *to, size_t n, const char *from)
{
    size_t len = strnlen(from, n - 1);
    while (len > 0 && ((uint8_t)from[len] & 0xc0) == 0x80)
        len--; /* not in the middle of a character */
    snprintf(to, n, "%.*s", (int)len, from);
}

static bool is_known(const struct live_tracks *list, uint32_t id)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->v[i].id == id)
            return true;
    return false;
}

static void take_track(struct live_tracks *list, const Watchroom__V1__Track *t)
{
    if (list->n == WR_TRACKS_MAX || t->track == 0 || is_known(list, t->track) ||
        t->timescale == 0 || t->timescale > 10000000 || t->config.len > 65536)
        return;
    struct wr_track *to = &list->v[list->n];
    struct wr_buf *config = &list->config[list->n];
    *to = (struct wr_track){.id = t->track,
                            .kind = (enum wr_media_kind)t->kind,
                            .codec = (enum wr_codec)t->codec,
                            .timescale = t->timescale,
                            .width = t->width,
                            .height = t->height,
                            .fps_milli = t->fps_milli,
                            .sample_rate = t->sample_rate,
                            .channels = t->channels,
                            .made_from = t->made_from};
    take_token(to->codec_string, sizeof to->codec_string, t->codec_string);
    take_token(to->language, sizeof to->language, t->language);
    take_text(to->label, sizeof to->label, t->label);
    take_text(to->rendition, sizeof to->rendition, t->rendition);
    wr_buf_clear(config);
    wr_buf_add(config, t->config.data, t->config.len);
    to->config = wr_slice_of(config->p, config->n);
    list->n += !config->failed;
}

static void take_tracks(struct live_stream *s, const Watchroom__V1__StreamInfo *info)
{
    s->told.n = 0;
    for (size_t i = 0; i < info->n_tracks; i++)
        take_track(&s->told, info->tracks[i]);
}

/* ---- a stream's info ---------------------------------------------------------------------------------------------- */

static enum live_state state_of(const Watchroom__V1__StreamInfo *i)
{
    return i->state >= 1 && i->state <= 4 ? (enum live_state)i->state : LIVE_UNKNOWN;
}

/* Under the lock. */
static void take_info(struct live_stream *s, const Watchroom__V1__StreamInfo *info)
{
    s->unlisted = false;
    if (info->epoch == 0) {
        if (s->told_epoch != 0)
            intake__end_epoch(s);
    } else if (info->epoch != s->told_epoch) {
        take_tracks(s, info);
        s->told_epoch = info->epoch;
        s->told_origin_us = WR_MAX(info->origin_us, INT64_C(0));
    }
    /* Text before the MIME type, not between it and the pictures. */
    told__set_state(s, state_of(info), info->reason);
    if (s->viewers > 0 && s->told_epoch != 0 && s->epoch != s->told_epoch)
        intake__begin_epoch(s);
}

static void take_event_url(struct live_stream *s, const char *told, const char *instance)
{
    char dialled[512], url[512];
    if (told[0] && wr_bus_service_address(s->live->env.ingest, instance, dialled, sizeof dialled) &&
        wr_bus_resolve_url(told, dialled, url, sizeof url))
        snprintf(s->event_url, sizeof s->event_url, "%s", url);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

void told__handle_event(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg)
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

/* ---- answers to Watch and Groups ---------------------------------------------------------------------------------- */

/* Both by hand: their frames stay where they are, in the answer. */
static_assert((int)WR_PB_WATCH_RESPONSE_INFO == (int)WR_PB_GROUPS_RESPONSE_INFO,
              "one reader has both");

struct answer {
    Watchroom__V1__StreamInfo *info;
    uint64_t next_gop;
    bool bad;
};

/* Of both. It comes before frames, since it tells what they are. */
static void take_answer_info(struct live_stream *s, const struct wr_answer *a,
                             struct wr_slice bytes, struct answer *out)
{
    if (!out->info)
        out->info = watchroom__v1__stream_info__unpack(NULL, bytes.n, bytes.p);
    if (!out->info)
        return;
    take_event_url(s, out->info->event_url, a->instance);
    take_info(s, out->info);
}

static void take_frame(struct live_stream *s, const struct wr_answer *a, struct wr_slice bytes)
{
    struct wr_media_frame frame;
    if (wr_media_frame_read(bytes, &frame) == WR_OK)
        intake__group_frame(s, &frame, a->msg);
}

static void take_group(struct live_stream *s, const struct wr_answer *a, struct wr_slice group,
                       struct answer *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, group);
    while (wr_pb_next(&r, &f))
        if (f.number == WR_PB_GROUP_FRAMES && f.wire == 2)
            take_frame(s, a, f.bytes);
    out->bad |= r.bad;
}

static struct answer take_answer(struct live_stream *s, const struct wr_answer *a, bool groups)
{
    struct answer out = {.info = NULL};
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, a->body);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_WATCH_RESPONSE_INFO && f.wire == 2)
            take_answer_info(s, a, f.bytes, &out);
        else if (groups && f.number == WR_PB_GROUPS_RESPONSE_GROUPS && f.wire == 2)
            take_group(s, a, f.bytes, &out);
        else if (groups && f.number == WR_PB_GROUPS_RESPONSE_NEXT_GOP && f.wire == 0)
            out.next_gop = f.value;
        else if (!groups && f.number == WR_PB_WATCH_RESPONSE_GROUP && f.wire == 2)
            take_frame(s, a, f.bytes);
    }
    out.bad |= r.bad || !out.info;
    wr_count(&bad, out.bad);
    if (out.info)
        watchroom__v1__stream_info__free_unpacked(out.info, NULL);
    return out;
}

/* Ingest has no such stream (any more): viewers are told, and when they are gone so is it. */
static void take_absence(struct live_stream *s, const char *why)
{
    s->unlisted = true;
    if (s->told_epoch != 0)
        intake__end_epoch(s);
    if (s->viewers > 0)
        set_state(s, LIVE_RETRYING, why, 404);
}

static void take_failure(struct live_stream *s, const struct wr_answer *a)
{
    char why[200];
    bool absent = a->code == WR_ERR_NOT_FOUND;
    struct wr_slice text = wr_err_outside(a->code, a->text);
    snprintf(why, sizeof why, "%s%.*s",
             absent ? "" : "the ingest service does not answer: ", (int)WR_MIN(text.n, 120u),
             (const char *)text.p);
    if (absent)
        take_absence(s, why);
    else if (s->viewers > 0)
        told__set_state(s, LIVE_RETRYING, why);
    s->watch_at_us = wr_mono_us() + 500 * 1000;
}

void told__watch_answer(void *ctx, const struct wr_answer *a)
{
    struct live_stream *s = ctx;
    struct wr_live *l = s->live;
    pthread_mutex_lock(&s->lock);
    s->in_flight = false;
    if (a->code == WR_OK) {
        (void)take_answer(s, a, false);
        intake__group_end(s);
    } else {
        take_failure(s, a);
    }
    pthread_mutex_unlock(&s->lock);
    live__release(s);
    control__call_ended(l); /* the last touch: live may be freed after it */
}

/* A page of what is missing. While it was under way more came and is held; when another page is there, and this one brought
 * something, what is held waits for that. */
static void take_groups(struct live_stream *s, const struct wr_answer *a)
{
    uint64_t before = s->next_seq;
    struct answer page = take_answer(s, a, true);
    if (page.next_gop > s->missing_from && s->next_seq > before && s->held.n > 0) {
        s->want_missing = true;
        s->missing_from = page.next_gop;
    } else {
        intake__group_end(s);
    }
}

void told__groups_answer(void *ctx, const struct wr_answer *a)
{
    struct live_stream *s = ctx;
    struct wr_live *l = s->live;
    pthread_mutex_lock(&s->lock);
    s->asking = false;
    if (a->code == WR_OK)
        take_groups(s, a);
    else
        s->want_group =
            s->viewers >
            0; /* the current one is better than nothing, and Watch says what is wrong */
    pthread_mutex_unlock(&s->lock);
    live__release(s);
    control__call_ended(l);
}

/* ---- answers to Streams ------------------------------------------------------------------------------------------- */

/* Under no lock. A stream that somebody watches here hears more from its own socket. */
static void take_polled(struct wr_live *l, const Watchroom__V1__StreamInfo *info,
                        const char *instance)
{
    struct wr_slice name = wr_slice_str(info->stream);
    struct live_stream *s = wr_name_valid(name) ? live__add(l, name) : NULL;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    snprintf(s->listed_by, sizeof s->listed_by, "%s", instance);
    s->listed_at = l->polls;
    s->unlisted = false;
    take_event_url(s, info->event_url, instance);
    if (s->viewers == 0) {
        s->state = state_of(info);
        snprintf(s->reason, sizeof s->reason, "%s", info->reason);
        s->told_epoch = 0; /* the first viewer's Watch tells the tracks that it needs */
        take_tracks(s, info);
    }
    pthread_mutex_unlock(&s->lock);
    live__release(s);
}

/* Those that this instance listed before (or that only our configuration names), and now does not. Viewers are told by
 * the answer to the next Watch, which comes at once. */
static void miss_others(struct wr_live *l, const char *instance)
{
    size_t n = 0;
    struct live_stream **all = live__all(l, &n);
    for (size_t i = 0; i < n; i++) {
        struct live_stream *s = all[i];
        pthread_mutex_lock(&s->lock);
        if (s->listed_at != l->polls && !s->unlisted &&
            (!s->listed_by[0] || strcmp(s->listed_by, instance) == 0)) {
            s->unlisted = true;
            s->watch_at_us = 0;
            wr_info("live.unlisted", "stream=%s ingest=%s", s->name, instance);
        }
        pthread_mutex_unlock(&s->lock);
    }
    live__release_all(all, n);
}

void told__poll_answer(void *ctx, const struct wr_answer *a)
{
    struct wr_live *l = ctx;
    Watchroom__V1__StreamsResponse *r = a->code == WR_OK ? watchroom__v1__streams_response__unpack(
                                                               NULL, a->body.n, a->body.p)
                                                         : NULL;
    if (r) {
        l->polls++;
        for (size_t i = 0; i < r->n_streams; i++)
            take_polled(l, r->streams[i], a->instance);
        miss_others(l, a->instance);
        pthread_mutex_lock(&l->lock);
        l->was_told = true;
        pthread_mutex_unlock(&l->lock);
        watchroom__v1__streams_response__free_unpacked(r, NULL);
    }
    atomic_store(&l->poll_in_flight, false);
    control__call_ended(l);
}
