/* SPDX-License-Identifier: MIT
 *
 * The longer ways of a request: one that waits for its answer, small bodies, pieces of an answer whose length nobody knows,
 * clients that end their half, that take next to nothing, that come over IPv6. */
#include "http_test_kit.h"
#include "http_priv.h"
#include "wr_clock.h"
#include "wr_thread.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>

#define PATIENCE_MS 600u
#define MANY ((size_t)100 << 20)

static struct wr_plane *plane;

/* ---- handlers ---- */

/* What is parked, for the test to answer; and how often somebody was told to drop the work. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static struct wr_http_later *parked;
static unsigned gones, ends, whole_ends;
static uint32_t park_ms;

static void on_gone(void *user)
{
    (void)user;
    pthread_mutex_lock(&lock);
    gones++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void handle_park(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    pthread_mutex_lock(&lock);
    parked = wr_http_park(r, &(struct wr_http_park){.gone = on_gone, .deadline_ms = park_ms});
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static unsigned count(const unsigned *n)
{
    pthread_mutex_lock(&lock);
    unsigned now = *n;
    pthread_mutex_unlock(&lock);
    return now;
}

static void wait_for(const unsigned *n, unsigned want)
{
    pthread_mutex_lock(&lock);
    while (*n < want)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* Takes over what the handler parked. */
static struct wr_http_later *take_parked(void)
{
    pthread_mutex_lock(&lock);
    while (!parked)
        pthread_cond_wait(&changed, &lock);
    struct wr_http_later *l = parked;
    parked = NULL;
    pthread_mutex_unlock(&lock);
    return l;
}

/* The same, when the front knows that it is parked: the handler has returned. */
static struct wr_http_later *take_waiting(void)
{
    struct wr_http_later *l = take_parked();
    while (!atomic_load(&http__g_parked.value))
        usleep(1000);
    return l;
}

static void handle_small(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    wr_http_reply(r, 200, "text/plain", NULL, r->body);
}

static void handle_large(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    struct wr_buf b = {0};
    for (unsigned i = 0; i < 1u << 17; i++)
        wr_buf_str(&b, "[\"json\"]");
    wr_http_reply(r, 200, "application/json", NULL, wr_slice_of(b.p, b.n));
    wr_buf_free(&b);
}

static void handle_file(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    int fd = memfd_create("a hundred MB", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)MANY), 0);
    wr_http_send_fd(r, 200, "Content-Type: video/mp4\r\n", fd, 0, MANY);
}

static void handle_client(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    wr_http_reply(r, 200, "text/plain", NULL, wr_slice_str(r->client));
}

/* Pieces: "0,1,2,...", as many as the path says; then the end that it says. */
struct counting {
    unsigned at, n;
    char end;
};

static void count_more(struct wr_http_to to, void *user)
{
    struct counting *c = user;
    char text[16];
    if (c->at < c->n) {
        int n = snprintf(text, sizeof text, "%u,", c->at++);
        wr_http_give(to, NULL, wr_slice_of(text, (size_t)n));
    } else if (c->end == 'u') {
        wr_http_give_up(to);
    } else {
        wr_http_give_end(to);
    }
}

static void count_end(void *user, bool is_whole)
{
    free(user);
    pthread_mutex_lock(&lock);
    ends++;
    whole_ends += is_whole;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* "/pieces/1000", "/pieces/5u" gives up, "/pieces/5s" has said that it is longer. */
static void handle_pieces(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    static const struct wr_http_source source = {.more = count_more, .end = count_end};
    struct counting *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->n = (unsigned)strtoul(r->rest, NULL, 10);
    c->end = r->rest[strspn(r->rest, "0123456789")];
    wr_http_send_pieces(r, 200, "Content-Type: text/plain\r\n", c->end == 's' ? 1000 : -1, &source,
                        c);
}

/* Pieces without an end. */
static void flood_more(struct wr_http_to to, void *user)
{
    static const uint8_t zeros[64u << 10];
    (void)user;
    wr_http_give(to, NULL, wr_slice_of(zeros, sizeof zeros));
}

static void flood_end(void *user, bool is_whole)
{
    (void)user;
    count_end(NULL, is_whole);
}

static void handle_flood(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    static const struct wr_http_source source = {.more = flood_more, .end = flood_end};
    wr_http_send_pieces(r, 200, NULL, -1, &source, NULL);
}

/* ---- tests ---- */

static void test_a_parked_request_is_answered_when_there_is_an_answer(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    int fd = dial();
    say(fd, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    struct wr_http_later *l = take_waiting();
    assert_false(more(fd, &b, 0));
    wr_http_later_reply(&l, 200, "text/plain", NULL, wr_slice_str("at last"));
    assert_null(l);
    while (!b.n || !strstr((const char *)b.p, "\r\n\r\nat last"))
        assert_true(more(fd, &b, 15000));
    assert_int_equal(count(&gones), 0);
    close(fd);
    wr_buf_free(&b);
}

static void test_a_parked_request_ends_at_its_deadline(void **state)
{
    (void)state;
    unsigned before = count(&gones);
    park_ms = 50;
    const char *a = ask("GET /park HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    park_ms = 0;
    assert_int_equal(status_of(a), 504);
    wait_for(&gones, before + 1);
    struct wr_http_later *l = take_parked();
    wr_http_later_reply(&l, 200, "text/plain", NULL, wr_slice_str("nobody hears it"));
    gives(GET("/client", ""), 200);
    assert_int_equal(count(&gones), before + 1);
}

static void test_who_parks_is_told_that_the_client_left(void **state)
{
    (void)state;
    unsigned before = count(&gones);
    int fd = dial();
    say(fd, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    struct wr_http_later *l = take_waiting();
    /* An end of its half is none: it may be waiting for the answer. A reset is. */
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
    wait_for(&gones, before + 1);
    wr_http_later_error(&l, 404, NULL, "nobody hears it");
}

static void test_small_bodies_come_whole_before_the_handler_is_asked(void **state)
{
    (void)state;
    static char large[(64u << 10) + 400];
    const char *a = ask("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: "
                        "close\r\n\r\nhello");
    assert_non_null(strstr(a, "\r\n\r\nhello"));
    a = ask("POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: "
            "close\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    assert_non_null(strstr(a, "\r\n\r\nhello"));
    gives("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413);
    gives("POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", 400);
    /* As long as may be, and a byte more, neither of which was said before. */
    for (unsigned extra = 0; extra < 2; extra++) {
        int n = snprintf(large, sizeof large,
                         "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                         "chunked\r\nConnection: close\r\n\r\n%x\r\n",
                         (64u << 10) + extra);
        memset(large + n, 'x', (64u << 10) + extra);
        strcpy(large + n + (64u << 10) + extra, "\r\n0\r\n\r\n");
        gives(large, extra ? 413 : 200);
    }
    int fd = dial();
    struct wr_buf b = {0};
    say(fd, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    while (more(fd, &b, 15000))
        ;
    assert_int_equal(status_of((const char *)b.p), 400);
    assert_non_null(strstr((const char *)b.p, "ended before its length"));
    close(fd);
    wr_buf_free(&b);
}

/* Takes the chunked coding off, which must be whole. */
static size_t dechunked(const char *answer, char *out, size_t room)
{
    struct http__chunked c = {0};
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    body += 4;
    size_t n = strlen(body), at = 0, got = 0;
    while (at < n && c.state != HTTP__CHUNK_DONE) {
        struct wr_slice data;
        at += http__chunked_feed(&c, (const uint8_t *)body + at, n - at, &data);
        assert_int_not_equal(c.state, HTTP__CHUNK_BAD);
        assert_true(got + data.n < room);
        if (data.n)
            memcpy(out + got, data.p, data.n);
        got += data.n;
    }
    assert_int_equal(c.state, HTTP__CHUNK_DONE);
    out[got] = 0;
    return got;
}

static void counted(char *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        out += snprintf(out, 8, "%u,", i);
}

static void test_pieces_of_unknown_length(void **state)
{
    (void)state;
    static char want[8192], got[8192];
    unsigned before = count(&whole_ends), before_all = count(&ends);
    counted(want, 1000);
    const char *a = ask(GET("/pieces/1000", ""));
    assert_non_null(strstr(a, "Transfer-Encoding: chunked\r\n"));
    (void)dechunked(a, got, sizeof got);
    assert_string_equal(got, want);
    /* Who does not know chunks reads to the end of the connection. */
    a = ask("GET /pieces/1000 HTTP/1.0\r\nHost: x\r\n\r\n");
    assert_null(strstr(a, "Transfer-Encoding"));
    assert_string_equal(strstr(a, "\r\n\r\n") + 4, want);
    a = ask("HEAD /pieces/1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(a), 200);
    assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");
    wait_for(&whole_ends, before + 3);
    /* An answer that is not whole must not look like one. */
    a = ask(GET("/pieces/5u", ""));
    assert_null(strstr(a, "\r\n0\r\n"));
    a = ask(GET("/pieces/5s", ""));
    assert_non_null(strstr(a, "Content-Length: 1000\r\n"));
    wait_for(&ends, before_all + 5);
    assert_int_equal(count(&whole_ends), before + 3);
}

/* Asks, ends its half at once, and reads all the same. */
static size_t half_closed(const char *request)
{
    static uint8_t to[256u << 10];
    int fd = dial();
    size_t n = 0;
    ssize_t got;
    say(fd, request);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    while ((got = recv(fd, to, sizeof to, 0)) > 0)
        n += (size_t)got;
    close(fd);
    return n;
}

static void test_a_half_closed_client_gets_its_whole_answer(void **state)
{
    (void)state;
    assert_in_range(half_closed("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"), 1u << 20,
                    (1u << 20) + 500);
    assert_in_range(half_closed("GET /file HTTP/1.1\r\nHost: x\r\n\r\n"), MANY, MANY + 500);
    assert_in_range(half_closed("GET /pieces/1000 HTTP/1.1\r\nHost: x\r\n\r\n"), 3890, 20000);
}

/* A byte now and then, of an answer that has more than what lies in the kernel. */
static bool is_cut(const char *request)
{
    int fd = dial(), small = 4096;
    int64_t until = wr_mono_ms() + 30000;
    bool over = false;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    say(fd, request);
    while (!over && wr_mono_ms() < until) {
        char c;
        struct pollfd p = {.fd = fd, .events = POLLRDHUP}; /* also POLLERR, POLLHUP */
        over = poll(&p, 1, 20) > 0 || recv(fd, &c, 1, MSG_DONTWAIT) == 0;
    }
    close(fd);
    return over;
}

static void test_a_reader_that_drips_is_cut(void **state)
{
    (void)state;
    uint64_t before = atomic_load(&http__m_slow_readers.value);
    assert_true(is_cut("GET /file HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_int_equal(atomic_load(&http__m_slow_readers.value), before + 1);
    unsigned ended = count(&ends);
    assert_true(is_cut("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n"));
    wait_for(&ends, ended + 1);
    assert_int_equal(atomic_load(&http__m_slow_readers.value), before + 2);
}

static void test_the_pace(void **state)
{
    (void)state;
    struct http__pace idle, drip, fair, fed;
    http__pace_begin(&idle, 1000, 0);
    drip = fair = fed = idle;
    for (unsigned i = 1; i <= 40; i++) {
        int64_t now = i * 15000;
        assert_int_equal(http__pace_is_slow(&idle, 1000, true, now, 60000), i >= 4);
        assert_int_equal(http__pace_is_slow(&drip, 1000 + i * 8000, true, now, 60000), i % 8 == 0);
        assert_false(http__pace_is_slow(&fair, 1000 + i * 8192, true, now, 60000));
        assert_false(http__pace_is_slow(&fed, 1000 + i, false, now, 60000)); /* it waits for us */
    }
}

static void test_ipv6(void **state)
{
    (void)state;
    struct wr_http *v6 = NULL;
    struct wr_errmsg err = {{0}};
    struct wr_http_opts o = {.listen = "[::1]:0", .threads = 2, .plane = plane};
    static const struct wr_http_route route = {
        .path = "/client", .methods = WR_GET, .handler = handle_client};
    assert_int_equal(wr_http_new(&o, &v6, &err), WR_OK);
    assert_int_equal(wr_http_add(v6, &route), WR_OK);
    assert_int_equal(wr_http_start(v6, &err), WR_OK);
    assert_int_equal(strncmp(wr_http_address(v6), "[::1]:", 6), 0);

    union {
        struct sockaddr_in6 in;
        struct sockaddr sa;
    } u = {.in = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    u.in.sin6_port = htons((uint16_t)strtol(wr_http_address(v6) + 6, NULL, 10));
    struct wr_buf b = {0};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &u.sa, sizeof u.in), 0);
    say(fd, "GET /client HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n");
    while (more(fd, &b, 15000))
        ;
    assert_non_null(strstr((const char *)b.p, "\r\n\r\n::1"));
    close(fd);
    wr_buf_free(&b);
    wr_http_stop(&v6);
}

/* The last: the plane takes nobody any more. */
static void test_parked_requests_are_answered_when_the_server_ends(void **state)
{
    (void)state;
    unsigned before = count(&gones);
    struct wr_buf b = {0};
    int fd = dial();
    say(fd, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    struct wr_http_later *l = take_waiting();
    wr_plane_drain(plane, "the end");
    while (more(fd, &b, 15000))
        ;
    assert_int_equal(status_of((const char *)b.p), 503);
    assert_non_null(strstr((const char *)b.p, "Retry-After: 2\r\n"));
    wait_for(&gones, before + 1);
    wr_http_later_reply(&l, 200, "text/plain", NULL, wr_slice_str("nobody hears it"));
    close(fd);
    wr_buf_free(&b);
}

/* ---- life ---- */

static int setup(void **state)
{
    (void)state;
    static const struct wr_http_route routes[] = {
        {.path = "/park", .methods = WR_GET, .handler = handle_park},
        {.path = "/small", .methods = WR_POST, .body = WR_BODY_SMALL, .handler = handle_small},
        {.path = "/large", .methods = WR_GET, .handler = handle_large},
        {.path = "/file", .methods = WR_GET, .handler = handle_file},
        {.path = "/client", .methods = WR_GET, .handler = handle_client},
        {.path = "/flood", .methods = WR_GET, .handler = handle_flood},
        {.path = "/pieces/", .is_prefix = true, .methods = WR_GET, .handler = handle_pieces},
    };
    struct wr_errmsg err = {{0}};
    wr_cond_init(&changed);
    if (wr_plane_open(&(struct wr_plane_opts){.threads = 2}, &plane) != WR_OK)
        return -1;
    struct wr_http_opts o = {.listen = "127.0.0.1:0",
                             .threads = 4,
                             .plane = plane,
                             .hosts = "*",
                             .patience_ms = PATIENCE_MS};
    if (wr_http_new(&o, &http, &err) != WR_OK)
        return -1;
    for (size_t i = 0; i < WR_ARRAY_LEN(routes); i++)
        if (wr_http_add(http, &routes[i]) != WR_OK)
            return -1;
    return wr_http_start(http, &err) == WR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    wr_plane_cut(plane);
    wr_http_stop(&http);
    wr_plane_close(&plane);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_parked_request_is_answered_when_there_is_an_answer),
        cmocka_unit_test(test_a_parked_request_ends_at_its_deadline),
        cmocka_unit_test(test_who_parks_is_told_that_the_client_left),
        cmocka_unit_test(test_small_bodies_come_whole_before_the_handler_is_asked),
        cmocka_unit_test(test_pieces_of_unknown_length),
        cmocka_unit_test(test_a_half_closed_client_gets_its_whole_answer),
        cmocka_unit_test(test_a_reader_that_drips_is_cut),
        cmocka_unit_test(test_the_pace),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_parked_requests_are_answered_when_the_server_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
