/* SPDX-License-Identifier: MIT
 *
 * Names of a service resolved, on a thread of its own: a resolver that does not answer takes half a minute, and nobody is
 * to wait for it, least of all who closes. A lookup that is no longer wanted ends by itself. */
#include "bus_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ADDRESSES = 256 };

struct bus_lookup {
    atomic_int refs; /* the service and the thread */
    char **names;
    size_t num_names;
    char (*urls)[BUS_URL_BYTES]; /* with the rest, the thread's until it ended */
    size_t num_urls;
    bool all_resolved;
    pthread_mutex_t lock; /* guards all below; taken before the bus's */
    struct wr_bus *bus;   /* who waits; NULL when nobody does any more */
    bool ended;
};

static void unref(struct bus_lookup *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    for (size_t i = 0; i < l->num_names; i++)
        free(l->names[i]);
    free(l->names);
    free(l->urls);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void note(void *ctx, const char *url)
{
    struct bus_lookup *l = ctx;
    if (l->num_urls < MAX_ADDRESSES)
        snprintf(l->urls[l->num_urls++], BUS_URL_BYTES, "%s", url);
}

static void *look_up(void *arg)
{
    struct bus_lookup *l = arg;
    for (size_t i = 0; i < l->num_names; i++)
        if (!bus__resolve(l->names[i], note, l))
            l->all_resolved = false;
    pthread_mutex_lock(&l->lock);
    l->ended = true;
    if (l->bus)
        bus__looked_up(l->bus);
    pthread_mutex_unlock(&l->lock);
    unref(l);
    return NULL;
}

struct bus_lookup *bus__lookup_start(struct wr_bus *bus, char *const *urls, size_t n)
{
    pthread_t thread;
    struct bus_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    atomic_init(&l->refs, 2);
    l->bus = bus;
    l->all_resolved = true;
    l->names = calloc(n + 1, sizeof *l->names);
    l->urls = calloc(MAX_ADDRESSES, BUS_URL_BYTES);
    for (size_t i = 0; l->names && i < n; i++)
        if (bus__is_name(urls[i]) && (l->names[l->num_names] = strdup(urls[i])))
            l->num_names++;
    if (l->num_names && l->urls && wr_thread_start(&thread, "bus-lookup", look_up, l) == WR_OK) {
        pthread_detach(thread);
        return l;
    }
    atomic_store(&l->refs, 1);
    unref(l);
    return NULL;
}

bool bus__lookup_ended(struct bus_lookup *l)
{
    pthread_mutex_lock(&l->lock);
    bool ended = l->ended;
    pthread_mutex_unlock(&l->lock);
    return ended;
}

bool bus__lookup_each(struct bus_lookup *l, void (*fn)(void *ctx, const char *url), void *ctx)
{
    for (size_t i = 0; i < l->num_urls; i++)
        fn(ctx, l->urls[i]);
    return l->all_resolved;
}

void bus__lookup_leave(struct bus_lookup **lp)
{
    struct bus_lookup *l = *lp;
    if (!l)
        return;
    *lp = NULL;
    pthread_mutex_lock(&l->lock);
    l->bus = NULL;
    pthread_mutex_unlock(&l->lock);
    unref(l);
}
