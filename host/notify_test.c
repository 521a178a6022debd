/* SPDX-License-Identifier: MIT
 *
 * The datagrams that a service manager reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "notify.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_at(const char *name, size_t n)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, name, n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
        0);
    return fd;
}

static void expect(int fd, const char *want)
{
    char got[64];
    ssize_t n = recv(fd, got, sizeof got, 0);
    assert_int_equal(n, (ssize_t)strlen(want));
    assert_memory_equal(got, want, strlen(want));
}

static void test_a_path_is_told(void **s)
{
    (void)s;
    char folder[] = "/tmp/wr-notify-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/socket", folder);
    int fd = listen_at(path, strlen(path));
    setenv("NOTIFY_SOCKET", path, 1);
    host_notify("READY=1");
    host_notify("STOPPING=1");
    expect(fd, "READY=1");
    expect(fd, "STOPPING=1");
    close(fd);
    unlink(path);
    host_notify("READY=1"); /* nobody is there: logged, and that is all */
    rmdir(folder);
}

static void test_an_abstract_name_is_told(void **s)
{
    (void)s;
    char name[64];
    int n = snprintf(name, sizeof name, "@watchroom-notify-%ld", (long)getpid());
    setenv("NOTIFY_SOCKET", name, 1);
    name[0] = '\0';
    int fd = listen_at(name, (size_t)n);
    host_notify("READY=1");
    expect(fd, "READY=1");
    close(fd);
}

static void test_names_that_cannot_be_are_left_alone(void **s)
{
    (void)s;
    char longest[256];
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    host_notify("READY=1");
    setenv("NOTIFY_SOCKET", "relative", 1);
    host_notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
    host_notify("READY=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_is_told),
        cmocka_unit_test(test_an_abstract_name_is_told),
        cmocka_unit_test(test_names_that_cannot_be_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
