/* SPDX-License-Identifier: MIT
 *
 * Claims about reading ahead: what is not in memory is seen to be missing, comes, and is told once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "ahead.h"

#define SIZE (4u << 20)

static char path[] =
    "ahead-test-XXXXXX"; /* beside the build: /tmp may be memory, whose pages are always here */

static int make_file(void **s)
{
    int fd = mkstemp(path);
    char *bytes = calloc(1, SIZE);
    bool ok = fd >= 0 && bytes && write(fd, bytes, SIZE) == (ssize_t)SIZE && fsync(fd) == 0;
    free(bytes);
    *s = (void *)(intptr_t)fd;
    return ok ? 0 : -1;
}
static int remove_file(void **s)
{
    close((int)(intptr_t)*s);
    return unlink(path);
}

static void told(void *ctx)
{
    sem_post(ctx);
}

static void test_what_is_on_the_disk_is_brought(void **s)
{
    int fd = (int)(intptr_t)*s;
    struct http__ahead *a = http__ahead_new();
    sem_t sem;
    sem_init(&sem, 0, 0);
    assert_true(http__ahead_is_here(fd, 0, SIZE)); /* just written */
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    if (http__ahead_is_here(fd, 0, 1))
        skip(); /* a file system that does not tell, or does not forget */
    assert_true(http__ahead_read(a, fd, 0, HTTP__AHEAD_BYTES, told, &sem));
    sem_wait(&sem);
    assert_true(http__ahead_is_here(fd, 0, HTTP__AHEAD_BYTES));
    assert_true(http__ahead_read(a, fd, SIZE - 10, 10, told, &sem));
    sem_wait(&sem);
    assert_true(http__ahead_is_here(fd, SIZE - 10, 10));
    http__ahead_free(&a);
}

static void test_all_are_told_whatever_happens(void **s)
{
    int fd = (int)(intptr_t)*s, gone = dup(fd);
    struct http__ahead *a = http__ahead_new();
    sem_t sem;
    int n;
    sem_init(&sem, 0, 0);
    for (unsigned i = 0; i < 50; i++)
        assert_true(http__ahead_read(a, gone, i * 4096, 4096, told, &sem));
    assert_true(http__ahead_read(a, gone, 2 * SIZE, 4096, told, &sem)); /* behind its end */
    close(gone);
    http__ahead_free(&a);
    assert_int_equal(sem_getvalue(&sem, &n), 0);
    assert_int_equal(n, 51);
    http__ahead_free(&a);
    a = http__ahead_new();
    assert_false(http__ahead_read(a, -1, 0, 1, told, &sem));
    http__ahead_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_on_the_disk_is_brought),
        cmocka_unit_test(test_all_are_told_whatever_happens),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
