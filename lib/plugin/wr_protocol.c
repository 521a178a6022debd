/* SPDX-License-Identifier: MIT
 *
 * Reading a protocol's tables: endpoints and variants. */
#include "wr_config.h"
#include "wr_protocol.h"

static const char *const transports[] = {
    [WR_PROTOCOL_END] = "none",
    [WR_PROTOCOL_WEBSOCKET] = "WebSocket",
    [WR_PROTOCOL_HTTP_STREAM] = "HTTP stream",
    [WR_PROTOCOL_SSE] = "server-sent events",
    [WR_PROTOCOL_TCP] = "TCP",
};

uint32_t wr_protocol_num_variants(const struct wr_protocol_plugin *p)
{
    uint32_t n = 0;
    while (p->variants && p->variants[n].name)
        n++;
    return n ? n : 1;
}

bool wr_protocol_is_binary(const struct wr_protocol_plugin *p, uint32_t variant)
{
    return p->variants && variant < wr_protocol_num_variants(p) && p->variants[variant].binary;
}

static const char *wrong_endpoint(const struct wr_protocol_endpoint *e)
{
    return (unsigned)e->transport >= WR_ARRAY_LEN(transports)   ? "of an unknown transport"
           : !e->at || !*e->at                                  ? "without a place"
           : e->transport == WR_PROTOCOL_TCP && !e->split       ? "without split"
           : e->transport != WR_PROTOCOL_TCP && e->at[0] != '/' ? "whose path begins without '/'"
                                                                : NULL;
}

wr_err wr_protocol_check(const struct wr_protocol_plugin *p, struct wr_errmsg *why)
{
    const struct wr_protocol_endpoint *e = p->endpoints;
    for (; e->transport != WR_PROTOCOL_END; e++) {
        const char *wrong = wrong_endpoint(e);
        if (wrong) {
            wr_errmsg_set(why, "the protocol plugin %s has an endpoint %s", p->base.name, wrong);
            return WR_ERR_INVALID;
        }
    }
    if (e == p->endpoints) {
        wr_errmsg_set(why, "the protocol plugin %s has no endpoint", p->base.name);
        return WR_ERR_INVALID;
    }
    if (wr_protocol_num_variants(p) > WR_PROTOCOL_VARIANTS) {
        wr_errmsg_set(why, "the protocol plugin %s has more than %u variants", p->base.name,
                      WR_PROTOCOL_VARIANTS);
        return WR_ERR_INVALID;
    }
    return WR_OK;
}

static bool has_port(const char *ports, const char *wanted)
{
    char name[64], address[80];
    while (wr_config_next_port(&ports, name, address))
        if (strcmp(name, wanted) == 0)
            return true;
    return false;
}

wr_err wr_protocol_served(const struct wr_protocol_plugin *p, const char *ports,
                          struct wr_errmsg *why)
{
    for (const struct wr_protocol_endpoint *e = p->endpoints; e->transport; e++) {
        if (e->transport == WR_PROTOCOL_WEBSOCKET ||
            (e->transport == WR_PROTOCOL_TCP && has_port(ports, e->at)))
            continue;
        if (e->transport == WR_PROTOCOL_TCP) {
            wr_errmsg_set(why,
                          "the protocol %s wants a port: name its address in gateway.ports, like "
                          "%s=127.0.0.1:9000",
                          p->base.name, e->at);
            return WR_ERR_UNAVAILABLE;
        }
        wr_errmsg_set(why,
                      "the protocol %s wants %s at %s, which this version does not serve: take it "
                      "out of the list",
                      p->base.name, transports[e->transport], e->at);
        return WR_ERR_UNAVAILABLE;
    }
    return WR_OK;
}

static bool wants_port(const struct wr_protocol_plugin *p, const char *name)
{
    for (const struct wr_protocol_endpoint *e = p->endpoints; e->transport; e++)
        if (e->transport == WR_PROTOCOL_TCP && strcmp(e->at, name) == 0)
            return true;
    return false;
}

wr_err wr_protocol_ports_used(const char *ports, const struct wr_protocol_plugin *const *p,
                              size_t n, struct wr_errmsg *why)
{
    char name[64], address[80];
    while (wr_config_next_port(&ports, name, address)) {
        size_t i = 0;
        while (i < n && !wants_port(p[i], name))
            i++;
        if (i == n) {
            wr_errmsg_set(
                why,
                "no protocol of gateway.protocols has an endpoint named %s: take the port "
                "out, or add the protocol that it is for",
                name);
            return WR_ERR_INVALID;
        }
    }
    return WR_OK;
}
