/* SPDX-License-Identifier: MIT
 *
 * Whether a client moves its request's body, or takes an answer, fast enough to be kept. Pure: the caller says what time it is. */
#ifndef WR_GATEWAY_HTTP_PACE_H
#define WR_GATEWAY_HTTP_PACE_H

#include "wr_base.h"

#define HTTP__PATIENCE_MS 60000u     /* without a byte; in twice as long at least */
#define HTTP__RATE_BYTES (64u << 10) /* so many move */

struct http__pace {
    int64_t moved_ms; /* when bytes were last seen to move */
    int64_t rate_ms;  /* when the count of the rate began */
    uint64_t moved, from;
};
/* It begins, or goes on after a time that was not the client's. */
void http__pace_begin(struct http__pace *p, uint64_t moved, int64_t now_ms);
/* A look, made now and then. moved: bytes so far, which never shrink; waits: for the client, and not for us: only that time
 * counts. True when none moved for patience_ms, or less than 64 KiB in twice as long. */
bool http__pace_is_slow(struct http__pace *p, uint64_t moved, bool waits, int64_t now_ms,
                        uint32_t patience_ms);

#endif
