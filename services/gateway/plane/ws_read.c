/* SPDX-License-Identifier: MIT
 *
 * The reading side of WebSocket, by wslay's event interface: it checks heads, masks, fragments, UTF-8, control frames
 * and the close handshake. A wslay context embeds two buffers of 4 KiB, so a connection has one only while a frame or a
 * message is incomplete; else the thread's pool keeps it. What wslay wants to say (pong, close) becomes a frame of the
 * connection's own queue. */
#include "plane_priv.h"
#include <stdlib.h>
#include <wslay/wslay.h>

#define POOL_MAX 64u

struct plane__reader {
    wslay_event_context_ptr ctx;
    struct wr_conn *c;
    struct plane__reader *next; /* in the pool */
    const uint8_t *in;
    size_t n;
    uint64_t fed, done; /* bytes given to wslay; bytes of frames that are complete */
    uint64_t frame;     /* bytes of the current frame, with its head */
    uint8_t opcode, fin;
    bool in_message; /* between a first fragment and the last */
    bool peer_closed;
    bool half_code; /* a close frame with one byte: wslay takes it for one without a code */
    int64_t since_ms;
    struct wr_buf out;
};

static ssize_t on_want_bytes(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags,
                             void *user)
{
    (void)flags;
    struct plane__reader *r = user;
    if (r->n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = WR_MIN(len, r->n);
    memcpy(buf, r->in, n);
    r->in += n;
    r->n -= n;
    return (ssize_t)n;
}

static ssize_t on_say_bytes(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
                            void *user)
{
    (void)ctx;
    (void)flags;
    struct plane__reader *r = user;
    wr_buf_add(&r->out, data, len);
    return (ssize_t)len;
}

static void on_frame_start(wslay_event_context_ptr ctx,
                           const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
    (void)ctx;
    struct plane__reader *r = user;
    uint64_t n = arg->payload_length;
    r->frame = n + 2 + 4 + (n < 126 ? 0 : n <= 0xffff ? 2 : 8);
    r->opcode = arg->opcode;
    r->fin = arg->fin;
    r->half_code = arg->opcode == WSLAY_CONNECTION_CLOSE && n == 1;
}

static void on_frame_end(wslay_event_context_ptr ctx, void *user)
{
    (void)ctx;
    struct plane__reader *r = user;
    r->done += r->frame;
    if (!wslay_is_ctrl_frame(r->opcode))
        r->in_message = !r->fin;
    if (!r->in_message) /* what follows in the same bytes begins now */
        r->since_ms = r->c->t->now_ms;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user)
{
    (void)ctx;
    struct plane__reader *r = user;
    struct wr_conn *c = r->c;
    if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
        if (r->half_code)
            return; /* ended with 1002 */
        r->peer_closed = true;
        c->by_peer = c->state == CONN_OPEN;
        if (c->by_peer)
            c->close_code = arg->status_code ? arg->status_code : 1005;
        return;
    }
    if (c->state != CONN_OPEN ||
        (arg->opcode != WSLAY_TEXT_FRAME && arg->opcode != WSLAY_BINARY_FRAME))
        return;
    wr_count(&plane__m_received, 1);
    if (c->ops->message)
        c->ops->message(c, c->user, (enum wr_ws_op)arg->opcode,
                        wr_slice_of(arg->msg, arg->msg_length));
}

static struct plane__reader *reader_new(void)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_want_bytes,
        .send_callback = on_say_bytes,
        .on_frame_recv_start_callback = on_frame_start,
        .on_frame_recv_end_callback = on_frame_end,
        .on_msg_recv_callback = on_message,
    };
    struct plane__reader *r = calloc(1, sizeof *r);
    if (!r || wslay_event_context_server_init(&r->ctx, &callbacks, r) != 0) {
        free(r);
        return NULL;
    }
    return r;
}

static void reader_free(struct plane__reader *r)
{
    wslay_event_context_free(r->ctx);
    wr_buf_free(&r->out);
    free(r);
}

static struct plane__reader *reader_take(struct wr_conn *c)
{
    struct plane__thread *t = c->t;
    struct plane__reader *r = t->pool;
    if (r) {
        t->pool = r->next;
        t->npool--;
    } else {
        r = reader_new();
    }
    if (!r)
        return NULL;
    r->c = c;
    r->fed = r->done = 0;
    r->since_ms = t->now_ms;
    wslay_event_config_set_max_recv_msg_length(r->ctx, c->max_message);
    return r;
}

static void reader_give(struct plane__thread *t, struct plane__reader *r)
{
    if (t->npool >= POOL_MAX) {
        reader_free(r);
        return;
    }
    r->c = NULL;
    r->next = t->pool;
    t->pool = r;
    t->npool++;
}

/* A fault of the protocol that wslay only reports: the answer is 1002 (RFC 6455, 7.1.7). */
static void fail(struct wr_conn *c)
{
    wr_count(&plane__m_protocol_errors, 1);
    conn__begin_close(c, 1002, "protocol error", NULL);
}

/* wslay said its last: its close frame is the last of ours. */
static void end(struct wr_conn *c, struct plane__reader *r)
{
    uint16_t sent = wslay_event_get_status_code_sent(r->ctx);
    struct wr_frame *last = r->out.n && !r->out.failed
                                ? wr_frame_plain(wr_slice_of(r->out.p, r->out.n))
                                : NULL;
    if (r->peer_closed) {
        conn__begin_close(c, c->close_code ? c->close_code : 1005, "closed by the client", last);
        return;
    }
    wr_count(&plane__m_protocol_errors, 1);
    /* wslay's own close frame has no reason: ours says what was wrong. */
    wr_frame_unref(last);
    const char *why = sent == 1007   ? "text that is not UTF-8"
                      : sent == 1009 ? "message over the limit"
                                     : "protocol error";
    conn__begin_close(c, sent == 1007 || sent == 1009 ? sent : 1002, why, NULL);
}

void ws__feed(struct wr_conn *c, const uint8_t *p, size_t n)
{
    struct plane__reader *r = c->reader;
    if (!r) {
        r = reader_take(c);
        if (!r) {
            conn__begin_close(c, 1011, "out of memory", NULL);
            return;
        }
        c->reader = r;
    }
    if (r->fed == r->done && !r->in_message)
        r->since_ms = c->t->now_ms;
    r->in = p;
    r->n = n;
    r->fed += n;
    int err = wslay_event_recv(r->ctx);
    bool over = err != 0 || !wslay_event_get_read_enabled(r->ctx);
    wr_buf_clear(&r->out);
    if (wslay_event_want_write(r->ctx))
        (void)wslay_event_send(r->ctx);
    if (over) {
        c->reader = NULL;
        if (c->state == CONN_OPEN) {
            if (err != 0)
                fail(c);
            else
                end(c, r);
        }
        reader_free(r);
        return;
    }
    if (r->out.n && c->state == CONN_OPEN) { /* a pong */
        struct wr_frame *f = r->out.failed ? NULL : wr_frame_plain(wr_slice_of(r->out.p, r->out.n));
        if (f) {
            wr_conn_send(c, f);
            wr_frame_unref(f);
        }
    }
    if (r->fed == r->done && !r->in_message) {
        c->reader = NULL;
        reader_give(c->t, r);
    } else {
        plane__schedule(c, r->since_ms + PLANE__MESSAGE_MS);
    }
}

int64_t ws__incomplete_since(const struct wr_conn *c)
{
    return c->reader ? c->reader->since_ms : 0;
}

void ws__drop(struct wr_conn *c)
{
    if (c->reader)
        reader_free(c->reader);
    c->reader = NULL;
}

void ws__pool_free(struct plane__thread *t)
{
    while (t->pool) {
        struct plane__reader *r = t->pool;
        t->pool = r->next;
        reader_free(r);
    }
}
