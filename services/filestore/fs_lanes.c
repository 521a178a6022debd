/* SPDX-License-Identifier: MIT
 *
 * The way of an uploaded byte through the filestore: accepted in order, written, hashed, flushed, committed. See fs_priv.h
 * for the lanes; each function named turn_* is one turn of a lane's job on a worker thread. */
#include <stdio.h>
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_metrics.h"

#define TURN_WRITES 4u /* operations of one turn */
_Static_assert(TURN_WRITES <= WR_BLOB_PARTS_MAX, "a turn is one write of the plugin");
#define CATCH_UP_BYTES (256u << 10)
#define CATCH_UP_READS 8u /* of one turn */
#define BUSY_ALONE (1u << 31)

WR_COUNTER(bytes_written, "watchroom_files_written_bytes_total", NULL,
           "Bytes of uploads given to the blob plugin");
WR_COUNTER(writes_refused, "watchroom_files_refused_writes_total", NULL,
           "Writes refused because too many waited in memory or before a hole");
WR_COUNTER(rehashed, "watchroom_files_rehashed_bytes_total", NULL,
           "Bytes read back from the blob for the hash");
WR_HISTOGRAM(sync_time, "watchroom_files_sync_seconds", NULL,
             "Time of one sync of an upload's bytes");
WR_GAUGE(queued_bytes, "watchroom_files_queued_bytes", NULL,
         "Bytes of writes in the filestore's memory");

/* ---- accepting ------------------------------------------------------------------------------------------------------ */

void fs_lanes_release(struct fs_op *op)
{
    if (!op->queued)
        return;
    atomic_fetch_sub(&op->store->queued, op->queued);
    wr_gauge_add(&queued_bytes, -(int64_t)op->queued);
    op->queued = 0;
}

static void insert_ahead(struct fs_upload *u, struct fs_op *op)
{
    struct fs_op **at = &u->ahead.head;
    while (*at && (*at)->offset <= op->offset)
        at = &(*at)->next;
    op->next = *at;
    *at = op;
    if (!op->next)
        u->ahead.tail = &op->next;
    u->num_ahead++;
}

/* Appends to the ordered queue; what is already there of it (a resent or overlapping write) is not written again. */
static void append(struct fs_upload *u, struct fs_op *op)
{
    uint64_t end = op->offset + op->data.n;
    size_t known = (size_t)WR_MIN(u->queued_end - op->offset, op->data.n);
    op->data.p += known;
    op->data.n -= known;
    op->offset += known;
    op->target = end;
    u->queued_end = WR_MAX(u->queued_end, end);
    fs_list_add(&u->writes, op);
}

bool fs_lanes_accept(struct fs_upload *u, struct fs_op *op)
{
    if (u->state == FS_FAILED) {
        op->code = WR_ERR_GONE;
        wr_errmsg_set(&op->text, "the disk failed to keep this upload: send the file anew");
        return false;
    }
    if (u->state == FS_COMPLETE && op->data.n == 0 && op->offset == u->length) {
        op->target = u->length;
        fs_list_add(&u->waiters, op);
        return true;
    }
    if (u->fence == 0 || op->fence != u->fence) {
        op->code = WR_ERR_CONFLICT;
        wr_errmsg_set(&op->text, "another connection has taken over this upload: ask for its "
                                 "offset (HEAD) and go on there");
        return false;
    }
    if (op->offset > u->length || op->data.n > u->length - op->offset) {
        op->code = WR_ERR_INVALID;
        wr_errmsg_set(&op->text, "bytes past the length of the upload (%llu)",
                      (unsigned long long)u->length);
        return false;
    }
    bool is_ahead = op->offset > u->queued_end;
    if (is_ahead && op->fence == u->failed_fence) {
        op->code = u->failed_code;
        op->text = u->failed_why;
        return false;
    }
    if ((is_ahead && u->num_ahead >= FS_AHEAD_MAX) ||
        atomic_load(&u->store->queued) + op->data.n > FS_QUEUED_MAX) {
        wr_count(&writes_refused, 1);
        op->code = WR_ERR_BUSY;
        wr_errmsg_set(&op->text, "too many bytes wait for the disk: go on a little later");
        return false;
    }
    op->queued = op->data.n;
    atomic_fetch_add(&u->store->queued, op->queued);
    wr_gauge_add(&queued_bytes, (int64_t)op->queued);
    if (is_ahead) {
        insert_ahead(u, op);
        return true;
    }
    append(u, op);
    while (u->ahead.head && u->ahead.head->offset <= u->queued_end) {
        u->num_ahead--;
        append(u, fs_list_take(&u->ahead));
    }
    return true;
}

void fs_lanes_rewind(struct fs_upload *u)
{
    u->written = u->queued_end = u->flushed = u->durable;
    u->must_cut = true;
    if (u->hashed > u->written || u->hash_tail > u->written) {
        /* Alone with the upload: no lane holds the digest. It is made anew from the blob. */
        EVP_MD_CTX_free(u->md);
        u->md = NULL;
        u->hashed = u->hash_tail = 0;
    }
}

void fs_lanes_drop_writes(struct fs_upload *u, struct fs_list *out)
{
    fs_list_move(out, &u->writes);
    fs_list_move(out, &u->ahead);
    u->num_ahead = 0;
    for (struct fs_op *op = out->head; op; op = op->next)
        fs_lanes_release(op);
    u->queued_end = u->written;
}

/* ---- jobs ----------------------------------------------------------------------------------------------------------- */

static bool is_hash_due(const struct fs_upload *u)
{
    return u->hashes.head || (u->state == FS_OPEN && !u->hash_stuck && u->hash_tail == u->hashed &&
                              u->hashed < u->written && (u->fence || u->written == u->length));
}

static bool is_commit_due(const struct fs_upload *u)
{
    if (u->state == FS_OPEN && u->written == u->length)
        return u->hashed == u->length && (u->waiters.head != NULL);
    return u->waiters.head != NULL;
}

static void start(struct fs_upload *u, unsigned lane, struct fs_job *job)
{
    if (u->busy & lane)
        return;
    u->busy |= lane;
    fs_upload_ref(u);
    fs_pool_add(&u->store->lanes, job);
}

void fs_lanes_kick(struct fs_upload *u)
{
    if (u->state == FS_CREATING)
        return; /* the creation is alone with it */
    if (u->alone.head || u->must_rewind) {
        /* Turns end soon, and then nothing new begins until what wants the upload alone had it. */
        if (!u->busy)
            start(u, BUSY_ALONE, &u->alone_job);
        return;
    }
    if (u->busy & BUSY_ALONE)
        return;
    if (u->writes.head)
        start(u, FS_LANE_WRITE, &u->write_job);
    if (is_hash_due(u))
        start(u, FS_LANE_HASH, &u->hash_job);
    if (u->state == FS_OPEN && u->written - u->flushed >= FS_FLUSH_STEP && u->blob)
        start(u, FS_LANE_FLUSH, &u->flush_job);
    if (is_commit_due(u))
        start(u, FS_LANE_COMMIT, &u->commit_job);
}

/* Ends a turn: releases the lane, starts whatever is due now. Drops the lock and the job's reference. */
static void end_turn(struct fs_upload *u, unsigned lane)
{
    u->busy &= ~lane;
    fs_lanes_kick(u);
    pthread_mutex_unlock(&u->lock);
    fs_upload_unref(u);
}

/* ---- write ---------------------------------------------------------------------------------------------------------- */

wr_err fs_upload_open_blob(struct fs_upload *u, struct wr_errmsg *err)
{
    const struct wr_blob_plugin *p = u->store->opts.blob;
    wr_err e = WR_OK;
    /* Two lanes may come here at once; opening is quick and happens once a connection, so the lock is held over it. Cutting
     * must be over before any lane writes. */
    pthread_mutex_lock(&u->lock);
    if (!u->blob)
        e = p->blob_open(u->store->blob_state, u->id, WR_BLOB_WRITE, &u->blob, err);
    if (e == WR_OK && u->must_cut &&
        (e = p->cut(u->store->blob_state, u->blob, u->written, err)) == WR_OK)
        u->must_cut = false;
    pthread_mutex_unlock(&u->lock);
    return e;
}

/* Writes operations that follow each other, as one; *written counts their bytes, also on an error. */
static wr_err write_all(struct fs_upload *u, struct fs_op *const *ops, unsigned num,
                        size_t *written, struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    struct wr_slice parts[TURN_WRITES];
    size_t num_parts = 0, bytes = 0;
    uint64_t offset = 0;
    *written = 0;
    for (unsigned i = 0; i < num; i++) {
        if (ops[i]->data.n == 0)
            continue;
        fs_failpoint("write");
        if (num_parts == 0)
            offset = ops[i]->offset;
        parts[num_parts++] = ops[i]->data;
        bytes += ops[i]->data.n;
    }
    if (bytes == 0)
        return WR_OK;
    wr_err e = fs_upload_open_blob(u, err);
    if (e != WR_OK)
        return e;
    uint64_t space;
    e = s->opts.blob->space(s->blob_state, &space, err);
    if (e != WR_OK)
        return e;
    if (space < s->opts.min_free_bytes + bytes) {
        wr_errmsg_set(err,
                      "the disk of the files folder has %llu MB left, which are kept free "
                      "(filestore.min_free_bytes): make room there, then go on",
                      (unsigned long long)(space >> 20));
        return WR_ERR_NO_SPACE;
    }
    e = s->opts.blob->write(s->blob_state, u->blob, offset, parts, num_parts, written, err);
    wr_count(&bytes_written, *written);
    return e;
}

/* Under the lock, after a write: where the operation goes next. */
static void pass_on(struct fs_upload *u, struct fs_op *op, struct fs_list *done)
{
    if (op->data.n && op->offset == u->hash_tail) {
        u->hash_tail += op->data.n;
        fs_list_add(&u->hashes, op);
        return;
    }
    /* Not to be hashed from memory (nothing new in it, or the hash is behind and catches up from the blob). A resent
     * write whose first copy is still being hashed may be answered before it: its bytes are written, which is enough. */
    fs_lanes_release(op);
    if (op->sync)
        fs_list_add(&u->waiters, op);
    else
        fs_list_add(done, op);
}

/* Under the lock: what was not written fails, and what waits behind it. */
static void give_up(struct fs_upload *u, struct fs_op *const *ops, unsigned num, wr_err e,
                    const struct wr_errmsg *why, struct fs_list *failed)
{
    u->failed_fence = ops[0]->fence;
    u->failed_code = e;
    u->failed_why = *why;
    for (unsigned i = 0; i < num; i++) {
        fs_lanes_release(ops[i]);
        fs_list_add(failed, ops[i]);
    }
    fs_lanes_drop_writes(u, failed);
}

static void turn_write(struct fs_job *job)
{
    struct fs_upload *u = WR_CONTAINER_OF(job, struct fs_upload, write_job);
    struct fs_op *ops[TURN_WRITES], *op;
    struct fs_list done, failed;
    fs_list_init(&done);
    fs_list_init(&failed);
    struct wr_errmsg why = {{0}};
    unsigned num = 0, i = 0;
    size_t written;
    pthread_mutex_lock(&u->lock);
    while (num < TURN_WRITES && !u->alone.head && (op = fs_list_take(&u->writes)))
        ops[num++] = op;
    pthread_mutex_unlock(&u->lock);
    wr_err e = write_all(u, ops, num, &written, &why);
    pthread_mutex_lock(&u->lock);
    u->written += written;
    if (written)
        fs_room_use(u, u->length - u->written);
    if (written)
        u->touched_ms = wr_age_now_ms();
    for (; i < num && (e == WR_OK || ops[i]->data.n <= written); i++) {
        written -= ops[i]->data.n;
        pass_on(u, ops[i], &done);
    }
    if (i < num)
        give_up(u, ops + i, num - i, e, &why, &failed);
    if (done.head || failed.head) {
        pthread_mutex_unlock(&u->lock);
        if (failed.head)
            wr_warn("files.write_failed", "id=%s %s", u->id, why.text);
        fs_list_finish(&done, WR_OK, NULL);
        fs_list_finish(&failed, e, why.text);
        pthread_mutex_lock(&u->lock);
    }
    end_turn(u, FS_LANE_WRITE);
}

/* ---- hash ----------------------------------------------------------------------------------------------------------- */

static bool hash_start(struct fs_upload *u)
{
    if (!u->md && (u->md = EVP_MD_CTX_new()) && EVP_DigestInit_ex(u->md, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(u->md);
        u->md = NULL;
    }
    return u->md != NULL;
}

/* Reads what is written and not hashed (after a restart: all of it) back from the blob. */
static wr_err catch_up(struct fs_upload *u, uint64_t from, uint64_t to, uint64_t *reached,
                       struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    *reached = from;
    wr_err e = fs_upload_open_blob(u, err);
    uint8_t *buf = e == WR_OK ? malloc(CATCH_UP_BYTES) : NULL;
    if (!buf)
        return e == WR_OK ? WR_ERR_BUSY : e;
    for (unsigned i = 0; i < CATCH_UP_READS && *reached < to && e == WR_OK; i++) {
        size_t got, n = (size_t)WR_MIN(to - *reached, CATCH_UP_BYTES);
        e = s->opts.blob->read(s->blob_state, u->blob, *reached, buf, n, &got, err);
        if (e == WR_OK && got == 0) {
            wr_errmsg_set(err, "the blob is shorter than what was written to it");
            e = WR_ERR_INTERNAL;
        }
        if (e == WR_OK && EVP_DigestUpdate(u->md, buf, got) != 1)
            e = WR_ERR_INTERNAL;
        if (e == WR_OK)
            *reached += got;
        wr_count(&rehashed, got);
    }
    free(buf);
    return e;
}

static void turn_hash(struct fs_job *job)
{
    struct fs_upload *u = WR_CONTAINER_OF(job, struct fs_upload, hash_job);
    struct fs_list done;
    fs_list_init(&done);
    struct wr_errmsg why = {{0}};
    wr_err e = hash_start(u) ? WR_OK : WR_ERR_BUSY;
    pthread_mutex_lock(&u->lock);
    if (e == WR_OK && !u->hashes.head && u->hashed < u->written) {
        uint64_t from = u->hashed, to = u->written, reached;
        pthread_mutex_unlock(&u->lock);
        e = catch_up(u, from, to, &reached, &why);
        pthread_mutex_lock(&u->lock);
        u->hashed = u->hash_tail = reached;
    }
    for (unsigned i = 0; i < TURN_WRITES && u->hashes.head && e == WR_OK; i++) {
        struct fs_op *op = fs_list_take(&u->hashes);
        pthread_mutex_unlock(&u->lock);
        e = EVP_DigestUpdate(u->md, op->data.p, op->data.n) == 1 ? WR_OK : WR_ERR_INTERNAL;
        fs_lanes_release(op);
        pthread_mutex_lock(&u->lock);
        u->hashed += op->data.n;
        if (op->sync) {
            fs_list_add(&u->waiters, op);
            continue;
        }
        pthread_mutex_unlock(&u->lock);
        fs_list_add(&done, op);
        fs_list_finish(&done, WR_OK, NULL);
        pthread_mutex_lock(&u->lock);
    }
    if (e != WR_OK) {
        /* Begin again from the blob when somebody asks again; who waits now learns that it failed. */
        wr_error("files.hash_failed", "id=%s %s", u->id, why.text[0] ? why.text : wr_err_text(e));
        EVP_MD_CTX_free(u->md);
        u->md = NULL;
        fs_list_move(&done, &u->hashes);
        u->hashed = u->hash_tail = 0;
        u->fence = 0;
        u->hash_stuck = true;
        fs_list_move(&done, &u->waiters);
        pthread_mutex_unlock(&u->lock);
        for (struct fs_op *op = done.head; op; op = op->next)
            fs_lanes_release(op);
        fs_list_finish(&done, e, "the hash of the upload cannot be computed now: try again");
        pthread_mutex_lock(&u->lock);
    }
    end_turn(u, FS_LANE_HASH);
}

/* ---- flush ---------------------------------------------------------------------------------------------------------- */

static void turn_flush(struct fs_job *job)
{
    struct fs_upload *u = WR_CONTAINER_OF(job, struct fs_upload, flush_job);
    const struct wr_blob_plugin *p = u->store->opts.blob;
    pthread_mutex_lock(&u->lock);
    uint64_t from = u->flushed, to = u->written;
    u->flushed = to;
    pthread_mutex_unlock(&u->lock);
    if (WR_PLUGIN_HAS(p, flush) && to > from)
        p->flush(u->store->blob_state, u->blob, from, to - from);
    pthread_mutex_lock(&u->lock);
    end_turn(u, FS_LANE_FLUSH);
}

/* ---- commit --------------------------------------------------------------------------------------------------------- */

static wr_err finish_hash(struct fs_upload *u)
{
    unsigned n = sizeof u->sha256;
    uint8_t sha[EVP_MAX_MD_SIZE];
    if (!hash_start(u) || EVP_DigestFinal_ex(u->md, sha, &n) != 1)
        return WR_ERR_BUSY;
    EVP_MD_CTX_free(u->md);
    u->md = NULL;
    pthread_mutex_lock(&u->lock);
    memcpy(u->sha256, sha, sizeof u->sha256);
    pthread_mutex_unlock(&u->lock);
    return WR_OK;
}

/* After a failed sync the kernel may have dropped the pages and forgotten the error: nothing since the last good one can
 * be trusted, and syncing again would lie. The upload ends here. */
static void fail_upload(struct fs_upload *u, const char *why)
{
    struct wr_errmsg err = {{0}};
    wr_error("files.sync_failed", "id=%s %s: the upload is given up", u->id, why);
    pthread_mutex_lock(&u->lock);
    u->state = FS_FAILED;
    u->fence = 0;
    pthread_mutex_unlock(&u->lock);
    fs_room_use(u, 0);
    if (fs_record_put(u, 0, 0, &err) != WR_OK)
        wr_error("files.record_failed", "id=%s %s", u->id, err.text);
}

/* A full disk: the bytes behind `durable` may be lost, and the kernel tells that once. They are sent again. */
static void take_back(struct fs_upload *u)
{
    pthread_mutex_lock(&u->lock);
    u->must_rewind = true;
    u->fence = 0;
    pthread_mutex_unlock(&u->lock);
}

static wr_err sync_blob(struct fs_upload *u, struct wr_errmsg *err)
{
    wr_err e = fs_upload_open_blob(u, err);
    if (e != WR_OK)
        return e;
    fs_failpoint("sync");
    int64_t t = wr_mono_us();
    e = u->store->opts.blob->sync(u->store->blob_state, u->blob, err);
    wr_observe_us(&sync_time, wr_mono_us() - t);
    if (e == WR_ERR_NO_SPACE) {
        take_back(u);
    } else if (e != WR_OK) {
        fail_upload(u, err->text);
        e = WR_ERR_GONE;
        wr_errmsg_set(err, "the disk failed to keep this upload: send the file anew");
    }
    fs_failpoint("synced");
    return e;
}

/* Syncs [0, target) and records it; completes the upload when that is all of it. */
static wr_err commit(struct fs_upload *u, uint64_t target, bool completes, struct wr_errmsg *err)
{
    wr_err e = sync_blob(u, err);
    if (e == WR_OK && completes)
        e = finish_hash(u);
    if (e != WR_OK)
        return e;
    int64_t completed_ms = completes ? wr_wall_ms() : 0;
    e = fs_record_put(u, target, completed_ms, err);
    fs_failpoint("recorded");
    pthread_mutex_lock(&u->lock);
    u->record_failed = e != WR_OK;
    if (e == WR_OK) {
        u->durable = WR_MAX(u->durable, target);
        if (completes) {
            u->state = FS_COMPLETE;
            u->completed_ms = completed_ms;
            u->fence = 0;
            fs_room_leave(u);
        }
    } else if (completes) {
        /* The bytes are safe, only the record is not: it stays unfinished until somebody asks again. The digest is done,
         * so hashing starts over then. */
        u->hashed = u->hash_tail = 0;
        u->hash_stuck = u->length > 0;
    }
    pthread_mutex_unlock(&u->lock);
    return e;
}

/* On a full disk the record cannot be replaced, but where the upload stood before is on disk, and may be told: who asks
 * for the offset gets that one, and may go on there (see acquire). */
static void answer_stats(struct fs_list *waiters)
{
    struct fs_list stats, rest;
    struct fs_op *op;
    fs_list_init(&stats);
    fs_list_init(&rest);
    while ((op = fs_list_take(waiters)))
        fs_list_add(op->kind == FS_OP_STAT ? &stats : &rest, op);
    fs_list_move(waiters, &rest);
    fs_list_finish(&stats, WR_OK, NULL);
}

static void turn_commit(struct fs_job *job)
{
    struct fs_upload *u = WR_CONTAINER_OF(job, struct fs_upload, commit_job);
    struct fs_store *s = u->store;
    struct fs_list mine;
    fs_list_init(&mine);
    struct wr_errmsg why = {{0}};
    wr_err e = WR_OK;
    pthread_mutex_lock(&u->lock);
    if (u->state == FS_OPEN && u->written == u->length && u->hashed < u->length) {
        end_turn(u, FS_LANE_COMMIT); /* the last write came meanwhile: its hash first */
        return;
    }
    fs_list_move(&mine, &u->waiters);
    uint64_t target = u->written;
    bool completes = u->state == FS_OPEN && target == u->length;
    bool needed = u->state == FS_OPEN && (completes || target > u->durable);
    if (u->state == FS_FAILED) {
        e = WR_ERR_GONE;
        wr_errmsg_set(&why, "the disk failed to keep this upload: send the file anew");
    } else if (u->state == FS_DELETED) {
        e = WR_ERR_NOT_FOUND;
        wr_errmsg_set(&why, "no such upload");
    }
    pthread_mutex_unlock(&u->lock);
    if (needed)
        e = commit(u, target, completes, &why);
    if (e == WR_ERR_NO_SPACE)
        answer_stats(&mine);
    if (completes && e == WR_OK) {
        wr_info("files.complete", "id=%s bytes=%llu room=%s", u->id, (unsigned long long)u->length,
                u->room);
        if (s->opts.changed)
            s->opts.changed(s->opts.ctx, u, false);
        if (u->room[0] && s->opts.announce)
            s->opts.announce(s->opts.ctx, u);
    } else if (needed && e != WR_OK) {
        wr_warn("files.commit_failed", "id=%s %s", u->id, why.text[0] ? why.text : wr_err_text(e));
    }
    fs_list_finish(&mine, e, why.text);
    pthread_mutex_lock(&u->lock);
    end_turn(u, FS_LANE_COMMIT);
}

/* ---- alone ---------------------------------------------------------------------------------------------------------- */

/* After take_back, when no lane works any more. */
static void rewind_all(struct fs_upload *u)
{
    struct fs_store *s = u->store;
    struct fs_list lost, waiters;
    struct wr_errmsg err = {{0}};
    fs_list_init(&lost);
    fs_list_init(&waiters);
    pthread_mutex_lock(&u->lock);
    struct wr_blob *b = u->blob;
    u->blob = NULL;
    fs_list_move(&lost, &u->hashes);
    fs_lanes_drop_writes(u, &lost);
    fs_list_move(&waiters, &u->waiters);
    fs_lanes_rewind(u);
    u->hash_tail = u->hashed;
    u->must_rewind = false;
    pthread_mutex_unlock(&u->lock);
    if (b)
        s->opts.blob->blob_close(s->blob_state, b);
    /* Cut at once: after a restart they would count. */
    if (fs_upload_open_blob(u, &err) != WR_OK)
        wr_warn("files.cut_failed", "id=%s %s", u->id, err.text);
    answer_stats(&waiters);
    fs_list_move(&lost, &waiters);
    fs_list_finish(&lost, WR_ERR_NO_SPACE, "the disk of the files folder is full");
}

static void turn_alone(struct fs_job *job)
{
    struct fs_upload *u = WR_CONTAINER_OF(job, struct fs_upload, alone_job);
    pthread_mutex_lock(&u->lock);
    bool rewinds = u->must_rewind;
    struct fs_op *op = rewinds ? NULL : fs_list_take(&u->alone);
    pthread_mutex_unlock(&u->lock);
    if (rewinds)
        rewind_all(u);
    if (op)
        fs_alone_run(u, op);
    pthread_mutex_lock(&u->lock);
    end_turn(u, BUSY_ALONE);
}

void fs_lanes_init(struct fs_upload *u)
{
    fs_list_init(&u->ahead);
    fs_list_init(&u->writes);
    fs_list_init(&u->hashes);
    fs_list_init(&u->waiters);
    fs_list_init(&u->alone);
    u->write_job.run = turn_write;
    u->hash_job.run = turn_hash;
    u->flush_job.run = turn_flush;
    u->commit_job.run = turn_commit;
    u->alone_job.run = turn_alone;
}
