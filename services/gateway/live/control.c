/* SPDX-License-Identifier: MIT
 *
 * The thread "live": keeps the leases of streams with viewers, opens and closes their subscriptions (which may wait, so
 * it is done here and not in callbacks), and asks every 2 s which streams there are. */
#include "live_priv.h"

#include "watchroom/v1/ingest.pb-c.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_thread.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(asked, "watchroom_live_groups_asked_total", NULL,
           "Times that a stream's current group, or groups that were missed, were asked of ingest");

/* What to do for a stream, decided under its lock and done after it. */
struct plan {
    bool watch, group, groups, unwatch, drop;
    uint64_t from_gop;
    char url[512];
    int64_t next_us;
};

struct lease {
    char id[112];
};

/* s may be NULL; else the call has a reference to it. */
static void begin_call(struct wr_live *l, struct live_stream *s)
{
    pthread_mutex_lock(&l->lock);
    l->calls++;
    if (s)
        s->refs++;
    pthread_mutex_unlock(&l->lock);
}

void control__call_ended(struct wr_live *l)
{
    pthread_mutex_lock(&l->lock);
    l->calls--;
    l->poked = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

/* Two at once, when one joins and its subscription was a moment late; then one in LIVE_RESYNC_US. */
static bool may_ask(struct live_stream *s, int64_t now)
{
    if (now - s->group_asked_us >= LIVE_RESYNC_US)
        s->quick_asks = WR_MAX(s->quick_asks, 1u);
    return s->quick_asks > 0;
}

static void count_ask(struct live_stream *s, int64_t now)
{
    s->group_asked_us = now;
    s->quick_asks--;
}

/* The stream is watched here. Both calls may be under way at once. */
static void decide_watched(struct live_stream *s, int64_t now, struct plan *p)
{
    p->group = s->want_group && !s->in_flight && may_ask(s, now);
    p->watch = !s->in_flight && (p->group || now >= s->watch_at_us);
    if (p->watch) {
        s->in_flight = true;
        s->session += !s->watched;
        s->watched = true;
        s->watch_at_us = now + LIVE_RENEW_US;
    }
    if (p->group) {
        s->want_group = false;
        count_ask(s, now);
    }
    p->groups = s->want_missing && !s->asking && may_ask(s, now);
    if (p->groups) {
        s->want_missing = false;
        s->asking = true;
        p->from_gop = s->missing_from;
        count_ask(s, now);
    }
    p->next_us = s->in_flight ? INT64_MAX : s->watch_at_us;
    if ((s->want_group && !s->in_flight) || (s->want_missing && !s->asking))
        p->next_us = WR_MIN(p->next_us, s->group_asked_us + LIVE_RESYNC_US);
    snprintf(p->url, sizeof p->url, "%s", s->event_url);
}

static struct plan decide(struct live_stream *s, int64_t now)
{
    struct plan p = {.next_us = INT64_MAX};
    pthread_mutex_lock(&s->lock);
    if (s->viewers > 0) {
        decide_watched(s, now, &p);
    } else if (s->watched && !s->in_flight) { /* else it could overtake the Watch */
        s->watched = false;
        p.unwatch = true;
    } else {
        p.drop = s->unlisted && !s->watched;
    }
    pthread_mutex_unlock(&s->lock);
    return p;
}

static void set_subscription(struct live_stream *s, const char *url)
{
    char media[300], state[300];
    const char *const prefixes[] = {media, state, NULL};
    struct wr_errmsg err = {""};
    if (strcmp(url, s->sub_url) == 0)
        return;
    wr_bus_sub_close(&s->sub);
    snprintf(s->sub_url, sizeof s->sub_url, "%s", url);
    if (!url[0])
        return;
    snprintf(media, sizeof media, "media/%s\x01", s->name);
    snprintf(state, sizeof state, "stream/%s\x01", s->name);
    if (wr_bus_subscribe_url(s->live->env.bus, url, prefixes, told__handle_event, s, &s->sub,
                             &err) != WR_OK) {
        wr_error("live.subscribe", "stream=%s url=%s %s", s->name, url, err.text);
        s->sub_url[0] = 0; /* tried again with the next answer */
    }
}

/* A lease is one session's, from the first viewer until the last left: calls may overtake each other, and the Unwatch of
 * an earlier session must not end the lease of this one. */
static char *lease_of(const struct live_stream *s, struct lease *out)
{
    snprintf(out->id, sizeof out->id, "%s.%u", wr_bus_instance(s->live->env.bus), s->session);
    return out->id;
}

static void call_watch(struct live_stream *s, bool group)
{
    Watchroom__V1__WatchRequest q = WATCHROOM__V1__WATCH_REQUEST__INIT;
    struct lease lease;
    q.stream = s->name;
    q.lease = lease_of(s, &lease);
    q.lease_ms = LIVE_LEASE_MS;
    q.group = group;
    wr_count(&asked, group);
    begin_call(s->live, s);
    wr_bus_call(s->live->env.ingest, s->name, "watchroom.v1.Ingest/Watch", wr_msg_pack(&q.base),
                2000, told__watch_answer, s);
}

static void call_groups(struct live_stream *s, uint64_t from_gop)
{
    Watchroom__V1__GroupsRequest q = WATCHROOM__V1__GROUPS_REQUEST__INIT;
    q.stream = s->name;
    q.from_gop = from_gop;
    wr_count(&asked, 1);
    begin_call(s->live, s);
    wr_bus_call(s->live->env.ingest, s->name, "watchroom.v1.Ingest/Groups", wr_msg_pack(&q.base),
                2000, told__groups_answer, s);
}

static void call_unwatch(struct live_stream *s)
{
    Watchroom__V1__UnwatchRequest q = WATCHROOM__V1__UNWATCH_REQUEST__INIT;
    struct lease lease;
    q.stream = s->name;
    q.lease = lease_of(s, &lease);
    wr_bus_call(s->live->env.ingest, s->name, "watchroom.v1.Ingest/Unwatch", wr_msg_pack(&q.base),
                2000, NULL, NULL);
}

static int64_t run_stream(struct live_stream *s, int64_t now)
{
    struct plan p = decide(s, now);
    set_subscription(s, p.url);
    if (p.watch)
        call_watch(s, p.group);
    if (p.groups)
        call_groups(s, p.from_gop);
    if (p.unwatch)
        call_unwatch(s);
    if (p.drop && live__drop_unused(s))
        wr_info("live.gone", "stream=%s", s->name);
    return p.next_us;
}

static void poll_streams(struct wr_live *l, int64_t now)
{
    if (now < l->poll_at_us || atomic_exchange(&l->poll_in_flight, true))
        return;
    l->poll_at_us = now + LIVE_POLL_US;
    begin_call(l, NULL);
    wr_bus_call(l->env.ingest, NULL, "watchroom.v1.Ingest/Streams", NULL, 2000, told__poll_answer,
                l);
}

/* Before what may wait, so that nobody watches longer for it. Without memory for the walk it is done in the next turn. */
static void ask_viewers(struct wr_live *l, struct live_stream **all, size_t n)
{
    if (!all || !atomic_exchange(&l->rights_changed, false))
        return;
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&all[i]->lock);
        output__ask_again(all[i]);
        pthread_mutex_unlock(&all[i]->lock);
    }
}

static void *thread_main(void *arg)
{
    struct wr_live *l = arg;
    int64_t next = 0;
    for (;;) {
        pthread_mutex_lock(&l->lock);
        while (!l->poked && !l->stopping && wr_mono_us() < next)
            wr_cond_wait_until(&l->wake, &l->lock, next);
        bool stopping = l->stopping;
        l->poked = false;
        pthread_mutex_unlock(&l->lock);
        if (stopping)
            return NULL;
        int64_t now = wr_mono_us();
        poll_streams(l, now);
        next = now + LIVE_POLL_US;
        size_t n = 0;
        struct live_stream **all = live__all(l, &n);
        ask_viewers(l, all, n);
        for (size_t i = 0; i < n; i++)
            next = WR_MIN(next, run_stream(all[i], now));
        live__release_all(all, n);
    }
}

/* Ingest is there again: nobody waits for the next renewal. */
static void handle_instance(void *ctx, const char *instance, enum wr_instance_state state)
{
    struct wr_live *l = ctx;
    size_t n = 0;
    (void)instance;
    if (state != WR_INSTANCE_UP)
        return;
    struct live_stream **all = live__all(l, &n);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&all[i]->lock);
        all[i]->watch_at_us = 0;
        pthread_mutex_unlock(&all[i]->lock);
    }
    live__release_all(all, n);
    live__poke(l);
}

wr_err control__start(struct wr_live *l)
{
    wr_bus_service_on_change(l->env.ingest, handle_instance, l);
    wr_err e = wr_thread_start(&l->thread, "live", thread_main, l);
    l->has_thread = e == WR_OK;
    return e;
}

void control__stop(struct wr_live *l)
{
    size_t n = 0;
    wr_bus_service_on_change(l->env.ingest, NULL, NULL);
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (l->has_thread)
        pthread_join(l->thread, NULL);
    struct live_stream **all = live__all(l, &n);
    for (size_t i = 0; i < n; i++) {
        wr_bus_sub_close(&all[i]->sub);
        if (all[i]->watched)
            call_unwatch(all[i]);
    }
    live__release_all(all, n);
    /* Every call ends within its deadline. */
    pthread_mutex_lock(&l->lock);
    while (l->calls > 0)
        pthread_cond_wait(&l->wake, &l->lock);
    pthread_mutex_unlock(&l->lock);
}
