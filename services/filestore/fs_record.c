/* SPDX-License-Identifier: MIT
 *
 * An upload's state at rest: eight bytes that name the format, the first eight bytes of the SHA-256 of what follows, then
 * an UploadRecord. It is replaced as a whole, so a wrong sum means a damaged disk, never a crash in between. */
#include <stdio.h>
#include <stdlib.h>

#include "fs_priv.h"
#include "wr_clock.h"
#include "wr_log.h"

#define MAGIC "WRfile1\n"
#define HEAD 16u

static bool sum(const uint8_t *p, size_t n, uint8_t out[8])
{
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned len;
    if (!EVP_Digest(p, n, md, &len, EVP_sha256(), NULL))
        return false;
    memcpy(out, md, 8);
    return true;
}

wr_err fs_record_pack(struct fs_upload *u, uint64_t durable, int64_t completed_ms,
                      struct wr_slice *out)
{
    Watchroom__V1__Upload up = WATCHROOM__V1__UPLOAD__INIT;
    Watchroom__V1__UploadRecord rec = WATCHROOM__V1__UPLOAD_RECORD__INIT;
    uint8_t sha[32];
    fs_upload_tell(u, &up, sha);
    pthread_mutex_lock(&u->lock);
    up.offset = durable;
    if (completed_ms) {
        up.complete = true;
        up.completed_ms = completed_ms;
        memcpy(sha, u->sha256, sizeof sha);
        up.sha256 = (ProtobufCBinaryData){sizeof sha, sha};
    }
    rec.touched_ms = u->touched_ms;
    rec.announced = u->announced;
    rec.failed = u->state == FS_FAILED;
    if (!up.complete)
        rec.owner = u->owner; /* no longer than it matters */
    pthread_mutex_unlock(&u->lock);
    rec.upload = &up;
    rec.boot_id = u->store->boot_id;

    size_t n = watchroom__v1__upload_record__get_packed_size(&rec);
    uint8_t *buf = malloc(HEAD + n);
    if (!buf)
        return WR_ERR_BUSY;
    memcpy(buf, MAGIC, 8);
    watchroom__v1__upload_record__pack(&rec, buf + HEAD);
    if (!sum(buf + HEAD, n, buf + 8)) {
        free(buf);
        return WR_ERR_INTERNAL;
    }
    *out = wr_slice_of(buf, HEAD + n);
    return WR_OK;
}

void fs_record_free(struct wr_slice *packed)
{
    free((void *)(uintptr_t)packed->p);
    *packed = (struct wr_slice){0};
}

wr_err fs_record_put(struct fs_upload *u, uint64_t durable, int64_t completed_ms,
                     struct wr_errmsg *err)
{
    struct wr_slice packed = {0};
    wr_err e = fs_record_pack(u, durable, completed_ms, &packed);
    if (e == WR_OK)
        e = u->store->opts.blob->put(u->store->blob_state, u->id, packed, err);
    fs_record_free(&packed);
    return e;
}

/* Bytes past the offset that was told are whole only when the kernel that took them still runs: then no write was lost. */
static void settle_size(struct fs_upload *u, uint64_t told, uint64_t size, bool same_boot)
{
    u->durable = u->written = told;
    if (size < told) {
        wr_error("files.shorter_than_told",
                 "id=%s told=%llu found=%llu: bytes that were acknowledged are gone; the disk "
                 "or somebody else lost them",
                 u->id, (unsigned long long)told, (unsigned long long)size);
        fs_store_damaged(u->store);
        u->durable = u->written = size;
        if (u->state == FS_COMPLETE)
            u->state = FS_FAILED;
    } else if (size > told && u->state == FS_OPEN) {
        if (same_boot)
            u->written = WR_MIN(size, u->length);
        u->must_cut = size > u->written;
    }
    u->queued_end = u->flushed = u->written;
}

struct fs_upload *fs_record_load(struct fs_store *s, struct wr_slice id, struct wr_slice record,
                                 uint64_t size, struct wr_errmsg *err)
{
    uint8_t check[8];
    Watchroom__V1__UploadRecord *rec = NULL;
    struct fs_upload *u = NULL;
    if (record.n <= HEAD || memcmp(record.p, MAGIC, 8) != 0) {
        wr_errmsg_set(err, "not a record of this version");
        return NULL;
    }
    if (!sum(record.p + HEAD, record.n - HEAD, check) || memcmp(check, record.p + 8, 8) != 0) {
        wr_errmsg_set(err, "its checksum is wrong: the disk is damaged");
        return NULL;
    }
    rec = watchroom__v1__upload_record__unpack(NULL, record.n - HEAD, record.p + HEAD);
    if (!rec || !rec->upload || !wr_slice_is(id, rec->upload->id)) {
        wr_errmsg_set(err, "it does not say what it should");
        goto out;
    }
    Watchroom__V1__Upload *up = rec->upload;
    if (!(u = fs_upload_new(s, up->id)))
        goto out;
    u->length = up->length;
    u->filename = strdup(up->filename);
    u->filetype = strdup(up->filetype);
    u->room = strdup(up->room);
    u->name = strdup(up->name);
    u->metadata = strdup(up->metadata);
    snprintf(u->owner, sizeof u->owner, "%s", rec->owner);
    u->created_ms = up->created_ms;
    u->completed_ms = up->completed_ms;
    u->touched_ms = rec->touched_ms;
    u->announced = rec->announced;
    u->state = rec->failed ? FS_FAILED : up->complete ? FS_COMPLETE : FS_OPEN;
    if (u->state == FS_COMPLETE && up->sha256.len == sizeof u->sha256)
        memcpy(u->sha256, up->sha256.data, sizeof u->sha256);
    settle_size(u, WR_MIN(up->offset, up->length), size, !strcmp(rec->boot_id, s->boot_id));
    if (!u->filename || !u->filetype || !u->room || !u->name || !u->metadata) {
        wr_errmsg_set(err, "no memory");
        fs_upload_unref(u);
        u = NULL;
    }
out:
    if (rec)
        watchroom__v1__upload_record__free_unpacked(rec, NULL);
    return u;
}
