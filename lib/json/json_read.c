/* SPDX-License-Identifier: MIT
 *
 * Walking through a value that was checked: nothing is checked again but the end of the slice. */
#include "json_priv.h"

static void space(struct wr_json_at *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r' || *j->p == '\n'))
        j->p++;
}

static bool eat(struct wr_json_at *j, char c)
{
    if (j->p == j->end || *j->p != (uint8_t)c)
        return false;
    j->p++;
    return true;
}

static bool skip_string(struct wr_json_at *j)
{
    if (!eat(j, '"'))
        return false;
    while (j->p < j->end) {
        j->p = json__skip_plain(j->p, j->end);
        if (j->p == j->end)
            return false;
        uint8_t c = *j->p++;
        if (c == '"')
            return true;
        if (c == '\\' && j->p < j->end)
            j->p++;
    }
    return false;
}

/* Up to where the value ends: brackets are counted, not looked at, and their strings passed over. */
static bool skip_brackets(struct wr_json_at *j)
{
    size_t depth = 0;
    do {
        if (j->p == j->end)
            return false;
        uint8_t c = *j->p;
        if (c == '"') {
            if (!skip_string(j))
                return false;
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        j->p++;
    } while (depth);
    return true;
}

static bool skip_value(struct wr_json_at *j)
{
    space(j);
    if (j->p == j->end)
        return false;
    if (*j->p == '"')
        return skip_string(j);
    if (*j->p == '{' || *j->p == '[')
        return skip_brackets(j);
    const uint8_t *from = j->p; /* a number or a word */
    while (j->p < j->end && ((*j->p >= '0' && *j->p <= '9') || (*j->p >= 'a' && *j->p <= 'z') ||
                             *j->p == '-' || *j->p == '+' || *j->p == '.' || *j->p == 'E'))
        j->p++;
    return j->p > from;
}

bool wr_json_is_string(struct wr_slice v)
{
    return v.n >= 2 && v.p[0] == '"';
}

bool wr_json_is_object(struct wr_slice v)
{
    return v.n >= 2 && v.p[0] == '{';
}

bool wr_json_members(struct wr_slice object, struct wr_json_at *at)
{
    if (!wr_json_is_object(object))
        return false;
    *at = (struct wr_json_at){object.p + 1, object.p + object.n};
    return true;
}

bool wr_json_member(struct wr_json_at *at, struct wr_slice *key, struct wr_slice *value)
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
    if (!skip_value(at))
        return false;
    *value = wr_slice_of(from, (size_t)(at->p - from));
    return true;
}

bool wr_json_get(struct wr_slice object, const char *name, struct wr_slice *value)
{
    struct wr_json_at at;
    struct wr_slice k, v;
    bool found = false;
    if (!wr_json_members(object, &at))
        return false;
    while (wr_json_member(&at, &k, &v)) {
        if (wr_json_text_is(k, name)) {
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

/* One character; p is behind the backslash, returns behind the escape. */
static const uint8_t *unescape(const uint8_t *p, const uint8_t *end, uint8_t out[4], unsigned *n)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint8_t c = *p++;
    if (c == 'u') {
        size_t used;
        bool half;
        int32_t code = json__unicode(p, end, &used, &half);
        *n = put_utf8(out, code < 0 ? 0xfffd : (uint32_t)code);
        return code < 0 ? p : p + used;
    }
    const char *simple = strchr(from, c);
    out[0] = simple && c ? (uint8_t)to[simple - from] : c;
    *n = 1;
    return p;
}

bool wr_json_text(struct wr_slice v, struct wr_buf *out)
{
    if (!wr_json_is_string(v))
        return false;
    const uint8_t *p = v.p + 1, *end = v.p + v.n - 1;
    while (p < end) {
        const uint8_t *bs = memchr(p, '\\', (size_t)(end - p));
        wr_buf_add(out, p, (size_t)((bs ? bs : end) - p));
        if (!bs || bs + 1 == end)
            break;
        uint8_t c[4];
        unsigned n;
        p = unescape(bs + 1, end, c, &n);
        wr_buf_add(out, c, n);
    }
    return true;
}

bool wr_json_text_is(struct wr_slice v, const char *text)
{
    size_t n = strlen(text);
    if (!wr_json_is_string(v))
        return false;
    if (!memchr(v.p, '\\', v.n))
        return v.n == n + 2 && memcmp(v.p + 1, text, n) == 0;
    const uint8_t *p = v.p + 1, *end = v.p + v.n - 1, *t = (const uint8_t *)text;
    while (p < end && n) {
        uint8_t c[4] = {*p};
        unsigned k = 1;
        if (*p != '\\')
            p++;
        else if (p + 1 == end)
            return false;
        else
            p = unescape(p + 1, end, c, &k);
        if (k > n || memcmp(c, t, k) != 0)
            return false;
        t += k;
        n -= k;
    }
    return p == end && n == 0;
}

bool wr_json_u64(struct wr_slice v, uint64_t *out)
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

bool wr_json_i64(struct wr_slice v, int64_t *out)
{
    bool minus = v.n && v.p[0] == '-';
    uint64_t n;
    if (!v.n || !wr_json_u64(wr_slice_of(v.p + minus, v.n - minus), &n) || n > INT64_MAX)
        return false;
    *out = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

bool wr_json_bool(struct wr_slice v, bool *out)
{
    if (!wr_slice_is(v, "true") && !wr_slice_is(v, "false"))
        return false;
    *out = v.p[0] == 't';
    return true;
}
