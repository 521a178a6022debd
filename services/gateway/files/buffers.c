/* SPDX-License-Identifier: MIT
 *
 * A free list of upload buffers. */
#include "buffers.h"

#include <pthread.h>
#include <stdlib.h>

#include "wr_metrics.h"

#define KEEP 16u /* free ones that stay allocated */
#define PAGE 4096u
#define SIZE (PAGE + BUFFER_BYTES)
_Static_assert(WR_MSG_HEADROOM + BUFFER_HEAD <= PAGE, "the head fits before the first page");

WR_GAUGE(in_use, "watchroom_files_buffers_in_use", NULL,
         "Upload buffers of 512 KiB in use in the gateway");

struct node {
    struct node *next;
};

struct buffers {
    pthread_mutex_t lock; /* guards what follows */
    struct node *list;
    unsigned free, used, in_flight, shared;
    bool closed;
};

struct buffers *buffers_new(unsigned shared)
{
    struct buffers *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    pthread_mutex_init(&b->lock, NULL);
    b->shared = shared;
    return b;
}

static void destroy(struct buffers *b)
{
    for (struct node *n; (n = b->list);) {
        b->list = n->next;
        free(n);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void buffers_free(struct buffers **bp)
{
    struct buffers *b = *bp;
    *bp = NULL;
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->closed = true;
    bool last = b->used == 0;
    pthread_mutex_unlock(&b->lock);
    if (last)
        destroy(b);
}

bool buffers_may_send(struct buffers *b, unsigned own, unsigned fair)
{
    pthread_mutex_lock(&b->lock);
    bool ok = own < fair || b->in_flight < b->shared;
    pthread_mutex_unlock(&b->lock);
    return ok;
}

void buffers_sent(struct buffers *b)
{
    pthread_mutex_lock(&b->lock);
    b->in_flight++;
    pthread_mutex_unlock(&b->lock);
}

void buffers_answered(struct buffers *b)
{
    pthread_mutex_lock(&b->lock);
    b->in_flight--;
    pthread_mutex_unlock(&b->lock);
}

static void put_back(struct wr_msg *m)
{
    struct buffers *b = m->foreign;
    struct node *n = (struct node *)(void *)m->base;
    wr_gauge_add(&in_use, -1);
    pthread_mutex_lock(&b->lock);
    b->used--;
    bool keep = b->free < KEEP;
    if (keep) {
        n->next = b->list;
        b->list = n;
        b->free++;
    }
    bool last = b->closed && b->used == 0;
    pthread_mutex_unlock(&b->lock);
    if (!keep)
        free(n);
    if (last)
        destroy(b);
}

struct wr_msg *buffers_take(struct buffers *b)
{
    pthread_mutex_lock(&b->lock);
    struct node *n = b->list;
    if (n) {
        b->list = n->next;
        b->free--;
    }
    b->used++;
    pthread_mutex_unlock(&b->lock);
    if (!n)
        n = aligned_alloc(PAGE, SIZE);
    struct wr_msg *m = n ? wr_msg_wrap((uint8_t *)n, SIZE, put_back, b) : NULL;
    if (!m) {
        free(n);
        pthread_mutex_lock(&b->lock);
        b->used--;
        pthread_mutex_unlock(&b->lock);
        return NULL;
    }
    wr_gauge_add(&in_use, 1);
    wr_msg_pull(m, PAGE);
    return m;
}
