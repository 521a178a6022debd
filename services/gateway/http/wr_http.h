/* SPDX-License-Identifier: MIT
 *
 * The gateway's HTTP: civetweb listens, reads and parses; routing, answers, page files, bodies and the WebSocket
 * handshake are ours, and a socket that stays leaves civetweb for the plane (wr_http_upgrade, wr_http_hand_over).
 *
 * A handler runs on a worker of civetweb (100 KiB of stack: no large arrays) and may block for moments; workers are few
 * (gateway.http_threads). It must answer exactly once: one of the functions under "answers", or a hand-over. */
#ifndef WR_GATEWAY_HTTP_WR_HTTP_H
#define WR_GATEWAY_HTTP_WR_HTTP_H

#include "wr_err.h"
#include "wr_plane.h"

struct wr_http;
struct mg_connection;

enum wr_http_method {
    WR_GET = 1u << 0,
    WR_HEAD = 1u << 1,
    WR_POST = 1u << 2,
    WR_PUT = 1u << 3,
    WR_PATCH = 1u << 4,
    WR_DELETE = 1u << 5,
    WR_OPTIONS = 1u << 6,
};

/* A request; lives until the handler returns. Strings are borrowed from it. */
struct wr_http_req {
    enum wr_http_method method;
    const char *path; /* decoded, valid UTF-8, no NUL, no "..", no backslash, no "//" */
    const char *rest; /* path behind a prefix route's own part ("hall.mp4" for "/live/"), else "" */
    const char *query;      /* raw, without '?'; "" when there is none */
    bool is_upgrade;        /* a well-formed WebSocket handshake (RFC 6455 section 4.2.1) */
    int64_t content_length; /* -1: none said (chunked or no body; see is_chunked) */
    bool is_chunked;
    char
        client[64]; /* the client's address; that of X-Forwarded-For when a trusted proxy said so */
    struct wr_http *http;
    /* private: */
    struct mg_connection *conn;
    int64_t body_read; /* bytes of body taken so far */
    bool body_ended;   /* the last chunk was read */
    bool sent_continue, answered, detached, close_after;
    int status;
    int sock; /* 0: not looked for yet; -1: not found */
    char path_buf[1024];
};

typedef void (*wr_http_handler_fn)(void *ctx, struct wr_http_req *req);

struct wr_http_route {
    const char *path; /* "/api/v1/rooms", or with is_prefix "/live/" */
    bool is_prefix;   /* the longest matching prefix wins, after exact ones */
    unsigned
        methods; /* mask of WR_*; HEAD is added to GET; OPTIONS answered 204 with Allow unless in the mask */
    bool upgrade_only; /* plain HTTP is answered 426 */
    wr_http_handler_fn handler;
    void *ctx;
};

/* Adds a route; before wr_http_start. The path is borrowed for ever. */
WR_MUST_USE wr_err wr_http_add(struct wr_http *h, const struct wr_http_route *route);

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* A header's value, NULL when it is missing (the first when it comes twice). */
const char *wr_http_header(const struct wr_http_req *r, const char *name);
/* A decoded query parameter. False when missing, too long for n, not UTF-8 or with a NUL. */
bool wr_http_query(const struct wr_http_req *r, const char *name, char *out, size_t n);
/* The same on a raw query string. */
bool wr_http_query_param(const char *query, const char *name, char *out, size_t n);
/* Reads up to n bytes of the body; sends 100 Continue first when the client waits for it. *got == 0 on WR_OK: the body
 * is complete, exactly as long as was said. Errors: CLOSED (the client left), TIMEOUT (it stalled), INVALID (bad chunk). */
WR_MUST_USE wr_err wr_http_read(struct wr_http_req *r, void *to, size_t n, size_t *got);

/* Bytes of the client that wait in the kernel, 0 when that is not known. A read that asks for no more does not wait; one of
 * a chunked body that waits and then fails loses what it had taken (civetweb's), so who must not lose asks for few. */
size_t wr_http_pending(struct wr_http_req *r);
/* Ends a read (how: SHUT_RD) or also a write (SHUT_RDWR) of r that its worker is inside of: the client's bytes are over.
 * From another thread, which must know that the handler has not returned. */
void wr_http_cut(struct wr_http_req *r, int how);

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* Head and body in one write. type may be NULL (no body). extra: whole header lines, each ended by "\r\n", or NULL.
 * HEAD: the body is left out by itself. Content-Length, Date, nosniff and Connection are added. When the request's body
 * was not read to its end, a little of it is drained and the connection is closed after the answer. */
void wr_http_reply(struct wr_http_req *r, int status, const char *type, const char *extra,
                   struct wr_slice body);
/* {"error":{"code":status,"message":...}}. */
void wr_http_error(struct wr_http_req *r, int status, const char *fmt, ...) WR_PRINTF(3, 4);
/* The same with extra header lines. */
void wr_http_error_with(struct wr_http_req *r, int status, const char *extra, const char *fmt, ...)
    WR_PRINTF(4, 5);
/* Only the head; the handler then sends length bytes by wr_http_write (nothing for HEAD: false is returned then). */
bool wr_http_head(struct wr_http_req *r, int status, const char *extra, uint64_t length);
/* Blocks until taken, at most 10 s without progress. False: the client is gone; end at once. */
bool wr_http_write(struct wr_http_req *r, const void *p, size_t n);

/* ---- hand-over to the plane -------------------------------------------------------------------------------------- */

/* A place in the plane for this request's socket (wr_plane_reserve), to be asked for before a head is written. False: there
 * is none, and the client was answered 503, with extra (as above) in the head. */
bool wr_http_reserve(struct wr_http_req *r, const char *extra);
/* Answers 101 (with the subprotocol unless NULL) and moves the socket into the plane as opts says (transport is set to
 * WS). Refuse before it if you must (is_upgrade tells). On an error the client was answered and ops->close ran. */
wr_err wr_http_upgrade(struct wr_http_req *r, const char *subprotocol,
                       const struct wr_conn_opts *opts);
/* Moves the socket into the plane as RAW; the head is still to be written, by opts->ops. Not for HEAD requests. On an error
 * the client was answered, with extra in the head, and ops->close ran. */
wr_err wr_http_hand_over(struct wr_http_req *r, const char *extra, const struct wr_conn_opts *opts);
/* One of the comma-separated names in the client's Sec-WebSocket-Protocol equals name. */
bool wr_http_offers(const struct wr_http_req *r, const char *name);
/* The socket itself, when the head was written by wr_http_head or is still to be written: civetweb keeps a dummy.
 * *early (free() it) are bytes that had been read but not taken. The descriptor is non-blocking, the caller's.
 * Errors: INTERNAL (not found): the request goes on as before. */
WR_MUST_USE wr_err wr_http_detach(struct wr_http_req *r, int *fd, uint8_t **early, size_t *n_early);

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct wr_http_opts {
    const char *
        listen; /* "127.0.0.1:8000", "0.0.0.0:8000", "[::1]:8000" where IPv6 exists; port 0 = any free */
    const char *key;             /* what names the address in errors: "listen" (NULL) or "health" */
    uint32_t threads;            /* workers */
    const char *trusted_proxies; /* addresses or CIDR blocks, comma-separated; "" = none */
    struct wr_plane *plane;      /* NULL: no hand-over (the health server) */
    wr_http_handler_fn fallback; /* for paths without a route (page files); NULL = 404 */
    void *fallback_ctx;
};
WR_MUST_USE wr_err wr_http_new(const struct wr_http_opts *opts, struct wr_http **out,
                               struct wr_errmsg *err);
/* Listens. Errors with text: CONFLICT (port in use), INVALID (address), BUSY (threads). */
WR_MUST_USE wr_err wr_http_start(struct wr_http *h, struct wr_errmsg *err);
/* "127.0.0.1:8000", with the port that was taken. */
const char *wr_http_address(const struct wr_http *h);
/* Workers that serve a request or wait for one that is under way. */
uint32_t wr_http_busy(const struct wr_http *h);
void wr_http_stop(struct wr_http **h);

#endif
