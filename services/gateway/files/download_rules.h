/* SPDX-License-Identifier: MIT
 *
 * What a download's headers mean and say: ranges, conditions (RFC 9110, 13 and 14), names and types that are
 * safe to show. Pure functions. */
#ifndef WR_GATEWAY_FILES_DOWNLOAD_RULES_H
#define WR_GATEWAY_FILES_DOWNLOAD_RULES_H

#include "wr_buf.h"

enum dl_part { DL_WHOLE = 1, DL_PART, DL_UNSATISFIABLE };
struct dl_range {
    enum dl_part part;
    uint64_t first, last; /* inclusive; of DL_PART */
};
/* header: Range, or NULL. What is malformed, of another unit, or more than one range is answered with the whole file. So is
 * any range of an empty file: it has no byte that one could leave out (RFC 9110, 14.2 lets a server ignore Range). */
struct dl_range dl_parse_range(const char *header, uint64_t size);

/* The conditional headers, each or NULL. */
struct dl_conditions {
    const char *if_match, *if_none_match, *if_modified_since, *if_unmodified_since, *if_range;
};
/* 0: send it; 304; 412. etag has its quotes; modified is in seconds since 1970. */
int dl_evaluate(const struct dl_conditions *c, const char *etag, int64_t modified);
/* May a Range be honoured? */
bool dl_if_range(const char *if_range, const char *etag, int64_t modified);
/* False when it is none of the three forms of an HTTP date. */
bool dl_parse_date(const char *s, int64_t *out);
/* "Sun, 06 Nov 1994 08:49:37 GMT"; out holds 32. */
void dl_format_date(int64_t t, char out[32]);

/* Content-Type, Content-Disposition and Content-Security-Policy lines of a user's file: raster pictures, sound, video and
 * plain text may be shown in the page; everything else is saved, under a type that no browser runs. */
void dl_describe(struct wr_buf *out, const char *filename, const char *filetype, bool save);

#endif
