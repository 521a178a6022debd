/* SPDX-License-Identifier: MIT
 *
 * One format of a stream: each coded frame goes through the muxer once, becomes one frame of the plane whose payload is
 * the bus message itself, and is sent to the format's group. Sound rides with the next picture: half the sends. */
#include "live_priv.h"

#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_plugins.h"

#include <stdlib.h>

WR_COUNTER(muxed, "watchroom_live_muxed_frames_total", NULL,
           "Frames made for viewers, once a format");
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
    o->mime = o->init = NULL;
    if (o->open)
        o->plugin->close(o->state);
    o->open = o->unfit = false;
}

/* A stream without a picture is heard at every door. */
static bool carries(const struct live_output *o, uint32_t track)
{
    return !o->picture_only || track == WR_TRACK_VIDEO || !live__has_video(o->stream);
}

static bool open_muxer(struct live_output *o)
{
    struct live_stream *s = o->stream;
    struct wr_track tracks[2];
    size_t n = 0;
    close_muxer(o);
    for (size_t i = 0; i < s->num_tracks; i++)
        if (carries(o, s->tracks[i].t.id))
            tracks[n++] = s->tracks[i].t;
    o->open = o->plugin->open(o->state, tracks, n, &o->why) == WR_OK;
    o->unfit = !o->open;
    if (o->unfit) {
        wr_warn("live.unfit", "stream=%s format=%s %s", s->name, o->plugin->extension, o->why.text);
        return false;
    }
    o->init = init_frame(o, WR_MUX_INIT_FIRST);
    if (o->plugin->flags & WR_MUXER_TELLS_MIME) {
        char mime[160];
        o->plugin->mime(o->state, mime, sizeof mime);
        o->mime = wr_frame_new(WR_WS_TEXT, WR_FRAME_KEEP, 0,
                               &(struct wr_frame_part){.bytes = wr_slice_str(mime)}, 1);
    }
    return true;
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static void send(struct live_output *o, struct wr_frame *const *frames, size_t n, uint32_t classes)
{
    if (wr_fanout_send(o->fanout, frames, n, classes) == WR_OK)
        return;
    wr_count(&refused, 1);
    o->lost = true;
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
        send(o, &f, 1, LIVE_WS | LIVE_RAW);
    wr_frame_unref(f);
}

static int64_t frame_us(const struct live_stream *s, const struct wr_media_frame *f)
{
    for (size_t i = 0; i < s->num_tracks; i++) {
        const struct wr_track *t = &s->tracks[i].t;
        if (t->id == f->track)
            return f->dts / t->timescale * 1000000 + f->dts % t->timescale * 1000000 / t->timescale;
    }
    return 0;
}

static void mux(struct live_output *o, const struct wr_media_frame *f, struct wr_msg *msg,
                bool begin, bool to_viewers)
{
    struct live_build *b = &o->build;
    if (!carries(o, f->track))
        return;
    int64_t now_us = frame_us(o->stream, f);
    if (b->n == 0)
        b->first_us = now_us;
    b->msg = msg;
    b->key |= begin;
    o->plugin->frame(o->state, f, &b->sink);
    b->msg = NULL;
    bool ride = f->track == WR_TRACK_AUDIO && live__has_video(o->stream) &&
                now_us - b->first_us < LIVE_SOUND_US && b->n < OUTPUT_PARTS / 2;
    if (!ride)
        flush(o, to_viewers);
}

void output__frame(struct live_output *o, const struct wr_media_frame *f, struct wr_msg *msg,
                   bool begin)
{
    if (!o->open)
        return;
    mux(o, f, msg, begin, true);
    output__join_waiting(o);
}

/* ---- epochs ------------------------------------------------------------------------------------------------------- */

static void end_viewer(struct wr_conn *c, const struct wr_msg *arg)
{
    (void)arg;
    wr_conn_close(c, 1000, "new epoch");
}

void output__new_epoch(struct live_output *o)
{
    if (o->viewers == 0 || !open_muxer(o))
        return;
    struct wr_frame *again = o->plugin->flags & WR_MUXER_INLINE_INIT
                                 ? init_frame(o, WR_MUX_INIT_AGAIN)
                                 : NULL;
    struct wr_frame *ws[2];
    size_t n = 0;
    if (o->mime)
        ws[n++] = o->mime;
    ws[n++] = again ? again : o->init;
    if (ws[n - 1])
        send(o, ws, n, LIVE_WS);
    if (again)
        send(o, &again, 1, LIVE_RAW);
    else if (!(o->plugin->flags & WR_MUXER_INLINE_INIT))
        wr_fanout_each(o->fanout, LIVE_RAW, end_viewer, NULL);
    wr_frame_unref(again);
}

void output__forget(struct live_output *o)
{
    build_reset(&o->build);
    drop_frames(o);
}

void output__activate(struct live_output *o)
{
    struct live_stream *s = o->stream;
    if (s->epoch == 0 || o->open || !open_muxer(o))
        return;
    for (size_t i = 0; i < s->group.n; i++) {
        const struct wr_media_frame *f = &s->group.v[i].f;
        mux(o, f, s->group.v[i].msg, i == 0, false);
    }
}

void output__deactivate(struct live_output *o)
{
    close_muxer(o);
    free(o->frames);
    o->frames = NULL;
    o->cap_frames = 0;
    o->lost = false;
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

void output__refuse_waiting(struct live_output *o, const char *why)
{
    for (struct viewer *v = o->waiting, *next; v; v = next) {
        next = v->next;
        if (v->transport == LIVE_RAW)
            viewer__refuse(v, why);
    }
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

bool output__init(struct live_output *o, struct live_stream *s,
                  const struct wr_muxer_plugin *plugin, bool picture_only)
{
    *o = (struct live_output){.stream = s, .plugin = plugin, .picture_only = picture_only};
    o->build.sink = (struct wr_mux_sink){.bytes = build_bytes, .payload = build_payload};
    o->state = wr_plugin_state(&plugin->base);
    o->fanout = wr_fanout_new(s->live->env.plane);
    return o->state && o->fanout;
}

void output__fini(struct live_output *o)
{
    output__deactivate(o);
    wr_buf_free(&o->build.bytes);
    wr_fanout_unref(&o->fanout);
    free(o->state);
}
