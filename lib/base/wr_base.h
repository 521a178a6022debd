/* SPDX-License-Identifier: MIT
 *
 * Words that every unit needs: export and check attributes, a borrowed byte range. Nothing else belongs here. */
#ifndef WR_BASE_WR_BASE_H
#define WR_BASE_WR_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WR_API __attribute__((visibility("default")))
#define WR_MUST_USE __attribute__((warn_unused_result))
#define WR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define WR_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define WR_CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define WR_MIN(a, b) ((a) < (b) ? (a) : (b))
#define WR_MAX(a, b) ((a) > (b) ? (a) : (b))

/* A borrowed range of bytes; says nothing of who owns them. {NULL, 0} is empty. */
struct wr_slice {
    const uint8_t *p;
    size_t n;
};

static inline struct wr_slice wr_slice_str(const char *s)
{
    return (struct wr_slice){(const uint8_t *)s, s ? strlen(s) : 0};
}
static inline struct wr_slice wr_slice_of(const void *p, size_t n)
{
    return (struct wr_slice){(const uint8_t *)p, n};
}
static inline bool wr_slice_eq(struct wr_slice a, struct wr_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool wr_slice_is(struct wr_slice a, const char *s)
{
    return wr_slice_eq(a, wr_slice_str(s));
}

#endif
