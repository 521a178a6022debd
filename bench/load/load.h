/* SPDX-License-Identifier: MIT
 *
 * What the load programs share: clocks, a delay histogram, what a set of processes has used, command line and JSON output.
 * Not a library for the server: it may exit the process on any error, because a measurement with an error in it is none. */
#ifndef WATCHROOM_BENCH_LOAD_H
#define WATCHROOM_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_NS_PER_S 1000000000LL
#define BENCH_NS_PER_MS 1000000LL

/* Monotonic clock, nanoseconds: every process of this machine reads the same one, so it may cross processes in a message. */
int64_t bench_now_ns(void);
/* Sleeps until the monotonic clock says `at_ns`. */
void bench_sleep_until(int64_t at_ns);

_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *bench_calloc(size_t count, size_t size);
void *bench_realloc(void *old, size_t size);
/* The value of `len` hexadecimal digits; what is none counts as some digit, since who sent them is the load itself. */
uint64_t bench_from_hex(const uint8_t *text, size_t len);
/* Lifts the soft limit of open files to the hard one and exits when that is below `needed`. */
void bench_need_files(size_t needed);

/* Log-linear histogram: 64 steps in each power of two, so a quantile is right within 1.6 %. */
#define BENCH_HIST_SUB 64
#define BENCH_HIST_SIZE (BENCH_HIST_SUB * 42)
struct bench_hist {
    uint64_t count;
    int64_t max_ns;
    double sum_ns;
    uint32_t bucket[BENCH_HIST_SIZE];
};
void bench_hist_add(struct bench_hist *hist, int64_t value_ns);
/* Quantile 0..1 in milliseconds; 0 when the histogram is empty. */
double bench_hist_ms(const struct bench_hist *hist, double quantile);

/* The server's processes, named by --pids; their use is summed. */
#define BENCH_PIDS_MAX 64
struct bench_pids {
    int pid[BENCH_PIDS_MAX];
    int count;
};
struct bench_use {
    double cpu_s;  /* user + system */
    double rss_kb; /* sum of VmRSS */
    int64_t at_ns; /* when it was read */
};
void bench_pids_parse(struct bench_pids *pids, const char *list);
struct bench_use bench_pids_use(const struct bench_pids *pids);
/* CPU this process has used, seconds: the proof that the client was not the limit. */
double bench_own_cpu_s(void);

/* --name value options: a program looks up what it knows; an unknown one exits. */
struct bench_args {
    int argc;
    char **argv;
    bool *used;
};
void bench_args_init(struct bench_args *args, int argc, char **argv);
const char *bench_arg(struct bench_args *args, const char *name, const char *fallback);
double bench_arg_num(struct bench_args *args, const char *name, double fallback);
void bench_args_done(struct bench_args *args);

#endif
