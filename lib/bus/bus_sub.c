/* SPDX-License-Identifier: MIT
 *
 * Subscriptions: to one pub socket, or to all lanes of a service's instances as these become known. */
#include "bus_priv.h"

#include <stdio.h>
#include <stdlib.h>

static struct wr_bus_sub *sub_new(struct wr_bus *bus, const char *const *prefixes,
                                  wr_bus_event_fn fn, void *ctx, enum bus_scheme scheme,
                                  unsigned depth)
{
    struct wr_bus_sub *s = calloc(1, sizeof *s);
    size_t n = 0;
    while (prefixes[n])
        n++;
    if (!s || !(s->prefixes = calloc(n + 1, sizeof *s->prefixes)))
        abort();
    for (size_t i = 0; i < n; i++)
        s->prefixes[i] = strdup(prefixes[i]);
    s->bus = bus;
    s->fn = fn;
    s->ctx = ctx;
    s->depth = depth;
    s->ops = scheme == BUS_SCHEME_INPROC ? &bus_local_sub_ops : &bus_nng_sub_ops;
    return s;
}

static void sub_free(struct wr_bus_sub *s)
{
    for (size_t i = 0; s->prefixes[i]; i++)
        free(s->prefixes[i]);
    free(s->prefixes);
    free(s);
}

void bus__sub_lanes(struct wr_bus_service *s, const char *peer_url, char **lanes, size_t n)
{
    char urls[BUS_MAX_LANES][BUS_URL_BYTES];
    size_t known = 0;
    for (size_t i = 0; i < n && known < BUS_MAX_LANES; i++)
        known += wr_bus_resolve_url(lanes[i], peer_url, urls[known], sizeof urls[known]);
    for (struct wr_bus_sub *sub = s->subs; sub; sub = sub->next_of_service) {
        if (sub->ops->keep)
            sub->ops->keep(sub, peer_url, urls, known);
        for (size_t i = 0; i < known; i++)
            (void)!sub->ops->add(sub, urls[i], peer_url);
    }
}

wr_err wr_bus_subscribe_service(struct wr_bus_service *s, const char *const *prefixes,
                                wr_bus_event_fn fn, void *ctx, struct wr_bus_sub **out)
{
    enum bus_scheme scheme = s->num_urls ? bus__scheme(s->urls[0]) : BUS_SCHEME_INPROC;
    struct wr_bus_sub *sub = sub_new(s->bus, prefixes, fn, ctx, scheme, BUS_LANE_QUEUE);
    wr_err e = sub->ops->open(sub);
    if (e != WR_OK) {
        sub_free(sub);
        return e;
    }
    sub->service = s;
    bus__join_subs(s->bus, sub);
    pthread_mutex_lock(&s->lock);
    sub->next_of_service = s->subs;
    s->subs = sub;
    /* Instances that are known already tell their lanes again at once. */
    for (struct bus_peer *p = s->peers; p; p = p->next)
        p->describe_at_us = 0;
    pthread_mutex_unlock(&s->lock);
    bus__kick(s->bus);
    *out = sub;
    return WR_OK;
}

wr_err wr_bus_subscribe_url(struct wr_bus *bus, const char *url, const char *const *prefixes,
                            wr_bus_event_fn fn, void *ctx, struct wr_bus_sub **out,
                            struct wr_errmsg *err)
{
    enum bus_scheme scheme = bus__scheme_or_say(url, err);
    if (scheme == BUS_SCHEME_BAD)
        return WR_ERR_INVALID;
    struct wr_bus_sub *sub = sub_new(bus, prefixes, fn, ctx, scheme, BUS_MEDIA_QUEUE);
    wr_err e = sub->ops->open(sub);
    if (e == WR_OK) {
        e = sub->ops->add(sub, url, "");
        if (e != WR_OK)
            sub->ops->close(sub);
    }
    if (e != WR_OK) {
        wr_errmsg_set(err, "cannot subscribe to %s: %s", url, wr_err_text(e));
        sub_free(sub);
        return e;
    }
    bus__join_subs(bus, sub);
    *out = sub;
    return WR_OK;
}

void wr_bus_sub_close(struct wr_bus_sub **sp)
{
    struct wr_bus_sub *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    bus__leave_subs(s->bus, s);
    if (s->service) {
        pthread_mutex_lock(&s->service->lock);
        for (struct wr_bus_sub **at = &s->service->subs; *at; at = &(*at)->next_of_service)
            if (*at == s) {
                *at = s->next_of_service;
                break;
            }
        pthread_mutex_unlock(&s->service->lock);
    }
    s->ops->close(s);
    sub_free(s);
}
