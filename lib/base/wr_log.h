/* SPDX-License-Identifier: MIT
 *
 * One line a happening, on standard error: time, level, a stable key, then facts.
 *     2026-01-02T03:04:05.678Z info  hub.start store=sqlite path=/data/hub/room.db
 * or, for programs that collect logs, the same as a JSON object a line:
 *     {"time":"2026-01-02T03:04:05.678Z","level":"info","event":"hub.start","message":"store=sqlite path=/data/hub/room.db"}
 * Log once, where the error is handled. Credentials never reach a log call. */
#ifndef WR_BASE_WR_LOG_H
#define WR_BASE_WR_LOG_H

#include "wr_base.h"

enum wr_log_level { WR_LOG_DEBUG, WR_LOG_INFO, WR_LOG_WARN, WR_LOG_ERROR };

/* Lines below the level are not formatted. Default: info; the variable WATCHROOM_LOG_LEVEL=debug|info|warn|error sets it at start. */
WR_API void wr_log_set_level(enum wr_log_level level);
WR_API bool wr_log_enabled(enum wr_log_level level);

enum wr_log_format { WR_LOG_TEXT, WR_LOG_JSON };
/* Default: text; the variable WATCHROOM_LOG_FORMAT=text|json sets it at start. */
WR_API void wr_log_set_format(enum wr_log_format format);
/* Names this process in each line, behind the level ("service" in JSON), where several write to one place. Borrowed for ever;
 * NULL names none. Before threads are there. */
WR_API void wr_log_set_service(const char *name);
/* Any thread; one write(2) a line; control characters in the text become '?', so that input cannot forge lines. In JSON, bytes
 * that are not UTF-8 become U+FFFD. A line is cut at some 2,000 bytes. */
WR_API void wr_log(enum wr_log_level level, const char *key, const char *fmt, ...) WR_PRINTF(3, 4);

#define wr_debug(key, ...)                          \
    do {                                            \
        if (wr_log_enabled(WR_LOG_DEBUG))           \
            wr_log(WR_LOG_DEBUG, key, __VA_ARGS__); \
    } while (0)
#define wr_info(key, ...) wr_log(WR_LOG_INFO, key, __VA_ARGS__)
#define wr_warn(key, ...) wr_log(WR_LOG_WARN, key, __VA_ARGS__)
#define wr_error(key, ...) wr_log(WR_LOG_ERROR, key, __VA_ARGS__)

#endif
