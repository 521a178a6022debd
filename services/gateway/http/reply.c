/* SPDX-License-Identifier: MIT
 *
 * Answers: heads, and verdicts, which are what a request comes to and are carried out by the front on the connection's
 * thread. Here they are made, on workers and, for requests that were parked, on any thread. */
#include "http_priv.h"
#include "wr_clock.h"
#include "wr_json.h"
#include "wr_log.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {{101, "Switching Protocols"},
                 {200, "OK"},
                 {201, "Created"},
                 {204, "No Content"},
                 {206, "Partial Content"},
                 {301, "Moved Permanently"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {411, "Length Required"},
                 {412, "Precondition Failed"},
                 {413, "Content Too Large"},
                 {414, "URI Too Long"},
                 {415, "Unsupported Media Type"},
                 {416, "Range Not Satisfiable"},
                 {417, "Expectation Failed"},
                 {423, "Locked"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {460, "Checksum Mismatch"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {505, "HTTP Version Not Supported"},
                 {507, "Insufficient Storage"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Status";
}

/* RFC 9110, 5.6.7; the same second is written once. (Not a variable of each thread's own: a plugin that has some and is
 * unloaded is more than leak checkers can bear.) */
static void put_date(struct wr_buf *b)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards last and text */
    static time_t last;
    static char text[40];
    time_t now = time(NULL);
    struct tm tm;
    wr_buf_str(b, "Date: ");
    pthread_mutex_lock(&lock);
    if (now != last && gmtime_r(&now, &tm) &&
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        last = now;
    wr_buf_str(b, text);
    pthread_mutex_unlock(&lock);
    wr_buf_str(b, "\r\n");
}

/* What is known of a request where its answer is made. */
struct to {
    struct http__ask *ask; /* may be NULL: an answer to no whole head */
    bool keep, is_head;
    const char *cors;
};

#define CHUNKED (-1)
#define UNSAID (-2)

static void head_build(const struct to *to, struct wr_buf *b, int status, const char *type,
                       const char *extra, int64_t length)
{
    wr_buf_fmt(b, "HTTP/1.1 %d %s\r\n", status, status_text(status));
    put_date(b);
    wr_buf_str(b, "X-Content-Type-Options: nosniff\r\n");
    if (type)
        wr_buf_fmt(b, "Content-Type: %s\r\n", type);
    if (to->cors[0])
        wr_buf_str(b, to->cors);
    if (extra)
        wr_buf_str(b, extra);
    if (length >= 0 && status != 204 && status != 304)
        wr_buf_fmt(b, "Content-Length: %lld\r\n", (long long)length);
    if (length == CHUNKED)
        wr_buf_str(b, "Transfer-Encoding: chunked\r\n");
    wr_buf_str(b, to->keep ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
}

static struct http__verdict *verdict_new(enum http__verdict_kind kind, bool keep)
{
    struct http__verdict *v = calloc(1, sizeof *v);
    if (!v)
        abort(); /* a client would wait for ever */
    v->kind = kind;
    v->keep = keep;
    v->fd = -1;
    return v;
}

/* Without memory for the bytes the frame is missing: the front cuts the connection. */
static struct http__verdict *reply_build(const struct to *to, int status, const char *type,
                                         const char *extra, struct wr_slice body)
{
    struct http__verdict *v = verdict_new(HTTP__REPLY, to->keep);
    bool has_body = !to->is_head && status != 304 && status != 204;
    struct wr_buf b = {.n = 0};
    (void)wr_buf_reserve(&b, 512);
    head_build(to, &b, status, type, extra, (int64_t)body.n);
    struct wr_frame_part parts[2] = {{.bytes = wr_slice_of(b.p, b.n)}, {.bytes = body}};
    if (!b.failed)
        v->frame = wr_frame_plain_of(parts, has_body ? 2 : 1);
    wr_buf_free(&b);
    return v;
}

static struct http__verdict *error_build(const struct to *to, int status, const char *extra,
                                         const char *text)
{
    struct wr_buf b = {.n = 0};
    wr_buf_fmt(&b, "{\"error\":{\"code\":%d,\"message\":", status);
    wr_json_put_str(&b, text);
    wr_buf_str(&b, "}}\n");
    wr_count(&http__m_errors, 1);
    struct http__verdict *v = reply_build(to, status, "application/json; charset=utf-8", extra,
                                          wr_slice_of(b.p, b.failed ? 0 : b.n));
    wr_buf_free(&b);
    return v;
}

static struct http__verdict *file_build(const struct to *to, int status, const char *extra, int fd,
                                        uint64_t offset, uint64_t n)
{
    struct http__verdict *v = verdict_new(HTTP__FILE, to->keep);
    struct wr_buf b = {.n = 0};
    head_build(to, &b, status, NULL, extra, (int64_t)n);
    if (!b.failed)
        v->frame = wr_frame_plain(wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
    v->fd = fd;
    v->offset = offset;
    v->n = to->is_head ? 0 : n;
    return v;
}

static struct http__verdict *pieces_build(struct to *to, int status, const char *extra,
                                          int64_t length, const struct wr_http_source *ops,
                                          void *user)
{
    bool chunked = length < 0 && to->ask->is_11;
    if (length < 0 && !chunked)
        to->keep = false;
    struct http__verdict *v = verdict_new(HTTP__PIECES, to->keep);
    struct wr_buf b = {.n = 0};
    head_build(to, &b, status, NULL, extra, length >= 0 ? length : chunked ? CHUNKED : UNSAID);
    if (!b.failed)
        v->frame = wr_frame_plain(wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
    v->length = length;
    v->chunked = chunked;
    v->no_body = to->is_head;
    v->source = ops;
    v->user = user;
    return v;
}

void http__verdict_drop(struct http__verdict *v)
{
    static const struct wr_conn_closed gone = {.code = 1006, .reason = "the client left"};
    if (!v)
        return;
    wr_frame_unref(v->frame);
    if (v->fd >= 0)
        (void)close(v->fd);
    if (v->source)
        v->source->end(v->user, false);
    if (v->conn.ops)
        v->conn.ops->close(NULL, v->conn.user, &gone);
    if (v->body)
        v->body->end(NULL, v->body_user, WR_BODY_LEFT);
    if (v->kind == HTTP__PARK && v->park.gone)
        v->park.gone(v->park.user);
    free(v);
}

struct http__verdict *http__reply_new(struct http__ask *a, bool keep, bool is_head, int status,
                                      const char *type, const char *extra, struct wr_slice body)
{
    struct to to = {.ask = a, .keep = keep, .is_head = is_head, .cors = a ? a->cors : ""};
    return reply_build(&to, status, type, extra, body);
}

struct http__verdict *http__error_new(struct http__ask *a, bool keep, bool is_head, int status,
                                      const char *extra, const char *text)
{
    struct to to = {.ask = a, .keep = keep, .is_head = is_head, .cors = a ? a->cors : ""};
    return error_build(&to, status, extra, text);
}

/* ---- of a handler -------------------------------------------------------------------------------------------------- */

static struct to of_request(struct wr_http_req *r)
{
    bool rest = r->ask->has_rest && !atomic_load(&r->ask->rest_over);
    return (struct to){.ask = r->ask,
                       .keep = r->ask->keep_alive && !r->close_after && !rest,
                       .is_head = r->method == WR_HEAD,
                       .cors = r->cors};
}

static void decide(struct wr_http_req *r, int status, struct http__verdict *v)
{
    if (r->verdict) { /* a handler's bug: the first answer counts */
        wr_warn("http.twice", "path=%s: answered twice (%d, %d)", r->path, r->status, status);
        http__verdict_drop(v);
        return;
    }
    r->verdict = v;
    r->status = status;
    r->answered = true;
}

void wr_http_reply(struct wr_http_req *r, int status, const char *type, const char *extra,
                   struct wr_slice body)
{
    struct to to = of_request(r);
    decide(r, status, reply_build(&to, status, type, extra, body));
}

void wr_http_error_with(struct wr_http_req *r, int status, const char *extra, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct to to = of_request(r);
    decide(r, status, error_build(&to, status, extra, text));
}

void wr_http_error(struct wr_http_req *r, int status, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct to to = of_request(r);
    decide(r, status, error_build(&to, status, NULL, text));
}

void wr_http_send_fd(struct wr_http_req *r, int status, const char *extra, int fd, uint64_t offset,
                     uint64_t n)
{
    struct to to = of_request(r);
    decide(r, status, file_build(&to, status, extra, fd, offset, n));
}

void wr_http_send_pieces(struct wr_http_req *r, int status, const char *extra, int64_t length,
                         const struct wr_http_source *ops, void *user)
{
    struct to to = of_request(r);
    decide(r, status, pieces_build(&to, status, extra, length, ops, user));
}

void http__allow(unsigned methods, char out[96])
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    if (methods & WR_GET)
        methods |= WR_HEAD;
    methods |= WR_OPTIONS;
    out[0] = 0;
    for (unsigned i = 0; i < WR_ARRAY_LEN(names); i++) {
        if (!(methods & (1u << i)))
            continue;
        size_t at = strlen(out);
        (void)snprintf(out + at, 96 - at, "%s%s", at ? ", " : "", names[i]);
    }
}

struct done {
    struct http__slot *slot;
    struct http__ask *ask;
    struct http__verdict *verdict;
};

static void run_done(struct wr_conn *c, void *arg)
{
    struct done *d = arg;
    http__slot_free(d->slot);
    http__front_verdict(c, d->ask, d->verdict);
    http__ask_unref(d->ask);
    free(d);
}

void http__finish(struct wr_http_req *r, struct http__slot *slot)
{
    if (!r->verdict) /* a handler's bug: the client must not wait for ever */
        wr_http_error(r, 500, "the server did not answer this request");
    struct done *d = malloc(sizeof *d);
    if (!d)
        abort();
    *d = (struct done){slot, r->ask, r->verdict};
    wr_plane_post(r->ask->plane, r->ask->conn, run_done, d);
}

/* ---- hand-over ------------------------------------------------------------------------------------------------------ */

static wr_err refused(const struct wr_conn_opts *opts, wr_err e)
{
    static const struct wr_conn_closed closed = {.code = 1006, .reason = "refused"};
    opts->ops->close(NULL, opts->user, &closed);
    return e;
}

wr_err wr_http_upgrade(struct wr_http_req *r, const char *subprotocol,
                       const struct wr_conn_opts *opts)
{
    if (!r->is_upgrade) {
        wr_http_error(r, 426, "this is a WebSocket address");
        return refused(opts, WR_ERR_INVALID);
    }
    char accept[29];
    struct wr_buf b = {.n = 0};
    http__accept_key(wr_http_header(r, "Sec-WebSocket-Key"), accept);
    wr_buf_fmt(&b,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
               "Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
               accept);
    if (subprotocol)
        wr_buf_fmt(&b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    wr_buf_str(&b, "\r\n");
    struct wr_frame *f = b.failed ? NULL : wr_frame_plain(wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
    if (!f) {
        wr_http_error(r, 503, "the server is out of memory");
        return refused(opts, WR_ERR_BUSY);
    }
    struct http__verdict *v = verdict_new(HTTP__UPGRADE, false);
    v->frame = f;
    v->conn = *opts;
    v->conn.transport = WR_TRANSPORT_WS;
    wr_count(&http__m_upgrades, 1);
    decide(r, 101, v);
    return WR_OK;
}

wr_err wr_http_hand_over(struct wr_http_req *r, const char *extra, const struct wr_conn_opts *opts)
{
    if (r->method == WR_HEAD) {
        wr_http_error_with(r, 500, extra, "this address streams: use GET");
        return refused(opts, WR_ERR_INVALID);
    }
    struct http__verdict *v = verdict_new(HTTP__HAND_OVER, false);
    v->conn = *opts;
    v->conn.transport = WR_TRANSPORT_RAW;
    decide(r, 200, v);
    return WR_OK;
}

/* ---- later ------------------------------------------------------------------------------------------------------------ */

struct wr_http_later {
    struct http__ask *ask;
    bool is_head, keep;
};

struct wr_http_later *wr_http_park(struct wr_http_req *r, const struct wr_http_park *opts)
{
    struct wr_http_later *l = malloc(sizeof *l);
    if (!l) {
        wr_http_error(r, 503, "the server is out of memory; try again");
        return NULL;
    }
    *l = (struct wr_http_later){.ask = http__ask_ref(r->ask),
                                .is_head = r->method == WR_HEAD,
                                .keep = r->ask->keep_alive && !r->close_after};
    struct http__verdict *v = verdict_new(HTTP__PARK, true);
    if (opts)
        v->park = *opts;
    decide(r, 0, v);
    return l;
}

struct wr_http_later *wr_http_take_body(struct wr_http_req *r, const struct wr_http_body_ops *ops,
                                        void *user, const struct wr_http_park *opts)
{
    struct wr_http_later *l = wr_http_park(r, opts);
    if (l) {
        r->verdict->body = ops;
        r->verdict->body_user = user;
    }
    return l;
}

struct late {
    struct http__ask *ask;
    struct http__verdict *verdict;
};

static void run_late(struct wr_conn *c, void *arg)
{
    struct late *l = arg;
    http__front_verdict(c, l->ask, l->verdict);
    http__ask_unref(l->ask);
    free(l);
}

static struct to of_later(const struct wr_http_later *l)
{
    bool rest = l->ask->has_rest && !atomic_load(&l->ask->rest_over);
    return (struct to){
        .ask = l->ask, .keep = l->keep && !rest, .is_head = l->is_head, .cors = l->ask->cors};
}

static void end_later(struct wr_http_later **lp, struct http__verdict *v)
{
    struct late *l = malloc(sizeof *l);
    if (!l)
        abort();
    *l = (struct late){(*lp)->ask, v};
    free(*lp);
    *lp = NULL;
    wr_plane_post(l->ask->plane, l->ask->conn, run_late, l);
}

void wr_http_later_reply(struct wr_http_later **l, int status, const char *type, const char *extra,
                         struct wr_slice body)
{
    struct to to = of_later(*l);
    end_later(l, reply_build(&to, status, type, extra, body));
}

void wr_http_later_error(struct wr_http_later **l, int status, const char *extra, const char *fmt,
                         ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct to to = of_later(*l);
    end_later(l, error_build(&to, status, extra, text));
}

void wr_http_later_fd(struct wr_http_later **l, int status, const char *extra, int fd,
                      uint64_t offset, uint64_t n)
{
    struct to to = of_later(*l);
    end_later(l, file_build(&to, status, extra, fd, offset, n));
}

void wr_http_later_pieces(struct wr_http_later **l, int status, const char *extra, int64_t length,
                          const struct wr_http_source *ops, void *user)
{
    struct to to = of_later(*l);
    end_later(l, pieces_build(&to, status, extra, length, ops, user));
}
