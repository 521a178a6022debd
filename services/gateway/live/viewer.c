/* SPDX-License-Identifier: MIT
 *
 * A viewer: a connection of the plane that waits for something to begin with, then is a member of its output's fanout.
 * Everything that decides is under the stream's lock; everything that touches the connection is on its own thread. */
#include "live_priv.h"

#include "wr_clock.h"
#include "wr_json.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <stdio.h>
#include <stdlib.h>

WR_GAUGE(viewers, "watchroom_live_viewers", NULL, "Viewers connected");
WR_COUNTER(joins, "watchroom_live_joins_total", NULL, "Viewers who got their first picture");
WR_COUNTER(refusals, "watchroom_live_refused_total", NULL,
           "Viewers who were refused: the source is down (503), the door cannot carry it (404, "
           "415), or they may not see it (403)");

/* ---- the list of who waits ---------------------------------------------------------------------------------------- */

static void link_waiting(struct viewer *v)
{
    struct viewer **at = &v->out->waiting;
    v->next = *at;
    if (v->next)
        v->next->at = &v->next;
    v->at = at;
    *at = v;
    v->place = VIEWER_WAITING;
}

static void unlink_waiting(struct viewer *v, enum viewer_place to)
{
    *v->at = v->next;
    if (v->next)
        v->next->at = v->at;
    v->next = NULL;
    v->at = NULL;
    v->place = to;
}

/* ---- refusing ----------------------------------------------------------------------------------------------------- */

static void send_keep(struct wr_conn *c, struct wr_slice bytes)
{
    struct wr_frame *f = wr_frame_new(WR_WS_BINARY, WR_FRAME_KEEP, 0,
                                      &(struct wr_frame_part){.bytes = bytes}, 1);
    if (f)
        wr_conn_send(c, f);
    wr_frame_unref(f);
}

struct refusal {
    int status;
    char why[256];
};

static void answer_http(struct wr_conn *c, const struct refusal *r)
{
    const struct viewer *v = wr_conn_user(c);
    static const struct {
        int status;
        const char *text;
    } texts[] = {{403, "Forbidden"},
                 {404, "Not Found"},
                 {415, "Unsupported Media Type"},
                 {503, "Service Unavailable"}};
    struct wr_buf body = {.n = 0}, all = {.n = 0};
    const char *text = "";
    for (size_t i = 0; i < WR_ARRAY_LEN(texts); i++)
        if (texts[i].status == r->status)
            text = texts[i].text;
    wr_buf_fmt(&body, "{\"error\":{\"code\":%d,\"message\":", r->status);
    wr_json_put_str(&body, r->why);
    wr_buf_str(&body, "}}");
    wr_buf_fmt(&all,
               "HTTP/1.1 %d %s\r\nContent-Type: "
               "application/json\r\nContent-Length: %zu\r\n%s"
               "Cache-Control: no-store\r\n%sConnection: close\r\n\r\n",
               r->status, text, body.n, v->cors ? v->cors : "",
               r->status == 503 ? "Retry-After: 2\r\n" : "");
    wr_buf_add(&all, body.p, body.n);
    if (!all.failed && !body.failed)
        send_keep(c, wr_slice_of(all.p, all.n));
    wr_buf_free(&body);
    wr_buf_free(&all);
}

/* A close frame has room for 123 bytes of reason. */
static void answer(struct wr_conn *c, const struct refusal *r)
{
    const struct viewer *v = wr_conn_user(c);
    char reason[124];
    snprintf(reason, sizeof reason, "%.123s", r->why);
    if (v->transport == LIVE_RAW)
        answer_http(c, r);
    wr_conn_close(c, r->status == 503 ? 1013 : r->status == 403 ? 1008 : 1003, reason);
    wr_count(&refusals, 1);
}

static void refuse(struct wr_conn *c, void *arg)
{
    if (c)
        answer(c, arg);
    free(arg);
}

static struct refusal refusal_of(int status, const char *why)
{
    struct refusal r = {.status = status};
    snprintf(r.why, sizeof r.why, "%s", why[0] ? why : "the source is down");
    return r;
}

void viewer__refuse(struct viewer *v, int status, const char *why)
{
    struct refusal *r = malloc(sizeof *r);
    unlink_waiting(v, VIEWER_REFUSED);
    if (!r)
        return;
    *r = refusal_of(status, why);
    wr_plane_post(v->out->stream->live->env.plane, v->id, refuse, r);
}

/* ---- rights ------------------------------------------------------------------------------------------------------- */

static bool may_see(const struct viewer *v, struct wr_errmsg *why)
{
    return wr_may(v->identity, WR_VERB_SEE, wr_the_stream(wr_slice_str(v->out->stream->name)),
                  why) == WR_OK;
}

/* He who watches is cut off (1008, the end of a byte stream); he who waits is answered like one who came now. Who is neither
 * has his answer on the way: join asks for itself. */
static void ask_again(struct wr_conn *c, void *arg)
{
    struct viewer *v = wr_conn_user_of(c, &viewer__ops);
    struct wr_errmsg why;
    (void)arg;
    if (!v || may_see(v, &why))
        return;
    if (v->began) {
        char reason[124];
        snprintf(reason, sizeof reason, "%.123s", why.text);
        wr_conn_close(c, 1008, reason);
        return;
    }
    struct live_stream *s = v->out->stream;
    pthread_mutex_lock(&s->lock);
    bool waits = v->place == VIEWER_WAITING;
    if (waits)
        unlink_waiting(v, VIEWER_REFUSED);
    pthread_mutex_unlock(&s->lock);
    const struct refusal r = refusal_of(403, why.text);
    if (waits)
        answer(c, &r);
}

static void ask_member(struct wr_conn *c, const struct wr_msg *arg)
{
    (void)arg;
    ask_again(c, NULL);
}

void viewer__ask_all(struct live_output *o)
{
    struct wr_plane *plane = o->stream->live->env.plane;
    wr_fanout_each(o->fanout, LIVE_WS | LIVE_RAW, ask_member, NULL);
    for (const struct viewer *v = o->waiting; v; v = v->next)
        wr_plane_post(plane, v->id, ask_again, NULL);
}

/* ---- joining ------------------------------------------------------------------------------------------------------ */

void burst__unref(struct live_burst *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < b->n; i++)
        wr_frame_unref(b->frames[i]);
    wr_frame_unref(b->mime);
    free(b);
}

static void send_head(struct wr_conn *c, const struct viewer *v)
{
    char head[700];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: "
                     "no-store\r\nX-Content-Type-Options: nosniff\r\n%s"
                     "X-Accel-Buffering: no\r\nConnection: close\r\n\r\n",
                     v->out->plugin->content_type, v->cors ? v->cors : "");
    send_keep(c, wr_slice_of(head, (size_t)n));
}

/* On the connection's thread, before any frame that was muxed after the burst was taken. */
static void join(struct wr_conn *c, void *arg)
{
    struct live_burst *b = arg;
    struct viewer *v = c ? wr_conn_user(c) : NULL;
    struct wr_errmsg why;
    if (v && !may_see(v, &why)) { /* not any more */
        const struct refusal r = refusal_of(403, why.text);
        answer(c, &r);
    } else if (v) {
        wr_conn_wake(c, 0);
        v->began = true;
        if (v->transport == LIVE_RAW)
            send_head(c, v);
        else if (b->mime)
            wr_conn_send(c, b->mime);
        for (size_t i = 0; i < b->n; i++)
            wr_conn_send(c, b->frames[i]);
        if (!wr_fanout_add(b->fanout, c, v->transport))
            wr_conn_close(c, 1011, "out of memory");
        wr_count(&joins, 1);
    }
    burst__unref(b);
}

void viewer__join(struct viewer *v, struct live_burst *b)
{
    unlink_waiting(v, VIEWER_JOINED);
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    wr_fanout_post(b->fanout, v->id, join, b);
}

struct wr_frame *viewer__state_frame(const struct live_stream *s)
{
    static const char *const names[] = {"unknown", "idle", "starting", "live", "retrying"};
    struct wr_buf b = {.n = 0};
    wr_buf_fmt(&b, "{\"state\":\"%s\",\"reason\":", names[s->state]);
    wr_json_put_str(&b, s->reason);
    wr_buf_char(&b, '}');
    struct wr_frame *f = b.failed
                             ? NULL
                             : wr_frame_new(WR_WS_TEXT, WR_FRAME_KEEP, 0,
                                            &(struct wr_frame_part){.bytes = wr_slice_of(b.p, b.n)},
                                            1);
    wr_buf_free(&b);
    return f;
}

/* ---- callbacks of the plane --------------------------------------------------------------------------------------- */

static bool takes_text(const struct viewer *v)
{
    return v->transport == LIVE_WS && v->out->plugin->flags & WR_MUXER_TELLS_MIME;
}

static void handle_open(struct wr_conn *c, void *user)
{
    struct viewer *v = user;
    struct live_output *o = v->out;
    struct live_stream *s = o->stream;
    v->id = wr_conn_id(c);
    bool tell = takes_text(v) && wr_fanout_add(s->tell, c, LIVE_WS);
    struct wr_frame *state = NULL;
    pthread_mutex_lock(&s->lock);
    v->attached = true;
    if (s->viewers++ == 0) {
        s->state = LIVE_STARTING; /* what the poll said may be old: Watch tells */
        s->reason[0] = 0;
        s->watch_at_us = 0;
        s->want_group = true;
        s->quick_asks = 2;
        live__poke(s->live);
    }
    link_waiting(v);
    output__join_waiting(o);
    if (v->place == VIEWER_WAITING && s->state == LIVE_RETRYING) {
        if (v->transport == LIVE_RAW)
            viewer__refuse(v, 503, s->reason);
        else if (tell)
            state = viewer__state_frame(s);
    }
    if (o->unfit && v->place == VIEWER_WAITING)
        viewer__refuse(v, o->unfit, o->why.text);
    bool waits = v->place == VIEWER_WAITING;
    pthread_mutex_unlock(&s->lock);
    if (state)
        wr_conn_send(c, state);
    wr_frame_unref(state);
    if (waits && v->transport == LIVE_RAW)
        wr_conn_wake(c, LIVE_START_MS);
    wr_gauge_add(&viewers, 1);
    if (waits) /* rights may have changed since the door, when nobody could find him here */
        ask_again(c, NULL);
}

/* The source had its time to start. */
static void handle_wake(struct wr_conn *c, void *user)
{
    struct viewer *v = user;
    struct live_stream *s = v->out->stream;
    struct refusal why;
    pthread_mutex_lock(&s->lock);
    bool waits = v->place == VIEWER_WAITING;
    bool goes_on = waits && !v->is_patient && s->state == LIVE_STARTING && s->reason[0];
    v->is_patient = true;
    if (waits && !goes_on)
        unlink_waiting(v, VIEWER_REFUSED);
    why = refusal_of(503, s->reason[0] ? s->reason
                                       : "the source did not start within 5 s; it is still tried");
    pthread_mutex_unlock(&s->lock);
    if (goes_on)
        wr_conn_wake(c, LIVE_KEY_MS - LIVE_START_MS);
    else if (waits)
        answer(c, &why);
}

static void handle_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    struct viewer *v = user;
    struct live_stream *s = v->out->stream;
    (void)c, (void)why;
    pthread_mutex_lock(&s->lock);
    if (v->place == VIEWER_WAITING)
        unlink_waiting(v, VIEWER_REFUSED);
    output__release(v->out);
    if (v->attached && --s->viewers == 0) {
        intake__forget(s);
        live__poke(s->live);
    }
    pthread_mutex_unlock(&s->lock);
    if (v->attached)
        wr_gauge_add(&viewers, -1);
    live__release(s);
    wr_identity_unref(v->identity);
    free(v->cors);
    free(v);
}

const struct wr_conn_ops viewer__ops = {
    .open = handle_open, .wake = handle_wake, .close = handle_close};
