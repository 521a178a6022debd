/* SPDX-License-Identifier: MIT
 *
 * Base64 in its standard alphabet (RFC 4648, section 4). */
#ifndef WR_BASE_WR_BASE64_H
#define WR_BASE_WR_BASE64_H

#include "wr_buf.h"

/* Appends p[0..n) encoded, padded. */
WR_API void wr_base64_add(struct wr_buf *to, const void *p, size_t n);

/* Decodes up to the first character that is not of the alphabet ('=' is not), or until `cap` bytes are full. Returns the
 * characters that were taken; *n is the bytes written. *rest, unless NULL: the last character's bits that fill no byte,
 * which are 0 in what an encoder wrote. */
WR_API size_t wr_base64_decode(struct wr_slice in, uint8_t *out, size_t cap, size_t *n,
                               uint32_t *rest);

#endif
