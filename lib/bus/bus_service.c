/* SPDX-License-Identifier: MIT
 *
 * A service as its callers see it: the instances behind a name, which of them gets a call, and the calls that wait
 * until there is one. */
#include "bus_priv.h"

#include "wr_map.h"
#include "wr_metrics.h"

#include <stdio.h>
#include <stdlib.h>

WR_COUNTER(calls_made, "watchroom_bus_calls_total", NULL, "Calls to services");
WR_COUNTER(calls_failed, "watchroom_bus_calls_failed_total", NULL,
           "Calls that ended without an answer of the service (timeout, nobody there, queue full)");
WR_HISTOGRAM(call_time, "watchroom_bus_call_seconds", NULL,
             "Time from a call to its answer, seconds");

static void op_free(struct bus_op *op)
{
    if (op->peer) {
        atomic_fetch_sub(&op->peer->in_flight, 1);
        bus__peer_unref(op->peer);
    }
    wr_msg_unref(op->body);
    free(op->route_key);
    free(op->address);
    free(op);
}

void bus__op_finish(struct bus_op *op, const struct wr_answer *a)
{
    if (op->start_us)
        wr_observe_us(&call_time, wr_mono_us() - op->start_us);
    if (op->done)
        op->done(op->ctx, a);
    op_free(op);
}

void bus__op_fail(struct bus_op *op, wr_err code, const char *text)
{
    struct wr_answer a = {.code = code, .text = wr_slice_str(text), .instance = ""};
    if (op->start_us) /* not our own health checks */
        wr_count(&calls_failed, 1);
    bus__op_finish(op, &a);
}

void bus__op_fail_later(struct bus_op *op, wr_err code, const char *text)
{
    struct wr_bus *bus = op->service->bus;
    op->fail_code = code;
    op->fail_text = text;
    pthread_mutex_lock(&bus->lock);
    op->next = bus->failed;
    bus->failed = op;
    bus->kicked = true;
    pthread_cond_broadcast(&bus->wake); /* the prober waits there too */
    pthread_mutex_unlock(&bus->lock);
}

struct bus_op *bus__ops_take_late(struct bus_op **head, struct bus_op ***tail, size_t *n,
                                  int64_t now_us)
{
    struct bus_op *late = NULL, **at = head;
    while (*at) {
        struct bus_op *op = *at;
        if (op->deadline_us > now_us) {
            at = &op->next;
            continue;
        }
        *at = op->next;
        (*n)--;
        op->next = late;
        late = op;
    }
    *tail = at;
    return late;
}

void bus__ops_fail(struct bus_op *all, wr_err code, const char *text)
{
    while (all) {
        struct bus_op *op = all;
        all = op->next;
        bus__op_fail(op, code, text);
    }
}

uint64_t wr_bus_route_score(struct wr_slice route_key, const char *address)
{
    return wr_hash(wr_slice_str(address), wr_hash(route_key, 0));
}

/* Service lock held. A reference to the instance that a call goes to, NULL when none is up. */
static struct bus_peer *choose(struct wr_bus_service *s, const char *route_key, const char *address)
{
    struct bus_peer *best = NULL;
    uint64_t best_score = 0;
    for (struct bus_peer *p = s->peers; p; p = p->next) {
        if (!p->up || (address && strcmp(address, p->url) != 0))
            continue;
        /* Rendezvous hashing: every caller that sees the same live addresses names the same one. */
        uint64_t score = route_key ? wr_bus_route_score(wr_slice_str(route_key), p->url)
                                   : UINT64_MAX - (uint64_t)atomic_load_explicit(
                                                      &p->in_flight, memory_order_relaxed);
        if (!best || score > best_score) {
            best = p;
            best_score = score;
        }
    }
    if (best)
        atomic_fetch_add(&best->refs, 1);
    return best;
}

/* Service lock held. The op waits until somebody is up; CLOSED or BUSY when it cannot. */
static wr_err wait_for_instance(struct wr_bus_service *s, struct bus_op *op)
{
    if (s->closing)
        return WR_ERR_CLOSED;
    if (s->num_pending >= BUS_PENDING_MAX ||
        s->pending_bytes + wr_msg_memory(op->body) > BUS_PENDING_BYTES)
        return WR_ERR_BUSY;
    op->next = NULL;
    *s->pending_tail = op;
    s->pending_tail = &op->next;
    s->num_pending++;
    s->pending_bytes += sizeof *op + wr_msg_memory(op->body);
    return WR_OK;
}

static bool give(struct bus_peer *p, struct bus_op *op)
{
    op->peer = p;
    atomic_fetch_add(&p->in_flight, 1);
    if (p->ops->call(p, op))
        return true;
    op->peer = NULL;
    atomic_fetch_sub(&p->in_flight, 1);
    bus__peer_unref(p);
    return false;
}

/* To an instance, or among those that wait for one. */
static void dispatch(struct wr_bus_service *s, struct bus_op *op)
{
    wr_err e = WR_OK;
    pthread_mutex_lock(&s->lock);
    struct bus_peer *p = s->closing ? NULL : choose(s, op->route_key, op->address);
    /* The lock is kept in between: who comes up sends what waits, and must find it there. */
    if (!p)
        e = wait_for_instance(s, op);
    pthread_mutex_unlock(&s->lock);
    if (p && !give(p, op)) {
        /* It went a moment ago and is not down yet: the housekeeper tries again. */
        pthread_mutex_lock(&s->lock);
        e = wait_for_instance(s, op);
        pthread_mutex_unlock(&s->lock);
    }
    if (e == WR_ERR_CLOSED)
        bus__op_fail_later(op, e, "the bus is closing");
    else if (e != WR_OK)
        bus__op_fail_later(op, e,
                           "no instance of the service is up, and too many calls wait for one");
}

/* By route_key, or at address, or to the least busy when both are NULL. */
static void call(struct wr_bus_service *s, const char *route_key, const char *address,
                 const char *method, struct wr_msg *body, uint32_t deadline_ms, wr_bus_done_fn done,
                 void *ctx)
{
    struct bus_op *op = calloc(1, sizeof *op);
    if (!op)
        abort(); /* the caller waits for a `done` that could not be promised */
    wr_count(&calls_made, 1);
    op->service = s;
    op->route_key = route_key ? strdup(route_key) : NULL;
    op->address = address ? strdup(address) : NULL;
    if ((route_key && !op->route_key) || (address && !op->address))
        abort();
    snprintf(op->method, sizeof op->method, "%s", method);
    snprintf(op->trace_id, sizeof op->trace_id, "%.8s-%x",
             s->bus->instance + strlen(s->bus->service) + 1, atomic_fetch_add(&s->bus->trace, 1));
    op->body = body;
    op->start_us = wr_mono_us();
    op->deadline_us = op->start_us +
                      (int64_t)(deadline_ms ? deadline_ms : WR_BUS_DEFAULT_DEADLINE_MS) * 1000;
    op->done = done;
    op->ctx = ctx;
    if (body && body->len > WR_BUS_MAX_MSG_BYTES - BUS_ENVELOPE_MAX)
        bus__op_fail_later(op, WR_ERR_TOO_BIG, "the request is larger than the bus carries");
    else
        dispatch(s, op);
}

void wr_bus_call(struct wr_bus_service *s, const char *route_key, const char *method,
                 struct wr_msg *body, uint32_t deadline_ms, wr_bus_done_fn done, void *ctx)
{
    call(s, route_key, NULL, method, body, deadline_ms, done, ctx);
}

void wr_bus_call_at(struct wr_bus_service *s, const char *address, const char *method,
                    struct wr_msg *body, uint32_t deadline_ms, wr_bus_done_fn done, void *ctx)
{
    call(s, NULL, address, method, body, deadline_ms, done, ctx);
}

void bus__service_flush(struct wr_bus_service *s)
{
    pthread_mutex_lock(&s->lock);
    struct bus_op *all = s->pending;
    s->pending = NULL;
    s->pending_tail = &s->pending;
    s->num_pending = 0;
    s->pending_bytes = 0;
    pthread_mutex_unlock(&s->lock);
    while (all) {
        struct bus_op *op = all;
        all = op->next;
        op->next = NULL;
        dispatch(s, op);
    }
}

static void expire_pending(struct wr_bus_service *s, int64_t now_us)
{
    char text[160];
    snprintf(text, sizeof text, "no instance of the %s service answered", s->name);
    pthread_mutex_lock(&s->lock);
    struct bus_op *late = bus__ops_take_late(&s->pending, &s->pending_tail, &s->num_pending,
                                             now_us);
    for (const struct bus_op *op = late; op; op = op->next)
        s->pending_bytes -= sizeof *op + wr_msg_memory(op->body);
    pthread_mutex_unlock(&s->lock);
    bus__ops_fail(late, WR_ERR_UNAVAILABLE, text);
}

/* References to all peers, taken under the lock, so that they can be worked on without it. */
static size_t all_peers(struct wr_bus_service *s, struct bus_peer **out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (struct bus_peer *p = s->peers; p && n < max; p = p->next) {
        atomic_fetch_add(&p->refs, 1);
        out[n++] = p;
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

void bus__service_tick(struct wr_bus_service *s, int64_t now_us)
{
    struct bus_peer *peers[256];
    size_t n = all_peers(s, peers, WR_ARRAY_LEN(peers));
    for (size_t i = 0; i < n; i++) {
        bus__peer_tick(peers[i], now_us);
        bus__peer_unref(peers[i]);
    }
    expire_pending(s, now_us);
    if (wr_bus_service_is_up(s))
        bus__service_flush(s);
}

/* Service lock held. */
static struct bus_peer *find_or_add(struct wr_bus_service *s, const char *url)
{
    for (struct bus_peer *p = s->peers; p; p = p->next)
        if (strcmp(p->url, url) == 0)
            return p;
    struct bus_peer *p = bus__peer_new(s, url);
    if (p) {
        p->next = s->peers;
        s->peers = p;
        wr_info("bus.instance_found", "service=%s address=%s", s->name, url);
    }
    return p;
}

static void want(void *ctx, const char *url)
{
    struct wr_bus_service *s = ctx;
    struct bus_peer *p = find_or_add(s, url);
    if (p)
        p->wanted = true;
}

/* The addresses of the names are known: new ones join, and those that are listed no more and down leave. */
static void apply(struct wr_bus_service *s, struct bus_lookup *l)
{
    struct bus_peer *gone = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct bus_peer *p = s->peers; p; p = p->next)
        p->wanted = false;
    bool all_resolved = bus__lookup_each(l, want, s);
    for (size_t i = 0; i < s->num_urls; i++)
        if (!bus__is_name(s->urls[i]))
            want(s, s->urls[i]);
    /* A hiccup of the resolver must not drop healthy peers: an address goes when it is not listed and down. */
    for (struct bus_peer **at = &s->peers; all_resolved && *at;) {
        struct bus_peer *p = *at;
        if (p->wanted || p->up) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->forgotten = true;
        bus__sub_lanes(s, p->url, NULL, 0);
        p->next = gone;
        gone = p;
    }
    pthread_mutex_unlock(&s->lock);
    while (gone) {
        struct bus_peer *p = gone;
        gone = p->next;
        wr_info("bus.instance_forgotten", "service=%s address=%s", s->name, p->url);
        p->ops->close(p);
        bus__peer_unref(p);
    }
}

void bus__service_resolve(struct wr_bus_service *s, int64_t now_us)
{
    if (s->lookup && bus__lookup_ended(s->lookup)) {
        apply(s, s->lookup);
        bus__lookup_leave(&s->lookup);
    }
    if (!s->lookup && now_us >= s->resolve_at_us) {
        s->resolve_at_us = now_us + BUS_RESOLVE_EVERY_US;
        s->lookup = bus__lookup_start(s->bus, s->urls, s->num_urls);
    }
}

wr_err wr_bus_service_open(struct wr_bus *bus, const char *name, const char *urls,
                           struct wr_bus_service **out, struct wr_errmsg *err)
{
    struct wr_bus_service *s = calloc(1, sizeof *s);
    char *list = strdup(urls), *save = NULL;
    if (!s || !list)
        abort();
    s->bus = bus;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->pending_tail = &s->pending;
    pthread_mutex_init(&s->lock, NULL);
    wr_cond_init(&s->told);
    for (char *u = strtok_r(list, ", ", &save); u; u = strtok_r(NULL, ", ", &save)) {
        if (bus__scheme_or_say(u, err) == BUS_SCHEME_BAD) {
            for (size_t i = 0; i < s->num_urls; i++)
                free(s->urls[i]);
            free(s->urls);
            free(s);
            free(list);
            return WR_ERR_INVALID;
        }
        char **more = realloc(s->urls, (s->num_urls + 1) * sizeof *more);
        if (!more)
            abort();
        s->urls = more;
        s->urls[s->num_urls++] = strdup(u);
    }
    free(list);
    for (size_t i = 0; i < s->num_urls; i++)
        if (!bus__is_name(s->urls[i]))
            want(s, s->urls[i]);
    bus__join_services(bus, s);
    bus__kick(bus);
    *out = s;
    return WR_OK;
}

void wr_bus_service_each(struct wr_bus_service *s,
                         void (*fn)(void *ctx, const struct wr_instance *i), void *ctx)
{
    pthread_mutex_lock(&s->lock);
    for (struct bus_peer *p = s->peers; p; p = p->next) {
        struct wr_instance i = {.service = s->name,
                                .address = p->url,
                                .id = p->instance,
                                .info = p->info,
                                .state = p->up ? WR_INSTANCE_UP : WR_INSTANCE_DOWN};
        fn(ctx, &i);
    }
    pthread_mutex_unlock(&s->lock);
}

void wr_bus_service_on_change(struct wr_bus_service *s, wr_bus_change_fn fn, void *ctx)
{
    pthread_mutex_lock(&s->lock);
    s->change_ctx = ctx;
    s->on_change = fn;
    while (s->telling)
        pthread_cond_wait(&s->told, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

bool wr_bus_service_is_up(struct wr_bus_service *s)
{
    bool up = false;
    pthread_mutex_lock(&s->lock);
    for (struct bus_peer *p = s->peers; p; p = p->next)
        up = up || p->up;
    pthread_mutex_unlock(&s->lock);
    return up;
}

bool wr_bus_service_address(struct wr_bus_service *s, const char *instance, char *out, size_t n)
{
    bool found = false;
    pthread_mutex_lock(&s->lock);
    for (struct bus_peer *p = s->peers; p && !found; p = p->next)
        if (strcmp(p->instance, instance) == 0)
            found = snprintf(out, n, "%s", p->url) < (int)n;
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* ---- waiting calls ---------------------------------------------------------------------------------------------- */

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool ended;
    wr_err code;
    struct wr_msg *msg;
    struct wr_slice body;
    struct wr_errmsg text;
};

static void wake(void *ctx, const struct wr_answer *a)
{
    struct waiting *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    w->code = a->code;
    w->body = a->body;
    w->msg = a->msg ? wr_msg_ref(a->msg) : NULL;
    wr_errmsg_set(&w->text, "%.*s", (int)WR_MIN(a->text.n, (size_t)250), (const char *)a->text.p);
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

static wr_err call_wait(struct wr_bus_service *s, const char *route_key, const char *address,
                        const char *method, struct wr_msg *body, uint32_t deadline_ms,
                        struct wr_msg **answer, struct wr_slice *body_out, struct wr_errmsg *err)
{
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    wr_cond_init(&w.done);
    call(s, route_key, address, method, body, deadline_ms, wake, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.ended)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.done);
    if (w.code != WR_OK) {
        if (err)
            *err = w.text;
        wr_msg_unref(w.msg);
        return w.code;
    }
    if (body_out)
        *body_out = w.body;
    if (answer)
        *answer = w.msg;
    else
        wr_msg_unref(w.msg);
    return WR_OK;
}

wr_err wr_bus_call_wait(struct wr_bus_service *s, const char *route_key, const char *method,
                        struct wr_msg *body, uint32_t deadline_ms, struct wr_msg **answer,
                        struct wr_slice *body_out, struct wr_errmsg *err)
{
    return call_wait(s, route_key, NULL, method, body, deadline_ms, answer, body_out, err);
}

wr_err wr_bus_call_wait_at(struct wr_bus_service *s, const char *address, const char *method,
                           struct wr_msg *body, uint32_t deadline_ms, struct wr_msg **answer,
                           struct wr_slice *body_out, struct wr_errmsg *err)
{
    return call_wait(s, NULL, address, method, body, deadline_ms, answer, body_out, err);
}

void wr_bus_service_close(struct wr_bus_service **sp)
{
    struct wr_bus_service *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    struct wr_bus *bus = s->bus;
    bus__leave_services(bus, s);
    bus__lookup_leave(&s->lookup);

    pthread_mutex_lock(&s->lock);
    s->closing = true;
    struct bus_op *pending = s->pending;
    s->pending = NULL;
    s->pending_tail = &s->pending;
    struct bus_peer *peers = s->peers;
    pthread_mutex_unlock(&s->lock);
    bus__ops_fail(pending, WR_ERR_CLOSED, "the bus is closing");
    for (struct bus_peer *p = peers; p; p = p->next)
        p->ops->close(p);
    bus__run_failed(bus);
    while (peers) {
        struct bus_peer *p = peers;
        peers = p->next;
        bus__peer_unref(p);
    }
    for (size_t i = 0; i < s->num_urls; i++)
        free(s->urls[i]);
    free(s->urls);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->told);
    free(s);
}
