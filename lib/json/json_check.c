/* SPDX-License-Identifier: MIT
 *
 * The checker, by recursive descent, and the copy without insignificant bytes. */
#include "json_priv.h"

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

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void space(struct scan *s)
{
    const uint8_t *from = s->p;
    while (s->p < s->end && is_space(*s->p))
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

/* Behind the backslash. */
static bool escape(struct scan *s)
{
    if (s->p == s->end)
        return bad(s, "not JSON: it ends inside a string");
    uint8_t c = *s->p++;
    if (c != 'u')
        return strchr("\"\\/bfnrt", c) && c ? true : bad(s, "not JSON: a wrong escape in a string");
    size_t n;
    bool half;
    if (json__unicode(s->p, s->end, &n, &half) < 0)
        return bad(s, "not JSON: a wrong escape in a string");
    if (half)
        s->loose = true;
    s->p += n;
    return true;
}

/* Behind the opening quote. */
static bool string(struct scan *s)
{
    s->p = json__skip_plain(s->p, s->end);
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
            s->p = json__skip_plain(s->p, s->end);
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
    (void)eat(s, '-');
    if (!eat(s, '0') && !digits(s))
        return false;
    if (eat(s, '.') && !digits(s))
        return false;
    if (eat(s, 'e') || eat(s, 'E')) {
        if (!eat(s, '+'))
            (void)eat(s, '-');
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
    if (++s->depth > WR_JSON_MAX_DEPTH)
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

enum wr_json_form wr_json_check(struct wr_slice text, const char **why)
{
    struct scan s = {.p = text.p, .end = text.n ? text.p + text.n : text.p};
    bool ok = text.n ? value(&s) : bad(&s, "empty: a JSON value is expected");
    if (ok && s.p != s.end)
        ok = bad(&s, "not JSON: something follows the value");
    if (why)
        *why = ok ? NULL : s.why;
    return !ok ? WR_JSON_BAD : s.loose ? WR_JSON_LOOSE : WR_JSON_COMPACT;
}

bool wr_json_value(struct wr_slice text, struct wr_slice *out)
{
    if (wr_json_check(text, NULL) == WR_JSON_BAD)
        return false;
    while (is_space(text.p[0])) {
        text.p++;
        text.n--;
    }
    while (is_space(text.p[text.n - 1]))
        text.n--;
    *out = text;
    return true;
}

/* From the backslash on; returns the bytes that were read. */
static size_t copy_escape(const uint8_t *p, const uint8_t *end, uint8_t **out)
{
    size_t n = 0;
    bool half = false;
    if (p[1] == 'u')
        (void)json__unicode(p + 2, end, &n, &half);
    n += 2;
    memcpy(*out, half ? (const uint8_t *)"\\ufffd" : p, n);
    *out += n;
    return n;
}

size_t wr_json_compact(struct wr_slice in, uint8_t *out)
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
        if (inside || !is_space(*p))
            *at++ = *p;
        p++;
    }
    return (size_t)(at - out);
}
