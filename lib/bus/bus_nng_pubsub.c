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
    nng_close(n->sock);
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
    pthread_mutex_t lock; /* guards urls */
    char (*urls)[BUS_URL_BYTES];
    size_t num_urls;
};

static void *deliver(void *arg)
{
    struct nng_sub *n = arg;
    for (;;) {
        nng_msg *nm;
        int rv = nng_recvmsg(n->sock, &nm, 0);
        if (rv == NNG_ECLOSED)
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
    for (size_t i = 0; i < n->num_urls; i++)
        if (strcmp(n->urls[i], url) == 0)
            goto out;
    void *more = realloc(n->urls, (n->num_urls + 1) * BUS_URL_BYTES);
    if (!more) {
        e = WR_ERR_BUSY;
        goto out;
    }
    n->urls = more;
    nng_dialer d;
    int rv = nng_dial(n->sock, url, &d, NNG_FLAG_NONBLOCK);
    if (rv != 0) {
        e = bus_nng__err(rv);
        goto out;
    }
    snprintf(n->urls[n->num_urls++], BUS_URL_BYTES, "%s", url);
out:
    pthread_mutex_unlock(&n->lock);
    return e;
}

static void close_sub(struct wr_bus_sub *s)
{
    struct nng_sub *n = s->impl;
    nng_close(n->sock);
    pthread_join(n->thread, NULL);
    pthread_mutex_destroy(&n->lock);
    free(n->urls);
    free(n);
}

const struct bus_sub_ops bus_nng_sub_ops = {.open = open_sub, .add = add_url, .close = close_sub};
