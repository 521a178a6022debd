/* SPDX-License-Identifier: MIT
 *
 * Types of entries (hub_type.h). */
#include "hub_type.h"

#include "wr_buf.h"

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* restricted-name of RFC 6838 section 4.2, in lower case. */
static bool is_name(const uint8_t *p, size_t n)
{
    if (n == 0 || !is_alnum(p[0]))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!is_alnum(p[i]) && (p[i] == 0 || !strchr("!#$&-^_.+", p[i])))
            return false;
    return true;
}

bool hub__check_type(struct wr_slice *type, const char **why)
{
    const uint8_t *slash = type->n ? memchr(type->p, '/', type->n) : NULL;
    size_t n = slash ? (size_t)(slash - type->p) : 0;
    if (type->n == 0)
        return true;
    if (type->n > HUB_MAX_TYPE_BYTES || !slash || !is_name(type->p, n) ||
        !is_name(slash + 1, type->n - n - 1)) {
        *why = "type: a media type like text/plain, in lower case, without parameters, at most 127 "
               "bytes";
        return false;
    }
    if (wr_slice_is(*type, "application/json"))
        *type = (struct wr_slice){0};
    return true;
}

bool hub__is_text(struct wr_slice type)
{
    return type.n > 5 && memcmp(type.p, "text/", 5) == 0;
}

bool hub__check_bytes(struct wr_slice type, struct wr_slice data, const char **why)
{
    *why = data.n == 0                                            ? "data: empty"
           : hub__is_text(type) && !wr_utf8_valid(data.p, data.n) ? "data: not UTF-8"
                                                                  : NULL;
    return !*why;
}
