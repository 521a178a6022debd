/* SPDX-License-Identifier: MIT
 *
 * The two clocks, in microseconds. */
#include "wr_clock.h"

#include <time.h>

static int64_t now_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t wr_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t wr_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}
