/* SPDX-License-Identifier: MIT
 *
 * The gateway's files: routes, limits, calls of the filestore. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "files_priv.h"
#include "watchroom/v1/files.numbers.h"
#include "wr_pb.h"

bool files_is_id(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n >= 16 && n < FILES_ID_ROOM && id[n] == 0;
}

/* When the same request may succeed: a crowd passes in a moment, a disk that does not follow needs longer, and room on it is
 * made by uploads that end, or that nobody went on with for a minute (fs_room.c). */
static const char *retry_after(wr_err code)
{
    switch (code) {
    case WR_ERR_BUSY:
    case WR_ERR_UNAVAILABLE:
    case WR_ERR_CLOSED:
        return "Retry-After: 2\r\n";
    case WR_ERR_TIMEOUT:
        return "Retry-After: 10\r\n";
    case WR_ERR_NO_SPACE:
        return "Retry-After: 60\r\n";
    default:
        return "";
    }
}

void files_fail(struct wr_http_req *r, const char *lines, wr_err code, const char *text)
{
    char all[FILES_LINES_ROOM];
    snprintf(all, sizeof all, "%s%s", lines, retry_after(code));
    wr_http_error_with(r, wr_err_http(code), all, "%s", text[0] ? text : wr_err_text(code));
}

void files_fail_later(struct wr_http_later **l, const char *lines, wr_err code, const char *text)
{
    char all[FILES_LINES_ROOM];
    snprintf(all, sizeof all, "%s%s", lines, retry_after(code));
    wr_http_later_error(l, wr_err_http(code), all, "%s", text[0] ? text : wr_err_text(code));
}

wr_err files_may(const struct wr_identity *who, enum wr_verb verb, const char *room,
                 struct wr_errmsg *why)
{
    return wr_may(who, verb, room[0] ? wr_the_room(wr_slice_str(room)) : wr_the_server(), why);
}

/* ---- the filestore ---------------------------------------------------------------------------------------------------- */

void files_ask(struct wr_files *f, const char *id, const char *method, struct wr_msg *body,
               uint32_t ms, wr_bus_done_fn done, void *ctx)
{
    if (!wr_bus_service_is_up(f->store))
        ms = WR_MIN(ms, DOWN_MS);
    wr_bus_call(f->store, id, method, body, ms, done, ctx);
}

void files_text(const struct wr_answer *a, struct wr_errmsg *out)
{
    struct wr_slice text = wr_err_outside(a->code, a->text);
    wr_errmsg_set(out, "%.*s", (int)WR_MIN(text.n, 240), (const char *)text.p);
}

/* StatRequest, OpenRequest and DeleteRequest begin alike: field 1 is the id. */
static struct wr_msg *pack_id(const char *id)
{
    struct wr_msg *m = wr_msg_new(WR_MSG_HEADROOM, FILES_ID_ROOM + 8);
    if (m)
        m->len = (size_t)(wr_pb_bytes(m->data, WR_PB_STAT_REQUEST_ID, wr_slice_str(id)) - m->data);
    return m;
}

struct wr_msg *files_pack_stat(const char *id)
{
    return pack_id(id);
}
struct wr_msg *files_pack_open(const char *id)
{
    return pack_id(id);
}
struct wr_msg *files_pack_delete(const char *id)
{
    return pack_id(id);
}

/* ---- routes ----------------------------------------------------------------------------------------------------------- */

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
    if (method == WR_OPTIONS) { /* a browser asks it without credentials */
        tus_handle(f, r, NULL, method, id);
        return;
    }
    struct wr_identity *who = wr_access_enter(f->env->access, r);
    if (who && download)
        download_handle(f, r, who, id);
    else if (who)
        tus_handle(f, r, who, method, id);
    wr_identity_unref(who);
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
    f->max_uploads = env->config->gateway.max_uploads;
    f->buffers = buffers_new();
    f->fetch = fetch_new();
    f->handover = handover_new();
    wr_err e = f->buffers && f->fetch && f->handover ? WR_OK : WR_ERR_BUSY;
    static const char *const paths[] = {"/files/", "/files"};
    for (size_t i = 0; i < WR_ARRAY_LEN(paths) && e == WR_OK; i++)
        e = wr_http_add(env->http, &(struct wr_http_route){.path = paths[i],
                                                           .is_prefix = i == 0,
                                                           .methods = all,
                                                           .body = WR_BODY_STREAM,
                                                           .handler = handle,
                                                           .ctx = f});
    if (e != WR_OK) {
        wr_errmsg_set(err, "cannot start the gateway's files: out of memory or routes");
        wr_files_stop(out);
    }
    return e;
}

void wr_files_drain(struct wr_files *f)
{
    atomic_store(&f->draining, true);
    fetch_end(f->fetch);
}

void wr_files_stop(struct wr_files **fp)
{
    struct wr_files *f = *fp;
    *fp = NULL;
    if (!f)
        return;
    if (f->fetch)
        fetch_end(f->fetch);
    fetch_free(&f->fetch);
    buffers_free(&f->buffers);
    handover_free(&f->handover);
    free(f);
}
