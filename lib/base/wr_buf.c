/* SPDX-License-Identifier: MIT
 *
 * Growing buffers, and the check for UTF-8. */
#include "wr_buf.h"

#include <stdio.h>
#include <stdlib.h>

void wr_buf_free(struct wr_buf *b)
{
    free(b->p);
    *b = (struct wr_buf){0};
}

uint8_t *wr_buf_reserve(struct wr_buf *b, size_t more)
{
    if (b->failed)
        return NULL;
    if (b->cap - b->n < more) {
        size_t want = WR_MAX(b->cap * 2, (size_t)64);
        if (want < b->n + more)
            want = b->n + more;
        uint8_t *p = realloc(b->p, want);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->p = p;
        b->cap = want;
    }
    return b->p + b->n;
}

void wr_buf_add(struct wr_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    uint8_t *to = wr_buf_reserve(b, n);
    if (!to)
        return;
    memcpy(to, p, n);
    b->n += n;
}

void wr_buf_str(struct wr_buf *b, const char *s)
{
    wr_buf_add(b, s, strlen(s));
}

void wr_buf_char(struct wr_buf *b, char c)
{
    wr_buf_add(b, &c, 1);
}

void wr_buf_fmt(struct wr_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int w = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (w >= 0 && wr_buf_reserve(b, (size_t)w + 1)) {
        vsnprintf((char *)b->p + b->n, (size_t)w + 1, fmt, again);
        b->n += (size_t)w;
    }
    va_end(again);
}

void wr_buf_u64(struct wr_buf *b, uint64_t v)
{
    char tmp[20];
    size_t i = sizeof tmp;
    do {
        tmp[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    wr_buf_add(b, tmp + i, sizeof tmp - i);
}

void wr_buf_be(struct wr_buf *b, uint64_t v, unsigned bytes)
{
    uint8_t tmp[8];
    for (unsigned i = 0; i < bytes; i++)
        tmp[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    wr_buf_add(b, tmp, bytes);
}

unsigned wr_utf8_len(const uint8_t *p, size_t n)
{
    if (n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    unsigned len = p[0] >= 0xc2 && p[0] < 0xe0   ? 2
                   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                 : 0;
    if (len == 0 || n < len)
        return 0;
    for (unsigned i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates and values above U+10FFFF are ruled out by the second byte. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

bool wr_utf8_valid(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        unsigned len = wr_utf8_len(p, n);
        if (len == 0)
            return false;
        p += len;
        n -= len;
    }
    return true;
}
