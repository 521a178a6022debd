/* SPDX-License-Identifier: MIT
 *
 * Which hubs there are and which of them a room is at. When one comes or goes its rooms move: what waits for them (messages,
 * members, questions) goes along, and each room asks its new hub where the log is. */
#include "rooms_priv.h"
#include "wr_bus.h"
#include "wr_log.h"
#include "wr_pb.h"
#include "watchroom/v1/node.numbers.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- which there are ---- */

static struct rooms__hub *hub_new(const char *address)
{
    struct rooms__hub *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    (void)snprintf(h->address, sizeof h->address, "%s", address);
    outbox__init(&h->outbox);
    presence__init(&h->presence);
    return h;
}

/* What the bus says, copied under its lock. */
struct listing {
    struct wr_rooms *rs;
    bool changed;         /* which of them live */
    uint32_t max_message; /* the least of those that live */
};

/* NodeInfo.max_entry_bytes (node.proto). */
static uint32_t told_max(const struct wr_msg *info)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    uint64_t max = 0;
    wr_pb_read(&r, info ? wr_msg_slice(info) : (struct wr_slice){0});
    while (wr_pb_next(&r, &f))
        if (f.number == WR_PB_NODE_INFO_MAX_ENTRY_BYTES && f.wire == 0)
            max = f.value;
    return max && max <= WR_BUS_MAX_MSG_BYTES / 2 ? (uint32_t)max : ROOMS__MAX_MESSAGE;
}

static struct rooms__hub *hub_at(struct wr_rooms *rs, const char *address)
{
    for (struct rooms__hub *h = rs->hubs; h; h = h->next)
        if (strcmp(h->address, address) == 0)
            return h;
    struct rooms__hub *h = hub_new(address);
    if (!h)
        abort();
    struct rooms__hub **at =
        &rs->hubs; /* in the order of the bus: scores that are equal name the first */
    while (*at && (*at)->address[0])
        at = &(*at)->next;
    h->next = *at;
    *at = h;
    return h;
}

static void list_one(void *ctx, const struct wr_instance *i)
{
    struct listing *l = ctx;
    struct rooms__hub *h = hub_at(l->rs, i->address);
    bool is_up = i->state == WR_INSTANCE_UP, is_new = strcmp(h->instance, i->id) != 0;
    h->is_listed = true;
    if (is_up)
        l->max_message = WR_MIN(l->max_message, told_max(i->info));
    if (is_up && (!h->is_up || is_new))
        presence__beat_now(h); /* it may know nothing of this gateway's members */
    l->changed = l->changed || is_up != h->is_up;
    h->is_up = is_up;
    (void)snprintf(h->instance, sizeof h->instance, "%s", i->id);
}

/* ---- who is where ---- */

/* Of the hubs that live; of all that are known while none does. */
struct rooms__hub *hubs__home(struct wr_rooms *rs, struct wr_slice room)
{
    struct rooms__hub *best = NULL;
    uint64_t best_score = 0;
    if (!rs->hubs->next || !rs->hubs->next->next) /* one at most, and nobody's */
        return rs->hubs;
    for (struct rooms__hub *h = rs->hubs; h->next; h = h->next) {
        if (rs->nup && !h->is_up)
            continue;
        uint64_t score = rs->nup == 1 ? 1 : wr_bus_route_score(room, h->address);
        if (!best || score > best_score) {
            best = h;
            best_score = score;
        }
    }
    return best;
}

bool hubs__is_others(const struct wr_rooms *rs, const struct rooms__hub *h,
                     struct wr_slice instance)
{
    if (!instance.n || wr_slice_is(instance, h->instance))
        return false;
    for (const struct rooms__hub *o = rs->hubs; o; o = o->next)
        if (o != h && wr_slice_is(instance, o->instance))
            return true;
    return false;
}

/* Members that were told to the old hub are told to the new one as a list, quietly: for those who watch the room nobody
 * came and nobody went. */
static size_t move_rooms(struct wr_rooms *rs)
{
    size_t at = 0, moved = 0;
    struct wr_slice name;
    void *value;
    while (wr_map_next(&rs->rooms, &at, &name, &value)) {
        struct rooms__room *room = value;
        struct rooms__hub *home = hubs__home(rs, name);
        if (home == room->hub)
            continue;
        room->hub->presence.need_full = true;
        home->presence.need_full = true;
        room->hub = home;
        moved++;
        room__moved(room);
    }
    return moved;
}

static void rehome(struct wr_rooms *rs)
{
    rs->turn++;
    size_t moved = move_rooms(rs);
    for (struct rooms__hub *h = rs->hubs; h; h = h->next) {
        outbox__rehome(rs, h);
        presence__rehome(rs, h);
    }
    wr_count(&rooms__m_moved, moved);
    wr_info("gateway.hubs", "up=%u rooms_moved=%zu", rs->nup, moved);
}

void hubs__refresh(struct wr_rooms *rs)
{
    struct listing l = {.rs = rs, .max_message = UINT32_MAX};
    for (struct rooms__hub *h = rs->hubs; h; h = h->next)
        h->is_listed = false;
    wr_bus_service_each(rs->env->hub, list_one, &l);
    rs->nup = 0;
    for (struct rooms__hub *h = rs->hubs; h; h = h->next) {
        l.changed = l.changed || (h->is_up && !h->is_listed);
        h->is_up = h->is_up && h->is_listed; /* else its name names it no more */
        rs->nup += h->is_up;
    }
    wr_gauge_set(&rooms__g_hubs, rs->nup);
    if (rs->nup)
        atomic_store(&rs->max_message, l.max_message);
    if (l.changed && rs->nup)
        rehome(rs);
}

/* ---- life ---- */

wr_err hubs__init(struct wr_rooms *rs)
{
    rs->hubs = hub_new("");
    return rs->hubs ? WR_OK : WR_ERR_BUSY;
}

void hubs__free(struct wr_rooms *rs)
{
    while (rs->hubs) {
        struct rooms__hub *h = rs->hubs;
        rs->hubs = h->next;
        free(h);
    }
}
