/* SPDX-License-Identifier: MIT
 *
 * The internal connections between the plane and civetweb. civetweb listens on a port of its own choosing on an address of
 * 127.0.0.0/8 that was drawn for it, takes connections of one other such address only, and has exactly as many workers as
 * there are slots here; each slot's connection is kept for ever. So a worker belongs to a slot, and a stranger on this
 * machine who finds the port gets none; what he could send would miss the secret that every request carries, and is closed
 * without a word.
 *
 * Only whole heads go over, one request at a time, and nothing comes back: the worker posts its verdict (http__finish). */
#include "http_priv.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct http__slot {
    struct wr_http *h;
    uint32_t index;
    /* the plane thread's: */
    struct http__pool *pool;
    struct wr_conn *c; /* NULL: not connected */
    bool is_listed;
    struct http__ask *ask; /* under way */
    struct http__slot *next;
    /* of both: the worker takes it, once */
    _Atomic(struct http__ask *) given;
};

struct waiting {
    struct http__ask *ask;
    int64_t since_ms;
};
struct http__pool { /* a plane thread's */
    struct http__slot *idle;
    struct waiting *queue; /* ring of HTTP__QUEUE */
    uint32_t head, n;
};

/* ---- the plane's side ---- */

static void give(struct http__slot *s, struct http__ask *ask)
{
    char index[9];
    (void)snprintf(index, sizeof index, "%08x", s->index);
    memcpy(ask->text + ask->slot_at, index, 8);
    s->ask = ask;
    atomic_store(&s->given, http__ask_ref(ask));
    struct wr_frame *f = wr_frame_plain(wr_slice_of(ask->text, ask->n_text));
    if (f) {
        wr_conn_send(s->c, f);
        wr_conn_flush(s->c);
    } else {
        wr_conn_cut(s->c); /* its end answers the request */
    }
    wr_frame_unref(f);
}

static void go_on(struct http__pool *p)
{
    while (p->n && p->idle) {
        struct http__slot *s = p->idle;
        p->idle = s->next;
        s->is_listed = false;
        struct http__ask *ask = p->queue[p->head].ask;
        p->head = (p->head + 1) % HTTP__QUEUE;
        p->n--;
        wr_gauge_add(&http__g_queued, -1);
        give(s, ask);
    }
}

static void list(struct http__slot *s)
{
    if (!s->c || s->ask || s->is_listed)
        return;
    s->is_listed = true;
    s->next = s->pool->idle;
    s->pool->idle = s;
    go_on(s->pool);
}

void http__slot_free(struct http__slot *s)
{
    struct http__ask *a = s->ask;
    s->ask = NULL;
    http__ask_unref(a);
    list(s);
}

struct failed {
    struct http__ask *ask;
    int status;
    const char *why;
};

static void run_failed(struct wr_conn *c, void *arg)
{
    struct failed *f = arg;
    http__front_failed(c, f->ask, f->status, f->why);
    http__ask_unref(f->ask);
    free(f);
}

/* Moves the reference. */
static void fail(struct http__ask *ask, int status, const char *why)
{
    struct failed *f = malloc(sizeof *f);
    if (!f)
        abort(); /* a client would wait for ever */
    *f = (struct failed){ask, status, why};
    wr_plane_post(ask->plane, ask->conn, run_failed, f);
}

static void handle_open(struct wr_conn *c, void *user)
{
    struct http__slot *s = user;
    s->c = c;
    list(s);
}

/* civetweb says something only when it refuses a head by itself, and then closes. */
static void handle_readable(struct wr_conn *c, void *user)
{
    (void)user;
    size_t room;
    uint8_t *to = wr_conn_scratch(c, &room);
    if (wr_conn_recv(c, to, room) == 0)
        wr_conn_cut(c);
}

static wr_err dial(struct http__slot *s, uint32_t thread);

static void unlist(struct http__slot *s)
{
    for (struct http__slot **at = &s->pool->idle; s->is_listed && *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    s->is_listed = false;
}

static void handle_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)why;
    struct http__slot *s = user;
    unlist(s);
    s->c = NULL;
    struct http__ask *given = atomic_exchange(&s->given, NULL);
    struct http__ask *ask = s->ask;
    if (given) { /* no worker saw it */
        s->ask = NULL;
        http__ask_unref(given);
        wr_count(&http__m_lost, 1);
        fail(ask, 400, "the server could not read this request");
    }
    if (c && !wr_conn_is_draining(c) && !atomic_load(&s->h->is_stopping))
        (void)dial(s, wr_conn_thread(c)); /* tried again when a request waits */
    http__unref(s->h);
}

static const struct wr_conn_ops slot_ops = {
    .open = handle_open, .readable = handle_readable, .close = handle_close};

static wr_err dial(struct http__slot *s, uint32_t thread)
{
    union {
        struct sockaddr_in in;
        struct sockaddr sa;
    } to = {.in = s->h->inner}, from = {.in = s->h->from};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return wr_err_from_errno(errno);
    if (bind(fd, &from.sa, sizeof from.in) != 0 || connect(fd, &to.sa, sizeof to.in) != 0) {
        wr_err e = wr_err_from_errno(errno);
        (void)close(fd);
        return e;
    }
    struct wr_conn_opts o = {.transport = WR_TRANSPORT_STREAM,
                             .policy = WR_QUEUE_OWN,
                             .ops = &slot_ops,
                             .user = s,
                             .is_internal = true,
                             .thread = thread + 1};
    atomic_fetch_add(&s->h->refs, 1); /* the connection's, until its close */
    return wr_plane_adopt(s->h->plane, fd, (struct wr_slice){0}, &o);
}

bool http__pool_submit(struct wr_http *h, uint32_t thread, struct http__ask *ask)
{
    struct http__pool *p = &h->pools[thread];
    if (p->idle) {
        struct http__slot *s = p->idle;
        p->idle = s->next;
        s->is_listed = false;
        give(s, ask);
        return true;
    }
    if (p->n == HTTP__QUEUE) {
        wr_count(&http__m_queue_full, 1);
        http__ask_unref(ask);
        return false;
    }
    p->queue[(p->head + p->n++) % HTTP__QUEUE] = (struct waiting){ask, wr_mono_ms()};
    wr_gauge_add(&http__g_queued, 1);
    return true;
}

void http__pool_look(struct wr_http *h, uint32_t thread, int64_t now_ms)
{
    struct http__pool *p = &h->pools[thread];
    while (p->n && now_ms - p->queue[p->head].since_ms > HTTP__QUEUE_MS) {
        struct http__ask *ask = p->queue[p->head].ask;
        p->head = (p->head + 1) % HTTP__QUEUE;
        p->n--;
        wr_gauge_add(&http__g_queued, -1);
        wr_count(&http__m_queue_full, 1);
        fail(ask, 503, "the server is too busy; try again");
    }
    for (uint32_t i = 0; p->n && i < h->num_slots; i++) {
        struct http__slot *s = &h->slots[i];
        if (s->pool == p && !s->c && !s->ask)
            (void)dial(s, thread);
    }
}

/* ---- the worker's side ---- */

struct http__ask *http__pool_take(struct wr_http *h, struct mg_connection *conn,
                                  struct http__slot **slot)
{
    const char *v = mg_get_header(conn, HTTP__ASK_HEADER);
    char want[2 * HTTP__SECRET + 1];
    if (!v || strlen(v) != 2 * HTTP__SECRET + 8)
        return NULL;
    wr_hex(want, h->secret, HTTP__SECRET);
    if (CRYPTO_memcmp(v, want, 2 * HTTP__SECRET) != 0)
        return NULL;
    unsigned long i = strtoul(v + 2 * HTTP__SECRET, NULL, 16);
    if (i >= h->num_slots)
        return NULL;
    *slot = &h->slots[i];
    return atomic_exchange(&(*slot)->given, NULL);
}

/* ---- life ---- */

wr_err http__pool_open(struct wr_http *h)
{
    wr_err e = WR_OK;
    for (uint32_t i = 0; e == WR_OK && i < h->num_slots; i++)
        e = dial(&h->slots[i], i % h->num_pools);
    return e;
}

wr_err http__pool_new(struct wr_http *h)
{
    h->num_pools = wr_plane_threads(h->plane);
    uint32_t each = WR_MAX((h->num_threads + h->num_pools - 1) / h->num_pools, 2u);
    h->num_slots = each * h->num_pools;
    h->pools = calloc(h->num_pools, sizeof *h->pools);
    h->slots = calloc(h->num_slots, sizeof *h->slots);
    if (!h->pools || !h->slots)
        return WR_ERR_BUSY;
    for (uint32_t i = 0; i < h->num_pools; i++)
        if (!(h->pools[i].queue = calloc(HTTP__QUEUE, sizeof(struct waiting))))
            return WR_ERR_BUSY;
    for (uint32_t i = 0; i < h->num_slots; i++) {
        h->slots[i].h = h;
        h->slots[i].index = i;
        h->slots[i].pool = &h->pools[i % h->num_pools];
    }
    uint8_t random[6];
    wr_random(h->secret, sizeof h->secret);
    wr_random(random, sizeof random);
    h->inner = (struct sockaddr_in){.sin_family = AF_INET};
    h->from = h->inner;
    h->inner.sin_addr.s_addr = htonl(0x7f000000u | (uint32_t)(random[0] | 1) << 16 |
                                     (uint32_t)random[1] << 8 | (random[2] % 254u + 1));
    h->from.sin_addr.s_addr = htonl(0x7f000000u | (uint32_t)((random[3] & 0xfe) | 2) << 16 |
                                    (uint32_t)random[4] << 8 | (random[5] % 254u + 1));
    return WR_OK;
}

void http__pool_free(struct wr_http *h)
{
    for (uint32_t i = 0; h->pools && i < h->num_pools; i++) {
        struct http__pool *p = &h->pools[i];
        for (; p->n; p->n--, p->head = (p->head + 1) % HTTP__QUEUE)
            http__ask_unref(p->queue[p->head].ask);
        free(p->queue);
    }
    free(h->pools);
    free(h->slots);
}
