/* SPDX-License-Identifier: MIT
 *
 * Events that a room keeps: those that wait until it is told its position or a gap is filled, and those that were delivered
 * while somebody reads the log. */
#include "room_priv.h"
#include <stdlib.h>

static size_t held_memory(const struct rooms__held *h)
{
    return sizeof *h + wr_msg_memory(h->msg);
}

bool room__hold(struct wr_rooms *rs, struct rooms__held **first, struct rooms__held ***last,
                size_t *n, struct wr_msg *msg, struct wr_slice event)
{
    if (*n >= ROOMS__HELD_EVENTS || rs->held_bytes >= ROOMS__EVENTS_BYTES)
        return false;
    struct rooms__held *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->msg = wr_msg_ref(msg);
    h->event = event;
    if (!*first)
        *last = first;
    **last = h;
    *last = &h->next;
    (*n)++;
    rs->held_bytes += held_memory(h);
    return true;
}

void room__held_free(struct wr_rooms *rs, struct rooms__held **first, size_t *n)
{
    while (*first) {
        struct rooms__held *h = *first;
        *first = h->next;
        rs->held_bytes -= held_memory(h);
        wr_msg_unref(h->msg);
        free(h);
    }
    *n = 0;
}

void room__drop_one_held(struct rooms__room *room, struct rooms__held **at)
{
    struct rooms__held *h = *at;
    *at = h->next;
    room->nheld--;
    room->rs->held_bytes -= held_memory(h);
    wr_gauge_add(&rooms__g_held, -1);
    wr_msg_unref(h->msg);
    free(h);
}

void room__drop_held_of_others(struct rooms__room *room)
{
    struct rooms__held **at = &room->held;
    while (*at) {
        struct rooms__pubs p;
        bool is_others = rooms__parse_event((*at)->event, &p) && p.epoch.n &&
                         !wr_slice_is(p.epoch, room->epoch);
        rooms__pubs_free(&p);
        if (is_others)
            room__drop_one_held(room, at);
        else
            at = &(*at)->next;
    }
    room->held_last = at;
}

void room__drop_held(struct rooms__room *room)
{
    wr_gauge_add(&rooms__g_held, -(int64_t)room->nheld);
    room__held_free(room->rs, &room->held, &room->nheld);
}
