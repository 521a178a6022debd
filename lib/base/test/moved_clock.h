/* SPDX-License-Identifier: MIT
 *
 * A wall clock that steps: a test program that links this has its own clock_gettime(), which libwatchroom and plugins get
 * as well. All other clocks go on. */
#ifndef WR_BASE_MOVED_CLOCK_H
#define WR_BASE_MOVED_CLOCK_H

#include <stdint.h>

/* From now on CLOCK_REALTIME is so much ahead of what it is (back when negative); 0 = as it is. Thread: any. */
void moved_clock_set(int64_t ahead_ms);

#endif
