/* SPDX-License-Identifier: MIT
 *
 * The memory that upload bodies are received into: messages for the bus with room in front for a WriteRequest's head.
 *
 * A client that trickles collects in a small one of its own. Large ones are for those who send as fast as they can: there
 * are LARGE_MAX, for all uploads together, counted from when one is lent until its write was answered, and they are used
 * again and again, so that the kernel does not have to clear a new page for every page of a file. Who finds none waits in
 * line, and whoever has been filling his for the longest time is pressed to send it off as it is: nobody can hold one by
 * sending slowly. */
#ifndef WR_GATEWAY_FILES_BUFFERS_H
#define WR_GATEWAY_FILES_BUFFERS_H

#include "wr_msg.h"

#define LARGE_BYTES (512u << 10)
#define LARGE_MAX 32u
#define SMALL_BYTES (4u << 10)
#define BUFFER_HEAD \
    128u /* at most before the bytes: fields of WriteRequest, besides WR_MSG_HEADROOM */

struct buffers;

/* Somebody who fills large buffers, one after the other. Zeroed, but for the functions, before its first use; of one thread,
 * as the functions below that take it. */
struct buffers_user {
    /* Called on any thread, under the pool's lock: they tell their own thread, and do nothing else. ready: the one that was
     * waited for is there, take it. press: send off what is being filled, however little it is. */
    void (*ready)(struct buffers_user *u);
    void (*press)(struct buffers_user *u);
    /* private, guarded by the pool's lock: */
    struct buffers_user *next, **at;
    enum { BUFFERS_IDLE, BUFFERS_WAITS, BUFFERS_HAS, BUFFERS_FILLS } state;
    bool is_pressed;
};

struct buffers *buffers_new(void);
/* Freed once the last message is gone. NULL is fine. */
void buffers_free(struct buffers **b);

/* n bytes of the caller's own, in no account. NULL when memory is out. */
struct wr_msg *buffers_small(size_t n);
/* One of LARGE_BYTES, which begins at a page: a disk may take it as it lies in memory. NULL: there is none now and u waits
 * in line for it (u->ready), or, when is_waiting is false then, memory is out. */
struct wr_msg *buffers_large(struct buffers *b, struct buffers_user *u, bool *is_waiting);
/* The one that u fills goes to the filestore: buffers_done when that was answered. */
void buffers_sent(struct buffers *b, struct buffers_user *u);
void buffers_done(struct buffers *b);
/* u fills and waits for nothing any more; its message is dropped by the caller. No function of u is called after it. */
void buffers_leave(struct buffers *b, struct buffers_user *u);

#endif
