/* SPDX-License-Identifier: MIT
 *
 * Plugin kind `blob`: the filestore's bytes at rest. It keeps two things under an id: a blob (the bytes of an upload, that
 * grow at the end) and a record (a small document, replaced as a whole). What they mean is the filestore's business.
 *
 * Ids are 1 to 64 characters of [a-z0-9]; a plugin refuses others (INVALID) and may use them in paths as they are.
 *
 * Threads. Slots are called from the filestore's worker threads and may block. Different ids' slots run at the same time.
 * On one open blob at most one write runs at a time; sync, flush and read may run beside it. */
#ifndef WR_PLUGIN_WR_BLOB_H
#define WR_PLUGIN_WR_BLOB_H

#include "wr_err.h"
#include "wr_plugin.h"

#define WR_BLOB_ID_MAX 64
#define WR_BLOB_RECORD_MAX 65536u /* bytes */
#define WR_BLOB_PARTS_MAX 16u     /* of one write */
#define WR_BLOB_RECORDS_MAX 64u   /* of one put_all */

struct wr_blob_opts {
    const char *path; /* a folder of the filestore's own; the plugin makes it when it is missing */
};

/* An open blob. The plugin's own; its struct is private. */
struct wr_blob;

enum wr_blob_mode { WR_BLOB_READ = 1, WR_BLOB_WRITE = 2 /* also reads */ };

/* size is the blob's in bytes, 0 when there is a record and no blob. Slices are valid during the callback. */
typedef void (*wr_blob_record_fn)(void *ctx, struct wr_slice id, struct wr_slice record,
                                  uint64_t size);

struct wr_blob_plugin {
    struct wr_plugin base;
    /* Takes the folder for itself. Errors with text: CONFLICT (another instance has it; say what to use instead), DENIED
     * (not writable), NO_SPACE, INTERNAL. Required. */
    wr_err (*open)(void *state, const struct wr_blob_opts *opts, struct wr_errmsg *err);
    void (*close)(void *state); /* All blobs are closed by then. Required. */

    /* Replaces the record of an id as a whole: after a crash there is the old or the new one, never a part. On WR_OK it is
     * on disk. NO_SPACE leaves the old one. Required. */
    wr_err (*put)(void *state, const char *id, struct wr_slice record, struct wr_errmsg *err);
    /* Calls fn for every record; drops what is left of blobs without one. Called once, after open. Required. */
    wr_err (*each)(void *state, wr_blob_record_fn fn, void *ctx, struct wr_errmsg *err);
    /* Drops record and blob, for good when it returns WR_OK. WR_OK also when there is nothing. Required. */
    wr_err (*remove)(void *state, const char *id, struct wr_errmsg *err);

    /* Opens the blob of an id. WRITE makes an empty one when there is none; its name need not be on disk before the next
     * sync or put. READ answers NOT_FOUND. Required. */
    wr_err (*blob_open)(void *state, const char *id, enum wr_blob_mode mode, struct wr_blob **out,
                        struct wr_errmsg *err);
    void (*blob_close)(void *state,
                       struct wr_blob *blob); /* Says nothing of durability. Required. */
    /* Writes `num` parts (1 to WR_BLOB_PARTS_MAX, none empty) one behind the other at offset, which is at most the blob's
     * size. *written says how many bytes were, also on an error (NO_SPACE). A fast client's parts begin at whole pages, in
     * memory and in the blob. Required. */
    wr_err (*write)(void *state, struct wr_blob *blob, uint64_t offset,
                    const struct wr_slice *parts, size_t num, size_t *written,
                    struct wr_errmsg *err);
    /* Everything written before the call is on disk when it returns WR_OK. After an error the bytes since the last good
     * sync are lost: do not sync again, drop the blob. Required. */
    wr_err (*sync)(void *state, struct wr_blob *blob, struct wr_errmsg *err);
    /* Reads up to n bytes at offset; *got is 0 at the end. Required. */
    wr_err (*read)(void *state, struct wr_blob *blob, uint64_t offset, void *to, size_t n,
                   size_t *got, struct wr_errmsg *err);
    /* Cuts the blob to size bytes (never grows it). Required. */
    wr_err (*cut)(void *state, struct wr_blob *blob, uint64_t size, struct wr_errmsg *err);
    /* Bytes that may still be stored; UINT64_MAX when there is no such limit. Required. */
    wr_err (*space)(void *state, uint64_t *bytes, struct wr_errmsg *err);
    /* Begins to move [offset, offset + n) to the disk so that the next sync is short. No promise. Optional. */
    void (*flush)(void *state, struct wr_blob *blob, uint64_t offset, uint64_t n);
    /* A descriptor of a regular file whose first byte is the blob's: open for reading alone, close-on-exec, the caller's. It
     * reads the blob's bytes for as long as it is open, also when the blob is removed meanwhile: a gateway sends a file from
     * it without a copy. NOT_FOUND as for blob_open. Optional: for plugins that have such files. */
    wr_err (*fd)(void *state, const char *id, int *out, struct wr_errmsg *err);
    /* As put, for the records of `num` different ids (1 to WR_BLOB_RECORDS_MAX), which share what syncs they can. codes[i]
     * says what became of records[i]; err has the sentence of one that failed. Optional: put is called for each. */
    void (*put_all)(void *state, const char *const *ids, const struct wr_slice *records, size_t num,
                    wr_err *codes, struct wr_errmsg *err);
    /* Is what was stored where it was, and can more be? Called about once a second. UNAVAILABLE with a sentence for the
     * operator when not: the folder was removed or moved, the disk became read-only. Optional. */
    wr_err (*look)(void *state, struct wr_errmsg *err);
};

#endif
