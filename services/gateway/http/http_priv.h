/* SPDX-License-Identifier: MIT
 *
 * Inside of the HTTP layer. For http/ only. */
#ifndef WR_GATEWAY_HTTP_HTTP_PRIV_H
#define WR_GATEWAY_HTTP_HTTP_PRIV_H

#include "wr_http.h"
#include "wr_metrics.h"
#include <civetweb.h>
#include <netinet/in.h>
#include <stdatomic.h>

#define HTTP__ROUTES 48u
#define HTTP__PROXIES 32u
#define HTTP__TIMEOUT_MS 10000 /* civetweb waits so long for the next byte */

struct http__block { /* of addresses; IPv4 as IPv4-mapped IPv6 */
    struct in6_addr addr;
    unsigned bits;
};

struct wr_http {
    struct mg_context *mg;
    struct wr_plane *plane;
    wr_http_handler_fn fallback;
    void *fallback_ctx;
    const char *key; /* of the address: --KEY, gateway.KEY */
    char listen[128];
    char address[160];
    char threads[16];
    uint32_t num_threads;
    atomic_uint busy, workers;
    struct wr_http_route routes[HTTP__ROUTES];
    size_t num_routes;
    struct http__block proxies[HTTP__PROXIES];
    size_t num_proxies;
    int dummy; /* a socket whose other end is closed: what civetweb is left with after a hand-over */
    char log[256]; /* civetweb's newest complaint, for the error of a failed start */
};

/* request.c: fills req from civetweb's request. Returns 0, or the status to refuse it with (*why says more). */
int http__parse(struct wr_http *h, struct mg_connection *conn, struct wr_http_req *req,
                const char **why);
/* addr.c */
bool http__blocks_parse(const char *text, struct http__block *out, size_t max, size_t *n);
bool http__addr_parse(const char *text, struct in6_addr *out);
bool http__addr_in(const struct http__block *b, size_t n, const struct in6_addr *a);
/* reply.c */
void http__finish(
    struct wr_http_req *r); /* after the handler: closes what must not be used again */
/* Ends the connection; unread: something of the client's is on its way still, which must not reset the answer. */
void http__end(struct wr_http_req *r, bool unread);
void http__allow(unsigned methods, char out[96]);
/* detach.c */
int http__dummy_open(void);
/* handshake.c */
void http__accept_key(const char *key, char out[29]);

extern struct wr_counter http__m_requests, http__m_errors, http__m_upgrades, http__m_detach_failed;
extern struct wr_gauge http__g_busy;

#endif
