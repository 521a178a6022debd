/* SPDX-License-Identifier: MIT
 *
 * Presence: this gateway's members at the hub, under one lease. Enters and leaves queue up while a Members call is under
 * way and go as the next one; a call without news is the lease's beat. A hub that lost the lease (it restarted) gets the
 * full list. Questions wait until what was queued before them is acknowledged, so that who asks finds itself. */
#include "rooms_priv.h"
#include "wr_log.h"
#include "wr_pb.h"
#include "wr_bus.h"
#include <stdio.h>
#include <stdlib.h>

#define METHOD "watchroom.v1.Hub/Members"
#define CALL_MS 1500u
#define BATCH_OPS 2000u
#define ASK_MS 4000

static void op_queue(struct wr_rooms *rs, struct rooms__sub *s, bool leave)
{
    struct rooms__presence *ps = &rs->presence;
    struct rooms__presence_op *op = calloc(1, sizeof *op);
    if (!op)
        abort();
    op->sub = s;
    op->leave = leave;
    atomic_fetch_add(&s->refs, 1);
    *ps->last = op;
    ps->last = &op->next;
    ps->queued++;
    if (!leave)
        s->enter = op;
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
    at = wr_pb_bytes(at, 1, rooms__sub_room(s));
    return wr_pb_bytes(at, 2, s->who->pb);
}

static uint8_t *head_write(struct wr_rooms *rs, uint8_t *at, bool full)
{
    at = wr_pb_bytes(at, 1, wr_slice_str(wr_bus_instance(rs->env->bus)));
    at = wr_pb_uint(at, 2, ROOMS__LEASE_MS);
    at = wr_pb_uint(at, 3, rs->presence.seq);
    return full ? wr_pb_uint(wr_pb_uint(at, 4, 1), 8, 1) : at;
}

static struct wr_msg *body_new(size_t bytes)
{
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, bytes + 200);
    if (!m)
        abort();
    return m;
}

/* Members that the hub had acknowledged: a quiet list for a hub that lost them. */
static struct wr_msg *full_body(struct wr_rooms *rs)
{
    size_t at_map = 0, bytes = 0;
    struct wr_slice key;
    void *room;
    while (wr_map_next(&rs->rooms, &at_map, &key, &room))
        for (struct rooms__sub *s = ((struct rooms__room *)room)->subs; s; s = s->room_next)
            bytes += s->told ? member_bytes(s) : 0;
    struct wr_msg *m = body_new(bytes);
    uint8_t *at = head_write(rs, m->data, true);
    at_map = 0;
    while (wr_map_next(&rs->rooms, &at_map, &key, &room))
        for (struct rooms__sub *s = ((struct rooms__room *)room)->subs; s; s = s->room_next)
            if (s->told)
                at = member_write(at, 5, s);
    m->len = (size_t)(at - m->data);
    return m;
}

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
static struct wr_msg *delta_body(struct wr_rooms *rs)
{
    struct rooms__presence *ps = &rs->presence;
    size_t bytes = 0;
    ps->sent = calloc(BATCH_OPS, sizeof(struct rooms__sub *));
    bool *leaves = calloc(BATCH_OPS, sizeof *leaves);
    if (!ps->sent || !leaves)
        abort();
    ps->nsent = ps->sent_ops = 0;
    while (ps->first && ps->nsent < BATCH_OPS) {
        struct rooms__presence_op *op = ps->first;
        struct rooms__sub *s = op->sub;
        ps->sent_ops++;
        if (s) {
            if (!op->leave)
                s->enter = NULL;
            leaves[ps->nsent] = op->leave;
            ps->sent[ps->nsent++] = s;
            bytes += member_bytes(s);
        }
        op_pop(ps);
    }
    struct wr_msg *m = body_new(bytes);
    uint8_t *at = head_write(rs, m->data, false);
    for (size_t i = 0; i < ps->nsent; i++)
        if (!leaves[i])
            at = member_write(at, 5, ps->sent[i]);
    for (size_t i = 0; i < ps->nsent; i++)
        if (leaves[i])
            at = member_write(at, 6, ps->sent[i]);
    m->len = (size_t)(at - m->data);
    /* From now on `told` says what it will be once this call is acknowledged. */
    for (size_t i = 0; i < ps->nsent; i++)
        if (leaves[i])
            ps->sent[i]->told = false;
    free(leaves);
    return m;
}

/* ---- calls ---- */

static void sent_release(struct rooms__presence *ps, bool ok)
{
    for (size_t i = 0; i < ps->nsent; i++) {
        struct rooms__sub *s = ps->sent[i];
        if (ok && s->state == SUB_LIVE)
            s->told = true;
        rooms__sub_unref(s);
    }
    free(ps->sent);
    ps->sent = NULL;
    ps->nsent = 0;
    if (ok)
        ps->acked += ps->sent_ops;
    ps->sent_ops = 0;
    wr_msg_unref(ps->body);
    ps->body = NULL;
}

static bool parse_known(struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    bool known = false;
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        if (f.number == 1 && f.wire == 0)
            known = f.value != 0;
    return known && !r.bad;
}

static void on_members(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    (void)ctx;
    struct rooms__presence *ps = &rs->presence;
    ps->in_flight = false;
    if (a->code != WR_OK) {
        ps->retry_ms = wr_mono_ms() + ROOMS__RETRY_MS;
        return; /* the same call again, under the same number */
    }
    if (!ps->is_full && !parse_known(a->body)) {
        /* What this call said is not in the hub's new life: the list first, then the same once more. */
        ps->need_full = true;
        ps->again = true;
    } else if (ps->is_full) {
        wr_msg_unref(ps->body);
        ps->body = NULL;
        ps->is_full = false;
    } else {
        sent_release(ps, true);
    }
    presence__run(rs, wr_mono_ms());
}

static void send_body(struct wr_rooms *rs)
{
    struct rooms__presence *ps = &rs->presence;
    struct wr_msg *copy = wr_msg_copy(wr_msg_slice(ps->body));
    if (!copy)
        abort();
    ps->in_flight = true;
    ps->retry_ms = 0;
    ps->beat_ms = wr_mono_ms() + ROOMS__BEAT_MS;
    ps->next_ms = wr_mono_ms() + ROOMS__PRESENCE_MS;
    rooms__call(rs, NULL, METHOD, copy, CALL_MS, on_members, NULL);
}

/* The delta's body anew, under the next number. */
static void renumber(struct wr_rooms *rs)
{
    struct rooms__presence *ps = &rs->presence;
    struct wr_msg *old = ps->body;
    ps->seq++;
    struct wr_msg *m = body_new(old ? old->len : 0);
    uint8_t *at = head_write(rs, m->data, false);
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, old ? wr_msg_slice(old) : (struct wr_slice){0});
    while (wr_pb_next(&r, &f))
        if (f.wire == 2 && (f.number == 5 || f.number == 6))
            at = wr_pb_bytes(at, f.number, f.bytes);
    m->len = (size_t)(at - m->data);
    wr_msg_unref(old);
    ps->body = m;
}

static void ask_run(struct wr_rooms *rs, int64_t now_ms);

void presence__run(struct wr_rooms *rs, int64_t now_ms)
{
    struct rooms__presence *ps = &rs->presence;
    ask_run(rs, now_ms);
    if (ps->in_flight || now_ms < ps->retry_ms || rs->ending)
        return;
    if (ps->retry_ms) { /* the last call got no answer */
        send_body(rs);
        return;
    }
    if (ps->need_full) {
        struct wr_msg *delta = ps->body;
        if (ps->acked)
            wr_info("gateway.presence",
                    "the hub does not know this gateway's members: telling all of them");
        ps->need_full = false;
        ps->is_full = true;
        ps->seq++;
        ps->body = full_body(rs);
        ps->delta = delta;
        send_body(rs);
        return;
    }
    if (ps->again) {
        ps->again = false;
        ps->body = ps->delta;
        ps->delta = NULL;
        renumber(rs);
        send_body(rs);
        return;
    }
    if (now_ms < (ps->first ? ps->next_ms : ps->beat_ms))
        return;
    ps->seq++;
    ps->body = delta_body(rs);
    send_body(rs);
}

int64_t presence__due_ms(const struct wr_rooms *rs)
{
    const struct rooms__presence *ps = &rs->presence;
    return ps->first && !ps->in_flight ? WR_MAX(ps->next_ms, ps->retry_ms) : INT64_MAX;
}

void presence__beat_now(struct wr_rooms *rs)
{
    rs->presence.beat_ms = 0;
    if (rs->presence.retry_ms)
        rs->presence.retry_ms = 1;
}

/* ---- questions ---- */

static struct wr_msg *ask_body(const struct rooms__presence_ask *q)
{
    struct wr_msg *m = body_new(strlen(q->room));
    uint8_t *at = wr_pb_bytes(m->data, 1, wr_slice_str(q->room));
    at = wr_pb_uint(at, 2, q->reply->r.op == WR_PROTOCOL_PRESENCE_STATS);
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
        n += f.number == 3 && f.wire == 2;
    p->members = calloc(n ? n : 1, sizeof *p->members);
    bool ok = p->members && !r.bad;
    wr_pb_read(&r, body);
    while (ok && wr_pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 0)
            p->r.num_clients = (uint32_t)f.value;
        else if (f.number == 2 && f.wire == 0)
            p->r.num_users = (uint32_t)f.value;
        else if (f.number == 3 && f.wire == 2)
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
        rooms__reply_fail(p, a->code, a->text);
    else if (!a->msg || rooms__reply_hold(p, a->msg))
        parse_presence(p, a->body);
    else
        rooms__reply_fail(p, WR_ERR_BUSY, wr_slice_str("out of memory"));
    rooms__reply_post(rs, p->conn, p);
}

static void ask_run(struct wr_rooms *rs, int64_t now_ms)
{
    struct rooms__presence *ps = &rs->presence;
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
    struct rooms__presence *ps = &rs->presence;
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

void presence__end(struct wr_rooms *rs)
{
    rs->presence.seq++;
    struct wr_msg *m = body_new(0), *got = NULL;
    struct wr_slice body;
    struct wr_errmsg err;
    uint8_t *at = head_write(rs, m->data, false);
    at = wr_pb_uint(at, 7, 1);
    m->len = (size_t)(at - m->data);
    if (wr_bus_call_wait(rs->env->hub, NULL, METHOD, m, 500, &got, &body, &err) == WR_OK)
        wr_msg_unref(got); /* else the lease runs out by itself */
}

void presence__free(struct wr_rooms *rs)
{
    struct rooms__presence *ps = &rs->presence;
    sent_release(ps, false);
    wr_msg_unref(ps->delta);
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
