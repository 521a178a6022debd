/* SPDX-License-Identifier: MIT
 *
 * GET and HEAD of a finished file. A handler copies what its headers ask for and parks the request; the filestore's answer
 * decides. The bytes of a file on this machine go from the page cache to the socket (sendfile), from a descriptor that the
 * filestore opened: it is there in one process, or collected from another (fetch.c). Any other comes in pieces. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "download_rules.h"
#include "files_priv.h"
#include "wr_base64.h"
#include "wr_fd.h"
#include "wr_id.h"
#include "wr_metrics.h"

WR_COUNTER(by_own, "watchroom_files_downloads_total", "way=\"own\"",
           "Downloads begun, by the way in which their bytes come");
WR_COUNTER(by_passed, "watchroom_files_downloads_total", "way=\"passed\"",
           "Downloads begun, by the way in which their bytes come");

enum asked { /* headers that an answer depends on */
             RANGE,
             IF_RANGE,
             IF_MATCH,
             IF_NONE_MATCH,
             IF_MODIFIED_SINCE,
             IF_UNMODIFIED_SINCE,
             ASKED_COUNT
};
static const char *const asked_names[ASKED_COUNT] = {
    "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"};

/* Of whoever has it at the moment: the handler, the bus's thread, the fetching one. */
struct download {
    struct wr_files *f;
    struct wr_http_later *later;
    struct wr_identity *who;
    char id[FILES_ID_ROOM];
    bool is_head, save;
    const char *asked[ASKED_COUNT]; /* in `text`, or NULL */
    /* once it is decided: */
    int status;
    uint64_t first, n;
    struct wr_buf lines;
    char text[];
};

static void download_free(struct download *d)
{
    wr_buf_free(&d->lines);
    wr_identity_unref(d->who);
    free(d);
}

static void fail(struct download *d, wr_err code, const char *text)
{
    files_fail_later(&d->later, CORS_LINES, code, text);
}

/* ---- the bytes ------------------------------------------------------------------------------------------------------- */

static bool is_whole_file(const struct download *d, int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size >= d->first + d->n;
}

/* Moves fd, which may be -1: then the bytes come in pieces. */
static void send_bytes(struct download *d, int fd, struct wr_counter *way)
{
    const char *lines = (const char *)d->lines.p;
    if (fd >= 0 && is_whole_file(d, fd)) {
        wr_count(way, 1);
        wr_http_later_fd(&d->later, d->status, lines, fd, d->first, d->n);
        return;
    }
    if (fd >= 0)
        close(fd);
    pieces_send(d->f, &d->later, d->id, d->status, lines, d->first, d->n);
}

static void handle_fetched(void *ctx, int fd)
{
    struct download *d = ctx;
    send_bytes(d, fd, &by_passed);
    download_free(d);
}

/* The head alone, with the length that a GET would have. */
static void nothing_more(struct wr_http_to to, void *user)
{
    (void)to;
    (void)user;
}
static void nothing_ends(void *user, bool is_whole)
{
    (void)user;
    (void)is_whole;
}
static void send_head(struct download *d)
{
    static const struct wr_http_source none = {.more = nothing_more, .end = nothing_ends};
    if (d->n)
        wr_http_later_pieces(&d->later, d->status, (const char *)d->lines.p, (int64_t)d->n, &none,
                             NULL);
    else
        wr_http_later_reply(&d->later, d->status, NULL, (const char *)d->lines.p,
                            (struct wr_slice){0});
}

/* ---- the head -------------------------------------------------------------------------------------------------------- */

static void validators(struct wr_buf *b, const Watchroom__V1__Upload *up, const char *etag)
{
    char date[32];
    dl_format_date(up->completed_ms / 1000, date);
    wr_buf_fmt(b,
               CORS_LINES "ETag: %s\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\nCache-Control: "
                          "private, no-cache\r\n",
               etag, date);
}

static void describe(struct wr_buf *b, const Watchroom__V1__Upload *up, bool save)
{
    dl_describe(b, up->filename, up->filetype, save);
    wr_buf_str(b, "Repr-Digest: sha-256=:");
    wr_base64_add(b, up->sha256.data, up->sha256.len);
    wr_buf_str(b, ":\r\n");
}

/* Which bytes of the file the request gets; false when it was answered. */
static bool choose(struct download *d, const Watchroom__V1__Upload *up, const char *etag)
{
    struct dl_conditions c = {.if_match = d->asked[IF_MATCH],
                              .if_none_match = d->asked[IF_NONE_MATCH],
                              .if_modified_since = d->asked[IF_MODIFIED_SINCE],
                              .if_unmodified_since = d->asked[IF_UNMODIFIED_SINCE]};
    int64_t modified = up->completed_ms / 1000;
    int status = dl_evaluate(&c, etag, modified);
    validators(&d->lines, up, etag);
    if (status == 304) {
        wr_buf_char(&d->lines, 0);
        wr_http_later_reply(&d->later, 304, NULL, (const char *)d->lines.p, (struct wr_slice){0});
        return false;
    }
    if (status) {
        wr_http_later_error(&d->later, status, CORS_LINES,
                            "the file is not the one that the request's conditions name");
        return false;
    }
    /* Range is a GET's alone (RFC 9110, 14.2). */
    bool parts = !d->is_head && dl_if_range(d->asked[IF_RANGE], etag, modified);
    struct dl_range range = dl_parse_range(parts ? d->asked[RANGE] : NULL, up->length);
    if (range.part == DL_UNSATISFIABLE) {
        char lines[1024];
        snprintf(lines, sizeof lines,
                 CORS_LINES "Accept-Ranges: bytes\r\nContent-Range: bytes */%llu\r\n",
                 (unsigned long long)up->length);
        wr_http_later_error(&d->later, 416, lines, "the range lies outside the file of %llu bytes",
                            (unsigned long long)up->length);
        return false;
    }
    d->status = range.part == DL_PART ? 206 : 200;
    d->first = range.part == DL_PART ? range.first : 0;
    d->n = range.part == DL_PART ? range.last - range.first + 1 : up->length;
    return true;
}

/* Head and range of the file; false when it was answered. */
static bool decide(struct download *d, const Watchroom__V1__Upload *up)
{
    char hex[65], etag[68];
    struct wr_errmsg why;
    if (files_may(d->who, WR_VERB_GET_FILES, up->room, &why) != WR_OK) {
        fail(d, WR_ERR_DENIED, why.text);
        return false;
    }
    if (!up->complete || up->sha256.len != 32) {
        wr_http_later_error(&d->later, 409, CORS_LINES "Cache-Control: no-store\r\n",
                            "the file is still being uploaded: %llu of %llu bytes are here",
                            (unsigned long long)up->offset, (unsigned long long)up->length);
        return false;
    }
    wr_hex(hex, up->sha256.data, up->sha256.len);
    snprintf(etag, sizeof etag, "\"%s\"", hex);
    if (!choose(d, up, etag))
        return false;
    describe(&d->lines, up, d->save);
    if (d->status == 206)
        wr_buf_fmt(&d->lines, "Content-Range: bytes %llu-%llu/%llu\r\n",
                   (unsigned long long)d->first, (unsigned long long)(d->first + d->n - 1),
                   (unsigned long long)up->length);
    wr_buf_char(&d->lines, 0);
    if (d->lines.failed)
        fail(d, WR_ERR_BUSY, "the gateway is out of memory");
    return !d->lines.failed;
}

/* ---- the filestore's answer -------------------------------------------------------------------------------------------- */

static void fail_by(struct download *d, const struct wr_answer *a)
{
    struct wr_errmsg text;
    files_text(a, &text);
    if (a->code == WR_OK)
        fail(d, WR_ERR_INTERNAL, "the filestore's answer makes no sense");
    else
        fail(d, a->code, a->code == WR_ERR_NOT_FOUND ? "there is no such file" : text.text);
}

static void handle_told(void *ctx, const struct wr_answer *a)
{
    struct download *d = ctx;
    Watchroom__V1__Upload *up = a->code == WR_OK
                                    ? watchroom__v1__upload__unpack(NULL, a->body.n, a->body.p)
                                    : NULL;
    if (!up)
        fail_by(d, a);
    else if (decide(d, up))
        send_head(d);
    if (up)
        watchroom__v1__upload__free_unpacked(up, NULL);
    download_free(d);
}

static void handle_opened(void *ctx, const struct wr_answer *a)
{
    struct download *d = ctx;
    Watchroom__V1__OpenResponse *o =
        a->code == WR_OK ? watchroom__v1__open_response__unpack(NULL, a->body.n, a->body.p) : NULL;
    struct wr_slice ticket = o ? wr_slice_of(o->ticket.data, o->ticket.len) : (struct wr_slice){0};
    int fd = wr_fd_collect(ticket); /* before anything else: it is ours to close */
    bool is_fetching = false;
    if (!o || !o->upload) {
        fail_by(d, a);
    } else if (!decide(d, o->upload)) {
        /* it was answered */
    } else if (d->n == 0) {
        send_head(d);
    } else if (fd < 0 && o->where[0] &&
               fetch_file(d->f->fetch, o->where, ticket, handle_fetched, d)) {
        is_fetching = true; /* d is the fetching thread's: it may be gone already */
    } else {
        send_bytes(d, fd, &by_own);
        fd = -1;
    }
    if (fd >= 0)
        close(fd);
    if (o)
        watchroom__v1__open_response__free_unpacked(o, NULL);
    if (!is_fetching)
        download_free(d);
}

/* ---- the request ------------------------------------------------------------------------------------------------------- */

/* The headers that matter, copied behind the struct. NULL: no memory. */
static struct download *download_new(struct wr_files *f, struct wr_http_req *r, const char *id)
{
    const char *v[ASKED_COUNT];
    char save[8];
    size_t n = 0;
    for (size_t i = 0; i < ASKED_COUNT; i++)
        if ((v[i] = wr_http_header(r, asked_names[i])))
            n += strlen(v[i]) + 1;
    struct download *d = calloc(1, sizeof *d + n);
    if (!d)
        return NULL;
    d->f = f;
    d->is_head = r->method == WR_HEAD;
    d->save = wr_http_query(r, "download", save, sizeof save);
    snprintf(d->id, sizeof d->id, "%s", id);
    char *at = d->text;
    for (size_t i = 0; i < ASKED_COUNT; i++) {
        if (!v[i])
            continue;
        size_t len = strlen(v[i]) + 1;
        d->asked[i] = memcpy(at, v[i], len);
        at += len;
    }
    return d;
}

void download_handle(struct wr_files *f, struct wr_http_req *r, struct wr_identity *who,
                     const char *id)
{
    if (atomic_load(&f->draining)) {
        files_fail(r, CORS_LINES, WR_ERR_CLOSED, "the server restarts: try again in a moment");
        return;
    }
    struct download *d = download_new(f, r, id);
    struct wr_msg *q = !d ? NULL : d->is_head ? files_pack_stat(id) : files_pack_open(id);
    if (!q) {
        free(d);
        files_fail(r, CORS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
        return;
    }
    d->who = wr_identity_ref(who);
    d->later = wr_http_park(r, &(struct wr_http_park){.deadline_ms = ANSWER_MS});
    if (!d->later) {
        wr_msg_unref(q);
        download_free(d);
    } else if (d->is_head) {
        files_ask(f, id, "watchroom.v1.Files/Stat", q, DISK_MS, handle_told, d);
    } else {
        files_ask(f, id, "watchroom.v1.Files/Open", q, DISK_MS, handle_opened, d);
    }
}
