/* SPDX-License-Identifier: MIT
 *
 * The front: a client's connection while it speaks HTTP. It reads heads without a thread, has the request decided (pool.c,
 * http.c), and carries the verdict out: answers, files by sendfile, pieces, bodies, or another life as a WebSocket or an
 * endless answer. Everything here runs on the connection's plane thread.
 *
 * One request is under way at a time, so that answers keep the order of the requests; bytes behind it stay in the kernel,
 * or in `in` when one read brought them. */
#include "ahead.h"
#include "http_priv.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define REFUSED_MS 2000u /* a client without a place has so long to say what it wants */
#define LOOK_MS 5000u    /* at whoever waits for something of the client's or the workers' */
#define BODY_READS 4u    /* in one turn */

enum state {
    FRONT_HEAD = 1, /* between requests, or a head is coming */
    FRONT_COLLECT,  /* a small body is read before the worker is asked */
    FRONT_ASKED,
    FRONT_PARKED, /* its body may flow */
    FRONT_FILE,
    FRONT_PIECES,
};

struct http__front {
    struct wr_http *h;
    struct wr_conn *c;
    enum state state;
    uint32_t no;
    bool keep, is_paused, is_draining, is_closing;
    /* bytes that were read and not used */
    uint8_t *in;
    size_t n_in, cap_in, scanned;
    int64_t until_ms; /* HEAD, PARKED: a deadline */
    struct http__ask *ask;
    struct wr_http_body *body;
    struct wr_buf *collected;
    struct wr_http_park park;
    struct sending *out;
};

struct sending {
    int fd;
    uint64_t offset, left;
    uint64_t here_until; /* bytes before it need no disk */
    bool is_reading;     /* those at offset are brought from it */
    /* pieces: */
    const struct wr_http_source *source;
    void *user;
    bool chunked, is_ended, was_asked, is_bounded;
};

static const struct wr_conn_ops front_ops;
static void go_on(struct http__front *f);

static struct http__front *front_of(struct wr_conn *c)
{
    return wr_conn_user_of(c, &front_ops);
}

/* ---- asks ---- */

struct http__ask *http__ask_ref(struct http__ask *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void http__ask_unref(struct http__ask *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    union {
        const uint8_t *in;
        void *out;
    } p = {.in = a->body.p};
    free(p.out);
    http__unref(a->http);
    free(a);
}

/* Those of the connection, which the plane has dealt with, and copies of our own. */
static bool is_passed_on(struct wr_slice name)
{
    static const char *const own[] = {"Connection",
                                      "Keep-Alive",
                                      "Proxy-Connection",
                                      "Transfer-Encoding",
                                      "Content-Length",
                                      "Expect",
                                      "TE",
                                      "Trailer",
                                      "Host",
                                      HTTP__ASK_HEADER};
    for (size_t i = 0; i < WR_ARRAY_LEN(own); i++)
        if (name.n == strlen(own[i]) && strncasecmp((const char *)name.p, own[i], name.n) == 0)
            return false;
    return true;
}

static char *put(char *to, const void *p, size_t n)
{
    if (n) /* of an empty value p may be NULL */
        memcpy(to, p, n);
    return to + n;
}

static char *put_text(char *to, const char *text)
{
    return put(to, text, strlen(text));
}

/* The head as civetweb gets it, written anew: one Host, an origin-form target, no word of the connection's. */
static struct http__ask *ask_new(struct http__front *f, const struct http__head *h)
{
    size_t n = h->method.n + h->target.n + h->host.n + 200;
    for (uint32_t i = 0; i < h->num_fields; i++)
        n += h->fields[i].name.n + h->fields[i].value.n + 4;
    struct http__ask *a = malloc(sizeof *a + n);
    if (!a)
        return NULL;
    *a = (struct http__ask){.http = f->h,
                            .plane = f->h->plane,
                            .conn = wr_conn_id(f->c),
                            .no = ++f->no,
                            .peer = *wr_conn_peer(f->c),
                            .keep_alive = h->keep_alive && !f->is_draining,
                            .is_11 = h->is_11,
                            .is_head = wr_slice_is(h->method, "HEAD"),
                            .wants_upgrade = h->wants_upgrade,
                            .expects_continue = h->expects_continue,
                            .is_chunked = h->is_chunked,
                            .content_length = h->content_length};
    atomic_init(&a->refs, 1);
    atomic_init(&a->rest_over, false);
    atomic_fetch_add_explicit(&f->h->refs, 1, memory_order_relaxed);
    char *to = put(a->text, h->method.p, h->method.n);
    *to++ = ' ';
    to = h->target.n ? put(to, h->target.p, h->target.n) : put_text(to, "/");
    to = put_text(to, " HTTP/1.1\r\n" HTTP__ASK_HEADER ": ");
    wr_hex(to, f->h->secret, HTTP__SECRET);
    to += 2 * HTTP__SECRET;
    a->slot_at = (size_t)(to - a->text);
    to = put_text(to, "00000000\r\nHost: ");
    a->host = wr_slice_of(to, h->host.n);
    to = put(to, h->host.p, h->host.n);
    to = put_text(to, "\r\n");
    for (uint32_t i = 0; i < h->num_fields; i++) {
        const struct http__field *x = &h->fields[i];
        if (!is_passed_on(x->name))
            continue;
        to = put(to, x->name.p, x->name.n);
        to = put_text(to, ": ");
        to = put(to, x->value.p, x->value.n);
        to = put_text(to, "\r\n");
    }
    to = put_text(to, "\r\n");
    a->n_text = (size_t)(to - a->text);
    return a;
}

/* ---- bytes that wait ---- */

static void pause_reading(struct http__front *f, bool pause)
{
    if (f->is_paused == pause)
        return;
    f->is_paused = pause;
    wr_conn_pause(f->c, pause);
}

/* Keeps bytes that lie behind those that are kept. False: no memory. */
static bool keep_bytes(struct http__front *f, const uint8_t *p, size_t n)
{
    if (f->cap_in - f->n_in < n) {
        size_t cap = 512;
        while (cap < f->n_in + n)
            cap *= 2;
        uint8_t *in = realloc(f->in, cap);
        if (!in)
            return false;
        f->in = in;
        f->cap_in = cap;
    }
    if (n)
        memcpy(f->in + f->n_in, p, n);
    f->n_in += n;
    return true;
}

static void use_bytes(struct http__front *f, size_t n)
{
    f->n_in -= n;
    if (f->n_in) {
        memmove(f->in, f->in + n, f->n_in);
    } else { /* an idle connection has no memory for bytes */
        free(f->in);
        f->in = NULL;
        f->cap_in = 0;
    }
}

/* Ends a connection that owes nothing: there is nothing to linger for. */
static void leave(struct http__front *f, uint16_t code, const char *why)
{
    f->is_closing = true;
    if (wr_conn_queued(f->c))
        wr_conn_close(f->c, code, why);
    else
        wr_conn_cut(f->c);
}

/* ---- answering ---- */

static void forget_request(struct http__front *f)
{
    http__ask_unref(f->ask);
    f->ask = NULL;
    if (f->state == FRONT_PARKED)
        wr_gauge_add(&http__g_parked, -1);
    f->park = (struct wr_http_park){.gone = NULL};
    f->state = FRONT_HEAD;
}

/* The answer is with the connection's queue: on with the next request, or the end. */
static void answered(struct http__front *f, bool keep)
{
    if (f->body)
        http__body_end(&f->body, WR_BODY_ANSWERED);
    forget_request(f);
    f->scanned = 0;
    if (!keep || f->is_draining) {
        f->is_closing = true;
        wr_conn_close(f->c, 1000, "answered");
        return;
    }
    f->until_ms = wr_mono_ms() + (f->n_in ? HTTP__HEAD_MS : HTTP__IDLE_MS);
    wr_conn_wake(f->c, f->n_in ? HTTP__HEAD_MS : HTTP__IDLE_MS);
    pause_reading(f, false);
}

static void say(struct http__front *f, struct wr_frame *frame)
{
    if (frame)
        wr_conn_send(f->c, frame);
    else
        wr_conn_cut(f->c);
    wr_frame_unref(frame);
}

static void do_reply(struct http__front *f, struct http__verdict *v)
{
    bool keep = v->keep;
    say(f, v->frame);
    v->frame = NULL;
    free(v);
    answered(f, keep);
}

static void refuse(struct http__front *f, int status, const char *extra, const char *why)
{
    bool is_head = f->ask && f->ask->is_head;
    do_reply(f, http__error_new(f->ask, false, is_head, status, extra, why));
}

/* ---- files ---- */

static void sending_free(struct http__front *f, bool is_whole)
{
    struct sending *s = f->out;
    f->out = NULL;
    if (!s)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->source)
        s->source->end(s->user, is_whole);
    free(s);
}

/* What was parked is answered. */
static void stop_waiting(struct http__front *f)
{
    if (f->state == FRONT_PARKED)
        wr_gauge_add(&http__g_parked, -1);
    f->park = (struct wr_http_park){.gone = NULL};
}

static bool sending_new(struct http__front *f, struct http__verdict *v)
{
    f->keep = v->keep;
    f->out = calloc(1, sizeof *f->out);
    if (!f->out) {
        http__verdict_drop(v);
        wr_conn_cut(f->c);
        return false;
    }
    *f->out = (struct sending){.fd = v->fd,
                               .offset = v->offset,
                               .left = v->kind == HTTP__FILE ? v->n
                                       : v->length >= 0      ? (uint64_t)v->length
                                                             : 0,
                               .source = v->source,
                               .user = v->user,
                               .chunked = v->chunked,
                               .is_bounded = v->kind == HTTP__FILE || v->length >= 0};
    v->fd = -1;
    v->source = NULL;
    return true;
}

/* Bytes of a file on their way from the disk. */
struct reading {
    struct wr_plane *plane;
    struct wr_conn_id conn;
    uint32_t no;
    uint64_t until;
};

static void file_turn(struct http__front *f);

static void handle_here(struct wr_conn *c, void *arg)
{
    struct reading *r = arg;
    struct http__front *f = c ? front_of(c) : NULL;
    if (f && f->state == FRONT_FILE && f->no == r->no) {
        f->out->is_reading = false;
        f->out->here_until = r->until;
        file_turn(f);
    }
    free(r);
}

static void tell_here(void *ctx)
{
    struct reading *r = ctx;
    wr_plane_post(r->plane, r->conn, handle_here, r);
}

/* The next turn's bytes need no disk. False: somebody else waits for it, and then the turn comes. */
static bool is_here(struct http__front *f)
{
    struct sending *s = f->out;
    size_t n = (size_t)WR_MIN(s->left, HTTP__FILE_TURN);
    if (s->offset < s->here_until || !f->h->ahead || http__ahead_is_here(s->fd, s->offset, n))
        return true;
    n = (size_t)WR_MIN(s->left, HTTP__AHEAD_BYTES);
    struct reading *r = malloc(sizeof *r);
    if (r)
        *r = (struct reading){f->h->plane, wr_conn_id(f->c), f->no, s->offset + n};
    s->is_reading = r && http__ahead_read(f->h->ahead, s->fd, s->offset, n, tell_here, r);
    if (!s->is_reading)
        free(r);
    return !s->is_reading;
}

/* One turn of a file: half a MiB at most, so that the thread's others have theirs. */
static void file_turn(struct http__front *f)
{
    struct sending *s = f->out;
    uint64_t turn = HTTP__FILE_TURN;
    if (s->is_reading || !is_here(f))
        return;
    while (s->left && turn) {
        ptrdiff_t n = wr_conn_send_file(f->c, s->fd, s->offset, (size_t)WR_MIN(s->left, turn));
        if (n == -1) /* shorter than was promised */
            wr_conn_cut(f->c);
        if (n <= 0)
            return;
        s->offset += (uint64_t)n;
        s->left -= (uint64_t)n;
        turn -= (uint64_t)n;
    }
    if (s->left) {
        wr_conn_again(f->c);
        return;
    }
    sending_free(f, true);
    answered(f, f->keep);
    go_on(f);
}

static void do_file(struct http__front *f, struct http__verdict *v)
{
    if (!v->frame || v->n == 0) {
        if (v->fd >= 0)
            (void)close(v->fd);
        v->fd = -1;
        do_reply(f, v);
        return;
    }
    struct wr_frame *head = v->frame;
    if (!sending_new(f, v))
        return;
    stop_waiting(f);
    f->state = FRONT_FILE;
    wr_conn_more_follows(f->c);
    say(f, head);
    v->frame = NULL;
    free(v);
}

/* ---- pieces ---- */

static struct wr_http_to to_of(struct http__front *f)
{
    return (struct wr_http_to){f->h->plane, wr_conn_id(f->c), f->no};
}

static void ask_for_more(struct http__front *f)
{
    struct sending *s = f->out;
    if (s->is_ended || s->was_asked || wr_conn_queued(f->c) >= HTTP__LOW_BYTES)
        return;
    s->was_asked = true;
    s->source->more(to_of(f), s->user);
}

static void pieces_turn(struct http__front *f)
{
    if (!f->out->is_ended) {
        ask_for_more(f);
        return;
    }
    if (wr_conn_queued(f->c))
        return;
    sending_free(f, true);
    answered(f, f->keep);
    go_on(f);
}

static void do_pieces(struct http__front *f, struct http__verdict *v)
{
    struct wr_frame *head = v->frame;
    bool none = v->no_body || v->length == 0;
    if (!sending_new(f, v))
        return;
    stop_waiting(f);
    f->state = FRONT_PIECES;
    f->out->is_ended = none;
    say(f, head);
    v->frame = NULL;
    free(v);
    if (!none)
        ask_for_more(f);
}

enum given { GIVEN_BYTES, GIVEN_END, GIVEN_UP };
struct gift {
    uint32_t no;
    enum given what;
    struct wr_msg *msg;
    struct wr_slice bytes;
};

static void put_piece(struct http__front *f, const struct gift *g)
{
    struct sending *s = f->out;
    char line[24];
    int n = s->chunked ? snprintf(line, sizeof line, "%zx\r\n", g->bytes.n) : 0;
    struct wr_frame_part parts[3] = {{.bytes = wr_slice_of(line, (size_t)n)},
                                     {.bytes = g->bytes, .msg = g->msg},
                                     {.bytes = wr_slice_str(s->chunked ? "\r\n" : "")}};
    if (g->bytes.n == 0)
        return;
    if (s->is_bounded && g->bytes.n > s->left) {
        wr_conn_cut(f->c);
        return;
    }
    if (s->is_bounded)
        s->left -= g->bytes.n;
    say(f, wr_frame_plain_of(parts, 3));
    s->was_asked = false;
    if (s->is_bounded && s->left == 0)
        s->is_ended = true;
    else
        ask_for_more(f);
}

static void put_end(struct http__front *f)
{
    struct sending *s = f->out;
    if (s->is_ended)
        return;
    if (s->is_bounded && s->left) {
        wr_conn_cut(f->c);
        return;
    }
    s->is_ended = true;
    if (s->chunked)
        say(f, wr_frame_plain(wr_slice_str("0\r\n\r\n")));
    wr_conn_again(f->c);
}

static void run_gift(struct wr_conn *c, void *arg)
{
    struct gift *g = arg;
    struct http__front *f = front_of(c);
    if (f && f->state == FRONT_PIECES && f->no == g->no) {
        if (g->what == GIVEN_BYTES && !f->out->is_ended)
            put_piece(f, g);
        else if (g->what == GIVEN_END)
            put_end(f);
        else if (g->what == GIVEN_UP)
            wr_conn_cut(c);
    }
    wr_msg_unref(g->msg);
    free(g);
}

static void post_gift(struct wr_http_to to, enum given what, struct wr_msg *msg,
                      struct wr_slice bytes)
{
    size_t copied = msg ? 0 : bytes.n;
    struct gift *g = malloc(sizeof *g + copied);
    if (!g)
        abort(); /* an answer would never end */
    *g = (struct gift){to.no, what, msg, bytes};
    if (copied) {
        memcpy(g + 1, bytes.p, copied);
        g->bytes = wr_slice_of(g + 1, copied);
    }
    wr_plane_post(to.plane, to.conn, run_gift, g);
}

void wr_http_give(struct wr_http_to to, struct wr_msg *msg, struct wr_slice bytes)
{
    post_gift(to, GIVEN_BYTES, msg, bytes);
}

void wr_http_give_end(struct wr_http_to to)
{
    post_gift(to, GIVEN_END, NULL, (struct wr_slice){0});
}

void wr_http_give_up(struct wr_http_to to)
{
    post_gift(to, GIVEN_UP, NULL, (struct wr_slice){0});
}

/* ---- bodies ---- */

/* Only when the body is about to be read: who pauses it at first may still refuse it unsent. */
static void say_continue(struct http__front *f)
{
    bool owes = f->body->owes_continue && !f->body->is_paused;
    if (!owes)
        return;
    f->body->owes_continue = false;
    if (!f->n_in)
        say(f, wr_frame_plain(wr_slice_str("HTTP/1.1 100 Continue\r\n\r\n")));
}

static void submit(struct http__front *f)
{
    f->state = FRONT_ASKED;
    wr_conn_wake(f->c, LOOK_MS);
    if (!http__pool_submit(f->h, wr_conn_thread(f->c), http__ask_ref(f->ask)))
        refuse(f, 503, "Retry-After: 2\r\n", "the server is too busy; try again");
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
        refuse(f, 413, NULL, "the body is too long: at most 64 KiB are taken here");
    else if (no_memory || how == WR_BODY_DRAINING)
        refuse(f, 503, "Retry-After: 2\r\n", "the server has no room now; try again");
    else if (how == WR_BODY_WHOLE)
        submit(f);
    else if (how == WR_BODY_STALLED)
        refuse(f, 408, NULL, "the body made no progress");
    else
        refuse(f, 400, NULL,
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

static void body_over(struct http__front *f, enum wr_http_body_end how)
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
static void flow(struct http__front *f)
{
    enum wr_http_body_end how = 0;
    say_continue(f);
    if (f->n_in && !f->body->is_paused) {
        uint8_t *in = f->in; /* a callback does not change it, but the memory is given back below */
        size_t used = http__body_feed(f->body, in, f->n_in, &how);
        use_bytes(f, used);
    }
    for (unsigned i = 0; !how && i < BODY_READS && f->body && !f->body->is_paused; i++) {
        struct wr_slice extra;
        bool more = http__body_read(f->body, &extra, &how);
        if (extra.n && !keep_bytes(f, extra.p, extra.n))
            wr_conn_cut(f->c);
        if (!more || is_too_long(f))
            break;
    }
    if (f->body && is_too_long(f))
        how = WR_BODY_WHOLE; /* collected() says so */
    if (how)
        body_over(f, how);
}

void http__front_body_paused(struct http__front *f, bool pause)
{
    pause_reading(f, pause);
    if (!pause) /* what was read already waits in `in`: looked at in the next turn */
        wr_conn_again(f->c);
}

struct wr_http_body *http__front_body(struct wr_conn *c, uint32_t no)
{
    struct http__front *f = front_of(c);
    return f && f->body && f->body->no == no && f->state == FRONT_PARKED ? f->body : NULL;
}

/* Begins the body of the current request. False: no memory, and the connection is cut. */
static bool begin_body(struct http__front *f, const struct wr_http_body_ops *ops, void *user)
{
    f->body = http__body_new(f->c, f, f->no, f->ask->is_chunked, f->ask->content_length, ops, user);
    if (!f->body) {
        wr_conn_cut(f->c);
        return false;
    }
    f->body->owes_continue = f->ask->expects_continue;
    wr_conn_wake(f->c, LOOK_MS);
    pause_reading(f, false);
    return true;
}

/* ---- parking ---- */

static void gone(struct http__front *f)
{
    struct wr_http_park p = f->park;
    f->park.gone = NULL;
    if (p.gone)
        p.gone(p.user);
}

static void do_park(struct http__front *f, struct http__verdict *v)
{
    const struct wr_http_body_ops *ops = v->body;
    void *user = v->body_user;
    f->park = v->park;
    free(v);
    f->state = FRONT_PARKED;
    wr_gauge_add(&http__g_parked, 1);
    uint32_t ms = f->park.deadline_ms ? f->park.deadline_ms : HTTP__PARK_MS;
    f->until_ms = wr_mono_ms() + ms;
    wr_conn_wake(f->c, ops ? LOOK_MS : ms);
    if (!ops)
        return;
    if (!f->ask->has_rest) {
        struct wr_http_body none = {.front = f, .conn = f->c, .no = f->no};
        if (ops->begin)
            ops->begin(&none, user);
        none.is_over = true;
        ops->end(&none, user, WR_BODY_WHOLE);
        return;
    }
    if (!begin_body(f, ops, user)) {
        ops->end(NULL, user, WR_BODY_LEFT);
        return;
    }
    if (ops->begin)
        ops->begin(f->body, user);
    if (f->is_draining)
        body_over(f, WR_BODY_DRAINING);
    else
        flow(f);
}

/* ---- verdicts ---- */

static void do_become(struct http__front *f, struct http__verdict *v)
{
    struct wr_conn *c = f->c;
    if (v->frame) {
        wr_conn_send(c, v->frame);
        wr_frame_unref(v->frame);
    }
    struct wr_conn_opts o = v->conn;
    free(v);
    forget_request(f);
    uint8_t *in = f->in;
    size_t n = f->n_in;
    free(f);
    wr_conn_become(c, &o, wr_slice_of(in, n));
    free(in);
}

static void carry_out(struct http__front *f, struct http__verdict *v)
{
    switch (v->kind) {
    case HTTP__REPLY:
        do_reply(f, v);
        break;
    case HTTP__FILE:
        do_file(f, v);
        break;
    case HTTP__PIECES:
        do_pieces(f, v);
        break;
    case HTTP__PARK:
        do_park(f, v);
        break;
    case HTTP__UPGRADE:
    case HTTP__HAND_OVER:
        do_become(f, v);
        return;
    }
    go_on(f);
}

void http__front_verdict(struct wr_conn *c, struct http__ask *ask, struct http__verdict *v)
{
    struct http__front *f = front_of(c);
    bool waits = f && f->ask == ask &&
                 (f->state == FRONT_ASKED || (f->state == FRONT_PARKED && v->kind != HTTP__PARK));
    if (!waits) {
        http__verdict_drop(v);
        return;
    }
    if (f->body) /* an early answer */
        http__body_end(&f->body, WR_BODY_ANSWERED);
    carry_out(f, v);
}

void http__front_failed(struct wr_conn *c, struct http__ask *ask, int status, const char *why)
{
    struct http__front *f = front_of(c);
    if (!f || f->ask != ask || f->state != FRONT_ASKED)
        return;
    refuse(f, status, status == 503 ? "Retry-After: 2\r\n" : NULL, why);
}

/* ---- heads ---- */

static bool is_known_method(struct wr_slice m)
{
    /* Those that civetweb reads; what a path does not take is answered 405 by the route. */
    static const char *const names[] = {"GET",    "HEAD",    "POST",     "PUT",  "PATCH",
                                        "DELETE", "OPTIONS", "PROPFIND", "MKCOL"};
    for (size_t i = 0; i < WR_ARRAY_LEN(names); i++)
        if (wr_slice_is(m, names[i]))
            return true;
    return false;
}

/* The body first, if it is small and wanted or to be dropped; else the worker is asked at the head. */
static void begin_request(struct http__front *f, const struct http__head *h)
{
    bool has_body = h->is_chunked || h->content_length > 0;
    const struct wr_http_route *route = has_body ? http__route_of(f->h, h->target) : NULL;
    enum wr_http_body_kind kind = route ? route->body : WR_BODY_NONE;
    f->ask->has_rest = has_body;
    if (has_body && kind == WR_BODY_SMALL && h->content_length > (int64_t)WR_BODY_SMALL_BYTES) {
        refuse(f, 413, NULL, "the body is too long: at most 64 KiB are taken here");
        return;
    }
    bool drop = kind == WR_BODY_NONE && !h->is_chunked && !h->expects_continue &&
                h->content_length <= (int64_t)WR_BODY_SMALL_BYTES;
    if (!has_body || (kind != WR_BODY_SMALL && !drop)) {
        submit(f);
        return;
    }
    f->state = FRONT_COLLECT;
    if (kind == WR_BODY_SMALL && !(f->collected = calloc(1, sizeof *f->collected))) {
        wr_conn_cut(f->c);
        return;
    }
    if (begin_body(f, &collect_ops, f))
        flow(f);
}

static void begin(struct http__front *f, const struct http__head *h)
{
    wr_count(&http__m_requests, 1);
    f->ask = ask_new(f, h);
    if (!f->ask) {
        wr_conn_cut(f->c);
        return;
    }
    const char *no_place = wr_conn_refused(f->c);
    if (no_place) {
        refuse(f, 503, "Retry-After: 2\r\n", no_place);
    } else if (!is_known_method(h->method)) {
        refuse(f, 501, NULL, "this method is not known here");
    } else if (h->form == HTTP__ASTERISK_FORM) {
        bool keep = f->ask->keep_alive && !h->is_chunked && h->content_length <= 0;
        do_reply(f, http__reply_new(f->ask, keep, false, 204, NULL,
                                    "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
                                    (struct wr_slice){0}));
    } else {
        begin_request(f, h);
    }
}

/* One head out of p (`in` itself, or bytes just read). False: it is not whole, or the connection ends. */
static bool one_head(struct http__front *f, const uint8_t *p, size_t n)
{
    struct http__head h;
    const char *why = "";
    ptrdiff_t len = http__head_parse(p, n, &f->scanned, &h, &why);
    bool is_kept = p == f->in;
    if (len <= 0) {
        if (len == 0) {
            bool first = f->n_in == 0;
            if (!is_kept && !keep_bytes(f, p, n))
                wr_conn_cut(f->c);
            if (first) {
                f->until_ms = wr_mono_ms() + HTTP__HEAD_MS;
                wr_conn_wake(f->c, HTTP__HEAD_MS);
            }
            return false;
        }
        wr_count(&http__m_bad_heads, 1);
        refuse(f, (int)-len, NULL, why);
        return false;
    }
    f->scanned = 0;
    f->keep = h.keep_alive;
    /* h lies in p: what is behind the head may only be moved when the request was made of it. */
    if (!is_kept && n > (size_t)len && !keep_bytes(f, p + len, n - (size_t)len)) {
        wr_conn_cut(f->c);
        return false;
    }
    if (is_kept) {
        uint8_t *head = f->in;
        size_t rest = n - (size_t)len;
        f->in = NULL;
        f->n_in = f->cap_in = 0;
        if (rest && !keep_bytes(f, head + len, rest))
            wr_conn_cut(f->c);
        begin(f, &h);
        free(head);
    } else {
        begin(f, &h);
    }
    return true;
}

/* Lines that are empty may come before a request (RFC 9112, 2.2): some clients send one behind a body. */
static size_t empty_lines(const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (n - at >= 2 && at < 8 && p[at] == '\r' && p[at + 1] == '\n')
        at += 2;
    return at;
}

/* The requests that are here already, until one of them has to wait for something. */
static void go_on(struct http__front *f)
{
    while (f->state == FRONT_HEAD && f->n_in && !f->is_closing) {
        if (wr_conn_queued(f->c) >= HTTP__LOW_BYTES) {
            pause_reading(f, true); /* it sends and does not read: `drained` goes on */
            return;
        }
        size_t skip = f->scanned ? 0 : empty_lines(f->in, f->n_in);
        if (skip) {
            use_bytes(f, skip);
            continue;
        }
        if (!one_head(f, f->in, f->n_in))
            return;
    }
}

static void read_head(struct http__front *f)
{
    size_t room;
    uint8_t *to = wr_conn_scratch(f->c, &room);
    bool had = f->n_in != 0;
    ptrdiff_t n = wr_conn_recv(f->c, to, room);
    if (n == 0) /* a half-closed client was answered; there is nothing more to say */
        leave(f, 1000, "closed by the client");
    if (n <= 0)
        return;
    size_t skip = had ? 0 : empty_lines(to, (size_t)n);
    if (had || skip) {
        if (!keep_bytes(f, to + skip, (size_t)n - skip))
            wr_conn_cut(f->c);
    } else {
        (void)one_head(f, to, (size_t)n);
    }
    go_on(f);
}

/* ---- callbacks of the plane ---- */

static void handle_open(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    f->c = c;
    uint32_t ms = wr_conn_refused(c) ? REFUSED_MS : HTTP__HEAD_MS;
    f->until_ms = wr_mono_ms() + ms;
    wr_conn_wake(c, ms);
}

static void handle_readable(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    (void)c;
    if (f->body)
        flow(f);
    else if (f->state == FRONT_HEAD)
        read_head(f);
    else
        pause_reading(f, true); /* its turn comes after the answer */
    if (!f->body)
        go_on(f);
}

static void handle_drained(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    (void)c;
    if (f->state == FRONT_FILE) {
        file_turn(f);
    } else if (f->state == FRONT_PIECES) {
        pieces_turn(f);
    } else if (f->body && !f->body->is_paused && (f->n_in || f->body->owes_continue)) {
        flow(f);
    } else if (f->state == FRONT_HEAD) {
        pause_reading(f, false);
        go_on(f);
    }
}

static void look_at_head(struct http__front *f)
{
    wr_count(&http__m_late_heads, 1);
    if (f->n_in)
        refuse(f, 408, NULL, "the request's head did not come whole in time");
    else
        leave(f, 1000, "idle");
}

static void look_at_parked(struct http__front *f)
{
    if (f->body) {
        if (http__body_is_slow(f->body, wr_mono_ms()))
            body_over(f, WR_BODY_STALLED);
        return;
    }
    if (wr_mono_ms() < f->until_ms)
        return;
    struct wr_http_park p = f->park;
    f->park.gone = NULL;
    refuse(f, 504, NULL, "the answer took too long");
    if (p.gone)
        p.gone(p.user);
}

static void handle_wake(struct wr_conn *c, void *user)
{
    struct http__front *f = user;
    int64_t now = wr_mono_ms();
    if (f->state == FRONT_HEAD && now >= f->until_ms)
        look_at_head(f);
    else if (f->state == FRONT_COLLECT && f->body && http__body_is_slow(f->body, now))
        body_over(f, WR_BODY_STALLED);
    else if (f->state == FRONT_ASKED)
        http__pool_look(f->h, wr_conn_thread(c), now);
    else if (f->state == FRONT_PARKED)
        look_at_parked(f);
    if (f->state == FRONT_HEAD)
        wr_conn_wake(c, (uint32_t)WR_MAX(f->until_ms - now, 1));
    else if (f->state == FRONT_PARKED && !f->body)
        wr_conn_wake(c, (uint32_t)WR_MAX(f->until_ms - now, 1));
    else
        wr_conn_wake(c, LOOK_MS);
}

static void handle_drain(struct wr_conn *c, void *user)
{
    (void)c;
    struct http__front *f = user;
    f->is_draining = true;
    if (f->state == FRONT_HEAD) {
        leave(f, 1001, "shutting down");
    } else if (f->body) {
        body_over(f, WR_BODY_DRAINING);
    } else if (f->state == FRONT_PARKED) {
        struct wr_http_park p = f->park;
        f->park.gone = NULL;
        refuse(f, 503, "Retry-After: 2\r\n", "the server is shutting down; try again");
        if (p.gone)
            p.gone(p.user);
    }
}

static void handle_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    (void)why;
    struct http__front *f = user;
    if (f->body)
        http__body_end(&f->body, WR_BODY_LEFT);
    if (f->state == FRONT_PARKED)
        gone(f);
    sending_free(f, false);
    forget_request(f);
    if (f->collected)
        wr_buf_free(f->collected);
    free(f->collected);
    free(f->in);
    free(f);
}

static const struct wr_conn_ops front_ops = {.open = handle_open,
                                             .readable = handle_readable,
                                             .drained = handle_drained,
                                             .wake = handle_wake,
                                             .drain = handle_drain,
                                             .close = handle_close};

/* ---- listening ---- */

static bool on_accept(void *ctx, const struct wr_addr *peer, struct wr_conn_opts *o)
{
    (void)peer;
    struct http__front *f = calloc(1, sizeof *f);
    if (!f)
        return false;
    f->h = ctx;
    f->state = FRONT_HEAD;
    *o = (struct wr_conn_opts){
        .transport = WR_TRANSPORT_STREAM, .policy = WR_QUEUE_OWN, .ops = &front_ops, .user = f};
    return true;
}

static bool is_exempt(void *ctx, const struct wr_addr *peer)
{
    return http__is_proxy(ctx, peer);
}

#define REFUSAL(length, text)                                                               \
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n" \
    "Content-Length: " length "\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"             \
    "{\"error\":{\"code\":503,\"message\":\"" text "\"}}\n"

wr_err http__front_listen(struct wr_http *h, struct wr_errmsg *err)
{
    static const char refusal[] = REFUSAL(
        "104", "the gateway has as many connections as it may; try again in a moment");
    static const char farewell[] = REFUSAL("87",
                                           "the gateway is shutting down; try again in a moment");
    struct wr_listen_opts o = {.address = h->listen,
                               .accept = on_accept,
                               .ctx = h,
                               .per_address = h->per_address,
                               .is_exempt = is_exempt,
                               .refusal = wr_slice_of(refusal, sizeof refusal - 1),
                               .farewell = wr_slice_of(farewell, sizeof farewell - 1),
                               .hears_refused = true};
    struct wr_errmsg why = {{0}};
    wr_err e = wr_plane_listen(h->plane, &o, &h->listener, &why);
    if (e != WR_OK)
        wr_errmsg_set(err, "gateway.%s: %s; choose another address with --%s", h->key, why.text,
                      h->key);
    return e;
}
