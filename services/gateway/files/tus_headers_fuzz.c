/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: tus_parse_metadata, tus_parse_number, tus_media_type, tus_is_offset_type, tus_clean, dl_parse_range,
 * dl_evaluate, dl_if_range, dl_parse_date, dl_describe. The input is lines: Upload-Metadata, a number, a media type, a
 * range, a list of entity tags, a date, a file's name and its type as a filestore may tell them. What comes out must be
 * safe to put into an answer's head. */
#include <stdlib.h>

#include "download_rules.h"
#include "tus_headers.h"

static const char *line(char **at)
{
    char *start = *at, *nl = strchr(start, '\n');
    if (nl) {
        *nl = 0;
        *at = nl + 1;
    } else {
        *at = start + strlen(start);
    }
    return start;
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

static bool is_clean(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static void check_description(const char *filename, const char *filetype)
{
    struct wr_buf b = {0};
    dl_describe(&b, filename, filetype, false);
    size_t ends = 0;
    for (size_t i = 0; i < b.n; i++) {
        ends += b.p[i] == '\n';
        check(b.p[i] < 0x7f && (b.p[i] >= 0x20 || b.p[i] == '\r' || b.p[i] == '\n'));
    }
    check(ends == 3);
    wr_buf_free(&b);
}

static void check_metadata(const char *text)
{
    struct tus_metadata m;
    struct wr_errmsg err;
    if (tus_parse_metadata(text, &m, &err) != WR_OK)
        return;
    check(is_clean(m.filename) && is_clean(m.name) && is_clean(m.filetype) && is_clean(m.room));
    check(wr_utf8_valid(m.filename, strlen(m.filename)) && wr_utf8_valid(m.name, strlen(m.name)));
    check(!strchr(m.filename, '/') && !strchr(m.filename, '\\') && !strchr(m.room, '/'));
    check_description(m.filename, m.filetype);
}

static void check_range(const char *text)
{
    static const uint64_t sizes[] = {0, 1, 10, UINT64_MAX / 2};
    for (size_t i = 0; i < WR_ARRAY_LEN(sizes); i++) {
        struct dl_range r = dl_parse_range(text, sizes[i]);
        check(r.part == DL_WHOLE || r.part == DL_UNSATISFIABLE ||
              (r.first <= r.last && r.last < sizes[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1), *at = copy, type[128];
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    copy[size] = 0;
    uint64_t number;
    int64_t date;
    check_metadata(line(&at));
    const char *text = line(&at);
    check(tus_parse_number(text, &number) != WR_OK || number <= INT64_MAX);
    text = line(&at);
    check(!tus_media_type(wr_slice_str(text), type, sizeof type) || is_clean(type));
    (void)tus_is_offset_type(text);
    check_range(line(&at));
    text = line(&at);
    struct dl_conditions c = {.if_match = text}, d = {.if_none_match = text};
    (void)dl_evaluate(&c, "\"abc\"", 0);
    (void)dl_evaluate(&d, "\"abc\"", 0);
    (void)dl_if_range(text, "\"abc\"", 0);
    (void)dl_parse_date(line(&at), &date);
    text = line(&at);
    check_description(text, at); /* the rest, ends of lines and all */
    free(copy);
    return 0;
}
