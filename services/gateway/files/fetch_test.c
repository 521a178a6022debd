/* SPDX-License-Identifier: MIT
 *
 * Claims about collecting open files, against the filestore's own socket and against ones that hang or are somebody
 * else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fetch.h"
#include "fs_pass.h"
#include "wr_clock.h"
#include "wr_fd.h"

struct got {
    sem_t came;
    int fd;
};
static void take(void *ctx, int fd)
{
    struct got *g = ctx;
    g->fd = fd;
    sem_post(&g->came);
}

static int fetched(struct fetch *f, const char *where, const uint8_t ticket[WR_FD_TICKET_BYTES])
{
    struct got g = {.fd = -2};
    sem_init(&g.came, 0, 0);
    assert_true(fetch_file(f, where, wr_slice_of(ticket, WR_FD_TICKET_BYTES), take, &g));
    sem_wait(&g.came);
    return g.fd;
}

static void assert_fetches(struct fetch *f, const char *where)
{
    uint8_t ticket[WR_FD_TICKET_BYTES];
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(wr_fd_leave(fd, 60000, ticket), WR_OK);
    fd = fetched(f, where, ticket);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(fetched(f, where, ticket), -1); /* once */
}

static void test_files_come_also_after_the_filestore_was_away(void **s)
{
    (void)s;
    struct fs_pass pass, other;
    struct wr_errmsg err;
    struct fetch *f = fetch_new();
    assert_int_equal(fs_pass_start(&pass, &err), WR_OK);
    assert_int_equal(fs_pass_start(&other, &err), WR_OK);
    assert_fetches(f, pass.where);
    assert_fetches(f, pass.where);
    assert_fetches(f, other.where);
    fs_pass_stop(&other); /* and comes under another name */
    assert_int_equal(fs_pass_start(&other, &err), WR_OK);
    assert_fetches(f, other.where);
    fs_pass_stop(&pass);
    fs_pass_stop(&other);
    fetch_end(f);
    fetch_free(&f);
}

static void test_a_filestore_that_is_not_here_costs_no_time(void **s)
{
    (void)s;
    static const uint8_t ticket[WR_FD_TICKET_BYTES];
    struct fetch *f = fetch_new();
    assert_int_equal(fetched(f, "watchroom-files-of-another-machine", ticket), -1);
    assert_int_equal(fetched(f, "watchroom-files-of-another-machine", ticket), -1);
    assert_false(fetch_file(f,
                            "a name that is longer than the address of any unix socket may be, "
                            "which is some hundred bytes, and no more",
                            wr_slice_of(ticket, sizeof ticket), take, NULL));
    assert_false(fetch_file(f, "short ticket", wr_slice_of(ticket, 3), take, NULL));
    fetch_end(f);
    fetch_free(&f);
}

static void test_one_that_hangs_is_waited_for_once(void **s)
{
    (void)s;
    static const uint8_t ticket[WR_FD_TICKET_BYTES];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t n = sizeof(sa_family_t); /* the kernel names it: unix(7), autobind */
    char where[32] = "";
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(sock, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(sock, 4), 0);
    n = sizeof a;
    assert_int_equal(getsockname(sock, (struct sockaddr *)&a, &n), 0);
    memcpy(where, a.sun_path + 1, n - offsetof(struct sockaddr_un, sun_path) - 1);
    struct fetch *f = fetch_new();
    assert_int_equal(fetched(f, where, ticket), -1);
    int64_t before = wr_mono_us();
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(fetched(f, where, ticket), -1);
    assert_true(wr_mono_us() - before < 5000000); /* 20 s, if each were waited for */
    fetch_end(f);
    fetch_free(&f);
    close(sock);
}

static void test_it_ends_with_all_told(void **s)
{
    (void)s;
    static const uint8_t ticket[WR_FD_TICKET_BYTES];
    struct got g = {.fd = -2};
    struct fetch *f = fetch_new();
    sem_init(&g.came, 0, 0);
    assert_true(fetch_file(f, "nowhere", wr_slice_of(ticket, sizeof ticket), take, &g));
    fetch_end(f);
    assert_int_equal(sem_trywait(&g.came), 0);
    assert_int_equal(g.fd, -1);
    assert_false(fetch_file(f, "nowhere", wr_slice_of(ticket, sizeof ticket), take, &g));
    fetch_end(f);
    fetch_free(&f);
    fetch_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_come_also_after_the_filestore_was_away),
        cmocka_unit_test(test_a_filestore_that_is_not_here_costs_no_time),
        cmocka_unit_test(test_one_that_hangs_is_waited_for_once),
        cmocka_unit_test(test_it_ends_with_all_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
