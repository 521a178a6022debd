/* SPDX-License-Identifier: MIT
 *
 * See wr_base64.h. */
#include "wr_base64.h"

void wr_base64_add(struct wr_buf *to, const void *bytes, size_t n)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0u);
        wr_buf_char(to, set[v >> 18]);
        wr_buf_char(to, set[v >> 12 & 63]);
        wr_buf_char(to, i + 1 < n ? set[v >> 6 & 63] : '=');
        wr_buf_char(to, i + 2 < n ? set[v & 63] : '=');
    }
}

static int value_of(uint8_t c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

size_t wr_base64_decode(struct wr_slice in, uint8_t *out, size_t cap, size_t *n, uint32_t *rest)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t taken = 0;
    *n = 0;
    for (; taken < in.n; taken++) {
        int v = value_of(in.p[taken]);
        if (v < 0 || (have >= 2 && *n == cap))
            break;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        out[(*n)++] = (uint8_t)(bits >> have);
    }
    if (rest)
        *rest = bits & ((1u << have) - 1);
    return taken;
}
