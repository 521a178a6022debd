/* SPDX-License-Identifier: MIT
 *
 * What every NNG socket of ours needs: its options, listening, dialling, closing, and messages in both directions. See
 * bus_nng.h for the traps that are stepped around here. */
#include "bus_nng.h"

#include <stdio.h>
#include <stdlib.h>

enum { REDIAL_US = 3000000 };

void bus_nng__socket_options(nng_socket s)
{
    nng_socket_set_size(s, NNG_OPT_RECVMAXSZ, WR_BUS_MAX_MSG_BYTES);
    nng_socket_set_ms(s, NNG_OPT_RECONNMINT, 200);
    nng_socket_set_ms(s, NNG_OPT_RECONNMAXT, 1000);
    nng_socket_set_bool(s, NNG_OPT_TCP_KEEPALIVE, true);
    nng_socket_set_bool(s, NNG_OPT_TCP_NODELAY, true);
}

wr_err bus_nng__err(int rv)
{
    switch (rv) {
    case 0:
        return WR_OK;
    case NNG_ETIMEDOUT:
        return WR_ERR_TIMEOUT;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
        return WR_ERR_CLOSED;
    case NNG_EADDRINUSE:
        return WR_ERR_CONFLICT;
    case NNG_ENOMEM:
        return WR_ERR_BUSY;
    case NNG_EMSGSIZE:
        return WR_ERR_TOO_BIG;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
        return WR_ERR_INVALID;
    case NNG_ECONNREFUSED:
    case NNG_ECONNRESET:
    case NNG_ECONNABORTED:
    case NNG_EUNREACHABLE:
        return WR_ERR_UNAVAILABLE;
    case NNG_EPERM:
        return WR_ERR_DENIED;
    default:
        return WR_ERR_INTERNAL;
    }
}

static void release(struct wr_msg *m)
{
    nng_msg_free(m->foreign);
}

struct wr_msg *bus_nng__wrap(nng_msg *m)
{
    struct wr_msg *w = wr_msg_wrap(nng_msg_body(m), nng_msg_len(m), release, m);
    if (!w)
        nng_msg_free(m);
    return w;
}

nng_msg *bus_nng__build(const uint8_t *head, size_t head_n, struct wr_slice body)
{
    nng_msg *m;
    if (nng_msg_alloc(&m, 0) != 0)
        return NULL;
    /* Reserved first, so that the appends do not move what is there; alloc with a size would zero it. */
    if (nng_msg_reserve(m, head_n + body.n) != 0 || nng_msg_append(m, head, head_n) != 0 ||
        (body.n && nng_msg_append(m, body.p, body.n) != 0)) {
        nng_msg_free(m);
        return NULL;
    }
    return m;
}

wr_err bus_nng__listen(nng_socket s, char *url, nng_listener *out, struct wr_errmsg *err)
{
    nng_listener l;
    char host[BUS_URL_BYTES], port[16];
    int rv = nng_listen(s, url, &l, 0);
    if (rv != 0) {
        wr_err e = bus_nng__err(rv);
        if (rv == NNG_EADDRINUSE)
            wr_errmsg_set(
                err, "%s is in use by another program: stop it, or configure another bus address",
                url);
        else
            wr_errmsg_set(err, "cannot listen on %s: %s", url, nng_strerror(rv));
        return e == WR_OK ? WR_ERR_INTERNAL : e;
    }
    int bound = 0;
    if (bus__split_tcp(url, host, sizeof host, port, sizeof port) && strcmp(port, "0") == 0 &&
        nng_listener_get_int(l, NNG_OPT_TCP_BOUND_PORT, &bound) == 0)
        snprintf(url, BUS_URL_BYTES, strchr(host, ':') ? "tcp://[%.200s]:%d" : "tcp://%.200s:%d",
                 host, bound);
    *out = l;
    return WR_OK;
}

void bus_nng__relisten(nng_socket s, char *url, nng_listener *l)
{
    struct wr_errmsg err = {""};
    nng_listener_close(*l);
    if (bus_nng__listen(s, url, l, &err) != WR_OK)
        wr_error("bus.relisten", "%s", err.text);
}

struct closing {
    nng_socket sock;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool closed;
    void *keep;
    struct closing *next;
};

static pthread_mutex_t abandoned_lock = PTHREAD_MUTEX_INITIALIZER;
static struct closing *abandoned; /* for ever: their sockets may still call back */

/* Pipes are let go by one thread of NNG. While that one hangs in a pipe of an abandoned socket no other socket closes
 * either, and a process would spend two seconds on each: it has the patience once. */
static int64_t patience_us(void)
{
    bool stuck = false;
    pthread_mutex_lock(&abandoned_lock);
    for (struct closing *c = abandoned; c && !stuck; c = c->next) {
        pthread_mutex_lock(&c->lock);
        stuck = !c->closed;
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_unlock(&abandoned_lock);
    return stuck ? 100000 : 2000000;
}

static void *close_socket(void *arg)
{
    struct closing *c = arg;
    nng_close(c->sock);
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

bool bus_nng__close(nng_socket s, void *keep)
{
    struct closing *c = calloc(1, sizeof *c);
    pthread_t thread;
    if (!c)
        abort();
    c->sock = s;
    c->keep = keep;
    pthread_mutex_init(&c->lock, NULL);
    wr_cond_init(&c->done);
    if (wr_thread_start(&thread, "bus-close", close_socket, c) != WR_OK) {
        close_socket(c);
        free(c);
        return true;
    }
    int64_t patience = patience_us(), until = wr_mono_us() + patience;
    pthread_mutex_lock(&c->lock);
    while (!c->closed && wr_mono_us() < until)
        wr_cond_wait_until(&c->done, &c->lock, until);
    bool closed = c->closed;
    pthread_mutex_unlock(&c->lock);
    if (closed) {
        pthread_join(thread, NULL);
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->done);
        free(c);
        return true;
    }
    pthread_detach(thread);
    wr_warn("bus.close", "a bus socket did not close within %d ms and was abandoned",
            (int)(patience / 1000));
    pthread_mutex_lock(&abandoned_lock);
    c->next = abandoned;
    abandoned = c;
    pthread_mutex_unlock(&abandoned_lock);
    return false;
}

wr_err bus_nng__dial(nng_socket s, struct bus_nng_dialer *d, const char *url)
{
    snprintf(d->url, sizeof d->url, "%s", url);
    d->since_us = wr_mono_us();
    int rv = nng_dial(s, url, &d->dialer, NNG_FLAG_NONBLOCK);
    d->dialled = rv == 0;
    if (rv != 0)
        wr_error("bus.dial", "%s: %s", url, nng_strerror(rv));
    return bus_nng__err(rv);
}

void bus_nng__dialer_tick(nng_socket s, struct bus_nng_dialer *d, int64_t now_us)
{
    if (d->pipes || now_us - d->since_us < REDIAL_US)
        return;
    if (d->dialled)
        nng_dialer_close(d->dialer);
    char url[BUS_URL_BYTES];
    memcpy(url, d->url, sizeof url);
    (void)!bus_nng__dial(s, d, url);
}

bool bus_nng__dialer_retire(struct bus_nng_dialer *d)
{
    if (d->pipes)
        return false;
    if (d->dialled)
        nng_dialer_close(d->dialer);
    return true;
}

void bus_nng__dialer_pipe(struct bus_nng_dialer *d, nng_pipe_ev ev)
{
    if (ev == NNG_PIPE_EV_ADD_POST) {
        d->pipes++;
    } else if (d->pipes) {
        d->pipes--;
        d->since_us = wr_mono_us();
    }
}
