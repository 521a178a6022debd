/* SPDX-License-Identifier: MIT
 *
 * Rooms in the gateway: clients with their protocols on one side, hubs on the other. One thread ("rooms") puts everything
 * of all rooms in order: events of the hubs, who enters and leaves, answers to calls. docs/data-path.md tells the way of
 * a message. */
#ifndef WR_GATEWAY_ROOMS_WR_ROOMS_H
#define WR_GATEWAY_ROOMS_WR_ROOMS_H

#include "wr_gateway_env.h"

struct wr_rooms;
/* Adds a route for each protocol of gateway.protocols. Errors with text: NOT_FOUND (no such protocol plugin), INVALID, BUSY. */
WR_MUST_USE wr_err wr_rooms_start(const struct wr_gateway_env *env, struct wr_rooms **out,
                                  struct wr_errmsg *err);
/* Begins to take clients on the ports of protocols (gateway.ports); those of HTTP come by its routes. Errors with text: those of
 * wr_plane_listen. The plane closes the ports (wr_plane_cut). */
WR_MUST_USE wr_err wr_rooms_listen(struct wr_rooms *rs, struct wr_errmsg *err);
/* After the plane's connections have ended. */
void wr_rooms_stop(struct wr_rooms **r);

#endif
