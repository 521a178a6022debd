/* SPDX-License-Identifier: MIT
 *
 * pthread wrappers: one way to start a thread, one kind of condition variable. */
#include "wr_thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

enum { STACK_BYTES = 512 * 1024 };

wr_err wr_thread_start(pthread_t *out, const char *name, void *(*fn)(void *arg), void *arg)
{
    pthread_attr_t attr;
    sigset_t all, before;

    pthread_attr_init(&attr);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    pthread_attr_setstacksize(&attr, STACK_BYTES);
#endif
    /* Signals are the main thread's: a worker must never be the one that is interrupted by SIGTERM. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(out, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        return WR_ERR_BUSY;
    char short_name[16];
    strncpy(short_name, name, sizeof short_name - 1);
    short_name[sizeof short_name - 1] = '\0';
    pthread_setname_np(*out, short_name);
    return WR_OK;
}

void wr_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

bool wr_cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t at_us)
{
    struct timespec ts = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};
    return pthread_cond_timedwait(c, m, &ts) != ETIMEDOUT;
}
