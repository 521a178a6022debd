/* SPDX-License-Identifier: MIT
 *
 * Accepting. Every thread has the listening sockets in its epoll (EPOLLEXCLUSIVE: one of them is woken) and keeps what it
 * accepts, unless it has clearly more than the one with the fewest. Options that every connection needs are set on the
 * listening socket, from which Linux copies them, so that a client costs accept and epoll_ctl. */
#include "plane_priv.h"
#include "wr_log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define ACCEPTS 64u          /* in one turn */
#define BUCKETS 1024u        /* of the table of addresses */
#define PAUSE_MS 250         /* without descriptors */
#define STARVED_SAY_MS 60000 /* a starvation that comes back within so long is the same one */
#define STARVED_REFUSALS 16u

struct share { /* connections of one address */
    struct share *next;
    uint8_t ip[16];
    uint32_t n;
};

struct wr_listener {
    uint32_t magic; /* first, as in struct wr_conn: what an epoll event carries */
    int fd;
    struct wr_plane *plane;
    bool (*accept)(void *ctx, const struct wr_addr *peer, struct wr_conn_opts *conn);
    bool (*is_exempt)(void *ctx, const struct wr_addr *peer);
    void *ctx;
    uint32_t per_address;
    struct wr_slice refusal, farewell;
    bool hears_refused;
    char address[80];
    atomic_uint threads;  /* that may accept still */
    pthread_mutex_t lock; /* guards shares */
    struct share *shares[BUCKETS];
};

/* ---- the share of an address ---- */

static void share_key(const struct wr_addr *peer, uint8_t key[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(key, peer->ip, 16);
    if (memcmp(key, mapped, sizeof mapped) != 0)
        memset(key + 8, 0, 8); /* who has one address of a /64 has all of them */
}

static struct share **share_find(struct wr_listener *l, const uint8_t key[16])
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (unsigned i = 0; i < 16; i++)
        h = (h ^ key[i]) * 16777619u;
    struct share **at = &l->shares[h % BUCKETS];
    while (*at && memcmp((*at)->ip, key, 16) != 0)
        at = &(*at)->next;
    return at;
}

static bool share_applies(const struct wr_listener *l, const struct wr_addr *peer)
{
    return l->per_address && !(l->is_exempt && l->is_exempt(l->ctx, peer));
}

static bool share_take(struct wr_listener *l, const struct wr_addr *peer)
{
    uint8_t key[16];
    share_key(peer, key);
    pthread_mutex_lock(&l->lock);
    struct share **at = share_find(l, key), *s = *at;
    if (!s && (s = calloc(1, sizeof *s))) {
        memcpy(s->ip, key, 16);
        *at = s;
    }
    bool ok = s && s->n < l->per_address;
    if (ok)
        s->n++;
    pthread_mutex_unlock(&l->lock);
    return ok;
}

void listen__leave(struct wr_listener *l, const struct wr_addr *peer)
{
    uint8_t key[16];
    share_key(peer, key);
    pthread_mutex_lock(&l->lock);
    struct share **at = share_find(l, key), *s = *at;
    if (s && --s->n == 0) {
        *at = s->next;
        free(s);
    }
    pthread_mutex_unlock(&l->lock);
}

/* ---- accepting ---- */

/* Says why, and takes what the client said already, so that closing does not reset what it is told. */
static void refuse(const struct wr_listener *l, int fd)
{
    uint8_t dropped[2048];
    struct wr_slice text = atomic_load(&l->plane->draining) ? l->farewell : l->refusal;
    if (text.n)
        (void)send(fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < 8 && recv(fd, dropped, sizeof dropped, MSG_DONTWAIT) > 0; i++)
        ;
    (void)close(fd);
}

static struct plane__thread *lightest(struct plane__thread *own)
{
    struct wr_plane *p = own->plane;
    struct plane__thread *best = own;
    uint32_t mine = own->nconns, least = mine;
    for (uint32_t i = 0; i < p->nthreads; i++) {
        uint32_t n = atomic_load_explicit(&p->threads[i].load, memory_order_relaxed);
        if (n < least) {
            least = n;
            best = &p->threads[i];
        }
    }
    return mine > least + 4 + least / 16 ? best : own;
}

static void take(struct plane__thread *t, struct wr_listener *l, int fd, const struct wr_addr *peer)
{
    bool shared = share_applies(l, peer);
    if (shared && !share_take(l, peer)) {
        wr_count(&plane__m_share_full, 1);
        refuse(l, fd);
        return;
    }
    struct wr_conn_opts o = {.transport = 0};
    enum plane__place place = plane__place(t->plane);
    if (place > PLACE_OWN && !l->hears_refused) {
        plane__release(t->plane);
        place = PLACE_NONE;
    }
    bool has_place = place != PLACE_NONE;
    struct wr_conn *c = has_place && l->accept(l->ctx, peer, &o) ? conn__new(fd, &o) : NULL;
    if (!c) {
        if (has_place) {
            if (o.ops) {
                static const struct wr_conn_closed why = {.code = 1006, .reason = "out of memory"};
                o.ops->close(NULL, o.user, &why);
            }
            plane__release(t->plane);
            (void)close(fd);
        } else {
            refuse(l, fd);
        }
        if (shared)
            listen__leave(l, peer);
        return;
    }
    wr_count(&plane__m_accepted, 1);
    c->peer = *peer;
    c->listener = shared ? l : NULL;
    c->place = (uint8_t)place;
    /* What goes to another thread of a draining plane is drained with the others, and not heard. */
    struct plane__thread *to = place == PLACE_OWN ? lightest(t) : t;
    if (to == t || !plane__hand(to, c, (struct wr_slice){0})) {
        c->t = t;
        plane__start(t, c);
    }
}

/* Out of descriptors: some clients are told with the spare one; then this thread does not look for a moment, since the
 * socket stays ready and would keep it busy. */
static void starved(struct plane__thread *t, struct wr_listener *l)
{
    int64_t before = atomic_exchange(&t->plane->starved_ms, t->now_ms);
    if (!before || t->now_ms - before > STARVED_SAY_MS) {
        struct rlimit lim = {0};
        (void)getrlimit(RLIMIT_NOFILE, &lim);
        wr_warn("plane.descriptors",
                "listen=%s: no file descriptor is left (limit %llu): new clients are refused until "
                "some leave; raise `ulimit -n` (or LimitNOFILE=)",
                l->address, (unsigned long long)lim.rlim_cur);
    }
    for (unsigned i = 0; i < STARVED_REFUSALS && t->spare >= 0; i++) {
        (void)close(t->spare);
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            wr_count(&plane__m_no_descriptors, 1);
            refuse(l, fd);
        }
        t->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            break;
    }
    if (!t->accept_at_ms)
        listen__arm(t, false);
    t->accept_at_ms = t->now_ms + PAUSE_MS;
}

void listen__accept(struct plane__thread *t, struct wr_listener *l)
{
    for (unsigned i = 0; i < ACCEPTS && !t->accept_at_ms && !t->is_deaf; i++) {
        struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
        union {
            struct sockaddr_storage *ss;
            struct sockaddr *sa;
        } u = {.ss = &ss};
        socklen_t n = sizeof ss;
        int fd = accept4(l->fd, u.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                starved(t, l);
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            return;
        }
        struct wr_addr peer;
        addr__from(&ss, &peer);
        take(t, l, fd, &peer);
    }
}

void listen__arm(struct plane__thread *t, bool on)
{
    unsigned n = atomic_load(&t->plane->nlisteners);
    for (unsigned i = 0; i < n; i++) {
        struct wr_listener *l = t->plane->listeners[i];
        struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = l};
        if (l->fd >= 0)
            (void)epoll_ctl(t->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, l->fd, &ev);
    }
}

void listen__resume(struct plane__thread *t)
{
    if (t->spare < 0)
        t->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    t->accept_at_ms = 0;
    if (!t->is_deaf)
        listen__arm(t, true);
}

void listen__thread_ended(struct plane__thread *t)
{
    if (t->is_deaf)
        return;
    t->is_deaf = true;
    listen__arm(t, false);
    unsigned n = atomic_load(&t->plane->nlisteners);
    for (unsigned i = 0; i < n; i++) {
        struct wr_listener *l = t->plane->listeners[i];
        if (atomic_fetch_sub(&l->threads, 1) == 1)
            (void)close(l->fd);
    }
}

/* ---- listening ---- */

union any_addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage ss;
};

static bool parse_address(const char *text, union any_addr *out, socklen_t *n, char host[64])
{
    const char *colon = strrchr(text, ':');
    char *end;
    size_t len = colon ? (size_t)(colon - text) : 0;
    unsigned long port = colon && colon[1] ? strtoul(colon + 1, &end, 10) : 65536;
    if (!colon || port > 65535 || *end || len == 0 || len >= 64)
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &out->in.sin_addr) == 1) {
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons((uint16_t)port);
        *n = sizeof out->in;
        return true;
    }
    char inner[64] = "";
    if (host[0] == '[' && host[len - 1] == ']') {
        memcpy(inner, host + 1, len - 2);
        inner[len - 2] = 0;
    }
    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = htons((uint16_t)port);
    *n = sizeof out->in6;
    return inet_pton(AF_INET6, inner, &out->in6.sin6_addr) == 1;
}

static void listen_options(int fd, const union any_addr *a)
{
    int one = 1, zero = 0;
    unsigned timeout = PLANE__USER_TIMEOUT_MS;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    if (a->sa.sa_family == AF_INET6) /* [::] takes IPv4 as well */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
}

static wr_err open_socket(struct wr_listener *l, const char *address, struct wr_errmsg *err)
{
    union any_addr a;
    socklen_t n;
    char host[64];
    if (!parse_address(address, &a, &n, host)) {
        wr_errmsg_set(err,
                      "\"%s\" is not ADDRESS:PORT; write for example 127.0.0.1:8000 or "
                      "[::1]:8000",
                      address);
        return WR_ERR_INVALID;
    }
    l->fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd >= 0)
        listen_options(l->fd, &a);
    if (l->fd < 0 || bind(l->fd, &a.sa, n) != 0 || listen(l->fd, BACKLOG) != 0) {
        int e = errno;
        if (e == EADDRINUSE)
            wr_errmsg_set(err, "%s is in use by another program", address);
        else
            wr_errmsg_set(err, "cannot listen on %s: %s", address, strerror(e));
        return e == EADDRINUSE ? WR_ERR_CONFLICT
               : e == EACCES   ? WR_ERR_DENIED
               : e == EMFILE   ? WR_ERR_BUSY
                               : WR_ERR_INVALID;
    }
    struct wr_addr local;
    addr__local(l->fd, &local);
    (void)snprintf(l->address, sizeof l->address, "%s:%u", host, local.port);
    return WR_OK;
}

static void listener_free(struct wr_listener *l)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (l->shares[i]) {
            struct share *s = l->shares[i];
            l->shares[i] = s->next;
            free(s);
        }
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

wr_err wr_plane_listen(struct wr_plane *p, const struct wr_listen_opts *o, struct wr_listener **out,
                       struct wr_errmsg *err)
{
    *out = NULL;
    unsigned i = atomic_load(&p->nlisteners);
    struct wr_listener *l = i < PLANE__LISTENERS ? calloc(1, sizeof *l) : NULL;
    if (!l) {
        wr_errmsg_set(err, "cannot listen on %s: too many addresses, or no memory", o->address);
        return WR_ERR_BUSY;
    }
    *l = (struct wr_listener){.magic = LISTEN_MAGIC,
                              .fd = -1,
                              .plane = p,
                              .accept = o->accept,
                              .is_exempt = o->is_exempt,
                              .ctx = o->ctx,
                              .per_address = o->per_address,
                              .refusal = o->refusal,
                              .farewell = o->farewell,
                              .hears_refused = o->hears_refused};
    pthread_mutex_init(&l->lock, NULL);
    wr_err e = open_socket(l, o->address, err);
    if (e != WR_OK) {
        if (l->fd >= 0)
            (void)close(l->fd);
        listener_free(l);
        return e;
    }
    atomic_store(&l->threads, p->nthreads);
    p->listeners[i] = l;
    atomic_store(&p->nlisteners, i + 1);
    *out = l;
    for (uint32_t k = 0; k < p->nthreads; k++) {
        struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = l};
        (void)epoll_ctl(p->threads[k].epoll, EPOLL_CTL_ADD, l->fd, &ev);
    }
    return WR_OK;
}

const char *wr_listener_address(const struct wr_listener *l)
{
    return l->address;
}

void listen__free(struct wr_plane *p)
{
    unsigned n = atomic_load(&p->nlisteners);
    for (unsigned i = 0; i < n; i++)
        listener_free(p->listeners[i]);
}
