/* SPDX-License-Identifier: MIT
 *
 * Service `hub`: the rooms. Reads the configuration, builds, runs, tears down, and nothing else; the way of a publish is
 * hub_flow.c. */
#include "hub_priv.h"

#include "wr_log.h"
#include "wr_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

HUB_QUEUE_METRICS(publish_metrics, "publish");
HUB_QUEUE_METRICS(members_metrics, "members");
#define X(id, name, threads) HUB_QUEUE_METRICS(id##_metrics, name);
HUB_READS(X)
#undef X

static const struct {
    struct hub_queue_metrics *metrics;
    unsigned threads;
} reads[] = {
#define X(id, name, threads) {&id##_metrics, threads},
    HUB_READS(X)
#undef X
};

/* ---- the store -------------------------------------------------------------------------------------------------- */

/* The new folder's name must survive a power cut as well as what is written into it. */
static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* Makes the folder and those above it; an errno value. */
static int make_path(char *path)
{
    for (char *at = path + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        int rc = mkdir(path, 0755);
        *at = '/';
        if (rc != 0 && errno != EEXIST)
            return errno;
    }
    return mkdir(path, 0700) != 0 && errno != EEXIST ? errno : 0;
}

static wr_err make_folder(const char *data, char *path, size_t n, struct wr_errmsg *err)
{
    if (snprintf(path, n, "%s/hub", data) >= (int)n) {
        wr_errmsg_set(
            err, "hub: the path of the data folder is longer than %zu bytes: use a shorter one", n);
        return WR_ERR_INVALID;
    }
    int e = make_path(path);
    if (e != 0) {
        wr_errmsg_set(
            err,
            "%s: %s: make it by hand and writable for user %d, or name another folder by --data",
            path, strerror(e), (int)geteuid());
        return wr_err_from_errno(e);
    }
    sync_folder(data);
    return WR_OK;
}

static wr_err find_store(struct hub *h, const struct wr_plugins *plugins, struct wr_errmsg *err)
{
    char there[128] = "none";
    const char *text = h->config->hub.store;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)WR_MIN(strcspn(text, "="), sizeof name - 1), text);
    h->store = wr_plugins_find(plugins, WR_KIND_STORE, name);
    if (h->store) {
        struct wr_errmsg why = {{0}};
        wr_err e = wr_store_check(h->store, wr_store_args(text), &why);
        if (e != WR_OK)
            wr_errmsg_set(err, "hub.store: %.220s", why.text);
        return e;
    }
    const char **names = wr_plugins_names(plugins, 1u << WR_KIND_STORE);
    size_t at = 0;
    for (size_t i = 0; names && names[i] && at < sizeof there; i++)
        at += (size_t)snprintf(there + at, sizeof there - at, "%s%s", i ? ", " : "", names[i]);
    free(names);
    wr_errmsg_set(err,
                  "hub.store: no store plugin `%s` (there is: %s): `watchroom plugins` lists all",
                  name, there);
    return WR_ERR_NOT_FOUND;
}

static wr_err open_store(struct hub *h, const struct wr_plugins *plugins, struct wr_errmsg *err)
{
    const struct wr_config *c = h->config;
    char path[PATH_MAX];
    wr_err e = find_store(h, plugins, err);
    if (e == WR_OK)
        e = make_folder(c->data, path, sizeof path, err);
    if (e != WR_OK)
        return e;
    void *state = wr_plugin_state(&h->store->base);
    if (!state || hub_keeps__init(&h->keeps, c) != WR_OK) {
        free(state);
        wr_errmsg_set(err, "hub: out of memory");
        return WR_ERR_BUSY;
    }
    const struct wr_store_opts opts = {.path = path,
                                       .args = wr_store_args(c->hub.store),
                                       .keep = h->keeps.def,
                                       .rooms = h->keeps.list,
                                       .num_rooms = h->keeps.num};
    e = h->store->open(state, &opts, err);
    if (e != WR_OK) {
        free(state);
        return e;
    }
    h->store_state = state;
    return WR_OK;
}

/* ---- the bus and the threads ------------------------------------------------------------------------------------ */

static wr_err open_queues(struct hub *h, struct wr_errmsg *err)
{
    wr_err e = hub_queue__init(&h->publishes, HUB_MAX_QUEUED_PUBLISHES,
                               HUB_MAX_QUEUED_PUBLISH_BYTES, &publish_metrics);
    if (e == WR_OK)
        e = hub_queue__init(&h->members, HUB_MAX_QUEUED_MEMBERS, HUB_MAX_QUEUED_MEMBER_BYTES,
                            &members_metrics);
    for (size_t i = 0; e == WR_OK && i < HUB_READS_COUNT; i++) {
        h->readers[i].hub = h;
        e = hub_queue__init(&h->readers[i].queue, HUB_MAX_QUEUED_READS, HUB_MAX_QUEUED_READ_BYTES,
                            reads[i].metrics);
    }
    if (e != WR_OK)
        wr_errmsg_set(err, "hub: out of memory");
    return e;
}

static wr_err open_bus(struct hub *h, struct wr_errmsg *err)
{
    const char *used[34] = {h->store->base.name};
    for (size_t i = 0; i < h->filters.n; i++)
        used[1 + i] = h->filters.list[i].plugin->base.name;
    wr_err e = wr_bus_open(
        &(struct wr_bus_opts){
            .service = "hub", .plugins = used, .max_entry_bytes = h->config->hub.max_message_bytes},
        &h->bus);
    if (e != WR_OK) {
        wr_errmsg_set(err, "hub: the bus does not start: %s", wr_err_text(e));
        return e;
    }
    hub_rooms__init(&h->rooms, wr_bus_instance(h->bus));
    return wr_bus_pub_open(h->bus, h->config->bus.hub_events, true, &h->pub, err);
}

static wr_err start_threads(struct hub *h, struct wr_errmsg *err)
{
    h->batch = hub__batch_new(h);
    h->has_writer = h->batch &&
                    wr_thread_start(&h->writer, "hub-writer", hub__writer, h->batch) == WR_OK;
    h->has_keeper = h->has_writer &&
                    wr_thread_start(&h->keeper, "hub-members", hub__keeper, h) == WR_OK;
    bool ok = h->has_keeper;
    for (size_t i = 0; ok && i < HUB_READS_COUNT; i++) {
        struct hub_readers *r = &h->readers[i];
        while (ok && r->num_threads < reads[i].threads) {
            ok = wr_thread_start(&r->threads[r->num_threads], "hub-reader", hub__reader, r) ==
                 WR_OK;
            r->num_threads += ok;
        }
    }
    if (ok)
        return WR_OK;
    wr_errmsg_set(err, "hub: no more threads: raise the limit of processes (ulimit -u)");
    return WR_ERR_BUSY;
}

static void close_queues(struct hub *h)
{
    hub_queue__close(&h->publishes);
    hub_queue__close(&h->members);
    for (size_t i = 0; i < HUB_READS_COUNT; i++)
        hub_queue__close(&h->readers[i].queue);
}

/* ---- the service ------------------------------------------------------------------------------------------------ */

static void drain(void *state)
{
    struct hub *h = state;
    if (h->magic != HUB_MAGIC)
        return;
    wr_bus_drain(h->bus);
    close_queues(h); /* what is queued is still done; what comes now is told CLOSED */
}

/* Takes down whatever start has built, in reverse. */
static void stop(void *state)
{
    struct hub *h = state;
    if (h->magic != HUB_MAGIC)
        return;
    wr_bus_server_close(&h->server);
    close_queues(h);
    for (size_t i = 0; i < HUB_READS_COUNT; i++)
        while (h->readers[i].num_threads)
            pthread_join(h->readers[i].threads[--h->readers[i].num_threads], NULL);
    if (h->has_keeper)
        pthread_join(h->keeper, NULL);
    if (h->has_writer)
        pthread_join(h->writer, NULL);
    hub__batch_free(h->batch);
    for (size_t i = 0; i < HUB_READS_COUNT; i++)
        hub_queue__fini(&h->readers[i].queue);
    hub_queue__fini(&h->members);
    hub_queue__fini(&h->publishes);
    hub_rooms__fini(&h->rooms);
    wr_bus_pub_close(&h->pub);
    wr_bus_close(&h->bus);
    hub_filters__fini(&h->filters);
    if (h->store_state)
        h->store->close(h->store_state);
    free(h->store_state);
    hub_keeps__fini(&h->keeps);
    *h = (struct hub){0};
}

static wr_err start(void *state, const struct wr_service_env *env, struct wr_errmsg *err)
{
    struct hub *h = state;
    h->magic = HUB_MAGIC;
    h->config = env->config;
    wr_err e = open_store(h, env->plugins, err);
    if (e == WR_OK)
        e = hub_filters__init(&h->filters, h->config->hub.filters, env->plugins, err);
    if (e == WR_OK)
        e = open_queues(h, err);
    if (e == WR_OK)
        e = open_bus(h, err);
    if (e == WR_OK)
        e = start_threads(h, err);
    if (e == WR_OK)
        e = wr_bus_serve(h->bus, h->config->bus.hub_listen, hub__handle_call, h, &h->server, err);
    if (e == WR_OK)
        wr_info("hub.start", "store=%s filters=%zu calls=%s events=%s", h->store->base.name,
                h->filters.n, wr_bus_server_url(h->server), wr_bus_pub_url(h->pub));
    else
        stop(h);
    return e;
}

WR_PLUGIN_EXPORT const struct wr_service_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_service_plugin, struct hub, WR_KIND_SERVICE, "hub",
                                 WR_VERSION, "Rooms: their log, their members, their events"),
    .start = start,
    .drain = drain,
    .stop = stop,
};
