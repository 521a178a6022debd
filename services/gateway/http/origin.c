/* SPDX-License-Identifier: MIT
 *
 * Whose pages may use this server. A browser sends a page's requests with the user's reach (his loopback, his network), so
 * that without a check any page that he visits could watch his cameras and write in his rooms. Two headers tell:
 *
 * Origin (RFC 6454; Fetch standard) names the page's server. It must be this one, by Host, or be in gateway.origins. Who
 * sends none is no page (VLC, curl, SDKs) or asks for something that a page may show but not read.
 *
 * Host is checked against DNS rebinding, where a page's own name is made to point here, so that its Origin equals its Host:
 * the name must be one of ours. An address is no name and cannot be rebound. On loopback the names of loopback and
 * gateway.hosts are ours. A server that others reach (it listens elsewhere, or a trusted proxy asks) has names that it
 * cannot know: there gateway.hosts, once it is set, decides, and any name is taken before. */
#include "http_priv.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

bool http__names_parse(const char *list, struct http__names *out)
{
    *out = (struct http__names){.text = strdup(list)};
    if (!out->text)
        return false;
    char *save = NULL;
    for (char *t = strtok_r(out->text, ", \t", &save); t; t = strtok_r(NULL, ", \t", &save)) {
        if (out->n == HTTP__NAMES)
            return false;
        out->any = out->any || strcmp(t, "*") == 0;
        out->v[out->n++] = t;
    }
    return true;
}

void http__names_free(struct http__names *n)
{
    free(n->text);
    *n = (struct http__names){.text = NULL};
}

bool http__origin_is_valid(const char *t)
{
    if (strcmp(t, "*") == 0)
        return true;
    size_t n = strncmp(t, "http://", 7) == 0 ? 7 : strncmp(t, "https://", 8) == 0 ? 8 : 0;
    return n && t[n] && !strpbrk(t + n, "/?#@*");
}

/* host[:port], cut in two: host without brackets' port. False: malformed. */
static bool authority_cut(const char *text, size_t n, char host[256], unsigned *port)
{
    size_t h = n;
    *port = 0;
    const char *colon = memrchr(text, ':', n), *bracket = memrchr(text, ']', n);
    if (colon && (!bracket || colon > bracket)) {
        h = (size_t)(colon - text);
        for (const char *p = colon + 1; p < text + n; p++) {
            if (*p < '0' || *p > '9' || *port > 6553)
                return false;
            *port = *port * 10 + (unsigned)(*p - '0');
        }
    }
    if (h == 0 || h >= 256)
        return false;
    for (size_t i = 0; i < h; i++)
        host[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    host[h] = 0;
    if (h > 1 && host[h - 1] == '.') /* "localhost." is the same name */
        host[h - 1] = 0;
    return true;
}

static bool is_address(const char *host)
{
    struct in_addr v4;
    return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

static bool is_loopback_name(const char *host)
{
    size_t n = strlen(host);
    return strcmp(host, "localhost") == 0 || (n > 10 && strcmp(host + n - 10, ".localhost") == 0);
}

/* Exact, or "*.example.org" for names under it. */
static bool is_listed(const struct http__names *l, const char *host)
{
    size_t n = strlen(host);
    for (size_t i = 0; i < l->n; i++) {
        const char *v = l->v[i];
        size_t m = strlen(v);
        if (strcasecmp(v, host) == 0)
            return true;
        if (v[0] == '*' && v[1] == '.' && n >= m && strcasecmp(host + n - (m - 1), v + 1) == 0)
            return true;
    }
    return l->any;
}

static bool host_is_ours(const struct wr_http *h, const char *host, bool by_proxy)
{
    if (is_address(host) || is_loopback_name(host) || is_listed(&h->hosts, host))
        return true;
    return h->hosts.n == 0 && (by_proxy || !h->is_loopback);
}

/* The last word of a list that a proxy wrote (it adds to what came). */
static struct wr_slice last_word(const char *v)
{
    const char *comma = strrchr(v, ',');
    v = comma ? comma + 1 : v;
    v += strspn(v, " \t");
    return wr_slice_of(v, strcspn(v, " \t"));
}

struct seen { /* what this server is to the client */
    char host[256];
    unsigned port; /* 0: the usual one */
    char scheme
        [8]; /* "" when it is not known: a proxy that is not in trusted_proxies may speak TLS */
};

static bool see(const struct http__ask *ask, const struct wr_http_req *r, bool by_proxy,
                struct seen *s)
{
    struct wr_slice host = ask->host;
    const char *fh = by_proxy ? wr_http_header(r, "X-Forwarded-Host") : NULL;
    const char *fp = by_proxy ? wr_http_header(r, "X-Forwarded-Proto") : NULL;
    if (fh && fh[0])
        host = last_word(fh);
    *s = (struct seen){.port = 0};
    if (fp) {
        struct wr_slice p = last_word(fp);
        (void)snprintf(s->scheme, sizeof s->scheme, "%.*s", (int)WR_MIN(p.n, 7u),
                       (const char *)p.p);
    }
    return host.n && authority_cut((const char *)host.p, host.n, s->host, &s->port);
}

static bool is_same(const struct seen *s, const char *origin)
{
    char host[256];
    unsigned port, usual;
    size_t skip = strncasecmp(origin, "http://", 7) == 0    ? 7
                  : strncasecmp(origin, "https://", 8) == 0 ? 8
                                                            : 0;
    if (!skip || !authority_cut(origin + skip, strlen(origin + skip), host, &port))
        return false;
    usual = skip == 7 ? 80 : 443;
    if (s->scheme[0] && strcasecmp(s->scheme, skip == 7 ? "http" : "https") != 0)
        return false;
    return strcmp(host, s->host) == 0 && (port ? port : usual) == (s->port ? s->port : usual);
}

int http__origin_check(const struct wr_http *h, struct wr_http_req *r, bool by_proxy, char *why,
                       size_t n)
{
    struct seen s;
    const char *origin = wr_http_header(r, "Origin");
    bool has_host = see(r->ask, r, by_proxy, &s);
    r->cors[0] = 0;
    if (has_host && !host_is_ours(h, s.host, by_proxy)) {
        (void)snprintf(why, n,
                       "the name %.100s in Host is not one of this server's: use its address or "
                       "localhost, or add the name to gateway.hosts in its configuration",
                       s.host);
        wr_count(&http__m_foreign, 1);
        return 403;
    }
    if (!origin || (has_host && is_same(&s, origin)))
        return 0;
    bool fits = strlen(origin) < 200 && !strpbrk(origin, "\r\n");
    bool listed = h->origins.any;
    for (size_t i = 0; i < h->origins.n && !listed; i++)
        listed = strcasecmp(h->origins.v[i], origin) == 0;
    if (!listed || !fits) {
        (void)snprintf(why, n,
                       "pages of the origin %.100s may not use this server: to allow it, add it to "
                       "gateway.origins in its configuration",
                       origin);
        wr_count(&http__m_foreign, 1);
        return 403;
    }
    (void)snprintf(r->cors, sizeof r->cors, "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n",
                   origin);
    memcpy(r->ask->cors, r->cors, sizeof r->cors);
    return 0;
}
