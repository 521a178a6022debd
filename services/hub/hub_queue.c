/* SPDX-License-Identifier: MIT
 *
 * A ring of calls under one lock. */
#include "hub_queue.h"

#include "wr_clock.h"
#include "wr_thread.h"

#include <stdlib.h>

wr_err hub_queue__init(struct hub_queue *q, size_t max_calls, size_t max_bytes,
                       struct hub_queue_metrics *metrics)
{
    *q = (struct hub_queue){.cap = max_calls, .max_bytes = max_bytes, .metrics = metrics};
    struct wr_call **ring = calloc(max_calls, sizeof(struct wr_call *));
    if (!ring)
        return WR_ERR_BUSY;
    pthread_mutex_init(&q->lock, NULL);
    wr_cond_init(&q->cond);
    q->ring = ring;
    wr_gauge_add(&metrics->depth, 0); /* shown from the start */
    wr_count(&metrics->full, 0);
    wr_count(&metrics->expired, 0);
    return WR_OK;
}

static size_t memory_of(const struct wr_call *call)
{
    return sizeof *call + wr_msg_memory(call->msg);
}

/* Under the lock. */
static struct wr_call *pop(struct hub_queue *q)
{
    struct wr_call *call = q->ring[q->head];
    q->head = (q->head + 1) % q->cap;
    q->n--;
    q->bytes -= memory_of(call);
    return call;
}

void hub_queue__fini(struct hub_queue *q)
{
    if (!q->ring)
        return;
    while (q->n) {
        wr_gauge_add(&q->metrics->depth, -1);
        wr_call_fail(pop(q), WR_ERR_CLOSED, "the hub is shutting down");
    }
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->lock);
    free(q->ring);
    *q = (struct hub_queue){0};
}

void hub_queue__put(struct hub_queue *q, struct wr_call *call)
{
    pthread_mutex_lock(&q->lock);
    bool closed = q->closed, full = q->n == q->cap || q->bytes + memory_of(call) > q->max_bytes;
    if (!closed && !full) {
        q->ring[(q->head + q->n) % q->cap] = call;
        q->n++;
        q->bytes += memory_of(call);
        wr_gauge_add(&q->metrics->depth, 1);
        /* Under the lock, though who wakes up wants it: several may wait here, and glibc before 2.41 can lose a signal
         * among several that is given outside (its bug 25847). */
        pthread_cond_signal(&q->cond);
    }
    pthread_mutex_unlock(&q->lock);
    if (closed) {
        wr_call_fail(call, WR_ERR_CLOSED, "the hub is shutting down");
    } else if (full) {
        wr_count(&q->metrics->full, 1);
        wr_call_fail(call, WR_ERR_BUSY, "the hub has too much queued: try again");
    }
}

/* Drops the calls among the taken ones that nobody waits for any more. */
static size_t drop_expired(struct hub_queue *q, struct wr_call **calls, size_t n)
{
    int64_t now = wr_mono_us();
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (calls[i]->deadline_us > now) {
            calls[kept++] = calls[i];
            continue;
        }
        wr_count(&q->metrics->expired, 1);
        wr_call_fail(calls[i], WR_ERR_TIMEOUT, "the deadline passed while the call was queued");
    }
    return kept;
}

size_t hub_queue__take(struct hub_queue *q, struct wr_call **out, size_t max, size_t max_bytes,
                       int64_t until_us, bool *ended)
{
    size_t n = 0, bytes = 0;
    pthread_mutex_lock(&q->lock);
    while (q->n == 0 && !q->closed)
        if (!wr_cond_wait_until(&q->cond, &q->lock, until_us))
            break;
    *ended = q->closed && q->n == 0;
    while (q->n && n < max && (n == 0 || bytes + q->ring[q->head]->body.n <= max_bytes)) {
        out[n] = pop(q);
        bytes += out[n++]->body.n;
    }
    pthread_mutex_unlock(&q->lock);
    wr_gauge_add(&q->metrics->depth, -(int64_t)n);
    return drop_expired(q, out, n);
}

void hub_queue__close(struct hub_queue *q)
{
    if (!q->ring)
        return;
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->cond);
    pthread_mutex_unlock(&q->lock);
}
