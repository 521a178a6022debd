/* SPDX-License-Identifier: MIT
 *
 * A chain of blocks of 256 KiB (larger for a larger request). */
#include "hub_arena.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 256 * 1024, KEPT_BLOCKS = 8 };

struct hub_arena_block {
    struct hub_arena_block *next;
    size_t cap, n;
    uint8_t bytes[];
};

void hub_arena__free(struct hub_arena *a)
{
    for (struct hub_arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct hub_arena){0};
}

static struct hub_arena_block *add_block(struct hub_arena *a, size_t n)
{
    size_t cap = WR_MAX(n, (size_t)BLOCK_BYTES);
    struct hub_arena_block *b = malloc(sizeof *b + cap);
    if (!b)
        return NULL;
    *b = (struct hub_arena_block){.cap = cap, .next = a->at ? a->at->next : NULL};
    if (a->at)
        a->at->next = b;
    else
        a->first = b;
    return b;
}

void *hub_arena__take(struct hub_arena *a, size_t n)
{
    struct hub_arena_block *b = a->at;
    while (b && b->cap - b->n < n && b->next) {
        b = b->next;
        a->at = b;
    }
    if (!b || b->cap - b->n < n) {
        b = add_block(a, n);
        if (!b)
            return NULL;
        a->at = b;
    }
    void *p = b->bytes + b->n;
    b->n += n;
    return p;
}

struct wr_slice hub_arena__copy(struct hub_arena *a, struct wr_slice s)
{
    uint8_t *p = hub_arena__take(a, s.n);
    if (!p)
        return (struct wr_slice){0};
    if (s.n)
        memcpy(p, s.p, s.n);
    return wr_slice_of(p, s.n);
}

void hub_arena__reset(struct hub_arena *a)
{
    size_t kept = 0;
    for (struct hub_arena_block **at = &a->first; *at;) {
        struct hub_arena_block *b = *at;
        if (kept < KEPT_BLOCKS && b->cap == BLOCK_BYTES) {
            b->n = 0;
            kept++;
            at = &b->next;
        } else {
            *at = b->next;
            free(b);
        }
    }
    a->at = a->first;
}
