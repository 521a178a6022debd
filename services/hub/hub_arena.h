/* SPDX-License-Identifier: MIT
 *
 * Memory for what lives as long as one batch: handed out in order, taken back all at once, its blocks used again. */
#ifndef HUB_ARENA_H
#define HUB_ARENA_H

#include "wr_base.h"

struct hub_arena_block;
struct hub_arena {
    struct hub_arena_block *first, *at;
};

/* Zeroed memory is an empty arena. */
void hub_arena__free(struct hub_arena *a);
/* n bytes, unaligned; NULL only when memory is out. */
void *hub_arena__take(struct hub_arena *a, size_t n);
/* A copy; {NULL, 0} when memory is out and n is not 0. */
struct wr_slice hub_arena__copy(struct hub_arena *a, struct wr_slice s);
/* Everything is taken back; some blocks stay for the next batch. */
void hub_arena__reset(struct hub_arena *a);

#endif
