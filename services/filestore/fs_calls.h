/* SPDX-License-Identifier: MIT
 *
 * Calls of watchroom.v1.Files, as operations of the store. */
#ifndef WR_FS_CALLS_H
#define WR_FS_CALLS_H

#include "fs_priv.h"
#include "wr_bus.h"

/* A wr_bus_handler_fn; ctx is the struct fs_store. Never blocks on the disk. */
void fs_calls_handle(void *ctx, struct wr_call *call);

/* A WriteRequest without a copy of its data. False when it is malformed. */
struct fs_write_fields {
    struct wr_slice id, data;
    uint64_t fence, offset;
    bool sync;
};
WR_MUST_USE bool fs_calls_parse_write(struct wr_slice body, struct fs_write_fields *out);

#endif
