/* SPDX-License-Identifier: MIT
 *
 * Calls that wait for a thread of the hub: bounded in number and bytes; a full queue refuses at once (BUSY); a call
 * whose caller has given up is answered TIMEOUT when it is met, and no work is done for it. */
#ifndef HUB_QUEUE_H
#define HUB_QUEUE_H

#include "wr_bus.h"
#include "wr_metrics.h"

#include <pthread.h>

/* Static objects of the queue's owner. */
struct hub_queue_metrics {
    struct wr_gauge depth;
    struct wr_counter full, expired;
};
#define HUB_QUEUE_METRICS(var, queue_)                                         \
    static struct hub_queue_metrics var = {                                    \
        .depth = {.name = "watchroom_hub_queue_calls",                         \
                  .labels = "queue=\"" queue_ "\"",                            \
                  .help = "Calls that wait in a queue of the hub"},            \
        .full = {.name = "watchroom_hub_queue_full_total",                     \
                 .labels = "queue=\"" queue_ "\"",                             \
                 .help = "Calls refused because a queue of the hub was full"}, \
        .expired = {.name = "watchroom_hub_queue_expired_total",               \
                    .labels = "queue=\"" queue_ "\"",                          \
                    .help = "Calls whose deadline passed in a queue of the hub"}}

struct hub_queue {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t cond;
    struct wr_call **ring;
    size_t cap, head, n;
    size_t bytes, max_bytes; /* of memory: the calls and their messages */
    bool closed;
    struct hub_queue_metrics *metrics;
};

WR_MUST_USE wr_err hub_queue__init(struct hub_queue *q, size_t max_calls, size_t max_bytes,
                                   struct hub_queue_metrics *metrics);
/* Accepts zeroed memory. No thread may be using it; calls that are left are answered CLOSED. */
void hub_queue__fini(struct hub_queue *q);
/* Moves the call: it is queued, or answered BUSY or CLOSED. Never blocks. */
void hub_queue__put(struct hub_queue *q, struct wr_call *call);
/* Takes at least one call and up to max, or max_bytes of bodies, in order; waits until wr_mono_us() is until_us (a time
 * that has passed does not wait). 0 when none came by then, or when the queue is closed and empty (*ended). */
size_t hub_queue__take(struct hub_queue *q, struct wr_call **out, size_t max, size_t max_bytes,
                       int64_t until_us, bool *ended);
/* Refuses new calls; takers get what is left. Idempotent, any thread. */
void hub_queue__close(struct hub_queue *q);

#endif
