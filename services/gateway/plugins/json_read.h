/* SPDX-License-Identifier: MIT
 *
 * Strict reading of JSON (RFC 8259) in place: values are slices of the input, so that what a client embeds is passed on
 * byte for byte. No allocation; nesting is bounded. The input must be valid UTF-8. */
#ifndef WR_GATEWAY_PLUGINS_JSON_READ_H
#define WR_GATEWAY_PLUGINS_JSON_READ_H

#include "wr_buf.h"

#define JSON_MAX_DEPTH 64u

struct json {
    const uint8_t *p, *end;
};

/* One whole value with nothing behind it but white space; *value is it without the space around. False: not JSON. */
bool json_whole(struct wr_slice text, struct wr_slice *value);
/* Members of an object, one after another: start with json_members, then json_member until it returns false. Only for a
 * value that was checked by json_whole. */
bool json_members(struct wr_slice object, struct json *at); /* false: not an object */
bool json_member(struct json *at, struct wr_slice *key,
                 struct wr_slice *value); /* key: with its quotes */
/* A member by name (the last of several); false when absent. */
bool json_get(struct wr_slice object, const char *name, struct wr_slice *value);
/* The text of a string value; a lone surrogate becomes U+FFFD. False: not a string. */
bool json_string(struct wr_slice value, struct wr_buf *out);
bool json_string_is(struct wr_slice value, const char *text);
/* Whole numbers in range. */
bool json_u64(struct wr_slice value, uint64_t *out);
bool json_i64(struct wr_slice value, int64_t *out);
bool json_bool(struct wr_slice value, bool *out);
bool json_is_object(struct wr_slice value);
bool json_is_string(struct wr_slice value);

#endif
