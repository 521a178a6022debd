/* SPDX-License-Identifier: MIT
 *
 * Tells a room's log about finished files, until the hub has said yes. The key of the entry comes from the upload's id, so
 * that telling twice (after a crash between the hub's yes and our record of it) makes one entry. */
#ifndef WR_FS_ANNOUNCE_H
#define WR_FS_ANNOUNCE_H

#include "fs_priv.h"

struct wr_bus_service;

struct fs_announcer {
    struct wr_bus_service *hub;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;  /* in_flight became 0 */
    struct fs_upload *head;
    unsigned in_flight;
    bool stopping;
};

void fs_announcer_init(struct fs_announcer *a, struct wr_bus_service *hub);
/* Any thread; takes a reference. Harmless when it stands there already. */
void fs_announcer_add(struct fs_announcer *a, struct fs_upload *u);
/* Sends what is due. From the service's tick, and after an add. */
void fs_announcer_run(struct fs_announcer *a);
/* Nothing is sent any more; waits for calls in flight and lets go of all uploads. What was not told is told after the next
 * start. Before the store ends, whose last work may still add. */
void fs_announcer_stop(struct fs_announcer *a);
void fs_announcer_fini(struct fs_announcer *a);

#endif
