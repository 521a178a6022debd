/* SPDX-License-Identifier: MIT
 *
 * Who has a large buffer, who waits for one, and the free list of their memory. */
#include "buffers.h"

#include <pthread.h>
#include <stdlib.h>

#include "wr_metrics.h"

#define KEEP 16u /* free ones that stay allocated */
#define PAGE 4096u
#define SIZE (PAGE + LARGE_BYTES)
_Static_assert(WR_MSG_HEADROOM + BUFFER_HEAD <= PAGE, "the head fits before the first page");

WR_GAUGE(in_use, "watchroom_files_buffers_in_use", NULL,
         "Upload buffers of 512 KiB in use in the gateway");
WR_COUNTER(pressed, "watchroom_files_buffers_pressed_total", NULL,
           "Upload buffers sent off before they were full, because others waited for one");

struct node {
    struct node *next;
};
struct line {
    struct buffers_user *head, **tail;
};

struct buffers {
    pthread_mutex_t lock; /* guards what follows */
    struct node *list;
    unsigned free, allocated; /* messages: on the list, in somebody's hands */
    unsigned lent;            /* of LARGE_MAX: filled, on their way, or promised */
    struct line waiting, filling;
    bool closed;
};

/* ---- lines, under the lock ------------------------------------------------------------------------------------------- */

static void line_add(struct line *l, struct buffers_user *u)
{
    u->next = NULL;
    u->at = l->tail;
    *l->tail = u;
    l->tail = &u->next;
}

static void line_remove(struct line *l, struct buffers_user *u)
{
    *u->at = u->next;
    if (u->next)
        u->next->at = u->at;
    else
        l->tail = u->at;
    u->next = NULL;
    u->at = NULL;
}

/* One that was lent is free: the first in line has it. */
static void give_back(struct buffers *b)
{
    struct buffers_user *u = b->waiting.head;
    if (!u) {
        b->lent--;
        return;
    }
    line_remove(&b->waiting, u);
    u->state = BUFFERS_HAS;
    u->ready(u);
}

/* Those who fill stand in the order in which they began. */
static void press_the_oldest(struct buffers *b)
{
    struct buffers_user *u = b->filling.head;
    while (u && u->is_pressed)
        u = u->next;
    if (!u)
        return; /* all are on their way: answers will come */
    u->is_pressed = true;
    wr_count(&pressed, 1);
    u->press(u);
}

static bool lend(struct buffers *b, struct buffers_user *u)
{
    if (u->state == BUFFERS_IDLE && b->lent < LARGE_MAX) {
        b->lent++;
        u->state = BUFFERS_HAS;
    }
    if (u->state == BUFFERS_IDLE) {
        u->state = BUFFERS_WAITS;
        line_add(&b->waiting, u);
        press_the_oldest(b);
    }
    if (u->state != BUFFERS_HAS)
        return false;
    u->state = BUFFERS_FILLS;
    u->is_pressed = false;
    line_add(&b->filling, u);
    return true;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

struct buffers *buffers_new(void)
{
    struct buffers *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    pthread_mutex_init(&b->lock, NULL);
    b->waiting.tail = &b->waiting.head;
    b->filling.tail = &b->filling.head;
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
    bool last = b->allocated == 0;
    pthread_mutex_unlock(&b->lock);
    if (last)
        destroy(b);
}

static void put_back(struct wr_msg *m)
{
    struct buffers *b = m->foreign;
    struct node *n = (struct node *)(void *)m->base;
    wr_gauge_add(&in_use, -1);
    pthread_mutex_lock(&b->lock);
    b->allocated--;
    bool keep = b->free < KEEP;
    if (keep) {
        n->next = b->list;
        b->list = n;
        b->free++;
    }
    bool last = b->closed && b->allocated == 0;
    pthread_mutex_unlock(&b->lock);
    if (!keep)
        free(n);
    if (last)
        destroy(b);
}

/* n: what was on the free list, or NULL. */
static struct wr_msg *wrap(struct buffers *b, struct node *n)
{
    if (!n)
        n = aligned_alloc(PAGE, SIZE);
    struct wr_msg *m = n ? wr_msg_wrap((uint8_t *)n, SIZE, put_back, b) : NULL;
    if (!m) {
        free(n);
        return NULL;
    }
    wr_gauge_add(&in_use, 1);
    wr_msg_pull(m, PAGE);
    return m;
}

struct wr_msg *buffers_small(size_t n)
{
    return wr_msg_new(WR_MSG_HEADROOM + BUFFER_HEAD, n);
}

struct wr_msg *buffers_large(struct buffers *b, struct buffers_user *u, bool *is_waiting)
{
    struct node *n = NULL;
    pthread_mutex_lock(&b->lock);
    bool is_lent = lend(b, u);
    if (is_lent && (n = b->list)) {
        b->list = n->next;
        b->free--;
    }
    b->allocated += is_lent;
    pthread_mutex_unlock(&b->lock);
    *is_waiting = !is_lent;
    struct wr_msg *m = is_lent ? wrap(b, n) : NULL;
    if (m || !is_lent)
        return m;
    pthread_mutex_lock(&b->lock);
    b->allocated--;
    pthread_mutex_unlock(&b->lock);
    buffers_leave(b, u);
    return NULL;
}

/* ---- the way of one --------------------------------------------------------------------------------------------------- */

void buffers_sent(struct buffers *b, struct buffers_user *u)
{
    pthread_mutex_lock(&b->lock);
    line_remove(&b->filling, u);
    u->state = BUFFERS_IDLE;
    pthread_mutex_unlock(&b->lock);
}

void buffers_done(struct buffers *b)
{
    pthread_mutex_lock(&b->lock);
    give_back(b);
    pthread_mutex_unlock(&b->lock);
}

void buffers_leave(struct buffers *b, struct buffers_user *u)
{
    pthread_mutex_lock(&b->lock);
    if (u->state == BUFFERS_WAITS)
        line_remove(&b->waiting, u);
    else if (u->state == BUFFERS_FILLS)
        line_remove(&b->filling, u);
    bool had = u->state == BUFFERS_FILLS || u->state == BUFFERS_HAS;
    u->state = BUFFERS_IDLE;
    if (had)
        give_back(b);
    pthread_mutex_unlock(&b->lock);
}
