/* SPDX-License-Identifier: MIT
 *
 * The service plugin `filestore`: reads its configuration, opens the blob plugin, serves watchroom.v1.Files, tells rooms
 * about finished files. Uploads are opened in fs_store.c, the way of their bytes in fs_lanes.c. */
#include <stdio.h>
#include <stdlib.h>

#include "fs_announce.h"
#include "fs_calls.h"
#include "fs_pass.h"
#include "watchroom/v1/bus.pb-c.h"
#include "wr_bus.h"
#include "wr_clock.h"
#include "wr_config.h"
#include "wr_fd.h"
#include "wr_log.h"
#include "wr_plugins.h"
#include "wr_service.h"
#include "wr_thread.h"

#define LOOK_AFTER_US 5000000
#define LOOK_US 1000000

struct filestore {
    struct wr_bus *bus;
    struct wr_bus_pub *pub;
    struct wr_bus_service *hub;
    struct wr_bus_server *server;
    struct fs_store store;
    struct fs_announcer announcer;
    struct fs_pass pass;
    bool has_store, has_announcer, has_thread, has_pass;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    bool announce, stopping;
};

/* ---- what the store tells ------------------------------------------------------------------------------------------- */

static void publish_change(void *ctx, struct fs_upload *u, bool deleted)
{
    struct filestore *f = ctx;
    if (!u->room[0])
        return;
    Watchroom__V1__Event ev = WATCHROOM__V1__EVENT__INIT;
    Watchroom__V1__FileEvent fe = WATCHROOM__V1__FILE_EVENT__INIT;
    Watchroom__V1__Upload up;
    uint8_t sha[32];
    char topic[300], instance[128];
    fs_upload_tell(u, &up, sha);
    fe.upload = &up;
    fe.deleted = deleted;
    snprintf(instance, sizeof instance, "%s", wr_bus_instance(f->bus));
    ev.instance = instance;
    ev.time_ms = wr_wall_ms();
    ev.file = &fe;
    struct wr_msg *m = wr_msg_pack(&ev.base);
    snprintf(topic, sizeof topic, "file/%s", u->room);
    if (m)
        wr_bus_publish(f->pub, topic, m);
}

static void announce(void *ctx, struct fs_upload *u)
{
    struct filestore *f = ctx;
    fs_announcer_add(&f->announcer, u);
    pthread_mutex_lock(&f->lock);
    f->announce = true;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
}

static void tell_well(void *ctx, const char *why)
{
    struct filestore *f = ctx;
    wr_bus_set_reason(f->bus, why);
}

static void *tick(void *arg)
{
    struct filestore *f = arg;
    int64_t look_us = wr_mono_us(), well_us = 0;
    (void)wr_age_now_ms(); /* believed from the start: a step is one from here */
    fs_store_announce_all(&f->store);
    pthread_mutex_lock(&f->lock);
    while (!f->stopping) {
        if (!f->announce)
            (void)wr_cond_wait_until(&f->more, &f->lock, wr_mono_us() + 1000000);
        f->announce = false;
        pthread_mutex_unlock(&f->lock);
        fs_announcer_run(&f->announcer);
        if (wr_mono_us() - well_us >= LOOK_US) {
            well_us = wr_mono_us();
            fs_store_look(&f->store);
        }
        if (wr_mono_us() - look_us >= LOOK_AFTER_US) {
            look_us = wr_mono_us();
            wr_fd_expire();
            fs_store_tick(&f->store, wr_age_now_ms());
        }
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

static void stop_tick(struct filestore *f)
{
    if (!f->has_thread)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    f->has_thread = false;
}

static void filestore_stop(void *state)
{
    struct filestore *f = state;
    if (!f->bus)
        return;
    wr_bus_server_close(&f->server);
    if (f->has_pass)
        fs_pass_stop(&f->pass);
    f->has_pass = false;
    stop_tick(f);
    if (f->has_announcer)
        fs_announcer_stop(&f->announcer);
    if (f->has_store)
        fs_store_fini(&f->store);
    if (f->has_announcer)
        fs_announcer_fini(&f->announcer);
    wr_bus_service_close(&f->hub);
    wr_bus_pub_close(&f->pub);
    wr_bus_close(&f->bus);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    f->has_store = f->has_announcer = false;
}

static wr_err open_store(struct filestore *f, const struct wr_service_env *env,
                         struct wr_errmsg *err)
{
    const struct wr_config *c = env->config;
    char path[4096];
    const struct wr_blob_plugin *blob = wr_plugins_find(env->plugins, WR_KIND_BLOB,
                                                        c->filestore.blob);
    if (!blob) {
        wr_errmsg_set(err,
                      "filestore.blob: there is no blob plugin \"%s\"; `watchroom plugins` lists "
                      "those that are",
                      c->filestore.blob);
        return WR_ERR_NOT_FOUND;
    }
    if (snprintf(path, sizeof path, "%s/files", c->data) >= (int)sizeof path) {
        wr_errmsg_set(err, "data: the folder's name is too long");
        return WR_ERR_INVALID;
    }
    struct fs_store_opts o = {.blob = blob,
                              .path = path,
                              .min_free_bytes = c->filestore.min_free_bytes,
                              .expire_ms = (int64_t)c->filestore.expire_hours * 3600000,
                              .changed = publish_change,
                              .announce = announce,
                              .well = tell_well,
                              .ctx = f};
    wr_err e = fs_store_init(&f->store, &o, err);
    f->has_store = e == WR_OK;
    return e;
}

/* Callers in this process collect descriptors from its table; others need the socket. */
static wr_err open_pass(struct filestore *f, const struct wr_config *c, struct wr_errmsg *err)
{
    if (!strncmp(c->bus.filestore_listen, "inproc://", 9))
        return WR_OK;
    wr_err e = fs_pass_start(&f->pass, err);
    f->has_pass = e == WR_OK;
    if (f->has_pass)
        snprintf(f->store.where, sizeof f->store.where, "%s", f->pass.where);
    return e;
}

static wr_err filestore_start(void *state, const struct wr_service_env *env, struct wr_errmsg *err)
{
    struct filestore *f = state;
    const struct wr_config *c = env->config;
    const char *plugins[] = {c->filestore.blob, NULL};
    pthread_mutex_init(&f->lock, NULL);
    wr_cond_init(&f->more);
    wr_err e = wr_bus_open(&(struct wr_bus_opts){.service = "filestore", .plugins = plugins},
                           &f->bus);
    if (e != WR_OK) {
        wr_errmsg_set(err,
                      "cannot start the bus's threads: raise the limit of processes (ulimit -u)");
        return e;
    }
    if ((e = wr_bus_pub_open(f->bus, c->bus.filestore_events, true, &f->pub, err)) != WR_OK ||
        (e = wr_bus_service_open(f->bus, "hub", c->bus.hub, &f->hub, err)) != WR_OK)
        goto fail;
    fs_announcer_init(&f->announcer, f->hub);
    f->has_announcer = true;
    if ((e = open_store(f, env, err)) != WR_OK || (e = open_pass(f, c, err)) != WR_OK)
        goto fail;
    if ((e = wr_thread_start(&f->thread, "fs-tick", tick, f)) != WR_OK) {
        wr_errmsg_set(
            err, "cannot start the filestore's thread: raise the limit of processes (ulimit -u)");
        goto fail;
    }
    f->has_thread = true;
    if ((e = wr_bus_serve(f->bus, c->bus.filestore_listen, fs_calls_handle, &f->store, &f->server,
                          err)) != WR_OK)
        goto fail;
    wr_info("filestore.start", "blob=%s folder=%s/files calls=%s", c->filestore.blob, c->data,
            wr_bus_server_url(f->server));
    return WR_OK;
fail:
    filestore_stop(f);
    return e;
}

static void filestore_drain(void *state)
{
    struct filestore *f = state;
    if (f->bus)
        wr_bus_drain(f->bus);
}

WR_PLUGIN_EXPORT const struct wr_service_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_service_plugin, struct filestore, WR_KIND_SERVICE,
                                 "filestore", WR_VERSION,
                                 "Uploads and files: written, hashed, synced, read back"),
    .start = filestore_start,
    .drain = filestore_drain,
    .stop = filestore_stop,
};
