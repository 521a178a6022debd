/* SPDX-License-Identifier: MIT
 *
 * The doors of protocols that are no HTTP: ports of their own (gateway.ports), on which the plane accepts and the protocol's
 * `split` finds messages. Who comes is asked about as at the door of HTTP; then he is a client like every other. */
#include "rooms_priv.h"
#include "wr_config.h"
#include "wr_http.h"
#include "wr_log.h"

static bool on_accept(void *ctx, const struct wr_addr *peer, struct wr_conn_opts *conn)
{
    return clients__accept(ctx, peer, conn);
}

static bool is_exempt(void *ctx, const struct wr_addr *peer)
{
    const struct rooms__door *d = ctx;
    return wr_http_is_proxy(d->protocol->rooms->env->http, peer);
}

static wr_err listen_at(struct rooms__door *d, const char *address, struct wr_errmsg *err)
{
    const struct wr_gateway_env *env = d->protocol->rooms->env;
    const struct wr_listen_opts o = {.address = address,
                                     .accept = on_accept,
                                     .ctx = d,
                                     .per_address = wr_http_per_address(env->http),
                                     .is_exempt = is_exempt};
    struct wr_errmsg why = {{0}};
    wr_err e = wr_plane_listen(env->plane, &o, &d->listener, &why);
    if (e != WR_OK)
        wr_errmsg_set(err, "gateway.ports: %s: %.200s; choose another address", d->endpoint->at,
                      why.text);
    else
        wr_info("gateway.port", "protocol=%s name=%s listen=%s", d->protocol->plugin->base.name,
                d->endpoint->at, wr_listener_address(d->listener));
    return e;
}

static bool port_of(const struct rooms__door *d, char address[80])
{
    const char *ports = d->protocol->rooms->env->config->gateway.ports;
    char name[64];
    while (d->endpoint->transport == WR_PROTOCOL_TCP && wr_config_next_port(&ports, name, address))
        if (strcmp(name, d->endpoint->at) == 0)
            return true;
    return false;
}

wr_err wr_rooms_listen(struct wr_rooms *rs, struct wr_errmsg *err)
{
    wr_err e = WR_OK;
    char address[80];
    for (struct rooms__door *d = rs->doors; d && e == WR_OK; d = d->next)
        if (port_of(d, address))
            e = listen_at(d, address, err);
    return e;
}
