/* SPDX-License-Identifier: MIT
 *
 * A node of the bus: its identity, its housekeeper (deadlines, health of peers, the beat) and its prober (what names
 * resolve to and the check of our own listeners: that may block for a second or two). */
#include "bus_nng.h"

#include "watchroom/v1/bus.pb-c.h"
#include "wr_id.h"
#include "wr_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

WR_COUNTER(relistens, "watchroom_bus_relistens_total", NULL,
           "Listeners that did not answer and were opened anew");

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fscanf(f, "%*s %lu", &pages) != 1)
        pages = 0;
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

/* A TCP address is told with the host "*": whoever dialled us knows how we are reached. */
static char *told_url(const char *url)
{
    char host[BUS_URL_BYTES], port[16], *out = NULL;
    if (!bus__split_tcp(url, host, sizeof host, port, sizeof port))
        return strdup(url);
    return asprintf(&out, "tcp://*:%s", port) < 0 ? NULL : out;
}

struct wr_msg *bus__describe(struct wr_bus *bus)
{
    Watchroom__V1__NodeInfo info = WATCHROOM__V1__NODE_INFO__INIT;
    char version[] = WR_VERSION;
    char *lanes[BUS_MAX_LANES], reason[sizeof bus->reason];
    info.service = bus->service;
    info.instance = bus->instance;
    info.version = version;
    info.started_ms = bus->started_ms;
    info.uptime_ms = (uint64_t)(wr_mono_us() - bus->started_us) / 1000;
    info.rss_bytes = resident_bytes();
    info.calls_in_flight = (uint32_t)atomic_load(&bus->in_flight);
    info.plugins = bus->plugins;
    info.n_plugins = bus->num_plugins;
    info.max_entry_bytes = bus->max_entry_bytes;
    info.lanes = lanes;
    pthread_mutex_lock(&bus->lock);
    info.load = bus->load;
    info.draining = bus->draining;
    memcpy(reason, bus->reason, sizeof reason);
    info.reason = reason;
    for (struct wr_bus_pub *p = bus->pubs; p && info.n_lanes < WR_ARRAY_LEN(lanes); p = p->next)
        if (p->lane && (lanes[info.n_lanes] = told_url(p->url)))
            info.n_lanes++;
    pthread_mutex_unlock(&bus->lock);
    struct wr_msg *m = wr_msg_pack(&info.base);
    for (size_t i = 0; i < info.n_lanes; i++)
        free(lanes[i]);
    return m;
}

void wr_bus_set_reason(struct wr_bus *bus, const char *reason)
{
    pthread_mutex_lock(&bus->lock);
    snprintf(bus->reason, sizeof bus->reason, "%s", reason);
    pthread_mutex_unlock(&bus->lock);
}

void bus__kick(struct wr_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    bus->kicked = true;
    pthread_cond_broadcast(&bus->wake);
    pthread_mutex_unlock(&bus->lock);
}

void bus__looked_up(struct wr_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    bus->looked_up = true;
    pthread_cond_broadcast(&bus->wake);
    pthread_mutex_unlock(&bus->lock);
}

void bus__run_failed(struct wr_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    struct bus_op *all = bus->failed;
    bus->failed = NULL;
    bus->failing++;
    pthread_mutex_unlock(&bus->lock);
    while (all) {
        struct bus_op *op = all;
        all = op->next;
        bus__op_fail(op, op->fail_code, op->fail_text);
    }
    pthread_mutex_lock(&bus->lock);
    if (--bus->failing == 0)
        pthread_cond_broadcast(&bus->walked);
    while (bus->failing)
        pthread_cond_wait(&bus->walked, &bus->lock);
    pthread_mutex_unlock(&bus->lock);
}

/* The node's own event, once a second on its first lane: how the admin page and other gateways see it. */
static void beat(struct wr_bus *bus, struct wr_bus_pub *pubs)
{
    struct wr_bus_pub *lane = NULL;
    for (struct wr_bus_pub *p = pubs; p && !lane; p = p->next)
        if (p->lane)
            lane = p;
    if (!lane || !*bus->service)
        return;
    struct wr_msg *m = bus__describe(bus);
    Watchroom__V1__NodeInfo *info = m ? watchroom__v1__node_info__unpack(NULL, m->len, m->data)
                                      : NULL;
    wr_msg_unref(m);
    if (!info)
        return;
    Watchroom__V1__Event event = WATCHROOM__V1__EVENT__INIT;
    char topic[192];
    event.instance = bus->instance;
    event.time_ms = wr_wall_ms();
    event.node = info;
    snprintf(topic, sizeof topic, "node/%s/%s", bus->service, bus->instance);
    m = wr_msg_pack(&event.base);
    watchroom__v1__node_info__free_unpacked(info, NULL);
    if (m)
        wr_bus_publish(lane, topic, m);
}

static void measure_load(struct wr_bus *bus, int64_t now_us)
{
    int64_t cpu = cpu_us();
    pthread_mutex_lock(&bus->lock);
    if (now_us > bus->cpu_at_us)
        bus->load = (double)(cpu - bus->cpu_us) / (double)(now_us - bus->cpu_at_us);
    bus->cpu_us = cpu;
    bus->cpu_at_us = now_us;
    pthread_mutex_unlock(&bus->lock);
}

/* What a thread walks through without bus->lock: members are only added in front, and none leaves while `walking` is
 * not 0. */
struct walk {
    struct wr_bus_service *services;
    struct wr_bus_server *servers;
    struct wr_bus_pub *pubs;
    struct wr_bus_sub *subs;
};

/* bus->lock held; so on return. */
static struct walk walk_begin(struct wr_bus *bus)
{
    bus->walking++;
    return (struct walk){bus->services, bus->servers, bus->pubs, bus->subs};
}

static void walk_end(struct wr_bus *bus)
{
    if (--bus->walking == 0)
        pthread_cond_broadcast(&bus->walked);
}

#define DEFINE_LIST(type, list)                                \
    void bus__join_##list(struct wr_bus *bus, struct type *m)  \
    {                                                          \
        pthread_mutex_lock(&bus->lock);                        \
        m->next = bus->list;                                   \
        bus->list = m;                                         \
        pthread_mutex_unlock(&bus->lock);                      \
    }                                                          \
    void bus__leave_##list(struct wr_bus *bus, struct type *m) \
    {                                                          \
        struct type **at = &bus->list;                         \
        pthread_mutex_lock(&bus->lock);                        \
        while (bus->walking)                                   \
            pthread_cond_wait(&bus->walked, &bus->lock);       \
        while (*at && *at != m)                                \
            at = &(*at)->next;                                 \
        if (*at)                                               \
            *at = m->next;                                     \
        pthread_mutex_unlock(&bus->lock);                      \
    }
BUS_LISTS(DEFINE_LIST)

static void *keep_house(void *arg)
{
    struct wr_bus *bus = arg;
    int64_t beat_at = wr_mono_us() + 1000000;
    pthread_mutex_lock(&bus->lock);
    while (!bus->closing) {
        bus->kicked = false;
        struct walk w = walk_begin(bus);
        pthread_mutex_unlock(&bus->lock);

        int64_t now = wr_mono_us();
        bus__run_failed(bus);
        for (struct wr_bus_service *s = w.services; s; s = s->next)
            bus__service_tick(s, now);
        for (struct wr_bus_sub *s = w.subs; s; s = s->next)
            if (s->ops->tick)
                s->ops->tick(s, now);
        if (now >= beat_at) {
            beat_at = now + 1000000;
            measure_load(bus, now);
            beat(bus, w.pubs);
            bus_nng__watch_closes();
        }

        pthread_mutex_lock(&bus->lock);
        walk_end(bus);
        /* Without services there is nothing but the beat to wake up for. */
        int64_t until = bus->services || bus->subs ? now + BUS_TICK_US : beat_at;
        while (!bus->kicked && !bus->closing && wr_cond_wait_until(&bus->wake, &bus->lock, until))
            ;
    }
    pthread_mutex_unlock(&bus->lock);
    bus__run_failed(bus);
    return NULL;
}

static bool is_dead(const char *url, uint16_t protocol)
{
    if (bus__probe_sp(url, protocol) || bus__probe_sp(url, protocol))
        return false;
    wr_error("bus.listener_dead", "%s does not answer a handshake: listening anew", url);
    wr_count(&relistens, 1);
    return true;
}

static void *probe(void *arg)
{
    struct wr_bus *bus = arg;
    int64_t probe_at = wr_mono_us() + 2000000;
    pthread_mutex_lock(&bus->lock);
    while (!bus->closing) {
        bus->looked_up = false;
        struct walk w = walk_begin(bus);
        pthread_mutex_unlock(&bus->lock);
        int64_t now = wr_mono_us();
        for (struct wr_bus_service *s = w.services; s; s = s->next)
            bus__service_resolve(s, now);
        if (now >= probe_at) {
            for (struct wr_bus_server *s = w.servers; s; s = s->next)
                if (s->ops->probed)
                    s->ops->probed(s, !is_dead(s->url, BUS_SP_REQ));
            for (struct wr_bus_pub *p = w.pubs; p; p = p->next)
                if (p->ops->probed)
                    p->ops->probed(p, !is_dead(p->url, BUS_SP_SUB));
            probe_at = wr_mono_us() + 2000000;
        }
        pthread_mutex_lock(&bus->lock);
        walk_end(bus);
        int64_t until = wr_mono_us() + 500000;
        while (!bus->closing && !bus->looked_up && wr_mono_us() < until)
            wr_cond_wait_until(&bus->wake, &bus->lock, until);
    }
    pthread_mutex_unlock(&bus->lock);
    return NULL;
}

wr_err wr_bus_open(const struct wr_bus_opts *opts, struct wr_bus **out)
{
    struct wr_bus *bus = calloc(1, sizeof *bus);
    char random[17];
    if (!bus)
        return WR_ERR_BUSY;
    snprintf(bus->service, sizeof bus->service, "%s", opts->service ? opts->service : "client");
    bus->max_entry_bytes = opts->max_entry_bytes;
    wr_id_random(random, 16);
    snprintf(bus->instance, sizeof bus->instance, "%s-%s", bus->service, random);
    for (size_t i = 0; opts->plugins && opts->plugins[i]; i++) {
        char **more = realloc(bus->plugins, (i + 1) * sizeof *more);
        if (!more)
            break;
        bus->plugins = more;
        bus->plugins[bus->num_plugins++] = strdup(opts->plugins[i]);
    }
    bus->started_ms = wr_wall_ms();
    bus->started_us = bus->cpu_at_us = wr_mono_us();
    bus->cpu_us = cpu_us();
    pthread_mutex_init(&bus->lock, NULL);
    wr_cond_init(&bus->wake);
    wr_cond_init(&bus->walked);
    wr_err e = wr_thread_start(&bus->housekeeper, "bus-house", keep_house, bus);
    if (e == WR_OK) {
        e = wr_thread_start(&bus->prober, "bus-probe", probe, bus);
        if (e != WR_OK) {
            pthread_mutex_lock(&bus->lock);
            bus->closing = true;
            pthread_cond_broadcast(&bus->wake);
            pthread_mutex_unlock(&bus->lock);
            pthread_join(bus->housekeeper, NULL);
        }
    }
    if (e != WR_OK) {
        free(bus);
        return e;
    }
    *out = bus;
    return WR_OK;
}

const char *wr_bus_instance(const struct wr_bus *bus)
{
    return bus->instance;
}

void wr_bus_drain(struct wr_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    bus->draining = true;
    pthread_mutex_unlock(&bus->lock);
}

void wr_bus_close(struct wr_bus **bp)
{
    struct wr_bus *bus = *bp;
    if (!bus)
        return;
    *bp = NULL;
    while (bus->subs) {
        struct wr_bus_sub *s = bus->subs;
        wr_bus_sub_close(&s);
    }
    while (bus->servers) {
        struct wr_bus_server *s = bus->servers;
        wr_bus_server_close(&s);
    }
    while (bus->services) {
        struct wr_bus_service *s = bus->services;
        wr_bus_service_close(&s);
    }
    while (bus->pubs) {
        struct wr_bus_pub *p = bus->pubs;
        wr_bus_pub_close(&p);
    }
    pthread_mutex_lock(&bus->lock);
    bus->closing = true;
    pthread_cond_broadcast(&bus->wake);
    pthread_mutex_unlock(&bus->lock);
    pthread_join(bus->housekeeper, NULL);
    pthread_join(bus->prober, NULL);
    for (size_t i = 0; i < bus->num_plugins; i++)
        free(bus->plugins[i]);
    free(bus->plugins);
    pthread_mutex_destroy(&bus->lock);
    pthread_cond_destroy(&bus->wake);
    pthread_cond_destroy(&bus->walked);
    free(bus);
}
