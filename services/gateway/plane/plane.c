/* SPDX-License-Identifier: MIT
 *
 * The plane's threads: inbox, wheel of timers, epoll loop, taking sockets over, ending.
 *
 * One turn of a thread: wait; read and write what is ready; run the inbox; visit due timers; then write every
 * connection that got frames, once (unless the thread rests after a long round). So frames that arrive together leave in
 * one system call. */
#include "plane_priv.h"
#include "wr_log.h"
#include "wr_thread.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define REST_CONNS 64u
#define REST_MAX_US 5000

/* ---- inbox ---- */

void plane__post(struct plane__thread *t, struct plane__item *it)
{
    it->next = NULL;
    if (it->kind == ITEM_SEND) {
        atomic_fetch_add(&t->inbox_sends, 1);
        atomic_fetch_add(&t->inbox_bytes, it->u.send.bytes);
        wr_gauge_add(&plane__g_inbox, 1);
    }
    pthread_mutex_lock(&t->lock);
    *t->inbox_last = it;
    t->inbox_last = &it->next;
    bool wake = atomic_exchange_explicit(&t->is_asleep, false, memory_order_relaxed);
    pthread_mutex_unlock(&t->lock);
    if (wake) { /* a thread that is awake looks into the inbox before it sleeps */
        uint64_t one = 1;
        ssize_t n = write(t->event, &one, sizeof one);
        (void)n; /* EAGAIN: it is readable already */
    }
}

void plane__signal(struct wr_plane *p)
{
    if (!atomic_load(&p->waiters))
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void wr_plane_post(struct wr_plane *p, struct wr_conn_id id, wr_conn_fn fn, void *arg)
{
    uint32_t ti = plane__thread_of(id.v);
    struct plane__item *it = calloc(1, sizeof *it);
    if (!it || ti >= p->nthreads)
        abort(); /* fn must run exactly once */
    it->kind = ITEM_POST;
    it->u.post.id = id.v;
    it->u.post.fn = fn;
    it->u.post.arg = arg;
    plane__post(&p->threads[ti], it);
}

struct wr_conn *plane__find(struct plane__thread *t, uint64_t id)
{
    uint32_t slot = (uint32_t)id & 0xffffffu;
    if (slot >= t->nslots || !t->slots[slot] || t->slots[slot]->id != id ||
        t->slots[slot]->state == CONN_DEAD)
        return NULL;
    return t->slots[slot];
}

/* ---- wheel ---- */

static void wheel_remove(struct wr_conn *c)
{
    if (!c->wheel_at)
        return;
    *c->wheel_at = c->wheel_next;
    if (c->wheel_next)
        c->wheel_next->wheel_at = c->wheel_at;
    c->wheel_at = NULL;
    c->wheel_next = NULL;
    c->t->nwheel--;
}

void plane__schedule(struct wr_conn *c, int64_t due_ms)
{
    struct plane__thread *t = c->t;
    if (c->state == CONN_DEAD || (c->wheel_at && c->due_ms <= due_ms))
        return;
    wheel_remove(c);
    /* Beyond the wheel's horizon: visited at its end, and put on again then. */
    int64_t last = t->wheel_at_ms + (int64_t)(PLANE__WHEEL_SLOTS - 2) * PLANE__WHEEL_MS;
    c->due_ms = WR_MIN(due_ms, last);
    int64_t at = WR_MAX(c->due_ms, t->wheel_at_ms);
    struct wr_conn **slot = &t->wheel[(uint64_t)(at / PLANE__WHEEL_MS + 1) % PLANE__WHEEL_SLOTS];
    c->wheel_next = *slot;
    if (*slot)
        (*slot)->wheel_at = &c->wheel_next;
    c->wheel_at = slot;
    *slot = c;
    t->nwheel++;
}

static void wheel_turn(struct plane__thread *t)
{
    while (t->wheel_at_ms + PLANE__WHEEL_MS <= t->now_ms) {
        t->wheel_at_ms += PLANE__WHEEL_MS;
        struct wr_conn **slot =
            &t->wheel[(uint64_t)(t->wheel_at_ms / PLANE__WHEEL_MS) % PLANE__WHEEL_SLOTS];
        struct wr_conn *due = *slot;
        *slot = NULL;
        if (due)
            due->wheel_at = &due;
        while (due) {
            struct wr_conn *c = due;
            wheel_remove(c);
            conn__timers(c);
        }
    }
}

/* ---- connections come and go ---- */

static bool slots_grow(struct plane__thread *t)
{
    uint32_t n = t->nslots ? t->nslots * 2 : 256;
    struct wr_conn **slots = realloc(t->slots, n * sizeof(struct wr_conn *));
    if (slots)
        t->slots = slots;
    uint32_t *gens = slots ? realloc(t->gens, n * sizeof *gens) : NULL;
    if (gens)
        t->gens = gens;
    uint32_t *free_slots = gens ? realloc(t->free_slots, n * sizeof *free_slots) : NULL;
    if (!free_slots)
        return false;
    t->free_slots = free_slots;
    for (uint32_t i = n; i-- > t->nslots;) {
        slots[i] = NULL;
        gens[i] = 0;
        t->free_slots[t->nfree++] = i;
    }
    t->nslots = n;
    return true;
}

static bool slot_take(struct plane__thread *t, struct wr_conn *c)
{
    if (t->nfree == 0 && !slots_grow(t))
        return false;
    uint32_t slot = t->free_slots[--t->nfree];
    t->slots[slot] = c;
    t->gens[slot]++;
    c->id = (uint64_t)t->index << 56 | (uint64_t)t->gens[slot] << 24 | slot;
    return true;
}

/* A resting thread keeps its list of connections to write: the dead must leave it before they are freed. */
static void forget_dead(struct plane__thread *t)
{
    for (struct wr_conn **at = &t->dirty; *at;) {
        if ((*at)->state == CONN_DEAD)
            *at = (*at)->dirty_next;
        else
            at = &(*at)->dirty_next;
    }
}

static void bury(struct plane__thread *t)
{
    if (t->dead && t->dirty)
        forget_dead(t);
    while (t->dead) {
        struct wr_conn *c = t->dead;
        t->dead = c->dead_next;
        wheel_remove(c);
        uint32_t slot = (uint32_t)c->id & 0xffffffu;
        if (c->id) {
            t->slots[slot] = NULL;
            t->free_slots[t->nfree++] = slot;
            t->nconns--;
            atomic_store_explicit(&t->load, t->nconns, memory_order_relaxed);
        }
        bool is_internal = c->is_internal;
        free(c->reason);
        c->magic = 0;
        free(c);
        if (!is_internal)
            plane__release(t->plane);
    }
}

void plane__drain_one(struct wr_conn *c, const char *reason)
{
    if (c->state != CONN_OPEN || c->is_internal)
        return;
    if (c->ops->drain)
        c->ops->drain(c, c->user);
    else
        wr_conn_close(c, 1001, reason);
}

void plane__start(struct plane__thread *t, struct wr_conn *c)
{
    c->rx_ms = c->progress_ms = c->since_ms = c->message_ms = t->now_ms;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (!slot_take(t, c)) {
        c->id = 0;
        conn__kill(c, 1006, "out of memory");
        return;
    }
    t->nconns++;
    atomic_store_explicit(&t->load, t->nconns, memory_order_relaxed);
    if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
        conn__kill(c, 1006, "out of memory");
        return;
    }
    if (c->ops->open)
        c->ops->open(c, c->user);
    if (c->transport == WR_TRANSPORT_WS)
        plane__schedule(c, t->now_ms + c->ping_ms);
    if (c->transport == WR_TRANSPORT_TCP)
        plane__schedule(c, t->now_ms + c->idle_ms);
}

static void run_adopt(struct plane__thread *t, struct plane__item *it)
{
    struct wr_conn *c = it->u.adopt.conn;
    plane__start(t, c);
    if (it->u.adopt.n_early && c->state == CONN_OPEN)
        conn__take(c, it->u.adopt.early, it->u.adopt.n_early);
    if (t->draining)
        plane__drain_one(c, "shutting down");
    if (t->ended)
        conn__kill(c, 1006, "shutting down");
    free(it->u.adopt.early);
}

static void refuse(const struct wr_conn_opts *o, int fd, struct wr_conn *c)
{
    static const struct wr_conn_closed why = {.code = 1006, .reason = "refused"};
    (void)close(fd);
    o->ops->close(c, o->user, &why);
    free(c);
}

/* Media that waits in the kernel is old when it leaves and cannot be dropped to a keyframe: a socket takes little beyond
 * what is under way, the rest waits in our queue, where the bound and the policy are. */
#define MEDIA_UNSENT_BYTES (128u << 10)

void conn__options(struct wr_conn *c, const struct wr_conn_opts *o)
{
    c->ops = o->ops;
    c->user = o->user;
    c->transport = (uint8_t)o->transport;
    c->policy = (uint8_t)o->policy;
    c->kind = o->kind;
    c->is_internal = o->is_internal;
    c->queue_bytes = o->queue_bytes ? (uint32_t)WR_MIN(o->queue_bytes, 1u << 30)
                                    : (o->policy == WR_QUEUE_MEDIA ? 4u << 20 : 1u << 20);
    c->queue_ms = o->queue_ms ? o->queue_ms : 3000;
    c->ping_ms = o->ping_ms ? o->ping_ms : 54000;
    c->pong_ms = o->pong_ms ? o->pong_ms : 10000;
    c->max_message = o->max_message ? o->max_message : 65536;
    c->idle_ms = o->idle_ms ? o->idle_ms : PLANE__TCP_IDLE_MS;
    unsigned unsent = MEDIA_UNSENT_BYTES;
    if (o->policy == WR_QUEUE_MEDIA)
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

struct wr_conn *conn__new(int fd, const struct wr_conn_opts *o)
{
    struct wr_conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->magic = CONN_MAGIC;
    c->fd = fd;
    c->state = CONN_OPEN;
    conn__options(c, o);
    return c;
}

static void socket_options(int fd)
{
    int one = 1;
    unsigned timeout = PLANE__USER_TIMEOUT_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

enum plane__place plane__place(struct wr_plane *p)
{
    unsigned before = atomic_fetch_add(&p->connections, 1);
    wr_gauge_add(&plane__g_conns, p->is_internal ? 0 : 1);
    enum plane__place place = atomic_load(&p->draining)      ? PLACE_DRAINING
                              : before >= p->max_connections ? PLACE_FULL
                                                             : PLACE_OWN;
    if (place == PLACE_OWN)
        return place;
    wr_count(&plane__m_refused, 1);
    if (before < p->max_connections + PLANE__REFUSED)
        return place;
    plane__release(p);
    return PLACE_NONE;
}

wr_err plane__reserve(struct wr_plane *p)
{
    unsigned before = atomic_fetch_add(&p->connections, 1);
    wr_gauge_add(&plane__g_conns, p->is_internal ? 0 : 1);
    wr_err e = atomic_load(&p->draining)      ? WR_ERR_CLOSED
               : before >= p->max_connections ? WR_ERR_BUSY
                                              : WR_OK;
    if (e != WR_OK) {
        wr_count(&plane__m_refused, 1);
        plane__release(p);
    }
    return e;
}

void plane__release(struct wr_plane *p)
{
    atomic_fetch_sub(&p->connections, 1);
    wr_gauge_add(&plane__g_conns, p->is_internal ? 0 : -1);
    plane__signal(p);
}

bool plane__hand(struct plane__thread *t, struct wr_conn *c, struct wr_slice early)
{
    struct plane__item *it = calloc(1, sizeof *it);
    uint8_t *copy = early.n ? malloc(early.n) : NULL;
    if (!it || (early.n && !copy)) {
        free(it);
        free(copy);
        return false;
    }
    if (early.n)
        memcpy(copy, early.p, early.n);
    c->t = t;
    it->kind = ITEM_ADOPT;
    it->u.adopt.conn = c;
    it->u.adopt.early = copy;
    it->u.adopt.n_early = early.n;
    plane__post(t, it);
    return true;
}

wr_err wr_plane_adopt(struct wr_plane *p, int fd, struct wr_slice early,
                      const struct wr_conn_opts *o)
{
    wr_err e = o->is_internal ? WR_OK : plane__reserve(p);
    struct wr_conn *c = e == WR_OK ? conn__new(fd, o) : NULL;
    if (!c) {
        if (e == WR_OK && !o->is_internal)
            plane__release(p);
        refuse(o, fd, NULL);
        return e != WR_OK ? e : WR_ERR_BUSY;
    }
    socket_options(fd);
    uint32_t i = o->thread ? o->thread - 1 : atomic_fetch_add(&p->next_thread, 1);
    if (!plane__hand(&p->threads[i % p->nthreads], c, early)) {
        if (!o->is_internal)
            plane__release(p);
        refuse(o, fd, c);
        return WR_ERR_BUSY;
    }
    if (!o->is_internal)
        wr_count(&plane__m_accepted, 1);
    return WR_OK;
}

/* ---- the loop ---- */

static void each_conn(struct plane__thread *t, void (*fn)(struct wr_conn *c, const char *reason),
                      const char *reason)
{
    for (uint32_t i = 0; i < t->nslots; i++)
        if (t->slots[i])
            fn(t->slots[i], reason);
}

static void cut(struct wr_conn *c, const char *reason)
{
    conn__kill(c, 1006, reason);
}

static void run_item(struct plane__thread *t, struct plane__item *it)
{
    switch (it->kind) {
    case ITEM_ADOPT:
        run_adopt(t, it);
        break;
    case ITEM_POST:
        it->u.post.fn(plane__find(t, it->u.post.id), it->u.post.arg);
        if (it->fanout)
            atomic_fetch_sub(&it->fanout->parts[t->index].present, 1);
        break;
    case ITEM_SEND:
        fanout__run_send(t, it);
        atomic_fetch_sub(&t->inbox_sends, 1);
        atomic_fetch_sub(&t->inbox_bytes, it->u.send.bytes);
        wr_gauge_add(&plane__g_inbox, -1);
        break;
    case ITEM_EACH:
        fanout__run_each(t, it);
        break;
    case ITEM_DRAIN:
        t->draining = true;
        if (!it->u.drain.reason)
            listen__thread_ended(t);
        each_conn(t, it->u.drain.reason ? plane__drain_one : cut,
                  it->u.drain.reason ? it->u.drain.reason : "shutting down");
        free(it->u.drain.reason);
        break;
    case ITEM_WALK:
        walk__run(t, it);
        break;
    case ITEM_END:
        listen__thread_ended(t);
        t->ended = true;
        break;
    }
    if (it->fanout)
        wr_fanout_unref(&it->fanout);
    free(it);
}

static void run_inbox(struct plane__thread *t)
{
    pthread_mutex_lock(&t->lock);
    struct plane__item *it = t->inbox_first;
    t->inbox_first = NULL;
    t->inbox_last = &t->inbox_first;
    pthread_mutex_unlock(&t->lock);
    bool any = it != NULL;
    while (it) {
        struct plane__item *next = it->next;
        run_item(t, it);
        it = next;
    }
    if (any)
        plane__signal(t->plane);
}

/* Writes every connection that got frames. A send call costs several microseconds of TCP whatever it carries, so a room
 * of a thousand takes milliseconds a message. After a round of REST_CONNS connections and more the thread rests for half
 * the round's length, at most REST_MAX_US: reading and the inbox go on, and what comes meanwhile leaves in the same calls.
 * So sending takes at most two thirds of a thread, and a frame waits less for a rest than for the round before it. */
static void flush_dirty(struct plane__thread *t)
{
    if (!t->dirty)
        return;
    int64_t from_us = wr_mono_us();
    if (from_us < t->rest_until_us && !t->ended)
        return;
    uint32_t n = 0;
    struct wr_conn *list = t->dirty;
    t->dirty = NULL; /* who asks again meanwhile has its turn after the others' reading */
    while (list) {
        struct wr_conn *c = list;
        list = c->dirty_next;
        c->dirty = false;
        conn__flush(c);
        n++;
    }
    if (n >= REST_CONNS) {
        int64_t now_us = wr_mono_us();
        t->rest_until_us = now_us + WR_MIN((now_us - from_us) / 2, REST_MAX_US);
    }
}

/* How long epoll may sleep. */
static int sleep_ms(const struct plane__thread *t)
{
    if (t->dirty) /* resting */
        return (int)WR_MAX(0, (t->rest_until_us - wr_mono_us() + 999) / 1000);
    return t->nwheel || t->accept_at_ms
               ? (int)WR_MAX(1, t->wheel_at_ms + PLANE__WHEEL_MS - t->now_ms)
               : -1;
}

static void run_events(struct plane__thread *t, const struct epoll_event *ev, int n)
{
    for (int i = 0; i < n; i++) {
        struct wr_conn *c = ev[i].data.ptr;
        if (!c) {
            uint64_t v;
            ssize_t r = read(t->event, &v, sizeof v);
            (void)r;
            continue;
        }
        if (c->magic == LISTEN_MAGIC) { /* both structs begin with it */
            listen__accept(t, ev[i].data.ptr);
            continue;
        }
        if (ev[i].events & EPOLLOUT)
            conn__flush(c);
        if (ev[i].events & (EPOLLIN | EPOLLRDHUP))
            conn__read(c);
        else if (ev[i].events & (EPOLLERR | EPOLLHUP))
            conn__kill(c, c->close_code ? c->close_code : 1006, "connection lost");
    }
}

/* As sleep_ms, but not at all when something was posted since the inbox was emptied: whoever posts wakes a thread only if
 * it says here that it sleeps. */
static int fall_asleep(struct plane__thread *t)
{
    int ms = sleep_ms(t);
    pthread_mutex_lock(&t->lock);
    if (t->inbox_first)
        ms = 0;
    else if (ms)
        atomic_store_explicit(&t->is_asleep, true, memory_order_relaxed);
    pthread_mutex_unlock(&t->lock);
    return ms;
}

static void *thread_main(void *arg)
{
    struct plane__thread *t = arg;
    struct epoll_event ev[EVENTS];
    while (!t->ended || t->nconns) {
        int n = epoll_wait(t->epoll, ev, EVENTS, fall_asleep(t));
        atomic_store_explicit(&t->is_asleep, false, memory_order_relaxed);
        t->now_ms = wr_mono_ms();
        if (t->nwheel == 0) /* nobody waited on the wheel while we slept */
            t->wheel_at_ms = t->now_ms;
        run_events(t, ev, WR_MAX(n, 0));
        run_inbox(t);
        if (t->accept_at_ms && t->now_ms >= t->accept_at_ms)
            listen__resume(t);
        wheel_turn(t);
        flush_dirty(t);
        if (t->ended)
            each_conn(t, cut, "shutting down");
        bury(t);
        /* Killing may have posted to ourselves or made others dirty: those come with the next turn, which does not
         * sleep then. */
        flush_dirty(t);
    }
    run_inbox(t);
    bury(t);
    return NULL;
}

/* ---- life ---- */

static void thread_fini(struct plane__thread *t)
{
    if (t->epoll > 0)
        (void)close(t->epoll);
    if (t->event > 0)
        (void)close(t->event);
    if (t->spare > 0)
        (void)close(t->spare);
    ws__pool_free(t);
    free(t->slots);
    free(t->gens);
    free(t->free_slots);
    pthread_mutex_destroy(&t->lock);
}

static wr_err thread_init(struct wr_plane *p, uint32_t index)
{
    struct plane__thread *t = &p->threads[index];
    t->plane = p;
    t->index = index;
    t->inbox_last = &t->inbox_first;
    t->now_ms = t->wheel_at_ms = wr_mono_ms();
    pthread_mutex_init(&t->lock, NULL);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    t->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (t->epoll < 0 || t->event < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->event, &ev) != 0)
        return WR_ERR_BUSY;
    char name[16] = "plane-";
    name[6] = (char)('0' + index / 10);
    name[7] = (char)('0' + index % 10);
    return wr_thread_start(&t->thread, name, thread_main, t);
}

/* Those that this process may run on: a container or taskset may allow fewer than there are. */
static uint32_t cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)WR_MAX(CPU_COUNT(&set), 1);
    return (uint32_t)WR_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
}

wr_err wr_plane_open(const struct wr_plane_opts *o, struct wr_plane **out)
{
    *out = NULL;
    uint32_t n = o->threads ? o->threads : cores();
    n = WR_MIN(n, PLANE__THREADS_MAX);
    struct wr_plane *p = calloc(1, sizeof *p);
    struct plane__thread *threads = calloc(n, sizeof *threads);
    if (!p || !threads) {
        free(p);
        free(threads);
        return WR_ERR_BUSY;
    }
    p->max_connections = o->max_connections ? o->max_connections : 100000;
    p->is_internal = o->is_internal;
    p->threads = threads;
    pthread_mutex_init(&p->lock, NULL);
    wr_cond_init(&p->changed);
    for (uint32_t i = 0; i < n; i++) {
        wr_err e = thread_init(p, i);
        if (e != WR_OK) {
            thread_fini(&p->threads[i]);
            wr_plane_close(&p);
            return e;
        }
        p->nthreads = i + 1;
    }
    *out = p;
    return WR_OK;
}

/* reason NULL: cut. */
static void post_drain(struct wr_plane *p, const char *reason)
{
    for (uint32_t i = 0; i < p->nthreads; i++) {
        struct plane__item *it = calloc(1, sizeof *it);
        if (!it)
            abort();
        it->kind = ITEM_DRAIN;
        it->u.drain.reason = reason ? strdup(reason) : NULL;
        plane__post(&p->threads[i], it);
    }
}

void wr_plane_drain(struct wr_plane *p, const char *reason)
{
    if (!atomic_exchange(&p->draining, true))
        post_drain(p, reason);
}

void wr_plane_cut(struct wr_plane *p)
{
    atomic_store(&p->draining, true);
    do {
        post_drain(p, NULL);
    } while (!wr_plane_wait_empty(p, 1000));
}

bool wr_plane_wait_empty(struct wr_plane *p, uint32_t ms)
{
    int64_t until = wr_mono_us() + (int64_t)ms * 1000;
    atomic_fetch_add(&p->waiters, 1);
    pthread_mutex_lock(&p->lock);
    bool in_time = true;
    while (in_time && atomic_load(&p->connections))
        in_time = wr_cond_wait_until(&p->changed, &p->lock, until);
    pthread_mutex_unlock(&p->lock);
    atomic_fetch_sub(&p->waiters, 1);
    return atomic_load(&p->connections) == 0;
}

static bool has_room(struct wr_plane *p)
{
    for (uint32_t i = 0; i < p->nthreads; i++)
        if (atomic_load(&p->threads[i].inbox_sends) > PLANE__INBOX_ITEMS / 2 ||
            atomic_load(&p->threads[i].inbox_bytes) > PLANE__INBOX_BYTES / 2)
            return false;
    return true;
}

void wr_plane_wait_room(struct wr_plane *p)
{
    if (has_room(p))
        return;
    atomic_fetch_add(&p->waiters, 1);
    pthread_mutex_lock(&p->lock);
    while (!has_room(p)) /* the second is for a wake-up that came between the check and the wait */
        (void)wr_cond_wait_until(&p->changed, &p->lock, wr_mono_us() + 1000000);
    pthread_mutex_unlock(&p->lock);
    atomic_fetch_sub(&p->waiters, 1);
}

void wr_plane_close(struct wr_plane **pp)
{
    struct wr_plane *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    atomic_store(&p->draining, true);
    for (uint32_t i = 0; i < p->nthreads; i++) {
        struct plane__item *it = calloc(1, sizeof *it);
        if (!it)
            abort();
        it->kind = ITEM_END;
        plane__post(&p->threads[i], it);
    }
    for (uint32_t i = 0; i < p->nthreads; i++)
        pthread_join(p->threads[i].thread, NULL);
    /* What a last callback posted across threads. */
    for (uint32_t i = 0; i < p->nthreads; i++) {
        run_inbox(&p->threads[i]);
        bury(&p->threads[i]);
    }
    for (uint32_t i = 0; i < p->nthreads; i++)
        thread_fini(&p->threads[i]);
    listen__free(p);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p->threads);
    free(p);
}

size_t wr_plane_connections(const struct wr_plane *p)
{
    return atomic_load(&p->connections);
}

uint32_t wr_plane_threads(const struct wr_plane *p)
{
    return p->nthreads;
}

uint32_t wr_conn_id_thread(struct wr_conn_id id)
{
    return plane__thread_of(id.v);
}
