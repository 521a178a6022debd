/* SPDX-License-Identifier: MIT
 *
 * Reading a request: checks that civetweb does not make (both lengths, two lengths, odd paths, lost headers), the
 * client's address, query parameters, and the body with its exact length. */
#include "http_priv.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

static int hex(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Percent-decodes n bytes; false when malformed or when it does not fit. */
static bool percent_decode(const char *p, size_t n, bool plus, char *out, size_t cap, size_t *len)
{
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)p[i];
        if (c == '%') {
            int hi = n - i > 2 ? hex(p[i + 1]) : -1;
            int lo = hi >= 0 ? hex(p[i + 2]) : -1;
            if (lo < 0)
                return false;
            c = hi * 16 + lo;
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if (o + 1 >= cap || c == 0)
            return false;
        out[o++] = (char)c;
    }
    out[o] = 0;
    *len = o;
    return true;
}

/* A path that means one thing to everybody: RFC 3986 without dot segments, empty segments, hidden separators. */
static int path_parse(const char *raw, char *out, size_t cap, const char **why)
{
    size_t n = strlen(raw), len;
    if (raw[0] != '/') {
        *why = "the request's target must begin with '/'";
        return 400;
    }
    if (n >= cap) {
        *why = "the path is too long";
        return 414;
    }
    *why = "the path is malformed: bad %-escape, NUL, '..', '//', '%2f' or backslash";
    if (strcasestr(raw, "%2f") || !percent_decode(raw, n, false, out, cap, &len) ||
        !wr_utf8_valid(out, len))
        return 400;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f || out[i] == '\\')
            return 400;
    for (const char *s = out; *s;) { /* each segment */
        s++;
        size_t seg = strcspn(s, "/");
        if ((seg == 0 && s[0]) || (seg == 1 && s[0] == '.') ||
            (seg == 2 && s[0] == '.' && s[1] == '.'))
            return 400;
        s += seg;
    }
    return 0;
}

static size_t header_count(const struct mg_request_info *ri, const char *name, const char **first)
{
    size_t n = 0;
    for (int i = 0; i < ri->num_headers; i++) {
        if (strcasecmp(ri->http_headers[i].name, name) != 0)
            continue;
        if (n++ == 0 && first)
            *first = ri->http_headers[i].value;
    }
    return n;
}

static int body_parse(const struct mg_request_info *ri, struct wr_http_req *req, const char **why)
{
    const char *cl = NULL, *te = NULL;
    size_t ncl = header_count(ri, "Content-Length", &cl),
           nte = header_count(ri, "Transfer-Encoding", &te);
    req->content_length = -1;
    if (ncl > 1 || nte > 1 || (ncl && nte)) {
        *why = "Content-Length and Transfer-Encoding must come at most once, and not together";
        return 400;
    }
    if (nte && strcasecmp(te, "chunked") != 0) {
        *why = "Transfer-Encoding: only chunked is known here";
        return 501;
    }
    req->is_chunked = nte != 0;
    if (!ncl)
        return 0;
    size_t n = strlen(cl);
    if (n == 0 || n > 18 || strspn(cl, "0123456789") != n) {
        *why = "Content-Length must be a number";
        return 400;
    }
    req->content_length = strtoll(cl, NULL, 10);
    return 0;
}

/* True when a header that may come several times, each a comma-separated list, holds the token. */
static bool has_token(const struct mg_request_info *ri, const char *name, const char *token)
{
    size_t tn = strlen(token);
    for (int i = 0; i < ri->num_headers; i++) {
        if (strcasecmp(ri->http_headers[i].name, name) != 0)
            continue;
        for (const char *p = ri->http_headers[i].value; *p;) {
            p += strspn(p, ", \t");
            size_t n = strcspn(p, ",");
            size_t trimmed = n;
            while (trimmed && (p[trimmed - 1] == ' ' || p[trimmed - 1] == '\t'))
                trimmed--;
            if (trimmed == tn && strncasecmp(p, token, tn) == 0)
                return true;
            p += n;
        }
    }
    return false;
}

/* RFC 6455, 4.2.1. Another method than GET is no handshake: the route says which it takes. */
static int upgrade_parse(const struct mg_request_info *ri, struct wr_http_req *req,
                         const char **why)
{
    if (req->method != WR_GET || !has_token(ri, "Upgrade", "websocket"))
        return 0;
    const char *version = NULL, *key = NULL;
    if (!has_token(ri, "Connection", "upgrade") ||
        header_count(ri, "Sec-WebSocket-Key", &key) != 1 || strlen(key) != 24 ||
        strcmp(key + 22, "==") != 0) {
        *why = "not a WebSocket handshake: Connection: Upgrade and a Sec-WebSocket-Key of 16 "
               "bytes are needed";
        return 400;
    }
    if (header_count(ri, "Sec-WebSocket-Version", &version) != 1 || strcmp(version, "13") != 0) {
        *why = "only WebSocket version 13 is spoken here";
        return 426;
    }
    req->is_upgrade = true;
    return 0;
}

static unsigned method_parse(const char *m)
{
    static const struct {
        const char *name;
        unsigned bit;
    } table[] = {{"GET", WR_GET},        {"HEAD", WR_HEAD},   {"POST", WR_POST},
                 {"PUT", WR_PUT},        {"PATCH", WR_PATCH}, {"DELETE", WR_DELETE},
                 {"OPTIONS", WR_OPTIONS}};
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++)
        if (strcmp(m, table[i].name) == 0)
            return table[i].bit;
    return 0;
}

/* The last address of X-Forwarded-For that is not itself a trusted proxy. */
static void forwarded_for(const struct wr_http *h, const char *list, char *out, size_t cap)
{
    size_t end = strlen(list);
    for (unsigned hops = 0; end && hops < 16; hops++) {
        size_t start = end;
        while (start && list[start - 1] != ',')
            start--;
        size_t a = start, b = end;
        while (a < b && (list[a] == ' ' || list[a] == '\t'))
            a++;
        while (b > a && (list[b - 1] == ' ' || list[b - 1] == '\t'))
            b--;
        char one[64];
        struct in6_addr addr;
        if (b - a >= sizeof one || b - a >= cap)
            return;
        memcpy(one, list + a, b - a);
        one[b - a] = 0;
        if (!http__addr_parse(one, &addr))
            return;
        memcpy(out, one, b - a + 1);
        if (!http__addr_in(h->proxies, h->num_proxies, &addr))
            return;
        end = start ? start - 1 : 0;
    }
}

static void client_parse(const struct wr_http *h, const struct mg_request_info *ri,
                         struct wr_http_req *req)
{
    struct in6_addr peer;
    const char *v = NULL;
    (void)snprintf(req->client, sizeof req->client, "%s", ri->remote_addr);
    if (!h->num_proxies || !http__addr_parse(ri->remote_addr, &peer) ||
        !http__addr_in(h->proxies, h->num_proxies, &peer))
        return;
    if (header_count(ri, "X-Forwarded-For", &v) == 1)
        forwarded_for(h, v, req->client, sizeof req->client);
}

int http__parse(struct wr_http *h, struct mg_connection *conn, struct wr_http_req *req,
                const char **why)
{
    const struct mg_request_info *ri = mg_get_request_info(conn);
    req->http = h;
    req->conn = conn;
    req->path = req->path_buf;
    req->rest = "";
    req->query = ri->query_string ? ri->query_string : "";
    unsigned method = method_parse(ri->request_method);
    req->method = (enum wr_http_method)method;
    client_parse(h, ri, req);
    if (ri->num_headers >= MG_MAX_HEADERS) { /* civetweb drops the rest without a word */
        *why = "too many header lines";
        return 431;
    }
    int status = body_parse(ri, req, why);
    if (!status)
        status = path_parse(ri->request_uri ? ri->request_uri : "", req->path_buf,
                            sizeof req->path_buf, why);
    if (!status)
        status = upgrade_parse(ri, req, why);
    if (!status && (req->is_chunked || req->content_length > 0) && req->is_upgrade) {
        *why = "a WebSocket handshake has no body";
        status = 400;
    }
    return status;
}

/* ---- for handlers ---- */

const char *wr_http_header(const struct wr_http_req *r, const char *name)
{
    const char *v = NULL;
    return header_count(mg_get_request_info(r->conn), name, &v) ? v : NULL;
}

bool wr_http_offers(const struct wr_http_req *r, const char *name)
{
    return has_token(mg_get_request_info(r->conn), "Sec-WebSocket-Protocol", name);
}

bool wr_http_query_param(const char *query, const char *name, char *out, size_t cap)
{
    size_t nn = strlen(name), len;
    for (const char *p = query; *p;) {
        size_t n = strcspn(p, "&");
        if (n > nn && p[nn] == '=' && memcmp(p, name, nn) == 0)
            return percent_decode(p + nn + 1, n - nn - 1, true, out, cap, &len) &&
                   wr_utf8_valid(out, len);
        p += n + (p[n] == '&');
    }
    return false;
}

bool wr_http_query(const struct wr_http_req *r, const char *name, char *out, size_t cap)
{
    return wr_http_query_param(r->query, name, out, cap);
}

static void say_continue(struct wr_http_req *r)
{
    if (r->sent_continue || r->body_read || r->answered)
        return;
    r->sent_continue = true;
    const char *expect = wr_http_header(r, "Expect");
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (expect && strcasecmp(expect, "100-continue") == 0)
        (void)mg_write(r->conn, text, sizeof text - 1);
}

wr_err wr_http_read(struct wr_http_req *r, void *to, size_t n, size_t *got)
{
    *got = 0;
    if (!r->is_chunked) {
        int64_t left = r->content_length < 0 ? 0 : r->content_length - r->body_read;
        n = (size_t)WR_MIN((int64_t)n, left);
    }
    if (n == 0)
        return WR_OK;
    say_continue(r);
    int64_t before = wr_mono_ms();
    int k = mg_read(r->conn, to, WR_MIN(n, (size_t)1 << 30));
    if (k > 0) {
        r->body_read += k;
        *got = (size_t)k;
        return WR_OK;
    }
    /* civetweb says 0 for the last chunk and for its timeout alike; only the timeout takes as long as it. */
    bool timed_out = k == 0 && wr_mono_ms() - before >= HTTP__TIMEOUT_MS - 100;
    if (r->is_chunked && k == 0 && !timed_out) {
        r->body_ended = true;
        return WR_OK;
    }
    r->close_after = true;
    return r->is_chunked && !timed_out ? WR_ERR_INVALID : k == 0 ? WR_ERR_TIMEOUT : WR_ERR_CLOSED;
}
