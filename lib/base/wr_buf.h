/* SPDX-License-Identifier: MIT
 *
 * A growing byte buffer for building text and frames. Errors stick: after memory ran out every append is a no-op and
 * `failed` stays set, so a builder checks once, at the end. */
#ifndef WR_BASE_WR_BUF_H
#define WR_BASE_WR_BUF_H

#include "wr_base.h"
#include <stdarg.h>

struct wr_buf {
    uint8_t *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated */
    bool failed;
};

/* Zeroed memory is a valid empty buffer. */
WR_API void wr_buf_free(struct wr_buf *b);
/* Makes room for `more` bytes behind the used ones; NULL (and failed) when memory is out. Does not change n. */
WR_API uint8_t *wr_buf_reserve(struct wr_buf *b, size_t more);
WR_API void wr_buf_add(struct wr_buf *b, const void *p, size_t n);
WR_API void wr_buf_str(struct wr_buf *b, const char *s);
WR_API void wr_buf_char(struct wr_buf *b, char c);
WR_API void wr_buf_fmt(struct wr_buf *b, const char *fmt, ...) WR_PRINTF(2, 3);
WR_API void wr_buf_u64(struct wr_buf *b, uint64_t v);                /* decimal */
WR_API void wr_buf_be(struct wr_buf *b, uint64_t v, unsigned bytes); /* big endian, 1 to 8 bytes */
static inline void wr_buf_slice(struct wr_buf *b, struct wr_slice s)
{
    wr_buf_add(b, s.p, s.n);
}
static inline void wr_buf_clear(struct wr_buf *b)
{
    b->n = 0;
    b->failed = false;
}
/* Length of the valid UTF-8 sequence at p (1 to 4), 0 when it is not one. RFC 3629. */
WR_API unsigned wr_utf8_len(const uint8_t *p, size_t n);
WR_API bool wr_utf8_valid(const void *p, size_t n);

#endif
