/* SPDX-License-Identifier: MIT
 *
 * The rooms thread: its queue, its timers, calls whose answers come back to it, start and end. */
#include "rooms_priv.h"
#include "wr_buf.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_pb.h"
#include "wr_thread.h"
#include "watchroom/v1/hub.numbers.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 100

/* ---- small shared objects ---- */

struct rooms__person *rooms__person_new(struct wr_slice client, struct wr_slice user,
                                        struct wr_slice conn_info)
{
    size_t n = client.n + user.n + conn_info.n;
    struct rooms__person *i = calloc(1, sizeof *i + n + 40);
    if (!i)
        return NULL;
    atomic_init(&i->refs, 1);
    uint8_t *at = i->bytes;
    at = wr_pb_bytes(at, WR_PB_CLIENT_INFO_USER, user);
    i->info.user = wr_slice_of(at - user.n, user.n);
    at = wr_pb_bytes(at, WR_PB_CLIENT_INFO_CLIENT, client);
    i->info.client = wr_slice_of(at - client.n, client.n);
    at = wr_pb_bytes(at, WR_PB_CLIENT_INFO_CONN_INFO, conn_info);
    i->info.conn_info = wr_slice_of(at - conn_info.n, conn_info.n);
    i->pb = wr_slice_of(i->bytes, (size_t)(at - i->bytes));
    return i;
}

struct rooms__person *rooms__person_ref(struct rooms__person *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

void rooms__person_unref(struct rooms__person *i)
{
    if (i && atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) == 1)
        free(i);
}

void rooms__sub_unref(struct rooms__sub *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    rooms__person_unref(s->who);
    free(s);
}

/* ---- jobs ---- */

struct rooms__job *rooms__job_new(enum rooms__job_kind kind)
{
    struct rooms__job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    j->kind = kind;
    return j;
}

/* Messages that could not leave anyhow, because a call is under way or held, do not wake the thread one by one. */
static bool has_work(const struct wr_rooms *rs)
{
    return rs->urgent || rs->npublishes >= rs->wake_publishes;
}

/* The thread is woken outside of its lock, which it wants at once: on one core it would come, wait for the lock, and come
 * again. What it does then may be the last thing before the end, so `posting` keeps the rest in place. */
static bool post(struct wr_rooms *rs, struct rooms__job *j)
{
    atomic_fetch_add(&rs->posting, 1);
    pthread_mutex_lock(&rs->lock);
    bool ok = j->kind != JOB_EVENT ||
              (rs->nevents < ROOMS__EVENTS && rs->event_bytes < ROOMS__EVENTS_BYTES);
    bool wake = false;
    if (ok) {
        bool had_work = has_work(rs);
        if (j->kind == JOB_EVENT) {
            rs->nevents++;
            rs->event_bytes += sizeof *j + wr_msg_memory(j->u.event.msg);
        }
        if (j->kind == JOB_PUBLISH)
            rs->npublishes++;
        else
            rs->urgent = true;
        j->next = NULL;
        *rs->jobs_last = j;
        rs->jobs_last = &j->next;
        wake = !had_work && has_work(rs);
    }
    pthread_mutex_unlock(&rs->lock);
    if (wake)
        pthread_cond_signal(&rs->wake);
    atomic_fetch_sub(&rs->posting, 1);
    return ok;
}

void rooms__job_post(struct wr_rooms *rs, struct rooms__job *j)
{
    (void)post(rs, j);
}

/* A bus thread. */
static void on_event(void *ctx, struct wr_slice topic, struct wr_slice event, struct wr_msg *msg)
{
    static const size_t prefix = sizeof "room/" - 1;
    struct wr_rooms *rs = ctx;
    if (topic.n <= prefix || topic.n - prefix > sizeof((struct rooms__job *)NULL)->u.event.room)
        return;
    struct rooms__job *j = rooms__job_new(JOB_EVENT);
    j->u.event.room_len = (uint16_t)(topic.n - prefix);
    memcpy(j->u.event.room, topic.p + prefix, topic.n - prefix);
    j->u.event.msg = wr_msg_ref(msg);
    j->u.event.event = event;
    if (post(rs, j))
        return;
    wr_count(&rooms__m_events_dropped, 1);
    wr_msg_unref(msg);
    free(j);
}

static void on_change(void *ctx, const char *instance, enum wr_instance_state state)
{
    (void)instance;
    (void)state;
    rooms__job_post(ctx, rooms__job_new(JOB_INSTANCE));
}

/* A bus thread: the answer travels to the rooms thread. */
static void on_answer(void *ctx, const struct wr_answer *a)
{
    struct rooms__job *j = ctx;
    struct wr_rooms *rs = j->u.answer.rs;
    j->u.answer.a = *a;
    size_t n = WR_MIN(a->text.n, sizeof j->u.answer.text);
    memcpy(j->u.answer.text, a->text.n ? (const char *)a->text.p : "", n);
    j->u.answer.a.text = wr_slice_of(j->u.answer.text, n);
    j->u.answer.a.instance = "";
    if (a->msg)
        wr_msg_ref(a->msg);
    rooms__job_post(rs, j);
}

static struct rooms__job *answer_job(struct wr_rooms *rs, rooms__answer_fn fn, void *ctx)
{
    struct rooms__job *j = rooms__job_new(JOB_ANSWER);
    j->u.answer.rs = rs;
    j->u.answer.fn = fn;
    j->u.answer.ctx = ctx;
    atomic_fetch_add(&rs->calls, 1);
    return j;
}

void rooms__call(struct wr_rooms *rs, const char *route, const char *method, struct wr_msg *body,
                 uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    struct rooms__job *j = answer_job(rs, fn, ctx);
    wr_bus_call(rs->env->hub, route, method, body, ms, on_answer, j);
}

void rooms__call_at(struct wr_rooms *rs, const struct rooms__hub *h, const char *method,
                    struct wr_msg *body, uint32_t ms, rooms__answer_fn fn, void *ctx)
{
    struct rooms__job *j = answer_job(rs, fn, ctx);
    wr_bus_call_at(rs->env->hub, h->address, method, body, ms, on_answer, j);
}

static void run_job(struct wr_rooms *rs, struct rooms__job *j)
{
    switch (j->kind) {
    case JOB_SUBSCRIBE:
        room__subscribe(rs, j->u.sub);
        break;
    case JOB_UNSUBSCRIBE:
        room__unsubscribe(rs, j->u.sub);
        rooms__sub_unref(j->u.sub);
        break;
    case JOB_PUBLISH:
        outbox__add(rs, j->u.publish);
        break;
    case JOB_PRESENCE:
        presence__ask(rs, j->u.presence.room, j->u.presence.reply);
        break;
    case JOB_EVENT:
        room__event(rs, j->u.event.msg, wr_slice_of(j->u.event.room, j->u.event.room_len),
                    j->u.event.event);
        wr_msg_unref(j->u.event.msg);
        break;
    case JOB_ANSWER:
        j->u.answer.fn(rs, j->u.answer.ctx, &j->u.answer.a);
        wr_msg_unref(j->u.answer.a.msg);
        atomic_fetch_sub(&rs->calls, 1);
        break;
    case JOB_INSTANCE:
        hubs__refresh(rs);
        room__check_soon(rs);
        break;
    case JOB_RIGHTS:
        room__ask_all_again(rs);
        break;
    }
    free(j);
}

static struct rooms__job *take_jobs(struct wr_rooms *rs, bool *ended)
{
    int64_t until = WR_MIN(wr_mono_ms() + TICK_MS, presence__due_ms(rs)) * 1000;
    size_t wake_publishes = outbox__wants(rs, &until);
    pthread_mutex_lock(&rs->lock);
    rs->wake_publishes = wake_publishes;
    while (!has_work(rs) && (!rs->ended || atomic_load(&rs->calls)))
        if (!wr_cond_wait_until(&rs->wake, &rs->lock, until))
            break;
    struct rooms__job *j = rs->jobs;
    rs->jobs = NULL;
    rs->jobs_last = &rs->jobs;
    rs->nevents = 0;
    rs->event_bytes = 0;
    rs->npublishes = 0;
    rs->urgent = false;
    rs->ending = rs->ended;
    *ended = rs->ended && !j && atomic_load(&rs->calls) == 0;
    pthread_mutex_unlock(&rs->lock);
    return j;
}

static void *rooms_main(void *arg)
{
    struct wr_rooms *rs = arg;
    bool ended = false;
    hubs__refresh(rs);
    for (;;) {
        struct rooms__job *j = take_jobs(rs, &ended);
        bool event_came = false;
        while (j) {
            struct rooms__job *next = j->next;
            event_came = event_came || j->kind == JOB_EVENT;
            run_job(rs, j);
            j = next;
        }
        outbox__release(rs, event_came || ended);
        if (ended)
            break;
        int64_t now = wr_mono_ms();
        outbox__run(rs, now);
        presence__run(rs, now);
        if (now >= rs->timer_ms) {
            rs->timer_ms = now + TICK_MS;
            room__timer(rs, now);
            wr_access_tick(rs->env->access);
        }
    }
    return NULL;
}

/* ---- life ---- */

/* Takes a protocol in, with a form for each of its variants. */
static wr_err protocol_open(struct wr_rooms *rs, const struct wr_protocol_plugin *p,
                            struct wr_errmsg *err)
{
    uint32_t n = wr_protocol_num_variants(p);
    struct wr_errmsg why = {{0}};
    if (rs->nprotocols == ROOMS__PROTOCOLS || rs->nforms + n > ROOMS__FORMS) {
        wr_errmsg_set(err, "gateway.protocols: at most %u protocols with %u variants in all",
                      ROOMS__PROTOCOLS, ROOMS__FORMS);
        return WR_ERR_INVALID;
    }
    if (wr_protocol_served(p, rs->env->config->gateway.ports, &why) != WR_OK) {
        wr_errmsg_set(err, "gateway.protocols: %.200s", why.text);
        return WR_ERR_INVALID;
    }
    struct rooms__protocol *c = &rs->protocols[rs->nprotocols];
    *c = (struct rooms__protocol){
        .plugin = p, .state = wr_plugin_state(&p->base), .rooms = rs, .first_form = rs->nforms};
    if (!c->state)
        return WR_ERR_BUSY;
    rs->nprotocols++;
    for (uint32_t v = 0; v < n; v++)
        rs->forms[rs->nforms++] = (struct rooms__form){p, v, wr_protocol_is_binary(p, v)};
    return clients__routes(rs, c, err);
}

static wr_err ports_used(const struct wr_rooms *rs, struct wr_errmsg *err)
{
    const struct wr_protocol_plugin *all[ROOMS__PROTOCOLS];
    struct wr_errmsg why = {{0}};
    for (uint32_t i = 0; i < rs->nprotocols; i++)
        all[i] = rs->protocols[i].plugin;
    wr_err e = wr_protocol_ports_used(rs->env->config->gateway.ports, all, rs->nprotocols, &why);
    if (e != WR_OK)
        wr_errmsg_set(err, "gateway.ports: %.200s", why.text);
    return e;
}

static wr_err protocols_open(struct wr_rooms *rs, struct wr_errmsg *err)
{
    char names[256];
    (void)snprintf(names, sizeof names, "%s", rs->env->config->gateway.protocols);
    char *save = NULL;
    for (char *name = strtok_r(names, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        const struct wr_protocol_plugin *p = wr_plugins_find(rs->env->plugins, WR_KIND_PROTOCOL,
                                                             name);
        if (!p) {
            wr_errmsg_set(
                err,
                "gateway.protocols: there is no protocol plugin \"%s\"; `watchroom plugins` "
                "lists what there is",
                name);
            return WR_ERR_NOT_FOUND;
        }
        wr_err e = protocol_open(rs, p, err);
        if (e != WR_OK)
            return e;
    }
    return ports_used(rs, err);
}

/* Whoever changed them. */
static void on_rights(void *ctx)
{
    rooms__job_post(ctx, rooms__job_new(JOB_RIGHTS));
}

wr_err wr_rooms_start(const struct wr_gateway_env *env, struct wr_rooms **out,
                      struct wr_errmsg *err)
{
    static const char *const prefixes[] = {"room/", NULL};
    struct wr_rooms *rs = calloc(1, sizeof *rs);
    *out = NULL;
    if (!rs)
        return WR_ERR_BUSY;
    rs->env_copy = *env;
    rs->env = &rs->env_copy;
    rs->jobs_last = &rs->jobs;
    pthread_mutex_init(&rs->lock, NULL);
    wr_cond_init(&rs->wake);
    wr_random(rs->boot, sizeof rs->boot);
    atomic_init(&rs->max_message, ROOMS__MAX_MESSAGE);
    wr_err e = hubs__init(rs);
    if (e == WR_OK)
        e = protocols_open(rs, err);
    if (e == WR_OK)
        e = wr_access_on_change(env->access, on_rights, rs);
    if (e == WR_OK) {
        wr_bus_service_on_change(env->hub, on_change, rs);
        e = wr_bus_subscribe_service(env->hub, prefixes, on_event, rs, &rs->events);
    }
    if (e == WR_OK)
        e = wr_thread_start(&rs->thread, "rooms", rooms_main, rs);
    rs->has_thread = e == WR_OK;
    *out = rs;
    if (e != WR_OK)
        wr_rooms_stop(out);
    return e;
}

/* A start that failed: nothing but events can have come. */
static void job_drop(struct rooms__job *j)
{
    if (j->kind == JOB_EVENT)
        wr_msg_unref(j->u.event.msg);
    free(j);
}

void wr_rooms_stop(struct wr_rooms **rp)
{
    struct wr_rooms *rs = *rp;
    *rp = NULL;
    if (!rs)
        return;
    wr_access_off_change(rs->env->access, on_rights, rs);
    wr_bus_service_on_change(rs->env->hub, NULL, NULL);
    wr_bus_sub_close(&rs->events);
    if (rs->has_thread) {
        pthread_mutex_lock(&rs->lock);
        rs->ended = true;
        pthread_cond_signal(&rs->wake);
        pthread_mutex_unlock(&rs->lock);
        pthread_join(rs->thread, NULL);
        while (atomic_load(&rs->posting)) /* between the lock and the signal: some instructions */
            sched_yield();
        presence__end(rs);
    }
    while (rs->jobs) {
        struct rooms__job *j = rs->jobs;
        rs->jobs = j->next;
        job_drop(j);
    }
    outbox__free(rs);
    presence__free(rs);
    room__free_all(rs);
    hubs__free(rs);
    for (uint32_t i = 0; i < rs->nprotocols; i++)
        free(rs->protocols[i].state);
    while (rs->doors) {
        struct rooms__door *d = rs->doors;
        rs->doors = d->next;
        free(d);
    }
    pthread_mutex_destroy(&rs->lock);
    pthread_cond_destroy(&rs->wake);
    free(rs);
}
