/* SPDX-License-Identifier: MIT
 *
 * A connection's queue of frames and its two policies. The bound is in bytes (and in age for media), because that is
 * what a slow client costs: the bytes that are still to be written, and what each frame takes beside them, which for a pong is
 * fifty times as much. A frame that others wait for as well counts in full for each: it is there as long as the slowest. What
 * the client asked for does not count: who answers it asks for no more while that waits. */
#include "plane_priv.h"
#include <stdlib.h>

static struct plane__slot *slot_at(struct plane__queue *q, uint32_t i)
{
    return &q->v[(q->head + i) & (q->cap - 1)];
}

static size_t wire_bytes(const struct wr_conn *c, const struct wr_frame *f)
{
    return f->bytes + (c->transport == WR_TRANSPORT_WS ? f->head : 0);
}

/* Wire bytes and the rest of what is there for the frame as long as it waits. */
static size_t cost(const struct wr_conn *c, const struct wr_frame *f)
{
    return wire_bytes(c, f) + plane__frame_overhead(f);
}

static size_t first_off(const struct wr_conn *c, const struct wr_frame *f)
{
    return c->transport == WR_TRANSPORT_WS ? 0 : f->head;
}

static bool push(struct wr_conn *c, struct wr_frame *f)
{
    struct plane__queue *q = &c->q;
    if (q->n == q->cap) {
        uint32_t cap = q->cap ? q->cap * 2 : 8;
        struct plane__slot *v = malloc(cap * sizeof *v);
        if (!v)
            return false;
        for (uint32_t i = 0; i < q->n; i++)
            v[i] = *slot_at(q, i);
        free(q->v);
        q->v = v;
        q->cap = cap;
        q->head = 0;
    }
    if (q->n == 0) {
        q->off = first_off(c, f);
        c->progress_ms = c->t->now_ms;
    }
    *slot_at(q, q->n++) = (struct plane__slot){wr_frame_ref(f), (uint32_t)c->t->now_ms};
    q->bytes += cost(c, f);
    if (f->flags & WR_FRAME_ASKED)
        q->asked += cost(c, f);
    return true;
}

void queue__pop(struct wr_conn *c)
{
    struct plane__queue *q = &c->q;
    struct wr_frame *f = slot_at(q, 0)->frame;
    q->bytes -= plane__frame_overhead(f);
    if (f->flags & WR_FRAME_ASKED)
        q->asked -= cost(c, f);
    wr_frame_unref(f);
    q->head = (q->head + 1) & (q->cap - 1);
    q->n--;
    q->off = q->n ? first_off(c, slot_at(q, 0)->frame) : 0;
    if (q->n == 0 && q->cap > 64) { /* a burst is over: give its memory back */
        free(q->v);
        *q = (struct plane__queue){0};
    }
}

/* Drops the frames that were not begun, except those to keep; returns how many went. */
static size_t drop_waiting(struct wr_conn *c, bool keep)
{
    struct plane__queue *q = &c->q;
    if (q->n == 0)
        return 0;
    bool begun = q->off > first_off(c, slot_at(q, 0)->frame);
    uint32_t to = begun ? 1 : 0;
    size_t dropped = 0;
    for (uint32_t i = to; i < q->n; i++) {
        struct plane__slot s = *slot_at(q, i);
        if (keep && (s.frame->flags & WR_FRAME_KEEP)) {
            *slot_at(q, to++) = s;
            continue;
        }
        q->bytes -= cost(c, s.frame);
        if (s.frame->flags & WR_FRAME_ASKED)
            q->asked -= cost(c, s.frame);
        wr_frame_unref(s.frame);
        dropped++;
    }
    q->n = to;
    if (!begun)
        q->off = q->n ? first_off(c, slot_at(q, 0)->frame) : 0;
    return dropped;
}

void queue__free(struct wr_conn *c)
{
    for (uint32_t i = 0; i < c->q.n; i++)
        wr_frame_unref(slot_at(&c->q, i)->frame);
    free(c->q.v);
    c->q = (struct plane__queue){0};
}

static void slow(struct wr_conn *c)
{
    wr_count(&plane__m_slow, 1);
    drop_waiting(c, false);
    conn__begin_close(c, 3008, "slow", NULL);
}

/* False: the frame is not for this connection now. */
static bool media_admits(struct wr_conn *c, const struct wr_frame *f)
{
    if (f->flags & WR_FRAME_KEEP)
        return c->q.bytes + cost(c, f) <= 2 * (size_t)c->queue_bytes;
    bool full = c->q.n && (c->q.bytes + cost(c, f) > c->queue_bytes ||
                           (uint32_t)c->t->now_ms - slot_at(&c->q, 0)->at_ms > c->queue_ms);
    if (full) {
        wr_count(&plane__m_media_dropped, drop_waiting(c, true));
        c->skipping = true;
        /* A begun frame that is as old as the bound keeps the queue full: the key frame has to wait for its end. */
        full = c->q.n && (c->q.bytes + cost(c, f) > c->queue_bytes ||
                          (uint32_t)c->t->now_ms - slot_at(&c->q, 0)->at_ms > c->queue_ms);
    }
    if (c->skipping && (full || !(f->flags & WR_FRAME_KEY))) {
        wr_count(&plane__m_media_dropped, 1);
        return false;
    }
    c->skipping = false;
    return true;
}

/* Bytes that wait without having been asked for. */
static size_t told_bytes(struct wr_conn *c)
{
    struct plane__queue *q = &c->q;
    const struct wr_frame *first = q->n ? slot_at(q, 0)->frame : NULL;
    bool is_asked = first && (first->flags & WR_FRAME_ASKED);
    size_t written = is_asked ? q->off - first_off(c, first)
                              : 0; /* it is out of bytes, not of asked */
    return q->bytes - (q->asked - written);
}

static bool chat_fits(struct wr_conn *c, const struct wr_frame *f)
{
    return c->q.n == 0 || (f->flags & WR_FRAME_ASKED) ||
           told_bytes(c) + cost(c, f) <= c->queue_bytes;
}

/* What is queued may only wait for the thread's next round of writing: slow is a client whose socket takes no more. */
static bool chat_admits(struct wr_conn *c, const struct wr_frame *f)
{
    if (chat_fits(c, f))
        return true;
    if (!conn__write(c)) {
        conn__dirty(c); /* lost: that round ends it */
        return false;
    }
    if (chat_fits(c, f))
        return true;
    slow(c);
    return false;
}

void conn__enqueue(struct wr_conn *c, struct wr_frame *f)
{
    if (c->policy == WR_QUEUE_MEDIA) {
        if (!media_admits(c, f)) {
            if (f->flags & WR_FRAME_KEEP)
                slow(c);
            return;
        }
    } else if (c->policy == WR_QUEUE_CHAT && !chat_admits(c, f)) {
        return;
    }
    bool first = c->q.n == 0;
    if (!push(c, f)) {
        slow(c); /* no memory for one pointer: as if the queue were full */
        return;
    }
    if (first && c->policy != WR_QUEUE_CHAT)
        plane__schedule(c, c->t->now_ms + (c->policy == WR_QUEUE_MEDIA ? PLANE__MEDIA_STALL_MS
                                                                       : PLANE__STREAM_STALL_MS));
    conn__dirty(c);
}

/* The last frame of a closing connection: past every bound. */
void queue__push_last(struct wr_conn *c, struct wr_frame *f)
{
    if (push(c, f))
        conn__dirty(c);
}

uint32_t queue__iov(struct wr_conn *c, struct iovec *iov, uint32_t max, size_t *bytes)
{
    uint32_t n = 0;
    size_t off = c->q.off;
    *bytes = 0;
    for (uint32_t i = 0; i < c->q.n && n < max; i++) {
        const struct wr_frame *f = slot_at(&c->q, i)->frame;
        if (i)
            off = first_off(c, f);
        for (uint32_t s = 0; s < f->nsegs && n < max; s++) {
            if (off >= f->segs[s].n) {
                off -= f->segs[s].n;
                continue;
            }
            union {
                const uint8_t *in;
                void *out;
            } p = {.in = f->segs[s].p + off};
            iov[n++] = (struct iovec){p.out, f->segs[s].n - off};
            *bytes += f->segs[s].n - off;
            off = 0;
        }
    }
    return n;
}

void queue__written(struct wr_conn *c, size_t n)
{
    struct plane__queue *q = &c->q;
    q->bytes -= n;
    while (q->n) {
        const struct wr_frame *f = slot_at(q, 0)->frame;
        size_t left = f->head + f->bytes - q->off;
        if (n < left) {
            q->off += n;
            return;
        }
        n -= left;
        wr_count(&plane__m_sent_frames, 1);
        queue__pop(c);
    }
}
