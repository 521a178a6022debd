/* SPDX-License-Identifier: MIT
 *
 * The HTTP layer over real sockets: the server listens on a free port, the test writes requests by hand. */
#include "http_test_kit.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_pages.h"
#include "http_priv.h"
#include <arpa/inet.h>
#include <sys/stat.h>

static struct wr_plane *plane;
static struct wr_pages *pages;
static char folder[] = "/tmp/wr-http-test-XXXXXX";

/* ---- handlers ---- */

static void on_ws_message(struct wr_conn *c, void *user, enum wr_ws_op op, struct wr_slice m)
{
    (void)user;
    wr_conn_send_bytes(c, op, m);
}

static void on_raw_open(struct wr_conn *c, void *user)
{
    (void)user;
    wr_conn_send_bytes(c, WR_WS_BINARY,
                       wr_slice_str("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\nendless"));
}

static void on_close(struct wr_conn *c, void *user, const struct wr_conn_closed *why)
{
    (void)c;
    (void)user;
    (void)why;
}

static const struct wr_conn_ops ws_ops = {.message = on_ws_message, .close = on_close};
static const struct wr_conn_ops raw_ops = {.open = on_raw_open, .close = on_close};

static void handle_ws(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    struct wr_conn_opts o = {.policy = WR_QUEUE_CHAT, .ops = &ws_ops};
    (void)wr_http_upgrade(r, wr_http_offers(r, "centrifuge-json") ? "centrifuge-json" : NULL, &o);
}

static void handle_raw(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    struct wr_conn_opts o = {.policy = WR_QUEUE_MEDIA, .ops = &raw_ops};
    (void)wr_http_hand_over(r, NULL, &o);
}

/* Tells what it read of the body, and who asked. */
struct body_test {
    struct wr_http_later *later;
    size_t total;
    char client[64];
};

static void on_body_data(struct wr_http_body *b, void *user, struct wr_slice bytes)
{
    (void)b;
    ((struct body_test *)user)->total += bytes.n;
}

static void on_body_end(struct wr_http_body *b, void *user, enum wr_http_body_end how)
{
    (void)b;
    struct body_test *t = user;
    char line[300];
    int n = snprintf(line, sizeof line, "%zu %s", t->total, t->client);
    if (how == WR_BODY_WHOLE)
        wr_http_later_reply(&t->later, 200, "text/plain", NULL, wr_slice_of(line, (size_t)n));
    else
        wr_http_later_error(&t->later, 400, NULL, "after %zu: %d", t->total, how);
    free(t);
}

static void handle_body(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    static const struct wr_http_body_ops body_ops = {.data = on_body_data, .end = on_body_end};
    struct body_test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    (void)snprintf(t->client, sizeof t->client, "%s", r->client);
    t->later = wr_http_take_body(r, &body_ops, t, NULL);
}

/* Refuses without reading. */
static void handle_refuse(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    wr_http_error(r, 413, "too big");
}

static void handle_rest(void *ctx, struct wr_http_req *r)
{
    (void)ctx;
    wr_http_reply(r, 200, "text/plain", NULL, wr_slice_str(r->rest));
}

/* ---- tests ---- */

static void test_routes_and_methods(void **state)
{
    (void)state;
    gives(GET("/nothing", ""), 404);
    gives("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
          405);
    gives("POST /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
          "Content-Length: 0\r\n\r\n",
          405);
    gives(GET("/ws", ""), 426);
    assert_non_null(strstr(ask(GET("/ws", "")), "Upgrade: websocket\r\n"));
    const char *a = ask("DELETE /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(a), 405);
    assert_non_null(strstr(a, "Allow: POST, PUT, OPTIONS\r\n"));
    a = ask("OPTIONS /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(status_of(a), 204);
    assert_non_null(strstr(a, "Allow: POST, PUT, OPTIONS\r\n"));
    gives("PROPFIND /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405);
    a = ask(GET("/rest/a%20b/%E6%88%BF", ""));
    assert_non_null(strstr(a, "\r\n\r\na b/\xe6\x88\xbf"));
    a = ask("HEAD /rest/abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(a, "Content-Length: 3\r\n"));
    assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");
    assert_non_null(strstr(ask(GET("/nothing", "")), "{\"error\":{\"code\":404,\"message\":\""));
}

static void test_odd_paths_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/rest/%00", "/rest/../x", "/rest/%2e%2e/x", "/rest/a%2fb",     "/rest/a%5cb", "/rest/a\\b",
        "/rest/%zz", "/rest/%ff",  "/rest//x",       "/rest/%0d%0aX:y", "/rest/./x",   "/rest/%4"};
    for (size_t i = 0; i < WR_ARRAY_LEN(paths); i++) {
        char request[200];
        (void)snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", paths[i]);
        gives(request, 400);
    }
    char *big = malloc(3000);
    int n = snprintf(big, 3000, "GET /");
    memset(big + n, 'a', 2000);
    (void)snprintf(big + n + 2000, 900, " HTTP/1.1\r\nHost: x\r\n\r\n");
    gives(big, 414);
    free(big);
}

static void test_lengths_are_exact(void **state)
{
    (void)state;
    const char *a = ask(
        "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    assert_non_null(strstr(a, "\r\n\r\n5 127.0.0.1"));
    a = ask("POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: "
            "close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_non_null(strstr(a, "\r\n\r\n5 127.0.0.1"));
    gives("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
          "chunked\r\n\r\n0\r\n\r\n",
          400);
    gives("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
          400);
    gives("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3abc\r\n\r\nhello", 400);
    gives("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello", 400);
    gives("POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nhello", 400);
}

static void test_a_body_that_is_cut_is_an_error(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    int fd = dial();
    say(fd, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhello");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    while (more(fd, &b, 15000))
        ;
    assert_int_equal(status_of((const char *)b.p), 400);
    assert_non_null(strstr((const char *)b.p, "after 5: "));
    close(fd);
    wr_buf_free(&b);
}

static void test_continue_is_said_when_the_body_is_wanted(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    int fd = dial();
    say(fd, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: "
            "100-continue\r\nConnection: close\r\n\r\n");
    while (!b.n || !strstr((const char *)b.p, "\r\n\r\n"))
        assert_true(more(fd, &b, 15000));
    assert_string_equal((const char *)b.p, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "hi");
    while (more(fd, &b, 15000))
        ;
    assert_non_null(strstr((const char *)b.p, "HTTP/1.1 200 OK"));
    close(fd);
    wr_buf_free(&b);
    assert_null(strstr(ask("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: "
                           "100-continue\r\n\r\n"),
                       "100 Continue"));
}

static void test_a_refused_body_is_not_read_to_its_end(void **state)
{
    (void)state;
    int64_t start = wr_mono_ms();
    const char *a = ask(
        "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nbegin");
    assert_int_equal(status_of(a), 413);
    assert_non_null(strstr(a, "Connection: close\r\n"));
    assert_true(wr_mono_ms() - start < 8000);
}

static void test_a_body_that_nobody_wants_holds_no_worker(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nbegin",
        "HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nbegin",
        "OPTIONS /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nbegin",
        "GET /rest/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin"};
    for (unsigned i = 0; i < WR_ARRAY_LEN(heads); i++) {
        int64_t start = wr_mono_ms();
        const char *a = ask(heads[i]);
        assert_true(status_of(a) < 300);
        assert_non_null(strstr(a, "Connection: close\r\n"));
        assert_true(wr_mono_ms() - start < 8000);
    }
}

static void test_a_connection_is_kept(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    int fd = dial();
    for (unsigned i = 0; i < 3; i++) {
        wr_buf_clear(&b);
        say(fd, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok");
        while (!b.n || !strstr((const char *)b.p, "\r\n\r\n2 "))
            assert_true(more(fd, &b, 15000));
        wr_buf_clear(&b);
        say(fd, "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nyes\r\n0\r\n\r\n");
        while (!b.n || !strstr((const char *)b.p, "\r\n\r\n3 "))
            assert_true(more(fd, &b, 15000));
        assert_non_null(strstr((const char *)b.p, "Connection: keep-alive\r\n"));
    }
    close(fd);
    wr_buf_free(&b);
}

static void test_head_floods_are_refused(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    wr_buf_str(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 0; i < 70; i++)
        wr_buf_fmt(&b, "X-%u: y\r\n", i);
    wr_buf_str(&b, "\r\n");
    wr_buf_char(&b, 0);
    gives((const char *)b.p, 431);
    wr_buf_free(&b);
}

#define UPGRADE(path, key, version, extra)                                               \
    "GET " path " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, " \
    "Upgrade\r\nSec-WebSocket-Key: " key "\r\nSec-WebSocket-Version: " version "\r\n" extra "\r\n"

static void test_a_handshake_leads_to_the_plane(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    int fd = dial();
    say(fd, UPGRADE("/ws", "dGhlIHNhbXBsZSBub25jZQ==", "13",
                    "Sec-WebSocket-Protocol: other, centrifuge-json\r\n"));
    while (!b.n || !strstr((const char *)b.p, "\r\n\r\n"))
        assert_true(more(fd, &b, 15000));
    assert_int_equal(status_of((const char *)b.p), 101);
    assert_non_null(
        strstr((const char *)b.p,
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")); /* RFC 6455, 1.3 */
    assert_non_null(strstr((const char *)b.p, "Sec-WebSocket-Protocol: centrifuge-json\r\n"));
    wr_buf_clear(&b);
    static const uint8_t hello[] = {0x81, 0x82, 0, 0, 0, 0, 'h', 'i'};
    assert_int_equal(send(fd, hello, sizeof hello, 0), sizeof hello);
    while (b.n < 4)
        assert_true(more(fd, &b, 15000));
    assert_memory_equal(b.p, "\x81\x02hi", 4);
    close(fd);
    wr_buf_free(&b);
    gives(UPGRADE("/ws", "short==", "13", ""), 400);
    gives(UPGRADE("/ws", "dGhlIHNhbXBsZSBub25jZQ==", "8", ""), 426);
}

static void test_many_handshakes_at_once_keep_their_own_sockets(void **state)
{
    (void)state;
    enum { N = 300 };
    int fd[N];
    for (unsigned i = 0; i < N; i++) {
        fd[i] = dial();
        say(fd[i], UPGRADE("/ws", "dGhlIHNhbXBsZSBub25jZQ==", "13", ""));
    }
    for (unsigned i = 0; i < N; i++) {
        struct wr_buf b = {0};
        while (!b.n || !strstr((const char *)b.p, "\r\n\r\n"))
            assert_true(more(fd[i], &b, 15000));
        assert_int_equal(status_of((const char *)b.p), 101);
        uint8_t frame[] = {0x82, 0x82, 0, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(send(fd[i], frame, sizeof frame, 0), sizeof frame);
        wr_buf_free(&b);
    }
    for (unsigned i = 0; i < N; i++) {
        struct wr_buf b = {0};
        while (b.n < 4)
            assert_true(more(fd[i], &b, 15000));
        assert_int_equal(b.p[2] << 8 | b.p[3], i);
        close(fd[i]);
        wr_buf_free(&b);
    }
}

static void test_an_endless_answer_leaves_civetweb(void **state)
{
    (void)state;
    struct wr_buf b = {0};
    int fd = dial();
    say(fd, GET("/raw", ""));
    while (!b.n || !strstr((const char *)b.p, "endless"))
        assert_true(more(fd, &b, 15000));
    assert_memory_equal(b.p, "HTTP/1.1 200 OK\r\n", 17);
    close(fd);
    wr_buf_free(&b);
}

static void test_forwarded_headers_only_from_trusted_proxies(void **state)
{
    (void)state;
#define POST(more_) \
    "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n" more_ "\r\n"
    assert_non_null(
        strstr(ask(POST("X-Forwarded-For: 1.2.3.4, 10.1.2.3\r\n")), "\r\n\r\n0 1.2.3.4"));
    assert_non_null(strstr(ask(POST("X-Forwarded-For: evil, 10.1.2.3\r\n")), "\r\n\r\n0 10.1.2.3"));
    struct http__block b[4];
    size_t n;
    struct in6_addr a;
    assert_true(http__blocks_parse("10.0.0.0/8, 192.168.1.1,fd00::/8", b, 4, &n));
    assert_int_equal(n, 3);
    assert_true(http__addr_parse("10.255.0.1", &a) && http__addr_in(b, n, &a));
    assert_true(http__addr_parse("192.168.1.2", &a) && !http__addr_in(b, n, &a));
    assert_true(http__addr_parse("fd12::1", &a) && http__addr_in(b, n, &a));
    assert_false(http__blocks_parse("10.0.0.0/33", b, 4, &n));
    assert_false(http__blocks_parse("ten", b, 4, &n));
}

static void test_pages(void **state)
{
    (void)state;
    const char *a = ask(GET("/", ""));
    assert_int_equal(status_of(a), 200);
    assert_non_null(strstr(a, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(a, "Content-Security-Policy: default-src 'self'"));
    assert_non_null(strstr(a, "\r\n\r\n<lobby>"));
    char etag[64], request[300];
    assert_int_equal(sscanf(strstr(a, "ETag: "), "ETag: %63s", etag), 1);
    (void)snprintf(request, sizeof request, GET("/", "If-None-Match: \"x\", W/%s\r\n"), etag);
    gives(request, 304);
    assert_non_null(strstr(ask(GET("/room/kitchen", "")), "\r\n\r\n<room>"));
    assert_non_null(strstr(ask(GET("/assets/a-1234.js", "")),
                           "Cache-Control: public, max-age=31536000, immutable\r\n"));
    gives(GET("/link.txt", ""), 404);
    gives(GET("/assets", ""), 404);
    gives(GET("/room/", ""), 404);
    gives(GET("/assets/../../etc/passwd", ""), 400);
}

static void test_a_port_in_use_is_named(void **state)
{
    (void)state;
    struct wr_http *second;
    struct wr_errmsg err = {{0}};
    struct wr_http_opts o = {.listen = wr_http_address(http), .threads = 2, .plane = plane};
    assert_int_equal(wr_http_new(&o, &second, &err), WR_OK);
    assert_int_equal(wr_http_start(second, &err), WR_ERR_CONFLICT);
    assert_non_null(strstr(err.text, wr_http_address(http)));
    wr_http_stop(&second);
    o.listen = "nonsense";
    assert_int_equal(wr_http_new(&o, &second, &err), WR_ERR_INVALID);
    o.listen = "203.0.113.1:1";
    assert_int_equal(wr_http_new(&o, &second, &err), WR_OK);
    assert_int_equal(wr_http_start(second, &err), WR_ERR_INVALID);
    wr_http_stop(&second);
}

/* ---- life ---- */

static void file_put(const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool comes(const char *request, const char *what)
{
    for (int i = 0; i < 3000; i++) {
        if (strstr(ask(request), what))
            return true;
        (void)usleep(10000);
    }
    return false;
}

static void etag_of(const char *answer, char etag[64])
{
    const char *at = strstr(answer, "ETag: ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "ETag: %63s", etag), 1);
}

/* Small files are kept in memory; what the folder has counts all the same, a moment later. */
static void test_a_page_that_changes_is_served_as_it_is(void **state)
{
    (void)state;
    char path[300], first[64], second[64];
    file_put("assets/b.js", "first");
    const char *a = ask(GET("/assets/b.js", ""));
    assert_non_null(strstr(a, "\r\n\r\nfirst"));
    etag_of(a, first);
    assert_non_null(strstr(ask(GET("/assets/b.js", "")), "\r\n\r\nfirst")); /* kept */
    file_put("assets/b.js", "then another");
    assert_true(comes(GET("/assets/b.js", ""), "\r\n\r\nthen another"));
    a = ask(GET("/assets/b.js", ""));
    assert_non_null(strstr(a, "Content-Length: 12\r\n"));
    etag_of(a, second);
    assert_string_not_equal(first, second);
    (void)snprintf(path, sizeof path, "%s/assets/b.js", folder);
    assert_int_equal(unlink(path), 0);
    assert_true(comes(GET("/assets/b.js", ""), "HTTP/1.1 404 "));
    file_put("assets/b.js", "back");
    assert_non_null(strstr(ask(GET("/assets/b.js", "")), "\r\n\r\nback"));
    assert_int_equal(unlink(path), 0);
}

static void test_long_and_empty_pages_look_like_small_ones(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        const char *length;
    } cases[] = {{0, "\r\nContent-Length: 0\r\n"},
                 {65536, "\r\nContent-Length: 65536\r\n"},
                 {65537, "\r\nContent-Length: 65537\r\n"}}; /* not kept */
    char path[300];
    char *text = calloc(1, 65538);
    assert_non_null(text);
    (void)snprintf(path, sizeof path, "%s/assets/c.css", folder);
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
        memset(text, 'c', cases[i].n);
        file_put("assets/c.css", text);
        assert_true(comes(GET("/assets/c.css", ""), cases[i].length));
        const char *a = ask(GET("/assets/c.css", ""));
        assert_int_equal(status_of(a), 200);
        assert_non_null(strstr(a, "Content-Type: text/css; charset=utf-8\r\n"));
        assert_non_null(strstr(a, "X-Content-Type-Options: nosniff\r\n"));
        const char *body = strstr(a, "\r\n\r\n");
        assert_non_null(body);
        assert_int_equal(strlen(body + 4), cases[i].n);
        assert_int_equal(unlink(path), 0);
        assert_true(comes(GET("/assets/c.css", ""), "HTTP/1.1 404 "));
    }
    free(text);
}

static int setup(void **state)
{
    (void)state;
    char path[300];
    struct wr_errmsg err = {{0}};
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/assets", folder);
    (void)mkdir(path, 0700);
    file_put("index.html", "<lobby>");
    file_put("room.html", "<room>");
    file_put("assets/a-1234.js", "x");
    (void)snprintf(path, sizeof path, "%s/link.txt", folder);
    (void)symlink("/etc/passwd", path);
    static const struct wr_http_route routes[] = {
        {.path = "/ws", .methods = WR_GET, .upgrade_only = true, .handler = handle_ws},
        {.path = "/raw", .methods = WR_GET, .handler = handle_raw},
        {.path = "/body",
         .methods = WR_POST | WR_PUT,
         .body = WR_BODY_STREAM,
         .handler = handle_body},
        {.path = "/refuse", .methods = WR_POST, .handler = handle_refuse},
        {.path = "/rest/", .is_prefix = true, .methods = WR_GET, .handler = handle_rest},
    };
    if (wr_plane_open(&(struct wr_plane_opts){.threads = 2}, &plane) != WR_OK ||
        wr_pages_open(folder, &pages) != WR_OK)
        return -1;
    struct wr_http_opts o = {.listen = "127.0.0.1:0",
                             .threads = 16,
                             .trusted_proxies = "127.0.0.1, 10.0.0.0/8",
                             .plane = plane,
                             .fallback = wr_pages_serve,
                             .fallback_ctx = pages};
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
    static const char *const names[] = {"index.html", "room.html", "assets/a-1234.js", "link.txt"};
    char path[300];
    wr_plane_cut(plane);
    wr_http_stop(&http);
    wr_plane_close(&plane);
    wr_pages_close(&pages);
    for (size_t i = 0; i < WR_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/assets", folder);
    (void)rmdir(path);
    (void)rmdir(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_and_methods),
        cmocka_unit_test(test_odd_paths_are_refused),
        cmocka_unit_test(test_lengths_are_exact),
        cmocka_unit_test(test_a_body_that_is_cut_is_an_error),
        cmocka_unit_test(test_continue_is_said_when_the_body_is_wanted),
        cmocka_unit_test(test_a_refused_body_is_not_read_to_its_end),
        cmocka_unit_test(test_a_body_that_nobody_wants_holds_no_worker),
        cmocka_unit_test(test_a_connection_is_kept),
        cmocka_unit_test(test_head_floods_are_refused),
        cmocka_unit_test(test_a_handshake_leads_to_the_plane),
        cmocka_unit_test(test_many_handshakes_at_once_keep_their_own_sockets),
        cmocka_unit_test(test_an_endless_answer_leaves_civetweb),
        cmocka_unit_test(test_forwarded_headers_only_from_trusted_proxies),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_a_page_that_changes_is_served_as_it_is),
        cmocka_unit_test(test_long_and_empty_pages_look_like_small_ones),
        cmocka_unit_test(test_a_port_in_use_is_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
