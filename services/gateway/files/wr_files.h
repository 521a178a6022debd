/* SPDX-License-Identifier: MIT
 *
 * The gateway's files: tus 1.0 (core, creation, creation-with-upload, termination) and downloads under /files/. Bodies
 * are streamed to and from a filestore in pieces; nothing is whole in memory. */
#ifndef WR_GATEWAY_FILES_WR_FILES_H
#define WR_GATEWAY_FILES_WR_FILES_H

#include "wr_gateway_env.h"

struct wr_files;

/* Adds the routes; env->http is not started yet. Errors: BUSY (memory, too many routes). */
WR_MUST_USE wr_err wr_files_start(const struct wr_gateway_env *env, struct wr_files **out,
                                  struct wr_errmsg *err);
/* New requests are answered 503; uploads under way stop where they are (what arrived is kept). */
void wr_files_drain(struct wr_files *f);
/* When the HTTP server is stopped and bus and plane are closed: until then a read of a download may be on its way.
 * NULL is fine. */
void wr_files_stop(struct wr_files **f);

#endif
