/* SPDX-License-Identifier: MIT
 *
 * The gateway's files: routes, limits, calls of the filestore. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "files_priv.h"
#include "wr_log.h"

bool files_is_id(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n >= 16 && n < FILES_ID_ROOM && id[n] == 0;
}

void files_fail(struct wr_http_req *r, const char *lines, wr_err code, const char *text)
{
    char all[1200];
    bool later = code == WR_ERR_BUSY || code == WR_ERR_UNAVAILABLE || code == WR_ERR_TIMEOUT ||
                 code == WR_ERR_CLOSED || code == WR_ERR_NO_SPACE;
    snprintf(all, sizeof all, "%s%s", lines, later ? "Retry-After: 2\r\n" : "");
    wr_http_error_with(r, wr_err_http(code), all, "%s", text && text[0] ? text : wr_err_text(code));
}

wr_err files_call(struct wr_files *f, const char *id, const char *method, struct wr_msg *body,
                  uint32_t ms, struct wr_msg **answer, struct wr_slice *out, struct wr_errmsg *err)
{
    if (!body) {
        wr_errmsg_set(err, "the gateway is out of memory");
        return WR_ERR_BUSY;
    }
    if (!wr_bus_service_is_up(f->store))
        ms = WR_MIN(ms, DOWN_MS);
    return wr_bus_call_wait(f->store, id, method, body, ms, answer, out, err);
}

wr_err files_stat(struct wr_files *f, const char *id, Watchroom__V1__Upload **out,
                  struct wr_errmsg *err)
{
    Watchroom__V1__StatRequest q = WATCHROOM__V1__STAT_REQUEST__INIT;
    char copy[FILES_ID_ROOM];
    snprintf(copy, sizeof copy, "%s", id);
    q.id = copy;
    struct wr_msg *answer;
    struct wr_slice body;
    wr_err e = files_call(f, id, "watchroom.v1.Files/Stat", wr_msg_pack(&q.base), DISK_MS, &answer,
                          &body, err);
    if (e != WR_OK)
        return e;
    *out = watchroom__v1__upload__unpack(NULL, body.n, body.p);
    wr_msg_unref(answer);
    if (*out)
        return WR_OK;
    wr_errmsg_set(err, "the filestore's answer makes no sense");
    return WR_ERR_INTERNAL;
}

/* The method that is meant: clients that can only POST say so in a header. */
static enum wr_http_method method_of(struct wr_http_req *r)
{
    static const struct {
        const char *name;
        enum wr_http_method method;
    } table[] = {{"PATCH", WR_PATCH}, {"DELETE", WR_DELETE}, {"HEAD", WR_HEAD}, {"POST", WR_POST}};
    const char *v = r->method == WR_POST ? wr_http_header(r, "X-HTTP-Method-Override") : NULL;
    for (size_t i = 0; v && i < WR_ARRAY_LEN(table); i++)
        if (!strcasecmp(v, table[i].name))
            return table[i].method;
    return r->method;
}

static void handle(void *ctx, struct wr_http_req *r)
{
    struct wr_files *f = ctx;
    enum wr_http_method method = method_of(r);
    const char *id = r->rest;
    bool download = id[0] && (method == WR_GET ||
                              (method == WR_HEAD && !wr_http_header(r, "Tus-Resumable")));
    if (id[0] && !files_is_id(id) && method != WR_OPTIONS) {
        files_fail(r, download ? CORS_LINES : TUS_LINES, WR_ERR_NOT_FOUND, "there is no such file");
        return;
    }
    if (download)
        download_handle(f, r, id);
    else
        tus_handle(f, r, method, id);
}

/* A body holds a worker: some stay for everybody else, whatever the configuration says. */
static uint32_t uploads_at_once(const struct wr_config *c)
{
    uint32_t most = c->gateway.http_threads - c->gateway.http_threads / 4;
    if (c->gateway.max_uploads <= most)
        return c->gateway.max_uploads;
    wr_warn("files.max_uploads",
            "gateway.max_uploads=%u: of gateway.http_threads=%u at most %u may hold uploads; raise "
            "http_threads for more",
            c->gateway.max_uploads, c->gateway.http_threads, most);
    return most;
}

wr_err wr_files_start(const struct wr_gateway_env *env, struct wr_files **out,
                      struct wr_errmsg *err)
{
    static const unsigned all = WR_GET | WR_HEAD | WR_POST | WR_PATCH | WR_DELETE | WR_OPTIONS;
    struct wr_files *f = calloc(1, sizeof *f);
    *out = f;
    if (!f)
        return WR_ERR_BUSY;
    f->env = env;
    f->store = env->filestore;
    f->max_bytes = env->config->gateway.max_upload_bytes;
    f->max_uploads = uploads_at_once(env->config);
    f->buffers = buffers_new(16);
    f->watch = watch_new();
    wr_err e = f->buffers && f->watch ? WR_OK : WR_ERR_BUSY;
    if (e == WR_OK)
        e = wr_http_add(
            env->http,
            &(struct wr_http_route){
                .path = "/files/", .is_prefix = true, .methods = all, .handler = handle, .ctx = f});
    if (e == WR_OK)
        e = wr_http_add(
            env->http,
            &(struct wr_http_route){.path = "/files", .methods = all, .handler = handle, .ctx = f});
    if (e != WR_OK) {
        wr_errmsg_set(err, "cannot start the gateway's files: out of memory or threads");
        wr_files_stop(out);
    }
    return e;
}

void wr_files_drain(struct wr_files *f)
{
    atomic_store(&f->draining, true);
}

void wr_files_stop(struct wr_files **fp)
{
    struct wr_files *f = *fp;
    *fp = NULL;
    if (!f)
        return;
    watch_free(&f->watch);
    buffers_free(&f->buffers);
    free(f);
}
