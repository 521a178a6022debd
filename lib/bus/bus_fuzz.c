/* SPDX-License-Identifier: MIT
 *
 * Fuzz target for what comes in on the bus's ports: bus__parse_call, bus__parse_answer, bus__parse_event. Whatever the
 * bytes, slices stay inside them and no length is believed. */
#include "bus_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct wr_slice whole, struct wr_slice part)
{
    if (part.n && (part.p < whole.p || part.n > whole.n || part.p + part.n > whole.p + whole.n))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wr_slice in = wr_slice_of(data, size), topic, event;
    struct bus_call_view call;
    struct bus_answer_view answer;
    if (bus__parse_call(in, &call)) {
        check(in, call.method);
        check(in, call.trace_id);
        check(in, call.body);
        if (call.deadline_ms > 600000)
            abort();
    }
    if (bus__parse_answer(in, &answer)) {
        check(in, answer.text);
        check(in, answer.body);
    }
    if (bus__parse_event(in, &topic, &event)) {
        check(in, topic);
        check(in, event);
        const char *const prefixes[] = {"room/", "media/demo\x01", NULL};
        bus__topic_matches(prefixes, topic);
    }
    return 0;
}
