/* SPDX-License-Identifier: MIT
 *
 * The service `gateway`: builds its parts, runs them, takes them down. What the parts do is told where they are:
 * access/ (who somebody is, what he may do), http/ (listening, routes, page files, hand-over), plane/ (every long-lived socket),
 * rooms/ (clients, protocols, order), live/ (viewers), files/ (uploads and downloads). */
#include "wr_api.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_pages.h"
#include "wr_rooms.h"
#include "wr_service.h"
#include "wr_thread.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#ifdef WR_HAS_LIVE
#include "live/wr_live.h"
#endif
#ifdef WR_HAS_FILES
#include "files/wr_files.h"
#endif

#define DRAIN_MS 3000u
#define HEALTH_CONNECTIONS 256u

struct gateway {
    struct wr_gateway_env env;
    struct wr_api api;
    struct wr_pages *pages;
    struct wr_http *health;
    struct wr_plane *health_plane;
    struct wr_rooms *rooms;
#ifdef WR_HAS_LIVE
    struct wr_live *live;
#endif
#ifdef WR_HAS_FILES
    struct wr_files *files;
#endif
    const char **plugins;
    bool is_drained;
};

/* Many thousand sockets need descriptors: take what the system allows. */
static void raise_descriptors(uint32_t want)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return;
    rlim_t need = (rlim_t)want + 1024;
    if (l.rlim_cur < need) {
        l.rlim_cur = l.rlim_max == RLIM_INFINITY || l.rlim_max > need ? need : l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_cur < need)
        wr_warn("gateway.limits",
                "descriptors=%llu below max_connections=%u: raise `ulimit -n` (or LimitNOFILE=) "
                "for more clients",
                (unsigned long long)l.rlim_cur, want);
}

static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0;
}

static wr_err start_bus(struct gateway *g, struct wr_errmsg *err)
{
    const struct wr_config *c = g->env.config;
    g->plugins = wr_plugins_names(g->env.plugins, 1u << WR_KIND_PROTOCOL | 1u << WR_KIND_MUXER |
                                                      1u << WR_KIND_AUTH);
    struct wr_bus_opts o = {.service = "gateway", .plugins = g->plugins};
    wr_err e = wr_bus_open(&o, &g->env.bus);
    if (e == WR_OK)
        e = wr_bus_service_open(g->env.bus, "hub", c->bus.hub, &g->env.hub, err);
    if (e == WR_OK)
        e = wr_bus_service_open(g->env.bus, "ingest", c->bus.ingest, &g->env.ingest, err);
    if (e == WR_OK)
        e = wr_bus_service_open(g->env.bus, "filestore", c->bus.filestore, &g->env.filestore, err);
    return e;
}

/* Everybody behind one address together: a quarter of all, unless it is said; a small number of all is nobody's to share. */
#define SHARE_MIN 1000u
static uint32_t share_of_address(const struct wr_config *c)
{
    return c->gateway.connections_per_address ? c->gateway.connections_per_address
                                              : WR_MAX(c->gateway.max_connections / 4, SHARE_MIN);
}

static wr_err start_http(struct gateway *g, struct wr_errmsg *err)
{
    const struct wr_config *c = g->env.config;
    wr_err e = wr_pages_open(c->gateway.web, &g->pages);
    if (e != WR_OK)
        return e;
    struct wr_http_opts o = {.listen = c->gateway.listen,
                             .threads = c->gateway.http_threads,
                             .trusted_proxies = c->gateway.trusted_proxies,
                             .per_address = share_of_address(c),
                             .origins = c->gateway.origins,
                             .hosts = c->gateway.hosts,
                             .plane = g->env.plane,
                             .fallback = wr_pages_serve,
                             .fallback_ctx = g->pages};
    e = wr_http_new(&o, &g->env.http, err);
    if (e != WR_OK || !c->gateway.health[0])
        return e;
    /* A plane of its own, with one thread: clients cannot starve it, whatever they do. */
    struct wr_plane_opts po = {
        .threads = 1, .max_connections = HEALTH_CONNECTIONS, .is_internal = true};
    e = wr_plane_open(&po, &g->health_plane);
    if (e != WR_OK)
        return e;
    struct wr_http_opts h = {.listen = c->gateway.health,
                             .key = "health",
                             .threads = 2,
                             .trusted_proxies = "",
                             .origins = c->gateway.origins,
                             .hosts = c->gateway.hosts,
                             .plane = g->health_plane};
    return wr_http_new(&h, &g->health, err);
}

static wr_err start_parts(struct gateway *g, struct wr_errmsg *err)
{
    g->api.env = g->env;
    wr_err e = wr_api_routes(&g->api, g->health);
    if (e == WR_OK)
        e = wr_rooms_start(&g->env, &g->rooms, err);
#ifdef WR_HAS_LIVE
    if (e == WR_OK)
        e = wr_live_start(&g->env, &g->live, err);
#endif
#ifdef WR_HAS_FILES
    if (e == WR_OK)
        e = wr_files_start(&g->env, &g->files, err);
#endif
    return e;
}

static void drain(void *state)
{
    struct gateway *g = state;
    if (g->is_drained || !g->env.plane)
        return;
    g->is_drained = true;
    atomic_store(&g->api.draining, true);
    wr_bus_drain(g->env.bus);
#ifdef WR_HAS_FILES
    if (g->files)
        wr_files_drain(g->files);
#endif
    wr_plane_drain(g->env.plane, "shutting down");
    if (!wr_plane_wait_empty(g->env.plane, DRAIN_MS))
        wr_info("gateway.drain", "left=%zu connections did not say goodbye in time",
                wr_plane_connections(g->env.plane));
}

static void *stop_health(void *arg)
{
    struct gateway *g = arg;
    if (g->health_plane)
        wr_plane_cut(g->health_plane);
    wr_http_stop(&g->health);
    return NULL;
}

/* civetweb needs up to 2 s to end a server: both at once. */
static void stop_http(struct gateway *g)
{
    pthread_t t;
    bool beside = wr_thread_start(&t, "health-stop", stop_health, g) == WR_OK;
    wr_http_stop(&g->env.http);
    if (beside)
        pthread_join(t, NULL);
    else
        (void)stop_health(g);
}

static void stop(void *state)
{
    struct gateway *g = state;
    /* No clients; then nobody who decides for them; then what they used; last what everything stands on. */
    if (g->env.plane)
        wr_plane_cut(g->env.plane);
    stop_http(g);
#ifdef WR_HAS_LIVE
    wr_live_stop(&g->live);
#endif
    wr_rooms_stop(&g->rooms);
    wr_bus_service_close(&g->env.filestore);
    wr_bus_service_close(&g->env.ingest);
    wr_bus_service_close(&g->env.hub);
    wr_bus_close(&g->env.bus);
    wr_plane_close(&g->env.plane);
    wr_plane_close(&g->health_plane);
#ifdef WR_HAS_FILES
    wr_files_stop(&g->files); /* the last read of a download comes back through bus and plane */
#endif
    wr_access_close(&g->env.access);
    wr_pages_close(&g->pages);
    free(g->plugins);
    g->plugins = NULL;
}

static wr_err start(void *state, const struct wr_service_env *env, struct wr_errmsg *err)
{
    struct gateway *g = state;
    const struct wr_config *c = env->config;
    g->env.config = c;
    g->env.plugins = env->plugins;
    raise_descriptors(c->gateway.max_connections);
    struct wr_plane_opts po = {.threads = c->gateway.plane_threads,
                               .max_connections = c->gateway.max_connections};
    wr_err e = wr_plane_open(&po, &g->env.plane);
    if (e != WR_OK)
        wr_errmsg_set(
            err,
            "the gateway could not start its threads: raise the limit of processes (ulimit -u)");
    if (e == WR_OK)
        e = start_bus(g, err);
    if (e == WR_OK)
        e = wr_access_open(c->gateway.auth, env->plugins, &g->env.access, err);
    if (e == WR_OK)
        e = start_http(g, err);
    if (e == WR_OK)
        e = start_parts(g, err);
    if (e == WR_OK && g->health)
        e = wr_http_start(g->health, err);
    if (e == WR_OK)
        e = wr_rooms_listen(g->rooms, err);
    if (e == WR_OK)
        e = wr_http_start(g->env.http, err);
    if (e != WR_OK) {
        stop(g);
        return e;
    }
    wr_info("gateway.start", "listen=http://%s/ health=%s page=%s auth=%s instance=%s",
            wr_http_address(g->env.http), g->health ? wr_http_address(g->health) : "none",
            wr_pages_folder(g->pages)[0] ? wr_pages_folder(g->pages) : "not-built",
            wr_access_policy(g->env.access), wr_bus_instance(g->env.bus));
    if (!is_loopback(c->gateway.listen) && strcmp(wr_access_policy(g->env.access), "open") == 0)
        wr_warn("gateway.open",
                "listen=%s: everybody who reaches this address may read and write in every room; "
                "this version has no tokens",
                c->gateway.listen);
    return WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_service_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_service_plugin, struct gateway, WR_KIND_SERVICE,
                                 "gateway", WR_VERSION,
                                 "HTTP, WebSocket, rooms for clients, live viewers, uploads"),
    .start = start,
    .drain = drain,
    .stop = stop,
};
