/* SPDX-License-Identifier: MIT
 *
 * The HTTP server: a civetweb context whose begin_request callback answers everything, by our own table of routes. So no
 * file, script, authorization or WebSocket code of civetweb is ever reached. */
#include "http_priv.h"
#include "wr_buf.h"
#include "wr_json.h"
#include "wr_log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

WR_SHARED_COUNTER(http__m_requests, "watchroom_http_requests_total", NULL, "HTTP requests");
WR_SHARED_COUNTER(http__m_errors, "watchroom_http_errors_total", NULL,
                  "HTTP requests answered with an error");
WR_SHARED_COUNTER(http__m_upgrades, "watchroom_http_upgrades_total", NULL,
                  "WebSocket handshakes accepted");
WR_SHARED_COUNTER(http__m_detach_failed, "watchroom_http_detach_failed_total", NULL,
                  "Requests whose socket was not found for the hand-over");
WR_SHARED_GAUGE(http__g_busy, "watchroom_http_busy_workers", NULL,
                "HTTP workers that run a handler");

static const struct wr_http_route *route_find(const struct wr_http *h, struct wr_http_req *req)
{
    const struct wr_http_route *best = NULL;
    size_t best_n = 0;
    for (size_t i = 0; i < h->num_routes; i++) {
        const struct wr_http_route *r = &h->routes[i];
        size_t n = strlen(r->path);
        if (!r->is_prefix && strcmp(r->path, req->path) == 0)
            return r;
        if (r->is_prefix && n > best_n && strncmp(r->path, req->path, n) == 0) {
            best = r;
            best_n = n;
        }
    }
    if (best)
        req->rest = req->path + best_n;
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
    char allow[96], line[128];
    const struct wr_http_route *r = route_find(h, req);
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
    if (req->method == WR_OPTIONS)
        wr_http_reply(req, 204, NULL, line, (struct wr_slice){0});
    else
        wr_http_error_with(req, 405, line, "%.200s takes %s only", req->path, allow);
}

static int on_request(struct mg_connection *conn)
{
    const struct mg_request_info *ri = mg_get_request_info(conn);
    struct wr_http *h = ri->user_data;
    struct wr_http_req req = {0};
    const char *why = "bad request";
    wr_count(&http__m_requests, 1);
    atomic_fetch_add(&h->busy, 1);
    wr_gauge_add(&http__g_busy, 1);
    int status = http__parse(h, conn, &req, &why);
    if (status) {
        req.close_after = true; /* where the next request begins is not certain */
        wr_http_error_with(&req, status,
                           status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                         : NULL,
                           "%s", why);
    } else {
        dispatch(h, &req);
    }
    http__finish(&req);
    wr_gauge_add(&http__g_busy, -1);
    atomic_fetch_sub(&h->busy, 1);
    return req.status ? req.status : 101;
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

/* What civetweb refuses by itself (a broken head) in our form; the socket is closed after it. */
static int on_http_error(struct mg_connection *conn, int status, const char *message)
{
    struct wr_buf b = {0}, body = {0};
    if (status == 411) { /* its answer to a length that is not a number */
        status = 400;
        message = "Content-Length must be a number";
    }
    wr_buf_fmt(&body, "{\"error\":{\"code\":%d,\"message\":", status);
    wr_json_put_str(&body, message && message[0] ? message : "the request could not be read");
    wr_buf_str(&body, "}}\n");
    wr_buf_fmt(&b,
               "HTTP/1.1 %d Error\r\nContent-Type: application/json; "
               "charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               status, body.n);
    wr_buf_add(&b, body.p, body.n);
    if (!b.failed && !body.failed)
        (void)mg_write(conn, b.p, b.n);
    struct wr_http_req req = {.http = mg_get_request_info(conn)->user_data, .conn = conn};
    if (req.http)
        http__end(&req, true);
    wr_buf_free(&b);
    wr_buf_free(&body);
    wr_count(&http__m_errors, 1);
    return 0;
}

static void *on_thread(const struct mg_context *mg, int kind)
{
    struct wr_http *h = mg_get_user_data(mg);
    if (kind == 1 && h)
        atomic_fetch_add(&h->workers, 1);
    return NULL;
}

wr_err wr_http_new(const struct wr_http_opts *o, struct wr_http **out, struct wr_errmsg *err)
{
    *out = NULL;
    struct wr_http *h = calloc(1, sizeof *h);
    if (!h)
        return WR_ERR_BUSY;
    h->dummy = -1;
    h->key = o->key ? o->key : "listen";
    h->plane = o->plane;
    h->fallback = o->fallback;
    h->fallback_ctx = o->fallback_ctx;
    h->num_threads = o->threads ? o->threads : 128;
    if (strlen(o->listen) >= sizeof h->listen || !strchr(o->listen, ':') ||
        strspn(o->listen, "0123456789.:[]abcdefABCDEF") != strlen(o->listen)) {
        wr_errmsg_set(err,
                      "gateway.%s: \"%s\" is not ADDRESS:PORT; write for example 127.0.0.1:8000",
                      h->key, o->listen);
        free(h);
        return WR_ERR_INVALID;
    }
    (void)snprintf(h->listen, sizeof h->listen, "%s", o->listen);
    if (!http__blocks_parse(o->trusted_proxies ? o->trusted_proxies : "", h->proxies, HTTP__PROXIES,
                            &h->num_proxies)) {
        wr_errmsg_set(
            err,
            "gateway.trusted_proxies: \"%s\" is not a list of addresses or blocks like 10.0.0.0/8",
            o->trusted_proxies);
        free(h);
        return WR_ERR_INVALID;
    }
    h->dummy = http__dummy_open();
    *out = h;
    return h->dummy < 0 ? WR_ERR_BUSY : WR_OK;
}

wr_err wr_http_add(struct wr_http *h, const struct wr_http_route *route)
{
    if (h->num_routes == HTTP__ROUTES || h->mg)
        return WR_ERR_BUSY;
    h->routes[h->num_routes++] = *route;
    return WR_OK;
}

/* civetweb's own words for a failed start do not tell the reasons apart: ask the kernel. */
static wr_err why_not(const struct wr_http *h, struct wr_errmsg *err)
{
    char host[128];
    (void)snprintf(host, sizeof host, "%s", h->listen);
    char *colon = strrchr(host, ':');
    *colon = 0;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10))};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        wr_errmsg_set(err,
                      "gateway.%s: cannot listen on %s: not an IPv4 address, and this civetweb "
                      "has no IPv6",
                      h->key, h->listen);
        return WR_ERR_INVALID;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    union {
        struct sockaddr_in in;
        struct sockaddr sa;
    } u = {.in = a};
    int e = bind(fd, &u.sa, sizeof a) == 0 && listen(fd, 1) == 0 ? 0 : errno;
    (void)close(fd);
    if (e == EADDRINUSE) {
        wr_errmsg_set(
            err, "%s is in use by another program: end it, or choose another address with --%s",
            h->listen, h->key);
        return WR_ERR_CONFLICT;
    }
    if (e) {
        wr_errmsg_set(err, "cannot listen on %s: %s; choose another address with --%s", h->listen,
                      strerror(e), h->key);
        return e == EACCES ? WR_ERR_DENIED : WR_ERR_INVALID;
    }
    wr_errmsg_set(err, "the HTTP server did not start on %s: %s", h->listen,
                  h->log[0] ? h->log : "no reason was given");
    return WR_ERR_BUSY;
}

wr_err wr_http_start(struct wr_http *h, struct wr_errmsg *err)
{
    static const struct mg_callbacks callbacks = {.begin_request = on_request,
                                                  .log_message = on_log,
                                                  .log_access = on_access,
                                                  .http_error = on_http_error,
                                                  .init_thread = on_thread};
    char timeout[16];
    (void)snprintf(timeout, sizeof timeout, "%d", HTTP__TIMEOUT_MS);
    (void)snprintf(h->threads, sizeof h->threads, "%u", h->num_threads);
    const char *options[] = {"listening_ports",
                             h->listen,
                             "num_threads",
                             h->threads,
                             "connection_queue",
                             "1024",
                             "listen_backlog",
                             "4096",
                             "tcp_nodelay",
                             "1",
                             "request_timeout_ms",
                             timeout,
                             "enable_keep_alive",
                             "yes",
                             "keep_alive_timeout_ms",
                             "1000",
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
                             "16384",
                             "cgi_pattern",
                             "",
                             "ssi_pattern",
                             "",
                             NULL};
    static _Atomic bool was_init;
    if (!atomic_exchange(&was_init, true))
        (void)mg_init_library(MG_FEATURES_IPV6);
    struct mg_context *mg = mg_start(&callbacks, h, options);
    if (!mg)
        return why_not(h, err);
    h->mg = mg;
    struct mg_server_port ports[4];
    int n = mg_get_server_ports(mg, 4, ports);
    char host[128];
    (void)snprintf(host, sizeof host, "%s", h->listen);
    *strrchr(host, ':') = 0;
    (void)snprintf(h->address, sizeof h->address, "%s:%d", host, n > 0 ? ports[0].port : 0);
    return WR_OK;
}

const char *wr_http_address(const struct wr_http *h)
{
    return h->address;
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
    if (h->mg)
        mg_stop(h->mg);
    if (h->dummy >= 0)
        (void)close(h->dummy);
    free(h);
}
