/* SPDX-License-Identifier: MIT
 *
 * The log writer. Not a framework: no sinks, no rotation; whoever runs the process keeps its standard error. */
#include "wr_log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static _Atomic int min_level = -1;

static int level_from_environment(void)
{
    const char *v = getenv("WATCHROOM_LOG");
    if (v && strcmp(v, "debug") == 0)
        return WR_LOG_DEBUG;
    if (v && strcmp(v, "warn") == 0)
        return WR_LOG_WARN;
    if (v && strcmp(v, "error") == 0)
        return WR_LOG_ERROR;
    return WR_LOG_INFO;
}

void wr_log_set_level(enum wr_log_level level)
{
    atomic_store(&min_level, (int)level);
}

bool wr_log_enabled(enum wr_log_level level)
{
    int min = atomic_load_explicit(&min_level, memory_order_relaxed);
    if (min < 0) {
        min = level_from_environment();
        atomic_store(&min_level, min);
    }
    return (int)level >= min;
}

void wr_log(enum wr_log_level level, const char *key, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info ", "warn ", "error"};
    if (!wr_log_enabled(level))
        return;

    char line[2048];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s ", ts.tv_nsec / 1000000,
                          names[level], key);

    size_t text = n;
    va_list ap;
    va_start(ap, fmt);
    int w = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    if (w > 0)
        n += WR_MIN((size_t)w, sizeof line - n - 2);
    for (size_t i = text; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    /* A log that cannot be written has nobody to be told. */
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}
