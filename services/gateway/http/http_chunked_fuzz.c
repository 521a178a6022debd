/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: http__chunked_feed. The first byte says how the rest is cut into reads; the body is the same in any cut. */
#include "head.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t hash, bytes;
    size_t used;
    enum http__chunk_state end;
};

static struct sum feed(const uint8_t *p, size_t n, size_t step)
{
    struct http__chunked d = {0};
    struct sum s = {.hash = 14695981039346656037u};
    while (s.used < n && d.state < HTTP__CHUNK_DONE) {
        size_t some = WR_MIN(step, n - s.used);
        struct wr_slice data;
        size_t took = http__chunked_feed(&d, p + s.used, some, &data);
        if (took == 0 || took > some || data.n > took)
            abort();
        for (size_t i = 0; i < data.n; i++)
            s.hash = (s.hash ^ data.p[i]) * 1099511628211u;
        s.bytes += data.n;
        s.used += took;
    }
    s.end = d.state;
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sum whole = feed(data + 1, size - 1, size), cut = feed(data + 1, size - 1, data[0] + 1u);
    if (whole.hash != cut.hash || whole.bytes != cut.bytes || whole.used != cut.used ||
        whole.end != cut.end)
        abort();
    return 0;
}
