/* SPDX-License-Identifier: MIT
 *
 * Answers. civetweb does not know that an answer of ours said "Connection: close", and it reads a body that nobody read
 * to its end however long that takes; so a connection that must not be used again is taken from it (detach.c) and ended
 * here. */
#include "http_priv.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_json.h"
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_BYTES (64u << 10)
#define DRAIN_MS 1000

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
                 {507, "Insufficient Storage"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Status";
}

static bool is_keep_alive(const struct wr_http_req *r)
{
    const struct mg_request_info *ri = mg_get_request_info(r->conn);
    const char *c = wr_http_header(r, "Connection");
    if (ri->http_version && strcmp(ri->http_version, "1.1") == 0)
        return !c || !strcasestr(c, "close");
    return c && strcasestr(c, "keep-alive");
}

static bool body_unread(const struct wr_http_req *r)
{
    return r->is_chunked ? !r->body_ended : r->content_length > r->body_read;
}

static void head_build(struct wr_http_req *r, struct wr_buf *b, int status, const char *extra,
                       int64_t length)
{
    char date[40];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    if (strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        date[0] = 0;
    wr_buf_fmt(b, "HTTP/1.1 %d %s\r\nDate: %s\r\nX-Content-Type-Options: nosniff\r\n", status,
               status_text(status), date);
    if (extra)
        wr_buf_str(b, extra);
    if (length >= 0 && status != 204 && status != 304)
        wr_buf_fmt(b, "Content-Length: %lld\r\n", (long long)length);
    if (!is_keep_alive(r) || (body_unread(r) && status != 101))
        r->close_after = true;
    if (status != 101)
        wr_buf_str(b, r->close_after ? "Connection: close\r\n" : "Connection: keep-alive\r\n");
    wr_buf_str(b, "\r\n");
    r->status = status;
    r->answered = true;
}

bool wr_http_write(struct wr_http_req *r, const void *p, size_t n)
{
    while (n) {
        size_t some = WR_MIN(n, (size_t)1 << 20);
        int k = mg_write(r->conn, p, some);
        if (k <= 0 || (size_t)k < some) {
            r->close_after = true;
            return false;
        }
        p = (const uint8_t *)p + some;
        n -= some;
    }
    return true;
}

bool wr_http_head(struct wr_http_req *r, int status, const char *extra, uint64_t length)
{
    struct wr_buf b = {0};
    head_build(r, &b, status, extra, (int64_t)length);
    bool ok = !b.failed && wr_http_write(r, b.p, b.n);
    wr_buf_free(&b);
    if (!ok)
        r->close_after = true;
    return ok && r->method != WR_HEAD;
}

void wr_http_reply(struct wr_http_req *r, int status, const char *type, const char *extra,
                   struct wr_slice body)
{
    struct wr_buf h = {0}, b = {0};
    if (type)
        wr_buf_fmt(&h, "Content-Type: %s\r\n", type);
    if (extra)
        wr_buf_str(&h, extra);
    wr_buf_char(&h, 0);
    head_build(r, &b, status, h.failed ? NULL : (const char *)h.p, (int64_t)body.n);
    if (r->method != WR_HEAD && status != 304 && status != 204)
        wr_buf_slice(&b, body);
    if (b.failed || !wr_http_write(r, b.p, b.n))
        r->close_after = true;
    wr_buf_free(&h);
    wr_buf_free(&b);
}

static void error_reply(struct wr_http_req *r, int status, const char *extra, const char *text)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "{\"error\":{\"code\":%d,\"message\":", status);
    wr_json_put_str(&b, text);
    wr_buf_str(&b, "}}\n");
    wr_count(&http__m_errors, 1);
    if (b.failed)
        r->close_after = true;
    else
        wr_http_reply(r, status, "application/json; charset=utf-8", extra, wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
}

void wr_http_error_with(struct wr_http_req *r, int status, const char *extra, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_reply(r, status, extra, text);
}

void wr_http_error(struct wr_http_req *r, int status, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    error_reply(r, status, NULL, text);
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

/* Lets the client read the answer before the socket goes: an unread body would make the kernel reset it. */
static void drain(int fd)
{
    int64_t until = wr_mono_ms() + DRAIN_MS;
    size_t left = DRAIN_BYTES;
    uint8_t buf[4096];
    (void)shutdown(fd, SHUT_WR);
    while (left) {
        int64_t wait = until - wr_mono_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (wait <= 0 || poll(&p, 1, (int)wait) <= 0)
            return;
        ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n <= 0)
            return;
        left -= WR_MIN(left, (size_t)n);
    }
}

void http__finish(struct wr_http_req *r)
{
    if (r->detached)
        return;
    if (!r->answered) /* a handler's bug: the client must not wait for ever */
        wr_http_error(r, 500, "the server did not answer this request");
    if (r->close_after)
        http__end(r, body_unread(r));
}

void http__end(struct wr_http_req *r, bool unread)
{
    int fd;
    uint8_t *early;
    size_t n;
    if (wr_http_detach(r, &fd, &early, &n) != WR_OK)
        return;
    free(early);
    if (unread)
        drain(fd);
    (void)close(fd);
}
