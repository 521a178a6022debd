/* SPDX-License-Identifier: MIT
 *
 * A stream's frames as they come over the bus: numbers are checked, gaps are filled from ingest's kept groups or end at
 * the next keyframe, and each consumer gets every frame once and in order. Times and numbers of groups are ingest's: they
 * are passed on as they came. Bytes from the bus are checked like bytes from outside. */
#include "live_priv.h"

#include "wr_log.h"
#include "wr_metrics.h"

#include <stdlib.h>

WR_COUNTER(gaps, "watchroom_live_gaps_total", NULL,
           "Times that frames of a stream did not arrive in order of their numbers");
WR_COUNTER(filled, "watchroom_live_gaps_filled_total", NULL,
           "Gaps that were filled from ingest's groups without a loss");
WR_COUNTER(jumped, "watchroom_live_gaps_jumped_total", NULL,
           "Gaps that ended at the next keyframe");
WR_COUNTER(outgrown, "watchroom_live_group_outgrown_total", NULL,
           "Groups of pictures too long to keep: viewers who join then wait for the next keyframe");
WR_COUNTER(bad, "watchroom_live_bad_frames_total", NULL,
           "Frames whose numbers cannot be true, left out");
WR_COUNTER(frames, "watchroom_live_frames_total", NULL,
           "Coded frames taken from the bus and played");

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

/* ---- consumers ---------------------------------------------------------------------------------------------------- */

void intake__add(struct live_stream *s, struct live_consumer *c)
{
    struct live_consumer **at = &s->consumers;
    while (*at)
        at = &(*at)->next;
    c->next = NULL;
    *at = c;
}

void intake__remove(struct live_stream *s, struct live_consumer *c)
{
    struct live_consumer **at = &s->consumers;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
}

/* ---- epochs ------------------------------------------------------------------------------------------------------- */

static const struct wr_track *track_of(const struct live_stream *s, uint32_t id)
{
    for (size_t i = 0; i < s->tracks.n; i++)
        if (s->tracks.v[i].id == id)
            return &s->tracks.v[i];
    return NULL;
}

void tracks__free(struct live_tracks *t)
{
    for (size_t i = 0; i < WR_TRACKS_MAX; i++)
        wr_buf_free(&t->config[i]);
    t->n = 0;
}

static void copy_tracks(struct live_tracks *to, const struct live_tracks *from)
{
    for (size_t i = 0; i < from->n; i++) {
        struct wr_buf *config = &to->config[i];
        wr_buf_clear(config);
        wr_buf_add(config, from->config[i].p, from->config[i].n);
        to->v[i] = from->v[i];
        to->v[i].config = wr_slice_of(config->p, config->failed ? 0 : config->n);
    }
    to->n = from->n;
}

static void forget_group(struct live_stream *s)
{
    items__clear(&s->group);
    s->group_whole = false;
}

void intake__begin_epoch(struct live_stream *s)
{
    copy_tracks(&s->tracks, &s->told);
    const struct wr_track *lead = wr_media_lead(s->tracks.v, s->tracks.n);
    s->lead = lead ? lead->id : 0;
    s->origin_us = s->told_origin_us;
    s->epoch = s->told_epoch;
    s->next_seq = 0;
    s->gop = 0;
    s->synced = false;
    s->want_missing = false;
    forget_group(s);
    for (struct live_consumer *c = s->consumers; c; c = c->next)
        c->ops->epoch(c);
}

void intake__end_epoch(struct live_stream *s)
{
    s->told_epoch = 0;
    s->synced = false;
    s->want_missing = false;
    forget_group(s);
    items__clear(&s->held);
    for (struct live_consumer *c = s->consumers; c; c = c->next)
        c->ops->end(c);
}

void intake__forget(struct live_stream *s)
{
    intake__end_epoch(s);
    s->epoch = 0;
    s->told_retrying = false;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

/* Decoding can begin with it. */
static bool begins(const struct live_stream *s, const struct wr_media_frame *f)
{
    return f->key && f->track == s->lead;
}

static void add_to_group(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg,
                         bool first)
{
    if (first) {
        items__clear(&s->group);
        s->group_whole = true;
    }
    if (s->group_whole && (s->group.bytes + f->data.n > LIVE_GROUP_BYTES ||
                           s->group.n >= LIVE_GROUP_FRAMES || !items__add(&s->group, f, msg))) {
        forget_group(s);
        wr_count(&outgrown, 1);
    }
}

/* Decoding can go on with this frame, or begin: consumers get it. jumps: frames before it are lost. */
static void play(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg,
                 bool jumps)
{
    bool first = begins(s, f) && (f->gop != s->gop || !s->synced || jumps);
    s->next_seq = f->seq + 1;
    s->synced = true;
    s->gop = f->gop;
    if (!track_of(s, f->track))
        return;
    if (jumps)
        for (struct live_consumer *c = s->consumers; c; c = c->next)
            c->ops->gap(c);
    add_to_group(s, f, msg, first);
    for (struct live_consumer *c = s->consumers; c; c = c->next)
        c->ops->frame(c, f, msg, first);
    wr_count(&frames, 1);
}

/* What is missing is asked for: the epoch's beginning or an epoch that was not told of is Watch's to tell, and frames
 * after one that was played are among the groups that ingest keeps. */
static void ask(struct live_stream *s, bool known)
{
    if (s->want_missing || s->want_group || s->asking)
        return;
    s->want_missing = known;
    s->want_group = !known;
    s->missing_from = s->gop;
    live__poke(s->live);
}

static void hold(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg)
{
    if (s->held.n >= LIVE_HELD_FRAMES || s->held.bytes + f->data.n > LIVE_GROUP_BYTES)
        items__clear(&s->held);
    (void)items__add(&s->held, f, msg); /* memory is out: one more lost frame */
    ask(s, f->epoch == s->epoch && s->gop != 0);
}

/* What was held and follows now. The rest is older, or behind another gap that the next frame will show. */
void intake__group_end(struct live_stream *s)
{
    for (size_t i = 0; i < s->held.n; i++) {
        struct live_item *k = &s->held.v[i];
        if (k->f.epoch == s->epoch && s->synced && k->f.seq == s->next_seq)
            play(s, &k->f, k->msg, false);
    }
    items__clear(&s->held);
}

/* Numbers in range and times that a container can carry: 2^56 ticks of the finest timescale that told.c takes, and as many
 * microseconds, are beyond any clock. */
static bool is_sane(const struct wr_media_frame *f)
{
    const int64_t far = (int64_t)1 << 56;
    return f->dts >= 0 && f->dts < far && f->pts >= f->dts - (1 << 24) && f->pts < far &&
           f->time_us >= 0 && f->time_us < far && f->epoch != 0 && f->gop != 0 &&
           f->seq < UINT64_MAX && f->data.n <= WR_MEDIA_MAX_FRAME_BYTES && f->duration < 1u << 30;
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
        intake__begin_epoch(s);
    }
    if (f->seq < s->next_seq)
        return; /* was in the group already */
    bool gap = f->seq > s->next_seq;
    if (s->synced && !gap) {
        play(s, f, msg, false);
    } else if (begins(s, f)) {
        bool jumps = gap && s->next_seq > 0;
        wr_count(&gaps, jumps && s->synced);
        wr_count(&jumped, jumps);
        items__clear(&s->held);
        play(s, f, msg, jumps);
    } else {
        wr_count(&gaps, s->synced);
        s->synced = false;
        hold(s, f, msg);
    }
}

void intake__group_frame(struct live_stream *s, const struct wr_media_frame *f, struct wr_msg *msg)
{
    if (s->viewers == 0 || f->epoch != s->epoch || f->seq < s->next_seq || !is_sane(f))
        return;
    if (f->seq == s->next_seq && (s->synced || s->next_seq > 0)) {
        wr_count(&filled, !s->synced);
        s->synced = true;
        play(s, f, msg, false);
    } else if (begins(s, f) && !s->synced) {
        bool jumps = s->next_seq > 0;
        wr_count(&jumped, jumps);
        play(s, f, msg, jumps);
    }
}
