/* SPDX-License-Identifier: MIT
 *
 * The gateway's own HTTP addresses: /api/v1/rooms, /api/v1/services, /healthz, /metrics. */
#ifndef WR_GATEWAY_ROOMS_WR_API_H
#define WR_GATEWAY_ROOMS_WR_API_H

#include "wr_gateway_env.h"
#include <stdatomic.h>

struct wr_api {
    struct wr_gateway_env env;
    int64_t started_us;
    atomic_bool draining;
};
/* Adds the routes to the clients' server and to `health` (may be NULL), whose few workers no client can take: an
 * operator sees the rooms and services also while clients hold all of the others. */
WR_MUST_USE wr_err wr_api_routes(struct wr_api *api, struct wr_http *health);

#endif
