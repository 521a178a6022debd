/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: events and answers of ingest as bytes, through told.c, intake.c and output.c to paper (live_kit.h). The input is
 * records: a byte that says what comes (modulo 8: an event, an answer to Watch, one with the code in the other bits, an answer
 * to Streams, one to Groups, a viewer of another wish who comes or goes), two with its length, the bytes. What is kept must stay within its bounds, and each call must end exactly once. */
#include "live_kit.h"

#include "wr_log.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(unsigned calls)
{
    const struct live_stream *s = &kit.s;
    size_t held = 0;
    for (size_t i = 0; i < s->held.n; i++)
        held += s->held.v[i].f.data.n;
    if (s->held.n > LIVE_HELD_FRAMES || held != s->held.bytes || s->group.n > LIVE_GROUP_FRAMES ||
        s->group.bytes > LIVE_GROUP_BYTES || s->tracks.n > WR_TRACKS_MAX ||
        s->told.n > WR_TRACKS_MAX || s->num_outputs > LIVE_MAX_OUTPUTS + 4 ||
        kit.calls_ended != calls)
        abort();
}

/* Outputs of other wishes than the kit's: one for each ids that the bytes name. */
static struct live_output *others[LIVE_MAX_OUTPUTS];

static void come_or_go(uint8_t what, struct wr_slice bytes)
{
    struct live_output **o = &others[what / 8 % LIVE_MAX_OUTPUTS];
    char list[64], rendition[64];
    struct live_want w;
    struct wr_errmsg err;
    if (*o) {
        output__release(*o);
        *o = NULL;
        return;
    }
    const uint8_t *bar = memchr(bytes.p, '|', bytes.n);
    size_t n = bar ? (size_t)(bar - bytes.p) : bytes.n;
    snprintf(list, sizeof list, "%.*s", (int)WR_MIN(n, 63u), (const char *)bytes.p);
    snprintf(rendition, sizeof rendition, "%.*s", (int)WR_MIN(bytes.n - n, 63u),
             (const char *)bytes.p + n);
    if (want__read(&w, list, rendition, &err) == WR_OK)
        *o = output__get(&kit.s, kit.live.muxers[0], &w);
}

static void leave_all(void)
{
    for (size_t i = 0; i < LIVE_MAX_OUTPUTS; i++)
        if (others[i])
            output__release(others[i]);
    memset(others, 0, sizeof others);
}

static unsigned take(uint8_t what, struct wr_slice bytes)
{
    static const wr_bus_done_fn done[] = {NULL, told__watch_answer, told__watch_answer,
                                          told__poll_answer, told__groups_answer};
    unsigned kind = what % 8 % 6;
    if (kind == 0) {
        kit_bytes(bytes);
        return 0;
    }
    if (kind == 5) {
        come_or_go(what, bytes);
        return 0;
    }
    struct wr_msg *m = wr_msg_copy(bytes);
    if (!m)
        abort();
    struct wr_answer a = {.code = kind == 2 ? wr_err_from_wire(what / 8 % 16) : WR_OK,
                          .text = bytes,
                          .body = wr_msg_slice(m),
                          .msg = m,
                          .instance = "ingest"};
    done[kind](kind == 3 ? (void *)&kit.live : (void *)&kit.s, &a);
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
    leave_all();
    kit_close();
    return 0;
}
