/* SPDX-License-Identifier: MIT
 *
 * Publishing. To each hub one Hub/Publish call is under way, and what arrives meanwhile for its rooms goes as the next one:
 * batches form by themselves and a sender's order is kept. Each message has an idempotency key, so a call that got no
 * answer is simply made again, until the message's time is over: at the same hub, or at the one that its room has moved
 * to. After hubs came or went nothing is sent before the calls of before it have ended: so the order is kept then too. */
#include "rooms_priv.h"
#include "wr_pb.h"
#include "watchroom/v1/hub.numbers.h"
#include <stdlib.h>

#define BATCH_ITEMS 512u
#define BATCH_BYTES (1u << 20)
#define HOLD_MAX_US 1000
#define ACKS_MAX_US 500

struct result {
    wr_err code;
    struct wr_slice text, epoch;
    uint64_t offset;
    int64_t time_ms;
};

/* A call on its way; hub is NULL when it was given up. */
struct outbox_call {
    struct rooms__hub *hub;
};

static void publish_free(struct wr_rooms *rs, struct rooms__publish *p)
{
    atomic_fetch_sub(&rs->outbox_items, 1);
    atomic_fetch_sub(&rs->outbox_bytes, rooms__publish_memory(p));
    wr_gauge_add(&rooms__g_outbox, -1);
    rooms__person_unref(p->who);
    free(p);
}

/* Does this gateway still have to hear of the publication that the hub just acknowledged? */
static bool is_awaited(struct wr_rooms *rs, struct wr_slice name, uint64_t offset)
{
    const struct rooms__room *room = wr_map_get(&rs->rooms, name);
    return room && room->nsubs && room->state == ROOM_LIVE && room->last < offset;
}

/* The hub acknowledges first and announces right after. A sender who is in the room gets both, and each write to its
 * socket costs as much as the other: so the acknowledgement waits a moment for the publication and leaves in one write with
 * it. */
static void acknowledge(struct wr_rooms *rs, const struct rooms__publish *p, struct rooms__reply *r)
{
    if (!is_awaited(rs, p->room, r->r.offset)) {
        rooms__reply_post(rs, p->conn, r);
        return;
    }
    if (!rs->acks) {
        rs->acks_last = &rs->acks;
        rs->acks_us = wr_mono_us() + ACKS_MAX_US;
    }
    r->conn = p->conn;
    *rs->acks_last = r;
    rs->acks_last = &r->next;
}

void outbox__release(struct wr_rooms *rs, bool event_came)
{
    if (!rs->acks || (!event_came && wr_mono_us() < rs->acks_us))
        return;
    while (rs->acks) {
        struct rooms__reply *r = rs->acks;
        rs->acks = r->next;
        rooms__reply_post(rs, r->conn, r);
    }
}

static void answer(struct wr_rooms *rs, struct rooms__publish *p, wr_err code, struct wr_slice text,
                   const struct result *stored)
{
    struct rooms__reply *r = rooms__reply_new(p->finish ? WR_PROTOCOL_CALL : WR_PROTOCOL_PUBLISH,
                                              p->cookie);
    r->finish = p->finish;
    r->lane = p->lane;
    if (stored) {
        r->r.offset = stored->offset;
        r->r.time_ms = stored->time_ms;
        if (stored->epoch.n)
            memcpy(r->epoch, stored->epoch.p, stored->epoch.n);
    }
    if (code == WR_OK) {
        wr_count(&rooms__m_published, 1);
        wr_observe_us(&rooms__h_publish,
                      wr_mono_us() - (p->deadline_us - ROOMS__PUBLISH_MS * 1000));
        acknowledge(rs, p, r);
    } else {
        wr_count(&rooms__m_publish_failed, 1);
        rooms__reply_fail(r, code, wr_err_outside(code, text));
        rooms__reply_post(rs, p->conn, r);
    }
}

static size_t item_bytes(const struct rooms__publish *p)
{
    return p->room.n + p->who->pb.n + sizeof p->key + p->type.n + p->data.n + 40;
}

static size_t field_size(size_t n) /* tag of one byte, length, bytes */
{
    return n ? 1 + wr_pb_varint_size(n) + n : 0;
}

static uint8_t *write_item(uint8_t *at, const struct rooms__publish *p)
{
    struct wr_slice key = wr_slice_of(p->key, sizeof p->key);
    size_t type = field_size(p->type.n) + (p->type.n ? 1 : 0); /* a tag of two bytes */
    size_t n = field_size(p->room.n) + 2 + field_size(p->who->pb.n) + field_size(key.n) +
               field_size(p->data.n) + type;
    at = wr_pb_bytes_head(at, WR_PB_PUBLISH_REQUEST_ITEMS, n);
    at = wr_pb_bytes(at, WR_PB_PUBLISH_ITEM_ROOM, p->room);
    at = wr_pb_uint(at, WR_PB_PUBLISH_ITEM_KIND, 1); /* ENTRY_KIND_CHAT */
    at = wr_pb_bytes(at, WR_PB_PUBLISH_ITEM_INFO, p->who->pb);
    at = wr_pb_bytes(at, WR_PB_PUBLISH_ITEM_KEY, key);
    at = wr_pb_bytes(at, WR_PB_PUBLISH_ITEM_DATA, p->data);
    return wr_pb_bytes(at, WR_PB_PUBLISH_ITEM_TYPE, p->type);
}

static struct wr_msg *batch_body(const struct rooms__outbox *o)
{
    size_t bytes = 0;
    for (const struct rooms__publish *p = o->sent; p; p = p->next)
        bytes += item_bytes(p);
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, bytes);
    if (!m)
        abort();
    uint8_t *at = m->data;
    for (const struct rooms__publish *p = o->sent; p; p = p->next)
        at = write_item(at, p);
    m->len = (size_t)(at - m->data);
    return m;
}

/* Moves what collected into the next call. */
static void load(struct rooms__outbox *o)
{
    struct rooms__publish **last = &o->sent;
    size_t bytes = 0;
    while (o->first && o->nsent < BATCH_ITEMS &&
           (!o->nsent || bytes + item_bytes(o->first) <= BATCH_BYTES)) {
        struct rooms__publish *p = o->first;
        o->first = p->next;
        p->next = NULL;
        bytes += item_bytes(p);
        *last = p;
        last = &p->next;
        o->nsent++;
        o->waiting--;
    }
    if (!o->first)
        o->last = &o->first;
}

static void finish_all(struct wr_rooms *rs, struct rooms__outbox *o, wr_err code,
                       struct wr_slice text)
{
    while (o->sent) {
        struct rooms__publish *p = o->sent;
        o->sent = p->next;
        answer(rs, p, code, text, NULL);
        publish_free(rs, p);
    }
    o->nsent = 0;
}

static void expire(struct wr_rooms *rs, struct rooms__outbox *o, wr_err code, struct wr_slice text,
                   int64_t now_us)
{
    struct rooms__publish **at = &o->sent;
    while (*at) {
        struct rooms__publish *p = *at;
        if (p->deadline_us > now_us) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        o->nsent--;
        answer(rs, p, code, text, NULL);
        publish_free(rs, p);
    }
}

static bool parse_result(struct wr_slice body, struct result *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct result){0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_PUBLISH_RESULT_CODE && f.wire == 0)
            out->code = wr_err_from_wire((uint32_t)f.value);
        else if (f.number == WR_PB_PUBLISH_RESULT_MESSAGE && f.wire == 2)
            out->text = f.bytes;
        else if (f.number == WR_PB_PUBLISH_RESULT_OFFSET && f.wire == 0)
            out->offset = f.value;
        else if (f.number == WR_PB_PUBLISH_RESULT_EPOCH && f.wire == 2)
            out->epoch = f.bytes;
        else if (f.number == WR_PB_PUBLISH_RESULT_TIME_MS && f.wire == 0)
            out->time_ms = (int64_t)f.value;
    }
    return !r.bad && out->epoch.n < sizeof((struct rooms__reply *)NULL)->epoch;
}

static void take_results(struct wr_rooms *rs, struct rooms__outbox *o, struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    struct result res;
    wr_pb_read(&r, body);
    while (o->sent && wr_pb_next(&r, &f)) {
        if (f.number != WR_PB_PUBLISH_RESPONSE_RESULTS || f.wire != 2 ||
            !parse_result(f.bytes, &res))
            continue;
        struct rooms__publish *p = o->sent;
        o->sent = p->next;
        o->nsent--;
        answer(rs, p, res.code, res.text, &res);
        publish_free(rs, p);
    }
    if (o->sent) { /* fewer results than messages: a hub that is not ours, or broken */
        wr_count(&rooms__m_bad_bus, 1);
        finish_all(rs, o, WR_ERR_INTERNAL, wr_slice_str("the hub gave a malformed answer"));
    }
}

/* The senders that were just answered often have their next message ready at once. If the next call left now with what
 * waits already, they would sit out a whole sync and pay another one of their own: two groups of senders taking turns, each waiting
 * twice. So the call is held until as many messages are there as senders are known to be busy, or for as long as the last
 * call took, at most HOLD_MAX_US. One sender alone is never held. */
static void hold(struct rooms__outbox *o, size_t answered)
{
    int64_t now = wr_mono_us();
    o->want = answered + o->waiting;
    o->hold_us = now + WR_MIN(now - o->sent_us, HOLD_MAX_US);
}

static bool is_held(const struct rooms__outbox *o, int64_t now_us)
{
    return o->waiting < o->want && now_us < o->hold_us;
}

/* A list in front of the queue, or behind it. */
static void put_list(struct rooms__outbox *o, struct rooms__publish *list, bool in_front)
{
    struct rooms__publish **last = &list;
    if (!list)
        return;
    while (*last) {
        last = &(*last)->next; /* within a message from now on: it stays where it is */
        o->waiting++;
    }
    if (in_front) {
        *last = o->first;
        if (!o->first)
            o->last = last;
        o->first = list;
    } else {
        *o->last = list;
        o->last = last;
    }
}

/* Messages of *from whose room is elsewhere now go there, in order. */
static size_t move_list(struct wr_rooms *rs, struct rooms__hub *h, struct rooms__publish **from,
                        bool in_front)
{
    size_t moved = 0;
    for (struct rooms__hub *to = rs->hubs; to; to = to->next) {
        struct rooms__publish *list = NULL, **last = &list;
        for (struct rooms__publish **at = to == h ? NULL : from; at && *at;) {
            struct rooms__publish *p = *at;
            if (hubs__home(rs, p->room) != to) {
                at = &p->next;
                continue;
            }
            *at = p->next;
            p->next = NULL;
            *last = p;
            last = &p->next;
            moved++;
        }
        put_list(&to->outbox, list, in_front);
    }
    return moved;
}

static void move_waiting(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct rooms__outbox *o = &h->outbox;
    o->waiting -= move_list(rs, h, &o->first, false);
    o->last = &o->first;
    while (*o->last)
        o->last = &(*o->last)->next;
}

void outbox__rehome(struct wr_rooms *rs, struct rooms__hub *h)
{
    struct rooms__outbox *o = &h->outbox;
    if (!h->is_up) {
        if (o->call) {
            o->call->hub = NULL;
            o->call = NULL;
        }
        o->retry_ms = 0;
        o->want = 0;
        o->nsent -= move_list(rs, h, &o->sent, false);
    }
    move_waiting(rs, h);
}

static void on_published(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    struct outbox_call *call = ctx;
    struct rooms__hub *h = call->hub;
    free(call);
    if (!h) /* given up: what it carried was sent elsewhere */
        return;
    struct rooms__outbox *o = &h->outbox;
    o->call = NULL;
    if (a->code == WR_OK) {
        size_t answered = o->nsent;
        take_results(rs, o, a->body);
        hold(o, answered);
    } else if (a->code == WR_ERR_UNAVAILABLE || a->code == WR_ERR_TIMEOUT ||
               a->code == WR_ERR_CLOSED || a->code == WR_ERR_BUSY) {
        expire(rs, o, a->code, a->text, wr_mono_us() + ROOMS__RETRY_MS * 1000);
        if (o->turn != rs->turn) /* older than whatever waits where they belong now */
            o->nsent -= move_list(rs, h, &o->sent, true);
        if (o->sent)
            o->retry_ms = wr_mono_ms() + ROOMS__RETRY_MS;
    } else {
        finish_all(rs, o, a->code, a->text);
    }
    outbox__run(rs, wr_mono_ms());
}

static void send_batch(struct wr_rooms *rs, struct rooms__hub *h, bool again)
{
    struct rooms__outbox *o = &h->outbox;
    int64_t left = (o->sent->deadline_us - wr_mono_us()) / 1000;
    o->call = calloc(1, sizeof *o->call);
    if (!o->call)
        abort();
    o->call->hub = h;
    o->turn = rs->turn;
    o->sent_us = wr_mono_us();
    o->retry_ms = 0;
    if (again)
        wr_count(&rooms__m_publish_retries, 1);
    rooms__call_at(rs, h, "watchroom.v1.Hub/Publish", batch_body(o), (uint32_t)WR_MAX(left, 50),
                   on_published, o->call);
}

/* A call of before the newest change is under way: it may carry what is older than anything that waits. */
static bool is_barred(const struct wr_rooms *rs)
{
    for (const struct rooms__hub *h = rs->hubs; h; h = h->next)
        if (h->outbox.call && h->outbox.turn != rs->turn)
            return true;
    return false;
}

static void run_hub(struct wr_rooms *rs, struct rooms__hub *h, int64_t now_ms)
{
    struct rooms__outbox *o = &h->outbox;
    if (o->call)
        return;
    if (o->sent) {
        if (now_ms >= o->retry_ms)
            send_batch(rs, h, true);
    } else if (o->first && !is_held(o, wr_mono_us())) {
        load(o);
        if (o->sent)
            send_batch(rs, h, false);
    }
}

void outbox__run(struct wr_rooms *rs, int64_t now_ms)
{
    if (is_barred(rs))
        return;
    for (struct rooms__hub *h = rs->hubs; h; h = h->next)
        run_hub(rs, h, now_ms);
}

static size_t hub_wants(const struct rooms__outbox *o, int64_t *until_us)
{
    if (o->call || o->sent)
        return SIZE_MAX;
    if (!is_held(o, wr_mono_us()))
        return 1;
    if (o->waiting || o->want > 1)
        *until_us = WR_MIN(*until_us, o->hold_us);
    return o->want - o->waiting;
}

size_t outbox__wants(const struct wr_rooms *rs, int64_t *until_us)
{
    size_t least = SIZE_MAX;
    if (rs->acks)
        *until_us = WR_MIN(*until_us, rs->acks_us);
    if (is_barred(rs))
        return SIZE_MAX;
    for (const struct rooms__hub *h = rs->hubs; h; h = h->next)
        if (h->is_up || rs->nup == 0) /* what comes may be for it */
            least = WR_MIN(least, hub_wants(&h->outbox, until_us));
    return least;
}

void outbox__add(struct wr_rooms *rs, struct rooms__publish *p)
{
    struct rooms__outbox *o = &hubs__home(rs, p->room)->outbox;
    p->next = NULL;
    *o->last = p;
    o->last = &p->next;
    o->waiting++;
}

void outbox__init(struct rooms__outbox *o)
{
    o->last = &o->first;
}

void outbox__free(struct wr_rooms *rs)
{
    for (struct rooms__hub *h = rs->hubs; h; h = h->next) {
        struct rooms__outbox *o = &h->outbox;
        while (o->sent || o->first) {
            struct rooms__publish **from = o->sent ? &o->sent : &o->first;
            struct rooms__publish *p = *from;
            *from = p->next;
            publish_free(rs, p);
        }
    }
}
