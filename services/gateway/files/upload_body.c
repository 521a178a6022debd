/* SPDX-License-Identifier: MIT
 *
 * A body's way to the filestore: received into messages of the bus, several Files/Write in flight. When the window is full
 * the body pauses, and TCP tells the client. */
#include "upload_priv.h"
#include "wr_metrics.h"
#include "watchroom/v1/files.numbers.h"
#include "wr_pb.h"

#define WINDOW 16u       /* large writes in flight, at most */
#define SMALLS 4u        /* small ones */
#define FAST (16u << 10) /* bytes of one piece of a chunked body that show a fast client */

WR_COUNTER(bytes_in, "watchroom_files_received_bytes_total", NULL,
           "Bytes of uploads read from clients");

/* ---- to the filestore ------------------------------------------------------------------------------------------------ */

static void resume(struct upload *u);

/* Of a WriteResponse what is written, and what is synced. */
static void read_written(struct upload *u, struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        if (f.number == WR_PB_WRITE_RESPONSE_DURABLE && f.wire == 0)
            u->durable = WR_MAX(u->durable, f.value);
        else if (f.number == WR_PB_WRITE_RESPONSE_OFFSET && f.wire == 0)
            u->written = WR_MAX(u->written, f.value);
    if (r.bad)
        upload__fail(u, WR_ERR_INTERNAL, "the filestore's answer makes no sense");
}

static void handle_written(struct upload *u, const struct upload_reply *r)
{
    u->in_flight--;
    if (r->is_large)
        buffers_done(u->f->buffers);
    if (r->code == WR_OK)
        read_written(u, r->body);
    else
        upload__fail(u, r->code, r->text.text);
    handover_tell(u, u->written, u->in_flight == 0);
    if (u->turn == UPLOAD_FLOWING && u->code != WR_OK)
        upload__next(u, UPLOAD_SETTLING);
    else if (u->turn == UPLOAD_FLOWING)
        resume(u);
    else if (u->turn == UPLOAD_SETTLING && !u->in_flight)
        upload__next(u, UPLOAD_ANSWERING);
}

static void drop_buffer(struct upload *u)
{
    wr_msg_unref(u->buf);
    u->buf = NULL;
    u->n = u->want = 0;
    if (u->is_large)
        buffers_leave(u->f->buffers, &u->user);
    u->is_large = false;
}

/* Puts the head of a WriteRequest right before the bytes and sends it. Needs u->buf. */
static void send_write(struct upload *u, bool sync)
{
    struct wr_msg *m = u->buf;
    uint8_t head[BUFFER_HEAD], *to = head;
    to = wr_pb_bytes(to, WR_PB_WRITE_REQUEST_ID, wr_slice_str(u->id));
    to = wr_pb_uint(to, WR_PB_WRITE_REQUEST_FENCE, u->fence);
    to = wr_pb_uint(to, WR_PB_WRITE_REQUEST_OFFSET, u->at);
    to = wr_pb_uint(to, WR_PB_WRITE_REQUEST_SYNC, sync);
    if (u->n)
        to = wr_pb_bytes_head(to, WR_PB_WRITE_REQUEST_DATA, u->n);
    m->len = u->n;
    memcpy(wr_msg_push(m, (size_t)(to - head)), head, (size_t)(to - head));
    wr_msg_ref(m);
    if (upload__ask(u, "watchroom.v1.Files/Write", m, sync ? SYNC_MS : DISK_MS, handle_written,
                    u->is_large)) {
        u->in_flight++;
        u->at += u->n;
        if (u->is_large)
            buffers_sent(u->f->buffers, &u->user);
        u->is_large = false;
    }
    drop_buffer(u);
}

/* ---- room for bytes --------------------------------------------------------------------------------------------------- */

static bool is_full(const struct upload *u)
{
    return u->at + u->n == u->end;
}

/* Room for n bytes of the caller's own, in no account. */
static bool take_small(struct upload *u, size_t n)
{
    u->want = (size_t)WR_MIN(n, u->end - u->at);
    u->buf = buffers_small(u->want);
    if (!u->buf)
        upload__fail(u, WR_ERR_BUSY, "the gateway is out of memory");
    return u->buf;
}

static bool take_large(struct upload *u)
{
    if (u->in_flight >= WINDOW || u->is_waiting)
        return false;
    u->buf = buffers_large(u->f->buffers, &u->user, &u->is_waiting);
    u->is_large = u->buf;
    /* Up to where a whole buffer would end, so that the next one begins at a page of the file. */
    u->want = (size_t)WR_MIN(LARGE_BYTES - u->at % LARGE_BYTES, u->end - u->at);
    if (!u->buf && !u->is_waiting)
        upload__fail(u, WR_ERR_BUSY, "the gateway is out of memory");
    return u->buf;
}

static bool take_buffer(struct upload *u)
{
    if (u->is_fast && u->end - u->at > SMALL_BYTES)
        return take_large(u);
    return u->in_flight < SMALLS && take_small(u, SMALL_BYTES);
}

static bool has_room(const struct upload *u)
{
    if (u->buf || is_full(u))
        return true;
    if (u->is_fast && u->end - u->at > SMALL_BYTES)
        return u->in_flight < WINDOW && !u->is_waiting;
    return u->in_flight < SMALLS;
}

static void pause_body(struct upload *u, bool pause)
{
    u->is_paused = pause;
    if (u->b)
        wr_http_body_pause(u->b, pause);
}

static void resume(struct upload *u)
{
    if (u->is_paused && has_room(u))
        pause_body(u, false);
}

/* The large buffer that was waited for is there. */
static void handle_ready(struct wr_http_body *b, void *arg)
{
    struct upload *u = arg;
    (void)b;
    u->is_waiting = false;
    if (u->turn == UPLOAD_FLOWING)
        resume(u);
    upload__unref(u);
}

void upload__send_now(struct upload *u)
{
    if (u->turn != UPLOAD_FLOWING || !u->buf)
        return;
    if (u->n)
        send_write(u, false);
    else
        drop_buffer(u);
    if (u->code != WR_OK)
        upload__next(u, UPLOAD_SETTLING);
}

/* Others wait for buffers, and this one is filled slowly. */
static void handle_press(struct wr_http_body *b, void *arg)
{
    struct upload *u = arg;
    (void)b;
    if (u->is_large) {
        u->is_fast = false;
        upload__send_now(u);
    }
    upload__unref(u);
}

static void tell_ready(struct buffers_user *user)
{
    struct upload *u = WR_CONTAINER_OF(user, struct upload, user);
    upload__ref(u);
    wr_http_body_post(u->to, handle_ready, u);
}

static void tell_press(struct buffers_user *user)
{
    struct upload *u = WR_CONTAINER_OF(user, struct upload, user);
    upload__ref(u);
    wr_http_body_post(u->to, handle_press, u);
}

/* ---- from the client ------------------------------------------------------------------------------------------------- */

static void body_begin(struct wr_http_body *b, void *user)
{
    struct upload *u = user;
    u->b = b;
    u->to = wr_http_body_to(b);
    /* Nothing is read, and nobody told to go on, before the filestore has agreed. */
    pause_body(u, true);
    upload__next(u, u->is_new ? UPLOAD_CREATING : UPLOAD_ACQUIRING);
}

static void body_buffer(struct wr_http_body *b, void *user, uint8_t **p, size_t *n)
{
    struct upload *u = user;
    (void)b;
    *n = 0;
    if (u->turn != UPLOAD_FLOWING) {
        u->is_paused = true;
    } else if (is_full(u)) {
        *p = u->surplus;
        *n = sizeof u->surplus;
    } else if (u->buf || take_buffer(u)) {
        *p = u->buf->data + u->n;
        *n = u->want - u->n;
    } else {
        u->is_paused = true;
        if (u->code != WR_OK)
            upload__next(u, UPLOAD_SETTLING);
    }
}

/* A buffer that is full goes; the one that ends the upload is synced. */
static void send_if_full(struct upload *u)
{
    if (!u->buf || u->n < u->want)
        return;
    u->is_synced = is_full(u);
    send_write(u, u->is_synced);
}

/* Bytes that lie elsewhere: as many buffers as they need, whatever the window says. */
static void copy(struct upload *u, struct wr_slice bytes)
{
    u->is_fast |= bytes.n >= FAST;
    while (bytes.n && u->code == WR_OK && !is_full(u)) {
        if (!u->buf && !(u->is_fast && take_large(u)) &&
            (u->code != WR_OK || !take_small(u, WR_MAX(bytes.n, SMALL_BYTES))))
            return;
        size_t n = WR_MIN(bytes.n, u->want - u->n);
        memcpy(u->buf->data + u->n, bytes.p, n);
        u->n += n;
        bytes = wr_slice_of(bytes.p + n, bytes.n - n);
        send_if_full(u);
    }
}

static void body_data(struct wr_http_body *b, void *user, struct wr_slice bytes)
{
    struct upload *u = user;
    (void)b;
    wr_count(&bytes_in, bytes.n);
    if (u->turn != UPLOAD_FLOWING)
        return; /* it is being refused: nobody wants the rest */
    bool fits = bytes.n <= u->end - u->at - u->n;
    if (u->buf && bytes.p == u->buf->data + u->n) {
        u->is_fast |= u->n == 0 && bytes.n == u->want && u->want == SMALL_BYTES;
        u->n += bytes.n;
        send_if_full(u);
    } else {
        copy(u, bytes);
    }
    if (!fits)
        u->how = UPLOAD_TOO_LONG;
    if (!fits || u->code != WR_OK)
        upload__next(u, UPLOAD_SETTLING);
    else if (!has_room(u))
        pause_body(u, true);
}

/* The link may have died silently: what it brought is written, as long as there is somebody to do it. */
static void body_idle(struct wr_http_body *b, void *user)
{
    struct upload *u = user;
    (void)b;
    u->is_fast = false;
    upload__send_now(u);
}

static void body_end(struct wr_http_body *b, void *user, enum wr_http_body_end how)
{
    struct upload *u = user;
    (void)b;
    u->b = NULL;
    if (!u->how)
        u->how = (int)how;
    if (u->turn == UPLOAD_STARTING)
        upload__next(u, UPLOAD_ANSWERING); /* the client left before anything began */
    else if (u->turn == UPLOAD_FLOWING)
        upload__next(u, UPLOAD_SETTLING);
    upload__unref(u);
}

const struct wr_http_body_ops upload__body_ops = {.begin = body_begin,
                                                  .buffer = body_buffer,
                                                  .data = body_data,
                                                  .idle = body_idle,
                                                  .end = body_end};

/* ---- turns ----------------------------------------------------------------------------------------------------------- */

void upload__flow(struct upload *u)
{
    u->user.ready = tell_ready;
    u->user.press = tell_press;
    handover_enter(u->f->handover, u);
    if (u->how)
        upload__next(u, UPLOAD_SETTLING); /* it ended while the filestore was asked */
    else
        pause_body(u, false);
}

void upload__settle(struct upload *u)
{
    bool sync = u->how != UPLOAD_LEFT;
    if (u->code == WR_OK && !u->is_synced && (u->n || sync)) {
        if (u->buf || (u->buf = buffers_small(0)))
            send_write(u, sync);
        else
            upload__fail(u, WR_ERR_BUSY, "the gateway is out of memory");
    }
    drop_buffer(u);
    buffers_leave(u->f->buffers, &u->user); /* it may stand in line */
    if (!u->in_flight)
        upload__next(u, UPLOAD_ANSWERING);
}
