/* SPDX-License-Identifier: MIT
 *
 * Hand-written protobuf of the hot path. */
#include "hub_wire.h"

#include "wr_buf.h"
#include "watchroom/v1/bus.numbers.h"
#include "watchroom/v1/hub.numbers.h"
#include "wr_clock.h"
#include "wr_json.h"

#include "watchroom/v1/bus.numbers.h"
#include "watchroom/v1/hub.numbers.h"

bool hub__read_item(struct wr_slice bytes, struct hub_item *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct hub_item){0};
    wr_pb_read(&r, bytes);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_PUBLISH_ITEM_ROOM && f.wire == 2)
            out->room = f.bytes;
        else if (f.number == WR_PB_PUBLISH_ITEM_KIND && f.wire == 0)
            out->kind = f.value > UINT32_MAX ? UINT32_MAX : (uint32_t)f.value;
        else if (f.number == WR_PB_PUBLISH_ITEM_INFO && f.wire == 2)
            out->info = f.bytes;
        else if (f.number == WR_PB_PUBLISH_ITEM_KEY && f.wire == 2)
            out->key = f.bytes;
        else if (f.number == WR_PB_PUBLISH_ITEM_DATA && f.wire == 2)
            out->data = f.bytes;
        else if (f.number == WR_PB_PUBLISH_ITEM_TYPE && f.wire == 2)
            out->type = f.bytes;
    }
    return !r.bad;
}

static const char *check_text(struct wr_slice v, size_t max)
{
    return v.n > max                  ? "info: user or client is too long"
           : !wr_utf8_valid(v.p, v.n) ? "info: not UTF-8"
                                      : NULL;
}

bool hub__read_info(struct wr_slice bytes, struct wr_slice *user, struct wr_slice *client,
                    const char **why)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    const char *wrong = bytes.n > HUB_MAX_INFO_BYTES ? "info: more than 8192 bytes" : NULL;
    *user = *client = (struct wr_slice){0};
    wr_pb_read(&r, bytes);
    while (!wrong && wr_pb_next(&r, &f)) {
        if (f.wire != 2)
            continue;
        if (f.number == WR_PB_CLIENT_INFO_USER) {
            *user = f.bytes;
            wrong = check_text(f.bytes, HUB_MAX_USER_BYTES);
        } else if (f.number == WR_PB_CLIENT_INFO_CLIENT) {
            *client = f.bytes;
            wrong = check_text(f.bytes, HUB_MAX_CLIENT_BYTES);
        } else if ((f.number == WR_PB_CLIENT_INFO_CONN_INFO ||
                    f.number == WR_PB_CLIENT_INFO_CHAN_INFO) &&
                   f.bytes.n) {
            /* Gateways put it into JSON frames as it is: it must not break the line or the frame. */
            if (wr_json_check(f.bytes, NULL) != WR_JSON_COMPACT)
                wrong = "info: conn_info and chan_info must be JSON without space between tokens";
        }
    }
    if (!wrong && r.bad)
        wrong = "info: not a ClientInfo";
    if (why)
        *why = wrong;
    return !wrong;
}

size_t hub__publication_size(const struct hub_publication *p)
{
    return hub__uint_size(p->offset) + hub__uint_size((uint64_t)p->time_ms) +
           hub__uint_size(p->kind) + hub__bytes_size(p->info.n) + hub__bytes_size(p->key.n) +
           hub__bytes_size(p->data.n) + hub__bytes_size(p->type.n) +
           (p->type.n ? 1 : 0); /* the type's tag has two bytes */
}

size_t hub__publication_field_size(const struct hub_publication *p)
{
    size_t n = hub__publication_size(p);
    return 1 + wr_pb_varint_size(n) + n;
}

uint8_t *hub__write_publication_field(uint8_t *to, uint32_t number, const struct hub_publication *p)
{
    to = wr_pb_bytes_head(to, number, hub__publication_size(p));
    to = wr_pb_uint(to, WR_PB_PUBLICATION_OFFSET, p->offset);
    to = wr_pb_uint(to, WR_PB_PUBLICATION_TIME_MS, (uint64_t)p->time_ms);
    to = wr_pb_uint(to, WR_PB_PUBLICATION_KIND, p->kind);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_INFO, p->info);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_KEY, p->key);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_DATA, p->data);
    return wr_pb_bytes(to, WR_PB_PUBLICATION_TYPE, p->type);
}

static size_t result_size(const struct hub_result *r)
{
    if (r->code != WR_OK)
        return hub__uint_size(r->code) + hub__bytes_size(r->message.n);
    return hub__uint_size(r->offset) + hub__bytes_size(strlen(r->epoch)) +
           hub__uint_size((uint64_t)r->time_ms) + hub__uint_size(r->duplicate);
}

size_t hub__result_field_size(const struct hub_result *r)
{
    size_t n = result_size(r);
    return 1 + wr_pb_varint_size(n) + n;
}

uint8_t *hub__write_result_field(uint8_t *to, uint32_t number, const struct hub_result *r)
{
    to = wr_pb_bytes_head(to, number, result_size(r));
    if (r->code != WR_OK) {
        to = wr_pb_uint(to, WR_PB_PUBLISH_RESULT_CODE, r->code);
        return wr_pb_bytes(to, WR_PB_PUBLISH_RESULT_MESSAGE, r->message);
    }
    to = wr_pb_uint(to, WR_PB_PUBLISH_RESULT_OFFSET, r->offset);
    to = wr_pb_bytes(to, WR_PB_PUBLISH_RESULT_EPOCH, wr_slice_str(r->epoch));
    to = wr_pb_uint(to, WR_PB_PUBLISH_RESULT_TIME_MS, (uint64_t)r->time_ms);
    return wr_pb_uint(to, WR_PB_PUBLISH_RESULT_DUPLICATE, r->duplicate);
}

struct wr_msg *hub__event_new(const struct hub_event_head *h, size_t body, uint8_t **at)
{
    uint64_t now = (uint64_t)wr_wall_ms();
    struct wr_slice instance = wr_slice_str(h->instance), epoch = wr_slice_str(h->epoch);
    size_t num = h->has_num_clients ? 2 + hub__uint_size(h->num_clients) : 0;
    size_t room = hub__bytes_size(h->room.n) + hub__bytes_size(epoch.n) + hub__uint_size(h->top) +
                  num + body;
    size_t all = hub__bytes_size(instance.n) + hub__uint_size(now) + 1 + wr_pb_varint_size(room) +
                 room;
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, all);
    if (!m)
        return NULL;
    uint8_t *to = wr_pb_bytes(m->data, WR_PB_EVENT_INSTANCE, instance);
    to = wr_pb_uint(to, WR_PB_EVENT_TIME_MS, now);
    to = wr_pb_bytes_head(to, WR_PB_EVENT_ROOM, room);
    to = wr_pb_bytes(to, WR_PB_ROOM_EVENT_ROOM, h->room);
    to = wr_pb_bytes(to, WR_PB_ROOM_EVENT_EPOCH, epoch);
    to = wr_pb_uint(to, WR_PB_ROOM_EVENT_TOP, h->top);
    if (h->has_num_clients) {
        to = wr_pb_uint(to, WR_PB_ROOM_EVENT_HAS_NUM_CLIENTS, 1);
        to = wr_pb_uint(to, WR_PB_ROOM_EVENT_NUM_CLIENTS, h->num_clients);
    }
    *at = to;
    return m;
}
