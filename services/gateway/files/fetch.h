/* SPDX-License-Identifier: MIT
 *
 * Collects open files that a filestore in another process of this machine left for us (Files/Open; lib/base/wr_fd.h). One
 * thread, which waits for no longer than a second for a filestore, and after that leaves it alone for a while: a file comes
 * all the same, in pieces. */
#ifndef WR_GATEWAY_FILES_FETCH_H
#define WR_GATEWAY_FILES_FETCH_H

#include "wr_err.h"

#define FETCH_MAX 512u /* that wait */

struct fetch;
/* fd is the callee's; -1: it did not come. On the fetching thread: must not block. */
typedef void (*fetch_fn)(void *ctx, int fd);

/* The thread begins with the first file. NULL when memory is out. */
struct fetch *fetch_new(void);
/* where and ticket: of OpenResponse. False: not taken (too many wait, it ends, no thread): fn does not run. Else it runs
 * exactly once. Any thread. */
WR_MUST_USE bool fetch_file(struct fetch *f, const char *where, struct wr_slice ticket, fetch_fn fn,
                            void *ctx);
/* Takes no more and waits until the thread has told all. May be called twice. */
void fetch_end(struct fetch *f);
/* After fetch_end. NULL is fine. */
void fetch_free(struct fetch **f);

#endif
