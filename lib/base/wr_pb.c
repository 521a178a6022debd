/* SPDX-License-Identifier: MIT
 *
 * The few wire-format routines behind wr_pb.h. Input may be hostile: every length is checked against the end. */
#include "wr_pb.h"

void wr_pb_read(struct wr_pb_reader *r, struct wr_slice bytes)
{
    *r = (struct wr_pb_reader){.p = bytes.p, .end = bytes.n ? bytes.p + bytes.n : bytes.p};
}

static bool read_varint(struct wr_pb_reader *r, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (r->p == r->end)
            return false;
        uint8_t b = *r->p++;
        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct wr_pb_reader *r, unsigned n, uint64_t *out)
{
    if ((size_t)(r->end - r->p) < n)
        return false;
    *out = 0;
    for (unsigned i = 0; i < n; i++)
        *out |= (uint64_t)*r->p++ << (8 * i);
    return true;
}

bool wr_pb_next(struct wr_pb_reader *r, struct wr_pb_field *f)
{
    uint64_t key, n;
    if (r->bad || r->p == r->end)
        return false;
    if (!read_varint(r, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        goto bad;
    *f = (struct wr_pb_field){.number = (uint32_t)(key >> 3), .wire = (uint8_t)(key & 7)};
    switch (f->wire) {
    case 0:
        if (!read_varint(r, &f->value))
            goto bad;
        return true;
    case 1:
        if (!read_fixed(r, 8, &f->value))
            goto bad;
        return true;
    case 5:
        if (!read_fixed(r, 4, &f->value))
            goto bad;
        return true;
    case 2:
        if (!read_varint(r, &n) || n > (size_t)(r->end - r->p))
            goto bad;
        f->bytes = wr_slice_of(r->p, (size_t)n);
        r->p += n;
        return true;
    default:
        break;
    }
bad:
    r->bad = true;
    return false;
}

size_t wr_pb_varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

uint8_t *wr_pb_varint(uint8_t *to, uint64_t v)
{
    while (v >= 0x80) {
        *to++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *to++ = (uint8_t)v;
    return to;
}

uint8_t *wr_pb_tag(uint8_t *to, uint32_t number, unsigned wire)
{
    return wr_pb_varint(to, (uint64_t)number << 3 | wire);
}

uint8_t *wr_pb_uint(uint8_t *to, uint32_t number, uint64_t v)
{
    return v == 0 ? to : wr_pb_varint(wr_pb_tag(to, number, 0), v);
}

uint8_t *wr_pb_bytes_head(uint8_t *to, uint32_t number, size_t n)
{
    return wr_pb_varint(wr_pb_tag(to, number, 2), n);
}

uint8_t *wr_pb_bytes(uint8_t *to, uint32_t number, struct wr_slice b)
{
    if (b.n == 0)
        return to;
    to = wr_pb_bytes_head(to, number, b.n);
    memcpy(to, b.p, b.n);
    return to + b.n;
}
