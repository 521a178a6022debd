/* SPDX-License-Identifier: MIT
 *
 * From a call to an operation and back to an answer. Write is parsed by hand so that its data stays where the bus put it;
 * Read's bytes get their field head in the room before them. */
#include "fs_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "watchroom/v1/files.numbers.h"
#include "wr_fd.h"
#include "wr_pb.h"

#define SERVICE "watchroom.v1.Files/"
#define OPEN_MS 10000u /* a descriptor waits so long for who asked for it */

struct call_op {
    struct fs_op op;
    struct wr_call *call;
};

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static void answer_packed(struct wr_call *call, const ProtobufCMessage *pb)
{
    struct wr_msg *m = wr_msg_pack(pb);
    if (m)
        wr_call_answer(call, m);
    else
        wr_call_fail(call, WR_ERR_BUSY, "no memory");
}

static void answer_upload(struct call_op *c)
{
    Watchroom__V1__Upload up;
    uint8_t sha[32];
    fs_upload_tell(c->op.u, &up, sha);
    answer_packed(c->call, &up.base);
}

static void answer_acquire(struct call_op *c)
{
    Watchroom__V1__AcquireResponse r = WATCHROOM__V1__ACQUIRE_RESPONSE__INIT;
    Watchroom__V1__Upload up;
    uint8_t sha[32];
    fs_upload_tell(c->op.u, &up, sha);
    r.fence = c->op.fence;
    r.upload = &up;
    answer_packed(c->call, &r.base);
}

static void answer_write(struct call_op *c)
{
    Watchroom__V1__WriteResponse r = WATCHROOM__V1__WRITE_RESPONSE__INIT;
    Watchroom__V1__Upload up;
    uint8_t sha[32];
    fs_upload_tell(c->op.u, &up, sha);
    r.offset = c->op.target;
    r.durable = up.offset;
    if (c->op.sync || up.complete)
        r.upload = &up;
    answer_packed(c->call, &r.base);
}

static void answer_read(struct call_op *c)
{
    struct wr_msg *m = c->op.bytes;
    if (m->len) {
        uint8_t head[16];
        size_t n = (size_t)(wr_pb_bytes_head(head, WR_PB_READ_RESPONSE_DATA, m->len) - head);
        memcpy(wr_msg_push(m, n), head, n);
    }
    wr_call_answer(c->call, m);
}

/* The descriptor waits to be collected; when too many wait already, the caller reads by Read. */
static void answer_open(struct call_op *c)
{
    Watchroom__V1__OpenResponse r = WATCHROOM__V1__OPEN_RESPONSE__INIT;
    Watchroom__V1__Upload up;
    uint8_t sha[32], ticket[WR_FD_TICKET_BYTES];
    fs_upload_tell(c->op.u, &up, sha);
    r.upload = &up;
    if (c->op.fd >= 0 && wr_fd_leave(c->op.fd, OPEN_MS, ticket) == WR_OK) {
        r.ticket = (ProtobufCBinaryData){sizeof ticket, ticket};
        r.where = c->op.store->where;
    } else if (c->op.fd >= 0) {
        close(c->op.fd);
    }
    answer_packed(c->call, &r.base);
}

static void answer(struct fs_op *op)
{
    struct call_op *c = WR_CONTAINER_OF(op, struct call_op, op);
    if (op->code != WR_OK) {
        wr_call_fail(c->call, op->code, "%s",
                     op->text.text[0] ? op->text.text : wr_err_text(op->code));
    } else {
        switch (op->kind) {
        case FS_OP_ACQUIRE:
            answer_acquire(c);
            break;
        case FS_OP_WRITE:
            answer_write(c);
            break;
        case FS_OP_READ:
            answer_read(c);
            break;
        case FS_OP_OPEN:
            answer_open(c);
            break;
        case FS_OP_DELETE:
            wr_call_answer(c->call, NULL);
            break;
        default:
            answer_upload(c);
        }
    }
    free(c);
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

static bool copy_id(char out[FS_ID_MAX + 1], struct wr_slice id)
{
    if (id.n == 0 || id.n > FS_ID_MAX || memchr(id.p, 0, id.n))
        return false;
    memcpy(out, id.p, id.n);
    out[id.n] = 0;
    return true;
}

bool fs_calls_parse_write(struct wr_slice body, struct fs_write_fields *out)
{
    struct wr_pb_reader r;
    struct wr_pb_field f;
    *out = (struct fs_write_fields){0};
    wr_pb_read(&r, body);
    while (wr_pb_next(&r, &f)) {
        if (f.number == WR_PB_WRITE_REQUEST_ID && f.wire == 2)
            out->id = f.bytes;
        else if (f.number == WR_PB_WRITE_REQUEST_FENCE && f.wire == 0)
            out->fence = f.value;
        else if (f.number == WR_PB_WRITE_REQUEST_OFFSET && f.wire == 0)
            out->offset = f.value;
        else if (f.number == WR_PB_WRITE_REQUEST_SYNC && f.wire == 0)
            out->sync = f.value != 0;
        else if (f.number == WR_PB_WRITE_REQUEST_DATA && f.wire == 2)
            out->data = f.bytes;
    }
    return !r.bad;
}

static bool parse_write(struct fs_op *op, struct wr_slice body)
{
    struct fs_write_fields w;
    if (!fs_calls_parse_write(body, &w) || !copy_id(op->id, w.id))
        return false;
    op->fence = w.fence;
    op->offset = w.offset;
    op->sync = w.sync;
    op->data = w.data;
    return true;
}

static bool parse_acquire(struct fs_op *op, struct wr_slice body)
{
    Watchroom__V1__AcquireRequest *q = watchroom__v1__acquire_request__unpack(NULL, body.n, body.p);
    bool ok = q && copy_id(op->id, wr_slice_str(q->id)) && q->nonce.len <= sizeof op->nonce;
    if (ok) {
        op->offset = q->offset;
        op->nonce_n = q->nonce.len;
        if (q->nonce.len)
            memcpy(op->nonce, q->nonce.data, q->nonce.len);
    }
    if (q)
        watchroom__v1__acquire_request__free_unpacked(q, NULL);
    return ok;
}

static bool parse_stat(struct fs_op *op, struct wr_slice body)
{
    Watchroom__V1__StatRequest *q = watchroom__v1__stat_request__unpack(NULL, body.n, body.p);
    bool ok = q && copy_id(op->id, wr_slice_str(q->id));
    if (ok)
        op->release = q->release;
    if (q)
        watchroom__v1__stat_request__free_unpacked(q, NULL);
    return ok;
}

static bool parse_delete(struct fs_op *op, struct wr_slice body)
{
    Watchroom__V1__DeleteRequest *q = watchroom__v1__delete_request__unpack(NULL, body.n, body.p);
    bool ok = q && copy_id(op->id, wr_slice_str(q->id));
    if (q)
        watchroom__v1__delete_request__free_unpacked(q, NULL);
    return ok;
}

static bool parse_read(struct fs_op *op, struct wr_slice body)
{
    Watchroom__V1__ReadRequest *q = watchroom__v1__read_request__unpack(NULL, body.n, body.p);
    bool ok = q && copy_id(op->id, wr_slice_str(q->id));
    if (ok) {
        op->offset = q->offset;
        op->length = q->length;
    }
    if (q)
        watchroom__v1__read_request__free_unpacked(q, NULL);
    return ok;
}

static bool parse_open(struct fs_op *op, struct wr_slice body)
{
    Watchroom__V1__OpenRequest *q = watchroom__v1__open_request__unpack(NULL, body.n, body.p);
    bool ok = q && copy_id(op->id, wr_slice_str(q->id));
    if (q)
        watchroom__v1__open_request__free_unpacked(q, NULL);
    return ok;
}

static const struct {
    const char *method;
    enum fs_op_kind kind;
    bool (*parse)(struct fs_op *op,
                  struct wr_slice body); /* NULL: create, whose request the store reads itself */
} methods[] = {
    {SERVICE "Write", FS_OP_WRITE, parse_write}, {SERVICE "Read", FS_OP_READ, parse_read},
    {SERVICE "Create", FS_OP_CREATE, NULL},      {SERVICE "Acquire", FS_OP_ACQUIRE, parse_acquire},
    {SERVICE "Stat", FS_OP_STAT, parse_stat},    {SERVICE "Delete", FS_OP_DELETE, parse_delete},
    {SERVICE "Open", FS_OP_OPEN, parse_open},
};

static void handle_create(struct fs_store *s, struct call_op *c)
{
    Watchroom__V1__CreateRequest *q = watchroom__v1__create_request__unpack(NULL, c->call->body.n,
                                                                            c->call->body.p);
    if (!q) {
        wr_call_fail(c->call, WR_ERR_INVALID, "not a CreateRequest");
        free(c);
        return;
    }
    c->op.create = q;
    fs_store_do(s, &c->op);
    watchroom__v1__create_request__free_unpacked(q, NULL);
}

void fs_calls_handle(void *ctx, struct wr_call *call)
{
    struct fs_store *s = ctx;
    for (size_t i = 0; i < WR_ARRAY_LEN(methods); i++) {
        if (!wr_slice_is(call->method, methods[i].method))
            continue;
        struct call_op *c = calloc(1, sizeof *c);
        if (!c) {
            wr_call_fail(call, WR_ERR_BUSY, "no memory");
            return;
        }
        c->call = call;
        c->op.kind = methods[i].kind;
        c->op.done = answer;
        c->op.deadline_us = call->deadline_us;
        if (!methods[i].parse) {
            handle_create(s, c);
        } else if (methods[i].parse(&c->op, call->body)) {
            fs_store_do(s, &c->op);
        } else {
            wr_call_fail(call, WR_ERR_INVALID,
                         "malformed request, or its id is not 1 to %u characters a-z, 0-9",
                         FS_ID_MAX);
            free(c);
        }
        return;
    }
    wr_call_fail(call, WR_ERR_UNKNOWN_METHOD, "the filestore has no method %.*s",
                 (int)WR_MIN(call->method.n, 80), (const char *)call->method.p);
}
