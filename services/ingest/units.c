/* SPDX-License-Identifier: MIT
 *
 * See units.h. */
#include "units.h"

void units__order_init(struct units_order *o, unsigned depth)
{
    *o = (struct units_order){.depth = WR_MIN(depth, UNITS_MAX_DEPTH)};
}

static void insert(struct units_order *o, int64_t pts)
{
    if (o->n > UNITS_MAX_DEPTH) { /* the smallest is past */
        o->n--;
        memmove(o->pts, o->pts + 1, o->n * sizeof o->pts[0]);
    }
    unsigned i = o->n++;
    for (; i > 0 && o->pts[i - 1] > pts; i--)
        o->pts[i] = o->pts[i - 1];
    o->pts[i] = pts;
}

/* Pictures that are decoded before this one and shown after it. */
static unsigned overtaken(const struct units_order *o, int64_t pts)
{
    unsigned n = 0;
    while (n < o->n && o->pts[o->n - 1 - n] > pts)
        n++;
    return WR_MIN(n, UNITS_MAX_DEPTH);
}

int64_t units__order(struct units_order *o, int64_t pts, int64_t duration)
{
    /* A step of over 10 s is another clock, not an order. */
    const int64_t far = 10 * 90000;
    if (o->n > 0 && (pts - o->pts[o->n - 1] > far || o->pts[o->n - 1] - pts > far))
        o->n = 0;
    if (o->n == 0)
        for (unsigned i = o->depth; i > 0; i--)
            insert(o, pts - (int64_t)i * duration);
    unsigned needed = overtaken(o, pts);
    o->depth = WR_MAX(o->depth, needed);
    insert(o, pts);
    return o->pts[o->n > o->depth ? o->n - 1 - o->depth : 0];
}

static void finish(struct units *a, int64_t next_pts, units_fn fn, void *ctx)
{
    int64_t d = next_pts - a->pts;
    struct units_one u = {.data = {a->bytes.p, a->bytes.n},
                          .pts = a->pts,
                          .camera_us = a->camera_us,
                          .duration = d > 0 && d < 2 * 90000 ? (uint32_t)d : 0};
    if (a->too_big || a->bytes.failed)
        a->dropped++;
    else if (a->bytes.n > 0)
        fn(ctx, &u);
    wr_buf_clear(&a->bytes);
    a->too_big = false;
}

void units__feed(struct units *a, struct wr_slice data, int64_t pts, int64_t camera_us, units_fn fn,
                 void *ctx)
{
    if (pts == INT64_MIN)
        pts = a->pts;
    if (a->has_pts && pts != a->pts)
        finish(a, pts, fn, ctx);
    if (!a->has_pts || pts != a->pts)
        a->camera_us = 0;
    a->pts = pts;
    a->has_pts = true;
    a->camera_us = camera_us ? camera_us : a->camera_us;
    if (a->bytes.n + data.n > UNITS_MAX_BYTES)
        a->too_big = true;
    else
        wr_buf_slice(&a->bytes, data);
}

void units__free(struct units *a)
{
    wr_buf_free(&a->bytes);
}
