/* SPDX-License-Identifier: MIT
 *
 * The uploads that a filestore has: made, counted by reference, found in the table, told, forgotten. */
#include <stdio.h>
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_metrics.h"

WR_GAUGE(uploads_known, "watchroom_files_uploads", NULL,
         "Uploads and files that the filestore has");

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

bool fs_upload_put(struct fs_store *s, struct fs_upload *u)
{
    if (!wr_map_put(&s->uploads, wr_slice_str(u->id), u))
        return false;
    wr_gauge_add(&uploads_known, 1);
    return true;
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

void fs_upload_forget(struct fs_upload *u)
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

struct fs_upload **fs_uploads_all(struct fs_store *s, size_t *n)
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

static void free_op(struct fs_op *op)
{
    free(op);
}

bool fs_upload_do(struct fs_upload *u, enum fs_op_kind kind, uint64_t offset)
{
    struct fs_op *op = calloc(1, sizeof *op);
    if (!op)
        return false;
    op->kind = kind;
    op->offset = offset;
    op->done = free_op;
    op->u = fs_upload_ref(u);
    fs_store_do(u->store, op);
    return true;
}

static void close_waiting(struct fs_upload *u)
{
    struct fs_list left;
    fs_list_init(&left);
    pthread_mutex_lock(&u->lock);
    fs_lanes_drop_writes(u, &left);
    fs_list_move(&left, &u->waiters);
    fs_list_move(&left, &u->alone);
    pthread_mutex_unlock(&u->lock);
    fs_list_finish(&left, WR_ERR_CLOSED, "the filestore ends");
}

void fs_uploads_free(struct fs_store *s)
{
    size_t at = 0;
    void *v;
    while (wr_map_next(&s->uploads, &at, NULL, &v)) {
        struct fs_upload *u = v;
        close_waiting(u);
        fs_room_leave(u);
        wr_gauge_add(&uploads_known, -1);
        fs_upload_unref(u);
    }
    wr_map_free(&s->uploads);
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
