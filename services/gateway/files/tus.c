/* SPDX-License-Identifier: MIT
 *
 * The tus 1.0 protocol: OPTIONS, POST, HEAD, PATCH, DELETE under /files/. Each answer is made here; bodies are pump.c's. */
#include <stdio.h>
#include <strings.h>

#include "files_priv.h"
#include "tus_headers.h"
#include "wr_id.h"
#include "wr_log.h"

#define EXTENSIONS "creation,creation-with-upload,termination"

/* ---- small answers --------------------------------------------------------------------------------------------------- */

/* A refusal of a request whose body may be on its way: the answer first, then a while of dropping what comes, so that a
 * browser that writes before it reads gets to read it. */
static void refuse(struct wr_files *f, struct wr_http_req *r, int status, const char *lines,
                   const char *text)
{
    char all[1024];
    snprintf(all, sizeof all, "%s%s", TUS_LINES, lines);
    wr_http_error_with(r, status, all, "%s", text);
    pump_drop_rest(f, r);
}

static void refuse_err(struct wr_files *f, struct wr_http_req *r, const char *lines, wr_err code,
                       const char *text)
{
    char all[1024];
    snprintf(all, sizeof all, "%s%s", TUS_LINES, lines);
    files_fail(r, all, code, text);
    pump_drop_rest(f, r);
}

static void handle_options(struct wr_files *f, struct wr_http_req *r)
{
    char lines[1400], max[64] = "";
    if (f->max_bytes)
        snprintf(max, sizeof max, "Tus-Max-Size: %llu\r\n", (unsigned long long)f->max_bytes);
    snprintf(
        lines, sizeof lines,
        CORS_LINES
        "Tus-Resumable: 1.0.0\r\nTus-Version: 1.0.0\r\nTus-Extension: " EXTENSIONS "\r\n%s"
        "Access-Control-Allow-Methods: POST, GET, HEAD, PATCH, DELETE, OPTIONS\r\n"
        "Access-Control-Allow-Headers: Authorization, Content-Type, Origin, Range, If-Range, "
        "If-None-Match, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, Tus-Resumable, "
        "Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, "
        "Upload-Checksum\r\n"
        "Access-Control-Max-Age: 86400\r\nAllow: POST, GET, HEAD, PATCH, DELETE, OPTIONS\r\n",
        max);
    /* 200, since some browsers refused a 204 here. */
    wr_http_reply(r, 200, NULL, lines, (struct wr_slice){0});
}

static bool is_version(struct wr_http_req *r)
{
    const char *v = wr_http_header(r, "Tus-Resumable");
    return v && !strcmp(v, "1.0.0");
}

/* ---- a body --------------------------------------------------------------------------------------------------------- */

static bool take_slot(struct wr_files *f)
{
    if (atomic_fetch_add(&f->uploads, 1) < f->max_uploads && !atomic_load(&f->draining))
        return true;
    atomic_fetch_sub(&f->uploads, 1);
    return false;
}

static bool has_body(const struct wr_http_req *r)
{
    return r->is_chunked || r->content_length > 0;
}

/* Takes the write side of the upload at `offset`. */
static wr_err acquire(struct wr_files *f, const char *id, uint64_t offset, uint64_t *fence,
                      uint64_t *length, struct wr_errmsg *err)
{
    Watchroom__V1__AcquireRequest q = WATCHROOM__V1__ACQUIRE_REQUEST__INIT;
    uint8_t nonce[16];
    char copy[FILES_ID_ROOM];
    wr_random(nonce, sizeof nonce);
    snprintf(copy, sizeof copy, "%s", id);
    q.id = copy;
    q.offset = offset;
    q.nonce = (ProtobufCBinaryData){sizeof nonce, nonce};
    struct wr_msg *answer;
    struct wr_slice body;
    wr_err e = files_call(f, id, "watchroom.v1.Files/Acquire", wr_msg_pack(&q.base), CALL_MS,
                          &answer, &body, err);
    if (e != WR_OK)
        return e;
    Watchroom__V1__AcquireResponse *a = watchroom__v1__acquire_response__unpack(NULL, body.n,
                                                                                body.p);
    if (a && a->upload) {
        *fence = a->fence;
        *length = a->upload->length;
    } else {
        wr_errmsg_set(err, "the filestore's answer makes no sense");
        e = WR_ERR_INTERNAL;
    }
    if (a)
        watchroom__v1__acquire_response__free_unpacked(a, NULL);
    wr_msg_unref(answer);
    return e;
}

/* 409 with the offset that the upload is at. */
static void refuse_offset(struct wr_files *f, struct wr_http_req *r, const char *id,
                          const char *location, const char *text)
{
    Watchroom__V1__Upload *up;
    struct wr_errmsg err = {{0}};
    char lines[256];
    snprintf(lines, sizeof lines, "%s", location);
    if (files_stat(f, id, &up, &err) == WR_OK) {
        snprintf(lines, sizeof lines, "%sUpload-Offset: %llu\r\n", location,
                 (unsigned long long)up->offset);
        watchroom__v1__upload__free_unpacked(up, NULL);
    }
    refuse(f, r, 409, lines, text);
}

static wr_err remove_upload(struct wr_files *f, const char *id, struct wr_errmsg *err)
{
    Watchroom__V1__DeleteRequest q = WATCHROOM__V1__DELETE_REQUEST__INIT;
    char copy[FILES_ID_ROOM];
    snprintf(copy, sizeof copy, "%s", id);
    q.id = copy;
    struct wr_msg *answer;
    struct wr_slice out;
    wr_err e = files_call(f, id, "watchroom.v1.Files/Delete", wr_msg_pack(&q.base), CALL_MS,
                          &answer, &out, err);
    if (e == WR_OK)
        wr_msg_unref(answer);
    return e;
}

/* The filestore refused what came. location: of an upload that this very request made, else "". */
static void refuse_bytes(struct wr_files *f, struct wr_http_req *r, const char *id,
                         const char *location, wr_err code, const char *text)
{
    struct wr_errmsg err = {{0}};
    if (code == WR_ERR_CONFLICT)
        refuse_offset(f, r, id, location, text);
    else if (code == WR_ERR_NO_SPACE && location[0] && remove_upload(f, id, &err) == WR_OK)
        refuse_err(f, r, "", code, text); /* the client sends all of it anew, or nothing */
    else
        refuse_err(f, r, location, code, text);
}

/* What the pump came to, as an answer. location as in refuse_bytes: who made an upload hears where it is, whatever became
 * of its first bytes, or it would make another one. */
static void answer_body(struct wr_files *f, struct wr_http_req *r, const char *id,
                        const struct pump_result *p, const char *location)
{
    char lines[1200], offset[256];
    enum pump_end end = p->end;
    if (p->code != WR_OK) {
        refuse_bytes(f, r, id, location, p->code, p->text.text);
        return;
    }
    snprintf(offset, sizeof offset, "Upload-Offset: %llu\r\n%s", (unsigned long long)p->offset,
             location);
    if (location[0] && (end == PUMP_STALLED || end == PUMP_DRAINING))
        end = PUMP_WHOLE; /* it is made, and is to be gone on with at the offset */
    switch (end) {
    case PUMP_WHOLE:
        snprintf(lines, sizeof lines, "%s%s", TUS_LINES, offset);
        wr_http_reply(r, location[0] ? 201 : 204, NULL, lines, (struct wr_slice){0});
        if (p->end != PUMP_WHOLE)
            pump_drop_rest(f, r);
        break;
    case PUMP_TOO_LONG:
        refuse(f, r, 413, offset,
               "the body goes on past the upload's length: the bytes up to it were kept");
        break;
    case PUMP_STALLED:
        r->close_after = true;
        refuse(f, r, 408, offset,
               "the upload made no progress: what came was kept; go on at the offset");
        break;
    case PUMP_MALFORMED:
        refuse(f, r, 400, offset,
               "the chunked coding of the body is broken: what came before was kept");
        break;
    case PUMP_DRAINING:
        refuse(f, r, 503, "Retry-After: 2\r\n",
               "the server restarts: what came was kept; go on at the offset in a moment");
        break;
    case PUMP_LEFT:
        r->close_after = true;
        refuse(f, r, 400, location, "the body ended before its Content-Length: what came was kept");
        break;
    }
}

/* ---- creation ------------------------------------------------------------------------------------------------------- */

static wr_err create(struct wr_files *f, const char *id, uint64_t length, struct tus_metadata *m,
                     const char *header, struct wr_errmsg *err)
{
    Watchroom__V1__CreateRequest q = WATCHROOM__V1__CREATE_REQUEST__INIT;
    struct wr_buf copies = {0};
    wr_buf_str(&copies, id);
    wr_buf_char(&copies, 0);
    size_t at = copies.n;
    wr_buf_str(&copies, header);
    wr_buf_char(&copies, 0);
    struct wr_msg *body = NULL;
    if (!copies.failed) {
        q.id = (char *)copies.p;
        q.length = length;
        q.filename = m->filename;
        q.filetype = m->filetype;
        q.room = m->room;
        q.name = m->name;
        q.metadata = (char *)copies.p + at;
        body = wr_msg_pack(&q.base);
    }
    wr_buf_free(&copies);
    struct wr_msg *answer;
    struct wr_slice out;
    wr_err e = files_call(f, id, "watchroom.v1.Files/Create", body, CALL_MS, &answer, &out, err);
    if (e == WR_OK)
        wr_msg_unref(answer);
    return e;
}

static bool parse_length(struct wr_files *f, struct wr_http_req *r, uint64_t *length)
{
    const char *v = wr_http_header(r, "Upload-Length");
    if (wr_http_header(r, "Upload-Concat")) {
        refuse(
            f, r, 400, "",
            "Upload-Concat: the extension concatenation is not offered (Tus-Extension: " EXTENSIONS
            ")");
        return false;
    }
    if (!v) {
        refuse(f, r, 400, "",
               wr_http_header(r, "Upload-Defer-Length")
                   ? "Upload-Defer-Length: the extension creation-defer-length is not offered: "
                     "send Upload-Length"
                   : "Upload-Length is missing: say how many bytes the file has");
        return false;
    }
    wr_err e = wr_http_header(r, "Upload-Defer-Length") ? WR_ERR_INVALID
                                                        : tus_parse_number(v, length);
    if (e == WR_ERR_INVALID) {
        refuse(f, r, 400, "",
               "Upload-Length must be a whole number of bytes, 0 or more, without "
               "Upload-Defer-Length");
        return false;
    }
    if (e == WR_ERR_TOO_BIG || (f->max_bytes && *length > f->max_bytes)) {
        char text[128], line[64] = "";
        if (f->max_bytes)
            snprintf(line, sizeof line, "Tus-Max-Size: %llu\r\n", (unsigned long long)f->max_bytes);
        snprintf(text, sizeof text, "the file is too big: at most %llu bytes are taken",
                 (unsigned long long)(f->max_bytes ? f->max_bytes : INT64_MAX));
        refuse(f, r, 413, line, text);
        return false;
    }
    return true;
}

/* Bytes that came with the POST. */
static void take_first_bytes(struct wr_files *f, struct wr_http_req *r, const char *id,
                             const char *location)
{
    struct wr_errmsg err = {{0}};
    uint64_t fence, length;
    wr_err e = acquire(f, id, 0, &fence, &length, &err);
    if (e != WR_OK) {
        refuse_bytes(f, r, id, location, e, err.text);
        return;
    }
    struct pump_result p;
    pump_run(f, r, id, fence, 0, length, &p);
    answer_body(f, r, id, &p, location);
}

static void handle_create(struct wr_files *f, struct wr_http_req *r)
{
    struct wr_errmsg err = {{0}};
    struct tus_metadata m;
    uint64_t length;
    char id[FILES_ID_LEN + 1], location[128], lines[1200];
    bool body = has_body(r), with_upload = tus_is_offset_type(wr_http_header(r, "Content-Type"));
    const char *header = wr_http_header(r, "Upload-Metadata");
    header = header ? header : "";
    if (body && !with_upload) {
        refuse(f, r, 415, "",
               "Content-Type: the first bytes of a file come as application/offset+octet-stream");
        return;
    }
    if (!parse_length(f, r, &length))
        return;
    wr_err e = tus_parse_metadata(header, &m, &err);
    if (e != WR_OK) {
        refuse(f, r, e == WR_ERR_TOO_BIG ? 413 : wr_err_http(e), "", err.text);
        return;
    }
    if (r->content_length > 0 && (uint64_t)r->content_length > length) {
        refuse(f, r, 413, "", "the body is longer than Upload-Length");
        return;
    }
    if (body && !take_slot(f)) {
        refuse_err(f, r, "", WR_ERR_BUSY, "too many uploads at once: try again in a moment");
        return;
    }
    wr_id_random(id, FILES_ID_LEN);
    snprintf(location, sizeof location, "Location: /files/%s\r\n", id);
    if ((e = create(f, id, length, &m, header, &err)) != WR_OK) {
        refuse_err(f, r, "", e, err.text);
    } else if (body) {
        take_first_bytes(f, r, id, location);
    } else {
        snprintf(lines, sizeof lines, "%s%s%s", TUS_LINES, location,
                 with_upload || length == 0 ? "Upload-Offset: 0\r\n" : "");
        wr_http_reply(r, 201, NULL, lines, (struct wr_slice){0});
    }
    if (body)
        atomic_fetch_sub(&f->uploads, 1);
}

/* ---- the others ----------------------------------------------------------------------------------------------------- */

static void handle_head(struct wr_files *f, struct wr_http_req *r, const char *id)
{
    Watchroom__V1__Upload *up;
    struct wr_errmsg err = {{0}};
    wr_err e = files_stat(f, id, &up, &err);
    if (e != WR_OK) {
        files_fail(r, TUS_LINES, e, err.text);
        return;
    }
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "%sUpload-Offset: %llu\r\nUpload-Length: %llu\r\n", TUS_LINES,
               (unsigned long long)up->offset, (unsigned long long)up->length);
    if (up->metadata[0])
        wr_buf_fmt(&b, "Upload-Metadata: %s\r\n", up->metadata);
    wr_buf_char(&b, 0);
    if (b.failed)
        files_fail(r, TUS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
    else
        wr_http_reply(r, 200, NULL, (const char *)b.p, (struct wr_slice){0});
    wr_buf_free(&b);
    watchroom__v1__upload__free_unpacked(up, NULL);
}

static void append(struct wr_files *f, struct wr_http_req *r, const char *id, uint64_t offset)
{
    struct wr_errmsg err = {{0}};
    uint64_t fence, length;
    wr_err e = acquire(f, id, offset, &fence, &length, &err);
    if (e != WR_OK) {
        refuse_bytes(f, r, id, "", e, err.text);
    } else if (r->content_length > 0 && (uint64_t)r->content_length > length - offset) {
        char line[64];
        snprintf(line, sizeof line, "Upload-Offset: %llu\r\n", (unsigned long long)offset);
        refuse(f, r, 413, line, "the body is longer than what is left of Upload-Length");
    } else {
        struct pump_result p;
        pump_run(f, r, id, fence, offset, length, &p);
        answer_body(f, r, id, &p, "");
    }
}

static void handle_patch(struct wr_files *f, struct wr_http_req *r, const char *id)
{
    uint64_t offset;
    const char *v = wr_http_header(r, "Upload-Offset");
    if (!tus_is_offset_type(wr_http_header(r, "Content-Type"))) {
        refuse(f, r, 415, "", "Content-Type must be application/offset+octet-stream");
        return;
    }
    if (!v || tus_parse_number(v, &offset) != WR_OK) {
        refuse(f, r, 400, "", "Upload-Offset must be a whole number of bytes, 0 or more");
        return;
    }
    if (!take_slot(f)) {
        refuse_err(f, r, "", WR_ERR_BUSY, "too many uploads at once: try again in a moment");
        return;
    }
    append(f, r, id, offset);
    atomic_fetch_sub(&f->uploads, 1);
}

static void handle_delete(struct wr_files *f, struct wr_http_req *r, const char *id)
{
    struct wr_errmsg err = {{0}};
    wr_err e = remove_upload(f, id, &err);
    if (e != WR_OK)
        files_fail(r, TUS_LINES, e, err.text);
    else
        wr_http_reply(r, 204, NULL, TUS_LINES, (struct wr_slice){0});
}

static void refuse_method(struct wr_files *f, struct wr_http_req *r, const char *allow)
{
    char line[96], text[160];
    snprintf(line, sizeof line, "Allow: %s\r\n", allow);
    snprintf(text, sizeof text, "%.64s takes %s here", r->path, allow);
    refuse(f, r, 405, line, text);
}

void tus_handle(struct wr_files *f, struct wr_http_req *r, enum wr_http_method method,
                const char *id)
{
    if (method == WR_OPTIONS) {
        handle_options(f, r);
        return;
    }
    if (!is_version(r)) {
        refuse(f, r, 412, "Tus-Version: 1.0.0\r\n",
               "Tus-Resumable: 1.0.0 must be said: no other version is spoken here");
        return;
    }
    if (id[0] == 0) {
        if (method == WR_POST)
            handle_create(f, r);
        else
            refuse_method(f, r, "POST, OPTIONS");
        return;
    }
    switch (method) {
    case WR_HEAD:
        handle_head(f, r, id);
        break;
    case WR_PATCH:
        handle_patch(f, r, id);
        break;
    case WR_DELETE:
        handle_delete(f, r, id);
        break;
    default:
        refuse_method(f, r, "GET, HEAD, PATCH, DELETE, OPTIONS");
    }
}
