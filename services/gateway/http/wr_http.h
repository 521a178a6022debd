/* SPDX-License-Identifier: MIT
 *
 * The gateway's HTTP. The plane accepts, reads and checks request heads, bodies and writes answers (front.c); civetweb
 * behind it gets whole heads over connections of the plane's own, and its workers run the handlers here, which decide. What
 * a handler decides is a verdict, posted to the client's connection: an answer, a file, pieces of something long, a body
 * that is to be read, a WebSocket, an endless stream, or "later". So no worker ever reads from, writes to or waits for a
 * client.
 *
 * A handler runs on a worker of civetweb (100 KiB of stack: no large arrays) and may block for moments; workers are few
 * (gateway.http_threads). It must answer exactly once: one of the functions under "answers", "later", "bodies" or
 * "hand-over".
 *
 * Marks: [any] any thread; [own] on the plane thread of the client's connection; without a mark: the handler's. */
#ifndef WR_GATEWAY_HTTP_WR_HTTP_H
#define WR_GATEWAY_HTTP_WR_HTTP_H

#include "wr_err.h"
#include "wr_plane.h"

struct wr_http;
struct http__ask;
struct http__verdict;
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

/* What becomes of a request's body. */
enum wr_http_body_kind {
    WR_BODY_NONE =
        0, /* it is read and dropped: up to 64 KiB before the handler is asked, else behind the answer, which
                         then ends the connection */
    WR_BODY_SMALL, /* whole before the handler is asked (req->body), chunked or not; over 64 KiB: 413 */
    WR_BODY_STREAM, /* the handler is asked at the head and may take the body (wr_http_take_body); one that it does not
                         take is dropped behind the answer */
};
#define WR_BODY_SMALL_BYTES (64u << 10)

/* A request; lives until the handler returns. Strings are borrowed from it. */
struct wr_http_req {
    enum wr_http_method method;
    const char *path; /* decoded, valid UTF-8, no NUL, no "..", no backslash, no "//" */
    const char *rest; /* path behind a prefix route's own part ("hall.mp4" for "/live/"), else "" */
    const char *query;      /* raw, without '?'; "" when there is none */
    bool is_upgrade;        /* a well-formed WebSocket handshake (RFC 6455 section 4.2.1) */
    int64_t content_length; /* of the body; -1: none said (chunked or no body; see is_chunked) */
    bool is_chunked;
    struct wr_slice body; /* WR_BODY_SMALL: the whole body, its coding removed */
    char
        client[64]; /* the client's address; that of X-Forwarded-For when a trusted proxy said so */
    struct wr_http *http;
    /* private: */
    struct mg_connection *conn;
    struct http__ask *ask;
    struct http__verdict *verdict; /* what was decided; posted when the handler returns */
    bool answered, close_after;
    int status;
    char cors[300]; /* header lines for an allowed foreign origin, else "" */
    char path_buf[1024];
};

typedef void (*wr_http_handler_fn)(void *ctx, struct wr_http_req *req);

struct wr_http_route {
    const char *path; /* "/api/v1/rooms", or with is_prefix "/live/" */
    bool is_prefix;   /* the longest matching prefix wins, after exact ones */
    unsigned
        methods; /* mask of WR_*; HEAD is added to GET; OPTIONS answered 204 with Allow unless in the mask */
    bool upgrade_only; /* plain HTTP is answered 426 */
    enum wr_http_body_kind body;
    wr_http_handler_fn handler;
    void *ctx;
};

/* Adds a route; before wr_http_start. The path is borrowed for ever. */
WR_MUST_USE wr_err wr_http_add(struct wr_http *h, const struct wr_http_route *route);

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* A header's value without blanks around it, NULL when it is missing (the first when it comes twice). Not those that are
 * of the connection and not of the request (Connection, Transfer-Encoding, Content-Length, Expect, TE, Trailer). */
const char *wr_http_header(const struct wr_http_req *r, const char *name);
/* A decoded query parameter. False when missing, too long for n, not UTF-8 or with a NUL. */
bool wr_http_query(const struct wr_http_req *r, const char *name, char *out, size_t n);
/* The same on a raw query string. */
bool wr_http_query_param(const char *query, const char *name, char *out, size_t n);
/* One of the comma-separated names in the client's Sec-WebSocket-Protocol equals name. */
bool wr_http_offers(const struct wr_http_req *r, const char *name);
/* Header lines (each ended by "\r\n") that tell a browser that this request's origin may read the answer; "" when it is
 * no foreign origin. All answers here carry them by themselves; only who writes a head himself (wr_http_hand_over) needs
 * them. */
const char *wr_http_cors(const struct wr_http_req *r);

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* type may be NULL (no body). extra: whole header lines, each ended by "\r\n", or NULL. HEAD: the body is left out by
 * itself. Content-Length, Date, nosniff, Connection and the lines of an allowed origin are added. body is copied. When the
 * request's body was not read to its end, the connection is closed after the answer, in a way that lets the client read
 * it. */
void wr_http_reply(struct wr_http_req *r, int status, const char *type, const char *extra,
                   struct wr_slice body);
/* {"error":{"code":status,"message":...}}. */
void wr_http_error(struct wr_http_req *r, int status, const char *fmt, ...) WR_PRINTF(3, 4);
/* The same with extra header lines. */
void wr_http_error_with(struct wr_http_req *r, int status, const char *extra, const char *fmt, ...)
    WR_PRINTF(4, 5);
/* n bytes of a file from offset, by sendfile, as fast as the client takes them. Moves fd (a regular file), also for HEAD,
 * which gets the head alone. A file that is shorter than that ends the connection early. */
void wr_http_send_fd(struct wr_http_req *r, int status, const char *extra, int fd, uint64_t offset,
                     uint64_t n);

/* Names one answer of one connection, for threads that feed it; one that is over is simply not there any more. */
struct wr_http_to {
    struct wr_plane *plane;
    struct wr_conn_id conn;
    uint32_t no;
};

/* Where an answer's bytes come from when they are made while it is sent. */
struct wr_http_source {
    /* The connection has room for more: give it (wr_http_give), now or later. Runs first when the head was queued, and then
     * each time that fewer than 256 KiB wait and something was given since it ran last. [own] */
    void (*more)(struct wr_http_to to, void *user);
    /* Last callback, exactly once; frees user. is_whole: all of it was given and is with the kernel. [own] */
    void (*end)(void *user, bool is_whole);
};
/* length: of what will be given, exactly; -1: not known (chunked; HTTP/1.0: the end of the connection ends it). HEAD: the
 * head alone, and end runs with is_whole. */
void wr_http_send_pieces(struct wr_http_req *r, int status, const char *extra, int64_t length,
                         const struct wr_http_source *ops, void *user);
/* Bytes within msg, which is moved, or (msg NULL) bytes that are copied. More than length ends the connection. [any] */
void wr_http_give(struct wr_http_to to, struct wr_msg *msg, struct wr_slice bytes);
/* There is nothing more. With a known length it may be left out. [any] */
void wr_http_give_end(struct wr_http_to to);
/* It cannot be gone on: the connection is cut, so that the client sees that the answer is not whole. [any] */
void wr_http_give_up(struct wr_http_to to);

/* ---- later --------------------------------------------------------------------------------------------------------- */

/* A request that waits for its answer without a thread. Whoever has it must end it exactly once, by one of the functions
 * below, on any thread, whatever became of the client meanwhile; that frees it and sets the pointer NULL. */
struct wr_http_later;
struct wr_http_park {
    /* The client left, the deadline passed (it was answered 504), or the server ends (503): the work can be dropped. A
     * hint: the request is still to be ended. At most once, never after it was ended by the same plane thread; may be
     * NULL. [own] */
    void (*gone)(void *user);
    void *user;
    uint32_t deadline_ms; /* 0 = 120,000 */
};
/* The handler returns after it, with nothing else answered. What it needs of the request later it copies. opts (copied) may
 * be NULL. NULL: no memory, and the client was answered 503. */
struct wr_http_later *wr_http_park(struct wr_http_req *r, const struct wr_http_park *opts);
/* As the functions without later_. [any] */
void wr_http_later_reply(struct wr_http_later **l, int status, const char *type, const char *extra,
                         struct wr_slice body);
void wr_http_later_error(struct wr_http_later **l, int status, const char *extra, const char *fmt,
                         ...) WR_PRINTF(4, 5);
void wr_http_later_fd(struct wr_http_later **l, int status, const char *extra, int fd,
                      uint64_t offset, uint64_t n);
void wr_http_later_pieces(struct wr_http_later **l, int status, const char *extra, int64_t length,
                          const struct wr_http_source *ops, void *user);

/* ---- bodies -------------------------------------------------------------------------------------------------------- */

enum wr_http_body_end {
    WR_BODY_WHOLE = 1, /* exactly as long as was said, or its last chunk came */
    WR_BODY_LEFT,      /* the client went away, or ended its half, in the middle */
    WR_BODY_STALLED, /* no byte for 60 s, or fewer than 64 KiB in 120 s (time that it was paused does not count) */
    WR_BODY_MALFORMED, /* broken chunked coding */
    WR_BODY_DRAINING,  /* the server ends */
    WR_BODY_ANSWERED, /* the request was answered before; what still comes is dropped (3 s, 256 MiB) */
};
struct wr_http_body;
/* All [own]; they must not block. */
struct wr_http_body_ops {
    /* The body flows from now on. May be NULL. */
    void (*begin)(struct wr_http_body *b, void *user);
    /* Where the next bytes are to be received, so that they need no copy: a body without coding goes right there. *n == 0:
     * there is no room now, and the body pauses until it is resumed. NULL: the plane's own room. */
    void (*buffer)(struct wr_http_body *b, void *user, uint8_t **p, size_t *n);
    /* Decoded bytes, never more than was said. bytes.p is what buffer gave when they lie there already; else they are
     * borrowed, and up to 64 KiB may come whatever buffer's *n was. */
    void (*data)(struct wr_http_body *b, void *user, struct wr_slice bytes);
    /* No byte came for half a second to two (it was not paused); once, until the next byte. May be NULL. */
    void (*idle)(struct wr_http_body *b, void *user);
    /* Last callback, exactly once: b is no more. The request is still to be answered, unless it was. */
    void (*end)(struct wr_http_body *b, void *user, enum wr_http_body_end how);
};
/* Only for WR_BODY_STREAM: parks the request and lets its body flow. 100 Continue is said when the client waits for it. A
 * request without a body ends at once, whole. The deadline of opts begins when the body ended. An answer that comes before
 * (later_*) ends the body (ANSWERED). NULL: no memory: the client was answered 503 and no callback runs. */
struct wr_http_later *wr_http_take_body(struct wr_http_req *r, const struct wr_http_body_ops *ops,
                                        void *user, const struct wr_http_park *opts);
/* Stops and resumes reading: the client feels TCP's own back-pressure. [own] */
void wr_http_body_pause(struct wr_http_body *b, bool pause);
/* Names the body for other threads. [own] */
struct wr_http_to wr_http_body_to(const struct wr_http_body *b);
/* Runs on the body's thread; b is NULL when the body is over. fn runs exactly once. [any] */
typedef void (*wr_http_body_fn)(struct wr_http_body *b, void *arg);
void wr_http_body_post(struct wr_http_to to, wr_http_body_fn fn, void *arg);

/* ---- hand-over to the plane -------------------------------------------------------------------------------------- */

/* Answers 101 (with the subprotocol unless NULL) and turns the connection into what opts says (transport is set to WS).
 * Refuse before it if you must (is_upgrade tells). On an error the client was answered and ops->close ran (c is NULL). */
wr_err wr_http_upgrade(struct wr_http_req *r, const char *subprotocol,
                       const struct wr_conn_opts *opts);
/* Turns the connection into a RAW one; the head is still to be written, by opts->ops. Not for HEAD requests. On an error
 * the client was answered, with extra in the head, and ops->close ran. A client that leaves before the connection has
 * become one: ops->close runs on the plane thread, c is NULL. */
wr_err wr_http_hand_over(struct wr_http_req *r, const char *extra, const struct wr_conn_opts *opts);

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct wr_http_opts {
    const char *listen; /* "127.0.0.1:8000", "0.0.0.0:8000", "[::1]:8000"; port 0 = any free */
    const char *key;    /* what names the address in errors: "listen" (NULL) or "health" */
    uint32_t threads;   /* workers */
    const char *trusted_proxies; /* addresses or CIDR blocks, comma-separated; "" = none */
    struct wr_plane *plane;      /* accepts and holds the connections */
    uint32_t
        per_address; /* connections that one address may have; 0 = any number. Trusted proxies: any number */
    uint32_t
        patience_ms; /* a body or an answer of which nothing moves for so long ends, or of which less than 64 KiB do in
                             twice as long; 0 = 60,000 */
    const char *origins; /* foreign origins that may use this server, comma-separated, or "*" */
    const char *hosts;   /* names in Host that are this server's, comma-separated, or "*" */
    wr_http_handler_fn fallback; /* for paths without a route (page files); NULL = 404 */
    void *fallback_ctx;
};
WR_MUST_USE wr_err wr_http_new(const struct wr_http_opts *opts, struct wr_http **out,
                               struct wr_errmsg *err);
/* Listens. Errors with text: CONFLICT (port in use), INVALID (address), BUSY (threads). */
WR_MUST_USE wr_err wr_http_start(struct wr_http *h, struct wr_errmsg *err);
/* "127.0.0.1:8000", with the port that was taken. */
const char *wr_http_address(const struct wr_http *h);
/* For ports beside this one: is it a trusted proxy, and how many connections may one address have that is none? [any] */
bool wr_http_is_proxy(const struct wr_http *h, const struct wr_addr *a);
uint32_t wr_http_per_address(const struct wr_http *h);
/* Workers that serve a request. */
uint32_t wr_http_busy(const struct wr_http *h);
/* Ends the workers and frees. The plane's connections must be gone (wr_plane_cut): no client is asked for any more. Parked
 * requests may still be ended after it, as long as the plane is there. NULL is fine. */
void wr_http_stop(struct wr_http **h);

#endif
