/* SPDX-License-Identifier: MIT
 *
 * One address of a service: whether it lives, and what it says about itself. */
#include "bus_priv.h"

#include "watchroom/v1/node.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

struct bus_peer *bus__peer_new(struct wr_bus_service *s, const char *url)
{
    struct bus_peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->service = s;
    snprintf(p->url, sizeof p->url, "%s", url);
    atomic_init(&p->refs, 1);
    p->ops = bus__scheme(url) == BUS_SCHEME_INPROC ? &bus_local_peer_ops : &bus_nng_peer_ops;
    p->ops->open(p);
    if (!p->impl) {
        free(p);
        return NULL;
    }
    return p;
}

void bus__peer_unref(struct bus_peer *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    p->ops->free(p);
    wr_msg_unref(p->info);
    free(p);
}

void bus__peer_alive(struct bus_peer *p, char (*instance)[96])
{
    struct wr_bus_service *s = p->service;
    pthread_mutex_lock(&s->lock);
    p->last_ok_us = wr_mono_us();
    if (instance)
        memcpy(*instance, p->instance, sizeof *instance);
    pthread_mutex_unlock(&s->lock);
}

/* Tells the user that an instance came or went. No lock held. */
static void tell(struct wr_bus_service *s, const char *instance, enum wr_instance_state state)
{
    if (state == WR_INSTANCE_UP)
        wr_info("bus.instance_up", "service=%s instance=%s", s->name, instance);
    else
        wr_warn("bus.instance_down", "service=%s instance=%s", s->name, instance);
    pthread_mutex_lock(&s->lock);
    wr_bus_change_fn fn = s->on_change;
    void *ctx = s->change_ctx;
    s->telling += fn != NULL;
    pthread_mutex_unlock(&s->lock);
    if (!fn)
        return;
    fn(ctx, instance, state);
    pthread_mutex_lock(&s->lock);
    if (--s->telling == 0)
        pthread_cond_broadcast(&s->told);
    pthread_mutex_unlock(&s->lock);
}

/* Service lock held. An id that does not fit would be another one at each look; said once. */
static bool has_name(struct bus_peer *p, const Watchroom__V1__NodeInfo *info)
{
    bool fits = strlen(info->instance) < sizeof p->instance;
    if (!fits && !p->nameless)
        wr_error("bus.instance_id", "service=%s address=%s: its id has more than %zu bytes",
                 p->service->name, p->url, sizeof p->instance - 1);
    p->nameless = !fits;
    return fits;
}

static void described(void *ctx, const struct wr_answer *a)
{
    struct bus_peer *p = ctx;
    struct wr_bus_service *s = p->service;
    Watchroom__V1__NodeInfo *info =
        a->code == WR_OK ? watchroom__v1__node_info__unpack(NULL, a->body.n, a->body.p) : NULL;
    char before[96], now[96];
    bool went = false, came = false;

    pthread_mutex_lock(&s->lock);
    p->describing = false;
    if (info && !s->closing && !p->forgotten && has_name(p, info)) {
        bool other = strcmp(p->instance, info->instance) != 0;
        went = p->up && other;
        came = !p->up || other;
        memcpy(before, p->instance, sizeof before);
        snprintf(now, sizeof now, "%s", info->instance);
        memcpy(p->instance, now, sizeof p->instance);
        p->up = true;
        p->last_ok_us = wr_mono_us();
        wr_msg_unref(p->info);
        p->info = wr_msg_copy(a->body);
        bus__sub_lanes(s, p->url, info->lanes, info->n_lanes);
    }
    pthread_mutex_unlock(&s->lock);
    if (info)
        watchroom__v1__node_info__free_unpacked(info, NULL);
    if (went)
        tell(s, before, WR_INSTANCE_DOWN);
    if (came) {
        tell(s, now, WR_INSTANCE_UP);
        bus__service_flush(s);
    }
    bus__peer_unref(p);
}

static void ask(struct bus_peer *p)
{
    struct bus_op *op = calloc(1, sizeof *op);
    if (!op)
        return;
    op->service = p->service;
    snprintf(op->method, sizeof op->method, "%s", BUS_DESCRIBE_METHOD);
    op->deadline_us = wr_mono_us() + BUS_DOWN_AFTER_US;
    op->done = described;
    op->ctx = p;
    atomic_fetch_add(&p->refs, 2); /* the op's and described's */
    op->peer = p;
    atomic_fetch_add(&p->in_flight, 1);
    if (!p->ops->call(p, op))
        bus__op_fail(op, WR_ERR_UNAVAILABLE, "nobody listens there");
}

void bus__peer_tick(struct bus_peer *p, int64_t now_us)
{
    struct wr_bus_service *s = p->service;
    bool asks = false, anew = atomic_exchange(&p->connected_anew, false),
         lost = atomic_exchange(&p->lost, false);
    bool went = false;
    char gone[96];

    if (p->ops->expire)
        p->ops->expire(p, now_us);
    pthread_mutex_lock(&s->lock);
    if (p->up && (lost || now_us - p->last_ok_us > BUS_DOWN_AFTER_US)) {
        p->up = false;
        went = true;
        memcpy(gone, p->instance, sizeof gone);
    }
    /* While it is down ask at every tick: a service that starts is found within 100 ms. */
    if (!s->closing && !p->describing && (anew || !p->up || now_us >= p->describe_at_us)) {
        p->describing = asks = true;
        p->describe_at_us = now_us + BUS_DESCRIBE_EVERY_US;
    }
    pthread_mutex_unlock(&s->lock);
    if (went)
        tell(s, gone, WR_INSTANCE_DOWN);
    if (asks)
        ask(p);
}
