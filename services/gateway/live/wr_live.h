/* SPDX-License-Identifier: MIT
 *
 * Live pictures in the gateway: a stream's frames come over the bus once, are muxed once for each wish (format, tracks,
 * rendition) that somebody has, and are shared by all who have it. Adds the doors /live/<stream>.<extension> (HTTP and
 * WebSocket, one extension a muxer plugin; ?tracks= and ?rendition=, want.h) and GET /api/v1/streams.
 *
 * A stream is watched (Ingest/Watch, a renewed lease) while it has viewers here. Viewers keep their socket when a source
 * or ingest goes away and go on with a new epoch. Streams come and go as ingest lists them.
 *
 * A door that cannot carry a stream: HTTP answers 415 with a sentence (404 when there is no such track), a WebSocket is
 * refused the same way, or closed with 1003 and the sentence when it shows later. A source that is down is 503 by HTTP.
 *
 * WebSocket .mp4: a text message with the MIME type, then the init segment, then fragments; at a new epoch both again.
 * Other text messages are JSON: {"state":"retrying","reason":"..."} when the source's state changes, or ingest has no such
 * stream any more. */
#ifndef WR_GATEWAY_LIVE_WR_LIVE_H
#define WR_GATEWAY_LIVE_WR_LIVE_H

#include "wr_gateway_env.h"

struct wr_live;

/* Adds the routes; env->http is not started yet. Sets wr_bus_service_on_change of env->ingest. gateway.muxers names the
 * plugins in use. Errors with text: INVALID (a muxer of the configuration is not there), BUSY (threads, memory). */
WR_MUST_USE wr_err wr_live_start(const struct wr_gateway_env *env, struct wr_live **out,
                                 struct wr_errmsg *err);
/* When the HTTP server is stopped and the plane has no connection left; before the bus closes. Ends leases. NULL is fine. */
void wr_live_stop(struct wr_live **live);

#endif
