/* SPDX-License-Identifier: MIT
 *
 * Protobuf wire format by hand, for the few messages that carry large or frequent payloads: fields are read as borrowed
 * slices and written into headroom, so that data is not copied through unpacked structs. Everything else uses the
 * generated code. Encoding: https://protobuf.dev/programming-guides/encoding/ */
#ifndef WR_BASE_WR_PB_H
#define WR_BASE_WR_PB_H

#include "wr_base.h"

struct wr_pb_reader {
    const uint8_t *p, *end;
    bool bad; /* malformed input was met; next() returns false from then on */
};

struct wr_pb_field {
    uint32_t number;
    uint8_t wire;          /* 0 varint, 1 fixed64, 2 bytes, 5 fixed32 */
    uint64_t value;        /* varint and fixed */
    struct wr_slice bytes; /* wire type 2, borrowed */
};

WR_API void wr_pb_read(struct wr_pb_reader *r, struct wr_slice bytes);
/* Next field; false at the end or when malformed (then r->bad). Groups (wire types 3, 4) are malformed here. */
WR_API bool wr_pb_next(struct wr_pb_reader *r, struct wr_pb_field *f);

/* Writers: each returns the position after what it wrote; the caller gives room (10 bytes for a varint, and its tag). */
WR_API uint8_t *wr_pb_varint(uint8_t *to, uint64_t v);
WR_API uint8_t *wr_pb_tag(uint8_t *to, uint32_t number, unsigned wire);
WR_API uint8_t *wr_pb_uint(uint8_t *to, uint32_t number,
                           uint64_t v); /* omitted when 0, as proto3 does */
WR_API uint8_t *wr_pb_bytes(uint8_t *to, uint32_t number,
                            struct wr_slice b); /* omitted when empty */
/* Tag and length of a bytes field whose n bytes follow elsewhere. */
WR_API uint8_t *wr_pb_bytes_head(uint8_t *to, uint32_t number, size_t n);
WR_API size_t wr_pb_varint_size(uint64_t v);

#endif
