/* SPDX-License-Identifier: MIT
 *
 * The form of a backup (proto/watchroom/v1/backup.proto), written and read as a stream: neither side holds more of it than
 * a part. Reading trusts nothing: lengths are bounded, and what the end does not vouch for is an error. */
#ifndef WR_HOST_BACKUP_FORM_H
#define WR_HOST_BACKUP_FORM_H

#include "wr_buf.h"
#include "wr_store.h"

#include <openssl/evp.h>

enum {
    BACKUP_FORMAT = 1,
    BACKUP_PART_BYTES = 1 << 20, /* a part is written when it has so many, or at its room's end */
    BACKUP_MAX_PART_BYTES = 8 << 20, /* what is read */
    BACKUP_MAX_DATA_BYTES = 4 << 20, /* of one entry: what a hub takes is a quarter of it */
};

/* Takes all n bytes, or says in `err` why not. */
typedef wr_err (*backup_write_fn)(void *ctx, const void *p, size_t n, struct wr_errmsg *err);
/* Gives at most n bytes; *got = 0 at the end. */
typedef wr_err (*backup_read_fn)(void *ctx, void *p, size_t n, size_t *got, struct wr_errmsg *err);

/* ---- writing: begin, room, entry..., room, ..., end --------------------------------------------------------------- */

struct backup_writer {
    backup_write_fn write;
    void *ctx;
    EVP_MD_CTX *sha;
    struct wr_buf part; /* of the room, as it fills */
    char room[256];
    struct wr_store_top top;
    uint64_t rooms, entries;
};

/* Every writer that was begun is ended, by backup_end() or by backup_drop(). */
WR_MUST_USE wr_err backup_begin(struct backup_writer *w, backup_write_fn write, void *ctx,
                                struct wr_errmsg *err);
WR_MUST_USE wr_err backup_room(struct backup_writer *w, struct wr_slice room,
                               const struct wr_store_top *top, struct wr_errmsg *err);
WR_MUST_USE wr_err backup_entry(struct backup_writer *w, const struct wr_store_entry *e,
                                struct wr_errmsg *err);
/* The entries since the last call leave: a part. Nothing when there are none and the room was told. */
WR_MUST_USE wr_err backup_flush(struct backup_writer *w, struct wr_errmsg *err);
WR_MUST_USE wr_err backup_end(struct backup_writer *w, struct wr_errmsg *err);
void backup_drop(struct backup_writer *w);

/* ---- reading ------------------------------------------------------------------------------------------------------ */

/* What a backup has, in its order. Slices are borrowed. An error ends the reading and is returned. */
struct backup_sink {
    wr_err (*room)(void *ctx, struct wr_slice room, const struct wr_store_top *top,
                   struct wr_errmsg *err);
    wr_err (*entry)(void *ctx, const struct wr_store_entry *e, struct wr_errmsg *err);
};
struct backup_facts {
    int64_t made_ms;
    char version[32];
    uint64_t rooms, entries, bytes;
};

/* Reads to the end; sink may be NULL: then it is only looked at. WR_OK means that it is whole: only then may what the sink
 * was given be believed. INVALID with a sentence when it is not. */
WR_MUST_USE wr_err backup_read(backup_read_fn read, void *rctx, const struct backup_sink *sink,
                               void *sctx, struct backup_facts *facts, struct wr_errmsg *err);

#endif
