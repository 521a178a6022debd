/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `service`: gateway, hub, ingest, filestore. The host loads it, gives it its environment, and ends it. */
#ifndef WR_PLUGIN_WR_SERVICE_H
#define WR_PLUGIN_WR_SERVICE_H

#include "wr_err.h"
#include "wr_plugin.h"

struct wr_config;
struct wr_plugins;

/* All borrowed, valid from start to the end of stop. */
struct wr_service_env {
    const struct wr_config *config;
    const struct wr_plugins *plugins;
};

struct wr_service_plugin {
    struct wr_plugin base;
    /* Builds and runs; returns when the service accepts work. On an error everything is undone and err says what is
     * wrong, where, and what to do (port in use, data folder locked, ...). Required. */
    wr_err (*start)(void *state, const struct wr_service_env *env, struct wr_errmsg *err);
    /* Takes no new work, lets clients know, ends what runs within about 5 s; may be called twice. Required. */
    void (*drain)(void *state);
    /* Waits for callbacks and frees. Required. */
    void (*stop)(void *state);
};

#endif
