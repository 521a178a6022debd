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

bool wr_name_valid(struct wr_slice name)
{
    if (name.n == 0 || name.n > 255 || name.p[0] == '.' || !wr_utf8_valid(name.p, name.n))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7f || name.p[i] == '/' || name.p[i] == '\\')
            return false;
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
