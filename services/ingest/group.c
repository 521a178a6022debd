/* SPDX-License-Identifier: MIT
 *
 * See group.h. */
#include "group.h"

#include "wr_metrics.h"

#include <stdlib.h>

WR_COUNTER(outgrown, "watchroom_ingest_group_outgrown_total", NULL,
           "Groups of pictures that were too long to keep: viewers who join then wait for the next "
           "keyframe");

void group__clear(struct group *g)
{
    for (size_t i = 0; i < g->n; i++)
        wr_msg_unref(g->items[i].msg);
    g->n = 0;
    g->bytes = 0;
    g->whole = false;
}

void group__free(struct group *g)
{
    group__clear(g);
    free(g->items);
    *g = (struct group){.n = 0};
}

static bool append(struct group *g, struct wr_msg *msg, struct wr_slice media, int64_t at_us)
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 128;
        struct group_item *items = realloc(g->items, cap * sizeof *items);
        if (!items)
            return false;
        g->items = items;
        g->cap = cap;
    }
    g->items[g->n++] = (struct group_item){wr_msg_ref(msg), media, at_us};
    g->bytes += media.n;
    return true;
}

void group__add(struct group *g, struct wr_msg *msg, struct wr_slice media, bool begins,
                int64_t at_us)
{
    if (begins) {
        group__clear(g);
        g->whole = true;
    }
    if (!g->whole)
        return;
    bool fits = g->bytes + media.n <= GROUP_MAX_BYTES &&
                (g->n == 0 || at_us - g->items[0].at_us <= GROUP_MAX_US);
    if (!fits || !append(g, msg, media, at_us)) {
        group__clear(g);
        wr_count(&outgrown, 1);
    }
}

void group__add_sound(struct group *g, struct wr_msg *msg, struct wr_slice media, int64_t at_us)
{
    size_t old = 0;
    while (old < g->n && at_us - g->items[old].at_us > 1000000) {
        g->bytes -= g->items[old].media.n;
        wr_msg_unref(g->items[old++].msg);
    }
    if (old > 0) {
        memmove(g->items, g->items + old, (g->n - old) * sizeof *g->items);
        g->n -= old;
    }
    g->whole = append(g, msg, media, at_us);
}

struct group group__copy(const struct group *g)
{
    struct group c = {.n = 0};
    if (!g->whole || g->n == 0)
        return c;
    c.items = malloc(g->n * sizeof *c.items);
    if (!c.items)
        return c;
    c.cap = g->n;
    c.bytes = g->bytes;
    c.whole = true;
    for (; c.n < g->n; c.n++) {
        c.items[c.n] = g->items[c.n];
        wr_msg_ref(c.items[c.n].msg);
    }
    return c;
}
