/* SPDX-License-Identifier: MIT
 *
 * civetweb waits for the next byte, not for the whole: a client that sends one byte every few seconds would hold a worker
 * for ever inside one read. One thread looks once a second for reads and writes past their time and cuts the connection. */
#include <stdlib.h>

#include "files_priv.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_thread.h"

#define QUIET_LOOKS 10u /* then it sleeps until somebody comes */

WR_COUNTER(cut, "watchroom_files_cut_total", NULL,
           "File requests whose connection was cut because it made no progress");

struct watch {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct watched *list;
    unsigned quiet; /* looks in a row that found nothing */
    bool stopping;
};

static void cut_late(struct watch *w, int64_t now_us)
{
    for (struct watched *e = w->list; e; e = e->next) {
        if (e->was_cut || e->until_us > now_us)
            continue;
        e->was_cut = true;
        wr_count(&cut, 1);
        /* Under the lock, so the worker is still inside its read: the socket is the request's. */
        wr_http_cut(e->req, e->how);
    }
}

static void *look(void *arg)
{
    struct watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        /* A body is many short reads: the thread stays on its second while they come, and is not woken for each. */
        if (w->quiet < QUIET_LOOKS)
            (void)wr_cond_wait_until(&w->more, &w->lock, wr_mono_us() + 1000000);
        else
            pthread_cond_wait(&w->more, &w->lock);
        w->quiet = w->list ? 0 : WR_MIN(w->quiet + 1, QUIET_LOOKS);
        cut_late(w, wr_mono_us());
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watch *watch_new(void)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    wr_cond_init(&w->more);
    if (wr_thread_start(&w->thread, "files-watch", look, w) == WR_OK)
        return w;
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

void watch_free(struct watch **wp)
{
    struct watch *w = *wp;
    *wp = NULL;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void watch_begin(struct watch *w, struct watched *e, struct wr_http_req *req, int how, int64_t ms)
{
    *e = (struct watched){.req = req, .how = how, .until_us = wr_mono_us() + ms * 1000};
    pthread_mutex_lock(&w->lock);
    e->next = w->list;
    w->list = e;
    if (w->quiet >= QUIET_LOOKS) {
        w->quiet = 0;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
}

bool watch_end(struct watch *w, struct watched *e)
{
    pthread_mutex_lock(&w->lock);
    struct watched **at = &w->list;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    pthread_mutex_unlock(&w->lock);
    return e->was_cut;
}
