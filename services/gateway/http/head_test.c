/* SPDX-License-Identifier: MIT
 *
 * Heads and chunked bodies by table: what is taken, what is refused, whatever the pieces. */
#include "head.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above */
#include <cmocka.h>

#define HOST "Host: a\r\n"

static ptrdiff_t parse(const char *text, struct http__head *h)
{
    const char *why = NULL;
    size_t scanned = 0;
    ptrdiff_t n = http__head_parse((const uint8_t *)text, strlen(text), &scanned, h, &why);
    assert_true(n >= 0 || (why && why[0]));
    return n;
}

static void test_heads_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } table[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
        {"GET /\r\n" HOST "\r\n", 400},
        {"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://a@b/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /#x HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / http/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.10\r\n" HOST "\r\n", 400},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 501},
        {"GET / HTTP/1.1\n" HOST "\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST " X: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a:999999\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 1234567890123456789\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5, 6\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "Expect: more\r\n\r\n", 417},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct http__head h;
        ptrdiff_t n = parse(table[i].text, &h);
        if (n != -table[i].status)
            fail_msg("%s: %td, not %d", table[i].text, n, -table[i].status);
    }
}

static bool is(struct wr_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void test_what_a_head_says(void **state)
{
    (void)state;
    static const char text[] = "POST /a?b HTTP/1.1\r\nhost: B.example:80\r\nX-Odd: \t c d \t\r\n"
                               "Connection: foo, Upgrade\r\nContent-Length: 7, 7\r\n"
                               "Expect: 100-Continue\r\n\r\nbehind";
    struct http__head h;
    assert_int_equal(parse(text, &h), sizeof text - 7);
    assert_true(is(h.method, "POST") && is(h.target, "/a?b") && is(h.host, "B.example:80"));
    assert_true(is(http__head_field(&h, "x-odd")->value, "c d"));
    assert_null(http__head_field(&h, "x-od"));
    assert_true(h.is_11 && h.keep_alive && h.wants_upgrade && h.expects_continue && !h.is_chunked);
    assert_int_equal(h.content_length, 7);
    assert_true(parse("GET http://x:1?q HTTP/1.1\r\n" HOST "\r\n", &h) == -400);
    assert_true(parse("GET HTTP://x:1 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", &h) > 0);
    assert_true(is(h.host, "x:1") && h.target.n == 0 && !h.keep_alive);
    assert_true(parse("OPTIONS * HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &h) > 0);
    assert_true(h.form == HTTP__ASTERISK_FORM && h.keep_alive && !h.is_11);
    assert_true(parse("GET / HTTP/1.0\r\n\r\n", &h) > 0 && !h.keep_alive);
}

static void test_a_head_comes_in_pieces(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\n" HOST "A: b\r\n\r\n";
    struct http__head h;
    const char *why;
    size_t scanned = 0;
    for (size_t n = 1; n < sizeof text - 1; n++)
        assert_int_equal(http__head_parse((const uint8_t *)text, n, &scanned, &h, &why), 0);
    assert_int_equal(http__head_parse((const uint8_t *)text, sizeof text - 1, &scanned, &h, &why),
                     sizeof text - 1);
}

static void test_heads_are_bounded(void **state)
{
    (void)state;
    struct http__head h;
    char *big = malloc(HTTP__HEAD_BYTES + 100);
    memset(big, 'a', HTTP__HEAD_BYTES + 99);
    big[HTTP__HEAD_BYTES + 99] = 0;
    assert_int_equal(parse(big, &h), -431);
    big[HTTP__HEAD_BYTES - 1] = 0;
    assert_int_equal(parse(big, &h), 0);
    int n = snprintf(big, HTTP__HEAD_BYTES, "GET / HTTP/1.1\r\n" HOST);
    for (unsigned i = 1; i < HTTP__FIELDS; i++)
        n += snprintf(big + n, 100, "X-%u: y\r\n", i);
    strcpy(big + n, "\r\n");
    assert_true(parse(big, &h) > 0);
    strcpy(big + n, "One: more\r\n\r\n");
    assert_int_equal(parse(big, &h), -431);
    free(big);
}

/* Feeds in steps; the data, and the state at the end. */
static enum http__chunk_state unchunk(const char *text, size_t step, char *out, size_t *used)
{
    struct http__chunked d = {0};
    size_t n = strlen(text), at = 0, o = 0;
    while (at < n && d.state < HTTP__CHUNK_DONE) {
        size_t end = at + step < n ? at + step : n;
        while (at < end && d.state < HTTP__CHUNK_DONE) {
            struct wr_slice data;
            at += http__chunked_feed(&d, (const uint8_t *)text + at, end - at, &data);
            if (data.n)
                memcpy(out + o, data.p, data.n);
            o += data.n;
        }
    }
    out[o] = 0;
    *used = at;
    return d.state;
}

static void test_chunks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *data;
        enum http__chunk_state end;
    } table[] = {
        {"3\r\nabc\r\n0\r\n\r\nGET", "abc", HTTP__CHUNK_DONE},
        {"003;x=\"y\";z\r\nabc\r\nA\r\n0123456789\r\n0;e\r\nT: u\r\nV: w\r\n\r\n", "abc0123456789",
         HTTP__CHUNK_DONE},
        {"3\r\nab", "ab", HTTP__CHUNK_DATA},
        {"\r\n", "", HTTP__CHUNK_BAD},
        {"-3\r\nabc", "", HTTP__CHUNK_BAD},
        {"0x3\r\nabc", "", HTTP__CHUNK_BAD},
        {"3 \r\nabc", "", HTTP__CHUNK_BAD},
        {"3\nabc\r\n", "", HTTP__CHUNK_BAD},
        {"3\r\nabcd", "abc", HTTP__CHUNK_BAD},
        {"3\r\nabc\n0\r\n\r\n", "abc", HTTP__CHUNK_BAD},
        {"3;\x01\r\nabc", "", HTTP__CHUNK_BAD},
        {"1111111111111111\r\n", "", HTTP__CHUNK_BAD},
        {"0\r\n folded\r\n\r\n", "", HTTP__CHUNK_BAD},
        {"0\r\nT: u\n\r\n", "", HTTP__CHUNK_BAD},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t step = 1; step < 20; step += 3) {
            char out[100];
            size_t used;
            assert_int_equal(unchunk(table[i].text, step, out, &used), table[i].end);
            assert_string_equal(out, table[i].data);
            if (i == 0)
                assert_int_equal(used, strlen(table[i].text) - 3);
        }
    }
}

static void test_extensions_and_trailers_are_bounded(void **state)
{
    (void)state;
    char *big = malloc(20000), out[10];
    size_t used;
    memset(big, 'a', 19999);
    big[19999] = 0;
    memcpy(big, "3;", 2);
    assert_int_equal(unchunk(big, 100, out, &used), HTTP__CHUNK_BAD);
    memcpy(big, "0\r\n", 3);
    assert_int_equal(unchunk(big, 100, out, &used), HTTP__CHUNK_BAD);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_that_are_refused),
        cmocka_unit_test(test_what_a_head_says),
        cmocka_unit_test(test_a_head_comes_in_pieces),
        cmocka_unit_test(test_heads_are_bounded),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_extensions_and_trailers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
