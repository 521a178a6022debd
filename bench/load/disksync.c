/* SPDX-License-Identifier: MIT
 *
 * What the disk itself takes: appends --size bytes to a file in --dir and syncs the data, --count times. The yardstick for
 * every row that promises durability, measured in the folder that the server writes to. With --rate so many messages a second
 * are due, one sync takes all that wait, and a message's time begins when it was due: a stall of the disk counts for all that
 * it keeps waiting. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char path[4096];

static void append(int fd, const char *data, size_t size)
{
    if (write(fd, data, size) != (ssize_t)size || fdatasync(fd) != 0)
        bench_die("%s: appending and syncing: %s", path, strerror(errno));
}

static void one_by_one(int fd, const char *data, size_t size, int count, struct bench_hist *hist)
{
    for (int i = 0; i < count; i++) {
        int64_t start_ns = bench_now_ns();
        append(fd, data, size);
        bench_hist_add(hist, bench_now_ns() - start_ns);
    }
}

static void as_due(int fd, const char *data, size_t size, int count, int rate,
                   struct bench_hist *hist)
{
    int64_t every_ns = INT64_C(1000000000) / rate, from_ns = bench_now_ns();
    for (int done = 0, due; done < count; done = due) {
        int64_t wait_ns = from_ns + done * every_ns - bench_now_ns();
        if (wait_ns > 0)
            nanosleep(
                &(struct timespec){.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000},
                NULL);
        int64_t late = (bench_now_ns() - from_ns) / every_ns;
        due = late + 1 < count ? (int)late + 1 : count;
        append(fd, data, size);
        int64_t end_ns = bench_now_ns();
        for (int i = done; i < due; i++)
            bench_hist_add(hist, end_ns - (from_ns + i * every_ns));
    }
}

int main(int argc, char **argv)
{
    static struct bench_hist hist;
    struct bench_args args;
    bench_args_init(&args, argc, argv);
    const char *dir = bench_arg(&args, "dir", ".");
    size_t size = (size_t)bench_arg_num(&args, "size", 200);
    int count = (int)bench_arg_num(&args, "count", 500);
    int rate = (int)bench_arg_num(&args, "rate", 0);
    bench_args_done(&args);

    snprintf(path, sizeof(path), "%s/disksync.%d", dir, (int)getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_die("%s: %s", path, strerror(errno));
    unlink(path);
    char *data = bench_calloc(1, size);
    memset(data, 'x', size);
    for (int i = 0; i < 20; i++) /* these make the file's first blocks */
        append(fd, data, size);
    if (rate > 0)
        as_due(fd, data, size, count, rate, &hist);
    else
        one_by_one(fd, data, size, count, &hist);
    printf("{\"size\":%zu,\"mean_ms\":%.4f,\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n", size,
           hist.sum_ns / (double)hist.count / 1e6, bench_hist_ms(&hist, 0.5),
           bench_hist_ms(&hist, 0.99));
    free(data);
    close(fd);
    return 0;
}
