/* SPDX-License-Identifier: MIT
 *
 * The registry of metrics and the text writer. Registering and writing take a lock, updating does not. */
#include "wr_metrics.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wr_counter *counters;
static struct wr_gauge *gauges;
static struct wr_histogram *histograms;

#define DEFINE_REGISTRY(type, list)                                         \
    void wr_##type##_register(struct wr_##type *m)                          \
    {                                                                       \
        pthread_mutex_lock(&lock);                                          \
        if (!atomic_load_explicit(&m->registered, memory_order_relaxed)) {  \
            m->next = list;                                                 \
            list = m;                                                       \
            atomic_store_explicit(&m->registered, 1, memory_order_release); \
        }                                                                   \
        pthread_mutex_unlock(&lock);                                        \
    }                                                                       \
    void wr_##type##_unregister(struct wr_##type *m)                        \
    {                                                                       \
        struct wr_##type **at = &list;                                      \
        pthread_mutex_lock(&lock);                                          \
        while (*at && *at != m)                                             \
            at = &(*at)->next;                                              \
        if (*at)                                                            \
            *at = m->next;                                                  \
        atomic_store_explicit(&m->registered, 0, memory_order_release);     \
        pthread_mutex_unlock(&lock);                                        \
    }
DEFINE_REGISTRY(counter, counters)
DEFINE_REGISTRY(gauge, gauges)
DEFINE_REGISTRY(histogram, histograms)

void wr_observe_us(struct wr_histogram *h, int64_t us)
{
    if (!atomic_load_explicit(&h->registered, memory_order_acquire))
        wr_histogram_register(h);
    uint64_t v = us < 0 ? 0 : (uint64_t)us;
    unsigned i = 0;
    while (i < WR_HISTOGRAM_BUCKETS && v > ((uint64_t)64 << i))
        i++;
    atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, v, memory_order_relaxed);
}

/* HELP and TYPE stand once before all samples of a name, so a name is written when its first metric is met. */
#define DEFINE_IS_FIRST(type)                                                            \
    static bool is_first_##type(const struct wr_##type *list, const struct wr_##type *m) \
    {                                                                                    \
        while (strcmp(list->name, m->name) != 0)                                         \
            list = list->next;                                                           \
        return list == m;                                                                \
    }
DEFINE_IS_FIRST(counter)
DEFINE_IS_FIRST(gauge)
DEFINE_IS_FIRST(histogram)

static void write_head(struct wr_buf *out, const char *name, const char *help, const char *type)
{
    wr_buf_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_labels(struct wr_buf *out, const char *labels)
{
    if (labels)
        wr_buf_fmt(out, "{%s}", labels);
}

static void write_counters(struct wr_buf *out)
{
    for (struct wr_counter *c = counters; c; c = c->next) {
        if (!is_first_counter(counters, c))
            continue;
        write_head(out, c->name, c->help, "counter");
        for (struct wr_counter *s = c; s; s = s->next) {
            if (strcmp(s->name, c->name) != 0)
                continue;
            wr_buf_str(out, s->name);
            write_labels(out, s->labels);
            wr_buf_char(out, ' ');
            wr_buf_u64(out, atomic_load_explicit(&s->value, memory_order_relaxed));
            wr_buf_char(out, '\n');
        }
    }
}

static void write_gauges(struct wr_buf *out)
{
    for (struct wr_gauge *g = gauges; g; g = g->next) {
        if (!is_first_gauge(gauges, g))
            continue;
        write_head(out, g->name, g->help, "gauge");
        for (struct wr_gauge *s = g; s; s = s->next) {
            if (strcmp(s->name, g->name) != 0)
                continue;
            wr_buf_str(out, s->name);
            write_labels(out, s->labels);
            wr_buf_fmt(out, " %lld\n",
                       (long long)atomic_load_explicit(&s->value, memory_order_relaxed));
        }
    }
}

static void write_histogram(struct wr_buf *out, struct wr_histogram *h)
{
    const char *labels = h->labels ? h->labels : "", *comma = h->labels ? "," : "";
    uint64_t total = 0;
    for (unsigned i = 0; i < WR_HISTOGRAM_BUCKETS; i++) {
        total += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        wr_buf_fmt(out, "%s_bucket{%s%sle=\"%.6f\"} %llu\n", h->name, labels, comma,
                   (double)(64u << i) / 1e6, (unsigned long long)total);
    }
    total += atomic_load_explicit(&h->bucket[WR_HISTOGRAM_BUCKETS], memory_order_relaxed);
    wr_buf_fmt(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", h->name, labels, comma,
               (unsigned long long)total);
    wr_buf_fmt(out, "%s_sum", h->name);
    write_labels(out, h->labels);
    wr_buf_fmt(out, " %.6f\n%s_count",
               (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6, h->name);
    write_labels(out, h->labels);
    wr_buf_fmt(out, " %llu\n", (unsigned long long)total);
}

static void write_histograms(struct wr_buf *out)
{
    for (struct wr_histogram *h = histograms; h; h = h->next) {
        if (!is_first_histogram(histograms, h))
            continue;
        write_head(out, h->name, h->help, "histogram");
        for (struct wr_histogram *s = h; s; s = s->next)
            if (strcmp(s->name, h->name) == 0)
                write_histogram(out, s);
    }
}

static unsigned count_entries(const char *folder)
{
    unsigned n = 0;
    DIR *d = opendir(folder);
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void write_process(struct wr_buf *out)
{
    struct rusage u;
    long pages = 0;
    getrusage(RUSAGE_SELF, &u);
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    write_head(out, "process_cpu_seconds_total", "User and system CPU time, seconds", "counter");
    wr_buf_fmt(out, "process_cpu_seconds_total %.3f\n",
               (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                   (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    write_head(out, "process_resident_memory_bytes", "Resident memory, bytes", "gauge");
    wr_buf_fmt(out, "process_resident_memory_bytes %lld\n",
               (long long)pages * sysconf(_SC_PAGESIZE));
    write_head(out, "process_open_fds", "Open file descriptors", "gauge");
    wr_buf_fmt(out, "process_open_fds %u\n", count_entries("/proc/self/fd"));
    write_head(out, "process_threads", "Threads", "gauge");
    wr_buf_fmt(out, "process_threads %u\n", count_entries("/proc/self/task"));
}

void wr_metrics_write(struct wr_buf *out)
{
    pthread_mutex_lock(&lock);
    write_counters(out);
    write_gauges(out);
    write_histograms(out);
    pthread_mutex_unlock(&lock);
    write_process(out);
}
