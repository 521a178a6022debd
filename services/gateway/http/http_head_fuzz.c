/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: http__head_parse. A head is the same whether it comes at once or byte by byte, and what was taken keeps the
 * rules that the rest of the gateway relies on. */
#include "head.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(struct wr_slice s, const uint8_t *p, size_t n)
{
    return s.n == 0 || (s.p >= p && s.p + s.n <= p + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http__head h, g;
    const char *why = NULL;
    size_t scanned = 0, steps = 0;
    ptrdiff_t n = http__head_parse(data, size, &scanned, &h, &why), m = 0;
    for (size_t at = 1; at <= size && m == 0; at++)
        m = http__head_parse(data, at, &steps, &g, &why);
    if (m != n || (n < 0 && !why))
        abort();
    if (n <= 0)
        return 0;
    if ((size_t)n > size || h.num_fields > HTTP__FIELDS || (h.is_chunked && h.content_length >= 0))
        abort();
    if (!lies_in(h.method, data, (size_t)n) || !lies_in(h.target, data, (size_t)n) ||
        !lies_in(h.host, data, (size_t)n))
        abort();
    for (uint32_t i = 0; i < h.num_fields; i++)
        if (memchr(h.fields[i].value.p, '\n', h.fields[i].value.n) ||
            memchr(h.fields[i].value.p, '\r', h.fields[i].value.n))
            abort();
    return 0;
}
