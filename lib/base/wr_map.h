/* SPDX-License-Identifier: MIT
 *
 * A hash map from byte-string keys to pointers. Open addressing; keys are copied. Not thread-safe: the owner locks. */
#ifndef WR_BASE_WR_MAP_H
#define WR_BASE_WR_MAP_H

#include "wr_base.h"

struct wr_map {
    struct wr_map_slot *slots;
    size_t cap;  /* 0 or a power of two */
    size_t used; /* live entries */
    size_t dead; /* tombstones */
};

/* Zeroed memory is a valid empty map. free() drops keys and slots; values stay the caller's. */
WR_API void wr_map_free(struct wr_map *m);
/* NULL when absent. */
WR_API void *wr_map_get(const struct wr_map *m, struct wr_slice key);
/* Sets or replaces; value must not be NULL. Returns false only when memory is out. */
WR_API WR_MUST_USE bool wr_map_put(struct wr_map *m, struct wr_slice key, void *value);
/* Removes and returns the value, NULL when absent. */
WR_API void *wr_map_del(struct wr_map *m, struct wr_slice key);
/* Iteration in no order: start with *at = 0; false at the end. The current entry may be deleted meanwhile, none added. */
WR_API bool wr_map_next(const struct wr_map *m, size_t *at, struct wr_slice *key, void **value);
/* 64-bit FNV-1a with a final mix: good for tables and rendezvous hashing, not against attackers who choose keys. */
WR_API uint64_t wr_hash(struct wr_slice key, uint64_t seed);

#endif
