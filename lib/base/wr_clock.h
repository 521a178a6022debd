/* SPDX-License-Identifier: MIT
 *
 * Clocks. Monotonic for ages and deadlines inside a machine, wall clock for what people and other machines read, and the age
 * clock for what is deleted, or ends, when it is old by the wall clock. */
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

/* How old is what was stamped by the wall clock? Nothing that cannot be taken back may follow from that clock alone: it steps
 * when a battery is empty, a time server lies, or somebody types a year. So it is compared with CLOCK_BOOTTIME (which goes on
 * through a suspend), and a step of more than WR_CLOCK_STEP_MS between the two is distrusted: time goes on as before the step,
 * or by the wall clock where that is behind, so that only goes what is old by both. One line says so. When the wall clock
 * comes back there is another line; when it stays for WR_CLOCK_TRUST_MS, it is believed. */
#define WR_CLOCK_STEP_MS INT64_C(10000)
#define WR_CLOCK_TRUST_MS (INT64_C(24) * 3600 * 1000)

/* Milliseconds since 1970. Whatever compares a stamp of the wall clock with "now" to let something go asks here. Thread: any. */
WR_API int64_t wr_age_now_ms(void);
/* By how much the wall clock is distrusted now, ahead (> 0) or back; 0 = not. As the last wr_age_now_ms() found it. */
WR_API int64_t wr_age_step_ms(void);

/* The same of readings that the caller brings, for tests. Zeroed memory is a clock that believes its first reading. */
struct wr_age_clock {
    bool begun;
    int64_t trusted_ms; /* wall minus boot time, as it is believed */
    int64_t step_ms;    /* what the newest step adds to it; 0 = none */
    int64_t since_ms;   /* boot time of that step */
    int64_t seen_ms;    /* boot time of the last reading */
};
enum wr_age_event { WR_AGE_NOTHING, WR_AGE_STEPPED, WR_AGE_BACK, WR_AGE_BELIEVED };
WR_API int64_t wr_age_clock_read(struct wr_age_clock *c, int64_t wall_ms, int64_t boot_ms,
                                 enum wr_age_event *event);

#endif
