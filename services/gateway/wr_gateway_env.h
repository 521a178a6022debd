/* SPDX-License-Identifier: MIT
 *
 * What the parts of the gateway (rooms, live, files) are given when they start. Each part has
 *     wr_err wr_<part>_start(const struct wr_gateway_env *env, struct wr_<part> **out, struct wr_errmsg *err);
 *     void   wr_<part>_drain(struct wr_<part> *p);      no new work
 *     void   wr_<part>_stop(struct wr_<part> **p);      after the HTTP server and the plane's connections ended
 * and adds its own routes with wr_http_add while it starts. */
#ifndef WR_GATEWAY_WR_GATEWAY_ENV_H
#define WR_GATEWAY_WR_GATEWAY_ENV_H

#include "wr_access.h"
#include "wr_bus.h"
#include "wr_config.h"
#include "wr_http.h"
#include "wr_plane.h"
#include "wr_plugins.h"

/* All borrowed, valid from start to the end of stop. The services are open (their peers may be down). */
struct wr_gateway_env {
    const struct wr_config *config;
    const struct wr_plugins *plugins;
    struct wr_access *access;
    struct wr_bus *bus;
    struct wr_plane *plane;
    struct wr_http *http;
    struct wr_bus_service *hub;
    struct wr_bus_service *ingest;
    struct wr_bus_service *filestore;
};

#endif
