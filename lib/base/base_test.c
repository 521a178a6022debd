/* SPDX-License-Identifier: MIT
 *
 * Claims about the base module: errors, messages, buffers, base64, maps, protobuf wire format, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "watchroom/v1/hub.pb-c.h"
#include "wr_base64.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_err.h"
#include "wr_fd.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_map.h"
#include "wr_msg.h"
#include "wr_pb.h"
#include "wr_thread.h"

static void test_errno_of_full_disk_is_no_space(void **s)
{
    (void)s;
    assert_int_equal(wr_err_from_errno(ENOSPC), WR_ERR_NO_SPACE);
    assert_int_equal(wr_err_http(WR_ERR_NO_SPACE), 507);
    assert_true(wr_err_is_temporary(WR_ERR_NO_SPACE));
    assert_false(wr_err_is_temporary(WR_ERR_INVALID));
}

static void test_unknown_wire_code_is_internal(void **s)
{
    (void)s;
    assert_int_equal(wr_err_from_wire(9999), WR_ERR_INTERNAL);
    assert_int_equal(wr_err_from_wire(4), WR_ERR_CONFLICT);
}

static void test_msg_push_stops_at_headroom(void **s)
{
    (void)s;
    struct wr_msg *m = wr_msg_new(8, 4);
    assert_non_null(wr_msg_push(m, 8));
    assert_int_equal(m->len, 12);
    assert_null(wr_msg_push(m, 1));
    wr_msg_pull(m, 10);
    assert_int_equal(m->len, 2);
    wr_msg_unref(m);
}

static int released;
static void count_release(struct wr_msg *m)
{
    (void)m;
    released++;
}

static void test_wrapped_msg_is_released_once_at_last_unref(void **s)
{
    (void)s;
    uint8_t bytes[3] = {1, 2, 3};
    released = 0;
    struct wr_msg *m = wr_msg_wrap(bytes, 3, count_release, NULL);
    wr_msg_ref(m);
    wr_msg_unref(m);
    assert_int_equal(released, 0);
    wr_msg_unref(m);
    assert_int_equal(released, 1);
}

static void test_map_keeps_entries_through_growth_and_deletes(void **s)
{
    (void)s;
    struct wr_map m = {0};
    char key[32];
    for (long i = 1; i <= 2000; i++) {
        int n = snprintf(key, sizeof key, "room-%ld", i);
        assert_true(wr_map_put(&m, wr_slice_of(key, (size_t)n), (void *)i));
    }
    for (long i = 1; i <= 2000; i += 2) {
        int n = snprintf(key, sizeof key, "room-%ld", i);
        assert_ptr_equal(wr_map_del(&m, wr_slice_of(key, (size_t)n)), (void *)i);
    }
    assert_int_equal(m.used, 1000);
    for (long i = 1; i <= 2000; i++) {
        int n = snprintf(key, sizeof key, "room-%ld", i);
        assert_ptr_equal(wr_map_get(&m, wr_slice_of(key, (size_t)n)), i % 2 ? NULL : (void *)i);
    }
    size_t at = 0, seen = 0;
    while (wr_map_next(&m, &at, NULL, NULL))
        seen++;
    assert_int_equal(seen, 1000);
    wr_map_free(&m);
}

static void test_map_that_churns_does_not_grow_without_bound(void **s)
{
    (void)s;
    struct wr_map m = {0};
    char key[32];
    for (long i = 1; i <= 100000; i++) {
        int n = snprintf(key, sizeof key, "%ld", i);
        assert_true(wr_map_put(&m, wr_slice_of(key, (size_t)n), (void *)i));
        wr_map_del(&m, wr_slice_of(key, (size_t)n));
    }
    assert_true(m.cap <= 64);
    wr_map_free(&m);
}

static void test_base64_comes_back_and_ends_where_it_ends(void **s)
{
    (void)s;
    const char *bytes[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    const char *text[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    uint8_t out[8];
    size_t n;
    uint32_t rest;
    for (size_t i = 0; i < WR_ARRAY_LEN(bytes); i++) { /* RFC 4648, section 10 */
        struct wr_buf b = {0};
        wr_base64_add(&b, bytes[i], strlen(bytes[i]));
        assert_int_equal(b.n, strlen(text[i]));
        assert_memory_equal(b.n ? (const void *)b.p : "", text[i], b.n);
        assert_int_equal(wr_base64_decode(wr_slice_of(b.p, b.n), out, sizeof out, &n, &rest),
                         strcspn(text[i], "="));
        assert_int_equal(n, strlen(bytes[i]));
        assert_memory_equal(out, bytes[i], n);
        assert_int_equal(rest, 0);
        wr_buf_free(&b);
    }
    assert_int_equal(wr_base64_decode(wr_slice_str("Zm9v;Zm9v"), out, sizeof out, &n, NULL), 4);
    assert_int_equal(n, 3);
    assert_int_equal(wr_base64_decode(wr_slice_str("Zm9vYmFy"), out, 4, &n, NULL), 6);
    assert_int_equal(n, 4);
    (void)wr_base64_decode(wr_slice_str("Zh"), out, sizeof out, &n, &rest);
    assert_int_not_equal(rest, 0);
}

static void test_utf8_refuses_overlong_and_surrogates(void **s)
{
    (void)s;
    assert_true(wr_utf8_valid("\xf0\x9f\x98\x80", 4));
    assert_false(wr_utf8_valid("\xc0\x80", 2));
    assert_false(wr_utf8_valid("\xed\xa0\x80", 3));
    assert_false(wr_utf8_valid("\xf4\x90\x80\x80", 4));
    assert_false(wr_utf8_valid("\xe4\xbd", 2));
}

static void test_names_hold_nothing_that_nobody_sees(void **s)
{
    (void)s;
    static const char *const good[] = {"demo", "Caf\xc3\xa9 1",    "\xe6\x96\x87",
                                       "a  b", "\xf0\x9f\x90\xb1", "a.b"};
    static const char *const bad[] = {"",
                                      ".a",
                                      "a/b",
                                      "a\\b",
                                      " a",
                                      "a ",
                                      "\xc2\xa0"
                                      "a",             /* no-break space */
                                      "a\xe3\x80\x80", /* ideographic space */
                                      "a\x1f",
                                      "a\x7f",
                                      "a\xc2\x85", /* next line */
                                      "a\xe2\x80\xae"
                                      "b", /* right-to-left override */
                                      "a\xe2\x80\x8b"
                                      "b", /* zero width space */
                                      "a\xe2\x80\xa8"
                                      "b", /* line separator */
                                      "\xef\xbb\xbf"
                                      "a",                 /* byte order mark */
                                      "a\xf3\xa0\x81\x81", /* tag */
                                      "a\xff"};
    for (size_t i = 0; i < WR_ARRAY_LEN(good); i++)
        assert_true(wr_name_valid(wr_slice_str(good[i])));
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++)
        assert_false(wr_name_valid(wr_slice_str(bad[i])));
}

static void test_what_strangers_are_told_names_no_path(void **s)
{
    (void)s;
    static const struct {
        wr_err e;
        const char *text, *want;
    } cases[] = {
        {WR_ERR_INTERNAL, "/srv/hub/room.db: damaged, put a copy back", "internal error"},
        {WR_ERR_UNAVAILABLE, "no instance answers at tcp://10.0.0.7:7101", "not available now"},
        {WR_ERR_NO_SPACE, "the disk of data/files is full (write x): make room there",
         "no space left on the disk"},
        {WR_ERR_BUSY, "cannot open data/files/x: Too many open files", "too busy, try again"},
        {WR_ERR_BUSY, "too many uploads at once", "too many uploads at once"},
        {WR_ERR_INVALID, "filetype: type/subtype without parameters",
         "filetype: type/subtype without parameters"},
        {WR_ERR_INTERNAL, "", "internal error"},
        {WR_ERR_NOT_FOUND, "", "not found"}};
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++)
        assert_true(
            wr_slice_is(wr_err_outside(cases[i].e, wr_slice_str(cases[i].text)), cases[i].want));
}

static void test_pb_reads_what_the_generated_code_writes(void **s)
{
    (void)s;
    char room[] = "demo";
    Watchroom__V1__RoomTop top = WATCHROOM__V1__ROOM_TOP__INIT;
    top.room = room;
    top.offset = 300;
    struct wr_msg *m = wr_msg_pack(&top.base);
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, wr_msg_slice(m));
    assert_true(wr_pb_next(&r, &f));
    assert_int_equal(f.number, 1);
    assert_true(wr_slice_is(f.bytes, "demo"));
    assert_true(wr_pb_next(&r, &f));
    assert_int_equal(f.number, 3);
    assert_int_equal(f.value, 300);
    assert_false(wr_pb_next(&r, &f));
    assert_false(r.bad);
    wr_msg_unref(m);
}

static void test_pb_reads_each_wire_type(void **s)
{
    (void)s;
    struct wr_pb_reader r;
    struct wr_pb_field f;
    /* varint 1 = 300; fixed64 2; bytes 3 = ""; fixed32 5 */
    static const uint8_t all[] = {0x08, 0xac, 0x02, 0x11, 1,    2, 3, 4, 5, 6,
                                  7,    8,    0x1a, 0,    0x2d, 1, 2, 3, 4};
    static const struct {
        uint32_t number;
        uint8_t wire;
        uint64_t value;
    } want[] = {{1, 0, 300}, {2, 1, UINT64_C(0x0807060504030201)}, {3, 2, 0}, {5, 5, 0x04030201}};
    wr_pb_read(&r, wr_slice_of(all, sizeof all));
    for (size_t i = 0; i < WR_ARRAY_LEN(want); i++) {
        assert_true(wr_pb_next(&r, &f));
        assert_int_equal(f.number, want[i].number);
        assert_int_equal(f.wire, want[i].wire);
        assert_true(f.value == want[i].value);
    }
    assert_false(wr_pb_next(&r, &f));
    assert_false(r.bad);
    /* Every cut that is not between two fields is bad. */
    for (size_t n = 0; n < sizeof all; n++) {
        size_t fields = 0;
        wr_pb_read(&r, wr_slice_of(all, n));
        while (wr_pb_next(&r, &f))
            fields++;
        assert_int_equal(r.bad, n != 0 && n != 3 && n != 12 && n != 14);
        assert_int_equal(fields, (n >= 3) + (n >= 12) + (n >= 14));
    }
}

static void test_pb_refuses_what_is_no_field(void **s)
{
    (void)s;
    static const struct wr_slice bad[] = {
        {(const uint8_t *)"\x00\x00", 2},                 /* number 0 */
        {(const uint8_t *)"\x80\x80\x80\x80\x10\x00", 6}, /* and 2^29 */
        {(const uint8_t *)"\x0b", 1},                     /* groups */
        {(const uint8_t *)"\x0c", 1},
        {(const uint8_t *)"\x0e", 1}, /* no wire type */
        {(const uint8_t *)"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, /* too long */
    };
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
        struct wr_pb_reader r;
        struct wr_pb_field f;
        wr_pb_read(&r, bad[i]);
        assert_false(wr_pb_next(&r, &f));
        assert_true(r.bad);
        assert_false(wr_pb_next(&r, &f)); /* for good */
    }
}

static void test_pb_writes_what_it_reads(void **s)
{
    (void)s;
    static const uint64_t values[] = {1, 127, 128, 16383, 16384, UINT64_C(1) << 63, UINT64_MAX};
    uint8_t bytes[200], *to = bytes;
    struct wr_pb_reader r;
    struct wr_pb_field f;
    for (size_t i = 0; i < WR_ARRAY_LEN(values); i++) {
        uint8_t *from = to;
        to = wr_pb_uint(to, 9, values[i]);
        assert_int_equal((size_t)(to - from), 1 + wr_pb_varint_size(values[i]));
    }
    to = wr_pb_uint(to, 1, 0); /* what is empty is not written */
    to = wr_pb_bytes(to, 2, (struct wr_slice){0});
    to = wr_pb_bytes(to, 300, wr_slice_str("hello"));
    wr_pb_read(&r, wr_slice_of(bytes, (size_t)(to - bytes)));
    for (size_t i = 0; i < WR_ARRAY_LEN(values); i++) {
        assert_true(wr_pb_next(&r, &f));
        assert_int_equal(f.number, 9);
        assert_true(f.value == values[i]);
    }
    assert_true(wr_pb_next(&r, &f));
    assert_int_equal(f.number, 300);
    assert_true(wr_slice_is(f.bytes, "hello"));
    assert_false(wr_pb_next(&r, &f));
    assert_false(r.bad);
    wr_pb_read(&r, (struct wr_slice){0});
    assert_false(wr_pb_next(&r, &f));
    assert_false(r.bad);
}

static void test_pb_length_past_the_end_is_bad(void **s)
{
    (void)s;
    struct wr_pb_reader r;
    struct wr_pb_field f;
    wr_pb_read(&r, wr_slice_of("\x0a\x05"
                               "abc",
                               5));
    assert_false(wr_pb_next(&r, &f));
    assert_true(r.bad);
    wr_pb_read(&r, wr_slice_of("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11));
    assert_false(wr_pb_next(&r, &f));
    assert_true(r.bad);
}

static void test_names_that_would_leave_a_path_are_refused(void **s)
{
    (void)s;
    assert_true(wr_name_valid(wr_slice_str("demo")));
    assert_true(wr_name_valid(wr_slice_str("房间 1")));
    assert_false(wr_name_valid(wr_slice_str("")));
    assert_false(wr_name_valid(wr_slice_str("../x")));
    assert_false(wr_name_valid(wr_slice_str("a/b")));
    assert_false(wr_name_valid(wr_slice_of("a\0b", 3)));
}

static void test_patterns_fit_whole_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *pattern;
        bool fits;
    } cases[] = {{"hall", "hall", true},
                 {"hall", "hal", false},
                 {"hal", "hall", false},
                 {"class-1", "class-*", true},
                 {"class-", "class-*", true},
                 {"class", "class-*", false},
                 {"a.b.c", "a*c", true},
                 {"a.b.cd", "a*c", false},
                 {"abab", "*ab", true},
                 {"xaby", "*ab", false},
                 {"aXbXc", "a*b*c", true},
                 {"anything", "*", true},
                 {"\xe6\x96\x87-1", "\xe6*", true},
                 {"", "*", true},
                 {"", "", true},
                 {"x", "", false},
                 {"aaaaaaaab", "*a*a*a*b", true}};
    for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++)
        if (wr_name_like(wr_slice_str(cases[i].name), cases[i].pattern) != cases[i].fits)
            fail_msg("%s %s", cases[i].name, cases[i].pattern);
}

static void test_cond_wait_ends_at_its_deadline(void **s)
{
    (void)s;
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c;
    wr_cond_init(&c);
    pthread_mutex_lock(&m);
    int64_t at = wr_mono_us() + 20000;
    while (wr_cond_wait_until(&c, &m, at))
        ;
    assert_true(wr_mono_us() >= at);
    pthread_mutex_unlock(&m);
    pthread_cond_destroy(&c);
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------- */

static int some_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void test_a_descriptor_is_collected_once_and_only_with_its_ticket(void **s)
{
    (void)s;
    uint8_t a[WR_FD_TICKET_BYTES], b[WR_FD_TICKET_BYTES];
    int x = some_fd(), y = some_fd();
    assert_int_equal(wr_fd_leave(x, 60000, a), WR_OK);
    assert_int_equal(wr_fd_leave(y, 60000, b), WR_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(wr_fd_collect(wr_slice_of(a, sizeof a - 1)), -1);
    assert_int_equal(wr_fd_collect(wr_slice_of(a, sizeof a)), x);
    assert_int_equal(wr_fd_collect(wr_slice_of(a, sizeof a)), -1);
    assert_int_equal(wr_fd_collect(wr_slice_of(b, sizeof b)), y);
    close(x);
    close(y);
}

static void test_what_nobody_collects_in_time_is_closed(void **s)
{
    (void)s;
    uint8_t t[WR_FD_TICKET_BYTES];
    int fd = some_fd();
    assert_int_equal(wr_fd_leave(fd, 0, t), WR_OK);
    wr_fd_expire();
    assert_int_equal(wr_fd_collect(wr_slice_of(t, sizeof t)), -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_descriptors_that_wait_are_bounded(void **s)
{
    (void)s;
    static uint8_t t[WR_FD_LEFT_MAX][WR_FD_TICKET_BYTES];
    uint8_t one_more[WR_FD_TICKET_BYTES];
    int fd = some_fd();
    for (size_t i = 0; i < WR_FD_LEFT_MAX; i++)
        assert_int_equal(wr_fd_leave(dup(fd), 60000, t[i]), WR_OK);
    assert_int_equal(wr_fd_leave(fd, 60000, one_more), WR_ERR_BUSY);
    assert_true(fcntl(fd, F_GETFD) >= 0); /* still ours */
    for (size_t i = 0; i < WR_FD_LEFT_MAX; i++)
        close(wr_fd_collect(wr_slice_of(t[i], sizeof t[i])));
    close(fd);
}

static void test_a_descriptor_crosses_a_unix_socket(void **s)
{
    (void)s;
    int pair[2], in[2], got;
    char text[8] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(wr_fd_peer_is_us(pair[0]));
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(write(in[1], "hello", 5), 5);
    assert_true(wr_fd_send(pair[0], in[0]));
    assert_true(wr_fd_receive(pair[1], &got));
    assert_true(got >= 0 && got != in[0]);
    assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(read(got, text, sizeof text), 5);
    assert_string_equal(text, "hello");
    close(got);
    assert_true(wr_fd_send(pair[0], -1));
    assert_true(wr_fd_receive(pair[1], &got));
    assert_int_equal(got, -1);
    close(pair[0]);
    assert_false(wr_fd_receive(pair[1], &got));
    assert_int_equal(got, -1);
    assert_false(wr_fd_send(pair[1], in[0]));
    close(pair[1]);
    close(in[0]);
    close(in[1]);
}

/* What one call writes to standard error. */
static void logged(char *out, size_t n, const char *text)
{
    int pair[2], before = dup(2);
    assert_int_equal(pipe(pair), 0);
    assert_true(before >= 0 && dup2(pair[1], 2) == 2);
    wr_log(WR_LOG_WARN, "test.line", "%s", text);
    (void)dup2(before, 2);
    (void)close(before);
    (void)close(pair[1]);
    ssize_t got = read(pair[0], out, n - 1);
    (void)close(pair[0]);
    out[got > 0 ? got : 0] = 0;
}

static void test_log_lines_cannot_be_forged_in_either_form(void **s)
{
    char line[4096], big[3000];
    (void)s;
    wr_log_set_format(WR_LOG_TEXT);
    logged(line, sizeof line, "a=1\nfake line");
    assert_string_equal(line + 24, " warn  test.line a=1?fake line\n");
    wr_log_set_service("hub");
    logged(line, sizeof line, "a=1");
    assert_string_equal(line + 24, " warn  hub test.line a=1\n");
    wr_log_set_format(WR_LOG_JSON);
    logged(line, sizeof line, "say \"\xe6\x96\x87\" \\ \xff end\n");
    assert_non_null(
        strstr(line, "\"level\":\"warn\",\"service\":\"hub\",\"event\":\"test.line\",\"message\":"
                     "\"say \\\"\xe6\x96\x87\\\" \\\\ \xef\xbf\xbd end?\"}\n"));
    memset(big, '"', sizeof big - 1);
    big[sizeof big - 1] = 0;
    logged(line, sizeof line, big);
    assert_string_equal(line + strlen(line) - 3, "\"}\n");
    size_t slashes = 0;
    for (const char *p = line + strlen(line) - 4; *p == '\\'; p--)
        slashes++;
    assert_int_equal(slashes % 2, 0); /* the last escape is whole */
    wr_log_set_service(NULL);
    wr_log_set_format(WR_LOG_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_descriptor_is_collected_once_and_only_with_its_ticket),
        cmocka_unit_test(test_what_nobody_collects_in_time_is_closed),
        cmocka_unit_test(test_descriptors_that_wait_are_bounded),
        cmocka_unit_test(test_a_descriptor_crosses_a_unix_socket),
        cmocka_unit_test(test_errno_of_full_disk_is_no_space),
        cmocka_unit_test(test_unknown_wire_code_is_internal),
        cmocka_unit_test(test_msg_push_stops_at_headroom),
        cmocka_unit_test(test_wrapped_msg_is_released_once_at_last_unref),
        cmocka_unit_test(test_map_keeps_entries_through_growth_and_deletes),
        cmocka_unit_test(test_map_that_churns_does_not_grow_without_bound),
        cmocka_unit_test(test_base64_comes_back_and_ends_where_it_ends),
        cmocka_unit_test(test_utf8_refuses_overlong_and_surrogates),
        cmocka_unit_test(test_names_hold_nothing_that_nobody_sees),
        cmocka_unit_test(test_what_strangers_are_told_names_no_path),
        cmocka_unit_test(test_pb_reads_what_the_generated_code_writes),
        cmocka_unit_test(test_pb_reads_each_wire_type),
        cmocka_unit_test(test_pb_refuses_what_is_no_field),
        cmocka_unit_test(test_pb_writes_what_it_reads),
        cmocka_unit_test(test_pb_length_past_the_end_is_bad),
        cmocka_unit_test(test_names_that_would_leave_a_path_are_refused),
        cmocka_unit_test(test_patterns_fit_whole_names),
        cmocka_unit_test(test_cond_wait_ends_at_its_deadline),
        cmocka_unit_test(test_log_lines_cannot_be_forged_in_either_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
