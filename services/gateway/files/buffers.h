/* SPDX-License-Identifier: MIT
 *
 * The memory that upload bodies are read into: messages for the bus with room in front for a WriteRequest's head, used
 * again and again, so that the kernel does not have to clear a new page for every page of a file. Bounded by the number
 * of uploads times their fair share. */
#ifndef WR_GATEWAY_FILES_BUFFERS_H
#define WR_GATEWAY_FILES_BUFFERS_H

#include "wr_msg.h"

#define BUFFER_BYTES (256u << 10)
#define BUFFER_HEAD \
    128u /* at most before the bytes: fields of WriteRequest, besides WR_MSG_HEADROOM */

struct buffers;

struct buffers *buffers_new(unsigned max);
/* Freed once the last message is gone. NULL is fine. */
void buffers_free(struct buffers **b);
/* May somebody who has `own` in use take another? Always below `fair`; above it while less than half of all are in use. */
bool buffers_may_take(struct buffers *b, unsigned own, unsigned fair);
/* A message of BUFFER_BYTES with room for a head in front, which begins at a page: a disk may take it as it lies in memory.
 * NULL when memory is out. */
struct wr_msg *buffers_take(struct buffers *b);

#endif
