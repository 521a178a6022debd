/* SPDX-License-Identifier: MIT
 *
 * What the load programs share; see load.h. */
#include "load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * BENCH_NS_PER_S + now.tv_nsec;
}

void bench_sleep_until(int64_t at_ns)
{
    struct timespec at = {.tv_sec = at_ns / BENCH_NS_PER_S, .tv_nsec = at_ns % BENCH_NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

void bench_die(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "bench: ");
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(1);
}

void *bench_calloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (memory == NULL)
        bench_die("out of memory");
    return memory;
}

void *bench_realloc(void *old, size_t size)
{
    void *memory = realloc(old, size);
    if (memory == NULL)
        bench_die("out of memory");
    return memory;
}

uint64_t bench_from_hex(const uint8_t *text, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text[i];
        value = (value << 4) | (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

void bench_need_files(size_t needed)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        bench_die("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < needed)
        bench_die("needs %zu open files, the hard limit is %llu: raise `ulimit -Hn`", needed,
                  (unsigned long long)limit.rlim_max);
}

static size_t hist_index(int64_t value_ns)
{
    uint64_t value = value_ns < 0 ? 0 : (uint64_t)value_ns;
    if (value < BENCH_HIST_SUB)
        return (size_t)value;
    unsigned top = 63u - (unsigned)__builtin_clzll(value);
    unsigned shift = top - 6;
    size_t index = (size_t)(shift + 1) * BENCH_HIST_SUB +
                   (size_t)((value >> shift) - BENCH_HIST_SUB);
    return index < BENCH_HIST_SIZE ? index : BENCH_HIST_SIZE - 1;
}

static double hist_value(size_t index)
{
    if (index < BENCH_HIST_SUB)
        return (double)index;
    size_t shift = index / BENCH_HIST_SUB - 1;
    return ((double)(index % BENCH_HIST_SUB + BENCH_HIST_SUB) + 0.5) * (double)(1ULL << shift);
}

void bench_hist_add(struct bench_hist *hist, int64_t value_ns)
{
    hist->bucket[hist_index(value_ns)]++;
    hist->count++;
    hist->sum_ns += (double)value_ns;
    if (value_ns > hist->max_ns)
        hist->max_ns = value_ns;
}

double bench_hist_ms(const struct bench_hist *hist, double quantile)
{
    uint64_t want = (uint64_t)((double)hist->count * quantile);
    uint64_t seen = 0;
    for (size_t i = 0; i < BENCH_HIST_SIZE && hist->count > 0; i++) {
        seen += hist->bucket[i];
        if (seen > want || seen == hist->count)
            return hist_value(i) / 1e6;
    }
    return 0;
}

void bench_pids_parse(struct bench_pids *pids, const char *list)
{
    pids->count = 0;
    while (list != NULL && *list != '\0' && pids->count < BENCH_PIDS_MAX) {
        char *end;
        long pid = strtol(list, &end, 10);
        if (end == list || pid <= 0)
            bench_die("--pids: not a process id at \"%s\"", list);
        pids->pid[pids->count++] = (int)pid;
        list = *end == ',' ? end + 1 : end;
    }
}

/* A process that has gone is an error: its CPU would be missing from the sum. */
struct bench_use bench_pids_use(const struct bench_pids *pids)
{
    struct bench_use use = {.at_ns = bench_now_ns()};
    double tick = (double)sysconf(_SC_CLK_TCK);
    double page_kb = (double)sysconf(_SC_PAGESIZE) / 1024.0;
    for (int i = 0; i < pids->count; i++) {
        char path[64], text[1024];
        snprintf(path, sizeof(path), "/proc/%d/stat", pids->pid[i]);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            bench_die("server process %d has gone", pids->pid[i]);
        size_t got = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
        text[got] = '\0';
        const char *rest = strrchr(text, ')'); /* the name may hold spaces and brackets */
        unsigned long user, sys;
        long rss;
        if (rest == NULL || sscanf(rest + 2,
                                   "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d "
                                   "%*d %*d %*d %*d %*u %*u %ld",
                                   &user, &sys, &rss) != 3)
            bench_die("cannot read %s", path);
        use.cpu_s += (double)(user + sys) / tick;
        use.rss_kb += (double)rss * page_kb;
    }
    return use;
}

double bench_own_cpu_s(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

void bench_args_init(struct bench_args *args, int argc, char **argv)
{
    args->argc = argc;
    args->argv = argv;
    args->used = bench_calloc((size_t)argc + 1, sizeof(bool));
}

const char *bench_arg(struct bench_args *args, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < args->argc; i += 2)
        if (strncmp(args->argv[i], "--", 2) == 0 && strcmp(args->argv[i] + 2, name) == 0) {
            args->used[i] = true;
            return args->argv[i + 1];
        }
    return fallback;
}

double bench_arg_num(struct bench_args *args, const char *name, double fallback)
{
    const char *text = bench_arg(args, name, NULL);
    if (text == NULL)
        return fallback;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0')
        bench_die("--%s: \"%s\" is not a number", name, text);
    return value;
}

void bench_args_done(struct bench_args *args)
{
    for (int i = 1; i < args->argc; i += 2)
        if (!args->used[i])
            bench_die("unknown option %s (options are --name value)", args->argv[i]);
    free(args->used);
    args->used = NULL;
}
