/* SPDX-License-Identifier: MIT
 *
 * The front: a client's connection while it speaks HTTP. It reads heads without a thread, has the request decided (pool.c,
 * http.c), and carries the verdict out: answers here, files and pieces in front_send.c, bodies in front_body.c, or another
 * life as a WebSocket or an endless answer. Everything runs on the connection's plane thread.
 *
 * One request is under way at a time, so that answers keep the order of the requests; bytes behind it stay in the kernel,
 * or in `in` when one read brought them. */
#include "front_priv.h"
#include "wr_clock.h"
#include "wr_log.h"
#include <stdlib.h>

#define REFUSED_MS 2000u /* a client without a place has so long to say what it wants */

static const struct wr_conn_ops front_ops;

struct http__front *front__of(struct wr_conn *c)
{
    return wr_conn_user_of(c, &front_ops);
}

/* ---- bytes that wait ---- */

void front__pause(struct http__front *f, bool pause)
{
    if (f->is_paused == pause)
        return;
    f->is_paused = pause;
    wr_conn_pause(f->c, pause);
}

bool front__keep(struct http__front *f, const uint8_t *p, size_t n)
{
    if (f->cap_in - f->n_in < n) {
        size_t cap = 512;
        while (cap < f->n_in + n)
            cap *= 2;
        uint8_t *in = realloc(f->in, cap);
        if (!in)
            return false;
        f->in = in;
        f->cap_in = cap;
    }
    if (n)
        memcpy(f->in + f->n_in, p, n);
    f->n_in += n;
    return true;
}

void front__use(struct http__front *f, size_t n)
{
    f->n_in -= n;
    if (f->n_in) {
        memmove(f->in, f->in + n, f->n_in);
    } else { /* an idle connection has no memory for bytes */
        free(f->in);
        f->in = NULL;
        f->cap_in = 0;
    }
}

/* Ends a connection that owes nothing: there is nothing to linger for. */
static void leave(struct http__front *f, uint16_t code, const char *why)
{
    f->is_closing = true;
    if (wr_conn_queued(f->c))
        wr_conn_close(f->c, code, why);
    else
        wr_conn_cut(f->c);
}

/* ---- answering ---- */

static void forget_request(struct http__front *f)
{
    http__ask_unref(f->ask);
    f->ask = NULL;
    if (f->state == FRONT_PARKED)
        wr_gauge_add(&http__g_parked, -1);
    f->park = (struct wr_http_park){.gone = NULL};
    f->state = FRONT_HEAD;
}

void front__answered(struct http__front *f, bool keep)
{
    if (f->body)
        http__body_end(&f->body, WR_BODY_ANSWERED);
    forget_request(f);
    f->scanned = 0;
    if (!keep || f->is_draining) {
        f->is_closing = true;
        wr_conn_close(f->c, 1000, "answered");
        return;
    }
    f->until_ms = wr_mono_ms() + (f->n_in ? HTTP__HEAD_MS : HTTP__IDLE_MS);
    wr_conn_wake(f->c, f->n_in ? HTTP__HEAD_MS : HTTP__IDLE_MS);
    front__pause(f, false);
}

void front__say(struct http__front *f, struct wr_frame *frame)
{
    if (frame)
        wr_conn_send(f->c, frame);
    else
        wr_conn_cut(f->c);
    wr_frame_unref(frame);
}

void front__reply(struct http__front *f, struct http__verdict *v)
{
    bool keep = v->keep;
    front__say(f, v->frame);
    v->frame = NULL;
    free(v);
    front__answered(f, keep);
}

void front__refuse(struct http__front *f, int status, const char *extra, const char *why)
{
    bool is_head = f->ask && f->ask->is_head;
    front__reply(f, http__error_new(f->ask, false, is_head, status, extra, why));
}

void front__stop_waiting(struct http__front *f)
{
    if (f->state == FRONT_PARKED)
        wr_gauge_add(&http__g_parked, -1);
    f->park = (struct wr_http_park){.gone = NULL};
}

/* ---- parking ---- */

static void gone(struct http__front *f)
{
    struct wr_http_park p = f->park;
    f->park.gone = NULL;
    if (p.gone)
        p.gone(p.user);
}

static void do_park(struct http__front *f, struct http__verdict *v)
{
    const struct wr_http_body_ops *ops = v->body;
    void *user = v->body_user;
    f->park = v->park;
    free(v);
    f->state = FRONT_PARKED;
    wr_gauge_add(&http__g_parked, 1);
    uint32_t ms = f->park.deadline_ms ? f->park.deadline_ms : HTTP__PARK_MS;
    f->until_ms = wr_mono_ms() + ms;
    wr_conn_wake(f->c, ops ? front__body_look_ms(f) : ms);
    if (!ops)
        return;
    if (!f->ask->has_rest) {
        struct wr_http_body none = {.front = f, .conn = f->c, .no = f->no};
        if (ops->begin)
            ops->begin(&none, user);
        none.is_over = true;
        ops->end(&none, user, WR_BODY_WHOLE);
        return;
    }
    if (!front__body_begin(f, ops, user)) {
        ops->end(NULL, user, WR_BODY_LEFT);
        return;
    }
    if (ops->begin)
        ops->begin(f->body, user);
    if (f->is_draining)
        front__body_over(f, WR_BODY_DRAINING);
    else
        front__flow(f);
}

/* ---- verdicts ---- */

static void do_become(struct http__front *f, struct http__verdict *v)
{
    struct wr_conn *c = f->c;
    if (v->frame) {
        wr_conn_send(c, v->frame);
        wr_frame_unref(v->frame);
    }
    struct wr_conn_opts o = v->conn;
    free(v);
    forget_request(f);
    uint8_t *in = f->in;
    size_t n = f->n_in;
    free(f);
    wr_conn_become(c, &o, wr_slice_of(in, n));
    free(in);
}

static void carry_out(struct http__front *f, struct http__verdict *v)
{
    switch (v->kind) {
    case HTTP__REPLY:
        front__reply(f, v);
        break;
    case HTTP__FILE:
        front__file(f, v);
        break;
    case HTTP__PIECES:
        front__pieces(f, v);
        break;
    case HTTP__PARK:
        do_park(f, v);
        break;
    case HTTP__UPGRADE:
    case HTTP__HAND_OVER:
        do_become(f, v);
        return;
    }
    front__go_on(f);
}

void http__front_verdict(struct wr_conn *c, struct http__ask *ask, struct http__verdict *v)
{
    struct http__front *f = front__of(c);
    bool waits = f && f->ask == ask &&
                 (f->state == FRONT_ASKED || (f->state == FRONT_PARKED && v->kind != HTTP__PARK));
    if (!waits) {
        http__verdict_drop(v);
        return;
    }
    if (f->body) /* an early answer */
        http__body_end(&f->body, WR_BODY_ANSWERED);
    carry_out(f, v);
}

void http__front_failed(struct wr_conn *c, struct http__ask *ask, int status, const char *why)
{
    struct http__front *f = front__of(c);
    if (!f || f->ask != ask || f->state != FRONT_ASKED)
        return;
    front__refuse(f, status, status == 503 ? "Retry-After: 2\r\n" : NULL, why);
}

/* ---- heads ---- */

static bool is_known_method(struct wr_slice m)
{
    /* Those that civetweb reads; what a path does not take is answered 405 by the route. */
    static const char *const names[] = {"GET",    "HEAD",    "POST",     "PUT",  "PATCH",
                                        "DELETE", "OPTIONS", "PROPFIND", "MKCOL"};
    for (size_t i = 0; i < WR_ARRAY_LEN(names); i++)
        if (wr_slice_is(m, names[i]))
            return true;
    return false;
}

/* The body first, if it is small and wanted or to be dropped; else the worker is asked at the head. */
static void begin_request(struct http__front *f, const struct http__head *h)
{
    bool has_body = h->is_chunked || h->content_length > 0;
    const struct wr_http_route *route = has_body ? http__route_of(f->h, h->target) : NULL;
    enum wr_http_body_kind kind = route ? route->body : WR_BODY_NONE;
    f->ask->has_rest = has_body;
    if (has_body && kind == WR_BODY_SMALL && h->content_length > (int64_t)WR_BODY_SMALL_BYTES) {
        front__refuse(f, 413, NULL, "the body is too long: at most 64 KiB are taken here");
        return;
    }
    bool drop = kind == WR_BODY_NONE && !h->is_chunked && !h->expects_continue &&
                h->content_length <= (int64_t)WR_BODY_SMALL_BYTES;
    if (!has_body || (kind != WR_BODY_SMALL && !drop)) {
        front__submit(f);
        return;
    }
    if (kind == WR_BODY_SMALL && !(f->collected = calloc(1, sizeof *f->collected)))
        wr_conn_cut(f->c);
    else
        front__body_collect(f);
}

static void begin(struct http__front *f, const struct http__head *h)
{
    wr_count(&http__m_requests, 1);
    f->ask = front__ask_new(f, h);
    if (!f->ask) {
        wr_conn_cut(f->c);
        return;
    }
    const char *no_place = wr_conn_refused(f->c);
    if (no_place) {
        front__refuse(f, 503, "Retry-After: 2\r\n", no_place);
    } else if (!is_known_method(h->method)) {
        front__refuse(f, 501, NULL, "this method is not known here");
    } else if (h->form == HTTP__ASTERISK_FORM) {
        bool keep = f->ask->keep_alive && !h->is_chunked && h->content_length <= 0;
        front__reply(f, http__reply_new(f->ask, keep, false, 204, NULL,
                                        "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
                                        (struct wr_slice){0}));
    } else {
        begin_request(f, h);
    }
}

/* One head out of p (`in` itself, or bytes just read). False: it is not whole, or the connection ends. */
static bool one_head(struct http__front *f, const uint8_t *p, size_t n)
{
    struct http__head h;
    const char *why = "";
    ptrdiff_t len = http__head_parse(p, n, &f->scanned, &h, &why);
    bool is_kept = p == f->in;
    if (len <= 0) {
        if (len == 0) {
            bool first = f->n_in == 0;
            if (!is_kept && !front__keep(f, p, n))
                wr_conn_cut(f->c);
            if (first) {
                f->until_ms = wr_mono_ms() + HTTP__HEAD_MS;
                wr_conn_wake(f->c, HTTP__HEAD_MS);
            }
            return false;
        }
        wr_count(&http__m_bad_heads, 1);
        front__refuse(f, (int)-len, NULL, why);
        return false;
    }
    f->scanned = 0;
    f->keep = h.keep_alive;
    /* h lies in p: what is behind the head may only be moved when the request was made of it. */
    if (!is_kept && n > (size_t)len && !front__keep(f, p + len, n - (size_t)len)) {
        wr_conn_cut(f->c);
        return false;
    }
    if (is_kept) {
        uint8_t *head = f->in;
        size_t rest = n - (size_t)len;
        f->in = NULL;
        f->n_in = f->cap_in = 0;
        if (rest && !front__keep(f, head + len, rest))
            wr_conn_cut(f->c);
        begin(f, &h);
        free(head);
    } else {
        begin(f, &h);
    }
    return true;
}

/* Lines that are empty may come before a request (RFC 9112, 2.2): some clients send one behind a body. */
static size_t empty_lines(const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (n - at >= 2 && at < 8 && p[at] == '\r' && p[at + 1] == '\n')
        at += 2;
    return at;
}

void front__go_on(struct http__front *f)
{
    while (f->state == FRONT_HEAD && f->n_in && !f->is_closing) {
        if (wr_conn_queued(f->c) >= HTTP__LOW_BYTES) {
            front__pause(f, true); /* it sends and does not read: `drained` goes on */
            return;
        }
        size_t skip = f->scanned ? 0 : empty_lines(f->in, f->n_in);
        if (skip) {
            front__use(f, skip);
            continue;
        }
        if (!one_head(f, f->in, f->n_in))
            return;
    }
}

static void read_head(struct http__front *f)
{
    size_t room;
    uint8_t *to = wr_conn_scratch(f->c, &room);
    bool had = f->n_in != 0;
    ptrdiff_t n = wr_conn_recv(f->c, to, room);
    if (n == 0) /* a half-closed client was answered; there is nothing more to say */
        leave(f, 1000, "closed by the client");
    if (n <= 0)
        return;
    size_t skip = had ? 0 : empty_lines(to, (size_t)n);
    if (had || skip) {
        if (!front__keep(f, to + skip, (size_t)n - skip))
            wr_conn_cut(f->c);
    } else {
        (void)one_head(f, to, (size_t)n);
    }
    front__go_on(f);
}

/* ---- callbacks of the plane ---- */

static void handle_open(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    f->c = c;
    uint32_t ms = wr_conn_refused(c) ? REFUSED_MS : HTTP__HEAD_MS;
    f->until_ms = wr_mono_ms() + ms;
    wr_conn_wake(c, ms);
}

static void handle_readable(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    (void)c;
    if (f->body)
        front__flow(f);
    else if (f->state == FRONT_HEAD)
        read_head(f);
    else
        front__pause(f, true); /* its turn comes after the answer */
    if (!f->body)
        front__go_on(f);
}

static void handle_drained(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    (void)c;
    if (f->state == FRONT_FILE) {
        front__file_turn(f);
    } else if (f->state == FRONT_PIECES) {
        front__pieces_turn(f);
    } else if (f->body && !f->body->is_paused && (f->n_in || f->body->owes_continue)) {
        front__flow(f);
    } else if (f->state == FRONT_HEAD) {
        front__pause(f, false);
        front__go_on(f);
    }
}

static void look_at_head(struct http__front *f)
{
    wr_count(&http__m_late_heads, 1);
    if (f->n_in)
        front__refuse(f, 408, NULL, "the request's head did not come whole in time");
    else
        leave(f, 1000, "idle");
}

/* What was parked is answered by us. */
static void unpark(struct http__front *f, int status, const char *extra, const char *why)
{
    struct wr_http_park p = f->park;
    f->park.gone = NULL;
    front__refuse(f, status, extra, why);
    if (p.gone)
        p.gone(p.user);
}

static void look_at_parked(struct http__front *f)
{
    if (f->body) {
        if (http__body_look(f->body, wr_mono_ms(), f->h->patience_ms))
            front__body_over(f, WR_BODY_STALLED);
        return;
    }
    if (wr_mono_ms() < f->until_ms)
        return;
    unpark(f, 504, NULL, "the answer took too long");
}

static void handle_wake(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    int64_t now = wr_mono_ms();
    switch (f->state) {
    case FRONT_HEAD:
        if (now >= f->until_ms)
            look_at_head(f);
        break;
    case FRONT_COLLECT:
        if (f->body && http__body_look(f->body, now, f->h->patience_ms))
            front__body_over(f, WR_BODY_STALLED);
        break;
    case FRONT_ASKED:
        http__pool_look(f->h, wr_conn_thread(c), now);
        break;
    case FRONT_PARKED:
        look_at_parked(f);
        break;
    case FRONT_FILE:
    case FRONT_PIECES:
        front__sending_look(f, now);
        break;
    }
    if (f->state == FRONT_PARKED && f->body)
        wr_conn_wake(c, front__body_look_ms(f));
    else if (f->state == FRONT_HEAD || f->state == FRONT_PARKED)
        wr_conn_wake(c, (uint32_t)WR_MAX(f->until_ms - now, 1));
    else
        wr_conn_wake(c, front__look_ms(f));
}

static void handle_drain(struct wr_conn *c, void *user)
{
    (void)c;
    struct http__front *f = user;
    f->is_draining = true;
    if (f->state == FRONT_HEAD) {
        leave(f, 1001, "shutting down");
    } else if (f->body) {
        front__body_over(f, WR_BODY_DRAINING);
    } else if (f->state == FRONT_PARKED) {
        struct wr_http_park p = f->park;
        f->park.gone = NULL;
        front__refuse(f, 503, "Retry-After: 2\r\n", "the server is shutting down; try again");
        if (p.gone)
            p.gone(p.user);
    }
}

static void handle_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    (void)why;
    struct http__front *f = user;
    if (f->body)
        http__body_end(&f->body, WR_BODY_LEFT);
    if (f->state == FRONT_PARKED)
        gone(f);
    front__sending_end(f, false);
    forget_request(f);
    if (f->collected)
        wr_buf_free(f->collected);
    free(f->collected);
    free(f->in);
    free(f);
}

static const struct wr_conn_ops front_ops = {.open = handle_open,
                                             .readable = handle_readable,
                                             .drained = handle_drained,
                                             .wake = handle_wake,
                                             .drain = handle_drain,
                                             .close = handle_close};

/* ---- listening ---- */

static bool on_accept(void *ctx, const struct wr_addr *peer, struct wr_conn_opts *o)
{
    (void)peer;
    struct http__front *f = calloc(1, sizeof *f);
    if (!f)
        return false;
    f->h = ctx;
    f->state = FRONT_HEAD;
    *o = (struct wr_conn_opts){
        .transport = WR_TRANSPORT_STREAM, .policy = WR_QUEUE_OWN, .ops = &front_ops, .user = f};
    return true;
}

static bool is_exempt(void *ctx, const struct wr_addr *peer)
{
    return wr_http_is_proxy(ctx, peer);
}

#define REFUSAL(length, text)                                                               \
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n" \
    "Content-Length: " length "\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"             \
    "{\"error\":{\"code\":503,\"message\":\"" text "\"}}\n"

wr_err http__front_listen(struct wr_http *h, struct wr_errmsg *err)
{
    static const char refusal[] = REFUSAL(
        "104", "the gateway has as many connections as it may; try again in a moment");
    static const char farewell[] = REFUSAL("87",
                                           "the gateway is shutting down; try again in a moment");
    struct wr_listen_opts o = {.address = h->listen,
                               .accept = on_accept,
                               .ctx = h,
                               .per_address = h->per_address,
                               .is_exempt = is_exempt,
                               .refusal = wr_slice_of(refusal, sizeof refusal - 1),
                               .farewell = wr_slice_of(farewell, sizeof farewell - 1),
                               .hears_refused = true};
    struct wr_errmsg why = {{0}};
    wr_err e = wr_plane_listen(h->plane, &o, &h->listener, &why);
    if (e != WR_OK)
        wr_errmsg_set(err, "gateway.%s: %s; choose another address with --%s", h->key, why.text,
                      h->key);
    return e;
}
