/* SPDX-License-Identifier: MIT
 *
 * Handing over what arrived: a body collects in a buffer of the gateway, and a link that dies silently leaves it there. Who
 * asks where an upload stands (on another connection) is told after what its bodies hold was written. */
#ifndef WR_GATEWAY_FILES_HANDOVER_H
#define WR_GATEWAY_FILES_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

struct wr_files;
struct upload;
/* The bodies that flow, by their uploads' ids. */
struct handover;

typedef void (*handover_fn)(void *ctx);

/* NULL when memory is out. */
struct handover *handover_new(void);
/* Nobody is in it any more. NULL is fine. */
void handover_free(struct handover **h);

/* u's body flows from now on: it is asked, until handover_leave. Its thread's. */
void handover_enter(struct handover *h, struct upload *u);
/* A second time is fine. */
void handover_leave(struct handover *h, struct upload *u);

/* fn runs once all that the bodies of that upload had received when they were asked is written, or will never be (a write
 * failed, the gateway is out of memory): at once, inside the call, when there are none, else later on a plane thread. Any
 * thread. */
void handover_ask(struct handover *h, const char *id, handover_fn fn, void *ctx);

/* One that waits for u; of u's thread alone. */
struct handover_wait {
    struct handover_wait *next;
    struct handover_asker *asker;
    struct upload *u;
    uint64_t until; /* offset: what is before it was received when it was asked */
};
/* To be called when more of u is written, up to `written`; all: nothing more will be. */
void handover_tell(struct upload *u, uint64_t written, bool all);

#endif
