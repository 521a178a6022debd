/* SPDX-License-Identifier: MIT
 *
 * The plane over socket pairs: the test is the client and speaks WebSocket by hand. */
#include "plane_priv.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_thread.h"
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka needs the above */
#include <cmocka.h>

#define WAIT_MS 10000

/* ---- a client on one end, what its connection saw on the other ---- */

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct wr_buf log; /* messages, each ended by '\n' */
    unsigned messages, drained;
    bool open, closed, by_peer;
    uint16_t code;
    char reason[128];
    struct wr_conn_id id;
    struct wr_fanout *fanout; /* joined at open */
    uint32_t classes;
    bool echo;
};

static void seen_init(struct seen *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    wr_cond_init(&s->changed);
}

static void seen_fini(struct seen *s)
{
    wr_buf_free(&s->log);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
}

#define UPDATE(s, code_)                       \
    do {                                       \
        pthread_mutex_lock(&(s)->lock);        \
        code_;                                 \
        pthread_cond_broadcast(&(s)->changed); \
        pthread_mutex_unlock(&(s)->lock);      \
    } while (0)
#define AWAIT(s, condition)                                                   \
    do {                                                                      \
        int64_t until_ = wr_mono_us() + WAIT_MS * 1000;                       \
        pthread_mutex_lock(&(s)->lock);                                       \
        bool in_time_ = true;                                                 \
        while (!(condition) && in_time_)                                      \
            in_time_ = wr_cond_wait_until(&(s)->changed, &(s)->lock, until_); \
        bool ok_ = (condition);                                               \
        pthread_mutex_unlock(&(s)->lock);                                     \
        assert_true(ok_);                                                     \
    } while (0)

static void on_open(struct wr_conn *c, void *user)
{
    struct seen *s = user;
    if (s->fanout)
        assert_true(wr_fanout_add(s->fanout, c, s->classes));
    UPDATE(s, (s->open = true, s->id = wr_conn_id(c)));
}

static void on_message(struct wr_conn *c, void *user, enum wr_ws_op op, struct wr_slice bytes)
{
    struct seen *s = user;
    if (s->echo)
        wr_conn_send_bytes(c, op, bytes);
    UPDATE(s, (wr_buf_slice(&s->log, bytes), wr_buf_char(&s->log, '\n'), s->messages++));
}

static void on_drained(struct wr_conn *c, void *user)
{
    struct seen *s = user;
    assert_int_equal(wr_conn_queued(c), 0);
    UPDATE(s, s->drained++);
}

static void on_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    struct seen *s = user;
    UPDATE(s, (s->closed = true, s->code = why->code, s->by_peer = why->by_peer,
               (void)snprintf(s->reason, sizeof s->reason, "%s", why->reason)));
}

static const struct wr_conn_ops ops = {
    .open = on_open, .message = on_message, .drained = on_drained, .close = on_close};

static int adopt(struct wr_plane *p, struct seen *s, const struct wr_conn_opts *more)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct wr_conn_opts o = more ? *more : (struct wr_conn_opts){0};
    if (!o.transport)
        o.transport = WR_TRANSPORT_WS;
    if (!o.policy)
        o.policy = WR_QUEUE_CHAT;
    o.ops = &ops;
    o.user = s;
    assert_int_equal(wr_plane_adopt(p, pair[0], (struct wr_slice){0}, &o), WR_OK);
    AWAIT(s, s->open);
    return pair[1];
}

static void put(int fd, const void *p, size_t n)
{
    const uint8_t *b = p;
    while (n) {
        ssize_t k = send(fd, b, n, MSG_NOSIGNAL);
        if (k < 0)
            return; /* the server closed: what it saw is what the test asks about */
        b += k;
        n -= (size_t)k;
    }
}

/* A client's frame; flags: 0x80 FIN, 0x70 RSV. */
static void frame_add(struct wr_buf *b, unsigned first, bool masked, const void *payload, size_t n)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    wr_buf_char(b, (char)first);
    unsigned bit = masked ? 0x80 : 0;
    if (n < 126) {
        wr_buf_char(b, (char)(bit | n));
    } else if (n < 65536) {
        wr_buf_char(b, (char)(bit | 126));
        wr_buf_be(b, n, 2);
    } else {
        wr_buf_char(b, (char)(bit | 127));
        wr_buf_be(b, n, 8);
    }
    if (masked)
        wr_buf_add(b, mask, 4);
    for (size_t i = 0; i < n; i++)
        wr_buf_char(b, (char)(((const uint8_t *)payload)[i] ^ (masked ? mask[i % 4] : 0)));
}

static void frame_put(int fd, unsigned first, bool masked, const void *payload, size_t n)
{
    struct wr_buf b = {0};
    frame_add(&b, first, masked, payload, n);
    put(fd, b.p, b.n);
    wr_buf_free(&b);
}

static size_t get(int fd, void *to, size_t n)
{
    size_t got = 0;
    while (got < n) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, WAIT_MS) <= 0)
            return got;
        ssize_t k = recv(fd, (uint8_t *)to + got, n - got, 0);
        if (k <= 0)
            return got;
        got += (size_t)k;
    }
    return got;
}

/* One frame of the server: opcode, payload into buf. 0 at end of file. */
static unsigned frame_get(int fd, struct wr_buf *buf)
{
    uint8_t h[10];
    wr_buf_clear(buf);
    if (get(fd, h, 2) != 2)
        return 0;
    assert_true(h[0] & 0x80);
    assert_false(h[1] & 0x80);
    uint64_t n = h[1];
    if (n == 126) {
        assert_int_equal(get(fd, h + 2, 2), 2);
        n = (uint64_t)h[2] << 8 | h[3];
        assert_true(n > 125);
    } else if (n == 127) {
        assert_int_equal(get(fd, h + 2, 8), 8);
        n = 0;
        for (unsigned i = 0; i < 8; i++)
            n = n << 8 | h[2 + i];
        assert_true(n > 65535);
    }
    uint8_t *to = wr_buf_reserve(buf, n + 1);
    assert_int_equal(get(fd, to, n), n);
    buf->n = n;
    to[n] = 0;
    return h[0] & 15u;
}

static unsigned close_get(int fd, char *reason)
{
    struct wr_buf b = {0};
    unsigned op, code = 0;
    while ((op = frame_get(fd, &b)) != 0 && op != 8)
        ;
    if (op == 8) {
        code = b.n >= 2 ? (unsigned)b.p[0] << 8 | b.p[1] : 1005;
        if (reason)
            (void)snprintf(reason, 126, "%.*s", b.n > 2 ? (int)(b.n - 2) : 0,
                           (const char *)b.p + 2);
    }
    wr_buf_free(&b);
    return code;
}

static struct wr_plane *plane_new(void)
{
    struct wr_plane *p;
    assert_int_equal(
        wr_plane_open(&(struct wr_plane_opts){.threads = 2, .max_connections = 50}, &p), WR_OK);
    return p;
}

/* ---- reading ---- */

static void test_messages_come_whole_whatever_the_pieces(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s;
    seen_init(&s);
    int fd = adopt(p, &s, NULL);
    struct wr_buf wire = {0}, want = {0};
    srand(7);
    for (unsigned i = 0; i < 3000; i++) {
        char text[400];
        int n = snprintf(text, sizeof text, "message %u %0*d", i, 1 + rand() % 300, 0);
        wr_buf_fmt(&want, "%s\n", text);
        if (rand() % 4 == 0) { /* in fragments, a ping between */
            int cut = rand() % n;
            frame_add(&wire, 0x01, true, text, (size_t)cut);
            if (rand() % 2)
                frame_add(&wire, 0x89, true, "p", 1);
            frame_add(&wire, 0x80, true, text + cut, (size_t)(n - cut));
        } else {
            frame_add(&wire, 0x81, true, text, (size_t)n);
        }
    }
    for (size_t at = 0; at < wire.n;) {
        size_t n = 1 + (size_t)(rand() % (rand() % 8 ? 40 : 5000));
        n = WR_MIN(n, wire.n - at);
        put(fd, wire.p + at, n);
        at += n;
    }
    AWAIT(&s, s.messages >= 3000);
    assert_int_equal(s.messages, 3000);
    assert_int_equal(s.log.n, want.n);
    assert_memory_equal(s.log.p, want.p, want.n);
    close(fd);
    AWAIT(&s, s.closed);
    assert_int_equal(s.code, 1006);
    wr_plane_close(&p);
    wr_buf_free(&wire);
    wr_buf_free(&want);
    seen_fini(&s);
}

struct bad {
    const char *name;
    unsigned first;
    bool masked;
    size_t n;
    int fill;
    unsigned code;
};

/* Bytes that always hold the begin of a next message: each has its own time to arrive. */
static void test_a_message_that_is_complete_does_not_age_the_next(void **state)
{
    (void)state;
    struct plane__thread *t = calloc(1, sizeof *t);
    assert_non_null(t);
    struct seen s;
    struct wr_buf b = {0};
    seen_init(&s);
    struct wr_conn c = {.fd = -1,
                        .t = t,
                        .ops = &ops,
                        .user = &s,
                        .transport = WR_TRANSPORT_WS,
                        .policy = WR_QUEUE_CHAT,
                        .state = CONN_OPEN,
                        .max_message = 1000};
    frame_add(&b, 0x81, true, "one", 3);
    frame_add(&b, 0x01, true, "two", 3); /* goes on in a second frame */
    t->now_ms = 1000;
    ws__feed(&c, b.p, b.n - 1);
    t->now_ms = 2000;
    ws__feed(&c, b.p + b.n - 1, 1);
    assert_int_equal(ws__incomplete_since(&c), 1000);
    wr_buf_clear(&b);
    frame_add(&b, 0x80, true, "two", 3);
    frame_add(&b, 0x81, true, "three", 5);
    t->now_ms = 3000;
    ws__feed(&c, b.p, b.n - 1);
    assert_int_equal(s.messages, 2);
    assert_int_equal(ws__incomplete_since(&c), 3000);
    ws__drop(&c);
    ws__pool_free(t);
    free(t);
    wr_buf_free(&b);
    seen_fini(&s);
}

static void test_bad_frames_get_their_close_code(void **state)
{
    (void)state;
    static const struct bad table[] = {{"unmasked", 0x81, false, 5, 'a', 1002},
                                       {"reserved bit", 0xc1, true, 5, 'a', 1002},
                                       {"reserved opcode", 0x83, true, 5, 'a', 1002},
                                       {"reserved control opcode", 0x8b, true, 5, 'a', 1002},
                                       {"long ping", 0x89, true, 126, 'a', 1002},
                                       {"fragmented ping", 0x09, true, 5, 'a', 1002},
                                       {"continuation of nothing", 0x80, true, 5, 'a', 1002},
                                       {"bad UTF-8", 0x81, true, 5, 0xff, 1007},
                                       {"too long", 0x81, true, 70000, 'a', 1009},
                                       {"close with one byte", 0x88, true, 1, 3, 1002},
                                       {"close with a code that is none", 0x88, true, 2, 0, 1002}};
    struct wr_plane *p = plane_new();
    for (size_t i = 0; i < WR_ARRAY_LEN(table); i++) {
        struct seen s;
        seen_init(&s);
        int fd = adopt(p, &s, NULL);
        uint8_t *payload = malloc(table[i].n);
        memset(payload, table[i].fill, table[i].n);
        frame_put(fd, table[i].first, table[i].masked, payload, table[i].n);
        unsigned code = close_get(fd, NULL);
        if (code != table[i].code)
            print_error("%s: %u\n", table[i].name, code);
        assert_int_equal(code, table[i].code);
        close(fd);
        AWAIT(&s, s.closed);
        assert_int_equal(s.code, table[i].code);
        assert_int_equal(s.messages, 0);
        free(payload);
        seen_fini(&s);
    }
    wr_plane_close(&p);
}

static void test_a_length_that_is_not_the_shortest_is_refused_or_read_right(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s;
    seen_init(&s);
    int fd = adopt(p, &s, NULL);
    static const uint8_t wire[] = {0x81, 0xfe, 0, 1, 0, 0, 0, 0, 'x'};
    put(fd, wire, sizeof wire);
    assert_int_equal(close_get(fd, NULL), 1002);
    close(fd);
    AWAIT(&s, s.closed);
    wr_plane_close(&p);
    seen_fini(&s);
}

static void test_a_close_is_answered_with_its_code(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s;
    seen_init(&s);
    int fd = adopt(p, &s, NULL);
    frame_put(fd, 0x88, true,
              "\x03\xe8"
              "bye",
              5);
    assert_int_equal(close_get(fd, NULL), 1000);
    AWAIT(&s, s.closed);
    assert_int_equal(s.code, 1000);
    assert_true(s.by_peer);
    close(fd);
    wr_plane_close(&p);
    seen_fini(&s);
}

static void test_a_ping_is_answered(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s;
    struct wr_buf b = {0};
    seen_init(&s);
    int fd = adopt(p, &s, NULL);
    frame_put(fd, 0x89, true, "are you there", 13);
    assert_int_equal(frame_get(fd, &b), 10);
    assert_int_equal(b.n, 13);
    assert_memory_equal(b.p, "are you there", 13);
    close(fd);
    AWAIT(&s, s.closed);
    wr_plane_close(&p);
    wr_buf_free(&b);
    seen_fini(&s);
}

/* ---- writing ---- */

static void test_echo_keeps_order_and_lengths(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s;
    struct wr_buf b = {0};
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536};
    seen_init(&s);
    s.echo = true;
    int fd = adopt(p, &s, NULL);
    uint8_t *text = malloc(65536);
    memset(text, 'e', 65536);
    for (size_t i = 0; i < WR_ARRAY_LEN(lengths); i++)
        frame_put(fd, 0x82, true, text, lengths[i]);
    for (size_t i = 0; i < WR_ARRAY_LEN(lengths); i++) {
        assert_int_equal(frame_get(fd, &b), 2);
        assert_int_equal(b.n, lengths[i]);
    }
    close(fd);
    AWAIT(&s, s.closed);
    free(text);
    wr_buf_free(&b);
    wr_plane_close(&p);
    seen_fini(&s);
}

static void test_a_group_frame_reaches_all_of_its_class_in_order(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s[10];
    int fd[10];
    struct wr_buf b = {0};
    for (unsigned i = 0; i < 10; i++) {
        seen_init(&s[i]);
        s[i].fanout = g;
        s[i].classes = i < 5 ? 1 : 3;
        fd[i] = adopt(p, &s[i], NULL);
    }
    assert_int_equal(wr_fanout_size(g), 10);
    assert_int_equal(wr_fanout_size_of(g, 2), 5);
    struct wr_msg *m = wr_msg_copy(wr_slice_str("shared payload"));
    for (unsigned k = 0; k < 100; k++) {
        char head[16];
        int n = snprintf(head, sizeof head, "%03u ", k);
        struct wr_frame_part parts[] = {{.bytes = wr_slice_of(head, (size_t)n)},
                                        {.bytes = wr_msg_slice(m), .msg = m}};
        struct wr_frame *f = wr_frame_new(WR_WS_TEXT, 0, 0, parts, 2);
        assert_int_equal(wr_frame_bytes(f), 18);
        assert_int_equal(wr_fanout_send(g, &f, 1, k % 2 ? 2 : 1), WR_OK);
        wr_frame_unref(f);
    }
    wr_msg_unref(m);
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned k = 0; k < 100; k++) {
            if (i < 5 && k % 2)
                continue;
            char want[32];
            (void)snprintf(want, sizeof want, "%03u shared payload", k);
            assert_int_equal(frame_get(fd[i], &b), 1);
            assert_string_equal((char *)b.p, want);
        }
    }
    for (unsigned i = 0; i < 10; i++) {
        close(fd[i]);
        AWAIT(&s[i], s[i].closed);
        seen_fini(&s[i]);
    }
    assert_int_equal(wr_fanout_size(g), 0);
    wr_fanout_unref(&g);
    wr_buf_free(&b);
    wr_plane_close(&p);
}

static void test_a_slow_chat_client_is_closed_with_3008(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    char reason[126];
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s, &(struct wr_conn_opts){.queue_bytes = 200000});
    uint8_t *bytes = calloc(1, 50000);
    struct wr_frame *f = wr_frame_copy(WR_WS_BINARY, wr_slice_of(bytes, 50000));
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(wr_fanout_send(g, &f, 1, 1), WR_OK);
    wr_frame_unref(f);
    assert_int_equal(close_get(fd, reason), 3008);
    assert_string_equal(reason, "slow");
    close(fd);
    AWAIT(&s, s.closed);
    assert_int_equal(s.code, 3008);
    free(bytes);
    wr_fanout_unref(&g);
    wr_plane_close(&p);
    seen_fini(&s);
}

/* What it asked for makes nobody slow; what comes beside it still does. */
static void test_answers_do_not_make_a_chat_client_slow(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    char reason[126];
    uint64_t slow = plane__m_slow.value;
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s, &(struct wr_conn_opts){.queue_bytes = 200000});
    uint8_t *bytes = calloc(1, 1u << 20);
    struct wr_buf b = {0};
    struct wr_frame *asked = wr_frame_copy(WR_WS_BINARY, wr_slice_of(bytes, 1u << 20)),
                    *told = wr_frame_copy(WR_WS_BINARY, wr_slice_of(bytes, 50000));
    asked->flags |= WR_FRAME_ASKED;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(wr_fanout_send(g, &asked, 1, 1), WR_OK);
    assert_int_equal(wr_fanout_send(g, &told, 1, 1), WR_OK);
    for (unsigned i = 0; i < 11; i++) {
        assert_int_equal(frame_get(fd, &b), 2);
        assert_int_equal(b.n, i < 10 ? 1u << 20 : 50000);
    }
    assert_int_equal(plane__m_slow.value, slow);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(wr_fanout_send(g, &asked, 1, 1), WR_OK);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(wr_fanout_send(g, &told, 1, 1), WR_OK);
    assert_int_equal(close_get(fd, reason), 3008);
    close(fd);
    AWAIT(&s, s.closed);
    wr_frame_unref(asked);
    wr_frame_unref(told);
    wr_buf_free(&b);
    free(bytes);
    wr_fanout_unref(&g);
    wr_plane_close(&p);
    seen_fini(&s);
}

/* A thousandth of the bound on the wire, and more than it in memory. */
static void test_small_frames_count_what_they_take_in_memory(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    char reason[126];
    uint64_t slow = plane__m_slow.value;
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s, &(struct wr_conn_opts){.queue_bytes = 4u << 20});
    uint8_t *bytes = calloc(1, 1u << 20);
    struct wr_frame *large = wr_frame_copy(WR_WS_BINARY, wr_slice_of(bytes, 1u << 20)),
                    *small = wr_frame_copy(WR_WS_BINARY, wr_slice_of(bytes, 2));
    assert_int_equal(wr_fanout_send(g, &large, 1, 1), WR_OK); /* the socket takes no more */
    for (unsigned i = 0; i < 40000; i++)
        while (wr_fanout_send(g, &small, 1, 1) != WR_OK)
            wr_plane_wait_room(p);
    wr_frame_unref(small);
    wr_frame_unref(large);
    while (plane__m_slow.value == slow)
        usleep(1000);
    assert_int_equal(close_get(fd, reason), 3008);
    close(fd);
    AWAIT(&s, s.closed);
    free(bytes);
    wr_fanout_unref(&g);
    wr_plane_close(&p);
    seen_fini(&s);
}

/* More than the bound between two rounds of writing: a client whose socket takes it is not slow. */
static void test_a_burst_over_the_bound_is_not_slow(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    struct wr_buf b = {0};
    struct wr_frame *frames[16];
    char text[4000] = "";
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s, &(struct wr_conn_opts){.queue_bytes = 10000});
    for (unsigned i = 0; i < WR_ARRAY_LEN(frames); i++) {
        text[0] = (char)('a' + i);
        frames[i] = wr_frame_copy(WR_WS_BINARY, wr_slice_of(text, sizeof text));
    }
    assert_int_equal(wr_fanout_send(g, frames, WR_ARRAY_LEN(frames), 1), WR_OK);
    for (unsigned i = 0; i < WR_ARRAY_LEN(frames); i++) {
        assert_int_equal(frame_get(fd, &b), 2);
        assert_int_equal(b.p[0], 'a' + i);
        wr_frame_unref(frames[i]);
    }
    close(fd);
    AWAIT(&s, s.closed);
    wr_fanout_unref(&g);
    wr_buf_free(&b);
    wr_plane_close(&p);
    seen_fini(&s);
}

static void hold_thread(struct wr_conn *c, void *arg)
{
    assert_non_null(c);
    while (sem_wait(arg) != 0)
        ;
}

static void test_what_waits_for_a_thread_is_bounded_in_bytes(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    sem_t go;
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s, NULL);
    uint8_t *bytes = calloc(1, PLANE__INBOX_BYTES / 4);
    struct wr_frame *f = wr_frame_copy(WR_WS_BINARY, wr_slice_of(bytes, PLANE__INBOX_BYTES / 4));
    assert_int_equal(sem_init(&go, 0, 0), 0);
    wr_plane_post(p, s.id, hold_thread, &go);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(wr_fanout_send(g, &f, 1, 1), WR_OK);
    assert_int_equal(wr_fanout_send(g, &f, 1, 1), WR_ERR_BUSY);
    assert_int_equal(sem_post(&go), 0);
    wr_plane_wait_room(p);
    assert_int_equal(wr_fanout_send(g, &f, 1, 1), WR_OK);
    close(fd);
    AWAIT(&s, s.closed);
    assert_int_equal(sem_destroy(&go), 0);
    wr_frame_unref(f);
    free(bytes);
    wr_fanout_unref(&g);
    wr_plane_close(&p);
    seen_fini(&s);
}

static void send_media(struct wr_fanout *g, unsigned number, unsigned flags, size_t bytes)
{
    uint8_t *p = calloc(1, bytes);
    (void)snprintf((char *)p, bytes, "%u", number);
    struct wr_frame_part part = {.bytes = wr_slice_of(p, bytes)};
    struct wr_frame *f = wr_frame_new(WR_WS_BINARY, flags, 0, &part, 1);
    assert_int_equal(wr_fanout_send(g, &f, 1, 1), WR_OK);
    wr_frame_unref(f);
    free(p);
}

static void test_a_slow_viewer_goes_on_at_a_key_frame(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    struct wr_buf b = {0};
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s,
                   &(struct wr_conn_opts){
                       .policy = WR_QUEUE_MEDIA, .queue_bytes = 300000, .queue_ms = 100000});
    send_media(g, 0, WR_FRAME_KEY, 50000);
    assert_int_equal(frame_get(fd, &b), 2);
    for (unsigned i = 1; i < 60; i++) /* every tenth is a key frame; nobody reads */
        send_media(g, i, i % 10 == 0 ? WR_FRAME_KEY : 0, 50000);
    send_media(g, 1000, WR_FRAME_KEEP, 100);
    unsigned next = 1, got = 0;
    for (bool kept = false; !kept;) {
        assert_int_equal(frame_get(fd, &b), 2);
        unsigned n = (unsigned)strtoul((char *)b.p, NULL, 10);
        kept = n == 1000;
        if (!kept && n != next)
            assert_int_equal(n % 10, 0); /* behind a gap decoding can begin */
        next = n + 1;
        got += !kept;
    }
    assert_true(got <= 40);    /* what the socket took, and the bound of the queue */
    send_media(g, 61, 0, 100); /* may be skipped still, until the next key frame */
    send_media(g, 70, WR_FRAME_KEY, 100);
    do {
        assert_int_equal(frame_get(fd, &b), 2);
    } while (strcmp((char *)b.p, "70") != 0);
    close(fd);
    AWAIT(&s, s.closed);
    wr_fanout_unref(&g);
    wr_buf_free(&b);
    wr_plane_close(&p);
    seen_fini(&s);
}

static void test_raw_gets_the_bytes_alone(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct wr_fanout *g = wr_fanout_new(p);
    struct seen s;
    char got[16] = {0};
    seen_init(&s);
    s.fanout = g;
    s.classes = 1;
    int fd = adopt(p, &s,
                   &(struct wr_conn_opts){.transport = WR_TRANSPORT_RAW, .policy = WR_QUEUE_MEDIA});
    put(fd, "ignored", 7);
    struct wr_frame *f[2] = {wr_frame_copy(WR_WS_BINARY, wr_slice_str("abc")),
                             wr_frame_copy(WR_WS_BINARY, wr_slice_str("defg"))};
    assert_int_equal(wr_fanout_send(g, f, 2, 1), WR_OK);
    wr_frame_unref(f[0]);
    wr_frame_unref(f[1]);
    assert_int_equal(get(fd, got, 7), 7);
    assert_string_equal(got, "abcdefg");
    close(fd);
    AWAIT(&s, s.closed);
    wr_fanout_unref(&g);
    wr_plane_close(&p);
    seen_fini(&s);
}

/* ---- posting, ending ---- */

static void count_post(struct wr_conn *c, void *arg)
{
    struct seen *s = arg;
    UPDATE(s, (c ? s->messages++ : s->drained++));
}

static void test_a_post_to_a_connection_that_is_gone_gets_null(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s, counts;
    seen_init(&s);
    seen_init(&counts);
    int fd = adopt(p, &s, NULL);
    wr_plane_post(p, s.id, count_post, &counts);
    AWAIT(&counts, counts.messages == 1);
    close(fd);
    AWAIT(&s, s.closed);
    wr_plane_post(p, s.id, count_post, &counts);
    AWAIT(&counts, counts.drained == 1);
    wr_plane_close(&p);
    seen_fini(&s);
    seen_fini(&counts);
}

static void test_drain_says_1001_to_all_and_takes_nobody(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s, late;
    char reason[126];
    seen_init(&s);
    seen_init(&late);
    int fd = adopt(p, &s, NULL);
    wr_plane_drain(p, "shutting down");
    assert_int_equal(close_get(fd, reason), 1001);
    assert_string_equal(reason, "shutting down");
    close(fd);

    /* Who comes later finds no place. */
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct wr_conn_opts o = {
        .transport = WR_TRANSPORT_WS, .policy = WR_QUEUE_CHAT, .ops = &ops, .user = &late};
    assert_int_equal(wr_plane_adopt(p, pair[0], (struct wr_slice){0}, &o), WR_ERR_CLOSED);
    close(pair[1]);
    assert_true(wr_plane_wait_empty(p, WAIT_MS));
    assert_true(late.closed);
    wr_plane_close(&p);
    seen_fini(&s);
    seen_fini(&late);
}

static void test_the_limit_of_connections_holds(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new(); /* 50 */
    struct seen s[50];
    int fd[50];
    for (unsigned i = 0; i < 50; i++) {
        seen_init(&s[i]);
        fd[i] = adopt(p, &s[i], NULL);
    }
    int pair[2];
    struct seen late;
    seen_init(&late);
    struct wr_conn_opts o = {
        .transport = WR_TRANSPORT_WS, .policy = WR_QUEUE_CHAT, .ops = &ops, .user = &late};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(wr_plane_adopt(p, pair[0], (struct wr_slice){0}, &o), WR_ERR_BUSY);
    assert_true(late.closed);
    close(pair[1]);
    seen_fini(&late);
    assert_int_equal(wr_plane_connections(p), 50);
    wr_plane_cut(p);
    assert_int_equal(wr_plane_connections(p), 0);
    wr_plane_close(&p);
    for (unsigned i = 0; i < 50; i++) {
        close(fd[i]);
        assert_true(s[i].closed);
        seen_fini(&s[i]);
    }
}

static void test_a_peer_without_pong_is_dropped(void **state)
{
    (void)state;
    struct wr_plane *p = plane_new();
    struct seen s;
    struct wr_buf b = {0};
    seen_init(&s);
    int fd = adopt(p, &s, &(struct wr_conn_opts){.ping_ms = 300, .pong_ms = 300});
    assert_int_equal(frame_get(fd, &b), 9);
    AWAIT(&s, s.closed);
    assert_string_equal(s.reason, "no pong");
    close(fd);
    wr_buf_free(&b);
    wr_plane_close(&p);
    seen_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_whole_whatever_the_pieces),
        cmocka_unit_test(test_a_message_that_is_complete_does_not_age_the_next),
        cmocka_unit_test(test_bad_frames_get_their_close_code),
        cmocka_unit_test(test_a_length_that_is_not_the_shortest_is_refused_or_read_right),
        cmocka_unit_test(test_a_close_is_answered_with_its_code),
        cmocka_unit_test(test_a_ping_is_answered),
        cmocka_unit_test(test_echo_keeps_order_and_lengths),
        cmocka_unit_test(test_a_group_frame_reaches_all_of_its_class_in_order),
        cmocka_unit_test(test_a_slow_chat_client_is_closed_with_3008),
        cmocka_unit_test(test_answers_do_not_make_a_chat_client_slow),
        cmocka_unit_test(test_small_frames_count_what_they_take_in_memory),
        cmocka_unit_test(test_a_burst_over_the_bound_is_not_slow),
        cmocka_unit_test(test_what_waits_for_a_thread_is_bounded_in_bytes),
        cmocka_unit_test(test_a_slow_viewer_goes_on_at_a_key_frame),
        cmocka_unit_test(test_raw_gets_the_bytes_alone),
        cmocka_unit_test(test_a_post_to_a_connection_that_is_gone_gets_null),
        cmocka_unit_test(test_drain_says_1001_to_all_and_takes_nobody),
        cmocka_unit_test(test_the_limit_of_connections_holds),
        cmocka_unit_test(test_a_peer_without_pong_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
