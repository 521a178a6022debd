/* SPDX-License-Identifier: MIT
 *
 * Ranges, conditions, dates, dispositions. */
#include "download_rules.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

/* ---- ranges --------------------------------------------------------------------------------------------------------- */

static const char *digits(const char *p, uint64_t *v)
{
    *v = 0;
    const char *start = p;
    for (; *p >= '0' && *p <= '9'; p++)
        *v = *v > (UINT64_MAX - 9) / 10 ? UINT64_MAX - 9 : *v * 10 + (uint64_t)(*p - '0');
    return p == start ? NULL : p;
}

struct dl_range dl_parse_range(const char *header, uint64_t size)
{
    const struct dl_range whole = {.part = DL_WHOLE}, none = {.part = DL_UNSATISFIABLE};
    uint64_t first = 0, last = 0;
    if (size == 0 || !header || strncasecmp(header, "bytes", 5) != 0)
        return whole;
    const char *p = header + 5;
    p += strspn(p, " \t");
    if (*p++ != '=')
        return whole;
    p += strspn(p, " \t");
    bool suffix = *p == '-';
    const char *q = suffix ? p : digits(p, &first);
    if (!q || *q != '-')
        return whole;
    const char *end = digits(q + 1, &last);
    if (!end) {
        if (suffix)
            return whole;
        end = q + 1;
        last = UINT64_MAX;
    }
    end += strspn(end, " \t");
    if (*end) /* several ranges, or rubbish */
        return whole;
    if (suffix) {
        if (last == 0)
            return none;
        return (struct dl_range){DL_PART, last >= size ? 0 : size - last, size - 1};
    }
    if (last < first)
        return whole;
    if (first >= size)
        return none;
    return (struct dl_range){DL_PART, first, last >= size ? size - 1 : last};
}

/* ---- dates ---------------------------------------------------------------------------------------------------------- */

bool dl_parse_date(const char *s, int64_t *out)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    for (size_t i = 0; i < WR_ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(s, forms[i], &tm);
        if (end && *end == 0) {
            *out = (int64_t)timegm(&tm);
            return true;
        }
    }
    return false;
}

void dl_format_date(int64_t t, char out[32])
{
    time_t v = (time_t)t;
    struct tm tm;
    if (!gmtime_r(&v, &tm) || strftime(out, 32, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        snprintf(out, 32, "Thu, 01 Jan 1970 00:00:00 GMT");
}

/* ---- conditions ----------------------------------------------------------------------------------------------------- */

/* A list of entity tags, or *. weak: W/"x" equals "x". */
static bool list_has(const char *list, const char *etag, bool weak)
{
    size_t n = strlen(etag);
    const char *p = list + strspn(list, " \t");
    if (*p == '*' && p[1 + strspn(p + 1, " \t")] == 0)
        return true;
    while (*p) {
        p += strspn(p, ", \t");
        bool is_weak = strncmp(p, "W/", 2) == 0;
        if (is_weak)
            p += 2;
        if (*p != '"')
            return false; /* not a list of tags: nothing after it can be read safely */
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        if ((weak || !is_weak) && (size_t)(end - p) + 1 == n && memcmp(p, etag, n) == 0)
            return true;
        p = end + 1;
    }
    return false;
}

int dl_evaluate(const struct dl_conditions *c, const char *etag, int64_t modified)
{
    int64_t t;
    if (c->if_match) {
        if (!list_has(c->if_match, etag, false))
            return 412;
    } else if (c->if_unmodified_since && dl_parse_date(c->if_unmodified_since, &t) &&
               modified > t) {
        return 412;
    }
    if (c->if_none_match)
        return list_has(c->if_none_match, etag, true) ? 304 : 0;
    if (c->if_modified_since && dl_parse_date(c->if_modified_since, &t) && modified <= t)
        return 304;
    return 0;
}

bool dl_if_range(const char *if_range, const char *etag, int64_t modified)
{
    int64_t t;
    if (!if_range)
        return true;
    if (if_range[0] == '"')
        return strcmp(if_range, etag) == 0;
    return dl_parse_date(if_range, &t) && t == modified;
}

/* ---- names and types ------------------------------------------------------------------------------------------------ */

/* What a filestore says of a file was said by others: nothing else may get into a line of the head. */
static bool is_token(const char *s)
{
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-")] == 0;
}

static bool may_show(const char *type)
{
    static const char *const exact[] = {"image/png",  "image/jpeg", "image/gif", "image/webp",
                                        "image/avif", "image/bmp",  "text/plain"};
    for (size_t i = 0; i < WR_ARRAY_LEN(exact); i++)
        if (!strcmp(type, exact[i]))
            return true;
    bool plays = !strncmp(type, "audio/", 6) || !strncmp(type, "video/", 6);
    return plays && type[6] && is_token(type + 6);
}

/* Types that are saved under their own name: no browser runs them, and programs choose by them. */
static bool may_name(const char *type)
{
    static const char *const exact[] = {"application/pdf",
                                        "application/zip",
                                        "application/gzip",
                                        "application/x-tar",
                                        "application/x-7z-compressed",
                                        "image/tiff",
                                        "image/heic"};
    for (size_t i = 0; i < WR_ARRAY_LEN(exact); i++)
        if (!strcmp(type, exact[i]))
            return true;
    return false;
}

static void ascii_name(struct wr_buf *out, const char *name)
{
    const uint8_t *p = (const uint8_t *)name;
    size_t left = strlen(name);
    while (left) {
        unsigned n = wr_utf8_len(p, left);
        n = n ? n : 1;
        bool plain = n == 1 && *p >= 0x20 && *p < 0x7f && !strchr("\"\\%/;", *p);
        wr_buf_char(out, plain ? (char)*p : '_');
        p += n;
        left -= n;
    }
}

static void rfc8187_name(struct wr_buf *out, const char *name)
{
    for (const uint8_t *p = (const uint8_t *)name; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("!#$&+-.^_`|~", *p);
        if (plain)
            wr_buf_char(out, (char)*p);
        else
            wr_buf_fmt(out, "%%%02X", *p);
    }
}

void dl_describe(struct wr_buf *out, const char *filename, const char *filetype, bool save)
{
    bool show = may_show(filetype);
    const char *type = show || may_name(filetype) ? filetype : "application/octet-stream";
    const char *name = filename[0] ? filename : "file";
    wr_buf_fmt(out, "Content-Type: %s%s\r\n", type,
               !strcmp(type, "text/plain") ? "; charset=utf-8" : "");
    wr_buf_fmt(out, "Content-Disposition: %s; filename=\"",
               show && !save ? "inline" : "attachment");
    ascii_name(out, name);
    wr_buf_str(out, "\"; filename*=UTF-8''");
    rfc8187_name(out, name);
    wr_buf_str(out, "\r\n");
    /* What is shown may use itself as picture or sound in the browser's own viewer, and nothing else. */
    wr_buf_str(out, show ? "Content-Security-Policy: sandbox; default-src 'none'; img-src *; "
                           "media-src *; style-src 'unsafe-inline'\r\n"
                         : "Content-Security-Policy: sandbox; default-src 'none'\r\n");
}
