/* SPDX-License-Identifier: MIT
 *
 * The log writer. Not a framework: no sinks, no rotation; whoever runs the process keeps its standard error. */
#include "wr_log.h"

#include "wr_buf.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int min_level = -1;

static int level_from_environment(void)
{
    const char *v = getenv("WATCHROOM_LOG_LEVEL");
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

static _Atomic int out_format = -1;
static const char *service;

void wr_log_set_format(enum wr_log_format format)
{
    atomic_store(&out_format, (int)format);
}

void wr_log_set_service(const char *name)
{
    service = name;
}

static bool is_json(void)
{
    int f = atomic_load_explicit(&out_format, memory_order_relaxed);
    if (f < 0) {
        const char *v = getenv("WATCHROOM_LOG_FORMAT");
        f = v && strcmp(v, "json") == 0 ? WR_LOG_JSON : WR_LOG_TEXT;
        atomic_store(&out_format, f);
    }
    return f == WR_LOG_JSON;
}

/* What of the text fits a JSON string of cap bytes; returns its length. The text has no control characters any more. */
static size_t escape(const char *text, char *out, size_t cap)
{
    size_t n = 0;
    while (*text && n + 4 < cap) {
        size_t k = 1;
        while (k < 4 && ((unsigned char)text[k] & 0xc0) == 0x80)
            k++;
        if (!wr_utf8_valid(text, k)) {
            memcpy(out + n, "\xef\xbf\xbd", 3);
            n += 3;
            text++;
            continue;
        }
        if (*text == '"' || *text == '\\')
            out[n++] = '\\';
        memcpy(out + n, text, k);
        n += k;
        text += k;
    }
    return n;
}

struct log_line {
    const char *level, *key;
    char time[32], text[2048];
};

static size_t write_text(const struct log_line *l, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s %-5s %s%s%s %s\n", l->time, l->level, service ? service : "",
                     service ? " " : "", l->key, l->text);
    return n < 0 ? 0 : WR_MIN((size_t)n, cap - 1);
}

static size_t write_json(const struct log_line *l, char *out, size_t cap)
{
    int n = snprintf(out, cap,
                     "{\"time\":\"%s\",\"level\":\"%s\",%s%s%s\"event\":\"%s\",\"message\":\"",
                     l->time, l->level, service ? "\"service\":\"" : "", service ? service : "",
                     service ? "\"," : "", l->key);
    if (n < 0 || (size_t)n + 8 > cap)
        return 0;
    size_t at = (size_t)n + escape(l->text, out + n, cap - (size_t)n - 4);
    memcpy(out + at, "\"}\n", 3);
    return at + 3;
}

void wr_log(enum wr_log_level level, const char *key, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (!wr_log_enabled(level))
        return;

    struct log_line l = {.level = names[level], .key = key};
    char line[2400];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(l.time, sizeof l.time, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(l.time + n, sizeof l.time - n, ".%03ldZ", ts.tv_nsec / 1000000);

    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(l.text, sizeof l.text, fmt, ap);
    va_end(ap);
    for (char *p = l.text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    n = is_json() ? write_json(&l, line, sizeof line) : write_text(&l, line, sizeof line);
    /* A log that cannot be written has nobody to be told. */
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}
