/* SPDX-License-Identifier: MIT
 *
 * Is the store well? Looked at about once a second, since a folder may be removed, and a disk become full or read-only, while
 * nobody writes. What is found is said when it changes: in the log, and to whoever asks how the filestore is. */
#include <stdio.h>

#include "fs_priv.h"
#include "wr_log.h"

/* WR_OK with a sentence: reading and what is under way go on. */
static wr_err look(struct fs_store *s, struct wr_errmsg *why)
{
    const struct wr_blob_plugin *p = s->opts.blob;
    uint64_t space;
    why->text[0] = 0;
    wr_err e = WR_PLUGIN_HAS(p, look) ? p->look(s->blob_state, why) : WR_OK;
    if (e == WR_OK)
        e = p->space(s->blob_state, &space, why);
    if (e != WR_OK)
        return e;
    why->text[0] = 0;
    unsigned damaged = atomic_load(&s->damaged);
    if (space < s->opts.min_free_bytes || space == 0)
        wr_errmsg_set(why,
                      "the disk of the files folder has %llu MB left, and %llu MB are kept free "
                      "(filestore.min_free_bytes): make room there",
                      (unsigned long long)(space >> 20),
                      (unsigned long long)(s->opts.min_free_bytes >> 20));
    else if (damaged)
        wr_errmsg_set(why,
                      "%u files or uploads are damaged or lost (files.record_damaged, files.lost "
                      "and files.shorter_than_told in the log name them): put them back from a "
                      "backup and start anew",
                      damaged);
    return WR_OK;
}

void fs_store_look(struct fs_store *s)
{
    struct wr_errmsg why;
    bool refuses = look(s, &why) != WR_OK;
    pthread_mutex_lock(&s->lock);
    bool changed = strcmp(s->unwell.text, why.text) != 0;
    bool was_well = !s->unwell.text[0];
    s->unwell = why;
    s->refuses = refuses;
    pthread_mutex_unlock(&s->lock);
    if (!changed)
        return;
    if (!why.text[0])
        wr_info("files.well", "the store is well again");
    else if (was_well || refuses)
        wr_error("files.unwell", "%s%s", why.text, refuses ? "; nothing is taken until then" : "");
    if (s->opts.well)
        s->opts.well(s->opts.ctx, why.text);
}

wr_err fs_store_may_write(struct fs_store *s, struct wr_errmsg *why)
{
    pthread_mutex_lock(&s->lock);
    bool refuses = s->refuses;
    if (refuses)
        *why = s->unwell;
    pthread_mutex_unlock(&s->lock);
    return refuses ? WR_ERR_UNAVAILABLE : WR_OK;
}

void fs_store_damaged(struct fs_store *s)
{
    atomic_fetch_add(&s->damaged, 1);
}
