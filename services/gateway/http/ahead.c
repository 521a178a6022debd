/* SPDX-License-Identifier: MIT
 *
 * Threads that read files into the page cache, one window of one file at a time. */
#include "ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wr_metrics.h"
#include "wr_thread.h"

#define THREADS 4u

WR_COUNTER(read_bytes, "watchroom_http_read_ahead_bytes_total", NULL,
           "Bytes of files that were not in memory when they were to be sent");

struct want {
    struct want *next;
    int fd;
    uint64_t offset;
    size_t n;
    void (*done)(void *ctx);
    void *ctx;
};

struct http__ahead {
    int nowhere;          /* /dev/null */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct want *head, **tail;
    unsigned num_threads, idle, queued;
    bool ending;
    pthread_t threads[THREADS];
};

/* One byte, if it lies in memory. */
static bool has_byte(int fd, uint64_t offset)
{
    char byte;
    struct iovec iov = {&byte, 1};
    ssize_t n = preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
    return n >= 0 || errno != EAGAIN;
}

bool http__ahead_is_here(int fd, uint64_t offset, size_t n)
{
    /* Files are read and forgotten in runs: where both ends are, the middle is. */
    return has_byte(fd, offset) && has_byte(fd, offset + n - 1);
}

/* To nowhere, which copies nothing: reading in order lets the kernel read ahead in large folios, which readahead(2) does not
 * (it costs several times the CPU). */
static void read_one(const struct http__ahead *a, struct want *w)
{
    off_t at = (off_t)w->offset;
    size_t left = w->n;
    while (left) {
        ssize_t n = sendfile(a->nowhere, w->fd, &at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        left -= (size_t)n;
    }
    wr_count(&read_bytes, w->n);
}

static void *ahead_main(void *arg)
{
    struct http__ahead *a = arg;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        a->idle++;
        while (!a->head && !a->ending)
            pthread_cond_wait(&a->more, &a->lock);
        a->idle--;
        struct want *w = a->head;
        if (!w)
            break;
        if (!(a->head = w->next))
            a->tail = &a->head;
        a->queued--;
        bool ending = a->ending;
        pthread_mutex_unlock(&a->lock);
        if (!ending)
            read_one(a, w);
        close(w->fd);
        w->done(w->ctx);
        free(w);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

struct http__ahead *http__ahead_new(void)
{
    struct http__ahead *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (a->nowhere < 0) {
        free(a);
        return NULL;
    }
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->more, NULL);
    a->tail = &a->head;
    return a;
}

void http__ahead_end(struct http__ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->ending = true;
    unsigned n = a->num_threads;
    a->num_threads = 0;
    pthread_cond_broadcast(&a->more);
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < n; i++)
        pthread_join(a->threads[i], NULL);
}

void http__ahead_free(struct http__ahead **ap)
{
    struct http__ahead *a = *ap;
    *ap = NULL;
    if (!a)
        return;
    http__ahead_end(a);
    close(a->nowhere);
    pthread_cond_destroy(&a->more);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* Under the lock. */
static bool has_thread(struct http__ahead *a)
{
    if (a->queued >= a->idle && a->num_threads < THREADS &&
        wr_thread_start(&a->threads[a->num_threads], "read-ahead", ahead_main, a) == WR_OK)
        a->num_threads++;
    return a->num_threads > 0;
}

bool http__ahead_read(struct http__ahead *a, int fd, uint64_t offset, size_t n,
                      void (*done)(void *ctx), void *ctx)
{
    struct want *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    *w = (struct want){.offset = offset, .n = n, .done = done, .ctx = ctx};
    w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_lock(&a->lock);
    bool taken = w->fd >= 0 && !a->ending && has_thread(a);
    if (taken) {
        *a->tail = w;
        a->tail = &w->next;
        a->queued++;
        pthread_cond_signal(&a->more);
    }
    pthread_mutex_unlock(&a->lock);
    if (taken)
        return true;
    if (w->fd >= 0)
        close(w->fd);
    free(w);
    return false;
}
