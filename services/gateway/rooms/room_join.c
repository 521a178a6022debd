/* SPDX-License-Identifier: MIT
 *
 * Who comes into a room: at its position, or with what was missed since another one, which is read from the log and joined
 * with what the room delivers meanwhile. On the rooms thread. */
#include "room_priv.h"
#include "wr_log.h"
#include "wr_pb.h"
#include <stdio.h>
#include <stdlib.h>

void room__forget(struct rooms__sub *s)
{
    struct rooms__room *room = s->room;
    *s->room_at = s->room_next;
    if (s->room_next)
        s->room_next->room_at = s->room_at;
    room->nsubs--;
    wr_gauge_add(&rooms__g_subs, -1);
    if (!room->nsubs)
        room->empty_ms = wr_mono_ms();
    rooms__sub_unref(s);
}

static void attach(struct rooms__sub *s, struct rooms__reply *p)
{
    struct rooms__room *room = s->room;
    struct wr_rooms *rs = room->rs;
    if (!room->fanouts[s->form] && !(room->fanouts[s->form] = wr_fanout_new(rs->env->plane)))
        abort();
    (void)snprintf(p->epoch, sizeof p->epoch, "%s", room->epoch);
    p->fanout = room->fanouts[s->form];
    atomic_fetch_add(&s->refs, 1);
    p->sub = s;
    rooms__reply_post(rs, s->conn, p);
    if (s->leaving) {
        s->state = SUB_LEFT;
        room__forget(s);
        return;
    }
    s->state = SUB_LIVE;
    presence__enter(rs, s);
}

static struct rooms__reply *sub_reply(struct rooms__sub *s)
{
    struct rooms__reply *p = rooms__reply_new(WR_PROTOCOL_SUBSCRIBE, s->cookie);
    p->lane = s->lane;
    p->r.room = rooms__sub_room(s);
    p->r.offset = s->room->last;
    return p;
}

static void refuse(struct rooms__sub *s, wr_err code, struct wr_slice text)
{
    struct rooms__reply *p = sub_reply(s);
    rooms__reply_fail(p, code, wr_err_outside(code, text));
    atomic_fetch_add(&s->refs, 1);
    p->sub = s;
    rooms__reply_post(s->room->rs, s->conn, p);
    s->state = SUB_LEFT;
    if (s->leaving)
        room__forget(s);
}

static void not_recovered(struct rooms__sub *s)
{
    wr_count(&rooms__m_not_recovered, 1);
    if (s->flags & WR_SUB_REJECT)
        refuse(s, WR_ERR_POSITION, (struct wr_slice){0});
    else
        attach(s, sub_reply(s));
}

static void add_pubs(struct rooms__reply *p, const struct rooms__pubs *from, uint64_t after,
                     uint64_t upto)
{
    for (size_t i = 0; i < from->n; i++)
        if (from->v[i].offset > after && from->v[i].offset <= upto &&
            p->r.num_pubs <= ROOMS__RECOVER_MAX)
            p->pubs[p->r.num_pubs++] = from->v[i];
}

/* The log's answer, then what was delivered while it was read: without a hole and without a double (notes 8.3). */
static bool recover_collect(struct rooms__room *room, struct rooms__sub *s,
                            const struct rooms__pubs *log, struct rooms__reply *p)
{
    p->pubs = calloc(ROOMS__RECOVER_MAX + 1, sizeof *p->pubs);
    if (!p->pubs)
        return false;
    add_pubs(p, log, s->since, room->last);
    uint64_t at = p->r.num_pubs ? p->pubs[p->r.num_pubs - 1].offset : s->since;
    for (struct rooms__held *h = room->recent; h && at < room->last; h = h->next) {
        struct rooms__pubs more;
        if (!rooms__parse_event(h->event, &more))
            return false;
        if (!rooms__reply_hold(p, h->msg)) {
            rooms__pubs_free(&more);
            return false;
        }
        add_pubs(p, &more, at, room->last);
        at = p->r.num_pubs ? p->pubs[p->r.num_pubs - 1].offset : at;
        rooms__pubs_free(&more);
    }
    if (p->r.num_pubs > ROOMS__RECOVER_MAX || at != room->last)
        return false;
    for (size_t i = 0; i < p->r.num_pubs; i++)
        if (p->pubs[i].offset != s->since + 1 + i)
            return false;
    return true;
}

static void recover_end(struct rooms__room *room)
{
    if (--room->recovering == 0) {
        room__held_free(room->rs, &room->recent, &room->nrecent);
        room->recent_lost = false;
    }
    room->calls--;
}

/* NULL: what the log has does not lead from the client's position to the room's. */
static struct rooms__reply *recovered_reply(struct rooms__sub *s, const struct wr_answer *a)
{
    struct rooms__reply *p = sub_reply(s);
    struct rooms__pubs log = {0};
    bool ok = a->msg && rooms__parse_history(a->body, &log) &&
              wr_slice_is(log.epoch, s->room->epoch) && rooms__reply_hold(p, a->msg) &&
              recover_collect(s->room, s, &log, p);
    rooms__pubs_free(&log);
    if (!ok) {
        rooms__reply_free(p);
        return NULL;
    }
    p->r.recovered = true;
    p->r.offset = s->since;
    p->r.pubs = p->pubs;
    return p;
}

static void on_recover(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    (void)rs;
    struct rooms__sub *s = ctx;
    struct rooms__room *room = s->room;
    bool lost = room->recent_lost;
    struct rooms__reply *p = a->code == WR_OK && !lost ? recovered_reply(s, a) : NULL;
    recover_end(room);
    if (a->code != WR_OK && a->code != WR_ERR_POSITION && a->code != WR_ERR_NOT_FOUND) {
        refuse(s, a->code, a->text);
    } else if (p) {
        wr_count(&rooms__m_recovered, 1);
        attach(s, p);
    } else if (a->code == WR_OK && lost && ++s->tries < ROOMS__RECOVER_TRIES) {
        room__start(s); /* what was delivered meanwhile is in the log by now */
    } else {
        not_recovered(s);
    }
    rooms__sub_unref(s); /* the call's */
}

static void recover(struct rooms__sub *s)
{
    struct rooms__room *room = s->room;
    bool is_epoch = !s->since_epoch[0] || strcmp(s->since_epoch, room->epoch) == 0;
    if (is_epoch && s->since > room->last && !s->asked) {
        s->asked = true; /* it may come from a gateway that is ahead of this one */
        s->state = SUB_WAITING;
        room__ask_top(room);
        return;
    }
    if (!is_epoch || s->since > room->last) {
        not_recovered(s);
        return;
    }
    if (s->since == room->last) {
        struct rooms__reply *p = sub_reply(s);
        p->r.recovered = true;
        wr_count(&rooms__m_recovered, 1);
        attach(s, p);
        return;
    }
    s->state = SUB_RECOVERING;
    atomic_fetch_add(&s->refs, 1);
    room->recovering++;
    room->calls++;
    rooms__call(room->rs, room->name, HUB("History"),
                room__history_body(room->name, s->since, room->epoch, ROOMS__RECOVER_MAX + 1, 0),
                CALL_MS, on_recover, s);
}

/* Recovery waits until the room is where the log is: what a fill delivers is in no answer of before. */
void room__start(struct rooms__sub *s)
{
    if (!(s->flags & WR_SUB_RECOVER))
        attach(s, sub_reply(s));
    else if (s->room->state == ROOM_LIVE)
        recover(s);
    else
        s->state = SUB_WAITING;
}

void room__start_waiting(struct rooms__room *room)
{
    for (struct rooms__sub *s = room->subs, *next; s; s = next) {
        next = s->room_next;
        if (s->state == SUB_WAITING)
            room__start(s);
    }
}

void room__refuse_waiting(struct rooms__room *room, wr_err code, struct wr_slice text)
{
    for (struct rooms__sub *s = room->subs, *next; s; s = next) {
        next = s->room_next;
        if (s->state == SUB_WAITING)
            refuse(s, code == WR_OK ? WR_ERR_INTERNAL : code, text);
    }
}
