/* SPDX-License-Identifier: MIT
 *
 * What a filestore does for its uploads now and then: expires them, closes what rests, drops writes whose hole stayed;
 * and at its start: announces what no room knows yet. */
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_clock.h"

#define REST_US 30000000 /* a blob that nobody uses is closed after it */

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
        (void)fs_upload_do(u, FS_OP_EXPIRE, (uint64_t)touched);
    else if (rest)
        (void)fs_upload_do(u, FS_OP_REST, 0);
}

void fs_store_tick(struct fs_store *s, int64_t now_ms)
{
    size_t n;
    struct fs_upload **all = fs_uploads_all(s, &n);
    for (size_t i = 0; i < n; i++) {
        look_after(all[i], now_ms);
        fs_upload_unref(all[i]);
    }
    free(all);
}

void fs_store_announce_all(struct fs_store *s)
{
    size_t n;
    struct fs_upload **all = fs_uploads_all(s, &n);
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
