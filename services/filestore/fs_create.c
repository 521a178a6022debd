/* SPDX-License-Identifier: MIT
 *
 * Making an upload: what is asked is checked, the disk must have room for it, and its record is on disk before it is
 * answered. */
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_id.h"

static bool is_id(const char *id)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n >= 16 && n <= FS_ID_MAX && id[n] == 0;
}

static bool is_text(const char *s, size_t max)
{
    return strlen(s) <= max && wr_utf8_valid(s, strlen(s));
}

/* One line: what of it a gateway says in a head stays in its own line. */
static bool is_line(const char *s, size_t max)
{
    if (!is_text(s, max))
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

/* "" or type/subtype (RFC 9110, 8.3.1), without parameters. */
static bool is_media_type(const char *s)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$%&'*+-.^_`|~";
    size_t type = strspn(s, token);
    if (!*s)
        return true;
    if (!type || s[type] != '/')
        return false;
    size_t sub = strspn(s + type + 1, token);
    return sub && !s[type + 1 + sub] && type + 1 + sub <= FS_TEXT_MAX;
}

static bool check_create(struct fs_op *op)
{
    const Watchroom__V1__CreateRequest *c = op->create;
    if (!is_id(c->id))
        wr_errmsg_set(&op->text, "id: 16 to %u characters a-z, 0-9", FS_ID_MAX);
    else if (c->length > INT64_MAX)
        wr_errmsg_set(&op->text, "length: at most 2^63 - 1");
    else if (!is_line(c->filename, FS_TEXT_MAX) || !is_line(c->name, FS_TEXT_MAX) ||
             !is_line(c->metadata, FS_METADATA_MAX))
        wr_errmsg_set(&op->text, "filename, name or metadata: too long, not UTF-8, or with control "
                                 "characters");
    else if (!is_media_type(c->filetype))
        wr_errmsg_set(&op->text, "filetype: type/subtype without parameters, or empty");
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
    u->created_ms = wr_wall_ms();
    u->touched_ms = wr_age_now_ms();
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
    wr_err e = WR_ERR_TIMEOUT;
    if (op->deadline_us <= wr_mono_us())
        wr_errmsg_set(&op->text, "the disk is behind: nobody waits for this upload any more");
    else
        e = room_for(u, &op->text);
    if (e == WR_OK)
        e = fs_record_put(u, 0, 0, &op->text);
    fs_failpoint("created");
    struct fs_list rest;
    fs_list_init(&rest);
    if (e != WR_OK) {
        wr_warn("files.create_failed", "%s", op->text.text);
        fs_upload_forget(u);
        atomic_fetch_sub(&s->unfinished, 1);
        pthread_mutex_lock(&u->lock);
        u->state = FS_DELETED;
        fs_list_move(&rest, &u->alone);
        pthread_mutex_unlock(&u->lock);
        fs_list_finish(&rest, e, op->text.text);
        fs_op_end(op, e);
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
        fs_op_end(op, WR_OK);
}

void fs_create(struct fs_store *s, struct fs_op *op)
{
    if (!check_create(op)) {
        fs_op_end(op, WR_ERR_INVALID);
        return;
    }
    struct fs_upload *fresh = upload_from(s, op->create);
    bool full = atomic_load(&s->unfinished) >= FS_UNFINISHED_MAX ||
                atomic_load(&s->jobs) >= FS_JOBS_MAX;
    pthread_mutex_lock(&s->lock);
    struct fs_upload *u = wr_map_get(&s->uploads, wr_slice_str(op->create->id));
    bool made = !u && fresh && !full && fs_upload_put(s, fresh);
    if (made)
        u = fresh;
    if (u)
        op->u = fs_upload_ref(u);
    pthread_mutex_unlock(&s->lock);
    if (made) {
        atomic_fetch_add(&s->unfinished, 1);
        atomic_fetch_add(&s->jobs, 1);
        op->job.run = run_create;
        fs_pool_add(&s->creates, &op->job);
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
