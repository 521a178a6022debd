/* SPDX-License-Identifier: MIT
 *
 * Opening a complete upload for somebody on this machine: its descriptor, when the blob plugin has files. A worker does
 * it, since a disk may be slow to open, too. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_log.h"

static void run_open(struct fs_job *job)
{
    struct fs_op *op = WR_CONTAINER_OF(job, struct fs_op, job);
    struct fs_upload *u = op->u;
    struct fs_store *s = u->store;
    struct stat st;
    int fd;
    atomic_fetch_sub(&s->jobs, 1);
    if (op->deadline_us <= wr_mono_us()) {
        fs_op_finish(op, WR_ERR_TIMEOUT, "the disk is behind: nobody waits for this any more");
        return;
    }
    wr_err e = s->opts.blob->fd(s->blob_state, u->id, &fd, &op->text);
    if (e == WR_ERR_NOT_FOUND) { /* its record says that it is there */
        wr_error("files.lost", "id=%s %s", u->id, op->text.text);
        fs_store_damaged(s);
        e = WR_ERR_INTERNAL;
    }
    if (e == WR_OK && (fstat(fd, &st) < 0 || (uint64_t)st.st_size < u->length)) {
        wr_error("files.shorter_than_told", "id=%s length=%llu end=%llu", u->id,
                 (unsigned long long)u->length, (unsigned long long)st.st_size);
        wr_errmsg_set(&op->text, "the file has lost bytes on the disk");
        close(fd);
        e = WR_ERR_INTERNAL;
    }
    if (e == WR_OK) {
        op->fd = fd;
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* goes with the descriptor */
    }
    fs_op_end(op, e);
}

bool fs_open(struct fs_upload *u, struct fs_op *op)
{
    struct fs_store *s = u->store;
    pthread_mutex_lock(&u->lock);
    bool complete = u->state == FS_COMPLETE && !u->alone.head;
    pthread_mutex_unlock(&u->lock);
    if (!complete || u->length == 0 || !WR_PLUGIN_HAS(s->opts.blob, fd) ||
        atomic_load(&s->jobs) >= FS_JOBS_MAX)
        return false;
    atomic_fetch_add(&s->jobs, 1);
    op->job.run = run_open;
    fs_pool_add(&s->reads, &op->job);
    return true;
}
