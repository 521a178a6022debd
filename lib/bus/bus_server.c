/* SPDX-License-Identifier: MIT
 *
 * The serving side that both transports share: hands calls to the handler, answers Node/Describe itself, sends answers. */
#include "bus_priv.h"

#include "wr_metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

WR_COUNTER(calls_served, "watchroom_bus_calls_served_total", NULL,
           "Calls handed to this process's services");
WR_COUNTER(calls_late, "watchroom_bus_calls_late_total", NULL,
           "Calls dropped because their deadline passed while they waited");

void bus__serve_call(struct bus_call *c)
{
    wr_count(&calls_served, 1);
    if (wr_mono_us() > c->pub.deadline_us) {
        wr_count(&calls_late, 1);
        c->reply(c, WR_ERR_TIMEOUT, "the call's deadline passed while it was queued", NULL);
        return;
    }
    if (wr_slice_is(c->pub.method, BUS_DESCRIBE_METHOD)) {
        c->reply(c, WR_OK, NULL, bus__describe(c->server->bus));
        return;
    }
    atomic_fetch_add(&c->server->owed, 1);
    atomic_fetch_add(&c->server->bus->in_flight, 1);
    c->server->handler(c->server->ctx, &c->pub);
}

static void answer(struct wr_call *call, wr_err code, const char *text, struct wr_msg *body)
{
    struct bus_call *c = WR_CONTAINER_OF(call, struct bus_call, pub);
    struct wr_bus_server *s = c->server;
    if (body && body->len > WR_BUS_MAX_MSG_BYTES - BUS_ENVELOPE_MAX) {
        wr_msg_unref(body);
        body = NULL;
        code = WR_ERR_TOO_BIG;
        text = "the answer is larger than the bus carries";
    }
    atomic_fetch_sub(&s->bus->in_flight, 1);
    c->reply(c, code, text, body);
    atomic_fetch_sub(&s->owed, 1);
}

void wr_call_answer(struct wr_call *call, struct wr_msg *body)
{
    answer(call, WR_OK, NULL, body);
}

void wr_call_fail(struct wr_call *call, wr_err code, const char *fmt, ...)
{
    char text[512] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    answer(call, code, text, NULL);
}

wr_err wr_bus_serve(struct wr_bus *bus, const char *url, wr_bus_handler_fn handler, void *ctx,
                    struct wr_bus_server **out, struct wr_errmsg *err)
{
    enum bus_scheme scheme = bus__scheme_or_say(url, err);
    if (scheme == BUS_SCHEME_BAD)
        return WR_ERR_INVALID;
    struct wr_bus_server *s = calloc(1, sizeof *s);
    if (!s)
        return WR_ERR_BUSY;
    s->bus = bus;
    s->handler = handler;
    s->ctx = ctx;
    s->ops = scheme == BUS_SCHEME_INPROC ? &bus_local_server_ops : &bus_nng_server_ops;
    snprintf(s->url, sizeof s->url, "%s", url);
    wr_err e = s->ops->listen(s, err);
    if (e != WR_OK) {
        free(s);
        return e;
    }
    bus__join_servers(bus, s);
    *out = s;
    return WR_OK;
}

const char *wr_bus_server_url(const struct wr_bus_server *s)
{
    return s->url;
}

void wr_bus_server_close(struct wr_bus_server **sp)
{
    struct wr_bus_server *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    bus__leave_servers(s->bus, s);
    s->ops->stop(s);
    /* Answers that are still owed hold the server. A service that never answers is a bug of its own: leave its memory. */
    for (int i = 0; atomic_load(&s->owed) && i < 500; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    if (atomic_load(&s->owed)) {
        wr_error("bus.server_close", "%s: %d calls were never answered", s->url,
                 atomic_load(&s->owed));
        return;
    }
    s->ops->free(s);
    free(s);
}
