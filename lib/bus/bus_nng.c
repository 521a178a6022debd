/* SPDX-License-Identifier: MIT
 *
 * What every NNG socket of ours needs: listening, dialling, and messages in both directions. See bus_nng.h for the traps
 * that are stepped around here. */
#include "bus_nng.h"

#include <stdio.h>

enum { REDIAL_US = 3000000, SILENT_US = 15000000 };

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

void bus_nng__probed(struct bus_nng_sock *s, bool alive, char *url, nng_listener *l)
{
    struct wr_errmsg err = {""};
    if (alive) {
        bus_nng__expect_removal(s);
        return;
    }
    nng_listener_close(*l);
    if (bus_nng__listen(s->id, url, l, &err) != WR_OK)
        wr_error("bus.relisten", "%s", err.text);
}

wr_err bus_nng__dial(struct bus_nng_sock *s, struct bus_nng_dialer *d, const char *url)
{
    snprintf(d->url, sizeof d->url, "%s", url);
    d->since_us = wr_mono_us();
    int rv = nng_dial(s->id, url, &d->dialer, NNG_FLAG_NONBLOCK);
    d->dialled = rv == 0;
    if (rv != 0)
        wr_error("bus.dial", "%s: %s", url, nng_strerror(rv));
    return bus_nng__err(rv);
}

static bool is_connected(struct bus_nng_sock *s, const struct bus_nng_dialer *d)
{
    return d->dialled && bus_nng__connected(s, d->dialer, NULL);
}

void bus_nng__dialer_tick(struct bus_nng_sock *s, struct bus_nng_dialer *d, int64_t now_us)
{
    if (is_connected(s, d))
        d->since_us = now_us;
    if (now_us - d->since_us < REDIAL_US)
        return;
    if (d->dialled)
        nng_dialer_close(d->dialer);
    char url[BUS_URL_BYTES];
    memcpy(url, d->url, sizeof url);
    (void)!bus_nng__dial(s, d, url);
}

void bus_nng__dialer_silent(struct bus_nng_sock *s, struct bus_nng_dialer *d, int64_t heard_us,
                            int64_t now_us)
{
    nng_pipe pipe;
    if (!d->dialled || !bus_nng__connected(s, d->dialer, &pipe)) {
        d->pipe = -1;
        return;
    }
    if (nng_pipe_id(pipe) != d->pipe) {
        d->pipe = nng_pipe_id(pipe);
        d->pipe_us = now_us;
        d->cut = false;
    }
    if (d->cut) {
        if (bus_nng__awake_us() - d->cut_us > BUS_NNG_STUCK_US)
            bus_nng__fail();
    } else if (now_us - WR_MAX(heard_us, d->pipe_us) > SILENT_US && bus_nng__cut(&pipe, 1)) {
        d->cut = true;
        d->cut_us = bus_nng__awake_us();
    }
}

bool bus_nng__dialer_retire(struct bus_nng_sock *s, struct bus_nng_dialer *d)
{
    if (is_connected(s, d))
        return false;
    if (d->dialled)
        nng_dialer_close(d->dialer);
    return true;
}
