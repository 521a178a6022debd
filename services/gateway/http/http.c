/* SPDX-License-Identifier: MIT
 *
 * The engine: a civetweb context behind the plane (pool.c), whose begin_request callback decides everything, by our own
 * table of routes. So no file, script, authorization or WebSocket code of civetweb is ever reached, and it writes
 * nothing: what a handler decided goes to the client's connection. */
#include "ahead.h"
#include "http_priv.h"
#include "wr_buf.h"
#include "wr_log.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

WR_SHARED_COUNTER(http__m_requests, "watchroom_http_requests_total", NULL, "HTTP requests");
WR_SHARED_COUNTER(http__m_errors, "watchroom_http_errors_total", NULL,
                  "HTTP requests answered with an error");
WR_SHARED_COUNTER(http__m_upgrades, "watchroom_http_upgrades_total", NULL,
                  "WebSocket handshakes accepted");
WR_SHARED_COUNTER(http__m_bad_heads, "watchroom_http_bad_heads_total", NULL,
                  "Request heads refused before they became a request");
WR_SHARED_COUNTER(http__m_late_heads, "watchroom_http_late_heads_total", NULL,
                  "Connections closed because a head or its first byte did not come in time");
WR_SHARED_COUNTER(http__m_slow_readers, "watchroom_http_slow_readers_total", NULL,
                  "Connections closed because their answer was taken too slowly");
WR_SHARED_COUNTER(http__m_queue_full, "watchroom_http_queue_full_total", NULL,
                  "Requests answered 503 because no worker had time for them");
WR_SHARED_COUNTER(http__m_lost, "watchroom_http_lost_total", NULL,
                  "Requests whose head civetweb refused by itself");
WR_SHARED_COUNTER(http__m_foreign, "watchroom_http_foreign_total", NULL,
                  "Requests refused for their Origin or the name in their Host");
WR_SHARED_COUNTER(http__m_strangers, "watchroom_http_strangers_total", NULL,
                  "Requests on the internal port that were not the plane's");
WR_SHARED_GAUGE(http__g_busy, "watchroom_http_busy_workers", NULL,
                "HTTP workers that run a handler");
WR_SHARED_GAUGE(http__g_parked, "watchroom_http_parked_requests", NULL,
                "Requests that wait for a later answer, without a thread");
WR_SHARED_GAUGE(http__g_queued, "watchroom_http_queued_requests", NULL,
                "Requests that wait for an HTTP worker");

const struct wr_http_route *http__route_find(const struct wr_http *h, const char *path,
                                             const char **rest)
{
    const struct wr_http_route *best = NULL;
    size_t best_n = 0;
    *rest = "";
    for (size_t i = 0; i < h->num_routes; i++) {
        const struct wr_http_route *r = &h->routes[i];
        size_t n = strlen(r->path);
        if (!r->is_prefix && strcmp(r->path, path) == 0)
            return r;
        if (r->is_prefix && n > best_n && strncmp(r->path, path, n) == 0) {
            best = r;
            best_n = n;
        }
    }
    if (best)
        *rest = path + best_n;
    return best;
}

static void refuse_plain(struct wr_http_req *req)
{
    wr_http_error_with(
        req, 426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "%s speaks WebSocket: connect with a WebSocket client (ws://), not with plain HTTP",
        req->path);
}

static void dispatch(struct wr_http *h, struct wr_http_req *req)
{
    char allow[96], line[400];
    const struct wr_http_route *r = http__route_find(h, req->path, &req->rest);
    unsigned methods = r ? r->methods : WR_GET;
    wr_http_handler_fn handler = r ? r->handler : h->fallback;
    void *ctx = r ? r->ctx : h->fallback_ctx;
    if (!handler) {
        wr_http_error(req, 404, "there is nothing at %.200s", req->path);
        return;
    }
    if (methods & WR_GET)
        methods |= WR_HEAD;
    if (methods & req->method) {
        if (r && r->upgrade_only && !req->is_upgrade)
            refuse_plain(req);
        else
            handler(ctx, req);
        return;
    }
    http__allow(methods, allow);
    (void)snprintf(line, sizeof line, "Allow: %s\r\n", allow);
    if (req->cors[0] && req->method == WR_OPTIONS) /* a browser asks before it asks */
        (void)snprintf(line, sizeof line,
                       "Allow: %s\r\nAccess-Control-Allow-Methods: %s\r\nAccess-Control-Allow-"
                       "Headers: Authorization, Content-Type\r\nAccess-Control-Max-Age: 86400\r\n",
                       allow, allow);
    if (req->method == WR_OPTIONS)
        wr_http_reply(req, 204, NULL, line, (struct wr_slice){0});
    else
        wr_http_error_with(req, 405, line, "%.200s takes %s only", req->path, allow);
}

static int on_request(struct mg_connection *conn)
{
    struct wr_http *h = mg_get_request_info(conn)->user_data;
    struct http__slot *slot = NULL;
    struct http__ask *ask = http__pool_take(h, conn, &slot);
    if (!ask) { /* nobody of ours: closed without a word (on_http_error writes nothing) */
        wr_count(&http__m_strangers, 1);
        (void)mg_send_http_error(conn, 403, "%s", "");
        return 403;
    }
    struct wr_http_req req = {.method = 0};
    char why[300] = "";
    atomic_fetch_add(&h->busy, 1);
    wr_gauge_add(&http__g_busy, 1);
    int status = http__parse(h, conn, ask, &req, why, sizeof why);
    if (status) {
        req.close_after = true; /* who asks so has little to say that could be answered */
        wr_http_error_with(&req, status,
                           status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                         : NULL,
                           "%s", why);
    } else {
        dispatch(h, &req);
    }
    wr_gauge_add(&http__g_busy, -1);
    atomic_fetch_sub(&h->busy, 1);
    http__finish(&req, slot);
    return 200; /* nothing was written: civetweb reads the next head */
}

static int on_log(const struct mg_connection *conn, const char *message)
{
    const struct mg_request_info *ri = conn ? mg_get_request_info(conn) : NULL;
    struct wr_http *h = ri ? ri->user_data : NULL;
    if (h && !h->mg)
        (void)snprintf(h->log, sizeof h->log, "%s", message);
    else
        wr_debug("http.civetweb", "%s", message);
    return 1;
}

static int on_access(const struct mg_connection *conn, const char *message)
{
    (void)conn;
    (void)message;
    return 1;
}

/* What civetweb refuses by itself, or we in its name: it says nothing and closes; the plane answers the client. */
static int on_http_error(struct mg_connection *conn, int status, const char *message)
{
    (void)conn;
    wr_debug("http.civetweb", "status=%d %s", status, message ? message : "");
    return 0;
}

wr_err wr_http_new(const struct wr_http_opts *o, struct wr_http **out, struct wr_errmsg *err)
{
    *out = NULL;
    struct wr_http *h = calloc(1, sizeof *h);
    if (!h)
        return WR_ERR_BUSY;
    atomic_init(&h->refs, 1);
    h->key = o->key ? o->key : "listen";
    h->plane = o->plane;
    h->ahead = http__ahead_new(); /* without it, files are sent all the same */
    h->fallback = o->fallback;
    h->fallback_ctx = o->fallback_ctx;
    h->num_threads = o->threads ? o->threads : 16;
    h->patience_ms = o->patience_ms ? o->patience_ms : HTTP__PATIENCE_MS;
    h->per_address = o->per_address;
    wr_err e = WR_ERR_INVALID;
    if (strlen(o->listen) >= sizeof h->listen || !strchr(o->listen, ':') ||
        strspn(o->listen, "0123456789.:[]abcdefABCDEF") != strlen(o->listen)) {
        wr_errmsg_set(err,
                      "gateway.%s: \"%s\" is not ADDRESS:PORT; write for example 127.0.0.1:8000",
                      h->key, o->listen);
        goto out;
    }
    (void)snprintf(h->listen, sizeof h->listen, "%s", o->listen);
    h->is_loopback = strncmp(h->listen, "127.", 4) == 0 || strncmp(h->listen, "[::1]", 5) == 0;
    if (!http__blocks_parse(o->trusted_proxies ? o->trusted_proxies : "", h->proxies, HTTP__PROXIES,
                            &h->num_proxies)) {
        wr_errmsg_set(
            err,
            "gateway.trusted_proxies: \"%s\" is not a list of addresses or blocks like 10.0.0.0/8",
            o->trusted_proxies);
        goto out;
    }
    if (!http__names_parse(o->origins ? o->origins : "", &h->origins) ||
        !http__names_parse(o->hosts ? o->hosts : "", &h->hosts)) {
        wr_errmsg_set(err, "gateway.origins, gateway.hosts: at most %u names each", HTTP__NAMES);
        goto out;
    }
    for (size_t i = 0; i < h->origins.n; i++) {
        if (http__origin_is_valid(h->origins.v[i]))
            continue;
        wr_errmsg_set(err,
                      "gateway.origins: \"%s\" is not an origin; write for example "
                      "https://rooms.example.org",
                      h->origins.v[i]);
        goto out;
    }
    e = http__pool_new(h);
out:
    if (e != WR_OK)
        http__unref(h);
    else
        *out = h;
    return e;
}

wr_err wr_http_add(struct wr_http *h, const struct wr_http_route *route)
{
    if (h->num_routes == HTTP__ROUTES || h->mg)
        return WR_ERR_BUSY;
    h->routes[h->num_routes++] = *route;
    return WR_OK;
}

wr_err wr_http_start(struct wr_http *h, struct wr_errmsg *err)
{
    static const struct mg_callbacks callbacks = {.begin_request = on_request,
                                                  .log_message = on_log,
                                                  .log_access = on_access,
                                                  .http_error = on_http_error};
    char timeout[16], threads[16], on[32], inner[40], from[32], acl[64];
    (void)inet_ntop(AF_INET, &h->inner.sin_addr, on, sizeof on);
    (void)snprintf(inner, sizeof inner, "%s:0", on);
    (void)inet_ntop(AF_INET, &h->from.sin_addr, from, sizeof from);
    (void)snprintf(acl, sizeof acl, "-0.0.0.0/0,+%s", from);
    (void)snprintf(timeout, sizeof timeout, "%d", HTTP__HEAD_MS);
    (void)snprintf(threads, sizeof threads, "%u", h->num_slots);
    const char *options[] = {"listening_ports",
                             inner,
                             "access_control_list",
                             acl,
                             "num_threads",
                             threads,
                             "connection_queue",
                             "64",
                             "listen_backlog",
                             "256",
                             "tcp_nodelay",
                             "1",
                             "request_timeout_ms",
                             timeout,
                             "enable_keep_alive",
                             "yes",
                             "keep_alive_timeout_ms",
                             "2000000000", /* it is the plane's: kept for ever */
                             "decode_url",
                             "no", /* in place: %00 would cut the path before we see it */
                             "enable_directory_listing",
                             "no",
                             "access_control_allow_origin",
                             "",
                             "access_control_allow_methods",
                             "",
                             "access_control_allow_headers",
                             "",
                             "max_request_size",
                             "73728", /* a whole head of the plane's, with its own line */
                             "cgi_pattern",
                             "",
                             "ssi_pattern",
                             "",
                             NULL};
    static _Atomic bool was_init;
    if (!atomic_exchange(&was_init, true))
        (void)mg_init_library(MG_FEATURES_IPV6);
    struct mg_context *mg = mg_start(&callbacks, h, options);
    if (!mg) {
        wr_errmsg_set(err, "the HTTP engine did not start: %s",
                      h->log[0] ? h->log : "no reason was given");
        return WR_ERR_BUSY;
    }
    h->mg = mg;
    struct mg_server_port ports[4];
    int n = mg_get_server_ports(mg, 4, ports);
    h->inner.sin_port = htons((uint16_t)(n > 0 ? ports[0].port : 0));
    wr_err e = http__pool_open(h);
    if (e != WR_OK) {
        wr_errmsg_set(err, "the HTTP engine does not answer on %s:%d: %s", inner,
                      n > 0 ? ports[0].port : 0, wr_err_text(e));
        return e;
    }
    return http__front_listen(h, err);
}

const char *wr_http_address(const struct wr_http *h)
{
    return h->listener ? wr_listener_address(h->listener) : h->listen;
}

uint32_t wr_http_busy(const struct wr_http *h)
{
    return atomic_load(&h->busy);
}

void wr_http_stop(struct wr_http **hp)
{
    struct wr_http *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    atomic_store(&h->is_stopping, true);
    if (h->mg)
        mg_stop(h->mg);
    if (h->ahead)
        http__ahead_end(h->ahead);
    http__unref(h);
}

void http__unref(struct wr_http *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    http__pool_free(h);
    http__ahead_free(&h->ahead);
    http__names_free(&h->origins);
    http__names_free(&h->hosts);
    free(h);
}
