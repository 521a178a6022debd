/* SPDX-License-Identifier: MIT
 *
 * Members by room and by lease. Changes collect in a room until hub_rooms__events turns them into one event: those that
 * arrive together are told together, and a member that came and went in between is not told at all. */
#include "hub_rooms.h"

#include "hub_wire.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "watchroom/v1/hub.numbers.h"

enum { MAX_EVENT_BYTES = 1 << 20, MAX_LIST_BYTES = 2 << 20 };

WR_GAUGE(members_now, "watchroom_hub_members", NULL,
         "Members in all rooms (a client in two rooms counts twice)");
WR_GAUGE(leases_now, "watchroom_hub_leases", NULL, "Gateways that keep members alive");
WR_COUNTER(leases_expired, "watchroom_hub_leases_expired_total", NULL,
           "Gateways that stopped renewing their lease, so that their members left");
WR_COUNTER(leases_lost, "watchroom_hub_leases_unknown_total", NULL,
           "Member calls of a lease that the hub did not know, answered with known=false");
WR_COUNTER(members_refused, "watchroom_hub_members_refused_total", NULL,
           "Members that were malformed or beyond the hub's bound, and left out");

struct change {
    struct change *next;
    struct hub_member *fresh; /* joined in this turn and still there; NULL when it left again */
    bool joined, void_;
    size_t n;
    uint8_t info[];
};

struct hub_room {
    struct wr_map members; /* client id to struct hub_member */
    struct wr_map users;   /* user to how many members, as a pointer's value */
    char epoch[9];         /* of top; "" before the first entry that this hub saw */
    uint64_t top;
    int64_t top_us;        /* when top came, 0 = never */
    uint32_t told_clients; /* num_clients of the newest event */
    bool listed;           /* in hub_rooms.changed */
    struct change *first, *last;
    struct hub_room *next_changed;
    size_t name_n;
    char name[];
};

struct hub_lease {
    uint64_t seq;
    int64_t expires_us;
    uint64_t turn;      /* of the newest full list */
    uint32_t next_part; /* of a full list that has begun; 0 = none has */
    struct hub_member *members;
    size_t id_n;
    char id[];
};

struct hub_member {
    struct hub_room *room;
    struct hub_lease *lease;
    struct hub_member *next, *prev; /* in the lease */
    struct change *fresh;           /* the change that tells of it, while nobody was told */
    uint64_t turn;
    struct wr_slice user, client, info; /* in bytes */
    uint8_t bytes[];                    /* encoded ClientInfo, then user and client */
};

static struct wr_slice room_name(const struct hub_room *room)
{
    return wr_slice_of(room->name, room->name_n);
}

/* ---- rooms ------------------------------------------------------------------------------------------------------ */

static struct hub_room *room_get(struct hub_rooms *r, struct wr_slice name)
{
    struct hub_room *room = wr_map_get(&r->rooms, name);
    if (room)
        return room;
    room = calloc(1, sizeof *room + name.n);
    if (!room)
        return NULL;
    /* rooms without a name are refused before */
    // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker)
    memcpy(room->name, name.p, name.n);
    room->name_n = name.n;
    if (!wr_map_put(&r->rooms, name, room)) {
        free(room);
        return NULL;
    }
    return room;
}

static void free_changes(struct hub_room *room)
{
    for (struct change *c = room->first, *next; c; c = next) {
        next = c->next;
        if (c->fresh)
            c->fresh->fresh = NULL;
        free(c);
    }
    room->first = room->last = NULL;
}

/* Without members. */
static void room_free(struct hub_room *room)
{
    free_changes(room);
    wr_map_free(&room->members);
    wr_map_free(&room->users);
    free(room);
}

static void list_change(struct hub_rooms *r, struct hub_room *room, struct hub_member *m,
                        bool joined)
{
    struct change *c = malloc(sizeof *c + m->info.n);
    if (!c)
        return; /* the counts stay right; lists come by Presence */
    *c = (struct change){.joined = joined, .n = m->info.n};
    memcpy(c->info, m->info.p, m->info.n);
    if (joined) {
        c->fresh = m;
        m->fresh = c;
    }
    if (room->last)
        room->last->next = c;
    else
        room->first = c;
    room->last = c;
    if (!room->listed) {
        room->listed = true;
        room->next_changed = r->changed;
        r->changed = room;
    }
}

/* ---- members ---------------------------------------------------------------------------------------------------- */

static bool count_user(struct hub_room *room, struct wr_slice user, int by)
{
    uintptr_t n = (uintptr_t)wr_map_get(&room->users, user) + (uintptr_t)by;
    if (n == 0) {
        wr_map_del(&room->users, user);
        return true;
    }
    return wr_map_put(&room->users, user, (void *)n); // NOLINT: a counter in a pointer's place
}

static void hang_in(struct hub_lease *lease, struct hub_member *m)
{
    m->lease = lease;
    m->prev = NULL;
    m->next = lease->members;
    if (m->next)
        m->next->prev = m;
    lease->members = m;
}

static void hang_out(struct hub_member *m)
{
    if (m->prev)
        m->prev->next = m->next;
    else
        m->lease->members = m->next;
    if (m->next)
        m->next->prev = m->prev;
}

/* Takes it out of room and lease and frees it. */
static void member_remove(struct hub_rooms *r, struct hub_member *m, bool quiet)
{
    struct hub_room *room = m->room;
    if (m->fresh) { /* nobody was told that it came: nobody needs to hear that it went */
        m->fresh->void_ = true;
        m->fresh->fresh = NULL;
    } else if (!quiet) {
        list_change(r, room, m, false);
    }
    hang_out(m);
    wr_map_del(&room->members, m->client);
    count_user(room, m->user, -1);
    r->num_members--;
    wr_gauge_add(&members_now, -1);
    free(m);
}

static struct hub_member *member_new(const Watchroom__V1__ClientInfo *info)
{
    size_t n = watchroom__v1__client_info__get_packed_size(info);
    size_t user_n = strlen(info->user), client_n = strlen(info->client);
    struct hub_member *m = malloc(sizeof *m + n + user_n + client_n);
    if (!m)
        return NULL;
    *m = (struct hub_member){.info = wr_slice_of(m->bytes, n)};
    watchroom__v1__client_info__pack(info, m->bytes);
    memcpy(m->bytes + n, info->user, user_n);
    memcpy(m->bytes + n + user_n, info->client, client_n);
    m->user = wr_slice_of(m->bytes + n, user_n);
    m->client = wr_slice_of(m->bytes + n + user_n, client_n);
    return m;
}

static bool is_valid(const Watchroom__V1__Member *in, const struct hub_member *m)
{
    struct wr_slice user, client;
    return wr_name_valid(wr_slice_str(in->room)) && hub__read_info(m->info, &user, &client, NULL) &&
           m->client.n > 0;
}

/* Moves m into the room; false when memory is out (then it is still the caller's). */
static bool member_add(struct hub_rooms *r, struct hub_room *room, struct hub_lease *lease,
                       struct hub_member *m)
{
    if (!wr_map_put(&room->members, m->client, m))
        return false;
    if (!count_user(room, m->user, 1)) {
        wr_map_del(&room->members, m->client);
        return false;
    }
    m->room = room;
    hang_in(lease, m);
    r->num_members++;
    wr_gauge_add(&members_now, 1);
    return true;
}

static void enter(struct hub_rooms *r, struct hub_lease *lease, const Watchroom__V1__Member *in,
                  bool quiet)
{
    struct hub_member *m = in->info && r->num_members < HUB_MAX_MEMBERS ? member_new(in->info)
                                                                        : NULL;
    struct hub_room *room = m && is_valid(in, m) ? room_get(r, wr_slice_str(in->room)) : NULL;
    if (!room) {
        wr_count(&members_refused, 1);
        free(m);
        return;
    }
    struct hub_member *old = wr_map_get(&room->members, m->client);
    if (old &&
        wr_slice_eq(old->info,
                    m->info)) { /* told again: after a resync, or by the gateway that it moved to */
        hang_out(old);
        hang_in(lease, old);
        old->turn = lease->turn;
        free(m);
        return;
    }
    if (old)
        member_remove(r, old, quiet);
    m->turn = lease->turn;
    if (!member_add(r, room, lease, m)) {
        wr_count(&members_refused, 1);
        free(m);
    } else if (!quiet) {
        list_change(r, room, m, true);
    }
}

/* It left while there was no hub: those who saw it come wait to hear that it went. */
static void leave_unknown(struct hub_rooms *r, const Watchroom__V1__Member *in)
{
    struct hub_member *m = in->info ? member_new(in->info) : NULL;
    struct hub_room *room = m && is_valid(in, m) ? room_get(r, wr_slice_str(in->room)) : NULL;
    if (room)
        list_change(r, room, m, false);
    free(m);
}

static void leave(struct hub_rooms *r, struct hub_lease *lease, const Watchroom__V1__Member *in)
{
    struct hub_room *room = in->info ? wr_map_get(&r->rooms, wr_slice_str(in->room)) : NULL;
    struct hub_member *m = room ? wr_map_get(&room->members, wr_slice_str(in->info->client)) : NULL;
    if (m && m->lease == lease) /* else it has moved to another gateway already */
        member_remove(r, m, false);
    else if (!m)
        leave_unknown(r, in);
}

/* ---- leases ----------------------------------------------------------------------------------------------------- */

static struct hub_lease *lease_new(struct hub_rooms *r, struct wr_slice id)
{
    struct hub_lease *l = r->leases.used < HUB_MAX_LEASES ? calloc(1, sizeof *l + id.n) : NULL;
    if (!l)
        return NULL;
    memcpy(l->id, id.p, id.n);
    l->id_n = id.n;
    if (!wr_map_put(&r->leases, id, l)) {
        free(l);
        return NULL;
    }
    wr_gauge_add(&leases_now, 1);
    return l;
}

static void lease_end(struct hub_rooms *r, struct hub_lease *l)
{
    while (l->members)
        /* each takes itself out of the list */
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
        member_remove(r, l->members, false);
    wr_map_del(&r->leases, wr_slice_of(l->id, l->id_n));
    wr_gauge_add(&leases_now, -1);
    free(l);
}

/* A complete list came: who is not in it is gone. */
static void drop_unlisted(struct hub_rooms *r, struct hub_lease *l, bool quiet)
{
    for (struct hub_member *m = l->members, *next; m; m = next) {
        next = m->next;
        if (m->turn != l->turn)
            member_remove(r, m, quiet);
    }
}

static void renew(struct hub_lease *l, uint32_t ttl_ms, int64_t now_us)
{
    uint32_t ttl = ttl_ms
                       ? WR_MIN(WR_MAX(ttl_ms, (uint32_t)HUB_MIN_TTL_MS), (uint32_t)HUB_MAX_TTL_MS)
                       : HUB_DEFAULT_TTL_MS;
    l->expires_us = now_us + (int64_t)ttl * 1000;
}

/* False when calls between the last one and this one are missing: only a full list can repair that. */
static bool apply_to(struct hub_rooms *r, struct hub_lease *l,
                     const Watchroom__V1__MembersRequest *req)
{
    bool quiet = req->full && req->quiet;
    if (l->seq && req->seq <= l->seq)
        return true; /* a resent call, or one that was overtaken: it is applied already */
    if (!req->full && req->seq != l->seq + 1)
        return false;
    if (req->full && req->part != 0 && (req->part != l->next_part || req->seq != l->seq + 1))
        return false;
    if (!req->full && l->next_part)
        return false; /* in the middle of a list: who is not in it yet may not be judged */
    l->seq = req->seq;
    l->turn += req->full && req->part == 0;
    l->next_part = req->full && req->more ? req->part + 1 : 0;
    for (size_t i = 0; i < req->n_leave && !req->full; i++)
        leave(r, l, req->leave[i]);
    for (size_t i = 0; i < req->n_enter; i++)
        enter(r, l, req->enter[i], quiet);
    if (req->full && !req->more)
        drop_unlisted(r, l, quiet);
    return true;
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

void hub_rooms__init(struct hub_rooms *r, const char *instance)
{
    *r = (struct hub_rooms){.instance = instance};
    pthread_mutex_init(&r->lock, NULL);
    wr_gauge_set(&members_now, 0);
    wr_gauge_set(&leases_now, 0);
}

void hub_rooms__fini(struct hub_rooms *r)
{
    size_t at = 0;
    void *v;
    if (!r->instance)
        return;
    while (wr_map_next(&r->leases, &at, NULL, &v))
        lease_end(r, v);
    wr_map_free(&r->leases);
    at = 0;
    while (wr_map_next(&r->rooms, &at, NULL, &v))
        room_free(v);
    wr_map_free(&r->rooms);
    pthread_mutex_destroy(&r->lock);
    r->instance = NULL;
}

void hub_rooms__note_top(struct hub_rooms *r, struct wr_slice name, const char *epoch, uint64_t top,
                         int64_t now_us)
{
    pthread_mutex_lock(&r->lock);
    struct hub_room *room = room_get(r, name);
    if (room) {
        bool is_same_log = strcmp(room->epoch, epoch) == 0;
        room->top = is_same_log ? WR_MAX(room->top, top) : top;
        room->top_us = now_us;
        snprintf(room->epoch, sizeof room->epoch, "%s", epoch);
    }
    pthread_mutex_unlock(&r->lock);
}

wr_err hub_rooms__apply(struct hub_rooms *r, const Watchroom__V1__MembersRequest *req,
                        int64_t now_us, bool *known, struct wr_errmsg *err)
{
    struct wr_slice id = wr_slice_str(req->lease);
    wr_err e = WR_OK;
    *known = true;
    if (id.n == 0 || id.n > 255 || req->seq == 0) {
        wr_errmsg_set(err, "members: a lease of 1 to 255 bytes and a seq from 1 on are needed");
        return WR_ERR_INVALID;
    }
    pthread_mutex_lock(&r->lock);
    struct hub_lease *l = wr_map_get(&r->leases, id);
    if (req->end) {
        if (l)
            lease_end(r, l);
        goto out;
    }
    if (!l && req->full && req->part == 0 && !(l = lease_new(r, id))) {
        wr_errmsg_set(err, "members: the hub serves %d gateways already", HUB_MAX_LEASES);
        e = WR_ERR_BUSY;
        goto out;
    }
    *known = l && apply_to(r, l, req);
    if (l)
        renew(l, req->ttl_ms, now_us);
    if (!*known)
        wr_count(&leases_lost, 1);
out:
    pthread_mutex_unlock(&r->lock);
    return e;
}

void hub_rooms__expire(struct hub_rooms *r, int64_t now_us)
{
    size_t at = 0;
    void *v;
    pthread_mutex_lock(&r->lock);
    while (wr_map_next(&r->leases, &at, NULL, &v)) {
        struct hub_lease *l = v;
        if (l->expires_us > now_us)
            continue;
        wr_count(&leases_expired, 1);
        wr_warn("hub.lease_expired", "gateway=%.*s: it stopped renewing, its members leave",
                (int)l->id_n, l->id);
        lease_end(r, l);
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

struct event_list {
    struct hub_event *first, **end;
};

static struct hub_event *add_event(struct hub_rooms *r, struct event_list *list,
                                   const struct hub_room *room, const struct hub_event_head *head,
                                   size_t body, uint8_t **at)
{
    struct hub_event *e = malloc(sizeof *e);
    if (!e)
        return NULL;
    struct hub_event_head h = *head;
    h.instance = r->instance;
    h.room = room_name(room);
    e->msg = hub__event_new(&h, body, at);
    e->next = NULL;
    if (!e->msg) {
        free(e);
        return NULL;
    }
    snprintf(e->topic, sizeof e->topic, "room/%.*s", (int)room->name_n, room->name);
    *list->end = e;
    list->end = &e->next;
    return e;
}

void hub_event__free(struct hub_event *e)
{
    wr_msg_unref(e->msg);
    free(e);
}

/* Tells from `from` on, as many as fit into one event; returns the first change that did not. */
static struct change *tell_some(struct hub_rooms *r, struct event_list *list, struct hub_room *room,
                                struct change *from)
{
    size_t body = 0;
    struct change *end = from;
    uint8_t *to;
    for (; end && body < MAX_EVENT_BYTES; end = end->next)
        body += end->void_ ? 0 : 1 + wr_pb_varint_size(end->n) + end->n;
    struct hub_event_head head = {
        .epoch = "", .has_num_clients = true, .num_clients = (uint32_t)room->members.used};
    if (body && add_event(r, list, room, &head, body, &to))
        for (struct change *c = from; c != end; c = c->next)
            if (!c->void_) {
                to = wr_pb_bytes_head(
                    to, c->joined ? WR_PB_ROOM_EVENT_JOINED : WR_PB_ROOM_EVENT_LEFT, c->n);
                memcpy(to, c->info, c->n);
                to += c->n;
            }
    if (body)
        room->told_clients = head.num_clients;
    return end;
}

static void tell_changes(struct hub_rooms *r, struct event_list *list)
{
    struct hub_room *room;
    while ((room = r->changed) != NULL) {
        r->changed = room->next_changed;
        room->listed = false;
        for (struct change *c = room->first; c;)
            c = tell_some(r, list, room, c);
        free_changes(room);
    }
}

/* After tell_changes: no room is in the list of changed ones. */
static void beat_all(struct hub_rooms *r, struct event_list *list, int64_t now_us)
{
    size_t at = 0;
    void *v;
    uint8_t *to;
    while (wr_map_next(&r->rooms, &at, NULL, &v)) {
        struct hub_room *room = v;
        uint32_t n = (uint32_t)room->members.used;
        bool lately = room->top_us && now_us - room->top_us <= HUB_BEAT_FOR_MS * INT64_C(1000);
        struct hub_event_head head = {.epoch = lately ? room->epoch : "",
                                      .top = lately ? room->top : 0,
                                      .has_num_clients = n != room->told_clients,
                                      .num_clients = n};
        if (lately || head.has_num_clients)
            add_event(r, list, room, &head, 0, &to);
        room->told_clients = n;
        if (!lately && n == 0) {
            wr_map_del(&r->rooms, room_name(room));
            room_free(room);
        }
    }
}

struct hub_event *hub_rooms__events(struct hub_rooms *r, bool beat, int64_t now_us)
{
    struct event_list list = {.end = &list.first};
    pthread_mutex_lock(&r->lock);
    tell_changes(r, &list);
    if (beat)
        beat_all(r, &list, now_us);
    pthread_mutex_unlock(&r->lock);
    return list.first;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

uint32_t hub_rooms__count(struct hub_rooms *r, struct wr_slice name)
{
    pthread_mutex_lock(&r->lock);
    const struct hub_room *room = wr_map_get(&r->rooms, name);
    uint32_t n = room ? (uint32_t)room->members.used : 0;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void hub_rooms__presence(struct hub_rooms *r, struct wr_slice name, bool stats_only,
                         struct wr_buf *out)
{
    uint8_t head[24], *to = head;
    size_t at = 0;
    void *v;
    pthread_mutex_lock(&r->lock);
    const struct hub_room *room = wr_map_get(&r->rooms, name);
    to = wr_pb_uint(to, WR_PB_PRESENCE_RESPONSE_NUM_CLIENTS, room ? room->members.used : 0);
    to = wr_pb_uint(to, WR_PB_PRESENCE_RESPONSE_NUM_USERS, room ? room->users.used : 0);
    wr_buf_add(out, head, (size_t)(to - head));
    while (room && !stats_only && out->n < MAX_LIST_BYTES &&
           wr_map_next(&room->members, &at, NULL, &v)) {
        const struct hub_member *m = v;
        to = wr_pb_bytes_head(head, WR_PB_PRESENCE_RESPONSE_CLIENTS, m->info.n);
        wr_buf_add(out, head, (size_t)(to - head));
        wr_buf_slice(out, m->info);
    }
    pthread_mutex_unlock(&r->lock);
}

void hub_rooms__each(struct hub_rooms *r,
                     void (*fn)(void *ctx, struct wr_slice room, uint32_t num_clients), void *ctx)
{
    size_t at = 0;
    struct wr_slice name;
    void *v;
    pthread_mutex_lock(&r->lock);
    while (wr_map_next(&r->rooms, &at, &name, &v))
        if (((const struct hub_room *)v)->members.used)
            fn(ctx, name, (uint32_t)((const struct hub_room *)v)->members.used);
    pthread_mutex_unlock(&r->lock);
}
