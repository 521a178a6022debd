/* SPDX-License-Identifier: MIT
 *
 * The tus 1.0 protocol: OPTIONS, POST, HEAD, PATCH, DELETE under /files/. What makes or fills one is
 * upload.c's; the others wait for one answer of the filestore. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "upload.h"
#include "wr_id.h"

#define EXTENSIONS "creation,creation-with-upload,termination"

/* ---- small answers --------------------------------------------------------------------------------------------------- */

/* A body that may be on its way is dropped behind the answer, so that a browser that writes before it reads gets to read
 * it. */
static void refuse(struct wr_http_req *r, int status, const char *lines, const char *text)
{
    char all[FILES_LINES_ROOM];
    snprintf(all, sizeof all, "%s%s", TUS_LINES, lines);
    wr_http_error_with(r, status, all, "%s", text);
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

/* ---- creation ------------------------------------------------------------------------------------------------------- */

/* Whom an upload counts against: the client's address; of an IPv6 one its /64, which is what one client has. */
static void owner_of(const struct wr_http_req *r, char out[INET6_ADDRSTRLEN])
{
    struct in6_addr a;
    snprintf(out, INET6_ADDRSTRLEN, "%.*s", INET6_ADDRSTRLEN - 1, r->client);
    if (inet_pton(AF_INET6, r->client, &a) != 1 || IN6_IS_ADDR_V4MAPPED(&a))
        return;
    memset(a.s6_addr + 8, 0, 8);
    if (!inet_ntop(AF_INET6, &a, out, INET6_ADDRSTRLEN))
        out[0] = 0;
}

static struct wr_msg *pack_create(const char *id, uint64_t length, struct tus_metadata *m,
                                  const char *header, char *owner)
{
    Watchroom__V1__CreateRequest q = WATCHROOM__V1__CREATE_REQUEST__INIT;
    struct wr_buf copies = {0}; /* protobuf-c's strings are not const */
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
        q.owner = owner;
        body = wr_msg_pack(&q.base);
    }
    wr_buf_free(&copies);
    return body;
}

static bool parse_length(struct wr_files *f, struct wr_http_req *r, uint64_t *length)
{
    const char *v = wr_http_header(r, "Upload-Length");
    if (wr_http_header(r, "Upload-Concat")) {
        refuse(
            r, 400, "",
            "Upload-Concat: the extension concatenation is not offered (Tus-Extension: " EXTENSIONS
            ")");
        return false;
    }
    if (!v) {
        refuse(r, 400, "",
               wr_http_header(r, "Upload-Defer-Length")
                   ? "Upload-Defer-Length: the extension creation-defer-length is not offered: "
                     "send Upload-Length"
                   : "Upload-Length is missing: say how many bytes the file has");
        return false;
    }
    wr_err e = wr_http_header(r, "Upload-Defer-Length") ? WR_ERR_INVALID
                                                        : tus_parse_number(v, length);
    if (e == WR_ERR_INVALID) {
        refuse(r, 400, "",
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
        refuse(r, 413, line, text);
        return false;
    }
    return true;
}

static void handle_create(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who)
{
    struct wr_errmsg err = {{0}};
    struct tus_metadata m;
    uint64_t length;
    char id[FILES_ID_LEN + 1], owner[INET6_ADDRSTRLEN];
    bool with_upload = tus_is_offset_type(wr_http_header(r, "Content-Type"));
    const char *header = wr_http_header(r, "Upload-Metadata");
    header = header ? header : "";
    if ((r->is_chunked || r->content_length > 0) && !with_upload) {
        refuse(r, 415, "",
               "Content-Type: the first bytes of a file come as application/offset+octet-stream");
        return;
    }
    if (!parse_length(f, r, &length))
        return;
    wr_err e = tus_parse_metadata(header, &m, &err);
    if (e != WR_OK) {
        refuse(r, e == WR_ERR_TOO_BIG ? 413 : wr_err_http(e), "", err.text);
        return;
    }
    if (files_may(who, WR_VERB_SEND_FILES, m.room, &err) != WR_OK) {
        refuse(r, 403, "", err.text);
        return;
    }
    if (r->content_length > 0 && (uint64_t)r->content_length > length) {
        refuse(r, 413, "", "the body is longer than Upload-Length");
        return;
    }
    wr_id_random(id, FILES_ID_LEN);
    owner_of(r, owner);
    struct wr_msg *request = pack_create(id, length, &m, header, owner);
    if (request)
        upload_start(f, r,
                     &(struct upload_request){.id = id,
                                              .who = who,
                                              .create = request,
                                              .length = length,
                                              .says_offset = with_upload || length == 0});
    else
        files_fail(r, TUS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
}

/* ---- the others ----------------------------------------------------------------------------------------------------- */

/* A request that waits for one answer of the filestore. */
struct tus_wait {
    struct wr_files *f;
    struct wr_http_later *later;
    struct wr_identity *who;
    char id[FILES_ID_ROOM];
    struct wr_msg *stat;
    wr_bus_done_fn done;
};

static void wait_free(struct tus_wait *w)
{
    wr_identity_unref(w->who);
    free(w);
}

/* What arrived is with the filestore now. */
static void handle_handed_over(void *ctx)
{
    struct tus_wait *w = ctx;
    files_ask(w->f, w->id, "watchroom.v1.Files/Stat", w->stat, DISK_MS, w->done, w);
}

/* Asks what the upload is: nothing is done with it before rights were asked. */
static void ask(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who, const char *id,
                wr_bus_done_fn done)
{
    struct wr_msg *body = files_pack_stat(id);
    struct tus_wait *w = body ? calloc(1, sizeof *w) : NULL;
    if (!w) {
        wr_msg_unref(body);
        files_fail(r, TUS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
        return;
    }
    w->later = wr_http_park(r, &(struct wr_http_park){.deadline_ms = ANSWER_MS});
    if (!w->later) {
        wr_msg_unref(body);
        free(w);
        return;
    }
    w->f = f;
    w->who = wr_identity_ref(who);
    snprintf(w->id, sizeof w->id, "%s", id);
    w->stat = body;
    w->done = done;
    handover_ask(f->handover, id, handle_handed_over, w);
}

static void fail(struct tus_wait *w, const struct wr_answer *a)
{
    struct wr_errmsg text;
    files_text(a, &text);
    files_fail_later(&w->later, TUS_LINES, a->code, text.text);
}

static void answer_head(struct tus_wait *w, const Watchroom__V1__Upload *up)
{
    struct wr_buf b = {0};
    wr_buf_fmt(&b, "%sUpload-Offset: %llu\r\nUpload-Length: %llu\r\n", TUS_LINES,
               (unsigned long long)up->offset, (unsigned long long)up->length);
    if (up->metadata[0])
        wr_buf_fmt(&b, "Upload-Metadata: %s\r\n", up->metadata);
    wr_buf_char(&b, 0);
    if (b.failed)
        files_fail_later(&w->later, TUS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
    else
        wr_http_later_reply(&w->later, 200, NULL, (const char *)b.p, (struct wr_slice){0});
    wr_buf_free(&b);
}

/* The upload of an answer, to be freed. NULL: the client was answered. */
static Watchroom__V1__Upload *upload_of(struct tus_wait *w, const struct wr_answer *a)
{
    Watchroom__V1__Upload *up = a->code == WR_OK
                                    ? watchroom__v1__upload__unpack(NULL, a->body.n, a->body.p)
                                    : NULL;
    if (!up && a->code == WR_OK)
        files_fail_later(&w->later, TUS_LINES, WR_ERR_INTERNAL,
                         "the filestore's answer makes no sense");
    else if (!up)
        fail(w, a);
    return up;
}

/* False: he was answered. */
static bool may(struct tus_wait *w, enum wr_verb verb, const Watchroom__V1__Upload *up)
{
    struct wr_errmsg why;
    if (files_may(w->who, verb, up->room, &why) == WR_OK)
        return true;
    files_fail_later(&w->later, TUS_LINES, WR_ERR_DENIED, why.text);
    return false;
}

static void handle_stat(void *ctx, const struct wr_answer *a)
{
    struct tus_wait *w = ctx;
    Watchroom__V1__Upload *up = upload_of(w, a);
    if (up && may(w, WR_VERB_SEND_FILES, up))
        answer_head(w, up);
    if (up)
        watchroom__v1__upload__free_unpacked(up, NULL);
    wait_free(w);
}

static void handle_deleted(void *ctx, const struct wr_answer *a)
{
    struct tus_wait *w = ctx;
    if (a->code == WR_OK)
        wr_http_later_reply(&w->later, 204, NULL, TUS_LINES, (struct wr_slice){0});
    else
        fail(w, a);
    wait_free(w);
}

/* Who sends may take back what is not whole yet; a file is everybody's in the room, and is removed by who moderates it. */
static void handle_doomed(void *ctx, const struct wr_answer *a)
{
    struct tus_wait *w = ctx;
    Watchroom__V1__Upload *up = upload_of(w, a);
    bool ok = up && may(w, up->complete ? WR_VERB_MODERATE : WR_VERB_SEND_FILES, up);
    if (up)
        watchroom__v1__upload__free_unpacked(up, NULL);
    if (ok)
        files_ask(w->f, w->id, "watchroom.v1.Files/Delete", files_pack_delete(w->id), CALL_MS,
                  handle_deleted, w);
    else
        wait_free(w);
}

static void handle_patch(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who,
                         const char *id)
{
    uint64_t offset;
    const char *v = wr_http_header(r, "Upload-Offset");
    if (!tus_is_offset_type(wr_http_header(r, "Content-Type")))
        refuse(r, 415, "", "Content-Type must be application/offset+octet-stream");
    else if (!v || tus_parse_number(v, &offset) != WR_OK)
        refuse(r, 400, "", "Upload-Offset must be a whole number of bytes, 0 or more");
    else
        upload_start(f, r, &(struct upload_request){.id = id, .who = who, .offset = offset});
}

static void refuse_method(struct wr_http_req *r, const char *allow)
{
    char line[96], text[160];
    snprintf(line, sizeof line, "Allow: %s\r\n", allow);
    snprintf(text, sizeof text, "%.64s takes %s here", r->path, allow);
    refuse(r, 405, line, text);
}

void tus_handle(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who,
                enum wr_http_method method, const char *id)
{
    if (method == WR_OPTIONS) {
        handle_options(f, r);
        return;
    }
    if (!is_version(r)) {
        refuse(r, 412, "Tus-Version: 1.0.0\r\n",
               "Tus-Resumable: 1.0.0 must be said: no other version is spoken here");
        return;
    }
    if (id[0] == 0) {
        if (method == WR_POST)
            handle_create(f, r, who);
        else
            refuse_method(r, "POST, OPTIONS");
        return;
    }
    switch (method) {
    case WR_HEAD:
        ask(f, r, who, id, handle_stat);
        break;
    case WR_PATCH:
        handle_patch(f, r, who, id);
        break;
    case WR_DELETE:
        ask(f, r, who, id, handle_doomed);
        break;
    default:
        refuse_method(r, "GET, HEAD, PATCH, DELETE, OPTIONS");
    }
}
