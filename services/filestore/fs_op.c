/* SPDX-License-Identifier: MIT
 *
 * How operations end: their result is told once, and the upload they refer to is let go. */
#include <stdarg.h>
#include <stdio.h>

#include "fs_priv.h"

void fs_op_end(struct fs_op *op, wr_err code)
{
    struct fs_upload *u = op->u;
    op->code = code;
    op->done(op);
    if (u)
        fs_upload_unref(u);
}

void fs_op_finish(struct fs_op *op, wr_err code, const char *fmt, ...)
{
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(op->text.text, sizeof op->text.text, fmt, ap);
        va_end(ap);
    }
    fs_op_end(op, code);
}

void fs_list_finish(struct fs_list *l, wr_err code, const char *text)
{
    struct fs_op *op;
    while ((op = fs_list_take(l)))
        fs_op_finish(op, code, text ? "%s" : NULL, text);
}
