/* SPDX-License-Identifier: MIT
 *
 * Reading a complete upload, a piece at a time, by a worker. */
#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_log.h"

/* Room in front of the bytes for the bus's envelope and the field's tag and length. */
#define READ_HEAD (WR_MSG_HEADROOM + 16)

static wr_err open_reader(struct fs_upload *u, struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    wr_err e = WR_OK;
    pthread_mutex_lock(&u->read_lock);
    if (!u->reader)
        e = s->opts.blob->blob_open(s->blob_state, u->id, WR_BLOB_READ, &u->reader, err);
    if (e == WR_ERR_NOT_FOUND) { /* its record says that it is there */
        wr_error("files.lost", "id=%s %s", u->id, err->text);
        fs_store_damaged(s);
        e = WR_ERR_INTERNAL;
    }
    if (e == WR_OK)
        u->reading++;
    pthread_mutex_unlock(&u->read_lock);
    return e;
}

static void run_read(struct fs_job *job)
{
    struct fs_op *op = WR_CONTAINER_OF(job, struct fs_op, job);
    struct fs_upload *u = op->u;
    struct fs_store *s = u->store;
    atomic_fetch_sub(&s->jobs, 1);
    if (op->deadline_us <= wr_mono_us()) {
        fs_op_finish(op, WR_ERR_TIMEOUT, "the disk is behind: nobody waits for this any more");
        return;
    }
    uint32_t want = op->offset < u->length ? (uint32_t)WR_MIN(op->length, u->length - op->offset)
                                           : 0;
    struct wr_msg *m = wr_msg_new(READ_HEAD, want);
    wr_err e = m ? open_reader(u, &op->text) : WR_ERR_BUSY;
    if (e == WR_OK) {
        size_t got;
        e = s->opts.blob->read(s->blob_state, u->reader, op->offset, m->data, want, &got,
                               &op->text);
        if (e != WR_OK)
            wr_error("files.read_failed", "id=%s %s", u->id, op->text.text);
        if (e == WR_OK && got < want) {
            wr_error("files.shorter_than_told", "id=%s length=%llu end=%llu", u->id,
                     (unsigned long long)u->length, (unsigned long long)(op->offset + got));
            wr_errmsg_set(&op->text, "the file has lost bytes on the disk");
            e = WR_ERR_INTERNAL;
        }
        pthread_mutex_lock(&u->read_lock);
        u->reading--;
        u->read_us = wr_mono_us();
        pthread_mutex_unlock(&u->read_lock);
    }
    if (e == WR_OK) {
        op->bytes = m;
        m = NULL;
    }
    wr_msg_unref(m);
    fs_op_end(op, e);
}

void fs_read(struct fs_upload *u, struct fs_op *op)
{
    struct fs_store *s = u->store;
    pthread_mutex_lock(&u->lock);
    enum fs_state state = u->state;
    pthread_mutex_unlock(&u->lock);
    if (state == FS_FAILED) {
        fs_op_finish(op, WR_ERR_GONE, "the disk failed to keep this file");
    } else if (state != FS_COMPLETE) {
        fs_op_finish(op, WR_ERR_CONFLICT, "the upload is not finished yet");
    } else if (op->length > FS_CHUNK_MAX) {
        fs_op_finish(op, WR_ERR_INVALID, "length: at most %u bytes a read", FS_CHUNK_MAX);
    } else if (atomic_load(&s->jobs) >= FS_JOBS_MAX) {
        fs_op_finish(op, WR_ERR_BUSY, "too many reads wait for the disk");
    } else {
        atomic_fetch_add(&s->jobs, 1);
        op->job.run = run_read;
        fs_pool_add(&s->reads, &op->job);
    }
}
