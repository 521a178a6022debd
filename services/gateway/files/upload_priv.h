/* SPDX-License-Identifier: MIT
 *
 * What upload.c (the request's turns, its answer) and upload_body.c (its bytes) share.
 *
 * Every field belongs to the plane thread of the client's connection, so none has a lock: other threads hold a reference
 * (`refs`, atomic) and post to that thread (wr_http_body_post), which goes on when the client is long gone. Only `to`, `f`
 * and `id` are read elsewhere; they are set before anything is posted. The handler that makes the struct touches it no more
 * once it has returned. Who writes what, and when:
 *
 *     turn        ends when                                    writes
 *     STARTING    the body begins (ops.begin)                  b, to
 *     CREATING    Files/Create is answered                     is_created, code
 *     ACQUIRING   Files/Acquire is answered                    fence, end, code
 *     FLOWING     the body is over, too long, or refused       buf, want, n, at, is_large, is_fast, is_waiting, is_synced,
 *                                                              in_flight, written, durable, asked, code
 *     SETTLING    the last write is answered                   buf, at, n, in_flight, durable, code
 *     ANSWERING   what the answer still needs was asked for    later
 *     OVER        the last reference is gone                   -
 *
 * `how` and `b` change whenever the body ends, `is_gone` whenever the client leaves: each turn looks at them as it begins or
 * as its answer comes. */
#ifndef WR_GATEWAY_FILES_UPLOAD_PRIV_H
#define WR_GATEWAY_FILES_UPLOAD_PRIV_H

#include "handover.h"
#include "upload.h"

enum upload_turn {
    UPLOAD_STARTING = 0,
    UPLOAD_CREATING,
    UPLOAD_ACQUIRING,
    UPLOAD_FLOWING,
    UPLOAD_SETTLING,
    UPLOAD_ANSWERING,
    UPLOAD_OVER,
};

enum upload_how { /* what became of the body; 0: it goes on */
                  UPLOAD_WHOLE = WR_BODY_WHOLE,
                  UPLOAD_LEFT = WR_BODY_LEFT,
                  UPLOAD_STALLED = WR_BODY_STALLED,
                  UPLOAD_MALFORMED = WR_BODY_MALFORMED,
                  UPLOAD_DRAINING = WR_BODY_DRAINING,
                  UPLOAD_ANSWERED = WR_BODY_ANSWERED,
                  UPLOAD_TOO_LONG, /* more came than the upload takes; what fits was kept */
};

struct upload {
    struct wr_files *f;
    struct wr_http_later *later;
    struct wr_identity *who;
    struct wr_http_body *b; /* NULL before it began and when it is over */
    struct wr_http_to to;
    atomic_uint refs; /* the body's, the answer's, and one each call and post under way */
    char id[FILES_ID_ROOM];
    enum upload_turn turn;
    int how;
    struct wr_msg *create;
    int64_t said; /* Content-Length, or -1 */
    bool is_new, has_body, says_offset;
    bool is_created; /* by this very request: every answer says where it is */
    bool is_gone;

    uint64_t fence;
    uint64_t at;  /* where buf's first byte goes */
    uint64_t end; /* length of the upload */
    struct wr_msg *buf;
    size_t want, n; /* buf: is sent when it holds want bytes; holds n */
    bool is_large;  /* buf is the pool's */
    bool is_fast;   /* the client filled a small one at once: it gets large ones */
    bool is_waiting, is_paused;
    bool is_synced; /* the write that ends the upload is on its way */
    unsigned in_flight;
    wr_err code;
    struct wr_errmsg text;
    uint64_t written; /* end of what the filestore says is written */
    uint64_t durable; /* end of what is synced */
    struct handover_wait *asked;
    struct upload *chain_next, **chain_at; /* guarded by the lock of f->handover */
    struct buffers_user user;
    uint8_t surplus[16];
};

struct upload_reply;
typedef void (*upload_reply_fn)(struct upload *u, const struct upload_reply *r);
/* An answer of the filestore on its way to the upload's thread. */
struct upload_reply {
    struct upload *u;
    upload_reply_fn on;
    bool is_large;
    wr_err code;
    struct wr_errmsg text;
    struct wr_msg *msg;
    struct wr_slice body; /* of msg */
};

void upload__ref(struct upload *u);
void upload__unref(struct upload *u);
void upload__next(struct upload *u, enum upload_turn turn);
/* Calls the filestore; on runs on the upload's thread. body is moved; NULL is answered BUSY. False: no memory, nothing
 * was called. */
WR_MUST_USE bool upload__ask(struct upload *u, const char *method, struct wr_msg *body, uint32_t ms,
                             upload_reply_fn on, bool is_large);
/* The first failure is what the client hears. */
void upload__fail(struct upload *u, wr_err code, const char *text);

extern const struct wr_http_body_ops upload__body_ops;
/* FLOWING begins: bytes are taken. */
void upload__flow(struct upload *u);
/* What is in the buffer goes as it is, when the body flows; a failure ends it. */
void upload__send_now(struct upload *u);
/* SETTLING begins: the last bytes are sent, and synced unless the client has gone. */
void upload__settle(struct upload *u);

#endif
