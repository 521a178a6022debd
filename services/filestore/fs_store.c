/* SPDX-License-Identifier: MIT
 *
 * The uploads that a filestore has: made, found, taken over, read, deleted, expired. What happens to their bytes is in
 * fs_lanes.c. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_metrics.h"
#include "wr_pb.h"
#include "wr_plugins.h"

#define REST_US 30000000 /* a blob that nobody uses is closed after it */
#define WORKERS 8u

WR_COUNTER(expired, "watchroom_files_expired_total", NULL,
           "Unfinished uploads removed because nobody went on with them");
WR_GAUGE(uploads_known, "watchroom_files_uploads", NULL,
         "Uploads and files that the filestore has");

/* ---- failpoints ----------------------------------------------------------------------------------------------------- */

static struct {
    char name[32];
    atomic_int left;
} failpoint;

static void read_failpoint(void)
{
    const char *v = getenv("WATCHROOM_FAILPOINT");
    if (!v)
        return;
    size_t n = strcspn(v, ":");
    snprintf(failpoint.name, sizeof failpoint.name, "%.*s",
             (int)WR_MIN(n, sizeof failpoint.name - 1), v);
    atomic_store(&failpoint.left, v[n] == ':' ? (int)strtol(v + n + 1, NULL, 10) : 1);
}

void fs_failpoint(const char *name)
{
    if (!failpoint.name[0] || strcmp(name, failpoint.name) != 0 ||
        atomic_fetch_sub(&failpoint.left, 1) != 1)
        return;
    wr_error("files.failpoint", "name=%s", name);
    raise(SIGKILL);
}

/* ---- operations ----------------------------------------------------------------------------------------------------- */

static void finish(struct fs_op *op, wr_err code)
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
    finish(op, code);
}

void fs_list_finish(struct fs_list *l, wr_err code, const char *text)
{
    struct fs_op *op;
    while ((op = fs_list_take(l)))
        fs_op_finish(op, code, text ? "%s" : NULL, text);
}

/* ---- uploads -------------------------------------------------------------------------------------------------------- */

struct fs_upload *fs_upload_new(struct fs_store *s, const char *id)
{
    struct fs_upload *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    atomic_init(&u->refs, 1);
    u->store = s;
    snprintf(u->id, sizeof u->id, "%s", id);
    pthread_mutex_init(&u->lock, NULL);
    pthread_mutex_init(&u->read_lock, NULL);
    fs_lanes_init(u);
    return u;
}

struct fs_upload *fs_upload_ref(struct fs_upload *u)
{
    atomic_fetch_add(&u->refs, 1);
    return u;
}

void fs_upload_unref(struct fs_upload *u)
{
    if (atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    struct fs_store *s = u->store;
    if (u->blob)
        s->opts.blob->blob_close(s->blob_state, u->blob);
    if (u->reader)
        s->opts.blob->blob_close(s->blob_state, u->reader);
    EVP_MD_CTX_free(u->md);
    free(u->filename);
    free(u->filetype);
    free(u->room);
    free(u->name);
    free(u->metadata);
    pthread_mutex_destroy(&u->read_lock);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

struct fs_upload *fs_upload_find(struct fs_store *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    struct fs_upload *u = wr_map_get(&s->uploads, wr_slice_str(id));
    if (u)
        fs_upload_ref(u);
    pthread_mutex_unlock(&s->lock);
    return u;
}

void fs_upload_tell(struct fs_upload *u, Watchroom__V1__Upload *out, uint8_t sha[32])
{
    watchroom__v1__upload__init(out);
    out->id = u->id;
    out->length = u->length;
    out->filename = u->filename;
    out->filetype = u->filetype;
    out->room = u->room;
    out->name = u->name;
    out->metadata = u->metadata;
    out->created_ms = u->created_ms;
    pthread_mutex_lock(&u->lock);
    out->offset = u->durable;
    out->completed_ms = u->completed_ms;
    if (u->state == FS_COMPLETE) {
        out->complete = true;
        memcpy(sha, u->sha256, sizeof u->sha256);
        out->sha256 = (ProtobufCBinaryData){sizeof u->sha256, sha};
    }
    pthread_mutex_unlock(&u->lock);
}

static void forget(struct fs_upload *u)
{
    struct fs_store *s = u->store;
    pthread_mutex_lock(&s->lock);
    bool was = wr_map_get(&s->uploads, wr_slice_str(u->id)) == u;
    if (was)
        wr_map_del(&s->uploads, wr_slice_str(u->id));
    pthread_mutex_unlock(&s->lock);
    if (was) {
        wr_gauge_add(&uploads_known, -1);
        fs_upload_unref(u);
    }
}

/* ---- create --------------------------------------------------------------------------------------------------------- */

static bool is_id(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n >= 16 && n <= FS_ID_MAX && id[n] == 0;
}

static bool is_text(const char *s, size_t max)
{
    return strlen(s) <= max && wr_utf8_valid(s, strlen(s));
}

static bool check_create(struct fs_op *op)
{
    const Watchroom__V1__CreateRequest *c = op->create;
    if (!is_id(c->id))
        wr_errmsg_set(&op->text, "id: 16 to %u characters a-z, 0-9", FS_ID_MAX);
    else if (c->length > INT64_MAX)
        wr_errmsg_set(&op->text, "length: at most 2^63 - 1");
    else if (!is_text(c->filename, FS_TEXT_MAX) || !is_text(c->filetype, FS_TEXT_MAX) ||
             !is_text(c->name, FS_TEXT_MAX) || !is_text(c->metadata, FS_METADATA_MAX))
        wr_errmsg_set(&op->text, "filename, filetype, name or metadata: too long or not UTF-8");
    else if (c->room[0] && !wr_name_valid(wr_slice_str(c->room)))
        wr_errmsg_set(&op->text,
                      "room: 1 to 255 bytes without control characters, '/' or a leading '.'");
    else
        return true;
    return false;
}

static bool is_same(const struct fs_upload *u, const Watchroom__V1__CreateRequest *c)
{
    return u->length == c->length && !strcmp(u->filename, c->filename) &&
           !strcmp(u->filetype, c->filetype) && !strcmp(u->room, c->room) &&
           !strcmp(u->name, c->name) && !strcmp(u->metadata, c->metadata);
}

static struct fs_upload *upload_from(struct fs_store *s, const Watchroom__V1__CreateRequest *c)
{
    struct fs_upload *u = fs_upload_new(s, c->id);
    if (!u)
        return NULL;
    u->length = c->length;
    u->filename = strdup(c->filename);
    u->filetype = strdup(c->filetype);
    u->room = strdup(c->room);
    u->name = strdup(c->name);
    u->metadata = strdup(c->metadata);
    u->created_ms = u->touched_ms = wr_wall_ms();
    u->state = FS_CREATING;
    if (u->filename && u->filetype && u->room && u->name && u->metadata)
        return u;
    fs_upload_unref(u);
    return NULL;
}

static wr_err room_for(struct fs_upload *u, struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    uint64_t space;
    wr_err e = s->opts.blob->space(s->blob_state, &space, err);
    if (e == WR_OK &&
        (space < s->opts.min_free_bytes || space - s->opts.min_free_bytes < u->length)) {
        wr_errmsg_set(err,
                      "the disk of the files folder has no room for %llu MB (%llu MB are free, "
                      "%llu MB of them are kept)",
                      (unsigned long long)(u->length >> 20), (unsigned long long)(space >> 20),
                      (unsigned long long)(s->opts.min_free_bytes >> 20));
        e = WR_ERR_NO_SPACE;
    }
    return e;
}

static void run_create(struct fs_job *job)
{
    struct fs_op *op = WR_CONTAINER_OF(job, struct fs_op, job);
    struct fs_upload *u = op->u;
    struct fs_store *s = u->store;
    atomic_fetch_sub(&s->jobs, 1);
    wr_err e = room_for(u, &op->text);
    if (e == WR_OK)
        e = fs_record_put(u, 0, 0, &op->text);
    fs_failpoint("created");
    struct fs_list rest;
    fs_list_init(&rest);
    if (e != WR_OK) {
        wr_warn("files.create_failed", "%s", op->text.text);
        forget(u);
        atomic_fetch_sub(&s->unfinished, 1);
        pthread_mutex_lock(&u->lock);
        u->state = FS_DELETED;
        fs_list_move(&rest, &u->alone);
        pthread_mutex_unlock(&u->lock);
        fs_list_finish(&rest, e, op->text.text);
        finish(op, e);
        return;
    }
    pthread_mutex_lock(&u->lock);
    u->state = FS_OPEN;
    bool empty = u->length == 0;
    if (empty)
        fs_list_add(&u->waiters, op); /* complete at once: the commit lane answers */
    fs_lanes_kick(u);
    pthread_mutex_unlock(&u->lock);
    if (!empty)
        finish(op, WR_OK);
}

static void do_create(struct fs_store *s, struct fs_op *op)
{
    if (!check_create(op)) {
        finish(op, WR_ERR_INVALID);
        return;
    }
    struct fs_upload *fresh = upload_from(s, op->create);
    bool full = atomic_load(&s->unfinished) >= FS_UNFINISHED_MAX ||
                atomic_load(&s->jobs) >= FS_JOBS_MAX;
    pthread_mutex_lock(&s->lock);
    struct fs_upload *u = wr_map_get(&s->uploads, wr_slice_str(op->create->id));
    bool made = !u && fresh && !full && wr_map_put(&s->uploads, wr_slice_str(fresh->id), fresh);
    if (made)
        u = fresh;
    if (u)
        op->u = fs_upload_ref(u);
    pthread_mutex_unlock(&s->lock);
    if (made) {
        wr_gauge_add(&uploads_known, 1);
        atomic_fetch_add(&s->unfinished, 1);
        atomic_fetch_add(&s->jobs, 1);
        op->job.run = run_create;
        fs_pool_add(&s->pool, &op->job);
        return;
    }
    if (fresh)
        fs_upload_unref(fresh);
    if (!u) {
        fs_op_finish(op, WR_ERR_BUSY, "the filestore has too many unfinished uploads: try later");
    } else if (!is_same(u, op->create)) {
        fs_op_finish(op, WR_ERR_CONFLICT, "that id belongs to another upload");
    } else {
        pthread_mutex_lock(&u->lock); /* answered once the first one is through */
        fs_list_add(&u->alone, op);
        fs_lanes_kick(u);
        pthread_mutex_unlock(&u->lock);
    }
}

/* ---- read ----------------------------------------------------------------------------------------------------------- */

/* Room in front of the bytes for the bus's envelope and the field's tag and length. */
#define READ_HEAD (WR_MSG_HEADROOM + 16)

static wr_err open_reader(struct fs_upload *u, struct wr_errmsg *err)
{
    struct fs_store *s = u->store;
    wr_err e = WR_OK;
    pthread_mutex_lock(&u->read_lock);
    if (!u->reader)
        e = s->opts.blob->blob_open(s->blob_state, u->id, WR_BLOB_READ, &u->reader, err);
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
    uint32_t want = op->offset < u->length ? (uint32_t)WR_MIN(op->length, u->length - op->offset)
                                           : 0;
    struct wr_msg *m = wr_msg_new(READ_HEAD, want);
    wr_err e = m ? open_reader(u, &op->text) : WR_ERR_BUSY;
    if (e == WR_OK) {
        size_t got;
        e = s->opts.blob->read(s->blob_state, u->reader, op->offset, m->data, want, &got,
                               &op->text);
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
    finish(op, e);
}

static void do_read(struct fs_upload *u, struct fs_op *op)
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
        fs_pool_add(&s->pool, &op->job);
    }
}

/* ---- alone with an upload ------------------------------------------------------------------------------------------- */

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
    u->touched_ms = wr_wall_ms();
    op->fence = u->fence;
    return true;
}

static void run_acquire(struct fs_upload *u, struct fs_op *op)
{
    struct fs_list dropped;
    fs_list_init(&dropped);
    pthread_mutex_lock(&u->lock);
    wr_err e = acquire(u, op, &dropped) ? WR_OK : op->code;
    pthread_mutex_unlock(&u->lock);
    fs_list_finish(&dropped, WR_ERR_CONFLICT, "another connection has taken over this upload");
    finish(op, e);
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
        finish(op, e);
        return;
    }
    pthread_mutex_lock(&u->lock);
    u->state = FS_DELETED;
    pthread_mutex_unlock(&u->lock);
    if (was != FS_COMPLETE)
        atomic_fetch_sub(&s->unfinished, 1);
    forget(u);
    if (was == FS_COMPLETE && s->opts.changed)
        s->opts.changed(s->opts.ctx, u, true);
    finish(op, WR_OK);
}

static void run_announced(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool alive = u->state == FS_COMPLETE;
    u->announced = true;
    pthread_mutex_unlock(&u->lock);
    finish(op, alive ? fs_record_put(u, u->length, 0, &op->text) : WR_ERR_GONE);
}

static void run_rest(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    struct wr_blob *b = u->blob;
    u->blob = NULL;
    pthread_mutex_unlock(&u->lock);
    if (b)
        u->store->opts.blob->blob_close(u->store->blob_state, b);
    finish(op, WR_OK);
}

static void run_expire(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool due = u->state != FS_COMPLETE && u->touched_ms == (int64_t)op->offset && !u->writes.head &&
               !u->waiters.head;
    pthread_mutex_unlock(&u->lock);
    if (!due) {
        finish(op, WR_OK);
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
    switch (op->kind) {
    case FS_OP_CREATE:
        finish(op, WR_OK);
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

/* ---- the door ------------------------------------------------------------------------------------------------------- */

static void do_write(struct fs_upload *u, struct fs_op *op)
{
    if (op->data.n > FS_CHUNK_MAX) {
        fs_op_finish(op, WR_ERR_TOO_BIG, "data: at most %u bytes a write", FS_CHUNK_MAX);
        return;
    }
    pthread_mutex_lock(&u->lock);
    bool taken = fs_lanes_accept(u, op);
    fs_lanes_kick(u);
    pthread_mutex_unlock(&u->lock);
    if (!taken)
        finish(op, op->code);
}

static void do_queued(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    if (op->kind == FS_OP_STAT && !op->release) {
        u->hash_stuck = false;
        fs_list_add(&u->waiters, op);
    } else {
        fs_list_add(&u->alone, op);
    }
    fs_lanes_kick(u);
    pthread_mutex_unlock(&u->lock);
}

void fs_store_do(struct fs_store *s, struct fs_op *op)
{
    op->store = s;
    if (op->kind == FS_OP_CREATE) {
        do_create(s, op);
        return;
    }
    if (!op->u && !(op->u = fs_upload_find(s, op->id))) {
        fs_op_finish(op, WR_ERR_NOT_FOUND, "no such upload");
        return;
    }
    switch (op->kind) {
    case FS_OP_WRITE:
        do_write(op->u, op);
        break;
    case FS_OP_READ:
        do_read(op->u, op);
        break;
    default:
        do_queued(op->u, op);
    }
}

/* ---- now and then --------------------------------------------------------------------------------------------------- */

static void free_op(struct fs_op *op)
{
    free(op);
}

/* An operation of our own, whose result nobody waits for. */
static void do_own(struct fs_upload *u, enum fs_op_kind kind, uint64_t offset)
{
    struct fs_op *op = calloc(1, sizeof *op);
    if (!op)
        return; /* the next tick tries again */
    op->kind = kind;
    op->offset = offset;
    op->done = free_op;
    op->u = fs_upload_ref(u);
    fs_store_do(u->store, op);
}

static void drop_late(struct fs_upload *u, int64_t now_us)
{
    struct fs_list late, keep;
    fs_list_init(&late);
    fs_list_init(&keep);
    pthread_mutex_lock(&u->lock);
    struct fs_op *op;
    while ((op = fs_list_take(&u->ahead))) {
        bool is_late = op->deadline_us <= now_us;
        if (is_late)
            u->num_ahead--;
        fs_list_add(is_late ? &late : &keep, op);
    }
    fs_list_move(&u->ahead, &keep);
    pthread_mutex_unlock(&u->lock);
    for (op = late.head; op; op = op->next)
        fs_lanes_release(op);
    fs_list_finish(&late, WR_ERR_TIMEOUT, "the bytes before these did not come");
}

static void rest_reader(struct fs_upload *u, int64_t now_us)
{
    pthread_mutex_lock(&u->read_lock);
    struct wr_blob *b = u->reader && u->reading == 0 && now_us - u->read_us > REST_US ? u->reader
                                                                                      : NULL;
    if (b)
        u->reader = NULL;
    pthread_mutex_unlock(&u->read_lock);
    if (b)
        u->store->opts.blob->blob_close(u->store->blob_state, b);
}

static void look_after(struct fs_upload *u, int64_t now_ms)
{
    struct fs_store *s = u->store;
    int64_t now_us = wr_mono_us();
    drop_late(u, now_us);
    rest_reader(u, now_us);
    pthread_mutex_lock(&u->lock);
    bool still = !u->busy && !u->writes.head && !u->alone.head && !u->waiters.head;
    bool rest = still && u->blob &&
                (u->state != FS_OPEN || now_ms - u->touched_ms > REST_US / 1000);
    bool old = still && (u->state == FS_OPEN || u->state == FS_FAILED) && s->opts.expire_ms > 0 &&
               now_ms - u->touched_ms > s->opts.expire_ms;
    int64_t touched = u->touched_ms;
    pthread_mutex_unlock(&u->lock);
    if (old)
        do_own(u, FS_OP_EXPIRE, (uint64_t)touched);
    else if (rest)
        do_own(u, FS_OP_REST, 0);
}

/* References to all uploads, so that no lock is held while they are looked after. */
static struct fs_upload **all_uploads(struct fs_store *s, size_t *n)
{
    *n = 0;
    pthread_mutex_lock(&s->lock);
    struct fs_upload **all = malloc((s->uploads.used + 1) * sizeof(struct fs_upload *));
    size_t at = 0;
    void *v;
    while (all && wr_map_next(&s->uploads, &at, NULL, &v))
        all[(*n)++] = fs_upload_ref(v);
    pthread_mutex_unlock(&s->lock);
    return all;
}

void fs_store_tick(struct fs_store *s, int64_t now_ms)
{
    size_t n;
    struct fs_upload **all = all_uploads(s, &n);
    for (size_t i = 0; i < n; i++) {
        look_after(all[i], now_ms);
        fs_upload_unref(all[i]);
    }
    free(all);
}

void fs_store_announce_all(struct fs_store *s)
{
    size_t n;
    struct fs_upload **all = all_uploads(s, &n);
    for (size_t i = 0; i < n; i++) {
        struct fs_upload *u = all[i];
        pthread_mutex_lock(&u->lock);
        bool due = u->state == FS_COMPLETE && !u->announced && u->room[0];
        pthread_mutex_unlock(&u->lock);
        if (due && s->opts.announce)
            s->opts.announce(s->opts.ctx, u);
        fs_upload_unref(u);
    }
    free(all);
}

/* ---- open, close ---------------------------------------------------------------------------------------------------- */

static void load_one(void *ctx, struct wr_slice id, struct wr_slice record, uint64_t size)
{
    struct fs_store *s = ctx;
    struct wr_errmsg why = {{0}};
    struct fs_upload *u = fs_record_load(s, id, record, size, &why);
    if (!u) {
        wr_error("files.record_damaged", "id=%.*s %s; it is left as it is, and not served",
                 (int)id.n, (const char *)id.p, why.text);
        return;
    }
    if (u->state != FS_COMPLETE)
        atomic_fetch_add(&s->unfinished, 1);
    if (wr_map_put(&s->uploads, wr_slice_str(u->id), u))
        wr_gauge_add(&uploads_known, 1);
    else
        fs_upload_unref(u);
}

static void read_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, 36);
    if (fd >= 0)
        close(fd);
    if (n == 36)
        out[36] = 0;
    else
        wr_id_uuid(out); /* unknown: as if after a new start of the machine */
}

wr_err fs_store_init(struct fs_store *s, const struct fs_store_opts *opts, struct wr_errmsg *err)
{
    *s = (struct fs_store){.opts = *opts};
    pthread_mutex_init(&s->lock, NULL);
    read_boot_id(s->boot_id);
    read_failpoint();
    if (!(s->blob_state = wr_plugin_state(&opts->blob->base)))
        return WR_ERR_BUSY;
    wr_err e = opts->blob->open(s->blob_state, &(struct wr_blob_opts){.path = opts->path}, err);
    if (e != WR_OK)
        goto out;
    e = opts->blob->each(s->blob_state, load_one, s, err);
    if (e == WR_OK && (e = fs_pool_init(&s->pool, WORKERS)) != WR_OK)
        wr_errmsg_set(
            err,
            "cannot start the filestore's %u threads: raise the limit of processes (ulimit -u)",
            WORKERS);
    if (e != WR_OK) {
        s->pool.num_threads = 0;
        fs_store_fini(s);
        return e;
    }
    return WR_OK;
out:
    free(s->blob_state);
    s->blob_state = NULL;
    pthread_mutex_destroy(&s->lock);
    return e;
}

void fs_store_fini(struct fs_store *s)
{
    if (!s->blob_state)
        return;
    if (s->pool.num_threads)
        fs_pool_fini(&s->pool);
    size_t at = 0;
    void *v;
    while (wr_map_next(&s->uploads, &at, NULL, &v)) {
        struct fs_upload *u = v;
        struct fs_list left;
        fs_list_init(&left);
        pthread_mutex_lock(&u->lock);
        fs_lanes_drop_writes(u, &left);
        fs_list_move(&left, &u->waiters);
        fs_list_move(&left, &u->alone);
        pthread_mutex_unlock(&u->lock);
        fs_list_finish(&left, WR_ERR_CLOSED, "the filestore ends");
        wr_gauge_add(&uploads_known, -1);
        fs_upload_unref(u);
    }
    wr_map_free(&s->uploads);
    s->opts.blob->close(s->blob_state);
    free(s->blob_state);
    s->blob_state = NULL;
    pthread_mutex_destroy(&s->lock);
}
