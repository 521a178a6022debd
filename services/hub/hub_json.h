/* SPDX-License-Identifier: MIT
 *
 * JSON as it comes from outside: is it JSON, and the shortest spelling of it. Nothing is built in memory. */
#ifndef HUB_JSON_H
#define HUB_JSON_H

#include "wr_base.h"

#define HUB_JSON_MAX_DEPTH 64

enum hub_json {
    HUB_JSON_BAD = 0,
    HUB_JSON_COMPACT, /* valid, and as short as hub__json_compact would write it */
    HUB_JSON_LOOSE,   /* valid, with space between tokens or half a surrogate pair in a string */
};

/* RFC 8259, one value, valid UTF-8, nested at most HUB_JSON_MAX_DEPTH deep. `why` (may be NULL) gets static text when
 * it is bad. */
enum hub_json hub__json_check(struct wr_slice in, const char **why);
/* Writes valid JSON without space between tokens, and with U+FFFD for half a surrogate pair (a browser cuts an emoji in
 * two so, and other parsers refuse the whole text for it). out has room for in.n bytes; returns the length. */
size_t hub__json_compact(struct wr_slice in, uint8_t *out);

#endif
