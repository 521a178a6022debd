/* SPDX-License-Identifier: MIT
 *
 * Publishing. One Hub/Publish call is under way, and what arrives meanwhile goes as the next one: batches form by
 * themselves and a sender's order is kept. Each message has an idempotency key, so a call that got no answer is simply
 * made again, until the message's time is over. */
#include "rooms_priv.h"
#include "wr_pb.h"
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

static void publish_free(struct wr_rooms *rs, struct rooms__publish *p)
{
    atomic_fetch_sub(&rs->outbox_items, 1);
    atomic_fetch_sub(&rs->outbox_bytes, p->data.n);
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
    struct rooms__outbox *o = &rs->outbox;
    if (!is_awaited(rs, p->room, r->r.offset)) {
        rooms__reply_post(rs, p->conn, r);
        return;
    }
    if (!o->acks) {
        o->acks_last = &o->acks;
        o->acks_us = wr_mono_us() + ACKS_MAX_US;
    }
    r->conn = p->conn;
    *o->acks_last = r;
    o->acks_last = &r->next;
}

void outbox__release(struct wr_rooms *rs, bool event_came)
{
    struct rooms__outbox *o = &rs->outbox;
    if (!o->acks || (!event_came && wr_mono_us() < o->acks_us))
        return;
    while (o->acks) {
        struct rooms__reply *r = o->acks;
        o->acks = r->next;
        rooms__reply_post(rs, r->conn, r);
    }
}

static void answer(struct wr_rooms *rs, struct rooms__publish *p, wr_err code, struct wr_slice text,
                   const struct result *stored)
{
    struct rooms__reply *r = rooms__reply_new(p->finish ? WR_PROTOCOL_CALL : WR_PROTOCOL_PUBLISH,
                                              p->cookie);
    r->finish = p->finish;
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
        rooms__reply_fail(r, code, text);
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
    at = wr_pb_bytes_head(at, 1, n);
    at = wr_pb_bytes(at, 1, p->room);
    at = wr_pb_uint(at, 2, 1); /* ENTRY_KIND_CHAT */
    at = wr_pb_bytes(at, 3, p->who->pb);
    at = wr_pb_bytes(at, 4, key);
    at = wr_pb_bytes(at, 15, p->data);
    return wr_pb_bytes(at, 20, p->type);
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
        if (f.number == 1 && f.wire == 0)
            out->code = wr_err_from_wire((uint32_t)f.value);
        else if (f.number == 2 && f.wire == 2)
            out->text = f.bytes;
        else if (f.number == 3 && f.wire == 0)
            out->offset = f.value;
        else if (f.number == 4 && f.wire == 2)
            out->epoch = f.bytes;
        else if (f.number == 5 && f.wire == 0)
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
        if (f.number != 1 || f.wire != 2 || !parse_result(f.bytes, &res))
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

static void on_published(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    (void)ctx;
    struct rooms__outbox *o = &rs->outbox;
    o->in_flight = false;
    if (a->code == WR_OK) {
        size_t answered = o->nsent;
        take_results(rs, o, a->body);
        hold(o, answered);
    } else if (a->code == WR_ERR_UNAVAILABLE || a->code == WR_ERR_TIMEOUT ||
               a->code == WR_ERR_CLOSED || a->code == WR_ERR_BUSY) {
        expire(rs, o, a->code, a->text, wr_mono_us() + ROOMS__RETRY_MS * 1000);
        if (o->sent)
            o->retry_ms = wr_mono_ms() + ROOMS__RETRY_MS;
    } else {
        finish_all(rs, o, a->code, a->text);
    }
    outbox__run(rs, wr_mono_ms());
}

static void send_batch(struct wr_rooms *rs, bool again)
{
    struct rooms__outbox *o = &rs->outbox;
    int64_t left = (o->sent->deadline_us - wr_mono_us()) / 1000;
    o->in_flight = true;
    o->sent_us = wr_mono_us();
    o->retry_ms = 0;
    if (again)
        wr_count(&rooms__m_publish_retries, 1);
    rooms__call(rs, NULL, "watchroom.v1.Hub/Publish", batch_body(o), (uint32_t)WR_MAX(left, 50),
                on_published, NULL);
}

void outbox__run(struct wr_rooms *rs, int64_t now_ms)
{
    struct rooms__outbox *o = &rs->outbox;
    if (o->in_flight)
        return;
    if (o->sent) {
        if (now_ms >= o->retry_ms)
            send_batch(rs, true);
    } else if (o->first && !is_held(o, wr_mono_us())) {
        load(o);
        send_batch(rs, false);
    }
}

size_t outbox__wants(const struct wr_rooms *rs, int64_t *until_us)
{
    const struct rooms__outbox *o = &rs->outbox;
    if (o->acks)
        *until_us = WR_MIN(*until_us, o->acks_us);
    if (o->in_flight || o->sent)
        return SIZE_MAX;
    if (!is_held(o, wr_mono_us()))
        return 1;
    if (o->waiting || o->want > 1)
        *until_us = WR_MIN(*until_us, o->hold_us);
    return o->want - o->waiting;
}

void outbox__add(struct wr_rooms *rs, struct rooms__publish *p)
{
    struct rooms__outbox *o = &rs->outbox;
    p->next = NULL;
    *o->last = p;
    o->last = &p->next;
    o->waiting++;
}

void outbox__free(struct wr_rooms *rs)
{
    struct rooms__outbox *o = &rs->outbox;
    while (o->sent || o->first) {
        struct rooms__publish **from = o->sent ? &o->sent : &o->first;
        struct rooms__publish *p = *from;
        *from = p->next;
        publish_free(rs, p);
    }
}
