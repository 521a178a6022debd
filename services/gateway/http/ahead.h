/* SPDX-License-Identifier: MIT
 *
 * Reading files into the page cache beside the plane: sendfile of bytes that lie on a disk waits for the disk, and with it
 * would wait everybody of that plane thread. A few threads wait instead. */
#ifndef WR_GATEWAY_HTTP_AHEAD_H
#define WR_GATEWAY_HTTP_AHEAD_H

#include "wr_err.h"

#define HTTP__AHEAD_BYTES (1u << 20) /* of one reading */

struct http__ahead;

/* Threads begin with the first file that needs them. NULL: no memory, no descriptor. */
struct http__ahead *http__ahead_new(void);
/* Takes no more, waits for what is being read, and tells what is queued at once. May be called twice. */
void http__ahead_end(struct http__ahead *a);
/* The same, and frees. NULL is fine. */
void http__ahead_free(struct http__ahead **a);

/* The n (at least 1) bytes at offset are in memory, or nothing is known of it: sending them does not wait for a disk, as far
 * as can be told. Does not wait itself. Any thread. */
bool http__ahead_is_here(int fd, uint64_t offset, size_t n);
/* Reads n bytes at offset into memory. Then runs done(ctx) on a thread of its own,
 * exactly once, also when they cannot be read: sending will tell. fd stays the caller's and may be closed meanwhile. False:
 * no memory, no thread, no descriptor: done does not run. Any thread. */
WR_MUST_USE bool http__ahead_read(struct http__ahead *a, int fd, uint64_t offset, size_t n,
                                  void (*done)(void *ctx), void *ctx);

#endif
