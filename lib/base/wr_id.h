/* SPDX-License-Identifier: MIT
 *
 * Random ids and hex. Ids are opaque and say nothing of the instance that made them. */
#ifndef WR_BASE_WR_ID_H
#define WR_BASE_WR_ID_H

#include "wr_base.h"

/* From the kernel; never fails (aborts when getrandom does, since nothing after it could be trusted). */
WR_API void wr_random(void *p, size_t n);
/* `n` characters of [a-z2-7] and a NUL: five random bits each. out holds n + 1. */
WR_API void wr_id_random(char *out, size_t n);
/* RFC 4122 version 4, 36 characters and a NUL. */
WR_API void wr_id_uuid(char out[37]);
/* Lower-case hex; out holds 2 * n + 1. */
WR_API void wr_hex(char *out, const void *p, size_t n);
/* True for a room's or stream's name: 1 to 255 bytes of valid UTF-8 without control and format characters, '/', '\\', a leading
 * '.' and blanks at its ends. */
WR_API bool wr_name_valid(struct wr_slice name);
/* Whether the whole name fits the pattern, in which '*' stands for any bytes or none and all else for itself. */
WR_API bool wr_name_like(struct wr_slice name, const char *pattern);

#endif
