/* SPDX-License-Identifier: MIT
 *
 * Serving calls over NNG: one rep0 socket with a fixed number of contexts, each a small loop: receive, handle, send. A
 * context waits for its handler's answer, so the number of contexts is the number of calls in work; further requests
 * stay in the peers' TCP windows. */
#include "bus_nng.h"

#include "wr_metrics.h"

#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(bad_calls, "watchroom_bus_bad_messages_total", "kind=\"call\"",
           "Messages that are not what they should be, dropped");
WR_COUNTER(stuck_peers, "watchroom_bus_stuck_peers_total", NULL,
           "Peers cut off because they did not read their answers");

/* A peer that does not read its answers would in time hold every context. */
enum { ANSWER_SEND_MS = 2000 };

enum state { RECEIVING, HANDLING, SENDING };

struct context {
    struct nng_server *n;
    nng_ctx ctx;
    nng_aio *aio;
    enum state state;
    nng_pipe pipe; /* whose request is in work */
};

struct nng_server {
    struct wr_bus_server *s;
    struct bus_nng_sock sock;
    nng_listener listener; /* once open, the prober's */
    struct context contexts[BUS_SERVER_CONTEXTS];
    unsigned num_contexts;
    atomic_bool refusing; /* answers CLOSED to new calls */
    atomic_bool stopping; /* the socket is being closed: callbacks end */
};

static void receive(struct context *c)
{
    c->state = RECEIVING;
    nng_aio_set_timeout(c->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(c->ctx, c->aio);
}

static void nng_reply(struct bus_call *bc, wr_err code, const char *text, struct wr_msg *body)
{
    struct context *c = bc->transport;
    uint8_t head[BUS_ENVELOPE_MAX];
    struct wr_slice b = body ? wr_msg_slice(body) : (struct wr_slice){0};
    nng_msg *m = bus_nng__build(head, bus__write_answer(head, code, text, b.n), b);
    wr_msg_unref(body);
    wr_msg_unref(bc->pub.msg);
    free(bc);
    if (!m) {
        receive(c); /* the caller times out and retries: there is no memory even for saying so */
        return;
    }
    c->state = SENDING;
    nng_aio_set_msg(c->aio, m);
    nng_aio_set_timeout(c->aio, ANSWER_SEND_MS);
    nng_ctx_send(c->ctx, c->aio);
}

static void handle(struct context *c, nng_msg *m)
{
    struct bus_call_view v;
    c->pipe = nng_msg_get_pipe(m);
    struct wr_msg *w = bus_nng__wrap(m);
    struct bus_call *bc = w ? calloc(1, sizeof *bc) : NULL;
    if (!bc || !bus__parse_call(wr_msg_slice(w), &v)) {
        wr_count(&bad_calls, 1);
        wr_msg_unref(w);
        if (!bc) {
            receive(c);
            return;
        }
        bc->transport = c;
        nng_reply(bc, WR_ERR_INVALID, "the request is not a watchroom.v1.Call", NULL);
        return;
    }
    bc->server = c->n->s;
    bc->reply = nng_reply;
    bc->transport = c;
    bc->pub.msg = w;
    bc->pub.method = v.method;
    bc->pub.body = v.body;
    snprintf(bc->pub.trace_id, sizeof bc->pub.trace_id, "%.*s",
             (int)WR_MIN(v.trace_id.n, (size_t)64), (const char *)v.trace_id.p);
    bc->pub.deadline_us =
        wr_mono_us() + (int64_t)(v.deadline_ms ? v.deadline_ms : WR_BUS_DEFAULT_DEADLINE_MS) * 1000;
    c->state = HANDLING;
    /* Owed before the look: who closes the server refuses first and then looks at what is owed, so one of the two sees the
     * other. */
    struct wr_bus_server *s = c->n->s;
    atomic_fetch_add(&s->owed, 1);
    if (atomic_load(&c->n->refusing))
        nng_reply(bc, WR_ERR_CLOSED, "the service is shutting down", NULL);
    else
        bus__serve_call(bc);
    atomic_fetch_sub(&s->owed, 1);
}

static void on_aio(void *arg)
{
    struct context *c = arg;
    int rv = nng_aio_result(c->aio);
    if (atomic_load(&c->n->stopping))
        return;
    if (c->state == RECEIVING && rv == 0) {
        nng_msg *m = nng_aio_get_msg(c->aio);
        nng_aio_set_msg(c->aio, NULL);
        handle(c, m);
        return;
    }
    if (c->state == SENDING && rv != 0) {
        nng_msg_free(nng_aio_get_msg(c->aio));
        nng_aio_set_msg(c->aio, NULL);
        if (rv == NNG_ETIMEDOUT) {
            wr_count(&stuck_peers, 1);
            if (!bus_nng__cut(&c->pipe, 1))
                nng_pipe_close(c->pipe);
        }
    }
    if (rv == NNG_ECLOSED)
        return;
    receive(c);
}

static void free_nng(struct wr_bus_server *s)
{
    struct nng_server *n = s->impl;
    atomic_store(&n->stopping, true);
    for (unsigned i = 0; i < n->num_contexts; i++)
        nng_aio_stop(n->contexts[i].aio);
    /* A message that an operation still has, received or not sent, is ours. */
    for (unsigned i = 0; i < n->num_contexts; i++) {
        nng_msg_free(nng_aio_get_msg(n->contexts[i].aio));
        nng_aio_free(n->contexts[i].aio);
    }
    if (bus_nng__close(&n->sock, n))
        free(n);
}

static wr_err listen_nng(struct wr_bus_server *s, struct wr_errmsg *err)
{
    struct nng_server *n = calloc(1, sizeof *n);
    if (!n)
        return WR_ERR_BUSY;
    n->s = s;
    s->impl = n;
    int rv = bus_nng__open(&n->sock, nng_rep0_open, NULL, NULL);
    if (rv != 0) {
        wr_errmsg_set(err, "cannot open a bus socket: %s", nng_strerror(rv));
        free(n);
        return bus_nng__err(rv);
    }
    for (; n->num_contexts < BUS_SERVER_CONTEXTS; n->num_contexts++) {
        struct context *c = &n->contexts[n->num_contexts];
        c->n = n;
        if (nng_ctx_open(&c->ctx, n->sock.id) != 0 || nng_aio_alloc(&c->aio, on_aio, c) != 0)
            break;
    }
    wr_err e = n->num_contexts ? bus_nng__listen(n->sock.id, s->url, &n->listener, err)
                               : WR_ERR_BUSY;
    if (e != WR_OK) {
        free_nng(s);
        return e;
    }
    for (unsigned i = 0; i < n->num_contexts; i++)
        receive(&n->contexts[i]);
    return WR_OK;
}

/* The listener stays open until the socket closes: in NNG 1.5.2 nng_close may wait for ever for a listener that was
 * closed by itself before. Who calls meanwhile is told. */
static void stop_nng(struct wr_bus_server *s)
{
    struct nng_server *n = s->impl;
    atomic_store(&n->refusing, true);
}

static void probed_server(struct wr_bus_server *s, bool alive)
{
    struct nng_server *n = s->impl;
    bus_nng__probed(&n->sock, alive, s->url, &n->listener);
}

const struct bus_server_ops bus_nng_server_ops = {
    .listen = listen_nng, .stop = stop_nng, .free = free_nng, .probed = probed_server};
