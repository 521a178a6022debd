/* SPDX-License-Identifier: MIT
 *
 * See handover.h. A table of chains under one lock; whoever asks posts to the thread of each body, and counts them back. */
#include "handover.h"

#include <pthread.h>
#include <stdlib.h>

#include "upload_priv.h"
#include "wr_metrics.h"

#define CHAINS 256u /* of at most gateway.max_uploads bodies */

WR_COUNTER(handed_over, "watchroom_files_handed_over_total", NULL,
           "Bodies of uploads that gave what they held to the filestore because somebody asked");

struct handover {
    pthread_mutex_t lock; /* guards the chains and their uploads' chain fields */
    struct upload *chains[CHAINS];
};

/* Who asked; freed by the last of those that he waits for. */
struct handover_asker {
    atomic_uint left;
    handover_fn fn;
    void *ctx;
};

struct handover *handover_new(void)
{
    struct handover *h = calloc(1, sizeof *h);
    if (h)
        pthread_mutex_init(&h->lock, NULL);
    return h;
}

void handover_free(struct handover **hp)
{
    struct handover *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* FNV-1a: ids that the gateway makes are random, but a client may ask for any. */
static struct upload **chain_of(struct handover *h, const char *id)
{
    uint32_t x = 2166136261u;
    for (; *id; id++)
        x = (x ^ (uint8_t)*id) * 16777619u;
    return &h->chains[x % CHAINS];
}

void handover_enter(struct handover *h, struct upload *u)
{
    struct upload **chain = chain_of(h, u->id);
    pthread_mutex_lock(&h->lock);
    u->chain_next = *chain;
    u->chain_at = chain;
    if (*chain)
        (*chain)->chain_at = &u->chain_next;
    *chain = u;
    pthread_mutex_unlock(&h->lock);
}

void handover_leave(struct handover *h, struct upload *u)
{
    pthread_mutex_lock(&h->lock);
    if (u->chain_at) {
        *u->chain_at = u->chain_next;
        if (u->chain_next)
            u->chain_next->chain_at = u->chain_at;
        u->chain_at = NULL;
        u->chain_next = NULL;
    }
    pthread_mutex_unlock(&h->lock);
}

static void let_go(struct handover_asker *a)
{
    if (atomic_fetch_sub(&a->left, 1) != 1)
        return;
    handover_fn fn = a->fn;
    void *ctx = a->ctx;
    free(a);
    fn(ctx);
}

void handover_tell(struct upload *u, uint64_t written, bool all)
{
    for (struct handover_wait **at = &u->asked, *w; (w = *at);) {
        if (!all && w->until > written) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        let_go(w->asker);
        free(w);
    }
}

/* On the body's thread. */
static void run_ask(struct wr_http_body *b, void *arg)
{
    struct handover_wait *w = arg;
    struct upload *u = w->u;
    (void)b; /* what it sent waits for answers when it is over */
    wr_count(&handed_over, 1);
    upload__send_now(u);
    w->until = u->at;
    w->next = u->asked;
    u->asked = w;
    handover_tell(u, u->written, u->in_flight == 0);
    upload__unref(u);
}

void handover_ask(struct handover *h, const char *id, handover_fn fn, void *ctx)
{
    struct handover_asker *a = malloc(sizeof *a);
    if (!a) {
        fn(ctx);
        return;
    }
    *a = (struct handover_asker){.fn = fn, .ctx = ctx};
    atomic_init(&a->left, 1);
    pthread_mutex_lock(&h->lock);
    for (struct upload *u = *chain_of(h, id); u; u = u->chain_next) {
        struct handover_wait *w = !strcmp(u->id, id) ? malloc(sizeof *w) : NULL;
        if (!w)
            continue;
        *w = (struct handover_wait){.asker = a, .u = u};
        atomic_fetch_add(&a->left, 1);
        upload__ref(u);
        wr_http_body_post(u->to, run_ask, w);
    }
    pthread_mutex_unlock(&h->lock);
    let_go(a);
}
