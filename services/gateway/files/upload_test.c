/* SPDX-License-Identifier: MIT
 *
 * Claims about an upload's turns, with a client and a filestore that are played here: what is asked when, what waits for
 * what, how much of a body is held, and what the client hears. All of it is one thread: what is posted runs after each step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "upload.h"
#include "wr_pb.h"

#define ID "abcdefghij0123456789abcdef"

/* ---- the client's side, played ---------------------------------------------------------------------------------------- */

struct wr_http_later {
    struct client *c;
};
struct wr_http_body {
    struct client *c;
};
struct client {
    struct wr_http_later later;
    struct wr_http_body body;
    const struct wr_http_body_ops *ops;
    struct wr_http_park park;
    void *user;
    bool is_paused, is_over;
    int status; /* 0: not answered yet */
    char lines[2048], text[512];
    uint64_t sent; /* bytes; each is its offset mod 251 */
};
static struct client clients[64];
static unsigned num_clients;

static struct client *client_of(struct wr_http_to to)
{
    return &clients[to.no];
}

struct wr_http_later *wr_http_take_body(struct wr_http_req *r, const struct wr_http_body_ops *ops,
                                        void *user, const struct wr_http_park *park)
{
    struct client *c = &clients[num_clients++];
    (void)r;
    *c = (struct client){.ops = ops, .user = user, .park = *park};
    c->later.c = c->body.c = c;
    return &c->later;
}
void wr_http_body_pause(struct wr_http_body *b, bool pause)
{
    b->c->is_paused = pause;
}
struct wr_http_to wr_http_body_to(const struct wr_http_body *b)
{
    return (struct wr_http_to){.no = (uint32_t)(b->c - clients)};
}
static struct {
    struct wr_http_to to;
    wr_http_body_fn fn;
    void *arg;
} posts[1024];
static unsigned num_posts;
void wr_http_body_post(struct wr_http_to to, wr_http_body_fn fn, void *arg)
{
    assert_true(num_posts < WR_ARRAY_LEN(posts));
    posts[num_posts].to = to;
    posts[num_posts].fn = fn;
    posts[num_posts++].arg = arg;
}
/* The plane thread's next turn: after each step of the client or the filestore. */
static void run_posts(void)
{
    for (unsigned i = 0; i < num_posts; i++) {
        struct client *c = client_of(posts[i].to);
        posts[i].fn(c->is_over ? NULL : &c->body, posts[i].arg);
    }
    num_posts = 0;
}
static void answered(struct wr_http_later **l, int status, const char *lines)
{
    struct client *c = (*l)->c;
    *l = NULL;
    assert_int_equal(c->status, 0); /* once */
    c->status = status;
    snprintf(c->lines, sizeof c->lines, "%s", lines);
}
void wr_http_later_reply(struct wr_http_later **l, int status, const char *type, const char *extra,
                         struct wr_slice body)
{
    (void)type;
    assert_int_equal(body.n, 0);
    answered(l, status, extra);
}
void wr_http_later_error(struct wr_http_later **l, int status, const char *extra, const char *fmt,
                         ...)
{
    struct client *c = (*l)->c;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->text, sizeof c->text, fmt, ap);
    va_end(ap);
    answered(l, status, extra);
}
void files_fail_later(struct wr_http_later **l, const char *lines, wr_err code, const char *text)
{
    wr_http_later_error(l, wr_err_http(code), lines, "%s", text);
}
void files_fail(struct wr_http_req *r, const char *lines, wr_err code, const char *text)
{
    (void)lines;
    (void)text;
    r->status = wr_err_http(code);
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset % 251);
}

/* What a socket with `n` bytes does: as many reads as the upload takes. Returns how many it took. */
static uint64_t send_bytes(struct client *c, uint64_t n)
{
    uint64_t left = n;
    while (left && !c->is_paused && !c->status) {
        uint8_t *p;
        size_t room;
        c->ops->buffer(&c->body, c->user, &p, &room);
        if (!room) {
            c->is_paused = true;
            break;
        }
        size_t got = (size_t)WR_MIN(left, room);
        for (size_t i = 0; i < got; i++)
            p[i] = byte_at(c->sent + i);
        c->sent += got;
        left -= got;
        c->ops->data(&c->body, c->user, wr_slice_of(p, got));
        run_posts();
    }
    run_posts();
    return n - left;
}

/* A piece of a chunked body: it lies elsewhere. */
static void send_piece(struct client *c, size_t n)
{
    uint8_t *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(c->sent + i);
    c->sent += n;
    c->ops->data(&c->body, c->user, wr_slice_of(p, n));
    free(p);
    run_posts();
}

static void body_ends(struct client *c, enum wr_http_body_end how)
{
    c->is_over = true;
    c->ops->end(&c->body, c->user, how);
    run_posts();
}

/* What the plane does once an answer is out. */
static void close_client(struct client *c)
{
    assert_int_not_equal(c->status, 0);
    if (!c->is_over)
        body_ends(c, WR_BODY_ANSWERED);
}

static void assert_said(const struct client *c, int status, const char *line)
{
    if (c->status != status || !strstr(c->lines, line))
        fail_msg("%d instead of %d with %s in:\n%s%s", c->status, status, line, c->lines, c->text);
}

/* ---- the filestore's side, played -------------------------------------------------------------------------------------- */

struct call {
    char method[48];
    char id[FILES_ID_ROOM];
    struct wr_msg *body;
    uint32_t ms;
    wr_bus_done_fn done;
    void *ctx;
    /* of a write: */
    uint64_t offset;
    struct wr_slice data;
    bool sync;
};
static struct call calls[4096];
static unsigned num_calls, next_call; /* next_call: the first that was not looked at */

static void read_write(struct call *c)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, wr_msg_slice(c->body));
    while (wr_pb_next(&r, &f)) {
        if (f.number == 3)
            c->offset = f.value;
        else if (f.number == 4)
            c->sync = f.value;
        else if (f.number == 15)
            c->data = f.bytes;
    }
    assert_false(r.bad);
    for (size_t i = 0; i < c->data.n; i++)
        if (c->data.p[i] != byte_at(c->offset + i))
            fail_msg("byte %zu of the write at %llu is another one", i,
                     (unsigned long long)c->offset);
}

void files_ask(struct wr_files *f, const char *id, const char *method, struct wr_msg *body,
               uint32_t ms, wr_bus_done_fn done, void *ctx)
{
    (void)f;
    struct call *c = &calls[num_calls++];
    *c = (struct call){.body = body, .ms = ms, .done = done, .ctx = ctx};
    snprintf(c->method, sizeof c->method, "%s", strrchr(method, '/') + 1);
    snprintf(c->id, sizeof c->id, "%s", id);
    if (!strcmp(c->method, "Write"))
        read_write(c);
}
static bool is_denied;
wr_err files_may(const struct wr_identity *who, enum wr_verb verb, const char *room,
                 struct wr_errmsg *why)
{
    assert_null(who);
    assert_string_equal(room, "");
    wr_errmsg_set(why, "not he");
    return is_denied && verb == WR_VERB_SEND_FILES ? WR_ERR_DENIED : WR_OK;
}

/* Nobody: the tests ask for no names. */
struct wr_identity *wr_identity_ref(struct wr_identity *i)
{
    return i;
}
void wr_identity_unref(struct wr_identity *i)
{
    (void)i;
}

void files_text(const struct wr_answer *a, struct wr_errmsg *out)
{
    wr_errmsg_set(out, "%.*s", (int)a->text.n, (const char *)a->text.p);
}
struct wr_msg *files_pack_stat(const char *id)
{
    return wr_msg_copy(wr_slice_str(id));
}
struct wr_msg *files_pack_delete(const char *id)
{
    return wr_msg_copy(wr_slice_str(id));
}

static struct call *asked(const char *method)
{
    if (next_call == num_calls)
        fail_msg("%s was not asked", method);
    struct call *c = &calls[next_call++];
    assert_string_equal(c->method, method);
    return c;
}
static void assert_quiet(void)
{
    if (next_call != num_calls)
        fail_msg("%s was asked", calls[next_call].method);
}

static void tell(struct call *c, wr_err code, const char *text, const ProtobufCMessage *pb)
{
    struct wr_msg *m = pb ? wr_msg_pack(pb) : NULL;
    struct wr_answer a = {.code = code, .text = wr_slice_str(text), .msg = m, .instance = ""};
    if (m)
        a.body = wr_msg_slice(m);
    wr_msg_unref(c->body);
    c->body = NULL;
    if (c->done)
        c->done(c->ctx, &a);
    run_posts();
    wr_msg_unref(m);
}
static void tell_upload(struct call *c, uint64_t offset, uint64_t length)
{
    Watchroom__V1__Upload up = WATCHROOM__V1__UPLOAD__INIT;
    up.offset = offset;
    up.length = length;
    tell(c, WR_OK, "", &up.base);
}
static void tell_acquired(struct call *c, uint64_t length)
{
    Watchroom__V1__AcquireResponse a = WATCHROOM__V1__ACQUIRE_RESPONSE__INIT;
    Watchroom__V1__Upload up = WATCHROOM__V1__UPLOAD__INIT;
    up.length = length;
    a.fence = 7;
    a.upload = &up;
    tell(c, WR_OK, "", &a.base);
}
static void tell_written(struct call *c)
{
    Watchroom__V1__WriteResponse w = WATCHROOM__V1__WRITE_RESPONSE__INIT;
    w.offset = c->offset + c->data.n;
    w.durable = c->sync ? w.offset : 0;
    tell(c, WR_OK, "", &w.base);
}

/* ---- one of each ------------------------------------------------------------------------------------------------------ */

static struct wr_files files;

static int begin(void **s)
{
    (void)s;
    num_clients = num_calls = next_call = num_posts = 0;
    files = (struct wr_files){
        .max_uploads = 60, .buffers = buffers_new(), .handover = handover_new()};
    return files.buffers && files.handover ? 0 : -1;
}
static int end(void **s)
{
    (void)s;
    assert_quiet();
    for (unsigned i = 0; i < num_clients; i++)
        close_client(&clients[i]);
    for (unsigned i = 0; i < num_calls; i++)
        assert_null(calls[i].body); /* all were answered */
    assert_int_equal(atomic_load(&files.uploads), 0);
    buffers_free(&files.buffers);
    handover_free(&files.handover);
    return 0;
}

static struct client *start(int64_t content_length, bool chunked,
                            const struct upload_request *request)
{
    struct wr_http_req r = {.content_length = content_length, .is_chunked = chunked};
    unsigned n = num_clients;
    upload_start(&files, &r, request);
    if (num_clients == n) {
        assert_int_equal(r.status, 503);
        return NULL;
    }
    struct client *c = &clients[n];
    c->ops->begin(&c->body, c->user);
    assert_true(c->is_paused); /* nothing is read before the filestore has agreed */
    return c;
}
static struct client *post(int64_t content_length, uint64_t length)
{
    return start(content_length, false,
                 &(struct upload_request){
                     .id = ID, .create = wr_msg_copy(wr_slice_str("c")), .length = length});
}
/* A PATCH that has the write side of an upload of `length` bytes. */
static struct client *flowing(uint64_t offset, uint64_t length, bool chunked)
{
    struct client *c = start(chunked ? -1 : (int64_t)(length - offset), chunked,
                             &(struct upload_request){.id = ID, .offset = offset});
    tell_acquired(asked("Acquire"), length);
    assert_false(c->is_paused);
    return c;
}

/* ---- claims ------------------------------------------------------------------------------------------------------------ */

static void test_a_new_upload_is_told_when_it_is_made(void **s)
{
    (void)s;
    struct client *c = post(0, 10);
    struct call *k = asked("Create");
    assert_int_equal(c->status, 0);
    body_ends(c, WR_BODY_WHOLE); /* it had none */
    tell_upload(k, 0, 10);
    assert_said(c, 201, "Location: /files/" ID "\r\n");
}

static void test_one_that_nobody_will_hear_of_is_removed(void **s)
{
    (void)s;
    struct client *c = post(0, 10);
    struct call *k = asked("Create");
    body_ends(c, WR_BODY_WHOLE);
    c->park.gone(c->park.user);
    tell_upload(k, 0, 10);
    k = asked("Delete");
    assert_string_equal(k->id, ID);
    assert_null(k->done);
    tell(k, WR_OK, "", NULL);
    assert_int_equal(c->status, 503);
}

static void test_a_client_that_never_began_is_let_go(void **s)
{
    (void)s;
    struct wr_http_req r = {.content_length = 5};
    upload_start(&files, &r, &(struct upload_request){.id = ID});
    body_ends(&clients[0], WR_BODY_LEFT);
    assert_int_equal(clients[0].status, 400);
}

static void test_refused_without_reading(void **s)
{
    (void)s;
    struct client *c = start(5, false, &(struct upload_request){.id = ID});
    tell(asked("Acquire"), WR_ERR_NOT_FOUND, "no such upload", NULL);
    assert_true(c->is_paused);
    assert_said(c, 404, "Tus-Resumable");
    assert_string_equal(c->text, "no such upload");
}

static void test_a_wrong_offset_is_told_the_right_one(void **s)
{
    (void)s;
    struct client *c = start(5, false, &(struct upload_request){.id = ID, .offset = 3});
    tell(asked("Acquire"), WR_ERR_CONFLICT, "not there", NULL);
    assert_int_equal(c->status, 0);
    tell_upload(asked("Stat"), 8, 100);
    assert_said(c, 409, "Upload-Offset: 8\r\n");
}

static void test_who_may_not_send_is_told_and_nothing_is_read(void **s)
{
    (void)s;
    struct client *c = start(10, false, &(struct upload_request){.id = ID, .offset = 0});
    is_denied = true;
    tell_acquired(asked("Acquire"), 10);
    is_denied = false;
    assert_int_equal(c->status, 403);
    assert_string_equal(c->text, "not he");
}

static void test_a_body_longer_than_what_is_left_is_refused(void **s)
{
    (void)s;
    struct client *c = start(8, false, &(struct upload_request){.id = ID, .offset = 3});
    tell_acquired(asked("Acquire"), 10);
    assert_said(c, 413, "Upload-Offset: 3\r\n");
    c = start(8, false, &(struct upload_request){.id = ID, .offset = 30});
    tell_acquired(asked("Acquire"), 10);
    assert_said(c, 413, "Upload-Offset: 30\r\n");
}

static void test_a_client_that_trickles_collects_in_a_small_buffer(void **s)
{
    (void)s;
    struct client *c = flowing(0, SMALL_BYTES + 10, false);
    for (unsigned i = 0; i < SMALL_BYTES - 1; i++)
        assert_int_equal(send_bytes(c, 1), 1);
    assert_quiet();
    assert_int_equal(send_bytes(c, 1), 1);
    struct call *a = asked("Write");
    assert_int_equal(a->data.n, SMALL_BYTES);
    assert_false(a->sync);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(send_bytes(c, 1), 1);
    struct call *b = asked("Write");
    assert_int_equal(b->offset, SMALL_BYTES);
    assert_int_equal(b->data.n, 10);
    assert_true(b->sync); /* the last one */
    body_ends(c, WR_BODY_WHOLE);
    tell_written(a);
    assert_int_equal(c->status, 0);
    tell_written(b);
    assert_said(c, 204, "Upload-Offset: 4106\r\n");
}

static void test_a_fast_client_gets_whole_pages_and_a_window(void **s)
{
    (void)s;
    const uint64_t length = 64ull * LARGE_BYTES;
    struct client *c = flowing(0, length, false);
    uint64_t took = send_bytes(c, length);
    assert_true(c->is_paused);
    struct call *k = asked("Write");
    assert_int_equal(k->data.n, SMALL_BYTES);
    unsigned first = next_call, n = 0;
    for (uint64_t at = SMALL_BYTES; next_call < num_calls; n++) {
        k = asked("Write");
        assert_int_equal(k->offset, at);
        assert_int_equal(k->data.n, LARGE_BYTES - at % LARGE_BYTES);
        assert_int_equal((uintptr_t)k->data.p % 4096, 0);
        at += k->data.n;
        assert_int_equal(at <= took, true);
    }
    assert_int_equal(n, 15); /* and the small one: sixteen in flight */
    tell_written(&calls[first - 1]);
    assert_false(c->is_paused);
    assert_true(send_bytes(c, length - took) > 0);
    assert_true(c->is_paused);
    while (next_call < num_calls || c->is_paused) {
        for (unsigned i = first; i < num_calls; i++)
            if (calls[i].body)
                tell_written(&calls[i]);
        next_call = num_calls;
        took = c->sent;
        send_bytes(c, length - took);
        next_call = num_calls;
        if (c->sent == length)
            break;
    }
    for (unsigned i = first; i < num_calls; i++)
        if (calls[i].body)
            tell_written(&calls[i]);
    assert_int_equal(c->sent, length);
    assert_true(calls[num_calls - 1].sync);
    body_ends(c, WR_BODY_WHOLE);
    assert_said(c, 204, "Upload-Offset: 33554432\r\n");
}

static void test_slow_writes_of_a_trickle_pause_it(void **s)
{
    (void)s;
    struct client *c = flowing(0, 1u << 20, false);
    unsigned n = 0;
    while (!c->is_paused && n < 100000)
        n += (unsigned)send_bytes(c, 100);
    assert_int_equal(n, 4 * SMALL_BYTES);
    unsigned first = next_call;
    next_call = num_calls;
    assert_int_equal(num_calls - first, 4);
    tell_written(&calls[first]);
    assert_false(c->is_paused);
    for (unsigned i = first + 1; i < num_calls; i++)
        tell_written(&calls[i]);
    body_ends(c, WR_BODY_LEFT);
    assert_int_equal(c->status, 400);
}

static void test_who_fills_a_large_buffer_slowly_is_pressed_when_others_wait(void **s)
{
    (void)s;
    struct client *slow[LARGE_MAX];
    for (unsigned i = 0; i < LARGE_MAX; i++) {
        slow[i] = flowing(0, 100ull * LARGE_BYTES, false);
        send_bytes(slow[i], SMALL_BYTES + 100); /* fast, and then it stops within a large one */
        assert_false(slow[i]->is_paused);
        tell_written(asked("Write"));
    }
    assert_quiet();
    struct client *c = flowing(0, 100ull * LARGE_BYTES, false);
    send_bytes(c, LARGE_BYTES);
    assert_true(c->is_paused);
    tell_written(asked("Write")); /* its first, small one */
    assert_true(c->is_paused);
    struct call *k = asked("Write"); /* of the one that began first */
    assert_int_equal(k->offset, SMALL_BYTES);
    assert_int_equal(k->data.n, 100);
    tell_written(k);
    assert_false(c->is_paused);
    assert_int_equal(send_bytes(c, LARGE_BYTES - SMALL_BYTES), LARGE_BYTES - SMALL_BYTES);
    tell_written(asked("Write"));
    /* The one that was pressed collects in small ones again. */
    send_bytes(slow[0], 200);
    assert_quiet();
    for (unsigned i = 0; i < LARGE_MAX; i++)
        body_ends(slow[i], WR_BODY_LEFT);
    body_ends(c, WR_BODY_LEFT);
    while (next_call < num_calls) {
        k = asked("Write");
        assert_false(k->sync);
        tell_written(k);
    }
}

static void test_one_that_ends_while_it_waits_takes_no_place_along(void **s)
{
    (void)s;
    struct client *slow[LARGE_MAX];
    for (unsigned i = 0; i < LARGE_MAX; i++) {
        slow[i] = flowing(0, 100ull * LARGE_BYTES, false);
        send_bytes(slow[i], SMALL_BYTES + 100);
        tell_written(asked("Write"));
    }
    struct call *pressed[3];
    for (unsigned round = 0; round < 3; round++) {
        struct client *c = flowing(0, 100ull * LARGE_BYTES, false);
        send_bytes(c, LARGE_BYTES);
        tell_written(asked("Write"));
        assert_true(c->is_paused);
        pressed[round] = asked("Write");
        if (round == 2) /* it is its turn, and then it leaves */
            tell_written(pressed[round]);
        body_ends(c, WR_BODY_LEFT);
        assert_int_equal(c->status, 400);
    }
    tell_written(pressed[0]);
    tell_written(pressed[1]);
    struct client *c = flowing(0, 100ull * LARGE_BYTES, false);
    send_bytes(c, LARGE_BYTES);
    assert_false(c->is_paused); /* there are some again */
    body_ends(c, WR_BODY_LEFT);
    for (unsigned i = 0; i < LARGE_MAX; i++)
        body_ends(slow[i], WR_BODY_LEFT);
    while (next_call < num_calls)
        tell_written(asked("Write"));
}

static void test_pieces_of_a_chunked_body_are_put_together(void **s)
{
    (void)s;
    struct client *c = flowing(5, 5 + 3000, true);
    c->sent = 5;
    for (unsigned i = 0; i < 3000; i++)
        send_piece(c, 1);
    struct call *k = asked("Write");
    assert_int_equal(k->offset, 5);
    assert_int_equal(k->data.n, 3000);
    assert_true(k->sync);
    tell_written(k);
    assert_int_equal(c->status, 0); /* its last chunk has still to come */
    body_ends(c, WR_BODY_WHOLE);
    assert_said(c, 204, "Upload-Offset: 3005\r\n");
}

static void test_a_chunked_body_that_goes_on_too_long_is_refused_and_kept(void **s)
{
    (void)s;
    struct client *c = flowing(0, 100000, true);
    send_piece(c, 65536);
    send_piece(c, 65536);
    assert_int_equal(c->status, 0);
    while (next_call < num_calls)
        tell_written(asked("Write"));
    assert_true(calls[num_calls - 1].sync);
    assert_said(c, 413, "Upload-Offset: 100000\r\n");
}

static void test_a_body_that_ends_early_is_synced_and_told(void **s)
{
    (void)s;
    struct client *c = flowing(0, 100, false);
    send_bytes(c, 40);
    body_ends(c, WR_BODY_WHOLE);
    struct call *k = asked("Write");
    assert_true(k->sync);
    assert_int_equal(k->data.n, 40);
    tell_written(k);
    assert_said(c, 204, "Upload-Offset: 40\r\n");
}

static void test_what_came_before_a_stall_is_kept_and_told(void **s)
{
    (void)s;
    static const struct {
        enum wr_http_body_end how;
        int status;
        const char *line;
    } rows[] = {{WR_BODY_STALLED, 408, "Upload-Offset: 40\r\n"},
                {WR_BODY_MALFORMED, 400, "Upload-Offset: 40\r\n"},
                {WR_BODY_DRAINING, 503, "Retry-After: 2\r\n"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(rows); i++) {
        struct client *c = flowing(0, 100, true);
        send_piece(c, 40);
        body_ends(c, rows[i].how);
        struct call *k = asked("Write");
        assert_true(k->sync);
        tell_written(k);
        assert_said(c, rows[i].status, rows[i].line);
    }
}

static void test_who_left_is_not_synced_for(void **s)
{
    (void)s;
    struct client *c = flowing(0, 100, false);
    send_bytes(c, 40);
    body_ends(c, WR_BODY_LEFT);
    struct call *k = asked("Write");
    assert_false(k->sync);
    tell_written(k);
    c = flowing(0, 100, false);
    body_ends(c, WR_BODY_LEFT); /* and nothing is written when nothing came */
    assert_quiet();
}

static void test_an_empty_request_at_the_end_is_fine(void **s)
{
    (void)s;
    struct client *c = start(-1, false, &(struct upload_request){.id = ID, .offset = 20});
    body_ends(c, WR_BODY_WHOLE);
    tell_acquired(asked("Acquire"), 20);
    struct call *k = asked("Write");
    assert_true(k->sync);
    assert_int_equal(k->data.n, 0);
    tell_written(k);
    assert_said(c, 204, "Upload-Offset: 20\r\n");
}

static void test_a_failing_write_ends_it_with_its_reason(void **s)
{
    (void)s;
    struct client *c = flowing(0, 1u << 20, false);
    send_bytes(c, 3 * SMALL_BYTES);
    tell(asked("Write"), WR_ERR_INTERNAL, "the disk is broken", NULL);
    while (next_call < num_calls)
        tell(asked("Write"), WR_ERR_CONFLICT, "something that follows from it", NULL);
    assert_int_equal(c->status, 500);
    assert_string_equal(c->text, "the disk is broken");
}

static void test_first_bytes_without_room_leave_nothing(void **s)
{
    (void)s;
    struct client *c = post(100, 100);
    tell_upload(asked("Create"), 0, 100);
    tell_acquired(asked("Acquire"), 100);
    assert_int_equal(send_bytes(c, 100), 100);
    tell(asked("Write"), WR_ERR_NO_SPACE, "full", NULL);
    tell(asked("Delete"), WR_OK, "", NULL);
    assert_int_equal(c->status, 507);
    assert_null(strstr(c->lines, "Location: "));
}

static void test_who_made_an_upload_hears_where_it_is(void **s)
{
    (void)s;
    struct client *c = post(100, 100);
    tell_upload(asked("Create"), 0, 100);
    tell(asked("Acquire"), WR_ERR_TIMEOUT, "slow", NULL);
    assert_said(c, 504, "Location: /files/" ID "\r\n");
    c = post(100, 100);
    tell_upload(asked("Create"), 0, 100);
    tell_acquired(asked("Acquire"), 100);
    send_bytes(c, 40);
    body_ends(c, WR_BODY_DRAINING);
    tell_written(asked("Write"));
    assert_said(c, 201, "Location: /files/" ID "\r\n");
    assert_said(c, 201, "Upload-Offset: 40\r\n");
}

static void test_bodies_at_once_are_bounded(void **s)
{
    (void)s;
    files.max_uploads = 2;
    struct client *a = flowing(0, 100, false), *b = flowing(0, 100, false);
    assert_null(start(5, false, &(struct upload_request){.id = ID}));
    struct client *c = post(0, 10); /* it brings none */
    tell_upload(asked("Create"), 0, 10);
    assert_int_equal(c->status, 201);
    body_ends(a, WR_BODY_LEFT);
    struct client *d = flowing(0, 100, false);
    body_ends(b, WR_BODY_LEFT);
    body_ends(d, WR_BODY_LEFT);
}

static void test_what_came_before_a_pause_is_written(void **s)
{
    (void)s;
    struct client *c = flowing(0, 1000000, false);
    send_bytes(c, 300000);
    tell_written(asked("Write")); /* the first page, which showed a fast client */
    assert_quiet();
    c->ops->idle(&c->body, c->user);
    struct call *k = asked("Write");
    assert_int_equal(k->offset + k->data.n, 300000);
    assert_false(k->sync);
    c->ops->idle(&c->body, c->user); /* nothing more came */
    assert_quiet();
    tell_written(k);
    send_bytes(c, 100); /* and it goes on */
    body_ends(c, WR_BODY_LEFT);
    k = asked("Write");
    assert_int_equal(k->offset, 300000);
    tell_written(k);
}

static void count_one(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void test_who_asks_waits_for_what_arrived(void **s)
{
    (void)s;
    unsigned told = 0;
    handover_ask(files.handover, ID, count_one, &told);
    assert_int_equal(told, 1); /* nobody sends it */
    struct client *c = flowing(0, 10000000, false);
    send_bytes(c, 1000000);
    struct call *first = asked("Write"), *second = asked("Write");
    handover_ask(files.handover, "another0another0another0an", count_one, &told);
    assert_int_equal(told, 2);
    handover_ask(files.handover, ID, count_one, &told);
    run_posts();
    struct call *third = asked("Write");
    assert_int_equal(third->offset + third->data.n, 1000000);
    tell_written(first);
    tell_written(second);
    assert_int_equal(told, 2);
    send_bytes(c, 2000000); /* what comes later is not waited for */
    tell_written(third);
    assert_int_equal(told, 3);
    while (next_call < num_calls)
        tell_written(asked("Write"));
    body_ends(c, WR_BODY_LEFT);
    while (next_call < num_calls)
        tell_written(asked("Write"));
}

static void test_who_asks_is_told_though_the_write_fails_or_the_client_leaves(void **s)
{
    (void)s;
    unsigned told = 0;
    struct client *c = flowing(0, 1000000, false), *d = flowing(0, 1000000, false);
    send_bytes(c, 2000);
    send_bytes(d, 1000); /* two connections of one upload: the older one is half open */
    handover_ask(files.handover, ID, count_one, &told);
    run_posts();
    struct call *k = asked("Write"), *l = asked("Write");
    body_ends(d, WR_BODY_LEFT);
    tell(k, WR_ERR_INTERNAL, "no disk", NULL);
    assert_int_equal(told, 0);
    tell_written(l);
    assert_int_equal(told, 1);
    body_ends(c, WR_BODY_LEFT);
}

#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(test_a_new_upload_is_told_when_it_is_made),
        CLAIM(test_one_that_nobody_will_hear_of_is_removed),
        CLAIM(test_a_client_that_never_began_is_let_go),
        CLAIM(test_refused_without_reading),
        CLAIM(test_a_wrong_offset_is_told_the_right_one),
        CLAIM(test_who_may_not_send_is_told_and_nothing_is_read),
        CLAIM(test_a_body_longer_than_what_is_left_is_refused),
        CLAIM(test_a_client_that_trickles_collects_in_a_small_buffer),
        CLAIM(test_a_fast_client_gets_whole_pages_and_a_window),
        CLAIM(test_slow_writes_of_a_trickle_pause_it),
        CLAIM(test_who_fills_a_large_buffer_slowly_is_pressed_when_others_wait),
        CLAIM(test_one_that_ends_while_it_waits_takes_no_place_along),
        CLAIM(test_pieces_of_a_chunked_body_are_put_together),
        CLAIM(test_a_chunked_body_that_goes_on_too_long_is_refused_and_kept),
        CLAIM(test_a_body_that_ends_early_is_synced_and_told),
        CLAIM(test_what_came_before_a_stall_is_kept_and_told),
        CLAIM(test_who_left_is_not_synced_for),
        CLAIM(test_an_empty_request_at_the_end_is_fine),
        CLAIM(test_a_failing_write_ends_it_with_its_reason),
        CLAIM(test_first_bytes_without_room_leave_nothing),
        CLAIM(test_who_made_an_upload_hears_where_it_is),
        CLAIM(test_bodies_at_once_are_bounded),
        CLAIM(test_what_came_before_a_pause_is_written),
        CLAIM(test_who_asks_waits_for_what_arrived),
        CLAIM(test_who_asks_is_told_though_the_write_fails_or_the_client_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
