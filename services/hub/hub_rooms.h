/* SPDX-License-Identifier: MIT
 *
 * What the hub knows of rooms in memory: who is in them, under which gateway's lease, and which had an entry lately.
 * Lost with the process: gateways tell it again. Positions are the store's; here is only what beats repeat. */
#ifndef HUB_ROOMS_H
#define HUB_ROOMS_H

#include "watchroom/v1/hub.pb-c.h"
#include "wr_buf.h"
#include "wr_err.h"
#include "wr_map.h"
#include "wr_msg.h"

#include <pthread.h>

#define HUB_BEAT_MS 1000      /* between two beats of a room */
#define HUB_BEAT_FOR_MS 10000 /* after its last entry */
#define HUB_DEFAULT_TTL_MS 6000
#define HUB_MIN_TTL_MS 1000
#define HUB_MAX_TTL_MS 60000
#define HUB_MAX_LEASES 1024
#define HUB_MAX_MEMBERS 1000000

/* An event that is ready to be published. */
struct hub_event {
    struct wr_msg *msg;
    char topic[264]; /* room/<room> */
    struct hub_event *next;
};

struct hub_rooms {
    pthread_mutex_t lock; /* guards all below */
    const char *instance;
    struct wr_map rooms;  /* name to struct hub_room */
    struct wr_map leases; /* id to struct hub_lease */
    size_t num_members;
    struct hub_room *changed; /* rooms with joined or left that nobody was told of */
};

/* `instance` is borrowed until fini. */
void hub_rooms__init(struct hub_rooms *r, const char *instance);
/* Accepts zeroed memory. */
void hub_rooms__fini(struct hub_rooms *r);

/* The room has the entry `top`, which was published or published again: beats tell of the newest for a while. Any
 * thread. */
void hub_rooms__note_top(struct hub_rooms *r, struct wr_slice room, const char *epoch, uint64_t top,
                         int64_t now_us);

/* Members enter and leave. *known as in MembersResponse. Errors with text: INVALID (no lease id), BUSY (too many). */
WR_MUST_USE wr_err hub_rooms__apply(struct hub_rooms *r, const Watchroom__V1__MembersRequest *req,
                                    int64_t now_us, bool *known, struct wr_errmsg *err);
/* Ends the leases that were not renewed. */
void hub_rooms__expire(struct hub_rooms *r, int64_t now_us);
/* What is to be told since the last time: joined and left, one event a room (more when it is large). With `beat` also
 * the beats, and rooms that are not needed any more are forgotten. In order; the caller owns them (hub_event__free). */
struct hub_event *hub_rooms__events(struct hub_rooms *r, bool beat, int64_t now_us);
void hub_event__free(struct hub_event *e); /* one, with its msg unless that was moved out (NULL) */

/* Members in a room now. */
uint32_t hub_rooms__count(struct hub_rooms *r, struct wr_slice room);
/* Appends an encoded PresenceResponse, the list cut at about 2 MiB. */
void hub_rooms__presence(struct hub_rooms *r, struct wr_slice room, bool stats_only,
                         struct wr_buf *out);
/* Calls fn under the lock for each room with members: copy and return. */
void hub_rooms__each(struct hub_rooms *r,
                     void (*fn)(void *ctx, struct wr_slice room, uint32_t num_clients), void *ctx);

#endif
