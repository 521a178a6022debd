/* SPDX-License-Identifier: MIT
 *
 * Clocks. Monotonic for ages and deadlines inside a machine, wall clock for what people and other machines read. */
#ifndef WR_BASE_WR_CLOCK_H
#define WR_BASE_WR_CLOCK_H

#include "wr_base.h"

WR_API int64_t wr_mono_us(void); /* CLOCK_MONOTONIC, microseconds */
WR_API int64_t wr_wall_us(void); /* CLOCK_REALTIME, microseconds since 1970 */
static inline int64_t wr_mono_ms(void)
{
    return wr_mono_us() / 1000;
}
static inline int64_t wr_wall_ms(void)
{
    return wr_wall_us() / 1000;
}

#endif
