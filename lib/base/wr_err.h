/* SPDX-License-Identifier: MIT
 *
 * The one error type. Codes are those of watchroom.v1.Code on the bus, so that an error keeps its meaning from the
 * service to the client's protocol. Programs branch on the code; people read the text that goes with it. */
#ifndef WR_BASE_WR_ERR_H
#define WR_BASE_WR_ERR_H

#include "wr_base.h"

/* symbol, value on the bus, HTTP status, text */
#define WR_ERR_TABLE(X)                                     \
    X(WR_OK, 0, 200, "ok")                                  \
    X(WR_ERR_INTERNAL, 1, 500, "internal error")            \
    X(WR_ERR_INVALID, 2, 400, "bad request")                \
    X(WR_ERR_NOT_FOUND, 3, 404, "not found")                \
    X(WR_ERR_CONFLICT, 4, 409, "conflict")                  \
    X(WR_ERR_TOO_BIG, 5, 413, "too big")                    \
    X(WR_ERR_BUSY, 6, 503, "too busy, try again")           \
    X(WR_ERR_UNAVAILABLE, 7, 503, "not available now")      \
    X(WR_ERR_NO_SPACE, 8, 507, "no space left on the disk") \
    X(WR_ERR_DENIED, 9, 403, "not allowed")                 \
    X(WR_ERR_TIMEOUT, 10, 504, "took too long")             \
    X(WR_ERR_UNKNOWN_METHOD, 11, 501, "unknown method")     \
    X(WR_ERR_CLOSED, 12, 503, "closed")                     \
    X(WR_ERR_GONE, 13, 410, "gone")                         \
    X(WR_ERR_POSITION, 14, 409, "position of another epoch")

typedef enum wr_err {
#define X(sym, val, http, text) sym = (val),
    WR_ERR_TABLE(X)
#undef X
} wr_err;

/* Static text; "unknown error" for a value outside the table. */
WR_API const char *wr_err_text(wr_err e);
/* The HTTP status that tells it best. */
WR_API int wr_err_http(wr_err e);
/* Maps an errno value: ENOSPC and EDQUOT to NO_SPACE, ENOENT to NOT_FOUND, and so on; else INTERNAL. */
WR_API wr_err wr_err_from_errno(int err);
/* A value from the bus: unknown ones become WR_ERR_INTERNAL. */
WR_API wr_err wr_err_from_wire(uint32_t code);
/* What a stranger is told of a service's error: its sentence, or the code's own text when the service could not do it and the
 * sentence names a path or an address (it has a '/'): that is the operator's, who has it in the service's log. Either is
 * borrowed. */
WR_API struct wr_slice wr_err_outside(wr_err e, struct wr_slice text);
/* True when the same request may succeed later (BUSY, UNAVAILABLE, TIMEOUT, CLOSED, NO_SPACE, INTERNAL). */
WR_API bool wr_err_is_temporary(wr_err e);

/* The text of an error with its facts: written once where it happens, read by a person. */
struct wr_errmsg {
    char text[256];
};
WR_API void wr_errmsg_set(struct wr_errmsg *m, const char *fmt, ...) WR_PRINTF(2, 3);

#endif
