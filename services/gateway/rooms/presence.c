/* SPDX-License-Identifier: MIT
 *
 * Presence: this gateway's members at each hub, under one lease there. Enters and leaves queue up while a Members call is
 * under way and go as the next one; a call without news is the lease's beat. A hub that lost the lease (it restarted), and
 * one that rooms came to or went from, gets the full list of the members of its rooms, in parts. Questions wait until what
 * was queued before them is acknowledged, so that who asks finds itself. */
#include "rooms_priv.h"
#include "wr_log.h"
#include "wr_bus.h"
#include "wr_pb.h"
#include "watchroom/v1/hub.numbers.h"
#include <stdio.h>
#include <stdlib.h>

#define METHOD "watchroom.v1.Hub/Members"
#define CALL_MS 1500u
#define BATCH_OPS 2000u
#define BATCH_BYTES (1u << 20) /* of members in one call: far below what the bus carries */
#define ASK_MS 4000

struct presence_change {
    struct rooms__sub *sub;
    bool leave;
};

/* A part of a full list, encoded but for its head. */
struct presence_list {
    struct presence_list *next;
    uint32_t part;
    size_t n;
    uint8_t bytes[];
};

/* A call on its way; hub is NULL when it was given up. */
struct presence_call {
    struct rooms__hub *hub;
};

void presence__init(struct rooms__presence *ps)
{
    ps->last = &ps->first;
    ps->asks_last = &ps->asks;
}

/* Moves a reference to s into the queue of its room's hub. */
static void op_add(struct wr_rooms *rs, struct rooms__sub *s, bool leave)
{
    struct rooms__presence *ps = &hubs__home(rs, rooms__sub_room(s))->presence;
    struct rooms__presence_op *op = calloc(1, sizeof *op);
    if (!op)
        abort();
    op->sub = s;
    op->leave = leave;
    *ps->last = op;
    ps->last = &op->next;
    ps->queued++;
    if (!leave)
        s->enter = op;
}

static void op_queue(struct wr_rooms *rs, struct rooms__sub *s, bool leave)
{
    atomic_fetch_add(&s->refs, 1);
    op_add(rs, s, leave);
}

void presence__enter(struct wr_rooms *rs, struct rooms__sub *s)
{
    op_queue(rs, s, false);
}

void presence__leave(struct wr_rooms *rs, struct rooms__sub *s)
{
    if (s->enter) { /* nobody was told of it */
        s->enter->sub = NULL;
        s->enter = NULL;
        rooms__sub_unref(s);
        return;
    }
    op_queue(rs, s, true);
}

/* ---- bodies ---- */

static size_t member_bytes(const struct rooms__sub *s)
{
    return s->name_len + s->who->pb.n + 24;
}

static uint8_t *member_write(uint8_t *at, uint32_t field, const struct rooms__sub *s)
{
    size_t n = 1 + wr_pb_varint_size(s->name_len) + s->name_len + 1 +
               wr_pb_varint_size(s->who->pb.n) + s->who->pb.n;
    at = wr_pb_bytes_head(at, field, n);
    at = wr_pb_bytes(at, WR_PB_MEMBER_ROOM, rooms__sub_room(s));
    return wr_pb_bytes(at, WR_PB_MEMBER_INFO, s->who->pb);
}

static uint8_t *head_write(struct wr_rooms *rs, const struct rooms__presence *ps, uint8_t *at)
{
    at = wr_pb_bytes(at, WR_PB_MEMBERS_REQUEST_LEASE, wr_slice_str(wr_bus_instance(rs->env->bus)));
    at = wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_TTL_MS, ROOMS__LEASE_MS);
    return wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_SEQ, ps->seq);
}

static struct wr_msg *body_new(size_t bytes)
{
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, bytes + 200);
    if (!m)
        abort();
    return m;
}

/* ---- the full list ---- */

struct lister {
    struct presence_list *first, *now;
    size_t room; /* bytes left in the part that is being written */
    size_t left; /* bytes of members that are to come */
};

static void list_part(struct lister *l)
{
    size_t size = WR_MIN(l->left, (size_t)BATCH_BYTES);
    struct presence_list *p = malloc(sizeof *p + size);
    if (!p)
        abort();
    *p = (struct presence_list){.part = l->now ? l->now->part + 1 : 0};
    *(l->now ? &l->now->next : &l->first) = p;
    l->now = p;
    l->room = size;
}

static void list_member(struct lister *l, const struct rooms__sub *s)
{
    size_t n = member_bytes(s);
    if (n > l->room)
        list_part(l);
    if (n >
        l->room) /* one that no part holds: WR_MAX_NAME and the limits of a client are far below */
        return;
    uint8_t *from = l->now->bytes + l->now->n;
    size_t written = (size_t)(member_write(from, WR_PB_MEMBERS_REQUEST_ENTER, s) - from);
    l->now->n += written;
    l->room -= n;
    l->left -= n;
}

static void list_free(struct rooms__presence *ps)
{
    while (ps->list) {
        struct presence_list *p = ps->list;
        ps->list = p->next;
        free(p);
    }
}

/* Members that a hub had acknowledged, in parts: a quiet list for a hub that does not have them. Made at once, since members
 * come and go while the parts are on their way; those changes wait behind the list. One part at least. */
static struct presence_list *full_list(struct wr_rooms *rs, const struct rooms__hub *h)
{
    struct lister l = {0};
    for (int pass = 0; pass < 2; pass++) {
        size_t at_map = 0;
        struct wr_slice key;
        void *value;
        if (pass)
            list_part(&l);
        while (wr_map_next(&rs->rooms, &at_map, &key, &value)) {
            const struct rooms__room *room = value;
            for (struct rooms__sub *s = room->hub == h ? room->subs : NULL; s; s = s->room_next)
                if (s->told && pass)
                    list_member(&l, s);
                else if (s->told)
                    l.left += member_bytes(s);
        }
    }
    return l.first;
}

static struct wr_msg *part_body(struct wr_rooms *rs, const struct rooms__presence *ps)
{
    const struct presence_list *p = ps->list;
    struct wr_msg *m = body_new(p->n);
    uint8_t *at = head_write(rs, ps, m->data);
    at = wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_FULL, 1);
    at = wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_QUIET, 1);
    at = wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_PART, p->part);
    at = wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_MORE, p->next != NULL);
    if (p->n)
        memcpy(at, p->bytes, p->n);
    m->len = (size_t)(at - m->data) + p->n;
    return m;
}

/* ---- changes ---- */

static void op_pop(struct rooms__presence *ps)
{
    struct rooms__presence_op *op = ps->first;
    ps->first = op->next;
    if (!ps->first)
        ps->last = &ps->first;
    free(op);
}

/* The next operations. The hub takes a call's leaves before its enters, so a connection that left and subscribed anew may
 * do both in one. */
static struct wr_msg *delta_body(struct wr_rooms *rs, struct rooms__presence *ps)
{
    size_t bytes = 0;
    ps->sent = calloc(BATCH_OPS, sizeof *ps->sent);
    if (!ps->sent)
        abort();
    ps->nsent = ps->sent_ops = 0;
    while (ps->first && ps->nsent < BATCH_OPS && bytes < BATCH_BYTES) {
        struct rooms__presence_op *op = ps->first;
        struct rooms__sub *s = op->sub;
        ps->sent_ops++;
        if (s) {
            if (!op->leave)
                s->enter = NULL;
            ps->sent[ps->nsent++] = (struct presence_change){s, op->leave};
            bytes += member_bytes(s);
        }
        op_pop(ps);
    }
    struct wr_msg *m = body_new(bytes);
    uint8_t *at = head_write(rs, ps, m->data);
    for (size_t i = 0; i < ps->nsent; i++)
        if (!ps->sent[i].leave)
            at = member_write(at, WR_PB_MEMBERS_REQUEST_ENTER, ps->sent[i].sub);
    for (size_t i = 0; i < ps->nsent; i++)
        if (ps->sent[i].leave)
            at = member_write(at, WR_PB_MEMBERS_REQUEST_LEAVE, ps->sent[i].sub);
    m->len = (size_t)(at - m->data);
    /* From now on `told` says what it will be once this call is acknowledged. */
    for (size_t i = 0; i < ps->nsent; i++)
        if (ps->sent[i].leave)
            ps->sent[i].sub->told = false;
    return m;
}

/* ---- calls ---- */

static void sent_free(struct rooms__presence *ps)
{
    free(ps->sent);
    ps->sent = NULL;
    ps->acked += ps->sent_ops;
    ps->nsent = ps->sent_ops = 0;
    wr_msg_unref(ps->body);
    ps->body = NULL;
}

static void sent_acknowledged(struct rooms__hub *h)
{
    struct rooms__presence *ps = &h->presence;
    for (size_t i = 0; i < ps->nsent; i++) {
        struct rooms__sub *s = ps->sent[i].sub;
        if (s->state == SUB_LIVE) {
            s->told = true;
            if (s->room->hub != h) /* it moved meanwhile, and was not in the list there */
                s->room->hub->presence.need_full = true;
        }
        rooms__sub_unref(s);
    }
    sent_free(ps);
}

static bool parse_known(struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    bool known = false;
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        if (f.number == WR_PB_MEMBERS_RESPONSE_KNOWN && f.wire == 0)
            known = f.value != 0;
    return known && !r.bad;
}

/* The part was taken: the next one, or the list is whole. */
static void part_acknowledged(struct rooms__presence *ps)
{
    struct presence_list *p = ps->list;
    ps->list = p->next;
    free(p);
    wr_msg_unref(ps->body);
    ps->body = NULL;
    ps->is_full = ps->list != NULL;
}

/* The hub does not know of what this call builds on: the list first (from its beginning), then the same once more. */
static void not_known(struct rooms__presence *ps)
{
    ps->need_full = true;
    if (ps->is_full) {
        wr_msg_unref(ps->body);
        ps->body = NULL;
        ps->is_full = false;
        list_free(ps);
    } else {
        ps->delta = ps->body;
        ps->body = NULL;
        ps->again = true;
    }
}

static void run_hub(struct wr_rooms *rs, struct rooms__hub *h, int64_t now_ms);

static void on_members(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    struct presence_call *call = ctx;
    struct rooms__hub *h = call->hub;
    free(call);
    if (!h) /* given up */
        return;
    struct rooms__presence *ps = &h->presence;
    ps->call = NULL;
    if (a->code != WR_OK) {
        ps->retry_ms = wr_mono_ms() + ROOMS__RETRY_MS;
        return; /* the same call again, under the same number */
    }
    if (!parse_known(a->body))
        not_known(ps);
    else if (ps->is_full)
        part_acknowledged(ps);
    else
        sent_acknowledged(h);
    run_hub(rs, h, wr_mono_ms());
}

static void send_body(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct rooms__presence *ps = &h->presence;
    struct wr_msg *copy = wr_msg_copy(wr_msg_slice(ps->body));
    ps->call = calloc(1, sizeof *ps->call);
    if (!copy || !ps->call)
        abort();
    ps->call->hub = h;
    ps->retry_ms = 0;
    ps->beat_ms = wr_mono_ms() + ROOMS__BEAT_MS;
    ps->next_ms = wr_mono_ms() + ROOMS__PRESENCE_MS;
    rooms__call_at(rs, h, METHOD, copy, CALL_MS, on_members, ps->call);
}

/* The delta's body anew, under the next number. */
static void renumber(struct wr_rooms *rs, struct rooms__presence *ps)
{
    struct wr_msg *old = ps->delta;
    ps->delta = NULL;
    ps->seq++;
    struct wr_msg *m = body_new(old ? old->len : 0);
    uint8_t *at = head_write(rs, ps, m->data);
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, old ? wr_msg_slice(old) : (struct wr_slice){0});
    while (wr_pb_next(&r, &f))
        if (f.wire == 2 &&
            (f.number == WR_PB_MEMBERS_REQUEST_ENTER || f.number == WR_PB_MEMBERS_REQUEST_LEAVE))
            at = wr_pb_bytes(at, f.number, f.bytes);
    m->len = (size_t)(at - m->data);
    wr_msg_unref(old);
    ps->body = m;
}

static void ask_run(struct wr_rooms *rs, struct rooms__presence *ps, int64_t now_ms);

static void begin_full(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct rooms__presence *ps = &h->presence;
    if (ps->acked)
        wr_info("gateway.presence", "hub=%s: telling it all members of its rooms", h->address);
    ps->need_full = false;
    ps->is_full = true;
    list_free(ps);
    ps->list = full_list(rs, h);
}

static void run_hub(struct wr_rooms *rs, struct rooms__hub *h, int64_t now_ms)
{
    struct rooms__presence *ps = &h->presence;
    ask_run(rs, ps, now_ms);
    if (ps->call || now_ms < ps->retry_ms || rs->ending || (!h->is_up && rs->nup) || !h->address[0])
        return;
    if (ps->retry_ms) { /* the last call got no answer */
        send_body(rs, h);
        return;
    }
    if (ps->need_full && !ps->is_full)
        begin_full(rs, h);
    if (ps->is_full) {
        ps->seq++;
        ps->body = part_body(rs, ps);
        send_body(rs, h);
        return;
    }
    if (ps->again) {
        ps->again = false;
        renumber(rs, ps);
        send_body(rs, h);
        return;
    }
    if (now_ms < (ps->first ? ps->next_ms : ps->beat_ms))
        return;
    ps->seq++;
    ps->body = delta_body(rs, ps);
    send_body(rs, h);
}

void presence__run(struct wr_rooms *rs, int64_t now_ms)
{
    for (struct rooms__hub *h = rs->hubs; h; h = h->next)
        run_hub(rs, h, now_ms);
}

int64_t presence__due_ms(const struct wr_rooms *rs)
{
    int64_t due = INT64_MAX;
    for (const struct rooms__hub *h = rs->hubs; h; h = h->next)
        if (h->presence.first && !h->presence.call && (h->is_up || !rs->nup))
            due = WR_MIN(due, WR_MAX(h->presence.next_ms, h->presence.retry_ms));
    return due;
}

void presence__beat_now(struct rooms__hub *h)
{
    h->presence.beat_ms = 0;
    if (h->presence.retry_ms)
        h->presence.retry_ms = 1;
}

/* ---- rooms that move ---- */

/* What was sent to a hub that is down, and not acknowledged: to be said again, elsewhere. A leave took `told` back already. */
static void give_up(struct wr_rooms *rs, struct rooms__presence *ps)
{
    if (ps->call)
        ps->call->hub = NULL;
    ps->call = NULL;
    for (size_t i = 0; i < ps->nsent; i++)
        if (ps->sent[i].leave || ps->sent[i].sub->state == SUB_LIVE)
            op_add(rs, ps->sent[i].sub, ps->sent[i].leave);
        else
            rooms__sub_unref(ps->sent[i].sub); /* its leave is in the queue, or nobody was told */
    sent_free(ps);
    wr_msg_unref(ps->delta);
    ps->delta = NULL;
    list_free(ps);
    ps->is_full = ps->need_full = ps->again = false;
    ps->retry_ms = 0;
}

static void move_ops(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct rooms__presence *ps = &h->presence;
    struct rooms__presence_op *op = ps->first, *next;
    ps->first = NULL;
    ps->last = &ps->first;
    for (; op; op = next) {
        next = op->next;
        op->next = NULL;
        if (op->sub && hubs__home(rs, rooms__sub_room(op->sub)) != h) {
            op_add(rs, op->sub, op->leave);
            ps->acked++;
            free(op);
            continue;
        }
        *ps->last = op;
        ps->last = &op->next;
    }
}

static void move_asks(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct rooms__presence *ps = &h->presence;
    struct rooms__presence_ask *q = ps->asks, *next;
    ps->asks = NULL;
    ps->asks_last = &ps->asks;
    for (; q; q = next) {
        struct rooms__presence *to = &hubs__home(rs, wr_slice_str(q->room))->presence;
        next = q->next;
        q->next = NULL;
        if (to != ps)
            q->after = to->queued;
        *to->asks_last = q;
        to->asks_last = &q->next;
    }
}

void presence__rehome(struct wr_rooms *rs, struct rooms__hub *h)
{
    if (!h->is_up)
        give_up(rs, &h->presence);
    move_ops(rs, h);
    move_asks(rs, h);
}

/* ---- questions ---- */

static struct wr_msg *ask_body(const struct rooms__presence_ask *q)
{
    struct wr_msg *m = body_new(strlen(q->room));
    uint8_t *at = wr_pb_bytes(m->data, WR_PB_PRESENCE_REQUEST_ROOM, wr_slice_str(q->room));
    at = wr_pb_uint(at, WR_PB_PRESENCE_REQUEST_STATS_ONLY,
                    q->reply->r.op == WR_PROTOCOL_PRESENCE_STATS);
    m->len = (size_t)(at - m->data);
    return m;
}

static void parse_presence(struct rooms__reply *p, struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    size_t n = 0;
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        n += f.number == WR_PB_PRESENCE_RESPONSE_CLIENTS && f.wire == 2;
    p->members = calloc(n ? n : 1, sizeof *p->members);
    bool ok = p->members && !r.bad;
    wr_pb_read(&r, body);
    while (ok && wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_PRESENCE_RESPONSE_NUM_CLIENTS && f.wire == 0)
            p->r.num_clients = (uint32_t)f.value;
        else if (f.number == WR_PB_PRESENCE_RESPONSE_NUM_USERS && f.wire == 0)
            p->r.num_users = (uint32_t)f.value;
        else if (f.number == WR_PB_PRESENCE_RESPONSE_CLIENTS && f.wire == 2)
            ok = rooms__parse_info(f.bytes, &p->members[p->r.num_members++]);
    }
    p->r.members = p->members;
    if (!ok)
        rooms__reply_fail(p, WR_ERR_INTERNAL, wr_slice_str("the hub gave a malformed answer"));
}

static void on_presence(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    struct rooms__reply *p = ctx;
    if (a->code != WR_OK)
        rooms__reply_fail(p, a->code, wr_err_outside(a->code, a->text));
    else if (!a->msg || rooms__reply_hold(p, a->msg))
        parse_presence(p, a->body);
    else
        rooms__reply_fail(p, WR_ERR_BUSY, wr_slice_str("out of memory"));
    rooms__reply_post(rs, p->conn, p);
}

static void ask_run(struct wr_rooms *rs, struct rooms__presence *ps, int64_t now_ms)
{
    while (ps->asks && (ps->asks->after <= ps->acked || now_ms >= ps->asks->deadline_ms)) {
        struct rooms__presence_ask *q = ps->asks;
        ps->asks = q->next;
        if (!ps->asks)
            ps->asks_last = &ps->asks;
        if (q->after <= ps->acked) {
            rooms__call(rs, q->room, "watchroom.v1.Hub/Presence", ask_body(q), CALL_MS, on_presence,
                        q->reply);
        } else {
            rooms__reply_fail(q->reply, WR_ERR_UNAVAILABLE,
                              wr_slice_str("the hub does not answer; try again"));
            rooms__reply_post(rs, q->reply->conn, q->reply);
        }
        free(q);
    }
}

void presence__ask(struct wr_rooms *rs, const char *room, struct rooms__reply *p)
{
    struct rooms__presence *ps = &hubs__home(rs, wr_slice_str(room))->presence;
    struct rooms__presence_ask *q = calloc(1, sizeof *q);
    if (!q)
        abort();
    q->after = ps->queued;
    q->deadline_ms = wr_mono_ms() + ASK_MS;
    q->reply = p;
    (void)snprintf(q->room, sizeof q->room, "%s", room);
    *ps->asks_last = q;
    ps->asks_last = &q->next;
}

/* ---- the end ---- */

static void hub_end(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct wr_msg *m = body_new(0), *got = NULL;
    struct wr_slice body;
    struct wr_errmsg err;
    h->presence.seq++;
    uint8_t *at = head_write(rs, &h->presence, m->data);
    at = wr_pb_uint(at, WR_PB_MEMBERS_REQUEST_END, 1);
    m->len = (size_t)(at - m->data);
    if (wr_bus_call_wait_at(rs->env->hub, h->address, METHOD, m, 500, &got, &body, &err) == WR_OK)
        wr_msg_unref(got); /* else the lease runs out by itself */
}

void presence__end(struct wr_rooms *rs)
{
    for (struct rooms__hub *h = rs->hubs; h; h = h->next)
        if (h->is_up)
            hub_end(rs, h);
}

static void hub_free(struct wr_rooms *rs, struct rooms__presence *ps)
{
    for (size_t i = 0; i < ps->nsent; i++)
        rooms__sub_unref(ps->sent[i].sub);
    sent_free(ps);
    wr_msg_unref(ps->delta);
    list_free(ps);
    while (ps->first) {
        if (ps->first->sub)
            rooms__sub_unref(ps->first->sub);
        op_pop(ps);
    }
    while (ps->asks) {
        struct rooms__presence_ask *q = ps->asks;
        ps->asks = q->next;
        rooms__reply_fail(q->reply, WR_ERR_CLOSED, wr_slice_str("shutting down"));
        rooms__reply_post(rs, q->reply->conn, q->reply);
        free(q);
    }
}

void presence__free(struct wr_rooms *rs)
{
    for (struct rooms__hub *h = rs->hubs; h; h = h->next)
        hub_free(rs, &h->presence);
}
