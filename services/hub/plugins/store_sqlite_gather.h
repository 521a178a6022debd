/* SPDX-License-Identifier: MIT
 *
 * Store `sqlite`: a VFS that gathers what SQLite writes to its write-ahead log.
 *
 * SQLite writes each frame of the log in two pieces (24 bytes of head, a page), one system call each: 875 of them for a
 * batch of 200 messages in as many rooms, a fifth of all that the server computes. Here consecutive pieces wait in memory
 * and leave in one write, before anybody could look for them: with the last piece of a commit, which is before SQLite
 * syncs it or tells its readers of it; before anything else is done with the file; and when the buffer is full. So an
 * error is met within the transaction that wrote, as without it, and a sync covers what it did before.
 *
 * All other files, and everything that is no write, are those of the VFS below. */
#ifndef STORE_SQLITE_GATHER_H
#define STORE_SQLITE_GATHER_H

#include <sqlite3.h>

/* Of one log. SQLite's unix VFS takes no more than 0x1ffff bytes in one write (it masks the count and calls a longer one a
 * full disk), since no caller of its own has more than a page. */
enum { GATHER_BYTES = 120 << 10 };

struct gather_vfs {
    sqlite3_vfs vfs; /* what SQLite is given; first, it is cast back */
    sqlite3_vfs *below;
};

/* Makes `g` a VFS over `below`; both, and `name`, live as long as files are open by it. Registers nothing. */
void gather__init(struct gather_vfs *g, const char *name, sqlite3_vfs *below);

/* The process's own, over SQLite's default: its name for sqlite3_open_v2(), or NULL when SQLite has none or no memory. Each
 * call is paired with a gather__give(), after the last file is closed: a plugin that is unloaded must not stay in SQLite's
 * list. Thread: any. */
const char *gather__take(void);
void gather__give(void);

#endif
