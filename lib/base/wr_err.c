/* SPDX-License-Identifier: MIT
 *
 * Tables behind wr_err: texts, HTTP statuses, and what errno and wire values mean. */
#include "wr_err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *wr_err_text(wr_err e)
{
    switch (e) {
#define X(sym, val, http, text) \
    case sym:                   \
        return text;
        WR_ERR_TABLE(X)
#undef X
    }
    return "unknown error";
}

int wr_err_http(wr_err e)
{
    switch (e) {
#define X(sym, val, http, text) \
    case sym:                   \
        return http;
        WR_ERR_TABLE(X)
#undef X
    }
    return 500;
}

wr_err wr_err_from_errno(int err)
{
    switch (err) {
    case 0:
        return WR_OK;
    case ENOSPC:
    case EDQUOT:
        return WR_ERR_NO_SPACE;
    case ENOENT:
        return WR_ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return WR_ERR_DENIED;
    case EFBIG:
        return WR_ERR_TOO_BIG;
    case EINVAL:
        return WR_ERR_INVALID;
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return WR_ERR_BUSY;
    case ETIMEDOUT:
        return WR_ERR_TIMEOUT;
    default:
        return WR_ERR_INTERNAL;
    }
}

wr_err wr_err_from_wire(uint32_t code)
{
    switch (code) {
#define X(sym, val, http, text) \
    case val:                   \
        return sym;
        WR_ERR_TABLE(X)
#undef X
    default:
        return WR_ERR_INTERNAL;
    }
}

struct wr_slice wr_err_outside(wr_err e, struct wr_slice text)
{
    bool is_operators = wr_err_is_temporary(e) && text.n && memchr(text.p, '/', text.n);
    return is_operators || !text.n ? wr_slice_str(wr_err_text(e)) : text;
}

bool wr_err_is_temporary(wr_err e)
{
    return e == WR_ERR_INTERNAL || e == WR_ERR_BUSY || e == WR_ERR_UNAVAILABLE ||
           e == WR_ERR_NO_SPACE || e == WR_ERR_TIMEOUT || e == WR_ERR_CLOSED;
}

void wr_errmsg_set(struct wr_errmsg *m, const char *fmt, ...)
{
    if (!m)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->text, sizeof m->text, fmt, ap);
    va_end(ap);
}
