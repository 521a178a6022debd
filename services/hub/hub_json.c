/* SPDX-License-Identifier: MIT
 *
 * A JSON checker by recursive descent (RFC 8259), and the copy without insignificant bytes. */
#include "hub_json.h"

#include "wr_buf.h"

struct scan {
    const uint8_t *p, *end;
    unsigned depth;
    bool loose;
    const char *why;
};

static bool value(struct scan *s);

static bool bad(struct scan *s, const char *why)
{
    if (!s->why)
        s->why = why;
    return false;
}

static void space(struct scan *s)
{
    const uint8_t *from = s->p;
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
    if (s->p != from)
        s->loose = true;
}

static bool eat(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != (uint8_t)c)
        return false;
    s->p++;
    return true;
}

static bool literal(struct scan *s, const char *word, size_t n)
{
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return bad(s, "not JSON: a value is expected");
    s->p += n;
    return true;
}

static int hex4(const uint8_t *p, const uint8_t *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* p stands behind "\u": bytes of a whole surrogate pair (10), of any other character (4), 0 for half a pair. */
static size_t unicode_escape(const uint8_t *p, const uint8_t *end, int code)
{
    if (code < 0xd800 || code > 0xdfff)
        return 4;
    if (code > 0xdbff || end - p < 10 || p[4] != '\\' || p[5] != 'u')
        return 0;
    int low = hex4(p + 6, end);
    return low >= 0xdc00 && low <= 0xdfff ? 10 : 0;
}

static bool escape(struct scan *s)
{
    if (s->p == s->end)
        return bad(s, "not JSON: it ends inside a string");
    uint8_t c = *s->p++;
    if (c != 'u')
        return strchr("\"\\/bfnrt", c) && c ? true : bad(s, "not JSON: a wrong escape in a string");
    int code = hex4(s->p, s->end);
    if (code < 0)
        return bad(s, "not JSON: a wrong escape in a string");
    size_t n = unicode_escape(s->p, s->end, code);
    if (n == 0)
        s->loose = true;
    s->p += n ? n : 4;
    return true;
}

/* Behind the opening quote. */
static bool string(struct scan *s)
{
    while (s->p < s->end) {
        uint8_t c = *s->p;
        if (c == '"') {
            s->p++;
            return true;
        }
        if (c == '\\') {
            s->p++;
            if (!escape(s))
                return false;
        } else if (c < 0x20) {
            return bad(s, "not JSON: a control character in a string");
        } else if (c < 0x80) {
            s->p++;
        } else {
            unsigned n = wr_utf8_len(s->p, (size_t)(s->end - s->p));
            if (n == 0)
                return bad(s, "not UTF-8");
            s->p += n;
        }
    }
    return bad(s, "not JSON: it ends inside a string");
}

static bool digits(struct scan *s)
{
    const uint8_t *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p != from || bad(s, "not JSON: a wrong number");
}

static bool number(struct scan *s)
{
    eat(s, '-');
    if (!eat(s, '0') && !digits(s))
        return false;
    if (eat(s, '.') && !digits(s))
        return false;
    if (eat(s, 'e') || eat(s, 'E')) {
        if (!eat(s, '+'))
            eat(s, '-');
        return digits(s);
    }
    return true;
}

static bool member(struct scan *s)
{
    space(s);
    if (!eat(s, '"'))
        return bad(s, "not JSON: a key is expected");
    if (!string(s))
        return false;
    space(s);
    if (!eat(s, ':'))
        return bad(s, "not JSON: a colon is expected");
    return value(s);
}

/* Behind the opening bracket. */
static bool members(struct scan *s, char close, bool (*one)(struct scan *s))
{
    if (++s->depth > HUB_JSON_MAX_DEPTH)
        return bad(s, "JSON that is nested more than 64 deep");
    space(s);
    if (!eat(s, close)) {
        do {
            if (!one(s))
                return false;
        } while (eat(s, ','));
        if (!eat(s, close))
            return bad(s, "not JSON: a comma or a closing bracket is expected");
    }
    s->depth--;
    return true;
}

/* A value with the space around it. */
static bool value(struct scan *s)
{
    bool ok;
    space(s);
    switch (s->p < s->end ? *s->p : 0) {
    case '{':
        s->p++;
        ok = members(s, '}', member);
        break;
    case '[':
        s->p++;
        ok = members(s, ']', value);
        break;
    case '"':
        s->p++;
        ok = string(s);
        break;
    case 't':
        ok = literal(s, "true", 4);
        break;
    case 'f':
        ok = literal(s, "false", 5);
        break;
    case 'n':
        ok = literal(s, "null", 4);
        break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        ok = number(s);
        break;
    default:
        ok = bad(s, "not JSON: a value is expected");
    }
    if (ok)
        space(s);
    return ok;
}

enum hub_json hub__json_check(struct wr_slice in, const char **why)
{
    struct scan s = {.p = in.p, .end = in.n ? in.p + in.n : in.p};
    bool ok = in.n ? value(&s) : bad(&s, "empty: a JSON value is expected");
    if (ok && s.p != s.end)
        ok = bad(&s, "not JSON: something follows the value");
    if (why)
        *why = ok ? NULL : s.why;
    return !ok ? HUB_JSON_BAD : s.loose ? HUB_JSON_LOOSE : HUB_JSON_COMPACT;
}

/* From the backslash on; returns the bytes that were read. */
static size_t copy_escape(const uint8_t *p, const uint8_t *end, uint8_t **out)
{
    size_t n = 2;
    if (p[1] == 'u') {
        size_t whole = unicode_escape(p + 2, end, hex4(p + 2, end));
        if (whole == 0) {
            memcpy(*out, "\\ufffd", 6);
            *out += 6;
            return 6;
        }
        n += whole;
    }
    memcpy(*out, p, n);
    *out += n;
    return n;
}

size_t hub__json_compact(struct wr_slice in, uint8_t *out)
{
    const uint8_t *p = in.p, *end = in.p + in.n;
    uint8_t *at = out;
    bool inside = false;
    while (p < end) {
        if (inside && *p == '\\') {
            p += copy_escape(p, end, &at);
            continue;
        }
        if (*p == '"')
            inside = !inside;
        if (inside || !(*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
            *at++ = *p;
        p++;
    }
    return (size_t)(at - out);
}
