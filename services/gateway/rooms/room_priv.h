/* SPDX-License-Identifier: MIT
 *
 * Inside a room: what room.c (order), room_join.c (who comes in) and room_held.c (events that are kept) call of each other. All of
 * it on the rooms thread. */
#ifndef ROOM_PRIV_H
#define ROOM_PRIV_H

#include "rooms_priv.h"

#define HUB(m) "watchroom.v1.Hub/" m
#define CALL_MS 3000u

/* ---- room_held.c ---- */

/* Keeps an event in the list. False when there is no room for it: what it tells is read from the log then. */
bool room__hold(struct wr_rooms *rs, struct rooms__held **first, struct rooms__held ***last,
                size_t *n, struct wr_msg *msg, struct wr_slice event);
void room__held_free(struct wr_rooms *rs, struct rooms__held **first, size_t *n);
/* Takes the event at *at off the list of those that wait. */
void room__drop_one_held(struct rooms__room *room, struct rooms__held **at);
/* The hub has told the room's epoch: what waits of other logs is not the room's. */
void room__drop_held_of_others(struct rooms__room *room);
void room__drop_held(struct rooms__room *room);

/* ---- room_join.c ---- */

/* Answers a subscription, at once or when the room is where the log is. */
void room__start(struct rooms__sub *s);
void room__start_waiting(struct rooms__room *room);
void room__refuse_waiting(struct rooms__room *room, wr_err code, struct wr_slice text);
/* Off the room's list; the room's reference goes. */
void room__forget(struct rooms__sub *s);

/* ---- room.c ---- */

/* Asks the hub for the room's newest offset. */
void room__ask_top(struct rooms__room *room);
/* A Hub/History request: at most limit entries after since, up to until (0 = the end). */
struct wr_msg *room__history_body(const char *room, uint64_t since, const char *epoch,
                                  uint32_t limit, uint64_t until);

#endif
