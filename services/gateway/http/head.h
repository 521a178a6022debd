/* SPDX-License-Identifier: MIT
 *
 * Request heads and chunked bodies of HTTP/1.x as they come from strangers: RFC 9112 and RFC 9110, strictly. Pure functions
 * of bytes: no socket, no memory of their own. What another server between us and the client could read in another way
 * (bare CR or LF, folded lines, two lengths, blanks before a colon) is refused, never repaired (RFC 9112, 11.2). */
#ifndef WR_GATEWAY_HTTP_HEAD_H
#define WR_GATEWAY_HTTP_HEAD_H

#include "wr_base.h"

#define HTTP__HEAD_BYTES (64u << 10) /* of a whole head */
#define HTTP__FIELDS \
    63u /* civetweb keeps 64, one of them ours, and drops the rest without a word */

struct http__field {
    struct wr_slice name, value; /* the value without blanks around it */
};

enum http__form { HTTP__ORIGIN_FORM = 1, HTTP__ABSOLUTE_FORM, HTTP__ASTERISK_FORM };

/* Slices lie in the parsed bytes. */
struct http__head {
    struct wr_slice method;
    enum http__form form;
    struct wr_slice target; /* path and query; empty: "/" (an absolute form without a path) */
    struct wr_slice
        host; /* authority: of an absolute target, else of Host (RFC 9112, 3.2.2); may be empty in 1.0 */
    bool is_11;            /* HTTP/1.1 and later minors; else 1.0 */
    bool keep_alive;       /* the connection may go on after the answer (RFC 9112, 9.3) */
    bool wants_upgrade;    /* "upgrade" is among the Connection options */
    bool expects_continue; /* Expect: 100-continue */
    bool is_chunked;
    int64_t content_length; /* -1: none */
    uint32_t num_fields;
    struct http__field fields[HTTP__FIELDS];
};

/* Length of the head at the start of p with its empty line; 0: it is not whole yet; negative: the HTTP status to refuse it
 * with (400, 413, 414, 417, 431, 501, 505), *why says what is wrong. Where the next request would begin is not known then.
 * *scanned: bytes that earlier calls looked at (0 for a new head), so that a head in many pieces is looked at once. */
ptrdiff_t http__head_parse(const uint8_t *p, size_t n, size_t *scanned, struct http__head *h,
                           const char **why);
/* The field's value by name; NULL when there is none. */
const struct http__field *http__head_field(const struct http__head *h, const char *name);

/* ---- chunked bodies (RFC 9112, 7.1) -------------------------------------------------------------------------------- */

#define HTTP__CHUNK_LINE 4096u    /* bytes of one chunk's extensions */
#define HTTP__TRAILER_BYTES 8192u /* of all trailers, which are read and dropped */

enum http__chunk_state {
    HTTP__CHUNK_SIZE = 0, /* before and within the size */
    HTTP__CHUNK_EXT,
    HTTP__CHUNK_SIZE_LF,
    HTTP__CHUNK_DATA,
    HTTP__CHUNK_DATA_CR,
    HTTP__CHUNK_DATA_LF,
    HTTP__CHUNK_LINE_START, /* of a trailer, or of the empty line */
    HTTP__CHUNK_TRAILER,
    HTTP__CHUNK_TRAILER_LF,
    HTTP__CHUNK_END_LF,
    HTTP__CHUNK_DONE,
    HTTP__CHUNK_BAD,
};
struct http__chunked { /* zeroed: before the first byte */
    enum http__chunk_state state;
    uint32_t digits; /* of the size */
    uint32_t line;   /* bytes of the extensions, or of all trailers */
    uint64_t left;   /* of the chunk */
};
/* Takes bytes up to the end of the first run of data in them: how many it took; *data (within p, may be empty) is what they
 * hold of the body. Nothing is taken any more when the state is DONE or BAD. */
size_t http__chunked_feed(struct http__chunked *d, const uint8_t *p, size_t n,
                          struct wr_slice *data);

#endif
