/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: events and answers of ingest as bytes, through intake.c and output.c to paper (live_kit.h). The input is
 * records: a byte that says what comes (modulo 4: an event, an answer to Watch, one with the code in the other bits, an
 * answer to Streams), two with its length, the bytes. What is kept must stay within its bounds, and each call must end exactly once. */
#include "live_kit.h"

#include "wr_log.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(unsigned calls)
{
    const struct live_stream *s = &kit.s;
    size_t held = 0;
    for (size_t i = 0; i < s->held.n; i++)
        held += s->held.v[i].f.data.n;
    if (s->held.n > LIVE_HELD_FRAMES || held != s->held.bytes || s->group.n > LIVE_GROUP_FRAMES ||
        s->group.bytes > LIVE_GROUP_BYTES || s->num_tracks > 2 || s->num_told_tracks > 2 ||
        s->end_us < 0 || kit.calls_ended != calls)
        abort();
}

static unsigned take(uint8_t what, struct wr_slice bytes)
{
    if (what % 4 == 0) {
        kit_bytes(bytes);
        return 0;
    }
    struct wr_msg *m = wr_msg_copy(bytes);
    if (!m)
        abort();
    struct wr_answer a = {.code = wr_err_from_wire(what / 4 % 16),
                          .text = bytes,
                          .body = wr_msg_slice(m),
                          .msg = m,
                          .instance = "ingest"};
    if (what % 4 == 1)
        a.code = WR_OK;
    if (what % 4 == 3)
        intake__poll_answer(&kit.live, &a);
    else
        intake__watch_answer(&kit.s, &a);
    wr_msg_unref(m);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned calls = 0;
    wr_log_set_level(WR_LOG_ERROR);
    kit_open(size == 0 || data[0] != 'u');
    for (size_t at = 0; at + 3 <= size;) {
        size_t n = WR_MIN((size_t)(data[at + 1] | data[at + 2] << 8), size - at - 3);
        calls += take(data[at], wr_slice_of(data + at + 3, n));
        check(calls);
        at += 3 + n;
    }
    kit_close();
    return 0;
}
