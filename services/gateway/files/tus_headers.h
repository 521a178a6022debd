/* SPDX-License-Identifier: MIT
 *
 * The header values of tus 1.0. Pure functions over hostile text. */
#ifndef WR_GATEWAY_FILES_TUS_HEADERS_H
#define WR_GATEWAY_FILES_TUS_HEADERS_H

#include "wr_buf.h"
#include "wr_err.h"

#define TUS_METADATA_MAX 8192u /* bytes of the header */
#define TUS_PAIRS_MAX 64u

/* Decimal digits alone. INVALID: anything else; TOO_BIG: over 2^63 - 1. */
WR_MUST_USE wr_err tus_parse_number(const char *s, uint64_t *out);

/* The values that mean something here, decoded; "" when they did not come. */
struct tus_metadata {
    char filename[256]; /* last path part, without control and bidirectional marks */
    char filetype[128]; /* "image/png", lower case; "" when it is not a media type */
    char room[256];
    char name[256]; /* who sends it */
};
/* Checks the whole Upload-Metadata (RFC-like rules of tus: keys unique, ASCII, values base64), decodes ours. INVALID and
 * TOO_BIG with text. NULL or "" is no metadata. */
WR_MUST_USE wr_err tus_parse_metadata(const char *header, struct tus_metadata *out,
                                      struct wr_errmsg *err);

/* Standard alphabet; padding may be missing. False when malformed or longer than cap. */
WR_MUST_USE bool tus_base64(struct wr_slice in, uint8_t *out, size_t cap, size_t *n);

/* Copies text without what could mislead in a list or a header: controls (also U+0080 to U+009F), bidirectional marks,
 * line and paragraph separators. Cuts at a character's end. */
void tus_clean(struct wr_slice text, char *out, size_t cap);

/* The same for a file's name (text of at most TUS_METADATA_MAX bytes): one that is too long keeps its ending (".pdf"), by
 * which people and programs know what it is. cap is at least 64. */
void tus_clean_name(struct wr_slice text, char *out, size_t cap);

/* "type/subtype" of RFC 9110 tokens, without parameters, lower case; false when it is not one or does not fit. */
WR_MUST_USE bool tus_media_type(struct wr_slice text, char *out, size_t cap);

/* The value is application/offset+octet-stream, whatever parameters follow. NULL is not. */
bool tus_is_offset_type(const char *content_type);

#endif
