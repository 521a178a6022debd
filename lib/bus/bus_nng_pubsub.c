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

struct nng_pub {
    nng_socket sock;
    nng_listener listener;
    pthread_mutex_t lock; /* guards listener */
};

static wr_err open_pub(struct wr_bus_pub *p, struct wr_errmsg *err)
{
    struct nng_pub *n = calloc(1, sizeof *n);
    if (!n)
        return WR_ERR_BUSY;
    pthread_mutex_init(&n->lock, NULL);
    int rv = nng_pub0_open(&n->sock);
    if (rv != 0) {
        wr_errmsg_set(err, "cannot open a bus socket: %s", nng_strerror(rv));
        free(n);
        return bus_nng__err(rv);
    }
    bus_nng__socket_options(n->sock);
    nng_socket_set_int(n->sock, NNG_OPT_SENDBUF, p->lane ? BUS_LANE_QUEUE : BUS_MEDIA_QUEUE);
    wr_err e = bus_nng__listen(n->sock, p->url, &n->listener, err);
    if (e != WR_OK) {
        nng_close(n->sock);
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
    if (m && nng_sendmsg(n->sock, m, NNG_FLAG_NONBLOCK) != 0)
        nng_msg_free(m);
}

static void close_pub(struct wr_bus_pub *p)
{
    struct nng_pub *n = p->impl;
    if (!bus_nng__close(n->sock, n))
        return;
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static void relisten_pub(struct wr_bus_pub *p)
{
    struct nng_pub *n = p->impl;
    struct wr_errmsg err = {""};
    pthread_mutex_lock(&n->lock);
    nng_listener_close(n->listener);
    if (bus_nng__listen(n->sock, p->url, &n->listener, &err) != WR_OK)
        wr_error("bus.relisten", "%s", err.text);
    pthread_mutex_unlock(&n->lock);
}

const struct bus_pub_ops bus_nng_pub_ops = {
    .open = open_pub, .publish = publish, .close = close_pub, .relisten = relisten_pub};

struct nng_sub {
    struct wr_bus_sub *s;
    nng_socket sock;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards dialers */
    struct bus_nng_dialer *dialers;
    size_t num_dialers;
};

static void *deliver(void *arg)
{
    struct nng_sub *n = arg;
    for (;;) {
        nng_msg *nm;
        int rv = nng_recvmsg(n->sock, &nm, 0);
        if (rv == NNG_ECLOSED || (rv != 0 && atomic_load(&n->stopping)))
            return NULL;
        if (rv != 0)
            continue;
        struct wr_slice topic, event;
        struct wr_msg *m = bus_nng__wrap(nm);
        if (m && bus__parse_event(wr_msg_slice(m), &topic, &event))
            n->s->fn(n->s->ctx, topic, event, m);
        else
            wr_count(&bad_events, 1);
        wr_msg_unref(m);
    }
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct nng_sub *n = arg;
    nng_dialer d = nng_pipe_dialer(pipe);
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->num_dialers; i++)
        if (nng_dialer_id(n->dialers[i].dialer) == nng_dialer_id(d))
            bus_nng__dialer_pipe(&n->dialers[i], ev);
    pthread_mutex_unlock(&n->lock);
}

static void tick_sub(struct wr_bus_sub *s, int64_t now_us)
{
    struct nng_sub *n = s->impl;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->num_dialers; i++)
        bus_nng__dialer_tick(n->sock, &n->dialers[i], now_us);
    pthread_mutex_unlock(&n->lock);
}

static wr_err open_sub(struct wr_bus_sub *s)
{
    struct nng_sub *n = calloc(1, sizeof *n);
    if (!n)
        return WR_ERR_BUSY;
    n->s = s;
    pthread_mutex_init(&n->lock, NULL);
    int rv = nng_sub0_open(&n->sock);
    if (rv != 0) {
        free(n);
        return bus_nng__err(rv);
    }
    bus_nng__socket_options(n->sock);
    nng_socket_set_int(n->sock, NNG_OPT_RECVBUF, (int)s->depth);
    nng_socket_set_ms(n->sock, NNG_OPT_RECVTIMEO,
                      1000); /* so that `stopping` is seen even by an abandoned socket */
    for (size_t i = 0; s->prefixes[i]; i++) {
        /* "\x01" at the end asks for one topic exactly: on the wire that is the topic with its zero byte. */
        size_t len = strlen(s->prefixes[i]);
        bool exact = len && s->prefixes[i][len - 1] == '\x01';
        char filter[512];
        len = WR_MIN(len - exact, sizeof filter - 1);
        memcpy(filter, s->prefixes[i], len);
        filter[len] = '\0';
        rv = nng_socket_set(n->sock, NNG_OPT_SUB_SUBSCRIBE, filter, len + exact);
        if (rv != 0)
            break;
    }
    nng_pipe_notify(n->sock, NNG_PIPE_EV_ADD_POST, on_pipe, n);
    nng_pipe_notify(n->sock, NNG_PIPE_EV_REM_POST, on_pipe, n);
    s->impl = n;
    wr_err e = rv == 0 ? wr_thread_start(&n->thread, "bus-sub", deliver, n) : bus_nng__err(rv);
    if (e != WR_OK) {
        nng_close(n->sock);
        free(n);
    }
    return e;
}

static wr_err add_url(struct wr_bus_sub *s, const char *url)
{
    struct nng_sub *n = s->impl;
    wr_err e = WR_OK;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->num_dialers; i++)
        if (strcmp(n->dialers[i].url, url) == 0)
            goto out;
    struct bus_nng_dialer *more = realloc(n->dialers, (n->num_dialers + 1) * sizeof *more);
    if (!more) {
        e = WR_ERR_BUSY;
        goto out;
    }
    n->dialers = more;
    more[n->num_dialers] = (struct bus_nng_dialer){0};
    e = bus_nng__dial(n->sock, &more[n->num_dialers], url);
    if (e == WR_OK)
        n->num_dialers++;
out:
    pthread_mutex_unlock(&n->lock);
    return e;
}

static void close_sub(struct wr_bus_sub *s)
{
    struct nng_sub *n = s->impl;
    atomic_store(&n->stopping, true);
    bool closed = bus_nng__close(n->sock, n);
    pthread_join(n->thread, NULL);
    if (!closed)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n->dialers);
    free(n);
}

const struct bus_sub_ops bus_nng_sub_ops = {
    .open = open_sub, .add = add_url, .tick = tick_sub, .close = close_sub};
