/* SPDX-License-Identifier: MIT
 *
 * Events over NNG: pub0 on the publisher, sub0 with a thread on the subscriber. Filters run at the subscriber, and the
 * zero byte behind a topic keeps room/1 from matching room/12. */
#include "bus_nng.h"

#include "wr_metrics.h"

#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(bad_events, "watchroom_bus_bad_messages_total", "kind=\"event\"",
           "Messages that are not what they should be, dropped");

WR_COUNTER(unsent, "watchroom_bus_events_unsent_total", NULL,
           "Events dropped because memory was out or their socket was closing");

struct nng_pub {
    struct bus_nng_sock sock;
    nng_listener listener; /* once open, the prober's */
};

static wr_err open_pub(struct wr_bus_pub *p, struct wr_errmsg *err)
{
    struct nng_pub *n = calloc(1, sizeof *n);
    if (!n)
        return WR_ERR_BUSY;
    int rv = bus_nng__open(&n->sock, nng_pub0_open, NULL, NULL);
    if (rv != 0) {
        wr_errmsg_set(err, "cannot open a bus socket: %s", nng_strerror(rv));
        free(n);
        return bus_nng__err(rv);
    }
    nng_socket_set_int(n->sock.id, NNG_OPT_SENDBUF, p->lane ? BUS_LANE_QUEUE : BUS_MEDIA_QUEUE);
    wr_err e = bus_nng__listen(n->sock.id, p->url, &n->listener, err);
    if (e != WR_OK) {
        if (bus_nng__close(&n->sock, n))
            free(n);
        return e;
    }
    p->impl = n;
    return WR_OK;
}

static void publish(struct wr_bus_pub *p, const char *topic, struct wr_msg *event)
{
    struct nng_pub *n = p->impl;
    nng_msg *m = bus_nng__build((const uint8_t *)topic, strlen(topic) + 1, wr_msg_slice(event));
    wr_msg_unref(event);
    if (m && nng_sendmsg(n->sock.id, m, NNG_FLAG_NONBLOCK) == 0)
        return;
    wr_count(&unsent, 1);
    nng_msg_free(m);
}

static void close_pub(struct wr_bus_pub *p)
{
    struct nng_pub *n = p->impl;
    if (bus_nng__close(&n->sock, n))
        free(n);
}

static void probed_pub(struct wr_bus_pub *p, bool alive)
{
    struct nng_pub *n = p->impl;
    bus_nng__probed(&n->sock, alive, p->url, &n->listener);
}

const struct bus_pub_ops bus_nng_pub_ops = {
    .open = open_pub, .publish = publish, .close = close_pub, .probed = probed_pub};

WR_GAUGE(lanes_followed, "watchroom_bus_lanes", NULL,
         "Addresses of other processes whose events this one follows");

struct lane {
    struct bus_nng_dialer dialer;
    char peer_url[BUS_URL_BYTES];
    bool leaving; /* not told any more: closed once it has no connection */
};

struct nng_sub {
    struct wr_bus_sub *s;
    struct bus_nng_sock sock;
    nng_aio *aio; /* the thread's; without a timeout, which could fire while the socket closes */
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards lanes */
    struct lane *lanes;
    size_t num_lanes;
};

static void *deliver(void *arg)
{
    struct nng_sub *n = arg;
    for (;;) {
        nng_recv_aio(n->sock.id, n->aio);
        nng_aio_wait(n->aio);
        int rv = nng_aio_result(n->aio);
        if (rv == NNG_ECLOSED || (rv != 0 && atomic_load(&n->stopping)))
            return NULL;
        if (rv != 0)
            continue;
        struct wr_slice topic, event;
        struct wr_msg *m = bus_nng__wrap(nng_aio_get_msg(n->aio));
        nng_aio_set_msg(n->aio, NULL);
        if (m && bus__parse_event(wr_msg_slice(m), &topic, &event))
            n->s->fn(n->s->ctx, topic, event, m);
        else
            wr_count(&bad_events, 1);
        wr_msg_unref(m);
    }
}

static void tick_sub(struct wr_bus_sub *s, int64_t now_us)
{
    struct nng_sub *n = s->impl;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->num_lanes;) {
        struct lane *l = &n->lanes[i];
        if (l->leaving && bus_nng__dialer_retire(&n->sock, &l->dialer)) {
            *l = n->lanes[--n->num_lanes];
            wr_gauge_add(&lanes_followed, -1);
            continue;
        }
        bus_nng__dialer_tick(&n->sock, &l->dialer, now_us);
        i++;
    }
    pthread_mutex_unlock(&n->lock);
}

static wr_err open_sub(struct wr_bus_sub *s)
{
    struct nng_sub *n = calloc(1, sizeof *n);
    if (!n)
        return WR_ERR_BUSY;
    n->s = s;
    pthread_mutex_init(&n->lock, NULL);
    int rv = bus_nng__open(&n->sock, nng_sub0_open, NULL, NULL);
    if (rv != 0) {
        free(n);
        return bus_nng__err(rv);
    }
    rv = nng_aio_alloc(&n->aio, NULL, NULL);
    nng_socket_set_int(n->sock.id, NNG_OPT_RECVBUF, (int)s->depth);
    for (size_t i = 0; s->prefixes[i] && rv == 0; i++) {
        /* "\x01" at the end asks for one topic exactly: on the wire that is the topic with its zero byte. */
        size_t len = strlen(s->prefixes[i]);
        bool exact = len && s->prefixes[i][len - 1] == '\x01';
        char filter[512];
        len = WR_MIN(len - exact, sizeof filter - 1);
        memcpy(filter, s->prefixes[i], len);
        filter[len] = '\0';
        rv = nng_socket_set(n->sock.id, NNG_OPT_SUB_SUBSCRIBE, filter, len + exact);
    }
    s->impl = n;
    wr_err e = rv == 0 ? wr_thread_start(&n->thread, "bus-sub", deliver, n) : bus_nng__err(rv);
    if (e != WR_OK) {
        nng_aio_free(n->aio);
        if (bus_nng__close(&n->sock, n))
            free(n);
    }
    return e;
}

static wr_err add_lane(struct wr_bus_sub *s, const char *url, const char *peer_url)
{
    struct nng_sub *n = s->impl;
    wr_err e = WR_OK;
    pthread_mutex_lock(&n->lock);
    struct lane *l = NULL;
    for (size_t i = 0; i < n->num_lanes && !l; i++)
        if (strcmp(n->lanes[i].dialer.url, url) == 0)
            l = &n->lanes[i];
    if (!l) {
        struct lane *more = realloc(n->lanes, (n->num_lanes + 1) * sizeof *more);
        if (!more) {
            e = WR_ERR_BUSY;
            goto out;
        }
        n->lanes = more;
        l = &more[n->num_lanes];
        *l = (struct lane){0};
        e = bus_nng__dial(&n->sock, &l->dialer, url);
        if (e != WR_OK)
            goto out;
        n->num_lanes++;
        wr_gauge_add(&lanes_followed, 1);
    }
    snprintf(l->peer_url, sizeof l->peer_url, "%s", peer_url);
    l->leaving = false;
out:
    pthread_mutex_unlock(&n->lock);
    return e;
}

static bool is_among(const char *url, char (*urls)[BUS_URL_BYTES], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(urls[i], url) == 0)
            return true;
    return false;
}

static void keep_lanes(struct wr_bus_sub *s, const char *peer_url, char (*urls)[BUS_URL_BYTES],
                       size_t num_urls)
{
    struct nng_sub *n = s->impl;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->num_lanes; i++) {
        struct lane *l = &n->lanes[i];
        if (strcmp(l->peer_url, peer_url) == 0 && !is_among(l->dialer.url, urls, num_urls))
            l->leaving = true;
    }
    pthread_mutex_unlock(&n->lock);
}

static void close_sub(struct wr_bus_sub *s)
{
    struct nng_sub *n = s->impl;
    atomic_store(&n->stopping, true);
    nng_aio_stop(n->aio);
    pthread_join(n->thread, NULL);
    nng_aio_free(n->aio);
    bool closed = bus_nng__close(&n->sock, n);
    wr_gauge_add(&lanes_followed, -(int64_t)n->num_lanes);
    if (!closed)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n->lanes);
    free(n);
}

const struct bus_sub_ops bus_nng_sub_ops = {
    .open = open_sub, .add = add_lane, .keep = keep_lanes, .tick = tick_sub, .close = close_sub};
