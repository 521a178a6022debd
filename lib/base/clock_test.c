/* SPDX-License-Identifier: MIT
 *
 * The age clock: over readings of every kind of step, and as the process has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "moved_clock.h"
#include "wr_clock.h"

#include <stdlib.h>

#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define NOON (20000 * DAY)

static struct wr_age_clock c;

static int setup(void **state)
{
    enum wr_age_event event;
    (void)state;
    c = (struct wr_age_clock){0};
    assert_int_equal(wr_age_clock_read(&c, NOON, HOUR, &event), NOON);
    assert_int_equal(event, WR_AGE_NOTHING);
    return 0;
}

/* Reads so long after setup, with a wall clock that is so much ahead; what the age clock is ahead. */
static int64_t ahead(int64_t after_ms, int64_t wall_ahead_ms, enum wr_age_event expected)
{
    enum wr_age_event event;
    int64_t now = wr_age_clock_read(&c, NOON + after_ms + wall_ahead_ms, HOUR + after_ms, &event);
    assert_int_equal(event, expected);
    return now - NOON - after_ms;
}

static void test_it_goes_with_the_wall_clock(void **state)
{
    (void)state;
    assert_int_equal(ahead(SECOND, 0, WR_AGE_NOTHING), 0);
    assert_int_equal(ahead(HOUR, 900, WR_AGE_NOTHING), 900); /* set right on the way */
    assert_int_equal(ahead(30 * DAY, -3 * SECOND, WR_AGE_NOTHING), -3 * SECOND);
    assert_int_equal(c.step_ms, 0);
}

static void test_a_step_ahead_moves_nothing(void **state)
{
    (void)state;
    assert_int_equal(ahead(SECOND, 40 * DAY, WR_AGE_STEPPED), 0);
    assert_int_equal(c.step_ms, 40 * DAY);
    assert_int_equal(ahead(2 * SECOND, 40 * DAY, WR_AGE_NOTHING), 0);
    assert_int_equal(ahead(5 * HOUR, 0, WR_AGE_BACK), 0);
    assert_int_equal(c.step_ms, 0);
    assert_int_equal(ahead(6 * HOUR, 0, WR_AGE_NOTHING), 0);
}

static void test_a_step_back_counts_at_once(void **state)
{
    (void)state;
    assert_int_equal(ahead(SECOND, -2 * HOUR, WR_AGE_STEPPED), -2 * HOUR);
    assert_int_equal(ahead(HOUR, 0, WR_AGE_BACK), 0);
}

static void test_each_further_step_begins_anew(void **state)
{
    (void)state;
    assert_int_equal(ahead(HOUR, 40 * DAY, WR_AGE_STEPPED), 0);
    assert_int_equal(ahead(20 * HOUR, 41 * DAY, WR_AGE_STEPPED), 0);
    assert_int_equal(ahead(40 * HOUR, 41 * DAY, WR_AGE_NOTHING), 0);
    assert_int_equal(ahead(45 * HOUR, 41 * DAY, WR_AGE_BELIEVED), 41 * DAY);
    assert_int_equal(ahead(46 * HOUR, 41 * DAY, WR_AGE_NOTHING), 41 * DAY);
}

static void test_a_step_that_stays_is_believed(void **state)
{
    (void)state;
    assert_int_equal(ahead(SECOND, 2 * DAY, WR_AGE_STEPPED), 0);
    assert_int_equal(ahead(WR_CLOCK_TRUST_MS, 2 * DAY, WR_AGE_NOTHING), 0);
    assert_int_equal(ahead(WR_CLOCK_TRUST_MS + SECOND, 2 * DAY, WR_AGE_BELIEVED), 2 * DAY);
}

static void test_many_small_steps_are_a_large_one(void **state)
{
    (void)state;
    int64_t at = 0, most = 0;
    bool stepped = false;
    for (int i = 1; i <= 1000; i++) {
        enum wr_age_event event;
        at = wr_age_clock_read(&c, NOON + i * (SECOND + 9 * SECOND), HOUR + i * SECOND, &event);
        at -= NOON + i * SECOND;
        most = WR_MAX(most, at);
        stepped = stepped || event == WR_AGE_STEPPED;
    }
    assert_true(stepped);
    assert_in_range(most, 0, 1000 * SECOND / 100 + 1000);
}

static void test_the_process_has_one(void **state)
{
    (void)state;
    int64_t from = wr_wall_ms();
    assert_in_range(wr_age_now_ms(), from, from + 60 * SECOND);
    moved_clock_set(40 * DAY);
    assert_true(wr_wall_ms() >= from + 40 * DAY);
    assert_in_range(wr_age_now_ms(), from, from + 60 * SECOND);
    assert_in_range(wr_age_step_ms(), 40 * DAY - SECOND, 40 * DAY + SECOND);
    moved_clock_set(-2 * HOUR);
    assert_in_range(wr_age_now_ms(), from - 2 * HOUR, from - 2 * HOUR + 60 * SECOND);
    moved_clock_set(0);
    assert_in_range(wr_age_now_ms(), from, from + 60 * SECOND);
    assert_int_equal(wr_age_step_ms(), 0);
}

#define CLAIM(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CLAIM(test_it_goes_with_the_wall_clock),    CLAIM(test_a_step_ahead_moves_nothing),
        CLAIM(test_a_step_back_counts_at_once),     CLAIM(test_each_further_step_begins_anew),
        CLAIM(test_a_step_that_stays_is_believed),  CLAIM(test_many_small_steps_are_a_large_one),
        cmocka_unit_test(test_the_process_has_one),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
