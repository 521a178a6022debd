/* SPDX-License-Identifier: MIT
 *
 * A request's body on its way to the filestore: read into messages of the bus, several Files/Write in flight. The worker
 * reads while the filestore writes and hashes; when its window is full it stops reading, and TCP tells the client. */
#include "files_priv.h"

#include <stdio.h>
#include <sys/socket.h>

#include "wr_clock.h"
#include "wr_metrics.h"
#include "wr_pb.h"
#include "wr_thread.h"

#define FAIR 1u    /* writes in flight that an upload may always have */
#define WINDOW 16u /* and at most */
#define SLOW_READ (16u << 10)
#define RATE_MS 120000
#define RATE_BYTES (64u << 10) /* at least so many in RATE_MS */
#define DROP_MS 3000
#define DROP_BYTES (256ll << 20)

WR_COUNTER(bytes_in, "watchroom_files_received_bytes_total", NULL,
           "Bytes of uploads read from clients");
WR_GAUGE(active, "watchroom_files_uploads_active", NULL, "Request bodies of uploads in progress");

struct pump {
    struct wr_files *f;
    struct wr_http_req *r;
    const char *id;
    uint64_t fence;
    uint64_t at;  /* where the next byte goes */
    uint64_t end; /* length of the upload */
    struct wr_msg *buf;
    size_t n; /* bytes in buf */
    size_t
        read_size; /* of the next read: small while the client is slow, so that its progress is seen */
    int64_t byte_us; /* when the last byte came */
    int64_t rate_us;
    size_t rate_bytes;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t done;
    unsigned in_flight;
    wr_err code;
    struct wr_errmsg text;
    uint64_t durable;
};

/* ---- to the filestore ------------------------------------------------------------------------------------------------ */

/* Of a WriteResponse what is synced. */
static void read_answer(struct pump *p, struct wr_slice body)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f))
        if (f.number == 2 && f.wire == 0)
            p->durable = WR_MAX(p->durable, f.value);
    if (r.bad && p->code == WR_OK) {
        p->code = WR_ERR_INTERNAL;
        wr_errmsg_set(&p->text, "the filestore's answer makes no sense");
    }
}

static void handle_written(void *ctx, const struct wr_answer *a)
{
    struct pump *p = ctx;
    buffers_answered(p->f->buffers);
    pthread_mutex_lock(&p->lock);
    if (a->code == WR_OK) {
        read_answer(p, a->body);
    } else if (p->code == WR_OK) {
        p->code = a->code;
        wr_errmsg_set(&p->text, "%.*s", (int)WR_MIN(a->text.n, 240), (const char *)a->text.p);
    }
    p->in_flight--;
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
}

/* Puts the head of a WriteRequest right before the bytes and sends it. Moves p->buf. */
static void send_write(struct pump *p, bool sync)
{
    struct wr_msg *m = p->buf;
    uint8_t head[BUFFER_HEAD], *to = head;
    to = wr_pb_bytes(to, 1, wr_slice_str(p->id));
    to = wr_pb_uint(to, 2, p->fence);
    to = wr_pb_uint(to, 3, p->at);
    to = wr_pb_uint(to, 4, sync);
    if (p->n)
        to = wr_pb_bytes_head(to, 15, p->n);
    m->len = p->n;
    memcpy(wr_msg_push(m, (size_t)(to - head)), head, (size_t)(to - head));
    p->buf = NULL;
    p->at += p->n;
    p->n = 0;
    pthread_mutex_lock(&p->lock);
    p->in_flight++;
    pthread_mutex_unlock(&p->lock);
    buffers_sent(p->f->buffers);
    wr_bus_call(p->f->store, p->id, "watchroom.v1.Files/Write", m, sync ? SYNC_MS : DISK_MS,
                handle_written, p);
}

/* Waits for room in the window; false when the filestore refused something. */
static bool wait_for_window(struct pump *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->code == WR_OK &&
           (p->in_flight >= WINDOW ||
            (p->in_flight && !buffers_may_send(p->f->buffers, p->in_flight, FAIR))))
        pthread_cond_wait(&p->done, &p->lock);
    bool ok = p->code == WR_OK;
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static void wait_for_answers(struct pump *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->in_flight)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* ---- from the client ------------------------------------------------------------------------------------------------- */

static bool is_too_slow(struct pump *p, int64_t now)
{
    if (now - p->byte_us >= STALL_MS * 1000ll)
        return true;
    if (now - p->rate_us < RATE_MS * 1000ll)
        return false;
    bool slow = p->rate_bytes < RATE_BYTES;
    p->rate_us = now;
    p->rate_bytes = 0;
    return slow;
}

/* How much one read may ask for. In a chunked body no more than is surely there: an eighth of the bytes that wait, since
 * chunks of one byte come with five of coding. */
static size_t read_size(struct pump *p, size_t want)
{
    if (!p->r->is_chunked)
        return WR_MIN(want, p->read_size);
    size_t sure = wr_http_pending(p->r) / 8;
    return sure > want ? want : sure ? sure : 1;
}

/* Reads until the buffer holds `want` bytes or the client pauses. 0: go on; else the body's end. */
static enum pump_end fill(struct pump *p, size_t want)
{
    while (p->n < want) {
        struct watched e;
        size_t got, ask = read_size(p, want - p->n);
        int64_t before = wr_mono_us();
        watch_begin(p->f->watch, &e, p->r, SHUT_RD, STALL_MS);
        wr_err code = wr_http_read(p->r, p->buf->data + p->n, ask, &got);
        bool was_cut = watch_end(p->f->watch, &e);
        int64_t now = wr_mono_us();
        p->read_size = now - before > 1000000 ? SLOW_READ : BUFFER_BYTES;
        if (code == WR_OK && got == 0)
            return PUMP_WHOLE;
        if (got) {
            p->n += got;
            p->byte_us = now;
            p->rate_bytes += got;
            wr_count(&bytes_in, got);
        }
        if (was_cut || is_too_slow(p, now))
            return PUMP_STALLED;
        if (code == WR_ERR_TIMEOUT && !p->r->is_chunked)
            return 0; /* send on what came; the client may still go on */
        if (code != WR_OK)
            return code == WR_ERR_TIMEOUT   ? PUMP_STALLED
                   : code == WR_ERR_INVALID ? PUMP_MALFORMED
                                            : PUMP_LEFT;
    }
    return 0;
}

/* Everything that fits was read: is there more? */
static enum pump_end look_behind(struct pump *p)
{
    struct watched e;
    uint8_t byte;
    size_t got;
    if (!p->r->is_chunked)
        return p->r->content_length > p->r->body_read ? PUMP_TOO_LONG : PUMP_WHOLE;
    watch_begin(p->f->watch, &e, p->r, SHUT_RD, 10000);
    wr_err code = wr_http_read(p->r, &byte, 1, &got);
    (void)watch_end(p->f->watch, &e);
    return code == WR_OK && got ? PUMP_TOO_LONG : PUMP_WHOLE;
}

static bool body_is_over(const struct pump *p)
{
    return !p->r->is_chunked && p->r->body_read >= p->r->content_length;
}

static enum pump_end stream(struct pump *p)
{
    enum pump_end end = 0;
    while (!end) {
        if (!wait_for_window(p))
            return PUMP_WHOLE;
        if (atomic_load(&p->f->draining))
            return PUMP_DRAINING;
        if (!(p->buf = buffers_take(p->f->buffers))) {
            pthread_mutex_lock(&p->lock);
            p->code = WR_ERR_BUSY;
            wr_errmsg_set(&p->text, "the gateway is out of memory");
            pthread_mutex_unlock(&p->lock);
            return PUMP_WHOLE;
        }
        /* Up to where a whole buffer would end, so that the next one begins at a page of the file. */
        size_t want = (size_t)WR_MIN(BUFFER_BYTES - p->at % BUFFER_BYTES, p->end - p->at);
        end = fill(p, want);
        if (!end && p->at + p->n == p->end)
            end = look_behind(p);
        else if (!end && body_is_over(p))
            end = PUMP_WHOLE;
        if (p->n || end)
            send_write(p, end && end != PUMP_LEFT);
        wr_msg_unref(p->buf);
        p->buf = NULL;
    }
    return end;
}

void pump_run(struct wr_files *f, struct wr_http_req *r, const char *id, uint64_t fence,
              uint64_t offset, uint64_t length, struct pump_result *out)
{
    struct pump p = {.f = f,
                     .r = r,
                     .id = id,
                     .fence = fence,
                     .at = offset,
                     .end = length,
                     .read_size = BUFFER_BYTES,
                     .durable = 0};
    pthread_mutex_init(&p.lock, NULL);
    wr_cond_init(&p.done);
    p.byte_us = p.rate_us = wr_mono_us();
    wr_gauge_add(&active, 1);
    enum pump_end end = stream(&p);
    wait_for_answers(&p);
    if (end == PUMP_DRAINING && p.code == WR_OK && (p.buf = buffers_take(f->buffers))) {
        send_write(&p, true); /* an empty one, for the sync */
        wait_for_answers(&p);
    }
    wr_gauge_add(&active, -1);
    *out = (struct pump_result){.end = end, .code = p.code, .text = p.text, .offset = p.durable};
    pthread_cond_destroy(&p.done);
    pthread_mutex_destroy(&p.lock);
}

void pump_drop_rest(struct wr_files *f, struct wr_http_req *r)
{
    const char *expect = wr_http_header(r, "Expect");
    if (expect && r->body_read == 0 && !r->sent_continue)
        return; /* it waits for our word and sends nothing */
    struct wr_msg *m = buffers_take(f->buffers);
    int64_t until = wr_mono_us() + DROP_MS * 1000, dropped = 0;
    size_t got = 1;
    while (m && got && dropped < DROP_BYTES && wr_mono_us() < until) {
        struct watched e;
        watch_begin(f->watch, &e, r, SHUT_RD, DROP_MS);
        wr_err code = wr_http_read(r, m->data, BUFFER_BYTES, &got);
        (void)watch_end(f->watch, &e);
        if (code != WR_OK)
            break;
        dropped += (int64_t)got;
    }
    wr_msg_unref(m);
}
