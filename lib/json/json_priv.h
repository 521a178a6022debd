/* SPDX-License-Identifier: MIT
 *
 * What checking and reading share: passing over plain text quickly, and \u escapes. */
#ifndef JSON_PRIV_H
#define JSON_PRIV_H

#include "wr_json.h"

#define JSON__EACH_BYTE(c) (0x0101010101010101u * (uint64_t)(c))

/* Not 0 when a byte of w is 0. */
static inline uint64_t json__zero_bytes(uint64_t w)
{
    return (w - JSON__EACH_BYTE(1)) & ~w & JSON__EACH_BYTE(0x80);
}

/* Past printable ASCII that means nothing in a string, eight bytes at a time: strings are most of what is read. */
static inline const uint8_t *json__skip_plain(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        uint64_t control = (w - JSON__EACH_BYTE(0x20)) & ~w;
        if (((control | w) & JSON__EACH_BYTE(0x80)) | json__zero_bytes(w ^ JSON__EACH_BYTE('"')) |
            json__zero_bytes(w ^ JSON__EACH_BYTE('\\')))
            break;
    }
    return p;
}

static inline int json__hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Four hexadecimal digits; -1 when they are not. */
static inline int json__hex4(const uint8_t *p, const uint8_t *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = json__hex(p[i]);
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* The character of "\u" escapes; p is behind the first "\u". *n: bytes behind it that belong to it, 4 or 10. Half a
 * surrogate pair is U+FFFD with *half set. -1: not four digits. */
static inline int32_t json__unicode(const uint8_t *p, const uint8_t *end, size_t *n, bool *half)
{
    int code = json__hex4(p, end);
    *n = 4;
    *half = false;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    int low = code <= 0xdbff && end - p >= 10 && p[4] == '\\' && p[5] == 'u'
                  ? json__hex4(p + 6, end)
                  : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        *half = true;
        return 0xfffd;
    }
    *n = 10;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

#endif
