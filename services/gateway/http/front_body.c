/* SPDX-License-Identifier: MIT
 *
 * A request's body: a small one is collected before the worker is asked, others flow to who took them (body.c reads). */
#include "front_priv.h"
#include "wr_clock.h"
#include <stdlib.h>

#define BODY_READS 4u /* in one turn */

/* Only when the body is about to be read: who pauses it at first may still refuse it unsent. */
static void say_continue(struct http__front *f)
{
    bool owes = f->body->owes_continue && !f->body->is_paused;
    if (!owes)
        return;
    f->body->owes_continue = false;
    if (!f->n_in)
        front__say(f, wr_frame_plain(wr_slice_str("HTTP/1.1 100 Continue\r\n\r\n")));
}

void front__submit(struct http__front *f)
{
    f->state = FRONT_ASKED;
    wr_conn_wake(f->c, front__look_ms(f));
    if (!http__pool_submit(f->h, wr_conn_thread(f->c), http__ask_ref(f->ask)))
        front__refuse(f, 503, "Retry-After: 2\r\n", "the server is too busy; try again");
}

static void collected(struct http__front *f, enum wr_http_body_end how)
{
    struct wr_buf *b = f->collected;
    f->collected = NULL;
    bool too_long = b && b->n > WR_BODY_SMALL_BYTES;
    if (b && how == WR_BODY_WHOLE && !b->failed && !too_long) {
        f->ask->body = wr_slice_of(b->p, b->n);
        *b = (struct wr_buf){.n = 0};
    }
    bool no_memory = b && b->failed;
    if (b)
        wr_buf_free(b);
    free(b);
    if (too_long)
        front__refuse(f, 413, NULL, "the body is too long: at most 64 KiB are taken here");
    else if (no_memory || how == WR_BODY_DRAINING)
        front__refuse(f, 503, "Retry-After: 2\r\n", "the server has no room now; try again");
    else if (how == WR_BODY_WHOLE)
        front__submit(f);
    else if (how == WR_BODY_STALLED)
        front__refuse(f, 408, NULL, "the body made no progress");
    else
        front__refuse(f, 400, NULL,
                      how == WR_BODY_LEFT ? "the body ended before its length"
                                          : "the chunked coding of the body is broken");
}

static void collect_data(struct wr_http_body *b, void *user, struct wr_slice bytes)
{
    (void)b;
    struct http__front *f = user;
    if (f->collected && f->collected->n <= WR_BODY_SMALL_BYTES)
        wr_buf_slice(f->collected, bytes);
}

static void collect_end(struct wr_http_body *b, void *user, enum wr_http_body_end how)
{
    (void)b;
    (void)user;
    (void)how;
}

static const struct wr_http_body_ops collect_ops = {.data = collect_data, .end = collect_end};

void front__body_over(struct http__front *f, enum wr_http_body_end how)
{
    if (how == WR_BODY_WHOLE)
        atomic_store(&f->ask->rest_over, true);
    http__body_end(&f->body, how);
    if (f->state == FRONT_COLLECT) {
        collected(f, how);
        return;
    }
    f->until_ms = wr_mono_ms() + (f->park.deadline_ms ? f->park.deadline_ms : HTTP__PARK_MS);
}

static bool is_too_long(const struct http__front *f)
{
    return f->state == FRONT_COLLECT && f->collected && f->collected->n > WR_BODY_SMALL_BYTES;
}

/* Reads what there is of the body, a turn's worth. */
void front__flow(struct http__front *f)
{
    enum wr_http_body_end how = 0;
    say_continue(f);
    if (f->n_in && !f->body->is_paused) {
        uint8_t *in = f->in; /* a callback does not change it, but the memory is given back below */
        size_t used = http__body_feed(f->body, in, f->n_in, &how);
        front__use(f, used);
    }
    for (unsigned i = 0; !how && i < BODY_READS && f->body && !f->body->is_paused; i++) {
        struct wr_slice extra;
        bool more = http__body_read(f->body, &extra, &how);
        if (extra.n && !front__keep(f, extra.p, extra.n))
            wr_conn_cut(f->c);
        if (!more || is_too_long(f))
            break;
    }
    if (f->body && is_too_long(f))
        how = WR_BODY_WHOLE; /* collected() says so */
    if (how)
        front__body_over(f, how);
}

void http__front_body_paused(struct http__front *f, bool pause)
{
    front__pause(f, pause);
    if (!pause) /* what was read already waits in `in`: looked at in the next turn */
        wr_conn_again(f->c);
}

struct wr_http_body *http__front_body(struct wr_conn *c, uint32_t no)
{
    struct http__front *f = front__of(c);
    return f && f->body && f->body->no == no && f->state == FRONT_PARKED ? f->body : NULL;
}

/* Begins the body of the current request. False: no memory, and the connection is cut. */
bool front__body_begin(struct http__front *f, const struct wr_http_body_ops *ops, void *user)
{
    f->body = http__body_new(f->c, f, f->no, f->ask->is_chunked, f->ask->content_length, ops, user);
    if (!f->body) {
        wr_conn_cut(f->c);
        return false;
    }
    f->body->owes_continue = f->ask->expects_continue;
    wr_conn_wake(f->c, front__body_look_ms(f));
    front__pause(f, false);
    return true;
}

void front__body_collect(struct http__front *f)
{
    f->state = FRONT_COLLECT;
    if (front__body_begin(f, &collect_ops, f))
        front__flow(f);
}
