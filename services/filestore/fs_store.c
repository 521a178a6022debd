/* SPDX-License-Identifier: MIT
 *
 * The filestore's uploads as a whole: opened with what the disk has, closed, and the door that gives each operation to
 * whom it concerns (fs_create.c, fs_read.c, fs_open.c, fs_lanes.c, fs_alone.c). */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs_priv.h"
#include "wr_id.h"
#include "wr_log.h"
#include "wr_plugins.h"

#define LANE_WORKERS 8u
#define READ_WORKERS 4u
#define CREATE_WORKERS FS_CREATORS
#define WORKERS (LANE_WORKERS + READ_WORKERS + CREATE_WORKERS)

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
        fs_op_end(op, op->code);
}

static void do_queued(struct fs_upload *u, struct fs_op *op)
{
    pthread_mutex_lock(&u->lock);
    bool asks = op->kind == FS_OP_OPEN || (op->kind == FS_OP_STAT && !op->release);
    if (asks && u->state == FS_COMPLETE && !u->alone.head) {
        pthread_mutex_unlock(&u->lock);
        fs_op_end(op, WR_OK); /* all of it is on disk */
        return;
    }
    if (asks) {
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
    op->fd = -1;
    if (op->kind == FS_OP_CREATE) {
        fs_create(s, op);
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
        fs_read(op->u, op);
        break;
    case FS_OP_OPEN:
        if (!fs_open(op->u, op))
            do_queued(op->u, op);
        break;
    default:
        do_queued(op->u, op);
    }
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
        fs_store_damaged(s);
        return;
    }
    if (u->state != FS_COMPLETE)
        fs_room_enter_old(u);
    if (!fs_upload_put(s, u)) {
        fs_room_leave(u);
        fs_upload_unref(u);
    }
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

static wr_err start_workers(struct fs_store *s)
{
    wr_err e = fs_pool_init(&s->lanes, LANE_WORKERS);
    if (e == WR_OK)
        e = fs_pool_init(&s->reads, READ_WORKERS);
    return e == WR_OK ? fs_pool_init(&s->creates, CREATE_WORKERS) : e;
}

wr_err fs_store_init(struct fs_store *s, const struct fs_store_opts *opts, struct wr_errmsg *err)
{
    *s = (struct fs_store){.opts = *opts};
    pthread_mutex_init(&s->lock, NULL);
    fs_room_init(&s->room);
    fs_creators_init(s);
    read_boot_id(s->boot_id);
    fs_failpoint_read();
    s->blob_state = wr_plugin_state(&opts->blob->base);
    wr_err e = s->blob_state ? opts->blob->open(s->blob_state,
                                                &(struct wr_blob_opts){.path = opts->path}, err)
                             : WR_ERR_BUSY;
    if (e != WR_OK)
        goto out;
    e = opts->blob->each(s->blob_state, load_one, s, err);
    if (e == WR_OK && (e = start_workers(s)) != WR_OK)
        wr_errmsg_set(
            err,
            "cannot start the filestore's %u threads: raise the limit of processes (ulimit -u)",
            WORKERS);
    if (e != WR_OK) {
        fs_store_fini(s);
        return e;
    }
    return WR_OK;
out:
    free(s->blob_state);
    s->blob_state = NULL;
    fs_room_fini(&s->room);
    pthread_mutex_destroy(&s->lock);
    return e;
}

void fs_store_fini(struct fs_store *s)
{
    if (!s->blob_state)
        return;
    /* Creations give work to the lanes. */
    struct fs_pool *pools[] = {&s->creates, &s->reads, &s->lanes};
    for (size_t i = 0; i < WR_ARRAY_LEN(pools); i++)
        if (pools[i]->num_threads)
            fs_pool_fini(pools[i]);
    fs_uploads_free(s);
    s->opts.blob->close(s->blob_state);
    free(s->blob_state);
    s->blob_state = NULL;
    fs_room_fini(&s->room);
    pthread_mutex_destroy(&s->lock);
}
