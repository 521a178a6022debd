/* SPDX-License-Identifier: MIT
 *
 * One wish at one door of a stream: each coded frame goes through the muxer once, becomes one frame of the plane whose
 * payload is the bus message itself, and is sent to all who have the wish. Sound rides with the next picture: half the
 * sends. A group of pictures begins a frame of its own, so that whoever joins there gets the same bytes. */
#include "live_priv.h"

#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_plugins.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(muxed, "watchroom_live_muxed_frames_total", NULL,
           "Frames made for viewers, once a format");
WR_GAUGE(outputs, "watchroom_live_outputs", NULL,
         "Formats that are muxed now, each once for a stream, a rendition and a set of tracks");
WR_COUNTER(
    refused, "watchroom_live_inbox_full_total", NULL,
    "Frames of a stream that a full plane did not take: its viewers go on at the next keyframe");

/* Payloads this small are copied beside the container's bytes: cheaper than an iovec of their own at every viewer. */
#define SMALL_PAYLOAD 1024u

/* ---- putting a frame together ------------------------------------------------------------------------------------- */

static void build_reset(struct live_build *b)
{
    for (size_t i = 0; i < b->n; i++)
        wr_msg_unref(b->parts[i].msg);
    b->n = 0;
    b->failed = b->key = false;
    wr_buf_clear(&b->bytes);
}

static void build_bytes(struct wr_mux_sink *sink, const void *p, size_t n)
{
    struct live_build *b = (struct live_build *)(void *)sink;
    size_t at = b->bytes.n;
    wr_buf_add(&b->bytes, p, n);
    if (b->n > 0 && !b->parts[b->n - 1].msg) {
        b->parts[b->n - 1].n += n;
        return;
    }
    if (b->n == OUTPUT_PARTS) {
        b->failed = true;
        return;
    }
    b->parts[b->n].msg = NULL;
    b->parts[b->n].p = NULL;
    b->parts[b->n].at = at;
    b->parts[b->n++].n = n;
}

static void build_payload(struct wr_mux_sink *sink, struct wr_slice data)
{
    struct live_build *b = (struct live_build *)(void *)sink;
    if (data.n <= SMALL_PAYLOAD || !b->msg) {
        build_bytes(sink, data.p, data.n);
        return;
    }
    if (b->n == OUTPUT_PARTS) {
        b->failed = true;
        return;
    }
    b->parts[b->n].msg = wr_msg_ref(b->msg);
    b->parts[b->n].p = data.p;
    b->parts[b->n].at = 0;
    b->parts[b->n++].n = data.n;
}

/* NULL when nothing is in it, or when it went wrong. */
static struct wr_frame *build_frame(struct live_build *b, unsigned flags)
{
    struct wr_frame_part parts[OUTPUT_PARTS];
    struct wr_frame *f = NULL;
    for (size_t i = 0; i < b->n && !b->bytes.failed; i++)
        parts[i] = (struct wr_frame_part){
            wr_slice_of(b->parts[i].msg ? b->parts[i].p : b->bytes.p + b->parts[i].at,
                        b->parts[i].n),
            b->parts[i].msg};
    if (b->n > 0 && !b->failed && !b->bytes.failed)
        f = wr_frame_new(WR_WS_BINARY, flags | (b->key ? WR_FRAME_KEY : 0), b->first_us, parts,
                         b->n);
    build_reset(b);
    return f;
}

static struct wr_frame *init_frame(struct live_output *o, enum wr_mux_init what)
{
    build_reset(&o->build);
    o->plugin->init(o->state, what, &o->build.sink);
    return build_frame(&o->build, WR_FRAME_KEEP);
}

/* ---- the muxer ---------------------------------------------------------------------------------------------------- */

static void drop_frames(struct live_output *o)
{
    for (size_t i = 0; i < o->num_frames; i++)
        wr_frame_unref(o->frames[i]);
    o->num_frames = 0;
    o->whole = false;
}

static void close_muxer(struct live_output *o)
{
    build_reset(&o->build);
    drop_frames(o);
    wr_frame_unref(o->mime);
    wr_frame_unref(o->init);
    wr_frame_unref(o->again);
    o->mime = o->init = o->again = NULL;
    if (o->open)
        o->plugin->close(o->state);
    o->open = o->begun = false;
    o->owed = 0;
    o->unfit = 0;
    o->num_carried = 0;
}

static void take_choice(struct live_output *o, const struct live_choice *c)
{
    o->has_video = false;
    for (size_t i = 0; i < c->n; i++) {
        const struct wr_track *t = &c->tracks[i];
        o->carried[o->num_carried].id = t->id;
        o->carried[o->num_carried].video = t->kind == WR_MEDIA_VIDEO;
        o->carried[o->num_carried++].origin = wr_media_ticks(o->stream->origin_us, t->timescale);
        o->has_video |= t->kind == WR_MEDIA_VIDEO;
    }
}

/* What viewers get before frames. */
static void make_inits(struct live_output *o)
{
    char mime[WR_MUXER_MIME_MAX];
    o->init = init_frame(o, WR_MUX_INIT_FIRST);
    if (o->plugin->flags & WR_MUXER_INLINE_INIT)
        o->again = init_frame(o, WR_MUX_INIT_AGAIN);
    if (!(o->plugin->flags & WR_MUXER_TELLS_MIME))
        return;
    o->plugin->mime(o->state, mime, sizeof mime);
    o->mime = wr_frame_new(WR_WS_TEXT, WR_FRAME_KEEP, 0,
                           &(struct wr_frame_part){.bytes = wr_slice_str(mime)}, 1);
}

static bool open_muxer(struct live_output *o)
{
    struct live_stream *s = o->stream;
    struct live_choice choice;
    close_muxer(o);
    want__choose(&o->want, s->name, s->tracks.v, s->tracks.n, o->plugin, s->live->muxers,
                 s->live->num_muxers, &choice);
    o->unfit = choice.status;
    o->why = choice.why;
    if (!o->unfit && o->plugin->open(o->state, choice.tracks, choice.n, &o->why) != WR_OK)
        o->unfit = 415;
    if (o->unfit == 415) /* 404 is a viewer's mistake, and his to know */
        wr_warn("live.unfit", "stream=%s format=%s %s", s->name, o->plugin->extension, o->why.text);
    if (o->unfit)
        return false;
    o->open = true;
    take_choice(o, &choice);
    make_inits(o);
    return true;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static bool send(struct live_output *o, struct wr_frame *const *frames, size_t n, uint32_t classes)
{
    if (n == 0 || wr_fanout_send(o->fanout, frames, n, classes) == WR_OK)
        return true;
    wr_count(&refused, 1);
    o->lost = true;
    return false;
}

/* This epoch's init to the joined viewers of a class, and a key frame behind it unless that is NULL. */
static void send_init(struct live_output *o, enum live_class to, struct wr_frame *key)
{
    struct wr_frame *frames[3];
    size_t n = 0;
    if (to == LIVE_WS && o->mime)
        frames[n++] = o->mime;
    if (o->again)
        frames[n++] = o->again;
    else if (to == LIVE_WS && o->init)
        frames[n++] = o->init;
    if (key)
        frames[n++] = key;
    if (send(o, frames, n, to))
        o->owed &= ~(uint32_t)to;
}

/* What the plane did not take of an epoch's beginning is owed, since nobody can decode the epoch without it. Then `lost`
 * holds the frames back, and f is a key frame. */
static void deliver(struct live_output *o, struct wr_frame *f)
{
    static const enum live_class classes[] = {LIVE_WS, LIVE_RAW};
    if (!o->owed) {
        send(o, &f, 1, LIVE_WS | LIVE_RAW);
        return;
    }
    for (size_t i = 0; i < WR_ARRAY_LEN(classes); i++) {
        if (o->owed & classes[i])
            send_init(o, classes[i], f);
        else
            send(o, &f, 1, classes[i]);
    }
}

static void keep(struct live_output *o, struct wr_frame *f, bool key)
{
    if (key) {
        drop_frames(o);
        o->whole = true;
    }
    if (!o->whole)
        return;
    if (o->num_frames == o->cap_frames) {
        size_t cap = o->cap_frames ? o->cap_frames * 2 : 64;
        struct wr_frame **v = realloc(o->frames, cap * sizeof(*v));
        if (!v) {
            drop_frames(o);
            return;
        }
        o->frames = v;
        o->cap_frames = cap;
    }
    o->frames[o->num_frames++] = wr_frame_ref(f);
}

static void flush(struct live_output *o, bool to_viewers)
{
    bool key = o->build.key;
    struct wr_frame *f = build_frame(&o->build, 0);
    if (!f)
        return;
    wr_count(&muxed, 1);
    keep(o, f, key);
    if (!o->stream->group_whole && !key)
        drop_frames(o); /* the group outgrew its bounds: it must not be sent to one who joins */
    if (key)
        o->lost = false;
    if (to_viewers && !o->lost)
        deliver(o, f);
    wr_frame_unref(f);
}

static void mux(struct live_output *o, const struct wr_media_frame *in, struct wr_msg *msg,
                bool begins, bool to_viewers)
{
    struct live_build *b = &o->build;
    struct wr_media_frame copy = *in, *f = &copy;
    size_t i = 0;
    o->begun |= begins;
    while (i < o->num_carried && o->carried[i].id != f->track)
        i++;
    if (i == o->num_carried)
        return;
    f->dts -= o->carried[i].origin;
    f->pts -= o->carried[i].origin;
    bool video = o->carried[i].video;
    bool key = o->begun && f->key && (video || !o->has_video);
    if (key) {
        o->begun = false;
        flush(o,
              to_viewers); /* sound of the group before: who joins at this frame does not get it */
    }
    if (b->n == 0)
        b->first_us = f->time_us;
    b->msg = msg;
    b->key |= key;
    o->plugin->frame(o->state, f, &b->sink);
    b->msg = NULL;
    bool rides = !video && o->has_video && f->time_us - b->first_us < LIVE_SOUND_US &&
                 b->n < OUTPUT_PARTS / 2;
    if (!rides)
        flush(o, to_viewers);
}

/* ---- who waits ---------------------------------------------------------------------------------------------------- */

static struct live_burst *burst_new(struct live_output *o)
{
    struct live_burst *b = calloc(1, sizeof *b + (o->num_frames + 1) * sizeof(struct wr_frame *));
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->fanout = o->fanout;
    b->mime = o->mime ? wr_frame_ref(o->mime) : NULL;
    if (o->init)
        b->frames[b->n++] = wr_frame_ref(o->init);
    for (size_t i = 0; i < o->num_frames; i++)
        b->frames[b->n++] = wr_frame_ref(o->frames[i]);
    return b;
}

void output__join_waiting(struct live_output *o)
{
    if (!o->waiting || !o->open || !o->whole || o->num_frames == 0 || o->lost)
        return;
    struct live_burst *b = burst_new(o);
    while (b && o->waiting)
        viewer__join(o->waiting, b);
    if (b)
        burst__unref(b);
}

static void refuse_waiting(struct live_output *o, uint32_t classes, int status, const char *why)
{
    for (struct viewer *v = o->waiting, *next; v; v = next) {
        next = v->next;
        if (v->transport & classes)
            viewer__refuse(v, status, why);
    }
}

/* ---- as a consumer of the stream ---------------------------------------------------------------------------------- */

static struct live_output *output_of(struct live_consumer *c)
{
    return (struct live_output *)(void *)c;
}

/* arg: the reason, or nothing: a byte stream just ends then. */
static void end_viewer(struct wr_conn *c, const struct wr_msg *arg)
{
    char reason[124] = "new epoch";
    if (arg)
        snprintf(reason, sizeof reason, "%.*s", (int)arg->len, (const char *)arg->data);
    wr_conn_close(c, arg ? 1003 : 1000, reason);
}

static void end_unfit(struct live_output *o)
{
    struct wr_msg *why = wr_msg_copy(wr_slice_str(o->why.text));
    refuse_waiting(o, LIVE_WS | LIVE_RAW, o->unfit, o->why.text);
    wr_fanout_each(o->fanout, LIVE_WS | LIVE_RAW, end_viewer, why);
    wr_msg_unref(why);
}

static void handle_epoch(struct live_consumer *c)
{
    struct live_output *o = output_of(c);
    const struct live_stream *s = o->stream;
    if (!open_muxer(o)) {
        end_unfit(o);
        return;
    }
    bool new_line = o->origin_us != 0 && o->origin_us != s->origin_us;
    bool tells = o->plugin->flags & WR_MUXER_TELLS_MIME;
    o->origin_us = s->origin_us;
    /* A player of one byte stream does not go on with times that step back, as they do when ingest lost the stream's line
     * and began another; nor with an init where the format has none in between. It is to come again. */
    uint32_t ended = (new_line && !tells ? LIVE_WS : 0) | (new_line || !o->again ? LIVE_RAW : 0);
    o->owed = (LIVE_WS | LIVE_RAW) & ~ended;
    if (o->owed & LIVE_WS)
        send_init(o, LIVE_WS, NULL);
    if (o->owed & LIVE_RAW)
        send_init(o, LIVE_RAW, NULL);
    if (ended)
        wr_fanout_each(o->fanout, ended, end_viewer, NULL);
}

static void handle_frame(struct live_consumer *c, const struct wr_media_frame *f,
                         struct wr_msg *msg, bool begins)
{
    struct live_output *o = output_of(c);
    if (!o->open)
        return;
    mux(o, f, msg, begins, true);
    output__join_waiting(o);
}

static void handle_gap(struct live_consumer *c)
{
    struct live_output *o = output_of(c);
    build_reset(&o->build);
    drop_frames(o);
    o->lost = true;
}

static void handle_end(struct live_consumer *c)
{
    struct live_output *o = output_of(c);
    build_reset(&o->build);
    drop_frames(o);
}

static void handle_down(struct live_consumer *c, int status, const char *why)
{
    struct live_output *o = output_of(c);
    refuse_waiting(o, LIVE_RAW, status, why);
    if (status == 404)
        wr_fanout_each(o->fanout, LIVE_RAW, end_viewer, NULL);
}

static const struct live_consumer_ops consumer_ops = {.epoch = handle_epoch,
                                                      .frame = handle_frame,
                                                      .gap = handle_gap,
                                                      .end = handle_end,
                                                      .down = handle_down};

/* ---- life --------------------------------------------------------------------------------------------------------- */

static struct live_output *find_output(const struct live_stream *s,
                                       const struct wr_muxer_plugin *plugin,
                                       const struct live_want *want)
{
    for (struct live_consumer *c = s->consumers; c; c = c->next) {
        struct live_output *o = output_of(c);
        if (c->ops == &consumer_ops && o->plugin == plugin && want__same(&o->want, want))
            return o;
    }
    return NULL;
}

static void output_free(struct live_output *o)
{
    close_muxer(o);
    free(o->frames);
    wr_buf_free(&o->build.bytes);
    wr_fanout_unref(&o->fanout);
    free(o->state);
    free(o);
}

static struct live_output *output_new(struct live_stream *s, const struct wr_muxer_plugin *plugin,
                                      const struct live_want *want)
{
    struct live_output *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->consumer.ops = &consumer_ops;
    o->stream = s;
    o->plugin = plugin;
    o->want = *want;
    o->build.sink = (struct wr_mux_sink){.bytes = build_bytes, .payload = build_payload};
    o->state = wr_plugin_state(&plugin->base);
    o->fanout = wr_fanout_new(s->live->env.plane);
    if (o->state && o->fanout)
        return o;
    output_free(o);
    return NULL;
}

/* Muxes the stream's current group. */
static void catch_up(struct live_output *o)
{
    struct live_stream *s = o->stream;
    if (s->epoch == 0 || s->epoch != s->told_epoch || !open_muxer(o))
        return;
    o->origin_us = s->origin_us;
    for (size_t i = 0; i < s->group.n; i++)
        mux(o, &s->group.v[i].f, s->group.v[i].msg, i == 0, false);
}

/* The wishes that everybody has are few (four for each format), and nobody's strange ones crowd them out. */
static bool may_make(const struct live_stream *s, const struct live_want *want)
{
    return s->num_outputs < LIVE_MAX_OUTPUTS || (want->pick != PICK_IDS && !want->rendition[0]);
}

struct live_output *output__get(struct live_stream *s, const struct wr_muxer_plugin *plugin,
                                const struct live_want *want)
{
    struct live_output *o = find_output(s, plugin, want);
    if (!o && may_make(s, want) && (o = output_new(s, plugin, want))) {
        s->num_outputs++;
        intake__add(s, &o->consumer);
        catch_up(o);
        wr_gauge_add(&outputs, 1);
    }
    if (o)
        o->refs++;
    return o;
}

void output__ask_again(struct live_stream *s)
{
    for (struct live_consumer *c = s->consumers; c; c = c->next)
        if (c->ops == &consumer_ops)
            viewer__ask_all(output_of(c));
}

void output__release(struct live_output *o)
{
    if (--o->refs > 0)
        return;
    intake__remove(o->stream, &o->consumer);
    o->stream->num_outputs--;
    output_free(o);
    wr_gauge_add(&outputs, -1);
}
