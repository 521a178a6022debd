/* SPDX-License-Identifier: MIT
 *
 * JSON (RFC 8259) in place: checked once, where it enters, then read as slices of the same bytes, so that what a client embeds
 * is passed on byte for byte. Nothing is built in memory and, but for a wr_buf that the caller hands in, nothing is
 * allocated. Pure functions, any thread.
 *
 * Reading functions take a *checked* value: one that wr_json_check or wr_json_value took (or a part of such a one). On
 * other bytes their answer means nothing, but they stay within the slice. */
#ifndef WR_JSON_WR_JSON_H
#define WR_JSON_WR_JSON_H

#include "wr_buf.h"

#define WR_JSON_MAX_DEPTH 64u /* arrays and objects within one another */

/* ---- checking ---------------------------------------------------------------------------------------------------- */

enum wr_json_form {
    WR_JSON_BAD = 0,
    WR_JSON_COMPACT, /* valid, and as short as wr_json_compact would write it */
    WR_JSON_LOOSE,   /* valid, with space between tokens or half a surrogate pair in a string */
};

/* One value with nothing but space around it, valid UTF-8, nested at most WR_JSON_MAX_DEPTH deep. `why` (may be NULL) gets
 * a static sentence when it is bad, else NULL. */
WR_API enum wr_json_form wr_json_check(struct wr_slice text, const char **why);
/* The same for who reads on: *value is the value without the space around it. False: not JSON. */
WR_API bool wr_json_value(struct wr_slice text, struct wr_slice *value);
/* Writes a checked value without space between tokens, and with U+FFFD for half a surrogate pair (a browser cuts an emoji in
 * two so, and other parsers refuse the whole text for it). `out` has room for value.n bytes; returns the length. */
WR_API size_t wr_json_compact(struct wr_slice value, uint8_t *out);

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct wr_json_at { /* a place inside an object or array */
    const uint8_t *p, *end;
};

WR_API bool wr_json_is_object(struct wr_slice value);
WR_API bool wr_json_is_string(struct wr_slice value);
/* Members, one after another: wr_json_members (false: not an object), then wr_json_member until it is false. key is a
 * string value: with its quotes, as it was written. */
WR_API bool wr_json_members(struct wr_slice object, struct wr_json_at *at);
WR_API bool wr_json_member(struct wr_json_at *at, struct wr_slice *key, struct wr_slice *value);
/* A member by name, the last when it comes several times; false when it is absent. */
WR_API bool wr_json_get(struct wr_slice object, const char *name, struct wr_slice *value);
/* Appends the text of a string value; half a surrogate pair becomes U+FFFD. False: not a string. */
WR_API bool wr_json_text(struct wr_slice value, struct wr_buf *out);
WR_API bool wr_json_text_is(struct wr_slice value, const char *text);
/* Whole numbers without fraction and exponent that fit; false for everything else. */
WR_API bool wr_json_u64(struct wr_slice value, uint64_t *out);
WR_API bool wr_json_i64(struct wr_slice value, int64_t *out);
WR_API bool wr_json_bool(struct wr_slice value, bool *out);

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Appends text as a JSON string with its quotes. Control characters are escaped, so it never breaks a line; bytes that
 * are not UTF-8 become U+FFFD. text may be NULL when n is 0. */
WR_API void wr_json_put(struct wr_buf *b, const void *text, size_t n);
static inline void wr_json_put_slice(struct wr_buf *b, struct wr_slice text)
{
    wr_json_put(b, text.p, text.n);
}
static inline void wr_json_put_str(struct wr_buf *b, const char *text) /* NULL is "" */
{
    wr_json_put(b, text, text ? strlen(text) : 0);
}

#endif
