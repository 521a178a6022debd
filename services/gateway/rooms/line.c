/* SPDX-License-Identifier: MIT
 *
 * A lane for each room that a connection asks something of: requests of one kind under way, and others behind them. A lane
 * is there as long as it has one. */
#include "line.h"
#include <stdlib.h>

struct item {
    struct item *next;
    struct line_work work;
};

struct line_room {
    struct line_room *next;
    uint32_t id, flying;
    enum line_kind kind; /* of those that fly */
    struct item *first, **last;
    uint16_t name_len;
    char name[];
};

static struct line_room **lane_at(struct line *l, uint32_t id)
{
    struct line_room **at = &l->rooms;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    if (!*at)
        abort(); /* who has the number has a request there */
    return at;
}

uint32_t line__lane(struct line *l, struct wr_slice room)
{
    for (const struct line_room *r = l->rooms; r; r = r->next)
        if (wr_slice_eq(wr_slice_of(r->name, r->name_len), room))
            return r->id;
    struct line_room *r = calloc(1, sizeof *r + room.n);
    if (!r)
        abort();           /* the request has its bytes already */
    if (++l->next_id == 0) /* 0 is nobody's */
        l->next_id = 1;
    r->id = l->next_id;
    r->last = &r->first;
    r->name_len = (uint16_t)room.n;
    memcpy(r->name, room.p, room.n);
    r->next = l->rooms;
    l->rooms = r;
    return r->id;
}

static void begin(struct wr_rooms *rs, const struct line_work *w)
{
    if (w->job) {
        rooms__job_post(rs, w->job);
        return;
    }
    atomic_fetch_add(&rs->calls, 1);
    clients__ask_history(rs, w->history, w->reply);
}

static bool may_begin(const struct line *l, const struct line_room *r, enum line_kind kind)
{
    if (kind == LINE_READ && (l->is_full || l->reads >= LINE_READS))
        return false;
    return !r->flying || (kind == r->kind && kind != LINE_SUBSCRIBE);
}

static void take_off(struct wr_rooms *rs, struct line *l, struct line_room *r,
                     const struct line_work *w)
{
    r->flying++;
    r->kind = w->kind;
    l->reads += w->kind == LINE_READ;
    begin(rs, w);
}

void line__add(struct wr_rooms *rs, struct line *l, uint32_t lane, const struct line_work *work)
{
    struct line_room *r = *lane_at(l, lane);
    if (!r->first && may_begin(l, r, work->kind)) {
        take_off(rs, l, r, work);
        return;
    }
    struct item *i = malloc(sizeof *i);
    if (!i)
        abort();
    *i = (struct item){.work = *work};
    *r->last = i;
    r->last = &i->next;
}

static void pop(struct line_room *r, struct item **at)
{
    struct item *i = *at;
    *at = i->next;
    if (r->last == &i->next)
        r->last = at;
    free(i);
}

/* Those whose turn it is; then the lane goes when nothing is left of it. */
static void run(struct wr_rooms *rs, struct line *l, struct line_room **at)
{
    struct line_room *r = *at;
    while (r->first && may_begin(l, r, r->first->work.kind)) {
        struct line_work w = r->first->work;
        pop(r, &r->first);
        take_off(rs, l, r, &w);
    }
    if (r->flying || r->first)
        return;
    *at = r->next;
    free(r);
}

static void run_all(struct wr_rooms *rs, struct line *l)
{
    for (struct line_room **at = &l->rooms; *at;) {
        const struct line_room *r = *at;
        run(rs, l, at);
        if (*at == r)
            at = &(*at)->next;
    }
}

void line__resume(struct wr_rooms *rs, struct line *l)
{
    l->is_full = false;
    run_all(rs, l);
}

void line__done(struct wr_rooms *rs, struct line *l, uint32_t lane, enum line_kind kind)
{
    struct line_room **at = lane_at(l, lane);
    (*at)->flying--;
    if (kind != LINE_READ) {
        run(rs, l, at);
        return;
    }
    l->reads--; /* another room's may have waited for it */
    run_all(rs, l);
}

void line__hurry(struct wr_rooms *rs, struct line *l, const struct rooms__sub *s)
{
    for (struct line_room *r = l->rooms; r; r = r->next)
        for (struct item **at = &r->first; *at; at = &(*at)->next)
            if ((*at)->work.sub == s) {
                struct line_work w = (*at)->work;
                pop(r, at);
                take_off(rs, l, r, &w);
                return;
            }
}

void line__end(struct wr_rooms *rs, struct line *l)
{
    while (l->rooms) {
        struct line_room *r = l->rooms;
        l->rooms = r->next;
        while (r->first) {
            struct line_work w = r->first->work;
            pop(r, &r->first);
            if (w.kind != LINE_READ) {
                begin(rs, &w);
                continue;
            }
            wr_msg_unref(w.history);
            rooms__reply_free(w.reply);
            free(w.job);
        }
        free(r);
    }
}
