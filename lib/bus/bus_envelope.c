/* SPDX-License-Identifier: MIT
 *
 * Call, Answer and the topic frame in wire form, read and written without copying bodies (proto/watchroom/v1/bus.proto).
 * What is read comes from other processes and may be hostile. */
#include "bus_priv.h"

#include "wr_pb.h"

#include "watchroom/v1/bus.numbers.h"

bool bus__parse_call(struct wr_slice bytes, struct bus_call_view *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct bus_call_view){0};
    wr_pb_read(&r, bytes);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_CALL_METHOD && f.wire == 2)
            out->method = f.bytes;
        else if (f.number == WR_PB_CALL_TRACE_ID && f.wire == 2)
            out->trace_id = f.bytes;
        else if (f.number == WR_PB_CALL_DEADLINE_MS && f.wire == 0)
            out->deadline_ms = (uint32_t)WR_MIN(f.value, (uint64_t)600000);
        else if (f.number == WR_PB_CALL_BODY && f.wire == 2)
            out->body = f.bytes;
    }
    return !r.bad && out->method.n > 0 && out->method.n < 96;
}

bool bus__parse_answer(struct wr_slice bytes, struct bus_answer_view *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct bus_answer_view){0};
    wr_pb_read(&r, bytes);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_ANSWER_CODE && f.wire == 0)
            out->code = (uint32_t)WR_MIN(f.value, (uint64_t)UINT32_MAX);
        else if (f.number == WR_PB_ANSWER_MESSAGE && f.wire == 2)
            out->text = f.bytes;
        else if (f.number == WR_PB_ANSWER_BODY && f.wire == 2)
            out->body = f.bytes;
    }
    return !r.bad;
}

bool bus__parse_event(struct wr_slice bytes, struct wr_slice *topic, struct wr_slice *event)
{
    const uint8_t *zero = bytes.n ? memchr(bytes.p, 0, WR_MIN(bytes.n, (size_t)512)) : NULL;
    if (!zero)
        return false;
    size_t n = (size_t)(zero - bytes.p);
    *topic = wr_slice_of(bytes.p, n);
    *event = wr_slice_of(zero + 1, bytes.n - n - 1);
    return true;
}

size_t bus__write_call(uint8_t *to, const char *method, const char *trace_id, uint32_t deadline_ms,
                       size_t body_n)
{
    uint8_t *at = wr_pb_bytes(to, WR_PB_CALL_METHOD, wr_slice_str(method));
    at = wr_pb_bytes(at, WR_PB_CALL_TRACE_ID, wr_slice_str(trace_id));
    at = wr_pb_uint(at, WR_PB_CALL_DEADLINE_MS, deadline_ms);
    if (body_n)
        at = wr_pb_bytes_head(at, WR_PB_CALL_BODY, body_n);
    return (size_t)(at - to);
}

size_t bus__write_answer(uint8_t *to, wr_err code, const char *text, size_t body_n)
{
    uint8_t *at = wr_pb_uint(to, WR_PB_ANSWER_CODE, (uint64_t)code);
    struct wr_slice t = wr_slice_str(text ? text : "");
    t.n = WR_MIN(t.n, (size_t)512);
    at = wr_pb_bytes(at, WR_PB_ANSWER_MESSAGE, t);
    if (body_n)
        at = wr_pb_bytes_head(at, WR_PB_ANSWER_BODY, body_n);
    return (size_t)(at - to);
}

bool bus__topic_matches(const char *const *prefixes, struct wr_slice topic)
{
    for (; *prefixes; prefixes++) {
        size_t n = strlen(*prefixes);
        bool exact = n && (*prefixes)[n - 1] == '\x01';
        n -= exact;
        if (topic.n >= n && (!exact || topic.n == n) && memcmp(topic.p, *prefixes, n) == 0)
            return true;
    }
    return false;
}
