/* SPDX-License-Identifier: MIT
 *
 * Request heads: find the end, then the request line, then the fields, then what they mean together. */
#include "head.h"
#include <string.h>
#include <strings.h>

#define FAIL(status, text) return (*why = (text), -(status))

static bool is_token_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct wr_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char(s.p[i]))
            return false;
    return s.n != 0;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct wr_slice trim(struct wr_slice s)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a part of a line, never NULL */
    while (s.n && is_blank(s.p[0]))
        s = wr_slice_of(s.p + 1, s.n - 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool is_word(struct wr_slice s, const char *word)
{
    return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* The next element of a comma-separated list, trimmed; false when there is none. Empty elements are skipped. */
static bool next_element(struct wr_slice *list, struct wr_slice *out)
{
    while (list->n) {
        const uint8_t *comma = memchr(list->p, ',', list->n);
        size_t n = comma ? (size_t)(comma - list->p) : list->n;
        *out = trim(wr_slice_of(list->p, n));
        n += comma != NULL;
        *list = wr_slice_of(list->p + n, list->n - n);
        if (out->n)
            return true;
    }
    return false;
}

/* ---- the end of the head ---- */

/* Length with the empty line, 0: not there yet, negative: a line that ends in a bare LF. */
static ptrdiff_t find_end(const uint8_t *p, size_t n, size_t *scanned)
{
    size_t at = *scanned;
    while (at < n) {
        const uint8_t *lf = memchr(p + at, '\n', n - at);
        if (!lf)
            break;
        at = (size_t)(lf - p);
        if (at == 0 || p[at - 1] != '\r')
            return -400;
        if (at == 1 || p[at - 2] == '\n')
            return (ptrdiff_t)at + 1;
        at++;
    }
    *scanned = n;
    return 0;
}

/* ---- the request line ---- */

/* What may stand in a target: visible ASCII but what RFC 3986 never lets stand alone, and no fragment. */
static bool is_target(struct wr_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || strchr("\"#<>^`{|}", s.p[i]))
            return false;
    return s.n != 0;
}

/* RFC 3986, 3.2.2: reg-name. */
static bool is_host_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~%!$&'()*+,;=", c));
}

/* uri-host [ ":" port ] (RFC 9110, 7.2), without user information. */
static bool is_authority(struct wr_slice s)
{
    size_t i = 0;
    if (s.n && s.p[0] == '[') {
        for (i = 1; i < s.n && s.p[i] != ']'; i++)
            if (!s.p[i] || !strchr("0123456789abcdefABCDEF:.", s.p[i]))
                return false;
        if (i++ >= s.n)
            return false;
    } else {
        for (; i < s.n && s.p[i] != ':'; i++)
            if (!is_host_char(s.p[i]))
                return false;
    }
    if (i == s.n)
        return true;
    if (s.p[i++] != ':' || s.n - i > 5)
        return false;
    for (; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

static ptrdiff_t parse_target(struct wr_slice t, struct http__head *h, const char **why)
{
    if (wr_slice_is(t, "*")) {
        h->form = HTTP__ASTERISK_FORM;
        h->target = t;
        if (!wr_slice_is(h->method, "OPTIONS"))
            FAIL(400, "the target * is for OPTIONS alone");
        return 0;
    }
    if (!is_target(t))
        FAIL(400, "the request's target holds a character that must be %-encoded");
    if (t.p[0] == '/') {
        h->form = HTTP__ORIGIN_FORM;
        h->target = t;
        return 0;
    }
    size_t scheme = t.n > 7 && strncasecmp((const char *)t.p, "http://", 7) == 0    ? 7
                    : t.n > 8 && strncasecmp((const char *)t.p, "https://", 8) == 0 ? 8
                                                                                    : 0;
    if (!scheme)
        FAIL(400, "the request's target must begin with '/' or be a whole http:// address");
    struct wr_slice rest = wr_slice_of(t.p + scheme, t.n - scheme);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    h->form = HTTP__ABSOLUTE_FORM;
    h->host = wr_slice_of(rest.p, n);
    h->target = wr_slice_of(rest.p + n, rest.n - n);
    if (!n || !is_authority(h->host))
        FAIL(400, "the request's target has no valid host");
    if (h->target.n && h->target.p[0] == '?')
        FAIL(400, "the request's target has no path before its query");
    return 0;
}

static ptrdiff_t parse_request_line(struct wr_slice line, struct http__head *h, const char **why)
{
    const uint8_t *sp = memchr(line.p, ' ', line.n);
    if (!sp)
        FAIL(400, "the request line must be METHOD TARGET HTTP/1.1");
    h->method = wr_slice_of(line.p, (size_t)(sp - line.p));
    struct wr_slice rest = wr_slice_of(sp + 1, line.n - h->method.n - 1);
    const uint8_t *sp2 = memchr(rest.p, ' ', rest.n);
    if (!is_token(h->method) || !sp2)
        FAIL(400, "the request line must be METHOD TARGET HTTP/1.1");
    struct wr_slice target = wr_slice_of(rest.p, (size_t)(sp2 - rest.p));
    struct wr_slice version = wr_slice_of(sp2 + 1, rest.n - target.n - 1);
    if (version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0 || version.p[6] != '.' ||
        version.p[5] < '0' || version.p[5] > '9' || version.p[7] < '0' || version.p[7] > '9')
        FAIL(400, "the request line must end in HTTP/1.1");
    if (version.p[5] != '1')
        FAIL(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    h->is_11 = version.p[7] != '0';
    if (h->method.n > 20 || wr_slice_is(h->method, "CONNECT"))
        FAIL(501, "this method is not known here");
    return parse_target(target, h, why);
}

/* ---- fields ---- */

static ptrdiff_t parse_field(struct wr_slice line, struct http__head *h, const char **why)
{
    if (is_blank(line.p[0]))
        FAIL(400, "a header line must not be folded");
    const uint8_t *colon = memchr(line.p, ':', line.n);
    struct wr_slice name = wr_slice_of(line.p, colon ? (size_t)(colon - line.p) : 0);
    if (!is_token(name))
        FAIL(400, "a header line must be NAME: VALUE, without a blank before the colon");
    struct wr_slice value = trim(wr_slice_of(colon + 1, line.n - name.n - 1));
    for (size_t i = 0; i < value.n; i++)
        if ((value.p[i] < 0x20 && value.p[i] != '\t') || value.p[i] == 0x7f)
            FAIL(400, "a header's value holds a control character");
    if (h->num_fields == HTTP__FIELDS)
        FAIL(431, "too many header lines: at most 63 are taken");
    h->fields[h->num_fields++] = (struct http__field){name, value};
    return 0;
}

static ptrdiff_t take_host(struct wr_slice v, unsigned *count, struct http__head *h,
                           const char **why)
{
    if ((*count)++)
        FAIL(400, "Host must come once");
    if (!is_authority(v))
        FAIL(400, "Host must be a name or an address, and a port where it is not the usual one");
    if (h->form != HTTP__ABSOLUTE_FORM)
        h->host = v;
    return 0;
}

/* Equal values may be repeated, by a list or by several lines (RFC 9110, 8.6). */
static ptrdiff_t take_length(struct wr_slice v, struct http__head *h, const char **why)
{
    struct wr_slice one, list = v;
    unsigned n = 0;
    for (; next_element(&list, &one); n++) {
        int64_t length = 0;
        for (size_t i = 0; i < one.n; i++) {
            if (one.p[i] < '0' || one.p[i] > '9' || i >= 18)
                FAIL(400, "Content-Length must be a number");
            length = length * 10 + (one.p[i] - '0');
        }
        if (h->content_length >= 0 && h->content_length != length)
            FAIL(400, "Content-Length comes twice, with different numbers");
        h->content_length = length;
    }
    if (!n)
        FAIL(400, "Content-Length must be a number");
    return 0;
}

static ptrdiff_t take_coding(struct wr_slice v, struct http__head *h, const char **why)
{
    if (!h->is_11)
        FAIL(400, "HTTP/1.0 has no Transfer-Encoding");
    if (h->is_chunked)
        FAIL(400, "Transfer-Encoding must come once");
    if (is_word(v, "chunked")) {
        h->is_chunked = true;
        return 0;
    }
    size_t n = v.n;
    bool last = n > 7 && is_word(trim(wr_slice_of(v.p + n - 7, 7)), "chunked") &&
                memchr(v.p, ',', n) && (v.p[n - 8] == ',' || is_blank(v.p[n - 8]));
    struct wr_slice one, list = v;
    bool twice = next_element(&list, &one) && is_word(one, "chunked");
    if (last && !twice)
        FAIL(501, "Transfer-Encoding: only chunked is known here");
    FAIL(400, "Transfer-Encoding must be chunked");
}

static void take_connection(struct wr_slice v, struct http__head *h, bool *close, bool *keep)
{
    struct wr_slice one;
    while (next_element(&v, &one)) {
        *close = *close || is_word(one, "close");
        *keep = *keep || is_word(one, "keep-alive");
        h->wants_upgrade = h->wants_upgrade || is_word(one, "upgrade");
    }
}

static ptrdiff_t take_expect(struct wr_slice v, struct http__head *h, const char **why)
{
    if (!is_word(v, "100-continue"))
        FAIL(417, "Expect: only 100-continue is known here");
    h->expects_continue = h->is_11; /* RFC 9110, 10.1.1: of HTTP/1.0 it is ignored */
    return 0;
}

static ptrdiff_t weigh_fields(struct http__head *h, const char **why)
{
    unsigned hosts = 0;
    bool close = false, keep = false;
    for (uint32_t i = 0; i < h->num_fields; i++) {
        struct wr_slice name = h->fields[i].name, v = h->fields[i].value;
        ptrdiff_t e = is_word(name, "Host")                ? take_host(v, &hosts, h, why)
                      : is_word(name, "Content-Length")    ? take_length(v, h, why)
                      : is_word(name, "Transfer-Encoding") ? take_coding(v, h, why)
                      : is_word(name, "Expect")            ? take_expect(v, h, why)
                                                           : 0;
        if (e)
            return e;
        if (is_word(name, "Connection"))
            take_connection(v, h, &close, &keep);
    }
    if (hosts == 0 && h->is_11)
        FAIL(400, "Host is missing");
    if (h->is_chunked && h->content_length >= 0)
        FAIL(400, "Content-Length and Transfer-Encoding must not come together");
    h->keep_alive = !close && (h->is_11 || keep);
    return 0;
}

ptrdiff_t http__head_parse(const uint8_t *p, size_t n, size_t *scanned, struct http__head *h,
                           const char **why)
{
    ptrdiff_t end = find_end(p, n, scanned);
    if (end < 0)
        FAIL(400, "a line of the head ends without CR LF");
    if (end == 0 || end > (ptrdiff_t)HTTP__HEAD_BYTES) {
        if (end || n >= HTTP__HEAD_BYTES)
            FAIL(431, "the head is too long: at most 64 KiB are taken");
        return 0;
    }
    h->num_fields = 0;
    h->host = (struct wr_slice){0};
    h->wants_upgrade = h->expects_continue = h->is_chunked = false;
    h->content_length = -1;
    bool first = true;
    for (size_t at = 0; at < (size_t)end - 2;) {
        const uint8_t *lf = memchr(p + at, '\n', (size_t)end - at);
        struct wr_slice line = wr_slice_of(p + at, (size_t)(lf - p) - at - 1);
        if (memchr(line.p, '\r', line.n))
            FAIL(400, "a bare CR stands in the head");
        ptrdiff_t e = first ? parse_request_line(line, h, why) : parse_field(line, h, why);
        if (e)
            return e;
        first = false;
        at += line.n + 2;
    }
    if (first)
        FAIL(400, "the request line must be METHOD TARGET HTTP/1.1");
    ptrdiff_t e = weigh_fields(h, why);
    return e ? e : end;
}

const struct http__field *http__head_field(const struct http__head *h, const char *name)
{
    for (uint32_t i = 0; i < h->num_fields; i++)
        if (is_word(h->fields[i].name, name))
            return &h->fields[i];
    return NULL;
}
