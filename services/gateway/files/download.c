/* SPDX-License-Identifier: MIT
 *
 * GET and HEAD of a finished file. Small answers are written by the worker; for larger ones the socket goes to the plane
 * after the head, and pieces are asked from the filestore as fast as the client takes them: two pieces a reader in memory
 * at most, no thread. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "download_rules.h"
#include "files_priv.h"
#include "wr_base64.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_metrics.h"
#include "wr_pb.h"

#define SMALL (64u << 10)  /* bytes that are answered by the worker: a socket takes them at once */
#define PIECE (512u << 10) /* of a read while there are few downloads */
#define PIECE_OF_MANY (128u << 10)
#define FEW 16u
#define LOOK_MS (DL_LOOK_S * 1000u)

WR_COUNTER(bytes_out, "watchroom_files_sent_bytes_total", NULL,
           "Bytes of files given to clients' sockets");
WR_GAUGE(active, "watchroom_files_downloads_active", NULL, "Large downloads in progress");

/* ---- reading -------------------------------------------------------------------------------------------------------- */

static struct wr_msg *read_request(const char *id, uint64_t offset, uint32_t n)
{
    Watchroom__V1__ReadRequest q = WATCHROOM__V1__READ_REQUEST__INIT;
    char copy[FILES_ID_ROOM];
    snprintf(copy, sizeof copy, "%s", id);
    q.id = copy;
    q.offset = offset;
    q.length = n;
    return wr_msg_pack(&q.base);
}

/* The data field of a ReadResponse, where it lies. */
static bool data_of(struct wr_slice body, struct wr_slice *data)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *data = (struct wr_slice){0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        if (f.number == 15 && f.wire == 2)
            *data = f.bytes;
    return !r.bad;
}

/* ---- in the plane ---------------------------------------------------------------------------------------------------- */

/* Belongs to its connection; `refs` counts that and the read in flight. */
struct download {
    struct wr_files *f;
    struct wr_plane *plane;
    struct wr_conn_id conn;
    atomic_uint refs;
    char id[FILES_ID_ROOM];
    /* on the connection's thread: */
    uint64_t at, end; /* next byte to ask for; behind the last */
    bool asking;
    bool closed;
    struct dl_pace pace;
};

struct piece { /* a read's answer on its way to the connection's thread */
    struct download *d;
    struct wr_msg *msg;
    struct wr_slice data; /* of msg */
};

static void unref(struct download *d)
{
    if (atomic_fetch_sub(&d->refs, 1) != 1)
        return;
    atomic_fetch_sub(&d->f->downloads, 1);
    wr_gauge_add(&active, -1);
    free(d);
}

static void ask(struct wr_conn *c, struct download *d);

static void handle_piece(struct wr_conn *c, void *arg)
{
    struct piece *p = arg;
    struct download *d = p->d;
    d->asking = false;
    if (c && !d->closed) {
        struct wr_frame_part part = {.bytes = p->data, .msg = p->msg};
        struct wr_frame *frame = p->data.n ? wr_frame_new(WR_WS_BINARY, 0, 0, &part, 1) : NULL;
        if (frame) {
            d->at += p->data.n;
            wr_count(&bytes_out, p->data.n);
            wr_conn_send(c, frame);
            wr_frame_unref(frame);
            ask(c, d);
        } else {
            /* The head has promised more: the connection ends early, and the client sees that bytes are missing. */
            d->closed = true;
            wr_conn_close(c, 1011, "the file cannot be read");
        }
    }
    wr_msg_unref(p->msg);
    free(p);
    unref(d);
}

static void handle_read(void *ctx, const struct wr_answer *a)
{
    struct piece *p = ctx;
    if (a->code == WR_OK && data_of(a->body, &p->data))
        p->msg = wr_msg_ref(a->msg);
    else
        p->data = (struct wr_slice){0};
    wr_plane_post(p->d->plane, p->d->conn, handle_piece, p);
}

/* Asks for the next piece while the one before it is being sent. */
static void ask(struct wr_conn *c, struct download *d)
{
    uint32_t size = atomic_load(&d->f->downloads) <= FEW ? PIECE : PIECE_OF_MANY;
    if (d->closed || d->asking)
        return;
    if (d->at == d->end) {
        /* Only when the last byte is gone: a closing connection has seconds left, whatever it still holds. */
        if (wr_conn_queued(c) == 0) {
            d->closed = true;
            wr_conn_close(c, 1000, "");
        }
        return;
    }
    if (wr_conn_queued(c) > size)
        return; /* `drained` asks again */
    uint32_t n = (uint32_t)WR_MIN(size, d->end - d->at);
    struct piece *p = calloc(1, sizeof *p);
    struct wr_msg *q = p ? read_request(d->id, d->at, n) : NULL;
    if (!q) {
        free(p);
        d->closed = true;
        wr_conn_close(c, 1011, "out of memory");
        return;
    }
    p->d = d;
    d->asking = true;
    atomic_fetch_add(&d->refs, 1);
    wr_bus_call(d->f->store, d->id, "watchroom.v1.Files/Read", q, DISK_MS, handle_read, p);
}

static void on_open(struct wr_conn *c, void *user)
{
    struct download *d = user;
    d->conn = wr_conn_id(c);
    wr_conn_wake(c, LOOK_MS);
    ask(c, d);
}

static void on_drained(struct wr_conn *c, void *user)
{
    ask(c, user);
}

static void on_wake(struct wr_conn *c, void *user)
{
    struct download *d = user;
    size_t queued = wr_conn_queued(c);
    if (dl_is_too_slow(&d->pace, d->at - queued, queued != 0)) {
        d->closed = true;
        wr_conn_close(c, 1008, "too slow");
        return;
    }
    wr_conn_wake(c, LOOK_MS);
}

static void on_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    struct download *d = user;
    (void)c;
    (void)why;
    d->closed = true;
    unref(d);
}

static const struct wr_conn_ops ops = {
    .open = on_open, .drained = on_drained, .wake = on_wake, .close = on_close};

static void send_by_plane(struct wr_files *f, struct wr_http_req *r, const char *id, int status,
                          const char *lines, uint64_t first, uint64_t n)
{
    struct download *d = calloc(1, sizeof *d);
    int fd;
    uint8_t *early;
    size_t n_early;
    if (!d) {
        atomic_fetch_sub(&f->downloads, 1);
        files_fail(r, CORS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
        return;
    }
    *d = (struct download){
        .f = f, .plane = f->env->plane, .at = first, .end = first + n, .pace.from = first};
    snprintf(d->id, sizeof d->id, "%s", id);
    atomic_init(&d->refs, 1);
    wr_gauge_add(&active, 1);
    if (!wr_http_reserve(r, CORS_LINES)) {
        unref(d);
        return;
    }
    r->close_after = true; /* the plane ends the connection after the last byte */
    if (!wr_http_head(r, status, lines, n) || wr_http_detach(r, &fd, &early, &n_early) != WR_OK) {
        wr_plane_release(d->plane);
        unref(d); /* the client is gone, or sees a body that is missing */
        return;
    }
    struct wr_conn_opts o = {.transport = WR_TRANSPORT_RAW,
                             .policy = WR_QUEUE_CHAT,
                             .ops = &ops,
                             .user = d,
                             .queue_bytes = 4 * PIECE};
    if (wr_plane_adopt(d->plane, fd, (struct wr_slice){0}, &o) != WR_OK)
        r->status = 503; /* on_close has run */
    free(early);
}

static void send_small(struct wr_files *f, struct wr_http_req *r, const char *id, int status,
                       const char *lines, uint64_t first, uint64_t n)
{
    struct wr_msg *answer = NULL;
    struct wr_slice body, data = {0};
    struct wr_errmsg err = {{0}};
    wr_err e = WR_OK;
    if (n) {
        e = files_call(f, id, "watchroom.v1.Files/Read", read_request(id, first, (uint32_t)n),
                       DISK_MS, &answer, &body, &err);
        if (e == WR_OK && (!data_of(body, &data) || data.n != n)) {
            wr_errmsg_set(&err, "the filestore's answer makes no sense");
            e = WR_ERR_INTERNAL;
        }
    }
    if (e != WR_OK) {
        files_fail(r, CORS_LINES, e, err.text);
    } else {
        struct watched w;
        watch_begin(f->watch, &w, r, SHUT_RDWR, STALL_MS);
        if (wr_http_head(r, status, lines, n) && n && wr_http_write(r, data.p, data.n))
            wr_count(&bytes_out, n);
        (void)watch_end(f->watch, &w);
    }
    wr_msg_unref(answer);
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
static bool choose(struct wr_http_req *r, const Watchroom__V1__Upload *up, const char *etag,
                   struct wr_buf *head, struct dl_range *range)
{
    struct dl_conditions c = {.if_match = wr_http_header(r, "If-Match"),
                              .if_none_match = wr_http_header(r, "If-None-Match"),
                              .if_modified_since = wr_http_header(r, "If-Modified-Since"),
                              .if_unmodified_since = wr_http_header(r, "If-Unmodified-Since")};
    int64_t modified = up->completed_ms / 1000;
    int status = dl_evaluate(&c, etag, modified);
    validators(head, up, etag);
    if (status == 304) {
        wr_buf_char(head, 0);
        wr_http_reply(r, 304, NULL, (const char *)head->p, (struct wr_slice){0});
        return false;
    }
    if (status) {
        wr_http_error_with(r, status, CORS_LINES,
                           "the file is not the one that the request's conditions name");
        return false;
    }
    /* Range is a GET's alone (RFC 9110, 14.2). */
    bool parts = r->method == WR_GET && dl_if_range(wr_http_header(r, "If-Range"), etag, modified);
    const char *header = parts ? wr_http_header(r, "Range") : NULL;
    *range = dl_parse_range(header, up->length);
    if (range->part == DL_UNSATISFIABLE) {
        char lines[1024];
        snprintf(lines, sizeof lines,
                 CORS_LINES "Accept-Ranges: bytes\r\nContent-Range: bytes */%llu\r\n",
                 (unsigned long long)up->length);
        wr_http_error_with(r, 416, lines, "the range lies outside the file of %llu bytes",
                           (unsigned long long)up->length);
        return false;
    }
    return true;
}

static void send_file(struct wr_files *f, struct wr_http_req *r, const Watchroom__V1__Upload *up)
{
    char hex[65], etag[68], save[8];
    struct dl_range range;
    struct wr_buf head = {0};
    wr_hex(hex, up->sha256.data, up->sha256.len);
    snprintf(etag, sizeof etag, "\"%s\"", hex);
    if (!choose(r, up, etag, &head, &range))
        goto out;
    describe(&head, up, wr_http_query(r, "download", save, sizeof save));
    uint64_t first = 0, n = up->length;
    int status = 200;
    if (range.part == DL_PART) {
        status = 206;
        first = range.first;
        n = range.last - range.first + 1;
        wr_buf_fmt(&head, "Content-Range: bytes %llu-%llu/%llu\r\n",
                   (unsigned long long)range.first, (unsigned long long)range.last,
                   (unsigned long long)up->length);
    }
    wr_buf_char(&head, 0);
    if (head.failed) {
        files_fail(r, CORS_LINES, WR_ERR_BUSY, "the gateway is out of memory");
    } else if (r->method == WR_HEAD) {
        (void)wr_http_head(r, status, (const char *)head.p, n);
    } else if (n <= SMALL) {
        send_small(f, r, up->id, status, (const char *)head.p, first, n);
    } else if (atomic_fetch_add(&f->downloads, 1) >= DOWNLOADS_MAX) {
        atomic_fetch_sub(&f->downloads, 1);
        files_fail(r, CORS_LINES, WR_ERR_BUSY, "too many downloads at once: try again in a moment");
    } else {
        send_by_plane(f, r, up->id, status, (const char *)head.p, first, n);
    }
out:
    wr_buf_free(&head);
}

void download_handle(struct wr_files *f, struct wr_http_req *r, const char *id)
{
    Watchroom__V1__Upload *up;
    struct wr_errmsg err = {{0}};
    if (atomic_load(&f->draining)) {
        files_fail(r, CORS_LINES, WR_ERR_CLOSED, "the server restarts: try again in a moment");
        return;
    }
    wr_err e = files_stat(f, id, &up, &err);
    if (e != WR_OK) {
        files_fail(r, CORS_LINES, e, e == WR_ERR_NOT_FOUND ? "there is no such file" : err.text);
        return;
    }
    if (up->complete && up->sha256.len == 32)
        send_file(f, r, up);
    else
        wr_http_error_with(r, 409, CORS_LINES "Cache-Control: no-store\r\n",
                           "the file is still being uploaded: %llu of %llu bytes are here",
                           (unsigned long long)up->offset, (unsigned long long)up->length);
    watchroom__v1__upload__free_unpacked(up, NULL);
}
