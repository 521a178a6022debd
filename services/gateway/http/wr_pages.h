/* SPDX-License-Identifier: MIT
 *
 * The built page's files. */
#ifndef WR_GATEWAY_HTTP_WR_PAGES_H
#define WR_GATEWAY_HTTP_WR_PAGES_H

#include "wr_http.h"

struct wr_pages;
/* folder "" = found beside the executable or installed. Never fails for a folder that is missing: then the pages say how
 * to build it. Files up to 64 KiB are kept in memory, 8 MiB of them in all; one that is replaced or removed is served as it was
 * for one second more. */
WR_MUST_USE wr_err wr_pages_open(const char *folder, struct wr_pages **out);
void wr_pages_close(struct wr_pages **p);
/* The folder that is served, "" when there is none. */
const char *wr_pages_folder(const struct wr_pages *p);
/* wr_http_opts.fallback; ctx is the struct wr_pages. */
void wr_pages_serve(void *ctx, struct wr_http_req *req);

#endif
