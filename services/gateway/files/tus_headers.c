/* SPDX-License-Identifier: MIT
 *
 * Parsing of tus 1.0 header values. */
#include "tus_headers.h"

#include <stdlib.h>
#include <strings.h>

#include "wr_base64.h"
#include "wr_id.h"

#define ENDING_MAX 12u /* bytes of a file name's ending, with the dot */

wr_err tus_parse_number(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    bool big = false;
    if (!*s)
        return WR_ERR_INVALID;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return WR_ERR_INVALID;
        unsigned d = (unsigned)(*s - '0');
        big = big || v > ((uint64_t)INT64_MAX - d) / 10;
        v = big ? 0 : v * 10 + d;
    }
    *out = v;
    return big ? WR_ERR_TOO_BIG : WR_OK;
}

/* ---- base64 --------------------------------------------------------------------------------------------------------- */

bool tus_base64(struct wr_slice in, uint8_t *out, size_t cap, size_t *n)
{
    unsigned pad = 0;
    uint32_t rest;
    *n = 0;
    while (pad < 2 && in.n && in.p[in.n - 1] == '=') {
        in.n--;
        pad++;
    }
    if (in.n % 4 == 1 || (pad && (in.n + pad) % 4 != 0))
        return false;
    /* One spelling for one value: nothing behind the last byte. */
    return wr_base64_decode(in, out, cap, n, &rest) == in.n && rest == 0;
}

/* ---- text ----------------------------------------------------------------------------------------------------------- */

static bool is_misleading(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           c == 0x2028 || c == 0x2029 || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static uint32_t code_point(const uint8_t *p, unsigned n)
{
    static const uint8_t first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = p[0] & first[n];
    for (unsigned i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

void tus_clean(struct wr_slice text, char *out, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < text.n;) {
        unsigned n = wr_utf8_len(text.p + i, text.n - i);
        if (n == 0) {
            i++;
            continue;
        }
        if (!is_misleading(code_point(text.p + i, n))) {
            if (at + n >= cap)
                break;
            memcpy(out + at, text.p + i, n);
            at += n;
        }
        i += n;
    }
    out[at] = 0;
}

/* The ending of a file's name with its dot, "" when it has none that a program would look at: short, letters and digits. */
static const char *ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t n =
        dot ? strspn(dot + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") : 0;
    return dot && dot > name && n && n < ENDING_MAX && dot[1 + n] == 0 ? dot : "";
}

void tus_clean_name(struct wr_slice text, char *out, size_t cap)
{
    char all[TUS_METADATA_MAX + 1] = {0};
    tus_clean(text, all, sizeof all);
    const char *ending = strlen(all) < cap ? "" : ending_of(all);
    size_t n = strlen(ending), stem = strlen(all) - n;
    tus_clean(wr_slice_of(all, stem), out, cap - n);
    memcpy(out + strlen(out), ending, n + 1);
}

static bool is_token_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$&^_.+-", c));
}

bool tus_media_type(struct wr_slice text, char *out, size_t cap)
{
    size_t n = 0, slash = 0;
    while (n < text.n && text.p[n] != ';' && text.p[n] != ' ') {
        uint8_t c = text.p[n];
        if (c == '/' && !slash && n > 0)
            slash = n;
        else if (!is_token_char(c))
            return false;
        if (n + 1 >= cap)
            return false;
        out[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[n] = 0;
    return slash && n > slash + 1;
}

bool tus_is_offset_type(const char *content_type)
{
    char type[64];
    return content_type && tus_media_type(wr_slice_str(content_type), type, sizeof type) &&
           !strcmp(type, "application/offset+octet-stream");
}

/* ---- metadata ------------------------------------------------------------------------------------------------------- */

static struct wr_slice last_part(struct wr_slice path)
{
    for (size_t i = path.n; i > 0; i--)
        if (path.p[i - 1] == '/' || path.p[i - 1] == '\\')
            return wr_slice_of(path.p + i, path.n - i);
    return path;
}

static wr_err take(struct tus_metadata *m, struct wr_slice key, struct wr_slice value,
                   struct wr_errmsg *err)
{
    bool is_filename = wr_slice_is(key, "filename"), is_room = wr_slice_is(key, "room"),
         is_name = wr_slice_is(key, "name");
    if ((is_filename || is_room || is_name) && !wr_utf8_valid(value.p, value.n)) {
        wr_errmsg_set(err, "Upload-Metadata: %.*s is not UTF-8", (int)key.n, (const char *)key.p);
        return WR_ERR_INVALID;
    }
    if (is_filename) {
        tus_clean_name(last_part(value), m->filename, sizeof m->filename);
    } else if (is_name) {
        tus_clean_name(value, m->name, sizeof m->name); /* it may be the file's once more */
    } else if (is_room) {
        if (value.n && !wr_name_valid(value)) {
            wr_errmsg_set(err, "Upload-Metadata: room must be 1 to 255 bytes without control "
                               "characters, '/' or a leading '.'");
            return WR_ERR_INVALID;
        }
        memcpy(m->room, value.p, value.n);
        m->room[value.n] = 0;
    } else if (wr_slice_is(key, "filetype")) {
        if (!tus_media_type(value, m->filetype, sizeof m->filetype))
            m->filetype[0] = 0;
    }
    return WR_OK;
}

static wr_err bad(struct wr_errmsg *err, const char *what)
{
    wr_errmsg_set(
        err, "Upload-Metadata: %s; it is a list of \"key base64value\" with commas between", what);
    return WR_ERR_INVALID;
}

static wr_err parse_pair(struct wr_slice pair, struct wr_slice *key, struct wr_slice *value,
                         struct wr_errmsg *err)
{
    while (pair.n && pair.p[0] == ' ')
        pair = wr_slice_of(pair.p + 1, pair.n - 1);
    while (pair.n && pair.p[pair.n - 1] == ' ')
        pair.n--;
    size_t n = 0;
    for (; n < pair.n && pair.p[n] != ' '; n++)
        if (pair.p[n] <= 0x20 || pair.p[n] >= 0x7f)
            return bad(err, "a key may hold printable ASCII only");
    if (n == 0)
        return bad(err, "a key is empty");
    *key = wr_slice_of(pair.p, n);
    *value = n < pair.n ? wr_slice_of(pair.p + n + 1, pair.n - n - 1) : (struct wr_slice){0};
    return WR_OK;
}

wr_err tus_parse_metadata(const char *header, struct tus_metadata *out, struct wr_errmsg *err)
{
    memset(out, 0, sizeof *out);
    struct wr_slice rest = wr_slice_str(header), keys[TUS_PAIRS_MAX];
    size_t num = 0;
    wr_err e = WR_OK;
    if (rest.n == 0)
        return WR_OK;
    if (rest.n > TUS_METADATA_MAX) {
        wr_errmsg_set(err, "Upload-Metadata: at most %u bytes", TUS_METADATA_MAX);
        return WR_ERR_TOO_BIG;
    }
    uint8_t *buf = malloc(TUS_METADATA_MAX);
    if (!buf)
        return WR_ERR_BUSY;
    for (bool more = true; more && e == WR_OK;) {
        const uint8_t *comma = rest.n ? memchr(rest.p, ',', rest.n) : NULL;
        struct wr_slice pair = comma ? wr_slice_of(rest.p, (size_t)(comma - rest.p)) : rest, key,
                        value;
        more = comma != NULL;
        rest = comma ? wr_slice_of(comma + 1, rest.n - pair.n - 1) : (struct wr_slice){0};
        if ((e = parse_pair(pair, &key, &value, err)) != WR_OK)
            break;
        if (num == TUS_PAIRS_MAX) {
            e = bad(err, "too many keys");
            break;
        }
        for (size_t i = 0; i < num && e == WR_OK; i++)
            if (wr_slice_eq(keys[i], key))
                e = bad(err, "a key comes twice");
        keys[num++] = key;
        size_t n;
        if (e == WR_OK && !tus_base64(value, buf, TUS_METADATA_MAX, &n))
            e = bad(err, "a value is not base64");
        if (e == WR_OK)
            e = take(out, key, wr_slice_of(buf, n), err);
    }
    free(buf);
    /* Uppy sends the file's name once more as `name`: that is not a person. */
    if (e == WR_OK && !strcmp(out->name, out->filename))
        out->name[0] = 0;
    return e;
}
