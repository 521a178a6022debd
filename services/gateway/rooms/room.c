/* SPDX-License-Identifier: MIT
 *
 * One room's order. A room is told its position by the hub (Tops), then takes events: the next offset is delivered, a
 * lower one was delivered already, a higher one shows a gap, which the log fills before anything newer goes out. A beat
 * whose top is higher shows a lost last event; what no beat tells (the hub died before it) the check of all rooms finds,
 * which is made when a hub comes up and from time to time. Everything here runs on the rooms thread, so there are no races; what
 * goes to a connection goes through its thread's inbox in this order. */
#include "room_priv.h"
#include "wr_log.h"
#include "wr_pb.h"
#include "watchroom/v1/hub.numbers.h"
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_BYTES (16u << 10) /* a batch is cut into messages of about this size */

/* ---- to the members ---- */

static void send_frame(struct rooms__room *room, uint32_t form, struct wr_buf *b, uint32_t classes)
{
    enum wr_ws_op op = room->rs->forms[form].is_binary ? WR_WS_BINARY : WR_WS_TEXT;
    struct wr_frame *f = b->failed ? NULL : wr_frame_copy(op, wr_slice_of(b->p, b->n));
    if (!f)
        abort(); /* a publication may not be left out */
    while (wr_fanout_send(room->fanouts[form], &f, 1, classes) != WR_OK)
        wr_plane_wait_room(room->rs->env->plane);
    wr_frame_unref(f);
}

/* Who gets that form, now or with what is on its way to their threads. */
static bool has_members(const struct rooms__room *room, uint32_t form)
{
    return room->fanouts[form] && !wr_fanout_is_empty(room->fanouts[form]);
}

static void send_pubs(struct rooms__room *room, const struct wr_protocol_pub *v, size_t n)
{
    struct wr_rooms *rs = room->rs;
    struct wr_buf b = {0};
    wr_count(&rooms__m_pubs, n);
    for (uint32_t i = 0; i < rs->nforms; i++) {
        const struct rooms__form *form = &rs->forms[i];
        if (!has_members(room, i))
            continue;
        for (size_t from = 0; from < n;) {
            size_t to = from, bytes = 0;
            while (to < n && (to == from || bytes + v[to].data.n <= MESSAGE_BYTES))
                bytes += v[to++].data.n;
            wr_buf_clear(&b);
            form->plugin->encode_publications(form->variant, wr_slice_str(room->name), v + from,
                                              to - from, &b);
            if (b.n || b.failed)
                send_frame(room, i, &b, CLASS_PUBS);
            from = to;
        }
    }
    wr_buf_free(&b);
}

static void send_members(struct rooms__room *room, const struct rooms__pubs *p)
{
    struct wr_rooms *rs = room->rs;
    for (uint32_t i = 0; i < rs->nforms; i++) {
        const struct rooms__form *form = &rs->forms[i];
        struct wr_buf b = {0};
        if (!has_members(room, i) || !WR_PLUGIN_HAS(form->plugin, encode_members))
            continue;
        form->plugin->encode_members(form->variant, wr_slice_str(room->name), p->joined,
                                     p->n_joined, p->left, p->n_left, &b);
        if (b.n)
            send_frame(room, i, &b, CLASS_JOIN_LEAVE);
        wr_buf_free(&b);
    }
}

static void each_member(struct rooms__room *room, uint32_t classes, wr_member_fn fn)
{
    struct wr_msg *name = wr_msg_copy(wr_slice_str(room->name));
    if (!name)
        abort();
    for (uint32_t i = 0; i < room->rs->nforms; i++)
        if (room->fanouts[i])
            wr_fanout_each(room->fanouts[i], classes, fn, name);
    wr_msg_unref(name);
}

/* Positioned subscriptions can no longer trust what they have. */
static void send_insufficient(struct rooms__room *room)
{
    each_member(room, CLASS_POSITIONED, clients__insufficient);
}

void room__ask_all_again(struct wr_rooms *rs)
{
    size_t at = 0;
    struct wr_slice name;
    void *room;
    while (wr_map_next(&rs->rooms, &at, &name, &room))
        each_member(room, CLASS_PUBS, clients__ask_again);
}

/* ---- gaps ---- */

static void fill(struct rooms__room *room);
static void take_held(struct rooms__room *room);

struct wr_msg *room__history_body(const char *room, uint64_t since, const char *epoch,
                                  uint32_t limit, uint64_t until)
{
    size_t nr = strlen(room), ne = strlen(epoch);
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, nr + ne + 80);
    if (!m)
        abort();
    uint8_t *at = wr_pb_bytes(m->data, WR_PB_HISTORY_REQUEST_ROOM, wr_slice_str(room));
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_HAS_SINCE, 1);
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_SINCE_OFFSET, since);
    at = wr_pb_bytes(at, WR_PB_HISTORY_REQUEST_SINCE_EPOCH, wr_slice_str(epoch));
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_LIMIT, limit);
    at = wr_pb_uint(at, WR_PB_HISTORY_REQUEST_UNTIL_OFFSET, until);
    m->len = (size_t)(at - m->data);
    return m;
}

static void room_epoch(struct rooms__room *room, struct wr_slice epoch, uint64_t last)
{
    wr_count(&rooms__m_epochs, 1);
    wr_info("gateway.epoch", "room=%s from=%s to=%.*s: its log began anew", room->name, room->epoch,
            (int)epoch.n, (const char *)epoch.p);
    memcpy(room->epoch, epoch.p, epoch.n);
    room->epoch[epoch.n] = 0;
    room->last = room->target = last;
    send_insufficient(room);
}

static void deliver(struct rooms__room *room, const struct rooms__pubs *p)
{
    size_t skip = 0;
    while (skip < p->n && p->v[skip].offset <= room->last)
        skip++;
    if (skip)
        wr_count(&rooms__m_duplicates, skip);
    if (skip == p->n)
        return;
    send_pubs(room, p->v + skip, p->n - skip);
    room->last = p->v[p->n - 1].offset;
    room->target = WR_MAX(room->target, room->last);
}

/* Events of a live room, or of one that was just filled. Returns false when the event has to wait: for a fill, or for what
 * the hub says of the room. Only the room's own hub, asked, tells that its log began anew: an event of another log may be
 * a late one, of a hub that the room was at before. */
static bool take_event(struct rooms__room *room, struct wr_msg *msg, struct wr_slice event,
                       struct rooms__pubs *p)
{
    if (p->epoch.n && !wr_slice_is(p->epoch, room->epoch)) {
        room__ask_top(room);
        return false;
    }
    if (p->n && p->v[0].offset > room->last + 1) {
        room->target = WR_MAX(room->target, p->v[p->n - 1].offset);
        return false;
    }
    if (p->n) {
        bool is_new = p->v[p->n - 1].offset > room->last;
        deliver(room, p);
        if (is_new && room->recovering &&
            !room__hold(room->rs, &room->recent, &room->recent_last, &room->nrecent, msg, event))
            room->recent_lost = true;
    }
    if (p->n_joined || p->n_left)
        send_members(room, p);
    if (p->epoch.n && p->top > room->last)
        room->target = WR_MAX(room->target, p->top);
    return true;
}

/* A question of a room; one that was asked before the room moved is answered by the wrong hub. */
struct asked {
    struct rooms__room *room;
    unsigned moves;
};

static struct asked *ask(struct rooms__room *room)
{
    struct asked *q = calloc(1, sizeof *q);
    if (!q)
        abort();
    *q = (struct asked){room, room->moves};
    room->calls++;
    return q;
}

/* Frees it. NULL: nobody waits for the answer any more. */
static struct rooms__room *asker(struct asked *q)
{
    struct rooms__room *room = q->room;
    bool is_late = q->moves != room->moves;
    free(q);
    room->calls--;
    return is_late ? NULL : room;
}

static void on_fill(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    (void)rs;
    struct rooms__room *room = asker(ctx);
    struct rooms__pubs p = {0};
    if (!room || room->state != ROOM_FILLING)
        return;
    if (a->code == WR_ERR_POSITION || a->code == WR_ERR_NOT_FOUND) {
        /* The log is another one: start over from its position. */
        room->state = ROOM_TOPS;
        room->waits_retry = true;
        return;
    }
    if (a->code != WR_OK || !rooms__parse_history(a->body, &p)) {
        if (a->code == WR_OK)
            wr_count(&rooms__m_bad_bus, 1);
        room->waits_retry = true;
        room__refuse_waiting(room, a->code, a->text);
        return;
    }
    if (p.n == 0 || p.v[0].offset != room->last + 1) {
        wr_count(&rooms__m_lost, 1);
        wr_warn("gateway.gap", "room=%s after=%llu: the log does not have what comes next any more",
                room->name, (unsigned long long)room->last);
        room->last = p.n ? p.v[0].offset - 1 : WR_MAX(p.top, room->target);
        room->target = WR_MAX(room->target, room->last);
        send_insufficient(room);
    }
    wr_count(&rooms__m_filled, p.n);
    /* Sent from here like an event. A subscription that recovers meanwhile reads the log itself and may get an answer
     * older than this: what was filled is not among its recent events, so it reads again. */
    if (p.n) {
        deliver(room, &p);
        if (room->recovering)
            room->recent_lost = true;
    }
    rooms__pubs_free(&p);
    take_held(room);
    room__start_waiting(room);
}

static void fill(struct rooms__room *room)
{
    room->state = ROOM_FILLING;
    room->waits_retry = false;
    wr_count(&rooms__m_fills, 1);
    rooms__call(room->rs, room->name, HUB("History"),
                room__history_body(room->name, room->last, room->epoch, 500, 0), CALL_MS, on_fill,
                ask(room));
}

/* After tops or a fill: what waited, in order; a further gap starts a further fill. */
static void take_held(struct rooms__room *room)
{
    room->state = ROOM_LIVE;
    while (room->held && room->state == ROOM_LIVE) {
        struct rooms__held *h = room->held;
        struct rooms__pubs p;
        if (rooms__parse_event(h->event, &p)) {
            bool taken = take_event(room, h->msg, h->event, &p);
            rooms__pubs_free(&p);
            if (!taken)
                break;
        }
        room__drop_one_held(room, &room->held);
    }
    if (room->state == ROOM_LIVE && room->target > room->last)
        fill(room);
}

void room__event(struct wr_rooms *rs, struct wr_msg *msg, struct wr_slice name,
                 struct wr_slice event)
{
    struct rooms__pubs p;
    wr_count(&rooms__m_events, 1);
    struct rooms__room *room = wr_map_get(&rs->rooms, name);
    if (!room) {
        wr_count(&rooms__m_events_unknown, 1);
        return;
    }
    if (!rooms__parse_event(event, &p)) {
        wr_count(&rooms__m_bad_bus, 1);
        return;
    }
    if (hubs__is_others(rs, room->hub, p.instance) && !wr_slice_is(p.epoch, room->epoch)) {
        wr_count(&rooms__m_events_elsewhere,
                 1); /* of a log, or of members, that were there before */
        rooms__pubs_free(&p);
        return;
    }
    bool taken = room->state == ROOM_LIVE && take_event(room, msg, event, &p);
    if (!taken && room__hold(rs, &room->held, &room->held_last, &room->nheld, msg, event)) {
        wr_gauge_add(&rooms__g_held, 1);
    } else if (!taken && (!p.epoch.n || !room->epoch[0] || wr_slice_is(p.epoch, room->epoch))) {
        room->target = WR_MAX(room->target, p.n ? p.v[p.n - 1].offset : p.top);
    }
    rooms__pubs_free(&p);
    if (room->state == ROOM_LIVE && room->target > room->last)
        fill(room);
}

/* ---- life of a room ---- */

struct top {
    struct wr_slice room, epoch;
    uint64_t offset;
};

/* The next RoomTop of a TopsResponse; false at the end and when it is malformed. */
static bool next_top(struct wr_pb_reader *r, struct top *out)
{
    struct wr_pb_reader t;
    struct wr_pb_field f;
    *out = (struct top){0};
    if (!wr_pb_next(r, &f) || f.number != WR_PB_TOPS_RESPONSE_TOPS || f.wire != 2)
        return false;
    wr_pb_read(&t, f.bytes);
    while (wr_pb_next(&t, &f)) {
        if (f.number == WR_PB_ROOM_TOP_ROOM && f.wire == 2)
            out->room = f.bytes;
        else if (f.number == WR_PB_ROOM_TOP_EPOCH && f.wire == 2)
            out->epoch = f.bytes;
        else if (f.number == WR_PB_ROOM_TOP_OFFSET && f.wire == 0)
            out->offset = f.value;
    }
    return !t.bad && out->epoch.n > 0 && out->epoch.n < 32;
}

/* What was held of the new log goes out: its members may not have it. */
static uint64_t before_held(const struct rooms__room *room, const struct top *top)
{
    uint64_t last = top->offset;
    for (const struct rooms__held *h = room->held; h; h = h->next) {
        struct rooms__pubs p;
        if (!rooms__parse_event(h->event, &p))
            continue;
        if (p.n && wr_slice_eq(p.epoch, top->epoch))
            last = WR_MIN(last, p.v[0].offset - 1);
        rooms__pubs_free(&p);
    }
    return last;
}

static void on_tops(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    (void)rs;
    struct rooms__room *room = asker(ctx);
    struct wr_pb_reader r;
    struct top top;
    if (!room || room->state != ROOM_TOPS)
        return;
    wr_pb_read(&r, a->body);
    if (a->code != WR_OK || !next_top(&r, &top)) {
        room__refuse_waiting(room, a->code, a->text);
        room->waits_retry = true;
        return;
    }
    if (room->epoch[0] && !wr_slice_is(top.epoch, room->epoch)) {
        room_epoch(room, top.epoch, before_held(room, &top));
    } else if (!room->epoch[0]) {
        memcpy(room->epoch, top.epoch.p, top.epoch.n);
        room->epoch[top.epoch.n] = 0;
        room->last = room->target = top.offset;
    } else {
        room->target = WR_MAX(room->target, top.offset);
    }
    room__drop_held_of_others(room);
    take_held(room);
    room__start_waiting(room);
}

void room__ask_top(struct rooms__room *room)
{
    size_t n = strlen(room->name);
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, n + 16);
    if (!m)
        abort();
    m->len = (size_t)(wr_pb_bytes(m->data, WR_PB_TOPS_REQUEST_ROOMS, wr_slice_str(room->name)) -
                      m->data);
    room->state = ROOM_TOPS;
    room->waits_retry = false;
    rooms__call(room->rs, room->name, HUB("Tops"), m, CALL_MS, on_tops, ask(room));
}

void room__moved(struct rooms__room *room)
{
    room->moves++;
    room__ask_top(room);
}

/* ---- the check of all rooms ---- */

static void check_room(struct rooms__room *room, const struct top *top)
{
    if (room->state == ROOM_TOPS)
        return; /* it asks for itself */
    if (wr_slice_is(top->epoch, room->epoch))
        room->target = WR_MAX(room->target, top->offset);
    else if (room->state == ROOM_LIVE)
        room__ask_top(
            room); /* another log, or this answer is older than the room: its own question tells */
    if (room->state == ROOM_LIVE && room->target > room->last)
        fill(room);
}

static void on_check(struct wr_rooms *rs, void *ctx, const struct wr_answer *a)
{
    (void)ctx;
    struct wr_pb_reader r;
    struct top top;
    rs->checks--;
    if (a->code != WR_OK)
        rs->check_ms = WR_MIN(rs->check_ms, wr_mono_ms() + ROOMS__BEAT_MS);
    wr_pb_read(&r, a->code == WR_OK ? a->body : (struct wr_slice){0});
    while (next_top(&r, &top)) {
        struct rooms__room *room = wr_map_get(&rs->rooms, top.room);
        if (room)
            check_room(room, &top);
    }
}

static void check_call(struct wr_rooms *rs, const struct rooms__hub *h, struct wr_buf *names)
{
    struct wr_msg *m = names->failed ? NULL : wr_msg_copy(wr_slice_of(names->p, names->n));
    if (!m)
        abort();
    wr_buf_clear(names);
    rs->checks++;
    rooms__call_at(rs, h, HUB("Tops"), m, CALL_MS, on_check, NULL);
}

static void check_hub(struct wr_rooms *rs, const struct rooms__hub *h)
{
    struct wr_buf names = {0};
    size_t at = 0, n = 0;
    struct wr_slice name;
    void *value;
    while (wr_map_next(&rs->rooms, &at, &name, &value)) {
        uint8_t head[24];
        if (((struct rooms__room *)value)->hub != h)
            continue; /* a room that lost its members is asked for too: who comes back meets what it knows */
        wr_buf_add(&names, head,
                   (size_t)(wr_pb_bytes_head(head, WR_PB_TOPS_REQUEST_ROOMS, name.n) - head));
        wr_buf_slice(&names, name);
        if (++n % ROOMS__CHECK_ROOMS == 0)
            check_call(rs, h, &names);
    }
    if (names.n)
        check_call(rs, h, &names);
    wr_buf_free(&names);
}

static void check_all(struct wr_rooms *rs)
{
    for (const struct rooms__hub *h = rs->hubs; h; h = h->next)
        check_hub(rs, h);
}

void room__check_soon(struct wr_rooms *rs)
{
    rs->check_ms = 0;
}

static struct rooms__room *room_get(struct wr_rooms *rs, struct wr_slice name)
{
    struct rooms__room *room = wr_map_get(&rs->rooms, name);
    if (room)
        return room;
    room = calloc(1, sizeof *room);
    if (!room || name.n >= sizeof room->name || !wr_map_put(&rs->rooms, name, room))
        abort();
    room->rs = rs;
    room->hub = hubs__home(rs, name);
    memcpy(room->name, name.p, name.n);
    room->held_last = &room->held;
    room->recent_last = &room->recent;
    wr_gauge_add(&rooms__g_rooms, 1);
    room__ask_top(room);
    return room;
}

void room__subscribe(struct wr_rooms *rs, struct rooms__sub *s)
{
    struct rooms__room *room = room_get(rs, rooms__sub_room(s));
    s->room = room;
    s->state = SUB_WAITING;
    s->room_next = room->subs;
    if (room->subs)
        room->subs->room_at = &s->room_next;
    s->room_at = &room->subs;
    room->subs = s;
    room->nsubs++;
    wr_gauge_add(&rooms__g_subs, 1);
    if (room->state != ROOM_TOPS)
        room__start(s);
    else if (room->waits_retry)
        room__ask_top(room);
}

void room__unsubscribe(struct wr_rooms *rs, struct rooms__sub *s)
{
    if (s->state == SUB_WAITING || s->state == SUB_RECOVERING) {
        s->leaving = true;
        return;
    }
    if (s->state == SUB_LIVE)
        presence__leave(rs, s);
    s->state = SUB_LEFT;
    room__forget(s);
}

static void room_free(struct rooms__room *room)
{
    room__drop_held(room);
    room__held_free(room->rs, &room->recent, &room->nrecent);
    for (uint32_t c = 0; c < ROOMS__FORMS; c++)
        wr_fanout_unref(&room->fanouts[c]);
    wr_gauge_add(&rooms__g_rooms, -1);
    free(room);
}

void room__timer(struct wr_rooms *rs, int64_t now_ms)
{
    size_t at = 0;
    struct wr_slice key;
    void *value;
    if (!rs->checks && !rs->ending && now_ms >= rs->check_ms) {
        rs->check_ms = now_ms + ROOMS__CHECK_MS;
        check_all(rs);
    }
    while (wr_map_next(&rs->rooms, &at, &key, &value)) {
        struct rooms__room *room = value;
        if (room->waits_retry && room->nsubs) {
            if (room->state == ROOM_TOPS)
                room__ask_top(room);
            else if (room->state == ROOM_FILLING)
                fill(room);
        }
        if (!room->nsubs && !room->calls && now_ms - room->empty_ms > ROOMS__LINGER_MS) {
            (void)wr_map_del(&rs->rooms, wr_slice_str(room->name));
            room_free(room);
        }
    }
}

void room__free_all(struct wr_rooms *rs)
{
    size_t at = 0;
    struct wr_slice key;
    void *value;
    while (wr_map_next(&rs->rooms, &at, &key, &value))
        room_free(value);
    wr_map_free(&rs->rooms);
}
