/* SPDX-License-Identifier: MIT
 *
 * /api/v1/ and the addresses for operators. The handlers run on HTTP workers and may wait for a bus call. */
#include "wr_api.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_json.h"
#include "wr_metrics.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <watchroom/v1/hub.pb-c.h>
#include <watchroom/v1/node.pb-c.h>

#define CALL_MS 2000u

static void reply_json(struct wr_http_req *req, struct wr_buf *b)
{
    if (b->failed)
        wr_http_error(req, 503, "the server is out of memory");
    else
        wr_http_reply(req, 200, "application/json; charset=utf-8", "Cache-Control: no-store\r\n",
                      wr_slice_of(b->p, b->n));
    wr_buf_free(b);
}

/* Asks a service; false: the client was told what is wrong. *msg keeps *body. */
static bool ask(struct wr_http_req *req, struct wr_bus_service *s, const char *name,
                const char *method, struct wr_msg **msg, struct wr_slice *body)
{
    struct wr_errmsg err = {{0}};
    wr_err e = wr_bus_call_wait(s, NULL, method, NULL, CALL_MS, msg, body, &err);
    if (e != WR_OK)
        wr_http_error(req, wr_err_http(e), "the %s does not answer: %s", name,
                      err.text[0] ? err.text : wr_err_text(e));
    return e == WR_OK;
}

static const struct wr_config_room *configured(const struct wr_config *c, const char *name)
{
    return wr_config_room_named(c, wr_slice_str(name));
}

static void room_json(struct wr_buf *b, const char *name, const Watchroom__V1__RoomInfo *i,
                      const char *stream)
{
    wr_buf_str(b, b->n && b->p[b->n - 1] == '}' ? ",{\"room\":" : "{\"room\":");
    wr_json_put_str(b, name);
    wr_buf_fmt(b, ",\"members\":%u,\"offset\":%llu,\"epoch\":", i ? i->num_clients : 0,
               (unsigned long long)(i ? i->offset : 0));
    wr_json_put_str(b, i ? i->epoch : "");
    wr_buf_str(b, ",\"stream\":");
    wr_json_put_str(b, stream);
    wr_buf_fmt(b, ",\"last_time\":%lld}", (long long)(i ? i->last_time_ms : 0));
}

/* The server apart from the clients (gateway.health) is for operators: who reaches it is not asked who he is. */
static bool admits(struct wr_api *api, struct wr_http_req *req, enum wr_verb verb)
{
    return req->http != api->env.http ||
           wr_access_admits(api->env.access, req, verb, wr_the_server());
}

static void handle_rooms(void *ctx, struct wr_http_req *req)
{
    struct wr_api *api = ctx;
    if (!admits(api, req, WR_VERB_SEE))
        return;
    const struct wr_config *c = api->env.config;
    struct wr_msg *msg = NULL;
    struct wr_slice body;
    struct wr_buf b = {0};
    if (!ask(req, api->env.hub, "hub", "watchroom.v1.Hub/Rooms", &msg, &body))
        return;
    Watchroom__V1__RoomsResponse *r = watchroom__v1__rooms_response__unpack(NULL, body.n, body.p);
    wr_msg_unref(msg);
    if (!r) {
        wr_http_error(req, 502, "the hub gave a malformed answer");
        return;
    }
    wr_buf_str(&b, "{\"rooms\":[");
    for (size_t i = 0; i < r->n_rooms; i++) {
        const struct wr_config_room *cfg = configured(c, r->rooms[i]->room);
        const char *stream = r->rooms[i]->stream && r->rooms[i]->stream[0] ? r->rooms[i]->stream
                             : cfg                                         ? cfg->stream
                                                                           : "";
        room_json(&b, r->rooms[i]->room, r->rooms[i], stream);
    }
    for (size_t k = 0; k < c->num_rooms; k++) {
        bool known = false;
        for (size_t i = 0; i < r->n_rooms && !known; i++)
            known = strcmp(r->rooms[i]->room, c->rooms[k].name) == 0;
        if (!known)
            room_json(&b, c->rooms[k].name, NULL, c->rooms[k].stream);
    }
    wr_buf_str(&b, "]}\n");
    watchroom__v1__rooms_response__free_unpacked(r, NULL);
    reply_json(req, &b);
}

/* ---- services ---- */

static void service_json(struct wr_buf *b, const char *service, const char *instance,
                         const char *address, bool is_up, const char *version, uint64_t uptime_ms,
                         double load, const char *const *plugins, size_t nplugins)
{
    wr_buf_str(b, b->p[b->n - 1] == '}' ? ",{\"service\":" : "{\"service\":");
    wr_json_put_str(b, service);
    wr_buf_str(b, ",\"instance\":");
    wr_json_put_str(b, instance);
    wr_buf_str(b, ",\"address\":");
    wr_json_put_str(b, address);
    wr_buf_fmt(b, ",\"state\":\"%s\",\"version\":", is_up ? "up" : "down");
    wr_json_put_str(b, version);
    wr_buf_fmt(b, ",\"uptime_s\":%llu,\"load\":%.2f,\"plugins\":[",
               (unsigned long long)(uptime_ms / 1000), load);
    for (size_t i = 0; i < nplugins; i++) {
        if (i)
            wr_buf_char(b, ',');
        wr_json_put_str(b, plugins[i]);
    }
    wr_buf_str(b, "]}");
}

static void add_instance(void *ctx, const struct wr_instance *i)
{
    struct wr_buf *b = ctx;
    bool is_up = i->state == WR_INSTANCE_UP;
    Watchroom__V1__NodeInfo *n =
        i->info ? watchroom__v1__node_info__unpack(NULL, i->info->len, i->info->data) : NULL;
    char redacted[300];
    wr_url_redact(i->address, redacted, sizeof redacted);
    if (n)
        service_json(b, i->service, n->instance, redacted, is_up, n->version, n->uptime_ms, n->load,
                     (const char *const *)n->plugins, n->n_plugins);
    else
        service_json(b, i->service, "", redacted, is_up, "", 0, 0, NULL, 0);
    if (n)
        watchroom__v1__node_info__free_unpacked(n, NULL);
}

/* Share of one core that this process used since it started: the bus tells the last second's of the others. */
static double own_load(const struct wr_api *api)
{
    struct rusage u;
    int64_t up = wr_mono_us() - api->started_us;
    if (getrusage(RUSAGE_SELF, &u) != 0 || up <= 0)
        return 0;
    return (double)((u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
                    u.ru_stime.tv_usec) /
           (double)up;
}

static void handle_services(void *ctx, struct wr_http_req *req)
{
    struct wr_api *api = ctx;
    struct wr_buf b = {0};
    if (!admits(api, req, WR_VERB_ADMIN))
        return;
    const char **plugins = wr_plugins_names(
        api->env.plugins, 1u << WR_KIND_PROTOCOL | 1u << WR_KIND_MUXER | 1u << WR_KIND_AUTH);
    size_t n = 0;
    while (plugins && plugins[n])
        n++;
    wr_buf_str(&b, "{\"services\":[");
    service_json(&b, "gateway", wr_bus_instance(api->env.bus), wr_http_address(api->env.http), true,
                 WR_VERSION, (uint64_t)(wr_mono_us() - api->started_us) / 1000, own_load(api),
                 plugins, n);
    free(plugins);
    wr_bus_service_each(api->env.hub, add_instance, &b);
    wr_bus_service_each(api->env.ingest, add_instance, &b);
    wr_bus_service_each(api->env.filestore, add_instance, &b);
    wr_buf_str(&b, "]}\n");
    reply_json(req, &b);
}

/* ---- operators ---- */

/* A gateway without a hub can do nothing for a client; one without ingest or filestore still carries the talk, so a
 * load balancer must not take it out: those are only told. Anybody may ask: a balancer has no name. */
static void handle_health(void *ctx, struct wr_http_req *req)
{
    struct wr_api *api = ctx;
    struct wr_buf b = {0};
    bool hub = wr_bus_service_is_up(api->env.hub), draining = atomic_load(&api->draining);
    const struct {
        struct wr_bus_service *s;
        const char *name, *address;
    } others[] = {{api->env.ingest, "ingest", api->env.config->bus.ingest},
                  {api->env.filestore, "filestore", api->env.config->bus.filestore}};
    if (hub && !draining)
        wr_buf_str(&b, "ok\n");
    if (draining)
        wr_buf_str(&b, "shutting down\n");
    if (!hub)
        wr_buf_fmt(&b, "hub: no instance answers at %s\n", api->env.config->bus.hub);
    for (size_t i = 0; i < WR_ARRAY_LEN(others); i++)
        if (!wr_bus_service_is_up(others[i].s))
            wr_buf_fmt(&b, "degraded: %s: no instance answers at %s\n", others[i].name,
                       others[i].address);
    wr_http_reply(req, hub && !draining ? 200 : 503, "text/plain; charset=utf-8",
                  "Cache-Control: no-store\r\n", wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
}

static void handle_metrics(void *ctx, struct wr_http_req *req)
{
    struct wr_api *api = ctx;
    struct wr_buf b = {0};
    if (!admits(api, req, WR_VERB_ADMIN))
        return;
    wr_metrics_write(&b);
    wr_http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8",
                  "Cache-Control: no-store\r\n", wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
}

wr_err wr_api_routes(struct wr_api *api, struct wr_http *health)
{
    const struct wr_http_route routes[] = {
        {.path = "/api/v1/rooms", .methods = WR_GET, .handler = handle_rooms, .ctx = api},
        {.path = "/api/v1/services", .methods = WR_GET, .handler = handle_services, .ctx = api},
        {.path = "/healthz", .methods = WR_GET, .handler = handle_health, .ctx = api},
        {.path = "/metrics", .methods = WR_GET, .handler = handle_metrics, .ctx = api},
    };
    api->started_us = wr_mono_us();
    wr_err e = WR_OK;
    for (size_t i = 0; e == WR_OK && i < WR_ARRAY_LEN(routes); i++) {
        e = wr_http_add(api->env.http, &routes[i]);
        if (e == WR_OK && health)
            e = wr_http_add(health, &routes[i]);
    }
    return e;
}
