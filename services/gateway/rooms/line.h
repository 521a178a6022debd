/* SPDX-License-Identifier: MIT
 *
 * The order of one connection's requests. What it asks of a room takes effect in the order in which it was asked: a subscription
 * is answered before a publish behind it begins, and publishes are before a read behind them does. Publishes of one room go
 * together, since the outbox keeps their order, and so do reads, of which one connection has a few at a time. Rooms do not
 * wait for each other.
 *
 * Everything here is the connection's thread's. */
#ifndef WR_GATEWAY_ROOMS_LINE_H
#define WR_GATEWAY_ROOMS_LINE_H

#include "rooms_priv.h"

#define LINE_READS 4u /* of one connection under way; the others wait their turn, */
#define LINE_LOW_BYTES \
    (64u << 10) /* and until the client has taken what it asked for before but so much */

enum line_kind { LINE_SUBSCRIBE = 1, LINE_PUBLISH, LINE_READ };

struct line_room;
struct line {
    struct line_room *rooms; /* with something under way or waiting */
    uint32_t next_id, reads;
    bool
        is_full; /* more than LINE_LOW_BYTES wait for the client: the owner says so before each call, and line__resume ends it */
};

/* What begins a request. A job, or a call of Hub/History, whose answer becomes reply. */
struct line_work {
    enum line_kind kind;
    struct rooms__job *job;
    struct wr_msg *history;
    struct rooms__reply *reply;
    struct rooms__sub *sub; /* LINE_SUBSCRIBE */
};
/* Its lane, to be kept with the request and given back with its answer (line__done). */
uint32_t line__lane(struct line *l, struct wr_slice room);
/* Begins it now or in its turn. Moves what is in work. */
void line__add(struct wr_rooms *rs, struct line *l, uint32_t lane, const struct line_work *work);
/* A request of the lane was answered. */
void line__done(struct wr_rooms *rs, struct line *l, uint32_t lane, enum line_kind kind);
/* The client took what waited for it. */
void line__resume(struct wr_rooms *rs, struct line *l);
/* A subscription that may still wait is given back: it begins first, so that it ends after it. */
void line__hurry(struct wr_rooms *rs, struct line *l, const struct rooms__sub *s);
/* The connection is gone: what was said is said, and what was asked nobody waits for. */
void line__end(struct wr_rooms *rs, struct line *l);

#endif
