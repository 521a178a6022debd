/* SPDX-License-Identifier: MIT
 *
 * A client that keeps a connection, a buffer and a descriptor busy with a byte now and then is ended: by bytes and time. */
#include "pace.h"

void http__pace_begin(struct http__pace *p, uint64_t moved, int64_t now_ms)
{
    *p = (struct http__pace){.moved_ms = now_ms, .rate_ms = now_ms, .moved = moved, .from = moved};
}

bool http__pace_is_slow(struct http__pace *p, uint64_t moved, bool waits, int64_t now_ms,
                        uint32_t patience_ms)
{
    if (!waits) {
        http__pace_begin(p, moved, now_ms);
        return false;
    }
    if (moved != p->moved) {
        p->moved = moved;
        p->moved_ms = now_ms;
    } else if (now_ms - p->moved_ms >= patience_ms) {
        return true;
    }
    if (now_ms - p->rate_ms < 2 * (int64_t)patience_ms)
        return false;
    bool slow = moved - p->from < HTTP__RATE_BYTES;
    p->rate_ms = now_ms;
    p->from = moved;
    return slow;
}
