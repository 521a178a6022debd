/* SPDX-License-Identifier: MIT
 *
 * Publishing. Messages wait in lanes, a sender's always in the same one; a lane has one Hub/Publish call under way, and
 * what arrives meanwhile goes as the next call: batches form by themselves and a sender's order is kept. Each message
 * has an idempotency key, so a call that got no answer is simply made again, until the message's time is over. */
#include "rooms_priv.h"
#include "wr_pb.h"
#include <stdlib.h>

#define BATCH_ITEMS 512u
#define BATCH_BYTES (1u << 20)

static void publish_free(struct wr_rooms *rs, struct rooms__publish *p)
{
    atomic_fetch_sub(&rs->outbox_items, 1);
    atomic_fetch_sub(&rs->outbox_bytes, p->data.n);
    wr_gauge_add(&rooms__g_outbox, -1);
    rooms__identity_unref(p->who);
    free(p);
}

static void answer(struct wr_rooms *rs, struct rooms__publish *p, wr_err code, struct wr_slice text,
                   uint64_t offset, int64_t time_ms)
{
    struct rooms__reply *r = rooms__reply_new(WR_CODEC_PUBLISH, p->cookie);
    r->r.offset = offset;
    r->r.time_ms = time_ms;
    if (code == WR_OK) {
        wr_count(&rooms__m_published, 1);
        wr_observe_us(&rooms__h_publish,
                      wr_mono_us() - (p->deadline_us - ROOMS__PUBLISH_MS * 1000));
    } else {
        wr_count(&rooms__m_publish_failed, 1);
        rooms__reply_fail(r, code, text);
    }
    rooms__reply_post(rs, p->conn, r);
}

static size_t item_bytes(const struct rooms__publish *p)
{
    return p->room.n + p->who->pb.n + sizeof p->key + p->data.n + 40;
}

static size_t field_size(size_t n) /* tag of one byte, length, bytes */
{
    return n ? 1 + wr_pb_varint_size(n) + n : 0;
}

static uint8_t *write_item(uint8_t *at, const struct rooms__publish *p)
{
    struct wr_slice key = wr_slice_of(p->key, sizeof p->key);
    size_t n = field_size(p->room.n) + 2 + field_size(p->who->pb.n) + field_size(key.n) +
               field_size(p->data.n);
    at = wr_pb_bytes_head(at, 1, n);
    at = wr_pb_bytes(at, 1, p->room);
    at = wr_pb_uint(at, 2, 1); /* ENTRY_KIND_CHAT */
    at = wr_pb_bytes(at, 3, p->who->pb);
    at = wr_pb_bytes(at, 4, key);
    return wr_pb_bytes(at, 15, p->data);
}

static struct wr_msg *batch_body(const struct rooms__lane *l)
{
    size_t bytes = 0;
    for (const struct rooms__publish *p = l->sent; p; p = p->next)
        bytes += item_bytes(p);
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, bytes);
    if (!m)
        abort();
    uint8_t *at = m->data;
    for (const struct rooms__publish *p = l->sent; p; p = p->next)
        at = write_item(at, p);
    m->len = (size_t)(at - m->data);
    return m;
}

/* Moves what collected into the next call. */
static void lane_load(struct rooms__lane *l)
{
    struct rooms__publish **last = &l->sent;
    size_t bytes = 0;
    while (l->first && l->nsent < BATCH_ITEMS &&
           (!l->nsent || bytes + item_bytes(l->first) <= BATCH_BYTES)) {
        struct rooms__publish *p = l->first;
        l->first = p->next;
        p->next = NULL;
        bytes += item_bytes(p);
        *last = p;
        last = &p->next;
        l->nsent++;
    }
    if (!l->first)
        l->last = &l->first;
}

static void finish_all(struct wr_rooms *rs, struct rooms__lane *l, wr_err code,
                       struct wr_slice text)
{
    while (l->sent) {
        struct rooms__publish *p = l->sent;
        l->sent = p->next;
        answer(rs, p, code, text, 0, 0);
        publish_free(rs, p);
    }
    l->nsent = 0;
}

static void expire(struct wr_rooms *rs, struct rooms__lane *l, wr_err code, struct wr_slice text,
                   int64_t now_us)
{
    struct rooms__publish **at = &l->sent;
    while (*at) {
        struct rooms__publish *p = *at;
        if (p->deadline_us > now_us) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        l->nsent--;
        answer(rs, p, code, text, 0, 0);
        publish_free(rs, p);
    }
}

struct result {
    wr_err code;
    struct wr_slice text;
    uint64_t offset;
    int64_t time_ms;
};

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
        else if (f.number == 5 && f.wire == 0)
            out->time_ms = (int64_t)f.value;
    }
    return !r.bad;
}

static void take_results(struct wr_rooms *rs, struct rooms__lane *l, struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    struct result res;
    wr_pb_read(&r, body);
    while (l->sent && wr_pb_next(&r, &f)) {
        if (f.number != 1 || f.wire != 2 || !parse_result(f.bytes, &res))
            continue;
        struct rooms__publish *p = l->sent;
        l->sent = p->next;
        l->nsent--;
        answer(rs, p, res.code, res.text, res.offset, res.time_ms);
        publish_free(rs, p);
    }
    if (l->sent) { /* fewer results than messages: a hub that is not ours, or broken */
        wr_count(&rooms__m_bad_bus, 1);
        finish_all(rs, l, WR_ERR_INTERNAL, wr_slice_str("the hub gave a malformed answer"));
    }
}

static void on_published(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    struct rooms__lane *l = ctx;
    l->in_flight = false;
    if (a->code == WR_OK) {
        take_results(rs, l, a->body);
    } else if (a->code == WR_ERR_UNAVAILABLE || a->code == WR_ERR_TIMEOUT ||
               a->code == WR_ERR_CLOSED || a->code == WR_ERR_BUSY) {
        expire(rs, l, a->code, a->text, wr_mono_us() + ROOMS__RETRY_MS * 1000);
        if (l->sent)
            l->retry_ms = wr_mono_ms() + ROOMS__RETRY_MS;
    } else {
        finish_all(rs, l, a->code, a->text);
    }
    outbox__run(rs, wr_mono_ms());
}

static void lane_send(struct wr_rooms *rs, struct rooms__lane *l, bool again)
{
    int64_t left = (l->sent->deadline_us - wr_mono_us()) / 1000;
    l->in_flight = true;
    l->retry_ms = 0;
    if (again)
        wr_count(&rooms__m_publish_retries, 1);
    rooms__call(rs, NULL, "watchroom.v1.Hub/Publish", batch_body(l), (uint32_t)WR_MAX(left, 50),
                on_published, l);
}

void outbox__run(struct wr_rooms *rs, int64_t now_ms)
{
    for (uint32_t i = 0; i < ROOMS__LANES; i++) {
        struct rooms__lane *l = &rs->lanes[i];
        if (l->in_flight)
            continue;
        if (l->sent) {
            if (now_ms >= l->retry_ms)
                lane_send(rs, l, true);
        } else if (l->first) {
            lane_load(l);
            lane_send(rs, l, false);
        }
    }
}

void outbox__add(struct wr_rooms *rs, struct rooms__publish *p)
{
    uint64_t h = p->conn.v * UINT64_C(0x9e3779b97f4a7c15);
    struct rooms__lane *l = &rs->lanes[(h >> 32) % ROOMS__LANES];
    p->next = NULL;
    *l->last = p;
    l->last = &p->next;
}

void outbox__free(struct wr_rooms *rs)
{
    for (uint32_t i = 0; i < ROOMS__LANES; i++) {
        struct rooms__lane *l = &rs->lanes[i];
        while (l->sent || l->first) {
            struct rooms__publish **from = l->sent ? &l->sent : &l->first;
            struct rooms__publish *p = *from;
            *from = p->next;
            publish_free(rs, p);
        }
    }
}
