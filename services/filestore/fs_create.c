/* SPDX-License-Identifier: MIT
 *
 * Making an upload: what is asked is checked, there must be a place and room for it, and its record is on disk before it is
 * answered. Those that are asked for while the disk is busy are made together. */
#include <stdio.h>
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_buf.h"
#include "wr_clock.h"
#include "wr_log.h"
#include "wr_id.h"

#define REFUSED_LINE_US 1000000

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
    else if (!is_line(c->owner, FS_OWNER_ROOM - 1))
        wr_errmsg_set(&op->text, "owner: at most %u bytes of one line", FS_OWNER_ROOM - 1);
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
    snprintf(u->owner, sizeof u->owner, "%s", c->owner);
    u->created_ms = wr_wall_ms();
    u->touched_ms = wr_age_now_ms();
    u->state = FS_CREATING;
    if (u->filename && u->filetype && u->room && u->name && u->metadata)
        return u;
    fs_upload_unref(u);
    return NULL;
}

/* ---- a batch ---------------------------------------------------------------------------------------------------------- */

/* It is no upload: what it took is given back, and who asked for the same one hears the same. */
static void refuse(struct fs_op *op, wr_err e)
{
    struct fs_upload *u = op->u;
    struct fs_list rest;
    fs_list_init(&rest);
    fs_upload_forget(u);
    fs_room_leave(u);
    pthread_mutex_lock(&u->lock);
    u->state = FS_DELETED;
    fs_list_move(&rest, &u->alone);
    pthread_mutex_unlock(&u->lock);
    fs_list_finish(&rest, e, op->text.text);
    fs_op_end(op, e);
}

/* It is on disk. */
static void open_up(struct fs_op *op)
{
    struct fs_upload *u = op->u;
    bool is_late = op->deadline_us <= wr_mono_us();
    bool is_whole = u->length == 0 && !is_late;
    pthread_mutex_lock(&u->lock);
    u->state = FS_OPEN;
    if (is_whole)
        fs_list_add(&u->waiters, op); /* complete at once: the commit lane answers */
    fs_lanes_kick(u);
    pthread_mutex_unlock(&u->lock);
    if (is_whole)
        return;
    if (is_late) {
        wr_errmsg_set(&op->text, "the disk is behind: nobody waited for this upload any more");
        (void)fs_upload_do(u, FS_OP_DELETE, 0); /* without memory it expires */
    }
    fs_op_end(op, is_late ? WR_ERR_TIMEOUT : WR_OK);
}

/* Is it still wanted, and is there a place and room for it? Then it takes them. */
static wr_err admit(struct fs_op *op, struct wr_slice *record)
{
    struct fs_upload *u = op->u;
    if (op->deadline_us <= wr_mono_us()) {
        wr_errmsg_set(&op->text, "the disk is behind: nobody waits for this upload any more");
        return WR_ERR_TIMEOUT;
    }
    wr_err e = fs_store_may_write(u->store, &op->text);
    if (e == WR_OK)
        e = fs_room_enter(u, &op->text);
    if (e == WR_OK)
        e = fs_room_reserve(u, u->length, &op->text);
    return e == WR_OK ? fs_record_pack(u, 0, 0, record) : e;
}

static void put_all(struct fs_store *s, struct fs_op *const *ops, const struct wr_slice *records,
                    size_t num, wr_err *codes, struct wr_errmsg *err)
{
    const struct wr_blob_plugin *p = s->opts.blob;
    const char *ids[WR_BLOB_RECORDS_MAX];
    for (size_t i = 0; i < num; i++)
        ids[i] = ops[i]->u->id;
    if (WR_PLUGIN_HAS(p, put_all)) {
        p->put_all(s->blob_state, ids, records, num, codes, err);
        return;
    }
    for (size_t i = 0; i < num; i++)
        codes[i] = p->put(s->blob_state, ids[i], records[i], err);
}

/* A line a second: a storm of refusals is not one of lines. */
static void say_refused(struct fs_creator *c, size_t num, const char *why)
{
    int64_t now = wr_mono_us();
    c->refused += num;
    if (!num || now - c->said_us < REFUSED_LINE_US)
        return;
    wr_warn("files.create_refused", "uploads=%zu %s", c->refused, why);
    c->said_us = now;
    c->refused = 0;
}

static void create_all(struct fs_creator *c, struct fs_op **ops, size_t num)
{
    struct fs_store *s = c->store;
    struct wr_slice records[WR_BLOB_RECORDS_MAX];
    wr_err codes[WR_BLOB_RECORDS_MAX];
    struct wr_errmsg err = {{0}};
    size_t n = 0, refused = 0;
    for (size_t i = 0; i < num; i++) {
        wr_err e = admit(ops[i], &records[n]);
        if (e == WR_OK) {
            ops[n++] = ops[i];
            continue;
        }
        if (!refused++)
            err = ops[i]->text;
        refuse(ops[i], e);
    }
    say_refused(c, refused, err.text);
    err.text[0] = 0;
    if (n)
        put_all(s, ops, records, n, codes, &err);
    fs_failpoint("created");
    for (size_t i = 0; i < n; i++) {
        fs_record_free(&records[i]);
        if (codes[i] == WR_OK) {
            open_up(ops[i]);
            continue;
        }
        wr_warn("files.create_failed", "%s", err.text);
        ops[i]->text = err;
        refuse(ops[i], codes[i]);
    }
}

/* Takes all that were asked for while the batch before was under way. */
static void turn_create(struct fs_job *job)
{
    struct fs_creator *c = WR_CONTAINER_OF(job, struct fs_creator, job);
    struct fs_store *s = c->store;
    struct fs_op *ops[WR_BLOB_RECORDS_MAX], *op;
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    while (n < WR_BLOB_RECORDS_MAX && (op = fs_list_take(&s->creating)))
        ops[n++] = op;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_sub(&s->jobs, (unsigned)n);
    create_all(c, ops, n);
    pthread_mutex_lock(&s->lock);
    c->is_busy = s->creating.head != NULL;
    bool again = c->is_busy;
    pthread_mutex_unlock(&s->lock);
    if (again)
        fs_pool_add(&s->creates, &c->job);
}

void fs_creators_init(struct fs_store *s)
{
    fs_list_init(&s->creating);
    for (unsigned i = 0; i < FS_CREATORS; i++)
        s->creators[i] = (struct fs_creator){
            .job.run = turn_create, .store = s, .said_us = INT64_MIN / 2};
}

/* Under s->lock. */
static void enqueue(struct fs_store *s, struct fs_op *op)
{
    fs_list_add(&s->creating, op);
    for (unsigned i = 0; i < FS_CREATORS; i++) {
        struct fs_creator *c = &s->creators[i];
        if (c->is_busy)
            continue;
        c->is_busy = true;
        fs_pool_add(&s->creates, &c->job);
        return;
    }
}

/* ---- the door --------------------------------------------------------------------------------------------------------- */

void fs_create(struct fs_store *s, struct fs_op *op)
{
    if (!check_create(op)) {
        fs_op_end(op, WR_ERR_INVALID);
        return;
    }
    struct fs_upload *fresh = upload_from(s, op->create);
    bool full = atomic_load(&s->jobs) >= FS_JOBS_MAX;
    pthread_mutex_lock(&s->lock);
    struct fs_upload *u = wr_map_get(&s->uploads, wr_slice_str(op->create->id));
    bool made = !u && fresh && !full && fs_upload_put(s, fresh);
    if (made)
        u = fresh;
    if (u)
        op->u = fs_upload_ref(u);
    if (made) {
        atomic_fetch_add(&s->jobs, 1);
        enqueue(s, op);
    }
    pthread_mutex_unlock(&s->lock);
    if (made)
        return;
    if (fresh)
        fs_upload_unref(fresh);
    if (!u) {
        fs_op_finish(op, WR_ERR_BUSY, "the disk is behind with new uploads: try again in a moment");
    } else if (!is_same(u, op->create)) {
        fs_op_finish(op, WR_ERR_CONFLICT, "that id belongs to another upload");
    } else {
        pthread_mutex_lock(&u->lock); /* answered once the first one is through */
        fs_list_add(&u->alone, op);
        fs_lanes_kick(u);
        pthread_mutex_unlock(&u->lock);
    }
}
