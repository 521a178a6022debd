/* SPDX-License-Identifier: MIT
 *
 * Claims about a stream's time line: nothing that was given out is given out again, whatever the wall clock does over a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"

#define S 1000000
#define WALL (1796000000 * (int64_t)S)

static char folder[] = "/tmp/wr-clock-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "%s/cam.clock", folder);
    (void)unlink(path);
    return rmdir(folder);
}

/* So many seconds of 25 groups and frames each from where the line is. */
static void run(struct stream_clock *c, int64_t mono_us, int seconds)
{
    int64_t begin = clock__begin(c, mono_us);
    for (int i = 1; i <= seconds * 25; i++) {
        (void)clock__next_gop(c);
        clock__reach(c, begin + i * 40000);
    }
}

static void test_pauses_count_and_set_clocks_do_not(void **state)
{
    (void)state;
    struct stream_clock c;
    clock__open(&c, NULL, "cam", WALL, 5 * S);
    assert_true(clock__begin(&c, 5 * S) == WALL && c.origin_us == WALL);
    clock__reach(&c, WALL + 10 * S);
    /* Back after 60 s by the monotonic clock. */
    assert_true(clock__begin(&c, 65 * S) == WALL + 60 * S);
    /* A source whose clock ran ahead of ours: what follows begins behind it. */
    clock__reach(&c, WALL + 100 * S);
    assert_true(clock__begin(&c, 70 * S) == WALL + 100 * S);
    uint64_t e = clock__next_epoch(&c, WALL + 70 * S);
    assert_true(clock__next_epoch(&c, WALL - 1000 * S) == e + 1);
}

static void test_an_orderly_restart_goes_on_where_it_was(void **state)
{
    (void)state;
    struct stream_clock c;
    clock__open(&c, folder, "cam", WALL, 0);
    run(&c, 0, 30);
    uint64_t gop = c.gop, epoch = clock__next_epoch(&c, WALL);
    clock__close(&c);
    /* The wall clock stepped back by a day meanwhile. */
    clock__open(&c, folder, "cam", WALL - 86400 * (int64_t)S, 0);
    assert_true(clock__begin(&c, 0) == WALL + 30 * S && c.origin_us == WALL);
    assert_true(clock__next_gop(&c) == gop + 1 &&
                clock__next_epoch(&c, WALL - 86400 * (int64_t)S) == epoch + 1);
    clock__close(&c);
    /* And when it did not, it is the wall clock's. */
    clock__open(&c, folder, "cam", WALL + 3600 * (int64_t)S, 0);
    assert_true(clock__begin(&c, 0) == WALL + 3600 * (int64_t)S);
    clock__close(&c);
}

/* Killed at any moment, wall clock set back: the promise in the file was written ahead. */
static void test_a_kill_at_any_moment_gives_nothing_out_twice(void **state)
{
    (void)state;
    int64_t last = 0;
    uint64_t gop = 0, epoch = 0;
    for (int life = 0; life < 40; life++) {
        struct stream_clock c;
        clock__open(&c, folder, "cam", WALL - life * S, 0);
        int64_t begin = clock__begin(&c, 0);
        assert_true(begin >= last);
        uint64_t e = clock__next_epoch(&c, WALL - life * S);
        assert_true(e > epoch);
        epoch = e;
        run(&c, 0, life % 17);
        assert_true(c.gop >= gop);
        if (life % 17)
            assert_true(c.gop > gop);
        last = c.end_us;
        gop = c.gop;
    } /* no clock__close: it was killed */
}

static void test_broken_files_and_missing_folders_leave_the_wall_clock(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "2 1 1 1 1\n",
                                      "1 x\n",
                                      "1 -5 1 1 1\n",
                                      "1 5 1 1 900\n",
                                      "1 999999999999999999999999 1 1 1\n"};
    char path[64];
    struct stream_clock c;
    snprintf(path, sizeof path, "%s/cam.clock", folder);
    for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(bad[i], f);
        fclose(f);
        clock__open(&c, folder, "cam", WALL, 0);
        assert_true(clock__begin(&c, 0) == WALL);
    }
    clock__open(&c, "/dev/null/none", "cam", WALL, 0);
    run(&c, 0, 30);
    assert_true(c.failed);
    clock__close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses_count_and_set_clocks_do_not),
        cmocka_unit_test(test_an_orderly_restart_goes_on_where_it_was),
        cmocka_unit_test(test_a_kill_at_any_moment_gives_nothing_out_twice),
        cmocka_unit_test(test_broken_files_and_missing_folders_leave_the_wall_clock),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
