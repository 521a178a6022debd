/* SPDX-License-Identifier: MIT
 *
 * Randomness from the kernel, and names that are safe to show and to put into a topic. */
#include "wr_id.h"
#include "wr_buf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void wr_random(void *p, size_t n)
{
    uint8_t *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        at += got;
        n -= (size_t)got;
    }
}

void wr_id_random(char *out, size_t n)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    wr_random(out, n);
    for (size_t i = 0; i < n; i++)
        out[i] = alphabet[(unsigned char)out[i] & 31];
    out[n] = '\0';
}

void wr_hex(char *out, const void *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
}

void wr_id_uuid(char out[37])
{
    uint8_t r[16];
    char hex[33];
    wr_random(r, sizeof r);
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    wr_hex(hex, r, sizeof r);
    char *o = out;
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *o++ = '-';
        *o++ = hex[i];
    }
    *o = '\0';
}

/* The character at *p of valid UTF-8; moves *p behind it. */
static uint32_t next_char(const uint8_t **p)
{
    uint32_t c = *(*p)++;
    unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (more)
        c &= 0x3fu >> more;
    while (more--)
        c = c << 6 | (*(*p)++ & 0x3fu);
    return c;
}

struct range {
    uint32_t first, last;
};

static bool is_in(const struct range *ranges, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* Unicode 15.1: controls (Cc), line and paragraph separators (Zl, Zp) and formats (Cf), which nobody sees: two names that look
 * alike would be two rooms, or one would read backwards. */
static bool is_hidden(uint32_t c)
{
    static const struct range hidden[] = {
        {0x0000, 0x001f},   {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x0600, 0x0605},
        {0x061c, 0x061c},   {0x06dd, 0x06dd},   {0x070f, 0x070f},   {0x0890, 0x0891},
        {0x08e2, 0x08e2},   {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
        {0x2060, 0x206f},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0x110bd, 0x110bd},
        {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe007f}};
    return is_in(hidden, WR_ARRAY_LEN(hidden), c);
}

/* Zs */
static bool is_blank(uint32_t c)
{
    static const struct range blank[] = {{0x20, 0x20},     {0xa0, 0xa0},     {0x1680, 0x1680},
                                         {0x2000, 0x200a}, {0x202f, 0x202f}, {0x205f, 0x205f},
                                         {0x3000, 0x3000}};
    return is_in(blank, WR_ARRAY_LEN(blank), c);
}

bool wr_name_valid(struct wr_slice name)
{
    if (name.n == 0 || name.n > 255 || name.p[0] == '.' || !wr_utf8_valid(name.p, name.n))
        return false;
    const uint8_t *p = name.p, *end = name.p + name.n;
    while (p < end) {
        bool is_first = p == name.p;
        uint32_t c = next_char(&p);
        if (c == '/' || c == '\\' || is_hidden(c) || (is_blank(c) && (is_first || p == end)))
            return false;
    }
    return true;
}

bool wr_name_like(struct wr_slice name, const char *pattern)
{
    const char *star =
        NULL; /* behind the last '*', which takes more when what follows does not fit */
    size_t i = 0, from = 0;
    while (i < name.n) {
        if (*pattern == '*') {
            star = ++pattern;
            from = i;
        } else if (*pattern && (uint8_t)*pattern == name.p[i]) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star;
            i = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}
