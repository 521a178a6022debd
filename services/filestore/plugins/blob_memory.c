/* SPDX-License-Identifier: MIT
 *
 * Blob plugin `memory`: everything is gone at close. For tests and for demonstrations that must leave nothing behind. */
#include <pthread.h>
#include <stdlib.h>

#include "wr_blob.h"
#include "wr_buf.h"
#include "wr_map.h"

struct entry {
    struct wr_buf record;
    struct wr_buf bytes;
    bool has_record, has_blob;
};
struct memory {
    pthread_mutex_t lock; /* guards everything below */
    struct wr_map entries;
};
struct wr_blob {
    char id[WR_BLOB_ID_MAX + 1];
};

static wr_err check_id(const char *id, struct wr_errmsg *err)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");
    if (n > 0 && n <= WR_BLOB_ID_MAX && id[n] == 0)
        return WR_OK;
    wr_errmsg_set(err, "not an id of 1 to 64 characters a-z, 0-9");
    return WR_ERR_INVALID;
}

static struct entry *entry_of(struct memory *m, const char *id, bool make)
{
    struct entry *e = wr_map_get(&m->entries, wr_slice_str(id));
    if (e || !make)
        return e;
    e = calloc(1, sizeof *e);
    if (e && !wr_map_put(&m->entries, wr_slice_str(id), e)) {
        free(e);
        e = NULL;
    }
    return e;
}

static void entry_free(struct entry *e)
{
    wr_buf_free(&e->record);
    wr_buf_free(&e->bytes);
    free(e);
}

static wr_err memory_open(void *state, const struct wr_blob_opts *opts, struct wr_errmsg *err)
{
    (void)opts;
    (void)err;
    pthread_mutex_init(&((struct memory *)state)->lock, NULL);
    return WR_OK;
}

static void memory_close(void *state)
{
    struct memory *m = state;
    size_t at = 0;
    void *e;
    while (wr_map_next(&m->entries, &at, NULL, &e))
        entry_free(e);
    wr_map_free(&m->entries);
    pthread_mutex_destroy(&m->lock);
}

static wr_err memory_put(void *state, const char *id, struct wr_slice record, struct wr_errmsg *err)
{
    struct memory *m = state;
    wr_err code = check_id(id, err);
    if (code != WR_OK)
        return code;
    if (record.n > WR_BLOB_RECORD_MAX)
        return WR_ERR_TOO_BIG;
    pthread_mutex_lock(&m->lock);
    struct entry *e = entry_of(m, id, true);
    if (e) {
        wr_buf_clear(&e->record);
        wr_buf_slice(&e->record, record);
        e->has_record = !e->record.failed;
    }
    code = e && !e->record.failed ? WR_OK : WR_ERR_NO_SPACE;
    pthread_mutex_unlock(&m->lock);
    return code;
}

static wr_err memory_each(void *state, wr_blob_record_fn fn, void *ctx, struct wr_errmsg *err)
{
    (void)err;
    struct memory *m = state;
    size_t at = 0;
    struct wr_slice id;
    void *v;
    while (wr_map_next(&m->entries, &at, &id, &v)) {
        struct entry *e = v;
        if (e->has_record) {
            fn(ctx, id, wr_slice_of(e->record.p, e->record.n), e->bytes.n);
        } else {
            (void)wr_map_del(&m->entries, id);
            entry_free(e);
        }
    }
    return WR_OK;
}

static wr_err memory_remove(void *state, const char *id, struct wr_errmsg *err)
{
    struct memory *m = state;
    wr_err code = check_id(id, err);
    if (code != WR_OK)
        return code;
    pthread_mutex_lock(&m->lock);
    struct entry *e = wr_map_del(&m->entries, wr_slice_str(id));
    if (e)
        entry_free(e);
    pthread_mutex_unlock(&m->lock);
    return WR_OK;
}

static wr_err memory_blob_open(void *state, const char *id, enum wr_blob_mode mode,
                               struct wr_blob **out, struct wr_errmsg *err)
{
    struct memory *m = state;
    wr_err code = check_id(id, err);
    if (code != WR_OK)
        return code;
    struct wr_blob *b = calloc(1, sizeof *b);
    if (!b)
        return WR_ERR_BUSY;
    pthread_mutex_lock(&m->lock);
    struct entry *e = entry_of(m, id, mode == WR_BLOB_WRITE);
    if (e && mode == WR_BLOB_WRITE)
        e->has_blob = true;
    bool found = e && e->has_blob;
    pthread_mutex_unlock(&m->lock);
    if (!found) {
        free(b);
        wr_errmsg_set(err, "no blob of that id");
        return WR_ERR_NOT_FOUND;
    }
    memcpy(b->id, id, strlen(id) + 1);
    *out = b;
    return WR_OK;
}

static void memory_blob_close(void *state, struct wr_blob *b)
{
    (void)state;
    free(b);
}

/* Under the lock: the bytes at offset and, behind what is there, more. */
static wr_err put_part(struct entry *e, size_t offset, struct wr_slice part, size_t *written)
{
    size_t over = WR_MIN(part.n, e->bytes.n - offset);
    if (over)
        memcpy(e->bytes.p + offset, part.p, over);
    wr_buf_add(&e->bytes, part.p + over, part.n - over);
    bool failed = e->bytes.failed;
    e->bytes.failed = false;
    *written += failed ? over : part.n;
    return failed ? WR_ERR_NO_SPACE : WR_OK;
}

static wr_err memory_write(void *state, struct wr_blob *b, uint64_t offset,
                           const struct wr_slice *parts, size_t num, size_t *written,
                           struct wr_errmsg *err)
{
    struct memory *m = state;
    wr_err code = WR_OK;
    *written = 0;
    pthread_mutex_lock(&m->lock);
    struct entry *e = entry_of(m, b->id, false);
    if (!e || offset > e->bytes.n) {
        wr_errmsg_set(err, e ? "a hole before the data" : "the blob was removed");
        code = e ? WR_ERR_INVALID : WR_ERR_NOT_FOUND;
    }
    for (size_t i = 0; i < num && code == WR_OK; i++)
        code = put_part(e, (size_t)offset + *written, parts[i], written);
    pthread_mutex_unlock(&m->lock);
    return code;
}

static wr_err memory_sync(void *state, struct wr_blob *b, struct wr_errmsg *err)
{
    (void)state;
    (void)b;
    (void)err;
    return WR_OK;
}

static wr_err memory_read(void *state, struct wr_blob *b, uint64_t offset, void *to, size_t n,
                          size_t *got, struct wr_errmsg *err)
{
    (void)err;
    struct memory *m = state;
    *got = 0;
    pthread_mutex_lock(&m->lock);
    struct entry *e = entry_of(m, b->id, false);
    if (e && offset < e->bytes.n) {
        *got = WR_MIN(n, e->bytes.n - (size_t)offset);
        memcpy(to, e->bytes.p + offset, *got);
    }
    pthread_mutex_unlock(&m->lock);
    return WR_OK;
}

static wr_err memory_cut(void *state, struct wr_blob *b, uint64_t size, struct wr_errmsg *err)
{
    (void)err;
    struct memory *m = state;
    pthread_mutex_lock(&m->lock);
    struct entry *e = entry_of(m, b->id, false);
    if (e && e->bytes.n > size)
        e->bytes.n = (size_t)size;
    pthread_mutex_unlock(&m->lock);
    return WR_OK;
}

static wr_err memory_space(void *state, uint64_t *bytes, struct wr_errmsg *err)
{
    (void)state;
    (void)err;
    *bytes = UINT64_MAX;
    return WR_OK;
}

WR_PLUGIN_EXPORT const struct wr_blob_plugin wr_plugin_table = {
    .base = WR_PLUGIN_BASE_STATE(struct wr_blob_plugin, struct memory, WR_KIND_BLOB, "memory",
                                 WR_VERSION, "Uploads in memory, gone at the end"),
    .open = memory_open,
    .close = memory_close,
    .put = memory_put,
    .each = memory_each,
    .remove = memory_remove,
    .blob_open = memory_blob_open,
    .blob_close = memory_blob_close,
    .write = memory_write,
    .sync = memory_sync,
    .read = memory_read,
    .cut = memory_cut,
    .space = memory_space,
};
