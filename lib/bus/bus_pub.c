/* SPDX-License-Identifier: MIT
 *
 * Pub sockets, both transports. */
#include "bus_priv.h"

#include "wr_metrics.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(published, "watchroom_bus_events_published_total", NULL, "Events handed to pub sockets");
WR_COUNTER(refused, "watchroom_bus_events_refused_total", NULL,
           "Events larger than the bus carries, dropped");

wr_err wr_bus_pub_open(struct wr_bus *bus, const char *url, bool lane, struct wr_bus_pub **out,
                       struct wr_errmsg *err)
{
    enum bus_scheme scheme = bus__scheme_or_say(url, err);
    if (scheme == BUS_SCHEME_BAD)
        return WR_ERR_INVALID;
    struct wr_bus_pub *p = calloc(1, sizeof *p);
    if (!p)
        return WR_ERR_BUSY;
    p->bus = bus;
    p->lane = lane;
    p->ops = scheme == BUS_SCHEME_INPROC ? &bus_local_pub_ops : &bus_nng_pub_ops;
    snprintf(p->url, sizeof p->url, "%s", url);
    wr_err e = p->ops->open(p, err);
    if (e != WR_OK) {
        free(p);
        return e;
    }
    bus__join_pubs(bus, p);
    *out = p;
    return WR_OK;
}

const char *wr_bus_pub_url(const struct wr_bus_pub *p)
{
    return p->url;
}

void wr_bus_publish(struct wr_bus_pub *p, const char *topic, struct wr_msg *event)
{
    if (event->len > WR_BUS_MAX_MSG_BYTES - BUS_ENVELOPE_MAX) {
        wr_count(&refused, 1);
        wr_msg_unref(event);
        return;
    }
    wr_count(&published, 1);
    p->ops->publish(p, topic, event);
}

void wr_bus_pub_close(struct wr_bus_pub **pp)
{
    struct wr_bus_pub *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    bus__leave_pubs(p->bus, p);
    p->ops->close(p);
    free(p);
}
