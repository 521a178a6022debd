/* SPDX-License-Identifier: MIT
 *
 * One connection: writing, reading, closing, and its timers. Everything here runs on the connection's thread. A
 * connection dies (conn__kill) only at the top level of the thread's loop, never inside a callback of its owner. */
#include "plane_priv.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define IOV_MAX_FRAMES 64u

/* Owns a connection whose owner has no more to do with it. */
static void no_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    (void)user;
    (void)why;
}
static const struct wr_conn_ops nobody = {.close = no_close};

void conn__dirty(struct wr_conn *c)
{
    if (c->dirty || c->state == CONN_DEAD)
        return;
    c->dirty = true;
    c->dirty_next = c->t->dirty;
    c->t->dirty = c;
}

void conn__arm(struct wr_conn *c)
{
    struct epoll_event ev = {.events = (c->paused || c->eof ? 0u : (unsigned)EPOLLIN) |
                                       (c->armed_out ? (unsigned)EPOLLOUT : 0u),
                             .data.ptr = c};
    (void)epoll_ctl(c->t->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

static void arm_out(struct wr_conn *c, bool on)
{
    if (c->armed_out == on)
        return;
    c->armed_out = on;
    conn__arm(c);
}

static ssize_t write_some(struct wr_conn *c, size_t *want)
{
    struct iovec iov[IOV_MAX_FRAMES];
    uint32_t n = queue__iov(c, iov, IOV_MAX_FRAMES, want);
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (c->more ? MSG_MORE : 0);
    ssize_t r;
    do {
        if (n == 1) {
            r = send(c->fd, iov[0].iov_base, iov[0].iov_len, flags);
        } else {
            struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
            r = sendmsg(c->fd, &m, flags);
        }
    } while (r < 0 && errno == EINTR);
    wr_count(&plane__m_send_calls, 1);
    return r;
}

static bool lingers(const struct wr_conn *c)
{
    return c->transport == WR_TRANSPORT_STREAM || c->transport == WR_TRANSPORT_TCP;
}

static void all_written(struct wr_conn *c)
{
    if (c->state == CONN_CLOSING && !c->was_shut) {
        arm_out(c, false);
        c->was_shut = true;
        (void)shutdown(c->fd, SHUT_WR);
        if (c->by_peer || c->eof) {
            conn__kill(c, c->close_code, c->reason ? c->reason : "closed by the client");
        } else if (lingers(c)) {
            c->close_ms = c->t->now_ms + PLANE__LINGER_MS;
            plane__schedule(c, c->close_ms);
        }
        return;
    }
    c->file_blocked = c->again = false;
    if (c->state == CONN_OPEN && c->ops->drained)
        c->ops->drained(c, c->user);
    if (c->state != CONN_DEAD && !c->q.n && !c->file_blocked)
        arm_out(c, false);
}

bool conn__write(struct wr_conn *c)
{
    while (c->q.n) {
        size_t want;
        ssize_t r = write_some(c, &want);
        if (r < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        wr_count(&plane__m_sent_bytes, (uint64_t)r);
        c->more = false;
        c->progress_ms = c->t->now_ms;
        queue__written(c, (size_t)r);
        if ((size_t)r < want)
            break;
    }
    return true;
}

void conn__flush(struct wr_conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    bool any = c->q.n != 0 || c->file_blocked || c->again;
    if (c->lost || !conn__write(c))
        conn__kill(c, c->close_code ? c->close_code : 1006, "connection lost");
    else if (c->q.n)
        arm_out(c, true);
    else if (any || c->state == CONN_CLOSING)
        all_written(c);
}

void conn__take(struct wr_conn *c, const uint8_t *p, size_t n)
{
    c->rx_ms = c->t->now_ms;
    c->ping_ms_at = 0;
    if (c->state == CONN_OPEN && c->transport == WR_TRANSPORT_WS)
        ws__feed(c, p, n);
    else if (c->state == CONN_OPEN && c->transport == WR_TRANSPORT_TCP)
        split__feed(c, p, n);
    else if (c->state == CONN_CLOSING)
        c->dropped_kib += (uint32_t)((n + 1023) / 1024);
}

/* The peer ended its half. */
static void half_closed(struct wr_conn *c)
{
    c->eof = true;
    conn__arm(c);
    if (c->ops->half_closed)
        c->ops->half_closed(c, c->user);
    else
        wr_conn_close(c, 1000, "closed by the client");
}

void conn__read(struct wr_conn *c)
{
    if (c->state == CONN_DEAD || c->eof || (c->paused && c->state == CONN_OPEN))
        return;
    if (c->transport == WR_TRANSPORT_STREAM && c->state == CONN_OPEN) {
        c->ops->readable(c, c->user);
        return;
    }
    size_t most = c->policy == WR_QUEUE_CHAT ? PLANE__CHAT_READ_BYTES : sizeof c->t->read;
    ssize_t n;
    do {
        n = recv(c->fd, c->t->read, most, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        conn__take(c, c->t->read, (size_t)n);
        if (c->dropped_kib > PLANE__LINGER_KIB)
            conn__kill(c, c->close_code, "it went on sending");
    } else if (n == 0 && c->transport == WR_TRANSPORT_TCP && c->state == CONN_OPEN) {
        half_closed(c);
    } else if (n == 0 && lingers(c) && !c->was_shut) {
        c->eof = true; /* what is queued still goes to it */
        conn__arm(c);
    } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
        c->by_peer = c->by_peer || c->state == CONN_OPEN;
        conn__kill(c, c->close_code ? c->close_code : 1006,
                   c->reason ? c->reason : "connection lost");
    }
}

static void ping(struct wr_conn *c)
{
    struct wr_frame *f = wr_frame_new(WR_WS_PING, WR_FRAME_KEEP, 0, NULL, 0);
    if (!f)
        return;
    c->ping_ms_at = c->t->now_ms;
    wr_conn_send(c, f);
    wr_frame_unref(f);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Does what is due, and says when to come again. */
void conn__timers(struct wr_conn *c)
{
    int64_t now = c->t->now_ms, next = 0;
    if (c->state == CONN_CLOSING && lingers(c) && !c->was_shut)
        c->close_ms = c->progress_ms + PLANE__STREAM_STALL_MS; /* it takes what is queued */
    if (c->state == CONN_CLOSING) {
        if (now >= c->close_ms) {
            conn__kill(c, c->close_code, c->reason ? c->reason : "closed");
            return;
        }
        plane__schedule(c, c->close_ms);
        return;
    }
    if (c->wake_ms && now >= c->wake_ms) {
        c->wake_ms = 0;
        if (c->ops->wake)
            c->ops->wake(c, c->user);
        if (c->state != CONN_OPEN)
            return;
    }
    next = earlier(next, c->wake_ms);
    if (c->policy == WR_QUEUE_MEDIA && c->q.n) {
        if (now - c->progress_ms >= PLANE__MEDIA_STALL_MS) {
            wr_count(&plane__m_media_stalled, 1);
            c->resets = true;
            conn__kill(c, 3008, "slow");
            return;
        }
        next = earlier(next, c->progress_ms + PLANE__MEDIA_STALL_MS);
    }
    if (c->policy == WR_QUEUE_OWN && (c->q.n || c->file_blocked)) {
        if (now - c->progress_ms >= PLANE__STREAM_STALL_MS) {
            wr_count(&plane__m_stream_stalled, 1);
            c->resets = true;
            conn__kill(c, 1006, "took nothing");
            return;
        }
        next = earlier(next, c->progress_ms + PLANE__STREAM_STALL_MS);
    }
    if (c->transport == WR_TRANSPORT_TCP) {
        if (now - c->message_ms >= c->idle_ms) {
            wr_count(&plane__m_tcp_idle, 1);
            wr_conn_close(c, 1008, "no message came");
            return;
        }
        next = earlier(next, c->message_ms + c->idle_ms);
    }
    if (c->transport == WR_TRANSPORT_WS) {
        if (c->ping_ms_at && now - c->ping_ms_at >= c->pong_ms) {
            wr_count(&plane__m_dead_peers, 1);
            conn__kill(c, 1006, "no pong");
            return;
        }
        if (!c->ping_ms_at && now - c->rx_ms >= c->ping_ms)
            ping(c);
        next = earlier(next, c->ping_ms_at ? c->ping_ms_at + c->pong_ms : c->rx_ms + c->ping_ms);
        int64_t since = ws__incomplete_since(c);
        if (since && now - since >= PLANE__MESSAGE_MS) {
            wr_conn_close(c, 1008, "a message took too long to arrive");
            return;
        }
        next = earlier(next, since ? since + PLANE__MESSAGE_MS : 0);
    }
    if (next)
        plane__schedule(c, WR_MAX(next, now + 1));
}

void conn__begin_close(struct wr_conn *c, uint16_t code, const char *reason, struct wr_frame *last)
{
    if (c->state != CONN_OPEN) {
        wr_frame_unref(last);
        return;
    }
    c->state = CONN_CLOSING;
    c->close_code = code;
    c->reason = strdup(reason);
    c->close_ms = c->t->now_ms + PLANE__CLOSE_MS;
    if (c->transport == WR_TRANSPORT_WS && !last) {
        uint8_t body[125] = {(uint8_t)(code >> 8), (uint8_t)code};
        size_t n = WR_MIN(strlen(reason), sizeof body - 2);
        memcpy(body + 2, reason, n);
        last = wr_frame_copy(WR_WS_CLOSE, wr_slice_of(body, n + 2));
    }
    if (last)
        queue__push_last(c, last);
    wr_frame_unref(last);
    if (c->paused) {
        c->paused = false;
        conn__arm(c);
    }
    conn__dirty(c);
    plane__schedule(c, c->close_ms);
}

void conn__kill(struct wr_conn *c, uint16_t code, const char *reason)
{
    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct plane__thread *t = c->t;
    if (c->fd >= 0) {
        (void)epoll_ctl(t->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        if (c->resets)
            (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        (void)close(c->fd);
        c->fd = -1;
    }
    fanout__leave_all(c);
    struct wr_conn_closed why = {.code = code, .reason = reason, .by_peer = c->by_peer};
    c->ops->close(c, c->user, &why);
    ws__drop(c);
    split__drop(c);
    queue__free(c);
    if (c->listener)
        listen__leave(c->listener, &c->peer);
    if (!c->is_internal)
        wr_count(&plane__m_closed, 1);
    c->dead_next = t->dead;
    t->dead = c;
}

/* ---- for owners ---- */

void wr_conn_send(struct wr_conn *c, struct wr_frame *f)
{
    if (c->state == CONN_OPEN)
        conn__enqueue(c, f);
}

static void send_bytes(struct wr_conn *c, enum wr_ws_op op, struct wr_slice bytes, uint32_t flags)
{
    struct wr_frame *f = wr_frame_copy(op, bytes);
    if (f) {
        f->flags |= flags;
        wr_conn_send(c, f);
    } else {
        conn__begin_close(c, 1011, "out of memory", NULL);
    }
    wr_frame_unref(f);
}

void wr_conn_send_bytes(struct wr_conn *c, enum wr_ws_op op, struct wr_slice bytes)
{
    send_bytes(c, op, bytes, 0);
}

void wr_conn_answer_bytes(struct wr_conn *c, enum wr_ws_op op, struct wr_slice bytes)
{
    send_bytes(c, op, bytes, WR_FRAME_ASKED);
}

void wr_conn_close(struct wr_conn *c, uint16_t code, const char *reason)
{
    conn__begin_close(c, code, reason, NULL);
}

void wr_conn_pause(struct wr_conn *c, bool pause)
{
    if (c->state != CONN_OPEN || c->paused == pause)
        return;
    c->paused = pause;
    conn__arm(c);
    if (!pause && c->transport == WR_TRANSPORT_TCP)
        split__resume(c);
}

/* ---- streams ---- */

void wr_conn_become(struct wr_conn *c, const struct wr_conn_opts *o, struct wr_slice early)
{
    static const struct wr_conn_closed gone = {.code = 1006, .reason = "connection lost"};
    if (c->state != CONN_OPEN || c->lost) {
        o->ops->close(NULL, o->user, &gone);
        c->ops = &nobody;
        wr_conn_close(c, 1006, "connection lost");
        return;
    }
    struct plane__thread *t = c->t;
    conn__options(c, o);
    c->wake_ms = 0;
    c->rx_ms = c->message_ms = t->now_ms;
    c->again = c->file_blocked = false;
    if (c->paused || c->eof) { /* an end of file is read again, and means the end now */
        c->paused = c->eof = false;
        conn__arm(c);
    }
    if (c->ops->open)
        c->ops->open(c, c->user);
    if (c->transport == WR_TRANSPORT_WS)
        plane__schedule(c, t->now_ms + c->ping_ms);
    if (c->transport == WR_TRANSPORT_TCP)
        plane__schedule(c, t->now_ms + c->idle_ms);
    if (early.n && c->state == CONN_OPEN)
        conn__take(c, early.p, early.n);
    if (t->draining)
        plane__drain_one(c, "shutting down");
}

ptrdiff_t wr_conn_recv(struct wr_conn *c, void *to, size_t n)
{
    if (c->state != CONN_OPEN || c->lost)
        return -2;
    if (c->eof)
        return 0;
    ssize_t r;
    do {
        r = recv(c->fd, to, n, MSG_DONTWAIT);
    } while (r < 0 && errno == EINTR);
    if (r > 0) {
        c->rx_ms = c->t->now_ms;
        return r;
    }
    if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return -1;
    if (r == 0) {
        c->eof = true;
        conn__arm(c);
        return 0;
    }
    c->lost = true;
    conn__dirty(c);
    return -2;
}

uint8_t *wr_conn_scratch(struct wr_conn *c, size_t *n)
{
    *n = sizeof c->t->read;
    return c->t->read;
}

ptrdiff_t wr_conn_send_file(struct wr_conn *c, int fd, uint64_t offset, size_t n)
{
    if (c->q.n)
        return 0;
    if (c->state != CONN_OPEN || c->lost)
        return -2;
    off_t off = (off_t)offset;
    ssize_t r;
    do {
        r = sendfile(c->fd, fd, &off, n);
    } while (r < 0 && errno == EINTR);
    wr_count(&plane__m_send_calls, 1);
    if (r > 0) {
        c->progress_ms = c->t->now_ms;
        wr_count(&plane__m_sent_bytes, (uint64_t)r);
        return r;
    }
    if (r < 0 && errno == EAGAIN) {
        c->file_blocked = true;
        arm_out(c, true);
        plane__schedule(c, c->progress_ms + PLANE__STREAM_STALL_MS);
        return 0;
    }
    if (r < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ETIMEDOUT)) {
        c->lost = true;
        conn__dirty(c);
        return -2;
    }
    return -1;
}

void wr_conn_again(struct wr_conn *c)
{
    c->again = true;
    conn__dirty(c);
}

void wr_conn_flush(struct wr_conn *c)
{
    if (c->state == CONN_DEAD || conn__write(c))
        return;
    c->lost = true;
    conn__dirty(c);
}

void wr_conn_cut(struct wr_conn *c)
{
    c->lost = true;
    conn__dirty(c);
}

void wr_conn_reset(struct wr_conn *c)
{
    c->resets = true;
    wr_conn_cut(c);
}

void wr_conn_more_follows(struct wr_conn *c)
{
    c->more = true;
}

const struct wr_addr *wr_conn_peer(const struct wr_conn *c)
{
    return &c->peer;
}

void wr_conn_local(const struct wr_conn *c, struct wr_addr *out)
{
    addr__local(c->fd, out);
}

void wr_conn_set_kind(struct wr_conn *c, uint8_t kind)
{
    c->kind = kind;
}

void *wr_conn_user_of(const struct wr_conn *c, const struct wr_conn_ops *ops)
{
    return c && c->ops == ops ? c->user : NULL;
}

uint32_t wr_conn_thread(const struct wr_conn *c)
{
    return c->t->index;
}

const char *wr_conn_refused(const struct wr_conn *c)
{
    return c->place == PLACE_FULL
               ? "the gateway has as many connections as it may; try again in a moment"
           : c->place == PLACE_DRAINING ? "the gateway is shutting down; try again in a moment"
                                        : NULL;
}

bool wr_conn_is_draining(const struct wr_conn *c)
{
    return c->t->draining;
}

void wr_conn_wake(struct wr_conn *c, uint32_t ms)
{
    c->wake_ms = ms ? c->t->now_ms + ms : 0;
    if (ms)
        plane__schedule(c, c->wake_ms);
}

size_t wr_conn_queued(const struct wr_conn *c)
{
    return c->q.bytes;
}

bool wr_conn_skipping(const struct wr_conn *c)
{
    return c->skipping;
}

struct wr_conn_id wr_conn_id(const struct wr_conn *c)
{
    return (struct wr_conn_id){c->id};
}

void *wr_conn_user(const struct wr_conn *c)
{
    return c->user;
}

struct wr_plane *wr_conn_plane(const struct wr_conn *c)
{
    return c->t->plane;
}
