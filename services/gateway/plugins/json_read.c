/* SPDX-License-Identifier: MIT
 *
 * Strict reading of JSON in place (json_read.h). */
#include "json_read.h"

#include <string.h>

static void space(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r' || *j->p == '\n'))
        j->p++;
}

static bool eat(struct json *j, char c)
{
    if (j->p == j->end || *j->p != (uint8_t)c)
        return false;
    j->p++;
    return true;
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

#define EACH_BYTE(c) (0x0101010101010101u * (uint64_t)(c))

static uint64_t zero_bytes(uint64_t w) /* not 0 when a byte of w is 0 */
{
    return (w - EACH_BYTE(1)) & ~w & EACH_BYTE(0x80);
}

/* Past what means nothing in a string, eight bytes at a time: strings are most of what is read here, and read often. */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        uint64_t control = (w - EACH_BYTE(0x20)) & ~w & EACH_BYTE(0x80);
        if (control | zero_bytes(w ^ EACH_BYTE('"')) | zero_bytes(w ^ EACH_BYTE('\\')))
            break;
    }
    return p;
}

static bool skip_string(struct json *j)
{
    if (!eat(j, '"'))
        return false;
    j->p = skip_plain(j->p, j->end);
    while (j->p < j->end) {
        uint8_t c = *j->p++;
        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (j->p == j->end)
            return false;
        c = *j->p++;
        if (c == 'u') {
            for (unsigned i = 0; i < 4; i++)
                if (j->p == j->end || hex(*j->p++) < 0)
                    return false;
        } else if (!strchr("\"\\/bfnrt", c) || !c) {
            return false;
        }
        j->p = skip_plain(j->p, j->end);
    }
    return false;
}

static bool skip_digits(struct json *j)
{
    const uint8_t *from = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
        j->p++;
    return j->p > from;
}

static bool skip_number(struct json *j)
{
    (void)eat(j, '-');
    if (!eat(j, '0') && !skip_digits(j))
        return false;
    if (eat(j, '.') && !skip_digits(j))
        return false;
    if (eat(j, 'e') || eat(j, 'E')) {
        if (!eat(j, '+'))
            (void)eat(j, '-');
        return skip_digits(j);
    }
    return true;
}

static bool skip_word(struct json *j, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
        return false;
    j->p += n;
    return true;
}

static bool skip_value(struct json *j, unsigned depth);

static bool skip_list(struct json *j, unsigned depth, char close, bool keys)
{
    j->p++;
    space(j);
    if (eat(j, close))
        return true;
    do {
        space(j);
        if (keys) {
            if (!skip_string(j))
                return false;
            space(j);
            if (!eat(j, ':'))
                return false;
        }
        if (!skip_value(j, depth + 1))
            return false;
        space(j);
    } while (eat(j, ','));
    return eat(j, close);
}

static bool skip_value(struct json *j, unsigned depth)
{
    space(j);
    if (j->p == j->end || depth > JSON_MAX_DEPTH)
        return false;
    switch (*j->p) {
    case '{':
        return skip_list(j, depth, '}', true);
    case '[':
        return skip_list(j, depth, ']', false);
    case '"':
        return skip_string(j);
    case 't':
        return skip_word(j, "true");
    case 'f':
        return skip_word(j, "false");
    case 'n':
        return skip_word(j, "null");
    default:
        return skip_number(j);
    }
}

bool json_whole(struct wr_slice text, struct wr_slice *value)
{
    if (!text.n)
        return false;
    struct json j = {text.p, text.p + text.n};
    space(&j);
    const uint8_t *from = j.p;
    if (!skip_value(&j, 0))
        return false;
    *value = wr_slice_of(from, (size_t)(j.p - from));
    space(&j);
    return j.p == j.end;
}

bool json_members(struct wr_slice object, struct json *at)
{
    if (!object.n)
        return false;
    *at = (struct json){object.p, object.p + object.n};
    return eat(at, '{');
}

bool json_member(struct json *at, struct wr_slice *key, struct wr_slice *value)
{
    space(at);
    (void)eat(at, ',');
    space(at);
    const uint8_t *from = at->p;
    if (!skip_string(at))
        return false;
    *key = wr_slice_of(from, (size_t)(at->p - from));
    space(at);
    (void)eat(at, ':');
    space(at);
    from = at->p;
    if (!skip_value(at, 0))
        return false;
    *value = wr_slice_of(from, (size_t)(at->p - from));
    return true;
}

bool json_get(struct wr_slice object, const char *name, struct wr_slice *value)
{
    struct json at;
    struct wr_slice k, v;
    bool found = false;
    if (!json_members(object, &at))
        return false;
    while (json_member(&at, &k, &v)) {
        if (json_string_is(k, name)) {
            *value = v;
            found = true;
        }
    }
    return found;
}

static unsigned put_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (uint8_t)(0xc0 | c >> 6);
        to[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (uint8_t)(0xe0 | c >> 12);
        to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | c >> 18);
    to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static uint32_t hex4(const uint8_t *p)
{
    return (uint32_t)(hex(p[0]) << 12 | hex(p[1]) << 8 | hex(p[2]) << 4 | hex(p[3]));
}

/* One character behind a backslash; p is behind "\", returns behind the escape. The string was checked. */
static const uint8_t *unescape(const uint8_t *p, const uint8_t *end, uint8_t out[4], unsigned *n)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *simple;
    uint32_t c = *p++;
    if (c != 'u') {
        simple = strchr(from, (int)c);
        out[0] = simple && c ? (uint8_t)to[simple - from] : (uint8_t)c;
        *n = 1;
        return p;
    }
    c = hex4(p);
    p += 4;
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        uint32_t low = hex4(p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        }
    }
    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd;
    *n = put_utf8(out, c);
    return p;
}

bool json_is_string(struct wr_slice v)
{
    return v.n >= 2 && v.p[0] == '"';
}

bool json_is_object(struct wr_slice v)
{
    return v.n >= 2 && v.p[0] == '{';
}

bool json_string(struct wr_slice v, struct wr_buf *out)
{
    if (!json_is_string(v))
        return false;
    const uint8_t *p = v.p + 1, *end = v.p + v.n - 1;
    while (p < end) {
        const uint8_t *bs = memchr(p, '\\', (size_t)(end - p));
        wr_buf_add(out, p, (size_t)((bs ? bs : end) - p));
        if (!bs)
            break;
        uint8_t c[4];
        unsigned n;
        p = unescape(bs + 1, end, c, &n);
        wr_buf_add(out, c, n);
    }
    return true;
}

bool json_string_is(struct wr_slice v, const char *text)
{
    size_t n = strlen(text);
    if (!json_is_string(v))
        return false;
    if (!memchr(v.p, '\\', v.n))
        return v.n == n + 2 && memcmp(v.p + 1, text, n) == 0;
    struct wr_buf b = {0};
    bool same = json_string(v, &b) && !b.failed && b.n == n && memcmp(b.p, text, n) == 0;
    wr_buf_free(&b);
    return same;
}

bool json_u64(struct wr_slice v, uint64_t *out)
{
    uint64_t n = 0;
    if (!v.n || v.n > 19)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        n = n * 10 + (v.p[i] - '0');
    }
    *out = n;
    return true;
}

bool json_i64(struct wr_slice v, int64_t *out)
{
    bool minus = v.n && v.p[0] == '-';
    uint64_t n;
    if (!json_u64(wr_slice_of(v.p + minus, v.n - minus), &n) || n > INT64_MAX)
        return false;
    *out = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

bool json_bool(struct wr_slice v, bool *out)
{
    if (!wr_slice_is(v, "true") && !wr_slice_is(v, "false"))
        return false;
    *out = v.p[0] == 't';
    return true;
}
