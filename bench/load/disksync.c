/* SPDX-License-Identifier: MIT
 *
 * What the disk itself takes: appends --size bytes to a file in --dir and syncs the data, --count times. The yardstick for
 * every row that promises durability, measured in the folder that the server writes to. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static struct bench_hist hist;
    struct bench_args args;
    bench_args_init(&args, argc, argv);
    const char *dir = bench_arg(&args, "dir", ".");
    size_t size = (size_t)bench_arg_num(&args, "size", 200);
    int count = (int)bench_arg_num(&args, "count", 500);
    bench_args_done(&args);

    char path[4096];
    snprintf(path, sizeof(path), "%s/disksync.%d", dir, (int)getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_die("%s: %s", path, strerror(errno));
    unlink(path);
    char *data = bench_calloc(1, size);
    memset(data, 'x', size);
    for (int i = -20; i < count; i++) { /* the first ones make the file's first blocks */
        int64_t start_ns = bench_now_ns();
        if (write(fd, data, size) != (ssize_t)size || fdatasync(fd) != 0)
            bench_die("%s: %s", path, strerror(errno));
        if (i >= 0)
            bench_hist_add(&hist, bench_now_ns() - start_ns);
    }
    printf("{\"size\":%zu,\"mean_ms\":%.4f,\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n", size,
           hist.sum_ns / (double)hist.count / 1e6, bench_hist_ms(&hist, 0.5),
           bench_hist_ms(&hist, 0.99));
    free(data);
    close(fd);
    return 0;
}
