/* SPDX-License-Identifier: MIT
 *
 * A checked reader for bytes from outside. It cannot read past its end: a read that does not fit gives zeros (or an empty
 * slice), moves to the end and sets `failed`, which sticks, so a parser reads on and asks once, at the end, or where a value
 * decides. No length that a peer sends is ever added to a pointer. Not here: writing (wr_buf), protobuf (wr_pb).
 *
 *     struct wr_cursor c = wr_cursor_of(packet);
 *     uint16_t n = wr_cursor_u16(&c);
 *     struct wr_slice unit = wr_cursor_bytes(&c, n);
 *     if (c.failed)
 *         return false;
 *
 * Bytes and bits mix: a bit read takes from the byte where the last one stopped; a byte read begins at the next whole byte. */
#ifndef WR_BASE_WR_CURSOR_H
#define WR_BASE_WR_CURSOR_H

#include "wr_base.h"

struct wr_cursor {
    const uint8_t *p, *end; /* next byte, behind the last */
    uint8_t bit;            /* bits of *p that were read, 0 to 7 */
    bool failed;
    /* H.264 and H.265 (7.3.1.1): 00 00 03 is read as 00 00. */
    bool unescape;
    uint8_t zeros; /* zero bytes right before p, while unescaping */
};

/* Borrows the bytes. */
static inline struct wr_cursor wr_cursor_of(struct wr_slice s)
{
    return (struct wr_cursor){.p = s.p, .end = s.n ? s.p + s.n : s.p};
}
/* The payload of a NAL unit behind its head of so many bytes (1: H.264, 2: H.265): bit reads skip emulation prevention bytes.
 * Read it with bit reads alone. */
static inline struct wr_cursor wr_cursor_rbsp(struct wr_slice nal, size_t head)
{
    struct wr_cursor c = wr_cursor_of(nal);
    c.unescape = true;
    c.failed = nal.n < head;
    c.p = c.failed ? c.end : c.p + head;
    return c;
}
/* Whole bytes that are left. */
static inline size_t wr_cursor_left(const struct wr_cursor *c)
{
    return (size_t)(c->end - c->p) - (c->bit ? 1 : 0);
}
static inline bool wr_cursor_at_end(const struct wr_cursor *c)
{
    return c->p == c->end;
}

/* Big endian. */
WR_API uint8_t wr_cursor_u8(struct wr_cursor *c);
WR_API uint16_t wr_cursor_u16(struct wr_cursor *c);
WR_API uint32_t wr_cursor_u24(struct wr_cursor *c);
WR_API uint32_t wr_cursor_u32(struct wr_cursor *c);
WR_API uint64_t wr_cursor_u64(struct wr_cursor *c);
/* Little endian. */
WR_API uint16_t wr_cursor_le16(struct wr_cursor *c);
WR_API uint32_t wr_cursor_le32(struct wr_cursor *c);
/* The next n bytes, borrowed from the source; empty when there are fewer. */
WR_API struct wr_slice wr_cursor_bytes(struct wr_cursor *c, size_t n);
/* All that is left, which may be nothing. */
WR_API struct wr_slice wr_cursor_rest(struct wr_cursor *c);
WR_API void wr_cursor_skip(struct wr_cursor *c, size_t n);

/* n bits, 0 to 32, the highest first; more than 32 fails. */
WR_API uint32_t wr_cursor_bits(struct wr_cursor *c, unsigned n);
static inline bool wr_cursor_flag(struct wr_cursor *c)
{
    return wr_cursor_bits(c, 1) != 0;
}
/* Any number of bits. */
WR_API void wr_cursor_skip_bits(struct wr_cursor *c, size_t n);
/* Exp-Golomb, ue(v) and se(v) of H.264 9.1: up to 32 bits; longer codes fail. */
WR_API uint32_t wr_cursor_ue(struct wr_cursor *c);
WR_API int32_t wr_cursor_se(struct wr_cursor *c);

#endif
