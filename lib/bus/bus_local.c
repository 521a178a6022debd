/* SPDX-License-Identifier: MIT
 *
 * inproc://: calls and events inside one process, passed by reference. NNG's own inproc transport copies bodies, and a
 * video frame or an upload's chunk would pay for that once a hop; here a message changes hands by pointer.
 *
 * A registry maps a URL to what stands behind it. A server has one thread that runs its handler; a subscription has one
 * thread that runs its function; both have bounded queues. Lock order: registry -> queue -> peer. */
#include "bus_priv.h"

#include "wr_map.h"
#include "wr_metrics.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(sub_dropped, "watchroom_bus_local_events_dropped_total", NULL,
           "Events dropped because an in-process subscriber's queue was full");
WR_COUNTER(server_full, "watchroom_bus_local_calls_refused_total", NULL,
           "Calls refused because an in-process server's queue was full");

struct local_server;
struct local_sub;

struct endpoint {
    struct local_server *server;
    struct sub_link *subs; /* subscriptions to this URL, whether a pub socket is open or not */
};
struct sub_link {
    struct local_sub *sub;
    struct sub_link *next;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct wr_map
    registry; /* URL -> struct endpoint; endpoints live as long as the process, their number is the addresses' */

/* Registry lock held. */
static struct endpoint *endpoint_at(const char *url)
{
    struct endpoint *e = wr_map_get(&registry, wr_slice_str(url));
    if (!e) {
        e = calloc(1, sizeof *e);
        if (e && !wr_map_put(&registry, wr_slice_str(url), e)) {
            free(e);
            e = NULL;
        }
    }
    return e;
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

/* An op in flight: the answer and the deadline race for it. */
struct local_call {
    struct bus_call call;
    struct bus_op *op; /* NULL once it was answered or expired; guarded by the peer's lock */
    struct local_peer *peer;
    struct local_call *next, *prev; /* in the peer's list; guarded by the peer's lock */
    struct local_call *queue_next;
    char instance[96];
    char method[96]; /* own copies: the op may expire and go while the handler still reads them */
};

struct local_server {
    struct wr_bus_server *s;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the queue */
    pthread_cond_t wake;
    struct local_call *head, **tail;
    size_t queued, bytes; /* bytes: memory of the calls and their messages */
    bool stopping;
};

struct local_peer {
    struct bus_peer *p;
    pthread_mutex_t lock; /* guards the list and each call's op */
    pthread_cond_t empty;
    struct local_call *calls;
    unsigned unanswered; /* calls whose memory the server still holds */
    bool closed;
};

static size_t call_memory(const struct local_call *c)
{
    return sizeof *c + wr_msg_memory(c->call.pub.msg);
}

static void *serve(void *arg)
{
    struct local_server *l = arg;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct local_call *c = l->head;
        if (!c) {
            if (l->stopping)
                break;
            pthread_cond_wait(&l->wake, &l->lock);
            continue;
        }
        l->head = c->queue_next;
        if (!l->head)
            l->tail = &l->head;
        l->queued--;
        l->bytes -= call_memory(c);
        pthread_mutex_unlock(&l->lock);
        bus__serve_call(&c->call);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static wr_err local_listen(struct wr_bus_server *s, struct wr_errmsg *err)
{
    struct local_server *l = calloc(1, sizeof *l);
    if (!l)
        return WR_ERR_BUSY;
    l->s = s;
    l->tail = &l->head;
    pthread_mutex_init(&l->lock, NULL);
    wr_cond_init(&l->wake);
    pthread_mutex_lock(&registry_lock);
    struct endpoint *e = endpoint_at(s->url);
    wr_err code = !e ? WR_ERR_BUSY : e->server ? WR_ERR_CONFLICT : WR_OK;
    if (code == WR_OK)
        code = wr_thread_start(&l->thread, "bus-serve", serve, l);
    if (code == WR_OK)
        e->server = l;
    pthread_mutex_unlock(&registry_lock);
    if (code != WR_OK) {
        wr_errmsg_set(err,
                      code == WR_ERR_CONFLICT ? "%s is served already in this process"
                                              : "no thread for %s",
                      s->url);
        free(l);
        return code;
    }
    s->impl = l;
    return WR_OK;
}

static void local_stop(struct wr_bus_server *s)
{
    struct local_server *l = s->impl;
    pthread_mutex_lock(&registry_lock);
    endpoint_at(s->url)->server = NULL;
    pthread_mutex_unlock(&registry_lock);
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
}

static void local_free(struct wr_bus_server *s)
{
    struct local_server *l = s->impl;
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    free(l);
}

const struct bus_server_ops bus_local_server_ops = {
    .listen = local_listen, .stop = local_stop, .free = local_free};

/* Peer lock held. Takes the op out of the race; NULL when it was taken before. */
static struct bus_op *claim(struct local_call *c)
{
    struct bus_op *op = c->op;
    if (!op)
        return NULL;
    c->op = NULL;
    if (c->prev)
        c->prev->next = c->next;
    else
        c->peer->calls = c->next;
    if (c->next)
        c->next->prev = c->prev;
    return op;
}

static void local_reply(struct bus_call *bc, wr_err code, const char *text, struct wr_msg *body)
{
    struct local_call *c = WR_CONTAINER_OF(bc, struct local_call, call);
    struct local_peer *lp = c->peer;
    struct bus_peer *p = lp->p;
    pthread_mutex_lock(&lp->lock);
    struct bus_op *op = claim(c);
    pthread_mutex_unlock(&lp->lock);
    if (op) {
        struct wr_answer a = {.code = code,
                              .text = wr_slice_str(text ? text : ""),
                              .msg = body,
                              .instance = c->instance};
        if (body)
            a.body = wr_msg_slice(body);
        bus__peer_alive(p, NULL);
        bus__op_finish(op, &a);
    }
    wr_msg_unref(body);
    wr_msg_unref(c->call.pub.msg);
    free(c);
    pthread_mutex_lock(&lp->lock);
    if (--lp->unanswered == 0)
        pthread_cond_broadcast(&lp->empty);
    pthread_mutex_unlock(&lp->lock);
}

static void local_peer_open(struct bus_peer *p)
{
    struct local_peer *lp = calloc(1, sizeof *lp);
    if (!lp)
        return;
    lp->p = p;
    pthread_mutex_init(&lp->lock, NULL);
    wr_cond_init(&lp->empty);
    p->impl = lp;
}

static bool local_peer_call(struct bus_peer *p, struct bus_op *op)
{
    struct local_peer *lp = p->impl;
    struct local_call *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    struct wr_msg *msg = op->body ? wr_msg_ref(op->body) : NULL;

    pthread_mutex_lock(&registry_lock);
    struct endpoint *e = endpoint_at(p->url);
    struct local_server *l = e ? e->server : NULL;
    if (!l) {
        pthread_mutex_unlock(&registry_lock);
        wr_msg_unref(msg);
        free(c);
        return false;
    }
    c->peer = lp;
    c->op = op;
    c->call.server = l->s;
    c->call.reply = local_reply;
    snprintf(c->instance, sizeof c->instance, "%s", l->s->bus->instance);
    c->call.pub.msg = msg;
    c->call.pub.body = msg ? wr_msg_slice(msg) : (struct wr_slice){0};
    c->call.pub.deadline_us = op->deadline_us;
    snprintf(c->call.pub.trace_id, sizeof c->call.pub.trace_id, "%s", op->trace_id);
    snprintf(c->method, sizeof c->method, "%s", op->method);
    c->call.pub.method = wr_slice_str(c->method);

    pthread_mutex_lock(&l->lock);
    bool full = l->queued >= BUS_SERVER_QUEUE || l->stopping ||
                (l->queued && l->bytes + call_memory(c) > BUS_SERVER_QUEUE_BYTES);
    pthread_mutex_lock(&lp->lock);
    bool closed = lp->closed;
    if (!full && !closed) {
        c->next = lp->calls;
        if (c->next)
            c->next->prev = c;
        lp->calls = c;
        lp->unanswered++;
    }
    pthread_mutex_unlock(&lp->lock);
    bool first = !full && !closed && l->queued == 0;
    if (!full && !closed) {
        *l->tail = c;
        l->tail = &c->queue_next;
        l->queued++;
        l->bytes += call_memory(c);
    }
    pthread_mutex_unlock(&l->lock);
    if (first) /* outside of its lock, which who wakes up wants; the registry's keeps it from going */
        pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&registry_lock);
    if (full || closed) {
        wr_msg_unref(msg);
        free(c);
    }
    if (full && !closed) {
        wr_count(&server_full, 1);
        bus__op_fail_later(op, WR_ERR_BUSY, "the service's queue is full");
    }
    return !closed;
}

static void local_peer_expire(struct bus_peer *p, int64_t now_us)
{
    struct local_peer *lp = p->impl;
    struct bus_op *late = NULL;
    pthread_mutex_lock(&lp->lock);
    for (struct local_call *c = lp->calls, *next; c; c = next) {
        next = c->next;
        if (c->op->deadline_us > now_us)
            continue;
        struct bus_op *op = claim(c);
        op->next = late;
        late = op;
    }
    pthread_mutex_unlock(&lp->lock);
    bus__ops_fail(late, WR_ERR_TIMEOUT, "the service did not answer in time");
}

static void local_peer_close(struct bus_peer *p)
{
    struct local_peer *lp = p->impl;
    struct bus_op *left = NULL;
    pthread_mutex_lock(&lp->lock);
    lp->closed = true;
    while (lp->calls) {
        struct bus_op *op = claim(lp->calls);
        op->next = left;
        left = op;
    }
    pthread_mutex_unlock(&lp->lock);
    bus__ops_fail(left, WR_ERR_CLOSED, "the bus is closing");
    /* Handlers still hold calls that point here; each answers in the end. */
    pthread_mutex_lock(&lp->lock);
    while (lp->unanswered)
        pthread_cond_wait(&lp->empty, &lp->lock);
    pthread_mutex_unlock(&lp->lock);
}

static void local_peer_free(struct bus_peer *p)
{
    struct local_peer *lp = p->impl;
    pthread_mutex_destroy(&lp->lock);
    pthread_cond_destroy(&lp->empty);
    free(lp);
}

const struct bus_peer_ops bus_local_peer_ops = {.open = local_peer_open,
                                                .call = local_peer_call,
                                                .expire = local_peer_expire,
                                                .close = local_peer_close,
                                                .free = local_peer_free};

/* ---- events ----------------------------------------------------------------------------------------------------- */

struct local_event {
    struct wr_msg *msg;
    struct local_event *next;
    size_t topic_n;
    char topic[];
};

struct local_sub {
    struct wr_bus_sub *s;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the queue */
    pthread_cond_t wake;
    struct local_event *head, **tail;
    size_t queued, bytes; /* bytes: memory of the events, each message in full */
    bool stopping;
};

static void *deliver(void *arg)
{
    struct local_sub *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        struct local_event *batch = l->head;
        if (!batch) {
            pthread_cond_wait(&l->wake, &l->lock);
            continue;
        }
        l->head = NULL;
        l->tail = &l->head;
        l->queued = l->bytes = 0;
        pthread_mutex_unlock(&l->lock);
        while (batch) {
            struct local_event *e = batch;
            batch = e->next;
            l->s->fn(l->s->ctx, wr_slice_of(e->topic, e->topic_n), wr_msg_slice(e->msg), e->msg);
            wr_msg_unref(e->msg);
            free(e);
        }
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static wr_err local_sub_open(struct wr_bus_sub *s)
{
    struct local_sub *l = calloc(1, sizeof *l);
    if (!l)
        return WR_ERR_BUSY;
    l->s = s;
    l->tail = &l->head;
    pthread_mutex_init(&l->lock, NULL);
    wr_cond_init(&l->wake);
    s->impl = l;
    wr_err e = wr_thread_start(&l->thread, "bus-sub", deliver, l);
    if (e != WR_OK) {
        free(l);
        s->impl = NULL;
    }
    return e;
}

static wr_err local_sub_add(struct wr_bus_sub *s, const char *url, const char *peer_url)
{
    (void)peer_url; /* an inproc:// address is no name, and never forgotten */
    struct local_sub *l = s->impl;
    wr_err code = WR_ERR_BUSY;
    pthread_mutex_lock(&registry_lock);
    struct endpoint *e = endpoint_at(url);
    if (!e)
        goto out;
    code = WR_OK;
    for (struct sub_link *k = e->subs; k; k = k->next)
        if (k->sub == l)
            goto out;
    struct sub_link *k = calloc(1, sizeof *k);
    if (!k) {
        code = WR_ERR_BUSY;
        goto out;
    }
    k->sub = l;
    k->next = e->subs;
    e->subs = k;
out:
    pthread_mutex_unlock(&registry_lock);
    return code;
}

static void local_sub_close(struct wr_bus_sub *s)
{
    struct local_sub *l = s->impl;
    size_t at = 0;
    void *v;
    pthread_mutex_lock(&registry_lock);
    while (wr_map_next(&registry, &at, NULL, &v)) {
        struct endpoint *e = v;
        for (struct sub_link **k = &e->subs; *k;) {
            struct sub_link *link = *k;
            if (link->sub == l) {
                *k = link->next;
                free(link);
            } else {
                k = &link->next;
            }
        }
    }
    pthread_mutex_unlock(&registry_lock);
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    while (l->head) {
        struct local_event *e = l->head;
        l->head = e->next;
        wr_msg_unref(e->msg);
        free(e);
    }
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    free(l);
    s->impl = NULL;
}

const struct bus_sub_ops bus_local_sub_ops = {
    .open = local_sub_open, .add = local_sub_add, .close = local_sub_close};

static size_t event_memory(const struct local_event *e)
{
    return sizeof *e + e->topic_n + 1 + wr_msg_memory(e->msg);
}

/* Registry lock held: l cannot go. */
static void enqueue(struct local_sub *l, const char *topic, size_t topic_n, struct wr_msg *msg)
{
    struct local_event *e = malloc(sizeof *e + topic_n + 1), *dropped = NULL;
    size_t n_dropped = 0;
    if (!e) {
        wr_count(&sub_dropped, 1);
        return;
    }
    e->msg = wr_msg_ref(msg);
    e->next = NULL;
    e->topic_n = topic_n;
    memcpy(e->topic, topic, topic_n + 1);
    pthread_mutex_lock(&l->lock);
    while (l->head && (l->queued >= l->s->depth || l->bytes + event_memory(e) > BUS_LANE_BYTES)) {
        struct local_event *oldest = l->head;
        l->head = oldest->next;
        if (!l->head)
            l->tail = &l->head;
        l->queued--;
        l->bytes -= event_memory(oldest);
        oldest->next = dropped;
        dropped = oldest;
    }
    *l->tail = e;
    l->tail = &e->next;
    l->bytes += event_memory(e);
    bool first = l->queued++ == 0;
    pthread_mutex_unlock(&l->lock);
    if (first)
        pthread_cond_signal(&l->wake);
    while (dropped) {
        struct local_event *next = dropped->next;
        n_dropped++;
        wr_msg_unref(dropped->msg);
        free(dropped);
        dropped = next;
    }
    if (n_dropped)
        wr_count(&sub_dropped, n_dropped);
}

static wr_err local_pub_open(struct wr_bus_pub *p, struct wr_errmsg *err)
{
    (void)err;
    pthread_mutex_lock(&registry_lock);
    p->impl = endpoint_at(p->url);
    pthread_mutex_unlock(&registry_lock);
    return p->impl ? WR_OK : WR_ERR_BUSY;
}

static void local_pub_publish(struct wr_bus_pub *p, const char *topic, struct wr_msg *event)
{
    struct endpoint *e = p->impl;
    size_t n = strlen(topic);
    pthread_mutex_lock(&registry_lock);
    for (struct sub_link *k = e->subs; k; k = k->next) {
        const char *const *prefixes = (const char *const *)k->sub->s->prefixes;
        if (bus__topic_matches(prefixes, wr_slice_of(topic, n)))
            enqueue(k->sub, topic, n, event);
    }
    pthread_mutex_unlock(&registry_lock);
    wr_msg_unref(event);
}

static void local_pub_close(struct wr_bus_pub *p)
{
    p->impl = NULL;
}

const struct bus_pub_ops bus_local_pub_ops = {
    .open = local_pub_open, .publish = local_pub_publish, .close = local_pub_close};
