/* SPDX-License-Identifier: MIT
 *
 * Calling one address over NNG: a req0 socket of its own, so that we choose the instance and not NNG's round robin, and
 * a pool of contexts, one call each. Calls beyond the pool wait in a bounded queue. REQ sends a request again when the
 * connection comes back, which carries calls over a quick restart of the service. */
#include "bus_nng.h"

#include "wr_metrics.h"

#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>

WR_COUNTER(bad_answers, "watchroom_bus_bad_messages_total", "kind=\"answer\"",
           "Messages that are not what they should be, dropped");

enum { RESEND_MS = 24 * 3600 * 1000 }; /* longer than any deadline */

struct slot {
    struct nng_peer *n;
    nng_ctx ctx;
    nng_aio *aio;
    struct bus_op *op;
    bool receiving;
    struct slot *next; /* while free */
};

struct nng_peer {
    struct bus_peer *p;
    struct bus_nng_sock sock;
    pthread_mutex_t lock; /* guards all below */
    struct bus_nng_dialer dialer;
    struct slot slots[BUS_PEER_CONTEXTS];
    unsigned num_slots;
    struct slot *free;
    struct bus_op *head, **tail;
    size_t queued;
    bool closing;
    unsigned starting; /* threads between taking a slot and NNG having its aio */
    pthread_cond_t started;
    bool abandoned; /* NNG did not let go of the socket: it may still call back */
};

/* The slot's op is done: the next one from the queue, or NULL, and it rests. */
static struct bus_op *next_op(struct slot *s)
{
    struct nng_peer *n = s->n;
    pthread_mutex_lock(&n->lock);
    struct bus_op *op = n->closing ? NULL : n->head;
    if (op) {
        n->head = op->next;
        if (!n->head)
            n->tail = &n->head;
        n->queued--;
    } else {
        s->next = n->free;
        n->free = s;
    }
    pthread_mutex_unlock(&n->lock);
    return op;
}

static int left_ms(const struct bus_op *op)
{
    int64_t left = (op->deadline_us - wr_mono_us()) / 1000;
    return left < 1 ? 1 : (int)left;
}

/* False when memory is out; the op has failed then. */
static bool send_op(struct slot *s, struct bus_op *op)
{
    uint8_t head[BUS_ENVELOPE_MAX];
    struct wr_slice body = op->body ? wr_msg_slice(op->body) : (struct wr_slice){0};
    nng_msg *m = bus_nng__build(
        head, bus__write_call(head, op->method, op->trace_id, (uint32_t)left_ms(op), body.n), body);
    if (!m) {
        bus__op_fail_later(op, WR_ERR_BUSY, "no memory for the call");
        return false;
    }
    /* NNG keeps its own copy for resending. */
    wr_msg_unref(op->body);
    op->body = NULL;
    s->op = op;
    s->receiving = false;
    nng_aio_set_msg(s->aio, m);
    nng_aio_set_timeout(s->aio, left_ms(op));
    nng_ctx_send(s->ctx, s->aio);
    return true;
}

static void start(struct slot *s, struct bus_op *op)
{
    while (op && !send_op(s, op))
        op = next_op(s);
}

static void finish(struct slot *s, const struct wr_answer *a)
{
    struct bus_op *op = s->op;
    s->op = NULL;
    bus__op_finish(op, a);
    start(s, next_op(s));
}

static void fail(struct slot *s, int rv)
{
    struct bus_op *op = s->op;
    wr_err code = bus_nng__err(rv);
    s->op = NULL;
    bus__op_fail(op, code == WR_OK ? WR_ERR_INTERNAL : code,
                 code == WR_ERR_TIMEOUT ? "the service did not answer in time" : nng_strerror(rv));
    start(s, next_op(s));
}

static void on_aio(void *arg)
{
    struct slot *s = arg;
    int rv = nng_aio_result(s->aio);
    if (rv != 0) {
        if (!s->receiving)
            nng_msg_free(nng_aio_get_msg(s->aio));
        nng_aio_set_msg(s->aio, NULL);
        fail(s, rv);
        return;
    }
    if (!s->receiving) {
        s->receiving = true;
        nng_aio_set_timeout(s->aio, left_ms(s->op));
        nng_ctx_recv(s->ctx, s->aio);
        return;
    }
    struct bus_answer_view v;
    struct wr_msg *m = bus_nng__wrap(nng_aio_get_msg(s->aio));
    nng_aio_set_msg(s->aio, NULL);
    if (!m || !bus__parse_answer(wr_msg_slice(m), &v)) {
        wr_count(&bad_answers, 1);
        wr_msg_unref(m);
        fail(s, NNG_EPROTO);
        return;
    }
    char instance[96];
    bus__peer_alive(s->n->p, &instance);
    struct wr_answer a = {.code = wr_err_from_wire(v.code),
                          .text = v.text,
                          .body = v.body,
                          .msg = m,
                          .instance = instance};
    finish(s, &a);
    wr_msg_unref(m);
}

static void on_pipe(void *ctx, nng_pipe_ev ev)
{
    struct bus_peer *p = ctx;
    if (ev == NNG_PIPE_EV_ADD_POST)
        atomic_store(&p->connected_anew, true);
    else if (ev == NNG_PIPE_EV_REM_POST)
        atomic_store(&p->lost, true);
    /* The housekeeper's lock is taken by nobody who waits for NNG. */
    bus__kick(p->service->bus);
}

static void open_peer(struct bus_peer *p)
{
    struct nng_peer *n = calloc(1, sizeof *n);
    if (!n)
        return;
    n->p = p;
    n->tail = &n->head;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->started, NULL);
    if (bus_nng__open(&n->sock, nng_req0_open, on_pipe, p) != 0) {
        free(n);
        return;
    }
    /* NNG sends a request again after this time, and would have a slow call done twice. When its connection is lost it does
     * so in any case, and at once; with "never" it would not. */
    nng_socket_set_ms(n->sock.id, NNG_OPT_REQ_RESENDTIME, RESEND_MS);
    p->impl = n;
    pthread_mutex_lock(&n->lock);
    (void)!bus_nng__dial(&n->sock, &n->dialer, p->url);
    pthread_mutex_unlock(&n->lock);
}

/* Lock held. A free or new slot, NULL when all are busy. */
static struct slot *take_slot(struct nng_peer *n)
{
    struct slot *s = n->free;
    if (s) {
        n->free = s->next;
        return s;
    }
    if (n->num_slots == BUS_PEER_CONTEXTS)
        return NULL;
    s = &n->slots[n->num_slots];
    s->n = n;
    if (nng_ctx_open(&s->ctx, n->sock.id) != 0)
        return NULL;
    if (nng_aio_alloc(&s->aio, on_aio, s) != 0) {
        nng_ctx_close(s->ctx);
        return NULL;
    }
    n->num_slots++;
    return s;
}

static bool call(struct bus_peer *p, struct bus_op *op)
{
    struct nng_peer *n = p->impl;
    bool full = false;
    pthread_mutex_lock(&n->lock);
    if (n->closing) {
        pthread_mutex_unlock(&n->lock);
        return false;
    }
    struct slot *s = take_slot(n);
    if (!s) {
        full = n->queued >= BUS_PEER_QUEUE;
        if (!full) {
            op->next = NULL;
            *n->tail = op;
            n->tail = &op->next;
            n->queued++;
        }
    }
    n->starting += s != NULL;
    pthread_mutex_unlock(&n->lock);
    if (s) {
        start(s, op);
        pthread_mutex_lock(&n->lock);
        if (--n->starting == 0 && n->closing)
            pthread_cond_broadcast(&n->started);
        pthread_mutex_unlock(&n->lock);
    } else if (full)
        bus__op_fail_later(op, WR_ERR_BUSY, "too many calls wait for the service");
    return true;
}

/* Calls in a context have NNG's timeout; those in the queue, and the dialer, have nobody but us. */
static void expire(struct bus_peer *p, int64_t now_us)
{
    struct nng_peer *n = p->impl;
    pthread_mutex_lock(&p->service->lock);
    int64_t heard_us = p->last_ok_us;
    pthread_mutex_unlock(&p->service->lock);
    pthread_mutex_lock(&n->lock);
    if (!n->closing) {
        bus_nng__dialer_silent(&n->sock, &n->dialer, heard_us, now_us);
        bus_nng__dialer_tick(&n->sock, &n->dialer, now_us);
    }
    struct bus_op *late = bus__ops_take_late(&n->head, &n->tail, &n->queued, now_us);
    pthread_mutex_unlock(&n->lock);
    bus__ops_fail(late, WR_ERR_TIMEOUT, "the service did not take the call in time");
}

static void close_peer(struct bus_peer *p)
{
    struct nng_peer *n = p->impl;
    pthread_mutex_lock(&n->lock);
    n->closing = true;
    struct bus_op *left = n->head;
    n->head = NULL;
    n->tail = &n->head;
    n->queued = 0;
    while (n->starting)
        pthread_cond_wait(&n->started, &n->lock);
    pthread_mutex_unlock(&n->lock);
    bus__ops_fail(left, WR_ERR_CLOSED, "the bus is closing");
    /* Ends what is in flight: every callback has run when stop returns. One that was about to receive then has not called
     * back: NNG refuses a stopped aio in silence. */
    for (unsigned i = 0; i < n->num_slots; i++) {
        struct slot *s = &n->slots[i];
        nng_aio_stop(s->aio);
        if (s->op)
            fail(s, NNG_ECLOSED);
        nng_msg_free(nng_aio_get_msg(s->aio)); /* so is a send refused, with its message */
        nng_aio_free(s->aio);
    }
    n->abandoned = !bus_nng__close(&n->sock, n);
}

static void free_peer(struct bus_peer *p)
{
    struct nng_peer *n = p->impl;
    if (n->abandoned)
        return;
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->started);
    free(n);
}

const struct bus_peer_ops bus_nng_peer_ops = {
    .open = open_peer, .call = call, .expire = expire, .close = close_peer, .free = free_peer};
