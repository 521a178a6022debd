/* SPDX-License-Identifier: MIT
 *
 * The unix socket at which processes of this machine collect descriptors that Files/Open left for them (wr_fd.h): one that
 * sends a ticket gets the descriptor. Only this user's processes are heard, and few at a time. */
#ifndef WR_FS_PASS_H
#define WR_FS_PASS_H

#include <pthread.h>

#include "wr_err.h"

#define FS_PASS_CLIENTS 64u

struct fs_pass {
    int listener;
    int stop[2]; /* a pipe: its end is the thread's */
    pthread_t thread;
    char where[64]; /* the socket's abstract name, random */
};

/* Listens; *p is the caller's memory, anything in it. Errors with text: BUSY (no thread, no descriptor). */
WR_MUST_USE wr_err fs_pass_start(struct fs_pass *p, struct wr_errmsg *err);
/* Ends the thread and closes all; after a start that succeeded. */
void fs_pass_stop(struct fs_pass *p);

#endif
