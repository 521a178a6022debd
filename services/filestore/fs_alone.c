/* SPDX-License-Identifier: MIT
 *
 * Operations that have the upload for themselves, when all its lanes are still: taken over, asked for its offset, deleted,
 * announced, left to rest, expired. */
#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"

WR_COUNTER(expired, "watchroom_files_expired_total", NULL,
           "Unfinished uploads removed because nobody went on with them");

static bool acquire(struct fs_upload *u, struct fs_op *op, struct fs_list *dropped)
{
    if (u->state == FS_FAILED) {
        op->code = WR_ERR_GONE;
        wr_errmsg_set(&op->text, "the disk failed to keep this upload: send the file anew");
        return false;
    }
    u->hash_stuck = false;
    if (u->fence && op->nonce_n && op->nonce_n == u->nonce_n &&
        !memcmp(op->nonce, u->nonce, u->nonce_n)) {
        op->fence = u->fence;
        return true;
    }
    if (op->offset == u->durable && op->offset < u->written && u->record_failed && !u->hashes.head)
        fs_lanes_rewind(u);
    if (op->offset != u->written) {
        op->code = WR_ERR_CONFLICT;
        wr_errmsg_set(
            &op->text,
            "offset %llu asked, the upload is at %llu: ask for its offset (HEAD) and go on there",
            (unsigned long long)op->offset, (unsigned long long)u->written);
        return false;
    }
    if (u->state == FS_COMPLETE)
        return true; /* at its end: there is nothing to write */
    fs_lanes_drop_writes(u, dropped);
    do
        wr_random(&u->fence, sizeof u->fence);
    while (u->fence == 0);
    memcpy(u->nonce, op->nonce, op->nonce_n);
    u->nonce_n = op->nonce_n;
    u->touched_ms = wr_age_now_ms();
    op->fence = u->fence;
    return true;
}

/* Its room may be others' when it was left alone for a while. */
static wr_err room_for_rest(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool goes_on = u->state == FS_OPEN && op->offset == u->written;
    uint64_t left = u->length - u->written;
    pthread_mutex_unlock(&u->lock);
    wr_err e = goes_on && left ? fs_store_may_write(u->store, &op->text) : WR_OK;
    return e == WR_OK && goes_on && left ? fs_room_reserve(u, left, &op->text) : e;
}

static void run_acquire(struct fs_upload *u, struct fs_op *op)
{
    struct fs_list dropped;
    fs_list_init(&dropped);
    wr_err e = room_for_rest(u, op);
    if (e == WR_OK) {
        pthread_mutex_lock(&u->lock);
        e = acquire(u, op, &dropped) ? WR_OK : op->code;
        pthread_mutex_unlock(&u->lock);
    }
    fs_list_finish(&dropped, WR_ERR_CONFLICT, "another connection has taken over this upload");
    fs_op_end(op, e);
}

static void run_stat(struct fs_upload *u, struct fs_op *op)
{
    struct fs_list dropped;
    fs_list_init(&dropped);
    pthread_mutex_lock(&u->lock);
    u->fence = 0;
    fs_lanes_drop_writes(u, &dropped);
    fs_list_add(&u->waiters, op);
    pthread_mutex_unlock(&u->lock);
    fs_list_finish(&dropped, WR_ERR_CONFLICT, "another connection has taken over this upload");
}

static void run_delete(struct fs_upload *u, struct fs_op *op)
{
    struct fs_store *s = u->store;
    struct fs_list dropped;
    fs_list_init(&dropped);
    pthread_mutex_lock(&u->lock);
    enum fs_state was = u->state;
    u->fence = 0;
    fs_lanes_drop_writes(u, &dropped);
    fs_list_move(&dropped, &u->waiters);
    fs_list_move(&dropped, &u->hashes);
    u->hash_tail = u->hashed; /* should it stay: the hash catches up from the blob */
    pthread_mutex_unlock(&u->lock);
    for (struct fs_op *d = dropped.head; d; d = d->next)
        if (d->queued)
            fs_lanes_release(d);
    fs_list_finish(&dropped, WR_ERR_GONE, "the upload was deleted");
    if (was == FS_DELETED) {
        fs_op_finish(op, WR_ERR_NOT_FOUND, "no such upload");
        return;
    }
    if (u->blob)
        s->opts.blob->blob_close(s->blob_state, u->blob);
    u->blob = NULL;
    wr_err e = s->opts.blob->remove(s->blob_state, u->id, &op->text);
    if (e != WR_OK) {
        wr_error("files.delete_failed", "id=%s %s", u->id, op->text.text);
        fs_op_end(op, e);
        return;
    }
    pthread_mutex_lock(&u->lock);
    u->state = FS_DELETED;
    pthread_mutex_unlock(&u->lock);
    fs_room_leave(u);
    fs_upload_forget(u);
    if (was == FS_COMPLETE && s->opts.changed)
        s->opts.changed(s->opts.ctx, u, true);
    fs_op_end(op, WR_OK);
}

static void run_announced(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool alive = u->state == FS_COMPLETE;
    u->announced = true;
    pthread_mutex_unlock(&u->lock);
    fs_op_end(op, alive ? fs_record_put(u, u->length, 0, &op->text) : WR_ERR_GONE);
}

static void run_rest(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    struct wr_blob *b = u->blob;
    u->blob = NULL;
    pthread_mutex_unlock(&u->lock);
    if (b)
        u->store->opts.blob->blob_close(u->store->blob_state, b);
    fs_op_end(op, WR_OK);
}

static void run_expire(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool due = u->state != FS_COMPLETE && u->touched_ms == (int64_t)op->offset && !u->writes.head &&
               !u->waiters.head;
    pthread_mutex_unlock(&u->lock);
    if (!due) {
        fs_op_end(op, WR_OK);
        return;
    }
    wr_info("files.expired", "id=%s bytes=%llu of %llu", u->id, (unsigned long long)u->written,
            (unsigned long long)u->length);
    wr_count(&expired, 1);
    run_delete(u, op);
}

void fs_alone_run(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool deleted = u->state == FS_DELETED;
    pthread_mutex_unlock(&u->lock);
    if (deleted) {
        fs_op_finish(op, WR_ERR_NOT_FOUND, "no such upload");
        return;
    }
    /* Nobody would write under that fence, but who writes now would be fenced off. */
    if (op->kind == FS_OP_ACQUIRE && op->deadline_us <= wr_mono_us()) {
        fs_op_finish(op, WR_ERR_TIMEOUT, "the disk is behind: nobody waits for this any more");
        return;
    }
    switch (op->kind) {
    case FS_OP_CREATE:
        fs_op_end(op, WR_OK);
        break;
    case FS_OP_ACQUIRE:
        run_acquire(u, op);
        break;
    case FS_OP_STAT:
        run_stat(u, op);
        break;
    case FS_OP_DELETE:
        run_delete(u, op);
        break;
    case FS_OP_ANNOUNCED:
        run_announced(u, op);
        break;
    case FS_OP_REST:
        run_rest(u, op);
        break;
    case FS_OP_EXPIRE:
        run_expire(u, op);
        break;
    default:
        fs_op_finish(op, WR_ERR_INTERNAL, "not an operation for one alone");
    }
}
