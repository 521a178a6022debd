/* SPDX-License-Identifier: MIT
 *
 * See wr_cursor.h. */
#include "wr_cursor.h"

static void fail(struct wr_cursor *c)
{
    c->failed = true;
    c->p = c->end;
    c->bit = 0;
}

/* Goes to a whole byte; true when n more are there. */
static bool has(struct wr_cursor *c, size_t n)
{
    if (c->bit) {
        c->p++;
        c->bit = 0;
    }
    if (!c->failed && n <= (size_t)(c->end - c->p))
        return true;
    fail(c);
    return false;
}

static uint64_t big(struct wr_cursor *c, unsigned bytes)
{
    uint64_t v = 0;
    if (!has(c, bytes))
        return 0;
    while (bytes--)
        v = v << 8 | *c->p++;
    return v;
}

uint8_t wr_cursor_u8(struct wr_cursor *c)
{
    return (uint8_t)big(c, 1);
}

uint16_t wr_cursor_u16(struct wr_cursor *c)
{
    return (uint16_t)big(c, 2);
}

uint32_t wr_cursor_u24(struct wr_cursor *c)
{
    return (uint32_t)big(c, 3);
}

uint32_t wr_cursor_u32(struct wr_cursor *c)
{
    return (uint32_t)big(c, 4);
}

uint64_t wr_cursor_u64(struct wr_cursor *c)
{
    return big(c, 8);
}

uint16_t wr_cursor_le16(struct wr_cursor *c)
{
    uint16_t v = wr_cursor_u16(c);
    return (uint16_t)(v >> 8 | v << 8);
}

uint32_t wr_cursor_le32(struct wr_cursor *c)
{
    return __builtin_bswap32(wr_cursor_u32(c));
}

struct wr_slice wr_cursor_bytes(struct wr_cursor *c, size_t n)
{
    if (!has(c, n))
        return wr_slice_of(c->end, 0);
    c->p += n;
    return wr_slice_of(c->p - n, n);
}

struct wr_slice wr_cursor_rest(struct wr_cursor *c)
{
    if (!has(c, 0))
        return wr_slice_of(c->end, 0);
    return wr_cursor_bytes(c, (size_t)(c->end - c->p));
}

void wr_cursor_skip(struct wr_cursor *c, size_t n)
{
    if (has(c, n))
        c->p += n;
}

/* ---- bits --------------------------------------------------------------------------------------------------------- */

static void next_byte(struct wr_cursor *c)
{
    c->zeros = *c->p == 0 ? (uint8_t)WR_MIN(c->zeros + 1, 2) : 0;
    c->p++;
    c->bit = 0;
    if (c->unescape && c->zeros >= 2 && c->p < c->end && *c->p == 3) {
        c->p++;
        c->zeros = 0;
    }
}

uint32_t wr_cursor_bits(struct wr_cursor *c, unsigned n)
{
    uint64_t v = 0;
    if (n > 32)
        fail(c);
    for (unsigned take; n > 0; n -= take) {
        if (c->failed || c->p == c->end) {
            fail(c);
            return 0;
        }
        take = WR_MIN(n, 8u - c->bit);
        v = v << take | (*c->p >> (8u - c->bit - take) & ((1u << take) - 1));
        c->bit = (uint8_t)(c->bit + take);
        if (c->bit == 8)
            next_byte(c);
    }
    return (uint32_t)v;
}

void wr_cursor_skip_bits(struct wr_cursor *c, size_t n)
{
    if (n / 8 > (size_t)(c->end - c->p)) {
        fail(c);
        return;
    }
    for (size_t take; n > 0 && !c->failed; n -= take) {
        take = WR_MIN(n, 32);
        (void)wr_cursor_bits(c, (unsigned)take);
    }
}

uint32_t wr_cursor_ue(struct wr_cursor *c)
{
    unsigned zeros = 0;
    while (!c->failed && wr_cursor_bits(c, 1) == 0)
        if (++zeros > 31)
            fail(c);
    uint32_t rest = wr_cursor_bits(c, zeros > 31 ? 0 : zeros);
    return c->failed ? 0 : (uint32_t)((1ull << zeros) - 1 + rest);
}

int32_t wr_cursor_se(struct wr_cursor *c)
{
    uint32_t v = wr_cursor_ue(c);
    return v & 1 ? (int32_t)(v / 2 + 1) : -(int32_t)(v / 2);
}
