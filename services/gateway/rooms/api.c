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

/* ---- rooms: each hub tells of its own ---- */

struct room_lists {
    size_t n, nrows;
    char (*addresses)[256];
    Watchroom__V1__RoomsResponse **lists;
    const Watchroom__V1__RoomInfo **rows;
    const struct wr_config *config;
};

static size_t num_lists(const struct room_lists *l)
{
    return WR_MAX(l->n, (size_t)1);
}

static void add_hub(void *ctx, const struct wr_instance *i)
{
    struct room_lists *l = ctx;
    if (i->state != WR_INSTANCE_UP)
        return;
    void *more = realloc(l->addresses, (l->n + 1) * sizeof *l->addresses);
    if (!more)
        return;
    l->addresses = more;
    (void)snprintf(l->addresses[l->n++], sizeof *l->addresses, "%s", i->address);
}

static bool is_at(const struct room_lists *l, const char *room, size_t hub)
{
    struct wr_slice key = wr_slice_str(room);
    uint64_t score = wr_bus_route_score(key, l->addresses[hub]);
    for (size_t i = 0; i < l->n; i++) {
        uint64_t other = wr_bus_route_score(key, l->addresses[i]);
        if (other > score || (other == score && i < hub))
            return false;
    }
    return true;
}

/* Asks one hub, or (none is up) whoever comes first. NULL with what is wrong. */
static Watchroom__V1__RoomsResponse *ask_hub(struct wr_api *api, const char *address, wr_err *e,
                                             struct wr_errmsg *err)
{
    static const char method[] = "watchroom.v1.Hub/Rooms";
    struct wr_bus_service *hub = api->env.hub;
    struct wr_msg *msg = NULL;
    struct wr_slice body;
    *e = address ? wr_bus_call_wait_at(hub, address, method, NULL, CALL_MS, &msg, &body, err)
                 : wr_bus_call_wait(hub, NULL, method, NULL, CALL_MS, &msg, &body, err);
    if (*e != WR_OK)
        return NULL;
    Watchroom__V1__RoomsResponse *r = watchroom__v1__rooms_response__unpack(NULL, body.n, body.p);
    wr_msg_unref(msg);
    if (!r) {
        *e = WR_ERR_INTERNAL;
        wr_errmsg_set(err, "it gave a malformed answer");
    }
    return r;
}

/* One that does not answer (it may be dying) leaves its rooms out; false when none did, and the client was told. */
static bool ask_hubs(struct wr_api *api, struct wr_http_req *req, struct room_lists *l)
{
    struct wr_errmsg err = {{0}};
    wr_err e = WR_ERR_BUSY;
    size_t answered = 0;
    l->lists = calloc(l->n + 1, sizeof(Watchroom__V1__RoomsResponse *));
    for (size_t i = 0; l->lists && i < num_lists(l); i++) {
        l->lists[i] = ask_hub(api, l->n ? l->addresses[i] : NULL, &e, &err);
        answered += l->lists[i] != NULL;
    }
    if (!answered)
        wr_http_error(req, wr_err_http(e), "the hub does not answer: %s",
                      err.text[0] ? err.text : wr_err_text(e));
    return answered != 0;
}

static size_t place(const struct wr_config *c, const char *room)
{
    for (size_t k = 0; k < c->num_rooms; k++)
        if (strcmp(c->rooms[k].name, room) == 0)
            return k;
    return SIZE_MAX;
}

/* As one hub orders its own: configured ones as they were written, then by members, then by the newest entry. */
static int by_interest(const void *pa, const void *pb, void *ctx)
{
    const struct wr_config *c = ctx;
    const Watchroom__V1__RoomInfo *a = *(const Watchroom__V1__RoomInfo *const *)pa,
                                  *b = *(const Watchroom__V1__RoomInfo *const *)pb;
    size_t place_a = place(c, a->room), place_b = place(c, b->room);
    if (place_a != place_b)
        return place_a < place_b ? -1 : 1;
    if (a->num_clients != b->num_clients)
        return a->num_clients > b->num_clients ? -1 : 1;
    if (a->last_time_ms != b->last_time_ms)
        return a->last_time_ms > b->last_time_ms ? -1 : 1;
    return strcmp(a->room, b->room);
}

/* Of what several hubs know of one room, what its own says: another may have a log of it from when it was there. */
static bool merge(struct room_lists *l)
{
    size_t n = 0, hubs = num_lists(l);
    for (size_t i = 0; i < hubs; i++)
        n += l->lists[i] ? l->lists[i]->n_rooms : 0;
    l->rows = calloc(n + 1, sizeof(Watchroom__V1__RoomInfo *));
    for (size_t i = 0; l->rows && i < hubs; i++)
        for (size_t k = 0; l->lists[i] && k < l->lists[i]->n_rooms; k++)
            if (hubs == 1 || is_at(l, l->lists[i]->rooms[k]->room, i))
                l->rows[l->nrows++] = l->lists[i]->rooms[k];
    if (l->rows && hubs > 1)
        qsort_r(l->rows, l->nrows, sizeof(Watchroom__V1__RoomInfo *), by_interest,
                (void *)(uintptr_t)l->config);
    return l->rows != NULL;
}

static void rooms_json(struct wr_buf *b, const struct room_lists *l)
{
    const struct wr_config *c = l->config;
    wr_buf_str(b, "{\"rooms\":[");
    for (size_t i = 0; l->rows && i < l->nrows; i++) {
        const Watchroom__V1__RoomInfo *r = l->rows[i];
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): protobuf-c's lists have no holes */
        const struct wr_config_room *cfg = configured(c, r->room);
        room_json(b, r->room, r, r->stream && r->stream[0] ? r->stream : cfg ? cfg->stream : "");
    }
    for (size_t k = 0; k < c->num_rooms; k++) {
        bool known = false;
        for (size_t i = 0; l->rows && i < l->nrows && !known; i++)
            known = strcmp(l->rows[i]->room, c->rooms[k].name) == 0;
        if (!known)
            room_json(b, c->rooms[k].name, NULL, c->rooms[k].stream);
    }
    wr_buf_str(b, "]}\n");
}

static void handle_rooms(void *ctx, struct wr_http_req *req)
{
    struct wr_api *api = ctx;
    if (!admits(api, req, WR_VERB_SEE))
        return;
    struct room_lists l = {.config = api->env.config};
    struct wr_buf b = {0};
    wr_bus_service_each(api->env.hub, add_hub, &l);
    if (ask_hubs(api, req, &l)) {
        if (merge(&l))
            rooms_json(&b, &l);
        else
            b.failed = true;
        reply_json(req, &b);
    }
    for (size_t i = 0; l.lists && i < num_lists(&l); i++)
        if (l.lists[i])
            watchroom__v1__rooms_response__free_unpacked(l.lists[i], NULL);
    free(l.rows);
    free(l.lists);
    free(l.addresses);
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

static void look_if_unwell(void *ctx, const struct wr_instance *i)
{
    bool *unwell = ctx;
    Watchroom__V1__NodeInfo *info = i->state == WR_INSTANCE_UP && i->info
                                        ? watchroom__v1__node_info__unpack(NULL, i->info->len,
                                                                           i->info->data)
                                        : NULL;
    *unwell |= info && *info->reason;
    if (info)
        watchroom__v1__node_info__free_unpacked(info, NULL);
}

/* Does one of its instances say that it is not well? What is wrong is the operator's to know, not everybody's who asks. */
static bool is_unwell(struct wr_bus_service *s)
{
    bool unwell = false;
    wr_bus_service_each(s, look_if_unwell, &unwell);
    return unwell;
}

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
    } all[] = {{api->env.hub, "hub", api->env.config->bus.hub},
               {api->env.ingest, "ingest", api->env.config->bus.ingest},
               {api->env.filestore, "filestore", api->env.config->bus.filestore}};
    if (draining)
        wr_buf_str(&b, "shutting down\n");
    for (size_t i = 0; i < WR_ARRAY_LEN(all); i++) {
        if (!wr_bus_service_is_up(all[i].s))
            wr_buf_fmt(&b, "%s%s: no instance answers at %s\n",
                       i == 0 ? "" : "degraded: ", all[i].name, all[i].address);
        else if (is_unwell(all[i].s))
            wr_buf_fmt(&b,
                       "degraded: %s: it is not well; its log and `watchroom health %s` say why\n",
                       all[i].name, all[i].name);
    }
    if (!b.n)
        wr_buf_str(&b, "ok\n");
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
