/* SPDX-License-Identifier: MIT
 *
 * A backup's form: one protobuf message, whose fields are written and read one at a time. */
#include "backup_form.h"

#include "wr_clock.h"
#include "wr_pb.h"

#include "watchroom/v1/backup.numbers.h"
#include "watchroom/v1/hub.numbers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHA_BYTES = 32, HEAD_BYTES = 16 /* of a field: tag and length */ };

static wr_err out_of_memory(struct wr_errmsg *err)
{
    wr_errmsg_set(err, "out of memory");
    return WR_ERR_BUSY;
}

static EVP_MD_CTX *new_sha(void)
{
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    if (sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(sha);
        sha = NULL;
    }
    return sha;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static wr_err put(struct backup_writer *w, const void *p, size_t n, struct wr_errmsg *err)
{
    if (EVP_DigestUpdate(w->sha, p, n) != 1)
        return out_of_memory(err);
    return w->write(w->ctx, p, n, err);
}

/* One field of the whole, out of two pieces. */
static wr_err put_field(struct backup_writer *w, uint32_t number, struct wr_slice a,
                        struct wr_slice b, struct wr_errmsg *err)
{
    uint8_t head[HEAD_BYTES], *end = wr_pb_bytes_head(head, number, a.n + b.n);
    wr_err e = put(w, head, (size_t)(end - head), err);
    if (e == WR_OK && a.n)
        e = put(w, a.p, a.n, err);
    if (e == WR_OK && b.n)
        e = put(w, b.p, b.n, err);
    return e;
}

wr_err backup_begin(struct backup_writer *w, backup_write_fn write, void *ctx,
                    struct wr_errmsg *err)
{
    uint8_t head[96], *to = head;
    *w = (struct backup_writer){.write = write, .ctx = ctx, .sha = new_sha()};
    if (!w->sha)
        return out_of_memory(err);
    to = wr_pb_uint(to, WR_PB_LOG_BACKUP_HEAD_FORMAT, BACKUP_FORMAT);
    to = wr_pb_uint(to, WR_PB_LOG_BACKUP_HEAD_MADE_MS, (uint64_t)wr_wall_ms());
    to = wr_pb_bytes(to, WR_PB_LOG_BACKUP_HEAD_VERSION, wr_slice_str(WR_VERSION));
    return put_field(w, WR_PB_LOG_BACKUP_HEAD, wr_slice_of(head, (size_t)(to - head)),
                     (struct wr_slice){0}, err);
}

static wr_err put_part(struct backup_writer *w, struct wr_errmsg *err)
{
    uint8_t facts[320], *to = facts;
    to = wr_pb_bytes(to, WR_PB_LOG_BACKUP_PART_ROOM, wr_slice_str(w->room));
    to = wr_pb_uint(to, WR_PB_LOG_BACKUP_PART_TOP, w->top.offset);
    to = wr_pb_uint(to, WR_PB_LOG_BACKUP_PART_LAST_TIME_MS, (uint64_t)w->top.last_time_ms);
    if (w->part.failed)
        return out_of_memory(err);
    wr_err e = put_field(w, WR_PB_LOG_BACKUP_PARTS, wr_slice_of(facts, (size_t)(to - facts)),
                         wr_slice_of(w->part.p, w->part.n), err);
    wr_buf_clear(&w->part);
    return e;
}

wr_err backup_flush(struct backup_writer *w, struct wr_errmsg *err)
{
    return w->part.n || w->part.failed ? put_part(w, err) : WR_OK;
}

wr_err backup_room(struct backup_writer *w, struct wr_slice room, const struct wr_store_top *top,
                   struct wr_errmsg *err)
{
    wr_err e = backup_flush(w, err);
    if (e != WR_OK)
        return e;
    snprintf(w->room, sizeof w->room, "%.*s", (int)room.n, (const char *)room.p);
    w->top = *top;
    w->rooms++;
    return put_part(w, err); /* also of a room whose entries have all gone: its offsets go on */
}

wr_err backup_entry(struct backup_writer *w, const struct wr_store_entry *e, struct wr_errmsg *err)
{
    size_t most = 64 + e->key.n + e->info.n + e->type.n + e->data.n;
    struct wr_buf *b = &w->part;
    if (b->n + most > BACKUP_PART_BYTES) {
        wr_err flushed = backup_flush(w, err);
        if (flushed != WR_OK)
            return flushed;
    }
    /* The head's length is not known before: the entry is written behind the largest one, and moved. */
    uint8_t *from = wr_buf_reserve(b, HEAD_BYTES + most);
    if (!from)
        return out_of_memory(err);
    uint8_t *body = from + HEAD_BYTES, *to = body;
    to = wr_pb_uint(to, WR_PB_PUBLICATION_OFFSET, e->offset);
    to = wr_pb_uint(to, WR_PB_PUBLICATION_TIME_MS, (uint64_t)e->time_ms);
    to = wr_pb_uint(to, WR_PB_PUBLICATION_KIND, e->kind);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_INFO, e->info);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_KEY, e->key);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_DATA, e->data);
    to = wr_pb_bytes(to, WR_PB_PUBLICATION_TYPE, e->type);
    size_t n = (size_t)(to - body);
    uint8_t *at = wr_pb_bytes_head(from, WR_PB_LOG_BACKUP_PART_PUBLICATIONS, n);
    memmove(at, body, n);
    b->n += (size_t)(at - from) + n;
    w->entries++;
    return WR_OK;
}

wr_err backup_end(struct backup_writer *w, struct wr_errmsg *err)
{
    uint8_t end[96], *to = end, sha[EVP_MAX_MD_SIZE];
    wr_err e = backup_flush(w, err);
    if (e == WR_OK && EVP_DigestFinal_ex(w->sha, sha, NULL) != 1)
        e = out_of_memory(err);
    if (e == WR_OK) {
        to = wr_pb_uint(to, WR_PB_LOG_BACKUP_END_ROOMS, w->rooms);
        to = wr_pb_uint(to, WR_PB_LOG_BACKUP_END_ENTRIES, w->entries);
        to = wr_pb_bytes(to, WR_PB_LOG_BACKUP_END_SHA256, wr_slice_of(sha, SHA_BYTES));
        uint8_t head[HEAD_BYTES],
            *behind = wr_pb_bytes_head(head, WR_PB_LOG_BACKUP_END, (size_t)(to - end));
        e = w->write(w->ctx, head, (size_t)(behind - head), err);
    }
    if (e == WR_OK)
        e = w->write(w->ctx, end, (size_t)(to - end), err);
    backup_drop(w);
    return e;
}

void backup_drop(struct backup_writer *w)
{
    EVP_MD_CTX_free(w->sha);
    wr_buf_free(&w->part);
    w->sha = NULL;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct reader {
    backup_read_fn read;
    void *rctx;
    const struct backup_sink *sink;
    void *sctx;
    struct backup_facts *facts;
    struct wr_errmsg *err;
    EVP_MD_CTX *sha;
    uint8_t *field; /* the one that is read; BACKUP_MAX_PART_BYTES */
    char room[256];
    bool has_head, has_end;
    uint64_t top, last;
};

static wr_err broken(struct reader *r, const char *what)
{
    if (!r->err->text[0])
        wr_errmsg_set(r->err,
                      "it is no whole backup: %s, %" PRIu64 " bytes into it: take another copy",
                      what, r->facts->bytes);
    return WR_ERR_INVALID;
}

/* All of n bytes. *none (may be NULL) is set when there was not one. */
static wr_err take(struct reader *r, uint8_t *to, size_t n, bool *none)
{
    size_t have = 0, got = 1;
    wr_err e = WR_OK;
    while (e == WR_OK && have < n && got) {
        e = r->read(r->rctx, to + have, n - have, &got, r->err);
        have += e == WR_OK ? got : 0;
    }
    r->facts->bytes += have;
    if (none)
        *none = have == 0;
    if (e != WR_OK || have == n || (none && have == 0))
        return e;
    return broken(r, "it ends in the middle");
}

/* The head of the next field: its number, and its length in *n. 0 = the end. */
static wr_err take_head(struct reader *r, uint8_t head[HEAD_BYTES], size_t *head_n,
                        uint32_t *number, uint64_t *n)
{
    bool none;
    *number = 0;
    *n = 0;
    wr_err e = take(r, head, 1, &none);
    if (e != WR_OK || none)
        return e;
    if ((head[0] & 7) != 2 || head[0] >> 3 == 0 || head[0] & 0x80)
        return broken(r, "these bytes are not of one");
    *number = head[0] >> 3;
    size_t i = 1;
    do {
        if (i == 6)
            return broken(r, "a length is too large");
        e = take(r, head + i, 1, NULL);
        *n |= (uint64_t)(head[i] & 0x7f) << (7 * (i - 1));
    } while (e == WR_OK && head[i++] & 0x80);
    *head_n = i;
    if (e == WR_OK && *n > BACKUP_MAX_PART_BYTES)
        return broken(r, "a length is too large");
    return e;
}

static wr_err read_head(struct reader *r, struct wr_slice bytes)
{
    struct wr_pb_reader pb;
    struct wr_pb_field f;
    uint64_t format = 0;
    wr_pb_read(&pb, bytes);
    while (wr_pb_next(&pb, &f)) {
        if (f.number == WR_PB_LOG_BACKUP_HEAD_FORMAT && f.wire == 0)
            format = f.value;
        else if (f.number == WR_PB_LOG_BACKUP_HEAD_MADE_MS && f.wire == 0)
            r->facts->made_ms = (int64_t)f.value;
        else if (f.number == WR_PB_LOG_BACKUP_HEAD_VERSION && f.wire == 2)
            snprintf(r->facts->version, sizeof r->facts->version, "%.*s",
                     (int)WR_MIN(f.bytes.n, sizeof r->facts->version - 1), (const char *)f.bytes.p);
    }
    if (pb.bad || format == 0)
        return broken(r, "its head is damaged");
    if (format > BACKUP_FORMAT) {
        wr_errmsg_set(r->err,
                      "written by a later version of Watchroom (%s, form %" PRIu64
                      "): read it by that one",
                      r->facts->version, format);
        return WR_ERR_INVALID;
    }
    r->has_head = true;
    return WR_OK;
}

static wr_err read_entry(struct reader *r, struct wr_slice bytes)
{
    struct wr_store_entry e = {0};
    struct wr_pb_reader pb;
    struct wr_pb_field f;
    wr_pb_read(&pb, bytes);
    while (wr_pb_next(&pb, &f)) {
        if (f.number == WR_PB_PUBLICATION_OFFSET && f.wire == 0)
            e.offset = f.value;
        else if (f.number == WR_PB_PUBLICATION_TIME_MS && f.wire == 0)
            e.time_ms = (int64_t)f.value;
        else if (f.number == WR_PB_PUBLICATION_KIND && f.wire == 0)
            e.kind = (uint32_t)f.value;
        else if (f.number == WR_PB_PUBLICATION_INFO && f.wire == 2)
            e.info = f.bytes;
        else if (f.number == WR_PB_PUBLICATION_KEY && f.wire == 2)
            e.key = f.bytes;
        else if (f.number == WR_PB_PUBLICATION_DATA && f.wire == 2)
            e.data = f.bytes;
        else if (f.number == WR_PB_PUBLICATION_TYPE && f.wire == 2)
            e.type = f.bytes;
    }
    if (pb.bad || e.data.n == 0 || e.data.n > BACKUP_MAX_DATA_BYTES || e.time_ms < 0)
        return broken(r, "a message is damaged");
    if (e.offset <= r->last || e.offset > r->top)
        return broken(r, "messages are not in order");
    r->last = e.offset;
    r->facts->entries++;
    return r->sink ? r->sink->entry(r->sctx, &e, r->err) : WR_OK;
}

static wr_err read_part_facts(struct reader *r, struct wr_slice bytes)
{
    struct wr_store_top top = {0};
    struct wr_slice room = {0};
    struct wr_pb_reader pb;
    struct wr_pb_field f;
    wr_pb_read(&pb, bytes);
    while (wr_pb_next(&pb, &f)) {
        if (f.number == WR_PB_LOG_BACKUP_PART_ROOM && f.wire == 2)
            room = f.bytes;
        else if (f.number == WR_PB_LOG_BACKUP_PART_TOP && f.wire == 0)
            top.offset = f.value;
        else if (f.number == WR_PB_LOG_BACKUP_PART_LAST_TIME_MS && f.wire == 0)
            top.last_time_ms = (int64_t)f.value;
    }
    if (pb.bad || !wr_name_valid(room) || top.last_time_ms < 0)
        return broken(r, "a part is damaged");
    if (wr_slice_is(room, r->room))
        return top.offset == r->top ? WR_OK : broken(r, "parts of a room do not fit together");
    snprintf(r->room, sizeof r->room, "%.*s", (int)room.n, (const char *)room.p);
    r->top = top.offset;
    r->last = 0;
    r->facts->rooms++;
    return r->sink ? r->sink->room(r->sctx, room, &top, r->err) : WR_OK;
}

static wr_err read_part(struct reader *r, struct wr_slice bytes)
{
    struct wr_pb_reader pb;
    struct wr_pb_field f;
    wr_err e = read_part_facts(r, bytes);
    wr_pb_read(&pb, bytes);
    while (e == WR_OK && wr_pb_next(&pb, &f))
        if (f.number == WR_PB_LOG_BACKUP_PART_PUBLICATIONS && f.wire == 2)
            e = read_entry(r, f.bytes);
    return e;
}

static wr_err read_end(struct reader *r, struct wr_slice bytes)
{
    uint8_t sha[EVP_MAX_MD_SIZE];
    uint64_t rooms = 0, entries = 0;
    struct wr_slice told = {0};
    struct wr_pb_reader pb;
    struct wr_pb_field f;
    wr_pb_read(&pb, bytes);
    while (wr_pb_next(&pb, &f)) {
        if (f.number == WR_PB_LOG_BACKUP_END_ROOMS && f.wire == 0)
            rooms = f.value;
        else if (f.number == WR_PB_LOG_BACKUP_END_ENTRIES && f.wire == 0)
            entries = f.value;
        else if (f.number == WR_PB_LOG_BACKUP_END_SHA256 && f.wire == 2)
            told = f.bytes;
    }
    if (EVP_DigestFinal_ex(r->sha, sha, NULL) != 1)
        return out_of_memory(r->err);
    if (pb.bad || rooms != r->facts->rooms || entries != r->facts->entries ||
        !wr_slice_eq(told, wr_slice_of(sha, SHA_BYTES)))
        return broken(r, "its bytes are not those that were written");
    r->has_end = true;
    return WR_OK;
}

/* Fields of a later version are passed over: the sum has them. */
static wr_err read_field(struct reader *r, uint32_t number, struct wr_slice bytes)
{
    if (number == WR_PB_LOG_BACKUP_HEAD && !r->has_head)
        return read_head(r, bytes);
    if (!r->has_head)
        return broken(r, "it does not begin like one");
    return number == WR_PB_LOG_BACKUP_PARTS ? read_part(r, bytes)
           : number == WR_PB_LOG_BACKUP_END ? read_end(r, bytes)
                                            : WR_OK;
}

static wr_err read_all(struct reader *r)
{
    wr_err e = WR_OK;
    while (e == WR_OK) {
        uint8_t head[HEAD_BYTES];
        size_t head_n = 0;
        uint32_t number;
        uint64_t n;
        e = take_head(r, head, &head_n, &number, &n);
        if (e != WR_OK)
            break;
        if (number == 0)
            return r->has_end ? WR_OK : broken(r, "it ends in the middle");
        if (r->has_end)
            return broken(r, "something follows its end");
        e = take(r, r->field, n, NULL);
        if (e == WR_OK && number != WR_PB_LOG_BACKUP_END &&
            (EVP_DigestUpdate(r->sha, head, head_n) != 1 ||
             EVP_DigestUpdate(r->sha, r->field, n) != 1))
            e = out_of_memory(r->err);
        if (e == WR_OK)
            e = read_field(r, number, wr_slice_of(r->field, n));
    }
    return e;
}

wr_err backup_read(backup_read_fn read, void *rctx, const struct backup_sink *sink, void *sctx,
                   struct backup_facts *facts, struct wr_errmsg *err)
{
    struct reader r = {.read = read,
                       .rctx = rctx,
                       .sink = sink,
                       .sctx = sctx,
                       .facts = facts,
                       .err = err,
                       .sha = new_sha(),
                       .field = malloc(BACKUP_MAX_PART_BYTES)};
    *facts = (struct backup_facts){0};
    err->text[0] = '\0';
    wr_err e = r.sha && r.field ? read_all(&r) : out_of_memory(err);
    EVP_MD_CTX_free(r.sha);
    free(r.field);
    return e;
}
