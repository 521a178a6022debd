/* SPDX-License-Identifier: MIT
 *
 * The gateway's methods: what a protocol's `call` reaches by name. Each takes JSON and answers JSON, later and on the
 * connection's thread; each asks for the right that it needs.
 *
 *     room.send {"room":"hall","data":...}   publishes data; answers {"offset":7,"epoch":"abcdefgh","time":1700000000000},
 *                                            which a plain publish of the Centrifuge protocol has no place for */
#include "rooms_priv.h"
#include "wr_json.h"

static void finish_send(struct rooms__reply *p)
{
    wr_buf_str(&p->data, "{\"offset\":");
    wr_buf_u64(&p->data, p->r.offset);
    wr_buf_str(&p->data, ",\"epoch\":");
    wr_json_put_slice(&p->data, p->r.epoch);
    wr_buf_str(&p->data, ",\"time\":");
    wr_buf_u64(&p->data, (uint64_t)p->r.time_ms);
    wr_buf_char(&p->data, '}');
    if (p->data.failed)
        rooms__reply_fail(p, WR_ERR_BUSY, wr_slice_str("stored, but the server is out of memory"));
    else
        p->r.data = wr_slice_of(p->data.p, p->data.n);
}

static wr_err run_send(struct wr_protocol_conn *cl, struct wr_slice args, uint64_t cookie)
{
    struct wr_slice name, data;
    struct wr_buf room = {0};
    wr_err e = WR_ERR_INVALID;
    if (wr_json_get(args, "room", &name) && wr_json_text(name, &room) && !room.failed &&
        wr_json_get(args, "data", &data)) {
        const struct wr_protocol_publish req = {.room = wr_slice_of(room.p, room.n), .data = data};
        e = clients__publish(cl, &req, cookie, finish_send);
    }
    wr_buf_free(&room);
    return e;
}

static const struct rooms__method methods[] = {
    {"room.send", run_send},
};

const struct rooms__method *calls__find(struct wr_slice name)
{
    for (size_t i = 0; i < WR_ARRAY_LEN(methods); i++)
        if (wr_slice_is(name, methods[i].name))
            return &methods[i];
    return NULL;
}
