/* SPDX-License-Identifier: MIT
 *
 * What a handler sees of a request: the decoded path, the client's address, headers, query parameters. The head was
 * checked by the plane (head.c) before civetweb read it. */
#include "http_priv.h"
#include "wr_buf.h"
#include <stdio.h>
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
    if (!req->ask->wants_upgrade || header_count(ri, "Sec-WebSocket-Key", &key) != 1 ||
        strlen(key) != 24 || strcmp(key + 22, "==") != 0) {
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

/* Whose request it is; true when a trusted proxy says so. */
static bool client_parse(const struct wr_http *h, const struct mg_request_info *ri,
                         struct wr_http_req *req)
{
    const char *v = NULL;
    (void)wr_addr_text(&req->ask->peer, req->client);
    if (!wr_http_is_proxy(h, &req->ask->peer))
        return false;
    if (header_count(ri, "X-Forwarded-For", &v) == 1)
        forwarded_for(h, v, req->client, sizeof req->client);
    return true;
}

int http__parse(struct wr_http *h, struct mg_connection *conn, struct http__ask *ask,
                struct wr_http_req *req, char *why, size_t n)
{
    const struct mg_request_info *ri = mg_get_request_info(conn);
    const char *text = "";
    req->http = h;
    req->conn = conn;
    req->ask = ask;
    req->path = req->path_buf;
    req->rest = "";
    req->query = ri->query_string ? ri->query_string : "";
    req->method = (enum wr_http_method)method_parse(ri->request_method);
    req->content_length = ask->content_length;
    req->is_chunked = ask->is_chunked;
    req->body = ask->body;
    bool by_proxy = client_parse(h, ri, req);
    int status = http__origin_check(h, req, by_proxy, why, n);
    if (status)
        return status;
    status = path_parse(ri->request_uri ? ri->request_uri : "", req->path_buf, sizeof req->path_buf,
                        &text);
    if (!status)
        status = upgrade_parse(ri, req, &text);
    if (!status && (req->is_chunked || req->content_length > 0) && req->is_upgrade) {
        text = "a WebSocket handshake has no body";
        status = 400;
    }
    if (status)
        (void)snprintf(why, n, "%s", text);
    return status;
}

/* Which route a head's target has, before civetweb saw it: what becomes of the body depends on it. */
const struct wr_http_route *http__route_of(const struct wr_http *h, struct wr_slice target)
{
    char raw[1024], path[1024];
    const char *why, *rest;
    const uint8_t *q = memchr(target.p, '?', target.n);
    size_t n = q ? (size_t)(q - target.p) : target.n;
    if (n == 0 || n >= sizeof raw)
        return NULL;
    memcpy(raw, target.p, n);
    raw[n] = 0;
    return path_parse(raw, path, sizeof path, &why) == 0 ? http__route_find(h, path, &rest) : NULL;
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

const char *wr_http_cors(const struct wr_http_req *r)
{
    return r->cors;
}
