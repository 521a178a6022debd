/* SPDX-License-Identifier: MIT
 *
 * Threads with a name (seen in top -H, gdb and perf) and a bounded stack. */
#ifndef WR_BASE_WR_THREAD_H
#define WR_BASE_WR_THREAD_H

#include "wr_err.h"
#include <pthread.h>

/* Starts fn(arg); name of at most 15 bytes; 512 KiB of stack (enough for libavcodec). All signals are blocked in it.
 * Errors: WR_ERR_BUSY when the process may not have another thread. The caller joins with pthread_join. */
WR_API WR_MUST_USE wr_err wr_thread_start(pthread_t *out, const char *name, void *(*fn)(void *arg),
                                          void *arg);
/* A condition variable on CLOCK_MONOTONIC, so that deadlines survive clock changes. */
WR_API void wr_cond_init(pthread_cond_t *c);
/* Waits until wr_mono_us() reaches at_us; false when that passed. The mutex is held on entry and return. */
WR_API bool wr_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t at_us);

#endif
