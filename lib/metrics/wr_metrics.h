/* SPDX-License-Identifier: MIT
 *
 * Counters, gauges and histograms of the process, written as Prometheus text (exposition format 0.0.4).
 * Metrics are static objects. Those made with the macros below are in the text, at 0, from the moment their file is
 * loaded, so that a rate has a beginning; others register at first use. They live for ever, but for those of a plugin
 * that was refused, which leave as it is unloaded. Updates are relaxed atomics. */
#ifndef WR_METRICS_WR_METRICS_H
#define WR_METRICS_WR_METRICS_H

#include "wr_base.h"
#include "wr_buf.h"
#include <stdatomic.h>

struct wr_counter {
    const char *name;   /* watchroom_..._total */
    const char *labels; /* fixed label pairs without braces, e.g. "queue=\"chat\"", or NULL */
    const char *help;   /* one sentence with the unit */
    _Atomic uint64_t value;
    atomic_int registered;
    struct wr_counter *next;
};
struct wr_gauge {
    const char *name;
    const char *labels;
    const char *help;
    _Atomic int64_t value;
    atomic_int registered;
    struct wr_gauge *next;
};
#define WR_HISTOGRAM_BUCKETS 20
/* Buckets are powers of two from 64 microseconds (64, 128, ... about 33 s); values are microseconds, shown in seconds. */
struct wr_histogram {
    const char *name;
    const char *labels;
    const char *help;
    _Atomic uint64_t bucket[WR_HISTOGRAM_BUCKETS + 1];
    _Atomic uint64_t sum_us;
    atomic_int registered;
    struct wr_histogram *next;
};

/* At file scope: WR_COUNTER(slow, "watchroom_plane_slow_total", NULL, "Connections closed because they read too slowly"); */
#define WR_COUNTER(var, n, l, h)   \
    static struct wr_counter var;  \
    WR_METRIC_LOADED(counter, var) \
    static struct wr_counter var = {.name = (n), .labels = (l), .help = (h)}
#define WR_GAUGE(var, n, l, h)   \
    static struct wr_gauge var;  \
    WR_METRIC_LOADED(gauge, var) \
    static struct wr_gauge var = {.name = (n), .labels = (l), .help = (h)}
#define WR_HISTOGRAM(var, n, l, h)   \
    static struct wr_histogram var;  \
    WR_METRIC_LOADED(histogram, var) \
    static struct wr_histogram var = {.name = (n), .labels = (l), .help = (h)}
/* The same, for what other files use too and a header declares. */
#define WR_SHARED_COUNTER(var, n, l, h) \
    WR_METRIC_LOADED(counter, var)      \
    struct wr_counter var = {.name = (n), .labels = (l), .help = (h)}
#define WR_SHARED_GAUGE(var, n, l, h) \
    WR_METRIC_LOADED(gauge, var)      \
    struct wr_gauge var = {.name = (n), .labels = (l), .help = (h)}
#define WR_SHARED_HISTOGRAM(var, n, l, h) \
    WR_METRIC_LOADED(histogram, var)      \
    struct wr_histogram var = {.name = (n), .labels = (l), .help = (h)}

#define WR_METRIC_LOADED(kind, var)                              \
    __attribute__((constructor)) static void var##_loaded(void)  \
    {                                                            \
        wr_##kind##_register(&(var));                            \
    }                                                            \
    __attribute__((destructor)) static void var##_unloaded(void) \
    {                                                            \
        wr_##kind##_unregister(&(var));                          \
    }

/* Both do nothing when it is so already. */
WR_API void wr_counter_register(struct wr_counter *c);
WR_API void wr_counter_unregister(struct wr_counter *c);
WR_API void wr_gauge_register(struct wr_gauge *g);
WR_API void wr_gauge_unregister(struct wr_gauge *g);
WR_API void wr_histogram_register(struct wr_histogram *h);
WR_API void wr_histogram_unregister(struct wr_histogram *h);

static inline void wr_count(struct wr_counter *c, uint64_t by)
{
    if (!atomic_load_explicit(&c->registered, memory_order_acquire))
        wr_counter_register(c);
    atomic_fetch_add_explicit(&c->value, by, memory_order_relaxed);
}
static inline void wr_gauge_add(struct wr_gauge *g, int64_t by)
{
    if (!atomic_load_explicit(&g->registered, memory_order_acquire))
        wr_gauge_register(g);
    atomic_fetch_add_explicit(&g->value, by, memory_order_relaxed);
}
static inline void wr_gauge_set(struct wr_gauge *g, int64_t v)
{
    wr_gauge_add(g, 0);
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}
WR_API void wr_observe_us(struct wr_histogram *h, int64_t us);

/* Appends all registered metrics, and the process's own (CPU seconds, resident bytes, open descriptors, threads). */
WR_API void wr_metrics_write(struct wr_buf *out);

#endif
