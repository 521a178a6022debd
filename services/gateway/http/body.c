/* SPDX-License-Identifier: MIT
 *
 * A request's body on the plane: takes the coding off, counts, judges the pace. Whose body it is (an upload's, one that is
 * collected, one that is dropped) is its ops' affair. */
#include "http_priv.h"
#include "wr_clock.h"
#include <stdlib.h>

struct wr_http_body *http__body_new(struct wr_conn *c, struct http__front *f, uint32_t no,
                                    bool is_chunked, int64_t length,
                                    const struct wr_http_body_ops *ops, void *user)
{
    struct wr_http_body *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->front = f;
    b->conn = c;
    b->ops = ops;
    b->user = user;
    b->no = no;
    b->is_chunked = is_chunked;
    b->left = !is_chunked && length > 0 ? (uint64_t)length : 0;
    http__pace_begin(&b->pace, 0, wr_mono_ms());
    return b;
}

static void give(struct wr_http_body *b, struct wr_slice bytes)
{
    if (bytes.n)
        b->ops->data(b, b->user, bytes);
}

static size_t feed_chunked(struct wr_http_body *b, const uint8_t *p, size_t n,
                           enum wr_http_body_end *how)
{
    size_t at = 0;
    while (at < n) {
        struct wr_slice data;
        at += http__chunked_feed(&b->chunked, p + at, n - at, &data);
        give(b, data);
        if (b->chunked.state == HTTP__CHUNK_DONE) {
            *how = WR_BODY_WHOLE;
            return at;
        }
        if (b->chunked.state == HTTP__CHUNK_BAD) {
            *how = WR_BODY_MALFORMED;
            return n;
        }
    }
    return at;
}

size_t http__body_feed(struct wr_http_body *b, const uint8_t *p, size_t n,
                       enum wr_http_body_end *how)
{
    b->came += n;
    if (b->is_chunked)
        return feed_chunked(b, p, n, how);
    size_t mine = (size_t)WR_MIN((uint64_t)n, b->left);
    b->left -= mine;
    give(b, wr_slice_of(p, mine));
    if (b->left == 0)
        *how = WR_BODY_WHOLE;
    return mine;
}

/* Right to where its owner wants it. */
static bool read_to_owner(struct wr_http_body *b, enum wr_http_body_end *how)
{
    uint8_t *to = NULL;
    size_t room = 0;
    b->ops->buffer(b, b->user, &to, &room);
    if (room == 0) {
        wr_http_body_pause(b, true);
        return false;
    }
    ptrdiff_t n = wr_conn_recv(b->conn, to, (size_t)WR_MIN((uint64_t)room, b->left));
    if (n == 0)
        *how = WR_BODY_LEFT;
    if (n <= 0)
        return false;
    b->came += (uint64_t)n;
    b->left -= (uint64_t)n;
    give(b, wr_slice_of(to, (size_t)n));
    if (b->left == 0)
        *how = WR_BODY_WHOLE;
    return true;
}

bool http__body_read(struct wr_http_body *b, struct wr_slice *extra, enum wr_http_body_end *how)
{
    *extra = (struct wr_slice){0};
    if (!b->is_chunked && b->ops->buffer)
        return read_to_owner(b, how);
    size_t room;
    uint8_t *to = wr_conn_scratch(b->conn, &room);
    /* What is behind a body of known length stays in the kernel. */
    if (!b->is_chunked)
        room = (size_t)WR_MIN((uint64_t)room, b->left);
    ptrdiff_t n = wr_conn_recv(b->conn, to, room);
    if (n == 0)
        *how = WR_BODY_LEFT;
    if (n <= 0)
        return false;
    size_t used = http__body_feed(b, to, (size_t)n, how);
    *extra = wr_slice_of(to + used, (size_t)n - used);
    return true;
}

void http__body_end(struct wr_http_body **bp, enum wr_http_body_end how)
{
    struct wr_http_body *b = *bp;
    *bp = NULL;
    if (!b)
        return;
    b->is_over = true;
    b->ops->end(b, b->user, how);
    free(b);
}

bool http__body_look(struct wr_http_body *b, int64_t now_ms, uint32_t patience_ms)
{
    bool is_silent = b->came == b->pace.moved && now_ms - b->pace.moved_ms >= HTTP__BODY_IDLE_MS;
    if (http__pace_is_slow(&b->pace, b->came, !b->is_paused, now_ms, patience_ms))
        return true;
    if (b->is_paused || !is_silent) {
        b->is_idle = false;
    } else if (!b->is_idle) {
        b->is_idle = true;
        if (b->ops->idle)
            b->ops->idle(b, b->user); /* may pause it */
    }
    return false;
}

void wr_http_body_pause(struct wr_http_body *b, bool pause)
{
    if (b->is_over || b->is_paused == pause)
        return;
    b->is_paused = pause;
    if (!pause) /* the time did not count */
        http__pace_begin(&b->pace, b->came, wr_mono_ms());
    http__front_body_paused(b->front, pause);
}

struct wr_http_to wr_http_body_to(const struct wr_http_body *b)
{
    return (struct wr_http_to){wr_conn_plane(b->conn), wr_conn_id(b->conn), b->no};
}

struct post {
    wr_http_body_fn fn;
    void *arg;
    uint32_t no;
};

static void run_post(struct wr_conn *c, void *arg)
{
    struct post *p = arg;
    p->fn(http__front_body(c, p->no), p->arg);
    free(p);
}

void wr_http_body_post(struct wr_http_to to, wr_http_body_fn fn, void *arg)
{
    struct post *p = malloc(sizeof *p);
    if (!p)
        abort(); /* fn must run exactly once */
    *p = (struct post){fn, arg, to.no};
    wr_plane_post(to.plane, to.conn, run_post, p);
}
