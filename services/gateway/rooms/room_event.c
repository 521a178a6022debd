/* SPDX-License-Identifier: MIT
 *
 * Reading the hub's messages without copying: slices into the message. Fields: proto/watchroom/v1/hub.proto, bus.proto.
 * The messages' shape is checked as if they came from a client; what is in an entry the hub has checked once, where it entered. */
#include "rooms_priv.h"
#include "wr_pb.h"
#include "watchroom/v1/bus.numbers.h"
#include "watchroom/v1/hub.numbers.h"
#include <stdlib.h>

bool rooms__parse_info(struct wr_slice body, struct wr_protocol_info *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct wr_protocol_info){0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f)) {
        if (f.wire != 2)
            continue;
        if (f.number == WR_PB_CLIENT_INFO_USER)
            out->user = f.bytes;
        else if (f.number == WR_PB_CLIENT_INFO_CLIENT)
            out->client = f.bytes;
        else if (f.number == WR_PB_CLIENT_INFO_CONN_INFO)
            out->conn_info = f.bytes;
        else if (f.number == WR_PB_CLIENT_INFO_CHAN_INFO)
            out->chan_info = f.bytes;
    }
    return !r.bad;
}

static bool parse_pub(struct wr_slice body, struct wr_protocol_pub *p)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    bool ok = true;
    *p = (struct wr_protocol_pub){0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_PUBLICATION_OFFSET && f.wire == 0)
            p->offset = f.value;
        else if (f.number == WR_PB_PUBLICATION_TIME_MS && f.wire == 0)
            p->time_ms = (int64_t)f.value;
        else if (f.number == WR_PB_PUBLICATION_KIND && f.wire == 0)
            p->kind = (uint32_t)f.value;
        else if (f.number == WR_PB_PUBLICATION_INFO && f.wire == 2)
            p->has_info = ok = ok && rooms__parse_info(f.bytes, &p->info);
        else if (f.number == WR_PB_PUBLICATION_DATA && f.wire == 2)
            p->data = f.bytes;
        else if (f.number == WR_PB_PUBLICATION_TYPE && f.wire == 2)
            p->type = f.bytes;
    }
    return ok && !r.bad && p->offset && p->data.n;
}

static bool add_pub(struct rooms__pubs *out, struct wr_slice body)
{
    if (out->n == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 8;
        struct wr_protocol_pub *v = realloc(out->v, cap * sizeof *v);
        if (!v)
            return false;
        out->v = v;
        out->cap = cap;
    }
    return parse_pub(body, &out->v[out->n++]);
}

static bool add_info(struct wr_protocol_info **v, size_t *n, struct wr_slice body)
{
    if ((*n & (*n - 1)) == 0) { /* grows at powers of two */
        struct wr_protocol_info *more = realloc(*v, (*n ? *n * 2 : 1) * sizeof *more);
        if (!more)
            return false;
        *v = more;
    }
    return rooms__parse_info(body, &(*v)[(*n)++]);
}

/* Offsets follow each other: nothing later has to think about it. */
static bool is_dense(const struct rooms__pubs *p)
{
    for (size_t i = 1; i < p->n; i++)
        if (p->v[i].offset != p->v[i - 1].offset + 1)
            return false;
    return true;
}

static bool parse_room_event(struct wr_slice body, struct rooms__pubs *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    bool ok = true;
    wr_pb_read(&r, body);
    while (ok && wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_ROOM_EVENT_TOP && f.wire == 0)
            out->top = f.value;
        if (f.wire != 2)
            continue;
        if (f.number == WR_PB_ROOM_EVENT_ROOM)
            out->room = f.bytes;
        else if (f.number == WR_PB_ROOM_EVENT_EPOCH)
            out->epoch = f.bytes;
        else if (f.number == WR_PB_ROOM_EVENT_PUBLICATIONS)
            ok = add_pub(out, f.bytes);
        else if (f.number == WR_PB_ROOM_EVENT_JOINED)
            ok = add_info(&out->joined, &out->n_joined, f.bytes);
        else if (f.number == WR_PB_ROOM_EVENT_LEFT)
            ok = add_info(&out->left, &out->n_left, f.bytes);
    }
    return ok && !r.bad && out->epoch.n < 32 && (!out->n || out->epoch.n) && is_dense(out);
}

bool rooms__parse_event(struct wr_slice event, struct rooms__pubs *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    bool found = false, ok = true;
    *out = (struct rooms__pubs){0};
    wr_pb_read(&r, event);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_EVENT_INSTANCE && f.wire == 2)
            out->instance = f.bytes;
        if (f.number == WR_PB_EVENT_ROOM && f.wire == 2 && !found) {
            found = true;
            ok = parse_room_event(f.bytes, out);
        }
    }
    if (found && ok && !r.bad)
        return true;
    rooms__pubs_free(out);
    return false;
}

bool rooms__parse_history(struct wr_slice body, struct rooms__pubs *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    bool ok = true;
    *out = (struct rooms__pubs){0};
    wr_pb_read(&r, body);
    while (ok && wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_HISTORY_RESPONSE_EPOCH && f.wire == 2)
            out->epoch = f.bytes;
        else if (f.number == WR_PB_HISTORY_RESPONSE_TOP && f.wire == 0)
            out->top = f.value;
        else if (f.number == WR_PB_HISTORY_RESPONSE_PUBLICATIONS && f.wire == 2)
            ok = add_pub(out, f.bytes);
    }
    if (ok && !r.bad && out->epoch.n < 32)
        return true;
    rooms__pubs_free(out);
    return false;
}

void rooms__pubs_free(struct rooms__pubs *p)
{
    free(p->v);
    free(p->joined);
    free(p->left);
    *p = (struct rooms__pubs){0};
}
