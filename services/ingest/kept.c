/* SPDX-License-Identifier: MIT
 *
 * See kept.h. */
#include "kept.h"

#include "track_pb.h"
#include "wr_metrics.h"

#include <stdlib.h>

WR_COUNTER(outgrown, "watchroom_ingest_group_outgrown_total", NULL,
           "Groups of pictures that were too long to keep: viewers who join then wait for the next "
           "keyframe");
WR_GAUGE(kept_bytes, "watchroom_ingest_kept_bytes", NULL, "Bytes of frames in kept groups");

/* ---- groups ------------------------------------------------------------------------------------------------------- */

static void free_group(struct kept_group *g)
{
    for (size_t i = 0; i < g->n; i++)
        wr_msg_unref(g->items[i].msg);
    free(g->items);
    *g = (struct kept_group){.n = 0};
}

static void forget_at(struct kept *k, size_t at)
{
    k->bytes -= k->groups[at].bytes;
    wr_gauge_add(&kept_bytes, -(int64_t)k->groups[at].bytes);
    free_group(&k->groups[at]);
    memmove(k->groups + at, k->groups + at + 1, (k->n - at - 1) * sizeof *k->groups);
    k->n--;
}

static bool is_used(const struct kept *k, uint64_t epoch)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->groups[i].epoch == epoch)
            return true;
    return false;
}

/* All but the newest, which is that of now, go with their last group. */
static void forget_epochs(struct kept *k)
{
    size_t left = 0;
    for (size_t i = 0; i < k->num_epochs; i++) {
        if (i + 1 < k->num_epochs && !is_used(k, k->epochs[i].epoch))
            wr_buf_free(&k->epochs[i].packed);
        else
            k->epochs[left++] = k->epochs[i];
    }
    k->num_epochs = left;
}

/* The newest group stays: it is the current one, and bounded by itself. */
static void trim(struct kept *k, int64_t now_us)
{
    while (k->n > 1 && (k->bytes > k->max_bytes || now_us - k->groups[0].ended_us > k->max_us))
        forget_at(k, 0);
    forget_epochs(k);
}

static bool append(struct kept_group *g, const struct sink_frame *f)
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 64;
        struct kept_item *items = realloc(g->items, cap * sizeof *items);
        if (!items)
            return false;
        g->items = items;
        g->cap = cap;
    }
    g->items[g->n++] = (struct kept_item){wr_msg_ref(f->msg), f->media};
    g->bytes += f->media.n;
    g->ended_us = f->now_us;
    return true;
}

static void close_group(struct kept *k)
{
    if (k->open)
        k->groups[k->n - 1].complete = true;
    k->open = false;
}

static void begin_group(struct kept *k, const struct sink_frame *f)
{
    close_group(k);
    if (k->n == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : 16;
        struct kept_group *groups = realloc(k->groups, cap * sizeof *groups);
        if (!groups)
            return;
        k->groups = groups;
        k->cap = cap;
    }
    k->groups[k->n++] = (struct kept_group){
        .gop = f->f.gop, .epoch = f->f.epoch, .began_us = f->now_us, .ended_us = f->now_us};
    k->open = true;
    trim(k, f->now_us);
}

/* ---- the sink ----------------------------------------------------------------------------------------------------- */

static void take_epoch(void *ctx, uint64_t epoch, const struct wr_track *tracks, size_t n)
{
    struct kept *k = ctx;
    close_group(k);
    if (k->num_epochs == k->cap_epochs) {
        size_t cap = k->cap_epochs ? k->cap_epochs * 2 : 4;
        struct kept_epoch *epochs = realloc(k->epochs, cap * sizeof *epochs);
        if (!epochs)
            return;
        k->epochs = epochs;
        k->cap_epochs = cap;
    }
    struct kept_epoch *e = &k->epochs[k->num_epochs++];
    *e = (struct kept_epoch){.epoch = epoch};
    track_pb__epoch(&e->packed, epoch, tracks, n);
    forget_epochs(k);
}

static void take_frame(void *ctx, const struct sink_frame *f)
{
    struct kept *k = ctx;
    if (f->begins)
        begin_group(k, f);
    if (!k->open)
        return;
    struct kept_group *g = &k->groups[k->n - 1];
    bool fits = g->bytes + f->media.n <= KEPT_GROUP_MAX_BYTES &&
                f->now_us - g->began_us <= KEPT_GROUP_MAX_US;
    size_t before = g->bytes;
    if (fits && append(g, f)) {
        k->bytes += g->bytes - before;
        wr_gauge_add(&kept_bytes, (int64_t)(g->bytes - before));
        return;
    }
    k->open = false;
    forget_at(k, k->n - 1);
    wr_count(&outgrown, 1);
}

static void take_end(void *ctx)
{
    close_group(ctx);
}

const struct sink kept__sink = {.epoch = take_epoch, .frame = take_frame, .end = take_end};

void kept__clear(struct kept *k)
{
    k->open = false;
    while (k->n > 0)
        forget_at(k, k->n - 1);
    for (size_t i = 0; i < k->num_epochs; i++)
        wr_buf_free(&k->epochs[i].packed);
    k->num_epochs = 0;
}

void kept__free(struct kept *k)
{
    kept__clear(k);
    free(k->groups);
    free(k->epochs);
    k->groups = NULL;
    k->epochs = NULL;
    k->cap = k->cap_epochs = 0;
}

/* ---- pages -------------------------------------------------------------------------------------------------------- */

static bool copy_group(struct kept_group *to, const struct kept_group *g)
{
    *to = *g;
    to->items = malloc(g->n * sizeof *g->items + 1);
    to->n = to->cap = 0;
    if (!to->items)
        return false;
    for (; to->n < g->n; to->n++) {
        to->items[to->n] = g->items[to->n];
        (void)wr_msg_ref(g->items[to->n].msg);
    }
    to->cap = g->n;
    return true;
}

static void copy_epochs(struct kept_page *p, const struct kept *k)
{
    p->epochs = calloc(k->num_epochs + 1, sizeof *p->epochs);
    p->failed |= !p->epochs;
    for (size_t i = 0; i < k->num_epochs && !p->failed; i++) {
        bool used = false;
        for (size_t j = 0; j < p->n; j++)
            used |= p->groups[j].epoch == k->epochs[i].epoch;
        if (!used)
            continue;
        struct kept_epoch *e = &p->epochs[p->num_epochs++];
        e->epoch = k->epochs[i].epoch;
        wr_buf_add(&e->packed, k->epochs[i].packed.p, k->epochs[i].packed.n);
        p->failed |= e->packed.failed;
    }
}

static void copy_range(struct kept_page *p, const struct kept *k, size_t from, size_t n)
{
    p->groups = calloc(n + 1, sizeof *p->groups);
    p->failed = !p->groups;
    for (size_t i = 0; i < n && !p->failed; i++, p->n++)
        p->failed = !copy_group(&p->groups[i], &k->groups[from + i]);
    copy_epochs(p, k);
}

struct kept_page kept__page(const struct kept *k, uint64_t from_gop, size_t max_groups,
                            size_t max_bytes)
{
    struct kept_page p = {.n = 0};
    size_t from = 0, n = 0, bytes = 0;
    if (k->n == 0)
        return p;
    p.oldest_gop = k->groups[0].gop;
    p.newest_gop = k->groups[k->n - 1].gop;
    while (from < k->n && k->groups[from].gop < from_gop)
        from++;
    for (; from + n < k->n && (max_groups == 0 || n < max_groups); n++) {
        bytes += k->groups[from + n].bytes;
        if (n > 0 && bytes > max_bytes)
            break;
    }
    if (from + n < k->n)
        p.next_gop = k->groups[from + n].gop;
    copy_range(&p, k, from, n);
    return p;
}

struct kept_page kept__current(const struct kept *k)
{
    struct kept_page p = {.n = 0};
    if (k->open)
        copy_range(&p, k, k->n - 1, 1);
    return p;
}

void kept__page_free(struct kept_page *p)
{
    for (size_t i = 0; i < p->n; i++)
        free_group(&p->groups[i]);
    for (size_t i = 0; i < p->num_epochs; i++)
        wr_buf_free(&p->epochs[i].packed);
    free(p->groups);
    free(p->epochs);
    *p = (struct kept_page){.n = 0};
}
