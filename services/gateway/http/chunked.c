/* SPDX-License-Identifier: MIT
 *
 * The chunked coding of a body, taken off as it comes. Extensions and trailers are checked and dropped. */
#include "head.h"

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_text(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static enum http__chunk_state in_size(struct http__chunked *d, uint8_t c)
{
    int v = hex(c);
    if (v >= 0) {
        if (++d->digits > 15) /* more would not fit, and no body is so long */
            return HTTP__CHUNK_BAD;
        d->left = d->left << 4 | (uint64_t)v;
        return HTTP__CHUNK_SIZE;
    }
    d->line = 0;
    if (!d->digits)
        return HTTP__CHUNK_BAD;
    return c == '\r' ? HTTP__CHUNK_SIZE_LF : c == ';' ? HTTP__CHUNK_EXT : HTTP__CHUNK_BAD;
}

static enum http__chunk_state after_size(struct http__chunked *d, uint8_t c)
{
    if (c != '\n')
        return HTTP__CHUNK_BAD;
    d->digits = 0;
    d->line = 0;
    return d->left ? HTTP__CHUNK_DATA : HTTP__CHUNK_LINE_START;
}

static enum http__chunk_state step(struct http__chunked *d, uint8_t c)
{
    switch (d->state) {
    case HTTP__CHUNK_SIZE:
        return in_size(d, c);
    case HTTP__CHUNK_EXT:
        return c == '\r'                                     ? HTTP__CHUNK_SIZE_LF
               : !is_text(c) || ++d->line > HTTP__CHUNK_LINE ? HTTP__CHUNK_BAD
                                                             : HTTP__CHUNK_EXT;
    case HTTP__CHUNK_SIZE_LF:
        return after_size(d, c);
    case HTTP__CHUNK_DATA_CR:
        return c == '\r' ? HTTP__CHUNK_DATA_LF : HTTP__CHUNK_BAD;
    case HTTP__CHUNK_DATA_LF:
        return c == '\n' ? HTTP__CHUNK_SIZE : HTTP__CHUNK_BAD;
    case HTTP__CHUNK_LINE_START:
        if (c == '\r')
            return HTTP__CHUNK_END_LF;
        if (c == ' ' || c == '\t' || c == ':')
            return HTTP__CHUNK_BAD;
        /* fall through */
    case HTTP__CHUNK_TRAILER:
        return c == '\r'                                        ? HTTP__CHUNK_TRAILER_LF
               : !is_text(c) || ++d->line > HTTP__TRAILER_BYTES ? HTTP__CHUNK_BAD
                                                                : HTTP__CHUNK_TRAILER;
    case HTTP__CHUNK_TRAILER_LF:
        return c == '\n' ? HTTP__CHUNK_LINE_START : HTTP__CHUNK_BAD;
    case HTTP__CHUNK_END_LF:
        return c == '\n' ? HTTP__CHUNK_DONE : HTTP__CHUNK_BAD;
    case HTTP__CHUNK_DATA:
    case HTTP__CHUNK_DONE:
    case HTTP__CHUNK_BAD:
        break;
    }
    return HTTP__CHUNK_BAD;
}

size_t http__chunked_feed(struct http__chunked *d, const uint8_t *p, size_t n,
                          struct wr_slice *data)
{
    size_t at = 0;
    *data = (struct wr_slice){0};
    while (at < n && d->state != HTTP__CHUNK_DONE && d->state != HTTP__CHUNK_BAD) {
        if (d->state != HTTP__CHUNK_DATA) {
            d->state = step(d, p[at++]);
            continue;
        }
        size_t some = (size_t)WR_MIN(d->left, n - at);
        *data = wr_slice_of(p + at, some);
        d->left -= some;
        if (d->left == 0)
            d->state = HTTP__CHUNK_DATA_CR;
        return at + some;
    }
    return at;
}
