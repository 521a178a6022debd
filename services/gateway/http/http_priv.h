/* SPDX-License-Identifier: MIT
 *
 * Inside of the HTTP layer. For http/ only.
 *
 * A request's way: front.c (plane thread) reads the head, makes an http__ask, and gives it to a free slot of pool.c, whose
 * connection carries the head to a civetweb worker. http.c (worker) finds the ask by the slot, runs the handler, and posts
 * the verdict (reply.c) to the client's connection, where front.c carries it out. */
#ifndef WR_GATEWAY_HTTP_HTTP_PRIV_H
#define WR_GATEWAY_HTTP_HTTP_PRIV_H

#include "head.h"
#include "pace.h"
#include "wr_buf.h"
#include "wr_http.h"
#include "wr_metrics.h"
#include <civetweb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#define HTTP__ROUTES 48u
#define HTTP__PROXIES 32u
#define HTTP__NAMES 64u /* of gateway.origins and of gateway.hosts */
#define HTTP__HEAD_MS \
    10000 /* for a whole head, from its first byte (of the first one: from accept) */
#define HTTP__IDLE_MS 75000 /* between two requests of a connection */
#define HTTP__PARK_MS 120000u
#define HTTP__QUEUE 1024u            /* requests of one thread that wait for a worker */
#define HTTP__QUEUE_MS 10000         /* and for how long */
#define HTTP__LOW_BYTES (256u << 10) /* a source is asked for more below it */
#define HTTP__FILE_TURN (512u << 10) /* bytes of a file in one turn */
#define HTTP__BODY_IDLE_MS 500
#define HTTP__BODY_LOOK_MS \
    1000u /* at one that somebody takes: what came before a pause is to be kept soon */
#define HTTP__SECRET 16u
#define HTTP__ASK_HEADER "X-Watchroom-Ask"

struct http__block { /* of addresses; IPv4 as IPv4-mapped IPv6 */
    struct in6_addr addr;
    unsigned bits;
};

struct http__slot;
struct http__pool;
struct http__front;

struct http__names { /* a list of the configuration, cut apart */
    char *text;
    const char *v[HTTP__NAMES];
    size_t n;
    bool any; /* "*" */
};

struct wr_http {
    atomic_uint refs; /* its own, and one of each ask and of each slot's connection */
    atomic_bool is_stopping;
    struct mg_context *mg;
    struct wr_plane *plane;
    struct wr_listener *listener;
    struct http__ahead *ahead;
    wr_http_handler_fn fallback;
    void *fallback_ctx;
    const char *key; /* of the address: --KEY, gateway.KEY */
    char listen[128];
    bool is_loopback; /* it listens on this machine alone */
    uint32_t per_address, num_threads, patience_ms;
    atomic_uint busy;
    struct wr_http_route routes[HTTP__ROUTES];
    size_t num_routes;
    struct http__block proxies[HTTP__PROXIES];
    size_t num_proxies;
    struct http__names origins, hosts;
    char log[256]; /* civetweb's newest complaint, for the error of a failed start */
    /* the internal connections (pool.c): */
    uint8_t secret[HTTP__SECRET];
    struct sockaddr_in inner,
        from; /* where civetweb listens; the only address that it takes connections of */
    struct http__pool *pools; /* one a plane thread */
    uint32_t num_pools, num_slots;
    struct http__slot *slots;
};

/* ---- what the worker is asked (front_ask.c makes it) ------------------------------------------------------------------- */

struct http__ask {
    atomic_uint refs;
    struct wr_http *http;
    struct wr_plane *plane;
    struct wr_conn_id conn;
    uint32_t no; /* of the request on its connection */
    int64_t since_ms;
    struct wr_addr peer, local;
    bool keep_alive, is_11, is_head, wants_upgrade, expects_continue, is_chunked;
    bool has_rest;         /* bytes of a body were left on the connection when it was asked */
    atomic_bool rest_over; /* they were read since */
    int64_t content_length;
    struct wr_slice body;   /* of WR_BODY_SMALL; owned */
    struct wr_slice host;   /* within text */
    char cors[300];         /* what every answer tells an allowed origin */
    size_t n_text, slot_at; /* where the slot's number is written */
    char text[];            /* the head as it goes to civetweb; then the host */
};
struct http__ask *http__ask_ref(struct http__ask *a);
void http__ask_unref(struct http__ask *a); /* NULL is fine */

/* ---- what is to be done (reply.c makes it, front.c does it) --------------------------------------------------------- */

enum http__verdict_kind {
    HTTP__REPLY = 1,
    HTTP__FILE,
    HTTP__PIECES,
    HTTP__UPGRADE,
    HTTP__HAND_OVER,
    HTTP__PARK,
};
struct http__verdict {
    enum http__verdict_kind kind;
    bool keep;              /* the connection goes on */
    struct wr_frame *frame; /* what is to be written first, or NULL */
    int fd;
    uint64_t offset, n;
    int64_t length;
    bool chunked, no_body;
    const struct wr_http_source *source;
    void *user;
    struct wr_conn_opts conn;
    struct wr_http_park park;
    const struct wr_http_body_ops *body; /* PARK: the body is taken; with user */
    void *body_user;
};
void http__verdict_drop(
    struct http__verdict *v); /* undone: closes and ends what it holds; NULL is fine */

/* The front's own answers. */
struct http__verdict *http__reply_new(struct http__ask *a, bool keep, bool is_head, int status,
                                      const char *type, const char *extra, struct wr_slice body);
struct http__verdict *http__error_new(struct http__ask *a, bool keep, bool is_head, int status,
                                      const char *extra, const char *text);
void http__finish(struct wr_http_req *r,
                  struct http__slot *slot); /* after the handler: posts the verdict */
void http__allow(unsigned methods, char out[96]);

void http__unref(struct wr_http *h);

/* ---- front.c ---- */
wr_err http__front_listen(struct wr_http *h, struct wr_errmsg *err);
/* A verdict for ask, on its connection's thread; moves v. c may be NULL. */
void http__front_verdict(struct wr_conn *c, struct http__ask *ask, struct http__verdict *v);
/* A request that no worker answered. */
void http__front_failed(struct wr_conn *c, struct http__ask *ask, int status, const char *why);

/* ---- body.c: reading a body, on the plane ---- */
struct wr_http_body {
    struct http__front *front;
    struct wr_conn *conn;
    const struct wr_http_body_ops *ops;
    void *user;
    uint32_t no;
    bool is_chunked, is_paused, is_over;
    bool is_idle;       /* its owner was told that nothing comes */
    bool owes_continue; /* the client waits for it; said when the body is first read */
    uint64_t left;      /* without coding */
    struct http__chunked chunked;
    uint64_t came; /* bytes */
    struct http__pace pace;
};
struct wr_http_body *http__body_new(struct wr_conn *c, struct http__front *f, uint32_t no,
                                    bool is_chunked, int64_t length,
                                    const struct wr_http_body_ops *ops, void *user);
/* Bytes that came: how many belonged to the body. May call data; *how is set when it ended. */
size_t http__body_feed(struct wr_http_body *b, const uint8_t *p, size_t n,
                       enum wr_http_body_end *how);
/* Reads what the socket has (one read): false when there is nothing now. Bytes behind the body go to *extra (at most a
 * scratch's length, borrowed). */
bool http__body_read(struct wr_http_body *b, struct wr_slice *extra, enum wr_http_body_end *how);
/* Calls ops->end and frees. */
void http__body_end(struct wr_http_body **b, enum wr_http_body_end how);
/* Now and then: tells the owner of one that nothing comes of. True: it is too slow, and is to be ended. */
bool http__body_look(struct wr_http_body *b, int64_t now_ms, uint32_t patience_ms);
/* front_body.c: */
void http__front_body_paused(struct http__front *f, bool pause);
struct wr_http_body *http__front_body(struct wr_conn *c, uint32_t no);

/* ---- pool.c ---- */
wr_err http__pool_new(struct wr_http *h);  /* the slots, the secret and the addresses */
wr_err http__pool_open(struct wr_http *h); /* dials; civetweb listens already */
void http__pool_free(struct wr_http *h);
/* Gives ask to a free slot of the connection's thread, or lets it wait. Moves a reference. False: too many wait (the
 * reference was dropped). [own] */
bool http__pool_submit(struct wr_http *h, uint32_t thread, struct http__ask *ask);
/* The worker's side: the ask that the request on conn is for; NULL: it is not ours. */
struct http__ask *http__pool_take(struct wr_http *h, struct mg_connection *conn,
                                  struct http__slot **slot);
/* The worker is done with it. [own] */
void http__slot_free(struct http__slot *s);
/* Requests that waited too long are answered 503. [own] */
void http__pool_look(struct wr_http *h, uint32_t thread, int64_t now_ms);

/* ---- request.c: fills req from civetweb's request and the ask. Returns 0, or the status to refuse it with (why
 * says more). ---- */
int http__parse(struct wr_http *h, struct mg_connection *conn, struct http__ask *ask,
                struct wr_http_req *req, char *why, size_t n);
/* The route of a raw target; NULL: the fallback. */
const struct wr_http_route *http__route_of(const struct wr_http *h, struct wr_slice target);
const struct wr_http_route *http__route_find(const struct wr_http *h, const char *path,
                                             const char **rest);
/* ---- origin.c ---- */
bool http__names_parse(const char *list, struct http__names *out);
void http__names_free(struct http__names *n);
/* Host and Origin of a request: 0, or the status to refuse it with; why is written. Fills req->cors. */
int http__origin_check(const struct wr_http *h, struct wr_http_req *req, bool by_proxy, char *why,
                       size_t n);
/* "https://rooms.example.org" or a pattern is well-formed. */
bool http__origin_is_valid(const char *text);
/* ---- addr.c ---- */
bool http__blocks_parse(const char *text, struct http__block *out, size_t max, size_t *n);
bool http__addr_parse(const char *text, struct in6_addr *out);
bool http__addr_in(const struct http__block *b, size_t n, const struct in6_addr *a);
/* handshake.c */
void http__accept_key(const char *key, char out[29]);

extern struct wr_counter http__m_slow_readers, http__m_requests, http__m_errors, http__m_upgrades,
    http__m_bad_heads, http__m_late_heads, http__m_queue_full, http__m_lost, http__m_foreign,
    http__m_strangers;
extern struct wr_gauge http__g_busy, http__g_parked, http__g_queued;

#endif
