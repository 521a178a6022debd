/* SPDX-License-Identifier: MIT
 *
 * The memory that upload bodies are read into: messages for the bus with room in front for a WriteRequest's head, used
 * again and again, so that the kernel does not have to clear a new page for every page of a file. Memory is bounded by how
 * many are in flight, for all uploads together: a message that goes to another process is copied there, and given back
 * here, long before it is answered. */
#ifndef WR_GATEWAY_FILES_BUFFERS_H
#define WR_GATEWAY_FILES_BUFFERS_H

#include "wr_msg.h"

#define BUFFER_BYTES (512u << 10)
#define BUFFER_HEAD \
    128u /* at most before the bytes: fields of WriteRequest, besides WR_MSG_HEADROOM */

struct buffers;

/* `shared`: so many may be in flight at once, of all uploads, besides each one's fair share. */
struct buffers *buffers_new(unsigned shared);
/* Freed once the last message is gone. NULL is fine. */
void buffers_free(struct buffers **b);
/* May somebody who has `own` in flight send another? Always below `fair`; above it while there is room in what is shared. */
bool buffers_may_send(struct buffers *b, unsigned own, unsigned fair);
void buffers_sent(struct buffers *b);
void buffers_answered(struct buffers *b);
/* A message of BUFFER_BYTES with room for a head in front, which begins at a page: a disk may take it as it lies in memory.
 * NULL when memory is out. */
struct wr_msg *buffers_take(struct buffers *b);

#endif
