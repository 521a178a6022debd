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
    for (size_t i = 0; i < n; i++)
        write_frame(g, frames[i]);
    return WR_OK;
}

void wr_fanout_each(struct wr_fanout *g, uint32_t classes, wr_member_fn fn, struct wr_msg *arg)
{
    must(classes == LIVE_RAW && fn && !arg);
    wr_buf_str(&g->log, "[end]");
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

void viewer__refuse(struct viewer *v, const char *why)
{
    unlink_waiting(v, VIEWER_REFUSED);
    wr_buf_str(&v->out->fanout->log, "[refused ");
    wr_buf_str(&v->out->fanout->log, why);
    wr_buf_char(&v->out->fanout->log, ']');
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
    unsigned tracks;
    bool open;
};

static wr_err paper_open(void *state, const struct wr_track *tracks, size_t n,
                         struct wr_errmsg *err)
{
    struct state *st = state;
    must(!st->open);
    if (n == 0) {
        wr_errmsg_set(err, "nothing to carry");
        return WR_ERR_INVALID;
    }
    *st = (struct state){.open = true};
    for (size_t i = 0; i < n; i++)
        st->tracks |= tracks[i].id;
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
    if (st->tracks & KIT_VIDEO)
        sink->bytes(sink, "V", 1);
    if (st->tracks & KIT_AUDIO)
        sink->bytes(sink, "A", 1);
}

static void paper_frame(void *state, const struct wr_media_frame *f, struct wr_mux_sink *sink)
{
    struct state *st = state;
    must(st->open);
    if (f->track & st->tracks)
        sink->payload(sink, f->data);
}

static const struct wr_muxer_plugin paper = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_muxer_plugin, struct state, WR_KIND_MUXER, "paper", "1",
                                 "Payloads, for tests"),
    .extension = "paper",
    .content_type = "text/plain",
    .open = paper_open,
    .close = paper_close,
    .mime = paper_mime,
    .init = paper_init,
    .frame = paper_frame,
};

/* ---- driving ------------------------------------------------------------------------------------------------------ */

void kit_open(bool watched)
{
    memset(&kit, 0, sizeof kit);
    kit.live.num_muxers = 1;
    kit.live.num_outputs = 2;
    kit.s.live = &kit.live;
    kit.s.name = strdup("hall");
    kit.s.outs = kit.outs;
    kit.s.tell = wr_fanout_new(NULL);
    pthread_mutex_init(&kit.live.lock, NULL);
    pthread_mutex_init(&kit.s.lock, NULL);
    must(kit.s.name && kit.s.tell);
    for (unsigned i = 0; i < 2; i++) {
        must(output__init(&kit.outs[i], &kit.s, &paper, i == KIT_PICTURE));
        kit.outs[i].viewers = watched;
        kit.s.viewers += watched;
    }
}

void kit_close(void)
{
    for (unsigned i = 0; i < 2; i++) {
        output__fini(&kit.outs[i]);
        wr_buf_free(&kit.s.tracks[i].config);
        wr_buf_free(&kit.s.told_tracks[i].config);
    }
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
        to->timescale = t == WR_TRACK_VIDEO ? 90000 : 48000;
    }
}

static void take(struct wr_msg *m)
{
    must(m != NULL);
    intake__handle_event(&kit.s, wr_slice_str("stream/hall"), wr_msg_slice(m), m);
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
    int64_t dts = (int64_t)seq * (track == WR_TRACK_VIDEO ? 3600 : 1920);
    return (struct wr_media_frame){.stream = wr_slice_str("hall"),
                                   .epoch = epoch,
                                   .track = track,
                                   .seq = seq,
                                   .key = text[0] == 'K',
                                   .dts = dts,
                                   .pts = dts,
                                   .duration = track == WR_TRACK_VIDEO ? 3600 : 1920,
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

void kit_answer(uint64_t epoch, unsigned tracks, const struct wr_media_frame *group, size_t n)
{
    struct info i;
    Watchroom__V1__WatchResponse r = WATCHROOM__V1__WATCH_RESPONSE__INIT;
    Watchroom__V1__MediaFrame frames[16], *list[16];
    must(n <= 16);
    fill_info(&i, LIVE_LIVE, epoch, tracks);
    r.info = &i.pb;
    r.group = list;
    r.n_group = n;
    for (size_t k = 0; k < n; k++) {
        const struct wr_media_frame *f = &group[k];
        watchroom__v1__media_frame__init(list[k] = &frames[k]);
        frames[k].stream = kit.s.name;
        frames[k].epoch = f->epoch;
        frames[k].track = f->track;
        frames[k].seq = f->seq;
        frames[k].key = f->key;
        frames[k].dts = f->dts;
        frames[k].pts = f->pts;
        frames[k].duration = f->duration;
        frames[k].data = (ProtobufCBinaryData){f->data.n, (uint8_t *)(uintptr_t)f->data.p};
    }
    struct wr_msg *m = wr_msg_pack(&r.base);
    must(m != NULL);
    kit.s.want_group = false;
    intake__watch_answer(
        &kit.s, &(struct wr_answer){.body = wr_msg_slice(m), .msg = m, .instance = "ingest"});
    wr_msg_unref(m);
}

void kit_wait(struct viewer *v, unsigned door)
{
    struct live_output *o = &kit.outs[door];
    *v = (struct viewer){
        .out = o, .transport = LIVE_RAW, .place = VIEWER_WAITING, .next = o->waiting};
    o->waiting = v;
    kit.s.viewers++;
    if (o->viewers++ == 0)
        output__activate(o);
    output__join_waiting(o);
}

const char *kit_sent(struct wr_fanout *g)
{
    wr_buf_char(&g->log, 0);
    must(!g->log.failed);
    g->log.n = 0;
    return (const char *)g->log.p;
}
