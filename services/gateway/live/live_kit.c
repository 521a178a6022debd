/* SPDX-License-Identifier: MIT
 *
 * A stream without its surroundings (live_kit.h). */
#include "live_kit.h"

#include "watchroom/v1/bus.pb-c.h"
#include <stdio.h>
#include <stdlib.h>

struct kit kit;

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* ---- the plane ---------------------------------------------------------------------------------------------------- */

struct wr_frame {
    unsigned refs, flags;
    int64_t media_us;
    struct wr_msg *msg; /* the last one that was lent */
    size_t lent;
    struct wr_buf text;
};

struct wr_frame *wr_frame_new(enum wr_ws_op op, unsigned flags, int64_t media_us,
                              const struct wr_frame_part *parts, size_t n)
{
    struct wr_frame *f = calloc(1, sizeof *f);
    must(f && (op == WR_WS_BINARY || op == WR_WS_TEXT));
    f->refs = 1;
    f->flags = flags;
    f->media_us = media_us;
    for (size_t i = 0; i < n; i++) {
        const struct wr_msg *m = parts[i].msg;
        must(!m || (parts[i].bytes.p >= m->data &&
                    parts[i].bytes.p + parts[i].bytes.n <= m->data + m->len));
        if (m) {
            wr_msg_unref(f->msg);
            f->msg = wr_msg_ref(parts[i].msg);
            f->lent += parts[i].bytes.n;
        } else {
            wr_buf_slice(&f->text, parts[i].bytes);
        }
    }
    return f;
}

struct wr_frame *wr_frame_ref(struct wr_frame *f)
{
    f->refs++;
    return f;
}

void wr_frame_unref(struct wr_frame *f)
{
    if (!f || --f->refs)
        return;
    wr_msg_unref(f->msg);
    wr_buf_free(&f->text);
    free(f);
}

struct wr_fanout *wr_fanout_new(struct wr_plane *p)
{
    (void)p;
    return calloc(1, sizeof(struct wr_fanout));
}

void wr_fanout_unref(struct wr_fanout **g)
{
    if (*g)
        wr_buf_free(&(*g)->log);
    free(*g);
    *g = NULL;
}

static void write_frame(struct wr_fanout *g, const struct wr_frame *f)
{
    wr_buf_str(&g->log, f->flags & WR_FRAME_KEY ? "(*" : "(");
    wr_buf_add(&g->log, f->text.p, f->text.n);
    wr_buf_char(&g->log, ')');
    g->lent += f->lent;
    if (!(f->flags & WR_FRAME_KEEP))
        g->media_us = f->media_us;
}

wr_err wr_fanout_send(struct wr_fanout *g, struct wr_frame *const *frames, size_t n,
                      uint32_t classes)
{
    must(classes != 0 && n > 0);
    if (g->full)
        return WR_ERR_BUSY;
    if (classes == LIVE_RAW)
        wr_buf_char(&g->log, '<');
    for (size_t i = 0; i < n; i++)
        write_frame(g, frames[i]);
    if (classes == LIVE_RAW)
        wr_buf_char(&g->log, '>');
    return WR_OK;
}

void wr_fanout_each(struct wr_fanout *g, uint32_t classes, wr_member_fn fn, struct wr_msg *arg)
{
    must(fn && (arg ? classes == (LIVE_RAW | LIVE_WS) : (classes & LIVE_RAW) != 0));
    wr_buf_str(&g->log, arg ? "[end all " : classes == LIVE_RAW ? "[end" : "[end both");
    if (arg)
        wr_buf_add(&g->log, arg->data, arg->len);
    wr_buf_char(&g->log, ']');
}

void wr_conn_close(struct wr_conn *c, uint16_t code, const char *reason)
{
    (void)c, (void)code, (void)reason;
}

/* ---- the rest of live --------------------------------------------------------------------------------------------- */

void burst__unref(struct live_burst *b)
{
    if (atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    for (size_t i = 0; i < b->n; i++)
        wr_frame_unref(b->frames[i]);
    wr_frame_unref(b->mime);
    free(b);
}

static void unlink_waiting(struct viewer *v, enum viewer_place to)
{
    must(v->out->waiting == v);
    v->out->waiting = v->next;
    v->place = to;
}

void viewer__join(struct viewer *v, struct live_burst *b)
{
    unlink_waiting(v, VIEWER_JOINED);
    wr_buf_str(&b->fanout->log, "[join ");
    for (size_t i = 0; i < b->n; i++)
        write_frame(b->fanout, b->frames[i]);
    wr_buf_char(&b->fanout->log, ']');
}

void viewer__refuse(struct viewer *v, int status, const char *why)
{
    unlink_waiting(v, VIEWER_REFUSED);
    wr_buf_fmt(&v->out->fanout->log, "[refused %d ", status);
    wr_buf_str(&v->out->fanout->log, why);
    wr_buf_char(&v->out->fanout->log, ']');
}

void viewer__ask_all(struct live_output *o)
{
    (void)o;
}

struct wr_frame *viewer__state_frame(const struct live_stream *s)
{
    const char *text = s->state == LIVE_RETRYING ? "retrying" : "live";
    return wr_frame_new(WR_WS_TEXT, WR_FRAME_KEEP, 0,
                        &(struct wr_frame_part){.bytes = wr_slice_str(text)}, 1);
}

void live__poke(struct wr_live *l)
{
    must(l == &kit.live);
    kit.pokes++;
}

struct live_stream *live__add(struct wr_live *l, struct wr_slice name)
{
    must(l == &kit.live);
    return wr_slice_is(name, kit.s.name) ? &kit.s : NULL;
}

void live__release(struct live_stream *s)
{
    must(s == &kit.s);
    kit.released++;
}

struct live_stream **live__all(struct wr_live *l, size_t *n)
{
    struct live_stream **all = malloc(sizeof *all);
    must(l == &kit.live && all);
    all[0] = &kit.s;
    *n = 1;
    return all;
}

void live__release_all(struct live_stream **all, size_t n)
{
    must(n == 1 && all[0] == &kit.s);
    free(all);
}

bool wr_bus_service_address(struct wr_bus_service *s, const char *instance, char *out, size_t n)
{
    (void)s, (void)instance;
    return snprintf(out, n, "tcp://127.0.0.1:7101") < (int)n;
}

void control__call_ended(struct wr_live *l)
{
    must(l == &kit.live);
    kit.calls_ended++;
}

/* ---- the muxer ---------------------------------------------------------------------------------------------------- */

struct state {
    uint32_t ids[WR_TRACKS_MAX];
    size_t n;
    bool open;
};

static bool has_track(const struct state *st, uint32_t id)
{
    for (size_t i = 0; i < st->n; i++)
        if (st->ids[i] == id)
            return true;
    return false;
}

static wr_err paper_open(void *state, const struct wr_track *tracks, size_t n,
                         struct wr_errmsg *err)
{
    struct state *st = state;
    must(!st->open && n <= WR_TRACKS_MAX);
    if (n == 0) {
        wr_errmsg_set(err, "nothing to carry");
        return WR_ERR_INVALID;
    }
    *st = (struct state){.open = true};
    for (size_t i = 0; i < n; i++)
        st->ids[st->n++] = tracks[i].id;
    return WR_OK;
}

static void paper_close(void *state)
{
    struct state *st = state;
    must(st->open);
    st->open = false;
}

static void paper_mime(void *state, char *out, size_t n)
{
    (void)state;
    snprintf(out, n, "paper");
}

/* "V", "A" or "VA" */
static void paper_init(void *state, enum wr_mux_init what, struct wr_mux_sink *sink)
{
    struct state *st = state;
    must(st->open && what == WR_MUX_INIT_FIRST);
    if (has_track(st, KIT_VIDEO))
        sink->bytes(sink, "V", 1);
    if (has_track(st, KIT_AUDIO))
        sink->bytes(sink, "A", 1);
}

static void paper_frame(void *state, const struct wr_media_frame *f, struct wr_mux_sink *sink)
{
    struct state *st = state;
    must(st->open);
    must(has_track(st, f->track));
    sink->payload(sink, f->data);
}

static const enum wr_codec paper_codecs[] = {WR_CODEC_H264, WR_CODEC_AAC, WR_CODEC_NONE};

static const struct wr_muxer_plugin paper = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_muxer_plugin, struct state, WR_KIND_MUXER, "paper", "1",
                                 "Payloads, for tests"),
    .extension = "paper",
    .content_type = "text/plain",
    .codecs = paper_codecs,
    .max_tracks = {[WR_MEDIA_VIDEO] = 1, [WR_MEDIA_AUDIO] = 2},
    .open = paper_open,
    .close = paper_close,
    .mime = paper_mime,
    .init = paper_init,
    .frame = paper_frame,
};

/* ---- driving ------------------------------------------------------------------------------------------------------ */

static const struct live_want wishes[2] = {
    [KIT_ALL] = {.pick = PICK_USUAL}, [KIT_PICTURE] = {.pick = PICK_VIDEO}};

static struct live_output *get(unsigned door)
{
    struct live_output *o = output__get(&kit.s, &paper, &wishes[door]);
    must(o && (!kit.outs[door] || kit.outs[door] == o));
    kit.s.viewers++;
    return kit.outs[door] = o;
}

void kit_open(bool watched)
{
    memset(&kit, 0, sizeof kit);
    kit.codecs[0] = WR_CODEC_H264;
    kit.codecs[1] = WR_CODEC_AAC;
    kit.gop = 1;
    kit.live.muxers[0] = &paper;
    kit.live.num_muxers = 1;
    kit.s.live = &kit.live;
    kit.s.name = strdup("hall");
    kit.s.tell = wr_fanout_new(NULL);
    pthread_mutex_init(&kit.live.lock, NULL);
    pthread_mutex_init(&kit.s.lock, NULL);
    must(kit.s.name && kit.s.tell);
    for (unsigned i = 0; i < 2 && watched; i++)
        (void)get(i);
}

void kit_leave(unsigned door)
{
    struct live_output *o = kit.outs[door];
    kit.outs[door] = NULL;
    while (o) {
        bool last = o->refs == 1;
        output__release(o);
        kit.s.viewers--;
        if (last)
            o = NULL;
    }
}

void kit_close(void)
{
    kit_leave(KIT_ALL);
    kit_leave(KIT_PICTURE);
    must(!kit.s.consumers && kit.s.num_outputs == 0 && kit.s.viewers == 0);
    tracks__free(&kit.s.tracks);
    tracks__free(&kit.s.told);
    wr_fanout_unref(&kit.s.tell);
    items__free(&kit.s.group);
    items__free(&kit.s.held);
    pthread_mutex_destroy(&kit.s.lock);
    pthread_mutex_destroy(&kit.live.lock);
    free(kit.s.name);
}

struct info {
    Watchroom__V1__StreamInfo pb;
    Watchroom__V1__Track tracks[2], *list[2];
};

static void fill_info(struct info *i, enum live_state state, uint64_t epoch, unsigned tracks)
{
    static char name[] = "hall", why[] = "why";
    watchroom__v1__stream_info__init(&i->pb);
    i->pb.stream = name;
    i->pb.state = (Watchroom__V1__StreamState)state;
    i->pb.epoch = epoch;
    i->pb.origin_us = kit.origin_us;
    if (state == LIVE_RETRYING)
        i->pb.reason = why;
    i->pb.tracks = i->list;
    for (unsigned t = 1; t <= 2; t++) {
        if (!(tracks & t))
            continue;
        Watchroom__V1__Track *to = i->list[i->pb.n_tracks] = &i->tracks[i->pb.n_tracks];
        i->pb.n_tracks++;
        watchroom__v1__track__init(to);
        to->track = t;
        to->kind = (Watchroom__V1__TrackKind)t;
        to->codec = (Watchroom__V1__Codec)kit.codecs[t - 1];
        to->timescale = t == KIT_VIDEO ? 90000 : 48000;
    }
}

static void take(struct wr_msg *m)
{
    must(m != NULL);
    told__handle_event(&kit.s, wr_slice_str("stream/hall"), wr_msg_slice(m), m);
    wr_msg_unref(m);
}

void kit_info(enum live_state state, uint64_t epoch, unsigned tracks)
{
    struct info i;
    Watchroom__V1__Event e = WATCHROOM__V1__EVENT__INIT;
    Watchroom__V1__StreamEvent s = WATCHROOM__V1__STREAM_EVENT__INIT;
    fill_info(&i, state, epoch, tracks);
    s.info = &i.pb;
    e.stream = &s;
    take(wr_msg_pack(&e.base));
}

struct wr_media_frame kit_frame(uint64_t epoch, uint32_t track, uint64_t seq, const char *text)
{
    uint32_t scale = track == KIT_VIDEO ? 90000 : 48000;
    int64_t dts = wr_media_ticks(kit.origin_us, scale) + (int64_t)seq * (scale / 25);
    if (text[0] == 'K')
        kit.gop = epoch * 1000 + seq + 1;
    return (struct wr_media_frame){.stream = wr_slice_str("hall"),
                                   .epoch = epoch,
                                   .track = track,
                                   .seq = seq,
                                   .gop = kit.gop,
                                   .key = text[0] != 'P',
                                   .time_us = wr_media_us(dts, scale),
                                   .dts = dts,
                                   .pts = dts,
                                   .duration = track == KIT_VIDEO ? 3600 : 1920,
                                   .data = wr_slice_str(text)};
}

void kit_event(const struct wr_media_frame *f)
{
    struct wr_msg *m = wr_msg_new(wr_media_headroom("ingest", "hall"), f->data.n);
    must(m != NULL);
    memcpy(m->data, f->data.p, f->data.n);
    must(wr_media_event_write(m, f, "ingest", 1, NULL) == WR_OK);
    take(m);
}

void kit_bytes(struct wr_slice bytes)
{
    take(wr_msg_copy(bytes));
}

struct frames {
    Watchroom__V1__MediaFrame pb[16], *list[16];
};

static void fill_frames(struct frames *to, const struct wr_media_frame *frames, size_t n)
{
    must(n <= 16);
    for (size_t k = 0; k < n; k++) {
        const struct wr_media_frame *f = &frames[k];
        Watchroom__V1__MediaFrame *m = to->list[k] = &to->pb[k];
        watchroom__v1__media_frame__init(m);
        m->stream = kit.s.name;
        m->epoch = f->epoch;
        m->track = f->track;
        m->seq = f->seq;
        m->gop = f->gop;
        m->key = f->key;
        m->dts = f->dts;
        m->pts = f->pts;
        m->time_us = f->time_us;
        m->duration = f->duration;
        m->data = (ProtobufCBinaryData){f->data.n, (uint8_t *)(uintptr_t)f->data.p};
    }
}

static void answer(ProtobufCMessage *body, wr_bus_done_fn done)
{
    struct wr_msg *m = wr_msg_pack(body);
    must(m != NULL);
    done(&kit.s, &(struct wr_answer){.body = wr_msg_slice(m), .msg = m, .instance = "ingest"});
    wr_msg_unref(m);
}

void kit_answer(uint64_t epoch, unsigned tracks, const struct wr_media_frame *group, size_t n)
{
    struct info i;
    struct frames frames;
    Watchroom__V1__WatchResponse r = WATCHROOM__V1__WATCH_RESPONSE__INIT;
    fill_info(&i, LIVE_LIVE, epoch, tracks);
    fill_frames(&frames, group, n);
    r.info = &i.pb;
    r.group = frames.list;
    r.n_group = n;
    kit.s.want_group = false;
    answer(&r.base, told__watch_answer);
}

void kit_groups(uint64_t epoch, unsigned tracks, const struct wr_media_frame *from, size_t n,
                uint64_t next_gop)
{
    struct info i;
    struct frames frames;
    Watchroom__V1__GroupsResponse r = WATCHROOM__V1__GROUPS_RESPONSE__INIT;
    Watchroom__V1__Group groups[16], *list[16];
    fill_info(&i, LIVE_LIVE, epoch, tracks);
    fill_frames(&frames, from, n);
    r.info = &i.pb;
    r.groups = list;
    r.next_gop = next_gop;
    for (size_t k = 0; k < n; k++) {
        if (r.n_groups == 0 || groups[r.n_groups - 1].gop != from[k].gop) {
            Watchroom__V1__Group *g = list[r.n_groups] = &groups[r.n_groups];
            r.n_groups++;
            watchroom__v1__group__init(g);
            g->gop = from[k].gop;
            g->epoch = epoch;
            g->frames = &frames.list[k];
        }
        groups[r.n_groups - 1].n_frames++;
    }
    must(kit.s.want_missing);
    kit.s.want_missing = false;
    kit.s.asking = true;
    answer(&r.base, told__groups_answer);
    must(!kit.s.asking);
}

void kit_wait(struct viewer *v, unsigned door)
{
    struct live_output *o = get(door);
    *v = (struct viewer){
        .out = o, .transport = LIVE_RAW, .place = VIEWER_WAITING, .next = o->waiting};
    o->waiting = v;
    output__join_waiting(o);
}

const char *kit_sent(struct wr_fanout *g)
{
    wr_buf_char(&g->log, 0);
    must(!g->log.failed);
    g->log.n = 0;
    return (const char *)g->log.p;
}
